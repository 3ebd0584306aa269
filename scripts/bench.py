"""Measures the program: ``scripts/bench [AREA ...] --json FILE``.

Every figure is a median, or the percentile that its name says, of rounds in this one run; a ratio is the
median of the ratios of interleaved rounds, so that both sides saw the same machine.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path

from bench_timers import Figures

from bot.errors import BotError
from bot.output import keep_stdout

AREAS = ("decision", "devnet", "backtest", "montecarlo", "options", "polling", "reaction", "start")


def bench_of(area: str, *, sign: bool) -> Callable[[], Awaitable[Figures]]:
    """Return what measures an area: ``bench_AREA`` of its module. All together take seconds to import."""
    name = "signing" if sign and area == "reaction" else area
    found: Callable[[], Awaitable[Figures]] = getattr(import_module(f"bench_{name}"), f"bench_{name}")
    return found


def table(area: str, figures: Figures) -> str:
    """Return one area's figures as lines of at most 80 columns."""
    return "\n".join([area, *(f"  {name:<40} {value:>12,.3f}" for name, value in figures.items())])


async def measure(areas: Sequence[str], *, sign: bool = False) -> Figures:
    found: Figures = {}
    for area in areas:
        figures = await bench_of(area, sign=sign)()
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
