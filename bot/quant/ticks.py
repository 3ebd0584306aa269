"""Uniswap's ticks in exact integers: prices as square roots in Q64.96, and what liquidity in a range holds.

Tick t is 1.0001^t raw units of token1 for one of token0 (v3-core TickMath, SqrtPriceMath, LiquidityAmounts).
"""

import math
from decimal import Context, Decimal

X96 = 2**96
MIN_TICK, MAX_TICK = -887_272, 887_272
_PRECISE = Context(prec=60)


def sqrt_ratio_x96(tick: int) -> int:
    """Return sqrt(1.0001^tick) x 2^96, rounded down; TickMath, which rounds on its way, is within 1e-18."""
    root = _PRECISE.power(Decimal("1.0001"), Decimal(tick)).sqrt(_PRECISE)
    return int(_PRECISE.multiply(root, Decimal(X96)))


def sqrt_price_x96(price: float) -> int:
    """Return the square root in Q64.96 of raw units of token1 for one of token0, finite and > 0."""
    return int(math.sqrt(price) * X96)


def amounts_in(liquidity: int, *, at_x96: int, low_x96: int, high_x96: int) -> tuple[int, int]:
    """Return raw token0 and token1 that liquidity between two prices holds at a third, rounded down."""
    at = min(max(at_x96, low_x96), high_x96)
    amount0 = liquidity * X96 * (high_x96 - at) // (at * high_x96)
    return amount0, liquidity * (at - low_x96) // X96
