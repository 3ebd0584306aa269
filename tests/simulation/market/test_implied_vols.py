"""Implied vols from an index and realised vols: by hand, without the future, unknown where they must be."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.model.market import EMPTY_COLUMN, Column
from bot.simulation.market.implied_vols import (
    RealisedModel,
    VolOfVolModel,
    decayed_vol,
    index_at,
    realised_index,
    relative_vol,
    trailing_vol,
    vol_of_vol_ratio,
)

HOUR_S, DAY_S = 3_600.0, 86_400.0
MODEL = RealisedModel(
    constant=0.1, day=0.1, week=0.2, month=0.5, fade_days=10.0, ratio_unknown=1.2, fills=True
)
HOURS_A_YEAR = 8_760.0


def prices(moves, *, start_s=0.0):
    values = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(moves)]))
    return Column(times_s=start_s + HOUR_S * np.arange(values.size) - 1.0, values=values)


def swinging(size, days):
    """Hourly moves of one size, up and down: every window's vol is size x sqrt(hours a year)."""
    return size * (-1.0) ** np.arange(round(days * 24))


def test_a_vol_is_the_root_of_the_mean_square_of_hourly_returns():
    found = trailing_vol(prices(swinging(0.01, 3)), window_s=DAY_S)
    assert found[-1] == pytest.approx(0.01 * math.sqrt(HOURS_A_YEAR))


def test_a_window_needs_60_percent_of_its_hours():
    """15 returns of 24 are 62.5 %, 14 are 58 %."""
    found = trailing_vol(prices(swinging(0.01, 2)), window_s=DAY_S)
    assert math.isnan(found[14])
    assert found[15] == pytest.approx(0.01 * math.sqrt(HOURS_A_YEAR))


def test_no_return_crosses_a_missing_hour():
    column = prices([*swinging(0.01, 2), 0.5, *swinging(0.01, 2)])  # one move of 65 % ...
    keep = np.ones(column.times_s.size, bool)
    keep[49] = False  # ... whose hour is missing
    holed = Column(times_s=column.times_s[keep], values=column.values[keep])
    assert trailing_vol(column, window_s=DAY_S)[50] > 4.0
    assert trailing_vol(holed, window_s=DAY_S)[-20] == pytest.approx(0.01 * math.sqrt(HOURS_A_YEAR))


def test_a_decayed_vol_halves_its_weights_and_starts_anew_after_a_long_hole():
    column = prices([0.02, 0.01])
    weights = 0.5 * 0.02**2 + 0.01**2
    found = decayed_vol(column, half_life_s=HOUR_S, least_hours=1)
    assert found[-1] == pytest.approx(math.sqrt(weights / 1.5 * HOURS_A_YEAR))
    later = Column(
        times_s=np.append(column.times_s, column.times_s[-1] + np.array([37.0, 38.0]) * HOUR_S),
        values=np.append(column.values, [100.0, 103.0]),
    )
    found = decayed_vol(later, half_life_s=HOUR_S, least_hours=1)
    assert math.isnan(found[-2])
    assert found[-1] == pytest.approx(math.log(1.03) * math.sqrt(HOURS_A_YEAR))


def test_the_regression_by_hand():
    """All three vols are v = 0.01 sqrt(8760) = 0.9360, so ln IV = 0.1 + 0.8 ln v."""
    found = realised_index(prices(swinging(0.01, 40)), MODEL)
    vol = 0.01 * math.sqrt(HOURS_A_YEAR)
    assert found[-1] == pytest.approx(math.exp(0.1) * vol**0.8)
    assert math.isnan(found[24 * 17])  # 60 % of a month is 18 days


def test_a_published_index_is_taken_as_it_is():
    price = prices(swinging(0.01, 40))
    index = Column(times_s=price.times_s[-1:], values=np.array([0.42]))
    assert index_at(price.times_s, index, price, MODEL)[-1] == 0.42


def test_after_the_last_publication_its_premium_fades():
    """10 days later the factor 2 over the regression has fallen to 2^(1/e)."""
    price = prices(swinging(0.01, 60))
    modelled = realised_index(price, MODEL)[-1]
    at = 50 * 24
    index = Column(times_s=price.times_s[at : at + 1], values=np.array([2.0 * modelled]))
    found = index_at(price.times_s, index, price, MODEL)
    assert found[at] == pytest.approx(2.0 * modelled)
    assert found[at + 1] == pytest.approx(2.0 * modelled, rel=0.01)  # no jump
    assert found[at + 240] == pytest.approx(modelled * 2.0 ** math.exp(-1.0))
    assert found[at - 1] == pytest.approx(modelled)  # before it, nothing of it is known


def test_without_a_fill_an_hour_without_an_index_has_none():
    price = prices(swinging(0.01, 40))
    index = Column(times_s=price.times_s[100:101], values=np.array([0.5]))
    closed = RealisedModel(
        constant=0.1, day=0.1, week=0.2, month=0.5, fade_days=10.0, ratio_unknown=1.2, fills=False
    )
    found = index_at(price.times_s, index, price, closed)
    assert np.flatnonzero(np.isfinite(found)).tolist() == [100]


def test_an_asset_that_moves_twice_as_much_pays_the_same_premium_over_its_own_vol():
    """Ratio of the regressions: 2^(0.1 + 0.2 + 0.5)."""
    bitcoin, own = prices(swinging(0.01, 40)), prices(swinging(0.02, 40))
    found = relative_vol(own.times_s, np.full(own.times_s.size, 0.6), own, bitcoin, MODEL)
    assert found[-1] == pytest.approx(0.6 * 2.0**0.8)
    assert found[0] == pytest.approx(0.6 * 1.2)  # nothing is known of either yet


def test_without_bitcoins_price_the_usual_ratio_stands():
    own = prices(swinging(0.02, 40))
    found = relative_vol(own.times_s, np.full(own.times_s.size, 0.6), own, EMPTY_COLUMN, MODEL)
    assert found == pytest.approx(np.full(own.times_s.size, 0.72))


def test_vol_of_vol_is_held_inside_its_bounds():
    model = VolOfVolModel(half_life_days=1.0, usual=0.8, low=0.5, high=2.0)
    usual = 0.8 / math.sqrt(HOURS_A_YEAR)
    assert vol_of_vol_ratio(prices(swinging(usual, 10)), model)[-1] == pytest.approx(1.0)
    assert vol_of_vol_ratio(prices(swinging(0.1, 10)), model)[-1] == 2.0
    assert vol_of_vol_ratio(prices(swinging(1e-6, 10)), model)[-1] == 0.5
    assert vol_of_vol_ratio(prices(swinging(0.1, 0.5)), model)[-1] == 1.0  # too little is known


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(440, 499), later_move=st.floats(0.01, 0.3))
def test_no_vol_knows_the_future(seed, at, later_move):
    moves = np.random.default_rng(seed).normal(scale=0.02, size=500)
    other = moves.copy()
    other[at:] = later_move
    first, second = prices(moves), prices(other)
    index = Column(times_s=first.times_s[::7], values=np.full(first.times_s[::7].size, 0.5))
    later = index.times_s > first.times_s[at]
    changed = Column(times_s=index.times_s, values=np.where(later, 0.9, index.values))

    def vols(price, published):
        level = index_at(price.times_s, published, price, MODEL)
        own = relative_vol(price.times_s, level, price, first, MODEL)
        return np.stack([level, own, decayed_vol(price, half_life_s=DAY_S, least_hours=2)])[:, : at + 1]

    np.testing.assert_array_equal(vols(first, index), vols(second, changed))
