"""``[derive]``: what is checked before anything is asked or signed."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bot.chain.signer import real_money_sentence
from bot.errors import ConfigError
from bot.settings.derive import DeriveSettings

ACCOUNT: dict[str, Any] = {
    "owner": "0x" + "22" * 20,
    "subaccount_id": 7,
    "session_key": "0x" + "44" * 20,
    "keystore": Path("session.json"),
    "assets": ["0x4BB4C3CDc7562f08e9910A0C7D8bB7e108861eB4"],
    "max_order_usd": 500.0,
    "max_day_usd": 2_000.0,
    "max_sale_usd": 5_000.0,
    "max_fee_usd": 50.0,
    "max_uncovered_contracts": 0.0,
}


def test_quotes_need_a_network_alone() -> None:
    found = DeriveSettings(network="mainnet")
    assert found.urls == ("https://api.derive.xyz/v3", "wss://api.derive.xyz/v3/ws")
    assert found.terms.max_dte == 120.0
    with pytest.raises(ConfigError, match=r"derive.account"):
        found.rule()


def test_the_rule_of_the_session_key_is_that_of_the_settings() -> None:
    rule = DeriveSettings(network="testnet", account=ACCOUNT).rule()  # type: ignore[arg-type]
    assert rule.domain.chain_id == 11155111
    assert (rule.subaccount_id, rule.max_order_usd, rule.max_notional_usd) == (7, 500.0, 5_000.0)
    assert rule.max_life_s > 60.0
    assert (rule.min_price_usd, rule.max_uncovered_contracts) == (0.1, 0.0)
    own = {**ACCOUNT, "min_price_usd": 2.0, "max_uncovered_contracts": 3}
    rule = DeriveSettings(network="testnet", account=own).rule()  # type: ignore[arg-type]
    assert (rule.min_price_usd, rule.max_uncovered_contracts) == (2.0, 3.0)


def test_mainnet_needs_its_sentence() -> None:
    with pytest.raises(ValidationError, match="real money"):
        DeriveSettings(network="mainnet", account=ACCOUNT)  # type: ignore[arg-type]
    said = {**ACCOUNT, "real_money": [real_money_sentence(1)]}
    assert DeriveSettings(network="mainnet", account=said).rule().domain.chain_id == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"network": "devnet"}, "network"),
        ({"base_url": "https://example.com/v3"}, "given together"),
        ({"base_url": "http://example.com/v3", "ws_url": "wss://example.com/ws"}, "https"),
        (
            {"base_url": "https://api.derive.xyz/v3", "ws_url": "wss://api.derive.xyz/v3/ws"},
            "that of mainnet",
        ),
        ({"min_abs_delta": 0.7}, "must be under"),
        ({"signature_life_s": 10.0}, "signature_life_s"),
        ({"unknown": 1}, "unknown"),
        ({"account": {**ACCOUNT, "owner": ACCOUNT["session_key"]}}, "owner's own key"),
        ({"account": {**ACCOUNT, "max_day_usd": 100.0}}, "is under"),
        ({"account": {**ACCOUNT, "max_order_usd": float("nan")}}, "max_order_usd"),
        ({"account": {**ACCOUNT, "min_price_usd": 0.0}}, "min_price_usd"),
        ({"account": {**ACCOUNT, "max_uncovered_contracts": -1.0}}, "max_uncovered_contracts"),
        ({"account": {**ACCOUNT, "assets": []}}, "assets"),
        ({"account": {**ACCOUNT, "owner": "0x12"}}, "owner"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        DeriveSettings(**{"network": "testnet", **changes})
