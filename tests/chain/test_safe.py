"""A real Safe 1.4.1: its hash, what it takes as signatures, and that a batch is all or nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from safe_builders import OWNERS, STRANGER, SafeWorld, make_safe, signature, signatures

from bot.chain.abi import Abi
from bot.chain.rpc import RevertError, Rpc
from bot.chain.safe import (
    ZERO,
    Operation,
    SafeOutcome,
    SafeTx,
    execution,
    is_approval,
    is_rejection,
    outcome_of,
    packed,
    rejection,
    safe_tx_hash,
    signed_by,
)
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.chain.safe_state import approved, read_safe
from bot.devnet.node import Devnet
from bot.errors import ConfigError, InvariantError
from bot.model.intent import Log, Receipt

ERC20 = Abi.load("ERC20")
UINT256 = st.integers(0, 2**256 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: to_checksum_address("0x" + raw.hex()))
SAFE_AT = to_checksum_address("0x" + "5a" * 20)
FIELDS = st.fixed_dictionaries(
    {
        "to": ADDRESSES,
        "value_wei": UINT256,
        "data": st.binary(max_size=200),
        "operation": st.sampled_from(Operation),
        "safe_tx_gas": UINT256,
        "base_gas": UINT256,
        "gas_price": UINT256,
        "gas_token": ADDRESSES,
        "refund_receiver": ADDRESSES,
        "nonce": UINT256,
    }
)
CALLS = st.builds(InnerCall, to=ADDRESSES, data=st.binary(max_size=120), value_wei=UINT256)


@pytest.fixture
async def world(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> SafeWorld:
    return await make_safe(rpc, cache_dir, devnet.deployment)


def transfer(world: SafeWorld, to: str, amount_raw: int) -> InnerCall:
    return InnerCall(to=world.at.usdc, data=ERC20.encode("transfer", to, amount_raw))


# The hash


@pytest.mark.devnet
async def test_the_hash_is_the_contracts_own(world: SafeWorld) -> None:
    """Every field at its edges and in between; 60 drawn by Hypothesis' own strategies, one read each."""
    drawn: list[dict] = []

    @settings(max_examples=60, database=None, derandomize=True)
    @given(FIELDS)
    def draw(fields: dict) -> None:
        drawn.append(fields)

    draw()
    for fields in drawn:
        tx = SafeTx(**fields)
        theirs = await world.safe.call(
            "getTransactionHash",
            tx.to,
            tx.value_wei,
            tx.data,
            int(tx.operation),
            tx.safe_tx_gas,
            tx.base_gas,
            tx.gas_price,
            tx.gas_token,
            tx.refund_receiver,
            tx.nonce,
        )
        assert world.hash_of(tx) == theirs


@given(fields=FIELDS, chain_id=st.integers(1, 2**64))
def test_every_field_is_in_the_hash(fields: dict, chain_id: int) -> None:
    """Law: a change of any field, of the chain or of the Safe is another hash."""
    tx = SafeTx(**fields)
    own = safe_tx_hash(tx, chain_id=chain_id, safe=SAFE_AT)
    others = [
        replace(tx, to=SAFE_AT if tx.to != SAFE_AT else ZERO),
        replace(tx, value_wei=tx.value_wei ^ 1),
        replace(tx, data=tx.data + b"\0"),
        replace(tx, operation=Operation(1 - tx.operation)),
        replace(tx, safe_tx_gas=tx.safe_tx_gas ^ 1),
        replace(tx, base_gas=tx.base_gas ^ 1),
        replace(tx, gas_price=tx.gas_price ^ 1),
        replace(tx, gas_token=SAFE_AT if tx.gas_token != SAFE_AT else ZERO),
        replace(tx, refund_receiver=SAFE_AT if tx.refund_receiver != SAFE_AT else ZERO),
        replace(tx, nonce=tx.nonce ^ 1),
    ]
    hashes = {own, *(safe_tx_hash(item, chain_id=chain_id, safe=SAFE_AT) for item in others)}
    hashes.add(safe_tx_hash(tx, chain_id=chain_id + 1, safe=SAFE_AT))
    hashes.add(safe_tx_hash(tx, chain_id=chain_id, safe=OWNERS[0].address))
    assert len(hashes) == len(others) + 3


