"""R8: how many units of the underlying each layer should hold, losses and gains on the same paths.

Units are contracts x multiplier, so that layers' notionals, or the premium they cost, keep R7's proportions
whatever a venue's contract is. A layer for which nothing usable is listed holds its share back as a
shortfall: the others do not swell. A token that no listed option may stand in for is all shortfall.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bot.engine.choose import Choice, Slot
from bot.engine.group import Group, path_gains
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
    weight: (
        float  # its layer's share of notional or premium; R7's unless TAIL is lifted to its standing share
    )
    standing_units: float = 0.0  # of ``units``: TAIL's standing share (R14), which R11 does not hold back
    rung_units: Mapping[int, float] = field(default_factory=dict)  # expiry -> most units to add there (R14)

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
    present = sum(by_layer[layer].weight for layer in Layer if any(slot.layer is layer for slot in listed))
    share = policy.sizing.shares.of(tier)
    parts = _proportions(policy, by_layer, {slot: choices[slot] for slot in listed})
    units, standing = _solve(policy, group, parts, gains, share=share * present)
    weights = _real_weights(units, by_layer, _prices(policy, choices), present=present)
    targets = {
        slot: Target(
            slot=slot,
            plan=by_layer[slot.layer],
            choice=choices[slot],
            units=units.get(slot, 0.0),
            unit_gains=gains[slot],
            weight=weights[slot.layer],
            standing_units=standing if slot.layer is Layer.TAIL and slot in units else 0.0,
            rung_units=_rungs(policy, group, choices[slot], units.get(slot, 0.0)),
        )
        for slot in slots
    }
    covered = sum((units[slot] * gains[slot] for slot in listed), np.zeros(group.losses_usd.shape))
    reached = covered_share(group, covered)
    lifted = weights if any(weights[layer] != by_layer[layer].weight for layer in weights) else {}
    return Sizing(
        targets=targets,
        share=share,
        reached=reached,
        finding=_finding(policy, group, tier, share, reached, lifted),
    )


def unit_path_gains(group: Group, choice: Choice) -> FloatArray:
    """Return gain per unit of the underlying on every path; zeros when nothing is listed."""
    if choice.quote is None:
        return np.zeros(group.losses_usd.shape)
    (gains,) = path_gains(group, [(choice.quote.instrument, choice.quote.iv)])
    return np.asarray(gains / choice.quote.instrument.multiplier)


def held_path_gains(group: Group, held: Sequence[HeldHedge]) -> FloatArray:
    """Return the summed gain of held hedges on every path; NaN where a mark is unknown."""
    if not held:
        return np.zeros(group.losses_usd.shape)
    sizes = np.array([item.size for item in held], dtype=np.float64)
    return np.asarray(sizes @ path_gains(group, [(item.instrument, item.iv) for item in held]))


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


def _rungs(policy: Policy, group: Group, choice: Choice, units: float) -> Mapping[int, float]:
    """Return the most units that may be added in each listed expiry, so that TAIL is a ladder (R14).

    Its target in equal parts over ``tail.ladder`` expiries, or as many as are listed in its band; what is
    held in one counts. Empty where there is no ladder: another layer, a ladder of one, one expiry listed.
    """
    expiries = sorted({item.quote.instrument.expiry_s for item in choice.candidates})
    rungs = min(policy.tail.ladder, len(expiries))
    if choice.slot.layer is not Layer.TAIL or rungs < 2 or math.isnan(units):
        return {}
    held = dict.fromkeys(expiries, 0.0)
    for item in group.held:
        slot = Slot(item.layer, item.instrument.option_type)
        if slot == choice.slot and item.instrument.expiry_s in held:
            held[item.instrument.expiry_s] += item.size * item.instrument.multiplier
    return {expiry: max(0.0, units / rungs - held[expiry]) for expiry in expiries}


def _prices(policy: Policy, choices: Mapping[Slot, Choice]) -> Mapping[Slot, float]:
    """Return what one unit of each listed slot weighs: 1 of notional, or the premium that it costs in USD."""
    by_premium = policy.sizing.weights_of == "premium"
    return {
        slot: quote.unit_cost_usd / quote.instrument.multiplier if by_premium else 1.0
        for slot, choice in choices.items()
        if (quote := choice.quote) is not None
    }


def _proportions(
    policy: Policy, plans: Mapping[Layer, LayerPlan], choices: Mapping[Slot, Choice]
) -> dict[Slot, float]:
    """Return units in R7's proportions, up to one scale: put and call of a layer in equal numbers.

    Of notional: each slot its layer's weight. Of premium: what that weight buys of both together.
    """
    if policy.sizing.weights_of == "notional":
        return {slot: plans[slot.layer].weight for slot in choices}
    prices = _prices(policy, choices)
    cost = {layer: sum(prices[slot] for slot in choices if slot.layer is layer) for layer in Layer}
    return {slot: plans[slot.layer].weight / cost[slot.layer] for slot in choices}


def _solve(
    policy: Policy,
    group: Group,
    parts: Mapping[Slot, float],
    gains: Mapping[Slot, FloatArray],
    *,
    share: float,
) -> tuple[dict[Slot, float], float]:
    """Return units per slot in proportion to ``parts``, TAIL lifted to its standing share where that is more,
    and the units of that standing share."""
    nothing = np.zeros(group.losses_usd.shape)
    scale = scale_to_share(group, nothing, _mix(parts, gains, nothing), share=share)
    tails = {slot: 1.0 for slot in parts if slot.layer is Layer.TAIL}
    calm_share = policy.sizing.shares.of(Tier.CALM)
    if (tails, calm_share) == (parts, share):  # CALM: the same question twice
        return {slot: scale for slot in tails}, scale
    standing = scale_to_share(group, nothing, _mix(tails, gains, nothing), share=calm_share) if tails else 0.0
    if not any(standing > scale * parts[slot] for slot in tails):
        return {slot: scale * part for slot, part in parts.items()}, standing
    floor = {slot: standing for slot in tails}
    others = {slot: part for slot, part in parts.items() if slot not in tails}
    rest = scale_to_share(group, _mix(floor, gains, nothing), _mix(others, gains, nothing), share=share)
    return floor | {slot: rest * part for slot, part in others.items()}, standing


def _real_weights(
    units: Mapping[Slot, float],
    plans: Mapping[Layer, LayerPlan],
    prices: Mapping[Slot, float],
    *,
    present: float,
) -> Mapping[Layer, float]:
    """Return the open layers' shares of notional or premium: R7's, unless TAIL stands at more than its own.

    An unlisted layer keeps its share, which is a shortfall; the listed ones share ``present``.
    """
    planned = {layer: plan.weight for layer, plan in plans.items() if plan.open}
    sizes = {slot: amount * prices[slot] for slot, amount in units.items()}
    total = sum(sizes.values())
    held = {layer: 0.0 for layer in {slot.layer for slot in sizes}}
    for slot, size in sizes.items():
        held[slot.layer] += present * size / total if total > 0.0 else 0.0
    tail = held.get(Layer.TAIL, 0.0)
    if not tail > planned.get(Layer.TAIL, 0.0) * (1.0 + _ROUNDING):  # NaN too
        return planned
    return {layer: held.get(layer, weight) for layer, weight in planned.items()}


def _mix(amounts: Mapping[Slot, float], gains: Mapping[Slot, FloatArray], nothing: FloatArray) -> FloatArray:
    return np.asarray(sum((amount * gains[slot] for slot, amount in amounts.items()), nothing))


def _finding(
    policy: Policy, group: Group, tier: Tier, share: float, reached: float, lifted: Mapping[Layer, float]
) -> RuleFinding:
    because = (
        f"{tier.name} covers {share:.0%} of the {group.horizon_days}-day {group.confidence:.0%} VaR "
        f"{group.var_usd:,.0f} USD ({group.var_method}, {group.paths.shape[0]:,} paths from "
        f"{group.daily_returns:,} daily returns); listed options reach {reached:.1%}"
    )
    if lifted:
        real = ", ".join(f"{layer} {100 * weight:.1f}" for layer, weight in lifted.items())
        what = "notionals" if policy.sizing.weights_of == "notional" else "premiums"
        because += f"; TAIL stands at its CALM share (R14), so {what} are {real}"
    for note in (group.basis, group.unhedged):
        because += f"; {note}" if note else ""
    return RuleFinding(rule="R8", fired=group.var_usd > 0.0 and share > 0.0, because=because)
