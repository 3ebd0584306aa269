"""``[[watch]]`` tables: a kind of the registries, and the fields of its class as keys."""

import difflib
from typing import Any, Self

from pydantic import ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from bot.errors import ConfigError
from bot.ports import Watcher, WebSource
from bot.settings.part import Part
from bot.settings.shape import field_names
from bot.watchers import WATCHERS
from bot.watchers.web import WEB_SOURCES

KINDS: dict[str, type[Watcher] | type[WebSource]] = {**WATCHERS, **WEB_SOURCES}


class WatchSettings(Part):
    """One source of observations. What is not named here are the fields of its kind's class."""

    model_config = ConfigDict(extra="allow")

    kind: str
    chain: int | None = Field(default=None, gt=0)
    every_s: float | None = Field(default=None, ge=0.0, le=7 * 86_400.0)
    _source: Any = PrivateAttr(default=None)

    @property
    def is_web(self) -> bool:
        return self.kind not in WATCHERS

    @property
    def source(self) -> Any:
        """The watcher or web source that the table describes."""
        return self._source

    @model_validator(mode="after")
    def _build(self) -> Self:
        part = kind_named(self.kind)
        if self.is_web and self.chain is not None:
            raise ValueError(f"{self.kind} is read from the web, it has no chain; remove chain")
        try:
            self._source = TypeAdapter(part).validate_python(self._own_fields(part))
        except ValidationError as error:
            raise _problem(error) from None
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Show the source as it shows itself: its fields may hold a key."""
        return [
            ("kind", self.kind),
            ("chain", self.chain),
            ("every_s", self.every_s),
            ("source", self._source),
        ]

    def _own_fields(self, part: type) -> dict[str, Any]:
        given = dict(self.model_extra or {})
        if self.every_s is not None and "every_s" in field_names(part):
            given["every_s"] = self.every_s
        return given


def kind_named(kind: str) -> Any:
    """Return the class of a kind. Raises ValueError with the list of kinds."""
    if kind in KINDS:
        return KINDS[kind]
    like = difflib.get_close_matches(kind, KINDS, n=1)
    hint = f"did you mean {like[0]}? " if like else ""
    raise ValueError(f"kind {kind[:40]!r} is not known; {hint}there are {', '.join(sorted(KINDS))}")


def _problem(error: ValidationError) -> PydanticCustomError:
    """Return the first problem of the source's own fields, with the field's place."""
    first = error.errors(include_url=False)[0]
    return PydanticCustomError(
        "watch_field",
        "{message}",
        {
            "message": first["msg"],
            "type": first["type"],
            "field": ".".join(str(part) for part in first["loc"]),
            "input": first["input"],
        },
    )
