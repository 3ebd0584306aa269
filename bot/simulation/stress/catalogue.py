"""The scenarios there are: each a file, read over ``standing.toml``, which says what stands by itself."""

import difflib
import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from bot.errors import ConfigError, NotFoundError
from bot.model.parsing import toml_of
from bot.simulation.stress.description import (
    Fall,
    Fault,
    FaultKind,
    Figure,
    Kind,
    Past,
    PathSpec,
    Print,
    Reverting,
    Scenario,
    Systems,
    Trouble,
    VenueTrouble,
    VolSurface,
    Walk,
)
from bot.simulation.stress.figures import MEASURES
from bot.simulation.stress.noise import STEADINESS, Steadiness
from bot.simulation.stress.paths import BTC, PRICE
from bot.simulation.stress.reading import Table, is_number

ALL = "all"
_FOLDER, _STANDING, _END = "scenarios", "standing.toml", ".toml"
_ORDER = (  # as reports list them: crises, protocols, what cannot work, false alarms
    "black-thursday-2020",
    "may-2021",
    "terra-2022",
    "flash-crash",
    "stablecoin-depeg",
    "bridge-drain",
    "lending-cascade",
    "protocol-exploit",
    "gas-x10",
    "venue-halt",
    "rpc-outage",
    "vol-crush",
    "slow-bleed",
    "rally",
    "calm",
)
_MOST_HOURS = 2_400
_NEAR_ENOUGH = 0.4
_SCENARIO_KEYS = (
    "name", "alias", "title", "kind", "sources", "notes", "start", "hours", "step_minutes", "stream",
    "measured", "btc_beta", "history", "vol", "systems", "dependencies", "paths", "figures", "faults",
    "troubles", "prints",
)  # fmt: skip
_PATH_KEYS = (
    "unit", "source", "knots", "digits", "log", "steps", "noise", "reverting", "walk", "fall", "lag",
    "bounds", "pins", "wicks",
)  # fmt: skip


def names() -> tuple[str, ...]:
    """Return the packaged scenarios in the order that reports list them."""
    return _ORDER


def scenario_named(name: str) -> Scenario:
    """Return a packaged scenario by its name or alias, or the one of a file at a path.

    Raises NotFoundError that offers the nearest names, ConfigError for a file that cannot be used.
    """
    if name.endswith(_END):
        return read_scenario(Path(name))
    for each in _ORDER:
        if name == each or name == _packaged(each).alias:
            return _packaged(each)
    raise unknown(name, (*_ORDER, *(item.alias for item in map(_packaged, _ORDER) if item.alias)))


def unknown(name: str, known: tuple[str, ...]) -> NotFoundError:
    """Return the refusal of a name, with the nearest ones first."""
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=_NEAR_ENOUGH)
    offered = f"did you mean {' or '.join(near)}? " if near else ""
    return NotFoundError(f"scenario {name!r} does not exist; {offered}there are: {', '.join(known)}")


@cache
def _packaged(name: str) -> Scenario:
    folder = resources.files("bot.simulation.stress") / _FOLDER
    text = (folder / f"{name}{_END}").read_text(encoding="utf-8")
    return parse_scenario(toml_of(text), where=f"{name}{_END}")


def read_scenario(path: Path) -> Scenario:
    """Return the scenario of a file. Raises ConfigError."""
    try:
        tables = toml_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"scenario file {path} cannot be read: {error}") from error
    return parse_scenario(tables, where=str(path))


@cache
def _standing() -> Mapping[str, Any]:
    folder = resources.files("bot.simulation.stress") / _FOLDER
    return toml_of((folder / _STANDING).read_text(encoding="utf-8"))


def parse_scenario(tables: Mapping[str, Any], *, where: str) -> Scenario:
    """Return the scenario that the tables of a file describe, over what stands. Raises ConfigError."""
    file = Table(tables, f"scenario file {where}").only(_SCENARIO_KEYS)
    hours = file.whole("hours", low=25, high=_MOST_HOURS)
    step_minutes = file.whole("step_minutes", 60, low=1, high=60)
    if 60 % step_minutes:
        raise file.refuse("step_minutes", "a part of an hour: 60, 30, 20, 15, 12, 10, 6, 5, 4, 3, 2 or 1")
    paths = _paths(file, hours, step_minutes)
    if PRICE not in paths:
        raise ConfigError(f"{file.where}: [paths.{PRICE}] is missing; a scenario needs the price of ETH")
    standing = _standing_paths(file, hours, step_minutes, there=set(paths))
    _refuse_unknown(file, paths)
    _refuse_early(file, paths)
    return Scenario(
        name=file.text("name"),
        alias=file.text("alias", ""),
        title=file.text("title"),
        kind=file.choice("kind", Kind),
        sources=file.texts("sources"),
        notes=file.texts("notes"),
        start_s=file.time_s("start"),
        hours=hours,
        step_s=60 * step_minutes,
        stream=file.whole("stream", low=1, high=255),
        history=_past(_over_standing(file, "history")),
        measured=_path_name(file, file.text("measured", PRICE), {*paths, *(item.name for item in standing)}),
        vol=_vol(_over_standing(file, "vol")),
        paths=tuple(paths.values()),
        standing=standing,
        figures=tuple(
            _figure(each, {*paths, *(item.name for item in standing)}) for each in file.tables("figures")
        ),
        faults=tuple(_fault(each, hours) for each in file.tables("faults")),
        troubles=tuple(_trouble(each, hours) for each in file.tables("troubles")),
        prints=tuple(_print(each) for each in file.tables("prints")),
        systems=_systems(file.table("systems")),
        dependencies=_dependencies(file.table("dependencies")),
    )


