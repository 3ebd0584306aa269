"""Proposals at a Transaction Service and in a folder: one law for both, and what a liar gets."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from safe_builders import OWNERS, STRANGER, SafeWorld, make_safe, signature
from safe_service_server import TransactionService, transaction_service

from bot.chain.rpc import Rpc
from bot.chain.safe import SafeTx, rejection
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.chain.safe_proposal import Proposal, ProposalStore, checked, gather, proposal_of
from bot.chain.safe_queue import SafeQueue
from bot.chain.safe_service import SafeService
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.errors import (
    ConfigError,
    DisagreementError,
    NotFoundError,
    OutcomeUnknown,
    TransientError,
    VenueRejected,
)

pytestmark = pytest.mark.devnet
FIRST, SECOND, THIRD = OWNERS


@pytest.fixture
async def world(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> SafeWorld:
    return await make_safe(rpc, cache_dir, devnet.deployment)


@pytest.fixture
async def served(world: SafeWorld) -> AsyncIterator[TransactionService]:
    async with transaction_service(world) as service:
        yield service


@pytest.fixture
async def client(world: SafeWorld, served: TransactionService) -> AsyncIterator[SafeService]:
    async with SafeService(served.url, chain_id=CHAIN_ID, safe=world.address, timeout_s=5.0) as found:
        yield found


@pytest.fixture(params=["service", "queue"])
def store(request: pytest.FixtureRequest, world: SafeWorld, tmp_path: Path) -> ProposalStore:
    if request.param == "service":
        found: ProposalStore = request.getfixturevalue("client")
        return found
    return SafeQueue(tmp_path, chain_id=CHAIN_ID, safe=world.address)


def proposal(world: SafeWorld, nonce: int = 0, *, by: Any = FIRST, value_wei: int = 0) -> Proposal:
    call = InnerCall(to=world.at.usdc, data=b"\x12\x34", value_wei=value_wei)
    tx = batch_tx([call], multi_send=world.multi_send, nonce=nonce)
    found = proposal_of(tx, chain_id=CHAIN_ID, safe=world.address, origin="plan/0", proposer=by.address)
    return replace(found, signatures={by.address: signature(by, found.digest)})


# Laws of both stores


async def test_what_was_left_is_found(world: SafeWorld, store: ProposalStore) -> None:
    """Law: fields, signatures and hash come back; a value over 2**53 too."""
    left = proposal(world, value_wei=2**200 + 1)
    await store.put(left)
    assert await store.get(left.tx_hash) == left
    assert await store.waiting(from_nonce=0) == (left,)
    assert await store.get("0x" + "12" * 32) is None


async def test_leaving_it_twice_changes_nothing(world: SafeWorld, store: ProposalStore) -> None:
    """A restart may propose again what it has journalled: still one, with all signatures."""
    left = proposal(world)
    await store.put(left)
    await store.sign(left.tx_hash, SECOND.address, signature(SECOND, left.digest))
    await store.put(left)
    (found,) = await store.waiting(from_nonce=0)
    assert set(found.signatures) == {FIRST.address, SECOND.address}


async def test_a_rejection_stands_beside_what_it_replaces(world: SafeWorld, store: ProposalStore) -> None:
    """Two proposals of one nonce; once one was executed neither waits any more."""
    left = proposal(world)
    void = proposal_of(
        rejection(world.address, 0), chain_id=CHAIN_ID, safe=world.address, proposer=FIRST.address
    )
    void = replace(void, signatures={FIRST.address: signature(FIRST, void.digest)})
    later = proposal(world, nonce=3)
    for item in (later, left, void):
        await store.put(item)
    waiting = await store.waiting(from_nonce=0)
    assert [item.tx.nonce for item in waiting] == [0, 0, 3]
    await world.signed(void.tx)
    assert await store.waiting(from_nonce=1) == (later,)
    found = await store.get(left.tx_hash)
    assert found == left


async def test_signatures_of_what_is_not_there_are_refused(world: SafeWorld, store: ProposalStore) -> None:
    with pytest.raises(VenueRejected):
        await store.sign("0x" + "12" * 32, FIRST.address, bytes(65))


async def test_a_proposal_that_is_not_what_it_says_is_never_left(
    world: SafeWorld, store: ProposalStore
) -> None:
    left = replace(proposal(world), tx_hash="0x" + "12" * 32)
    with pytest.raises(DisagreementError, match="under hash"):
        await store.put(left)


# What counts


async def test_only_owners_own_signatures_count(world: SafeWorld) -> None:
    """A stranger, a signature of another transaction, another owner's: each told, none counted."""
    state, left = await world.state(), proposal(world)
    other = signature(SECOND, proposal(world, nonce=9).digest)
    cases = {
        STRANGER.address: (signature(STRANGER, left.digest), "no owner"),
        SECOND.address: (other, "or for another transaction"),
        THIRD.address: (signature(SECOND, left.digest), f"made by {SECOND.address}"),
    }
    for owner, (given, why) in cases.items():
        found = gather(replace(left, signatures={**left.signatures, owner: given}), state)
        assert set(found.signatures) == {FIRST.address}
        assert len(found.refused) == 1
        assert why in found.refused[0]
        assert not found.reached(state)
    short = gather(replace(left, signatures={SECOND.address: b"\x12"}), state)
    assert "not a signature of a key" in short.refused[0]


