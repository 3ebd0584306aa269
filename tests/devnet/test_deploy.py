"""Every system of the devnet does its real work: one interaction each, against the real contracts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.chain.rpc import RevertError, Rpc, quantity
from bot.devnet import deploy
from bot.devnet.artifacts import own_artifact
from bot.devnet.boards import DAY_S, board_call, plan_board
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_lyra import FIRST_BOARDS, SETH_KEY
from bot.devnet.deployment import Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.quant import lp, options

pytestmark = pytest.mark.devnet

WAD = 10**18
NEVER = 2**40
UNLIMITED = 2**256 - 1
LONG_CALL, LONG_PUT = 0, 1
YEAR_S = 365 * DAY_S


@pytest.fixture
def deployment(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
def bench(deployment: Deployment, rpc: Rpc, cache_dir: Path) -> Bench:
    return Bench(rpc, fetch(cache_dir), deployment.accounts)


def order(strike_id: int, amount: float, *, position_id: int = 0, kind: int = LONG_PUT) -> tuple[Any, ...]:
    """Lyra TradeInputParameters without bounds, in one iteration."""
    return (strike_id, position_id, 1, kind, round(amount * WAD), 0, 0, UNLIMITED)


async def buyer(bench: Bench, deployment: Deployment, usd: int = 1_000_000) -> str:
    """The trader, with Lyra's approval to take ``usd`` of sUSD."""
    susd = bench.at("TestERC20Fail", deployment.susd)
    await susd.send("approve", deployment.lyra_option_market, usd * WAD, sender=deployment.trader)
    return deployment.trader


async def strikes(market: Contract, board_id: int) -> list[tuple[Any, ...]]:
    """(id, price, skew, …) by strike price."""
    _, found, *_ = await market.call("getBoardAndStrikeDetails", board_id)
    return sorted(found, key=lambda strike: strike[1])


# --- tokens, feed, AMMs -----------------------------------------------------------------------------------


async def test_user_starts_with_usdc_lp_positions_and_gas_only(bench: Bench, deployment: Deployment) -> None:
    balances = {
        name: await bench.at("WETH9", address).call("balanceOf", deployment.user)
        for name, address in (("USDC", deployment.usdc), ("WETH", deployment.weth), ("sUSD", deployment.susd))
    }
    assert balances == {"USDC": 100_000 * 10**6, "WETH": 0, "sUSD": 0}
    for token in (deployment.usdc, deployment.weth):
        for spender in (deployment.v3_position_manager, deployment.v2_router, deployment.v3_router):
            assert await bench.at("WETH9", token).call("allowance", deployment.user, spender) == 0
    assert quantity(await bench.rpc.read("eth_getBalance", [deployment.user, "latest"])) == deploy.USER_WEI


async def test_decimals_and_symbols(bench: Bench, deployment: Deployment) -> None:
    tokens = {"WETH": (deployment.weth, 18), "USDC": (deployment.usdc, 6), "sUSD": (deployment.susd, 18)}
    for symbol, (address, decimals) in tokens.items():
        token = bench.at("TestERC20SetDecimals", address)
        assert await token.call("symbol") == symbol
        assert await token.call("decimals") == decimals


async def test_multicall3_answers_at_its_well_known_address(devnet: Devnet, rpc: Rpc) -> None:
    data = "0x42cbb15c"  # getBlockNumber()
    answer = await rpc.read("eth_call", [{"to": devnet.deployment.multicall3, "data": data}, "latest"])
    assert quantity(await rpc.read("eth_blockNumber")) == int(answer, 16)


