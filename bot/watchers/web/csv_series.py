"""One series from a table that the user names: a CSV or JSON file, or an https URL of one.

For data without a free public source: ETF flows, consensus forecasts, index closes, market values, and a
pool's traded volume of 24 hours (S15 wants it hourly, its subject the label of the pool). Rows that cannot be
read are refused with their number, never skipped: the user can mend the file.
"""

import asyncio
import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from bot.chain.json_fields import (
    BadReply,
    document,
    field,
    iso_seconds,
    listing,
    millis,
    number,
    seconds,
    shown,
)
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import DAY_S
from bot.ports import WebReader
from bot.watchers.web.client import check_url
from bot.watchers.web.rows import WebRows, history_row, in_unit, read_or_unknown, within

MOST_BYTES = 20_000_000
MOST_ROWS = 1_000_000
MISSING = frozenset(
    {"", ".", "-", "na", "n/a", "nan", "null"}
)  # a day without a value, as FRED and BLS write it
_DATE_ALONE = re.compile(r"\d{4}-?\d{2}-?\d{2}")
_NEW_YORK = ZoneInfo("America/New_York")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSeries:
    """Watches one column of a table. ``scale`` turns its values into the metric's unit: 0.01 for percent.

    A row is known when its time comes, at ``hour_new_york`` of its date where that is given ("16:00" for a
    close), and ``known_after_s`` later; a date alone is a whole day, known when it has ended (UTC). A value
    older than two ``step_s`` is unknown.
    """

    requests_per_s: ClassVar[float] = 0.5

    label: str  # the source's name becomes "csv:<label>"
    where: str  # path or https URL
    metric: Metric
    subject: str
    time_column: str = "date"
    value_column: str = "value"
    time_format: Literal["iso", "seconds", "millis"] = "iso"
    hour_new_york: str = ""
    known_after_s: float = 0.0
    step_s: float = float(DAY_S)
    scale: float = 1.0
    table: Literal["csv", "json"] = "csv"
    delimiter: str = ","
    rows_at: tuple[str, ...] = ()  # JSON: keys that lead to the list of rows
    only_column: str = ""  # use only rows in which this column
    only_value: str = ""  # says this
    every_s: float = 3_600.0

    def __post_init__(self) -> None:
        if not self.label or not self.where or not self.subject or ":" in self.label:
            raise ConfigError("csv_series needs a label (without a colon), where, and subject")
        if self.is_remote:
            check_url(self.where, what=f"csv_series {self.label}: where")
        if not (math.isfinite(self.scale) and self.scale != 0.0):
            raise ConfigError(
                f"csv_series {self.label}: scale must be a number other than 0, was {self.scale}"
            )
        if not (self.step_s > 0.0 and self.every_s >= 1.0 and self.known_after_s >= 0.0):
            raise ConfigError(
                f"csv_series {self.label}: step_s must be > 0, every_s >= 1, known_after_s >= 0"
            )
        if len(self.delimiter) != 1:
            raise ConfigError(f"csv_series {self.label}: delimiter must be one character")
        if self.hour_new_york:
            hour_minute(self.hour_new_york, what=f"csv_series {self.label}: hour_new_york")

    @property
    def is_remote(self) -> bool:
        return "://" in self.where

    @property
    def base_url(self) -> str:
        """Where requests go, for the rates of the client; empty for a file."""
        return self.where if self.is_remote else ""

    @property
    def name(self) -> str:
        return f"csv:{self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(self.metric, self.subject, self.name),)

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        return await read_or_unknown(self.name, self.series, self._read(web, now_s), now_s=now_s)

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        points = self._points(await self._load(web))
        rows = [history_row(self.series[0], value, at_s=at_s, read_at_s=until_s) for at_s, value in points]
        return within(rows, since_s=since_s, until_s=until_s)

    async def _read(self, web: WebReader, now_s: float) -> list[Observation]:
        known = [point for point in self._points(await self._load(web)) if point[0] <= now_s]
        if not known:
            raise BadReply("the table has no row that is known by now")
        at_s, value = max(known)
        return [WebRows(now_s=now_s).fresh(self.series[0], value, at_s=at_s, interval_s=self.step_s)]

    async def _load(self, web: WebReader) -> list[Mapping[str, Any]]:
        if self.table == "json":
            return self._json_rows(
                await web.get(self.where) if self.is_remote else _json(await self._file(), self.name)
            )
        text = await web.text(self.where) if self.is_remote else await self._file()
        if text.lstrip()[:1] == "<":
            raise BadReply("the table is a web page")
        reader = csv.DictReader(text.splitlines(), delimiter=self.delimiter, strict=True)
        try:
            rows: list[Mapping[str, Any]] = list(reader)
        except csv.Error as error:
            raise BadReply(f"the table is no CSV: {error}, line {reader.line_num}") from None
        missing = {self.time_column, self.value_column} - set(reader.fieldnames or ())
        if missing:
            raise BadReply(
                f"the table lacks column {', '.join(sorted(missing))}, found {shown(reader.fieldnames)}"
            )
        return _bounded(rows)

    async def _file(self) -> str:
        return await asyncio.to_thread(_read_file, Path(self.where))

    def _json_rows(self, reply: Any) -> list[Mapping[str, Any]]:
        for key in self.rows_at:
            reply = field(reply, key, "the table")
        rows = [_as_mapping(row) for row in listing(reply, "the rows of the table")]
        return _bounded(rows)

    def _points(self, rows: Iterable[Mapping[str, Any]]) -> list[Point]:
        """Return (time at which it was known, value) of every row that has a value."""
        points = []
        for place, row in enumerate(rows, start=1):
            if self.only_column and str(row.get(self.only_column)) != self.only_value:
                continue
            raw, what = row.get(self.value_column), f"row {place} {self.value_column}"
            if raw is None or (isinstance(raw, str) and raw.strip().lower() in MISSING):
                continue
            value = number(raw.strip().replace(",", "") if isinstance(raw, str) else raw, what) * self.scale
            at_s = self._time(row.get(self.time_column), f"row {place} {self.time_column}")
            points.append((at_s, in_unit(self.metric, value, what)))
        return points

    def _time(self, raw: Any, what: str) -> float:
        if self.time_format == "millis":
            at_s = millis(raw, what)
        elif self.time_format == "seconds":
            at_s = seconds(raw, what)
        else:
            at_s = iso_seconds(raw.strip() if isinstance(raw, str) else raw, what)
        if self.hour_new_york:
            at_s = new_york_s(at_s, self.hour_new_york)
        elif self.time_format == "iso" and _DATE_ALONE.fullmatch(str(raw).strip()):
            at_s += DAY_S
        return at_s + self.known_after_s


