"""The v2 watcher against the pair itself and against what a real swap does (S1-S4)."""

import math

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Metric
from bot.watchers.pools import Pool
from bot.watchers.uniswap_v2 import UniswapV2Watcher

PAIR = Abi.load("UniswapV2Pair")
ERC20 = Abi.load("ERC20")
ROUTER = Abi.load("UniswapV2Router02")


async def _values(chain: JsonRpcReader, pool: Pool) -> dict[Metric, float]:
    rows = await UniswapV2Watcher(pool=pool).read(chain, block=await chain.head(), read_at_s=0.0)
    return {row.metric: row.value for row in rows}


@pytest.mark.devnet
async def test_numbers_of_the_pair(chain: JsonRpcReader, v2_pool: Pool, at: Deployment) -> None:
    found = await _values(chain, v2_pool)
    weth, usdc, supply = await chain.read(
        [
            ERC20.call("balanceOf", at.weth, at.v2_pair),
            ERC20.call("balanceOf", at.usdc, at.v2_pair),
            PAIR.call("totalSupply", at.v2_pair),
        ],
        block=await chain.head(),
    )
    eth, usd = weth[0] / 1e18, usdc[0] / 1e6
    assert found[Metric.POOL_PRICE_USD] == pytest.approx(usd / eth, rel=1e-12)
    assert found[Metric.POOL_PRICE_USD] == pytest.approx(at.start_price_usd, rel=1e-3)
    assert found[Metric.POOL_QUOTE_USD] == pytest.approx(usd, rel=1e-12)
    assert found[Metric.POOL_LIQUIDITY] == pytest.approx(supply[0] / 1e12, rel=1e-12)
    assert found[Metric.POOL_LIQUIDITY] == pytest.approx((eth * usd) ** 0.5, rel=1e-3)


@pytest.mark.devnet
async def test_depth_is_what_a_real_swap_needs(
    chain: JsonRpcReader, v2_pool: Pool, at: Deployment, send
) -> None:
    """Buying with POOL_DEPTH_USD moves the price by 2 %."""
    before = await _values(chain, v2_pool)
    amount = round(before[Metric.POOL_DEPTH_USD] * 1e6)
    await send(at.deployer, at.usdc, bytes.fromhex("40c10f19") + _words(at.trader, amount))  # mint
    await send(at.trader, at.usdc, ERC20.encode("approve", at.v2_router, amount))
    swap = (amount, 0, [at.usdc, at.weth], at.trader, 2**40)
    await send(at.trader, at.v2_router, ROUTER.encode("swapExactTokensForTokens", *swap))
    after = await _values(chain, v2_pool)
    moved = after[Metric.POOL_PRICE_USD] / before[Metric.POOL_PRICE_USD]
    assert moved == pytest.approx(1.02, rel=1e-9)
    assert after[Metric.POOL_LIQUIDITY] == before[Metric.POOL_LIQUIDITY], "a price move is no outflow"


@pytest.mark.devnet
async def test_quote_near_is_what_a_fall_of_2_percent_pays_out(
    chain: JsonRpcReader, v2_pool: Pool, at: Deployment, send
) -> None:
    before = await _values(chain, v2_pool)
    eth = before[Metric.POOL_QUOTE_USD] / before[Metric.POOL_PRICE_USD]
    # Without the fee, eth (1 / sqrt 0.98 - 1) come in; the fee is put on top and stays in the pair.
    amount = int(eth * (0.98**-0.5 - 1) / 0.997 * 1e18)
    await send(at.trader, at.weth, ERC20.encode("approve", at.v2_router, amount))
    swap = (amount, 0, [at.weth, at.usdc], at.trader, 2**40)
    await send(at.trader, at.v2_router, ROUTER.encode("swapExactTokensForTokens", *swap))
    after = await _values(chain, v2_pool)
    paid = before[Metric.POOL_QUOTE_USD] - after[Metric.POOL_QUOTE_USD]
    assert before[Metric.POOL_QUOTE_NEAR_USD] == pytest.approx(paid, rel=1e-6)


@pytest.mark.devnet
async def test_a_withdrawal_shows_in_liquidity_and_not_in_price(
    chain: JsonRpcReader, v2_pool: Pool, at: Deployment, send
) -> None:
    """S1 reads flow only."""
    before = await _values(chain, v2_pool)
    (held,) = await chain.read([PAIR.call("balanceOf", at.v2_pair, at.whale)], block=await chain.head())
    half = held[0] // 2
    await send(at.whale, at.v2_pair, PAIR.encode("approve", at.v2_router, half))
    leave = (at.weth, at.usdc, half, 0, 0, at.whale, 2**40)
    await send(at.whale, at.v2_router, ROUTER.encode("removeLiquidity", *leave))
    after = await _values(chain, v2_pool)
    left = 1 - half / 1e12 / before[Metric.POOL_LIQUIDITY]
    assert after[Metric.POOL_LIQUIDITY] / before[Metric.POOL_LIQUIDITY] == pytest.approx(left, rel=1e-9)
    assert after[Metric.POOL_PRICE_USD] == pytest.approx(before[Metric.POOL_PRICE_USD], rel=1e-9)


