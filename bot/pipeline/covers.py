"""The loop's part that buys cover (R20) as a person orders it, and lets R20 see what the account holds.

A premium is spent money of R9 and of the books; a cover has no buyer, so that it counts as worth nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from bot.model.cover import CoverOrder, CoverOutcome
from bot.model.hedge import Layer, LegStatus, Spend, SpendKind
from bot.model.market import Frame
from bot.pipeline.moments import Moment
from bot.pipeline.orders import UNSEEN, OrderRows, Orders
from bot.ports import CoverVenue, Journal, MarketView

# A ledger entry needs one. R11 counts neither TAIL's standing share nor, so, a cover.
_LEDGER_LAYER = Layer.TAIL


@dataclass(slots=True, kw_only=True)
class CoverOrders:
    """State is the journal's: a new one on the same journal goes on where the last stopped."""

    venue: CoverVenue | None
    journal: Journal
    _orders: Orders[CoverOrder, CoverOutcome] = field(init=False)
    _spends: list[Spend] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        journal = self.journal
        rows = OrderRows(
            open=journal.open_cover,
            close=journal.close_cover,
            still_open=journal.open_covers,
            outcomes=journal.cover_outcomes,
            order_of=lambda outcome: outcome.order,
            made=CoverOutcome,
        )
        self._orders = Orders(venue=self.venue, rows=rows, booked=self._book)

    @property
    def cash_flow_usd(self) -> float:
        """Return what covers cost in premium and gas, negative."""
        return -math.fsum(item.usd for item in self._spends)

    def news(self) -> tuple[CoverOutcome, ...]:
        """Return what became of orders since the last call, each once."""
        return self._orders.news()

    async def reconcile(self, view: MarketView) -> None:
        """Close what an earlier step or run left open, from chain facts alone."""
        await self._orders.reconcile(view)

    def is_open(self, orders: Iterable[CoverOrder]) -> bool:
        """Say whether an order is open that is one of these or of the same protocol."""
        return self._orders.is_open(orders)

    async def execute(self, orders: Sequence[CoverOrder], view: MarketView) -> bool:
        """Do orders that were not done before. Says whether any was begun."""
        return await self._orders.execute(orders, view)

    async def seen(self, moment: Moment, view: MarketView) -> Moment:
        """Return the moment with the account's own covers beside the stated ones.

        One that is stated too is the chain's. A mutual that cannot be read is a hold: what is held already
        would be asked for anew.
        """
        if self.venue is None:
            return moment
        try:
            held = await self.venue.held(view)
        except UNSEEN as error:
            why = f"venue {self.venue.name} could not be read: {error}"
            return replace(moment, holds=(*moment.holds, why))
        own = tuple(item.cover for item in held)
        names = {(item.venue, item.id) for item in own}
        stated = tuple(item for item in moment.base.covers if (item.venue, item.id) not in names)
        return replace(moment, base=replace(moment.base, covers=(*stated, *own)))

    def added(self, frame: Frame) -> Frame:
        """Return the frame with what covers cost in the ledger of R9, open orders at their limit."""
        reserved = (
            _spend(order, at_s=math.inf, usd=order.limit_usd, kind=SpendKind.RESERVED)
            for order in self.journal.open_covers()
        )
        return replace(frame, spends=(*frame.spends, *self._spends, *reserved))

    def _book(self, outcome: CoverOutcome) -> None:
        if outcome.cost_usd or outcome.status is LegStatus.FILLED:
            self._spends.append(
                _spend(outcome.order, at_s=outcome.at_s, usd=outcome.cost_usd, kind=SpendKind.PREMIUM)
            )


def _spend(order: CoverOrder, *, at_s: float, usd: float, kind: SpendKind) -> Spend:
    return Spend(at_s=at_s, usd=usd, kind=kind, leg_key=order.key, layer=_LEDGER_LAYER)
