"""S3 for stable and weighted pools: how far the value shares of a pool are from their target."""

import math
from collections.abc import Sequence
from dataclasses import replace

from bot.model.market import Columns, Metric
from bot.model.tier import Reading
from bot.signals.holdings import Holding, held_tokens, holdings, price_key, usd_at
from bot.signals.onchain_policy import numbers_of
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, Signal, absent, read_subject, value_at

_ROUNDING = 1e-6  # shares are computed from raw amounts in floating point


def read_shares(signal: Signal, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> list[Reading]:
    """Return a reading of each pool with POOL_SHARE, and of each with TOKEN_UNITS and stated targets."""
    targets = numbers_of("share_targets", policy.onchain.share_targets, low=0.0, high=1.0)
    by_share = holdings(columns.find(Metric.POOL_SHARE))
    found = [_by_share(signal, columns, pool, targets, now_s=now_s, policy=policy) for pool in by_share]
    read = {pool.label for pool in by_share}
    by_price = [
        pool
        for pool in holdings(held_tokens(columns, policy))
        if pool.label not in read and any(key.subject in targets for key in pool.keys)
    ]
    found += [_by_price(signal, columns, pool, targets, now_s=now_s, policy=policy) for pool in by_price]
    return found


def _by_share(
    signal: Signal,
    columns: Columns,
    pool: Holding,
    targets: dict[str, float],
    *,
    now_s: float,
    policy: SignalsPolicy,
) -> Reading:
    wanted = _targets(pool, targets)
    if not wanted:
        return _mistaken(signal, pool)

    def measure(inputs: Inputs) -> Measured:
        shares = [value_at(column, inputs.good_s) for column in inputs.columns]
        return _measure(pool, shares, wanted, policy)

    reading = read_subject(signal, pool.keys, columns, measure, now_s=now_s, policy=policy)
    return replace(reading, subject=pool.label, source=pool.source)


def _by_price(
    signal: Signal,
    columns: Columns,
    pool: Holding,
    targets: dict[str, float],
    *,
    now_s: float,
    policy: SignalsPolicy,
) -> Reading:
    wanted = _targets(pool, targets)
    if not wanted:
        return _mistaken(signal, pool)
    prices = [price_key(columns, token, policy) for token in pool.tokens]
    for token, price in zip(pool.tokens, prices, strict=True):
        if price is None and token not in policy.stables:
            because = f"no price of {token} is configured for {pool.label}"
            return absent(signal, subject=pool.label, source=pool.source, because=because)
    keys = (*pool.keys, *dict.fromkeys(price for price in prices if price is not None))

    def measure(inputs: Inputs) -> Measured:
        return _measure(pool, _oracle_shares(signal, columns, pool, inputs, policy), wanted, policy)

    reading = read_subject(signal, keys, columns, measure, now_s=now_s, policy=policy)
    return replace(reading, subject=pool.label, source=pool.source)


def _oracle_shares(
    signal: Signal, columns: Columns, pool: Holding, inputs: Inputs, policy: SignalsPolicy
) -> list[float]:
    """Return value shares at oracle prices, amounts and prices both as of the last good observation."""
    values = []
    for token, units in zip(pool.tokens, inputs.columns, strict=False):  # the prices follow the amounts
        usd = usd_at(
            columns,
            token,
            inputs.good_s,
            now_s=inputs.now_s,
            lookback_s=signal.lookback_s(policy),
            policy=policy,
        )
        values.append(value_at(units, inputs.good_s) * usd)
    total = sum(values)
    return [value / total if total > 0.0 else math.nan for value in values]


def _targets(pool: Holding, stated: dict[str, float]) -> list[float]:
    """Return a target for each token: equal shares where none is stated, empty where some are."""
    found = [stated[key.subject] for key in pool.keys if key.subject in stated]
    if not found:
        return [1.0 / len(pool.keys)] * len(pool.keys)
    return found if len(found) == len(pool.keys) and abs(sum(found) - 1.0) <= _ROUNDING else []


def _mistaken(signal: Signal, pool: Holding) -> Reading:
    because = f"share_targets configured for {pool.label} are not for each of {', '.join(pool.tokens)}"
    return absent(signal, subject=pool.label, source=pool.source, because=because)


def _measure(
    pool: Holding, shares: Sequence[float], targets: Sequence[float], policy: SignalsPolicy
) -> Measured:
    if not all(0.0 <= share <= 1.0 for share in shares) or abs(sum(shares) - 1.0) > _ROUNDING:
        why = f"shares of {pool.label} are no shares: {', '.join(f'{share:g}' for share in shares)}"
        return Measured(value=math.nan, score=math.nan, because=why)
    distance = sum(abs(share - target) for share, target in zip(shares, targets, strict=True)) / 2.0
    anchors = policy.onchain.share_imbalance
    said = ", ".join(
        f"{token} {share:.1%} of {target:.1%}"
        for token, share, target in zip(pool.tokens, shares, targets, strict=True)
    )
    return Measured(
        value=distance,
        score=anchors.score(distance),
        because=f"{said}: {distance:.3f} from target, stress from {anchors.calm:g} to {anchors.stress:g}",
    )
