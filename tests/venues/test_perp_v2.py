"""Perp v2 on the real contracts: quotes, the whole life of a short, and what must never happen (R27)."""

import math
from dataclasses import replace

import pytest

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.chain.signing.calls import Bounds, CallBook
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.errors import OutcomeUnknown, VenueRejected
from bot.model.hedge import LegStatus
from bot.model.intent import TxRequest
from bot.model.perpetual import Perpetual, PerpetualAction
from bot.venues.perp_v2 import perp_v2_venue

from .perp_world import (
    SOON,
    TERMS,
    BatchAccount,
    PerpWorld,
    make_perp_world,
    order,
    perp_contracts,
    reduce,
    short,
    shorted,
)

pytestmark = pytest.mark.devnet


@pytest.fixture
async def world(devnet: Devnet, rpc: Rpc) -> PerpWorld:
    """The user of the devnet, with USDC and no position."""
    at = devnet.deployment
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    return make_perp_world(rpc, reader, at)


async def test_a_quote_needs_no_account_no_collateral_and_says_what_both_ways_cost(world: PerpWorld):
    venue = perp_v2_venue(reader=world.reader, contracts=perp_contracts(world.at))
    (quote,) = await venue.perpetual_quotes(await world.view(), underlying="ETH", size=10.0)
    assert quote.size == 10.0
    assert not quote.indicative
    assert quote.mark_usd == pytest.approx(await world.mark())
    assert 0.003 < quote.cost < 0.01  # the pool takes 0.3 %, and 10 ETH move it a little
    assert (quote.initial_margin, quote.maintenance_margin) == (0.1, 0.0625)
    assert abs(quote.funding_apr) < 0.1  # market and index stand together
    assert quote.liquidity == 80.0
    assert 0.0 < quote.gas_usd < 50.0
    assert await venue.perpetual_quotes(await world.view(), underlying="BTC", size=1.0) == ()
    assert await venue.held_perpetuals(await world.view()) == ()


async def test_the_whole_life_of_a_short(world: PerpWorld):
    """Short, funding by time, part bought back, margin added, closed, all collateral back in the wallet."""
    await world.fund_trader()
    before = await world.usdc()
    quote = await world.quote()
    opened = await shorted(world)
    assert opened.filled_size == -10.0
    assert opened.margin_usd == 15_000.0
    net = opened.price_usd - opened.fee_usd / 10.0
    assert net == pytest.approx(quote.mark_usd * (1.0 - quote.cost), rel=2e-3)
    assert opened.gas_usd > 0.0
    assert before - await world.usdc() == 15_000.0
    held = await world.position()
    assert (held.size, held.margin_usd) == (-10.0, pytest.approx(15_000.0, abs=0.01))
    assert held.entry_usd == pytest.approx(net)
    # The price at which the account's value is its maintenance margin, reckoned by hand.
    expected = (15_000.0 + 10.0 * net) / (10.0 * 1.0625)
    assert held.liquidation_usd == pytest.approx(expected, rel=1e-4)

    await world.move_market(await world.mark() * 1.03)  # the market stands over the index: longs pay
    await world.wait(8 * 3_600)
    held = await world.position()
    assert held.funding_usd > 0.0
    assert (await world.quote()).funding_apr > 1.0

    added = await world.venue.execute(
        order(0.0, PerpetualAction.ADD_MARGIN, limit_usd=math.nan, key="plan/1", margin_usd=2_000.0),
        view=await world.view(),
    )
    assert (added.status, added.margin_usd, added.filled_size) == (LegStatus.FILLED, 2_000.0, 0.0)
    assert (await world.position()).liquidation_usd > held.liquidation_usd + 150.0

    part = await world.venue.execute(reduce(4.0, key="plan/2", release_usd=1_000.0), view=await world.view())
    assert (part.status, part.filled_size) == (LegStatus.FILLED, pytest.approx(4.0)), part.because
    assert part.funding_usd > 0.0
    assert part.realised_usd < 0.0  # the price rose
    assert part.margin_usd == -1_000.0
    assert (await world.position()).size == pytest.approx(-6.0)

    closed = await world.venue.execute(reduce(6.0, key="plan/3"), view=await world.view())
    assert closed.status is LegStatus.FILLED, closed.because
    assert await world.venue.held_perpetuals(await world.view()) == ()
    assert await world.in_vault() == pytest.approx(0.0, abs=1e-6)
    assert await world.allowance() == 0
    outcomes = (opened, added, part, closed)
    assert sum(item.margin_usd for item in outcomes) == pytest.approx(before - await world.usdc())
    # All that came back is what the fills, fees and funding say, to the cent.
    gained = sum(-item.filled_size * item.price_usd - item.fee_usd + item.funding_usd for item in outcomes)
    assert await world.usdc() - before == pytest.approx(gained, abs=0.01)
    realised = sum(item.realised_usd + item.funding_usd for item in outcomes)
    assert realised == pytest.approx(gained, abs=0.01)


