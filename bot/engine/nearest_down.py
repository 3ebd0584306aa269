"""R24: what a group's tier needs to fall (R3): scores, what stands in the way, and time."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bot.engine.rules.confirmation import cooldown_from
from bot.engine.rules.consensus import unproven_calm
from bot.engine.rules.context import SCORE_DIGITS
from bot.engine.standing import FAST_COUNT, GRAIN, Scores, Shift, Slot, Source, Standing
from bot.model.tier import Family, Reading, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """What the tier needs to fall. Without shifts and blocks only time is missing."""

    to: Tier
    shifts: tuple[Shift, ...]
    blocks: tuple[str, ...]  # what no score can change: holds, missing data, hard triggers
    wait_s: float  # seconds, from this decision, or from the change where something has to change first

    @property
    def is_waiting(self) -> bool:
        return not self.shifts and not self.blocks


def way_down(standing: Standing) -> Down | None:
    """Return what R3 wants before the tier falls; None at CALM.

    Each condition is met by its own least change: first every family's score, then what the fast mean still
    has over half of ``fast_vote``.
    """
    if standing.tier is Tier.CALM:
        return None
    scores: dict[int, float] = {}
    for family in Family:
        scores.update(_lowered(standing, standing.sources(family)))
    slots = standing.fast_slots(scores)
    scores.update(_slowed(standing, slots))
    blocks = (*_blocks(standing, scores), *_blind(standing, slots))
    shifts = standing.shifts(scores)
    tiers, state = standing.policy.tiers, standing.state
    lower = Tier(standing.tier - 1)
    quiet_s = standing.now_s - state.last_needed_s
    session_s = tiers.session - (standing.now_s - state.last_step_down_s)
    return Down(
        to=lower if tiers.step_down == "one" else min(standing.needed(scores), lower),
        shifts=shifts,
        blocks=blocks,
        wait_s=max(cooldown_from(tiers, standing.tier) - quiet_s, session_s, 0.0),
    )


def _lowered(standing: Standing, sources: Sequence[Source]) -> dict[int, float]:
    """Return the least fall of a family's scores that takes the mean of its two highest under ``vote_off``.

    The highest takes it, down to the third; the second takes the rest. Where the third is too high itself
    all end at one level.
    """
    most = 2.0 * (standing.policy.tiers.vote_off - GRAIN)
    first, second, third = (*(item.score for item in sources[:3]), 0.0, 0.0, 0.0)[:3]
    excess = first + second - most
    if excess <= 0.0:
        return {}
    if third > most / 2.0:
        limits = [most / 2.0] * len(sources)
    else:
        lowest = max(first - excess, third)
        limits = [lowest, min(second, most - lowest), *(item.score for item in sources[2:])]
    found: dict[int, float] = {}
    for item, limit in zip(sources, limits, strict=False):  # a family of one has no second
        found.update(_capped(standing, item.readings, limit))
    return found


def _capped(standing: Standing, readings: Sequence[Reading], limit: float) -> dict[int, float]:
    most = round(limit, SCORE_DIGITS)
    return {standing.place(item): most for item in readings if round(item.score, SCORE_DIGITS) > most}


def _slowed(standing: Standing, slots: Sequence[Slot]) -> Scores:
    """Return the least fall of fast scores that takes their mean under half of ``fast_vote``."""
    limit = standing.policy.tiers.fast_vote
    if limit is None:
        return {}
    most = FAST_COUNT * (round(limit / 2.0, SCORE_DIGITS) - GRAIN)
    tops = [slot.scores for slot in slots if slot.scores]
    excess = sum(scores[0][0] for scores in tops) + sum(slot.is_missing for slot in slots) - most
    found: dict[int, float] = {}
    for scores, count in sorted(Counter(tops).items(), key=lambda pair: (-pair[1], -pair[0][0][0])):
        step = min(scores[0][0], max(excess, 0.0) / count)
        lower = max(math.floor(round((scores[0][0] - step) / GRAIN, 3)) * GRAIN, 0.0)
        excess -= count * step
        found.update({place: round(lower, SCORE_DIGITS) for score, place in scores if score > lower})
    return found


def _blind(standing: Standing, slots: Sequence[Slot]) -> tuple[str, ...]:
    """Name fast scores that are missing where they alone hold the fast mean up."""
    limit = standing.policy.tiers.fast_vote
    missing = [slot.name for slot in slots if slot.is_missing]
    if limit is None or len(missing) < FAST_COUNT * round(limit / 2.0, SCORE_DIGITS):
        return ()
    return (f"{', '.join(missing)} missing: the fast mean counts them as full stress",)


def _blocks(standing: Standing, scores: Scores) -> tuple[str, ...]:
    """Return what keeps the tier up and is no score: holds, blind families, hard triggers that fire."""
    blocks = [f"HOLD: {reason}" for reason in standing.holds]
    blocks += [f"{name} is degraded: too few of its signals are live" for name in standing.decision.degraded]
    unproven = unproven_calm(standing.policy, standing.context(scores))
    blocks += [f"{family} was high and may still be: {lost} missing" for family, lost in unproven.items()]
    if standing.forced >= standing.tier:
        blocks += [f"{item.rule} fires: {item.because}" for item in standing.forcing]
    return tuple(blocks)
