"""How much an underlying moved, from the prices of a frame, and what GARCH(1,1) makes of it.

Vols are fractions a year of 365 days. What cannot be told is NaN, with the reason.
"""

import math
from dataclasses import dataclass

import numpy as np

from bot.engine.policy import Policy
from bot.model.market import Column, Frame, Metric, SeriesKey
from bot.model.units import DAY_S
from bot.quant.bars import Bars, closed_bars
from bot.quant.garch import GarchUnknown, fit_garch
from bot.quant.volatility import (
    after_last_long_hole,
    decay_of_span,
    ewma_vol,
    high_low,
    least_known,
    log_returns,
    parkinson_vol,
    periods_per_year,
)
from bot.quant.volatility import close_to_close_vol as plain_vol
from bot.signals.moves import moves
from bot.signals.reading import quiet_bars

# A day's range of n samples falls short of the path's by about 1.17 / sqrt(n) of its sigma (Broadie,
# Glasserman and Kou 1997), of the 1.60 that it has: with 96, one each 15 minutes, Parkinson's is 7 % low.
_RANGE_SAMPLES = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class VolFigure:
    """One estimate; ``vol`` is NaN when it is unknown, and ``because`` says why, else what it rests on."""

    name: str
    vol: float
    because: str


def realised_vols(policy: Policy, frame: Frame, underlying: str) -> tuple[VolFigure, ...]:
    """Return S11's short (EWMA) and long vol, Parkinson's, and the GARCH forecast over R8's horizon.

    All from the first price source of the underlying, as S11 and R8 take it.
    """
    names = _names(policy)
    key = next(iter(frame.columns.find(Metric.PRICE_USD, underlying)), None)
    if key is None:
        why = f"no source of {underlying}'s price"
        return tuple(VolFigure(name=name, vol=math.nan, because=why) for name in names)
    column = frame.columns[key].until(frame.now_s)
    hourly, daily = _hourly(policy, frame, key, column), _daily(policy, frame, column)
    found = (*hourly, _parkinson(policy, frame, column), _garch(policy, daily))
    return tuple(
        VolFigure(name=name, vol=vol, because=why) for name, (vol, why) in zip(names, found, strict=True)
    )


def _names(policy: Policy) -> tuple[str, ...]:
    technical = policy.signals.technical
    span_h, days = technical.vol_span_s / 3_600, technical.vol_window_s / DAY_S
    return (
        f"EWMA {span_h:g} h",
        f"{days:g} d",
        f"Parkinson {days:g} d",
        f"GARCH(1,1) next {policy.sizing.horizon_days} d",
    )


def _hourly(policy: Policy, frame: Frame, key: SeriesKey, column: Column) -> tuple[tuple[float, str], ...]:
    """Return S11's two vols: EWMA of its span, and the zero-mean deviation of its window."""
    signals = policy.signals
    count, span = signals.bars(signals.technical.vol_window_s), signals.bars(signals.technical.vol_span_s)
    bars = closed_bars(column, bar_s=signals.bar_s, now_s=frame.now_s, count=count + 1)
    quiet, yearly = quiet_bars(key, signals), periods_per_year(signals.bar_s)
    recent = moves(after_last_long_hole(bars.close, max_hole_bars=signals.max_hole_bars), quiet_bars=quiet)
    fresh, needed = int(np.isfinite(recent).sum()), least_known(span, coverage=signals.coverage)
    short = (math.nan, _too_few(fresh, needed, "hourly returns"))
    if fresh >= needed:
        vol = ewma_vol(recent, decay=decay_of_span(span), periods_per_year=yearly)
        short = (vol, f"{fresh} hourly returns")
    returns = moves(bars.close, quiet_bars=quiet)[1:]
    known = int(np.isfinite(returns).sum())
    vol = plain_vol(returns, periods_per_year=yearly, coverage=signals.coverage)
    why = _too_few(known, least_known(count, coverage=signals.coverage), "hourly returns")
    return short, (vol, f"{known} hourly returns" if math.isfinite(vol) else why)


def _daily(policy: Policy, frame: Frame, column: Column) -> Bars:
    return closed_bars(column, bar_s=int(DAY_S), now_s=frame.now_s, count=policy.sizing.history_days)


def _parkinson(policy: Policy, frame: Frame, column: Column) -> tuple[float, str]:
    signals = policy.signals
    days = int(signals.technical.vol_window_s // DAY_S)
    bars = closed_bars(column, bar_s=int(DAY_S), now_s=frame.now_s, count=days)
    high, low = high_low(column, bars, min_observations=_RANGE_SAMPLES)
    vol = parkinson_vol(high, low, periods_per_year=periods_per_year(DAY_S), coverage=signals.coverage)
    known = int(np.isfinite(high).sum())
    if math.isfinite(vol):
        return vol, f"ranges of {known} days"
    needed = least_known(days, coverage=signals.coverage)
    return math.nan, _too_few(known, needed, f"days with {_RANGE_SAMPLES} prices or more")


def _garch(policy: Policy, daily: Bars) -> tuple[float, str]:
    holes = int(policy.signals.max_hole_s // DAY_S)
    close = after_last_long_hole(daily.close, max_hole_bars=holes)
    fit = fit_garch(log_returns(close))
    if isinstance(fit, GarchUnknown):
        return math.nan, fit.because
    vol = fit.vol(policy.sizing.horizon_days, periods_per_year=periods_per_year(DAY_S))
    return vol, f"{fit.returns_known} daily returns, persistence {fit.persistence:.3f}"


def _too_few(known: int, needed: float, what: str) -> str:
    return f"{known} {what} known, {math.ceil(needed)} needed"
