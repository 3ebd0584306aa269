"""The Hegic Herge reference behaves as the real contracts did where that was measured (venues.md 3.2, A)."""

from pathlib import Path
from typing import Any

import pytest

from bot.chain.abi import Abi
from bot.chain.rpc import RevertError, Rpc
from bot.devnet.boards import DAY_S
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_hegic import (
    COVER_USDC,
    LIMIT_USDC,
    MONEYNESS,
    SPANS_DAYS,
    TREASURY_USDC,
    Hegic,
    HegicKind,
    deploy_hegic,
    premium_coefficients,
)
from bot.devnet.deployment import Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import InvariantError
from bot.model.intent import Log
from bot.model.units import YEAR_S
from bot.quant import options

pytestmark = pytest.mark.devnet

SPOT_USD = 2940.0
WAD = 10**18
ATM, ATM_KIND = "PUT_100_ETH_2", HegicKind(is_put=True, moneyness_percent=100)
PERIOD_S = 20 * DAY_S


@pytest.fixture
def deployment(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
def bench(deployment: Deployment, rpc: Rpc, cache_dir: Path) -> Bench:
    return Bench(rpc, fetch(cache_dir), deployment.accounts)


@pytest.fixture
def usdc(bench: Bench, deployment: Deployment) -> Contract:
    return bench.at("TestERC20SetDecimals", deployment.usdc)


@pytest.fixture
def feed(bench: Bench, deployment: Deployment) -> Contract:
    return bench.own_at("ChainlinkFeed", deployment.feed_eth_usd)


@pytest.fixture
async def hegic(bench: Bench, deployment: Deployment, usdc: Contract) -> Hegic:
    return await deploy(bench, deployment, usdc)


async def deploy(bench: Bench, at: Deployment, usdc: Contract, **options_: Any) -> Hegic:
    return await deploy_hegic(
        bench, usdc=usdc, feed=at.feed_eth_usd, payoff_pool=at.whale, spot_usd=SPOT_USD, **options_
    )


async def quote(hegic: Hegic, name: str, amount: float, period_s: int = PERIOD_S) -> tuple[int, int]:
    """(what is locked, premium), units of USDC."""
    found = await hegic.strategies[name].call(
        "calculateNegativepnlAndPositivepnl", round(amount * WAD), period_s, []
    )
    return int(found[0]), int(found[1])


async def buy(
    hegic: Hegic, usdc: Contract, holder: str, *, name: str = ATM, amount: float = 2.0, allow_raw: int = -1
) -> Any:
    """Buy with an allowance of exactly the premium; return the Acquired event."""
    _, premium = await quote(hegic, name, amount)
    allowed = premium if allow_raw < 0 else allow_raw
    await usdc.send("approve", hegic.treasury.address, allowed, sender=holder)
    order = (hegic.strategies[name].address, holder, round(amount * WAD), PERIOD_S, [])
    receipt = await hegic.treasury.send("buy", *order, sender=holder)
    logs = [
        Log(address=log["address"], topics=tuple(log["topics"]), data=bytes.fromhex(log["data"][2:]))
        for log in receipt["logs"]
        if log["topics"][0] == Abi.load("HegicStrategy").topic("Acquired")
    ]
    assert len(logs) == 1
    assert logs[0].address.lower() == hegic.strategies[name].address.lower()
    return Abi.load("HegicStrategy").decode_log("Acquired", logs[0])


async def publish(feed: Contract, price_usd: float) -> None:
    await feed.send("setAnswer", round(price_usd * 10**8), await feed.bench.now_s())


# --- prices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_put", [True, False])
@pytest.mark.parametrize("place", range(4))
def test_premiums_are_over_the_model_by_the_sellers_margin(is_put: bool, place: int) -> None:
    level = MONEYNESS[is_put][place]
    kind = HegicKind(is_put=is_put, moneyness_percent=level)
    coefficients = premium_coefficients(kind, spot_usd=SPOT_USD)
    last = 0.0
    for days in range(7, 91):
        period_s = days * DAY_S
        premium = sum(c * period_s**power for power, c in enumerate(coefficients)) / 10**24 / 10**6
        model = float(options.price(SPOT_USD, SPOT_USD * level / 100, period_s / YEAR_S, 0.9, is_put=is_put))
        assert model < premium < 1.15 * model + 6.0
        assert premium >= last
        last = premium


async def test_every_strategy_of_the_address_book_sells_its_span_of_periods(
    hegic: Hegic, deployment: Deployment, usdc: Contract
) -> None:
    assert len(hegic.strategies) == 32
    for number, (first, last) in enumerate(SPANS_DAYS, 1):
        strategy = hegic.strategies[f"PUT_90_ETH_{number}"]
        assert await hegic.treasury.call("acceptedStrategy", strategy.address)
        assert (await strategy.call("minPeriod"), await strategy.call("maxPeriod")) == (
            first * DAY_S, last * DAY_S,
        )  # fmt: skip
    await usdc.send("approve", hegic.treasury.address, 10**12, sender=deployment.user)
    strategy = hegic.strategies["PUT_90_ETH_2"].address
    for period_s in (14 * DAY_S - 1, 30 * DAY_S + 1):
        order = (strategy, deployment.user, WAD, period_s, [])
        with pytest.raises(InvariantError, match="Period is wrong"):
            await hegic.treasury.send("buy", *order, sender=deployment.user)


async def test_the_locked_collateral_is_the_premium(hegic: Hegic) -> None:
    """k = 100: far below what an option may have to pay."""
    locked, premium = await quote(hegic, ATM, 10)
    assert locked == premium > 0
    assert locked < 10 * SPOT_USD * 10**6 / 10


async def test_the_premium_follows_neither_spot_nor_vol(hegic: Hegic, feed: Contract) -> None:
    before = await quote(hegic, ATM, 1)
    await publish(feed, 1500.0)
    assert await quote(hegic, ATM, 1) == before


async def test_periods_outside_7_to_90_days_have_no_price(hegic: Hegic) -> None:
    for period_s, message in ((7 * DAY_S - 1, "too short"), (90 * DAY_S + 1, "too long")):
        with pytest.raises(RevertError, match=message):
            await quote(hegic, ATM, 1, period_s)


# --- buying -----------------------------------------------------------------------------------------------


async def test_a_purchase_is_struck_at_the_spot_of_its_execution(
    hegic: Hegic, deployment: Deployment, usdc: Contract, feed: Contract
) -> None:
    """RUN: the strike is not chosen. strategyData keeps the spot; the payoff is from spot x moneyness."""
    user, name = deployment.user, "PUT_90_ETH_2"
    had = await usdc.call("balanceOf", user)
    _, premium = await quote(hegic, name, 2)
    await publish(feed, 2800.0)  # between quote and execution
    bought = await buy(hegic, usdc, user, name=name)
    strategy = hegic.strategies[name]
    assert bought["id"] == 0  # ids start at 0
    assert bought["data"] == (2 * WAD, 2800 * 10**8)
    assert (bought["negativepnl"], bought["positivepnl"], bought["period"]) == (premium, premium, PERIOD_S)
    assert await strategy.call("strategyData", 0) == (2 * WAD, 2800 * 10**8)
    expires_s = await feed.bench.now_s() + PERIOD_S
    assert await strategy.call("positionExpiration", 0) == expires_s
    assert await hegic.treasury.call("lockedLiquidity", 0) == (
        1, strategy.address.lower(), premium, premium, expires_s,
    )  # fmt: skip
    assert had - await usdc.call("balanceOf", user) == premium
    assert await usdc.call("allowance", user, hegic.treasury.address) == 0
    assert await hegic.manager.call("ownerOf", 0) == user.lower()
    assert await hegic.manager.call("balanceOf", user) == 1

    await publish(feed, 2520.0)  # 2800 x 90 %
    assert await strategy.call("payOffAmount", 0) == 0
    await publish(feed, 2500.0)
    assert await strategy.call("payOffAmount", 0) == 2 * 20 * 10**6


async def test_an_exact_allowance_is_the_only_bound_on_the_premium(
    hegic: Hegic, deployment: Deployment, usdc: Contract
) -> None:
    """REL: `buy` takes neither a price limit nor a deadline."""
    user = deployment.user
    _, premium = await quote(hegic, ATM, 2)
    dear = premium_coefficients(ATM_KIND, spot_usd=SPOT_USD, times=1.5)
    await hegic.calculators["PUT_100_ETH"].send("setCoefficients", dear)
    had = await usdc.call("balanceOf", user)
    with pytest.raises(InvariantError, match=r"\.buy failed"):
        await buy(hegic, usdc, user, allow_raw=premium)
    assert await usdc.call("balanceOf", user) == had
    await buy(hegic, usdc, user, allow_raw=10**12)  # whoever allows more pays more
    assert had - await usdc.call("balanceOf", user) == pytest.approx(1.5 * premium, rel=1e-6)


@pytest.mark.parametrize("limit", ["strategy", "all", "funds", "own money"])
async def test_available_contracts_are_what_can_be_bought(
    hegic: Hegic, deployment: Deployment, usdc: Contract, limit: str
) -> None:
    user, strategy = deployment.user, hegic.strategies[ATM]
    _, one = await quote(hegic, ATM, 1)
    limit_raw = 20 * one + one // 2
    if limit == "strategy":
        await strategy.send("setLimit", limit_raw)
    elif limit == "all":
        await hegic.limits.send("setLimit", limit_raw)
    elif limit == "own money":  # what the cover pool could pay does not count then
        await hegic.limits.send("setOperationalTreasury", hegic.treasury.address)
        await hegic.treasury.send("withdraw", deployment.whale, TREASURY_USDC * 10**6 - limit_raw)
    else:  # the premium of the purchase is no fund yet when it is checked: two of it must fit
        await usdc.send("approve", hegic.cover_pool.address, 0, sender=hegic.payoff_pool)
        await hegic.treasury.send("withdraw", deployment.whale, TREASURY_USDC * 10**6 - limit_raw)
    available = await strategy.call("getAvailableContracts", PERIOD_S, [])
    assert available == limit_raw * WAD // one
    fits = available / WAD / (2 if limit == "funds" else 1)
    with pytest.raises(InvariantError, match=r"limit is exceeded|negative pnl amount is too large"):
        await buy(hegic, usdc, user, amount=fits + 0.01)
    await buy(hegic, usdc, user, amount=fits - 0.01)


async def test_what_the_deployment_can_pay(hegic: Hegic) -> None:
    assert await hegic.treasury.call("totalBalance") == TREASURY_USDC * 10**6
    assert await hegic.cover_pool.call("availableForPayment") == COVER_USDC * 10**6
    _, one = await quote(hegic, ATM, 1)
    available = await hegic.strategies[ATM].call("getAvailableContracts", PERIOD_S, [])
    assert available == LIMIT_USDC * 10**6 * WAD // one


async def test_a_strategy_that_is_not_accepted_sells_nothing(
    hegic: Hegic, bench: Bench, deployment: Deployment, usdc: Contract
) -> None:
    calculator = hegic.calculators["PUT_90_ETH"].address
    terms = (True, deployment.feed_eth_usd, calculator, 10**12, 18, 9000, [7 * DAY_S, 90 * DAY_S], 0)
    stray = await bench.deploy_own("reference/HegicHergeStrategy", *terms, hegic.limits.address)
    assert not await hegic.treasury.call("acceptedStrategy", stray.address)
    order = (stray.address, deployment.user, WAD, PERIOD_S, [])
    with pytest.raises(InvariantError, match=r"\.buy failed"):
        await hegic.treasury.send("buy", *order, sender=deployment.user)


# --- exercise ---------------------------------------------------------------------------------------------


async def test_an_option_in_the_money_pays_before_it_expires_and_never_after(
    hegic: Hegic, deployment: Deployment, usdc: Contract, feed: Contract, bench: Bench
) -> None:
    """RUN: payOff at or after expiration reverts, the option dies worthless; unlock pays nobody."""
    user, strategy, treasury = deployment.user, hegic.strategies[ATM], hegic.treasury
    for _ in range(2):
        await buy(hegic, usdc, user)
    expires_s = await strategy.call("positionExpiration", 1)
    await publish(feed, 2640.0)
    assert await strategy.call("payOffAmount", 0) == 600 * 10**6
    assert await strategy.call("isPayoffAvailable", 0, user, user)
    assert not await strategy.call("isPayoffAvailable", 0, deployment.trader, user)
    with pytest.raises(InvariantError, match="You can not execute this option strat"):
        await treasury.send("payOff", 0, deployment.trader, sender=deployment.trader)
    with pytest.raises(InvariantError, match="expiration time has not yet come"):
        await treasury.send("unlock", 0)
    had = await usdc.call("balanceOf", user)
    receipt = await treasury.send("payOff", 0, user, sender=user)
    paid = [
        log
        for log in receipt["logs"]
        if log["topics"][0] == Abi.load("HegicOperationalTreasury").topic("Paid")
    ]
    assert int(paid[0]["topics"][1], 16) == 0
    assert await usdc.call("balanceOf", user) - had == 600 * 10**6
    assert (await treasury.call("lockedLiquidity", 0))[0] == 0
    with pytest.raises(InvariantError, match="already been unlocked"):
        await treasury.send("payOff", 0, user, sender=user)

    await bench.set_time(expires_s - 1)
    assert await strategy.call("isPayoffAvailable", 1, user, user)
    await bench.set_time(expires_s)
    with pytest.raises(InvariantError, match="The option has already expired"):
        await treasury.send("payOff", 1, user, sender=user)
    assert await strategy.call("payOffAmount", 1) == 600 * 10**6  # it still says so
    assert await strategy.call("isPayoffAvailable", 1, user, user)  # and so does this
    had = await usdc.call("balanceOf", user)
    receipt = await treasury.send("unlock", 1, sender=deployment.trader)
    topics = [log["topics"][0] for log in receipt["logs"]]
    assert topics == [Abi.load("HegicOperationalTreasury").topic("Expired")]
    assert await usdc.call("balanceOf", user) == had


async def test_an_option_out_of_the_money_cannot_be_exercised(
    hegic: Hegic, deployment: Deployment, usdc: Contract, feed: Contract
) -> None:
    await buy(hegic, usdc, deployment.user)
    await publish(feed, SPOT_USD)
    assert await hegic.strategies[ATM].call("payOffAmount", 0) == 0
    with pytest.raises(InvariantError, match="You can not execute this option strat"):
        await hegic.treasury.send("payOff", 0, deployment.user, sender=deployment.user)


async def test_a_call_pays_above_its_strike(
    hegic: Hegic, deployment: Deployment, usdc: Contract, feed: Contract
) -> None:
    await buy(hegic, usdc, deployment.user, name="CALL_110_ETH_2")
    await publish(feed, 3300.0)
    assert await hegic.strategies["CALL_110_ETH_2"].call("payOffAmount", 0) == 2 * 66 * 10**6


async def test_an_exercise_window_closes_all_but_the_last_seconds(
    bench: Bench, deployment: Deployment, usdc: Contract, feed: Contract
) -> None:
    hegic = await deploy(bench, deployment, usdc, exercise_window_s=3600)
    user, strategy = deployment.user, hegic.strategies[ATM]
    assert await strategy.call("exerciseWindowDuration") == 3600
    await buy(hegic, usdc, user)
    expires_s = await strategy.call("positionExpiration", 0)
    await publish(feed, 2500.0)
    assert not await strategy.call("isPayoffAvailable", 0, user, user)
    with pytest.raises(InvariantError, match="You can not execute this option strat"):
        await hegic.treasury.send("payOff", 0, user, sender=user)
    await bench.set_time(expires_s - 3599)
    assert await strategy.call("isPayoffAvailable", 0, user, user)
    await hegic.treasury.send("payOff", 0, user, sender=user)


async def test_the_pool_may_be_unable_to_pay(
    hegic: Hegic, deployment: Deployment, usdc: Contract, feed: Contract
) -> None:
    """The treasury pays, then its cover pool; beyond both, exercise reverts (counterparty risk)."""
    user, treasury = deployment.user, hegic.treasury
    for _ in range(3):
        await buy(hegic, usdc, user, amount=5.0)
    funds = await treasury.call("totalBalance")
    bound = await treasury.call("totalLocked") + await treasury.call("lockedPremium")
    await treasury.send("withdraw", deployment.whale, funds - bound)
    await publish(feed, 440.0)
    due = 5 * 2500 * 10**6
    assert await hegic.strategies[ATM].call("payOffAmount", 0) == due
    assert await treasury.call("totalBalance") < due
    cover = await hegic.cover_pool.call("availableForPayment")
    had = await usdc.call("balanceOf", user)
    await treasury.send("payOff", 0, user, sender=user)  # the cover pool steps in
    assert await usdc.call("balanceOf", user) - had == due
    assert await hegic.cover_pool.call("availableForPayment") < cover

    await usdc.send("approve", hegic.cover_pool.address, 0, sender=hegic.payoff_pool)
    assert await hegic.cover_pool.call("availableForPayment") == 0
    with pytest.raises(InvariantError, match=r"\.payOff failed"):
        await treasury.send("payOff", 1, user, sender=user)


async def test_a_holder_that_is_a_contract_must_take_erc721(
    hegic: Hegic, deployment: Deployment, usdc: Contract
) -> None:
    _, premium = await quote(hegic, ATM, 1)
    await usdc.send("approve", hegic.treasury.address, premium, sender=deployment.user)
    order = (hegic.strategies[ATM].address, deployment.v3_pool, WAD, PERIOD_S, [])
    with pytest.raises(InvariantError, match=r"\.buy failed"):
        await hegic.treasury.send("buy", *order, sender=deployment.user)


async def test_only_the_treasury_creates_and_only_the_owner_sets(
    hegic: Hegic, deployment: Deployment
) -> None:
    trader = deployment.trader
    refused: list[tuple[Contract, str, tuple[Any, ...]]] = [
        (hegic.manager, "createOptionFor", (trader,)),
        (hegic.cover_pool, "payOut", (1,)),
        (hegic.strategies[ATM], "create", (9, trader, WAD, PERIOD_S, [])),
        (hegic.strategies[ATM], "setLimit", (1,)),
        (hegic.strategies[ATM], "connect", ()),
        (hegic.treasury, "withdraw", (trader, 1)),
        (hegic.calculators["PUT_100_ETH"], "setCoefficients", ([1] * 5,)),
    ]
    for contract, function, args in refused:
        with pytest.raises(InvariantError, match=rf"\.{function} failed"):
            await contract.send(function, *args, sender=trader)
