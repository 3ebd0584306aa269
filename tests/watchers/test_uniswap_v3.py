"""The v3 watcher against simulated swaps (QuoterV2), balances and positions (S1-S5)."""

import math

import pytest
from fake_chain import BLOCK, FakeChain

from bot.chain.abi import Abi
from bot.chain.lens import Lens, Lenses, Way
from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError, TransientError
from bot.model.market import Block, Metric, Observation
from bot.watchers.pools import V3_POOL, Pool, sqrt_ratio_x96
from bot.watchers.rows import Unknown
from bot.watchers.ticks import Ladder, read_ladder
from bot.watchers.uniswap_v3 import UniswapV3StableWatcher, UniswapV3Watcher, twap_price

ERC20 = Abi.load("ERC20")
QUOTER = Abi.load("QuoterV2")
MANAGER = Abi.load("NonfungiblePositionManager")
EOA = "0x00000000000000000000000000000000000000aa"


async def _rows(chain: JsonRpcReader, pool: Pool, at: Deployment) -> list[Observation]:
    watcher = UniswapV3Watcher(pool=pool, tick_lens=at.v3_tick_lens)
    return await watcher.read(chain, block=await chain.head(), read_at_s=0.0)


class WithoutLens:
    """A reader whose node can run no lens."""

    def __init__(self, chain: JsonRpcReader) -> None:
        self._chain = chain

    async def run_lens(self, lens: Lens, data: bytes, *, block: Block) -> bytes | None:
        return None

    def __getattr__(self, name: str) -> object:
        return getattr(self._chain, name)


async def _values(chain: JsonRpcReader, pool: Pool, at: Deployment) -> dict[Metric, float]:
    return {row.metric: row.value for row in await _rows(chain, pool, at)}


async def _quote(
    chain: JsonRpcReader, at: Deployment, token_in: str, token_out: str, amount: int
) -> tuple[int, int]:
    """Return (amount out, sqrtPriceX96 after) of a simulated exact-input swap."""
    data = QUOTER.encode("quoteExactInputSingle", (token_in, token_out, amount, 500, 0))
    found = await chain.simulate(to=at.v3_quoter, data=data, block=await chain.head(), sender=EOA)
    amount_out, sqrt_price, _, _ = QUOTER.decode("quoteExactInputSingle", found)
    return amount_out, sqrt_price


@pytest.mark.devnet
async def test_price_and_reserves(chain: JsonRpcReader, v3_pool: Pool, at: Deployment) -> None:
    found = await _values(chain, v3_pool, at)
    usdc, small = await chain.read(
        [ERC20.call("balanceOf", at.usdc, at.v3_pool), V3_POOL.call("slot0", at.v3_pool)],
        block=await chain.head(),
    )
    raw = (small[0] / 2**96) ** 2
    expected = raw * 1e12 if v3_pool.base_is_token0 else 1e12 / raw
    assert found[Metric.POOL_PRICE_USD] == pytest.approx(expected, rel=1e-12)
    assert found[Metric.POOL_PRICE_USD] == pytest.approx(at.start_price_usd, rel=1e-3)
    assert found[Metric.POOL_QUOTE_USD] == pytest.approx(usdc[0] / 1e6, rel=1e-6)


@pytest.mark.devnet
async def test_liquidity_is_that_of_all_positions(
    chain: JsonRpcReader, v3_pool: Pool, at: Deployment
) -> None:
    """Summed over the NFTs, which is another way to it."""
    block = await chain.head()
    (count,) = await chain.read([MANAGER.call("totalSupply", at.v3_position_manager)], block=block)
    positions = await chain.read(
        [MANAGER.call("positions", at.v3_position_manager, item + 1) for item in range(count[0])],
        block=block,
    )
    tokens = {at.weth.lower(), at.usdc.lower()}
    total = sum(found[7] for found in positions if {found[2], found[3]} == tokens)
    found = await _values(chain, v3_pool, at)
    assert found[Metric.POOL_LIQUIDITY] == pytest.approx(total / 1e12, rel=1e-12)


