"""Deribit: the vol index DVOL and the at-the-money term structure of its option book (S11 to S13).

Vols come in percent a year. ``get_volatility_index_data`` gives candles [time in ms, open, high, low, close]
and a ``continuation``, the end time of the next older page. ``get_book_summary_by_currency`` gives the mark
vol of every option and, as ``underlying_price``, the forward of its expiry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from bot.chain.json_fields import BadReply, field, listing, mapping, millis, number, result_of, string
from bot.chain.option_names import deribit_option
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import HOUR_S, MINUTE_S
from bot.ports import WebReader
from bot.quant.surface import HIGHEST_IV, LOWEST_IV
from bot.watchers.web.rows import STALE_INTERVALS, WebRows, check_source, history_row, read_or_unknown, within
from bot.watchers.web.smile import TENORS, StrikeVol, atm_points, checked_iv, constant_maturity

SOURCE = "deribit"
MAINNET_URL = "https://www.deribit.com/api/v2"
CURRENCIES = ("BTC", "ETH")  # the two that have a vol index
_RECENT_S = 15 * MINUTE_S
_MOST_PAGES = 2_000


class Candle(NamedTuple):
    """One candle of the vol index, percent a year; ``at_s`` is its start."""

    at_s: float
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeribitVolIndex:
    """Watches DVOL, the 30-day implied vol index of BTC or ETH."""

    requests_per_s: ClassVar[float] = 5.0

    underlyings: tuple[str, ...] = ("ETH",)
    base_url: str = MAINNET_URL
    every_s: float = 300.0

    def __post_init__(self) -> None:
        _check(self.underlyings, self.base_url, self.every_s)

    @property
    def name(self) -> str:
        return "deribit_dvol"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(_index_key(underlying) for underlying in self.underlyings)

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        rows: list[Observation] = []
        for underlying in self.underlyings:
            reading = self._read(web, underlying, now_s)
            rows += await read_or_unknown(self.name, (_index_key(underlying),), reading, now_s=now_s)
        return rows

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return the close of every full hour, known one second before the hour ends."""
        rows = []
        for underlying in self.underlyings:
            candles = await vol_index(
                web, base_url=self.base_url, currency=underlying, from_s=since_s - HOUR_S, to_s=until_s
            )
            rows += [
                history_row(
                    _index_key(underlying),
                    _close(candle, underlying),
                    at_s=candle.at_s + HOUR_S - 1,
                    read_at_s=until_s,
                )
                for candle in candles
            ]
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, underlying: str, now_s: float) -> list[Observation]:
        candles, _ = await vol_index_page(
            web,
            base_url=self.base_url,
            currency=underlying,
            from_s=now_s - _RECENT_S,
            to_s=now_s,
            step_s=MINUTE_S,
        )
        if not candles:
            raise BadReply(f"DVOL of {underlying} has no value of the last {_RECENT_S // MINUTE_S} minutes")
        newest = candles[-1]
        at_s = min(newest.at_s + MINUTE_S, now_s)
        value = _close(newest, underlying)
        rows, key = WebRows(now_s=now_s), _index_key(underlying)
        return [rows.fresh(key, value, at_s=at_s, interval_s=self.every_s)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeribitSurface:
    """Watches the at-the-money vol at 7, 30 and 90 days, from the mark vols of every listed option."""

    requests_per_s: ClassVar[float] = 5.0

    underlyings: tuple[str, ...] = ("ETH",)
    base_url: str = MAINNET_URL
    every_s: float = 300.0

    def __post_init__(self) -> None:
        _check(self.underlyings, self.base_url, self.every_s)

    @property
    def name(self) -> str:
        return "deribit_surface"

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
        params = {"currency": underlying, "kind": "option"}
        reply = await web.get(f"{self.base_url}/public/get_book_summary_by_currency", params=params)
        items = listing(result_of(reply), "book summary")
        options = [_strike_vol(item, underlying, now_s=now_s) for item in items]
        keys = iv_keys(underlying, SOURCE)
        return surface_rows(keys, options, now_s=now_s, max_age_s=STALE_INTERVALS * self.every_s)


async def vol_index(
    web: WebReader, *, base_url: str, currency: str, from_s: float, to_s: float
) -> list[Candle]:
    """Return the closed hourly candles of DVOL that start in [from_s, to_s], oldest first, all pages."""
    found: dict[float, Candle] = {}
    end_s = to_s
    for _ in range(_MOST_PAGES):
        page, older_s = await vol_index_page(
            web, base_url=base_url, currency=currency, from_s=from_s, to_s=end_s, step_s=HOUR_S
        )
        found.update((candle.at_s, candle) for candle in page)
        if older_s is None or older_s < from_s:
            return [found[at_s] for at_s in sorted(found) if at_s + HOUR_S <= to_s]
        if not older_s < end_s:
            raise BadReply(f"DVOL of {currency}: its pages do not come to an end")
        end_s = older_s
    raise BadReply(f"DVOL of {currency}: more than {_MOST_PAGES} pages")


async def vol_index_page(
    web: WebReader, *, base_url: str, currency: str, from_s: float, to_s: float, step_s: int
) -> tuple[list[Candle], float | None]:
    """Return one page, oldest first, and where the next older one ends; None when there is none."""
    what = f"DVOL of {currency}"
    params = {
        "currency": currency,
        "start_timestamp": str(int(from_s * 1e3)),
        "end_timestamp": str(int(to_s * 1e3)),
        "resolution": str(step_s),
    }
    reply = result_of(await web.get(f"{base_url}/public/get_volatility_index_data", params=params))
    candles = sorted(_candle(item, what) for item in listing(field(reply, "data", what), what))
    older = mapping(reply, what).get("continuation")
    return candles, None if older is None else millis(older, f"{what} continuation")


def surface_rows(
    keys: tuple[SeriesKey, ...],
    options: Sequence[tuple[StrikeVol | None, float]],
    *,
    now_s: float,
    max_age_s: float,
) -> list[Observation]:
    """Return the vol at each tenor at the time of the oldest option, unknown where no expiry is near.

    ``options`` are the vol of every one, None where it has none that is usable, and its time. Raises BadReply
    when none has a vol that is young enough.
    """
    young = [(vol, at_s) for vol, at_s in options if vol is not None and now_s - at_s <= max_age_s]
    if not young:
        raise BadReply(
            f"none of {len(options)} options of {keys[0].subject} has a vol of now inside {LOWEST_IV} to "
            f"{HIGHEST_IV:g} a year: percent and fraction mixed up?"
        )
    points = atm_points([vol for vol, _ in young], now_s=now_s)
    rows, at_s, found = WebRows(now_s=now_s), min(now_s, *(at_s for _, at_s in young)), []
    for key, (_, days) in zip(keys, TENORS, strict=True):
        try:
            found.append(rows.row(key, constant_maturity(points, days), at_s=at_s))
        except BadReply as error:
            found.append(rows.unknown(key, f"{key.source}: {error}"))
    return found


def iv_keys(underlying: str, source: str) -> tuple[SeriesKey, ...]:
    return tuple(SeriesKey(metric, underlying, source) for metric, _ in TENORS)


def _strike_vol(item: Any, underlying: str, *, now_s: float) -> tuple[StrikeVol | None, float]:
    """Return the vol of one option and its time; None for an option without a usable mark vol."""
    name = string(field(item, "instrument_name", "book summary"), "instrument_name")
    option = deribit_option(name)
    at_s = millis(field(item, "creation_timestamp", name), f"{name} creation_timestamp", now_s=now_s)
    raw = mapping(item, name).get("mark_iv")
    if raw is None or option.expiry_s <= now_s or option.underlying != underlying:
        return None, at_s
    iv = number(raw, f"{name} mark_iv", least=0.0) / 100.0
    if not LOWEST_IV <= iv <= HIGHEST_IV:  # 0 where there is none; far wings that expire soon go to 999 %
        return None, at_s
    forward = number(field(item, "underlying_price", name), f"{name} underlying_price", least=1e-9, most=1e9)
    vol = StrikeVol(
        expiry_s=option.expiry_s,
        strike=option.strike_usd,
        is_put=option.is_put,
        iv=iv,
        forward=forward,
    )
    return vol, at_s


def _candle(item: Any, what: str) -> Candle:
    parts = listing(item, f"{what} candle")
    if len(parts) != 5:
        raise BadReply(f"{what}: a candle has {len(parts)} values, expected 5")
    values = [number(part, f"{what} candle", least=0.0, most=1e6) for part in parts[1:]]
    return Candle(millis(parts[0], f"{what} candle time"), *values)


def _close(candle: Candle, underlying: str) -> float:
    return checked_iv(candle.close / 100.0, f"DVOL of {underlying}")


def _index_key(underlying: str) -> SeriesKey:
    return SeriesKey(Metric.VOL_INDEX, underlying, SOURCE)


def _check(underlyings: tuple[str, ...], base_url: str, every_s: float) -> None:
    check_source(base_url=base_url, every_s=every_s, names=underlyings)
    if not underlyings or not set(underlyings) <= set(CURRENCIES):
        raise ConfigError(
            f"deribit: underlyings must be of {', '.join(CURRENCIES)}, "
            f"were {', '.join(underlyings) or 'none'}"
        )
