"""Fees from a pool's counters: the whitepaper's cases by hand, wrapping, and v2 growth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.quant import lp, lp_fees

Q128, WORD = 1 << 128, 1 << 256
counters = st.integers(0, WORD - 1)


@pytest.mark.parametrize(
    ("tick", "inside"),
    [
        (5, 100 - 20 - 30),  # inside: all less what was earned below and above
        (-1, 20 - 30),  # below: outside(lower) - outside(upper), which may wrap
        (10, 30 - 20),  # at the upper end the position is out of range
        (0, 100 - 20 - 30),  # at the lower end it is in
    ],
)
def test_growth_inside_by_the_whitepaper(tick, inside):
    found = lp_fees.fee_growth_inside(
        overall=100, below_lower=20, below_upper=30, tick=tick, lower=0, upper=10
    )
    assert found == inside % WORD


@given(overall=counters, low=counters, high=counters, earned=st.integers(0, 1 << 200))
def test_what_is_earned_in_range_is_what_the_pool_earned(overall, low, high, earned):
    def inside(total: int) -> int:
        return lp_fees.fee_growth_inside(
            overall=total % WORD, below_lower=low, below_upper=high, tick=0, lower=-1, upper=1
        )

    assert (inside(overall + earned) - inside(overall)) % WORD == earned


def test_fees_are_rounded_down_and_wrap():
    assert lp_fees.fees_from_growth(10, growth_then=0, growth_now=Q128 // 4) == 2
    assert lp_fees.fees_from_growth(10, growth_then=WORD - Q128, growth_now=Q128) == 20
    assert lp_fees.fees_from_growth(0, growth_then=0, growth_now=Q128) == 0


def test_senseless_counters_are_refused():
    with pytest.raises(InvariantError, match="lower tick must be under the upper"):
        lp_fees.fee_growth_inside(overall=1, below_lower=0, below_upper=0, tick=0, lower=5, upper=5)
    with pytest.raises(InvariantError, match="liquidity must be >= 0, was -1"):
        lp_fees.fees_from_growth(-1, growth_then=0, growth_now=1)


def test_v2_growth_is_per_pool_share():
    """Liquidity grows 12 % while supply grows 10 %: 1.8182 % was fees."""
    found = lp_fees.share_growth(liquidity_then=100, supply_then=50, liquidity_now=112, supply_now=55)
    assert found == pytest.approx(1.12 / 1.10 - 1.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_v2_growth_of_an_empty_pool_is_unknown(bad):
    assert math.isnan(lp_fees.share_growth(liquidity_then=bad, supply_then=1, liquidity_now=1, supply_now=1))


@given(growth=st.floats(0.0, 1.0), spot=st.floats(1.0, 1e5))
def test_v2_fees_are_the_value_of_the_liquidity_that_came(growth, spot):
    then = LpShape(liquidity=100.0)
    now = LpShape(liquidity=100.0 * (1 + growth))
    expected = float(lp.value(now, spot) - lp.value(then, spot))
    assert float(lp_fees.v2_fee_value(now, growth, spot)) == pytest.approx(expected, abs=1e-9 * spot)


def test_v2_fees_of_a_range_are_refused_and_unknown_growth_is_unknown():
    with pytest.raises(InvariantError, match="without range"):
        lp_fees.v2_fee_value(LpShape(liquidity=1.0, lower_usd=1.0), 0.1, 2.0)
    assert np.isnan(lp_fees.v2_fee_value(LpShape(liquidity=1.0), math.nan, [1.0, 2.0])).all()


def test_apr_by_hand():
    assert lp_fees.fee_apr(10.0, 1000.0, 365 * 86_400 / 4) == pytest.approx(0.04)
    assert math.isnan(lp_fees.fee_apr(10.0, 0.0, 86_400))
    assert math.isnan(lp_fees.fee_apr(10.0, 1000.0, 0.0))
