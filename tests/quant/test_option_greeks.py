"""Greeks to second order and prices to the last digits: mpmath and QuantLib as oracles, and bumps."""

import math

import mpmath as mp
import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given
from hypothesis import strategies as st

from bot.quant import options

RNG = np.random.default_rng(7)
COUNT = 60
SPOT = RNG.uniform(500.0, 5000.0, COUNT)
VOL = RNG.uniform(0.1, 2.0, COUNT)
YEARS = RNG.uniform(1.0, 400.0, COUNT) / 365.0
STRIKE = SPOT * np.exp(RNG.normal(0.0, 1.5, COUNT) * VOL * np.sqrt(YEARS))
RATE = RNG.uniform(-0.02, 0.12, COUNT)
YIELD = RNG.uniform(0.0, 0.08, COUNT)
IS_PUT = RNG.random(COUNT) < 0.5
CARRY = {"is_put": IS_PUT, "rate": RATE, "dividend_yield": YIELD}
NAMES = ("spot", "strike", "years", "vol", "rate", "growth")

# By which inputs the price is differentiated; time passes, so a year less of life is a year more of time.
SLOPES = {
    "delta": ("spot",),
    "gamma": ("spot", "spot"),
    "vega": ("vol",),
    "theta": ("years",),
    "rho": ("rate",),
    "vanna": ("spot", "vol"),
    "volga": ("vol", "vol"),
    "charm": ("spot", "years"),
    "veta": ("vol", "years"),
    "dual_delta": ("strike",),
    "dual_gamma": ("strike", "strike"),
}

contract = {
    "spot": st.floats(10.0, 1e5),
    "deviations": st.floats(-6.0, 6.0),
    "years": st.floats(1 / 365, 2.0),
    "vol": st.floats(0.05, 3.0),
    "rate": st.floats(-0.05, 0.2),
    "dividend_yield": st.floats(0.0, 0.2),
}


def exact(spot, strike, years, vol, rate, growth, *, is_put):
    """Return the value in 50 digits, from the textbook."""
    asset, cash = spot * mp.exp(-growth * years), strike * mp.exp(-rate * years)
    total = vol * mp.sqrt(years)
    d1 = mp.log(asset / cash) / total + total / 2
    sign = -1 if is_put else 1

    def chance(d):
        return mp.erfc(-sign * d / mp.sqrt(2)) / 2

    return sign * (asset * chance(d1) - cash * chance(d1 - total))


def exact_price(*inputs, is_put):
    with mp.workdps(60):
        return float(exact(*(mp.mpf(float(item)) for item in inputs), is_put=is_put))


def exact_slope(inputs, by, *, is_put):
    """Return the derivative in the named inputs, each one taken once for every time it is named."""
    orders = tuple(by.count(name) for name in NAMES)
    with mp.workdps(60):
        start = tuple(mp.mpf(float(item)) for item in inputs)
        found = mp.diff(lambda *at: exact(*at, is_put=is_put), start, orders)
    return float(found) * (-1) ** by.count("years")


def book(index):
    return tuple(column[index] for column in (SPOT, STRIKE, YEARS, VOL, RATE, YIELD))


@pytest.mark.parametrize("name", SLOPES)
def test_every_greek_is_the_derivative_of_the_price(name):
    ours = getattr(options, name)(SPOT, STRIKE, YEARS, VOL, **CARRY)
    oracle = [exact_slope(book(index), SLOPES[name], is_put=bool(IS_PUT[index])) for index in range(COUNT)]
    np.testing.assert_allclose(ours, oracle, rtol=1e-10, atol=1e-13 * np.abs(oracle).max())


@pytest.mark.parametrize("name", [name for name in SLOPES if "dual" not in name])
def test_a_black76_greek_holds_the_forward(name):
    by = tuple("vol" if item == "vol" else item for item in SLOPES[name])

    def value(forward, strike, years, vol, rate, _growth, *, is_put):
        return exact(forward, strike, years, vol, rate, rate, is_put=is_put)

    for index in range(0, COUNT, 12):
        forward, strike, years, vol, rate, _ = book(index)
        put = bool(IS_PUT[index])
        with mp.workdps(60):
            start = tuple(mp.mpf(float(item)) for item in book(index))
            orders = tuple(by.count(item) for item in NAMES)
            oracle = float(mp.diff(lambda *at: value(*at, is_put=put), start, orders))  # noqa: B023
        oracle *= (-1) ** by.count("years")
        if name == "rho":
            ours = options.black76_rho(forward, strike, years, vol, is_put=put, rate=rate)
        else:
            ours = getattr(options, name)(
                forward, strike, years, vol, is_put=put, rate=rate, dividend_yield=rate
            )
        assert float(ours) == pytest.approx(oracle, rel=1e-9)


def test_all_of_black76_at_once_is_each_of_it():
    found = options.black76_greeks(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT, rate=RATE)
    as_spot = {"is_put": IS_PUT, "rate": RATE, "dividend_yield": RATE}
    np.testing.assert_array_equal(
        found.price, options.black76_price(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT, rate=RATE)
    )
    np.testing.assert_array_equal(
        found.rho, options.black76_rho(SPOT, STRIKE, YEARS, VOL, is_put=IS_PUT, rate=RATE)
    )
    for name in ("delta", "gamma", "vega", "theta"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(options, name)(SPOT, STRIKE, YEARS, VOL, **as_spot)
        )


def test_all_greeks_at_once_are_each_of_them():
    found = options.greeks(SPOT, STRIKE, YEARS, VOL, **CARRY)
    for name in ("price", "delta", "gamma", "vega", "theta", "rho"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(options, name)(SPOT, STRIKE, YEARS, VOL, **CARRY)
        )


