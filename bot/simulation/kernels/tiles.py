"""A tile: a few steps of the history in one flat array that fits the fastest cache, and their bounds.

Within a tile flags and shape do not change and no hole lies but before its first step. A row of it is
``ROOM`` long: reads go on for less than a group past its last step. Where the least and the most of a row
settle that nothing can happen to a lane, none of its steps is looked at.
"""

from typing import NamedTuple

import numpy as np

from bot.simulation.kernels.bundles import History
from bot.simulation.kernels.compiling import Floats, jitable
from bot.simulation.kernels.layout import (
    ACCRUES,
    FAST_CEILING,
    FAST_MEAN,
    FEES_UNCOLLECTED_USD,
    HOLD,
    INTEGRAL,
    LONE_SHIFT,
    RATE,
    SCORE,
    SPOT_USD,
    THIRD,
)
from bot.simulation.kernels.lp_steps import lp_delta, lp_value

STEPS = 64  # of a tile, at most
GROUP = 8  # steps that are looked at together: a vector
ROOM = STEPS + GROUP
RESTING_ROWS = 6  # the families' three scores, the third score that counts, the fast path's two
(
    NOW_S,
    MARK_USD,
    FEES_USD,
    PAID,
    ACCRUED,
    STRESS,
    OPEN_RATE,  # what funding something may be opened at; -inf: nothing may be
    VALUE_USD,  # of the position, without fees
    DELTA,
    GAINED_USD,  # by one lane: scratch
) = range(RESTING_ROWS, RESTING_ROWS + 10)
_ROWS = GAINED_USD + 1
LOW, HIGH = _ROWS * ROOM, _ROWS * ROOM + _ROWS  # of each row
HAS_VALUES = HIGH + _ROWS  # 1: the position's value is filled
HAS_ACCOUNTS = HAS_VALUES + 1  # 1: so is what a position that is open looks at
SIZE = HAS_ACCOUNTS + 1  # of all cells

_ALL_BUT_SIGN = 2**63 - 1


class Tile(NamedTuple):
    """Steps of the history, ``steps`` of them from ``begin`` on."""

    cells: Floats
    begin: int
    steps: int


@jitable
def end_of_tile(history: History, begin: int) -> int:
    """Return the step before which a tile from ``begin`` ends."""
    end = min(begin + STEPS, history.times_s.size)
    for start in history.shape_from:
        if begin < start < end:
            end = start
    flags, times_s, hole_s = history.flags[begin:end], history.times_s[begin:end], history.hole_s
    first, breaks = flags[0], 0
    for i in range(1, flags.size):
        breaks += 1 if (flags[i] != first) | (times_s[i] - times_s[i - 1] > hole_s) else 0
    if breaks:
        for i in range(1, flags.size):
            if flags[i] != first or times_s[i] - times_s[i - 1] > hole_s:
                return begin + i
    return end


@jitable
def fill_tile(tile: Tile, history: History) -> None:
    """Read the scores, and of a market the price and the fees."""
    cells, scores, market = tile.cells, history.scores, history.market
    third = THIRD + max(((history.flags[tile.begin] >> LONE_SHIFT) & 3) - 1, 0)
    take_row(tile, 0, scores[SCORE])
    take_row(tile, 1, scores[SCORE + 1])
    take_row(tile, 2, scores[SCORE + 2])
    take_row(tile, 3, scores[third])
    take_row(tile, 4, scores[FAST_MEAN])
    take_row(tile, 5, scores[FAST_CEILING])
    take_row(tile, NOW_S, history.times_s)
    cells[HAS_VALUES] = cells[HAS_ACCOUNTS] = 0.0
    if market.shape[1]:
        take_row(tile, MARK_USD, market[SPOT_USD])
        take_row(tile, FEES_USD, market[FEES_UNCOLLECTED_USD])
        cells[LOW + VALUE_USD] = lp_value(history.terms, cells[LOW + MARK_USD])
        cells[HIGH + VALUE_USD] = lp_value(history.terms, cells[HIGH + MARK_USD])


@jitable
def fill_values(tile: Tile, history: History) -> None:
    """Work out the position's value at every step of the tile, once."""
    cells = tile.cells
    if cells[HAS_VALUES] == 0.0:
        cells[HAS_VALUES] = 1.0
        for i in range(tile.steps):
            cells[VALUE_USD * ROOM + i] = lp_value(history.terms, cells[MARK_USD * ROOM + i])


@jitable
def fill_accounts(tile: Tile, history: History) -> None:
    """Read what a position that is open looks at, once a tile."""
    cells, market = tile.cells, history.market
    if cells[HAS_ACCOUNTS] == 1.0:
        return
    cells[HAS_ACCOUNTS] = 1.0
    take_row(tile, PAID, market[INTEGRAL])
    take_row(tile, ACCRUED, market[ACCRUES])
    take_row(tile, STRESS, history.stress)
    take_row(tile, OPEN_RATE, market[RATE])
    fill_values(tile, history)
    if history.flags[tile.begin] & HOLD:
        for i in range(tile.steps):
            cells[OPEN_RATE * ROOM + i] = -np.inf
        cells[LOW + OPEN_RATE] = cells[HIGH + OPEN_RATE] = -np.inf
    for i in range(tile.steps):
        cells[DELTA * ROOM + i] = lp_delta(history.terms, cells[MARK_USD * ROOM + i])
    cells[LOW + DELTA] = lp_delta(history.terms, cells[HIGH + MARK_USD])
    cells[HIGH + DELTA] = lp_delta(history.terms, cells[LOW + MARK_USD])


@jitable
def take_row(tile: Tile, row: int, values: Floats) -> None:
    """Copy a row's steps and write down its bounds; one with a NaN has a bound that is NaN."""
    part, kept = values[tile.begin : tile.begin + tile.steps], tile.cells[row * ROOM : (row + 1) * ROOM]
    low = high = in_order(part[0])
    for i in range(part.size):
        value = part[i]
        kept[i] = value
        key = in_order(value)
        low = key if key < low else low
        high = key if key > high else high
    tile.cells[LOW + row], tile.cells[HIGH + row] = out_of_order(low), out_of_order(high)


@jitable
def in_order(value: np.float64) -> np.int64:
    """Return a whole number that orders as the float does, NaN beyond either end.

    Unlike floats such numbers may be compared in any order, so that the compiler takes eight at a time.
    """
    key = np.float64(value).view(np.int64)
    return key ^ ((key >> 63) & _ALL_BUT_SIGN)


@jitable
def out_of_order(key: np.int64) -> np.float64:
    """Return the float that ``in_order`` made a number of."""
    return np.int64(key ^ ((key >> 63) & _ALL_BUT_SIGN)).view(np.float64)
