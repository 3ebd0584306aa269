"""The share of a bridged token that is backed, from two columns that are read at different times."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.market import Metric, Observation, columns_from
from bot.quant.bridges import coverage

AMOUNT = st.floats(1e-6, 1e12) | st.sampled_from([0.0, math.nan])


def _seen(source: str, at_s: float, value: float) -> Observation:
    return Observation(
        metric=Metric.TOKEN_UNITS,
        subject="l2/USDC",
        source=source,
        value=value,
        observed_at_s=at_s,
        read_at_s=0,
    )


def test_coverage_counts_each_side_as_last_read_and_all_destinations() -> None:
    columns = columns_from(
        [
            _seen("lockbox", 10, 100.0),
            _seen("lockbox", 30, 90.0),
            _seen("minted:a", 20, 60.0),
            _seen("minted:b", 25, 40.0),
            _seen("minted:b", 40, math.nan),
        ]
    )
    found = coverage(columns, bridge="l2", token="USDC", max_lag_s=15)
    assert found.times_s.tolist() == [10, 20, 25, 30, 40]
    assert [round(value, 6) for value in found.values[2:4]] == [1.0, 0.9]
    assert [math.isnan(value) for value in found.values] == [True, True, False, False, True]
    assert not coverage(columns, bridge="l2", token="DAI", max_lag_s=15).times_s.size
    alone = columns_from([_seen("lockbox", 10, 100.0)])
    assert not coverage(alone, bridge="l2", token="USDC", max_lag_s=15).times_s.size
    empty = columns_from([_seen("lockbox", 10, 100.0), _seen("minted", 10, 0.0)])
    assert math.isnan(coverage(empty, bridge="l2", token="USDC", max_lag_s=15).values[0])


@given(
    locked=st.lists(st.tuples(st.floats(0, 100), AMOUNT), min_size=1, max_size=8),
    minted=st.lists(st.tuples(st.floats(0, 100), AMOUNT), min_size=1, max_size=8),
    lag=st.floats(0, 50),
)
def test_coverage_is_known_only_where_both_sides_are(
    locked: list[tuple[float, float]], minted: list[tuple[float, float]], lag: float
) -> None:
    locked, minted = ([*dict(side).items()] for side in (locked, minted))
    rows = [_seen("lockbox", *item) for item in locked] + [_seen("minted", *item) for item in minted]
    found = coverage(columns_from(rows), bridge="l2", token="USDC", max_lag_s=lag)
    for time_s, value in zip(found.times_s, found.values, strict=True):
        last = [max((item for item in side if item[0] <= time_s), default=None) for side in (locked, minted)]
        if (
            any(item is None or time_s - item[0] > lag or math.isnan(item[1]) for item in last)
            or not last[1][1]
        ):
            assert math.isnan(value)
        else:
            assert value == pytest.approx(last[0][1] / last[1][1])
