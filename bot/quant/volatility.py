"""Returns and volatility with the rule for holes of method.md.

No return crosses a missing bar. Holes up to a limit are skipped, a longer one restarts the recursion. Means,
quantiles and ranks leave missing bars out and need a share of their bars. Vols are zero-mean, as in
J.P. Morgan/Reuters, "RiskMetrics Technical Document" (1996), fractions a year of 365 days.
"""

import math

import numpy as np

from bot.errors import InvariantError
from bot.model.market import Column, FloatArray
from bot.model.units import YEAR_S
from bot.quant.bars import Bars

RISKMETRICS_DECAY = 0.94
_ROUNDING = 1e-9  # of one bar: 0.55 x 100 is 55.00000000000001


def periods_per_year(bar_s: float) -> float:
    """Return how many bars a year of 365 days has."""
    return YEAR_S / bar_s


def log_returns(close: FloatArray) -> FloatArray:
    """Return log returns, as long as ``close``; NaN first, and where either close is missing or not > 0."""
    out = np.full(close.shape, np.nan)
    known = np.where(close > 0.0, close, np.nan)
    out[1:] = np.diff(np.log(known))
    return out


def after_last_long_hole(values: FloatArray, *, max_hole_bars: int) -> FloatArray:
    """Return the part that follows the last run of more than ``max_hole_bars`` missing bars.

    A run at the very end counts too: after it nothing is left.
    """
    is_known = np.isfinite(values)
    if is_known.all():
        return values
    known = np.flatnonzero(is_known)
    if not known.size or values.size - 1 - int(known[-1]) > max_hole_bars:
        return values[values.size :]
    breaks = np.flatnonzero(np.diff(known) - 1 > max_hole_bars)
    first = int(known[breaks[-1] + 1]) if breaks.size else int(known[0])
    return values[first:]


