"""Value curve of a Uniswap v2 or v3 position in whole units and USD.

Uniswap v3 whitepaper (Adams et al. 2021), eq. 2.2 and 6.29-6.30: with p = sqrt(S) held inside
[sqrt(lower), sqrt(upper)], the position holds ``L (1/p - 1/sqrt(upper))`` of the underlying and
``L (p - sqrt(lower))`` of the stable. A v2 position is the range 0..inf: value 2 L sqrt(S).
Fees are left out. NaN or a negative spot gives NaN.
"""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.model.market import FloatArray

LossMeasure = Literal["hold", "usd"]


def amounts(shape: LpShape, spot: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return (units of the underlying, stable) that the position holds; v2 units are inf at spot 0."""
    root = _root_in_range(shape, spot)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_root = np.asarray(1.0 / root)
        units = shape.liquidity * (per_root - 1.0 / math.sqrt(shape.upper_usd))
    if shape.liquidity == 0.0:
        units = np.where(np.isnan(root), np.nan, 0.0)
    return np.asarray(units), np.asarray(shape.liquidity * (root - math.sqrt(shape.lower_usd)))


def value(shape: LpShape, spot: ArrayLike) -> FloatArray:
    """Return the position's value in USD, >= 0, rising and concave in the spot."""
    at = np.asarray(spot, dtype=np.float64)
    root = _root_in_range(shape, at)
    # S / p written so that spot 0 of a v2 position gives 0, not 0 x inf.
    per_root = np.where(root > 0.0, at / np.where(root > 0.0, root, 1.0), root)
    held = per_root - at / math.sqrt(shape.upper_usd) + root - math.sqrt(shape.lower_usd)
    return np.asarray(shape.liquidity * np.maximum(held, 0.0))


def delta(shape: LpShape, spot: ArrayLike) -> FloatArray:
    """Return dV/dS in units of the underlying, >= 0: exactly the units held, since dy = -S dx."""
    return amounts(shape, spot)[0]


def gamma(shape: LpShape, spot: ArrayLike) -> FloatArray:
    """Return d2V/dS2, <= 0: ``-L / (2 S^1.5)`` inside the range, 0 outside and at spot 0."""
    at = np.asarray(spot, dtype=np.float64)
    inside = (at >= shape.lower_usd) & (at < shape.upper_usd) & (at > 0.0)
    curvature = -0.5 * shape.liquidity * np.where(inside, at, 1.0) ** -1.5
    return np.asarray(np.where(at >= 0.0, np.where(inside, curvature, 0.0), np.nan))


def hold_value(units: ArrayLike, stable: ArrayLike, spot: ArrayLike) -> FloatArray:
    """Return the USD value of just keeping the tokens."""
    return np.asarray(
        np.asarray(units, np.float64) * np.asarray(spot, np.float64) + np.asarray(stable, np.float64)
    )


def impermanent_loss(
    shape: LpShape, entry_spot: ArrayLike, spot: ArrayLike, *, measure: LossMeasure = "hold"
) -> FloatArray:
    """Return gain (+) or loss (-) in USD since ``entry_spot``, fees left out.

    ``hold``: against keeping the tokens that the position held at entry; never above 0 (the curve is
    concave, the comparison its tangent at entry). ``usd``: against the USD value at entry; either sign.
    """
    now = value(shape, spot)
    if measure == "usd":
        return np.asarray(now - value(shape, entry_spot))
    if measure == "hold":
        # The tangent touches at entry, so a positive difference is rounding only.
        return np.asarray(np.minimum(now - hold_value(*amounts(shape, entry_spot), spot), 0.0))
    raise InvariantError(f"loss measure must be 'hold' or 'usd', was {measure!r}")


def loss_share(
    shape: LpShape, entry_spot: ArrayLike, spot: ArrayLike, *, measure: LossMeasure = "hold"
) -> FloatArray:
    """Return ``impermanent_loss`` as a fraction of the value at entry: -0.02 is a loss of 2 %.

    The two nominal losses of Lipton, Lucic and Sepp (arXiv 2407.05146): ``hold`` is that of a borrowed LP
    (the tokens are owed, so their price risk is someone else's; v2: ``-(sqrt(S / S0) - 1)^2 / 2``), ``usd``
    that of a funded LP (the tokens were bought; v2: ``sqrt(S / S0) - 1``). NaN unless the position is worth
    something at entry.
    """
    lost, worth = impermanent_loss(shape, entry_spot, spot, measure=measure), value(shape, entry_spot)
    return np.asarray(np.where(worth > 0.0, lost / np.where(worth > 0.0, worth, 1.0), np.nan))


def loss_against(value: ArrayLike, reference: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return (gain or loss, the same as a fraction of the reference): -0.02 is a loss of 2 %.

    The reference of the two usual definitions: what the deposited tokens would be worth now (``hold``), or
    what they were worth when they went in (``usd``). The fraction is NaN unless the reference is > 0.
    """
    now, then = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    difference = now - then
    share = np.where(then > 0.0, difference / np.where(then > 0.0, then, 1.0), np.nan)
    return np.asarray(difference), np.asarray(share)


def liquidity_for_value(
    value_usd: float, spot: float, lower_usd: float = 0.0, upper_usd: float = math.inf
) -> float:
    """Return the liquidity at which a position of this range is worth ``value_usd`` at ``spot`` > 0."""
    unit = LpShape(liquidity=1.0, lower_usd=lower_usd, upper_usd=upper_usd)
    unit_value = float(value(unit, spot))
    if not 0.0 < unit_value < math.inf:
        raise InvariantError(f"liquidity for value: spot must be finite and > 0, was {spot}")
    return replace(unit, liquidity=value_usd / unit_value).liquidity  # refuses a bad value_usd


def _root_in_range(shape: LpShape, spot: ArrayLike) -> FloatArray:
    at = np.asarray(spot, dtype=np.float64)
    root = np.sqrt(np.where(at >= 0.0, at, np.nan))
    return np.asarray(np.minimum(np.maximum(root, math.sqrt(shape.lower_usd)), math.sqrt(shape.upper_usd)))
