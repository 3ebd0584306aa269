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
_SURFACE_TIMES = 25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PayoffCurve:
    """Gain from today's value over a grid of prices, at one time."""

    label: str
    change_usd: FloatArray
    break_evens_usd: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PayoffSurface:
    """Gain of position and hedges together from today's value, over the price and the days from now."""

    days: FloatArray  # from 0 to the last expiry
    spots_usd: FloatArray
    change_usd: tuple[FloatArray, ...]  # one row for each of ``days``
    expiries_days: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Payoff:
    spots_usd: FloatArray
    spot_usd: float
    ranges_usd: tuple[tuple[float, float], ...]  # of each position; 0 and inf for full range
    alone: FloatArray
    hedges: tuple[PayoffCurve, ...]  # hedges alone: now, and at each expiry
    both: tuple[PayoffCurve, ...]
    surface: PayoffSurface | None = None  # None: no option is held, so that time changes nothing


def payoff_of(
    shapes: Sequence[LpShape],
    spot_usd: float,
    positions: Sequence[VenuePosition],
    *,
    now_s: float,
    perpetual_units: float = 0.0,
) -> Payoff | None:
    """Return gains of all positions together from today's value, now and at the next expiries.

    ``perpetual_units`` of the underlying are held beside the options, short < 0; no funding is reckoned on
    them. None without a position or hedges, or where a vol is unknown.
    """
    alive = [item for item in positions if item.instrument.expiry_s > now_s]
    is_hedged = bool(alive or perpetual_units)
    if not shapes or not is_hedged or not spot_usd > 0.0 or any(math.isnan(item.iv) for item in alive):
        return None
    spots = spot_usd * _GRID
    alone = _position_gain(shapes, spot_usd, spots)
    expiries_s = sorted({item.instrument.expiry_s for item in alive})
    times = {"now": now_s}
    times |= {f"in {_duration(at_s - now_s)}": float(at_s) for at_s in expiries_s[:PAYOFF_EXPIRIES]}
    hedges, both = [], []
    for label, at_s in times.items():
        gain = _hedge_gain(alive, perpetual_units, spot_usd, spots, now_s=now_s, at_s=at_s)
        hedges.append(_curve(label, spots, gain))
        both.append(_curve(label, spots, alone + gain))
    return Payoff(
        spots_usd=spots,
        spot_usd=spot_usd,
        ranges_usd=tuple(dict.fromkeys((item.lower_usd, item.upper_usd) for item in shapes)),
        alone=alone,
        hedges=tuple(hedges),
        both=tuple(both),
        surface=_surface(shapes, alive, perpetual_units, spot_usd, now_s=now_s) if alive else None,
    )


def _surface(
    shapes: Sequence[LpShape],
    alive: Sequence[VenuePosition],
    perpetual_units: float,
    spot_usd: float,
    *,
    now_s: float,
) -> PayoffSurface:
    spots = spot_usd * _GRID[::4]
    alone = _position_gain(shapes, spot_usd, spots)
    expiries_s = sorted({item.instrument.expiry_s for item in alive})
    times_s = np.linspace(now_s, expiries_s[-1], _SURFACE_TIMES)
    return PayoffSurface(
        days=(times_s - now_s) / DAY_S,
        spots_usd=spots,
        change_usd=tuple(
            alone + _hedge_gain(alive, perpetual_units, spot_usd, spots, now_s=now_s, at_s=float(at_s))
            for at_s in times_s
        ),
        expiries_days=tuple((at_s - now_s) / DAY_S for at_s in expiries_s),
    )


def _position_gain(shapes: Sequence[LpShape], spot_usd: float, spots: FloatArray) -> FloatArray:
    return sum((lp.value(item, spots) - lp.value(item, spot_usd) for item in shapes), np.zeros(spots.size))


def _hedge_gain(
    alive: Sequence[VenuePosition],
    perpetual_units: float,
    spot_usd: float,
    spots: FloatArray,
    *,
    now_s: float,
    at_s: float,
) -> FloatArray:
    mark_usd = float(_options_value(alive, np.array([spot_usd]), at_s=now_s)[0])
    return _options_value(alive, spots, at_s=at_s) - mark_usd + perpetual_units * (spots - spot_usd)


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
