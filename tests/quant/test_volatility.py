"""Returns and vols: pandas as oracle, and the rule for holes."""

import math

import numpy as np
import pandas as pd
import pytest

from bot.errors import InvariantError
from bot.model.units import YEAR_S
from bot.quant import volatility

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
