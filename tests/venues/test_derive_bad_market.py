"""No order goes to a market at Derive that cannot be believed: other terms, old, crossed, off our price."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from derive_server import Fault
from derive_world import PUT, World, derive_world

from bot.model.hedge import LegStatus, Side

ORDER = "private/order"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with derive_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("details", "match"),
    [
        ({"strike": "2700"}, "its name another"),
        ({"option_type": "C"}, "its name another"),
        ({"expiry": 1_900_000_000}, "its name another"),
    ],
)
async def test_an_instrument_of_other_terms_is_refused(
    world: World, details: dict[str, Any], match: str
) -> None:
    """REL-D8: a name that stands for another option."""

    def other(row: Any) -> Any:
        return {**row, "option_details": {**row["option_details"], **details}}

    world.server.faults["public/get_instrument"] = Fault(tamper=other)
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0))
    assert outcome.status is LegStatus.REJECTED
    assert match in outcome.because
    assert world.journal.intents() == ()


async def test_a_leg_for_another_option_than_its_name_says_is_refused(world: World) -> None:
    leg = world.leg(Side.BUY, limit_usd=60.0)
    other = type(leg.instrument)(
        venue="derive",
        id=PUT,
        underlying="ETH",
        option_type=leg.instrument.option_type,
        strike_usd=2_900.0,
        expiry_s=leg.instrument.expiry_s,
        settlement="USDC",
    )
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0, instrument=other))
    assert outcome.status is LegStatus.REJECTED
    assert "the leg says" in outcome.because


@pytest.mark.parametrize(
    ("mar", "match"),
    [
        ("old", "s old"),
        ("crossed", "crossed"),
        ("negative", "allowed is 0"),
        ("off index", "index is"),
        ("no usdc", "not known"),
        ("off step", "whole steps"),
        ("inactive", "not traded"),
        ("too dear for the signer", "the signer allows 5,000.00"),
    ],
)
async def test_a_market_that_cannot_be_believed_gets_no_order(world: World, mar: str, match: str) -> None:
    option, view, size, limit_usd = world.exchange.options[PUT], {}, 1.0, 60.0
    if mar == "old":
        option.stamp_ms = int((world.exchange.now_s - 300) * 1e3)
    elif mar == "crossed":
        option.bids = [[Decimal(41), Decimal(1)]]
    elif mar == "negative":
        option.asks = [[Decimal(-1), Decimal(1)]]
    elif mar == "off index":
        view = {"spot": 2_500.0}
    elif mar == "no usdc":
        view = {"usdc": float("nan")}
    elif mar == "off step":
        size = 0.004
    elif mar == "inactive":
        option.active = False
    elif mar == "too dear for the signer":
        option.asks, size, limit_usd = [[Decimal(40), Decimal(500)]], 200.0, 12_000.0
    outcome = await world.do(world.leg(Side.BUY, size=size, limit_usd=limit_usd), **view)
    assert outcome.status is LegStatus.REJECTED, outcome
    assert match in outcome.because
    assert world.server.count(ORDER) == 0


async def test_a_limit_over_the_band_of_the_exchange_is_cut_down_to_it(world: World) -> None:
    """A buy over ``maxp`` would be refused as post only when it trades."""
    world.exchange.options[PUT].maxp = Decimal("40.15")
    outcome = await world.do(world.leg(Side.BUY, limit_usd=90.0))
    assert outcome.status is LegStatus.FILLED, outcome.because
    body = next(body for name, body in world.server.asked if name == ORDER)
    assert body["limit_price"] == "40.1"


async def test_an_option_contract_that_is_not_named_gets_no_order(tmp_path: Path) -> None:
    async with derive_world(tmp_path, assets=frozenset({"0x" + "77" * 20})) as world:
        assert await world.quotes() == {}
        outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0))
        assert outcome.status is LegStatus.REJECTED
        assert "does not name" in outcome.because


@pytest.mark.parametrize("change", [{"quote_currency": "USDT"}, {"tick_size": "x"}, {"instrument_name": "?"}])
async def test_one_listing_that_contradicts_itself_spoils_no_other(
    world: World, change: dict[str, str]
) -> None:
    def spoil(page: Any) -> Any:
        first, *rest = page["instruments"]
        return {**page, "instruments": [{**first, **change}, *rest]}

    world.server.faults["public/get_all_instruments"] = Fault(tamper=spoil)
    quotes = await world.quotes()
    assert PUT not in quotes
    assert len(quotes) == 2
