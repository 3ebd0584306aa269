"""Series by number, rows that say whether another took their place, heads, gaps and halts."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
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


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
