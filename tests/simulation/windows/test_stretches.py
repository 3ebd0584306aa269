"""What is run for a request: never across a hole, never outside what was asked for, no hour twice."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from history_builders import START_S, DataFolder, stamp
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.simulation.requests import HistoryRequest
from bot.simulation.windows.stretches import stretches_of

DAY_S, HOUR_S = 86_400, 3_600
SPOT = "eth_usdt_spot_1h_binance"
HOLES = ((10 * 24, 12 * 24), (30 * 24, 31 * 24), (38 * 24, 40 * 24))  # hours without rows; one day is no hole
HOLE_S = 36 * HOUR_S  # method.md


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """60 days from 1 March 2022."""
    folder = DataFolder(path=tmp_path_factory.mktemp("history"))
    folder.dropped = {SPOT: {hour for first, last in HOLES for hour in range(first, last)}}
    return folder.write_all().path


def request_of(data, folder, *windows, **options):
    """Return a request; a window is (id, first day, last day, kind)."""
    lines = [
        f"{name},{stamp(START_S + first * DAY_S)},{stamp(START_S + last * DAY_S)},{kind}"
        for name, first, last, kind in windows
    ]
    path = folder / "windows.csv"
    path.write_text("\n".join(["id,start_utc,end_utc_exclusive,kind", *lines]) + "\n")
    return HistoryRequest(data=data, windows=path, exposure="v2:ETH/USDC:1000000", **options)


def days_of(segment):
    return tuple((at_s - START_S) / DAY_S for at_s in (segment.start_s, segment.end_s))


def test_a_lead_ends_at_a_hole_and_what_lies_before_it_is_not_run(data, tmp_path):
    """The crash begins on day 41, two days of lead reach to day 39, in the hole that ends on day 40."""
    found = stretches_of(request_of(data, tmp_path, ("crash", 41, 42, "crisis"), lead_days=2.0))
    assert [days_of(item) for item in found.segments] == [(40.0, 42.0)]


def test_a_cut_of_the_data_ends_a_stretch_within_its_window(data, tmp_path):
    """The history ends on day 60, the window on day 70."""
    found = stretches_of(request_of(data, tmp_path, ("late", 55, 70, "crisis"), lead_days=1.0))
    assert [days_of(item) for item in found.segments] == [(54.0, 60.0)]


def test_a_window_on_both_sides_of_a_hole_belongs_to_where_most_of_it_is(data, tmp_path):
    found = stretches_of(request_of(data, tmp_path, ("wide", 9, 20, "crisis"), lead_days=0.0))
    assert [(days_of(item), [each.id for each in item.windows]) for item in found.segments] == [
        ((12.0, 20.0), ["wide"])
    ]


@pytest.mark.parametrize("lead", [None, 5.0])
def test_a_range_is_kept_with_and_without_a_lead(data, tmp_path, lead):
    """--to 2022-04-05 is the whole of day 35; --from a time is that time."""
    request = request_of(data, tmp_path, ("one", 33, 37, "calm"), ("two", 50, 52, "calm"), lead_days=lead)
    found = stretches_of(replace(request, start="2022-04-02T06:00", end="2022-04-05"))
    assert [days_of(item) for item in found.segments] == [(32.25, 36.0)]
    assert [each.id for item in found.segments for each in item.windows] == ["one"]
    ended = stretches_of(replace(request, start="2022-04-02", end="2022-04-05T06:00"))
    assert [days_of(item) for item in ended.segments] == [(32.0, 35.25)]


def test_windows_without_a_stretch_stay_in_the_study(data, tmp_path):
    """What R26 leaves out around a crisis is left out where the crisis itself was not run."""
    windows = (("gone", -9, -1, "crisis"), ("seen", 20, 21, "crisis"))
    found = stretches_of(request_of(data, tmp_path, *windows, lead_days=1.0))
    assert [item.id for item in found.windows] == ["gone", "seen"]
    assert [each.id for item in found.segments for each in item.windows] == ["seen"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lead_days": -1.0}, "--lead must be between 0 and 3650 days, was -1"),
        ({"lead_days": float("nan")}, "--lead must be between"),
        ({"start": "2022-04-02", "end": "2022-04-01"}, "--from must be at least an hour before --to"),
        ({"start": "2022-04-02", "end": "soon"}, "--to must be an ISO 8601 date or time"),
        ({"start": "2023-01-01"}, r"no window of .* has a price in"),
        ({"start": "2023-01-01", "lead_days": 1.0}, r"no window of .* has a price in"),
        ({"exposure": "v9:ETH/USDC:1"}, "v9"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(data, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        stretches_of(replace(request_of(data, tmp_path, ("one", 33, 37, "calm")), **changes))


@settings(max_examples=150, deadline=None)
@given(
    starts=st.lists(st.integers(-5, 65), min_size=1, max_size=5, unique=True).map(sorted),
    lead=st.none() | st.floats(0.0, 30.0),
    span=st.tuples(st.integers(0, 30), st.integers(31, 61)),
)
def test_no_stretch_crosses_a_hole_and_no_hour_is_run_twice(data, tmp_path_factory, starts, lead, span):
    """Windows of a day each, any lead, any range."""
    folder = tmp_path_factory.mktemp("windows")
    windows = [(f"w{day}", day, day + 1, "crisis") for day in starts]
    request = request_of(data, folder, *windows, lead_days=lead)
    low_s, high_s = (START_S + day * DAY_S for day in span)
    try:
        found = stretches_of(replace(request, start=stamp(low_s)[:-1], end=stamp(high_s)[:-1]))
    except ConfigError:  # no window has a price there
        reject()
    for item in found.segments:
        inside = found.price.until(item.end_s).since(item.start_s).times_s
        assert np.diff(inside).max(initial=0.0) <= HOLE_S
        assert inside[0] - item.start_s < HOUR_S
        assert item.end_s - inside[-1] < HOUR_S
        assert low_s <= item.start_s < item.end_s <= high_s
        assert item.windows or lead is None
    for earlier, later in pairwise(found.segments):
        assert earlier.end_s <= later.start_s
    owned = [each.id for item in found.segments for each in item.windows]
    assert len(owned) == len(set(owned))
