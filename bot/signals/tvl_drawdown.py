"""S1: liquidity that left, whatever the price did."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, Metric
from bot.model.tier import Family, Reading
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent_metric, read_subject, too_few


@dataclass(frozen=True, slots=True, kw_only=True)
class TvlDrawdown:
    """Liquidity now / its maximum of 48 h - 1, per pool; 0 or negative. Flow only: no price is in it."""

    id: str = "S1"
    name: str = "tvl_drawdown"
    family: Family = Family.ONCHAIN
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (Metric.POOL_LIQUIDITY,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.onchain.tvl_window_s + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = columns.find(Metric.POOL_LIQUIDITY)
        if not keys:
            return absent_metric(self, Metric.POOL_LIQUIDITY)
        return tuple(
            read_subject(
                self, (key,), columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
            )
            for key in keys
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    (liquidity,) = inputs.columns
    count = policy.bars(policy.onchain.tvl_window_s)
    needed = policy.coverage * inputs.expected(policy.onchain.tvl_window_s, policy)
    bars = inputs.bars(liquidity, count=count, policy=policy)
    known = bars.once("known", lambda: int(np.isfinite(bars.close).sum()))
    if known < needed:
        return too_few(
            known,
            needed=needed,
            window_s=policy.onchain.tvl_window_s,
            inputs=inputs,
            policy=policy,
            what="liquidity high",
        )
    window = liquidity.until(inputs.good_s).since(inputs.good_s - policy.onchain.tvl_window_s).values
    values = window[np.isfinite(window)]
    high = float(values.max())
    if not high > 0.0:
        return Measured(value=math.nan, score=math.nan, because="the pool had no liquidity to lose")
    drawdown = float(values[-1]) / high - 1.0
    anchors, hours = policy.onchain.tvl_drawdown, policy.onchain.tvl_window_s / 3_600
    return Measured(
        value=drawdown,
        score=anchors.score(drawdown),
        because=f"liquidity {drawdown:+.1%} from its {hours:.0f} h high, "
        f"stress from {anchors.calm:.0%} to {anchors.stress:.0%}",
    )
