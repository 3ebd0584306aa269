"""What a put on a range of prices is worth: its payoff, smeared over the range, and the premium to expect.

All is per unit of the underlying. The range is (lower, upper) in cash, the strike their geometric mean.
"""

import math

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_NODES, _WEIGHTS = hermegauss(96)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def range_payoff(spot: FloatArray | float, lower: float, upper: float) -> FloatArray:
    """Return what closing a bought put would bring at a price, premium left out; >= 0.

    The liquidity that was bought is worth its strike in cash above the range, one underlying below it, and in
    between L (2 S^1/2 - S / b^1/2 - a^1/2) with L = 1 / (a^-1/2 - b^-1/2) (Uniswap v3 white paper).
    """
    at = np.clip(np.asarray(spot, dtype=np.float64), lower, upper)
    root_low, root_high = math.sqrt(lower), math.sqrt(upper)
    liquidity = 1.0 / (1.0 / root_low - 1.0 / root_high)
    inside = liquidity * (2.0 * np.sqrt(at) - at / root_high - root_low)
    under = np.maximum(lower - np.asarray(spot, dtype=np.float64), 0.0)  # below it falls one for one
    return np.asarray(np.maximum(math.sqrt(lower * upper) - inside, 0.0) + under)


def expected_premium(spot: float, lower: float, upper: float, *, years: float, iv: float) -> float:
    """Return the premium that is expected to stream in ``years``, at a volatility, without a spread; >= 0.

    The fair stream pays for the payoff's convexity: by Ito its expectation is E[payoff(S_T)] - payoff(S_0),
    where S is a lognormal martingale.
    """
    total = iv * math.sqrt(years)
    ends = spot * np.exp(total * _NODES - 0.5 * total * total)
    later = float(_WEIGHTS @ range_payoff(ends, lower, upper))
    return max(later - float(range_payoff(spot, lower, upper)), 0.0)


def spread_multiplier(net: float, removed: float, *, vegoid: int) -> float:
    """Return how much more than the fees a buyer owes, by what was bought of a chunk: 1 + R / (v N)."""
    return 1.0 + removed / (vegoid * net) if net > 0.0 else math.inf
