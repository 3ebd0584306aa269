"""The store of observations: append-only, ordered, the same after a restart."""

import itertools
import math
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from pipeline_builders import START_S, block, price

from bot.engine.step import decide
from bot.errors import ConfigError
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.market import Column, Columns, Frame, Metric, Observation, SeriesKey
from bot.model.record import EngineState
from bot.model.tier import Quality
from bot.pipeline.gaps import BETWEEN_POLLS, Gap, Halt
from bot.pipeline.history import Change, ChangeKind, History
from bot.settings import PolicySettings, load_policy

KEY = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")
DAY_S = 86_400


def seen(at_s, value, number):
    """A price that stands on a block."""
    return replace(price(at_s, value), block_number=number)


def values(history):
    return history.columns()[KEY].values.tolist()


def times(history):
    return [at_s - START_S for at_s in history.columns()[KEY].times_s]


def test_a_configured_series_without_rows_is_an_empty_column_not_an_absent_one():
    columns = History([KEY]).columns()
    assert columns.find(Metric.PRICE_USD, "ETH") == (KEY,)
    assert columns[KEY].times_s.size == 0
    assert math.isnan(columns.latest(Metric.PRICE_USD, "ETH")[0])


def test_a_row_read_again_is_left_out():
    history = History([KEY])
    assert history.append([price(START_S, 1.0), price(START_S, 1.0)]) == 1
    assert history.columns()[KEY].values.tolist() == [1.0]


def test_rows_of_a_reorganised_chain_take_the_place_of_the_orphaned_ones(tmp_path):
    history = History([KEY], path=tmp_path / "history.sqlite")
    history.append([seen(START_S + i, float(i), i) for i in range(5)])
    before = history.columns()[KEY]
    history.append([seen(START_S + 3, 30.0, 3)])  # the block at 3 was replaced, and 4 is gone
    history.append([seen(START_S + 5, 50.0, 4)])
    assert values(history) == [0.0, 1.0, 2.0, 30.0, 50.0]
    assert before.values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0], "a frame that was cut does not change"
    history.close()
    again = History([KEY], path=tmp_path / "history.sqlite")
    assert values(again) == [0.0, 1.0, 2.0, 30.0, 50.0]
    again.close()


def test_rows_on_orphaned_blocks_leave_also_when_nothing_takes_their_place(tmp_path):
    path = tmp_path / "history.sqlite"
    history = History([KEY], path=path)
    history.append([seen(START_S + 12 * i, float(i), 100 + i) for i in range(4)])
    for number in range(100, 104):
        history.add_head(block(number, START_S + 12 * (number - 100)))
    assert history.orphan([KEY], chain_id=31337, from_block=102) == 2
    assert values(history) == [0.0, 1.0]
    history.close()
    again = History([KEY], path=path)
    assert values(again) == [0.0, 1.0]
    assert [head.number for head in again.last_heads(31337)] == [100, 101]
    again.close()
    with sqlite3.connect(path) as raw:
        (kept,) = raw.execute("SELECT COUNT(*) FROM observation WHERE superseded = 1").fetchone()
    raw.close()
    assert kept == 2, "what an old decision stood on can still be read"


def test_an_http_row_that_is_older_is_put_in_its_place_and_takes_nothing_away(tmp_path):
    path = tmp_path / "history.sqlite"
    history = History([KEY], path=path)
    history.append([price(START_S + 10, 1.0), price(START_S + 30, 3.0)])
    history.append([price(START_S + 20, 2.0)])
    assert times(history) == [10, 20, 30]
    history.append([price(START_S + 20, 2.5)])  # revised
    assert values(history) == [1.0, 2.5, 3.0]
    history.close()
    again = History([KEY], path=path)
    assert values(again) == [1.0, 2.5, 3.0]
    again.close()


def test_an_http_source_that_is_back_ends_its_failure_even_with_an_old_stamp(tmp_path):
    """A daily figure is stamped before the failure that was noted in between."""
    path = tmp_path / "history.sqlite"
    history = History([KEY], path=path)
    history.append([price(START_S, 1.0)])
    history.append([price(START_S + 100, math.nan), price(START_S + 200, math.nan)])
    history.append([price(START_S, 1.0)])
    assert values(history) == [1.0]
    history.close()
    again = History([KEY], path=path)
    assert values(again) == [1.0]
    again.close()


