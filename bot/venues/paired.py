"""Trades an option in two parts (R27): an option of one venue and a perpetual of another, both or none.

Buying, the perpetual goes first: it is the part that can be had at any size and given back at a known cost,
and a short alone hedges what the group holds. Where the option then cannot be had within the leg's limit, the
perpetual is closed within the same leg; after a crash reconcile does that. Closing, the perpetual goes first
too: an option that is left alone can lose nothing more, a perpetual could. A Safe sends both as one batch.

The premium of a pair is that of the option it makes: the option's, and by how much the strike is worth more
than the perpetual's price. What closing it brings is reckoned from the strike too, so that the sum is what
the parts gained.
"""

from bot.errors import InvariantError
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.ports import ChainReader, MarketView, PerpetualAdapter, Proposer, Transactor, VenueAdapter
from bot.venues.booked import rejected
from bot.venues.executor import OrderRun
from bot.venues.order_life import AtHand
from bot.venues.pair_listing import NO_PARTS, ListsNothing, pair_name
from bot.venues.paired_order import PairOrder
from bot.venues.planned_orders import PlannedOrders, Together
from bot.venues.prices import Money, prices_of
from bot.venues.settlement import SettlementSwap


class PairVenue(ListsNothing, PlannedOrders[HedgeLeg, LegOutcome]):
    """Venue of pairs, over the adapters of both parts."""

    def __init__(
        self,
        option: VenueAdapter,
        perpetual: PerpetualAdapter,
        *,
        reader: ChainReader,
        money: Money,
        custody: Transactor | Proposer | None = None,
        swap: SettlementSwap | None = None,
    ) -> None:
        both = Together(name=pair_name(option, perpetual), parts=(option, perpetual))
        super().__init__(both, reader=reader, custody=custody, swap=swap)
        self._option, self._perpetual, self._money = option, perpetual, money

    async def reconcile(self, order: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """See PlannedOrders; a leg that does not say what it is made of was never begun."""
        if because := self._why_never(order):
            return self._refused(order, at_s=view.now_s, because=because)
        return await super().reconcile(order, view=view)

    def _why_never(self, order: HedgeLeg) -> str:
        return "" if order.conversion else f"{self.name}: {NO_PARTS}"

    def _refused(self, order: HedgeLeg, *, at_s: float, because: str) -> LegOutcome:
        return rejected(order, at_s=at_s, because=because)

    def _life(self, at: AtHand[HedgeLeg]) -> PairOrder:
        leg = at.order
        if leg.conversion is None:
            raise InvariantError(f"leg {leg.key}: {self.name} was asked for an order of no parts")

        def run_until(valid_until_s: float, is_again: bool) -> OrderRun:
            return self._run(leg, at.custody, valid_until_s=valid_until_s, again=is_again)

        return PairOrder(
            at=at,
            conversion=leg.conversion,
            option=self._option,
            perpetual=self._perpetual,
            run_until=run_until,
            prices=prices_of(at.view, self._money),
            swap=self.swap,
        )
