"""The L2 sequencer's uptime: down, within its grace, unknown (REL-R12, REL-C9)."""

import math
from dataclasses import replace

import pytest
from engine.factory import calm_columns, classic, frame
from fake_chain import BLOCK, FakeChain

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import CHAIN_ID
from bot.engine.rules.hard_triggers import find_holds
from bot.errors import ConfigError
from bot.model.market import Observation, columns_from
from bot.watchers.chainlink import FEED
from bot.watchers.sequencer import SequencerWatcher

ADDRESS = "0x" + "44" * 20
NOW_S = BLOCK.timestamp_s


async def _read(latest: tuple | None, *, chain_id: int = BLOCK.chain_id) -> Observation:
    chain = FakeChain({FEED.encode("latestRoundData"): latest})
    watcher = SequencerWatcher(chain_id=chain_id, feed=ADDRESS)
    (row,) = await watcher.read(chain, block=BLOCK, read_at_s=0.0)
    assert row.key == watcher.series[0]
    return row


def _round(answer: int, started_at_s: int) -> tuple[int, int, int, int, int]:
    return (1, answer, started_at_s, started_at_s, 1)


@pytest.mark.parametrize(
    ("answer", "since_s", "value"),
    [(0, 3_601, 1.0), (0, 3_600, 0.0), (0, 1, 0.0), (0, 0, 0.0), (1, 1, 0.0), (1, 10**6, 0.0)],
)
async def test_up_counts_after_its_grace(answer: int, since_s: int, value: float) -> None:
    assert (await _read(_round(answer, NOW_S - since_s))).value == value


@pytest.mark.parametrize(
    ("latest", "words"),
    [
        (None, "failed or returned nothing"),
        (_round(0, 0), "changed at 0"),
        (_round(0, NOW_S + 1), "changed at"),
        (_round(2, NOW_S - 9_999), "answers 2"),
        (_round(-1, NOW_S - 9_999), "answers -1"),
        (_round(2_000 * 10**8, NOW_S - 9_999), "allowed are 0 (up) and 1 (down)"),
    ],
)
async def test_what_cannot_be_is_unknown(latest: tuple | None, words: str) -> None:
    row = await _read(latest)
    assert math.isnan(row.value)
    assert words in row.why_unknown


async def test_the_feed_of_another_chain_is_unknown() -> None:
    row = await _read(_round(0, 1), chain_id=42161)
    assert "is configured for chain 42161, read on 31337" in row.why_unknown


def test_a_negative_grace_is_refused() -> None:
    with pytest.raises(ConfigError, match="grace_s must be >= 0"):
        SequencerWatcher(chain_id=1, feed=ADDRESS, grace_s=-1.0)


@pytest.mark.devnet
async def test_c9_down_then_up_within_grace_holds_and_past_it_does_not(
    chain: JsonRpcReader, bench: Bench, send
) -> None:
    """REL-C9 on a chain: HOLD while down, HOLD within the grace, nothing to hold for after it."""
    feed = await bench.deploy_own("ChainlinkFeed", 0, "sequencer", 0)
    watcher = SequencerWatcher(chain_id=CHAIN_ID, feed=feed.address)
    assert "its grace" in await _hold(chain, watcher)  # just begun: within its grace
    await send.wait(3_700)
    assert await _hold(chain, watcher) == ""
    await _set(feed, chain, answer=1)
    assert "chain 31337 is down" in await _hold(chain, watcher)
    await send.wait(3_700)
    assert "chain 31337 is down" in await _hold(chain, watcher)
    await _set(feed, chain, answer=0)
    await send.wait(3_000)
    assert "up for less than its grace" in await _hold(chain, watcher)
    await send.wait(700)
    assert await _hold(chain, watcher) == ""
    gone = replace(watcher, feed=bench.accounts[1])
    assert "could not be read" in await _hold(chain, gone)


async def _set(feed: Contract, chain: JsonRpcReader, *, answer: int) -> None:
    await feed.send("setAnswer", answer, (await chain.head()).timestamp_s)


async def _hold(chain: JsonRpcReader, watcher: SequencerWatcher) -> str:
    """Return what the engine holds for when it sees this reading in an otherwise calm market."""
    block = await chain.head()
    rows = await watcher.read(chain, block=block, read_at_s=0.0)
    columns = calm_columns(block.timestamp_s) | columns_from(rows).series
    return "; ".join(find_holds(classic(), frame(columns, now_s=float(block.timestamp_s))))
