"""The Panoptic v2 reference over the real Uniswap v3 pool: ABI facts, and every RUN fact of venues.md 3.3."""

from pathlib import Path
from typing import Any

import pytest
from panoptic_desk import ASCENDING, DESCENDING, ETH, Desk

from bot.chain.abi import Abi
from bot.chain.rpc import Rpc, hex_bytes
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_panoptic import (
    HIGHEST_TICK,
    LOWEST_TICK,
    MOST_SPREAD,
    PanopticDeployment,
    deploy_panoptic,
    deposit,
    sell,
)
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.model.hedge import OptionType
from bot.model.intent import Log
from bot.venues.panoptic_token_id import (
    TokenId,
    amounts_of,
    liquidity_of,
    pool_id_v2,
    split,
    split_signed,
)

PUT, CALL = OptionType.PUT, OptionType.CALL
COLLATERAL_RAW = 60_000 * 10**6
MARGIN_RAW = 2_297_424  # of 2 WETH of the put, at the devnet's first price
COMMISSIONS = (
    1e-5  # every depositor has a share of others' commissions, so collateral grows a little by itself
)

# --- the ABI: facts of venues.md, appendix A --------------------------------------------------------------

SELECTORS = {
    ("PanopticPool", "dispatch(uint256[],uint256[],uint128[],int24[3][],bool,uint256)"): "c25813aa",
    ("PanopticPool", "getAssetsOf(address)"): "c39dba9d",
    ("PanopticPool", "getFullPositionsData(address,bool,uint256[])"): "01149228",
    ("PanopticPool", "multicall(bytes[])"): "ac9650d8",
    ("PanopticPool", "numberOfLegs(address)"): "c79ee60d",
    ("PanopticPool", "poolId()"): "3e0dc34e",
    ("PanopticCollateralTracker", "assetsOf(address)"): "2c62fa10",
    ("PanopticCollateralTracker", "deposit(uint256,address)"): "6e553f65",
    ("PanopticCollateralTracker", "getPoolData()"): "fb29238b",
    ("PanopticCollateralTracker", "maxWithdraw(address)"): "ce96cb77",
    ("PanopticCollateralTracker", "withdraw(uint256,address,address)"): "b460af94",
    ("PanopticCollateralTracker", "withdraw(uint256,address,address,uint256[],bool)"): "e51161ba",
    ("PanopticFactory", "getPanopticPool(address,address)"): "055c9f78",
}
TOPICS = {
    ("PanopticPool", "OptionBurnt"): "d7b5aa501d6c32aac0775207ad2e590a1ef403c1c04f5ec35e0f3fa31695e031",
    ("PanopticPool", "OptionMinted"): "8468ab73e17d91b26a991dd0b6b71dc7faff1b72750fd07ef2cc45595d09501d",
    ("PanopticPool", "PremiumSettled"): "4358c577d4c62044fa8caea3ad9778fe842e777c7903f2452d20661f6ff250b7",
    ("PanopticFactory", "PoolDeployed"): "b9b8d50b80f9a41ca6bb6a3e3e8fc694fe041d8059f91a504be694b820cd0573",
}


@pytest.mark.parametrize(("key", "selector"), SELECTORS.items(), ids=str)
def test_selectors_are_the_protocols(key: tuple[str, str], selector: str) -> None:
    assert Abi.load(key[0]).function(key[1]).selector.hex() == selector


@pytest.mark.parametrize(("key", "topic"), TOPICS.items(), ids=str)
def test_topics_are_the_protocols(key: tuple[str, str], topic: str) -> None:
    assert Abi.load(key[0]).topic(key[1]) == "0x" + topic


@pytest.mark.devnet
async def test_the_reference_has_these_selectors_in_its_code(at: PanopticDeployment, bench: Bench) -> None:
    """Vyper's own ABI of the contracts has every selector of the documented ABI."""
    by_abi = {
        "PanopticPool": at.pool,
        "PanopticCollateralTracker": at.trackers[0],
        "PanopticFactory": at.factory,
    }
    for (name, function), selector in SELECTORS.items():
        assert by_abi[name].artifact.abi.function(function).selector.hex() == selector
        code = await bench.rpc.request("eth_getCode", [by_abi[name].address, "latest"])
        assert selector in code, function


# --- the pool on the devnet -------------------------------------------------------------------------------


