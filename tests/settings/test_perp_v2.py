"""``[perp_v2]``: a market is named whole, and wrong numbers are refused by their key."""

import pytest
from pydantic import ValidationError

from bot.settings.perp_v2 import PerpV2Settings

ADDRESS = "0x" + "ab" * 20
GIVEN = {
    "underlying": "ETH",
    "symbol": "vETH",
    **dict.fromkeys(
        (
            "base_token",
            "clearing_house",
            "vault",
            "account_balance",
            "exchange",
            "config",
            "collateral",
        ),
        ADDRESS,
    ),
}


def test_defaults_are_those_of_the_contracts():
    found = PerpV2Settings(**GIVEN)
    assert (found.collateral_symbol, found.collateral_decimals, found.twap_s) == ("USDC", 6, 900)


@pytest.mark.parametrize("key", sorted(GIVEN))
def test_a_key_that_lacks_is_named(key):
    with pytest.raises(ValidationError, match=key):
        PerpV2Settings(**{name: value for name, value in GIVEN.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vault", "0x12"),
        ("min_size", 0.0),
        ("lot", -1.0),
        ("twap_s", 0),
        ("collateral_decimals", 40),
        ("leverage", 3),
    ],
)
def test_a_senseless_value_is_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        PerpV2Settings(**{**GIVEN, key: value})
