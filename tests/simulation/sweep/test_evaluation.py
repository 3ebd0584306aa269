"""Sums that R26's measures follow from: the same figures as from the tracks, over any choice of spans."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_builders import START_S, evaluation, study, window

from bot.model.units import DAY_S, HOUR_S
from bot.simulation.sweep.evaluation import (
    Evaluation,
    Span,
    Sums,
    evaluate_tracks,
    evaluation_from,
    spans_of,
    window_spans,
)
from bot.simulation.windows.file import AFTER_CRISIS_S, BEFORE_CRISIS_S, Segment, crisis_spans
from bot.simulation.windows.measures import money_finding, window_findings
from bot.simulation.windows.run import Account, Track

DAYS = 90
CRASH, SMALL, CALM = window("crash", 20, 5), window("small", 60, 4), window("calm", 40, 10, "calm")
WINDOWS = (CRASH, CALM, SMALL)
WHOLE = Segment(start_s=float(START_S), end_s=float(START_S + DAYS * DAY_S), windows=WINDOWS)


def track(seed=1, *, blind_from=None):
    """90 days of hours: a fall of 40 % in the crash, of 12 % in the small one, a hedge that gains by both."""
    random = np.random.default_rng(seed)
    times_s = START_S + HOUR_S * np.arange(0.0, DAYS * 24 + 1)  # the hour that ends at the start is run
    day = (times_s - START_S) / DAY_S
    fall = 0.4 * np.clip((day - 21) / 2, 0, 1) + 0.12 * np.clip((day - 61) / 2, 0, 1)
    price = 1_000.0 * (1.0 - fall) + random.normal(0.0, 0.5, times_s.size)
    gain = 300.0 * fall - 0.01 * np.arange(times_s.size) + random.normal(0.0, 0.2, times_s.size)
    if blind_from is not None:
        gain[blind_from : blind_from + 100] = np.nan
    return Track(
        segment=WHOLE,
        times_s=times_s,
        spot_usd=price,
        position_usd=price,
        tiers=np.zeros(times_s.size, np.int8),
        blind=np.zeros(times_s.size, bool),
        alvh=Account(gain_usd=gain, trades_s=times_s[:: 24 * 9]),
        benchmarks={},
        missing=(),
        gaps=(),
    )


def measured(tracks, segments=(WHOLE,)):
    spans = spans_of(segments, WINDOWS)
    found = evaluate_tracks("policy", tracks, WINDOWS, spans)
    sums = Sums([found], window_spans(WINDOWS, spans))
    return sums.measures(range(len(spans))).at(0), found


@pytest.mark.parametrize(
    ("blind_from", "crises"), [(None, 2), (0, 2), (20 * 24 + 30, 1), (50 * 24, 2)], ids=str
)
def test_over_all_spans_the_measures_are_those_of_the_backtest(blind_from, crises):
    """R26, also where the hedge had no price for four days: at the start, within a crisis, in calm."""
    tracks = [track(blind_from=blind_from)]
    money = money_finding(tracks, window_findings(tracks, WINDOWS), "alvh")
    found, _ = measured(tracks)
    assert found["removed"] == pytest.approx(money.removed, rel=1e-12)
    for name in ("carry", "net", "efficiency", "trades_a_year"):
        assert found[name] == pytest.approx(getattr(money, name), rel=1e-9), name
    assert money.removed_of == crises


def test_a_split_of_the_spans_splits_the_sums():
    _, found = measured([track()])
    spans, whole = len(found.spans), Sums([found], (-1,) * 3)
    early, late = range(spans // 2), range(spans // 2, spans)
    nets = [whole.measures(part).at(0)["net"] for part in (early, late)]
    weights = [sum(found.spans[at].always_usd_hours for at in part) for part in (early, late)]
    together = whole.measures(range(spans)).at(0)["net"]
    assert np.average(nets, weights=weights) == pytest.approx(together, rel=1e-9)
    assert sum(span.hours for span in found.spans) == DAYS * 24 + 1


def test_a_window_counts_only_with_the_span_that_has_it():
    spans = spans_of([WHOLE], WINDOWS)
    holders = window_spans(WINDOWS, spans)
    found = evaluate_tracks("policy", [track()], WINDOWS, spans)
    sums = Sums([found], holders)
    by_window = dict(zip((item.id for item in WINDOWS), found.removed, strict=True))
    assert math.isnan(by_window["calm"])
    assert sums.measures([holders[0]]).at(0)["removed"] == by_window["crash"]
    assert sums.measures([holders[2]]).at(0)["removed"] == by_window["small"]
    assert math.isnan(sums.measures([0]).at(0)["removed"])


def test_a_figure_a_year_needs_a_month_of_hours():
    """Three spans of at most ten days are under it, or just at it; all of them are over it."""
    _, found = measured([track()])
    sums = Sums([found], (-1,) * 3)
    short = sums.measures([0, 1]).at(0)
    assert math.isnan(short["net"])
    assert math.isnan(short["trades_a_year"])
    assert math.isfinite(sums.measures(range(len(found.spans))).at(0)["net"])


def test_efficiency_has_the_floor_of_r26():
    """Removed 20 % at a carry of 0.1 %, under the floor of 0.5 %: 40; at 4 %: 5."""
    one, two = evaluation("a", [(0.2, 0.001)] * 2), evaluation("b", [(0.2, 0.04)] * 2)
    assert Sums([one, two], (0, 1)).measures([0, 1]).efficiency == pytest.approx([40.0, 5.0])


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.integers(0, 400), min_size=1, max_size=6, unique=True),
    lengths=st.lists(st.integers(1, 15), min_size=6, max_size=6),
    end=st.integers(430, 500),
)
def test_spans_tile_every_segment_and_cut_no_crisis(starts, lengths, end):
    windows = [window(f"w{at}", first, lengths[at]) for at, first in enumerate(sorted(starts))]
    segment = Segment(start_s=float(START_S), end_s=float(START_S + end * DAY_S), windows=tuple(windows))
    spans = spans_of([segment], windows)
    assert (spans[0].from_s, spans[-1].to_s) == (segment.start_s - HOUR_S, segment.end_s)
    assert all(one.to_s == two.from_s for one, two in pairwise(spans))
    assert all(span.from_s < span.to_s for span in spans)
    whole = crisis_spans(windows)
    for span in spans:
        outside = all(span.to_s <= low or span.from_s >= high for low, high in whole)
        assert span.to_s - span.from_s <= 10 * DAY_S + 1.0 or not outside
    for item, holder in zip(windows, window_spans(windows, spans), strict=True):
        assert spans[holder].from_s <= max(item.start_s - BEFORE_CRISIS_S, segment.start_s)
        assert spans[holder].to_s >= min(item.end_s + AFTER_CRISIS_S, segment.end_s)


def test_stretches_with_a_hole_between_them_keep_it():
    one = Segment(start_s=float(START_S), end_s=float(START_S + 30 * DAY_S), windows=(CRASH,))
    two = Segment(start_s=float(START_S + 50 * DAY_S), end_s=float(START_S + 70 * DAY_S), windows=(SMALL,))
    spans = spans_of([one, two], (CRASH, SMALL))
    assert not any(span.from_s < one.end_s < span.to_s for span in spans)
    assert not any(span.from_s < START_S + 40 * DAY_S < span.to_s for span in spans)
    assert -1 not in window_spans((CRASH, SMALL), spans)


def test_an_evaluation_survives_its_file_to_the_last_bit():
    _, found = measured([track(blind_from=30)])
    again = evaluation_from(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.spans == found.spans
    np.testing.assert_array_equal(again.removed, found.removed)


@pytest.mark.parametrize(
    "change", [{"spans": [[1.0]]}, {"removed": ["x"]}, {"removed": None}, {"policy_hash": ...}], ids=str
)
def test_what_is_no_evaluation_is_not_taken_for_one(change):
    found = {**evaluation("a", [(0.1, 0.1)]).to_json(), **change}
    found = {key: value for key, value in found.items() if value is not ...}
    with pytest.raises((KeyError, TypeError, ValueError)):
        evaluation_from(found)


def test_a_policy_without_any_track_has_no_figures():
    spans = (Span(from_s=0.0, to_s=float(DAY_S)),)
    found = evaluate_tracks("policy", [], WINDOWS, spans)
    assert isinstance(found, Evaluation)
    assert all(math.isnan(value) for value in Sums([found], (-1,) * 3).measures([0]).at(0).values())


def test_the_study_of_the_tests_has_a_crisis_in_every_span():
    made = study(5)
    assert window_spans(made.windows, made.spans) == tuple(range(5))
