"""Policy files and presets: found, read as TOML, and joined with the preset that they extend."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bot.engine.policy import Policy, parse_policy
from bot.engine.policy_file import EXTENDS, lineage, merged
from bot.engine.policy_readers import suggestion
from bot.errors import ConfigError
from bot.model.parsing import toml_of

PRESETS = ("classic", "steward", "fortress", "promoter")
SIMULATION_ONLY = frozenset({"promoter"})  # method.md, vocabulary
BOT_PRESETS = tuple(name for name in PRESETS if name not in SIMULATION_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySource:
    """A policy as it is written: every text it is made of, and the one table that they state."""

    name: str  # preset or path, as it was asked for
    path: Path | None  # None: a preset
    texts: tuple[str, ...]  # the preset that states everything first, the file itself last
    tables: tuple[Mapping[str, Any], ...]  # of the texts

    @property
    def table(self) -> dict[str, Any]:
        """Return every key with its value, none inherited any more."""
        return merged(self.tables)

    @property
    def extends(self) -> tuple[str, ...]:
        """Return the presets that it rests on, the nearest first."""
        return tuple(str(table[EXTENDS]) for table in reversed(self.tables) if EXTENDS in table)

    @property
    def simulation_only(self) -> str:
        """Return the preset for whose sake no bot may run it; empty when one may."""
        names = (self.name, *self.extends) if self.path is None else self.extends
        return next((name for name in names if name in SIMULATION_ONLY), "")


def read_source(name: str | Path) -> PolicySource:
    """Return a preset by its name, or the file at a path.

    Raises ConfigError: no such preset or file, no TOML, or a preset to extend that is none.
    """
    is_preset = isinstance(name, str) and name in PRESETS
    texts = [_preset(str(name)) if is_preset else _file(name)]

    def read(preset: str) -> Mapping[str, Any]:
        texts.append(_preset(preset))
        return _parsed(texts[-1], preset)

    tables = lineage(_parsed(texts[0], str(name)), PRESETS, read)
    return PolicySource(
        name=str(name),
        path=None if is_preset else Path(name),
        texts=tuple(reversed(texts)),
        tables=tables,
    )


def named_policy(name: str | Path) -> Policy:
    """Return the policy of a preset or file. Raises ConfigError."""
    return parse_policy(read_source(name).table)


def bot_policy(name: str | Path) -> Policy:
    """Return a policy that a bot may run. Raises ConfigError for one that is for simulation only."""
    source = read_source(name)
    if source.simulation_only:
        raise ConfigError(
            f"policy {source.name} rests on {source.simulation_only}, which is for simulation only; "
            "use it with alvh backtest, or name another policy"
        )
    return parse_policy(source.table)


def policy_of_text(text: str, name: str) -> Policy:
    """Return the policy of a file that is not written yet. Raises ConfigError."""
    return parse_policy(merged(lineage(_parsed(text, name), PRESETS, lambda it: _parsed(_preset(it), it))))


def _preset(name: str) -> str:
    return (resources.files("bot") / "policies" / f"{name}.toml").read_text("utf-8")


def _file(name: str | Path) -> str:
    try:
        return Path(name).read_text("utf-8-sig")
    except OSError as error:
        near = suggestion(str(name), PRESETS)
        raise ConfigError(
            f"policy file {name} cannot be read: {error.strerror}; presets are {', '.join(PRESETS)}{near}"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"policy file {name} is not valid TOML: {error}") from None


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return toml_of(text)
    except ValueError as error:
        raise ConfigError(f"policy file {name} is not valid TOML: {error}") from None
