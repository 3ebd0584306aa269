"""Term structure: total variance by hand, flat ends, forward vol."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.quant import surface

WEEK, MONTH, QUARTER = 7 / 365, 30 / 365, 90 / 365


def test_interpolation_is_linear_in_total_variance():
    """0.9 at 10 days and 0.6 at 30: at 20 days sqrt((0.81 x 10 + 0.36 x 30) / 2 / 20)."""
    found = surface.iv_at_tenor([10 / 365, 30 / 365], [0.9, 0.6], 20 / 365)
    assert float(found) == pytest.approx(math.sqrt((0.81 * 10 + 0.36 * 30) / 2 / 20))


def test_vol_is_flat_beyond_the_ends():
    found = surface.iv_at_tenor([WEEK, MONTH], [0.9, 0.6], [1 / 365, QUARTER])
    np.testing.assert_allclose(found, [0.9, 0.6])


def test_listed_tenors_keep_their_vol_in_any_order():
    np.testing.assert_allclose(
        surface.iv_at_tenor([QUARTER, WEEK, MONTH], [0.5, 0.9, 0.6], [WEEK, MONTH, QUARTER]), [0.9, 0.6, 0.5]
    )


def test_unusable_points_are_left_out_and_equal_expiries_averaged():
    years = [WEEK, WEEK, MONTH, MONTH, -0.1, QUARTER]
    ivs = [0.8, 0.6, math.nan, 0.7, 0.9, 0.0]
    found = surface.iv_at_tenor(years, ivs, [WEEK, QUARTER])
    np.testing.assert_allclose(found, [math.sqrt((0.64 + 0.36) / 2), 0.7])


@pytest.mark.parametrize(
    ("years", "ivs", "tenor"),
    [([], [], WEEK), ([WEEK], [math.nan], WEEK), ([WEEK], [0.5], math.nan), ([WEEK], [0.5], 0.0)],
)
def test_nothing_known_is_nan(years, ivs, tenor):
    assert math.isnan(surface.iv_at_tenor(years, ivs, tenor))


def test_slope_and_its_edges():
    assert float(surface.term_slope(0.35, 0.22)) == pytest.approx(0.590909, abs=1e-6)
    for front, back in ((0.0, 0.5), (0.5, 0.0), (math.nan, 0.5), (0.5, math.nan)):
        assert math.isnan(surface.term_slope(front, back))


@given(near=st.floats(0.1, 2.0), far=st.floats(0.1, 2.0), t1=st.floats(0.01, 1.0), gap=st.floats(0.01, 1.0))
def test_variance_adds_up_over_time(near, far, t1, gap):
    t2 = t1 + gap
    between = float(surface.forward_variance(t1, near, t2, far))
    assert near**2 * t1 + between * gap == pytest.approx(far**2 * t2)
    vol = float(surface.forward_vol(t1, near, t2, far))
    assert math.isnan(vol) if between < 0.0 else vol == pytest.approx(math.sqrt(between))


def test_forward_needs_two_different_maturities():
    assert math.isnan(surface.forward_vol(MONTH, 0.5, MONTH, 0.5))
    assert math.isnan(surface.forward_vol(QUARTER, 0.5, MONTH, 0.5))
