"""Who writes which series of a shared history: advisory locks of PostgreSQL, gone with their connection.

A process of `alvh watch` holds each of its series alone. Bots that read for themselves hold theirs together
with other bots, so that one is told at once when a watcher feeds what it reads itself.
"""

import hashlib
import os
from collections.abc import Sequence

from sqlalchemy import Connection, text

from bot.errors import ConfigError
from bot.model.market import SeriesKey

_HOLDER = text(
    "SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE l.locktype = "
    "'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid() "
    "AND l.classid = ((:lock >> 32) & 4294967295)::oid AND l.objid = (:lock & 4294967295)::oid"
)


def signed(writer: str) -> str:
    """Return how the server names a process of this name."""
    return f"alvh watch {writer}, process {os.getpid()}" if writer else ""


def take(connection: Connection, keys: Sequence[SeriesKey], *, name: str, alone: bool) -> None:
    """Hold series until the connection ends. Raises ConfigError, naming who holds one of them already."""
    schema = str(connection.execute(text("SELECT current_schema()")).scalar())
    locks = {_lock(schema, key): key for key in keys}
    how = "pg_try_advisory_lock" if alone else "pg_try_advisory_lock_shared"
    refused = connection.execute(
        text(f"SELECT k FROM unnest(CAST(:locks AS bigint[])) AS k WHERE NOT {how}(k)"),  # noqa: S608
        {"locks": list(locks)},
    ).scalars()
    for lock in refused.all()[:1]:
        holder = connection.execute(_HOLDER, {"lock": lock}).scalar() or "another process"
        mend = "give each watcher its own chain or shard" if alone else "say watched_elsewhere of its chain"
        raise ConfigError(
            f"{locks[lock]} of history {name} is written by {holder}: stop one of them, or {mend}"
        )


def _lock(schema: str, key: SeriesKey) -> int:
    named = "\n".join((schema, key.metric.value, key.subject, key.source))
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], signed=True)
