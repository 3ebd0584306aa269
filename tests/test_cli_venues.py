"""`alvh venues`: every venue with what it can do, where, and whether the configuration has it."""

import io
import json

import pytest
from commands import CommandServer
from rich.console import Console
from settings_texts import GOOD, write

from bot.app.live import TEST_CHAINS
from bot.app.venues import configured_chains, list_venues
from bot.deployments import known, known_chains
from bot.deployments.places import venue_places
from bot.errors import NotFoundError
from bot.model.venue import Deed, Product, Route, VenueCapabilities
from bot.settings import load_settings
from bot.terminal.venues import venues_document, venues_view
from bot.venues.capabilities import CAPABILITIES
from bot.venues.table import VENUES

LYRA = "\n[lyra]\n" + "\n".join(
    [
        'underlying = "ETH"',
        *(
            f'{name} = "0x5FbDB2315678afecb367f032d93F642f64180aa3"'
            for name in (
                "option_market", "option_token", "pricer", "liquidity_pool", "short_collateral",
                "synthetix_adapter", "settlement", "swap_router", "quoter", "stable",
            )
        ),
        'settlement_symbol = "sUSD"',
        "settlement_pool_fee = 100",
    ]
)  # fmt: skip
NOT_A_MARKET = {"paper", "simulated"}  # they fill at quotes of others


def shown(rows, width=80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(venues_view(rows))
    return console.export_text()


def test_every_adapter_of_the_registry_says_what_it_can_do():
    for name, adapter in VENUES.items():
        if name in NOT_A_MARKET:
            continue
        assert name in CAPABILITIES, name
        assert getattr(adapter, "capabilities", CAPABILITIES[name]) == CAPABILITIES[name], name


def test_every_place_is_of_a_venue_and_every_venue_has_a_place():
    assert {place.venue for place in venue_places()} == set(CAPABILITIES)


@pytest.mark.parametrize("place", venue_places(), ids=lambda place: f"{place.venue}-{place.chain_id}")
def test_every_place_has_addresses_a_status_with_a_reason_and_a_source(place):
    assert place.chain_id in known_chains()
    names = [name for name in known(place.chain_id).contracts if name.startswith(place.contracts)]
    assert names, "no address of it is known on that chain"
    assert place.because
    assert "\n" not in place.because
    assert len(place.because) <= 100
    assert place.source
    assert place.date.startswith("20")


def test_every_contract_of_a_venue_belongs_to_a_place():
    """Data that nobody lists is data that nobody checks."""
    prefixes = {place.contracts for place in venue_places()}
    for chain_id in known_chains():
        here = [place.contracts for place in venue_places() if place.chain_id == chain_id]
        for name in known(chain_id).contracts:
            owners = [item for item in prefixes if name.startswith(item)]
            assert not owners or any(item in here for item in owners), (chain_id, name)


def test_chains_are_real_money_unless_they_are_on_the_allow_list():
    for row in list_venues(None):
        for place in row.places:
            assert place.is_test == (place.chain_id in TEST_CHAINS), place


def test_what_a_person_must_not_misread_stands_there():
    rows = {row.capabilities.name: row for row in list_venues(None)}
    assert Deed.EXERCISE in rows["hegic"].capabilities.deeds  # no auto-exercise: venues.md 3.2
    assert Deed.SELL not in rows["hegic"].capabilities.deeds  # no resale
    assert rows["panoptic"].capabilities.products == (Product.PUT,)  # what the adapter lists
    assert rows["derive"].capabilities.route is Route.MESSAGES
    assert rows["nexus"].capabilities.products == (Product.COVER,)
    assert all(place.status == "legacy" for place in rows["lyra"].places)
    assert "11155111" in shown([rows["panoptic"]])


def test_the_list_fits_eighty_columns():
    text = shown(list_venues(None))
    assert max(map(len, text.splitlines())) <= 80
    for item in CAPABILITIES.values():
        assert item.title in text
    assert f"{len(CAPABILITIES)} venues" in text


def test_a_configuration_marks_what_it_has(tmp_path):
    settings = load_settings(write(tmp_path, GOOD + LYRA))
    assert configured_chains(settings, "lyra") == {31337}
    assert configured_chains(settings, "hegic") == frozenset()
    rows = {row.capabilities.name: row for row in list_venues(settings)}
    own = rows["lyra"].places[-1]
    assert (own.chain_id, own.status, own.is_test, own.is_configured) == (31337, "yours", True, True)
    assert [name for name, row in rows.items() if row.is_configured] == ["lyra"]
    assert "* local devnet" in shown([rows["lyra"]])


def test_a_venue_off_the_chain_is_where_its_network_settles(tmp_path):
    settings = load_settings(write(tmp_path, GOOD + '\n[derive]\nnetwork = "testnet"\n'))
    (row,) = (item for item in list_venues(settings) if item.is_configured)
    assert [(place.chain_id, place.is_configured) for place in row.places] == [(1, False), (11155111, True)]


def test_one_chain_can_be_asked_for():
    rows = list_venues(None, chain_id=42161)
    assert {row.capabilities.name for row in rows} == {"hegic", "aave_v3", "uniswap", "safe"}
    assert all(len(row.places) == 1 for row in rows)
    with pytest.raises(NotFoundError, match="no venue on chain 5 is known"):
        list_venues(None, chain_id=5)


def test_the_document_says_the_same():
    (document,) = (item for item in venues_document(list_venues(None))["venues"] if item["name"] == "opyn")
    assert document["products"] == ["puts", "calls"]
    assert document["can"] == ["quote", "buy", "sell", "settle"]
    (place,) = document["places"]
    assert (place["chain_id"], place["money"], place["status"]) == (1, "real", "legacy")
    assert place["known_contracts"] == 6
    json.dumps(document, allow_nan=False)


def test_a_venue_that_can_do_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="can do nothing"):
        VenueCapabilities(name="x", title="X", products=(), deeds=(Deed.BUY,))


def test_the_command_needs_no_configuration(server: CommandServer, tmp_path):
    ended = server.start("venues", cwd=tmp_path).wait()
    assert ended.code == 0, ended
    assert "Lyra v1 (Avalon)" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    document = server.start("venues", "--json", "--chain", "1", cwd=tmp_path).wait().document
    assert {item["name"] for item in document["venues"]} >= {"opyn", "nexus", "derive"}
    write(tmp_path, GOOD + LYRA)
    marked = server.start("venues", "--json", cwd=tmp_path).wait().document
    assert [item["name"] for item in marked["venues"] if item["configured"]] == ["lyra"]
    server.start("venues", "--chain", "5", cwd=tmp_path).wait().refused(2, "no venue on chain 5")
    server.start("venues", "--config", "none.toml", cwd=tmp_path).wait().refused(4, "none.toml")
