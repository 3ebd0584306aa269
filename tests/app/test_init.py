"""What `alvh init` writes: for chains with known deployments, without a network."""

import math
import stat
import tomllib
from dataclasses import replace

import pytest

from bot.app.init import Choices, Found, Where, compose, next_commands, write
from bot.app.init_files import env_text, write_private
from bot.app.init_tables import sort_out, without_keys
from bot.app.init_text import text_of
from bot.app.lp_view import ChainLp, LpRow, LpView
from bot.chain.address import checksummed
from bot.deployments import known
from bot.errors import ConfigError
from bot.model.exposure import ExposureKind, LpShape
from bot.model.lp_position import LpPosition, LpToken, TickRange, V4PoolKey
from bot.model.market import Block
from bot.quant.lp_figures import figures_of
from bot.settings import load_policy, load_settings

USER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
URLS = ("https://one.example/v2/0123456789key", "https://two.example/v2/0123456789key")
POOL, PAIR = "0x" + "3a" * 20, "0x" + "3b" * 20


def token(chain_id: int, symbol: str) -> LpToken:
    found = known(chain_id).contracts[f"token.{symbol}"]
    return LpToken(symbol=symbol, address=found.address, decimals=found.decimals or 18)


def position(chain_id: int = 1, **changes) -> LpPosition:
    fields = {
        "id": "v3:7",
        "kind": ExposureKind.UNISWAP_V3,
        "protocol": "uniswap-v3",
        "chain_id": chain_id,
        "pool": "v3:WETH/USDC",
        "pool_address": POOL,
        "fee": 0.0005,
        "owner": USER,
        "base": token(chain_id, "WETH"),
        "quote": token(chain_id, "USDC"),
        "shape": LpShape(liquidity=900.0, lower_usd=1_600.0, upper_usd=2_500.0),
        "liquidity_raw": 9,
        "ticks": TickRange(tick=100, lower=-900, upper=1_200),
        "spot": 2_025.0,
        "units": 2.0,
        "quote_units": 4_500.0,
        "value": 8_550.0,
        "fees_units": 0.1,
        "fees_quote": 200.0,
        "quote_usd": 1.0,
    }
    return LpPosition(**(fields | changes))


V4 = {
    "id": "v4:9",
    "kind": ExposureKind.UNISWAP_V4,
    "protocol": "uniswap-v4",
    "pool": "v4:ETH/USDC",
    "pool_address": "0x" + "4b" * 32,
    "base": LpToken(symbol="ETH", address="0x" + "00" * 20, decimals=18),
    "v4_key": V4PoolKey(
        pool_manager="0x" + "11" * 20, fee=500, tick_spacing=10, hooks=checksummed("0x" + "2c" * 20)
    ),
}
V2 = {
    "id": f"v2:{PAIR}",
    "pool_address": PAIR,
    "kind": ExposureKind.UNISWAP_V2,
    "protocol": "sushi-v2",
    "fee": 0.003,
    "ticks": None,
    "staker": "0x" + "55" * 20,
    "staker_pool": 3,
}


def chain_of(*positions: LpPosition) -> ChainLp:
    chain_id = positions[0].chain_id
    block = Block(chain_id=chain_id, number=1, hash="0x1", parent_hash="0x0", timestamp_s=1_700_000_000)
    rows = tuple(LpRow(position=item, figures=figures_of(item)) for item in positions)
    return ChainLp(chain_id=chain_id, name=known(chain_id).chain, block=block, rows=rows)


def found(*chains: ChainLp) -> Found:
    view = LpView(wallet=USER, chains=chains)
    fits, left_out = sort_out(view, None)
    where = Where(urls=URLS[: len(chains)], wallet=USER)
    return Found(where=where, base=None, view=view, fits=fits, left_out=left_out)


