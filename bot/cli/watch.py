"""The command that reads chains for a bot that runs elsewhere."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.operate import OnceOption, say_once, stop_at_signals
from bot.cli.shared import DEFAULT_CONFIG, ConfigOption, JsonOption, err, out, settings_of
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.watch import Watched


def watch(
    config: ConfigOption = DEFAULT_CONFIG,
    chain: Annotated[
        list[int] | None, typer.Option(help="Chain id; repeat for more. Default: all watched_elsewhere.")
    ] = None,
    shard: Annotated[str, typer.Option(help="This part of each chain's sources: 1/2, 2/2.")] = "1/1",
    once: OnceOption = False,
    json_to: JsonOption = None,
) -> None:
    """Read chains into a shared history for a bot elsewhere. Decides and trades nothing, needs no key."""
    from bot.app import watch as app
    from bot.app.follow import Listener
    from bot.terminal import fill_progress

    settings, part = settings_of(config), app.Shard.parse(shard)

    async def run(listener: Listener) -> None:
        stop, seen = stop_at_signals(), set[str]()
        wanted = chain or [item.id for item in settings.all_chains if item.watched_elsewhere]
        async for item in app.watch(settings, chains=wanted, shard=part, stop=stop, listener=listener):
            _show(item, json_to)
            seen.add(item.writer)
            if once and len(seen) == len(wanted):
                stop.set()
        err.print("stopped; everything read so far is in the history")

    with fill_progress(err) as progress:
        listener = Listener(
            on_trouble=say_once(),
            on_notice=lambda text: err.print(text, markup=False),
            on_progress=progress,
        )
        asyncio.run(run(listener))


def _show(item: "Watched", json_to: str | None) -> None:
    from bot.model.units import iso_utc

    at = iso_utc(item.block.timestamp_s)
    if json_to is None:
        known = f"{item.rows} rows" + (f", {item.unknown} unknown" if item.unknown else "")
        out.print(f"{at} {item.writer} block {item.block.number}: {known}", markup=False)
        return
    document = {
        "writer": item.writer,
        "chain_id": item.block.chain_id,
        "block": item.block.number,
        "at": at,
        "rows": item.rows,
        "unknown": item.unknown,
    }
    write_json(document, json_to, lines=True)
