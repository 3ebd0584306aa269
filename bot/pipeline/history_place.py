"""Where a history lives: a SQLite file, or a schema of PostgreSQL; opened, and brought up to date.

Rows of observations can be read again from their sources, so opening takes an older schema up by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from bot.errors import BotError, ConfigError, NoSpaceError
from bot.pipeline import databases, migrations
from bot.pipeline.history_schema import METADATA, OBSERVATION

_FIRST, _SECOND = "observations", "0002"
_USER_VERSION = 3  # of SQLite; what programs before alembic look at
_NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPlace:
    """A file, or a database and the schema in it that holds nothing else."""

    path: Path | None = None
    url: str = ""
    schema: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether several processes may write it at one time, each its own series."""
        return self.path is None

    @property
    def name(self) -> str:
        """What may be shown: no password."""
        if self.path is not None:
            return f"file {self.path}"
        return databases.shown_url(make_url(self.url), self.schema)

    def open(self, *, who: str = "") -> Engine:
        """Return an engine over the newest schema. Raises ConfigError when the place is not usable."""
        with self._refusing():
            engine = self._engine(who=who)
            try:
                with databases.begin_at_once(engine.connect()) as connection, connection.begin():
                    self._prepare(connection)
            except BaseException:
                engine.dispose()
                raise
        return engine

    def open_reader(self, *, who: str = "") -> Engine | None:
        """Return an engine that changes nothing, None where nothing was ever written.

        Raises ConfigError when the place cannot be read or has another schema.
        """
        if self.path is not None and not self.path.is_file():
            return None
        with self._refusing():
            engine = self._engine(who=who, read_only=True)
            try:
                with engine.connect() as connection, connection.begin():
                    found = self._found(connection)
                    if found not in (_NEW, migrations.newest(migrations.HISTORY)):
                        raise ConfigError(f"history {self.name} has schema {found}: run alvh db upgrade")
            except BaseException:
                engine.dispose()
                raise
        if found == _NEW:
            engine.dispose()
            return None
        return engine

    def revision(self) -> str:
        """Return the schema that is there, empty for none. Raises ConfigError."""
        if self.path is not None and not self.path.is_file():
            return ""
        with self._refusing():
            engine = self._engine(read_only=True)
            try:
                with engine.connect() as connection, connection.begin():
                    found = self._found(connection)
            finally:
                engine.dispose()
        return "" if found == _NEW else found

    def _engine(self, *, who: str = "", read_only: bool = False) -> Engine:
        if self.path is None:
            url = databases.parsed_url(self.url, what="history")
            return databases.postgresql_engine(
                url, what="history", schema=self.schema, read_only=read_only, who=who
            )
        if not read_only:
            self.path.touch(mode=0o600)
        # The intent journal is the one that syncs in full: observations can be read again.
        return databases.sqlite_engine(
            self.path, begin="BEGIN", read_only=read_only, synchronous="NORMAL", pool=QueuePool
        )

    def _prepare(self, connection: Connection) -> None:
        if self.path is None:
            databases.make_schema(connection, self.schema)
        found = self._found(connection)
        if found == _NEW:
            METADATA.create_all(connection)
            migrations.stamp(connection, migrations.newest(migrations.HISTORY))
            if self.path is not None:
                connection.exec_driver_sql(f"PRAGMA user_version = {_USER_VERSION}")
        elif found != migrations.newest(migrations.HISTORY):
            migrations.upgrade(connection, migrations.HISTORY, found=found)

    def _found(self, connection: Connection) -> str:
        """Return the revision, _NEW where there is no table. Raises ConfigError for what is not a history."""
        tables = set(inspect(connection).get_table_names())
        if not tables:
            return _NEW
        if revision := migrations.stamped(connection):
            migrations.check_known(migrations.HISTORY, revision, name=self.name)
            if OBSERVATION.name not in tables:
                self._foreign(tables)
            return revision
        if self.path is None or not tables & {OBSERVATION.name, _FIRST}:
            self._foreign(tables)
        version = int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)
        migrations.check_known(migrations.HISTORY, f"{max(version, 1):04}", name=self.name)
        return "0001" if _FIRST in tables else _SECOND

    def _foreign(self, tables: set[str]) -> NoReturn:
        found = ", ".join(sorted(tables)[:3])
        raise ConfigError(f"{self.name} is not a history of this program: it holds {found}; name another")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._refusal(error, databases.reason(error)) from None
        except OSError as error:
            raise self._refusal(error, error.strerror) from None

    def _refusal(self, error: DBAPIError | OSError, why: str | None) -> BotError:
        """A full disk passes, and a later start may find room; all else is for a person."""
        is_full = databases.is_full(error, self.path.parent if self.path else None)
        kind = NoSpaceError if is_full else ConfigError
        return kind(f"history {self.name} cannot be used: {why}; {self._mend}")

    @property
    def _mend(self) -> str:
        if self.path is not None:
            return "move it away or free space"
        return "see that the server runs and the URL is right"
