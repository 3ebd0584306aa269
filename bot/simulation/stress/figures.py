"""Measures of a path that calibration figures name."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from bot.model.market import FloatArray
from bot.simulation.metrics import deepest_fall, max_drawdown
from bot.simulation.stress.description import Figure
from bot.simulation.stress.paths import Paths

HOURS_A_YEAR = 8_760
_DAY_H = 24

Measure = Callable[[FloatArray, int], float]  # values on the grid of steps, steps an hour


def measured(figure: Figure, paths: Paths) -> float:
    """Return what a figure comes to on the paths of a seed."""
    return MEASURES[figure.name](paths[figure.path], paths.scenario.steps_an_hour)


def is_met(figure: Figure, paths: Paths) -> bool:
    return abs(measured(figure, paths) - figure.value) <= figure.tolerance


def _fall_hours(values: FloatArray, parts: int) -> float:
    found = deepest_fall(values)
    return (found[1] - found[0]) / parts if found else 0.0


def _collapse_hours(values: FloatArray, parts: int) -> float:
    """Return the hours from the last 99 % of the first point to the first 1 % of it; NaN where none comes."""
    gone = np.flatnonzero(values <= 0.01 * values[0])
    whole = np.flatnonzero(values >= 0.99 * values[0])
    return float(gone[0] - whole[-1]) / parts if gone.size and whole.size else math.nan


def _changes(values: FloatArray, span: int) -> FloatArray:
    """Return the change over every so many steps, fraction; NaN for a path that is shorter."""
    return values[span:] / values[:-span] - 1.0 if values.size > span else np.array([math.nan])


def _realised(values: FloatArray, parts: int) -> float:
    if values.min() <= 0.0:
        return math.nan
    return float(np.diff(np.log(values[::parts])).std() * HOURS_A_YEAR**0.5)


MEASURES: Mapping[str, Measure] = {
    "drawdown": lambda values, _: max_drawdown(values),  # fraction, deepest fall from a peak
    "fall_hours": _fall_hours,  # from that peak to its low
    "collapse_hours": _collapse_hours,  # until all but 1 % of the first point is gone
    "worst_hour": lambda values, parts: float(_changes(values[::parts], 1).min()),  # of hourly closes, < 0
    "worst_day": lambda values, parts: float(_changes(values, _DAY_H * parts).min()),  # < 0
    "worst_two_days": lambda values, parts: float(_changes(values, 2 * _DAY_H * parts).min()),
    "best_hour": lambda values, parts: float(_changes(values[::parts], 1).max()),
    "best_day": lambda values, parts: float(_changes(values, _DAY_H * parts).max()),
    "rise": lambda values, _: float(values.max() / values[0] - 1.0),  # from the first point, fraction
    "realised_vol": _realised,  # of hourly log returns, fraction a year
    "first": lambda values, _: float(values[0]),
    "last": lambda values, _: float(values[-1]),
    "least": lambda values, _: float(values.min()),
    "most": lambda values, _: float(values.max()),
}
