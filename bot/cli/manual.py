"""What a person does by hand: see positions and quotes, close, roll, exercise, pause, read the history.

And what is done with the positions and loans themselves: exit, top-up, repay.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    EXIT_ERROR,
    ConfigOption,
    JsonOption,
    ModeOption,
    err,
    out,
    settings_of,
)
from bot.errors import ConfigError
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.account_orders import Asked
    from bot.app.look import Look
    from bot.model.base_layers import Action
    from bot.pipeline.desk import Request

PositionArgument = Annotated[str, typer.Argument(help="A position as alvh positions names it: lyra:7.")]
ExposureArgument = Annotated[
    str, typer.Argument(help="A protected position as alvh status names it: v3:1, v2:ETH/USDC.")
]
LoanArgument = Annotated[str, typer.Argument(help="A loan as its watched account is labelled.")]
UsdOption = Annotated[float, typer.Option("--usd", help="What to pay, USD.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def positions(
    config: ConfigOption = DEFAULT_CONFIG, mode: ModeOption = "dry-run", json_to: JsonOption = None
) -> None:
    """What is held, what it cost, what a sale would bring now, and what is due of it."""
    from bot.manual_document import positions_document
    from bot.terminal.manual import positions_view

    def show(look: "Look") -> None:
        if json_to is None:
            out.print(positions_view(look))
        write_json(positions_document(look), json_to)

    _with_look(config, mode, show)


def quote(
    config: ConfigOption = DEFAULT_CONFIG, mode: ModeOption = "dry-run", json_to: JsonOption = None
) -> None:
    """What each layer could be filled with now, side by side over all venues, at net cost."""
    from bot.manual_document import offers_document
    from bot.terminal.manual import offers_view

    def show(look: "Look") -> None:
        if json_to is None:
            out.print(offers_view(look))
        write_json(offers_document(look), json_to)

    _with_look(config, mode, show)


def close(
    position: PositionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    size: Annotated[float | None, typer.Option(help="Contracts to sell; all without it.")] = None,
    least: Annotated[
        float | None, typer.Option(min=0.0, help="Least USD to take; without it, now less the slippage.")
    ] = None,
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Sell a hedge, whole or in part. Works while paused."""
    from bot.app import manual

    _order(
        config, mode, lambda look: manual.closing(look, position, size=size, least_usd=least), yes, json_to
    )


def roll(
    position: PositionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    to: Annotated[str | None, typer.Option(help="Option to roll into, as alvh quote names it.")] = None,
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Buy a layer's replacement with a later expiry and, once that is filled, sell the hedge."""
    from bot.app import manual

    _order(config, mode, lambda look: manual.rolling(look, position, to=to), yes, json_to)


def exercise(
    position: PositionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Collect what a hedge pays: exercise before expiry, settle or redeem after it. Works while paused."""
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
    """Withdraw a protected position to the account, whole or in part (R29). Works while paused."""
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
    """Every order that was made, what became of it, and what is still open."""
    from bot.app.orders import history as read_history
    from bot.manual_document import history_document
    from bot.terminal.account import order_words
    from bot.terminal.manual import history_view

    found = read_history(settings_of(config), mode=mode)
    if json_to is None:
        waiting = [f"{leg.side} {leg.size:,.2f} {leg.instrument.label}" for leg in found.open_legs]
        waiting += [order_words(order) for order in found.open_account_orders]
        out.print(history_view(found.outcomes, found.account_outcomes, (*waiting, *found.waiting)))
    write_json(history_document(found), json_to)


def pause(
    why: Annotated[str, typer.Option(help="What the log should say of it.")] = "asked for by hand",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Stop opening anything, in bot and signer alike, across restarts. Closing stays possible."""
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
    _confirm(f"{standing}. Open hedges again?", yes=yes)
    end(settings)
    out.print("resumed: the next step may open hedges")


def _with_look(config: Path, mode: str, show: Callable[["Look"], None]) -> None:
    from bot.app.look import open_look

    async def look() -> None:
        async with open_look(settings_of(config), mode=mode) as found:
            show(found)

    asyncio.run(look())


def _order(
    config: Path, mode: str, make: Callable[["Look"], "Request"], yes: bool, json_to: str | None
) -> None:
    from bot.app.look import open_look
    from bot.app.manual import carry_out
    from bot.manual_document import outcomes_document
    from bot.terminal import order_line
    from bot.terminal.manual import request_view

    async def order() -> bool:
        async with open_look(settings_of(config), mode=mode) as look:
            request = make(look)
            err.print(request_view(request))
        _confirm("Do it?", yes=yes)
        outcomes = await carry_out(look, request)
        for outcome in outcomes if json_to is None else ():
            out.print(order_line(outcome))
        write_json(outcomes_document(request, outcomes), json_to)
        return bool(outcomes) and all(item.filled_size > 0.0 for item in outcomes)

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
        async with open_look(settings_of(config), mode=mode) as look:
            asked = await make(look)
            err.print(asked_view(asked))
        _confirm("Do it?", yes=yes)
        outcome = await carry_out(look, asked)
        if json_to is None:
            out.print(account_line(outcome))
        write_json(account_document(asked, outcome), json_to)
        return outcome.status is LegStatus.FILLED

    if not asyncio.run(order()):
        raise typer.Exit(EXIT_ERROR)


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to confirm; add --yes to do it without asking")
    typer.confirm(question, abort=True, err=True)
