"""Closed bars: what belongs to a bar, and what never does."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.model.market import EMPTY_COLUMN, Column
from bot.quant.bars import closed_bars

NAN = math.nan


def column(*pairs):
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return Column(times_s=table[:, 0], values=table[:, 1])


def closes(source, *, now_s, count=3):
    return closed_bars(source, bar_s=100, now_s=now_s, count=count).close.tolist()


def test_close_is_the_last_known_observation_of_the_bar():
    source = column((0, 1), (99.9, 2), (100, 3), (150, 4), (180, NAN), (200, 5))
    assert closes(source, now_s=200, count=2) == [2, 4]


@pytest.mark.parametrize(
    ("now_s", "expected"),
    [
        (299.9, [1, 2]),  # the bar 200..300 is open
        (300.0, [2, 3]),  # closed at its very end
        (399.9, [2, 3]),
    ],
)
def test_open_bar_is_never_used(now_s, expected):
    source = column((0, 1), (100, 2), (200, 3), (300, 4))
    assert closes(source, now_s=now_s, count=2) == expected


def test_missing_bars_are_nan_and_never_filled():
    np.testing.assert_array_equal(closes(column((0, 1), (250, 3)), now_s=300), [1, NAN, 3])
    np.testing.assert_array_equal(closes(column((0, 1), (150, NAN), (250, 3)), now_s=300), [1, NAN, 3])
    np.testing.assert_array_equal(closes(EMPTY_COLUMN, now_s=300), [NAN] * 3)


def test_bars_know_their_opens_end_and_coverage():
    bars = closed_bars(column((0, 1), (250, 3)), bar_s=100, now_s=310, count=4)
    assert bars.times_s.tolist() == [-100, 0, 100, 200]
    assert bars.end_s == 300
    assert bars.coverage == 0.5
    none = closed_bars(EMPTY_COLUMN, bar_s=100, now_s=310, count=0)
    assert math.isnan(none.end_s)
    assert none.coverage == 0.0


@given(times=st.lists(st.floats(0, 1000), max_size=40), now_s=st.floats(0, 1200), count=st.integers(0, 12))
def test_bars_agree_with_a_plain_loop(times, now_s, count):
    times = sorted(times)
    source = column(*[(at, position) for position, at in enumerate(times)])
    end = now_s // 100 * 100
    expected = []
    for opened in (end - 100 * (count - index) for index in range(count)):
        inside = [i for i, at in enumerate(times) if opened <= at < opened + 100]
        expected.append(inside[-1] if inside else NAN)
    np.testing.assert_array_equal(closes(source, now_s=now_s, count=count), expected)


@pytest.mark.parametrize(("bar_s", "now_s", "count"), [(0, 1.0, 1), (60, NAN, 1), (60, 1.0, -1)])
def test_senseless_bars_are_refused(bar_s, now_s, count):
    with pytest.raises(InvariantError):
        closed_bars(EMPTY_COLUMN, bar_s=bar_s, now_s=now_s, count=count)
