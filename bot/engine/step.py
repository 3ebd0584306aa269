"""One decision: readings, votes, tiers, targets, guards, legs. Pure: same input, same bytes (R25)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.engine.alternatives import alternatives, refused_quotes
from bot.engine.base_layers import base_layers
from bot.engine.choose import Slot
from bot.engine.condors import with_condors
from bot.engine.cost_guard import carry_caps
from bot.engine.group import Group, group_names, read_group
from bot.engine.holding import review_held
from bot.engine.layers import LayerPlan
from bot.engine.legs import legs_of
from bot.engine.limits import DEFINED_RISK_CAP, Cap, cap_figures, caps_finding, premium_caps
from bot.engine.overlay import overlay
from bot.engine.plan import GroupPlan, blocked_layers, plan_gains, plan_key
from bot.engine.planner import allocate, collect_wants
from bot.engine.policy import Policy
from bot.engine.rules import TIER_RULES
from bot.engine.rules.confirmation import confirmed, height_of
from bot.engine.rules.consensus import family_votes, voting_memory
from bot.engine.rules.context import TierContext, readings_for
from bot.engine.rules.fast_path import fast_readings
from bot.engine.rules.hard_triggers import find_holds
from bot.engine.rules.protocol_tier import highest_protocol, protocol_step
from bot.engine.rules.protocol_triggers import health_alarms
from bot.engine.sentence import Coverage, state_sentence
from bot.engine.settlement import shrink_new
from bot.engine.sizing import covered_share, held_path_gains
from bot.engine.standing import places_of
from bot.engine.targets import group_targets
from bot.engine.time_shift import eases
from bot.engine.wings import Wing, whole_break_evens, wings_finding
from bot.model.hedge import CondorAction, CondorOrder, HedgeLeg, HedgePlan, LayerTarget, Side
from bot.model.market import Frame
from bot.model.record import Decision, EngineState, GroupDecision, GroupState, ProtocolDecision
from bot.model.tier import Reading, RuleFinding, Tier
from bot.signals import read_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStep:
    """What R1-R4 made of one group."""

    context: TierContext  # its state is the new one
    previous: Tier
    needed: Tier  # what the rules ask for in this frame
    findings: tuple[RuleFinding, ...]
    reads: tuple[int, ...]  # places of the context's readings among all
    fast_reads: tuple[int, ...]  # of those in its fast mean

    @property
    def moved(self) -> str:
        """Return R3's word where the tier waits, stays up or falls; empty where it is simply asked for."""
        tier = self.context.state.tier
        if tier > self.previous or tier is self.previous is self.needed:
            return ""
        return next(item.because for item in self.findings if item.rule == "R3")


def decide(policy: Policy, state: EngineState, frame: Frame) -> tuple[EngineState, Decision]:
    """Return the next memory and the decision on a frame. Unknown or bad data hold; they never raise."""
    readings = tuple(read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals))
    holds = find_holds(policy, frame)
    protocols = protocol_step(policy, state, frame, readings)
    _, health = health_alarms(policy, frame)
    groups = [with_condors(read_group(policy, frame, name), frame.condors) for name in group_names(frame)]
    steps, plans, memory = {}, [], dict(state.groups)
    for group in groups:
        before = state.groups.get(group.name, GroupState())
        step = decide_tier(policy, before, frame, group, readings, holds=holds)
        plan, after, found = plan_group(policy, frame, group, step.context, readings=readings, holds=holds)
        steps[group.name] = replace(step, findings=step.findings + found)
        memory[group.name] = after
        plans.append(plan)
    caps = premium_caps(policy, frame, exposure_usd=sum(group.value_usd for group in groups))
    spent_usd = allocate(policy, plans, caps)
    legs = legs_of(policy, frame, plans)
    for plan in plans:
        memory[plan.group.name] = _still_easing(memory[plan.group.name], plan, legs)
    condors = _overlays(policy, frame, plans, steps, caps, holds=holds, spent_usd=spent_usd)
    decisions = tuple(
        _with_protocols(
            _group_decision(
                policy, plan, steps[plan.group.name], caps, legs, holds=holds, spent_usd=spent_usd
            ),
            protocols.decisions,
        )
        for plan in plans
    )
    base = base_layers(policy, frame, decisions, protocols.decisions)
    decision = Decision(
        now_s=frame.now_s,
        blocks={chain_id: block.number for chain_id, block in sorted(frame.blocks.items())},
        policy_hash=policy.hash,
        readings=readings,
        groups=decisions,
        plan=HedgePlan(key=plan_key(policy, frame.now_s), created_at_s=frame.now_s, legs=legs),
        limits=cap_figures(caps, planned_usd=spent_usd),
        holds=holds,
        protocols=protocols.decisions,
        findings=(*health, *base.findings),
        proposals=base.proposals,
        condors=condors,
    )
    remembered = EngineState(
        groups=memory, protocol_tiers=protocols.tiers, protocol_needed_s=protocols.needed_s
    )
    return remembered, decision


