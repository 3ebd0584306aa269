"""Policy files as a user works with them: check, show, diff, schema."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.app import policy_text
from bot.app.stressed_market import EXPOSURES, default_vol, stressed_frame
from bot.engine.affordability import Affordability, affordability
from bot.engine.policy import Policy, parse_policy
from bot.engine.policy_file import all_problems
from bot.engine.policy_readers import quantity
from bot.engine.policy_schema import policy_schema
from bot.errors import ConfigError
from bot.settings import PRESETS, PolicySettings, PolicySource, read_source
from bot.simulation.market.model import load_market

LEAST_VOL, MOST_VOL = 0.05, 10.0  # a year; beyond them an input is a slip of the unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureCheck:
    """What a session can buy for one standard exposure, tier by tier."""

    exposure: str
    tiers: tuple[Affordability, ...]

    @property
    def warnings(self) -> tuple[Affordability, ...]:
        """Return the tiers whose share cannot be bought in one session."""
        return tuple(item for item in self.tiers if not item.in_one_session)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCheck:
    source: PolicySource
    policy: Policy
    vol: float  # implied, fraction a year, that it was priced at
    vol_source: str
    exposures: tuple[ExposureCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key that two policies state differently, in the units of the files; empty: not stated."""

    key: str
    first: str
    second: str
    note: str


def problems(source: PolicySource) -> tuple[str, ...]:
    """Return everything that is wrong with a policy, one line each; none when it may be used."""
    try:
        return all_problems(source.table)
    except ConfigError as error:
        return (str(error),)


async def check(source: PolicySource, *, vol: float | None, market_file: Path | None) -> PolicyCheck:
    """Price each tier of a policy at a stressed vol. Raises ConfigError for the first thing wrong with it."""
    policy, market = parse_policy(source.table), load_market(market_file)
    if vol is not None and not LEAST_VOL <= vol <= MOST_VOL:
        raise ConfigError(f"--vol must be from {LEAST_VOL:.0%} to {MOST_VOL:.0%} a year, was {vol:.0%}")
    priced_at = default_vol(market) if vol is None else vol
    found = []
    for exposure in EXPOSURES:
        frame = await stressed_frame(policy, market, exposure=exposure, vol=priced_at)
        (position,) = frame.exposures
        tiers = affordability(policy, frame, group=position.group)
        found.append(ExposureCheck(exposure=exposure, tiers=tiers))
    named = market_file or "the packaged market model"
    return PolicyCheck(
        source=source,
        policy=policy,
        vol=priced_at,
        vol_source="--vol" if vol is not None else f"skew.stress_to_points of {named}: its 98 % quantile",
        exposures=tuple(found),
    )


def show(name: str) -> str:
    """Return a policy with every number in it, each with unit, bounds and source. Raises ConfigError."""
    source = read_source(name)
    parse_policy(source.table)
    return policy_text.with_bounds(policy_text.joined_text(source.texts, source.table), source.table)


def diff(first: str, second: str) -> tuple[Difference, ...]:
    """Return the keys in which two policies differ, in the order of the file. Raises ConfigError."""
    sources = [read_source(name) for name in (first, second)]
    for source in sources:
        parse_policy(source.table)
    one, two = (dict(_flat(source.table, "")) for source in sources)
    notes = policy_text.notes_of((*sources[0].texts, *sources[1].texts))
    return tuple(
        Difference(
            key=key, first=_spoken(one.get(key)), second=_spoken(two.get(key)), note=notes.get(key, "")
        )
        for key in dict.fromkeys((*one, *two))
        if _plain(one.get(key)) != _plain(two.get(key))
    )


def keys_of(source: PolicySource) -> dict[str, str]:
    """Return every key of a policy with its value as the file writes it, in the order of the file."""
    return {key: _spoken(value) for key, value in _flat(source.table, "")}


def keys_decided_by(settings: PolicySettings, policy_hash: str) -> dict[str, str]:
    """Return the keys of the configured policy where it has that hash; none where another one decided."""
    source = read_source(settings.preset if settings.file is None else settings.file)
    return keys_of(source) if parse_policy(source.table).hash == policy_hash else {}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy file."""
    return policy_schema(PRESETS, policy_text.notes_of(read_source("classic").texts))


def _flat(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        place = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and value:
            yield from _flat(value, place)
        else:
            yield place, value


def _plain(value: object) -> object:
    """Return a value so that "6 h" equals "360 min" and 2 equals 2.0."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    found = quantity(value)
    return found if found is not None else value


def _spoken(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return f"[{', '.join(map(_spoken, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
