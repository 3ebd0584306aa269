"""Purged cross-validation and walk-forward splits (Lopez de Prado 2018, ch. 7 and 12)."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.simulation.windows.splits import hold_out_from_s, purged_splits, walk_forward_splits


def test_three_folds_by_hand():
    """Six days, each scored over two: a fold of two days spans three, and its neighbours overlap it."""
    starts, ends = [0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7]
    first, middle, last = purged_splits(starts, ends, folds=3)
    assert (first.test, first.train) == ((0, 1), (3, 4, 5))  # day 2 begins before the span 0..3 ends
    assert (middle.test, middle.train) == ((2, 3), (0, 5))  # span 2..5: 1 ends after 2, 4 begins before 5
    assert (last.test, last.train) == ((4, 5), (0, 1, 2))


def test_an_embargo_holds_back_what_begins_soon_after_the_test():
    starts, ends = [0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]
    assert purged_splits(starts, ends, folds=3)[0].train == (2, 3, 4, 5)
    assert purged_splits(starts, ends, folds=3, embargo_s=1.5)[0].train == (4, 5)
    assert purged_splits(starts, ends, folds=3, embargo_s=1.5)[2].train == (0, 1, 2, 3)  # none before a test


def test_every_combination_of_folds_is_tested_once():
    starts, ends = list(range(8)), list(range(1, 9))
    found = purged_splits(starts, ends, folds=4, test_folds=2)
    parts = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert [item.test for item in found] == [one + two for one, two in combinations(parts, 2)]
    assert found[1].train == (2, 3, 6, 7)


def test_samples_out_of_order_are_cut_in_time_order():
    found = purged_splits([5, 0, 3, 1], [6, 1, 4, 2], folds=2)
    assert [item.test for item in found] == [(1, 3), (2, 0)]


@given(data=st.data())
def test_no_training_sample_touches_what_it_is_judged_on(data):
    count = data.draw(st.integers(4, 25))
    starts = data.draw(st.lists(st.integers(0, 500), min_size=count, max_size=count))
    ends = [start + data.draw(st.integers(1, 60)) for start in starts]
    folds = data.draw(st.integers(2, min(count, 6)))
    embargo_s = data.draw(st.sampled_from([0.0, 3.0, 40.0]))
    splits = purged_splits(starts, ends, folds=folds, embargo_s=embargo_s)
    assert sorted(at for item in splits for at in item.test) == list(range(count))
    for item in splits:
        first, last = min(starts[at] for at in item.test), max(ends[at] for at in item.test)
        assert all(ends[at] <= first or starts[at] >= last + embargo_s for at in item.train)
        lost = set(range(count)) - set(item.train) - set(item.test)
        assert all(ends[at] > first and starts[at] < last + embargo_s for at in lost)  # no more than needed


@given(data=st.data())
def test_a_walk_forward_never_trains_on_what_comes_later(data):
    count = data.draw(st.integers(5, 25))
    starts = data.draw(st.lists(st.integers(0, 500), min_size=count, max_size=count, unique=True))
    ends = [start + data.draw(st.integers(1, 60)) for start in starts]
    folds = data.draw(st.integers(1, 4))
    splits = walk_forward_splits(starts, ends, folds=folds, embargo_s=5.0)
    assert len(splits) == folds
    for item in splits:
        first = min(starts[at] for at in item.test)
        assert all(ends[at] + 5.0 <= first for at in item.train)


def test_a_rolling_walk_forward_forgets():
    starts, ends = list(range(8)), list(range(1, 9))
    assert [item.train for item in walk_forward_splits(starts, ends, folds=3, rolling=1)] == [
        (0, 1),
        (2, 3),
        (4, 5),
    ]
    assert walk_forward_splits(starts, ends, folds=3)[2].train == (0, 1, 2, 3, 4, 5)


def test_the_hold_out_is_the_last_share_of_the_time():
    assert hold_out_from_s(100.0, 200.0, share=0.2) == 180.0
    with pytest.raises(ConfigError, match="between 0 and 1, was 1"):
        hold_out_from_s(100.0, 200.0, share=1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"folds": 1}, "folds must be between 2 and the number of samples .4, .* was 1"),
        ({"folds": 5}, "was 5"),
        ({"folds": 2, "test_folds": 2}, "of 2 folds 1 to 1 can be tested at a time, was 2"),
        ({"folds": 2, "embargo_s": -1.0}, "embargo must be 0 s or longer, was -1"),
        ({"folds": 2, "embargo_s": math.nan}, "embargo"),
        ({"folds": 2, "ends_s": [1, 2, 3, 3]}, "begin before they end"),
        ({"folds": 2, "ends_s": [1, 2, 3, math.nan]}, "times that are known"),
        ({"folds": 2, "ends_s": [1, 2, 3]}, "one start and one end for each sample"),
    ],
    ids=str,
)
def test_splits_that_cannot_be_meant_are_refused(change, words):
    given_ = {"starts_s": [0, 1, 2, 3], "ends_s": [1, 2, 3, 4], **change}
    with pytest.raises(ConfigError, match=words):
        purged_splits(given_.pop("starts_s"), given_.pop("ends_s"), **given_)


def test_a_rolling_walk_forward_needs_a_part():
    with pytest.raises(ConfigError, match="at least one part to train on, was 0"):
        walk_forward_splits([0, 1, 2], [1, 2, 3], folds=2, rolling=0)
