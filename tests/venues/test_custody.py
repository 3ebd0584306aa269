"""Real orders on Lyra through a real 2-of-3 Safe: proposed, signed, executed, overtaken, refused by name."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safe_builders import STRANGER, signature, signatures
from safe_service_server import transaction_service

from bot.chain.safe import SafeTx, is_rejection, rejection
from bot.chain.safe_proposal import proposal_of
from bot.chain.safe_service import SafeService
from bot.devnet.deployment import CHAIN_ID
from bot.model.hedge import LegStatus, Side
from bot.model.intent import IntentState

from .conftest import World
from .safe_desk import HOUR_S, Custody, Process, Started, calls_in, make_custody, order, runs

pytestmark = pytest.mark.devnet


@pytest.fixture
async def custody(world: World, cache_dir: Path, tmp_path: Path) -> Custody:
    return await make_custody(world, cache_dir, tmp_path)


@pytest.fixture
def run(custody: Custody) -> Iterator[Started]:
    with runs(custody) as start:
        yield start


# The whole way


async def test_a_purchase_is_proposed_refused_with_one_signature_and_executed_with_two(
    custody: Custody, run: Started
) -> None:
    """One batch: swap, exact approvals, trade, revocations. Nothing moves before the second signature."""
    process = run()
    leg = await order(custody)
    outcome = await process.execute(leg)
    assert outcome.status is LegStatus.PROPOSED
    assert "1 of 2 signatures" in outcome.because
    (proposal,) = await custody.waiting()
    assert proposal.tx.nonce == 0
    assert custody.world.at.lyra_option_market.lower() in calls_in(custody, proposal)
    assert await custody.safes.balance(custody.world.at.usdc) == 10_000 * 10**6
    assert (await process.reconcile()).status is LegStatus.PROPOSED
    await custody.sign(proposal)
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.FILLED
    assert outcome.filled_size == leg.size
    assert 0.0 < outcome.premium_usd <= leg.limit_usd
    assert outcome.gas_usd > 0.0
    assert await custody.allowances() == {0}
    assert process.journal.open_legs() == ()
    view = await custody.world.view()
    (position,) = await process.venue.held(view)
    assert (position.id, position.size) == (outcome.position_id, leg.size)
    states = [
        event.state for event in process.journal.intents(leg.key) if event.sender == custody.address.lower()
    ]
    assert states == [
        IntentState.RESERVED,
        IntentState.SIGNED,
        IntentState.SENT,
        IntentState.MINED,
        IntentState.FINAL,
    ]


async def test_a_position_is_sold_through_the_safe(custody: Custody, run: Started) -> None:
    """The next order takes the Safe's next nonce, and what it brings stays in the Safe."""
    process = run()
    await process.execute(await order(custody))
    await custody.sign((await custody.waiting())[0])
    bought = await process.reconcile()
    before = await custody.safes.balance(custody.world.at.susd)
    sale = replace(
        bought.leg,
        key="plan/1",
        side=Side.SELL,
        limit_usd=bought.premium_usd * 0.5,
        position_id=bought.position_id,
        valid_until_s=(await custody.world.view()).now_s + HOUR_S,
    )
    assert (await process.execute(sale)).status is LegStatus.PROPOSED
    (proposal,) = await custody.waiting()
    assert proposal.tx.nonce == 1
    await custody.sign(proposal, owner=2)
    sold = await process.reconcile()
    assert sold.status is LegStatus.FILLED
    assert sold.premium_usd >= sale.limit_usd
    assert await custody.safes.balance(custody.world.at.susd) > before
    assert await custody.allowances() == {0}


async def test_with_one_signature_needed_it_is_executed_at_once(
    world: World, cache_dir: Path, tmp_path: Path
) -> None:
    custody = await make_custody(world, cache_dir, tmp_path, threshold=1)
    process = Process(custody)
    outcome = await process.execute(await order(custody))
    process.close()
    assert outcome.status is LegStatus.FILLED
    assert await custody.allowances() == {0}


async def test_somebody_else_may_execute_it(custody: Custody, run: Started) -> None:
    """It is found by the Safe's event, and its gas is none of ours."""
    process = run()
    await process.execute(await order(custody))
    await custody.execute((await custody.waiting())[0], owners=(1, 2))
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.FILLED
    assert outcome.gas_usd == 0.0


async def test_through_the_transaction_service(custody: Custody, run: Started) -> None:
    """The same over HTTP: proposed with our signature, confirmed by another owner, executed by us."""
    async with (
        transaction_service(custody.safes) as served,
        SafeService(served.url, chain_id=CHAIN_ID, safe=custody.address) as service,
    ):
        process = run(store=service)
        assert (await process.execute(await order(custody))).status is LegStatus.PROPOSED
        (proposal,) = await service.waiting(from_nonce=0)
        assert proposal.proposer == custody.bot.address
        other = custody.owners[1]
        await service.sign(proposal.tx_hash, other.address, signature(other, proposal.digest))
        served.lie = lambda row: {**row, "to": STRANGER.address}
        held = await process.reconcile()
        assert held.status is LegStatus.UNKNOWN
        assert "its fields hash to" in held.because
        served.lie = lambda row: row
        assert (await process.reconcile()).status is LegStatus.FILLED
        assert await service.waiting(from_nonce=1) == ()


