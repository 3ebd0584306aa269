"""The laws of test_laws.py for signals whose sources are slow: days, weekends, months."""

import math

import numpy as np
import pytest
from signals.series import with_holes
from signals.slow_series import BTC, ETH, SPX, day_s, slow

from bot.model.market import Column, Columns, Metric
from bot.model.tier import Family, Quality
from bot.model.units import DAY_S, HOUR_S
from bot.signals import SIGNALS, lookback_s, metric_lookbacks_s
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()
DAYS = 320
NAMES = [name for name, signal in SIGNALS.items() if signal.family is Family.FUNDAMENTAL]
MOMENTS = [
    float(day_s(day)) + offset for day in range(220, DAYS - 3, 9) for offset in (0.0, -1.0, 12.0, 47_000.0)
]
# When all sources of a signal fail at once: hours in which its score holds, hours after which it is missing.
HOLDS = {"S17": (2, 5), "S18": (48, 90), "S19": (240, 4000), "S20": (2, 5), "S21": (2, 5), "S23": (72, 260)}


def read(name, columns, now_s):
    return SIGNALS[name].read(columns, now_s=float(now_s), policy=POLICY)


def cut(columns, *, after_s=-math.inf, until_s=math.inf):
    return Columns(series={k: c.until(until_s).since(after_s) for k, c in columns.series.items()})


def voting(readings):
    return [r for r in readings if r.quality is not Quality.ABSENT and not (r.signal == "S19" and r.informs)]


def test_the_method_has_six():
    assert NAMES == ["S17", "S18", "S19", "S20", "S21", "S23"]


@pytest.mark.parametrize("kind", ["whole", "holes"])
@pytest.mark.parametrize("name", NAMES)
def test_prefix_trailing_window_and_whole_history_agree_exactly(name, kind):
    columns = slow(DAYS) if kind == "whole" else with_holes(slow(DAYS), share=0.1)
    scores, voters = [], 0
    for now_s in MOMENTS:
        whole = read(name, columns, now_s)
        window = cut(columns, after_s=now_s - SIGNALS[name].lookback_s(POLICY), until_s=now_s)
        assert repr(read(name, cut(columns, until_s=now_s), now_s)) == repr(whole)
        assert repr(read(name, window, now_s)) == repr(whole)
        scores += [r.score for r in voting(whole) if r.counts]
        voters += len(voting(whole))
    assert len(scores) > 0.9 * voters
    assert len(set(scores)) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_a_memo_that_lives_from_frame_to_frame_changes_no_reading(name):
    columns = slow(DAYS)
    memos = {key: {} for key in columns.series}
    for now_s in MOMENTS[:16]:
        seen = cut(columns, until_s=now_s)
        kept = Columns(
            series={
                k: Column(times_s=c.times_s, values=c.values, memo=memos[k]) for k, c in seen.series.items()
            }
        )
        for _ in range(2):
            assert repr(read(name, kept, now_s)) == repr(read(name, seen, now_s))


@pytest.mark.parametrize("rows", ["empty", "all NaN"])
@pytest.mark.parametrize("name", NAMES)
def test_configured_without_a_known_value_is_missing(name, rows):
    columns = slow(240)
    size = 0 if rows == "empty" else None
    blind = Columns(
        series={
            k: Column(times_s=c.times_s[:size], values=np.full(c.times_s[:size].size, np.nan))
            for k, c in columns.series.items()
        }
    )
    readings = read(name, blind, day_s(240))
    assert readings
    for reading in readings:
        assert reading.quality is Quality.MISSING
        assert math.isnan(reading.score)


@pytest.mark.parametrize("how", ["fails", "is silent"])
@pytest.mark.parametrize("name", NAMES)
def test_a_source_that_stops_holds_its_last_score_then_is_missing(name, how):
    """Holds are counted in each source's own interval: a daily one is not missing within its day."""
    columns, stop_s = slow(DAYS), float(day_s(250, hour_s=HOUR_S))
    series = {}
    for key, c in columns.series.items():
        row_s = c.times_s >= stop_s
        if how == "fails":
            bad = (stop_s, np.nan)
            kept = c.until(stop_s)
            series[key] = Column(
                times_s=np.append(kept.times_s, bad[0]), values=np.append(kept.values, bad[1])
            )
        else:
            series[key] = Column(times_s=c.times_s[~row_s], values=c.values[~row_s])
    stopped = Columns(series=series)
    held_h, gone_h = HOLDS[name]
    before = voting(read(name, columns, stop_s - 1.0))
    held = voting(read(name, stopped, stop_s + held_h * HOUR_S))
    gone = voting(read(name, stopped, stop_s + gone_h * HOUR_S))
    assert len(before) == len(held) == len(gone) > 0
    for was, during, after in zip(before, held, gone, strict=True):
        assert was.quality is Quality.LIVE
        assert during.quality in (Quality.HELD, Quality.LIVE if how == "is silent" else Quality.HELD)
        assert during.value == was.value
        assert during.observed_at_s == was.observed_at_s
        assert after.quality is Quality.MISSING
        assert math.isnan(after.score)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "S21"])
