"""The least money to move between places so that no share is too large and the whole not too concentrated.

What leaves is taken from the largest until they are level with the next, and goes to the smallest until they
are. For a given sum no other transfer leaves a smaller largest share, or a smaller sum of squares, so the
first sum at which both limits hold is the least.
"""

import math
from collections.abc import Mapping, Sequence

from bot.model.base_layers import Move


def levelled(
    values: Mapping[str, float],
    receivers: Sequence[str],
    *,
    share: float,
    hhi: float,
    new: str,
    beside: float = 0.0,
) -> dict[str, float]:
    """Return the holdings after the least move that keeps both limits; the total stays.

    ``values`` are finite, >= 0, and not all 0; limits are fractions in (0, 1], infinite for none. Only
    ``receivers`` take money. Where they do not suffice, places named ``new`` are added, as few as will do.
    ``beside`` is held elsewhere and stays there: it counts in the total alone.
    """
    total = sum(values.values()) + beside
    most, squares = share * total, hhi * total * total
    after = dict(values)
    for count in range(_places(min(share, hhi)) + 1):
        added = [new if count == 1 else f"{new} {number}" for number in range(1, count + 1)]
        held = {**values, **dict.fromkeys(added, 0.0)}
        after = _after(held, {*receivers, *added}, most=most, squares=squares)
        if _keeps(after, most=most, squares=squares):
            break
    return after


def moves_between(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[Move, ...]:
    """Return transfers from one set of holdings to another of the same total, largest givers first."""
    change = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in {**before, **after}}
    givers = sorted((usd, name) for name, usd in change.items() if usd < 0.0)
    takers = sorted((-usd, name) for name, usd in change.items() if usd > 0.0)
    moves: list[Move] = []
    while givers and takers:
        (given, source), (taken, target) = givers[0], takers[0]
        usd = min(-given, -taken)
        moves.append(Move(source=source, target=target, usd=usd))
        givers = [(given + usd, source), *givers[1:]] if given + usd < 0.0 else givers[1:]
        takers = [(taken + usd, target), *takers[1:]] if taken + usd < 0.0 else takers[1:]
    least = 1e-9 * sum(abs(value) for value in before.values())
    return tuple(move for move in moves if move.usd > least)


def _places(limit: float) -> int:
    """Return over how many equal places money must lie so that each share, and so the HHI, keeps a limit."""
    return math.ceil(1.0 / limit - 1e-9) if math.isfinite(limit) else 0


def _keeps(held: Mapping[str, float], *, most: float, squares: float) -> bool:
    slack = 1.0 + 1e-12  # of rounding in the levels
    return max(held.values()) <= most * slack and sum(usd * usd for usd in held.values()) <= squares * slack


def _after(held: Mapping[str, float], takers: set[str], *, most: float, squares: float) -> dict[str, float]:
    high, low = _levels(held, takers, most=most, squares=squares)
    return {name: _clipped(value, name in takers, high, low) for name, value in held.items()}


def _levels(
    held: Mapping[str, float], takers: set[str], *, most: float, squares: float
) -> tuple[float, float]:
    """Return (what the largest are cut to, what the smallest takers are filled to)."""
    top = [*sorted(held.values(), reverse=True), -math.inf]
    bottom = [*sorted(value for name, value in held.items() if name in takers), math.inf]
    high, low = top[0], bottom[0]
    over, under = 1, 1  # how many stand at each level
    while high > low:
        while top[over] >= high:
            over += 1
        while bottom[under] <= low:
            under += 1
        clipped = (_clipped(value, name in takers, high, low) for name, value in held.items())
        now = sum(usd * usd for usd in clipped)
        needed = max((high - most) * over, _to_square(now - squares, high - low, over, under))
        if needed <= 0.0:
            break
        to_top, to_bottom = (high - top[over]) * over, (bottom[under] - low) * under
        to_meet = (high - low) / (1.0 / over + 1.0 / under)
        step = min(needed, to_top, to_bottom, to_meet)
        high = top[over] if step == to_top else high - step / over
        low = bottom[under] if step == to_bottom else low + step / under
        if step in (needed, to_meet):
            break
    return high, low


def _clipped(value: float, takes: bool, high: float, low: float) -> float:
    return max(min(value, high), low) if takes else min(value, high)


def _to_square(excess: float, gap: float, over: int, under: int) -> float:
    """Return the move that lowers the sum of squares by ``excess`` while no level meets the next one.

    A move m lowers it by 2 gap m - (1/over + 1/under) m^2. Infinite where even the widest does not.
    """
    if excess <= 0.0:
        return 0.0
    bend = 1.0 / over + 1.0 / under
    root = gap * gap - bend * excess
    return (gap - math.sqrt(root)) / bend if root >= 0.0 else math.inf
