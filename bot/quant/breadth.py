"""Breadth of a market: the advance-decline line over the closed bars of many subjects (S16).

Subjects have holes and come and go, so each bar counts the share of the known subjects that rose less the
share that fell, in place of their numbers; else a line would move because a source joined.
"""

import math
from dataclasses import dataclass

import numpy as np

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant.indicators import Divergence, divergence
from bot.quant.statistics import COVERAGE
from bot.quant.volatility import after_last_long_hole, least_known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Breadth:
    """The advance-decline line, one element per bar."""

    net: FloatArray  # (rising - falling) / known, in [-1, 1]; NaN when under ``coverage`` of them is known
    line: FloatArray  # sum of net since the last long hole; NaN where net is, and before that hole
    known: FloatArray  # subjects with a return in each bar
    coverage: float  # bars with a line, as a share of the bars that can have a return


@dataclass(frozen=True, slots=True, kw_only=True)
class BreadthDivergence:
    """Whether breadth confirms price over two adjoining stretches of bars."""

    kind: Divergence | None  # None: not known over both stretches
    gap: float  # in [-1, 1]: place of price in its range less that of the line; 1 is price high, breadth low


def advance_decline(
    closes: FloatArray, *, dead_band: float = 0.0, coverage: float = COVERAGE, max_hole_bars: int = 36
) -> Breadth:
    """Return the breadth of ``closes`` [subject, bar], oldest bar first, NaN missing.

    A subject rises or falls when its log return leaves +-``dead_band``; no return crosses a missing bar.
    Bars without enough subjects are skipped; more than ``max_hole_bars`` of them in a row restart the line.
    """
    if closes.ndim != 2 or not dead_band >= 0.0:
        raise InvariantError(
            f"breadth needs closes [subject, bar] and a dead band >= 0, were {closes.shape} and {dead_band}"
        )
    subjects, bars = closes.shape
    prices = np.log(np.where(closes > 0.0, closes, np.nan))
    moves = np.full(closes.shape, np.nan)
    moves[:, 1:] = np.diff(prices, axis=1)
    known = np.isfinite(moves).sum(axis=0).astype(np.float64)
    rising, falling = (moves > dead_band).sum(axis=0), (moves < -dead_band).sum(axis=0)
    enough = (known > 0) & (known >= least_known(subjects, coverage=coverage))
    net = np.where(enough, (rising - falling) / np.maximum(known, 1.0), np.nan)
    line = _line(net, max_hole_bars=max_hole_bars)
    share = float(np.isfinite(line).sum() / (bars - 1)) if bars > 1 else 0.0
    return Breadth(net=net, line=line, known=known, coverage=share)


def breadth_divergence(close: FloatArray, line: FloatArray, *, bars: int) -> BreadthDivergence:
    """Compare the last ``bars`` bars with the ``bars`` before: does breadth follow the extremes of price?

    ``close`` and ``line`` share their bars; those where either is missing are left out. Unknown (None, NaN)
    when fewer than 2 ``bars`` remain.
    """
    if close.shape != line.shape or bars < 1:
        raise InvariantError(
            f"breadth divergence needs arrays of one length and bars >= 1; "
            f"were {close.shape}, {line.shape}, {bars}"
        )
    known = np.isfinite(close) & np.isfinite(line)
    price, breadth = close[known][-2 * bars :], line[known][-2 * bars :]
    if price.size < 2 * bars:
        return BreadthDivergence(kind=None, gap=math.nan)
    gap = _place(price) - _place(breadth)
    return BreadthDivergence(kind=divergence(price, breadth, bars=bars), gap=round(gap, 9))


def _line(net: FloatArray, *, max_hole_bars: int) -> FloatArray:
    out = np.full(net.shape, np.nan)
    recent = after_last_long_hole(net, max_hole_bars=max_hole_bars)
    known = np.isfinite(recent)
    out[net.size - recent.size :][known] = np.cumsum(recent[known])
    return out


def _place(values: FloatArray) -> float:
    """Return where the last value lies between the least (0) and the greatest (1); 0.5 in a flat range."""
    low, high = float(values.min()), float(values.max())
    return (float(values[-1]) - low) / (high - low) if high > low else 0.5
