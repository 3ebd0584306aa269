"""HTTP sources on this machine, in the shapes that their documents give. Made-up numbers, real forms.

``Sources`` answers for Hyperliquid, dYdX v4, Derive, Deribit, DefiLlama, BLS, FRED and Binance below one
address. ``faults`` replaces the answer of a path; every request is kept in ``asked``.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from bot.quant import options

HOUR_S, DAY_S = 3_600, 86_400
Answer = Callable[[web.Request, Any], web.StreamResponse]


def reply(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return lambda _request, _body: web.json_response(body, status=status, headers=headers)


def raw(
    text: str | bytes,
    *,
    status: int = 200,
    kind: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Answer:
    body = text.encode() if isinstance(text, str) else text
    return lambda _request, _body: web.Response(body=body, status=status, content_type=kind, headers=headers)


def html() -> Answer:
    return raw("<!doctype html><html><body>Just a moment...</body></html>", kind="text/html")


def limited(retry_after: str = "1") -> Answer:
    return raw("slow down", status=429, kind="text/plain", headers={"Retry-After": retry_after})


def in_turn(*answers: Answer) -> Answer:
    """Give each answer once, then the last for ever."""
    left = list(answers)

    def answer(request: web.Request, body: Any) -> web.StreamResponse:
        return (left.pop(0) if len(left) > 1 else left[0])(request, body)

    return answer


def iso(at_s: float, *, ms: bool = True) -> str:
    stamp = datetime.fromtimestamp(at_s, tz=UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.000Z" if ms else "%Y-%m-%d")


def price_at(at_s: float) -> float:
    return round(3_000.0 + 200.0 * math.sin(at_s / (40 * HOUR_S)), 2)


def dvol_at(at_s: float) -> float:
    return round(60.0 + 8.0 * math.sin(at_s / (90 * HOUR_S)), 2)


def funding_at(at_s: float) -> float:
    return round(1e-5 + 2e-5 * math.sin(at_s / (20 * HOUR_S)), 9)


class Sources:
    """The market at ``now_s``. Attributes are what a test changes."""

    def __init__(self, now_s: float) -> None:
        self.url = ""
        self.now_s = now_s
        self.asked: list[tuple[str, Any]] = []
        self.faults: dict[str, Answer] = {}
        self.funding: object = "0.0000125"
        self.indexer_lag_s = 1.0
        self.derive_age_s = 1.0
        self.iv = 0.60  # at the money, fraction
        self.iv_scale_deribit = 100.0
        self.iv_scale_derive = 1.0
        self.page_rows = 500
        self.fair_asks = False  # Deribit asks what the vol says and 5 %, in place of one price for everything
        self.expiries = tuple(self.eight(days) for days in (2, 7, 14, 30, 60, 95, 180))

    def eight(self, days: int) -> int:
        """Return 08:00 UTC some days from now."""
        return int(self.now_s // DAY_S) * DAY_S + days * DAY_S + 8 * HOUR_S

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.method == "POST" else None
        path = request.path
        self.asked.append((path, body if body is not None else dict(request.query)))
        for known, answer in self.faults.items():
            if path == known or (known.endswith("*") and path.startswith(known[:-1])):
                return answer(request, body)
        found = self._answer(path, request.query, body)
        return (
            web.json_response(found) if found is not None else web.Response(status=404, text="no such path")
        )

    def _answer(self, path: str, query: Any, body: Any) -> Any:
        for start, answer in (
            ("/info", self._hyperliquid),
            ("/v4/", self._dydx),
            ("/api/v2/public/", self._deribit),
            ("/public/", self._derive),
            ("/publicAPI/", self._bls),
            ("/fred/", self._fred),
            ("/api/v3/klines", self._klines),
            ("/fapi/v1/", self._futures),
            ("/", self._llama),
        ):
            if path.startswith(start):
                return answer(path.removeprefix(start), query, body)
        return None

    # Hyperliquid

    def _hyperliquid(self, _path: str, _query: Any, body: Any) -> Any:
        if body["type"] == "metaAndAssetCtxs":
            names = ("BTC", "OLD", "ETH")
            universe = [{"name": name, "szDecimals": 4, "maxLeverage": 50} for name in names]
            universe[1]["isDelisted"] = True
            context = {
                "funding": self.funding,
                "openInterest": "550000.5",
                "markPx": "3000.1",
                "oraclePx": "3000.0",
                "midPx": "3000.05",
                "premium": "0.0001",
                "impactPxs": ["2999.9", "3000.2"],
                "dayNtlVlm": "1000000.0",
                "prevDayPx": "2990.0",
            }
            return [{"universe": universe}, [context] * 3]
        start_s, end_s = body["startTime"] / 1e3, body.get("endTime", self.now_s * 1e3) / 1e3
        hours = range(math.ceil(start_s / HOUR_S) * HOUR_S, int(end_s) + 1, HOUR_S)
        return [
            {
                "coin": body["coin"],
                "fundingRate": f"{funding_at(at_s):.10f}",
                "premium": "0.0",
                "time": at_s * 1000 + 27,
            }
            for at_s in hours[:500]
            if at_s * 1000 + 27 >= body["startTime"] and at_s + 0.027 <= min(end_s, self.now_s)
        ]

    # dYdX v4

    def _dydx(self, path: str, query: Any, _body: Any) -> Any:
        if path == "height":
            return {"height": "31415926", "time": iso(self.now_s - self.indexer_lag_s)}
        if path == "perpetualMarkets":
            market = {
                "ticker": "ETH-USD",
                "status": "ACTIVE",
                "oraclePrice": "3000.5",
                "nextFundingRate": "-0.000008",
                "openInterest": "12000.25",
                "defaultFundingRate1H": "0",
            }
            return {"markets": {"ETH-USD": market, "BTC-USD": market | {"ticker": "BTC-USD"}}}
        ticker = path.removeprefix("historicalFunding/")
        before = datetime.fromisoformat(query["effectiveBeforeOrAt"]).timestamp()
        newest = int(min(before, self.now_s)) // HOUR_S * HOUR_S
        oldest = int(self.now_s) - 120 * DAY_S
        limit = min(int(query.get("limit", "100")), self.page_rows)
        return {
            "historicalFunding": [
                {
                    "ticker": ticker,
                    "rate": f"{funding_at(at_s):.12f}",
                    "price": "3000",
                    "effectiveAt": iso(at_s),
                    "effectiveAtHeight": "1",
                }
                for at_s in range(newest, oldest, -HOUR_S)[:limit]
            ]
        }

    # Options of both venues

    def smile(self, strike: float, expiry_s: float) -> float:
        """Return a vol in fraction: flat term structure but for a little slope, and a smile."""
        days = (expiry_s - self.now_s) / DAY_S
        return self.iv * (1.0 - 0.0005 * days) + 0.2 * math.log(strike / 3_000.0) ** 2

    def options(self) -> list[tuple[int, int, str]]:
        return [
            (expiry_s, strike, kind)
            for expiry_s in self.expiries
            for strike in range(1_800, 4_600, 200)
            for kind in "CP"
        ]

    # Derive

    def _derive(self, path: str, _query: Any, body: Any) -> Any:
        if path == "get_all_instruments":
            rows = [self._derive_instrument(*option) for option in self.options()]
            size = 40
            first = (body["page"] - 1) * size
            pages = {"count": len(rows), "num_pages": math.ceil(len(rows) / size)}
            return self._ok({"instruments": rows[first : first + size], "pagination": pages})
        if path == "get_tickers":
            return self._ok({"tickers": self._derive_tickers(body)})
        if path == "get_funding_rate_history":
            start_s, end_s = body["start_timestamp"] / 1e3, body["end_timestamp"] / 1e3
            hours = range(math.ceil(start_s / HOUR_S) * HOUR_S, int(end_s) + 1, HOUR_S)
            rows = [{"timestamp": at_s * 1000, "funding_rate": f"{funding_at(at_s):.10f}"} for at_s in hours]
            return self._ok({"funding_rate_history": rows})
        return None

    @staticmethod
    def _ok(result: object) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": "1", "result": result}

    def derive_name(self, expiry_s: int, strike: int, kind: str) -> str:
        return f"ETH-{datetime.fromtimestamp(expiry_s, tz=UTC):%Y%m%d}-{strike}-{kind}"

    def _derive_instrument(self, expiry_s: int, strike: int, kind: str) -> dict[str, Any]:
        return {
            "instrument_name": self.derive_name(expiry_s, strike, kind),
            "instrument_type": "option",
            "is_active": True,
            "amount_step": "0.01",
            "minimum_amount": "0.1",
            "maximum_amount": "10000",
            "tick_size": "0.1",
            "base_fee": "0.5",
            "taker_fee_rate": "0.0003",
            "maker_fee_rate": "0.0001",
            "mark_price_fee_rate_cap": "0.125",
            "base_currency": "ETH",
            "quote_currency": "USDC",
            "scheduled_deactivation": 9223372036854775807,
            "option_details": {
                "expiry": expiry_s,
                "index": "ETH-USD",
                "option_type": kind,
                "settlement_price": None,
                "strike": str(strike),
            },
            "perp_details": None,
        }

    def _derive_tickers(self, body: Any) -> dict[str, Any]:
        at_ms = int((self.now_s - self.derive_age_s) * 1e3)
        if body["instrument_type"] == "perp":
            ticker = {
                "t": at_ms, "I": "3000.2", "M": "3000.4", "f": "0.00001", "a": "3000.5", "A": "5",
                "b": "3000", "B": "4", "maxp": "3100", "minp": "2900", "option_pricing": None, "stats": {},
            }  # fmt: skip
            return {f"{body['currency']}-PERP": ticker}
        found = {}
        for expiry_s, strike, kind in self.options():
            name = self.derive_name(expiry_s, strike, kind)
            if f"-{body['expiry_date']}-" not in name:
                continue
            iv = self.smile(strike, expiry_s) * self.iv_scale_derive
            pricing = {
                "i": f"{iv:.6f}", "ai": f"{iv:.6f}", "bi": f"{iv:.6f}", "d": "-0.3", "df": "0.999",
                "f": "3000.8", "g": "0.001", "m": "42.3", "r": "1.7", "t": "-2.4", "v": "1.4",
            }  # fmt: skip
            found[name] = {
                "t": at_ms, "I": "3000.2", "M": "42.3", "f": None, "a": "43.8", "A": "3.46", "b": "38.4",
                "B": "250.6", "maxp": "67.2", "minp": "23.2", "option_pricing": pricing, "stats": {},
            }  # fmt: skip
        return found

    # Deribit

    def deribit_name(self, expiry_s: int, strike: int, kind: str) -> str:
        day = datetime.fromtimestamp(expiry_s, tz=UTC)
        return f"ETH-{day.day}{day:%b%y}-{strike}-{kind}".upper()

    def _deribit(self, path: str, query: Any, _body: Any) -> Any:
        answers = {
            "get_volatility_index_data": self._dvol,
            "get_book_summary_by_currency": self._summary,
            "get_instruments": self._instruments,
            "get_index_price": lambda _query: {"index_price": 3000.4, "estimated_delivery_price": 3000.4},
            "get_order_book": self._order_book,
        }
        if path not in answers:
            return None
        return {"jsonrpc": "2.0", "result": answers[path](query), "usIn": 1, "usOut": 2, "usDiff": 1}

    def _dvol(self, query: Any) -> dict[str, Any]:
        """Newest rows first by page: at most ``page_rows`` a page, ``continuation`` ends the older one."""
        step_s = int(query["resolution"])
        start_s, end_s = int(query["start_timestamp"]) / 1e3, int(query["end_timestamp"]) / 1e3
        end_s = min(end_s, self.now_s)
        starts = range(math.ceil(start_s / step_s) * step_s, int(end_s) + 1, step_s)
        page = starts[-self.page_rows :]
        rows = [[at_s * 1000, *[dvol_at(at_s)] * 4] for at_s in page]
        more = len(starts) > len(page)
        return {"data": rows, "continuation": (page[0] - step_s) * 1000 if more else None}

    def _summary(self, _query: Any) -> list[dict[str, Any]]:
        rows = []
        for expiry_s, strike, kind in self.options():
            days = (expiry_s - self.now_s) / DAY_S
            rows.append(
                {
                    "instrument_name": self.deribit_name(expiry_s, strike, kind),
                    "base_currency": "ETH",
                    "quote_currency": "ETH",
                    "mark_iv": round(self.smile(strike, expiry_s) * self.iv_scale_deribit, 4),
                    "underlying_price": 3000.4 * (1 + 0.0001 * days),
                    "underlying_index": "SYN.ETH",
                    "mark_price": 0.02,
                    "bid_price": 0.019,
                    "ask_price": 0.021,
                    "mid_price": 0.02,
                    "interest_rate": 0.0,
                    "open_interest": 120.0,
                    "volume": 3.0,
                    "creation_timestamp": int((self.now_s - 0.5) * 1e3),
                }
            )
        rows[0] |= {"bid_price": None, "mark_iv": 0.0}
        return rows

    def _instruments(self, _query: Any) -> list[dict[str, Any]]:
        return [
            {
                "instrument_name": self.deribit_name(expiry_s, strike, kind),
                "kind": "option",
                "instrument_type": "reversed",
                "is_active": True,
                "strike": float(strike),
                "option_type": "put" if kind == "P" else "call",
                "expiration_timestamp": expiry_s * 1000,
                "settlement_currency": "ETH",
                "base_currency": "ETH",
                "quote_currency": "ETH",
                "min_trade_amount": 1.0,
                "contract_size": 1.0,
                "taker_commission": 0.0003,
                "maker_commission": 0.0003,
            }
            for expiry_s, strike, kind in self.options()
        ]

    def ask(self, name: str) -> float:
        """Return what one contract costs in the coin."""
        if not self.fair_asks:
            return 0.021
        _, day, strike, kind = name.split("-")
        expiry_s = datetime.strptime(day, "%d%b%y").replace(tzinfo=UTC).timestamp() + 8 * HOUR_S
        years = (expiry_s - self.now_s) / (365.0 * DAY_S)
        iv, is_put = self.smile(float(strike), expiry_s), kind == "P"
        usd = float(options.price(3_000.4, float(strike), years, iv, is_put=is_put))
        return round(max(1.05 * usd / 3_000.4, 0.0001), 4)

    def _order_book(self, query: Any) -> dict[str, Any]:
        ask = self.ask(query["instrument_name"])
        return {
            "instrument_name": query["instrument_name"],
            "timestamp": int((self.now_s - 0.2) * 1e3),
            "asks": [[ask, 10.0], [round(ask + 0.001, 4), 25.0]],
            "bids": [[0.019, 12.0]],
            "index_price": 3000.4,
            "state": "open",
        }

    # DefiLlama

    def days(self, many: int) -> list[int]:
        today = int(self.now_s) // DAY_S * DAY_S
        return list(range(today - many * DAY_S, today + 1, DAY_S))

    def _llama(self, path: str, query: Any, _body: Any) -> Any:
        if path == "protocol/aave-v3":
            days = self.days(100)
            tvl = [{"date": day, "totalLiquidityUSD": 1e9 + day} for day in days]
            tokens = [{"date": day, "tokens": {"WETH": 5e5 + i, "USDC": 1e8}} for i, day in enumerate(days)]
            part = {"tvl": tvl, "tokens": tokens, "tokensInUsd": []}
            return {"name": "Aave V3", "mcap": 4.2e9, **part, "chainTvls": {"Ethereum": part}}
        if path == "summary/fees/aave-v3":
            scale = 1.0 if query.get("dataType") == "dailyFees" else 0.1
            return {"total24h": 2e6 * scale, "totalDataChart": [[day, 2e6 * scale] for day in self.days(60)]}
        if path.startswith("stablecoincharts/"):
            return [
                {
                    "date": str(day),
                    "totalCirculating": {"peggedUSD": 1.5e11 + 1e8 * i, "peggedEUR": 5e8},
                    "totalCirculatingUSD": {"peggedUSD": 1.4e11},
                }
                for i, day in enumerate(self.days(30))
            ]
        if path == "v2/historicalChainTvl":
            return [{"date": day, "tvl": 9e10 + day} for day in self.days(100)]
        return None

    # Inflation and FRED

    def _bls(self, path: str, _query: Any, body: Any) -> Any:
        assert path.startswith("v2" if "registrationkey" in body else "v1")
        series = []
        for name in body["seriesid"]:
            rows = []
            for year in range(int(body["startyear"]), int(body["endyear"]) + 1):
                for month in range(1, 13):
                    if (year, month) > (2026, 9):
                        break
                    value = f"{200.0 * 1.03 ** (year - 2000 + month / 12):.3f}"
                    missing = (year, month) == (2025, 10)  # the month that the shutdown left out
                    rows.append(
                        {
                            "year": str(year),
                            "period": f"M{month:02d}",
                            "periodName": "x",
                            "value": "-" if missing else value,
                            "footnotes": [{}],
                        }
                    )
            series.append({"seriesID": name, "data": rows[::-1]})
        return {
            "status": "REQUEST_SUCCEEDED",
            "responseTime": 90,
            "message": [],
            "Results": {"series": series},
        }

    def _fred(self, path: str, query: Any, _body: Any) -> Any:
        if path == "release/dates":
            days = [self.now_s + 20 * DAY_S, self.now_s - 10 * DAY_S]
            release = int(query["release_id"])
            return {"release_dates": [{"release_id": release, "date": iso(day, ms=False)} for day in days]}
        if path != "series/observations":
            return None
        if query.get("output_type") == "4":
            return {
                "observations": [
                    {"realtime_start": "2026-07-30", "date": "2026-04-01", "value": "2.9"},
                    {"realtime_start": "2026-10-29", "date": "2026-07-01", "value": "1.6"},
                ]
            }  # fmt: skip
        return {
            "observations": [
                {"date": iso(day, ms=False), "value": "." if i % 7 == 3 else f"{6000 + i}.5"}
                for i, day in enumerate(self.days(12)[:-1])
            ]
        }

    # Binance

    def _klines(self, _path: str, query: Any, _body: Any) -> Any:
        start_s, end_s = int(query["startTime"]) / 1e3, int(query["endTime"]) / 1e3
        hours = range(math.ceil(start_s / HOUR_S) * HOUR_S, int(min(end_s, self.now_s)) + 1, HOUR_S)
        return [self.kline(at_s) for at_s in hours[: int(query["limit"])]]

    @staticmethod
    def kline(at_s: int) -> list[Any]:
        price = price_at(at_s)
        return [
            at_s * 1000, f"{price:.8f}", f"{price + 5:.8f}", f"{price - 5:.8f}", f"{price + 1:.8f}", "12.5",
            (at_s + HOUR_S) * 1000 - 1, "37500", 100, "6", "18000", "0",
        ]  # fmt: skip

    def _futures(self, path: str, query: Any, body: Any) -> Any:
        if path == "klines":
            return self._klines(path, query, body)
        if path != "fundingRate":
            return None
        start_s, end_s = int(query["startTime"]) / 1e3, int(query["endTime"]) / 1e3
        step = 8 * HOUR_S
        times = range(math.ceil(start_s / step) * step, int(min(end_s, self.now_s)) + 1, step)
        return [
            {"symbol": query["symbol"], "fundingTime": at_s * 1000 + 3, "fundingRate": "0.00010000"}
            for at_s in times[: int(query["limit"])]
            if at_s + 0.003 <= end_s
        ]  # fmt: skip


@asynccontextmanager
async def sources_at(now_s: float) -> AsyncIterator[Sources]:
    """Serve on a free loopback port until the block ends."""
    served = Sources(now_s)
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{rest:.*}", served.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield served
    finally:
        await runner.cleanup()
