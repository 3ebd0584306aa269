"""A venue that signs nothing: it fills at a real venue's quotes and keeps the positions itself.

Purchases cost what the real venue asks for exactly that size, swap and gas included. Sales bring the model
value at the real venue's mark vol less a haircut whose source `SaleTerms` names, since a position that
nobody holds cannot be quoted for sale. After expiry the last known price at or before expiry settles.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bot.errors import StaleDataError, TransientError
from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, Quote, Side
from bot.ports import MarketView, Venue, VenuePosition
from bot.venues.booked import (
    SIZE_TOLERANCE,
    BookedPosition,
    BookedPositions,
    Fill,
    SaleTerms,
    marked,
    rejected,
    sale_fill,
    settlement_fill,
    settlement_spot,
)
from bot.venues.indicative import BOOK_URLS
from bot.venues.paper_pair import parts_of

SHOWN_SALE = SaleTerms(source="12 % under the model value, as measured on Lyra v1; its own bids are not read")
_FIRST_SIZE = 1.0  # contracts; quotes that only serve marks are asked at this size until a size is known


class PaperVenue:
    """Venue over another venue's quotes. Its name and instruments are the real venue's own.

    ``earlier`` are the closed legs of this book's journal, oldest first: the positions are rebuilt from
    them. What this book filled says "paper" in ``because`` and has no transaction hash; over the venue of a
    public book it is indicative too.
    """

    def __init__(
        self,
        real: Venue,
        *,
        earlier: Iterable[LegOutcome] = (),
        sale: SaleTerms | None = None,
    ) -> None:
        self._real = real
        self._shown = real.name in BOOK_URLS
        self._sale = sale or (SHOWN_SALE if self._shown else SaleTerms())
        # The books of two paper venues stand beside each other: an id is of one of them only.
        self._book = BookedPositions(prefix=f"paper-{real.name}" if self._shown else "paper")
        self._book.replay(earlier)
        self._size = _FIRST_SIZE
        self._quotes: dict[tuple[str, str, float], tuple[Quote, ...]] = {}  # of one block only
        self._vols: dict[Instrument, float] = {}  # last known mark vol

    @property
    def name(self) -> str:
        return self._real.name

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return the real venue's quotes."""
        self._size = size
        return await self._real_quotes(view, underlying, size)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Mark the book's positions. Raises TransientError when the real venue cannot be read."""
        return tuple([(await self._mark(item, view))[0] for item in self._book.positions()])

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Fill one leg, or refuse it for what the real venue would refuse it for."""
        if view.now_s > leg.valid_until_s:
            because = f"the leg was valid until {leg.valid_until_s:.0f}, it is {view.now_s:.0f}"
            return rejected(leg, at_s=view.now_s, because=because)
        try:
            return await self._fill(leg, view)
        except (TransientError, StaleDataError) as error:
            return rejected(leg, at_s=view.now_s, because=f"{error}; nothing was filled")

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """A paper fill exists only once it is journalled, so a leg that was left open was not filled."""
        return rejected(leg, at_s=view.now_s, because="paper: abandoned at restart, nothing was filled")

    async def _fill(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        if leg.side is Side.BUY:
            return await self._buy(leg, view)
        position = self._book.get(leg.position_id)
        if position is None:
            because = f"position {leg.position_id!r} is not held"
            return rejected(leg, at_s=view.now_s, because=because)
        if leg.side is Side.SETTLE:
            return self._settle(leg, view)
        mark, terms = await self._mark(position, view)
        fill = sale_fill(mark, leg, now_s=view.now_s, terms=terms, because=f"paper: {terms.source}")
        fill = replace(fill, indicative=self._shown)
        return self._book.sell(leg, _in_block(fill, view))

    async def _buy(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        found = await self._real_quotes(view, leg.instrument.underlying, leg.size)
        quote = next((item for item in found if item.instrument.is_that(leg.instrument)), None)
        if quote is None:
            return rejected(
                leg, at_s=view.now_s, because=f"{self.name} gives no quote for {leg.instrument.id}"
            )
        if abs(quote.size - leg.size) > SIZE_TOLERANCE:
            because = f"{self.name} would sell {quote.size:g} contracts, the leg wants {leg.size:g}"
            return rejected(leg, at_s=view.now_s, because=because)
        because = "paper: filled at the quote" + (f", indicative: {quote.because}" * quote.indicative)
        fill = Fill(
            at_s=view.now_s,
            premium_usd=quote.premium_usd,
            fee_usd=quote.fee_usd,
            swap_usd=quote.swap_usd / 2.0,  # the way in; the way back is booked at the end
            gas_usd=quote.gas_usd,
            because=because,
            indicative=quote.indicative,
        )
        return self._book.buy(leg, _in_block(fill, view))

    def _settle(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        spot = settlement_spot(view.columns, leg.instrument, now_s=view.now_s)
        fill = settlement_fill(
            leg,
            spot_usd=spot,
            now_s=view.now_s,
            terms=self._sale,
            because=f"paper: settled at {spot:.2f} USD",
        )
        return self._book.settle(leg, _in_block(fill, view))

    async def _mark(self, position: BookedPosition, view: MarketView) -> tuple[VenuePosition, SaleTerms]:
        """Return the mark and the sale terms it was made with."""
        instrument = position.instrument
        if view.now_s >= instrument.expiry_s:
            iv, terms = self._vols.get(instrument, math.nan), self._sale
        else:
            quotes = await self._real_quotes(view, instrument.underlying, self._size)
            iv, terms = self._vol(instrument, quotes), _terms(self._sale, instrument, quotes)
        mark = marked(
            position,
            spot_usd=view.spot_usd.get(instrument.underlying, math.nan),
            iv=iv,
            now_s=view.now_s,
            terms=terms,
            settlement_usd=settlement_spot(view.columns, instrument, now_s=view.now_s),
        )
        return mark, terms

    def _vol(self, instrument: Instrument, quotes: Iterable[Quote]) -> float:
        """Return the mark vol: of its own quote, else the last known, else of the nearest option."""
        by_distance = sorted(
            quotes,
            key=lambda quote: (
                abs(quote.instrument.expiry_s - instrument.expiry_s),
                abs(quote.instrument.strike_usd - instrument.strike_usd),
            ),
        )
        own = (quote.iv for quote in by_distance if quote.instrument.is_that(instrument))
        nearest = by_distance[0].iv if by_distance else math.nan
        vol = next(own, self._vols.get(instrument, nearest))
        self._vols[instrument] = vol
        return vol

    async def _real_quotes(self, view: MarketView, underlying: str, size: float) -> tuple[Quote, ...]:
        """Ask the real venue once per block, underlying and size."""
        block = view.block.hash if view.block else f"{view.now_s}"
        key = (block, underlying, size)
        if key not in self._quotes:
            found = await self._real.quotes(view, underlying=underlying, size=size)
            self._quotes = {item: kept for item, kept in self._quotes.items() if item[0] == block}
            self._quotes[key] = tuple(found)
        return self._quotes[key]


def paper_venues(reals: Sequence[Venue], *, earlier: Sequence[LegOutcome]) -> dict[str, Venue]:
    """Return a paper venue over each, by name, with the positions that its closed legs left."""
    legs, _ = parts_of(earlier)
    return {
        item.name: PaperVenue(item, earlier=[leg for leg in legs if leg.leg.instrument.venue == item.name])
        for item in reals
    }


def _terms(sale: SaleTerms, instrument: Instrument, quotes: Iterable[Quote]) -> SaleTerms:
    """Take gas and swap cost from the option's own quote where there is one."""
    for quote in quotes:
        if quote.instrument.is_that(instrument):
            swap_share = quote.swap_usd / (2.0 * quote.premium_usd) if quote.premium_usd > 0.0 else 0.0
            return replace(
                sale, gas_usd=max(sale.gas_usd, quote.gas_usd), swap_share=max(sale.swap_share, swap_share)
            )
    return sale


def _in_block(fill: Fill, view: MarketView) -> Fill:
    return replace(fill, block_number=view.block.number) if view.block else fill
