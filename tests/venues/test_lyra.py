"""LyraVenue on the real Lyra contracts: quotes, fills, marks, settlement, and what must never happen."""

import math
from dataclasses import replace

import pytest
from eth_utils.crypto import keccak

from bot.chain.abi import Abi
from bot.devnet.moves.wire import calldata
from bot.errors import OutcomeUnknown, TransientError
from bot.model.hedge import LegStatus, OptionType, Side
from bot.model.intent import TxRequest
from bot.model.signing import ApprovalRule
from bot.settings import PolicySettings, load_policy
from bot.venues import lyra_plan
from bot.venues.lyra import lyra_venue
from bot.venues.lyra_terms import trade_input
from bot.venues.overrides import QUOTING_ADDRESS

from .conftest import World, buy_leg

pytestmark = pytest.mark.devnet
WAD = 10**18


async def bought(world: World, *, delta: float = 0.3, size: float = 2.0, key: str = "plan/0"):
    quote = await world.put_near_delta(delta, size=size)
    outcome = await world.venue.execute(buy_leg(quote, key=key), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    return outcome


def closing(outcome, *, side: Side, size: float | None = None, limit: float = 0.0, key: str = "plan/close"):
    return replace(
        outcome.leg,
        key=key,
        side=side,
        size=size or outcome.filled_size,
        limit_usd=limit,
        position_id=outcome.position_id,
    )


async def test_every_option_is_quoted_from_an_address_without_key_funds_or_approval(world: World):
    account_less = lyra_venue(reader=world.reader, contracts=world.contracts, swap=world.swap)
    quotes = await account_less.quotes(await world.view(), underlying="ETH", size=1.0)
    assert await world.balance(world.at.susd, QUOTING_ADDRESS) == 0
    assert {quote.instrument.option_type for quote in quotes} == set(OptionType)
    assert len({quote.instrument.expiry_s for quote in quotes}) == len(world.at.lyra_board_ids)
    for quote in quotes:
        assert not quote.indicative
        assert quote.premium_usd > quote.fee_usd > 0.0
        assert quote.model_usd == pytest.approx(quote.premium_usd - quote.fee_usd, rel=0.6)
        assert (quote.delta < 0) == (quote.instrument.option_type is OptionType.PUT)
        assert 0.0 < quote.swap_usd < 0.01 * quote.premium_usd
        assert quote.liquidity > quote.size == 1.0
    assert not account_less.adapter.refusals


async def test_quotes_of_puts_and_calls_obey_parity_of_the_model(world: World):
    view = await world.view()
    pairs: dict[str, dict[OptionType, float]] = {}
    for quote in await world.quotes(view):
        pairs.setdefault(quote.instrument.id, {})[quote.instrument.option_type] = quote.model_usd
        strike = quote.instrument.strike_usd
        pair = pairs[quote.instrument.id]
        if len(pair) == 2:
            gap = pair[OptionType.CALL] - pair[OptionType.PUT]
            assert gap == pytest.approx(view.spot_usd["ETH"] - strike, abs=1e-6)


async def test_a_fill_in_the_same_block_state_costs_the_quote_to_the_wei(world: World):
    """The premium depends on time: with the clock stopped, quote and fill must agree exactly."""
    at = world.at
    await world.rpc.request("anvil_setBlockTimestampInterval", [0])
    try:
        quote = await world.put_near_delta(0.3, size=3.0)
        before = await world.balance(at.susd)
        outcome = await world.venue.execute(buy_leg(quote), view=await world.view())
        after = await world.balance(at.susd)
    finally:
        await world.rpc.request("anvil_setBlockTimestampInterval", [1])
    assert outcome.status is LegStatus.FILLED, outcome.because
    received = _transfers(world, "swap-in", at.susd)
    assert before == 0
    assert outcome.premium_usd == quote.premium_usd
    assert outcome.fee_usd == quote.fee_usd
    assert (received - after) / WAD == pytest.approx(quote.premium_usd, abs=1e-15 * quote.premium_usd)


def _transfers(world: World, purpose: str, token: str) -> int:
    """Return what the account gained of a token in the transaction of that purpose, raw."""
    erc20, own = Abi.load("ERC20"), world.transactor.address.lower()
    receipts = [item[purpose] for item in world.transactor.receipts.values() if purpose in item]
    events = [e for r in receipts for e in erc20.logs("Transfer", r.logs, address=token)]
    return sum(e["value"] * ((e["to"] == own) - (e["from"] == own)) for e in events)


async def test_buy_from_usdc_only_books_what_moved(world: World):
    at = world.at
    usdc = await world.balance(at.usdc)
    outcome = await bought(world)
    receipts = world.transactor.receipts["plan/0"]
    spent_usdc = usdc - await world.balance(at.usdc)
    loose = await world.balance(at.susd)
    received = _transfers(world, "swap-in", at.susd)
    premium = received - loose
    assert outcome.premium_usd == premium / WAD
    assert outcome.swap_usd == pytest.approx(spent_usdc / 1e6 - received / WAD, abs=1e-9)
    assert outcome.gas_usd == pytest.approx(
        sum(item.gas_cost_wei for item in receipts.values()) / WAD * (await world.view()).spot_usd["ETH"]
    )
    assert outcome.tx_hash == receipts["open"].tx_hash
    assert outcome.block_number == receipts["open"].block_number
    assert outcome.filled_size == outcome.leg.size
    assert 0 <= loose <= 0.0132 * premium  # the buffer over the quoted cost, and the swap's slippage
    assert await world.allowances() == (0, 0, 0, 0)
    (held,) = await world.venue.held(await world.view())
    assert (held.id, held.instrument, held.size) == (
        outcome.position_id,
        outcome.leg.instrument,
        outcome.filled_size,
    )
    assert 0.5 * held.model_usd < held.liquidation_usd < held.model_usd


async def test_the_next_purchase_uses_loose_settlement_tokens_first(world: World):
    await bought(world)
    loose = await world.balance(world.at.susd)
    assert loose > 0
    assert await world.venue.loose_settlement_usd(await world.view()) == pytest.approx(loose / WAD)
    outcome = await bought(world, key="plan/1", size=0.01, delta=0.05)
    assert outcome.swap_usd == 0.0  # the loose rest of the first purchase pays for the second
    assert await world.balance(world.at.susd) < loose
    assert await world.allowances() == (0, 0, 0, 0)


async def test_partial_sale_then_the_rest_returns_to_usdc(world: World):
    at = world.at
    opened = await bought(world, size=2.0)
    view = await world.view()
    (held,) = await world.venue.held(view)
    half = await world.venue.execute(closing(opened, side=Side.SELL, size=0.5, key="plan/1"), view=view)
    assert half.status is LegStatus.FILLED, half.because
    assert half.filled_size == 0.5
    assert await world.balance(at.susd) == 0
    (left,) = await world.venue.held(await world.view())
    assert left.size == 1.5
    before = await world.balance(at.usdc)
    rest = closing(opened, side=Side.SELL, size=1.5, key="plan/2", limit=0.9 * 0.75 * held.liquidation_usd)
    last = await world.venue.execute(rest, view=await world.view())
    assert last.status is LegStatus.FILLED, last.because
    gained = await world.balance(at.usdc) - before
    assert gained / 1e6 == pytest.approx(last.premium_usd - last.swap_usd, abs=1e-9)
    assert half.premium_usd + last.premium_usd == pytest.approx(held.liquidation_usd, rel=0.01, abs=1.0)
    assert await world.venue.held(await world.view()) == ()
    assert await world.balance(at.susd) == 0
    assert await world.allowances() == (0, 0, 0, 0)


async def test_settle_after_expiry_pays_the_intrinsic_value(world: World):
    at = world.at
    opened = await bought(world, size=1.0)
    instrument = opened.leg.instrument
    before = await world.balance(at.usdc)
    await world.warp(instrument.expiry_s + 60)
    await world.set_spot(instrument.strike_usd - 250.0)
    view = await world.view()
    (held,) = await world.venue.held(view)
    assert held.settleable
    assert held.model_usd == pytest.approx(250.0)
    leg = closing(opened, side=Side.SETTLE, key="plan/settle")
    outcome = await world.venue.execute(leg, view=view)
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(250.0)
    gained = (await world.balance(at.usdc) - before) / 1e6
    assert gained == pytest.approx(outcome.premium_usd - outcome.swap_usd + 0.0, abs=3.0)  # and loose sUSD
    assert await world.venue.held(await world.view()) == ()
    assert await world.balance(at.susd) == 0
    assert await world.allowances() == (0, 0, 0, 0)


async def test_settle_when_somebody_settled_the_board_and_the_position_before(world: World):
    at = world.at
    opened = await bought(world, size=1.0)
    instrument = opened.leg.instrument
    await world.warp(instrument.expiry_s + 60)
    await world.set_spot(instrument.strike_usd - 100.0)
    view = await world.view()
    board_id = (await world.read("OptionMarket", "getStrike", at.lyra_option_market,
                                 int(instrument.id.partition(":")[2])))[8]  # fmt: skip
    market, collateral = Abi.load("OptionMarket"), Abi.load("ShortCollateral")
    await world.send(at.trader, at.lyra_option_market, market.encode("settleExpiredBoard", board_id))
    settle = collateral.encode("settleOptions", [int(opened.position_id)])
    await world.send(at.trader, at.lyra_short_collateral, settle)
    outcome = await world.venue.execute(closing(opened, side=Side.SETTLE, key="plan/s"), view=view)
    assert outcome.status is LegStatus.FILLED
    assert outcome.premium_usd == pytest.approx(100.0)
    assert outcome.tx_hash == ""
    assert "somebody else" in outcome.because
    assert await world.balance(at.susd) == 0  # and the payoff was changed back


async def test_price_moved_between_plan_and_fill_spends_nothing(world: World):
    at = world.at
    quote = await world.put_near_delta(0.3, size=2.0)
    view = await world.view()
    await world.set_spot(view.spot_usd["ETH"] * 0.9)
    usdc, susd = await world.balance(at.usdc), await world.balance(at.susd)
    outcome = await world.venue.execute(buy_leg(quote), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert "the leg allows" in outcome.because
    assert outcome.gas_usd == outcome.swap_usd == 0.0
    assert (await world.balance(at.usdc), await world.balance(at.susd)) == (usdc, susd)
    assert world.transactor.requests == []


async def test_price_moves_after_the_swap_leaves_no_position_and_no_allowance(world: World):
    """The exact allowance and the bound on chain protect, not only the check before (REL-T11)."""
    quote = await world.put_near_delta(0.3, size=2.0)
    view = await world.view()
    fallen = view.spot_usd["ETH"] * 0.9

    async def crash(request: TxRequest) -> None:
        if request.purpose == "open":
            await world.set_spot(fallen)

    world.transactor.before_send = crash
    outcome = await world.venue.execute(buy_leg(quote), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert "open would revert" in outcome.because
    assert outcome.gas_usd > 0.0
    assert outcome.swap_usd == pytest.approx(0.0, abs=1.0)
    assert await world.venue.held(await world.view()) == ()
    assert await world.allowances() == (0, 0, 0, 0)
    assert await world.venue.loose_settlement_usd(await world.view()) == pytest.approx(
        quote.premium_usd * 1.01, rel=0.01
    )


async def test_a_refused_swap_leaves_no_allowance(world: World):
    quote = await world.put_near_delta(0.3, size=2.0)
    at = world.at

    async def drain(request: TxRequest) -> None:
        if request.purpose == "swap-in":  # the trader buys sUSD first, and the pool's price runs away
            erc20, router = Abi.load("ERC20"), Abi.load("SwapRouter")
            amount = int(0.9 * await world.balance(at.susd, at.stable_pool) / 10**12)
            await world.send(at.trader, at.usdc, erc20.encode("approve", at.v3_router, amount))
            order = (at.usdc, at.susd, at.stable_pool_fee, at.trader, 2**40, amount, 0, 0)
            await world.send(at.trader, at.v3_router, router.encode("exactInputSingle", order))

    world.transactor.before_send = drain
    outcome = await world.venue.execute(buy_leg(quote), view=await world.view())
    assert outcome.status is LegStatus.REJECTED, outcome.because
    sent = [item.purpose.partition("-")[0] for item in world.transactor.requests]
    assert sent == ["approve", "revoke"]
    assert await world.allowances() == (0, 0, 0, 0)
    assert await world.balance(at.susd) == 0


@pytest.mark.parametrize("field", ["strike_usd", "expiry_s", "underlying", "settlement", "id", "venue"])
async def test_another_instrument_than_the_leg_names_is_refused(world: World, field: str):
    """REL-D8."""
    quote = await world.put_near_delta(0.3)
    wrong = {
        "strike_usd": quote.instrument.strike_usd + 1.0,
        "expiry_s": quote.instrument.expiry_s + 1,
        "underlying": "BTC",
        "settlement": "DAI",
        "id": "strike:9999",
        "venue": "other",
    }
    instrument = replace(quote.instrument, **{field: wrong[field]})
    outcome = await world.venue.execute(buy_leg(quote, instrument=instrument), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert world.transactor.requests == []


async def test_a_tail_strike_trades(world: World):
    outcome = await bought(world, delta=0.06, size=5.0)
    (held,) = await world.venue.held(await world.view())
    assert held.size == outcome.filled_size == 5.0
    assert math.isfinite(held.liquidation_usd)


async def test_inside_the_cutoff_nothing_opens_and_closing_is_by_force(world: World):
    near = await world.put_near_delta(0.4, after_days=5.0)
    opened = await world.venue.execute(buy_leg(near), view=await world.view())
    assert opened.status is LegStatus.FILLED, opened.because
    expiry_s = near.instrument.expiry_s
    await world.warp(expiry_s - 12 * 3600 + 60)
    await world.set_spot(0.9 * (await world.view()).spot_usd["ETH"])
    view = await world.view()
    assert expiry_s not in {quote.instrument.expiry_s for quote in await world.quotes(view)}
    assert {item.instrument.expiry_s for item in world.venue.adapter.refusals} == {expiry_s}
    again = await world.venue.execute(buy_leg(near, key="plan/1", limit=9.0), view=view)
    assert again.status is LegStatus.REJECTED
    (held,) = await world.venue.held(view)
    assert held.liquidation_usd < held.model_usd
    sold = await world.venue.execute(closing(opened, side=Side.SELL), view=view)
    assert sold.status is LegStatus.FILLED, sold.because
    assert sold.because == "closed by force"


async def test_a_sale_under_the_floor_is_refused(world: World):
    opened = await bought(world, size=1.0)
    sent = len(world.transactor.requests)
    leg = closing(opened, side=Side.SELL, limit=opened.premium_usd)
    outcome = await world.venue.execute(leg, view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "the leg asks" in outcome.because
    assert len(world.transactor.requests) == sent
    assert len(await world.venue.held(await world.view())) == 1


async def test_a_sale_that_brings_nothing_is_refused_even_of_a_leg_that_would_take_nothing(world: World):
    """Ether at 300,000 USD: the market bids 0 for the put."""
    opened = await bought(world, size=1.0)
    await world.set_spot(300_000.0)
    sent, had, view = len(world.transactor.requests), await world.balance(world.at.usdc), await world.view()
    (held,) = await world.venue.held(view)
    assert held.liquidation_usd == 0.0
    outcome = await world.venue.execute(closing(opened, side=Side.SELL, limit=0.0), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert f"a sale of position {opened.position_id} brings nothing now" in outcome.because
    assert (len(world.transactor.requests), await world.balance(world.at.usdc)) == (sent, had)
    assert not any(await world.allowances())


async def test_selling_what_is_not_held_or_more_than_is_held_is_refused(world: World):
    opened = await bought(world, size=1.0)
    view = await world.view()
    for changed in ({"position_id": "999"}, {"position_id": "x"}, {"size": 1.01}):
        leg = replace(closing(opened, side=Side.SELL, key=f"plan/{changed}"), **changed)
        assert (await world.venue.execute(leg, view=view)).status is LegStatus.REJECTED


async def test_a_frozen_board_is_neither_quoted_nor_bought(world: World):
    quote = await world.put_near_delta(0.3)
    strike_id = int(quote.instrument.id.partition(":")[2])
    board_id = (await world.read("OptionMarket", "getStrike", world.at.lyra_option_market, strike_id))[8]
    data = Abi.load("OptionMarket").encode("setBoardFrozen", board_id, True)
    await world.send(world.at.deployer, world.at.lyra_option_market, data)
    view = await world.view()
    assert quote.instrument not in {item.instrument for item in await world.quotes(view)}
    assert quote.instrument in {item.instrument for item in world.venue.adapter.refusals}
    assert (await world.venue.execute(buy_leg(quote), view=view)).status is LegStatus.REJECTED
    assert world.transactor.requests == []


async def test_a_size_over_the_liquidity_is_quoted_at_what_there_is(world: World):
    view = await world.view()
    quotes = await world.quotes(view, size=1e6)
    assert quotes
    assert world.venue.adapter.refusals == ()  # what is called liquid can be bought, all of it
    for quote in quotes:
        assert quote.size <= quote.liquidity < 1e6
        assert quote.size == round(quote.size, 2)


async def test_a_market_whose_price_feed_fails_quotes_nothing_and_still_shows_what_is_held(world: World):
    opened = await bought(world, size=1.0)
    view = await world.view()
    key = b"sETH".ljust(32, b"\0")
    data = calldata("setRateAndInvalid(bytes32,uint256,bool)", key, 2_900 * WAD, True)
    await world.send(world.at.deployer, world.at.lyra_exchange_rates, bytes.fromhex(data[2:]))
    blind = replace(view, block=await world.reader.head())
    assert await world.quotes(blind) == ()
    assert {item.because for item in world.venue.adapter.refusals} == {
        "the market's own price feed gives no price"
    }
    (held,) = await world.venue.held(blind)
    assert held.model_usd > 0.0
    assert math.isnan(held.liquidation_usd)
    for side in (Side.BUY, Side.SELL):
        leg = closing(opened, side=side, key=f"plan/{side}", limit=1e6 if side is Side.BUY else 0.0)
        assert (await world.venue.execute(leg, view=blind)).status is LegStatus.REJECTED


async def test_without_enough_stable_nothing_is_sent(world: World):
    at, own = world.at, world.transactor.address
    quote = await world.put_near_delta(0.3, size=2.0)
    data = Abi.load("ERC20").encode("transfer", at.trader, await world.balance(at.usdc) - 10**6)
    await world.send(own, at.usdc, data)
    outcome = await world.venue.execute(buy_leg(quote), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "the account holds 1.00" in outcome.because
    assert world.transactor.requests == []


async def test_an_unknown_settlement_price_quotes_and_buys_nothing(world: World):
    quote = await world.put_near_delta(0.3)
    blind = replace(await world.view(), stable_usd={})
    assert await world.quotes(blind) == ()
    assert "not known" in world.venue.adapter.refusals[0].because
    outcome = await world.venue.execute(buy_leg(quote), view=blind)
    assert outcome.status is LegStatus.REJECTED


async def test_a_settlement_token_under_par_costs_less_and_is_bounded_in_its_own_unit(world: World):
    par = await world.put_near_delta(0.3)
    view = await world.view(susd=0.99)
    quotes = {item.instrument: item for item in await world.quotes(view)}
    assert quotes[par.instrument].premium_usd == pytest.approx(0.99 * par.premium_usd, rel=1e-6)


async def test_a_leg_past_its_time_is_refused(world: World):
    quote = await world.put_near_delta(0.3)
    view = await world.view()
    outcome = await world.venue.execute(buy_leg(quote, valid_until_s=view.now_s - 1), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert world.transactor.requests == []


async def test_without_a_transactor_every_leg_is_refused(world: World):
    watching = lyra_venue(
        reader=world.reader, contracts=world.contracts, swap=world.swap, account=world.at.user
    )
    quote = await world.put_near_delta(0.3)
    outcome = await watching.execute(buy_leg(quote), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert await watching.held(await world.view()) == ()


@pytest.mark.parametrize("purpose", ["approve-swap-in", "swap-in", "approve-trade", "open", "revoke"])
@pytest.mark.parametrize("mined", [False, True])
async def test_reconcile_after_a_crash_at_each_transaction(world: World, purpose: str, mined: bool):
    """Killed before or after each transaction went out: no double buy, no allowance, nothing lost."""
    at = world.at
    quote = await world.put_near_delta(0.3, size=1.0)
    leg = buy_leg(quote)
    transactor = world.transactor
    real_send = transactor.send

    async def dying(request: TxRequest):
        if request.purpose.startswith(purpose) and purpose in (request.purpose, "revoke"):
            if mined:
                await real_send(request)
            raise OutcomeUnknown(request.purpose, request.key)
        return await real_send(request)

    transactor.send = dying
    first = await world.venue.execute(leg, view=await world.view())
    assert first.status is LegStatus.UNKNOWN
    transactor.send = real_send
    again = await world.venue.reconcile(leg, view=await world.view())
    opened = "open" in transactor.receipts.get(leg.key, {})
    assert again.status is (LegStatus.FILLED if opened else LegStatus.REJECTED)
    assert len(await world.venue.held(await world.view())) == int(opened)
    assert await world.allowances() == (0, 0, 0, 0)
    if opened:
        assert again.position_id
        assert again.premium_usd == pytest.approx(quote.premium_usd, rel=0.01)
    twice = await world.venue.reconcile(leg, view=await world.view())
    assert (twice.status, twice.filled_size, twice.gas_usd) == (
        again.status,
        again.filled_size,
        again.gas_usd,
    )
    assert await world.balance(at.usdc) > 0


async def test_a_node_that_fails_before_anything_was_sent_is_a_refusal(world: World):
    quote = await world.put_near_delta(0.3)
    view = await world.view()

    async def failing() -> None:
        raise TransientError("no answer")

    world.reader.head = failing
    outcome = await world.venue.execute(buy_leg(quote), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert "nothing was sent" in outcome.because


async def test_permissions_cover_all_that_was_sent(world: World):
    opened = await bought(world)
    sold = await world.venue.execute(closing(opened, side=Side.SELL), view=await world.view())
    assert sold.status is LegStatus.FILLED, sold.because
    allowed = {
        (rule.token, keccak(text="approve(address,uint256)")[:4])
        if isinstance(rule, ApprovalRule)
        else (rule.target, keccak(text=rule.function)[:4])
        for rule in world.venue.permissions()
    }
    sent = {(item.to.lower(), item.data[:4]) for item in world.transactor.requests}
    assert sent <= allowed


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("unknown", ["gas coin", "stable", "settlement token"])
async def test_what_could_not_be_booked_is_not_traded(world: World, side: Side, unknown: str):
    """No NaN in any book: a leg waits until every price that its booking needs is known."""
    opened = await bought(world, size=1.0)
    sent = len(world.transactor.requests)
    outcome = await world.venue.execute(
        closing(opened, side=side, limit=1e6), view=await blind(world, unknown)
    )
    assert outcome.status is LegStatus.REJECTED
    assert unknown in outcome.because
    assert outcome.gas_usd == 0.0
    assert len(world.transactor.requests) == sent


async def blind(world: World, unknown: str):
    view = await world.view()
    if unknown == "gas coin":
        return replace(view, spot_usd={})
    symbol = {"stable": "USDC", "settlement token": "sUSD"}[unknown]
    return replace(view, stable_usd={**view.stable_usd, symbol: math.nan})


@pytest.mark.parametrize("unknown", ["gas coin", "stable", "settlement token"])
async def test_a_leg_stays_unknown_until_it_can_be_booked(world: World, unknown: str):
    opened = await bought(world, size=1.0)
    found = await world.venue.reconcile(opened.leg, view=await blind(world, unknown))
    assert found.status is LegStatus.UNKNOWN
    assert unknown in found.because
    assert found.gas_usd == 0.0
    later = await world.venue.reconcile(opened.leg, view=await world.view())
    assert later.status is LegStatus.FILLED
    assert later.premium_usd == pytest.approx(opened.premium_usd)


async def test_a_purchase_that_cannot_be_sent_fails_before_the_swap(world: World, monkeypatch):
    """What only the trade itself would refuse is found before gas is burnt on swap and approvals."""
    monkeypatch.setattr(lyra_plan, "TRADE_GAS_CEILING", 300_000)
    quote = await world.put_near_delta(0.3)
    outcome = await world.venue.execute(buy_leg(quote), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "within 300000 gas" in outcome.because
    assert world.transactor.requests == []


async def test_a_leg_lives_as_long_as_its_order_may(world: World):
    """A plan of two purchases takes longer than two minutes on a chain of 12 s blocks."""
    view = await world.view()
    valid_for = load_policy(PolicySettings()).orders.valid_for
    assert all(quote.valid_until_s >= view.now_s + valid_for for quote in await world.quotes(view))


async def test_gas_of_a_purchase_is_bounded_by_the_legs_reserve(world: World):
    quote = await world.put_near_delta(0.3)
    leg = buy_leg(quote, limit=1.05)
    leg = replace(leg, reserve_usd=leg.limit_usd + quote.swap_usd + quote.gas_reserve_usd)
    view = await world.view()
    outcome = await world.venue.execute(leg, view=view)
    assert outcome.status is LegStatus.FILLED, outcome.because
    *bounds, revocation = [item.max_gas_cost_wei for item in world.transactor.requests]
    assert revocation == 0
    left_wei = (leg.reserve_usd - leg.limit_usd) / view.spot_usd["ETH"] * WAD
    receipts = world.transactor.receipts[leg.key]
    for item, bound in zip(world.transactor.requests, bounds, strict=False):
        assert bound == pytest.approx(left_wei, rel=1e-9)
        left_wei -= receipts[item.purpose].gas_cost_wei
    assert outcome.gas_usd < quote.gas_reserve_usd


async def test_gas_that_became_too_dear_for_the_reserve_buys_nothing(world: World):
    quote = await world.put_near_delta(0.3)
    leg = buy_leg(quote, limit=1.5)
    leg = replace(leg, reserve_usd=leg.limit_usd + quote.swap_usd + quote.gas_reserve_usd)
    view = await world.view()
    try:
        await set_base_fee(world, 200 * 10**9)
        outcome = await world.venue.execute(leg, view=view)
    finally:  # no snapshot of the node brings it back
        await set_base_fee(world, view.block.base_fee_wei)
    assert outcome.status is LegStatus.REJECTED
    assert "gas would cost" in outcome.because
    assert world.transactor.requests == []


async def set_base_fee(world: World, wei: int) -> None:
    await world.rpc.request("anvil_setNextBlockBaseFeePerGas", [hex(wei)])
    await world.rpc.request("evm_mine", [])


async def test_a_sale_asks_for_nearly_what_it_was_quoted_not_only_the_legs_floor(world: World):
    """Between quote and block the price falls; a floor of 0 would sell at any price."""
    opened = await bought(world, size=1.0)
    risen = (await world.view()).spot_usd["ETH"] * 1.05

    async def rise(request: TxRequest) -> None:
        if request.purpose == "close":
            await world.set_spot(risen)

    world.transactor.before_send = rise
    outcome = await world.venue.execute(closing(opened, side=Side.SELL), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "close would revert" in outcome.because
    assert len(await world.venue.held(await world.view())) == 1


@pytest.mark.parametrize("how", ["closed", "moved"])
async def test_a_position_that_was_ended_by_hand_has_nothing_to_settle(world: World, how: str):
    at = world.at
    opened = await bought(world, size=1.0)
    position_id, own = int(opened.position_id), world.transactor.address
    if how == "closed":
        strike_id = int(opened.leg.instrument.id.partition(":")[2])
        order = trade_input(strike_id, position_id, OptionType.PUT, WAD, iterations=1)
        data = Abi.load("OptionMarket").encode("closePosition", order)
        await world.send(own, at.lyra_option_market, data)
    else:
        data = calldata("transferFrom(address,address,uint256)", own, at.trader, position_id)
        await world.send(own, at.lyra_option_token, bytes.fromhex(data[2:]))
    sent = len(world.transactor.requests)
    leg = closing(opened, side=Side.SETTLE, key="plan/settle")
    early = await world.venue.execute(leg, view=await world.view())
    assert early.status is LegStatus.REJECTED
    await world.warp(leg.instrument.expiry_s + 60)
    await world.set_spot(leg.instrument.strike_usd - 250.0)
    view = await world.view()
    for outcome in (
        await world.venue.execute(leg, view=view),
        await world.venue.reconcile(leg, view=view),
    ):
        assert outcome.status is LegStatus.FILLED, outcome.because
        assert (outcome.filled_size, outcome.premium_usd, outcome.gas_usd) == (leg.size, 0.0, 0.0)
        assert "closed or moved by hand; nothing to settle" in outcome.because
    assert len(world.transactor.requests) == sent


async def test_a_position_that_never_was_is_not_settled(world: World):
    opened = await bought(world, size=1.0)
    leg = replace(closing(opened, side=Side.SETTLE), position_id="999")
    await world.warp(leg.instrument.expiry_s + 60)
    assert (await world.venue.execute(leg, view=await world.view())).status is LegStatus.REJECTED
