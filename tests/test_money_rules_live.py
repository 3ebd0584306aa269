"""kill -9 of ``alvh run --live`` at every write of its journal: no double buy, no lost position (REL-E3).

tests/chain/test_kill.py does this to the transaction manager, tests/venues/test_lyra_money.py to the venue.
Here the whole command dies, and the same command, started again, finishes.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from chain_facts import Facts, facts
from commands import Home

from bot.chain.rpc import Rpc
from bot.chain.send_state import Intent, fold
from bot.devnet.deployment import Deployment
from bot.devnet.moves.lyra import spot_update
from bot.devnet.node import Devnet
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.intent import IntentState
from bot.model.units import DAY_S
from bot.pipeline.book import book_of
from bot.pipeline.journal import SqlJournal

pytestmark = pytest.mark.devnet

# Leg opened; approve, swap, approve, open, revoke with reserved, signed, sent, mined, final each; leg
# closed; step. More writes must become more kill points, so the number is checked.
SENDS, WRITES = 5, 28
# Leg opened; settle the board, settle, approve, swap back; leg closed; step.
SETTLE_SENDS, SETTLE_WRITES = 4, 23
STATES = 5  # of a transaction
PARTS = 4
OPENING = range(17, 23)  # writes while the trade itself may be on chain or not
# scripts/test kills at every fourth point, `scripts/campaign tests` at the others.
EACH_PART = [0, *(pytest.param(part, marks=pytest.mark.campaign) for part in range(1, PARTS))]
CRASH_LOOP = ("after 3", "after 1", "before 2", "after 2", "after 1", "before 3", "after 4", "after 2")
STEP = ("run", "--live", "--once", "--json")


async def test_the_first_step_buys_one_put_and_writes_so_often(home: Home, rpc: Rpc, devnet: Devnet):
    before = await facts(rpc, devnet.deployment)
    bought = home.alvh(*STEP)
    assert bought.code == 0, bought
    (order,) = bought.document["orders"]
    assert (order["layer"], order["side"], order["status"]) == ("TAIL", "buy", "filled")
    with SqlJournal(home.journal("live"), read_only=True) as journal:
        assert sum(journal.count().values()) == WRITES
    await _check(home, rpc, devnet.deployment, before)


@pytest.mark.parametrize("part", EACH_PART)
async def test_killed_at_a_write_and_started_again(
    home: Home, rpc: Rpc, devnet: Devnet, tmp_path: Path, part: int
):
    before = await facts(rpc, devnet.deployment)
    for point in _points(WRITES, SENDS)[part::PARTS]:
        undo = await rpc.request("evm_snapshot")
        case = home.copy(tmp_path / point.replace(" ", "-"))
        with case.signer():
            assert case.alvh(*STEP, die=point).code == -9, point
            await rpc.request("evm_mine")
            again = case.alvh(*STEP)
            assert again.code == 0, (point, again)
            await _check(case, rpc, devnet.deployment, before)
            if int(point.split()[1]) in OPENING:
                # The restart may have decided at a block before its own purchase: the next must add nothing.
                await rpc.request("evm_mine")
                assert case.alvh(*STEP).code == 0, point
                await _check(case, rpc, devnet.deployment, before)
        assert await rpc.request("evm_revert", [undo])


@pytest.mark.parametrize("part", EACH_PART)
async def test_killed_while_it_settles_an_expired_put_that_pays(
    home: Home, rpc: Rpc, devnet: Devnet, tmp_path: Path, part: int
):
    before = await facts(rpc, devnet.deployment)
    (bought,) = home.alvh(*STEP).document["orders"]
    await _expire(rpc, devnet.deployment, spot_usd=bought["strike_usd"] - 80.0)
    for point in _points(SETTLE_WRITES, SETTLE_SENDS)[part::PARTS]:
        undo = await rpc.request("evm_snapshot")
        case = home.copy(tmp_path / point.replace(" ", "-"))
        with case.signer():
            assert case.alvh(*STEP, die=point).code == -9, point
            for _ in range(2):  # the first step may stand at a block before what its restart finished
                await rpc.request("evm_mine")
                assert case.alvh(*STEP).code == 0, point
        await _check_settled(case, rpc, devnet.deployment, before, pays=80.0 * bought["size"])
        assert await rpc.request("evm_revert", [undo])


async def _expire(rpc: Rpc, at: Deployment, *, spot_usd: float) -> None:
    """Let the boards of the first weeks expire with Lyra's spot at a price."""
    spot = spot_update(at, price=spot_usd)
    call = {"from": spot.sender, "to": spot.to, "data": spot.data, "gas": hex(spot.gas)}
    await rpc.request("evm_setNextBlockTimestamp", [at.deployed_at_s + 70 * DAY_S])
    await rpc.request("eth_sendTransaction", [call], send=True)
    await rpc.request("evm_mine")  # returns when nothing waits to be mined any more


async def test_killed_again_and_again(home: Home, rpc: Rpc, devnet: Devnet):
    """A crash loop: every start gets one or two writes further and dies."""
    before = await facts(rpc, devnet.deployment)
    with home.signer():
        for point in CRASH_LOOP:
            assert home.alvh(*STEP, die=point).code == -9, point
            await rpc.request("evm_mine")
        assert home.alvh(*STEP).code == 0
    await _check(home, rpc, devnet.deployment, before)


