"""Sizes, price bounds and fills of Derive's orders: laws over any book, limit and size."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from derive_exchange import DeriveExchange
from derive_server import DeriveServer
from derive_world import CALL, EXPIRY_S, FRACTIONAL, NOW_S, PUT
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.derive_actions import E18, PRECISION
from bot.chain.json_fields import BadReply
from bot.errors import InvariantError, VenueRejected
from bot.venues.derive_fills import fill_of
from bot.venues.derive_orders import (
    DeriveOrder,
    PriceLimit,
    amount_of,
    buy_price_e18,
    order_from,
    sell_price_e18,
    size_e18,
    taken,
    unit_fee_e18,
)
from bot.venues.derive_replies import (
    Contract,
    Level,
    Ticker,
    book_of,
    contract_of,
    e18,
    maker_quote_of,
    order_of,
    position_of,
    ticker_of,
    trade_of,
)


def server() -> DeriveServer:
    exchange = DeriveExchange(owner="0x" + "22" * 20, subaccount_id=7, session_key="0x1", now_s=float(NOW_S))
    exchange.list_option(PUT, strike="2800", expiry_s=EXPIRY_S, is_put=True, asks=[(40, 5)], bids=[(38, 5)])
    return DeriveServer(exchange)


def contract() -> Contract:
    made = server()
    found = contract_of(made.instrument(made.exchange.options[PUT]), "ETH")
    assert found is not None
    return found


def ticker(**changes: Any) -> Ticker:
    made = server()
    return replace(ticker_of(made.ticker(made.exchange.options[PUT]), PUT, now_s=float(NOW_S)), **changes)


ORDER = DeriveOrder(
    name=PUT,
    asset="0x" + "33" * 20,
    sub_id=5,
    is_buy=True,
    amount_e18=2 * E18,
    price_e18=41 * E18,
    max_fee_e18=2 * E18,
)


def limit(total_usd: float, contracts: float, fee: int, *, buffer: float = 0.01) -> PriceLimit:
    return PriceLimit(
        amount_e18=amount_of(contracts, contract()),
        total_e18=int(total_usd * E18),
        fee_e18=fee,
        buffer=buffer,
    )


@pytest.mark.parametrize(
    ("size", "contracts"), [(0.1, 0.1), (0.30000000000000004, 0.3), (0.29999999999999999, 0.3), (1.239, 1.23)]
)
def test_sizes_are_whole_steps_without_float_dust(size: float, contracts: float) -> None:
    assert amount_of(size, contract()) == round(contracts * 100) * E18 // 100


@pytest.mark.parametrize("size", [0.0999, 0.001])
def test_a_size_under_the_least_is_refused(size: float) -> None:
    with pytest.raises(VenueRejected, match="least order is"):
        amount_of(size, contract())


def test_a_size_over_the_most_is_cut() -> None:
    assert amount_of(5_000.0, contract()) == 1_000 * E18


@settings(max_examples=150, deadline=None)
@given(
    lots=st.integers(10, 5_000),
    total_cents=st.integers(1, 10_000_000),
    ask=st.integers(1, 20_000),
    band=st.integers(1, 30_000),
    margin=st.floats(1.0, 4.0),
)
def test_a_purchase_never_costs_more_than_its_limit(
    lots: int, total_cents: int, ask: int, band: int, margin: float
) -> None:
    """Law: amount x (price + fee) <= limit; the price is on a tick, over the best offer, within the band."""
    offered = Level(ask * E18 // 10, 10**6 * E18)
    found = ticker(ask=offered, most_price_e18=band * E18 // 10)
    amount = lots * E18 // 100
    fee = unit_fee_e18(contract(), found, amount, margin=margin)
    bound = PriceLimit(amount_e18=amount, total_e18=total_cents * E18 // 100, fee_e18=fee, buffer=0.01)
    try:
        price = buy_price_e18(contract(), found, bound, worst_e18=offered.price_e18)
    except VenueRejected:
        return
    order = replace(ORDER, amount_e18=amount, price_e18=price, max_fee_e18=fee)
    assert order.most_e18 <= bound.total_e18
    assert price % contract().tick_e18 == 0
    assert fee % PRECISION == 0
    assert offered.price_e18 <= price <= found.most_price_e18
    assert price <= offered.price_e18 * 1.01 + contract().tick_e18


@settings(max_examples=150, deadline=None)
@given(
    lots=st.integers(10, 5_000),
    total_cents=st.integers(0, 10_000_000),
    bid=st.integers(1, 20_000),
    band=st.integers(0, 30_000),
)
def test_a_sale_never_brings_less_than_its_limit(lots: int, total_cents: int, bid: int, band: int) -> None:
    """Law: amount x price less fees >= limit, for all of it filled at the worst price."""
    wanted = Level(bid * E18 // 10, 10**6 * E18)
    found = ticker(bid=wanted, least_price_e18=band * E18 // 10)
    amount = lots * E18 // 100
    fee = unit_fee_e18(contract(), found, amount, margin=1.5)
    bound = PriceLimit(amount_e18=amount, total_e18=total_cents * E18 // 100, fee_e18=fee, buffer=0.01)
    try:
        price = sell_price_e18(contract(), found, bound, worst_e18=wanted.price_e18)
    except VenueRejected:
        return
    order = replace(ORDER, is_buy=False, amount_e18=amount, price_e18=price, max_fee_e18=fee)
    assert order.least_e18 >= bound.total_e18 - 2
    assert price % contract().tick_e18 == 0
    assert found.least_price_e18 <= price <= wanted.price_e18


def test_a_limit_that_the_fees_eat_is_refused() -> None:
    found = ticker()
    with pytest.raises(VenueRejected, match="of fees"):
        buy_price_e18(contract(), found, limit(1.0, 1.0, 2 * E18), worst_e18=40 * E18)


def test_fees_are_capped_by_the_price_of_the_option() -> None:
    cheap = ticker(mark_usd=1.0, ask=Level(E18, E18))
    fee = unit_fee_e18(contract(), cheap, E18, margin=1.0)
    assert fee == pytest.approx(0.5 * E18 + 0.125 * E18)


def test_levels_are_taken_best_first_and_no_more_than_wanted() -> None:
    levels = (Level(40 * E18, 2 * E18), Level(41 * E18, 3 * E18))
    assert taken(levels, 4 * E18) == [Level(40 * E18, 2 * E18), Level(41 * E18, 2 * E18)]
    assert size_e18(taken(levels, 40 * E18)) == 5 * E18
    assert taken(levels, 0) == []


def test_an_order_survives_the_journal() -> None:
    for order in (ORDER, replace(ORDER, is_buy=False, reduce_only=True, rfq_id="r", quote_id="q")):
        assert order_from(order.payload()) == order
        assert json.loads(order.payload())["amount_e18"] == str(order.amount_e18)


# fills

ROW: dict[str, Any] = {
    "order_id": "o",
    "nonce": "1700000000000000000",
    "instrument_name": PUT,
    "direction": "buy",
    "order_status": "filled",
    "cancel_reason": "",
    "amount": "2",
    "filled_amount": "2",
    "average_price": "40.5",
    "order_fee": "1.5",
    "signer": "0x1",
    "last_update_timestamp": NOW_S * 1_000,
}
TRADE: dict[str, Any] = {
    "trade_id": "t1",
    "order_id": "o",
    "label": "l",
    "instrument_name": PUT,
    "direction": "buy",
    "trade_amount": "1",
    "trade_price": "40",
    "trade_fee": "0.75",
    "timestamp": NOW_S * 1_000,
}


def test_the_fills_are_the_money_and_each_counts_once() -> None:
    second = {**TRADE, "trade_id": "t2", "trade_price": "41"}
    found = fill_of(ORDER, {"order": ROW, "trades": [TRADE, second, TRADE]})
    assert found is not None
    assert (found.size_e18, found.cost_e18, found.fee_e18) == (2 * E18, 81 * E18, 3 * E18 // 2)


def test_a_history_that_lags_leaves_the_order_to_say() -> None:
    found = fill_of(ORDER, {"order": ROW, "trades": [TRADE]})
    assert found is not None
    assert (found.size_e18, found.cost_e18) == (2 * E18, 81 * E18)


def test_fills_without_their_order_count() -> None:
    found = fill_of(ORDER, {"order": None, "trades": [TRADE]})
    assert found is not None
    assert (found.id, found.size_e18) == ("o", E18)


def test_nothing_filled_is_no_fill() -> None:
    assert fill_of(ORDER, {"order": {**ROW, "filled_amount": "0"}, "trades": []}) is None
    assert fill_of(ORDER, {"refused": "why"}) is None


def test_a_rebate_is_a_negative_fee() -> None:
    found = fill_of(ORDER, {"order": {**ROW, "order_fee": "-0.1"}, "trades": []})
    assert found is not None
    assert found.fee_e18 == -(E18 // 10)


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        ({"order": {**ROW, "average_price": "41.01"}}, "limit"),
        ({"order": {**ROW, "order_fee": "4.01"}}, "fees"),
        ({"order": {**ROW, "filled_amount": "3", "amount": "2"}}, "contracts"),
        ({"order": {**ROW, "amount": "1"}}, "signed was 2"),
        ({"order": {**ROW, "instrument_name": CALL}}, "signed was a buy"),
        ({"order": ROW, "trades": [{**TRADE, "direction": "sell"}]}, "signed was a buy"),
        ({"order": ROW, "trades": [{**TRADE, "trade_amount": "9"}]}, "its trades say"),
        ({"order": None, "trades": [{**TRADE, "trade_price": "90"}]}, "limit"),
    ],
)
def test_what_is_worse_than_signed_is_a_lie(reply: dict[str, Any], match: str) -> None:
    with pytest.raises(InvariantError, match=match):
        fill_of(ORDER, reply)


def test_a_sale_is_held_to_its_floor_and_may_be_cut_to_the_position() -> None:
    sale = replace(ORDER, is_buy=False, reduce_only=True)
    row = {**ROW, "direction": "sell", "average_price": "41"}
    assert fill_of(sale, {"order": {**row, "amount": "1", "filled_amount": "1"}}) is not None
    with pytest.raises(InvariantError, match="limit"):
        fill_of(sale, {"order": {**row, "average_price": "40.9"}})


QUOTE = {
    "quote_id": "q",
    "rfq_id": "r",
    "status": "filled",
    "fee": "1.5",
    "last_update_timestamp": NOW_S * 1_000,
}


def test_a_quote_that_was_taken_is_dated_by_its_own_time() -> None:
    found = fill_of(replace(ORDER, rfq_id="r", quote_id="q"), {"quote": QUOTE})
    assert found is not None
    assert found.at_s == NOW_S


@pytest.mark.parametrize("value", ["soon", None, [], {}, "1" * 5_000, -1, 10**400, True])
def test_a_quote_whose_time_is_none_is_no_reply(value: Any) -> None:
    """REL-F9: a ValueError here would have ended the bot after the trade."""
    with pytest.raises(BadReply, match="last_update_timestamp"):
        fill_of(
            replace(ORDER, rfq_id="r", quote_id="q"), {"quote": {**QUOTE, "last_update_timestamp": value}}
        )


# what the exchange says, field by field


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "inf",
        "-1",
        "",
        "1e400",
        "1e999999999",
        "0e999999999",
        "1e-99999999",
        "0x10",
        None,
        True,
        [],
        {},
        "1." + "1" * 19,
    ],
)
def test_a_number_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(BadReply):
        e18(value, "a price")


@pytest.mark.parametrize(
    ("value", "found"), [("12.5", 25 * E18 // 2), ("0", 0), (3, 3 * E18), ("1e-12", 10**6)]
)
def test_numbers_are_read_exactly(value: Any, found: int) -> None:
    assert e18(value, "a price") == found


@pytest.mark.parametrize(
    ("asks", "bids"),
    [
        ([("41", "1"), ("40", "1")], []),
        ([], [("38", "1"), ("39", "1")]),
        ([("40", "1")], [("40", "1")]),
        ([("40", "0")], []),
        ([("0", "1")], []),
        ([("-40", "1")], []),
        ([("NaN", "1")], []),
    ],
)
def test_a_book_that_cannot_be_is_refused(asks: list[tuple[str, str]], bids: list[tuple[str, str]]) -> None:
    def side(rows: list[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"price": price, "amount": amount} for price, amount in rows]

    data = {"instrument_name": PUT, "asks": side(asks), "bids": side(bids), "timestamp": NOW_S * 1_000}
    with pytest.raises(BadReply):
        book_of(data, PUT, now_s=float(NOW_S))


@pytest.mark.parametrize(
    "change",
    [
        {"M": "-1"},
        {"I": "0"},
        {"a": "NaN"},
        {"t": NOW_S},  # seconds
        {"t": (NOW_S + 1_000) * 1_000},
        {"option_pricing": None},
        {"maxp": "-1"},
    ],
)
def test_a_ticker_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    made = server()
    row = {**made.ticker(made.exchange.options[PUT]), **change}
    with pytest.raises(BadReply):
        ticker_of(row, PUT, now_s=float(NOW_S))


@pytest.mark.parametrize("iv", ["65", "0.001", "-0.5"])
def test_a_vol_in_percent_is_refused(iv: str) -> None:
    made = server()
    row = made.ticker(made.exchange.options[PUT])
    row["option_pricing"]["i"] = iv
    with pytest.raises(BadReply):
        ticker_of(row, PUT, now_s=float(NOW_S))


@pytest.mark.parametrize(
    "change",
    [
        {"instrument_name": FRACTIONAL},
        {"instrument_name": "ETH-PERP"},
        {"quote_currency": "USDT"},
        {"base_asset_address": "0x12"},
        {"base_asset_sub_id": "-5"},
        {"tick_size": "0"},
        {"amount_step": "0"},
        {"tick_size": "0.0000000000001"},  # more decimals than can be signed
        {"base_asset_sub_id": str(2**96)},
        {"taker_fee_rate": "5"},
    ],
)
def test_an_instrument_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    made = server()
    with pytest.raises(BadReply):
        contract_of({**made.instrument(made.exchange.options[PUT]), **change}, "ETH")


def test_an_instrument_that_is_not_traded_is_none() -> None:
    made = server()
    assert contract_of({**made.instrument(made.exchange.options[PUT]), "is_active": False}, "ETH") is None


def test_perpetuals_and_tokens_are_no_option_positions() -> None:
    assert position_of({"instrument_type": "perp", "instrument_name": "ETH-PERP"}) is None


def test_quotes_on_several_options_are_not_ours() -> None:
    leg = {"instrument_name": PUT, "direction": "buy", "amount": "1", "price": "2"}
    row = {"quote_id": "q", "rfq_id": "r", "direction": "sell", "status": "open", "legs": [leg, leg]}
    assert maker_quote_of(row) is None
    found = maker_quote_of({**row, "legs": [leg]})
    assert found is not None
    assert (found.is_ask, found.price_e18) == (True, 2 * E18)


@pytest.mark.parametrize("nonce", ["-1", "1.5", None, "١"])
def test_a_nonce_that_is_none_is_refused(nonce: Any) -> None:
    with pytest.raises(BadReply):
        order_of({**ROW, "nonce": nonce})
    with pytest.raises(BadReply):
        trade_of({**TRADE, "direction": "both"})
    assert math.isfinite(order_of(ROW).at_s)
