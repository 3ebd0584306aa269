"""The durable journal: what was decided, what was signed, what became of it.

SQLite in one file by default (WAL, ``synchronous = FULL``), PostgreSQL by URL. A method that returned has
committed and fsynced one transaction. Rows are never changed; each carries the hash of all rows before
it. One process writes at a time; others read.
"""

import hashlib
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Table, func, insert, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from bot.errors import BotError, ConfigError, InvariantError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.model.intent import IntentEvent
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.pipeline import codec
from bot.pipeline.journal_schema import (
    ACCOUNT_LAYER,
    COVER_LAYER,
    EVENT_TABLES,
    INTENT_EVENTS,
    LEG_EVENTS,
    META,
    METADATA,
    PERPETUAL_LAYER,
    SCHEMA_VERSION,
    STEPS,
    trigger_statements,
)
from bot.pipeline.journal_store import Store, open_store
from bot.pipeline.memory_journal import CLOSING_STATUSES

_GENESIS = "0" * 64
_PAGE = 500
_ROWS_CHECKED_AT_OPEN = 1_000
_IS_PERPETUAL = LEG_EVENTS.c.layer == PERPETUAL_LAYER
_IS_ACCOUNT = LEG_EVENTS.c.layer == ACCOUNT_LAYER
_IS_COVER = LEG_EVENTS.c.layer == COVER_LAYER
_IS_LEG = LEG_EVENTS.c.layer.not_in((PERPETUAL_LAYER, ACCOUNT_LAYER, COVER_LAYER))
_Order = HedgeLeg | PerpetualOrder | AccountOrder | CoverOrder
_Outcome = LegOutcome | PerpetualOutcome | AccountOutcome | CoverOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalIdentity:
    """Whose journal it is. A journal of another mode, chain or account is refused (REL-O5)."""

    mode: str  # "live", "dry-run", "demo", ...
    chain_id: int  # 0 when no chain is involved
    account: str  # "" when no account is involved

    def as_rows(self) -> dict[str, str]:
        return {"mode": self.mode, "chain_id": str(self.chain_id), "account": self.account.lower()}


