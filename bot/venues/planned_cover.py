"""Makes a venue of covers of its adapter: a purchase is planned, carried out and booked by its receipts.

The executor is the one of options. A cover is bought by an order that a person confirmed; nothing else is
sent.
"""

import asyncio
from dataclasses import dataclass

from bot.errors import AwaitingSignatures, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.cover import ClaimDraft, CoverFact, CoverOrder, CoverOutcome, CoverQuote, HeldCover
from bot.model.hedge import LegStatus
from bot.model.signing import Permission
from bot.model.units import WAD_DECIMALS, from_fixed
from bot.ports import ChainReader, MarketView, Proposer, Transactor
from bot.venues.executor import OrderRun
from bot.venues.nexus import NexusAdapter
from bot.venues.nexus_terms import NexusContracts, NexusTerms, prices_in
from bot.venues.prices import Prices

_UNSEEN = (TransientError, StaleDataError)


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
            return await self._run(order, view, self._custody).execute()

    async def reconcile(self, order: CoverOrder, *, view: MarketView) -> CoverOutcome:
        """Say what became of an order that an earlier run left open; sends nothing but revocations."""
        if self._custody is None:
            return _refused(order, view.now_s, f"{self.name}: no account that can sign")
        async with self._one_order:
            return await self._run(order, view, self._custody, again=True).reconcile()

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

    async def execute(self) -> CoverOutcome:
        if self.prices.unknown:  # what it costs could not be booked
            return self._refused(f"prices are not known: {self.prices.unknown}; nothing was sent")
        because = ""
        try:
            await self._carry_out()
        except (VenueRejected, *_UNSEEN) as error:
            if not self.run.has_sent:
                return self._refused(str(error))
            if not isinstance(error, VenueRejected):
                return self._unknown(error)
            because = str(error)
        except OutcomeUnknown as error:
            return self._unknown(error)
        return await self._finish(because)

    async def reconcile(self) -> CoverOutcome:
        try:
            await self.run.finish()
        except AwaitingSignatures as error:
            return await self._reviewed(error)
        except (VenueRejected, OutcomeUnknown, *_UNSEEN) as error:
            return self._unknown(error)
        return await self._finish("" if self._fact() else "abandoned at restart")

    async def _carry_out(self) -> None:
        order, head = self.order, await self.reader.head()
        if head.timestamp_s > order.valid_until_s:
            raise VenueRejected(
                f"the order was valid until {order.valid_until_s:.0f}, it is {head.timestamp_s}"
            )
        plan = await self.adapter.plan(order, view=self.view, head=head)
        if plan.most_usd > order.limit_usd * (1.0 + 1e-6):
            raise VenueRejected(
                f"the plan may cost {plan.most_usd:.2f} USD, the order allows {order.limit_usd:.2f}"
            )
        await self.run.carry_out(plan, head=head)

    async def _finish(self, because: str) -> CoverOutcome:
        """Leave no allowance behind, and book what the receipts say."""
        try:
            await self.run.finish()
        except (VenueRejected, OutcomeUnknown, *_UNSEEN) as error:
            return self._unknown(error)
        if self.prices.unknown:
            return self._unknown(TransientError(f"prices are not known: {self.prices.unknown}"))
        fact = self._fact()
        return CoverOutcome(
            order=self.order,
            status=LegStatus.FILLED if fact else LegStatus.REJECTED,
            at_s=self.prices.now_s,
            cover_id=fact.cover_id if fact else "",
            premium_usd=fact.premium_usd if fact else 0.0,
            gas_usd=self._gas_usd(),
            tx_hash=fact.receipt.tx_hash if fact else "",
            block_number=fact.receipt.block_number if fact else 0,
            because=because,
        )

    async def _reviewed(self, error: AwaitingSignatures) -> CoverOutcome:
        """Look at an open proposal again: is it still what its owners are asked to sign?"""
        because = ""
        try:
            head = await self.reader.head()
            if head.timestamp_s > self.order.valid_until_s:
                because = f"valid until {self.order.valid_until_s:.0f}, it is {head.timestamp_s}"
            else:
                await self.adapter.plan(self.order, view=self.view, head=head)
        except VenueRejected as refusal:
            because = f"overtaken: {refusal}"
        except (OutcomeUnknown, *_UNSEEN) as trouble:
            return self._open(LegStatus.PROPOSED, f"{error}; it could not be looked at again: {trouble}")
        if because and isinstance(self.custody, Proposer):
            try:
                await self.custody.withdraw(self.order.key, because=because)
            except (OutcomeUnknown, *_UNSEEN) as trouble:
                return self._unknown(trouble)
        return self._open(LegStatus.PROPOSED, because or str(error))

    def _fact(self) -> CoverFact | None:
        return self.adapter.fact(self.order, self.run.receipts, view=self.view)

    def _gas_usd(self) -> float:
        costs = {receipt.tx_hash: receipt.gas_cost_wei for receipt in self.run.receipts.values()}
        return from_fixed(sum(costs.values()), decimals=WAD_DECIMALS) * self.prices.eth_usd

    def _refused(self, because: str) -> CoverOutcome:
        return _refused(self.order, self.prices.now_s, because)

    def _unknown(self, error: Exception) -> CoverOutcome:
        """An end that cannot be seen now: reconcile finds it by the order's key."""
        proposed = isinstance(error, AwaitingSignatures)
        return self._open(LegStatus.PROPOSED if proposed else LegStatus.UNKNOWN, str(error))

    def _open(self, status: LegStatus, because: str) -> CoverOutcome:
        gas_usd = 0.0 if self.prices.unknown else self._gas_usd()
        return CoverOutcome(
            order=self.order, status=status, at_s=self.prices.now_s, gas_usd=gas_usd, because=because
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
