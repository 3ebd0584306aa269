"""Decoders of what HTTP sources, Derive and a browser say."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from derive_rows import order_row, trade_row
from fuzz.kinds import BROKEN, CONFIG, READ, Decoder, dumped, of_file, of_json, of_text, waited
from multidict import MultiDict

from bot.chain.json_fields import iso_seconds, millis, number, result_of, seconds
from bot.chain.option_names import deribit_option, derive_option
from bot.dashboard.pages import _looked, _reading_key, _whole
from bot.errors import TransientError, VenueRejected
from bot.model.market import Metric
from bot.venues import derive_replies
from bot.venues.derive_client import DeriveClient, _book_of
from bot.venues.derive_messenger import _canonical
from bot.venues.derive_orders import DeriveOrder, order_from
from bot.watchers.web.client import _decoded, _Reply
from bot.watchers.web.csv_series import CsvSeries
from bot.watchers.web.macro_calendar import EVENTS, parse_ics, read_calendar

NOW_S = 1_795_000_000.0
NAME, ADDRESS = "ETH-20270627-3000-P", "0x" + "5a" * 20
ONE = Decimal(1)
REQUEST = {
    "instrument_name": NAME,
    "direction": "buy",
    "amount": "1",
    "limit_price": "12.5",
    "max_fee": "1",
    "nonce": 5,
    "signature": "0x00",
    "signature_expiry_sec": int(NOW_S),
    "signer": ADDRESS,
    "label": "alvh-5",
}
ORDER_ROW = order_row(REQUEST, ONE, ONE, ONE, whole=True, subaccount_id=7, now_s=NOW_S)
TRADE_ROW = trade_row(
    REQUEST,
    "o-1",
    price=ONE,
    amount=ONE,
    fee=ONE,
    name=NAME,
    mark=ONE,
    index=ONE,
    subaccount_id=7,
    now_s=NOW_S,
)
INSTRUMENT = {
    "amount_step": "0.01",
    "base_asset_address": ADDRESS,
    "base_asset_sub_id": "5",
    "base_currency": "ETH",
    "base_fee": "0.5",
    "instrument_name": NAME,
    "instrument_type": "option",
    "is_active": True,
    "mark_price_fee_rate_cap": "0.125",
    "maximum_amount": "1000",
    "minimum_amount": "0.1",
    "option_details": {
        "expiry": derive_option(NAME).expiry_s,
        "index": "ETH-USD",
        "option_type": "P",
        "strike": "3000",
    },
    "quote_currency": "USDC",
    "taker_fee_rate": "0.0003",
    "tick_size": "0.1",
}
TICKER = {
    "A": "1",
    "B": "1",
    "I": "3000",
    "M": "100",
    "a": "101",
    "b": "99",
    "maxp": "1000",
    "minp": "0",
    "option_pricing": {"i": "0.6", "df": "1", "f": "3000"},
    "t": int(NOW_S * 1e3),
}
BOOK = {
    "instrument_name": NAME,
    "asks": [{"price": "101", "amount": "1"}],
    "bids": [{"price": "99", "amount": "1"}],
    "timestamp": int(NOW_S * 1e3),
}
CHANNEL = f"orderbook.{NAME}"
POSITION = {
    "instrument_type": "option",
    "instrument_name": NAME,
    "amount": "1",
    "average_price": "12",
    "mark_price": "13",
}
SETTLED = {
    "instrument_name": NAME,
    "expiry": derive_option(NAME).expiry_s,
    "amount": "1",
    "settlement_price": "2900",
    "settlement_value": "100",
}
QUOTE = {
    "quote_id": "q",
    "rfq_id": "r",
    "direction": "sell",
    "status": "open",
    "legs": [{"instrument_name": NAME, "direction": "buy", "amount": "1", "price": "12"}],
}
DRY_RUN = {
    "is_valid": False,
    "invalid_reason": "no",
    "estimated_fill_amount": "1",
    "estimated_fill_price": "1",
    "estimated_fee": "1",
}
ORDER = DeriveOrder(
    name=NAME, asset=ADDRESS, sub_id=5, amount_e18=10**18, price_e18=10**18, max_fee_e18=10**18, is_buy=True
)
ICS = b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20261210T083000Z\r\nSUMMARY:Consumer Price Index\r\n"


def derive(name: str, decode: Callable[[Any], Any], *rows: Any) -> Decoder:
    return Decoder(
        name=f"Derive {name}",
        module="venues/derive_replies.py",
        run=of_json(decode),
        valid=dumped(*rows),
        errors=READ,
    )


def derive_result(raw: bytes) -> Any:
    client = DeriveClient(base_url="https://derive.example", ws_url="wss://derive.example")
    return client._result("public/get", 200, "", raw)


def kept_reply(raw: bytes) -> str:
    """Write a reply into the journal, as is done with the answer to an order."""
    return _canonical(derive_result(raw))


def book(raw: bytes) -> Any:
    return _book_of(raw, 1, {CHANNEL: NAME})


def finite(found: Any) -> str:
    return "" if not isinstance(found, float) or math.isfinite(found) else f"{found} is not finite"


def table(kind: str) -> Callable[[Any], Any]:
    def read(path: Any) -> Any:
        series = CsvSeries(
            label="x",
            where=str(path),
            metric=Metric.INDEX_CLOSE,
            subject="SPX",
            table=kind,
            only_column="k",
            only_value="v",
        )
        return waited(series.history(None, since_s=0.0, until_s=NOW_S))

    return read


def page(text: str) -> Any:
    """Read an address and the cookie as the dashboard does; a refusal is an answer too."""
    query = MultiDict(parse_qsl(text))
    request = SimpleNamespace(cookies={"alvh_looked": text, "looked": text})
    try:
        return (
            _whole(query, "page", least=1, most=100),
            _reading_key(query),
            _looked(SimpleNamespace(clock=lambda: NOW_S), request),
        )
    except web.HTTPBadRequest:
        return None


NUMBERS: Mapping[str, Callable[[Any], float]] = {
    "number": lambda value: number(value, "x"),
    "stamp in seconds": lambda value: seconds(value, "x", now_s=NOW_S),
    "stamp in milliseconds": lambda value: millis(value, "x", now_s=NOW_S),
    "ISO time": lambda value: iso_seconds(value, "x", now_s=NOW_S),
}

ROWS: tuple[Decoder, ...] = (
    derive("instrument", lambda row: derive_replies.contract_of(row, "ETH"), INSTRUMENT),
    derive("ticker", lambda row: derive_replies.ticker_of(row, NAME, now_s=NOW_S), TICKER),
    derive("book", lambda row: derive_replies.book_of(row, NAME, now_s=NOW_S), BOOK),
    derive("order", derive_replies.order_of, ORDER_ROW),
    derive("trade", derive_replies.trade_of, TRADE_ROW),
    derive("position", derive_replies.position_of, POSITION),
    derive("settlement", derive_replies.settlement_of, SETTLED),
    derive("quote of a maker", derive_replies.maker_quote_of, QUOTE),
    derive("dry run", derive_replies.dry_run_of, DRY_RUN),
    derive("decimal", lambda value: derive_replies.e18(value, "x"), "1.5", 7, 0.25),
    Decoder(
        name="Derive reply",
        module="venues/derive_client.py",
        run=derive_result,
        errors=(TransientError, VenueRejected),
        valid=dumped({"result": {"orders": [ORDER_ROW]}}),
        refused=dumped({"error": {"code": 11_000, "message": "Insufficient funds", "data": "x"}}),
    ),
    Decoder(
        name="Derive reply in the journal",
        module="venues/derive_messenger.py",
        run=kept_reply,
        errors=(TransientError, VenueRejected),
        valid=dumped({"result": {"order": ORDER_ROW, "trades": [TRADE_ROW]}}),
    ),
    Decoder(
        name="Derive websocket",
        module="venues/derive_client.py",
        run=book,
        errors=READ,
        valid=dumped(
            {"method": "subscription", "params": {"channel": CHANNEL, "data": BOOK}},
            {"id": 1, "result": {"status": {}, "current_subscriptions": [CHANNEL]}},
        ),
    ),
    Decoder(
        name="Derive order in the journal",
        module="venues/derive_orders.py",
        run=of_text(order_from),
        errors=BROKEN,
        valid=(ORDER.payload().encode(),),
        back=lambda found: found.payload().encode(),
    ),
    Decoder(
        name="result of a venue",
        module="chain/json_fields.py",
        run=of_json(result_of),
        errors=READ,
        valid=dumped({"result": {}}),
        refused=dumped({"error": {"message": "no"}}),
    ),
    *(
        Decoder(
            name=name,
            module="chain/json_fields.py",
            run=of_json(check),
            errors=READ,
            wrong=finite,
            valid=dumped("2026-11-01T00:00:00Z") if name == "ISO time" else (),
            refused=dumped(1.5, "1e3", 1_795_000_000),
        )
        for name, check in NUMBERS.items()
    ),
    Decoder(
        name="Deribit name",
        module="chain/option_names.py",
        run=of_text(deribit_option),
        errors=READ,
        valid=(b"ETH-27JUN27-3000-C",),
    ),
    Decoder(
        name="Derive name",
        module="chain/option_names.py",
        run=of_text(derive_option),
        errors=READ,
        valid=(NAME.encode(),),
    ),
    Decoder(
        name="body of a source",
        module="watchers/web/client.py",
        errors=READ,
        valid=dumped({"data": [1]}),
        run=lambda raw: _decoded(_Reply(200, {}, raw, "https://x"), "https://x"),
    ),
    Decoder(
        name="calendar",
        module="watchers/web/macro_calendar.py",
        run=of_text(lambda text: parse_ics(text, EVENTS)),
        errors=READ,
        valid=(ICS,),
    ),
    Decoder(
        name="calendar file",
        module="watchers/web/macro_calendar.py",
        run=of_file(read_calendar),
        errors=CONFIG,
        valid=(b'[CPI]\nhour = "08:30"\n[CPI.dates]\n2026-03-11 = "2026-02"\n',),
    ),
    Decoder(
        name="CSV of the user",
        module="watchers/web/csv_series.py",
        run=of_file(table("csv")),
        errors=READ,
        valid=(b'date,k,value\n2026-11-01,v,100\n2026-11-02,v,"1,000.5"\n',),
    ),
    Decoder(
        name="JSON table of the user",
        module="watchers/web/csv_series.py",
        run=of_file(table("json")),
        errors=READ,
        valid=dumped([{"date": "2026-11-01", "k": "v", "value": 100}, {"date": "2026-11-02", "value": "1"}]),
    ),
    Decoder(
        name="address of a page",
        module="dashboard/pages.py",
        run=of_text(page),
        errors=(),
        valid=(b"page=7&signal=S1&subject=ETH&source=x", b"1795000000.1795000000"),
    ),
)