def test_warming_has_an_end_and_keeps_it(name):
    columns = slow(DAYS)
    first_s = float(day_s(12))
    warming = voting(read(name, cut(columns, until_s=first_s), first_s))
    assert warming
    for place, reading in enumerate(warming):
        assert reading.quality is Quality.WARMING
        assert first_s < reading.warm_at_s < day_s(150)
        then = read(name, cut(columns, until_s=reading.warm_at_s), reading.warm_at_s)
        assert voting(then)[place].quality is Quality.LIVE


@pytest.mark.parametrize("name", ["S17", "S18", "S20", "S23"])
def test_a_source_that_fails_too_often_is_missing_never_calm(name):
    columns = with_holes(slow(DAYS), share=0.5)
    for reading in read(name, columns, day_s(DAYS)):
        assert reading.quality is Quality.MISSING
        assert "fails too often" in reading.because


@pytest.mark.parametrize("name", NAMES)
def test_every_reading_has_its_declared_face(name):
    signal = SIGNALS[name]
    for reading in read(name, slow(240), day_s(240)):
        assert (reading.signal, reading.name, reading.family) == (name, signal.name, Family.FUNDAMENTAL)
        assert reading.unit == ("h" if reading.source == "macro_calendar" else signal.unit)
        assert "\n" not in reading.because
        assert any(character.isdigit() for character in reading.because)
        assert 0.0 <= reading.score <= 1.0
        assert reading.score == round(reading.score, 9)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_readings_share_signal_subject_and_source(name):
    readings = read(name, slow(240), day_s(240))
    assert len({(r.subject, r.source) for r in readings}) == len(readings)


@pytest.mark.parametrize("name", ["S20", "S23"])
def test_a_long_weekend_is_not_late(name):
    """Friday's close is the newest until Tuesday evening when Monday is a holiday."""
    columns = slow(240)
    fridays = [s for s in columns[SPX].times_s if (s // DAY_S + 3) % 7 == 4]
    friday_s = float(fridays[-3])
    seen = cut(columns, until_s=friday_s + 1.0)
    hourly_s = friday_s + 3.9 * DAY_S
    fresh = {key: columns[key].until(hourly_s) for key in (ETH, BTC)}
    readings = read(name, Columns(series={**seen.series, **fresh}), hourly_s)
    for reading in readings:
        assert reading.quality is Quality.LIVE


def test_each_metric_needs_the_longest_look_back_of_the_signals_that_read_it():
    needs = metric_lookbacks_s(POLICY)
    assert max(needs.values()) == lookback_s(POLICY)
    assert needs[Metric.MACRO_PRINT] == SIGNALS["S19"].lookback_s(POLICY)
    assert needs[Metric.PRICE_USD] >= SIGNALS["S20"].lookback_s(POLICY)
    assert needs[Metric.POOL_DEPTH_USD] == SIGNALS["S4"].lookback_s(POLICY) < 10 * DAY_S
    assert set(needs) == {metric for signal in SIGNALS.values() for metric in signal.metrics}


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_reads_no_metric_that_it_does_not_name(name):
    """What a start fills is asked by these names."""
    columns = slow(240)
    named = Columns(series={k: c for k, c in columns.series.items() if k.metric in SIGNALS[name].metrics})
    assert repr(read(name, named, day_s(240))) == repr(read(name, columns, day_s(240)))


@pytest.mark.parametrize("name", ["S18", "S20", "S23"])
def test_a_history_behind_a_long_hole_is_warming_again(name):
    """A bot that was switched off for two months has no source that fails."""
    columns, hole = slow(DAYS), (float(day_s(150)), float(day_s(300)))
    holed = Columns(
        series={
            k: Column(times_s=c.times_s[keep], values=c.values[keep])
            for k, c in columns.series.items()
            if (keep := (c.times_s < hole[0]) | (c.times_s > hole[1])) is not None
        }
    )
    for reading in read(name, holed, day_s(DAYS)):
        assert reading.quality is Quality.WARMING
        assert reading.warm_at_s > day_s(DAYS)
