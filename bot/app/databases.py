"""The stores of a configuration: what schema each has, and their upgrade, check and pruning."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.app.stores import history_place, journal_place, open_journal
from bot.app.table_files import Kind, Table, TableFormat, write_table
from bot.errors import ConfigError, InvariantError, NotFoundError
from bot.model.units import DAY_S, iso_utc
from bot.pipeline import migrations
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.journal import SqlJournal
from bot.pipeline.journal_pruning import Archive, PruneResult
from bot.settings import Settings

MODES = ("live", "dry-run", "monitor", "demo")
_ARCHIVED = (
    ("seq", Kind.WHOLE),
    ("body", Kind.TEXT),
    ("previous_hash", Kind.TEXT),
    ("row_hash", Kind.TEXT),
    ("sequence", Kind.WHOLE),
    ("at_s", Kind.NUMBER),
    ("is_heartbeat", Kind.FLAG),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """One store that is there."""

    what: str  # "journal live", "history", "figures dry-run"
    where: str
    kind: str  # of migrations
    revision: str
    path: Path | None  # none: a database
    mode: str = ""

    @property
    def newest(self) -> str:
        return migrations.newest(self.kind)

    @property
    def is_current(self) -> bool:
        return self.revision == self.newest

    @property
    def size_bytes(self) -> int | None:
        return self.path.stat().st_size if self.path is not None else None


def stores(settings: Settings) -> tuple[StoreStatus, ...]:
    """Return every store that is there. Raises ConfigError for one that cannot be read or is newer."""
    found = [item for mode in MODES if (item := _journal(settings, mode)) is not None]
    return (*found, *_histories(settings))


def _journal(settings: Settings, mode: str) -> StoreStatus | None:
    where, _ = journal_place(settings, mode=mode)
    try:
        with _reader(settings, mode) as journal:
            if journal.identity.mode != mode:
                return None  # the one journal of ``journal_url`` is of another mode
            return StoreStatus(
                what=f"journal {mode}",
                where=journal.where,
                kind=migrations.JOURNAL,
                revision=journal.revision,
                path=where if isinstance(where, Path) else None,
                mode=mode,
            )
    except NotFoundError:
        return None


def _reader(settings: Settings, mode: str) -> SqlJournal:
    where, schema = journal_place(settings, mode=mode)
    return SqlJournal(where, read_only=True, schema=schema)


def _histories(settings: Settings) -> Iterator[StoreStatus]:
    figures = [settings.state_dir / f"figures-{mode}.sqlite" for mode in MODES]
    places = {"history": history_place(settings)}
    places |= {path.stem.replace("-", " ", 1): HistoryPlace(path=path) for path in figures}
    for what, place in places.items():
        if revision := place.revision():
            yield StoreStatus(
                what=what, where=place.name, kind=migrations.HISTORY, revision=revision, path=place.path
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """One store that was taken up."""

    what: str
    was: str
    now: str
    copy: Path | None  # of the file as it was; none for a database


def upgrade(settings: Settings) -> tuple[Upgraded, ...]:
    """Take every older store to this program's schema; a file is copied first.

    Raises ConfigError where one is in use or cannot be copied, InvariantError where a journal is damaged.
    """
    return tuple(_upgrade(settings, item) for item in stores(settings) if not item.is_current)


def _upgrade(settings: Settings, store: StoreStatus) -> Upgraded:
    copy = _copied(store.path, store.revision) if store.path is not None else None
    if store.kind == migrations.JOURNAL:
        with _reader(settings, store.mode) as journal:
            journal.verify()
        with open_journal(settings, mode=store.mode, upgrade=True) as journal:
            journal.verify()
    else:
        place = HistoryPlace(path=store.path) if store.path is not None else history_place(settings)
        place.open().dispose()
    return Upgraded(what=store.what, was=store.revision, now=store.newest, copy=copy)


def _copied(path: Path, revision: str) -> Path:
    """Copy a SQLite file as it is at one time, also while somebody writes it. Returns the copy."""
    copy = path.with_name(f"{path.name}.schema-{revision}-{iso_utc(time.time()).replace(':', '')}")
    try:
        copy = _new_file(copy)
    except OSError as error:
        raise ConfigError(f"{path} could not be copied to {copy}: {error}; nothing was changed") from None
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    except (OSError, sqlite3.Error) as error:
        copy.unlink(missing_ok=True)
        raise ConfigError(f"{path} could not be copied to {copy}: {error}; nothing was changed") from None
    return copy


def _new_file(path: Path) -> Path:
    """Make an empty file where none is: one of this very second is the copy of an upgrade that was killed."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    os.close(os.open(free, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return free


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a check of one store found; ``problem`` is empty where it is whole."""

    what: str
    rows: int | None  # of the chain of hashes; none: it has no chain
    problem: str


def verify(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> tuple[Verified, ...]:
    """Check every store: the whole chain of hashes of a journal, the pages of a file."""
    done = []
    for item in stores(settings):
        tell(item.what)
        done.append(_verify(settings, item))
    return tuple(done)


def _verify(settings: Settings, store: StoreStatus) -> Verified:
    try:
        problem = _damage(store.path) if store.path is not None else ""
        rows = None
        if store.kind == migrations.JOURNAL and not problem:
            with _reader(settings, store.mode) as journal:
                rows = journal.verify()
    except InvariantError as error:
        return Verified(what=store.what, rows=None, problem=str(error))
    return Verified(what=store.what, rows=rows, problem=problem)


def _damage(path: Path) -> str:
    """Return what SQLite finds wrong with the pages of a file."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            found = str(file.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        found = str(error)
    return "" if found == "ok" else f"{path}: {found}; stop, keep the file for inspection and restore a copy"


def prune(settings: Settings, *, mode: str, keep_days: float | None, archive: Path | None) -> PruneResult:
    """Let a journal's old heartbeats leave, once they are in an archive. The bot of the mode must not run.

    Raises ConfigError, also where nothing says how long they are kept.
    """
    days = keep_days if keep_days is not None else settings.storage.keep_heartbeats_days
    if days is None:
        raise ConfigError(
            "nothing says how long heartbeats are kept: give --keep-days, or storage.keep_heartbeats_days"
        )
    with _reader(settings, mode):
        pass  # a journal that is not there is not made
    now_s = time.time()
    with open_journal(settings, mode=mode) as journal:
        last = journal.last_step()
        newest_s = last.decision.now_s if last is not None else now_s  # chain time, on a devnet

        def keep(pages: Iterator[list[dict[str, Any]]]) -> Archive:
            return _archive(archive or settings.state_dir / "archive", f"heartbeats-{mode}", now_s, pages)

        return journal.prune(before_s=min(newest_s, now_s) - days * DAY_S, at_s=now_s, archive=keep)


def _archive(folder: Path, name: str, now_s: float, pages: Iterator[list[dict[str, Any]]]) -> Archive:
    path = folder / f"{name}-{iso_utc(now_s).replace(':', '')}.parquet"
    rows = ([[row[column] for column, _ in _ARCHIVED] for row in page] for page in pages)
    write_table(Table(name=name, columns=_ARCHIVED, pages=rows), path, TableFormat.PARQUET)
    with path.open("rb") as file:
        return Archive(name=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest())
