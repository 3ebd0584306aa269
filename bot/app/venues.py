"""`alvh venues`: where a hedge can be had, what each place can do, and what this configuration has of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bot.app.live import TEST_CHAINS
from bot.deployments import known
from bot.deployments.places import VenuePlace, venue_places
from bot.errors import NotFoundError
from bot.model.venue import VenueCapabilities
from bot.settings import Settings
from bot.venues.capabilities import CAPABILITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A venue on one chain."""

    chain_id: int
    chain: str  # "OP Mainnet"
    is_test: bool  # coins there are worth nothing
    status: str  # "alive", "legacy", "closed", "yours"
    because: str
    contracts: int  # known addresses
    source: str
    date: str
    is_configured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRow:
    """A venue and all its places."""

    capabilities: VenueCapabilities
    places: tuple[Place, ...]

    @property
    def is_configured(self) -> bool:
        return any(place.is_configured for place in self.places)


def list_venues(settings: Settings | None, *, chain_id: int | None = None) -> tuple[VenueRow, ...]:
    """Return every venue, or those on one chain. Raises NotFoundError where there is none."""
    rows = []
    for name, capabilities in CAPABILITIES.items():
        on_chains = configured_chains(settings, name) if settings is not None else frozenset()
        listed = [place for place in venue_places() if place.venue == name]
        places = [*(_listed(place, on_chains) for place in listed), *_own(listed, on_chains)]
        if chain_id is not None:
            places = [place for place in places if place.chain_id == chain_id]
        if places:
            rows.append(VenueRow(capabilities=capabilities, places=tuple(places)))
    if not rows:
        raise NotFoundError(f"no venue on chain {chain_id} is known or configured; `alvh venues` lists all")
    return tuple(rows)


def configured_chains(settings: Settings, venue: str) -> frozenset[int]:
    """Return the ids of the chains on which a configuration has a venue."""
    find = _CONFIGURED.get(venue)
    if find is not None:
        return frozenset(find(settings))
    section = getattr(settings, venue, None)  # a venue's section has its name
    return frozenset({settings.chain.id} if section else ())


def _derive(settings: Settings) -> Iterable[int]:
    return [settings.derive.listed.domain.chain_id] if settings.derive is not None else []


def _liquidity(settings: Settings) -> Iterable[int]:
    return (settings.chain_of(item) for item in settings.positions)


def _loans(settings: Settings) -> Iterable[int]:
    return (settings.chain_of(item) for item in settings.watch if item.kind == "aave_v3")


_CONFIGURED: Mapping[str, Callable[[Settings], Iterable[int]]] = {
    "derive": _derive,
    "uniswap": _liquidity,
    "aave_v3": _loans,
}


def _listed(place: VenuePlace, on_chains: frozenset[int]) -> Place:
    chain = known(place.chain_id)
    names = [name for name in chain.contracts if name.startswith(place.contracts)]
    return Place(
        chain_id=place.chain_id,
        chain=chain.chain,
        is_test=place.chain_id in TEST_CHAINS,
        status=place.status,
        because=place.because,
        contracts=len(names),
        source=place.source,
        date=place.date,
        is_configured=place.chain_id in on_chains,
    )


def _own(listed: Iterable[VenuePlace], on_chains: frozenset[int]) -> list[Place]:
    """Return places that only the configuration knows, such as one of `alvh testnet deploy`."""
    unlisted = sorted(on_chains - {place.chain_id for place in listed})
    return [
        Place(
            chain_id=number,
            chain=TEST_CHAINS.get(number, known(number).chain),
            is_test=number in TEST_CHAINS,
            status="yours",
            because="no known deployment; the configuration names its contracts",
            contracts=0,
            source="configuration",
            date="",
            is_configured=True,
        )
        for number in unlisted
    ]
