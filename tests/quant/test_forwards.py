"""Forwards from parity: exact prices give them back, a stale quote does not move them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.quant import forwards, options
from bot.quant.forwards import AtmTermStructure, ForwardCurve, ParityQuotes

QUARTER = 0.25
STRIKES = np.arange(1600.0, 2600.0, 100.0)


def quotes(forward=2050.0, rate=0.05, *, years=QUARTER, half=1.0, vol=0.7, strikes=STRIKES) -> ParityQuotes:
    calls, puts = (
        options.black76_price(forward, strikes, years, vol, is_put=is_put, rate=rate)
        for is_put in (False, True)
    )
    return ParityQuotes(
        years=years, strikes=strikes, call_bids=calls - half, call_asks=calls + half, put_bids=puts - half,
        put_asks=puts + half,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(forward=st.floats(1500.0, 2700.0), rate=st.floats(-0.15, 0.3), years=st.floats(0.02, 2.0))
def test_exact_prices_give_forward_and_discount_back(forward, rate, years):
    found = forwards.implied_forward(quotes(forward, rate, years=years, half=0.0))
    assert found.method == "regression"
    assert found.forward == pytest.approx(forward, rel=1e-9)
    assert found.discount == pytest.approx(math.exp(-rate * years), rel=1e-9)
    assert found.rate == pytest.approx(rate, abs=1e-6)
    assert found.gap < 1e-7
    assert found.gap_beyond_spread < 1e-7


def test_the_bounds_are_where_a_quote_pays_an_arbitrage():
    found = forwards.implied_forward(quotes(half=1.0))
    width = 2.0 / found.discount
    assert found.lowest == pytest.approx(2050.0 - width, abs=1e-6)
    assert found.highest == pytest.approx(2050.0 + width, abs=1e-6)
    assert found.consistent
    assert found.error < 1e-6


def test_a_stale_quote_is_outweighed_and_shows_in_the_gap():
    item = quotes()
    calls = item.call_bids.copy(), item.call_asks.copy()
    for row in calls:
        row[2] += 150.0
    found = forwards.implied_forward(replace(item, call_bids=calls[0], call_asks=calls[1]))
    assert found.forward == pytest.approx(2050.0, rel=2e-3)
    assert found.gap == pytest.approx(150.0, rel=0.05)
    assert found.gap_beyond_spread == pytest.approx(found.gap - 2.0)
    assert not found.consistent


def test_tight_quotes_weigh_more():
    """The error of a quote counts with 1 / spread^2: ten times the spread, a hundredth of the say."""
    strikes = np.array([1900.0, 2100.0])
    item = quotes(half=0.0, strikes=strikes, rate=0.0)
    half, off = np.array([1.0, 10.0]), np.array([0.0, 10.1])
    found = forwards.implied_forward(
        replace(
            item, call_bids=item.call_bids + off - half, call_asks=item.call_asks + off + half,
            put_bids=item.put_bids, put_asks=item.put_asks,
        ),
        discount=1.0,
    )  # fmt: skip
    assert found.forward == pytest.approx(2050.0 + 10.1 / 101.0, abs=1e-6)


def test_few_strikes_say_nothing_of_the_discount():
    few = quotes(rate=0.0, strikes=STRIKES[:2])
    found = forwards.implied_forward(few)
    assert (found.method, found.discount, found.strikes_used) == ("given discount", 1.0, 2)
    one = forwards.implied_forward(quotes(rate=0.05, strikes=STRIKES[:1]), discount=math.exp(-0.05 * QUARTER))
    assert one.forward == pytest.approx(2050.0)
    assert math.isnan(one.error)


def test_a_senseless_slope_is_not_a_discount():
    item = quotes(rate=0.0)
    wild = replace(item, call_bids=item.call_bids + STRIKES, call_asks=item.call_asks + STRIKES)
    assert forwards.implied_forward(wild).discount == 1.0


@pytest.mark.parametrize("field", ["call_bids", "call_asks", "put_bids", "put_asks"])
@pytest.mark.parametrize("bad", [math.nan, -1e9])
def test_a_bad_price_leaves_its_strike_out(field, bad):
    item = quotes()
    row = getattr(item, field).copy()
    row[4] = bad
    found = forwards.implied_forward(replace(item, **{field: row}))
    assert found.strikes_used == STRIKES.size - 1
    assert found.forward == pytest.approx(2050.0, rel=1e-6)


@pytest.mark.parametrize("years", [0.0, -1.0, math.nan])
def test_without_time_there_is_no_forward(years):
    found = forwards.implied_forward(replace(quotes(), years=years))
    assert math.isnan(found.forward)
    assert "years must be > 0" in found.why_unknown
    assert not found.consistent


def test_crossed_prices_everywhere_are_unknown():
    item = quotes()
    found = forwards.implied_forward(replace(item, call_bids=item.call_asks, call_asks=item.call_bids))
    assert found.method == "unknown"
    assert "no strike with sound bids and asks" in found.why_unknown
    assert math.isnan(found.rate)


@pytest.mark.parametrize("strikes", [STRIKES[::-1], np.array([1.0, 1.0]), np.array([0.0, 1.0])])
def test_strikes_out_of_order_are_refused(strikes):
    with pytest.raises(InvariantError, match="strikes must be > 0 and rise"):
        ParityQuotes(
            years=1.0,
            strikes=strikes,
            call_bids=strikes,
            call_asks=strikes,
            put_bids=strikes,
            put_asks=strikes,
        )
    with pytest.raises(InvariantError, match="equally long"):
        replace(quotes(), call_bids=np.ones(2))


def test_a_senseless_discount_is_refused():
    with pytest.raises(InvariantError, match="discount must be finite and > 0, was 0"):
        forwards.implied_forward(quotes(), discount=0.0)


def test_carry_by_hand():
    assert float(forwards.cost_of_carry(2100.0, 2000.0, 0.5)) == pytest.approx(math.log(1.05) / 0.5)
    for bad in ((0.0, 2000.0, 0.5), (2100.0, math.nan, 0.5), (2100.0, 2000.0, 0.0), (math.inf, 2000.0, 0.5)):
        assert math.isnan(forwards.cost_of_carry(*bad))


def test_the_curve_keeps_carry_constant_between_and_beyond():
    years = np.array([0.25, 1.0])
    curve = ForwardCurve(years=years, forwards=2000.0 * np.exp([0.02 * 0.25, 0.08]), spot=2000.0)
    np.testing.assert_allclose(curve.at([0.0, 0.25, 1.0]), [2000.0, *curve.forwards])
    assert float(curve.carry(0.1)) == pytest.approx(0.02)
    assert float(curve.at(0.625)) == pytest.approx(2000.0 * math.exp(0.5 * (0.005 + 0.08)))
    assert float(curve.carry(3.0)) == pytest.approx(0.08)
    assert np.isnan(curve.at([-0.1, math.nan])).all()


def test_without_a_spot_the_nearest_forward_stands():
    curve = ForwardCurve(years=np.array([0.25]), forwards=np.array([2100.0]))
    np.testing.assert_allclose(curve.at([0.0, 0.25, 2.0]), 2100.0)
    assert math.isnan(curve.carry(0.25))
    empty = ForwardCurve(years=np.empty(0), forwards=np.empty(0))
    assert math.isnan(empty.at(0.5))
    only_spot = ForwardCurve(years=np.empty(0), forwards=np.empty(0), spot=2000.0)
    np.testing.assert_allclose(only_spot.at([0.0, 1.0]), 2000.0)


@pytest.mark.parametrize(
    ("years", "ahead"), [([0.5, 0.2], [1.0, 1.0]), ([0.5, 0.5], [1.0, 1.0]), ([0.5], [0.0]), ([0.0], [1.0]),
                         ([0.5], [1.0, 2.0]), ([0.5], [math.nan])]
)  # fmt: skip
def test_a_senseless_curve_is_refused(years, ahead):
    with pytest.raises(InvariantError, match="forward curve"):
        ForwardCurve(years=np.array(years), forwards=np.array(ahead))


def test_the_term_structure_of_vols_reuses_the_surface():
    item = AtmTermStructure(years=np.array([0.1, 0.5]), ivs=np.array([0.8, 0.6]))
    assert float(item.iv(0.5)) == 0.6
    assert item.slope(0.1, 0.5) == pytest.approx(0.8 / 0.6 - 1.0)
    np.testing.assert_allclose(item.forward_vols(), math.sqrt((0.36 * 0.5 - 0.64 * 0.1) / 0.4))
    falling = AtmTermStructure(years=np.array([0.1, 0.2]), ivs=np.array([0.9, 0.5]))
    assert np.isnan(falling.forward_vols()).all()
