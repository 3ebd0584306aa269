"""US inflation prints from the Bureau of Labor Statistics: CPI and PPI, year on year (S19).

The 12-month rates that BLS publishes are of the unadjusted indexes ("before seasonal adjustment" in its
release texts): CUUR0000SA0 all items, WPUFD4 final demand. The API gives index values only: the rate is
value over value a year before, rounded as published to 0.1 %. Without a key 25 calls a day are free.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from bot.chain.json_fields import BadReply, listing, mapping, number, shown, string
from bot.chain.json_fields import field as field_of
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import DAY_S
from bot.ports import WebReader
from bot.watchers.web.macro_calendar import Release, packaged, release_of
from bot.watchers.web.rows import (
    LARGEST_MACRO_RATE,
    WebRows,
    check_source,
    history_row,
    read_or_unknown,
    within,
)

SOURCE = "bls"
BASE_URL = "https://api.bls.gov/publicAPI"
SERIES = {"CPI": "CUUR0000SA0", "PPI": "WPUFD4"}
_MOST_YEARS, _MOST_YEARS_WITH_KEY = 10, 20
_PRINT_EVERY_S = 45 * DAY_S  # prints come monthly; a delayed one may be two weeks late

Month = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlsSource:
    """Watches the newest print of CPI and PPI."""

    requests_per_s: ClassVar[float] = 0.2

    events: tuple[str, ...] = ("CPI", "PPI")
    api_key: str = field(default="", repr=False)
    base_url: str = BASE_URL
    every_s: float = 7_200.0

    def __post_init__(self) -> None:
        check_source(base_url=self.base_url, every_s=self.every_s, names=self.events)
        if not self.events or not set(self.events) <= set(SERIES):
            raise ConfigError(f"bls: events must be of {', '.join(SERIES)}, were {', '.join(self.events)}")
        if not self.api_key and self.every_s < 3_600.0:
            raise ConfigError(
                f"bls: 25 calls a day are free without a key, so every_s must be at least 3600, "
                f"was {self.every_s:g}"
            )

    @property
    def name(self) -> str:
        return SOURCE

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(Metric.MACRO_PRINT, event, SOURCE) for event in self.events)

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        return await read_or_unknown(self.name, self.series, self._read(web, now_s), now_s=now_s)

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return the prints of a span at the time of their release, as revised by now.

        A release that no calendar names counts as known two months after its month began: never too early,
        which is too early after the shutdown of 2025; a calendar file may hold its releases.
        """
        first, last = _year(since_s) - 2, _year(until_s)
        rows = []
        for key in self.series:
            index = await self._index(web, key.subject, first=first, last=last)
            for month in index:
                rate = year_on_year(index, month)
                if math.isfinite(rate):
                    at_s = released_s(key.subject, month)
                    rows.append(history_row(key, rate, at_s=at_s, read_at_s=until_s))
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, now_s: float) -> list[Observation]:
        rows, found, year = WebRows(now_s=now_s), [], _year(now_s)
        tables = await indexes(
            web, base_url=self.base_url, api_key=self.api_key, events=self.events, first=year - 2, last=year
        )
        for key in self.series:
            index = tables[key.subject]
            month = max(index, default=None)
            if month is None:
                found.append(rows.unknown(key, f"{SOURCE}: no {key.subject} index of the last two years"))
                continue
            rate = year_on_year(index, month)
            if not math.isfinite(rate):
                why = f"{SOURCE}: {key.subject} of {named(month)} has no index of a year before"
                found.append(rows.unknown(key, why))
                continue
            # It is known, so it was released: what the calendar does not name is taken as of now at latest.
            at_s = min(released_s(key.subject, month), now_s)
            found.append(rows.fresh(key, rate, at_s=at_s, interval_s=_PRINT_EVERY_S))
        return found

    async def _index(self, web: WebReader, event: str, *, first: int, last: int) -> dict[Month, float]:
        span = _MOST_YEARS_WITH_KEY if self.api_key else _MOST_YEARS
        index: dict[Month, float] = {}
        for start in range(first, last + 1, span):
            end = min(start + span - 1, last)
            tables = await indexes(
                web, base_url=self.base_url, api_key=self.api_key, events=(event,), first=start, last=end
            )
            index.update(tables[event])
        return index


async def indexes(
    web: WebReader, *, base_url: str, api_key: str, events: tuple[str, ...], first: int, last: int
) -> dict[str, dict[Month, float]]:
    """Return the monthly index values of each event. Raises BadReply with BLS's own words when it refuses."""
    body: dict[str, Any] = {
        "seriesid": [SERIES[event] for event in events],
        "startyear": str(first),
        "endyear": str(last),
    }
    if api_key:
        body["registrationkey"] = api_key
    version = "v2" if api_key else "v1"
    reply = await web.post(f"{base_url}/{version}/timeseries/data/", body=body)
    if field_of(reply, "status", "BLS") != "REQUEST_SUCCEEDED":
        said = ascii(mapping(reply, "BLS").get("message", ""))[:120]
        raise BadReply(f"BLS did not answer the request: {said.replace(api_key, '…') if api_key else said}")
    tables = listing(field_of(field_of(reply, "Results", "BLS"), "series", "Results"), "series")
    by_id = {string(field_of(item, "seriesID", "series"), "seriesID"): item for item in tables}
    return {
        event: dict(_months(field_of(field_of(by_id, SERIES[event], "BLS"), "data", event), event))
        for event in events
    }


def year_on_year(index: Mapping[Month, float], month: Month) -> float:
    """Return the rate over a year, rounded as published; NaN where a month is missing (October 2025 is)."""
    before = index.get((month[0] - 1, month[1]), math.nan)
    rate = round(index[month] / before - 1.0, 3)
    return rate if abs(rate) <= LARGEST_MACRO_RATE else math.nan


def released_s(event: str, month: Month, releases: Mapping[str, tuple[Release, ...]] | None = None) -> float:
    """Return when the figure of a month was released: by the calendar, else two months after it began."""
    found = release_of(event, named(month), releases=packaged() if releases is None else releases)
    if found is not None:
        return found
    months = month[0] * 12 + month[1] - 1 + 2
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()


def named(month: Month) -> str:
    return f"{month[0]:04d}-{month[1]:02d}"


def _months(rows: Any, event: str) -> list[tuple[Month, float]]:
    found = []
    for row in listing(rows, f"{event} data"):
        year = string(field_of(row, "year", event), f"{event} year")
        period = string(field_of(row, "period", event), f"{event} period")
        value = string(field_of(row, "value", event), f"{event} value").strip()
        if period == "M13" or value == "-":  # a yearly mean; a month that was not collected
            continue
        if not (year.isdigit() and len(year) == 4 and period[:1] == "M" and period[1:].isdigit()):
            raise BadReply(f"{event} has a month {shown(year)} {shown(period)}")
        month = int(period[1:])
        if not 1 <= month <= 12:
            raise BadReply(f"{event} has a month {shown(period)}")
        found.append(((int(year), month), number(value, f"{event} value", least=1.0, most=1e5)))
    return found


def _year(at_s: float) -> int:
    return datetime.fromtimestamp(at_s, tz=UTC).year
