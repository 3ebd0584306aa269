"""Where hedges are traded. Adding a venue is one file and one line here."""

from bot.ports import PerpetualAdapter, PerpetualVenue, Venue, VenueAdapter
from bot.venues.derive import DeriveAdapter
from bot.venues.hegic import HegicAdapter
from bot.venues.lyra import LyraAdapter
from bot.venues.nexus import NexusAdapter
from bot.venues.opyn import OpynAdapter
from bot.venues.panoptic import PanopticAdapter
from bot.venues.paper import PaperVenue
from bot.venues.paper_perpetual import PaperPerpetualVenue
from bot.venues.perp_v2 import PerpV2Adapter
from bot.venues.simulated import SimulatedVenue
from bot.venues.simulated_perpetual import SimulatedPerpetualVenue

VENUES: dict[str, type[Venue] | type[VenueAdapter]] = {
    "derive": DeriveAdapter,
    "hegic": HegicAdapter,
    "lyra": LyraAdapter,
    "opyn": OpynAdapter,
    "panoptic": PanopticAdapter,
    "paper": PaperVenue,
    "simulated": SimulatedVenue,
}

PERPETUAL_VENUES: dict[str, type[PerpetualVenue] | type[PerpetualAdapter]] = {
    "perp_v2": PerpV2Adapter,
    "paper": PaperPerpetualVenue,
    "simulated": SimulatedPerpetualVenue,
}

COVER_VENUES: dict[str, type[NexusAdapter]] = {
    "nexus": NexusAdapter,
}
