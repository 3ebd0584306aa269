"""What can be wrong with stores: said in one line, and nothing is lost (bad-input list of reliability.md)."""

import asyncio
import csv
import errno
import fcntl
import math
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Home
from journal_builders import IDENTITY, step
from postgres_server import PostgresServer, empty_postgres
from small_disk import files_of_at_most

from bot.app.table_files import Kind, Table, TableFormat, write_table
from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet
from bot.errors import ConfigError
from bot.pipeline.history import History
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.journal import SqlJournal
from bot.settings import load_settings

PASSWORD = "hunter2"


def monitored(home: Home) -> Home:
    assert home.alvh("monitor", "--once").code == 0
    return home


# files


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "history-1.sqlite"


def test_a_history_that_is_a_folder(path):
    path.mkdir()
    with pytest.raises(ConfigError, match=r"history-1\.sqlite cannot be used"):
        History(path=path)


def test_a_history_where_nothing_can_be_written():
    """As in a folder of a file system that is read-only."""
    with pytest.raises(ConfigError, match=r"history file /proc/history.sqlite cannot be used: \w"):
        History(path=Path("/proc/history.sqlite"))


def test_a_history_that_was_cut_off_in_the_middle(path):
    History(path=path).close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=r"history-1\.sqlite cannot be used: .*(malformed|not a database)"):
        History(path=path)
    assert len(path.read_bytes()) >= len(content) // 2


def test_a_history_that_another_program_locks(path, monkeypatch):
    monkeypatch.setattr("bot.pipeline.databases.BUSY_S", 0.1)
    History(path=path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match=r"history-1\.sqlite cannot be used: database is locked"):
            History(path=path)
        other.execute("ROLLBACK")
    History(path=path).close()


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOLCK, "No locks available"), (errno.EOPNOTSUPP, "not supported")]
)
def test_a_journal_on_a_network_share_without_locks(tmp_path, monkeypatch, number, words):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(ConfigError, match=rf"journal\.db cannot be written: .*{words}"):
        SqlJournal(tmp_path / "journal.db", identity=IDENTITY)
    assert not (tmp_path / "journal.db").exists()


# of a run


@pytest.mark.devnet
@pytest.mark.xdist_group("cli")
def test_stores_of_another_chain_or_program_stop_a_run_and_stay_as_they_are(home: Home, devnet: Devnet):
    monitored(home)
    journal, history = home.journal("monitor"), home.folder / "history-31337.sqlite"
    whole = {item: item.read_bytes() for item in (journal, history)}

    def restored() -> None:
        for item, content in whole.items():
            for end in ("-wal", "-shm"):
                item.with_name(item.name + end).unlink(missing_ok=True)
            item.write_bytes(content)

    shutil.copy(journal, home.journal("dry-run"))
    home.alvh("run", "--once").refused(4, "belongs to mode 'monitor', not 'dry-run'")
    home.journal("dry-run").unlink()

    with closing(sqlite3.connect(journal)) as raw:
        raw.execute("DROP TRIGGER meta_no_update")
        raw.execute("UPDATE meta SET value = '10' WHERE key = 'chain_id'")
        raw.commit()
    home.alvh("monitor", "--once").refused(4, "belongs to chain_id '10', not '31337'")
    restored()

    for item, words in ((journal, "journal"), (history, "history")):
        with closing(sqlite3.connect(item)) as raw:
            raw.execute("UPDATE alembic_version SET version_num = '0099'")
            raw.commit()
        home.alvh("monitor", "--once").refused(4, words, "has schema 0099, this program knows up to")
        home.alvh("db", "upgrade").refused(4, "has schema 0099")
        restored()
        item.write_bytes(b"half a file")
        home.alvh("monitor", "--once").refused(4, words, "not a database")
        restored()
    asyncio.run(_mine(devnet))
    assert home.alvh("monitor", "--once").code == 0
    assert home.alvh("db", "verify").code == 0


