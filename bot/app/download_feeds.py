"""Where each history file comes from: public, without a key, page by page.

Prices and perpetuals are Binance's, as the files' names say: the market-data host needs no account. Its
futures host is closed to some regions; then perpetuals and Binance's funding are named as not had.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bot.app.download_files import Row
from bot.chain.json_fields import BadReply, listing, millis, number
from bot.chain.json_fields import field as field_of
from bot.model.units import DAY_S, HOUR_S, iso_utc
from bot.ports import WebReader
from bot.watchers.web import bls, defillama, deribit, dydx_v4, hyperliquid
from bot.watchers.web.macro_calendar import packaged

SPOT_URL = "https://data-api.binance.vision"
PERP_URL = "https://fapi.binance.com"
_CANDLE_ROWS = 1_000
_DVOL_WINDOW_S = 30 * DAY_S
_DYDX_WINDOW_S = 30 * DAY_S
_LARGEST_RATE = 0.1

Pages = Callable[[WebReader, float, float], AsyncIterator["Page"]]
_OHLC = ("open", "high", "low", "close")


class Page(NamedTuple):
    """Rows of one page, and the time up to which the span is done."""

    rows: list[Row]
    reached_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """Where each source is asked; tests point it at this machine."""

    spot: str = SPOT_URL
    perp: str = PERP_URL
    hyperliquid: str = hyperliquid.MAINNET_URL
    dydx: str = dydx_v4.MAINNET_URL
    deribit: str = deribit.MAINNET_URL
    defillama: str = defillama.MAINNET_URL
    bls: str = bls.BASE_URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One series of one file."""

    file: str  # without the ending
    columns: tuple[str, ...]
    label: str
    base_url: str
    pages: Pages  # yields pages of [from, to] in order of time
    step_s: float
    keys: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    requests_per_s: float = field(default=5.0)


def feeds_for(
    what: Iterable[str], underlyings: Iterable[str], protocols: Iterable[str], hosts: Hosts
) -> Iterator[Feed]:
    """Yield the feeds of everything that is asked for, file by file."""
    wanted, assets = set(what), tuple(underlyings)
    makers: dict[str, Callable[[], Iterator[Feed]]] = {
        "prices": lambda: (_candles(asset, hosts.spot, perp=False) for asset in assets),
        "perps": lambda: (_candles(asset, hosts.perp, perp=True) for asset in assets),
        "funding": lambda: (feed for asset in assets for feed in _funding(asset, hosts)),
        "dvol": lambda: (_dvol(asset, hosts.deribit) for asset in assets),
        "tvl": lambda: _tvl(tuple(protocols), hosts.defillama),
        "macro": lambda: _macro(hosts.bls),
    }
    for name, make in makers.items():
        if name in wanted:
            yield from make()


