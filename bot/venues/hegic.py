"""Hegic Herge: American options from a pool, on ETH and BTC, paid in USDC (github hegic/contracts)."""

from collections.abc import Mapping

from bot.model.execution import Ended, TradeFact
from bot.model.hedge import HedgeLeg, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.model.units import from_fixed
from bot.ports import ChainReader, Proposer, Transactor
from bot.venues.capabilities import CAPABILITIES
from bot.venues.facts import mined, moved_raw, no_event
from bot.venues.hegic_marks import HegicMarks
from bot.venues.hegic_plan import BUY, EXERCISE, HegicPlanner
from bot.venues.hegic_quotes import HegicQuoter
from bot.venues.hegic_reads import LOCKED, STRATEGY, TREASURY, HegicReads
from bot.venues.hegic_terms import HegicContracts, HegicTerms
from bot.venues.option_adapter import OptionAdapter, owner_of, planned_venue, unpaid
from bot.venues.overrides import QUOTING_ADDRESS
from bot.venues.planned import PlannedVenue
from bot.venues.prices import Prices
from bot.venues.token_checks import TokenChecks


class HegicAdapter(OptionAdapter[HegicTerms]):
    """One Herge system."""

    capabilities = CAPABILITIES["hegic"]

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: HegicContracts,
        account: str | None = None,
        terms: HegicTerms | None = None,
    ) -> None:
        terms = terms or HegicTerms()
        self._contracts, self._reads = contracts, HegicReads(reader, contracts)
        quoter = HegicQuoter(reads=self._reads, terms=terms)
        marks = HegicMarks(reads=self._reads, quoter=quoter, terms=terms)
        planner = HegicPlanner(
            reads=self._reads,
            quoter=quoter,
            marks=marks,
            checks=TokenChecks(reader),
            terms=terms,
            account=account or QUOTING_ADDRESS,
        )
        money = terms.money(contracts.symbol)
        super().__init__(
            terms=terms, money=money, account=account, quoter=quoter, marks=marks, planner=planner
        )

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

    def _fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], prices: Prices) -> TradeFact | None:
        """Read the trade's own event; its money is what moved, in a batch what the event says."""
        receipt = mined(receipts, BUY if leg.side is Side.BUY else EXERCISE)
        if receipt is None:
            return None
        read = self._acquired if leg.side is Side.BUY else self._paid
        position_id, size, said_raw = read(leg, receipt)
        money_raw = moved_raw(
            receipt,
            receipts,
            token=self._contracts.token,
            account=self._account or "",
            said_raw=said_raw,
        )
        return TradeFact(
            position_id=position_id,
            size=size,
            premium_usd=from_fixed(money_raw, decimals=self._contracts.decimals) * prices.settlement_usd,
            fee_usd=0.0,
            receipt=receipt,
        )

    async def _ended(self, leg: HedgeLeg, prices: Prices, head: Block) -> Ended | None:  # noqa: ARG002
        """Nobody settles for us: an option that is no longer ours to exercise ended without payment."""
        if not leg.position_id.isdecimal():
            return None
        number, own = int(leg.position_id), (self._account or "").lower()
        state, _, expires_s = await self._reads.lock(number, head)
        if not expires_s:  # never was
            return None
        if expires_s <= head.timestamp_s:
            because = "expired: nothing is paid at expiration or after it"
            return unpaid(leg, head, because, by_hand=False)
        if state != LOCKED:
            return unpaid(leg, head, "exercised by hand", by_hand=True)
        if await self._reads.owner(number, head) != own:
            return unpaid(leg, head, "moved by hand", by_hand=True)
        return None

    def _acquired(self, leg: HedgeLeg, receipt: Receipt) -> tuple[str, float, int]:
        """Return (position id, contracts, premium) of a purchase."""
        name = leg.instrument.id.partition(":")[0]
        for strategy in (item for item in self._contracts.strategies if item.name == name):
            for event in STRATEGY.logs("Acquired", receipt.logs, address=strategy.address):
                size = from_fixed(event["data"][0], decimals=strategy.decimals)
                return str(event["id"]), size, event["positivepnl"]
        raise no_event(leg, receipt, "Acquired")

    def _paid(self, leg: HedgeLeg, receipt: Receipt) -> tuple[str, float, int]:
        """Return (position id, contracts, payoff) of an exercise; a position is exercised whole."""
        for event in TREASURY.logs("Paid", receipt.logs, address=self._contracts.treasury):
            if str(event["id"]) == leg.position_id:
                return leg.position_id, leg.size, event["amount"]
        raise no_event(leg, receipt, "Paid")


def hegic_venue(
    *,
    reader: ChainReader,
    contracts: HegicContracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: HegicTerms | None = None,
) -> PlannedVenue:
    """Return the venue over one Herge system; without ``custody`` it quotes and marks ``account``."""
    owner = owner_of(custody, account)
    adapter = HegicAdapter(reader=reader, contracts=contracts, account=owner, terms=terms)
    return planned_venue(adapter, reader=reader, custody=custody)