def decide_tier(
    policy: Policy,
    before: GroupState,
    frame: Frame,
    group: Group,
    readings: Sequence[Reading],
    *,
    holds: Sequence[str],
) -> TierStep:
    """Return a group's memory after R1-R4."""
    mine = readings_for(policy, frame, group.name, readings)
    context = TierContext(
        group=group.name,
        underlying=group.underlying,
        stable=group.stable,
        state=before,
        frame=frame,
        readings=mine,
        votes=family_votes(policy, before, mine),
    )
    findings = tuple(found for rule in TIER_RULES.values() for found in rule(policy, context))
    needed = needed_tier(findings)
    after, moved = confirmed(policy, context, needed, holds=holds)
    after = replace(after, voting=voting_memory(policy, context))
    return TierStep(
        context=replace(context, state=after),
        previous=before.tier,
        needed=needed,
        findings=(*findings, moved),
        reads=places_of(readings, mine),
        fast_reads=places_of(readings, fast_readings(context)),
    )


def needed_tier(findings: Sequence[RuleFinding]) -> Tier:
    """Return the tier that is asked for: votes under R4's cap, hard triggers without one."""
    voted = max(
        (item.tier for item in findings if item.rule == "R1" and item.tier is not None), default=Tier.CALM
    )
    cap = min((item.caps_tier for item in findings if item.caps_tier is not None), default=Tier.CRISIS)
    forced = max(
        (item.tier for item in findings if item.rule != "R1" and item.fired and item.tier is not None),
        default=Tier.CALM,
    )
    return max(min(voted, cap), forced)


def plan_group(
    policy: Policy,
    frame: Frame,
    group: Group,
    context: TierContext,
    *,
    readings: Sequence[Reading],
    holds: Sequence[str],
    force_layers: bool = False,
    allow_indicative: bool = False,
) -> tuple[GroupPlan, GroupState, tuple[RuleFinding, ...]]:
    """Return what a group wants at its tier, its memory after that, and the findings of R5-R18."""
    tier = context.state.tier
    aims = group_targets(
        policy,
        frame,
        group,
        context,
        readings=readings,
        force=force_layers,
        allow_indicative=allow_indicative,
    )
    easing, wide = _time_shift(policy, context, holds=holds)
    height = height_of(frame.blocks)
    review = review_held(policy, group, tier, aims.sizing.targets, aims.state, easing=easing, block=height)
    plan = GroupPlan(
        group=group,
        sizing=shrink_new(aims.sizing, review.counted, aims.stress),
        review=review,
        blocked=blocked_layers(frame, group.name),
        layers=aims.layers,
        carry=carry_caps(policy, group, tier, frame),
    )
    collect_wants(policy, plan, holds=holds)
    state = review.remembered(replace(aims.state, wide_term=wide))
    return plan, state, (*aims.findings, *review.findings())


