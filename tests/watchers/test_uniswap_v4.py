"""The v4 watcher against the contracts' own answers, over random ticks and swaps (S1-S4)."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from v4_builders import MANAGER, VIEW, v4_pool

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_v4 import V4Deployment, mint_v4, swap_v4, withdraw_v4
from bot.devnet.deployment import Deployment
from bot.errors import TransientError
from bot.model.market import Metric, Observation
from bot.watchers.pools import ERC20, amounts_for_liquidity, sqrt_ratio_x96
from bot.watchers.uniswap_v4 import Slot0, UniswapV4Watcher, V4Pool, read_ladder, swap_fee
from bot.watchers.v4_pools import DYNAMIC_FEE, STATE_VIEW, words

POSITIONS = Abi.load("PositionManager")
OTHER = "0x" + "11" * 20


async def _rows(chain: JsonRpcReader, pool: V4Pool) -> dict[Metric, Observation]:
    found = await UniswapV4Watcher(pool=pool).read(chain, block=await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in found) == UniswapV4Watcher(pool=pool).series
    return {row.metric: row for row in found}


async def _values(chain: JsonRpcReader, pool: V4Pool) -> dict[Metric, float]:
    return {metric: row.value for metric, row in (await _rows(chain, pool)).items()}


# -- against the real contracts -------------------------------------------------------------------------


@pytest.mark.devnet
async def test_storage_and_state_view_say_the_same(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench, at: Deployment
) -> None:
    """extsload without a StateView gives the very rows that the StateView gives, after swaps too."""
    bare = replace(v4.pool, state_view=None)
    for sell_eth, amount in ((True, 700 * 10**18), (False, 10**12), (False, 4 * 10**12)):
        assert await _rows(chain, v4.pool) == await _rows(chain, bare)
        await swap_v4(bench, v4, sender=at.trader, sell_eth=sell_eth, amount_raw=amount)
    assert await _rows(chain, v4.pool) == await _rows(chain, bare)


@pytest.mark.devnet
async def test_values_of_the_fresh_pool(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench, at: Deployment
) -> None:
    """One pool and no fees left in it, so here the manager's balance is the pool's reserve."""
    for owner, token_id in ((at.user, v4.user_token_id), (at.whale, v4.whale_token_id)):
        await withdraw_v4(bench, v4, owner=owner, token_id=token_id, liquidity_raw=0)
    found = await _values(chain, v4.pool)
    block = await chain.head()
    usdc, *positions = await chain.read(
        [
            ERC20.call("balanceOf", at.usdc, v4.manager),
            *(
                POSITIONS.call("getPositionLiquidity", v4.position_manager, token_id)
                for token_id in (v4.user_token_id, v4.whale_token_id)
            ),
        ],
        block=block,
    )
    assert found[Metric.POOL_PRICE_USD] == pytest.approx(at.start_price_usd, rel=1e-9)
    assert found[Metric.POOL_QUOTE_USD] == pytest.approx(usdc[0] / 1e6, rel=1e-6)
    total = sum(position[0] for position in positions)
    assert found[Metric.POOL_LIQUIDITY] == pytest.approx(total / 1e12, rel=1e-12)
    assert 0 < found[Metric.POOL_QUOTE_NEAR_USD] < found[Metric.POOL_QUOTE_USD]


@pytest.mark.devnet
async def test_depth_moves_the_price_by_2_percent(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench, at: Deployment
) -> None:
    """By real swaps of that size, both ways from the same state."""
    before = await _values(chain, v4.pool)
    price, depth = before[Metric.POOL_PRICE_USD], before[Metric.POOL_DEPTH_USD]
    moves = []
    for sell_eth, amount in ((True, round(depth / price * 10**18)), (False, round(depth * 10**6))):
        snapshot = await bench.rpc.request("evm_snapshot")
        await swap_v4(bench, v4, sender=at.trader, sell_eth=sell_eth, amount_raw=amount)
        after = (await _values(chain, v4.pool))[Metric.POOL_PRICE_USD]
        moves.append(abs(after / price - 1))
        await bench.rpc.request("evm_revert", [snapshot])
    assert max(moves) == pytest.approx(0.02, rel=1e-6)
    assert min(moves) > 0.019


@pytest.mark.devnet
async def test_quote_near_is_what_a_fall_of_2_percent_pays_out(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench, at: Deployment
) -> None:
    before = await _values(chain, v4.pool)
    limit = math.isqrt(int(before[Metric.POOL_PRICE_USD] * 0.98 * 1e6 * 2**64) * 2**128 // 10**18)
    held = await bench.at("TestERC20SetDecimals", at.usdc).call("balanceOf", at.trader)
    await swap_v4(bench, v4, sender=at.trader, sell_eth=True, amount_raw=9_000 * 10**18, limit=limit)
    paid = await bench.at("TestERC20SetDecimals", at.usdc).call("balanceOf", at.trader) - held
    assert before[Metric.POOL_QUOTE_NEAR_USD] == pytest.approx(paid / 1e6, rel=1e-6)


@pytest.mark.devnet
async def test_liquidity_follows_withdrawals_and_not_the_price(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench, at: Deployment
) -> None:
    """S1: out of range the user's position still counts; half of the whale's leaves and does not."""
    before = await _values(chain, v4.pool)
    await swap_v4(
        bench, v4, sender=at.trader, sell_eth=True, amount_raw=9_000 * 10**18, limit=_limit(1_000.0)
    )
    fallen = await _values(chain, v4.pool)
    assert fallen[Metric.POOL_PRICE_USD] == pytest.approx(1_000.0, rel=1e-3)
    assert fallen[Metric.POOL_LIQUIDITY] == before[Metric.POOL_LIQUIDITY]
    half = await bench.at("PositionManager", v4.position_manager).call(
        "getPositionLiquidity", v4.whale_token_id
    )
    half //= 2
    await withdraw_v4(bench, v4, owner=at.whale, token_id=v4.whale_token_id, liquidity_raw=half)
    left = await _values(chain, v4.pool)
    gone = before[Metric.POOL_LIQUIDITY] - left[Metric.POOL_LIQUIDITY]
    assert gone == pytest.approx(half / 1e12, rel=1e-9)


@pytest.mark.devnet
async def test_random_positions_and_swaps_agree_with_the_contracts(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench, at: Deployment
) -> None:
    """Price against tick, ladder against the manager's liquidity, and StateView's ticks, at random places."""
    place = random.Random(4)
    for _ in range(6):
        low, high = sorted(place.uniform(900, 9_000) for _ in range(2))
        price = (await _values(chain, v4.pool))[Metric.POOL_PRICE_USD]
        if low * 1.02 < price < high / 1.02:
            await mint_v4(bench, v4, owner=at.whale, price_usd=price, value_usd=10**5, range_usd=(low, high))
        target = place.uniform(700, 12_000)
        await _push(bench, v4, at, price=price, target=target)
        block = await chain.head()
        found = await _values(chain, v4.pool)
        assert all(math.isfinite(value) for value in found.values())
        ladder = await read_ladder(chain, v4.pool, block=block)
        pool_id = v4.pool.pool_id
        ticks = await chain.read(
            [
                STATE_VIEW.call("getTickLiquidity", v4.state_view, pool_id, tick)
                for tick, _, _ in ladder.ticks
            ],
            block=block,
        )
        assert [(net, gross) for _, net, gross in ladder.ticks] == [(net, gross) for gross, net in ticks]


@pytest.mark.devnet
async def test_initialised_at_random_ticks_price_and_tick_are_the_contracts(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench
) -> None:
    """Over the whole range of ticks; each pool differs by its spacing, so each is a pool of its own."""
    place = random.Random(5)
    manager = bench.at("PoolManager", v4.manager)
    for spacing in range(20, 60):
        tick = place.randint(-887_272, 887_271)
        pool = replace(v4.pool, tick_spacing=spacing)
        await manager.send("initialize", pool.key, max(sqrt_ratio_x96(tick), 4_295_128_739))
        (raw,) = await chain.read([pool.slot0_call], block=await chain.head())
        slot0 = pool.slot0(raw)
        assert abs(slot0.tick - tick) <= 1, "TickMath rounds up where ours rounds down"
        bare = replace(pool, state_view=None)
        (word,) = await chain.read([bare.slot0_call], block=await chain.head())
        assert bare.slot0(word) == slot0
        priced = pool.price_from_sqrt(slot0.sqrt_price_x96)
        assert priced == pytest.approx(pool.price_from_tick(tick), rel=1e-9) or priced < 1e-12


@pytest.mark.devnet
async def test_amounts_of_a_position_are_what_its_withdrawal_pays(
    chain: JsonRpcReader, v4: V4Deployment, bench: Bench, at: Deployment
) -> None:
    """modifyLiquidity's own amounts, for a position below, in and above its range."""
    usdc = bench.at("TestERC20SetDecimals", at.usdc)
    positions = bench.at("PositionManager", v4.position_manager)
    for target in (1_300.0, 3_100.0, 6_500.0):
        price = (await _values(chain, v4.pool))[Metric.POOL_PRICE_USD]
        await _push(bench, v4, at, price=price, target=target)
        await withdraw_v4(bench, v4, owner=at.user, token_id=v4.user_token_id, liquidity_raw=0)  # the fees
        (raw,) = await chain.read([v4.pool.slot0_call], block=await chain.head())
        _, info = await positions.call("getPoolAndPositionInfo", v4.user_token_id)
        lower, upper = (_signed24(info >> shift) for shift in (8, 32))
        part = await positions.call("getPositionLiquidity", v4.user_token_id) // 4
        held = await usdc.call("balanceOf", at.user), await _eth_of(bench, v4.manager)
        await withdraw_v4(bench, v4, owner=at.user, token_id=v4.user_token_id, liquidity_raw=part)
        paid = await usdc.call("balanceOf", at.user) - held[0], held[1] - await _eth_of(bench, v4.manager)
        eth, stable = amounts_for_liquidity(part, v4.pool.slot0(raw).sqrt_price_x96, lower, upper)
        assert abs(paid[0] - stable) <= 1
        assert abs(paid[1] - eth) <= 1 + eth // 10**15, "TickMath rounds on its way"


