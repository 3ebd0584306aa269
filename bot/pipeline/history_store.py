"""What a history keeps beyond its process: rows, observed heads, gaps and halts, in SQLite or PostgreSQL.

Rows are never changed. A row that another one took the place of is marked as superseded and stays readable
for who wants to see what an old decision stood on; rows past the retention are deleted.
"""

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bot.chain.heads import MAX_REORG
from bot.errors import InvariantError, NoSpaceError
from bot.model.market import Block, FloatArray, Metric, Observation, SeriesKey
from bot.pipeline import databases, leases
from bot.pipeline.gaps import Gap, Halt
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.history_schema import RowKind

NO_BLOCK = -1
_DELETED_AT_ONCE = 20_000  # rows of one series in one flush; so that a deletion never holds up a step

_ADD_SERIES = sa.text(
    "INSERT INTO series (metric, subject, source, writer) VALUES (:metric, :subject, :source, :writer) "
    "ON CONFLICT (metric, subject, source) DO NOTHING"
)
_TAKE_SERIES = sa.text(
    "INSERT INTO series (metric, subject, source, writer) VALUES (:metric, :subject, :source, :writer) "
    "ON CONFLICT (metric, subject, source) DO UPDATE SET writer = excluded.writer"
)
_FIND_SERIES = sa.text(
    "SELECT id FROM series WHERE metric = :metric AND subject = :subject AND source = :source"
)
_OF_ANOTHER = sa.text(
    "SELECT MAX(o.block_number) FROM observation AS o JOIN series AS s ON s.id = o.series_id WHERE "
    "s.metric = :metric AND s.subject = :subject AND s.source = :source AND s.writer <> :writer "
    "AND o.superseded = 0"
)
_MARK_GONE = sa.text(
    "INSERT INTO observation (series_id, observed_at_s, read_at_s, block_number, why_unknown, kind, "
    "superseded) SELECT o.series_id, MIN(o.observed_at_s), MIN(o.read_at_s), CAST(:from_block AS bigint), "
    "'', CAST(:kind AS integer), 1 FROM observation AS o JOIN series AS s ON s.id = o.series_id WHERE "
    "s.metric = :metric AND s.subject = :subject AND s.source = :source AND o.block_number >= :from_block "
    "AND o.superseded = 0 GROUP BY o.series_id"
)
_ALL_GONE = sa.text(
    "UPDATE observation AS o SET superseded = 1 FROM series AS s WHERE s.id = o.series_id "
    "AND s.metric = :metric AND s.subject = :subject AND s.source = :source "
    "AND o.block_number >= :from_block AND o.superseded = 0"
)
_ALL_SERIES = sa.text("SELECT id, metric, subject, source FROM series")
_ADD_ROW = sa.text(
    "INSERT INTO observation (series_id, observed_at_s, value, read_at_s, block_number, why_unknown, kind, "
    "superseded) VALUES (:series_id, :observed_at_s, :value, :read_at_s, :block_number, :why_unknown, :kind, "
    ":superseded)"
)
_SUPERSEDE = sa.text(
    "UPDATE observation SET superseded = 1 WHERE series_id = :series_id AND observed_at_s >= :from_s "
    "AND observed_at_s <= :to_s AND superseded = 0"
)
_ADD_HEAD = sa.text(
    "INSERT INTO heads (writer, chain_id, number, hash, parent_hash, timestamp_s) VALUES (:writer, "
    ":chain_id, :number, :hash, :parent_hash, :timestamp_s) ON CONFLICT (writer, chain_id, number) DO UPDATE "
    "SET hash = excluded.hash, parent_hash = excluded.parent_hash, timestamp_s = excluded.timestamp_s"
)
_DROP_HEADS = sa.text(
    "DELETE FROM heads WHERE writer = :writer AND chain_id = :chain_id AND number >= :number"
)
_ADD_GAP = sa.text(
    "INSERT INTO gaps (writer, chain_id, from_number, to_number, from_s, to_s, why) VALUES (:writer, "
    ":chain_id, :from_number, :to_number, :from_s, :to_s, :why) ON CONFLICT (writer, chain_id, from_number, "
    "from_s) DO UPDATE SET to_number = excluded.to_number, to_s = excluded.to_s, why = excluded.why"
)
_ADD_HALT = sa.text("INSERT INTO halts (chain_id, since_s, why) VALUES (:chain_id, :since_s, :why)")
_RELEASE = sa.text("UPDATE halts SET released_at_s = :at_s WHERE released_at_s IS NULL")
_TRIM = sa.text(
    "DELETE FROM observation WHERE id IN (SELECT id FROM observation WHERE series_id = :series_id "
    "AND observed_at_s < :before_s LIMIT :at_most)"
)
_TRIM_HEADS = sa.text("DELETE FROM heads WHERE writer = :writer AND timestamp_s < :before_s")
_ROWS = sa.text(
    "SELECT observed_at_s, value, block_number FROM observation WHERE series_id = :series_id "
    "AND observed_at_s >= :since_s AND superseded = 0 ORDER BY observed_at_s, id"
)
_NEWEST = sa.text("SELECT MAX(observed_at_s) FROM observation WHERE series_id = :id AND superseded = 0")
_HEADS = sa.text(
    "SELECT chain_id, number, hash, parent_hash, timestamp_s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY "
    "chain_id ORDER BY number DESC) AS place FROM heads WHERE writer = :writer) AS h WHERE place <= :at_most "
    "ORDER BY chain_id, number"
)
_GAPS = sa.text(
    "SELECT chain_id, from_number, to_number, from_s, to_s, why FROM gaps WHERE writer = :writer "
    "ORDER BY to_s DESC, to_number DESC LIMIT :at_most"
)
_HALTS = sa.text("SELECT chain_id, since_s, why FROM halts WHERE released_at_s IS NULL ORDER BY id")

