"""A person's orders on what is protected: withdraw a position (R29), top up or repay a loan (R21).

They go the way of every order (bot/app/manual.py): by the bot that runs or, where none does, at once; and
they stay possible while paused, since all of them reduce risk. What would be asked for at least is shown
before a person confirms it.
"""

import asyncio
import getpass
import math
import re
import time
from dataclasses import dataclass

from bot.app.live import SIGNING_MODES, open_bot
from bot.app.look import Look
from bot.app.stores import open_journal
from bot.errors import ConfigError, DeadlineError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.base_layers import Action
from bot.model.execution import ExecutionPlan
from bot.pipeline.desk import Desk, Request
from bot.pipeline.moments import view_of

_LOOK_EVERY_S = 0.5
_GRACE_S = 60.0  # after its valid-until time an order that was begun still comes to its end
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One order, and what it would do now."""

    order: AccountOrder
    plan: ExecutionPlan

    @property
    def request(self) -> Request:
        return Request(legs=(), by=getpass.getuser(), account_orders=(self.order,))


def check_mode(mode: str, doing: str) -> None:
    """Raise ConfigError for a mode that signs nothing."""
    if mode not in SIGNING_MODES:
        name = mode.replace("-", " ")
        raise ConfigError(f"a {name} {doing} nothing; ask with --mode live where the bot signs")


async def exiting(look: Look, position: str, *, part: float) -> Asked:
    """Return the order that withdraws a part of a position, a fraction. Raises VenueRejected."""
    exposure = next((item for item in look.frame.exposures if item.id == position), None)
    group = exposure.group if exposure is not None else position
    return await _asked(look, Action.WITHDRAW, position, group=group, part=part)


async def paying(look: Look, action: Action, loan: str, *, usd: float) -> Asked:
    """Return the order that pays so much for a loan. Raises VenueRejected."""
    return await _asked(look, action, loan, group=loan, amount_usd=usd)


async def carry_out(look: Look, asked: Asked) -> AccountOutcome:
    """Have an order done and return what became of it.

    Raises DeadlineError where the running bot has not ended it in time: it is in its journal then, or waits.
    """
    if look.running:
        Desk(look.settings.state_dir, mode=look.mode).leave(asked.request)
        return await _outcome_of(look, asked.order)
    async with open_bot(look.settings, mode=look.mode, policy=look.policy) as bot:
        block = await bot.reader.head()
        moment = await bot.source.cut(block, now_s=bot.source.clock(block))
        await bot.pipeline.order(asked.request, moment)
        news = bot.pipeline.accounts.news()
    found = next((item for item in news if item.order.key == asked.order.key), None)
    if found is None:
        raise ConfigError(
            f"order {asked.order.key} waits: an earlier one of {asked.order.group} is still open; "
            "see alvh history"
        )
    return found


async def _asked(
    look: Look,
    action: Action,
    subject: str,
    *,
    group: str,
    part: float = 1.0,
    amount_usd: float = 0.0,
) -> Asked:
    if look.accounts is None:
        raise ConfigError(f"{subject}: no [[positions]] and no [[loans]] are configured")
    order = AccountOrder(
        key=f"manual.{time.time_ns()}-{re.sub(r'[^A-Za-z0-9._-]+', '.', subject)}-{action.name}",
        group=group,
        action=action,
        subject=subject,
        part=part,
        amount_usd=amount_usd,
        valid_until_s=look.moment.now_s + look.policy.orders.valid_for,
        because="asked for by hand",
    )
    view = view_of(look.moment, max_age_s=look.policy.holds.price_max_age)
    return Asked(order=order, plan=await look.accounts.plan(order, view=view))


def sum_of(usd: float) -> float:
    """Return a sum as it was named. Raises ConfigError unless it is over 0."""
    if not 0.0 < usd < math.inf:
        raise ConfigError(f"--usd {usd:g}: name what to pay, over 0")
    return usd


def part_of(text: str) -> float:
    """Return a part as a fraction. Raises ConfigError unless it is a percentage over 0 and at most 100."""
    match = _PART.fullmatch(text.strip())
    share = float(match[1]) / 100.0 if match is not None else math.nan
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"--part {text!r:.40}: name a percentage over 0% and at most 100%, as in 50%")
    return share


async def _outcome_of(look: Look, order: AccountOrder) -> AccountOutcome:
    """Follow the journal of the running bot until the order has come to its end."""
    wait_s = look.policy.orders.valid_for + _GRACE_S
    for _ in range(math.ceil(wait_s / _LOOK_EVERY_S)):
        with open_journal(look.settings, mode=look.mode, read_only=True) as journal:
            done = {item.order.key: item for item in journal.account_outcomes()}
        if order.key in done:
            return done[order.key]
        await asyncio.sleep(_LOOK_EVERY_S)
    raise DeadlineError(
        f"the {look.mode} bot has not ended order {order.key} within {wait_s:.0f} s; "
        "see alvh status and alvh history"
    )
