"""The command that lists where hedges can be traded."""

from typing import Annotated

import typer

from bot.cli.shared import DEFAULT_CONFIG, ConfigOption, JsonOption, out
from bot.output import write_json


def venues(
    config: ConfigOption = DEFAULT_CONFIG,
    chain: Annotated[
        int | None, typer.Option("--chain", help="Only venues on this chain, by its id.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """List the venues: what each can do, where, which you have."""
    from bot.app.venues import list_venues
    from bot.settings import load_settings
    from bot.terminal.venues import venues_document, venues_view

    settings = load_settings(config) if config.is_file() or config != DEFAULT_CONFIG else None
    rows = list_venues(settings, chain_id=chain)
    if json_to != "-":
        out.print(venues_view(rows))
    write_json(venues_document(rows), json_to)