@pytest.mark.parametrize("reserves", [(0, 0, 0), (10**18, 0, 0), (0, 10**6, 0)])
async def test_an_empty_pair_has_no_price(pool: Pool, reserves: tuple[int, int, int]) -> None:
    tokens = sorted((pool.base_token, pool.quote_token))
    chain = FakeChain(
        {
            PAIR.encode("token0"): (tokens[0],),
            PAIR.encode("token1"): (tokens[1],),
            PAIR.encode("getReserves"): reserves,
            PAIR.encode("totalSupply"): (1_000,),
        },
        decimals=_decimals(pool),
    )
    rows = await UniswapV2Watcher(pool=pool).read(chain, block=BLOCK, read_at_s=0.0)
    assert all("v2:ETH/USDC is empty" in row.why_unknown for row in rows)


async def test_a_pair_of_other_tokens_is_refused(pool: Pool) -> None:
    other = "0x" + "77" * 20
    chain = FakeChain(
        {
            PAIR.encode("token0"): (pool.base_token,),
            PAIR.encode("token1"): (other,),
            PAIR.encode("getReserves"): (1, 1, 0),
            PAIR.encode("totalSupply"): (1_000,),
        }
    )
    rows = await UniswapV2Watcher(pool=pool).read(chain, block=BLOCK, read_at_s=0.0)
    assert all(other in row.why_unknown for row in rows)


@pytest.mark.parametrize("lies", ["base", "quote"])
async def test_decimals_that_lie_are_refused(pool: Pool, lies: str) -> None:
    """Else the price would be off by a power of ten."""
    token = pool.base_token if lies == "base" else pool.quote_token
    tokens = sorted((pool.base_token, pool.quote_token))
    answers: dict[bytes, tuple[object, ...] | None] = {
        PAIR.encode("token0"): (tokens[0],),
        PAIR.encode("token1"): (tokens[1],),
        PAIR.encode("getReserves"): (10**18, 2_000 * 10**6, 0),
        PAIR.encode("totalSupply"): (10**12,),
    }
    for decimals in ({token: 8}, {}):
        chain = FakeChain(answers, decimals={**_decimals(pool), **decimals} if decimals else {})
        rows = await UniswapV2Watcher(pool=pool).read(chain, block=BLOCK, read_at_s=0.0)
        assert all(math.isnan(row.value) and "decimals" in row.why_unknown for row in rows)


async def test_a_supply_that_no_pair_can_have_is_unknown(pool: Pool) -> None:
    tokens = sorted((pool.base_token, pool.quote_token))
    answers: dict[bytes, tuple[object, ...] | None] = {
        PAIR.encode("token0"): (tokens[0],),
        PAIR.encode("token1"): (tokens[1],),
        PAIR.encode("getReserves"): (10**18, 2_000 * 10**6, 0),
        PAIR.encode("totalSupply"): (2**256 - 1,),
    }
    chain = FakeChain(answers, decimals=_decimals(pool))
    rows = await UniswapV2Watcher(pool=pool).read(chain, block=BLOCK, read_at_s=0.0)
    assert all("no amount of a token" in row.why_unknown for row in rows)


def _decimals(pool: Pool) -> dict[str, int]:
    return {pool.base_token: pool.base_decimals, pool.quote_token: pool.quote_decimals}


@pytest.fixture
def pool() -> Pool:
    return Pool(
        label="v2:ETH/USDC",
        address="0x" + "33" * 20,
        base="ETH",
        quote="USDC",
        base_token="0x" + "11" * 20,
        quote_token="0x" + "22" * 20,
        base_decimals=18,
        quote_decimals=6,
    )


def _words(address: str, amount: int) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:]) + amount.to_bytes(32, "big")


_word = st.one_of(st.none(), st.sampled_from([0, 1, 2**112 - 1]), st.integers(0, 2**112 - 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reserve0=_word, reserve1=_word, supply=_word, tokens=st.sampled_from(["right", "other", "none"]))
async def test_what_makes_no_sense_is_unknown_and_never_zero(
    pool: Pool, reserve0: int | None, reserve1: int | None, supply: int | None, tokens: str
) -> None:
    """REL-R7: every row is a number above zero or NaN with a reason: all or none, a pair being one thing."""
    token0, token1 = sorted((pool.base_token, pool.quote_token))
    answers: dict[bytes, tuple[object, ...] | None] = {
        PAIR.encode("token0"): {"right": (token0,), "other": ("0x" + "77" * 20,), "none": None}[tokens],
        PAIR.encode("token1"): (token1,),
        PAIR.encode("getReserves"): None if None in (reserve0, reserve1) else (reserve0, reserve1, 0),
        PAIR.encode("totalSupply"): None if supply is None else (supply,),
    }
    chain = FakeChain(answers, decimals=_decimals(pool))
    rows = await UniswapV2Watcher(pool=pool).read(chain, block=BLOCK, read_at_s=0.0)
    assert tuple(row.key for row in rows) == UniswapV2Watcher(pool=pool).series
    if tokens == "right" and reserve0 and reserve1 and supply:
        assert all(row.value > 0 for row in rows)
    else:
        assert all(math.isnan(row.value) and row.why_unknown for row in rows)


@pytest.mark.parametrize("fee", [-0.1, 1.0, 30.0, float("nan")])
def test_a_fee_is_a_fraction(pool: Pool, fee: float) -> None:
    with pytest.raises(ConfigError, match="fee must be a fraction"):
        UniswapV2Watcher(pool=pool, fee=fee)


def test_a_fork_is_told_apart_by_its_name(pool: Pool) -> None:
    assert UniswapV2Watcher(pool=pool, protocol="sushi").name == "sushi v2:ETH/USDC"
