"""What the puts of a layer are worth along many paths, and what trading them costs: compiled loops.

In short loops: the processor works on several lanes of one at once, where it would wait inside a long one.
"""

from typing import Any

import numpy as np

from bot.quant.vector_math import compiled_kernel
from bot.simulation.monte_carlo.hedge_rows import (
    BELL,
    BID,
    BUYS,
    CONTRACTS,
    D1,
    D2,
    GAS,
    GAS_STRESS,
    LEAST_VARIANCE,
    LOG_STRIKE,
    NOTIONAL_CAP,
    NOTIONAL_SHARE,
    PRICE,
    SKEW_BEND,
    SPREAD,
    SPREAD_SHARE,
    SPREAD_STRESS,
    SPREAD_VOL,
    STRIKE,
    THREE,
)
from bot.simulation.monte_carlo.lane_maths import (
    HALF,
    INV_SQRT_2PI,
    ONE,
    TAIL_P,
    ZERO,
    exp_of,
    tail_over_density,
)
from bot.simulation.monte_carlo.path_tiles import (
    IV2,
    LANES,
    SLOPE,
    SPOT,
    STRESS,
    X,
)


@compiled_kernel(fastmath=False)
def place_puts(a: Any, layer: Any, base: Any, per_iv2: Any, floor: Any, bend: Any) -> None:
    """Write how far each path's put is from its strike: d1 and d2 at the vol of its strike."""
    for i in range(LANES):
        u = np.sqrt(max(base + per_iv2 * a[IV2 * LANES + i], floor))
        q = (a[X * LANES + i] - layer[LOG_STRIKE * LANES + i]) / u
        x = min(max(-q, -THREE), THREE)
        ratio = ONE + x * (bend * x - a[SLOPE * LANES + i])
        total = u * ratio
        d1 = q / ratio + HALF * total
        layer[D1 * LANES + i] = d1
        layer[D2 * LANES + i] = d1 - total


@compiled_kernel(fastmath=False)
def ring_bells(layer: Any) -> None:
    """Write strike x n(d2), which is spot x n(d1)."""
    for i in range(LANES):
        d2 = layer[D2 * LANES + i]
        layer[BELL * LANES + i] = layer[STRIKE * LANES + i] * (INV_SQRT_2PI * exp_of(-HALF * (d2 * d2)))


@compiled_kernel(fastmath=False)
def value_puts(a: Any, layer: Any) -> None:
    for i in range(LANES):
        d1, d2, bell = layer[D1 * LANES + i], layer[D2 * LANES + i], layer[BELL * LANES + i]
        f1, f2 = ONE + TAIL_P * abs(d1), ONE + TAIL_P * abs(d2)
        both = ONE / (f1 * f2)
        tail_1, tail_2 = bell * tail_over_density(both * f2), bell * tail_over_density(both * f1)
        held = tail_1 if d1 > ZERO else a[SPOT * LANES + i] - tail_1
        owed = tail_2 if d2 > ZERO else layer[STRIKE * LANES + i] - tail_2
        layer[PRICE * LANES + i] = max(owed - held, ZERO)


@compiled_kernel(fastmath=False)
def spread_puts(a: Any, layer: Any, root_years: Any, impact: Any, market: Any) -> None:
    """Write half the spread: the larger of a share of value and some vol points, more in stress; a fee."""
    share, points, stressed = market[SPREAD_SHARE], market[SPREAD_VOL], market[SPREAD_STRESS]
    fee, cap = market[NOTIONAL_SHARE], market[NOTIONAL_CAP]
    for i in range(LANES):
        price = layer[PRICE * LANES + i]
        vols = (points + impact * layer[CONTRACTS * LANES + i]) * (layer[BELL * LANES + i] * root_years)
        half = max(share * price, vols) * (ONE + stressed * a[STRESS * LANES + i])
        layer[SPREAD * LANES + i] = half + min(fee * a[SPOT * LANES + i], cap * price)


@compiled_kernel(fastmath=False)
def price_puts(
    a: Any, layer: Any, base: Any, per_iv2: Any, root_years: Any, impact: Any, market: Any
) -> None:
    """Write each path's model value (Black-Scholes-Merton, rate 0, skewed vol) and half the spread."""
    floor = LEAST_VARIANCE * root_years * root_years
    place_puts(a, layer, base, per_iv2, floor, market[SKEW_BEND])
    ring_bells(layer)
    value_puts(a, layer)
    spread_puts(a, layer, root_years, impact, market)


