# ruff: noqa: S608 - every part of the SQL below is a constant of this file
"""Tables of the journal and the rules that the database itself enforces on them.

Every table is append-only. The rules are triggers and not only Python, so that a second program, a
careless script or a bug above cannot give one nonce to two intents or open a layer twice.
"""

from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from bot.model.intent import CLOSED_STATES

SCHEMA_VERSION = 2  # of bot/pipeline/migrations; also a row of meta, which programs of before look at
PERPETUAL_LAYER = "PERPETUAL"  # in place of a layer: orders for perpetuals stand beside the layers (R27)
ACCOUNT_LAYER = "ACCOUNT"  # likewise: withdrawals of positions and payments for loans (R21, R29)
COVER_LAYER = "COVER"  # likewise: purchases of cover (R20); their group is the covered protocol
METADATA = MetaData()
_BIG = BigInteger().with_variant(Integer, "sqlite")


def _chained() -> tuple[Column[int], Column[str], Column[str], Column[str]]:
    """Columns of every event table. ``seq`` counts over all tables, so a hole anywhere shows."""
    return (
        Column("seq", _BIG, primary_key=True, autoincrement=False),
        Column("body", Text, nullable=False),  # the whole value, see codec.py
        Column("previous_hash", String(64), nullable=False),
        Column("row_hash", String(64), nullable=False, unique=True),
    )


META = Table(
    "meta",
    METADATA,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)
