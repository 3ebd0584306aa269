"""Compound v3 against a reference Comet (S17, R21), and every reply that cannot be."""

import math
from dataclasses import replace
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from reference_contracts import deploy_comet, deploy_comet_feeds

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Metric, Observation
from bot.watchers.compound_v3 import COMET, CompoundV3Watcher
from bot.watchers.lending import Account, LendingToken
from bot.watchers.pools import ERC20

YEAR_S = 31_536_000


def _watcher(at: Deployment, comet: Contract, **changes: Any) -> CompoundV3Watcher:
    values = {
        "label": "comet",
        "comet": comet.address,
        "base": LendingToken(symbol="USDC", address=at.usdc, decimals=6),
        "accounts": (
            Account(label="mine", address=at.user),
            Account(label="lender", address=at.whale),
            Account(label="nobody", address=at.perp_maker),
        ),
        **changes,
    }
    return CompoundV3Watcher(**values)


async def _rows(chain: JsonRpcReader, watcher: CompoundV3Watcher) -> dict[tuple[Metric, str], Observation]:
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    return {(row.metric, row.subject): row for row in rows}


@pytest.fixture
async def feeds(bench: Bench) -> dict[str, Contract]:
    return await deploy_comet_feeds(bench)


@pytest.fixture
async def comet(bench: Bench, at: Deployment, feeds: dict[str, Contract]) -> Contract:
    return await deploy_comet(bench, at, feeds)


@pytest.mark.devnet
async def test_rates_and_health_by_hand(
    chain: JsonRpcReader, at: Deployment, comet: Contract, feeds: dict[str, Contract]
) -> None:
    """The rates of Compound's USDC market at 90 %; 10 x 3000 x 82.5 % / 15,000 = 1.65, 0.9625 at 1750."""
    watcher = _watcher(at, comet)
    found = {key: row.value for key, row in (await _rows(chain, watcher)).items()}
    market = "comet/USDC"
    per_second = 475_646_879e-18 + 0.8 * 1_109_842_719e-18 + 0.1 * 7_927_447_995e-18
    assert found[Metric.BORROW_APR, market] == pytest.approx(per_second * YEAR_S, rel=1e-8)
    assert found[Metric.UTILISATION, market] == 0.9
    assert found[Metric.IDLE_UNITS, market] == 1_000.0
    assert found[Metric.PAUSED, market] == 0.0
    assert 0 < found[Metric.SUPPLY_APR, market] < 0.09
    assert found[Metric.HEALTH_FACTOR, "mine"] == pytest.approx(1.65, rel=1e-12)
    assert found[Metric.HEALTH_FACTOR, "lender"] == 1e6
    now_s = (await chain.head()).timestamp_s
    await feeds["ETH"].send("setAnswer", 1_750 * 10**8, now_s)
    after = await _rows(chain, watcher)
    assert after[Metric.HEALTH_FACTOR, "mine"].value == pytest.approx(0.9625, rel=1e-12)
    assert await comet.call("isLiquidatable", at.user)
    assert "has no position" in after[Metric.HEALTH_FACTOR, "nobody"].why_unknown


@pytest.mark.devnet
async def test_pauses_that_count_are_configured(
    chain: JsonRpcReader, at: Deployment, comet: Contract
) -> None:
    await comet.send("pause", True, False, False, False, False)
    every, withdrawals = _watcher(at, comet), _watcher(at, comet, paused_actions=("withdraw",))
    assert (await _rows(chain, every))[Metric.PAUSED, "comet/USDC"].value == 1.0
    assert (await _rows(chain, withdrawals))[Metric.PAUSED, "comet/USDC"].value == 0.0


@pytest.mark.devnet
async def test_a_price_that_cannot_be_had_leaves_the_rates(
    chain: JsonRpcReader, at: Deployment, comet: Contract, feeds: dict[str, Contract]
) -> None:
    await feeds["ETH"].send("setAnswer", 0, (await chain.head()).timestamp_s)
    found = await _rows(chain, _watcher(at, comet))
    assert "price of feed" in found[Metric.HEALTH_FACTOR, "mine"].why_unknown
    assert found[Metric.UTILISATION, "comet/USDC"].value == 0.9


@pytest.mark.devnet
@pytest.mark.parametrize("place", ["user", "usdc", "v3_factory"])
async def test_another_contract_is_unknown(
    place: str, chain: JsonRpcReader, at: Deployment, comet: Contract
) -> None:
    found = await _rows(chain, replace(_watcher(at, comet), comet=getattr(at, place)))
    assert all(math.isnan(row.value) and row.why_unknown for row in found.values())


