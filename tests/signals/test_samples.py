"""Columns brought to the same times."""

import math

import numpy as np
import pytest

from bot.model.market import Column, Metric, SeriesKey
from bot.signals.holdings import kind_of, label_of, supplied, token_of
from bot.signals.reading import Inputs
from bot.signals.samples import as_of, joined, known_median, known_rows, sampled


def column(times_s, values):
    return Column(times_s=np.array(times_s, dtype=float), values=np.array(values, dtype=float))


def test_as_of_is_the_newest_row_within_the_lag_and_a_failed_one_stays_unknown():
    rows = column([10, 20, 30], [1.0, 2.0, math.nan])
    found = as_of(rows, np.array([9.0, 10.0, 19.0, 20.0, 26.0, 35.0]), max_lag_s=5.0)
    np.testing.assert_array_equal(found, [math.nan, 1.0, math.nan, 2.0, math.nan, math.nan])
    assert np.isnan(as_of(column([], []), np.array([1.0]), max_lag_s=5.0)).all()


def test_sampled_rows_stand_for_the_time_before_them():
    rows = column([0, 60, 120], [1.0, 2.0, 3.0])
    moments = np.array([-1.0, 0.0, 1.0, 60.0, 61.0, 120.0, 125.0, 131.0])
    found = sampled(rows, moments, hold_s=10.0, gap_s=60.0)
    np.testing.assert_array_equal(found, [math.nan, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, math.nan])


def test_sampled_holds_the_last_row_through_a_longer_gap():
    rows = column([0, 100], [1.0, 2.0])
    found = sampled(rows, np.array([5.0, 10.0, 11.0, 100.0]), hold_s=10.0, gap_s=60.0)
    np.testing.assert_array_equal(found, [1.0, 1.0, math.nan, 2.0])
    alone = sampled(column([0], [1.0]), np.array([-5.0, 0.0, 5.0]), hold_s=10.0, gap_s=60.0)
    np.testing.assert_array_equal(alone, [math.nan, 1.0, 1.0])


def test_joined_takes_rows_of_one_watcher_as_they_are():
    one, other = column([1, 2], [1.0, math.nan]), column([1, 2], [3.0, 4.0])
    times_s, parts = joined((one, other), max_lag_s=0.0)
    assert times_s is one.times_s
    assert parts[1] is other.values


def test_joined_takes_rows_of_two_watchers_as_last_read():
    times_s, (one, other) = joined((column([1, 3], [1.0, 2.0]), column([2], [5.0])), max_lag_s=1.0)
    np.testing.assert_array_equal(times_s, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(one, [1.0, 1.0, 2.0])
    np.testing.assert_array_equal(other, [math.nan, 5.0, 5.0])


@pytest.mark.parametrize(
    ("idle", "use", "units"),
    [
        (300.0, 0.7, 1000.0),
        (300.0, 0.0, 300.0),
        (0.0, 0.5, 0.0),
        (0.0, 1.0, math.nan),
        (10.0, 1.2, math.nan),
        (10.0, -0.1, math.nan),
        (math.nan, 0.5, math.nan),
    ],
)
def test_what_lenders_supplied(idle, use, units):
    (found,) = supplied(column([1], [idle]), column([1], [use]), max_lag_s=1.0).values
    assert found == pytest.approx(units, nan_ok=True)


def test_labels_and_kinds():
    key = SeriesKey(Metric.TOKEN_UNITS, "balancer:A/B/A", "minted:nova")
    assert (label_of(key), token_of(key), kind_of(key.source)) == ("balancer:A/B", "A", "minted")


def test_known_rows_and_their_median():
    assert known_median(np.array([1.0, math.nan, 3.0])) == (2, 2.0)
    count, median = known_median(np.full(2, math.nan))
    assert count == 0
    assert math.isnan(median)
    np.testing.assert_array_equal(known_rows(column([1, 2], [math.nan, 4.0])).times_s, [2.0])


def test_figures_of_rows_are_worked_out_anew_when_any_column_has_a_new_row():
    times_s = np.arange(4.0) * 3_600.0
    first = Column(times_s=times_s, values=np.arange(4.0), memo={})
    second = Column(times_s=times_s, values=np.arange(4.0), memo={})
    made = []

    def figure(beside, *, good_s=10_800.0):
        inputs = Inputs(
            columns=(first, beside), good_s=good_s, now_s=good_s, interval_s=3_600.0, patience_s=7_200.0
        )
        return inputs.once("sum", lambda: made.append(0) or float(beside.values.sum()))

    assert figure(second) == figure(second) == 6.0
    assert len(made) == 1
    assert figure(second.until(7_200.0)) == 3.0
    assert figure(second, good_s=7_200.0) == 6.0
    assert len(made) == 3
