"""Legs on a grid and on paths, and break-evens."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.quant import lp, options, payoff

SPOTS = np.linspace(1000.0, 3000.0, 201)


def test_set_of_legs_is_the_sum_of_its_options():
    total = payoff.option_value(
        SPOTS,
        strikes=[1800.0, 2400.0],
        is_puts=[True, False],
        years=[0.1, 0.0],
        ivs=[0.8, 0.7],
        sizes=[3.0, -2.0],
    )
    expected = 3.0 * options.price(SPOTS, 1800.0, 0.1, 0.8, is_put=True) - 2.0 * np.maximum(
        SPOTS - 2400.0, 0.0
    )
    np.testing.assert_allclose(total, expected)


def test_spot_grid_may_have_any_shape():
    grid = SPOTS.reshape(3, 67)
    legs = payoff.leg_values(
        grid, strikes=[1800.0, 2000.0], is_puts=True, years=0.1, ivs=0.8, sizes=[1.0, 2.0]
    )
    assert legs.shape == (2, 3, 67)
    np.testing.assert_allclose(legs[1], 2.0 * options.price(grid, 2000.0, 0.1, 0.8, is_put=True))


def test_no_leg_is_worth_nothing():
    empty = {"strikes": [], "is_puts": [], "sizes": []}
    np.testing.assert_array_equal(payoff.option_value(SPOTS, **empty, years=[], ivs=[]), 0.0)
    np.testing.assert_array_equal(payoff.expiry_payoff(SPOTS, **empty), 0.0)


def test_expiry_payoff_is_the_value_of_options_without_time():
    legs = {"strikes": [1600.0, 2000.0, 2000.0], "is_puts": [True, True, False], "sizes": [1.5, -2.0, 0.25]}
    whole = payoff.option_value(SPOTS, **legs, years=[0.0] * 3, ivs=[0.0] * 3)
    np.testing.assert_array_equal(payoff.expiry_payoff(SPOTS, **legs), whole)
    odd = np.array([0.0, math.nan, -1.0, 2_000.0])
    np.testing.assert_array_equal(
        payoff.expiry_payoff(odd, **legs),
        payoff.option_value(odd, **legs, years=[0.0] * 3, ivs=[0.0] * 3),
    )


def test_expiry_payoff_of_an_iron_condor_is_bounded_by_its_wings():
    legs = {"strikes": [1600.0, 1800.0, 2200.0, 2400.0], "is_puts": [True, True, False, False]}
    values = payoff.expiry_payoff(SPOTS, **legs, sizes=[1.0, -1.0, -1.0, 1.0])
    assert values.min() == -200.0
    np.testing.assert_array_equal(values[(SPOTS >= 1800.0) & (SPOTS <= 2200.0)], 0.0)
    np.testing.assert_array_equal(
        payoff.intrinsic(SPOTS, 1800.0, is_put=True), np.maximum(1800.0 - SPOTS, 0.0)
    )


def test_unknown_vol_makes_a_leg_unknown():
    values = payoff.option_value(SPOTS, strikes=1800.0, is_puts=True, years=0.1, ivs=math.nan, sizes=1.0)
    assert np.isnan(values).all()


def test_legs_on_paths_are_alive_expired_or_past():
    """Day 0..4. DTE 10 lives (6 days left), 2.5 settles half-way between days 2 and 3, -1 at today's spot."""
    paths = np.array([[2000.0, 1900.0, 1600.0, 2500.0, 2000.0], [2000.0, 2000.0, 2000.0, 2000.0, 1500.0]])
    values = payoff.horizon_values(
        paths, strikes=[2100.0] * 3, is_puts=True, dte=[10.0, 2.5, -1.0], ivs=0.8, sizes=[1.0, 2.0, 1.0]
    )
    alive = options.price(np.array([2000.0, 1500.0]), 2100.0, 6 / 365, 0.8, is_put=True)
    np.testing.assert_allclose(values[0], alive)
    np.testing.assert_allclose(values[1], [2.0 * (2100.0 - math.sqrt(1600.0 * 2500.0)), 200.0])
    np.testing.assert_allclose(values[2], [100.0, 100.0])


def test_unknown_life_makes_a_leg_unknown_on_every_path():
    values = payoff.horizon_values(
        np.full((2, 3), 2000.0), strikes=1.0, is_puts=True, dte=math.nan, ivs=0.8, sizes=1.0
    )
    assert np.isnan(values).all()


def evens(pnl, spots=None):
    pnl = np.array(pnl, dtype=np.float64)
    return payoff.break_evens(np.arange(pnl.size, dtype=np.float64) if spots is None else spots, pnl).tolist()


@pytest.mark.parametrize(
    ("pnl", "expected"),
    [
        ([-1, 3], [0.25]),
        ([2, -2, 2], [0.5, 1.5]),
        ([-1, 0, 1], [1.0]),
        ([-1, 0, 0, 0, 1], [1.0, 3.0]),  # a flat stretch gives both ends
        ([1, 0, 1], []),  # a touch is no crossing
        ([0, 0, 1], []),
        ([1, 2, 3], []),
        ([-1, math.nan, 1], []),  # nothing is read across the unknown
        ([-1, 1, math.nan, 1, -1], [0.5, 3.5]),
        ([0, 0], []),
        ([1], []),
        ([], []),
    ],
)
def test_break_evens_are_changes_of_sign(pnl, expected):
    assert evens(pnl) == expected


@given(strike=st.floats(1200.0, 2800.0), premium=st.floats(1.0, 150.0))
def test_break_even_of_a_put_is_strike_less_premium(strike, premium):
    pnl = payoff.expiry_payoff(SPOTS, strikes=strike, is_puts=True, sizes=1.0) - premium
    (found,) = payoff.break_evens(SPOTS, pnl)
    assert found == pytest.approx(strike - premium, abs=10.0)  # the grid step


def test_put_under_an_lp_costs_near_the_range_and_pays_in_the_crash():
    """R15: LP and a put bought under the range, against USD entry with 2,000 USD of fees earned."""
    shape = LpShape(
        liquidity=lp.liquidity_for_value(100_000.0, 2000.0, 1600.0, 2500.0),
        lower_usd=1600.0,
        upper_usd=2500.0,
    )
    grid = np.linspace(200.0, 4000.0, 3801)
    naked = lp.impermanent_loss(shape, 2000.0, grid, measure="usd") + 2_000.0
    hedge = payoff.expiry_payoff(grid, strikes=1500.0, is_puts=True, sizes=60.0) - 1_000.0
    (naked_even,), (hedged_even,) = payoff.break_evens(grid, naked), payoff.break_evens(grid, naked + hedge)
    # Between strike and spot only the premium counts: the value lost is the fees less the premium.
    assert float(lp.value(shape, naked_even)) == pytest.approx(98_000.0, abs=1.0)
    assert float(lp.value(shape, hedged_even)) == pytest.approx(99_000.0, abs=1.0)
    assert (naked + hedge)[0] - naked[0] == pytest.approx(60.0 * 1300.0 - 1_000.0)


@pytest.mark.parametrize(("spots", "pnl"), [(np.ones(2), np.ones(3)), (np.ones((2, 2)), np.ones((2, 2)))])
def test_senseless_rows_are_refused(spots, pnl):
    with pytest.raises(InvariantError):
        payoff.break_evens(spots, pnl)
