"""The venue over the reference exchange: quotes, orders, partial fills, marks, expiry, RFQ."""

import math
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from derive_exchange import Option
from derive_world import CALL, EXPIRY_S, FRACTIONAL, PUT, World, derive_world

from bot.errors import StaleDataError
from bot.model.execution import DueAction
from bot.model.hedge import LegStatus, OptionType, Side


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with derive_world(tmp_path) as made:
        yield made


def put(world: World) -> Option:
    return world.exchange.options[PUT]


async def test_quotes_are_what_the_depth_of_the_book_asks(world: World) -> None:
    quote = (await world.quotes(size=4.0))[PUT]
    fee = 0.5 + 4 * 0.0003 * 3000  # base fee, and 3 bp of the index, under 12.5 % of the mark
    assert quote.premium_usd == pytest.approx(2 * 40 + 2 * 41 + fee)
    assert quote.fee_usd == pytest.approx(fee)
    assert (quote.size, quote.liquidity, quote.min_size, quote.lot) == (4.0, 15.0, 0.1, 0.01)
    assert quote.bid_usd == pytest.approx(2 * 38 + 2 * 37 - fee)
    assert not quote.indicative
    assert quote.parity is not None
    assert quote.parity.mid_usd == pytest.approx(39.0)
    assert -0.25 < quote.delta < -0.15
    assert quote.instrument.option_type is OptionType.PUT


async def test_a_fractional_strike_is_read_from_the_name(world: World) -> None:
    quote = (await world.quotes())[FRACTIONAL]
    assert quote.instrument.strike_usd == 2850.5
    assert math.isnan(quote.bid_usd)
    assert quote.parity is None


async def test_without_books_the_best_level_is_quoted(world: World) -> None:
    world.server.silent_books = True
    quote = (await world.quotes(size=10.0))[PUT]
    assert (quote.size, quote.liquidity) == (2.0, 2.0)
    assert quote.because


async def test_buy_fills_at_the_book_and_is_booked(world: World) -> None:
    outcome = await world.do(world.leg(Side.BUY, size=3.0, limit_usd=130.0))
    fee = 0.5 + 3 * 0.9
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(2 * 40 + 41 + fee)
    assert (outcome.filled_size, outcome.position_id) == (3.0, PUT)
    assert outcome.fee_usd == pytest.approx(fee)
    assert outcome.tx_hash in world.exchange.orders
    assert world.server.count("private/order") == 1
    assert world.server.count("private/order_quote") == 1
    (order,) = world.exchange.orders.values()
    assert order["time_in_force"] == "ioc"
    assert order["nonce"].isdecimal()
    assert len(order["nonce"]) == 19


async def test_what_is_signed_can_never_cost_more_than_the_leg_allows(world: World) -> None:
    await world.do(world.leg(Side.BUY, size=1.0, limit_usd=43.0))
    body = next(body for name, body in world.server.asked if name == "private/order")
    worst = Decimal(body["amount"]) * (Decimal(body["limit_price"]) + Decimal(body["max_fee"]))
    assert worst <= 43
    assert Decimal(body["limit_price"]) <= Decimal("40.4")  # nor far over what the book asks


async def test_a_thin_book_fills_in_part(world: World) -> None:
    put(world).asks = [[Decimal(40), Decimal(2)]]
    outcome = await world.do(world.leg(Side.BUY, size=5.0, limit_usd=250.0))
    assert (outcome.status, outcome.filled_size) == (LegStatus.PARTIAL, 2.0)
    assert outcome.premium_usd == pytest.approx(80 + 0.5 + 2 * 0.9)


async def test_a_price_over_the_limit_is_refused_before_anything_is_signed(world: World) -> None:
    outcome = await world.do(world.leg(Side.BUY, size=1.0, limit_usd=39.0))
    assert outcome.status is LegStatus.REJECTED
    assert "offered at 40" in outcome.because
    assert world.server.count("private/order_quote") == world.server.count("private/order") == 0
    assert world.journal.intents() == ()


async def test_a_sale_is_reduce_only_and_brings_its_proceeds_net(world: World) -> None:
    await world.do(world.leg(Side.BUY, size=3.0, limit_usd=130.0))
    outcome = await world.do(world.leg(Side.SELL, size=3.0, limit_usd=100.0))
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(2 * 38 + 37 - (0.5 + 3 * 0.9))
    bodies = [body for name, body in world.server.asked if name == "private/order"]
    assert [body["reduce_only"] for body in bodies] == [False, True]
    assert world.exchange.positions == {}
    assert await world.venue.held(world.view()) == ()


