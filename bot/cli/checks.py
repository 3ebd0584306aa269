"""Commands that look and change nothing: doctor, check-addresses."""

import asyncio
from typing import Annotated

import typer

from bot.cli.shared import DEFAULT_CONFIG, EXIT_ERROR, ConfigOption, JsonOption, out, settings_of
from bot.output import write_json


def doctor(config: ConfigOption = DEFAULT_CONFIG, json_to: JsonOption = None) -> None:
    """Check everything a good run needs, and name what mends each. Exit code 0 means healthy."""
    from bot.app.doctor import doctor as examine
    from bot.terminal_checks import checks_document, checks_view

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

    checks = asyncio.run(check(settings_of(config), chain_id=chain, is_known=known))
    document = addresses_document(checks)
    if json_to != "-":
        out.print(addresses_view(checks))
    write_json(document, json_to)
    if not document["healthy"]:
        raise typer.Exit(EXIT_ERROR)
