"""Several columns brought to the same times, and small statistics of what is known."""

import math
from collections.abc import Sequence

import numpy as np

from bot.model.market import Column, FloatArray


def known_median(close: FloatArray) -> tuple[int, float]:
    """Return how many values are known, and their median; NaN without any."""
    known = close[np.isfinite(close)]
    return int(known.size), float(np.median(known)) if known.size else math.nan


def known_rows(column: Column) -> Column:
    """Return the column without the reads that failed."""
    known = np.isfinite(column.values)
    return Column(times_s=column.times_s[known], values=column.values[known])


def as_of(column: Column, times_s: FloatArray, *, max_lag_s: float) -> FloatArray:
    """Return the newest row's value at each time; NaN when it failed, is older than the lag, or is none."""
    at = np.searchsorted(column.times_s, times_s, side="right") - 1
    row_s, row = np.append(column.times_s, np.nan)[at], np.append(column.values, np.nan)[at]
    return np.where((at >= 0) & (times_s - row_s <= max_lag_s), row, np.nan)


def sampled(known: Column, moments_s: FloatArray, *, hold_s: float, gap_s: float) -> FloatArray:
    """Return a value at each moment, from rows that are all known.

    A row stands for the time since the row before it, as the close of a bar does, if that is at most
    ``gap_s``: an hourly table and a feed of every block then weigh each hour alike. After a longer gap and
    after the last row it is the last one, for ``hold_s``.
    """
    times_s, values = known.times_s, known.values
    held = as_of(known, moments_s, max_lag_s=hold_s)
    if times_s.size < 2:
        return held
    after = np.clip(np.searchsorted(times_s, moments_s, side="left"), 1, times_s.size - 1)
    within = (moments_s > times_s[after - 1]) & (moments_s <= times_s[after])
    return np.where(within & (times_s[after] - times_s[after - 1] <= gap_s), values[after], held)


def joined(columns: Sequence[Column], *, max_lag_s: float) -> tuple[FloatArray, tuple[FloatArray, ...]]:
    """Return every time at which any column has a row, and each column's value as of it.

    Columns of one watcher have the same times and are taken row by row.
    """
    first = columns[0].times_s
    if all(np.array_equal(first, column.times_s) for column in columns[1:]):
        return first, tuple(column.values for column in columns)
    times_s = np.unique(np.concatenate([column.times_s for column in columns]))
    return times_s, tuple(as_of(column, times_s, max_lag_s=max_lag_s) for column in columns)
