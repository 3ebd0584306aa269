"""Money comes out of Panoptic whatever happens around a close. All was run on the protocol's own code too."""

from dataclasses import replace
from typing import Any

import pytest
from panoptic_desk import ETH

from bot.devnet.deploy_panoptic import HIGHEST_TICK, LOWEST_TICK, deposit
from bot.errors import TransientError
from bot.model.hedge import LegStatus, OptionType, Quote, Side
from bot.model.intent import Receipt

from .conftest import buy_leg
from .test_panoptic import STRIKES, WIDTH, Market, market

__all__ = ("market",)  # a fixture
pytestmark = pytest.mark.devnet
LONG = "withdraw(uint256,address,address,uint256[],bool)"


async def sell_more(market: Market, *options: tuple[float, int]) -> None:
    """The seller sells 50 of each (strike, width) too."""
    at = market.desk.at
    held = sold(market)
    for strike, width in options:
        new = at.option(OptionType.PUT, strike, width=width, is_long=False).value
        limits = [(LOWEST_TICK, HIGHEST_TICK, 0)]
        await at.pool.send("dispatch", [new], [*held, new], [50 * ETH], limits, True, 0, sender=at.seller)
        held.append(new)
    market.terms = replace(market.terms, min_dte=0.2)


def sold(market: Market) -> list[int]:
    at = market.desk.at
    return [at.option(OptionType.PUT, strike, width=WIDTH, is_long=False).value for strike in STRIKES]


async def quote_of(market: Market, width: int) -> Quote:
    quotes = await market.venue.quotes(await market.view(), underlying="ETH", size=5.0)
    return next(item for item in quotes if item.instrument.id.endswith(f":{width}"))


@pytest.mark.parametrize("idle_s", [4, 3_600, 86_400])
async def test_interest_that_others_pay_is_not_taken_for_a_gain_of_what_is_lent(
    market: Market, idle_s: int
) -> None:
    """Far out of the money nothing is left as slack: what is withdrawn is known to the last unit."""
    desk = market.desk
    await sell_more(market, (2500, 200))
    quote = await quote_of(market, 200)
    bought = await market.venue.execute(buy_leg(quote), view=await market.view())
    assert bought.status is LegStatus.FILLED, bought.because
    await desk.bench.set_time(await desk.bench.now_s() + idle_s)
    (position,) = await market.held()
    sold_again = await market.close(position, limit_usd=0.0)
    assert sold_again.status is LegStatus.FILLED, sold_again.because
    assert await market.pool_usd() < 0.01
    assert sold_again.premium_usd <= bought.premium_usd


@pytest.mark.parametrize("side", [Side.SELL, Side.SETTLE])
@pytest.mark.parametrize("purpose", ["withdraw-unit", "withdraw-cash"])
async def test_an_order_that_was_cut_off_between_its_withdrawals_goes_on(
    market: Market, side: Side, purpose: str
) -> None:
    await market.buy()
    await market.desk.swap_to(2500)
    await market.desk.calm()
    (position,) = await market.held()

    async def cut(request: Any) -> None:
        if request.purpose == purpose:
            raise TransientError("the process was killed here")

    market.transactor.before_send = cut
    outcome = await market.close(position, limit_usd=0.0, side=side)
    assert outcome.status is LegStatus.UNKNOWN
    market.transactor.before_send = None
    outcome = await market.venue.reconcile(outcome.leg, view=await market.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(position.liquidation_usd, rel=0.05)
    assert await market.pool_usd() < 0.1


@pytest.mark.parametrize("side", [Side.SELL, Side.SETTLE])
async def test_where_others_borrowed_all_money_a_close_waits_for_its_own(market: Market, side: Side) -> None:
    desk, at = market.desk, market.desk.at
    await market.buy(size=5.0)
    await desk.swap_to(2500)
    await desk.calm()
    tracker = desk.usdc_tracker
    deposited, _, credited, _ = await tracker.call("getPoolData")
    await at.tokens[at.unit].send("deposit", sender=at.seller, value_wei=1_000 * ETH)
    await deposit(at, owner=at.seller, unit_raw=1_000 * ETH)
    free = deposited - await tracker.call("convertToAssets", credited) - 201 * 10**6
    await tracker.send(LONG, free, at.seller, at.seller, sold(market), True, sender=at.seller)
    (position,) = await market.held()
    outcome = await market.close(position, limit_usd=0.0, side=side)
    assert outcome.status is LegStatus.WAITING
    assert "ExceedsMaximumRedemption" in outcome.because
    outcome = await market.venue.reconcile(outcome.leg, view=await market.view())
    assert outcome.status is LegStatus.WAITING
    await at.tokens[1 - at.unit].send("mint", at.seller, 10**12)
    await deposit(at, owner=at.seller, usdc_raw=10**12)
    outcome = await market.venue.reconcile(outcome.leg, view=await market.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(position.liquidation_usd, rel=0.02)


async def test_a_withdrawal_that_was_mined_without_effect_is_sent_anew(market: Market) -> None:
    await market.buy(size=5.0)
    await market.desk.swap_to(2500)
    await market.desk.calm()
    (position,) = await market.held()
    mine, tracker = market.transactor._mine, market.contracts.cash_tracker.lower()

    async def starve(call: dict[str, str]) -> Receipt:
        market.transactor._mine = mine if call["to"].lower() == tracker else starve  # type: ignore[method-assign]
        return await mine({**call, "gas": hex(40_000)} if call["to"].lower() == tracker else call)

    market.transactor._mine = starve  # type: ignore[method-assign]
    outcome = await market.close(position, limit_usd=0.0)
    assert outcome.status is LegStatus.WAITING
    outcome = await market.venue.reconcile(outcome.leg, view=await market.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(position.liquidation_usd, rel=0.05)


async def test_after_a_fall_one_of_two_is_closed_though_cash_does_not_stand_for_premium(
    market: Market,
) -> None:
    """In safe mode what stays open must have the underlying that it owes."""
    desk = market.desk
    await sell_more(market, (2500, 200), (2300, 300))
    await desk.swap_to(3219)
    for _ in range(3):
        await desk.calm()
    for width in (200, 300):
        leg = buy_leg(await quote_of(market, width), key=f"buy-{width}", size=1.0)
        bought = await market.venue.execute(leg, view=await market.view())
        assert bought.status is LegStatus.FILLED, bought.because
    await desk.swap_to(2417)
    assert await desk.at.pool.call("isSafeMode") == 1
    positions = await market.held()
    sold_one = await market.close(positions[0], limit_usd=0.0)
    assert sold_one.status is LegStatus.FILLED, sold_one.because
    (left,) = await market.held()
    assert left.id == positions[1].id
