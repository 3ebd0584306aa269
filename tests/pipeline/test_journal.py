"""The journal: durable, append-only, one writer, and the rules the database enforces (REL-P, REL-E2, REL-O5).

Every law runs on SQLite, on a real PostgreSQL where its server is installed, and on the memory journal.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from journal_builders import IDENTITY, ME, event, step
from postgres_server import empty_postgres
from send_builders import filled, leg
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from bot.errors import ConfigError, InvariantError, NoSpaceError
from bot.model.hedge import Layer, LegStatus
from bot.model.intent import CLOSED_STATES
from bot.model.intent import IntentState as S
from bot.pipeline.journal import SqlJournal
from bot.pipeline.memory_journal import MemoryJournal

# the three journals


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found = request.getfixturevalue("postgres_url")
    empty_postgres(found)
    return found


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def journal(request, tmp_path) -> Iterator[SqlJournal | MemoryJournal]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    where = f"sqlite:///{tmp_path}/journal.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("postgres_url")
        empty_postgres(where)
    with SqlJournal(where, identity=IDENTITY) as opened:
        yield opened


# laws of all journals


def test_a_leg_is_opened_once_and_closed_once(journal):
    journal.open_leg(leg(), at_s=1.0)
    assert journal.open_legs() == (leg(),)
    journal.close_leg(filled(leg()))
    assert journal.open_legs() == ()
    assert journal.outcomes() == (filled(leg()),)
    with pytest.raises(InvariantError, match="executed once"):
        journal.open_leg(leg(), at_s=2.0)
    with pytest.raises(InvariantError, match="not open"):
        journal.close_leg(filled(leg()))


def test_a_layer_of_a_group_has_one_open_leg(journal):
    journal.open_leg(leg("a"), at_s=1.0)
    with pytest.raises(InvariantError, match="still open"):
        journal.open_leg(leg("b"), at_s=1.0)
    journal.open_leg(leg("c", layer=Layer.TAIL), at_s=1.0)
    journal.open_leg(replace(leg("d"), group="ETH/DAI"), at_s=1.0)
    journal.close_leg(filled(leg("a")))
    journal.open_leg(leg("e"), at_s=1.0)
    assert [item.key for item in journal.open_legs()] == ["c", "d", "e"]


@pytest.mark.parametrize("status", [LegStatus.UNKNOWN, LegStatus.PROPOSED, LegStatus.WAITING])
def test_an_outcome_that_is_not_known_leaves_the_leg_open(journal, status):
    journal.open_leg(leg(), at_s=1.0)
    journal.close_leg(filled(leg(), status=status))
    assert journal.open_legs() == (leg(),)
    assert journal.outcomes() == ()
    journal.close_leg(filled(leg(), status=LegStatus.REJECTED))
    assert [outcome.status for outcome in journal.outcomes()] == [LegStatus.REJECTED]


def test_intents_come_back_in_order_and_by_leg(journal):
    journal.open_leg(leg("a"), at_s=1.0)
    journal.open_leg(leg("b", layer=Layer.MID), at_s=1.0)
    rows = [
        event(S.RESERVED, leg_key="a"),
        event(S.RELEASED, leg_key="a", because="no"),
        event(S.RESERVED, leg_key="b", number=2),
        event(S.SIGNED, leg_key="b", number=2, raw="0x02", tx_hash="0x1", gas_cost_wei=10**30),
    ]
    for row in rows:
        journal.append_intent(row)
    assert journal.intents() == tuple(rows)
    assert journal.intents("b") == tuple(rows[2:])
    assert journal.intents("c") == ()


def test_a_nonce_belongs_to_one_intent_until_it_is_released(journal):
    """REL-I7."""
    journal.open_leg(leg(), at_s=1.0)
    journal.append_intent(event(S.RESERVED, nonce=4))
    journal.append_intent(event(S.RELEASED, nonce=4))
    journal.append_intent(event(S.RESERVED, number=2, nonce=4))
    journal.append_intent(event(S.SIGNED, number=2, nonce=4))
    journal.append_intent(event(S.MINED, number=2, nonce=4))
    journal.append_intent(event(S.FINAL, number=2, nonce=4))
    with pytest.raises(InvariantError, match="belongs to another intent"):
        journal.append_intent(event(S.RESERVED, number=3, nonce=4))
    journal.append_intent(event(S.RESERVED, number=3, nonce=4, chain_id=5))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (event(S.SIGNED, number=2), "begins, once"),
        (event(S.RESERVED), "begins, once"),
        (event(S.SIGNED, nonce=1), "another nonce"),
        (event(S.SIGNED, chain_id=5), "another nonce"),
        (event(S.SIGNED, sender="0x" + "bb" * 20), "another nonce"),
        (event(S.SIGNED, key="leg/1-open", leg_key="other"), "another nonce, account or leg"),
        (event(S.RESERVED, number=2, nonce=1), "still open"),
        (event(S.RESERVED, number=2, nonce=1, sender="0x" + "bb" * 20, leg_key="absent"), "leg is not open"),
    ],
)
def test_an_event_against_the_rules_is_refused_and_changes_nothing(journal, bad, words):
    """REL-E2."""
    journal.open_leg(leg(), at_s=1.0)
    journal.append_intent(event(S.RESERVED))
    with pytest.raises(InvariantError, match=words):
        journal.append_intent(bad)
    assert journal.intents() == (event(S.RESERVED),)
    journal.append_intent(event(S.SIGNED))


@pytest.mark.parametrize("state", sorted(CLOSED_STATES))
def test_nothing_follows_a_closed_intent(journal, state):
    journal.open_leg(leg(), at_s=1.0)
    journal.append_intent(event(S.RESERVED))
    journal.append_intent(event(state))
    with pytest.raises(InvariantError, match="closed"):
        journal.append_intent(event(S.SENT))


def test_a_leg_with_an_open_transaction_does_not_close(journal):
    journal.open_leg(leg(), at_s=1.0)
    journal.append_intent(event(S.RESERVED))
    with pytest.raises(InvariantError, match=r"transaction.* is (still )?open"):
        journal.close_leg(filled(leg()))
    journal.append_intent(event(S.RELEASED))
    journal.close_leg(filled(leg()))


def test_steps_come_back_from_a_time_on(journal):
    assert journal.last_step() is None
    for number in range(1, 6):
        journal.append_step(step(number))
    assert journal.last_step() == step(5)
    assert [record.sequence for record in journal.steps()] == [1, 2, 3, 4, 5]
    assert [record.sequence for record in journal.steps(since_s=3.0)] == [3, 4, 5]
    with pytest.raises(InvariantError, match="step"):
        journal.append_step(step(5))


# laws of the database


def test_the_step_in_force_at_a_time_or_a_number_is_found(url):
    with SqlJournal(url, identity=IDENTITY) as journal:
        for number in (1, 2, 3, 4):
            journal.append_step(replace(step(number, now_s=10.0 * number), is_heartbeat=number in (2, 4)))

        def found(**which):
            record = journal.step_until(**which)
            return record.sequence if record else None

        assert found() == 4
        assert found(full=True) == 3
        assert [found(at_s=at_s) for at_s in (9.9, 10.0, 39.9, 40.0)] == [None, 1, 3, 4]
        assert [found(at_s=at_s, full=True) for at_s in (9.9, 29.9, 40.0)] == [None, 1, 3]
        assert [found(sequence=number) for number in (0, 2, 9)] == [None, 2, 4]
        assert found(sequence=2, full=True) == 1


def test_what_was_written_is_there_after_reopening(url):
    with SqlJournal(url, identity=IDENTITY) as first:
        first.open_leg(leg(), at_s=1)
        first.append_step(step(1))
    with SqlJournal(url, identity=IDENTITY) as second:
        assert second.open_legs() == (leg(),)
        assert second.last_step() == step(1)
        second.append_step(step(2))
        assert second.verify() == 3
        assert second.count() == {"leg_events": 1, "intent_events": 0, "steps": 2, "prunings": 0}


def test_what_is_news_is_told_by_table_and_heartbeats_can_be_left_out(url):
    with SqlJournal(url, identity=IDENTITY) as journal:
        assert set(journal.newest_rows().values()) == {0}
        for number in range(1, 5):
            journal.append_step(replace(step(number, now_s=10.0 * number), is_heartbeat=number in (2, 4)))
        with SqlJournal(url, read_only=True) as reader:
            before = reader.newest_rows()
            assert before["steps"] == 4
            assert [item.sequence for item in reader.steps(full=True)] == [1, 3]
            assert [item.sequence for item in reader.steps(full=True, since_s=20.0)] == [3]
            journal.append_step(step(5, now_s=50.0))
            assert reader.newest_rows() == before | {"steps": 5}


def test_many_steps_are_read_in_pages(url):
    with SqlJournal(url, identity=IDENTITY) as opened:
        for number in range(1, 1_102):
            opened.append_step(step(number))
        assert [record.sequence for record in opened.steps()] == list(range(1, 1_102))
        assert opened.verify() == 1_101
        assert opened.verify(last=600) == 600


def test_a_second_writer_is_refused_and_a_reader_is_not(url):
    """REL-P8, REL-O1."""
    with SqlJournal(url, identity=IDENTITY) as writer:
        with pytest.raises(ConfigError, match=f"in use by .*process {os.getpid()}"):
            SqlJournal(url, identity=IDENTITY)
        with SqlJournal(url, read_only=True) as reader:
            assert reader.identity == IDENTITY
            assert reader.is_written_by_another()
            assert not writer.is_written_by_another()
            writer.append_step(step(1))
            assert reader.last_step() == step(1)
            with pytest.raises(InvariantError, match="reading only"):
                reader.append_step(step(2))
    with SqlJournal(url, read_only=True) as reader:
        assert not reader.is_written_by_another()
    with SqlJournal(url, identity=IDENTITY) as next_writer:
        assert next_writer.last_step() == step(1)


@pytest.mark.parametrize("is_read_first", [False, True])
def test_who_lost_the_connection_and_so_the_lock_writes_no_more(postgres_url, is_read_first):
    """REL-P8: also where it is noticed by a read, after which the driver would connect again by itself."""
    empty_postgres(postgres_url)
    with SqlJournal(postgres_url, identity=IDENTITY) as first:
        first.append_step(step(1))
        _cut_connections(postgres_url)
        if is_read_first:
            with pytest.raises(InvariantError, match="cannot be read: terminating connection"):
                first.last_step()
        with SqlJournal(postgres_url, identity=IDENTITY) as second:
            for _ in range(2):
                with pytest.raises(InvariantError, match=r"step 2 .*terminating connection"):
                    first.append_step(step(2))
            second.append_step(step(2))
            assert second.verify() == 2


def test_a_reader_that_lost_its_connection_reads_on(postgres_url):
    empty_postgres(postgres_url)
    SqlJournal(postgres_url, identity=IDENTITY).close()
    with SqlJournal(postgres_url, read_only=True) as reader:
        _cut_connections(postgres_url)
        with pytest.raises(InvariantError, match="cannot be read: terminating connection"):
            reader.last_step()
        assert reader.last_step() is None
        with pytest.raises(InvariantError, match="reading only"):
            reader.append_step(step(1))


@pytest.mark.parametrize(
    "other",
    [
        replace(IDENTITY, mode="dry-run"),
        replace(IDENTITY, chain_id=1),
        replace(IDENTITY, account="0x" + "bb" * 20),
    ],
)
def test_a_journal_of_another_mode_chain_or_account_is_refused(url, other):
    """REL-O5."""
    SqlJournal(url, identity=IDENTITY).close()
    with pytest.raises(ConfigError, match="belongs to"):
        SqlJournal(url, identity=other)
    SqlJournal(url, identity=replace(IDENTITY, account=ME.upper().replace("X", "x"))).close()


@pytest.mark.parametrize("verb", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
@pytest.mark.parametrize(
    ("table", "column"),
    [("steps", "at_s"), ("leg_events", "at_s"), ("intent_events", "nonce"), ("meta", "value")],
)
def test_rows_can_be_neither_changed_nor_removed(url, verb, table, column):
    """REL-E2: raw SQL past the program is refused by the database."""
    with SqlJournal(url, identity=IDENTITY) as opened:
        opened.open_leg(leg(), at_s=1.0)
        opened.append_intent(event(S.RESERVED))
        opened.append_step(step(1))
    value = "'x'" if table == "meta" else "7"
    with pytest.raises(DBAPIError, match="append-only"):
        _raw(url, verb.format(table, column, value))


def test_raw_sql_cannot_give_a_nonce_away(url):
    """REL-E2."""
    with SqlJournal(url, identity=IDENTITY) as opened:
        opened.open_leg(leg(), at_s=1.0)
        opened.append_intent(event(S.RESERVED))
        opened.append_intent(event(S.FINAL))
    with pytest.raises(DBAPIError, match="belongs to another intent"):
        _raw(
            url,
            "INSERT INTO intent_events (seq, body, previous_hash, row_hash, key, leg_key, state, chain_id,"  # noqa: S608 - constants
            f" sender, nonce, at_s) VALUES (9, '', '', 'x', 'new', 'leg', 'reserved', 31337, '{ME}', 0, 1.0)",
        )


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE steps SET body = replace(body, '2000.0', '2001.0') WHERE sequence = 2",
        "UPDATE steps SET at_s = 99 WHERE sequence = 1",
        "DELETE FROM steps WHERE sequence = 2",
        "DELETE FROM leg_events",
        "UPDATE leg_events SET layer = 'TAIL'",
    ],
)
def test_a_row_that_was_changed_behind_its_back_is_found(url, damage):
    """REL-I12, REL-H3."""
    with SqlJournal(url, identity=IDENTITY) as opened:
        opened.append_step(step(1))
        opened.open_leg(leg(), at_s=1.0)
        opened.append_step(step(2))
        opened.append_step(step(3))
        assert opened.verify() == 4
    _without_triggers(url, damage)
    with SqlJournal(url, read_only=True) as reader, pytest.raises(InvariantError, match=r"row \d"):
        reader.verify()
    with pytest.raises(InvariantError, match="restore a copy"):
        SqlJournal(url, identity=IDENTITY)


def test_a_newer_schema_is_refused(url):
    """REL-P7."""
    SqlJournal(url, identity=IDENTITY).close()
    _without_triggers(url, "UPDATE meta SET value = '3' WHERE key = 'schema_version'")
    for options in ({"identity": IDENTITY}, {"read_only": True}):
        with pytest.raises(ConfigError, match="has schema 0003, this program knows up to 0002"):
            SqlJournal(url, **options)


def test_a_database_of_another_program_is_refused_and_left_alone(url):
    _raw(url, "CREATE TABLE customers (name TEXT)")
    with pytest.raises(ConfigError, match=r"not a journal.*customers"):
        SqlJournal(url, identity=IDENTITY)
    _raw(url, "INSERT INTO customers VALUES ('x')")


def test_a_time_that_is_no_time_is_refused(url):
    with SqlJournal(url, identity=IDENTITY) as opened:
        for at_s in (float("nan"), float("inf")):
            with pytest.raises(InvariantError, match="needs a time"):
                opened.open_leg(leg(), at_s=at_s)
        opened.open_leg(leg(), at_s=1.0)


def test_a_closed_journal_refuses_to_write(url):
    opened = SqlJournal(url, identity=IDENTITY)
    opened.close()
    opened.close()
    with pytest.raises(InvariantError, match="closed"):
        opened.append_step(step(1))


# laws of the file


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "deep" / "journal.db"


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"\x00" * 5_000], ids=["text", "zeros"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    for options in ({"identity": IDENTITY}, {"read_only": True}):
        with pytest.raises(ConfigError, match=r"journal\.db cannot be used: file is not a database"):
            SqlJournal(path, **options)
    assert path.read_bytes() == content


def test_a_truncated_file_is_refused(path):
    with SqlJournal(path, identity=IDENTITY) as opened:
        for number in range(1, 200):
            opened.append_step(step(number))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises((ConfigError, InvariantError), match=r"journal\.db.*(malformed|disk)"):
        SqlJournal(path, identity=IDENTITY)


def test_an_empty_file_left_by_a_kill_becomes_a_journal(path):
    path.parent.mkdir()
    path.touch()
    with SqlJournal(path, identity=IDENTITY) as opened:
        opened.append_step(step(1))
    assert SqlJournal(path, read_only=True).last_step() == step(1)


def test_a_writer_must_say_whose_journal_it_is(path):
    with pytest.raises(InvariantError, match="identity"):
        SqlJournal(path)


def test_a_server_that_cannot_be_reached_is_named_without_its_password():
    with pytest.raises(ConfigError, match=r"alvh:\*\*\*@127.0.0.1:1/x") as caught:
        SqlJournal("postgresql://alvh:hunter2@127.0.0.1:1/x", identity=IDENTITY)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_stops_the_journal_and_loses_nothing(path):
    """REL-H1, REL-P4: after a failed write nothing more is written by this process."""
    with SqlJournal(path, identity=IDENTITY) as opened:
        opened.append_step(step(1))
        pages = opened._connection.exec_driver_sql("PRAGMA page_count").scalar()
        opened._connection.commit()
        opened._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        opened._connection.commit()
        with pytest.raises(NoSpaceError, match=r"journal\.db: database or disk is full"):
            _fill(opened)
        written = opened.last_step().sequence
        opened._connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        opened._connection.commit()
        with pytest.raises(InvariantError, match="an earlier write failed"):
            opened.append_step(step(written + 1))
    with SqlJournal(path, identity=IDENTITY) as again:
        assert again.last_step().sequence == written
        assert again.verify() == written
        again.append_step(step(written + 1))


@pytest.mark.parametrize("size", [0, 5_000, 20_000])
def test_a_full_disk_at_creation_leaves_no_half_journal(path, size):
    """REL-H1: the limit on the file size makes every larger write fail, as a full disk does."""
    script = (
        "import resource, signal, sys\n"
        "from bot.errors import ConfigError\n"
        "from bot.pipeline.journal import JournalIdentity, SqlJournal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "try:\n"
        "    SqlJournal(sys.argv[1], identity=JournalIdentity(mode='m', chain_id=1, account=''))\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "journal.db cannot be" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not path.exists()
    SqlJournal(path, identity=IDENTITY).close()


def test_a_reader_that_holds_on_does_not_stop_the_writer(path):
    """REL-H4."""
    with SqlJournal(path, identity=IDENTITY) as opened:
        opened.append_step(step(1))
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM steps").fetchall()
            opened.append_step(step(2))
        assert opened.last_step() == step(2)


def test_a_writer_that_was_killed_frees_the_journal(path):
    script = (
        "import os, signal, sys\n"
        "from bot.pipeline.journal import JournalIdentity, SqlJournal\n"
        f"identity = JournalIdentity(mode='live', chain_id=31337, account='{ME}')\n"
        "journal = SqlJournal(sys.argv[1], identity=identity)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
        check=False,
    )
    assert done.returncode == -9
    with SqlJournal(path, identity=IDENTITY) as opened:
        assert opened.verify() == 0


# the memory journal promises the same


class SameAnswers(RuleBasedStateMachine):
    """Random writes: the database and the memory journal accept and refuse alike, and then hold alike."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.sql = SqlJournal(Path(self.folder.name) / "journal.db", identity=IDENTITY)
        self.memory = MemoryJournal()

    def teardown(self) -> None:
        self.sql.close()
        self.folder.cleanup()

    def both(self, act) -> None:
        refused = []
        for journal in (self.sql, self.memory):
            try:
                act(journal)
            except InvariantError:
                refused.append(journal)
        assert len(refused) in (0, 2), refused

    legs = st.builds(leg, st.sampled_from(["a", "b", "c"]), layer=st.sampled_from([Layer.NEAR, Layer.MID]))

    @rule(order=legs)
    def open_leg(self, order) -> None:
        self.both(lambda journal: journal.open_leg(order, at_s=1.0))

    @rule(order=legs, status=st.sampled_from(LegStatus))
    def close_leg(self, order, status) -> None:
        self.both(lambda journal: journal.close_leg(filled(order, status=status)))

    @rule(
        state=st.sampled_from([S.RESERVED, S.RESERVED, *S]),
        number=st.integers(1, 4),
        nonce=st.integers(0, 2),
        leg_key=st.sampled_from(["a", "a", "b"]),
    )
    def append_intent(self, state, number, nonce, leg_key) -> None:
        self.both(
            lambda journal: journal.append_intent(event(state, number=number, nonce=nonce, leg_key=leg_key))
        )

    @rule(sequence=st.integers(1, 30))
    def append_step(self, sequence) -> None:
        self.both(lambda journal: journal.append_step(step(sequence)))

    @invariant()
    def hold_the_same(self) -> None:
        assert self.sql.open_legs() == self.memory.open_legs()
        assert self.sql.outcomes() == self.memory.outcomes()
        assert self.sql.intents() == self.memory.intents()
        assert self.sql.last_step() == self.memory.last_step()
        assert self.sql.verify() == sum(self.sql.count().values())


SameAnswers.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestSameAnswers = SameAnswers.TestCase


def _fill(journal: SqlJournal) -> None:
    for number in range(2, 100):
        journal.append_step(step(number))


def _raw(url: str, *statements: str) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def _cut_connections(url: str) -> None:
    """Let a server drop its clients, as one does that is restarted or out of reach for too long."""
    clients = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'alvh process%'"
    _raw(url, f"SELECT pg_terminate_backend(pid) FROM ({clients}) AS found")  # noqa: S608 - constants


def _without_triggers(url: str, statement: str) -> None:
    """Change rows as an attacker with the file would: without the triggers."""
    if url.startswith("postgresql"):
        _raw(url, "SET session_replication_role = replica", statement)
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
        connection.commit()
