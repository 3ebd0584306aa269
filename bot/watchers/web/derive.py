"""Derive: funding, index price and the at-the-money term structure of its option book (S10 to S13).

``get_tickers`` answers with short names: ``I`` index price, ``f`` funding of one hour, ``t`` time in ms,
``option_pricing`` with ``i`` mark vol and ``f`` forward. Vols and rates are fractions in decimal strings.
``get_ticker`` with the long names is deprecated since December 2025. ``get_funding_rate_history`` takes
``start_timestamp`` and ``end_timestamp`` in ms; under any other name it silently answers for the last month.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from bot.chain.json_fields import BadReply, field, listing, mapping, millis, number, result_of, string
from bot.chain.option_names import derive_option
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.ports import WebReader
from bot.quant.surface import HIGHEST_IV, LOWEST_IV
from bot.watchers.web.deribit import iv_keys, surface_rows
from bot.watchers.web.rows import (
    HOURS_A_YEAR,
    LARGEST_HOURLY_FUNDING,
    STALE_INTERVALS,
    WebRows,
    check_source,
    funding_key,
    history_row,
    read_or_unknown,
    within,
)
from bot.watchers.web.smile import StrikeVol

SOURCE = "derive"
MAINNET_URL = "https://api.lyra.finance"
DEMO_URL = "https://api-demo.lyra.finance"
_WINDOW_S = 7 * DAY_S
_MOST_INSTRUMENT_PAGES = 50
_PAGE_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveFunding:
    """Watches the funding of perpetuals and, with ``with_price``, Derive's index as one more PRICE_USD."""

    requests_per_s: ClassVar[float] = 2.0

    underlyings: tuple[str, ...] = ("ETH",)
    with_price: bool = False
    base_url: str = MAINNET_URL
    every_s: float = 300.0

    def __post_init__(self) -> None:
        _check(self.underlyings, self.base_url, self.every_s)

    @property
    def name(self) -> str:
        return SOURCE

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(key for underlying in self.underlyings for key in self._keys(underlying))

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        rows: list[Observation] = []
        for underlying in self.underlyings:
            reading = self._read(web, underlying, now_s)
            rows += await read_or_unknown(self.name, self._keys(underlying), reading, now_s=now_s)
        return rows

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return the funding of every hour. Raises TransientError when a window cannot be had."""
        rows: list[Observation] = []
        for underlying in self.underlyings:
            key, from_s = funding_key(underlying, SOURCE), since_s
            while from_s < until_s:
                to_s = min(from_s + _WINDOW_S, until_s)
                rows += [
                    history_row(key, hourly * HOURS_A_YEAR, at_s=at_s, read_at_s=until_s)
                    for at_s, hourly in await funding_window(
                        web, base_url=self.base_url, underlying=underlying, from_s=from_s, to_s=to_s
                    )
                ]
                from_s = to_s
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, underlying: str, now_s: float) -> list[Observation]:
        body = {"instrument_type": "perp", "currency": underlying}
        name = f"{underlying}-PERP"
        ticker = field(await tickers(web, base_url=self.base_url, body=body), name, "tickers")
        at_s = millis(field(ticker, "t", name), f"{name} t", now_s=now_s)
        rows, keys = WebRows(now_s=now_s), self._keys(underlying)
        hourly = _hourly(field(ticker, "f", name), f"{name} f")
        found = [rows.fresh(keys[0], hourly * HOURS_A_YEAR, at_s=at_s, interval_s=self.every_s)]
        if self.with_price:
            price = number(field(ticker, "I", name), f"{name} I", least=1e-9, most=1e9)
            found.append(rows.fresh(keys[1], price, at_s=at_s, interval_s=self.every_s))
        return found

    def _keys(self, underlying: str) -> tuple[SeriesKey, ...]:
        funding = funding_key(underlying, SOURCE)
        price = SeriesKey(Metric.PRICE_USD, underlying, SOURCE)
        return (funding, price) if self.with_price else (funding,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveSurface:
    """Watches the at-the-money vol at 7, 30 and 90 days; one call lists the options, one reads an expiry."""

    requests_per_s: ClassVar[float] = 2.0

    underlyings: tuple[str, ...] = ("ETH",)
    base_url: str = MAINNET_URL
    every_s: float = 600.0

    def __post_init__(self) -> None:
        _check(self.underlyings, self.base_url, self.every_s)

    @property
    def name(self) -> str:
        return "derive_surface"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(key for underlying in self.underlyings for key in iv_keys(underlying, SOURCE))

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        rows: list[Observation] = []
        for underlying in self.underlyings:
            reading = self._read(web, underlying, now_s)
            rows += await read_or_unknown(self.name, iv_keys(underlying, SOURCE), reading, now_s=now_s)
        return rows

    async def history(
        self,
        web: WebReader,  # noqa: ARG002 - as the port asks
        *,
        since_s: float,  # noqa: ARG002
        until_s: float,  # noqa: ARG002
    ) -> list[Observation]:
        """The venue keeps no history of its surface."""
        return []

    async def _read(self, web: WebReader, underlying: str, now_s: float) -> list[Observation]:
        listed = await instruments(web, base_url=self.base_url, underlying=underlying)
        names = [string(field(item, "instrument_name", "instrument"), "instrument_name") for item in listed]
        expiries = sorted({derive_option(name).expiry_s for name in names})
        options: list[tuple[StrikeVol | None, float]] = []
        for expiry_s in expiries:
            if expiry_s <= now_s:
                continue
            page = await expiry_tickers(web, base_url=self.base_url, underlying=underlying, expiry_s=expiry_s)
            options += [_strike_vol(name, item, underlying, now_s=now_s) for name, item in page.items()]
        keys = iv_keys(underlying, SOURCE)
        return surface_rows(keys, options, now_s=now_s, max_age_s=STALE_INTERVALS * self.every_s)


async def tickers(web: WebReader, *, base_url: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tickers of one ``get_tickers`` call by instrument name."""
    reply = result_of(await web.post(f"{base_url}/public/get_tickers", body=body))
    return mapping(field(reply, "tickers", "get_tickers"), "tickers")


