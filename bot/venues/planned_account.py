"""Carries out orders on positions and loans: the executor is the one of hedges, the money rules too."""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bot.errors import NotFoundError, VenueRejected
from bot.model.account_order import AccountFact, AccountOrder, AccountOutcome
from bot.model.execution import ExecutionPlan
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import Permission
from bot.ports import AccountAdapter, ChainReader, MarketView, Proposer, Transactor
from bot.venues.executor import OrderRun
from bot.venues.order_life import OrderLife, gas_usd, nobody_signs
from bot.venues.prices import Money, prices_of

_NONE: Mapping[str, str] = MappingProxyType({})


class PlannedAccount:
    """Does orders by the adapter that their subject names, one at a time.

    Without ``custody`` it plans, and refuses every order.
    """

    name = "account"

    def __init__(
        self,
        adapters: Sequence[AccountAdapter],
        *,
        reader: ChainReader,
        money: Money,
        custody: Transactor | Proposer | None,
        refused: Mapping[str, str] = _NONE,
    ) -> None:
        """``refused`` says of what is configured and cannot be acted on why not."""
        self._refused = refused
        self._adapters: Mapping[str, AccountAdapter] = {item.name: item for item in adapters}
        self._reader, self._money, self._custody = reader, money, custody
        self._one_order = asyncio.Lock()

    @property
    def subjects(self) -> tuple[str, ...]:
        """What can be acted on."""
        return tuple(self._adapters)

    @property
    def least_gas_ceiling(self) -> int:
        return max((item.least_gas_ceiling for item in self._adapters.values()), default=0)

    def permissions(self) -> tuple[Permission, ...]:
        return tuple(rule for item in self._adapters.values() for rule in item.permissions())

    async def plan(self, order: AccountOrder, *, view: MarketView) -> ExecutionPlan:
        """Return how an order would be done now; nothing is sent.

        Raises VenueRejected where it cannot be, NotFoundError where its subject is not configured.
        """
        if why := self._refused.get(order.subject):
            raise VenueRejected(f"{why}; nothing was sent")
        return await self._adapter(order).plan(order, view=view, head=await self._reader.head())

    async def execute(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        """Do one order to its end. A refusal, and an end that cannot be seen, are outcomes."""
        if self._custody is None or order.subject in self._refused:
            return self._not_done(order, view)
        async with self._one_order:
            return await self._life(order, view, self._custody).execute()

    async def reconcile(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        """Say what became of an order that an earlier step or run left open; sends only what cleans up.

        Raises TransientError without ``custody``.
        """
        if self._custody is None:
            raise nobody_signs(order.key, order.subject)
        async with self._one_order:
            return await self._life(order, view, self._custody, again=True).reconcile()

    def _life(
        self, order: AccountOrder, view: MarketView, custody: Transactor | Proposer, *, again: bool = False
    ) -> OrderLife[AccountOutcome]:
        """Prices that are unknown stop nothing here: a position must be able to leave without them."""
        adapter, run = self._adapter(order), self._run(order, custody, again=again)

        async def plan(head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan:
            del done  # no plan of a position or loan waits
            return await adapter.plan(order, view=view, head=head)

        async def book(because: str) -> AccountOutcome:
            return self._outcome(order, run, view, adapter.fact(order, run.receipts, view=view), because)

        return OrderLife(
            key=order.key,
            valid_until_s=order.valid_until_s,
            run=run,
            reader=self._reader,
            custody=custody,
            plan=plan,
            is_done=lambda: adapter.fact(order, run.receipts, view=view) is not None,
            book=book,
            stand=lambda status, because: AccountOutcome(
                order=order,
                status=status,
                at_s=view.now_s,
                gas_usd=self._gas_usd(run, view),
                because=because,
            ),
        )

    def _adapter(self, order: AccountOrder) -> AccountAdapter:
        if why := self._refused.get(order.subject):
            raise NotFoundError(f"order {order.key}: {why}")
        try:
            return self._adapters[order.subject]
        except KeyError:
            known = ", ".join((*self._adapters, *self._refused)) or "none"
            raise NotFoundError(f"order {order.key}: {order.subject!r} is none of: {known}") from None

    def _run(self, order: AccountOrder, custody: Transactor | Proposer, *, again: bool = False) -> OrderRun:
        return OrderRun(
            reader=self._reader,
            custody=custody,
            key=order.key,
            valid_until_s=order.valid_until_s,
            permissions=self.permissions(),
            again=again,
        )

    def _not_done(self, order: AccountOrder, view: MarketView) -> AccountOutcome:
        why = self._refused.get(order.subject) or f"{order.subject}: no account that can sign"
        return AccountOutcome(order=order, status=LegStatus.REJECTED, at_s=view.now_s, because=why)

    def _outcome(
        self, order: AccountOrder, run: OrderRun, view: MarketView, fact: AccountFact | None, because: str
    ) -> AccountOutcome:
        return AccountOutcome(
            order=order,
            status=LegStatus.FILLED if fact else LegStatus.REJECTED,
            at_s=view.now_s,
            moved=fact.moved if fact else (),
            gas_usd=self._gas_usd(run, view),
            tx_hash=fact.receipt.tx_hash if fact else "",
            block_number=fact.receipt.block_number if fact else 0,
            because=because,
        )

    def _gas_usd(self, run: OrderRun, view: MarketView) -> float:
        """Return what all transactions burnt; NaN where the coin's price is not known."""
        return gas_usd(run, prices_of(view, self._money).eth_usd)