@pytest.mark.devnet
async def test_depth_moves_the_price_by_2_percent(
    chain: JsonRpcReader, v3_pool: Pool, at: Deployment
) -> None:
    """By the pool's own simulation; the other direction moves it by less than 2 %."""
    found = await _values(chain, v3_pool, at)
    price, depth = found[Metric.POOL_PRICE_USD], found[Metric.POOL_DEPTH_USD]
    _, up = await _quote(chain, at, at.usdc, at.weth, round(depth * 1e6))
    _, down = await _quote(chain, at, at.weth, at.usdc, round(depth / price * 1e18))
    moves = sorted((v3_pool.price_from_sqrt(up) / price - 1, 1 - v3_pool.price_from_sqrt(down) / price))
    assert moves[1] == pytest.approx(0.02, rel=1e-6)
    assert 0.019 < moves[0] <= 0.02


@pytest.mark.devnet
@pytest.mark.parametrize("fall", [0.0, 0.45, 0.85])
async def test_quote_near_is_what_a_fall_of_2_percent_pays_out(
    fall: float, chain: JsonRpcReader, v3_pool: Pool, at: Deployment, send
) -> None:
    """Inside, near the lower end of, and below the user's range, so that ticks are crossed."""
    if fall:
        await _push_price_down(chain, at, send, v3_pool, fall)
    found = await _values(chain, v3_pool, at)
    price = found[Metric.POOL_PRICE_USD]
    low, high = 0.0, 1e6
    for _ in range(60):  # the amount that moves the price by exactly 2 %
        middle = (low + high) / 2
        paid, after = await _quote(chain, at, at.weth, at.usdc, round(middle * 1e18))
        low, high = (middle, high) if v3_pool.price_from_sqrt(after) > 0.98 * price else (low, middle)
    assert found[Metric.POOL_QUOTE_NEAR_USD] == pytest.approx(paid / 1e6, rel=1e-6)


@pytest.mark.devnet
async def test_liquidity_does_not_follow_the_price_but_withdrawals(
    chain: JsonRpcReader, v3_pool: Pool, at: Deployment, send
) -> None:
    """S1: the user's position goes out of range and still counts; the whale's leaves and does not."""
    before = await _values(chain, v3_pool, at)
    await _push_price_down(chain, at, send, v3_pool, 0.6)
    fallen = await _values(chain, v3_pool, at)
    assert fallen[Metric.POOL_PRICE_USD] < 0.41 * before[Metric.POOL_PRICE_USD]
    assert fallen[Metric.POOL_LIQUIDITY] == before[Metric.POOL_LIQUIDITY]
    assert fallen[Metric.POOL_QUOTE_USD] < before[Metric.POOL_QUOTE_USD]
    (position,) = await chain.read(
        [MANAGER.call("positions", at.v3_position_manager, at.whale_v3_token_id)], block=await chain.head()
    )
    half = position[7] // 2
    await send(
        at.whale,
        at.v3_position_manager,
        MANAGER.encode("decreaseLiquidity", (at.whale_v3_token_id, half, 0, 0, 2**40)),
    )
    left = await _values(chain, v3_pool, at)
    gone = before[Metric.POOL_LIQUIDITY] - left[Metric.POOL_LIQUIDITY]
    assert gone == pytest.approx(half / 1e12, rel=1e-9)


@pytest.mark.devnet
async def test_twap_is_the_mean_over_the_window(
    chain: JsonRpcReader, v3_pool: Pool, at: Deployment, send
) -> None:
    """A third of the window at the old price and two thirds at the new one: the geometric mean."""
    await send.wait(1_800)
    old = (await _values(chain, v3_pool, at))[Metric.POOL_PRICE_USD]
    await _push_price_down(chain, at, send, v3_pool, 0.2)
    start = await chain.head()
    new = (await _values(chain, v3_pool, at))[Metric.POOL_PRICE_USD]
    await send.wait(1_200 - 1)
    elapsed = (await chain.head()).timestamp_s - start.timestamp_s
    assert elapsed == 1_199
    rows = await _rows(chain, v3_pool, at)
    twap = next(row for row in rows if row.metric is Metric.PRICE_USD)
    expected = math.exp((math.log(old) * (1_800 - elapsed) + math.log(new) * elapsed) / 1_800)
    assert twap.value == pytest.approx(expected, rel=1.5e-4), "the mean tick is rounded down"
    assert (twap.subject, twap.source) == ("ETH", "twap:v3:ETH/USDC")


