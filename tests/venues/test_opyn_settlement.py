"""The Opyn venue after expiry: locking, the push of the price, the dispute period, redemption, restarts."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bot.chain.abi import Abi
from bot.chain.rpc import Rpc
from bot.devnet.deploy_opyn import (
    DISPUTE_S,
    LOCKING_S,
    push_expiry_price,
    redeem,
)
from bot.devnet.node import Devnet
from bot.errors import OutcomeUnknown
from bot.model.execution import DueAction
from bot.model.hedge import LegStatus, Side
from bot.model.intent import TxRequest
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule, CallRule, Guard
from bot.venues.opyn import OpynAdapter, opyn_venue
from bot.venues.opyn_rounds import first_round
from bot.venues.opyn_terms import OpynContracts

from .opyn_world import ONE, OpynWorld, closing, contracts_of, make_world

pytestmark = pytest.mark.devnet


@pytest.fixture
async def opyn_world(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> OpynWorld:
    return await make_world(devnet, rpc, cache_dir)


# --- after expiry -----------------------------------------------------------------------------------------


async def test_an_option_in_the_money_is_redeemed_once_prices_are_final(opyn_world: OpynWorld):
    """The whole way: locking, the push by anyone, the dispute period, redemption."""
    world = opyn_world
    opened = await world.bought()
    leg = closing(opened, Side.SETTLE)
    number = await world.expire(2400.0)
    (held,) = await world.held()
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    assert "no price can be pushed yet" in held.due.because
    assert held.due.from_s == held.instrument.expiry_s + LOCKING_S
    assert held.intrinsic_usd == 600.0
    assert math.isnan(held.liquidation_usd)
    had, sent = await world.money(), len(world.transactor.requests)
    for side in (Side.SETTLE, Side.SELL):
        early = await world.close(opened, side, key=f"plan/{side}")
        await world.refused(early, "nothing was sent", had=had, sent=sent)

    await world.bench.set_time(held.instrument.expiry_s + LOCKING_S + 1)
    await push_expiry_price(
        world.opyn, expiry_s=held.instrument.expiry_s, round_id=number, sender=world.at.whale
    )
    (held,) = await world.held()
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    assert "may be disputed" in held.due.because
    disputed = await world.venue.execute(replace(leg, key="plan/9"), view=await world.view())
    await world.refused(disputed, "may be disputed", had=had, sent=sent)

    await world.bench.set_time(await world.bench.now_s() + DISPUTE_S + 1)
    (held,) = await world.held()
    assert (held.due.action, held.settleable) == (DueAction.SETTLE, True)
    assert held.intrinsic_usd == 600.0
    assert 590.0 < held.liquidation_usd < 600.0
    outcome = await world.venue.execute(leg, view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert (outcome.premium_usd, outcome.filled_size) == (600.0, 2.0)
    assert await world.money() - had == 600 * 10**6
    assert await world.otokens() == 0
    assert await world.held() == ()


async def test_where_nobody_pushes_the_price_the_bot_does_and_goes_on_after_the_dispute(
    opyn_world: OpynWorld,
):
    world = opyn_world
    opened = await world.bought()
    await world.expire(2400.0)
    await world.publish(2450.0)  # a later round, which is not the price at expiry
    await world.bench.set_time(world.put.series.expiry_s + LOCKING_S + 1)
    (held,) = await world.held()
    assert (held.due.action, held.settleable) == (DueAction.SETTLE, True)
    assert "nobody pushed its price" in held.due.because
    leg = closing(opened, Side.SETTLE, valid_until_s=(await world.view()).now_s + 600.0)
    waiting = await world.venue.execute(leg, view=await world.view())
    assert waiting.status is LegStatus.WAITING, waiting.because
    assert "may be disputed" in waiting.because
    assert world.transactor.requests[-1].purpose == "push-price"
    price = await world.opyn.oracle.call("getExpiryPrice", world.at.weth, world.put.series.expiry_s)
    assert price == (2400 * ONE, False)
    again = await world.venue.reconcile(leg, view=await world.view())
    assert again.status is LegStatus.WAITING
    await world.bench.set_time(await world.bench.now_s() + DISPUTE_S + 1)  # long after the leg's own time
    had = await world.money()
    done = await world.venue.reconcile(leg, view=await world.view())
    assert done.status is LegStatus.FILLED, done.because
    assert (done.premium_usd, await world.money() - had) == (600.0, 600 * 10**6)
    assert [item.purpose for item in world.transactor.requests[-2:]] == ["push-price", "redeem"]


async def test_without_a_pricer_of_ours_an_unpushed_price_is_waited_for(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    contracts = contracts_of(world.opyn, world.at, pricer="")
    venue = opyn_venue(reader=world.reader, contracts=contracts, custody=world.transactor)
    await world.expire(2400.0)
    await world.bench.set_time(world.put.series.expiry_s + LOCKING_S + 1)
    (held,) = await venue.held(await world.view())
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    outcome = await venue.execute(closing(opened, Side.SETTLE), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "no pricer of ours can" in outcome.because


async def test_a_worthless_option_is_booked_at_zero_without_gas(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    await world.finalise(2800.0)
    assert await world.held() == ()  # though its tokens stay in the account for ever
    assert await world.otokens() == 2 * ONE
    sent = len(world.transactor.requests)
    outcome = await world.close(opened, Side.SETTLE)
    assert outcome.status is LegStatus.FILLED
    assert (outcome.premium_usd, outcome.gas_usd, outcome.filled_size) == (0.0, 0.0, 2.0)
    assert "expired worthless" in outcome.because
    assert len(world.transactor.requests) == sent


async def test_what_redeeming_costs_more_than_it_brings_waits(opyn_world: OpynWorld):
    world = opyn_world
    await world.bought(size=0.01)
    await world.finalise(2699.0)
    (held,) = await world.held()
    assert held.intrinsic_usd == 0.01
    assert (held.liquidation_usd, held.due.action, held.settleable) == (0.0, DueAction.WAIT, False)


async def test_a_call_is_redeemed_for_its_underlying_and_booked_at_its_price(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought(world.call)
    await world.finalise(4000.0)
    (held,) = await world.held()
    assert held.intrinsic_usd == pytest.approx(2 * 700.0)
    outcome = await world.close(opened, Side.SETTLE)
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(2 * 700.0)
    assert await world.opyn.weth.call("balanceOf", world.at.user) == round(2 * 700 / 4000 * 10**18)


async def test_a_pause_in_full_waits_and_ends(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    await world.finalise(2400.0)
    await world.opyn.controller.send("setSystemFullyPaused", True)
    (held,) = await world.held()
    assert (held.due.action, held.due.because) == (DueAction.WAIT, "Opyn is paused in full")
    refused = await world.close(opened, Side.SETTLE)
    assert refused.status is LegStatus.REJECTED
    assert "C5" in refused.because
    await world.opyn.controller.send("setSystemFullyPaused", False)
    assert (await world.close(opened, Side.SETTLE, key="plan/2")).premium_usd == 600.0


async def test_a_series_that_was_blacklisted_after_the_purchase_can_only_wait(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    await world.finalise(2400.0)
    await world.opyn.whitelist.send("blacklistOtoken", world.put.address)
    (held,) = await world.held()
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    refused = await world.close(opened, Side.SETTLE)
    assert refused.status is LegStatus.REJECTED
    assert "is not whitelisted" in refused.because


async def test_what_a_call_would_revert_on_is_no_task(opyn_world: OpynWorld):
    """RUN: a price disputed to 0 looks unpushed, and a pricer may be its bot's alone (Gamma v2.0.0)."""
    world = opyn_world
    opened = await world.bought()
    number, expiry_s = await world.expire(2400.0), world.put.series.expiry_s
    await world.bench.set_time(expiry_s + LOCKING_S + 1)
    await push_expiry_price(world.opyn, expiry_s=expiry_s, round_id=number)
    await world.opyn.oracle.send("disputeExpiryPrice", world.at.weth, expiry_s, 0)
    (held,) = await world.held()
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    assert "dispute period started" in held.due.because
    await world.bench.set_time(await world.bench.now_s() + DISPUTE_S + 1)
    outcome = await world.close(opened, Side.SETTLE)
    assert outcome.premium_usd == 2 * 2700.0