def test_filling_takes_only_what_is_not_known_and_is_idempotent(tmp_path):
    path = tmp_path / "history.sqlite"
    history = History([KEY], path=path)
    history.append([price(START_S + 20, 2.0), price(START_S + 30, math.nan)])
    before = history.columns()[KEY]
    rows = [price(START_S + i, -float(i)) for i in (10, 20, 30, 40)]
    assert history.fill(rows) == 3
    assert history.fill(rows) == 0
    assert values(history) == [-10.0, 2.0, -30.0, -40.0]
    assert before.times_s.size == 2, "a frame that was cut does not change"
    history.close()
    again = History([KEY], path=path)
    assert values(again) == [-10.0, 2.0, -30.0, -40.0]
    again.close()


def test_rows_past_the_retention_leave_a_whole_day_at_a_time_in_memory_and_on_disk(tmp_path):
    path = tmp_path / "history.sqlite"
    history = History([KEY], path=path, keep_s=2 * DAY_S)
    for day in range(6):
        history.append([price(START_S + day * DAY_S + hour * 3_600, float(day)) for hour in range(24)])
        history.flush()
    kept = history.columns()[KEY]
    assert kept.times_s[0] == START_S + 3 * DAY_S
    history.close()
    again = History([KEY], path=path, keep_s=2 * DAY_S)
    np.testing.assert_array_equal(again.columns()[KEY].times_s, kept.times_s)
    again.close()
    with sqlite3.connect(path) as raw:
        (rows,) = raw.execute("SELECT COUNT(*) FROM observation").fetchone()
    raw.close()
    assert rows == kept.times_s.size


def test_changes_done_again_make_the_same_columns():
    first, second = History([KEY], keep_s=DAY_S), History([KEY])
    first.record()
    first.append([seen(START_S + 12 * i, float(i), i) for i in range(20)])
    first.orphan([KEY], chain_id=31337, from_block=15)
    first.append([seen(START_S + 12 * 17, 17.5, 15)])
    first.fill([price(START_S + 6, 0.5)])
    first.append([seen(START_S + 3 * DAY_S, 99.0, 30_000)])
    first.flush()
    first.cut(until_s=math.inf)
    first.append([seen(START_S + 3 * DAY_S + 12, 100.0, 30_001)])  # belongs to the next frame
    for change in first.changes():
        second.redo(change)
    assert values(second) == values(first)[:-1] == [99.0]


def test_gaps_heads_and_halts_outlive_a_restart(tmp_path):
    path = tmp_path / "history.sqlite"
    history = History([KEY], path=path)
    for number in (1, 5, 9):
        history.add_head(block(number, START_S + number))
        if number > 1:
            gap = Gap(31337, number - 3, number - 1, START_S + number - 4, START_S + number, BETWEEN_POLLS)
            history.add_gap(gap)
    history.add_gap(Gap(31337, 10, 19, START_S + 9, START_S + 20, "all providers refused"))
    history.add_halt(Halt(31337, START_S, "reorganised by 30 blocks"))
    found = history.gaps()
    assert [(gap.from_number, gap.to_number, gap.why) for gap in found] == [
        (2, 8, BETWEEN_POLLS),  # heads 5 inside it was observed and is in the list of heads
        (10, 19, "all providers refused"),
    ]
    history.close()
    again = History([KEY], path=path)
    assert again.gaps() == found
    assert [head.number for head in again.last_heads(31337)] == [1, 5, 9]
    assert [halt.why for halt in again.halts()] == ["reorganised by 30 blocks"]
    again.release_halts(at_s=START_S + 60)
    again.close()
    third = History([KEY], path=path)
    assert third.halts() == ()
    third.close()


