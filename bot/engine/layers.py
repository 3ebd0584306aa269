"""R7 weights and the layers' own triggers: R12 NEAR, R13 MID, R14 TAIL, and what R15 allows to be bought."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.engine.policy import Policy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.engine.rules.outer_wings import WingDirective
from bot.model.hedge import Layer, OptionType
from bot.model.record import GroupState
from bot.model.tier import RuleFinding, Tier
from bot.model.units import DAY_S
from bot.signals.macd import vol_expansion
from bot.signals.rsi import exhaustion

OPENS_AT = {Layer.TAIL: Tier.CALM, Layer.MID: Tier.GUARDED, Layer.NEAR: Tier.ELEVATED}
NEXT_NEARER = {Layer.TAIL: Layer.MID, Layer.MID: Layer.NEAR}
NEXT_FARTHER = {Layer.NEAR: Layer.MID, Layer.MID: Layer.TAIL}
MOVERS = ("S13", "S8", "S18", "S21")  # signals that move weight (R7)
SCALERS = ("S2", "S12")  # signals that scale MID in (R13)
_EXPANSION = {True: "confirmed", False: "none", None: "not live"}
_STANDING = "always held at its CALM share (R14)"
_EXHAUSTION = {True: "denies it", False: "none", None: "not live"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """What one layer may hold at a tier, before any money is counted."""

    layer: Layer
    open: bool
    weight: float  # share of option notional or of premium (``sizing.weights_of``); the open ones sum to 1
    released: float  # share of its target that its own trigger lets through, [0, 1]
    because: str


def open_layers(tier: Tier) -> tuple[Layer, ...]:
    """Return the layers that are open at a tier, nearest first (R7)."""
    return tuple(layer for layer in Layer if tier >= OPENS_AT[layer])


def weights(
    policy: Policy, tier: Tier, *, scores: Mapping[str, float], near_cap: float | None = None
) -> Mapping[Layer, float]:
    """Return fractions over the open layers, summing to 1 (R7); of notional or premium, as the policy says.

    With all three open, scores move points (``sizing.weight_moves``), each never past the bounds: S13's from
    MID to NEAR, then S8's, S18's and S21's from NEAR to TAIL. A score that is absent or NaN moves nothing.
    What ``near_cap`` (R5, points) cuts off NEAR goes to TAIL, and beyond TAIL's bound to MID.
    """
    layers, sizing = open_layers(tier), policy.sizing
    points = {layer: sizing.weights.of(layer) for layer in layers}
    if Layer.NEAR in points:
        moves = sizing.weight_moves
        to_tail = moves.S8 * _score(scores, "S8")
        to_tail += sum(each for each in _value_moves(policy, scores).values())
        _move(policy, points, Layer.MID, Layer.NEAR, moves.S13 * _score(scores, "S13"))
        _move(policy, points, Layer.NEAR, Layer.TAIL, to_tail)
        for other in (Layer.TAIL, Layer.MID) if near_cap is not None else ():
            _move(policy, points, Layer.NEAR, other, points[Layer.NEAR] - (near_cap or 0.0))
    total = sum(points.values())
    if total <= 0.0:  # a preset may give the open layers no weight at all
        return dict.fromkeys(layers, 0.0)
    return {layer: value / total for layer, value in points.items()}


def _value_moves(policy: Policy, scores: Mapping[str, float]) -> Mapping[str, float]:
    """Return the points that S18 and S21 move now."""
    moves = policy.sizing.weight_moves
    return {
        signal: size
        for signal, size in (("S18", moves.S18), ("S21", moves.S21))
        if _score(scores, signal) > moves.over
    }


def _score(scores: Mapping[str, float], signal: str) -> float:
    """Return a score as R25 compares it, so that its last bit moves no weight; 0 where it is unknown."""
    score = scores.get(signal, math.nan)
    return round(min(max(score, 0.0), 1.0), SCORE_DIGITS) if math.isfinite(score) else 0.0


def _move(policy: Policy, points: dict[Layer, float], source: Layer, target: Layer, wanted: float) -> None:
    """Move up to ``wanted`` points, as far as both layers' bounds let it."""
    bounds = policy.sizing.weight_bounds
    room = min(points[source] - bounds.of(source)[0], bounds.of(target)[1] - points[target])
    size = max(0.0, min(wanted, room))
    points[source] -= size
    points[target] += size