def new_york_s(at_s: float, hour: str) -> float:
    """Return a time of day in New York on the UTC date of ``at_s``."""
    hours, minutes = hour_minute(hour, what="hour in New York")
    day = datetime.fromtimestamp(at_s, tz=UTC)
    return datetime(day.year, day.month, day.day, hours, minutes, tzinfo=_NEW_YORK).timestamp()


def hour_minute(text: str, *, what: str) -> tuple[int, int]:
    """Return (hour, minute) of "08:30". Raises ConfigError."""
    hours, _, minutes = text.partition(":")
    if hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60:
        return int(hours), int(minutes)
    raise ConfigError(f'{what} must be like "08:30", was {text!r}')


def _as_mapping(row: Any) -> Mapping[str, Any]:
    """Return an object as it is, a list with its places as names."""
    if isinstance(row, list):
        return {str(place): value for place, value in enumerate(row)}
    if isinstance(row, dict):
        return row
    raise BadReply(f"a row is neither an object nor a list, found {shown(row)}")


def _bounded(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if len(rows) > MOST_ROWS:
        raise BadReply(f"the table has {len(rows)} rows, allowed are {MOST_ROWS}")
    return rows


def _read_file(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadReply(f"{path} is larger than {MOST_BYTES} bytes")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise BadReply(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadReply(f"{path} is no UTF-8 text") from None


def _json(text: str, name: str) -> Any:
    return document(text, f"{name}: the file")
