"""Daily returns of a history, for paths that are drawn from it in blocks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.model.units import DAY_S
from bot.quant.bars import closed_bars
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import price_file
from bot.simulation.monte_carlo import path_tiles as path
from bot.simulation.monte_carlo.model import PathModel
from bot.simulation.monte_carlo.numbers import PathNumbers, Replay, reversion_of

LEAST_DAYS = 250  # as R8 asks of a history
_WARM_UP = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DailyHistory:
    """Log returns of days in a row, of several assets on the same days; no return crosses a missing day."""

    assets: tuple[str, ...]
    times_s: FloatArray  # end of each day
    returns: FloatArray  # [asset, day]

    def stretches(self) -> list[slice]:
        """Return the runs of days that follow each other."""
        cuts = (np.flatnonzero(np.diff(self.times_s) > 1.5 * DAY_S) + 1).tolist()
        edges = [0, *cuts, self.times_s.size]
        return [slice(first, last) for first, last in pairwise(edges)]


def read_daily(data: Path, assets: Sequence[str], *, since_s: float = -math.inf) -> DailyHistory:
    """Return the days on which all assets have a return. Raises ConfigError with fewer than 250 of them."""
    found = [_daily(data, asset, since_s) for asset in assets]
    first = max(float(times[0]) for times, _ in found)
    last = min(float(times[-1]) for times, _ in found)
    days = np.arange(first, last + 1.0, DAY_S)
    closes = np.array([_on_days(times, values, days) for times, values in found])
    returns = np.diff(np.log(closes), axis=1)
    known = np.isfinite(returns).all(axis=0)
    if np.count_nonzero(known) < LEAST_DAYS:
        raise ConfigError(
            f"{data} has {np.count_nonzero(known)} daily returns of {' and '.join(assets)}; the bootstrap "
            f"needs "
            f"{LEAST_DAYS}, give a folder with more history"
        )
    return DailyHistory(assets=tuple(assets), times_s=days[1:][known], returns=returns[:, known])


def _daily(data: Path, asset: str, since_s: float) -> tuple[FloatArray, FloatArray]:
    """Return (end of day, close) of every whole day of the price file, NaN for a day without rows."""
    price = price_file(data, parse_exposure(f"v2:{asset}/USDC:1")).since(since_s)
    if not price.times_s.size:
        raise ConfigError(f"{data} has no price of {asset} in that time; give a folder with its hourly file")
    now_s = float(price.times_s[-1])
    count = int((now_s - float(price.times_s[0])) // DAY_S) + 1
    bars = closed_bars(price, bar_s=DAY_S, now_s=now_s, count=count)
    end_s = np.floor(now_s / DAY_S) * DAY_S
    return end_s - DAY_S * np.arange(bars.close.size - 1, -1, -1.0), bars.close


def _on_days(times_s: FloatArray, values: FloatArray, days: FloatArray) -> FloatArray:
    place = np.searchsorted(times_s, days)
    inside = np.minimum(place, times_s.size - 1)
    return np.where(times_s[inside] == days, values[inside], np.nan)


def replay_of(
    history: DailyHistory, numbers: PathNumbers, model: PathModel, names: Sequence[str]
) -> tuple[Replay, PathNumbers]:
    """Return the history as the kernels draw from it, and numbers whose implied vol follows its variance.

    Returns are shifted so that the mean of exp(return) is that of the model's drift: a past rise is no
    promise.
    """
    decay = model.bootstrap.vol_decay
    rows = [history.returns[history.assets.index(name)] for name in names]
    years = 1.0 / 365.0
    shifted = [
        row - np.log(np.mean(np.exp(row))) + model.assets[name].drift * years
        for row, name in zip(rows, names, strict=True)
    ]
    stretches = history.stretches()
    variances = [_ewma(row, stretches, decay) for row in shifted]
    successors = np.arange(1, history.times_s.size + 1, dtype=np.int64)
    successors[[part.stop - 1 for part in stretches]] = -1
    assets = numbers.assets.copy()
    for row, returns, name in zip(assets, shifted, names, strict=True):
        premium, mean = model.assets[name].implied_over_realised ** 2, float(np.mean(returns**2)) / years
        share = reversion_of(30.0, model.assets[name].vol_half_life_days)
        row[path.IV_BASE], row[path.IV_SLOPE] = premium * mean * (1.0 - share), premium * share
        row[path.SLOW_MEAN] = np.sqrt(premium * mean)
    made = Replay(
        returns=np.array(shifted, np.float32),
        variances=np.array(variances, np.float32),
        successors=successors,
        restart=np.float32(1.0 / model.bootstrap.block_days),
        decay=np.float32(decay),
    )
    return made, replace(numbers, assets=assets)


def _ewma(returns: FloatArray, stretches: Sequence[slice], decay: float) -> FloatArray:
    """Return the EWMA variance a year after each day, each stretch from its first days' mean."""
    found = np.empty_like(returns)
    for part in stretches:
        own = returns[part] ** 2 * 365.0
        level = float(own[:_WARM_UP].mean())
        for at, square in enumerate(own.tolist()):
            level = decay * level + (1.0 - decay) * square
            found[part.start + at] = level
    return found
