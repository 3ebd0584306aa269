"""The feed watcher: fresh, late, impossible (REL-R12)."""

import math

import pytest
from eth_utils.crypto import keccak
from fake_chain import BLOCK, FakeChain

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Metric, Observation, SeriesKey
from bot.watchers.chainlink import ChainlinkRateWatcher, ChainlinkWatcher

FEED = Abi.load("AggregatorV3Interface")
ADDRESS = "0x" + "44" * 20
NOW_S = BLOCK.timestamp_s


async def _read(
    answer: int = 2_000 * 10**8, *, updated_at_s: int = NOW_S, decimals: int = 8, round_id: int = 9, **extra
) -> Observation:
    chain = FakeChain(
        {
            FEED.encode("latestRoundData"): (round_id, answer, updated_at_s, updated_at_s, round_id),
            FEED.encode("decimals"): (decimals,),
        }
    )
    watcher = ChainlinkWatcher(label="ETH/USD", underlying="ETH", address=ADDRESS, heartbeat_s=3_600, **extra)
    (row,) = await watcher.read(chain, block=BLOCK, read_at_s=1.0)
    return row


async def test_a_fresh_answer_is_the_price_now() -> None:
    row = await _read(updated_at_s=NOW_S - 3_000)
    assert (row.value, row.observed_at_s) == (2_000.0, NOW_S)
    assert (row.subject, row.source) == ("ETH", "chainlink:ETH/USD")


async def test_a_round_may_be_a_tenth_late_and_no_more() -> None:
    assert (await _read(updated_at_s=NOW_S - 3_960)).value == 2_000.0
    late = await _read(updated_at_s=NOW_S - 3_961)
    assert math.isnan(late.value)
    assert late.why_unknown == "feed ETH/USD is stale: 3961 s old, heartbeat 3600 s"


@pytest.mark.parametrize("answer", [0, -1, -(2**255), 2**255 - 1])
async def test_an_answer_that_is_no_price_is_unknown(answer: int) -> None:
    row = await _read(answer)
    assert math.isnan(row.value)
    assert "allowed is 0.0..1000000000000.0" in row.why_unknown


@pytest.mark.parametrize("price", [100, 10_000])
async def test_an_answer_at_its_own_bound_is_unknown(price: int) -> None:
    """Feeds stick at minAnswer and maxAnswer while the market goes on (Venus and LUNA)."""
    row = await _read(price * 10**8, lowest_usd=100.0, highest_usd=10_000.0)
    assert math.isnan(row.value)


@pytest.mark.parametrize(
    "fault", [{"updated_at_s": 0}, {"updated_at_s": NOW_S + 1}, {"round_id": 0}, {"decimals": 18}]
)
async def test_a_round_that_cannot_be_is_unknown(fault: dict[str, int]) -> None:
    row = await _read(**fault)
    assert math.isnan(row.value)
    assert row.why_unknown.startswith("feed ETH/USD")


@pytest.mark.parametrize(
    "fault",
    [{"heartbeat_s": 0}, {"lowest_usd": -1.0}, {"lowest_usd": 5.0, "highest_usd": 5.0}],
)
def test_bounds_are_checked_at_the_start(fault: dict[str, float]) -> None:
    arguments = {"label": "ETH/USD", "underlying": "ETH", "address": ADDRESS, "heartbeat_s": 3_600}
    with pytest.raises(ConfigError, match="feed ETH/USD"):
        ChainlinkWatcher(**{**arguments, **fault})


@pytest.mark.parametrize(
    ("answer", "decimals", "value"),
    [(998 * 10**15, 18, 0.998), (998 * 10**15, 8, math.nan), (2 * 10**18, 18, math.nan), (0, 18, math.nan)],
)
async def test_a_rate_of_one_token_in_another(answer: int, decimals: int, value: float) -> None:
    """stETH/ETH: 18 decimals, and a subject of both tokens, so that nothing takes it for dollars."""
    latest = (9, answer, NOW_S - 50, NOW_S - 50, 9)
    chain = FakeChain({FEED.encode("latestRoundData"): latest, FEED.encode("decimals"): (decimals,)})
    watcher = ChainlinkRateWatcher(
        label="stETH/ETH", token="stETH", unit="ETH", address=ADDRESS, heartbeat_s=86_400, highest=1.5
    )
    (row,) = await watcher.read(chain, block=BLOCK, read_at_s=1.0)
    assert row.value == pytest.approx(value, nan_ok=True)
    assert (row.why_unknown == "") is math.isfinite(value)
    assert watcher.series == (SeriesKey(Metric.EXCHANGE_RATE, "stETH/ETH", "chainlink:stETH/ETH"),)
    assert row.key == watcher.series[0]


@pytest.mark.devnet
async def test_on_the_real_feed(chain: JsonRpcReader, at: Deployment, send) -> None:
    watcher = ChainlinkWatcher(label="ETH/USD", underlying="ETH", address=at.feed_eth_usd, heartbeat_s=3_600)
    now_s = (await chain.head()).timestamp_s
    await send(at.deployer, at.feed_eth_usd, set_answer(123_450_000_000, now_s))
    (row,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert row.value == 1_234.5
    await send.wait(4_000)
    (row,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert "is stale" in row.why_unknown


def set_answer(answer: int, updated_at_s: int) -> bytes:
    words = answer.to_bytes(32, "big") + updated_at_s.to_bytes(32, "big")
    return keccak(text="setAnswer(int256,uint256)")[:4] + words
