"""Makes a venue of covers of its adapter: a purchase is planned, carried out and booked by its receipts.

The executor is the one of options. A cover is bought by an order that a person confirmed; nothing else is
sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.errors import VenueRejected
from bot.model.cover import ClaimDraft, CoverFact, CoverOrder, CoverOutcome, CoverQuote, HeldCover
from bot.model.execution import ExecutionPlan
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.ports import ChainReader, MarketView, Proposer, Transactor
from bot.venues.nexus import NexusAdapter
from bot.venues.nexus_terms import NexusContracts, NexusTerms, prices_in
from bot.venues.order_life import AtHand, OrderLife
from bot.venues.planned_orders import PlannedOrders


class PlannedCoverVenue(PlannedOrders[CoverOrder, CoverOutcome]):
    """Covers of one mutual. Without ``custody`` it quotes and reads, and refuses every order."""

    def __init__(
        self,
        adapter: NexusAdapter,
        *,
        reader: ChainReader,
        contracts: NexusContracts,
        custody: Transactor | Proposer | None = None,
    ) -> None:
        super().__init__(adapter, reader=reader, custody=custody)
        self.adapter, self._contracts = adapter, contracts

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

    def _refused(self, order: CoverOrder, *, at_s: float, because: str) -> CoverOutcome:
        return CoverOutcome(order=order, status=LegStatus.REJECTED, at_s=at_s, because=because)

    def _life(self, at: AtHand[CoverOrder]) -> "_CoverLife":
        prices = prices_in(at.view, terms=self.adapter.terms, contracts=self._contracts)
        return _CoverLife(at=at, prices=prices, adapter=self.adapter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CoverLife(OrderLife[CoverOrder, CoverOutcome]):
    """One purchase."""

    adapter: NexusAdapter

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan:
        del done  # a purchase never waits
        plan = await self.adapter.plan(self.order, view=self.view, head=head)
        if plan.most_usd > self.order.limit_usd * (1.0 + 1e-6):
            raise VenueRejected(
                f"the plan may cost {plan.most_usd:.2f} USD, the order allows {self.order.limit_usd:.2f}"
            )
        return plan

    async def _booked(self, because: str) -> CoverOutcome:
        fact, spent = self._fact(), self._spent(because)
        if fact is None:
            return spent
        return replace(
            spent,
            status=LegStatus.FILLED,
            cover_id=fact.cover_id,
            premium_usd=fact.premium_usd,
            tx_hash=fact.receipt.tx_hash,
            block_number=fact.receipt.block_number,
        )

    def _fact(self) -> CoverFact | None:
        return self.adapter.fact(self.order, self.run.receipts, view=self.view)

    def _unfilled(self, status: LegStatus, *, gas_usd: float, because: str) -> CoverOutcome:
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
