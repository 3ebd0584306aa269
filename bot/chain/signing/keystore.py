"""Keystore files (Web3 Secret Storage, version 3): read with care, opened in the signer's process alone.

Decrypting takes about a second of CPU.
"""

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.chain.policy_signature import Grant
from bot.chain.signing.keys import LocalKey
from bot.errors import ConfigError
from bot.model.parsing import json_of

if TYPE_CHECKING:
    from bot.chain.accounts import LocalAccount

MIN_SCRYPT_N = 2**18  # what eth-account writes by default; weaker files are only for tests
MIN_PBKDF2_ROUNDS = 2**18
_SCHEMES = (("scrypt", None), ("pbkdf2", "hmac-sha256"))  # key derivation, pseudo-random function
_MAX_FILE_BYTES = 64_000


def open_keystore(path: Path, password: str, *, address: str, min_scrypt_n: int = MIN_SCRYPT_N) -> LocalKey:
    """Decrypt a keystore v3 file. Blocks for about a second.

    Raises ConfigError: missing, readable by others, not a keystore, weakly encrypted, of another
    address, or a password that does not open it (the same words for a damaged file).
    """
    return LocalKey(_unlock(path, password, address=address, min_scrypt_n=min_scrypt_n).key)


def sign_policy(
    path: Path, password: str, *, address: str, grant: Grant, min_scrypt_n: int = MIN_SCRYPT_N
) -> bytes:
    """Sign a policy's grant (R22) with an owner's keystore and forget the key; nothing else is signed so.

    Blocks for about a second. Raises ConfigError as :func:`open_keystore`.
    """
    account = _unlock(path, password, address=address, min_scrypt_n=min_scrypt_n)
    return bytes(account.sign_message(grant.signable).signature)


def _unlock(path: Path, password: str, *, address: str, min_scrypt_n: int) -> "LocalAccount":
    from bot.chain.accounts import Account

    fields = _read_keystore(Path(path), min_scrypt_n=min_scrypt_n)
    try:
        key = bytes(Account.decrypt(fields, password))
    except (ValueError, TypeError, KeyError):
        key = b""
    if len(key) != 32:
        raise ConfigError(f"keystore {path} cannot be opened with this password")
    account: LocalAccount = Account.from_key(key)
    if account.address.lower() != address.lower():
        raise ConfigError(
            f"keystore {path} holds the key of {account.address}, the configured account is {address}"
        )
    return account


def write_keystore(path: Path, key: bytes, password: str, *, scrypt_n: int = MIN_SCRYPT_N) -> str:
    """Encrypt a private key into a new keystore file of mode 0600 and return its address.

    Raises ConfigError when the file exists or cannot be written. Blocks for about a second.
    """
    from bot.chain.accounts import Account

    fields = Account.encrypt(key, password, kdf="scrypt", iterations=scrypt_n)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"keystore {path} cannot be created: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(fields, file)
    return str(Account.from_key(key).address)


def read_password_file(path: Path) -> str:
    """Return the password in a file that nobody else can read. Raises ConfigError."""
    return _read_private(path, "password file").rstrip("\r\n")


def _read_keystore(path: Path, *, min_scrypt_n: int) -> dict[str, Any]:
    text = _read_private(path, "keystore")
    try:
        fields = json_of(text)
    except ValueError:
        fields = None
    if (
        not isinstance(fields, dict)
        or fields.get("version") != 3
        or not isinstance(fields.get("crypto"), dict)
    ):
        raise ConfigError(
            f"keystore {path} is not an encrypted keystore of version 3; plain keys are never read"
        )
    _check_strength(path, fields["crypto"], min_scrypt_n=min_scrypt_n)
    return fields


def _check_strength(path: Path, crypto: dict[str, Any], *, min_scrypt_n: int) -> None:
    parameters = crypto.get("kdfparams")
    parameters = parameters if isinstance(parameters, dict) else {}
    scheme = (crypto.get("kdf"), parameters.get("prf") if crypto.get("kdf") == "pbkdf2" else None)
    if scheme not in _SCHEMES:  # before the library sees it: it meets some of these with an assertion
        raise ConfigError(
            f"keystore {path} derives its key by {scheme[0]!r:.20} with {scheme[1]!r:.20}, allowed: scrypt "
            "and pbkdf2 with hmac-sha256: write it again with the defaults of eth-account"
        )
    if crypto.get("kdf") == "scrypt":
        found, least = parameters.get("n"), min_scrypt_n
    else:
        found, least = parameters.get("c"), MIN_PBKDF2_ROUNDS
    if not isinstance(found, int) or not least <= found <= 2**26:
        raise ConfigError(
            f"keystore {path} is encrypted with work factor {found!r:.20}, at least {least} is needed: "
            "write it again with the defaults of eth-account"
        )


def _read_private(path: Path, what: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be opened: {error.strerror}") from None
    try:
        _check_private(path, what, os.fstat(handle))
        return os.read(handle, _MAX_FILE_BYTES).decode("utf-8", "replace")
    finally:
        os.close(handle)


def _check_private(path: Path, what: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{what} {path} is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(f"{what} {path} has mode {mode:04o}, others could read it: run chmod 600")
    if status.st_uid not in (os.getuid(), 0):
        raise ConfigError(f"{what} {path} belongs to another user")
    if status.st_size > _MAX_FILE_BYTES:
        raise ConfigError(f"{what} {path} is {status.st_size} bytes, too large for a {what}")
