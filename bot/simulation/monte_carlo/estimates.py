"""Figures of many equally likely outcomes, and how sure so many of them make each: 90 % intervals.

Means: the normal law. Quantiles: order statistics, exact for any law (David and Nagaraja 2003, 7.1). Expected
shortfall and differences of two figures on the same paths: the deviation of their influence functions
(Manistre
and Hancock 2005 for the shortfall), which counts how the two sides go together.
"""

import math
from collections.abc import Callable

import numpy as np

from bot.model.market import FloatArray
from bot.quant.var import expected_shortfall
from bot.simulation.intervals import Interval
from bot.simulation.report.inputs import Estimate

Z_90 = 1.6448536269514722  # standard normal, 95 % quantile
NOTHING = Estimate(value=math.nan)
_LEAST = 30  # outcomes, with fewer of which no interval is told
Statistic = Callable[
    [FloatArray], tuple[Estimate, FloatArray]
]  # the figure, and each outcome's influence on it


def mean(values: FloatArray) -> tuple[Estimate, FloatArray]:
    """Return the mean of the known outcomes; NaN without one."""
    known = values[np.isfinite(values)]
    if not known.size:
        return NOTHING, np.zeros(values.shape)
    at = float(known.mean())
    return _around(at, _error(known - at)), np.where(np.isfinite(values), values - at, 0.0)


def quantile(level: float) -> Statistic:
    """Return the statistic of the outcome that a share ``level`` of them do not exceed."""

    def found(values: FloatArray) -> tuple[Estimate, FloatArray]:
        ordered = np.sort(values)
        count = ordered.size
        at = float(ordered[_rank(level, count) - 1])
        reach = Z_90 * math.sqrt(count * level * (1.0 - level))
        low, high = math.floor(count * level - reach), math.ceil(count * level + reach) + 1
        inside = low >= 1 and high <= count
        spread = (
            Interval(low=float(ordered[low - 1]), high=float(ordered[high - 1])) if inside else Interval()
        )
        density = _density(ordered, level)
        influence = (level - (values <= at)) / density if density > 0.0 else np.full(values.shape, np.nan)
        return Estimate(value=at, range=spread), np.asarray(influence, dtype=np.float64)

    return found


def shortfall(level: float) -> Statistic:
    """Return the statistic of the mean of the worst 1 - ``level``; large is bad."""

    def found(values: FloatArray) -> tuple[Estimate, FloatArray]:
        edge = float(np.sort(values)[_rank(level, values.size) - 1])
        at = expected_shortfall(values, confidence=level)
        influence = edge + np.maximum(values - edge, 0.0) / (1.0 - level) - at
        return _around(at, _error(influence)), influence

    return found


def difference(statistic: Statistic, one: FloatArray, other: FloatArray) -> Estimate:
    """Return the statistic of ``one`` less that of ``other``, outcomes of the same paths."""
    (first, its_influence), (second, other_influence) = statistic(one), statistic(other)
    return _around(first.value - second.value, _error(its_influence - other_influence))


def estimate(statistic: Statistic, values: FloatArray) -> Estimate:
    return statistic(values)[0]


def share(happened: FloatArray) -> Estimate:
    """Return the share of outcomes in which something happened: Wilson's interval (1927)."""
    count, hits = happened.size, float(np.count_nonzero(happened))
    if not count:
        return NOTHING
    p, z2 = hits / count, Z_90**2
    centre = (p + z2 / (2.0 * count)) / (1.0 + z2 / count)
    reach = Z_90 / (1.0 + z2 / count) * math.sqrt(p * (1.0 - p) / count + z2 / (4.0 * count**2))
    return Estimate(value=p, range=Interval(low=max(centre - reach, 0.0), high=min(centre + reach, 1.0)))


def _around(value: float, error: float) -> Estimate:
    known = math.isfinite(error)
    return Estimate(
        value=value,
        range=Interval(low=value - Z_90 * error, high=value + Z_90 * error) if known else Interval(),
    )


def _error(influence: FloatArray) -> float:
    """Return the standard error of a figure whose outcomes have these influences."""
    count = influence.size
    return float(influence.std(ddof=1)) / math.sqrt(count) if count >= _LEAST else math.nan


def _rank(level: float, count: int) -> int:
    return min(max(math.ceil(level * count - 1e-9), 1), count)


def _density(ordered: FloatArray, level: float) -> float:
    """Return the density at a quantile from the distance of two about it (Siddiqui 1960); 0 when unknown."""
    count = ordered.size
    width = min(count**-0.2 * 0.5, 0.5 * min(level, 1.0 - level))
    low, high = _rank(level - width, count), _rank(level + width, count)
    gap = float(ordered[high - 1] - ordered[low - 1])
    return (high - low) / count / gap if gap > 0.0 else 0.0
