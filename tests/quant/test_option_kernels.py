"""The compiled kernels against their plain twins, mpmath and QuantLib."""

import math
import subprocess
import sys
from dataclasses import fields

import mpmath as mp
import numpy as np
import pytest
import QuantLib as ql
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.quant import option_kernels, options
from bot.quant.option_tiles import greeks_of_all, vols_of_all

pytestmark = pytest.mark.xdist_group("option-kernels")  # compiled once

NAMES = [field.name for field in fields(options.Greeks)]


def made_up(count, seed=3):
    """Return spots, strikes out to 8 deviations, years, vols, puts, rates and yields."""
    random = np.random.default_rng(seed)
    spot, years = random.uniform(1.0, 1e5, count), random.uniform(0.2, 700.0, count) / 365.0
    vol = random.uniform(0.05, 3.0, count)
    strike = spot * np.exp(random.uniform(-8.0, 8.0, count) * vol * np.sqrt(years))
    carry = {
        "is_put": random.random(count) < 0.5,
        "rate": random.uniform(-0.05, 0.2, count),
        "dividend_yield": random.uniform(0.0, 0.1, count),
    }
    return (spot, strike, years, vol), carry


def exact_price(spot, strike, years, vol, is_put):
    with mp.workdps(60):
        spot, strike, years, vol = (mp.mpf(float(item)) for item in (spot, strike, years, vol))
        total, sign = vol * mp.sqrt(years), -1 if is_put else 1
        d1 = mp.log(spot / strike) / total + total / 2
        up, down = (mp.erfc(-sign * d / mp.sqrt(2)) / 2 for d in (d1, d1 - total))
        return float(sign * (spot * up - strike * down))


def assert_same_greeks(ours, plain, scale):
    """Compare to rounding: of each figure itself, or of the legs that it is a difference of."""
    for name in NAMES:
        np.testing.assert_allclose(getattr(ours, name), getattr(plain, name), rtol=2e-11, atol=scale)


def test_greeks_are_those_of_the_plain_twin():
    inputs, carry = made_up(3_000)
    ours, plain = option_kernels.greeks(*inputs, **carry), options.greeks(*inputs, **carry)
    assert_same_greeks(ours, plain, 1e-9 * 1e-5)
    known = plain.price > 1e-250
    np.testing.assert_allclose(ours.price[known], plain.price[known], rtol=1e-12)
    np.testing.assert_allclose(ours.gamma[known], plain.gamma[known], rtol=1e-12)
    np.testing.assert_allclose(ours.vega[known], plain.vega[known], rtol=1e-12)


def test_black76_is_that_of_the_plain_twin():
    inputs, carry = made_up(500)
    del carry["dividend_yield"]
    ours, plain = option_kernels.black76_greeks(*inputs, **carry), options.black76_greeks(*inputs, **carry)
    assert_same_greeks(ours, plain, 1e-14)
    back = option_kernels.black76_implied_vol(ours.price, *inputs[:3], **carry)
    clear = (plain.vega > 1e-3 * inputs[0]) & (inputs[1] < 100.0 * inputs[0])
    np.testing.assert_allclose(back[clear], inputs[3][clear], rtol=1e-9)


@pytest.mark.parametrize("deviations", [-30.0, -12.0, -5.0, -1.0, 0.0, 0.3, 1.0, 5.0, 12.0, 30.0])
@pytest.mark.parametrize("is_put", [True, False])
def test_prices_are_right_to_1e_12_of_themselves_out_to_thirty_deviations(deviations, is_put):
    totals = np.array([0.001, 0.01, 0.049, 0.051, 0.3, 1.0, 4.0])
    strikes = 3_000.0 * np.exp(deviations * totals)
    ours = option_kernels.greeks(3_000.0, strikes, 0.25, 2.0 * totals, is_put=is_put).price
    oracle = [
        exact_price(3_000.0, strike, 0.25, 2.0 * total, is_put)
        for strike, total in zip(strikes, totals, strict=True)
    ]
    np.testing.assert_allclose(ours, oracle, rtol=1e-12)


def test_quantlib_agrees_on_the_vol():
    (spot, strike, years, vol), carry = made_up(200)
    prices = options.price(spot, strike, years, vol, **carry)
    found = option_kernels.implied_vol(prices, spot, strike, years, **carry)
    compared = 0
    for index in np.flatnonzero(options.vega(spot, strike, years, vol, **carry) > 0.01 * spot):
        kind = ql.Option.Put if carry["is_put"][index] else ql.Option.Call
        rate, life = float(carry["rate"][index]), float(years[index])
        forward = float(spot[index]) * math.exp((rate - float(carry["dividend_yield"][index])) * life)
        theirs = ql.blackFormulaImpliedStdDevLiRS(
            kind, float(strike[index]), forward, float(prices[index]), math.exp(-rate * life)
        )
        assert found[index] == pytest.approx(theirs / math.sqrt(life), rel=1e-6)
        compared += 1
    assert compared > 50


def test_vols_come_back_to_1e_9_where_the_price_says_them():
    (spot, strike, years, vol), carry = made_up(20_000, seed=5)
    spot, strike = 100.0 * np.ones_like(spot), 100.0 * strike / spot
    worth = options.greeks(spot, strike, years, vol, **carry)
    found = option_kernels.implied_vol(worth.price, spot, strike, years, **carry)
    # A strike of a million times the spot has a price whose last digit is worth more than the time value.
    clear = (worth.vega > 0.1) & (strike < 1e4)
    assert clear.mean() > 0.3
    np.testing.assert_allclose(found[clear], vol[clear], rtol=0.0, atol=1e-9)


