"""How one policy key is read: its unit, its bounds, and the one line that refuses it.

Durations are written with their unit ("6 h", "2 d"), shares of money and moves of price as percentages
("25 %"), scores, deltas and counts as plain numbers. A key has exactly one form, so 0.25 and 25 can never
be taken for each other.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeAlias, TypeVar, get_type_hints

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, MINUTE_S

Reader: TypeAlias = Callable[[object, str], Any]
SectionT = TypeVar("SectionT")

_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(s|min|h|d|%)")
_SECONDS = {"s": 1, "min": MINUTE_S, "h": HOUR_S, "d": DAY_S}
UNBOUNDED = "unbounded"


def refuse(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"policy key {name} must be {allowed}, was {value!r}")


def number(low: float, high: float) -> Reader:
    """Return a reader of a plain number in [low, high]."""
    allowed = f"a number from {low:g} to {high:g}"

    def read(value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise refuse(name, value, allowed)
        return float(value)

    return read


def whole(low: int, high: int) -> Reader:
    """Return a reader of a whole number in [low, high]."""

    def read(value: object, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refuse(name, value, f"a whole number from {low} to {high}")
        return value

    return read


def percent(low: float, high: float) -> Reader:
    """Return a reader of "25 %" as the fraction 0.25, bounds in percent."""
    allowed = f'a percentage such as "25 %" from {low:g} % to {high:g} %'

    def read(value: object, name: str) -> float:
        match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or match[2] != "%" or not low <= float(match[1]) <= high:
            raise refuse(name, value, allowed)
        return float(match[1]) / 100.0

    return read


def duration(low_s: float, high_s: float, *, unbounded: bool = False) -> Reader:
    """Return a reader of "6 h" as seconds; with ``unbounded`` that word reads as infinity."""
    allowed = f'a duration such as "6 h" (s, min, h, d) from {_spoken(low_s)} to {_spoken(high_s)}'
    allowed += f' or "{UNBOUNDED}"' if unbounded else ""

    def read(value: object, name: str) -> float:
        if unbounded and value == UNBOUNDED:
            return math.inf
        match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or match[2] == "%":
            raise refuse(name, value, allowed)
        seconds = float(match[1]) * _SECONDS[match[2]]
        if not low_s <= seconds <= high_s:
            raise refuse(name, value, allowed)
        return seconds

    return read


def choice(*words: str) -> Reader:
    """Return a reader that takes one of ``words``."""
    allowed = f"one of {', '.join(map(repr, words))}"

    def read(value: object, name: str) -> str:
        if not isinstance(value, str) or value not in words:
            raise refuse(name, value, allowed)
        return value

    return read


def only(word: str, *, reason: str) -> Reader:
    """Return a reader of a key that can take one value in this release, with the reason."""

    def read(value: object, name: str) -> str:
        if value != word:
            raise refuse(name, value, f"{word!r} ({reason})")
        return word

    return read


def flag() -> Reader:
    """Return a reader of true or false."""

    def read(value: object, name: str) -> bool:
        if not isinstance(value, bool):
            raise refuse(name, value, "true or false")
        return value

    return read


def text() -> Reader:
    def read(value: object, name: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise refuse(name, value, "a word")
        return value.strip()

    return read


def interval(reader: Reader) -> Reader:
    """Return a reader of ``[low, high]`` with low < high, both read by ``reader``."""

    def read(value: object, name: str) -> tuple[Any, Any]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise refuse(name, value, "a pair [low, high]")
        low, high = reader(value[0], f"{name}[0]"), reader(value[1], f"{name}[1]")
        if not low < high:
            raise refuse(name, value, "a pair [low, high] with low < high")
        return low, high

    return read


def section(cls: type[SectionT]) -> Reader:
    """Return a reader of a nested table as ``cls``."""

    def read(value: object, name: str) -> SectionT:
        return read_section(cls, value, name)

    return read


def read_section(cls: type[SectionT], table: object, name: str) -> SectionT:
    """Return ``cls`` from a table: unknown and missing keys are refused by name, each value by its reader.

    A field is a key of the file when its type is ``Annotated[type, reader]``.
    """
    if not isinstance(table, Mapping):
        raise refuse(name, table, "a table")
    readers = _readers(cls)
    prefix = f"{name}." if name else ""
    for given in table:
        if given not in readers:
            known = ", ".join(readers)
            raise ConfigError(f"policy key {prefix}{given} is unknown; allowed here: {known}")
    for each in readers:
        if each not in table:
            raise ConfigError(f"policy key {prefix}{each} is missing; every number of a rule must be stated")
    return cls(**{each: reader(table[each], f"{prefix}{each}") for each, reader in readers.items()})


def _readers(cls: type[Any]) -> dict[str, Reader]:
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def plain(cls: type[SectionT]) -> Reader:
    """Return a reader of a plain dataclass that bounds its own numbers, such as the signals' anchors.

    A field ``*_s`` is written without that ending, as a duration; a nested dataclass is a nested table; all
    else is a number or a list of words. A field that is not given keeps the dataclass's default.
    """

    def read(value: object, name: str) -> SectionT:
        if not isinstance(value, Mapping):
            raise refuse(name, value, "a table")
        items = {item.name.removesuffix("_s"): item for item in fields(cls)}  # type: ignore[arg-type]
        given = {}
        for each, raw in value.items():
            if each not in items:
                raise ConfigError(
                    f"policy key {name}.{each} is unknown; allowed here: {', '.join(sorted(items))}"
                )
            given[items[each].name] = _plain_value(items[each], raw, f"{name}.{each}")
        return cls(**given)

    return read


def _plain_value(item: Field[Any], raw: object, name: str) -> Any:
    default = item.default if item.default is not MISSING else None
    if default is None and item.default_factory is not MISSING:
        default = item.default_factory()
    if is_dataclass(item.type) and isinstance(item.type, type):
        return plain(item.type)(raw, name)
    if isinstance(default, tuple):
        if not isinstance(raw, list) or not all(isinstance(word, str) and word for word in raw):
            raise refuse(name, raw, "a list of words")
        return tuple(raw)
    if item.name.endswith("_s"):
        seconds = duration(0, 10_000 * DAY_S)(raw, name)
        return int(seconds) if isinstance(default, int) else seconds
    if isinstance(default, int):
        return whole(-1_000_000, 1_000_000)(raw, name)
    return number(-1e9, 1e9)(raw, name)


def _spoken(seconds: float) -> str:
    for unit, size in (("d", DAY_S), ("h", HOUR_S), ("min", MINUTE_S)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
