"""What an LP earned, from how the pool's own counters grew.

v3 and v4 count fees per unit of liquidity as Q128 numbers that wrap at 2^256 (Uniswap v3 whitepaper, 6.3 and
6.4); the integers are the contract's own. A v2 pool keeps its fees, so sqrt(x y) per pool share grows by
them.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.model.market import FloatArray
from bot.model.units import YEAR_S
from bot.quant import lp

_Q128 = 1 << 128
_WORD = 1 << 256


def fee_growth_inside(
    *, overall: int, below_lower: int, below_upper: int, tick: int, lower: int, upper: int
) -> int:
    """Return the fees per unit of liquidity earned inside a range so far, Q128 (whitepaper 6.17 to 6.19).

    ``overall`` is feeGrowthGlobal, ``below_lower`` and ``below_upper`` are feeGrowthOutside of the range's
    ticks. Only differences of the result over time mean something: it wraps.
    """
    if lower >= upper:
        raise InvariantError(f"fee growth: lower tick must be under the upper, was {lower} and {upper}")
    below = below_lower if tick >= lower else overall - below_lower
    above = below_upper if tick < upper else overall - below_upper
    return (overall - below - above) % _WORD


def fees_from_growth(liquidity: int, *, growth_then: int, growth_now: int) -> int:
    """Return the smallest units of a token that a position earned, rounded down as the contract does."""
    if liquidity < 0:
        raise InvariantError(f"fees: liquidity must be >= 0, was {liquidity}")
    return (growth_now - growth_then) % _WORD * liquidity // _Q128


def share_growth(
    *, liquidity_then: float, supply_then: float, liquidity_now: float, supply_now: float
) -> float:
    """Return by what fraction a v2 pool's liquidity per pool share grew: 0.01 is 1 % in fees.

    Liquidity is sqrt(x y). NaN unless all four are finite and > 0.
    """
    if not all(0.0 < item < math.inf for item in (liquidity_then, supply_then, liquidity_now, supply_now)):
        return math.nan
    return (liquidity_now / supply_now) / (liquidity_then / supply_then) - 1.0


def v2_fee_value(shape: LpShape, growth: float, spot: ArrayLike) -> FloatArray:
    """Return the USD that the growth of its pool share added to a v2 position of the liquidity of now."""
    if shape.lower_usd > 0.0 or shape.upper_usd < math.inf:
        raise InvariantError(f"v2 fees need a position without range, was {shape}")
    if not growth > -1.0:
        return np.full(np.shape(spot), np.nan)
    return np.asarray(lp.value(shape, spot) * (growth / (1.0 + growth)))


def fee_apr(fees_usd: float, value_usd: float, seconds: float) -> float:
    """Return fee income as a fraction a year of the position's value; NaN unless value and time are > 0."""
    if not (value_usd > 0.0 and seconds > 0.0):
        return math.nan
    return fees_usd / value_usd * YEAR_S / seconds
