"""What leaves a journal: heartbeats alone, archived first; the chain of hashes holds over the holes."""

import threading
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import sqlalchemy as sa
from journal_builders import IDENTITY, step
from postgres_server import empty_postgres
from send_builders import leg
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError

from bot.app.databases import _archive
from bot.errors import ConfigError, InvariantError
from bot.pipeline.journal import SqlJournal
from bot.pipeline.journal_pruning import Archive, PruneResult

HEARTBEATS = {2, 3, 5, 6, 7, 9, 10}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found = request.getfixturevalue("postgres_url")
    empty_postgres(found)
    return found


@pytest.fixture
def journal(url):
    """Ten steps, of which three are full, and an order in the middle of heartbeats."""
    with SqlJournal(url, identity=IDENTITY) as opened:
        for number in range(1, 11):
            opened.append_step(replace(step(number), is_heartbeat=number in HEARTBEATS))
            if number == 6:
                opened.open_leg(leg(), at_s=6.0)
        yield opened


def kept(pages) -> Archive:
    return Archive(name=f"{sum(len(page) for page in pages)} rows", sha256="0" * 64)


def prune(journal, before_s=9.5, archive=kept):
    return journal.prune(before_s=before_s, at_s=100.0, archive=archive)


def sequences(journal):
    return [item.sequence for item in journal.steps()]


def run_sql(url, *statements):
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def test_heartbeats_leave_and_everything_else_stays_and_is_still_bound(journal, url):
    done = prune(journal)
    assert (done.rows, done.stretches, done.archive.name) == (6, 4, "6 rows")
    assert sequences(journal) == [1, 4, 8, 10]
    assert journal.open_legs() == (leg(),)
    assert journal.verify() == 9  # four steps, one order, four stretches that left
    found = [journal.verify(last=last) for last in range(1, 16)]
    assert found == [1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8, 8, 9]  # also where it begins inside of a hole
    journal.append_step(step(11))
    journal.close()
    with SqlJournal(url, identity=IDENTITY) as again:
        assert (sequences(again), again.verify()) == ([1, 4, 8, 10, 11], 10)
        assert prune(again).rows == 0
        assert prune(again, before_s=1e9).rows == 1  # of the tenth, once it is not the newest any more
        assert (sequences(again), again.verify()) == ([1, 4, 8, 11], 10)


def test_the_newest_step_stays_however_old(journal):
    assert prune(journal, before_s=1e9).rows == 6
    assert journal.last_step().sequence == 10


def unused(pages) -> Archive:
    raise AssertionError("nothing leaves, so nothing is kept")


def test_nothing_leaves_an_empty_journal_or_one_without_old_heartbeats(url):
    with SqlJournal(url, identity=IDENTITY) as empty:
        assert prune(empty, archive=unused) == PruneResult(rows=0, stretches=0, archive=None)
        for number in (1, 2, 3):
            empty.append_step(replace(step(number), is_heartbeat=number == 2))
        assert prune(empty, before_s=2.0, archive=unused) == PruneResult(rows=0, stretches=0, archive=None)
        assert prune(empty, before_s=2.1).rows == 1


def test_what_is_as_old_as_the_time_stays(journal):
    assert prune(journal, before_s=9.0).rows == 5
    assert sequences(journal) == [1, 4, 8, 9, 10]


def test_heartbeats_leave_in_the_order_of_their_writing_whatever_their_times(url, monkeypatch):
    """The clock went back between them. All are kept, the first row of a journal too, in pages."""
    monkeypatch.setattr("bot.pipeline.journal._PAGE", 3)
    seen = []

    def keep(pages) -> Archive:
        seen.extend([row["sequence"] for row in page] for page in pages)
        return kept([])

    with SqlJournal(url, identity=IDENTITY) as journal:
        for number, at_s in enumerate([5.0, 4.0, 9.0, 3.0, 8.0, 2.0, 7.0, 50.0], 1):
            journal.append_step(replace(step(number, now_s=at_s), is_heartbeat=number < 8))
        if not url.startswith("sqlite"):  # whoever keeps a server may sort its files by any index
            run_sql(url, "CLUSTER steps USING steps_by_time")
        done = prune(journal, before_s=10.0, archive=keep)
        assert (done.rows, done.stretches) == (7, 1)
        assert seen == [[1, 2, 3], [4, 5, 6], [7]]
        assert (sequences(journal), journal.verify()) == ([8], 2)


def test_a_reader_prunes_nothing(journal, url):
    words = r"^heartbeats cannot be written to .*reading only$"
    with SqlJournal(url, read_only=True) as reader, pytest.raises(InvariantError, match=words):
        prune(reader)
    assert sequences(journal) == [*range(1, 11)]


