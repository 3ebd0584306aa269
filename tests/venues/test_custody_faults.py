"""A Safe that changed hands, a service that fails or lies, and kills at every point of an order's way."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safe_builders import STRANGER, signature, signatures

from bot.chain.safe import SafeTx
from bot.devnet.node import Devnet
from bot.errors import ConfigError, DisagreementError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.hedge import LegStatus

from .conftest import World
from .safe_desk import Custody, Killed, Started, make_custody, order, runs

pytestmark = pytest.mark.devnet


@pytest.fixture
async def custody(world: World, cache_dir: Path, tmp_path: Path) -> Custody:
    return await make_custody(world, cache_dir, tmp_path)


@pytest.fixture
def run(custody: Custody) -> Iterator[Started]:
    with runs(custody) as start:
        yield start


# Whom the Safe belongs to


async def test_a_change_of_control_stops_new_risk_by_name(custody: Custody, run: Started) -> None:
    """Threshold, owner, module, guard, handler: told once, nothing executed in that step, then agreed to."""
    process = run()
    await process.execute(await order(custody))
    await custody.sign((await custody.waiting())[0])
    data = custody.safes.safe.artifact.abi.encode("changeThreshold", 3)
    change = SafeTx(to=custody.address, data=data, nonce=0)
    await custody.safes.execute(change, signatures(custody.safes.hash_of(change), custody.owners[1:]))
    assert (await process.reconcile()).status is LegStatus.UNKNOWN
    await custody.world.rpc.request("anvil_mine", [1])
    assert (await process.reconcile()).status is LegStatus.REJECTED  # its nonce is gone
    refused = await process.execute(await order(custody, key="plan/1"))
    assert refused.status is LegStatus.REJECTED
    assert "threshold was 2, is 3" in refused.because
    (told,) = process.pauses
    assert "threshold was 2, is 3" in told
    again = run()
    assert (await again.execute(await order(custody, key="plan/2"))).status is LegStatus.PROPOSED
    assert again.pauses == []


async def test_a_module_enabled_while_it_waits_holds_the_execution(custody: Custody, run: Started) -> None:
    """A change that leaves the nonce where it is: made by a module, as an intruder would."""
    await custody.safes.command("enableModule", custody.world.at.whale)
    process = run()
    await process.execute(await order(custody))
    await custody.sign((await custody.waiting())[0])
    abi = custody.safes.safe.artifact.abi
    inner = abi.encode("changeThreshold", 1)
    data = abi.encode("execTransactionFromModule", custody.address, 0, inner, 0)
    await custody.safes.send(custody.address, data, sender=custody.world.at.whale)
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.PROPOSED
    assert "threshold was 2, is 1" in outcome.because
    assert len(process.pauses) == 1
    assert (await custody.safes.state()).nonce == 1


async def test_what_is_no_safe_is_refused_at_the_start(custody: Custody, run: Started) -> None:
    for terms, why in (
        ({"safe": STRANGER.address}, "has no code"),
        ({"safe": custody.world.at.usdc}, "does not answer as a Safe"),
        ({"multi_send": custody.world.at.usdc}, "which Safe did not publish"),
    ):
        with pytest.raises(ConfigError, match=why):
            await run(**terms).proposer.check()
    assert (await run().proposer.check()).threshold == 2


async def test_batches_go_through_no_other_code(custody: Custody, run: Started) -> None:
    """A contract that a Safe would delegate to, and that Safe did not publish: nothing is signed."""
    process = run(multi_send=custody.world.at.usdc)
    outcome = await process.execute(await order(custody))
    assert outcome.status is LegStatus.REJECTED
    assert "which Safe did not publish" in outcome.because
    assert process.journal.intents() == ()


async def test_only_an_owner_proposes(custody: Custody, run: Started) -> None:
    state = await custody.safes.state()
    linked = ["0x" + "00" * 19 + "01", *state.owners]
    before = linked[linked.index(custody.bot.address) - 1]
    data = custody.safes.safe.artifact.abi.encode("removeOwner", before, custody.bot.address, 2)
    tx = SafeTx(to=custody.address, data=data, nonce=0)
    await custody.safes.execute(tx, signatures(custody.safes.hash_of(tx), custody.owners[1:]))
    outcome = await run().execute(await order(custody))
    assert outcome.status is LegStatus.REJECTED
    assert "cannot propose" in outcome.because
    assert await custody.waiting() == ()


async def test_a_strangers_signature_is_told_and_not_counted(custody: Custody, run: Started) -> None:
    process = run()
    await process.execute(await order(custody))
    (proposal,) = await custody.waiting()
    await custody.queue().sign(proposal.tx_hash, STRANGER.address, signature(STRANGER, proposal.digest))
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.PROPOSED
    assert f"signature of {STRANGER.address} is not counted: no owner" in outcome.because


async def test_a_paused_signer_proposes_nothing_that_opens(custody: Custody, run: Started) -> None:
    """The nonce is free again; what was proposed before the pause is not executed by us in it."""
    words = ["paused by a person"]
    process = run(paused=lambda: words[0])
    refused = await process.execute(await order(custody))
    assert refused.status is LegStatus.REJECTED
    assert "nothing that opens is signed" in refused.because
    words[0] = ""
    assert (await process.execute(await order(custody, key="plan/1"))).status is LegStatus.PROPOSED
    await custody.sign((await custody.waiting())[0])
    words[0] = "paused by a person"
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.PROPOSED
    assert "was not executed" in outcome.because
    words[0] = ""
    assert (await process.reconcile()).status is LegStatus.FILLED


async def test_a_batch_that_would_fail_is_never_proposed(custody: Custody, run: Started) -> None:
    """The Safe has no money: refused before anything is signed."""
    at, safes = custody.world.at, custody.safes
    usdc = safes.bench.at("TestERC20SetDecimals", at.usdc)
    await usdc.send("burn", custody.address, 10_000 * 10**6)
    process = run()
    outcome = await process.execute(await order(custody))
    assert outcome.status is LegStatus.REJECTED
    assert process.journal.intents() == ()


# The service


class Failing:
    """A queue whose calls fail as they are told to."""

    def __init__(self, custody: Custody) -> None:
        self._queue = custody.queue()
        self.where = "the service"
        self.put_error: Exception | None = None
        self.get_error: Exception | None = None
        self.takes = True

    async def put(self, proposal: Any) -> None:
        if self.takes:
            await self._queue.put(proposal)
        if self.put_error:
            raise self.put_error

    async def sign(self, tx_hash: str, owner: str, given: bytes) -> None:
        await self._queue.sign(tx_hash, owner, given)

    async def get(self, tx_hash: str) -> Any:
        if self.get_error:
            raise self.get_error
        return await self._queue.get(tx_hash)

    async def waiting(self, *, from_nonce: int) -> Any:
        return await self._queue.waiting(from_nonce=from_nonce)


@pytest.mark.parametrize("takes", [True, False])
async def test_an_answer_that_never_came_leaves_one_proposal(
    custody: Custody, run: Started, takes: bool
) -> None:
    """Unknown, then looked for and left again: the same hash, whether it had arrived or not."""
    store = Failing(custody)
    store.put_error, store.takes = OutcomeUnknown("proposal: no answer", "0x12"), takes
    process = run(store=store)
    outcome = await process.execute(await order(custody))
    assert outcome.status is LegStatus.UNKNOWN
    assert len(await custody.waiting()) == int(takes)
    store.put_error, store.takes = None, True
    assert (await process.reconcile()).status is LegStatus.PROPOSED
    (proposal,) = await custody.waiting()
    await custody.sign(proposal)
    assert (await process.reconcile()).status is LegStatus.FILLED


async def test_a_service_that_refuses_frees_the_nonce(custody: Custody, run: Started) -> None:
    store = Failing(custody)
    store.put_error, store.takes = VenueRejected("422 not a trusted target"), False
    process = run(store=store)
    outcome = await process.execute(await order(custody))
    assert outcome.status is LegStatus.REJECTED
    assert "422" in outcome.because
    store.put_error, store.takes = None, True
    assert (await process.execute(await order(custody, key="plan/1"))).status is LegStatus.PROPOSED


@pytest.mark.parametrize("error", [TransientError("down"), DisagreementError("lies")])
async def test_a_service_that_is_down_or_lies_holds_and_loses_nothing(
    custody: Custody, run: Started, error: Exception
) -> None:
    """Nothing is executed on its word; what the chain says is booked without it."""
    store = Failing(custody)
    process = run(store=store)
    await process.execute(await order(custody))
    (proposal,) = await custody.waiting()
    await custody.sign(proposal)
    store.get_error = error
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.UNKNOWN
    assert str(error) in outcome.because
    assert (await custody.safes.state()).nonce == 0
    await custody.execute(proposal)
    assert (await process.reconcile()).status is LegStatus.FILLED


async def test_a_proposal_that_was_deleted_is_left_again(custody: Custody, run: Started) -> None:
    process = run()
    await process.execute(await order(custody))
    (proposal,) = await custody.waiting()
    place = Path(custody.queue().where) / proposal.tx_hash
    for file in place.iterdir():
        file.unlink()
    assert (await process.reconcile()).status is LegStatus.PROPOSED
    assert await custody.waiting() == (proposal,)


# Restarts


@pytest.mark.parametrize("point", ["put", "left", "send", "sent"])
async def test_a_kill_at_any_point_neither_loses_nor_doubles_an_order(
    custody: Custody, run: Started, point: str
) -> None:
    """Killed before and after the proposal was left, before and after the execution was sent (K rows)."""
    dead: list[str] = []

    def die(at: str) -> bool:
        if at == point and not dead:
            dead.append(at)
            return True
        return False

    process, leg = run(die_before=die), await order(custody)
    with contextlib.suppress(Killed):
        await process.execute(leg)
        await custody.sign((await custody.waiting())[0])
        await process.reconcile()
    assert dead == [point]
    process = run()
    for _ in range(3):
        if not process.journal.open_legs():
            break
        outcome = await process.reconcile()
        for proposal in await custody.waiting():
            await custody.sign(proposal)
    assert outcome.status is LegStatus.FILLED
    assert (await custody.safes.state()).nonce == 1
    assert len(await process.venue.held(await custody.world.view())) == 1
    assert await custody.allowances() == {0}


async def test_killed_before_it_was_left_and_late_it_is_released(custody: Custody, run: Started) -> None:
    leg = await order(custody)
    with pytest.raises(Killed):
        await run(die_before=lambda at: at == "put").execute(leg)
    await custody.world.warp(int(leg.valid_until_s) + 60)
    process = run()
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.REJECTED
    assert "before it was left with the owners" in outcome.because
    assert await custody.waiting() == ()


async def test_killed_after_it_was_left_and_late_it_is_rejected(custody: Custody, run: Started) -> None:
    leg = await order(custody)
    with pytest.raises(Killed):
        await run(die_before=lambda at: at == "left").execute(leg)
    await custody.world.warp(int(leg.valid_until_s) + 60)
    process = run()
    assert (await process.reconcile()).status is LegStatus.PROPOSED
    assert len(await custody.waiting()) == 2


async def test_executed_while_the_program_was_dead(custody: Custody, run: Started) -> None:
    """Killed before its signature was in the journal; the owners executed it meanwhile."""
    leg = await order(custody)
    with pytest.raises(Killed):
        await run(die_before=lambda at: at == "left").execute(leg)
    await custody.execute((await custody.waiting())[0])
    process = run()
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.FILLED
    assert outcome.gas_usd == 0.0


async def test_depth_is_waited_for(custody: Custody, run: Started, devnet: Devnet) -> None:
    """Three confirmations: executed by an owner is not final at once, and a reorg before takes it back."""
    process = run(confirmations=3)
    await process.execute(await order(custody))
    (proposal,) = await custody.waiting()
    rpc = custody.world.rpc
    snapshot = await rpc.request("evm_snapshot")
    await custody.execute(proposal)
    assert (await process.reconcile()).status is LegStatus.UNKNOWN
    assert await rpc.request("evm_revert", [snapshot])
    assert (await process.reconcile()).status is LegStatus.PROPOSED
    await custody.execute(proposal)
    assert (await process.reconcile()).status is LegStatus.UNKNOWN
    await rpc.request("anvil_mine", [2])
    assert (await process.reconcile()).status is LegStatus.FILLED
