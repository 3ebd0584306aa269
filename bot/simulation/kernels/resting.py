"""When a lane's tier may change: how long each rests after a step, and which wake at one.

A lane that a step left as it was rests while its scores stay on the same side of the thresholds that matter
to it, the flags stay as they are and no cooldown ends. These bounds are never wider than the thresholds, so
that a step may be taken for nothing and none is left out.
"""

import math

from bot.simulation.kernels.compiling import Floats, Integers, inlined, jitable
from bot.simulation.kernels.layout import (
    DEGRADED,
    ENTERED,
    FAST_CALM,
    FAST_CEILING,
    FAST_MEAN,
    FAST_VOTE,
    FIELDS,
    HOLD,
    LEAST,
    LONE_SHIFT,
    LOST,
    MEMORY,
    MOST,
    NEEDS,
    REST_FROM,
    SCORE,
    SCRATCH,
    SEVERE_SCORE,
    STEPS_AT,
    THIRD,
    TIER,
    UNTIL_S,
    VOTE,
    VOTE_OFF,
    WAKES,
)
from bot.simulation.kernels.tier_steps import due_s

_WIDTH = 8  # numbers of a vector
_NEXT_TO = 1e-12  # scores are whole multiples of 1e-9


@jitable
def rest(
    p: Floats,
    x: Floats,
    k: Integers,
    r: Floats,
    lanes: int,
    lane: int,
    scores: Floats,
    flags: Integers,
    times_s: Floats,
    t: int,
    rests: bool,
) -> None:
    """Write down how long a lane rests after a step, if it does.

    A tier that is asked for, or that a cooldown or the flags keep, does not ask how low scores are.
    """
    off, on = p[VOTE_OFF * lanes + lane], p[VOTE * lanes + lane]
    voting = k[MEMORY * lanes + lane] & 7
    is_kept = k[NEEDS * lanes + lane] == 1 or flags[t] & (HOLD | DEGRADED) != 0
    until_s = math.inf if is_kept else due_s(p, x, k, lanes, lane)
    is_low_asked = not is_kept and until_s <= times_s[t]
    for family in range(3):
        floor = off if is_low_asked else -math.inf
        severe = math.inf
        if voting & (1 << family):
            floor, severe = off, p[SEVERE_SCORE * lanes + lane]
        bound(r, lanes, lane, family, scores[SCORE + family, t], floor, on, severe)
    third = scores[THIRD + max(((flags[t] >> LONE_SHIFT) & 3) - 1, 0), t]
    low, high = (off + _NEXT_TO, on) if voting else (-math.inf, math.inf)
    bound(r, lanes, lane, 3, third, low, high, math.inf)
    bound(r, lanes, lane, 4, scores[FAST_MEAN, t], -math.inf, p[FAST_VOTE * lanes + lane], math.inf)
    low = p[FAST_CALM * lanes + lane] if is_low_asked else -math.inf
    bound(r, lanes, lane, 5, scores[FAST_CEILING, t], low, math.inf, math.inf)
    if not rests or flags[t] & LOST:
        until_s = -math.inf
    elif is_low_asked:
        until_s = math.inf
    r[UNTIL_S * lanes + lane] = until_s


@jitable
def bound(
    r: Floats, lanes: int, lane: int, place: int, score: float, off: float, on: float, severe: float
) -> None:
    """Write down between which thresholds a score stands: at or over ``off``, over ``on`` or ``severe``."""
    least, most = -math.inf, off - _NEXT_TO
    if score > severe:
        least, most = severe + _NEXT_TO, math.inf
    elif score > on:
        least, most = on + _NEXT_TO, severe
    elif score >= off:
        least, most = off, on
    r[(LEAST + place) * lanes + lane] = least
    r[(MOST + place) * lanes + lane] = most


@jitable
def enter(k: Integers, lanes: int, lane: int, before: int, t: int) -> None:
    """Count the steps of a tier that ended."""
    if k[TIER * lanes + lane] != before:
        k[(STEPS_AT + before) * lanes + lane] += t - k[ENTERED * lanes + lane]
        k[ENTERED * lanes + lane] = t


@inlined
def third_row(flags: int) -> int:
    """Return the row of the third score that counts: the lone family's, else TECHNICAL's."""
    return THIRD + max(((flags >> LONE_SHIFT) & 3) - 1, 0)


@inlined
def screen_tiers(s: Floats, lanes: int, scores: Floats, third: int, t: int, now_s: float) -> None:
    """Mark the lanes whose rest ends at this step."""
    at = REST_FROM * lanes
    a, b, c = scores[SCORE, t], scores[SCORE + 1, t], scores[SCORE + 2, t]
    d, e, f = scores[third, t], scores[FAST_MEAN, t], scores[FAST_CEILING, t]
    for i in range(lanes):
        low, high = at + LEAST * lanes + i, at + MOST * lanes + i
        rests = (a >= s[low]) & (a <= s[high])
        rests &= (b >= s[low + lanes]) & (b <= s[high + lanes])
        rests &= (c >= s[low + 2 * lanes]) & (c <= s[high + 2 * lanes])
        rests &= (d >= s[low + 3 * lanes]) & (d <= s[high + 3 * lanes])
        rests &= (e >= s[low + 4 * lanes]) & (e <= s[high + 4 * lanes])
        rests &= (f >= s[low + 5 * lanes]) & (f <= s[high + 5 * lanes])
        rests &= now_s < s[at + UNTIL_S * lanes + i]
        s[at + WAKES * lanes + i] = 0.0 if rests else 1.0


@inlined
def narrow(s: Floats, lanes: int) -> None:
    """Write down, behind all lanes' fields, the rest that they share."""
    common = FIELDS * lanes
    for place in range(UNTIL_S + 1):
        row, scratch = (REST_FROM + place) * lanes, (REST_FROM + SCRATCH) * lanes
        is_floor, width = place < MOST, min(_WIDTH, lanes)
        for i in range(width):
            s[scratch + i] = s[row + i]
        for j in range(width, lanes, width):
            for i in range(width):
                value, best = s[row + j + i], s[scratch + i]
                s[scratch + i] = value if (value > best) == is_floor else best
        best = s[scratch]
        for i in range(1, width):
            best = s[scratch + i] if (s[scratch + i] > best) == is_floor else best
        s[common + place] = best


@inlined
def all_rest(s: Floats, lanes: int, scores: Floats, third: int, t: int, now_s: float) -> bool:
    """Return whether no lane's rest ends at this step."""
    low, high = FIELDS * lanes + LEAST, FIELDS * lanes + MOST
    rests = now_s < s[FIELDS * lanes + UNTIL_S]
    rests &= (scores[SCORE, t] >= s[low]) & (scores[SCORE, t] <= s[high])
    rests &= (scores[SCORE + 1, t] >= s[low + 1]) & (scores[SCORE + 1, t] <= s[high + 1])
    rests &= (scores[SCORE + 2, t] >= s[low + 2]) & (scores[SCORE + 2, t] <= s[high + 2])
    rests &= (scores[third, t] >= s[low + 3]) & (scores[third, t] <= s[high + 3])
    rests &= (scores[FAST_MEAN, t] >= s[low + 4]) & (scores[FAST_MEAN, t] <= s[high + 4])
    rests &= (scores[FAST_CEILING, t] >= s[low + 5]) & (scores[FAST_CEILING, t] <= s[high + 5])
    return bool(rests)