def test_nothing_leaves_a_journal_that_was_changed_while_it_is_open(journal, url):
    change = "UPDATE steps SET at_s = 5.5 WHERE sequence = 5"
    before = (
        "DROP TRIGGER steps_no_update"
        if url.startswith("sqlite")
        else "SET session_replication_role = replica"
    )
    run_sql(url, before, change)
    with pytest.raises(InvariantError, match="was changed"):
        prune(journal, archive=unused)
    assert sequences(journal) == [*range(1, 11)]


def test_nothing_leaves_a_journal_that_was_changed(journal, url):
    journal.close()
    if url.startswith("sqlite"):
        run_sql(url, "DROP TRIGGER steps_no_update", "UPDATE steps SET at_s = 5.5 WHERE sequence = 5")
    else:
        run_sql(
            url, "SET session_replication_role = replica", "UPDATE steps SET at_s = 5.5 WHERE sequence = 5"
        )
    with pytest.raises(InvariantError, match="was changed"), SqlJournal(url, identity=IDENTITY) as again:
        prune(again)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM steps WHERE sequence = 9", "append-only"),  # a heartbeat that no row speaks of
        ("DELETE FROM steps WHERE sequence = 4", "append-only"),
        ("DELETE FROM prunings", "append-only"),
        ("UPDATE prunings SET last_seq = 9", "append-only"),
        ("INSERT INTO prunings VALUES (99, '', '', 'x', 4, 4, 1.0)", "only heartbeats"),
        ("INSERT INTO prunings VALUES (99, '', '', 'x', 5, 8, 1.0)", "only heartbeats"),  # an order is inside
        ("INSERT INTO prunings VALUES (99, '', '', 'x', 11, 11, 1.0)", "newest step stays"),
        ("INSERT INTO prunings VALUES (99, '', '', 'x', 11, 10, 1.0)", "only heartbeats"),
    ],
)
def test_raw_sql_can_take_nothing_else_away(journal, url, statement, words):
    prune(journal, before_s=4.0)
    journal.close()
    with pytest.raises(DBAPIError, match=words):
        run_sql(url, statement)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM prunings WHERE first_seq = 2",
        "UPDATE prunings SET last_seq = last_seq + 1 WHERE first_seq = 2",
        "UPDATE prunings SET body = replace(body, '\"archive\"', '\"file\"') WHERE first_seq = 2",
        "DELETE FROM steps WHERE sequence = 4",
    ],
)
def test_a_hole_that_was_widened_behind_its_back_is_found(journal, url, damage):
    prune(journal)
    journal.close()
    if url.startswith("sqlite"):
        names = [f"{table}_no_{verb}" for table in ("prunings", "steps") for verb in ("update", "delete")]
        run_sql(url, *(f"DROP TRIGGER {name}" for name in names), damage)
    else:
        run_sql(url, "SET session_replication_role = replica", damage)
    with SqlJournal(url, read_only=True) as reader, pytest.raises(InvariantError, match=r"row \d+"):
        reader.verify()


def test_a_pruning_that_is_killed_at_any_statement_took_all_or_nothing(journal):
    class Killed(Exception):
        pass

    mine = threading.get_ident()

    def at(number, seen, connection, cursor, statement, *_):
        if threading.get_ident() != mine:  # a server that other tests of this process share
            return
        seen.append(statement)
        if len(seen) == number:
            raise Killed

    for number in range(1, 40):
        seen: list[str] = []
        hook = partial(at, number, seen)
        event.listen(sa.engine.Engine, "before_cursor_execute", hook)
        try:
            prune(journal)
        except Killed:
            pass
        finally:
            event.remove(sa.engine.Engine, "before_cursor_execute", hook)
        assert sequences(journal) in ([*range(1, 11)], [1, 4, 8, 10])
        assert journal.verify() in (11, 9)
        if sequences(journal) == [1, 4, 8, 10]:
            break
    else:
        raise AssertionError("it never came to an end")


def test_an_archive_that_cannot_be_written_lets_nothing_leave(journal, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        prune(journal, archive=lambda pages: _archive(tmp_path / "file", "heartbeats", 0.0, pages))
    assert sequences(journal) == [*range(1, 11)]


def test_the_archive_holds_whole_rows(journal, tmp_path):
    done = prune(journal, archive=lambda pages: _archive(tmp_path, "heartbeats", 0.0, pages))
    table = pd.read_parquet(tmp_path / done.archive.name)
    assert table["sequence"].tolist() == [2, 3, 5, 6, 7, 9]
    assert table["previous_hash"].str.len().eq(64).all()
    assert '"is_heartbeat"' in table["body"][0]
