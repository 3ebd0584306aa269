"""All that R1-R4 look at and that no earlier decision changes, one column a step, by the engine's functions.

A tier tape belongs to the numbers of ``tier_key``: policies that share them share the tape, and differ in
votes, confirmation, cooldown and the rest of R1-R4 alone. A market tape belongs to one exposure and market.
"""

import hashlib
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.engine.layers import near_trigger
from bot.engine.policy import Policy
from bot.engine.rules.confirmation import height_of
from bot.engine.rules.consensus import family_votes, lone_family, may_vote, stress_of
from bot.engine.rules.context import SCORE_DIGITS, TierContext, readings_for
from bot.engine.rules.defi_liquidity import defi_liquidity
from bot.engine.rules.false_breakdown import false_breakdown
from bot.engine.rules.fast_path import fast_mean
from bot.engine.rules.hard_triggers import crash, find_holds
from bot.errors import ConfigError
from bot.model.market import FloatArray, Frame
from bot.model.record import GroupState
from bot.model.tier import Family, Quality, Reading, RuleFinding, Tier
from bot.pipeline.moments import Moment
from bot.signals import read_signals
from bot.signals.macro import release_near
from bot.simulation.kernels.compiling import Floats, Integers
from bot.simulation.kernels.layout import (
    DEGRADED,
    DENIED,
    FAST_CEILING,
    FAST_MEAN,
    FORCED_SHIFT,
    HOLD,
    LONE_SHIFT,
    LOST,
    NEAR_FIRES,
    NEAR_RELEASE,
    SCORE,
    SCORE_ROWS,
    THIRD,
    WORST_SCORE,
)
from bot.simulation.kernels.support import Unsupported, readings_unsupported, tiers_unsupported

_FAMILIES = tuple(Family)
_NOT_YET = (Quality.ABSENT, Quality.WARMING)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TierTape:
    """What R1-R4 look at. ``scores`` has a row for each of layout's score rows; NaN: no signal is missing."""

    times_s: Floats
    blocks: Integers
    scores: Floats
    flags: Integers

    @property
    def steps(self) -> int:
        return int(self.times_s.size)


def tier_key(policy: Policy) -> Hashable:
    """Return the numbers that a tier tape rests on: policies with equal ones share it."""
    near = (policy.near.trigger, policy.near.backwardation_over) if policy.near.trigger != "tier" else ()
    return (
        hashlib.sha256(repr(policy.signals).encode()).hexdigest(),
        policy.hard_triggers,
        policy.holds,
        policy.liquidity_rule,
        policy.dependencies,
        policy.tiers.breakdown_sigmas,
        near,
    )


def tier_tape(policy: Policy, moments: Sequence[Moment]) -> TierTape:
    """Read every moment as the engine does and write down what R1-R4 make of it.

    Raises ConfigError, naming the reason, where a tier would depend on what was decided before.
    """
    refuse(tiers_unsupported(moments))
    scores, flags = np.empty((SCORE_ROWS, len(moments))), np.zeros(len(moments), dtype=np.int64)
    for step, moment in enumerate(moments):
        scores[:, step], flags[step] = _row(policy, moment)
    return TierTape(
        times_s=np.array([item.now_s for item in moments], dtype=np.float64),
        blocks=np.array([height_of(item.blocks) for item in moments], dtype=np.int64),
        scores=scores,
        flags=flags,
    )


def refuse(reasons: Iterable[Unsupported]) -> None:
    """Raise ConfigError for the first reason there is."""
    for item in reasons:
        raise ConfigError(f"the kernels do not cover this run ({item.name}): {item.because}; use the engine")


def _row(policy: Policy, moment: Moment) -> tuple[FloatArray, int]:
    """Return one column of scores and its flags."""
    frame = Frame(
        now_s=moment.now_s, blocks=moment.blocks, columns=moment.columns, exposures=moment.exposures
    )
    every = read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals)
    refuse(readings_unsupported(every))
    return tape_column(policy, frame, every)


def tape_column(policy: Policy, frame: Frame, every: Sequence[Reading]) -> tuple[FloatArray, int]:
    """Return what R1-R4 look at in one frame with these readings: a column of scores, and its flags."""
    group = frame.exposures[0].group
    underlying, _, stable = group.partition("/")
    mine = readings_for(policy, frame, group, every)
    votes = family_votes(policy, GroupState(), mine)
    context = TierContext(
        group=group,
        underlying=underlying,
        stable=stable,
        state=GroupState(),
        frame=frame,
        readings=mine,
        votes=votes,
    )
    scores = np.full(SCORE_ROWS, np.nan)
    for number, vote in enumerate(votes):
        scores[SCORE + number], scores[THIRD + number] = vote.score, vote.third_score
        scores[WORST_SCORE + number] = _worst(policy, mine, vote.family)
    fast = fast_mean(context)
    scores[FAST_MEAN], scores[FAST_CEILING] = fast.mean, fast.ceiling
    return scores, _flags(policy, context, has_lost=bool(np.isfinite(scores[WORST_SCORE:FAST_MEAN]).any()))


def _worst(policy: Policy, readings: Sequence[Reading], family: Family) -> float:
    """Return a family's score with its missing signals at their worst, NaN where none is missing.

    As ``consensus.unproven_calm`` reckons it.
    """
    mine = [item for item in readings if item.family is family and item.quality not in _NOT_YET]
    voters = [item for item in mine if may_vote(item)]
    live = [item for item in voters if item.counts]
    lost = {item.signal for item in voters} - {item.signal for item in live}
    best: dict[str, float] = {}
    for item in live:
        name, score = stress_of(policy, item), round(item.score, SCORE_DIGITS)
        best[name] = max(best.get(name, 0.0), score)
    scores = sorted([*best.values(), *([1.0] * len(lost))], reverse=True)
    return round(sum(scores[:2]) / 2.0, SCORE_DIGITS) if lost else math.nan


def _flags(policy: Policy, context: TierContext, *, has_lost: bool) -> int:
    frame, columns = context.frame, context.frame.columns
    lone = lone_family(context)
    found = (0 if lone is None else 1 + _FAMILIES.index(lone.family)) << LONE_SHIFT
    found |= _forced(crash(policy, context), defi_liquidity(policy, context)) << FORCED_SHIFT
    found |= HOLD if find_holds(policy, frame) else 0
    found |= DEGRADED if any(vote.degraded for vote in context.votes) else 0
    near = release_near(columns, now_s=frame.now_s, policy=policy.signals)
    found |= NEAR_RELEASE if near.near else 0
    found |= DENIED if _denies(policy, context) else 0
    found |= LOST if has_lost else 0
    return found | (NEAR_FIRES if _near_fires(policy, context) else 0)


def _forced(*findings: Iterable[RuleFinding]) -> int:
    fired = (item.tier for each in findings for item in each if item.fired and item.tier is not None)
    return int(max(fired, default=Tier.CALM))


def _denies(policy: Policy, context: TierContext) -> bool:
    """Return whether R4 would cap the tier if TECHNICAL alone voted."""
    votes = tuple(replace(vote, voting=vote.family is Family.TECHNICAL) for vote in context.votes)
    alone = replace(context, votes=votes)
    return any(item.fired for item in false_breakdown(policy, alone))


def _near_fires(policy: Policy, context: TierContext) -> bool:
    """Return whether R12's own trigger fires, were NEAR open."""
    if policy.near.trigger == "tier":
        return False
    state, _ = near_trigger(policy, replace(context, state=GroupState(tier=Tier.ELEVATED)))
    return state.near_triggered
