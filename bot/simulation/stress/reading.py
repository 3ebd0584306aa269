"""Reads scenario files: typed look-ups that name what is wrong and what is allowed."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from bot.errors import ConfigError
from bot.model.units import parse_utc_s
from bot.simulation.stress.noise import Knots

Chosen = TypeVar("Chosen", bound=StrEnum)
_NOTHING: Any = object()


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a scenario file. Every look-up raises ConfigError, one line, naming the key."""

    values: Mapping[str, Any]
    where: str  # "scenario file x.toml, [paths.dvol]"

    def only(self, allowed: Collection[str]) -> "Table":
        """Refuse a key that is none of these."""
        unknown = sorted(self.values.keys() - set(allowed))
        if unknown:
            raise ConfigError(
                f"{self.where}: unknown key {', '.join(unknown)}; allowed are {', '.join(sorted(allowed))}"
            )
        return self

    def refuse(self, key: str, allowed: str) -> ConfigError:
        return ConfigError(f"{self.where}: {key} must be {allowed}, was {self.values.get(key)!r}")

    def text(self, key: str, default: str = _NOTHING) -> str:
        value = self._found(key, default, "a text")
        if not isinstance(value, str):
            raise self.refuse(key, "a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refuse(key, "a list of texts")
        return tuple(value)

    def number(
        self, key: str, default: float = _NOTHING, *, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """Return a finite number from ``low`` to ``high``."""
        allowed = "a number" + (f" from {low:g} to {high:g}" if low > -math.inf or high < math.inf else "")
        value = self._found(key, default, allowed)
        if key not in self.values:
            return float(value)
        if not is_number(value) or not low <= value <= high:
            raise self.refuse(key, allowed)
        return float(value)

    def whole(self, key: str, default: int = _NOTHING, *, low: int, high: int) -> int:
        allowed = f"a whole number from {low} to {high}"
        value = self._found(key, default, allowed)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(key, allowed)
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def choice(self, key: str, kind: type[Chosen]) -> Chosen:
        try:
            return kind(str(self.values.get(key)))
        except ValueError:
            raise self.refuse(key, f"one of {', '.join(kind)}") from None

    def time_s(self, key: str) -> int:
        return parse_utc_s(self.text(key), field=f"{self.where}: {key}")

    def pair(self, key: str, default: tuple[float, float] = _NOTHING) -> tuple[float, float]:
        value = self._found(key, default, "a pair of numbers [low, high]")
        if key not in self.values:
            return default
        if not isinstance(value, Sequence) or len(value) != 2 or not all(map(is_number, value)):
            raise self.refuse(key, "a pair of numbers [low, high]")
        low, high = float(value[0]), float(value[1])
        return low, high

    def knots(self, key: str, *, hours: int) -> Knots:
        """Return hour -> value; the first hour must be 0, hours must be whole, ascend and be in range."""
        allowed = f"pairs [hour, value] from hour 0, hours whole, rising and at most {hours}"
        found = self.hourly(key, hours=hours, allowed=allowed)
        if next(iter(found), None) != 0:
            raise self.refuse(key, allowed)
        return found

    def hourly(self, key: str, *, hours: int, allowed: str = "") -> Knots:
        """Return hour -> value of a list of pairs, or of a number for hour 0; empty where it is not there."""
        allowed = allowed or f"pairs [hour, value], hours whole, rising and at most {hours}"
        value = self.values.get(key, [])
        pairs = [[0, value]] if is_number(value) else value
        if not isinstance(pairs, list) or not all(_is_pair(item) for item in pairs):
            raise self.refuse(key, allowed)
        found = {int(hour): float(each) for hour, each in pairs}
        places = [item[0] for item in pairs]
        if places != sorted(set(places)) or any(hour != int(hour) for hour in places):
            raise self.refuse(key, allowed)
        if places and not 0 <= places[0] <= places[-1] <= hours:
            raise self.refuse(key, allowed)
        return found

    def table(self, key: str) -> "Table | None":
        """Return a table inside, None where it is not there."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refuse(key, "a table")
        return Table(value, f"{self.where}, {key}")

    def tables(self, key: str) -> tuple["Table", ...]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.refuse(key, f"tables [[{key}]]")
        return tuple(Table(item, f"{self.where}, [[{key}]] {place}") for place, item in enumerate(value, 1))

    def _found(self, key: str, default: Any, allowed: str) -> Any:
        if key not in self.values and default is _NOTHING:
            raise ConfigError(f"{self.where}: {key} is missing; it must be {allowed}")
        return self.values.get(key, default)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(map(is_number, item))
