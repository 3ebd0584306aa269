"""Where a journal lives: who may open it, who writes it, what lies beside it and what is left (REL-P8)."""

import fcntl
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from postgres_server import empty_postgres
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from bot.errors import ConfigError, NotFoundError
from bot.pipeline.journal_store import Store, open_store

ADVISORY = int.from_bytes(b"alvh")  # what every release locks a PostgreSQL schema with


def me() -> str:
    return f"process {os.getpid()}"


@contextmanager
def opened(url: object, *, read_only: bool = False, schema: str = "") -> Iterator[Store]:
    store = open_store(str(url), read_only=read_only, schema=schema)
    try:
        store.connect()
        yield store
    finally:
        store.close()


@contextmanager
def connected(url: object, **options) -> Iterator[Connection]:
    store = open_store(str(url), **{"read_only": False, **options})
    try:
        yield store.connect()
    finally:
        store.close()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "journal.db"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def write_something(connection: Connection) -> None:
    with connection.begin():
        connection.exec_driver_sql("CREATE TABLE notes (body TEXT)")


# which database is meant


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", r"the journal needs a file: sqlite:///FILE \(in memory it would not last\)"),
        ("sqlite:///:memory:", "the journal needs a file"),
        (
            "mysql://alvh:hunter2@127.0.0.1:1/x",
            "the journal cannot be kept in 'mysql'; use sqlite:///FILE or postgresql",
        ),
        ("://hunter2", "the journal URL cannot be read; use sqlite:///FILE or postgresql"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_foreign_url_is_refused_by_name(url, words, read_only):
    with pytest.raises(ConfigError, match=f"^{words}") as caught:
        open_store(url, read_only=read_only)
    assert "hunter2" not in str(caught.value)


def test_a_path_and_a_url_name_the_same_file(path):
    for url in (path, f"sqlite:///{path}"):
        with opened(url) as store, opened(path, read_only=True) as reader:
            assert store.name == reader.name == str(path)
            assert reader.other_writer() == me()


def test_a_file_is_meant_from_where_the_program_was_started(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent / "home"))
    near, home = open_store("journal.db", read_only=False), open_store("~/journal.db", read_only=False)
    monkeypatch.chdir("/")
    write_something(near.connect())
    assert (near.name, home.name) == (str(path), str(path.parent / "home" / "journal.db"))
    assert path.stat().st_size > 0
    near.close()
    home.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_folder_is_refused_by_name(tmp_path, read_only):
    with pytest.raises(ConfigError, match=f"^journal {tmp_path} is a folder; name a file$"):
        open_store(str(tmp_path), read_only=read_only)
    assert names(tmp_path) == []


# what a writer makes, and for whom


def test_folders_that_are_not_there_are_made_for_the_owner_alone(tmp_path):
    with opened(tmp_path / "a" / "b" / "journal.db"):
        assert mode(tmp_path / "a" / "b") == 0o700
    before = mode(tmp_path)
    with opened(tmp_path / "journal.db"):
        assert mode(tmp_path) == before  # one that was there is left as it is


def test_the_file_and_what_lies_beside_it_are_the_owners_alone(path):
    mask = os.umask(0)
    try:
        store = open_store(str(path), read_only=False)
        assert {name: mode(path.with_name(name)) for name in names(path.parent)} == {
            "journal.db": 0o600,
            "journal.db.lock": 0o600,
        }  # before SQLite has seen it
        write_something(store.connect())
        found = {name: mode(path.with_name(name)) for name in names(path.parent)}
        store.close()
    finally:
        os.umask(mask)
    beside = ("journal.db", "journal.db-shm", "journal.db-wal", "journal.db.lock")
    assert found == dict.fromkeys(beside, 0o600)
    assert names(path.parent) == ["journal.db", "journal.db.lock"]


@pytest.mark.parametrize(
    ("before", "after"),
    [(0o644, 0o600), (0o640, 0o600), (0o604, 0o600), (0o601, 0o600), (0o610, 0o600), (0o700, 0o700)],
)
def test_a_file_that_others_may_read_is_taken_back(path, before, after):
    path.touch()
    path.chmod(before)
    with opened(path):
        assert mode(path) == after


