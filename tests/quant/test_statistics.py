"""Regression, ranks, z-scores, concentration (S10, S12, S20, S23, R8, R19): scipy and pandas as oracles."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import linregress, percentileofscore, zscore

from bot.errors import InvariantError
from bot.model.units import DAY_S, HOUR_S
from bot.quant import statistics as stats

NAN = math.nan
RNG = np.random.default_rng(20)
MARKET = RNG.standard_t(4, 400) * 0.01
ASSET = 1.7 * MARKET + RNG.normal(0.0, 0.02, 400)


def torn(values, share, seed):
    out = values.copy()
    out[np.random.default_rng(seed).random(values.size) < share] = NAN
    return out


def test_ols_is_that_of_scipy_on_the_pairs_that_are_known():
    x, y = torn(MARKET, 0.1, 1), torn(ASSET, 0.2, 2)
    both = np.isfinite(x) & np.isfinite(y)
    oracle = linregress(x[both], y[both])
    found = stats.ols(x, y)
    assert found.slope == pytest.approx(oracle.slope, rel=1e-9)
    assert found.intercept == pytest.approx(oracle.intercept, rel=1e-9)
    assert found.r_squared == pytest.approx(oracle.rvalue**2, rel=1e-9)
    left = y[both] - oracle.intercept - oracle.slope * x[both]
    assert found.residual_sd == pytest.approx(math.sqrt((left @ left) / (both.sum() - 2)), rel=1e-9)
    assert found.residual_vol(365.0) == pytest.approx(found.residual_sd * math.sqrt(365))
    assert (found.pairs, found.coverage) == (both.sum(), both.sum() / 400)
    np.testing.assert_allclose(stats.residuals(x, y, found)[both], left, rtol=1e-6, atol=1e-12)
    assert np.isnan(stats.residuals(x, y, found)[~both]).all()


@pytest.mark.parametrize(("pairs", "known"), [(53, False), (54, True), (55, True)])
def test_a_regression_needs_sixty_percent_of_its_window(pairs, known):
    """S20 and R8: 54 of 90 days."""
    x, y = MARKET[:90].copy(), ASSET[:90].copy()
    x[: 90 - pairs] = NAN
    found = stats.ols(x, y)
    assert math.isfinite(found.slope) is known
    assert math.isfinite(found.r_squared) is known
    assert (found.pairs, found.coverage) == (pairs, pairs / 90)


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1.0, 2.0], [1.0, 2.0]), ([3.0] * 9, range(9)), ([0.1] * 9, range(9))]
)
def test_no_line_through_nothing_two_points_or_one_place(x, y):
    found = stats.ols(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))
    assert np.isnan([found.slope, found.intercept, found.r_squared, found.residual_sd]).all()


def test_what_does_not_move_has_no_beta_and_no_r_squared():
    found = stats.ols(MARKET, np.full(400, 0.1))
    assert found.slope == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(found.r_squared)


def test_a_perfect_line_is_found():
    found = stats.ols(MARKET, 2.0 * MARKET - 0.001)
    assert (found.slope, found.intercept) == (pytest.approx(2.0), pytest.approx(-0.001))
    assert found.r_squared == pytest.approx(1.0, abs=1e-12)
    assert found.residual_sd == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("window", [30, 90])
def test_rolling_beta_is_that_of_pandas_and_of_each_window_alone(window):
    found = stats.rolling_beta(MARKET, ASSET, window=window)
    x, y = pd.Series(MARKET), pd.Series(ASSET)
    oracle = y.rolling(window).cov(x) / x.rolling(window).var()
    np.testing.assert_allclose(found[window - 1 :], oracle[window - 1 :], rtol=1e-9)
    assert np.isnan(found[: window - 1]).all()


@pytest.mark.parametrize("share", [0.0, 0.15])
def test_prefix_window_and_whole_history_agree_exactly(share):
    x, y = torn(MARKET, share, 3), torn(ASSET, share, 4)
    whole = stats.rolling_beta(x, y, window=30)
    for end in (30, 31, 200, 400):
        alone = stats.ols(x[end - 30 : end], y[end - 30 : end]).slope
        prefix = stats.rolling_beta(x[:end], y[:end], window=30)[-1]
        np.testing.assert_array_equal([alone, prefix], whole[end - 1])


def test_slope_of_the_beta_is_its_change_a_day():
    """S20: beta that rises by 0.01 a day."""
    betas = 1.5 + 0.01 * np.arange(60)
    betas[7:20] = NAN
    assert stats.trend(betas).slope == pytest.approx(0.01)
    assert stats.trend(betas).pairs == 47


@pytest.mark.parametrize(("window", "sizes"), [(2, 400), (30, 399)])
def test_senseless_rolling_beta_is_refused(window, sizes):
    with pytest.raises(InvariantError, match="rolling beta"):
        stats.rolling_beta(MARKET, ASSET[:sizes], window=window)
    with pytest.raises(InvariantError, match="one length"):
        stats.ols(MARKET, ASSET[:-1])


def test_token_follows_the_factor_that_explains_most():
    eth, btc = MARKET, RNG.normal(0.0, 0.01, 400)
    token = 1.2 * eth + 0.1 * btc
    found = stats.best_factor(token, {"BTC": btc, "ETH": eth})
    assert (found.factor, found.hedgeable) == ("ETH", True)
    assert found.fit == stats.ols(eth[-90:], token[-90:])  # R8: over 90 days
    assert "to ETH" in found.because


@pytest.mark.parametrize(("asked", "hedgeable"), [(-1e-9, True), (0.0, True), (1e-9, False)])
def test_r_squared_decides_what_may_be_hedged(asked, hedgeable):
    """R8: at, above and below the least R^2."""
    exact = stats.ols(MARKET[-90:], ASSET[-90:]).r_squared
    found = stats.best_factor(ASSET, {"ETH": MARKET}, min_r_squared=exact + asked)
    assert found.hedgeable is hedgeable
    assert found.factor == "ETH"


def test_equal_factors_go_by_name():
    assert stats.best_factor(ASSET, {"ETH": MARKET, "BTC": MARKET}).factor == "BTC"


@pytest.mark.parametrize("days", [0, 53])
def test_short_history_of_a_token_has_no_beta(days):
    found = stats.best_factor(ASSET[:days], {"ETH": MARKET[:days]})
    assert (found.factor, found.hedgeable) == ("", False)
    assert math.isnan(found.fit.slope)
    assert f"{days} of 90 daily returns" in found.because
    assert stats.best_factor(ASSET, {}).factor == ""


def test_trading_days_pair_friday_with_monday():
    """S20: SPX closes on four days at 21:00 UTC, a weekend between; ETH trades every hour."""
    closes_s = np.array([3, 4, 7, 8]) * DAY_S + 21 * HOUR_S
    hours_s = np.arange(10 * 24) * float(HOUR_S)
    eth = np.exp(hours_s / DAY_S * 0.01)
    found = stats.trading_day_returns(
        closes_s.astype(float), np.array([100.0, 101.0, 99.0, 99.0]), hours_s, eth,
        max_gap_s=4 * DAY_S, max_age_s=2 * HOUR_S,
    )  # fmt: skip
    np.testing.assert_allclose(found.index_returns, np.log([1.01, 99 / 101, 1.0]))
    np.testing.assert_allclose(found.asset_returns, [0.01, 0.03, 0.01])
    np.testing.assert_array_equal(found.times_s, closes_s[1:])


def spans(index_close, asset_close, *, index_days=(0, 1, 2, 3), gap=2, age=0.5):
    found = stats.trading_day_returns(
        np.array(index_days) * float(DAY_S), np.array(index_close, dtype=np.float64),
        np.arange(4) * float(DAY_S), np.array(asset_close, dtype=np.float64),
        max_gap_s=gap * DAY_S, max_age_s=age * DAY_S,
    )  # fmt: skip
    np.testing.assert_array_equal(np.isnan(found.index_returns), np.isnan(found.asset_returns))
    return np.isfinite(found.index_returns).tolist()


@pytest.mark.parametrize(
    ("case", "usable"),
    [
        ({"index_close": [1, 2, 3, 4], "asset_close": [1, 2, 3, 4]}, [True, True, True]),
        ({"index_close": [1, NAN, 3, 4], "asset_close": [1, 2, 3, 4]}, [True, True]),  # 2 days apart
        ({"index_close": [1, NAN, 3, 4], "asset_close": [1, 2, 3, 4], "gap": 1.9}, [False, True]),
        ({"index_close": [1, 2, 3, 4], "asset_close": [1, NAN, 3, 4]}, [False, False, True]),
        ({"index_close": [1, 2, 3, 4], "asset_close": [1, NAN, 3, 4], "age": 1}, [True, True, True]),
        ({"index_close": [1, 2, 0, 4], "asset_close": [1, 2, 3, 4]}, [True, False, False]),
        ({"index_close": [1, 2, 3, 4], "asset_close": [NAN, 2, 3, 4], "age": 9}, [False, True, True]),
        (
            {"index_close": [1, 2, 3, 4], "asset_close": [1, 2, 3, 4], "index_days": (0, 1, 1, 2)},
            [True, True],
        ),
        ({"index_close": [5], "asset_close": [1, 2, 3, 4], "index_days": (0,)}, []),
        ({"index_close": [], "asset_close": [1, 2, 3, 4], "index_days": ()}, []),
    ],
)
def test_spans_with_holes_are_not_used(case, usable):
    assert spans(**case) == usable


@given(values=hnp.arrays(np.float64, st.integers(2, 40), elements=st.integers(-5, 5).map(float)))
def test_rank_is_that_of_pandas_among_the_others(values):
    found = stats.rank_percentile(values)
    ranks = pd.Series(values).rank(method="average").to_numpy()
    assert found == pytest.approx((ranks[-1] - 1.0) / (values.size - 1), abs=1e-12)
    scipy = percentileofscore(values[:-1], values[-1], kind="mean") / 100.0
    assert found == pytest.approx(scipy, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ([1.0, 2.0, 3.0], 1.0),
        ([3.0, 2.0, 1.0], 0.0),
        ([1.0, 1.0, 1.0], 0.5),
        ([1.0, 3.0, NAN, 2.0], 0.5),  # 75 % known
        ([1.0, NAN, NAN, 3.0, 2.0], 0.5),  # 60 %
        ([NAN, NAN, NAN, 1.0, 3.0, 2.0], NAN),  # 50 %
        ([1.0, 2.0, NAN], NAN),  # the last is what is ranked
        ([1.0], NAN),
        ([], NAN),
    ],
)
def test_rank_leaves_missing_bars_out(values, rank):
    np.testing.assert_equal(stats.rank_percentile(np.array(values)), rank)


def test_z_score_is_that_of_scipy_and_its_floor_holds():
    values = torn(ASSET, 0.2, 9)
    values[-1] = 0.08
    known = values[np.isfinite(values)]
    assert stats.z_score(values) == pytest.approx(zscore(known)[-1], rel=1e-12)
    floored = stats.z_score(values, min_sigma=1.0)
    assert floored == pytest.approx(0.08 - known.mean())
    assert stats.z_score(np.array([0.1] * 9 + [0.1]), min_sigma=0.5) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    "values", [[], [0.1] * 10, [1.0, 2.0, NAN], [NAN, NAN, 1.0, 2.0], [1.0, 2.0, math.inf]]
)
def test_z_score_is_unknown_where_it_cannot_be_had(values):
    assert math.isnan(stats.z_score(np.array(values)))


@pytest.mark.parametrize(
    ("values", "ratio"),
    [
        ([1.0, 3.0, 2.0], 1.0),
        ([1.0, 2.0, NAN, 4.0], 2.0),
        ([NAN, NAN, 2.0, 4.0], NAN),
        ([1.0, 2.0, NAN], NAN),
        ([0.0, 0.0, 1.0], NAN),
        ([-1.0, -2.0, 1.0], NAN),
        ([], NAN),
    ],
)
def test_ratio_to_the_median(values, ratio):
    np.testing.assert_equal(stats.median_ratio(np.array(values)), ratio)


@pytest.mark.parametrize(
    ("values", "index"),
    [
        ([5.0], 1.0),
        ([1.0, 1.0, 1.0, 1.0], 0.25),
        ([60.0, 30.0, 10.0], 0.46),
        ([1.0, 0.0], 1.0),
        ([], NAN),
        ([0.0, 0.0], NAN),
        ([1.0, NAN], NAN),
        ([1.0, math.inf], NAN),
    ],
)
def test_concentration_is_the_sum_of_squared_shares(values, index):
    """R19."""
    np.testing.assert_allclose(stats.herfindahl(np.array(values)), index, rtol=1e-12)


@given(
    values=hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0.01, 1e9)), scale=st.floats(0.1, 9)
)
def test_concentration_is_between_equal_shares_and_one_whatever_the_unit(values, scale):
    found = stats.herfindahl(values)
    assert 1.0 / values.size - 1e-12 <= found <= 1.0 + 1e-12
    assert stats.herfindahl(values * scale) == pytest.approx(found)


def test_concentration_of_debts_is_refused():
    with pytest.raises(InvariantError, match="at least 0, the least was -1"):
        stats.herfindahl(np.array([2.0, -1.0]))
