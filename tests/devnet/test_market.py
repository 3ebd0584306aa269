"""The market script against the real contracts: every target is hit, and a run repeats to the block hash."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc, quantity
from bot.devnet.deploy_vault import VaultDeployment
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.market import MIN_BLOCKS, MarketMover
from bot.devnet.moves.lyra import (
    ListedBoard,
    board_view,
    board_vols,
    listed_board,
    live_boards_view,
    missing_boards,
)
from bot.devnet.moves.perp import mark_trades
from bot.devnet.moves.pools import position_view, v2_amount_in, v3_position
from bot.devnet.moves.wire import Ledger, Tx, View, calldata, read_all
from bot.devnet.node import Devnet
from bot.devnet.scenarios import MarketPoint, market_path, playable
from bot.errors import InvariantError
from bot.model.market import Metric
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.quant.surface import iv_at_tenor
from bot.watchers import LyraIvWatcher, PerpV2FundingWatcher, UniswapV2Watcher, UniswapV3Watcher
from bot.watchers.aave_v3 import AaveV3Watcher
from bot.watchers.lending import LendingToken
from bot.watchers.pools import Pool

WAD = 10**18
IVS = (0.72, 0.75, 0.78)


@pytest.fixture
def deployment(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
def mover(rpc: Rpc, deployment: Deployment) -> MarketMover:
    return MarketMover(rpc, deployment)


def crash(hour: int, **changes: Any) -> MarketPoint:
    return dataclasses.replace(market_path(playable("terra"), 1)[hour], **changes)


def eth_pool(deployment: Deployment, label: str, address: str) -> Pool:
    return Pool(
        label=label, address=address, base="ETH", quote="USDC", base_token=deployment.weth,
        quote_token=deployment.usdc, base_decimals=18, quote_decimals=6,
    )  # fmt: skip


async def observed(rpc: Rpc, deployment: Deployment) -> Mapping[tuple[Metric, str], float]:
    """What the bot's own watchers read at the head."""
    place = deployment
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=place.multicall3)
    block = await chain.head()
    watchers = (
        UniswapV2Watcher(pool=eth_pool(place, "v2", place.v2_pair)),
        UniswapV3Watcher(pool=eth_pool(place, "v3", place.v3_pool), tick_lens=place.v3_tick_lens),
        LyraIvWatcher(
            underlying="ETH", option_market=place.lyra_option_market, pricer=place.lyra_pricer,
            synthetix_adapter=place.lyra_synthetix_adapter,
        ),
        PerpV2FundingWatcher(
            underlying="ETH", exchange=place.perp_exchange, base_token=place.perp_base_token,
            config=place.perp_clearing_house_config,
        ),
    )  # fmt: skip
    rows = [
        row
        for watcher in watchers
        for row in await watcher.read(chain, block=block, read_at_s=block.timestamp_s)
    ]
    assert not [row.why_unknown for row in rows if row.why_unknown]
    return {(row.metric, row.subject): row.value for row in rows}


async def boards_of(rpc: Rpc, deployment: Deployment) -> list[ListedBoard]:
    ((ids,),) = await read_all(rpc, deployment.multicall3, [live_boards_view(deployment)])
    views = [board_view(deployment, board_id) for board_id in ids]
    return [listed_board(answer) for answer in await read_all(rpc, deployment.multicall3, views)]


async def head(rpc: Rpc) -> dict[str, Any]:
    return await rpc.request("eth_getBlockByNumber", ["latest", False])


@pytest.mark.devnet
@pytest.mark.parametrize("hour", [0, 175])
async def test_every_market_stands_at_the_point(
    mover: MarketMover, rpc: Rpc, deployment: Deployment, hour: int
) -> None:
    start = await observed(rpc, deployment)
    before = quantity((await head(rpc))["number"])
    point = crash(hour)
    await mover.move(point)
    after = await head(rpc)
    assert quantity(after["timestamp"]) == point.at_s
    assert quantity(after["number"]) - before >= MIN_BLOCKS
    assert quantity(after["baseFeePerGas"]) == point.base_fee_wei

    found = await observed(rpc, deployment)
    pool_price = point.eth_usd * (1.0 + point.pool_gap)
    for pool in ("v2", "v3"):
        assert found[Metric.POOL_PRICE_USD, pool] == pytest.approx(pool_price, rel=1e-6)
        share = found[Metric.POOL_LIQUIDITY, pool] / start[Metric.POOL_LIQUIDITY, pool]
        assert share == pytest.approx(point.lp_share, rel=1e-6)
    assert found[Metric.PRICE_USD, "ETH"] == pytest.approx(pool_price, rel=1.5e-4)  # a TWAP of whole ticks
    assert found[Metric.FUNDING_APR, "ETH"] == pytest.approx(point.funding_premium * 365.0, abs=1e-6)
    assert found[Metric.IV_7D, "ETH"] == pytest.approx(point.iv_7d, rel=2e-4)
    assert found[Metric.IV_30D, "ETH"] == pytest.approx(point.iv_30d, rel=2e-4)
    assert found[Metric.IV_90D, "ETH"] == pytest.approx(point.iv_90d, rel=2e-4)


