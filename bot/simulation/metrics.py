"""What a path of values was worth: falls, what a hedge took off them, and who was early.

Pure functions of arrays. NaN is an hour without a value: it is left out, never bridged by a guess.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from bot.model.market import FloatArray


def drawdowns(values: ArrayLike) -> FloatArray:
    """Return at each point the fall from the highest value so far, fraction in [0, 1]; NaN stays NaN.

    Values must be > 0 where they are known; a value of 0 or less is a fall of 1 or more.
    """
    known = np.asarray(values, dtype=np.float64)
    peaks = np.fmax.accumulate(known) if known.size else known
    return np.asarray(1.0 - known / peaks)


def max_drawdown(values: ArrayLike, *, times_s: ArrayLike | None = None, hole_s: float = math.inf) -> float:
    """Return the deepest fall from a peak, fraction; NaN when no value is known.

    With ``times_s``, a fall starts anew after a hole of more than ``hole_s`` between two points: no
    drawdown runs across a stretch nobody saw.
    """
    path = np.asarray(values, dtype=np.float64)
    at_s = np.zeros(path.shape) if times_s is None else np.asarray(times_s, dtype=np.float64)
    cuts = np.flatnonzero(np.diff(at_s) > hole_s) + 1
    falls = np.concatenate([drawdowns(part) for part in np.split(path, cuts)])
    return float(np.nanmax(falls)) if np.isfinite(falls).any() else math.nan


def deepest_fall(values: ArrayLike) -> tuple[int, int] | None:
    """Return the positions of (peak, trough) of the deepest fall; None when the path never falls."""
    known = np.asarray(values, dtype=np.float64)
    falls = drawdowns(known)
    if not np.isfinite(falls).any() or float(np.nanmax(falls)) <= 0.0:
        return None
    trough = int(np.nanargmax(falls))
    return int(np.nanargmax(known[: trough + 1])), trough


def removed(hedged: ArrayLike, unhedged: ArrayLike) -> float:
    """Return 1 - hedged / unhedged drawdown (R26): negative when the hedge made it worse.

    NaN when the unhedged path never fell.
    """
    base = max_drawdown(unhedged)
    return 1.0 - max_drawdown(hedged) / base if base > 0.0 else math.nan