def _time_shift(policy: Policy, context: TierContext, *, holds: Sequence[str]) -> tuple[bool, bool]:
    """R17: return whether backwardation eases now, and the memory of it having been wide.

    That memory ends with the easing; ``_still_easing`` keeps it while MID legs wait to be rolled.
    """
    term = context.reading("S13")
    slope = term.value if term else math.nan
    return eases(policy, slope, wide=context.state.wide_term, held_back=bool(holds))


def _overlays(
    policy: Policy,
    frame: Frame,
    plans: Sequence[GroupPlan],
    steps: dict[str, TierStep],
    caps: Sequence[Cap],
    *,
    holds: Sequence[str],
    spent_usd: float,
) -> tuple[CondorOrder, ...]:
    """R16: return the orders of all groups, one after the other in what is left of defined-risk capital.

    Each group's finding is added to its step. A sale wants calm that nothing puts in doubt.
    """
    orders: list[CondorOrder] = []
    room_usd = next(cap.room_usd for cap in caps if cap.name == DEFINED_RISK_CAP) - spent_usd
    for plan in plans:
        step = steps[plan.group.name]
        degraded = [f"{vote.family.value} is degraded" for vote in step.context.votes if vote.degraded]
        asked = [f"{step.needed.name} is asked for"] if step.needed > Tier.CALM else []
        doubt = next(iter((*holds, *degraded, *asked)), "")
        tier = step.context.state.tier
        found, finding = overlay(policy, frame, plan.group, tier, doubt=doubt, room_usd=room_usd)
        room_usd -= sum(item.worst_loss_usd for item in found if item.action is CondorAction.OPEN)
        orders.extend(found)
        steps[plan.group.name] = replace(step, findings=(*step.findings, finding))
    return tuple(orders)


def _still_easing(state: GroupState, plan: GroupPlan, legs: Sequence[HedgeLeg]) -> GroupState:
    """R17: keep the memory of backwardation until every MID leg is rolled, or refused by its cost."""
    rolled = {leg.position_id for leg in legs if leg.side is Side.SELL}
    return replace(state, wide_term=state.wide_term or bool(plan.review.easing - rolled))


def _group_decision(
    policy: Policy,
    plan: GroupPlan,
    step: TierStep,
    caps: Sequence[Cap],
    legs: Sequence[HedgeLeg],
    *,
    holds: Sequence[str],
    spent_usd: float,
) -> GroupDecision:
    group, state = plan.group, step.context.state
    covered = covered_share(group, plan_gains(plan))
    wings = planned_wings(plan)
    evens = whole_break_evens(group, wings)
    degraded = tuple(vote.family.value for vote in step.context.votes if vote.degraded)
    choices = [target.choice for target in plan.sizing.targets.values()]
    bound = any(item.cap.startswith(cap.name) for item in plan.shortfalls for cap in caps)
    r9 = caps_finding(caps, planned_usd=spent_usd, bound=bound)
    findings = (
        *step.findings,
        *_unreplaced(plan),
        *plan.findings,
        r9,
        wings_finding(policy, group, wings, evens),
    )
    return GroupDecision(
        group=group.name,
        tier=state.tier,
        previous_tier=step.previous,
        votes=step.context.votes,
        findings=tuple(sorted(findings, key=lambda item: int(item.rule[1:]))),
        targets=tuple(_layer_targets(plan)),
        shortfalls=tuple(plan.shortfalls),
        value_usd=group.value_usd,
        var_usd=group.var_usd,
        var_method=group.var_method,
        wanted_share=plan.sizing.share,
        covered_share=covered,
        break_evens_usd=evens,
        because=_because(plan, step, legs, covered=covered, holds=holds, degraded=degraded),
        degraded=degraded,
        reads=step.reads,
        fast_reads=step.fast_reads,
        alternatives=alternatives(choices, [leg for leg in legs if leg.group == group.name]),
        refused_quotes=refused_quotes(choices),
    )


