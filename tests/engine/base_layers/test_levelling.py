"""The least move that keeps a share limit and an HHI limit (R19)."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.engine.base_layers.levelling import levelled, moves_between
from bot.quant.statistics import herfindahl

NAMES = "abcdefgh"
LIMITS = st.floats(0.05, 1.0)


def moved(before, after):
    return sum(max(0.0, usd - after.get(name, 0.0)) for name, usd in before.items())


def holdings(values):
    return dict(zip(NAMES, values, strict=False))


def level(values, *, share=math.inf, hhi=math.inf, receivers=None, **changes):
    held = holdings(values)
    return levelled(
        held, list(held) if receivers is None else receivers, share=share, hhi=hhi, new="new", **changes
    )


@pytest.mark.parametrize(
    ("values", "limits", "after"),
    [
        ((80.0, 20.0), {"share": 0.5}, (50.0, 50.0)),
        ((80.0, 20.0), {"share": 0.8}, (80.0, 20.0)),  # at the limit
        ((80.0, 20.0), {"share": 0.7}, (70.0, 30.0)),
        ((60.0, 30.0, 10.0), {"share": 0.5}, (50.0, 30.0, 20.0)),  # the smallest is filled
        ((45.0, 45.0, 10.0), {"share": 0.4}, (40.0, 40.0, 20.0)),  # both largest are cut
        ((80.0, 10.0, 10.0), {"share": 0.6}, (60.0, 20.0, 20.0)),  # both smallest are filled
        ((80.0, 20.0), {"hhi": 0.68}, (80.0, 20.0)),  # at the limit
        ((80.0, 20.0), {"hhi": 0.58}, (70.0, 30.0)),
        ((80.0, 20.0), {"hhi": 0.5}, (50.0, 50.0)),
        ((80.0, 20.0), {"share": 0.75, "hhi": 0.58}, (70.0, 30.0)),  # the tighter one counts
        ((80.0, 20.0), {"share": 0.6, "hhi": 0.58}, (60.0, 40.0)),
    ],
)
def test_least_moves_by_hand(values, limits, after):
    assert level(values, **limits) == pytest.approx(holdings(after))


@pytest.mark.parametrize(
    ("share", "hhi", "new"),
    [
        (1.0, 1.0, 0),
        (0.5, math.inf, 1),
        (0.51, math.inf, 1),
        (0.4, math.inf, 2),
        (math.inf, 0.5, 1),
        (math.inf, 0.3, 3),
        (0.1, 0.5, 9),
    ],
)
def test_one_place_needs_others(share, hhi, new):
    after = level((100.0,), share=share, hhi=hhi)
    assert len(after) == 1 + new
    assert sum(after.values()) == pytest.approx(100.0)
    assert "new" in after or new != 1, "one new place has no number"


def test_who_may_not_receive_gets_nothing_and_may_give():
    after = level((70.0, 20.0, 10.0), share=0.5, receivers=["b"])
    assert after == pytest.approx({"a": 50.0, "b": 40.0, "c": 10.0})
    after = level((70.0, 20.0, 10.0), share=0.5, receivers=["a", "b"])
    assert after == pytest.approx({"a": 50.0, "b": 40.0, "c": 10.0})
    after = level((70.0, 30.0), share=0.6, receivers=["a"])
    assert after == pytest.approx({"a": 60.0, "b": 30.0, "new": 10.0})
    assert level((100.0,), share=0.6, receivers=[]) == pytest.approx({"a": 60.0, "new": 40.0})
    assert level((100.0,), share=0.4, receivers=[]) == pytest.approx(
        {"a": 40.0, "new 1": 30.0, "new 2": 30.0}
    )


def test_money_beside_counts_in_the_total_alone():
    assert level((60.0, 10.0), share=0.5, beside=30.0) == pytest.approx({"a": 50.0, "b": 20.0})
    assert level((40.0, 10.0), share=0.5, beside=50.0) == pytest.approx({"a": 40.0, "b": 10.0})


def _filled(values, usd):
    """Independent of the program: raise the smallest to a level found by bisection."""
    low, high = values.min(), values.max() + usd
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.maximum(values, middle).sum() - values.sum() < usd else (low, middle)
    return np.maximum(values, high)


def _least_move(values, share, hhi):
    """Independent of the program: bisect the sum that is taken from the top and given to the bottom."""
    total = values.sum()

    def holds(usd):
        after = -_filled(-_filled(values, 0.0), usd)
        after = _filled(after, usd)
        return after.max() <= share * total * (1 + 1e-12) and (after**2).sum() <= hhi * total**2 * (1 + 1e-12)

    low, high = 0.0, total
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=6), LIMITS, LIMITS)
@settings(max_examples=30, deadline=None)
def test_no_smaller_move_repairs(values, share, hhi):
    held = np.array(values)
    assume(held.sum() > 1.0 and min(share, hhi) * held.size > 1.001)
    after = level(values, share=share, hhi=hhi)
    assert moved(holdings(values), after) == pytest.approx(
        _least_move(held, share, hhi), abs=2e-6 * held.sum()
    )


@given(
    st.lists(st.floats(0.0, 1e9), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=8, max_size=8),
    LIMITS,
    LIMITS,
)
@settings(max_examples=200, deadline=None)
def test_a_repaired_portfolio_keeps_the_limits(values, may_receive, share, hhi):
    assume(sum(values) > 1e-3)
    held = holdings(values)
    receivers = [name for name, may in zip(held, may_receive, strict=False) if may]
    after = levelled(held, receivers, share=share, hhi=hhi, new="new")
    total = sum(values)
    assert sum(after.values()) == pytest.approx(total)
    assert max(after.values()) <= share * total * (1 + 1e-9)
    assert herfindahl(np.array(list(after.values()))) <= hhi * (1 + 1e-9)
    assert all(after[name] <= held[name] * (1 + 1e-12) for name in held if name not in receivers)
    moves = moves_between(held, after)
    assert sum(item.usd for item in moves) == pytest.approx(moved(held, after), abs=1e-7 * total)
    assert all(item.usd > 0.0 and item.source in held for item in moves)
    assert not {item.source for item in moves} & {item.target for item in moves}
    for item in moves:
        held[item.source] -= item.usd
        held[item.target] = held.get(item.target, 0.0) + item.usd
    assert herfindahl(np.array([max(0.0, usd) for usd in held.values()])) <= hhi + 1e-7
