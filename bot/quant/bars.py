"""Closed bars, built from the observations in them: a block feed and an hourly table give the same bar."""

import math
from dataclasses import dataclass

import numpy as np

from bot.errors import InvariantError
from bot.model.market import Column, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bars:
    """Consecutive closed bars, oldest first.

    Bar ``i`` is [times_s[i], times_s[i] + bar_s), UTC; its close is the last known observation in it, NaN
    when there was none: missing bars are never filled.
    """

    times_s: FloatArray  # opens
    close: FloatArray
    bar_s: int

    @property
    def end_s(self) -> float:
        """Return when the last bar closed."""
        return float(self.times_s[-1]) + self.bar_s if self.times_s.size else math.nan

    @property
    def coverage(self) -> float:
        """Return the share of bars with a known close, 0 when there is no bar."""
        return float(np.mean(np.isfinite(self.close))) if self.close.size else 0.0


def closed_bars(column: Column, *, bar_s: int, now_s: float, count: int) -> Bars:
    """Return the last ``count`` bars that have closed by ``now_s``; the open bar is never used."""
    if bar_s <= 0 or count < 0 or not math.isfinite(now_s):
        raise InvariantError(
            f"closed bars need bar_s > 0, count >= 0, finite now_s; were {bar_s}, {count}, {now_s}"
        )
    end_s = math.floor(now_s / bar_s) * bar_s
    opens = end_s - bar_s * np.arange(count, 0, -1, dtype=np.float64)
    close = np.full(count, np.nan)
    if count:
        first, last = np.searchsorted(column.times_s, (opens[0], float(end_s)), side="left")
        values = column.values[first:last]
        known = np.isfinite(values)
        place = (column.times_s[first:last][known] - opens[0]) // bar_s
        close[place.astype(np.intp)] = values[known]  # the last of several in one bar wins
    return Bars(times_s=opens, close=close, bar_s=bar_s)
