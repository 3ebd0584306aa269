"""Several processes write one history: each has its own heads and gaps, and a row says how it came.

What was written before belongs to the process without a name: a bot that reads its chains itself. No table of
observations is copied, so a history of many gigabytes takes no longer than a small one.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = (
    "ALTER TABLE series ADD COLUMN writer TEXT DEFAULT '' NOT NULL",
    "ALTER TABLE observation RENAME COLUMN filled TO kind",
    "ALTER TABLE heads RENAME TO heads_2",
    """CREATE TABLE heads (writer TEXT NOT NULL, chain_id INTEGER NOT NULL, number INTEGER NOT NULL,
       hash TEXT NOT NULL, parent_hash TEXT NOT NULL, timestamp_s INTEGER NOT NULL,
       PRIMARY KEY (writer, chain_id, number))""",
    "INSERT INTO heads SELECT '', chain_id, number, hash, parent_hash, timestamp_s FROM heads_2",
    "DROP TABLE heads_2",
    "ALTER TABLE gaps RENAME TO gaps_2",
    """CREATE TABLE gaps (writer TEXT NOT NULL, chain_id INTEGER NOT NULL, from_number INTEGER NOT NULL,
       to_number INTEGER NOT NULL, from_s FLOAT(53) NOT NULL, to_s FLOAT(53) NOT NULL, why TEXT NOT NULL,
       PRIMARY KEY (writer, chain_id, from_number, from_s))""",
    "INSERT INTO gaps SELECT '', chain_id, from_number, to_number, from_s, to_s, why FROM gaps_2",
    "DROP TABLE gaps_2",
    "PRAGMA user_version = 3",  # what programs of before look at
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
