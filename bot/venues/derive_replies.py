"""What the Derive v3 API answers, checked field by field. Money and sizes are exact integers of 1e-18.

Anything that is not of the documented shape raises BadReply, a TransientError: nothing is made up. Unknown
fields are let pass, since the exchange adds some without a version.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from eth_utils.address import is_hex_address, to_checksum_address

from bot.chain.derive_actions import E18, PRECISION
from bot.chain.json_fields import BadReply, field, listing, mapping, millis, number, seconds, shown, string
from bot.chain.option_names import derive_option
from bot.model.hedge import Instrument, OptionType
from bot.quant.surface import HIGHEST_IV, LOWEST_IV

VENUE = "derive"
SETTLEMENT = "USDC"
MOST_PAGES = 50
_MOST_E18 = 10**12 * E18
_LONGEST = 60
_SUB_IDS = 2**96  # the protocol's sub-ids are uint96


class Level(NamedTuple):
    """Contracts that are bid or offered at one price, both 1e-18."""

    price_e18: int
    amount_e18: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A listed option: what it is, how it is named in signatures, and the terms of its orders."""

    instrument: Instrument
    asset: str
    sub_id: int
    tick_e18: int
    step_e18: int
    min_e18: int
    max_e18: int
    fee_rate: float  # of the index, a contract
    fee_cap: float  # of the mark price; inf: none
    base_fee_usd: float  # an order

    def fee_usd(self, contracts: float, *, index_usd: float, mark_usd: float) -> float:
        """Return the fee of one order that takes ``contracts``."""
        unit = min(self.fee_rate * index_usd, self.fee_cap * mark_usd)
        return self.base_fee_usd + contracts * unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """Where an option stands; prices USDC a contract."""

    index_usd: float
    mark_usd: float
    iv: float  # of the mark, fraction a year
    forward_usd: float
    discount: float
    ask: Level  # price 0: nobody offers
    bid: Level
    most_price_e18: int  # a buy with a higher limit is refused when it would trade
    least_price_e18: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One order book, best first on both sides, not crossed."""

    asks: tuple[Level, ...]
    bids: tuple[Level, ...]
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """What the exchange says of one of our orders."""

    order_id: str
    nonce: int
    name: str
    is_buy: bool
    status: str  # open, filled, rejected, cancelled, expired
    reason: str
    amount_e18: int
    filled_e18: int
    average_e18: int
    fee_e18: int
    signer: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One fill."""

    trade_id: str
    order_id: str
    label: str
    name: str
    is_buy: bool
    amount_e18: int
    price_e18: int
    fee_e18: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    name: str
    amount_e18: int  # negative: short
    average_e18: int
    mark_e18: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRow:
    """One option that expired in our hands and was paid out by the exchange itself."""

    name: str
    expiry_s: int
    amount_e18: int
    price_e18: int
    value_e18: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MakerQuote:
    """A maker's answer to a request for quotes on one option."""

    quote_id: str
    rfq_id: str
    name: str
    is_ask: bool  # the maker sells
    leg_is_buy: bool
    amount_e18: int
    price_e18: int
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What the exchange says an order would do."""

    refused: str  # why not; "" when it would trade
    filled_e18: int
    average_e18: int
    fee_e18: int


def contract_of(row: Any, underlying: str) -> Contract | None:
    """Return a listed option, None for one that is not traded. Raises BadReply when it contradicts itself."""
    name = string(field(row, "instrument_name", "instrument"), "instrument_name")
    if field(row, "is_active", name) is not True:
        return None
    instrument = _instrument(row, name, underlying)
    cap = mapping(row, name).get("mark_price_fee_rate_cap")
    asset = string(field(row, "base_asset_address", name), f"{name} base_asset_address")
    if not is_hex_address(asset):
        raise BadReply(f"{name} base_asset_address is no address, found {shown(asset)}")
    sub_id = _integer(field(row, "base_asset_sub_id", name), f"{name} base_asset_sub_id")
    if sub_id >= _SUB_IDS:
        raise BadReply(f"{name} base_asset_sub_id is {shown(sub_id)}, allowed is under 2**96")
    return Contract(
        instrument=instrument,
        asset=to_checksum_address(asset),
        sub_id=sub_id,
        tick_e18=_unit(field(row, "tick_size", name), f"{name} tick_size"),
        step_e18=_unit(field(row, "amount_step", name), f"{name} amount_step"),
        min_e18=e18(field(row, "minimum_amount", name), f"{name} minimum_amount", least=1),
        max_e18=e18(field(row, "maximum_amount", name), f"{name} maximum_amount", least=1),
        fee_rate=number(field(row, "taker_fee_rate", name), f"{name} fee", least=0.0, most=0.1),
        fee_cap=float("inf") if cap is None else number(cap, f"{name} fee cap", least=0.0, most=1.0),
        base_fee_usd=number(field(row, "base_fee", name), f"{name} base_fee", least=0.0, most=1e3),
    )


def instrument_named(name: str) -> Instrument:
    """Return the option that a name says. Raises BadReply for no name of an option."""
    option = derive_option(name)
    return Instrument(
        venue=VENUE,
        id=name,
        underlying=option.underlying,
        option_type=OptionType.PUT if option.is_put else OptionType.CALL,
        strike_usd=option.strike_usd,
        expiry_s=option.expiry_s,
        settlement=SETTLEMENT,
    )


def ticker_of(row: Any, name: str, *, now_s: float) -> Ticker:
    """Return where an option stands. Raises BadReply without a usable vol."""
    pricing = field(row, "option_pricing", name)
    return Ticker(
        index_usd=number(field(row, "I", name), f"{name} I", least=1e-9, most=1e9),
        mark_usd=number(field(row, "M", name), f"{name} M", least=0.0, most=1e9),
        iv=number(field(pricing, "i", name), f"{name} option_pricing.i", least=LOWEST_IV, most=HIGHEST_IV),
        forward_usd=number(field(pricing, "f", name), f"{name} option_pricing.f", least=1e-9, most=1e9),
        discount=number(field(pricing, "df", name), f"{name} option_pricing.df", least=1e-9, most=2.0),
        ask=Level(e18(field(row, "a", name), f"{name} a"), e18(field(row, "A", name), f"{name} A")),
        bid=Level(e18(field(row, "b", name), f"{name} b"), e18(field(row, "B", name), f"{name} B")),
        most_price_e18=e18(field(row, "maxp", name), f"{name} maxp"),
        least_price_e18=e18(field(row, "minp", name), f"{name} minp"),
        at_s=millis(field(row, "t", name), f"{name} t", now_s=now_s),
    )


def book_of(data: Any, name: str, *, now_s: float) -> Book:
    """Return an order book. Raises BadReply for one that is crossed, out of order or of another option."""
    if (found := field(data, "instrument_name", name)) != name:
        raise BadReply(f"asked for the book of {name}, got that of {shown(found)}")
    asks = _levels(field(data, "asks", name), f"{name} asks")
    bids = _levels(field(data, "bids", name), f"{name} bids")
    rising = [level.price_e18 for level in asks]
    falling = [-level.price_e18 for level in bids]
    if rising != sorted(rising) or falling != sorted(falling):
        raise BadReply(f"the book of {name} is out of order")
    if asks and bids and bids[0].price_e18 >= asks[0].price_e18:
        raise BadReply(
            f"the book of {name} is crossed: bid {bids[0].price_e18 / E18:g}, ask {asks[0].price_e18 / E18:g}"
        )
    return Book(
        asks=asks, bids=bids, at_s=millis(field(data, "timestamp", name), f"{name} book", now_s=now_s)
    )


def order_of(row: Any) -> OrderRow:
    what = "order"
    name = string(field(row, "instrument_name", what), "instrument_name")
    return OrderRow(
        order_id=string(field(row, "order_id", what), "order_id"),
        nonce=_integer(field(row, "nonce", what), "nonce"),
        name=name,
        is_buy=_is_buy(row, what),
        status=string(field(row, "order_status", what), "order_status"),
        reason=str(mapping(row, what).get("cancel_reason") or "")[:_LONGEST],
        amount_e18=e18(field(row, "amount", what), "order amount"),
        filled_e18=e18(field(row, "filled_amount", what), "filled_amount"),
        average_e18=e18(field(row, "average_price", what), "average_price"),
        fee_e18=e18(field(row, "order_fee", what), "order_fee", least=-_MOST_E18),
        signer=string(field(row, "signer", what), "signer"),
        at_s=millis(field(row, "last_update_timestamp", what), "last_update_timestamp"),
    )


def trade_of(row: Any) -> TradeRow:
    what = "trade"
    return TradeRow(
        trade_id=string(field(row, "trade_id", what), "trade_id"),
        order_id=string(field(row, "order_id", what), "order_id"),
        label=str(mapping(row, what).get("label") or ""),
        name=string(field(row, "instrument_name", what), "instrument_name"),
        is_buy=_is_buy(row, what),
        amount_e18=e18(field(row, "trade_amount", what), "trade_amount", least=1),
        price_e18=e18(field(row, "trade_price", what), "trade_price"),
        fee_e18=e18(field(row, "trade_fee", what), "trade_fee", least=-_MOST_E18),
        at_s=millis(field(row, "timestamp", what), "trade timestamp"),
    )


def position_of(row: Any) -> PositionRow | None:
    """Return an option position; None for a perpetual or a token."""
    if field(row, "instrument_type", "position") != "option":
        return None
    name = string(field(row, "instrument_name", "position"), "instrument_name")
    return PositionRow(
        name=name,
        amount_e18=e18(field(row, "amount", name), f"{name} amount", least=-_MOST_E18),
        average_e18=e18(field(row, "average_price", name), f"{name} average_price"),
        mark_e18=e18(field(row, "mark_price", name), f"{name} mark_price"),
    )


def settlement_of(row: Any) -> SettlementRow:
    name = string(field(row, "instrument_name", "settlement"), "instrument_name")
    return SettlementRow(
        name=name,
        expiry_s=int(seconds(field(row, "expiry", name), f"{name} expiry")),
        amount_e18=e18(field(row, "amount", name), f"{name} amount", least=-_MOST_E18),
        price_e18=e18(field(row, "settlement_price", name), f"{name} settlement_price"),
        value_e18=e18(field(row, "settlement_value", name), f"{name} settlement_value", least=-_MOST_E18),
    )


def maker_quote_of(row: Any) -> MakerQuote | None:
    """Return a maker's quote on one option; None for one on several."""
    legs = listing(field(row, "legs", "quote"), "legs")
    if len(legs) != 1:
        return None
    leg = legs[0]
    return MakerQuote(
        quote_id=string(field(row, "quote_id", "quote"), "quote_id"),
        rfq_id=string(field(row, "rfq_id", "quote"), "rfq_id"),
        name=string(field(leg, "instrument_name", "quote"), "instrument_name"),
        is_ask=not _is_buy(row, "quote"),
        leg_is_buy=_is_buy(leg, "quote leg"),
        amount_e18=e18(field(leg, "amount", "quote"), "quote amount", least=1),
        price_e18=e18(field(leg, "price", "quote"), "quote price"),
        is_open=field(row, "status", "quote") == "open",
    )


