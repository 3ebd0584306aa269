"""Derive v3 (ex-Lyra v2): an off-chain order book; orders are EIP-712 actions of a session key.

Options settle in USDC, at 08:00 UTC of their day and by the exchange itself: nothing is ever exercised, and
what it paid is found in its history. Positions are fungible: one per instrument, whose name is its id.
"""

import math
from collections.abc import Mapping

from bot.chain.derive_actions import E18
from bot.errors import InvariantError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.execution import NOTHING_DUE, Due, DueAction, Ended, ExecutionPlan, SignedMessage, TradeFact
from bot.model.hedge import HedgeLeg, Instrument, Quote, Side
from bot.model.intent import Receipt, TxRequest
from bot.model.market import Block
from bot.model.signing import Permission
from bot.model.units import DAY_S, WAD_DECIMALS, from_fixed, to_fixed_down, to_fixed_up
from bot.ports import ChainReader, MarketView, VenuePosition
from bot.venues.booked import model_usd, payoff_usd
from bot.venues.capabilities import CAPABILITIES
from bot.venues.derive_account import DeriveAccount
from bot.venues.derive_client import DeriveClient
from bot.venues.derive_fills import fill_of
from bot.venues.derive_messenger import EXECUTE_QUOTE, ORDER, DeriveMessenger, said_by
from bot.venues.derive_orders import (
    DeriveOrder,
    DeriveTerms,
    PriceLimit,
    amount_of,
    buy_price_e18,
    sell_price_e18,
    size_e18,
    taken,
    unit_fee_e18,
)
from bot.venues.derive_quotes import DeriveMarket, Listed, check_basis, sale_usd
from bot.venues.derive_replies import SETTLEMENT, VENUE, PositionRow, instrument_named
from bot.venues.derive_rfq import best_maker, estimated
from bot.venues.option_quotes import Refusal
from bot.venues.planned import PlannedVenue
from bot.venues.prices import Money, prices_of

MONEY = Money(settlement=SETTLEMENT, stable=SETTLEMENT)
PURPOSES = {Side.BUY: "open", Side.SELL: "close"}
_SETTLED_WITHIN_S = DAY_S  # after expiry; a position that is gone by then without a row was moved by hand


