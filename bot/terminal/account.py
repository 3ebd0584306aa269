"""Orders on positions and loans (R21, R29) in a terminal of 80 columns."""

import math
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from bot.model.account_order import AccountOrder, AccountOutcome, Moved
from bot.model.base_layers import Action
from bot.model.hedge import LegStatus
from bot.simulation.report.terminal import hanging
from bot.simulation.wording import percent, usd, when

if TYPE_CHECKING:
    from bot.app.account_orders import Asked


def asked_view(asked: "Asked") -> RenderableType:
    """Return what an order would do, before a person confirms it."""
    order, plan = asked.order, asked.plan
    if order.action is Action.WITHDRAW:
        bound = f"for at least {plan.because} ({usd(plan.least_usd)}), fees on top"
    else:
        bound = f"with {plan.because} ({usd(plan.most_usd)})"
    until = f"; valid until {when(order.valid_until_s)} UTC"
    return hanging("order: ", Text(f"{order_words(order)} {bound}{until}"))


def account_line(outcome: AccountOutcome) -> RenderableType:
    """Return what became of an order on a position or loan; a refused one says why."""
    done = outcome.status is LegStatus.FILLED
    said = ", ".join(map(_moved_words, outcome.moved)) if done else outcome.because
    gas = f", gas {usd(outcome.gas_usd)}" if outcome.gas_usd else ""
    words = f"{order_words(outcome.order)}: {outcome.status}: {said}{gas}"
    return hanging(f"{when(outcome.at_s)}  ", Text(words, style="bold" if done else "yellow"))


def order_words(order: AccountOrder) -> str:
    """Return what is ordered: "withdraw 50.0 % of v3:1", "repay $600 of loan"."""
    if order.action is Action.WITHDRAW:
        return f"{order.action} {percent(order.part)} of {order.subject}"
    return f"{order.action} {order.subject}, {usd(order.amount_usd)}"


def _moved_words(item: Moved) -> str:
    if math.isnan(item.units):
        return f"{item.asset} came (its amount leaves no event)"
    return f"{abs(item.units):,.6g} {item.asset} {'came' if item.units >= 0.0 else 'paid'}"
