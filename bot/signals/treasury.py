"""S2 for a treasury: what it can spend at once against what it owes within 30 days."""

import math
from dataclasses import replace

from bot.model.market import Columns, SeriesKey
from bot.model.tier import Reading
from bot.signals.holdings import Holding, held_tokens, holdings, price_key, token_of, usd_at
from bot.signals.onchain_policy import numbers_of, priced_as
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, Signal, absent, read_subject, value_at


def read_treasuries(
    signal: Signal, columns: Columns, *, now_s: float, policy: SignalsPolicy
) -> list[Reading]:
    """Return a reading of every treasury whose obligations the policy states; none states none."""
    due = numbers_of("treasury_obligations", policy.onchain.treasury_obligations, low=1.0, high=math.inf)
    found = {holder.label: holder for holder in holdings(held_tokens(columns, policy))}
    return [
        _treasury(signal, columns, label, found.get(label), due_usd, now_s=now_s, policy=policy)
        for label, due_usd in due.items()
    ]


def _treasury(
    signal: Signal,
    columns: Columns,
    label: str,
    holder: Holding | None,
    due_usd: float,
    *,
    now_s: float,
    policy: SignalsPolicy,
) -> Reading:
    tokens = [key for key in holder.keys if _is_liquid(token_of(key), policy)] if holder else []
    if not tokens:
        because = f"no stable or native amounts of the treasury {label} are configured"
        return absent(signal, subject=label, because=because)
    prices = [price_key(columns, token_of(key), policy) for key in tokens]
    for key, price in zip(tokens, prices, strict=True):
        if price is None and token_of(key) not in policy.stables:
            because = f"no price of {token_of(key)} is configured for the treasury {label}"
            return absent(signal, subject=label, because=because)
    keys = (*tokens, *dict.fromkeys(price for price in prices if price is not None))

    def measure(inputs: Inputs) -> Measured:
        return _measure(inputs, signal, columns, tokens, due_usd, policy)

    reading = read_subject(signal, keys, columns, measure, now_s=now_s, policy=policy)
    return replace(reading, subject=label)


def _is_liquid(token: str, policy: SignalsPolicy) -> bool:
    coin = priced_as(policy.onchain).get(token, token)
    return coin in policy.stables or coin in policy.onchain.native_tokens


def _measure(
    inputs: Inputs,
    signal: Signal,
    columns: Columns,
    tokens: list[SeriesKey],
    due_usd: float,
    policy: SignalsPolicy,
) -> Measured:
    liquid_usd = 0.0
    for key, units in zip(tokens, inputs.columns, strict=False):  # the prices follow the amounts
        usd = usd_at(
            columns,
            token_of(key),
            inputs.good_s,
            now_s=inputs.now_s,
            lookback_s=signal.lookback_s(policy),
            policy=policy,
        )
        if token_of(key) in policy.stables and usd > 1.0:
            usd = 1.0
        liquid_usd += value_at(units, inputs.good_s) * usd
    if not 0.0 <= liquid_usd < math.inf:
        return Measured(value=math.nan, score=math.nan, because="what the treasury holds has no known value")
    ratio = liquid_usd / due_usd
    anchors = policy.onchain.quick_ratio
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"stables and native coins {liquid_usd:,.0f} USD against {due_usd:,.0f} due in 30 days: "
        f"{ratio:.2f}, stress from {anchors.calm:g} to {anchors.stress:g}",
    )