def test_a_vol_is_unknown_exactly_where_the_twin_says_so():
    random = np.random.default_rng(11)
    (spot, strike, years, vol), carry = made_up(4_000, seed=9)
    price = options.price(spot, strike, years, vol, **carry) * random.choice([1.0, 1.0, 0.5, 2.0], spot.size)
    price[::50] = random.choice([0.0, -1.0, math.nan, math.inf], price[::50].size)
    years[7::61] = random.choice([0.0, -1.0, math.nan], years[7::61].size)
    ours = option_kernels.implied_vol(price, spot, strike, years, **carry)
    plain = options.implied_vol(price, spot, strike, years, **carry)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(plain))
    assert 0.1 < np.isnan(plain).mean() < 0.9
    back = options.price(spot, strike, years, ours, **carry)
    known = ~np.isnan(ours)
    np.testing.assert_allclose(back[known], price[known], rtol=1e-9, atol=1e-12)


EDGES = [0.0, -1.0, math.nan, 1e-320, 1e-12, 0.5, 1.0, 1.0 + 1e-15, 50.0, 1e30, 1e200]


@settings(max_examples=200)
@given(
    spot=st.sampled_from(EDGES),
    strike=st.sampled_from(EDGES),
    years=st.sampled_from([0.0, -1.0, math.nan, 1e-15, 1e-6, 0.5, 1e3]),
    vol=st.sampled_from([0.0, -0.5, math.nan, 1e-8, 0.5, 50.0, 1e4]),
    rate=st.sampled_from([0.0, -0.05, 0.2, math.nan]),
    is_put=st.booleans(),
)
@example(spot=0.5, strike=1e-320, years=0.5, vol=1e4, rate=0.0, is_put=True)  # log(spot / strike) is infinite
def test_edges_are_the_twins(spot, strike, years, vol, rate, is_put):
    ours = option_kernels.greeks(spot, strike, years, vol, is_put=is_put, rate=rate)
    plain = options.greeks(spot, strike, years, vol, is_put=is_put, rate=rate)
    for name in NAMES:
        mine, theirs = float(getattr(ours, name)), float(getattr(plain, name))
        assert mine == pytest.approx(theirs, rel=1e-11, abs=1e-280, nan_ok=True), name


@given(
    deviations=st.floats(-8.0, 8.0),
    years=st.floats(1 / 3650, 2.0),
    vol=st.floats(0.05, 3.0),
    rate=st.floats(-0.05, 0.2),
    is_put=st.booleans(),
)
def test_kernel_is_the_twin(deviations, years, vol, rate, is_put):
    strike = 2_000.0 * math.exp(deviations * vol * math.sqrt(years))
    ours = option_kernels.greeks(2_000.0, strike, years, vol, is_put=is_put, rate=rate)
    plain = options.greeks(2_000.0, strike, years, vol, is_put=is_put, rate=rate)
    assert float(ours.price) == pytest.approx(float(plain.price), rel=1e-12)
    assert_same_greeks(ours, plain, 1e-13)


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 2_048, 2_049, 5_000])
def test_an_option_has_the_same_bits_in_every_array(count):
    inputs, carry = made_up(5_000)
    whole = option_kernels.greeks(*inputs, **carry)
    vols = option_kernels.implied_vol(whole.price, *inputs[:3], **carry)
    part = slice(5_000 - count, 5_000)
    few = tuple(item[part] for item in inputs)
    few_carry = {name: item[part] for name, item in carry.items()}
    again = option_kernels.greeks(*few, **few_carry)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name)[part])
    np.testing.assert_array_equal(option_kernels.implied_vol(again.price, *few[:3], **few_carry), vols[part])


def test_everything_broadcasts():
    spots, strikes = np.array([90.0, 100.0, 110.0]), np.array([[95.0], [105.0]])
    is_put = np.array([[True], [False]])
    table = option_kernels.greeks(spots, strikes, 0.1, 0.8, is_put=is_put, rate=0.02)
    assert table.rho.shape == (2, 3)
    np.testing.assert_allclose(
        table.price, options.price(spots, strikes, 0.1, 0.8, is_put=is_put, rate=0.02), rtol=1e-13
    )
    vols = option_kernels.implied_vol(table.price, spots, strikes, 0.1, is_put=is_put, rate=0.02)
    np.testing.assert_allclose(vols, np.full((2, 3), 0.8), rtol=1e-11)
    assert option_kernels.greeks(np.empty(0), 1.0, 1.0, 1.0, is_put=True).price.shape == (0,)


def test_one_compilation_serves_every_kind_of_input():
    """Some twenty seconds each: what is broadcast is read-only, what is handed over may be or not."""
    strikes = np.array([90.0, 110.0])
    fixed = strikes.copy()
    fixed.flags.writeable = False
    for given_strikes in (95.0, strikes, fixed, strikes[None, ::-1]):
        for vol in (0.5, np.array([0.5]), np.array([0.4, 0.6])):
            worth = option_kernels.greeks(100.0, given_strikes, 0.25, vol, is_put=True)
            option_kernels.implied_vol(worth.price, 100.0, given_strikes, 0.25, is_put=[True, False])
    assert len(greeks_of_all.signatures) == len(vols_of_all.signatures) == 1


def test_a_result_may_be_written_over():
    inputs, carry = made_up(300)
    first = option_kernels.greeks(*inputs, **carry)
    kept = first.price.copy()
    again = option_kernels.greeks(*inputs, **carry, out=first)
    assert np.shares_memory(again.price, first.price)
    np.testing.assert_array_equal(again.price, kept)
    with pytest.raises(InvariantError, match="cannot be written over"):
        option_kernels.greeks(100.0, 100.0, 1.0, 0.5, is_put=True, out=first)


def test_the_plain_functions_do_not_import_numba():
    """A command that needs no kernel must not wait for numba."""
    code = "import sys, bot.quant.options, bot.quant.payoff; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
