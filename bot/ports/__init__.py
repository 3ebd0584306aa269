"""What the pipeline asks of the outside. Protocols only; bot/app picks who implements them."""

from bot.ports.adapters import AccountAdapter, PerpetualAdapter, VenueAdapter
from bot.ports.journal import Journal
from bot.ports.reading import (
    BlockLog,
    Call,
    ChainReader,
    FeeHistory,
    PositionReader,
    Watcher,
    WebReader,
    WebSource,
)
from bot.ports.sending import Messenger, Proposer, Transactor
from bot.ports.venues import AccountVenue, CoverVenue, MarketView, PerpetualVenue, Venue, VenuePosition

__all__ = [
    "AccountAdapter",
    "AccountVenue",
    "BlockLog",
    "Call",
    "ChainReader",
    "CoverVenue",
    "FeeHistory",
    "Journal",
    "MarketView",
    "Messenger",
    "PerpetualAdapter",
    "PerpetualVenue",
    "PositionReader",
    "Proposer",
    "Transactor",
    "Venue",
    "VenueAdapter",
    "VenuePosition",
    "Watcher",
    "WebReader",
    "WebSource",
]
