"""The state file of a deployment on a public test chain: what was signed, one fsynced line each.

A line is on disk before its transaction goes out, so a deployment that was killed anywhere goes on with the
same bytes. Nothing else in the file is believed: addresses follow from sender and nonce, and whether a
transaction took effect is asked of the chain. Every line carries a digest of itself and all before it, so a
file that was edited or damaged is refused by line number; a last line that was cut short was never sent.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bot.errors import ConfigError, InvariantError
from bot.model.parsing import json_of

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first line: which deployment this is."""

    chain_id: int
    genesis: str  # hash of block 0; tells two chains of one id apart
    sender: str  # checksummed
    first_nonce: int
    inputs: dict[str, Any]  # what was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One signed transaction. Several of one step and nonce are replacements of each other."""

    step: str  # "deploy/17"
    what: str  # "creation of OptionMarket"
    nonce: int
    raw: str  # 0x hex
    tx_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A step whose transaction was mined, at depth."""

    step: str
    tx_hash: str
    block_number: int
    succeeded: bool
    gas_used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A nonce that a transaction which is not ours used, and of which a person said that it is known."""

    step: str
    nonce: int


Record = Begin | Signed | Ended | Lost
_KINDS: Mapping[str, type[Begin] | type[Signed] | type[Ended] | type[Lost]] = {
    "begin": Begin,
    "signed": Signed,
    "ended": Ended,
    "lost": Lost,
}


class DeployLog:
    """Reads and appends; one process at a time. Use as a context manager, or call :meth:`close`."""

    def __init__(self, path: Path, handle: int, records: list[Record], digest: str) -> None:
        self.path = path
        self._handle = handle
        self._records = records
        self._digest = digest

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file and take its lock.

        Raises ConfigError: another process has it, it cannot be written, or a line is not as it was written.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"state file {path} cannot be opened: {error.strerror}") from None
        try:
            _lock(path, handle)
            records, digest, length = _read(path, path.read_bytes())
            os.ftruncate(handle, length)
            os.lseek(handle, 0, os.SEEK_END)
            _sync_folder(path.parent)
        except BaseException:
            os.close(handle)
            raise
        return cls(path, handle, records, digest)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def begin(self) -> Begin | None:
        """The first line; None in a new file."""
        return self._records[0] if self._records and isinstance(self._records[0], Begin) else None

    def attempts(self, step: str) -> list[Signed]:
        """Return what was signed for a step, oldest first; of its newest nonce only."""
        found = [item for item in self.signed() if item.step == step]
        return [item for item in found if item.nonce == found[-1].nonce]

    def signed(self) -> Iterator[Signed]:
        return (item for item in self._records if isinstance(item, Signed))

    def closed(self, step: str) -> Ended | Lost | None:
        """Return how the newest nonce of a step ended; None while that is open."""
        found: Ended | Lost | None = None
        for item in self._records:
            if isinstance(item, Signed) and item.step == step:
                found = None
            elif isinstance(item, Ended | Lost) and item.step == step:
                found = item
        return found

    @property
    def steps(self) -> list[str]:
        """Every step that anything was signed for, in order."""
        return list(dict.fromkeys(item.step for item in self.signed()))

    @property
    def next_nonce(self) -> int | None:
        """The nonce after the newest that the file accounts for; None before the first line."""
        nonces = [item.nonce for item in self._records if isinstance(item, Signed | Lost)]
        if nonces:
            return max(nonces) + 1
        return self.begin.first_nonce if self.begin else None

    @property
    def gas_used(self) -> int:
        return sum(item.gas_used for item in self._records if isinstance(item, Ended))

    def append(self, record: Record) -> None:
        """Write one line; it is on disk when this returns. Raises ConfigError when it cannot be."""
        if (not self._records) is not isinstance(record, Begin):
            raise InvariantError(f"{self.path}: a deployment begins once, and before anything else")
        line, digest = _line(record, self._digest)
        try:
            _write_all(self._handle, line)
            os.fsync(self._handle)
        except OSError as error:
            raise ConfigError(
                f"state file {self.path} cannot be written ({error.strerror}); nothing was sent, make room "
                "and run the same command again"
            ) from None
        self._digest = digest
        self._records.append(record)

    def restart(self, begin: Begin) -> None:
        """Forget what is closed and begin anew. Raises InvariantError while a step is open."""
        open_steps = [step for step in self.steps if self.closed(step) is None]
        if open_steps:
            raise InvariantError(f"{self.path}: {open_steps[0]} is still open, its bytes must be kept")
        line, digest = _line(begin, "")
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.ftruncate(self._handle, 0)  # all of it is closed: a kill here loses nothing that is needed
        _write_all(self._handle, line)
        os.fsync(self._handle)
        self._records, self._digest = [begin], digest


def _lock(path: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(f"another process works with {path}; wait for it, or end it") from None


def _read(path: Path, data: bytes) -> tuple[list[Record], str, int]:
    """Return the records, the digest of the last, and how many bytes hold them."""
    records: list[Record] = []
    digest, length = "", 0
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break  # cut short by a kill before it was synced: nothing of it was sent
        record = _parsed(line)
        written = _line(record, digest) if record is not None else (b"", "")
        if record is None or written[0] != line:
            raise ConfigError(
                f"line {number} of state file {path} is not as it was written: it was edited or damaged; "
                "restore it, or name another folder and deploy anew"
            )
        records.append(record)
        digest = written[1]
        length += len(line)
    if records and not isinstance(records[0], Begin):
        raise ConfigError(f"state file {path} does not begin as one; name another folder")
    return records, digest, length


def _parsed(line: bytes) -> Record | None:
    try:
        fields = json_of(line)
        kind = _KINDS[fields.pop("kind")]
        fields.pop("digest")
        return kind(**fields) if fields.pop("format") == _FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _line(record: Record, before: str) -> tuple[bytes, str]:
    fields = {"kind": type(record).__name__.lower(), "format": _FORMAT} | asdict(record)
    body = json.dumps(fields, separators=(",", ":"))
    digest = hashlib.sha256(f"{before}\n{body}".encode()).hexdigest()[:32]
    return f'{body[:-1]},"digest":"{digest}"}}\n'.encode(), digest


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _sync_folder(folder: Path) -> None:
    """A new file is only found again once its folder is on disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
