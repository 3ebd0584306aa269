"""Funding and open interest of dYdX v4 perpetuals through its indexer (S10).

``nextFundingRate`` is the rate of one hour, positive when a long pays. The indexer can lag its chain: the
time of its newest block (``/height``) is the time of the reading. ``historicalFunding`` is newest first and
pages backwards by ``effectiveBeforeOrAt``.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from bot.chain.json_fields import BadReply, field, iso_seconds, listing, number
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import iso_utc
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

SOURCE = "dydx"
MAINNET_URL = "https://indexer.dydx.trade/v4"
TESTNET_URL = "https://indexer.v4testnet.dydx.exchange/v4"
_PAGE_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DydxSource:
    """Watches perpetuals of underlyings against USD; ``max_lag_s`` bounds the indexer's lag."""

    requests_per_s: ClassVar[float] = 2.0

    underlyings: tuple[str, ...] = ("ETH",)
    base_url: str = MAINNET_URL
    every_s: float = 300.0
    max_lag_s: float = 120.0

    def __post_init__(self) -> None:
        check_source(base_url=self.base_url, every_s=self.every_s, names=self.underlyings)
        if not self.underlyings or not self.max_lag_s > 0:
            raise ConfigError(
                f"dydx: underlyings must be named and max_lag_s > 0, were {len(self.underlyings)} and "
                f"{self.max_lag_s}"
            )

    @property
    def name(self) -> str:
        return SOURCE

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(key for underlying in self.underlyings for key in _keys(underlying))

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        return await read_or_unknown(self.name, self.series, self._read(web, now_s), now_s=now_s)

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return the settled funding of every hour. Raises TransientError when a page cannot be had."""
        rows: list[Observation] = []
        for underlying in self.underlyings:
            key, before_s = funding_key(underlying, SOURCE), until_s
            while before_s > since_s:
                page = await funding_page(
                    web, base_url=self.base_url, underlying=underlying, before_s=before_s
                )
                rows += [
                    history_row(key, hourly * HOURS_A_YEAR, at_s=at_s, read_at_s=until_s)
                    for at_s, hourly in page
                ]
                if not page:
                    break
                before_s = page[0][0] - 1.0
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, now_s: float) -> list[Observation]:
        height = await web.get(f"{self.base_url}/height")
        at_s = iso_seconds(field(height, "time", "height"), "height time", now_s=now_s)
        if now_s - at_s > self.max_lag_s:
            raise BadReply(f"the indexer is {now_s - at_s:.0f} s behind, allowed {self.max_lag_s:g} s")
        reply = await web.get(f"{self.base_url}/perpetualMarkets")
        markets = field(reply, "markets", "perpetualMarkets")
        rows, found = WebRows(now_s=now_s), []
        for underlying in self.underlyings:
            keys = _keys(underlying)
            try:
                values = _market(field(markets, f"{underlying}-USD", "markets"), underlying)
            except BadReply as error:
                found += [rows.unknown(key, f"{SOURCE}: {error}") for key in keys]
            else:
                found += [rows.row(key, value, at_s=at_s) for key, value in zip(keys, values, strict=True)]
        return found


async def funding_page(
    web: WebReader, *, base_url: str, underlying: str, before_s: float
) -> list[tuple[float, float]]:
    """Return one page of (time, rate of one hour) at or before ``before_s``, oldest first."""
    what = f"historicalFunding of {underlying}"
    params = {"limit": str(_PAGE_ROWS), "effectiveBeforeOrAt": iso_utc(before_s)}
    reply = await web.get(f"{base_url}/historicalFunding/{underlying}-USD", params=params)
    page = sorted(
        (
            iso_seconds(field(item, "effectiveAt", what), f"{what} effectiveAt"),
            _hourly(field(item, "rate", what), f"{what} rate"),
        )
        for item in listing(field(reply, "historicalFunding", what), what)
    )
    if page and page[-1][0] > before_s + 1.0:
        raise BadReply(f"{what} answers past the time that was asked for")
    return page


def _market(market: Any, underlying: str) -> tuple[float, float]:
    """Return (funding a year, open interest in USD)."""
    what = f"{underlying}-USD"
    status = field(market, "status", what)
    if status != "ACTIVE":
        raise BadReply(f"{what} has status {str(status)[:20]!r}, expected ACTIVE")
    hourly = _hourly(field(market, "nextFundingRate", what), f"{what} nextFundingRate")
    units = number(field(market, "openInterest", what), f"{what} openInterest", least=0.0, most=1e15)
    price = number(field(market, "oraclePrice", what), f"{what} oraclePrice", least=1e-12, most=1e9)
    open_usd = units * price
    return hourly * HOURS_A_YEAR, open_usd if open_usd > 0.0 else float("nan")


def _hourly(value: Any, what: str) -> float:
    return number(value, what, least=-LARGEST_HOURLY_FUNDING, most=LARGEST_HOURLY_FUNDING)


def _keys(underlying: str) -> tuple[SeriesKey, SeriesKey]:
    return funding_key(underlying, SOURCE), SeriesKey(Metric.OPEN_INTEREST_USD, underlying, SOURCE)
