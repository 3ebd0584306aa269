"""The append-only store of observations. Every frame is cut from it, in every mode."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from bot.errors import ConfigError, InvariantError
from bot.model.market import Column, Columns, FloatArray, Metric, Observation, SeriesKey

_TABLE = sa.Table(
    "observations",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("metric", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("value", sa.Float),  # NULL: the read failed
    sa.Column("observed_at_s", sa.Float, nullable=False),
    sa.Column("read_at_s", sa.Float, nullable=False),
    sa.Column("block_number", sa.Integer),
    sa.Column("why_unknown", sa.String, nullable=False, default=""),
)


class _Growing:
    """Two parallel arrays that grow at the end; views of them cost nothing."""

    __slots__ = ("_times_s", "_values", "size")

    def __init__(self) -> None:
        self._times_s: FloatArray = np.empty(64)
        self._values: FloatArray = np.empty(64)
        self.size = 0

    def append(self, at_s: float, value: float) -> bool:
        """Append a row. Returns whether anything changed.

        Heads only run back when the chain was reorganised, so rows at or after ``at_s`` stood on blocks
        that are gone: the new row takes their place.
        """
        end = self.size
        while end and at_s <= self._times_s[end - 1]:
            end -= 1
        if end == self.size - 1 and at_s == self._times_s[end] and _same(value, self._values[end]):
            return False  # the same block read again
        if end == self._times_s.size:
            self._times_s = np.concatenate([self._times_s, np.empty(end)])
            self._values = np.concatenate([self._values, np.empty(end)])
        elif end < self.size:  # frames that were cut keep their own view of what is overwritten
            self._times_s, self._values = self._times_s.copy(), self._values.copy()
        self._times_s[end] = at_s
        self._values[end] = value
        self.size = end + 1
        return True

    def column(self) -> Column:
        return Column(times_s=self._times_s[: self.size], values=self._values[: self.size])


class History:
    """Trailing observations of every configured series; kept in a file when one is given.

    Rows are kept in the order of the source's clock. A row that repeats the last one (a restart reads the
    same block again) is left out; one that is older replaces what stood on a chain that is gone.
    """

    def __init__(self, series: Iterable[SeriesKey] = (), *, path: Path | None = None) -> None:
        self._series: dict[SeriesKey, _Growing] = {key: _Growing() for key in series}
        self._engine = _open(path) if path else None
        if self._engine is not None:
            self._load(self._engine)

    def append(self, observations: Iterable[Observation]) -> int:
        """Add rows. Returns how many were new. They are on disk when this returns.

        Raises InvariantError when the file cannot be written: memory is ahead of it then.
        """
        new = [item for item in observations if self._put(item)]
        if new and self._engine is not None:
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.insert(_TABLE), [_row(item) for item in new])
            except sa.exc.DatabaseError as error:
                raise InvariantError(
                    f"history file {self._engine.url.database} could not be written: {error.orig}; "
                    "free space and start again"
                ) from error
        return len(new)

    def columns(self, *, until_s: float = math.inf) -> Columns:
        """Return all series observed at or before ``until_s``, as views."""
        series = {key: growing.column() for key, growing in self._series.items()}
        if until_s < math.inf:
            series = {key: column.until(until_s) for key, column in series.items()}
        return Columns(series=series)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def _put(self, item: Observation) -> bool:
        growing = self._series.get(item.key)
        if growing is None:
            growing = self._series[item.key] = _Growing()
        return growing.append(item.observed_at_s, item.value)

    def _load(self, engine: sa.Engine) -> None:
        query = sa.select(
            _TABLE.c.metric, _TABLE.c.subject, _TABLE.c.source, _TABLE.c.observed_at_s, _TABLE.c.value
        ).order_by(_TABLE.c.id)
        with engine.connect() as connection:
            for metric, subject, source, at_s, value in connection.execute(query):
                # A series that is no longer configured must not go on being used.
                growing = self._series.get(SeriesKey(Metric(metric), subject, source))
                if growing is not None:
                    growing.append(at_s, math.nan if value is None else value)


def _same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


def gaps(column: Column, *, interval_s: float) -> Sequence[tuple[float, float]]:
    """Return (from, to) of every hole longer than 1.5 intervals between known observations."""
    times_s = column.times_s[np.isfinite(column.values)]
    wide = np.flatnonzero(np.diff(times_s) > 1.5 * interval_s)
    return [(float(times_s[i]), float(times_s[i + 1])) for i in wide]


def _row(item: Observation) -> dict[str, object]:
    return {
        "metric": item.metric.value,
        "subject": item.subject,
        "source": item.source,
        "value": item.value if math.isfinite(item.value) else None,
        "observed_at_s": item.observed_at_s,
        "read_at_s": item.read_at_s,
        "block_number": item.block_number,
        "why_unknown": item.why_unknown,
    }


def _open(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        path.touch(mode=0o600)
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            # Observations can be read again from the chain; the intent journal is the one that syncs FULL.
            connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
            _TABLE.metadata.create_all(connection)
    except (OSError, sa.exc.DatabaseError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.orig
        raise ConfigError(
            f"history file {path} cannot be used: {reason}; move it away or free space"
        ) from error
    return engine
