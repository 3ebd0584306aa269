"""Aave v3 against the real market: rates, utilisation, pauses and health (S17, R21)."""

import math

import pytest
from fake_chain import BLOCK, FakeChain

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_aave import RAY, AaveMarket
from bot.devnet.deploy_bench import Bench
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Metric, Observation
from bot.watchers.aave_v3 import DATA, POOL, PROVIDER, VIRTUAL, AaveV3Watcher
from bot.watchers.lending import Account, LendingToken
from bot.watchers.pools import ERC20

WETH_RAW, USDC_RAW = 10 * 10**18, 15_000 * 10**6
ONE = "0x" + "01" * 20


def _watcher(aave: AaveMarket, at: Deployment, **changes) -> AaveV3Watcher:
    values = {
        "label": "aave",
        "addresses_provider": aave.provider.address,
        "reserves": (
            LendingToken(symbol="WETH", address=at.weth, decimals=18),
            LendingToken(symbol="USDC", address=at.usdc, decimals=6),
        ),
        "accounts": (
            Account(label="mine", address=at.trader),
            Account(label="lender", address=at.perp_maker),
            Account(label="nobody", address=ONE),
        ),
        **changes,
    }
    return AaveV3Watcher(**values)


async def _rows(chain: JsonRpcReader, watcher: AaveV3Watcher) -> dict[tuple[Metric, str], Observation]:
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    return {(row.metric, row.subject): row for row in rows}


async def _borrowed(aave: AaveMarket, at: Deployment, bench: Bench) -> None:
    """The perp maker lends 100,000 USDC; the trader borrows 15,000 against 10 WETH."""
    usdc = bench.at("TestERC20SetDecimals", at.usdc)
    await usdc.send("mint", at.perp_maker, 100_000 * 10**6)
    await aave.supply(usdc, 100_000 * 10**6, sender=at.perp_maker)
    await aave.supply(bench.at("WETH9", at.weth), WETH_RAW, sender=at.trader)
    await aave.borrow(at.usdc, USDC_RAW, sender=at.trader)


@pytest.mark.devnet
async def test_rates_utilisation_and_health_of_the_real_market(
    chain: JsonRpcReader, aave: AaveMarket, at: Deployment, bench: Bench
) -> None:
    """Health: 10 x 3000 x 82.5 % / 15,000 = 1.65, and 0.9625 at 1750. Rates by hand from the strategy."""
    await _borrowed(aave, at, bench)
    watcher = _watcher(aave, at)
    found = {key: row.value for key, row in (await _rows(chain, watcher)).items()}
    assert found[Metric.UTILISATION, "aave/USDC"] == pytest.approx(0.15, rel=1e-6)
    borrow_apr = 0.04 * 0.15 / 0.8  # slope 1 of the strategy, optimal usage 80 %
    assert found[Metric.BORROW_APR, "aave/USDC"] == pytest.approx(borrow_apr, rel=1e-5)
    assert found[Metric.SUPPLY_APR, "aave/USDC"] == pytest.approx(borrow_apr * 0.15, rel=1e-5)
    assert found[Metric.IDLE_UNITS, "aave/USDC"] == 85_000.0
    assert found[Metric.IDLE_UNITS, "aave/WETH"] == 10.0
    assert found[Metric.UTILISATION, "aave/WETH"] == 0.0
    assert found[Metric.PAUSED, "aave/USDC"] == 0.0
    assert found[Metric.HEALTH_FACTOR, "mine"] == pytest.approx(1.65, rel=1e-6)
    assert found[Metric.HEALTH_FACTOR, "lender"] == 1e6
    await aave.set_price(at.weth, 1_750.0)
    after = await _rows(chain, watcher)
    assert after[Metric.HEALTH_FACTOR, "mine"].value == pytest.approx(0.9625, rel=1e-6)
    nobody = after[Metric.HEALTH_FACTOR, "nobody"]
    assert math.isnan(nobody.value)
    assert "neither collateral nor debt" in nobody.why_unknown


