"""Owners' signatures (R22): the digest by hand, keys, quorum, and contract owners on a real chain."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from reference_contracts import deploy_reference

from bot.chain.policy_signature import Grant, Verdict, check_quorum, refusals, signed_by_key
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import ConfigError

KEYS = [Account.from_key(bytes([number]) * 32) for number in (1, 2, 3)]
OWNERS = tuple(str(key.address) for key in KEYS)
GRANT = Grant(
    policy_hash="ab" * 32,
    chain_ids=(1, 42161),
    account="0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # of EIP-55
    sequence=7,
    valid_until_s=1_900_000_000,
)
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
ORDER = 2 * HALF_ORDER + 1


def signed(key, grant: Grant = GRANT) -> bytes:
    return bytes(key.sign_message(grant.signable).signature)


def test_the_digest_is_that_of_eip_712_worked_out_by_hand():
    kind = keccak(
        text="Policy(bytes32 policyHash,uint256[] chainIds,address account,uint64 sequence,uint64 validUntil)"
    )
    chains = keccak(encode(["uint256", "uint256"], [1, 42161]))  # an array is the hash of its elements
    struct = keccak(
        encode(
            ["bytes32", "bytes32", "bytes32", "address", "uint64", "uint64"],
            [kind, bytes.fromhex("ab" * 32), chains, GRANT.account, 7, 1_900_000_000],
        )
    )
    domain = keccak(
        encode(
            ["bytes32", "bytes32", "bytes32"],
            [
                keccak(text="EIP712Domain(string name,string version)"),
                keccak(text="ALVH policy"),
                keccak(text="1"),
            ],
        )
    )
    assert GRANT.digest == keccak(b"\x19\x01" + domain + struct)
    assert GRANT.digest.hex() == "4bf7e93ab508cfdcc75e91e97d286466e603d2bc4ec91533e0ea36d808d1f9c9"


@pytest.mark.parametrize(
    "change",
    [
        {"policy_hash": "ac" * 32},
        {"chain_ids": (1,)},
        {"account": OWNERS[0]},
        {"sequence": 8},
        {"valid_until_s": 1_900_000_001},
    ],
    ids=str,
)
def test_every_term_is_inside_the_signature(change):
    other = replace(GRANT, **change)
    assert other.digest != GRANT.digest
    assert signed_by_key(other, signed(KEYS[0])) != OWNERS[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy_hash": "AB" * 32}, "64 hex digits"),
        ({"policy_hash": ""}, "64 hex digits"),
        ({"chain_ids": ()}, "chain ids"),
        ({"chain_ids": (2, 1)}, "rising"),
        ({"chain_ids": (0,)}, "positive"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": 2**64}, "sequence"),
        ({"valid_until_s": 253_402_300_800}, "9999"),
        ({"account": "0x1234"}, "40 hex digits"),
        ({"account": "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}, "checksum"),
    ],
    ids=str,
)
def test_terms_that_are_none_are_refused(change, words):
    with pytest.raises(ConfigError, match=words) as caught:
        replace(GRANT, **change)
    assert "\n" not in str(caught.value)


def test_a_signature_has_one_form():
    good = signed(KEYS[0])
    assert signed_by_key(GRANT, good) == OWNERS[0]
    s = int.from_bytes(good[32:64], "big")
    twin = good[:32] + (ORDER - s).to_bytes(32, "big") + bytes([55 - good[64]])
    assert signed_by_key(GRANT, twin) == "", "the high half of s is malleable"
    for bad in (b"", good[:64], good + b"\0", good[:64] + b"\0", bytes(65), b"\xff" * 64 + b"\x1b"):
        assert signed_by_key(GRANT, bad) == ""
    assert signed_by_key(GRANT, bytes(64) + b"\x1b") == "", "r and s of 0 are no point"


@pytest.mark.parametrize(
    ("now_s", "sequence", "policy_hash", "words"),
    [
        (1_900_000_000.0, 7, "ab" * 32, ()),
        (1_900_000_001.0, 7, "ab" * 32, ("expired at 2030-03-17",)),
        (math.nan, 7, "ab" * 32, ("expired",)),
        (0.0, 8, "ab" * 32, ("sequence number 7 is lower than 8",)),
        (0.0, 6, "ab" * 32, ()),
        (0.0, 0, "cd" * 32, ("changed after it was signed",)),
        (2e9, 9, "cd" * 32, ("changed", "expired", "lower")),
    ],
)
def test_when_a_grant_is_not_good(now_s, sequence, policy_hash, words):
    found = refusals(GRANT, policy_hash=policy_hash, now_s=now_s, least_sequence=sequence)
    assert len(found) == len(words)
    for line, word in zip(found, words, strict=True):
        assert word in line


async def test_k_of_n():
    by_owner = {OWNERS[0]: signed(KEYS[0]), OWNERS[2]: signed(KEYS[2])}
    two = await check_quorum(GRANT, by_owner, owners=OWNERS, threshold=2)
    assert (two.signed, two.reached, two.strangers) == (2, True, ())
    assert [item.verdict for item in two.owners] == [Verdict.SIGNED, Verdict.MISSING, Verdict.SIGNED]
    assert not (await check_quorum(GRANT, by_owner, owners=OWNERS, threshold=3)).reached
    stranger = await check_quorum(GRANT, by_owner, owners=OWNERS[1:], threshold=1)
    assert (stranger.signed, stranger.strangers) == (1, (OWNERS[0],))


async def test_one_key_does_not_sign_for_two_owners():
    same = signed(KEYS[0])
    found = await check_quorum(GRANT, dict.fromkeys(OWNERS, same), owners=OWNERS, threshold=2)
    assert (found.signed, found.reached) == (1, False)
    assert found.owners[1].verdict is Verdict.UNREADABLE
    assert OWNERS[0] in found.owners[1].why


@pytest.mark.parametrize(
    ("owners", "threshold", "words"),
    [
        ((), 1, "owners"),
        ((OWNERS[0],) * 2, 1, "each once"),
        (OWNERS, 0, "threshold"),
        (OWNERS, 4, "threshold"),
    ],
)
async def test_what_makes_no_quorum(owners, threshold, words):
    with pytest.raises(ConfigError, match=words):
        await check_quorum(GRANT, {}, owners=owners, threshold=threshold)


@pytest.mark.devnet
async def test_contract_owners_are_asked_at_a_pinned_block(devnet: Devnet, rpc: Rpc, cache_dir: Path):
    bench = Bench(rpc, fetch(cache_dir), devnet.deployment.accounts)
    contract = await deploy_reference(bench, "ContractOwner")
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=devnet.deployment.multicall3)
    before = await reader.head()
    await contract.send("agree", GRANT.digest)
    agreed = await reader.head()
    owners, by_owner = (contract.address, OWNERS[0]), {contract.address: b"\x01", OWNERS[0]: signed(KEYS[0])}

    async def verdicts(block, grant=GRANT, given=by_owner):
        found = await check_quorum(grant, given, owners=owners, threshold=2, chain=reader, block=block)
        return [item.verdict for item in found.owners]

    assert await verdicts(agreed) == [Verdict.SIGNED, Verdict.SIGNED]
    assert await verdicts(before) == [Verdict.WRONG, Verdict.SIGNED], "not yet agreed at that block"
    other = replace(GRANT, sequence=8)
    assert await verdicts(agreed, other) == [Verdict.WRONG, Verdict.WRONG]
    await contract.send("set_answer", b"\x16\x26\xba\x7f")
    assert await verdicts(await reader.head()) == [Verdict.WRONG, Verdict.SIGNED]
    swapped = {contract.address: by_owner[OWNERS[0]], OWNERS[0]: b"\x01"}
    assert await verdicts(agreed, given=swapped) == [Verdict.SIGNED, Verdict.WRONG]
