"""One history file and its part file: append a page, merge, replace in one step."""

import contextlib
import csv
import fcntl
import gzip
import hashlib
import io
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bot.errors import ConfigError
from bot.model.units import iso_utc

_MARK = "#page"
_END = ".csv.gz"


class Row(NamedTuple):
    """One row: when, and its values as they are written."""

    at_s: float
    values: tuple[str, ...]  # after the time and the key columns


@dataclass(slots=True)
class HistoryFile:
    """Rows by (key, time). ``keys`` are the columns after ``ts`` that tell several series of a file apart."""

    path: Path
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    _rows: dict[tuple[tuple[str, ...], float], tuple[str, ...]] = field(default_factory=dict)
    _changed: bool = False

    @classmethod
    def open(
        cls, folder: Path, name: str, *, columns: tuple[str, ...], keys: tuple[str, ...] = ()
    ) -> "HistoryFile":
        """Read the file and what an earlier, cut-off call left beside it. Raises ConfigError."""
        file = cls(folder / f"{name}{_END}", columns, keys)
        file._read_whole()
        file._read_part()
        return file

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name.removesuffix(_END) + ".part")

    def span(self, key: tuple[str, ...] | None = None) -> tuple[float, float]:
        """Return the first and last time of a key, or of all; NaN when there is none."""
        times = [at_s for found, at_s in self._rows if key is None or found == key]
        return (min(times), max(times)) if times else (math.nan, math.nan)

    def missing(
        self, key: tuple[str, ...], *, from_s: float, to_s: float, step_s: float
    ) -> list[tuple[float, float]]:
        """Return the spans before the first and after the last row of a key; holes are the source's own."""
        first_s, last_s = self.span(key)
        if math.isnan(first_s):
            return [(from_s, to_s)]
        before = (from_s, min(first_s, to_s))  # up to it: the hour before it ends there
        after = (max(last_s + 1.0, from_s), to_s)
        return [span for span in (before, after) if span[1] - span[0] >= step_s]

    def append(self, key: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Add rows and sync them to the part file: a row that was added survives a power cut."""
        fresh = [row for row in rows if (key, row.at_s) not in self._rows]
        if not fresh:
            return
        body = "".join(_line((iso_utc(row.at_s), *key, *row.values)) for row in fresh)
        head = f"{_MARK} {hashlib.sha256(body.encode()).hexdigest()} {len(fresh)}\n"
        with _writing(self.part), self.part.open("a", encoding="utf-8", newline="") as file:
            file.write(head + body)
            file.flush()
            os.fsync(file.fileno())
        self._rows.update(((key, row.at_s), row.values) for row in fresh)
        self._changed = True

    def close(self) -> None:
        """Write everything into the file, in order of time, in one step; then drop the part file."""
        if self._changed:
            self._replace()
            self._changed = False
        with contextlib.suppress(FileNotFoundError):
            self.part.unlink()

    def _replace(self) -> None:
        with _writing(self.path):
            temporary = self.path.with_name(f".{self.path.name}.tmp")
            with temporary.open("wb") as raw:
                with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
                    packed.write(_line(self.columns).encode())
                    for (key, at_s), values in sorted(self._rows.items(), key=lambda item: item[0][::-1]):
                        packed.write(_line((iso_utc(at_s), *key, *values)).encode())
                raw.flush()
                os.fsync(raw.fileno())
            temporary.replace(self.path)
            _sync_folder(self.path.parent)

    def _read_whole(self) -> None:
        if not self.path.exists():
            return
        try:
            text = gzip.decompress(self.path.read_bytes()).decode()
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"history file {self.path} cannot be read: {error}; move it away to fetch it anew"
            ) from error
        rows = csv.reader(io.StringIO(text))
        header = tuple(next(_whole_rows(rows, f"history file {self.path}"), ()))
        if header != self.columns:
            raise ConfigError(
                f"history file {self.path} has columns {', '.join(header) or 'none'}, expected "
                f"{', '.join(self.columns)}; choose another --out"
            )
        self._take(rows, f"history file {self.path}")

    def _read_part(self) -> None:
        """Take the whole pages of a part file; a page that was cut off is fetched again."""
        if not self.part.exists():
            return
        for digest, count, body in _pages(self.part.read_text("utf-8", errors="replace")):
            intact = hashlib.sha256(body.encode()).hexdigest() == digest
            if not intact or body.count("\n") != count:
                break
            self._take(csv.reader(io.StringIO(body)), f"part file {self.part}")
            self._changed = True
        self.close()  # nothing may be appended behind a page that was cut off

    def _take(self, rows: Iterable[Sequence[str]], where: str) -> None:
        for place, row in enumerate(_whole_rows(rows, where), start=2):
            if len(row) != len(self.columns):
                raise ConfigError(
                    f"{where}: line {place} has {len(row)} fields, expected {len(self.columns)}"
                )
            key, values = tuple(row[1 : 1 + len(self.keys)]), tuple(row[1 + len(self.keys) :])
            try:
                moment = datetime.fromisoformat(row[0])
                at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                raise ConfigError(f"{where}: line {place} has no ISO 8601 time, found {row[0]!r}") from None
            self._rows[(key, at_s)] = values


def _whole_rows(rows: Iterable[Sequence[str]], where: str) -> Iterator[Sequence[str]]:
    """Yield rows as the reader of CSV gives them. Raises ConfigError where it cannot."""
    try:
        yield from rows
    except csv.Error as error:
        raise ConfigError(f"{where} is no CSV: {error}; move it away to fetch it anew") from None


def _pages(text: str) -> Iterable[tuple[str, int, str]]:
    """Yield (checksum, rows, body) of every page of a part file, the last one perhaps cut off."""
    for block in text.split(f"{_MARK} ")[1:]:
        head, _, body = block.partition("\n")
        digest, _, count = head.partition(" ")
        yield digest, int(count) if count.isdecimal() and len(count) < 10 else -1, body


def _line(values: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue()


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder against a second download. Raises ConfigError when one is under way."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another download writes into {folder}; wait for it or choose another --out"
            ) from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say in one line that a file could not be written."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"history file {path} cannot be written: {error.strerror}; what was written before is kept"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the replacement itself durable, where the system can sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
