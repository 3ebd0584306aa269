"""The fuzz of the signer: its oracle sees what must not be signed; some hundred requests (REL-Y1, I10)."""

from random import Random

import pytest
from send_builders import ADDRESS, KEY

from bot.chain.safe import Operation, SafeTx
from bot.chain.signer_wire import unsigned_of
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.safe import safe_preimage
from bot.chain.transaction_bytes import preimage
from campaign.signer_fuzz import Link, fuzz, fuzzed_signer
from campaign.signer_oracle import DAY_USD, SWAP, TRADE, TRANSACTION_USD, Oracle, Places
from campaign.signer_requests import STRANGER, Requests, batch, called

NOW_S = 1_700_000_000.0
AT = Places(
    account=ADDRESS.lower(),
    **{name: f"0x{number:040x}" for number, name in enumerate(
        ("safe", "multi_send", "usdc", "susd", "router", "market", "collateral", "manager"), start=0x1000
    )},
)  # fmt: skip
SWAPPED = (AT.usdc, AT.susd, 500, AT.account, int(NOW_S) + 60, 10**9, 1, 0)


def signed(**changes):
    """Return a request for a purchase and a signature over it, whatever it asks for."""
    tx = {
        "chain_id": 31337, "nonce": 1, "to": AT.market, "data": opened(), "value_wei": 0, "gas": 100_000,
        "max_fee_wei": 10**10, "tip_wei": 1, "valid_until_s": NOW_S + 60, **changes,
    }  # fmt: skip
    made = LocalKey(KEY).signature(preimage(unsigned_of(tx)))
    return {"kind": "sign", "epoch": 1, "now_s": NOW_S, "transaction": tx}, made


def signed_by_an_owner(to, data, operation):
    tx = {"to": to, "value_wei": 0, "data": data.hex(), "operation": operation, "nonce": 1}
    message = safe_preimage(
        SafeTx(to=to, data=data, operation=Operation(operation), nonce=1), chain_id=31337, safe=AT.safe
    )
    request = {
        "kind": "sign_safe", "epoch": 1, "now_s": NOW_S, "transaction": tx, "chain_id": 31337,
        "safe": AT.safe, "valid_until_s": NOW_S + 60,
    }  # fmt: skip
    return request, LocalKey(KEY).signature(message)


def opened(most: int = 7) -> str:
    return called("openPosition", TRADE, (1, 1, 1, 2, 1, 1, 1, most)).hex()


def swapped(place: int, value) -> str:
    return called("exactInputSingle", SWAP, (*SWAPPED[:place], value, *SWAPPED[place + 1 :])).hex()


def approved(spender: str, raw: int) -> str:
    return called("approve", "(address,uint256)", spender, raw).hex()


GOOD = {
    "a purchase": {},
    "a cancel": {"to": AT.account, "data": "", "gas": 21_000},
    "a swap": {"to": AT.router, "data": swapped(0, AT.usdc)},
    "a swap for the Safe": {"to": AT.router, "data": swapped(3, AT.safe)},
    "an allowance": {"to": AT.usdc, "data": approved(AT.router, TRANSACTION_USD * 10**6)},
    "a revocation": {"to": AT.usdc, "data": approved(STRANGER, 0)},
}
BAD = {
    "a transfer": {"to": AT.usdc, "data": called("transfer", "(address,uint256)", STRANGER, 1).hex()},
    "another chain": {"chain_id": 1},
    "value": {"value_wei": 1},
    "gas": {"gas": 8_000_001},
    "a fee": {"max_fee_wei": 10**12 + 1},
    "no bound": {"data": opened(0)},
    "an endless bound": {"data": opened(2**127)},
    "a rest": {"data": opened() + "00"},
    "a swap for a stranger": {"to": AT.router, "data": swapped(3, STRANGER)},
    "a swap without a bound": {"to": AT.router, "data": swapped(6, 0)},
    "a swap that is late": {"to": AT.router, "data": swapped(4, int(NOW_S) + 61)},
    "a swap of another token": {"to": AT.router, "data": swapped(1, STRANGER)},
    "an allowance for a stranger": {"to": AT.usdc, "data": approved(STRANGER, 1)},
    "an allowance over the cap": {"to": AT.usdc, "data": approved(AT.router, TRANSACTION_USD * 10**6 + 1)},
    "an endless allowance": {"to": AT.susd, "data": approved(AT.router, 2**127)},
    "another target": {"to": STRANGER},
    "past": {"valid_until_s": NOW_S},
    "far ahead": {"valid_until_s": NOW_S + 8 * 86_400},
    "a costly cancel": {"to": AT.account, "data": "", "gas": 1_000_001},
}


