"""How much of what a bridge minted is backed by what it locked (S7)."""

import math

import numpy as np

from bot.model.market import EMPTY_COLUMN, Column, Columns, FloatArray, Metric

LOCKED = "lockbox"  # source of the amount on the origin's side
MINTED = "minted"  # source, or its kind, of the supply on each destination's side


def coverage(columns: Columns, *, bridge: str, token: str, max_lag_s: float) -> Column:
    """Return locked / minted of a bridged token at each time that any side was read, oldest first.

    1 is fully backed. Both sides count as last read, and what was minted is added up over all destinations.
    NaN where a side is unknown, has not been read yet, was last read more than ``max_lag_s`` before, or
    nothing is minted. Empty when a side is not configured.
    """
    subject = f"{bridge}/{token}"
    keys = columns.find(Metric.TOKEN_UNITS, subject)
    locked = [columns[key] for key in keys if key.source == LOCKED]
    minted = [columns[key] for key in keys if key.source.partition(":")[0] == MINTED]
    if not locked or not minted:
        return EMPTY_COLUMN
    times = np.unique(np.concatenate([column.times_s for column in (*locked, *minted)]))
    held = sum((_as_of(column, times, max_lag_s) for column in locked), np.zeros(times.size))
    owed = sum((_as_of(column, times, max_lag_s) for column in minted), np.zeros(times.size))
    values = np.full(times.size, math.nan)
    np.divide(held, owed, out=values, where=owed > 0)
    return Column(times_s=times, values=values)


def _as_of(column: Column, times_s: FloatArray, max_lag_s: float) -> FloatArray:
    """Return the newest value at each time, NaN where there is none or it is too old."""
    at = np.searchsorted(column.times_s, times_s, side="right") - 1
    values = np.full(times_s.size, math.nan)
    seen = at >= 0
    fresh = np.zeros(times_s.size, dtype=bool)
    fresh[seen] = times_s[seen] - column.times_s[at[seen]] <= max_lag_s
    values[fresh] = column.values[at[fresh]]
    return values