# One at a time


async def test_one_proposal_is_open_per_safe(custody: Custody, run: Started) -> None:
    process = run()
    leg = await order(custody)
    await process.execute(leg)
    other = replace(leg, key="plan/9", group="OTHER")
    refused = await process.execute(other)
    assert refused.status is LegStatus.REJECTED
    assert "has an open proposal, nonce 0 of order plan/0" in refused.because
    assert len(await custody.waiting()) == 1


# Overtaken, expired, moved by others


async def test_past_its_time_it_is_replaced_by_a_rejection(custody: Custody, run: Started) -> None:
    """At the same nonce; both signatures of the order do not execute it any more once the time is over."""
    process = run()
    leg = await order(custody)
    await process.execute(leg)
    (proposal,) = await custody.waiting()
    await custody.world.warp(int(leg.valid_until_s) + 60)
    await custody.sign(proposal)
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.PROPOSED
    assert "was valid until" in outcome.because
    void = next(item for item in await custody.waiting() if is_rejection(item.tx, custody.address))
    assert void.tx.nonce == proposal.tx.nonce
    assert (await process.reconcile()).status is LegStatus.PROPOSED
    await custody.sign(void)
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.REJECTED
    assert outcome.gas_usd > 0.0
    assert await custody.waiting() == ()
    assert await process.venue.held(await custody.world.view()) == ()
    assert await custody.safes.balance(custody.world.at.usdc) == 10_000 * 10**6


async def test_a_proposal_that_the_market_overtook_is_replaced_not_doubled(
    custody: Custody, run: Started
) -> None:
    """The put became dearer than the limit: a rejection at its nonce, then the next order at the next one."""
    process = run()
    await process.execute(await order(custody))
    await custody.world.set_spot(2_650.0)
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.PROPOSED
    assert "overtaken by the market" in outcome.because
    assert len(await custody.waiting()) == 2
    await process.reconcile()
    waiting = await custody.waiting()
    assert [item.tx.nonce for item in waiting] == [0, 0]
    await custody.sign(next(item for item in waiting if is_rejection(item.tx, custody.address)))
    assert (await process.reconcile()).status is LegStatus.REJECTED
    assert (await process.execute(await order(custody, key="plan/1"))).status is LegStatus.PROPOSED
    (proposal,) = await custody.waiting()
    assert proposal.tx.nonce == 1


async def test_its_bound_is_checked_again_when_the_last_signature_arrives(
    custody: Custody, run: Started
) -> None:
    """Within the order's wide limit, over the batch's own bound: it would revert, so it is replaced."""
    process = run()
    await process.execute(await order(custody, limit=3.0))
    (proposal,) = await custody.waiting()
    await custody.world.set_spot(2_650.0)
    await custody.sign(proposal)
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.PROPOSED
    assert "within its bound it would fail now" in outcome.because
    assert any(is_rejection(item.tx, custody.address) for item in await custody.waiting())
    assert (await custody.safes.state()).nonce == 0
    await custody.world.set_spot(2_800.0)  # it would succeed again: a rejection is not taken back
    assert (await process.reconcile()).status is LegStatus.PROPOSED
    assert (await custody.safes.state()).nonce == 0


async def test_an_owner_who_rejects_is_followed(custody: Custody, run: Started) -> None:
    """A rejection that another owner left gets our signature too, and ends the order."""
    process = run()
    await process.execute(await order(custody))
    (proposal,) = await custody.waiting()
    void = proposal_of(rejection(custody.address, proposal.tx.nonce), chain_id=CHAIN_ID, safe=custody.address)
    await custody.queue().put(void)
    assert "rejection" not in (await process.reconcile()).because  # nobody has signed it
    await custody.sign(void, owner=2)
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.REJECTED
    assert "an owner proposed its rejection" in outcome.because
    assert (await custody.safes.state()).nonce == 1


async def test_owners_may_still_execute_what_is_being_rejected(custody: Custody, run: Started) -> None:
    """A rejection binds nobody before it is executed; what happened is booked, not what was wanted."""
    process = run()
    leg = await order(custody)
    await process.execute(leg)
    (proposal,) = await custody.waiting()
    await process.proposer.withdraw(leg.key, because="a person said so")
    await custody.execute(proposal)
    assert (await process.reconcile()).status is LegStatus.FILLED


async def test_a_nonce_that_the_owners_used_themselves_ends_the_order(custody: Custody, run: Started) -> None:
    process = run()
    leg = await order(custody)
    await process.execute(leg)
    tx = SafeTx(to=STRANGER.address, data=b"", nonce=0)
    await custody.safes.execute(tx, signatures(custody.safes.hash_of(tx), custody.owners[1:]))
    assert (await process.reconcile()).status is LegStatus.UNKNOWN  # its log may come late
    await custody.world.rpc.request("anvil_mine", [1])
    outcome = await process.reconcile()
    assert outcome.status is LegStatus.REJECTED
    assert "used nonce 0" in outcome.because
    newest = [event for event in process.journal.intents(leg.key)][-1]
    assert newest.state is IntentState.LOST
    assert (await process.execute(await order(custody, key="plan/1"))).status is LegStatus.PROPOSED