@pytest.mark.devnet
async def test_oracles_and_the_stable_pool_stand_at_the_point(
    mover: MarketMover, rpc: Rpc, deployment: Deployment
) -> None:
    point = crash(120)
    await mover.move(point)
    rounds = ("uint80", "int256", "uint256", "uint256", "uint80")
    views = [
        View(deployment.feed_eth_usd, "latestRoundData()", (), rounds),
        View(
            deployment.lyra_synthetix_adapter,
            "getSpotPriceForMarket(address)",
            (deployment.lyra_option_market,),
            ("uint256",),
        ),
        View(deployment.perp_base_token, "getIndexPrice(uint256)", (900,), ("uint256",)),
        View(deployment.stable_pool, "slot0()", (), ("uint160",)),
    ]
    feed, (lyra_spot,), (index,), (sqrt_price,) = await read_all(rpc, deployment.multicall3, views)
    assert feed[1] == round(point.eth_usd * 10**8)
    assert feed[3] == point.at_s
    assert lyra_spot / WAD == pytest.approx(point.eth_usd, rel=1e-9)
    assert index / WAD == pytest.approx(point.eth_usd, rel=6e-5)  # takes up what a tick of the mark leaves
    raw = (sqrt_price / 2**96) ** 2
    is_susd0 = int(deployment.susd, 16) < int(deployment.usdc, 16)
    assert (raw if is_susd0 else 1.0 / raw) * 10**12 == pytest.approx(point.stable_usd, rel=1e-6)


@pytest.mark.devnet
async def test_liquidity_leaves_and_comes_back(mover: MarketMover, rpc: Rpc, deployment: Deployment) -> None:
    start = await observed(rpc, deployment)
    shares = (0.6, 0.95, 1.02)
    for hour, share in enumerate(shares):
        await mover.move(crash(hour, lp_share=share))
        found = await observed(rpc, deployment)
        for pool in ("v2", "v3"):
            ratio = found[Metric.POOL_LIQUIDITY, pool] / start[Metric.POOL_LIQUIDITY, pool]
            assert ratio == pytest.approx(share, rel=1e-6)


@pytest.mark.devnet
async def test_the_users_position_is_left_alone(mover: MarketMover, rpc: Rpc, deployment: Deployment) -> None:
    view = [position_view(deployment, deployment.user_v3_token_id)]
    (before,) = await read_all(rpc, deployment.multicall3, view)
    await mover.move(crash(175))
    (after,) = await read_all(rpc, deployment.multicall3, view)
    assert v3_position(after).liquidity == v3_position(before).liquidity > 0


@pytest.mark.devnet
async def test_the_same_path_gives_the_same_block_hash(rpc: Rpc, deployment: Deployment) -> None:
    hashes = []
    for _ in range(2):
        snapshot = await rpc.request("evm_snapshot")
        mover = MarketMover(rpc, deployment)
        for point in market_path(playable("terra"), 5)[:4]:
            await mover.move(point)
        hashes.append((await head(rpc))["hash"])
        await rpc.request("evm_revert", [snapshot])
    assert hashes[0] == hashes[1]


@pytest.mark.devnet
async def test_a_vault_is_emptied_and_refilled_and_a_market_paused(
    mover: MarketMover, rpc: Rpc, deployment: Deployment
) -> None:
    place = deployment
    watchers = (
        VaultDeployment(vault=place.usdc_vault, usdc=place.usdc).watcher,
        AaveV3Watcher(
            label="aave",
            addresses_provider=place.aave_addresses_provider,
            reserves=(LendingToken(symbol="USDC", address=place.usdc, decimals=6),),
        ),
    )
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=place.multicall3)
    seen = []
    for hour, share, paused in ((0, 1.0, False), (1, 0.4, False), (2, 0.7, True), (3, 0.7, False)):
        await mover.move(crash(hour, vault_share=share, paused=paused))
        block = await chain.head()
        rows = [row for each in watchers for row in await each.read(chain, block=block, read_at_s=0.0)]
        found = {(row.metric, row.subject): row.value for row in rows}
        seen.append((found[Metric.TOKEN_UNITS, "vault:USDC/USDC"], found[Metric.PAUSED, "aave/USDC"]))
    vault = seen[0][0]
    assert vault > 1_000_000.0
    assert [units / vault for units, _ in seen] == pytest.approx([1.0, 0.4, 0.7, 0.7])
    assert [paused for _, paused in seen] == [0.0, 0.0, 1.0, 0.0]


