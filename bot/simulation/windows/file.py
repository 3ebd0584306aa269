"""The crisis and calm windows that a policy is judged on: their file, and the stretches to run for them."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.model.units import DAY_S, HOUR_S, iso_utc, parse_utc_s

CALM, CRISIS = "calm", "crisis"
KINDS = (CRISIS, "bridge", "protocol", "stable", CALM)
_COLUMNS = ("id", "start_utc", "end_utc_exclusive", "kind")
_GIVE = f"give a CSV with {', '.join(_COLUMNS)}"
_GZIP = b"\x1f\x8b"

# R26: what lies outside crises ends 3 days before one and begins again 7 days after it.
BEFORE_CRISIS_S, AFTER_CRISIS_S = 3 * DAY_S, 7 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A named stretch of time, its end not in it. ``kind`` is one of KINDS."""

    id: str
    start_s: float
    end_s: float
    kind: str

    @property
    def is_calm(self) -> bool:
        return self.kind == CALM


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One stretch that is run without a break, with the windows in it."""

    start_s: float  # nothing is held before it
    end_s: float
    windows: tuple[Window, ...]


def read_windows(path: Path) -> tuple[Window, ...]:
    """Return the windows of a CSV file (.csv or .csv.gz) in time order.

    Columns: id; start_utc and end_utc_exclusive, ISO 8601 in UTC; kind, one of KINDS. Others are not read.
    Raises ConfigError naming the line that is wrong, and for windows that overlap.
    """
    try:
        windows = sorted(_windows(path), key=lambda item: item.start_s)
    except csv.Error as error:
        raise ConfigError(f"windows file {path} is no CSV: {error}; {_GIVE}") from error
    _check(path, windows)
    return tuple(windows)


def segments_of(windows: Sequence[Window], *, lead_s: float) -> tuple[Segment, ...]:
    """Return the stretches from ``lead_s`` before each window to its end, joined where they meet.

    So every hour is run once, and a hedge stands before its crisis as it would in use.
    """
    joined: list[Segment] = []
    for window in sorted(windows, key=lambda item: item.start_s):
        start_s = window.start_s - lead_s
        if joined and start_s <= joined[-1].end_s:
            last = joined.pop()
            joined.append(Segment(start_s=last.start_s, end_s=window.end_s, windows=(*last.windows, window)))
        else:
            joined.append(Segment(start_s=start_s, end_s=window.end_s, windows=(window,)))
    return tuple(joined)


def history_segments(
    times_s: FloatArray, windows: Sequence[Window], *, from_s: float, to_s: float, hole_s: float
) -> tuple[Segment, ...]:
    """Return every stretch of a price history between holes of more than ``hole_s``, within a range.

    Nothing runs across a hole: each stretch begins with nothing held. A window belongs to the stretch that
    has most of it; one that no stretch touches belongs to none.
    """
    inside = times_s[(times_s > from_s) & (times_s <= to_s)]
    if not inside.size:
        return ()
    cuts = np.flatnonzero(np.diff(inside) > hole_s)
    firsts = inside[np.concatenate([[0], cuts + 1])]
    lasts = inside[np.concatenate([cuts, [inside.size - 1]])]
    spans = [
        (math.floor(first / HOUR_S) * HOUR_S, math.ceil(last / HOUR_S) * HOUR_S)
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
    ]
    owned: list[list[Window]] = [[] for _ in spans]
    for window in sorted(windows, key=lambda item: item.start_s):
        shared = [min(window.end_s, end) - max(window.start_s, start) for start, end in spans]
        best = max(range(len(spans)), key=shared.__getitem__)
        if shared[best] > 0.0:
            owned[best].append(window)
    return tuple(
        Segment(start_s=start, end_s=end, windows=tuple(mine))
        for (start, end), mine in zip(spans, owned, strict=True)
        if end - start >= HOUR_S
    )


def crisis_spans(windows: Iterable[Window]) -> tuple[tuple[float, float], ...]:
    """Return what R26 leaves out of the hours outside crises, (from, to) of each."""
    return tuple(
        (item.start_s - BEFORE_CRISIS_S, item.end_s + AFTER_CRISIS_S) for item in windows if not item.is_calm
    )


def outside_crises(times_s: FloatArray, windows: Iterable[Window]) -> NDArray[np.bool_]:
    """Return which hours, by their ends, lie outside every crisis, 3 days before to 7 after (R26)."""
    keep = np.ones(times_s.size, dtype=bool)
    for from_s, to_s in crisis_spans(windows):
        keep &= (times_s <= from_s) | (times_s > to_s)
    return keep


def _windows(path: Path) -> Iterator[Window]:
    lines = csv.DictReader(io.StringIO(_text(path)))
    lacking = [name for name in _COLUMNS if name not in (lines.fieldnames or ())]
    if lacking:
        raise ConfigError(
            f"windows file {path} lacks column {', '.join(lacking)}; needed are {', '.join(_COLUMNS)}"
        )
    for row in lines:
        yield _window(row, where=f"windows file {path}, line {lines.line_num}")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw.startswith(_GZIP) else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"windows file {path} cannot be read: {error}; {_GIVE}") from error


def _window(row: Mapping[str, str | None], *, where: str) -> Window:
    cells = {name: (row[name] or "").strip() for name in _COLUMNS}
    if not cells["id"]:
        raise ConfigError(f"{where}: id must name the window, was empty")
    if cells["kind"] not in KINDS:
        raise ConfigError(f"{where}: kind must be one of {', '.join(KINDS)}, was {cells['kind']!r}")
    start_s = parse_utc_s(cells["start_utc"], field=f"{where}: start_utc")
    end_s = parse_utc_s(cells["end_utc_exclusive"], field=f"{where}: end_utc_exclusive")
    if not start_s + DAY_S <= end_s:
        raise ConfigError(
            f"{where}: end_utc_exclusive must be at least a day after start_utc, "
            f"was {iso_utc(start_s)} to {iso_utc(end_s)}"
        )
    return Window(id=cells["id"], start_s=start_s, end_s=end_s, kind=cells["kind"])


def _check(path: Path, windows: Sequence[Window]) -> None:
    if not windows:
        raise ConfigError(f"windows file {path} has no window; give at least one line under the header")
    names = [item.id for item in windows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"windows file {path}: id {', '.join(twice)} is used twice; ids must differ")
    for earlier, later in pairwise(windows):
        if later.start_s < earlier.end_s:
            raise ConfigError(
                f"windows file {path}: {later.id} begins {iso_utc(later.start_s)}, before {earlier.id} "
                f"ends {iso_utc(earlier.end_s)}; windows must not overlap"
            )
