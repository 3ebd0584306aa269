"""Closed bars, built from the observations in them: a block feed and an hourly table give the same bar."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from bot.errors import InvariantError
from bot.model.market import Column, FloatArray
from bot.quant.bar_grid import BarGrid

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bars:
    """Consecutive closed bars, oldest first.

    Bar ``i`` is [times_s[i], times_s[i] + bar_s), UTC; its close is the last known observation in it, NaN
    when there was none: missing bars are never filled.
    """

    times_s: FloatArray  # opens
    close: FloatArray
    bar_s: int
    derived: dict[Any, tuple[tuple[Any, ...], Any]] = field(default_factory=dict, init=False, repr=False)

    def once(self, what: Any, make: Callable[[], T], *, beside: tuple[Any, ...] = ()) -> T:
        """Return ``make()``, worked out once for these bars, ``what`` and the very objects ``beside``.

        ``make`` must depend on nothing else; what it returns must not be changed.
        """
        found = self.derived.get(what)
        if found is None or any(a is not b for a, b in zip(found[0], beside, strict=True)):
            found = self.derived[what] = (beside, make())
        made: T = found[1]
        return made

    @property
    def end_s(self) -> float:
        """Return when the last bar closed."""
        return float(self.times_s[-1]) + self.bar_s if self.times_s.size else math.nan

    @property
    def coverage(self) -> float:
        """Return the share of bars with a known close, 0 when there is no bar."""
        return self.known / self.close.size if self.close.size else 0.0

    @property
    def known(self) -> int:
        """Return how many bars have a known close."""
        return int(np.count_nonzero(np.isfinite(self.close)))


def closed_bars(column: Column, *, bar_s: int, now_s: float, count: int) -> Bars:
    """Return the last ``count`` bars that have closed by ``now_s``; the open bar is never used.

    A column with a memo gives the same object again while no row came into these bars.
    """
    if bar_s <= 0 or count < 0 or not math.isfinite(now_s):
        raise InvariantError(
            f"closed bars need bar_s > 0, count >= 0, finite now_s; were {bar_s}, {count}, {now_s}"
        )
    end_s = math.floor(now_s / bar_s) * bar_s
    first, last = column.times_s.searchsorted((end_s - bar_s * count, float(end_s)), side="left").tolist()
    if column.memo is None:
        return _bars(column, bar_s=bar_s, end_s=end_s, count=count, rows=slice(first, last))
    # Rows are only added, so as many rows up to the same end are the same rows.
    place, version = ("bars", bar_s, count), (end_s, last - first)
    kept: tuple[Any, Bars] | None = column.memo.get(place)
    if kept is None or kept[0] != version:
        bars = _of_grid(column, column.memo, bar_s=bar_s, end=end_s // bar_s, count=count, rows=last - first)
        kept = column.memo[place] = (version, bars)
    return kept[1]


def _of_grid(column: Column, memo: dict[Any, Any], *, bar_s: int, end: int, count: int, rows: int) -> Bars:
    place, first = ("grid", bar_s), end - count
    grid: BarGrid | None = memo.get(place)
    if grid is None or not grid.holds(column, first=first, end=end, rows=rows):
        grid = memo[place] = BarGrid(column, bar_s=bar_s, first=first, end=end)
    opens, close = grid.part(first, end)
    return Bars(times_s=opens, close=close, bar_s=bar_s)


def _bars(column: Column, *, bar_s: int, end_s: int, count: int, rows: slice) -> Bars:
    opens = end_s - bar_s * np.arange(count, 0, -1, dtype=np.float64)
    close = np.full(count, np.nan)
    values = column.values[rows]
    known = np.isfinite(values)
    if count:
        place = (column.times_s[rows][known] - opens[0]) // bar_s
        close[place.astype(np.intp)] = values[known]  # the last of several in one bar wins
    return Bars(times_s=opens, close=close, bar_s=bar_s)
