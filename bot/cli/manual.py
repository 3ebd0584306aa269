"""What a person does by hand: see positions and quotes, close, roll, exercise, pause, read the history.

And what is done with the positions and loans themselves: exit, top-up, repay.
"""

import asyncio
from collections.abc import Awaitable, Callable
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
from bot.output import write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bot.app.account_orders import Asked
    from bot.app.look import Look
    from bot.model.base_layers import Action
    from bot.pipeline.desk import Request

_LOOKING = "reading chain, journal and venues"

PositionArgument = Annotated[
    str, typer.Argument(help="A position as alvh positions names it: lyra:7, perp-v2:vETH.")
]
ExposureArgument = Annotated[
    str, typer.Argument(help="A protected position as alvh status names it: v3:1, v2:ETH/USDC.")
]
LoanArgument = Annotated[str, typer.Argument(help="A loan as its watched account is labelled.")]
UsdOption = Annotated[float, typer.Option("--usd", help="What to pay, USD.")]


def positions(
    config: ConfigOption = DEFAULT_CONFIG, mode: ModeOption = "dry-run", json_to: JsonOption = None
) -> None:
    """List what is held: cost, what a sale would bring, what is due."""
    from bot.manual_document import positions_document
    from bot.terminal.manual import positions_view

    _show(config, mode, json_to, positions_view, positions_document)


def quote(
    config: ConfigOption = DEFAULT_CONFIG, mode: ModeOption = "dry-run", json_to: JsonOption = None
) -> None:
    """Compare what each layer could be filled with, over all venues. Prices are net cost, now."""
    from bot.manual_document import offers_document
    from bot.terminal.manual import offers_view

    _show(config, mode, json_to, offers_view, offers_document)