def _with_protocols(decision: GroupDecision, protocols: Sequence[ProtocolDecision]) -> GroupDecision:
    """Name the protocol tier beside the market tier, and list R2's protocol findings that fired."""
    name, tier = highest_protocol(protocols, decision.group)
    if not name:
        return decision
    fired = [
        RuleFinding(rule=item.rule, fired=True, because=f"{each.protocol} {each.tier.name}: {item.because}")
        for each in protocols
        if decision.group in each.groups
        for item in each.findings
        if item.fired and item.tier is not None
    ]
    return replace(
        decision,
        protocol=name,
        protocol_tier=tier,
        findings=tuple(sorted((*decision.findings, *fired), key=lambda item: int(item.rule[1:]))),
        because=f"market {decision.tier.name}, protocol {tier.name} ({name}); {decision.because}",
    )


def _unreplaced(plan: GroupPlan) -> tuple[RuleFinding, ...]:
    """R17's alarm: legs that expire at once and that no purchase of this plan replaces."""
    return tuple(
        RuleFinding(rule="R17", fired=True, because=f"ALARM: {slot.layer} leg {held_id} expires unreplaced")
        for held_id, slot in plan.review.expiring.items()
        if slot in plan.sizing.targets
        and slot not in plan.bought
        and plan.review.counted.get(slot, 0.0) < plan.sizing.targets[slot].released_units
    )


def planned_wings(plan: GroupPlan) -> tuple[Wing, ...]:
    """Return what is held and alive, and what is about to be bought."""
    held = [
        Wing(layer=item.layer, instrument=item.instrument, contracts=item.size, cost_usd=item.cost_usd)
        for item in plan.review.kept
    ]
    new = [
        Wing(
            layer=item.layer,
            instrument=item.quote.instrument,
            contracts=item.contracts,
            cost_usd=item.expected_usd,
        )
        for item in plan.purchases
    ]
    return (*held, *new)


def _layer_targets(plan: GroupPlan) -> list[LayerTarget]:
    rows = []
    for layer_plan in plan.layers:
        slots = [slot for slot in plan.sizing.targets if slot.layer is layer_plan.layer]
        held = {slot: units for slot, units in plan.review.counted.items() if slot.layer is layer_plan.layer}
        if not slots:
            rows.append(_closed_target(layer_plan, sum(held.values())))
        rows.extend(_open_target(plan, layer_plan, slot, held.get(slot, 0.0)) for slot in slots)
    return rows


def _closed_target(layer_plan: LayerPlan, held_units: float) -> LayerTarget:
    return LayerTarget(
        layer=layer_plan.layer,
        open=False,
        weight=0.0,
        instrument=None,
        wanted_contracts=0.0,
        held_contracts=held_units,
        because=layer_plan.because,
    )


def _open_target(plan: GroupPlan, layer_plan: LayerPlan, slot: Slot, held_units: float) -> LayerTarget:
    target = plan.sizing.targets[slot]
    quote = target.choice.quote
    multiplier = quote.instrument.multiplier if quote else 1.0
    return LayerTarget(
        layer=layer_plan.layer,
        open=True,
        weight=target.weight,
        instrument=quote.instrument if quote else None,
        wanted_contracts=target.units / multiplier,
        held_contracts=held_units / multiplier,
        because=f"{layer_plan.because}; {target.choice.because}",
    )


def _because(
    plan: GroupPlan,
    step: TierStep,
    legs: Sequence[HedgeLeg],
    *,
    covered: float,
    holds: Sequence[str],
    degraded: Sequence[str],
) -> str:
    def sizes(side: Side) -> tuple[tuple[str, float], ...]:
        mine = (leg for leg in legs if leg.group == plan.group.name and leg.side is side)
        return tuple((leg.layer.value, leg.size) for leg in mine)

    return state_sentence(
        tier=step.context.state.tier,
        votes=step.context.votes,
        readings=step.context.readings,
        findings=step.findings,
        moved=step.moved,
        coverage=Coverage(
            held=covered_share(plan.group, held_path_gains(plan.group, plan.review.kept)),
            planned=covered,
            wanted=plan.sizing.share,
            buys=sizes(Side.BUY),
            sells=sizes(Side.SELL),
        ),
        holds=holds,
        degraded=degraded,
    )