METRICS = frozenset(item.value for item in Metric)

Statement: TypeAlias = tuple[sa.TextClause, Mapping[str, Any]]


class StoredRows(NamedTuple):
    """The rows of one series that are in force, oldest first."""

    key: SeriesKey
    times_s: FloatArray
    values: FloatArray
    blocks: NDArray[np.int64]


class HistoryStore:
    """Writes in batches; reads once, when it is opened. Raises ConfigError when the place is not usable.

    ``elsewhere`` are series that another process writes: of them nothing is written here. ``writer`` names a
    process of `alvh watch`; it writes ``own`` series alone, and while it lives nobody else does.
    """

    def __init__(
        self,
        place: HistoryPlace,
        *,
        writer: str = "",
        own: Collection[SeriesKey] = (),
        elsewhere: Collection[SeriesKey] = (),
    ) -> None:
        self._place = place
        self._writer = writer
        self._own, self._elsewhere = frozenset(own), frozenset(elsewhere)
        self._engine = place.open(who=leases.signed(writer))
        self._pending: list[Statement] = []
        self._failure = ""
        self._before_s = -math.inf  # rows before it are deleted, series by series
        self._to_trim: deque[int] = deque()
        try:
            self._ids = self._begin()
        except BaseException:
            self._engine.dispose()
            raise

    def _begin(self) -> dict[SeriesKey, int]:
        """Take the leases of what is written here, and return the numbers of all series."""
        with self._writing() as connection:
            keys = sorted(self._own - self._elsewhere)
            if self._place.is_shared and keys:
                leases.take(connection, keys, name=self._place.name, alone=bool(self._writer))
                self._take_over(connection, keys)
            return _ids_of(connection)

    def _take_over(self, connection: sa.Connection, keys: Sequence[SeriesKey]) -> None:
        """Write series that may have been another's: what stood on its newest blocks leaves.

        They may have been reorganised away since, and which they were only its own heads would tell.
        """
        for key in keys:
            row = {**_named(key), "writer": self._writer}
            newest = connection.execute(_OF_ANOTHER, row).scalar()
            if newest is not None:
                stood = {**row, "from_block": max(int(newest) - MAX_REORG, 0), "kind": int(RowKind.ORPHANED)}
                connection.execute(_MARK_GONE, stood)
                connection.execute(_ALL_GONE, stood)
            connection.execute(_TAKE_SERIES, row)

    def add_row(self, item: Observation, *, filled: bool) -> None:
        if self._writes(item.key):
            kind = RowKind.FILLED if filled else RowKind.APPENDED
            self._add(item, kind)

    def add_orphan(self, key: SeriesKey, *, from_s: float, from_block: int) -> None:
        """Note that rows of a series from a block on left; for who reads along."""
        if self._place.is_shared and self._writes(key):
            mark = Observation(
                metric=key.metric,
                subject=key.subject,
                source=key.source,
                value=math.nan,
                observed_at_s=from_s,
                read_at_s=from_s,
                block_number=from_block,
            )
            self._add(mark, RowKind.ORPHANED)

    def supersede(self, key: SeriesKey, from_s: float, to_s: float = math.inf) -> None:
        if self._writes(key):
            row = {"series_id": self._id(key), "from_s": from_s, "to_s": to_s}
            self._pending.append((_SUPERSEDE, row))

    def add_head(self, block: Block) -> None:
        row = {
            "writer": self._writer,
            "chain_id": block.chain_id,
            "number": block.number,
            "hash": block.hash,
            "parent_hash": block.parent_hash,
            "timestamp_s": block.timestamp_s,
        }
        self._pending.append((_ADD_HEAD, row))

    def drop_heads(self, chain_id: int, from_block: int) -> None:
        row = {"writer": self._writer, "chain_id": chain_id, "number": from_block}
        self._pending.append((_DROP_HEADS, row))

    def add_gap(self, gap: Gap) -> None:
        self._pending.append((_ADD_GAP, {"writer": self._writer, **gap._asdict()}))

    def add_halt(self, halt: Halt) -> None:
        self._pending.append((_ADD_HALT, halt._asdict()))

    def release_halts(self, at_s: float) -> None:
        self._pending.append((_RELEASE, {"at_s": at_s}))

    @property
    def pending(self) -> int:
        """How many statements wait for the next flush."""
        return len(self._pending)

    def flush(self) -> None:
        """Write what waits, in one transaction. Raises InvariantError when it cannot be written."""
        if not self._pending and not self._to_trim:
            return
        with self._writing() as connection:
            for statement, rows in _batches(self._pending):
                connection.execute(statement, rows)
            done = not self._to_trim or self._trim_one(connection, self._to_trim[0])
        self._pending.clear()
        if self._to_trim and done:
            self._to_trim.popleft()

    def trim(self, before_s: float) -> None:
        """Delete rows before a time, over the flushes that follow: no step waits for much of it."""
        self._before_s = before_s
        self._to_trim = deque(number for key, number in self._ids.items() if self._writes(key))
        self._pending.append((_TRIM_HEADS, {"writer": self._writer, "before_s": before_s}))

    def _trim_one(self, connection: sa.Connection, series_id: int) -> bool:
        """Delete old rows of one series, not too many at once. Returns whether none is left."""
        row = {"series_id": series_id, "before_s": self._before_s, "at_most": _DELETED_AT_ONCE}
        return connection.execute(_TRIM, row).rowcount < _DELETED_AT_ONCE

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Open a transaction. After one that failed none follows: a lease may be lost with the connection."""
        if self._failure:
            raise InvariantError(self._failure)
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            self._failure = (
                f"history {self._place.name} could not be written: {databases.reason(error)}; "
                f"{'free space' if self._place.path else 'see to the server'} and start again"
            )
            kind = NoSpaceError if databases.is_full(error) else InvariantError
            raise kind(self._failure) from None

    def rows(self, *, since_s: float) -> Iterator[StoredRows]:
        with self._reading() as connection:
            for key, series_id in sorted(self._ids.items()):
                if key in self._elsewhere:
                    continue  # who reads along begins with them
                found = connection.execute(_ROWS, {"series_id": series_id, "since_s": since_s}).fetchall()
                yield stored_rows(key, found)

    def newest_s(self) -> float:
        """Return the time of the newest row, -inf when there is none."""
        with self._reading() as connection:
            found = [connection.execute(_NEWEST, {"id": item}).scalar() for item in self._ids.values()]
        return max((float(item) for item in found if item is not None), default=-math.inf)

    def heads(self, *, at_most: int) -> list[Block]:
        """Return heads that were observed by this process's name, oldest first within each chain."""
        with self._reading() as connection:
            found = connection.execute(_HEADS, {"writer": self._writer, "at_most": at_most}).mappings()
            return [Block(**row) for row in found]

    def gaps(self, *, at_most: int) -> list[Gap]:
        with self._reading() as connection:
            found = connection.execute(_GAPS, {"writer": self._writer, "at_most": at_most})
            return [Gap(*row) for row in found][::-1]

    def halts(self) -> list[Halt]:
        with self._reading() as connection:
            return [Halt(*row) for row in connection.execute(_HALTS)]

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            self._failure = f"history {self._place.name} cannot be read: {databases.reason(error)}"
            raise InvariantError(self._failure) from None

    def close(self) -> None:
        self._engine.dispose()

    def _writes(self, key: SeriesKey) -> bool:
        return key in self._own if self._writer else key not in self._elsewhere

    def _add(self, item: Observation, kind: RowKind) -> None:
        row = {
            "series_id": self._id(item.key),
            "observed_at_s": float(item.observed_at_s),
            "value": float(item.value) if math.isfinite(item.value) else None,
            "read_at_s": float(item.read_at_s),
            "block_number": item.block_number,
            "why_unknown": item.why_unknown,
            "kind": int(kind),
            "superseded": int(kind is RowKind.ORPHANED),
        }
        self._pending.append((_ADD_ROW, row))

    def _id(self, key: SeriesKey) -> int:
        """Return the number of a series. The place gives it, at once: another program may write it too."""
        found = self._ids.get(key)
        if found is None:
            with self._writing() as connection:
                connection.execute(_ADD_SERIES, {**_named(key), "writer": self._writer})
                found = int(connection.execute(_FIND_SERIES, _named(key)).scalar_one())
            self._ids[key] = found
        return found


