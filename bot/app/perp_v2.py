"""Puts the venue of perpetuals together from the settings."""

from collections.abc import Mapping, Sequence

from bot.chain.reader import JsonRpcReader
from bot.ports import Journal, PerpetualVenue, Proposer, Transactor
from bot.settings.perp_v2 import PerpV2Settings
from bot.venues.paired import PairVenue
from bot.venues.paper_pair import parts_of
from bot.venues.paper_perpetual import paper_perpetual_venues
from bot.venues.perp_v2 import perp_v2_venue
from bot.venues.planned import PlannedVenue
from bot.venues.planned_perpetual import PlannedPerpetualVenue


def perpetual_venue(
    found: PerpV2Settings | None,
    reader: JsonRpcReader,
    *,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
) -> PlannedPerpetualVenue | None:
    """Return the configured market's venue, None where none is. Without ``custody`` it only quotes."""
    if found is None:
        return None
    return perp_v2_venue(
        reader=reader, contracts=found.contracts, custody=custody, account=account, terms=found.terms
    )


def perpetual_venues(
    venue: PerpetualVenue | None, journal: Journal, *, mode: str
) -> Mapping[str, PerpetualVenue]:
    """Return the venues by name; of a dry run, a paper one with what its journal says it holds."""
    if venue is None:
        return {}
    if mode == "dry-run":
        _, paired = parts_of(journal.outcomes())
        earlier = sorted([*journal.perpetual_outcomes(), *paired], key=lambda item: item.at_s)
        return paper_perpetual_venues([venue], earlier=earlier)
    return {venue.name: venue}


def pair_venues(
    options: Sequence[PlannedVenue],
    perpetual: PlannedPerpetualVenue | None,
    reader: JsonRpcReader,
    *,
    custody: Transactor | Proposer,
) -> tuple[PairVenue, ...]:
    """Return the venues that fill an option in two parts (R27): each option venue with the perpetual's.

    Without one for a pair of venues the engine offers no conversion there. Those whose orders are messages,
    or wait for somebody, are left out: a part would stand alone meanwhile. In a dry run ``paper_pairs``
    stands for them.
    """
    if perpetual is None:
        return ()
    return tuple(
        PairVenue(
            option.adapter,
            perpetual.adapter,
            reader=reader,
            money=option.money,
            custody=custody,
            swap=option.swap,
        )
        for option in options
        if not (option.sends_messages or option.adapter.goes_on_after)
    )
