"""Implied vol of an asset, hour by hour, from what was known by then: an index, and realised vols.

Pure functions of price and index columns. Vols are fractions a year of 365 days. No return crosses a missing
hour, and no recursion a hole over 36 h. Nothing here is a quote: docs/simulation.md says how each term was
found and checked, ``market.toml`` has the numbers.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bot.model.market import Column, FloatArray
from bot.model.units import DAY_S, HOUR_S, YEAR_S

HOLE_S = 36 * HOUR_S  # method.md: a recursion restarts after a longer hole
COVERAGE = 0.60  # method.md: a figure over a window needs 60 % of its hours
_HOURS_A_YEAR = YEAR_S / HOUR_S
_WINDOWS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)  # of Corsi's regression


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedModel:
    """How a 30-day implied vol follows from realised vols: Corsi's regression (2009), in logs."""

    constant: float
    day: float  # exponents of the realised vols of 24 h, 7 and 30 days
    week: float
    month: float
    fade_days: float  # what the last published index stood over the model fades with this time constant
    ratio_unknown: float  # of an asset's vol over Bitcoin's where its own realised vols are not known
    fills: bool  # whether it stands for the index in hours without one; if not, those have no vol


@dataclass(frozen=True, slots=True, kw_only=True)
class VolOfVolModel:
    """How unsteady the index is, against its usual."""

    half_life_days: float
    usual: float  # of the log of the index, a year
    low: float  # least and most of that ratio that counts
    high: float


def trailing_vol(price: Column, *, window_s: float) -> FloatArray:
    """Return at each row the vol of the hourly returns of the window before; NaN with under 60 % of them."""
    times_s = price.times_s
    if not times_s.size:
        return np.empty(0)
    squares = _hourly_squares(times_s, price.values)
    known = np.isfinite(squares)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, squares, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    first = np.searchsorted(times_s, times_s - window_s, side="right")
    last = np.arange(1, times_s.size + 1)
    count = counts[last] - counts[first]
    enough = count >= COVERAGE * window_s / HOUR_S
    variance = np.maximum(sums[last] - sums[first], 0.0) / np.maximum(count, 1)
    return np.where(enough, np.sqrt(variance * _HOURS_A_YEAR), np.nan)


def realised_index(price: Column, model: RealisedModel) -> FloatArray:
    """Return the index that realised vols alone would say at each row; NaN where one is unknown or 0."""
    vols = [trailing_vol(price, window_s=window_s) for window_s in _WINDOWS_S]
    known = np.logical_and.reduce([vol > 0.0 for vol in vols])
    logs = [np.log(np.where(known, vol, np.nan)) for vol in vols]
    day, week, month = logs
    return np.exp(model.constant + model.day * day + model.week * week + model.month * month)


def index_at(
    times_s: FloatArray, index: Column, price: Column, model: RealisedModel, *, fresh_s: float = HOUR_S
) -> FloatArray:
    """Return the vol index at each time: as published in its hour, else what realised vols make of it.

    Where none stands, the model's value is multiplied by what the last published one was over it, which
    fades. ``price`` is of the index's own asset, or what stands for it. NaN without either.
    """
    level, last_s = _newest(index, times_s)
    age_s = times_s - last_s
    published = np.where(age_s < fresh_s, level, np.nan)
    if not model.fills:
        return published
    modelled = realised_index(price, model)
    now, then = (_as_of(price.times_s, modelled, at_s) for at_s in (times_s, last_s))
    premium = np.where(np.isfinite(level / then), level / then, 1.0)
    fade = np.where(np.isfinite(age_s), np.exp(-age_s / (model.fade_days * DAY_S)), 0.0)
    return np.where(np.isfinite(published), published, now * premium**fade)


