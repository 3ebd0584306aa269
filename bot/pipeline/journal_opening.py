"""What happens when a journal is opened: a new one is made, one of another owner or program is refused.

An older schema is taken up only where that was asked for (`alvh db upgrade`): money rests on this file, so a
person chooses the moment and has a copy. Readers read every released schema as it is.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Table, insert, inspect, select

from bot.errors import ConfigError, NotFoundError
from bot.pipeline import migrations
from bot.pipeline.journal_schema import (
    EVENT_TABLES,
    META,
    METADATA,
    PRUNINGS,
    SCHEMA_VERSION,
    trigger_statements,
)

_BEFORE_PRUNINGS = "0001"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalIdentity:
    """Whose journal it is. A journal of another mode, chain or account is refused (REL-O5)."""

    mode: str  # "live", "dry-run", "demo", ...
    chain_id: int  # 0 when no chain is involved
    account: str  # "" when no account is involved

    def as_rows(self) -> dict[str, str]:
        return {"mode": self.mode, "chain_id": str(self.chain_id), "account": self.account.lower()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A journal that may be used."""

    identity: JournalIdentity
    revision: str

    @property
    def tables(self) -> tuple[Table, ...]:
        """The event tables that its schema has."""
        is_first = self.revision == _BEFORE_PRUNINGS
        return tuple(table for table in EVENT_TABLES if not is_first or table is not PRUNINGS)


def prepare(
    connection: Connection,
    identity: JournalIdentity | None,
    *,
    name: str,
    read_only: bool,
    upgrade: bool = False,
) -> Opened:
    """Create the tables of a new journal, or check that an existing one is ours; in the open transaction.

    Raises ConfigError, and NotFoundError where a reader finds nothing.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables and read_only:
        raise NotFoundError(f"journal {name} holds nothing yet")
    if not tables and identity is not None:
        _create(connection, identity)
    elif META.name not in tables:
        found = ", ".join(sorted(tables)[:3]) or "nothing"
        raise ConfigError(f"{name} is not a journal of this program: it holds {found}")
    stored = {row.key: row.value for row in connection.execute(select(META))}
    revision = _revision(connection, stored, name=name)
    owner = _owner(stored, identity, name=name)
    newest = migrations.newest(migrations.JOURNAL)
    if upgrade and revision != newest:
        migrations.upgrade(connection, migrations.JOURNAL, found=revision)
        revision = newest
    if not read_only and revision != newest:
        raise ConfigError(
            f"journal {name} has schema {revision}, this program writes {newest}: "
            "run alvh db upgrade, which keeps a copy"
        )
    return Opened(identity=owner, revision=revision)


def _create(connection: Connection, identity: JournalIdentity) -> None:
    METADATA.create_all(connection)
    rows = {"schema_version": str(SCHEMA_VERSION), **identity.as_rows()}
    connection.execute(insert(META), [{"key": key, "value": rows[key]} for key in rows])
    for statement in trigger_statements(connection.dialect.name):
        connection.exec_driver_sql(statement)
    migrations.stamp(connection, migrations.newest(migrations.JOURNAL))


def _revision(connection: Connection, stored: dict[str, str], *, name: str) -> str:
    """Return the schema that the journal has. Raises ConfigError for one of a newer program."""
    found = stored.get("schema_version", "none")
    said = f"{int(found):04}" if found.isdigit() else found
    revision = max(said, migrations.stamped(connection))
    migrations.check_known(migrations.JOURNAL, revision, name=name)
    return revision


def _owner(stored: dict[str, str], identity: JournalIdentity | None, *, name: str) -> JournalIdentity:
    for field, wanted in identity.as_rows().items() if identity else ():
        if stored.get(field) != wanted:
            raise ConfigError(
                f"journal {name} belongs to {field} {stored.get(field)!r}, not {wanted!r}: "
                "name another journal file"
            )
    return JournalIdentity(mode=stored["mode"], chain_id=int(stored["chain_id"]), account=stored["account"])
