"""How a table of a policy file becomes a frozen value, one reader for each key.

Durations are written with their unit ("6 h", "2 d"), shares of money and moves of price as percentages
("25 %"), scores, deltas and counts as plain numbers. A key has exactly one form, so 0.25 and 25 can never
be taken for each other.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from bot.engine.policy_readers import (
    ChoiceReader,
    DurationReader,
    FlagReader,
    IntervalReader,
    NumberReader,
    OptionalReader,
    PercentReader,
    Reader,
    TextReader,
    WholeSecondsReader,
    WordsReader,
    missing_key,
    refuse,
    unknown_key,
)
from bot.model.units import DAY_S

__all__ = [
    "PlainReader",
    "Reader",
    "SectionReader",
    "choice",
    "duration",
    "flag",
    "interval",
    "number",
    "off_or",
    "only",
    "percent",
    "plain",
    "read_section",
    "readers_of",
    "refuse",
    "section",
    "text",
    "whole",
    "words",
]

SectionT = TypeVar("SectionT")


@dataclass(frozen=True, slots=True)
class SectionReader:
    """A nested table. Every field of ``cls`` that is ``Annotated`` with a reader is a key and needed."""

    cls: type[Any]

    def __call__(self, value: object, name: str) -> Any:
        return read_section(self.cls, value, name)

    def keys(self) -> Mapping[str, Reader]:
        return readers_of(self.cls)


@dataclass(frozen=True, slots=True)
class PlainReader:
    """A nested table as a plain dataclass that bounds its own numbers, such as the signals' anchors.

    A field ``*_s`` is written without that ending, as a duration; a nested dataclass is a nested table; all
    else is a number or a list of words. A field that is not given keeps the dataclass's default.
    """

    cls: type[Any]

    def __call__(self, value: object, name: str) -> Any:
        if not isinstance(value, Mapping):
            raise refuse(name, value, "a table")
        readers, names = self.keys(), {_key(item): item.name for item in fields(self.cls)}
        for each in value:
            if each not in readers:
                raise unknown_key(name, each, sorted(readers))
        return self.cls(**{names[each]: readers[each](raw, f"{name}.{each}") for each, raw in value.items()})

    def keys(self) -> Mapping[str, Reader]:
        return {_key(item): _plain_reader(item) for item in fields(self.cls)}


def number(low: float, high: float) -> Reader:
    """Return a reader of a plain number in [low, high]."""
    return NumberReader(low, high)


def whole(low: int, high: int) -> Reader:
    """Return a reader of a whole number in [low, high]."""
    return NumberReader(low, high, is_whole=True)


def percent(low: float, high: float) -> Reader:
    """Return a reader of "25 %" as the fraction 0.25, bounds in percent."""
    return PercentReader(low, high)


def duration(low_s: float, high_s: float, *, unbounded: bool = False) -> Reader:
    """Return a reader of "6 h" as seconds; with ``unbounded`` that word reads as infinity."""
    return DurationReader(low_s, high_s, unbounded)


def choice(*words: str) -> Reader:
    """Return a reader that takes one of ``words``."""
    return ChoiceReader(words)


def only(word: str, *, reason: str) -> Reader:
    """Return a reader of a key that can take one value in this release, with the reason."""
    return ChoiceReader((word,), reason)


def off_or(reader: Reader, *, word: str = "off") -> Reader:
    """Return a reader of what ``reader`` takes, or of ``word``, which reads as None."""
    return OptionalReader(reader, word)


def flag() -> Reader:
    """Return a reader of true or false."""
    return FlagReader()


def text() -> Reader:
    """Return a reader of a text that is not empty."""
    return TextReader()


def words() -> Reader:
    """Return a reader of a list of words as a tuple."""
    return WordsReader()


def interval(reader: Reader) -> Reader:
    """Return a reader of ``[low, high]`` with low < high, both read by ``reader``."""
    return IntervalReader(reader)


def section(cls: type[Any]) -> Reader:
    """Return a reader of a nested table as ``cls``."""
    return SectionReader(cls)


def plain(cls: type[Any]) -> Reader:
    """Return a reader of a plain dataclass that bounds its own numbers."""
    return PlainReader(cls)


def read_section(cls: type[SectionT], table: object, name: str) -> SectionT:
    """Return ``cls`` from a table: unknown and missing keys are refused by name, each value by its reader.

    A field is a key of the file when its type is ``Annotated[type, reader]``.
    """
    if not isinstance(table, Mapping):
        raise refuse(name, table, "a table")
    readers = readers_of(cls)
    prefix = f"{name}." if name else ""
    for given in table:
        if given not in readers:
            raise unknown_key(name, given, readers)
    for each in readers:
        if each not in table:
            raise missing_key(f"{prefix}{each}")
    return cls(**{each: reader(table[each], f"{prefix}{each}") for each, reader in readers.items()})


def readers_of(cls: type[Any]) -> dict[str, Reader]:
    """Return the reader of every key of a section class, in the order of its fields."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def _key(item: Field[Any]) -> str:
    return item.name.removesuffix("_s")


def _plain_reader(item: Field[Any]) -> Reader:
    default = item.default if item.default is not MISSING else None
    if default is None and item.default_factory is not MISSING:
        default = item.default_factory()
    if is_dataclass(item.type) and isinstance(item.type, type):
        return PlainReader(item.type)
    if isinstance(default, tuple):
        return WordsReader()
    if isinstance(default, str):
        return TextReader()
    if isinstance(default, bool):
        return FlagReader()
    if item.name.endswith("_s"):
        seconds = DurationReader(0, 10_000 * DAY_S)
        return WholeSecondsReader(seconds) if isinstance(default, int) else seconds
    if isinstance(default, int):
        return NumberReader(-1_000_000, 1_000_000, is_whole=True)
    return NumberReader(-1e9, 1e9)