def test_a_field_outside_its_type_is_our_mistake() -> None:
    for broken in (SafeTx(to="0x12", data=b"", nonce=0), SafeTx(to=SAFE_AT, data=b"", nonce=2**256)):
        with pytest.raises(InvariantError, match="does not fit its types"):
            safe_tx_hash(broken, chain_id=1, safe=SAFE_AT)


# Signatures


@given(digest=st.binary(min_size=32, max_size=32), owner=st.sampled_from(OWNERS))
def test_a_signature_names_its_owner_and_no_other_hash(digest: bytes, owner: LocalAccount) -> None:
    """EIP-712 (v 27, 28) and eth_sign (v 31, 32) both name the owner; of another hash neither does."""
    plain = signature(owner, digest)
    message = bytes(owner.sign_message(encode_defunct(digest)).signature)
    eth_sign = message[:64] + bytes([message[64] + 4])
    other = bytes([digest[0] ^ 1]) + digest[1:]
    assert signed_by(digest, plain) == signed_by(digest, eth_sign) == owner.address
    assert owner.address not in (signed_by(other, plain), signed_by(other, eth_sign))


def test_what_is_no_signature_names_nobody() -> None:
    digest = b"\x11" * 32
    good = signature(OWNERS[0], digest)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high_s = order - int.from_bytes(good[32:64], "big")
    twin = good[:32] + high_s.to_bytes(32, "big") + bytes([55 - good[64]])  # the other form of the same
    contract_owner = bytes(12) + bytes.fromhex(OWNERS[0].address[2:]) + (65).to_bytes(32, "big") + b"\0"
    for broken in (
        b"",
        good[:-1],
        good + b"\0",
        good[:64] + b"\x1d",
        bytes(64) + b"\x1b",
        twin,
        contract_owner,
    ):
        assert signed_by(digest, broken) == ""


def test_an_approval_names_its_owner_and_says_so() -> None:
    approval = bytes(12) + bytes.fromhex(OWNERS[1].address[2:]) + bytes(32) + b"\1"
    assert (signed_by(b"\x11" * 32, approval), is_approval(approval)) == (OWNERS[1].address, True)
    assert signed_by(b"\x11" * 32, b"\1" + approval[1:]) == ""


@given(st.permutations(OWNERS))
def test_signatures_are_packed_by_rising_owner(order: Sequence[LocalAccount]) -> None:
    digest = b"\x22" * 32
    blob = packed(signatures(digest, order))
    named = [signed_by(digest, blob[at : at + 65]) for at in range(0, len(blob), 65)]
    assert named == sorted((owner.address for owner in OWNERS), key=lambda item: int(item, 16))


# What the contract accepts


@pytest.mark.devnet
async def test_two_of_three_must_sign(world: SafeWorld) -> None:
    """One signature is refused (GS020), two execute; the nonce moves by one."""
    tx = batch_tx([transfer(world, STRANGER.address, 5)], multi_send=world.multi_send, nonce=0)
    digest = world.hash_of(tx)
    with pytest.raises(RevertError, match="GS020"):
        await world.execute(tx, signatures(digest, OWNERS[:1]))
    receipt = await world.execute(tx, signatures(digest, OWNERS[1:]))
    assert outcome_of(receipt, safe=world.address, tx_hash=digest) is SafeOutcome.SUCCEEDED
    assert await world.balance(world.at.usdc, STRANGER.address) == 5
    assert (await world.state()).nonce == 1


