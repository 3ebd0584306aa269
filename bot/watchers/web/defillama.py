"""DefiLlama, free endpoints: TVL and token units of a protocol, its token's value, fees, stablecoin issuance.

TVL in USD falls when prices fall and past days are restated, so both only confirm; token units are
price-free. One ``/protocol/{slug}`` body is several megabytes: the client keeps it by its ETag. Bridges,
borrows and the history of market values are not free, and not read.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar
from urllib.parse import quote

from bot.chain.json_fields import BadReply, field, listing, mapping, number, seconds
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.ports import WebReader
from bot.watchers.web.rows import WebRows, check_source, history_row, read_or_unknown, within

SOURCE = "defillama"
MAINNET_URL = "https://api.llama.fi"
STABLECOINS_URL = "https://stablecoins.llama.fi"
STABLECOINS = "stablecoins"
LEAST_EVERY_S = 300.0
_MOST = 1e15
_DAY_ROOM_S = 2 * HOUR_S  # two rows this near to a day apart are a day apart

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefiLlamaSource:
    """Watches the TVL of a protocol and how many units of ``tokens`` it holds, on one ``chain`` or on all."""

    requests_per_s: ClassVar[float] = 1.0

    protocol: str  # its slug, "aave-v3"
    tokens: tuple[str, ...] = ()  # symbols as DefiLlama writes them, "WETH"
    chain: str = ""  # "Ethereum"; empty: all
    base_url: str = MAINNET_URL
    every_s: float = 900.0

    def __post_init__(self) -> None:
        _check(self.protocol, self.base_url, self.every_s, names=self.tokens)

    @property
    def name(self) -> str:
        return f"{SOURCE} {self.protocol}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        units = (SeriesKey(Metric.TOKEN_UNITS, f"{self._subject}/{token}", SOURCE) for token in self.tokens)
        return (SeriesKey(Metric.TVL_USD, self._subject, SOURCE), *units)

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        return await read_or_unknown(self.name, self.series, self._read(web, now_s), now_s=now_s)

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return what the source says of every day today; past days are restated at times."""
        part = await self._part(web)
        rows = []
        for key, token in zip(self.series, ("", *self.tokens), strict=True):
            rows += [
                history_row(key, value, at_s=at_s, read_at_s=until_s)
                for at_s, value in self._points(part, token)
                if value > 0.0
            ]
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, now_s: float) -> list[Observation]:
        part, rows, found = await self._part(web), WebRows(now_s=now_s), []
        for key, token in zip(self.series, ("", *self.tokens), strict=True):
            try:
                at_s, value = newest(self._points(part, token), token or "tvl", now_s=now_s)
                if not value > 0.0:
                    raise BadReply(f"{token or 'tvl'} is {value:g}, expected more than 0")
                found.append(rows.fresh(key, value, at_s=at_s, interval_s=DAY_S))
            except BadReply as error:
                found.append(rows.unknown(key, f"{self.name}: {error}"))
        return found

    async def _part(self, web: WebReader) -> Any:
        reply = await web.get(f"{self.base_url}/protocol/{quote(self.protocol, safe='')}")
        if not self.chain:
            return mapping(reply, self.protocol)
        chains = field(reply, "chainTvls", self.protocol)
        return field(chains, self.chain, f"chainTvls of {self.protocol}")

    def _points(self, part: Any, token: str) -> Iterator[Point]:
        """Yield (time, USD) of the TVL or, with a token, (time, units): only rows that name it."""
        rows = listing(field(part, "tokens" if token else "tvl", self.protocol), f"{token or 'tvl'} rows")
        for row in rows:
            at_s = seconds(field(row, "date", "row"), "date")
            if not token:
                value = field(row, "totalLiquidityUSD", "row")
            elif token not in (held := mapping(field(row, "tokens", "row"), "tokens")):
                continue
            else:
                value = held[token]
            yield at_s, number(value, token or "totalLiquidityUSD", least=0.0, most=_MOST * 1e6)

    @property
    def _subject(self) -> str:
        return f"{self.protocol}:{self.chain}" if self.chain else self.protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DefiLlamaTokenSource:
    """Watches the market value of a protocol's token, and the fees and revenue of a day (S18)."""

    requests_per_s: ClassVar[float] = 1.0

    protocol: str
    token: str  # subject of the market value, "AAVE"
    base_url: str = MAINNET_URL
    every_s: float = 3_600.0

    def __post_init__(self) -> None:
        _check(self.protocol, self.base_url, self.every_s, names=(self.token,))

    @property
    def name(self) -> str:
        return f"defillama_token {self.token}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (self._value_key, *(key for _, key in self._flow_keys))

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        value = self._read_value(web, now_s)
        rows = await read_or_unknown(self.name, (self._value_key,), value, now_s=now_s)
        for kind, key in self._flow_keys:
            flow = self._read_flow(web, kind, key, now_s)
            rows += await read_or_unknown(self.name, (key,), flow, now_s=now_s)
        return rows

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return fees and revenue of every full day, known when it ends; market values have no free past."""
        rows = []
        for kind, key in self._flow_keys:
            rows += [
                history_row(key, usd, at_s=at_s, read_at_s=until_s)
                for at_s, usd in await self._flows(web, kind)
                if usd >= 0.0
            ]
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read_value(self, web: WebReader, now_s: float) -> list[Observation]:
        reply = await web.get(f"{self.base_url}/protocol/{quote(self.protocol, safe='')}")
        what = f"mcap of {self.protocol}"
        usd = number(field(reply, "mcap", self.protocol), what, least=1.0, most=_MOST)
        # The field carries no time of its own: it is the state when it was asked for.
        return [WebRows(now_s=now_s).row(self._value_key, usd, at_s=now_s)]

    async def _read_flow(self, web: WebReader, kind: str, key: SeriesKey, now_s: float) -> list[Observation]:
        full_days = [point for point in await self._flows(web, kind) if point[0] <= now_s]
        at_s, usd = newest(iter(full_days), kind, now_s=now_s)
        if not usd >= 0.0:
            raise BadReply(f"{kind} is {usd:g}, expected at least 0")
        return [WebRows(now_s=now_s).fresh(key, usd, at_s=at_s, interval_s=DAY_S)]

    async def _flows(self, web: WebReader, kind: str) -> list[Point]:
        """Return (end of the day, USD) of every day."""
        url = f"{self.base_url}/summary/fees/{quote(self.protocol, safe='')}"
        reply = await web.get(url, params={"dataType": kind})
        return list(_day_points(listing(field(reply, "totalDataChart", kind), kind), kind))

    @property
    def _value_key(self) -> SeriesKey:
        return SeriesKey(Metric.MARKET_CAP_USD, self.token, SOURCE)

    @property
    def _flow_keys(self) -> tuple[tuple[str, SeriesKey], ...]:
        return (
            ("dailyFees", SeriesKey(Metric.FEES_USD_1D, self.protocol, SOURCE)),
            ("dailyRevenue", SeriesKey(Metric.REVENUE_USD_1D, self.protocol, SOURCE)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StablecoinFlowSource:
    """Watches how many units of dollar-pegged coins were issued in a day, redemptions negative (S23).

    Units, not USD: a coin that loses its peg is no outflow by that.
    """

    requests_per_s: ClassVar[float] = 1.0

    chain: str = "all"  # or "Ethereum"
    base_url: str = STABLECOINS_URL
    every_s: float = 3_600.0

    def __post_init__(self) -> None:
        _check(self.chain, self.base_url, self.every_s)

    @property
    def name(self) -> str:
        return "defillama_stablecoins"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        subject = STABLECOINS if self.chain == "all" else f"{STABLECOINS}:{self.chain}"
        return (SeriesKey(Metric.FLOW_USD_1D, subject, SOURCE),)

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        return await read_or_unknown(self.name, self.series, self._read(web, now_s), now_s=now_s)

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        flows = await self._flows(web)
        rows = [history_row(self.series[0], usd, at_s=at_s, read_at_s=until_s) for at_s, usd in flows]
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, now_s: float) -> list[Observation]:
        at_s, usd = newest(iter(await self._flows(web)), "flows", now_s=now_s)
        return [WebRows(now_s=now_s).fresh(self.series[0], usd, at_s=at_s, interval_s=DAY_S)]

    async def _flows(self, web: WebReader) -> list[Point]:
        """Return (day, units issued since the day before); two rows that are not a day apart give none."""
        reply = await web.get(f"{self.base_url}/stablecoincharts/{quote(self.chain, safe='')}")
        supply = sorted(_supplies(listing(reply, "stablecoincharts")))
        return [
            (at_s, units - before)
            for (before_s, before), (at_s, units) in pairwise(supply)
            if abs(at_s - before_s - DAY_S) <= _DAY_ROOM_S
        ]


def newest(points: Iterator[Point], what: str, *, now_s: float) -> Point:
    """Return the last point in time. Raises BadReply when there is none or it lies in the future."""
    at_s, value = max(points, key=lambda point: point[0], default=(math.nan, math.nan))
    if math.isnan(at_s):
        raise BadReply(f"{what}: no row")
    return seconds(at_s, f"{what} date", now_s=now_s), value


async def tvl_points(web: WebReader, *, base_url: str, chain: str = "") -> list[Point]:
    """Return (day, TVL in USD) of a chain, or of all of them."""
    path = f"/v2/historicalChainTvl/{quote(chain, safe='')}" if chain else "/v2/historicalChainTvl"
    rows = listing(await web.get(f"{base_url}{path}"), "historicalChainTvl")
    return sorted(
        (
            seconds(field(row, "date", "row"), "date"),
            number(field(row, "tvl", "row"), "tvl", least=0.0, most=_MOST),
        )
        for row in rows
    )


def _supplies(rows: Any) -> Iterator[Point]:
    for row in rows:
        pegged = mapping(field(row, "totalCirculating", "row"), "totalCirculating").get("peggedUSD")
        if pegged is not None:  # some days lack it: a missing day is a gap, not a redemption
            date = seconds(field(row, "date", "row"), "date")
            yield date, number(pegged, "peggedUSD", least=1.0, most=_MOST)


def _day_points(rows: Any, kind: str) -> Iterator[Point]:
    for row in rows:
        pair = listing(row, f"{kind} row")
        if len(pair) != 2:
            raise BadReply(f"{kind}: a row has {len(pair)} values, expected 2")
        if pair[1] is not None:
            at_s = seconds(pair[0], f"{kind} date") + DAY_S
            yield at_s, number(pair[1], kind, least=-_MOST, most=_MOST)


def _check(name: str, base_url: str, every_s: float, *, names: tuple[str, ...] = ()) -> None:
    check_source(
        base_url=base_url, every_s=every_s, names=(name, *(f"/{item}" * bool(item) for item in names))
    )
    if every_s < LEAST_EVERY_S:
        raise ConfigError(f"defillama: every_s must be at least {LEAST_EVERY_S:g}, was {every_s:g}")