@pytest.mark.devnet
async def test_position_is_found_in_storage(chain: JsonRpcReader, v4: V4Deployment) -> None:
    """The slot of a position, as StateView finds it: owner is the position manager, salt the token id."""
    block = await chain.head()
    (found,) = await chain.read(
        [POSITIONS.call("getPoolAndPositionInfo", v4.position_manager, v4.user_token_id)], block=block
    )
    lower, upper = (_signed24(found[1] >> shift) for shift in (8, 32))
    salt = v4.user_token_id.to_bytes(32, "big")
    slot = v4.pool.position_slot(v4.position_manager, lower, upper, salt)
    read, seen = await chain.read(
        [
            v4.pool.slots_call([slot]),
            STATE_VIEW.call(
                "getPositionInfo(bytes32,address,int24,int24,bytes32)",
                v4.state_view, v4.pool.pool_id, v4.position_manager, lower, upper, salt,
            ),
        ],
        block=block,
    )  # fmt: skip
    assert int.from_bytes(words(read, 1, "position")[0], "big") == seen[0] > 0


@pytest.mark.devnet
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fee": 3_000}, "has no pool"),
        ({"tick_spacing": 60}, "has no pool"),
        ({"hooks": "0x" + "00" * 19 + "40"}, "has no pool"),
        ({"quote_decimals": 18}, "has 6 decimals, configured are 18"),
        ({"state_view": "0x" + "00" * 19 + "aa"}, "check the address"),
        ({"state_view": None, "manager": "0x" + "00" * 19 + "aa"}, "check the address"),
        ({"manager": "0x" + "00" * 19 + "aa"}, "reads the PoolManager"),
    ],
)
async def test_a_wrong_configuration_is_named(
    changes: dict[str, Any], why: str, chain: JsonRpcReader, v4: V4Deployment
) -> None:
    for row in (await _rows(chain, replace(v4.pool, **changes))).values():
        assert math.isnan(row.value)
        assert why in row.why_unknown


