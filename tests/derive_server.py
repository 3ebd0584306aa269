"""A Derive v3 API on this machine, over the reference exchange: REST by POST, order books by websocket.

``faults`` replaces or disturbs the answer of a method: ``Fault(before=True)`` cuts the connection before the
exchange hears of it, ``Fault(after=True)`` after it acted, ``delay_s`` waits, ``error`` answers with a code,
``body`` with raw bytes, ``tamper`` changes a result. Every call is kept in ``asked``.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from derive_exchange import DeriveExchange, Option
from derive_rows import text
from derive_verify import OPTION_ASSET, Refusal, personal

AUTH_WINDOW_S = 60


@dataclass
class Fault:
    """What goes wrong with a method. ``times`` counts down; 0 is for ever."""

    before: bool = False
    after: bool = False
    delay_s: float = 0.0
    late_s: float = 0.0  # between what it did and its answer
    error: tuple[int, str] | None = None
    body: bytes | None = None
    status: int = 200
    headers: dict[str, str] | None = None
    tamper: Callable[[Any], Any] | None = None
    hook: Callable[[], None] | None = None  # called when the method is asked for
    times: int = 0


class DeriveServer:
    """The transport. ``url`` and ``ws_url`` are set while it runs."""

    def __init__(self, exchange: DeriveExchange) -> None:
        self.exchange = exchange
        self.url = self.ws_url = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, Fault] = {}
        self.skew_s = 0.0  # of public/get_time
        self.silent_books = False

    def count(self, method: str) -> int:
        return sum(1 for name, _ in self.asked if name == method)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method = request.path.removeprefix("/v3/")
        params = await request.json()
        self.asked.append((method, params))
        fault = self._fault(method)
        if fault.hook is not None:
            fault.hook()
        await asyncio.sleep(fault.delay_s)
        if fault.before:
            return await self._cut(request)
        if fault.body is not None:
            return web.Response(
                body=fault.body, status=fault.status, headers=fault.headers, content_type="application/json"
            )
        if fault.error is not None:
            return self._reply({"error": {"code": fault.error[0], "message": fault.error[1], "data": None}})
        try:
            if method.startswith("private/"):
                self._check_login(request)
            result = self._answer(method, params)
        except Refusal as refusal:
            return self._reply({"error": refusal.body})
        if fault.after:
            return await self._cut(request)
        said = fault.tamper(result) if fault.tamper else result
        await asyncio.sleep(fault.late_s)
        return self._reply({"result": said})

    def _fault(self, method: str) -> Fault:
        fault = self.faults.get(method)
        if fault is None:
            return Fault()
        if fault.times == 1:
            del self.faults[method]
        fault.times = max(fault.times - 1, 0)
        return fault

    @staticmethod
    async def _cut(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    @staticmethod
    def _reply(body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"id": "1", "jsonrpc": "2.0", **body})

    def _check_login(self, request: web.Request) -> None:
        stamp = request.headers.get("X-DeriveTimestamp", "")
        found = personal(stamp, request.headers.get("X-DeriveSignature", ""))
        if request.headers.get("X-DeriveWallet", "").lower() != self.exchange.owner.lower():
            raise Refusal(14020, "Header wallet does not match")
        if found not in self.exchange.session_keys | {self.exchange.owner.lower()}:
            raise Refusal(14014, "Signature invalid for message or transaction")
        if not abs(int(stamp) / 1e3 - self.exchange.now_s) <= AUTH_WINDOW_S:
            raise Refusal(14030, "Login timestamp is too old or in the future")

    def _answer(self, method: str, params: dict[str, Any]) -> Any:
        name = method.replace("/", "_")
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            raise Refusal(-32601, "Method not found")
        return answer(params)

    def _public_get_time(self, _: dict[str, Any]) -> int:
        return int((self.exchange.now_s + self.skew_s) * 1e3)

    def _public_get_all_instruments(self, params: dict[str, Any]) -> dict[str, Any]:
        rows = [
            self.instrument(option)
            for option in self.exchange.options.values()
            if option.currency == params["currency"]
            and (option.expiry_s <= self.exchange.now_s) == params["expired"]
        ]
        size, page = params.get("page_size", 100), params.get("page", 1)
        pages = max(-(-len(rows) // size), 1)
        return {
            "instruments": rows[(page - 1) * size : page * size],
            "pagination": {"count": len(rows), "num_pages": pages},
        }

    def _public_get_instrument(self, params: dict[str, Any]) -> dict[str, Any]:
        return self.instrument(self._option(params["instrument_name"]))

    def _public_get_ticker(self, params: dict[str, Any]) -> dict[str, Any]:
        return self.ticker(self._option(params["instrument_name"]))

    def _public_get_tickers(self, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "tickers": {
                option.name: self.ticker(option)
                for option in self.exchange.options.values()
                if option.currency == params["currency"]
                and datetime.fromtimestamp(option.expiry_s, tz=UTC).strftime("%Y%m%d")
                == str(params["expiry_date"])
                and option.active
            }
        }

    def _public_get_option_settlement_prices(self, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "expiries": [
                {
                    "expiry_date": datetime.fromtimestamp(expiry_s, tz=UTC).strftime("%Y%m%d"),
                    "price": text(price),
                    "utc_expiry_sec": expiry_s,
                }
                for (currency, expiry_s), price in self.exchange.settled.items()
                if currency == params["currency"]
            ]
        }

    def _option(self, name: str) -> Option:
        if name not in self.exchange.options:
            raise Refusal(12001, "Instrument not found")
        return self.exchange.options[name]

    def instrument(self, option: Option) -> dict[str, Any]:
        settled = self.exchange.settled.get((option.currency, option.expiry_s))
        return {
            "amount_step": text(option.step),
            "base_asset_address": OPTION_ASSET,
            "base_asset_sub_id": str(option.sub_id),
            "base_currency": option.currency,
            "base_fee": text(option.base_fee),
            "erc20_details": None,
            "fifo_min_allocation": "0",
            "instrument_name": option.name,
            "instrument_type": "option",
            "is_active": option.active,
            "maker_fee_rate": "0.0001",
            "mark_price_fee_rate_cap": text(option.fee_cap),
            "maximum_amount": "1000",
            "minimum_amount": text(option.minimum),
            "option_details": {
                "expiry": option.expiry_s,
                "index": f"{option.currency}-USD",
                "option_type": "P" if option.is_put else "C",
                "settlement_price": None if settled is None else text(settled),
                "strike": text(option.strike),
            },
            "perp_details": None,
            "pro_rata_amount_step": "1",
            "pro_rata_fraction": "0",
            "quote_currency": "USDC",
            "scheduled_activation": 0,
            "scheduled_deactivation": option.expiry_s,
            "taker_fee_rate": text(option.taker_rate),
            "tick_size": text(option.tick),
        }

    def ticker(self, option: Option) -> dict[str, Any]:
        ask = option.asks[0] if option.asks else [Decimal(0), Decimal(0)]
        bid = option.bids[0] if option.bids else [Decimal(0), Decimal(0)]
        index = self.exchange.index[option.currency]
        return {
            "A": text(ask[1]),
            "B": text(bid[1]),
            "I": text(index),
            "M": text(option.mark),
            "a": text(ask[0]),
            "b": text(bid[0]),
            "f": None,
            "maxp": text(option.maxp),
            "minp": text(option.minp),
            "option_pricing": {
                **dict.fromkeys(("ai", "bi", "i"), text(option.iv)),
                "d": "-0.3" if option.is_put else "0.3",
                "df": "1",
                "f": text(index),
                **dict.fromkeys(("g", "r", "t", "v"), "0"),
                "m": text(option.mark),
            },
            "stats": {},
            "t": option.stamp_ms if option.stamp_ms is not None else int(self.exchange.now_s * 1e3),
        }

    def _private_order_quote(self, params: dict[str, Any]) -> Any:
        return self.exchange.order_quote(params)

    def _private_order(self, params: dict[str, Any]) -> Any:
        return self.exchange.order(params)

    def _private_send_rfq(self, params: dict[str, Any]) -> Any:
        return self.exchange.send_rfq(params)

    def _private_execute_quote(self, params: dict[str, Any]) -> Any:
        return self.exchange.execute_quote(params)

    def _private_rfq_get_best_quote(self, params: dict[str, Any]) -> Any:
        leg = params["legs"][0]
        option = self._option(leg["instrument_name"])
        return {
            "is_valid": True,
            "invalid_reason": None,
            "best_quote": None,
            "direction": params["direction"],
            "estimated_total_cost": text(option.mark * Decimal(leg["amount"])),
            "estimated_fee": text(option.base_fee),
        }

    def _private_cancel_rfq(self, params: dict[str, Any]) -> Any:
        self.exchange.rfqs[params["rfq_id"]]["status"] = "cancelled"
        return "ok"

    def _private_poll_quotes(self, params: dict[str, Any]) -> Any:
        rows = [
            row
            for row in self.exchange.quotes.values()
            if row["rfq_id"] == params.get("rfq_id", row["rfq_id"])
        ]
        wanted = params.get("status")
        rows = [row for row in rows if wanted is None or row["status"] == wanted]
        return {"quotes": rows, "pagination": {"count": len(rows), "num_pages": 1}}

    def _private_get_quotes(self, params: dict[str, Any]) -> Any:
        rows = [
            row
            for row in self.exchange.executed
            if params.get("rfq_id") in (None, row["rfq_id"])
            and params.get("quote_id") in (None, row["quote_id"])
        ]
        return {"quotes": rows, "pagination": {"count": len(rows), "num_pages": 1}}

    def _private_get_order(self, params: dict[str, Any]) -> Any:
        order = self.exchange.orders.get(params["order_id"])
        if order is None:
            raise Refusal(11006, "Order does not exist")
        return order

    def _private_get_open_orders(self, _: dict[str, Any]) -> Any:
        rows = [row for row in self.exchange.orders.values() if row["order_status"] == "open"]
        return {"orders": rows, "subaccount_id": self.exchange.subaccount_id}

    def _private_get_order_history(self, params: dict[str, Any]) -> Any:
        rows = [row for row in self.exchange.orders.values() if row["order_status"] != "open"]
        return self._page("orders", rows, params, "last_update_timestamp")

    def _private_get_trade_history(self, params: dict[str, Any]) -> Any:
        rows = [
            row
            for row in self.exchange.trades
            if all(
                params.get(name) in (None, row[name]) for name in ("order_id", "instrument_name", "quote_id")
            )
        ]
        return self._page("trades", rows, params, "timestamp")

    def _page(
        self, name: str, rows: list[dict[str, Any]], params: dict[str, Any], stamp: str
    ) -> dict[str, Any]:
        since, until = params.get("from_timestamp") or 0, params.get("to_timestamp") or 1 << 62
        rows = sorted((row for row in rows if since <= row[stamp] <= until), key=lambda row: -row[stamp])
        size, page = params.get("page_size", 100), params.get("page", 1)
        return {
            name: rows[(page - 1) * size : page * size],
            "pagination": {"count": len(rows), "num_pages": max(-(-len(rows) // size), 1)},
            "subaccount_id": self.exchange.subaccount_id,
        }

    def _private_get_option_settlement_history(self, _: dict[str, Any]) -> Any:
        return {"settlements": list(self.exchange.settlements)}

    def _private_get_positions(self, _: dict[str, Any]) -> Any:
        rows = [self._position(name, *held) for name, held in self.exchange.positions.items()]
        return {"positions": rows, "subaccount_id": self.exchange.subaccount_id}

    def _position(self, name: str, amount: Decimal, average: Decimal) -> dict[str, Any]:
        option = self.exchange.options[name]
        return {
            "amount": text(amount),
            "amount_step": text(option.step),
            "average_price": text(average),
            "index_price": text(self.exchange.index[option.currency]),
            "instrument_name": name,
            "instrument_type": "option",
            "mark_price": text(option.mark),
            "mark_value": text(option.mark * amount),
            "creation_timestamp": int(self.exchange.now_s * 1e3),
        }

    def _private_get_subaccount(self, _: dict[str, Any]) -> Any:
        cash = text(self.exchange.cash)
        return {
            "subaccount_id": self.exchange.subaccount_id,
            "is_under_liquidation": False,
            "subaccount_value": cash,
            "initial_margin": cash,
            "margin_type": "SM",
            "collaterals": [{"asset_name": "USDC", "asset_type": "erc20", "amount": cash, "mark_price": "1"}],
            "open_orders": [],
            "positions": self._private_get_positions({})["positions"],
        }

    async def socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            call = json.loads(message.data)
            self.asked.append((call["method"], call["params"]))
            fault = self._fault("subscribe")
            if fault.before:
                return await self._cut(request)
            channels = call["params"]["channels"]
            live = [name for name in channels if name.split(".")[1] in self.exchange.options]
            status = {name: "ok" if name in live else "not found" for name in channels}
            answer = {"status": status, "current_subscriptions": live}
            await socket.send_json({"id": call["id"], "jsonrpc": "2.0", "result": answer})
            for name in live:
                if not self.silent_books:
                    data = self.book(self.exchange.options[name.split(".")[1]], int(name.split(".")[3]))
                    data = fault.tamper(data) if fault.tamper else data
                    params = {"channel": name, "data": data}
                    with suppress(ConnectionError):
                        await socket.send_json({"jsonrpc": "2.0", "method": "subscription", "params": params})
        return socket

    def book(self, option: Option, depth: int) -> dict[str, Any]:
        def side(levels: list[list[Decimal]]) -> list[dict[str, str]]:
            return [{"price": text(price), "amount": text(amount)} for price, amount in levels[:depth]]

        return {
            "instrument_name": option.name,
            "asks": side(option.asks),
            "bids": side(option.bids),
            "publish_id": 1,
            "timestamp": option.stamp_ms if option.stamp_ms is not None else int(self.exchange.now_s * 1e3),
        }


@asynccontextmanager
async def derive_server(exchange: DeriveExchange) -> AsyncIterator[DeriveServer]:
    """Run a server over an exchange."""
    served = DeriveServer(exchange)
    app = web.Application()
    app.router.add_get("/v3/ws", served.socket)
    app.router.add_post("/v3/{kind}/{name}", served.handle)
    async with TestServer(app) as running:
        served.url = str(running.make_url("/v3"))
        served.ws_url = served.url.replace("http://", "ws://") + "/ws"
        yield served