def _paths(file: Table, hours: int, step_minutes: int) -> dict[str, PathSpec]:
    """Return the paths that the file states, each over what stands: a path keeps unit and digits."""
    found = {}
    stated = file.table("paths") or Table({}, file.where)
    for name in stated.values:
        table = stated.table(name)
        assert table is not None  # noqa: S101 - it is iterated over
        base = _standing()["paths"].get(name, {})
        kept = {key: base[key] for key in ("unit", "digits", "log", "steps", "bounds") if key in base}
        found[name] = _path(name, Table({**kept, **table.values}, table.where), hours, step_minutes)
    return found


def _standing_paths(file: Table, hours: int, step_minutes: int, *, there: set[str]) -> tuple[PathSpec, ...]:
    beta = file.number("btc_beta", _standing()["btc_beta"], low=-5.0, high=5.0)
    found = []
    for name, values in _standing()["paths"].items():
        if name not in there and "knots" in values:
            lag = {"lag": beta} if name == BTC else {}
            found.append(
                _path(name, Table({**values, **lag}, f"{_STANDING}, [paths.{name}]"), hours, step_minutes)
            )
    return tuple(found)


def _refuse_unknown(file: Table, paths: Mapping[str, PathSpec]) -> None:
    known = tuple(_standing()["paths"])
    for name in paths:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR_ENOUGH)
            offered = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{file.where}: no path {name}; {offered}there are {', '.join(known)}")


def _refuse_early(file: Table, paths: Mapping[str, PathSpec]) -> None:
    """Refuse a path that leans on the price and stands before it, or is it."""
    names = list(paths)
    for name in names[: names.index(PRICE) + 1]:
        if paths[name].lag:
            raise ConfigError(
                f"{file.where}, [paths.{name}]: lag is of [paths.{PRICE}], which must stand before it"
            )


def _path(name: str, table: Table, hours: int, step_minutes: int) -> PathSpec:
    table.only(_PATH_KEYS)
    knots = table.knots("knots", hours=hours)
    is_log = table.flag("log")
    if is_log and min(knots.values()) <= 0.0:
        raise table.refuse("knots", "over 0 for a path that is straight in its logarithm")
    return PathSpec(
        name=name,
        unit=table.text("unit"),
        source=table.text("source"),
        knots=knots,
        digits=table.whole("digits", 6, low=0, high=15),
        is_log=is_log,
        is_step=table.flag("steps"),
        noise=table.hourly("noise", hours=hours) or None,
        reverting=_reverting(table.table("reverting")),
        walk=_walk(table.table("walk")),
        fall=_fall(table.table("fall"), hours),
        lag=table.number("lag", 0.0, low=-5.0, high=5.0),
        bounds=table.pair("bounds", (-math.inf, math.inf)),
        pins=table.hourly("pins", hours=hours),
        wicks=_wicks(table, hours, step_minutes),
    )


def _wicks(table: Table, hours: int, step_minutes: int) -> dict[float, float]:
    allowed = f"pairs [hour, value] at steps of {step_minutes} minutes"
    pairs = table.values.get("wicks", [])
    if not isinstance(pairs, list):
        raise table.refuse("wicks", allowed)
    for item in pairs:
        if not (isinstance(item, list) and len(item) == 2 and all(map(is_number, item))):
            raise table.refuse("wicks", allowed)
        steps = item[0] * 60 / step_minutes
        if not 0 <= item[0] <= hours or steps != round(steps):
            raise table.refuse("wicks", allowed)
    return {float(hour): float(value) for hour, value in pairs}


def _reverting(table: Table | None) -> Reverting | None:
    if table is None:
        return None
    table.only(("sigma", "bound"))
    return Reverting(
        sigma=table.number("sigma", low=0.0, high=1e9), bound=table.number("bound", 2.0, low=0.1, high=10.0)
    )


