"""Every value of a configuration, and who said it: environment, file or default. No secret is shown."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr

from bot.chain.node_url import redact_url
from bot.model.refused import HIDDEN
from bot.settings.root import Settings
from bot.settings.watch import WatchSettings

_HOSTED = ("http", "https", "ws", "wss", "postgresql")  # of other addresses, apprise's, the host is the token
VARIABLE_IN_TEXT = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")  # "${NAME}" in the file takes a variable's value

KeyPath = tuple[str, ...]  # ("chain", "poll_s"); the items of a list are numbered, ("feeds", "0", "label")


class Origin(Enum):
    """Who said a value, the highest first."""

    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value as it holds."""

    key: str  # "chain.poll_s"; the items of a list are numbered, "feeds.0.label"
    value: str  # of an address that may hold a key only its host, of any other secret HIDDEN
    origin: Origin
    said: str  # the variable, what the file says in place of the value, or nothing


def settings_by_origin(
    settings: Settings, table: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[Setting, ...]:
    """Return every value in the order of the sections.

    ``table`` is what the file says for the network that was chosen, its "${NAME}" and "@name" not replaced.
    """
    overrides = _overrides(environment)
    return tuple(
        _setting(path, shown, table, overrides)
        for name in Settings.model_fields
        for path, shown in _leaves((name,), getattr(settings, name))
    )


def _setting(
    path: KeyPath, shown: str, table: Mapping[str, Any], overrides: Mapping[KeyPath, str]
) -> Setting:
    key = ".".join(path)
    for length in range(len(path), 1, -1):
        if (variable := overrides.get(path[:length])) is not None:
            return Setting(key=key, value=shown, origin=Origin.ENVIRONMENT, said=variable)
    is_there, said = _said(table, path)
    if said.startswith("@") and "0x" not in shown:  # no name of an address: it may be a secret
        said = ""
    return Setting(key=key, value=shown, origin=Origin.FILE if is_there else Origin.DEFAULT, said=said)


def _overrides(environment: Mapping[str, str]) -> dict[KeyPath, str]:
    """Return the variables that override a key, by its path: ALVH_CHAIN__POLL_S is chain.poll_s."""
    names = [name for name in environment if name.lower().startswith("alvh_") and "__" in name]
    return {tuple(name.lower().removeprefix("alvh_").split("__")): name for name in names}


def _said(table: Any, path: KeyPath) -> tuple[bool, str]:
    """Return whether the file says a value, and its own words where they stand for something else."""
    for part in path:
        if isinstance(table, Mapping) and part in table:
            table = table[part]
        elif isinstance(table, list) and part.isdigit() and int(part) < len(table):
            table = table[int(part)]
        else:  # a name that stands for a whole table, or a key that the file leaves out
            break
    else:
        return True, _words(table)
    return isinstance(table, str), _words(table)


def _words(value: Any) -> str:
    """Return "${NAME}" or "@name" of the file's text; nothing else of it, for it may be a secret."""
    texts = value if isinstance(value, list) else [value]
    found = [match[0] for text in texts if isinstance(text, str) for match in VARIABLE_IN_TEXT.finditer(text)]
    found += [text for text in texts if isinstance(text, str) and text.startswith("@")]
    return ", ".join(found)


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves((*path, name), getattr(value, name))
        if isinstance(value, WatchSettings):
            yield from _leaves(path, value.source)
    elif is_dataclass(value):
        yield from _fields(path, value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves((*path, str(name)), item)
    elif isinstance(value, tuple) and any(_is_table(item) for item in value):
        for number, item in enumerate(value):
            yield from _leaves((*path, str(number)), item)
    else:
        yield path, _shown(value)


def _is_table(value: object) -> bool:
    return isinstance(value, BaseModel) or is_dataclass(value)


def _fields(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, str]]:
    own = {"every_s"} if len(path) == 2 and path[0] == "watch" else set()  # its table has shown it
    for item in fields(value):
        if item.init and item.name not in own:
            found = getattr(value, item.name)
            is_secret = not item.repr and found not in ("", None)
            yield from [((*path, item.name), HIDDEN)] if is_secret else _leaves((*path, item.name), found)


def _shown(value: Any) -> str:
    """Return a value as a person reads it."""
    if isinstance(value, SecretStr):
        return _masked(value.get_secret_value())
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str) and "://" in value:
        return _masked(value)  # a source's own address may hold a key too
    return "none" if value is None or value == "" else str(value)


def _masked(text: str) -> str:
    scheme, is_url, _ = text.partition("://")
    if is_url and scheme.partition("+")[0] in _HOSTED:
        return redact_url(text)
    return f"{scheme}://{HIDDEN}" if is_url else HIDDEN if text else "none"
