"""What the signer has signed, for ever: nonces, allowances, spend, purchases, contracts.

Everything is on disk before its signature leaves.
One append-only file per account, a line per signature: eight hex digits of CRC-32, a space, a JSON object. A
last line that was cut off belongs to a signature that never left, and is dropped; any other damage refuses to
start. A file beside it, ``.lock``, is held by the one process that may write (REL-P8).
"""

import fcntl
import json
import math
import os
import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.chain.signing.calls import Approval
from bot.chain.signing.rules import WINDOW_S
from bot.errors import ConfigError, InvariantError
from bot.model.parsing import json_of
from bot.model.units import HOUR_S

Uptime = tuple[str, float]  # which boot of the machine, and seconds since it
Payload = tuple[str, str, int]  # to, Keccak-256 of the data, value
_CRC_DIGITS = 8
_LOCK_TRIES, _LOCK_PAUSE_S = 6, 0.1  # one whose bot was killed takes a moment to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One signature. ``space`` is whose nonce it is: the account, or a Safe it is an owner of."""

    chain_id: int
    space: str
    nonce: int
    payload: Payload
    is_cancel: bool
    at_s: float
    approvals: tuple[Approval, ...] = ()
    spends: tuple[tuple[str, int], ...] = ()  # token, raw amount
    bought: tuple[str, ...] = ()  # tokens that only the call names
    contracts: tuple[tuple[str, int], ...] = ()  # instrument, what is bought of it or, below 0, sold
    uptime: Uptime | None = None  # at ``at_s``, where that was counted by it

    @property
    def takes_back(self) -> bool:
        """Say whether it is a cancel, or revokes what it names and allows nothing."""
        amounts = {item.amount_raw for item in self.approvals}
        return self.is_cancel or amounts == {0}


@dataclass(slots=True)
class _Slot:
    payload: Payload | None = None  # None while only a cancel was signed
    approvals: tuple[Approval, ...] = ()
    spent: dict[str, int] = field(default_factory=dict)


