"""An LP position's value and delta at one price, operation by operation as ``bot.quant.lp`` does them."""

import math

from bot.simulation.kernels.compiling import Floats, inlined, jitable
from bot.simulation.kernels.layout import (
    BY_HOLD,
    KEPT_UNITS,
    LIQUIDITY,
    LOWER_ROOT,
    LOWER_USD,
    SHAPE_FIELDS,
    SPOT_USD,
    UPPER_ROOT,
    UPPER_USD,
)


@jitable
def take_shape(terms: Floats, shape: Floats) -> None:
    """Let the terms be of another shape."""
    for field in range(SHAPE_FIELDS):
        terms[field] = shape[field]
    terms[LOWER_ROOT], terms[UPPER_ROOT] = math.sqrt(terms[LOWER_USD]), math.sqrt(terms[UPPER_USD])


@inlined
def lp_value(terms: Floats, spot_usd: float) -> float:
    """Return the position's value in USD."""
    low, high = terms[LOWER_ROOT], terms[UPPER_ROOT]
    root = min(max(math.sqrt(spot_usd), low), high)
    held = spot_usd / root - spot_usd / high + root - low
    return float(terms[LIQUIDITY] * max(held, 0.0))


@jitable
def fill_values(terms: Floats, market: Floats, begin: int, end: int, values_usd: Floats) -> None:
    """Write down the position's value at the steps from ``begin`` to before ``end``, eight at a time."""
    liquidity, low, high = terms[LIQUIDITY], terms[LOWER_ROOT], terms[UPPER_ROOT]
    for i in range(end - begin):
        spot_usd = market[SPOT_USD, begin + i]
        root = math.sqrt(spot_usd)
        root = low if root < low else root
        root = high if root > high else root
        held = spot_usd / root - spot_usd / high + root - low
        values_usd[i] = liquidity * (held if held > 0.0 else 0.0)


@jitable
def lp_units(terms: Floats, spot_usd: float) -> float:
    """Return the units of the underlying in the position."""
    root = min(max(math.sqrt(spot_usd), terms[LOWER_ROOT]), terms[UPPER_ROOT])
    return float(terms[LIQUIDITY] * (1.0 / root - 1.0 / terms[UPPER_ROOT]))


@jitable
def lp_delta(terms: Floats, spot_usd: float) -> float:
    """Return the units that move as the group does, >= 0 (``Group.delta``)."""
    units = lp_units(terms, spot_usd)
    if terms[BY_HOLD] == 1.0:
        kept = terms[KEPT_UNITS]
        units -= units if kept < 0.0 else kept
    return max(units, 0.0)


@jitable
def lp_loss(terms: Floats, spot_usd: float, there_usd: float) -> float:
    """Return the loss of a move from ``spot_usd`` to ``there_usd``, a gain under 0 (``group_loss``)."""
    lost = lp_value(terms, spot_usd) - lp_value(terms, there_usd)
    if terms[BY_HOLD] == 1.0:
        kept = terms[KEPT_UNITS]
        lost += (lp_units(terms, spot_usd) if kept < 0.0 else kept) * (there_usd - spot_usd)
    return lost
