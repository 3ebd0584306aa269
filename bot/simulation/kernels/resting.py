"""When a lane's tier may change: how long each rests after a step, and where in a tile its rest ends.

A lane that a step left as it was rests while its scores stay on the same side of the thresholds that matter
to it, the flags stay as they are and no cooldown ends. These bounds are never wider than the thresholds, so
that a step may be taken for nothing and none is left out.
"""

import math

from bot.simulation.kernels.bundles import History, Lane
from bot.simulation.kernels.compiling import Floats, Integers, inlined, jitable
from bot.simulation.kernels.layout import (
    DEGRADED,
    ENTERED,
    FAST_CALM,
    FAST_CEILING,
    FAST_MEAN,
    FAST_VOTE,
    HOLD,
    LEAST,
    LONE_SHIFT,
    LOST,
    MEMORY,
    MOST,
    NEEDS,
    SCORE,
    SEVERE_SCORE,
    STEPS_AT,
    THIRD,
    TIER,
    UNTIL_S,
    VOTE,
    VOTE_OFF,
)
from bot.simulation.kernels.tier_steps import due_s, is_second, voted_tier
from bot.simulation.kernels.tiles import GROUP, HIGH, LOW, NOW_S, RESTING_ROWS, ROOM

_ELEVATED = 2
_TECHNICAL_ALONE = 1  # the votes' bits
_THIRD_ROW, _MEAN_ROW, _CEILING_ROW = 3, 4, 5  # of the six scores, behind the families'
_NEXT_TO = 1e-12  # scores are whole multiples of 1e-9


@jitable
def rest(lane: Lane, history: History, t: int, rests: bool) -> None:
    """Write down how long a lane rests after a step, if it does."""
    r = lane.r
    for place in range(RESTING_ROWS):
        r[LEAST + place], r[MOST + place] = -math.inf, math.inf
    r[UNTIL_S] = -math.inf
    if not rests or history.flags[t] & LOST:
        return
    rest_by_votes(lane, history, t)
    rest_by_fast_path(lane, history, t)
    if lane.k[NEEDS] == 1 or history.flags[t] & (HOLD | DEGRADED) != 0:
        r[UNTIL_S] = math.inf  # asked for, or kept: how low scores are is not asked
        return
    r[UNTIL_S] = due_s(lane)
    if r[UNTIL_S] <= history.times_s[t]:
        rest_by_high_score(lane, history, t)


@jitable
def rest_by_votes(lane: Lane, history: History, t: int) -> None:
    """Bound what the families' votes and the tier that they ask for rest on."""
    p, r, scores, voting = lane.p, lane.r, history.scores, lane.k[MEMORY] & 7
    on, off = p[VOTE], p[VOTE_OFF]
    lone = ((history.flags[t] >> LONE_SHIFT) & 3) - 1
    count, top, highest = 0, 0, -math.inf
    for family in range(3):
        if not voting & (1 << family):
            r[MOST + family] = on
            continue
        r[LEAST + family] = off
        count += 1
        if scores[SCORE + family, t] > highest:
            top, highest = family, scores[SCORE + family, t]
    if count == 2 and lone < 0:
        rest_by_severity(r, p[SEVERE_SCORE], voting, top, highest)
    third = scores[THIRD + max(lone, 0), t]
    if lone >= 0 and voting:
        bound(r, third, off, on)
    elif voting == _TECHNICAL_ALONE:
        bound(r, third, off, math.inf)


@jitable
def rest_by_severity(r: Floats, severe: float, voting: int, top: int, highest: float) -> None:
    """Bound by the score that makes two votes SEVERE: the highest stays over it, or both stay under."""
    if highest > severe:
        r[LEAST + top] = max(r[LEAST + top], severe + _NEXT_TO)
        return
    for family in range(3):
        if voting & (1 << family):
            r[MOST + family] = severe


@jitable
def bound(r: Floats, third: float, off: float, on: float) -> None:
    """Write down on which side of both thresholds a third score stands, or that it stands on the lower."""
    least, most = -math.inf, off - _NEXT_TO
    if third > on:
        least, most = on + _NEXT_TO, math.inf
    elif third > off:
        least, most = off + _NEXT_TO, on
    elif third == off:
        least, most = off, off
    r[LEAST + _THIRD_ROW], r[MOST + _THIRD_ROW] = least, most


@jitable
def rest_by_fast_path(lane: Lane, history: History, t: int) -> None:
    """Bound the fast path's mean, unless the votes ask for ELEVATED by themselves."""
    p, r, scores, memory = lane.p, lane.r, history.scores, lane.k[MEMORY]
    lone = ((history.flags[t] >> LONE_SHIFT) & 3) - 1
    voted = voted_tier(memory & 7, lone, is_second(memory), scores, t, p[VOTE_OFF], p[SEVERE_SCORE])
    if voted >= _ELEVATED:
        return
    if scores[FAST_MEAN, t] > p[FAST_VOTE]:
        r[LEAST + _MEAN_ROW] = p[FAST_VOTE] + _NEXT_TO
    else:
        r[MOST + _MEAN_ROW] = p[FAST_VOTE]


@jitable
def rest_by_high_score(lane: Lane, history: History, t: int) -> None:
    """Rest while one score that keeps a tier whose cooldown is over goes on doing so."""
    p, r, scores = lane.p, lane.r, history.scores
    best = 0
    for family in range(1, 3):
        if scores[SCORE + family, t] > scores[SCORE + best, t]:
            best = family
    if scores[SCORE + best, t] >= p[VOTE_OFF]:
        r[LEAST + best] = max(r[LEAST + best], p[VOTE_OFF])
    elif scores[FAST_CEILING, t] >= p[FAST_CALM]:
        r[LEAST + _CEILING_ROW] = p[FAST_CALM]
    else:
        return  # the cooldown ends within the second
    r[UNTIL_S] = math.inf


@jitable
def enter(k: Integers, before: int, t: int) -> None:
    """Count the steps of a tier that ended."""
    if k[TIER] != before:
        k[STEPS_AT + before] += t - k[ENTERED]
        k[ENTERED] = t


@inlined
def rests_all_tile(r: Floats, cells: Floats) -> bool:
    """Return whether a lane's rest lasts to the end of the tile."""
    rests = cells[HIGH + NOW_S] < r[UNTIL_S]
    for row in range(RESTING_ROWS):
        rests &= (cells[LOW + row] >= r[LEAST + row]) & (cells[HIGH + row] <= r[MOST + row])
    return bool(rests)


@inlined
def rests_at(r: Floats, cells: Floats, i: int) -> bool:
    """Return whether a lane rests at step ``i`` of the tile."""
    rests = cells[NOW_S * ROOM + i] < r[UNTIL_S]
    for row in range(RESTING_ROWS):
        score = cells[row * ROOM + i]
        rests &= (score >= r[LEAST + row]) & (score <= r[MOST + row])
    return bool(rests)


@jitable
def next_wake(r: Floats, cells: Floats, first: int, end: int) -> int:
    """Return the first step of the tile from ``first`` on at which a lane's rest ends, ``end`` for none."""
    for start in range(first, end, GROUP):
        part, awake = cells[start:], 0
        for i in range(GROUP):
            awake += 0 if rests_at(r, part, i) else 1
        if awake:
            for i in range(min(GROUP, end - start)):
                if not rests_at(r, part, i):
                    return start + i
    return end
