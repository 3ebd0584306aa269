"""Carries out orders on positions and loans: the executor is the one of hedges, the money rules too."""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bot.errors import (
    AwaitingSignatures,
    NotFoundError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.model.account_order import AccountFact, AccountOrder, AccountOutcome
from bot.model.execution import ExecutionPlan
from bot.model.hedge import LegStatus
from bot.model.signing import Permission
from bot.model.units import WAD_DECIMALS, from_fixed
from bot.ports import AccountAdapter, ChainReader, MarketView, Proposer, Transactor
from bot.venues.executor import OrderRun
from bot.venues.prices import Money, prices_of

_UNSEEN = (TransientError, StaleDataError)
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
        adapter, run = self._adapter(order), self._run(order, self._custody)
        async with self._one_order:
            because = ""
            try:
                head = await self._reader.head()
                if head.timestamp_s > order.valid_until_s:
                    raise VenueRejected(
                        f"the order was valid until {order.valid_until_s:.0f}, it is {head.timestamp_s}"
                    )
                plan = await adapter.plan(order, view=view, head=head)
                await run.carry_out(plan, head=head)
            except (VenueRejected, *_UNSEEN) as error:
                if run.has_sent and not isinstance(error, VenueRejected):
                    return self._open(order, run, view, error)
                because = str(error)
                if not run.has_sent:
                    return self._outcome(order, run, view, None, because)
            except OutcomeUnknown as error:
                return self._open(order, run, view, error)
            return await self._finish(order, run, view, because)

    async def reconcile(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        """Say what became of an order that an earlier step or run left open; sends only what cleans up."""
        if self._custody is None:
            raise TransientError(f"order {order.key} stays open: no account that can sign follows it")
        run = self._run(order, self._custody, again=True)
        async with self._one_order:
            return await self._finish(order, run, view, "")

    async def _finish(
        self, order: AccountOrder, run: OrderRun, view: MarketView, because: str
    ) -> AccountOutcome:
        try:
            await run.finish()
        except (VenueRejected, OutcomeUnknown, *_UNSEEN) as error:
            return self._open(order, run, view, error)
        fact = self._adapter(order).fact(order, run.receipts, view=view)
        return self._outcome(order, run, view, fact, because or ("" if fact else "abandoned"))

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

    def _open(self, order: AccountOrder, run: OrderRun, view: MarketView, error: Exception) -> AccountOutcome:
        status = LegStatus.PROPOSED if isinstance(error, AwaitingSignatures) else LegStatus.UNKNOWN
        return AccountOutcome(
            order=order,
            status=status,
            at_s=view.now_s,
            gas_usd=self._gas_usd(run, view),
            because=str(error),
        )

    def _gas_usd(self, run: OrderRun, view: MarketView) -> float:
        """Return what all transactions burnt, each once; NaN where the coin's price is not known."""
        costs = {receipt.tx_hash: receipt.gas_cost_wei for receipt in run.receipts.values()}
        spent = from_fixed(sum(costs.values()), decimals=WAD_DECIMALS)
        return spent * prices_of(view, self._money).eth_usd if spent else 0.0
