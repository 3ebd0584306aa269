"""S8: a rush for block space, and trades that are sandwiched."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S, HOUR_S
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent_metric, read_subject, too_few
from bot.signals.samples import known_median


@dataclass(frozen=True, slots=True, kw_only=True)
class MevFlow:
    """Median of the last hour / median of the hourly closes of 7 days.

    Of the priority fee that a high percentile paid, per chain, and of the sandwiched share of volume, per
    pool. Each norm has a floor, so that a chain without tips and a pool without sandwiches read a small one
    as small. The hour keeps one block's auction out.
    """

    id: str = "S8"
    name: str = "mev_flow"
    family: Family = Family.ONCHAIN
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (Metric.PRIORITY_FEE_GWEI, Metric.SANDWICH_SHARE)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.onchain.mev_window_s + policy.onchain.mev_recent_s + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = [key for metric in self.metrics for key in columns.find(metric)]
        found = tuple(self._read_key(columns, key, now_s=now_s, policy=policy) for key in keys)
        return found or absent_metric(self, Metric.PRIORITY_FEE_GWEI)

    def _read_key(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        def measure(inputs: Inputs) -> Measured | NotYet:
            return _measure(inputs, key, policy)

        return read_subject(self, (key,), columns, measure, now_s=now_s, policy=policy)


def _measure(inputs: Inputs, key: SeriesKey, policy: SignalsPolicy) -> Measured | NotYet:
    (flow,), numbers = inputs.columns, policy.onchain
    is_fee = key.metric is Metric.PRIORITY_FEE_GWEI
    what = "priority fee" if is_fee else "sandwiched share"
    bars = inputs.bars(flow, count=policy.bars(numbers.mev_window_s), policy=policy)
    known, norm = bars.once("known median", lambda: known_median(bars.close))
    needed = policy.coverage * inputs.expected(numbers.mev_window_s, policy)
    if known < needed:
        return too_few(
            known,
            needed=needed,
            window_s=numbers.mev_window_s,
            inputs=inputs,
            policy=policy,
            what=f"{what} norm",
        )
    recent = flow.until(inputs.good_s).since(inputs.good_s - numbers.mev_recent_s).values
    now = float(np.median(recent[np.isfinite(recent)]))
    if now < 0.0:
        return Measured(value=math.nan, score=math.nan, because=f"{what} {now:g} is below 0")
    floor = numbers.priority_fee_floor_gwei if is_fee else numbers.sandwich_floor
    ratio, anchors = now / max(norm, floor), numbers.mev_flow
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"{what} {_said(now, is_fee)} in {numbers.mev_recent_s / HOUR_S:g} h against "
        f"{_said(norm, is_fee)}{f', floored at {_said(floor, is_fee)}' if norm < floor else ''} over "
        f"{numbers.mev_window_s / DAY_S:.0f} days: {ratio:.2f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


def _said(value: float, is_fee: bool) -> str:
    return f"{value:.3g} gwei" if is_fee else f"{value:.1%}"
