"""Which cell of a sweep is chosen: one that meets the constraints, and whose neighbours are good too.

The best cell alone is the luckiest one. A cell is judged by the mean of its own value and its neighbours'.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.model.market import FloatArray
from bot.simulation.sweep.evaluation import BoolArray, Measures
from bot.simulation.sweep.space import Choices, Dimension, Space, Value

OBJECTIVES: Mapping[str, float] = {"efficiency": 1.0, "removed": 1.0, "carry": -1.0, "net": -1.0}  # sign
_AROUND = 2  # neighbours a key, of a cell that was drawn

Neighbours = tuple[tuple[int, ...], ...]  # of each cell, the places of those around it


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is sought, and what a cell must keep to. Fractions, a year; infinities bind nothing."""

    name: str = "efficiency"  # one of OBJECTIVES; carry and net are sought low
    min_removed: float = -math.inf
    max_carry: float = math.inf
    max_net: float = math.inf
    max_trades: float = math.inf

    @property
    def constraints(self) -> tuple[str, ...]:
        """Return those that bind, in words."""
        stated = (
            (self.min_removed, f"removed at least {self.min_removed:.1%}"),
            (self.max_carry, f"carry at most {self.max_carry:.1%} a year"),
            (self.max_net, f"net at most {self.max_net:.1%} a year"),
            (self.max_trades, f"at most {self.max_trades:g} trades a year"),
        )
        return tuple(words for limit, words in stated if math.isfinite(limit))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """What an objective makes of measures, one value a cell."""

    value: FloatArray  # higher is better; NaN unknown
    excess: FloatArray  # 0 where every constraint is kept, else by how much not; infinite where unknown

    @property
    def is_kept(self) -> BoolArray:
        return np.asarray(self.excess == 0.0)


def scores_of(measures: Measures, objective: Objective) -> Scores:
    value = OBJECTIVES[objective.name] * getattr(measures, objective.name)
    limits = (
        (-measures.removed, -objective.min_removed),
        (measures.carry, objective.max_carry),
        (measures.net, objective.max_net),
        (measures.trades_a_year, objective.max_trades),
    )
    excess = np.zeros(value.shape)
    for found, limit in limits:
        if math.isfinite(limit):
            over = np.maximum(found - limit, 0.0) / max(abs(limit), 1e-9)
            excess += np.where(np.isfinite(found), over, math.inf)
    return Scores(value=value, excess=excess)


def plateau(value: FloatArray, neighbours: Neighbours) -> FloatArray:
    """Return the mean of what is known of each cell's value and its neighbours'; NaN where its own is not."""
    means = np.full(value.shape, np.nan)
    for at in np.flatnonzero(np.isfinite(value)).tolist():
        around = np.sort(value[[at, *neighbours[at]]])  # so that cells with the same ones have the same mean
        means[at] = around[np.isfinite(around)].mean()
    return means


def choose(scores: Scores, neighbours: Neighbours) -> int | None:
    """Return the cell with the best plateau of those that keep every constraint.

    Among equals the best by itself, then the first: in a grid of two both have the same plateau.
    Where none keeps them, that which comes nearest. None where no cell has a value.
    """
    level = plateau(scores.value, neighbours)
    known = np.flatnonzero(np.isfinite(level) & np.isfinite(scores.excess))
    return min(
        known.tolist(), key=lambda at: (scores.excess[at], -level[at], -scores.value[at], at), default=None
    )


def neighbours_of(space: Space, cells: Sequence[Sequence[Value]], *, is_grid: bool) -> Neighbours:
    """Return the neighbours of each cell.

    In a grid, those that differ in one key by one step; by any other value where values have no order. Of
    drawn cells, the two nearest for each key, with every key's range as one unit.
    """
    if is_grid:
        return _adjacent(space, cells)
    places = np.array([_coordinates(space.dimensions, cell) for cell in cells]).reshape(len(cells), -1)
    many = min(_AROUND * len(space.dimensions), len(cells) - 1)
    return tuple(_nearest(places, at, many) for at in range(len(cells)))


def _adjacent(space: Space, cells: Sequence[Sequence[Value]]) -> Neighbours:
    choices = [item for item in space.dimensions if isinstance(item, Choices)]
    places = [
        tuple(item.values.index(value) for item, value in zip(choices, cell, strict=True)) for cell in cells
    ]
    at = {place: index for index, place in enumerate(places)}
    return tuple(
        tuple(sorted(at[other] for other in _steps(place, choices) if other in at)) for place in places
    )


def _steps(place: tuple[int, ...], choices: Sequence[Choices]) -> list[tuple[int, ...]]:
    found = []
    for axis, item in enumerate(choices):
        here = place[axis]
        steps = (here - 1, here + 1) if item.is_ordered else range(len(item.values))
        found += [(*place[:axis], step, *place[axis + 1 :]) for step in steps if step != here]
    return found


def _coordinates(dimensions: Sequence[Dimension], cell: Sequence[Value]) -> list[float]:
    """Return a point; a key without order is one axis for each value, so that any two are as far apart."""
    found: list[float] = []
    for item, value in zip(dimensions, cell, strict=True):
        if isinstance(item, Choices) and not item.is_ordered:
            found += [math.sqrt(0.5) * (value == other) for other in item.values]
        else:
            found.append(item.coordinate(value))
    return found


def _nearest(places: FloatArray, at: int, many: int) -> tuple[int, ...]:
    distance = np.linalg.norm(places - places[at], axis=1)
    distance[at] = math.inf
    return tuple(sorted(np.argsort(distance, kind="stable")[:many].tolist()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatness:
    """The values around the chosen cell, in the objective's own sign."""

    neighbours: int
    kept: int  # of them, those that keep every constraint
    lowest: float = math.nan
    median: float = math.nan
    highest: float = math.nan


def flatness(scores: Scores, neighbours: Neighbours, at: int, sign: float) -> Flatness:
    around = [each for each in neighbours[at] if math.isfinite(scores.value[each])]
    if not around:
        return Flatness(neighbours=0, kept=0)
    values = sign * scores.value[around]
    return Flatness(
        neighbours=len(around),
        kept=int(scores.is_kept[around].sum()),
        lowest=float(values.min()),
        median=float(np.median(values)),
        highest=float(values.max()),
    )