class SqlJournal:
    """Implements ``ports.Journal``. Safe to call from several threads; every call blocks for its fsync."""

    def __init__(
        self, url: str | Path, *, identity: JournalIdentity | None = None, read_only: bool = False
    ) -> None:
        """Open or create the journal at ``url`` (``sqlite:///file``, ``postgresql://...`` or a path).

        A writer must say whose journal it is and takes the writer's lock; a reader may leave
        ``identity`` out. Raises ConfigError (in use, foreign, damaged, newer, unwritable) and
        NotFoundError (a reader finds nothing), each naming the file; then nothing was written.
        """
        if identity is None and not read_only:
            raise InvariantError("a journal opened for writing needs the identity it belongs to")
        self._lock = threading.RLock()
        self._failure = "" if not read_only else "it is open for reading only"
        self._store: Store = open_store(str(url), read_only=read_only)
        try:
            self._connection: Connection = self._store.connect()
            self._identity = self._prepare(identity, read_only=read_only)
            self._head = self._read_head()
            if not read_only:
                self.verify(last=_ROWS_CHECKED_AT_OPEN)
        except DBAPIError as error:
            self._store.close(discard_new=True)
            raise ConfigError(f"journal {self._store.name} cannot be used: {_reason(error)}") from None
        except BotError:
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
        return {item.name: self._rows(select(func.max(item.c.seq)))[0][0] or 0 for item in EVENT_TABLES}

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
        expected, previous = first, ""
        for seq, table, row in self._merged(first):
            if seq != expected:
                raise InvariantError(f"journal {self._store.name} lost row {expected}: {self._restore_hint}")
            if (previous or (_GENESIS if seq == 1 else row["previous_hash"])) != row["previous_hash"] or (
                row["row_hash"] != _row_hash(table, row)
            ):
                raise InvariantError(
                    f"journal {self._store.name} was changed at row {seq} of {table.name}: "
                    f"{self._restore_hint}"
                )
            expected, previous = seq + 1, row["row_hash"]
        return expected - first

    _restore_hint = "stop, keep the file for inspection and restore a copy"

    def _merged(self, first: int) -> Iterator[tuple[int, Table, dict[str, Any]]]:
        """Yield the rows of all tables in the order they were written."""
        head = self._read_head()[0]
        for start in range(first, head + 1, _PAGE):
            page = [
                (int(row.seq), table, dict(row._mapping))
                for table in EVENT_TABLES
                for row in self._rows(select(table).where(table.c.seq.between(start, start + _PAGE - 1)))
            ]
            yield from sorted(page, key=lambda item: item[0])

    def _read_head(self) -> tuple[int, str]:
        newest = [
            tuple(row)
            for table in EVENT_TABLES
            for row in self._rows(select(table.c.seq, table.c.row_hash).order_by(table.c.seq.desc()).limit(1))
        ]
        return max(newest, default=(0, _GENESIS))

    # the database

    def _append(self, table: Table, what: str, value: object, columns: dict[str, Any]) -> None:
        body = codec.dumps(value)
        with self._lock:
            if self._failure:
                raise InvariantError(
                    f"{what} cannot be written to journal {self._store.name}: {self._failure}"
                )
            row = {**columns, "seq": self._head[0] + 1, "previous_hash": self._head[1], "body": body}
            row["at_s"] = _finite(what, columns["at_s"])
            row["row_hash"] = _row_hash(table, row)
            try:
                with self._connection.begin():
                    self._connection.execute(insert(table).values(row))
            except IntegrityError as error:
                raise InvariantError(f"{what} is refused by the journal: {_reason(error)}") from None
            except DBAPIError as error:
                # After a failed write or fsync nobody knows what is on disk: only a restart may go on.
                self._failure = f"an earlier write failed ({_reason(error)}); restart when it is cured"
                raise InvariantError(
                    f"{what} could not be written to journal {self._store.name}: {_reason(error)}"
                ) from None
            self._head = (row["seq"], row["row_hash"])

    def _rows(self, query: Any) -> list[Any]:
        with self._lock, self._reading():
            return list(self._connection.execute(query))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with self._connection.begin():
                yield
        except DBAPIError as error:
            raise InvariantError(f"journal {self._store.name} cannot be read: {_reason(error)}") from None

    def _prepare(self, identity: JournalIdentity | None, *, read_only: bool) -> JournalIdentity:
        """Create the tables of a new journal, or check that an existing one is ours."""
        with self._connection.begin():
            tables = set(inspect(self._connection).get_table_names())
            if not tables and not read_only and identity is not None:
                self._create(identity)
            elif META.name not in tables:
                found = ", ".join(sorted(tables)[:3]) or "nothing"
                raise ConfigError(f"{self._store.name} is not a journal of this program: it holds {found}")
            stored = {row.key: row.value for row in self._connection.execute(select(META))}
        return self._checked(stored, identity)

    def _create(self, identity: JournalIdentity) -> None:
        METADATA.create_all(self._connection)
        rows = {"schema_version": str(SCHEMA_VERSION), **identity.as_rows()}
        self._connection.execute(insert(META), [{"key": key, "value": rows[key]} for key in rows])
        for statement in trigger_statements(self._connection.dialect.name):
            self._connection.exec_driver_sql(statement)

    def _checked(self, stored: dict[str, str], identity: JournalIdentity | None) -> JournalIdentity:
        version = stored.get("schema_version", "none")
        if version != str(SCHEMA_VERSION):
            raise ConfigError(
                f"journal {self._store.name} has schema {version}, this program reads {SCHEMA_VERSION}: "
                "use the program version that wrote it, or another file"
            )
        for field, wanted in identity.as_rows().items() if identity else ():
            if stored.get(field) != wanted:
                raise ConfigError(
                    f"journal {self._store.name} belongs to {field} {stored.get(field)!r}, not {wanted!r}: "
                    "name another journal file"
                )
        return JournalIdentity(
            mode=stored["mode"], chain_id=int(stored["chain_id"]), account=stored["account"]
        )

    def count(self) -> dict[str, int]:
        """Return the number of rows of each event table."""
        return {
            table.name: int(self._rows(select(func.count()).select_from(table))[0][0])
            for table in EVENT_TABLES
        }


def _row_hash(table: Table, row: dict[str, Any]) -> str:
    """Return SHA-256 over the table's name and every column but the hash itself."""
    content = {name: row[name] for name in table.columns.keys() if name != "row_hash"}  # noqa: SIM118
    text = json.dumps([table.name, content], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _finite(what: str, at_s: float) -> float:
    if not math.isfinite(at_s):
        raise InvariantError(f"{what} needs a time in seconds, was {at_s}")
    return float(at_s)


def _reason(error: DBAPIError) -> str:
    """Return the database's own words on one line, without the statement and its values."""
    diagnosis = getattr(error.orig, "diag", None)
    text = getattr(diagnosis, "message_primary", None) or str(error.orig)
    return " ".join(text.split())
