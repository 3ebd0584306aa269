"""What signals on slow sources share: means of days, and when their history suffices."""

import math

import numpy as np

from bot.model.market import Column, FloatArray
from bot.model.units import DAY_S
from bot.signals.reading import Inputs, Measured, NotYet


def trailing_mean(values: FloatArray, *, span: int, coverage: float) -> FloatArray:
    """Return the mean of the ``span`` values that end at each from the first whole one on.

    Missing values are left out; NaN where less than ``coverage`` is known.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, span)
    known = np.isfinite(windows).sum(axis=1)
    total = np.where(np.isfinite(windows), windows, 0.0).sum(axis=1)
    return np.where(known >= max(coverage * span, 1.0), total / np.maximum(known, 1), np.nan)


def too_few_days(
    known: int, *, needed: float, lead_s: float, window_s: float, inputs: Inputs, max_hole_s: float, what: str
) -> Measured | NotYet:
    """Return that ``known`` daily samples of a window are too few: not yet, or no more.

    ``lead_s`` is how much history the first sample needs. A history as long as all that, no hole over
    ``max_hole_s`` in it, is not short: its source fails too often to be used.
    """
    short = math.ceil(needed)
    begun = max(begun_s(column, max_hole_s=max_hole_s) for column in inputs.columns)
    if begun <= inputs.good_s - window_s - lead_s + DAY_S:
        because = f"{what}: {known} days known of a whole window, {short} needed; its source fails too often"
        return Measured(value=math.nan, score=math.nan, because=because)
    today_s = math.floor(inputs.now_s / DAY_S) * DAY_S
    lead_left_s = max(begun + lead_s - inputs.now_s, 0.0) if not known else 0.0
    closed_s = max(inputs.interval_s - DAY_S, 0.0)  # the day itself may be one without a row
    warm_at_s = today_s + math.ceil(lead_left_s / DAY_S) * DAY_S + max(short - known, 1) * DAY_S + closed_s
    return NotYet(warm_at_s=warm_at_s, because=f"{what}: {known} days known, {short} needed")


def begun_s(column: Column, *, max_hole_s: float) -> float:
    """Return since when a column has known rows without a long hole between them; infinity for never."""
    times_s = column.times_s[np.isfinite(column.values)]
    holes = np.flatnonzero(np.diff(times_s) > max_hole_s)
    return float(times_s[holes[-1] + 1 if holes.size else 0]) if times_s.size else math.inf
