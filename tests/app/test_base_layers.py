"""What a configuration states of the base layers, in the decisions of a run and of its replay (R25)."""

import pytest

from bot.app.live import open_bot
from bot.app.replay import replay_blocks, replay_recording
from bot.settings import load_policy, load_settings

pytestmark = pytest.mark.devnet

STATED = """
[[reserves]]
asset = "USDC"
units = 40

[[reserves]]
asset = "DAI"
units = 60

[[covers]]
id = "cover-17"
protocol = "uniswap-v2"
amount_usd = 100
expires = 2100-01-01
"""


async def test_what_is_stated_is_in_every_decision_and_in_its_replay(rpc, home):
    folder = home.folder / "recording"
    plain = load_settings(home.config)
    with home.config.open("a") as file:
        file.write(STATED)
    settings = load_settings(home.config)
    async with open_bot(settings, mode="dry-run", record=folder) as bot:
        records = [await bot.step_at(await bot.reader.head())]
        await rpc.request("evm_mine")
        records.append(await bot.step_at(await bot.reader.head()))
    said = "\n".join(item.because for item in records[0].decision.findings)
    assert "RESERVE 100 USD: DAI 60, USDC 40" in said
    assert "cover cover-17" in said
    proposals = records[0].decision.proposals
    assert ("R21", "add", "RESERVE") in {item.key for item in proposals}
    assert records[1].is_heartbeat or records[1].decision.proposals

    policy = load_policy(settings.policy)
    found = await replay_recording(folder, policy=policy)
    assert found.differences == []
    assert found.records[0].decision.proposals == proposals

    # Blocks are replayed with what the configuration states now.
    number = records[0].decision.blocks[settings.chain.id]
    for each, is_stated in ((settings, True), (plain, False)):
        (again,) = [item async for item in replay_blocks(each, first=number, last=number, policy=policy)]
        told = "\n".join(item.because for item in again.decision.findings)
        assert ("RESERVE 100 USD" in told) is is_stated
        assert ("no reserve is stated" in told) is not is_stated