async def test_an_approval_counts_only_as_the_chain_has_it(world: SafeWorld) -> None:
    state, left = await world.state(), proposal(world)
    pointer = bytes(12) + bytes.fromhex(SECOND.address[2:]) + bytes(32) + b"\1"
    claimed = replace(left, signatures={**left.signatures, SECOND.address: pointer})
    assert set(gather(claimed, state).signatures) == {FIRST.address}
    found = gather(claimed, state, approvers=[SECOND.address, STRANGER.address])
    assert found.signatures[SECOND.address] == pointer
    assert found.reached(state)
    assert set(found.signatures) == {FIRST.address, SECOND.address}


async def test_an_owner_who_left_counts_no_more(world: SafeWorld) -> None:
    """The same proposal, two signatures, and one of them of an owner that was removed meanwhile."""
    left = proposal(world, nonce=1)
    left = replace(left, signatures={**left.signatures, SECOND.address: signature(SECOND, left.digest)})
    state = await world.state()
    assert gather(left, state).reached(state)
    listed = list(state.owners)
    before = (
        listed[listed.index(SECOND.address) - 1] if listed[0] != SECOND.address else "0x" + "0" * 39 + "1"
    )
    await world.command("removeOwner", before, SECOND.address, 2)
    state = await world.state()
    found = gather(left, state)
    assert not found.reached(state)
    assert found.refused == (f"signature of {SECOND.address} is not counted: no owner",)


# The service


async def test_a_service_that_lies_is_not_believed(
    world: SafeWorld, served: TransactionService, client: SafeService
) -> None:
    """Another recipient under the same hash, another Safe, another transaction, another shape."""
    left = proposal(world)
    await client.put(left)
    lies: list[tuple[Callable[[dict], dict], type[Exception], str]] = [
        (lambda row: {**row, "to": STRANGER.address}, DisagreementError, "under hash"),
        (lambda row: {**row, "value": "1"}, DisagreementError, "under hash"),
        (lambda row: {**row, "operation": 0}, DisagreementError, "under hash"),
        (lambda row: {**row, "safe": STRANGER.address}, DisagreementError, "asked was"),
        (lambda row: {**row, "nonce": None}, TransientError, "another shape"),
        (lambda row: {**row, "value": "-1"}, TransientError, "another shape"),
        (lambda row: {**row, "data": "12"}, TransientError, "another shape"),
        (lambda row: {**row, "confirmations": [{"owner": "x"}]}, TransientError, "another shape"),
    ]
    for lie, kind, why in lies:
        served.lie = lie
        with pytest.raises(kind, match=why):
            await client.get(left.tx_hash)
        with pytest.raises(kind, match=why):
            await client.waiting(from_nonce=0)
    other = proposal(world, nonce=5)
    await client.put(other)
    row = await served._shown(served.rows[other.tx_hash])
    served.lie = lambda _: row
    with pytest.raises(DisagreementError, match="answers"):
        await client.get(left.tx_hash)


