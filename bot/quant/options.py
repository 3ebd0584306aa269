"""European option values and greeks: Black-Scholes-Merton on spot, Black-76 on forwards.

One kernel for both: BSM is Black-76 on the forward ``spot x exp(rate x years)`` (Hull, "Options, Futures
and Other Derivatives", ch. 15 and 18). Money per unit of the underlying, years of 365 days, vol as a
fraction a year, rate continuously compounded. All functions broadcast and return float64 arrays.

At or after expiry (``years <= 0``) a value is intrinsic, delta its slope (one half exactly at the strike)
and gamma, vega and theta are 0. NaN in gives NaN out; a negative spot, strike or vol is NaN.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from bot.model.market import FloatArray

_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_IV_STEPS = 100  # each at least halves the bracket; typical inputs converge in 4 to 8
_IV_MAX_TOTAL = 64.0  # vol x sqrt(years) beyond which every price equals its upper bound in float64
_IV_TOLERANCE = 1e-14  # relative step at which the iteration stops
_TIME_VALUE_FLOOR = 16.0 * float(np.finfo(np.float64).eps)  # of max(forward, strike)


def price(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return the option's value, no dividends."""
    return black76_price(_forward(spot, years, rate), strike, years, vol, is_put=is_put, rate=rate)


def delta(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return dV/dS: 0..1 for a call, -1..0 for a put."""
    d1, _ = _d1_d2(_forward(spot, years, rate), strike, years, vol)
    sign = _sign(is_put)
    return np.asarray(sign * ndtr(sign * d1))


def gamma(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return d2V/dS2 per USD, the same for puts and calls."""
    d1, total = _d1_and_total(_forward(spot, years, rate), strike, years, vol)
    scale = np.asarray(spot, dtype=np.float64) * total
    return _per(_pdf(d1), scale) + _zero_like(is_put)


def vega(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return dV/dvol per 1.00 of vol (divide by 100 for a vol point), the same for puts and calls."""
    d1, total = _d1_and_total(_forward(spot, years, rate), strike, years, vol)
    root = np.where(total > 0.0, np.sqrt(_life(years)), total)  # total is 0 or NaN elsewhere
    return np.asarray(np.asarray(spot, dtype=np.float64) * _pdf(d1) * root) + _zero_like(is_put)


def theta(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return the change of value per year of passing time (divide by 365 for a day)."""
    life = _life(years)
    forward = _forward(spot, years, rate)
    d1, total = _d1_and_total(forward, strike, years, vol)
    sign, growth = _sign(is_put), np.asarray(rate, dtype=np.float64)
    decay = np.asarray(spot, dtype=np.float64) * _pdf(d1) * _per(total, 2.0 * life)
    interest = growth * np.asarray(strike) * np.exp(-growth * life) * ndtr(sign * (d1 - total))
    return np.asarray(np.where(life == 0.0, 0.0 * total, -decay - sign * interest))


def implied_vol(
    price: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return the vol at which the option is worth ``price``.

    NaN where no vol is: a price at or outside its no-arbitrage bounds, an expired option, or an in-the-money
    price whose time value is lost in float64 rounding (then no vol is identified).
    """
    life = _life(years)
    forward, discount = _forward(spot, years, rate), np.exp(-np.asarray(rate, dtype=np.float64) * life)
    with np.errstate(divide="ignore", invalid="ignore"):
        undiscounted = np.asarray(price, dtype=np.float64) / discount
    total = _implied_total(undiscounted, forward, np.asarray(strike, dtype=np.float64), _sign(is_put))
    return _per(total, np.sqrt(life), at_zero=math.nan)


def black76_price(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return the discounted value of an option on a forward."""
    d1, d2 = _d1_d2(forward, strike, years, vol)
    sign = _sign(is_put)
    value = np.asarray(forward) * ndtr(sign * d1) - np.asarray(strike) * ndtr(sign * d2)
    # Rounding may leave -1e-17 far out of the money; maximum keeps NaN.
    worth = np.asarray(np.maximum(sign * value, 0.0))
    if _is_zero(rate):
        return worth
    return np.asarray(np.exp(-np.asarray(rate, dtype=np.float64) * _life(years)) * worth)


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
    discount = np.exp(-np.asarray(rate, dtype=np.float64) * _life(years))
    return implied_vol(np.asarray(price) / discount, forward, strike, years, is_put=is_put)


def _life(years: ArrayLike) -> FloatArray:
    return np.maximum(np.asarray(years, dtype=np.float64), 0.0)


def _sign(is_put: ArrayLike) -> FloatArray:
    return np.where(np.asarray(is_put, dtype=np.bool_), -1.0, 1.0)


def _zero_like(is_put: ArrayLike) -> FloatArray:
    """Return zeros in the shape of ``is_put``, so that it broadcasts where it has no effect."""
    return np.zeros(np.shape(is_put))


def _forward(spot: ArrayLike, years: ArrayLike, rate: ArrayLike) -> FloatArray:
    if _is_zero(rate):
        return np.asarray(spot, dtype=np.float64)
    return np.asarray(spot, dtype=np.float64) * np.exp(np.asarray(rate, dtype=np.float64) * _life(years))


def _is_zero(rate: object) -> bool:
    """Say whether money does not grow at all: then a factor of exactly 1 is left out."""
    return isinstance(rate, float) and rate == 0.0


def _per(numerator: ArrayLike, denominator: ArrayLike, *, at_zero: float = 0.0) -> FloatArray:
    """Return the ratio, ``at_zero`` where the denominator is 0; NaN stays NaN."""
    above, below = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    safe = np.where(below == 0.0, 1.0, below)
    return np.asarray(np.where((below == 0.0) & ~np.isnan(above), at_zero, above / safe))


def _pdf(x: FloatArray) -> FloatArray:
    return np.asarray(_INV_SQRT_2PI * np.exp(-0.5 * x * x))


def _d1_and_total(
    forward: ArrayLike, strike: ArrayLike, years: ArrayLike, vol: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return d1 and vol x sqrt(years). Without time or vol, d1 is -inf, 0 or inf by moneyness."""
    ahead, level = np.asarray(forward, dtype=np.float64), np.asarray(strike, dtype=np.float64)
    sigma = np.asarray(vol, dtype=np.float64)
    total = np.where(sigma < 0.0, np.nan, sigma) * np.sqrt(_life(years))
    with np.errstate(divide="ignore", invalid="ignore"):
        moneyness = np.log(ahead) - np.log(level)  # a negative price gives NaN, 0 gives -inf
        spread = moneyness / total + 0.5 * total
        is_certain = total == 0.0
        if not is_certain.any():
            return spread, total
        certain = np.where(moneyness == 0.0, 0.0, np.copysign(np.inf, moneyness)) + 0.0 * level
    return np.where(is_certain, np.where(np.isnan(moneyness), np.nan, certain), spread), total


def _d1_d2(
    forward: ArrayLike, strike: ArrayLike, years: ArrayLike, vol: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    d1, total = _d1_and_total(forward, strike, years, vol)
    return d1, d1 - total


def _implied_total(
    undiscounted: FloatArray, forward: FloatArray, strike: FloatArray, sign: FloatArray
) -> FloatArray:
    """Return vol x sqrt(years) by bracketed Newton steps on the log of the out-of-the-money value.

    Parity turns every option into its out-of-the-money twin, whose log value is smooth and concave in the
    total vol below the inflection point of Manaster and Koehler (1982), where the search starts.
    """
    value, ahead, level, side = np.broadcast_arrays(undiscounted, forward, strike, sign)
    with np.errstate(divide="ignore", invalid="ignore"):
        intrinsic = np.maximum(side * (ahead - level), 0.0)
        extrinsic = value - intrinsic
        lost = (intrinsic > 0.0) & (extrinsic < _TIME_VALUE_FLOOR * np.maximum(ahead, level))
        valid = (extrinsic > 0.0) & (extrinsic < np.minimum(ahead, level)) & (level > 0.0) & ~lost
    shape = value.shape
    out = np.full(value.size, np.nan)
    chosen = np.flatnonzero(valid.ravel())
    if chosen.size:
        smaller = np.minimum(ahead, level).ravel()[chosen]
        # In units of the smaller of forward and strike both kinds are one function of |log moneyness|.
        distance = np.abs(np.log(ahead.ravel()[chosen]) - np.log(level.ravel()[chosen]))
        out[chosen] = _solve_total(extrinsic.ravel()[chosen] / smaller, distance)
    return out.reshape(shape)


def _solve_total(target: FloatArray, distance: FloatArray) -> FloatArray:
    """Return s with N(d) - exp(distance) N(d - s) = target, d = -distance / s + s / 2."""
    low, high = np.zeros_like(target), np.full_like(target, _IV_MAX_TOTAL)
    total = np.maximum(np.sqrt(2.0 * distance), target * math.sqrt(2.0 * math.pi))
    ratio = np.exp(distance)
    for _ in range(_IV_STEPS):
        d1 = -distance / total + 0.5 * total
        value = ndtr(d1) - ratio * ndtr(d1 - total)
        above = value > target
        high, low = np.where(above, total, high), np.where(above, low, total)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = np.log(value / target) * value / _pdf(d1)
            newton = total - step
        inside = (newton > low) & (newton < high)
        following = np.where(inside, newton, 0.5 * (low + high))
        done = np.abs(following - total) <= _IV_TOLERANCE * total
        total = following
        if done.all():
            break
    return total
