"""Orders at Derive: their size, their price bounds, and what is signed of them. Pure.

Bounds are exact integers of 1e-18: what an order may cost is ``amount x (price + fee)``, both signed, so the
exchange cannot fill it worse.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bot.chain.derive_actions import E18, PRECISION, QuoteData, TradeData
from bot.errors import InvariantError, VenueRejected
from bot.model.hedge import OptionType
from bot.model.parsing import json_of
from bot.model.units import HOUR_S, WAD_DECIMALS, to_fixed_down, to_fixed_up
from bot.venues.derive_replies import Contract, Level, Ticker

_SIZE_SLACK = 10**9  # 1e-9 contracts: float dust of a leg's size


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveTerms:
    """How this venue is traded."""

    name: str = "derive"
    underlyings: tuple[str, ...] = ("ETH",)
    option_types: tuple[OptionType, ...] = tuple(OptionType)
    assets: frozenset[str] = frozenset()  # option contracts that may be traded; empty: any
    min_abs_delta: float = 0.02
    max_abs_delta: float = 0.6
    max_dte: float = 120.0
    most_books: int = 100  # evenly thinned beyond
    depth: int = 20  # levels a side
    listing_ttl_s: float = float(HOUR_S)
    quote_ttl_s: float = 120.0
    max_age_s: float = 60.0  # of a ticker or a book
    max_basis: float = 0.03  # the venue's index may differ from our price by this, fraction
    forward_fee: float = 0.0005  # of trading the forward there: part of what S22 counts as cost
    price_buffer: float = 0.01  # over the worst level that is needed, never over the leg's limit
    fee_margin: float = 1.5  # over the fee as computed: too low a bound is refused
    order_life_s: float = 30.0  # an order that reaches the exchange later is refused there
    rfq: bool = False  # ask makers where the book is not deep enough
    rfq_spread: float = 0.05  # over the mark, where an RFQ is only estimated
    rfq_most: int = 4  # options that are priced by an RFQ's estimate in one round of quotes
    rfq_wait_s: float = 15.0
    rfq_poll_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveOrder:
    """What a plan wants done: an IOC limit order, or a maker's quote taken whole."""

    name: str
    asset: str
    sub_id: int
    is_buy: bool
    amount_e18: int
    price_e18: int  # a contract: worst acceptable; of a quote, its very price
    max_fee_e18: int  # a contract; of a quote, of the whole trade
    reduce_only: bool = False
    rfq_id: str = ""
    quote_id: str = ""

    @property
    def fee_e18(self) -> int:
        """Most that fees can come to."""
        return self.max_fee_e18 if self.quote_id else product_up(self.amount_e18, self.max_fee_e18)

    @property
    def most_e18(self) -> int:
        """Most that a purchase can take, fees included; of a sale, 0."""
        return product_up(self.amount_e18, self.price_e18) + self.fee_e18 if self.is_buy else 0

    @property
    def least_e18(self) -> int:
        """Least that a sale brings when all of it is filled, fees deducted; of a purchase, 0."""
        return 0 if self.is_buy else self.amount_e18 * self.price_e18 // E18 - self.fee_e18

    def data(self, subaccount_id: int) -> TradeData | QuoteData:
        """Return what is signed."""
        if self.quote_id:
            return QuoteData(
                asset=self.asset,
                sub_id=self.sub_id,
                price_e18=self.price_e18,
                amount_e18=self.amount_e18,
                max_fee_e18=self.max_fee_e18,
                is_bid=self.is_buy,
            )
        return TradeData(
            asset=self.asset,
            sub_id=self.sub_id,
            limit_price_e18=self.price_e18,
            amount_e18=self.amount_e18,
            max_fee_e18=self.max_fee_e18,
            recipient_id=subaccount_id,
            is_bid=self.is_buy,
        )

    def payload(self) -> str:
        """Return canonical JSON, integers as text."""
        fields = {name: _plain(value) for name, value in asdict(self).items()}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLimit:
    """What bounds an order's price."""

    amount_e18: int
    total_e18: int  # most that a purchase may take, fees included; least that a sale must bring net of them
    fee_e18: int  # bound on the fee of a contract
    buffer: float  # over the worst level that is needed, fraction