def test_commits_are_synced_in_full_and_others_are_waited_for(path):
    with connected(path) as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_writers_transaction_holds_the_file_from_its_beginning(path):
    with connected(path) as connection, closing(sqlite3.connect(path, timeout=0)) as other:
        with connection.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


@contextmanager
def ordinary_user(*owned: Path) -> Iterator[None]:
    """Be a user who owns some files: the root user of a container may write everything."""
    if os.getuid() != 0:
        yield
        return
    for item in owned:
        os.chown(item, 65534, 65534)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_file_that_may_not_be_written_is_refused_and_left_as_it_is():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "journal.db"
        path.touch()
        path.chmod(0o444)
        with ordinary_user(path.parent, path), pytest.raises(ConfigError) as caught:
            open_store(str(path), read_only=False)
        assert str(caught.value) == f"journal {path} cannot be written: permission denied"
        assert mode(path) == 0o444


def test_a_refused_file_is_not_held(path):
    """A link to nowhere cannot be made private; once it is mended the same process goes on."""
    path.symlink_to(path.parent / "nowhere" / "journal.db")
    before = open_files()
    with pytest.raises(ConfigError, match=f"journal {path} cannot be written: "):
        open_store(str(path), read_only=False)
    assert path.is_symlink()
    assert open_files() == before
    path.unlink()
    with opened(path):
        assert path.is_file()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: (Not a directory|File exists)"):
        open_store(str(tmp_path / "file" / "journal.db"), read_only=False)


# the lock of the writer of a file


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted on Linux")
def test_one_writes_and_a_second_is_refused_by_name_soon(path):
    with opened(path) as store:
        assert path.with_name("journal.db.lock").read_text() == f"{os.getpid()}\n"
        before, started = open_files(), time.monotonic()
        with pytest.raises(ConfigError) as caught:
            open_store(str(path), read_only=False)
        assert str(caught.value) == (
            f"journal {path} is in use by {me()}: stop it first, or name another journal"
        )
        assert time.monotonic() - started < 3.0
        assert open_files() == before  # nothing is left of the refused one
        assert store.other_writer() == ""  # not another: itself
        with opened(path, read_only=True) as reader:
            assert reader.other_writer() == me()
    with opened(path, read_only=True) as reader:
        assert reader.other_writer() == ""


def test_the_lock_ends_when_the_store_is_closed(path):
    store = open_store(str(path), read_only=False)
    before = open_files()
    store.close()
    assert open_files() == before - 1
    store.close()
    assert open_files() == before - 1
    assert path.exists()
    with opened(path) as again:
        assert again.other_writer() == ""


def test_a_lock_that_is_free_is_taken_at_once(path):
    def seconds() -> float:
        started = time.monotonic()
        open_store(str(path), read_only=False).close()
        return time.monotonic() - started

    assert any(seconds() < 0.04 for _ in range(40))


def test_a_reader_that_looks_who_writes_is_waited_for(path):
    """It holds the lock for a moment."""
    lock = path.with_name("journal.db.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        timer = threading.Timer(0.07, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        timer.start()
        with opened(path) as store:
            assert store.other_writer() == ""
        timer.join()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "another process"),
        (b"\n", "another process"),
        (b"17\n", "process 17"),
        (b"\xff17\n", "process \N{REPLACEMENT CHARACTER}17"),
        (b"7" * 5_000, "process " + "7" * 100),
    ],
)
def test_whoever_holds_the_lock_is_named_as_it_says(path, content, shown):
    """Whatever lies there: a kill may have come between the lock and its text."""
    path.touch()
    lock = path.with_name("journal.db.lock")
    lock.write_bytes(content)
    with lock.open("rb") as file, opened(path, read_only=True) as reader:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert reader.other_writer() == shown


def test_what_a_former_writer_left_in_the_lock_is_overwritten(path):
    path.with_name("journal.db.lock").write_text("12345678901234567890 and more\n")
    with opened(path), opened(path, read_only=True) as reader:
        assert reader.other_writer() == me()


