"""Reads what a sweep varies: a TOML file that looks like a policy, and ``--set key=a,b,c``.

In the file a list of values, or a range, stands in place of each value:

    [tiers]
    fast_vote = [0.65, 0.70, 0.75]
    cooldown = { from = "12 h", to = "72 h", step = "12 h" }

    [layers.TAIL]
    delta = [[0.05, 0.10], [0.05, 0.15]]

A range without ``step`` is drawn from by the random and the Bayesian search; ``log = true`` draws by ratio.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.engine.policy_readers import (
    DurationReader,
    NumberReader,
    OptionalReader,
    PercentReader,
    Reader,
    WholeSecondsReader,
    quantity,
)
from bot.errors import ConfigError
from bot.model.parsing import toml_of
from bot.simulation.sweep.space import (
    Choices,
    Dimension,
    Range,
    Space,
    Table,
    Value,
    known_keys,
    reader_of,
    written,
)

_RANGE = {"from", "to", "step", "log"}
_WITH_UNIT = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*(s|min|h|d|%)?\s*")
_SPAN = re.compile(r"(?P<low>[^:]+?)\.\.(?P<high>[^:]+)(?::(?P<step>[^:]+))?")
_MOST_STEPS = 1_000
_FORM = "key=a,b,c or key=low..high:step, such as tiers.fast_vote=0.65..0.8:0.05"


def read_space(base: Table, *, path: Path | None, given: Sequence[str]) -> Space:
    """Return the space of a file and of ``--set`` texts; the latter win over the former, key by key.

    ``base`` is the policy's whole table. Raises ConfigError naming the key, the value found and what is
    allowed; for no key at all; and for a key inside a table that is swept too.
    """
    known = known_keys(base)
    wanted = dict(_of_file(path)) if path else {}
    wanted.update(map(_of_text, given))
    if not wanted:
        raise ConfigError(f"a sweep needs keys to vary: give --set {_FORM}, or --space FILE")
    _refuse_nested(sorted(wanted))
    space = Space(dimensions=tuple(_dimension(key, value, known) for key, value in wanted.items()))
    if space.cells == 1:
        raise ConfigError("a sweep needs a key with two values or more; every key here has one")
    return space


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        table = toml_of(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"sweep file {path} cannot be read: {error}") from None
    yield from _flat(table, "")


def _flat(table: Table, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and not _is_range(value):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _is_range(value: object) -> bool:
    return isinstance(value, Mapping) and {"from", "to"} <= set(value) <= _RANGE


def _of_text(text: str) -> tuple[str, Any]:
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise ConfigError(f"--set must look like {_FORM}, was {text!r}")
    return key.strip(), _values(values.strip())


def _values(text: str) -> Any:
    """Return TOML values between commas; a bare word such as off or 15 % is a text."""
    span = _SPAN.fullmatch(text)
    if span:
        return {
            {"low": "from", "high": "to"}.get(name, name): _bare(part)
            for name, part in span.groupdict().items()
            if part
        }
    try:
        return toml_of(f"v = [{text}]")["v"]
    except ValueError:
        return [_bare(part) for part in text.split(",")]


def _bare(text: str) -> Value:
    try:
        return toml_of(f"v = {text}")["v"]
    except ValueError:
        return text.strip()


def _refuse_nested(keys: Sequence[str]) -> None:
    for outer in keys:
        inner = next((key for key in keys if key.startswith(f"{outer}.")), None)
        if inner:
            raise ConfigError(
                f"sweep keys {outer} and {inner} overlap: the one is inside the other; leave one out"
            )


def _dimension(key: str, value: Any, known: Mapping[str, Reader | None]) -> Dimension:
    reader = reader_of(key, known)
    if _is_range(value):
        return _range(key, value, reader)
    if not isinstance(value, list) or not value:
        raise ConfigError(
            f"sweep key {key} must have a list of values or a range "
            f"{{ from = .., to = .., step = .. }}, was {value!r}"
        )
    for each in value:
        _check(key, each, reader, known)
    values, is_ordered = _different(key, value), all(map(_is_number, value))
    return Choices(
        key=key, values=tuple(sorted(values, key=_size)) if is_ordered else values, is_ordered=is_ordered
    )


def _check(key: str, value: Value, reader: Reader | None, known: Mapping[str, Reader | None]) -> None:
    """Refuse a value that the policy's own reader refuses. Rules between keys are asked cell by cell."""
    if reader is not None:
        reader(value, key)
        return
    if not isinstance(value, Mapping) and any(name.startswith(f"{key}.") for name in known):
        raise ConfigError(f"sweep key {key} is a table: its values must be tables, was {value!r}")
    if isinstance(value, Mapping):
        for below, item in value.items():
            path = f"{key}.{below}"
            _check(path, item, reader_of(path, known), known)


