"""Intervals: they hold what they promise, and differences count that both sides are on the same paths."""

import math

import numpy as np
import pytest

from bot.quant.var import expected_shortfall, value_at_risk
from bot.simulation.monte_carlo import estimates
from bot.simulation.monte_carlo.results import bin_edges, quantiles_of

TRIALS, COUNT = 400, 600


def covered(statistic: estimates.Statistic, truth: float) -> float:
    """Return how often the 90 % interval of normal outcomes holds the truth."""
    random = np.random.default_rng(4)
    found = [estimates.estimate(statistic, random.standard_normal(COUNT)) for _ in range(TRIALS)]
    return float(np.mean([item.range.low <= truth <= item.range.high for item in found]))


def test_nine_in_ten_intervals_hold_the_truth():
    # 400 trials: the share of hits has a standard error of 1.5 %.
    assert covered(estimates.mean, 0.0) == pytest.approx(0.90, abs=0.05)
    assert covered(estimates.quantile(0.5), 0.0) == pytest.approx(0.90, abs=0.05)
    assert covered(estimates.quantile(0.95), 1.6449) == pytest.approx(0.91, abs=0.06)
    # Expected shortfall of a normal at 95 %: n(1.6449) / 0.05.
    assert covered(estimates.shortfall(0.95), 0.10313564 / 0.05) == pytest.approx(0.88, abs=0.07)


def test_values_are_those_of_the_program():
    values = np.random.default_rng(1).standard_normal(777)
    assert estimates.quantile(0.95)(values)[0].value == value_at_risk(values, confidence=0.95)
    assert estimates.shortfall(0.99)(values)[0].value == expected_shortfall(values, confidence=0.99)


@pytest.mark.parametrize("statistic", [estimates.mean, estimates.quantile(0.9), estimates.shortfall(0.9)])
def test_a_difference_knows_that_both_sides_are_on_the_same_paths(statistic: estimates.Statistic):
    random = np.random.default_rng(6)
    one = random.standard_normal(4_000)
    same = estimates.difference(statistic, one + 1.0, one)
    apart = estimates.difference(statistic, one + 1.0, random.standard_normal(4_000))
    assert same.value == pytest.approx(1.0)
    assert same.range.high - same.range.low < 1e-9 < apart.range.high - apart.range.low


def test_too_few_outcomes_have_no_interval():
    found = estimates.estimate(estimates.mean, np.arange(5.0))
    assert found.value == 2.0
    assert math.isnan(found.range.low)
    assert math.isnan(estimates.estimate(estimates.quantile(0.95), np.arange(5.0)).range.high)
    assert math.isnan(estimates.estimate(estimates.mean, np.full(3, np.nan)).value)


def test_a_share_keeps_inside_its_bounds():
    none, some = estimates.share(np.zeros(50, np.bool_)), estimates.share(np.arange(50) < 25)
    assert (none.value, none.range.low) == (0.0, 0.0)
    assert none.range.high == pytest.approx(2.7055 / (50 + 2.7055), rel=1e-3)  # Wilson: z^2 / (n + z^2)
    assert some.range.low < 0.5 < some.range.high


def test_quantiles_of_counts_are_those_of_the_values():
    values = np.random.default_rng(3).lognormal(0.0, 0.5, 200_000)
    counts, _ = np.histogram(values, bins=bin_edges())
    found = quantiles_of(counts[None, :], (0.05, 0.5, 0.95))[:, 0]
    np.testing.assert_allclose(found, np.quantile(values, (0.05, 0.5, 0.95)), rtol=1e-3)
    assert (np.diff(bin_edges()) / bin_edges()[:-1]).max() < 0.008