BASE, FEED, OTHER, ME = ("0x" + digits * 20 for digits in ("44", "55", "66", "77"))
ASSET = (0, OTHER, FEED, 10**18, 8 * 10**17, 825 * 10**15, 9 * 10**17, 10**30)
GOOD: dict[str, tuple | None] = {
    "token": (BASE,),
    "scale": (10**6,),
    "used": (9 * 10**17,),
    "supplied": (10**10,),
    "held": (10**9,),
    "supply": (10**9,),
    "borrow": (2 * 10**9,),
    "flag": (False,),
    "assets": (1,),
    "feed": (FEED,),
    "asset": (ASSET,),
    "price": (10**8,),
    "debt": (10**6,),
    "deposit": (0,),
    "liquidatable": (False,),
    "collateral": (2 * 10**18, 0),
}


async def _faked(**changes: tuple | None) -> dict[Metric, Observation]:
    used = {**GOOD, **changes}["used"] or (0,)
    calls = {
        "token": COMET.encode("baseToken"),
        "scale": COMET.encode("baseScale"),
        "used": COMET.encode("getUtilization"),
        "supplied": ERC20.encode("totalSupply"),
        "held": ERC20.encode("balanceOf", OTHER),
        "supply": COMET.encode("getSupplyRate", used[0]),
        "borrow": COMET.encode("getBorrowRate", used[0]),
        "flag": COMET.encode("isWithdrawPaused"),
        "assets": COMET.encode("numAssets"),
        "feed": COMET.encode("baseTokenPriceFeed"),
        "asset": COMET.encode("getAssetInfo", 0),
        "price": COMET.encode("getPrice", FEED),
        "debt": COMET.encode("borrowBalanceOf", ME),
        "deposit": COMET.encode("balanceOf", ME),
        "liquidatable": COMET.encode("isLiquidatable", ME),
        "collateral": COMET.encode("userCollateral", ME, OTHER),
    }
    chain = FakeChain({calls[name]: answer for name, answer in {**GOOD, **changes}.items()})
    watcher = CompoundV3Watcher(
        label="comet",
        comet=OTHER,
        base=LendingToken(symbol="USDC", address=BASE, decimals=6),
        accounts=(Account(label="mine", address=ME),),
        paused_actions=("withdraw",),
    )
    return {row.metric: row for row in await watcher.read(chain, block=BLOCK, read_at_s=0.0)}


async def test_the_made_up_market_is_whole() -> None:
    found = await _faked()
    assert found[Metric.HEALTH_FACTOR].value == pytest.approx(1.65)
    assert all(math.isfinite(row.value) for row in found.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"token": None}, "baseToken"),
        ({"token": (OTHER,)}, "configured are"),
        ({"scale": (10**18,)}, "configured are"),
        ({"used": None}, "getUtilization"),
        ({"supplied": (0,)}, "is empty"),
        ({"held": None}, "balance"),
        ({"supply": None}, "getSupplyRate"),
        ({"borrow": (2**64 - 1,)}, "allowed is 0..10"),
        ({"flag": None}, "pause flags"),
        ({"used": (2**255,)}, "of what is supplied"),
        ({"held": (2**256 - 1,)}, "no amount of a token"),
    ],
)
async def test_a_market_that_cannot_be_is_unknown(change: dict[str, tuple | None], words: str) -> None:
    for row in (await _faked(**change)).values():
        assert math.isnan(row.value)
        assert words in row.why_unknown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"assets": None}, "numAssets"),
        ({"feed": None}, "baseTokenPriceFeed"),
        ({"asset": None}, "asset 0"),
        ({"asset": ((*ASSET[:3], 0, *ASSET[4:]),)}, "must all be > 0"),
        ({"price": (0,)}, "must all be > 0"),
        ({"price": None}, "price of feed"),
        ({"debt": None}, "mine"),
        ({"collateral": None}, "mine"),
        ({"debt": (0,), "collateral": (0, 0)}, "has no position"),
        ({"liquidatable": (True,)}, "can be liquidated, yet"),
        ({"collateral": (10**18, 0)}, "cannot be liquidated, yet its health comes out as 0.825"),
    ],
)
async def test_a_health_that_cannot_be_is_unknown(change: dict[str, tuple | None], words: str) -> None:
    found = await _faked(**change)
    row = found.pop(Metric.HEALTH_FACTOR)
    assert math.isnan(row.value)
    assert words in row.why_unknown
    assert all(math.isfinite(other.value) for other in found.values())


@pytest.mark.parametrize(
    "fault", [{"highest_apr": -1.0}, {"paused_actions": ()}, {"paused_actions": ("borrow",)}]
)
def test_settings_are_checked_at_the_start(fault: dict[str, Any]) -> None:
    base = LendingToken(symbol="USDC", address=BASE, decimals=6)
    with pytest.raises(ConfigError, match="Compound comet"):
        CompoundV3Watcher(**{"label": "comet", "comet": OTHER, "base": base, **fault})