def test_positions_on_two_chains_of_three_versions_become_one_configuration(tmp_path):
    everything = found(
        chain_of(position(), position(id="v3:8"), position(**V4), position(**V2)), chain_of(position(42161))
    )
    draft = compose(everything, Choices(target=tmp_path / "alvh.toml"))
    table = tomllib.loads(draft.config)
    assert table["chain"] == {"id": 1, "rpc_url": "${ALVH_RPC_URL}"}
    assert table["chains"] == [{"id": 42161, "rpc_url": "${ALVH_RPC_URL_42161}", "poll_s": 2.0}]
    assert dict(draft.secrets) == {"ALVH_RPC_URL": URLS[0], "ALVH_RPC_URL_42161": URLS[1]}
    assert [item["address"] for item in table["feeds"]] == ["@chainlink.ETH/USD"]
    labels = [item["label"] for item in table["pools"]]
    assert labels == ["v3:ETH/USDC", "v4:ETH/USDC", "v2:ETH/USDC", "v3.42161:ETH/USDC"]
    assert [item["pool"] for item in table["positions"]] == [labels[0], labels[0], *labels[1:]]
    v4, v2 = table["pools"][1], table["pools"][2]
    assert (v4["fee"], v4["tick_spacing"], v4["hooks"]) == (500, 10, V4["v4_key"].hooks)
    assert v2["protocol"] == "sushi-v2"
    assert table["positions"][3] == {
        "kind": "uniswap_v2",
        "pool": "v2:ETH/USDC",
        "holder": USER,
        "staker": V2["staker"],
        "pid": 3,
    }
    assert table["positions"][4]["chain"] == 42161
    assert table["indicative"]["underlyings"] == ["ETH"]
    assert "0123456789key" not in draft.config


def test_two_pools_of_one_pair_are_told_apart(tmp_path):
    pools = ["0x" + digit * 40 for digit in "678"]
    several = [position(pool_address=pools[0]), position(pool_address=pools[1], fee=0.003)]
    draft = compose(
        found(chain_of(*several, position(pool_address=pools[2], fee=0.003))),
        Choices(target=tmp_path / "a.toml"),
    )
    labels = [item["label"] for item in tomllib.loads(draft.config)["pools"]]
    assert labels == ["v3:ETH/USDC", "v3.3000:ETH/USDC", "v3.3000-88888888:ETH/USDC"]


ODD = LpToken(symbol="[red]PEPE", address="0x" + "9a" * 20, decimals=18)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quote": ODD}, "no stable side"),
        ({"base": ODD}, "no price feed of"),
        ({"base": token(1, "DAI")}, "two stables"),
        ({"fee": math.nan}, "by hand with its fee"),
        ({"fees_units": math.nan, "why_no_fees": "no StateView"}, "no StateView"),
        ({"quote": LpToken(symbol="USDC", address="0x" + "9a" * 20, decimals=6)}, "vouched for"),
    ],
    ids=[
        "no stable",
        "no feed",
        "two stables",
        "unknown fee",
        "unknown fees",
        "a token that calls itself USDC",
    ],
)
def test_a_position_that_cannot_be_protected_is_left_out_with_the_reason(changes, words):
    fits, left_out = sort_out(found(chain_of(position(**changes))).view, None)
    assert fits == ()
    (line,) = left_out
    assert line.startswith("v3:7 on Ethereum: ")
    assert words in line


def test_a_budget_is_a_policy_file_that_extends_the_preset(tmp_path):
    choices = Choices(target=tmp_path / "alvh.toml", budget="100 USD", state_dir=tmp_path / "state")
    draft = compose(found(chain_of(position())), choices)
    files = write(draft)
    assert files == (tmp_path / "alvh-policy.toml", tmp_path / "alvh.toml")
    budget = load_policy(load_settings(choices.target).policy).budget
    assert budget.budget_365d == pytest.approx(100 / 8_550, abs=1e-6)
    assert budget.budget_365d * 8_550 <= 100
    assert budget.budget_30d <= 0.01, "as the preset has it, or less"


