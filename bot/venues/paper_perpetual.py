"""A venue of perpetuals that signs nothing: it fills at a real venue's quotes and keeps positions itself."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bot.errors import StaleDataError, TransientError
from bot.model.perpetual import (
    Perpetual,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualOutcome, refused
from bot.ports import MarketView, PerpetualVenue
from bot.venues.booked_perpetual import (
    BookedPerpetual,
    BookedPerpetuals,
    MarginTerms,
    accrued_usd,
)

PENALTY = 0.025  # of notional, as Perp v2's liquidation penalty ratio
_FIRST_SIZE = 1.0  # units; quotes that only serve marks are asked at this size until a size is known


class PaperPerpetualVenue:
    """PerpetualVenue over another's quotes, under its name. ``earlier`` rebuilds the positions.

    Funding accrues by the observed rates of the view; where it has none, nothing accrues.
    """

    def __init__(self, real: PerpetualVenue, *, earlier: Iterable[PerpetualOutcome] = ()) -> None:
        self._real = real
        self._book = BookedPerpetuals(words="paper")
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

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        """Mark the book's positions; one that would have been liquidated is held no more."""
        found = []
        for item in self._book.all():
            quote = await self._quote(view, item.perpetual)
            if self._end(view, item, quote) is None:
                funding_usd = _funding(view, item, quote.mark_usd)
                found.append(
                    self._book.position(
                        item, mark_usd=quote.mark_usd, funding_usd=funding_usd, terms=_terms(quote)
                    )
                )
        return tuple(found)

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        try:
            found = await self._ask(view, order.perpetual.underlying, abs(order.size) or self._size)
        except (TransientError, StaleDataError) as error:
            return refused(order, at_s=view.now_s, because=f"{error}; nothing was filled")
        quote = next((item for item in found if item.perpetual == order.perpetual), None)
        if quote is None:
            because = f"{self.name} gives no quote for {order.perpetual.id}"
            return refused(order, at_s=view.now_s, because=because)
        held = self._book.get(order.perpetual)
        rate = quote.funding_apr if held is None else 0.0
        funding_usd = _funding(view, held, quote.mark_usd) if held else (0.0 if math.isfinite(rate) else rate)
        outcome = self._book.fill(
            order,
            mark_usd=quote.mark_usd,
            funding_usd=funding_usd,
            terms=_terms(quote),
            now_s=view.now_s,
            block_number=view.block.number if view.block else 0,
        )
        return replace(outcome, indicative=quote.indicative)

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """A paper fill exists only once it is journalled, so an order that was left open was not filled."""
        return refused(order, at_s=view.now_s, because="paper: abandoned at restart, nothing was filled")

    async def ended(
        self,
        perpetual: Perpetual,
        size: float,  # noqa: ARG002 - the port's signature
        *,
        view: MarketView,
        since_block: int,  # noqa: ARG002
    ) -> PerpetualEnd | None:
        """Return the liquidation that the real venue's mark would have made."""
        item = self._book.get(perpetual)
        if item is None:
            return None
        end = self._end(view, item, await self._quote(view, perpetual))
        if end is not None:
            self._book.drop(perpetual)
        return end

    def _end(self, view: MarketView, item: BookedPerpetual, quote: PerpetualQuote) -> PerpetualEnd | None:
        funding_usd = _funding(view, item, quote.mark_usd)
        return self._book.ended(item, mark_usd=quote.mark_usd, funding_usd=funding_usd, terms=_terms(quote))

    async def _quote(self, view: MarketView, perpetual: Perpetual) -> PerpetualQuote:
        """Return a quote to mark by. Raises TransientError where none was ever had."""
        await self._ask(view, perpetual.underlying, self._size)
        if perpetual not in self._quotes:
            raise TransientError(f"{self.name} gives no quote for {perpetual.id}: it cannot be marked")
        return self._quotes[perpetual]

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


def _funding(view: MarketView, item: BookedPerpetual, mark_usd: float) -> float:
    return accrued_usd(view.columns, item, mark_usd=mark_usd, now_s=view.now_s)


def _terms(quote: PerpetualQuote) -> MarginTerms:
    return MarginTerms(
        cost=quote.cost,
        initial_margin=quote.initial_margin,
        maintenance_margin=quote.maintenance_margin,
        penalty=PENALTY,
        gas_usd=quote.gas_usd,
    )