async def test_the_signer_would_sign_every_call_that_was_sent(world: PerpWorld):
    """The signer's own book of rules judges the calldata: nothing else is ever asked of it (REL-Y1)."""
    await shorted(world)
    await world.venue.execute(
        order(0.0, PerpetualAction.ADD_MARGIN, limit_usd=math.nan, key="plan/5", margin_usd=50.0),
        view=await world.view(),
    )
    await world.venue.execute(reduce(4.0, release_usd=100.0), view=await world.view())
    await world.venue.execute(reduce(6.0, key="plan/2"), view=await world.view())
    own = frozenset({world.transactor.address.lower()})
    book = CallBook(world.venue.permissions(), own=own)
    effects, given = {}, {}
    for item in world.transactor.requests:
        bounds = Bounds(
            recipients=own,
            now_s=(await world.view()).now_s,
            valid_until_s=item.valid_until_s,
            allowance=lambda spender: given.get(spender, 0),
        )
        effect = book.check(item.to.lower(), item.data, bounds)
        if effect.approval is not None:
            given[effect.approval.spender] = effect.approval.amount_raw
        effects.setdefault(item.purpose, effect.opens)
    assert effects == {"approve-trade": False, "deposit": False, "trade": True, "withdraw": False}
    closing = [item for item in world.transactor.requests if item.leg_key == "plan/2"]
    bounds = Bounds(recipients=own, now_s=0.0, valid_until_s=SOON, allowance=lambda _: 0)
    assert not book.check(closing[0].to.lower(), closing[0].data, bounds).opens  # a whole close goes on


async def test_a_refused_order_sends_nothing(world: PerpWorld):
    view = await world.view()
    wrong = Perpetual(venue="perp-v2", id="vBTC", underlying="ETH", settlement="USDC")
    cases = {
        "limit is": short(10.0, margin_usd=15_000.0, limit_usd=2_940.0),
        "does not bear it": short(10.0, margin_usd=1_000.0, limit_usd=2_800.0),
        "under the least size": short(0.001, margin_usd=15_000.0, limit_usd=2_800.0),
        "here is": short(10.0, margin_usd=15_000.0, limit_usd=2_800.0, perpetual=wrong),
        "valid until": short(10.0, margin_usd=15_000.0, limit_usd=2_800.0, valid_until_s=view.now_s - 1.0),
        "limit price > 0": short(10.0, margin_usd=15_000.0, limit_usd=math.nan),
        "further apart than the market allows": short(5_000.0, margin_usd=3_000_000.0, limit_usd=1.0),
        "would not reduce": reduce(1.0),
        "nothing of vETH": order(
            0.0, PerpetualAction.ADD_MARGIN, limit_usd=math.nan, key="k", margin_usd=100.0
        ),
        "the account lacks": short(100.0, margin_usd=200_000.0, limit_usd=2_000.0),
    }
    for reason, item in cases.items():
        outcome = await world.venue.execute(item, view=view)
        assert outcome.status is LegStatus.REJECTED
        assert reason in outcome.because
        assert outcome.gas_usd == outcome.margin_usd == 0.0
    assert world.transactor.requests == []


