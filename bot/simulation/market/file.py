"""Reads a file of assumptions: every table and key is needed, none is unknown, every number is a number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from bot.errors import ConfigError
from bot.model.parsing import toml_of

Tables = Mapping[str, Mapping[str, object]]


def read_tables(path: Path | None, *, packaged: str) -> Mapping[str, object]:
    """Return the tables of a TOML file, or of the packaged one. Raises ConfigError."""
    name = str(path) if path else packaged
    try:
        text = (
            path.read_text(encoding="utf-8")
            if path
            else resources.files("bot.simulation.market").joinpath(packaged).read_text(encoding="utf-8")
        )
        return toml_of(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"market file {name} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Values:
    """Typed look-ups in the tables of a file."""

    tables: Tables
    name: str

    def number(self, table: str, key: str, *, above: float = -math.inf) -> float:
        value = self.tables[table][key]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and above < float(value) < math.inf:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
        limit = f" over {above:g}" if above > -math.inf else ""
        raise ConfigError(f"market file {self.name}: {table}.{key} must be a number{limit}, was {value!r}")

    def share(self, table: str, key: str) -> float:
        """Return a number from 0 to below 1."""
        value = self.number(table, key)
        if not 0.0 <= value < 1.0:
            raise ConfigError(
                f"market file {self.name}: {table}.{key} must be a fraction from 0 to below 1, was {value:g}"
            )
        return value

    def flag(self, table: str, key: str) -> bool:
        value = self.tables[table][key]
        if not isinstance(value, bool):
            raise ConfigError(f"market file {self.name}: {table}.{key} must be true or false, was {value!r}")
        return value


def checked(
    tables: Mapping[str, object],
    *,
    needed: Mapping[str, set[str]],
    optional: Mapping[str, set[str]],
    name: str,
) -> Tables:
    """Refuse unknown and lacking tables and keys. Raises ConfigError."""
    found: dict[str, Mapping[str, object]] = {}
    wanted = {**needed, **{table: keys for table, keys in optional.items() if table in tables}}
    for table, keys in wanted.items():
        part = tables.get(table)
        if not isinstance(part, dict):
            raise ConfigError(f"market file {name} lacks the table [{table}]")
        _same_keys(set(part), keys, where=f"market file {name}, table [{table}]")
        found[table] = part
    _same_keys(set(tables) - set(optional), set(needed), where=f"market file {name}")
    return found


def _same_keys(found: set[str], allowed: set[str], *, where: str) -> None:
    for wrong, word in ((found - allowed, "unknown"), (allowed - found, "missing")):
        if wrong:
            raise ConfigError(
                f"{where}: {word} key {', '.join(sorted(wrong))}; needed are {', '.join(sorted(allowed))}"
            )
