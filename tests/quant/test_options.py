"""Option values and greeks: Hull's example, QuantLib as oracle, parity, implied vol."""

import math

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given
from hypothesis import strategies as st

from bot.quant import options

RNG = np.random.default_rng(1)
COUNT = 400
SPOT = RNG.uniform(500.0, 5000.0, COUNT)
STRIKE = SPOT * np.exp(RNG.normal(0.0, 0.5, COUNT))
YEARS = RNG.uniform(1.0, 400.0, COUNT) / 365.0
VOL = RNG.uniform(0.05, 2.5, COUNT)
RATE = RNG.uniform(-0.02, 0.12, COUNT)
IS_PUT = RNG.random(COUNT) < 0.5

contract = {
    "spot": st.floats(10.0, 1e5),
    "moneyness": st.floats(0.2, 5.0),
    "years": st.floats(1 / 365, 2.0),
    "vol": st.floats(0.05, 3.0),
    "rate": st.floats(-0.05, 0.2),
    "is_put": st.booleans(),
}


def quantlib(index):
    """Return (price, delta, gamma, vega, theta, black76 price) from QuantLib's Black calculator."""
    growth = math.exp(RATE[index] * YEARS[index])
    kind = ql.Option.Put if IS_PUT[index] else ql.Option.Call
    black = ql.BlackCalculator(
        ql.PlainVanillaPayoff(kind, STRIKE[index]),
        SPOT[index] * growth,
        VOL[index] * math.sqrt(YEARS[index]),
        1.0 / growth,
    )
    on_forward = ql.blackFormula(
        kind, STRIKE[index], SPOT[index], VOL[index] * math.sqrt(YEARS[index]), 1.0 / growth
    )
    spot, years = float(SPOT[index]), float(YEARS[index])
    return (
        black.value(),
        black.delta(spot),
        black.gamma(spot),
        black.vega(years),
        black.theta(spot, years),
        on_forward,
    )


ORACLE = np.array([quantlib(index) for index in range(COUNT)]).T


def test_hull_example_15_6():
    """Hull: S 42, K 40, r 10 %, vol 20 %, half a year: call 4.76, put 0.81."""
    both = options.price(42.0, 40.0, 0.5, 0.2, is_put=np.array([False, True]), rate=0.1)
    np.testing.assert_allclose(both, [4.759422392871532, 0.8085993729000922], rtol=1e-13)


@pytest.mark.parametrize("position", range(5))
def test_values_and_greeks_agree_with_quantlib(position):
    function = (options.price, options.delta, options.gamma, options.vega, options.theta)[position]
    ours = function(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT, rate=RATE)
    np.testing.assert_allclose(ours, ORACLE[position], rtol=1e-10, atol=1e-10)


def test_black76_agrees_with_quantlib():
    ours = options.black76_price(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT, rate=RATE)
    np.testing.assert_allclose(ours, ORACLE[5], rtol=1e-10, atol=1e-10)
    back = options.black76_implied_vol(ours, SPOT, STRIKE, YEARS, is_put=IS_PUT, rate=RATE)
    clear = options.vega(SPOT, STRIKE, YEARS, VOL, rate=RATE) > 1.0
    np.testing.assert_allclose(back[clear], VOL[clear], rtol=1e-8)


@given(**contract)
def test_put_call_parity(spot, moneyness, years, vol, rate, is_put):
    strike = spot * moneyness
    call = options.price(spot, strike, years, vol, is_put=False, rate=rate)
    put = options.price(spot, strike, years, vol, is_put=True, rate=rate)
    parity = spot - strike * math.exp(-rate * years)
    assert call - put == pytest.approx(parity, abs=1e-12 * max(spot, strike) * 10)


@given(**contract)
def test_price_stays_within_its_no_arbitrage_bounds(spot, moneyness, years, vol, rate, is_put):
    strike = spot * moneyness
    discounted = strike * math.exp(-rate * years)
    value = float(options.price(spot, strike, years, vol, is_put=is_put, rate=rate))
    floor = max(discounted - spot, 0.0) if is_put else max(spot - discounted, 0.0)
    slack = 1e-12 * max(spot, discounted)
    assert floor - slack <= value <= (discounted if is_put else spot) + slack


