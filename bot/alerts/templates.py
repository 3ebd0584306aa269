"""A person's own words for a kind of message: ``{title}`` and its like, and nothing that could be run."""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.alerts.condition import KINDS
from bot.errors import ConfigError

FIELDS = (
    "mode", "kind", "key", "severity", "change", "title", "happened", "did", "could_not", "act", "runbook",
    "at",
)  # fmt: skip
_LONGEST = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Words for the title and for the body; empty: the built-in ones."""

    title: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """Words by kind. A kind that has none, or whose words come out empty, has the built-in ones."""

    by_kind: Mapping[str, Template] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, template in self.by_kind.items():
            if kind not in KINDS:
                raise ConfigError(
                    f"templates.{kind[:40]}: there is no such kind; there are {', '.join(KINDS)}"
                )
            check_template(template.title, where=f"templates.{kind}.title")
            check_template(template.body, where=f"templates.{kind}.body")

    def written(self, kind: str, title: str, text: str, fields: Mapping[str, str]) -> tuple[str, str]:
        """Return title and text of a message; ``title`` and ``text`` are the built-in ones."""
        own = self.by_kind.get(kind, Template())
        return _filled(own.title, fields) or title, _filled(own.body, fields) or text


def check_template(text: str, *, where: str) -> None:
    """Raise ConfigError, naming the field, for what is no plain ``{name}`` of FIELDS."""
    if len(text) > _LONGEST:
        raise ConfigError(f"{where} has {len(text)} characters, at most {_LONGEST} are allowed")
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; write {{{{ and }}}} for braces") from None
    for _, name, shape, conversion in parts:
        if name is not None and (name not in FIELDS or shape or conversion):
            whole = f"{name}{f'!{conversion}' if conversion else ''}{f':{shape}' if shape else ''}"
            raise ConfigError(
                f"{where}: {{{whole[:40]}}} is not a field; there are "
                f"{', '.join(FIELDS)}, each as {{name}} alone"
            )


def _filled(text: str, fields: Mapping[str, str]) -> str:
    found = (before + (fields[name] if name else "") for before, name, _, _ in string.Formatter().parse(text))
    return "".join(found).strip()
