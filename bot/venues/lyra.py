"""Lyra v1 (Avalon): an options AMM with fixed expiries (contracts: npm ``@lyrafinance/protocol``)."""

import asyncio

from bot.model.hedge import HedgeLeg, LegOutcome, Quote
from bot.ports import ChainReader, MarketView, Transactor, VenuePosition
from bot.venues.booked import rejected
from bot.venues.lyra_marks import LyraMarks
from bot.venues.lyra_quotes import LyraQuoter
from bot.venues.lyra_reads import COLLATERAL, MARKET, LyraContracts, LyraReads
from bot.venues.lyra_steps import LyraExecution
from bot.venues.lyra_terms import LyraTerms, Refusal
from bot.venues.lyra_trades import LyraTrades
from bot.venues.settlement import SettlementSwap
from bot.venues.steps import ERC20, LegSteps


class LyraVenue:
    """Venue over one Lyra market.

    Without ``transactor`` it lists, quotes and marks, and refuses every leg; ``account`` then says whose
    positions are marked. One transactor per account: two would mix up each other's allowances.
    """

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: LyraContracts,
        swap: SettlementSwap,
        transactor: Transactor | None = None,
        account: str | None = None,
        terms: LyraTerms | None = None,
    ) -> None:
        self._reader = reader
        self._swap = swap
        self._transactor = transactor
        self._account = account if transactor is None else transactor.address
        self._terms = terms or LyraTerms()
        self._reads = LyraReads(reader, contracts)
        self._trades = LyraTrades(
            reader=reader,
            contracts=contracts,
            settlement_token=swap.pair.settlement_token,
            iterations=self._terms.iterations,
            account=self._account,
        )
        self._quoter = LyraQuoter(reads=self._reads, trades=self._trades, swap=swap, terms=self._terms)
        self._marks = LyraMarks(
            reads=self._reads, trades=self._trades, quoter=self._quoter, swap=swap, terms=self._terms
        )
        self._refusals: tuple[Refusal, ...] = ()
        self._one_leg = asyncio.Lock()  # two legs at once would overwrite each other's allowances

    @property
    def name(self) -> str:
        return self._terms.name

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Options that the last ``quotes`` call listed and could not quote, with the market's reason."""
        return self._refusals

    @property
    def least_gas_ceiling(self) -> int:
        """Gas limit that a signer must allow: under a smaller one every leg would fail half-way."""
        return self._terms.gas.least_ceiling

    def permissions(self) -> tuple[tuple[str, bytes], ...]:
        """Every (target, selector) that a leg may send, for the signer's allow-list."""
        market = self._reads.contracts.option_market
        trades = ("openPosition", "closePosition", "forceClosePosition", "settleExpiredBoard")
        settle = COLLATERAL.function("settleOptions").selector
        return (
            *self._swap.permissions,
            *((market, MARKET.function(name).selector) for name in trades),
            (self._reads.contracts.short_collateral, settle),
        )

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes at the view's block; what has none is in ``refusals``."""
        if underlying != self._terms.underlying:
            self._refusals = ()
            return ()
        found, self._refusals = await self._quoter.quotes(view, size=size)
        return found

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the account's long positions, expired but unsettled ones included."""
        return () if self._account is None else await self._marks.held(view, account=self._account)

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Do one leg to its end: filled, refused (with what was spent on the way), or unknown."""
        if self._transactor is None:
            return rejected(leg, at_s=view.now_s, because=f"{self.name}: no account that can sign")
        async with self._one_leg:
            return await self._execution(leg, view, self._transactor).execute()

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Say what became of a leg that an earlier run left open, and revoke what it left allowed."""
        if self._transactor is None:
            return rejected(leg, at_s=view.now_s, because=f"{self.name}: no account that can sign")
        async with self._one_leg:
            return await self._execution(leg, view, self._transactor).reconcile()

    async def loose_settlement_usd(self, view: MarketView) -> float:
        """Return the worth of settlement tokens the account holds outside positions: cash, used first."""
        if self._account is None or view.block is None:
            return 0.0
        pair = self._swap.pair
        call = ERC20.call("balanceOf", pair.settlement_token, self._account)
        row = (await self._reader.read([call], block=view.block))[0]
        price = view.stable_usd.get(pair.settlement, float("nan"))
        return float("nan") if row is None else self._swap.settlement_amount(row[0]) * price

    def _execution(self, leg: HedgeLeg, view: MarketView, transactor: Transactor) -> LyraExecution:
        return LyraExecution(
            reader=self._reader,
            reads=self._reads,
            trades=self._trades,
            swap=self._swap,
            terms=self._terms,
            steps=LegSteps(transactor, leg),
            view=view,
        )