@given(**contract)
def test_implied_vol_inverts_price(spot, moneyness, years, vol, rate, is_put):
    strike = spot * moneyness
    value = options.price(spot, strike, years, vol, is_put=is_put, rate=rate)
    found = float(options.implied_vol(value, spot, strike, years, is_put=is_put, rate=rate))
    vega = float(options.vega(spot, strike, years, vol, rate=rate))
    if vega > 1e-4 * spot:  # else the price says next to nothing about the vol
        assert found == pytest.approx(vol, rel=1e-7)
    if not math.isnan(found):  # whatever vol is found must give the price back
        back = float(options.price(spot, strike, years, found, is_put=is_put, rate=rate))
        assert back == pytest.approx(float(value), rel=1e-9, abs=1e-13 * max(spot, strike))


@given(**contract)
def test_greeks_are_the_slopes_of_the_price(spot, moneyness, years, vol, rate, is_put):
    strike = spot * moneyness

    def at(**change):
        inputs = {"spot": spot, "strike": strike, "years": years, "vol": vol} | change
        return float(options.price(**inputs, is_put=is_put, rate=rate))

    step = 1e-4
    width = vol * math.sqrt(years)
    up, down = spot * math.exp(step * width), spot * math.exp(-step * width)
    delta = float(options.delta(spot, strike, years, vol, is_put=is_put, rate=rate))
    assert delta == pytest.approx((at(spot=up) - at(spot=down)) / (up - down), abs=1e-5)
    vega = float(options.vega(spot, strike, years, vol, is_put=is_put, rate=rate))
    slope = (at(vol=vol * (1 + step)) - at(vol=vol * (1 - step))) / (2 * step * vol)
    assert vega == pytest.approx(slope, rel=1e-4, abs=1e-6 * spot)
    theta = float(options.theta(spot, strike, years, vol, is_put=is_put, rate=rate))
    decay = (at(years=years * (1 - step)) - at(years=years * (1 + step))) / (2 * step * years)
    assert theta == pytest.approx(decay, rel=1e-4, abs=1e-5 * spot / years)
    assert float(options.gamma(spot, strike, years, vol, rate=rate)) >= 0.0


@pytest.mark.parametrize("years", [0.0, -1.0])
def test_expired_option_is_intrinsic(years):
    spots = np.array([80.0, 100.0, 120.0])
    np.testing.assert_array_equal(options.price(spots, 100.0, years, 0.5, is_put=True, rate=0.1), [20, 0, 0])
    np.testing.assert_array_equal(options.price(spots, 100.0, years, 0.5, is_put=False, rate=0.1), [0, 0, 20])
    np.testing.assert_array_equal(options.delta(spots, 100.0, years, 0.5, is_put=True), [-1, -0.5, 0])
    np.testing.assert_array_equal(options.delta(spots, 100.0, years, 0.5, is_put=False), [0, 0.5, 1])
    for greek in (options.gamma, options.vega, options.theta):
        np.testing.assert_array_equal(greek(spots, 100.0, years, 0.5, is_put=True, rate=0.1), [0, 0, 0])


def test_without_vol_the_forward_decides():
    values = options.price(100.0, [90.0, 105.0, 120.0], 1.0, 0.0, is_put=False, rate=0.1)
    np.testing.assert_allclose(values, np.maximum(100.0 - np.array([90, 105, 120]) * math.exp(-0.1), 0.0))


