"""Lyra v1 (Avalon): an options AMM with fixed expiries (contracts: npm ``@lyrafinance/protocol``)."""

from collections.abc import Mapping
from dataclasses import replace

from bot.model.execution import Due, DueAction, Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, Quote
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.ports import ChainReader, MarketView, Proposer, Transactor, VenuePosition
from bot.venues.lyra_booking import read_fact
from bot.venues.lyra_marks import LyraMarks
from bot.venues.lyra_plan import LyraPlanner
from bot.venues.lyra_quotes import LyraQuoter
from bot.venues.lyra_reads import COLLATERAL, MARKET, LyraContracts, LyraReads
from bot.venues.lyra_settled import read_end
from bot.venues.lyra_terms import LyraTerms, Refusal, money_of, prices_in
from bot.venues.lyra_trades import LyraTrades
from bot.venues.planned import PlannedVenue
from bot.venues.settlement import SettlementSwap


class LyraAdapter:
    """One Lyra market. ``account`` says whose positions are marked and who trades; none: quotes only."""

    goes_on_after: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: LyraContracts,
        swap: SettlementSwap,
        account: str | None = None,
        terms: LyraTerms | None = None,
    ) -> None:
        self.terms = terms or LyraTerms()
        self._account, self._contracts, self._pair = account, contracts, swap.pair
        self._reads = LyraReads(reader, contracts)
        trades = LyraTrades(
            reader=reader,
            contracts=contracts,
            settlement_token=swap.pair.settlement_token,
            iterations=self.terms.iterations,
            account=account,
        )
        self._quoter = LyraQuoter(reads=self._reads, trades=trades, swap=swap, terms=self.terms)
        self._marks = LyraMarks(
            reads=self._reads, trades=trades, quoter=self._quoter, swap=swap, terms=self.terms
        )
        self._planner = LyraPlanner(
            reader=reader, reads=self._reads, trades=trades, pair=swap.pair, terms=self.terms
        )
        self._refusals: tuple[Refusal, ...] = ()

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Options that the last ``quotes`` call listed and could not quote, with the market's reason."""
        return self._refusals

    @property
    def least_gas_ceiling(self) -> int:
        return self.terms.gas.least_ceiling

    def permissions(self) -> tuple[Permission, ...]:
        """Every call that a leg may hold. A sale's floor and a purchase's cap are both arguments."""
        market, token = self._contracts.option_market.lower(), self._pair.settlement_token.lower()
        trades = [
            CallRule(
                target=market,
                function=MARKET.function(name).signature,
                guard=Guard.BOUND,
                opens=name == "openPosition",
                most=(0, 7) if name == "openPosition" else None,
                least=None if name == "openPosition" else (0, 6),
            )
            for name in ("openPosition", "closePosition", "forceClosePosition")
        ]
        return (
            ApprovalRule(token=token, spender=market, opens=True),
            *trades,
            _harmless(market, MARKET.function("settleExpiredBoard").signature),
            _harmless(
                self._contracts.short_collateral.lower(), COLLATERAL.function("settleOptions").signature
            ),
        )

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes at the view's block; what has none is in ``refusals``."""
        if underlying != self.terms.underlying:
            self._refusals = ()
            return ()
        found, self._refusals = await self._quoter.quotes(view, size=size)
        return found

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the account's long positions, expired but unsettled ones included."""
        if self._account is None:
            return ()
        return tuple(_with_due(item) for item in await self._marks.held(view, account=self._account))

    async def plan(
        self,
        leg: HedgeLeg,
        *,
        view: MarketView,
        head: Block,
        done: Mapping[str, Receipt],  # noqa: ARG002 - no plan of Lyra's waits
    ) -> ExecutionPlan:
        prices = prices_in(view, terms=self.terms, pair=self._pair)
        return await self._planner.plan(leg, prices=prices, head=head)

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, view: MarketView) -> TradeFact | None:
        return read_fact(
            leg,
            receipts,
            contracts=self._contracts,
            account=self._account or "",
            token=self._pair.settlement_token,
            settlement_usd=prices_in(view, terms=self.terms, pair=self._pair).settlement_usd,
        )

    async def ended(self, leg: HedgeLeg, *, view: MarketView, head: Block) -> Ended | None:
        prices = prices_in(view, terms=self.terms, pair=self._pair)
        return await read_end(
            self._reads, leg, account=self._account or "", head=head, settlement_usd=prices.settlement_usd
        )


def lyra_venue(
    *,
    reader: ChainReader,
    contracts: LyraContracts,
    swap: SettlementSwap,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: LyraTerms | None = None,
) -> PlannedVenue:
    """Return the venue over one Lyra market; without ``custody`` it quotes and marks ``account``."""
    adapter = LyraAdapter(
        reader=reader,
        contracts=contracts,
        swap=swap,
        account=account if custody is None else custody.address,
        terms=terms,
    )
    return PlannedVenue(
        adapter,
        reader=reader,
        money=money_of(adapter.terms, swap.pair),
        custody=custody,
        swap=swap,
        buy_gas=adapter.terms.gas.buy,
    )


def _harmless(target: str, function: str) -> CallRule:
    return CallRule(target=target, function=function, guard=Guard.NO_MONEY, opens=False)


def _with_due(position: VenuePosition) -> VenuePosition:
    """Say what is due: anyone may settle an expired position, and nobody must."""
    if not position.settleable:
        return position
    action = DueAction.SETTLE if position.intrinsic_usd > 0.0 else DueAction.WORTHLESS
    due = Due(action=action, from_s=float(position.instrument.expiry_s), because="its board has expired")
    return replace(position, due=due)
