"""The vote with its timelock, and the registry that only it can change: real contracts on the devnet."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_governance import (
    DELAY_S,
    GRACE_S,
    VOTING_PERIOD_S,
    Governance,
    deploy_governance,
)
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import InvariantError

pytestmark = pytest.mark.devnet
FIRST, SECOND = "11" * 32, "22" * 32
ACTIVE, CANCELED, DEFEATED, SUCCEEDED, QUEUED, EXPIRED, EXECUTED = 1, 2, 3, 4, 5, 6, 7  # IGovernor


@pytest.fixture
async def votes(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> Governance:
    bench = Bench(rpc, fetch(cache_dir), devnet.deployment.accounts)
    voters = devnet.deployment.accounts[5:8]
    return await deploy_governance(bench, voters=voters, policy_hash=FIRST, weights_bps=(4000, 3500, 2500))


async def current(votes: Governance) -> tuple[object, ...]:
    return tuple(await votes.registry.call("currentPolicy"))[:5]


async def wait(votes: Governance, seconds: int) -> None:
    bench = votes.timelock.bench
    await bench.set_time(await bench.now_s() + seconds)


async def state(votes: Governance, number: int) -> int:
    return int(await votes.timelock.call("state", number))


async def test_a_vote_changes_the_registry_after_the_delay(votes: Governance) -> None:
    assert await current(votes) == (bytes.fromhex(FIRST), 4000, 3500, 2500, 1)
    number = await votes.propose(SECOND, (3000, 3000, 4000), why="more tail")
    assert await state(votes, number) == ACTIVE
    await votes.decide(number, in_favour=2)
    assert await state(votes, number) == EXECUTED
    assert await current(votes) == (bytes.fromhex(SECOND), 3000, 3000, 4000, 2)


async def test_nobody_else_changes_it(votes: Governance) -> None:
    for sender in (votes.registry.bench.deployer, *votes.voters):
        with pytest.raises(InvariantError, match="owner only"):
            await votes.registry.send("setPolicy", bytes.fromhex(SECOND), 3000, 3000, 4000, sender=sender)
    assert (await current(votes))[4] == 1


@pytest.mark.parametrize("weights", [(4000, 3500, 2499), (4000, 3500, 2501), (10_001, 0, 0), (0, 0, 0)])
async def test_weights_that_are_no_whole_are_never_put_in_force(
    votes: Governance, weights: tuple[int, int, int]
) -> None:
    """A vote for them fails when it is carried out, and leaves what is there."""
    number = await votes.propose(SECOND, weights, why="wrong")
    with pytest.raises(InvariantError, match="weights must sum to 10000"):
        await votes.decide(number, in_favour=3)
    assert (await current(votes))[4] == 1


async def test_the_steps_of_a_vote_have_their_times(votes: Governance) -> None:
    """Too early, too late, twice: each refused."""
    lock, (first, second, third) = votes.timelock, votes.voters
    number = await votes.propose(SECOND, (3000, 3000, 4000), why="more tail")
    await lock.send("castVote", number, True, sender=first)
    with pytest.raises(InvariantError, match="voted already"):
        await lock.send("castVote", number, True, sender=first)
    with pytest.raises(InvariantError, match="voters only"):
        await lock.send("castVote", number, True, sender=lock.bench.deployer)
    await lock.send("castVote", number, True, sender=second)
    with pytest.raises(InvariantError, match="not decided"):
        await lock.send("queue", number)
    await wait(votes, VOTING_PERIOD_S)
    assert await state(votes, number) == SUCCEEDED
    with pytest.raises(InvariantError, match="not open for votes"):
        await lock.send("castVote", number, False, sender=third)
    with pytest.raises(InvariantError, match="not queued"):
        await lock.send("execute", number)
    await lock.send("queue", number)
    assert await state(votes, number) == QUEUED
    with pytest.raises(InvariantError, match="the delay is not over"):
        await lock.send("execute", number)
    await wait(votes, DELAY_S)
    await lock.send("execute", number)
    with pytest.raises(InvariantError, match="not queued"):
        await lock.send("execute", number)
    assert (await current(votes))[4] == 2


async def _too_few(votes: Governance, number: int) -> None:
    await votes.timelock.send("castVote", number, True, sender=votes.voters[0])
    await wait(votes, VOTING_PERIOD_S)


async def _against(votes: Governance, number: int) -> None:
    for place, voter in enumerate(votes.voters):
        await votes.timelock.send("castVote", number, place == 0, sender=voter)
    await wait(votes, VOTING_PERIOD_S)


async def _cancelled(votes: Governance, number: int) -> None:
    await votes.timelock.send("cancel", number, sender=votes.voters[0])


async def _too_late(votes: Governance, number: int) -> None:
    for voter in votes.voters:
        await votes.timelock.send("castVote", number, True, sender=voter)
    await wait(votes, VOTING_PERIOD_S)
    await votes.timelock.send("queue", number)
    await wait(votes, DELAY_S + GRACE_S + 1)


@pytest.mark.parametrize(
    ("way", "end"),
    [(_too_few, DEFEATED), (_against, DEFEATED), (_cancelled, CANCELED), (_too_late, EXPIRED)],
)
async def test_a_vote_that_did_not_carry_changes_nothing(
    votes: Governance, way: Callable[..., object], end: int
) -> None:
    number = await votes.propose(SECOND, (3000, 3000, 4000), why="more tail")
    await way(votes, number)  # type: ignore[misc]
    assert await state(votes, number) == end
    with pytest.raises(InvariantError, match="not queued"):
        await votes.timelock.send("execute", number)
    assert (await current(votes))[4] == 1


async def test_only_its_proposer_takes_it_back(votes: Governance) -> None:
    number = await votes.propose(SECOND, (3000, 3000, 4000), why="more tail")
    with pytest.raises(InvariantError, match="proposer only"):
        await votes.timelock.send("cancel", number, sender=votes.voters[1])
    with pytest.raises(InvariantError, match="voters only"):
        await votes.timelock.send("propose", votes.registry.address, b"", "x")
