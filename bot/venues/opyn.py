"""Opyn Gamma: European options as ERC-20 tokens, fully collateralised (opynfinance/GammaProtocol).

There is no market of its own: oTokens trade on Uniswap v3, and are redeemed at the Controller after expiry.
"""

from collections.abc import Mapping

from bot.model.execution import Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, Quote
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ANY_TOKEN, ApprovalRule, CallRule, Guard, Permission
from bot.ports import ChainReader, MarketView, Proposer, Transactor, VenuePosition
from bot.venues.capabilities import CAPABILITIES
from bot.venues.lyra_terms import QUOTING_ADDRESS, Refusal
from bot.venues.opyn_booking import read_fact
from bot.venues.opyn_marks import OpynMarks
from bot.venues.opyn_plan import ACTION_REDEEM, PUSH, OpynPlanner
from bot.venues.opyn_pools import ROUTER, OpynPools
from bot.venues.opyn_quotes import OpynQuoter
from bot.venues.opyn_reads import CONTROLLER, PRICER, OpynReads
from bot.venues.opyn_terms import OpynContracts, OpynTerms, money_of, otoken_of, prices_in
from bot.venues.planned import PlannedVenue
from bot.venues.token_checks import TokenChecks


class OpynAdapter:
    """One Gamma system. ``account`` says whose oTokens are marked and who trades; none: quotes only."""

    capabilities = CAPABILITIES["opyn"]
    goes_on_after: frozenset[str] = frozenset({PUSH})

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: OpynContracts,
        account: str | None = None,
        terms: OpynTerms | None = None,
    ) -> None:
        self.terms = terms or OpynTerms()
        self._contracts, self._account = contracts, account
        self._reads = OpynReads(reader, contracts)
        self._pools = OpynPools(reader=reader, contracts=contracts, terms=self.terms)
        self._quoter = OpynQuoter(reads=self._reads, pools=self._pools, terms=self.terms)
        self._marks = OpynMarks(reads=self._reads, pools=self._pools, quoter=self._quoter, terms=self.terms)
        self._planner = OpynPlanner(
            reads=self._reads,
            pools=self._pools,
            checks=TokenChecks(reader),
            terms=self.terms,
            account=account or QUOTING_ADDRESS,
        )
        self._refusals: tuple[Refusal, ...] = ()

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Options that the last ``quotes`` call listed and could not quote, with the reason."""
        return self._refusals

    @property
    def least_gas_ceiling(self) -> int:
        return self.terms.gas.least_ceiling

    def permissions(self) -> tuple[Permission, ...]:
        """Every call that a leg may hold. A sale spends an oToken, which only the chain names."""
        c = self._contracts
        router, controller = c.router.lower(), c.controller.lower()
        redeem = CallRule(
            target=controller,
            function=CONTROLLER.function("operate").signature,
            guard=Guard.NO_MONEY,
            opens=False,
            recipients=((0, 0, 2),),
            equals=(((0, 0, 0), ACTION_REDEEM),),
            single=((0,),),
        )
        push = [
            CallRule(
                target=c.pricer.lower(),
                function=PRICER.function("setExpiryPriceInOracle").signature,
                guard=Guard.NO_MONEY,
                opens=False,
            )
            for _ in range(bool(c.pricer))
        ]
        return (
            ApprovalRule(token=c.token.lower(), spender=router, opens=True),
            ApprovalRule(token=ANY_TOKEN, spender=router, opens=False),
            _swap(router, "exactOutputSingle", opens=True),
            _swap(router, "exactInputSingle", opens=False),
            redeem,
            *push,
        )

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes at the view's block; what has none is in ``refusals``."""
        if underlying != self.terms.underlying:
            self._refusals = ()
            return ()
        found, self._refusals = await self._quoter.quotes(view, size=size)
        return found

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the account's oTokens, but for those that expired worthless."""
        return () if self._account is None else await self._marks.held(view, account=self._account)

    async def plan(
        self, leg: HedgeLeg, *, view: MarketView, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        prices = prices_in(view, contracts=self._contracts, terms=self.terms)
        return await self._planner.plan(leg, prices=prices, head=head, done=done)

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, view: MarketView) -> TradeFact | None:
        return read_fact(
            leg,
            receipts,
            contracts=self._contracts,
            account=self._account or "",
            fee_share=self._pools.fee_share,
            prices=prices_in(view, contracts=self._contracts, terms=self.terms),
        )

    async def ended(self, leg: HedgeLeg, *, view: MarketView, head: Block) -> Ended | None:  # noqa: ARG002
        """Worthless oTokens are booked at 0 and left where they are: redeeming them would only cost gas."""
        otoken = otoken_of(leg.instrument)
        series = await self._reads.series(otoken, head) if otoken else None
        if series is None or self._account is None or head.timestamp_s < series.expiry_s:
            return None
        (held_raw,) = await self._reads.balances([series.otoken], self._account, head)
        because, by_hand = "redeemed or moved by hand", True
        if held_raw:
            system = await self._reads.system(head)
            state = await self._reads.settlement(system, series, head)
            if not state.is_allowed or await self._reads.payout_raw(series, held_raw, head):
                return None
            because, by_hand = "expired worthless; nothing was sent", False
        return Ended(
            size=leg.size, payoff_usd=0.0, block_number=head.number, because=because, by_hand=by_hand
        )


def opyn_venue(
    *,
    reader: ChainReader,
    contracts: OpynContracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: OpynTerms | None = None,
) -> PlannedVenue:
    """Return the venue over one Gamma system; without ``custody`` it quotes and marks ``account``."""
    adapter = OpynAdapter(
        reader=reader,
        contracts=contracts,
        account=account if custody is None else custody.address,
        terms=terms,
    )
    return PlannedVenue(
        adapter,
        reader=reader,
        money=money_of(contracts, adapter.terms),
        custody=custody,
        buy_gas=adapter.terms.gas.buy,
    )


def _swap(router: str, function: str, *, opens: bool) -> CallRule:
    return CallRule(
        target=router,
        function=ROUTER.function(function).signature,
        guard=Guard.BOUND,
        opens=opens,
        recipients=((0, 3),),
        most=(0, 6) if opens else None,
        least=None if opens else (0, 6),
        deadline=(0, 4),
    )
