"""One decision: readings, votes, tiers, targets, guards, legs. Pure: same input, same bytes (R25)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.engine.alternatives import alternatives, refused_quotes
from bot.engine.base_layers import base_layers
from bot.engine.condors import with_condors
from bot.engine.conversion import parity_said
from bot.engine.cost_guard import carry_caps
from bot.engine.group import Group, group_names, read_group
from bot.engine.holding import review_held
from bot.engine.layer_rows import layer_rows, planned_wings
from bot.engine.legs import legs_of
from bot.engine.limits import DEFINED_RISK_CAP, Cap, cap_figures, caps_finding, premium_caps
from bot.engine.overlay import overlay
from bot.engine.perpetual import perpetual_room
from bot.engine.perpetual_orders import PerpetualPlan, perpetual_finding, short_perpetual
from bot.engine.plan import GroupPlan, blocked_layers, plan_gains, plan_key
from bot.engine.planner import allocate, collect_wants
from bot.engine.policy import Policy
from bot.engine.rules.confirmation import height_of
from bot.engine.rules.context import TierContext
from bot.engine.rules.hard_triggers import find_holds
from bot.engine.rules.protocol_tier import highest_protocol, protocol_step
from bot.engine.rules.protocol_triggers import health_alarms
from bot.engine.sentence import Coverage, state_sentence
from bot.engine.settlement import shrink_new
from bot.engine.sizing import covered_share, held_path_gains
from bot.engine.targets import group_targets
from bot.engine.tier_step import TierStep, decide_tier
from bot.engine.time_shift import eases
from bot.engine.wings import whole_break_evens, wings_finding
from bot.model.hedge import CondorAction, CondorOrder, HedgeLeg, HedgePlan, Side
from bot.model.market import Frame
from bot.model.record import Decision, EngineState, GroupDecision, GroupState, ProtocolDecision
from bot.model.tier import Reading, RuleFinding, Tier
from bot.signals import read_signals


def _read(policy: Policy, frame: Frame) -> tuple[Reading, ...]:
    return tuple(read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What comes before the layers. R26's control puts tiers of another time in place of R1 to R4's."""

    read: Callable[[Policy, Frame], tuple[Reading, ...]] = _read
    tier: Callable[[Policy, GroupState, Frame, Group, Sequence[Reading], Sequence[str]], TierStep] = (
        decide_tier
    )


LIVE = Stages()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orders:
    """What all groups together do with money."""

    caps: tuple[Cap, ...]
    spent_usd: float  # the most that the purchases may cost
    legs: tuple[HedgeLeg, ...]
    shorts: Mapping[str, PerpetualPlan]  # by group
    condors: tuple[CondorOrder, ...]


