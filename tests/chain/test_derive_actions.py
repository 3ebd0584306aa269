"""The digest of Derive's actions, and what a session key refuses to sign (REL-Y1, venues.md 3.5)."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from derive_verify import OPTION_ASSET
from derive_world import DOMAIN, KEY, OWNER, SUBACCOUNT, rule
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.derive_actions import (
    E18,
    PRECISION,
    DeriveAction,
    DeriveActionRule,
    DeriveDomain,
    QuoteData,
    TradeData,
    action_fields,
    action_from_fields,
    check_action,
    digest_of,
)
from bot.chain.derive_signer import DeriveSignerClient
from bot.chain.signer import real_money_sentence
from bot.chain.signer_client import SignerClient
from bot.chain.signing.derive import DeriveDesk, services_of
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import SigningRules
from bot.chain.signing.server import SignerServer
from bot.errors import BotError, ConfigError, InvariantError, VenueRejected

NOW_S = 1_700_000_000.0
TRADE = TradeData(
    asset=OPTION_ASSET,
    sub_id=5,
    limit_price_e18=int(12.5 * E18),
    amount_e18=2 * E18,
    max_fee_e18=1 * E18,
    recipient_id=SUBACCOUNT,
    is_bid=True,
)
QUOTE = QuoteData(
    asset=OPTION_ASSET, sub_id=5, price_e18=12 * E18, amount_e18=2 * E18, max_fee_e18=E18, is_bid=True
)
BUY = DeriveAction(
    subaccount_id=SUBACCOUNT,
    nonce=int(NOW_S) * 10**9,
    expiry_s=int(NOW_S) + 300,
    owner=OWNER,
    signer=LocalKey(KEY).address,
    data=TRADE,
)


def changed(**data: Any) -> DeriveAction:
    return replace(BUY, data=replace(TRADE, **data))


def test_vector_of_venues_md() -> None:
    """venues.md 3.5: equal to what derive_action_signing signs."""
    data = replace(TRADE, asset="0x" + "33" * 20, max_fee_e18=100 * E18, recipient_id=7)
    action = replace(BUY, nonce=1_700_000_000_000_000_000, expiry_s=2_000_000_000, data=data)
    assert (
        digest_of(action, DOMAIN).hex() == "dd16b41556b325281f73a94df508fd4002b593a2cda15435507d3573190d99e1"
    )


def test_vector_of_the_exchange() -> None:
    """What private/order_debug of the testnet returned (derive-py, tests/test_action_signing, 2026-08)."""
    action = DeriveAction(
        subaccount_id=75_723,
        nonce=1_754_472_862_000_000_000,
        expiry_s=1_893_456_000,
        owner="0x5cb67F7829d01d9C75385A920De5E51060663374",
        signer="0x0e94ecA48AC699d2237F3732210f8216A497ab16",
        data=TradeData(
            asset="0x4BB4C3CDc7562f08e9910A0C7D8bB7e108861eB4",
            sub_id=2_576_980_377_601_813_910_400,
            limit_price_e18=100 * E18,
            amount_e18=E18,
            max_fee_e18=1_000 * E18,
            recipient_id=75_723,
            is_bid=True,
        ),
    )
    assert (
        digest_of(action, DOMAIN).hex() == "d1b13344c9e7fb068cc350c019895c77b0cc82e24959ad408058377ca9c1bfc3"
    )


def test_every_field_changes_the_digest() -> None:
    seen = {digest_of(BUY, DOMAIN), digest_of(BUY, replace(DOMAIN, chain_id=1))}
    others = [
        replace(BUY, subaccount_id=8),
        replace(BUY, nonce=BUY.nonce + 1),
        replace(BUY, expiry_s=BUY.expiry_s + 1),
        replace(BUY, owner="0x" + "23" * 20),
        replace(BUY, signer="0x" + "24" * 20),
        changed(asset="0x" + "25" * 20),
        changed(sub_id=6),
        changed(limit_price_e18=13 * E18),
        changed(amount_e18=3 * E18),
        changed(max_fee_e18=2 * E18),
        changed(recipient_id=8),
        changed(is_bid=False),
        replace(BUY, data=QUOTE),
        replace(BUY, data=replace(QUOTE, is_bid=False)),
    ]
    seen.update(digest_of(action, DOMAIN) for action in others)
    assert len(seen) == len(others) + 2


def test_what_is_within_the_rule_is_signed() -> None:
    check_action(BUY, rule(), now_s=NOW_S)
    check_action(replace(BUY, data=QUOTE), rule(), now_s=NOW_S)
    check_action(changed(is_bid=False), rule(), now_s=NOW_S, paused="paused by hand")


@pytest.mark.parametrize(
    ("action", "match"),
    [
        (replace(BUY, owner="0x" + "23" * 20), "owner"),
        (replace(BUY, signer="0x" + "23" * 20), "signer"),
        (replace(BUY, subaccount_id=8), "subaccount"),
        (changed(recipient_id=8), "recipient"),
        (changed(asset="0x" + "99" * 20), "allow-list"),
        (changed(limit_price_e18=0), "price"),
        (changed(limit_price_e18=-E18), "price"),
        (changed(amount_e18=0), "amount"),
        (changed(amount_e18=-E18), "amount"),
        (changed(amount_e18=2**127), "amount"),
        (changed(max_fee_e18=-1), "fee"),
        (changed(sub_id=2**96), "sub-id"),
        (changed(limit_price_e18=12 * E18 + 1), "12 decimals"),
    ],
)
def test_what_should_never_have_been_asked_is_refused(action: DeriveAction, match: str) -> None:
    with pytest.raises(InvariantError, match=match):
        check_action(action, rule(), now_s=NOW_S)


@pytest.mark.parametrize(
    ("action", "match"),
    [
        (replace(BUY, nonce=int(NOW_S * 1e3)), "nanoseconds"),  # milliseconds, as v2 had them
        (replace(BUY, nonce=int((NOW_S + 241) * 1e9)), "nanoseconds"),
        (replace(BUY, expiry_s=int(NOW_S)), "expire"),
        (replace(BUY, expiry_s=int(NOW_S) + 901), "expire"),
        (changed(amount_e18=2_000 * E18), "cost"),
        (changed(max_fee_e18=101 * E18), "fee"),
        (changed(is_bid=False, amount_e18=2_000 * E18, max_fee_e18=0), "notional"),
        (replace(BUY, data=replace(QUOTE, max_fee_e18=201 * E18)), "fee"),
        (replace(BUY, data=replace(QUOTE, amount_e18=500 * E18)), "cost"),
    ],
)
def test_what_time_or_a_cap_refuses_is_refused(action: DeriveAction, match: str) -> None:
    with pytest.raises(VenueRejected, match=match):
        check_action(action, rule(), now_s=NOW_S)


def test_a_pause_refuses_purchases_and_no_sale() -> None:
    for data in (TRADE, QUOTE):
        with pytest.raises(VenueRejected, match="paused by hand"):
            check_action(replace(BUY, data=data), rule(), now_s=NOW_S, paused="paused by hand")


def test_mainnet_is_refused_without_its_sentence() -> None:
    mainnet = replace(DOMAIN, chain_id=1)
    with pytest.raises(ConfigError, match="real money"):
        rule(domain=mainnet)
    assert rule(domain=mainnet, real_money=frozenset({real_money_sentence(1)})).domain.chain_id == 1


def test_the_owners_own_key_is_no_session_key() -> None:
    with pytest.raises(ConfigError, match="owner's own key"):
        rule(session_key=OWNER)


@pytest.mark.parametrize(
    "name", ["max_order_usd", "max_notional_usd", "max_fee_usd", "max_day_usd", "max_life_s"]
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_bounds_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        rule(**{name: value})


@settings(max_examples=60, deadline=None)
@given(
    price=st.integers(1, 10**9),
    amount=st.integers(1, 10**9),
    fee=st.integers(0, 10**8),
    is_bid=st.booleans(),
)
def test_nothing_that_passes_can_take_more_than_the_cap(
    price: int, amount: int, fee: int, is_bid: bool
) -> None:
    """Law: whatever is signed, its worst case is within the bounds of the rule."""
    unit = PRECISION * 10**6
    data = replace(
        TRADE, limit_price_e18=price * unit, amount_e18=amount * unit, max_fee_e18=fee * unit, is_bid=is_bid
    )
    bounds = rule()
    try:
        check_action(replace(BUY, data=data), bounds, now_s=NOW_S)
    except BotError:
        return
    exact = data.amount_e18 * (data.limit_price_e18 * is_bid + data.max_fee_e18)
    assert exact <= int(bounds.max_order_usd) * E18 * E18


_KEYS = st.sampled_from(["kind", "data", "nonce", "owner", "asset"])


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner),
        max_leaves=8,
    )
)
def test_what_is_no_action_is_refused(given_: Any) -> None:
    with pytest.raises(InvariantError):
        action_from_fields(given_)


def test_an_action_survives_the_socket() -> None:
    for action in (BUY, replace(BUY, data=QUOTE)):
        assert action_from_fields(json.loads(json.dumps(action_fields(action)))) == action


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("nonce",), 1.7e18),
        (("nonce",), 1_700_000_000_000_000_000),  # a number loses its last digits in other languages
        (("data", "is_bid"), "false"),
        (("data", "amount_e18"), "-1"),
        (("data", "amount_e18"), "1e18"),
        (("data", "asset"), "0x12"),
        (("kind",), "withdraw"),
        (("data", "more"), "1"),
        (("more",), "1"),
    ],
)
def test_fields_of_another_form_are_refused(path: tuple[str, ...], value: Any) -> None:
    fields = action_fields(BUY)
    place = fields
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(InvariantError):
        action_from_fields(fields)


# the desk that holds the key


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[SignerMemory]:
    made = SignerMemory(tmp_path / "derive")
    yield made
    made.close()


def desk(memory: SignerMemory, bounds: DeriveActionRule | None = None) -> DeriveDesk:
    return DeriveDesk(LocalKey(KEY), bounds or rule(), memory, clock=lambda: NOW_S)


def test_a_signature_is_by_the_session_key_over_the_digest(memory: SignerMemory) -> None:
    signed = desk(memory).sign_derive_action(BUY)
    assert signed.digest == "0x" + digest_of(BUY, DOMAIN).hex()
    found = Account._recover_hash(
        bytes.fromhex(signed.digest[2:]), signature=bytes.fromhex(signed.signature[2:])
    )
    assert found == LocalKey(KEY).address
    assert desk(memory).sign_derive_action(BUY) == signed  # asked again, the same bytes


def test_a_nonce_is_signed_for_one_action_and_only_rises(memory: SignerMemory) -> None:
    signer = desk(memory)
    signer.sign_derive_action(BUY)
    with pytest.raises(InvariantError, match="not above"):
        signer.sign_derive_action(changed(amount_e18=E18))
    with pytest.raises(InvariantError, match="not above"):
        signer.sign_derive_action(replace(BUY, nonce=BUY.nonce - 1))
    signer.sign_derive_action(replace(BUY, nonce=BUY.nonce + 1))


def test_nonces_and_caps_outlive_the_process(tmp_path: Path) -> None:
    first = SignerMemory(tmp_path / "derive")
    bounds = rule(max_day_usd=50.0)
    desk(first, bounds).sign_derive_action(BUY)  # worst case 27 USD
    first.close()
    second = SignerMemory(tmp_path / "derive")
    signer = desk(second, bounds)
    with pytest.raises(InvariantError, match="not above"):
        signer.sign_derive_action(changed(amount_e18=E18))
    with pytest.raises(VenueRejected, match="in 24 hours"):
        signer.sign_derive_action(replace(BUY, nonce=BUY.nonce + 1))
    signer.sign_derive_action(replace(changed(is_bid=False), nonce=BUY.nonce + 2))  # a sale spends nothing
    second.close()


def test_two_signers_with_one_session_key_are_refused(tmp_path: Path) -> None:
    held = SignerMemory(tmp_path / "derive")
    with pytest.raises(ConfigError, match="in use"):
        SignerMemory(tmp_path / "derive")
    held.close()


def test_a_key_of_another_address_is_refused(memory: SignerMemory) -> None:
    with pytest.raises(ConfigError, match="session key"):
        DeriveDesk(LocalKey(bytes([0x12]) * 32), rule(), memory)


def test_a_login_is_signed_for_now_only(memory: SignerMemory) -> None:
    signature = desk(memory).sign_derive_login(int(NOW_S * 1e3))
    found = Account.recover_message(encode_defunct(text=str(int(NOW_S * 1e3))), signature=signature)
    assert found == LocalKey(KEY).address
    for off in (-61.0, 61.0):
        with pytest.raises(VenueRejected, match="login time"):
            desk(memory).sign_derive_login(int((NOW_S + off) * 1e3))


async def test_over_the_socket_of_the_signers_process(tmp_path: Path, memory: SignerMemory) -> None:
    """The desk answers as two more kinds of request; refusals come back as they were raised."""
    account = LocalKey(bytes([0x44]) * 32)
    own = SignerMemory(tmp_path / "account")
    paused = [""]
    main = SigningDesk(account, SigningRules(chains=()), own, paused=lambda: paused[0])
    server = SignerServer(main, own, tmp_path / "s.sock", services=services_of(desk(memory)))
    threading.Thread(target=server.serve, daemon=True).start()
    client = SignerClient(tmp_path / "s.sock", address=account.address, who="a test")
    signer = DeriveSignerClient(client, address=LocalKey(KEY).address, domain=DOMAIN, clock=lambda: NOW_S)
    try:
        await client.connect()
        signed = await signer.sign_derive_action(BUY)
        assert signed == desk(memory).sign_derive_action(BUY)
        assert (await signer.sign_derive_login(int(NOW_S * 1e3))).startswith("0x")
        with pytest.raises(InvariantError, match="recipient"):
            await signer.sign_derive_action(changed(recipient_id=8))
        with pytest.raises(InvariantError):
            await client.ask("derive_action", {"action": "sign anything"}, now_s=NOW_S)
        paused[0] = "paused by a person"
        with pytest.raises(VenueRejected, match="paused by a person"):
            await signer.sign_derive_action(replace(BUY, nonce=BUY.nonce + 1))
        await signer.sign_derive_action(replace(changed(is_bid=False), nonce=BUY.nonce + 2))
    finally:
        await client.close()
        server.close()
        own.close()


def test_the_domain_follows_from_the_chain() -> None:
    other = DeriveDomain(
        chain_id=1, matching=DOMAIN.matching, trade_module=DOMAIN.trade_module, rfq_module=DOMAIN.rfq_module
    )
    assert DOMAIN.separator.hex() == "24d674cd5f2b9d564691c51e9d88f649b99246a2244dd74ce27b96578d773e85"
    assert other.separator.hex() == "da616dfabb88681b08e1592820a41d55ddc62d68de110e327ae99d734506fe19"
