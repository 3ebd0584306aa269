"""alvh db and alvh export on the stores of a run."""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from commands import CommandServer, Home
from postgres_server import empty_postgres

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
    config = tmp_path / "alvh.toml"
    config.write_text(
        f'state_dir = {json.dumps(str(tmp_path))}\n[chain]\nid = 1\nrpc_url = "http://127.0.0.1:1"\n'
    )
    server.start(*arguments, cwd=tmp_path).wait().refused(4, *words)
