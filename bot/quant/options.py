"""European option values and greeks: Black-Scholes-Merton on spot, Black-76 on forwards.

Money per unit of the underlying, years of 365 days, vol as a fraction a year, rate and dividend yield
continuously compounded (for a token the yield is what holding it earns, staking included). Formulas: Hull,
"Options, Futures and Other Derivatives", ch. 15-19; Haug, "The Complete Guide to Option Pricing Formulas",
ch. 2. A forward is a spot whose dividend yield is the rate: every greek of Black-76 but rho is the one here
with ``dividend_yield=rate``. All functions broadcast and return float64 arrays.

At or after expiry (``years <= 0``) a value is intrinsic, delta its slope (one half exactly at the strike) and
the greeks of time, vol and curvature are 0. NaN in gives NaN out; a negative spot, strike or vol is NaN.
``option_kernels`` does price and first greeks of many options at once.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bot.model.market import FloatArray
from bot.quant import option_core
from bot.quant.implied_vol import black76_implied_vol, implied_vol
from bot.quant.option_core import Terms, life_left, terms

__all__ = [
    "Greeks",
    "black76_greeks",
    "black76_implied_vol",
    "black76_price",
    "black76_rho",
    "charm",
    "delta",
    "dual_delta",
    "dual_gamma",
    "gamma",
    "greeks",
    "implied_vol",
    "price",
    "price_delta_vega",
    "rho",
    "theta",
    "vanna",
    "vega",
    "veta",
    "volga",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeks:
    """Value and first greeks, with gamma, of options of one shape; units as in this module's functions."""

    price: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    rho: FloatArray


def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> Greeks:
    """Return value and greeks together: the plain twin of ``option_kernels.greeks``."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return Greeks(
        price=_price(at), delta=_delta(at), gamma=_gamma(at), vega=_vega(at), theta=_theta(at), rho=_rho(at)
    )


def price_delta_vega(
    spot: ArrayLike, strike: ArrayLike, years: ArrayLike, vol: ArrayLike, *, is_put: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what a quote shows, without rate or yield: ``price``, ``delta`` and ``vega``."""
    at = terms(spot, strike, years, vol, is_put, 0.0, 0.0)
    return _price(at), _delta(at), _vega(at)


def price(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return the option's value."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _price(at)


def delta(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return dV/dS: 0..1 for a call, -1..0 for a put."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _delta(at)


def gamma(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return d2V/dS2 per USD, the same for puts and calls."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _gamma(at)


def vega(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return dV/dvol per 1.00 of vol (divide by 100 for a vol point), the same for puts and calls."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _vega(at)


def theta(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return the change of value per year of passing time (divide by 365 for a day)."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _theta(at)


def rho(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return dV/drate per 1.00 of rate, the spot and its dividend yield held."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _rho(at)


def vanna(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return d2V/dS dvol: what delta gains per 1.00 of vol, the same for puts and calls."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _per(-at.weight * at.d2 * at.root, at.spot * at.total)


def volga(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return d2V/dvol2 (vomma) per 1.00 of vol squared, the same for puts and calls."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _per(_vega(at) * at.d1 * at.d2 * at.root, at.total)


def charm(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return what delta gains per year of passing time (divide by 365 for a day)."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    drift = at.weight * (_per(at.rate - at.growth, at.total) - _per(0.5 * at.d2, at.life))
    return np.asarray(at.growth * _delta(at) * (at.life > 0.0) - _per(drift, at.spot))


def veta(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return what vega gains per year of passing time, the same for puts and calls."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    carry = at.growth + _per((at.rate - at.growth) * at.d1, at.total)
    return np.asarray(_vega(at) * (carry - _per(0.5 * (1.0 + at.d1 * at.d2), at.life)))


def dual_delta(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return dV/dK: -1..0 for a call, 0..1 for a put; its size is the discounted chance of exercise."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return np.asarray(-at.sign * at.cash_discount * _tail(at, at.d2))


def dual_gamma(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike = False,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return d2V/dK2: the discounted density of the price at the strike (Breeden, Litzenberger 1978)."""
    at = terms(spot, strike, years, vol, is_put, rate, dividend_yield)
    return _per(_per(at.weight, at.strike * at.total), at.strike)


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
    return price(forward, strike, years, vol, is_put=is_put, rate=rate, dividend_yield=rate)


def black76_rho(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return dV/drate with the forward held: only the discount moves."""
    value = black76_price(forward, strike, years, vol, is_put=is_put, rate=rate)
    return np.asarray(-life_left(years) * value)


def black76_greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> Greeks:
    """Return value and greeks with respect to the forward, which is held for theta and rho."""
    found = greeks(forward, strike, years, vol, is_put=is_put, rate=rate, dividend_yield=rate)
    return replace(found, rho=np.asarray(-life_left(years) * found.price))


def _price(at: Terms) -> FloatArray:
    return option_core.value(at.asset, at.cash, at.moneyness, at.total, at.sign)


def _delta(at: Terms) -> FloatArray:
    return np.asarray(at.sign * at.asset_discount * _tail(at, at.d1))


def _gamma(at: Terms) -> FloatArray:
    return _per(_per(at.weight, at.spot * at.total), at.spot)


def _vega(at: Terms) -> FloatArray:
    return np.asarray(at.weight * at.root)


def _theta(at: Terms) -> FloatArray:
    decay = _per(at.weight * at.total, 2.0 * at.life)
    held = at.growth * at.asset * _tail(at, at.d1)
    owed = at.rate * at.cash * _tail(at, at.d2)
    return np.asarray(np.where(at.life == 0.0, 0.0 * decay, at.sign * (held - owed) - decay))


def _rho(at: Terms) -> FloatArray:
    return np.asarray(at.sign * at.life * at.cash * _tail(at, at.d2))


def _tail(at: Terms, d: FloatArray) -> FloatArray:
    """Return N(d) for a call, N(-d) for a put: 1, one half or 0 without time or vol."""
    return np.asarray(option_core.normal(at.sign * d))


def _per(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """Return the ratio, 0 where the denominator is 0; NaN stays NaN."""
    above, below = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    safe = np.where(below == 0.0, 1.0, below)
    with np.errstate(over="ignore"):
        return np.asarray(np.where((below == 0.0) & ~np.isnan(above), 0.0, above / safe))
