"""Implied vol of Black-Scholes-Merton and Black-76 prices; units as in ``options``.

Parity turns every option into its out-of-the-money twin, whose log value is smooth and concave in the total
vol below the inflection point of Manaster and Koehler (1982), where the search starts.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from bot.model.market import FloatArray
from bot.quant.option_core import density, log_ratio, value

_STEPS = 100  # each at least halves the bracket; typical inputs converge in 4 to 8
_MAX_TOTAL = 64.0  # vol x sqrt(years) beyond which every price equals its upper bound in float64
_TOLERANCE = 1e-12  # relative step at which the iteration stops; the step after a Newton step is its square
_LARGEST_LOG = 700.0  # of a float64, with room
_TIME_VALUE_FLOOR = 16.0 * float(np.finfo(np.float64).eps)  # of the larger leg


def implied_vol(
    price: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return the vol at which the option is worth ``price``.

    NaN where no vol is: a price at or outside its no-arbitrage bounds, an expired option, or an in-the-money
    price whose time value is lost in float64 rounding (then no vol is identified).
    """
    life = np.maximum(np.asarray(years, dtype=np.float64), 0.0)
    now, level = np.asarray(spot, dtype=np.float64), np.asarray(strike, dtype=np.float64)
    interest, growth = np.asarray(rate, dtype=np.float64), np.asarray(dividend_yield, dtype=np.float64)
    asset, cash = now * np.exp(-growth * life), level * np.exp(-interest * life)
    moneyness = log_ratio(now, level) + (interest - growth) * life
    sign = np.where(np.asarray(is_put, dtype=np.bool_), -1.0, 1.0)
    total = _total(np.asarray(price, dtype=np.float64), asset, cash, moneyness, sign)
    return np.asarray(total / np.where(life > 0.0, np.sqrt(life), np.nan))


def black76_implied_vol(
    price: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return the Black-76 vol of a discounted price on a forward; NaN as in ``implied_vol``."""
    return implied_vol(price, forward, strike, years, is_put=is_put, rate=rate, dividend_yield=rate)


def _total(
    price: FloatArray, asset: FloatArray, cash: FloatArray, moneyness: FloatArray, sign: FloatArray
) -> FloatArray:
    """Return vol x sqrt(years), NaN where there is none."""
    worth, ahead, owed, far, side = np.broadcast_arrays(price, asset, cash, moneyness, sign)
    smaller, larger = np.minimum(ahead, owed), np.maximum(ahead, owed)
    with np.errstate(invalid="ignore"):
        intrinsic = np.maximum(side * (ahead - owed), 0.0)
        extrinsic = worth - intrinsic
        lost = (intrinsic > 0.0) & (extrinsic < _TIME_VALUE_FLOOR * larger)
        valid = (extrinsic > 0.0) & (extrinsic < smaller) & (larger < np.inf) & ~lost & np.isfinite(far)
    out = np.full(worth.shape, np.nan)
    if valid.any():
        # In units of the smaller leg both kinds are one function of |log moneyness|.
        out[valid] = _solve(extrinsic[valid] / smaller[valid], np.abs(far[valid]))
    return out


def _solve(target: FloatArray, distance: FloatArray) -> FloatArray:
    """Return the total at which the time value is ``target`` of the smaller leg: Newton in a bracket."""
    low, high = np.zeros_like(target), np.full_like(target, _MAX_TOTAL)
    total = np.maximum(np.sqrt(2.0 * distance), target * math.sqrt(2.0 * math.pi))
    unit, ratio = np.ones_like(target), np.exp(np.minimum(distance, _LARGEST_LOG))
    done = np.zeros(target.shape, dtype=np.bool_)
    for _ in range(_STEPS):
        found = value(unit, ratio, -distance, total, unit)
        above = found > target
        high, low = np.where(above, total, high), np.where(above, low, total)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = np.log(found / target) * found / density(0.5 * total - distance / total)
            newton = total - step
        inside = (newton > low) & (newton < high)
        following = np.where(inside, newton, 0.5 * (low + high))
        # What is done stays, so that a vol has the same bits in every array.
        following = np.where(done, total, following)
        done |= np.abs(following - total) <= _TOLERANCE * total
        total = following
        if done.all():
            break
    return total
