"""R1-R4 for one policy at one step, in plain Python that numba compiles as it stands.

The rules are those of ``bot.engine.rules``; here they are on numbers alone. Equal tiers at every step are
proven by tests/simulation/kernels.
"""

import math

from bot.simulation.kernels.bundles import History, Lane
from bot.simulation.kernels.compiling import Floats, Integers, jitable
from bot.simulation.kernels.layout import (
    BLOCK,
    CONFIRM,
    CONFIRM_BLOCKS,
    CONFIRM_S,
    COOLDOWN,
    COOLDOWN_GUARDED,
    DEGRADED,
    DENIED,
    FAST_CALM,
    FAST_CEILING,
    FAST_MEAN,
    FAST_VOTE,
    FORCED_SHIFT,
    FRAMES,
    HOLD,
    LONE_SHIFT,
    LOST,
    MEMORY,
    NEAR_BY_TIER,
    NEAR_FIRES,
    NEAR_RELEASE,
    NEAR_TRIGGERED,
    NEEDED_S,
    NEEDS,
    SCORE,
    SESSION,
    SEVERE_SCORE,
    SINCE_S,
    STEP_DOWN_ONE,
    STEPPED_DOWN_S,
    THIRD,
    TIER,
    VOTE,
    VOTE_OFF,
    WORST_SCORE,
)

_CALM, _GUARDED, _ELEVATED, _SEVERE, _CRISIS = 0, 1, 2, 3, 4
_TECHNICAL = 0  # its number, and its bit is 1
_SECOND = 64  # memory of the lone family's stand-in


@jitable
def step_tier(lane: Lane, history: History, t: int) -> bool:
    """Move a lane's tier and memory by one step; return whether the same step again would change nothing.

    A lane that rested at the steps before was not looked at there: where its tier was asked for, it was asked
    for until the last of them.
    """
    p, x, k = lane.p, lane.x, lane.k
    scores, flags, times_s = history.scores, history.flags, history.times_s
    before, off = k[TIER], p[VOTE_OFF]
    if k[NEEDS] == 1 and t > 0:
        x[NEEDED_S] = times_s[t - 1]
    was = memory_of(k[MEMORY], scores, flags, t, off)
    voting = cast_votes(was, scores, t, p[VOTE], off)
    unproven = unproven_calm(was, voting, scores, t, off)
    lone = ((flags[t] >> LONE_SHIFT) & 3) - 1
    second = stands_in(was, voting, lone, scores, t, p[VOTE], off)
    is_fast = scores[FAST_MEAN, t] > p[FAST_VOTE]
    voted = voted_tier(voting, lone, second, scores, t, off, p[SEVERE_SCORE])
    if is_fast and voted < _ELEVATED:
        voted = _ELEVATED
    if flags[t] & DENIED and (voting == 1 or (voting == 0 and is_fast)):  # R4
        voted = min(voted, before)
    needed = max(voted, (flags[t] >> FORCED_SHIFT) & 7)
    k[MEMORY] = remembered(was, voting, unproven, lone, second, scores, t, off)
    k[NEEDS] = 1 if needed >= before else 0
    if needed >= before:
        x[NEEDED_S] = times_s[t]
    if needed > before:
        waits = climb(lane, history, needed, t)
    else:
        waits = False
        forget_pending(k)
        if needed < before:
            high = unproven != 0 or scores[FAST_CEILING, t] >= p[FAST_CALM]
            high = high or max(scores[SCORE, t], scores[SCORE + 1, t], scores[SCORE + 2, t]) >= off
            if not (high or flags[t] & (HOLD | DEGRADED)):
                descend(lane, times_s[t], needed)
    remember_near(p, k, flags[t])
    return not waits and k[TIER] == before


@jitable
def memory_of(kept: int, scores: Floats, flags: Integers, t: int, off: float) -> int:
    """Return the memory of the step before, whose high scores a lane that rested did not write down."""
    if t == 0 or flags[t - 1] & LOST:
        return kept
    was = kept & (7 | _SECOND)
    for family in range(3):
        if scores[SCORE + family, t - 1] >= off:
            was |= 8 << family
    return was


@jitable
def cast_votes(was: int, scores: Floats, t: int, on: float, off: float) -> int:
    """Return the bits of the families that vote: from above ``on`` until under ``off``."""
    voting = 0
    for family in range(3):
        score = scores[SCORE + family, t]
        if score > on or (was & (1 << family) and score >= off):
            voting |= 1 << family
    return voting


@jitable
def unproven_calm(was: int, voting: int, scores: Floats, t: int, off: float) -> int:
    """Return the bits of the families whose vote or high score ended for want of data alone."""
    found = 0
    for family in range(3):
        bit = 1 << family
        if was & (bit | bit << 3) and not voting & bit and scores[WORST_SCORE + family, t] >= off:
            found |= bit
    return found


@jitable
def stands_in(was: int, voting: int, lone: int, scores: Floats, t: int, on: float, off: float) -> bool:
    """Return whether the third score of the only family that can vote stands for a second family."""
    if lone < 0 or not voting & (1 << lone):
        return False
    third = scores[THIRD + lone, t]
    return bool(third > on or (was & _SECOND and third >= off))


