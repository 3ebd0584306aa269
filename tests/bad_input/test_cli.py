"""The bad-input list of reliability.md, group "CLI", item by item.

What is tested elsewhere, and is not repeated here:

=======================================================  ==================================================
unknown commands, flags and values; a seed of -1         tests/test_cli.py
a configuration that is not there; a full disk           tests/test_cli.py
Ctrl-C once and twice; a second bot on one journal       tests/test_cli.py, tests/test_cli_sweep.py
nobody there for a password                              tests/test_cli.py
--live on a chain with money, without an account         tests/test_cli.py
close, roll, exercise of what is not held; amounts       tests/test_cli_manual.py, test_cli_account_orders.py
a decision that is not there, or of another time         tests/app/test_explain.py
a result that could not be written; a folder in use      tests/test_cli.py, tests/test_cli_report.py
a locale, width, pipe or terminal of every kind          tests/test_cli_page.py
a port in use; root                                      tests/app/test_doctor_places.py
init: budgets such as "1,000", files that are there      tests/app/test_init.py, tests/test_cli_init.py
=======================================================  ==================================================
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ALVH, environment
from printed import printed

ROOT = Path(__file__).parents[2]
SECRET = "0x" + "5e" * 32


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a configuration of a chain that nobody asks."""
    (tmp_path / "alvh.toml").write_text(
        f'state_dir = "{tmp_path}/state"\n[chain]\nid = 1\nrpc_url = "http://127.0.0.1:1"\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--live", "--private-key", SECRET),
        ("testnet", "deploy", "--private-key", SECRET),
        ("signer", "--mnemonic", f"{SECRET} test"),
        ("testnet", "price", "--password", SECRET),
    ],
    ids=lambda value: value[-2],
)
def test_a_key_in_the_arguments_is_refused_and_not_repeated(folder, arguments):
    ended = printed(*arguments)
    ended.refused(4, arguments[-2], "a key is never an argument")
    assert "5e5e" not in ended.text


@pytest.mark.parametrize(
    "arguments",
    [
        (f"0x{'5e' * 32}",),
        ("run", "--metrics", f"{'5e' * 14}x"),
        ("monitor", "--position", f"http://x.example/{'5e' * 14}", "--rpc-url", "http://127.0.0.1:9"),
    ],
    ids=["command", "number", "position"],
)
def test_a_key_in_a_place_of_its_own_is_not_repeated(folder, arguments):
    """REL-I4: by name or not, what has the shape of a secret is not said again."""
    ended = printed(*arguments)
    assert ended.code == 4
    assert "5e5e" not in ended.text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "--live", "--dry-run"), 4, ("--dry-run",)),
        (("run", "--once=yes"), 4, ("--once",)),
        (("run", "--config"), 4, ("--config", "requires an argument")),
        (("status", "--config", "-"), 4, ("cannot come from a pipe", "--config")),
        (("status", "--config", "."), 4, ("Is a directory",)),
        (("status", "extra"), 4, ("extra",)),
        (("replay", "--from-block", "-5", "--to-block", "3"), 4, ("--from-block", "-5")),
        (("replay", "--from-block", "5"), 4, ("--to-block",)),
        (("replay",), 4, ("--recording", "--from-block")),
        (("replay", "--recording", "nowhere"), 2, ("nowhere",)),
        (("explain", "--sequence", "-1"), 4, ("--sequence", "-1")),
        (("explain", "--journal", "a", "--recording", "b"), 4, ("either",)),
        (("explain", "--journal", "../nowhere.sqlite"), 2, ("nowhere.sqlite",)),
        (("report", "--report", "../nowhere/x.html"), 4, ("../nowhere", "choose another path")),
        (("report", "one.json", "two.json", "three.json"), 4, ("one run or two",)),
        (("stress", "--json", "nowhere/x.json"), 4, ("nowhere", "writable")),
        (("download-data", "--out", "x", "--from", "2024-13-01", "--to", "2024-01-02"), 4, ("2024-13-01",)),
        (("backtest", "--data", "x", "--exposure", "v2:ETH/USDC:1", "--from", "2024-01-01"), 4, ("--to",)),
        (("montecarlo", "--exposure", "v2:ETH/USDC:1.000,5"), 4, ("1.000,5",)),
        (("montecarlo", "--exposure", "v2:ETH/USDC:all"), 4, ("all",)),
        (("montecarlo", "--exposure", "v2:ETH/USDC:-1"), 4, ("-1",)),
        (("montecarlo", "--exposure", "v2:ETH/USDC:nan"), 4, ("nan",)),
        (("montecarlo", "--exposure", "v2:ETH/USDC:0x10"), 4, ("0x10",)),
        (("policy", "check", "../nowhere.toml"), 4, ("../nowhere.toml", "presets are")),
        (("policy", "show", "stewart"), 4, ("stewart", "steward")),
        (("resume", "--yes", "no"), 4, ("no",)),
        (("devnet", "up", "--port", "0"), 4, ("--port", "0")),
        (("testnet", "price", "--network", "moon"), 4, ("--rpc-url",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_makes_no_sense_is_one_line_and_an_exit_code(folder, monkeypatch, arguments, code, words):
    monkeypatch.delenv("ALVH_TESTNET_RPC_URL", raising=False)
    before = sorted(folder.iterdir())
    printed(*arguments).refused(code, *words)
    assert sorted(folder.iterdir()) == before, "nothing is written"


@pytest.mark.parametrize("text", ["1,000", "1.000,5", "１２", "0x10", "all", "", "1e", "--1"])
def test_an_amount_that_could_be_two_numbers_is_refused(folder, text):
    printed("top-up", "loan", "--usd", text).refused(4, "--usd")


@pytest.mark.parametrize("text", ["1_000", " 1 ", "1e3", "+5"])
def test_an_amount_that_is_one_number_is_taken(folder, text):
    printed("top-up", "loan", "--usd", text).refused(4, "a dry run pays nothing")


def test_an_option_twice_counts_as_its_last(folder):
    printed("status", "--config", "one.toml", "--config", "two.toml").refused(4, "two.toml")


def test_a_question_where_nobody_is_there_is_refused_before_anything_is_done(folder):
    assert printed("pause", "--why", "a test").code == 0
    ended = subprocess.run(
        [str(ALVH), "resume"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert ended.returncode == 4
    assert "nobody is there to confirm; add --yes" in ended.stderr
    assert "paused" in printed("resume", "--yes").text or printed("resume").text.startswith("nothing")


def test_the_same_twice_says_so_and_changes_nothing(folder):
    first, second = printed("pause"), printed("pause")
    assert (first.code, second.code) == (0, 0)
    assert printed("resume", "--yes").code == 0
    again = printed("resume", "--yes")
    assert again.text == "nothing is paused\n"
    assert again.code == 0


def test_a_name_with_markup_is_printed_as_it_is(folder):
    ended = printed("policy", "check", "[red]bold[/red].toml")
    assert "[red]bold[/red].toml" in ended.text


def test_a_stopped_command_goes_on(folder):
    """Ctrl-Z, then fg: a stop loses nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", "from bot.cli import main; main()", "policy", "show", "steward"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    ) as running:
        os.kill(running.pid, signal.SIGSTOP)
        os.kill(running.pid, signal.SIGCONT)
        assert running.stdout is not None
        assert b"[budget]" in running.stdout.read()
        assert running.wait(timeout=30) == 0