def _candles(asset: str, base_url: str, *, perp: bool) -> Feed:
    path = "/fapi/v1/klines" if perp else "/api/v3/klines"

    async def pages(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
        start_s = from_s
        while start_s <= to_s:
            params = {
                "symbol": f"{asset}USDT",
                "interval": "1h",
                "startTime": str(int(start_s * 1e3)),
                "endTime": str(int(to_s * 1e3)),
                "limit": str(_CANDLE_ROWS),
            }
            reply = listing(await web.get(f"{base_url}{path}", params=params), "klines")
            rows = [_candle(item, with_source=not perp) for item in reply]
            last_s = rows[-1].at_s if rows else to_s
            # The candle of an hour that has not ended still changes.
            yield Page([row for row in rows if row.at_s + HOUR_S <= to_s], last_s if rows else to_s)
            if len(rows) < _CANDLE_ROWS:
                break
            start_s = last_s + 1.0

    kind, source = ("perp", ()) if perp else ("spot", ("src",))
    return Feed(
        file=f"{asset.lower()}_usdt_{kind}_1h_binance",
        columns=("ts", *_OHLC, "volume", *source),
        label=f"{asset} {kind} prices",
        base_url=base_url,
        pages=pages,
        step_s=HOUR_S,
        requests_per_s=8.0,  # a call weighs 2 of 6,000 a minute, on the futures host 5 of 2,400
    )


def _candle(item: Any, *, with_source: bool) -> Row:
    parts = listing(item, "kline")
    if len(parts) < 6:
        raise BadReply(f"a kline has {len(parts)} values, expected 12")
    at_s = millis(parts[0], "kline time")
    low, high = number(parts[3], "kline low"), number(parts[2], "kline high", most=1e9)
    for name, part in zip(_OHLC, parts[1:5], strict=True):
        number(part, f"kline {name}", least=max(low, 1e-9), most=high)
    number(parts[5], "kline volume", least=0.0)
    values = [f"{number(part, 'kline'):.10g}" for part in parts[1:6]]
    return Row(at_s, (*values, *(("binance",) if with_source else ())))


def _funding(asset: str, hosts: Hosts) -> Iterator[Feed]:
    sources: dict[str, tuple[str, Pages, float, float]] = {
        "binance": (hosts.perp, _binance_funding(asset, hosts.perp), 8.0 * HOUR_S, 1.0),
        "hyperliquid": (hosts.hyperliquid, _hyperliquid_funding(asset, hosts.hyperliquid), HOUR_S, 0.5),
        "dydx": (hosts.dydx, _dydx_funding(asset, hosts.dydx), HOUR_S, 2.0),
    }
    for exchange, (base_url, pages, step_s, rate) in sources.items():
        yield Feed(
            file="perp_funding_multi",
            columns=("ts", "exchange", "asset", "rate"),
            label=f"{asset} funding of {exchange}",
            base_url=base_url,
            pages=pages,
            step_s=step_s,
            keys=("exchange", "asset"),
            key=(exchange, asset),
            requests_per_s=rate,
        )


def _binance_funding(asset: str, base_url: str) -> Pages:
    async def pages(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
        start_s = from_s
        while start_s <= to_s:
            params = {
                "symbol": f"{asset}USDT",
                "startTime": str(int(start_s * 1e3)),
                "endTime": str(int(to_s * 1e3)),
                "limit": str(_CANDLE_ROWS),
            }
            reply = listing(await web.get(f"{base_url}/fapi/v1/fundingRate", params=params), "fundingRate")
            rows = []
            for item in reply:
                # Settlements are stamped some milliseconds late; the row stands at its full second.
                at_s = float(int(millis(field_of(item, "fundingTime", "fundingRate"), "fundingTime")))
                rows.append(_rate(at_s, field_of(item, "fundingRate", "fundingRate")))
            last_s = rows[-1].at_s if rows else to_s
            yield Page(rows, last_s if len(rows) == _CANDLE_ROWS else to_s)
            if len(rows) < _CANDLE_ROWS:
                break
            start_s = last_s + 1.0

    return pages


def _hyperliquid_funding(asset: str, base_url: str) -> Pages:
    async def pages(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
        start_ms = int(from_s * 1e3)
        while start_ms <= to_s * 1e3:
            page = await hyperliquid.funding_page(
                web, base_url=base_url, coin=asset, start_ms=start_ms, until_s=to_s
            )
            rows = [_rate(float(int(at_s)), hourly) for at_s, hourly in page]
            yield Page(rows, page[-1][0] if page else to_s)
            if not page:
                break
            start_ms = int(page[-1][0] * 1e3) + 1

    return pages


def _dydx_funding(asset: str, base_url: str) -> Pages:
    """Windows go forward in time, so that a cut-off download has no hole; pages inside go backwards."""

    async def window(web: WebReader, from_s: float, to_s: float) -> list[Row]:
        found: list[Row] = []
        before_s = to_s
        while before_s >= from_s:
            page = await dydx_v4.funding_page(web, base_url=base_url, underlying=asset, before_s=before_s)
            found += [_rate(float(int(at_s)), hourly) for at_s, hourly in page if at_s >= from_s]
            if not page or page[0][0] < from_s:
                break
            before_s = page[0][0] - 1.0
        return sorted(found)

    async def pages(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
        start_s = from_s
        while start_s < to_s:
            end_s = min(start_s + _DYDX_WINDOW_S, to_s)
            yield Page(await window(web, start_s, end_s), end_s)
            start_s = end_s + 1.0

    return pages


def _rate(at_s: float, raw: Any) -> Row:
    rate = number(raw, "funding rate", least=-_LARGEST_RATE, most=_LARGEST_RATE)
    return Row(at_s, (f"{rate:.10g}",))


def _dvol(asset: str, base_url: str) -> Feed:
    async def pages(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
        start_s = from_s
        while start_s < to_s:
            end_s = min(start_s + _DVOL_WINDOW_S, to_s)
            candles = await deribit.vol_index(
                web, base_url=base_url, currency=asset, from_s=start_s, to_s=end_s
            )
            rows = [Row(item.at_s, tuple(f"{value:.10g}" for value in item[1:])) for item in candles]
            yield Page(rows, end_s)
            # The last hour of a window is open there; it is the first of the next.
            start_s = end_s if end_s >= to_s else end_s - HOUR_S

    return Feed(
        file=f"{asset.lower()}_dvol_1h_deribit",
        columns=("ts", *_OHLC),
        label=f"{asset} implied vol index",
        base_url=base_url,
        pages=pages,
        step_s=HOUR_S,
    )


def _tvl(protocols: tuple[str, ...], base_url: str) -> Iterator[Feed]:
    async def chains(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
        points = await defillama.tvl_points(web, base_url=base_url)
        yield Page(_points(points, from_s, to_s), to_s)

    def of(protocol: str) -> Pages:
        async def pages(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
            source = defillama.DefiLlamaSource(protocol=protocol, base_url=base_url)
            found = await source.history(web, since_s=from_s - 1.0, until_s=to_s)
            yield Page(_points([(row.observed_at_s, row.value) for row in found], from_s, to_s), to_s)

        return pages

    for subject, pages in (("all", chains), *((name, of(name)) for name in protocols)):
        yield Feed(
            file="tvl_daily_defillama",
            columns=("ts", "subject", "tvl_usd"),
            label=f"TVL of {subject}",
            base_url=base_url,
            pages=pages,
            step_s=DAY_S,
            keys=("subject",),
            key=(subject,),
            requests_per_s=1.0,
        )


def _points(points: Iterable[tuple[float, float]], from_s: float, to_s: float) -> list[Row]:
    return [Row(float(int(at_s)), (f"{usd:.10g}",)) for at_s, usd in points if from_s <= at_s <= to_s]


def _macro(base_url: str) -> Iterator[Feed]:
    def prints(event: str) -> Pages:
        async def pages(web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
            source = bls.BlsSource(events=(event,), base_url=base_url)
            found = await source.history(web, since_s=from_s - 1.0, until_s=to_s)
            yield Page([Row(row.observed_at_s, (f"{row.value:.4f}",)) for row in found], to_s)

        return pages

    for event in bls.SERIES:
        yield Feed(
            file="macro_prints_us",
            columns=("ts", "event", "yoy"),
            label=f"{event} prints",
            base_url=base_url,
            pages=prints(event),
            step_s=DAY_S,
            keys=("event",),
            key=(event,),
            requests_per_s=0.2,
        )
    for event, releases in packaged().items():
        yield _calendar(event, tuple(item.at_s for item in releases))


def _calendar(event: str, times_s: tuple[float, ...]) -> Feed:
    async def pages(_web: WebReader, from_s: float, to_s: float) -> AsyncIterator[Page]:
        rows = [Row(at_s, (iso_utc(at_s),)) for at_s in times_s if from_s <= at_s <= to_s]
        yield Page(rows, to_s)

    return Feed(
        file="macro_releases_us",
        columns=("ts", "event", "released"),
        label=f"{event} release dates",
        base_url="",
        pages=pages,
        step_s=DAY_S,
        keys=("event",),
        key=(event,),
    )
