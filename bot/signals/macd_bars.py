"""MACD of one column on closed bars: the policy's, longer ones for entries, daily ones for regimes."""

import math
from dataclasses import dataclass, replace

from bot.model.market import Columns, SeriesKey
from bot.model.tier import Quality
from bot.quant.indicators import Macd, bars_since_cross_up, macd
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, gather, no_last_bar, too_few


@dataclass(frozen=True, slots=True, kw_only=True)
class MacdSpan:
    """Which bars MACD is taken on, and how many known ones it needs."""

    bar_s: int
    lookback_bars: int
    extreme_bars: int = 0  # stretches of so many bars whose extremes are compared, two of them
    confirm_bars: int = 1  # an expansion counts in full from so many bars on
    fresh_bars: int = 0  # and until so many

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return (self.lookback_bars + 1) * self.bar_s + policy.slack_s


def bar_span(policy: SignalsPolicy) -> MacdSpan:
    """Return the bars that S15 scores on and R4 looks at."""
    numbers = policy.technical.macd
    return MacdSpan(
        bar_s=policy.bar_s,
        lookback_bars=numbers.lookback_bars,
        extreme_bars=max(numbers.divergence_bars, numbers.breakdown_bars),
        confirm_bars=numbers.confirm_bars,
        fresh_bars=numbers.fresh_bars,
    )


def entry_span(policy: SignalsPolicy) -> MacdSpan:
    """Return the longer bars that entries are timed with (R5, R12)."""
    numbers = policy.technical.macd.entry
    return MacdSpan(
        bar_s=numbers.bar_s,
        lookback_bars=numbers.lookback_bars,
        extreme_bars=numbers.divergence_bars,
        confirm_bars=numbers.confirm_bars,
        fresh_bars=numbers.fresh_bars,
    )


def regime_span(policy: SignalsPolicy) -> MacdSpan:
    """Return the daily bars of the regime."""
    numbers = policy.technical.macd.regime
    return MacdSpan(bar_s=numbers.bar_s, lookback_bars=numbers.lookback_bars)


def macd_of(
    inputs: Inputs, span: MacdSpan, policy: SignalsPolicy, *, place: int = 0
) -> Macd | Measured | NotYet:
    """Return MACD of a column up to its newest known bar, or why there is none."""
    numbers = policy.technical.macd
    bars = inputs.held_bars(inputs.columns[place], count=span.lookback_bars, policy=policy, bar_s=span.bar_s)
    max_hole_bars = int(policy.max_hole_s // span.bar_s)
    found = bars.once(
        ("macd", numbers, max_hole_bars),
        lambda: macd(
            bars.close,
            lookback=span.lookback_bars,
            fast=numbers.fast,
            slow=numbers.slow,
            signal=numbers.signal,
            max_hole_bars=max_hole_bars,
        ),
    )
    needed = max(policy.coverage * span.lookback_bars, numbers.settling_bars + 2 * span.extreme_bars)
    if found.close.size < needed:
        return _too_few(found.close.size, needed, inputs, span, policy)
    return no_last_bar("MACD") if math.isnan(bars.close[-1]) else found


def macd_at(
    columns: Columns, key: SeriesKey | None, span: MacdSpan, *, now_s: float, policy: SignalsPolicy
) -> Macd | None:
    """Return MACD of a series now; None when it is absent, warming or missing."""
    if key is None:
        return None
    inputs, worst = gather((key,), columns, lookback_s=span.lookback_s(policy), now_s=now_s, policy=policy)
    if worst.quality is Quality.MISSING:
        return None
    found = macd_of(inputs, span, policy)
    return found if isinstance(found, Macd) else None


def expansion_bars(found: Macd, policy: SignalsPolicy) -> int:
    """Return how many bars the histogram has stood over its dead band, the line over 0; 0 for none."""
    dead_band = policy.technical.macd.dead_band * abs(float(found.close[-1]))
    return bars_since_cross_up(found.line, found.histogram, dead_band=dead_band)


def _too_few(
    known: int, needed: float, inputs: Inputs, span: MacdSpan, policy: SignalsPolicy
) -> Measured | NotYet:
    window_s = float(span.lookback_bars * span.bar_s)
    found = too_few(known, needed=needed, window_s=window_s, inputs=inputs, policy=policy, what="MACD")
    if isinstance(found, NotYet) and span.bar_s > policy.bar_s:
        lacking = max(math.ceil(needed) - known, 1)
        found = replace(found, warm_at_s=(math.floor(inputs.now_s / span.bar_s) + lacking) * span.bar_s)
    return found