@pytest.mark.devnet
async def test_a_pool_that_does_not_remember_has_no_twap(
    chain: JsonRpcReader, v3_pool: Pool, at: Deployment
) -> None:
    """``observe`` reverts with OLD; all else is known."""
    watcher = UniswapV3Watcher(pool=v3_pool, tick_lens=at.v3_tick_lens, twap_s=10**9)
    *pool_rows, twap = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert all(math.isfinite(row.value) for row in pool_rows)
    assert math.isnan(twap.value)
    assert "does not remember 1000000000 s" in twap.why_unknown


@pytest.mark.devnet
async def test_without_its_ticks_only_the_prices_are_known(
    chain: JsonRpcReader, v3_pool: Pool, at: Deployment
) -> None:
    watcher = UniswapV3Watcher(pool=v3_pool, tick_lens=EOA)
    rows = await watcher.read(WithoutLens(chain), block=await chain.head(), read_at_s=0.0)
    known = {row.metric for row in rows if math.isfinite(row.value)}
    assert known == {Metric.POOL_PRICE_USD, Metric.PRICE_USD}
    assert all("TickLens" in row.why_unknown for row in rows if row.metric not in known)


@pytest.mark.devnet
async def test_stable_pool_prices_the_stable(
    chain: JsonRpcReader, stable_pool: Pool, at: Deployment, send
) -> None:
    """Selling sUSD into the pool brings its price under 1 USDC, and the TWAP follows in time."""
    watcher = UniswapV3StableWatcher(pool=stable_pool)
    spot, twap = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert spot.value == pytest.approx(1.0, abs=2e-3)
    assert twap.value == pytest.approx(1.0, abs=2e-3)
    assert (twap.metric, twap.subject, twap.source) == (Metric.PRICE_USD, "sUSD", "twap:v3:USDC/sUSD")
    amount = 10**6 * 10**18
    await send(at.deployer, at.susd, _mint(at.trader, amount))
    await send(at.trader, at.susd, ERC20.encode("approve", at.v3_router, amount))
    swap = (at.susd, at.usdc, at.stable_pool_fee, at.trader, 2**40, amount, 0, 0)
    await send(at.trader, at.v3_router, Abi.load("SwapRouter").encode("exactInputSingle", swap))
    fallen, unmoved = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert fallen.value < spot.value
    assert unmoved.value == pytest.approx(twap.value, abs=2e-4)
    await send.wait(1_800)
    _, followed = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert followed.value == pytest.approx(fallen.value, abs=1.1e-4)


def _fake_pool(*, base_is_token0: bool) -> Pool:
    low, high = "0x" + "11" * 20, "0x" + "22" * 20
    return Pool(
        label="v3:ETH/USDC",
        address="0x" + "33" * 20,
        base="ETH",
        quote="USDC",
        base_token=low if base_is_token0 else high,
        quote_token=high if base_is_token0 else low,
        base_decimals=18,
        quote_decimals=18,
    )


def test_mean_tick_is_rounded_down() -> None:
    pool = _fake_pool(base_is_token0=True)
    assert twap_price(pool, ([0, -1], [0, 0]), 1_800) == pool.price_from_tick(-1)
    assert twap_price(pool, ([0, 1], [0, 0]), 1_800) == pool.price_from_tick(0)
    assert isinstance(twap_price(pool, None, 1_800), Unknown)


@pytest.mark.parametrize("base_is_token0", [True, False])
def test_ladder_of_two_positions_by_hand(base_is_token0: bool) -> None:
    """L = 100 over 0..200 and L = 50 over 100..300 at price 1.0001^150: both pay on the way down."""
    pool = _fake_pool(base_is_token0=base_is_token0)
    turn = 1 if base_is_token0 else -1
    raw = 10**18
    ticks = [(0, 100, 100), (100, 50, 50), (200, -100, 100), (300, -50, 50)]
    placed = sorted((turn * at, turn * net * raw, gross * raw) for at, net, gross in ticks)
    ladder = Ladder(pool=pool, ticks=placed)
    root = {at: 1.0001 ** (at / 2) for at in (0, 100, 150, 200, 300)}
    price = root[150] ** 2
    assert ladder.total_liquidity == pytest.approx(150)
    expected = 100 * (root[150] - root[0]) + 50 * (root[150] - root[100])
    assert ladder.quote_below(price, floor=0.0) == pytest.approx(expected)
    near = 150 * (root[150] - root[100]) + 100 * (root[100] - root[0])
    assert ladder.quote_below(price, floor=price * 0.98) == pytest.approx(near), "nothing lies below tick 0"
    bought = 150 * (root[200] - root[150]) + 50 * (root[300] - root[200])
    sold = price * (150 * (1 / root[100] - 1 / root[150]) + 100 * (1 / root[0] - 1 / root[100]))
    assert ladder.depth_usd(price, fee=0.01) == pytest.approx(min(bought, sold) / 0.99)


