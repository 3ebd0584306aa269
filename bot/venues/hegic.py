"""Hegic Herge: American options from a pool, on ETH and BTC, paid in USDC (github hegic/contracts)."""

from collections.abc import Mapping

from bot.errors import InvariantError
from bot.model.execution import Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, Quote, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.model.units import from_fixed
from bot.ports import ChainReader, MarketView, Proposer, Transactor, VenuePosition
from bot.venues.capabilities import CAPABILITIES
from bot.venues.hegic_marks import HegicMarks
from bot.venues.hegic_plan import BUY, EXERCISE, HegicPlanner
from bot.venues.hegic_quotes import HegicQuoter
from bot.venues.hegic_reads import LOCKED, STRATEGY, TREASURY, HegicReads
from bot.venues.hegic_terms import HegicContracts, HegicTerms, money_of, prices_in
from bot.venues.lyra_terms import QUOTING_ADDRESS, Refusal
from bot.venues.planned import PlannedVenue
from bot.venues.steps import is_alone, token_delta
from bot.venues.token_checks import TokenChecks


class HegicAdapter:
    """One Herge system. ``account`` says whose options are marked and who trades; none: quotes only."""

    capabilities = CAPABILITIES["hegic"]
    goes_on_after: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: HegicContracts,
        account: str | None = None,
        terms: HegicTerms | None = None,
    ) -> None:
        self.terms = terms or HegicTerms()
        self._contracts, self._account = contracts, account
        self._reads = HegicReads(reader, contracts)
        self._quoter = HegicQuoter(reads=self._reads, terms=self.terms)
        self._marks = HegicMarks(reads=self._reads, quoter=self._quoter, terms=self.terms)
        self._planner = HegicPlanner(
            reads=self._reads,
            quoter=self._quoter,
            marks=self._marks,
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
        """Every call that a leg may hold; an exact allowance is all that bounds ``buy``. Never ``unlock``."""
        treasury = self._contracts.treasury.lower()
        buy = CallRule(
            target=treasury,
            function=TREASURY.function("buy").signature,
            guard=Guard.ALLOWANCE,
            opens=True,
            recipients=((1,),),
        )
        exercise = CallRule(
            target=treasury,
            function=TREASURY.function("payOff").signature,
            guard=Guard.NO_MONEY,
            opens=False,
            recipients=((1,),),
        )
        token = self._contracts.token.lower()
        return ApprovalRule(token=token, spender=treasury, opens=True), buy, exercise

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes at the view's block; what has none is in ``refusals``."""
        if underlying != self.terms.underlying:
            self._refusals = ()
            return ()
        found, self._refusals = await self._quoter.quotes(view, size=size)
        return found

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the account's options that can still be exercised."""
        return () if self._account is None else await self._marks.held(view, account=self._account)

    async def plan(
        self,
        leg: HedgeLeg,
        *,
        view: MarketView,
        head: Block,
        done: Mapping[str, Receipt],  # noqa: ARG002 - no plan of Hegic's waits
    ) -> ExecutionPlan:
        prices = prices_in(view, contracts=self._contracts, terms=self.terms)
        return await self._planner.plan(leg, prices=prices, head=head)

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, view: MarketView) -> TradeFact | None:
        """Read the trade's own event; its money is what moved, in a batch what the event says."""
        receipt = receipts.get(BUY if leg.side is Side.BUY else EXERCISE)
        if receipt is None or not receipt.succeeded:
            return None
        read = self._acquired if leg.side is Side.BUY else self._paid
        position_id, size, money_raw = read(leg, receipt)
        if is_alone(receipt, receipts):
            money_raw = abs(token_delta(receipt, token=self._contracts.token, account=self._account or ""))
        token_usd = prices_in(view, contracts=self._contracts, terms=self.terms).settlement_usd
        return TradeFact(
            position_id=position_id,
            size=size,
            premium_usd=from_fixed(money_raw, decimals=self._contracts.decimals) * token_usd,
            fee_usd=0.0,
            receipt=receipt,
        )

    async def ended(self, leg: HedgeLeg, *, view: MarketView, head: Block) -> Ended | None:  # noqa: ARG002
        """Nobody settles for us: an option that is no longer ours to exercise ended without payment."""
        if not leg.position_id.isdecimal():
            return None
        number, own = int(leg.position_id), (self._account or "").lower()
        state, _, expires_s = await self._reads.lock(number, head)
        if not expires_s:  # never was
            return None
        because, by_hand = "", True
        if expires_s <= head.timestamp_s:
            because, by_hand = "expired: nothing is paid at expiration or after it", False
        elif state != LOCKED:
            because = "exercised by hand"
        elif await self._reads.owner(number, head) != own:
            because = "moved by hand"
        if not because:
            return None
        return Ended(
            size=leg.size, payoff_usd=0.0, block_number=head.number, because=because, by_hand=by_hand
        )

    def _acquired(self, leg: HedgeLeg, receipt: Receipt) -> tuple[str, float, int]:
        """Return (position id, contracts, premium) of a purchase."""
        name = leg.instrument.id.partition(":")[0]
        for strategy in (item for item in self._contracts.strategies if item.name == name):
            for event in STRATEGY.logs("Acquired", receipt.logs, address=strategy.address):
                size = from_fixed(event["data"][0], decimals=strategy.decimals)
                return str(event["id"]), size, event["positivepnl"]
        raise InvariantError(f"leg {leg.key}: transaction {receipt.tx_hash} succeeded without Acquired")

    def _paid(self, leg: HedgeLeg, receipt: Receipt) -> tuple[str, float, int]:
        """Return (position id, contracts, payoff) of an exercise; a position is exercised whole."""
        for event in TREASURY.logs("Paid", receipt.logs, address=self._contracts.treasury):
            if str(event["id"]) == leg.position_id:
                return leg.position_id, leg.size, event["amount"]
        raise InvariantError(f"leg {leg.key}: transaction {receipt.tx_hash} succeeded without Paid")


def hegic_venue(
    *,
    reader: ChainReader,
    contracts: HegicContracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: HegicTerms | None = None,
) -> PlannedVenue:
    """Return the venue over one Herge system; without ``custody`` it quotes and marks ``account``."""
    adapter = HegicAdapter(
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
