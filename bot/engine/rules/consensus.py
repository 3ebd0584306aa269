"""R1: families of signals vote, no signal votes alone.

"From different sources" is read as "of different signals": two pools' S1, or one vol's term structure from
two venues, are one signal twice, so each signal enters its family once, with its highest score.
"""

from collections.abc import Sequence

from bot.engine.policy import Policy, TierPolicy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.model.record import GroupState
from bot.model.tier import Family, FamilyVote, Quality, Reading, RuleFinding, Tier

LONE_FAMILY = "third"  # memory of the vote that stands for a second family


def family_votes(policy: Policy, state: GroupState, readings: Sequence[Reading]) -> tuple[FamilyVote, ...]:
    """Return the vote of every family, with hysteresis from what the group remembers."""
    return tuple(_vote(policy.tiers, state, family, readings) for family in Family)


def consensus(policy: Policy, context: TierContext) -> tuple[RuleFinding, ...]:
    """Return the tier that the votes ask for, and a finding for every blind family."""
    tier, because = _tier(policy.tiers, context)
    return (
        RuleFinding(rule="R1", fired=tier > Tier.CALM, because=because, tier=tier),
        *(_blind(vote, context) for vote in context.votes if vote.degraded),
    )


def voting_memory(policy: Policy, context: TierContext) -> dict[str, bool]:
    """Return what the group must remember for the hysteresis of its next votes."""
    memory = {vote.family.value: vote.voting for vote in context.votes}
    lone = lone_family(context)
    memory[LONE_FAMILY] = lone is not None and _lone_second(policy.tiers, context.state, lone)
    return memory


def lone_family(context: TierContext) -> FamilyVote | None:
    """Return the only family with configured sources (warming ones too), None when there are several."""
    families = {item.family for item in context.readings if item.quality is not Quality.ABSENT}
    mine = [vote for vote in context.votes if vote.family in families]
    return mine[0] if len(mine) == 1 else None


def _vote(tiers: TierPolicy, state: GroupState, family: Family, readings: Sequence[Reading]) -> FamilyVote:
    mine = [item for item in readings if item.family is family and item.quality is not Quality.ABSENT]
    voters = [item for item in mine if item.quality is not Quality.WARMING]
    live = [item for item in voters if item.counts]
    ranked = _ranked(live)
    first, second, third = (*(score for score, _ in ranked[:3]), 0.0, 0.0, 0.0)[:3]
    score = round((first + second) / 2.0, SCORE_DIGITS)
    voting = hysteresis(score, was=state.voting.get(family.value, False), on=tiers.vote, off=tiers.vote_off)
    top = ", ".join(f"{signal} {value:.2f}" for value, signal in ranked[:3]) or "no live signal"
    mark = f"{'over' if score > tiers.vote else 'not over'} {tiers.vote:g}"
    held = f", held until under {tiers.vote_off:g}" if voting and score <= tiers.vote else ""
    return FamilyVote(
        family=family,
        score=score,
        third_score=third,
        voting=voting,
        configured=len({item.signal for item in voters}),
        live=len({item.signal for item in live}),
        because=f"{family} {score:.3f} ({top}) {mark}{held}" if mine else f"{family} has no source",
    )


def hysteresis(score: float, *, was: bool, on: float, off: float) -> bool:
    """Return whether a vote is cast: starts above ``on``, stops below ``off``."""
    return score > on or (was and score >= off)


def _ranked(live: Sequence[Reading]) -> list[tuple[float, str]]:
    best: dict[str, float] = {}
    for item in live:
        best[item.signal] = max(best.get(item.signal, 0.0), round(item.score, SCORE_DIGITS))
    return sorted(((score, signal) for signal, score in best.items()), key=lambda pair: (-pair[0], pair[1]))


def _tier(tiers: TierPolicy, context: TierContext) -> tuple[Tier, str]:
    voting = [vote for vote in context.votes if vote.voting]
    top = max((vote.score for vote in context.votes), default=0.0)
    count = f"{len(voting)} vote{'' if len(voting) == 1 else 's'}"
    lone = lone_family(context)
    if lone is not None:
        return _lone_tier(tiers, context.state, lone)
    if len(voting) >= 3:
        return Tier.CRISIS, f"{count}: {_names(voting)}"
    if len(voting) == 2 and max(vote.score for vote in voting) > tiers.severe_score:
        return Tier.SEVERE, f"{count}, highest {top:.3f} over {tiers.severe_score:g}"
    if len(voting) == 2:
        missed = tiers.severe_score - max(vote.score for vote in voting)
        return Tier.ELEVATED, f"{count} ({_names(voting)}); SEVERE missed by {missed:.3f} of score"
    if len(voting) == 1:
        return _single_vote(tiers, voting[0], context.votes)
    return Tier.CALM, f"no vote; GUARDED missed by {max(tiers.vote - top, 0.0):.3f} of score"


def _single_vote(tiers: TierPolicy, vote: FamilyVote, votes: Sequence[FamilyVote]) -> tuple[Tier, str]:
    if vote.family is Family.TECHNICAL and not vote.third_score > tiers.vote_off:
        missed = tiers.vote_off - vote.third_score
        return Tier.CALM, f"TECHNICAL votes alone; its third score misses {tiers.vote_off:g} by {missed:.3f}"
    others = [other.score for other in votes if other.family is not vote.family]
    missed = max(tiers.vote - max(others, default=0.0), 0.0)
    return Tier.GUARDED, f"1 vote ({vote.family}); ELEVATED missed by {missed:.3f} of a second family's score"


def _lone_tier(tiers: TierPolicy, state: GroupState, vote: FamilyVote) -> tuple[Tier, str]:
    """One family has sources: its third score stands for a second one, ELEVATED is the most."""
    only = f"only {vote.family} has sources"
    if not vote.voting:
        return (
            Tier.CALM,
            f"no vote, {only}; GUARDED missed by {max(tiers.vote - vote.score, 0.0):.3f} of score",
        )
    if _lone_second(tiers, state, vote):
        return (
            Tier.ELEVATED,
            f"{only}; its third score {vote.third_score:.3f} is the second vote; no tier above",
        )
    if vote.family is Family.TECHNICAL and not vote.third_score > tiers.vote_off:
        missed = tiers.vote_off - vote.third_score
        return Tier.CALM, f"{only}; its third score misses {tiers.vote_off:g} by {missed:.3f}"
    missed = max(tiers.vote - vote.third_score, 0.0)
    return Tier.GUARDED, f"1 vote, {only}; ELEVATED missed by {missed:.3f} of its third score"


def _lone_second(tiers: TierPolicy, state: GroupState, vote: FamilyVote) -> bool:
    was = state.voting.get(LONE_FAMILY, False)
    return vote.voting and hysteresis(vote.third_score, was=was, on=tiers.vote, off=tiers.vote_off)


def _blind(vote: FamilyVote, context: TierContext) -> RuleFinding:
    dead = sorted(
        {
            item.signal
            for item in context.readings
            if item.family is vote.family and item.quality is Quality.MISSING
        }
    )
    return RuleFinding(
        rule="R1",
        fired=True,
        because=(
            f"GUARDED (data): {vote.family} has {vote.live} of {vote.configured} signals live "
            f"({', '.join(dead)} missing); what it would vote for is not protected; no tier is left"
        ),
    )


def _names(votes: Sequence[FamilyVote]) -> str:
    return ", ".join(f"{vote.family} {vote.score:.3f}" for vote in votes)
