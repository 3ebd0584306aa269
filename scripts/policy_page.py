"""Writes docs/policy-reference.md, every key of a policy, from the schema and the presets themselves.

Run it after a key or a preset was changed: python scripts/policy_page.py
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bot.app.policy import schema
from bot.app.policy_text import joined_text, lines_of
from bot.settings import read_source

PAGE = Path(__file__).resolve().parents[1] / "docs" / "policy-reference.md"
_FORM = re.compile(r"(an? |one of |true or false)")
_BOUNDS = re.compile(r"[\[(].* \.\. .*[\])]")
_UNBOUNDED = re.compile(r"1000000000|10000 d|^a (word|list of words)$")
PRESETS = ("classic", "steward", "fortress")
HEAD = """# Policy reference

Every key of a [policy file](policy.md), written by `scripts/policy_page.py` from the presets and from the
schema that `alvh policy schema` prints. R and S ids are those of the [method](method.md). Where a number has
no rule of the method its source stands there, "ours" where it is this project's choice. [low .. high] is what
is accepted; a round bracket leaves that end out. Durations are written with their unit (`"6 h"`), shares of
money and moves of price as percentages (`"25 %"`), the rest as plain numbers. An empty cell has classic's
value.
"""


def page() -> str:
    """Return the page."""
    written = {name: _values(name) for name in PRESETS}
    top = schema()["properties"]
    alone = {key: item for key, item in top.items() if "properties" not in item}
    parts = [HEAD, "## At the top\n", *_table(alone, "", written)]
    for key, item in top.items():
        if "properties" in item:
            parts += [f"## {key}\n", *_section(item, key, written)]
    return "\n".join(parts).rstrip() + "\n"


def _values(preset: str) -> dict[str, str]:
    """Return every value of a preset as its file writes it, by dotted path."""
    source = read_source(preset)
    return {
        line.path: " ".join(line.value.split())
        for line in lines_of(joined_text(source.texts, source.table))
        if line.value
    }


def _section(item: Mapping[str, Any], path: str, written: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield a table's own words and rows; a table of tables has a heading for each of them."""
    if about := item.get("description"):
        yield f"{_sentence(about)}\n"
    inner = item["properties"]
    deep = {key: one for key, one in inner.items() if path == "signals" and "properties" in one}
    yield from _table({key: one for key, one in inner.items() if key not in deep}, path, written)
    for key, one in deep.items():
        yield f"### {path}.{key}\n"
        yield from _section(one, f"{path}.{key}", written)


def _table(keys: Mapping[str, Any], path: str, written: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    rows = [row for key, item in keys.items() for row in _rows(item, _under(path, key), written)]
    if rows:
        yield "\n".join(
            ["| key | classic | steward | fortress | meaning |", "|---|---|---|---|---|", *rows, ""]
        )


def _rows(item: Mapping[str, Any], path: str, written: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    if "properties" not in item or path in written["classic"]:  # files write such a table in one line
        cells = [_cell(written[name].get(path, ""), written["classic"].get(path), name) for name in PRESETS]
        yield f"| `{path}` | {' | '.join(cells)} | {_escaped(_meaning(item))} |"
        return
    inner = item["properties"]
    if about := item.get("description"):
        yield f"| **`{path}`** | | | | {_escaped(about)} |"
    for key, one in inner.items():
        yield from _rows(one, _under(path, key), written)


def _meaning(item: Mapping[str, Any]) -> str:
    """Return the note of a key, and its form where neither the note has bounds nor the form has none."""
    note, _, form = str(item.get("description", "")).rpartition("; ")
    if not note or not _FORM.match(form):
        return str(item.get("description", ""))
    return note if _BOUNDS.search(note) or _UNBOUNDED.search(form) else f"{note}; {form}"


def _cell(value: str, classic: str | None, name: str) -> str:
    if not value or (name != "classic" and value == classic):
        return ""
    return f"`{_escaped(value)}`"


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _sentence(text: str) -> str:
    words = text[:1].upper() + text[1:]
    return words if words.endswith(".") else f"{words}."


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