async def expiry_tickers(
    web: WebReader, *, base_url: str, underlying: str, expiry_s: int
) -> Mapping[str, Any]:
    """Return the tickers of every option of one expiry."""
    date = datetime.fromtimestamp(expiry_s, tz=UTC).strftime("%Y%m%d")
    body = {"instrument_type": "option", "currency": underlying, "expiry_date": date}
    return await tickers(web, base_url=base_url, body=body)


async def instruments(web: WebReader, *, base_url: str, underlying: str) -> list[Any]:
    """Return every option that is listed and has not expired, all pages."""
    found: list[Any] = []
    for page in range(1, _MOST_INSTRUMENT_PAGES + 1):
        body = {
            "expired": False,
            "instrument_type": "option",
            "currency": underlying,
            "page": page,
            "page_size": _PAGE_ROWS,
        }
        reply = result_of(await web.post(f"{base_url}/public/get_all_instruments", body=body))
        rows = listing(field(reply, "instruments", "get_all_instruments"), "instruments")
        found.extend(rows)
        pages = number(field(field(reply, "pagination", "reply"), "num_pages", "pagination"), "num_pages")
        if page >= pages or not rows:
            return found
    raise BadReply(f"more than {_MOST_INSTRUMENT_PAGES} pages of instruments")


async def funding_window(
    web: WebReader, *, base_url: str, underlying: str, from_s: float, to_s: float
) -> list[tuple[float, float]]:
    """Return (time, rate of one hour) of a perpetual in [from_s, to_s], oldest first."""
    what = f"funding history of {underlying}"
    body = {
        "instrument_name": f"{underlying}-PERP",
        "start_timestamp": int(from_s * 1e3),
        "end_timestamp": int(to_s * 1e3),
        "period": HOUR_S,
    }
    reply = result_of(await web.post(f"{base_url}/public/get_funding_rate_history", body=body))
    rows = sorted(
        (
            millis(field(item, "timestamp", what), f"{what} timestamp"),
            _hourly(field(item, "funding_rate", what), f"{what} funding_rate"),
        )
        for item in listing(field(reply, "funding_rate_history", what), what)
    )
    if rows and (rows[0][0] < from_s - HOUR_S or rows[-1][0] > to_s + HOUR_S):
        raise BadReply(f"{what} answers for another span of time than was asked for")
    return rows


def _strike_vol(name: str, ticker: Any, underlying: str, *, now_s: float) -> tuple[StrikeVol | None, float]:
    """Return the vol of one option and its time; None for an option without a usable mark vol."""
    option = derive_option(name)
    at_s = millis(field(ticker, "t", name), f"{name} t", now_s=now_s)
    pricing = field(ticker, "option_pricing", name)
    if pricing is None or option.expiry_s <= now_s or option.underlying != underlying:
        return None, at_s
    iv = number(field(pricing, "i", name), f"{name} option_pricing.i", least=0.0)
    if not LOWEST_IV <= iv <= HIGHEST_IV:
        return None, at_s
    forward = number(field(pricing, "f", name), f"{name} option_pricing.f", least=1e-9, most=1e9)
    vol = StrikeVol(
        expiry_s=option.expiry_s, strike=option.strike_usd, is_put=option.is_put, iv=iv, forward=forward
    )
    return vol, at_s


def _hourly(value: Any, what: str) -> float:
    return number(value, what, least=-LARGEST_HOURLY_FUNDING, most=LARGEST_HOURLY_FUNDING)


def _check(underlyings: tuple[str, ...], base_url: str, every_s: float) -> None:
    check_source(base_url=base_url, every_s=every_s, names=underlyings)
    if not underlyings:
        raise ConfigError('derive: underlyings must name at least one, such as ["ETH"]')