async def test_refusals_are_told_in_the_services_words(world: SafeWorld, client: SafeService) -> None:
    """422 for a stranger and for a used nonce, 400 for a stranger's confirmation."""
    with pytest.raises(VenueRejected, match="is not an owner or delegate"):
        await client.put(proposal(world, by=STRANGER))
    left = proposal(world)
    await client.put(left)
    with pytest.raises(VenueRejected, match="is not an owner"):
        await client.sign(left.tx_hash, STRANGER.address, signature(STRANGER, left.digest))
    await world.signed(SafeTx(to=world.address, data=b"", nonce=0))
    with pytest.raises(VenueRejected, match="already executed"):
        await client.put(replace(proposal(world, value_wei=1)))
    with pytest.raises(VenueRejected, match="already executed"):
        await client.sign(left.tx_hash, SECOND.address, signature(SECOND, left.digest))


async def test_an_answer_that_never_came_is_an_unknown_outcome(
    world: SafeWorld, served: TransactionService
) -> None:
    """ "The call failed" is not "it did not happen": the proposal is there, and is found by its hash."""
    served.lose_answers = True
    left = proposal(world)
    async with SafeService(served.url, chain_id=CHAIN_ID, safe=world.address, timeout_s=2.0) as client:
        with pytest.raises(OutcomeUnknown) as caught:
            await client.put(left)
        assert caught.value.key == left.tx_hash
        assert await client.get(left.tx_hash) == left


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_service_that_is_down(
    world: SafeWorld, served: TransactionService, client: SafeService, status: int
) -> None:
    down = {method: lambda _: web.Response(status=status, text="<html>") for method in ("GET", "POST")}
    served.faults.update(down)
    left = proposal(world)
    with pytest.raises(TransientError, match=f"HTTP {status}"):
        await client.waiting(from_nonce=0)
    with pytest.raises(OutcomeUnknown, match=f"HTTP {status}"):
        await client.put(left)
    served.faults["POST"] = lambda _: web.Response(status=429)
    with pytest.raises(TransientError, match="not taken"):
        await client.put(left)
    served.faults["GET"] = lambda _: web.json_response({"results": "none"})
    with pytest.raises(TransientError, match="another shape"):
        await client.waiting(from_nonce=0)
    served.faults["GET"] = lambda _: web.json_response([])
    with pytest.raises(TransientError, match="no JSON object"):
        await client.waiting(from_nonce=0)


async def test_a_service_that_is_gone(world: SafeWorld) -> None:
    async with SafeService("http://127.0.0.1:9", chain_id=CHAIN_ID, safe=world.address) as client:
        with pytest.raises(TransientError, match="ClientConnectorError"):
            await client.get("0x" + "12" * 32)


async def test_the_key_goes_into_the_header_and_nowhere_else(world: SafeWorld) -> None:
    secret = "a-long-and-secret-key"
    async with transaction_service(world, api_key=secret) as served:
        async with SafeService(served.url, chain_id=CHAIN_ID, safe=world.address, api_key=secret) as client:
            await client.put(proposal(world))
            served.faults["POST"] = lambda request: web.json_response(dict(request.headers), status=422)
            with pytest.raises(VenueRejected) as caught:
                await client.put(proposal(world))
            assert secret not in str(caught.value) + repr(client) + client.where
        async with SafeService(served.url, chain_id=CHAIN_ID, safe=world.address, api_key="wrong") as client:
            with pytest.raises(TransientError, match="HTTP 401"):
                await client.waiting(from_nonce=0)