def plan_layers(
    policy: Policy, context: TierContext, *, wings: WingDirective | None = None, force: bool = False
) -> tuple[tuple[LayerPlan, ...], GroupState, tuple[RuleFinding, ...]]:
    """Return the layers at the group's tier, its memory of R12's trigger, and the findings of R7, R12-R14.

    ``wings`` is R5's word, which caps NEAR. ``force`` treats the layers' own triggers as fired: a price list
    shows what each tier can cost.
    """
    tier, near_cap = context.state.tier, wings.near_cap if wings else None
    scores = {signal: context.score(signal) for signal in MOVERS}
    shares = weights(policy, tier, scores=scores, near_cap=near_cap)
    state, near = near_trigger(policy, context)
    released = {
        Layer.NEAR: (1.0 if near.fired or force else 0.0, near.because),
        Layer.MID: _mid_release(policy, context, force=force),
        Layer.TAIL: (1.0, _STANDING),
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
    weighed = _weight_finding(policy, plans, context, near_cap)
    return plans, state, (weighed, near, mid, _tail_finding(policy))


def near_trigger(policy: Policy, context: TierContext) -> tuple[GroupState, RuleFinding]:
    """R12: return the memory of NEAR's own trigger and whether NEAR may be bought.

    Fires on an S15 expansion or backwardation (S13 over its level) while the layer is open and the fall is
    not exhausted (S14; what cannot be told denies nothing), stays until the tier closes the layer, and from
    SEVERE counts as fired.
    """
    state, tier, rule = context.state, context.state.tier, policy.near
    if tier < OPENS_AT[Layer.NEAR]:
        closed = replace(state, near_triggered=False)
        return closed, RuleFinding(rule="R12", fired=False, because=f"NEAR is closed at {tier.name}")
    if rule.trigger == "tier":
        return state, RuleFinding(rule="R12", fired=True, because=f"NEAR opens with the tier ({tier.name})")
    fires, missed, text = _near_fires(policy, context)
    state = replace(state, near_triggered=state.near_triggered or fires)
    if state.near_triggered:
        held = "" if fires else "fired earlier, held until the tier closes the layer: "
        return state, RuleFinding(rule="R12", fired=True, because=f"NEAR: {held}{text}")
    if tier >= Tier.SEVERE:
        return state, RuleFinding(
            rule="R12", fired=True, because=f"NEAR opens at {tier.name} without trigger"
        )
    because = f"NEAR waits for its trigger: {text}"
    return state, RuleFinding(rule="R12", fired=False, because=because, missed=missed, unit="fraction of S13")


def _near_fires(policy: Policy, context: TierContext) -> tuple[bool, float, str]:
    """Return whether NEAR's trigger fires in this frame, how far S13 is from it, and what it rests on."""
    term, level = context.reading("S13"), policy.near.backwardation_over
    slope = term.value if term else math.nan
    columns, now_s, subject = context.frame.columns, context.frame.now_s, context.underlying
    expands = vol_expansion(columns, now_s=now_s, policy=policy.signals, subject=subject)
    spent = exhaustion(columns, now_s=now_s, policy=policy.signals, subject=subject)
    text = (
        f"vol expansion crossover (S15) {_EXPANSION[expands]}, S13 {_value(slope)} "
        f"(fires over {level:.0%}), exhaustion (S14) {_EXHAUSTION[spent]}"
    )
    return (expands is True or slope > level) and spent is not True, max(level - slope, 0.0), text


def option_types(policy: Policy) -> tuple[OptionType, ...]:
    """R15: puts; calls only where losses are measured against holding: in USD an LP loses none above."""
    return (OptionType.PUT, OptionType.CALL) if policy.sizing.loss_measure == "hold" else (OptionType.PUT,)


def _mid_release(policy: Policy, context: TierContext, *, force: bool) -> tuple[float, str]:
    """R13: return which share of MID's target is let through, with the reason.

    ``signals`` scales linearly with the higher score of S2 and S12, of those that are live. Where neither has
    a source there is nothing to scale with and MID opens with the tier; where none is live, MID waits.
    ``tier`` never looks at them: IV that has risen opens nothing.
    """
    rule, tier = policy.mid, context.state.tier
    if force or rule.scaling == "tier":
        return 1.0, "MID opens with the tier"
    if tier >= Tier.SEVERE:
        return 1.0, f"MID opens in full at {tier.name}"
    there = [signal for signal in SCALERS if context.configured(signal)]
    if not there:
        return 1.0, "MID opens with the tier: S2 and S12 have no source to scale it by"
    live = [signal for signal in there if context.reading(signal) is not None]
    if not live:
        return 0.0, f"MID waits: {' and '.join(there)} configured and not live"
    score = max(context.score(signal) for signal in live)
    part = min(max((score - rule.scale_from) / (rule.scale_to - rule.scale_from), 0.0), 1.0)
    missed = f", starts over {rule.scale_from:g}" if part == 0.0 else ""
    said = ", ".join(f"{signal} {context.score(signal):.2f}" for signal in live)
    silent = "".join(f"; {signal} not live" for signal in SCALERS if signal not in live)
    return part, f"MID scaled to {part:.0%} by {said}{missed}{silent}"


def _weight_finding(
    policy: Policy, plans: tuple[LayerPlan, ...], context: TierContext, near_cap: float | None
) -> RuleFinding:
    text = ", ".join(f"{item.layer} {100 * item.weight:.1f}" for item in plans if item.open)
    scores = {signal: context.score(signal) for signal in MOVERS}
    spoken = ", ".join(
        f"{signal} {scores[signal]:.2f}" if context.reading(signal) else f"{signal} not live"
        for signal in MOVERS
    )
    cap = "" if near_cap is None else f"; R5 caps NEAR at {near_cap:g}"
    because = (
        f"weights of {policy.sizing.weights_of} of open layers: {text}; S13 moves MID to NEAR, "
        f"S8, S18 and S21 NEAR to TAIL: {spoken}{cap}"
    )
    return RuleFinding(rule="R7", fired=True, because=because)


def _tail_finding(policy: Policy) -> RuleFinding:
    rule, roll_at = policy.tail, policy.layers.TAIL.roll_at
    ladder = f"spread over {rule.ladder} expiries where listed" if rule.ladder > 1 else "in the best expiry"
    end = f"rolled at {roll_at / DAY_S:g} d" if roll_at > 0.0 else "held to expiry"
    because = (
        f"TAIL {_STANDING}, {ladder}, {end}; index product {rule.index_product}: no venue here lists one"
    )
    return RuleFinding(rule="R14", fired=True, because=because)


def _value(value: float) -> str:
    return f"{value:+.1%}" if math.isfinite(value) else "not live"