# -- without a chain --------------------------------------------------------------------------------------


def test_fee_of_a_swap() -> None:
    """ProtocolFeeLibrary: protocol first, then LPs of what is left; the cheaper direction."""
    assert swap_fee(Slot0(1, 0, 0, 3_000)) == pytest.approx(0.003)
    assert swap_fee(Slot0(1, 0, 1_000 << 12 | 500, 3_000)) == pytest.approx(0.0005 + 0.003 * 0.9995)
    with pytest.raises(TransientError, match="nothing can be traded"):
        swap_fee(Slot0(1, 0, 0, 1_000_000))


async def test_depth_is_unknown_where_the_hook_changes_swaps() -> None:
    """BEFORE_SWAP_RETURNS_DELTA in the hook's address; the rest is known, the dynamic fee is read."""
    hooks = "0x" + "00" * 18 + "0088"
    pool = v4_pool(hooks=hooks, fee=DYNAMIC_FEE, state_view=None)
    rows = {row.metric: row for row in await _read(pool, _answers(pool, lp_fee=777))}
    assert "may change what a swap pays" in rows[Metric.POOL_DEPTH_USD].why_unknown
    assert all(math.isfinite(row.value) for key, row in rows.items() if key is not Metric.POOL_DEPTH_USD)
    plain = v4_pool(hooks="0x" + "00" * 18 + "0080", fee=DYNAMIC_FEE, state_view=None)
    assert all(math.isfinite(row.value) for row in await _read(plain, _answers(plain, lp_fee=777)))


