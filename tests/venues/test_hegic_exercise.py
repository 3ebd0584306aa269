"""The Hegic venue from purchase to exercise: marks, what is due, expiry, positions, restarts."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bot.chain.abi import Abi
from bot.chain.rpc import Rpc
from bot.devnet.boards import DAY_S
from bot.devnet.deploy_hegic import deploy_hegic
from bot.devnet.node import Devnet
from bot.errors import OutcomeUnknown, TransientError
from bot.model.execution import DueAction
from bot.model.hedge import (
    LegStatus,
    Side,
)
from bot.model.intent import TxRequest
from bot.model.signing import ApprovalRule, CallRule, Guard
from bot.venues.hegic import HegicAdapter, hegic_venue
from bot.venues.hegic_terms import HegicContracts, HegicTerms

from .conftest import buy_leg
from .hegic_world import SPOT_USD, HegicWorld, contracts_of, make_world

pytestmark = pytest.mark.devnet
TREASURY = Abi.load("HegicOperationalTreasury")


@pytest.fixture
async def hegic_world(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> HegicWorld:
    return await make_world(devnet, rpc, cache_dir)


# --- the way out ------------------------------------------------------------------------------------------


async def test_in_the_money_it_is_marked_at_what_exercise_pays_and_sold_by_it(hegic_world: HegicWorld):
    world = hegic_world
    opened = await world.bought()
    await world.publish(2640.0)
    (held,) = await world.venue.held(await world.view())
    assert held.intrinsic_usd == 600.0
    assert 595.0 < held.liquidation_usd < 600.0  # less the gas
    assert held.marked_by == "eth_call of the exercise"
    assert held.model_usd > held.intrinsic_usd
    assert (held.settleable, held.due.action) == (False, DueAction.NOTHING)  # weeks to go: not by itself
    had = await world.money()
    sold = await world.settle(opened, Side.SELL, limit_usd=590.0)
    assert sold.status is LegStatus.FILLED, sold.because
    assert (sold.premium_usd, sold.filled_size, sold.position_id) == (600.0, 2.0, "0")
    assert await world.money() - had == 600 * 10**6
    assert await world.venue.held(await world.view()) == ()
    assert sold.gas_usd > 0.0


async def test_a_sale_below_its_floor_or_in_part_is_refused(hegic_world: HegicWorld):
    world = hegic_world
    opened = await world.bought()
    world.transactor.requests.clear()
    await world.publish(2640.0)
    for changes, because in (
        ({"limit_usd": 600.01}, "the leg asks 600.01"),
        ({"size": 1.0}, "exercised whole or not at all"),
        ({"position_id": "7"}, "no option that"),
    ):
        outcome = await world.settle(opened, Side.SELL, key=f"plan/{because[:5]}", **changes)
        assert outcome.status is LegStatus.REJECTED
        assert because in outcome.because
    assert world.transactor.requests == []


async def test_no_option_in_the_money_is_left_to_die(hegic_world: HegicWorld):
    """The venue never exercises by itself: from the lead time on EXERCISE is due, and done before expiry."""
    world = hegic_world
    opened = await world.bought()
    (held,) = await world.venue.held(await world.view())
    expires_s, lead_s = held.instrument.expiry_s, HegicTerms().exercise_lead_s
    await world.bench.set_time(round(expires_s - lead_s) - 10)
    await world.publish(2500.0)
    (held,) = await world.venue.held(await world.view())
    assert (held.due.action, held.settleable) == (DueAction.NOTHING, False)
    await world.bench.set_time(round(expires_s - lead_s))
    await world.publish(2990.0)
    (held,) = await world.venue.held(await world.view())
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    assert "out of the money" in held.due.because
    await world.bench.set_time(expires_s - 600)
    await world.publish(2900.0)  # in the money again ten minutes before the end
    (held,) = await world.venue.held(await world.view())
    assert (held.due.action, held.settleable) == (DueAction.EXERCISE, True)
    assert held.due.until_s == expires_s
    had = await world.money()
    done = await world.settle(opened)
    assert done.status is LegStatus.FILLED, done.because
    assert done.premium_usd == 80.0
    assert await world.money() - had == 80 * 10**6
    assert world.transactor.requests[-1].valid_until_s < expires_s
    assert await world.venue.held(await world.view()) == ()


async def test_what_is_worth_less_than_its_gas_waits(hegic_world: HegicWorld):
    world = hegic_world
    opened = await world.bought(size=0.01)
    (held,) = await world.venue.held(await world.view())
    await world.bench.set_time(held.instrument.expiry_s - 600)
    await world.publish(2939.0)  # pays one cent
    (held,) = await world.venue.held(await world.view())
    assert held.intrinsic_usd == 0.01
    assert (held.liquidation_usd, held.due.action, held.settleable) == (0.0, DueAction.WAIT, False)
    assert "after gas" in held.due.because
    assert opened.position_id == held.id


async def test_after_expiry_nothing_is_sent_and_zero_is_booked(hegic_world: HegicWorld):
    """RUN: payOff at or after expiration reverts. Unlock pays nobody and is never sent."""
    world = hegic_world
    opened = await world.bought()
    leg = await world.closing(opened, Side.SETTLE)
    await world.publish(2000.0)
    await world.bench.set_time(leg.instrument.expiry_s)
    assert await world.venue.held(await world.view()) == ()
    sent = len(world.transactor.requests)
    outcome = await world.venue.execute(leg, view=await world.view())
    assert outcome.status is LegStatus.FILLED
    assert (outcome.premium_usd, outcome.gas_usd, outcome.filled_size) == (0.0, 0.0, 2.0)
    assert "nothing is paid at expiration" in outcome.because
    refused = await world.venue.execute(replace(leg, key="plan/2", side=Side.SELL), view=await world.view())
    assert refused.status is LegStatus.REJECTED
    assert "no option that" in refused.because
    assert len(world.transactor.requests) == sent


async def test_an_exercise_that_the_pool_cannot_pay_is_said_and_not_sent(hegic_world: HegicWorld):
    world = hegic_world
    opened = await world.bought(size=5.0)
    hegic = world.hegic
    (held,) = await world.venue.held(await world.view())
    bound = await hegic.treasury.call("totalLocked") + await hegic.treasury.call("lockedPremium")
    await hegic.treasury.send("withdraw", world.at.whale, 2_000_000 * 10**6 - bound)
    await world.token.send("approve", hegic.cover_pool.address, 0, sender=world.at.whale)
    await world.bench.set_time(held.instrument.expiry_s - 600)
    await world.publish(1000.0)
    (held,) = await world.venue.held(await world.view())
    assert held.intrinsic_usd == 5 * 1940.0
    assert math.isnan(held.liquidation_usd)
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    assert "would revert" in held.due.because
    sent = len(world.transactor.requests)
    outcome = await world.settle(opened)
    assert outcome.status is LegStatus.REJECTED
    assert "would not be paid" in outcome.because
    assert len(world.transactor.requests) == sent
    await world.token.send("approve", hegic.cover_pool.address, 10**12, sender=world.at.whale)
    paid = await world.settle(opened, key="plan/again")
    assert paid.status is LegStatus.FILLED, paid.because
    assert paid.premium_usd == 5 * 1940.0


async def test_only_the_last_seconds_of_a_window_count(
    devnet: Devnet, rpc: Rpc, cache_dir: Path, hegic_world: HegicWorld
):
    world = hegic_world
    hegic = await deploy_hegic(
        world.bench, usdc=world.token, feed=world.at.feed_eth_usd, payoff_pool=world.at.whale,
        spot_usd=SPOT_USD, exercise_window_s=1800,
    )  # fmt: skip
    contracts = contracts_of(hegic, world.at.usdc)
    windowed = replace(
        world,
        hegic=hegic,
        venue=hegic_venue(reader=world.reader, contracts=contracts, custody=world.transactor),
    )
    opened = await windowed.bought()
    await windowed.publish(2500.0)
    (held,) = await windowed.venue.held(await windowed.view())
    assert math.isnan(held.liquidation_usd)  # not exercisable yet
    assert held.due.from_s == held.instrument.expiry_s - 1800
    await windowed.bench.set_time(held.instrument.expiry_s - 1799)
    (held,) = await windowed.venue.held(await windowed.view())
    assert held.due.action is DueAction.EXERCISE
    assert (await windowed.settle(opened)).premium_usd == 880.0


@pytest.mark.parametrize("by_hand", ["exercised", "moved"])
async def test_a_position_that_a_person_ended_is_not_settled_again(hegic_world: HegicWorld, by_hand: str):
    world = hegic_world
    opened = await world.bought()
    await world.publish(2500.0)
    leg = await world.closing(opened, Side.SETTLE)
    sent = len(world.transactor.requests)
    if by_hand == "exercised":
        await world.hegic.treasury.send("payOff", 0, world.at.user, sender=world.at.user)
    else:
        await world.hegic.manager.send("transferFrom", world.at.user, world.at.whale, 0, sender=world.at.user)
    assert await world.venue.held(await world.view()) == ()
    outcome = await world.venue.execute(leg, view=await world.view())
    assert (outcome.status, outcome.premium_usd) == (LegStatus.FILLED, 0.0)
    assert f"{by_hand} by hand" in outcome.because
    assert len(world.transactor.requests) == sent


# --- positions --------------------------------------------------------------------------------------------


async def test_positions_are_found_among_those_of_others_and_after_a_restart(hegic_world: HegicWorld):
    world = hegic_world
    whale = world.at.whale
    await world.token.send("mint", whale, 10**12)
    await world.token.send("approve", world.hegic.treasury.address, 10**12, sender=whale)
    strategy = world.hegic.strategies["PUT_80_ETH_3"].address
    for place in range(6):
        if place in (1, 4):
            await world.bought("CALL_110_ETH_2:30d", size=1.0, key=f"plan/{place}")
        else:
            await world.hegic.treasury.send("buy", strategy, whale, 10**18, 40 * DAY_S, [], sender=whale)
    ids = [item.id for item in await world.venue.held(await world.view())]
    assert ids == ["1", "4"]
    again = hegic_venue(
        reader=world.reader, contracts=contracts_of(world.hegic, world.at.usdc), account=world.at.user
    )
    assert [item.id for item in await again.held(await world.view())] == ids
    await world.hegic.manager.send("transferFrom", whale, world.at.user, 3, sender=whale)
    assert [item.id for item in await again.held(await world.view())] == ["1", "3", "4"]
    await world.hegic.manager.send("transferFrom", world.at.user, whale, 1, sender=world.at.user)
    assert [item.id for item in await again.held(await world.view())] == ["3", "4"]


async def test_a_position_of_a_strategy_that_is_no_longer_sold_is_still_marked(hegic_world: HegicWorld):
    world = hegic_world
    await world.bought()
    await world.hegic.strategies["PUT_100_ETH_2"].send("setLimit", 0)
    await world.publish(2500.0)
    (held,) = await world.venue.held(await world.view())
    assert 0.5 < held.iv < 2.0
    assert held.liquidation_usd > 870.0


async def test_positions_that_cannot_be_read_are_never_none(hegic_world: HegicWorld):
    world = hegic_world
    await world.bought()
    code = await world.bench.rpc.read("eth_getCode", [world.at.weth, "latest"])
    await world.bench.rpc.request("anvil_setCode", [world.hegic.treasury.address, code])
    with pytest.raises(TransientError, match="lock of Hegic could not be read"):
        await world.venue.held(await world.view())


# --- restart ----------------------------------------------------------------------------------------------


async def test_a_purchase_whose_end_was_not_seen_is_found_by_its_key(hegic_world: HegicWorld):
    world = hegic_world
    leg = buy_leg(await world.quote())
    send = world.transactor.send

    async def lose_sight(request: TxRequest):
        receipt = await send(request)
        if request.purpose == "open":
            raise OutcomeUnknown(request.purpose, request.key)
        return receipt

    world.transactor.send = lose_sight  # type: ignore[method-assign]
    unknown = await world.venue.execute(leg, view=await world.view())
    assert unknown.status is LegStatus.UNKNOWN
    world.transactor.send = send  # type: ignore[method-assign]
    found = await world.venue.reconcile(leg, view=await world.view())
    assert found.status is LegStatus.FILLED
    assert found.position_id == "0"
    assert len(await world.venue.held(await world.view())) == 1
    assert await world.allowance() == 0


# --- rules ------------------------------------------------------------------------------------------------


def test_the_signer_is_told_of_every_call_and_of_no_unlock():
    strategy = {"PUT_90_ETH_1": "0x" + "aa" * 20}
    addresses = {"treasury": "0x" + "BB" * 20, "manager": "0x" + "cc" * 20, "cover_pool": "0x" + "dd" * 20}
    contracts = HegicContracts.of(strategy, token="0x" + "EE" * 20, **addresses)
    adapter = HegicAdapter(reader=None, contracts=contracts)  # type: ignore[arg-type]
    allow, buy, pay_off = adapter.permissions()
    assert allow == ApprovalRule(token="0x" + "ee" * 20, spender="0x" + "bb" * 20, opens=True)
    assert isinstance(buy, CallRule)
    assert isinstance(pay_off, CallRule)
    assert (buy.name, buy.guard, buy.opens, buy.recipients) == ("buy", Guard.ALLOWANCE, True, ((1,),))
    assert (pay_off.name, pay_off.guard, pay_off.opens) == ("payOff", Guard.NO_MONEY, False)
    assert pay_off.recipients == ((1,),)
    assert TREASURY.function("payOff").signature == pay_off.function == "payOff(uint256,address)"
