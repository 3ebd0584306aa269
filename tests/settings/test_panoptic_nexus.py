"""``[panoptic]`` and ``[nexus]``: what they become, and which mistakes are refused by name."""

from typing import Any

import pytest
from pydantic import ValidationError

from bot.app.option_venues import Where, nexus_venue, panoptic_venue
from bot.model.hedge import OptionType
from bot.settings import PolicySettings, load_policy
from bot.settings.option_venues import NexusSettings, PanopticSettings

PUTS = (OptionType.PUT,)


def address(number: int) -> str:
    return f"0x{number:040x}"


def panoptic_fields(**changes: Any) -> dict[str, Any]:
    names = (
        "pool", "uniswap_pool", "swap_router", "underlying_token", "underlying_tracker", "stable",
        "stable_tracker",
    )  # fmt: skip
    fields: dict[str, Any] = {name: address(place) for place, name in enumerate(names, 1)}
    return {**fields, "from_block": 7, **changes}


def nexus_fields(**changes: Any) -> dict[str, Any]:
    names = (
        "cover", "seller", "nft", "cover_products", "staking_viewer", "pool", "claims", "registry", "stable",
    )  # fmt: skip
    fields: dict[str, Any] = {name: address(place) for place, name in enumerate(names, 1)}
    return {**fields, "products": {"aave-v3": 245}, "from_block": 9, **changes}


def test_panoptic_becomes_contracts_and_terms() -> None:
    found = PanopticSettings(**panoptic_fields(assumed_iv=0.6, slippage_ticks=30))
    contracts, terms = found.contracts, found.terms(PUTS)
    assert (contracts.pool, contracts.uniswap_pool, contracts.router) == (address(1), address(2), address(3))
    assert (contracts.unit_token, contracts.unit_tracker) == (address(4), address(5))
    assert (contracts.cash_token, contracts.cash_tracker) == (address(6), address(7))
    assert contracts.unit_index == 0
    assert (terms.from_block, terms.assumed_iv, terms.slippage_ticks) == (7, 0.6, 30)
    assert terms.option_types == PUTS


def test_nexus_becomes_contracts_and_terms() -> None:
    found = NexusSettings(**nexus_fields())
    contracts, terms = found.contracts, found.terms
    assert (contracts.cover, contracts.seller, contracts.token) == (address(1), address(2), address(9))
    assert (contracts.asset_id, terms.products, terms.from_block) == (6, {"aave-v3": 245}, 9)


def test_each_venue_has_its_contracts() -> None:
    reader: Any = None
    where = Where(reader=reader, custody=None, account=None)
    options = panoptic_venue(PanopticSettings(**panoptic_fields()), load_policy(PolicySettings()), where)
    covers = nexus_venue(NexusSettings(**nexus_fields()), reader, custody=None)
    assert (options.name, covers.name) == ("panoptic", "nexus")
    assert {rule.target for rule in options.permissions() if hasattr(rule, "target")} == {
        address(n) for n in (1, 3, 5, 7)
    }
    assert {rule.target for rule in covers.permissions() if hasattr(rule, "target")} == {address(2)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": "0x12"}, "40 hex digits"),
        ({"stable": address(4)}, "underlying_token and stable are the same contract"),
        ({"stable_tracker": address(5)}, "underlying_tracker and stable_tracker are the same"),
        ({"min_dte": 200.0}, "min_dte must be under max_dte"),
        ({"max_spread": 10.0}, "less than or equal to 9"),
        ({"slippage_ticks": 0}, "greater than or equal to 2"),
        ({"assumed_iv": 0.0}, "greater than 0"),
        ({"from_block": -1}, "greater than or equal to 0"),
        ({"strike": 1}, "Extra inputs"),
    ],
)
def test_panoptic_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PanopticSettings(**panoptic_fields(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"products": {}}, "at least 1 item"),
        ({"products": {"aave-v3": -1}}, "0 or more"),
        ({"products": {"aave-v3": 1, "aave-v2": 1}}, "one product twice"),
        ({"asset_id": 255}, "less than or equal to 254"),
        ({"claims": "nothing"}, "40 hex digits"),
    ],
)
def test_nexus_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NexusSettings(**nexus_fields(**changes))
