"""`alvh init` as a person and a program run it, against the devnet."""

import os
import pty
import stat
import subprocess
import tomllib

import pytest
from commands import ALVH, Ended, Home, environment

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("cli")]

EMPTY = "0x" + "aa" * 20


def wallet(home: Home) -> str:
    return str(tomllib.loads(home.config.read_text())["account"]["address"])


def test_a_wallet_becomes_a_configuration_that_monitor_and_run_take_as_it_is(home: Home) -> None:
    given = ("--like", "alvh.toml", "--wallet", wallet(home), "--budget", "3 %", "--config", "own/alvh.toml")
    ended = home.alvh("init", *given, "--yes")
    assert ended.code == 0, ended
    assert "3 positions to protect" in ended.err
    assert "alvh monitor --config own/alvh.toml" in ended.out
    path = home.folder / "own" / "alvh.toml"
    table = tomllib.loads(path.read_text())
    assert {item["kind"] for item in table["positions"]} == {"uniswap_v2", "uniswap_v3", "uniswap_v4"}
    assert "account" not in table, "of whoever wrote the other configuration"
    for file in (path, path.with_name("alvh-policy.toml")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with_it = ("--config", str(path), "--once", "--json")
    for command in ("monitor", "run"):
        values = home.alvh(command, *with_it).document["exposure_value_usd"]
        assert values.keys() == {"v2:ETH/USDC", "v3:4", "v4:2"}
        assert sum(values.values()) == pytest.approx(1_299_817, abs=20)  # fees too
    assert {
        row["health"] for row in home.alvh("doctor", "--config", str(path), "--json").document["checks"]
    } == {
        "ok",
        "warn",
        "skipped",
    }
    home.alvh("init", *given, "--yes").refused(4, "own/alvh.toml is there already", "--force")
    assert tomllib.loads(path.read_text()) == table, "what was there stays"


def test_a_program_gets_one_document_and_no_question(home: Home) -> None:
    ended = home.alvh("init", "--like", "alvh.toml", "--position", "v3:4", "--output", "own.toml", "--json")
    document = ended.document
    assert [item["id"] for item in document["positions"]] == ["v3:4"]
    assert document["files"] == ["own.toml"]
    assert document["next"][-1] == "alvh run --config own.toml"
    assert tomllib.loads((home.folder / "own.toml").read_text())["policy"] == {"preset": "steward"}


def test_an_alert_url_goes_to_the_env_file_alone(home: Home) -> None:
    given = ("init", "--like", "alvh.toml", "--position", "v3:4", "--output", "own.toml", "--json")
    secret = "json://127.0.0.1:9/0123456789secret"
    document = home.alvh(*given, "--alert-url", secret, "--env-file", ".env").document
    assert document["variables"] == {"ALVH_ALERT_URL": "json://127.0.0.1:9/…"}
    assert "secret" not in (home.folder / "own.toml").read_text()
    env = home.folder / ".env"
    assert f"ALVH_ALERT_URL={secret}" in env.read_text()
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    other = ("--output", "b.toml", "--env-file", ".env", "--alert-url", f"{secret}2", "--yes")
    ended = home.alvh("init", "--like", "alvh.toml", "--position", "v3:4", *other)
    assert ended.code == 4
    assert ".env gives ALVH_ALERT_URL another value already" in ended.err
    assert not (home.folder / "b.toml").exists()


def test_of_another_configuration_no_secret_is_copied(home: Home) -> None:
    """REL-I4: its dashboard's token, its traces' address and the key of a source."""
    secrets = ("0123456789-token-of-the-dashboard", "token-of-traces", "key-of-the-source")
    more = f"""
[dashboard]
token = "{secrets[0]}"
[tracing]
endpoint = "http://127.0.0.1:9/{secrets[1]}"
[[watch]]
kind = "bls"
api_key = "{secrets[2]}"
"""
    home.config.write_text(home.config.read_text() + more)
    given = ("init", "--like", "alvh.toml", "--position", "v3:4", "--output", "own.toml", "--json")
    document = home.alvh(*given).document
    written = (home.folder / "own.toml").read_text()
    assert not [secret for secret in secrets if secret in written]
    assert "${ALVH_BLS_API_KEY}" in written
    assert "ALVH_BLS_API_KEY" in document["variables"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--like", "alvh.toml"), 4, ("--wallet",)),
        (("--like", "alvh.toml", "--wallet", "bob"), 4, ("--wallet", "bob")),
        (("--like", "alvh.toml", "--wallet", EMPTY), 2, ("holds no v3 or v4 position",)),
        (("--like", "nothing.toml", "--wallet", EMPTY), 4, ("nothing.toml", "No such file")),
        (
            ("--like", "alvh.toml", "--rpc-url", "http://127.0.0.1:1", "--wallet", EMPTY),
            4,
            ("--like", "both"),
        ),
        (("--wallet", EMPTY), 4, ("--rpc-url", "ALVH_RPC_URL")),
        (("--rpc-url", "http://rpc.example/key", "--wallet", EMPTY), 4, ("plain http", "https")),
        (("--rpc-url", "http://127.0.0.1:1", "--wallet", EMPTY), 1, ("127.0.0.1:1",)),
        (("--like", "alvh.toml", "--position", "v3:4", "--preset", "promoter"), 4, ("promoter", "steward")),
        (("--like", "alvh.toml", "--position", "v3:4", "--budget", "1,000"), 4, ("--budget", "1,000", "USD")),
        (("--like", "alvh.toml", "--position", "v3:4", "--budget", "１２ %"), 4, ("--budget",)),
        (
            ("--like", "alvh.toml", "--position", "v3:4", "--budget", "900000 USD"),
            4,
            ("over the positions'",),
        ),
        (("--like", "alvh.toml", "--position", "v3:4", "--output", "."), 4, ("is a folder",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(home: Home, arguments, code, words) -> None:
    there = sorted(home.folder.iterdir())
    more = () if "--output" in arguments else ("--output", "own.toml")
    ended = home.alvh("init", *arguments, *more, "--yes")
    assert ended.code == code, ended
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: "), ended
    for word in words:
        assert word in last, ended
    assert sorted(home.folder.iterdir()) == there


def test_questions_are_answered_one_by_one_and_a_bad_answer_is_asked_again(home: Home) -> None:
    secret = "json://127.0.0.1:9/0123456789secret"
    answers = ["nobody", wallet(home), "stewart", "", "steward", "5000 USD", secret, "y", "y"]
    ended = typed(home, answers, "init", "--like", "alvh.toml", "--output", "own.toml")
    assert ended.code == 0, ended
    assert ended.err.count("not so: ") == 2, ended
    table = tomllib.loads((home.folder / "own.toml").read_text())
    assert table["policy"] == {"file": str(home.folder / "own-policy.toml")}
    assert secret in (home.folder / ".env").read_text()
    assert "set -a; . ./.env; set +a" in ended.out


def test_a_no_at_the_last_question_writes_nothing(home: Home) -> None:
    there = sorted(home.folder.iterdir())
    given = ("init", "--like", "alvh.toml", "--position", "v3:4", "--output", "own.toml")
    ended = typed(home, ["", "", "", "n"], *given)
    assert ended.code == 1, ended
    assert sorted(home.folder.iterdir()) == there


def typed(home: Home, answers: list[str], *arguments: str) -> Ended:
    """Run a command with somebody at the keyboard."""
    master, terminal = pty.openpty()
    try:
        os.write(master, "".join(f"{answer}\n" for answer in answers).encode())
        done = subprocess.run(
            [str(ALVH), *arguments],
            cwd=home.folder,
            env=environment(),
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(master)
        os.close(terminal)
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)
