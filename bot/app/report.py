"""``alvh report``: the page of a saved run or of a journal, or of two runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.app.journals import journal_report
from bot.app.policy import keys_of
from bot.errors import ConfigError
from bot.settings import Settings, read_source
from bot.simulation.report import compare_page
from bot.simulation.report.compare_page import Side
from bot.simulation.report.files import page_of, write_page, write_report
from bot.simulation.report.saved_run import Run, read_run
from bot.simulation.report.target import RUN_FILE, refuse_bad_target
from bot.simulation.sweep.report import sweep_report
from bot.simulation.sweep.results import SweepResult
from bot.simulation.windows.comparison import policy_name
from bot.simulation.windows.report import windows_report
from bot.simulation.windows.results import WindowsResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs, and what differs as (figure, first, second, difference)."""

    first: Side
    second: Side
    headline: str
    differences: list[tuple[str, str, str, str]]


def report_journal(settings: Settings, *, mode: str, target: Path) -> Run:
    """Write the report of a journal. Raises NotFoundError when it has no step."""
    refuse_bad_target(target)
    run = journal_report(settings, mode=mode)
    write_report(run, target)
    return run


def report_run(path: Path, *, target: Path) -> tuple[Run, str]:
    """Write the report of a saved run again; also return its headline. Raises ConfigError."""
    run = read_run(path)
    write_report(run, target)
    return run, page_of(run).title


def report_windows(result: WindowsResult, policies: Sequence[str], *, target: Path) -> None:
    """Write the report of a backtest over windows, with the keys of its policies."""
    keys = {policy_name(name): keys_of(read_source(name)) for name in policies}
    write_report(windows_report(result, policies=keys), target)


def report_sweep(result: SweepResult, *, target: Path) -> None:
    """Write the report of a sweep."""
    write_report(sweep_report(result), target)


def compare_runs(paths: Sequence[Path], *, target: Path) -> Compared:
    """Write the page of two saved runs. Raises ConfigError for runs of two kinds."""
    first, second = (
        Side(name=name, run=read_run(path)) for name, path in zip(_names(paths), paths, strict=True)
    )
    page = compare_page.page_of(first, second)
    write_page(page, target)
    return Compared(
        first=first,
        second=second,
        headline=page.panels[0].title,
        differences=compare_page.summary_lines(first, second),
    )


def _names(paths: Sequence[Path]) -> tuple[str, str]:
    """Return what people call two runs: the folder's or file's name, more of the path where both agree."""
    first, second = (_told(path) for path in paths)
    if first.resolve() == second.resolve():
        raise ConfigError(f"both runs are {paths[0]}; name two")
    if first.name != second.name:
        return first.name, second.name
    return str(first), str(second)


def _told(path: Path) -> Path:
    named = path.parent if path.name == RUN_FILE and path.parent.name else path
    return named.resolve() if not named.name else named.with_suffix("") if named.suffix == ".json" else named
