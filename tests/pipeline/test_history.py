"""The store of observations: append-only, ordered, the same after a restart."""

import math

import numpy as np
import pytest
from pipeline_builders import START_S, price

from bot.errors import ConfigError
from bot.model.market import Metric, SeriesKey
from bot.pipeline.history import History, gaps

KEY = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")


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
    history.append([price(START_S + i, float(i)) for i in range(5)])
    before = history.columns()[KEY]
    history.append([price(START_S + 3, 30.0)])  # the block at 3 was replaced, and 4 is gone
    history.append([price(START_S + 5, 50.0)])
    assert history.columns()[KEY].values.tolist() == [0.0, 1.0, 2.0, 30.0, 50.0]
    assert before.values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0], "a frame that was cut does not change"
    history.close()
    again = History([KEY], path=tmp_path / "history.sqlite")
    assert again.columns()[KEY].values.tolist() == [0.0, 1.0, 2.0, 30.0, 50.0]
    again.close()


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


def test_gaps_are_named():
    history = History([KEY])
    history.append([price(START_S + 3600 * i, 1.0) for i in (0, 1, 2, 5, 6)])
    assert gaps(history.columns()[KEY], interval_s=3600) == [(START_S + 7200, START_S + 18000)]


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path):
    path = tmp_path / "history.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match=r"history\.sqlite.*not a database"):
        History([KEY], path=path)
