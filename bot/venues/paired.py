"""Trades an option in two parts (R27): an option of one venue and a perpetual of another, both or none.

Buying, the perpetual goes first: it is the part that can be had at any size and given back at a known cost,
and a short alone hedges what the group holds. Where the option then cannot be had within the leg's limit, the
perpetual is closed within the same leg; after a crash reconcile does that. Closing, the perpetual goes first
too: an option that is left alone can lose nothing more, a perpetual could. A Safe sends both as one batch.

The premium of a pair is that of the option it makes: the option's, and by how much the strike is worth more
than the perpetual's price. What closing it brings is reckoned from the strike too, so that the sum is what
the parts gained.
"""

import asyncio

from bot.model.hedge import Conversion, HedgeLeg, LegOutcome, Quote
from bot.model.signing import Permission
from bot.ports import (
    ChainReader,
    MarketView,
    PerpetualAdapter,
    Proposer,
    Transactor,
    VenueAdapter,
    VenuePosition,
)
from bot.venues.booked import rejected
from bot.venues.executor import OrderRun
from bot.venues.paired_order import PairOrder
from bot.venues.prices import Money, prices_of
from bot.venues.settlement import SettlementSwap


class PairVenue:
    """Venue of pairs. It lists nothing: the engine makes their quotes of what the two venues quote."""

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
        self._option, self._perpetual, self._reader = option, perpetual, reader
        self._money, self._custody, self._swap = money, custody, swap
        self._one_leg = asyncio.Lock()

    @property
    def name(self) -> str:
        return f"{self._option.name}+{self._perpetual.name}"

    @property
    def least_gas_ceiling(self) -> int:
        return max(self._option.least_gas_ceiling, self._perpetual.least_gas_ceiling)

    def permissions(self) -> tuple[Permission, ...]:
        swap = self._swap.permissions() if self._swap else ()
        return (*self._option.permissions(), *self._perpetual.permissions(), *swap)

    async def quotes(
        self,
        view: MarketView,  # noqa: ARG002
        *,
        underlying: str,  # noqa: ARG002
        size: float,  # noqa: ARG002
    ) -> tuple[Quote, ...]:
        return ()

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:  # noqa: ARG002
        """Return nothing: the option's own venue lists it, and the book knows what stands beside it."""
        return ()

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        if self._custody is None or leg.conversion is None:
            why = "no account that can sign" if leg.conversion else "the leg does not say what it is made of"
            return rejected(leg, at_s=view.now_s, because=f"{self.name}: {why}")
        async with self._one_leg:
            return await self._order(leg, leg.conversion, view, self._custody).execute()

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        if self._custody is None or leg.conversion is None:
            return rejected(leg, at_s=view.now_s, because=f"{self.name}: no account that can sign")
        async with self._one_leg:
            return await self._order(leg, leg.conversion, view, self._custody, again=True).reconcile()

    def _order(
        self,
        leg: HedgeLeg,
        conversion: Conversion,
        view: MarketView,
        custody: Transactor | Proposer,
        *,
        again: bool = False,
    ) -> PairOrder:
        def run_until(valid_until_s: float, is_again: bool) -> OrderRun:
            return OrderRun(
                reader=self._reader,
                custody=custody,
                key=leg.key,
                valid_until_s=valid_until_s,
                permissions=self.permissions(),
                swap=self._swap,
                again=is_again,
            )

        return PairOrder(
            leg=leg,
            conversion=conversion,
            view=view,
            option=self._option,
            perpetual=self._perpetual,
            run=run_until(leg.valid_until_s, again),
            run_until=run_until,
            reader=self._reader,
            prices=prices_of(view, self._money),
            swap=self._swap,
            account=custody.address,
        )
