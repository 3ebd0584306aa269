"""Readers of one policy value: its unit, its bounds, and the one line that refuses it.

A reader is called with the value of a file and the key's name. It is a value itself and can say what it
allows without a file: ``allowed`` in a sentence, ``bounds`` in a comment.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, MINUTE_S

Reader: TypeAlias = Callable[[object, str], Any]

_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(s|min|h|d|%)")
_SECONDS = {"s": 1, "min": MINUTE_S, "h": HOUR_S, "d": DAY_S}
_NEAR_ENOUGH = 0.6  # difflib's own default cut-off
UNBOUNDED = "unbounded"


def refuse(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"policy key {name} must be {allowed}, was {value!r}")


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'vote'?" for the nearest known word, or nothing when none is near."""
    near = difflib.get_close_matches(given, list(known), n=1, cutoff=_NEAR_ENOUGH)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_key(name: str, given: object, known: Iterable[str]) -> ConfigError:
    """Return the refusal of a key that is none, with the nearest that is one."""
    there = list(known)
    full = f"{name}.{given}" if name else f"{given}"
    return ConfigError(
        f"policy key {full} is unknown; allowed here: {', '.join(there)}{suggestion(str(given), there)}"
    )


def missing_key(name: str) -> ConfigError:
    return ConfigError(
        f"policy key {name} is missing; every number of a rule must be stated, or inherited with "
        'extends = "classic"'
    )


def quantity(value: object) -> tuple[float, str] | None:
    """Return what a text such as "6 h" or "25 %" says, as (seconds, "s") or (fraction, "%"); else None."""
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    if match[2] == "%":
        return float(match[1]) / 100.0, "%"
    return float(match[1]) * _SECONDS[match[2]], "s"


def spoken_duration(seconds: float) -> str:
    """Return "6 h" for 21600, in the largest unit that divides it."""
    for unit, size in (("d", DAY_S), ("h", HOUR_S), ("min", MINUTE_S)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


@dataclass(frozen=True, slots=True)
class NumberReader:
    """A plain number in [low, high]; whole ones read as int."""

    low: float
    high: float
    is_whole: bool = False

    @property
    def allowed(self) -> str:
        return f"a {'whole ' if self.is_whole else ''}number from {self.low:.12g} to {self.high:.12g}"

    @property
    def bounds(self) -> str:
        return f"{self.low:.12g} .. {self.high:.12g}"

    def __call__(self, value: object, name: str) -> float:
        kinds: Any = int if self.is_whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            raise refuse(name, value, self.allowed)
        given: Any = value
        return given if self.is_whole else float(given)


@dataclass(frozen=True, slots=True)
class PercentReader:
    """ "25 %" as the fraction 0.25; bounds in percent."""

    low: float
    high: float

    @property
    def allowed(self) -> str:
        return f'a percentage such as "25 %" from {self.low:g} % to {self.high:g} %'

    @property
    def bounds(self) -> str:
        return f"{self.low:g} .. {self.high:g} %"

    def __call__(self, value: object, name: str) -> float:
        match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or match[2] != "%" or not self.low <= float(match[1]) <= self.high:
            raise refuse(name, value, self.allowed)
        return float(match[1]) / 100.0


@dataclass(frozen=True, slots=True)
class DurationReader:
    """ "6 h" as seconds; ``unbounded`` lets that word read as infinity."""

    low_s: float
    high_s: float
    unbounded: bool = False

    @property
    def allowed(self) -> str:
        text = 'a duration such as "6 h" (s, min, h, d) from '
        text += f"{spoken_duration(self.low_s)} to {spoken_duration(self.high_s)}"
        return text + (f' or "{UNBOUNDED}"' if self.unbounded else "")

    @property
    def bounds(self) -> str:
        text = f"{spoken_duration(self.low_s)} .. {spoken_duration(self.high_s)}"
        return text + (f" or {UNBOUNDED}" if self.unbounded else "")

    def __call__(self, value: object, name: str) -> float:
        if self.unbounded and value == UNBOUNDED:
            return math.inf
        found = quantity(value)
        if found is None or found[1] != "s" or not self.low_s <= found[0] <= self.high_s:
            raise refuse(name, value, self.allowed)
        return found[0]


@dataclass(frozen=True, slots=True)
class ChoiceReader:
    """One of ``words``; with a ``reason``, the only word that this release takes."""

    words: tuple[str, ...]
    reason: str = ""

    @property
    def allowed(self) -> str:
        if self.reason:
            return f"{self.words[0]!r} ({self.reason})"
        return f"one of {', '.join(map(repr, self.words))}"

    @property
    def bounds(self) -> str:
        return " | ".join(self.words)

    def __call__(self, value: object, name: str) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise refuse(name, value, self.allowed)
        return value


@dataclass(frozen=True, slots=True)
class FlagReader:
    """True or false."""

    allowed: str = "true or false"
    bounds: str = "true | false"

    def __call__(self, value: object, name: str) -> bool:
        if not isinstance(value, bool):
            raise refuse(name, value, self.allowed)
        return value


@dataclass(frozen=True, slots=True)
class TextReader:
    """A text that is not empty."""

    allowed: str = "a word"
    bounds: str = ""

    def __call__(self, value: object, name: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise refuse(name, value, self.allowed)
        return value.strip()


@dataclass(frozen=True, slots=True)
class WordsReader:
    """A list of words, which may be empty."""

    allowed: str = "a list of words"
    bounds: str = ""

    def __call__(self, value: object, name: str) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) and word for word in value):
            raise refuse(name, value, self.allowed)
        return tuple(value)


@dataclass(frozen=True, slots=True)
class OptionalReader:
    """What ``reader`` takes, or one word that stands for its absence and reads as None."""

    reader: Reader
    word: str

    @property
    def allowed(self) -> str:
        return f"{self.word!r} or {getattr(self.reader, 'allowed', 'a value')}"

    @property
    def bounds(self) -> str:
        return f"{self.word} or {getattr(self.reader, 'bounds', 'a value')}"

    def __call__(self, value: object, name: str) -> Any:
        if value == self.word:
            return None
        try:
            return self.reader(value, name)
        except ConfigError:
            raise refuse(name, value, self.allowed) from None


@dataclass(frozen=True, slots=True)
class IntervalReader:
    """``[low, high]`` with low < high, both read by ``reader``."""

    reader: Reader

    @property
    def allowed(self) -> str:
        return f"a pair [low, high], low < high, each {getattr(self.reader, 'allowed', 'a value')}"

    @property
    def bounds(self) -> str:
        return f"low < high, in {getattr(self.reader, 'bounds', 'its bounds')}"

    def __call__(self, value: object, name: str) -> tuple[Any, Any]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise refuse(name, value, "a pair [low, high]")
        low, high = self.reader(value[0], f"{name}[0]"), self.reader(value[1], f"{name}[1]")
        if not low < high:
            raise refuse(name, value, "a pair [low, high] with low < high")
        return low, high


@dataclass(frozen=True, slots=True)
class WholeSecondsReader:
    """A duration that its dataclass keeps as whole seconds."""

    reader: DurationReader

    @property
    def allowed(self) -> str:
        return self.reader.allowed

    @property
    def bounds(self) -> str:
        return self.reader.bounds

    def __call__(self, value: object, name: str) -> int:
        seconds = self.reader(value, name)
        if seconds != int(seconds):
            raise refuse(name, value, "whole seconds")
        return int(seconds)
