"""Times of day in a person's zone: quiet hours, digests, the daily word.

A time of day that a change of the clocks leaves out is taken by the offset that held before; one that comes
twice is its first. So each is one instant a day, and quiet hours last as long as on other days.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.errors import ConfigError

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of a name such as Europe/Berlin. Raises ConfigError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"time zone {name[:60]!r} is not known; name one of the tz database, such as Europe/Berlin or UTC"
        ) from None


def time_of(text: str) -> time:
    """Return a time of day, "22:30". Raises ConfigError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ConfigError(f"a time of day is written HH:MM, from 00:00 to 23:59, was {text[:40]!r}")
    return time(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """A time of day."""

    at: time
    zone: ZoneInfo

    def on(self, day: date) -> float:
        """Return the instant of it on a day, seconds since the epoch."""
        return datetime.combine(day, self.at, tzinfo=self.zone).timestamp()

    def last(self, now_s: float) -> float:
        """Return its newest instant that is not after ``now_s``."""
        today = _local(now_s, self.zone).date()
        days = (today + timedelta(days=back) for back in (1, 0, -1, -2))
        return next(instant for day in days if (instant := self.on(day)) <= now_s)

    def next(self, now_s: float) -> float:
        """Return its first instant after ``now_s``."""
        today = _local(now_s, self.zone).date()
        days = (today + timedelta(days=ahead) for ahead in (-1, 0, 1, 2))
        return next(instant for day in days if (instant := self.on(day)) > now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """So many seconds apart, at multiples of them since the epoch."""

    seconds: float

    def next(self, now_s: float) -> float:
        return (now_s // self.seconds + 1.0) * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Hours in which only what is critical is told, from one time of day to another."""

    begins: Daily
    ends: Daily

    def __post_init__(self) -> None:
        if self.begins.at == self.ends.at:
            raise ConfigError(
                f"quiet hours begin and end at {self.begins.at:%H:%M}; name two times, or neither"
            )

    def until_s(self, now_s: float) -> float | None:
        """Return when the quiet hours that hold now are over; None where none hold."""
        day = _local(self.begins.last(now_s), self.begins.zone).date()
        begun_s = self.begins.on(day)
        over = day if self.ends.at > self.begins.at else day + timedelta(days=1)
        ends_s = self.ends.on(over)
        return ends_s if begun_s <= now_s < ends_s else None


def clock_words(at_s: float, zone: ZoneInfo) -> str:
    """Return a time as a person there has it: "2026-03-29 07:10 CEST"."""
    return _local(at_s, zone).strftime("%Y-%m-%d %H:%M %Z")


def lasting_words(seconds: float) -> str:
    """Return a length of time in words: "58 min"."""
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    if seconds < 7_200.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3_600.0:.1f} h"


def _local(at_s: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_s, tz=UTC).astimezone(zone)
