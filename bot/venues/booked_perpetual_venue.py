"""A venue of perpetuals over a book of its own; paper and simulated ones differ in where marks come from."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from bot.model.perpetual import Perpetual, PerpetualEnd, PerpetualOrder, PerpetualPosition
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.ports import MarketView
from bot.venues.booked_perpetual import BookedPerpetual, BookedPerpetuals, MarginTerms, accrued_usd


class Mark(NamedTuple):
    """What a perpetual is marked and filled by."""

    usd: float  # NaN unknown
    terms: MarginTerms


class BookedPerpetualVenue(ABC):
    """Funding accrues by the observed rates of the view; where it has none, nothing accrues."""

    def __init__(self, *, words: str) -> None:
        """``words`` names the kind of venue in what is booked."""
        self._book = BookedPerpetuals(words=words)

    @abstractmethod
    async def _mark(self, view: MarketView, perpetual: Perpetual) -> Mark:
        """Return the mark now. Raises TransientError where none was ever had."""

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        """Mark the book's positions; one that would have been liquidated is held no more."""
        found = []
        for item in self._book.all():
            mark = await self._mark(view, item.perpetual)
            if self._end(view, item, mark) is None:
                funding_usd = self._funding_usd(view, item, mark)
                found.append(
                    self._book.position(item, mark_usd=mark.usd, funding_usd=funding_usd, terms=mark.terms)
                )
        return tuple(found)

    async def ended(
        self,
        perpetual: Perpetual,
        size: float,  # noqa: ARG002 - the port's signature
        *,
        view: MarketView,
        since_block: int,  # noqa: ARG002
    ) -> PerpetualEnd | None:
        """Return the liquidation that the mark would have made."""
        item = self._book.get(perpetual)
        if item is None:
            return None
        end = self._end(view, item, await self._mark(view, perpetual))
        if end is not None:
            self._book.drop(perpetual)
        return end

    def _filled(
        self, order: PerpetualOrder, view: MarketView, mark: Mark, *, first_funding_usd: float = 0.0
    ) -> PerpetualOutcome:
        """Fill an order at the mark, cost on top, or say why not.

        ``first_funding_usd`` is booked where nothing is held yet; NaN where funding is not known.
        """
        held = self._book.get(order.perpetual)
        return self._book.fill(
            order,
            mark_usd=mark.usd,
            funding_usd=self._funding_usd(view, held, mark) if held else first_funding_usd,
            terms=mark.terms,
            now_s=view.now_s,
            block_number=view.block.number if view.block else 0,
        )

    def _end(self, view: MarketView, item: BookedPerpetual, mark: Mark) -> PerpetualEnd | None:
        funding_usd = self._funding_usd(view, item, mark)
        return self._book.ended(item, mark_usd=mark.usd, funding_usd=funding_usd, terms=mark.terms)

    def _funding_usd(self, view: MarketView, item: BookedPerpetual, mark: Mark) -> float:
        return accrued_usd(view.columns, item, mark_usd=mark.usd, now_s=view.now_s)