def test_ladder_that_does_not_add_up_is_refused() -> None:
    ladder = Ladder(pool=_fake_pool(base_is_token0=True), ticks=[(0, 100, 100), (200, -100, 100)])
    ladder.check(tick=50, in_range=100)
    ladder.check(tick=200, in_range=0)
    for tick, in_range in ((50, 99), (250, 100), (-1, 100)):
        with pytest.raises(TransientError, match="add up"):
            ladder.check(tick=tick, in_range=in_range)
    with pytest.raises(TransientError, match="add up"):
        Ladder(pool=ladder.pool, ticks=[(0, 100, 100)]).check(tick=50, in_range=100)


@pytest.mark.parametrize("gross", [99, 101])
def test_a_tick_that_cannot_be_is_refused(gross: int) -> None:
    """Gross liquidity that no positions make would be POOL_LIQUIDITY without a word."""
    ladder = Ladder(pool=_fake_pool(base_is_token0=True), ticks=[(0, 100, gross), (200, -100, 100)])
    with pytest.raises(TransientError, match=f"tick 0 has liquidity {gross} in all and 100 net"):
        ladder.check(tick=50, in_range=100)


async def test_a_pool_that_was_never_initialised_is_unknown() -> None:
    pool = _fake_pool(base_is_token0=True)
    chain = FakeChain(
        {
            V3_POOL.encode("token0"): (pool.base_token,),
            V3_POOL.encode("token1"): (pool.quote_token,),
            V3_POOL.encode("slot0"): (0, 0, 0, 0, 0, 0, False),
        },
        decimals=_decimals(pool),
    )
    watcher = UniswapV3Watcher(pool=pool, tick_lens=EOA)
    rows = await watcher.read(chain, block=BLOCK, read_at_s=0.0)
    assert len(rows) == 6
    assert all("is not initialised" in row.why_unknown for row in rows)


async def _push_price_down(chain: JsonRpcReader, at: Deployment, send, pool: Pool, fall: float) -> None:
    """Sell ETH to a price limit, so that the price lands there whatever the liquidity."""
    target = (await _values(chain, pool, at))[Metric.POOL_PRICE_USD] * (1 - fall)
    raw = target / 1e12 if pool.base_is_token0 else 1e12 / target
    limit = sqrt_ratio_x96(round(math.log(raw) / math.log(1.0001)))
    amount = 100_000 * 10**18
    await send.give_weth(at.trader, at, amount)
    await send(at.trader, at.weth, ERC20.encode("approve", at.v3_router, amount))
    swap = (at.weth, at.usdc, 500, at.trader, 2**40, amount, 0, limit)
    await send(at.trader, at.v3_router, Abi.load("SwapRouter").encode("exactInputSingle", swap))


def _mint(to: str, amount: int) -> bytes:
    return bytes.fromhex("40c10f19") + bytes(12) + bytes.fromhex(to[2:]) + amount.to_bytes(32, "big")


@pytest.mark.devnet
@pytest.mark.parametrize("way", [Way.OVERRIDE, Way.DEPLOYLESS])
async def test_ticks_by_a_lens_are_those_of_tick_lens(
    chain: JsonRpcReader, v3_pool: Pool, stable_pool: Pool, at: Deployment, way: Way
) -> None:
    block = await chain.head()
    lens = OnlyLens(chain, way)
    for pool in (v3_pool, stable_pool):
        (spacing,) = (await chain.read([V3_POOL.call("tickSpacing", pool.address)], block=block))[0]
        one = await read_ladder(lens, pool, EOA, block=block, tick_spacing=spacing)
        other = await read_ladder(
            WithoutLens(chain), pool, at.v3_tick_lens, block=block, tick_spacing=spacing
        )
        assert one == other
        assert len(one.ticks) >= 2


