"""A scenario's made-up history as rows that a history store takes."""

from collections.abc import Mapping

from bot.model.market import Observation, SeriesKey
from bot.model.units import HOUR_S
from bot.simulation.stress.description import Scenario
from bot.simulation.stress.history import HISTORY_DAYS, history_values


def history(
    scenario: Scenario,
    seed: int,
    *,
    levels: Mapping[SeriesKey, float],
    end_s: int,
    days: int = HISTORY_DAYS,
) -> list[Observation]:
    """Return hourly rows of every series in ``levels``, oldest first, the newest one hour before ``end_s``.

    ``levels`` is what the watchers read at ``end_s``; a level that is unknown raises InvariantError.
    """
    rows = []
    for key, values in history_values(scenario, seed, levels=levels, days=days).items():
        times_s = range(end_s - values.size * HOUR_S, end_s, HOUR_S)
        rows += [_row(key, value, at_s) for value, at_s in zip(values.tolist(), times_s, strict=True)]
    return sorted(rows, key=lambda row: row.observed_at_s)  # stable: keys stay in order within an hour


def _row(key: SeriesKey, value: float, at_s: int) -> Observation:
    return Observation(
        metric=key.metric,
        subject=key.subject,
        source=key.source,
        value=value,
        observed_at_s=float(at_s),
        read_at_s=float(at_s),
    )
