"""The file behind the history: rows, observed heads, gaps and halts in SQLite.

Rows are never changed. A row that another one took the place of is marked as superseded and stays readable
for who wants to see what an old decision stood on; rows past the retention are deleted.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bot.errors import ConfigError, InvariantError
from bot.model.market import Block, FloatArray, Metric, Observation, SeriesKey
from bot.pipeline.gaps import Gap, Halt

NO_BLOCK = -1
_DELETED_AT_ONCE = 20_000  # rows of one series in one flush; so that a deletion never holds up a step
_VERSION = 2
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, metric TEXT NOT NULL, subject TEXT NOT NULL,
       source TEXT NOT NULL, UNIQUE (metric, subject, source))""",
    """CREATE TABLE IF NOT EXISTS observation (id INTEGER PRIMARY KEY, series_id INTEGER NOT NULL,
       observed_at_s REAL NOT NULL, value REAL, read_at_s REAL NOT NULL, block_number INTEGER,
       why_unknown TEXT NOT NULL, filled INTEGER NOT NULL, superseded INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX IF NOT EXISTS observation_of_series ON observation (series_id, observed_at_s)",
    """CREATE TABLE IF NOT EXISTS heads (chain_id INTEGER, number INTEGER, hash TEXT NOT NULL,
       parent_hash TEXT NOT NULL, timestamp_s INTEGER NOT NULL, PRIMARY KEY (chain_id, number))""",
    """CREATE TABLE IF NOT EXISTS gaps (chain_id INTEGER, from_number INTEGER, to_number INTEGER NOT NULL,
       from_s REAL, to_s REAL NOT NULL, why TEXT NOT NULL, PRIMARY KEY (chain_id, from_number, from_s))""",
    """CREATE TABLE IF NOT EXISTS halts (id INTEGER PRIMARY KEY, chain_id INTEGER NOT NULL,
       since_s REAL NOT NULL, why TEXT NOT NULL, released_at_s REAL)""",
)
_FROM_VERSION_1 = (  # one table, in which a row that is older than one before it had replaced that one
    """INSERT OR IGNORE INTO series (metric, subject, source)
       SELECT DISTINCT metric, subject, source FROM observations""",
    """INSERT INTO observation (id, series_id, observed_at_s, value, read_at_s, block_number, why_unknown,
       filled, superseded)
       SELECT old.id, series.id, old.observed_at_s, old.value, old.read_at_s, old.block_number,
       old.why_unknown, 0, COALESCE(MIN(old.observed_at_s) OVER (PARTITION BY series.id ORDER BY old.id DESC
       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) <= old.observed_at_s, 0)
       FROM observations AS old JOIN series USING (metric, subject, source)""",
    "DROP TABLE observations",
)

_ADD_SERIES = "INSERT OR IGNORE INTO series (metric, subject, source) VALUES (?, ?, ?)"
_FIND_SERIES = "SELECT id FROM series WHERE metric = ? AND subject = ? AND source = ?"
_ADD_ROW = (
    "INSERT INTO observation (series_id, observed_at_s, value, read_at_s, block_number, why_unknown, filled) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_SUPERSEDE = (
    "UPDATE observation SET superseded = 1 "
    "WHERE series_id = ? AND observed_at_s >= ? AND observed_at_s <= ? AND superseded = 0"
)
_ADD_HEAD = "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?)"
_DROP_HEADS = "DELETE FROM heads WHERE chain_id = ? AND number >= ?"
_ADD_GAP = "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?)"
_ADD_HALT = "INSERT INTO halts (chain_id, since_s, why) VALUES (?, ?, ?)"
_RELEASE = "UPDATE halts SET released_at_s = ? WHERE released_at_s IS NULL"
_TRIM = (
    "DELETE FROM observation WHERE id IN (SELECT id FROM observation WHERE series_id = ? "
    "AND observed_at_s < ? LIMIT ?)"
)
_TRIM_HEADS = "DELETE FROM heads WHERE timestamp_s < ?"

_METRICS = frozenset(item.value for item in Metric)

Statement: TypeAlias = tuple[str, tuple[Any, ...]]


class StoredRows(NamedTuple):
    """The rows of one series that are in force, oldest first."""

    key: SeriesKey
    times_s: FloatArray
    values: FloatArray
    blocks: NDArray[np.int64]


class HistoryStore:
    """Writes in batches; reads once, when it is opened. Raises ConfigError when the file is not usable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = _open(path)
        self._pending: list[Statement] = []
        self._ids: dict[SeriesKey, int] = {}
        with self._engine.connect() as connection:
            for row in connection.exec_driver_sql("SELECT id, metric, subject, source FROM series"):
                if row[1] in _METRICS:
                    self._ids[SeriesKey(Metric(row[1]), row[2], row[3])] = row[0]
        self._before_s = -math.inf  # rows before it are deleted, series by series
        self._to_trim: deque[int] = deque()

    def add_row(self, item: Observation, *, filled: bool) -> None:
        value = item.value if math.isfinite(item.value) else None
        row = (item.observed_at_s, value, item.read_at_s, item.block_number, item.why_unknown, int(filled))
        self._pending.append((_ADD_ROW, (self._id(item.key), *row)))

    def supersede(self, key: SeriesKey, from_s: float, to_s: float = math.inf) -> None:
        self._pending.append((_SUPERSEDE, (self._id(key), from_s, to_s)))

    def add_head(self, block: Block) -> None:
        row = (block.chain_id, block.number, block.hash, block.parent_hash, block.timestamp_s)
        self._pending.append((_ADD_HEAD, row))

    def drop_heads(self, chain_id: int, from_block: int) -> None:
        self._pending.append((_DROP_HEADS, (chain_id, from_block)))

    def add_gap(self, gap: Gap) -> None:
        self._pending.append((_ADD_GAP, tuple(gap)))

    def add_halt(self, halt: Halt) -> None:
        self._pending.append((_ADD_HALT, tuple(halt)))

    def release_halts(self, at_s: float) -> None:
        self._pending.append((_RELEASE, (at_s,)))

    @property
    def pending(self) -> int:
        """How many statements wait for the next flush."""
        return len(self._pending)

    def flush(self) -> None:
        """Write what waits, in one transaction. Raises InvariantError when the file cannot be written."""
        if not self._pending and not self._to_trim:
            return
        with self._writing() as connection:
            for sql, rows in _batches(self._pending):
                connection.exec_driver_sql(sql, rows)
            done = not self._to_trim or self._trim_one(connection, self._to_trim[0])
        self._pending.clear()
        if self._to_trim and done:
            self._to_trim.popleft()

    def trim(self, before_s: float) -> None:
        """Delete rows before a time, over the flushes that follow: no step waits for much of it."""
        self._before_s = before_s
        self._to_trim = deque(self._ids.values())
        self._pending.append((_TRIM_HEADS, (before_s,)))

    def _trim_one(self, connection: sa.Connection, series_id: int) -> bool:
        """Delete old rows of one series, not too many at once. Returns whether none is left."""
        row = (series_id, self._before_s, _DELETED_AT_ONCE)
        return connection.exec_driver_sql(_TRIM, row).rowcount < _DELETED_AT_ONCE

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.DatabaseError as error:
            raise InvariantError(
                f"history file {self._path} could not be written: {error.orig}; free space and start again"
            ) from error

    def rows(self, *, since_s: float) -> Iterator[StoredRows]:
        query = (
            "SELECT observed_at_s, value, block_number FROM observation WHERE series_id = ? "
            "AND observed_at_s >= ? AND superseded = 0 ORDER BY observed_at_s, id"
        )
        with self._engine.connect() as connection:
            for key, series_id in sorted(self._ids.items()):
                found = connection.exec_driver_sql(query, (series_id, since_s)).fetchall()
                yield _stored(key, found)

    def newest_s(self) -> float:
        """Return the time of the newest row, -inf when there is none."""
        query = "SELECT MAX(observed_at_s) FROM observation WHERE series_id = ? AND superseded = 0"
        with self._engine.connect() as connection:
            found = [connection.exec_driver_sql(query, (item,)).scalar() for item in self._ids.values()]
        return max((float(item) for item in found if item is not None), default=-math.inf)

    def heads(self, *, at_most: int) -> list[Block]:
        """Return observed heads, oldest first within each chain."""
        query = """SELECT chain_id, number, hash, parent_hash, timestamp_s FROM (SELECT *, ROW_NUMBER() OVER
                   (PARTITION BY chain_id ORDER BY number DESC) AS place FROM heads) WHERE place <= ?
                   ORDER BY chain_id, number"""
        names = ("chain_id", "number", "hash", "parent_hash", "timestamp_s")
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql(query, (at_most,)).fetchall()
        return [Block(**dict(zip(names, row, strict=True))) for row in found]

    def gaps(self, *, at_most: int) -> list[Gap]:
        query = "SELECT * FROM gaps ORDER BY to_s DESC, to_number DESC LIMIT ?"
        with self._engine.connect() as connection:
            return [Gap(*row) for row in connection.exec_driver_sql(query, (at_most,))][::-1]

    def halts(self) -> list[Halt]:
        query = "SELECT chain_id, since_s, why FROM halts WHERE released_at_s IS NULL ORDER BY id"
        with self._engine.connect() as connection:
            return [Halt(*row) for row in connection.exec_driver_sql(query)]

    def close(self) -> None:
        self._engine.dispose()

    def _id(self, key: SeriesKey) -> int:
        """Return the number of a series. The file gives it, at once: another program may write it too."""
        found = self._ids.get(key)
        if found is None:
            name = (key.metric.value, key.subject, key.source)
            with self._writing() as connection:
                connection.exec_driver_sql(_ADD_SERIES, name)
                found = int(connection.exec_driver_sql(_FIND_SERIES, name).scalar_one())
            self._ids[key] = found
        return found


