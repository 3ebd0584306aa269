"""Writes reports: one HTML file, or a folder with the page, the run, a CSV for each table, a PNG a figure."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.errors import ConfigError
from bot.simulation.report import fans_page, run_page, sweep_page, windows_page
from bot.simulation.report.data import ReportData
from bot.simulation.report.inputs import FanReport, MonteCarloReport, SweepReport, WindowsReport
from bot.simulation.report.page import Page, page_text
from bot.simulation.report.saved_run import Run, run_text
from bot.simulation.report.table import csv_text
from bot.simulation.report.target import INDEX, PARTS, RUN_FILE, is_file_name, refuse_bad_target

_PAGES: Mapping[type, Callable[[Any], Page]] = {
    ReportData: run_page.page_of,
    WindowsReport: windows_page.page_of,
    SweepReport: sweep_page.page_of,
    MonteCarloReport: fans_page.page_of,
}


def page_of(run: Run) -> Page:
    """Return the page of a run of any kind."""
    return _PAGES[type(run)](run)


def write_report(run: Run | FanReport, target: Path) -> None:
    """Write a run's report: a file where the name ends in .html, else a folder. Complete or not there.

    One policy of a Monte Carlo run alone is a run of its own. Raises ConfigError when it cannot be written.
    """
    if isinstance(run, FanReport):
        run = MonteCarloReport(title=run.title, policies=(run,))
    write_page(page_of(run), target, run=run)


def write_page(page: Page, target: Path, *, run: Run | None = None) -> None:
    """Write a page; a folder also gets ``run``, from which the page can be made again."""
    refuse_bad_target(target)
    try:
        if is_file_name(target):
            _write_file(target, page_text(page))
        else:
            _write_folder(page, target, run)
    except OSError as error:
        raise ConfigError(
            f"report {target} cannot be written: {error.strerror}; free space or choose another path"
        ) from error


def write_run(run: Run, path: Path) -> None:
    """Write a run for later reports. Raises ConfigError when it cannot be written."""
    try:
        _write_file(path, run_text(run))
    except OSError as error:
        raise ConfigError(
            f"run {path} cannot be written: {error.strerror}; free space or choose another path"
        ) from error


def _write_file(path: Path, text: str) -> None:
    part = path.parent / f".{path.name}.part"
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _write_folder(page: Page, target: Path, run: Run | None) -> None:
    """Make everything beside the target, then put it in place of what an earlier report left there."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        made = Path(scratch) / "report"
        _fill(page, made, run)
        target.mkdir(exist_ok=True)
        for name in PARTS:
            old = target / name
            if old.is_dir():
                shutil.rmtree(old)
            elif old.exists():
                old.unlink()
        for item in sorted(made.iterdir()):
            os.replace(item, target / item.name)


def _fill(page: Page, folder: Path, run: Run | None) -> None:
    from bot.simulation.report.png import png_bytes  # matplotlib: only a folder needs it

    for name in ("csv", "png"):
        (folder / name).mkdir(parents=True)
    (folder / INDEX).write_text(page_text(page), encoding="utf-8")
    if run is not None:
        (folder / RUN_FILE).write_text(run_text(run), encoding="utf-8")
    for table in page.tables:
        (folder / "csv" / f"{table.name}.csv").write_text(csv_text(table), encoding="utf-8")
    for panel, figure in page.figures:
        drawn = png_bytes(figure.plot, title=figure.title or panel.title, subtitle=panel.subtitle)
        (folder / "png" / f"{figure.name}.png").write_bytes(drawn)
