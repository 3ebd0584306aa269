"""What a position and its hedges gain and lose over the price, now and at expiry."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.model.exposure import LpShape
from bot.model.hedge import OptionType
from bot.model.market import FloatArray
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.ports import VenuePosition
from bot.quant import lp
from bot.quant.payoff import break_evens, option_value

PAYOFF_EXPIRIES = 3  # more lines than these cannot be told apart
_GRID = np.linspace(0.2, 1.6, 281)  # spot / spot now


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PayoffCurve:
    """Gain from today's value over a grid of prices, at one time."""

    label: str
    change_usd: FloatArray
    break_evens_usd: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Payoff:
    spots_usd: FloatArray
    spot_usd: float
    ranges_usd: tuple[tuple[float, float], ...]  # of each position; 0 and inf for full range
    alone: FloatArray
    hedges: tuple[PayoffCurve, ...]  # hedges alone: now, and at each expiry
    both: tuple[PayoffCurve, ...]


def payoff_of(
    shapes: Sequence[LpShape], spot_usd: float, positions: Sequence[VenuePosition], *, now_s: float
) -> Payoff | None:
    """Return gains of all positions together from today's value, now and at the next expiries.

    None without a position or hedges, or where a vol is unknown.
    """
    alive = [item for item in positions if item.instrument.expiry_s > now_s]
    if not shapes or not alive or not spot_usd > 0.0 or any(math.isnan(item.iv) for item in alive):
        return None
    spots = spot_usd * _GRID
    alone = sum((lp.value(item, spots) - lp.value(item, spot_usd) for item in shapes), np.zeros(spots.size))
    times = {"now": now_s}
    for expiry_s in sorted({item.instrument.expiry_s for item in alive})[:PAYOFF_EXPIRIES]:
        times[f"in {_duration(expiry_s - now_s)}"] = float(expiry_s)
    mark_usd = float(_options_value(alive, np.array([spot_usd]), at_s=now_s)[0])
    hedges, both = [], []
    for label, at_s in times.items():
        gain = _options_value(alive, spots, at_s=at_s) - mark_usd
        hedges.append(_curve(label, spots, gain))
        both.append(_curve(label, spots, alone + gain))
    return Payoff(
        spots_usd=spots,
        spot_usd=spot_usd,
        ranges_usd=tuple(dict.fromkeys((item.lower_usd, item.upper_usd) for item in shapes)),
        alone=alone,
        hedges=tuple(hedges),
        both=tuple(both),
    )


def _options_value(positions: Sequence[VenuePosition], spots: FloatArray, *, at_s: float) -> FloatArray:
    """Return the model value at one time and today's vols; what expired by then settles at that price."""
    return option_value(
        spots,
        strikes=[item.instrument.strike_usd for item in positions],
        is_puts=[item.instrument.option_type is OptionType.PUT for item in positions],
        years=[max(item.instrument.expiry_s - at_s, 0.0) / YEAR_S for item in positions],
        ivs=[item.iv for item in positions],
        sizes=[item.size * item.instrument.multiplier for item in positions],
    )


def _curve(label: str, spots: FloatArray, change: FloatArray) -> PayoffCurve:
    return PayoffCurve(
        label=label, change_usd=change, break_evens_usd=tuple(break_evens(spots, change).tolist())
    )


def _duration(seconds: float) -> str:
    return f"{seconds / DAY_S:.0f} d" if seconds >= DAY_S else f"{seconds / HOUR_S:.0f} h"
