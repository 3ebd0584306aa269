"""Walk-forward and hold-out on tracks made by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.windows.file import Segment, Window
from bot.simulation.windows.run import Account, Track
from bot.simulation.windows.walk_forward import hold_out, part_of, walk_forward

MONTHS = 6
HOURS = MONTHS * 30 * 24
CRASHES = tuple(
    Window(id=f"crash-{at}", start_s=(at * 30 + 10) * DAY_S, end_s=(at * 30 + 12) * DAY_S, kind="crisis")
    for at in (0, 2, 4)
)


def track(gain_in_crash, *, cost_an_hour=0.01):
    """The LP falls by 20 in each crash and comes back after it; the hedge gains a share of that fall."""
    times_s = np.arange(1, HOURS + 1) * float(HOUR_S)
    position, gain = np.full(HOURS, 100.0), -cost_an_hour * np.arange(HOURS)
    for window in CRASHES:
        inside = (times_s > window.start_s) & (times_s <= window.end_s)
        position[inside] = 80.0
        gain[times_s > window.start_s] += 20.0 * gain_in_crash(window)
        gain[times_s > window.end_s] -= 20.0 * gain_in_crash(window)
    return Track(
        segment=Segment(start_s=0.0, end_s=HOURS * HOUR_S, windows=CRASHES),
        times_s=times_s,
        spot_usd=position,
        position_usd=position,
        tiers=np.zeros(HOURS, np.int8),
        blind=np.zeros(HOURS, bool),
        alvh=Account(gain_usd=gain, trades_s=times_s[::240]),
        benchmarks={},
        missing=(),
        gaps=(),
    )


EARLY = track(lambda window: 0.8 if window.id != "crash-4" else 0.1)
LATE = track(lambda _: 0.4)
TRACKS = {"early": [EARLY], "late": [LATE]}


def test_a_part_counts_its_gain_from_where_it_begins():
    part = part_of(LATE, 40 * DAY_S, 50 * DAY_S)
    assert part.times_s[[0, -1]].tolist() == [40 * DAY_S + HOUR_S, 50 * DAY_S]
    assert part.alvh.gain_usd[0] == pytest.approx(-0.01)  # the change of its own first hour
    assert part.segment.windows == ()
    assert part_of(LATE, 60 * DAY_S, 75 * DAY_S).segment.windows == CRASHES[1:2]
    assert part_of(LATE, HOURS * HOUR_S, HOURS * HOUR_S + DAY_S) is None


def test_parts_add_up_to_the_whole():
    edges = [0.0, 33 * DAY_S, 90 * DAY_S, HOURS * float(HOUR_S)]
    parts = [part_of(EARLY, *pair) for pair in pairwise(edges)]
    ends = [part.alvh.gain_usd[-1] for part in parts]
    assert sum(ends) == pytest.approx(EARLY.alvh.gain_usd[-1])
    assert sum(part.alvh.trades_s.size for part in parts) == EARLY.alvh.trades_s.size


def test_each_step_chooses_on_the_past_alone():
    """The one that was best in the first two crashes is chosen before the third, in which it is not.

    The first step has a crash behind it and less than a month outside it: no carry, so nothing to choose by.
    """
    first, second, third = walk_forward(TRACKS, CRASHES, folds=3)
    assert [item.chosen for item in (first, second, third)] == ["", "early", "early"]
    last = next(item for item in (first, second, third) if "crash-4" in _seen(item))
    assert last.train["early"].removed == pytest.approx(0.8, abs=0.05)
    assert last.test["early"].removed == pytest.approx(0.1, abs=0.05)
    for item in (first, second, third):
        assert item.train_to_s <= item.test_from_s - 7 * DAY_S


def _seen(fold):
    return [item.id for item in CRASHES if fold.test_from_s <= item.start_s and item.end_s <= fold.test_to_s]


def test_a_hold_out_is_measured_apart():
    found = hold_out(TRACKS, CRASHES, share=0.4)
    assert found.from_s == pytest.approx(0.6 * HOURS * HOUR_S)
    assert found.before["early"].removed == pytest.approx(0.8, abs=0.05)
    assert found.held_out["early"].removed == pytest.approx(0.1, abs=0.05)
    assert found.held_out["late"].removed == pytest.approx(0.4, abs=0.05)


def test_where_the_past_has_no_crisis_nothing_is_chosen():
    fold, *_ = walk_forward(TRACKS, CRASHES[2:], folds=3)
    assert fold.chosen == ""
    assert fold.to_json()["chosen"] is None
    assert math.isnan(fold.train["early"].removed)


def test_more_folds_than_months_are_refused():
    with pytest.raises(ConfigError, match=r"needs 7 months of history, was 6\.0"):
        walk_forward(TRACKS, CRASHES, folds=6)
    with pytest.raises(ConfigError, match="between 1 and 50 folds, was 51"):
        walk_forward(TRACKS, CRASHES, folds=51)