@pytest.mark.devnet
async def test_boards_of_every_tenor_stay_listed_after_the_first_has_expired(
    mover: MarketMover, rpc: Rpc, deployment: Deployment
) -> None:
    first = min(await boards_of(rpc, deployment), key=lambda board: board.expiry_s)
    path = market_path(playable("terra"), 1)
    for hour in (0, 60, 150, 180):
        await mover.move(path[hour])
        tenors = [board.dte(path[hour].at_s) for board in await boards_of(rpc, deployment)]
        assert any(1.5 < dte <= 8.0 for dte in tenors), (hour, tenors)
        assert any(20.0 <= dte <= 46.0 for dte in tenors)
        assert any(dte >= 60.0 for dte in tenors)
    assert path[180].at_s > first.expiry_s
    ids = {board.id for board in await boards_of(rpc, deployment)}
    assert first.id in ids, "an expired board is left for anybody to settle"
    assert max(ids) > max(deployment.lyra_board_ids)


@pytest.mark.devnet
async def test_an_expired_board_that_nobody_settled_does_not_stop_trade_on_the_others(
    mover: MarketMover, rpc: Rpc, deployment: Deployment
) -> None:
    path = market_path(playable("terra"), 1)
    for hour in (0, 120, 180):
        await mover.move(path[hour])
    at_s, spot = path[180].at_s, path[180].eth_usd
    buyer, unlimited = deployment.deployer, 2**256 - 1
    means = [
        Tx(purpose=purpose, sender=buyer, to=deployment.susd, data=data, gas=200_000)
        for purpose, data in (
            ("sUSD", calldata("mint(address,uint256)", buyer, 10**6 * WAD)),
            ("approval", calldata("approve(address,uint256)", deployment.lyra_option_market, unlimited)),
        )
    ]
    async with Ledger(rpc) as ledger:
        await ledger.mine(means, at_s=at_s + 60, base_fee_wei=10**9)
        await ledger.check()
    for board in await boards_of(rpc, deployment):
        if board.expiry_s < at_s:
            continue
        ((_, strikes, _, _),) = await read_all(rpc, deployment.multicall3, [board_view(deployment, board.id)])
        strike = min(strikes, key=lambda found: abs(found[1] / WAD - 0.97 * spot))
        order = (strike[0], 0, 1, 1, WAD, 0, 0, unlimited)  # one long put
        signature = "openPosition((uint256,uint256,uint256,uint8,uint256,uint256,uint256,uint256))"
        call = {"from": buyer, "to": deployment.lyra_option_market, "data": calldata(signature, order)}
        result = await rpc.request("eth_call", [call, "latest"])
        assert 0 < int(result[2:][64:128], 16) < spot * WAD  # total cost


@pytest.mark.devnet
async def test_after_the_crash_a_far_put_is_still_listed(
    mover: MarketMover, rpc: Rpc, deployment: Deployment
) -> None:
    """Strikes are added below when spot leaves the grid: else TAIL could not be re-bought at the low."""
    await mover.move(crash(0))
    low = crash(175)
    await mover.move(low)
    for board in await boards_of(rpc, deployment):
        if board.dte(low.at_s) >= 20.0:
            assert board.strikes_usd[0] < 0.72 * low.eth_usd
            assert len(board.strikes_usd) <= 36


@pytest.mark.devnet
async def test_greeks_stay_fresh_at_every_point(mover: MarketMover, rpc: Rpc, deployment: Deployment) -> None:
    for hour in (150, 151, 152, 157):
        await mover.move(crash(hour))
        views = [
            View(deployment.lyra_greek_cache, "isBoardCacheStale(uint256)", (board_id,), ("bool",))
            for board_id in deployment.lyra_board_ids
        ]
        assert await read_all(rpc, deployment.multicall3, views) == [(False,)] * len(views)


@pytest.mark.devnet
async def test_mining_by_itself_is_on_again_after_a_step(
    mover: MarketMover, rpc: Rpc, deployment: Deployment
) -> None:
    await mover.move(crash(0))
    number = quantity((await head(rpc))["number"])
    transfer = {"from": deployment.user, "to": deployment.whale, "value": "0x1"}
    await rpc.request("eth_sendTransaction", [transfer], send=True)
    for _ in range(100):  # anvil mines just after it has answered
        if quantity((await head(rpc))["number"]) > number:
            break
    assert quantity((await head(rpc))["number"]) == number + 1


