"""Every released schema goes up to the newest, whole or not at all, and the money rules with it (REL-P7)."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from journal_builders import IDENTITY, step
from old_schemas import HISTORY_1, HISTORY_2
from old_stores import driven, old_journal, run_sql
from pipeline_builders import START_S, block, price
from postgres_server import empty_postgres
from send_builders import leg
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError

from bot.errors import ConfigError, InvariantError
from bot.model.market import Metric, SeriesKey
from bot.pipeline import migrations
from bot.pipeline.history import History
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.history_store import HistoryStore
from bot.pipeline.journal import SqlJournal

KEY = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found = request.getfixturevalue("postgres_url")
    empty_postgres(found)
    return found


def schema_of(url: str) -> dict:
    """Return all there is: tables with columns and indexes, triggers and functions with their texts."""
    engine = create_engine(driven(url))
    with engine.connect() as connection:
        look = sa.inspect(connection)
        found = {
            table: (
                [
                    (c["name"], str(c["type"].as_generic()), c["nullable"], c["default"])
                    for c in look.get_columns(table)
                ],
                look.get_pk_constraint(table)["constrained_columns"],
                sorted((i["name"], i["column_names"]) for i in look.get_indexes(table)),
                sorted(tuple(item["column_names"]) for item in look.get_unique_constraints(table)),
            )
            for table in look.get_table_names()
        }
        if connection.dialect.name == "sqlite":
            texts = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        else:
            texts = (
                "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal "
                "AND tgenabled = 'O' UNION ALL SELECT proname, prosrc FROM pg_proc "
                "WHERE pronamespace = 'public'::regnamespace"
            )
        found["texts"] = {name: " ".join(text.split()) for name, text in connection.exec_driver_sql(texts)}
    engine.dispose()
    return found


def upgraded(url: str) -> SqlJournal:
    return SqlJournal(url, identity=IDENTITY, upgrade=True)


def test_a_migrated_journal_has_the_very_schema_of_a_new_one(url, tmp_path):
    SqlJournal(url, identity=IDENTITY).close()
    new = schema_of(url)
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink()
    else:
        empty_postgres(url)
    old_journal(url, tmp_path)
    upgraded(url).close()
    assert schema_of(url) == new


def test_a_journal_of_the_first_release_is_read_as_it_is_and_written_once_it_is_upgraded(url, tmp_path):
    old_journal(url, tmp_path)
    with SqlJournal(url, read_only=True) as reader:
        assert (reader.revision, reader.last_step(), reader.verify()) == ("0001", step(3), 4)
    before = schema_of(url)
    with pytest.raises(ConfigError, match="has schema 0001, this program writes 0002: run alvh db upgrade"):
        SqlJournal(url, identity=IDENTITY)
    assert schema_of(url) == before
    with upgraded(url) as journal:
        assert (journal.revision, journal.open_legs(), journal.verify()) == ("0002", (leg(),), 4)
        journal.append_step(step(4))
        with pytest.raises(InvariantError, match="executed once"):
            journal.open_leg(leg(), at_s=2.0)
        assert journal.verify() == 5
    for verb in (
        "UPDATE steps SET at_s = 7",
        "DELETE FROM steps",
        "UPDATE meta SET value = '1'",
        "DELETE FROM meta",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            run_sql(url, [verb])


def test_a_foreign_journal_is_not_upgraded(url, tmp_path):
    old_journal(url, tmp_path)
    before = schema_of(url)
    with pytest.raises(ConfigError, match="belongs to mode"):
        SqlJournal(url, identity=type(IDENTITY)(mode="monitor", chain_id=1, account=""), upgrade=True)
    assert schema_of(url) == before


@contextmanager
def killed_at(number: int) -> Iterator[list[int]]:
    """Raise at one statement of this thread, once: what was open is rolled back, as after a kill."""
    seen, mine = [0], threading.get_ident()

    def count(connection, cursor, statement, *_: object) -> None:
        if threading.get_ident() != mine:  # a server that other tests of this process share
            return
        seen[0] += not statement[0].islower()  # SQLAlchemy's own, while it connects
        if seen[0] == number:
            raise Killed

    event.listen(sa.engine.Engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(sa.engine.Engine, "before_cursor_execute", count)


def test_an_upgrade_that_is_killed_at_any_statement_leaves_the_old_schema_or_the_new(url, tmp_path):
    old_journal(url, tmp_path)
    old, at = schema_of(url), 0
    while True:
        at += 1
        try:
            with killed_at(at) as seen:
                upgraded(url).close()
        except Killed:
            found = schema_of(url)
            if found != old:
                break  # killed after its commit, while the rows were checked
        else:
            assert seen[0] < at
            break
    assert at > 10
    with upgraded(url) as journal:
        assert (journal.revision, journal.verify()) == ("0002", 4)
        journal.append_step(step(4))


def test_a_real_kill_in_the_middle_leaves_the_old_schema(tmp_path):
    url = f"sqlite:///{tmp_path}/journal.db"
    old_journal(url, tmp_path)
    old = schema_of(url)
    script = (
        "import os, signal, sys\n"
        "from sqlalchemy import event\n"
        "from sqlalchemy.engine import Engine\n"
        "from bot.pipeline.journal import SqlJournal\n"
        "def look(connection, cursor, statement, *_):\n"
        "    if statement.startswith('UPDATE meta'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "event.listen(Engine, 'after_cursor_execute', look)\n"
        "SqlJournal(sys.argv[1], upgrade=True)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, url], env={**os.environ, "PYTHONPATH": root}, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert schema_of(url) == old
    with upgraded(url) as journal:
        assert journal.verify() == 4


# histories


def old_history(path: Path, version: int) -> None:
    """Make a history as an earlier release did: a price that was replaced, one unknown, heads and a halt."""
    with closing(sqlite3.connect(path)) as raw:
        for statement in HISTORY_1 if version == 1 else HISTORY_2:
            raw.execute(statement)
        if version == 1:
            for at_s, value in ((0, 0.0), (12, 1.0), (24, 2.0), (12, 10.0), (36, None)):
                row = ("price_usd", "ETH", KEY.source, value, START_S + at_s, START_S + at_s, 5, "")
                raw.execute(
                    "INSERT INTO observations (metric, subject, source, value, observed_at_s, read_at_s, "
                    "block_number, why_unknown) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
        else:
            raw.execute("INSERT INTO series VALUES (1, 'price_usd', 'ETH', ?)", (KEY.source,))
            rows = ((0, 0.0, 0), (12, 1.0, 1), (24, 2.0, 1), (12, 10.0, 0), (36, None, 0))
            for at_s, value, superseded in rows:
                raw.execute(
                    "INSERT INTO observation (series_id, observed_at_s, value, read_at_s, block_number, "
                    "why_unknown, filled, superseded) VALUES (1, ?, ?, ?, 5, '', 0, ?)",
                    (START_S + at_s, value, START_S + at_s, superseded),
                )
            raw.execute("INSERT INTO heads VALUES (31337, 5, '0x05', '0x04', ?)", (int(START_S),))
            raw.execute("INSERT INTO gaps VALUES (31337, 1, 4, 0.0, 1.0, 'the program was not running')")
            raw.execute("INSERT INTO halts VALUES (1, 31337, 5.0, 'deep', NULL)")
        raw.commit()


def whole_history(path: Path) -> tuple:
    history = History([KEY], path=path)
    column = history.columns()[KEY]
    found = (
        (column.times_s - START_S).tolist(),
        repr(column.values.tolist()),
        history.halts(),
        history.gaps(),
    )
    history.close()
    return found


@pytest.mark.parametrize("version", [1, 2])
def test_a_history_of_an_earlier_release_is_taken_over_and_goes_on(tmp_path, version):
    path = tmp_path / "history.sqlite"
    old_history(path, version)
    first = whole_history(path)
    assert first[:2] == ([0.0, 12.0, 36.0], "[0.0, 10.0, nan]")
    assert [len(item) for item in first[2:]] == ([0, 0] if version == 1 else [1, 1])
    history = History([KEY], path=path)
    history.append([price(START_S + 48, 7.0)])
    history.add_head(block(6, START_S + 48))
    history.close()
    assert whole_history(path)[0] == [0.0, 12.0, 36.0, 48.0]
    again = History([KEY], path=path)
    assert [head.number for head in again.last_heads(31337)] == ([6] if version == 1 else [5, 6])
    again.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_migrated_history_has_the_schema_of_a_new_one(tmp_path, version):
    path, new = tmp_path / "history.sqlite", tmp_path / "new.sqlite"
    old_history(path, version)
    for item in (path, new):
        HistoryStore(HistoryPlace(path=item)).close()

    def names(of: Path) -> dict:
        return {
            table: ([column[0] for column in parts[0]], parts[1:]) if table != "texts" else parts
            for table, parts in schema_of(f"sqlite:///{of}").items()
        }

    assert names(path) == names(new)
    for item in (path, new):
        with closing(sqlite3.connect(item)) as raw:
            assert raw.execute("PRAGMA user_version").fetchone() == (3,)  # what programs of before look at


@pytest.mark.parametrize("version", [1, 2])
def test_a_history_that_is_killed_at_any_statement_of_its_migration_is_old_or_new(tmp_path, version):
    path = tmp_path / "history.sqlite"
    old_history(path, version)
    old, at = schema_of(f"sqlite:///{path}"), 0
    while True:
        at += 1
        try:
            with killed_at(at):
                HistoryStore(HistoryPlace(path=path)).close()
        except Killed:
            if schema_of(f"sqlite:///{path}") != old:
                break  # killed after its commit
        else:
            break
    assert at > 10
    assert whole_history(path)[0] == [0.0, 12.0, 36.0]


def test_a_newer_history_is_refused_by_name_and_left_alone(tmp_path):
    path = tmp_path / "history.sqlite"
    HistoryStore(HistoryPlace(path=path)).close()
    run_sql(f"sqlite:///{path}", ["UPDATE alembic_version SET version_num = '0004'"])
    content = path.read_bytes()
    with pytest.raises(ConfigError, match=r"history.sqlite has schema 0004, this program knows up to 0003"):
        History([KEY], path=path)
    assert path.read_bytes() == content


def test_a_journal_is_no_history_and_a_history_no_journal(tmp_path):
    journal, history = tmp_path / "journal.sqlite", tmp_path / "history.sqlite"
    SqlJournal(journal, identity=IDENTITY).close()
    History([KEY], path=history).close()
    with pytest.raises(ConfigError, match="is not a history of this program: it holds"):
        History([KEY], path=journal)
    with pytest.raises(ConfigError, match="is not a journal of this program: it holds"):
        SqlJournal(history, identity=IDENTITY)


@pytest.mark.parametrize("kind", [migrations.JOURNAL, migrations.HISTORY])
def test_the_revisions_that_are_named_are_the_files_there_are(kind):
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(migrations.__file__).parent / kind))
    assert [item.revision for item in script.walk_revisions()][::-1] == list(migrations.REVISIONS[kind])
