"""Measures the program: ``scripts/bench [AREA ...] --json FILE``.

Every figure is a median, or the percentile that its name says, of rounds in this one run; a ratio is the
median of the ratios of interleaved rounds, so that both sides saw the same machine.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench_backtest import bench_backtest
from bench_decision import bench_decision
from bench_devnet import bench_devnet
from bench_montecarlo import bench_montecarlo
from bench_options import bench_options
from bench_polling import bench_polling
from bench_reaction import bench_reaction
from bench_signing import bench_signing
from bench_timers import Figures

from bot.errors import BotError
from bot.output import keep_stdout

AREAS: dict[str, Callable[[], Awaitable[Figures]]] = {
    "decision": bench_decision,
    "devnet": bench_devnet,
    "backtest": bench_backtest,
    "montecarlo": bench_montecarlo,
    "options": bench_options,
    "polling": bench_polling,
    "reaction": bench_reaction,
}


def table(area: str, figures: Figures) -> str:
    """Return one area's figures as lines of at most 80 columns."""
    return "\n".join([area, *(f"  {name:<40} {value:>12,.3f}" for name, value in figures.items())])


async def measure(areas: Sequence[str], *, sign: bool = False) -> Figures:
    found: Figures = {}
    for area in areas:
        figures = await (bench_signing if sign and area == "reaction" else AREAS[area])()
        print(table(area, figures), flush=True)
        found |= figures
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the program.")
    parser.add_argument(
        "areas", nargs="*", metavar="AREA", help=f"{', '.join(AREAS)}; all when none is named"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, flat, name to number")
    parser.add_argument(
        "--sign", action="store_true", help="reaction: on to a transaction that the node has accepted"
    )
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.areas if name not in AREAS]:
        parser.error(f"no area named {unknown[0]!r}; there are {', '.join(AREAS)}")
    keep_stdout()
    try:
        figures = asyncio.run(measure(given.areas or list(AREAS), sign=given.sign))
        if given.json is not None:
            given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except (BotError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