@pytest.mark.devnet
async def test_a_point_that_does_not_lie_ahead_is_refused(mover: MarketMover) -> None:
    await mover.move(crash(1))
    with pytest.raises(InvariantError, match="after the head"):
        await mover.move(crash(1))


@pytest.mark.devnet
async def test_a_failed_transaction_names_its_purpose_and_reason(rpc: Rpc, deployment: Deployment) -> None:
    latest = quantity((await head(rpc))["timestamp"])
    wrong = Tx(
        purpose="a feed answer by a stranger",
        sender=deployment.whale,
        to=deployment.feed_eth_usd,
        data=calldata("setAnswer(int256,uint256)", 1, latest),
        gas=200_000,
    )
    async with Ledger(rpc) as ledger:
        await ledger.mine([wrong], at_s=latest + 60, base_fee_wei=10**9)
        with pytest.raises(InvariantError, match=r"a feed answer by a stranger reverted.*owner only"):
            await ledger.check()


@pytest.mark.devnet
async def test_the_whale_cannot_withdraw_more_than_it_holds(mover: MarketMover) -> None:
    with pytest.raises(InvariantError, match="whale cannot withdraw"):
        await mover.move(crash(0, lp_share=0.0))


# --- pure parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.5, 0.9, 0.999])
def test_a_v2_sale_ends_at_the_price_that_was_asked_for(target: float) -> None:
    reserve_in, reserve_out = 5_000 * WAD, 15_000_000 * 10**6
    price_out = round(reserve_out / reserve_in * target * 10**30)
    amount = v2_amount_in(reserve_in, reserve_out, price_in=10**30, price_out=price_out)
    bought = amount * 997 * reserve_out // (reserve_in * 1000 + amount * 997)  # Uniswap v2 getAmountOut
    after = (reserve_out - bought) / (reserve_in + amount)
    assert after == pytest.approx(reserve_out / reserve_in * target, rel=1e-9)


def test_a_v2_pair_past_the_price_needs_no_sale() -> None:
    assert v2_amount_in(1_000, 1_000, price_in=1, price_out=2) == 0


def test_a_large_move_of_the_mark_is_cut_into_blocks_of_under_1000_ticks(devnet: Devnet) -> None:
    sqrt_now = int(2_400.0**0.5 * 2**96)
    assert len(mark_trades(devnet.deployment, sqrt_now=sqrt_now, price=2_160.0)) == 2
    assert len(mark_trades(devnet.deployment, sqrt_now=sqrt_now, price=2_300.0)) == 1


@pytest.mark.parametrize(
    "days", [(7.3, 30.3, 63.3, 91.3), (0.3, 6.2, 23.0, 56.0, 84.0), (1.1, 6.9, 30.0, 91.0)]
)
@pytest.mark.parametrize("ivs", [IVS, (1.78, 1.55, 1.33), (1.05, 1.0, 0.95)])
def test_board_vols_give_the_constant_maturities_back(
    days: tuple[float, ...], ivs: tuple[float, float, float]
) -> None:
    expiries = [round(day * DAY_S) for day in days]
    vols = board_vols(expiries, at_s=0, ivs=ivs)
    traded = [expiry_s for expiry_s in expiries if expiry_s > 12 * HOUR_S]
    years, found = [expiry_s / YEAR_S for expiry_s in traded], [vols[expiry_s] for expiry_s in traded]
    for pillar, iv in zip((7.0, 30.0, 90.0), ivs, strict=True):
        assert float(iv_at_tenor(years, found, pillar * DAY_S / YEAR_S)) == pytest.approx(iv, rel=1e-9)
    assert max(found) < 1.2 * max(ivs)
    assert min(found) > 0.8 * min(ivs)


def test_only_tenors_that_are_missing_are_listed() -> None:
    def listed(day: float) -> ListedBoard:
        return ListedBoard(
            id=1, expiry_s=round(day * DAY_S), base_iv=0.7, strikes_usd=(2_000.0,), skews=(1.0,)
        )

    whole = [listed(day) for day in (5.0, 30.0, 70.0)]
    assert missing_boards(whole, at_s=0, spot_usd=2_000.0, ivs=IVS) == ()
    (front,) = missing_boards(whole[1:], at_s=0, spot_usd=2_000.0, ivs=IVS)
    assert 6.0 < front.expiry_s / DAY_S <= 7.0
    assert min(front.strikes_usd) < 2_000.0 < max(front.strikes_usd)
