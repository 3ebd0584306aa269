"""Venues in trouble: nothing trades while halted, a wider spread costs what it says, and books agree."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest

from bot.model.hedge import HedgeLeg, Layer, LegStatus, Side
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.perpetual import PerpetualAction, PerpetualOrder
from bot.ports import MarketView
from bot.simulation.market.model import load_market
from bot.simulation.stress.venues import (
    Conditions,
    StressedPerpetualVenue,
    StressedVenue,
    conditions_at,
)
from bot.venues.simulated import SimulatedVenue
from bot.venues.simulated_perpetual import SimulatedPerpetualVenue

NOW_S = 1_652_000_400.0
MARKET = load_market()
USUAL, HALTED, WIDE = Conditions(), Conditions(halted="closed for repairs"), Conditions(spread_times=3.0)


def view(now_s: float = NOW_S) -> MarketView:
    def column(value: float) -> Column:
        return Column(times_s=np.array([now_s]), values=np.array([value]))

    series = {
        SeriesKey(metric, "ETH", "dvol"): column(0.8)
        for metric in (Metric.IV_7D, Metric.IV_30D, Metric.IV_90D)
    }
    series[SeriesKey(Metric.FUNDING_APR, "ETH", "binance")] = column(0.1)
    return MarketView(now_s=now_s, block=None, columns=Columns(series=series), spot_usd={"ETH": 2_000.0})


def quotes(conditions: Conditions):
    venue = StressedVenue(SimulatedVenue(MARKET.options), lambda _: conditions)
    return asyncio.run(venue.quotes(view(), underlying="ETH", size=10.0))


def bought(conditions: Conditions):
    """Return (venue, quote, outcome) of a purchase at the quote of its conditions."""
    state = {"now": USUAL if conditions.halted else conditions}
    venue = StressedVenue(SimulatedVenue(MARKET.options), lambda _: state["now"])
    quote = asyncio.run(venue.quotes(view(), underlying="ETH", size=10.0))[5]
    state["now"] = conditions
    leg = HedgeLeg(
        key="one",
        group="ETH/USDC",
        layer=Layer.TAIL,
        side=Side.BUY,
        instrument=quote.instrument,
        size=quote.size,
        limit_usd=quote.premium_usd * 1.001,
        expected_usd=quote.premium_usd,
        valid_until_s=NOW_S,
    )
    return venue, quote, asyncio.run(venue.execute(leg, view=view()))


def test_nothing_is_quoted_and_nothing_filled_while_halted() -> None:
    assert quotes(HALTED) == ()
    venue, _, outcome = bought(HALTED)
    assert (outcome.status, outcome.because) == (LegStatus.REJECTED, "closed for repairs")
    assert asyncio.run(venue.held(view())) == ()


def test_usual_conditions_change_nothing() -> None:
    inner = asyncio.run(SimulatedVenue(MARKET.options).quotes(view(), underlying="ETH", size=10.0))
    assert tuple(quotes(USUAL)) == tuple(inner)


def test_a_wider_spread_is_in_quote_and_fill_alike() -> None:
    """Premium = model value + 3 half spreads, where the half spread is the usual quote's fee."""
    usual, wide = quotes(USUAL)[5], quotes(WIDE)[5]
    assert wide.premium_usd == pytest.approx(usual.model_usd + 3.0 * usual.fee_usd)
    _, quote, outcome = bought(WIDE)
    assert outcome.status is LegStatus.FILLED
    assert outcome.premium_usd == pytest.approx(quote.premium_usd)
    assert outcome.fee_usd == pytest.approx(quote.fee_usd)


def test_a_position_cannot_be_sold_while_halted_and_for_less_at_a_wider_spread() -> None:
    inner = SimulatedVenue(MARKET.options)
    state = {"now": USUAL}
    venue = StressedVenue(inner, lambda _: state["now"])
    quote = asyncio.run(venue.quotes(view(), underlying="ETH", size=10.0))[5]
    leg = HedgeLeg(
        key="one",
        group="",
        layer=Layer.TAIL,
        side=Side.BUY,
        instrument=quote.instrument,
        size=10.0,
        limit_usd=1e9,
        expected_usd=0.0,
        valid_until_s=NOW_S,
    )
    asyncio.run(venue.execute(leg, view=view()))
    marks = []
    for state["now"] in (USUAL, WIDE, HALTED):
        (position,) = asyncio.run(venue.held(view()))
        marks.append(position)
    usual, wide, halted = marks
    assert math.isnan(halted.liquidation_usd)
    assert halted.model_usd == usual.model_usd
    cost = usual.model_usd - usual.liquidation_usd
    assert wide.liquidation_usd == pytest.approx(max(usual.model_usd - 3.0 * cost, 0.0))
    sale = replace(leg, key="two", side=Side.SELL, limit_usd=0.0, position_id=usual.id)
    assert asyncio.run(venue.execute(sale, view=view())).status is LegStatus.REJECTED


def test_a_perpetual_is_refused_while_halted_and_pays_the_gas_of_the_time() -> None:
    assert MARKET.perpetual is not None
    state = {"now": HALTED}
    venue = StressedPerpetualVenue(SimulatedPerpetualVenue(MARKET.perpetual), lambda _: state["now"])
    assert asyncio.run(venue.perpetual_quotes(view(), underlying="ETH", size=5.0)) == ()
    state["now"] = Conditions(gas_times=10.0, spread_times=2.0)
    (quote,) = asyncio.run(venue.perpetual_quotes(view(), underlying="ETH", size=5.0))
    assert quote.gas_usd == pytest.approx(10.0 * MARKET.perpetual.gas_usd)
    assert quote.cost == pytest.approx(2.0 * MARKET.perpetual.cost)
    order = PerpetualOrder(
        key="p",
        group="ETH/USDC",
        action=PerpetualAction.OPEN,
        perpetual=quote.perpetual,
        size=-5.0,
        margin_usd=5_000.0,
        limit_usd=1_900.0,
        expected_usd=0.0,
        valid_until_s=NOW_S,
    )
    done = asyncio.run(venue.execute(order, view=view()))
    assert done.status is LegStatus.FILLED
    assert done.gas_usd == pytest.approx(10.0 * MARKET.perpetual.gas_usd)
    assert done.fee_usd == pytest.approx(2.0 * MARKET.perpetual.cost * 5.0 * 2_000.0)
    state["now"] = HALTED
    assert asyncio.run(venue.execute(order, view=view())).status is LegStatus.REJECTED
    assert len(asyncio.run(venue.held_perpetuals(view()))) == 1


def test_conditions_hold_from_their_start_to_before_their_end() -> None:
    at = conditions_at([(10.0, 20.0, HALTED), (15.0, 30.0, WIDE)], lambda now_s: now_s)
    assert [at(now_s).halted != "" for now_s in (9.0, 10.0, 19.9, 20.0)] == [False, True, True, False]
    assert [at(now_s).spread_times for now_s in (14.0, 15.0, 29.0, 30.0)] == [1.0, 3.0, 3.0, 1.0]
    assert at(7.0).gas_times == 7.0