@pytest.mark.parametrize("case", GOOD)
def test_the_oracle_takes_what_is_good(case):
    assert Oracle(at=AT).judge(*signed(**GOOD[case])) == ""


@pytest.mark.parametrize("case", BAD)
def test_the_oracle_sees_what_is_bad(case):
    assert Oracle(at=AT).judge(*signed(**BAD[case]))


def test_the_oracle_sees_a_nonce_that_is_used_twice_and_one_that_passed():
    oracle = Oracle(at=AT)
    assert oracle.judge(*signed(nonce=5)) == ""
    assert oracle.judge(*signed(nonce=5, max_fee_wei=10**11)) == "", "a replacement"
    assert "another payload" in oracle.judge(*signed(nonce=5, data=opened(8)))
    assert "passed" in oracle.judge(*signed(nonce=4))


def test_the_oracle_counts_a_day():
    oracle = Oracle(at=AT)
    allowance = {"to": AT.usdc, "data": approved(AT.router, TRANSACTION_USD * 10**6)}
    for nonce in range(DAY_USD // TRANSACTION_USD):
        assert oracle.judge(*signed(nonce=nonce, **allowance)) == ""
    assert "day" in oracle.judge(*signed(nonce=1_000, **allowance))


def test_the_oracle_sees_a_signature_over_something_else():
    request, made = signed()
    request["transaction"]["gas"] += 1
    assert "something else" in Oracle(at=AT).judge(request, made)


def test_the_oracle_looks_into_a_batch():
    good = (AT.market, bytes.fromhex(opened()))
    bad = (AT.usdc, called("transfer", "(address,uint256)", STRANGER, 1))
    assert Oracle(at=AT).judge(*signed_by_an_owner(AT.multi_send, batch([good, good]), 1)) == ""
    assert Oracle(at=AT).judge(*signed_by_an_owner(AT.safe, b"", 0)) == "", "a rejection"
    for calls in ([good, bad], [(AT.multi_send, batch([good]))], [(STRANGER, b"")]):
        assert Oracle(at=AT).judge(*signed_by_an_owner(AT.multi_send, batch(calls), 1))
    assert Oracle(at=AT).judge(*signed_by_an_owner(AT.multi_send, batch([good], operation=1), 1))
    assert Oracle(at=AT).judge(*signed_by_an_owner(AT.market, bytes.fromhex(opened()), 1))
    assert Oracle(at=AT).judge(*signed_by_an_owner(AT.safe, called("enableModule", "(address)", STRANGER), 0))


def test_a_signer_that_signs_everything_is_caught_soon():
    """The fuzz asks for enough that must not be signed."""
    made, oracle, outside = Requests(random=Random(1), at=AT), Oracle(at=AT), set()
    for _ in range(500):
        asked, _ = made.next()
        if isinstance(asked, bytes) or asked["kind"] != "sign":
            continue
        try:
            made_bytes = preimage(unsigned_of(asked["transaction"]))
        except Exception:  # noqa: BLE001, S112 - no transaction at all
            continue
        outside.add(oracle.judge(asked, LocalKey(KEY).signature(made_bytes)).partition(" ")[0])
    assert len(outside) >= 10, outside


def test_some_hundred_requests_and_none_is_signed_outside_the_policy(tmp_path):
    """REL-Y1, I10, I14, E16: the short form."""
    with fuzzed_signer(tmp_path) as (link, at):
        assert isinstance(link, Link)
        tally = fuzz(link, at, count=400, seed=7, say=lambda _: None)
    assert tally.outside == []
    assert tally.signed >= 80
    assert tally.refused >= 80
