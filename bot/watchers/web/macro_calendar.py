"""When the next US macro release is due: CPI, PPI, GDP, FOMC (S19).

The packaged dates are those that the publishers announced and that were checked; each names its source.
A file of the user's own, the iCalendar of BLS and the release dates of FRED add to them, but for the FOMC:
what FRED lists for it is a daily series, not the meetings. An event whose dates have run out is unknown: a
calendar that ended is no calm month.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from bot.chain.json_fields import BadReply, iso_seconds, listing
from bot.chain.json_fields import field as field_of
from bot.errors import ConfigError, TransientError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.parsing import toml_of
from bot.model.units import DAY_S
from bot.ports import WebReader
from bot.watchers.web.client import check_url
from bot.watchers.web.csv_series import hour_minute, new_york_s
from bot.watchers.web.rows import WebRows, history_row, within

SOURCE = "macro_calendar"
EVENTS = ("CPI", "PPI", "GDP", "FOMC")
FRED_URL = "https://api.stlouisfed.org/fred"
FRED_RELEASES = {"CPI": 10, "PPI": 46, "GDP": 53}
HOURS = {"CPI": "08:30", "PPI": "08:30", "GDP": "08:30", "FOMC": "14:00"}
_ICS_NAMES = {
    "CPI": re.compile(r"consumer price index", re.IGNORECASE),
    "PPI": re.compile(r"producer price index", re.IGNORECASE),
    "GDP": re.compile(r"gross domestic product|\bGDP\b", re.IGNORECASE),
    "FOMC": re.compile(r"\bFOMC\b", re.IGNORECASE),
}
_ICS_START = re.compile(r"DTSTART(?:;[^:]*)?:(\d{8})(?:T(\d{6})(Z?))?")
_NEW_YORK = ZoneInfo("America/New_York")
_FARTHEST_S = 130 * DAY_S  # the next release of a quarterly figure is nearer than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release: when, and the month or quarter that its figure is of ("" where the source says none)."""

    at_s: float
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroCalendar:
    """Watches when the next releases are due; without ``ics_url`` and ``fred_api_key`` from files alone."""

    requests_per_s: ClassVar[float] = 0.2

    events: tuple[str, ...] = EVENTS
    file: str = ""  # a calendar of the user's own, in the form of the packaged one; it is added
    ics_url: str = ""  # "https://www.bls.gov/schedule/news_release/bls.ics"; needs a contact address
    fred_api_key: str = field(default="", repr=False)
    fred_url: str = FRED_URL
    every_s: float = 21_600.0

    def __post_init__(self) -> None:
        if (
            not self.events
            or not set(self.events) <= set(EVENTS)
            or len(set(self.events)) != len(self.events)
        ):
            raise ConfigError(
                f"macro_calendar: events must be of {', '.join(EVENTS)}, "
                f"were {', '.join(self.events) or 'none'}"
            )
        if self.ics_url:
            check_url(self.ics_url, what="macro_calendar: ics_url")
        check_url(self.fred_url, what="macro_calendar: fred_url")
        if not self.every_s >= 60.0:
            raise ConfigError(f"macro_calendar: every_s must be at least 60, was {self.every_s}")
        self.known()  # a file that cannot be read refuses to start

    @property
    def base_url(self) -> str:
        return self.ics_url or (self.fred_url if self.fred_api_key else "")

    @property
    def name(self) -> str:
        return SOURCE

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(Metric.MACRO_RELEASE_S, event, SOURCE) for event in self.events)

    def known(self) -> Mapping[str, tuple[Release, ...]]:
        """Return the releases of the packaged calendar and of the user's file, by event."""
        return _joined(packaged(), read_calendar(Path(self.file)) if self.file else {})

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        """Return the next release of every event; dates that could not be refreshed stay as they were."""
        releases, trouble = await self._refreshed(web)
        rows, found = WebRows(now_s=now_s), []
        for key in self.series:
            next_s = _next_s(releases.get(key.subject, ()), now_s)
            if next_s is None:
                names = "ics_url, fred_api_key or file" if key.subject in FRED_RELEASES else "file"
                why = f"{SOURCE}: no later {key.subject} release is known; name {names}{trouble}"
                found.append(rows.unknown(key, why))
            else:
                found.append(rows.row(key, next_s, at_s=now_s))
        return found

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return what was next at the start of a span and after each release in it, as known today."""
        releases, _ = await self._refreshed(web)
        rows = []
        for key in self.series:
            times = [item.at_s for item in releases.get(key.subject, ())]
            turns = [since_s + 1.0, *(at_s for at_s in times if since_s < at_s <= until_s)]
            for turn_s in turns:
                next_s = _next_s(releases.get(key.subject, ()), turn_s)
                if next_s is not None:
                    rows.append(history_row(key, next_s, at_s=turn_s, read_at_s=until_s))
        return within(rows, since_s=since_s, until_s=until_s)

    async def _refreshed(self, web: WebReader) -> tuple[Mapping[str, tuple[Release, ...]], str]:
        releases, trouble = self.known(), ""
        try:
            if self.ics_url:
                releases = _joined(releases, parse_ics(await web.text(self.ics_url), self.events))
            if self.fred_api_key:
                releases = _joined(releases, await self._from_fred(web))
        except TransientError as error:
            trouble = f" (refresh failed: {error})"
        return releases, trouble

    async def _from_fred(self, web: WebReader) -> dict[str, tuple[Release, ...]]:
        """Return the release dates that FRED knows; it gives dates only, the hour is the usual one."""
        found = {}
        for event, release_id in FRED_RELEASES.items():
            if event not in self.events:
                continue
            params = {
                "release_id": str(release_id),
                "include_release_dates_with_no_data": "true",
                "sort_order": "desc",
                "limit": "60",
                "file_type": "json",
                "api_key": self.fred_api_key,
            }
            reply = await web.get(f"{self.fred_url}/release/dates", params=params)
            dates = listing(field_of(reply, "release_dates", "FRED"), "release_dates")
            days = [iso_seconds(field_of(item, "date", "release date"), "release date") for item in dates]
            found[event] = tuple(Release(at_s=new_york_s(day, HOURS[event])) for day in days)
        return found


@lru_cache(maxsize=1)
def packaged() -> Mapping[str, tuple[Release, ...]]:
    """Return the calendar that comes with the program."""
    text = (resources.files("bot.watchers.web") / "calendar.toml").read_text("utf-8")
    return _parsed(toml_of(text), "the packaged calendar")


def read_calendar(path: Path) -> Mapping[str, tuple[Release, ...]]:
    """Return a calendar file in the packaged form. Raises ConfigError."""
    try:
        return _parsed(toml_of(path.read_text("utf-8")), str(path))
    except OSError as error:
        raise ConfigError(f"calendar file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"calendar file {path} is not valid TOML: {error}") from None


def release_of(event: str, ref: str, *, releases: Mapping[str, tuple[Release, ...]]) -> float | None:
    """Return when the figure of a month ("2026-05") was or will be released, None when no calendar says."""
    return next((item.at_s for item in releases.get(event, ()) if item.ref == ref), None)


def parse_ics(text: str, events: tuple[str, ...]) -> dict[str, tuple[Release, ...]]:
    """Return the releases that an iCalendar names. Raises BadReply when it is none."""
    if "BEGIN:VCALENDAR" not in text[:1_000]:
        raise BadReply("the calendar is no iCalendar")
    unfolded = re.sub(r"\r?\n[ \t]", "", text)
    found: dict[str, list[Release]] = {}
    for block in unfolded.split("BEGIN:VEVENT")[1:]:
        summary = re.search(r"^SUMMARY(?:;[^:\n]*)?:(.*)$", block, re.MULTILINE)
        start = _ICS_START.search(block)
        if summary is None or start is None:
            continue
        for event in events:
            if _ICS_NAMES[event].search(summary[1]):
                found.setdefault(event, []).append(Release(at_s=_ics_s(start, event)))
    return {event: tuple(releases) for event, releases in found.items()}


def _ics_s(start: "re.Match[str]", event: str) -> float:
    try:
        if start[2] is None:
            day = datetime.strptime(start[1], "%Y%m%d").replace(tzinfo=UTC)
            return new_york_s(day.timestamp(), HOURS[event])
        moment = datetime.strptime(start[1] + start[2], "%Y%m%d%H%M%S")  # noqa: DTZ007 - zone below
        return moment.replace(tzinfo=UTC if start[3] else _NEW_YORK).timestamp()
    except ValueError:
        raise BadReply(f"the calendar has no such date: {start[1]}") from None


def _parsed(tables: Mapping[str, Any], where: str) -> dict[str, tuple[Release, ...]]:
    found = {}
    for event, table in tables.items():
        if event not in EVENTS or not isinstance(table, dict) or not isinstance(table.get("dates"), dict):
            raise ConfigError(
                f"{where}: [{event}] must be one of {', '.join(EVENTS)} and have a table of dates"
            )
        hour = str(table.get("hour", HOURS[event]))
        hour_minute(hour, what=f"{where}: [{event}] hour")
        found[event] = tuple(
            Release(at_s=new_york_s(_day_s(day, f"{where}: [{event}]"), hour), ref=str(ref))
            for day, ref in table["dates"].items()
        )
    return found


def _day_s(text: str, where: str) -> float:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{where} date must be like 2026-12-10, was {text!r}") from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _joined(
    first: Mapping[str, tuple[Release, ...]], second: Mapping[str, tuple[Release, ...]]
) -> dict[str, tuple[Release, ...]]:
    """Return both calendars in order of time; in the stretch that the second covers it replaces the first.

    A release that was moved is then named once, at its new date.
    """
    joined = {}
    for event in {*first, *second}:
        newer = second.get(event, ())
        low, high = min((r.at_s for r in newer), default=0.0), max((r.at_s for r in newer), default=-1.0)
        refs = {release.at_s: release.ref for release in first.get(event, ())}
        kept = [release for release in first.get(event, ()) if not low <= release.at_s <= high]
        added = [Release(at_s=item.at_s, ref=item.ref or refs.get(item.at_s, "")) for item in newer]
        joined[event] = tuple(sorted((*kept, *added), key=lambda release: release.at_s))
    return joined


def _next_s(releases: tuple[Release, ...], now_s: float) -> float | None:
    """Return the first release after ``now_s``, None when the calendar does not reach that far."""
    found = min((item.at_s for item in releases if item.at_s > now_s), default=None)
    return found if found is not None and found - now_s <= _FARTHEST_S else None
