"""R15: what the hedged position's payoff looks like, with break-evens of every layer and of the whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.group import Group
from bot.model.hedge import Instrument, Layer, OptionType
from bot.model.market import FloatArray
from bot.model.tier import RuleFinding
from bot.quant.payoff import break_evens, expiry_payoff

_GRID_POINTS = 601
_GRID_TOP = 3.0  # x today's spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Wing:
    """One option that is held or about to be bought."""

    layer: Layer
    instrument: Instrument
    contracts: float
    cost_usd: float  # all-in, for all contracts

    @property
    def units(self) -> float:
        return self.contracts * self.instrument.multiplier


def expiry_values(group: Group, wings: Sequence[Wing], spots: FloatArray) -> FloatArray:
    """Return what all wings settle at if each expires at ``spots``, in USD of the settlement's worth."""
    worth = np.array([group.stable_usd.get(wing.instrument.settlement, 1.0) for wing in wings])
    return expiry_payoff(
        spots,
        strikes=np.array([wing.instrument.strike_usd for wing in wings]),
        is_puts=np.array([wing.instrument.option_type is OptionType.PUT for wing in wings], dtype=np.bool_),
        sizes=np.array([wing.units for wing in wings]) * worth,
    )


def whole_break_evens(group: Group, wings: Sequence[Wing]) -> tuple[float, ...]:
    """Return spots where exposure and wings at expiry, cost paid, are worth what the exposure is now."""
    if not 0.0 < group.spot_usd < math.inf or not group.exposures:
        return ()
    spots = group.spot_usd * np.linspace(0.0, _GRID_TOP, _GRID_POINTS)[1:]
    cost_usd = sum(wing.cost_usd for wing in wings)
    pnl = expiry_values(group, wings, spots) - group.loss_at(spots) - cost_usd
    return tuple(float(spot) for spot in break_evens(spots, pnl))


def wing_break_even(wing: Wing) -> float:
    """Return the spot at which one wing at expiry pays back its cost; NaN when it never can."""
    per_unit = wing.cost_usd / wing.units
    if wing.instrument.option_type is OptionType.CALL:
        return wing.instrument.strike_usd + per_unit
    spot = wing.instrument.strike_usd - per_unit
    return spot if spot > 0.0 else math.nan


def wings_finding(group: Group, wings: Sequence[Wing], break_evens_usd: Sequence[float]) -> RuleFinding:
    """Say which payoff shape LP and wings make, with every break-even; the whole's are given."""
    if not wings:
        return RuleFinding(rule="R15", fired=False, because=f"{_bare(group)}; no wing is held or planned")
    layers = ", ".join(
        f"{wing.layer} {wing.instrument.strike_usd:,.0f} {wing.instrument.option_type} "
        f"break-even {wing_break_even(wing):,.0f}"
        for wing in sorted(wings, key=lambda each: (list(Layer).index(each.layer), each.instrument))
    )
    whole = ", ".join(f"{spot:,.0f}" for spot in break_evens_usd) or "none"
    because = f"{_shape(wings)}; {layers}; whole position {whole} USD{_inside(group, wings)}"
    return RuleFinding(rule="R15", fired=True, because=because)


def _bare(group: Group) -> str:
    return (
        "LP alone is a short strangle against holding"
        if group.measure == "hold"
        else "LP alone is a short put in USD"
    )


def _shape(wings: Sequence[Wing]) -> str:
    kinds = {wing.instrument.option_type for wing in wings}
    if kinds == {OptionType.PUT, OptionType.CALL}:
        return "LP with both wings: payoff of an iron condor"
    if OptionType.PUT in kinds:
        return "LP with puts: payoff of a bull put spread"
    return "LP with calls only: the upper wing of an iron condor"


def _inside(group: Group, wings: Sequence[Wing]) -> str:
    """Name strikes that lie inside an LP's range: they insure the loss in range too, at a higher premium."""
    inside = [
        f"{wing.layer} {wing.instrument.strike_usd:,.0f}"
        for wing in wings
        for item in group.exposures
        if 0.0 < item.shape.lower_usd < wing.instrument.strike_usd < item.shape.upper_usd < math.inf
    ]
    return f"; inside the range: {', '.join(dict.fromkeys(inside))}" if inside else ""
