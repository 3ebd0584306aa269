"""The durable journal: what was decided, what was signed, what became of it.

SQLite in one file by default (WAL, ``synchronous = FULL``), PostgreSQL by URL. A method that returned has
committed and fsynced one transaction. Rows are never changed; each carries the hash of all rows before
it. One process writes at a time; others read.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from bot.errors import ConfigError, InvariantError, NoSpaceError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.model.intent import IntentEvent
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.pipeline import codec
from bot.pipeline.databases import is_full, reason
from bot.pipeline.journal_chain import GENESIS, Pruned, check_chain, row_hash
from bot.pipeline.journal_opening import JournalIdentity as JournalIdentity
from bot.pipeline.journal_opening import prepare
from bot.pipeline.journal_pruning import Archive, PruneResult, pruned_of, row_of, stretches
from bot.pipeline.journal_schema import (
    ACCOUNT_LAYER,
    COVER_LAYER,
    INTENT_EVENTS,
    LEG_EVENTS,
    PERPETUAL_LAYER,
    PRUNINGS,
    STEPS,
)
from bot.pipeline.journal_store import Store, open_store
from bot.pipeline.memory_journal import CLOSING_STATUSES

_PAGE = 500
_ROWS_CHECKED_AT_OPEN = 1_000
_IS_PERPETUAL = LEG_EVENTS.c.layer == PERPETUAL_LAYER
_IS_ACCOUNT = LEG_EVENTS.c.layer == ACCOUNT_LAYER
_IS_COVER = LEG_EVENTS.c.layer == COVER_LAYER
_IS_LEG = LEG_EVENTS.c.layer.not_in((PERPETUAL_LAYER, ACCOUNT_LAYER, COVER_LAYER))
_Order = HedgeLeg | PerpetualOrder | AccountOrder | CoverOrder
_Outcome = LegOutcome | PerpetualOutcome | AccountOutcome | CoverOutcome


class SqlJournal:
    """Implements ``ports.Journal``. Safe to call from several threads; every call blocks for its fsync."""

    def __init__(
        self,
        url: str | Path,
        *,
        identity: JournalIdentity | None = None,
        read_only: bool = False,
        schema: str = "",  # of PostgreSQL; what the URL's own connections see where none is named
        upgrade: bool = False,  # an older schema is taken up, and not refused
    ) -> None:
        """Open or create the journal at ``url`` (``sqlite:///file``, ``postgresql://...`` or a path).

        A writer must say whose journal it is and takes the writer's lock; a reader may leave
        ``identity`` out. Raises ConfigError (in use, foreign, damaged, newer, unwritable), NoSpaceError and
        NotFoundError (a reader finds nothing), each naming the file; then nothing was written.
        """
        if identity is None and not read_only and not upgrade:
            raise InvariantError("a journal opened for writing needs the identity it belongs to")
        self._lock = threading.RLock()
        self.on_closed: Callable[[_Outcome], None] = lambda _: None  # hears of what has just become durable
        self._failure = "" if not read_only else "it is open for reading only"
        self._store: Store = open_store(str(url), read_only=read_only, schema=schema)
        try:
            self._connection: Connection = self._store.connect()
            with self._connection.begin():
                opened = prepare(
                    self._connection, identity, name=self._store.name, read_only=read_only, upgrade=upgrade
                )
            self._identity, self._tables, self._revision = opened.identity, opened.tables, opened.revision
            self._head = self._read_head()
            if not read_only:
                self.verify(last=_ROWS_CHECKED_AT_OPEN)
        except DBAPIError as error:
            kind = NoSpaceError if self._store.is_full(error) else ConfigError
            self._store.close(discard_new=True)
            raise kind(f"journal {self._store.name} cannot be used: {reason(error)}") from None
        except BaseException:
            self._store.close(discard_new=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SqlJournal({self._store.name!r})"

    @property
    def identity(self) -> JournalIdentity:
        return self._identity

    @property
    def where(self) -> str:
        """The file or database, without a password."""
        return self._store.name

    @property
    def revision(self) -> str:
        """Which schema it has (bot/pipeline/migrations)."""
        return self._revision

    def is_written_by_another(self) -> bool:
        """True while another process holds the writer's lock."""
        with self._lock:
            return bool(self._store.other_writer())

    def close(self) -> None:
        """Release the file and the writer's lock. Safe to call twice."""
        with self._lock:
            self._failure = self._failure or "it was closed"
            self._store.close()

    # legs

    def open_leg(self, leg: HedgeLeg, *, at_s: float) -> None:
        self._open_order(leg, leg.layer.value, at_s)

    def close_leg(self, outcome: LegOutcome) -> None:
        """Record an outcome. FILLED, PARTIAL and REJECTED close the leg; any other is only noted."""
        self._close_order(outcome.leg, outcome.leg.layer.value, outcome)

    def open_legs(self) -> tuple[HedgeLeg, ...]:
        return tuple(codec.loads(HedgeLeg, body) for body in self._open_bodies(_IS_LEG))

    def outcomes(self) -> tuple[LegOutcome, ...]:
        return tuple(codec.loads(LegOutcome, body) for body in self._closed_bodies(_IS_LEG))

    # other orders: rows of the same table under a layer of their own, so that the same rules hold

    def open_perpetual(self, order: PerpetualOrder, *, at_s: float) -> None:
        self._open_order(order, PERPETUAL_LAYER, at_s)

    def close_perpetual(self, outcome: PerpetualOutcome) -> None:
        """Record an outcome, as ``close_leg`` does."""
        self._close_order(outcome.order, PERPETUAL_LAYER, outcome)

    def open_perpetuals(self) -> tuple[PerpetualOrder, ...]:
        return tuple(codec.loads(PerpetualOrder, body) for body in self._open_bodies(_IS_PERPETUAL))

    def perpetual_outcomes(self) -> tuple[PerpetualOutcome, ...]:
        return tuple(codec.loads(PerpetualOutcome, body) for body in self._closed_bodies(_IS_PERPETUAL))

    def open_account_order(self, order: AccountOrder, *, at_s: float) -> None:
        self._open_order(order, ACCOUNT_LAYER, at_s)

    def close_account_order(self, outcome: AccountOutcome) -> None:
        """Record an outcome, as ``close_leg`` does."""
        self._close_order(outcome.order, ACCOUNT_LAYER, outcome)

    def open_account_orders(self) -> tuple[AccountOrder, ...]:
        return tuple(codec.loads(AccountOrder, body) for body in self._open_bodies(_IS_ACCOUNT))

    def account_outcomes(self) -> tuple[AccountOutcome, ...]:
        return tuple(codec.loads(AccountOutcome, body) for body in self._closed_bodies(_IS_ACCOUNT))

    def open_cover(self, order: CoverOrder, *, at_s: float) -> None:
        self._open_order(order, COVER_LAYER, at_s)

    def close_cover(self, outcome: CoverOutcome) -> None:
        """Record an outcome, as ``close_leg`` does."""
        self._close_order(outcome.order, COVER_LAYER, outcome)

    def open_covers(self) -> tuple[CoverOrder, ...]:
        return tuple(codec.loads(CoverOrder, body) for body in self._open_bodies(_IS_COVER))

    def cover_outcomes(self) -> tuple[CoverOutcome, ...]:
        return tuple(codec.loads(CoverOutcome, body) for body in self._closed_bodies(_IS_COVER))

    def _open_order(self, order: _Order, layer: str, at_s: float) -> None:
        row = {"key": order.key, "hedge_group": order.group, "layer": layer, "kind": "opened"}
        self._append(LEG_EVENTS, f"order {order.key}", order, {**row, "at_s": at_s})

    def _close_order(self, order: _Order, layer: str, outcome: _Outcome) -> None:
        kind = "closed" if outcome.status in CLOSING_STATUSES else "noted"
        row = {"key": order.key, "hedge_group": order.group, "layer": layer, "kind": kind}
        self._append(LEG_EVENTS, f"order {order.key}", outcome, {**row, "at_s": outcome.at_s})
        if kind == "closed":
            self.on_closed(outcome)

    def _open_bodies(self, kind: ColumnElement[bool]) -> list[str]:
        table = LEG_EVENTS.c
        closed = select(table.key).where(table.kind == "closed")
        query = select(table.body).where(kind, table.kind == "opened", table.key.not_in(closed))
        return [row.body for row in self._rows(query.order_by(table.seq))]

    def _closed_bodies(self, kind: ColumnElement[bool]) -> list[str]:
        table = LEG_EVENTS.c
        query = select(table.body).where(kind, table.kind == "closed").order_by(table.seq)
        return [row.body for row in self._rows(query)]

    # intents

    def append_intent(self, event: IntentEvent) -> None:
        columns = ("key", "leg_key", "chain_id", "sender", "nonce", "at_s")
        row = {name: getattr(event, name) for name in columns}
        what = f"intent {event.key} ({event.state}, nonce {event.nonce})"
        self._append(INTENT_EVENTS, what, event, {**row, "state": event.state.value})

    def intents(self, leg_key: str | None = None) -> tuple[IntentEvent, ...]:
        query = select(INTENT_EVENTS.c.body).order_by(INTENT_EVENTS.c.seq)
        if leg_key is not None:
            query = query.where(INTENT_EVENTS.c.leg_key == leg_key)
        return tuple(codec.loads(IntentEvent, row.body) for row in self._rows(query))

    # steps

    def append_step(self, record: StepRecord) -> None:
        row = {"sequence": record.sequence, "is_heartbeat": record.is_heartbeat}
        self._append(STEPS, f"step {record.sequence}", record, {**row, "at_s": record.decision.now_s})

    def last_step(self) -> StepRecord | None:
        rows = self._rows(select(STEPS.c.body).order_by(STEPS.c.seq.desc()).limit(1))
        return codec.loads(StepRecord, rows[0].body) if rows else None

    def step_until(
        self, *, at_s: float = math.inf, sequence: int | None = None, full: bool = False
    ) -> StepRecord | None:
        """Return the newest step at or before a time and a sequence number; ``full``: no heartbeat."""
        query = select(STEPS.c.body).order_by(STEPS.c.seq.desc()).limit(1)
        if math.isfinite(at_s):
            query = query.where(STEPS.c.at_s <= at_s)
        if sequence is not None:
            query = query.where(STEPS.c.sequence <= sequence)
        rows = self._rows(query.where(STEPS.c.is_heartbeat.is_(False)) if full else query)
        return codec.loads(StepRecord, rows[0].body) if rows else None

    def newest_rows(self) -> dict[str, int]:
        """Return the number of each table's newest row, 0 where there is none: what is news since a look."""
        return {item.name: self._rows(select(func.max(item.c.seq)))[0][0] or 0 for item in self._tables}

    def steps(self, *, since_s: float = 0.0, full: bool = False) -> Iterator[StepRecord]:
        """Yield the steps decided at or after ``since_s``, read in pages; ``full``: no heartbeat."""
        kinds = (False,) if full else (False, True)
        after = 0
        while True:
            query = select(STEPS.c.seq, STEPS.c.body).where(STEPS.c.seq > after, STEPS.c.at_s >= since_s)
            query = query.where(STEPS.c.is_heartbeat.in_(kinds))
            page = self._rows(query.order_by(STEPS.c.seq).limit(_PAGE))
            for row in page:
                yield codec.loads(StepRecord, row.body)
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    # the chain of hashes

    def verify(self, *, last: int | None = None) -> int:
        """Check that no row was changed, added or removed; return how many were checked.

        ``last`` limits the check to the newest rows. Rows cut off at the end cannot be seen from
        within; the transaction manager sees them as a chain nonce that is ahead of the journal.
        Raises InvariantError naming the first row that does not fit.
        """
        first = max(1, self._read_head()[0] - last + 1) if last is not None else 1
        return check_chain(self._merged(first), self._gone(first), first=first, name=self._store.name)

    def _gone(self, first: int) -> list[Pruned]:
        """Return the stretches that left from a row on; rows of the chain vouch for them."""
        if PRUNINGS not in self._tables:
            return []
        query = select(PRUNINGS).where(PRUNINGS.c.last_seq >= first).order_by(PRUNINGS.c.first_seq)
        return [pruned_of(row) for row in self._rows(query)]

    def prune(
        self, *, before_s: float, at_s: float, archive: Callable[[Iterator[list[dict[str, Any]]]], Archive]
    ) -> PruneResult:
        """Let heartbeats of before a time leave; ``archive`` has them on disk when it returns.

        The whole journal is verified first. All leave in one transaction, or none. Raises InvariantError.
        """
        self.verify()
        table, last = STEPS.c, self.last_step()
        if last is None:
            return PruneResult(rows=0, stretches=0)
        leaving = (table.is_heartbeat.is_(True), table.at_s < before_s, table.sequence < last.sequence)
        columns = select(table.seq, table.previous_hash, table.row_hash).where(*leaving)
        parts = list(stretches(tuple(row) for row in self._rows(columns.order_by(table.seq))))
        if not parts:
            return PruneResult(rows=0, stretches=0)
        kept = archive(self._pages(select(STEPS).where(*leaving)))
        self._insert([row_of(part, kept, at_s=at_s) for part in parts], parts)
        rows = sum(part.last_seq - part.first_seq + 1 for part in parts)
        return PruneResult(rows=rows, stretches=len(parts), archive=kept)

    def _insert(self, rows: list[dict[str, Any]], parts: list[Pruned]) -> None:
        """Append rows of prunings and delete what they stand for, in one transaction."""
        with self._lock:
            head = self._head
            with self._writing("heartbeats") as connection:
                for row, part in zip(rows, parts, strict=True):
                    head = self._chained(PRUNINGS, row, head)
                    connection.execute(insert(PRUNINGS).values(row))
                    inside = STEPS.c.seq.between(part.first_seq, part.last_seq)
                    connection.execute(delete(STEPS).where(inside))
            self._head = head

    def _pages(self, query: Select[Any]) -> Iterator[list[dict[str, Any]]]:
        after = 0
        while page := self._rows(query.where(STEPS.c.seq > after).order_by(STEPS.c.seq).limit(_PAGE)):
            yield [dict(row._mapping) for row in page]
            after = page[-1].seq

    def _merged(self, first: int) -> Iterator[tuple[int, Table, dict[str, Any]]]:
        """Yield the rows of all tables in the order they were written."""
        head = self._read_head()[0]
        for start in range(first, head + 1, _PAGE):
            page = [
                (int(row.seq), table, dict(row._mapping))
                for table in self._tables
                for row in self._rows(select(table).where(table.c.seq.between(start, start + _PAGE - 1)))
            ]
            yield from sorted(page, key=lambda item: item[0])

    def _read_head(self) -> tuple[int, str]:
        newest = [
            tuple(row)
            for table in self._tables
            for row in self._rows(select(table.c.seq, table.c.row_hash).order_by(table.c.seq.desc()).limit(1))
        ]
        return max(newest, default=(0, GENESIS))

    # the database

    def _append(self, table: Table, what: str, value: object, columns: dict[str, Any]) -> None:
        body = codec.dumps(value)
        with self._lock:
            row = {**columns, "body": body, "at_s": _finite(what, columns["at_s"])}
            head = self._chained(table, row, self._head)
            with self._writing(what) as connection:
                connection.execute(insert(table).values(row))
            self._head = head

    @staticmethod
    def _chained(table: Table, row: dict[str, Any], head: tuple[int, str]) -> tuple[int, str]:
        """Bind a row to the one before it; return the new head."""
        row |= {"seq": head[0] + 1, "previous_hash": head[1]}
        row["row_hash"] = row_hash(table, row)
        return row["seq"], row["row_hash"]

    @contextmanager
    def _writing(self, what: str) -> Iterator[Connection]:
        """Open a transaction. When it fails for another reason than the journal's rules, none follows."""
        if self._failure:
            raise InvariantError(f"{what} cannot be written to journal {self._store.name}: {self._failure}")
        try:
            with self._connection.begin():
                yield self._connection
        except IntegrityError as error:
            raise InvariantError(f"{what} is refused by the journal: {reason(error)}") from None
        except DBAPIError as error:
            # After a failed write or fsync nobody knows what is on disk: only a restart may go on.
            self._failure = f"an earlier write failed ({reason(error)}); restart when it is cured"
            kind = NoSpaceError if is_full(error) else InvariantError
            raise kind(
                f"{what} could not be written to journal {self._store.name}: {reason(error)}"
            ) from None

    def _rows(self, query: Any) -> list[Any]:
        with self._lock, self._reading():
            return list(self._connection.execute(query))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with self._connection.begin():
                yield
        except DBAPIError as error:
            if error.connection_invalidated:  # a new one, which SQLAlchemy makes, does not hold the lock
                self._failure = self._failure or f"its connection was lost ({reason(error)}); restart"
            raise InvariantError(f"journal {self._store.name} cannot be read: {reason(error)}") from None

    def count(self) -> dict[str, int]:
        """Return the number of rows of each event table."""
        return {
            table.name: int(self._rows(select(func.count()).select_from(table))[0][0])
            for table in self._tables
        }


def _finite(what: str, at_s: float) -> float:
    if not math.isfinite(at_s):
        raise InvariantError(f"{what} needs a time in seconds, was {at_s}")
    return float(at_s)
