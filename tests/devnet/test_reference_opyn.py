"""The Opyn Gamma reference behaves as the real contracts did where that was measured (venues.md 3.1, A)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.chain.abi import Abi
from bot.chain.rpc import RevertError, Rpc
from bot.devnet.boards import DAY_S
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_opyn import (
    DECIMALS,
    DEPOSIT_COLLATERAL,
    DISPUTE_S,
    LOCKING_S,
    MINT_SHORT,
    OPEN_VAULT,
    REDEEM,
    SETTLE_VAULT,
    Opyn,
    OpynOtoken,
    OpynSeries,
    deploy_opyn,
    first_series,
    list_series,
    push_expiry_price,
    redeem,
    terms_of,
    trade,
)
from bot.devnet.deploy_uniswap import UniswapV3
from bot.devnet.deployment import Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import InvariantError

pytestmark = pytest.mark.devnet

NOBODY = "0x" + "00" * 20
SPOT_USD = 2940.0
ONE = 10**DECIMALS


@pytest.fixture
def deployment(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
def bench(deployment: Deployment, rpc: Rpc, cache_dir: Path) -> Bench:
    return Bench(rpc, fetch(cache_dir), deployment.accounts)


@pytest.fixture
async def opyn(bench: Bench, deployment: Deployment) -> Opyn:
    v3 = UniswapV3(
        factory=bench.at("UniswapV3Factory", deployment.v3_factory),
        positions=bench.at("NonfungiblePositionManager", deployment.v3_position_manager),
        router=bench.at("SwapRouter", deployment.v3_router),
        quoter=bench.at("QuoterV2", deployment.v3_quoter),
        tick_lens=bench.at("TickLens", deployment.v3_tick_lens),
    )
    return await deploy_opyn(
        bench,
        v3,
        usdc=bench.at("TestERC20SetDecimals", deployment.usdc),
        weth=bench.at("WETH9", deployment.weth),
        feed=deployment.feed_eth_usd,
        writer=deployment.whale,
    )


def a_put(deployment: Deployment, **changes: Any) -> OpynSeries:
    now_s = deployment.deployed_at_s
    put = OpynSeries(strike_usd=2800.0, expiry_s=now_s + 8 * DAY_S + 8 * 3600, is_put=True, contracts=100)
    return replace(put, **changes)


async def listed(opyn: Opyn, series: OpynSeries) -> OpynOtoken:
    return await list_series(opyn, series, spot_usd=SPOT_USD, now_s=await opyn.factory.bench.now_s())


async def settle_at(opyn: Opyn, deployment: Deployment, expiry_s: int, price_usd: float) -> None:
    """Let the feed answer at expiry, and all periods pass."""
    bench = opyn.factory.bench
    await publish(bench, deployment, expiry_s, price_usd)
    await bench.set_time(expiry_s + LOCKING_S + 1)
    await push_expiry_price(opyn, expiry_s=expiry_s, round_id=await last_round(bench, deployment))
    await bench.set_time(await bench.now_s() + DISPUTE_S + 1)


async def publish(bench: Bench, deployment: Deployment, time_s: int, price_usd: float) -> None:
    await bench.set_time(time_s)
    feed = bench.own_at("ChainlinkFeed", deployment.feed_eth_usd)
    await feed.send("setAnswer", round(price_usd * 10**8), time_s)


async def last_round(bench: Bench, deployment: Deployment) -> int:
    feed = bench.own_at("ChainlinkFeed", deployment.feed_eth_usd)
    return int((await feed.call("latestRoundData"))[0])


# --- instruments ------------------------------------------------------------------------------------------


async def test_the_factory_lists_what_it_creates_at_the_address_it_foretold(
    opyn: Opyn, deployment: Deployment
) -> None:
    series = a_put(deployment)
    terms = terms_of(opyn, series)
    foretold = await opyn.factory.call("getTargetOtokenAddress", *terms)
    assert await opyn.factory.call("getOtoken", *terms) == NOBODY
    assert await opyn.factory.call("getOtokensLength") == 0

    receipt = await opyn.factory.send("createOtoken", *terms, sender=deployment.trader)  # anyone may

    assert await opyn.factory.call("getOtoken", *terms) == foretold
    assert await opyn.factory.call("otokens", 0) == foretold
    assert await opyn.factory.call("getOtokensLength") == 1
    assert await opyn.whitelist.call("isWhitelistedOtoken", foretold)
    created = next(log for log in receipt["logs"] if log["address"].lower() == opyn.factory.address.lower())
    assert created["topics"][0] == Abi.load("GammaOtokenFactory").topic("OtokenCreated")
    assert [int(topic, 16) for topic in created["topics"][1:]] == [
        int(address, 16) for address in (opyn.weth.address, opyn.usdc.address, opyn.usdc.address)
    ]
    token = opyn.factory.bench.own_at("reference/OpynGammaOtoken", foretold)
    usdc, weth = opyn.usdc.address.lower(), opyn.weth.address.lower()
    details = (usdc, weth, usdc, 2800 * ONE, series.expiry_s, True)
    assert await token.call("getOtokenDetails") == details
    assert await token.call("decimals") == 8
    with pytest.raises(InvariantError, match="already been initialized"):
        await token.send("initialize", opyn.address_book.address, *terms)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expiry_s": 1_652_428_800 + 1}, "has to expire 08:00 UTC"),
        ({"expiry_s": 1_652_400_000}, "has to expire 08:00 UTC"),  # midnight
        ({"expiry_s": 1_651_651_200}, "Can't create expired option"),
        ({"expiry_s": 11_865_398_400 - 86_400 + 28_800 + 86_400}, "expiry > 2345/12/31"),
        ({"strike_usd": 0.0}, r"Can't create a \$0 strike put option"),
    ],
)
async def test_the_factory_refuses(
    opyn: Opyn, deployment: Deployment, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvariantError, match=message):
        await opyn.factory.send("createOtoken", *terms_of(opyn, a_put(deployment, **changes)))


async def test_a_series_is_created_once_and_only_of_a_whitelisted_product(
    opyn: Opyn, deployment: Deployment
) -> None:
    terms = terms_of(opyn, a_put(deployment))
    await opyn.factory.send("createOtoken", *terms)
    with pytest.raises(InvariantError, match="Option already created"):
        await opyn.factory.send("createOtoken", *terms)
    in_weth = (*terms[:2], opyn.weth.address, *terms[3:])  # a put is backed by its strike asset
    with pytest.raises(InvariantError, match="Unsupported Product"):
        await opyn.factory.send("createOtoken", *in_weth)
    with pytest.raises(InvariantError, match="Only allow fully collateralized products"):
        await opyn.whitelist.send("whitelistProduct", *terms[:2], opyn.weth.address, True)


def test_the_first_series_serve_every_layer() -> None:
    series = first_series(now_s=1_651_708_800, spot_usd=SPOT_USD)
    assert [(one.strike_usd, one.is_put) for one in series] == [
        (2800.0, True), (2650.0, True), (2350.0, True), (1900.0, True), (3250.0, False),
    ]  # fmt: skip
    assert all(one.expiry_s % DAY_S == 8 * 3600 for one in series)


# --- writing ----------------------------------------------------------------------------------------------


async def test_a_put_is_written_against_its_whole_strike_in_the_margin_pool(
    opyn: Opyn, deployment: Deployment
) -> None:
    token = await listed(opyn, a_put(deployment))
    whale = deployment.whale
    assert token.vault_id == 1  # ids start at 1
    assert await opyn.controller.call("getAccountVaultCounter", whale) == 1
    vault, kind, _ = await opyn.controller.call("getVaultWithDetails", whale, 1)
    usdc = opyn.usdc.address.lower()
    assert vault == ((token.address.lower(),), (), (usdc,), (100 * ONE,), (), (280_000 * 10**6,))
    assert kind == 0
    assert await opyn.usdc.call("balanceOf", opyn.margin_pool.address) == 280_000 * 10**6
    assert await opyn.usdc.call("allowance", whale, opyn.controller.address) == 0
    assert await opyn.controller.call("getProceed", whale, 1) == 0  # all of it is needed
    assert await token.otoken.call("totalSupply") == 100 * ONE


async def test_a_call_is_written_against_its_underlying(opyn: Opyn, deployment: Deployment) -> None:
    await listed(opyn, a_put(deployment, strike_usd=3200.0, is_put=False))
    assert await opyn.weth.call("balanceOf", opyn.margin_pool.address) == 100 * 10**18


async def operate(opyn: Opyn, *actions: Sequence[Any], sender: str) -> None:
    await opyn.controller.send("operate", list(actions), sender=sender)


async def test_vaults_are_refused_by_the_protocols_codes(opyn: Opyn, deployment: Deployment) -> None:
    token, whale, trader = await listed(opyn, a_put(deployment)), deployment.whale, deployment.trader
    usdc, otoken = opyn.usdc, token.address
    await usdc.send("approve", opyn.margin_pool.address, 10**12, sender=trader)
    opened = (OPEN_VAULT, trader, trader, NOBODY, 1, 0, 0, b"")
    deposit = (DEPOSIT_COLLATERAL, trader, trader, usdc.address, 1, 2_800 * 10**6, 0, b"")
    mint = (MINT_SHORT, trader, trader, otoken, 1, ONE, 0, b"")
    refused: list[tuple[tuple[Sequence[Any], ...], str]] = [
        (((OPEN_VAULT, trader, trader, NOBODY, 2, 0, 0, b""),), "C15"),
        (((OPEN_VAULT, whale, trader, NOBODY, 2, 0, 0, b""),), "C6"),
        ((mint,), "C35"),
        ((opened, (*deposit[:4], 1, 0, 0, b"")), "V7"),
        ((opened, (*deposit[:3], opyn.oracle.address, 1, 5, 0, b"")), "C21"),
        ((opened, (*deposit[:2], whale, *deposit[3:])), "C20"),
        ((opened, (*mint[:3], usdc.address, 1, ONE, 0, b"")), "C23"),
        ((opened, deposit, (*mint[:5], ONE + 1, 0, b"")), "C14"),  # one unit short of collateral
        ((opened, deposit, (MINT_SHORT, whale, trader, otoken, 1, ONE, 0, b"")), "C12"),
        ((opened, deposit, (*mint[:5], ONE, 1, b"")), "V2"),
        ((opened, (SETTLE_VAULT, trader, trader, NOBODY, 1, 0, 0, b"")), "C30"),
        (((4, trader, trader, NOBODY, 1, 0, 0, b""),), "reference: this action is not implemented"),
    ]
    for actions, code in refused:
        with pytest.raises(InvariantError, match=code):
            await operate(opyn, *actions, sender=trader)
    await operate(opyn, opened, deposit, mint, sender=trader)
    assert await token.otoken.call("balanceOf", trader) == ONE


# --- the market -------------------------------------------------------------------------------------------


async def test_otokens_trade_on_uniswap_around_the_model_price(opyn: Opyn, deployment: Deployment) -> None:
    series = a_put(deployment)
    token, trader = await listed(opyn, series), deployment.trader
    model = series.model_usd(spot_usd=SPOT_USD, now_s=await opyn.factory.bench.now_s())
    had = await opyn.usdc.call("balanceOf", trader)
    quote = (opyn.usdc.address, token.address, 10 * ONE, 500, 0)
    quoted = (await opyn.v3.quoter.call("quoteExactOutputSingle", quote))[0]
    await trade(opyn, token, contracts=10, sender=trader)
    paid = had - await opyn.usdc.call("balanceOf", trader)
    assert paid == quoted
    assert 1.0 < paid / 10**6 / (10 * model) < 1.35  # a tenth of what is for sale moves the price
    assert await token.otoken.call("balanceOf", trader) == 10 * ONE
    await trade(opyn, token, contracts=-10, sender=trader)
    back = await opyn.usdc.call("balanceOf", trader) - had
    assert -0.003 * paid < back < 0  # two fees of 0.05 %
    with pytest.raises(RevertError):  # more than there are
        await opyn.v3.quoter.call("quoteExactOutputSingle", (*quote[:2], 101 * ONE, 500, 0))


# --- settlement -------------------------------------------------------------------------------------------


async def test_nothing_is_paid_before_expiry_locking_push_and_dispute(
    opyn: Opyn, deployment: Deployment
) -> None:
    """RUN: getPayout reverts before expiry; then C29 until the dispute periods of all three assets end."""
    token, trader, bench = await listed(opyn, a_put(deployment)), deployment.trader, opyn.factory.bench
    expiry_s, controller = token.series.expiry_s, opyn.controller
    await trade(opyn, token, contracts=3, sender=trader)
    pay = (REDEEM, NOBODY, trader, token.address, 0, 3 * ONE, 0, b"")

    await publish(bench, deployment, expiry_s - 3600, 2600.0)
    before = await last_round(bench, deployment)
    assert not await controller.call("hasExpired", token.address)
    with pytest.raises(RevertError, match="MarginCalculator: Otoken not expired yet"):
        await controller.call("getPayout", token.address, ONE)
    with pytest.raises(InvariantError, match="C28"):
        await operate(opyn, pay, sender=trader)
    settle = (SETTLE_VAULT, deployment.whale, deployment.whale, NOBODY, 1, 0, 0, b"")
    with pytest.raises(InvariantError, match="C31"):
        await operate(opyn, settle, sender=deployment.whale)

    await bench.set_time(expiry_s)
    assert await controller.call("hasExpired", token.address)
    await publish(bench, deployment, expiry_s + 30, 2500.0)
    first = await last_round(bench, deployment)
    with pytest.raises(RevertError, match="price at expiry not finalized yet"):
        await controller.call("getPayout", token.address, ONE)
    with pytest.raises(InvariantError, match="locking period is not over yet"):
        await push_expiry_price(opyn, expiry_s=expiry_s, round_id=first)
    with pytest.raises(InvariantError, match="C29"):
        await operate(opyn, pay, sender=trader)

    await bench.set_time(expiry_s + LOCKING_S + 1)
    assert await opyn.oracle.call("isLockingPeriodOver", opyn.weth.address, expiry_s)
    await publish(bench, deployment, await bench.now_s() + 60, 2400.0)
    for wrong, message in (
        (before, "roundId not first after"),
        (first + 1, "previousRoundId not last before"),
    ):
        with pytest.raises(InvariantError, match=message):
            await push_expiry_price(opyn, expiry_s=expiry_s, round_id=wrong, sender=trader)
    await push_expiry_price(opyn, expiry_s=expiry_s, round_id=first, sender=trader)  # anyone may push
    assert await opyn.oracle.call("getExpiryPrice", opyn.weth.address, expiry_s) == (2500 * ONE, False)
    assert await opyn.oracle.call("getExpiryPrice", opyn.usdc.address, expiry_s) == (ONE, True)
    with pytest.raises(InvariantError, match="dispute period started"):
        await push_expiry_price(opyn, expiry_s=expiry_s, round_id=first)
    assert not await controller.call("isSettlementAllowed", token.address)
    with pytest.raises(InvariantError, match="C29"):  # still in dispute
        await operate(opyn, pay, sender=trader)

    await bench.set_time(await bench.now_s() + DISPUTE_S + 1)
    assets = (opyn.weth.address, opyn.usdc.address, opyn.usdc.address)
    assert await controller.call("isSettlementAllowed", token.address)
    assert await controller.call("canSettleAssets", *assets, expiry_s)
    had = await opyn.usdc.call("balanceOf", trader)
    await redeem(opyn, token.address, amount_raw=3 * ONE, holder=trader)
    assert await opyn.usdc.call("balanceOf", trader) - had == 3 * 300 * 10**6
    assert await token.otoken.call("balanceOf", trader) == 0


async def test_a_disputed_price_is_the_one_that_pays(opyn: Opyn, deployment: Deployment) -> None:
    token, bench = await listed(opyn, a_put(deployment)), opyn.factory.bench
    expiry_s = token.series.expiry_s
    await publish(bench, deployment, expiry_s, 2500.0)
    await bench.set_time(expiry_s + LOCKING_S + 1)
    await push_expiry_price(opyn, expiry_s=expiry_s, round_id=await last_round(bench, deployment))
    await opyn.oracle.send("disputeExpiryPrice", opyn.weth.address, expiry_s, 2700 * ONE)
    await bench.set_time(await bench.now_s() + DISPUTE_S + 1)
    with pytest.raises(InvariantError, match="dispute period over"):
        await opyn.oracle.send("disputeExpiryPrice", opyn.weth.address, expiry_s, 2500 * ONE)
    assert await opyn.controller.call("getPayout", token.address, ONE) == 100 * 10**6


@pytest.mark.parametrize(
    ("strike_usd", "price_usd", "amount_raw", "payout_raw"),
    [
        (2800.0, 2500.0, ONE, 300 * 10**6),
        (2800.0, 2500.0, 1, 3),  # 1e-8 of an option: 300e6 / 1e8 units of USDC
        (2800.0, 2799.9999995, ONE, 0),  # the payoff of one option is cut to USDC's 6 decimals ...
        (2800.0, 2799.9999995, 1000 * ONE, 0),  # ... before it is multiplied
        (2800.12345678, 2500.0, ONE, 300_123_456),
        (2800.12345678, 2500.0, 3 * ONE, 900_370_368),  # 3 x the cut value, not the cut of 900.37037034
        (2800.0, 2500.0, 33_333_333, 99_999_999),  # cut again
        (2800.0, 2800.0, ONE, 0),
        (2800.0, 3500.0, ONE, 0),
    ],
)
async def test_payouts_go_from_8_to_6_decimals_and_are_cut(
    opyn: Opyn, deployment: Deployment, strike_usd: float, price_usd: float, amount_raw: int, payout_raw: int
) -> None:
    series = a_put(deployment, strike_usd=strike_usd)
    await opyn.factory.send("createOtoken", *terms_of(opyn, series))
    otoken = await opyn.factory.call("getOtoken", *terms_of(opyn, series))
    await settle_at(opyn, deployment, series.expiry_s, price_usd)
    assert await opyn.controller.call("getPayout", otoken, amount_raw) == payout_raw


async def test_a_call_pays_in_its_collateral(opyn: Opyn, deployment: Deployment) -> None:
    token = await listed(opyn, a_put(deployment, strike_usd=3000.0, is_put=False))
    trader = deployment.trader
    await trade(opyn, token, contracts=2, sender=trader)
    await settle_at(opyn, deployment, token.series.expiry_s, 4000.0)
    had = await opyn.weth.call("balanceOf", trader)
    await redeem(opyn, token.address, amount_raw=2 * ONE, holder=trader)
    assert await opyn.weth.call("balanceOf", trader) - had == 5 * 10**17  # 2 x 1000 USD at 4000


async def test_the_writer_gets_back_what_the_holders_do_not(opyn: Opyn, deployment: Deployment) -> None:
    token, whale = await listed(opyn, a_put(deployment)), deployment.whale
    await settle_at(opyn, deployment, token.series.expiry_s, 2500.0)
    assert await opyn.controller.call("getProceed", whale, 1) == 250_000 * 10**6
    had = await opyn.usdc.call("balanceOf", whale)
    await operate(opyn, (SETTLE_VAULT, whale, whale, NOBODY, 1, 0, 0, b""), sender=whale)
    assert await opyn.usdc.call("balanceOf", whale) - had == 250_000 * 10**6
    assert await opyn.usdc.call("balanceOf", opyn.margin_pool.address) == 30_000 * 10**6


# --- trouble ----------------------------------------------------------------------------------------------


async def test_a_pause_in_full_stops_redeeming_and_a_partial_one_does_not(
    opyn: Opyn, deployment: Deployment
) -> None:
    token, trader = await listed(opyn, a_put(deployment)), deployment.trader
    await trade(opyn, token, contracts=2, sender=trader)
    await settle_at(opyn, deployment, token.series.expiry_s, 2500.0)
    await opyn.controller.send("setSystemFullyPaused", True)
    with pytest.raises(InvariantError, match="C5"):
        await redeem(opyn, token.address, amount_raw=ONE, holder=trader)
    await opyn.controller.send("setSystemFullyPaused", False)
    await opyn.controller.send("setSystemPartiallyPaused", True)
    await redeem(opyn, token.address, amount_raw=ONE, holder=trader)
    with pytest.raises(InvariantError, match="C4"):
        await operate(opyn, (OPEN_VAULT, trader, trader, NOBODY, 1, 0, 0, b""), sender=trader)


async def test_a_blacklisted_or_foreign_token_is_not_redeemed(opyn: Opyn, deployment: Deployment) -> None:
    token, trader = await listed(opyn, a_put(deployment)), deployment.trader
    await trade(opyn, token, contracts=2, sender=trader)
    await settle_at(opyn, deployment, token.series.expiry_s, 2500.0)
    await opyn.whitelist.send("blacklistOtoken", token.address)
    with pytest.raises(InvariantError, match="C27"):
        await redeem(opyn, token.address, amount_raw=ONE, holder=trader)


async def test_nobody_else_mints_burns_or_moves_collateral(opyn: Opyn, deployment: Deployment) -> None:
    token, trader = await listed(opyn, a_put(deployment)), deployment.trader
    refused: list[tuple[Contract, str, tuple[Any, ...], str]] = [
        (token.otoken, "mintOtoken", (trader, ONE), "Only Controller can mint"),
        (token.otoken, "burnOtoken", (deployment.whale, ONE), "Only Controller can burn"),
        (opyn.margin_pool, "transferToUser", (opyn.usdc.address, trader, 1), "Sender is not Controller"),
        (opyn.whitelist, "whitelistOtoken", (trader,), "Sender is not OtokenFactory"),
        (opyn.oracle, "setExpiryPrice", (opyn.weth.address, 1, 1), "not authorized to set expiry price"),
        (opyn.controller, "setSystemFullyPaused", (True,), "C1"),
    ]
    for contract, function, args, message in refused:
        with pytest.raises(InvariantError, match=message):
            await contract.send(function, *args, sender=trader)
