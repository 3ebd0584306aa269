"""alvh db and alvh export on the stores of a run."""

import csv
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from commands import CommandServer, Home
from journal_builders import step
from old_stores import old_journal, run_sql
from postgres_server import empty_postgres

from bot.app.databases import upgrade
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import load_settings

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("cli")]


def rows_of(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_stores_are_named_checked_and_exported(home: Home):
    assert home.alvh("db", "status", "--json").document == {"stores": []}
    home.alvh("export", "--table", "steps").refused(2, "journal", "does not exist")
    assert home.alvh("run", "--once").code == 0
    found = home.alvh("db", "status", "--json").document["stores"]
    assert [(item["what"], item["schema"]) for item in found] == [
        ("journal dry-run", "0002"), ("history", "0003"), ("figures dry-run", "0003"),
    ]  # fmt: skip
    assert all(item["schema"] == item["newest"] and item["size_bytes"] > 0 for item in found)
    checked = home.alvh("db", "verify", "--json").document["stores"]
    assert [item["problem"] for item in checked] == [None, None, None]
    assert checked[0]["rows"] > 1
    assert home.alvh("db", "upgrade").out == "every store is current; nothing was changed\n"

    written = home.alvh("export", "--output", "out", "--json").document["files"]
    counts = {item["table"]: item["rows"] for item in written}
    assert set(counts) == {"steps", "orders", "intents", "readings", "observations"}
    assert (counts["steps"], counts["orders"], counts["intents"]) == (1, 1, 0)
    steps, readings, orders = (
        rows_of(home.folder / "out" / f"{name}.csv") for name in ("steps", "readings", "orders")
    )
    assert steps[0]["decided_at_utc"] == "2022-05-05T00:00:00Z"
    assert (steps[0]["tier"], float(steps[0]["exposure_usd"]) > 9e5) == ("CALM", True)
    assert len(readings) == counts["readings"] > 20
    assert (orders[0]["status"].upper(), float(orders[0]["premium_usd"]) > 0) == ("FILLED", True)
    home.alvh("export", "--output", "out").refused(4, "out/steps.csv exists already", "--force")
    assert home.alvh("export", "--output", "out", "--force").code == 0

    home.alvh("export", "--format", "parquet", "--table", "observations", "--output", "o.csv").refused(
        4, "o.csv"
    )
    home.alvh("export", "--format", "parquet", "--table", "observations", "--output", "o.parquet")
    table = pd.read_parquet(home.folder / "o.parquet")
    assert str(table["observed_at_utc"].dtype) == "datetime64[us, UTC]"
    assert str(table["value"].dtype) == "float64"
    assert len(table) == counts["observations"]
    assert not [item for item in (home.folder / "out").iterdir() if item.suffix == ".part"]
    nothing = home.alvh("export", "--table", "steps", "--output", "later", "--from", "2030-01-01", "--json")
    assert nothing.document["files"][0]["rows"] == 0


def test_a_damaged_journal_is_told_and_the_exit_code_says_so(home: Home):
    assert home.alvh("run", "--once").code == 0
    with closing(sqlite3.connect(home.journal("dry-run"))) as raw:
        raw.execute("DROP TRIGGER steps_no_update")
        raw.execute("UPDATE steps SET at_s = at_s + 1")
        raw.commit()
    ended = home.alvh("db", "verify", "--json")
    assert ended.code == 1
    assert "was changed at row" in ended.document["stores"][0]["problem"]


def test_a_run_with_all_in_one_postgresql_database(home: Home, postgres_url: str):
    """Journals and history live side by side, each in its own schema."""
    empty_postgres(postgres_url)
    home.env["ALVH_STORAGE__URL"] = postgres_url
    assert home.alvh("run", "--once").code == 0
    assert home.alvh("monitor", "--once").code == 0
    assert not list(home.folder.glob("journal-*.sqlite"))
    assert not list(home.folder.glob("history-*.sqlite"))
    found = home.alvh("db", "status", "--json").document["stores"]
    assert {item["what"]: item["where"].split()[-1] for item in found if item["size_bytes"] is None} == {
        "journal dry-run": "alvh_dry_run_31337", "journal monitor": "alvh_monitor_31337",
        "history": "alvh_history_31337",
    }  # fmt: skip
    assert home.alvh("status", "--json").document["sequence"] == 1
    assert home.alvh("db", "verify").code == 0
    assert home.alvh("plan", "--json").code == 0
    files = home.alvh("export", "--output", "out", "--json").document["files"]
    assert min(item["rows"] for item in files if item["table"] in ("steps", "observations", "readings")) > 0
    home.alvh("status", "--mode", "live").refused(2, "holds nothing yet")


MONITOR = JournalIdentity(mode="monitor", chain_id=1, account="")


def alone(tmp_path: Path, server: CommandServer, **env: str) -> Home:
    """A home without a chain: for commands that look at stores alone."""
    home = Home(folder=tmp_path / "home", server=server, env=env)
    home.folder.mkdir()
    chain = '[chain]\nid = 1\nrpc_url = "http://127.0.0.1:1"\n'
    home.config.write_text(f"state_dir = {json.dumps(str(home.folder))}\n{chain}")
    return home


def test_an_older_journal_is_upgraded_and_a_copy_of_it_stays(server: CommandServer, tmp_path: Path):
    home = alone(tmp_path, server)
    old_journal(f"sqlite:///{home.journal('monitor')}", tmp_path, MONITOR)
    before = home.journal("monitor").read_bytes()
    assert "schema 0001, this program writes 0002: run alvh db upgrade" in home.alvh("db", "status").out
    assert home.alvh("status", "--mode", "monitor", "--json").document["sequence"] == 3
    done = home.alvh("db", "upgrade", "--json").document["upgraded"]
    assert [(item["what"], item["was"], item["now"]) for item in done] == [
        ("journal monitor", "0001", "0002")
    ]
    copy = Path(done[0]["copy"])
    assert copy.stat().st_mode & 0o777 == 0o600
    with SqlJournal(copy, read_only=True) as kept:
        assert (kept.revision, kept.verify()) == ("0001", 4)
    assert len(before) == len(copy.read_bytes())
    assert home.alvh("db", "verify").code == 0
    assert home.alvh("db", "upgrade", "--json").document == {"upgraded": []}


def test_two_upgrades_within_a_second_keep_a_copy_each(
    monkeypatch: pytest.MonkeyPatch, server: CommandServer, tmp_path: Path
):
    """REL-K14: the first may have been killed, and its copy the only one of what it began to change."""
    home = alone(tmp_path, server)
    monkeypatch.setattr("bot.app.databases.time.time", lambda: 1_700_000_000.0)
    settings, copies = load_settings(home.config), []
    for times in (1, 2):
        (tmp_path / str(times)).mkdir()
        for file in home.folder.glob("journal-monitor.sqlite*"):
            if file not in copies:
                file.unlink()
        old_journal(f"sqlite:///{home.journal('monitor')}", tmp_path / str(times), MONITOR)
        copies += [item.copy for item in upgrade(settings)]
    assert len(set(copies)) == 2
    for copy in copies:
        assert copy.stat().st_mode & 0o777 == 0o600
        with SqlJournal(copy, read_only=True) as kept:
            assert (kept.revision, kept.verify()) == ("0001", 4)


def test_a_database_is_upgraded_only_where_somebody_says_that_there_is_a_dump(
    server: CommandServer, tmp_path: Path, postgres_url: str
):
    empty_postgres(postgres_url)
    home = alone(tmp_path, server, ALVH_STORAGE__URL=postgres_url)
    schema = "alvh_monitor_1"
    run_sql(postgres_url, [f"CREATE SCHEMA {schema}"])
    old_journal(f"{postgres_url}&options=-csearch_path%3D{schema}", tmp_path, MONITOR)
    home.alvh("db", "upgrade").refused(4, "--yes")
    done = home.alvh("db", "upgrade", "--yes", "--json").document["upgraded"]
    assert [(item["what"], item["now"], item["copy"]) for item in done] == [("journal monitor", "0002", None)]
    assert home.alvh("status", "--mode", "monitor", "--json").document["sequence"] == 3


def test_old_heartbeats_leave_by_the_command_and_the_rest_verifies(server: CommandServer, tmp_path: Path):
    home = alone(tmp_path, server)
    with SqlJournal(home.journal("monitor"), identity=MONITOR) as journal:
        for number in range(1, 9):
            record = step(number, now_s=number * 86_400.0)
            journal.append_step(replace(record, mode="monitor", is_heartbeat=number % 4 != 1))
    home.alvh("db", "prune", "--mode", "live", "--keep-days", "2").refused(2, "does not exist")
    done = home.alvh("db", "prune", "--mode", "monitor", "--keep-days", "2", "--json").document
    assert (done["rows"], done["stretches"]) == (3, 1)
    assert len(pd.read_parquet(home.folder / "archive" / done["archive"])) == 3
    assert home.alvh("db", "verify", "--json").document["stores"][0] == {
        "what": "journal monitor", "rows": 6, "problem": None,
    }  # fmt: skip
    assert home.alvh("db", "prune", "--mode", "monitor", "--keep-days", "2", "--json").document["rows"] == 0
    with SqlJournal(home.journal("monitor"), identity=MONITOR):
        home.alvh("db", "prune", "--mode", "monitor", "--keep-days", "1").refused(4, "is in use by process")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "--table", "prices"), ("--table 'prices'", "steps, orders")),
        (("export", "--format", "xlsx"), ("--format 'xlsx'", "csv, parquet")),
        (("export", "--from", "yesterday"), ("--from", "ISO 8601")),
        (("export", "--from", "2022-05-06", "--to", "2022-05-05"), ("--from must be before --to",)),
        (("export", "--output", "all.csv"), ("all.csv", "several tables need a folder")),
        (("db", "prune"), ("--keep-days", "storage.keep_heartbeats_days")),
    ],
    ids=lambda item: " ".join(item[:3]) if isinstance(item, tuple) else str(item),
)
def test_what_cannot_be_done_is_refused_in_one_line(server: CommandServer, tmp_path: Path, arguments, words):
    alone(tmp_path, server).alvh(*arguments).refused(4, *words)
