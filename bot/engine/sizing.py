"""R8: how many units of the underlying each layer should hold, losses and gains on the same paths.

Units are contracts x multiplier, so that layers' notionals keep R7's proportions whatever a venue's contract
is. A layer for which nothing usable is listed holds its share back as a shortfall: the others do not swell.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.choose import Choice, Slot
from bot.engine.group import Group, group_contracts
from bot.engine.layers import LayerPlan
from bot.engine.policy import Policy
from bot.model.hedge import HeldHedge, Layer
from bot.model.market import FloatArray
from bot.model.tier import RuleFinding, Tier
from bot.quant.var import scale_for, value_at_risk

_ROUNDING = 1e-6  # of a weight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """What one slot should hold in full, its layer's own trigger left out."""

    slot: Slot
    plan: LayerPlan
    choice: Choice
    units: float  # of the underlying; NaN when the value at risk is unknown
    unit_gains: FloatArray  # USD per unit of the underlying, one per path; zeros without an instrument
    weight: float  # its layer's share of option notional; R7's unless TAIL is lifted to its standing share

    @property
    def released_units(self) -> float:
        return self.units * self.plan.released


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """All targets of a group at a tier."""

    targets: Mapping[Slot, Target]
    share: float  # of VaR that is wanted (R8)
    reached: float  # that the targets would remove; NaN unknown
    finding: RuleFinding


def size_group(
    policy: Policy,
    group: Group,
    tier: Tier,
    plans: Sequence[LayerPlan],
    choices: Mapping[Slot, Choice],
) -> Sizing:
    """Return targets that together remove the tier's share of VaR; TAIL never under its CALM share (R14)."""
    by_layer = {plan.layer: plan for plan in plans}
    slots = [slot for slot in choices if by_layer[slot.layer].open]
    gains = {slot: unit_path_gains(group, choices[slot]) for slot in slots}
    listed = [slot for slot in slots if choices[slot].quote is not None]
    present = sum(by_layer[layer].weight for layer in {slot.layer for slot in listed})
    share = policy.sizing.shares.of(tier)
    units = _solve(policy, group, listed, gains, by_layer, share=share * present)
    weights = _real_weights(units, by_layer, present=present)
    targets = {
        slot: Target(
            slot=slot,
            plan=by_layer[slot.layer],
            choice=choices[slot],
            units=units.get(slot, 0.0),
            unit_gains=gains[slot],
            weight=weights[slot.layer],
        )
        for slot in slots
    }
    covered = sum((units[slot] * gains[slot] for slot in listed), np.zeros(group.losses_usd.shape))
    reached = covered_share(group, covered)
    lifted = weights if any(weights[layer] != by_layer[layer].weight for layer in weights) else {}
    return Sizing(
        targets=targets, share=share, reached=reached, finding=_finding(group, tier, share, reached, lifted)
    )


def unit_path_gains(group: Group, choice: Choice) -> FloatArray:
    """Return gain per unit of the underlying on every path; zeros when nothing is listed."""
    if choice.quote is None:
        return np.zeros(group.losses_usd.shape)
    contracts = group_contracts(group, [(choice.quote.instrument, choice.quote.iv)])
    return np.asarray(contracts.path_gains(group.paths)[0] / choice.quote.instrument.multiplier)


def held_path_gains(group: Group, held: Sequence[HeldHedge]) -> FloatArray:
    """Return the summed gain of held hedges on every path; NaN where a mark is unknown."""
    if not held:
        return np.zeros(group.losses_usd.shape)
    contracts = group_contracts(group, [(item.instrument, item.iv) for item in held])
    sizes = np.array([item.size for item in held], dtype=np.float64)
    return np.asarray(sizes @ contracts.path_gains(group.paths))


def covered_share(group: Group, gains: FloatArray) -> float:
    """Return the fraction of VaR that gains remove; 0 when nothing is at risk, NaN unknown."""
    if not group.var_usd > 0.0:
        return 0.0 if group.var_usd == 0.0 else math.nan
    return 1.0 - value_at_risk(group.losses_usd - gains, confidence=group.confidence) / group.var_usd


