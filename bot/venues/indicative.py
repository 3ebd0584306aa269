"""Indicative quotes from a public option book, so that a dry run on a mainnet position shows real premiums.

Nothing can be bought here: every quote says that it is indicative, and every leg is refused. PaperVenue
wraps it as it wraps a venue that trades.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bot.errors import ConfigError, StaleDataError, TransientError
from bot.model.hedge import HedgeLeg, LegOutcome, OptionType, ParityTerms, Quote
from bot.model.units import DAY_S, HOUR_S, YEAR_S, from_fixed, to_fixed_down
from bot.ports import MarketView, VenuePosition, WebReader
from bot.quant import options
from bot.venues.booked import model_usd, rejected
from bot.venues.indicative_books import (
    DERIBIT_URL,
    DERIVE_URL,
    Contract,
    DeribitBook,
    DeriveBook,
    Listed,
    Offer,
    OptionBook,
    Snapshot,
)
from bot.venues.option_quotes import Refusal

BOOK_URLS = {"deribit": DERIBIT_URL, "derive": DERIVE_URL}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicativeTerms:
    """What is read of a book, and when it is believed."""

    underlyings: tuple[str, ...] = ("ETH",)
    option_types: tuple[OptionType, ...] = tuple(OptionType)
    min_abs_delta: float = 0.02
    max_abs_delta: float = 0.6
    max_dte: float = 120.0
    most_books: int = 40  # options whose offers are read one by one; evenly thinned beyond
    book_ttl_s: float = 60.0
    listing_ttl_s: float = float(HOUR_S)
    quote_ttl_s: float = 300.0
    max_basis: float = 0.03  # the venue's index may differ from our price by this, fraction
    forward_fee: float = 0.0005  # of trading the underlying there, fraction: part of what S22 counts as cost
    parallel: int = 4

    def __post_init__(self) -> None:
        if not self.underlyings or not 0.0 <= self.min_abs_delta < self.max_abs_delta <= 1.0:
            raise ConfigError(
                "indicative: underlyings must be named and 0 <= min_abs_delta < max_abs_delta <= 1, "
                f"were {self.min_abs_delta} and {self.max_abs_delta}"
            )
        if self.most_books < 1 or self.parallel < 1 or not self.max_dte > 0 or not self.max_basis > 0:
            raise ConfigError("indicative: most_books and parallel must be >= 1, max_dte and max_basis > 0")


@dataclass(slots=True)
class _Cached:
    """The book of one underlying as it was at a time."""

    at_s: float
    snapshot: Snapshot
    offers: dict[str, tuple[Offer, ...] | str] = field(default_factory=dict)  # or why there are none


class IndicativeVenue:
    """Venue over a public book. It quotes; it holds nothing and executes nothing."""

    def __init__(self, *, web: WebReader, book: OptionBook, terms: IndicativeTerms | None = None) -> None:
        self._web = web
        self._book = book
        self._terms = terms or IndicativeTerms()
        self._contracts: dict[str, tuple[float, Mapping[str, Contract]]] = {}
        self._cached: dict[str, _Cached] = {}
        self._refusals: tuple[Refusal, ...] = ()
        self._one_read = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._book.name

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Options in the wanted band that the last ``quotes`` call could not quote, and why."""
        return self._refusals

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return indicative buy quotes at about ``size`` contracts.

        Raises TransientError when the book cannot be read, StaleDataError when its index is not our price.
        """
        self._refusals = ()
        if underlying not in self._terms.underlyings:
            return ()
        async with self._one_read:
            cached = await self._snapshot(view, underlying)
            self._check_basis(view, underlying, cached.snapshot.index_usd)
            wanted = self._wanted(cached.snapshot, now_s=view.now_s)
            await self._read_offers(cached, wanted)
        found: list[Quote] = []
        refusals: list[Refusal] = []
        for listed in wanted:
            made = self._quote(listed, cached, view, size=size)
            if isinstance(made, Quote):
                found.append(made)
            else:
                refusals.append(made)
        self._refusals = tuple(refusals)
        return tuple(found)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:  # noqa: ARG002 - as the port asks
        return ()

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Refuse: these quotes only show what protection would cost."""
        return self._never(leg, view)

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        return self._never(leg, view)

    def _never(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        because = f"{self.name}: quotes of its public book are indicative, nothing can be traded on them"
        return rejected(leg, at_s=view.now_s, because=because)

    async def _snapshot(self, view: MarketView, underlying: str) -> _Cached:
        cached = self._cached.get(underlying)
        if cached is not None and 0.0 <= view.now_s - cached.at_s < self._terms.book_ttl_s:
            return cached
        snapshot = await self._book.snapshot(
            self._web,
            await self._listing(view, underlying),
            underlying=underlying,
            now_s=view.now_s,
            until_s=view.now_s + self._terms.max_dte * DAY_S,
        )
        self._cached[underlying] = _Cached(view.now_s, snapshot)
        return self._cached[underlying]

    async def _listing(self, view: MarketView, underlying: str) -> Mapping[str, Contract]:
        at_s, contracts = self._contracts.get(underlying, (-math.inf, {}))
        if not 0.0 <= view.now_s - at_s < self._terms.listing_ttl_s:
            contracts = await self._book.contracts(self._web, underlying=underlying)
            self._contracts[underlying] = (view.now_s, contracts)
        return contracts

    def _check_basis(self, view: MarketView, underlying: str, index_usd: float) -> None:
        spot_usd = view.spot_usd.get(underlying, math.nan)
        basis = index_usd / spot_usd - 1.0 if spot_usd > 0.0 else math.nan
        if not abs(basis) <= self._terms.max_basis:  # also refuses NaN
            raise StaleDataError(
                f"{self.name}: its {underlying} index is {index_usd:.2f} USD, our price {spot_usd:.2f}, "
                f"allowed is a difference of {self._terms.max_basis:.0%}"
            )

    def _wanted(self, snapshot: Snapshot, *, now_s: float) -> list[Listed]:
        """Return the options of the wanted kinds and deltas, evenly thinned to ``most_books``."""
        terms = self._terms
        band = [
            item
            for item in snapshot.options
            if item.contract.instrument.option_type in terms.option_types
            and terms.min_abs_delta <= abs(_delta(item, now_s)) <= terms.max_abs_delta
        ]
        band.sort(key=lambda item: (item.contract.instrument.expiry_s, item.contract.instrument.strike_usd))
        if len(band) <= terms.most_books:
            return band
        places = np.unique(np.linspace(0, len(band) - 1, terms.most_books).round().astype(int))
        return [band[place] for place in places]

    async def _read_offers(self, cached: _Cached, wanted: Iterable[Listed]) -> None:
        """Fill in what is for sale; an option whose book cannot be read keeps the reason."""
        gate = asyncio.Semaphore(self._terms.parallel)

        async def fill(listed: Listed) -> None:
            name = listed.contract.instrument.id
            if name in cached.offers:
                return
            async with gate:
                try:
                    cached.offers[name] = await self._book.offers(
                        self._web, listed, index_usd=cached.snapshot.index_usd, now_s=cached.at_s
                    )
                except TransientError as error:
                    cached.offers[name] = str(error)

        await asyncio.gather(*map(fill, wanted))

    def _quote(self, listed: Listed, cached: _Cached, view: MarketView, *, size: float) -> Quote | Refusal:
        contract = listed.contract
        offers = cached.offers[contract.instrument.id]
        if isinstance(offers, str):
            return Refusal(instrument=contract.instrument, because=offers)
        liquidity = math.fsum(offer.contracts for offer in offers)
        contracts = max(_whole(min(size, liquidity), contract.lot), contract.min_size)
        if not contracts <= liquidity:
            return Refusal(instrument=contract.instrument, because=f"{liquidity:g} contracts are for sale")
        taken, index_usd = _taken(offers, contracts), cached.snapshot.index_usd
        fees_usd = [contract.fee_order_usd, *(contract.fee_usd(each, index_usd=index_usd) for each in taken)]
        fee_usd, price_usd = math.fsum(fees_usd), math.fsum(each.usd * each.contracts for each in taken)
        worth = _worth(contract, view)
        return Quote(
            instrument=contract.instrument,
            size=contracts,
            premium_usd=(price_usd + fee_usd) * worth,
            fee_usd=fee_usd * worth,
            gas_usd=0.0,
            swap_usd=0.0,
            iv=listed.iv,
            delta=_delta(listed, view.now_s) * contract.instrument.multiplier,
            model_usd=model_usd(
                contract.instrument,
                size=contracts,
                spot_usd=view.spot_usd[contract.instrument.underlying],
                iv=listed.iv,
                now_s=view.now_s,
            ),
            min_size=contract.min_size,
            lot=contract.lot,
            liquidity=liquidity,
            valid_until_s=view.now_s + self._terms.quote_ttl_s,
            block_number=view.block.number if view.block else 0,
            indicative=True,
            on_paper=True,
            because=_because(self.name, listed, view),
            parity=_parity(listed, offers, worth, fee=self._terms.forward_fee),
        )


def indicative_book(kind: str, *, base_url: str = "") -> DeribitBook | DeriveBook:
    """Return a named public book; the client takes its rate from it. Raises ConfigError."""
    books: dict[str, type[DeribitBook] | type[DeriveBook]] = {"deribit": DeribitBook, "derive": DeriveBook}
    if kind not in books:
        raise ConfigError(f"indicative venue must be one of {', '.join(books)}, was {kind!r}")
    return books[kind](base_url=base_url or BOOK_URLS[kind])


def indicative_venue(
    kind: str, web: WebReader, *, terms: IndicativeTerms | None = None, base_url: str = ""
) -> IndicativeVenue:
    """Return the venue over a named public book. Raises ConfigError for one that is not known."""
    return IndicativeVenue(web=web, book=indicative_book(kind, base_url=base_url), terms=terms)


def _because(name: str, listed: Listed, view: MarketView) -> str:
    settlement = listed.contract.instrument.settlement
    bid = f"bid {listed.bid_usd:.2f} USD" if math.isfinite(listed.bid_usd) else "no bid"
    at_par = listed.contract.instrument.underlying != settlement and settlement not in view.stable_usd
    taken = f", {settlement} taken as 1 USD" if at_par else ""
    return f"public book of {name}, {bid}{taken}; an account there would be needed"


def _worth(contract: Contract, view: MarketView) -> float:
    """Return what one USD of the venue's prices is worth: that of its stable, 1 where that has no price.

    Where the price is configured but unknown the engine refuses the quote by itself (R10). An inverse option
    is paid in the underlying, which the index has turned into USD already.
    """
    if contract.instrument.settlement == contract.instrument.underlying:
        return 1.0
    found = view.stable_usd.get(contract.instrument.settlement, 1.0)
    return found if math.isfinite(found) else 1.0


def _parity(listed: Listed, offers: Iterable[Offer], worth: float, *, fee: float) -> ParityTerms | None:
    """Return the middle of bid and best offer beside the venue's own forward; None without a sound bid."""
    best = min(offers, default=None)
    if best is None or not 0.0 < listed.bid_usd <= best.usd:
        return None
    return ParityTerms(
        mid_usd=(listed.bid_usd + best.usd) / 2.0 * worth / listed.contract.instrument.multiplier,
        forward_usd=listed.forward_usd,
        discount=listed.discount * worth,
        forward_cost_usd=fee * listed.forward_usd * worth,
    )


def _taken(offers: Iterable[Offer], contracts: float) -> list[Offer]:
    """Return what is bought of each offer, cheapest first."""
    taken, left = [], contracts
    for offer in offers:
        if left <= 0.0:
            break
        part = min(offer.contracts, left)
        taken.append(Offer(offer.usd, part))
        left -= part
    return taken


def _whole(size: float, lot: float) -> float:
    """Round down to whole lots, in decimal where a lot is a power of ten, so that 0.3 stays 0.3."""
    digits = max(round(-math.log10(lot)), 0)
    lots = math.floor(size / lot + 1e-9)
    return from_fixed(to_fixed_down(lots * lot + 1e-12, decimals=digits), decimals=digits)


def _delta(listed: Listed, now_s: float) -> float:
    """Return the delta of one contract's unit to the forward, signed."""
    instrument = listed.contract.instrument
    return float(
        options.delta(
            listed.forward_usd,
            instrument.strike_usd,
            max(instrument.expiry_s - now_s, 0.0) / YEAR_S,
            listed.iv,
            is_put=instrument.option_type is OptionType.PUT,
        )
    )