def segments(values: FloatArray, *, max_hole_bars: int) -> list[slice]:
    """Return the stretches between long holes, oldest first; each begins and ends with a known bar."""
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return []
    breaks = np.flatnonzero(np.diff(known) - 1 > max_hole_bars)
    firsts = known[np.concatenate(([0], breaks + 1))]
    lasts = known[np.concatenate((breaks, [known.size - 1]))]
    return [slice(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]


def ewma_variance(returns: FloatArray, *, decay: float = RISKMETRICS_DECAY) -> FloatArray:
    """Return the variance per period after each return: weights decay^age over the known returns.

    Weights are normalised by their sum (the finite-sample form, so no seed is needed). Missing returns are
    skipped and do not age the rest; the value there is the last one; NaN before the first return.
    """
    from scipy.signal import lfilter  # a second of imports, which few commands need

    _check_decay(decay)
    out = np.full(returns.shape, np.nan)
    known = np.flatnonzero(np.isfinite(returns))
    if not known.size:
        return out
    recursion = ([1.0], [1.0, -decay])
    squares = lfilter(*recursion, returns[known] ** 2)
    weights = lfilter(*recursion, np.ones(known.size))
    place = np.searchsorted(known, np.arange(returns.size), side="right") - 1
    out[known[0] :] = (squares / weights)[place[known[0] :]]
    return out


def ewma_vol(returns: FloatArray, *, decay: float = RISKMETRICS_DECAY, periods_per_year: float) -> float:
    """Return the EWMA vol a year as of the last return; NaN when no return is known.

    Cut long holes off first (``after_last_long_hole`` on the closes); missing returns are skipped.
    """
    _check_decay(decay)
    known = returns[np.isfinite(returns)]
    if not known.size:
        return math.nan
    weights = decay ** np.arange(known.size - 1, -1, -1, dtype=np.float64)
    return math.sqrt(float(weights @ known**2) / float(weights.sum()) * periods_per_year)


def close_to_close_vol(returns: FloatArray, *, periods_per_year: float, coverage: float = 0.6) -> float:
    """Return the zero-mean vol a year; NaN when less than ``coverage`` of the returns are known."""
    known = covered(returns, coverage=coverage)
    return math.sqrt(float(np.mean(known**2)) * periods_per_year) if known.size else math.nan


def downside_deviation(
    returns: FloatArray, *, periods_per_year: float, target: float = 0.0, coverage: float = 0.6
) -> float:
    """Return the deviation under ``target`` (a return a period) as a vol a year (S26).

    Square root of the mean of min(return - target, 0)^2 over all known returns, those above included (lower
    partial moment of order 2: Sortino and van der Meer 1991). NaN as in ``close_to_close_vol``.
    """
    known = covered(returns, coverage=coverage)
    if not known.size:
        return math.nan
    return math.sqrt(float(np.mean(np.minimum(known - target, 0.0) ** 2)) * periods_per_year)


def high_low(column: Column, bars: Bars, *, min_observations: int) -> tuple[FloatArray, FloatArray]:
    """Return the highest and the lowest observation in each bar.

    NaN in bars with fewer than ``min_observations`` known ones: an hourly table has one close an hour and no
    range. The range of few observations is smaller than that of the path: Parkinson's vol is low then.
    """
    if min_observations < 2:
        raise InvariantError(f"a range needs at least 2 observations in a bar, was {min_observations}")
    high, low = np.full(bars.close.shape, -np.inf), np.full(bars.close.shape, np.inf)
    if not bars.close.size:
        return high, low
    span = (float(bars.times_s[0]), bars.end_s)
    first, last = column.times_s.searchsorted(span, side="left").tolist()
    values, times = column.values[first:last], column.times_s[first:last]
    known = np.isfinite(values)
    place = ((times[known] - span[0]) // bars.bar_s).astype(np.intp)
    np.maximum.at(high, place, values[known])
    np.minimum.at(low, place, values[known])
    enough = np.bincount(place, minlength=high.size) >= min_observations
    return np.where(enough, high, np.nan), np.where(enough, low, np.nan)


def parkinson_vol(
    high: FloatArray, low: FloatArray, *, periods_per_year: float, coverage: float = 0.6
) -> float:
    """Return the vol a year from the ranges of bars: variance is the mean of ln(high / low)^2 / (4 ln 2).

    Parkinson, "The Extreme Value Method for Estimating the Variance of the Rate of Return" (1980). NaN when
    less than ``coverage`` of the bars have a range; a bar whose low is not > 0 or over its high has none.
    """
    sound = (low > 0.0) & (high >= low)
    ranges = np.log(np.where(sound, high, np.nan) / np.where(sound, low, np.nan))
    known = covered(ranges, coverage=coverage)
    if not known.size:
        return math.nan
    return math.sqrt(float(np.mean(known**2)) / (4.0 * math.log(2.0)) * periods_per_year)


def window_mean_vol(means: FloatArray, *, window_s: float) -> float:
    """Return the zero-mean vol a year from log prices averaged over equal, adjoining windows.

    The mean of a Brownian log price over one window less that over the window before has 2/3 of the variance
    of the window: it weighs the increments of the first window by a ramp from 0 to 1 and those of the second
    by one from 1 to 0, and each ramp squared integrates to 1/3. The squares are therefore scaled by 3/2.
    Neighbouring differences correlate by 1/4, which leaves the mean of their squares unbiased and only makes
    it a little noisier. NaN with fewer than two differences, or where a mean is missing.
    """
    if means.size < 3 or not np.isfinite(means).all() or not window_s > 0:
        return math.nan
    variance = 1.5 * float(np.mean(np.diff(means) ** 2))
    return math.sqrt(variance * periods_per_year(window_s))


def decay_of_span(span_bars: float) -> float:
    """Return the EWMA decay with the mean age of a plain mean of ``span_bars``: 1 - 2 / (span + 1)."""
    if not span_bars >= 1.0:
        raise InvariantError(f"an EWMA span must be at least 1 bar, was {span_bars}")
    return 1.0 - 2.0 / (span_bars + 1.0)


def covered(values: FloatArray, *, coverage: float) -> FloatArray:
    """Return the known values, or none of them when they are less than ``coverage`` of all."""
    known = values[np.isfinite(values)]
    return known if known.size and known.size >= least_known(values.size, coverage=coverage) else known[:0]


def least_known(count: int, *, coverage: float) -> float:
    """Return how many of ``count`` must be known, less a trifle: 55 of 100 are 55 %, whatever floats say."""
    return coverage * count - _ROUNDING


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay < 1.0:
        raise InvariantError(f"an EWMA decay must be in [0, 1), was {decay}")
