"""R6: liquidity leaves DeFi while consumer or producer prices rise: SEVERE, and RESERVE may be spent."""

import math
from collections.abc import Sequence

from bot.engine.policy import Policy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.model.tier import Reading, RuleFinding, Tier
from bot.signals.macro import cpi_or_ppi_rising

RULE = "R6"
LIQUIDITY = "S1"
_RISING = {
    True: "CPI or PPI is rising",
    False: "neither CPI nor PPI is rising",
    None: "whether CPI or PPI is rising is not known",
}


def defi_liquidity(policy: Policy, context: TierContext) -> tuple[RuleFinding, ...]:
    """Ask for SEVERE where S1 of anything the group depends on has fallen so far while a print is rising.

    Unknown on either side asks for nothing, and is named.
    """
    fallen, limit = _most_fallen(context), policy.liquidity_rule.fall
    rising = cpi_or_ppi_rising(context.frame.columns, now_s=context.frame.now_s, policy=policy.signals)
    flow = f"S1 {fallen.value:+.1%} of {fallen.subject}" if fallen else "S1 is not known"
    is_leaving = fallen is not None and round(fallen.value, SCORE_DIGITS) <= limit
    if is_leaving and rising:
        because = f"{flow}, at or under {limit:.0%}, and {_RISING[True]}; RESERVE may be spent"
        return (RuleFinding(rule=RULE, fired=True, because=because, tier=Tier.SEVERE),)
    missed = f", missed by {fallen.value - limit:.1%}" if fallen and not is_leaving else ""
    because = f"{flow}{missed}; {_RISING[rising]}"
    distance = max(fallen.value - limit, 0.0) if fallen else math.nan
    return (RuleFinding(rule=RULE, fired=False, because=because, missed=distance, unit="fraction of S1"),)


def may_spend_reserve(findings: Sequence[RuleFinding]) -> bool:
    """Return whether R6 lets RESERVE be spent (R21)."""
    return any(item.rule == RULE and item.fired for item in findings)


def _most_fallen(context: TierContext) -> Reading | None:
    counting = [item for item in context.of_signal(LIQUIDITY) if item.counts]
    return min(counting, key=lambda item: (item.value, item.subject, item.source), default=None)
