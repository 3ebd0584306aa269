"""Compiled loops of ``option_kernels``: importing this module costs numba's import.

Options are taken in tiles that stay in the cache. In a tile every option goes through the same arithmetic
without a branch, so that the compiler does eight at a time, and a shorter last tile is filled up: an option
has the same bits in every array. Exponential, logarithm and the Mills ratio N(-y) / n(y) are polynomials
fitted to the rounding of float64. NaN marks what the plain twin must work out.

Value and first greeks follow ``option_core``. The vol is found by Householder steps of third order on the log
of the out-of-the-money value, from the inflection point at a total vol of sqrt(2 |log moneyness|).
"""

import math
from typing import Any

import numba
import numpy as np

from bot.model.market import FloatArray
from bot.quant.vector_math import compiled_kernel, fast_exp, fast_log_ratio, fast_mills_pair

_TILE = 128  # options: the working set of a tile stays in the nearest cache
_TILES_PER_TASK = 16
_MOST_STEPS = 6  # 3 or 4 do; each raises the error to about its fourth power
_SETTLED = 1e-3  # relative last step: what is left after it is some 1e-13
_SMALL_TOTAL = 0.05
_FURTHEST_SQUARE = 1380.0  # of 37.1 standard deviations, where the density is next to the end of float64
_LEAST_VALUE = 1e-280  # of the smaller leg, under which the twin looks for the vol
_NEAR_BOUND = 1e-6  # of the smaller leg: nearer to its upper bound a price says little about the vol
_TIME_VALUE_FLOOR = 64.0 * float(np.finfo(np.float64).eps)  # of the larger leg, under which the twin judges

_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


@compiled_kernel(inline="always")
def _parts(leg: float, centre: float, total: float) -> tuple[float, float, float, float, bool]:
    """Return leg x n(h + t), the time value, larger leg x N(h - t), leg x N(-h - t), and whether in range.

    ``leg`` is the smaller one, h the centre.
    """
    half = 0.5 * total
    upper = centre + half
    is_small = total < _SMALL_TOTAL
    weight = _INV_SQRT_2PI * leg * fast_exp(-0.5 * (upper * upper))
    near, far = fast_mills_pair(-centre if is_small else abs(upper), half - centre)
    slope = 1.0 + centre * near
    second = (centre * slope + near) * (1 / 2)
    third = (centre * second + slope) * (1 / 3)
    fourth = (centre * third + second) * (1 / 4)
    fifth = (centre * fourth + third) * (1 / 5)
    sixth = (centre * fifth + fourth) * (1 / 6)
    seventh = (centre * sixth + fifth) * (1 / 7)
    square = half * half
    series = total * (slope + square * (third + square * (fifth + square * seventh)))
    lower_part = weight * far
    upper_part = leg - weight * near if upper > 0.0 else weight * near
    is_direct = (upper > 0.0) & (total >= _SMALL_TOTAL)
    time_value = weight * series if is_small else upper_part - lower_part
    upper_rest = weight * near if is_direct else leg - (lower_part + time_value)
    return weight, time_value, lower_part, upper_rest, upper * upper < _FURTHEST_SQUARE


@compiled_kernel(inline="always")
def _regular(spot: float, strike: float, years: float, total: float, rate: float, growth: float) -> bool:
    """Say whether the tile's arithmetic holds; false for NaN."""
    return (
        (min(spot, strike) > 1e-90)
        & (max(spot, strike) < 1e90)
        & (years > 1e-12)
        & (years < 1e6)
        & (abs(rate) * years < 50.0)
        & (abs(growth) * years < 50.0)
        & (total > 1e-9)
        & (total < 16.0)
    )


@compiled_kernel(inline="always")
def _option(
    spot: float,
    strike: float,
    years: float,
    vol: float,
    sign: float,
    rate: float,
    growth: float,
    pays: bool,
) -> tuple[float, float, float, float, float, float]:
    """Return price, delta, gamma, vega, theta and rho; the price of one that is not regular is NaN."""
    asset = spot * fast_exp(-growth * years) if pays else spot
    cash = strike * fast_exp(-rate * years)
    moneyness = fast_log_ratio(spot, strike) + (rate - growth) * years
    root = math.sqrt(years)
    total = vol * root
    inverse = 1.0 / (total * spot)  # one division for both
    per_total, per_spot = inverse * spot, inverse * total
    is_below = moneyness <= 0.0
    leg = asset if is_below else cash
    weight, time_value, lower, rest, is_in_range = _parts(leg, -abs(moneyness) * per_total, total)
    upper = lower + time_value
    is_inside = is_below == (sign < 0.0)
    # asset x N(d1) and cash x N(d2) of a call, of a put asset x N(-d1) and cash x N(-d2).
    held = (rest if is_below else asset - lower) if is_inside else (upper if is_below else lower)
    owed = (cash - lower if is_below else rest) if is_inside else (lower if is_below else upper)
    price = time_value + sign * (asset - cash) if is_inside else time_value
    is_known = is_in_range & _regular(spot, strike, years, total, rate, growth)
    return (
        price if is_known else math.nan,
        sign * held * per_spot,
        weight * inverse * per_spot,
        weight * root,
        sign * (growth * held - rate * owed) - 0.5 * weight * vol * vol * per_total,
        sign * years * owed,
    )


