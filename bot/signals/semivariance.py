"""S26: the last day's downside deviation against the last month's."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, FloatArray, Metric
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S, HOUR_S
from bot.quant.volatility import downside_deviation, periods_per_year
from bot.signals.moves import known_share, moving_bars
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, not_yet, read_each
from bot.signals.subjects import primary_prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Semivariance:
    """Downside deviation (about 0) of the hourly log returns of 24 h / that of 30 days, per asset."""

    id: str = "S26"
    name: str = "semivariance"
    family: Family = Family.TECHNICAL
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.technical.semivariance_window_s + 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = primary_prices(columns, policy)
        return read_each(self, keys, columns, _measure, now_s=now_s, policy=policy)


def _measure(inputs: Inputs, *, quiet: int, policy: SignalsPolicy) -> Measured | NotYet:
    numbers = policy.technical
    span, window_s = policy.bars(numbers.semivariance_span_s), numbers.semivariance_window_s
    found = moving_bars(
        inputs,
        span=policy.bars(window_s),
        window_s=window_s,
        quiet_bars=quiet,
        policy=policy,
        what="downside deviation of 30 days",
    )
    if not isinstance(found, tuple):
        return found
    bars, steps = found
    short, long = bars.once(
        ("downside", span, quiet, policy.coverage),
        lambda: _downside(steps, span, bars.bar_s, policy.coverage),
    )
    if math.isnan(short):
        known, needed = int(np.isfinite(steps[-span:]).sum()), policy.coverage * span
        return not_yet(known, needed=needed, inputs=inputs, policy=policy, what="downside deviation of 24 h")
    if not long > 0.0:
        return Measured(value=math.nan, score=math.nan, because="the price did not fall in its whole window")
    ratio, anchors = short / long, numbers.semivariance
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"downside deviation {short:.0%} over {span * bars.bar_s / HOUR_S:.0f} h against {long:.0%} "
        f"over {window_s / DAY_S:.0f} days ({known_share(bars)}): {ratio:.2f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


def _downside(steps: FloatArray, span: int, bar_s: int, coverage: float) -> tuple[float, float]:
    yearly = periods_per_year(bar_s)
    short = downside_deviation(steps[-span:], periods_per_year=yearly, coverage=coverage)
    return short, downside_deviation(steps, periods_per_year=yearly, coverage=0.0)
