"""Has one order of a person done: by the bot that runs or, where none does, at once."""

import asyncio
import math
from collections.abc import Callable, Iterable

from bot.app.filling import SIGNING_MODES
from bot.app.live import open_bot
from bot.app.look import Look
from bot.app.stores import open_journal
from bot.errors import ConfigError, DeadlineError
from bot.pipeline.desk import Desk, Request
from bot.pipeline.loop import Pipeline
from bot.pipeline.orders import Outcome
from bot.ports import Journal

_LOOK_EVERY_S = 0.5
_GRACE_S = 60.0  # after its valid-until time an order that was begun still comes to its end


def check_mode(mode: str, doing: str) -> None:
    """Raise ConfigError for a mode that signs nothing."""
    if mode not in SIGNING_MODES:
        name = mode.replace("-", " ")
        raise ConfigError(f"a {name} {doing} nothing; ask with --mode live where the bot signs")


async def have_done(
    look: Look,
    request: Request,
    *,
    ended: Callable[[Journal], Iterable[Outcome]],
    news: Callable[[Pipeline], Iterable[Outcome]],
    key_of: Callable[[Outcome], str],
) -> Outcome:
    """Have a request of one order done and return what became of it.

    ``ended`` are the closed orders of a journal, ``news`` what this run heard. Raises DeadlineError where
    the running bot has not ended it in time: it is in its journal then, or waits.
    """
    if look.running:
        Desk(look.settings.state_dir, mode=look.mode).leave(request)
        return await _followed(look, request, ended, key_of)
    async with open_bot(look.settings, mode=look.mode, policy=look.policy) as bot:
        block = await bot.reader.head()
        moment = await bot.source.cut(block, now_s=bot.source.clock(block))
        await bot.pipeline.order(request, moment)
        heard = tuple(news(bot.pipeline))
    found = next((item for item in heard if key_of(item) == request.key), None)
    if found is None:
        raise ConfigError(
            f"order {request.key} waits: an earlier one in its way is still open; see alvh history"
        )
    return found


async def _followed(
    look: Look,
    request: Request,
    ended: Callable[[Journal], Iterable[Outcome]],
    key_of: Callable[[Outcome], str],
) -> Outcome:
    """Follow the journal of the running bot until the order has come to its end."""
    wait_s = look.policy.orders.valid_for + _GRACE_S
    for _ in range(math.ceil(wait_s / _LOOK_EVERY_S)):
        with open_journal(look.settings, mode=look.mode, read_only=True) as journal:
            found = next((item for item in ended(journal) if key_of(item) == request.key), None)
        if found is not None:
            return found
        await asyncio.sleep(_LOOK_EVERY_S)
    raise DeadlineError(
        f"the {look.mode} bot has not ended order {request.key} within {wait_s:.0f} s; "
        "see alvh status and alvh history"
    )
