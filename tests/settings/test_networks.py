"""``--network`` and ``[networks.NAME]``: which sections hold, and that the chain is the named one."""

import pytest
from settings_texts import GOOD, write

from bot.deployments import known_networks, network_id
from bot.errors import ConfigError
from bot.settings import load_settings
from bot.settings.networks import VARIABLE, for_network

SEPOLIA = """
[networks.sepolia]
feeds = [{ label = "ETH/USD", underlying = "ETH", address = "@chainlink.ETH/USD", heartbeat_s = 3600 }]

[networks.sepolia.chain]
id = 11155111
rpc_url = "${SEPOLIA_URL}"
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("SEPOLIA_URL", "https://rpc.example/key")
    monkeypatch.setenv(VARIABLE, "")  # put back after the test


def test_without_a_network_the_top_holds_and_no_variable_of_a_network_is_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("SEPOLIA_URL")
    settings = load_settings(write(tmp_path, GOOD + SEPOLIA))
    assert settings.chain.id == 31337
    assert settings.feeds[0].address == "0x5FbDB2315678afecb367f032d93F642f64180aa3"


@pytest.mark.parametrize("name", ["sepolia", "11155111"])
def test_a_network_puts_its_sections_over_the_top(tmp_path, name):
    settings = load_settings(write(tmp_path, GOOD + SEPOLIA), network=name)
    assert settings.chain.id == 11155111
    assert settings.chain.urls == ("https://rpc.example/key",)
    assert settings.feeds[0].address == "0x694AA1769357215DE4FAC081bf1f309aDC325306"
    assert settings.account is not None  # what the network does not name stays


def test_a_process_that_is_started_reads_the_same_network(tmp_path):
    path = write(tmp_path, GOOD + SEPOLIA)
    load_settings(path, network="sepolia")
    assert load_settings(path).chain.id == 11155111


def test_of_the_chain_only_named_keys_change(tmp_path):
    text = GOOD.replace("[chain]", "[chain]\npoll_s = 3.0")
    text += "\n[networks.sepolia.chain]\nid = 11155111\n"
    settings = load_settings(write(tmp_path, text), network="sepolia")
    assert (settings.chain.id, settings.chain.poll_s) == (11155111, 3.0)


def test_a_network_names_the_chain_where_the_file_does_not(tmp_path):
    settings = load_settings(write(tmp_path, GOOD.replace("id = 31337\n", "")), network="sepolia")
    assert settings.chain.id == 11155111


@pytest.mark.parametrize(
    ("more", "name", "words"),
    [
        ("", "sepolia", r"chain.id is 31337, --network sepolia is 11155111"),
        ("", "sepola", r"network 'sepola' is not known; did you mean sepolia"),
        ("", "", ""),
        ("\n[networks.mars]\n", None, r"network 'mars' is not known"),
        ("\n[networks]\nsepolia = 1\n", "sepolia", r"networks must hold tables"),
        ("\n[networks.sepolia]\nlira = 1\n", "sepolia", r"chain.id is 31337"),
        ("\n[networks.sepolia]\nlira = 1\nchain = {id = 11155111}\n", "sepolia", r"unknown key lira"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, more, name, words):
    if not words:
        assert load_settings(write(tmp_path, GOOD), network=name).chain.id == 31337
        return
    with pytest.raises(ConfigError, match=words) as caught:
        load_settings(write(tmp_path, GOOD + more), network=name)
    assert "\n" not in str(caught.value)


def test_every_file_of_deployments_is_a_network():
    networks = known_networks()
    assert networks["sepolia"] == 11155111
    assert networks["base-sepolia"] == 84532
    assert {network_id(name) for name in networks} == set(networks.values())
    assert network_id("31337") == 31337
    for wrong in ("", "0", "-1", "1e3", "Sepolia", "٣"):
        with pytest.raises(ConfigError, match="is not known"):
            network_id(wrong)


def test_the_table_that_was_read_is_not_changed():
    table = {"chain": {"poll_s": 1.0}, "networks": {"sepolia": {"chain": {"poll_s": 2.0}}}}
    assert for_network(table, "sepolia") == {"chain": {"poll_s": 2.0, "id": 11155111}}
    assert table == {"chain": {"poll_s": 1.0}, "networks": {"sepolia": {"chain": {"poll_s": 2.0}}}}