@pytest.fixture
def bench(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> Bench:
    return Bench(rpc, fetch(cache_dir), devnet.deployment.accounts)


@pytest.fixture
async def at(devnet: Devnet, bench: Bench) -> PanopticDeployment:
    known = devnet.deployment
    return await deploy_panoptic(
        bench, uniswap_pool=known.v3_pool, weth=known.weth, usdc=known.usdc, seller=known.accounts[5]
    )


@pytest.fixture
async def desk(devnet: Devnet, bench: Bench, at: PanopticDeployment) -> Desk:
    known = devnet.deployment
    await deposit(at, owner=known.user, usdc_raw=COLLATERAL_RAW)
    await sell(at, [at.option(PUT, 2800, width=12, is_long=False)], contracts=50)
    return Desk(at, bench, devnet, known.user)


def long_put(at: PanopticDeployment, **changes: Any) -> TokenId:
    return at.option(PUT, 2800, width=12, is_long=True, **changes)


def chunk(at: PanopticDeployment, token_id: TokenId, size: int) -> tuple[int, int]:
    """(WETH, USDC) that the chunk is when it is wholly the one, wholly the other."""
    lower, upper = token_id.legs[0].ticks(at.tick_spacing)
    liquidity = liquidity_of(size, asset=at.unit, lower=lower, upper=upper)
    ends = (
        amounts_of(liquidity, sqrt_price_x96=1, lower=lower, upper=upper)[0],
        amounts_of(liquidity, sqrt_price_x96=2**159, lower=lower, upper=upper)[1],
    )
    return (ends[0], ends[1]) if at.unit == 0 else (ends[1], ends[0])


@pytest.mark.devnet
@pytest.mark.parametrize(
    ("price", "required"),  # what the protocol's own code answers: 10 % near the strike, less far away
    [(2940, MARGIN_RAW), (2800, 559_793_458), (2780, 559_793_458), (2600, 204_276)],
)
async def test_margin_of_a_put_falls_with_the_distance_of_the_price(
    desk: Desk, price: float, required: int
) -> None:
    put = long_put(desk.at)
    await desk.dispatch([put], [put], [2 * ETH])
    await desk.swap_to(price)
    _, _, _, found, _ = await desk.at.pool.call("getFullPositionsData", desk.me, True, [put.value])
    assert split(found[0])[1 - desk.at.unit] == pytest.approx(required, abs=1)


@pytest.mark.devnet
async def test_interest_becomes_assets_when_a_tracker_is_touched(desk: Desk) -> None:
    """Views show it only from then on; a dispatch accrues it for every share."""
    before = await desk.assets()
    await desk.bench.set_time(await desk.bench.now_s() + 30 * 86_400)
    assert await desk.assets() == before
    await desk.at.pool.send("pokeOracle")
    assert (await desk.assets())[1] > before[1]
    assert (await desk.assets())[0] == before[0]


@pytest.mark.devnet
async def test_in_safe_mode_one_token_does_not_stand_for_the_other(desk: Desk) -> None:
    """Premium owed in WETH: the rest of the positions needs WETH, however much USDC there is."""
    at, put, other = desk.at, long_put(desk.at), long_put(desk.at, ratio=2)
    await desk.dispatch([put], [put], [2 * ETH])
    await desk.dispatch([other], [put, other], [ETH])
    await earn_fees(desk)
    await desk.calm()
    withdraw = ("withdraw(uint256,address,address,uint256[],bool)", 10**6, desk.me, desk.me)
    ids = [put.value, other.value]
    await desk.usdc_tracker.send(*withdraw, ids, False, sender=desk.me)
    await at.risk_engine.send("lockPool", at.pool.address)
    assert "AccountInsolvent" in await desk.reason(*withdraw, ids, False, of=desk.usdc_tracker)
    await desk.deposit_weth(ETH // 100)
    await desk.usdc_tracker.send(*withdraw, ids, False, sender=desk.me)


@pytest.mark.devnet
async def test_the_pool_says_who_it_is(desk: Desk) -> None:
    at = desk.at
    assert at.pool_id == pool_id_v2(at.uniswap_pool, vegoid=8, tick_spacing=10)
    assert await at.pool.call("tickSpacing") == 10
    found = await at.factory.call("getPanopticPool", at.uniswap_pool, at.risk_engine.address)
    assert found.lower() == at.pool.address.lower()
    for tracker, token in zip(at.trackers, at.tokens, strict=True):
        assert (await tracker.call("asset")).lower() == token.address.lower()
    assert (await at.pool.call("collateralToken0")).lower() == at.trackers[0].address.lower()
    assert (await at.pool.call("collateralToken1")).lower() == at.trackers[1].address.lower()
    slot0 = await desk.bench.at("UniswapV3Pool", at.uniswap_pool).call("slot0")
    assert await at.pool.call("getCurrentTick") == slot0[1]
    assert await at.pool.call("getTWAP") == slot0[1]
    assert await at.pool.call("isSafeMode") == 0
    assert await at.risk_engine.call("MAX_OPEN_LEGS") == 26


@pytest.mark.devnet
async def test_collateral_is_shares_of_what_was_deposited(desk: Desk) -> None:
    tracker = desk.usdc_tracker
    assert await tracker.call("assetsOf", desk.me) == pytest.approx(COLLATERAL_RAW, rel=COMMISSIONS)
    shares = await tracker.call("balanceOf", desk.me)
    assert await tracker.call("convertToAssets", shares) == await tracker.call("assetsOf", desk.me)
    assert await tracker.call("maxWithdraw", desk.me) == await tracker.call("assetsOf", desk.me)
    usdc = desk.at.tokens[1 - desk.at.unit]
    before = await usdc.call("balanceOf", desk.me)
    await tracker.send("withdraw(uint256,address,address)", 10**9, desk.me, desk.me, sender=desk.me)
    assert await usdc.call("balanceOf", desk.me) == before + 10**9
    assert await desk.reason("deposit", 0, desk.me, of=tracker) == "BelowMinimumRedemption()"
    too_much = ("withdraw(uint256,address,address)", 2 * COLLATERAL_RAW, desk.me, desk.me)
    assert await desk.reason(*too_much, of=tracker) == "ExceedsMaximumRedemption()"


@pytest.mark.devnet
async def test_a_close_with_ascending_limits_leaves_tokens_and_with_descending_ones_cash(desk: Desk) -> None:
    """RUN: (-2.006 WETH, +5,614.75 USDC) or (-0.0063 WETH, +630.29 USDC), one put at one price."""
    at, put = desk.at, long_put(desk.at)
    await desk.deposit_weth(5 * ETH)
    await desk.dispatch([put], [put], [2 * ETH])
    await desk.swap_to(2400)
    tokens = await desk.simulate_burn(put, ASCENDING)
    cash = await desk.simulate_burn(put, DESCENDING)
    weth, usdc = chunk(at, put, 2 * ETH)
    assert tokens[0] == pytest.approx(-weth, rel=2e-3)  # premium is due in what came in as fees
    assert tokens[1] == pytest.approx(usdc, rel=2e-3)
    assert abs(cash[0]) < 0.01 * ETH
    price = await desk.price()
    intrinsic = usdc - weth * price / 1e12
    assert intrinsic == pytest.approx(2 * (2800 - 2400) * 1e6, rel=0.05)  # the width smears it
    assert cash[1] == pytest.approx(tokens[1] + tokens[0] * price / 1e12, rel=0.02)
    before = await desk.assets()
    await desk.dispatch([put], [], [0], DESCENDING, 0)
    after = await desk.assets()
    gained = (after[0] - before[0], after[1] - before[1])
    assert gained == pytest.approx(cash, rel=1e-7, abs=5)  # interest of a block
    assert await at.pool.call("numberOfLegs", desk.me) == 0


@pytest.mark.devnet
async def test_premium_is_due_in_both_tokens_and_a_close_needs_some_of_each(desk: Desk) -> None:
    """Bought with USDC alone it cannot be closed once a fee came in as WETH: the swap pays no premium."""
    put = long_put(desk.at)
    await desk.dispatch([put], [put], [2 * ETH])
    await desk.swap_to(2400)
    for limits in (ASCENDING, DESCENDING):
        assert "NotEnoughTokens" in await desk.reason(*desk.call([put], [], [0], limits, 0))
    await desk.deposit_weth(ETH // 500)
    assert "NotEnoughTokens" in await desk.reason(*desk.call([put], [], [0], ASCENDING, 0))
    await desk.dispatch([put], [], [0], DESCENDING, 0)
    assert (await desk.assets())[1] > COLLATERAL_RAW + 600 * 10**6


@pytest.mark.devnet
async def test_a_put_that_stays_out_of_the_money_costs_the_commission_alone(desk: Desk) -> None:
    """1 basis point of the notional at mint, nothing at a close without premium."""
    at, put = desk.at, long_put(desk.at)
    start = await desk.assets()
    await desk.dispatch([put], [put], [2 * ETH])
    fee = -(-chunk(at, put, 2 * ETH)[1] // 10_000)
    assert (await desk.assets())[1] == pytest.approx(start[1] - fee, rel=COMMISSIONS / 10)
    await desk.dispatch([put], [], [0], DESCENDING, 0)
    assert (await desk.assets())[1] == pytest.approx(start[1] - fee, rel=COMMISSIONS / 10)
    assert (await desk.assets())[0] == 0


@pytest.mark.devnet
async def test_a_call_pays_above_its_strike(desk: Desk) -> None:
    at = desk.at
    await desk.deposit_weth(3 * ETH)
    await sell_more(desk, at.option(CALL, 3100, width=12, is_long=False))
    call = at.option(CALL, 3100, width=12, is_long=True)
    await desk.dispatch([call], [call], [2 * ETH])
    await desk.swap_to(3500)
    gained = await desk.simulate_burn(call, DESCENDING)
    price = await desk.price()
    assert abs(gained[1]) < 10 * 10**6
    assert gained[0] / ETH * price == pytest.approx(2 * (3500 - 3100), rel=0.06)


async def sell_more(desk: Desk, option: TokenId, *, contracts: int = 50) -> None:
    """The seller, who holds the desk's put already, sells another option."""
    held = desk.at.option(PUT, 2800, width=12, is_long=False)
    limits = [(LOWEST_TICK, HIGHEST_TICK, 0)]
    ids = [held.value, option.value]
    await desk.at.pool.send(
        "dispatch", [option.value], ids, [contracts * ETH], limits, True, 0, sender=desk.at.seller
    )


@pytest.mark.devnet
async def test_dispatch_needs_the_whole_final_list(desk: Desk) -> None:
    """Complete and without doubles. The protocol's fingerprint knows no order, nor does the reference."""
    put, other = long_put(desk.at), long_put(desk.at, ratio=2)
    assert await desk.reason(*desk.call([put], [], [ETH])) == "InputListFail()"
    await desk.dispatch([put], [put], [ETH])
    assert await desk.reason(*desk.call([other], [other], [ETH])) == "InputListFail()"
    assert await desk.reason(*desk.call([other], [put, other, other], [ETH])) == "DuplicateTokenId()"
    await desk.dispatch([other], [other, put], [ETH])
    assert await desk.at.pool.call("numberOfLegs", desk.me) == 2


@pytest.mark.devnet
async def test_a_size_of_0_burns_and_the_stored_size_settles_premium(desk: Desk) -> None:
    put = long_put(desk.at)
    await desk.deposit_weth(ETH // 100)
    await desk.dispatch([put], [put], [2 * ETH])
    await earn_fees(desk)
    before = await desk.assets()
    await desk.dispatch([put], [put], [2 * ETH])
    assert await desk.at.pool.call("numberOfLegs", desk.me) == 1
    assert (await desk.assets())[1] < before[1]
    _, owed, balances, _, net = await desk.at.pool.call("getFullPositionsData", desk.me, True, [put.value])
    assert split(owed) == split_signed(net[0]) == (0, 0)
    assert balances[0] & (2**128 - 1) == 2 * ETH
    await desk.dispatch([put], [], [0], ASCENDING, 0)
    assert await desk.at.pool.call("numberOfLegs", desk.me) == 0


@pytest.mark.devnet
async def test_another_size_of_a_held_id_burns_too(desk: Desk) -> None:
    """So that nothing can be added to a position: one mint per tokenId, more is another ratio or width."""
    put = long_put(desk.at)
    await desk.dispatch([put], [put], [ETH])
    assert await desk.reason(*desk.call([put], [put], [2 * ETH])) == "InputListFail()"
    await desk.dispatch([put], [], [2 * ETH])
    assert await desk.at.pool.call("numberOfLegs", desk.me) == 0


async def earn_fees(desk: Desk) -> None:
    """The trader swaps through the chunk and back: who sold it earns, who bought it owes."""
    await desk.swap_to(2700)
    await desk.swap_to(2940)


@pytest.mark.devnet
async def test_premium_streams_while_the_price_is_in_the_chunk(desk: Desk) -> None:
    """A buyer owes what the liquidity it took out would have earned, and more the more is taken out."""
    at, put = desk.at, long_put(desk.at)
    await desk.dispatch([put], [put], [20 * ETH])
    _, owed, *_ = await at.pool.call("getFullPositionsData", desk.me, True, [put.value])
    assert split(owed) == (0, 0)
    await earn_fees(desk)
    _, owed, _, required, net = await at.pool.call("getFullPositionsData", desk.me, True, [put.value])
    premium = split(owed)
    assert min(premium) > 0
    assert split_signed(net[0]) == (-premium[0], -premium[1])
    weth, usdc = (premium[at.unit], premium[1 - at.unit])
    through = chunk(at, put, 20 * ETH)
    # 5 bp a way on the chunk's own amounts, times 1 + R / (8 N) with R = 20 and N = 30 (venues.md; VEGOID 8)
    factor = 1 + 20 / (8 * 30)
    assert weth == pytest.approx(through[0] * 5e-4 * factor, rel=0.02)
    assert usdc == pytest.approx(through[1] * 5e-4 * factor, rel=0.02)
    assert split(required[0])[1 - at.unit] == 22_884_241
    short = at.option(PUT, 2800, width=12, is_long=False)
    got, *_ = await at.pool.call("getFullPositionsData", at.seller, True, [short.value])
    assert split(got)[1 - at.unit] > 30 / 50 * through[1] / 20 * 50 * 5e-4 * 0.99


@pytest.mark.devnet
async def test_sellers_get_no_more_than_came_in(desk: Desk) -> None:
    """Uniswap's fees and what the buyer paid: together they are what the seller is owed."""
    at, put = desk.at, long_put(desk.at)
    await desk.dispatch([put], [put], [20 * ETH])
    await earn_fees(desk)
    short = at.option(PUT, 2800, width=12, is_long=False)
    pending, *_ = await at.pool.call("getFullPositionsData", at.seller, True, [short.value])
    ready, *_ = await at.pool.call("getFullPositionsData", at.seller, False, [short.value])
    assert split(ready)[1 - at.unit] < split(pending)[1 - at.unit]
    await desk.deposit_weth(ETH)
    await desk.dispatch([put], [], [0], ASCENDING, 0)
    before = await desk.assets(at.seller)
    limits = [(*ASCENDING, 0)]
    await at.pool.send("dispatch", [short.value], [], [0], limits, True, 0, sender=at.seller)
    after = await desk.assets(at.seller)
    paid = split(pending)[1 - at.unit]
    assert after[1] - before[1] == pytest.approx(paid, rel=0.02)  # less the fee on premium, 1 %
    for tracker, token in zip(at.trackers, at.tokens, strict=True):
        held = await token.call("balanceOf", at.pool.address)
        assert held >= await tracker.call("totalAssets") - 10


@pytest.mark.devnet
async def test_a_purchase_needs_sold_liquidity_in_the_very_chunk(desk: Desk) -> None:
    at = desk.at
    for missing in (
        at.option(PUT, 2600, width=12, is_long=True),
        at.option(PUT, 2800, width=10, is_long=True),
        at.option(CALL, 2800, width=12, is_long=True),
    ):
        assert await desk.reason(*desk.call([missing], [missing], [ETH])) == "NotEnoughLiquidityInChunk()"
    put = long_put(at)
    assert await desk.reason(*desk.call([put], [put], [51 * ETH])) == "NotEnoughLiquidityInChunk()"
    assert await desk.reason(*desk.call([put], [put], [50 * ETH])) == "NetLiquidityZero()"
    assert await desk.reason(*desk.call([put], [put], [46 * ETH])) == "EffectiveLiquidityAboveThreshold()"
    assert (
        await desk.reason(*desk.call([put], [put], [20 * ETH], ASCENDING, 1000))
        == "EffectiveLiquidityAboveThreshold()"
    )
    lower, upper = put.legs[0].ticks(at.tick_spacing)
    liquidities = (await at.pool.call("getChunkData", lower, upper))[:2]
    net, removed = split(liquidities[1 - at.unit])
    assert net == pytest.approx(liquidity_of(50 * ETH, asset=at.unit, lower=lower, upper=upper), rel=1e-9)
    assert removed == 0
    assert split(liquidities[at.unit]) == (0, 0)
    await desk.dispatch([put], [put], [20 * ETH])
    net, removed = split((await at.pool.call("getChunkData", lower, upper))[1 - at.unit])
    assert removed / (net + removed) == pytest.approx(0.4, rel=1e-9)


@pytest.mark.devnet
async def test_the_tick_limits_bound_the_price(desk: Desk) -> None:
    put = long_put(desk.at)
    tick = await desk.at.pool.call("getCurrentTick")
    refused = await desk.reason(*desk.call([put], [put], [ETH], (tick, tick + 100)))
    assert refused == f"PriceBoundFail(currentTick={tick})"
    assert "PriceBoundFail" in await desk.reason(*desk.call([put], [put], [ETH], (tick + 100, tick)))
    await desk.dispatch([put], [put], [ETH], (tick - 1, tick + 1))


@pytest.mark.devnet
async def test_a_dispatch_may_not_move_the_price_far(desk: Desk) -> None:
    """More than 2 x 513 ticks in one transaction, here by the swap at the close of a large put."""
    at, deep = desk.at, desk.at.option(PUT, 2800, width=20, is_long=True)
    await desk.bench.at("TestERC20SetDecimals", desk.devnet.deployment.usdc).send("mint", desk.me, 10**12)
    await deposit(at, owner=desk.me, usdc_raw=10**12)
    await desk.deposit_weth(20 * ETH)
    await sell_more(desk, at.option(PUT, 2800, width=20, is_long=False), contracts=2_000)
    await desk.dispatch([deep], [deep], [1_500 * ETH])
    await desk.swap_to(2500)
    assert await desk.reason(*desk.call([deep], [], [0], DESCENDING, 0)) == "PriceImpactTooLarge()"
    await desk.dispatch([deep], [deep], [1_500 * ETH])  # what moves no price still works


@pytest.mark.devnet
async def test_with_open_positions_only_the_long_withdrawal_works(desk: Desk) -> None:
    put, tracker = long_put(desk.at), desk.usdc_tracker
    await desk.dispatch([put], [put], [2 * ETH])
    assert await tracker.call("maxWithdraw", desk.me) == 0
    plain = ("withdraw(uint256,address,address)", 10**6, desk.me, desk.me)
    assert await desk.reason(*plain, of=tracker) == "ExceedsMaximumRedemption()"
    long = "withdraw(uint256,address,address,uint256[],bool)"
    assert await desk.reason(long, 10**6, desk.me, desk.me, [], False, of=tracker) == "InputListFail()"
    need = MARGIN_RAW * 1.0666667
    free = round(COLLATERAL_RAW - need)
    all_but = (long, free + 10**6, desk.me, desk.me, [put.value], False)
    assert "AccountInsolvent" in await desk.reason(*all_but, of=tracker)
    await tracker.send(long, free - 2 * 10**6, desk.me, desk.me, [put.value], False, sender=desk.me)
    await desk.dispatch([put], [], [0], DESCENDING, 0)
    left = await tracker.call("maxWithdraw", desk.me)
    await tracker.send(*plain[:1], left, desk.me, desk.me, sender=desk.me)
    assert await tracker.call("assetsOf", desk.me) <= 1


@pytest.mark.devnet
async def test_a_purchase_needs_its_margin_and_a_buffer(desk: Desk) -> None:
    at, put, tracker = desk.at, long_put(desk.at), desk.usdc_tracker
    need = MARGIN_RAW * 1.0666667 + chunk(at, put, 2 * ETH)[1] * 1e-4
    await tracker.send(
        "withdraw(uint256,address,address)",
        (await desk.assets())[1] - round(need * 0.99),
        desk.me,
        desk.me,
        sender=desk.me,
    )
    assert "AccountInsolvent(solvent=0" in await desk.reason(*desk.call([put], [put], [2 * ETH]))
    usdc_raw = round(need * 0.02)
    await deposit(at, owner=desk.me, usdc_raw=usdc_raw)
    await desk.dispatch([put], [put], [2 * ETH])


@pytest.mark.devnet
async def test_safe_mode_forbids_mints_and_swaps_but_never_a_close(desk: Desk) -> None:
    at, put = desk.at, long_put(desk.at)
    await desk.deposit_weth(5 * ETH)
    await desk.dispatch([put], [put], [2 * ETH])
    other = long_put(at, ratio=2)
    await desk.swap_to(2600)
    assert await at.pool.call("isSafeMode") == 1  # far from its average: an external shock
    await desk.calm()
    assert await at.pool.call("isSafeMode") == 0
    await at.risk_engine.send("lockPool", at.pool.address)
    assert await at.pool.call("isSafeMode") == 3
    assert await desk.reason(*desk.call([other], [put, other], [ETH])) == "StaleOracle()"
    swapped = await desk.simulate_burn(put, DESCENDING)
    assert swapped[0] < -1.9 * ETH  # the limits were turned round: no swap
    await desk.dispatch([put], [], [0], DESCENDING, 0)
    assert await desk.reason("lockPool", at.pool.address, of=at.risk_engine) == "NotGuardian()"
    await at.risk_engine.send("unlockPool", at.pool.address)
    assert await at.pool.call("isSafeMode") == 0


@pytest.mark.devnet
async def test_the_average_follows_the_price_in_a_while(desk: Desk) -> None:
    before = await desk.at.pool.call("getTWAP")
    await desk.swap_to(2800)
    tick = await desk.at.pool.call("getCurrentTick")
    assert await desk.at.pool.call("getTWAP") == before
    await desk.calm()
    assert await desk.at.pool.call("getTWAP") == pytest.approx(tick, abs=5)


@pytest.mark.devnet
async def test_what_is_refused_by_name(desk: Desk) -> None:
    at, put = desk.at, long_put(desk.at)
    foreign = TokenId(pool_id=at.pool_id ^ 1, legs=put.legs)
    assert await desk.reason(*desk.call([foreign], [foreign], [ETH])) == "WrongPoolId()"
    assert await desk.reason(*desk.call([put], [put], [0])) == "ChunkHasZeroLiquidity()"
    off_grid = at.option(PUT, 2800, width=12, is_long=True).value + (1 << 76)
    limits = [(*ASCENDING, MOST_SPREAD)]
    assert (
        await desk.reason("dispatch", [off_grid], [off_grid], [ETH], limits, False, 0) == "InvalidTickBound()"
    )
    assert await desk.reason("getFullPositionsData", desk.me, True, [put.value]) == "PositionNotOwned()"
    assert await desk.reason("getChunkData", 1, 11) == "InvalidTickBound()"
    zero_legs = at.pool_id
    assert "InvalidTokenIdParameter" in await desk.reason(
        "dispatch", [zero_legs], [zero_legs], [ETH], limits, False, 0
    )


@pytest.mark.devnet
async def test_events_tell_what_was_minted_burnt_and_settled(desk: Desk) -> None:
    abi, put = Abi.load("PanopticPool"), long_put(desk.at)
    await desk.deposit_weth(ETH // 100)
    receipt = await desk.at.pool.send(*desk.call([put], [put], [2 * ETH]), sender=desk.me)
    (minted,) = events(abi, "OptionMinted", receipt)
    assert minted["tokenId"] == put.value
    assert minted["balanceData"] & (2**128 - 1) == 2 * ETH
    assert minted["balanceData"] >> 184 & 0xFFFFFFFF == await desk.bench.now_s()
    await earn_fees(desk)
    receipt = await desk.at.pool.send(*desk.call([put], [put], [2 * ETH]), sender=desk.me)
    (settled,) = events(abi, "PremiumSettled", receipt)
    assert settled["legIndex"] == 0
    assert max(split_signed(settled["settledAmounts"])) < 0
    receipt = await desk.at.pool.send(*desk.call([put], [], [0], DESCENDING, 0), sender=desk.me)
    (burnt,) = events(abi, "OptionBurnt", receipt)
    assert (burnt["positionSize"], burnt["tokenId"]) == (2 * ETH, put.value)
    assert burnt["premiaByLeg"][1:] == (0, 0, 0)


def events(abi: Abi, name: str, receipt: Any) -> list[dict[str, Any]]:
    logs = [
        Log(address=log["address"], topics=tuple(log["topics"]), data=hex_bytes(log["data"]))
        for log in receipt["logs"]
    ]
    return [abi.decode_log(name, log) for log in logs if abi.is_event(name, log)]
