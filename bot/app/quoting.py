"""Where quotes come from in each mode: the venue that trades, and a public book beside it that never does."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bot.app.derive import quoting_derive
from bot.app.perp_v2 import perpetual_venues
from bot.app.trading import trading_venues
from bot.chain.reader import JsonRpcReader
from bot.engine.policy import Policy
from bot.ports import Journal, PerpetualVenue, Venue, WebReader
from bot.settings import Settings
from bot.venues.indicative import IndicativeVenue, indicative_book
from bot.venues.paper import paper_venues
from bot.venues.paper_pair import paper_pairs


def indicative_venue(settings: Settings, web: WebReader) -> IndicativeVenue | None:
    """Return the venue over the configured public book, None when there is none."""
    wanted = settings.indicative
    if wanted is None:
        return None
    book = indicative_book(wanted.venue, base_url=wanted.base_url)
    return IndicativeVenue(web=web, book=book, terms=wanted.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The venues of one run, before its mode says who fills."""

    options: Sequence[Venue]
    perpetual: PerpetualVenue | None = None
    pairs: Sequence[Venue] = ()  # that fill an option in two parts (R27) for real

    def named(
        self, journal: Journal, *, mode: str
    ) -> tuple[Mapping[str, Venue], Mapping[str, PerpetualVenue]]:
        """Return the venues by name; of a dry run, paper ones that hold what its journal says."""
        perpetuals = perpetual_venues(self.perpetual, journal, mode=mode)
        if mode == "dry-run":
            options = paper_venues(self.options, earlier=journal.outcomes())
            return {**options, **paper_pairs(list(options.values()), list(perpetuals.values()))}, perpetuals
        return {item.name: item for item in (*self.options, *self.pairs)}, perpetuals


@asynccontextmanager
async def open_quoting(
    settings: Settings, reader: JsonRpcReader, web: WebReader, policy: Policy
) -> AsyncIterator[Market]:
    """Open the venues that are asked for quotes where nothing is signed."""
    async with AsyncExitStack() as stack:
        trading = trading_venues(settings, reader, policy, custody=None)
        found: list[Venue] = list(trading.options)
        if settings.derive is not None:
            found.append(await stack.enter_async_context(quoting_derive(settings.derive, reader=reader)))
        shown = indicative_venue(settings, web)
        found += [shown] if shown is not None else []
        yield Market(options=found, perpetual=trading.perpetual)
