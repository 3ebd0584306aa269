"""R24: a decision in words: what was read, voted, ruled and bought, and what would have changed it."""

import math

from bot.engine.policy import Policy
from bot.model.record import Decision, GroupDecision
from bot.model.tier import Family, FamilyVote, Quality, Reading, Tier
from bot.model.units import iso_utc


def explain(policy: Policy, decision: Decision) -> tuple[str, ...]:
    """Return the lines of ``alvh explain``. ``policy`` should be the one the decision was made under."""
    lines = [f"{iso_utc(decision.now_s)}, policy {decision.policy_hash[:12]}"]
    if policy.hash != decision.policy_hash:
        lines.append(f"thresholds below are of another policy, {policy.name} {policy.hash[:12]}")
    lines += [f"HOLD: {hold}" for hold in decision.holds]
    for group in decision.groups:
        lines += _group_lines(policy, group)
    lines += ["readings"] + [f"  {_reading(item)}" for item in decision.readings]
    lines += ["limits"] + [f"  {name} {value:,.2f}" for name, value in sorted(decision.limits.items())]
    lines += ["orders"] + [
        f"  {leg.side} {leg.size:.6g} {leg.layer} {leg.instrument.id}, limit "
        f"{'indicative ~' * leg.indicative}{leg.limit_usd:,.2f} USD: {leg.because}"
        for leg in decision.plan.legs
    ]
    if not decision.plan.legs:
        lines.append("  none")
    return tuple(lines)


def nearest_change(policy: Policy, group: GroupDecision) -> str:
    """Return the smallest rise of one family's score that would ask for the next tier up."""
    if group.tier >= Tier.CRISIS:
        return "no tier is above CRISIS"
    tier, tiers = Tier(group.tier + 1), policy.tiers
    if not group.votes:
        return "a heartbeat keeps no votes; the last full record has them"
    configured = [vote for vote in group.votes if vote.configured]
    needed = {Tier.GUARDED: 1, Tier.ELEVATED: 2, Tier.SEVERE: 2, Tier.CRISIS: 3}[tier]
    if len(configured) == 1:
        return _lone_change(policy, tier, configured[0])
    if len(configured) < needed:
        names = ", ".join(vote.family for vote in group.votes if not vote.configured)
        return f"{tier.name} cannot be voted: {names} has no live source"
    ranked = sorted(configured, key=lambda vote: (-vote.voting, -vote.score, vote.family))[:needed]
    changes = [(vote, 0.0 if vote.voting else max(0.0, tiers.vote - vote.score)) for vote in ranked]
    if tier is Tier.SEVERE and all(vote.score <= tiers.severe_score for vote in ranked):
        changes[0] = (ranked[0], tiers.severe_score - ranked[0].score)
    moves = [_move(vote, gap) for vote, gap in changes if gap > 0.0 or not vote.voting]
    if tier is Tier.GUARDED and ranked[0].family is Family.TECHNICAL:
        third = tiers.vote_off - ranked[0].third_score
        moves += [f"its third score by over {third:.3f}"] if third >= 0.0 else []
    return f"{tier.name} needs {' and '.join(moves) or 'confirmation (R3)'}"


def _move(vote: FamilyVote, gap: float) -> str:
    return f"{vote.family} up by over {gap:.3f} (one of its two highest signals by {2.0 * gap:.3f})"


def _lone_change(policy: Policy, tier: Tier, vote: FamilyVote) -> str:
    tiers = policy.tiers
    if tier > Tier.ELEVATED:
        return f"{tier.name} cannot be voted: only {vote.family} has sources, ELEVATED is the most"
    gap = max(0.0, tiers.vote - vote.score)
    parts = [] if vote.voting else [_move(vote, gap)]
    least = tiers.vote if tier is Tier.ELEVATED else tiers.vote_off
    if (tier is Tier.ELEVATED or vote.family is Family.TECHNICAL) and vote.third_score <= least:
        parts.append(f"its third score by over {least - vote.third_score:.3f}")
    return f"{tier.name} needs {' and '.join(parts) or 'confirmation (R3)'}"


def _group_lines(policy: Policy, group: GroupDecision) -> list[str]:
    spoken = f"{group.tier.name} (was {group.previous_tier.name})"
    lines = [f"{group.group}: {spoken}", f"  {group.because}"]
    lines.append(f"  what would move it up: {nearest_change(policy, group)}")
    lines += [f"  vote: {vote.because}{'' if vote.voting else ', no vote'}" for vote in group.votes]
    for fired, word in ((True, "fired"), (False, "not fired")):
        lines += [f"  {item.rule} {word}: {item.because}" for item in group.findings if item.fired is fired]
    lines += [
        f"  {item.layer} {'open' if item.open else 'closed'}: wants {item.wanted_contracts:.4g}, "
        f"holds {item.held_contracts:.4g}; {item.because}"
        for item in group.targets
    ]
    return lines + _shortfall_lines(group)


def _shortfall_lines(group: GroupDecision) -> list[str]:
    lines = []
    for item in group.shortfalls:
        cap = f" [{item.cap}{_frees(item.frees_at_s)}]" if item.cap else ""
        lines.append(f"  shortfall {item.layer} {item.missing:.0%}: {item.reason}{cap}")
    return lines


def _frees(frees_at_s: float) -> str:
    return f", frees {iso_utc(frees_at_s)}" if math.isfinite(frees_at_s) else ""


def _reading(item: Reading) -> str:
    score = f"{item.score:.3f}" if item.quality in (Quality.LIVE, Quality.HELD) else item.quality.value
    where = " ".join(part for part in (item.subject, item.source) if part)
    return f"{item.signal} {item.name} {where} {score} ({item.family}): {item.because}"
