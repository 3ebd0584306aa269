"""Returns and vols: pandas as oracle, and the rule for holes."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bot.errors import InvariantError
from bot.model.market import Column
from bot.model.units import HOUR_S, YEAR_S
from bot.quant import volatility
from bot.quant.bars import closed_bars

NAN = math.nan
RNG = np.random.default_rng(5)
RETURNS = RNG.normal(0.0, 0.01, 300)


def test_no_return_crosses_a_missing_or_senseless_close():
    close = np.array([1.0, 2.0, NAN, 4.0, 4.0, 0.0, 1.0, -1.0])
    np.testing.assert_allclose(
        volatility.log_returns(close), [NAN, math.log(2), NAN, NAN, 0.0, NAN, NAN, NAN]
    )


def test_ewma_agrees_with_pandas_at_every_bar_holes_skipped():
    torn = RETURNS.copy()
    torn[RNG.random(300) < 0.2] = NAN
    torn[:2] = NAN
    oracle = pd.Series(torn**2).ewm(alpha=0.06, ignore_na=True).mean().to_numpy()
    np.testing.assert_allclose(volatility.ewma_variance(torn), oracle, rtol=1e-12)
    vol = volatility.ewma_vol(torn, periods_per_year=8760.0)
    assert vol == pytest.approx(math.sqrt(oracle[-1] * 8760.0), rel=1e-12)


def test_ewma_has_the_recursion_of_riskmetrics():
    """sigma2(t) = 0.94 sigma2(t-1) + 0.06 r(t)^2, once the first weights are forgotten."""
    variance = volatility.ewma_variance(RETURNS)
    recursion = 0.94 * variance[-2] + 0.06 * RETURNS[-1] ** 2
    assert variance[-1] == pytest.approx(recursion, rel=1e-6)


def test_vol_of_equal_returns_is_their_size_a_year():
    steady = np.full(100, 0.01)
    yearly = volatility.periods_per_year(3600)
    assert yearly == 8760
    assert volatility.ewma_vol(steady, periods_per_year=yearly) == pytest.approx(0.01 * math.sqrt(8760))
    assert volatility.close_to_close_vol(steady, periods_per_year=yearly) == pytest.approx(
        0.01 * math.sqrt(8760)
    )


def test_nothing_known_is_nan():
    for returns in (np.empty(0), np.full(5, NAN)):
        assert math.isnan(volatility.ewma_vol(returns, periods_per_year=365.0))
        assert math.isnan(volatility.close_to_close_vol(returns, periods_per_year=365.0))
        assert np.isnan(volatility.ewma_variance(returns)).all()


@pytest.mark.parametrize(("known", "enough"), [(59, False), (60, True), (100, True)])
def test_a_mean_needs_sixty_percent_of_its_bars(known, enough):
    returns = np.full(100, NAN)
    returns[:known] = 0.01
    assert math.isfinite(volatility.close_to_close_vol(returns, periods_per_year=1.0)) is enough
    assert volatility.covered(returns, coverage=0.6).size == (known if enough else 0)


@pytest.mark.parametrize(("known", "enough"), [(54, False), (55, True)])
def test_a_share_is_not_missed_by_rounding(known, enough):
    """0.55 x 100 is 55.00000000000001 in floats."""
    assert (volatility.covered(np.where(np.arange(100) < known, 1.0, NAN), coverage=0.55).size > 0) is enough


@pytest.mark.parametrize(
    ("hole", "kept"),
    [(36, 10 + 36 + 5), (37, 5)],  # up to the limit skipped, longer restarts
)
def test_long_hole_restarts_and_short_one_does_not(hole, kept):
    values = np.concatenate((np.ones(10), np.full(hole, NAN), np.ones(5)))
    assert volatility.after_last_long_hole(values, max_hole_bars=36).size == kept
    parts = volatility.segments(values, max_hole_bars=36)
    assert [part.stop - part.start for part in parts] == ([51] if hole == 36 else [10, 5])


def test_long_hole_at_the_end_leaves_nothing():
    values = np.concatenate((np.ones(10), np.full(37, NAN)))
    assert volatility.after_last_long_hole(values, max_hole_bars=36).size == 0
    assert volatility.after_last_long_hole(values[:-1], max_hole_bars=36).size == 46
    assert volatility.after_last_long_hole(np.full(3, NAN), max_hole_bars=36).size == 0
    assert volatility.segments(np.full(3, NAN), max_hole_bars=36) == []


@pytest.mark.parametrize("decay", [-0.1, 1.0, NAN])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(InvariantError, match="decay"):
        volatility.ewma_vol(RETURNS, decay=decay, periods_per_year=365.0)


def test_span_gives_the_decay_of_pandas():
    oracle = pd.Series(RETURNS**2).ewm(span=24).mean().iloc[-1]
    found = volatility.ewma_variance(RETURNS, decay=volatility.decay_of_span(24))[-1]
    assert found == pytest.approx(oracle, rel=1e-12)
    with pytest.raises(InvariantError, match="span"):
        volatility.decay_of_span(0.5)


@pytest.mark.parametrize("steps", [1, 4, 60])
def test_window_mean_vol_recovers_the_vol_of_a_random_walk(steps):
    """Monte Carlo. A walk of k steps a window leaves (2 k^2 + 1) / (3 k^2) of the variance: 1 for k = 1,
    where the means are the path, 2/3 as k grows. 40,000 squares spread the variance by 0.8 %.
    """
    sigma, window_s, windows = 0.8, 3_600.0, 40_000
    rng = np.random.default_rng(11)
    step_sd = sigma * math.sqrt(window_s / steps / YEAR_S)
    path = np.cumsum(rng.normal(0.0, step_sd, windows * steps))
    found = volatility.window_mean_vol(path.reshape(windows, steps).mean(axis=1), window_s=window_s)
    left = (2 * steps**2 + 1) / (3 * steps**2)
    assert found == pytest.approx(sigma * math.sqrt(1.5 * left), rel=0.015)


@pytest.mark.parametrize(
    ("means", "window_s"),
    [
        ([], 60.0),
        ([1.0, 2.0], 60.0),
        ([1.0, math.nan, 2.0], 60.0),
        ([1.0, 2.0, math.inf], 60.0),
        ([0.0] * 4, 0.0),
    ],
)
def test_window_mean_vol_is_unknown_where_it_cannot_be_had(means, window_s):
    assert math.isnan(volatility.window_mean_vol(np.array(means), window_s=window_s))


def test_downside_deviation_is_the_lower_partial_moment():
    """S26: losses squared, over all returns."""
    returns = np.array([0.03, -0.01, NAN, 0.02, -0.02])
    daily = math.sqrt((0.01**2 + 0.02**2) / 4)
    found = volatility.downside_deviation(returns, periods_per_year=365.0)
    assert found == pytest.approx(daily * math.sqrt(365))
    assert volatility.downside_deviation(returns, periods_per_year=1.0, target=0.02) == pytest.approx(
        math.sqrt((0.03**2 + 0.04**2) / 4)
    )
    assert volatility.downside_deviation(np.array([0.0, 0.1]), periods_per_year=1.0) == 0.0


@pytest.mark.parametrize(("known", "enough"), [(0, False), (14, False), (15, True)])
def test_downside_deviation_needs_sixty_percent_of_a_day(known, enough):
    returns = np.where(np.arange(24) < known, -0.01, NAN)
    assert math.isfinite(volatility.downside_deviation(returns, periods_per_year=1.0)) is enough


@given(returns=hnp.arrays(np.float64, 20, elements=st.floats(-0.5, 0.5, allow_subnormal=False)))
def test_semivariances_of_both_sides_add_up_to_the_variance(returns):
    down = volatility.downside_deviation(returns, periods_per_year=1.0)
    up = volatility.downside_deviation(-returns, periods_per_year=1.0)
    whole = volatility.close_to_close_vol(returns, periods_per_year=1.0)
    assert down**2 + up**2 == pytest.approx(whole**2, rel=1e-12)
    assert down <= whole * (1 + 1e-12)


def minutes(values, *, start_s=0, step_s=60):
    values = np.array(values, dtype=np.float64)
    return Column(times_s=start_s + step_s * np.arange(values.size, dtype=np.float64), values=values)


def test_range_of_a_bar_is_that_of_its_observations():
    """Three bars of an hour by 20 minutes; the last bar knows one of three."""
    column = minutes([5.0, 7.0, 6.0, NAN, 4.0, 9.0, NAN, 3.0, NAN], step_s=1200)
    bars = closed_bars(column, bar_s=HOUR_S, now_s=3 * HOUR_S, count=3)
    high, low = volatility.high_low(column, bars, min_observations=2)
    np.testing.assert_array_equal(high, [7.0, 9.0, NAN])
    np.testing.assert_array_equal(low, [5.0, 4.0, NAN])
    high, low = volatility.high_low(column, bars, min_observations=3)
    np.testing.assert_array_equal(high, [7.0, NAN, NAN])


def test_an_hourly_table_has_no_range():
    column = minutes(np.arange(1.0, 10.0), step_s=HOUR_S)
    bars = closed_bars(column, bar_s=HOUR_S, now_s=9 * HOUR_S, count=9)
    high, low = volatility.high_low(column, bars, min_observations=2)
    assert np.isnan(high).all()
    assert np.isnan(low).all()
    assert math.isnan(volatility.parkinson_vol(high, low, periods_per_year=8760.0))
    with pytest.raises(InvariantError, match="at least 2"):
        volatility.high_low(column, bars, min_observations=1)


def test_ranges_use_no_open_bar_and_nothing_outside():
    column = minutes([9.0] * 60 + [5.0, 6.0] * 30 + [99.0] * 30)
    bars = closed_bars(column, bar_s=HOUR_S, now_s=2.5 * HOUR_S, count=1)
    high, low = volatility.high_low(column, bars, min_observations=2)
    assert (high.tolist(), low.tolist()) == ([6.0], [5.0])
    none = closed_bars(column, bar_s=HOUR_S, now_s=0.0, count=0)
    assert [part.size for part in volatility.high_low(column, none, min_observations=2)] == [0, 0]


@pytest.mark.parametrize(
    ("high", "low", "vol"),
    [
        ([math.e] * 4, [1.0] * 4, 1.0 / math.sqrt(4.0 * math.log(2.0))),  # by hand
        ([math.e, NAN, math.e, math.e, NAN], [1.0, NAN, 1.0, 1.0, 1.0], 1.0 / math.sqrt(4.0 * math.log(2.0))),
        ([2.0, 2.0], [2.0, 2.0], 0.0),
        ([math.e, 1.0, 1.0], [1.0, 2.0, 0.0], NAN),  # a low over its high, a low of 0: no ranges
        ([NAN, NAN], [NAN, NAN], NAN),
        ([], [], NAN),
    ],
)
def test_parkinson_by_hand(high, low, vol):
    found = volatility.parkinson_vol(np.array(high), np.array(low), periods_per_year=1.0)
    np.testing.assert_allclose(found, vol, rtol=1e-12)


def test_parkinson_recovers_the_vol_of_a_fine_walk():
    """Monte Carlo: 3,600 steps a bar understate the vol by about 2 % (Garman and Klass 1980)."""
    rng = np.random.default_rng(12)
    sigma, bars, steps = 0.8, 4_000, 3_600
    step_sd = sigma * math.sqrt(HOUR_S / steps / YEAR_S)
    high, low = np.empty(bars), np.empty(bars)
    for bar in range(bars):
        path = np.cumsum(rng.normal(0.0, step_sd, steps))
        high[bar], low[bar] = math.exp(max(path.max(), 0.0)), math.exp(min(path.min(), 0.0))
    found = volatility.parkinson_vol(high, low, periods_per_year=YEAR_S / HOUR_S)
    assert found == pytest.approx(sigma, rel=0.03)
    assert found < sigma
