"""R1: families of signals vote, no signal votes alone; the fast path asks without them.

"From different sources" is read as "of different signals": two pools' S1, or one vol's term structure from
two venues, are one signal twice, so each signal enters its family once, with its highest score. S13 that is
modelled from the level of S12 enters with it, as one. What informs (S20) has no vote, and S9 speaks through
R2 alone: a pause or a change of powers raises the protocol tier and buys no market layer.
"""

from collections.abc import Iterable, Sequence

from bot.engine.policy import Policy
from bot.engine.policy_tiers import TierPolicy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.engine.rules.fast_path import fast_mean, is_fast
from bot.model.record import GroupState
from bot.model.tier import Family, FamilyVote, Quality, Reading, RuleFinding, Tier

R2_ALONE = ("S9",)
_NOT_YET = (Quality.ABSENT, Quality.WARMING)
MODELLED_TOGETHER = ("S12", "S13")
IV_LEVEL = "S12"  # what both are filed under
LONE_FAMILY = "third"  # memory of the vote that stands for a second family


def family_votes(policy: Policy, state: GroupState, readings: Sequence[Reading]) -> tuple[FamilyVote, ...]:
    """Return the vote of every family, with hysteresis from what the group remembers."""
    by_family: dict[Family, list[Reading]] = {family: [] for family in Family}
    for item in readings:
        by_family[item.family].append(item)
    return tuple(_vote(policy, state, family, mine) for family, mine in by_family.items())


def consensus(policy: Policy, context: TierContext) -> tuple[RuleFinding, ...]:
    """Return the tier that the votes ask for, and a finding for every blind family."""
    tier, because = _tier(policy.tiers, context)
    fast, words = _fast(policy.tiers, context)
    tier = max(tier, fast)
    return (
        RuleFinding(rule="R1", fired=tier > Tier.CALM, because=f"{because}; {words}", tier=tier),
        *(_blind(vote, context) for vote in context.votes if vote.degraded),
    )


def _fast(tiers: TierPolicy, context: TierContext) -> tuple[Tier, str]:
    """Return what the fast path asks for, and its words."""
    if tiers.fast_vote is None:
        return Tier.CALM, "the fast path is off"
    found = fast_mean(context)
    if is_fast(tiers, found):
        return Tier.ELEVATED, f"fast path: {found.spoken} over {tiers.fast_vote:g}"
    return Tier.CALM, f"{found.spoken}; the fast path missed by {tiers.fast_vote - found.mean:.3f}"


def voting_memory(policy: Policy, context: TierContext) -> dict[str, bool]:
    """Return what the group must remember for the hysteresis of its next votes."""
    unproven, was = unproven_calm(policy, context), context.state.voting
    memory = {}
    for vote in context.votes:
        name, is_unproven = vote.family.value, vote.family in unproven
        memory[name] = vote.voting or (is_unproven and was.get(name, False))
        memory[_high(vote.family)] = vote.score >= policy.tiers.vote_off or is_unproven
    lone = lone_family(context)
    was_second = was.get(LONE_FAMILY, False)
    memory[LONE_FAMILY] = lone is not None and (
        (was_second and lone.family in unproven) or _lone_second(policy.tiers, context.state, lone)
    )
    return memory


def unproven_calm(policy: Policy, context: TierContext) -> dict[Family, str]:
    """Return the families that were high and cannot be shown to be calm, each with its missing signals.

    A vote, or a score of ``vote_off`` or over, that ends only because its signals went missing has not ended:
    counted at their worst they would still hold it (missing data never reads as calm). It asks for nothing
    new and keeps the tier (R3).
    """
    found, was = {}, context.state.voting
    for vote in context.votes:
        was_high = was.get(vote.family.value, False) or was.get(_high(vote.family), False)
        if vote.voting or not was_high:
            continue
        mine = _voters(item for item in context.readings if item.family is vote.family)
        live = [item for item in mine if item.counts]
        lost = sorted({item.signal for item in mine} - {item.signal for item in live})
        scores = sorted([score for score, _ in _ranked(policy, live)] + [1.0] * len(lost), reverse=True)
        worst = round(sum(scores[:2]) / 2.0, SCORE_DIGITS)
        if lost and worst >= policy.tiers.vote_off:
            found[vote.family] = ", ".join(lost)
    return found