def dry_run_of(row: Any) -> DryRun:
    what = "order_quote"
    valid = field(row, "is_valid", what)
    if not isinstance(valid, bool):
        raise BadReply(f"order_quote is_valid is {shown(valid)}, expected true or false")
    reason = str(mapping(row, what).get("invalid_reason") or "no reason given")
    return DryRun(
        refused="" if valid else ascii(reason)[1:121],
        filled_e18=e18(field(row, "estimated_fill_amount", what), "estimated_fill_amount"),
        average_e18=e18(field(row, "estimated_fill_price", what), "estimated_fill_price"),
        fee_e18=e18(field(row, "estimated_fee", what), "estimated_fee", least=-_MOST_E18),
    )


def unique(rows: Iterable[TradeRow]) -> tuple[TradeRow, ...]:
    """Return trades, each once: pages of a history that grows meanwhile overlap."""
    return tuple({row.trade_id: row for row in rows}.values())


def e18(value: Any, what: str, *, least: int = 0) -> int:
    """Return a decimal as an exact integer of 1e-18 in [least, 1e30]. Raises BadReply for any other."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > _LONGEST:
        raise BadReply(f"{what} is no decimal, found {shown(value)}")
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise BadReply(f"{what} is no decimal, found {shown(value)}") from None
    if not found.is_finite() or abs(found.adjusted()) > _LONGEST:  # "1e999999999" would fill the memory
        raise BadReply(f"{what} is no decimal of this world, found {shown(value)}")
    top, bottom = found.as_integer_ratio()
    scaled, rest = divmod(top * E18, bottom)
    if rest or not least <= scaled <= _MOST_E18:
        raise BadReply(f"{what} is {shown(value)}; allowed is {least / E18:g} to 1e12 with 18 decimals")
    return scaled


def _instrument(row: Any, name: str, underlying: str) -> Instrument:
    """Return what a name says, when the row says the same. Raises BadReply."""
    found, details = instrument_named(name), field(row, "option_details", name)
    expiry_s = seconds(field(details, "expiry", name), f"{name} expiry")
    strike = number(field(details, "strike", name), f"{name} strike")
    kind = field(details, "option_type", name)
    is_kind = kind == ("P" if found.option_type is OptionType.PUT else "C")
    is_same = strike == found.strike_usd and abs(expiry_s - found.expiry_s) <= 1.0
    if not is_kind or not is_same or found.underlying != underlying:
        raise BadReply(
            f"{name} says {shown(kind)}, strike {strike:g}, expiry {expiry_s:.0f}, its name another"
        )
    if (quote := field(row, "quote_currency", name)) != SETTLEMENT:
        raise BadReply(f"{name} is traded in {shown(quote)}, expected {SETTLEMENT}")
    return found


def _unit(value: Any, what: str) -> int:
    """Return what prices or sizes are multiples of. Raises BadReply where those could not be signed."""
    found = e18(value, what, least=1)
    if found % PRECISION:
        raise BadReply(f"{what} is {shown(value)}, the exchange signs 12 decimals at most")
    return found


def _levels(rows: Any, what: str) -> tuple[Level, ...]:
    found: Sequence[Any] = listing(rows, what)
    return tuple(
        Level(
            e18(field(row, "price", what), f"{what} price", least=1),
            e18(field(row, "amount", what), f"{what} amount", least=1),
        )
        for row in found
    )


def _is_buy(row: Any, what: str) -> bool:
    direction = field(row, "direction", what)
    if direction not in ("buy", "sell"):
        raise BadReply(f"direction of a {what} is {shown(direction)}")
    return bool(direction == "buy")


def _integer(value: Any, what: str) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.isascii() or not text.isdecimal() or len(text) > _LONGEST:
        raise BadReply(f"{what} is no whole number, found {shown(value)}")
    return int(text)
