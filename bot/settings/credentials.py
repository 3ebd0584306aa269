"""Secrets by name: from a variable of the environment, else from a file that systemd's LoadCredential gives.

A service that has ``LoadCredential=ALVH_RPC_URL:/etc/alvh/rpc-url`` finds the file ``ALVH_RPC_URL`` in
``$CREDENTIALS_DIRECTORY``, a folder that only it can read: the secret is in no environment, which children
inherit and ``/proc`` shows to the same user.
"""

import os
import re
from pathlib import Path

from bot.errors import ConfigError

_MOST_BYTES = 65_536
_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")  # names of variables, so that none leaves the folder


def secret(name: str) -> str | None:
    """Return a variable, or else the credential of that name without its last line end; None without either.

    Raises ConfigError for a credential that cannot be read.
    """
    if (value := os.environ.get(name)) is not None:
        return value
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or _NAME.fullmatch(name) is None:
        return None
    path = Path(folder) / name
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"the credential {path} cannot be read: {error.strerror}") from None
    return _text(path, data)


def _text(path: Path, data: bytes) -> str:
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"the credential {path} is longer than {_MOST_BYTES:,} bytes; it must be one line")
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"the credential {path} is no UTF-8 text; it must be one line") from None