class OnlyLens:
    """A reader that runs lenses in one way and can read nothing else."""

    def __init__(self, chain: JsonRpcReader, way: Way) -> None:
        self._lenses = Lenses(chain.eth_call, way=way)

    async def run_lens(self, lens: Lens, data: bytes, *, block: Block) -> bytes | None:
        return await self._lenses.run(lens, data, block=block)


@pytest.mark.parametrize(
    ("slot0", "observed", "fee", "reason"),
    [
        ((2**96, 900_000), ([0, 1_800],), 500, "no such price"),
        ((5, 0), ([0, 1_800],), 500, "no such price"),
        ((2**160 - 1, 0), ([0, 1_800],), 500, "no such price"),
        ((2**96, 7), ([0, 1_800],), 500, "does not lie at tick 7"),
        ((2**96, 0), ([0, 1_800],), 1_000_000, "says that its fee is 1000000 millionths"),
    ],
)
async def test_a_pool_whose_numbers_cannot_be_is_unknown(
    slot0: tuple[int, int], observed: tuple[list[int]], fee: int, reason: str
) -> None:
    pool = Pool(
        label="v3:ETH/USDC",
        address="0x" + "33" * 20,
        base="ETH",
        quote="USDC",
        base_token="0x" + "11" * 20,
        quote_token="0x" + "22" * 20,
        base_decimals=18,
        quote_decimals=6,
    )
    chain = FakeChain(
        {
            V3_POOL.encode("token0"): (pool.base_token,),
            V3_POOL.encode("token1"): (pool.quote_token,),
            V3_POOL.encode("slot0"): (*slot0, 0, 1, 1, 0, True),
            V3_POOL.encode("liquidity"): (10**18,),
            V3_POOL.encode("tickSpacing"): (10,),
            V3_POOL.encode("fee"): (fee,),
            V3_POOL.encode("observe", [1_800, 0]): observed,
        },
        decimals=_decimals(pool),
    )
    rows = await UniswapV3Watcher(pool=pool, tick_lens=EOA).read(chain, block=BLOCK, read_at_s=0.0)
    assert all(math.isnan(row.value) and reason in row.why_unknown for row in rows)


@pytest.mark.parametrize("lies", ["base", "quote"])
async def test_decimals_that_lie_are_refused(lies: str) -> None:
    """Else both the spot price and PRICE_USD would be off by a power of ten."""
    pool = _fake_pool(base_is_token0=True)
    token = pool.base_token if lies == "base" else pool.quote_token
    chain = FakeChain(
        {
            V3_POOL.encode("token0"): (pool.base_token,),
            V3_POOL.encode("token1"): (pool.quote_token,),
            V3_POOL.encode("slot0"): (2**96, 0, 0, 1, 1, 0, True),
            V3_POOL.encode("liquidity"): (10**18,),
            V3_POOL.encode("tickSpacing"): (10,),
            V3_POOL.encode("fee"): (500,),
            V3_POOL.encode("observe", [1_800, 0]): ([0, 0], [0, 0]),
        },
        decimals={**_decimals(pool), token: 6},
    )
    watchers = (UniswapV3Watcher(pool=pool, tick_lens=EOA), UniswapV3StableWatcher(pool=pool))
    for watcher in watchers:
        for row in await watcher.read(chain, block=BLOCK, read_at_s=0.0):
            assert math.isnan(row.value)
            assert "has 6 decimals, configured are 18" in row.why_unknown


def _decimals(pool: Pool) -> dict[str, int]:
    return {pool.base_token: pool.base_decimals, pool.quote_token: pool.quote_decimals}


@pytest.mark.parametrize("answer", [[0], [0, 1, 2], [0, 1_800 * 900_000], [1_800 * 10**9, 0]])
def test_an_absurd_twap_is_unknown(answer: list[int]) -> None:
    low, high = "0x" + "11" * 20, "0x" + "22" * 20
    pool = Pool(
        label="v3", address=low, base="ETH", quote="USDC", base_token=low, quote_token=high,
        base_decimals=18, quote_decimals=6,
    )  # fmt: skip
    assert isinstance(twap_price(pool, (answer,), 1_800), Unknown)
    with pytest.raises(ConfigError, match="twap_s must be"):
        UniswapV3StableWatcher(pool=pool, twap_s=0)