@pytest.mark.devnet
async def test_order_owners_and_hash_are_checked(world: SafeWorld) -> None:
    """GS026: wrong order, twice the same owner, a stranger, signatures of another nonce."""
    tx = batch_tx([transfer(world, STRANGER.address, 5)], multi_send=world.multi_send, nonce=0)
    digest = world.hash_of(tx)
    first, second = sorted(OWNERS[:2], key=lambda owner: int(owner.address, 16))
    good = {owner.address: signature(owner, digest) for owner in (first, second)}
    blobs = {
        "order": signature(second, digest) + signature(first, digest),
        "twice": signature(first, digest) * 2,
        "stranger": packed(
            {first.address: good[first.address], STRANGER.address: signature(STRANGER, digest)}
        ),
        "another": packed(signatures(world.hash_of(replace(tx, nonce=1)), (first, second))),
    }
    plain = execution(tx, good)
    for blob in blobs.values():
        with pytest.raises(RevertError, match="GS026"):
            await world.send(world.address, plain.replace(packed(good), blob))
    assert (await world.state()).nonce == 0


@pytest.mark.devnet
async def test_eth_sign_and_approvals_count_too(world: SafeWorld) -> None:
    """An owner may sign by eth_sign, another by approveHash on the chain."""
    tx = batch_tx([transfer(world, STRANGER.address, 7)], multi_send=world.multi_send, nonce=0)
    digest = world.hash_of(tx)
    message = bytes(OWNERS[0].sign_message(encode_defunct(digest)).signature)
    approver = OWNERS[1].address
    await world.rpc.request("anvil_setBalance", [approver, hex(10**18)])
    await world.rpc.request("anvil_impersonateAccount", [approver])
    head = await world.reader.head()
    assert await approved(world.reader, await world.state(), digest, block=head) == frozenset()
    await world.send(world.address, world.safe.artifact.abi.encode("approveHash", digest), sender=approver)
    head = await world.reader.head()
    assert await approved(world.reader, await world.state(), digest, block=head) == {approver}
    by_owner = {
        OWNERS[0].address: message[:64] + bytes([message[64] + 4]),
        approver: bytes(12) + bytes.fromhex(approver[2:]) + bytes(32) + b"\1",
    }
    receipt = await world.execute(tx, by_owner)
    assert outcome_of(receipt, safe=world.address, tx_hash=digest) is SafeOutcome.SUCCEEDED


@pytest.mark.devnet
async def test_a_failure_inside_reverts_all_of_it(world: SafeWorld) -> None:
    """With safeTxGas 0 the whole transaction reverts (GS013): no call of the batch stays, nor the nonce."""
    much = 10**30
    calls = [
        InnerCall(to=world.at.usdc, data=ERC20.encode("approve", world.at.v3_router, 9)),
        transfer(world, STRANGER.address, much),
    ]
    tx = batch_tx(calls, multi_send=world.multi_send, nonce=0)
    assert tx.reverts_whole
    with pytest.raises(RevertError, match="GS013"):
        await world.signed(tx)
    assert await world.allowance(world.at.usdc, world.at.v3_router) == 0
    assert (await world.state()).nonce == 0


@pytest.mark.devnet
async def test_a_failure_with_gas_of_its_own_uses_the_nonce(world: SafeWorld) -> None:
    """Why we never propose so: the transaction succeeds, the event says failure, the signatures are spent."""
    calls = [transfer(world, STRANGER.address, 10**30)]
    tx = replace(batch_tx(calls, multi_send=world.multi_send, nonce=0), safe_tx_gas=100_000)
    assert not tx.reverts_whole
    receipt = await world.signed(tx)
    assert receipt.succeeded
    assert outcome_of(receipt, safe=world.address, tx_hash=world.hash_of(tx)) is SafeOutcome.FAILED
    assert (await world.state()).nonce == 1