async def test_a_margin_pool_that_is_short_is_waited_for(opyn_world: OpynWorld):
    """RUN: vaults of type 1 are not fully collateralised, and oTokens of all vaults are the same."""
    world = opyn_world
    opened = await world.bought()
    await world.finalise(2400.0)
    pool, controller, usdc = world.opyn.margin_pool, world.opyn.controller.address, world.at.usdc
    stored = await pool.call("getStoredBalance", usdc)
    for method, *params in (("impersonateAccount", controller), ("setBalance", controller, hex(10**18))):
        await world.bench.rpc.request(f"anvil_{method}", params)
    await pool.send("transferToUser", usdc, world.at.whale, stored - 599 * 10**6, sender=controller)
    (held,) = await world.held()
    assert (held.due.action, held.settleable) == (DueAction.WAIT, False)
    assert "SafeMath: subtraction overflow" in held.due.because
    assert math.isnan(held.liquidation_usd)
    assert held.intrinsic_usd == 600.0
    refused = await world.close(opened, Side.SETTLE)
    assert refused.status is LegStatus.REJECTED
    part = await world.close(opened, Side.SETTLE, size=1.5, key="plan/1")
    assert part.premium_usd == 450.0


async def test_what_a_person_redeemed_is_not_redeemed_again(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    await world.finalise(2400.0)
    await redeem(world.opyn, world.put.address, amount_raw=2 * ONE, holder=world.at.user)
    sent = len(world.transactor.requests)
    outcome = await world.close(opened, Side.SETTLE)
    assert (outcome.status, outcome.premium_usd) == (LegStatus.FILLED, 0.0)
    assert "by hand" in outcome.because
    assert len(world.transactor.requests) == sent


async def test_a_redemption_whose_end_was_not_seen_is_found_by_its_key(opyn_world: OpynWorld):
    world = opyn_world
    opened = await world.bought()
    await world.finalise(2400.0)
    send = world.transactor.send

    async def lose_sight(request: TxRequest):
        await send(request)
        raise OutcomeUnknown(request.purpose, request.key)

    leg = closing(opened, Side.SETTLE)
    world.transactor.send = lose_sight  # type: ignore[method-assign]
    assert (await world.venue.execute(leg, view=await world.view())).status is LegStatus.UNKNOWN
    world.transactor.send = send  # type: ignore[method-assign]
    found = await world.venue.reconcile(leg, view=await world.view())
    assert (found.status, found.premium_usd) == (LegStatus.FILLED, 600.0)


async def test_the_allowance_of_a_sale_that_died_is_revoked_after_a_restart(opyn_world: OpynWorld):
    """K rows: only the chain names the oToken, so the revocation goes by the order's own events."""
    world = opyn_world
    opened = await world.bought()
    leg, send = closing(opened, Side.SELL), world.transactor.send

    class Killed(BaseException):
        """Stands for SIGKILL."""

    async def die(request: TxRequest):
        if request.purpose == "close":
            raise Killed
        return await send(request)

    world.transactor.send = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await world.venue.execute(leg, view=await world.view())
    assert any(await world.allowances())
    world.transactor.send = send  # type: ignore[method-assign]
    outcome = await world.venue.reconcile(leg, view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert not any(await world.allowances())
    assert await world.otokens() == 2 * ONE


# --- rounds and rules -------------------------------------------------------------------------------------


async def test_the_first_round_at_or_after_a_time_is_found(opyn_world: OpynWorld):
    world = opyn_world
    start_s = await world.bench.now_s()
    first = (await world.feed.call("latestRoundData"))[0]
    for place in range(1, 12):
        await world.bench.set_time(start_s + 100 * place)
        await world.publish(3000.0 + place)
    head = await world.reader.head()
    rounds = {}
    for wanted_s in (start_s + 50, start_s + 100, start_s + 150, start_s + 640, start_s + 1090):
        rounds[wanted_s - start_s] = await first_round(
            world.reader, world.feed.address, at_s=wanted_s, block=head
        )
    answers = {
        after: (await world.feed.call("getRoundData", number))[1] / 1e8 for after, number in rounds.items()
    }
    # An answer is published one second after the block of its time.
    assert answers == {50: 3001.0, 100: 3001.0, 150: 3002.0, 640: 3007.0, 1090: 3011.0}
    assert min(rounds.values()) > first


def test_the_signer_is_told_of_every_call():
    addresses = {
        name: f"0x{number:02X}" * 1 + "aB" * 19
        for number, name in enumerate(
            (
                "controller",
                "factory",
                "v3_factory",
                "router",
                "quoter",
                "token",
                "underlying_token",
                "pricer",
            ),
            16,
        )
    }
    adapter = OpynAdapter(reader=None, contracts=OpynContracts(**addresses))  # type: ignore[arg-type]
    router = addresses["router"].lower()
    rules = adapter.permissions()
    approvals = [item for item in rules if isinstance(item, ApprovalRule)]
    calls = {item.name: item for item in rules if isinstance(item, CallRule)}
    assert approvals == [
        ApprovalRule(token=addresses["token"].lower(), spender=router, opens=True),
        ApprovalRule(token=BOUGHT_TOKEN, spender=router, opens=False),
    ]
    assert set(calls) == {"exactOutputSingle", "exactInputSingle", "operate", "setExpiryPriceInOracle"}
    assert [name for name, rule in calls.items() if rule.opens] == ["exactOutputSingle"]
    assert calls["operate"].guard is Guard.NO_MONEY
    assert (calls["operate"].equals, calls["operate"].single) == ((((0, 0, 0), 8),), ((0,),))
    token = addresses["token"].lower()
    purchase = calls["exactOutputSingle"]
    assert (purchase.equals, purchase.buys) == ((((0, 0), token),), (0, 1))
    assert calls["exactInputSingle"].equals == (((0, 1), token),)
    assert calls["exactOutputSingle"].most == calls["exactInputSingle"].least == (0, 6)
    assert all(rule.recipients for name, rule in calls.items() if name != "setExpiryPriceInOracle")
    bare = OpynContracts(**{**addresses, "pricer": ""})
    without = OpynAdapter(reader=None, contracts=bare).permissions()  # type: ignore[arg-type]
    assert len(without) == len(rules) - 1
    assert Abi.load("GammaController").function("operate").signature == calls["operate"].function
