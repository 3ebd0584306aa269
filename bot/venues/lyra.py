"""Lyra v1 (Avalon): an options AMM with fixed expiries (contracts: npm ``@lyrafinance/protocol``)."""

from collections.abc import Mapping

from bot.model.execution import Ended, TradeFact
from bot.model.hedge import HedgeLeg
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.ports import ChainReader, Proposer, Transactor
from bot.venues.capabilities import CAPABILITIES
from bot.venues.lyra_booking import read_fact
from bot.venues.lyra_marks import LyraMarks
from bot.venues.lyra_plan import LyraPlanner
from bot.venues.lyra_quotes import LyraQuoter
from bot.venues.lyra_reads import COLLATERAL, MARKET, LyraContracts, LyraReads
from bot.venues.lyra_settled import read_end
from bot.venues.lyra_terms import LyraTerms
from bot.venues.lyra_trades import LyraTrades
from bot.venues.option_adapter import OptionAdapter, owner_of, planned_venue
from bot.venues.planned import PlannedVenue
from bot.venues.prices import Prices
from bot.venues.settlement import SettlementSwap


class LyraAdapter(OptionAdapter[LyraTerms]):
    """One Lyra market."""

    capabilities = CAPABILITIES["lyra"]

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: LyraContracts,
        swap: SettlementSwap,
        account: str | None = None,
        terms: LyraTerms | None = None,
    ) -> None:
        terms, pair = terms or LyraTerms(), swap.pair
        self._contracts, self._token = contracts, pair.settlement_token
        self._reads = LyraReads(reader, contracts)
        trades = LyraTrades(
            reader=reader,
            contracts=contracts,
            settlement_token=pair.settlement_token,
            iterations=terms.iterations,
            account=account,
        )
        quoter = LyraQuoter(reads=self._reads, trades=trades, swap=swap, terms=terms)
        super().__init__(
            terms=terms,
            money=terms.money(pair.settlement, stable=pair.stable),
            account=account,
            quoter=quoter,
            marks=LyraMarks(reads=self._reads, trades=trades, quoter=quoter, swap=swap, terms=terms),
            planner=LyraPlanner(reader=reader, reads=self._reads, trades=trades, pair=pair, terms=terms),
        )

    def permissions(self) -> tuple[Permission, ...]:
        """Every call that a leg may hold. A sale's floor and a purchase's cap are both arguments."""
        market, token = self._contracts.option_market.lower(), self._token.lower()
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

    def _fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], prices: Prices) -> TradeFact | None:
        return read_fact(
            leg,
            receipts,
            contracts=self._contracts,
            account=self._account or "",
            token=self._token,
            settlement_usd=prices.settlement_usd,
        )

    async def _ended(self, leg: HedgeLeg, prices: Prices, head: Block) -> Ended | None:
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
    owner = owner_of(custody, account)
    adapter = LyraAdapter(reader=reader, contracts=contracts, swap=swap, account=owner, terms=terms)
    return planned_venue(adapter, reader=reader, custody=custody, swap=swap)


def _harmless(target: str, function: str) -> CallRule:
    return CallRule(target=target, function=function, guard=Guard.NO_MONEY, opens=False)
