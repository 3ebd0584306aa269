"""Writes docs/sources.md, the kinds that a [[watch]] table can name, from the classes themselves.

Run it after a source was added or changed: python scripts/sources_page.py
"""

import inspect
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bot.chain.address import Address
from bot.model.market import Metric
from bot.settings import KINDS
from bot.watchers import WATCHERS
from bot.watchers.pools import Pool

PAGE = Path(__file__).resolve().parents[1] / "docs" / "sources.md"
HEAD = """# Sources

The kinds of a `[[watch]]` table and their keys, written from the code by `scripts/sources_page.py`. Every
table also takes `kind`, `every_s` and, for contracts, `chain`: see
[configuration.md](configuration.md#watch). A value in braces is an inline table with the keys named in it. An
address may be the `"@name"` of a known deployment.
"""
_PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false"}


def page() -> str:
    """Return the page."""
    contracts = [_section(kind, part) for kind, part in sorted(KINDS.items()) if kind in WATCHERS]
    web = [_section(kind, part) for kind, part in sorted(KINDS.items()) if kind not in WATCHERS]
    return (
        "\n".join([HEAD, "## Contracts\n", *contracts, "## HTTP sources and files\n", *web]).rstrip() + "\n"
    )


def _section(kind: str, part: Any) -> str:
    paragraphs = [inspect.getdoc(inspect.getmodule(part)) or "", inspect.getdoc(part) or ""]
    about = " ".join(text.replace("``", "`") for text in paragraphs).split()
    hints = get_type_hints(part, include_extras=True)
    lines = [f"### {kind}\n", f"{' '.join(about)}\n", "| key | type | default |", "|---|---|---|"]
    lines += [
        f"| `{item.name}` | {_type(hints[item.name])} | {_default(item)} |"
        for item in fields(part)
        if item.init and item.name != "every_s"
    ]
    pace = next((item for item in fields(part) if item.name == "every_s"), None)
    if pace is not None and pace.default is not MISSING:
        lines.append(f"\nRead every {pace.default:g} s unless `every_s` says otherwise.")
    return "\n".join(lines) + "\n"


def _type(hint: Any) -> str:
    if hint == Address:
        return "address"
    if hint is Pool:
        return "label of a `[[pools]]` table, or a table of its keys"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_type(arm) for arm in get_args(hint) if arm is not type(None))
    if get_origin(hint) is tuple:
        return f"list of {_type(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return " or ".join(f"`{item}`" for item in get_args(hint))
    if is_dataclass(hint):
        return "{ " + ", ".join(item.name for item in fields(hint) if item.init) + " }"
    if hint is Metric:
        return "name of a metric (`bot/model/market.py`)"
    return _PLAIN[hint]


def _default(item: "Field[Any]") -> str:
    if item.name == "chain_id":
        return "the table's `chain`"
    if item.default is MISSING and item.default_factory is MISSING:
        return "required"
    if item.default in (None, "", ()) or item.default is MISSING:
        return "none"
    shown = list(item.default) if isinstance(item.default, tuple) else item.default
    return f"`{shown}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
