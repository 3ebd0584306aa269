"""What a reader asks a shared history in PostgreSQL: new rows, heads and halts of those who write it."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.pipeline.gaps import Halt
from bot.pipeline.history import Change, ChangeKind
from bot.pipeline.history_schema import RowKind
from bot.pipeline.history_store import METRICS, StoredRows, stored_rows

_HEADS_READ = 64  # of each writer; a moment whose clock is behind is joined at an older one

_SERIES = sa.text("SELECT id, metric, subject, source, writer FROM series")
_NEWEST = sa.text("SELECT MAX(observed_at_s) FROM observation WHERE series_id = ANY(:ids) AND superseded = 0")
_NEWEST_ROWS = sa.text(
    "SELECT s.id, (SELECT MAX(o.id) FROM observation AS o WHERE o.series_id = s.id) FROM series AS s "
    "WHERE s.id = ANY(:ids)"
)
_IN_FORCE = sa.text(
    "SELECT observed_at_s, value, block_number FROM observation WHERE series_id = :id "
    "AND observed_at_s >= :since_s AND superseded = 0 ORDER BY observed_at_s, id"
)
_CHANGES = sa.text(
    "SELECT o.id, o.series_id, o.observed_at_s, o.value, o.read_at_s, o.block_number, o.why_unknown, o.kind "
    "FROM unnest(CAST(:ids AS bigint[]), CAST(:after AS bigint[])) AS w(series_id, after_id) "
    "JOIN observation AS o ON o.series_id = w.series_id AND o.id > w.after_id ORDER BY o.id"
)
_HEADS = sa.text(
    "SELECT chain_id, number, hash, parent_hash, timestamp_s FROM heads WHERE writer = :writer "
    "AND chain_id = :chain_id ORDER BY number DESC LIMIT :at_most"
)
_HALTS = sa.text("SELECT chain_id, since_s, why FROM halts WHERE released_at_s IS NULL ORDER BY id")


def series(connection: sa.Connection) -> Iterator[tuple[SeriesKey, int, str]]:
    """Yield every series with its number and the name of who writes it."""
    for row in connection.execute(_SERIES):
        if row.metric in METRICS:
            yield SeriesKey(Metric(row.metric), row.subject, row.source), int(row.id), str(row.writer)


def newest_s(connection: sa.Connection, ids: Collection[int]) -> float:
    """Return the time of the newest row, -inf when there is none."""
    found = connection.execute(_NEWEST, {"ids": list(ids)}).scalar()
    return -math.inf if found is None else float(found)


def newest_rows(connection: sa.Connection, ids: Collection[int]) -> dict[int, int]:
    """Return the number of the newest row of each series, 0 for none."""
    return {int(row[0]): int(row[1] or 0) for row in connection.execute(_NEWEST_ROWS, {"ids": list(ids)})}


def in_force(
    connection: sa.Connection, numbers: Mapping[SeriesKey, int], *, since_s: float
) -> list[StoredRows]:
    """Return the rows of each series that nothing took the place of."""
    return [
        stored_rows(key, connection.execute(_IN_FORCE, {"id": number, "since_s": since_s}).fetchall())
        for key, number in sorted(numbers.items())
    ]


def changes(
    connection: sa.Connection, numbers: Mapping[SeriesKey, int], *, after: Mapping[int, int]
) -> list[tuple[int, int, Change]]:
    """Return what was done to each series after a row of it, in order: row, series and change.

    Rows of one series have one writer, so they are committed in the order of their numbers; rows of two
    series may not be.
    """
    keys = {number: key for key, number in numbers.items()}
    terms = {"ids": list(after), "after": list(after.values())}
    rows = connection.execute(_CHANGES, terms).fetchall()
    return [(int(row.id), int(row.series_id), _change(keys[row.series_id], row)) for row in rows]


def heads(connection: sa.Connection, writer: str, chain_id: int) -> list[Block]:
    """Return the newest heads that a writer has read, oldest first."""
    terms = {"writer": writer, "chain_id": chain_id, "at_most": _HEADS_READ}
    return [Block(**row) for row in connection.execute(_HEADS, terms).mappings()][::-1]


def halts(connection: sa.Connection) -> Sequence[Halt]:
    return [Halt(*row) for row in connection.execute(_HALTS)]


def _change(key: SeriesKey, row: Any) -> Change:
    if row.kind == RowKind.ORPHANED:
        return Change(ChangeKind.ORPHAN, key=key, from_block=int(row.block_number))
    seen = Observation(
        metric=key.metric,
        subject=key.subject,
        source=key.source,
        value=math.nan if row.value is None else float(row.value),
        observed_at_s=float(row.observed_at_s),
        read_at_s=float(row.read_at_s),
        block_number=row.block_number,
        why_unknown=row.why_unknown,
    )
    return Change(ChangeKind.FILL if row.kind == RowKind.FILLED else ChangeKind.APPEND, row=seen)
