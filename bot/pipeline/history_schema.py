"""Tables of the history, the same in a SQLite file and in a schema of PostgreSQL."""

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()
_BIG = BigInteger().with_variant(Integer, "sqlite")


class RowKind(IntEnum):
    """How a row came; readers of the table do again what its writer did, in this order."""

    APPENDED = 0  # observed just now
    FILLED = 1  # read later, for a time at which nothing was observed
    ORPHANED = 2  # no observation: rows of the series on ``block_number`` and later ones left


SERIES = Table(
    "series",
    METADATA,
    Column("id", _BIG, Identity(), primary_key=True),
    Column("metric", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("writer", Text, nullable=False, server_default=""),  # a process of `alvh watch`, or nobody named
    UniqueConstraint("metric", "subject", "source"),
)
OBSERVATION = Table(
    "observation",
    METADATA,
    Column("id", _BIG, Identity(), primary_key=True),
    Column("series_id", _BIG, nullable=False),
    Column("observed_at_s", Float(53), nullable=False),
    Column("value", Float(53)),  # none: unknown
    Column("read_at_s", Float(53), nullable=False),
    Column("block_number", _BIG),
    Column("why_unknown", Text, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("superseded", Integer, nullable=False, server_default="0"),
    Index("observation_of_series", "series_id", "observed_at_s"),
    Index("observation_feed", "series_id", "id").ddl_if(dialect="postgresql"),
)
HEADS = Table(
    "heads",
    METADATA,
    Column("writer", Text, primary_key=True),
    Column("chain_id", _BIG, primary_key=True),
    Column("number", _BIG, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("parent_hash", Text, nullable=False),
    Column("timestamp_s", _BIG, nullable=False),
)
GAPS = Table(
    "gaps",
    METADATA,
    Column("writer", Text, primary_key=True),
    Column("chain_id", _BIG, primary_key=True),
    Column("from_number", _BIG, primary_key=True),
    Column("to_number", _BIG, nullable=False),
    Column("from_s", Float(53), primary_key=True),
    Column("to_s", Float(53), nullable=False),
    Column("why", Text, nullable=False),
)
HALTS = Table(
    "halts",
    METADATA,
    Column("id", _BIG, Identity(), primary_key=True),
    Column("chain_id", _BIG, nullable=False),
    Column("since_s", Float(53), nullable=False),
    Column("why", Text, nullable=False),
    Column("released_at_s", Float(53)),
)
