"""The command that writes reports: of a journal, of a saved run, of two runs side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import DEFAULT_CONFIG, ConfigOption, ModeOption, ReportOption, err, out, settings_of
from bot.errors import ConfigError

if TYPE_CHECKING:
    from bot.simulation.report.saved_run import Run

DEFAULT_TARGET = Path("alvh-report.html")
_WIDTH = 80
_WRITING = "writing the report"


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN",
            help="run.json of a saved run, or the folder of a report; two are compared. A name that ends in "
            ".html is where to write the report of the journal.",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    target: ReportOption = None,
) -> None:
    """Write the report of a journal or a run, or compare two runs.

    --report FILE.html is one page; --report FOLDER also has each table as CSV, each figure as PNG, and the
    run, for later reports and comparisons.
    """
    named = runs or []
    if len(named) == 1 and named[0].suffix.lower() in (".html", ".htm"):
        if target is not None:
            raise ConfigError(f"report takes one place to write to, was {named[0]} and --report {target}")
        named, target = [], named[0]
    if len(named) > 2:
        raise ConfigError(f"report takes one run or two, was {len(named)}; name two to compare them")
    place = target or DEFAULT_TARGET
    if len(named) == 2:
        _compare(named, place)
    elif named:
        _run(named[0], place)
    else:
        _journal(config, mode, place)
    out.print(f"report: {place}", soft_wrap=True, markup=False)


def _journal(config: Path, mode: str, target: Path) -> None:
    from bot.app.report import report_journal

    settings = settings_of(config)
    with err.status(_WRITING):
        written = report_journal(settings, mode=mode, target=target)
    _print(written, "")


def _run(path: Path, target: Path) -> None:
    from bot.app.report import report_run
    from bot.simulation.report.target import refuse_bad_target

    refuse_bad_target(target)
    with err.status(_WRITING):
        written = report_run(path, target=target)
    _print(*written)


def _compare(paths: list[Path], target: Path) -> None:
    from bot.app.report import compare_runs
    from bot.simulation.report.target import refuse_bad_target
    from bot.simulation.report.terminal import Rows

    refuse_bad_target(target)
    with err.status(_WRITING):
        found = compare_runs(paths, target=target)
    out.print(found.headline, style="bold", markup=False, width=min(out.width, _WIDTH))
    head = ("figure", "first", "second", "difference")
    out.print(Rows(head=head, rows=found.differences, wraps=(0,)), width=min(out.width, _WIDTH))
    out.print(f"first: {found.first.name}; second: {found.second.name}", markup=False, soft_wrap=True)


def _print(run: "Run", headline: str) -> None:
    from bot.simulation.report.data import ReportData
    from bot.simulation.report.terminal import print_report

    if isinstance(run, ReportData):
        print_report(run, out)
    else:
        out.print(headline, style="bold", markup=False, width=min(out.width, _WIDTH))
