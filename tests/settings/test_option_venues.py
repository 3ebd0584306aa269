"""The sections of option venues: what they become, and which mistakes are refused by name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from settings_texts import GOOD, write

from bot.app.addresses import wanted_addresses
from bot.deployments import known
from bot.errors import ConfigError
from bot.model.hedge import OptionType
from bot.settings import load_settings
from bot.settings.option_venues import HegicSettings, OpynSettings

PUTS = (OptionType.PUT,)


def address(number: int) -> str:
    return f"0x{number:040x}"


def opyn_fields(**changes: Any) -> dict[str, Any]:
    names = ("controller", "factory", "v3_factory", "swap_router", "quoter", "stable", "underlying_token")
    return {**{name: address(place) for place, name in enumerate(names, 1)}, **changes}


def hegic_fields(**changes: Any) -> dict[str, Any]:
    names = ("treasury", "manager", "cover_pool", "stable")
    fields: dict[str, Any] = {name: address(place) for place, name in enumerate(names, 1)}
    return {**fields, "strategies": {"PUT_90_ETH_2": address(9)}, **changes}


def test_opyn_becomes_contracts_and_terms():
    found = OpynSettings(**opyn_fields(pricer=address(8), cutoff_s=60.0, fee_tiers=(3_000,)))
    contracts, terms = found.contracts, found.terms(PUTS)
    assert (contracts.controller, contracts.router, contracts.token) == (address(1), address(4), address(6))
    assert (contracts.underlying_token, contracts.pricer) == (address(7), address(8))
    assert (terms.option_types, terms.cutoff_s, terms.fee_tiers) == (PUTS, 60.0, (3_000,))
    assert OpynSettings(**opyn_fields()).contracts.pricer == ""


def test_hegic_becomes_contracts_and_terms():
    found = HegicSettings(**hegic_fields(exercise_lead_s=172_800.0, stable_symbol="USDC.e"))
    contracts, terms = found.contracts, found.terms(PUTS)
    (strategy,) = contracts.strategies
    assert (strategy.name, strategy.moneyness, strategy.address) == ("PUT_90_ETH_2", 0.9, address(9))
    assert (contracts.treasury, contracts.cover_pool, contracts.token) == (address(1), address(3), address(4))
    assert contracts.symbol == "USDC.e"
    assert (terms.option_types, terms.exercise_lead_s) == (PUTS, 172_800.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": {}}, "at least 1 item"),
        ({"strategies": {"STRADDLE_ETH_1": address(9)}}, "'STRADDLE_ETH_1' is not understood"),
        (
            {"strategies": {"PUT_90_ETH_2": address(8), "HegicStrategy_PUT_90_ETH_2": address(9)}},
            "one name twice",
        ),
        ({"strategies": {"PUT_90_ETH_1": address(9), "PUT_90_ETH_2": address(9)}}, "one address twice"),
        ({"strategies": {"PUT_90_BTC_1": address(9)}}, "none on ETH"),
        ({"strategies": {"PUT_90_ETH_1": "0x12"}}, "40 hex digits"),
        ({"exercise_lead_s": 60.0}, "greater than or equal to 600"),
        ({"funds_share": 0.0}, "greater than 0"),
        ({"slippage_bps": 5}, "Extra inputs"),
    ],
)
def test_a_hegic_section_that_cannot_be_meant_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        HegicSettings(**hegic_fields(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controller": None}, "controller"),
        ({"fee_tiers": ()}, "at least 1 item"),
        ({"max_impact": 0.9}, "less than or equal to 0.5"),
        ({"cost_buffer_bps": 0}, "greater than or equal to 1"),
        ({"oracle": address(9)}, "Extra inputs"),
    ],
)
def test_an_opyn_section_that_cannot_be_meant_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        OpynSettings(**opyn_fields(**changes))


NAMED = """
[hegic]
treasury = "@hegic_herge.operational_treasury"
manager = "@hegic_herge.positions_manager"
cover_pool = "@hegic_herge.cover_pool"
stable = "@token.USDC"

[hegic.strategies]
PUT_100_ETH_1 = "@hegic_herge.put_100_eth.1"
PUT_90_ETH_2 = "0x0000000000000000000000000000000000000009"
"""


def test_a_strategy_may_be_a_known_deployment(tmp_path: Path):
    settings = load_settings(write(tmp_path, GOOD.replace("31337", "42161") + NAMED))
    assert settings.hegic is not None
    at_named = known(42161).address("hegic_herge.put_100_eth.1")
    assert settings.hegic.strategies == {"PUT_100_ETH_1": at_named, "PUT_90_ETH_2": address(9)}
    checked = {item.where: (item.address, item.role) for item in wanted_addresses(settings)}
    assert checked["hegic.strategies.PUT_100_ETH_1"] == (at_named, "hegic_strategy")
    assert checked["hegic.strategies.PUT_90_ETH_2"] == (address(9), "hegic_strategy")


def test_a_strategy_that_no_deployment_is_called_is_refused_by_its_key(tmp_path: Path):
    text = GOOD.replace("31337", "42161") + NAMED.replace("put_100_eth.1", "put_100_eth.9")
    with pytest.raises(
        ConfigError, match=r"hegic\.strategies\.PUT_100_ETH_1: @hegic_herge\.put_100_eth\.9 is no"
    ):
        load_settings(write(tmp_path, text))