class DeriveAdapter:
    """One subaccount, or none: quotes only. Implements ``ports.VenueAdapter``."""

    capabilities = CAPABILITIES["derive"]
    goes_on_after: frozenset[str] = frozenset()
    least_gas_ceiling = 0

    def __init__(
        self,
        *,
        client: DeriveClient,
        account: DeriveAccount | None = None,
        terms: DeriveTerms | None = None,
    ) -> None:
        self.terms = terms or DeriveTerms()
        self._client, self._account = client, account
        self._market = DeriveMarket(client, self.terms)

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Options that the last ``quotes`` call could not quote, and why."""
        return self._market.refusals

    def permissions(self) -> tuple[Permission, ...]:
        """No transaction is ever sent for it: what may be signed is a DeriveActionRule."""
        return ()

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        usdc_usd = prices_of(view, MONEY).settlement_usd
        found = await self._market.quotes(view, underlying=underlying, size=size, usdc_usd=usdc_usd)
        if not self.terms.rfq or self._account is None:
            return found
        return await estimated(self._client, self._account, found, size, terms=self.terms, usdc_usd=usdc_usd)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the long options of the subaccount. Raises StaleDataError where it is short of one."""
        if self._account is None:
            return ()
        rows = await self._account.positions()
        wanted = [instrument_named(row.name) for row in rows]
        live = [item for item in wanted if item.expiry_s > view.now_s]
        marks = await self._market.marks(live, now_s=view.now_s)
        usdc_usd = prices_of(view, MONEY).settlement_usd
        return tuple(
            _position(row, instrument, marks.get(row.name, ""), view, usdc_usd=usdc_usd)
            for row, instrument in zip(rows, wanted, strict=True)
        )

    async def plan(
        self,
        leg: HedgeLeg,
        *,
        view: MarketView,
        head: Block,  # noqa: ARG002 - no chain knows this venue
        done: Mapping[str, Receipt],  # noqa: ARG002 - no plan of Derive's waits
    ) -> ExecutionPlan:
        """One signed order within the leg's limit. The exchange runs it dry before it takes it."""
        if leg.side is Side.SETTLE:
            raise VenueRejected("Derive settles options itself, and has not yet settled this one")
        usdc_usd = prices_of(view, MONEY).settlement_usd
        if not 0.0 < usdc_usd < math.inf:
            raise VenueRejected(f"the price of {SETTLEMENT} is not known; nothing was sent")
        if self._account is None or leg.instrument.venue != VENUE:
            raise VenueRejected(f"no subaccount at Derive, or a leg of {leg.instrument.venue}")
        listed = await self._market.listed(leg.instrument, now_s=view.now_s)
        check_basis(listed.ticker, leg.instrument, view, self.terms)
        if leg.side is Side.BUY:
            order = await self._purchase(leg, listed, usdc_usd)
        else:
            order = await self._sale(leg, listed, usdc_usd, self._account)
        step = SignedMessage(
            purpose=PURPOSES[leg.side],
            endpoint=EXECUTE_QUOTE if order.quote_id else ORDER,
            payload=order.payload(),
        )
        share = order.amount_e18 / E18 / leg.size  # a size in whole steps brings its share of the least
        return ExecutionPlan(
            steps=(step,),
            trade=step.purpose,
            valid_until_s=leg.valid_until_s,
            most_usd=order.most_e18 / E18 * usdc_usd,
            least_usd=max(order.least_e18, 0) / E18 * usdc_usd / min(share, 1.0),
            because="a maker's quote" if order.quote_id else "",
        )

    def fact(
        self,
        leg: HedgeLeg,
        receipts: Mapping[str, Receipt],
        *,
        view: MarketView,
    ) -> TradeFact | None:
        """Return what the exchange's answer says. Raises InvariantError for one worse than was signed."""
        receipt = receipts.get(PURPOSES.get(leg.side, ""))
        if receipt is None or not receipt.succeeded:
            return None
        order, reply = said_by(receipt)
        if (order.name, order.is_buy) != (leg.instrument.id, leg.side is Side.BUY):
            raise InvariantError(
                f"leg {leg.key} is a {leg.side} of {leg.instrument.id}, sent was {order.name}"
            )
        fill = fill_of(order, reply)
        if fill is None:
            return None
        usdc_usd = prices_of(view, MONEY).settlement_usd
        money_e18 = fill.cost_e18 + (fill.fee_e18 if order.is_buy else -fill.fee_e18)
        return TradeFact(
            position_id=order.name,
            size=from_fixed(fill.size_e18, decimals=WAD_DECIMALS),
            premium_usd=max(money_e18, 0) / E18 * usdc_usd,
            fee_usd=fill.fee_e18 / E18 * usdc_usd,
            receipt=receipt,
        )

    async def ended(
        self,
        leg: HedgeLeg,
        *,
        view: MarketView,
        head: Block,
        done: Mapping[str, Receipt],  # noqa: ARG002
    ) -> Ended | None:
        """Return what the exchange paid at expiry, None while it has not."""
        instrument = leg.instrument
        if self._account is None or view.now_s < instrument.expiry_s:
            return None
        rows = {row for row in await self._account.settlements() if row.name == instrument.id}
        settled_e18 = sum(row.amount_e18 for row in rows)
        if settled_e18 > 0:
            for row in rows:
                _check_settled(instrument, row.price_e18, row.amount_e18, row.value_e18)
            share = min(leg.size / (settled_e18 / E18), 1.0)
            usdc_usd = prices_of(view, MONEY).settlement_usd
            return Ended(
                size=min(leg.size, settled_e18 / E18),
                payoff_usd=sum(row.value_e18 for row in rows) / E18 * share * usdc_usd,
                block_number=head.number,
                because=f"settled by Derive at {next(iter(rows)).price_e18 / E18:,.2f} USDC",
            )
        late = view.now_s > instrument.expiry_s + _SETTLED_WITHIN_S
        if not late or any(row.name == instrument.id for row in await self._account.positions()):
            return None
        because = "closed or moved by hand; Derive settled nothing of it"
        return Ended(size=leg.size, payoff_usd=0.0, block_number=head.number, because=because, by_hand=True)

    async def _purchase(self, leg: HedgeLeg, listed: Listed, usdc_usd: float) -> DeriveOrder:
        contract, ticker = listed.contract, listed.ticker
        amount = amount_of(leg.size, contract)
        levels = taken(listed.book.asks, amount)
        limit = PriceLimit(
            amount_e18=amount,
            total_e18=to_fixed_down(leg.limit_usd / usdc_usd, decimals=WAD_DECIMALS),
            fee_e18=self._unit_fee_e18(listed, size_e18(levels) or amount),
            buffer=self.terms.price_buffer,
        )
        if self.terms.rfq and size_e18(levels) < amount:
            order = await self._by_quote(leg, listed, limit, is_buy=True)
            if order is not None:
                return order
        if not levels:
            raise VenueRejected(f"{contract.instrument.id}: nobody offers it at Derive; nothing was sent")
        price = buy_price_e18(contract, ticker, limit, worst_e18=levels[-1].price_e18)
        return _order(listed, limit, price, is_buy=True)

    async def _sale(
        self, leg: HedgeLeg, listed: Listed, usdc_usd: float, account: DeriveAccount
    ) -> DeriveOrder:
        contract, ticker = listed.contract, listed.ticker
        held = next((row.amount_e18 for row in await account.positions() if row.name == leg.position_id), 0)
        amount = amount_of(leg.size, contract)
        if leg.position_id != contract.instrument.id or amount > held:
            raise VenueRejected(
                f"position {leg.position_id!r:.60} has {held / E18:g} contracts at Derive, the leg sells "
                f"{amount / E18:g} of {contract.instrument.id}; nothing was sent"
            )
        levels = taken(listed.book.bids, amount)
        least_e18 = to_fixed_up(leg.limit_usd / usdc_usd, decimals=WAD_DECIMALS)
        limit = PriceLimit(
            amount_e18=amount,
            total_e18=least_e18 * amount // max(to_fixed_down(leg.size, decimals=WAD_DECIMALS), amount),
            fee_e18=self._unit_fee_e18(listed, size_e18(levels) or amount),
            buffer=self.terms.price_buffer,
        )
        if self.terms.rfq and size_e18(levels) < amount:
            order = await self._by_quote(leg, listed, limit, is_buy=False)
            if order is not None:
                return order
        if not levels:
            raise VenueRejected(f"{contract.instrument.id}: nobody bids for it at Derive; nothing was sent")
        price = sell_price_e18(contract, ticker, limit, worst_e18=levels[-1].price_e18)
        return _order(listed, limit, price, is_buy=False)

    def _unit_fee_e18(self, listed: Listed, filled_e18: int) -> int:
        """Return the bound on a contract's fee; the order's own fee is spread over what will be filled."""
        return unit_fee_e18(listed.contract, listed.ticker, filled_e18, margin=self.terms.fee_margin)

    async def _by_quote(
        self, leg: HedgeLeg, listed: Listed, limit: PriceLimit, *, is_buy: bool
    ) -> DeriveOrder | None:
        """Ask makers for the whole size; None where none is within the limit."""
        if self._account is None:
            return None
        try:
            return await best_maker(
                self._client, self._account, listed, limit, is_buy=is_buy, key=leg.key, terms=self.terms
            )
        except (TransientError, OutcomeUnknown, VenueRejected):
            return None  # asking binds to nothing; the book is left


