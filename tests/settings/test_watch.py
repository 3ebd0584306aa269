"""[[watch]] tables become sources by their kind, and what is wrong with one is named in one line."""

import runpy
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from settings_texts import GOOD, OTHER, write

from bot.app.parts import all_series, position_readers, scheduled, watchers
from bot.deployments import known
from bot.errors import ConfigError
from bot.settings import KINDS, load_settings
from bot.settings.shape import field_names
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.uniswap_v3 import UniswapV3Watcher

ROOT = Path(__file__).parents[2]

WATCH = """
[[watch]]
kind = "chainlink"
label = "BTC/USD"
underlying = "BTC"
address = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
heartbeat_s = 3600
"""


def test_a_watch_table_is_its_kind_with_the_fields_of_the_class(tmp_path):
    (table,) = load_settings(write(tmp_path, GOOD + WATCH + "every_s = 60")).watch
    assert table.every_s == 60.0
    assert table.source == ChainlinkWatcher(
        label="BTC/USD",
        underlying="BTC",
        address="0x5FbDB2315678afecb367f032d93F642f64180aa3",
        heartbeat_s=3600.0,
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'kind = "chainlink"',
            'kind = "chainlnk"',
            r"watch\.0: kind 'chainlnk' is not known; did you mean chainlink\?",
        ),
        ('kind = "chainlink"', "", r"watch\.0\.kind is missing"),
        ('kind = "chainlink"', "kind = 7", r"watch\.0\.kind: "),
        (
            "heartbeat_s = 3600",
            "heartbeat = 3600",
            r"unknown key watch\.0\.heartbeat; did you mean heartbeat_s",
        ),
        ("heartbeat_s = 3600", "heartbeat_s = 'soon'", r"watch\.0\.heartbeat_s: .*was 'soon'"),
        ("heartbeat_s = 3600", "", r"watch\.0\.heartbeat_s is missing"),
        ("heartbeat_s = 3600", "heartbeat_s = 0", "heartbeat_s must be > 0, was 0"),
        ("heartbeat_s = 3600", "heartbeat_s = 3600\nevery_s = -1", r"watch\.0\.every_s: .*was -1"),
        ("heartbeat_s = 3600", "heartbeat_s = 3600\nchain = 10", r"watch\.0\.chain: 10 is not configured"),
    ],
)
def test_each_bad_watch_table_is_named(tmp_path, old, new, message):
    text = GOOD + WATCH.replace(old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(write(tmp_path, text))
    assert "\n" not in str(caught.value)


POOL = """
[[pools]]
label = "v3:ETH/USDC"
kind = "uniswap_v3"
address = "0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640"
base = "@token.WETH"
quote = "@token.USDC"
base_decimals = 18
quote_decimals = 6

[[watch]]
kind = "uniswap_v2"
pool = "v3:ETH/USDC"
"""


def test_a_watch_table_may_name_a_configured_pool(tmp_path):
    settings = load_settings(write(tmp_path, GOOD.replace("31337", "1") + POOL))
    assert settings.watch[0].source.pool.base_token == known(1).address("token.WETH")
    with pytest.raises(
        ConfigError, match=r"watch\.0\.pool: pool 'v3:none' is not configured; there are v3:ETH/USDC"
    ):
        load_settings(
            write(
                tmp_path,
                GOOD.replace("31337", "1") + POOL.replace('pool = "v3:ETH/USDC"', 'pool = "v3:none"'),
            )
        )


def test_every_kind_can_be_configured_by_its_fields():
    """A field that pydantic cannot check would fail only for the user who needs it."""
    for kind, part in KINDS.items():
        assert TypeAdapter(part).core_schema, kind
        assert "name" not in field_names(part), kind


@pytest.mark.parametrize(
    "table",
    [
        '[chain]\nid = "x"\nrpc_url = []\n[[feeds]]\naddress = "@a"',
        "chain = 3\nfeeds = 4\npools = [5]\nwatch = [[6]]\nlyra = []",
        '[chain]\nid = 1\nrpc_url = "https://a.example"\n[[watch]]\nkind = "tvl"\ntokens = "@x"',
        '[chain]\nid = 1\nrpc_url = "https://a.example"\n[[watch]]\nkind = "uniswap_v3"\npool = 7',
    ],
)
def test_tables_of_a_wrong_shape_are_one_line(tmp_path, table):
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, table))
    assert "\n" not in str(caught.value)


def test_the_page_of_sources_is_what_the_classes_say():
    script = runpy.run_path(str(ROOT / "scripts" / "sources_page.py"))
    assert (ROOT / "docs" / "sources.md").read_text() == script["page"](), "run scripts/sources_page.py"


def test_a_key_of_a_source_does_not_show(tmp_path):
    table = 'kind = "fred"\nseries_id = "SP500"\nmetric = "index_close"\nsubject = "SPX"'
    text = f'{GOOD}[[watch]]\n{table}\napi_key = "0123456789abcdef0123456789abcdef"\n'
    settings = load_settings(write(tmp_path, text))
    assert settings.watch[0].source.api_key.startswith("0123456789abcdef")
    assert "0123456789abcdef" not in repr(settings)


def test_every_example_is_accepted(monkeypatch):
    for name in ("ALVH_RPC_URL", "ALVH_ARBITRUM_RPC_URL"):
        monkeypatch.setenv(name, "https://node.example/key")
    examples = sorted((ROOT / "docs").glob("*-monitor.toml"))
    assert len(examples) == 2
    for path in examples:
        settings = load_settings(path)
        assert len(set(all_series(settings))) == len(all_series(settings)) > 0
        assert position_readers(settings) or not settings.positions


def test_watchers_of_each_chain_have_the_pace_of_their_table(tmp_path):
    text = (
        GOOD + OTHER + WATCH.replace('kind = "chainlink"', 'kind = "chainlink"\nchain = 42161\nevery_s = 60')
    )
    settings = load_settings(write(tmp_path, text))
    assert [item.every_s for item in scheduled(settings)] == [0.0]
    assert [(item.watcher.name, item.every_s) for item in scheduled(settings, 42161)] == [
        ("chainlink BTC/USD", 60.0)
    ]


def test_a_v3_pool_elsewhere_takes_its_lens_from_the_known_deployments(tmp_path):
    text = POOL.partition("[[watch]]")[0] + "chain = 42161"
    text = text.replace("quote_decimals = 6", "quote_decimals = 6\nchain = 42161", 1).rpartition(
        "chain = 42161"
    )[0]
    settings = load_settings(write(tmp_path, GOOD.replace("31337", "1") + text + OTHER))
    watcher = next(item for item in watchers(settings, 42161) if isinstance(item, UniswapV3Watcher))
    assert watcher.tick_lens == known(42161).address("uniswap_v3.tick_lens")
    assert watcher.pool.base_token == known(42161).address("token.WETH")