@compiled_kernel(fastmath=False)
def bid_for(a: Any, layer: Any, market: Any) -> None:
    """Write what selling each path's contracts would bring, gas paid."""
    gas, stressed = market[GAS], market[GAS_STRESS]
    for i in range(LANES):
        unit = layer[PRICE * LANES + i] - layer[SPREAD * LANES + i]
        fuel = gas * (ONE + stressed * a[STRESS * LANES + i])
        layer[BID * LANES + i] = max(layer[CONTRACTS * LANES + i] * unit - fuel, ZERO)


@compiled_kernel(fastmath=False)
def bid_at_once(a: Any, layer: Any, root_years: Any, impact: Any, market: Any) -> None:
    """Write into BID what ``spread_puts`` and ``bid_for`` come to, and leave out what stands between."""
    share, points, stressed = market[SPREAD_SHARE], market[SPREAD_VOL], market[SPREAD_STRESS]
    fee, cap, gas, gas_stressed = (
        market[NOTIONAL_SHARE],
        market[NOTIONAL_CAP],
        market[GAS],
        market[GAS_STRESS],
    )
    for i in range(LANES):
        price, contracts, stress = (
            layer[PRICE * LANES + i],
            layer[CONTRACTS * LANES + i],
            a[STRESS * LANES + i],
        )
        vols = (points + impact * contracts) * (layer[BELL * LANES + i] * root_years)
        half = max(share * price, vols) * (ONE + stressed * stress)
        unit = price - (half + min(fee * a[SPOT * LANES + i], cap * price))
        fuel = gas * (ONE + gas_stressed * stress)
        layer[BID * LANES + i] = max(contracts * unit - fuel, ZERO)


@compiled_kernel(fastmath=False)
def mark_puts(a: Any, layer: Any, base: Any, per_iv2: Any, root_years: Any, impact: Any, market: Any) -> None:
    """Write what selling each path's contracts would bring, where nothing is bought."""
    floor = LEAST_VARIANCE * root_years * root_years
    place_puts(a, layer, base, per_iv2, floor, market[SKEW_BEND])
    ring_bells(layer)
    value_puts(a, layer)
    bid_at_once(a, layer, root_years, impact, market)


@compiled_kernel(fastmath=False)
def settle_puts(a: Any, layer: Any, market: Any) -> None:
    """Write into BID what settling each path's contracts brings, gas paid."""
    gas, stressed = market[GAS], market[GAS_STRESS]
    for i in range(LANES):
        payoff = max(layer[STRIKE * LANES + i] - a[SPOT * LANES + i], ZERO)
        fuel = gas * (ONE + stressed * a[STRESS * LANES + i])
        layer[BID * LANES + i] = max(layer[CONTRACTS * LANES + i] * payoff - fuel, ZERO)


@compiled_kernel(fastmath=False)
def pick_strikes(
    a: Any, layer: Any, base: Any, per_iv2: Any, root_years: Any, bend: Any, quantile: Any
) -> None:
    """Write the strikes at which a put has the layer's delta, where BUYS is set."""
    floor = LEAST_VARIANCE * root_years * root_years
    for i in range(LANES):
        u, slope = np.sqrt(max(base + per_iv2 * a[IV2 * LANES + i], floor)), a[SLOPE * LANES + i]
        ratio = ONE  # the strike's vol over the at-the-money one: a fixed point, found in three rounds
        x = min(max(HALF * u * (ratio * ratio) - quantile * ratio, -THREE), THREE)
        ratio = ONE + x * (bend * x - slope)
        x = min(max(HALF * u * (ratio * ratio) - quantile * ratio, -THREE), THREE)
        ratio = ONE + x * (bend * x - slope)
        x = min(max(HALF * u * (ratio * ratio) - quantile * ratio, -THREE), THREE)
        ratio = ONE + x * (bend * x - slope)
        total = u * ratio
        log_strike = a[X * LANES + i] - total * (quantile - HALF * total)
        buys = layer[BUYS * LANES + i] > HALF
        layer[LOG_STRIKE * LANES + i] = log_strike if buys else layer[LOG_STRIKE * LANES + i]
        layer[STRIKE * LANES + i] = exp_of(log_strike) if buys else layer[STRIKE * LANES + i]
