"""Bars that are kept from frame to frame are those that would be built anew (R25)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bot.model.market import Column
from bot.quant.bars import closed_bars

BAR_S = 10

# Steps of the source's clock: several rows in a bar, none in some, long holes. NaN is a read that failed.
rows = st.lists(
    st.tuples(st.sampled_from([1, 3, 9, 10, 11, 40, 200]), st.sampled_from([1.0, 2.0, 3.0, np.nan])),
    min_size=1,
    max_size=40,
)
asked = st.lists(
    st.tuples(
        st.integers(0, 12),  # bars
        st.integers(-35, 35),  # end, seconds from the newest row
        st.one_of(st.none(), st.integers(0, 300)),  # look-back, seconds; none: the whole column
    ),
    min_size=1,
    max_size=4,
)


@given(rows, st.lists(asked, min_size=1, max_size=8))
def test_r25_kept_bars_equal_bars_built_anew_whatever_was_asked_before(pairs, frames):
    times_s = np.cumsum([step for step, _ in pairs]).astype(np.float64)
    values = np.array([value for _, value in pairs])
    memo: dict[object, object] = {}
    for number, questions in enumerate(frames, start=1):
        size = max(1, times_s.size * number // len(frames))  # rows join at the end from frame to frame
        seen = Column(times_s=times_s[:size], values=values[:size])
        for count, behind_s, lookback_s in questions:
            now_s = times_s[size - 1] + behind_s
            part = seen if lookback_s is None else seen.since(now_s - lookback_s)
            kept = closed_bars(
                Column(times_s=part.times_s, values=part.values, memo=memo),
                bar_s=BAR_S,
                now_s=now_s,
                count=count,
            )
            anew = closed_bars(part, bar_s=BAR_S, now_s=now_s, count=count)
            np.testing.assert_array_equal(kept.close, anew.close)
            np.testing.assert_array_equal(kept.times_s, anew.times_s)


def test_r25_what_was_handed_out_never_changes():
    memo: dict[object, object] = {}
    times_s, values = np.arange(5.0, 2_005.0, BAR_S), np.arange(200.0)
    first = closed_bars(
        Column(times_s=times_s[:20], values=values[:20], memo=memo), bar_s=BAR_S, now_s=200.0, count=15
    )
    before = first.close.copy()
    for size in range(21, 200):
        column = Column(times_s=times_s[:size], values=values[:size], memo=memo)
        closed_bars(column, bar_s=BAR_S, now_s=float(size * BAR_S), count=15)
    np.testing.assert_array_equal(first.close, before)


def test_a_row_that_comes_late_into_a_closed_bar_is_in_the_next_answer():
    memo: dict[object, object] = {}

    def close(*times_s: float) -> list[float]:
        column = Column(times_s=np.array(times_s), values=np.array(times_s), memo=memo)
        return closed_bars(column, bar_s=BAR_S, now_s=30.0, count=3).close.tolist()

    assert close(1.0, 12.0, 22.0) == [1.0, 12.0, 22.0]
    assert close(1.0, 12.0, 22.0, 27.0) == [1.0, 12.0, 27.0]
