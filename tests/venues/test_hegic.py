"""The Hegic venue: quotes and purchases, and what must never happen."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.chain.rpc import Rpc
from bot.devnet.boards import DAY_S
from bot.devnet.deploy_hegic import HegicKind, premium_coefficients
from bot.devnet.node import Devnet
from bot.errors import ConfigError
from bot.model.execution import DueAction
from bot.model.hedge import (
    ExerciseStyle,
    LegStatus,
    OptionType,
    StrikeMode,
)
from bot.model.intent import TxRequest
from bot.venues.hegic import HegicAdapter, hegic_venue
from bot.venues.hegic_terms import HegicStrategy
from bot.venues.table import VENUES

from .conftest import buy_leg
from .hegic_world import ATM, HegicWorld, contracts_of, make_world
from .option_world import SPOT_USD, Site

pytestmark = pytest.mark.devnet


@pytest.fixture
async def hegic_world(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> HegicWorld:
    return await make_world(devnet, rpc, cache_dir)


# --- quotes -----------------------------------------------------------------------------------------------


async def test_every_kind_is_quoted_once_for_each_period(hegic_world: HegicWorld):
    world = hegic_world
    account_less = hegic_venue(reader=world.reader, contracts=contracts_of(world.hegic, world.at.usdc))
    view = await world.view()
    quotes = await account_less.quotes(view, underlying="ETH", size=1.0)
    assert isinstance(account_less.adapter, HegicAdapter)
    assert not account_less.adapter.refusals
    assert len(quotes) == 2 * 4 * 5  # kinds, moneyness levels, and 7, 14, 30, 60 and 90 days
    for quote in quotes:
        instrument = quote.instrument
        days = int(instrument.id.split(":")[1][:-1])
        assert instrument.expiry_s == view.now_s + days * DAY_S
        assert (instrument.style, instrument.strike_mode) == (ExerciseStyle.AMERICAN, StrikeMode.AT_FILL)
        assert not instrument.is_fixed
        percent = int(instrument.id.split("_")[1])
        assert instrument.strike_usd == pytest.approx(SPOT_USD * percent / 100)
        assert quote.size == 1.0 < quote.liquidity
        assert 0.85 < quote.iv < 1.6
        assert (quote.delta < 0) == (instrument.option_type is OptionType.PUT)
    assert await account_less.quotes(view, underlying="BTC", size=1.0) == ()


async def test_a_quote_is_what_the_strategy_asks(hegic_world: HegicWorld):
    world = hegic_world
    quote = await world.quote(size=3.0)
    strategy = world.hegic.strategies["PUT_100_ETH_2"]
    _, premium = await strategy.call("calculateNegativepnlAndPositivepnl", 3 * 10**18, 30 * DAY_S, [])
    assert quote.premium_usd == premium / 1e6
    dollar_at_90 = await world.venue.quotes(await world.view(usdc=0.9), underlying="ETH", size=3.0)
    assert next(item for item in dollar_at_90 if item.instrument.id == ATM).premium_usd == pytest.approx(
        0.9 * premium / 1e6
    )


async def test_liquidity_is_what_the_venue_could_pay_for_not_what_it_sells(hegic_world: HegicWorld):
    """k = 100: getAvailableContracts looks at premiums; a fall by half would owe ten times as much."""
    world = hegic_world
    quote = await world.quote(size=1e6)
    strategy = world.hegic.strategies["PUT_100_ETH_2"]
    sold = await strategy.call("getAvailableContracts", 30 * DAY_S, []) / 1e18
    payable = 0.25 * 3_000_000 / (0.5 * SPOT_USD)
    assert quote.liquidity == pytest.approx(payable)
    assert quote.liquidity < sold
    assert quote.size == math.floor(100 * quote.liquidity) / 100
    await world.hegic.treasury.send("withdraw", world.at.whale, 2_000_000 * 10**6)
    await world.token.send("approve", world.hegic.cover_pool.address, 0, sender=world.at.whale)
    assert await world.venue.quotes(await world.view(), underlying="ETH", size=1.0) == ()
    assert "could come to pay for, only 0 contracts" in world.adapter.refusals[0].because


@pytest.mark.parametrize("times", [50.0, 0.0])
async def test_a_premium_that_no_vol_explains_is_no_quote(hegic_world: HegicWorld, times: float):
    world = hegic_world
    kind = HegicKind(is_put=True, moneyness_percent=100)
    wrong = premium_coefficients(kind, spot_usd=SPOT_USD, times=times)
    await world.hegic.calculators["PUT_100_ETH"].send("setCoefficients", wrong)
    quotes = await world.venue.quotes(await world.view(), underlying="ETH", size=0.1)
    assert not [item for item in quotes if item.instrument.id.startswith("PUT_100")]
    because = {item.instrument.id: item.because for item in world.adapter.refusals}[ATM]
    assert ("outside what any vol gives" if times else "only 0 contracts") in because


async def test_only_periods_that_the_pricer_prices_are_quoted(hegic_world: HegicWorld):
    """RUN: a pricer prices 7 to 45 days until its owner sets others, whatever the strategy says."""
    world = hegic_world
    await world.hegic.calculators["PUT_100_ETH"].send("setPeriodLimits", 7 * DAY_S, 45 * DAY_S)
    quotes = await world.venue.quotes(await world.view(), underlying="ETH", size=0.1)
    found = [item.instrument.id for item in quotes if item.instrument.id.startswith("PUT_100")]
    assert found == ["PUT_100_ETH_1:7d", "PUT_100_ETH_1:14d", "PUT_100_ETH_2:30d", "PUT_100_ETH_3:45d"]
    (refusal,) = world.adapter.refusals
    assert "its pricer prices 604800 to 3888000 seconds, it sells from 5184000 on" in refusal.because
    opened = await world.bought("PUT_100_ETH_3:45d", size=0.5)
    assert opened.premium_usd > 0.0
    (held,) = await world.venue.held(await world.view())
    assert held.iv > 0.5


async def test_contracts_that_are_wired_elsewhere_are_not_quoted(hegic_world: HegicWorld):
    world = hegic_world
    wrong = contracts_of(world.hegic, world.at.usdc, cover_pool=world.at.weth)
    venue = hegic_venue(reader=world.reader, contracts=wrong)
    assert await venue.quotes(await world.view(), underlying="ETH", size=1.0) == ()
    assert isinstance(venue.adapter, HegicAdapter)
    assert "the treasury's coverPool is" in venue.adapter.refusals[0].because


async def test_unknown_prices_quote_nothing(hegic_world: HegicWorld):
    view = replace(await hegic_world.view(), spot_usd={})
    assert await hegic_world.venue.quotes(view, underlying="ETH", size=1.0) == ()
    assert "prices are not known: gas coin" in hegic_world.adapter.refusals[0].because


@pytest.mark.parametrize(
    "name", ["STRADDLE_ETH_1", "PUT_90_SOL_1", "PUT_5_ETH_1", "PUT_90_ETH", "put_90_eth_1"]
)
def test_a_strategy_that_is_no_plain_option_is_refused_by_name(name: str):
    with pytest.raises(ConfigError, match=name):
        HegicStrategy.of(name, "0x" + "11" * 20)


def test_strategies_are_named_as_the_protocols_address_book_has_them():
    found = HegicStrategy.of("HegicStrategy_CALL_110_BTC_4", "0x" + "AB" * 20)
    assert (found.name, found.moneyness, found.decimals) == ("CALL_110_BTC_4", 1.1, 8)
    assert found.address == "0x" + "ab" * 20
    assert VENUES["hegic"] is HegicAdapter


# --- buying -----------------------------------------------------------------------------------------------


async def test_buy_pays_the_premium_and_leaves_no_allowance(hegic_world: HegicWorld):
    world = hegic_world
    quote, had = await world.quote(), await world.money()
    outcome = await world.venue.execute(buy_leg(quote), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    paid = had - await world.money()
    assert outcome.premium_usd == paid / 1e6 == quote.premium_usd
    assert (outcome.position_id, outcome.filled_size) == ("0", 2.0)  # ids start at 0
    assert await world.allowance() == 0
    assert [item.purpose for item in world.transactor.requests] == ["approve-trade", "open"]
    gas_used = sum(item.gas_used for item in world.transactor.receipts["plan/0"].values())
    assert gas_used < world.adapter.terms.gas.buy
    (held,) = await world.venue.held(await world.view())
    assert (held.id, held.size) == ("0", 2.0)
    assert held.instrument.strike_usd == SPOT_USD
    assert held.instrument.is_fixed
    opened_s = world.transactor.receipts["plan/0"]["open"].block_number
    block = await world.bench.rpc.read("eth_getBlockByNumber", [hex(opened_s), False])
    assert held.instrument.expiry_s == int(block["timestamp"], 16) + 30 * DAY_S
    assert held.model_usd == pytest.approx(quote.premium_usd, rel=0.05)
    assert math.isnan(held.liquidation_usd)  # at the money there is nothing to exercise and nobody to sell to
    assert (held.settleable, held.due.action) == (False, DueAction.NOTHING)
    assert held.due.until_s == held.instrument.expiry_s


async def test_a_premium_that_rises_before_the_purchase_costs_nothing(hegic_world: HegicWorld):
    """The exact allowance is the only bound that there is."""
    world = hegic_world
    had = await world.money()

    async def reprice(request: TxRequest) -> None:
        if request.purpose == "open":
            dear = premium_coefficients(
                HegicKind(is_put=True, moneyness_percent=100), spot_usd=SPOT_USD, times=1.01
            )
            await world.hegic.calculators["PUT_100_ETH"].send("setCoefficients", dear)

    world.transactor.before_send = reprice
    outcome = await world.buy()
    assert outcome.status is LegStatus.REJECTED
    assert "open would revert" in outcome.because
    assert (await world.money(), await world.allowance()) == (had, 0)
    assert await world.venue.held(await world.view()) == ()
    assert outcome.gas_usd > 0.0  # the approval and its revocation


async def test_a_dearer_premium_than_the_leg_allows_is_refused_before_anything_is_sent(
    hegic_world: HegicWorld,
):
    world = hegic_world
    leg, had = buy_leg(await world.quote()), await world.money()
    dear = premium_coefficients(HegicKind(is_put=True, moneyness_percent=100), spot_usd=SPOT_USD, times=50.0)
    await world.hegic.calculators["PUT_100_ETH"].send("setCoefficients", dear)
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "the leg allows", had=had)


async def test_a_strike_that_moved_is_another_option(hegic_world: HegicWorld):
    world = hegic_world
    leg, had = buy_leg(await world.quote()), await world.money()
    await world.publish(SPOT_USD * 0.985)
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "1.50% apart, allowed 1.00%", had=had)
    await world.publish(SPOT_USD * 0.995)
    filled = await world.venue.execute(replace(leg, key="plan/1"), view=await world.view())
    assert filled.status is LegStatus.FILLED, filled.because
    (held,) = await world.venue.held(await world.view())
    assert held.instrument.strike_usd == pytest.approx(SPOT_USD * 0.995)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"id": "PUT_100_ETH_2:31d"}, "sells (1209600, 2592000) seconds"),
        ({"id": "PUT_60_ETH_2:30d"}, "no strategy of Hegic that is configured"),
        ({"id": "strike:7"}, "no strategy of Hegic that is configured"),
        ({"option_type": OptionType.CALL}, "the chain has"),
        ({"settlement": "sUSD"}, "the chain has"),
        ({"underlying": "BTC"}, "the chain has"),
    ],
)
async def test_a_leg_of_another_option_is_refused(
    hegic_world: HegicWorld, changes: dict[str, Any], because: str
):
    world = hegic_world
    quote, had = await world.quote(), await world.money()
    leg = buy_leg(quote, instrument=replace(quote.instrument, **changes))
    await world.refused(await world.venue.execute(leg, view=await world.view()), because, had=had)


async def test_an_allowance_that_somebody_left_is_refused_by_name(hegic_world: HegicWorld):
    """REL-T10: with it, the premium would have no bound."""
    world = hegic_world
    await world.token.send("approve", world.hegic.treasury.address, 5, sender=world.at.user)
    outcome = await world.buy()
    assert outcome.status is LegStatus.REJECTED
    assert "may already take" in outcome.because
    assert world.transactor.requests == []


async def test_more_than_the_venue_could_pay_for_is_refused(hegic_world: HegicWorld):
    world = hegic_world
    leg, had = buy_leg(await world.quote(size=100.0)), await world.money()
    leg = replace(leg, limit_usd=1e6)
    await world.hegic.treasury.send("withdraw", world.at.whale, 1_500_000 * 10**6)
    await world.token.send("approve", world.hegic.cover_pool.address, 0, sender=world.at.whale)
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "free funds of", had=had)


async def test_a_strategy_at_its_limit_is_refused_by_the_simulation(hegic_world: HegicWorld):
    world = hegic_world
    leg, had = buy_leg(await world.quote()), await world.money()
    await world.hegic.strategies["PUT_100_ETH_2"].send("setLimit", 1)
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "HegicStrategy: The limit is exceeded", had=had)


async def test_code_that_is_gone_or_another_is_refused(hegic_world: HegicWorld):
    world = hegic_world
    leg, had = buy_leg(await world.quote()), await world.money()
    treasury = world.hegic.treasury.address
    other = await world.bench.rpc.read("eth_getCode", [world.at.weth, "latest"])
    await world.bench.rpc.request("anvil_setCode", [treasury, other])  # upgraded to something else
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "nothing was sent", had=had)
    await world.bench.rpc.request("anvil_setCode", [treasury, "0x"])
    outcome = await world.venue.execute(replace(leg, key="plan/1"), view=await world.view())
    await world.refused(outcome, "has no code", had=had)


@pytest.mark.parametrize(
    ("oddity", "because"), [((30, False), "it takes a fee"), ((0, True), "answers a transfer by false")]
)
async def test_a_token_that_takes_a_fee_or_answers_false_is_refused(
    devnet: Devnet, rpc: Rpc, cache_dir: Path, oddity: tuple[int, bool], because: str
):
    token = await (await Site.open(devnet, rpc, cache_dir)).odd_token()
    world = await make_world(devnet, rpc, cache_dir, token)
    assert (await world.bought(size=0.5)).premium_usd > 0.0
    leg, had = buy_leg(await world.quote(), key="plan/1"), await world.money()
    world.transactor.requests.clear()
    await token.send("set_oddity", *oddity)
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, because, had=had)


async def test_too_little_money_is_said(hegic_world: HegicWorld):
    world = hegic_world
    leg = buy_leg(await world.quote())
    await world.token.send("transfer", world.at.whale, await world.money(), sender=world.at.user)
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "the account lacks", had=0)