def _named(key: SeriesKey) -> dict[str, str]:
    return {"metric": key.metric.value, "subject": key.subject, "source": key.source}


def _ids_of(connection: sa.Connection) -> dict[SeriesKey, int]:
    found = connection.execute(_ALL_SERIES)
    return {SeriesKey(Metric(row[1]), row[2], row[3]): row[0] for row in found if row[1] in METRICS}


def stored_rows(key: SeriesKey, found: Sequence[Any]) -> StoredRows:
    times_s = np.array([row[0] for row in found], dtype=np.float64)
    values = np.array([math.nan if row[1] is None else row[1] for row in found], dtype=np.float64)
    blocks = np.array([NO_BLOCK if row[2] is None else row[2] for row in found], dtype=np.int64)
    last = np.ones(times_s.size, dtype=bool)  # of several rows of one time, as two programs write, the newest
    last[:-1] = times_s[1:] != times_s[:-1]
    return StoredRows(key, times_s[last], values[last], blocks[last])


def _batches(statements: Sequence[Statement]) -> Iterator[tuple[sa.TextClause, list[Mapping[str, Any]]]]:
    """Join neighbours that are the same statement."""
    statement: sa.TextClause | None = None
    rows: list[Mapping[str, Any]] = []
    for following, row in statements:
        if rows and statement is not None and following is not statement:
            yield statement, rows
            rows = []
        statement = following
        rows.append(row)
    if rows and statement is not None:
        yield statement, rows
