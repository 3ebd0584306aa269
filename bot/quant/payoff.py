"""What a set of option legs is worth on a grid of spots, at a horizon on simulated paths, and break-evens.

Legs are parallel arrays; ``sizes`` are units of the underlying (contracts x multiplier), negative when
sold. Money is USD. NaN in any leg makes its value NaN.
"""

import numpy as np
from numpy.typing import ArrayLike

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant import options

DAYS_PER_YEAR = 365.0


def intrinsic(spots: ArrayLike, strike: ArrayLike, *, is_put: ArrayLike) -> FloatArray:
    """Return the settlement value per unit of the underlying."""
    return options.price(spots, strike, 0.0, 0.0, is_put=is_put)


def leg_values(
    spots: FloatArray,
    *,
    strikes: ArrayLike,
    is_puts: ArrayLike,
    years: ArrayLike,
    ivs: ArrayLike,
    sizes: ArrayLike,
    rate: float = 0.0,
) -> FloatArray:
    """Return values as [leg, *spots.shape]. ``years`` is the life left; at 0 or less a leg is intrinsic."""
    at = np.asarray(spots, dtype=np.float64)
    per_leg = [_per_leg(item, at.ndim) for item in (strikes, years, ivs, sizes)]
    strike, life, vol, size = per_leg
    put = np.asarray(is_puts, dtype=np.bool_).reshape(-1, *(1,) * at.ndim)
    return np.asarray(size * options.price(at[np.newaxis], strike, life, vol, is_put=put, rate=rate))


def option_value(
    spots: FloatArray,
    *,
    strikes: ArrayLike,
    is_puts: ArrayLike,
    years: ArrayLike,
    ivs: ArrayLike,
    sizes: ArrayLike,
    rate: float = 0.0,
) -> FloatArray:
    """Return the value of the whole set in the shape of ``spots``; zeros for no leg."""
    values = leg_values(spots, strikes=strikes, is_puts=is_puts, years=years, ivs=ivs, sizes=sizes, rate=rate)
    return np.asarray(values.sum(axis=0))


def expiry_payoff(
    spots: FloatArray, *, strikes: ArrayLike, is_puts: ArrayLike, sizes: ArrayLike
) -> FloatArray:
    """Return what the whole set settles at if every leg expires at ``spots``."""
    at = np.asarray(spots, dtype=np.float64)
    strike, size = (_per_leg(item, at.ndim) for item in (strikes, sizes))
    if ((at > 0.0) & (at < np.inf)).all() and (strike > 0.0).all():
        put = np.asarray(is_puts, dtype=np.bool_).reshape(-1, *(1,) * at.ndim)
        return np.asarray((size * np.maximum(np.where(put, strike - at, at - strike), 0.0)).sum(axis=0))
    nothing = np.zeros(np.shape(np.atleast_1d(strikes)))
    return option_value(spots, strikes=strikes, is_puts=is_puts, years=nothing, ivs=nothing, sizes=sizes)


def horizon_values(
    paths: FloatArray,
    *,
    strikes: ArrayLike,
    is_puts: ArrayLike,
    dte: ArrayLike,
    ivs: ArrayLike,
    sizes: ArrayLike,
    rate: float = 0.0,
) -> FloatArray:
    """Return values as [leg, path] at the end of ``paths`` [path, day], day 0 being now (R8).

    A leg alive at the horizon is worth its model value at ``ivs``; one that expired on the way is worth its
    settlement on that path, the spot being geometric between days; one past expiry settles at today's spot.
    """
    days = np.asarray(np.atleast_1d(dte), dtype=np.float64)
    horizon = paths.shape[1] - 1
    spots = _spots_at(paths, np.minimum(days, float(horizon)))
    strike, vol, size = (_per_leg(item, 1) for item in (strikes, ivs, sizes))
    life = _per_leg((days - horizon) / DAYS_PER_YEAR, 1)
    put = np.asarray(is_puts, dtype=np.bool_).reshape(-1, 1)
    return np.asarray(size * options.price(spots, strike, life, vol, is_put=put, rate=rate))


def break_evens(spots: FloatArray, pnl: FloatArray) -> FloatArray:
    """Return the spots at which ``pnl`` changes sign, rising, linear between grid points.

    A stretch that is exactly 0 between opposite signs gives its two ends. A touch of 0 without a change of
    sign is none, and no crossing is read across a NaN. ``spots`` must rise.
    """
    if spots.shape != pnl.shape or spots.ndim != 1:
        raise InvariantError(f"break-evens need two equal rows, were {spots.shape} and {pnl.shape}")
    signs = np.sign(pnl)
    signed = np.flatnonzero(signs != 0.0)  # NaN stays: a crossing stops there
    crossings = np.flatnonzero(signs[signed[:-1]] * signs[signed[1:]] == -1.0)
    found: list[float] = []
    for left, right in zip(signed[crossings], signed[crossings + 1], strict=True):
        if right == left + 1:
            weight = pnl[left] / (pnl[left] - pnl[right])
            found.append(float(spots[left] + weight * (spots[right] - spots[left])))
        else:
            found.extend(sorted({float(spots[left + 1]), float(spots[right - 1])}))
    return np.array(found, dtype=np.float64)


def _per_leg(values: ArrayLike, dimensions: int) -> FloatArray:
    return np.asarray(values, dtype=np.float64).reshape(-1, *(1,) * dimensions)


def _spots_at(paths: FloatArray, days: FloatArray) -> FloatArray:
    """Return spots as [leg, path] at fractional days, NaN for a NaN day."""
    unknown = np.isnan(days)
    held = np.clip(np.where(unknown, 0.0, days), 0.0, paths.shape[1] - 1.0)
    before = np.floor(held).astype(np.intp)
    after = np.minimum(before + 1, paths.shape[1] - 1)
    part = (held - before)[:, np.newaxis]
    whole = paths.T[before]  # of x ** 1 and y ** 0 nothing is left to be worked out
    between = whole ** (1.0 - part) * paths.T[after] ** part if part.any() else whole
    return np.asarray(np.where(unknown[:, np.newaxis], np.nan, between))