def scale_to_share(
    group: Group, base_gains: FloatArray, unit_gains: FloatArray, *, share: float, most: float = math.inf
) -> float:
    """Return the least k <= most at which ``base + k x unit`` gains leave (1 - share) of the group's VaR.

    0 when the base alone does; the best reachable k when none does; NaN when anything is unknown.
    """
    losses, goal = group.losses_usd - base_gains, (1.0 - share) * group.var_usd
    left = value_at_risk(losses, confidence=group.confidence)
    if math.isnan(left) or math.isnan(goal) or not np.isfinite(unit_gains).all():
        return math.nan
    if left <= goal or left <= 0.0 or not unit_gains.any():
        return 0.0
    part = min(max(1.0 - goal / left, 0.0), 1.0)
    if not np.isfinite(losses).all():
        return math.nan
    return scale_for(
        losses, unit_gains, at_risk=left, share=part, confidence=group.confidence, max_scale=most
    )


def _solve(
    policy: Policy,
    group: Group,
    listed: Sequence[Slot],
    gains: Mapping[Slot, FloatArray],
    plans: Mapping[Layer, LayerPlan],
    *,
    share: float,
) -> dict[Slot, float]:
    """Return units per slot in R7's proportions, TAIL lifted to its standing share where that is more."""
    nothing = np.zeros(group.losses_usd.shape)
    weighted = {slot: plans[slot.layer].weight for slot in listed}
    scale = scale_to_share(group, nothing, _mix(weighted, gains, nothing), share=share)
    tails = {slot: 1.0 for slot in listed if slot.layer is Layer.TAIL}
    calm_share = policy.sizing.shares.of(Tier.CALM)
    if (tails, calm_share) == (weighted, share):  # CALM: the same question twice
        return {slot: scale for slot in tails}
    standing = scale_to_share(group, nothing, _mix(tails, gains, nothing), share=calm_share) if tails else 0.0
    if not standing > scale * plans[Layer.TAIL].weight:
        return {slot: scale * weight for slot, weight in weighted.items()}
    floor = {slot: standing for slot in tails}
    others = {slot: weight for slot, weight in weighted.items() if slot not in tails}
    rest = scale_to_share(group, _mix(floor, gains, nothing), _mix(others, gains, nothing), share=share)
    return floor | {slot: rest * weight for slot, weight in others.items()}


def _real_weights(
    units: Mapping[Slot, float], plans: Mapping[Layer, LayerPlan], *, present: float
) -> Mapping[Layer, float]:
    """Return the open layers' shares of notional: R7's, unless TAIL stands at more than its own.

    An unlisted layer keeps its share, which is a shortfall; the listed ones share ``present``.
    """
    planned = {layer: plan.weight for layer, plan in plans.items() if plan.open}
    total = sum(units.values())
    held = {layer: 0.0 for layer in {slot.layer for slot in units}}
    for slot, amount in units.items():
        held[slot.layer] += present * amount / total if total > 0.0 else 0.0
    tail = held.get(Layer.TAIL, 0.0)
    if not tail > planned.get(Layer.TAIL, 0.0) * (1.0 + _ROUNDING):  # NaN too
        return planned
    return {layer: held.get(layer, weight) for layer, weight in planned.items()}


def _mix(amounts: Mapping[Slot, float], gains: Mapping[Slot, FloatArray], nothing: FloatArray) -> FloatArray:
    return np.asarray(sum((amount * gains[slot] for slot, amount in amounts.items()), nothing))


def _finding(
    group: Group, tier: Tier, share: float, reached: float, lifted: Mapping[Layer, float]
) -> RuleFinding:
    because = (
        f"{tier.name} covers {share:.0%} of the {group.horizon_days}-day {group.confidence:.0%} VaR "
        f"{group.var_usd:,.0f} USD ({group.var_method}, {group.paths.shape[0]:,} paths from "
        f"{group.daily_returns:,} daily returns); listed options reach {reached:.1%}"
    )
    if lifted:
        real = ", ".join(f"{layer} {100 * weight:.1f}" for layer, weight in lifted.items())
        because += f"; TAIL stands at its CALM share (R14), so notionals are {real}"
    return RuleFinding(rule="R8", fired=group.var_usd > 0.0 and share > 0.0, because=because)
