"""Paths, value at risk, expected shortfall, hedge scale (R8)."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bot.errors import InvariantError
from bot.quant.var import (
    EWMA_STUDENT,
    FILTERED_HISTORICAL,
    expected_shortfall,
    hedge_scale,
    spot_paths,
    value_at_risk,
)

RNG = np.random.default_rng(3)


def closes(returns):
    return 2000.0 * np.exp(np.concatenate(([0.0], np.cumsum(returns))))


HISTORY = RNG.standard_t(5, 400) * 0.03


def test_paths_are_overlapping_windows_of_standardised_returns():
    """Constant-size returns have EWMA vol of exactly that size, so paths are their own cumulated signs."""
    signs = RNG.choice([-1.0, 1.0], 300)
    found = spot_paths(closes(0.02 * signs), spot=1000.0, horizon_days=10)
    assert found.method == FILTERED_HISTORICAL
    assert found.vol == pytest.approx(0.02 * math.sqrt(365))
    assert found.returns_known == 300
    usable = signs[20:]  # warm-up of the first forecast
    assert found.spots.shape == (usable.size - 10 + 1, 11)
    expected = 1000.0 * np.exp(0.02 * np.cumsum(usable[5:15]))
    np.testing.assert_allclose(found.spots[5, 1:], expected)
    np.testing.assert_array_equal(found.spots[:, 0], 1000.0)


def test_a_shock_is_measured_by_the_forecast_of_the_day_before():
    """A 10 % day after 2 % days is a shock of 5, not one of the vol that it raised itself."""
    returns = np.full(300, 0.02)
    returns[100] = 0.10
    found = spot_paths(closes(returns), spot=1000.0, horizon_days=1)
    largest = float(np.log(found.spots[:, 1] / 1000.0).max())
    assert largest == pytest.approx(5.0 * found.vol / math.sqrt(365), rel=1e-6)


@pytest.mark.parametrize(("factor", "held"), [(0.2, 1.0), (1.2, 1.2), (5.0, 1.5)])
def test_vol_is_held_between_its_median_and_its_cap(factor, held):
    """R8: size does not chase vol, and does not fall asleep in a calm."""
    signs = RNG.choice([-1.0, 1.0], 400)
    sizes = np.where(np.arange(400) < 340, 0.02, 0.02 * factor)
    found = spot_paths(closes(signs * sizes), spot=1000.0, horizon_days=10)
    assert found.vol == pytest.approx(held * 0.02 * math.sqrt(365), rel=0.02)


@pytest.mark.parametrize(("returns", "method"), [(250, FILTERED_HISTORICAL), (249, EWMA_STUDENT)])
def test_history_of_250_returns_is_needed(returns, method):
    found = spot_paths(closes(HISTORY[:returns]), spot=2000.0, horizon_days=10)
    assert (found.method, found.warmed) == (method, method == FILTERED_HISTORICAL)


def test_short_history_uses_the_literal_student_quantile():
    """t(4) at 1 % is -3.746947; 60 % a year over 10 days is 9.931 %."""
    found = spot_paths(np.empty(0), spot=2000.0, horizon_days=10)
    assert (found.method, found.warmed, found.vol) == (EWMA_STUDENT, False, 0.60)
    assert found.spots.shape == (199, 11)
    losses = 2000.0 - found.spots[:, -1]
    worst = 2000.0 * (1.0 - math.exp(-3.746947388 * 0.60 * math.sqrt(10 / 365)))
    assert value_at_risk(losses) == pytest.approx(worst, rel=1e-8)
    np.testing.assert_allclose(np.diff(np.log(found.spots), axis=1).std(axis=1), 0.0, atol=1e-12)  # straight
    assert found.spots[99, -1] == pytest.approx(2000.0)  # the median path stays


@pytest.mark.parametrize(("daily", "vol"), [(0.01, 0.60), (0.05, 0.05 * math.sqrt(365))])
def test_short_history_vol_is_floored(daily, vol):
    found = spot_paths(closes(daily * RNG.choice([-1.0, 1.0], 60)), spot=2000.0, horizon_days=10)
    assert found.vol == pytest.approx(vol)


def test_no_path_crosses_a_long_hole():
    """A fall of 90 % hides in a hole of three days; no path knows it, and both sides still serve."""
    torn = closes(HISTORY)
    torn[200:] *= 0.1
    torn[200:203] = math.nan
    found = spot_paths(torn, spot=2000.0, horizon_days=10)
    whole = spot_paths(closes(HISTORY), spot=2000.0, horizon_days=10)
    assert found.method == FILTERED_HISTORICAL
    assert found.returns_known == 400 - 4
    assert found.spots.shape[0] == (199 - 20 - 9) + (197 - 20 - 9)
    assert found.spots.min() > 0.5 * whole.spots.min()


def test_a_median_on_too_few_days_falls_back():
    torn = closes(np.tile(HISTORY, 2))
    torn[-175:-70] = math.nan
    assert spot_paths(torn, spot=2000.0, horizon_days=10).method == EWMA_STUDENT


@pytest.mark.parametrize(("spot", "days"), [(0.0, 10), (math.nan, 10), (math.inf, 10), (2000.0, 0)])
def test_senseless_paths_are_refused(spot, days):
    with pytest.raises(InvariantError):
        spot_paths(closes(HISTORY), spot=spot, horizon_days=days)


def test_var_is_the_smallest_loss_that_99_percent_do_not_exceed():
    losses = RNG.permutation(np.arange(1.0, 101.0))
    assert value_at_risk(losses) == 99.0
    assert value_at_risk(losses, confidence=0.57) == 57.0  # 0.57 x 100 rounds under 57 in floats
    assert value_at_risk(np.array([5.0])) == 5.0


def test_expected_shortfall_is_the_mean_of_the_tail():
    losses = RNG.permutation(np.arange(1.0, 101.0))
    assert expected_shortfall(losses, confidence=0.95) == pytest.approx(98.0)  # 96..100
    # 1.5 outcomes: all of 100, half of 99
    assert expected_shortfall(losses, confidence=0.985) == pytest.approx((100.0 + 49.5) / 1.5)


def test_unknown_outcome_is_never_left_out():
    for losses in (np.array([1.0, math.nan]), np.empty(0)):
        assert math.isnan(value_at_risk(losses))
        assert math.isnan(expected_shortfall(losses))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 99.0, math.nan])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(InvariantError, match="confidence"):
        value_at_risk(np.ones(3), confidence=confidence)


outcomes = hnp.arrays(np.float64, 60, elements=st.floats(-100.0, 100.0, allow_subnormal=False))
steps = hnp.arrays(np.float64, 60, elements=st.integers(-20, 20).map(float))


@given(losses=outcomes)
def test_shortfall_is_never_under_var(losses):
    assert expected_shortfall(losses) >= value_at_risk(losses) - 1e-9


@given(losses=outcomes, gains=steps, share=st.floats(0.0, 1.0))
def test_scale_reaches_the_share_and_nothing_smaller_does(losses, gains, share):
    base = value_at_risk(losses, confidence=0.9)
    assume(base > 1e-6)
    found = hedge_scale(losses, gains, share=share, confidence=0.9)
    assert found.scale >= 0.0
    target = (1.0 - share) * base
    after = value_at_risk(losses - found.scale * gains, confidence=0.9)
    assert found.share == pytest.approx(1.0 - after / base, abs=1e-9)
    smaller = np.linspace(0.0, found.scale, 200, endpoint=False)
    values = np.array([value_at_risk(losses - k * gains, confidence=0.9) for k in smaller])
    if found.share >= share - 1e-9:
        assert (values > target - 1e-9 * base).all() or found.scale == 0.0
    else:
        wider = np.concatenate((smaller, np.linspace(found.scale, 50.0 + 2 * found.scale, 500)))
        best = min(value_at_risk(losses - k * gains, confidence=0.9) for k in wider)
        assert after <= best + 1e-7 * base


def test_scale_of_a_perfect_hedge_is_the_share():
    losses = np.arange(1.0, 101.0)
    found = hedge_scale(losses, losses, share=0.25)
    assert (found.scale, found.share) == (pytest.approx(0.25), pytest.approx(0.25))


def test_hedge_that_loses_more_than_it_protects_says_how_far_it_gets():
    """It pays on the worst ten outcomes and costs 1 elsewhere: past some size the premium is the loss."""
    losses = np.concatenate((np.full(90, 10.0), np.full(10, 20.0)))
    gains = np.concatenate((np.full(90, -1.0), np.full(10, 1.0)))
    found = hedge_scale(losses, gains, share=0.5)
    assert found.scale == pytest.approx(5.0, rel=1e-6)  # 20 - k = 10 + k
    assert found.share == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("losses", "gains"),
    [
        ([20.0, 8.0], [5.0, -1.0]),  # at 2 the first comes down to 10 and the second up to it
        ([20.0, 10.0], [5.0, 0.0]),  # the second is on the target from the start
    ],
)
def test_an_outcome_on_the_target_is_within_it(losses, gains):
    found = hedge_scale(np.array(losses), np.array(gains), share=0.5)
    assert (found.scale, found.share) == (2.0, 0.5)


def test_useless_hedge_is_not_bought():
    losses = np.arange(1.0, 101.0)
    for gains in (np.zeros(100), np.full(100, -1.0)):
        found = hedge_scale(losses, gains, share=0.25)
        assert (found.scale, found.share) == (0.0, 0.0)


def test_largest_scale_binds():
    losses = np.arange(1.0, 101.0)
    found = hedge_scale(losses, losses, share=0.25, max_scale=0.1)
    assert found.scale <= 0.1
    assert found.share == pytest.approx(0.1, abs=1e-6)


def test_nothing_at_risk_needs_no_hedge():
    found = hedge_scale(np.full(10, -5.0), np.ones(10), share=0.2)
    assert (found.scale, found.share) == (0.0, 0.2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_unknown_outcomes_give_no_scale(bad):
    losses, gains = np.arange(1.0, 101.0), np.ones(100)
    for inputs in ((np.append(losses[1:], bad), gains), (losses, np.append(gains[1:], bad))):
        found = hedge_scale(*inputs, share=0.2)
        assert math.isnan(found.scale)
        assert math.isnan(found.share)


@pytest.mark.parametrize(
    ("gains", "share", "most"), [(np.ones(9), 0.2, 1.0), (np.ones(10), 1.2, 1.0), (np.ones(10), 0.2, -1.0)]
)
def test_senseless_scale_is_refused(gains, share, most):
    with pytest.raises(InvariantError):
        hedge_scale(np.ones(10), gains, share=share, max_scale=most)