@pytest.mark.devnet
async def test_a_pause_shows_and_an_exchanged_data_provider_is_found(
    chain: JsonRpcReader, aave: AaveMarket, at: Deployment, bench: Bench
) -> None:
    await _borrowed(aave, at, bench)
    watcher = _watcher(aave, at)
    await aave.configurator.send("setReservePause", at.usdc, True)
    other = await bench.deploy("AaveProtocolDataProvider", aave.provider.address)
    await aave.provider.send("setPoolDataProvider", other.address)
    found = {key: row.value for key, row in (await _rows(chain, watcher)).items()}
    assert (found[Metric.PAUSED, "aave/USDC"], found[Metric.PAUSED, "aave/WETH"]) == (1.0, 0.0)


@pytest.mark.devnet
async def test_what_is_no_reserve_is_unknown_and_stops_nothing_else(
    chain: JsonRpcReader, aave: AaveMarket, at: Deployment, bench: Bench
) -> None:
    await _borrowed(aave, at, bench)
    watcher = _watcher(
        aave,
        at,
        reserves=(
            LendingToken(symbol="sUSD", address=at.susd, decimals=18),
            LendingToken(symbol="USDC", address=at.usdc, decimals=18),
            LendingToken(symbol="WETH", address=at.weth, decimals=18),
        ),
    )
    found = await _rows(chain, watcher)
    assert "no reserve" in found[Metric.SUPPLY_APR, "aave/sUSD"].why_unknown
    assert "configured are 18" in found[Metric.IDLE_UNITS, "aave/USDC"].why_unknown
    assert found[Metric.IDLE_UNITS, "aave/WETH"].value == 10.0


@pytest.mark.devnet
@pytest.mark.parametrize("place", ["user", "v3_factory", "multicall3"])
async def test_another_contract_is_unknown(
    place: str, chain: JsonRpcReader, aave: AaveMarket, at: Deployment
) -> None:
    watcher = _watcher(aave, at, addresses_provider=getattr(at, place))
    for row in (await _rows(chain, watcher)).values():
        assert math.isnan(row.value)
        assert row.why_unknown


