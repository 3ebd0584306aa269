"""Commands that look and change nothing: show-config, doctor, check-addresses."""

import asyncio
from typing import Annotated

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    EXIT_ERROR,
    ConfigOption,
    JsonOption,
    NetworkTableOption,
    err,
    out,
    settings_of,
)
from bot.output import write_json


def show_config(
    config: ConfigOption = DEFAULT_CONFIG,
    network: NetworkTableOption = None,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what stands at its default.")] = False,
    json_to: JsonOption = None,
) -> None:
    """Show the configuration, and where each value came from. Secrets are hidden."""
    from bot.settings import Origin, load_with_origins
    from bot.terminal.settings import settings_document, settings_view

    settings, found = load_with_origins(config, network=network)
    shown = [item for item in found if not (changed and item.origin is Origin.DEFAULT)]
    if json_to != "-":
        out.print(settings_view(shown, settings.path))
    write_json(settings_document(shown, settings.path), json_to)


def doctor(config: ConfigOption = DEFAULT_CONFIG, json_to: JsonOption = None) -> None:
    """Check everything that a good run needs, and say what mends it. Exit code 0 means healthy."""
    from bot.app.doctor import doctor as examine
    from bot.terminal_checks import checks_document, checks_view

    with err.status("asking every provider, contract and source"):
        checks = asyncio.run(examine(config))
    document = checks_document(checks)
    if json_to != "-":
        out.print(checks_view(checks))
    write_json(document, json_to)
    if not document["healthy"]:
        raise typer.Exit(EXIT_ERROR)


def check_addresses(
    config: ConfigOption = DEFAULT_CONFIG,
    chain: Annotated[int | None, typer.Option("--chain", help="Only this chain, by its id.")] = None,
    known: Annotated[
        bool, typer.Option("--known", help="The known deployments of the chain, not the configuration.")
    ] = False,
    json_to: JsonOption = None,
) -> None:
    """Ask every configured address what it is. Exit code 0 means that all answer as they should."""
    from bot.app.check_addresses import check
    from bot.terminal_checks import addresses_document, addresses_view

    settings = settings_of(config)
    with err.status("asking every address"):
        checks = asyncio.run(check(settings, chain_id=chain, is_known=known))
    document = addresses_document(checks)
    if json_to != "-":
        out.print(addresses_view(checks))
    write_json(document, json_to)
    if not document["healthy"]:
        raise typer.Exit(EXIT_ERROR)
