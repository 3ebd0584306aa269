"""What a person reads of ``alvh show-config``, and its document."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.settings import Origin, Setting

_ADDRESS = 42  # characters that stay in one line
_STYLES = {Origin.ENVIRONMENT: "cyan", Origin.FILE: "", Origin.DEFAULT: "dim"}


def settings_view(found: Sequence[Setting], path: Path) -> RenderableType:
    """One block per section, a row for each value; fits 80 columns."""
    parts: list[RenderableType] = []
    for section, items in groupby(found, key=lambda item: _place(item)[0]):
        parts += [Text(section, style="bold"), _rows(list(items)), Text("")]
    count = {origin: sum(item.origin is origin for item in found) for origin in Origin}
    words = f"{path}: {count[Origin.FILE]} values of the file, {count[Origin.ENVIRONMENT]} of the environment"
    return Group(*parts, Text(f"{words}, {count[Origin.DEFAULT]} defaults shown"))


def settings_document(found: Sequence[Setting], path: Path) -> dict[str, Any]:
    return {
        "path": str(path),
        "settings": [
            {"key": item.key, "value": item.value, "origin": item.origin.value, "said": item.said}
            for item in found
        ],
    }


def _place(item: Setting) -> tuple[str, str]:
    """Return the table of a value as the file names it, and its key in there."""
    section, *rest = item.key.split(".")
    if not rest:
        return "(top)", section
    if rest[0].isdigit():
        return f"[[{section}]] {int(rest[0]) + 1}", ".".join(rest[1:])
    return f"[{section}]", ".".join(rest)


def _rows(items: Sequence[Setting]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, expand=True)
    table.add_column(width=23, overflow="fold")
    table.add_column(ratio=1, min_width=_ADDRESS, overflow="fold")
    table.add_column(width=11, no_wrap=True)  # "environment"
    for item in items:
        style = _STYLES[item.origin]
        value = Text(item.value, style=style)
        if item.said:
            value.append(f"\n{item.said}", style="dim")
        table.add_row(Text(f"  {_place(item)[1]}"), value, Text(item.origin.value, style=style))
    return table