def _different(key: str, values: Sequence[Value]) -> tuple[Value, ...]:
    said = [json.dumps(_plain(item), sort_keys=True, default=str) for item in values]
    for at, item in enumerate(said):
        if item in said[:at]:
            raise ConfigError(f"sweep key {key} names {values[at]!r} twice; name each value once")
    return tuple(values)


def _plain(value: Value) -> object:
    """Return a value so that "6 h" equals "360 min" and 2 equals 2.0."""
    found = quantity(value)
    if found:
        return found
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_number(value: Value) -> bool:
    return quantity(value) is not None or (isinstance(value, int | float) and not isinstance(value, bool))


def _size(value: Value) -> float:
    """Return a number as it counts, whatever its unit."""
    found = quantity(value)
    return found[0] if found else float(value)


def _range(key: str, value: Table, reader: Reader | None) -> Dimension:
    inner = reader.reader if isinstance(reader, OptionalReader) else reader
    if not isinstance(inner, NumberReader | PercentReader | DurationReader | WholeSecondsReader):
        raise ConfigError(f"sweep key {key} takes no range, only a list of values")
    for name in ("from", "to"):
        inner(value[name], key)
    (low, unit), (high, other) = _number(value["from"]), _number(value["to"])
    if unit != other:
        raise ConfigError(f"sweep key {key}: from and to must have one unit, were {unit!r} and {other!r}")
    if not low < high:
        raise ConfigError(f"sweep key {key}: from must be under to, was {value['from']!r} to {value['to']!r}")
    is_whole = isinstance(inner, NumberReader) and inner.is_whole
    if "step" in value:
        return _stepped(key, value, low, high, unit, is_whole)
    is_log = value.get("log", False)
    if not isinstance(is_log, bool) or (is_log and low <= 0.0):
        raise ConfigError(f"sweep key {key}: log must be true or false, and from over 0 with it")
    return Range(key=key, low=low, high=high, unit=unit, is_log=is_log, is_whole=is_whole)


def _stepped(key: str, value: Table, low: float, high: float, unit: str, is_whole: bool) -> Choices:
    step, step_unit = _number(value["step"])
    if step_unit != unit or not 0.0 < step <= high - low or (high - low) / step > _MOST_STEPS:
        raise ConfigError(
            f"sweep key {key}: step must be over 0 {unit}, at most {written(high - low, unit)}, "
            f"with at most {_MOST_STEPS:,} steps, was {value['step']!r}"
        )
    many = math.floor((high - low) / step + 1e-9) + 1
    numbers = [float(f"{low + at * step:.12g}") for at in range(many)]
    if is_whole and any(number != round(number) for number in numbers):
        raise ConfigError(f"sweep key {key} takes whole numbers only, step was {value['step']!r}")
    values = tuple(round(number) if is_whole else written(number, unit) for number in numbers)
    return Choices(key=key, values=values, is_ordered=True)


def _number(value: object) -> tuple[float, str]:
    """Return a number and the unit written behind it; NaN for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    match = _WITH_UNIT.fullmatch(value) if isinstance(value, str) else None
    return (float(match[1]), match[2] or "") if match else (math.nan, "")