def test_a_history_of_the_first_release_is_taken_over(tmp_path):
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute(
            "CREATE TABLE observations (id INTEGER PRIMARY KEY, metric TEXT, subject TEXT, source TEXT, "
            "value REAL, observed_at_s REAL, read_at_s REAL, block_number INTEGER, why_unknown TEXT)"
        )
        for at_s, value in ((0, 0.0), (12, 1.0), (24, 2.0), (12, 10.0), (36, None)):
            row = ("price_usd", "ETH", KEY.source, value, START_S + at_s, START_S + at_s, 5, "")
            raw.execute(
                "INSERT INTO observations (metric, subject, source, value, observed_at_s, read_at_s, "
                "block_number, why_unknown) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
    raw.close()
    for _ in range(2):
        history = History([KEY], path=path)
        assert times(history) == [0, 12, 36]
        assert values(history)[:2] == [0.0, 10.0]
        history.close()


def test_a_series_that_is_no_longer_configured_is_not_used(tmp_path):
    path = tmp_path / "history.sqlite"
    first = History([KEY], path=path)
    first.append([price(START_S, 1.0)])
    first.close()
    other = History([SeriesKey(Metric.PRICE_USD, "ETH", "twap:v3:ETH/USDC")], path=path)
    assert KEY not in other.columns().series
    other.close()
    assert path.stat().st_mode & 0o077 == 0


def test_a_restart_reads_the_same_columns_unknowns_included(tmp_path):
    path = tmp_path / "history.sqlite"
    first = History([KEY], path=path)
    first.append([price(START_S + i, math.nan if i == 70 else float(i)) for i in range(200)])
    before = first.columns()[KEY]
    first.close()
    again = History([KEY], path=path)
    after = again.columns()[KEY]
    again.close()
    np.testing.assert_array_equal(before.times_s, after.times_s)
    np.testing.assert_array_equal(before.values, after.values)


def test_columns_until_a_time_hold_nothing_later():
    history = History([KEY])
    history.append([price(START_S + i, float(i)) for i in range(10)])
    assert history.columns(until_s=START_S + 4)[KEY].values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path):
    path = tmp_path / "history.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match=r"history\.sqlite.*not a database"):
        History([KEY], path=path)


def test_two_programs_on_one_file_never_mix_their_series(tmp_path):
    """A monitor and a dry run share the file; each numbers a new series when it first has a row of it."""
    path, other = tmp_path / "history.sqlite", SeriesKey(Metric.PRICE_USD, "BTC", "chainlink:BTC/USD")
    first, second = History([KEY, other], path=path), History([KEY, other], path=path)
    first.append([price(START_S, 2_000.0)])
    second.append([replace(price(START_S, 60_000.0), subject="BTC", source="chainlink:BTC/USD")])
    first.close()
    second.close()
    again = History([KEY, other], path=path)
    assert (values(again), again.columns()[other].values.tolist()) == ([2_000.0], [60_000.0])
    again.close()


def test_old_rows_of_a_fast_chain_leave_the_file_however_many_they_are(tmp_path, monkeypatch):
    """More rows a day than one flush deletes must not let the file grow for ever."""
    monkeypatch.setattr("bot.pipeline.history_store._DELETED_AT_ONCE", 10)
    path = tmp_path / "history.sqlite"
    history = History([KEY], path=path, keep_s=DAY_S)
    for day in range(5):
        for hour in range(24):
            history.append([price(START_S + day * DAY_S + hour * 3_600 + i, float(i)) for i in range(3)])
            history.flush()
    kept = history.columns()[KEY].times_s.size
    history.close()
    with sqlite3.connect(path) as raw:
        (rows,) = raw.execute("SELECT COUNT(*) FROM observation").fetchone()
    raw.close()
    assert rows == kept


POOL = "v2:ETH/USDC"
WATCHED = (
    SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD"),
    SeriesKey(Metric.PRICE_USD, "ETH", "twap:v3:ETH/USDC"),
    SeriesKey(Metric.POOL_LIQUIDITY, POOL, "pool"),
    SeriesKey(Metric.POOL_QUOTE_USD, POOL, "pool"),
    SeriesKey(Metric.POOL_QUOTE_NEAR_USD, POOL, "pool"),
    SeriesKey(Metric.POOL_DEPTH_USD, POOL, "pool"),
    SeriesKey(Metric.VOL_INDEX, "ETH", "http"),
)