@jitable
def is_second(memory: int) -> bool:
    """Return whether the lone family's third score stood for a second family."""
    return bool(memory & _SECOND)


@jitable
def voted_tier(
    voting: int, lone: int, second: bool, scores: Floats, t: int, off: float, severe: float
) -> int:
    """Return the tier that the families ask for (R1)."""
    count, top = 0, -math.inf
    for family in range(3):
        if voting & (1 << family):
            count += 1
            top = max(top, scores[SCORE + family, t])
    is_technical_alone = voting == 1 and not scores[THIRD + _TECHNICAL, t] > off
    if lone >= 0:
        if not voting & (1 << lone):
            return _CALM
        if second:
            return _ELEVATED
        return _CALM if lone == _TECHNICAL and not scores[THIRD + _TECHNICAL, t] > off else _GUARDED
    if count >= 3:
        return _CRISIS
    if count == 2:
        return _SEVERE if top > severe else _ELEVATED
    if count == 1:
        return _CALM if is_technical_alone else _GUARDED
    return _CALM


@jitable
def remembered(
    was: int, voting: int, unproven: int, lone: int, second: bool, scores: Floats, t: int, off: float
) -> int:
    """Return the memory of votes and high scores that the next step reads."""
    memory = voting | (unproven & was)
    for family in range(3):
        if scores[SCORE + family, t] >= off or unproven & (1 << family):
            memory |= 8 << family
    if lone >= 0 and (second or (was & _SECOND and unproven & (1 << lone))):
        memory |= _SECOND
    return memory


@jitable
def climb(lane: Lane, history: History, needed: int, t: int) -> bool:
    """Count the step for every higher tier that is asked for, and rise to what is confirmed (R3).

    Returns whether a tier goes on waiting.
    """
    p, x, k, now_s, block = lane.p, lane.x, lane.k, history.times_s[t], history.blocks[t]
    before = k[TIER]
    confirm = 1.0 if history.flags[t] & NEAR_RELEASE else p[CONFIRM]
    risen = before
    for tier in range(1, _CRISIS + 1):
        frames, since, first = FRAMES + tier - 1, SINCE_S + tier - 1, BLOCK + tier - 1
        if not before < tier <= needed:
            k[frames] = 0
            continue
        if k[frames] == 0:
            x[since], k[first] = now_s, block
        k[frames] += 1
        spans = now_s - x[since] >= p[CONFIRM_S]
        if block and k[first]:
            spans = spans and block - k[first] >= p[CONFIRM_BLOCKS]
        if k[frames] >= confirm and (confirm == 1.0 or spans):
            risen = tier
    k[TIER] = risen
    for tier in range(1, risen + 1):
        k[FRAMES + tier - 1] = 0
    return bool(risen < needed)


@jitable
def forget_pending(k: Integers) -> None:
    for tier in range(4):
        k[FRAMES + tier] = 0


@jitable
def descend(lane: Lane, now_s: float, needed: int) -> None:
    """Step down where the cooldown is over and this session had no step down yet (R3)."""
    p, x, k = lane.p, lane.x, lane.k
    tier = k[TIER]
    cooldown_s = p[COOLDOWN_GUARDED if tier <= _GUARDED else COOLDOWN]
    if now_s - x[NEEDED_S] < cooldown_s:
        return
    since_s = now_s - x[STEPPED_DOWN_S]
    if since_s < p[SESSION]:
        return
    k[TIER] = tier - 1 if p[STEP_DOWN_ONE] == 1.0 else needed
    x[STEPPED_DOWN_S] = now_s


@jitable
def due_s(lane: Lane) -> float:
    """Return a time before which a tier that is not asked for does not fall, a second early for rounding."""
    p, x, k = lane.p, lane.x, lane.k
    is_low = k[TIER] <= _GUARDED
    cooldown_s = p[COOLDOWN_GUARDED if is_low else COOLDOWN]
    cooled_s = x[NEEDED_S] + cooldown_s
    return float(max(cooled_s, x[STEPPED_DOWN_S] + p[SESSION])) - 1.0


@jitable
def remember_near(p: Floats, k: Integers, flags: int) -> None:
    """Keep R12's own trigger until the tier closes NEAR."""
    if k[TIER] < _ELEVATED:
        k[NEAR_TRIGGERED] = 0
    elif p[NEAR_BY_TIER] == 0.0 and flags & NEAR_FIRES:
        k[NEAR_TRIGGERED] = 1


@jitable
def near_release(p: Floats, k: Integers) -> float:
    """Return which share of NEAR its own trigger lets through: 0 while the layer is closed (R12)."""
    tier = k[TIER]
    if tier < _ELEVATED:
        return 0.0
    by_tier = p[NEAR_BY_TIER] == 1.0 or tier >= _SEVERE
    return 1.0 if by_tier or k[NEAR_TRIGGERED] == 1 else 0.0
