"""Writes what the parts found into docs/campaign.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.chain.fees import GWEI
from campaign import place
from campaign.parts import PARTS
from campaign.summary import joined, shown
from campaign.wanted import WANTED, is_met

PAGE = place.ROOT / "docs" / "campaign.md"
_BEGIN, _END = "<!-- written by `scripts/campaign --page` from here -->\n", "<!-- to here -->\n"


def write(path: Path = PAGE) -> list[str]:
    """Put the kept figures of this source into the page; return the parts that have none."""
    kept = {name: figures for name in PARTS if (figures := place.kept(name)) is not None}
    head, _, rest = path.read_text("utf-8").partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    path.write_text(head + _BEGIN + results(kept) + _END + tail, "utf-8")
    return [name for name in PARTS if name not in kept]


def results(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """Return both tables as Markdown."""
    figures = joined(kept)
    source = f"Of the source with the hash `{place.source_hash()}`, by which results are kept."
    lines = ["", source, "", "| figure | found | wanted |", "|---|---|---|"]
    for wanted in WANTED:
        bound = f"{wanted.sign} {wanted.bound:g}" if wanted.sign else ""
        verdict = "" if is_met(wanted, figures) or wanted.name not in figures else ", **not met**"
        found = shown(figures.get(wanted.name)) + verdict
        lines.append(f"| {wanted.words} (`{wanted.name}`) | {found} | {bound} |")
    return "\n".join([*lines, "", *_faults(figures.get("rows", ())), ""])


def _faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "| fault | done | wanted | cases | broken | told after | resumed after | lost gas |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        told = "" if row["to_alarm_s"] is None else f"{row['to_alarm_s']:.1f} s"
        resumed = "" if row["to_recover_polls"] is None else f"{row['to_recover_polls']:.0f} polls"
        gas = f"{row['gas_lost_wei'] / GWEI:,.0f} gwei" if row["gas_lost_wei"] else ""
        broken = ", ".join(row["broken"]) or "none"
        cells = [row["id"], row["inject"], row["expected"], row["cases"], broken, told, resumed, gas]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines
