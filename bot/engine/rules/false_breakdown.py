"""R4: a break of price that MACD does not confirm is no reason to escalate on TECHNICAL alone.

S16 (breadth) and S24 (drawdown speed) have no source in this release: breadth reads as neutral, and the
exception for S24 beyond 1.5 sigma never applies; both are named in the finding.
"""

from bot.engine.policy import Policy
from bot.engine.rules.context import TierContext
from bot.model.tier import Family, RuleFinding
from bot.signals.macd import Breakdown, price_breakdown

_SPOKEN = {
    Breakdown.NONE: "price does not break its low",
    Breakdown.CONFIRMED: "price breaks its low and MACD confirms",
    Breakdown.UNKNOWN: "a break of price cannot be told (no source, warming or missing): nothing is denied",
    Breakdown.FALSE: "price breaks its low and MACD does not confirm",
}


def false_breakdown(policy: Policy, context: TierContext) -> tuple[RuleFinding, ...]:
    """Cap the tier where it is when price breaks, MACD does not confirm and only TECHNICAL votes."""
    found = price_breakdown(
        context.frame.columns,
        now_s=context.frame.now_s,
        policy=policy.signals,
        subject=context.underlying,
    )
    voting = sorted(vote.family for vote in context.votes if vote.voting)
    text = f"{_SPOKEN[found]} ({policy.signals.technical.macd.breakdown_bars} bars); S16 and S24 absent"
    if found is Breakdown.FALSE and voting == [Family.TECHNICAL]:
        because = f"no escalation on TECHNICAL alone: {text}"
        return (RuleFinding(rule="R4", fired=True, because=because, caps_tier=context.state.tier),)
    alone = f"; votes: {', '.join(voting) or 'none'}" if found is Breakdown.FALSE else ""
    return (RuleFinding(rule="R4", fired=False, because=text + alone),)
