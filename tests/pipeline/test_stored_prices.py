"""Past prices are read from a run's file and nothing of it changes."""

import math
import sqlite3

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.model.market import Column, Columns, Metric, Observation, SeriesKey
from bot.pipeline.history import History
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.stored_prices import with_stored_prices

NOW_S = 1_700_006_400.0
FEED = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")
TWAP = SeriesKey(Metric.PRICE_USD, "ETH", "twap:v3")
LIVE = Columns(
    series={
        FEED: Column(times_s=np.array([NOW_S - 60.0]), values=np.array([2_000.0])),
        TWAP: Column(times_s=np.array([NOW_S]), values=np.array([2_001.0])),
    }
)


def row(at_s, value, key=FEED, block=1):
    return Observation(
        metric=key.metric, subject=key.subject, source=key.source, value=value, observed_at_s=at_s,
        read_at_s=at_s, block_number=block, why_unknown="" if math.isfinite(value) else "no answer",
    )  # fmt: skip


def stored(path, rows):
    history = History({item.key for item in rows}, path=path)
    for item in rows:
        history.append([item])
    history.flush()
    history.close()
    return path


def read(path, columns=LIVE, look_back_s=86_400.0):
    return with_stored_prices(
        columns, HistoryPlace(path=path), ["ETH", "BTC"], now_s=NOW_S, look_back_s=look_back_s
    )


def test_rows_of_a_run_come_before_what_is_live(tmp_path):
    rows = [row(NOW_S - 7_200.0, 1_900.0), row(NOW_S - 3_600.0, math.nan), row(NOW_S - 60.0, 1_999.0)]
    path = stored(tmp_path / "h.sqlite", [*rows, row(NOW_S - 90.0, 1.0, key=TWAP)])
    found = read(path)
    np.testing.assert_array_equal(found[FEED].times_s, [NOW_S - 7_200.0, NOW_S - 3_600.0, NOW_S - 60.0])
    np.testing.assert_array_equal(found[FEED].values, [1_900.0, math.nan, 2_000.0])
    assert found[TWAP] is LIVE[TWAP], "only the first source of a price is looked back on"


def test_a_row_that_another_one_replaced_is_not_read(tmp_path):
    path = stored(
        tmp_path / "h.sqlite",
        [
            row(NOW_S - 900.0, 1.0, block=5),
            row(NOW_S - 800.0, 2.0, block=6),
            row(NOW_S - 850.0, 3.0, block=6),
        ],
    )
    np.testing.assert_array_equal(read(path)[FEED].values, [1.0, 3.0, 2_000.0])


def test_rows_too_old_and_of_a_time_to_come_stay_out(tmp_path):
    rows = [row(NOW_S - 90_000.0, 1.0), row(NOW_S - 5_000.0, 2.0), row(NOW_S + 500.0, 3.0)]
    empty = Columns(series={FEED: Column(times_s=np.empty(0), values=np.empty(0))})
    np.testing.assert_array_equal(read(stored(tmp_path / "h.sqlite", rows), empty)[FEED].values, [2.0])


def test_without_a_file_nothing_is_made(tmp_path):
    assert read(tmp_path / "h.sqlite") is LIVE
    assert list(tmp_path.iterdir()) == []


def test_the_file_stays_as_it_is_also_while_a_run_has_it_open(tmp_path):
    path = tmp_path / "h.sqlite"
    history = History([FEED], path=path)
    history.append([row(NOW_S - 900.0, 1.0)])
    history.flush()
    before = path.read_bytes()
    assert read(path)[FEED].values[0] == 1.0
    assert path.read_bytes() == before
    history.append([row(NOW_S - 800.0, 2.0, block=2)])
    history.flush()
    history.close()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT COUNT(*) FROM observation").fetchone() == (2,)


def test_a_file_that_is_no_history_is_refused_by_name(tmp_path):
    path = tmp_path / "h.sqlite"
    path.write_text("not a database, but long enough to be looked at as one")
    with pytest.raises(ConfigError, match=r"h\.sqlite cannot be used"):
        read(path)
