"""alvh cover: what cover of a protocol costs, buying it, what is held, and claims made ready (R20)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

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
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.look import Look

cover_cli = typer.Typer(
    help="Cover against a protocol's failure: quote, buy, list, claim.", no_args_is_help=True
)

_T = TypeVar("_T")
ProtocolArgument = Annotated[str, typer.Argument(help="Protocol, as nexus.products names it: uniswap-v3.")]
UsdOption = Annotated[float, typer.Option("--usd", help="Most that it pays, USD.")]
DaysOption = Annotated[float, typer.Option(help="How long it runs.")]


@cover_cli.command("quote")
def cover_quote(
    protocol: ProtocolArgument,
    usd: UsdOption,
    days: DaysOption = 90.0,
    config: ConfigOption = DEFAULT_CONFIG,
    json_to: JsonOption = None,
) -> None:
    """What a cover costs now, what it pays for and what not."""
    from bot.app import covers
    from bot.cover_document import cover_quote_document
    from bot.terminal.cover import cover_quote_view

    quote = _looking(config, "dry-run", lambda look: covers.quoting(look, protocol, usd=usd, days=days))
    if json_to is None:
        out.print(cover_quote_view(quote))
    write_json(cover_quote_document(quote), json_to)


@cover_cli.command("buy")
def cover_buy(
    protocol: ProtocolArgument,
    usd: UsdOption,
    days: DaysOption = 90.0,
    most: Annotated[
        float | None,
        typer.Option(help="Most premium to pay, USD; without it, now and the policy's slippage."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Buy a cover, after you said so. Refused while paused, and beyond R9's room unless it renews one."""
    from bot.app import covers
    from bot.app.by_hand import check_mode
    from bot.app.look import open_look
    from bot.cover_document import bought_document
    from bot.model.hedge import LegStatus
    from bot.terminal.cover import cover_line, cover_order_view, cover_quote_view

    check_mode(mode, "covers")

    async def buy() -> bool:
        async with open_look(settings_of(config), mode=mode) as look:
            quote = await covers.quoting(look, protocol, usd=usd, days=days)
            order = covers.buying(look, quote, most_usd=most)
            err.print(cover_quote_view(quote))
            err.print(cover_order_view(order, renewal=covers.renews(look, quote)))
        confirm("Do it?", yes=yes)
        outcome = await covers.carry_out(look, order)
        if json_to is None:
            out.print(cover_line(outcome))
        write_json(bought_document(order, outcome), json_to)
        return outcome.status is LegStatus.FILLED

    if not asyncio.run(buy()):
        raise typer.Exit(EXIT_ERROR)


@cover_cli.command("list")
def cover_list(config: ConfigOption = DEFAULT_CONFIG, json_to: JsonOption = None) -> None:
    """The covers that the account holds, when they end, and until when they can be claimed on."""
    from bot.app import covers
    from bot.cover_document import covers_document
    from bot.terminal.cover import covers_view

    async def seen(look: "Look") -> "Look":
        return look

    look = _looking(config, "dry-run", seen)
    found, now_s = covers.held(look), look.moment.now_s
    if json_to is None:
        out.print(covers_view(found, now_s=now_s, renew_before_s=look.policy.insurance.renew_before))
    write_json(covers_document(found, now_s=now_s), json_to)


@cover_cli.command("claim")
def cover_claim(
    cover: Annotated[str, typer.Argument(help="A cover as alvh cover list names it.")],
    usd: Annotated[float | None, typer.Option("--usd", help="The loss, USD; all that it pays.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_to: JsonOption = None,
) -> None:
    """Make a claim ready, or the payout of an accepted one: what you send yourself. Sends nothing."""
    from bot.app import covers
    from bot.cover_document import claim_document
    from bot.terminal.cover import claim_view

    draft = _looking(config, "dry-run", lambda look: covers.claiming(look, cover, usd=usd))
    if json_to is None:
        out.print(claim_view(draft))
    write_json(claim_document(draft), json_to)


def _looking(config: Path, mode: str, what: "Callable[[Look], Awaitable[_T]]") -> _T:
    from bot.app.look import open_look

    async def look() -> _T:
        async with open_look(settings_of(config), mode=mode) as found:
            return await what(found)

    with err.status("reading chain, journal and the mutual"):
        return asyncio.run(look())