def decide(
    policy: Policy, state: EngineState, frame: Frame, *, stages: Stages = LIVE
) -> tuple[EngineState, Decision]:
    """Return the next memory and the decision on a frame. Unknown or bad data hold; they never raise."""
    readings = stages.read(policy, frame)
    holds = find_holds(policy, frame)
    protocols = protocol_step(policy, state, frame, readings)
    _, health = health_alarms(policy, frame)
    steps, plans, memory = _plan_groups(policy, state, frame, readings, holds=holds, stages=stages)
    orders = _orders(policy, frame, plans, steps, holds=holds)
    for plan in plans:
        memory[plan.group.name] = _still_easing(memory[plan.group.name], plan, orders.legs)
    decisions = tuple(
        _with_protocols(
            _group_decision(policy, plan, steps[plan.group.name], orders, holds=holds), protocols.decisions
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
        plan=HedgePlan(key=plan_key(policy, frame.now_s), created_at_s=frame.now_s, legs=orders.legs),
        limits=cap_figures(orders.caps, planned_usd=orders.spent_usd),
        holds=holds,
        protocols=protocols.decisions,
        findings=(*health, *base.findings),
        proposals=base.proposals,
        condors=orders.condors,
        perpetuals=tuple(order for item in orders.shorts.values() for order in item.orders),
    )
    remembered = EngineState(
        groups=memory, protocol_tiers=protocols.tiers, protocol_needed_s=protocols.needed_s
    )
    return remembered, decision


def _plan_groups(
    policy: Policy,
    state: EngineState,
    frame: Frame,
    readings: Sequence[Reading],
    *,
    holds: Sequence[str],
    stages: Stages,
) -> tuple[dict[str, TierStep], list[GroupPlan], dict[str, GroupState]]:
    """Return every group's tier and what it wants, before any money is counted, and its memory after that."""
    steps, plans, memory = dict[str, TierStep](), list[GroupPlan](), dict(state.groups)
    for name in group_names(frame):
        group = with_condors(read_group(policy, frame, name), frame.condors)
        before = state.groups.get(name, GroupState())
        step = stages.tier(policy, before, frame, group, readings, holds)
        plan, after, found = plan_group(policy, frame, group, step.context, readings=readings, holds=holds)
        steps[name] = replace(step, findings=step.findings + found)
        memory[name] = after
        plans.append(plan)
    return steps, plans, memory


def _orders(
    policy: Policy,
    frame: Frame,
    plans: Sequence[GroupPlan],
    steps: dict[str, TierStep],
    *,
    holds: Sequence[str],
) -> _Orders:
    """Spend R9's room: options first, then NEAR's perpetuals, and what is sold on top last."""
    caps = premium_caps(policy, frame, exposure_usd=sum(plan.group.value_usd for plan in plans))
    spent_usd = allocate(policy, plans, caps)
    capital_usd = next(cap.room_usd for cap in caps if cap.name == DEFINED_RISK_CAP) - spent_usd
    shorts, capital_usd = _perpetuals(policy, frame, plans, steps, holds=holds, capital_usd=capital_usd)
    return _Orders(
        caps=caps,
        spent_usd=spent_usd,
        legs=legs_of(policy, frame, plans),
        shorts=shorts,
        condors=_overlays(policy, frame, plans, steps, holds=holds, room_usd=capital_usd),
    )


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
        near=aims.near,
        conversions=aims.conversions,
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


def _perpetuals(
    policy: Policy,
    frame: Frame,
    plans: Sequence[GroupPlan],
    steps: dict[str, TierStep],
    *,
    holds: Sequence[str],
    capital_usd: float,
) -> tuple[Mapping[str, PerpetualPlan], float]:
    """R27: return each group's perpetual, one after the other in the same room, and what is left of capital.

    Each group's finding is added to its step, its shortfalls to its plan.
    """
    exposure_usd = math.fsum(plan.group.value_usd for plan in plans)
    pairs = [
        (item.quote.conversion, item.contracts)
        for plan in plans
        for item in plan.purchases
        if item.quote.conversion is not None
    ]
    room = perpetual_room(policy, frame, pairs, exposure_usd=exposure_usd, capital_usd=capital_usd)
    found: dict[str, PerpetualPlan] = {}
    for plan in plans:
        step, name = steps[plan.group.name], plan.group.name
        short = short_perpetual(policy, frame, plan, step.context.state.tier, holds=holds, room=room)
        parity = parity_said(step.context, plan.conversions)
        found[name] = short
        plan.shortfalls.extend(short.shortfalls)
        steps[name] = replace(step, findings=(*step.findings, perpetual_finding(short, parity=parity)))
    return found, room.capital_usd


def _overlays(
    policy: Policy,
    frame: Frame,
    plans: Sequence[GroupPlan],
    steps: dict[str, TierStep],
    *,
    holds: Sequence[str],
    room_usd: float,
) -> tuple[CondorOrder, ...]:
    """R16: return the orders of all groups, one after the other in what is left of defined-risk capital.

    Each group's finding is added to its step. A sale wants calm that nothing puts in doubt.
    """
    orders: list[CondorOrder] = []
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
    policy: Policy, plan: GroupPlan, step: TierStep, orders: _Orders, *, holds: Sequence[str]
) -> GroupDecision:
    group = plan.group
    covered = covered_share(group, plan_gains(plan))
    wings = planned_wings(plan)
    evens = whole_break_evens(group, wings)
    degraded = tuple(vote.family.value for vote in step.context.votes if vote.degraded)
    choices = [target.choice for target in plan.sizing.targets.values()]
    legs = [leg for leg in orders.legs if leg.group == group.name]
    wing = wings_finding(policy, group, wings, evens)
    findings = (*step.findings, *_unreplaced(plan), *plan.findings, _caps_finding(plan, orders), wing)
    return GroupDecision(
        group=group.name,
        tier=step.context.state.tier,
        previous_tier=step.previous,
        votes=step.context.votes,
        findings=tuple(sorted(findings, key=lambda item: int(item.rule[1:]))),
        targets=tuple(layer_rows(plan, orders.shorts[group.name])),
        shortfalls=tuple(plan.shortfalls),
        value_usd=group.value_usd,
        var_usd=group.var_usd,
        var_method=group.var_method,
        wanted_share=plan.sizing.share,
        covered_share=covered,
        break_evens_usd=evens,
        because=_because(plan, step, orders, covered=covered, holds=holds, degraded=degraded),
        degraded=degraded,
        reads=step.reads,
        fast_reads=step.fast_reads,
        alternatives=alternatives(choices, legs),
        refused_quotes=refused_quotes(choices),
    )


def _caps_finding(plan: GroupPlan, orders: _Orders) -> RuleFinding:
    bound = any(item.cap.startswith(cap.name) for item in plan.shortfalls for cap in orders.caps)
    return caps_finding(orders.caps, planned_usd=orders.spent_usd, bound=bound)


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


def _because(
    plan: GroupPlan,
    step: TierStep,
    orders: _Orders,
    *,
    covered: float,
    holds: Sequence[str],
    degraded: Sequence[str],
) -> str:
    def sizes(side: Side) -> tuple[tuple[str, float], ...]:
        mine = (leg for leg in orders.legs if leg.group == plan.group.name and leg.side is side)
        return tuple((leg.layer.value, leg.size) for leg in mine)

    short = orders.shorts[plan.group.name]

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
            short=(short.held, short.after, plan.group.hedged_by),
        ),
        holds=holds,
        degraded=degraded,
    )