class SignerMemory:
    """Opened by one process at a time; every answer is from memory, every entry is on disk first."""

    def __init__(self, path: Path) -> None:
        """Lock and read the file. Raises ConfigError: in use, damaged, not ours alone."""
        self._path = path
        self.latest_s = float("-inf")  # no later entry is older than this
        self.epoch = 0
        self._uptime: Uptime | None = None  # at ``latest_s``; None: not known
        self._slots: dict[tuple[int, str, int], _Slot] = {}
        self._highest: dict[tuple[int, str], int] = {}
        self._allowances: dict[tuple[int, str, str], int] = {}
        self._bought: set[tuple[int, str, str]] = set()
        self._contracts: dict[tuple[int, str, str], int] = {}
        self._spends: deque[tuple[float, int, str, int]] = deque()  # at, chain, token, raw
        self._failed = ""
        self._lock = _locked(path.with_name(path.name + ".lock"), f"the signer's memory {path}")
        try:
            self._file = _opened(path)
            self._replay()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    @property
    def failure(self) -> str:
        """Why nothing is signed any more; "" while it can be written."""
        return self._failed

    # what is known

    def highest(self, chain_id: int, space: str) -> int:
        """Return the highest nonce that anything but a cancel was signed for, -1 for none."""
        return self._highest.get((chain_id, space), -1)

    def has_signed(self, chain_id: int, space: str, nonce: int) -> bool:
        return (chain_id, space, nonce) in self._slots

    def payload(self, chain_id: int, space: str, nonce: int) -> Payload | None:
        """Return what a nonce was signed for; None for nothing, or for cancels alone."""
        slot = self._slots.get((chain_id, space, nonce))
        return None if slot is None else slot.payload

    def approvals(self, chain_id: int, space: str, nonce: int) -> tuple[Approval, ...]:
        """Return the allowances that a nonce was signed for."""
        slot = self._slots.get((chain_id, space, nonce))
        return () if slot is None else slot.approvals

    def spent_at(self, chain_id: int, space: str, nonce: int, token: str) -> int:
        """Return what signatures for one nonce may spend of a token; only one of them can come true."""
        slot = self._slots.get((chain_id, space, nonce))
        return 0 if slot is None else slot.spent.get(token, 0)

    def allowance(self, chain_id: int, space: str, spender: str) -> int:
        """Return the amount of the last approval that was signed for a spender, whatever its token."""
        return self._allowances.get((chain_id, space, spender), 0)

    def has_bought(self, chain_id: int, space: str, token: str) -> bool:
        """Say whether a purchase of a token that no rule names was signed."""
        return (chain_id, space, token) in self._bought

    def contracts(self, chain_id: int, space: str, instrument: str) -> int:
        """Return how many contracts of an instrument were signed to be bought, less those to be sold."""
        return self._contracts.get((chain_id, space, instrument), 0)

    def spent(self, chain_id: int, token: str, *, now_s: float, slack_s: float = 0.0) -> int:
        """Return what was signed away of a token in the 24 hours before the later of ``now_s`` and the past.

        A clock that goes back frees nothing. ``slack_s``, an hour at most: how wrong a time may be.
        """
        since_s, place = max(now_s, self.latest_s) - WINDOW_S - slack_s, (chain_id, token)
        return sum(raw for at_s, *where, raw in self._spends if at_s > since_s and tuple(where) == place)

    def counted_s(self, now_s: float, uptime: Uptime) -> float:
        """Return the time that caps are counted by, on disk from the first request after each boot on.

        While the machine is up it goes on as its uptime does: clocks that jump, ours and the chain's, neither
        free a cap early nor lock it for years. Over a boot it is ``now_s``, and never goes back. Raises
        InvariantError.
        """
        if self._uptime is None or self._uptime[0] != uptime[0]:
            at_s = max(now_s, self.latest_s)
            self._write({"kind": "time", "at": at_s, "uptime": uptime})
            self._anchor(at_s, uptime)
        _, since_s = self._uptime or uptime
        return self.latest_s + max(0.0, uptime[1] - since_s)

    def _anchor(self, at_s: float, uptime: Uptime) -> None:
        self.latest_s, self._uptime = at_s, uptime

    # what becomes known

    def append(self, entry: Entry) -> None:
        """Keep a signature that is about to be made, on disk when this returns. Raises InvariantError."""
        self._write(_document(entry))
        self._take(entry)

    def next_epoch(self, who: str) -> int:
        """Return the number of a new leader, higher than any before it, on disk. Raises InvariantError."""
        self._write({"kind": "epoch", "epoch": self.epoch + 1, "who": who})
        self.epoch += 1
        return self.epoch

    def _take(self, entry: Entry) -> None:
        place = (entry.chain_id, entry.space)
        at_s = self.latest_s = max(self.latest_s, entry.at_s)
        self._uptime = entry.uptime or self._uptime
        while self._spends and self._spends[0][0] <= at_s - WINDOW_S - HOUR_S:
            self._spends.popleft()
        slot = self._slots.setdefault((*place, entry.nonce), _Slot())
        for item in entry.approvals:
            self._allowances[(*place, item.spender)] = item.amount_raw
        self._bought.update((*place, token) for token in entry.bought)
        for instrument, raw in entry.contracts:
            self._contracts[(*place, instrument)] = self.contracts(*place, instrument) + raw
        for token, raw in entry.spends:
            more = raw - slot.spent.get(token, 0)
            if more > 0:
                slot.spent[token] = raw
                self._spends.append((at_s, entry.chain_id, token, more))
        if not entry.is_cancel:  # which takes its own nonce, and none below it
            self._highest[place] = max(self.highest(*place), entry.nonce)
            slot.payload, slot.approvals = entry.payload, entry.approvals

    def _write(self, document: dict[str, Any]) -> None:
        """A write or sync that failed may have left anything: nothing is signed after it (REL-P3)."""
        if self._failed:
            raise InvariantError(self._failed)
        text = json.dumps(document, separators=(",", ":"))
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(28, "No space left on device")
            os.fdatasync(self._file)
        except OSError as error:
            self._failed = (
                f"the signer's memory {self._path} cannot be written ({error.strerror}): nothing is signed "
                "any more; make room, then start the signer again"
            )
            raise InvariantError(self._failed) from None

    def _replay(self) -> None:
        good = 0
        with os.fdopen(os.dup(self._file), "rb") as file:
            for number, line in enumerate(_lines(file.read()), start=1):
                document = _checked(line)
                if document is None:
                    if line.endswith(b"\n"):
                        raise ConfigError(
                            f"the signer's memory {self._path} is damaged in line {number}: restore it "
                            "from a copy; without it caps and nonces are not known"
                        )
                    break
                self._read(document)
                good += len(line)
        if good < os.fstat(self._file).st_size:
            os.ftruncate(self._file, good)
            os.fsync(self._file)

    def _read(self, document: dict[str, Any]) -> None:
        try:
            if document["kind"] == "epoch":
                self.epoch = max(self.epoch, int(document["epoch"]))
            elif document["kind"] == "time":
                self._anchor(_seconds(document["at"]), _uptime(document["uptime"]))
            else:
                self._take(_entry(document))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"the signer's memory {self._path} holds a line of another version: {error}"
            ) from None


