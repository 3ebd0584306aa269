"""Seeded noise that scenarios and their histories are made of. Pure, the same on every machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bot.errors import ConfigError

FloatPath: TypeAlias = NDArray[np.float64]
Knots: TypeAlias = Mapping[int, float]  # hour -> value, ascending, first hour 0

_STEADY_HOURS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """How far a walk may run: so many consecutive ``hours`` add up to at most ``run`` hourly sigmas."""

    hours: int
    run: float


STEADY = Steadiness(hours=_STEADY_HOURS, run=3.2)
# Momentum (RSI, MACD of price) reads every few hours' run: with this it hardly leaves its middle.
PLACID = Steadiness(hours=3, run=0.6)
STEADINESS = {"steady": STEADY, "placid": PLACID}
_REVERSION = 0.08  # of an hour: half of a deviation is gone after about 8 hours


def generator(seed: int, *, stream: int) -> np.random.Generator:
    """Return PCG64 for a seed; streams keep apart what shares the seed. ConfigError where seed < 0."""
    if seed < 0:
        raise ConfigError(f"seed must be an integer >= 0, was {seed}")
    return np.random.Generator(np.random.PCG64([seed, stream]))


def curve(knots: Knots, hours: int) -> FloatPath:
    """Return the hourly curve that is straight between the knots."""
    return np.interp(np.arange(hours + 1, dtype=np.float64), list(knots), list(knots.values()))


def bridge(random: np.random.Generator, knots: Knots, sigma: FloatPath) -> FloatPath:
    """Return Brownian noise with ``sigma[i]`` in hour i that is zero at every knot."""
    hours = len(sigma)
    steps = np.clip(random.standard_normal(hours), -2.5, 2.5) * sigma
    walk = np.concatenate(([0.0], np.cumsum(steps)))
    pinned = [hour for hour in knots if hour <= hours]
    return np.asarray(walk - np.interp(np.arange(hours + 1), pinned, walk[pinned]))


def steady_bridge(
    random: np.random.Generator,
    hours: int,
    *,
    sigma: float,
    max_excursion: float,
    max_day: float = np.inf,
    steadiness: Steadiness = STEADY,
) -> FloatPath:
    """Return a walk from 0 to 0 that realises the same ``sigma`` an hour in every half-day.

    So no clustering of vol, and hardly a run (``steadiness``), comes from chance alone. A walk that strays
    further than ``max_excursion``, or moves more than ``max_day`` in 24 hours, is scaled down to it.
    ``hours`` > 24.
    """
    shocks = np.clip(random.standard_normal(hours), -2.5, 2.5)
    for start in range(0, hours, steadiness.hours):
        block = shocks[start : start + steadiness.hours]
        total = float(block.sum())
        block -= (total - min(max(total, -steadiness.run), steadiness.run)) / len(block)
    for start in range(0, hours, _STEADY_HOURS):
        block = shocks[start : start + _STEADY_HOURS]
        block *= sigma / float(np.sqrt(np.mean(block**2)))
    walk = np.concatenate(([0.0], np.cumsum(shocks)))
    walk -= walk[-1] * np.linspace(0.0, 1.0, hours + 1)
    furthest, fastest = float(np.abs(walk).max()), float(np.abs(walk[24:] - walk[:-24]).max())
    return np.asarray(walk * min(1.0, max_excursion / furthest, max_day / fastest))


def ornstein_uhlenbeck(
    random: np.random.Generator, hours: int, *, sigma: float, bound: float, start: float | None = None
) -> FloatPath:
    """Return mean-reverting noise around 0 with standing deviation ``sigma``, held within ``bound`` of them.

    ``start`` is its first value; None draws it.
    """
    shocks = random.standard_normal(hours + 1)
    kick = sigma * float(np.sqrt(1.0 - (1.0 - _REVERSION) ** 2))
    path = np.empty(hours + 1)
    path[0] = sigma * shocks[0] if start is None else start
    for hour in range(1, hours + 1):
        path[hour] = (1.0 - _REVERSION) * path[hour - 1] + kick * shocks[hour]
    return np.clip(path, -bound * sigma, bound * sigma)