TOKEN = LendingToken(symbol="USDC", address="0x" + "44" * 20, decimals=6)
A_TOKEN, POOL_AT, DATA_AT = "0x" + "55" * 20, "0x" + "66" * 20, "0x" + "77" * 20
WORDS = (0, 0, 0, 0, 50 * 10**6, RAY // 100, RAY // 50, 0, 0, RAY, RAY, 1)
GOOD = {
    "pool": (POOL_AT,),
    "data": (DATA_AT,),
    "tokens": (A_TOKEN, A_TOKEN, A_TOKEN),
    "reserve": WORDS,
    "paused": (False,),
    "balance": (150 * 10**6,),
    "virtual": (50 * 10**6,),
    "decimals": (6,),
    "account": (2 * 10**8, 10**8, 0, 0, 0, 165 * 10**16),
}


async def _faked(**changes) -> dict[Metric, Observation]:
    calls = {
        "pool": PROVIDER.encode("getPool"),
        "data": PROVIDER.encode("getPoolDataProvider"),
        "tokens": DATA.encode("getReserveTokensAddresses", TOKEN.address),
        "reserve": DATA.encode("getReserveData", TOKEN.address),
        "paused": DATA.encode("getPaused", TOKEN.address),
        "balance": ERC20.encode("balanceOf", A_TOKEN),
        "virtual": VIRTUAL.encode("getVirtualUnderlyingBalance", TOKEN.address),
        "decimals": ERC20.encode("decimals"),
        "account": POOL.encode("getUserAccountData", ONE),
    }
    chain = FakeChain({calls[name]: answer for name, answer in {**GOOD, **changes}.items()})
    watcher = AaveV3Watcher(
        label="aave",
        addresses_provider="0x" + "88" * 20,
        reserves=(TOKEN,),
        accounts=(Account(label="mine", address=ONE),),
    )
    return {row.metric: row for row in await watcher.read(chain, block=BLOCK, read_at_s=0.0)}


async def test_from_v3_1_the_virtual_balance_is_what_can_be_withdrawn() -> None:
    """A donation to the aToken raises its balance, not what the reserve lends."""
    found = await _faked()
    assert found[Metric.IDLE_UNITS].value == 50.0
    assert found[Metric.UTILISATION].value == 0.5
    assert (await _faked(virtual=None))[Metric.IDLE_UNITS].value == 150.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pool": None}, "getPool of"),
        ({"data": None}, "getPoolDataProvider"),
        ({"data": ("0x" + "00" * 20,)}, "no pool or no data provider"),
        ({"tokens": None}, "getReserveTokensAddresses"),
        ({"tokens": ("0x" + "00" * 20,) * 3}, "is no reserve"),
        ({"reserve": None}, "getReserveData"),
        ({"reserve": (*WORDS[:9], 0, *WORDS[10:])}, "never listed"),
        ({"reserve": (*WORDS[:5], 11 * RAY, *WORDS[6:])}, "allowed is 0..10"),
        ({"reserve": (*WORDS[:6], 2**255, *WORDS[7:])}, "allowed is 0..10"),
        ({"paused": None}, "getPaused"),
        ({"balance": None}, "balance of the aToken"),
        ({"balance": (2**255,), "virtual": (2**255,)}, "no amount of a token"),
        ({"reserve": (*WORDS[:4], 2**255, *WORDS[5:])}, "no amount of a token"),
        ({"decimals": (18,)}, "configured are 6"),
        ({"decimals": None}, "decimals"),
    ],
)
async def test_a_reserve_that_cannot_be_is_unknown(change: dict[str, tuple | None], words: str) -> None:
    found = await _faked(**change)
    for metric, row in found.items():
        if metric is not Metric.HEALTH_FACTOR:
            assert math.isnan(row.value)
            assert words in row.why_unknown


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        ((30_000 * 10**8, 15_000 * 10**8, 0, 8_250, 0, 165 * 10**16), 1.65),
        ((30_000 * 10**8, 15_000 * 10**8, 0, 8_250, 0, 165_019 * 10**13), 1.65019),  # 82.5095 %, told as 82.5
        ((1, 3, 0, 8_250, 0, 333_333_333_333_333_333), 1 / 3),  # rounded up from 0.825 of the least unit
        ((0, 10**8, 0, 0, 0, 0), 0.0),  # bad debt
    ],
)
async def test_health_is_told_as_it_is(answer: tuple, health: float) -> None:
    assert (await _faked(account=answer))[Metric.HEALTH_FACTOR].value == pytest.approx(health)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "getUserAccountData"),
        ((0, 0, 0, 0, 0, 2**256 - 1), "neither collateral nor debt"),
        ((1, 1, 0, 0, 0, 2**256 - 1), "contradicts"),
        ((1, 0, 0, 0, 0, 5), "contradicts"),
        ((30_000 * 10**8, 15_000 * 10**8, 0, 8_250, 0, 10**30), "is not its collateral"),
        ((30_000 * 10**8, 15_000 * 10**8, 0, 8_250, 0, 0), "is not its collateral"),
        ((2**255, 10**8, 0, 0, 0, 2**255), "is not its collateral"),
    ],
)
async def test_a_health_that_cannot_be_is_unknown(answer: tuple | None, words: str) -> None:
    row = (await _faked(account=answer))[Metric.HEALTH_FACTOR]
    assert math.isnan(row.value)
    assert words in row.why_unknown


@pytest.mark.parametrize(
    "fault",
    [
        {"reserves": (), "accounts": ()},
        {"highest_apr": 0.0},
        {"highest_apr": math.nan},
        {"reserves": (TOKEN, TOKEN)},
        {"accounts": (Account(label="", address=ONE),)},
    ],
)
def test_settings_are_checked_at_the_start(fault: dict) -> None:
    arguments = {"label": "aave", "addresses_provider": ONE, "reserves": (TOKEN,)}
    with pytest.raises(ConfigError, match="Aave aave"):
        AaveV3Watcher(**{**arguments, **fault})
