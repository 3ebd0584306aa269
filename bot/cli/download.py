"""The command that fetches public history."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import EXIT_ERROR, JsonOption, err, out
from bot.output import write_json

if TYPE_CHECKING:
    from rich.progress import TaskID

    from bot.app.download import DownloadResult
    from bot.app.download import Progress as OnProgress


def download_data(
    to_folder: Annotated[Path, typer.Option("--out", help="Folder for the history files.")],
    start: Annotated[str, typer.Option("--from", help="First day, UTC.")],
    end: Annotated[str, typer.Option("--to", help="Last day, UTC, included.")],
    what: Annotated[
        str, typer.Option(help="Some of prices, perps, funding, dvol, tvl, macro; comma between them.")
    ] = "prices,perps,funding,dvol,tvl,macro",
    underlying: Annotated[str, typer.Option(help="ETH, BTC or both, comma between them.")] = "ETH,BTC",
    protocol: Annotated[
        list[str] | None, typer.Option(help="DefiLlama name of a protocol whose TVL is wanted; repeat.")
    ] = None,
    contact: Annotated[str, typer.Option(help="Mail address for sources that ask for one.")] = "",
    json_to: JsonOption = None,
) -> None:
    """Fetch public history into the files of alvh backtest. Goes on where it stopped."""
    from bot.app.download import Download, download, parse_span

    from_s, to_s = parse_span(start, end)
    plan = Download(
        out=to_folder,
        from_s=from_s,
        to_s=to_s,
        what=_names(what),
        underlyings=_names(underlying),
        protocols=tuple(protocol or ()),
        contact=contact,
    )
    with _bars() as on_progress:
        result = asyncio.run(download(plan, progress=on_progress))
    if json_to != "-":
        _print(result)
    write_json(result.to_json(), json_to)
    if not result.complete:
        raise typer.Exit(EXIT_ERROR)


def _print(result: "DownloadResult") -> None:
    from bot.model.units import iso_utc

    for item in result.files:
        span = f"{iso_utc(item.first_s)} to {iso_utc(item.last_s)}" if item.rows else "empty"
        out.print(f"{item.file}: {item.rows:,} rows, {item.added:,} new, {span}", soft_wrap=True)
        for trouble in item.trouble:
            err.print(f"{item.file}: not complete: {trouble}", markup=False)
    if result.interrupted:
        err.print("interrupted; what had arrived is kept, run the same command again to go on")
    out.print(f"try: alvh backtest --data {result.out} --help", soft_wrap=True)


@contextmanager
def _bars() -> "Iterator[OnProgress]":
    """Show one bar for each source, with the time left."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def show(label: str, share: float) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=1.0)
            progress.update(tasks[label], completed=share)

        yield show


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
