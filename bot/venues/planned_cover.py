"""Makes a venue of covers of its adapter: a purchase is planned, carried out and booked by its receipts.

The executor is the one of options. A cover is bought by an order that a person confirmed; nothing else is
sent.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from bot.errors import VenueRejected
from bot.model.cover import ClaimDraft, CoverFact, CoverOrder, CoverOutcome, CoverQuote, HeldCover
from bot.model.execution import ExecutionPlan
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import Permission
from bot.ports import ChainReader, MarketView, Proposer, Transactor
from bot.venues.executor import OrderRun
from bot.venues.nexus import NexusAdapter
from bot.venues.nexus_terms import NexusContracts, NexusTerms, prices_in
from bot.venues.order_life import OrderLife, gas_usd, nobody_signs
from bot.venues.prices import Prices


class PlannedCoverVenue:
    """Covers of one mutual. Without ``custody`` it quotes and reads, and refuses every order."""

    def __init__(
        self,
        adapter: NexusAdapter,
        *,
        reader: ChainReader,
        contracts: NexusContracts,
        custody: Transactor | Proposer | None = None,
    ) -> None:
        self.adapter = adapter
        self._reader, self._contracts, self._custody = reader, contracts, custody
        self._one_order = asyncio.Lock()  # two at once would overwrite each other's allowances

    @property
    def name(self) -> str:
        return self.adapter.name

    @property
    def least_gas_ceiling(self) -> int:
        return self.adapter.least_gas_ceiling

    def permissions(self) -> tuple[Permission, ...]:
        return self.adapter.permissions()

    async def quote(self, view: MarketView, *, protocol: str, amount_usd: float, period_s: int) -> CoverQuote:
        """Return what covering a protocol costs. Raises VenueRejected where it cannot be covered so."""
        return await self.adapter.quote(view, protocol=protocol, amount_usd=amount_usd, period_s=period_s)

    async def held(self, view: MarketView) -> tuple[HeldCover, ...]:
        return await self.adapter.held(view)

    async def draft_claim(self, cover: HeldCover, *, view: MarketView, amount_usd: float) -> ClaimDraft:
        """Return a claim that a person may send. Raises VenueRejected where it would be refused."""
        return await self.adapter.draft_claim(cover, view=view, amount_usd=amount_usd)

    async def draft_payout(self, cover: HeldCover, *, view: MarketView) -> ClaimDraft:
        """Return the taking of a payout, for a person to send. Raises VenueRejected where there is none."""
        return await self.adapter.draft_payout(cover, view=view)

    async def execute(self, order: CoverOrder, *, view: MarketView) -> CoverOutcome:
        """Do an order to its end. A refusal, and an end that cannot be seen, are outcomes."""
        if self._custody is None:
            return _refused(order, view.now_s, f"{self.name}: no account that can sign")
        async with self._one_order:
            return await self._run(order, view, self._custody).life().execute()

    async def reconcile(self, order: CoverOrder, *, view: MarketView) -> CoverOutcome:
        """Say what became of an order that an earlier run left open; sends nothing but revocations.

        Raises TransientError without ``custody``.
        """
        if self._custody is None:
            raise nobody_signs(order.key, self.name)
        async with self._one_order:
            return await self._run(order, view, self._custody, again=True).life().reconcile()

    def _run(
        self, order: CoverOrder, view: MarketView, custody: Transactor | Proposer, *, again: bool = False
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
            custody=custody,
            prices=prices_in(view, terms=self.adapter.terms, contracts=self._contracts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One order, on its way or looked up again."""

    order: CoverOrder
    view: MarketView
    adapter: NexusAdapter
    run: OrderRun
    reader: ChainReader
    custody: Transactor | Proposer
    prices: Prices

    def life(self) -> OrderLife[CoverOutcome]:
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
            unknown_prices=self.prices.unknown,
        )

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan:
        del done  # a purchase never waits
        plan = await self.adapter.plan(self.order, view=self.view, head=head)
        if plan.most_usd > self.order.limit_usd * (1.0 + 1e-6):
            raise VenueRejected(
                f"the plan may cost {plan.most_usd:.2f} USD, the order allows {self.order.limit_usd:.2f}"
            )
        return plan

    async def _booked(self, because: str) -> CoverOutcome:
        fact = self._fact()
        return CoverOutcome(
            order=self.order,
            status=LegStatus.FILLED if fact else LegStatus.REJECTED,
            at_s=self.prices.now_s,
            cover_id=fact.cover_id if fact else "",
            premium_usd=fact.premium_usd if fact else 0.0,
            gas_usd=gas_usd(self.run, self.prices.eth_usd),
            tx_hash=fact.receipt.tx_hash if fact else "",
            block_number=fact.receipt.block_number if fact else 0,
            because=because,
        )

    def _fact(self) -> CoverFact | None:
        return self.adapter.fact(self.order, self.run.receipts, view=self.view)

    def _standing(self, status: LegStatus, because: str) -> CoverOutcome:
        gas = 0.0 if self.prices.unknown else gas_usd(self.run, self.prices.eth_usd)
        return CoverOutcome(
            order=self.order, status=status, at_s=self.prices.now_s, gas_usd=gas, because=because
        )


def nexus_venue(
    *,
    reader: ChainReader,
    contracts: NexusContracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: NexusTerms | None = None,
) -> PlannedCoverVenue:
    """Return the covers of one mutual; without ``custody`` it quotes and reads those of ``account``."""
    adapter = NexusAdapter(
        reader=reader,
        contracts=contracts,
        account=account if custody is None else custody.address,
        terms=terms,
    )
    return PlannedCoverVenue(adapter, reader=reader, contracts=contracts, custody=custody)


def _refused(order: CoverOrder, at_s: float, because: str) -> CoverOutcome:
    return CoverOutcome(order=order, status=LegStatus.REJECTED, at_s=at_s, because=because)
