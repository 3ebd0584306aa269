"""Schemas that stores had, and the way up from each: one folder of alembic revisions for each kind of store.

A new store is made whole and stamped; an older one is taken up inside the transaction that its opening began,
so that a kill leaves the old schema or the new one. alembic is imported only where there is something to do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from bot.errors import ConfigError

JOURNAL, HISTORY = "journal", "history"
# Oldest first; the last one is what this program writes.
REVISIONS = {JOURNAL: ("0001", "0002"), HISTORY: ("0001", "0002", "0003")}
VERSION_TABLE = "alembic_version"


def newest(kind: str) -> str:
    """Return the revision that this program writes."""
    return REVISIONS[kind][-1]


def stamped(connection: Connection) -> str:
    """Return the revision that a store says it has, empty for one that says none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or "")  # noqa: S608


def check_known(kind: str, found: str, *, name: str) -> None:
    """Raise ConfigError where a newer program wrote the store."""
    if found not in REVISIONS[kind]:
        raise ConfigError(
            f"{kind} {name} has schema {found}, this program knows up to {newest(kind)}: "
            "use the program version that wrote it, or name another"
        )


def stamp(connection: Connection, revision: str) -> None:
    """Say which revision a store has."""
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
        f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)"), {"revision": revision})  # noqa: S608


def upgrade(connection: Connection, kind: str, *, found: str) -> None:
    """Take a store from the revision ``found`` to the newest, inside the transaction that is open."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    if not connection.in_transaction():
        raise RuntimeError("a migration runs inside the transaction of its caller")
    if not stamped(connection):
        stamp(connection, found)
    script = ScriptDirectory(str(Path(__file__).parent / kind))

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(newest(kind), revision)

    run: Callable[..., Any] = steps
    with EnvironmentContext(Config(), script, fn=run, destination_rev=newest(kind)) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE)
        environment.run_migrations()