def uptime() -> Uptime:
    """Return how long this machine is up, time asleep included, and which boot that is."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return boot, time.clock_gettime(time.CLOCK_BOOTTIME)


def lock_file(path: Path, what: str) -> int:
    """Hold a file that is there for as long as the returned descriptor is open. Raises ConfigError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{what} cannot be opened: {error.strerror}") from None
    return _flocked(handle, what)


def _locked(path: Path, what: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"lock {path} cannot be opened: {error.strerror}") from None
    held = _flocked(handle, what)
    os.ftruncate(held, 0)
    os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    return held


def _flocked(handle: int, what: str) -> int:
    for attempt in range(_LOCK_TRIES):
        time.sleep(_LOCK_PAUSE_S if attempt else 0.0)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return handle
    holder = os.pread(handle, 20, 0).split(b"\n")[0]
    os.close(handle)
    by = f" by process {holder.decode()}" if holder.isdigit() else ""
    raise ConfigError(f"{what} is in use{by}: another signer runs with this key; stop it first")


def _opened(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise ConfigError(f"the signer's memory {path} cannot be opened: {error.strerror}") from None
    status = os.fstat(handle)
    if status.st_mode & 0o022 or status.st_uid not in (os.getuid(), 0):
        os.close(handle)
        raise ConfigError(f"the signer's memory {path} can be written by others: make it yours, chmod 600")
    return handle


def _lines(data: bytes) -> Iterator[bytes]:
    yield from data.splitlines(keepends=True)


def _checked(line: bytes) -> dict[str, Any] | None:
    text = line[_CRC_DIGITS + 1 : -1]
    if not line.endswith(b"\n") or line[: _CRC_DIGITS + 1] != b"%08x " % zlib.crc32(text):
        return None
    try:
        found = json_of(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _document(entry: Entry) -> dict[str, Any]:
    to, data_hash, value = entry.payload
    return {
        "kind": "cancel" if entry.is_cancel else "sign",
        "chain": entry.chain_id,
        "space": entry.space,
        "nonce": entry.nonce,
        "to": to,
        "data": data_hash,
        "value": value,
        "at": entry.at_s,
        "approvals": [[item.token, item.spender, item.amount_raw] for item in entry.approvals],
        "spends": entry.spends,
        "bought": entry.bought,
        "uptime": entry.uptime,
        **({"contracts": entry.contracts} if entry.contracts else {}),
    }


def _uptime(found: Any) -> Uptime:
    boot, seconds = found
    return str(boot), _seconds(seconds)


def _seconds(found: Any) -> float:
    """Return a time of a line. Raises TypeError, ValueError, OverflowError for what caps cannot go by."""
    if not math.isfinite(seconds := float(found)):
        raise ValueError(f"{seconds} is no time")
    return seconds


def _entry(document: dict[str, Any]) -> Entry:
    return Entry(
        chain_id=document["chain"],
        space=document["space"],
        nonce=document["nonce"],
        payload=(document["to"], document["data"], document["value"]),
        is_cancel=document["kind"] == "cancel",
        at_s=_seconds(document["at"]),
        approvals=tuple(
            Approval(token=token, spender=spender, amount_raw=raw)
            for token, spender, raw in document["approvals"]
        ),
        spends=tuple((token, raw) for token, raw in document["spends"]),
        bought=tuple(document.get("bought", ())),  # older lines lack it, and the next two
        contracts=tuple((instrument, raw) for instrument, raw in document.get("contracts", ())),
        uptime=_uptime(document["uptime"]) if document.get("uptime") else None,
    )
