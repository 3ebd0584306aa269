"""S15: MACD of the vol index (expansion), of price (divergence) and of on-chain volume."""

from dataclasses import dataclass
from enum import StrEnum

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import HOUR_S
from bot.quant.indicators import Divergence, Macd, divergence
from bot.signals.macd_bars import (
    bar_span,
    entry_span,
    expansion_bars,
    macd_at,
    macd_of,
    regime_span,
)
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent, read_subject
from bot.signals.subjects import pool_underlying, primary, primary_prices

_NO_VOLUME = "no source of on-chain volume is configured; its MACD reads neutral"


class Breakdown(StrEnum):
    """What R4 asks: did price break, and does MACD confirm it?"""

    NONE = "none"  # price did not close under its prior low
    CONFIRMED = "confirmed"  # it did, with the histogram negative and falling
    FALSE = "false"  # it did, and MACD does not confirm
    UNKNOWN = "unknown"  # no source, warming or missing


class Regime(StrEnum):
    """Where the daily MACD of price stands: by the sign of its line."""

    RISING = "rising"
    FALLING = "falling"
    UNKNOWN = "unknown"  # no source, missing, or too little history for daily bars


@dataclass(frozen=True, slots=True, kw_only=True)
class MacdSignal:
    """MACD(12, 26, 9) on closed bars, restarted on its look-back. Score: none 0, half-way 0.5, confirmed 1.

    Vol index, per source: an expansion crossover (histogram rises over a small dead band, line above 0)
    counts in full once it has lasted ``confirm_bars``, in part before, and no more after ``fresh_bars``.
    Price, primary source: a bearish divergence (higher high of price, lower high of MACD) is half-way, and
    confirmed once the histogram is negative; a bullish one is named and scores 0.
    On-chain volume, per pool and source: an expansion crossover as of the vol index, while the histogram of
    the underlying's price is negative: volume that expands into a rise is no stress. Without a source of
    volume an ABSENT reading says so.
    """

    id: str = "S15"
    name: str = "macd"
    family: Family = Family.TECHNICAL
    unit: str = "confirmation"
    metrics: tuple[Metric, ...] = (Metric.VOL_INDEX, Metric.PRICE_USD, Metric.VOLUME_USD_1D)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        """Return what the readings and R12's entries look at; the regime has ``regime_lookback_s``."""
        return max(bar_span(policy).lookback_s(policy), entry_span(policy).lookback_s(policy))

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        vols = [
            self.read_vol(columns, key, now_s=now_s, policy=policy) for key in columns.find(Metric.VOL_INDEX)
        ] or [absent(self, because=f"no source of {Metric.VOL_INDEX} is configured")]
        prices = [
            self.read_price(columns, key, now_s=now_s, policy=policy)
            for key in primary_prices(columns, policy)
        ] or [absent(self, because=f"no source of {Metric.PRICE_USD} is configured")]
        volumes = [
            self.read_volume(columns, key, now_s=now_s, policy=policy)
            for key in columns.find(Metric.VOLUME_USD_1D)
        ] or [absent(self, because=_NO_VOLUME, source="volume")]
        return (*vols, *prices, *volumes)

    def read_vol(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        return read_subject(
            self, (key,), columns, lambda inputs: _expansion(inputs, policy), now_s=now_s, policy=policy
        )

    def read_price(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        return read_subject(
            self, (key,), columns, lambda inputs: _divergence(inputs, policy), now_s=now_s, policy=policy
        )

    def read_volume(
        self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        underlying = pool_underlying(key.subject)
        price = primary(columns, Metric.PRICE_USD, underlying)
        if price is None:
            because = (
                f"no price of {underlying or 'an underlying'} is configured for {key.subject}: whether its "
                "volume sells cannot be told"
            )
            return absent(self, subject=key.subject, source=key.source, because=because)
        return read_subject(
            self, (key, price), columns, lambda inputs: _volume(inputs, policy), now_s=now_s, policy=policy
        )


MACD = MacdSignal()


def vol_expansion(columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str) -> bool | None:
    """Return whether any vol index of ``subject`` shows a confirmed, fresh expansion crossover (R12).

    Taken on the bars of entries (4 h). None when none can be read (absent, warming, missing).
    """
    span = entry_span(policy)
    keys = columns.find(Metric.VOL_INDEX, subject)
    found = [macd_at(columns, key, span, now_s=now_s, policy=policy) for key in keys]
    lasted = [expansion_bars(item, policy) for item in found if item is not None]
    return any(span.confirm_bars <= bars <= span.fresh_bars for bars in lasted) if lasted else None


def price_divergence(
    columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str
) -> Divergence | None:
    """Return how MACD of the primary price diverges from it on the bars of entries (R5); None unknown."""
    span = entry_span(policy)
    key = primary(columns, Metric.PRICE_USD, subject)
    found = macd_at(columns, key, span, now_s=now_s, policy=policy)
    return divergence(found.close, found.line, bars=span.extreme_bars) if found else None


def price_breakdown(columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str) -> Breakdown:
    """Return whether the last closed bar of the primary price broke its prior low, and if MACD confirms.

    A break is a close under the lowest close of the ``breakdown_bars`` before it; MACD confirms with a
    histogram that is negative and falling (R4).
    """
    key = primary(columns, Metric.PRICE_USD, subject)
    found = macd_at(columns, key, bar_span(policy), now_s=now_s, policy=policy)
    if found is None:
        return Breakdown.UNKNOWN
    prior = found.close[-1 - policy.technical.macd.breakdown_bars : -1]
    if not found.close[-1] < prior.min():
        return Breakdown.NONE
    confirmed = found.histogram[-1] < 0.0 and found.histogram[-1] < found.histogram[-2]
    return Breakdown.CONFIRMED if confirmed else Breakdown.FALSE


def price_regime(columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str) -> Regime:
    """Return the regime of the primary price on daily bars. It explains; no rule buys on it: it is late."""
    key = primary(columns, Metric.PRICE_USD, subject)
    found = macd_at(columns, key, regime_span(policy), now_s=now_s, policy=policy)
    if found is None:
        return Regime.UNKNOWN
    return Regime.RISING if found.line[-1] > 0.0 else Regime.FALLING


def regime_lookback_s(policy: SignalsPolicy) -> float:
    """Return how much history of prices the regime looks at; one row a day is enough of it."""
    return regime_span(policy).lookback_s(policy)


def _expansion(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    found = macd_of(inputs, bar_span(policy), policy)
    if not isinstance(found, Macd):
        return found
    score, state = _expanded(found, policy)
    numbers = (
        f"MACD line {found.line[-1]:+.4f}, histogram {found.histogram[-1]:+.4f} "
        f"at a vol index of {found.close[-1]:.1%}"
    )
    return Measured(value=score, score=score, because=f"{state}: {numbers}")


def _volume(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    span = bar_span(policy)
    found = macd_of(inputs, span, policy)
    price = macd_of(inputs, span, policy, place=1)
    if not isinstance(found, Macd):
        return found
    if not isinstance(price, Macd):
        return price
    score, state = _expanded(found, policy)
    falls = bool(price.histogram[-1] < 0.0)
    because = (
        f"volume of 24 h {found.close[-1]:,.0f} USD: {state}; MACD histogram of price "
        f"{price.histogram[-1]:+.2f}, {'it falls' if falls else 'it does not fall, so volume is no stress'}"
    )
    score = score if falls else 0.0
    return Measured(value=score, score=score, because=because)


def _expanded(found: Macd, policy: SignalsPolicy) -> tuple[float, str]:
    """Return the score of an expansion crossover, with its state in words."""
    span, bars = bar_span(policy), expansion_bars(found, policy)
    if bars == 0:
        return 0.0, "no expansion crossover"
    hours = bars * span.bar_s / HOUR_S
    if bars > span.fresh_bars:
        return 0.0, f"the expansion crossover is {hours:.0f} h old and no news"
    score = round(min(bars / span.confirm_bars, 1.0), 9)
    return (
        score,
        f"expansion crossover of {hours:.0f} h, {'confirmed' if score >= 1.0 else 'not yet confirmed'}",
    )


def _divergence(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    found = macd_of(inputs, bar_span(policy), policy)
    if not isinstance(found, Macd):
        return found
    kind = divergence(found.close, found.line, bars=policy.technical.macd.divergence_bars)
    histogram = float(found.histogram[-1])
    score = 0.0
    if kind is Divergence.BEARISH:
        score = 1.0 if histogram < 0.0 else 0.5
    spoken = "no" if kind is Divergence.NONE else str(kind)
    because = (
        f"{spoken} divergence of price against MACD over {policy.technical.macd.divergence_bars} bars, "
        f"histogram {histogram:+.2f} at {found.close[-1]:,.2f} USD"
    )
    return Measured(value=score, score=score, because=because)
