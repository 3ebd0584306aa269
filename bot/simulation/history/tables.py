"""Reads the history files into columns. pandas lives here and nowhere else in the program.

Nothing is filled: a file that is missing, a row that cannot be used and an hour that is not there are
named in the result, with their counts.
"""

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bot.errors import ConfigError
from bot.model.market import EMPTY_COLUMN, Column, Columns, FloatArray, SeriesKey
from bot.model.units import DAY_S, HOUR_S, iso_utc
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.files import (
    DVOL_KEY,
    HistoryTable,
    Rows,
    column_of,
    spot_key,
    tables_for,
)

LOOKBACK_S = 420 * DAY_S  # 250 daily returns and a 180-day median for R8's VaR, with room for cuts
_ROOM_DAYS = 2  # the first day of a look-back is cut, and the last one is still open
_ENDS = (".csv.gz", ".csv")
_READ: dict[tuple[object, ...], tuple[tuple[int, int], Rows, tuple[str, ...]]] = {}  # see read_rows
_HOLE_STEPS = 1.5  # rows further apart than this many steps have a gap between them


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch without rows in a file: after ``from_s``, before ``to_s``."""

    file: str
    from_s: float
    to_s: float
    missing_rows: int
    in_range: bool  # False: it lies in the look-back and only lengthens warming

    def __str__(self) -> str:
        return (
            f"{self.file}: {self.missing_rows:,} row{'s' if self.missing_rows != 1 else ''} missing "
            f"between {iso_utc(self.from_s)} and {iso_utc(self.to_s)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What one file gave."""

    file: str
    what: str
    rows: int  # usable rows in the range and its look-back
    first_s: float  # NaN when there are none
    last_s: float
    bad_rows: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """The columns of a range and of the look-back before it, and what was not there."""

    underlying: str
    from_s: float
    to_s: float
    columns: Columns
    vol_index: Column  # BTC DVOL as published, fraction a year
    ends_s: Mapping[SeriesKey, float]  # when the file behind a series ends for good
    found: tuple[FileReport, ...] = ()
    missing: tuple[str, ...] = ()  # file, and what is lost without it
    gaps: tuple[Gap, ...] = ()

    @property
    def price(self) -> Column:
        """The primary price of the underlying."""
        return self.columns[spot_key(self.underlying)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    start_s: float
    from_s: float
    to_s: float


def lookback_for(history_days: int) -> float:
    """Return how much history before its range a backtest needs for R8's daily closes, seconds."""
    return float(max(LOOKBACK_S, (history_days + _ROOM_DAYS) * DAY_S))


def load_history(
    data_dir: Path,
    spec: ExposureSpec,
    *,
    from_s: float,
    to_s: float,
    lookback_s: float = LOOKBACK_S,
) -> History:
    """Read every file that says something about ``spec``, from ``lookback_s`` before ``from_s`` to ``to_s``.

    Raises ConfigError for a folder or required file that is not there, a file that cannot be read or
    lacks a column, from >= to, and a range in which the spot price has no rows.
    """
    _check_range(data_dir, from_s, to_s)
    window = _Window(start_s=from_s - lookback_s, from_s=from_s, to_s=to_s)
    read = _Read()
    for table in tables_for(spec):
        path = locate(data_dir, table)
        if path is None:
            read.missing.append(f"{table.file}{_ENDS[0]}: {table.without}")
        else:
            read.take(path, table, window)
    _check_price(data_dir, spec, read.found[0], read.series, window)
    return History(
        underlying=spec.underlying,
        from_s=from_s,
        to_s=to_s,
        vol_index=_index_of(read.series, spec.underlying),
        columns=Columns(series=read.series),
        ends_s=read.ends_s,
        found=tuple(read.found),
        missing=tuple(read.missing),
        gaps=tuple(read.gaps),
    )


def _index_of(series: dict[SeriesKey, Column], underlying: str) -> Column:
    """Return the published index. It stays a series of its own asset, unless the model's stands for it."""
    index = series.get(DVOL_KEY, EMPTY_COLUMN)
    if underlying == DVOL_KEY.subject:
        series.pop(DVOL_KEY, None)
    return index


def price_file(data_dir: Path, spec: ExposureSpec) -> Column:
    """Return the whole price file of the underlying. Raises ConfigError."""
    if not data_dir.is_dir():
        raise ConfigError(f"--data must be a folder with history files, {data_dir} is not there")
    table = tables_for(spec)[0]
    path = locate(data_dir, table)
    if path is None:
        return EMPTY_COLUMN
    rows, _ = read_rows(path, table)
    return column_of(rows, table.series(rows)[spot_key(spec.underlying)])


def whole_price(data_dir: Path, spec: ExposureSpec) -> Column:
    """Return the whole price file of the underlying. Raises ConfigError, also where no row can be used."""
    price = price_file(data_dir, spec)
    if not price.times_s.size:
        table = tables_for(spec)[0]
        path = locate(data_dir, table)
        why = read_rows(path, table)[1] if path else ()
        raise ConfigError(
            f"history file {path} has no usable row{f': {why[0]}' if why else ''}; fetch it again"
        )
    return price


@dataclass(slots=True)
class _Read:
    """What the files read so far have given."""

    series: dict[SeriesKey, Column] = field(default_factory=dict)
    ends_s: dict[SeriesKey, float] = field(default_factory=dict)
    found: list[FileReport] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def take(self, path: Path, table: HistoryTable, window: "_Window") -> None:
        """Read one file."""
        rows, bad = read_rows(path, table)
        end_s = float(rows["at_s"][-1]) if rows["at_s"].size else math.nan
        part = _cut(rows, window)
        report = _report(path.name, table, part, bad, window)
        self.found.append(report)
        self.gaps.extend(_gaps(path.name, table, part["at_s"], window))
        if report.note:
            self.missing.append(f"{path.name}: {report.note}")
            return
        for key, values in table.series(part).items():
            self.series[key], self.ends_s[key] = column_of(part, values), end_s


def read_rows(path: Path, table: HistoryTable) -> tuple[Rows, tuple[str, ...]]:
    """Return the usable rows of a file in time order, and a line for each kind of row that is not.

    A file that has not changed since is not read again: a backtest over windows asks for each of them once a
    stretch. Raises ConfigError when the file cannot be read or lacks a column.
    """
    place = (path, table.columns, tuple(table.keep.values()), table.shift_s)
    version = _version(path)
    kept = _READ.get(place)
    if kept is None or kept[0] != version:
        rows, bad = _read_rows(path, table)
        for values in rows.values():
            values.setflags(write=False)  # all who ask get the same arrays
        kept = _READ[place] = (version, rows, bad)
    return kept[1:]


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # reading it says why
    return (status.st_mtime_ns, status.st_size)


def _read_rows(path: Path, table: HistoryTable) -> tuple[Rows, tuple[str, ...]]:
    frame, bad = _read_csv(path, table)
    for column, value in table.keep.items():
        frame = frame[frame[column] == value]
    if table.may_be_blank:
        frame = frame[(frame[list(table.numeric)] != "").all(axis=1)]
    stamps = pd.to_datetime(frame["ts"], format="ISO8601", utc=True, errors="coerce")
    # The unit of a parsed stamp depends on the pandas version, and so does which years fit; seconds do not.
    whole_us = stamps.dt.as_unit("us").astype(np.int64).to_numpy()
    seconds = np.where(stamps.isna().to_numpy(), np.nan, whole_us / 1e6)
    bad += _named(frame.index, ~np.isfinite(seconds), "a time that is not ISO 8601")
    usable = np.isfinite(seconds)
    numbers: dict[str, FloatArray] = {"at_s": np.asarray(seconds + table.shift_s, np.float64)}
    for column in table.numeric:
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
        allowed, rule = _allowed(table, column, values)
        bad += _named(frame.index, usable & ~allowed, f"{column} that is not {rule}")
        usable &= allowed
        numbers[column] = values
    lines = frame.index[usable]
    numbers = {name: values[usable] for name, values in numbers.items()}
    rows, bad = _in_order(numbers, lines, bad, is_hourly=table.is_hourly_close)
    return (table.prepare(rows) if rows["at_s"].size else rows), bad


def _in_order(
    rows: Mapping[str, FloatArray], lines: "pd.Index[int]", bad: tuple[str, ...], *, is_hourly: bool
) -> tuple[Rows, tuple[str, ...]]:
    """Sort rows by time; of rows with one time the first in the file stays, of an hour's closes the last."""
    late = np.concatenate([[False], np.diff(rows["at_s"]) < 0.0]) if rows["at_s"].size else np.zeros(0, bool)
    bad += _named(lines, late, "a time before the row above, sorted")
    order = np.argsort(rows["at_s"], kind="stable")
    at_s = rows["at_s"][order]
    repeated = np.concatenate([[False], np.diff(at_s) == 0.0]) if at_s.size else np.zeros(0, dtype=bool)
    bad += _named(lines[order], repeated, "a time that an earlier row has")
    keep = order[~repeated]
    if is_hourly and keep.size:
        early = np.append(np.diff(np.ceil(rows["at_s"][keep] / HOUR_S)) == 0.0, False)
        bad += _named(lines[keep], early, "an hour that a later row has")
        keep = keep[~early]
    return {name: values[keep] for name, values in rows.items()}, bad


def _read_csv(path: Path, table: HistoryTable) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the needed columns as text, indexed by line number, rows with too many fields left out."""
    too_long: list[list[str]] = []
    try:
        try:
            frame = pd.read_csv(path, dtype=str, skip_blank_lines=False, keep_default_na=False)
        except pd.errors.ParserError:  # a row with too many fields; the slow parser can step over it
            _refuse_open_quote(path)
            frame = pd.read_csv(
                path,
                dtype=str,
                skip_blank_lines=False,
                keep_default_na=False,
                engine="python",
                on_bad_lines=lambda fields: too_long.append(fields),
            )
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pd.errors.EmptyDataError) as error:
        raise ConfigError(
            f"history file {path} cannot be read: {error}; fetch it again or remove it"
        ) from error
    lacking = [name for name in table.columns if name not in frame.columns]
    if lacking:
        raise ConfigError(
            f"history file {path} lacks column {', '.join(lacking)}; "
            f"found {', '.join(map(str, frame.columns))}, needed {', '.join(table.columns)}"
        )
    frame.index = pd.RangeIndex(2, len(frame) + 2)  # line 1 is the header
    many = len(too_long)
    bad = (f"{many} row{'s' if many != 1 else ''} with too many fields",) if many else ()
    return frame[list(table.columns)], bad


def _refuse_open_quote(path: Path) -> None:
    """Raise ConfigError where a quotation mark is never closed: the slow parser drops all that follows it."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        if file.read().count('"') % 2:
            raise ConfigError(
                f"history file {path} cannot be read: a quotation mark is never closed; fetch it again or "
                "remove it"
            )


def _allowed(table: HistoryTable, column: str, values: FloatArray) -> tuple[np.ndarray, str]:
    if column in table.positive:
        return np.isfinite(values) & (values > 0.0), "a number over 0"
    if column in table.not_negative:
        return np.isfinite(values) & (values >= 0.0), "a number of at least 0"
    return np.isfinite(values), "a number"


def _named(lines: "pd.Index[int]", is_bad: np.ndarray, what: str) -> tuple[str, ...]:
    count = int(np.count_nonzero(is_bad))
    if not count:
        return ()
    first = int(lines[int(np.flatnonzero(is_bad)[0])])
    return (f"{count} row{'s' if count != 1 else ''} with {what}, first at line {first}",)


def _cut(rows: Rows, window: _Window) -> Rows:
    first, last = np.searchsorted(rows["at_s"], (window.start_s, window.to_s), side="right")
    return {name: values[first:last] for name, values in rows.items()}


def _report(name: str, table: HistoryTable, rows: Rows, bad: tuple[str, ...], window: _Window) -> FileReport:
    at_s = rows["at_s"]
    in_range = bool(at_s.size) and at_s[-1] > window.from_s - table.stands_s
    return FileReport(
        file=name,
        what=table.what,
        rows=int(at_s.size),
        first_s=float(at_s[0]) if at_s.size else math.nan,
        last_s=float(at_s[-1]) if at_s.size else math.nan,
        bad_rows=bad,
        note="" if in_range else f"no rows in the range, not used: {table.without}",
    )


def _gaps(name: str, table: HistoryTable, at_s: FloatArray, window: _Window) -> Iterator[Gap]:
    """Yield the holes in a file, the ends of the range included."""
    if not at_s.size or at_s[-1] <= window.from_s:
        return  # the whole file is named as not used
    slack_s = table.step_s * (_HOLE_STEPS - 1.0)
    first_s = min(float(at_s[0]), window.from_s)
    edges = np.concatenate([[first_s], at_s, [max(window.to_s - slack_s, at_s[-1])]])
    for i in np.flatnonzero(np.diff(edges) > _HOLE_STEPS * table.step_s):
        from_s, to_s = float(edges[i]), float(edges[i + 1])
        yield Gap(
            file=name,
            from_s=from_s,
            to_s=to_s,
            missing_rows=max(round((to_s - from_s) / table.step_s) - 1, 1),
            in_range=to_s > window.from_s,
        )


def locate(data_dir: Path, table: HistoryTable) -> Path | None:
    """Return where a file is, None where it is not. Raises ConfigError for a required one."""
    for end in _ENDS:
        path = data_dir / f"{table.file}{end}"
        if path.is_file():
            return path
    if table.is_required:
        raise ConfigError(
            f"history file {table.file}{_ENDS[0]} is not in {data_dir}; the backtest needs it "
            f"({table.without}), put it there or pass another --data"
        )
    return None


def _check_range(data_dir: Path, from_s: float, to_s: float) -> None:
    if not data_dir.is_dir():
        raise ConfigError(f"--data must be a folder with history files, {data_dir} is not there")
    if not from_s + HOUR_S <= to_s:
        raise ConfigError(
            f"--from must be at least an hour before --to, was {iso_utc(from_s)} to {iso_utc(to_s)}"
        )


def _check_price(
    data_dir: Path,
    spec: ExposureSpec,
    report: FileReport,
    series: Mapping[SeriesKey, Column],
    window: _Window,
) -> None:
    """Refuse a range in which the underlying has no price."""
    if spot_key(spec.underlying) in series:
        return
    path = data_dir / report.file
    at_s = whole_price(data_dir, spec).times_s
    raise ConfigError(
        f"history file {path} has no rows from {iso_utc(window.from_s)} to {iso_utc(window.to_s)}; "
        f"it holds {iso_utc(at_s[0])} to {iso_utc(at_s[-1])}, choose --from and --to inside it"
    )