def _walk(table: Table | None) -> Walk | None:
    if table is None:
        return None
    table.only(("vol", "max_excursion", "max_day", "steadiness"))
    return Walk(
        vol=table.number("vol", low=0.0, high=10.0),
        max_excursion=table.number("max_excursion", low=1e-6, high=5.0),
        max_day=table.number("max_day", low=1e-6, high=5.0),
        steadiness=_steadiness(table),
    )


def _steadiness(table: Table) -> Steadiness:
    name = table.text("steadiness")
    if name not in STEADINESS:
        raise table.refuse("steadiness", f"one of {', '.join(STEADINESS)}")
    return STEADINESS[name]


def _fall(table: Table | None, hours: int) -> Fall | None:
    if table is None:
        return None
    softened = ("softened_hour", "softened_day", "least_hour", "least_day")
    table.only(("worst_hour_at", "worst_day_at", "inside", *softened))
    shares = {name: table.number(name, low=0.0, high=1.0) for name in softened}
    return Fall(
        worst_hour_at=table.whole("worst_hour_at", low=1, high=hours),
        worst_day_at=table.whole("worst_day_at", low=24, high=hours),
        inside=table.pair("inside", (1.004, 0.999)),
        **shares,
    )


def _over_standing(file: Table, key: str) -> Table:
    """Return a table of the file over the one that stands."""
    own = file.table(key)
    return Table({**_standing()[key], **(own.values if own else {})}, f"{file.where}, [{key}]")


def _past(table: Table) -> Past:
    table.only(("vol", "steadiness", "iv_swing", "funding_sigma"))
    return Past(
        vol=table.number("vol", low=0.05, high=5.0),
        steadiness=_steadiness(table),
        iv_swing=table.number("iv_swing", low=0.0, high=1.0),
        funding_sigma=table.number("funding_sigma", low=0.0, high=5.0),
    )


def _vol(table: Table) -> VolSurface:
    table.only(("eth_over_btc_points", "from_points", "to_points", "front", "back", "source"))
    return VolSurface(
        eth_over_btc=table.number("eth_over_btc_points", low=-100.0, high=200.0),
        from_points=table.number("from_points", low=0.0, high=500.0),
        to_points=table.number("to_points", low=0.0, high=1_000.0),
        front=table.pair("front"),
        back=table.pair("back"),
    )


def _figure(table: Table, paths: set[str]) -> Figure:
    table.only(("name", "path", "value", "tolerance", "unit", "source"))
    name = table.text("name")
    if name not in MEASURES:
        raise table.refuse("name", f"one of {', '.join(MEASURES)}")
    return Figure(
        name=name,
        path=_path_name(table, table.text("path", PRICE), paths),
        value=table.number("value"),
        tolerance=table.number("tolerance", low=0.0),
        unit=table.text("unit"),
        source=table.text("source"),
    )


def _path_name(table: Table, name: str, paths: set[str]) -> str:
    if name not in paths:
        raise ConfigError(f"{table.where}: no path {name!r}; there are {', '.join(sorted(paths))}")
    return name


def _fault(table: Table, hours: int) -> Fault:
    table.only(("kind", "from", "to", "sources", "because"))
    from_h, to_h = _span(table, hours)
    return Fault(
        kind=table.choice("kind", FaultKind),
        from_h=from_h,
        to_h=to_h,
        sources=table.texts("sources"),
        because=table.text("because"),
    )


def _trouble(table: Table, hours: int) -> Trouble:
    table.only(("kind", "from", "to", "times", "because"))
    from_h, to_h = _span(table, hours)
    return Trouble(
        kind=table.choice("kind", VenueTrouble),
        from_h=from_h,
        to_h=to_h,
        times=table.number("times", 1.0, low=1.0, high=100.0),
        because=table.text("because"),
    )


def _span(table: Table, hours: int) -> tuple[float, float]:
    from_h, to_h = table.number("from", low=0.0, high=hours), table.number("to", low=0.0, high=hours + 1)
    if not from_h < to_h:
        raise table.refuse("to", f"later than its from, {from_h:g}")
    return from_h, to_h


def _print(table: Table) -> Print:
    table.only(("event", "at", "value", "next", "source"))
    return Print(
        event=table.text("event"),
        at_s=table.time_s("at"),
        value=table.number("value", low=-1.0, high=10.0),
        next_s=table.time_s("next"),
    )


def _systems(table: Table | None) -> Systems:
    if table is None:
        return Systems()
    table.only(("bridge", "loan_health", "loan_share"))
    return Systems(
        bridge=table.text("bridge", ""),
        loan=table.number("loan_health", math.nan, low=1.0, high=100.0),
        loan_share=table.number("loan_share", 0.1, low=0.0, high=10.0),
    )


def _dependencies(table: Table | None) -> dict[str, tuple[str, ...]]:
    return {name: table.texts(name) for name in table.values} if table else {}
