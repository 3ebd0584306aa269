"""Price paths, value at risk, expected shortfall, and the hedge size that removes a share of it (R8)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant.volatility import RISKMETRICS_DECAY, ewma_variance, log_returns, segments

FILTERED_HISTORICAL = "filtered historical simulation"
EWMA_STUDENT = "EWMA vol x Student-t(4), floored"

DAYS_PER_YEAR = 365
MIN_DAILY_RETURNS = 250  # R8
VOL_FLOOR = 0.60  # a year, when history is short (R8)
VOL_MEDIAN_DAYS = 180  # R8: vol is floored at its median over these days
VOL_CAP = 1.5  # and capped at this multiple of it
_COVERAGE = 0.6
_MAX_HOLE_DAYS = 1  # a daily hole of one bar is 24 h and skipped, two are 48 h > 36 h
WARM_UP_RETURNS = 20  # returns before an EWMA forecast standardises another: over 70 % of its weight is there
_STUDENT_DF = 4
_LEVELS = 200  # probability grid 1/200 .. 199/200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathSet:
    """Equally likely price paths by day."""

    spots: FloatArray  # [path, day]; day 0 is today's spot
    method: str
    warmed: bool  # history was long enough for the historical method
    vol: float  # that the paths were scaled with, a year
    returns_known: int  # daily returns that were there


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeScale:
    """How many units of a hedge, and what share of the value at risk they remove."""

    scale: float  # >= 0; NaN when an input is NaN
    share: float  # reached; under the wanted share when the hedge cannot do it; NaN as scale


def spot_paths(
    daily_close: FloatArray,
    *,
    spot: float,
    horizon_days: int,
    decay: float = RISKMETRICS_DECAY,
    min_returns: int = MIN_DAILY_RETURNS,
    vol_floor: float = VOL_FLOOR,
    vol_cap: float = VOL_CAP,
    median_days: int = VOL_MEDIAN_DAYS,
) -> PathSet:
    """Return paths from ``spot`` over ``horizon_days``; ``daily_close`` oldest first, NaN missing.

    Filtered historical simulation (Barone-Adesi, Giannopoulos, Vosper 1999): every run of ``horizon_days``
    consecutive daily log returns, each divided by its own EWMA forecast, times today's EWMA vol held within
    [median, ``vol_cap`` x median] of its last ``median_days``. No run crosses a hole of more than 36 h.

    With fewer than ``min_returns`` returns, or a median on less than 60 % of its days: 199 straight log paths
    to the Student-t(4) quantiles (not rescaled to unit variance, so the tail stays fat) of max(EWMA vol,
    ``vol_floor``) x sqrt(horizon). Raises InvariantError for a spot or horizon that is not positive.
    """
    check_path(spot=spot, horizon_days=horizon_days)
    past = past_shocks(np.asarray(daily_close, dtype=np.float64), decay=decay, median_days=median_days)
    windows = [sliding_window_view(part, horizon_days) for part in past.shocks if part.size >= horizon_days]
    if windows and past.speaks(min_returns=min_returns, cap=vol_cap):
        vol = past.held_vol(cap=vol_cap)
        return historical_paths(np.concatenate(windows), spot=spot, vol=vol, past=past)
    quantiles = student_quantiles(np.arange(1, _LEVELS) / _LEVELS)
    vol = past.short_vol(cap=vol_cap, floor=vol_floor)
    return straight_paths(quantiles, spot=spot, vol=vol, past=past, horizon_days=horizon_days)


def value_at_risk(losses: FloatArray, *, confidence: float = 0.99) -> float:
    """Return the smallest loss that at least ``confidence`` of the equally likely outcomes do not exceed.

    Positive is a loss. NaN when there is no outcome or any is NaN: an unknown outcome is never left out.
    """
    rank = _rank(losses.size, confidence)
    if not losses.size or np.count_nonzero(np.isnan(losses)):
        return math.nan
    parted = losses.copy()
    parted.partition(rank - 1)
    return float(parted[rank - 1])


def expected_shortfall(losses: FloatArray, *, confidence: float = 0.99) -> float:
    """Return the mean loss of the worst 1 - ``confidence`` of the outcomes (Acerbi and Tasche 2002).

    The outcome on the edge counts with the part of its probability that is in the tail; NaN as in VaR.
    """
    _rank(losses.size, confidence)
    if not losses.size or np.isnan(losses).any():
        return math.nan
    mass = (1.0 - confidence) * losses.size
    worst = np.sort(losses)[::-1]
    weights = np.clip(mass - np.arange(losses.size), 0.0, 1.0)
    return float(worst @ weights / weights.sum())


def hedge_scale(
    losses: FloatArray,
    unit_gains: FloatArray,
    *,
    share: float,
    confidence: float = 0.99,
    max_scale: float = math.inf,
) -> HedgeScale:
    """Return the least k in [0, max_scale] with VaR(losses - k x unit_gains) <= (1 - share) x VaR(losses).

    Exact, no search: outcome i is within the target on one interval of k that its line decides, and k is the
    first point that enough intervals cover. Where no k reaches the target, k is the least that gives the
    smallest VaR (to 1e-9 of it) and ``share`` is what it removes. When there is nothing at risk
    (VaR <= 0) k is 0 and the wanted share counts as reached. Any NaN or infinite outcome gives NaN for both.
    """
    if losses.shape != unit_gains.shape or not 0.0 <= share <= 1.0 or not max_scale >= 0.0:
        raise InvariantError(
            f"hedge scale needs equal shapes, share in [0, 1] and max_scale >= 0; were "
            f"{losses.shape} and {unit_gains.shape}, {share}, {max_scale}"
        )
    base = value_at_risk(losses, confidence=confidence)
    if not (np.isfinite(losses).all() and np.isfinite(unit_gains).all() and math.isfinite(base)):
        return HedgeScale(scale=math.nan, share=math.nan)
    if base <= 0.0:
        return HedgeScale(scale=0.0, share=share)
    rank = _rank(losses.size, confidence)
    scale = _scale(losses, unit_gains, base=base, share=share, rank=rank, max_scale=max_scale)
    reached = 1.0 - value_at_risk(losses - scale * unit_gains, confidence=confidence) / base
    return HedgeScale(scale=scale, share=reached)


def scale_for(
    losses: FloatArray,
    unit_gains: FloatArray,
    *,
    at_risk: float,
    share: float,
    confidence: float = 0.99,
    max_scale: float = math.inf,
) -> float:
    """Return the scale that ``hedge_scale`` finds, for finite inputs whose value at risk > 0 is known."""
    rank = _rank(losses.size, confidence)
    return _scale(losses, unit_gains, base=at_risk, share=share, rank=rank, max_scale=max_scale)


def _rank(count: int, confidence: float) -> int:
    if not 0.0 < confidence < 1.0:
        raise InvariantError(f"confidence must be in (0, 1), was {confidence}")
    return max(1, math.ceil(round(confidence * count, 9)))  # 0.57 x 100 is 56.99999999999999


def _scale(
    losses: FloatArray, gains: FloatArray, *, base: float, share: float, rank: int, max_scale: float
) -> float:
    lines = _lines(losses, gains)
    scale = lines.least(target=(1.0 - share) * base, rank=rank, max_scale=max_scale)
    if math.isnan(scale):
        scale = _best_scale(lines, base=base, share=share, rank=rank, max_scale=max_scale)
    return scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lines:
    """Finite losses as lines of the scale k, ``loss - k x gain``, apart by what more of the hedge does."""

    falling: FloatArray  # losses where it gains
    gains: FloatArray  # there, > 0
    rising: FloatArray  # losses where it costs
    costs: FloatArray  # there, < 0
    flat: FloatArray  # losses where it does nothing

    def least(self, *, target: float, rank: int, max_scale: float) -> float:
        """Return the least k at which ``rank`` outcomes lose at most ``target``; NaN when there is none."""
        over = self.rising - target
        within = over <= 0.0
        always = int(np.count_nonzero(self.flat - target <= 0.0))
        begun = always + int(np.count_nonzero(within))
        if begun + self.falling.size < rank:
            return math.nan
        enters = np.sort(np.maximum((self.falling - target) / self.gains, 0.0))  # within it from here on
        leaves = np.sort(over[within] / self.costs[within])  # within it up to here
        candidates = np.concatenate(([0.0], enters))[max(rank - begun, 0) :]  # before, too few have entered
        inside = np.searchsorted(enters, candidates, side="right") + begun
        inside -= np.searchsorted(leaves, candidates, side="left")
        good = np.flatnonzero((inside >= rank) & (candidates <= max_scale))
        return float(candidates[good[0]]) if good.size else math.nan


def _lines(losses: FloatArray, gains: FloatArray) -> _Lines:
    up, down = gains > 0.0, gains < 0.0
    return _Lines(
        falling=losses[up],
        gains=gains[up],
        rising=losses[down],
        costs=gains[down],
        flat=losses[~(up | down)],
    )


def _best_scale(lines: _Lines, *, base: float, share: float, rank: int, max_scale: float) -> float:
    """Return the least k with the smallest reachable VaR, by bisection on the target."""
    reached, refused, best = base, (1.0 - share) * base, 0.0
    while reached - refused > 1e-9 * base:
        middle = 0.5 * (reached + refused)
        scale = lines.least(target=middle, rank=rank, max_scale=max_scale)
        if math.isnan(scale):
            refused = middle
        else:
            reached, best = middle, scale
    return best


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """What a daily history says; NaN vols where it says nothing."""

    shocks: tuple[FloatArray, ...]  # standardised returns, one array per stretch without a long hole
    by_day: FloatArray  # the same on their days, as long as the history; NaN where there is none
    last_vol: float  # EWMA, a year
    median_vol: float  # of the last ``median_days``
    returns_known: int

    def held_vol(self, *, cap: float) -> float:
        """Return the last vol held within [median, cap x median] (R8); unchanged when that is unknown."""
        if not math.isfinite(self.median_vol):
            return self.last_vol
        return min(max(self.last_vol, self.median_vol), cap * self.median_vol)

    def short_vol(self, *, cap: float, floor: float) -> float:
        """Return the vol for a history that is too short to speak for itself: at least ``floor``."""
        vol = self.held_vol(cap=cap)
        return max(vol, floor) if math.isfinite(vol) else floor

    def speaks(self, *, min_returns: int, cap: float) -> bool:
        """Return whether R8 lets this history speak for itself."""
        long_enough = self.returns_known >= min_returns and math.isfinite(self.median_vol)
        return long_enough and self.held_vol(cap=cap) > 0.0


def check_path(*, spot: float, horizon_days: int) -> None:
    if not 0.0 < spot < math.inf or horizon_days < 1:
        raise InvariantError(f"paths need spot > 0 and horizon_days >= 1, were {spot} and {horizon_days}")


def past_shocks(
    close: FloatArray, *, decay: float = RISKMETRICS_DECAY, median_days: int = VOL_MEDIAN_DAYS
) -> Past:
    """Filter daily closes, oldest first: each log return over the EWMA vol forecast of the day before.

    The first 20 returns after a hole of more than 36 h only warm the forecast up.
    """
    returns = log_returns(close)
    variance, by_day = (np.full(close.shape, np.nan) for _ in range(2))  # variance after each day
    shocks = []
    for part in segments(close, max_hole_bars=_MAX_HOLE_DAYS):
        variance[part] = np.where(np.isfinite(close[part]), ewma_variance(returns[part], decay=decay), np.nan)
        by_day[part] = _standardised(returns[part], variance[part])
        shocks.append(by_day[part][~np.isnan(by_day[part])])
    return Past(
        shocks=tuple(shocks),
        by_day=by_day,
        last_vol=_last_vol(variance),
        median_vol=_median_vol(variance[-median_days:], days=median_days),
        returns_known=int(np.count_nonzero(np.isfinite(returns))),
    )


def straight_paths(
    quantiles: FloatArray, *, spot: float, vol: float, past: Past, horizon_days: int
) -> PathSet:
    """Return paths straight in the log to these quantiles x ``vol`` (a year) x sqrt(horizon); not warmed."""
    ends = quantiles * vol * math.sqrt(horizon_days / DAYS_PER_YEAR)
    logs = np.outer(ends, np.arange(1, horizon_days + 1) / horizon_days)
    return _path_set(logs, spot=spot, method=EWMA_STUDENT, vol=vol, returns_known=past.returns_known)


def historical_paths(windows: FloatArray, *, spot: float, vol: float, past: Past) -> PathSet:
    """Return paths of standardised shocks [path, day] x ``vol`` (a year)."""
    logs = np.cumsum(windows * vol / math.sqrt(DAYS_PER_YEAR), axis=1)
    return _path_set(logs, spot=spot, method=FILTERED_HISTORICAL, vol=vol, returns_known=past.returns_known)


def student_quantiles(levels: FloatArray) -> FloatArray:
    """Return quantiles of Student's t with 4 degrees of freedom, not rescaled to unit variance (R8)."""
    from scipy.special import stdtrit  # what scipy.stats.t calls, without the second that its import takes

    return np.asarray(stdtrit(_STUDENT_DF, levels))


