"""R4: a break of price that neither MACD nor breadth confirms is no reason to escalate on TECHNICAL alone."""

from bot.engine.policy import Policy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.engine.rules.fast_path import BITCOIN, DRAWDOWN_SPEED, fast_mean, is_fast
from bot.model.tier import Family, Quality, Reading, RuleFinding
from bot.signals.breadth import breadth_confirms
from bot.signals.macd import Breakdown, price_breakdown

_SPOKEN = {
    Breakdown.NONE: "price does not break its low",
    Breakdown.CONFIRMED: "price breaks its low and MACD confirms",
    Breakdown.UNKNOWN: "a break of price cannot be told (no source, warming or missing): nothing is denied",
    Breakdown.FALSE: "price breaks its low and MACD does not confirm",
}


def false_breakdown(policy: Policy, context: TierContext) -> tuple[RuleFinding, ...]:
    """Cap the tier where it is when an unconfirmed break is all that TECHNICAL signals escalate on.

    Breadth that has no source or is warming is neutral, and MACD decides alone; breadth that is missing may
    confirm, so nothing is denied. A fall by S24 beyond ``breakdown_sigmas``, of the underlying or of BTC, is
    never denied, and neither are votes of another family or hard triggers.
    """
    found = price_breakdown(
        context.frame.columns,
        now_s=context.frame.now_s,
        policy=policy.signals,
        subject=context.underlying,
    )
    text = f"{_SPOKEN[found]} ({policy.signals.technical.macd.breakdown_bars} bars)"
    if found is not Breakdown.FALSE:
        return (RuleFinding(rule="R4", fired=False, because=text),)
    confirmed = _breadth(policy, context)
    allowed, latent = confirmed or escalates_otherwise(policy, context), not confirmed
    if allowed:
        return (RuleFinding(rule="R4", fired=False, because=f"{text}; {allowed}", latent=latent),)
    because = f"no escalation on TECHNICAL alone: {text}, nor does breadth"
    return (RuleFinding(rule="R4", fired=True, because=because, caps_tier=context.state.tier, latent=latent),)


def escalates_otherwise(policy: Policy, context: TierContext) -> str:
    """Return what else than TECHNICAL's unconfirmed break escalates (S24, other votes), empty for nothing."""
    return _fast_fall(policy, context) or _others(policy, context)


def _fast_fall(policy: Policy, context: TierContext) -> str:
    """Return what is said of a fall that is fast enough to escalate on, empty without one."""
    limit = 0.0 - policy.tiers.breakdown_sigmas
    speeds = (context.of(DRAWDOWN_SPEED, subject) for subject in (context.underlying, BITCOIN))
    fallen = [item for item in speeds if item is not None and round(item.value, SCORE_DIGITS) < limit]
    return _speed(min(fallen, key=lambda item: (item.value, item.subject)), limit) if fallen else ""


def _speed(reading: Reading, limit: float) -> str:
    return f"{DRAWDOWN_SPEED} of {reading.subject} {reading.value:+.1f} sigma, beyond {limit:g}: not denied"


def _breadth(policy: Policy, context: TierContext) -> str:
    """Return why breadth does not let a break be called false, empty when it does."""
    confirms = breadth_confirms(
        context.frame.columns,
        now_s=context.frame.now_s,
        policy=policy.signals,
        subject=context.underlying,
    )
    if confirms:
        return "breadth confirms"
    mine = [item for item in context.of_signal("S16") if item.subject == context.underlying]
    is_missing = any(item.quality is Quality.MISSING for item in mine)
    return "breadth is missing and may confirm" if confirms is None and is_missing else ""


def _others(policy: Policy, context: TierContext) -> str:
    """Return who else escalates, or that nobody does; empty when TECHNICAL is alone."""
    voting = sorted(vote.family for vote in context.votes if vote.voting)
    if voting == [Family.TECHNICAL] or (not voting and is_fast(policy.tiers, fast_mean(context))):
        return ""
    return f"votes: {', '.join(voting) or 'none'}"
