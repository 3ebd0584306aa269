"""One HTTP source's observations: a number with the source's time, or NaN with the reason."""

import math
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass

from bot.chain.json_fields import BadReply
from bot.errors import ConfigError, TransientError
from bot.model.market import Metric, Observation, SeriesKey
from bot.quant.surface import HIGHEST_IV, LOWEST_IV
from bot.watchers.web.client import check_url

STALE_INTERVALS = 2.0  # a value older than this many of its intervals is unknown
LARGEST_HOURLY_FUNDING = 0.05  # the widest cap among the venues is 4 % an hour
HOURS_A_YEAR = 24 * 365
LARGEST_MACRO_RATE = 0.5
_MOST = 1e18
_LEAST = 1e-12  # what must be above zero
_VOL = (LOWEST_IV, HIGHEST_IV)
_RATE = (-LARGEST_MACRO_RATE, LARGEST_MACRO_RATE)
_ABOVE_ZERO = (_LEAST, _MOST)
_RANGES: dict[Metric, tuple[float, float]] = {
    Metric.IV_7D: _VOL,
    Metric.IV_30D: _VOL,
    Metric.IV_90D: _VOL,
    Metric.VOL_INDEX: _VOL,
    Metric.REALISED_VOL: (0.0, 20.0),
    Metric.FUNDING_APR: (-LARGEST_HOURLY_FUNDING * HOURS_A_YEAR, LARGEST_HOURLY_FUNDING * HOURS_A_YEAR),
    Metric.MACRO_PRINT: _RATE,
    Metric.MACRO_CONSENSUS: _RATE,
    Metric.PRICE_USD: _ABOVE_ZERO,
    Metric.INDEX_CLOSE: _ABOVE_ZERO,
    Metric.MARKET_CAP_USD: _ABOVE_ZERO,
    Metric.TVL_USD: _ABOVE_ZERO,
    Metric.EXCHANGE_RATE: _ABOVE_ZERO,
    Metric.TOKEN_UNITS: (0.0, _MOST),
    Metric.OPEN_INTEREST_USD: (0.0, _MOST),
    Metric.FEES_USD_1D: (0.0, _MOST),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRows:
    """Makes observations of one reading."""

    now_s: float

    def row(self, key: SeriesKey, value: float, *, at_s: float) -> Observation:
        """Return a known value. Raises nothing: what is not finite becomes unknown."""
        if not math.isfinite(value):
            return self.unknown(key, f"the value came out as {value}")
        return _observation(key, value, at_s=min(at_s, self.now_s), read_at_s=self.now_s)

    def fresh(self, key: SeriesKey, value: float, *, at_s: float, interval_s: float) -> Observation:
        """Return a value, unknown when it is older than two intervals of its source."""
        age_s = self.now_s - at_s
        if age_s > STALE_INTERVALS * interval_s:
            most = STALE_INTERVALS * interval_s
            return self.unknown(key, f"the newest value is {age_s:.0f} s old, allowed {most:.0f} s")
        return self.row(key, value, at_s=at_s)

    def unknown(self, key: SeriesKey, why: str) -> Observation:
        return _observation(key, math.nan, at_s=self.now_s, read_at_s=self.now_s, why=why)


async def read_or_unknown(
    name: str, keys: Iterable[SeriesKey], reading: Awaitable[list[Observation]], *, now_s: float
) -> list[Observation]:
    """Return what was read; when it failed in transit or in shape, every series as unknown and why."""
    try:
        return await reading
    except TransientError as error:
        rows = WebRows(now_s=now_s)
        return [rows.unknown(key, f"{name}: {error}") for key in keys]


def history_row(key: SeriesKey, value: float, *, at_s: float, read_at_s: float) -> Observation:
    """Return one row of a history; an unknown value stays out of one, so it must be finite."""
    return _observation(key, value, at_s=at_s, read_at_s=read_at_s)


def within(rows: Iterable[Observation], *, since_s: float, until_s: float) -> list[Observation]:
    """Return the rows of a span, its end included, oldest first, one per series and time (the last read)."""
    found = {(row.key, row.observed_at_s): row for row in rows if since_s < row.observed_at_s <= until_s}
    return sorted(found.values(), key=lambda row: (row.observed_at_s, row.key))


def check_source(*, base_url: str, every_s: float, names: Iterable[str] = ()) -> None:
    """Raise ConfigError for what no source can be: no https, no cadence, an empty or repeated name."""
    check_url(base_url, what="base_url")
    if not 1.0 <= every_s < math.inf:
        raise ConfigError(f"every_s must be at least 1, was {every_s}")
    listed = tuple(names)
    if not all(listed) or len(set(listed)) != len(listed):
        raise ConfigError(f"names of a source must be given and differ, were {', '.join(map(repr, listed))}")


def in_unit(metric: Metric, value: float, what: str) -> float:
    """Return a value of a user's series. Raises BadReply for one that its metric's unit does not allow."""
    least, most = _RANGES.get(metric, (-_MOST, _MOST))
    if not least <= value <= most:
        raise BadReply(f"{what} is {value:.6g}, {metric} is {least:g} to {most:g}: is its scale right?")
    return value


def funding_key(underlying: str, source: str) -> SeriesKey:
    return SeriesKey(Metric.FUNDING_APR, underlying, source)


def _observation(
    key: SeriesKey, value: float, *, at_s: float, read_at_s: float, why: str = ""
) -> Observation:
    return Observation(
        metric=key.metric,
        subject=key.subject,
        source=key.source,
        value=float(value),
        observed_at_s=float(at_s),
        read_at_s=read_at_s,
        why_unknown=why,
    )
