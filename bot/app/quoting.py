"""Where quotes come from in each mode: the venue that trades, and a public book beside it that never does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from bot.app.derive import quoting_derive
from bot.app.trading import trading_venues
from bot.chain.reader import JsonRpcReader
from bot.engine.policy import Policy
from bot.ports import Journal, Venue, WebReader
from bot.settings import Settings
from bot.venues.indicative import IndicativeVenue, indicative_book
from bot.venues.paper import paper_venues


def indicative_venue(settings: Settings, web: WebReader) -> IndicativeVenue | None:
    """Return the venue over the configured public book, None when there is none."""
    wanted = settings.indicative
    if wanted is None:
        return None
    book = indicative_book(wanted.venue, base_url=wanted.base_url)
    return IndicativeVenue(web=web, book=book, terms=wanted.terms)


@asynccontextmanager
async def open_quoting(
    settings: Settings, reader: JsonRpcReader, web: WebReader, policy: Policy
) -> AsyncIterator[tuple[Venue, ...]]:
    """Open the venues that are asked for quotes where nothing is signed."""
    async with AsyncExitStack() as stack:
        found: list[Venue] = list(trading_venues(settings, reader, policy, custody=None).options)
        if settings.derive is not None:
            found.append(await stack.enter_async_context(quoting_derive(settings.derive, reader=reader)))
        shown = indicative_venue(settings, web)
        yield (*found, *((shown,) if shown is not None else ()))


def by_name(venues: Sequence[Venue], journal: Journal, *, mode: str) -> dict[str, Venue]:
    """Return the venues by name; of a dry run, paper ones over them with what its journal says they hold."""
    if mode == "dry-run":
        return paper_venues(venues, earlier=journal.outcomes())
    return {item.name: item for item in venues}
