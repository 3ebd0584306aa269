"""Positions: amounts, value and fees against what the contracts would pay out."""

import math
from dataclasses import replace

import pytest
from eth_utils.crypto import keccak
from v4_builders import v4_pool

from bot.chain.abi import Abi, FixedCall
from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError, InvariantError, NotFoundError, TransientError
from bot.model.exposure import ExposureKind, LpShape
from bot.quant import lp
from bot.watchers.pools import V3_POOL, Pool, sqrt_ratio_x96
from bot.watchers.positions import V2PositionReader, V3PositionReader, V4PositionReader, find_positions
from bot.watchers.positions.reading import checked_value

pytestmark = pytest.mark.devnet

MANAGER = Abi.load("NonfungiblePositionManager")
ERC20 = Abi.load("ERC20")
PAIR = Abi.load("UniswapV2Pair")
ROUTER = Abi.load("UniswapV2Router02")
SWAP = Abi.load("SwapRouter")
EOA = "0x00000000000000000000000000000000000000aa"
NEVER = 2**40


@pytest.fixture
def reader(at: Deployment, v3_pool: Pool) -> V3PositionReader:
    return V3PositionReader(token_id=at.user_v3_token_id, pool=v3_pool, manager=at.v3_position_manager)


async def _swap(send, at: Deployment, pool: Pool, *, price: float) -> None:
    """Move the v3 pool to a price from either side by a swap that stops there."""
    raw = price / 1e12 if pool.base_is_token0 else 1e12 / price
    limit = sqrt_ratio_x96(round(math.log(raw) / math.log(1.0001)))
    amount = 100_000 * 10**18
    await send.give_weth(at.trader, at, amount)
    await send(at.trader, at.weth, ERC20.encode("approve", at.v3_router, amount))
    order = (at.weth, at.usdc, 500, at.trader, NEVER, amount, 0, limit)
    await send(at.trader, at.v3_router, SWAP.encode("exactInputSingle", order))


@pytest.mark.parametrize("price", [None, 2_000.0, 1_480.0, 1_000.0])
async def test_v3_amounts_are_what_a_withdrawal_pays(
    price: float | None, chain: JsonRpcReader, at: Deployment, reader: V3PositionReader, send
) -> None:
    """At the start, inside the range, near its lower end, and below it."""
    if price is not None:
        await _swap(send, at, reader.pool, price=price)
    block = await chain.head()
    (exposure,) = await reader.read(chain, block=block)
    (position,) = await chain.read(
        [MANAGER.call("positions", at.v3_position_manager, reader.token_id)], block=block
    )
    data = MANAGER.encode("decreaseLiquidity", (reader.token_id, position[7], 0, 0, NEVER))
    paid = await chain.simulate(to=at.v3_position_manager, data=data, block=block, sender=at.user)
    base, quote = reader.pool.ordered(*MANAGER.decode("decreaseLiquidity", paid))
    assert exposure.value_usd == pytest.approx(base * exposure.spot_usd + quote, rel=1e-9)
    units, stable = lp.amounts(exposure.shape, exposure.spot_usd)
    assert (float(units), float(stable)) == pytest.approx((base, quote), rel=1e-7, abs=1e-5)
    assert float(lp.delta(exposure.shape, exposure.spot_usd)) == pytest.approx(base, rel=1e-7, abs=1e-9)
    assert (exposure.id, exposure.kind) == (f"v3:{at.user_v3_token_id}", ExposureKind.UNISWAP_V3)
    assert (exposure.pool, exposure.group, exposure.chain_id) == ("v3:ETH/USDC", "ETH/USDC", 31337)


async def test_v3_fees_are_what_a_collect_pays(
    chain: JsonRpcReader, at: Deployment, reader: V3PositionReader, send
) -> None:
    """``tokensOwed`` of the position is still zero then, so it cannot be what is read."""
    await _swap(send, at, reader.pool, price=2_500.0)
    block = await chain.head()
    (exposure,) = await reader.read(chain, block=block)
    balances = [ERC20.call("balanceOf", token, at.user) for token in (at.weth, at.usdc)]
    owed, *before = await chain.read(
        [MANAGER.call("positions", at.v3_position_manager, reader.token_id), *balances], block=block
    )
    assert owed[10:12] == (0, 0)
    most = 2**128 - 1
    collect = MANAGER.encode("collect", (reader.token_id, at.user, most, most))
    await send(at.user, at.v3_position_manager, collect)
    after = await chain.read(balances, block=await chain.head())
    eth, usd = (now[0] - then[0] for now, then in zip(after, before, strict=True))
    assert exposure.fees_uncollected_usd > 1
    assert exposure.fees_uncollected_usd == pytest.approx(eth / 1e18 * exposure.spot_usd + usd / 1e6)
    (collected,) = await reader.read(chain, block=await chain.head())
    assert collected.fees_uncollected_usd == 0
    assert collected.value_usd == exposure.value_usd


