"""A journal that is opened, read and checked: what is left of a failure, and what is said of it (REL-P)."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from journal_builders import IDENTITY, event, step
from old_stores import old_journal
from old_stores import run_sql as run_on_server
from postgres_server import empty_postgres
from send_builders import filled, leg
from small_disk import files_of_at_most, fill, small_disk

from bot.errors import ConfigError, InvariantError, NoSpaceError
from bot.model.intent import IntentState as S
from bot.pipeline.history import History
from bot.pipeline.journal import SqlJournal


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "journal.db"


def run_sql(path: Path, *statements: str) -> None:
    """Change a file as another program could: without its triggers."""
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


# opened


def test_it_says_where_it_is_whose_and_of_which_schema(path):
    with SqlJournal(path, identity=IDENTITY) as journal:
        assert (journal.where, journal.revision, journal.identity) == (str(path), "0002", IDENTITY)
        assert repr(journal) == f"SqlJournal({str(path)!r})"


def test_a_schema_of_a_server_is_a_journal_of_its_own(postgres_url):
    empty_postgres(postgres_url)
    with SqlJournal(postgres_url, identity=IDENTITY, schema="alvh_one") as one:
        one.append_step(step(1))
        assert one.where.endswith(" schema alvh_one")
        with SqlJournal(postgres_url, identity=IDENTITY) as plain:
            assert plain.last_step() is None


def test_an_older_journal_is_read_as_it_is_and_taken_up_by_whoever_does_not_own_it(path, tmp_path):
    old_journal(f"sqlite:///{path}", tmp_path)
    with SqlJournal(path, read_only=True) as reader:
        assert (reader.revision, reader.verify(), reader.verify(last=2)) == ("0001", 4, 2)
        assert "prunings" not in reader.count()
    with SqlJournal(path, upgrade=True) as upgraded:
        assert (upgraded.revision, upgraded.identity, upgraded.verify()) == ("0002", IDENTITY, 4)


def test_nothing_is_left_of_a_file_that_was_not_there_to_be_taken_up(path):
    with pytest.raises(ConfigError, match="is not a journal of this program: it holds nothing"):
        SqlJournal(path, upgrade=True)
    assert not path.exists()
    SqlJournal(path, identity=IDENTITY).close()


@pytest.mark.parametrize("size", [5_000, 20_000])
def test_nothing_is_left_or_held_of_a_creation_that_failed(path, size):
    with pytest.raises(ConfigError, match=r"journal\.db cannot be used: "), files_of_at_most(size):
        SqlJournal(path, identity=IDENTITY)
    assert [item.name for item in path.parent.iterdir()] == ["journal.db.lock"]
    SqlJournal(path, identity=IDENTITY).close()


@pytest.mark.parametrize("pages", [0, 1, 4, 10])
@pytest.mark.parametrize("is_there", [True, False])
def test_an_opening_on_a_full_disk_passes_once_there_is_room(tmp_path, is_there, pages):
    """REL-H1: no ConfigError, after which no supervisor would try again."""
    with small_disk(tmp_path) as folder:
        path, observed = folder / "journal.db", folder / "history.db"

        def use():
            with SqlJournal(path, identity=IDENTITY) as journal, closing(History(path=observed)):
                last = journal.last_step()
                journal.append_step(step(1 if last is None else last.sequence + 1))

        if is_there:
            use()
        filler = fill(folder, but=pages)
        with pytest.raises(NoSpaceError):
            use()
        with pytest.raises(NoSpaceError):
            History(path=folder / "another.db")
        filler.unlink()
        use()


def test_a_file_that_was_there_stays_when_it_is_refused_and_is_not_held(path):
    content = b"not a database at all" * 100
    path.write_bytes(content)
    for _ in range(2):  # the second is not told that the first still holds it
        with pytest.raises(ConfigError, match="is not a database"):
            SqlJournal(path, upgrade=True)
    assert path.read_bytes() == content


def test_an_empty_file_that_was_there_stays_when_it_is_refused_and_may_become_a_journal(path):
    path.touch()
    for _ in range(2):
        with pytest.raises(ConfigError, match="is not a journal of this program: it holds nothing"):
            SqlJournal(path, upgrade=True)
    assert path.exists()  # though SQLite has marked it as its own
    SqlJournal(path, identity=IDENTITY).close()


def test_an_opening_checks_the_newest_thousand_rows_and_a_person_all(path):
    with SqlJournal(path, identity=IDENTITY) as journal:
        for number in range(1, 1_003):
            journal.append_step(step(number))
    run_sql(path, "UPDATE steps SET at_s = 0.5 WHERE sequence = 2")
    with (
        SqlJournal(path, identity=IDENTITY) as journal,
        pytest.raises(InvariantError, match="at row 2 of steps"),
    ):
        journal.verify()
    run_sql(path, "UPDATE steps SET at_s = 0.5 WHERE sequence = 3")
    with pytest.raises(InvariantError, match="changed at row 3 of steps"):
        SqlJournal(path, identity=IDENTITY)


# closed, or refused


def test_a_closed_journal_says_why_it_does_not_write(path):
    with SqlJournal(path, identity=IDENTITY) as journal:
        reader = SqlJournal(path, read_only=True)
        reader.close()
        with pytest.raises(InvariantError) as caught:
            reader.append_step(step(1))
        assert str(caught.value) == (
            f"step 1 cannot be written to journal {path}: it is open for reading only"
        )
    with pytest.raises(InvariantError) as caught:
        journal.append_step(step(1))
    assert str(caught.value) == f"step 1 cannot be written to journal {path}: it was closed"


def test_what_is_refused_is_named(path):
    with SqlJournal(path, identity=IDENTITY) as journal:
        with pytest.raises(InvariantError) as caught:
            journal.append_intent(event(S.SIGNED, nonce=7))
        assert str(caught.value).startswith("intent leg/1-open (signed, nonce 7) is refused by the journal: ")
        journal.append_step(step(1))
        with pytest.raises(InvariantError, match=r"^step 1 is refused by the journal: "):
            journal.append_step(step(1))
        with pytest.raises(InvariantError, match=r"^step 2 needs a time in seconds, was nan"):
            journal.append_step(step(2, now_s=float("nan")))


def test_a_write_that_fails_for_another_reason_than_room_says_so_and_is_the_last(path):
    """REL-H1, REL-P4."""
    with SqlJournal(path, identity=IDENTITY) as journal:
        run_sql(path, "DROP TABLE steps")
        with pytest.raises(
            InvariantError, match=r"^step 1 could not be written to .*no such table"
        ) as caught:
            journal.append_step(step(1))
        assert not isinstance(caught.value, NoSpaceError)
        with pytest.raises(InvariantError, match=r"an earlier write failed .*no such table.*; restart when"):
            journal.open_leg(leg(), at_s=1.0)


def test_a_read_that_fails_is_told_and_stops_no_writing(path):
    with SqlJournal(path, identity=IDENTITY) as journal:
        run_sql(path, "DROP TABLE steps")
        with pytest.raises(InvariantError, match=rf"^journal {path} cannot be read: no such table: steps$"):
            journal.last_step()
        run_sql(path, "DROP TABLE intent_events")
        with pytest.raises(InvariantError, match="cannot be read: no such table: intent_events"):
            journal.intents()
        journal.open_leg(leg(), at_s=1.0)
        assert journal.open_legs() == (leg(),)


# read and checked


@pytest.fixture
def small_pages(monkeypatch) -> None:
    monkeypatch.setattr("bot.pipeline.journal._PAGE", 3)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
@pytest.mark.usefixtures("small_pages")
def test_steps_come_in_the_order_of_their_writing_whatever_their_times(path, count):
    times = [5.0, 1.0, 9.0, 3.0, 8.0, 2.0, 4.0][:count]
    with SqlJournal(path, identity=IDENTITY) as journal:
        for number, now_s in enumerate(times, 1):
            journal.append_step(replace(step(number, now_s=now_s), is_heartbeat=number % 2 == 0))
        wanted = [*range(1, count + 1)]
        assert [item.sequence for item in journal.steps()] == wanted
        assert [item.sequence for item in journal.steps(full=True)] == wanted[::2]
        since = [number for number in wanted if times[number - 1] >= 3.0]
        assert [item.sequence for item in journal.steps(since_s=3.0)] == since
        assert journal.verify() == count
        assert [journal.verify(last=last) for last in range(1, 9)] == [
            min(last, count) for last in range(1, 9)
        ]


def test_rows_come_in_the_order_of_their_writing_however_a_server_has_laid_them(postgres_url):
    """Whoever keeps a server may sort its files by any index."""
    empty_postgres(postgres_url)
    with SqlJournal(postgres_url, identity=IDENTITY) as journal:
        legs = [replace(leg(key), group=key) for key in ("d", "c", "b", "a")]
        for item in legs:
            journal.open_leg(item, at_s=1.0)
        events = [event(S.RESERVED, leg_key=item.key, sender=f"0x{item.key * 40}") for item in legs]
        for item in events:
            journal.append_intent(item)
        for item in events[:2]:
            journal.append_intent(replace(item, state=S.RELEASED))
            events.append(replace(item, state=S.RELEASED))
        for item in legs[:2]:
            journal.close_leg(filled(item))
        tables = ("leg_events", "intent_events")
        run_on_server(postgres_url, [f"CLUSTER {table} USING {table}_by_key" for table in tables])
        assert journal.open_legs() == tuple(legs[2:])
        assert journal.outcomes() == tuple(filled(item) for item in legs[:2])
        assert journal.intents() == tuple(events)
        assert journal.verify() == 12


@pytest.mark.usefixtures("small_pages")
def test_rows_of_all_tables_are_one_chain(path):
    with SqlJournal(path, identity=IDENTITY) as journal:
        for number in range(1, 5):
            journal.append_step(step(number))
            journal.open_leg(replace(leg(f"leg-{number}"), group=f"{number}"), at_s=1.0)
            reserved = event(S.RESERVED, leg_key=f"leg-{number}", nonce=number, number=number)
            journal.append_intent(reserved)
            journal.append_intent(replace(reserved, state=S.RELEASED))
        assert journal.verify() == 16
        assert journal.count() == {"leg_events": 4, "intent_events": 8, "steps": 4, "prunings": 0}
        assert journal.newest_rows() == {"leg_events": 14, "intent_events": 16, "steps": 13, "prunings": 0}
        run_sql(path, "DELETE FROM leg_events WHERE seq = 6")
        with pytest.raises(InvariantError, match="lost row 6"):
            journal.verify()


def test_a_row_that_was_put_beside_another_of_its_number_is_found(path):
    with SqlJournal(path, identity=IDENTITY) as journal:
        journal.open_leg(leg(), at_s=1.0)
        journal.append_step(step(1))
        run_sql(
            path,
            "INSERT INTO steps (seq, body, previous_hash, row_hash, sequence, at_s, is_heartbeat)"
            " VALUES (1, '', '', 'x', 9, 1.0, 0)",
        )
        with pytest.raises(InvariantError, match=r"(lost|changed at) row \d"):
            journal.verify()
