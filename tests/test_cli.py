"""The command line as a user meets it: exit codes, one line per refusal, documents that programs can read."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
from importlib import resources
from pathlib import Path

import pytest
from chain_facts import nonce
from commands import ALVH, CommandServer, Home, console_script, strict_json
from history_builders import DataFolder

from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("cli")]

ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ONCE = ("--once", "--json")
EMPTY = "0x" + "12" * 20
NOTICES = [  # of a first start on the devnet, whose node keeps no states of before its dump
    "history: chain 31337: the node keeps no old states; signals warm up from now on",
    "12 signals are warming, the last until 2022-06-28 00:00 UTC",
    "stopped; everything decided so far is in the journal",
]


@pytest.fixture
async def untouched(home: Home, rpc: Rpc, devnet: Devnet):
    """Nothing is sent: the nonce of the account stays what it was."""
    before = await nonce(rpc, devnet.deployment.user, "pending")
    yield home
    assert await nonce(rpc, devnet.deployment.user, "pending") == before


def check_times(document: object) -> int:
    """Check that everything that begins like a date is a whole ISO 8601 UTC time; return how many are."""
    if isinstance(document, dict):
        return sum(check_times(item) for item in document.values())
    if isinstance(document, list):
        return sum(check_times(item) for item in document)
    if not isinstance(document, str) or not re.match(r"\d{4}-\d\d-\d\d", document):
        return 0
    assert ISO_TIME.fullmatch(document), document
    return 1


# what a user meets first


def test_the_installed_command_prints_its_version(tmp_path: Path):
    ended = console_script("--version", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"alvh-bot \d+\.\d+\.\d+\n", ended.out)


def test_the_installed_command_refuses_in_one_line(tmp_path: Path):
    console_script("run", "--once", cwd=tmp_path).refused(4, "alvh.toml", "cannot be read")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explode",), ("explode",)),
        (("run", "--lively"), ("--lively",)),
        (("demo", "--seed", "-1"), ("--seed", "-1")),
        (("demo", "--seed", "one"), ("--seed", "one")),
        (("status", "--mode", "dead"), ("--mode", "dead", "dry-run")),
        (("backtest", "--data", "."), ("--exposure",)),
        (("devnet", "up", "--port", "70000"), ("--port", "70000", "65535")),
    ],
    ids=" ".join,
)
def test_unknown_commands_flags_and_values(untouched: Home, arguments, words):
    untouched.alvh(*arguments).refused(4, *words)


def test_an_unknown_scenario_names_the_known_ones(untouched: Home):
    untouched.alvh("demo", "--scenario", "moon").refused(2, "moon", "calm", "terra")


def test_help_names_every_command(server: CommandServer, tmp_path: Path):
    ended = server.start("--help", cwd=tmp_path).wait()
    assert ended.code == 0
    for command in ("plan", "demo", "monitor", "run", "status", "explain", "report", "backtest", "devnet"):
        assert command in ended.out


# configuration


@pytest.mark.parametrize("command", [("run", "--once"), ("monitor", "--once"), ("plan",), ("status",)])
def test_a_configuration_that_is_not_there(untouched: Home, command):
    untouched.config.unlink()
    untouched.alvh(*command).refused(4, "alvh.toml", "No such file")


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (r"\A", "this is not TOML\n", ("alvh.toml", "not valid TOML")),
        (r"\[chain\]", "[chain]\nspeed = 3", ("chain.speed",)),
        (r"poll_s = [\d.]+", 'poll_s = "often"', ("chain.poll_s", "often")),
        (r"poll_s = [\d.]+", "poll_s = 0", ("chain.poll_s", "0.05")),
        (r"id = 31337", "id = -1", ("chain.id", "-1")),
        (r"address = '0x\w{40}'", "address = '0x1234'", ("feeds.0.address", "0x1234", "40 hex digits")),
        (r'preset = "classic"', 'preset = "brave"', ("policy.preset", "classic", "brave")),
        (r'preset = "classic"', 'file = "nowhere.toml"', ("nowhere.toml", "No such file")),
    ],
)
def test_a_bad_setting_is_named_with_what_was_found(untouched: Home, pattern, replacement, words):
    untouched.change(pattern, replacement)
    untouched.alvh("run", "--live", "--once").refused(4, *words)


def policy_file(home: Home, *, change: tuple[str, str]) -> Path:
    text = (resources.files("bot") / "policies" / "classic.toml").read_text("utf-8")
    changed, count = re.subn(change[0], change[1], text, count=1)
    assert count == 1
    path = home.folder / "policy.toml"
    path.write_text(changed)
    return path


BAD_POLICIES = [
    ((r"\[tiers\]", "bogus = 1\n\n[tiers]"), ("bogus",)),
    ((r"(\[tiers\][^\n]*)", r"\1\nboldness = 9"), ("tiers", "boldness")),
    ((r"NEAR = 40", "NEAR = 41"), ("weights", "101", "100")),
    ((r"vote = 0\.5 ", "vote = 5.0 "), ("tiers.vote", "5.0", "0.95")),
    ((r"vote = 0\.5 ", 'vote = "half" '), ("tiers.vote", "half")),
    ((r"vote = 0\.5 ", "# "), ("tiers.vote",)),
]


@pytest.mark.parametrize(("change", "words"), BAD_POLICIES)
def test_a_bad_policy_is_named_with_what_was_found(untouched: Home, change, words):
    path = policy_file(untouched, change=change)
    untouched.change(r'preset = "classic"', f"file = {json.dumps(str(path))}")
    untouched.alvh("run", "--live", "--once").refused(4, *words)


# the chain


@pytest.mark.parametrize("command", [("run", "--live", "--once"), ("run", "--once"), ("plan",)], ids=" ".join)
def test_another_chain_than_configured(untouched: Home, command):
    untouched.change("id = 31337", "id = 11155111")
    untouched.alvh(*command).refused(4, "chain id 11155111", "31337", "chain.id")


@pytest.mark.parametrize("chain_id", [1, 10, 8453, 2_000_000_001])
def test_live_signs_on_test_chains_only(untouched: Home, chain_id):
    """An allow list: a chain that nobody heard of is refused like the main net."""
    untouched.change("id = 31337", f"id = {chain_id}")
    untouched.alvh("run", "--live", "--once").refused(4, "chain.id", str(chain_id), "31337")
    assert not untouched.journal("live").exists()


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("option_market", "lyra.option_market"),
        ("v3_tick_lens", "managers.v3_tick_lens"),
        ("base_token", "perps ETH base_token"),
        ("multicall3", "multicall3"),
    ],
)
def test_an_address_without_code(untouched: Home, field, named):
    untouched.change(rf"{field} = '0x\w{{40}}'", f"{field} = '{EMPTY}'")
    untouched.alvh("run", "--live", "--once").refused(4, named, EMPTY, "code")


def test_a_node_that_is_not_there(untouched: Home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # held, and nobody listens: else another test's server might come there
        untouched.change(r'rpc_url = "[^"]*"', f'rpc_url = "http://127.0.0.1:{port}/secret-key"')
        untouched.change("poll_s", "timeout_s = 2.0\npoll_s")
        for command in (("run", "--live", "--once"), ("plan",), ("monitor", "--once")):
            ended = untouched.alvh(*command)
            ended.refused(1, f"127.0.0.1:{port}")
            assert "secret-key" not in ended.err


def test_a_node_that_never_answers_is_a_timeout(untouched: Home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        untouched.change(r'rpc_url = "[^"]*"', f'rpc_url = "http://127.0.0.1:{port}"')
        untouched.change("poll_s", "timeout_s = 0.2\npoll_s")
        untouched.alvh("run", "--once").refused(5, f"127.0.0.1:{port}")


# who signs


def test_a_wrong_password(untouched: Home):
    (untouched.folder / "password.txt").write_text("guess\n")
    ended = untouched.alvh("run", "--live", "--once")
    ended.refused(4, "keystore.json", "password")
    assert "guess" not in ended.err


def test_the_password_of_the_environment_comes_first(untouched: Home):
    untouched.env["ALVH_KEYSTORE_PASSWORD"] = "guess"
    untouched.alvh("run", "--live", "--once").refused(4, "keystore.json", "password")


def test_no_password_and_nobody_to_ask(untouched: Home):
    untouched.change(r"password_file[^\n]*", "")
    untouched.alvh("run", "--live", "--once").refused(4, "ALVH_KEYSTORE_PASSWORD", "password_file")


def test_a_keystore_that_others_can_read(untouched: Home):
    (untouched.folder / "keystore.json").chmod(0o644)
    untouched.alvh("run", "--live", "--once").refused(4, "keystore.json", "0644", "chmod 600")


def test_a_keystore_of_another_account(untouched: Home):
    untouched.change(r"\[account\]\naddress = '0x\w{40}'", f"[account]\naddress = '{EMPTY}'")
    untouched.alvh("run", "--live", "--once").refused(4, "keystore.json", EMPTY)


def test_live_without_an_account(untouched: Home):
    untouched.change(r"\[account\].*?\n\n", "")
    untouched.alvh("run", "--live", "--once").refused(4, "[account]")


# disks


def test_a_full_disk(untouched: Home, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=False).returncode:
        pytest.skip("only root can mount a small disk; the test above limits the file size instead")
    try:
        untouched.change(r'state_dir = "[^"]*"', f'state_dir = "{disk}"')
        for mode in (("run", "--live"), ("run",), ("monitor",)):
            ended = untouched.alvh(*mode, "--once")
            ended.refused(1, str(disk))  # REL-H1: it passes, so it is no configuration
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_state_that_cannot_be_kept(untouched: Home):
    (untouched.folder / "file").touch()
    untouched.change(r'state_dir = "[^"]*"', f'state_dir = "{untouched.folder}/file/state"')
    untouched.alvh("run", "--once").refused(4, "file/state")


def test_a_journal_that_was_changed_by_hand(untouched: Home):
    assert untouched.alvh("run", "--once").code == 0
    with sqlite3.connect(untouched.journal("dry-run")) as database:
        for trigger in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger[0]}")
        database.execute("UPDATE steps SET at_s = at_s + 1")
    database.close()
    untouched.alvh("run", "--once").refused(1, "journal-dry-run.sqlite", "changed")


# backtest


BACKTEST = ("backtest", "--exposure", "v2:ETH/USDC:1000000")


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    folder = tmp_path / "data"
    folder.mkdir()
    return DataFolder(path=folder).write_all()


def test_backtest_without_its_folder(server: CommandServer, tmp_path: Path):
    ended = server.start(
        *BACKTEST, "--data", "nowhere", "--from", "2022-01-01", "--to", "2022-01-02", cwd=tmp_path
    ).wait()
    ended.refused(4, "--data", "nowhere")


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"--from": "1999-01-01", "--to": "1999-01-05"}, 4, ("no rows", "1999-01-01")),
        ({"--from": "yesterday"}, 4, ("--from", "yesterday", "ISO 8601")),
        ({"--from": "2022-05-05", "--to": "2022-05-01"}, 4, ("--from", "--to")),
        ({"--exposure": "v9:ETH/USDC:1"}, 4, ("v9", "v2")),
        ({"--exposure": "v2:ETH/USDC:-5"}, 4, ("-5",)),
        ({"--policy": "nowhere.toml"}, 4, ("nowhere.toml",)),
        ({"--market": "nowhere.toml"}, 4, ("nowhere.toml",)),
    ],
    ids=str,
)
def test_a_backtest_that_cannot_be(
    server: CommandServer, tmp_path: Path, data: DataFolder, changes, code, words
):
    options = {
        "--data": str(data.path),
        "--from": "2022-04-25",
        "--to": "2022-04-26",
        "--exposure": "v2:ETH/USDC:1000000",
    }
    arguments = [part for pair in {**options, **changes}.items() for part in pair]
    server.start("backtest", *arguments, cwd=tmp_path).wait().refused(code, *words)


@pytest.mark.parametrize("name", ["eth_usdt_spot_1h_binance", "btc_dvol_1h_deribit"])
def test_backtest_without_a_required_file(server: CommandServer, tmp_path: Path, data: DataFolder, name):
    data.remove(name)
    ended = server.start(
        *BACKTEST, "--data", str(data.path), "--from", "2022-04-25", "--to", "2022-04-26", cwd=tmp_path
    ).wait()
    ended.refused(4, name, str(data.path))


WINDOWS = "id,start_utc,end_utc_exclusive,kind\nquiet,2022-04-04,2022-04-06,calm\n"


def test_a_backtest_over_windows(server: CommandServer, tmp_path: Path, data: DataFolder):
    (tmp_path / "windows.csv").write_text(WINDOWS + "crash,2022-04-10,2022-04-12,crisis\n")
    given = (
        *BACKTEST,
        "--data",
        str(data.path),
        "--windows",
        "windows.csv",
        "--lead",
        "1",
        "--processes",
        "1",
    )
    ended = server.start(*given, "--policy", "classic", "--policy", "steward", cwd=tmp_path).wait()
    assert ended.code == 0, ended
    for words in ("quiet", "crash", "classic", "steward", "false a year", "mean of 1 market crisis"):
        assert words in ended.out
    document = server.start(*given, "--json", cwd=tmp_path).wait().document
    assert [item["id"] for item in document["policies"][0]["windows"]] == ["quiet", "crash"]
    assert document["policies"][0]["windows"][1]["market_crisis"] is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("--windows", "nowhere.csv"), ("nowhere.csv", "cannot be read")),
        (("--windows", "windows.csv", "--journal", "new.db"), ("--windows", "--journal")),
        (("--windows", "windows.csv", "--rotations", "-1"), ("--rotations", "-1")),
        (("--windows", "windows.csv", "--hold-out", "1.5"), ("hold out", "1.5")),
        (("--windows", "windows.csv", "--walk-forward", "0"), ("--walk-forward", "0")),
        (("--windows", "windows.csv", "--keep", "windows.csv"), ("--keep", "windows.csv")),
        (("--from", "2022-04-25", "--to", "2022-04-26", "--keep", "kept"), ("--keep", "--windows")),
        (("--windows", "windows.csv", "--lead", "-2"), ("--lead", "-2")),
        (("--windows", "windows.csv", "--processes", "0"), ("--processes", "0")),
        (("--from", "2022-04-25"), ("--to", "--windows")),
        (
            ("--from", "2022-04-25", "--to", "2022-04-26", "--policy", "classic", "--policy", "steward"),
            ("--policy", "classic, steward", "--windows"),
        ),
    ],
    ids=str,
)
def test_a_backtest_over_windows_that_cannot_be(
    server: CommandServer, tmp_path: Path, data: DataFolder, changes, words
):
    (tmp_path / "windows.csv").write_text(WINDOWS)
    server.start(*BACKTEST, "--data", str(data.path), *changes, cwd=tmp_path).wait().refused(4, *words)


# what is printed


def test_plan_prices_a_position_at_every_tier(untouched: Home, devnet: Devnet):
    token = devnet.deployment.user_v3_token_id
    document = untouched.alvh("plan", "--position", f"v3:{token}", "--json").document
    tiers = [item["tier"] for item in document["protections"]]
    assert tiers == ["CALM", "GUARDED", "ELEVATED", "SEVERE", "CRISIS"]
    assert check_times(document) > 0
    crisis = document["protections"][-1]
    assert {leg["layer"] for leg in crisis["legs"]} == {"NEAR", "MID", "TAIL"}
    for leg in crisis["legs"]:
        assert leg["premium_usd"] > 0.0
        assert leg["carry_usd_year"] > 0.0
        assert 0.0 < leg["break_even_usd"] < leg["strike_usd"]
    assert [loss["move"] for loss in crisis["losses"]] == [-0.2, -0.4, -0.6]
    for loss in crisis["losses"]:
        assert loss["hedged_expiry_usd"] < loss["unhedged_usd"]
    assert list(untouched.folder.glob("*.sqlite*")) == []  # no state


def test_plan_finds_the_positions_of_a_wallet(untouched: Home, devnet: Devnet):
    ended = untouched.alvh("plan", "--wallet", devnet.deployment.user, "--json", "plan.json")
    assert (ended.code, ended.err) == (0, ""), ended
    document = strict_json((untouched.folder / "plan.json").read_text())
    found = {item["id"] for item in document["exposures"]}
    assert found == {f"v3:{devnet.deployment.user_v3_token_id}", "v2:ETH/USDC"}


def test_plan_for_a_person(untouched: Home):
    ended = untouched.alvh("plan")
    assert (ended.code, ended.err) == (0, ""), ended
    assert "CRISIS" in ended.out
    assert "nan" not in ended.out.lower().split()
    assert max(map(len, ended.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--position", "v3:999999"), 2, ("v3:999999",)),
        (("--position", "v3:four"), 4, ("v3:four", "whole number")),
        (("--position", "v3:-1"), 4, ("v3:-1",)),
        (("--position", "v2:0x12"), 4, ("v2:0x12", "address")),
        (("--position", "v4:1"), 4, ("v4:1", "v3:TOKEN_ID")),
        (("--wallet", EMPTY), 2, (EMPTY, "no position")),
        (("--wallet", "bob"), 4, ("--wallet", "bob", "address")),
    ],
    ids=str,
)
def test_a_plan_for_nothing(untouched: Home, arguments, code, words):
    untouched.alvh("plan", *arguments).refused(code, *words)


def test_monitor_decides_and_buys_nothing(untouched: Home):
    document = untouched.alvh("monitor", *ONCE).document
    assert document["mode"] == "monitor"
    assert document["orders"] == []
    assert [group["tier"] for group in document["groups"]] == ["CALM"]
    assert document["spot_usd"]["ETH"] == pytest.approx(2940.0, rel=0.01)
    assert {"S1", "S2", "S3", "S4", "S10", "S11", "S13", "S15"} <= {
        item["signal"] for item in document["readings"]
    }
    assert check_times(document) > 10


async def test_a_dry_run_fills_on_paper_and_remembers(untouched: Home, rpc: Rpc):
    first = untouched.alvh("run", *ONCE).document
    (order,) = first["orders"]
    assert (order["layer"], order["side"], order["status"]) == ("TAIL", "buy", "filled")
    assert order["premium_usd"] > 0.0
    again = untouched.start("run", *ONCE)
    again.until(lambda: "was decided at before; waiting for the next one" in again.err)
    await rpc.request("evm_mine")
    second = again.wait().document
    assert second["sequence"] == 2
    assert second["orders"] == []
    assert second["hedge_value_usd"] > 0.5 * order["premium_usd"]
    (tail,) = [layer for layer in second["groups"][0]["layers"] if layer["layer"] == "TAIL"]
    assert tail["held_contracts"] == pytest.approx(order["size"])


async def test_a_second_bot_on_the_same_journal_is_refused_and_the_first_ends_well(untouched: Home):
    first = untouched.start("run", "--json")
    first.until(lambda: first.out.count("\n") >= 1)
    untouched.alvh("run", "--once").refused(4, "journal-dry-run.sqlite", f"process {first.pid}")
    running = untouched.alvh("status", "--json")
    assert running.code == 0
    assert running.document["running"] is True
    os.kill(first.pid, signal.SIGINT)
    ended = first.wait()
    assert ended.code == 0, ended
    assert ended.err.splitlines() == NOTICES
    assert [strict_json(line)["sequence"] for line in ended.out.splitlines()] == [1]
    stopped = untouched.alvh("status", "--json")
    assert stopped.code == 3
    assert stopped.document["running"] is False


def test_the_installed_command_stops_at_ctrl_c(untouched: Home):
    process = subprocess.Popen(
        [str(ALVH), "monitor", "--json"],
        cwd=untouched.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert strict_json(process.stdout.readline())["sequence"] == 1
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines() == NOTICES


@pytest.mark.parametrize("arguments", [("--json",), ("--json", "-"), ("--json", "-c", "alvh.toml")], ids=str)
def test_json_without_a_file_is_for_standard_output(untouched: Home, arguments):
    assert untouched.alvh("monitor", "--once", *arguments).document["mode"] == "monitor"


def test_what_a_journal_tells(untouched: Home):
    for command in (("status",), ("explain",), ("report", "out.html")):
        untouched.alvh(*command).refused(2, "journal-dry-run.sqlite")
    assert untouched.alvh("run", "--once").code == 0
    status = untouched.alvh("status", "--json")
    assert status.code == 3
    assert status.document["groups"][0]["tier"] == "CALM"
    seen = untouched.alvh("status")
    assert seen.code == 3
    assert "CALM" in seen.out
    assert seen.err == "no dry-run bot is running; this is its last record\n"
    explained = untouched.alvh("explain")
    assert (explained.code, explained.err) == (0, "")
    assert "R8" in explained.out
    assert check_times(untouched.alvh("explain", "--json").document) > 10
    untouched.alvh("explain", "--at", "1999-01-01").refused(2, "1999-01-01")
    untouched.alvh("explain", "--at", "soon").refused(4, "--at", "soon")
    untouched.alvh("explain", "--at", "1999-01-01", "--sequence", "1").refused(4, "--at", "--sequence")
    untouched.alvh("explain", "--sequence", "99").refused(2, "step 99")
    untouched.alvh("explain", "--live").refused(2, "journal-live.sqlite")
    untouched.alvh("explain", "--journal", "none.sqlite").refused(2, "none.sqlite")
    untouched.alvh("explain", "--journal", "a", "--recording", "b").refused(4, "--journal", "--recording")
    untouched.alvh("explain", "--recording", "none").refused(2, "none")


def test_an_explanation_answers_on_its_first_screen(untouched: Home):
    assert untouched.alvh("run", "--once").code == 0
    shown = untouched.alvh("explain", "--dry-run").out.splitlines()
    assert max(map(len, shown)) <= 80
    first = " ".join(" ".join(shown[:24]).split())
    for words in ("CALM ETH/USDC", "why no family votes", "up GUARDED", "or R2, without votes", "hedge "):
        assert words in first
    journal = str(untouched.journal("dry-run"))
    same = untouched.alvh("explain", "--journal", journal, "--sequence", "1", "--config", "none.toml")
    assert same.out.splitlines() == shown
    document = untouched.alvh("explain", "--json").document
    (group,) = document["groups"]
    assert document["explains"]["policy_is_the_decisions"] is True
    assert group["next"]["down"] is None
    assert {item["rule"] for item in group["next"]["hard_triggers"]} == {"R2", "R6"}
    assert any(item["chosen"] for item in group["alternatives"])
    assert {item["rule"] for item in group["limits"]} == {"R9", "R10", "R11"}


def test_the_report_of_a_journal(untouched: Home):
    assert untouched.alvh("run", "--once").code == 0
    ended = untouched.alvh("report", "out.html")
    assert (ended.code, ended.err) == (0, ""), ended
    page = (untouched.folder / "out.html").read_text()
    assert page.startswith("<!")
    assert "CALM" in page
    (untouched.folder / "file").touch()
    for path in ("no/such/folder/out.html", "file/out.html", "."):
        untouched.alvh("report", path).refused(4, "report")
    untouched.alvh("explain", "--json", "no/such/folder/x.json").refused(4, "--json", "no/such/folder")
    assert sorted(item.name for item in untouched.folder.glob(".*")) == []


@pytest.mark.parametrize("option", [("--report",), ("--json",)], ids=str)
def test_a_result_that_could_not_be_written_is_refused_before_the_work(untouched: Home, data, option):
    long = ("backtest", "--data", str(data.path), "--from", "2022-04-25", "--to", "2022-04-26")
    for command in (("demo",), (*long, "--exposure", "v2:ETH/USDC:1000000")):
        (untouched.folder / "file").touch()
        for path in ("no/such/folder/out", "file/out", "."):
            untouched.alvh(*command, *option, path).refused(4, *option, path, "folder")


def test_the_devnet_that_stays(server: CommandServer, tmp_path: Path):
    def devnet(*arguments: str):
        return server.start("devnet", *arguments, cwd=tmp_path).wait()

    down = devnet("status", "--json")
    assert down.code == 3
    assert down.document["running"] is False
    devnet("down").refused(2, "devnet")
    try:
        up = devnet("up", "--json").document
        assert devnet("up").code == 4
        state = devnet("status", "--json")
        assert (state.code, state.document["running"]) == (0, True)
        assert check_times(state.document) == 1
        config = Path(up["config"]).read_text()
        (tmp_path / "alvh.toml").write_text(config.replace("poll_s", "timeout_s = 1.0\npoll_s", 1))
        monitored = server.start("monitor", *ONCE, cwd=tmp_path).wait()
        assert monitored.document["groups"][0]["tier"] == "CALM"
        watching = server.start("monitor", "--json", cwd=tmp_path)
        watching.until(lambda: watching.out.count("\n") >= 2)
    finally:
        assert devnet("down").code == 0
    assert devnet("status").code == 3
    watching.until(lambda: "trouble: " in watching.err)
    os.kill(watching.pid, signal.SIGTERM)
    ended = watching.wait()
    assert ended.code == 0, ended
    assert [strict_json(line)["sequence"] for line in ended.out.splitlines()][:2] == [2, 3]
    lines = ended.err.splitlines()
    assert lines[-1] == NOTICES[-1]
    assert 1 <= sum(line.startswith("trouble: ") for line in lines) < 5  # not said again at every poll
    assert len(lines) < 5 + len(NOTICES)
