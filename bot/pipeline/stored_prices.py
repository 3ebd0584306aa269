"""Past prices from the history of a run, for who only looks: nothing of it is changed or created."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import sqlalchemy as sa

from bot.errors import ConfigError
from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.pipeline.databases import reason
from bot.pipeline.history_place import HistoryPlace

_ROWS = sa.text(
    "SELECT observed_at_s, value FROM observation JOIN series ON series.id = series_id WHERE "
    "metric = :metric AND subject = :subject AND source = :source AND observed_at_s > :from_s "
    "AND observed_at_s < :until_s AND superseded = 0 ORDER BY observed_at_s, observation.id"
)


def with_stored_prices(
    columns: Columns, place: HistoryPlace, underlyings: Sequence[str], *, now_s: float, look_back_s: float
) -> Columns:
    """Return the columns with what a history knows of the first price source of each underlying before them.

    Without a history they are as they were. Raises ConfigError for one that cannot be read.
    """
    keys = [key for name in underlyings for key in columns.find(Metric.PRICE_USD, name)[:1]]
    try:
        engine = place.open_reader()
        if engine is None:
            return columns
        try:
            with engine.connect() as connection:
                found = {key: _before(connection, key, columns[key], now_s, look_back_s) for key in keys}
        finally:
            engine.dispose()
    except sa.exc.DBAPIError as error:
        why = reason(error)
        raise ConfigError(
            f"prices of {place.name} cannot be read: {why}; past prices are left out"
        ) from error
    except ConfigError as error:
        raise ConfigError(f"prices cannot be read: {error}; past prices are left out") from error
    return replace(columns, series={**columns.series, **found})


def _before(
    connection: sa.Connection, key: SeriesKey, column: Column, now_s: float, look_back_s: float
) -> Column:
    """Return the stored rows that are older than the column's, then the column's."""
    until_s = float(column.times_s[0]) if column.times_s.size else math.nextafter(now_s, math.inf)
    terms = {
        "metric": key.metric.value,
        "subject": key.subject,
        "source": key.source,
        "from_s": now_s - look_back_s,
        "until_s": min(until_s, now_s),
    }
    rows = connection.execute(_ROWS, terms).fetchall()
    times_s = np.array([row[0] for row in rows], dtype=np.float64)
    values: FloatArray = np.array([math.nan if row[1] is None else row[1] for row in rows], dtype=np.float64)
    last = np.ones(times_s.size, dtype=np.bool_)  # of several rows of one time the newest
    last[:-1] = times_s[1:] != times_s[:-1]
    return Column(
        times_s=np.concatenate([times_s[last], column.times_s]),
        values=np.concatenate([values[last], column.values]),
        memo={},
    )
