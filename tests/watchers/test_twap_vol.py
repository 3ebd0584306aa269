"""Realised vol from a v3 pool's own observations (S11)."""

import math
from typing import Any

import numpy as np
import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import Deployment
from bot.devnet.moves.wire import Ledger, Tx
from bot.errors import ConfigError
from bot.model.market import Observation
from bot.model.units import YEAR_S
from bot.quant.volatility import window_mean_vol
from bot.watchers.pools import ERC20, V3_POOL, Pool, sqrt_ratio_x96
from bot.watchers.twap_vol import TwapVolWatcher

ROUTER = Abi.load("SwapRouter")
SIGMA, WINDOW_S, WINDOWS, STEPS = 0.8, 3_600, 24, 8  # the path moves STEPS times in each window
NEVER = 2**40


@pytest.mark.devnet
async def test_vol_of_a_known_path_on_the_real_pool(
    chain: JsonRpcReader, rpc: Rpc, at: Deployment, v3_pool: Pool, send: Any
) -> None:
    """A random walk of 80 % a year, made by swaps.

    The estimate must equal the estimator on the path's own means, and lie within three of its standard
    deviations of 80 %: 23 squares correlated by 1/16 spread the variance by sqrt(2.25 / 23) = 31 %, so the
    vol by 16 %.
    """
    watcher = TwapVolWatcher(pool=v3_pool, window_s=WINDOW_S, windows=WINDOWS)
    ticks = await _walk(chain, rpc, at, v3_pool, send)
    (row,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    means = np.array(ticks).reshape(WINDOWS, STEPS).mean(axis=1) * math.log(1.0001)
    assert row.value == pytest.approx(window_mean_vol(means, window_s=WINDOW_S), rel=1e-9)
    assert row.value == pytest.approx(SIGMA, rel=3 * 0.16)
    assert row.key == watcher.series[0]


async def _walk(chain: JsonRpcReader, rpc: Rpc, at: Deployment, pool: Pool, send: Any) -> list[int]:
    """Move the pool from tick to tick by swaps with a price limit; return the ticks."""
    for token in (at.weth, at.usdc):
        await send(at.trader, token, ERC20.encode("approve", at.v3_router, 2**255))
    ((_, tick, *_),) = await chain.read([V3_POOL.call("slot0", pool.address)], block=await chain.head())
    sd = SIGMA * math.sqrt(WINDOW_S / STEPS / YEAR_S) / math.log(1.0001)
    path = tick + np.cumsum(np.random.default_rng(7).normal(0.0, sd, WINDOWS * STEPS)).round().astype(int)
    async with Ledger(rpc) as ledger:
        for target in path.tolist():
            swaps = [] if target == tick else [_swap(at, down=target < tick, limit=_inside(target))]
            await ledger.mine(swaps, at_s=ledger.head_s + WINDOW_S // STEPS, base_fee_wei=10**9)
            tick = target
        await ledger.mine([], at_s=ledger.head_s + WINDOW_S // STEPS, base_fee_wei=10**9)
        await ledger.check()
    ((_, found, *_),) = await chain.read([V3_POOL.call("slot0", pool.address)], block=await chain.head())
    assert found == tick
    return path.tolist()


def _inside(tick: int) -> int:
    """Return a price between this tick and the next, clear of how the contract rounds."""
    return sqrt_ratio_x96(tick) * 100_002 // 100_000


def _swap(at: Deployment, *, down: bool, limit: int) -> Tx:
    tokens = sorted((at.weth, at.usdc), key=lambda token: int(token, 16))
    token_in, token_out = tokens if down else tokens[::-1]
    data = ROUTER.encode("exactInputSingle", (token_in, token_out, 500, at.trader, NEVER, 2**120, 0, limit))
    return Tx(purpose="a step", sender=at.trader, to=at.v3_router, data="0x" + data.hex(), gas=1_000_000)


@pytest.mark.devnet
async def test_a_pool_that_does_not_remember_or_does_not_trade_is_unknown(
    chain: JsonRpcReader, v3_pool: Pool, send: Any
) -> None:
    """The devnet's pool is four hours old: it does not know 24; in the next 24 nobody trades."""
    watcher = TwapVolWatcher(pool=v3_pool)
    (young,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert math.isnan(young.value)
    assert "does not remember" in young.why_unknown
    await send.wait(30 * 3_600)
    (still,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert math.isnan(still.value)
    assert "nobody trades there" in still.why_unknown


POOL = Pool(
    label="v3:ETH/USDC", address="0x" + "11" * 20, base="ETH", quote="USDC", base_token="0x" + "22" * 20,
    quote_token="0x" + "33" * 20, base_decimals=18, quote_decimals=6,
)  # fmt: skip


async def _faked(sums: Any) -> Observation:
    watcher = TwapVolWatcher(pool=POOL, window_s=60, windows=3)
    token0, token1 = POOL.token_calls
    chain = FakeChain(
        {
            token0.data: (POOL.base_token,),
            token1.data: (POOL.quote_token,),
            V3_POOL.encode("observe", [180, 120, 60, 0]): sums,
        }
    )
    (row,) = await watcher.read(chain, block=BLOCK, read_at_s=0.0)
    return row


async def test_golden_number() -> None:
    """Mean ticks 0, 10, -10: variance 1.5 (10^2 + 20^2) / 2 = 375 ticks^2 a minute."""
    row = await _faked(((5, 5, 605, 5), (0, 0, 0, 0)))
    per_year = 375 * math.log(1.0001) ** 2 * YEAR_S / 60
    assert row.value == pytest.approx(math.sqrt(per_year), rel=1e-12)


@pytest.mark.parametrize(
    ("sums", "words"),
    [
        (None, "does not remember"),
        (((), ()), "gave 0 sums"),
        (((1, 2, 3), (0, 0, 0)), "gave 3 sums"),
        (((0, 0, 0, 0), (0,) * 4), "nobody trades there"),
        (((0, 600, 1_200, 1_800), (0,) * 4), "nobody trades there"),
        (((0, 60 * 887_273, 0, 0), (0,) * 4), "the most is 887272"),
        (((0, 2**55 - 1, -(2**55), 0), (0,) * 4), "the most is 887272"),
        (((0, 60 * 800_000, 0, 60 * 800_000), (0,) * 4), "allowed is up to 20"),
    ],
)
async def test_what_cannot_be_is_unknown(sums: Any, words: str) -> None:
    row = await _faked(sums)
    assert math.isnan(row.value)
    assert words in row.why_unknown


@given(st.lists(st.integers(-(2**55), 2**55 - 1), min_size=4, max_size=4))
async def test_any_answer_gives_a_plausible_vol_or_a_reason(sums: list[int]) -> None:
    row = await _faked((tuple(sums), (0,) * 4))
    assert 0 < row.value <= 20 if math.isfinite(row.value) else row.why_unknown


async def test_another_pool_is_unknown() -> None:
    (row,) = await TwapVolWatcher(pool=POOL).read(FakeChain({}), block=BLOCK, read_at_s=0.0)
    assert "token0" in row.why_unknown


@pytest.mark.parametrize("fault", [{"window_s": 0}, {"windows": 2}, {"highest_vol": math.inf}])
def test_settings_are_checked_at_the_start(fault: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="twap_vol v3:ETH/USDC"):
        TwapVolWatcher(**{"pool": POOL, **fault})