@pytest.mark.devnet
async def test_a_rejection_takes_the_nonce_and_does_nothing(world: SafeWorld) -> None:
    """Signatures of what it replaced are void from then on."""
    tx = batch_tx([transfer(world, STRANGER.address, 5)], multi_send=world.multi_send, nonce=0)
    void = rejection(world.address, 0)
    assert is_rejection(void, world.address)
    assert not is_rejection(tx, world.address)
    receipt = await world.signed(void)
    assert outcome_of(receipt, safe=world.address, tx_hash=world.hash_of(void)) is SafeOutcome.SUCCEEDED
    assert outcome_of(receipt, safe=world.address, tx_hash=world.hash_of(tx)) is SafeOutcome.ABSENT
    with pytest.raises(RevertError, match="GS026"):
        await world.signed(tx)
    assert await world.balance(world.at.usdc, STRANGER.address) == 0


@pytest.mark.devnet
async def test_an_l2_safe_says_the_same(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> None:
    world = await make_safe(rpc, cache_dir, devnet.deployment, l2=True)
    tx = batch_tx([transfer(world, STRANGER.address, 5)], multi_send=world.multi_send, nonce=0)
    receipt = await world.signed(tx)
    assert outcome_of(receipt, safe=world.address, tx_hash=world.hash_of(tx)) is SafeOutcome.SUCCEEDED


def test_the_events_of_version_1_3_carry_the_hash_in_their_data() -> None:
    digest, topic = b"\x33" * 32, Abi.load("Safe").topic("ExecutionSuccess")
    log = Log(address=SAFE_AT, topics=(topic,), data=digest + bytes(32))
    receipt = Receipt(
        tx_hash="0x1",
        succeeded=True,
        block_number=1,
        block_hash="0x",
        gas_used=1,
        gas_cost_wei=1,
        logs=(replace(log, address=STRANGER.address), log),
    )
    assert outcome_of(receipt, safe=SAFE_AT, tx_hash=digest) is SafeOutcome.SUCCEEDED
    assert outcome_of(receipt, safe=SAFE_AT, tx_hash=b"\x44" * 32) is SafeOutcome.ABSENT
    assert outcome_of(receipt, safe=ZERO, tx_hash=digest) is SafeOutcome.ABSENT


# The state


@pytest.mark.devnet
async def test_the_state_says_who_can_move_the_money(world: SafeWorld) -> None:
    before = await world.state()
    assert set(before.owners) == {owner.address for owner in OWNERS}
    assert (before.threshold, before.nonce, before.version) == (2, 0, "1.4.1")
    assert (before.modules, before.guard) == ((), ZERO)
    assert before.singleton == world.system.singleton.address
    assert before.fallback_handler == world.system.fallback_handler.address


@pytest.mark.devnet
async def test_every_change_of_control_is_seen(world: SafeWorld) -> None:
    """Owners, threshold, module, guard, fallback handler: each by name; the nonce is no change of control."""
    guard = await world.bench.deploy("DebugTransactionGuard")
    new = Account.from_key(bytes([8]) + bytes(31)).address
    for function, args, said in (
        ("addOwnerWithThreshold", (new, 2), "owners was"),
        ("changeThreshold", (3,), "threshold was 2, is 3"),
        ("enableModule", (STRANGER.address,), f"modules was none, is {STRANGER.address}"),
        ("setFallbackHandler", (ZERO,), f"is {ZERO}"),
        ("setGuard", (guard.address,), f"guard was {ZERO}, is {guard.address}"),
    ):
        before = await world.state()
        owners = OWNERS[:2] if before.threshold == 2 else OWNERS
        data = world.safe.artifact.abi.encode(function, *args)
        await world.signed(SafeTx(to=world.address, data=data, nonce=before.nonce), owners)
        after = await world.state()
        (change,) = after.control_changes(before)
        assert said in change
        assert replace(after, nonce=0).control_changes(after) == ()


@pytest.mark.devnet
async def test_what_is_no_safe_is_refused_by_name(world: SafeWorld) -> None:
    head = await world.reader.head()
    for address, why in (
        (STRANGER.address, "has no code"),
        (world.at.usdc, "does not answer as a Safe"),
        (world.system.singleton.address, "does not answer as a Safe"),
    ):
        with pytest.raises(ConfigError, match=why):
            await read_safe(world.reader, address, block=head)
