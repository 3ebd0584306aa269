"""A vote on the devnet: the bot's next decision uses it, its record says so, and a replay decides alike."""

from pathlib import Path

import pytest
from commands import Home

from bot.app.live import open_bot
from bot.app.replay import replay_recording
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_governance import Governance, deploy_governance
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.engine.policy_vote import under_vote
from bot.model.record import StepRecord
from bot.settings import load_policy, load_settings

pytestmark = pytest.mark.devnet


@pytest.fixture
async def votes(devnet: Devnet, rpc: Rpc, cache_dir: Path, home: Home) -> Governance:
    at = devnet.deployment
    policy = load_policy(load_settings(home.config).policy)
    found = await deploy_governance(
        Bench(rpc, fetch(cache_dir), at.accounts),
        voters=at.accounts[5:8],
        policy_hash=policy.hash,
        weights_bps=(4000, 4000, 2000),
    )
    with home.config.open("a") as file:
        file.write(f'\n[policy_registry]\naddress = "{found.registry.address}"\n')
    return found


async def test_the_next_decision_is_made_under_the_vote(
    home: Home, votes: Governance, tmp_path: Path
) -> None:
    """Before it, after it, after a restart, and replayed from the recording."""
    settings = load_settings(home.config)
    policy = load_policy(settings.policy)
    records: list[StepRecord] = []
    async with open_bot(settings, mode="monitor", record=tmp_path / "record") as bot:
        records.append(await bot.step_at(await bot.reader.head()))
        number = await votes.propose(policy.hash, (3000, 4000, 3000), why="more tail")
        await votes.decide(number, in_favour=2)
        records.append(await bot.step_at(await bot.reader.head()))
    async with open_bot(settings, mode="monitor") as bot:
        await votes.timelock.bench.set_time(await votes.timelock.bench.now_s() + 60)
        records.append(await bot.step_at(await bot.reader.head()))
    first, second, third = records
    assert first.vote is not None
    assert (first.vote.sequence, second.vote.sequence) == (1, 2)  # type: ignore[union-attr]
    assert second.vote.block_number == second.decision.blocks[31337]  # type: ignore[union-attr]
    assert third.vote == second.vote
    hashes = [item.decision.policy_hash for item in records]
    assert hashes == [under_vote(policy, item.vote).hash for item in records]
    assert hashes[0] == policy.hash != hashes[1]
    assert f"vote 2 read at block {second.vote.block_number}" in second.policy_words  # type: ignore[union-attr]
    replayed = await replay_recording(tmp_path / "record", policy=policy)
    assert [item.vote for item in replayed.records] == [first.vote, second.vote]
    assert replayed.differences == []


async def test_a_registry_that_does_not_answer_opens_nothing_until_one_did(
    home: Home, votes: Governance
) -> None:
    """Without any good state no policy is in force."""
    address = votes.registry.address
    settings = load_settings(home.config)
    async with open_bot(settings, mode="monitor") as bot:
        good = await bot.step_at(await bot.reader.head())
    home.change(address, votes.timelock.address)
    async with open_bot(load_settings(home.config), mode="monitor") as bot:
        await votes.timelock.bench.set_time(await votes.timelock.bench.now_s() + 60)
        record = await bot.step_at(await bot.reader.head())
    assert good.decision.holds == ()
    assert record.vote is None
    assert any("does not answer" in hold for hold in record.decision.holds)