async def test_feed_publishes_with_its_own_time_and_only_for_its_owner(
    bench: Bench, deployment: Deployment
) -> None:
    feed = own_feed(bench, deployment.feed_eth_usd)
    first = await feed.call("latestRoundData")
    assert first[1] == 2940 * 10**8
    assert deployment.deployed_at_s - 120 <= first[3] <= deployment.deployed_at_s
    assert await feed.call("decimals") == 8
    assert await feed.call("description") == "ETH / USD"

    late = deployment.deployed_at_s - 7200
    await feed.send("setAnswer", 2500 * 10**8, late)
    assert await feed.call("latestRoundData") == (first[0] + 1, 2500 * 10**8, late, late, first[0] + 1)
    assert (await feed.call("getRoundData", first[0]))[1] == 2940 * 10**8
    with pytest.raises(InvariantError, match="owner only"):
        await feed.send("setAnswer", 1, late, sender=deployment.user)
    with pytest.raises(InvariantError, match="answer from the future"):
        await feed.send("setAnswer", 1, deployment.deployed_at_s + 10**6)


def own_feed(bench: Bench, address: str) -> Contract:
    return Contract(address, own_artifact("ChainlinkFeed"), bench)


async def test_v2_swap_moves_the_price(bench: Bench, deployment: Deployment) -> None:
    router, pair = (
        bench.at("UniswapV2Router02", deployment.v2_router),
        bench.at("UniswapV2Pair", deployment.v2_pair),
    )
    before = await pair.call("getReserves")
    assert before[1] / 10**6 / (before[0] / WAD) == pytest.approx(2940, rel=1e-6)  # WETH sorts first
    weth = bench.at("WETH9", deployment.weth)
    await weth.send("approve", router.address, 100 * WAD, sender=deployment.trader)
    path = [deployment.weth, deployment.usdc]
    await router.send(
        "swapExactTokensForTokens", 100 * WAD, 0, path, deployment.trader, NEVER, sender=deployment.trader
    )
    after = await pair.call("getReserves")
    assert after[0] == before[0] + 100 * WAD
    assert after[1] < before[1]
    share = await pair.call("balanceOf", deployment.user) / await pair.call("totalSupply")
    assert 2 * share * before[1] / 10**6 == pytest.approx(400_000, rel=1e-6)


async def test_v3_swap_fills_at_the_quoted_amount(bench: Bench, deployment: Deployment) -> None:
    quoter, router = bench.at("QuoterV2", deployment.v3_quoter), bench.at("SwapRouter", deployment.v3_router)
    usdc, trader = bench.at("WETH9", deployment.usdc), deployment.trader
    pair = (deployment.weth, deployment.usdc)
    quoted = (await quoter.call("quoteExactInputSingle", (*pair, 10 * WAD, deploy.FEE_VOLATILE, 0)))[0]
    assert quoted / 10**6 / 10 == pytest.approx(2940, rel=0.005)
    await bench.at("WETH9", deployment.weth).send("approve", router.address, 10 * WAD, sender=trader)
    had = await usdc.call("balanceOf", trader)
    swap = (*pair, deploy.FEE_VOLATILE, trader, NEVER, 10 * WAD, quoted, 0)
    await router.send("exactInputSingle", swap, sender=trader)
    assert await usdc.call("balanceOf", trader) - had == quoted


async def test_stable_swap_is_near_par_in_size(bench: Bench, deployment: Deployment) -> None:
    """The bot pays Lyra in sUSD that it buys here: a million must not cost a tenth of a percent."""
    quoter = bench.at("QuoterV2", deployment.v3_quoter)
    swap = (deployment.usdc, deployment.susd, 1_000_000 * 10**6, deployment.stable_pool_fee, 0)
    bought = (await quoter.call("quoteExactInputSingle", swap))[0]
    assert 999_000 * WAD < bought < 1_000_000 * WAD


async def test_user_position_is_worth_what_it_should(bench: Bench, deployment: Deployment) -> None:
    positions = bench.at("NonfungiblePositionManager", deployment.v3_position_manager)
    assert await positions.call("ownerOf", deployment.user_v3_token_id) == deployment.user.lower()
    found = await positions.call("positions", deployment.user_v3_token_id)
    lower_tick, upper_tick, liquidity = found[5:8]
    lower, upper = (1.0001**tick * 10**12 for tick in (lower_tick, upper_tick))
    assert (lower, upper) == pytest.approx((1470, 5880), rel=1e-3)
    shape = LpShape(liquidity=liquidity / 10**12, lower_usd=lower, upper_usd=upper)
    assert float(lp.value(shape, 2940.0)) == pytest.approx(600_000, rel=1e-3)
    assert await positions.call("ownerOf", deployment.whale_v3_token_id) == deployment.whale.lower()


