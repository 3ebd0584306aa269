"""Where hedges are traded. Adding a venue is one file and one line here."""

from bot.ports import Venue, VenueAdapter
from bot.venues.derive import DeriveAdapter
from bot.venues.hegic import HegicAdapter
from bot.venues.lyra import LyraAdapter
from bot.venues.opyn import OpynAdapter
from bot.venues.panoptic import PanopticAdapter
from bot.venues.paper import PaperVenue
from bot.venues.simulated import SimulatedVenue

VENUES: dict[str, type[Venue] | type[VenueAdapter]] = {
    "derive": DeriveAdapter,
    "hegic": HegicAdapter,
    "lyra": LyraAdapter,
    "opyn": OpynAdapter,
    "panoptic": PanopticAdapter,
    "paper": PaperVenue,
    "simulated": SimulatedVenue,
}