def hourly(hour, random):
    """One row of each series; the last one comes from an HTTP source, which has no blocks."""
    scale = 1.0 - 0.15 * (hour % 97 > 90)  # falls that come and go
    return [
        Observation(
            metric=key.metric,
            subject=key.subject,
            source=key.source,
            value=float(1_000.0 * scale * random.uniform(0.98, 1.02)),
            observed_at_s=START_S + 3_600.0 * hour,
            read_at_s=START_S + 3_600.0 * hour,
            block_number=None if key.source == "http" else hour,
        )
        for key in WATCHED
    ]


def changed(kind, history, hour, random):
    """Do what takes the memo's ground away: late rows, a filled hole, a reorg, a value read anew, a trim."""
    rows = hourly(hour - 30, random)
    if kind == "late":
        history.append([replace(row, observed_at_s=row.observed_at_s + 60.0) for row in rows[-1:]])
        history.fill([replace(row, observed_at_s=row.observed_at_s + 1_800.0) for row in rows])
    elif kind == "reorg":
        history.orphan(WATCHED, chain_id=1, from_block=hour - 5)
        for lost in range(hour - 5, hour):
            history.append(hourly(lost, random))
    elif kind == "replaced":
        history.append([replace(row, value=0.8 * row.value) for row in rows[-1:]])
        history.append(hourly(hour - 1, random))
    elif kind == "trim":
        history.redo(Change(ChangeKind.TRIM, before_s=START_S + 3_600.0 * (hour - 400)))


@pytest.mark.parametrize("kind", ["appended", "late", "reorg", "replaced", "trim"])
def test_what_is_remembered_of_closed_bars_changes_no_decision(kind):
    history, random = History(WATCHED), np.random.default_rng(4)
    policy, kept, plain = load_policy(PolicySettings()), EngineState(), EngineState()
    for hour in range(760):
        history.append(hourly(hour, random))
    for hour in range(760, 790):
        history.append(hourly(hour, random))
        if hour % 4 == 0:
            changed(kind, history, hour, random)
        now_s = START_S + 3_600.0 * hour + 60.0
        columns = history.cut(until_s=now_s)
        assert all(column.memo is not None for column in columns.series.values())
        bare = {key: Column(times_s=item.times_s, values=item.values) for key, item in columns.series.items()}
        kept, found = decide(policy, kept, frame_of(columns, now_s))
        plain, expected = decide(policy, plain, frame_of(Columns(series=bare), now_s))
        assert repr((kept, found)) == repr((plain, expected))
    assert {reading.quality for reading in found.readings} >= {Quality.LIVE}
    assert any(column.memo for column in columns.series.values())


def frame_of(columns, now_s):
    exposure = Exposure(
        id="v2:1",
        kind=ExposureKind.UNISWAP_V2,
        protocol="uniswap-v2",
        chain_id=1,
        pool=POOL,
        underlying="ETH",
        stable="USDC",
        shape=LpShape(liquidity=1e5),
        spot_usd=1_000.0,
        value_usd=6e6,
    )
    return Frame(now_s=now_s, blocks={}, columns=columns, exposures=(exposure,))


def test_a_memo_lives_while_rows_only_join_at_the_end():
    history = History([KEY])
    memos = []
    for change in (
        lambda: history.append([seen(START_S + i, float(i), i) for i in range(100)]),
        lambda: history.append([seen(START_S + i, float(i), i) for i in range(100, 300)]),
        lambda: history.fill([seen(START_S + 0.5, 1.0, 0)]),
        lambda: history.append([seen(START_S + 250, 1.0, 250)]),
        lambda: history.orphan([KEY], chain_id=1, from_block=200),
        lambda: history.append([seen(START_S + 300, math.nan, 300), seen(START_S + 301, 1.0, 301)]),
        lambda: history.fill([seen(START_S + 300, 1.0, 300)]),
        lambda: history.redo(Change(ChangeKind.TRIM, before_s=START_S + 10)),
    ):
        change()
        memos.append(history.columns()[KEY].memo)
    same = [one is other for one, other in itertools.pairwise(memos)]
    assert same == [True, False, False, False, True, False, False]
    assert history.columns(until_s=START_S + 20)[KEY].memo is memos[-1]