@pytest.mark.parametrize("pool_field", ["v3_pool", "stable_pool", "perp_pool"])
async def test_pools_answer_a_half_hour_average_at_once(
    bench: Bench, deployment: Deployment, pool_field: str
) -> None:
    pool = bench.at("UniswapV3Pool", getattr(deployment, pool_field))
    slot0 = await pool.call("slot0")
    assert slot0[4] >= 300  # room for two weeks of hourly observations
    ticks, _ = await pool.call("observe", [1800, 0])
    assert (ticks[1] - ticks[0]) / 1800 == pytest.approx(slot0[1], abs=1)


# --- Lyra -------------------------------------------------------------------------------------------------


async def test_boards_expire_when_they_should(bench: Bench, deployment: Deployment) -> None:
    market = bench.at("OptionMarket", deployment.lyra_option_market)
    assert await market.call("getLiveBoards") == deployment.lyra_board_ids
    for board_id, (days, base_iv) in zip(deployment.lyra_board_ids, FIRST_BOARDS, strict=True):
        board, *_ = await market.call("getBoardAndStrikeDetails", board_id)
        assert board[1] == deployment.deployed_at_s + days * DAY_S + 8 * 3600
        assert board[2] == pytest.approx(base_iv * WAD)


@pytest.mark.parametrize(("place", "band"), [(0, (0.35, 0.50)), (1, (0.20, 0.35)), (2, (0.05, 0.15))])
async def test_every_layer_finds_strikes_and_they_trade_in_size(
    bench: Bench, deployment: Deployment, place: int, band: tuple[float, float]
) -> None:
    """R12-R14: NEAR on the week, MID on the month, TAIL on the quarter; 100 ETH at 3 to 25 % over model."""
    market = bench.at("OptionMarket", deployment.lyra_option_market)
    who = await buyer(bench, deployment)
    board, *_ = await market.call("getBoardAndStrikeDetails", deployment.lyra_board_ids[place])
    years = (board[1] - deployment.deployed_at_s) / YEAR_S
    inside = 0
    for strike_id, strike_raw, skew_raw, *_ in await strikes(market, board[0]):
        strike, vol = strike_raw / WAD, board[2] / WAD * skew_raw / WAD
        delta = float(options.delta(2940.0, strike, years, vol, is_put=True))
        if not band[0] <= -delta <= band[1]:
            continue
        inside += 1
        _, cost, fee = await market.call("openPosition", order(strike_id, 100), sender=who)
        model = 100 * float(options.price(2940.0, strike, years, vol, is_put=True))
        assert 1.03 < cost / WAD / model < 1.25
        assert 0 < fee < cost
    assert inside >= 2


async def test_buy_mark_and_sell_a_put(bench: Bench, deployment: Deployment) -> None:
    market = bench.at("OptionMarket", deployment.lyra_option_market)
    token, susd = bench.at("OptionToken", deployment.lyra_option_token), bench.at("WETH9", deployment.susd)
    who = await buyer(bench, deployment)
    strike_id = (await strikes(market, deployment.lyra_board_ids[1]))[7][0]
    had = await susd.call("balanceOf", who)
    quoted = await market.call("openPosition", order(strike_id, 20), sender=who)
    await market.send("openPosition", order(strike_id, 20), sender=who)
    paid = had - await susd.call("balanceOf", who)
    assert paid == pytest.approx(quoted[1], rel=1e-5)  # one second later
    (position,) = await token.call("getOwnerPositions", who)
    assert position[1:4] == (strike_id, LONG_PUT, 20 * WAD)

    selling = order(strike_id, 20, position_id=position[0])
    _, worth, _ = await market.call("closePosition", selling, sender=who)
    assert 0.80 < worth / paid < 0.97
    await market.send("closePosition", order(strike_id, 5, position_id=position[0]), sender=who)
    (rest,) = await token.call("getOwnerPositions", who)
    assert rest[3] == 15 * WAD


