"""Stores as earlier releases left them."""

from collections.abc import Iterable
from pathlib import Path

import sqlalchemy as sa
from journal_builders import IDENTITY, step
from old_schemas import JOURNAL_1_POSTGRESQL, JOURNAL_1_SQLITE
from send_builders import leg
from sqlalchemy import create_engine

from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.pipeline.journal_schema import INTENT_EVENTS, LEG_EVENTS, META, STEPS


def driven(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def run_sql(url: str, statements: Iterable[str]) -> None:
    engine = create_engine(driven(url))
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def old_journal(url: str, tmp_path: Path, identity: JournalIdentity = IDENTITY) -> None:
    """Make a journal as the first release did, with rows of every kind."""
    model = tmp_path / "model.db"
    with SqlJournal(model, identity=identity) as journal:
        for number in (1, 2, 3):
            journal.append_step(step(number))
        journal.open_leg(leg(), at_s=1.0)
    run_sql(url, JOURNAL_1_SQLITE if url.startswith("sqlite") else JOURNAL_1_POSTGRESQL)
    source, target = create_engine(f"sqlite:///{model}"), create_engine(driven(url))
    with source.connect() as read, target.begin() as write:
        for table in (META, LEG_EVENTS, INTENT_EVENTS, STEPS):
            rows = [dict(row._mapping) for row in read.execute(sa.select(table).order_by(table.c[0]))]
            for row in rows:
                row["value"] = "1" if row.get("key") == "schema_version" else row.get("value")
                write.execute(sa.insert(table).values({c: row[c] for c in table.columns.keys()}))  # noqa: SIM118
    source.dispose()
    target.dispose()
