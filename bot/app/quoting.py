"""Where quotes come from in each mode: the venue that trades, and a public book beside it that never does."""

from bot.app.parts import lyra_venue
from collections.abc import Sequence

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


def quoting_venues(
    settings: Settings, reader: JsonRpcReader, web: WebReader, policy: Policy
) -> tuple[Venue, ...]:
    """Return the venues that are asked for quotes where nothing is signed."""
    found = (lyra_venue(settings, reader, policy, custody=None), indicative_venue(settings, web))
    return tuple(item for item in found if item is not None)


def by_name(venues: Sequence[Venue], journal: Journal, *, mode: str) -> dict[str, Venue]:
    """Return the venues by name; of a dry run, paper ones over them with what its journal says they hold."""
    if mode == "dry-run":
        return paper_venues(venues, earlier=journal.outcomes())
    return {item.name: item for item in venues}
