"""What a sweep varies: policy keys with their values or ranges, and the cells that they make.

A key is the dotted path of a policy file, of one value (``tiers.fast_vote``) or of a table
(``sizing.weights``), whose values are then tables that state what differs. Values stay as a policy file
writes them, so that a cell can be copied into one.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from bot.engine.policy import Policy
from bot.engine.policy_fields import PlainReader, SectionReader
from bot.engine.policy_file import merged
from bot.engine.policy_readers import Reader, suggestion
from bot.errors import ConfigError

Value: TypeAlias = Any  # as tomllib gives it: a text, number, flag, list or table
Table: TypeAlias = Mapping[str, Any]

MOST_CELLS = 100_000
_DIGITS = 4  # significant ones of a drawn number: more would claim a precision that no policy has


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """A key with the values to try, in order."""

    key: str
    values: tuple[Value, ...]
    is_ordered: bool  # numbers with or without a unit: the values beside one are its neighbours

    def coordinate(self, value: Value) -> float:
        """Return where a value stands, 0 for the first and 1 for the last."""
        return self.values.index(value) / max(len(self.values) - 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A key with any number between two bounds; ``unit`` is written behind it ("%", "h"), or is empty."""

    key: str
    low: float
    high: float
    unit: str = ""
    is_log: bool = False
    is_whole: bool = False

    def value_at(self, share: float) -> Value:
        """Return the value at a share in [0, 1] of the way from low to high."""
        if self.is_log:
            number = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            number = self.low + share * (self.high - self.low)
        if self.is_whole:
            return round(number)
        number = min(max(float(f"{number:.{_DIGITS}g}"), self.low), self.high)
        return written(number, self.unit)

    def coordinate(self, value: Value) -> float:
        number = float(str(value).removesuffix(self.unit)) if self.unit else float(value)
        if self.is_log:
            return (math.log(number) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (number - self.low) / (self.high - self.low)


Dimension: TypeAlias = Choices | Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The keys of a sweep, each with what is tried."""

    dimensions: tuple[Dimension, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(item.key for item in self.dimensions)

    @property
    def cells(self) -> float:
        """Return how many cells there are; infinity with a range."""
        return math.prod(
            len(item.values) if isinstance(item, Choices) else math.inf for item in self.dimensions
        )

    def grid(self) -> tuple[tuple[Value, ...], ...]:
        """Return every cell, the last key changing fastest. Raises ConfigError for a range or too many."""
        for item in self.dimensions:
            if isinstance(item, Range):
                raise ConfigError(
                    f"sweep key {item.key}: a grid needs a list or a step, was {_said(item)}; "
                    "add step, or sweep with --method random or bayes"
                )
        if self.cells > MOST_CELLS:
            raise ConfigError(
                f"the grid has {self.cells:,.0f} cells, at most {MOST_CELLS:,} are run; "
                "leave values out, or sweep with --method random or bayes"
            )
        return tuple(product(*(item.values for item in self.dimensions if isinstance(item, Choices))))

    def draw(self, many: int, seed: int) -> tuple[tuple[Value, ...], ...]:
        """Return up to ``many`` different cells drawn with a seed; all of them where there are no more."""
        if self.cells <= many:
            return self.grid()
        draws = np.random.default_rng(seed)
        found: dict[str, tuple[Value, ...]] = {}
        for _ in range(20 * many):  # ranges of few digits repeat themselves
            if len(found) == many:
                break
            cell = tuple(self._drawn(item, draws) for item in self.dimensions)
            found.setdefault(json.dumps(cell), cell)
        return tuple(found.values())

    @staticmethod
    def _drawn(item: Dimension, draws: np.random.Generator) -> Value:
        if isinstance(item, Choices):
            return item.values[int(draws.integers(len(item.values)))]
        return item.value_at(float(draws.random()))


def policy_table(base: Table, keys: Sequence[str], cell: Sequence[Value]) -> dict[str, Any]:
    """Return the table of a policy with the values of a cell; a table is laid over, all else replaced."""
    found = dict(base)
    for key, value in zip(keys, cell, strict=True):
        nested = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        found = merged((found, nested))
    return found


def known_keys(base: Table) -> dict[str, Reader | None]:
    """Return every dotted key of a policy and its reader; None for a table, and for names of its own.

    ``base`` adds the names that a policy may choose itself, such as the classes of ``insurance.shares``.
    """
    found: dict[str, Reader | None] = dict.fromkeys(_paths(base, ""))
    found.update(_readers(SectionReader(Policy), ""))
    return found


def reader_of(key: str, known: Mapping[str, Reader | None]) -> Reader | None:
    """Return the reader of a sweep key. Raises ConfigError for one that is no policy key."""
    if key in known:
        return known[key]
    near = suggestion(key, known)
    if not near:  # a key is often known by its last name alone
        last = key.rpartition(".")[2]
        same = [name for name in known if name.rpartition(".")[2] == last]
        near = f"; did you mean {' or '.join(map(repr, same[:3]))}?" if same else ""
    raise ConfigError(
        f"sweep key {key!r} is no policy key{near or '; alvh policy show classic prints every one'}"
    )


def written(number: float, unit: str) -> Value:
    """Return a number as a policy file writes it: plain, or as text with its unit and no exponent."""
    if not unit:
        return number
    text = f"{number:.12f}".rstrip("0").rstrip(".")
    return f"{text} {unit}"


def spoken(value: Value) -> str:
    """Return a value in a table of cells: what a policy file would say, without quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(spoken, value))}]"
    if isinstance(value, Mapping):
        return " ".join(f"{name} {spoken(item)}" for name, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _said(item: Range) -> str:
    return f"{written(item.low, item.unit)} to {written(item.high, item.unit)}"


def _paths(table: Table, prefix: str) -> Iterator[str]:
    for key, value in table.items():
        path = f"{prefix}{key}"
        yield path
        if isinstance(value, Mapping):
            yield from _paths(value, f"{path}.")


def _readers(reader: SectionReader | PlainReader, prefix: str) -> Iterator[tuple[str, Reader | None]]:
    for key, below in reader.keys().items():
        path = f"{prefix}{key}"
        if isinstance(below, SectionReader | PlainReader):
            yield path, None
            yield from _readers(below, f"{path}.")
        else:
            yield path, below
