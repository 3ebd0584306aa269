"""Times of day where clocks are set forward and back: each one instant a day, quiet hours of one piece."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from bot.alerts.schedule import Daily, Every, Quiet, clock_words, lasting_words, time_of, zone_of
from bot.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def quiet(begins, ends, zone=BERLIN):
    return Quiet(begins=Daily(at=time_of(begins), zone=zone), ends=Daily(at=time_of(ends), zone=zone))


@pytest.mark.parametrize(
    ("begins", "ends", "day", "first", "last", "hours"),
    [
        ("22:00", "07:00", "a plain night", "2026-02-01T21:00", "2026-02-02T06:00", 9),
        ("22:00", "07:00", "forward", "2026-03-28T21:00", "2026-03-29T05:00", 8),
        ("22:00", "07:00", "back", "2026-10-24T20:00", "2026-10-25T06:00", 10),
        ("22:00", "02:30", "the end is left out", "2026-03-28T21:00", "2026-03-29T01:30", 4.5),
        ("22:00", "02:30", "the end comes twice", "2026-10-24T20:00", "2026-10-25T00:30", 4.5),
        ("12:00", "13:00", "at noon", "2026-07-01T10:00", "2026-07-01T11:00", 1),
    ],
)
def test_quiet_hours_are_one_piece(begins, ends, day, first, last, hours):
    found = quiet(begins, ends)
    assert found.until_s(at(first) - 1.0) is None
    assert found.until_s(at(first)) == at(last)
    assert found.until_s(at(last) - 1.0) == at(last)
    assert found.until_s(at(last)) is None
    assert at(last) - at(first) == hours * 3_600.0
    quiet_minutes = sum(found.until_s(at(first) + 60.0 * n) is not None for n in range(-720, 1_080))
    assert quiet_minutes == hours * 60, day


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("text", ["00:00", "02:30", "23:59"])
def test_a_time_of_day_is_one_instant_on_each_day_of_a_year(zone, text):
    daily = Daily(at=time_of(text), zone=ZoneInfo(zone))
    now_s, instants = at("2026-01-01T00:00"), []
    while len(instants) < 366:
        now_s = daily.next(now_s)
        assert daily.last(now_s) == now_s
        assert daily.last(now_s - 1.0) < now_s
        instants.append(now_s)
    gaps = {round((b - a) / 1_800.0) / 2.0 for a, b in pairwise(instants)}
    assert gaps <= {22.5, 23.0, 23.5, 24.0, 24.5, 25.0}


def test_every_so_often_is_later_than_now():
    assert Every(seconds=3_600.0).next(7_200.0) == 10_800.0


@pytest.mark.parametrize("text", ["24:00", "7:00", "07:60", "noon", "", "07:00:00"])
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(ConfigError, match="HH:MM"):
        time_of(text)


@pytest.mark.parametrize("name", ["Europe/Berlyn", "", "../../etc/passwd", "CEST+"])
def test_what_is_no_time_zone_is_refused(name):
    with pytest.raises(ConfigError, match="tz database"):
        zone_of(name)


def test_quiet_hours_of_no_length_are_refused():
    with pytest.raises(ConfigError, match="two times"):
        quiet("22:00", "22:00")


def test_times_are_told_as_people_there_have_them():
    assert clock_words(at("2026-03-29T05:10"), BERLIN) == "2026-03-29 07:10 CEST"
    assert [lasting_words(value) for value in (59.0, 3_480.0, 10_800.0)] == ["59 s", "58 min", "3.0 h"]