async def test_a_tail_bought_calm_can_be_sold_in_a_crash(bench: Bench, deployment: Deployment) -> None:
    """Spot down 30 %, base IV to 150 %: limits must not stop the sale that the hedge is for (R9)."""
    market, greeks = (
        bench.at("OptionMarket", deployment.lyra_option_market),
        bench.at("OptionGreekCache", deployment.lyra_greek_cache),
    )
    token = bench.at("OptionToken", deployment.lyra_option_token)
    who, board_id = await buyer(bench, deployment), deployment.lyra_board_ids[2]
    strike_id = (await strikes(market, board_id))[3][0]
    _, cost, _ = await market.call("openPosition", order(strike_id, 100), sender=who)
    await market.send("openPosition", order(strike_id, 100), sender=who)

    await bench.set_time(deployment.deployed_at_s + 5 * DAY_S)
    rates = bench.at("TestExchangeRates", deployment.lyra_exchange_rates)
    await rates.send("setRateAndInvalid", SETH_KEY, 2058 * WAD, False)
    await market.send("setBoardFrozen", board_id, True)
    await market.send("setBoardBaseIv", board_id, round(1.5 * WAD))
    await market.send("setBoardFrozen", board_id, False)
    await greeks.send("updateBoardCachedGreeks", board_id)

    (position,) = await token.call("getOwnerPositions", who)
    _, worth, _ = await market.call(
        "closePosition", order(strike_id, 100, position_id=position[0]), sender=who
    )
    assert worth > 3 * cost
    _, fresh_cost, _ = await market.call("openPosition", order(strike_id, 100), sender=who)
    assert fresh_cost > worth


