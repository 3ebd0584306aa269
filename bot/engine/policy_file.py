"""What a policy file says before it is a policy: presets that it extends, and all that is wrong with it.

A file may begin with ``extends = "classic"`` and then states only what differs; the rest comes from that
preset, so that a number has one place. Arrays are replaced as a whole, tables key by key.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bot.engine.policy import Policy, parse_policy
from bot.engine.policy_fields import PlainReader, SectionReader
from bot.engine.policy_readers import Reader, missing_key, suggestion, unknown_key
from bot.errors import ConfigError

EXTENDS = "extends"

Table = Mapping[str, Any]


def lineage(table: Table, presets: Sequence[str], read: Callable[[str], Table]) -> tuple[Table, ...]:
    """Return the tables that make a policy, the oldest first and ``table`` last.

    ``read`` returns the table of a preset. Raises ConfigError for a preset that is none, or that in the end
    extends itself.
    """
    tables, names = [table], list[str]()
    while (name := tables[-1].get(EXTENDS)) is not None:
        if name not in presets:
            there = ", ".join(presets)
            raise ConfigError(
                f"policy key {EXTENDS} must be one of the presets {there}{suggestion(str(name), presets)}, "
                f"was {name!r}"
            )
        if name in names:
            raise ConfigError(f"policy key {EXTENDS}: {' -> '.join([*names, name])} goes in a circle")
        names.append(name)
        tables.append(read(name))
    return tuple(reversed(tables))


def merged(tables: Sequence[Table]) -> dict[str, Any]:
    """Return one table that states everything; a later table wins, ``extends`` itself is gone."""
    found: dict[str, Any] = {}
    for table in tables:
        found = _over(found, table)
    found.pop(EXTENDS, None)
    return found


def all_problems(table: Table) -> tuple[str, ...]:
    """Return every refusal of a merged table, one line each; none for one that ``parse_policy`` takes."""
    found = tuple(problems_of(SectionReader(Policy), table, ""))
    if not found:
        parse_policy(table)
    return found


def problems_of(reader: Reader, value: object, name: str) -> Iterator[str]:
    """Yield every refusal of a table, one line each.

    A rule between keys is asked once the keys of its table are right.
    """
    if not isinstance(reader, SectionReader | PlainReader) or not isinstance(value, Mapping):
        yield from _refusals(reader, value, name)
        return
    keys, prefix, found = reader.keys(), f"{name}." if name else "", False
    for given in value:
        if given not in keys:
            found = True
            yield str(unknown_key(name, given, keys))
    for each, below in keys.items():
        if each in value:
            for line in problems_of(below, value[each], f"{prefix}{each}"):
                found = True
                yield line
        elif isinstance(reader, SectionReader):
            found = True
            yield str(missing_key(f"{prefix}{each}"))
    if not found:
        yield from _refusals(reader, value, name)


def _refusals(reader: Reader, value: object, name: str) -> Iterator[str]:
    try:
        reader(value, name)
    except ConfigError as error:
        yield str(error)


def _over(base: Table, own: Table) -> dict[str, Any]:
    found = dict(base)
    for key, value in own.items():
        below = found.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        found[key] = _over(below, value) if both else value  # type: ignore[arg-type]
    return found
