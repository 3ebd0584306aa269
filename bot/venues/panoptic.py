"""Panoptic v2: perpetual puts on ranges of a Uniswap v3 pool (panoptic-labs/panoptic-v2-core).

One pool of an underlying and a stable. v1 pools, and pools in safe mode, are never bought at; a close is
always possible, in safe mode without its swap.
"""

import math
from collections.abc import Mapping

from bot.errors import TransientError
from bot.model.execution import Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, OptionType, Quote
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.ports import ChainReader, MarketView, Proposer, Transactor, VenuePosition
from bot.venues.capabilities import CAPABILITIES
from bot.venues.lyra_terms import QUOTING_ADDRESS, Refusal
from bot.venues.panoptic_booking import PanopticBooking
from bot.venues.panoptic_marks import PanopticMarks
from bot.venues.panoptic_plan import PanopticPlanner
from bot.venues.panoptic_quotes import PanopticQuoter
from bot.venues.panoptic_reads import POOL, PanopticReads
from bot.venues.panoptic_steps import CLOSE, ROUTER, WITHDRAW_FREE, WITHDRAW_WITH
from bot.venues.panoptic_terms import PanopticContracts, PanopticTerms, money_of, prices_in
from bot.venues.planned import PlannedVenue
from bot.venues.token_checks import TokenChecks

_DEPOSIT = "deposit(uint256,address)"


class PanopticAdapter:
    """One pool. ``account`` says whose positions are marked and who trades; none: quotes only."""

    capabilities = CAPABILITIES["panoptic"]
    goes_on_after = frozenset({CLOSE})  # an order that was cut off there still has to withdraw

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: PanopticContracts,
        account: str | None = None,
        terms: PanopticTerms | None = None,
    ) -> None:
        self.terms = terms or PanopticTerms()
        self._contracts, self._account = contracts, account
        self._reads = PanopticReads(reader, contracts, self.terms)
        self._quoter = PanopticQuoter(reads=self._reads, terms=self.terms, account=account)
        self._planner = PanopticPlanner(
            reads=self._reads,
            quoter=self._quoter,
            checks=TokenChecks(reader),
            terms=self.terms,
            account=account or QUOTING_ADDRESS,
        )
        self._marks = PanopticMarks(reads=self._reads, planner=self._planner, terms=self.terms)
        self._booking = PanopticBooking(contracts=contracts, terms=self.terms, account=account or "")
        self._refusals: tuple[Refusal, ...] = ()

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Puts that the last ``quotes`` call found and could not quote, with the reason."""
        return self._refusals

    @property
    def least_gas_ceiling(self) -> int:
        return self.terms.gas.least_ceiling

    def permissions(self) -> tuple[Permission, ...]:
        """Every call that a leg may hold.

        A dispatch takes no money from the account: what it may use is what was deposited, exactly, before it.
        Collateral in the underlying is what a close may need, so it stays possible while paused.
        """
        c = self._contracts
        cash, unit = c.cash_tracker.lower(), c.unit_tracker.lower()
        deposits = [_deposit(tracker, opens=tracker == cash) for tracker in (cash, unit)]
        withdrawals = [
            CallRule(
                target=tracker,
                function=function,
                guard=Guard.BOUND,
                opens=False,
                recipients=((1,), (2,)),
                least=(0,),
            )
            for tracker in (cash, unit)
            for function in (WITHDRAW_FREE, WITHDRAW_WITH)
        ]
        return (
            ApprovalRule(token=c.cash_token.lower(), spender=cash, opens=True),
            ApprovalRule(token=c.unit_token.lower(), spender=unit, opens=False),
            ApprovalRule(token=c.cash_token.lower(), spender=c.router.lower(), opens=False),
            *deposits,
            *withdrawals,
            *_dispatches(c.pool.lower()),
            CallRule(
                target=c.router.lower(),
                function=ROUTER.function("exactOutputSingle").signature,
                guard=Guard.BOUND,
                opens=False,
                recipients=((0, 3),),
                most=(0, 6),
                deadline=(0, 4),
            ),
        )

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes at the view's block; what has none is in ``refusals``."""
        if underlying != self.terms.underlying or OptionType.PUT not in self.terms.option_types:
            self._refusals = ()
            return ()
        found, self._refusals = await self._quoter.quotes(view, size=size)
        return found

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the account's bought puts."""
        return () if self._account is None else await self._marks.held(view, account=self._account)

    async def plan(
        self, leg: HedgeLeg, *, view: MarketView, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        prices = prices_in(view, terms=self.terms, contracts=self._contracts)
        return await self._planner.plan(leg, prices=prices, head=head, done=done)

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, view: MarketView) -> TradeFact | None:
        prices = prices_in(view, terms=self.terms, contracts=self._contracts)
        if not math.isfinite(prices.spot_usd):
            raise TransientError(f"the price of {self.terms.underlying} is not known; {leg.key} waits for it")
        return self._booking.fact(leg, receipts, prices)

    async def ended(self, leg: HedgeLeg, *, view: MarketView, head: Block) -> Ended | None:  # noqa: ARG002
        """Return that a position is gone: closed by hand, exercised by a seller or liquidated."""
        if self._account is None:
            return None
        positions = await self._reads.positions(self._account, head)
        if any(item.id == leg.position_id for item in positions):
            return None
        return Ended(
            size=leg.size,
            payoff_usd=0.0,
            block_number=head.number,
            because=(
                f"position {leg.position_id} is no longer open: it was closed by hand, exercised by a "
                "seller or liquidated; what it brought lies in the pool's collateral"
            ),
            by_hand=True,
        )


def panoptic_venue(
    *,
    reader: ChainReader,
    contracts: PanopticContracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: PanopticTerms | None = None,
) -> PlannedVenue:
    """Return the venue over one pool; without ``custody`` it quotes and marks ``account``."""
    adapter = PanopticAdapter(
        reader=reader,
        contracts=contracts,
        account=account if custody is None else custody.address,
        terms=terms,
    )
    return PlannedVenue(
        adapter,
        reader=reader,
        money=money_of(adapter.terms, contracts),
        custody=custody,
        buy_gas=adapter.terms.gas.buy,
    )


def _deposit(tracker: str, *, opens: bool) -> CallRule:
    return CallRule(
        target=tracker,
        function=_DEPOSIT,
        guard=Guard.BOUND,
        opens=opens,
        recipients=((1,),),
        most=(0,),
    )


def _dispatches(pool: str) -> tuple[CallRule, ...]:
    """One function opens and closes: a close is told by sizes that all are 0."""
    function = POOL.function("dispatch").signature
    return (
        CallRule(target=pool, function=function, guard=Guard.NO_MONEY, opens=False, zeros=((2,),)),
        CallRule(target=pool, function=function, guard=Guard.BOUND, opens=True, most=(2, 0)),
    )