@pytest.mark.parametrize("form", list(TableFormat))
def test_a_disk_that_is_full_leaves_no_half_file(tmp_path, form):
    """A limit on the size of files makes a larger write fail, as a full disk does."""
    random = np.random.default_rng(1)  # so that nothing is packed small
    pages = [[(value,) for value in random.random(1_000).tolist()] for _ in range(20)]
    table = Table(name="t", columns=(("value", Kind.NUMBER),), pages=pages)
    words = r"t\.\w+ cannot be written: .*; free space or name another"
    with pytest.raises(ConfigError, match=words), files_of_at_most(20_000):
        write_table(table, tmp_path / f"t.{form}", form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.devnet
@pytest.mark.xdist_group("cli")
def test_a_postgresql_that_stops_in_mid_run_ends_the_run_and_the_next_goes_on(
    home: Home, devnet: Devnet, postgres_server: PostgresServer
):
    """REL-H1: nothing is decided that cannot be written first; the service manager starts it again."""
    empty_postgres(postgres_server.url)
    home.env["ALVH_STORAGE__URL"] = postgres_server.url.replace("alvh@", f"alvh:{PASSWORD}@")
    running = home.start("monitor", "--json")
    running.until(lambda: running.out, within_s=60)
    postgres_server.stop()
    try:
        asyncio.run(_mine(devnet))
        ended = running.wait()
        again = home.alvh("monitor", "--once")
    finally:
        postgres_server.start()
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("error: ")
    again.refused(4, "journal postgresql://alvh:***@/postgres schema alvh_monitor_31337 cannot be used")
    for item in (ended, again):
        assert PASSWORD not in item.out + item.err
        assert "Traceback" not in item.err
    assert home.alvh("db", "verify").code == 0
    asyncio.run(_mine(devnet))
    after = home.alvh("monitor", "--once", "--json").document
    assert after["sequence"] == 2


async def _mine(devnet: Devnet) -> None:
    async with Rpc(devnet.rpc_url, timeout_s=30) as rpc:
        await rpc.request("evm_mine")


# addresses of databases


@pytest.mark.parametrize(
    ("field", "url", "words"),
    [
        ("url", f"mysql://alvh:{PASSWORD}@host/db", "storage: url is of 'mysql'"),
        ("history_url", f"sqlite:///{PASSWORD}.db", "history_url is of 'sqlite'"),
        ("history_url", f"://{PASSWORD}", "cannot be read as a URL"),
        ("url", f"postgresql://alvh:{PASSWORD}@host:port/db", "cannot be read as a URL"),
    ],
    ids=["mysql", "sqlite", "no scheme", "port"],
)
def test_a_database_url_that_cannot_be_is_refused_without_its_password(
    tmp_path, monkeypatch, field, url, words
):
    config = tmp_path / "alvh.toml"
    config.write_text('[chain]\nid = 1\nrpc_url = "http://127.0.0.1:1"\n')
    monkeypatch.setenv(f"ALVH_STORAGE__{field.upper()}", url)
    with pytest.raises(ConfigError) as caught:
        load_settings(config)
    assert words in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_watched_elsewhere_needs_a_history_that_others_can_write(tmp_path):
    config = tmp_path / "alvh.toml"
    config.write_text('[chain]\nid = 1\nrpc_url = "http://127.0.0.1:1"\nwatched_elsewhere = true\n')
    with pytest.raises(ConfigError, match=r"chain 1 is watched_elsewhere.*storage\.history_url"):
        load_settings(config)


@pytest.mark.parametrize("days", ["0", "0.5", "-1", "nan", "40000"])
def test_a_retention_that_is_none_is_refused(tmp_path, days):
    config = tmp_path / "alvh.toml"
    config.write_text(
        f'[chain]\nid = 1\nrpc_url = "http://127.0.0.1:1"\n[storage]\nkeep_observations_days = {days}\n'
    )
    with pytest.raises(ConfigError, match=r"storage\.keep_observations_days"):
        load_settings(config)


def test_a_postgresql_that_does_not_answer_is_named_without_its_password():
    place = HistoryPlace(url=f"postgresql://alvh:{PASSWORD}@127.0.0.1:1/db", schema="alvh_history_1")
    with pytest.raises(ConfigError, match=r"alvh:\*\*\*@127\.0\.0\.1:1/db schema alvh_history_1") as caught:
        place.open()
    assert PASSWORD not in str(caught.value)


# cells that a spreadsheet would run

_CELLS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    '=HYPERLINK("http://x")',
    "plain",
    "",
    "a=b",
    "‮gnp.exe",
]


def test_no_cell_is_a_formula_and_numbers_stay_numbers(tmp_path):
    columns = (("name", Kind.TEXT), ("change_usd", Kind.NUMBER), ("at_utc", Kind.TIME), ("is_x", Kind.FLAG))
    rows = [(text, -1.5, 0.0, True) for text in _CELLS] + [(None, math.nan, None, None)]
    for form in TableFormat:
        write_table(
            Table(name="t", columns=columns, pages=[rows[:3], rows[3:]]), tmp_path / f"t.{form}", form
        )
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))[1:]
    for text, row in zip(_CELLS, found, strict=False):
        assert row[0] == (f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and text else text)
        assert row[1:] == ["-1.5", "1970-01-01T00:00:00Z", "true"]
    assert found[-1] == ["", "", "", ""]
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert table["name"].tolist()[:-1] == _CELLS  # a program reads it as it is
    assert str(table["at_utc"].dtype) == "datetime64[us, UTC]"


def test_a_file_that_is_there_stays_whatever_goes_wrong(tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("mine")
    table = Table(name="t", columns=(("name", Kind.TEXT),), pages=[[("x",)]])
    with pytest.raises(ConfigError, match=r"t\.csv exists already.*--force"):
        write_table(table, target, TableFormat.CSV)

    def broken():
        yield [("x",)]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConfigError, match="No space left"):
        write_table(
            Table(name="t", columns=table.columns, pages=broken()), target, TableFormat.CSV, force=True
        )
    assert target.read_text() == "mine"
    assert [item.name for item in tmp_path.iterdir()] == ["t.csv"]


def test_a_journal_in_the_middle_of_a_step_is_exported_whole(tmp_path):
    """A writer that goes on does not tear what is read."""
    path = tmp_path / "journal.db"
    with SqlJournal(path, identity=IDENTITY) as writer, SqlJournal(path, read_only=True) as reader:
        for number in range(1, 4):
            writer.append_step(step(number))
        steps = reader.steps()
        first = next(steps)
        writer.append_step(step(4))
        assert [first.sequence, *(item.sequence for item in steps)] == [1, 2, 3]
