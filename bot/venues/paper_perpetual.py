"""A venue of perpetuals that signs nothing: it fills at a real venue's quotes and keeps positions itself."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bot.errors import StaleDataError, TransientError
from bot.model.perpetual import Perpetual, PerpetualOrder, PerpetualQuote
from bot.model.perpetual_outcome import PerpetualOutcome, refused
from bot.ports import MarketView, PerpetualVenue
from bot.venues.booked_perpetual import MarginTerms
from bot.venues.booked_perpetual_venue import BookedPerpetualVenue, Mark

PENALTY = 0.025  # of notional, as Perp v2's liquidation penalty ratio
_FIRST_SIZE = 1.0  # units; quotes that only serve marks are asked at this size until a size is known


class PaperPerpetualVenue(BookedPerpetualVenue):
    """PerpetualVenue over another's quotes, under its name. ``earlier`` rebuilds the positions."""

    def __init__(self, real: PerpetualVenue, *, earlier: Iterable[PerpetualOutcome] = ()) -> None:
        super().__init__(words="paper")
        self._real = real
        self._book.replay(earlier)
        self._size = _FIRST_SIZE
        self._quotes: dict[Perpetual, PerpetualQuote] = {}  # the last known of each

    @property
    def name(self) -> str:
        return self._real.name

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        self._size = size
        return await self._ask(view, underlying, size)

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        try:
            found = await self._ask(view, order.perpetual.underlying, abs(order.size) or self._size)
        except (TransientError, StaleDataError) as error:
            return refused(order, at_s=view.now_s, because=f"{error}; nothing was filled")
        quote = next((item for item in found if item.perpetual == order.perpetual), None)
        if quote is None:
            because = f"{self.name} gives no quote for {order.perpetual.id}"
            return refused(order, at_s=view.now_s, because=because)
        rate = quote.funding_apr
        first_funding_usd = 0.0 if math.isfinite(rate) else rate
        outcome = self._filled(order, view, _mark(quote), first_funding_usd=first_funding_usd)
        return replace(outcome, indicative=quote.indicative)

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """A paper fill exists only once it is journalled, so an order that was left open was not filled."""
        return refused(order, at_s=view.now_s, because="paper: abandoned at restart, nothing was filled")

    async def _mark(self, view: MarketView, perpetual: Perpetual) -> Mark:
        """Return the real venue's mark. Raises TransientError where none was ever had."""
        await self._ask(view, perpetual.underlying, self._size)
        if perpetual not in self._quotes:
            raise TransientError(f"{self.name} gives no quote for {perpetual.id}: it cannot be marked")
        return _mark(self._quotes[perpetual])

    async def _ask(self, view: MarketView, underlying: str, size: float) -> tuple[PerpetualQuote, ...]:
        found = await self._real.perpetual_quotes(view, underlying=underlying, size=size)
        self._quotes.update({item.perpetual: item for item in found})
        return found


def paper_perpetual_venues(
    reals: Sequence[PerpetualVenue], *, earlier: Sequence[PerpetualOutcome]
) -> Mapping[str, PerpetualVenue]:
    """Return a paper venue over each, by name, with the positions that its closed orders left."""
    return {
        item.name: PaperPerpetualVenue(
            item, earlier=[each for each in earlier if each.order.perpetual.venue == item.name]
        )
        for item in reals
    }


def _mark(quote: PerpetualQuote) -> Mark:
    terms = MarginTerms(
        cost=quote.cost,
        initial_margin=quote.initial_margin,
        maintenance_margin=quote.maintenance_margin,
        penalty=PENALTY,
        gas_usd=quote.gas_usd,
    )
    return Mark(quote.mark_usd, terms)
