"""How every store of the program connects: to a private SQLite file, or to a schema of PostgreSQL."""

import os
import shutil
import sqlite3
from errno import EDQUOT, ENOSPC
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import Pool, StaticPool

from bot.errors import ConfigError

BUSY_S = 10.0  # for a database that somebody else writes, and for a server that does not answer
_WAL_INDEX_BYTES = 65_536  # twice what SQLite makes of it at first
_BEGIN = "alvh_begin"  # execution option: how a transaction of SQLite begins, where not as its engine's
_NAME_AT_MOST = 63  # bytes of an application_name


def parsed_url(url: str, *, what: str) -> URL:
    """Return a database URL. Raises ConfigError, which shows nothing of it."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(f"the {what} URL cannot be read; use sqlite:///FILE or postgresql://...") from None


def shown_url(url: URL, schema: str = "") -> str:
    """Return a URL without its password, and the schema."""
    text = url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)
    return f"{text} schema {schema}" if schema else text


def sqlite_engine(
    path: Path,
    *,
    begin: str,
    read_only: bool = False,
    synchronous: str = "FULL",
    pool: type[Pool] = StaticPool,
) -> Engine:
    """Return an engine over a file that is there. ``begin``: the statement that begins a transaction.

    Transactions are begun by that statement and not guessed, so that DDL is inside of them too.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rw'}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,  # stores serialise their callers themselves
        )
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=pool)
    event.listen(engine, "begin", lambda connection: _begin(connection, begin))
    return engine


def _begin(connection: Connection, begin: str) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, begin))


def begin_at_once(connection: Connection) -> Connection:
    """Let the transactions of a connection take the write lock of SQLite when they begin."""
    if connection.dialect.name == "sqlite":
        connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
    return connection


def postgresql_engine(
    url: URL, *, what: str, schema: str = "", read_only: bool = False, who: str = ""
) -> Engine:
    """Return an engine of one connection, which commits durably. ``schema``: what it sees, or its own.

    ``who`` is how the server names it. Raises ConfigError without the driver.
    """
    options = "-c synchronous_commit=on"
    options += " -c default_transaction_read_only=on" if read_only else ""
    options += f" -c search_path={schema}" if schema else ""
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=StaticPool,
            connect_args={
                "connect_timeout": int(BUSY_S),
                "application_name": (who or f"alvh process {os.getpid()}")[:_NAME_AT_MOST],
                "options": options,
            },
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise ConfigError(
            f"a {what} in PostgreSQL needs the driver psycopg: install alvh-bot[postgresql]"
        ) from None


def make_schema(connection: Connection, schema: str) -> None:
    """Make the schema that a connection sees, where it is not there yet.

    Until the transaction ends no other process makes or fills it.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": schema})
    if connection.execute(text("SELECT to_regnamespace(:name)"), {"name": schema}).scalar() is None:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")


def is_full(error: DBAPIError | OSError, folder: Path | None = None) -> bool:
    """Say whether a write failed for want of room alone; a transaction is rolled back then.

    SQLite does not say why the index of its WAL cannot be made; where it lies in ``folder``, its disk does.
    """
    if isinstance(error, OSError):
        return error.errno in (ENOSPC, EDQUOT)
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE and folder is not None:
        return shutil.disk_usage(folder).free < _WAL_INDEX_BYTES
    return code == sqlite3.SQLITE_FULL


def reason(error: DBAPIError) -> str:
    """Return the database's own words on one line, without the statement, its values and the URL."""
    diagnosis = getattr(error.orig, "diag", None)
    words = getattr(diagnosis, "message_primary", None) or str(error.orig)
    return " ".join(words.split())