def test_quantlib_agrees_with_a_dividend_yield():
    for index in range(COUNT):
        spot, strike, years, vol, rate, growth = map(float, book(index))
        kind = ql.Option.Put if IS_PUT[index] else ql.Option.Call
        black = ql.BlackCalculator(
            ql.PlainVanillaPayoff(kind, strike),
            spot * math.exp((rate - growth) * years),
            vol * math.sqrt(years),
            math.exp(-rate * years),
        )
        theirs = {
            "price": black.value(),
            "delta": black.delta(spot),
            "gamma": black.gamma(spot),
            "vega": black.vega(years),
            "theta": black.theta(spot, years),
            "rho": black.rho(years),
            "dual_delta": black.strikeSensitivity(),
            "dual_gamma": black.strikeGamma(),
        }
        carry = {"is_put": bool(IS_PUT[index]), "rate": rate, "dividend_yield": growth}
        for name, value in theirs.items():
            ours = float(getattr(options, name)(spot, strike, years, vol, **carry))
            assert ours == pytest.approx(value, rel=1e-9, abs=1e-12 * spot), name


@pytest.mark.parametrize("deviations", [-30.0, -12.0, -5.0, -1.0, 0.0, 0.3, 1.0, 5.0, 12.0])
@pytest.mark.parametrize("total", [0.001, 0.01, 0.049, 0.051, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("is_put", [True, False])
def test_prices_are_right_to_1e_12_of_themselves_out_to_thirty_deviations(deviations, total, is_put):
    """Also where the value is 1e-200 of the spot. A rate moves the legs by a rounding: near, not far."""
    strike, vol = 3_000.0 * math.exp(deviations * total), total / math.sqrt(0.25)
    assert float(options.price(3_000.0, strike, 0.25, vol, is_put=is_put)) == pytest.approx(
        exact_price(3_000.0, strike, 0.25, vol, 0.0, 0.0, is_put=is_put), rel=1e-12
    )


@given(**contract)
def test_parity_of_price_and_greeks(spot, deviations, years, vol, rate, dividend_yield):
    strike = spot * math.exp(deviations * vol * math.sqrt(years))
    carry = {"rate": rate, "dividend_yield": dividend_yield}
    call, put = (options.greeks(spot, strike, years, vol, is_put=is_put, **carry) for is_put in (False, True))
    asset, cash = spot * math.exp(-dividend_yield * years), strike * math.exp(-rate * years)
    scale = 1e-13 * (asset + cash)
    assert float(call.price - put.price) == pytest.approx(asset - cash, abs=10 * scale)
    assert float(call.delta - put.delta) == pytest.approx(asset / spot, abs=1e-12)
    assert float(call.rho - put.rho) == pytest.approx(years * cash, abs=10 * scale * (1 + years))
    assert call.gamma == put.gamma
    assert call.vega == put.vega


@given(**contract)
def test_price_rises_with_vol_and_falls_with_a_calls_strike(
    spot, deviations, years, vol, rate, dividend_yield
):
    strike = spot * math.exp(deviations * vol * math.sqrt(years))
    strikes, vols = strike * np.linspace(0.9, 1.1, 21), vol * np.linspace(0.9, 1.1, 21)
    carry = {"is_put": False, "rate": rate, "dividend_yield": dividend_yield}
    slack = 1e-14 * max(spot, strike)
    assert np.diff(options.price(spot, strikes, years, vol, **carry)).max() <= slack
    assert np.diff(options.price(spot, strike, years, vols, **carry)).min() >= -slack
    assert np.diff(options.price(spot, strikes, years, vol, **carry), 2).min() >= -10 * slack


SECOND = ["vanna", "volga", "charm", "veta", "dual_gamma", "gamma", "vega"]


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize(("years", "vol"), [(0.0, 0.5), (-1.0, 0.5), (0.5, 0.0)])
def test_no_curvature_without_time_or_vol(name, years, vol):
    spots = np.array([0.0, 80.0, 100.0, 120.0])
    np.testing.assert_array_equal(getattr(options, name)(spots, 100.0, years, vol, is_put=True), 0.0)


@pytest.mark.parametrize("name", [*SLOPES, "price"])
@pytest.mark.parametrize("position", range(6))
def test_unknown_in_is_unknown_out(name, position):
    inputs = [100.0, 95.0, 0.5, 0.8, 0.03, 0.01]
    inputs[position] = math.nan
    *first, rate, growth = inputs
    assert math.isnan(getattr(options, name)(*first, is_put=True, rate=rate, dividend_yield=growth))


@pytest.mark.parametrize("spot", [99.5, 100.0, 100.5])
@pytest.mark.parametrize("is_put", [True, False])
def test_next_to_the_strike_with_almost_no_time_value(spot, is_put):
    """In the money by more than its time value: the intrinsic value must not be left out."""
    value = float(options.price(spot, 100.0, 1.0, 0.002, is_put=is_put))
    assert value == pytest.approx(exact_price(spot, 100.0, 1.0, 0.002, 0.0, 0.0, is_put=is_put), rel=1e-12)


def test_expired_in_the_money_has_rho_and_dual_delta_of_settlement():
    assert options.rho(80.0, 100.0, 0.0, 0.5, is_put=True, rate=0.1) == 0.0
    assert options.dual_delta(80.0, 100.0, 0.0, 0.5, is_put=True, rate=0.1) == 1.0
    assert options.dual_delta(100.0, 100.0, 0.0, 0.5, is_put=True) == 0.5


def test_huge_vol_reaches_the_bound():
    assert options.price(100.0, 80.0, 1.0, 50.0, is_put=False) == 100.0
    assert options.price(100.0, 80.0, 1.0, 50.0, is_put=True) == 80.0
