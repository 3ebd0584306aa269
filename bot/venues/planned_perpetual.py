"""Makes a venue of perpetuals of an adapter: orders are planned, carried out, and booked by their receipts.

The executor is the one of options: exact allowances that end at zero, one nonce for each transaction.
What an order leaves idle at the venue is taken back when it is done, or when it failed half-way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.errors import VenueRejected
from bot.model.execution import ExecutionPlan
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.perpetual import (
    Perpetual,
    PerpetualAction,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualFact, PerpetualOutcome, refused
from bot.ports import ChainReader, MarketView, PerpetualAdapter, Proposer, Transactor
from bot.venues.order_life import AtHand, OrderLife
from bot.venues.planned_orders import PlannedOrders
from bot.venues.prices import Money, prices_of

_WHOLE = 1e-6  # of a size: float dust is no difference
MARGIN_SLACK = 1e-6


class PlannedPerpetualVenue(PlannedOrders[PerpetualOrder, PerpetualOutcome]):
    """PerpetualVenue over one adapter. Without ``custody`` it quotes and reads, and refuses every order."""

    def __init__(
        self,
        adapter: PerpetualAdapter,
        *,
        reader: ChainReader,
        money: Money,
        custody: Transactor | Proposer | None = None,
    ) -> None:
        super().__init__(adapter, reader=reader, custody=custody)
        self.adapter, self._money = adapter, money

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        return await self.adapter.perpetual_quotes(view, underlying=underlying, size=size)

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        return await self.adapter.held_perpetuals(view)

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        return await self.adapter.ended(perpetual, size, view=view, since_block=since_block)

    def _refused(self, order: PerpetualOrder, *, at_s: float, because: str) -> PerpetualOutcome:
        return refused(order, at_s=at_s, because=because)

    def _life(self, at: AtHand[PerpetualOrder]) -> "_PerpetualLife":
        return _PerpetualLife(at=at, prices=prices_of(at.view, self._money), adapter=self.adapter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PerpetualLife(OrderLife[PerpetualOrder, PerpetualOutcome]):
    """One order; what it leaves idle is taken back also when it is only looked up."""

    adapter: PerpetualAdapter

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan:
        del done  # no plan of a perpetual waits
        order, plan = self.order, await self.adapter.plan(self.order, view=self.view, head=head)
        if plan.most_usd > order.margin_usd * (1.0 + MARGIN_SLACK) + MARGIN_SLACK:
            raise VenueRejected(
                f"the plan deposits {plan.most_usd:.2f} USD, the order allows {order.margin_usd:.2f}"
            )
        return plan

    async def _tidy(self, again: bool) -> str:  # noqa: ARG002
        """Withdraw what lies idle. Where that is refused it stays the account's own, and that is said."""
        if self.run.is_batch:  # what a batch leaves free is not known when it is made
            return ""
        try:
            head = await self.at.reader.head()
            plan = await self.adapter.after(self.order, self.run.receipts, view=self.view, head=head)
            if plan is not None:
                late = replace(plan, valid_until_s=max(plan.valid_until_s, head.timestamp_s + 3_600.0))
                await self.run.carry_out(late, head=head)
        except VenueRejected as refusal:
            return f"idle margin stays at {self.adapter.name}: {refusal}"
        return ""

    def _fact(self) -> PerpetualFact | None:
        return self.adapter.fact(self.order, self.run.receipts, view=self.view)

    async def _booked(self, because: str) -> PerpetualOutcome:
        """Return filled where the trade succeeded, else refused; with all that was spent and moved."""
        order, fact = self.order, self._fact()
        margin_usd = self.adapter.margin_moved(self.run.receipts, view=self.view)
        spent = replace(self._spent(because), margin_usd=margin_usd)
        if fact is None:
            return spent
        only_margin = order.action is PerpetualAction.ADD_MARGIN
        whole = only_margin or abs(fact.size) >= abs(order.size) * (1.0 - _WHOLE)
        return replace(
            spent,
            status=LegStatus.FILLED if whole else LegStatus.PARTIAL,
            filled_size=fact.size,
            price_usd=fact.price_usd,
            realised_usd=fact.realised_usd,
            fee_usd=fact.fee_usd,
            funding_usd=fact.funding_usd,
            position_id=fact.position_id,
            tx_hash=fact.receipt.tx_hash,
            block_number=fact.receipt.block_number,
        )

    def _unfilled(self, status: LegStatus, *, gas_usd: float, because: str) -> PerpetualOutcome:
        return PerpetualOutcome(
            order=self.order, status=status, at_s=self.prices.now_s, gas_usd=gas_usd, because=because
        )
