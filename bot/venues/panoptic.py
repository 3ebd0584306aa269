"""Panoptic v2: perpetual puts on ranges of a Uniswap v3 pool (panoptic-labs/panoptic-v2-core).

One pool of an underlying and a stable. v1 pools, and pools in safe mode, are never bought at; a close is
always possible, in safe mode without its swap.
"""

import math
from collections.abc import Mapping

from bot.errors import TransientError
from bot.model.execution import Ended, TradeFact
from bot.model.hedge import HedgeLeg
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.ports import ChainReader, MarketView, Proposer, Transactor
from bot.venues.capabilities import CAPABILITIES
from bot.venues.facts import mined
from bot.venues.option_adapter import OptionAdapter, owner_of, planned_venue, unpaid
from bot.venues.overrides import QUOTING_ADDRESS
from bot.venues.panoptic_booking import PanopticBooking
from bot.venues.panoptic_marks import PanopticMarks
from bot.venues.panoptic_plan import PanopticPlanner
from bot.venues.panoptic_quotes import PanopticQuoter
from bot.venues.panoptic_reads import POOL, PanopticReads
from bot.venues.panoptic_steps import CLOSE, WITHDRAW_FREE, WITHDRAW_WITH
from bot.venues.panoptic_terms import PanopticContracts, PanopticTerms
from bot.venues.planned import PlannedVenue
from bot.venues.prices import Prices
from bot.venues.token_checks import TokenChecks
from bot.venues.v3_swap import Exact, swap_rule

_DEPOSIT = "deposit(uint256,address)"


class PanopticAdapter(OptionAdapter[PanopticTerms]):
    """One pool."""

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
        terms = terms or PanopticTerms()
        self._contracts, self._reads = contracts, PanopticReads(reader, contracts, terms)
        self._booking = PanopticBooking(contracts=contracts, terms=terms, account=account or "")
        quoter = PanopticQuoter(reads=self._reads, terms=terms, account=account)
        planner = PanopticPlanner(
            reads=self._reads,
            quoter=quoter,
            checks=TokenChecks(reader),
            terms=terms,
            account=account or QUOTING_ADDRESS,
        )
        super().__init__(
            terms=terms,
            money=terms.money(contracts.cash),
            account=account,
            quoter=quoter,
            marks=PanopticMarks(reads=self._reads, planner=planner, terms=terms),
            planner=planner,
        )

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
            swap_rule(c.router, Exact.OUT, opens=False, token_in=c.cash_token, token_out=c.unit_token),
        )

    def _fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], prices: Prices) -> TradeFact | None:
        if not math.isfinite(prices.spot_usd):
            raise TransientError(f"the price of {self.terms.underlying} is not known; {leg.key} waits for it")
        return self._booking.fact(leg, receipts, prices)

    async def ended(
        self, leg: HedgeLeg, *, view: MarketView, head: Block, done: Mapping[str, Receipt]
    ) -> Ended | None:
        """Nothing ended without us where our own close was mined: its money is still to be taken out."""
        if mined(done, CLOSE) is not None:
            return None
        return await super().ended(leg, view=view, head=head, done=done)

    async def _ended(self, leg: HedgeLeg, prices: Prices, head: Block) -> Ended | None:  # noqa: ARG002
        """Return that a position is gone: closed by hand, exercised by a seller or liquidated."""
        if self._account is None:
            return None
        positions = await self._reads.positions(self._account, head)
        if any(item.id == leg.position_id for item in positions):
            return None
        because = (
            f"position {leg.position_id} is no longer open: it was closed by hand, exercised by a "
            "seller or liquidated; what it brought lies in the pool's collateral"
        )
        return unpaid(leg, head, because, by_hand=True)


def panoptic_venue(
    *,
    reader: ChainReader,
    contracts: PanopticContracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: PanopticTerms | None = None,
) -> PlannedVenue:
    """Return the venue over one pool; without ``custody`` it quotes and marks ``account``."""
    owner = owner_of(custody, account)
    adapter = PanopticAdapter(reader=reader, contracts=contracts, account=owner, terms=terms)
    return planned_venue(adapter, reader=reader, custody=custody)


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