async def test_more_than_is_held_is_never_sold(world: World) -> None:
    await world.do(world.leg(Side.BUY, size=1.0, limit_usd=60.0))
    outcome = await world.do(world.leg(Side.SELL, size=2.0, limit_usd=1.0))
    assert outcome.status is LegStatus.REJECTED
    assert "has 1 contracts" in outcome.because
    assert world.server.count("private/order") == 1


async def test_a_sale_under_its_floor_is_refused(world: World) -> None:
    await world.do(world.leg(Side.BUY, size=1.0, limit_usd=60.0))
    outcome = await world.do(world.leg(Side.SELL, size=1.0, limit_usd=38.0))
    assert outcome.status is LegStatus.REJECTED
    assert "is bid at 38" in outcome.because


async def test_marks_keep_liquidation_apart_from_intrinsic(world: World) -> None:
    await world.do(world.leg(Side.BUY, size=3.0, limit_usd=130.0))
    world.exchange.warp(world.exchange.now_s + 60, ETH="2750")
    (held,) = await world.venue.held(world.view())
    assert (held.id, held.size) == (PUT, 3.0)
    assert held.intrinsic_usd == pytest.approx(3 * 50)
    assert held.liquidation_usd == pytest.approx(2 * 38 + 37 - (0.5 + 3 * 0.825))
    assert held.marked_by == "bids of its order book"
    assert not held.settleable
    assert held.due.action is DueAction.NOTHING
    put(world).bids = [[Decimal(38), Decimal(1)]]
    (held,) = await world.venue.held(world.view())
    assert "1 of 3" in held.marked_by
    put(world).bids = []
    (held,) = await world.venue.held(world.view())
    assert math.isnan(held.liquidation_usd)
    assert held.intrinsic_usd == pytest.approx(150)


@pytest.mark.parametrize(("index", "paid"), [("2700", 300.0), ("3100", 0.0)])
async def test_expiry_is_settled_by_the_exchange_and_booked(world: World, index: str, paid: float) -> None:
    """No option that is in the money is left to die: the exchange pays, and its history is what is booked."""
    await world.do(world.leg(Side.BUY, size=3.0, limit_usd=130.0))
    cash = world.exchange.cash
    world.exchange.warp(EXPIRY_S + 10.0, ETH=index)
    assert await world.venue.held(world.view()) == ()
    outcome = await world.do(world.leg(Side.SETTLE, size=3.0, limit_usd=0.0))
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(paid)
    assert (outcome.filled_size, outcome.position_id) == (3.0, PUT)
    assert float(world.exchange.cash - cash) == pytest.approx(paid)
    assert world.server.count("private/order") == 1  # of the purchase


async def test_between_expiry_and_settlement_a_position_waits(world: World) -> None:
    await world.do(world.leg(Side.BUY, size=1.0, limit_usd=60.0))
    world.exchange.now_s = EXPIRY_S + 10.0  # the exchange has not settled yet
    (held,) = await world.venue.held(world.view(spot=2700.0))
    assert held.due.action is DueAction.WAIT
    assert not held.settleable
    assert held.model_usd == pytest.approx(100.0)
    assert math.isnan(held.liquidation_usd)
    outcome = await world.do(world.leg(Side.SETTLE, size=1.0, limit_usd=0.0))
    assert outcome.status is LegStatus.REJECTED
    assert "not yet settled" in outcome.because


async def test_a_position_closed_by_hand_is_booked_as_such(world: World) -> None:
    await world.do(world.leg(Side.BUY, size=1.0, limit_usd=60.0))
    world.exchange.move(PUT, Decimal(-1), Decimal(40))
    world.exchange.warp(EXPIRY_S + 90_000.0, ETH="2700")
    outcome = await world.do(world.leg(Side.SETTLE, size=1.0, limit_usd=0.0))
    assert outcome.status is LegStatus.FILLED
    assert outcome.premium_usd == 0.0
    assert "by hand" in outcome.because


async def test_a_short_position_holds_the_bot(world: World) -> None:
    world.exchange.move(CALL, Decimal(-1), Decimal(50))
    with pytest.raises(StaleDataError, match="short"):
        await world.venue.held(world.view())
