"""S14: Wilder's RSI of price and of the vol index: momentum, or exhaustion."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Quality, Reading
from bot.quant.bars import Bars
from bot.quant.indicators import exhausted, rsi
from bot.quant.volatility import after_last_long_hole
from bot.signals.anchors import Anchors
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent,
    gather,
    no_last_bar,
    read_subject,
    too_few,
)
from bot.signals.subjects import primary, primary_prices


@dataclass(frozen=True, slots=True, kw_only=True)
class RsiSignal:
    """RSI(14) on closed bars, restarted on its look-back: low is stress for price, high for the vol index.

    Price: each asset's primary source, one of the five fast scores of R1. Vol index: each source. Exhaustion
    (price RSI under 25 and rising for 2 bars) is named and does not lower the score: the method has it stop
    R12's purchase of NEAR, not the alarm. A series that never moved has no RSI: 0 / 0, not 0.
    """

    id: str = "S14"
    name: str = "rsi"
    family: Family = Family.TECHNICAL
    unit: str = "points"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD, Metric.VOL_INDEX)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return (policy.technical.rsi.lookback_bars + 1) * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        prices = [
            self.read_price(columns, key, now_s=now_s, policy=policy)
            for key in primary_prices(columns, policy)
        ] or [absent(self, because=f"no source of {Metric.PRICE_USD} is configured")]
        vols = [
            self.read_vol(columns, key, now_s=now_s, policy=policy) for key in columns.find(Metric.VOL_INDEX)
        ] or [absent(self, because=f"no source of {Metric.VOL_INDEX} is configured")]
        return (*prices, *vols)

    def read_price(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        return read_subject(
            self, (key,), columns, lambda inputs: _of_price(inputs, policy), now_s=now_s, policy=policy
        )

    def read_vol(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        anchors = policy.technical.rsi.vol
        return read_subject(
            self,
            (key,),
            columns,
            lambda inputs: _measure(inputs, policy, anchors, "the vol index"),
            now_s=now_s,
            policy=policy,
        )


RSI = RsiSignal()


def exhaustion(columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str) -> bool | None:
    """Return whether the fall of the primary price is exhausted (R12): RSI under 25 and rising for 2 bars.

    None when it cannot be told (absent, warming, missing).
    """
    key = primary(columns, Metric.PRICE_USD, subject)
    if key is None:
        return None
    inputs, worst = gather((key,), columns, lookback_s=RSI.lookback_s(policy), now_s=now_s, policy=policy)
    if worst.quality is Quality.MISSING:
        return None
    found = _rsi(inputs, policy, "price")
    return _is_exhausted(found, policy) if isinstance(found, np.ndarray) else None


def _is_exhausted(found: FloatArray, policy: SignalsPolicy) -> bool | None:
    numbers = policy.technical.rsi
    return exhausted(found, below=numbers.exhausted_below, rising_bars=numbers.exhausted_bars)


def _of_price(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    measured = _measure(inputs, policy, policy.technical.rsi.price, "price")
    found = _rsi(inputs, policy, "price")
    if isinstance(measured, NotYet) or not (isinstance(found, np.ndarray) and _is_exhausted(found, policy)):
        return measured
    numbers = policy.technical.rsi
    because = (
        f"{measured.because}; exhaustion: under {numbers.exhausted_below:g} and rising for "
        f"{numbers.exhausted_bars} bars"
    )
    return Measured(value=measured.value, score=measured.score, because=because)


def _measure(inputs: Inputs, policy: SignalsPolicy, anchors: Anchors, what: str) -> Measured | NotYet:
    found = _rsi(inputs, policy, what)
    if not isinstance(found, np.ndarray):
        return found
    value = float(found[-1])
    return Measured(
        value=value,
        score=anchors.score(value),
        because=f"RSI({policy.technical.rsi.period}) of {what} {value:.1f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


def _rsi(inputs: Inputs, policy: SignalsPolicy, what: str) -> FloatArray | Measured | NotYet:
    (column,) = inputs.columns
    numbers = policy.technical.rsi
    bars = inputs.held_bars(column, count=numbers.lookback_bars, policy=policy)
    found, moved = bars.once(("rsi", numbers.period, policy.max_hole_bars), lambda: _worked_out(bars, policy))
    needed = max(policy.coverage * numbers.lookback_bars, numbers.period + 1 + numbers.exhausted_bars)
    if found.size < needed:
        return too_few(
            found.size,
            needed=needed,
            window_s=numbers.lookback_bars * policy.bar_s,
            inputs=inputs,
            policy=policy,
            what=f"RSI of {what}",
        )
    if math.isnan(bars.close[-1]):
        return no_last_bar(f"RSI of {what}")
    if not moved:
        because = f"RSI of {what}: it did not move in {found.size} bars"
        return Measured(value=math.nan, score=math.nan, because=because)
    return found


def _worked_out(bars: Bars, policy: SignalsPolicy) -> tuple[FloatArray, bool]:
    """Return RSI on the known bars since the last long hole, and whether they moved at all."""
    numbers = policy.technical.rsi
    found = rsi(
        bars.close,
        lookback=numbers.lookback_bars,
        period=numbers.period,
        max_hole_bars=policy.max_hole_bars,
    )
    recent = after_last_long_hole(bars.close, max_hole_bars=policy.max_hole_bars)
    known = recent[np.isfinite(recent)]
    return found, bool(known.size and known.min() < known.max())