def order_from(payload: str) -> DeriveOrder:
    """Read what :meth:`DeriveOrder.payload` wrote. Raises InvariantError for anything else."""
    try:
        fields = json_of(payload)
        for name in ("sub_id", "amount_e18", "price_e18", "max_fee_e18"):
            fields[name] = int(fields[name])
        return DeriveOrder(**fields)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise InvariantError(f"an order to Derive in the journal is damaged: {error!r}") from None


def taken(levels: Iterable[Level], amount_e18: int) -> list[Level]:
    """Return what is taken of each level, best first; less than wanted where the book ends."""
    found, left = [], amount_e18
    for price_e18, offered_e18 in levels:
        if left <= 0:
            break
        found.append(Level(price_e18, min(offered_e18, left)))
        left -= found[-1].amount_e18
    return found


def cost_e18(levels: Iterable[Level]) -> int:
    """Return price times contracts over levels, rounded up."""
    return -(-sum(level.price_e18 * level.amount_e18 for level in levels) // E18)


def size_e18(levels: Iterable[Level]) -> int:
    return sum(level.amount_e18 for level in levels)


def amount_of(contracts: float, contract: Contract) -> int:
    """Return a size in whole steps, rounded down but for float dust. Raises VenueRejected under the least."""
    wanted = to_fixed_down(contracts, decimals=WAD_DECIMALS) + _SIZE_SLACK
    amount = min(wanted, contract.max_e18) // contract.step_e18 * contract.step_e18
    if amount < contract.min_e18:
        raise VenueRejected(
            f"{contract.instrument.id}: {contracts:g} contracts are {amount / E18:g} in whole steps, "
            f"the least order is {contract.min_e18 / E18:g}"
        )
    return amount


def unit_fee_e18(contract: Contract, ticker: Ticker, amount_e18: int, *, margin: float) -> int:
    """Return a bound on the fee of one contract, in whole units of 12 decimals, rounded up."""
    contracts = amount_e18 / E18
    price_usd = max(ticker.mark_usd, ticker.ask.price_e18 / E18)
    fee_usd = contract.fee_usd(contracts, index_usd=ticker.index_usd, mark_usd=price_usd)
    return _up_to(to_fixed_up(fee_usd / contracts * margin, decimals=WAD_DECIMALS), PRECISION)


def buy_price_e18(contract: Contract, ticker: Ticker, limit: PriceLimit, *, worst_e18: int) -> int:
    """Return the highest price to bid: within the limit, the band of the exchange and a buffer over the book.

    ``worst_e18`` is the dearest level that is needed. Raises VenueRejected when nobody sells at it.
    """
    tick = contract.tick_e18
    bound = (limit.total_e18 * E18 // limit.amount_e18 - limit.fee_e18) // tick * tick
    band = ticker.most_price_e18 // tick * tick
    price = min(bound, band, _up_to(int(worst_e18 * (1.0 + limit.buffer)), tick))
    if price <= 0 or price < ticker.ask.price_e18:
        raise VenueRejected(
            f"{contract.instrument.id} is offered at {ticker.ask.price_e18 / E18:g} USDC, the leg allows "
            f"{bound / E18:g} beside {limit.fee_e18 / E18:g} of fees, the exchange's band {band / E18:g}; "
            "nothing was sent"
        )
    return price


def sell_price_e18(contract: Contract, ticker: Ticker, limit: PriceLimit, *, worst_e18: int) -> int:
    """Return the lowest price to take. Raises VenueRejected when nobody bids it."""
    tick = contract.tick_e18
    bound = _up_to(-(-limit.total_e18 * E18 // limit.amount_e18) + limit.fee_e18, tick)
    band = _up_to(ticker.least_price_e18, tick)
    price = max(bound, band, int(worst_e18 * (1.0 - limit.buffer)) // tick * tick, tick)
    if price > ticker.bid.price_e18:
        raise VenueRejected(
            f"{contract.instrument.id} is bid at {ticker.bid.price_e18 / E18:g} USDC, the leg asks "
            f"{bound / E18:g} with {limit.fee_e18 / E18:g} of fees, the exchange's band {band / E18:g}; "
            "nothing was sent"
        )
    return price


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | str) else str(value)


def product_up(amount_e18: int, price_e18: int) -> int:
    return -(-amount_e18 * price_e18 // E18)


def _up_to(value: int, unit: int) -> int:
    return -(-value // unit) * unit