async def test_pages_are_read_to_the_end(
    world: SafeWorld, served: TransactionService, client: SafeService
) -> None:
    for nonce in range(103):
        left = proposal(world, nonce)
        served.rows[left.tx_hash] = _row(left)
    found = await client.waiting(from_nonce=1)
    assert [item.tx.nonce for item in found] == list(range(1, 103))
    assert len([path for method, path in served.asked if method == "GET"]) == 2


def test_plain_http_to_a_public_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain http"):
        SafeService("http://api.example.org/tx", chain_id=1, safe=STRANGER.address)


def _row(left: Proposal) -> dict[str, Any]:
    tx, (owner, given) = left.tx, next(iter(left.signatures.items()))
    return {
        "to": tx.to,
        "value": tx.value_wei,
        "data": "0x" + tx.data.hex(),
        "operation": int(tx.operation),
        "safeTxGas": 0,
        "baseGas": 0,
        "gasPrice": 0,
        "gasToken": tx.gas_token,
        "refundReceiver": tx.refund_receiver,
        "nonce": tx.nonce,
        "origin": left.origin,
        "safeTxHash": left.tx_hash,
        "proposer": owner,
        "confirmations": [{"owner": owner, "signature": "0x" + given.hex()}],
    }


# The folder


async def test_a_damaged_folder_holds(world: SafeWorld, tmp_path: Path) -> None:
    queue, left = SafeQueue(tmp_path, chain_id=CHAIN_ID, safe=world.address), proposal(world)
    await queue.put(left)
    place = Path(queue.where) / left.tx_hash
    good = (place / "proposal.json").read_text()
    changed = json.dumps({**json.loads(good), "to": STRANGER.address})
    moved = json.dumps({**json.loads(good), "safeTxHash": "0x" + "12" * 32})
    for text, why in (
        ("", "damaged"),
        ("{}", "damaged"),
        ("[]", "damaged"),
        (changed, "under hash"),
        (moved, "of another hash"),
    ):
        (place / "proposal.json").write_text(text)
        with pytest.raises(DisagreementError, match=why):
            await queue.waiting(from_nonce=0)
    (place / "proposal.json").write_text(good)
    (place / f"{SECOND.address}.sig").write_text("zz")
    with pytest.raises(DisagreementError, match="damaged"):
        await queue.get(left.tx_hash)


async def test_the_folder_is_per_safe_and_chain(world: SafeWorld, tmp_path: Path) -> None:
    queue, left = SafeQueue(tmp_path, chain_id=CHAIN_ID, safe=world.address), proposal(world)
    await queue.put(left)
    for other in (
        SafeQueue(tmp_path, chain_id=1, safe=world.address),
        SafeQueue(tmp_path, chain_id=CHAIN_ID, safe=STRANGER.address),
    ):
        assert await other.waiting(from_nonce=0) == ()
        assert await other.get(left.tx_hash) is None


async def test_names_cannot_leave_the_folder(world: SafeWorld, tmp_path: Path) -> None:
    queue = SafeQueue(tmp_path, chain_id=CHAIN_ID, safe=world.address)
    for name in ("../x", "0x" + "../" * 22, "", "0x12"):
        with pytest.raises(NotFoundError, match="64 hex digits"):
            await queue.get(name)


def test_checked_gives_back_what_is_right() -> None:
    tx = SafeTx(to=STRANGER.address, data=b"", nonce=0)
    left = proposal_of(tx, chain_id=1, safe=STRANGER.address)
    assert checked(left, chain_id=1, safe=STRANGER.address, where="x") is left
    with pytest.raises(DisagreementError):
        checked(left, chain_id=2, safe=STRANGER.address, where="x")
