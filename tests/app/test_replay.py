"""A recording decided again is the same to the last digit, and so are the blocks of a node."""

import asyncio
import json
from dataclasses import replace

import pytest
from web_server import sources_at

from bot.app.demo import _warm
from bot.app.explain import Which, explain_recording
from bot.app.live import open_bot
from bot.app.replay import replay_blocks, replay_recording
from bot.devnet.market import MarketMover
from bot.devnet.scenarios import market_path, playable
from bot.errors import ConfigError, NotFoundError
from bot.pipeline.codec import dumps
from bot.pipeline.recording import TAIL, parts
from bot.settings import load_policy, load_settings

pytestmark = pytest.mark.devnet

FIRST = 157 - 14  # the worst hour ends at 157
STEPS = 20


@pytest.fixture
async def recorded(devnet, rpc, home):
    """A dry run through the worst hours of a crash, recorded; returns (settings, folder, records)."""
    settings = load_settings(home.config)
    scenario = playable("terra")
    path = market_path(scenario, 1)[FIRST : FIRST + STEPS]
    mover, folder = MarketMover(rpc, devnet.deployment), home.folder / "recording"
    await mover.move(path[0])
    async with open_bot(settings, mode="dry-run", record=folder) as bot:
        await _warm(bot, scenario, 1, end_s=path[0].at_s)
        records = [await bot.step_at(await bot.reader.head())]
        for point in path[1:]:
            await mover.move(point)
            records.append(await bot.step_at(await bot.reader.head()))
    return settings, folder, records


async def test_a_dry_run_decided_again_from_its_recording_is_the_same(recorded, home, rpc):
    settings, folder, records = recorded
    assert len({record.decision.groups[0].tier for record in records}) >= 2, "something happened"
    assert sum(len(record.outcomes) for record in records) >= 1
    policy = load_policy(settings.policy)
    found = await replay_recording(folder, policy=policy)
    assert found.same_policy
    assert found.differences == []
    assert [record.frame_hash for record in found.records] == [record.frame_hash for record in records]
    assert [record.outcomes for record in found.records] == [record.outcomes for record in records]

    # Every step of it can be explained, as it was decided.
    explained = explain_recording(folder, Which(sequence=records[-1].sequence), settings=settings)
    assert dumps(explained.shown_for) == dumps(records[-1])  # a NaN is equal to another as text alone
    assert explained.is_same_policy
    assert not explained.record.is_heartbeat
    assert explained.groups[0].decision.tier is records[-1].decision.groups[0].tier

    # A part of it: what came before is decided too, so that state and book are those of the run.
    middle_s = records[STEPS // 2].decision.now_s
    part = await replay_recording(folder, policy=policy, from_s=middle_s)
    assert [record.sequence for record in part.records] == [item.sequence for item in records[STEPS // 2 :]]
    assert part.differences == []

    # Another policy decides otherwise, and it is said where.
    careful = replace(
        policy, tiers=replace(policy.tiers, vote=0.95, vote_off=0.9, fast_vote=0.99, severe_score=0.97)
    )
    other = await replay_recording(folder, policy=careful)
    assert not other.same_policy
    assert any("tier was" in what for item in other.differences for what in item.what)

    ended = home.alvh("replay", "--recording", str(folder), "--json")
    document = json.loads(ended.out)
    assert (ended.code, document["steps"], document["differences"]) == (0, STEPS, [])

    # The same blocks read anew from the node: a paper run of its own over them.
    blocks = [next(iter(record.decision.blocks.values())) for record in records[:3]]
    again = [
        record
        async for record in replay_blocks(
            settings, first=blocks[0], last=blocks[2], every=blocks[1] - blocks[0], policy=policy
        )
    ]
    assert again[0].spot_usd == records[0].spot_usd
    assert again[0].exposure_value_usd == records[0].exposure_value_usd
    head = int(await rpc.request("eth_blockNumber"), 16)
    with pytest.raises(ConfigError, match="is past the chain's head"):
        await anext(replay_blocks(settings, first=1, last=head + 1, policy=policy))


async def test_a_recording_that_a_crash_tore_is_read_as_far_as_it_is_whole(recorded):
    settings, folder, records = recorded
    policy = load_policy(settings.policy)
    for part in parts(folder):
        for path in part.glob("steps-*.parquet"):
            assert path.stat().st_size > 0
    # A second run, killed while it wrote a line.
    async with open_bot(settings, mode="dry-run", record=folder) as bot:
        await bot.node.request("evm_mine")
        await bot.step_at(await bot.reader.head())
        newest = parts(folder)[-1]
        with (newest / TAIL).open("a") as tail:
            tail.write('{"sequence": 99, "now_s": 1')
        found = await asyncio.to_thread(lambda: asyncio.run(replay_recording(folder, policy=policy)))
    assert len(found.records) == STEPS + 1
    assert found.differences == []
    assert not (newest / TAIL).exists()
    closed = await replay_recording(folder, policy=policy)
    assert [item.sequence for item in closed.records] == [item.sequence for item in found.records]
    assert closed.differences == []
    with pytest.raises(NotFoundError, match="no step in that time"):
        await replay_recording(folder, policy=policy, from_s=records[-1].decision.now_s + 1e6)


async def test_a_dry_run_at_a_public_book_decided_again_is_the_same(devnet, rpc, home):
    block = await rpc.request("eth_getBlockByNumber", ["latest", False])
    folder = home.folder / "recording"
    async with sources_at(float(int(block["timestamp"], 16))) as book:
        book.fair_asks = True
        section = f'[indicative]\nvenue = "deribit"\nbase_url = "{book.url}/api/v2"\n\n'
        home.change(r"\[lyra\].*?\n\n", section)
        settings = load_settings(home.config)
        async with open_bot(settings, mode="dry-run", record=folder) as bot:
            records = [await bot.step_at(await bot.reader.head())]
            for _ in range(3):
                await rpc.request("evm_mine")
                records.append(await bot.step_at(await bot.reader.head()))
    assert [item.indicative for record in records for item in record.outcomes] == [True]
    found = await replay_recording(folder, policy=load_policy(settings.policy))
    assert found.differences == []
    assert [record.outcomes for record in found.records] == [record.outcomes for record in records]
    assert all(record.indicative for record in found.records)
