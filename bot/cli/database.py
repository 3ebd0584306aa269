"""alvh db: schema, upgrade, check and pruning of every store; and alvh export."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    EXIT_ERROR,
    ConfigOption,
    JsonOption,
    ModeOption,
    YesOption,
    confirm,
    err,
    out,
    settings_of,
)
from bot.errors import ConfigError
from bot.model.units import parse_utc_s
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.databases import StoreStatus

db_cli = typer.Typer(help="Journals and histories: schema, upgrade, check, pruning.", no_args_is_help=True)


@db_cli.command()
def status(config: ConfigOption = DEFAULT_CONFIG, json_to: JsonOption = None) -> None:
    """Say which stores there are and which schema each has."""
    from bot.app.databases import stores

    found = stores(settings_of(config))
    if json_to is None:
        for item in found:
            state = (
                "current" if item.is_current else f"this program writes {item.newest}: run alvh db upgrade"
            )
            _say(f"{item.what}: schema {item.revision}, {state}; {item.where}")
        if not found:
            _say("no store yet; a run makes them")
    write_json({"stores": [_document(item) for item in found]}, json_to)


@db_cli.command()
def upgrade(
    config: ConfigOption = DEFAULT_CONFIG, yes: YesOption = False, json_to: JsonOption = None
) -> None:
    """Take older stores to the schema of this program; files are copied first. Stop the bot before."""
    from bot.app import databases as app

    settings = settings_of(config)
    older = [item for item in app.stores(settings) if not item.is_current]
    if any(item.path is None for item in older):
        confirm("A PostgreSQL database is not copied by this command. Is there a dump of it?", yes=yes)
    with err.status("copying, checking and upgrading"):
        done = app.upgrade(settings)
    if json_to is None:
        for item in done:
            kept = f"; a copy of before is {item.copy}" if item.copy is not None else ""
            _say(f"{item.what}: schema {item.was} is now {item.now}{kept}")
        if not done:
            _say("every store is current; nothing was changed")
    document = [
        {"what": item.what, "was": item.was, "now": item.now, "copy": str(item.copy) if item.copy else None}
        for item in done
    ]
    write_json({"upgraded": document}, json_to)


@db_cli.command()
def verify(config: ConfigOption = DEFAULT_CONFIG, json_to: JsonOption = None) -> None:
    """Check the whole chain of hashes of every journal, and every file for damage. Exit code 1 for damage."""
    from bot.app import databases as app

    with err.status("checking") as shown:
        found = app.verify(settings_of(config), lambda what: shown.update(f"checking {what}"))
    if json_to is None:
        for item in found:
            chain = "" if item.rows is None else f", {item.rows} rows in its chain"
            _say(f"{item.what}: {item.problem or f'whole{chain}'}")
        if not found:
            _say("no store yet; a run makes them")
    document = [{"what": item.what, "rows": item.rows, "problem": item.problem or None} for item in found]
    write_json({"stores": document}, json_to)
    if any(item.problem for item in found):
        raise typer.Exit(EXIT_ERROR)


@db_cli.command()
def prune(
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    keep_days: Annotated[
        float | None, typer.Option(min=1.0, help="Heartbeats younger than this stay.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="Folder for what leaves; default: archive in state_dir.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Let old heartbeats leave a journal, once they are in an archive. Orders and full steps stay."""
    from bot.app.databases import prune as prune_journal

    with err.status("checking the journal, then archiving"):
        done = prune_journal(settings_of(config), mode=mode, keep_days=keep_days, archive=archive)
    name = done.archive.name if done.archive is not None else None
    if json_to is None:
        where = f" and are in {name}" if name is not None else ""
        _say(f"{done.rows} heartbeats left the {mode} journal{where}")
    write_json({"rows": done.rows, "stretches": done.stretches, "archive": name}, json_to)


def export(
    config: ConfigOption = DEFAULT_CONFIG,
    output: Annotated[Path, typer.Option(help="Folder, or the file of one table.")] = Path("export"),
    table: Annotated[
        list[str] | None,
        typer.Option(help="steps, orders, intents, readings, observations; repeat for more. Default: all."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="First time, ISO 8601, UTC.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Up to this time, ISO 8601, UTC.")] = None,
    form: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    mode: ModeOption = "dry-run",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    json_to: JsonOption = None,
) -> None:
    """Write what was observed, decided and done as CSV or Parquet."""
    from bot.app import export as app
    from bot.app.table_files import TableFormat

    chosen = [_one_of(app.Exported, item, "--table") for item in dict.fromkeys(table or app.Exported)]
    span = app.Span(
        from_s=parse_utc_s(start, field="--from") if start else -math.inf,
        until_s=parse_utc_s(end, field="--to") if end else math.inf,
    )
    with err.status("exporting") as shown:
        done = app.export(
            settings_of(config),
            mode=mode,
            tables=chosen,
            span=span,
            form=_one_of(TableFormat, form, "--format"),
            output=output,
            force=force,
            tell=lambda item: shown.update(f"exporting; {item.table} is written"),
        )
    if json_to is None:
        for item in done:
            _say(f"{item.path}: {item.rows} rows")
    document = [{"table": item.table, "path": str(item.path), "rows": item.rows} for item in done]
    write_json({"files": document}, json_to)


def _one_of(kind: Any, text: str, option: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(item.value for item in kind)
        raise ConfigError(f"{option} {text!r}: must be one of {known}") from None


def _document(item: "StoreStatus") -> dict[str, Any]:
    return {
        "what": item.what,
        "where": item.where,
        "schema": item.revision,
        "newest": item.newest,
        "size_bytes": item.size_bytes,
    }


def _say(line: str) -> None:
    out.print(line, markup=False, soft_wrap=True)
