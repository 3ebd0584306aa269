"""Walks configuration by its types: resolves "@name" addresses before checking, lists addresses after it.

Sections are pydantic models, ``[[watch]]`` tables become the frozen dataclasses of the registries; both
are walked alike, so that no section has to say which of its keys are addresses.
"""

import difflib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.watchers.pools import Pool

Resolve = Callable[[str, str], Any]  # (kind of reference, text) -> what stands for it


class Found(NamedTuple):
    """A configured address and what stands beside it."""

    field: str  # "feeds.0.address"
    key: str  # its last part that is no number
    address: str
    owner: Any  # the section or source that holds it


def prepare(kind: Any, value: Any, *, path: str, resolve: Resolve) -> Any:
    """Return raw values with references resolved. Raises ConfigError for a key that a dataclass lacks."""
    if isinstance(value, str):
        return _reference(kind, value, path=path, resolve=resolve)
    if isinstance(value, Mapping):
        part = next((arm for arm in _arms(kind) if _is_part(arm)), None)
        if part is not None:
            return _table(part, value, path=path, resolve=resolve)
        entry = _entry_kind(kind)
        return {key: prepare(entry, one, path=f"{path}.{key}", resolve=resolve) for key, one in value.items()}
    if isinstance(value, list | tuple):
        item = next((get_args(arm)[0] for arm in _arms(kind) if get_origin(arm) in (tuple, list)), None)
        if item is not None:
            return [
                prepare(item, one, path=f"{path}.{number}", resolve=resolve)
                for number, one in enumerate(value)
            ]
    return value


def addresses(value: Any, path: str = "") -> Iterator[Found]:
    """Yield every address in a section or source, by the type of its field."""
    for name, kind in _hints(value.__class__).items():
        if hasattr(value, name):
            yield from _addresses_of(kind, getattr(value, name), f"{path}.{name}".lstrip("."), name, value)


def _addresses_of(kind: Any, value: Any, path: str, key: str, owner: Any) -> Iterator[Found]:
    if isinstance(value, str):
        if Address in _arms(kind):
            yield Found(path, key, value, owner)
    elif isinstance(value, tuple):
        item = next((get_args(arm)[0] for arm in _arms(kind) if get_origin(arm) is tuple), None)
        for number, one in enumerate(value):
            yield from _addresses_of(item, one, f"{path}.{number}", key, owner)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _addresses_of(_entry_kind(kind), one, f"{path}.{name}", key, owner)
    elif _is_part(type(value)):
        yield from addresses(value, path)


def field_names(kind: type) -> tuple[str, ...]:
    """Return the keys that a source can be configured by."""
    return tuple(item.name for item in fields(kind) if item.init)


def keys_at(kind: Any, path: Sequence[int | str]) -> tuple[str, ...]:
    """Return the keys that the table at a place may have; none where it is no table or its keys are free."""
    for step in path:
        if isinstance(step, int):
            kind = next((get_args(arm)[0] for arm in _arms(kind) if get_origin(arm) in (tuple, list)), None)
        else:
            part = next((arm for arm in _arms(kind) if _is_part(arm)), None)
            kind = _hints(part).get(step) if part is not None else _entry_kind(kind)
    part = next((arm for arm in _arms(kind) if _is_part(arm)), None)
    return tuple(_hints(part)) if part is not None else ()


def nearest(key: str, allowed: Sequence[str]) -> str:
    """Return the key that was meant, or all there are, as words."""
    if not allowed:
        return "see docs/configuration.md for the keys"
    like = difflib.get_close_matches(key, allowed, n=1)
    return f"did you mean {like[0]}" if like else f"there are {', '.join(allowed)}"


def _reference(kind: Any, value: str, *, path: str, resolve: Resolve) -> Any:
    arms = _arms(kind)
    if value.startswith("@") and Address in arms:
        wanted = "address"
    elif Pool in arms and str not in arms:
        wanted = "pool"
    else:
        return value
    try:
        return resolve(wanted, value)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _table(part: Any, value: Mapping[str, Any], *, path: str, resolve: Resolve) -> dict[str, Any]:
    if is_dataclass(part):
        _refuse_unknown(part, value, path)
    hints = _hints(part)
    return {
        key: prepare(hints.get(key), one, path=f"{path}.{key}".lstrip("."), resolve=resolve)
        for key, one in value.items()
    }


def _refuse_unknown(part: Any, value: Mapping[str, Any], path: str) -> None:
    allowed = field_names(part)
    for key in value:
        if key not in allowed:
            raise ConfigError(f"unknown key {path}.{key}; {nearest(str(key), allowed)}")


def _entry_kind(kind: Any) -> Any:
    """Return what the entries of a table with free keys are; None where it says nothing of them."""
    return next((get_args(arm)[1] for arm in _arms(kind) if get_origin(arm) in (dict, Mapping)), None)


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))


def _arms(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    names = kind.model_fields if issubclass(kind, BaseModel) else field_names(kind)
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in names}
