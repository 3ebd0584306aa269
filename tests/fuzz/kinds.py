"""What a row of the table of decoders is, and the ways from bytes to what a decoder takes."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.errors import BotError, ConfigError, InvariantError, TransientError


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """One decoder. ``module`` is where it stands in bot/; ``errors`` are all that it may raise.

    ``valid`` are documents that it takes, ``refused`` some that it refuses and that are worth breaking too.
    ``wrong`` says what is wrong with a value that came out, "" for nothing. ``back`` is the encoder, where
    there is one: of what came out of a valid document it makes that document again.
    """

    name: str
    module: str
    run: Callable[[bytes], Any]
    valid: Sequence[bytes]
    errors: tuple[type[BotError], ...]
    refused: Sequence[bytes] = ()
    wrong: Callable[[Any], str] = lambda _: ""
    back: Callable[[Any], bytes] | None = None


NOTHING = object()  # what comes of bytes that never reach a decoder: an earlier one refused them
READ = (TransientError,)
CONFIG = (ConfigError,)
BROKEN = (InvariantError,)


def of_json(decode: Callable[[Any], Any]) -> Callable[[bytes], Any]:
    """Give a decoder of JSON values whatever Python's own parser takes, which is more than JSON."""

    def run(raw: bytes) -> Any:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            return NOTHING
        return decode(value)

    return run


def of_text(decode: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda raw: decode(raw.decode("utf-8", "surrogateescape"))


def of_file(read: Callable[[Path], Any], *, name: str = "given", mode: int = 0o600) -> Callable[[bytes], Any]:
    """Give a reader of files a file of these bytes, alone in a folder."""

    def run(raw: bytes) -> Any:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
            path.chmod(mode)
            return read(path)

    return run


def waited(work: Coroutine[Any, Any, Any]) -> Any:
    return _RUNNER.run(work)


def dumped(*values: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() for value in values)


_RUNNER = asyncio.Runner()
