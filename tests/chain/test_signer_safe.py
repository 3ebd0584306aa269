"""What an owner of a Safe signs: the hash is the signer's own, the calls inside are judged like any other."""

from dataclasses import replace
from typing import Any

import pytest
from send_builders import ADDRESS, CHAIN_ID, desk
from signer_builders import (
    LATER_S,
    MARKET,
    NOW_S,
    ROUTER,
    RULES,
    STRANGER,
    STRATEGY,
    TOKEN,
    approve,
    buy,
    call,
    sell,
    unsigned,
)  # fmt: skip

from bot.chain.address import checksummed
from bot.chain.safe import SAFE, Operation, SafeTx, execution, rejection, safe_tx_hash, signed_by
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.rules import Cap, ChainRules
from bot.errors import ConfigError, InvariantError, VenueRejected
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule, CallRule, Guard

TRADE = "trade(address,uint256)"  # token, most to pay
BOUGHT = (
    CallRule(target=STRATEGY, function=TRADE, guard=Guard.BOUND, opens=True, most=(1,), buys=(0,)),
    ApprovalRule(token=BOUGHT_TOKEN, spender=ROUTER, opens=False),
)
THE_SAFE, MULTI_SEND = "0x" + "5a" * 20, "0x" + "77" * 20
APPROVE_HASH = bytes.fromhex("d4d9bdcd")  # approveHash(bytes32)
COVER = call("cover(uint256)", 7)


def who(**changes: Any) -> SigningDesk:
    return desk(None, **{"permissions": RULES, "safe": THE_SAFE, "multi_send": MULTI_SEND, **changes})


def batch(*calls: tuple[str, bytes], nonce: int = 5) -> SafeTx:
    return batch_tx([InnerCall(to=to, data=data) for to, data in calls], multi_send=MULTI_SEND, nonce=nonce)


def sign(one: SigningDesk, tx: SafeTx, **changes: Any) -> bytes:
    values = {"chain_id": CHAIN_ID, "safe": THE_SAFE, "valid_until_s": LATER_S, "now_s": NOW_S}
    return one.sign_safe(tx, **{**values, **changes})


PURCHASE = ((TOKEN, approve()), (MARKET, buy(THE_SAFE)), (TOKEN, approve(amount=0)))


@pytest.mark.parametrize(
    "tx",
    [
        batch(*PURCHASE),
        batch((ROUTER, sell(THE_SAFE))),
        SafeTx(to=ROUTER, data=sell(THE_SAFE), nonce=0),
        rejection(THE_SAFE, 7),
    ],
)
def test_an_owner_signs_the_hash_of_the_safe(tx):
    signature = sign(who(), tx)
    digest = safe_tx_hash(tx, chain_id=CHAIN_ID, safe=THE_SAFE)
    assert signed_by(digest, signature) == ADDRESS


