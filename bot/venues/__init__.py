"""Where hedges are traded. Adding a venue is one file and one line here."""

from bot.ports import Venue
from bot.venues.lyra import LyraVenue
from bot.venues.paper import PaperVenue
from bot.venues.simulated import SimulatedVenue

VENUES: dict[str, type[Venue]] = {
    "lyra": LyraVenue,
    "paper": PaperVenue,
    "simulated": SimulatedVenue,
}
