"""S15: MACD of the vol index (expansion) and of price (divergence), and what R4 and R12 ask of it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Quality, Reading
from bot.model.units import HOUR_S
from bot.quant.indicators import Divergence, Macd, bars_since_cross_up, divergence, macd
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent, gather, no_last_bar, read_subject, too_few
from bot.signals.subjects import primary, primary_prices

_NO_VOLUME = "no source of on-chain volume is configured; its MACD reads neutral"


class Breakdown(StrEnum):
    """What R4 asks: did price break, and does MACD confirm it?"""

    NONE = "none"  # price did not close under its prior low
    CONFIRMED = "confirmed"  # it did, with the histogram negative and falling
    FALSE = "false"  # it did, and MACD does not confirm
    UNKNOWN = "unknown"  # no source, warming or missing


@dataclass(frozen=True, slots=True, kw_only=True)
class MacdSignal:
    """MACD(12, 26, 9) on closed bars, restarted on its look-back. Score: none 0, half-way 0.5, confirmed 1.

    Vol index, per source: an expansion crossover (histogram rises over a small dead band, line above 0)
    counts in full once it has lasted ``confirm_bars``, in part before, and no more after ``fresh_bars``.
    Price, primary source: a bearish divergence (higher high of price, lower high of MACD) is half-way, and
    confirmed once the histogram is negative; a bullish one is named and scores 0. On-chain volume has no
    series yet: an ABSENT reading names it.
    """

    id: str = "S15"
    name: str = "macd"
    family: Family = Family.TECHNICAL
    unit: str = "confirmation"
    metrics: tuple[Metric, ...] = (Metric.VOL_INDEX, Metric.PRICE_USD)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return (policy.technical.macd.lookback_bars + 1) * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        readings = [
            self.read_vol(columns, key, now_s=now_s, policy=policy) for key in columns.find(Metric.VOL_INDEX)
        ] or [absent(self, because=f"no source of {Metric.VOL_INDEX} is configured")]
        prices = [
            self.read_price(columns, key, now_s=now_s, policy=policy)
            for key in primary_prices(columns, policy)
        ] or [absent(self, because=f"no source of {Metric.PRICE_USD} is configured")]
        return (*readings, *prices, absent(self, because=_NO_VOLUME, source="volume"))

    def read_vol(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        return read_subject(
            self, (key,), columns, lambda inputs: _expansion(inputs, policy), now_s=now_s, policy=policy
        )

    def read_price(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        return read_subject(
            self, (key,), columns, lambda inputs: _divergence(inputs, policy), now_s=now_s, policy=policy
        )


MACD = MacdSignal()


def vol_expansion(columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str) -> bool | None:
    """Return whether any vol index of ``subject`` shows a confirmed expansion crossover (R12).

    None when none can be read (absent, warming, missing).
    """
    readings = [
        MACD.read_vol(columns, key, now_s=now_s, policy=policy)
        for key in columns.find(Metric.VOL_INDEX, subject)
    ]
    counted = [reading.score >= 1.0 for reading in readings if reading.counts]
    return any(counted) if counted else None


def price_breakdown(columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str) -> Breakdown:
    """Return whether the last closed bar of the primary price broke its prior low, and if MACD confirms.

    A break is a close under the lowest close of the ``breakdown_bars`` before it; MACD confirms with a
    histogram that is negative and falling (R4).
    """
    key = primary(columns, Metric.PRICE_USD, subject)
    if key is None:
        return Breakdown.UNKNOWN
    inputs, worst = gather((key,), columns, lookback_s=MACD.lookback_s(policy), now_s=now_s, policy=policy)
    if worst.quality is Quality.MISSING:
        return Breakdown.UNKNOWN
    found = _macd(inputs, policy)
    if not isinstance(found, Macd):
        return Breakdown.UNKNOWN
    prior = found.close[-1 - policy.technical.macd.breakdown_bars : -1]
    if not found.close[-1] < prior.min():
        return Breakdown.NONE
    confirmed = found.histogram[-1] < 0.0 and found.histogram[-1] < found.histogram[-2]
    return Breakdown.CONFIRMED if confirmed else Breakdown.FALSE


def _macd(inputs: Inputs, policy: SignalsPolicy) -> Macd | Measured | NotYet:
    (column,) = inputs.columns
    numbers = policy.technical.macd
    bars = inputs.held_bars(column, count=numbers.lookback_bars, policy=policy)
    found = bars.once(
        ("macd", numbers, policy.max_hole_bars),
        lambda: macd(
            bars.close,
            lookback=numbers.lookback_bars,
            fast=numbers.fast,
            slow=numbers.slow,
            signal=numbers.signal,
            max_hole_bars=policy.max_hole_bars,
        ),
    )
    settled = numbers.settling_bars + 2 * max(numbers.divergence_bars, numbers.breakdown_bars)
    needed = max(policy.coverage * numbers.lookback_bars, settled)
    if found.close.size < needed:
        return too_few(
            found.close.size,
            needed=needed,
            window_s=numbers.lookback_bars * policy.bar_s,
            inputs=inputs,
            policy=policy,
            what="MACD",
        )
    return no_last_bar("MACD") if math.isnan(bars.close[-1]) else found


def _expansion(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    found = _macd(inputs, policy)
    if not isinstance(found, Macd):
        return found
    level, histogram = float(found.close[-1]), float(found.histogram[-1])
    bars = bars_since_cross_up(
        found.line, found.histogram, dead_band=policy.technical.macd.dead_band * abs(level)
    )
    numbers = f"MACD line {found.line[-1]:+.4f}, histogram {histogram:+.4f} at a vol index of {level:.1%}"
    if bars == 0:
        return Measured(value=0.0, score=0.0, because=f"no expansion crossover: {numbers}")
    hours = bars * policy.bar_s / HOUR_S
    if bars > policy.technical.macd.fresh_bars:
        because = f"the expansion crossover is {hours:.0f} h old and no news: {numbers}"
        return Measured(value=0.0, score=0.0, because=because)
    score = round(min(bars / policy.technical.macd.confirm_bars, 1.0), 9)
    state = "confirmed" if score >= 1.0 else "not yet confirmed"
    return Measured(
        value=score, score=score, because=f"expansion crossover of {hours:.0f} h, {state}: {numbers}"
    )


def _divergence(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    found = _macd(inputs, policy)
    if not isinstance(found, Macd):
        return found
    kind = divergence(found.close, found.line, bars=policy.technical.macd.divergence_bars)
    histogram = float(found.histogram[-1])
    score = 0.0
    if kind is Divergence.BEARISH:
        score = 1.0 if histogram < 0.0 else 0.5
    because = (
        f"{kind} divergence of price against MACD over {policy.technical.macd.divergence_bars} bars, "
        f"histogram {histogram:+.2f} at {found.close[-1]:,.2f} USD"
    )
    return Measured(value=score, score=score, because=because.replace("none divergence", "no divergence"))
