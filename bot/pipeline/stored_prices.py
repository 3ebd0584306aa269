"""Past prices from the history file of a run, for who only looks: nothing of it is changed or created."""

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from bot.errors import ConfigError
from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey

_WAIT_S = 1.0  # for a run that is writing
_ROWS = (
    "SELECT observed_at_s, value FROM observation JOIN series ON series.id = series_id WHERE metric = ? AND "
    "subject = ? AND source = ? AND observed_at_s > ? AND observed_at_s < ? AND superseded = 0 "
    "ORDER BY observed_at_s, observation.id"
)


def with_stored_prices(
    columns: Columns, path: Path, underlyings: Sequence[str], *, now_s: float, look_back_s: float
) -> Columns:
    """Return the columns with what the file knows of the first price source of each underlying before them.

    Without a file they are as they were. Raises ConfigError for a file that cannot be read.
    """
    if not path.is_file():
        return columns
    keys = [key for name in underlyings for key in columns.find(Metric.PRICE_USD, name)[:1]]
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
        ) as file:
            found = {key: _before(file, key, columns[key], now_s, look_back_s) for key in keys}
    except sqlite3.Error as error:
        raise ConfigError(f"prices of {path} cannot be read: {error}; past prices are left out") from error
    return replace(columns, series={**columns.series, **found})


def _before(
    file: sqlite3.Connection, key: SeriesKey, column: Column, now_s: float, look_back_s: float
) -> Column:
    """Return the stored rows that are older than the column's, then the column's."""
    until_s = float(column.times_s[0]) if column.times_s.size else math.nextafter(now_s, math.inf)
    terms = (key.metric.value, key.subject, key.source, now_s - look_back_s, min(until_s, now_s))
    rows = file.execute(_ROWS, terms).fetchall()
    times_s = np.array([row[0] for row in rows], dtype=np.float64)
    values: FloatArray = np.array([math.nan if row[1] is None else row[1] for row in rows], dtype=np.float64)
    last = np.ones(times_s.size, dtype=np.bool_)  # of several rows of one time the newest
    last[:-1] = times_s[1:] != times_s[:-1]
    return Column(
        times_s=np.concatenate([times_s[last], column.times_s]),
        values=np.concatenate([values[last], column.values]),
        memo={},
    )