async def test_v2_amounts_are_what_a_withdrawal_pays(
    chain: JsonRpcReader, at: Deployment, v2_pool: Pool, send
) -> None:
    (exposure,) = await V2PositionReader(holder=at.user, pool=v2_pool).read(chain, block=await chain.head())
    (held,) = await chain.read([PAIR.call("balanceOf", at.v2_pair, at.user)], block=await chain.head())
    await send(at.user, at.v2_pair, PAIR.encode("approve", at.v2_router, held[0]))
    leave = (at.weth, at.usdc, held[0], 0, 0, at.user, NEVER)
    data = ROUTER.encode("removeLiquidity", *leave)
    paid = await chain.simulate(to=at.v2_router, data=data, block=await chain.head(), sender=at.user)
    eth, usd = ROUTER.decode("removeLiquidity", paid)
    assert exposure.value_usd == pytest.approx(eth / 1e18 * exposure.spot_usd + usd / 1e6, rel=1e-6)
    units, stable = lp.amounts(exposure.shape, exposure.spot_usd)
    assert (float(units), float(stable)) == pytest.approx((eth / 1e18, usd / 1e6), rel=1e-6)
    assert (exposure.id, exposure.kind) == ("v2:ETH/USDC", ExposureKind.UNISWAP_V2)
    await send(at.user, at.v2_router, data)
    with pytest.raises(NotFoundError, match=f"{at.user} holds no liquidity of v2:ETH/USDC"):
        await V2PositionReader(holder=at.user, pool=v2_pool).read(chain, block=await chain.head())


async def test_an_emptied_and_a_burned_token_are_named(
    chain: JsonRpcReader, at: Deployment, reader: V3PositionReader, send
) -> None:
    (position,) = await chain.read(
        [MANAGER.call("positions", at.v3_position_manager, reader.token_id)], block=await chain.head()
    )
    most = 2**128 - 1
    manager = at.v3_position_manager
    leave = MANAGER.encode("decreaseLiquidity", (reader.token_id, position[7], 0, 0, NEVER))
    await send(at.user, manager, leave)
    with pytest.raises(NotFoundError, match=f"v3:{reader.token_id} holds no liquidity"):
        await reader.read(chain, block=await chain.head())
    await send(at.user, manager, MANAGER.encode("collect", (reader.token_id, at.user, most, most)))
    await send(at.user, manager, MANAGER.encode("burn", reader.token_id))
    with pytest.raises(NotFoundError, match=f"v3:{reader.token_id} does not exist"):
        await reader.read(chain, block=await chain.head())


async def test_a_token_of_another_pool_is_named(
    chain: JsonRpcReader, at: Deployment, reader: V3PositionReader, stable_pool: Pool
) -> None:
    with pytest.raises(NotFoundError, match=f"v3:{reader.token_id} is not in the pool v3:USDC/sUSD"):
        await replace(reader, pool=stable_pool).read(chain, block=await chain.head())


@pytest.mark.parametrize("wrong", ["account", "token", "pair"])
async def test_a_wrong_contract_is_a_matter_of_configuration(
    wrong: str, chain: JsonRpcReader, at: Deployment, reader: V3PositionReader, v2_pool: Pool
) -> None:
    """Without code, or proved to be another contract. One that has code and is mute may be back."""
    address = {"account": EOA, "token": at.usdc, "pair": at.v2_pair}[wrong]
    block = await chain.head()
    kind = TransientError if wrong == "token" else ConfigError
    words = {"account": "has no code", "token": "did not answer as", "pair": "is no pool of"}[wrong]
    v3 = replace(reader, pool=replace(reader.pool, address=address))
    with pytest.raises(kind, match=words):
        await v3.read(chain, block=block)
    if wrong != "pair":
        with pytest.raises(kind, match=words):
            await replace(reader, manager=address).read(chain, block=block)
        with pytest.raises(kind, match=words):
            await V2PositionReader(holder=at.user, pool=replace(v2_pool, address=address)).read(
                chain, block=block
            )
        with pytest.raises(kind, match=words):
            await find_positions(chain, block=block, wallet=at.user, v3_pools=[reader.pool], manager=address)
        bad = replace(v2_pool, address=EOA)
        with pytest.raises(ConfigError, match="has no code"):
            await find_positions(chain, block=block, wallet=at.user, v2_pools=[bad])


class Flaky:
    """The chain, whose named sub-call fails once in a while as one of a batch may."""

    def __init__(self, chain: JsonRpcReader, data: bytes) -> None:
        self._chain, self._data = chain, data

    def __getattr__(self, name: str):
        return getattr(self._chain, name)

    async def read(self, calls, *, block):
        rows = await self._chain.read(calls, block=block)
        return [None if call.data == self._data else row for call, row in zip(calls, rows, strict=True)]


@pytest.mark.parametrize("name", ["factory", "token0", "fee", "slot0", "positions", "ownerOf"])
async def test_a_sub_call_that_fails_once_never_ends_the_bot_nor_the_position(
    name: str, chain: JsonRpcReader, at: Deployment, reader: V3PositionReader
) -> None:
    of_token = name in ("positions", "ownerOf")
    data = MANAGER.encode(name, reader.token_id) if of_token else V3_POOL.encode(name)
    with pytest.raises(TransientError):
        await reader.read(Flaky(chain, data), block=await chain.head())
    assert await reader.read(chain, block=await chain.head())