LEG_EVENTS = Table(
    "leg_events",
    METADATA,
    *_chained(),
    Column("key", Text, nullable=False),
    Column("hedge_group", Text, nullable=False),
    Column("layer", Text, nullable=False),
    Column("kind", String(10), nullable=False),  # opened, noted, closed
    Column("at_s", Float(53), nullable=False),
    Index("leg_events_by_key", "key", "kind"),
    Index("leg_events_by_layer", "hedge_group", "layer"),
)
INTENT_EVENTS = Table(
    "intent_events",
    METADATA,
    *_chained(),
    Column("key", Text, nullable=False),
    Column("leg_key", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("chain_id", _BIG, nullable=False),
    Column("sender", String(42), nullable=False),
    Column("nonce", _BIG, nullable=False),
    Column("at_s", Float(53), nullable=False),
    Index("intent_events_by_key", "key", "state"),
    Index("intent_events_by_leg", "leg_key"),
    Index("intent_events_by_nonce", "chain_id", "sender", "nonce"),
)
STEPS = Table(
    "steps",
    METADATA,
    *_chained(),
    Column("sequence", _BIG, nullable=False, unique=True),
    Column("at_s", Float(53), nullable=False),
    Column("is_heartbeat", Boolean, nullable=False),
    Index("steps_by_time", "at_s"),
)
PRUNINGS = Table(  # stretches of heartbeats that left (journal_pruning.py), with the hashes on both sides
    "prunings",
    METADATA,
    *_chained(),
    Column("first_seq", _BIG, nullable=False),
    Column("last_seq", _BIG, nullable=False),
    Column("at_s", Float(53), nullable=False),
    Index("prunings_by_first", "first_seq"),
)
EVENT_TABLES = (LEG_EVENTS, INTENT_EVENTS, STEPS, PRUNINGS)


class Rule(NamedTuple):
    """A row of ``table`` for which ``broken`` holds is refused with ``message``."""

    table: str
    message: str
    broken: str  # SQL over NEW


_CLOSED = ", ".join(f"'{state}'" for state in sorted(CLOSED_STATES))
_LEG_OPENED = "SELECT 1 FROM leg_events AS o WHERE o.kind = 'opened'"
_LEG_NOT_CLOSED = "NOT EXISTS (SELECT 1 FROM leg_events AS c WHERE c.key = o.key AND c.kind = 'closed')"
_INTENT_RESERVED = "SELECT 1 FROM intent_events AS o WHERE o.state = 'reserved'"
_INTENT_NOT_CLOSED = (
    f"NOT EXISTS (SELECT 1 FROM intent_events AS c WHERE c.key = o.key AND c.state IN ({_CLOSED}))"
)
_LEAVING = "o.seq BETWEEN NEW.first_seq AND NEW.last_seq"

RULES = (
    Rule(
        "leg_events",
        "the leg is in the journal already; a leg is executed once",
        "NEW.kind = 'opened' AND EXISTS (SELECT 1 FROM leg_events AS o WHERE o.key = NEW.key)",
    ),
    Rule(
        "leg_events",
        "another leg of the same group and layer is still open",
        f"NEW.kind = 'opened' AND EXISTS ({_LEG_OPENED} AND o.hedge_group = NEW.hedge_group"
        f" AND o.layer = NEW.layer AND {_LEG_NOT_CLOSED})",
    ),
    Rule(
        "leg_events",
        "the leg is not open in the journal",
        f"NEW.kind <> 'opened' AND NOT EXISTS ({_LEG_OPENED} AND o.key = NEW.key AND {_LEG_NOT_CLOSED})",
    ),
    Rule(
        "leg_events",
        "a transaction of the leg is still open, so its outcome is not known",
        f"NEW.kind = 'closed' AND EXISTS ({_INTENT_RESERVED} AND o.leg_key = NEW.key"
        f" AND {_INTENT_NOT_CLOSED})",
    ),
    Rule(
        "intent_events",
        "an intent begins, once, with a reserved nonce",
        "(NEW.state = 'reserved') = EXISTS (SELECT 1 FROM intent_events AS o WHERE o.key = NEW.key)",
    ),
    Rule(
        "intent_events",
        "the intent is closed",
        f"EXISTS (SELECT 1 FROM intent_events AS o WHERE o.key = NEW.key AND o.state IN ({_CLOSED}))",
    ),
    Rule(
        "intent_events",
        "the intent holds another nonce, account or leg",
        "EXISTS (SELECT 1 FROM intent_events AS o WHERE o.key = NEW.key AND (o.chain_id <> NEW.chain_id"
        " OR o.sender <> NEW.sender OR o.nonce <> NEW.nonce OR o.leg_key <> NEW.leg_key))",
    ),
    Rule(
        "intent_events",
        "the nonce belongs to another intent",
        f"NEW.state = 'reserved' AND EXISTS ({_INTENT_RESERVED} AND o.chain_id = NEW.chain_id"
        " AND o.sender = NEW.sender AND o.nonce = NEW.nonce AND NOT EXISTS"
        " (SELECT 1 FROM intent_events AS c WHERE c.key = o.key AND c.state = 'released'))",
    ),
    Rule(
        "intent_events",
        "another transaction of the same account is still open",
        f"NEW.state = 'reserved' AND EXISTS ({_INTENT_RESERVED} AND o.chain_id = NEW.chain_id"
        f" AND o.sender = NEW.sender AND {_INTENT_NOT_CLOSED})",
    ),
    Rule(
        "intent_events",
        "its leg is not open in the journal; the budget is reserved before the nonce",
        f"NEW.state = 'reserved' AND NOT EXISTS ({_LEG_OPENED} AND o.key = NEW.leg_key"
        f" AND {_LEG_NOT_CLOSED})",
    ),
    Rule(
        "steps",
        "a later step is in the journal already",
        "EXISTS (SELECT 1 FROM steps AS o WHERE o.sequence >= NEW.sequence)",
    ),
    Rule(
        "prunings",
        "only heartbeats may leave the journal",
        f"NEW.first_seq > NEW.last_seq OR EXISTS (SELECT 1 FROM leg_events AS o WHERE {_LEAVING})"
        f" OR EXISTS (SELECT 1 FROM intent_events AS o WHERE {_LEAVING})"
        f" OR EXISTS (SELECT 1 FROM prunings AS o WHERE {_LEAVING})"
        f" OR EXISTS (SELECT 1 FROM steps AS o WHERE {_LEAVING} AND NOT o.is_heartbeat)",
    ),
    Rule(
        "prunings",
        "the newest step stays in the journal",
        "NEW.last_seq >= (SELECT MAX(o.seq) FROM steps AS o)",
    ),
)
_APPEND_ONLY = "the journal is append-only"
# A step may be deleted when it is a heartbeat and a row of prunings says so.
_PRUNED = (
    "OLD.is_heartbeat AND COALESCE((SELECT p.last_seq FROM prunings AS p WHERE p.first_seq <= OLD.seq"
    " ORDER BY p.first_seq DESC LIMIT 1), 0) >= OLD.seq"
)


def trigger_statements(dialect: str) -> list[str]:
    """Return the DDL that makes the tables append-only and enforces RULES on SQLite or PostgreSQL."""
    return _sqlite_triggers() if dialect == "sqlite" else _postgresql_triggers()


def _sqlite_triggers() -> list[str]:
    append_only = [
        f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
        f"{_sqlite_condition(table, verb)}BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
        for table in METADATA.sorted_tables
        for verb in ("UPDATE", "DELETE")
    ]
    # One trigger for each table: SQLite does not say in which order it fires several.
    rules = []
    for table in EVENT_TABLES:
        checks = " ".join(
            f"SELECT RAISE(ABORT, '{rule.message}') WHERE {rule.broken};"
            for rule in RULES
            if rule.table == table.name
        )
        rules.append(f"CREATE TRIGGER {table.name}_rules BEFORE INSERT ON {table.name} BEGIN {checks} END")
    return append_only + rules


def _sqlite_condition(table: Table, verb: str) -> str:
    return f"WHEN NOT ({_PRUNED}) " if (table, verb) == (STEPS, "DELETE") else ""


def _postgresql_triggers() -> list[str]:
    refuse = "RAISE EXCEPTION '{}' USING ERRCODE = 'integrity_constraint_violation';"
    found = [
        "CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {refuse.format(_APPEND_ONLY)} END $$",
        "CREATE FUNCTION steps_pruned_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NOT ({_PRUNED}) THEN {refuse.format(_APPEND_ONLY)} END IF; RETURN OLD; END $$",
        "CREATE TRIGGER steps_pruned_only BEFORE DELETE ON steps "
        "FOR EACH ROW EXECUTE FUNCTION steps_pruned_only()",
    ]
    found.extend(
        f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR "
        f"{'' if table is STEPS else 'DELETE OR '}TRUNCATE ON {table.name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()"
        for table in METADATA.sorted_tables
    )
    for table in EVENT_TABLES:
        checks = " ".join(
            f"IF {rule.broken} THEN {refuse.format(rule.message)} END IF;"
            for rule in RULES
            if rule.table == table.name
        )
        found.append(
            f"CREATE FUNCTION {table.name}_rules() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {checks} RETURN NEW; END $$"
        )
        found.append(
            f"CREATE TRIGGER {table.name}_rules BEFORE INSERT ON {table.name} "
            f"FOR EACH ROW EXECUTE FUNCTION {table.name}_rules()"
        )
    return found