async def test_put_is_settled_to_its_owner_after_expiry(bench: Bench, deployment: Deployment) -> None:
    market, susd = bench.at("OptionMarket", deployment.lyra_option_market), bench.at("WETH9", deployment.susd)
    token = bench.at("OptionToken", deployment.lyra_option_token)
    collateral = bench.at("ShortCollateral", deployment.lyra_short_collateral)
    who, board_id = await buyer(bench, deployment), deployment.lyra_board_ids[0]
    strike_id, strike_raw, *_ = (await strikes(market, board_id))[10]
    await market.send("openPosition", order(strike_id, 10), sender=who)
    (position,) = await token.call("getOwnerPositions", who)
    board, *_ = await market.call("getBoardAndStrikeDetails", board_id)

    await bench.set_time(board[1] - DAY_S // 2 + 60)  # inside the cutoff of twelve hours
    with pytest.raises(RevertError, match="TradingCutoffReached"):
        await market.call("openPosition", order(strike_id, 10), sender=who)

    await bench.set_time(board[1] + 1)
    rates = bench.at("TestExchangeRates", deployment.lyra_exchange_rates)
    await rates.send("setRateAndInvalid", SETH_KEY, 2000 * WAD, False)
    await market.send("settleExpiredBoard", board_id)
    had = await susd.call("balanceOf", who)
    await collateral.send("settleOptions", [position[0]], sender=deployment.whale)  # anyone may
    assert await susd.call("balanceOf", who) - had == 10 * (strike_raw - 2000 * WAD)
    assert await token.call("getOwnerPositions", who) == ()


async def test_a_later_board_is_listed_with_the_same_plan(bench: Bench, deployment: Deployment) -> None:
    market = bench.at("OptionMarket", deployment.lyra_option_market)
    now_s = deployment.deployed_at_s + 3 * DAY_S + 5
    await bench.set_time(now_s)
    board = plan_board(now_s=now_s, days=7, spot_usd=2400.0, base_iv=1.2)
    await market.send("createOptionBoard", *board_call(board))
    listed = await market.call("getLiveBoards")
    assert len(listed) == 5
    found = await strikes(market, listed[-1])
    assert [strike[1] / WAD for strike in found] == list(board.strikes_usd)
    with pytest.raises(InvariantError, match="OnlyOwner"):
        await market.send("createOptionBoard", *board_call(board), sender=deployment.user)


def test_planned_strikes_have_the_deltas_asked_for() -> None:
    for days in (7, 30, 63, 91):
        board = plan_board(now_s=deploy.READY_S, days=days, spot_usd=2940.0, base_iv=0.9)
        years = (board.expiry_s - deploy.READY_S) / YEAR_S
        deltas = [
            -float(options.delta(2940.0, strike, years, 0.9 * skew, is_put=True))
            for strike, skew in zip(board.strikes_usd, board.skews, strict=True)
        ]
        assert deltas == sorted(deltas)
        assert deltas[0] == pytest.approx(0.04, abs=0.01)
        assert deltas[-1] == pytest.approx(0.80, abs=0.02)
        assert len(deltas) == 14


# --- Perp -------------------------------------------------------------------------------------------------


async def test_short_earns_or_pays_funding_that_can_be_read(bench: Bench, deployment: Deployment) -> None:
    house, vault = (
        bench.at("ClearingHouse", deployment.perp_clearing_house),
        bench.at("Vault", deployment.perp_vault),
    )
    exchange, balance = (
        bench.at("Exchange", deployment.perp_exchange),
        bench.at("AccountBalance", deployment.perp_account_balance),
    )
    who, base = deployment.user, deployment.perp_base_token
    await bench.at("WETH9", deployment.usdc).send("approve", vault.address, 50_000 * 10**6, sender=who)
    await vault.send("deposit", deployment.usdc, 50_000 * 10**6, sender=who)
    short = (base, True, True, 20 * WAD, 0, NEVER, 0, bytes(32))
    _, quote = await house.call("openPosition", short, sender=who)
    assert quote / WAD / 20 == pytest.approx(2940, rel=0.01)
    await house.send("openPosition", short, sender=who)
    assert await balance.call("getTakerPositionSize", who, base) == -20 * WAD

    # The index rises 2 % above the mark: the mark is cheap, so the short pays.
    feed = own_feed(bench, deployment.perp_feed)
    now_s = await bench.now_s()
    await feed.send("setAnswer", 3000 * 10**8, now_s)
    await bench.at("PriceFeedDispatcher", deployment.perp_price_dispatcher).send("dispatchPrice", 0)
    await bench.set_time(now_s + 6 * 3600)
    index = await bench.at("BaseToken", base).call("getIndexPrice", 900)
    assert index == 3000 * WAD
    mark = (await exchange.call("getSqrtMarketTwapX96", base, 900) / 2**96) ** 2
    assert 2900 < mark < 2940
    owed = await exchange.call("getPendingFundingPayment", who, base) / WAD
    assert owed == pytest.approx(20 * (3000 - mark) * 6 / 24, rel=0.01)  # size x premium x days
    await house.send("closePosition", (base, 0, 0, NEVER, bytes(32)), sender=who)
    assert await balance.call("getTakerPositionSize", who, base) == 0


# --- own contracts and errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", sorted(Path(deploy.__file__).with_name("contracts").rglob("*.vy")))
def test_committed_artifact_is_what_the_source_compiles_to(source: Path) -> None:
    vyper = pytest.importorskip("vyper")
    built = vyper.compile_code(source.read_text(encoding="utf-8"), output_formats=["abi", "bytecode"])
    committed = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    assert committed == {"abi": built["abi"], "bytecode": built["bytecode"]}


async def test_a_transaction_that_reverts_says_which_and_why(bench: Bench, deployment: Deployment) -> None:
    market = bench.at("OptionMarket", deployment.lyra_option_market)
    with pytest.raises(InvariantError, match=r"OptionMarket\.setBoardFrozen failed.*OnlyOwner"):
        await market.send("setBoardFrozen", 1, True, sender=deployment.user)