def test_spot_zero_is_a_certain_put():
    assert options.price(0.0, 100.0, 0.5, 0.8, is_put=True) == 100.0
    assert options.price(0.0, 100.0, 0.5, 0.8, is_put=False) == 0.0
    assert options.delta(0.0, 100.0, 0.5, 0.8, is_put=True) == -1.0
    assert options.gamma(0.0, 100.0, 0.5, 0.8) == 0.0


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize(
    "function", [options.price, options.delta, options.gamma, options.vega, options.theta]
)
def test_nan_in_gives_nan_out(function, position):
    inputs = [100.0, 100.0, 0.5, 0.8]
    inputs[position] = math.nan
    assert math.isnan(function(*inputs, is_put=True))


@pytest.mark.parametrize(
    "inputs", [(-1.0, 100.0, 0.5, 0.8), (100.0, -1.0, 0.5, 0.8), (100.0, 100.0, 0.5, -0.8)]
)
def test_a_negative_spot_strike_or_vol_is_nan(inputs):
    assert math.isnan(options.price(*inputs, is_put=True))


@pytest.mark.parametrize(
    ("price", "is_put", "years"),
    [
        (0.0, True, 0.5),  # worthless: any small vol would do
        (-1.0, True, 0.5),
        (100.0, True, 0.5),  # a put is worth less than its strike
        (101.0, True, 0.5),
        (120.0, False, 0.5),  # a call is worth less than the spot
        (20.0, False, 0.5),  # at intrinsic
        (19.0, False, 0.5),  # under it
        (25.0, False, 0.0),  # expired
        (math.nan, True, 0.5),
        (20.0 + 1e-14, False, 0.5),  # time value lost in rounding
    ],
)
def test_implied_vol_is_nan_where_no_vol_is(price, is_put, years):
    assert math.isnan(options.implied_vol(price, 120.0, 100.0, years, is_put=is_put))


def test_implied_vol_of_far_wings_is_exact():
    """A 1-day option 3 sigma out of the money at 40 % vol is worth little and still says 40 %."""
    strikes = np.array([3000.0 * math.exp(-0.4 * math.sqrt(1 / 365) * k) for k in (0.0, 1.0, 3.0, 6.0, 9.0)])
    values = options.price(3000.0, strikes, 1 / 365, 0.4, is_put=True)
    np.testing.assert_allclose(
        options.implied_vol(values, 3000.0, strikes, 1 / 365, is_put=True), 0.4, rtol=1e-6
    )


def test_everything_broadcasts():
    spots, strikes = np.array([90.0, 100.0, 110.0]), np.array([[95.0], [105.0]])
    is_put = np.array([[True], [False]])
    table = options.price(spots, strikes, 0.1, 0.8, is_put=is_put)
    assert table.shape == (2, 3)
    assert options.implied_vol(table, spots, strikes, 0.1, is_put=is_put) == pytest.approx(
        np.full((2, 3), 0.8)
    )
    assert options.gamma(100.0, 100.0, 0.1, 0.8, is_put=is_put).shape == (2, 1)


def test_a_price_has_the_same_bits_in_every_array_and_alone():
    """Near, far (the tail's ratios) and next to expiry (their series), on axes that broadcast."""
    spots, strikes = np.linspace(60.0, 140.0, 9), np.array([[70.0], [100.0], [130.0]])
    years, is_put = np.array([[[0.0]], [[1e-4]], [[0.02]], [[0.8]]]), np.array([[True], [False], [True]])
    table = options.price(spots, strikes, years, 0.6, is_put=is_put, rate=0.03)
    assert table.shape == (4, 3, 9)
    for place in np.ndindex(table.shape):
        life, row, column = place
        inputs = (spots[column], strikes[row, 0], years[life, 0, 0], 0.6)
        alone = options.price(*inputs, is_put=bool(is_put[row, 0]), rate=0.03)
        assert alone.shape == ()
        assert float(alone) == table[place]


def test_what_a_quote_shows_is_price_delta_and_vega_to_the_last_bit():
    found = options.price_delta_vega(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT)
    apart = (
        options.price(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT),
        options.delta(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT),
        options.vega(SPOT, STRIKE, YEARS, VOL),
    )
    for together, alone in zip(found, apart, strict=True):
        assert together.tobytes() == alone.tobytes()