def close(
    position: PositionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    size: Annotated[
        float | None, typer.Option(help="Contracts to sell, units of a perpetual; all without it.")
    ] = None,
    least: Annotated[
        float | None, typer.Option(min=0.0, help="Least USD to take; without it, now less the slippage.")
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(help="Worst price of a perpetual's unit; the mark and the slippage by default."),
    ] = None,
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Sell a hedge or close a perpetual, whole or in part. Works while paused."""
    from bot.app.manual import closing

    def make(look: "Look") -> "Request":
        return closing(look, position, size=size, least_usd=least, price_usd=price)

    _order(config, mode, make, yes, json_to)


def roll(
    position: PositionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    to: Annotated[str | None, typer.Option(help="Option to roll into, as alvh quote names it.")] = None,
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Replace a hedge by one of a later expiry. The old one is sold once the new one is filled."""
    from bot.app import manual

    _order(config, mode, lambda look: manual.rolling(look, position, to=to), yes, json_to)


def exercise(
    position: PositionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Collect what a hedge pays, before expiry or after it. Works while paused."""
    from bot.app import manual

    _order(config, mode, lambda look: manual.exercising(look, position), yes, json_to)


def exit_position(
    position: ExposureArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    part: Annotated[str, typer.Option(help="How much of it leaves, as a percentage.")] = "100%",
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Withdraw a protected position to the account (R29). Whole or in part; works while paused."""
    from bot.app import account_orders

    account_orders.check_mode(mode, "withdraws")
    share = account_orders.part_of(part)
    _account_order(
        config, mode, lambda look: account_orders.exiting(look, position, part=share), yes, json_to
    )


def top_up(
    loan: LoanArgument,
    usd: UsdOption,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Add collateral to a loan (R21). Works while paused."""
    from bot.model.base_layers import Action

    _pay(config, mode, Action.TOP_UP, loan, usd, yes, json_to)


def repay(
    loan: LoanArgument,
    usd: UsdOption,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Repay a part of a loan (R21). Works while paused."""
    from bot.model.base_layers import Action

    _pay(config, mode, Action.REPAY, loan, usd, yes, json_to)


def history(
    config: ConfigOption = DEFAULT_CONFIG, mode: ModeOption = "dry-run", json_to: JsonOption = None
) -> None:
    """List every order, what became of it, and what is still open."""
    from bot.app.orders import history as read_history
    from bot.manual_document import history_document
    from bot.terminal.manual import history_view

    found = read_history(settings_of(config), mode=mode)
    if json_to is None:
        out.print(history_view(found))
    write_json(history_document(found), json_to)


def pause(
    why: Annotated[str, typer.Option(help="What the log should say of it.")] = "asked for by hand",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Stop opening anything, in bot and signer, across restarts. Closing stays possible."""
    from bot.app.orders import pause as put_pause

    out.print(str(put_pause(settings_of(config), why=why)), markup=False)


def resume(config: ConfigOption = DEFAULT_CONFIG, yes: YesOption = False) -> None:
    """End a pause, after you said so."""
    from bot.app.orders import pause_in_force
    from bot.app.orders import resume as end

    settings = settings_of(config)
    standing = pause_in_force(settings)
    if standing is None:
        out.print("nothing is paused")
        return
    confirm(f"{standing}. Open hedges again?", yes=yes)
    end(settings)
    out.print("resumed: the next step may open hedges")


def _show(
    config: Path,
    mode: str,
    json_to: str | None,
    view: Callable[["Look"], "RenderableType"],
    document: Callable[["Look"], dict[str, Any]],
) -> None:
    """Look once, and show what was seen to a person or to a program."""
    from bot.app.look import open_look

    async def look() -> tuple["RenderableType | None", dict[str, Any]]:
        async with open_look(settings_of(config), mode=mode) as found:
            return view(found) if json_to is None else None, document(found)

    with err.status(_LOOKING):
        shown, seen = asyncio.run(look())
    if shown is not None:
        out.print(shown)
    write_json(seen, json_to)


def _order(
    config: Path, mode: str, make: Callable[["Look"], "Request"], yes: bool, json_to: str | None
) -> None:
    from bot.app.look import open_look
    from bot.app.manual import carry_out, is_filled
    from bot.manual_document import outcomes_document
    from bot.terminal.manual import outcome_line, request_view

    async def order() -> bool:
        with err.status(_LOOKING):
            async with open_look(settings_of(config), mode=mode) as look:
                request = make(look)
        err.print(request_view(request))
        confirm("Do it?", yes=yes)
        outcomes = await carry_out(look, request)
        for outcome in outcomes if json_to is None else ():
            out.print(outcome_line(outcome))
        write_json(outcomes_document(request, outcomes), json_to)
        return bool(outcomes) and all(map(is_filled, outcomes))

    if not asyncio.run(order()):
        raise typer.Exit(EXIT_ERROR)


def _pay(
    config: Path, mode: str, action: "Action", loan: str, usd: float, yes: bool, json_to: str | None
) -> None:
    from bot.app import account_orders

    account_orders.check_mode(mode, "pays")
    paid_usd = account_orders.sum_of(usd)
    _account_order(
        config, mode, lambda look: account_orders.paying(look, action, loan, usd=paid_usd), yes, json_to
    )


def _account_order(
    config: Path,
    mode: str,
    make: Callable[["Look"], Awaitable["Asked"]],
    yes: bool,
    json_to: str | None,
) -> None:
    from bot.app.account_orders import carry_out
    from bot.app.look import open_look
    from bot.manual_document import account_document
    from bot.model.hedge import LegStatus
    from bot.terminal.account import account_line, asked_view

    async def order() -> bool:
        with err.status(_LOOKING):
            async with open_look(settings_of(config), mode=mode) as look:
                asked = await make(look)
        err.print(asked_view(asked))
        confirm("Do it?", yes=yes)
        outcome = await carry_out(look, asked)
        if json_to is None:
            out.print(account_line(outcome))
        write_json(account_document(asked, outcome), json_to)
        return outcome.status is LegStatus.FILLED

    if not asyncio.run(order()):
        raise typer.Exit(EXIT_ERROR)
