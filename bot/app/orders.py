"""Orders of the past and of now, from a journal; and the pause that stops new ones."""

import getpass
import time
from dataclasses import dataclass

from bot.app.signer_place import pause_folders
from bot.app.stores import open_journal
from bot.chain.pause import Pause, end_pause, first_pause, write_pause
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.model.intent import IntentEvent
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
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
    perpetual_outcomes: tuple[PerpetualOutcome, ...] = ()
    open_perpetuals: tuple[PerpetualOrder, ...] = ()
    cover_outcomes: tuple[CoverOutcome, ...] = ()
    open_covers: tuple[CoverOrder, ...] = ()


def history(settings: Settings, *, mode: str) -> History:
    """Return every order of a mode. Raises NotFoundError where no run has begun."""
    asked = Desk(settings.state_dir, mode=mode).requests()
    with open_journal(settings, mode=mode, read_only=True) as journal:
        return History(
            outcomes=journal.outcomes(),
            open_legs=journal.open_legs(),
            intents=journal.intents(),
            waiting=tuple(text for _, item in asked for text in _words(item)),
            account_outcomes=journal.account_outcomes(),
            open_account_orders=journal.open_account_orders(),
            perpetual_outcomes=journal.perpetual_outcomes(),
            open_perpetuals=journal.open_perpetuals(),
            cover_outcomes=journal.cover_outcomes(),
            open_covers=journal.open_covers(),
        )


def _words(asked: Request | str) -> tuple[str, ...]:
    if isinstance(asked, str):
        return (asked,)
    legs = (f"{leg.side} {leg.instrument.label}" for leg in asked.legs)
    orders = (f"{order.action} {order.subject}" for order in asked.account_orders)
    perpetuals = (f"{order.action} {order.perpetual.id}" for order in asked.perpetuals)
    covers = (f"cover of {order.group}" for order in asked.covers)
    return tuple(f"asked for by {asked.by}: {text}" for text in (*legs, *orders, *perpetuals, *covers))


def pause(settings: Settings, *, why: str) -> Pause:
    """Put a pause in force and return the one that is; an older one stays."""
    who = getpass.getuser()
    return write_pause(settings.state_dir, Pause(who=who, at_s=time.time(), why=why))


def pause_in_force(settings: Settings) -> Pause | None:
    return first_pause(pause_folders(settings))


def resume(settings: Settings) -> Pause | None:
    """End the pause and return it, None when there was none.

    Raises ConfigError where it cannot: one that a signer under a user of its own wrote is that user's to end.
    """
    ended = [end_pause(folder) for folder in pause_folders(settings)]
    return next(filter(None, ended), None)
