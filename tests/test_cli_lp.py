"""`alvh monitor --wallet` and `--position` as a person and a program run it."""

import json
import math
import os
import signal

import pytest
from commands import CommandServer, Home

pytestmark = pytest.mark.devnet

EMPTY = "0x" + "aa" * 20


@pytest.fixture
def url(home: Home) -> str:
    return next(line.split('"')[1] for line in _config(home) if line.startswith("rpc_url"))


def test_a_wallet_with_a_configuration(home: Home) -> None:
    document = home.alvh("monitor", "--wallet", _user(home), "--once", "--json").document
    assert document["value_usd"] == pytest.approx(1_299_817, abs=2)
    (chain,) = document["chains"]
    sources = {item["kind"]: item["hold"]["source"] for item in chain["positions"]}
    assert sources == {"uniswap_v2": "logs", "uniswap_v3": "logs", "uniswap_v4": None}
    text = home.alvh("monitor", "--wallet", _user(home), "--once").out
    assert "3 LP positions of" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_wallet_with_nothing_but_a_node(home: Home, url: str, server: CommandServer, tmp_path) -> None:
    manager = _field(home, "v3_position_manager")
    given = ("monitor", "--wallet", _user(home), "--rpc-url", url)
    ended = server.start(*given, "--v3-manager", manager, "--once", "--json", cwd=tmp_path).wait()
    (item,) = ended.document["chains"][0]["positions"]
    assert item["value_usd"] is None
    assert item["value"] == pytest.approx(599_883, abs=1)
    assert not list(tmp_path.glob("*.sqlite")), "the monitor of positions keeps nothing"
    server.start(*given, "--once", cwd=tmp_path).wait().refused(4, "--v3-manager")


def test_refreshes_are_json_lines_until_a_signal(home: Home, server: CommandServer) -> None:
    watching = server.start("monitor", "--wallet", _user(home), "--json", cwd=home.folder)
    watching.until(lambda: watching.out.count("\n") >= 1)
    os.kill(watching.pid, signal.SIGINT)
    ended = watching.wait()
    assert ended.code == 0, ended
    assert "stopped" in ended.err
    for line in ended.out.splitlines():
        assert math.isfinite(json.loads(line)["value_usd"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--wallet", EMPTY), 2, ("holds no v3 or v4 position",)),
        (("--wallet", "bob"), 4, ("--wallet", "bob", "address")),
        (("--position", "v3:9999"), 2, ("v3:9999", "burned")),
        (("--position", "v5:1"), 4, ("v5:1", "v3:TOKEN_ID")),
        (("--position", "1/v3:4"), 4, ("chain 1 is not watched",)),
        (("--position", "v3:4", "--entry-price", "free"), 4, ("--entry-price", "free")),
        (("--rpc-url", "http://127.0.0.1:1"), 4, ("--wallet",)),
    ],
    ids=str,
)
def test_a_request_for_nothing(home: Home, arguments, code, words) -> None:
    home.alvh("monitor", *arguments, "--once").refused(code, *words)


def _config(home: Home) -> list[str]:
    return (home.folder / "alvh.toml").read_text().splitlines()


def _field(home: Home, name: str) -> str:
    return next(line.split("'")[1] for line in _config(home) if line.startswith(name))


def _user(home: Home) -> str:
    return _field(home, "holder")