class NoTransactions:
    """Custody of a venue that no transaction reaches. Implements ``ports.Transactor``."""

    def __init__(self, owner: str) -> None:
        self.address = owner

    async def send(self, request: TxRequest) -> Receipt:
        raise InvariantError(f"{request.key}: nothing of Derive is a transaction")

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:  # noqa: ARG002 - as the port asks
        return {}


def derive_venue(
    *,
    reader: ChainReader,
    client: DeriveClient,
    account: DeriveAccount | None = None,
    messenger: DeriveMessenger | None = None,
    terms: DeriveTerms | None = None,
) -> PlannedVenue:
    """Return the venue; without ``messenger`` it quotes and marks and refuses every leg."""
    return PlannedVenue(
        DeriveAdapter(client=client, account=account, terms=terms),
        reader=reader,
        money=MONEY,
        custody=None if messenger is None else NoTransactions(messenger.owner),
        messenger=messenger,
    )


def _order(listed: Listed, limit: PriceLimit, price_e18: int, *, is_buy: bool) -> DeriveOrder:
    return DeriveOrder(
        name=listed.contract.instrument.id,
        asset=listed.contract.asset,
        sub_id=listed.contract.sub_id,
        is_buy=is_buy,
        amount_e18=limit.amount_e18,
        price_e18=price_e18,
        max_fee_e18=limit.fee_e18,
        reduce_only=not is_buy,
    )


