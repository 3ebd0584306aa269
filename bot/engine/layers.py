"""R7 weights and the layers' own triggers: R12 NEAR, R13 MID, R14 TAIL, and what R15 allows to be bought."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.engine.policy import Policy
from bot.engine.rules.context import TierContext
from bot.model.hedge import Layer, OptionType
from bot.model.record import GroupState
from bot.model.tier import RuleFinding, Tier
from bot.signals.macd import vol_expansion

OPENS_AT = {Layer.TAIL: Tier.CALM, Layer.MID: Tier.GUARDED, Layer.NEAR: Tier.ELEVATED}
NEXT_NEARER = {Layer.TAIL: Layer.MID, Layer.MID: Layer.NEAR}
NEXT_FARTHER = {Layer.NEAR: Layer.MID, Layer.MID: Layer.TAIL}
_EXPANSION = {True: "confirmed", False: "none", None: "not live"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """What one layer may hold at a tier, before any money is counted."""

    layer: Layer
    open: bool
    weight: float  # share of option notional, fraction; the open ones sum to 1
    released: float  # share of its target that its own trigger lets through, [0, 1]
    because: str


def open_layers(tier: Tier) -> tuple[Layer, ...]:
    """Return the layers that are open at a tier, nearest first (R7)."""
    return tuple(layer for layer in Layer if tier >= OPENS_AT[layer])


def weights(policy: Policy, tier: Tier, *, term_score: float) -> Mapping[Layer, float]:
    """Return fractions over the open layers, summing to 1 (R7).

    With all three open, S13's score moves points from MID to NEAR, never past the bounds. S8 (MEV), S18
    and S21 have no source in this release and move nothing.
    """
    layers, sizing = open_layers(tier), policy.sizing
    points = {layer: sizing.weights.of(layer) for layer in layers}
    if Layer.NEAR in points and math.isfinite(term_score):
        wanted = sizing.term_structure_move * min(max(term_score, 0.0), 1.0)
        room_near = sizing.weight_bounds.NEAR[1] - points[Layer.NEAR]
        room_mid = points[Layer.MID] - sizing.weight_bounds.MID[0]
        move = max(0.0, min(wanted, room_near, room_mid))
        points = {**points, Layer.NEAR: points[Layer.NEAR] + move, Layer.MID: points[Layer.MID] - move}
    total = sum(points.values())
    if total <= 0.0:  # a preset may give the open layers no weight at all
        return dict.fromkeys(layers, 0.0)
    return {layer: value / total for layer, value in points.items()}


def plan_layers(
    policy: Policy, context: TierContext, *, force: bool = False
) -> tuple[tuple[LayerPlan, ...], GroupState, tuple[RuleFinding, ...]]:
    """Return the layers at the group's tier, its memory of R12's trigger, and the findings of R7, R12-R14.

    ``force`` treats the layers' own triggers as fired: a price list shows what each tier can cost.
    """
    tier = context.state.tier
    shares = weights(policy, tier, term_score=context.score("S13"))
    state, near = near_trigger(policy, context)
    released = {
        Layer.NEAR: (1.0 if near.fired or force else 0.0, near.because),
        Layer.MID: _mid_release(policy, context, force=force),
        Layer.TAIL: (1.0, "always held at its CALM share (R14)"),
    }
    plans = tuple(
        LayerPlan(
            layer=layer,
            open=layer in shares,
            weight=shares.get(layer, 0.0),
            released=released[layer][0] if layer in shares else 0.0,
            because=released[layer][1] if layer in shares else f"opens at {OPENS_AT[layer].name}",
        )
        for layer in Layer
    )
    mid = RuleFinding(rule="R13", fired=plans[1].released > 0.0, because=plans[1].because)
    tail = RuleFinding(rule="R14", fired=True, because="TAIL " + released[Layer.TAIL][1])
    return plans, state, (_weight_finding(plans, context), near, mid, tail)


def near_trigger(policy: Policy, context: TierContext) -> tuple[GroupState, RuleFinding]:
    """R12: return the memory of NEAR's own trigger and whether NEAR may be bought.

    Fires on an S15 expansion or backwardation (S13 over its level) while the layer is open, stays until the
    tier closes the layer, and from SEVERE counts as fired. S14 (exhaustion) is absent and denies nothing.
    """
    state, tier, rule = context.state, context.state.tier, policy.near
    if tier < OPENS_AT[Layer.NEAR]:
        closed = replace(state, near_triggered=False)
        return closed, RuleFinding(rule="R12", fired=False, because=f"NEAR is closed at {tier.name}")
    if rule.trigger == "tier":
        return state, RuleFinding(rule="R12", fired=True, because=f"NEAR opens with the tier ({tier.name})")
    term = context.reading("S13")
    slope = term.value if term else math.nan
    columns, now_s = context.frame.columns, context.frame.now_s
    expands = vol_expansion(columns, now_s=now_s, policy=policy.signals, subject=context.underlying)
    fires = expands is True or slope > rule.backwardation_over
    state = replace(state, near_triggered=state.near_triggered or fires)
    text = (
        f"vol expansion crossover (S15) {_EXPANSION[expands]}, S13 {_value(slope)} "
        f"(fires over {rule.backwardation_over:.0%}); S14 absent"
    )
    if state.near_triggered:
        held = "" if fires else "fired earlier, held until the tier closes the layer: "
        return state, RuleFinding(rule="R12", fired=True, because=f"NEAR: {held}{text}")
    if tier >= Tier.SEVERE:
        return state, RuleFinding(
            rule="R12", fired=True, because=f"NEAR opens at {tier.name} without trigger"
        )
    return state, RuleFinding(rule="R12", fired=False, because=f"NEAR waits for its trigger: {text}")


def option_types(policy: Policy) -> tuple[OptionType, ...]:
    """R15: puts; calls only where losses are measured against holding: in USD an LP loses none above."""
    return (OptionType.PUT, OptionType.CALL) if policy.sizing.loss_measure == "hold" else (OptionType.PUT,)


def _mid_release(policy: Policy, context: TierContext, *, force: bool) -> tuple[float, str]:
    """R13: return which share of MID's target is let through, with the reason.

    ``signals`` scales linearly with S2's score; S12 is absent. Where S2 has no source at all there is nothing
    to scale with and MID opens with the tier; where it is configured and not live, MID waits.
    """
    rule, tier = policy.mid, context.state.tier
    if force or rule.scaling == "tier":
        return 1.0, "MID opens with the tier"
    if tier >= Tier.SEVERE:
        return 1.0, f"MID opens in full at {tier.name}"
    if not context.configured("S2"):
        return 1.0, "MID opens with the tier: S2 and S12 have no source to scale it by"
    if context.reading("S2") is None:
        return 0.0, "MID waits: S2 is configured and not live, S12 is absent"
    score = context.score("S2")
    part = min(max((score - rule.scale_from) / (rule.scale_to - rule.scale_from), 0.0), 1.0)
    missed = f", starts over {rule.scale_from:g}" if part == 0.0 else ""
    return part, f"MID scaled to {part:.0%} by S2 {score:.2f}{missed}; S12 absent"


def _weight_finding(plans: tuple[LayerPlan, ...], context: TierContext) -> RuleFinding:
    text = ", ".join(f"{item.layer} {100 * item.weight:.1f}" for item in plans if item.open)
    term = context.score("S13")
    because = f"weights of open layers: {text}; S13 {term:.2f} moves MID to NEAR; S8, S18 and S21 absent"
    return RuleFinding(rule="R7", fired=True, because=because)


def _value(value: float) -> str:
    return f"{value:+.1%}" if math.isfinite(value) else "not live"