@pytest.mark.parametrize("name", ["token1", "getReserves", "totalSupply", "balanceOf"])
async def test_a_sub_call_of_a_pair_that_fails_once_never_ends_the_bot(
    name: str, chain: JsonRpcReader, at: Deployment, v2_pool: Pool
) -> None:
    data = PAIR.encode(name, at.user) if name == "balanceOf" else PAIR.encode(name)
    pair = V2PositionReader(holder=at.user, pool=v2_pool)
    with pytest.raises(TransientError):
        await pair.read(Flaky(chain, data), block=await chain.head())
    assert await pair.read(chain, block=await chain.head())


async def test_a_pool_of_other_tokens_is_a_matter_of_configuration(
    chain: JsonRpcReader, at: Deployment, reader: V3PositionReader, v2_pool: Pool
) -> None:
    block = await chain.head()
    with pytest.raises(ConfigError, match=r"holds .* configured are"):
        await replace(reader, pool=replace(reader.pool, quote_token=at.susd)).read(chain, block=block)
    pool = replace(v2_pool, quote_token=at.susd)
    with pytest.raises(ConfigError, match=r"holds .* configured are"):
        await V2PositionReader(holder=at.user, pool=pool).read(chain, block=block)


@pytest.mark.parametrize("side", ["base_decimals", "quote_decimals"])
async def test_decimals_that_lie_are_a_matter_of_configuration(
    side: str, chain: JsonRpcReader, at: Deployment, reader: V3PositionReader, v2_pool: Pool
) -> None:
    block = await chain.head()
    with pytest.raises(ConfigError, match=rf"v3:ETH/USDC: {side} is 8 but the token says"):
        await replace(reader, pool=replace(reader.pool, **{side: 8})).read(chain, block=block)
    pair = V2PositionReader(holder=at.user, pool=replace(v2_pool, **{side: 8}))
    with pytest.raises(ConfigError, match=rf"v2:ETH/USDC: {side} is 8 but the token says"):
        await pair.read(chain, block=block)


async def test_a_wallet_is_searched(
    chain: JsonRpcReader, at: Deployment, v2_pool: Pool, v3_pool: Pool, stable_pool: Pool
) -> None:
    block = await chain.head()
    pools = {"v2_pools": [v2_pool], "manager": at.v3_position_manager}
    found = await find_positions(chain, block=block, wallet=at.user, v3_pools=[v3_pool], **pools)
    assert {item.id for item in found.exposures} == {f"v3:{at.user_v3_token_id}", "v2:ETH/USDC"}
    assert found.left_out == ()
    single = V3PositionReader(token_id=at.user_v3_token_id, pool=v3_pool, manager=at.v3_position_manager)
    (expected,) = await single.read(chain, block=block)
    (same,) = (item for item in found.exposures if item.kind is ExposureKind.UNISWAP_V3)
    assert (same.id, same.value_usd, same.shape) == (expected.id, expected.value_usd, expected.shape)
    whale = await find_positions(chain, block=block, wallet=at.whale, v3_pools=[v3_pool], **pools)
    assert f"v3:{at.whale_v3_token_id}" in {item.id for item in whale.exposures}
    assert all("not configured" in line for line in whale.left_out)
    nobody = await find_positions(chain, block=block, wallet=EOA, v3_pools=[v3_pool], **pools)
    assert (nobody.exposures, nobody.left_out) == ((), ())


def test_a_curve_that_is_worth_something_else_is_a_bug(v3_pool: Pool) -> None:
    shape = LpShape(liquidity=1_000.0)
    held = tuple(float(item) for item in lp.amounts(shape, 2_000.0))
    assert checked_value("v3:1", v3_pool, shape, 2_000.0, held) == pytest.approx(2_000 * math.sqrt(2_000))
    with pytest.raises(InvariantError, match="v3:1: its curve is worth"):
        checked_value("v3:1", v3_pool, shape, 2_000.0, (held[0] * 1.001, held[1]))


def test_what_never_changes_costs_nothing_per_block(v3_pool: Pool, v2_pool: Pool, at: Deployment) -> None:
    """A reader asks FixedCalls once per run: only what a block can change is asked at every one."""
    v3 = V3PositionReader(token_id=1, pool=v3_pool, manager=at.v3_position_manager)
    v2 = V2PositionReader(holder=at.user, pool=v2_pool)
    v4 = V4PositionReader(token_id=1, pool=v4_pool(quote_token=at.usdc), manager=at.v4_position_manager)
    changing = [
        [call.data[:4].hex() for call in item.calls if not isinstance(call, FixedCall)]
        for item in (v3, v2, v4)
    ]
    names = (
        ["positions(uint256)", "ownerOf(uint256)", "fee()", "slot0()"],
        ["getReserves()", "totalSupply()", "balanceOf(address)"],
        [
            "getPoolAndPositionInfo(uint256)",
            "getPositionLiquidity(uint256)",
            "ownerOf(uint256)",
            "getSlot0(bytes32)",
        ],
    )
    assert changing == [[keccak(text=name)[:4].hex() for name in group] for group in names]
