"""Intervals of a run's figures: where they lie, when they are unknown, and that they repeat."""

import math

import numpy as np
import pytest

from bot.simulation.intervals import UNKNOWN, interval, mean_interval, measured
from bot.simulation.metrics import max_drawdown

HOUR_S = 3_600.0
DAYS = 400


def walk(days=DAYS, seed=3):
    """A position that wanders by 0.4 % an hour, and a hedge that earns a third of what it loses."""
    moves = np.random.default_rng(seed).normal(0.0, 0.004, days * 24)
    position = 1e6 * np.cumprod(1.0 + moves)
    gain = -0.33 * np.concatenate([[0.0], np.diff(position)]).cumsum() - 2.0 * np.arange(days * 24)
    return np.arange(days * 24) * HOUR_S, position, gain


def test_the_figures_of_the_path_itself_lie_inside_their_intervals():
    times_s, position, gain = walk()
    found = measured(times_s, position, {"hedge": gain}, hole_s=36 * HOUR_S, resamples=200)["hedge"]
    fall = max_drawdown(position + gain)
    assert found.max_drawdown.low < fall < found.max_drawdown.high
    removed = 1.0 - fall / max_drawdown(position)
    assert found.removed.low < removed < found.removed.high
    assert found.cost_range.low < found.cost_a_year < found.cost_range.high


def test_cost_a_year_by_hand():
    """A hedge that loses 10 an hour on a position of 1,000,000 costs 87,600 a year, 8.76 %."""
    times_s = np.arange(60 * 24) * HOUR_S
    position = np.full(times_s.shape, 1e6)
    found = measured(times_s, position, {"hedge": -10.0 * np.arange(times_s.size)}, hole_s=36 * HOUR_S)
    assert found["hedge"].cost_a_year == pytest.approx(0.0876)


def test_a_hedge_of_nothing_removes_nothing_for_sure():
    times_s, position, gain = walk(120)
    found = measured(times_s, position, {"none": 0.0 * gain}, hole_s=36 * HOUR_S, resamples=50)["none"]
    assert (found.removed.low, found.removed.high) == (0.0, 0.0)
    assert (found.cost_range.low, found.cost_range.high) == (0.0, 0.0)


def test_the_same_run_gives_the_same_intervals():
    times_s, position, gain = walk(120)
    one, two = (
        measured(times_s, position, {"hedge": gain}, hole_s=36 * HOUR_S, resamples=50) for _ in range(2)
    )
    assert one == two


def test_no_step_crosses_a_hole_or_an_unknown_hour():
    """A fall of 90 % while nobody looked, and one between unknown marks, are in no resample."""
    times_s, position, _ = walk(120)
    times_s[1_000:] += 50 * HOUR_S
    position[1_000:] *= 0.1
    gain = np.zeros(times_s.shape)
    gain[500:520] = math.nan
    gain[520:] -= 1e6
    found = measured(times_s, position, {"hedge": gain}, hole_s=36 * HOUR_S, resamples=50)["hedge"]
    assert found.max_drawdown.high < 0.7
    assert (found.removed.low, found.removed.high) == (0.0, 0.0)


@pytest.mark.parametrize("days", [1, 59])
def test_a_short_run_has_no_intervals(days):
    times_s, position, gain = walk(days)
    found = measured(times_s, position, {"hedge": gain}, hole_s=36 * HOUR_S)["hedge"]
    assert math.isnan(found.removed.low)
    assert math.isnan(found.cost_a_year) is (days < 30)


def test_nothing_known_is_unknown():
    times_s, position, gain = walk(70)
    found = measured(times_s, position, {"hedge": np.full(gain.shape, math.nan)}, hole_s=36 * HOUR_S)
    assert math.isnan(found["hedge"].cost_a_year)


def test_intervals_of_means_and_of_draws():
    assert mean_interval([0.2, math.nan, 0.3]) is UNKNOWN
    found = mean_interval([0.1, 0.2, 0.3, math.nan])
    assert 0.1 <= found.low < 0.2 < found.high <= 0.3
    ends = interval(np.arange(101.0))
    assert (ends.low, ends.high) == (5.0, 95.0)
    assert interval(np.array([math.nan])) is UNKNOWN
