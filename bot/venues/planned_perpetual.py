"""Makes a venue of perpetuals of an adapter: orders are planned, carried out, and booked by their receipts.

The executor is the one of options: exact allowances that end at zero, one nonce for each transaction.
What an order leaves idle at the venue is taken back when it is done, or when it failed half-way.
"""

import asyncio
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
from bot.model.signing import Permission
from bot.ports import ChainReader, MarketView, PerpetualAdapter, Proposer, Transactor
from bot.venues.executor import OrderRun
from bot.venues.order_life import OrderLife, gas_usd, nobody_signs
from bot.venues.prices import Money, Prices, prices_of

_WHOLE = 1e-6  # of a size: float dust is no difference
MARGIN_SLACK = 1e-6


class PlannedPerpetualVenue:
    """PerpetualVenue over one adapter. Without ``custody`` it quotes and reads, and refuses every order."""

    def __init__(
        self,
        adapter: PerpetualAdapter,
        *,
        reader: ChainReader,
        money: Money,
        custody: Transactor | Proposer | None = None,
    ) -> None:
        self.adapter = adapter
        self._reader, self._money, self._custody = reader, money, custody
        self._one_order = asyncio.Lock()  # two at once would overwrite each other's allowances

    @property
    def name(self) -> str:
        return self.adapter.name

    @property
    def least_gas_ceiling(self) -> int:
        return self.adapter.least_gas_ceiling

    def permissions(self) -> tuple[Permission, ...]:
        return self.adapter.permissions()

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        return await self.adapter.perpetual_quotes(view, underlying=underlying, size=size)

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        return await self.adapter.held_perpetuals(view)

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        if self._custody is None:
            return refused(order, at_s=view.now_s, because=f"{self.name}: no account that can sign")
        async with self._one_order:
            return await self._run(order, view, self._custody).life().execute()

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Say what became of an order that an earlier run left open, and take idle margin back.

        Raises TransientError without ``custody``.
        """
        if self._custody is None:
            raise nobody_signs(order.key, self.name)
        async with self._one_order:
            return await self._run(order, view, self._custody, again=True).life().reconcile()

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        return await self.adapter.ended(perpetual, size, view=view, since_block=since_block)

    def _run(
        self, order: PerpetualOrder, view: MarketView, custody: Transactor | Proposer, *, again: bool = False
    ) -> "_Run":
        run = OrderRun(
            reader=self._reader,
            custody=custody,
            key=order.key,
            valid_until_s=order.valid_until_s,
            permissions=self.permissions(),
            again=again,
        )
        return _Run(
            order=order,
            view=view,
            adapter=self.adapter,
            run=run,
            reader=self._reader,
            prices=prices_of(view, self._money),
            custody=custody,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One order, on its way or looked up again."""

    order: PerpetualOrder
    view: MarketView
    adapter: PerpetualAdapter
    run: OrderRun
    reader: ChainReader
    prices: Prices
    custody: Transactor | Proposer

    def life(self) -> OrderLife[PerpetualOutcome]:
        return OrderLife(
            key=self.order.key,
            valid_until_s=self.order.valid_until_s,
            run=self.run,
            reader=self.reader,
            custody=self.custody,
            plan=self._plan,
            is_done=lambda: self._fact() is not None,
            book=self._booked,
            stand=self._standing,
            tidy=self._take_back,
            unknown_prices=self.prices.unknown,
        )

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan:
        del done  # no plan of a perpetual waits
        order, plan = self.order, await self.adapter.plan(self.order, view=self.view, head=head)
        if plan.most_usd > order.margin_usd * (1.0 + MARGIN_SLACK) + MARGIN_SLACK:
            raise VenueRejected(
                f"the plan deposits {plan.most_usd:.2f} USD, the order allows {order.margin_usd:.2f}"
            )
        return plan

    async def _take_back(self, again: bool) -> str:  # noqa: ARG002 - also of an order that is looked up
        """Withdraw what lies idle. Where that is refused it stays the account's own, and that is said."""
        if self.run.is_batch:  # what a batch leaves free is not known when it is made
            return ""
        try:
            head = await self.reader.head()
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
        spent = PerpetualOutcome(
            order=order,
            status=LegStatus.REJECTED,
            at_s=self.prices.now_s,
            margin_usd=self.adapter.margin_moved(self.run.receipts, view=self.view),
            gas_usd=gas_usd(self.run, self.prices.eth_usd),
            because=because,
        )
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

    def _standing(self, status: LegStatus, because: str) -> PerpetualOutcome:
        gas = 0.0 if self.prices.unknown else gas_usd(self.run, self.prices.eth_usd)
        return PerpetualOutcome(
            order=self.order, status=status, at_s=self.prices.now_s, gas_usd=gas, because=because
        )
