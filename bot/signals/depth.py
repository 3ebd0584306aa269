"""S4: how much money it takes to move the price."""

from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, Metric
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S, HOUR_S
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent_metric, read_subject, too_few
from bot.signals.samples import known_median


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Best depth of the last 3 h / median of the hourly depths of 7 days, per pool.

    The best of 3 h leaves out a moment in which a large trade sits in the pool.
    """

    id: str = "S4"
    name: str = "depth"
    family: Family = Family.ONCHAIN
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (Metric.POOL_DEPTH_USD,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return max(policy.onchain.depth_window_s, policy.onchain.depth_best_s) + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = columns.find(Metric.POOL_DEPTH_USD)
        if not keys:
            return absent_metric(self, Metric.POOL_DEPTH_USD)
        return tuple(
            read_subject(
                self, (key,), columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
            )
            for key in keys
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    (depth,) = inputs.columns
    count = policy.bars(policy.onchain.depth_window_s)
    needed = policy.coverage * inputs.expected(policy.onchain.depth_window_s, policy)
    bars = inputs.bars(depth, count=count, policy=policy)
    known, median_usd = bars.once("known median", lambda: known_median(bars.close))
    if known < needed:
        return too_few(
            known,
            needed=needed,
            window_s=policy.onchain.depth_window_s,
            inputs=inputs,
            policy=policy,
            what="depth median",
        )
    recent = depth.until(inputs.good_s).since(inputs.good_s - policy.onchain.depth_best_s).values
    best_usd = float(recent[np.isfinite(recent)].max())
    ratio = best_usd / median_usd if median_usd > 0.0 else 0.0  # a pool empty for days has no depth
    anchors = policy.onchain.depth
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"depth {best_usd:,.0f} USD, best of {policy.onchain.depth_best_s / HOUR_S:.0f} h, against "
        f"{median_usd:,.0f} over {policy.onchain.depth_window_s / DAY_S:.0f} days: {ratio:.2f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )
