"""R15: what the hedged position's payoff looks like, with break-evens of every layer and of the whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.model.hedge import Instrument, Layer, OptionType
from bot.model.market import FloatArray
from bot.model.quotes import instruments_of
from bot.model.tier import RuleFinding
from bot.model.units import DAY_S
from bot.quant import lp
from bot.quant.carry import FEE_INCOME_DAYS
from bot.quant.condor import credit_to_width
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
    if not wing.units > 0.0:
        return math.nan
    per_unit = wing.cost_usd / wing.units if wing.units > 0.0 else math.nan
    if wing.instrument.option_type is OptionType.CALL:
        return wing.instrument.strike_usd + per_unit
    spot = wing.instrument.strike_usd - per_unit
    return spot if spot > 0.0 else math.nan


def wings_finding(
    policy: Policy, group: Group, wings: Sequence[Wing], break_evens_usd: Sequence[float]
) -> RuleFinding:
    """Say which payoff shape LP and wings make, with every break-even (the whole's are given) and each wing's
    fees to width."""
    if not wings:
        return RuleFinding(rule="R15", fired=False, because=f"{_bare(group)}; no wing is held or planned")
    ordered = sorted(wings, key=lambda each: (list(Layer).index(each.layer), each.instrument))
    layers = ", ".join(
        f"{wing.layer} {wing.instrument.strike_usd:,.0f} {wing.instrument.option_type} "
        f"break-even {wing_break_even(wing):,.0f}"
        for wing in ordered
    )
    whole = ", ".join(f"{spot:,.0f}" for spot in break_evens_usd) or "none"
    because = (
        f"{_shape(wings)}; {layers}; whole position {whole} USD{_inside(group, wings)}; "
        f"{_widths(policy, group, ordered)}"
    )
    return RuleFinding(rule="R15", fired=True, because=because)


def fees_to_width(
    group: Group, strikes: FloatArray, *, option_type: OptionType, fees_usd: float
) -> FloatArray:
    """Return the fees of a roll over wing width x units, at each strike; NaN inside the range.

    The width is how far the strike lies outside a position's range, or from today's spot where the range has
    no end there; the units are what the position holds beyond that end, for a call what it was worth keeping.
    Of several positions the widths x units add up.
    """
    spread_usd = np.zeros(strikes.shape)
    for item in group.exposures:
        end = item.shape.lower_usd if option_type is OptionType.PUT else item.shape.upper_usd
        end = end if 0.0 < end < math.inf else group.own_spot_usd
        at = min(end, group.own_spot_usd) if option_type is OptionType.PUT else group.own_spot_usd
        units = float(lp.amounts(item.shape, at)[0])
        width = end - strikes if option_type is OptionType.PUT else strikes - end
        spread_usd += np.maximum(width, 0.0) * units
    return credit_to_width(fees_usd, spread_usd, 1.0)


def _widths(policy: Policy, group: Group, wings: Sequence[Wing]) -> str:
    """Report fees per roll over wing width, and the listed width that would meet the policy's band."""
    rule = policy.wings
    low, high = rule.fees_to_width
    fees_usd = group.fee_income_usd * rule.roll / (FEE_INCOME_DAYS * DAY_S)
    if group.hedged_by != group.underlying:
        return f"no wing width: the strikes are {group.hedged_by}'s"
    if not fees_usd > 0.0:
        return "fees to width unknown: no fee income is known"
    said = []
    for wing in wings:
        item = wing.instrument
        (ratio,) = fees_to_width(
            group, np.array([item.strike_usd]), option_type=item.option_type, fees_usd=fees_usd
        )
        name = f"{wing.layer} {item.strike_usd:,.0f}"
        if math.isnan(ratio):
            said.append(f"{name} no width, it is not outside the range")
        elif low <= ratio <= high:
            said.append(f"{name} {ratio:.0%}")
        else:
            better = _listed_width(policy, group, item, fees_usd)
            said.append(f"{name} {ratio:.0%}, outside {low:.0%} to {high:.0%}: {better}")
    return f"fees of {rule.roll / DAY_S:g} d over width: {', '.join(dict.fromkeys(said))}"


def _listed_width(policy: Policy, group: Group, item: Instrument, fees_usd: float) -> str:
    """Name the listed strike of the same expiry whose ratio is nearest the middle of the policy's band."""
    low, high = policy.wings.fees_to_width
    same = (item.venue, item.expiry_s, item.option_type)
    listed = instruments_of(group.quotes)
    strikes = np.array(
        sorted(
            {
                each.strike_usd
                for each in listed
                if (each.venue, each.expiry_s, each.option_type, each.underlying) == (*same, item.underlying)
            }
        )
    )
    ratios = fees_to_width(group, strikes, option_type=item.option_type, fees_usd=fees_usd)
    fits = (ratios >= low) & (ratios <= high)
    if not fits.any():
        return "no listed width meets it"
    best = int(np.argmin(np.where(fits, np.abs(ratios - 0.5 * (low + high)), np.inf)))
    return f"{strikes[best]:,.0f} would meet it with {ratios[best]:.0%}"


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
