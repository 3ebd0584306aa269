"""S11: the last day's volatility against the last month's."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bot.model.market import Columns, Metric
from bot.model.tier import Family, Reading
from bot.quant.bars import Bars
from bot.quant.volatility import (
    after_last_long_hole,
    close_to_close_vol,
    decay_of_span,
    ewma_vol,
    periods_per_year,
)
from bot.signals.moves import moves, steps_of
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    no_last_bar,
    not_yet,
    read_each,
    too_few,
)
from bot.signals.subjects import primary_prices


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedVol:
    """EWMA vol of 24 h / vol of 30 days, of the hourly log returns of each asset's primary price.

    Short: RiskMetrics recursion (zero mean) with an effective span of 24 bars, decay 1 - 2/25 = 0.92, over
    the 30 days, restarted behind a hole of more than 36 h. Long: zero-mean deviation of the known returns of
    the 30 days. Both a year of 365 days, so the ratio is 1 on average in a steady market.
    Late by nature: the move that raises it has happened.
    """

    id: str = "S11"
    name: str = "realised_vol"
    family: Family = Family.TECHNICAL
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.technical.vol_window_s + 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = primary_prices(columns, policy)
        return read_each(self, keys, columns, _measure, now_s=now_s, policy=policy)


class _Vols(NamedTuple):
    known: int  # returns in the window
    fresh: int  # returns after the last long hole
    short: float
    long: float


def _vols(bars: Bars, span: int, quiet: int, policy: SignalsPolicy) -> _Vols:
    returns, yearly = steps_of(bars, quiet_bars=quiet), periods_per_year(bars.bar_s)
    unbroken = after_last_long_hole(bars.close, max_hole_bars=policy.max_hole_bars)
    is_whole = unbroken.size == bars.close.size
    recent = returns if is_whole else moves(unbroken, quiet_bars=quiet)
    return _Vols(
        known=int(np.count_nonzero(np.isfinite(returns))),
        fresh=int(np.count_nonzero(np.isfinite(recent))),
        short=ewma_vol(recent, decay=decay_of_span(span), periods_per_year=yearly),
        long=close_to_close_vol(returns, periods_per_year=yearly, coverage=policy.coverage),
    )


def _measure(inputs: Inputs, *, quiet: int, policy: SignalsPolicy) -> Measured | NotYet:
    (price,) = inputs.columns
    count, span = policy.bars(policy.technical.vol_window_s), policy.bars(policy.technical.vol_span_s)
    bars = inputs.held_bars(price, count=count + 1, policy=policy)
    close = bars.close
    found = bars.once(
        ("vols", span, quiet, policy.max_hole_bars, policy.coverage),
        lambda: _vols(bars, span, quiet, policy),
    )
    known, fresh = found.known, found.fresh
    if known < policy.coverage * count:
        return too_few(
            int(np.isfinite(close).sum()),
            needed=policy.coverage * count + 1,
            window_s=policy.technical.vol_window_s,
            inputs=inputs,
            policy=policy,
            what="30-day vol",
        )
    if math.isnan(close[-1]):
        return no_last_bar("24 h vol")
    if fresh < policy.coverage * span:
        needed = policy.coverage * span
        return not_yet(fresh, needed=needed, inputs=inputs, policy=policy, what="24 h vol")
    short, long = found.short, found.long
    if not long > 0.0:
        return Measured(value=math.nan, score=math.nan, because="the price did not move in its whole window")
    ratio, anchors = short / long, policy.technical.realised_vol
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"24 h vol {short:.0%} against {long:.0%} over 30 days ({known / count:.0%} of bars known): "
        f"{ratio:.2f}, stress from {anchors.calm:g} to {anchors.stress:g}",
    )
