"""How deep a market is, from what it says it would pay for some sizes."""

import math
from collections.abc import Sequence

import numpy as np

from bot.model.market import FloatArray


def ladder(smallest: float, largest: float, steps: int) -> FloatArray:
    """Return ``steps`` >= 2 sizes from ``smallest`` to ``largest``, each the same factor over the last."""
    return np.geomspace(smallest, largest, steps)


def marginal_prices(sizes: FloatArray, paid: FloatArray) -> FloatArray:
    """Return what the next unit pays between neighbouring sizes, one fewer than there are sizes."""
    return np.diff(paid) / np.diff(sizes)


def bracket(sizes: FloatArray, paid: FloatArray, *, reference: float, move: float) -> tuple[float, float]:
    """Return two sizes between which the marginal price falls below ``reference`` x (1 - ``move``).

    The lower is 0 when it has at the smallest size. NaN, NaN when it does not at any size.
    """
    moved = np.flatnonzero(marginal_prices(sizes, paid) < reference * (1 - move))
    if not moved.size:
        return math.nan, math.nan
    at = int(moved[0])  # somewhere between sizes[at - 1] and sizes[at + 1]: a slope is that of a stretch
    return (0.0 if at == 0 else float(sizes[at - 1])), float(sizes[at + 1])


def size_at_move(sizes: Sequence[float], prices: Sequence[float], *, reference: float, move: float) -> float:
    """Return the size at which the marginal price has fallen from ``reference`` by ``move``; NaN if never.

    Between two sizes the fall is taken to grow as a power of the size: a pool gives way slowly, then fast.
    """
    falls = [1 - price / reference for price in prices]
    for at in range(1, len(sizes)):
        low, high = falls[at - 1], falls[at]
        if not low < move <= high:
            continue
        if low <= 0:  # rounding: no power
            share = (move - low) / (high - low)
            return float(sizes[at - 1] + share * (sizes[at] - sizes[at - 1]))
        share = math.log(move / low) / math.log(high / low)
        return float(sizes[at - 1] * (sizes[at] / sizes[at - 1]) ** share)
    return math.nan
