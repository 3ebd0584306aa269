"""``alvh show-config``: each value as it holds, where it came from, and no secret in it."""

import io
import json

import pytest
from rich.console import Console
from settings_texts import GOOD, write

from bot.cli import main
from bot.settings import Origin, Setting, load_settings, load_with_origins
from bot.settings.networks import VARIABLE
from bot.settings.root import Settings
from bot.terminal.settings import settings_view

MORE = """
[[pools]]
label = "v2:ETH/USDC"
kind = "uniswap_v2"
address = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
base = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
quote = "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512"
base_decimals = 18
quote_decimals = 6

[[watch]]
kind = "fred"
series_id = "SP500"
metric = "index_close"
subject = "SPX"
api_key = "${FRED_KEY}"

[alerts]
urls = ["tgram://secret-token/secret-chat", "https://hooks.example/secret-path"]

[networks.sepolia]
feeds = [{ label = "ETH/USD", underlying = "ETH", address = "@chainlink.ETH/USD", heartbeat_s = 3600 }]

[networks.sepolia.chain]
id = 11155111
rpc_url = "${SEPOLIA_URL}"
"""
TEXT = MORE + GOOD


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("SEPOLIA_URL", "https://rpc.example/secret-key")
    monkeypatch.setenv("FRED_KEY", "secret-fred")
    monkeypatch.setenv(VARIABLE, "")  # put back after the test


def by_key(tmp_path, text: str = TEXT, **options) -> dict[str, Setting]:
    _, found = load_with_origins(write(tmp_path, text), **options)
    return {item.key: item for item in found}


def test_who_said_a_value(tmp_path, monkeypatch):
    monkeypatch.setenv("ALVH_CHAIN__POLL_S", "5")
    monkeypatch.setenv("alvh_execution__wait_s", "90")
    found = by_key(tmp_path)
    poll, wait, label = found["chain.poll_s"], found["execution.wait_s"], found["feeds.0.label"]
    assert (poll.value, poll.origin, poll.said) == ("5.0", Origin.ENVIRONMENT, "ALVH_CHAIN__POLL_S")
    assert (wait.value, wait.origin, wait.said) == ("90.0", Origin.ENVIRONMENT, "alvh_execution__wait_s")
    assert (label.value, label.origin, label.said) == ("ETH/USD", Origin.FILE, "")
    chain = found["feeds.0.chain"]
    assert (chain.value, chain.origin, chain.said) == ("none", Origin.DEFAULT, "")
    assert found["policy.preset"].origin is Origin.DEFAULT


def test_a_variable_and_a_name_in_the_file_are_said_beside_what_they_stand_for(tmp_path):
    found = by_key(tmp_path, network="sepolia")
    feed, url = found["feeds.0.address"], found["chain.rpc_url"]
    assert (feed.value, feed.said) == ("0x694AA1769357215DE4FAC081bf1f309aDC325306", "@chainlink.ETH/USD")
    assert (url.value, url.origin, url.said) == ("https://rpc.example/…", Origin.FILE, "${SEPOLIA_URL}")
    assert found["chain.id"].value == "11155111"


def test_a_pool_that_a_source_names_is_shown_with_its_fields(tmp_path):
    found = by_key(tmp_path, TEXT + '\n[[watch]]\nkind = "sandwich"\npool = "v2:ETH/USDC"\nevery_s = 60\n')
    assert found["watch.0.series_id"].value == "SP500"
    decimals = found["watch.1.pool.base_decimals"]
    assert (decimals.value, decimals.origin) == ("18", Origin.FILE)
    assert (found["watch.1.every_s"].value, found["watch.1.every_s"].origin) == ("60.0", Origin.FILE)


def test_no_secret_is_in_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ALVH_KEYSTORE_PASSWORD", "secret-password")
    path = write(tmp_path, TEXT)
    found = by_key(tmp_path)
    assert found["alerts.urls"].value == "[tgram://***, https://hooks.example/…]"
    assert found["watch.0.api_key"] == Setting(
        key="watch.0.api_key", value="***", origin=Origin.FILE, said="${FRED_KEY}"
    )
    with pytest.raises(SystemExit) as ended:
        main(["show-config", "--config", str(path), "--json", "-"])
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(path)
    assert len(document["settings"]) == len(found) > 50
    assert "secret" not in json.dumps(document["settings"])


def test_a_secret_that_looks_like_a_name_or_an_address_is_hidden_too(tmp_path):
    for secret in ("@secret-name", "https://api.example/secret-path"):
        shown = by_key(tmp_path, TEXT.replace("${FRED_KEY}", secret))["watch.0.api_key"]
        assert (shown.value, shown.said) == ("***", "")


def test_every_field_of_the_settings_is_there(tmp_path):
    path = write(tmp_path, TEXT)
    sections = {key.split(".")[0] for key in by_key(tmp_path)}
    assert sections == set(Settings.model_fields)
    assert load_settings(path) == load_with_origins(path)[0]


def test_changed_leaves_out_defaults_and_fits_80_columns(tmp_path, capsys):
    path = write(tmp_path, TEXT)
    with pytest.raises(SystemExit) as ended:
        main(["show-config", "--config", str(path), "--changed"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "0 defaults shown" in " ".join(shown.split())
    assert "[[feeds]] 1" in shown
    assert "poll_s" not in shown
    console = Console(file=io.StringIO(), width=80)
    settings, found = load_with_origins(path)
    console.print(settings_view(found, settings.path))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert any("0x5FbDB2315678afecb367f032d93F642f64180aa3" in line for line in lines)


def test_what_is_wrong_is_refused_as_by_every_command(tmp_path, capsys):
    path = write(tmp_path, TEXT + "\n[chian]\nid = 1\n")
    with pytest.raises(SystemExit) as ended:
        main(["show-config", "--config", str(path)])
    assert ended.value.code == 4
    assert "chian" in capsys.readouterr().err
