"""What a sweep found, and its JSON: ratios are fractions, times ISO 8601 UTC, null is unknown.

Nothing in it depends on who evaluated the cells, in which order, or how much was there already.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bot.model.market import FloatArray
from bot.model.units import DAY_S, iso_utc
from bot.simulation.exposures import ExposureSpec
from bot.simulation.sweep.choice import Flatness, Objective
from bot.simulation.sweep.honesty import CrossValidation, Deflated
from bot.simulation.sweep.space import Choices, Space, Value, spoken
from bot.simulation.windows.comparison import or_none


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """R26 of one policy over some of the history. Fractions; NaN is unknown."""

    removed: float = math.nan
    carry: float = math.nan  # a year
    net: float = math.nan  # a year
    efficiency: float = math.nan
    trades_a_year: float = math.nan

    def to_json(self) -> dict[str, float | None]:
        return {name: or_none(getattr(self, name)) for name in Figures.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell. The figures are over all history that a choice may look at."""

    place: int  # in the order in which cells were made
    values: tuple[Value, ...]  # of the sweep's keys, as a policy file writes them
    policy_hash: str = ""
    refused: str = ""  # why a rule between keys forbids it; it was not run
    figures: Figures = Figures()
    keeps: bool = False  # every constraint
    plateau: float = math.nan  # the objective, mean of the cell and its neighbours
    neighbours: tuple[int, ...] = ()  # places
    is_efficient: bool = False  # no other cell removes as much at less carry, or more at the same

    def to_json(self, keys: Sequence[str]) -> dict[str, object]:
        return {
            "place": self.place,
            "values": dict(zip(keys, self.values, strict=True)),
            "policy_hash": self.policy_hash or None,
            "refused": self.refused or None,
            **self.figures.to_json(),
            "keeps": self.keeps,
            "plateau": or_none(self.plateau),
            "neighbours": list(self.neighbours),
            "efficient": self.is_efficient,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOut:
    """The last of history, which no choice has looked at."""

    from_s: float
    chosen: Figures
    base: Figures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatMap:
    """The objective over two keys, all others as in the chosen cell; NaN is refused or unknown."""

    x_key: str
    y_key: str
    x_values: tuple[str, ...]
    y_values: tuple[str, ...]
    values: FloatArray  # one row for each value of y
    keeps: "np.ndarray[tuple[int, int], np.dtype[np.bool_]]"  # every constraint
    chosen: tuple[int, int]  # row, column


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """Everything a report needs of a sweep."""

    spec: ExposureSpec
    study: str  # digest of all that the figures rest on besides the policies
    policy: str  # that the keys are varied in
    space: Space
    method: str
    seed: int
    objective: Objective
    samples: int  # stretches of history that splits are made of
    folds: int
    embargo_s: float
    crises: int  # market crises with a known hedge in the history chosen on
    rows: tuple[Row, ...]  # the best plateau first; what breaks a constraint, is unknown or refused after it
    base: Figures  # of the policy as it is
    base_hash: str
    chosen: int | None  # place; None where no cell has a figure
    best: int | None  # place of the best cell by itself, neighbours left out
    flatness: Flatness | None
    validation: CrossValidation
    deflated: Deflated | None
    hold_out: HoldOut | None

    def row(self, place: int) -> Row:
        return next(item for item in self.rows if item.place == place)

    def heat_map(self, x_key: str, y_key: str) -> HeatMap | None:
        """Return the slice through the chosen cell; None where none is chosen or a key is no list of values.

        Raises KeyError for a key that the sweep did not vary.
        """
        by_key = {item.key: item for item in self.space.dimensions}
        x, y = by_key[x_key], by_key[y_key]
        if self.chosen is None or not (isinstance(x, Choices) and isinstance(y, Choices)):
            return None
        return _slice(self, x, y, self.row(self.chosen))

    def to_json(self) -> dict[str, object]:
        """Return the facts as plain values; NaN is null."""
        return {
            "exposure": {"pool": self.spec.pool, "value_usd": self.spec.value_usd},
            "study": self.study,
            "policy": self.policy,
            "policy_hash": self.base_hash,
            "keys": list(self.space.keys),
            "method": self.method,
            "seed": self.seed,
            "objective": self.objective.name,
            "constraints": {
                name: or_none(limit) for name, limit in asdict(self.objective).items() if name != "name"
            },
            "samples": self.samples,
            "folds": self.folds,
            "embargo_days": self.embargo_s / DAY_S,
            "crises": self.crises,
            "base": self.base.to_json(),
            "chosen": self.chosen,
            "best": self.best,
            "flatness": _known(asdict(self.flatness)) if self.flatness else None,
            "validation": _validation_json(self.validation),
            "deflated": _known(asdict(self.deflated)) if self.deflated else None,
            "hold_out": _hold_out_json(self.hold_out) if self.hold_out else None,
            "rows": [item.to_json(self.space.keys) for item in self.rows],
        }


def _slice(result: SweepResult, x: Choices, y: Choices, chosen: Row) -> HeatMap:
    keys = result.space.keys
    at_x, at_y = keys.index(x.key), keys.index(y.key)
    values = np.full((len(y.values), len(x.values)), np.nan)
    keeps = np.zeros(values.shape, dtype=bool)
    for row in result.rows:
        if all(row.values[at] == chosen.values[at] for at in range(len(keys)) if at not in (at_x, at_y)):
            place = y.values.index(row.values[at_y]), x.values.index(row.values[at_x])
            values[place] = getattr(row.figures, result.objective.name)
            keeps[place] = row.keeps
    return HeatMap(
        x_key=x.key,
        y_key=y.key,
        x_values=tuple(map(spoken, x.values)),
        y_values=tuple(map(spoken, y.values)),
        values=values,
        keeps=keeps,
        chosen=(y.values.index(chosen.values[at_y]), x.values.index(chosen.values[at_x])),
    )


def _validation_json(item: CrossValidation) -> dict[str, object]:
    return _known(asdict(item)) | {"halves": [_known(asdict(half)) for half in item.halves]}


def _hold_out_json(item: HoldOut) -> dict[str, object]:
    return {
        "from_ts": iso_utc(item.from_s),
        "chosen": item.chosen.to_json(),
        "base": item.base.to_json(),
    }


def _known(values: Mapping[str, object]) -> dict[str, object]:
    return {name: or_none(item) if isinstance(item, float) else item for name, item in values.items()}
