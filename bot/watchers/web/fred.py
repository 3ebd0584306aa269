"""One series of FRED (St. Louis Fed) with the user's free key: index closes, GDP growth.

``observations`` answers with date and value, "." for a day without one. With ``first_release`` the values
are those first published and ``realtime_start`` is the day of it (``output_type`` 4), so a history says what
was known when; GDP growth is A191RL1Q225SBEA, percent a year, hence scale 0.01.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from bot.chain.json_fields import BadReply, iso_seconds, listing, number
from bot.chain.json_fields import field as field_of
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import DAY_S
from bot.ports import WebReader
from bot.watchers.web.csv_series import hour_minute, new_york_s
from bot.watchers.web.rows import WebRows, check_source, history_row, in_unit, read_or_unknown, within

SOURCE = "fred"
BASE_URL = "https://api.stlouisfed.org/fred"
_FIRST_OUTPUT = "4"
_EARLIEST, _LATEST = "1776-07-04", "9999-12-31"  # all vintages, as FRED writes it
_PAGE_ROWS = 100_000
_RECENT_STEPS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class FredSource:
    """Watches one series. A value is known at ``hour_new_york``: 16:00 for a close, 08:30 for a release."""

    requests_per_s: ClassVar[float] = 1.0

    series_id: str  # "SP500", "VIXCLS", "A191RL1Q225SBEA"
    metric: Metric
    subject: str  # "SPX", "VIX", "GDP"
    api_key: str = field(repr=False)
    hour_new_york: str = "16:00"
    first_release: bool = False
    scale: float = 1.0
    step_s: float = 3.0 * DAY_S  # a weekend and its Monday
    base_url: str = BASE_URL
    every_s: float = 3_600.0

    def __post_init__(self) -> None:
        check_source(base_url=self.base_url, every_s=self.every_s, names=(self.series_id, f"/{self.subject}"))
        if not self.api_key:
            raise ConfigError(f"fred {self.series_id}: api_key is empty; FRED gives one for free")
        if not self.step_s > 0.0 or not (math.isfinite(self.scale) and self.scale != 0.0):
            raise ConfigError(f"fred {self.series_id}: step_s must be > 0 and scale a number other than 0")
        if self.metric is Metric.MACRO_PRINT and not self.first_release:
            raise ConfigError(
                f"fred {self.series_id}: a macro_print needs first_release = true; without it a figure would "
                "count as known on the first day of the month or quarter that it is of"
            )
        hour_minute(self.hour_new_york, what=f"fred {self.series_id}: hour_new_york")

    @property
    def name(self) -> str:
        return f"{SOURCE}:{self.series_id}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(self.metric, self.subject, self.name),)

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        return await read_or_unknown(self.name, self.series, self._read(web, now_s), now_s=now_s)

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        points = await self._points(web, since_s - 2 * self.step_s)
        rows = [history_row(self.series[0], value, at_s=at_s, read_at_s=until_s) for at_s, value in points]
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, now_s: float) -> list[Observation]:
        points = await self._points(web, now_s - _RECENT_STEPS * self.step_s)
        known = [point for point in points if point[0] <= now_s]
        if not known:
            raise BadReply(f"{self.series_id} has no value of late")
        at_s, value = max(known)
        return [WebRows(now_s=now_s).fresh(self.series[0], value, at_s=at_s, interval_s=self.step_s)]

    async def _points(self, web: WebReader, since_s: float) -> list[tuple[float, float]]:
        params = {
            "series_id": self.series_id,
            "api_key": self.api_key,
            "file_type": "json",
            "observation_start": datetime.fromtimestamp(max(since_s, 0.0), tz=UTC).strftime("%Y-%m-%d"),
            "limit": str(_PAGE_ROWS),
        }
        if self.first_release:
            params |= {"output_type": _FIRST_OUTPUT, "realtime_start": _EARLIEST, "realtime_end": _LATEST}
        reply = await web.get(f"{self.base_url}/series/observations", params=params)
        rows = listing(field_of(reply, "observations", "FRED"), "observations")
        return [self._point(row) for row in rows if field_of(row, "value", "observation") != "."]

    def _point(self, row: Any) -> tuple[float, float]:
        name = "realtime_start" if self.first_release else "date"
        day_s = iso_seconds(field_of(row, name, "observation"), f"{self.series_id} {name}")
        value = number(field_of(row, "value", "observation"), f"{self.series_id} value")
        value = in_unit(self.metric, value * self.scale, f"{self.series_id} value")
        return new_york_s(day_s, self.hour_new_york), value
