"""All parts together: their figures beside what is wanted of them, and one file for a program to read."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from campaign.parts import PARTS, Figures, Options, figures_of
from campaign.wanted import WANTED, Wanted, is_met

CAPPED = ("faults", "kills", "caps")  # parts that measure spending from the chain


def summarise(options: Options, *, json_to: Path | None) -> int:
    """Run what has no result of this source yet, print all figures; 0 when every one is as wanted."""
    found: dict[str, Figures] = {}
    for name, part in PARTS.items():
        print(f"\n{name}: {part.what}", flush=True)
        found[name] = figures_of(name, options)
    figures = joined(found)
    if json_to is not None:
        json_to.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", "utf-8")
    print("\n" + table(figures))
    return 0 if all(is_met(wanted, figures) for wanted in WANTED) else 1


def joined(found: Mapping[str, Mapping[str, Any]]) -> Figures:
    """Return the figures of parts as one. Spending over a cap adds up; it is known when all have run."""
    figures: Figures = {}
    for part in found.values():
        figures |= part
    figures.pop("cap_violations", None)
    if all(name in found for name in CAPPED):
        figures["cap_violations"] = sum(found[name]["cap_violations"] for name in CAPPED)
    return figures


def shown(value: Any) -> str:
    """Return a figure as a person reads it."""
    if value is None:
        return "not run"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def table(figures: Mapping[str, Any], wanted_figures: Sequence[Wanted] = WANTED) -> str:
    """Return the figures as text of at most 80 columns."""
    width = min(shutil.get_terminal_size().columns, 80)
    lines = []
    for wanted in wanted_figures:
        value = figures.get(wanted.name)
        bound = f"{wanted.sign} {wanted.bound:,g}" if wanted.sign else ""
        verdict = "" if not wanted.sign else "ok" if is_met(wanted, figures) else "NOT MET"
        lines.append(f"{wanted.words:50.50} {shown(value):>10} {bound:>9} {verdict:>7}"[:width].rstrip())
    return "\n".join(lines)
