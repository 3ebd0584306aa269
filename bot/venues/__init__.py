"""Where hedges are traded. Adding a venue is one file and one line here."""

from bot.ports import Venue, VenueAdapter
from bot.venues.lyra import LyraAdapter
from bot.venues.paper import PaperVenue
from bot.venues.simulated import SimulatedVenue

VENUES: dict[str, type[Venue] | type[VenueAdapter]] = {
    "lyra": LyraAdapter,
    "paper": PaperVenue,
    "simulated": SimulatedVenue,
}