@compiled_kernel()
def _row(tile: FloatArray, row: int) -> FloatArray:
    return tile[row * _TILE : (row + 1) * _TILE]


@compiled_kernel()
def _fill(values: FloatArray, row: FloatArray) -> None:
    """Write what is the same for all options into a row, once for all tiles."""
    if values.size == 1:
        for index in range(_TILE):
            row[index] = values[0]


@compiled_kernel()
def _load(values: FloatArray, start: int, count: int, row: FloatArray) -> None:
    """Copy ``count`` values that differ from option to option into a row; an unfilled rest is NaN."""
    if values.size > 1:
        part = values[start : start + count]
        for index in range(part.size):
            row[index] = part[index]
        for index in range(count, _TILE):
            row[index] = math.nan


@compiled_kernel()
def _new_tile(rows: int, a: Any, b: Any, c: Any, d: Any, is_put: Any, rate: Any, growth: Any) -> FloatArray:
    """Return a tile whose rows 0-6 hold those inputs that are the same for all options."""
    tile = np.empty(rows * _TILE)
    _fill(a, _row(tile, 0))
    _fill(b, _row(tile, 1))
    _fill(c, _row(tile, 2))
    _fill(d, _row(tile, 3))
    _fill(is_put, _row(tile, 4))
    _fill(rate, _row(tile, 5))
    _fill(growth, _row(tile, 6))
    return tile


@compiled_kernel()
def _load_all(
    tile: FloatArray,
    start: int,
    count: int,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    is_put: Any,
    rate: Any,
    growth: Any,
) -> None:
    """Copy the other inputs of ``count`` options into rows 0-6."""
    _load(a, start, count, _row(tile, 0))
    _load(b, start, count, _row(tile, 1))
    _load(c, start, count, _row(tile, 2))
    _load(d, start, count, _row(tile, 3))
    _load(is_put, start, count, _row(tile, 4))
    _load(rate, start, count, _row(tile, 5))
    _load(growth, start, count, _row(tile, 6))


@compiled_kernel()
def _store(row: FloatArray, out: FloatArray) -> None:
    for index in range(out.size):
        out[index] = row[index]


@compiled_kernel()
def _greeks_tile(tile: FloatArray, pays: bool) -> None:
    """Read rows 0-6 (spot, strike, years, vol, put, rate, yield), write rows 7-12."""
    for i in range(_TILE):
        price, delta, gamma, vega, theta, rho = _option(
            tile[i],
            tile[_TILE + i],
            tile[2 * _TILE + i],
            tile[3 * _TILE + i],
            1.0 - 2.0 * tile[4 * _TILE + i],
            tile[5 * _TILE + i],
            tile[6 * _TILE + i],
            pays,
        )
        tile[7 * _TILE + i] = price
        tile[8 * _TILE + i] = delta
        tile[9 * _TILE + i] = gamma
        tile[10 * _TILE + i] = vega
        tile[11 * _TILE + i] = theta
        tile[12 * _TILE + i] = rho