def test_a_lock_that_cannot_be_read_is_named(path):
    path.touch()
    lock = path.with_name("journal.db.lock")
    lock.mkdir()
    with opened(path, read_only=True) as reader, pytest.raises(ConfigError) as caught:
        reader.other_writer()
    assert str(caught.value) == f"lock {lock} cannot be read: Is a directory"
    with pytest.raises(ConfigError, match=f"journal {path} cannot be written: Is a directory"):
        open_store(str(path), read_only=False)


def test_the_lock_of_a_program_without_standard_input_counts_too(path):
    """A service may be started with it closed: then the lock is file 0."""
    kept = os.dup(0)
    try:
        os.close(0)
        store = open_store(str(path), read_only=False)
        lock = os.open(store.name + ".lock", os.O_RDONLY)
        try:
            assert os.path.sameopenfile(0, lock)
        finally:
            os.close(lock)
        assert store.other_writer() == ""
        store.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(kept, 0)
        os.close(kept)


# readers of a file


def test_a_reader_finds_nothing_and_makes_nothing(tmp_path):
    path = tmp_path / "deep" / "journal.db"
    with pytest.raises(NotFoundError, match=f"^journal {path} does not exist$"):
        open_store(str(path), read_only=True)
    assert names(tmp_path) == []


def test_a_reader_takes_no_lock_changes_nothing_and_cannot_write(path):
    with connected(path) as writer:
        write_something(writer)
    path.with_name("journal.db.lock").unlink()
    path.chmod(0o640)
    with opened(path, read_only=True) as reader:
        assert reader.other_writer() == ""
    with connected(path, read_only=True) as connection:
        with connection.begin():
            assert connection.exec_driver_sql("SELECT count(*) FROM notes").scalar() == 0
        with pytest.raises(OperationalError, match="readonly"), connection.begin():
            connection.exec_driver_sql("INSERT INTO notes VALUES ('x')")
    assert "journal.db.lock" not in names(path.parent)
    assert mode(path) == 0o640


def test_a_reader_that_only_reads_stops_no_writer(path):
    with connected(path) as writer:
        write_something(writer)
        with connected(path, read_only=True) as connection, connection.begin():
            connection.exec_driver_sql("SELECT count(*) FROM notes").scalar()
            with closing(sqlite3.connect(path, timeout=0)) as other:
                other.execute("INSERT INTO notes VALUES ('x')")
                other.commit()


# what is left


def test_a_closed_store_has_closed_its_connection(path):
    store = open_store(str(path), read_only=False)
    connection = store.connect()
    before = open_files()
    store.close()
    assert connection.closed
    assert open_files() < before


@pytest.mark.parametrize("is_read_beside", [False, True])
def test_a_new_file_is_discarded_with_what_lies_beside_it(path, is_read_beside):
    store = open_store(str(path), read_only=False)
    write_something(store.connect())
    with closing(sqlite3.connect(path)) as other:
        if is_read_beside:  # SQLite keeps its two files for as long as anybody reads
            other.execute("SELECT * FROM notes").fetchall()
        store.close(discard_new=True)
        assert names(path.parent) == ["journal.db.lock"]
    with connected(path) as again:
        write_something(again)


def test_a_file_that_was_there_is_never_discarded(path):
    with connected(path) as first:
        write_something(first)
    content = path.read_bytes()
    for read_only in (False, True):
        store = open_store(str(path), read_only=read_only)
        store.connect()
        store.close(discard_new=True)
    assert path.read_bytes() == content


def test_a_new_file_stays_where_nothing_else_is_said(path):
    open_store(str(path), read_only=False).close()
    assert path.exists()


# PostgreSQL


@pytest.fixture
def server(postgres_url) -> str:
    empty_postgres(postgres_url)
    return postgres_url


def asked(url: str, statement: str, **values: object) -> object:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            found = connection.execute(text(statement), values)
            return found.scalar() if found.returns_rows else None
    finally:
        engine.dispose()


def test_without_its_driver_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        ConfigError, match=r"^a journal in PostgreSQL needs the driver psycopg: install alvh-"
    ):
        open_store("postgresql://127.0.0.1:1/x", read_only=True)


