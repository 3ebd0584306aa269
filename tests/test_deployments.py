"""Known deployments: every address has the right checksum, a name of its own and a source."""

import io
import re
import tomllib
from dataclasses import replace
from importlib import resources

import pytest
from eth_utils.address import to_checksum_address
from rich.console import Console

from bot.app.addresses import AddressCheck, known_addresses
from bot.app.probes import VIEWS
from bot.deployments import known, known_chains
from bot.errors import ConfigError
from bot.terminal_checks import addresses_document, addresses_view

FILES = sorted(
    (item for item in resources.files("bot.deployments").iterdir() if item.name.endswith(".toml")),
    key=lambda item: item.name,
)


@pytest.mark.parametrize("file", FILES, ids=lambda item: item.name)
def test_every_entry_is_complete_and_checksummed(file):
    table = tomllib.loads(file.read_text("utf-8"))
    names = [item["name"] for item in table["contracts"]]
    assert names == sorted(set(names))
    for item in table["contracts"]:
        assert item["address"] == to_checksum_address(item["address"].lower()), item["name"]
        assert item["source"].strip(), item["name"]
        assert re.fullmatch(r"20\d\d-\d\d", item["date"]), item["name"]
        assert item["checked"] in ("source", "memory"), item["name"]
        assert item["source"] != "several public repositories", f"{item['name']}: which one?"
        assert ("heartbeat_checked" in item) == (item["kind"] == "feed"), item["name"]
        assert item["kind"] in VIEWS, f"{item['name']}: check-addresses would not know what to ask it"


def test_files_are_of_different_chains():
    assert len(known_chains()) == len(FILES)


def test_feeds_say_how_old_they_may_be_and_tokens_what_they_are():
    for chain_id in known_chains():
        for item in known(chain_id).contracts.values():
            assert item.kind != "feed" or (item.heartbeat_s and item.decimals == 8), item.name
            assert item.kind != "token" or (item.symbol and item.decimals), item.name


def test_a_name_is_found_with_and_without_its_sign():
    deployments = known(1)
    assert deployments.find("@uniswap_v3.factory") is deployments.find("uniswap_v3.factory")
    assert deployments.address("@uniswap_v3.factory") == "0x1F98431c8aD98523631AE4a59f267346ea31F984"


def test_the_same_name_differs_between_chains():
    assert known(1).address("aave_v3.pool") != known(8453).address("aave_v3.pool")


@pytest.mark.parametrize(
    ("chain_id", "name", "words"),
    [
        (1, "@uniswap_v3.factry", "@uniswap_v3.factory"),
        (1, "@zzz", "nothing is near it"),
        (999_999, "@uniswap_v3.factory", "chain 999999"),
    ],
)
def test_an_unknown_name_is_one_line(chain_id, name, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        known(chain_id).find(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "chain_id", "changed", "words"),
    [
        ("chainlink.stETH/USD", 1, {}, "heartbeat of 3,600 s from memory"),
        ("chainlink.ETH/USD", 1, {}, ""),
        ("multicall3", 1, {"checked": "memory"}, "address from memory"),
        ("multicall3", 1, {"heartbeat_checked": "memory"}, ""),  # no feed has no heartbeat to guess
        ("chainlink.stETH/USD", 1, {"checked": "memory"}, "address from memory, as its heartbeat is"),
    ],
)
def test_what_no_source_confirms_is_said(name, chain_id, changed, words):
    assert replace(known(chain_id).find(name), **changed).unconfirmed == words


def test_the_unconfirmed_are_shown_beside_a_good_answer():
    checks = [AddressCheck(wanted=item, answer="1 STETH") for item in known_addresses(1)]
    assert all(check.ok for check in checks)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(addresses_view(checks))
    shown = console.export_text()
    count = sum(bool(item.unconfirmed) for item in known(1).contracts.values())
    assert shown.count("unconfirmed: ") == count > 0
    assert "unconfirmed: heartbeat of 3,600 s from memory" in shown
    assert f"{len(checks)} of {len(checks)} answer as they should, {count} unconfirmed" in shown
    documents = {item["where"]: item["unconfirmed"] for item in addresses_document(checks)["addresses"]}
    assert documents["@chainlink.stETH/USD"]
    assert not documents["@chainlink.ETH/USD"]
