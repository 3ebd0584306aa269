"""The signer's desk: what it signs, and everything else, which it refuses (REL-I10, I14, E16, Y1, Y2, Y6)."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from send_builders import ADDRESS, CHAIN_ID, KEY, desk
from signer_builders import (
    COVER,
    FEES,
    LATER_S,
    MARKET,
    ME,
    NOW_S,
    ROUTER,
    RULES,
    STRANGER,
    STRATEGY,
    TOKEN,
    approve,
    buy,
    call,
    cancel,
    sell,
    settle,
    unsigned,
)  # fmt: skip

from bot.chain.fees import GWEI, Fees
from bot.chain.raw_transaction import decode_raw
from bot.chain.signer import MAINNETS, Unsigned, real_money_sentence
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import COIN, Cap, ChainRules, SigningRules
from bot.chain.transaction_bytes import assembled
from bot.errors import ConfigError, InvariantError, VenueRejected
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule, CallRule, Guard
from bot.model.units import DAY_S


def who(path: Path | None = None, **changes: Any) -> SigningDesk:
    return desk(path, **{"permissions": RULES, **changes})


def made(asked: Unsigned, **changes: Any):
    return assembled(asked, who(**changes).sign(asked, now_s=NOW_S))


# what is signed


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=300),
    value=st.sampled_from([0, 1, 127, 128, 2**64, 2**255]),
    nonce=st.sampled_from([0, 1, 127, 128, 2**32]),
    fee=st.sampled_from([0, 1, 128, 20 * GWEI]),
    key=st.binary(min_size=32, max_size=32).filter(lambda raw: 0 < int.from_bytes(raw, "big") < 2**255),
)
def test_bytes_are_those_of_eth_account(data, value, nonce, fee, key):
    """Our own encoding of a transaction beside the library's, for any field."""
    asked = unsigned(data=data, value_wei=value, nonce=nonce, fees=Fees(max_fee_wei=fee, tip_wei=0))
    local = LocalKey(key)
    from bot.chain.transaction_bytes import preimage, signer_of

    signature = local.signature(preimage(asked))
    theirs = Account.from_key(key).sign_transaction(
        {
            "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "to": bytes.fromhex(MARKET[2:]), "data": data,
            "value": value, "gas": 100_000, "maxFeePerGas": fee, "maxPriorityFeePerGas": 0,
        }
    )  # fmt: skip
    ours = assembled(asked, signature)
    assert ours.raw == "0x" + bytes(theirs.raw_transaction).hex()
    assert ours.tx_hash == "0x" + bytes(theirs.hash).hex()
    assert signer_of(preimage(asked), signature) == local.address.lower()


def test_what_is_signed_is_what_was_asked():
    asked = unsigned()
    found = decode_raw(made(asked).raw)
    assert (found.sender, found.chain_id, found.nonce) == (ME, CHAIN_ID, 3)
    assert (found.to, found.data, found.value_wei, found.gas) == (MARKET, asked.data, 0, 100_000)
    assert found.fees == FEES


def test_the_same_request_signs_to_the_same_bytes(tmp_path):
    """A restart that signs again before any byte was journalled cannot make a second transaction."""
    path = tmp_path / "memory"
    first = who(path)
    before = first.sign(unsigned(), now_s=NOW_S)
    first._memory.close()
    assert who(path).sign(unsigned(), now_s=NOW_S) == before


# what is refused