def relative_vol(
    times_s: FloatArray, index: FloatArray, own: Column, bitcoin: Column, model: RealisedModel
) -> FloatArray:
    """Return an asset's vol: Bitcoin's index times what the asset's realised vols say over Bitcoin's own.

    So the asset pays the premium over its realised vols that Bitcoin pays over its, and what it alone has
    done within a day, a week and a month moves its vol alone.
    """
    mine, theirs = (_as_of(each.times_s, realised_index(each, model), times_s) for each in (own, bitcoin))
    ratio = mine / theirs
    return index * np.where(np.isfinite(ratio), ratio, model.ratio_unknown)


def decayed_vol(price: Column, *, half_life_s: float, least_hours: int) -> FloatArray:
    """Return at each row the vol of hourly returns, weighted by 0.5^(age / half-life) (RiskMetrics 1996).

    NaN until ``least_hours`` returns were seen since the start or the last hole over 36 h.
    """
    from scipy.signal import lfilter  # a second of imports, which few commands need

    out = np.full(price.times_s.shape, np.nan)
    decay = 0.5 ** (HOUR_S / half_life_s)
    for part in _stretches(price.times_s):
        at, squares = _on_grid(price.times_s[part], price.values[part])
        known = np.isfinite(squares)
        sums = lfilter([1.0], [1.0, -decay], np.where(known, squares, 0.0))
        weights = lfilter([1.0], [1.0, -decay], known.astype(np.float64))
        enough = np.cumsum(known) >= least_hours
        variance = np.divide(sums, weights, out=np.full(sums.shape, np.nan), where=enough & (weights > 0.0))
        out[part] = np.sqrt(variance * _HOURS_A_YEAR)[at]
    return out


def vol_of_vol_ratio(index: Column, model: VolOfVolModel) -> FloatArray:
    """Return at each row of an index how unsteady it is against its usual, within the model's bounds."""
    found = decayed_vol(index, half_life_s=model.half_life_days * DAY_S, least_hours=24)
    return np.clip(np.where(np.isfinite(found), found / model.usual, 1.0), model.low, model.high)


def _newest(column: Column, at_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the newest value at or before each time, and when it was; NaN before the first."""
    if not column.times_s.size:
        return np.full(at_s.shape, np.nan), np.full(at_s.shape, np.nan)
    place = np.searchsorted(column.times_s, at_s, side="right") - 1
    known = place >= 0
    found = np.maximum(place, 0)
    return np.where(known, column.values[found], np.nan), np.where(known, column.times_s[found], np.nan)


def _as_of(times_s: FloatArray, values: FloatArray, at_s: FloatArray) -> FloatArray:
    """Return the newest value at or before each time, none older than 36 h; NaN without one."""
    if not times_s.size:
        return np.full(at_s.shape, np.nan)
    place = np.searchsorted(times_s, np.nan_to_num(at_s, nan=-np.inf), side="right") - 1
    found = values[np.maximum(place, 0)]
    is_near = (place >= 0) & (at_s - times_s[np.maximum(place, 0)] <= HOLE_S)
    return np.where(is_near, found, np.nan)


def _stretches(times_s: FloatArray) -> list[slice]:
    if not times_s.size:
        return []
    breaks = (np.flatnonzero(np.diff(times_s) > HOLE_S) + 1).tolist()
    edges = [0, *breaks, times_s.size]
    return [slice(first, last) for first, last in pairwise(edges)]


def _on_grid(times_s: FloatArray, values: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Return each row's place on a grid of hours, and the squared returns on it, NaN where there is none."""
    at = np.round((times_s - times_s[0]) / HOUR_S).astype(np.intp)
    squares = np.full(int(at[-1]) + 1, np.nan)
    squares[at] = _hourly_squares(times_s, values)
    return at, squares


def _hourly_squares(times_s: FloatArray, values: FloatArray) -> FloatArray:
    """Return the squared log return of each row over the one an hour before; NaN where that is missing."""
    returns = np.full(values.shape, np.nan)
    is_next = np.abs(np.diff(times_s) - HOUR_S) < 0.5 * HOUR_S
    returns[1:] = np.where(is_next, np.diff(np.log(np.where(values > 0.0, values, np.nan))), np.nan)
    return returns**2
