"""Regression, ranks and concentration with the rule for missing values of method.md.

Every function looks only at the window that it is given: cut it to the look-back first. Missing values (NaN,
infinite) are left out; with less than ``coverage`` of the window known the answer is NaN, never a guess.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant.volatility import covered, least_known

COVERAGE = 0.6  # method.md: ranks, quantiles, means and regressions need 60 % of their bars
MIN_R_SQUARED = 0.5  # R8: under it a token is not hedged by another asset
_MIN_PAIRS = 3  # a line through two points leaves no residual
_LEVEL = 1e-12  # variance under this share of the squared mean is rounding, not movement


class Fit(NamedTuple):
    """y = intercept + slope x by ordinary least squares; all figures NaN when there is too little to fit."""

    slope: float  # the beta when x is the market's return
    intercept: float  # in units of y a period
    r_squared: float  # in [0, 1]; NaN where y does not move
    residual_sd: float  # of one period, n - 2 degrees of freedom, in units of y
    pairs: int  # periods in which both are known
    coverage: float  # the same as a share of the window

    def residual_vol(self, periods_per_year: float) -> float:
        """Return the residual deviation as a vol a year."""
        return self.residual_sd * math.sqrt(periods_per_year)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorFit:
    """Which asset a token follows best; ``fit`` has NaN figures where none can be told."""

    factor: str  # "" when unknown
    fit: Fit
    hedgeable: bool  # R^2 reaches the least that R8 asks for
    because: str


class PairedReturns(NamedTuple):
    """Log returns of two series over the same spans, oldest first; NaN where a span is not usable."""

    times_s: FloatArray  # end of each span
    index_returns: FloatArray
    asset_returns: FloatArray


def ols(x: FloatArray, y: FloatArray, *, coverage: float = COVERAGE) -> Fit:
    """Regress ``y`` on ``x``, period by period; NaN figures where x does not move."""
    if x.shape != y.shape or x.ndim != 1:
        raise InvariantError(f"a regression needs two series of one length, were {x.shape} and {y.shape}")
    if not x.size:
        return Fit(math.nan, math.nan, math.nan, math.nan, 0, 0.0)
    slope, intercept, r_squared, residual_sd, pairs = (
        part[0].item() for part in _lines(x[None, :], y[None, :], coverage=coverage)
    )
    return Fit(slope, intercept, r_squared, residual_sd, int(pairs), pairs / x.size)


def rolling_beta(x: FloatArray, y: FloatArray, *, window: int, coverage: float = COVERAGE) -> FloatArray:
    """Return the slope of y on x over the ``window`` periods that end at each; NaN before the first window.

    Each value equals that of ``ols`` on its own window, bit for bit.
    """
    if window < _MIN_PAIRS or x.shape != y.shape or x.ndim != 1:
        raise InvariantError(
            f"a rolling beta needs a window of at least {_MIN_PAIRS} and series of one length; "
            f"were {window}, {x.shape} and {y.shape}"
        )
    out = np.full(x.shape, np.nan)
    if x.size >= window:
        windows = sliding_window_view(x, window), sliding_window_view(y, window)
        out[window - 1 :] = _lines(*windows, coverage=coverage)[0]
    return out


def trend(values: FloatArray, *, coverage: float = COVERAGE) -> Fit:
    """Regress values on their place in time; ``slope`` is the change a period (S20: of a rolling beta)."""
    return ols(np.arange(values.size, dtype=np.float64), values, coverage=coverage)


def residuals(x: FloatArray, y: FloatArray, fit: Fit) -> FloatArray:
    """Return y less its fitted value, as long as y; NaN where either is missing or the fit is unknown."""
    known = np.isfinite(x) & np.isfinite(y)
    return np.where(known, y - fit.intercept - fit.slope * x, np.nan)


def best_factor(
    token: FloatArray,
    factors: Mapping[str, FloatArray],
    *,
    window: int = 90,
    coverage: float = COVERAGE,
    min_r_squared: float = MIN_R_SQUARED,
) -> FactorFit:
    """Return the factor whose daily returns explain most of the token's over its last ``window`` days (R8).

    CAPM beta by OLS. Equal R^2: the first by name. With fewer returns than the window the missing days count
    as missing.
    """
    fits = {
        name: ols(_last(factors[name], window), _last(token, window), coverage=coverage) for name in factors
    }
    known = sorted((-fit.r_squared, name) for name, fit in fits.items() if math.isfinite(fit.r_squared))
    if not known:
        pairs = max((fit.pairs for fit in fits.values()), default=0)
        because = (
            f"no beta: {pairs} of {window} daily returns are paired with {_names(factors)}, or none moves"
        )
        return FactorFit(factor="", fit=_unknown(pairs, pairs / window), hedgeable=False, because=because)
    name = known[0][1]
    fit = fits[name]
    hedgeable = fit.r_squared >= min_r_squared
    because = (
        f"beta {fit.slope:.2f} to {name}, R^2 {fit.r_squared:.2f} over {fit.pairs} of {window} days, "
        f"{'at least' if hedgeable else 'under'} {min_r_squared:g}"
    )
    return FactorFit(factor=name, fit=fit, hedgeable=hedgeable, because=because)


def trading_day_returns(
    index_times_s: FloatArray,
    index_close: FloatArray,
    asset_times_s: FloatArray,
    asset_close: FloatArray,
    *,
    max_gap_s: float,
    max_age_s: float,
) -> PairedReturns:
    """Return log returns from one close of an index to its next, and the asset's over the same spans (S20).

    Times ascend; the index has one row a trading day, at its close (of several at one time the last counts).
    The asset trades round the clock: its last known price at or before each close is taken, if at most
    ``max_age_s`` old. A weekend is one span; one longer than ``max_gap_s`` is a hole, NaN for both.
    """
    usable = np.isfinite(index_close)
    usable[:-1] &= ~(usable[1:] & (np.diff(index_times_s) <= 0.0))
    times_s, index = index_times_s[usable], index_close[usable]
    asset = _as_of(times_s, asset_times_s, asset_close, max_age_s=max_age_s)
    closes = np.vstack((index, asset))
    changes = np.diff(np.log(np.where(closes > 0.0, closes, np.nan)), axis=1)
    whole = (np.diff(times_s) <= max_gap_s) & np.isfinite(changes).all(axis=0)
    changes = np.where(whole, changes, np.nan)
    return PairedReturns(times_s=times_s[1:], index_returns=changes[0], asset_returns=changes[1])


def rank_percentile(values: FloatArray, *, coverage: float = COVERAGE) -> float:
    """Return the rank of the last value among the others of its window, in [0, 1]; ties count half (S12).

    0 is the lowest of all, 1 the highest. NaN when the last value is missing or stands alone.
    """
    known = covered(values, coverage=coverage)
    if known.size < 2 or not math.isfinite(values[-1]):
        return math.nan
    below = np.count_nonzero(known < values[-1])
    ties = np.count_nonzero(known == values[-1]) - 1
    return float((below + 0.5 * ties) / (known.size - 1))


def z_score(values: FloatArray, *, min_sigma: float = 0.0, coverage: float = COVERAGE) -> float:
    """Return how many population deviations the last value lies over the mean of its window (S10, S23).

    The deviation is taken as at least ``min_sigma``, in units of the values, so that a series which never
    moved does not turn a trifle into stress. NaN when the last value is missing or the deviation is 0.
    """
    known = covered(values, coverage=coverage)
    if not known.size or not math.isfinite(values[-1]):
        return math.nan
    mean, sigma = float(known.mean()), _deviation(known)
    sigma = max(sigma, min_sigma)
    return (float(values[-1]) - mean) / sigma if sigma > 0.0 else math.nan


def median_ratio(values: FloatArray, *, coverage: float = COVERAGE) -> float:
    """Return the last value over the median of its window; NaN when it is missing or the median not > 0."""
    known = covered(values, coverage=coverage)
    if not known.size or not math.isfinite(values[-1]):
        return math.nan
    middle = float(np.median(known))
    return float(values[-1]) / middle if middle > 0.0 else math.nan


def herfindahl(values: FloatArray) -> float:
    """Return the Herfindahl-Hirschman index, the sum of squared shares, in [1/n, 1] (R19).

    NaN when any value is unknown (its share may be the largest) or nothing is held. Raises InvariantError for
    a value under 0.
    """
    if (values < 0.0).any():
        raise InvariantError(f"concentration needs values of at least 0, the least was {values.min():g}")
    total = float(values.sum())
    if not 0.0 < total < math.inf:
        return math.nan
    shares = values / total
    return float(shares @ shares)


def _lines(x: FloatArray, y: FloatArray, *, coverage: float) -> tuple[FloatArray, ...]:
    """Return slope, intercept, R^2, residual deviation and pairs of each row of two [row, period] tables."""
    known = np.isfinite(x) & np.isfinite(y)
    pairs = known.sum(axis=1).astype(np.float64)
    enough = (pairs >= _MIN_PAIRS) & (pairs >= least_known(x.shape[1], coverage=coverage))
    count = np.where(enough, pairs, np.nan)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    mean_x, mean_y = x.sum(axis=1) / count, y.sum(axis=1) / count
    x, y = np.where(known, x - mean_x[:, None], 0.0), np.where(known, y - mean_y[:, None], 0.0)
    xx, yy, xy = (x * x).sum(axis=1), (y * y).sum(axis=1), (x * y).sum(axis=1)
    xx = np.where(xx > _LEVEL * count * mean_x**2, xx, np.nan)
    slope = xy / xx
    errors = ((y - slope[:, None] * x) ** 2).sum(axis=1)
    moving = np.where(yy > _LEVEL * count * mean_y**2, yy, np.nan)
    r_squared = np.clip(1.0 - errors / moving, 0.0, 1.0)
    return slope, mean_y - slope * mean_x, r_squared, np.sqrt(errors / (count - 2.0)), pairs


def _as_of(at_s: FloatArray, times_s: FloatArray, values: FloatArray, *, max_age_s: float) -> FloatArray:
    """Return the last known value at or before each time; NaN where it is older than ``max_age_s``."""
    known = np.isfinite(values)
    times, found = times_s[known], values[known]
    place = np.searchsorted(times, at_s, side="right") - 1
    out = np.full(at_s.shape, np.nan)
    there = np.flatnonzero(place >= 0)
    there = there[at_s[there] - times[place[there]] <= max_age_s]
    out[there] = found[place[there]]
    return out


def _deviation(known: FloatArray) -> float:
    """Return the population deviation, 0 where all values are the same number."""
    return float(known.std()) if (known != known[0]).any() else 0.0


def _last(values: FloatArray, count: int) -> FloatArray:
    """Return the last ``count`` values, missing ones in front where there are fewer."""
    part = values[-count:]
    return np.concatenate((np.full(count - part.size, np.nan), part))


def _unknown(pairs: int, coverage: float) -> Fit:
    return Fit(math.nan, math.nan, math.nan, math.nan, pairs, coverage)


def _names(factors: Mapping[str, FloatArray]) -> str:
    return " or ".join(sorted(factors)) or "any factor"
