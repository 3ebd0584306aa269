"""Funding of Synthetix v3 perpetuals, against a reference market (S10)."""

import math
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from reference_contracts import deploy_reference

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Observation
from bot.watchers.synthetix_v3 import PERPS, SynthetixV3Watcher

WAD = 10**18


def _watcher(address: str, **changes: Any) -> SynthetixV3Watcher:
    values = {"underlying": "ETH", "perps_market": address, "market_id": 100, "symbol": "ETH", **changes}
    return SynthetixV3Watcher(**values)


async def _row(chain: Any, watcher: SynthetixV3Watcher) -> Observation:
    (row,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert row.key == watcher.series[0]
    return row


@pytest.fixture
async def perps(bench: Bench) -> Contract:
    """A market whose rate moves by up to 9 a day, a day; skew scale 1,000 ETH."""
    found = await deploy_reference(bench, "SynthetixPerpsMarket")
    await found.send("create", 100, "Ethereum", "ETH", 1_000 * WAD, 9 * WAD)
    return found


@pytest.mark.devnet
@pytest.mark.parametrize("skew", [100, -100])
async def test_the_rate_drifts_with_the_skew_and_longs_pay_when_positive(
    skew: int, chain: JsonRpcReader, perps: Contract, send: Any
) -> None:
    """A skew of a tenth is a velocity of 0.9 a day^2: after a tenth of a day 0.09 a day, 32.85 a year."""
    await perps.send("trade", 100, skew * WAD, 500 * WAD)
    await send.wait(8_640)
    row = await _row(chain, _watcher(perps.address))
    assert row.value == pytest.approx(math.copysign(0.09 * 365, skew), rel=1e-9)


@pytest.mark.devnet
async def test_a_market_that_does_not_exist_or_is_left_is_unknown(
    chain: JsonRpcReader, perps: Contract, at: Deployment
) -> None:
    """The real proxy answers zeros for it, which would read as calm."""
    row = await _row(chain, _watcher(perps.address, market_id=7))
    assert "calls itself '', configured is 'ETH'" in row.why_unknown
    row = await _row(chain, _watcher(perps.address))
    assert "nobody holds a position" in row.why_unknown
    for address in (at.user, at.usdc):
        row = await _row(chain, _watcher(address))
        assert math.isnan(row.value)
        assert "metadata" in row.why_unknown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metadata": None}, "metadata"),
        ({"metadata": ("Ether", "sETH")}, "calls itself 'sETH'"),
        ({"metadata": ("x", "A" * 10**6)}, "calls itself 'AAAA"),
        ({"size": None}, "size"),
        ({"size": (0,)}, "nobody holds a position"),
        ({"currentFundingRate": None}, "currentFundingRate"),
        ({"currentFundingRate": (WAD,)}, "allowed is up to 50"),
        ({"currentFundingRate": (-(2**255),)}, "allowed is up to 50"),
    ],
)
async def test_what_cannot_be_is_unknown(change: dict[str, tuple | None], words: str) -> None:
    answers = {"metadata": ("Ether", "ETH"), "size": (1,), "currentFundingRate": (WAD // 100,), **change}
    chain = FakeChain({PERPS.encode(name, 100): answer for name, answer in answers.items()})
    row = await _row(chain, _watcher("0x" + "11" * 20))
    assert math.isnan(row.value)
    assert words in row.why_unknown
    assert len(row.why_unknown) < 200
    assert row.observed_at_s == BLOCK.timestamp_s


@pytest.mark.parametrize("fault", [{"symbol": ""}, {"market_id": -1}, {"highest_apr": 0.0}])
def test_settings_are_checked_at_the_start(fault: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Synthetix v3 ETH"):
        _watcher("0x" + "11" * 20, **fault)
