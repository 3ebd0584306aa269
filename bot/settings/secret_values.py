"""Every secret of the settings as it is: for whoever must find it in a text and take it out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from pydantic import BaseModel, SecretStr

from bot.settings.root import Settings
from bot.settings.watch import WatchSettings

_SECRET_NAME = re.compile(r"(key|secret|password|token)$")  # of a source's field that is plain text

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")  # of a token, which is no secret


def secrets_in(settings: Settings) -> tuple[str, ...]:
    """Return the secrets of all sections and sources."""
    return tuple(dict.fromkeys(item for item in _secrets("", settings) if item))


def _secrets(name: str, value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, str):
        if _SECRET_NAME.search(name) and not _ADDRESS.fullmatch(value):
            yield value
    else:
        for own, part in _parts(name, value):
            yield from _secrets(own, part)


def _parts(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield what a section, a source, a table or a list is made of, with the name of each part."""
    if isinstance(value, WatchSettings):
        yield name, value.source
    elif isinstance(value, BaseModel):
        yield from ((key, getattr(value, key)) for key in type(value).model_fields)
    elif is_dataclass(value):
        yield from ((item.name, getattr(value, item.name)) for item in fields(value))
    elif isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, tuple):
        yield from ((name, item) for item in value)
