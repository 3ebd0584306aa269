"""v3 and v4 positions over random ranges and swaps: amounts and fees are what the contracts really pay."""

import random

import pytest

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_v4 import V4Deployment, mint_v4, swap_v4, withdraw_v4
from bot.devnet.deployment import Deployment
from bot.watchers.pools import Pool
from bot.watchers.positions import V3PositionReader, V4PositionReader, read_positions

pytestmark = pytest.mark.devnet

MANAGER = Abi.load("NonfungiblePositionManager")
ERC20 = Abi.load("ERC20")
SWAP = Abi.load("SwapRouter")
NEVER = 2**40
MOST = 2**128 - 1
CASES = 25


async def _one(chain: JsonRpcReader, reader):
    (found,) = await read_positions(chain, [reader], block=await chain.head())
    if isinstance(found, Exception):
        raise found
    return found


async def _swap_v3(send, at: Deployment, dice: random.Random) -> None:
    """Sell WETH or USDC worth up to 20 million dollars."""
    usd = 10 ** dice.uniform(2, 7.3)
    sell, buy = (at.weth, at.usdc) if dice.random() < 0.5 else (at.usdc, at.weth)
    amount = int(usd / 2_940 * 10**18) if sell == at.weth else int(usd * 10**6)
    await send(at.trader, sell, ERC20.encode("approve", at.v3_router, amount))
    order = (sell, buy, 500, at.trader, NEVER, amount, 0, 0)
    await send(at.trader, at.v3_router, SWAP.encode("exactInputSingle", order))


async def _mint_v3(send, chain: JsonRpcReader, at: Deployment, pool: Pool, dice: random.Random) -> int:
    """Mint the trader a position of a random width anywhere within 3,000 ticks of the price."""
    (slot0,) = await chain.read([_slot0(pool)], block=await chain.head())
    middle = slot0[1] // 10 * 10
    lower = middle + 10 * dice.randint(-300, 300)
    ticks = (lower, lower + 10 * dice.randint(1, 400))
    pair = sorted((at.weth, at.usdc), key=lambda token: int(token, 16))
    caps = [(20 * 10**18) if token == at.weth else (60_000 * 10**6) for token in pair]
    for token in pair:
        await send(at.trader, token, ERC20.encode("approve", at.v3_position_manager, 2**255))
    order = (*pair, 500, *ticks, *caps, 0, 0, at.trader, NEVER)
    await send(at.trader, at.v3_position_manager, MANAGER.encode("mint", order))
    calls = [MANAGER.call("balanceOf", at.v3_position_manager, at.trader)]
    ((count,),) = await chain.read(calls, block=await chain.head())
    calls = [MANAGER.call("tokenOfOwnerByIndex", at.v3_position_manager, at.trader, count - 1)]
    ((token_id,),) = await chain.read(calls, block=await chain.head())
    return token_id


def _slot0(pool: Pool):
    return Abi.load("UniswapV3Pool").call("slot0", pool.address)


@pytest.mark.parametrize("seed", range(CASES))
async def test_v3(seed: int, chain: JsonRpcReader, at: Deployment, v3_pool: Pool, send) -> None:
    dice = random.Random(seed)
    token_id = await _mint_v3(send, chain, at, v3_pool, dice)
    for _ in range(dice.randint(1, 4)):
        await _swap_v3(send, at, dice)
    reader = V3PositionReader(token_id=token_id, pool=v3_pool, manager=at.v3_position_manager)
    found = await _one(chain, reader)
    manager = at.v3_position_manager
    leave = MANAGER.encode("decreaseLiquidity", (token_id, found.liquidity_raw, 0, 0, NEVER))
    paid = await chain.simulate(to=manager, data=leave, block=await chain.head(), sender=at.trader)
    base, quote = v3_pool.ordered(*MANAGER.decode("decreaseLiquidity", paid))
    # The contract rounds down once more than we do, by at most one raw unit.
    assert (found.units, found.quote_units) == (
        pytest.approx(base, abs=3e-18, rel=1e-12),
        pytest.approx(quote, abs=2e-6, rel=1e-12),
    )
    assert found.in_range == (base > 0 and quote > 0)
    balances = [ERC20.call("balanceOf", token, at.trader) for token in (at.weth, at.usdc)]
    before = await chain.read(balances, block=await chain.head())
    await send(at.trader, manager, MANAGER.encode("collect", (token_id, at.trader, MOST, MOST)))
    after = await chain.read(balances, block=await chain.head())
    got = [now[0] - then[0] for now, then in zip(after, before, strict=True)]
    assert (round(found.fees_units * 1e18), round(found.fees_quote * 1e6)) == (
        pytest.approx(got[0], rel=1e-12),
        pytest.approx(got[1], rel=1e-12),
    )


@pytest.mark.parametrize("seed", range(CASES // 5))
async def test_v4(
    seed: int, chain: JsonRpcReader, rpc: Rpc, at: Deployment, v4: V4Deployment, bench: Bench
) -> None:
    """Uncollected fees of v4 are counted here as v4-core does; a withdrawal of nothing pays them."""
    dice = random.Random(100 + seed)
    await rpc.request("anvil_setBalance", [at.trader, hex(10**24)])
    low = at.start_price_usd * dice.uniform(0.7, 1.02)
    token_id = await mint_v4(
        bench, v4, owner=at.trader, price_usd=at.start_price_usd, value_usd=50_000.0,
        range_usd=(min(low, at.start_price_usd * 0.98), at.start_price_usd * dice.uniform(1.02, 1.4)),
    )  # fmt: skip
    for _ in range(dice.randint(2, 5)):
        sell_eth = dice.random() < 0.5
        usd = 10 ** dice.uniform(3, 6.7)
        amount = int(usd / 2_940 * 10**18) if sell_eth else int(usd * 10**6)
        await swap_v4(bench, v4, sender=at.trader, sell_eth=sell_eth, amount_raw=amount)
    reader = V4PositionReader(token_id=token_id, pool=v4.pool, manager=v4.position_manager)
    found = await _one(chain, reader)
    assert found.fees > 0
    usdc = ERC20.call("balanceOf", at.usdc, at.trader)
    for liquidity in (0, found.liquidity_raw):
        ((before,),) = await chain.read([usdc], block=await chain.head())
        eth_before = int(await rpc.read("eth_getBalance", [at.trader, "latest"]), 16)
        await rpc.request("anvil_setNextBlockBaseFeePerGas", ["0x0"])
        await withdraw_v4(bench, v4, owner=at.trader, token_id=token_id, liquidity_raw=liquidity)
        ((after,),) = await chain.read([usdc], block=await chain.head())
        eth = (int(await rpc.read("eth_getBalance", [at.trader, "latest"]), 16) - eth_before) / 1e18
        units, quote = (
            (found.fees_units, found.fees_quote) if not liquidity else (found.units, found.quote_units)
        )
        assert (after - before) / 1e6 == pytest.approx(quote, abs=2e-6, rel=1e-12)
        assert eth == pytest.approx(units, abs=0.02, rel=1e-6)  # gas is paid in the same coin
