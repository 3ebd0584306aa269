"""The windows file, and the stretches that are run for it."""

import gzip

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, parse_utc_s
from bot.simulation.windows.file import Window, crisis_spans, history_segments, read_windows, segments_of

HEAD = "id,start_utc,end_utc_exclusive,split,kind"
CALM = "quiet,2022-03-01,2022-03-11,dev,calm"
CRISIS = "crash,2022-04-09,2022-04-14,dev,crisis"


def day(text):
    return parse_utc_s(text, field="day")


def write(folder, *lines, name="windows.csv"):
    path = folder / name
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["windows.csv", "windows.csv.gz"])
def test_windows_are_read_in_time_order(tmp_path, name):
    found = read_windows(write(tmp_path, HEAD, CRISIS, CALM, name=name))
    assert [(item.id, item.kind, item.is_calm) for item in found] == [
        ("quiet", "calm", True),
        ("crash", "crisis", False),
    ]
    assert (found[1].start_s, found[1].end_s) == (day("2022-04-09"), day("2022-04-14"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((HEAD,), "has no window"),
        (("id,start_utc,kind", "a,2022-01-01,calm"), "lacks column end_utc_exclusive"),
        ((HEAD, CALM, "x,2022-04-09,2022-04-14,dev,panic"), "line 3: kind must be one of .* was 'panic'"),
        ((HEAD, ",2022-04-09,2022-04-14,dev,calm"), "line 2: id must name the window"),
        ((HEAD, "x,soon,2022-04-14,dev,calm"), "start_utc"),
        ((HEAD, "x,0001-01-01T00:00:00+14:00,2022-04-14,dev,calm"), "start_utc must be an ISO 8601 date"),
        ((HEAD, "x,2022-04-14,9999-12-31T23:00:00-12:00,dev,calm"), "end_utc_exclusive must be an ISO"),
        ((HEAD, "x,2022-04-14,2022-04-14,dev,calm"), "at least a day after"),
        ((HEAD, "x,2022-04-14,2022-04-09,dev,calm"), "at least a day after"),
        ((HEAD, CALM, CALM.replace("03-", "05-")), "quiet is used twice"),
        ((HEAD, CALM, "x,2022-03-10,2022-03-12,dev,calm"), "x begins .* before quiet ends"),
    ],
    ids=str,
)
def test_a_windows_file_that_cannot_be_meant_is_refused(tmp_path, lines, words):
    with pytest.raises(ConfigError, match=words):
        read_windows(write(tmp_path, *lines))


@pytest.mark.parametrize("content", [None, b"\x1f\x8bnot gzip", b"\xff\xfe\x00"])
def test_a_windows_file_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "windows.csv"
    if content:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"windows\.csv cannot be read"):
        read_windows(path)


def test_a_windows_file_that_is_no_csv_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"windows\.csv is no CSV: field larger"):
        read_windows(write(tmp_path, HEAD, "x" * 200_000))


def test_times_with_an_offset_are_read_as_utc(tmp_path):
    """Noon in a zone two hours ahead is 10:00 UTC; a time without a zone is UTC."""
    moved = "crash,2022-04-09T12:00:00+02:00,2022-04-14T06:00,dev,crisis"
    (found,) = read_windows(write(tmp_path, HEAD, moved))
    assert found.start_s == day("2022-04-09") + 10 * 3600.0
    assert found.end_s == day("2022-04-14") + 6 * 3600.0


def window(name, start_s, end_s, kind="crisis"):
    return Window(id=name, start_s=start_s * DAY_S, end_s=end_s * DAY_S, kind=kind)


def test_stretches_that_meet_are_run_once():
    first, second, third = window("a", 100, 105), window("b", 110, 112), window("c", 130, 131)
    joined, alone = segments_of((second, first, third), lead_s=5 * DAY_S)
    assert (joined.start_s, joined.end_s, joined.windows) == (95 * DAY_S, 112 * DAY_S, (first, second))
    assert (alone.start_s, alone.end_s, alone.windows) == (125 * DAY_S, 131 * DAY_S, (third,))


def test_a_lead_of_none_keeps_windows_apart():
    assert len(segments_of((window("a", 100, 105), window("b", 110, 112)), lead_s=0.0)) == 2


def test_outside_crises_ends_3_days_before_and_begins_7_days_after():
    spans = crisis_spans(
        (window("a", 100, 105), window("b", 110, 112, "calm"), window("c", 130, 131, "bridge"))
    )
    assert spans == ((97 * DAY_S, 112 * DAY_S), (127 * DAY_S, 138 * DAY_S))


def hours(*spans):
    """Ends of hours, a second early as files are stamped, of spans of days."""
    return np.concatenate([np.arange(a * 24, b * 24) for a, b in spans]) * HOUR_S + HOUR_S - 1.0


def test_the_whole_history_is_cut_at_holes_and_each_window_belongs_to_where_most_of_it_is():
    times_s = hours((0, 10), (12, 20))
    windows = [window("early", 1, 3), window("astride", 9, 15), window("none", 30, 31)]
    first, second = history_segments(times_s, windows, from_s=0.0, to_s=40 * DAY_S, hole_s=36 * HOUR_S)
    assert (first.start_s, first.end_s) == (0.0, 10 * DAY_S)
    assert (second.start_s, second.end_s) == (12 * DAY_S, 20 * DAY_S)
    assert [item.id for item in first.windows] == ["early"]
    assert [item.id for item in second.windows] == ["astride"]


def test_a_short_hole_cuts_nothing_and_a_range_is_kept():
    times_s = hours((0, 10), (11, 20))
    (found,) = history_segments(times_s, [], from_s=2 * DAY_S, to_s=15 * DAY_S, hole_s=36 * HOUR_S)
    assert (found.start_s, found.end_s) == (2 * DAY_S, 15 * DAY_S)
    assert history_segments(times_s, [], from_s=50 * DAY_S, to_s=60 * DAY_S, hole_s=36 * HOUR_S) == ()