GOOD = batch(*PURCHASE)
REFUSED = {
    "another Safe": (GOOD, {"safe": STRANGER}, InvariantError, "not the one"),
    "another chain": (GOOD, {"chain_id": 1}, InvariantError, "chain 1"),
    "over": (GOOD, {"valid_until_s": NOW_S}, VenueRejected, "valid until"),
    "no time": (GOOD, {"now_s": float("nan")}, InvariantError, "chain time"),
    "a nonce under zero": (replace(GOOD, nonce=-1), {}, InvariantError, "Safe nonce -1"),
    "a transfer to itself": (replace(rejection(THE_SAFE, 7), value_wei=1), {}, InvariantError, "itself"),
    "a delegate call of itself": (
        replace(rejection(THE_SAFE, 7), operation=Operation.DELEGATE_CALL), {}, InvariantError, "itself",
    ),
    "a strange target": (batch(*PURCHASE, (STRANGER, buy())), {}, InvariantError, "allow-list"),
    "our own account as recipient": (batch((MARKET, buy())), {}, InvariantError, "would pay"),
    "an unlimited approval inside": (batch((TOKEN, approve(amount=2**128))), {}, InvariantError, "unlimited"),
    "value inside": (
        batch_tx([InnerCall(to=MARKET, data=buy(THE_SAFE), value_wei=1)], multi_send=MULTI_SEND, nonce=0),
        {}, InvariantError, "value of 1",
    ),
    "a delegate call elsewhere": (replace(GOOD, to=STRANGER), {}, InvariantError, "delegates to"),
    "a plain call of MultiSend": (replace(GOOD, operation=Operation.CALL), {}, InvariantError, "allow-list"),
    "bytes after the batch": (replace(GOOD, data=GOOD.data + b"\0"), {}, InvariantError, "canonical"),
    "a gas refund": (replace(GOOD, gas_price=1), {}, InvariantError, "refund nobody"),
    "a refund receiver": (replace(GOOD, refund_receiver=STRANGER), {}, InvariantError, "refund nobody"),
    "no revert of the whole": (replace(GOOD, safe_tx_gas=1), {}, InvariantError, "refund nobody"),
    "a new owner": (
        SafeTx(to=THE_SAFE, data=bytes.fromhex("0d582f13") + bytes(64), nonce=0), {}, InvariantError,
        "itself",
    ),
    "the Safe inside": (batch((THE_SAFE, b"")), {}, InvariantError, "allow-list"),
    "an allowance call without one": (batch((STRATEGY, COVER)), {}, InvariantError, "allowance alone"),
    "an allowance after its call": (
        batch((STRATEGY, COVER), (TOKEN, approve(STRATEGY))), {}, InvariantError, "allowance alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_anything_else_is_refused(case):
    tx, changes, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        sign(who(), tx, **changes)


def test_an_account_without_a_safe_signs_for_none():
    with pytest.raises(InvariantError, match=r"not the one that this account signs for, none"):
        sign(desk(None, permissions=RULES), GOOD, safe="")


def test_addresses_are_compared_without_their_capitals():
    capitals = checksummed(THE_SAFE)
    one = who()
    assert sign(one, GOOD, safe=capitals) == sign(who(), GOOD)
    assert sign(one, replace(rejection(THE_SAFE, 7), to=capitals))
    upper = batch((checksummed(TOKEN), approve()), nonce=8)
    assert sign(one, upper)


def test_what_was_proposed_is_remembered_as_it_would_act():
    one = who(permissions=(*RULES, *BOUGHT))
    sign(one, batch((STRATEGY, call(TRADE, STRANGER, 100)), (TOKEN, approve(STRATEGY, 9)), nonce=5))
    memory = one._memory
    assert memory.has_bought(CHAIN_ID, THE_SAFE, STRANGER)
    assert memory.allowance(CHAIN_ID, THE_SAFE, STRATEGY) == 9
    assert memory.payload(CHAIN_ID, THE_SAFE, 5) is not None
    sign(one, rejection(THE_SAFE, 6))
    assert memory.payload(CHAIN_ID, THE_SAFE, 6) is None  # a cancel has none


def test_a_target_is_kept_in_small_letters():
    target = "0x" + "ab" * 20
    seller = next(item for item in RULES if isinstance(item, CallRule) and item.target == ROUTER)
    one = who(permissions=(replace(seller, target=target),))
    sign(one, SafeTx(to=checksummed(target), data=sell(THE_SAFE), nonce=7))
    assert one._memory.payload(CHAIN_ID, THE_SAFE, 7)[0] == target


def test_the_coin_of_a_whole_batch_is_added_up():
    two = [InnerCall(to=MARKET, data=buy(THE_SAFE), value_wei=1)] * 2
    tx = batch_tx(two, multi_send=MULTI_SEND, nonce=5)
    with pytest.raises(InvariantError, match="value of 2 wei"):
        sign(who(max_value_wei=1), tx)
    assert sign(who(max_value_wei=2), tx)


def test_an_allowance_earlier_in_the_batch_is_one():
    assert sign(
        who(), batch((TOKEN, approve(STRATEGY, 50)), (STRATEGY, COVER), (TOKEN, approve(STRATEGY, 0)))
    )


def test_a_proposal_is_replaced_at_its_nonce_and_never_below():
    one = who()
    sign(one, batch(*PURCHASE, nonce=5))
    sign(one, batch((TOKEN, approve(amount=60)), nonce=5))
    sign(one, rejection(THE_SAFE, 5))
    with pytest.raises(InvariantError, match="Safe nonce 4 is below 5"):
        sign(one, batch(*PURCHASE, nonce=4))


def test_caps_count_a_whole_batch_and_a_replaced_proposal_once():
    one = who(caps={TOKEN: Cap(transaction_raw=100, day_raw=150)})
    with pytest.raises(VenueRejected, match="120 of token"):
        sign(one, batch((TOKEN, approve(amount=60)), (TOKEN, approve(STRATEGY, 60))))
    for amount in (100, 90, 100):
        sign(one, batch((TOKEN, approve(amount=amount)), nonce=5))
    with pytest.raises(VenueRejected, match="24 hours"):
        sign(one, batch((TOKEN, approve(amount=51)), nonce=6))
    sign(one, batch((TOKEN, approve(amount=50)), nonce=6))


def test_while_paused_a_batch_may_close_and_a_proposal_be_rejected():
    one = who(paused=lambda: "paused")
    assert sign(one, batch((ROUTER, sell(THE_SAFE)), (TOKEN, approve(amount=0))))
    assert sign(one, rejection(THE_SAFE, 5))
    with pytest.raises(VenueRejected, match="paused"):
        sign(one, batch((ROUTER, sell(THE_SAFE)), (MARKET, buy(THE_SAFE)), nonce=6))


# the account executes what owners have signed


def executed(tx: SafeTx) -> dict[str, Any]:
    return {"to": THE_SAFE, "data": execution(tx, {ADDRESS: bytes(65)})}


def test_an_execution_is_judged_by_what_the_safe_would_do():
    one = who(caps={TOKEN: Cap(transaction_raw=100, day_raw=100)})
    sign(one, GOOD)
    assert one.sign(unsigned(**executed(GOOD)), now_s=NOW_S)  # counted when it was signed
    bad = batch((STRANGER, b""))
    for tx, words in ((bad, "allow-list"), (replace(GOOD, gas_price=1), "refund nobody")):
        with pytest.raises(InvariantError, match=words):
            one.sign(unsigned(nonce=4, **executed(tx)), now_s=NOW_S)
    with pytest.raises(InvariantError, match="canonical"):
        one.sign(unsigned(nonce=4, to=THE_SAFE, data=executed(GOOD)["data"] + bytes(32)), now_s=NOW_S)
    with pytest.raises(InvariantError, match="execTransaction"):
        one.sign(unsigned(nonce=4, to=THE_SAFE, data=APPROVE_HASH + bytes(32)), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="paused"):
        who(paused=lambda: "paused").sign(unsigned(**executed(GOOD)), now_s=NOW_S)


EXECUTION = {
    "to": GOOD.to, "value": 0, "data": GOOD.data, "operation": 1, "safe_tx_gas": 0, "base_gas": 0,
    "gas_price": 0, "gas_token": "0x" + "00" * 20, "refund_receiver": "0x" + "00" * 20,
    "signatures": bytes(65),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operation": 2}, "operation 2 of a Safe is unknown"),
        ({"value": 1}, "value"),
        ({"safe_tx_gas": 1}, "refund nobody"),
        ({"base_gas": 1}, "refund nobody"),
        ({"gas_price": 1}, "refund nobody"),
        ({"gas_token": STRANGER}, "refund nobody"),
        ({"refund_receiver": STRANGER}, "refund nobody"),
        ({"to": THE_SAFE, "operation": 0, "value": 1, "data": b""}, "change itself"),
    ],
)
def test_every_field_of_an_execution_is_looked_at(changes, words):
    data = SAFE.encode("execTransaction", *{**EXECUTION, **changes}.values())
    one = who(max_value_wei=0)
    with pytest.raises(InvariantError, match=words):
        one.sign(unsigned(to=THE_SAFE, data=data), now_s=NOW_S)
    assert one.sign(
        unsigned(to=THE_SAFE, data=SAFE.encode("execTransaction", *EXECUTION.values())), now_s=NOW_S
    )


def test_an_execution_carries_no_coin_and_the_account_may_do_other_things_beside():
    one = who(max_value_wei=10)
    with pytest.raises(InvariantError, match="without value"):
        one.sign(unsigned(value_wei=1, **executed(GOOD)), now_s=NOW_S)
    assert one.sign(unsigned(to=TOKEN, data=approve()), now_s=NOW_S)  # of the account itself


def test_an_execution_gives_nothing_that_its_proposal_did_not():
    one = who(permissions=(*RULES, *BOUGHT))
    tx = batch((STRATEGY, call(TRADE, STRANGER, 100)), (TOKEN, approve(STRATEGY, 9)))
    one.sign(unsigned(**executed(tx)), now_s=NOW_S)
    account = ADDRESS.lower()
    assert one._memory.allowance(CHAIN_ID, account, STRATEGY) == 0
    assert not one._memory.has_bought(CHAIN_ID, account, STRANGER)
    rejected = executed(rejection(THE_SAFE, 5))
    assert who(paused=lambda: "paused").sign(unsigned(**rejected), now_s=NOW_S)  # it opens nothing


def test_a_safe_comes_with_its_multi_send():
    with pytest.raises(ConfigError, match="MultiSendCallOnly"):
        ChainRules(chain_id=CHAIN_ID, permissions=RULES, safe=THE_SAFE)
    with pytest.raises(ConfigError, match="lower-case"):
        ChainRules(chain_id=CHAIN_ID, permissions=RULES, safe=ADDRESS, multi_send=MULTI_SEND)
