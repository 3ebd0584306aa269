"""Nonces that outlive a process, payloads that say what was signed, and signatures that are not believed."""

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from derive_world import DOMAIN, KEY, OWNER, SUBACCOUNT
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.derive_actions import (
    E18,
    DeriveAction,
    QuoteData,
    SignedAction,
    TradeData,
    digest_of,
    preimage_of,
)
from bot.chain.signing.keys import LocalKey
from bot.errors import ConfigError, InvariantError, StaleDataError
from bot.venues.derive_networks import derive_network
from bot.venues.derive_signing import NonceSource, checked_signature, decimal_e18, signed_fields

NOW_NS = 1_700_000_000_000_000_000
ACTION = DeriveAction(
    subaccount_id=SUBACCOUNT,
    nonce=NOW_NS,
    expiry_s=1_700_000_300,
    owner=OWNER,
    signer=LocalKey(KEY).address,
    data=TradeData(
        asset="0x" + "33" * 20,
        sub_id=5,
        limit_price_e18=12 * E18 + E18 // 2,
        amount_e18=2 * E18,
        max_fee_e18=E18,
        recipient_id=SUBACCOUNT,
        is_bid=True,
    ),
)


def signed(action: DeriveAction = ACTION, key: bytes = KEY) -> SignedAction:
    signature = LocalKey(key).signature(preimage_of(action, DOMAIN))
    return SignedAction(
        action=action, digest="0x" + digest_of(action, DOMAIN).hex(), signature="0x" + signature.hex()
    )


def test_nonces_are_nanoseconds_and_rise_across_restarts(tmp_path: Path) -> None:
    now = [NOW_NS]
    with NonceSource(tmp_path / "n", clock_ns=lambda: now[0]) as source:
        first = [source.next() for _ in range(3)]
        assert first == [NOW_NS, NOW_NS + 1, NOW_NS + 2]
        assert len(str(first[0])) == 19
    now[0] -= 60 * 10**9  # the clock is set back by a minute while the bot is down
    with NonceSource(tmp_path / "n", clock_ns=lambda: now[0]) as source:
        assert source.next() == NOW_NS + 3
        now[0] = NOW_NS + 10**9
        assert source.next() == now[0]


def test_a_nonce_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    with NonceSource(tmp_path / "n", clock_ns=lambda: NOW_NS) as source:
        nonce = source.next()
        assert int((tmp_path / "n").read_text()) == nonce
        assert os.stat(tmp_path / "n").st_mode & 0o777 == 0o600


def test_a_clock_that_was_set_far_back_stops_the_nonces(tmp_path: Path) -> None:
    now = [NOW_NS]
    with NonceSource(tmp_path / "n", clock_ns=lambda: now[0]) as source:
        source.next()
        now[0] -= 3_600 * 10**9
        with pytest.raises(StaleDataError, match="set back"):
            source.next()


def test_two_processes_cannot_trade_one_subaccount(tmp_path: Path) -> None:
    with NonceSource(tmp_path / "n"), pytest.raises(ConfigError, match="one process only"):
        NonceSource(tmp_path / "n")
    NonceSource(tmp_path / "n").close()


@pytest.mark.parametrize("text", ["1700000000000000000\n", "x" * 20 + "\n", "0" * 20, "0" * 30])
def test_a_damaged_nonce_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "n").write_text(text)
    with pytest.raises(InvariantError, match="damaged"):
        NonceSource(tmp_path / "n")
    (tmp_path / "n").unlink()
    NonceSource(tmp_path / "n").close()  # the lock was given back


def test_the_numbers_of_a_payload_are_those_that_were_signed() -> None:
    fields = signed_fields(signed())
    assert (fields["limit_price"], fields["amount"], fields["max_fee"]) == ("12.5", "2", "1")
    assert fields["nonce"] == str(NOW_NS)
    quote = QuoteData(
        asset="0x" + "33" * 20, sub_id=5, price_e18=E18, amount_e18=E18, max_fee_e18=1, is_bid=False
    )
    fields = signed_fields(signed(replace(ACTION, data=quote)))
    assert (fields["nonce"], fields["direction"], fields["max_fee"]) == (
        NOW_NS,
        "sell",
        "0.000000000000000001",
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(-(10**40), 10**40))
def test_decimals_are_exact_and_plain(value: int) -> None:
    text = decimal_e18(value)
    assert Decimal(text).scaleb(18).compare(Decimal(value)) == 0 or len(str(abs(value))) > 28
    assert "e" not in text.lower()
    whole, _, part = text.lstrip("-").partition(".")
    assert int(whole + part.ljust(18, "0")) == abs(value)


def test_a_signature_by_the_session_key_is_taken() -> None:
    assert checked_signature(signed(), ACTION, DOMAIN) == signed()


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        (signed(key=bytes([0x12]) * 32), "not the session key"),
        (signed(replace(ACTION, nonce=NOW_NS + 1)), "another Derive action"),
        (replace(signed(), signature="0x1234"), "no signature"),
        (replace(signed(), signature="no hex"), "no signature"),
        (replace(signed(), signature="0x" + "00" * 65), "no signature"),
        (replace(signed(), digest="0x" + "00" * 32), "another Derive action"),
    ],
)
def test_a_signature_that_is_not_ours_is_never_sent(given_: SignedAction, match: str) -> None:
    with pytest.raises(InvariantError, match=match):
        checked_signature(given_, ACTION, DOMAIN)


def test_a_signature_for_the_other_network_is_never_sent() -> None:
    """A wrong domain separator: mainnet's digest is no signature over testnet's."""
    mainnet = derive_network("mainnet").domain
    with pytest.raises(InvariantError):
        checked_signature(signed(), ACTION, mainnet)


def test_the_listed_networks_have_source_date_and_a_separator_that_follows() -> None:
    for name in ("testnet", "mainnet"):
        network = derive_network(name)
        assert network.source
        assert network.date
        assert network.base_url.startswith("https://")
        assert network.ws_url.startswith("wss://")
    assert derive_network("testnet").domain.chain_id == 11155111
    assert derive_network("mainnet").domain.chain_id == 1
