"""The command line of the campaign. What it runs is in tests/campaign; see docs/campaign.md."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pytest
from campaign import place
from campaign.parts import PARTS, Options, ran
from campaign_stopwatch import stopwatch
from campaign_sweep import sweep_on_ray

_TESTS = ["-m", "campaign", "--numprocesses", "3", "--dist", "loadgroup"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/campaign",
        description="Breaks the bot in every way that is known, on a devnet of this machine, and audits it.",
    )
    parser.add_argument(
        "--summary", action="store_true", help="all parts that have no result yet, and all figures"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="with --summary: write the figures too")
    parser.add_argument("--page", action="store_true", help="write what was found into docs/campaign.md")
    parser.add_argument("--case", metavar="ID", help="one fault, such as T7, exactly as it ran before")
    parser.add_argument("--seed", type=int, default=1, help="with --case: which of its cases")
    parser.add_argument(
        "--node", metavar="URL", help="a devnet that runs already, in place of one of its own"
    )
    _add_options(parser)
    parser.set_defaults(repeats=0, jobs=0, minutes=0.0, fresh=False)
    commands = parser.add_subparsers(dest="command", metavar="PART")
    for name, part in PARTS.items():
        # Suppressed: what stands before the part is not overwritten by what does not stand behind it.
        _add_options(commands.add_parser(name, help=part.what, argument_default=argparse.SUPPRESS))
    commands.choices["faults"].add_argument("--only", default="", metavar="IDS", help="such as T1,T2")
    kills = commands.choices["kills"]
    kills.add_argument("--points", default="", help="such as K5,K9; all by default")
    kills.add_argument("--actions", default="", help="of open,close,roll,approve; all by default")
    kills.add_argument("--short", action="store_true", default=False, help="each point once, by turns")
    kills.add_argument(
        "--blind", type=int, metavar="N", default=None, help="at random times, beside the named ones"
    )
    sweep = commands.add_parser("sweep", help="a sweep on two Ray nodes, one killed half way")
    sweep.add_argument("--cells", type=int, default=12, help="policies beside the one as it is")
    sweep.add_argument("--windows", type=int, default=6, help="crises, each of three days of hours")
    watch = commands.add_parser("stopwatch", help="the README's own commands from a clone in an empty home")
    watch.add_argument("--skip-tests", action="store_true", help="all but scripts/test")
    commands.add_parser("tests", help="the tests that are too long for scripts/test")
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, help="seeds, rounds or examples")
    parser.add_argument("--jobs", type=int, help="processes; one for each core without it")
    parser.add_argument("--minutes", type=float, help="of what lasts")
    parser.add_argument("--fresh", action="store_true", help="also what ran over this very source")


def main() -> int:
    """Do what the command line says; 0 when all of it was as it should be."""
    given = _parser().parse_args()
    options = Options(repeats=given.repeats, jobs=given.jobs, minutes=given.minutes, fresh=given.fresh)
    try:
        return _do(given, options)
    except place.RefusedPlace as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2


def _do(given: argparse.Namespace, options: Options) -> int:
    if given.node:
        place.use_node(given.node)
    if given.case:
        return _one_case(given.case, given.seed)
    if given.summary:
        from campaign.summary import summarise

        return summarise(options, json_to=given.json)
    if given.page:
        from campaign.page import write

        missing = write()
        print("docs/campaign.md is written" + (f"; without results: {', '.join(missing)}" if missing else ""))
        return 0
    if given.command == "tests":
        return pytest.main(_TESTS)
    if given.command == "stopwatch":
        return stopwatch(skip_tests=given.skip_tests)
    if given.command == "sweep":
        return sweep_on_ray(cells=given.cells, windows=given.windows)
    if given.command == "kills" and (given.short or given.points or given.actions or given.blind is not None):
        return _some_kills(given, options)
    if given.command in PARTS:
        return _part(given, options)
    _parser().print_help()
    return 2


def _some_kills(given: argparse.Namespace, options: Options) -> int:
    from campaign import kills

    blind = kills.BLIND if given.blind is None else given.blind
    found = kills.run(options, points=given.points, actions=given.actions, blind=blind, short=given.short)
    return 1 if found["kill_problems"] else 0


def _part(given: argparse.Namespace, options: Options) -> int:
    """Run one part and print its figures; 1 when one of them is not as wanted."""
    from campaign.summary import table
    from campaign.wanted import WANTED, is_met

    if given.command == "faults" and given.only:
        from campaign import faults

        figures = faults.run(options, ids=given.only.split(","))
        return 1 if figures["violations"] else 0
    figures = ran(given.command, options)
    own = [wanted for wanted in WANTED if wanted.name in figures]
    print("\n" + table(figures, own))
    return 0 if all(is_met(wanted, figures) for wanted in own) else 1


def _one_case(case: str, seed: int) -> int:
    from campaign.catalogue import CASES, FAULTS
    from campaign.runner import run_cases

    if case not in CASES:
        print(f"error: there is no case {case!r}; allowed are {', '.join(CASES)}", file=sys.stderr)
        return 2
    (fault,) = [item for item in FAULTS if item.id == case]
    print(f"{fault.id}: {fault.inject} -> {fault.expected}")
    (line,) = run_cases([case], [seed], jobs=1, fresh=True)
    return 1 if line.problems else 0


if __name__ == "__main__":
    sys.exit(main())
