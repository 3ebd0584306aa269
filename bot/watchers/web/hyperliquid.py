"""Funding and open interest of Hyperliquid perpetuals (S10).

``metaAndAssetCtxs`` gives two lists that are joined by position; ``funding`` is the rate of one hour as a
decimal string, positive when a long pays. ``fundingHistory`` gives at most 500 hourly rows a call, oldest
first, from ``startTime`` on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bot.chain.json_fields import BadReply, field, listing, mapping, millis, number, string
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import HOUR_S
from bot.ports import WebReader
from bot.watchers.web.rows import (
    HOURS_A_YEAR,
    LARGEST_HOURLY_FUNDING,
    WebRows,
    check_source,
    funding_key,
    history_row,
    read_or_unknown,
    within,
)

SOURCE = "hyperliquid"
MAINNET_URL = "https://api.hyperliquid.xyz"
TESTNET_URL = "https://api.hyperliquid-testnet.xyz"
_PAGE_ROWS = 500
_MOST_USD = 1e13


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperliquidSource:
    """Watches the funding of perpetuals by their coin name."""

    requests_per_s: ClassVar[float] = 0.5  # a call weighs 20 of 1,200 a minute and address

    coins: tuple[str, ...] = ("ETH",)
    base_url: str = MAINNET_URL
    every_s: float = 300.0

    def __post_init__(self) -> None:
        check_source(base_url=self.base_url, every_s=self.every_s, names=self.coins)
        if not self.coins:
            raise ConfigError('hyperliquid: coins must name at least one perpetual, such as ["ETH"]')

    @property
    def name(self) -> str:
        return SOURCE

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(key for coin in self.coins for key in _keys(coin))

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        return await read_or_unknown(self.name, self.series, self._read(web, now_s), now_s=now_s)

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return the settled funding of every hour. Raises TransientError when a page cannot be had."""
        rows: list[Observation] = []
        for coin in self.coins:
            for at_s, hourly in await funding_history(
                web, base_url=self.base_url, coin=coin, since_s=since_s, until_s=until_s
            ):
                key = funding_key(coin, SOURCE)
                rows.append(history_row(key, hourly * HOURS_A_YEAR, at_s=at_s, read_at_s=until_s))
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, now_s: float) -> list[Observation]:
        reply = await web.post(f"{self.base_url}/info", body={"type": "metaAndAssetCtxs"})
        contexts = _by_coin(reply)
        rows = WebRows(now_s=now_s)
        return [item for coin in self.coins for item in _rows_of(coin, contexts, rows)]


async def funding_history(
    web: WebReader, *, base_url: str, coin: str, since_s: float, until_s: float
) -> list[tuple[float, float]]:
    """Return (time, rate of one hour) of a coin after ``since_s``, oldest first, all pages."""
    found: list[tuple[float, float]] = []
    start_ms = int(since_s * 1e3) + 1
    while start_ms <= until_s * 1e3:
        page = await funding_page(web, base_url=base_url, coin=coin, start_ms=start_ms, until_s=until_s)
        found.extend(page)
        if not page:
            break
        start_ms = int(page[-1][0] * 1e3) + 1
        if len(page) < _PAGE_ROWS and page[-1][0] > until_s - 2 * HOUR_S:
            break
    return found


async def funding_page(
    web: WebReader, *, base_url: str, coin: str, start_ms: int, until_s: float
) -> list[tuple[float, float]]:
    """Return one page of a coin's funding: rows at or after ``start_ms``, oldest first."""
    body = {"type": "fundingHistory", "coin": coin, "startTime": start_ms, "endTime": int(until_s * 1e3)}
    reply = listing(await web.post(f"{base_url}/info", body=body), "fundingHistory")
    page = [_settled(item, coin) for item in reply]
    if page != sorted(page) or (page and page[0][0] * 1e3 < start_ms - 1):
        raise BadReply(f"fundingHistory of {coin} is not in order of time")
    return page


def _settled(item: Any, coin: str) -> tuple[float, float]:
    what = f"fundingHistory of {coin}"
    if field(item, "coin", what) != coin:
        raise BadReply(f"{what} answers for another coin")
    at_s = millis(field(item, "time", what), f"{what} time")
    return at_s, _hourly(field(item, "fundingRate", what), f"{what} fundingRate")


def _by_coin(reply: Any) -> dict[str, Any]:
    """Join the universe with its contexts by position; two lists of different length cannot be joined."""
    parts = listing(reply, "metaAndAssetCtxs")
    if len(parts) != 2:
        raise BadReply(f"metaAndAssetCtxs has {len(parts)} parts, expected 2")
    universe = listing(field(parts[0], "universe", "meta"), "universe")
    contexts = listing(parts[1], "asset contexts")
    if len(universe) != len(contexts):
        raise BadReply(f"{len(universe)} assets but {len(contexts)} contexts")
    return {
        string(field(asset, "name", "asset"), "asset name"): context
        for asset, context in zip(universe, contexts, strict=True)
        if not mapping(asset, "asset").get("isDelisted")
    }


def _rows_of(coin: str, contexts: dict[str, Any], rows: WebRows) -> Sequence[Observation]:
    funding, interest = _keys(coin)
    if coin not in contexts:
        why = f"{SOURCE}: {coin} is not listed"
        return [rows.unknown(funding, why), rows.unknown(interest, why)]
    context, what = contexts[coin], f"{coin} context"
    try:
        hourly = _hourly(field(context, "funding", what), f"{coin} funding")
        units = number(field(context, "openInterest", what), f"{coin} openInterest", least=0.0, most=1e15)
        price = number(field(context, "markPx", what), f"{coin} markPx", least=1e-12, most=1e9)
    except BadReply as error:
        return [rows.unknown(funding, f"{SOURCE}: {error}"), rows.unknown(interest, f"{SOURCE}: {error}")]
    open_usd = units * price
    known = open_usd if 0.0 < open_usd < _MOST_USD else float("nan")
    # The reply carries no time of its own: it is the state when it was asked for.
    return [
        rows.row(funding, hourly * HOURS_A_YEAR, at_s=rows.now_s),
        rows.row(interest, known, at_s=rows.now_s),
    ]


def _hourly(value: Any, what: str) -> float:
    return number(value, what, least=-LARGEST_HOURLY_FUNDING, most=LARGEST_HOURLY_FUNDING)


def _keys(coin: str) -> tuple[SeriesKey, SeriesKey]:
    return funding_key(coin, SOURCE), SeriesKey(Metric.OPEN_INTEREST_USD, coin, SOURCE)
