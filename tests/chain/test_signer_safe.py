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

from bot.chain.safe import Operation, SafeTx, execution, rejection, safe_tx_hash, signed_by
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.rules import Cap, ChainRules
from bot.errors import ConfigError, InvariantError, VenueRejected

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


def test_a_safe_comes_with_its_multi_send():
    with pytest.raises(ConfigError, match="MultiSendCallOnly"):
        ChainRules(chain_id=CHAIN_ID, permissions=RULES, safe=THE_SAFE)
    with pytest.raises(ConfigError, match="lower-case"):
        ChainRules(chain_id=CHAIN_ID, permissions=RULES, safe=ADDRESS, multi_send=MULTI_SEND)
