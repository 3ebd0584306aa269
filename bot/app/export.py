"""Tables of what was observed, decided and done, for a spreadsheet or a program."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bot.app.stores import history_place, open_journal
from bot.app.table_files import Kind, Row, Table, TableFormat, write_table
from bot.errors import ConfigError, NotFoundError, TransientError
from bot.model.account_order import AccountOutcome
from bot.model.cover import CoverOutcome
from bot.model.hedge import LegOutcome
from bot.model.intent import IntentEvent
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.pipeline.databases import reason
from bot.pipeline.history_schema import RowKind
from bot.pipeline.journal import SqlJournal
from bot.settings import Settings

_PAGE = 1_000
_OBSERVATIONS = sa.text(
    "SELECT o.id, o.observed_at_s, s.metric, s.subject, s.source, o.value, o.block_number, o.read_at_s, "
    "o.why_unknown, o.kind, o.superseded FROM observation AS o JOIN series AS s ON s.id = o.series_id "
    "WHERE o.id > :after AND o.observed_at_s >= :from_s AND o.observed_at_s < :until_s "
    "AND o.kind <> :orphaned ORDER BY o.id LIMIT :at_most"
)
_T, _N, _W, _F, _AT = Kind.TEXT, Kind.NUMBER, Kind.WHOLE, Kind.FLAG, Kind.TIME

STEP_COLUMNS = (
    ("sequence", _W), ("decided_at_utc", _AT), ("mode", _T), ("is_heartbeat", _F), ("tier", _T),
    ("groups", _T), ("blocks", _T), ("exposure_usd", _N), ("hedge_usd", _N), ("perpetual_usd", _N),
    ("cash_flow_usd", _N), ("spot_usd", _T), ("holds", _T), ("policy_hash", _T), ("frame_hash", _T),
    ("indicative", _F),
)  # fmt: skip
READING_COLUMNS = (
    ("sequence", _W), ("decided_at_utc", _AT), ("signal", _T), ("name", _T), ("subject", _T), ("family", _T),
    ("value", _N), ("unit", _T), ("score", _N), ("quality", _T), ("source", _T), ("observed_at_utc", _AT),
    ("because", _T),
)  # fmt: skip
ORDER_COLUMNS = (
    ("ended_at_utc", _AT), ("kind", _T), ("key", _T), ("group", _T), ("what", _T), ("side", _T), ("size", _N),
    ("status", _T), ("premium_usd", _N), ("fee_usd", _N), ("swap_usd", _N), ("gas_usd", _N), ("tx_hash", _T),
    ("block_number", _W), ("indicative", _F), ("because", _T),
)  # fmt: skip
INTENT_COLUMNS = (
    ("at_utc", _AT), ("key", _T), ("order_key", _T), ("purpose", _T), ("state", _T), ("chain_id", _W),
    ("sender", _T), ("nonce", _W), ("to", _T), ("tx_hash", _T), ("block_number", _W), ("gas_cost_wei", _T),
    ("valid_until_utc", _AT), ("because", _T),
)  # fmt: skip
OBSERVATION_COLUMNS = (
    ("observed_at_utc", _AT), ("metric", _T), ("subject", _T), ("source", _T), ("value", _N),
    ("block_number", _W), ("read_at_utc", _AT), ("why_unknown", _T), ("is_filled", _F), ("is_superseded", _F),
)  # fmt: skip


class Exported(StrEnum):
    """The tables there are."""

    STEPS = "steps"
    ORDERS = "orders"
    INTENTS = "intents"
    READINGS = "readings"
    OBSERVATIONS = "observations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One file that was written."""

    table: str
    path: Path
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From a time on and before another, in seconds since the epoch."""

    from_s: float = -math.inf
    until_s: float = math.inf

    def holds(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.until_s


def export(
    settings: Settings,
    *,
    mode: str,
    tables: Sequence[Exported],
    span: Span,
    form: TableFormat,
    output: Path,
    force: bool,
    tell: Callable[[Written], None] = lambda _: None,
) -> tuple[Written, ...]:
    """Write tables, each to a file; ``output`` is the file of one, or the folder of several.

    Raises ConfigError for a file that is there, NotFoundError where no run has begun.
    """
    if span.from_s >= span.until_s:
        raise ConfigError("--from must be before --to; exchange them")
    paths = {table: _path(output, table, form, alone=len(tables) == 1) for table in tables}
    for path in paths.values():
        if path.exists() and not force:
            raise ConfigError(f"{path} exists already: name another, or add --force to replace it")
    done = []
    with ExitStack() as stack:
        journal = None
        if set(tables) - {Exported.OBSERVATIONS}:
            journal = stack.enter_context(open_journal(settings, mode=mode, read_only=True))
        for table, path in paths.items():
            if journal is None or table is Exported.OBSERVATIONS:
                found = _observations(settings, span)
            else:
                found = _of_journal(table, journal, span)
            rows = write_table(found, path, form, force=force)
            done.append(Written(table=table.value, path=path, rows=rows))
            tell(done[-1])
    return tuple(done)


def _path(output: Path, table: Exported, form: TableFormat, *, alone: bool) -> Path:
    if alone and not output.is_dir() and output.suffix == f".{form.value}":
        return output
    if output.suffix in (".csv", ".parquet") and not output.is_dir():
        why = f"--format is {form.value}" if alone else "several tables need a folder"
        raise ConfigError(f"--output {output}: {why}; name a folder, or one table and its file")
    return output / f"{table.value}.{form.value}"


def _of_journal(table: Exported, journal: SqlJournal, span: Span) -> Table:
    columns, rows = {
        Exported.STEPS: (STEP_COLUMNS, _steps),
        Exported.READINGS: (READING_COLUMNS, _readings),
        Exported.ORDERS: (ORDER_COLUMNS, _orders),
        Exported.INTENTS: (INTENT_COLUMNS, _intents),
    }[table]
    return Table(name=table.value, columns=columns, pages=_paged(rows(journal, span)))


def _paged(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    following = iter(rows)
    while page := list(islice(following, _PAGE)):
        yield page


def _steps_in(journal: SqlJournal, span: Span) -> Iterator[StepRecord]:
    since_s = max(span.from_s, 0.0)
    return (item for item in journal.steps(since_s=since_s) if span.holds(item.decision.now_s))


def _steps(journal: SqlJournal, span: Span) -> Iterator[Row]:
    for item in _steps_in(journal, span):
        said = item.decision
        yield (
            item.sequence, said.now_s, item.mode, item.is_heartbeat,
            max(group.shown_tier for group in said.groups).name if said.groups else None,
            "; ".join(f"{group.group} {group.shown_tier.name}" for group in said.groups),
            "; ".join(f"{chain} {number}" for chain, number in said.blocks.items()),
            math.fsum(item.exposure_value_usd.values()), item.hedge_value_usd, item.perpetual_value_usd,
            item.cash_flow_usd, "; ".join(f"{name} {value}" for name, value in item.spot_usd.items()),
            "; ".join(said.holds), said.policy_hash, item.frame_hash, item.indicative,
        )  # fmt: skip


def _readings(journal: SqlJournal, span: Span) -> Iterator[Row]:
    """Yield those of full steps: a heartbeat repeats the ones before it."""
    for item in _steps_in(journal, span):
        for read in item.decision.readings:
            yield (
                item.sequence, item.decision.now_s, read.signal, read.name, read.subject, read.family.value,
                read.value, read.unit, read.score, read.quality.value, read.source, read.observed_at_s,
                read.because,
            )  # fmt: skip


def _orders(journal: SqlJournal, span: Span) -> Iterator[Row]:
    rows = [
        *map(_option, journal.outcomes()),
        *map(_perpetual, journal.perpetual_outcomes()),
        *map(_account, journal.account_outcomes()),
        *map(_cover, journal.cover_outcomes()),
    ]
    return (row for row in sorted(rows, key=lambda row: float(row[0])) if span.holds(row[0]))


def _option(item: LegOutcome) -> tuple[Any, ...]:
    leg = item.leg
    return (
        item.at_s, "option", leg.key, leg.group, leg.instrument.label, str(leg.side), item.filled_size,
        str(item.status), item.premium_usd, item.fee_usd, item.swap_usd, item.gas_usd, item.tx_hash,
        item.block_number, item.indicative, item.because,
    )  # fmt: skip


def _perpetual(item: PerpetualOutcome) -> tuple[Any, ...]:
    order = item.order
    return (
        item.at_s, "perpetual", order.key, order.group, order.perpetual.id, str(order.action),
        item.filled_size, str(item.status), None, item.fee_usd, None, item.gas_usd, item.tx_hash,
        item.block_number, item.indicative, item.because,
    )  # fmt: skip


def _account(item: AccountOutcome) -> tuple[Any, ...]:
    order = item.order
    return (
        item.at_s, "account", order.key, order.group, order.subject, str(order.action), None,
        str(item.status), None, None, None, item.gas_usd, item.tx_hash, item.block_number, False,
        item.because,
    )  # fmt: skip


def _cover(item: CoverOutcome) -> tuple[Any, ...]:
    order = item.order
    return (
        item.at_s, "cover", order.key, order.group, item.cover_id, "BUY", order.amount_usd, str(item.status),
        item.premium_usd, None, None, item.gas_usd, item.tx_hash, item.block_number, False, item.because,
    )  # fmt: skip


def _intents(journal: SqlJournal, span: Span) -> Iterator[Row]:
    return (_intent(item) for item in journal.intents() if span.holds(item.at_s))


def _intent(item: IntentEvent) -> Row:
    return (
        item.at_s, item.key, item.leg_key, item.purpose, item.state.value, item.chain_id, item.sender,
        item.nonce, item.to, item.tx_hash, item.block_number or None, item.gas_cost_wei,
        item.valid_until_s or None, item.because,
    )  # fmt: skip


def _observations(settings: Settings, span: Span) -> Table:
    engine = history_place(settings).open_reader(who="alvh export")
    if engine is None:
        raise NotFoundError(f"history {history_place(settings).name} holds nothing yet; start alvh monitor")
    return Table(name=Exported.OBSERVATIONS.value, columns=OBSERVATION_COLUMNS, pages=_observed(engine, span))


def _observed(engine: sa.Engine, span: Span) -> Iterator[Sequence[Row]]:
    after = 0
    terms = {
        "from_s": span.from_s,
        "until_s": span.until_s,
        "orphaned": int(RowKind.ORPHANED),
        "at_most": _PAGE,
    }
    try:
        while True:
            with engine.connect() as connection:
                found = connection.execute(_OBSERVATIONS, {"after": after, **terms}).fetchall()
            if not found:
                return
            after = found[-1][0]
            yield [(*row[1:9], row.kind == RowKind.FILLED, bool(row.superseded)) for row in found]
    except sa.exc.DBAPIError as error:
        raise TransientError(f"the history cannot be read: {reason(error)}; nothing was written") from None
    finally:
        engine.dispose()
