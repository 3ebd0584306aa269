"""The Opyn venue before expiry: quotes, purchases, sales and marks, and what must never happen."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference_contracts import deploy_reference

from bot.chain.rpc import Rpc
from bot.devnet.deploy_opyn import (
    OpynSeries,
    list_series,
    terms_of,
    trade,
)
from bot.devnet.node import Devnet
from bot.errors import TransientError
from bot.model.execution import DueAction
from bot.model.hedge import LegStatus, OptionType, Side, StrikeMode
from bot.model.intent import TxRequest
from bot.venues.opyn import OpynAdapter, opyn_venue
from bot.venues.opyn_terms import OpynTerms
from bot.venues.overrides import FundedSender
from bot.venues.table import VENUES

from .conftest import buy_leg
from .option_world import SPOT_USD, Site
from .opyn_world import ONE, OpynWorld, contracts_of, make_opyn, make_world, otoken_id

pytestmark = pytest.mark.devnet


@pytest.fixture
async def opyn_world(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> OpynWorld:
    return await make_world(devnet, rpc, cache_dir)


# --- quotes -----------------------------------------------------------------------------------------------


async def test_every_otoken_with_a_pool_is_quoted_at_what_the_pool_asks(opyn_world: OpynWorld):
    world = opyn_world
    account_less = opyn_venue(reader=world.reader, contracts=contracts_of(world.opyn, world.at))
    quotes = await account_less.quotes(await world.view(), underlying="ETH", size=3.0)
    assert [item.instrument.option_type for item in quotes] == [OptionType.PUT, OptionType.CALL]
    for quote, token in zip(quotes, (world.put, world.call), strict=True):
        instrument = quote.instrument
        ask = (world.at.usdc, token.address, 3 * ONE, 500, 0)
        asked = (await world.opyn.v3.quoter.call("quoteExactOutputSingle", ask))[0]
        assert quote.premium_usd == asked / 1e6
        assert quote.fee_usd == pytest.approx(0.0005 * quote.premium_usd)
        assert instrument.strike_usd == token.series.strike_usd
        assert instrument.expiry_s == token.series.expiry_s
        assert instrument.strike_mode is StrikeMode.ABSOLUTE
        assert instrument.settlement == ("USDC" if token.series.is_put else "WETH")
        assert quote.iv == pytest.approx(0.90, abs=0.01)  # what the pools were opened at
        assert quote.model_usd < quote.premium_usd < 1.1 * quote.model_usd  # fee and price impact
        assert (quote.delta < 0) == token.series.is_put
        assert quote.size == 3.0 < quote.liquidity < 100.0
    assert await account_less.quotes(await world.view(), underlying="BTC", size=1.0) == ()
    assert VENUES["opyn"] is OpynAdapter


async def test_liquidity_is_what_can_be_bought_within_the_impact_that_is_allowed(opyn_world: OpynWorld):
    world = opyn_world
    quote = await world.quote(size=1e6)
    assert quote.size == math.floor(100 * quote.liquidity) / 100
    one = await world.quote(size=0.01)
    per_contract = quote.premium_usd / quote.size / (one.premium_usd / one.size)
    assert per_contract == pytest.approx(1.0 + OpynTerms().max_impact, rel=0.001)


async def test_an_otoken_that_nobody_trades_is_no_instrument(opyn_world: OpynWorld):
    world = opyn_world
    series = OpynSeries(strike_usd=2500.0, expiry_s=world.put.series.expiry_s, is_put=True)
    await world.opyn.factory.send("createOtoken", *terms_of(world.opyn, series))
    assert len(await world.quotes()) == 2
    (because,) = world.refusals().values()
    assert because == "it has no pool on Uniswap v3"


async def test_a_drained_pool_is_illiquid(opyn_world: OpynWorld):
    world = opyn_world
    await world.opyn.usdc.send("mint", world.at.trader, 10**12)
    await trade(world.opyn, world.put, contracts=99.99, sender=world.at.trader)
    quotes = await world.quotes()
    assert [item.instrument.id for item in quotes] == [otoken_id(world.call)]
    assert "no pool sells 0.01 of it" in world.refusals()[otoken_id(world.put)] or (
        "outside what any vol gives" in world.refusals()[otoken_id(world.put)]
    )


async def test_a_price_that_no_vol_explains_is_no_quote(opyn_world: OpynWorld):
    """A passive pool does not follow: after a crash it sells below intrinsic value, and nobody knows why."""
    world = opyn_world
    await world.publish(1500.0)
    quotes = await world.quotes()
    assert otoken_id(world.put) not in [item.instrument.id for item in quotes]
    assert "below intrinsic value" in world.refusals()[otoken_id(world.put)]


async def test_what_must_not_be_bought_is_refused_by_name(opyn_world: OpynWorld):
    world = opyn_world
    await world.opyn.whitelist.send("blacklistOtoken", world.put.address)
    assert [item.instrument.id for item in await world.quotes()] == [otoken_id(world.call)]
    assert "the whitelist does not have it" in world.refusals()[otoken_id(world.put)]
    await world.opyn.controller.send("setSystemFullyPaused", True)
    assert await world.quotes() == ()
    assert world.refusals()[otoken_id(world.call)] == "Opyn is paused in full"
    await world.opyn.controller.send("setSystemFullyPaused", False)
    await world.bench.set_time(world.call.series.expiry_s - 3600)
    assert await world.quotes() == ()
    assert "expires within" in world.refusals()[otoken_id(world.call)]
    await world.bench.set_time(world.call.series.expiry_s)
    assert await world.quotes() == ()
    assert world.refusals() == {}  # expired ones are not listed at all


async def test_otokens_of_another_system_or_asset_are_not_listed(opyn_world: OpynWorld):
    world = opyn_world
    other = await make_opyn(world.bench, world.at, world.opyn.usdc)
    mixed = contracts_of(world.opyn, world.at, factory=other.factory.address)
    await list_series(other, world.put.series, spot_usd=SPOT_USD, now_s=await world.bench.now_s())
    venue = opyn_venue(reader=world.reader, contracts=mixed)
    assert await venue.quotes(await world.view(), underlying="ETH", size=1.0) == ()
    for changes in ({"underlying_token": world.at.susd}, {"token": world.at.susd}):
        venue = opyn_venue(reader=world.reader, contracts=contracts_of(world.opyn, world.at, **changes))
        assert await venue.quotes(await world.view(), underlying="ETH", size=1.0) == ()


async def test_unknown_prices_quote_nothing(opyn_world: OpynWorld):
    view = replace(await opyn_world.view(), spot_usd={})
    assert await opyn_world.venue.quotes(view, underlying="ETH", size=1.0) == ()
    assert "prices are not known" in next(iter(opyn_world.refusals().values()))


async def test_a_controller_that_does_not_answer_is_no_empty_market(opyn_world: OpynWorld):
    world = opyn_world
    await world.bench.rpc.request("anvil_setCode", [world.opyn.controller.address, "0x"])
    with pytest.raises(TransientError, match="the Controller of Opyn could not be read"):
        await world.quotes()


# --- trades -----------------------------------------------------------------------------------------------


async def test_buy_costs_the_quote_and_leaves_no_allowance(opyn_world: OpynWorld):
    world = opyn_world
    quote, had = await world.quote(), await world.money()
    outcome = await world.venue.execute(buy_leg(quote), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == (had - await world.money()) / 1e6 == quote.premium_usd
    assert outcome.fee_usd == pytest.approx(quote.fee_usd)
    assert (outcome.filled_size, await world.otokens()) == (2.0, 2 * ONE)
    assert outcome.position_id == world.put.address.lower()
    assert not any(await world.allowances())
    purposes = [item.purpose.partition("-")[0] for item in world.transactor.requests]
    assert purposes == ["approve", "open", "revoke"]
    gas_used = sum(item.gas_used for item in world.transactor.receipts["plan/0"].values())
    assert gas_used < world.adapter.terms.gas.buy
    (held,) = await world.held()
    assert (held.id, held.instrument, held.size) == (outcome.position_id, quote.instrument, 2.0)
    assert held.liquidation_usd == pytest.approx(quote.premium_usd, rel=0.02)
    assert held.liquidation_usd < quote.premium_usd
    assert held.intrinsic_usd == 0.0
    assert held.model_usd == pytest.approx(quote.model_usd, rel=0.05)
    assert (held.settleable, held.due.action) == (False, DueAction.NOTHING)


async def test_liquidation_and_intrinsic_value_are_kept_apart(opyn_world: OpynWorld):
    """An oToken in the money below its intrinsic value is common: nobody exercises before expiry."""
    world = opyn_world
    await world.bought()
    await world.publish(1700.0)
    (held,) = await world.held()
    assert held.intrinsic_usd == 2 * 1000.0
    assert held.liquidation_usd < 0.5 * held.intrinsic_usd
    assert held.marked_by == "quoteExactInputSingle of the sale"
    assert held.model_usd >= held.intrinsic_usd  # at the usual vol of the other series


async def test_partial_sale_then_the_rest(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    had = await world.money()
    half = await world.close(opened, Side.SELL, size=0.5, limit_usd=10.0, key="plan/1")
    assert half.status is LegStatus.FILLED, half.because
    assert half.premium_usd == (await world.money() - had) / 1e6 > 10.0
    assert (half.filled_size, half.position_id) == (0.5, opened.position_id)
    (held,) = await world.held()
    assert held.size == 1.5
    rest = await world.close(opened, Side.SELL, size=1.5, key="plan/2")
    assert rest.status is LegStatus.FILLED, rest.because
    assert await world.otokens() == 0
    assert await world.held() == ()
    assert not any(await world.allowances())
    total = half.premium_usd + rest.premium_usd
    assert 0.97 * opened.premium_usd < total < opened.premium_usd


async def test_a_second_purchase_adds_to_the_position(opyn_world: OpynWorld):
    world = opyn_world
    first = await world.bought()
    second = await world.bought(size=1.0, key="plan/1")
    assert first.position_id == second.position_id
    (held,) = await world.held()
    assert held.size == 3.0


async def test_a_price_that_rises_before_the_purchase_costs_no_more_than_the_bound(opyn_world: OpynWorld):
    world = opyn_world
    leg, had = buy_leg(await world.quote(), limit=1.005), await world.money()
    await world.opyn.usdc.send("mint", world.at.trader, 10**12)

    async def front_run(request: TxRequest) -> None:
        if request.purpose == "open":
            await trade(world.opyn, world.put, contracts=5, sender=world.at.trader)

    world.transactor.before_send = front_run
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "open would revert", had=had, sent=2)  # the approval and its end
    assert await world.otokens() == 0


async def test_more_than_the_leg_allows_is_refused_before_anything_is_sent(opyn_world: OpynWorld):
    """As a premium of 50 times what was decided on."""
    world = opyn_world
    quote, had = await world.quote(), await world.money()
    leg = buy_leg(quote, limit=0.02)
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "the leg allows", had=had)


async def test_a_sale_below_its_floor_is_refused(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    had, sent = await world.money(), len(world.transactor.requests)
    for place, (changes, because) in enumerate((
        ({"limit_usd": opened.premium_usd * 1.01}, "the leg asks"),
        ({"size": 2.5}, "the leg says 2.5"),
        ({"position_id": world.call.address.lower()}, "is not"),
    )):  # fmt: skip
        outcome = await world.close(opened, Side.SELL, key=f"plan/{place + 1}", **changes)
        await world.refused(outcome, because, had=had, sent=sent)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"strike_usd": 2600.0}, "the chain has"),
        ({"expiry_s": 1_654_300_800}, "the chain has"),
        ({"option_type": OptionType.CALL}, "the chain has"),
        ({"settlement": "sUSD"}, "the chain has"),
        ({"id": "strike:7"}, "is no oToken of this system"),
        ({"id": "otoken:0x" + "11" * 20}, "is no oToken of this system"),
    ],
)
async def test_a_leg_of_another_option_is_refused(
    opyn_world: OpynWorld, changes: dict[str, Any], because: str
):
    world = opyn_world
    quote, had = await world.quote(), await world.money()
    leg = buy_leg(quote, instrument=replace(quote.instrument, **changes))
    await world.refused(await world.venue.execute(leg, view=await world.view()), because, had=had)


async def test_an_allowance_that_somebody_left_is_refused_by_name(opyn_world: OpynWorld):
    """REL-T10."""
    world = opyn_world
    leg = buy_leg(await world.quote())
    await world.opyn.usdc.send("approve", world.at.v3_router, 7, sender=world.at.user)
    outcome = await world.venue.execute(leg, view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "may already take" in outcome.because
    assert world.transactor.requests == []


@pytest.mark.parametrize("trouble", ["paused", "blacklisted", "cutoff", "no code"])
async def test_a_purchase_is_refused_where_trouble_came_after_the_quote(opyn_world: OpynWorld, trouble: str):
    world = opyn_world
    leg, had = buy_leg(await world.quote()), await world.money()
    if trouble == "paused":
        await world.opyn.controller.send("setSystemFullyPaused", True)
        because = "paused in full"
    elif trouble == "blacklisted":
        await world.opyn.whitelist.send("blacklistOtoken", world.put.address)
        because = "is not whitelisted"
    elif trouble == "cutoff":
        await world.bench.set_time(world.put.series.expiry_s - 3600)
        because = "not traded in the last 21600 s"
    else:
        await world.bench.rpc.request("anvil_setCode", [world.at.v3_router, "0x"])
        because = "check the address of the SwapRouter"
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, because, had=had)


async def test_a_sale_of_otokens_can_be_tried_before_it_is_approved(opyn_world: OpynWorld):
    """RUN: a real oToken keeps balances and allowances at slots 101 and 102."""
    world = opyn_world
    funded = FundedSender(world.reader)
    overrides = await funded.overrides(
        token=world.put.address,
        owner=world.at.user,
        spender=world.at.v3_router,
        block=await world.reader.head(),
    )
    assert overrides is not None
    (balances, allowances) = funded._layouts[world.put.address]  # type: ignore[misc]
    assert (balances.slot, allowances.slot) == (101, 102)


async def test_an_otoken_whose_code_takes_a_fee_is_refused(opyn_world: OpynWorld):
    """Upgraded behind its proxy: what is delivered is less than what was paid for."""
    world = opyn_world
    leg, had = buy_leg(await world.quote()), await world.money()
    source = (Path(str(world.put.otoken.artifact.name)).name, world.put.otoken.address)
    assert source[0] == "OpynGammaOtoken"
    greedy = await deploy_reference(world.bench, "GreedyOtoken")
    implementation = await world.opyn.address_book.call("getOtokenImpl")
    code = await world.bench.rpc.read("eth_getCode", [greedy.address, "latest"])
    await world.bench.rpc.request("anvil_setCode", [implementation, code])
    outcome = await world.venue.execute(leg, view=await world.view())
    await world.refused(outcome, "it takes a fee", had=had)


@pytest.mark.parametrize(
    ("oddity", "because"), [((30, False), "it takes a fee"), ((0, True), "answers a transfer by false")]
)
async def test_a_stable_that_takes_a_fee_or_answers_false_is_refused(
    devnet: Devnet, rpc: Rpc, cache_dir: Path, oddity: tuple[int, bool], because: str
):
    token = await (await Site.open(devnet, rpc, cache_dir)).odd_token()
    world = await make_world(devnet, rpc, cache_dir, token)
    await world.bought(size=0.5)
    leg, had = buy_leg(await world.quote(), key="plan/1"), await world.money()
    world.transactor.requests.clear()
    await token.send("set_oddity", *oddity)
    await world.refused(await world.venue.execute(leg, view=await world.view()), because, had=had)
