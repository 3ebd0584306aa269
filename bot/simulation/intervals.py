"""How sure a run's figures are: 90 % intervals from a circular block bootstrap of its own steps.

Politis and Romano (1992). Blocks of ten days, the horizon of R8, keep a crash whole; the position and every
hedge are drawn by the same blocks, so that each resample is one history for all. It says how much of a
figure hangs on the order and number of this path's crises, not what another market would bring.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.model.market import FloatArray
from bot.model.units import DAY_S, YEAR_S

BLOCK_S = 10 * DAY_S
RESAMPLES = 500
LEAST_BLOCKS = 6  # with fewer blocks a resample is the same path again
LEAST_S = 30 * DAY_S  # a figure a year from less than a month says nothing
LOW, HIGH = 0.05, 0.95
SEED = 5  # the same run gives the same page


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The 5th and 95th percentile of a figure over resamples; NaN is unknown."""

    low: float = math.nan
    high: float = math.nan


UNKNOWN = Interval()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures of one strategy with their intervals. Fractions."""

    max_drawdown: Interval = UNKNOWN
    removed: Interval = UNKNOWN  # 1 - hedged / unhedged drawdown
    cost_a_year: float = (
        math.nan
    )  # what the hedge lost, of the position a year, < 0 gained; NaN under 30 days
    cost_range: Interval = UNKNOWN


def measured(
    times_s: FloatArray,
    position_usd: FloatArray,
    gains_usd: Mapping[str, FloatArray],
    *,
    hole_s: float,
    resamples: int = RESAMPLES,
) -> dict[str, Measured]:
    """Return the figures of each strategy from what its hedge gained by step, USD since the start.

    A step is used where the position and every gain are known at both of its ends and no hole over
    ``hole_s`` lies in it. Intervals are unknown with fewer than six blocks of such steps.
    """
    steps = _steps(times_s, position_usd, gains_usd, hole_s)
    found = {name: Measured(cost_a_year=_cost(steps, change)) for name, change in steps.changes.items()}
    block = max(round(BLOCK_S / steps.step_s), 1) if steps.step_s > 0.0 else 0
    if not block or steps.returns.size < LEAST_BLOCKS * block:
        return found
    drawn = {name: np.empty((resamples, 3)) for name in found}
    random = np.random.default_rng(SEED)
    for number in range(resamples):
        at = _blocks(random, steps.returns.size, block)
        _resample(steps, at, {name: rows[number] for name, rows in drawn.items()})
    return {
        name: Measured(
            max_drawdown=interval(rows[:, 0]),
            removed=interval(rows[:, 1]),
            cost_a_year=found[name].cost_a_year,
            cost_range=interval(rows[:, 2]),
        )
        for name, rows in drawn.items()
    }


def mean_interval(values: Sequence[float], *, resamples: int = 2_000) -> Interval:
    """Return the interval of a mean over independent cases, drawn anew with replacement; NaN under three."""
    known = np.array([value for value in values if math.isfinite(value)])
    if known.size < 3:
        return UNKNOWN
    at = np.random.default_rng(SEED).integers(known.size, size=(resamples, known.size))
    return interval(known[at].mean(axis=1))


def interval(drawn: FloatArray) -> Interval:
    """Return the 5th and 95th percentile of what is known."""
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return UNKNOWN
    low, high = np.quantile(known, (LOW, HIGH))
    return Interval(low=float(low), high=float(high))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Steps:
    """What happened from step to step, as fractions of the position at the step's start."""

    returns: FloatArray
    changes: Mapping[str, FloatArray]
    step_s: float  # the usual one


def _steps(
    times_s: FloatArray, position_usd: FloatArray, gains_usd: Mapping[str, FloatArray], hole_s: float
) -> _Steps:
    known = np.isfinite(position_usd) & (position_usd > 0.0)
    for gain in gains_usd.values():
        known = known & np.isfinite(gain)
    apart = np.diff(times_s)
    used = known[1:] & known[:-1] & (apart <= hole_s)
    before = position_usd[:-1][used]
    return _Steps(
        returns=np.diff(position_usd)[used] / before,
        changes={name: np.diff(gain)[used] / before for name, gain in gains_usd.items()},
        step_s=float(np.median(apart[used])) if used.any() else 0.0,
    )


def _blocks(random: np.random.Generator, size: int, block: int) -> NDArray[np.int64]:
    starts = random.integers(size, size=-(-size // block))
    return ((starts[:, np.newaxis] + np.arange(block)) % size).ravel()[:size]


def _resample(steps: _Steps, at: NDArray[np.int64], rows: Mapping[str, FloatArray]) -> None:
    """Fill one row of each strategy: deepest fall, share removed, cost a year."""
    position: FloatArray = np.cumprod(1.0 + steps.returns[at], dtype=np.float64)
    before = np.concatenate([[1.0], position[:-1]])
    base = _fall(position)
    years = at.size * steps.step_s / YEAR_S
    for name, row in rows.items():
        gain: FloatArray = np.cumsum(steps.changes[name][at] * before, dtype=np.float64)
        fall = _fall(position + gain)
        row[0] = fall
        row[1] = 1.0 - fall / base if base > 0.0 else math.nan
        row[2] = 0.0 - float(gain[-1]) / float(before.mean()) / years


def _fall(values: FloatArray) -> float:
    """Return the deepest fall from a peak, the start's 1 included."""
    peaks = np.maximum(np.maximum.accumulate(values), 1.0)
    return max(float(np.max(1.0 - values / peaks)), 0.0)


def _cost(steps: _Steps, change: FloatArray) -> float:
    """Return what the hedge lost, of the position's mean value a year, in the order that it happened."""
    if change.size * steps.step_s < LEAST_S:
        return math.nan
    before = np.concatenate([[1.0], np.cumprod(1.0 + steps.returns)[:-1]])
    years = change.size * steps.step_s / YEAR_S
    return 0.0 - float(np.sum(change * before)) / float(before.mean()) / years
