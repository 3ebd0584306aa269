"""Perp v2 (curie): perpetuals on virtual Uniswap v3 pools and one vault (npm ``@perp/curie-contract``).

An account has one net position in a market. Every trade settles funding; fees are taken off the price.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from bot.errors import InvariantError, VenueRejected
from bot.model.execution import ExecutionPlan
from bot.model.intent import Log, Receipt
from bot.model.market import Block
from bot.model.perpetual import (
    Perpetual,
    PerpetualAction,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualFact
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.model.units import WAD_DECIMALS, from_fixed, to_fixed_down
from bot.ports import ChainReader, MarketView, Proposer, Transactor
from bot.venues.capabilities import CAPABILITIES
from bot.venues.overrides import QUOTING_ADDRESS
from bot.venues.perp_v2_plan import DEPOSIT, TRADE, PerpV2Planner
from bot.venues.perp_v2_reads import HOUSE, VAULT, MarketState, PerpV2Contracts, PerpV2Reads
from bot.venues.perp_v2_terms import PerpV2Terms
from bot.venues.perp_v2_trades import PLENTY_RAW, PerpV2Trades, Trade
from bot.venues.planned_perpetual import PlannedPerpetualVenue
from bot.venues.prices import pinned, prices_of

_TAKEN_SLACK = 1e-6  # of a size


class PerpV2Adapter:
    """One market. ``account`` says whose position is read and who trades; none: quotes only."""

    capabilities = CAPABILITIES["perp_v2"]

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: PerpV2Contracts,
        account: str | None = None,
        terms: PerpV2Terms | None = None,
    ) -> None:
        self.terms = terms or PerpV2Terms()
        self._reader, self._contracts, self._account = reader, contracts, account
        self._reads = PerpV2Reads(reader, contracts, twap_s=self.terms.twap_s)
        self._trades = PerpV2Trades(reader, contracts)
        self._planner = PerpV2Planner(
            reader=reader, reads=self._reads, trades=self._trades, terms=self.terms, account=account or ""
        )
        self.refusal = ""  # why the last question got no quote

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def least_gas_ceiling(self) -> int:
        return self.terms.gas.least_ceiling

    def permissions(self) -> tuple[Permission, ...]:
        """Every call that an order may hold.

        One function opens and reduces in part, and its bound is the least received or the most paid: > 0
        either way. A deposit takes on no risk and is the account's own to take back, so it may go on while
        paused: it keeps what is held from being liquidated.
        """
        house, vault = self._contracts.clearing_house.lower(), self._contracts.vault.lower()
        return (
            ApprovalRule(token=self._contracts.collateral.lower(), spender=vault, opens=False),
            _rule(vault, VAULT.function("deposit").signature, Guard.ALLOWANCE),
            _rule(vault, VAULT.function("withdraw").signature, Guard.NO_MONEY),
            CallRule(
                target=house,
                function=HOUSE.function("openPosition").signature,
                guard=Guard.BOUND,
                opens=True,
                most=(0, 4),
                deadline=(0, 5),
            ),
            CallRule(
                target=house,
                function=HOUSE.function("closePosition").signature,
                guard=Guard.BOUND,
                opens=False,
                most=(0, 2),
                deadline=(0, 3),
            ),
        )

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        """Return the market's quote, by eth_call of the trade both ways; none says why in ``refusal``."""
        self.refusal = ""
        if underlying != self.terms.underlying or not size > 0.0:
            return ()
        block = pinned(view)
        try:
            market = await self._reads.market(block)
            return (await self._quote(view, market, size, block),)
        except VenueRejected as refusal:
            self.refusal = str(refusal)
            return ()

    async def _quote(
        self, view: MarketView, market: MarketState, size: float, block: Block
    ) -> PerpetualQuote:
        terms = self.terms
        refusal = market.closed or ("mark and index are too far apart" if market.over_spread else "")
        if market.symbol != terms.symbol:
            refusal = f"base token is {market.symbol!r}, expected {terms.symbol!r}"
        if refusal:
            raise VenueRejected(refusal)
        size = max(round(size / terms.lot) * terms.lot, terms.min_size)
        cost = await self._cost(market, size, block)
        return PerpetualQuote(
            perpetual=terms.perpetual,
            size=size,
            mark_usd=market.mark_usd,
            funding_apr=market.funding_apr,
            cost=cost,
            initial_margin=market.initial_margin,
            maintenance_margin=market.maintenance_margin,
            gas_usd=terms.gas.order * prices_of(view, terms.money).gas_usd,
            min_size=terms.min_size,
            lot=terms.lot,
            liquidity=size * (terms.deeper if await self._takes(size * terms.deeper, block) else 1.0),
            valid_until_s=view.now_s + terms.quote_ttl_s,
            block_number=block.number,
        )

    async def _cost(self, market: MarketState, size: float, block: Block) -> float:
        """Return what a trade either way costs against the mark, of notional: the dearer of the two."""
        sold, bought = [await self._price(sells, size, block) for sells in (True, False)]
        return max(1.0 - sold / market.mark_usd, bought / market.mark_usd - 1.0, 0.0)

    async def _price(self, sells: bool, size: float, block: Block) -> float:
        trade = Trade(sells, to_fixed_down(size, decimals=WAD_DECIMALS))
        base, quote = await self._trades.quote_raw(
            trade, owner=QUOTING_ADDRESS, balance_raw=PLENTY_RAW, block=block
        )
        return quote / base

    async def _takes(self, size: float, block: Block) -> bool:
        try:
            await self._price(True, size, block)
        except VenueRejected:
            return False
        return True

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        """Return the account's position, none where it has none. Raises TransientError."""
        if self._account is None:
            return ()
        block = pinned(view)
        market = await self._reads.market(block)
        account = await self._reads.account(self._account, market, block)
        if not account.size_raw:
            return ()
        usd = prices_of(view, self.terms.money).settlement_usd
        return (
            PerpetualPosition(
                id=self.terms.symbol,
                perpetual=self.terms.perpetual,
                size=account.size,
                entry_usd=account.entry_usd,
                mark_usd=market.mark_usd,
                margin_usd=account.margin * usd,
                liquidation_usd=account.liquidation_usd(market),
                funding_usd=account.funding * usd,
            ),
        )

    async def plan(self, order: PerpetualOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        return await self._planner.plan(order, collateral_usd=self._usd(view), head=head)

    async def after(
        self, order: PerpetualOrder, receipts: Mapping[str, Receipt], *, view: MarketView, head: Block
    ) -> ExecutionPlan | None:
        return await self._planner.after(order, receipts, collateral_usd=self._usd(view), head=head)

    def _usd(self, view: MarketView) -> float:
        usd = prices_of(view, self.terms.money).settlement_usd
        if not 0.0 < usd < math.inf:
            raise VenueRejected(f"the price of {self.terms.collateral} is not known; nothing was sent")
        return usd

    def fact(
        self, order: PerpetualOrder, receipts: Mapping[str, Receipt], *, view: MarketView
    ) -> PerpetualFact | None:
        """Return what the events of an order's own transactions say; None where nothing came of it."""
        usd = prices_of(view, self.terms.money).settlement_usd
        trade = receipts.get(DEPOSIT if order.action is PerpetualAction.ADD_MARGIN else TRADE)
        if trade is None or not trade.succeeded:
            return None
        found = PerpetualFact(position_id=self.terms.symbol, receipt=trade)
        if order.action is PerpetualAction.ADD_MARGIN:
            return found
        event = self._own(trade, "PositionChanged")
        if event is None:
            raise InvariantError(f"trade {trade.tx_hash} of {order.key} succeeded without PositionChanged")
        size, notional = _wad(event["exchangedPositionSize"]), _wad(event["exchangedPositionNotional"])
        funding = self._own(trade, "FundingPaymentSettled")
        return PerpetualFact(
            position_id=self.terms.symbol,
            receipt=trade,
            size=size,
            price_usd=abs(notional / size),
            realised_usd=_wad(event["realizedPnl"]) * usd,
            fee_usd=_wad(event["fee"]) * usd,
            funding_usd=-_wad(funding["fundingPayment"]) * usd if funding else 0.0,
        )

    def margin_moved(self, receipts: Mapping[str, Receipt], *, view: MarketView) -> float:
        """Return what was deposited less what was taken back, USD, by the vault's events."""
        once = {item.tx_hash: item for item in receipts.values() if item.succeeded}
        moved = 0
        for receipt in once.values():
            for name, sign in (("Deposited", 1), ("Withdrawn", -1)):
                for event in VAULT.logs(name, receipt.logs, address=self._contracts.vault):
                    moved += sign * event["amount"] * (event["trader"] == (self._account or "").lower())
        usd = prices_of(view, self.terms.money).settlement_usd
        return from_fixed(moved, decimals=self.terms.collateral_decimals) * usd

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        """Return what liquidators took or a person traded, by the house's events since a block; else None.

        Only where they come to exactly what is gone. Raises TransientError when logs cannot be read whole.
        """
        if perpetual != self.terms.perpetual or self._account is None or not since_block:
            return None
        at, block = self._contracts, pinned(view)
        names = ("PositionLiquidated", "PositionChanged")
        topics = [
            [HOUSE.event(name).topic for name in names],
            [_word(self._account)],
            [_word(at.base_token)],
        ]
        rows = await self._reader.logs(
            addresses=[at.clearing_house], topics=topics, from_block=since_block + 1, to=block
        )
        taken = {row.tx_hash for row in rows if HOUSE.is_event("PositionLiquidated", row.log)}
        changes = [
            _change(row.log, closes=-math.copysign(1.0, size))
            for row in rows
            # Some versions say a liquidation by both events.
            if HOUSE.is_event("PositionLiquidated", row.log) or row.tx_hash not in taken
        ]
        moved = math.fsum(item.size for item in changes)
        if not changes or abs(moved + size) > _TAKEN_SLACK * abs(size):
            return None
        usd = prices_of(view, self.terms.money).settlement_usd
        return PerpetualEnd(
            size=size,
            price_usd=abs(math.fsum(item.notional for item in changes) / moved),
            fee_usd=math.fsum(item.fee for item in changes) * usd,
            because=changes[-1].because,
            tx_hash=rows[-1].tx_hash,
            block_number=rows[-1].block_number,
        )

    def _own(self, receipt: Receipt, name: str) -> Mapping[str, int] | None:
        events = [
            event
            for event in HOUSE.logs(name, receipt.logs, address=self._contracts.clearing_house)
            if (event["trader"], event["baseToken"])
            == ((self._account or "").lower(), self._contracts.base_token.lower())
        ]
        return events[-1] if events else None


class _Change(NamedTuple):
    """A change of the account's position that no order of ours made. Signed as it was traded."""

    size: float
    notional: float
    fee: float
    because: str


def _change(log: Log, *, closes: float) -> _Change:
    """Read an event; a liquidation's has no sign, so ``closes`` says which way it went."""
    if HOUSE.is_event("PositionLiquidated", log):
        event = HOUSE.decode_log("PositionLiquidated", log)
        size, notional = _wad(abs(event["positionSize"])), _wad(abs(event["positionNotional"]))
        by = f"liquidated by {event['liquidator']}"
        return _Change(closes * size, -closes * notional, _wad(event["liquidationFee"]), by)
    event = HOUSE.decode_log("PositionChanged", log)
    size, notional = _wad(event["exchangedPositionSize"]), _wad(event["exchangedPositionNotional"])
    return _Change(size, notional, _wad(event["fee"]), "traded by hand")


def perp_v2_venue(
    *,
    reader: ChainReader,
    contracts: PerpV2Contracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: PerpV2Terms | None = None,
) -> PlannedPerpetualVenue:
    """Return the venue over one market; without ``custody`` it quotes and reads ``account``."""
    adapter = PerpV2Adapter(
        reader=reader,
        contracts=contracts,
        account=account if custody is None else custody.address,
        terms=terms,
    )
    return PlannedPerpetualVenue(adapter, reader=reader, money=adapter.terms.money, custody=custody)


def _rule(target: str, function: str, guard: Guard) -> CallRule:
    return CallRule(target=target, function=function, guard=guard, opens=False)


def _word(address: str) -> str:
    """Return an address as a log's topic."""
    return "0x" + address.lower().removeprefix("0x").rjust(64, "0")


def _wad(raw: int) -> float:
    return from_fixed(raw, decimals=WAD_DECIMALS)
