"""Where a journal lives: a private SQLite file or a PostgreSQL database, and the lock of its writer."""

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from bot.errors import ConfigError, InUseError, NoSpaceError, NotFoundError
from bot.pipeline import databases

_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.05
_PG_LOCK = 0x616C7668  # "alvh": first key of the advisory lock; the second is the schema


class Store(Protocol):
    """One opened database. ``name`` is safe to show: it holds no password."""

    @property
    def name(self) -> str: ...

    def connect(self) -> Connection: ...

    def other_writer(self) -> str:
        """Return who else holds the writer's lock, empty when nobody does."""
        ...

    def is_full(self, error: DBAPIError) -> bool:
        """Say whether it could not be opened for want of room alone. Ask before it is closed."""
        ...

    def close(self, *, discard_new: bool = False) -> None:
        """Close; with ``discard_new`` also remove a file that this opening created."""
        ...


def open_store(url: str, *, read_only: bool, schema: str = "") -> Store:
    """Return the store that a URL or a path names, locked for writing unless ``read_only``.

    ``schema``: of a PostgreSQL database, in place of what its connections see by themselves.
    """
    if "://" not in url:
        return SqliteStore(Path(url), read_only=read_only)
    parsed = databases.parsed_url(url, what="journal")
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigError("the journal needs a file: sqlite:///FILE (in memory it would not last)")
        return SqliteStore(Path(parsed.database), read_only=read_only)
    if parsed.get_backend_name() == "postgresql":
        return PostgresqlStore(parsed, read_only=read_only, schema=schema)
    raise ConfigError(
        f"the journal cannot be kept in {parsed.get_backend_name()!r}; use sqlite:///FILE or postgresql://..."
    )


class SqliteStore:
    """A file of mode 0600 with a side file ``FILE.lock`` that its writer holds by flock."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path.expanduser().absolute()
        self._read_only = read_only
        self._lock_path = Path(f"{self._path}.lock")
        self._lock_fd = -1
        self._created = False
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        if self._path.is_dir():
            raise ConfigError(f"journal {self.name} is a folder; name a file")
        if read_only:
            if not self._path.is_file():
                raise NotFoundError(f"journal {self.name} does not exist")
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self._make_private()
        except OSError as error:
            self.close()
            kind = NoSpaceError if databases.is_full(error) else ConfigError
            raise kind(f"journal {self.name} cannot be written: {error.strerror}") from None

    @property
    def name(self) -> str:
        return str(self._path)

    def _take_lock(self) -> None:
        """Hold the side file until the process ends, however it ends. The file itself stays."""
        self._lock_fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not any(self._try_lock(attempt) for attempt in range(_LOCK_TRIES)):
            holder = _holder(self._lock_fd)
            self.close()
            raise InUseError(
                f"journal {self.name} is in use by {holder}: stop it first, or name another journal"
            )
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def _try_lock(self, attempt: int) -> bool:
        """A reader that asks who writes holds the lock for a moment, so one refusal is not the answer."""
        time.sleep(_LOCK_PAUSE_S if attempt else 0.0)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def other_writer(self) -> str:
        if self._lock_fd >= 0 or not self._lock_path.exists():
            return ""
        try:
            with self._lock_path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return _holder(file.fileno())
        except OSError as error:
            raise ConfigError(f"lock {self._lock_path} cannot be read: {error.strerror}") from None
        return ""

    def _make_private(self) -> None:
        """Create the file before SQLite does, since SQLite would leave it readable by others."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self._created = True
        except FileExistsError:
            if not os.access(self._path, os.W_OK):
                raise PermissionError(13, "permission denied") from None
            if stat.S_IMODE(self._path.stat().st_mode) & 0o077:
                self._path.chmod(0o600)

    def connect(self) -> Connection:
        begin = "BEGIN" if self._read_only else "BEGIN IMMEDIATE"
        # synchronous is FULL: NORMAL may lose acknowledged commits
        self._engine = databases.sqlite_engine(self._path, begin=begin, read_only=self._read_only)
        self._connection = self._engine.connect()
        return self._connection

    def is_full(self, error: DBAPIError) -> bool:
        return databases.is_full(error, self._path.parent)

    def close(self, *, discard_new: bool = False) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if discard_new and self._created:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _holder(lock_fd: int) -> str:
    found = os.pread(lock_fd, 100, 0).decode("ascii", "replace").strip()
    return f"process {found}" if found else "another process"


class PostgresqlStore:
    """A PostgreSQL database; its writer holds an advisory lock on the one connection it writes with.

    Lock and writes share the connection on purpose: who lost the lock cannot write any more.
    """

    def __init__(self, url: URL, *, read_only: bool, schema: str = "") -> None:
        self._url, self._schema = url, schema
        self._read_only = read_only
        self._connection: Connection | None = None
        self._engine = databases.postgresql_engine(url, what="journal", schema=schema, read_only=read_only)

    @property
    def name(self) -> str:
        return databases.shown_url(self._url, self._schema)

    def connect(self) -> Connection:
        self._connection = self._engine.connect()
        if not self._read_only:
            with self._connection.begin():
                if self._schema:
                    databases.make_schema(self._connection, self._schema)
                self._take_lock(self._connection)
        return self._connection

    def _take_lock(self, connection: Connection) -> None:
        taken = connection.execute(
            text("SELECT pg_try_advisory_lock(:mark, hashtext(current_schema()))"), {"mark": _PG_LOCK}
        ).scalar_one()
        if taken:
            return
        raise InUseError(
            f"journal {self.name} is in use by {_pg_holder(connection) or 'another process'}: stop it first, "
            "or name another journal"
        )

    def other_writer(self) -> str:
        if self._connection is None or not self._read_only:
            return ""
        with self._connection.begin():
            return _pg_holder(self._connection)

    def is_full(self, error: DBAPIError) -> bool:
        return databases.is_full(error)

    def close(self, *, discard_new: bool = False) -> None:  # noqa: ARG002 - a failed creation rolled back
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()


def _pg_holder(connection: Connection) -> str:
    holder = connection.execute(
        text(
            "SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.classid = :mark AND l.granted "
            "AND l.objid = (hashtext(current_schema())::bigint & 4294967295)::oid"
        ),
        {"mark": _PG_LOCK},
    ).scalar()
    return str(holder) if holder else ""