def _path_set(logs: FloatArray, *, spot: float, method: str, vol: float, returns_known: int) -> PathSet:
    return PathSet(
        spots=spot * np.exp(np.pad(logs, ((0, 0), (1, 0)))),
        method=method,
        warmed=method == FILTERED_HISTORICAL,
        vol=vol,
        returns_known=returns_known,
    )


def _standardised(returns: FloatArray, variance: FloatArray) -> FloatArray:
    """Return known returns over the vol forecast of the day before, NaN elsewhere and in the warm-up."""
    out = np.full(returns.shape, np.nan)
    known = np.flatnonzero(np.isfinite(returns))
    days, after = known[WARM_UP_RETURNS:], np.sqrt(variance[known])
    forecast = after[WARM_UP_RETURNS - 1 : -1]
    moving = forecast > 0.0
    out[days[moving]] = returns[days[moving]] / forecast[moving]
    return out


def _median_vol(variance: FloatArray, *, days: int) -> float:
    known = variance[np.isfinite(variance)]
    if known.size < _COVERAGE * days:
        return math.nan
    return math.sqrt(float(np.median(known)) * DAYS_PER_YEAR)


def _last_vol(variance: FloatArray) -> float:
    known = variance[np.isfinite(variance)]
    return math.sqrt(float(known[-1]) * DAYS_PER_YEAR) if known.size else math.nan