@pytest.mark.parametrize(
    "text", ["", "%", "3", "-3 %", "3%%", "1,000 USD", "1e3 USD", "0x10 USD", "nan %", "all"]
)
def test_a_budget_that_could_be_read_in_two_ways_is_refused(tmp_path, text):
    if text:
        with pytest.raises(ConfigError, match="--budget"):
            Choices(target=tmp_path / "alvh.toml", budget=text).refuse()


def test_a_local_node_stands_in_the_file_and_any_other_does_not(tmp_path):
    for url, shown in (
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("http://localhost:8545/", "http://localhost:8545/"),
        ("http://127.0.0.1:8545/key", "${ALVH_RPC_URL}"),
        ("http://user:word@127.0.0.1:8545", "${ALVH_RPC_URL}"),
        ("http://10.0.0.7:8545", "${ALVH_RPC_URL}"),
    ):
        one = found(chain_of(position()))
        one = replace(one, where=replace(one.where, urls=(url,)))
        draft = compose(one, Choices(target=tmp_path / "alvh.toml"))
        assert tomllib.loads(draft.config)["chain"]["rpc_url"] == shown


def test_keys_of_another_configuration_are_not_copied():
    secrets: dict[str, str] = {}
    chain = {"id": 1, "rpc_urls": ["${A}", URLS[0], "http://127.0.0.1:1"], "ws_url": "wss://one.example/key"}
    assert without_keys(chain, 1, secrets)["rpc_urls"] == ["${A}", "${ALVH_NODE_2}", "http://127.0.0.1:1"]
    assert without_keys({"id": 10, "rpc_url": URLS[1]}, 1, secrets)["rpc_url"] == "${ALVH_RPC_URL_10}"
    assert secrets == {
        "ALVH_NODE_2": URLS[0],
        "ALVH_WS_URL": "wss://one.example/key",
        "ALVH_RPC_URL_10": URLS[1],
    }


def test_secrets_go_to_a_file_that_a_shell_takes_and_the_next_commands_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".env"
    path.write_text("KEPT=1\nexport ALVH_RPC_URL=old\n")
    url = "https://one.example/v2/it's $HOME"
    assert env_text(path, {"OTHER": url}, force=False).splitlines()[:2] == path.read_text().splitlines()
    choices = Choices(target=tmp_path / "alvh.toml", env_file=path)
    with pytest.raises(ConfigError, match="another value already"):
        write(compose(found(chain_of(position())), choices))
    assert not choices.target.exists()
    draft = compose(found(chain_of(position())), replace(choices, force=True))
    write(draft)
    assert env_text(path, draft.secrets, force=False) == path.read_text(), "the same value is no other"
    assert path.read_text().splitlines() == ["KEPT=1", f"ALVH_RPC_URL={URLS[0]}"]
    assert next_commands(draft)[0] == f"set -a; . {path}; set +a"


def test_a_file_is_written_whole_with_mode_0600_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "alvh.toml"
    write_private(path, "one", force=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="--force"):
        write_private(path, "two", force=False)
    assert path.read_text() == "one"
    write_private(path, "two", force=True)
    assert path.read_text() == "two"
    assert [item.name for item in path.parent.iterdir()] == ["alvh.toml"], "no draft is left"
    with pytest.raises(ConfigError, match="cannot be written"):
        write_private(path / "under-a-file.toml", "three", force=False)


def test_any_table_comes_back_as_it_was():
    table = {
        "state_dir": 'C:\\odd "place"\n',
        "chain": {"id": 1, "rpc_url": "${A}", "poll_s": 1e-05, "clock": "wall"},
        "watch": [
            {"kind": "x", "odd key": True, "reserves": [{"symbol": "λ\x7f"}]},
            {"kind": "y", "n": [1, 2]},
        ],
    }
    assert tomllib.loads(text_of(table)) == table
