"""At-the-money term structure: constant maturity, slope and forward vol.

Vols are fractions a year, tenors years of 365 days. Total variance (vol squared x years) is what adds over
time, so it is what is interpolated (Gatheral, "The Volatility Surface", ch. 1).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bot.model.market import FloatArray

LOWEST_IV, HIGHEST_IV = 0.01, 5.0  # fractions a year; outside, percent and fraction were mixed up
MAX_STRETCH = 4.0  # a tenor may be this many times longer or shorter than the nearest expiry


def nearest_expiry(years: Sequence[float], tenor_years: float) -> tuple[float, bool]:
    """Return what lies nearest to a tenor within the expiries, and whether it is near enough."""
    nearest = min(max(tenor_years, min(years)), max(years))
    return nearest, 1 / MAX_STRETCH <= nearest / tenor_years <= MAX_STRETCH


def iv_at_tenor(years: ArrayLike, ivs: ArrayLike, tenor_years: ArrayLike) -> FloatArray:
    """Return the vol at a constant maturity, linear in total variance between the listed expiries.

    Beyond the first and last expiry the vol is flat. Points that are unknown, expired or not positive are
    left out, several at one expiry are averaged in variance; NaN when none is left, or for a tenor that is
    NaN or not positive.
    """
    tenor = np.asarray(tenor_years, dtype=np.float64)
    at, vols = np.broadcast_arrays(np.asarray(years, np.float64), np.asarray(ivs, np.float64))
    usable = np.isfinite(at) & np.isfinite(vols) & (at > 0.0) & (vols > 0.0)
    if not usable.any():
        return np.full(tenor.shape, np.nan)
    expiries, variance = at, vols**2
    if not (usable.all() and (at.ndim == 1) and (at[1:] > at[:-1]).all()):
        expiries, place = np.unique(at[usable], return_inverse=True)
        variance = np.bincount(place, weights=vols[usable] ** 2) / np.bincount(place)
    asked = np.where(tenor > 0.0, tenor, np.nan)
    inside = np.minimum(np.maximum(asked, expiries[0]), expiries[-1])
    return np.asarray(np.sqrt(np.interp(inside, expiries, variance * expiries) / inside))


def term_slope(front_iv: ArrayLike, back_iv: ArrayLike) -> FloatArray:
    """Return front / back - 1 (S13): positive is backwardation. NaN unless both vols are positive."""
    front, back = np.asarray(front_iv, np.float64), np.asarray(back_iv, np.float64)
    known = (front > 0.0) & (back > 0.0)
    return np.asarray(np.where(known, front, np.nan) / np.where(known, back, 1.0) - 1.0)


def forward_variance(
    near_years: ArrayLike, near_iv: ArrayLike, far_years: ArrayLike, far_iv: ArrayLike
) -> FloatArray:
    """Return the variance a year between two maturities; negative shows a calendar arbitrage.

    NaN unless far_years > near_years >= 0.
    """
    near, far = np.asarray(near_years, np.float64), np.asarray(far_years, np.float64)
    gap = np.where((near >= 0.0) & (far > near), far - near, np.nan)
    total = np.asarray(far_iv, np.float64) ** 2 * far - np.asarray(near_iv, np.float64) ** 2 * near
    return np.asarray(total / gap)


def forward_vol(
    near_years: ArrayLike, near_iv: ArrayLike, far_years: ArrayLike, far_iv: ArrayLike
) -> FloatArray:
    """Return the vol between two maturities, NaN where the forward variance is negative."""
    variance = forward_variance(near_years, near_iv, far_years, far_iv)
    return np.asarray(np.sqrt(np.where(variance >= 0.0, variance, np.nan)))
