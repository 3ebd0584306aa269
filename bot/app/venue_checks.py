"""What ``alvh doctor`` says of the venues: each is asked for what it would sell now."""

import asyncio
from collections.abc import Awaitable, Callable, Sized
from functools import partial

from bot.app.checks import Check, checked, ok, skipped, warn
from bot.app.one_moment import moment_at
from bot.app.parts import position_readers, web_client
from bot.app.quoting import Market, indicative_venue, open_quoting
from bot.chain.reader import JsonRpcReader
from bot.engine.policy import Policy
from bot.errors import BotError
from bot.pipeline.loop import quote_sizes, view_of
from bot.ports import Venue
from bot.settings import Settings, load_policy

Quotes = Callable[..., Awaitable[Sized]]
_NONE = "none is configured: plans and runs have no price of any protection"


async def check_venues(settings: Settings, reader: JsonRpcReader | BotError) -> tuple[Check, ...]:
    """Ask every venue that trades for quotes; the public book has a row of its own."""
    if isinstance(reader, BotError):
        return (skipped("venues", "the home chain could not be read"),)
    policy = load_policy(settings.policy)
    async with web_client(settings) as web, open_quoting(settings, reader, web, policy) as market:
        book = indicative_venue(settings, web)
        options = [item for item in market.options if book is None or item.name != book.name]
        if not options and market.perpetual is None:
            none = warn("venues", _NONE, "add [indicative], or the section of a venue")
            return () if book is not None else (none,)
        return await _asked(settings, reader, policy, options, market)


async def _asked(
    settings: Settings, reader: JsonRpcReader, policy: Policy, options: list[Venue], market: Market
) -> tuple[Check, ...]:
    try:
        moment = await moment_at(settings, reader, position_readers(settings), await reader.head())
    except BotError as error:
        return (skipped("venues", f"no price to ask them at: {error}"),)
    view = view_of(moment)
    sizes = quote_sizes(policy, moment.exposures, view) or dict.fromkeys(view.spot_usd, 1.0)
    checks = [_sells(item.name, "options", sizes, partial(item.quotes, view)) for item in options]
    if (desk := market.perpetual) is not None:
        checks.append(_sells(desk.name, "perpetuals", sizes, partial(desk.perpetual_quotes, view)))
    return tuple(await asyncio.gather(*checks))


async def _sells(name: str, what: str, sizes: dict[str, float], quotes: Quotes) -> Check:
    """Ask a venue for its quotes of each underlying at the size that a run would ask for."""

    async def read() -> Check:
        counts = {item: len(await quotes(underlying=item, size=size)) for item, size in sizes.items()}
        return _counted(f"venue {name}", counts, what)

    return await checked(f"venue {name}", read(), mend="see docs/venues.md, or remove its section")


def _counted(name: str, counts: dict[str, int], what: str) -> Check:
    words = ", ".join(f"{what} on {underlying}: {count}" for underlying, count in counts.items())
    if not any(counts.values()):
        return warn(name, f"offers nothing now: {words or 'nothing is protected'}", "alvh quote says why")
    return ok(name, words)
