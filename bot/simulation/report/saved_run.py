"""Runs as files: everything a report is made of, in a versioned JSON document.

The document is an object: ``format`` "alvh-run", ``version`` (a whole number that grows when older programs
could not read it), ``kind`` (what of), ``program`` (the version that wrote it) and ``run``, the value as
``bot.pipeline.codec`` writes it: field by field, floats exact, NaN and infinity as words.
"""

import json
from pathlib import Path
from typing import Any, Final

from bot import __version__
from bot.errors import ConfigError, InvariantError
from bot.model.parsing import json_of
from bot.pipeline import codec
from bot.simulation.report.data import ReportData
from bot.simulation.report.inputs import MonteCarloReport, SweepReport, WindowsReport
from bot.simulation.report.target import RUN_FILE

FORMAT: Final = "alvh-run"
VERSION: Final = 1
Run = ReportData | WindowsReport | SweepReport | MonteCarloReport
KINDS: Final[dict[str, type[Any]]] = {
    "stretch": ReportData,
    "windows": WindowsReport,
    "sweep": SweepReport,
    "monte-carlo": MonteCarloReport,
}


def kind_of(run: Run) -> str:
    """Return the name of a run's kind."""
    return next(name for name, kind in KINDS.items() if isinstance(run, kind))


def run_text(run: Run) -> str:
    """Return the document of a run; the same run gives the same text."""
    head = {"format": FORMAT, "version": VERSION, "kind": kind_of(run), "program": __version__}
    return f'{json.dumps(head)[:-1]}, "run": {codec.dumps(run)}}}\n'


def read_run(path: Path) -> Run:
    """Return the run of a file, or of the folder of a report. Raises ConfigError where it is none."""
    file = path / RUN_FILE if path.is_dir() else path
    try:
        document = json_of(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            f"run {file} cannot be read: {error}; name the folder of a report, or its {RUN_FILE}"
        ) from None
    kind = _checked(file, document)
    try:
        found: Run = codec.loads(kind, json.dumps(document["run"]))
    except InvariantError as error:
        raise ConfigError(f"run {file} is not whole: {error}; write it again with this program") from None
    return found


def _checked(file: Path, document: Any) -> type[Any]:
    """Return the type of a document's run."""
    if not isinstance(document, dict) or document.get("format") != FORMAT or "run" not in document:
        raise ConfigError(f"run {file} is no saved run: it must say format {FORMAT!r}; name a {RUN_FILE}")
    version = document.get("version")
    if version != VERSION:
        raise ConfigError(
            f"run {file} has version {version!r}, this program reads {VERSION}; write it again, or use the "
            f"program that wrote it ({document.get('program', 'unknown')})"
        )
    kind = KINDS.get(str(document.get("kind")))
    if kind is None:
        raise ConfigError(
            f"run {file} is of kind {document.get('kind')!r}, this program knows {', '.join(KINDS)}"
        )
    return kind