@given(data=st.data(), with_view=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_broken_answers_are_unknown_never_a_number(data: st.DataObject, with_view: bool) -> None:
    """Any one answer missing, cut short or absurd: the rows that rest on it are NaN and say why."""
    pool = v4_pool(state_view=VIEW if with_view else None)
    answers = _answers(pool, lp_fee=500)
    whole = {row.key: row.value for row in await _read(pool, answers)}
    assert all(map(math.isfinite, whole.values()))
    broken = data.draw(st.sampled_from(sorted(answers)))
    answers[broken] = data.draw(st.sampled_from(_absurd(answers[broken])))
    for row in await _read(pool, answers):
        if math.isfinite(row.value):
            assert row.value == whole[row.key]
            assert row.metric is Metric.POOL_PRICE_USD, "only the price stands without the ticks"
        else:
            assert row.why_unknown


def _absurd(answer: tuple[Any, ...] | None) -> list[tuple[Any, ...] | None]:
    assert answer is not None
    (first, *rest) = answer
    if isinstance(first, int):
        return [None, (2**160 - 1, *rest), (0 if first else 1, *rest), (first + 10**30, *rest)]
    if isinstance(first, bytes):
        return [None, (b"\xff" * 32,), (b"\x80" + bytes(31),)]
    if isinstance(first, str):
        return [None, (OTHER,)]
    odd = tuple(word[:31] + bytes([word[31] ^ 1]) for word in first)
    return [None, ((),), (tuple(first[:-1]),), (tuple([b"\xff" * 32] * len(first)),), (odd,)]


def _answers(pool: V4Pool, *, lp_fee: int) -> dict[bytes, tuple[Any, ...] | None]:
    """A pool at tick -196256 (about 3000 USD) with L = 10^15 over the two words around it."""
    tick = -196_256
    at, lower, upper = sqrt_ratio_x96(tick) + 1, -198_000, -194_000
    net = 10**15
    ticks = {lower: net, upper: -net}
    packed = lp_fee << 208 | (tick % 2**24) << 160 | at
    answers: dict[bytes, tuple[Any, ...] | None] = {ERC20.encode("decimals"): (6,)}
    if pool.state_view:
        answers[pool.slot0_call.data] = (at, tick, 0, lp_fee)
        answers[pool.liquidity_call.data] = (net,)
        answers[STATE_VIEW.encode("poolManager")] = (MANAGER,)
    else:
        answers[pool.slot0_call.data] = (packed.to_bytes(32, "big"),)
        answers[pool.liquidity_call.data] = (net.to_bytes(32, "big"),)
    last = 887_272 // pool.tick_spacing
    positions = list(range(-last >> 8, (last >> 8) + 1))
    for start in range(0, len(positions), 256):
        part = positions[start : start + 256]
        bitmaps = [sum(1 << (t // 10 & 255) for t in ticks if t // 10 >> 8 == word) for word in part]
        call = pool.slots_call([pool.bitmap_slot(word) for word in part])
        answers[call.data] = (tuple(bitmap.to_bytes(32, "big") for bitmap in bitmaps),)
    call = pool.slots_call([pool.tick_slot(tick) for tick in sorted(ticks)])
    answers[call.data] = (
        tuple(((ticks[t] % 2**128) << 128 | net).to_bytes(32, "big") for t in sorted(ticks)),
    )
    return answers


async def _read(pool: V4Pool, answers: dict[bytes, tuple[Any, ...] | None]) -> list[Observation]:
    return await UniswapV4Watcher(pool=pool).read(FakeChain(answers), block=BLOCK, read_at_s=0.0)


@pytest.mark.parametrize("gross", [10**14, 10**15 + 1])
async def test_a_tick_that_cannot_be_is_refused(gross: int) -> None:
    """Net and gross that no positions make: the sum over all ticks would be wrong without a word."""
    pool = v4_pool(state_view=None)
    answers = _answers(pool, lp_fee=500)
    last = pool.slots_call([pool.tick_slot(tick) for tick in (-198_000, -194_000)]).data
    answers[last] = (((10**15 << 128 | gross).to_bytes(32, "big"), answers[last][0][1]),)
    price, *others = await _read(pool, answers)
    assert math.isfinite(price.value)
    assert all("liquidity" in row.why_unknown for row in others)


async def _eth_of(bench: Bench, address: str) -> int:
    return int(await bench.rpc.request("eth_getBalance", [address, "latest"]), 16)


async def _push(bench: Bench, v4: V4Deployment, at: Deployment, *, price: float, target: float) -> None:
    """Swap until the price is there."""
    falls = target < price
    amount = 10**22 if falls else 10**14
    limit = _limit(target)
    await swap_v4(bench, v4, sender=at.trader, sell_eth=falls, amount_raw=amount, limit=limit)


def _limit(price_usd: float) -> int:
    return sqrt_ratio_x96(round(math.log(price_usd * 1e-12) / math.log(1.0001)))


def _signed24(value: int) -> int:
    return (value & 0xFFFFFF) - (0x1000000 if value & 0x800000 else 0)
