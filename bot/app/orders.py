"""Orders of the past and of now, from a journal; and the pause that stops new ones."""

import getpass
import time
from dataclasses import dataclass

from bot.app.stores import open_journal
from bot.chain.pause import Pause, end_pause, read_pause, write_pause
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.model.intent import IntentEvent
from bot.pipeline.desk import Desk, Request
from bot.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a journal says of orders. Oldest first."""

    outcomes: tuple[LegOutcome, ...]
    open_legs: tuple[HedgeLeg, ...]  # whose end is not known yet
    intents: tuple[IntentEvent, ...]  # every event of every transaction
    waiting: tuple[str, ...]  # asked for by hand, and not begun
    account_outcomes: tuple[AccountOutcome, ...] = ()  # of positions and loans
    open_account_orders: tuple[AccountOrder, ...] = ()


def history(settings: Settings, *, mode: str) -> History:
    """Return every order of a mode. Raises NotFoundError where no run has begun."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        outcomes, open_legs, intents = journal.outcomes(), journal.open_legs(), journal.intents()
        account_outcomes = journal.account_outcomes()
        open_account_orders = journal.open_account_orders()
    asked = Desk(settings.state_dir, mode=mode).requests()
    return History(
        outcomes=outcomes,
        open_legs=open_legs,
        intents=intents,
        waiting=tuple(text for _, item in asked for text in _words(item)),
        account_outcomes=account_outcomes,
        open_account_orders=open_account_orders,
    )


def _words(asked: Request | str) -> tuple[str, ...]:
    if isinstance(asked, str):
        return (asked,)
    legs = (f"{leg.side} {leg.instrument.label}" for leg in asked.legs)
    orders = (f"{order.action} {order.subject}" for order in asked.account_orders)
    return tuple(f"asked for by {asked.by}: {text}" for text in (*legs, *orders))


def pause(settings: Settings, *, why: str) -> Pause:
    """Put a pause in force and return the one that is; an older one stays."""
    who = getpass.getuser()
    return write_pause(settings.state_dir, Pause(who=who, at_s=time.time(), why=why))


def pause_in_force(settings: Settings) -> Pause | None:
    return read_pause(settings.state_dir)


def resume(settings: Settings) -> Pause | None:
    """End the pause and return it, None when there was none."""
    return end_pause(settings.state_dir)
