"""A person's orders on what is protected: withdraw a position (R29), top up or repay a loan (R21).

They go the way of every order (bot/app/manual.py): by the bot that runs or, where none does, at once; and
they stay possible while paused, since all of them reduce risk. What would be asked for at least is shown
before a person confirms it.
"""

import getpass
import math
import re
import time
from dataclasses import dataclass

from bot.app.by_hand import check_mode as check_mode
from bot.app.by_hand import have_done
from bot.app.look import Look
from bot.errors import ConfigError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.base_layers import Action
from bot.model.execution import ExecutionPlan
from bot.pipeline.desk import Request
from bot.pipeline.moments import view_of

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One order, and what it would do now."""

    order: AccountOrder
    plan: ExecutionPlan

    @property
    def request(self) -> Request:
        return Request(legs=(), by=getpass.getuser(), account_orders=(self.order,))


async def exiting(look: Look, position: str, *, part: float) -> Asked:
    """Return the order that withdraws a part of a position, a fraction. Raises VenueRejected."""
    exposure = next((item for item in look.frame.exposures if item.id == position), None)
    group = exposure.group if exposure is not None else position
    return await _asked(look, Action.WITHDRAW, position, group=group, part=part)


async def paying(look: Look, action: Action, loan: str, *, usd: float) -> Asked:
    """Return the order that pays so much for a loan. Raises VenueRejected."""
    return await _asked(look, action, loan, group=loan, amount_usd=usd)


async def carry_out(look: Look, asked: Asked) -> AccountOutcome:
    """Have an order done and return what became of it. Raises DeadlineError; see ``have_done``."""
    return await have_done(
        look,
        asked.request,
        ended=lambda journal: journal.account_outcomes(),
        news=lambda pipeline: pipeline.accounts.news(),
        key_of=lambda outcome: outcome.order.key,
    )


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