async def test_a_reduction_never_becomes_a_long(world: PerpWorld):
    await shorted(world)
    outcome = await world.venue.execute(reduce(10.1), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "the order would close" in outcome.because
    more = await world.venue.execute(
        order(1.0, PerpetualAction.OPEN, limit_usd=5_000.0, key="k"), view=await world.view()
    )
    assert "would close them" in more.because


async def test_a_paused_house_and_a_paused_market_trade_nothing(world: PerpWorld):
    await shorted(world)
    await world.owner_calls(world.at.perp_clearing_house, "pause()")
    assert await world.venue.perpetual_quotes(await world.view(), underlying="ETH", size=1.0) == ()
    outcome = await world.venue.execute(reduce(10.0), view=await world.view())
    assert "is paused; nothing was sent" in outcome.because
    assert (await world.position()).size == -10.0  # what is held stays readable
    await world.owner_calls(world.at.perp_clearing_house, "unpause()")
    await world.owner_calls(world.base, "pause()")
    outcome = await world.venue.execute(reduce(10.0), view=await world.view())
    assert "market of vETH is paused" in outcome.because


async def test_over_the_price_spread_only_reductions_are_done(world: PerpWorld):
    await shorted(world, margin_usd=25_000.0)
    await world.move_index(3_400.0)
    await world.wait(1_800)
    assert await world.read("Exchange", "isOverPriceSpread", world.at.perp_exchange, world.base)
    assert await world.venue.perpetual_quotes(await world.view(), underlying="ETH", size=1.0) == ()
    opened = await world.venue.execute(
        short(1.0, margin_usd=1_500.0, limit_usd=2_500.0, key="plan/9"), view=await world.view()
    )
    assert "isOverPriceSpread" in opened.because
    closed = await world.venue.execute(reduce(10.0), view=await world.view())
    assert closed.status is LegStatus.FILLED, closed.because


async def test_a_price_that_moves_before_the_trade_takes_the_margin_back(world: PerpWorld):
    """The deposit is mined, the trade would pass its bound: nothing is open and the collateral is back."""
    await world.fund_trader()
    before = await world.usdc()

    async def crash(request: TxRequest) -> None:
        if request.purpose == "trade":
            await world.move_market(2_800.0)

    world.transactor.before_send = crash
    outcome = await world.venue.execute(
        short(10.0, margin_usd=15_000.0, limit_usd=2_900.0), view=await world.view()
    )
    assert outcome.status is LegStatus.REJECTED
    assert "beyond the bound" in outcome.because or "CH_TLRS" in outcome.because
    assert (outcome.margin_usd, await world.in_vault()) == (0.0, 0.0)
    assert await world.usdc() == before
    assert outcome.gas_usd > 0.0
    assert await world.allowance() == 0


@pytest.mark.parametrize("purpose", ["approve-trade", "deposit", "trade"])
@pytest.mark.parametrize("mined", [False, True], ids=["before", "after"])
async def test_a_crash_at_each_transaction_of_an_opening_is_reconciled_from_the_chain(
    world: PerpWorld, purpose: str, mined: bool
):
    """REL-K: position and journal end whole, or neither; no allowance and no idle margin stays."""
    before = await world.usdc()
    item = short(10.0, margin_usd=15_000.0, limit_usd=2_800.0)
    await crash_at(world, item, purpose, mined=mined)
    outcome = await world.venue.reconcile(item, view=await world.view())
    opened = purpose == "trade" and mined
    assert outcome.status is (LegStatus.FILLED if opened else LegStatus.REJECTED)
    assert (len(await world.venue.held_perpetuals(await world.view())) == 1) is opened
    assert outcome.margin_usd == before - await world.usdc() == (15_000.0 if opened else 0.0)
    assert await world.allowance() == 0
    again = await world.venue.reconcile(item, view=await world.view())
    assert (again.status, again.filled_size, again.margin_usd) == (
        outcome.status,
        outcome.filled_size,
        outcome.margin_usd,
    )


@pytest.mark.parametrize("purpose", ["trade", "withdraw"])
@pytest.mark.parametrize("mined", [False, True], ids=["before", "after"])
async def test_a_crash_at_each_transaction_of_a_closing_is_reconciled(
    world: PerpWorld, purpose: str, mined: bool
):
    await shorted(world)
    item = reduce(10.0)
    await crash_at(world, item, purpose, mined=mined)
    outcome = await world.venue.reconcile(item, view=await world.view())
    closed = purpose != "trade" or mined
    assert outcome.status is (LegStatus.FILLED if closed else LegStatus.REJECTED)
    assert (await world.venue.held_perpetuals(await world.view()) == ()) is closed
    assert (await world.in_vault() == 0.0) is closed


async def crash_at(world: PerpWorld, item, purpose: str, *, mined: bool) -> None:
    """Execute an order in a process that dies at one transaction, before or after it was mined."""
    real = world.transactor.send

    async def dying(request: TxRequest):
        if request.purpose == purpose:
            if mined:
                await real(request)
            raise OutcomeUnknown(request.purpose, request.leg_key)
        return await real(request)

    world.transactor.send = dying  # type: ignore[method-assign]
    outcome = await world.venue.execute(item, view=await world.view())
    assert outcome.status is LegStatus.UNKNOWN
    world.transactor.send = real  # type: ignore[method-assign]


async def test_without_custody_orders_are_refused(world: PerpWorld):
    venue = perp_v2_venue(reader=world.reader, contracts=perp_contracts(world.at), account=world.at.user)
    outcome = await venue.execute(short(1.0, margin_usd=1_000.0, limit_usd=1.0), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "no account that can sign" in outcome.because


async def test_a_vault_of_another_collateral_is_refused(world: PerpWorld):
    wrong = replace(perp_contracts(world.at), collateral=world.at.susd)
    venue = perp_v2_venue(reader=world.reader, contracts=wrong, custody=world.transactor)
    with pytest.raises(VenueRejected):
        await venue.adapter.plan(
            short(1.0, margin_usd=1_000.0, limit_usd=1.0),
            view=await world.view(),
            head=await world.reader.head(),
        )


async def test_a_batch_has_deposit_and_trade_together_or_neither(world: PerpWorld):
    """A Safe's owners sign one transaction: what it cannot do whole leaves nothing behind."""
    account = BatchAccount(world.transactor)
    venue = perp_v2_venue(reader=world.reader, contracts=world.contracts, custody=account)
    before = await world.usdc()
    opened = await venue.execute(short(10.0, margin_usd=15_000.0, limit_usd=2_800.0), view=await world.view())
    assert opened.status is LegStatus.FILLED, opened.because
    assert (opened.filled_size, opened.margin_usd) == (-10.0, 15_000.0)
    assert await world.allowance() == 0
    closed = await venue.execute(reduce(10.0), view=await world.view())
    assert closed.status is LegStatus.FILLED
    left = await world.in_vault()
    assert left > 10_000.0  # what a batch leaves free is not known when it is signed
    again = await venue.execute(
        short(4.0, margin_usd=6_000.0, limit_usd=2_800.0, key="plan/2"), view=await world.view()
    )
    assert (again.status, again.margin_usd) == (LegStatus.FILLED, 0.0)  # idle margin is used first
    over = await venue.execute(reduce(4.0, key="plan/3"), view=await world.view())
    assert over.status is LegStatus.FILLED
    assert before - await world.usdc() == 15_000.0


async def test_a_market_of_another_token_is_refused_by_its_name(world: PerpWorld):
    """REL-D8: the chain's own token says what is traded, not the configuration."""
    terms = replace(TERMS, symbol="vBTC")
    venue = perp_v2_venue(
        reader=world.reader, contracts=world.contracts, custody=world.transactor, terms=terms
    )
    assert await venue.perpetual_quotes(await world.view(), underlying="ETH", size=1.0) == ()
    assert "'vETH', expected 'vBTC'" in venue.adapter.refusal
    item = short(1.0, margin_usd=1_500.0, limit_usd=2_800.0, perpetual=terms.perpetual)
    outcome = await venue.execute(item, view=await world.view())
    assert "'vETH', expected 'vBTC'" in outcome.because
    assert world.transactor.requests == []


async def test_an_allowance_that_somebody_left_stops_a_deposit(world: PerpWorld):
    data = Abi.load("ERC20").encode("approve", world.at.perp_vault, 7)
    await world.send(world.at.user, world.at.usdc, data)
    item = short(1.0, margin_usd=1_500.0, limit_usd=2_800.0)
    outcome = await world.venue.execute(item, view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "revoke it; nothing was sent" in outcome.because
    assert world.transactor.requests == []


async def test_gas_of_each_transaction_fits_its_ceiling_and_what_quotes_count(world: PerpWorld):
    await shorted(world)
    await world.venue.execute(reduce(4.0, release_usd=100.0), view=await world.view())
    await world.venue.execute(reduce(6.0, key="plan/2"), view=await world.view())
    used: dict[str, int] = {}
    for receipts in world.transactor.receipts.values():
        for purpose, receipt in receipts.items():
            used[purpose] = max(used.get(purpose, 0), receipt.gas_used)
    assert used["deposit"] + used["approve-trade"] <= TERMS.gas.deposit
    assert used["trade"] <= TERMS.gas.trade
    assert used["withdraw"] <= TERMS.gas.withdraw
    assert max(used.values()) * 5 // 4 <= TERMS.gas.least_ceiling