def _high(family: Family) -> str:
    """Return under which name a family is remembered to have been at ``vote_off`` or over."""
    return f"{family.value} high"


def lone_family(context: TierContext) -> FamilyVote | None:
    """Return the only family that can vote, None when there are several or none.

    A family with one configured signal (warming ones count) cannot: its missing second counts 0. It is no
    second family either, so that adding a source never takes the lone family's stand-in away.
    """
    if sum(vote.configured > 1 for vote in context.votes) > 1:
        return None
    named: dict[Family, set[str]] = {}
    for item in context.readings:
        if item.quality is not Quality.ABSENT and may_vote(item):
            named.setdefault(item.family, set()).add(item.signal)
    mine = [vote for vote in context.votes if vote.family in named]
    able = [vote for vote in mine if len(named[vote.family]) > 1]
    if len(mine) > 1:
        mine = able
    return mine[0] if len(mine) == 1 else None


def may_vote(item: Reading) -> bool:
    return not item.informs and item.signal not in R2_ALONE


def _vote(policy: Policy, state: GroupState, family: Family, mine: Sequence[Reading]) -> FamilyVote:
    tiers = policy.tiers
    voters = _voters(mine)
    live = [item for item in voters if item.counts]
    ranked = _ranked(policy, live)
    first, second, third = (*(score for score, _ in ranked[:3]), 0.0, 0.0, 0.0)[:3]
    score = round((first + second) / 2.0, SCORE_DIGITS)
    voting = hysteresis(score, was=state.voting.get(family.value, False), on=tiers.vote, off=tiers.vote_off)
    is_sourced = voters or any(item.quality is not Quality.ABSENT for item in mine)
    said = _said(tiers, score, ranked, voting=voting) if is_sourced else "has no source"
    return FamilyVote(
        family=family,
        score=score,
        third_score=third,
        voting=voting,
        configured=len({item.signal for item in voters}),
        live=len({item.signal for item in live}),
        because=f"{family} {said}",
    )


def _said(tiers: TierPolicy, score: float, ranked: Sequence[tuple[float, str]], *, voting: bool) -> str:
    top = ", ".join([f"{signal} {value:.2f}" for value, signal in ranked[:3]]) or "no live signal"
    mark = f"{'over' if score > tiers.vote else 'not over'} {tiers.vote:g}"
    held = f", held until under {tiers.vote_off:g}" if voting and score <= tiers.vote else ""
    return f"{score:.3f} ({top}) {mark}{held}"


def _voters(mine: Iterable[Reading]) -> list[Reading]:
    """Return a family's readings that count as configured: not absent, not warming, not informative."""
    return [item for item in mine if item.quality not in _NOT_YET and may_vote(item)]


def stress_of(policy: Policy, reading: Reading) -> str:
    """Return under which name a reading enters its family: its signal, or the level it is modelled from."""
    if reading.signal in MODELLED_TOGETHER and (
        reading.source in policy.signals.technical.modelled_vol_sources
    ):
        return IV_LEVEL
    return reading.signal


def hysteresis(score: float, *, was: bool, on: float, off: float) -> bool:
    """Return whether a vote is cast: starts above ``on``, stops below ``off``."""
    return score > on or (was and score >= off)


def _ranked(policy: Policy, live: Sequence[Reading]) -> list[tuple[float, str]]:
    """Return (score, signal) of what counts, highest first, each source of a stress once."""
    best: dict[str, tuple[float, str]] = {}
    for item in live:
        # The least pair is the highest score; the lower id names equal ones, so that the order of readings
        # says nothing.
        source, pair = stress_of(policy, item), (0.0 - round(item.score, SCORE_DIGITS), item.signal)
        if source not in best or pair < best[source]:
            best[source] = pair
    return [(0.0 - least, signal) for least, signal in sorted(best.values())]


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
    only = f"only {vote.family} can vote"
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
            if item.family is vote.family and item.quality is Quality.MISSING and may_vote(item)
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