def _position(
    row: PositionRow, instrument: Instrument, mark: Listed | str, view: MarketView, *, usdc_usd: float
) -> VenuePosition:
    """Mark a position: liquidation by the bids of its book, intrinsic value apart from it."""
    size, spot_usd = row.amount_e18 / E18, view.spot_usd.get(instrument.underlying, math.nan)
    index_usd = mark.ticker.index_usd if isinstance(mark, Listed) else spot_usd
    liquidation_usd, by, due, iv = math.nan, "", NOTHING_DUE, math.nan
    if isinstance(mark, Listed):
        net_usd, sold = sale_usd(mark, row.amount_e18)
        liquidation_usd, iv = max(net_usd, 0.0) * usdc_usd if sold else math.nan, mark.ticker.iv
        by = "bids of its order book" + ("" if sold == row.amount_e18 else f" for {sold / E18:g} of {size:g}")
    elif view.now_s >= instrument.expiry_s:
        due = Due(
            action=DueAction.WAIT,
            from_s=float(instrument.expiry_s),
            because="the exchange settles it by itself and has not yet",
        )
    else:
        by = f"not marked: {mark}"
    intrinsic_usd = payoff_usd(instrument, index_usd, size=size) * usdc_usd
    model = model_usd(instrument, size=size, spot_usd=spot_usd, iv=iv, now_s=view.now_s)
    return VenuePosition(
        id=row.name,
        instrument=instrument,
        size=size,
        iv=iv,
        model_usd=intrinsic_usd if due is not NOTHING_DUE else model,
        liquidation_usd=liquidation_usd,
        intrinsic_usd=intrinsic_usd,
        marked_by=by,
        due=due,
    )


def _check_settled(instrument: Instrument, price_e18: int, amount_e18: int, value_e18: int) -> None:
    """Hold a settlement to its own price. Raises InvariantError when it paid another sum."""
    owed = payoff_usd(instrument, price_e18 / E18, size=amount_e18 / E18)
    if not abs(value_e18 / E18 - owed) <= 1e-6 * max(owed, 1.0):
        raise InvariantError(
            f"Derive settled {amount_e18 / E18:g} {instrument.id} at {price_e18 / E18:,.2f} for "
            f"{value_e18 / E18:,.4f} USDC, by that price it owes {owed:,.4f}"
        )
