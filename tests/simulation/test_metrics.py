"""Golden values by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.simulation.metrics import (
    deepest_fall,
    drawdowns,
    max_drawdown,
    removed,
)


def test_drawdown_is_measured_from_the_running_peak():
    np.testing.assert_allclose(drawdowns([100, 120, 90, 130, 117]), [0, 0, 0.25, 0, 0.1])


def test_max_drawdown_is_the_deepest():
    assert max_drawdown([100, 120, 90, 130, 117]) == pytest.approx(0.25)


def test_an_unknown_hour_is_left_out_and_stays_unknown():
    falls = drawdowns([100, math.nan, 80])
    assert math.isnan(falls[1])
    assert falls[2] == pytest.approx(0.2)


def test_nothing_known_gives_nan():
    assert math.isnan(max_drawdown([math.nan, math.nan]))
    assert math.isnan(max_drawdown([]))


def test_a_fall_does_not_run_across_a_long_hole():
    values, times_s = [100, 110, 55, 50], [0, 1, 200, 201]
    assert max_drawdown(values, times_s=times_s, hole_s=36) == pytest.approx(1 - 50 / 55)
    assert max_drawdown(values, times_s=times_s, hole_s=500) == pytest.approx(1 - 50 / 110)


def test_removed_share_of_the_fall():
    assert removed([100, 90], [100, 60]) == pytest.approx(0.75)
    assert removed([100, 50], [100, 60]) == pytest.approx(-0.25)
    assert math.isnan(removed([100, 90], [100, 101]))


def test_deepest_fall_names_peak_and_trough():
    assert deepest_fall([100, 120, 90, 130, 117]) == (1, 2)
    assert deepest_fall([1, 2, 3]) is None


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=40), st.floats(0.1, 10))
def test_drawdown_is_a_fraction_and_does_not_depend_on_the_unit(values, factor):
    falls = drawdowns(values)
    assert ((falls >= 0.0) & (falls < 1.0)).all()
    np.testing.assert_allclose(drawdowns(np.array(values) * factor), falls, atol=1e-12)