async def test_a_file_that_may_not_grow_at_any_size_loses_nothing(home: Home, rpc: Rpc, devnet: Devnet):
    """A full disk stops the bot in one line, wherever it strikes; with room again it goes on."""
    before = await facts(rpc, devnet.deployment)
    stops = 0
    with home.signer():
        for limit in range(4_096, 400_000, 12_288):
            ended = home.alvh(*STEP, file_limit_bytes=limit)
            if ended.code == 0:
                break
            assert ended.code in (1, 4), ended
            # What was said before the disk filled (the gap of the history) stays on standard error.
            last = ended.err.splitlines(keepends=True)[-1]
            replace(ended, err=last).refused(ended.code, ".sqlite")
            stops += 1
            await rpc.request("evm_mine")
    assert stops > 3
    assert home.alvh(*STEP).code == 0
    await _check(home, rpc, devnet.deployment, before)


async def _check(home: Home, rpc: Rpc, at: Deployment, before: Facts) -> None:
    """The chain, the journal and the account agree: one put is held, paid once, nothing is left open."""
    now = await facts(rpc, at)
    with SqlJournal(home.journal("live"), read_only=True) as journal:
        assert journal.verify() == sum(journal.count().values())
        assert journal.open_legs() == ()
        outcomes = journal.outcomes()
        intents = list(fold(journal.intents()).values())
        assert journal.last_step() is not None
    bought = [item for item in outcomes if item.status is LegStatus.FILLED]
    assert len(bought) == 1, outcomes
    assert bought[0].leg.side is Side.BUY
    assert now.positions == pytest.approx({bought[0].position_id: bought[0].leg.size})
    book = book_of(outcomes)
    assert {key[1]: item.size for key, item in book.purchases.items()} == pytest.approx(now.positions)
    assert now.allowances == (0, 0, 0)
    _check_nonces(intents, before, now)
    _check_money(outcomes, before, now)


async def _check_settled(home: Home, rpc: Rpc, at: Deployment, before: Facts, *, pays: float) -> None:
    """The put was paid out once, no cent is missing or booked twice, and the book is empty."""
    now = await facts(rpc, at)
    with SqlJournal(home.journal("live"), read_only=True) as journal:
        assert journal.verify() == sum(journal.count().values())
        assert journal.open_legs() == ()
        outcomes = journal.outcomes()
        intents = list(fold(journal.intents()).values())
    closing = [item for item in outcomes if item.leg.side is Side.SETTLE]
    settled = [item for item in closing if item.status is LegStatus.FILLED]
    assert len(settled) == 1, closing
    assert {item.status for item in closing} <= {LegStatus.FILLED, LegStatus.REJECTED}
    assert settled[0].premium_usd == pytest.approx(pays, rel=0.01)
    assert now.positions == {}
    assert book_of(outcomes).purchases == {}
    assert now.allowances == (0, 0, 0)
    _check_nonces(intents, before, now)
    bought, swaps = outcomes[0], sum(item.swap_usd for item in outcomes)
    kept = now.usdc + now.susd - before.usdc - before.susd
    assert kept == pytest.approx(settled[0].premium_usd - bought.premium_usd - swaps, abs=2.0)


def _points(writes: int, sends: int) -> list[str]:
    """Return every point where a kill leaves another state of journal, signer and chain behind.

    Between two writes only a signature (before "signed") and a broadcast (before "sent") change anything
    outside the process: elsewhere to die before a write is to die after the one before it.
    """
    acts = {2 + STATES * send + state for send in range(sends) for state in (1, 2)}
    before = [f"before {number}" for number in sorted({1, *acts})]
    return [*before, *(f"after {number}" for number in range(1, writes + 1))]


def _check_nonces(intents: list[Intent], before: Facts, now: Facts) -> None:
    """Every nonce of the account since the start carries exactly one intent that took effect.

    One whose signature may have left the signer before the journal had it is used up by a cancel.
    """
    assert {intent.state for intent in intents} <= {
        IntentState.FINAL,
        IntentState.RELEASED,
        IntentState.CANCELLED,
    }
    cancelled = [intent for intent in intents if intent.state is IntentState.CANCELLED]
    assert all(attempt.is_cancel for intent in cancelled for attempt in intent.attempts)
    used = sorted(intent.nonce for intent in intents if intent.state is not IntentState.RELEASED)
    assert used == list(range(before.nonce, now.nonce))
    assert now.pending == now.nonce


def _check_money(outcomes: tuple[LegOutcome, ...], before: Facts, now: Facts) -> None:
    """What left the account is what the journal booked; swapped and unspent sUSD still counts as ours."""
    spent = before.usdc + before.susd - now.usdc - now.susd
    booked = sum(item.premium_usd + item.swap_usd for item in outcomes)
    assert spent == pytest.approx(booked, abs=1.0)
    assert now.susd < 0.05 * booked  # what a swap brings over, once, never a second swap