WORDS = len(buy())
LIVE = {"permissions": RULES}
REFUSED = {
    "another chain": ({"chain_id": 11_155_111}, InvariantError, "chain 11155111 is not allowed"),
    "a mainnet": ({"chain_id": 1}, InvariantError, "chain 1 is not allowed"),
    "another target": ({"to": STRANGER}, InvariantError, "allow-list"),
    "another function": ({"data": b"\0\0\0\0" + buy()[4:]}, InvariantError, "allow-list"),
    "no data": ({"data": b""}, InvariantError, "allow-list"),
    "half a selector": ({"data": buy()[:3]}, InvariantError, "allow-list"),
    "a function of another target": ({"to": ROUTER}, InvariantError, "allow-list"),
    "ourselves, with data": ({"to": ADDRESS}, InvariantError, "allow-list"),
    "ourselves, with value": ({"to": ADDRESS, "data": b"", "value_wei": 1}, InvariantError, "allow-list"),
    "another recipient": ({"data": buy(STRANGER)}, InvariantError, "would pay 0x6666"),
    "the market as recipient": ({"data": buy(MARKET)}, InvariantError, "would pay"),
    "bytes after the arguments": ({"data": buy() + b"\0"}, InvariantError, "canonical"),
    "a word after the arguments": ({"data": buy() + bytes(32)}, InvariantError, "canonical"),
    "a byte too few": ({"data": buy()[:-1]}, InvariantError, "canonical"),
    "dirty address": ({"data": buy()[:4] + b"\x01" + buy()[5:]}, InvariantError, "canonical"),
    "dirty uint64": ({"data": buy()[:68] + b"\x01" + buy()[69:]}, InvariantError, "canonical"),
    "dirty tail": ({"to": ROUTER, "data": sell()[:-1] + b"\x01"}, InvariantError, "canonical"),
    "a tail elsewhere": (
        {"to": ROUTER, "data": sell()[:68] + (128).to_bytes(32, "big") + bytes(32) + sell()[100:]},
        InvariantError, "canonical",
    ),
    "no bound": ({"data": buy(most=0)}, InvariantError, "bound what is paid"),
    "a bound of 2**127": ({"data": buy(most=2**127)}, InvariantError, "bound what is paid"),
    "a bound of 2**255": ({"data": buy(most=2**255)}, InvariantError, "bound what is paid"),
    "nothing in return": ({"to": ROUTER, "data": sell(least=0)}, InvariantError, "in return"),
    "a deadline in the past": ({"data": buy(deadline=NOW_S)}, VenueRejected, "had until"),
    "a deadline after valid-until": ({"data": buy(deadline=LATER_S + 1)}, InvariantError, "after its"),
    "no allowance before": ({"to": STRATEGY, "data": call(COVER, 7)}, InvariantError, "allowance alone"),
    "value": ({"value_wei": 1}, InvariantError, "value of 1 wei"),
    "negative value": ({"value_wei": -1}, InvariantError, "value"),
    "a nonce under zero": ({"nonce": -1}, InvariantError, "nonce"),
    "a nonce of 2**64": ({"nonce": 2**64}, InvariantError, "nonce"),
    "no gas": ({"gas": 0}, InvariantError, "gas"),
    "too much gas": ({"gas": 1_000_001}, VenueRejected, "ceiling"),
    "too high a fee": ({"fees": Fees(max_fee_wei=2_001 * GWEI, tip_wei=0)}, VenueRejected, "limit"),
    "over": ({"valid_until_s": NOW_S}, VenueRejected, "valid until"),
    "never over": ({"valid_until_s": math.inf}, InvariantError, "signer allows"),
    "no time": ({"valid_until_s": math.nan}, VenueRejected, "valid until"),
    "a strange spender": ({"to": TOKEN, "data": approve(STRANGER)}, InvariantError, "spender"),
    "a strange token": ({"to": STRANGER, "data": approve()}, InvariantError, "call 0x095ea7b3 of 0x6666"),
    "an unlimited approval": ({"to": TOKEN, "data": approve(amount=2**256 - 1)}, InvariantError, "unlimited"),
    "an approval of 2**127": ({"to": TOKEN, "data": approve(amount=2**127)}, InvariantError, "unlimited"),
    "an approval and a byte": ({"to": TOKEN, "data": approve() + b"\0"}, InvariantError, "exactly"),
    "an approval less a byte": ({"to": TOKEN, "data": approve()[:-1]}, InvariantError, "exactly"),
    "dirty token": ({"to": TOKEN, "data": approve()[:4] + b"\1" + approve()[5:]}, InvariantError, "exactly"),
    "a transfer": (
        {"to": TOKEN, "data": keccak(text="transfer(address,uint256)")[:4] + approve()[4:]},
        InvariantError, "allow-list",
    ),
    "an approval of a strange token's nothing": (
        {"to": STRANGER, "data": approve(amount=0)}, InvariantError, "allow-list",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_anything_outside_the_rules_is_refused(case):
    changes, error, words = REFUSED[case]
    strict = who(most_ahead_s=DAY_S)
    with pytest.raises(error, match=words):
        strict.sign(unsigned(**changes), now_s=NOW_S)
    assert not strict.has_signed(CHAIN_ID, 3)


@pytest.mark.parametrize("now_s", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_refused(now_s):
    with pytest.raises(InvariantError, match="chain time"):
        who().sign(unsigned(), now_s=now_s)


def test_the_edges_of_the_rules_are_allowed():
    edges: tuple[dict[str, Any], ...] = (
        {"gas": 1_000_000, "fees": Fees(max_fee_wei=2_000 * GWEI, tip_wei=0)},
        {"data": buy(most=2**127 - 1)},
        {"gas": 1},
        {"nonce": 2**64 - 1},
        {"data": buy(deadline=NOW_S + 1), "valid_until_s": NOW_S + 1},
        {"to": ROUTER, "data": sell(tail=b"")},
        {"data": settle()},
        {"data": settle(1, 2, 3)},
        {"to": TOKEN, "data": approve(amount=2**127 - 1)},
        {"to": TOKEN, "data": approve(STRANGER, 0)},  # an allowance that somebody left
        {"to": MARKET.upper().replace("X", "x")},
    )
    for edge in edges:
        assert decode_raw(made(unsigned(**edge)).raw).sender == ME, edge
    assert made(unsigned(valid_until_s=NOW_S + DAY_S), most_ahead_s=DAY_S)
    assert made(unsigned(), expires_s=NOW_S)  # the last second of a grant
    assert decode_raw(made(cancel(gas=1_000_000)).raw).gas == 1_000_000
    assert who().closing_only(NOW_S) == ""


def test_a_desk_that_nobody_pauses_opens(tmp_path):
    memory = SignerMemory(tmp_path / "memory")
    plain = SigningDesk(LocalKey(KEY), SigningRules(chains=(chain(),)), memory)
    assert plain.closing_only(NOW_S) == ""
    assert plain.sign(unsigned(), now_s=NOW_S)
    memory.close()


def test_what_is_meant_where_the_rules_say_nothing():
    plain = ChainRules(chain_id=CHAIN_ID, permissions=RULES)
    assert (plain.gas_ceiling, plain.max_fee_wei, plain.max_value_wei) == (10_000_000, 600 * 10**9, 0)
    assert (plain.most_skew_s, plain.most_ahead_s) == (math.inf, math.inf)
    assert (plain.safe, plain.multi_send, plain.caps) == ("", "", {})
    assert SigningRules(chains=(plain,)).policy_hash == ""


def test_a_mainnet_is_looked_at_by_its_own_caps():
    """REL-I14: the caps of another chain do not stand for it."""
    words = real_money_sentence(10)
    with pytest.raises(ConfigError, match="state caps"):
        SigningRules(chains=(chain(caps=CAPS), chain(chain_id=10)), real_money=frozenset({words}))


@pytest.mark.parametrize("token", ["0x12", "token"])
def test_a_cap_names_an_address(token):
    with pytest.raises(ConfigError, match="lower-case address"):
        chain(caps={token: Cap(transaction_raw=1, day_raw=1)})


def test_a_target_is_the_same_in_capitals():
    one = who()
    one.sign(unsigned(to=MARKET.upper().replace("X", "x")), now_s=NOW_S)
    assert one.sign(unsigned(gas=120_000), now_s=NOW_S)  # a replacement, no other payload


def test_a_cancel_is_kept_as_one(tmp_path):
    one = who(tmp_path / "memory")
    one.sign(cancel(), now_s=NOW_S)
    kept = json.loads((tmp_path / "memory").read_text().partition(" ")[2])
    assert (kept["kind"], kept["to"], kept["data"], kept["value"]) == ("cancel", "", "", 0)
    assert one._memory.payload(CHAIN_ID, ME, 3) is None
    assert one.has_signed(CHAIN_ID, 3)


def test_a_clock_that_is_not_the_chains_is_refused():
    """The bot says what time the chain has; on a real chain the signer has a clock of its own."""
    own = who(most_skew_s=900.0, clock=lambda: NOW_S + 901)
    with pytest.raises(VenueRejected, match="901 s from the signer's clock"):
        own.sign(unsigned(), now_s=NOW_S)
    assert own.sign(unsigned(), now_s=NOW_S + 1)


RECIPIENTS = st.sampled_from([ME, ME, ME, STRANGER])
AMOUNTS = st.integers(0, 3) | st.integers(0, 2**256 - 1)
ANYWHERE = st.sampled_from([TOKEN, MARKET, ROUTER, STRATEGY, STRANGER, ADDRESS])
CALLS = (
    st.tuples(st.just(MARKET), st.builds(buy, RECIPIENTS, AMOUNTS, st.integers(0, 2**21)))
    | st.tuples(st.just(ROUTER), st.builds(sell, RECIPIENTS, AMOUNTS, st.binary(max_size=70)))
    | st.tuples(st.just(TOKEN), st.builds(approve, st.sampled_from([MARKET, STRANGER]), AMOUNTS))
    | st.tuples(st.just(MARKET), st.lists(AMOUNTS, max_size=3).map(lambda boards: settle(*boards)))
    | st.tuples(ANYWHERE, st.binary(max_size=80) | st.just(b"") | st.just(buy()))
)


@settings(max_examples=400, deadline=None)
@given(
    chain_id=st.sampled_from([CHAIN_ID] * 7 + [1, CHAIN_ID + 1]),
    called=CALLS,
    dirt=st.just(None) | st.tuples(st.integers(0, 140), st.integers(1, 255)),
    value_wei=st.sampled_from([0] * 7 + [1, -1]),
    gas=st.sampled_from([100_000] * 7 + [0, 1_000_001]),
    nonce=st.sampled_from([0] * 7 + [-1, 2**64]),
)
def test_no_request_outside_the_policy_is_ever_signed(chain_id, called, dirt, value_wei, gas, nonce):
    """REL-E16, Y1: whatever is asked, what is signed is judged again here by other means."""
    to, data = called
    if dirt is not None and dirt[0] < len(data):
        data = data[: dirt[0]] + bytes([data[dirt[0]] ^ dirt[1]]) + data[dirt[0] + 1 :]
    asked = unsigned(chain_id=chain_id, to=to, data=data, value_wei=value_wei, gas=gas, nonce=nonce)
    strict = who()
    try:
        signed = assembled(asked, strict.sign(asked, now_s=NOW_S))
    except (InvariantError, VenueRejected):
        assert not strict.has_signed(chain_id, nonce)
        return
    found = decode_raw(signed.raw)
    assert (found.chain_id, found.value_wei, found.sender) == (CHAIN_ID, 0, ME)
    assert found.gas <= 1_000_000
    assert strict.has_signed(CHAIN_ID, nonce)
    assert _is_allowed(found.to, found.data)


def _is_allowed(to: str, data: bytes) -> bool:
    """The policy of this file written once more, by rebuilding every allowed call from its words."""
    if (to, data) == (ME, b""):
        return True
    words = [int.from_bytes(data[at : at + 32], "big") for at in range(4, len(data), 32)]
    if to == TOKEN:
        spender, amount = f"0x{words[0]:040x}", words[1]
        return data == approve(spender, amount) and (amount == 0 or (spender == MARKET and amount < 2**127))
    if to == MARKET and data[:4] == buy()[:4]:
        in_time = NOW_S < words[2] <= LATER_S
        return data == buy(ME, words[1], words[2]) and 0 < words[1] < 2**127 and in_time
    if to == MARKET:
        return data == settle(*words[2:])
    return to == ROUTER and words[1] > 0 and data == sell(ME, words[1], data[132 : 132 + words[3]])


# nonces


def test_a_cancel_needs_no_rule_and_no_time():
    assert decode_raw(made(cancel()).raw).to == ME
    with pytest.raises(VenueRejected, match="cancel"):
        made(cancel(gas=1_000_001))
    with pytest.raises(VenueRejected, match="fee"):
        made(cancel(fees=Fees(max_fee_wei=2_001 * GWEI, tip_wei=0)))
    with pytest.raises(InvariantError, match="chain"):
        made(cancel(chain_id=5))


def test_one_nonce_never_carries_two_payloads():
    """REL-Y2: only a fee replacement or a cancel may follow."""
    one = who()
    one.sign(unsigned(), now_s=NOW_S)
    one.sign(unsigned(fees=Fees(max_fee_wei=30 * GWEI, tip_wei=2 * GWEI)), now_s=NOW_S)
    one.sign(unsigned(gas=120_000), now_s=NOW_S)
    one.sign(cancel(), now_s=NOW_S)
    for other in ({"data": buy(most=101)}, {"to": TOKEN, "data": approve()}, {"data": settle(1)}):
        with pytest.raises(InvariantError, match="another payload"):
            one.sign(unsigned(**other), now_s=NOW_S)
    assert one.sign(unsigned(nonce=4, data=buy(most=101)), now_s=NOW_S)


def test_nonces_rise():
    one = who()
    one.sign(unsigned(nonce=7), now_s=NOW_S)
    with pytest.raises(InvariantError, match="below 7"):
        one.sign(unsigned(nonce=6), now_s=NOW_S)
    assert one.sign(cancel(nonce=6), now_s=NOW_S)  # a nonce that somebody left open may be used up
    with pytest.raises(InvariantError, match="another payload"):
        one.sign(unsigned(nonce=6), now_s=NOW_S)
    assert (one.has_signed(CHAIN_ID, 7), one.has_signed(CHAIN_ID, 5), one.has_signed(1, 7)) == (
        True,
        False,
        False,
    )


def test_a_refusal_leaves_the_nonce_free():
    one = who()
    with pytest.raises(InvariantError):
        one.sign(unsigned(data=buy(most=0)), now_s=NOW_S)
    assert not one.has_signed(CHAIN_ID, 3)
    assert one.sign(unsigned(), now_s=NOW_S)


# a call that is bounded by its allowance alone


def test_an_allowance_stands_for_a_bound_until_it_is_taken_back():
    one, cover = who(), {"to": STRATEGY, "data": call(COVER, 7)}
    one.sign(unsigned(nonce=0, to=TOKEN, data=approve(STRATEGY, 50)), now_s=NOW_S)
    assert one.sign(unsigned(nonce=1, **cover), now_s=NOW_S)
    one.sign(unsigned(nonce=2, to=TOKEN, data=approve(STRATEGY, 0)), now_s=NOW_S)
    with pytest.raises(InvariantError, match=r"exact allowance alone.* is 0"):
        one.sign(unsigned(nonce=3, **cover), now_s=NOW_S)


def test_a_cancelled_approval_is_no_allowance():
    one, cover = who(), {"to": STRATEGY, "data": call(COVER, 7)}
    one.sign(unsigned(nonce=0, to=TOKEN, data=approve(STRATEGY, 50)), now_s=NOW_S)
    one.sign(cancel(nonce=0), now_s=NOW_S)
    with pytest.raises(InvariantError, match="exact allowance alone"):
        one.sign(unsigned(nonce=1, **cover), now_s=NOW_S)


# caps

CAPS = {TOKEN: Cap(transaction_raw=100, day_raw=250)}


def spend(one: SigningDesk, nonce: int, amount: int, *, now_s: float = NOW_S, spender: str = MARKET) -> None:
    asked = unsigned(nonce=nonce, to=TOKEN, data=approve(spender, amount), valid_until_s=now_s + 60)
    one.sign(asked, now_s=now_s)


def test_caps_hold_for_a_transaction_and_for_a_day(tmp_path):
    """REL-L1: over restarts and clock jumps too."""
    path = tmp_path / "memory"
    one = who(path, caps=CAPS)
    with pytest.raises(VenueRejected, match=r"101 of token .* cap per transaction, 100"):
        spend(one, 0, 101)
    spend(one, 0, 100)
    spend(one, 1, 100)
    spend(one, 2, 100, spender=ROUTER)  # what a sale needs is no spend
    one._memory.close()
    again = who(path, caps=CAPS)
    with pytest.raises(VenueRejected, match=r"251 of token .* in 24 hours"):
        spend(again, 3, 51)
    with pytest.raises(VenueRejected, match="24 hours"):
        spend(again, 3, 51, now_s=NOW_S - 2 * DAY_S)  # a clock that goes back frees nothing
    spend(again, 3, 50)
    with pytest.raises(VenueRejected, match="24 hours"):
        spend(again, 4, 1, now_s=NOW_S + DAY_S - 1)
    spend(again, 4, 100, now_s=NOW_S + DAY_S)
    spend(again, 5, 100, now_s=NOW_S + DAY_S)
    with pytest.raises(VenueRejected, match="24 hours"):
        spend(again, 6, 51, now_s=NOW_S + DAY_S)


def test_a_replacement_of_what_used_up_the_day_takes_no_more_of_it():
    one = who(caps={TOKEN: Cap(transaction_raw=100, day_raw=100)})
    for fee in (20, 30):
        asked = unsigned(to=TOKEN, data=approve(amount=100), fees=Fees(max_fee_wei=fee * GWEI, tip_wei=0))
        one.sign(asked, now_s=NOW_S)


def test_a_cap_is_nothing_or_more_and_no_more_for_one_than_for_a_day():
    assert Cap(transaction_raw=0, day_raw=0).day_raw == 0
    for bad in ((-1, 5), (6, 5)):
        with pytest.raises(ConfigError, match="0 <= per transaction <= per day"):
            Cap(transaction_raw=bad[0], day_raw=bad[1])


def test_a_fee_replacement_is_not_spent_twice():
    one = who(caps=CAPS)
    for fee in (20, 23, 26, 30):
        asked = unsigned(to=TOKEN, data=approve(amount=100), fees=Fees(max_fee_wei=fee * GWEI, tip_wei=0))
        one.sign(asked, now_s=NOW_S)
    spend(one, 4, 100)


def test_a_token_without_a_cap_is_not_spent_where_caps_are_stated():
    with pytest.raises(InvariantError, match="has no cap"):
        spend(who(caps={STRANGER: Cap(transaction_raw=1, day_raw=1)}), 0, 1)


def test_the_coin_has_a_cap_too():
    one = who(caps={COIN: Cap(transaction_raw=5, day_raw=8)}, max_value_wei=10)
    free = Fees(max_fee_wei=0, tip_wei=0)  # gas counts too: tests/chain/test_signer_gas.py
    one.sign(unsigned(nonce=0, value_wei=5, fees=free), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="6 of token 0x0000"):
        one.sign(unsigned(nonce=1, value_wei=6, fees=free), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="9 of token 0x0000"):
        one.sign(unsigned(nonce=1, value_wei=4, fees=free), now_s=NOW_S)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 130), st.floats(-2 * DAY_S, 2 * DAY_S), st.booleans()),
        min_size=1,
        max_size=25,
    )
)
def test_no_day_is_ever_overspent(steps):
    """REL-L1: any sequence of purchases, clocks that jump and restarts."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path, now_s, signed = Path(folder) / "memory", NOW_S, []
        one = who(path, caps=CAPS)
        for nonce, (amount, jump_s, restart) in enumerate(steps):
            now_s += jump_s
            if restart:
                one._memory.close()
                one = who(path, caps=CAPS)
            try:
                spend(one, nonce, amount, now_s=now_s)
            except VenueRejected:
                continue
            signed.append((max(now_s, signed[-1][0]) if signed else now_s, amount))
        one._memory.close()
    for end_s, _ in signed:
        assert sum(amount for at_s, amount in signed if end_s - DAY_S < at_s <= end_s) <= 250
    assert all(amount <= 100 for _, amount in signed)


# pause and the owners' grant

OPENS = ({"data": buy()}, {"to": TOKEN, "data": approve()})
CLOSES = (
    {"to": ROUTER, "data": sell()},
    {"data": settle(1)},
    {"to": TOKEN, "data": approve(amount=0)},
    {"to": TOKEN, "data": approve(ROUTER)},
    {"to": ADDRESS, "data": b"", "gas": 21_000},
)


@pytest.mark.parametrize("why", [{"paused": lambda: "paused by me: a test"}, {"expires_s": NOW_S - 1}])
def test_while_paused_or_without_a_grant_only_what_closes_is_signed(why):
    """REL-L2, R22: closing, claiming, revoking and cancelling stay possible."""
    for changes in CLOSES:
        assert decode_raw(made(unsigned(**changes), **why).raw).sender == ME
    for changes in OPENS:
        with pytest.raises(
            VenueRejected, match=r"nothing that opens is signed: (paused by me|the owners' grant)"
        ):
            made(unsigned(**changes), **why)


def test_an_end_of_a_pause_counts_at_once():
    pauses = ["paused"]
    one = who(paused=lambda: pauses[0])
    with pytest.raises(VenueRejected):
        one.sign(unsigned(), now_s=NOW_S)
    pauses[0] = ""
    assert one.sign(unsigned(), now_s=NOW_S)


# rules


def chain(**changes: Any) -> ChainRules:
    return ChainRules(**{"chain_id": CHAIN_ID, "permissions": RULES, **changes})


@pytest.mark.parametrize("chain_id", [1, 10, 56, 100, 137, 8453, 42161, 43114, 59144, 534352])
def test_chains_with_real_money_need_their_sentence_and_caps(chain_id):
    """REL-I14."""
    assert chain_id in MAINNETS
    capped, words = chain(chain_id=chain_id, caps=CAPS), real_money_sentence(chain_id)
    with pytest.raises(ConfigError, match=f"'{words}'"):
        SigningRules(chains=(chain(), capped))
    with pytest.raises(ConfigError):
        SigningRules(chains=(capped,), real_money=frozenset({"yes", real_money_sentence(5)}))
    with pytest.raises(ConfigError, match="state caps"):
        SigningRules(chains=(chain(chain_id=chain_id),), real_money=frozenset({words}))
    assert SigningRules(chains=(capped,), real_money=frozenset({words})).chain_ids == [chain_id]


def test_a_chain_has_one_set_of_rules():
    with pytest.raises(ConfigError, match="one set"):
        SigningRules(chains=(chain(), chain()))


def rule(**changes: Any) -> CallRule:
    values = {"target": MARKET, "function": "f(uint256,address)", "guard": Guard.NO_MONEY, "opens": False}
    return CallRule(**{**values, **changes})


BAD_RULES = {
    "no address": rule(target="0x1"),
    "capitals": rule(target=ADDRESS),
    "ourselves": rule(target=ME),
    "a token that is ourselves": ApprovalRule(token=ME, spender=MARKET, opens=True),
    "a spender that is ourselves": ApprovalRule(token=TOKEN, spender=ME, opens=True),
    "no function": rule(function="f"),
    "an open bracket": rule(function="f(uint256"),
    "short names": rule(function="f(uint)"),
    "spaces": rule(function="f(uint256, address)"),
    "a type that is none": rule(function="f(uint257)"),
    "no name": rule(function="(uint256)"),
    "a bound that is not named": rule(guard=Guard.BOUND),
    "a bound that is an address": rule(guard=Guard.BOUND, most=(1,)),
    "a recipient that is a number": rule(recipients=((0,),)),
    "an argument that is not there": rule(most=(2,)),
    "a member of what has none": rule(least=(0, 0)),
    "an array as bound": rule(function="f(uint256[],address)", most=(0,)),
    "an approval": rule(function="approve(address,uint256)"),
    "a transfer": rule(function="transfer(address,uint256)"),
    "a standing permission": rule(function="setApprovalForAll(address,bool)"),
}


@pytest.mark.parametrize("case", BAD_RULES, ids=str)
def test_a_rule_that_guards_nothing_is_refused(case):
    with pytest.raises(ConfigError):
        who(permissions=(BAD_RULES[case],))


def test_members_of_arrays_can_be_bounded():
    function = "f((uint256,address)[])"
    one = who(
        permissions=(rule(function=function, guard=Guard.BOUND, most=(0, 0, 0), recipients=((0, 0, 1),)),)
    )
    assert one.sign(unsigned(data=call(function, [(5, ME)])), now_s=NOW_S)
    with pytest.raises(InvariantError, match="bound"):
        one.sign(unsigned(nonce=4, data=call(function, [(0, ME)])), now_s=NOW_S)
    with pytest.raises(InvariantError, match=r"lacks argument 0\.0\.[01]"):
        one.sign(unsigned(nonce=4, data=call(function, [])), now_s=NOW_S)


def test_of_two_rules_for_one_function_the_one_that_fits_counts():
    both = (
        rule(function=COVER, guard=Guard.BOUND, most=(0,), opens=True),
        rule(function=COVER, guard=Guard.ALLOWANCE, opens=False),
    )
    one = who(permissions=both, paused=lambda: "paused")
    with pytest.raises(VenueRejected, match="paused"):
        one.sign(unsigned(data=call(COVER, 5)), now_s=NOW_S)
    with pytest.raises(InvariantError, match="bound what is paid"):
        one.sign(unsigned(data=call(COVER, 0)), now_s=NOW_S)


def test_where_the_first_rule_of_a_function_does_not_fit_the_second_may():
    both = (
        rule(function=COVER, guard=Guard.BOUND, most=(0,), opens=True),
        rule(function=COVER, guard=Guard.ALLOWANCE, opens=False),
        ApprovalRule(token=TOKEN, spender=MARKET, opens=True),
    )
    paused = [""]
    one = who(permissions=both, paused=lambda: paused[0])
    one.sign(unsigned(to=TOKEN, data=approve(amount=50)), now_s=NOW_S)
    paused[0] = "paused"
    assert one.sign(unsigned(nonce=4, data=call(COVER, 0)), now_s=NOW_S)  # the second, which opens nothing


def test_what_a_purchase_pays_in_is_named():
    """A rule for whatever was bought is for sales alone."""
    anything = ApprovalRule(token=BOUGHT_TOKEN, spender=ROUTER, opens=True)
    with pytest.raises(ConfigError, match="must name the token that a purchase pays"):
        who(permissions=(anything,))
    with pytest.raises(ConfigError, match="lower-case address"):
        who(permissions=(replace(anything, spender="0x1", opens=False),))


def test_a_pair_that_is_bought_and_sold_with_is_spend_and_closes():
    """Both a purchase and a sale may need it, in whichever order the rules stand."""
    for opens in ((True, False), (False, True)):
        pair = tuple(ApprovalRule(token=TOKEN, spender=MARKET, opens=item) for item in opens)
        one = who(permissions=pair, paused=lambda: "paused", caps={TOKEN: Cap(transaction_raw=9, day_raw=9)})
        assert one.sign(unsigned(to=TOKEN, data=approve(amount=9)), now_s=NOW_S)
        with pytest.raises(VenueRejected, match="10 of token"):
            one.sign(unsigned(nonce=4, to=TOKEN, data=approve(amount=10)), now_s=NOW_S)


def test_the_key_is_in_no_text_of_the_desk():
    """REL-Y3."""
    assert KEY.hex() not in f"{who()!r} {who()!s}".lower()


# signed bytes read back


@pytest.mark.parametrize("raw", ["", "0x", "0x02", "zz", "0x02c0", "0x" + "00" * 100])
def test_damaged_bytes_do_not_decode(raw):
    with pytest.raises(InvariantError, match="damaged"):
        decode_raw(raw)


def test_a_legacy_transaction_does_not_decode_as_ours():
    legacy = Account.from_key(KEY).sign_transaction(
        {"chainId": 1, "nonce": 0, "to": ADDRESS, "value": 0, "gas": 21_000, "gasPrice": 1}
    )
    with pytest.raises(InvariantError):
        decode_raw(bytes(legacy.raw_transaction).hex())


# tokens that only the chain names

_PURCHASE = "trade(address,uint256)"  # token, most to pay
_BOUGHT_RULES = (
    *RULES,
    CallRule(target=STRATEGY, function=_PURCHASE, guard=Guard.BOUND, opens=True, most=(1,), buys=(0,)),
    ApprovalRule(token=BOUGHT_TOKEN, spender=ROUTER, opens=False),
)


def test_a_token_that_no_rule_names_is_let_go_only_where_its_purchase_was_signed(tmp_path):
    memory = tmp_path / "signer.log"
    sale = unsigned(nonce=5, to=STRANGER, data=approve(ROUTER))
    asked = who(memory, permissions=_BOUGHT_RULES)
    with pytest.raises(InvariantError, match="signed no purchase of it"):
        asked.sign(sale, now_s=NOW_S)
    asked.sign(unsigned(nonce=5, to=STRANGER, data=approve(ROUTER, 0)), now_s=NOW_S)  # a revocation
    asked.sign(unsigned(nonce=6, to=STRATEGY, data=call(_PURCHASE, STRANGER, 100)), now_s=NOW_S)
    asked.sign(replace(sale, nonce=7), now_s=NOW_S)
    asked._memory.close()
    again = who(memory, permissions=_BOUGHT_RULES, paused=lambda: "a person said so")
    again.sign(replace(sale, nonce=8), now_s=NOW_S)  # closing goes on, after a restart too
    with pytest.raises(InvariantError, match="not on the signer's allow-list"):
        again.sign(unsigned(nonce=9, to=STRANGER, data=approve(MARKET)), now_s=NOW_S)
    again._memory.close()


@pytest.mark.parametrize(
    "changes", [{"buys": (1,)}, {"equals": (((1,), ME),)}, {"equals": (((0,), 7),)}, {"buys": (7,)}]
)
def test_a_rule_that_looks_for_a_token_where_none_is_is_refused(changes):
    rule = CallRule(target=STRATEGY, function=_PURCHASE, guard=Guard.NO_MONEY, opens=True, **changes)
    with pytest.raises(ConfigError, match="is no "):
        who(permissions=(rule,))