def test_its_name_holds_no_password():
    url = "postgresql://alvh:hunter2@127.0.0.1:1/x?sslmode=require"
    for schema, shown in (("", ""), ("alvh_one", " schema alvh_one")):
        store = open_store(url, read_only=False, schema=schema)
        assert store.name == url.replace("hunter2", "***").removesuffix("?sslmode=require") + shown
        store.close()


def test_one_process_writes_a_schema_and_says_who_it_is(server):
    with opened(server) as store:
        second = open_store(server, read_only=False)
        with pytest.raises(ConfigError) as caught:
            second.connect()
        second.close()
        assert str(caught.value) == (
            f"journal {store.name} is in use by alvh {me()}: stop it first, or name another journal"
        )
        assert store.other_writer() == ""
        with opened(server, read_only=True) as reader:
            assert reader.other_writer() == f"alvh {me()}"
    with opened(server, read_only=True) as reader, opened(server):
        assert reader.other_writer() == f"alvh {me()}"
    with opened(server, read_only=True) as reader:
        assert reader.other_writer() == ""


def test_the_lock_is_the_one_that_every_release_takes(server):
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as other, opened(server, read_only=True) as reader:
        lock = {"mark": ADVISORY, "schema": "public"}
        other.execute(text("SELECT pg_advisory_lock(:mark, hashtext(:schema))"), lock)
        other.execute(text("SET application_name = ''"))
        store = open_store(server, read_only=False)
        with pytest.raises(ConfigError, match="is in use by another process: stop it first"):
            store.connect()
        store.close()
        other.execute(text("SET application_name = 'an older release'"))
        assert reader.other_writer() == "an older release"
    engine.dispose()


def test_other_locks_are_no_writers(server):
    """Of the same database: with another mark, or of another schema."""
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as other, opened(server, read_only=True) as reader:
        for mark, schema in ((ADVISORY + 1, "public"), (ADVISORY, "alvh_one")):
            lock = {"mark": mark, "schema": schema}
            other.execute(text("SELECT pg_advisory_lock(:mark, hashtext(:schema))"), lock)
        assert reader.other_writer() == ""
        with opened(server):
            assert reader.other_writer() == f"alvh {me()}"
    engine.dispose()


def test_each_schema_has_a_writer_of_its_own(server):
    one = open_store(server, read_only=False, schema="alvh_one")
    with opened(server) as public:
        write_something(one.connect())
        assert asked(server, "SELECT to_regclass('alvh_one.notes')") == "alvh_one.notes"
        assert asked(server, "SELECT to_regclass('public.notes')") is None
        second = open_store(server, read_only=False, schema="alvh_one")
        with pytest.raises(ConfigError, match="schema alvh_one is in use by alvh process"):
            second.connect()
        second.close()
        with opened(server, read_only=True, schema="alvh_one") as reader:
            assert reader.other_writer() == f"alvh {me()}"
        assert public.other_writer() == one.other_writer() == ""
        one.close()


def test_a_reader_of_a_server_makes_no_schema_and_cannot_write(server):
    with connected(server, read_only=True, schema="alvh_two") as connection:
        assert asked(server, "SELECT to_regnamespace('alvh_two')") is None
        asked(server, "CREATE TABLE public.notes (body TEXT)")
        with pytest.raises(DBAPIError, match="read-only transaction"), connection.begin():
            connection.exec_driver_sql("INSERT INTO public.notes VALUES ('x')")


def test_a_commit_on_a_server_is_durable(server):
    with connected(server) as connection, connection.begin():
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_a_reader_of_a_server_that_is_not_asked_yet_or_any_more_knows_of_nobody(server):
    reader = open_store(server, read_only=True)
    assert reader.other_writer() == ""
    connection = reader.connect()
    reader.close()
    assert connection.closed
    with opened(server):
        assert reader.other_writer() == ""
    reader.close()


def test_a_closed_writer_of_a_server_leaves_no_connection(server):
    store = open_store(server, read_only=False)
    connection = store.connect()
    store.close(discard_new=True)
    store.close()
    assert connection.closed
    for _ in range(100):  # the server hears of it a moment later
        found = asked(
            server, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'alvh process%'"
        )
        if found == 0:
            return
        time.sleep(0.02)
    raise AssertionError(f"{found} connections are still there")
