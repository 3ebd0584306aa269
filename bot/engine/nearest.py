"""R24: the smallest change that would move a group's tier up, and the one that would let it down.

A change is a move of scores; its size is the sum of the moves. Up: R1's votes, its fast path and R4's denial
are all that scores can do, each way has its least size in closed form, the smallest comes first. Down (R3):
every condition is met by its own least change, after those before it. Hard triggers do not rest on scores:
their distance is told in their own unit. Data that is missing cannot be moved and is named.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from bot.engine.nearest_down import Down, way_down
from bot.engine.rules.consensus import LONE_FAMILY
from bot.engine.rules.context import SCORE_DIGITS
from bot.engine.standing import FAST_COUNT, FORCING, GRAIN, Scores, Shift, Source, Standing, anchors_of
from bot.model.tier import Family, RuleFinding, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way up. Without shifts it is asked for already and waits for confirmation."""

    to: Tier
    by: str  # which votes, or the fast path
    shifts: tuple[Shift, ...]

    @property
    def size(self) -> float:
        """Return the sum of what scores move."""
        return sum(item.size for item in self.shifts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What would move one group's tier."""

    up: tuple[Way, ...]  # smallest first; empty where no score can
    no_way: str  # why, where ``up`` is empty
    triggers: tuple[RuleFinding, ...]  # of the market kind, that could still raise it: how far they are
    down: Down | None  # None at CALM


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What a family must reach: at least these sums and scores."""

    family: Family
    top_two: float
    third: float = 0.0


def nearest(standing: Standing) -> Nearest:
    """Return the ways up, how far hard triggers are, and what the tier needs to fall."""
    ways = _ways(standing)
    findings = standing.decision.findings if standing.tier < Tier.SEVERE else ()  # the most that they ask for
    triggers = [item for item in findings if item.rule in FORCING and not item.fired]
    return Nearest(
        up=ways,
        no_way="" if ways else _no_way(standing),
        triggers=tuple(triggers),
        down=way_down(standing),
    )


def _ways(standing: Standing) -> tuple[Way, ...]:
    """Return every way up by scores, smallest first; before them what is asked for and waits (R3)."""
    if standing.tier is Tier.CRISIS:
        return ()
    asked = max(standing.needed(), standing.tier)
    found: dict[tuple[Shift, ...], Way] = {}
    for by, scores in _candidates(standing):
        to = standing.needed(scores)
        if to > asked:
            shifts = standing.shifts(scores)
            found.setdefault(shifts, Way(to=to, by=by, shifts=shifts))
    ranked = sorted(found.values(), key=lambda way: (round(way.size, SCORE_DIGITS), len(way.shifts), way.by))
    waiting = [Way(to=asked, by="what is asked for already", shifts=())] if asked > standing.tier else []
    return (*waiting, *ranked)


def _candidates(standing: Standing) -> Iterator[tuple[str, Scores]]:
    """Yield what might lead up: votes of each set of families, and the fast path, with R4's way out."""
    for floor in _floors(standing):
        for wishes in _wishes(standing):
            scores = _granted(standing, wishes, floor)
            if scores is not None:
                yield _spoken(wishes), scores
        fast = _faster(standing, floor)
        if fast is not None:
            yield "the fast path", fast


def _floors(standing: Standing) -> Iterator[Scores]:
    """Yield the scores that a way starts from; under R4 also an S24 that is beyond what R4 can deny."""
    yield {}
    if not standing.is_break_unconfirmed:
        return
    limit = standing.policy.tiers.breakdown_sigmas
    for item in standing.readings:
        anchors = anchors_of(standing.policy, item)
        if item.signal == "S24" and item.subject in (standing.underlying, "BTC") and anchors:
            score = anchors.score(-limit) + GRAIN
            if score <= 1.0:
                yield {standing.place(item): max(round(score, SCORE_DIGITS), item.score)}


def _wishes(standing: Standing) -> Iterator[tuple[_Wish, ...]]:
    """Yield the sets of votes that ask for a tier above the present one (R1)."""
    tiers, tier, lone = standing.policy.tiers, standing.tier, standing.lone()
    third = tiers.vote_off + GRAIN
    if lone is not None:
        if tier < Tier.ELEVATED:
            yield (_Wish(family=lone.family, top_two=_vote(standing, lone.family), third=_second(standing)),)
        if tier < Tier.GUARDED:
            alone = third if lone.family is Family.TECHNICAL else 0.0
            yield (_Wish(family=lone.family, top_two=_vote(standing, lone.family), third=alone),)
        return
    if tier < Tier.GUARDED:
        for family in Family:
            alone = third if family is Family.TECHNICAL else 0.0
            yield (_Wish(family=family, top_two=_vote(standing, family), third=alone),)
    if tier < Tier.ELEVATED:
        for pair in combinations(Family, 2):
            yield tuple(_Wish(family=family, top_two=_vote(standing, family)) for family in pair)
    if tier < Tier.SEVERE:
        severe = 2.0 * (tiers.severe_score + GRAIN)
        for high, other in permutations(Family, 2):
            least = max(severe, _vote(standing, high))
            yield (
                _Wish(family=high, top_two=least),
                _Wish(family=other, top_two=_vote(standing, other)),
            )
    yield tuple(_Wish(family=family, top_two=_vote(standing, family)) for family in Family)


def _vote(standing: Standing, family: Family) -> float:
    """Return the least sum of its two highest scores with which a family votes (hysteresis)."""
    tiers = standing.policy.tiers
    votes = standing.state.voting.get(family.value, False)
    return 2.0 * (tiers.vote_off if votes else tiers.vote + GRAIN)


def _second(standing: Standing) -> float:
    """Return the least third score that stands for a second family where only one can vote."""
    tiers = standing.policy.tiers
    return tiers.vote_off if standing.state.voting.get(LONE_FAMILY, False) else tiers.vote + GRAIN


def _spoken(wishes: Sequence[_Wish]) -> str:
    names = [item.family.value for item in wishes]
    return f"the vote{'s' if len(names) > 1 else ''} of {', '.join(names)}"


def _granted(standing: Standing, wishes: Sequence[_Wish], floor: Scores) -> Scores | None:
    """Return the least scores at which all wishes hold; None where no live signal can get there."""
    scores = dict(floor)
    for wish in wishes:
        found = _raised(standing, standing.sources(wish.family), wish, floor)
        if found is None:
            return None
        scores.update(found)
    return scores


def _raised(
    standing: Standing, sources: Sequence[Source], wish: _Wish, floor: Scores
) -> dict[int, float] | None:
    """Raise a family's sources by the least sum: those for the third score, then the second, then the first.

    All three must reach ``third`` for the third highest to do so; what the top two still lack costs the same
    on either, and the second takes it so that one signal moves where one can.
    """
    tops = [_top(standing, item, floor) for item in sources]
    tops.sort(key=lambda item: (-item[1], item[0]))
    if wish.third > 0.0 and len(tops) < 3:
        return None
    places = [place for place, _ in tops[:3]]
    scores = [max(score, wish.third) for _, score in tops[:3]]
    for rank in (1, 0):
        if rank < len(scores):
            lack = wish.top_two - sum(scores[:2])
            scores[rank] = min(1.0, scores[rank] + max(lack, 0.0))
    if round(wish.top_two - sum(scores[:2]), SCORE_DIGITS + 2) > 0.0:
        return None
    return {place: round(score, SCORE_DIGITS) for place, score in zip(places, scores, strict=True)}


def _top(standing: Standing, source: Source, floor: Scores) -> tuple[int, float]:
    """Return the reading that sets a source's score, and that score."""
    places = [(standing.place(item), round(item.score, SCORE_DIGITS)) for item in source.readings]
    return max(
        ((place, max(score, floor.get(place, 0.0))) for place, score in places),
        key=lambda pair: (pair[1], -pair[0]),
    )


def _faster(standing: Standing, floor: Scores) -> Scores | None:
    """Return the least scores at which the fast mean passes ``fast_vote``; None where it cannot."""
    limit = standing.policy.tiers.fast_vote
    if limit is None or standing.tier >= Tier.ELEVATED:
        return None
    tops = [slot.scores[0] for slot in standing.fast_slots(floor) if slot.scores]
    scores = {place: score for score, place in tops}
    counts = Counter(place for _, place in tops)  # S24 of BTC is two of the five where BTC is hedged
    lack = FAST_COUNT * (round(limit, SCORE_DIGITS) + GRAIN) - sum(score for score, _ in tops)
    for place in sorted(scores, key=lambda place: (-counts[place], scores[place], place)):
        step = min(1.0 - scores[place], max(lack, 0.0) / counts[place])
        step = math.ceil(round(step / GRAIN, 3)) * GRAIN
        scores[place] = round(scores[place] + step, SCORE_DIGITS)
        lack -= counts[place] * step
    return None if lack > GRAIN / 2.0 else {**floor, **scores}


def _no_way(standing: Standing) -> str:
    """Say why no scores lead up."""
    if standing.tier is Tier.CRISIS:
        return "no tier is above CRISIS"
    lone = standing.lone()
    if lone is not None:
        return f"only {lone.family} has sources that can vote: ELEVATED is the most without a hard trigger"
    able = [family.value for family in Family if len(standing.sources(family)) > 1]
    return (
        f"{Tier(standing.tier + 1).name} cannot be voted with what is live: "
        f"two live signals that vote has {' and '.join(able) or 'no family'} alone"
        if able
        else f"{Tier(standing.tier + 1).name} cannot be voted: no family has two live signals that vote"
    )
