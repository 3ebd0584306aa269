"""Laws over the registry: a new signal is under them on the day it is registered."""

import math

import numpy as np
import pytest
from signals.series import START_S, columns_of, end_s, stressed, with_holes

from bot.model.market import Column, Columns
from bot.model.tier import Family, Quality, Reading
from bot.model.units import HOUR_S
from bot.signals import SIGNALS, lookback_s, read_signals
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()
# Those that read hourly series; the laws of slow sources are in test_fundamental_laws.py.
HOURLY = [name for name, signal in SIGNALS.items() if signal.family is not Family.FUNDAMENTAL]
HOURS = 100 * 24
WARM_HOURS = {"S12": 60 * 24}  # when a long look-back has its share of bars; the others by 35 days


def moments_of(name=None):
    """Bar closes, the last second of a bar, and moments inside one; from when the signal is warm."""
    hours = range(WARM_HOURS.get(name, 35 * 24), HOURS, 67)
    return [end_s(hour) + offset for hour in hours for offset in (0.0, -1.0, 12.0, 1801.0)]


MOMENTS = moments_of()


def cut(columns, *, after_s, until_s):
    return Columns(
        series={key: column.until(until_s).since(after_s) for key, column in columns.series.items()}
    )


def block_feed(columns, *, step_s=240):
    """Return rows every few minutes whose last one in each hour is the hourly row."""
    rng = np.random.default_rng(11)
    series = {}
    for key, column in columns.series.items():
        before = np.arange(HOUR_S // step_s - 1)[np.newaxis, :] * step_s
        times = np.concatenate(
            (column.times_s[:, np.newaxis] - HOUR_S + 1.0 + before, column.times_s[:, np.newaxis]), axis=1
        )
        noise = column.values[:, np.newaxis] * rng.uniform(0.99, 1.01, times.shape)
        noise[:, -1] = column.values
        series[key] = Column(times_s=times.ravel(), values=noise.ravel())
    return Columns(series=series)


@pytest.mark.parametrize("kind", ["whole", "holes", "blocks"])
def test_a_memo_that_lives_from_frame_to_frame_changes_no_reading(kind):
    """Rows arrive one by one, one of each series late, in an hour that had closed without it."""
    hourly = stressed(HOURS)
    columns = {"whole": hourly, "holes": with_holes(hourly, share=0.1), "blocks": block_feed(hourly)}[kind]
    moments = sorted({now_s + late_s for now_s in MOMENTS[:12] for late_s in (0.0, 600.0)})
    memos = {key: {} for key in columns.series}
    for now_s in moments:
        plain, kept = {}, {}
        for key, column in columns.series.items():
            seen = column.until(now_s - 300.0)  # a source whose rows come five minutes after their time
            plain[key] = seen
            kept[key] = Column(times_s=seen.times_s, values=seen.values, memo=memos[key])
        expected = read_signals(Columns(series=plain), now_s=now_s, policy=POLICY)
        for _ in range(2):
            assert repr(read_signals(Columns(series=kept), now_s=now_s, policy=POLICY)) == repr(expected)
    assert all(len(memo) <= 16 for memo in memos.values()), "one entry per kind of bars, not per frame"


@pytest.mark.parametrize("kind", ["whole", "holes", "blocks"])
@pytest.mark.parametrize("name", HOURLY)
def test_prefix_trailing_window_and_whole_history_agree_exactly(name, kind):
    """No look-ahead, and the live window equals the backtest (R25)."""
    hourly = stressed(HOURS)
    columns = {"whole": hourly, "holes": with_holes(hourly, share=0.1), "blocks": block_feed(hourly)}[kind]
    signal, scores, qualities = SIGNALS[name], [], set()
    moments = moments_of(name)[:: 3 if kind == "blocks" else 1]
    for now_s in moments:
        whole = signal.read(columns, now_s=now_s, policy=POLICY)
        window_start_s = now_s - signal.lookback_s(POLICY)
        prefix = cut(columns, after_s=-math.inf, until_s=now_s)
        window = cut(columns, after_s=window_start_s, until_s=now_s)
        # repr shows every digit of a float, and NaN equals itself there.
        assert repr(signal.read(prefix, now_s=now_s, policy=POLICY)) == repr(whole)
        assert repr(signal.read(window, now_s=now_s, policy=POLICY)) == repr(whole)
        scores += [reading.score for reading in whole if reading.counts]
        qualities |= {reading.quality for reading in whole}
    assert len(scores) > 0.9 * len(moments)
    assert len(set(scores)) >= 3 or (name in ("S9", "S15", "S16") and set(scores) >= {0.0, 1.0})
    assert Quality.LIVE in qualities


ON_BARS = ("S10", "S11", "S12", "S13", "S14", "S15", "S16", "S22", "S24", "S25", "S26")


@pytest.mark.parametrize("name", ON_BARS)
def test_block_feed_and_hourly_table_give_the_same_bars(name):
    hourly = stressed(HOURS)
    blocks = block_feed(hourly)
    for hour in range(WARM_HOURS.get(name, 40 * 24), HOURS, 53):
        from_table = SIGNALS[name].read(hourly, now_s=end_s(hour), policy=POLICY)
        from_blocks = SIGNALS[name].read(blocks, now_s=end_s(hour), policy=POLICY)
        assert [(r.score, r.because) for r in from_table if r.counts] == [
            (r.score, r.because) for r in from_blocks if r.counts
        ]
        assert any(r.counts for r in from_table)


@pytest.mark.parametrize("name", ON_BARS)
def test_open_bar_is_never_used(name):
    """A wild last observation in the open bar changes nothing until the bar closes."""
    columns = stressed(HOURS)
    wild = Columns(
        series={
            key: Column(
                times_s=np.append(column.times_s, end_s(HOURS) + 60.0),
                values=np.append(column.values, 5.0 * column.values[-1]),
            )
            for key, column in columns.series.items()
        }
    )
    now_s = end_s(HOURS) + 90.0
    calm = SIGNALS[name].read(columns, now_s=now_s, policy=POLICY)
    shaken = SIGNALS[name].read(wild, now_s=now_s, policy=POLICY)
    assert [repr(r.score) for r in calm] == [repr(r.score) for r in shaken]
    after_s = end_s(HOURS + 1)
    later = SIGNALS[name].read(wild, now_s=after_s, policy=POLICY)
    assert [r.because for r in later] != [r.because for r in shaken]


@pytest.mark.parametrize("name", SIGNALS)
def test_no_series_configured_is_absent(name):
    readings = SIGNALS[name].read(columns_of(), now_s=end_s(1), policy=POLICY)
    assert readings
    for reading in readings:
        assert reading.quality is Quality.ABSENT
        assert (reading.signal, reading.subject) == (name, "")
        assert math.isnan(reading.score)
        assert "configured" in reading.because


@pytest.mark.parametrize("rows", ["empty", "all NaN"])
@pytest.mark.parametrize("name", HOURLY)
def test_configured_without_a_known_value_is_missing(name, rows):
    """Unknown is not calm: no score, and the family is degraded by it."""
    columns = stressed(24 * 40)
    kept = slice(0, 0) if rows == "empty" else slice(None)
    blind = Columns(
        series={
            key: Column(times_s=column.times_s[kept], values=np.full(column.times_s[kept].size, np.nan))
            for key, column in columns.series.items()
        }
    )
    readings = SIGNALS[name].read(blind, now_s=end_s(24 * 40), policy=POLICY)
    readings = [r for r in readings if r.quality is not Quality.ABSENT]
    assert readings
    for reading in readings:
        assert reading.quality is Quality.MISSING
        assert math.isnan(reading.score)
        assert not reading.counts


@pytest.mark.parametrize("name", HOURLY)
def test_failing_source_holds_its_last_score_then_is_missing(name):
    """The score of the last good evaluation holds for two intervals of an hourly source, then goes."""
    columns = stressed(HOURS)
    failed_at_s = end_s(60 * 24)
    failing = Columns(
        series={
            key: Column(
                times_s=column.times_s, values=np.where(column.times_s < failed_at_s, column.values, np.nan)
            )
            for key, column in columns.series.items()
        }
    )
    signal = SIGNALS[name]
    good = signal.read(columns, now_s=failed_at_s, policy=POLICY)
    held = signal.read(failing, now_s=failed_at_s + 2 * HOUR_S, policy=POLICY)
    gone = signal.read(failing, now_s=failed_at_s + 4 * HOUR_S, policy=POLICY)
    pairs = [trio for trio in zip(good, held, gone, strict=True) if trio[0].quality is not Quality.ABSENT]
    assert pairs
    for before, while_held, after in pairs:
        assert (before.quality, while_held.quality, after.quality) == (
            Quality.LIVE,
            Quality.HELD,
            Quality.MISSING,
        )
        assert while_held.score == before.score
        assert while_held.observed_at_s == before.observed_at_s == failed_at_s - 1.0
        assert math.isnan(after.score)
        assert "fails" in after.because


@pytest.mark.parametrize("name", HOURLY)
def test_silent_source_goes_missing_too(name):
    """A feed that just stops is no better than one that fails."""
    end_h = 60 * 24
    columns = stressed(end_h)
    for hours, expected in ((0, Quality.LIVE), (3, Quality.HELD), (5, Quality.MISSING)):
        readings = SIGNALS[name].read(columns, now_s=end_s(end_h + hours), policy=POLICY)
        found = {r.quality for r in readings if r.quality is not Quality.ABSENT}
        assert found == {expected}


AT_ONCE = ("S3", "S7", "S9")  # need no history


@pytest.mark.parametrize("name", [name for name in HOURLY if name not in AT_ONCE])
def test_warming_ends_when_it_said(name):
    """A history that began just now is warming, with an end time that an unbroken feed keeps."""
    columns = stressed(HOURS)

    def at(now_s) -> list[Reading]:
        seen = cut(columns, after_s=-math.inf, until_s=now_s)
        readings = SIGNALS[name].read(seen, now_s=now_s, policy=POLICY)
        return [r for r in readings if r.quality is not Quality.ABSENT]

    first_s = START_S + HOUR_S - 1.0 if name in ("S5", "S13", "S22") else end_s(5)
    for position, reading in enumerate(at(first_s)):
        assert reading.quality is Quality.WARMING
        assert not reading.counts
        assert first_s < reading.warm_at_s <= START_S + WARM_HOURS.get(name, 32 * 24) * HOUR_S
        before_s = max(first_s, reading.warm_at_s - HOUR_S / 2)
        assert at(before_s)[position].quality is Quality.WARMING
        assert at(reading.warm_at_s)[position].quality is Quality.LIVE


@pytest.mark.parametrize("name", [name for name in HOURLY if name not in (*AT_ONCE, "S5", "S13", "S22")])
def test_a_source_that_fails_too_often_is_missing_never_calm(name):
    """Its history is as long as the window: it would be warming for ever, and blind without a word."""
    columns = with_holes(stressed(HOURS), share=0.72)
    readings = SIGNALS[name].read(columns, now_s=end_s(HOURS), policy=POLICY)
    for reading in readings:
        assert reading.quality in (Quality.MISSING, Quality.ABSENT)
        assert reading.quality is Quality.ABSENT or "fails too often" in reading.because


@pytest.mark.parametrize("name", HOURLY)
def test_every_reading_has_its_declared_face(name):
    signal = SIGNALS[name]
    assert signal.id == name
    for reading in signal.read(stressed(40 * 24), now_s=end_s(40 * 24), policy=POLICY):
        assert (reading.signal, reading.name, reading.family, reading.unit) == (
            signal.id,
            signal.name,
            signal.family,
            signal.unit,
        )
        assert "\n" not in reading.because
        if reading.counts:
            assert 0.0 <= reading.score <= 1.0
            assert reading.score == round(reading.score, 9)
            assert any(character.isdigit() for character in reading.because)


def test_read_signals_reads_them_all_in_order():
    readings = read_signals(stressed(40 * 24), now_s=end_s(40 * 24), policy=POLICY)
    assert list(dict.fromkeys(r.signal for r in readings)) == list(SIGNALS)
    assert lookback_s(POLICY) == max(s.lookback_s(POLICY) for s in SIGNALS.values())


def test_empty_world_reads_absent_everywhere():
    readings = read_signals(columns_of(), now_s=end_s(1), policy=POLICY)
    assert {r.quality for r in readings} == {Quality.ABSENT}
    assert {r.signal for r in readings} == set(SIGNALS)