@compiled_kernel(parallel=True)
def greeks_of_all(
    spot: FloatArray,
    strike: FloatArray,
    years: FloatArray,
    vol: FloatArray,
    is_put: Any,
    rate: FloatArray,
    growth: FloatArray,
    pays: bool,
    out: FloatArray,
) -> int:
    """Fill the rows of ``out`` and return how many options are left to the plain twin."""
    size = out.shape[1]
    span = _TILE * _TILES_PER_TASK
    unknowns = np.zeros((size + span - 1) // span, dtype=np.int64)
    for task in numba.prange(unknowns.size):
        unknown = 0
        tile = _new_tile(13, spot, strike, years, vol, is_put, rate, growth)
        for start in range(task * span, min(size, (task + 1) * span), _TILE):
            count = min(_TILE, size - start)
            _load_all(tile, start, count, spot, strike, years, vol, is_put, rate, growth)
            _greeks_tile(tile, pays)
            for row in range(6):
                _store(_row(tile, 7 + row), out[row, start : start + count])
            unknown += _count_unknown(tile, 7, count)
        unknowns[task] = unknown
    return int(unknowns.sum())


@compiled_kernel()
def _vol_start(tile: FloatArray) -> None:
    """Read rows 0-6 (price, spot, strike, years, put, rate, yield); write 7 distance, 8 target, 9 total."""
    for i in range(_TILE):
        price, spot, strike, years = tile[i], tile[_TILE + i], tile[2 * _TILE + i], tile[3 * _TILE + i]
        sign, rate, growth = 1.0 - 2.0 * tile[4 * _TILE + i], tile[5 * _TILE + i], tile[6 * _TILE + i]
        asset, cash = spot * fast_exp(-growth * years), strike * fast_exp(-rate * years)
        moneyness = fast_log_ratio(spot, strike) + (rate - growth) * years
        far = -abs(moneyness)
        is_inside = sign * (asset - cash) > 0.0
        extrinsic = price - sign * (asset - cash) if is_inside else price
        smaller, larger = min(asset, cash), max(asset, cash)
        is_known = (
            _regular(spot, strike, years, 1.0, rate, growth)
            & (extrinsic > _LEAST_VALUE * smaller)
            & (extrinsic > (_TIME_VALUE_FLOOR * larger if is_inside else 0.0))
            & (extrinsic < (1.0 - _NEAR_BOUND) * smaller)
        )
        target = extrinsic / smaller
        inflection = max(math.sqrt(-2.0 * far), 1e-4)
        slope, value, _, _, _ = _parts(1.0, far / inflection, inflection)
        above = min(inflection + (target - value) / slope, 4.0 * max(inflection, 1.0))
        shrink = (fast_log_ratio(value, 1.0) + 0.5 * far) / (fast_log_ratio(target, 1.0) + 0.5 * far)
        below = inflection * math.sqrt(max(shrink, 1e-12))
        tile[7 * _TILE + i] = far
        tile[8 * _TILE + i] = target
        tile[9 * _TILE + i] = (above if target > value else below) if is_known else math.nan
        tile[10 * _TILE + i] = math.inf if is_known else math.nan


@compiled_kernel()
def _vol_step(tile: FloatArray) -> None:
    """Improve the totals of row 9 by one step of third order; row 10 is its size over the total."""
    for i in range(_TILE):
        far, target, total = tile[7 * _TILE + i], tile[8 * _TILE + i], tile[9 * _TILE + i]
        before = tile[10 * _TILE + i]
        inverse = 1.0 / total
        centre = far * inverse
        slope, value, _, _, is_in_range = _parts(1.0, centre, total)
        both = 1.0 / (value * slope)
        first, newton = slope * slope * both, -fast_log_ratio(value, target) * (value * value * both)
        bend = (centre * centre - 0.25 * total * total) * inverse
        third = bend * bend - 3.0 * centre * centre * inverse * inverse - 0.25
        second = bend - first
        third = third - 3.0 * bend * first + 2.0 * first * first
        step = newton * (1.0 + 0.5 * second * newton) / (1.0 + newton * (second + third * newton * (1 / 6)))
        following = min(max(total + step, 0.3 * total), 3.0 * total)
        size = abs(following - total) * inverse
        is_settled = before < _SETTLED  # and stays: a vol must not depend on its neighbours in the tile
        tile[9 * _TILE + i] = total if is_settled else following
        tile[10 * _TILE + i] = before if is_settled else (size if is_in_range else math.nan)


@compiled_kernel()
def _count_moving(tile: FloatArray) -> int:
    count = 0
    for i in range(_TILE):
        count += 1 if tile[10 * _TILE + i] >= _SETTLED else 0  # not what is unknown
    return count


@compiled_kernel()
def _count_unknown(tile: FloatArray, row: int, filled: int) -> int:
    count = filled - _TILE  # what fills the tile up is unknown too
    for i in range(_TILE):
        count += 1 if tile[row * _TILE + i] != tile[row * _TILE + i] else 0
    return count


@compiled_kernel()
def _vol_finish(tile: FloatArray) -> None:
    for i in range(_TILE):
        is_settled = tile[10 * _TILE + i] < _SETTLED
        found = tile[9 * _TILE + i] / math.sqrt(tile[3 * _TILE + i])
        tile[9 * _TILE + i] = found if is_settled else math.nan


@compiled_kernel(parallel=True)
def vols_of_all(
    price: FloatArray,
    spot: FloatArray,
    strike: FloatArray,
    years: FloatArray,
    is_put: Any,
    rate: FloatArray,
    growth: FloatArray,
    out: FloatArray,
) -> int:
    """Fill ``out`` and return how many options are left to the plain twin."""
    size = out.size
    span = _TILE * _TILES_PER_TASK
    unknowns = np.zeros((size + span - 1) // span, dtype=np.int64)
    for task in numba.prange(unknowns.size):
        unknown = 0
        tile = _new_tile(11, price, spot, strike, years, is_put, rate, growth)
        for start in range(task * span, min(size, (task + 1) * span), _TILE):
            count = min(_TILE, size - start)
            _load_all(tile, start, count, price, spot, strike, years, is_put, rate, growth)
            _vol_start(tile)
            for _ in range(_MOST_STEPS):
                _vol_step(tile)
                if _count_moving(tile) == 0:
                    break
            _vol_finish(tile)
            _store(_row(tile, 9), out[start : start + count])
            unknown += _count_unknown(tile, 9, count)
        unknowns[task] = unknown
    return int(unknowns.sum())
