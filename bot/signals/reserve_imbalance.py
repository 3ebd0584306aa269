"""S3: a pool whose price left the market's, or whose value shares left their target."""

import math
from dataclasses import dataclass

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.signals.policy import SignalsPolicy
from bot.signals.pool_shares import read_shares
from bot.signals.reading import (
    Inputs,
    Measured,
    absent,
    absent_metric,
    read_subject,
    value_at,
)
from bot.signals.subjects import pool_underlying, primary


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveImbalance:
    """Distance of a pool from balance.

    Constant-product and concentrated pools: abs(pool price / oracle price - 1), both at one time.
    That time is the pool's last known row: an old pool price is not held against a newer oracle.
    The oracle is the primary PRICE_USD series of the pool's underlying; a pool of two stables is compared
    to 1.

    Stable pools: half the sum of abs(value share - target), the part of the pool that would have to change
    sides, from POOL_SHARE as the watcher values it (par, rates or EMA oracle). Weighted pools hold their
    weights at their own prices, so their shares are TOKEN_UNITS at oracle prices; they are read where the
    policy states their targets. Other targets are equal shares.
    """

    id: str = "S3"
    name: str = "reserve_imbalance"
    family: Family = Family.ONCHAIN
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (
        Metric.POOL_PRICE_USD,
        Metric.PRICE_USD,
        Metric.POOL_SHARE,
        Metric.TOKEN_UNITS,
    )

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        found = [
            self._read_pool(columns, key, now_s=now_s, policy=policy)
            for key in columns.find(Metric.POOL_PRICE_USD)
        ]
        found += read_shares(self, columns, now_s=now_s, policy=policy)
        return tuple(found) or absent_metric(self, Metric.POOL_PRICE_USD)

    def _read_pool(
        self, columns: Columns, pool: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        underlying = pool_underlying(pool.subject)
        keys: tuple[SeriesKey, ...] = (pool,)
        if underlying not in policy.stables:
            oracle = primary(columns, Metric.PRICE_USD, underlying)
            if oracle is None:
                because = f"no price of {underlying or 'its underlying'} is configured for {pool.subject}"
                return absent(self, subject=pool.subject, source=pool.source, because=because)
            keys = (pool, oracle)
        return read_subject(
            self, keys, columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured:
    pool = inputs.columns[0]
    at_s = float(pool.times_s[pool.last_known()])
    pool_usd, *oracle = (value_at(column, at_s) for column in inputs.columns)
    fair_usd, against = (oracle[0], "oracle") if oracle else (1.0, "par")
    if not (pool_usd > 0.0 and fair_usd > 0.0):
        why = f"pool price {pool_usd:g} or {against} {fair_usd:g} is not a price"
        return Measured(value=math.nan, score=math.nan, because=why)
    gap = abs(pool_usd / fair_usd - 1.0)
    anchors = policy.onchain.pool_imbalance
    return Measured(
        value=gap,
        score=anchors.score(gap),
        because=f"pool {pool_usd:,.4f} against {against} {fair_usd:,.4f}: {gap:.2%} apart, "
        f"stress from {anchors.calm:.1%} to {anchors.stress:.1%}",
    )
