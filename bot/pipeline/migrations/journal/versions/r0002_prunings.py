# ruff: noqa: S608 - every part of the SQL below is a constant of this file
"""Heartbeats may leave, and only where a row of ``prunings`` keeps the hashes on both sides of what left."""

from alembic import op

revision = "0002"
down_revision = "0001"

_COVERED = (
    "OLD.is_heartbeat AND COALESCE((SELECT p.last_seq FROM prunings AS p WHERE p.first_seq <= OLD.seq"
    " ORDER BY p.first_seq DESC LIMIT 1), 0) >= OLD.seq"
)
_INSIDE = "o.seq BETWEEN NEW.first_seq AND NEW.last_seq"
_OTHERS = (
    f"NEW.first_seq > NEW.last_seq OR EXISTS (SELECT 1 FROM leg_events AS o WHERE {_INSIDE})"
    f" OR EXISTS (SELECT 1 FROM intent_events AS o WHERE {_INSIDE})"
    f" OR EXISTS (SELECT 1 FROM prunings AS o WHERE {_INSIDE})"
    f" OR EXISTS (SELECT 1 FROM steps AS o WHERE {_INSIDE} AND NOT o.is_heartbeat)"
)
_LAST = "NEW.last_seq >= (SELECT MAX(o.seq) FROM steps AS o)"
_ONLY_HEARTBEATS = "only heartbeats may leave the journal"
_NEWEST_STAYS = "the newest step stays in the journal"
_REFUSED = "the journal is append-only"


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in (*_table("INTEGER" if sqlite else "BIGINT"), *(_sqlite() if sqlite else _postgresql())):
        op.execute(statement)


def _table(big: str) -> tuple[str, ...]:
    return (
        f"CREATE TABLE prunings (seq {big} NOT NULL, body TEXT NOT NULL, previous_hash VARCHAR(64) NOT NULL, "
        f"row_hash VARCHAR(64) NOT NULL, first_seq {big} NOT NULL, last_seq {big} NOT NULL, at_s FLOAT "
        "NOT NULL, PRIMARY KEY (seq), UNIQUE (row_hash))",
        "CREATE INDEX prunings_by_first ON prunings (first_seq)",
    )


def _sqlite() -> tuple[str, ...]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    return (
        *(
            f"CREATE TRIGGER prunings_no_{verb.lower()} BEFORE {verb} ON prunings {refuse}"
            for verb in ("UPDATE", "DELETE")
        ),
        f"CREATE TRIGGER prunings_rules BEFORE INSERT ON prunings BEGIN "
        f"SELECT RAISE(ABORT, '{_ONLY_HEARTBEATS}') WHERE {_OTHERS}; "
        f"SELECT RAISE(ABORT, '{_NEWEST_STAYS}') WHERE {_LAST}; END",
        "DROP TRIGGER steps_no_delete",
        f"CREATE TRIGGER steps_no_delete BEFORE DELETE ON steps WHEN NOT ({_COVERED}) {refuse}",
        "DROP TRIGGER meta_no_update",
        "UPDATE meta SET value = '2' WHERE key = 'schema_version'",
        f"CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta {refuse}",
    )


def _postgresql() -> tuple[str, ...]:
    error = "RAISE EXCEPTION '{}' USING ERRCODE = 'integrity_constraint_violation';"
    never = "FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()"
    return (
        f"CREATE TRIGGER prunings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prunings {never}",
        "CREATE FUNCTION prunings_rules() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {_OTHERS} THEN {error.format(_ONLY_HEARTBEATS)} END IF; "
        f"IF {_LAST} THEN {error.format(_NEWEST_STAYS)} END IF; RETURN NEW; END $$",
        "CREATE TRIGGER prunings_rules BEFORE INSERT ON prunings "
        "FOR EACH ROW EXECUTE FUNCTION prunings_rules()",
        "DROP TRIGGER steps_append_only ON steps",
        f"CREATE TRIGGER steps_append_only BEFORE UPDATE OR TRUNCATE ON steps {never}",
        "CREATE FUNCTION steps_pruned_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NOT ({_COVERED}) THEN {error.format(_REFUSED)} END IF; RETURN OLD; END $$",
        "CREATE TRIGGER steps_pruned_only BEFORE DELETE ON steps "
        "FOR EACH ROW EXECUTE FUNCTION steps_pruned_only()",
        "ALTER TABLE meta DISABLE TRIGGER meta_append_only",
        "UPDATE meta SET value = '2' WHERE key = 'schema_version'",
        "ALTER TABLE meta ENABLE TRIGGER meta_append_only",
    )