def _stored(key: SeriesKey, found: Sequence[Any]) -> StoredRows:
    times_s = np.array([row[0] for row in found], dtype=np.float64)
    values = np.array([math.nan if row[1] is None else row[1] for row in found], dtype=np.float64)
    blocks = np.array([NO_BLOCK if row[2] is None else row[2] for row in found], dtype=np.int64)
    last = np.ones(times_s.size, dtype=bool)  # of several rows of one time, as two programs write, the newest
    last[:-1] = times_s[1:] != times_s[:-1]
    return StoredRows(key, times_s[last], values[last], blocks[last])


def _batches(statements: Sequence[Statement]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Join neighbours that are the same statement."""
    sql = ""
    rows: list[tuple[Any, ...]] = []
    for next_sql, row in statements:
        if rows and next_sql != sql:
            yield sql, rows
            rows = []
        sql = next_sql
        rows.append(row)
    if rows:
        yield sql, rows


def _open(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        path.touch(mode=0o600)
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            _migrate(connection, path)
    except (OSError, sa.exc.DatabaseError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.orig
        raise ConfigError(
            f"history file {path} cannot be used: {reason}; move it away or free space"
        ) from error
    # Observations can be read again from the chain; the intent journal is the one that syncs FULL.
    sa.event.listen(engine, "connect", _set_synchronous)
    engine.dispose()
    return engine


def _set_synchronous(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")


def _migrate(connection: sa.Connection, path: Path) -> None:
    found = int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)
    if found > _VERSION:
        raise ConfigError(
            f"history file {path} has version {found}, this program knows up to {_VERSION}; move it away"
        )
    for sql in _SCHEMA:
        connection.exec_driver_sql(sql)
    if sa.inspect(connection).has_table("observations"):
        for sql in _FROM_VERSION_1:
            connection.exec_driver_sql(sql)
    connection.exec_driver_sql(f"PRAGMA user_version={_VERSION}")
