"""What one group should hold at its tier: layers (R7, R12-R14), where wings stand (R5, R15), size (R8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.engine.choose import choose
from bot.engine.conversion import conversions
from bot.engine.group import Group
from bot.engine.layers import LayerPlan, open_layers, plan_layers
from bot.engine.perpetual import NearHedge, near_hedge
from bot.engine.policy import Policy
from bot.engine.rules.context import TierContext
from bot.engine.rules.outer_wings import WingDirective, outer_wings
from bot.engine.settlement import settle_elsewhere, settlement_stress
from bot.engine.sizing import Sizing, size_group
from bot.engine.wing_strikes import Placement, place_wings, wings_wider
from bot.model.hedge import Quote
from bot.model.market import Frame
from bot.model.record import GroupState
from bot.model.tier import Reading, RuleFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTargets:
    """A group's targets before anything held or any money is counted."""

    layers: tuple[LayerPlan, ...]
    near: NearHedge  # whether a perpetual serves NEAR (R27)
    conversions: tuple[Quote, ...]  # options in two parts that were offered beside the listed ones (R27)
    sizing: Sizing
    stress: Mapping[str, float]  # settlement asset -> score over R10's limit
    state: GroupState  # with the memories of R12 and R15
    findings: tuple[RuleFinding, ...]  # of R5, R7, R8, R10 (settlement), R12-R15


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offered:
    """What the open layers would buy, and which settlement assets are under stress."""

    conversions: tuple[Quote, ...]
    placed: Placement  # of conversions too, settled elsewhere than under stress where that is offered
    stress: Mapping[str, float]
    settled: RuleFinding  # of R10


def group_targets(
    policy: Policy,
    frame: Frame,
    group: Group,
    context: TierContext,
    *,
    readings: Sequence[Reading],
    force: bool = False,
    allow_indicative: bool = False,
) -> GroupTargets:
    """Return the targets of a group.

    ``readings`` are all of the frame, since a settlement asset need not be one that the group depends on.
    ``force`` takes the layers' own triggers as fired.
    """
    wings = outer_wings(policy, context)
    layers, state, found = plan_layers(policy, context, wings=wings, force=force)
    state, wider = wings_wider(policy, replace(context, state=state))
    offered = _offered(policy, frame, group, state, readings, wings, allow_indicative=allow_indicative)
    choices = offered.placed.choices
    near = near_hedge(
        policy,
        frame,
        group,
        choices,
        is_open=layers[0].open,
        allow_indicative=allow_indicative,
    )
    options = {slot: item for slot, item in choices.items() if not near.serves_layer(slot.layer)}
    sizing = size_group(policy, group, state.tier, layers, options)
    return GroupTargets(
        layers=layers,
        near=near,
        conversions=offered.conversions,
        sizing=sizing,
        stress=offered.stress,
        state=state,
        findings=(*found, *offered.placed.findings, wider, offered.settled, sizing.finding),
    )


def _offered(
    policy: Policy,
    frame: Frame,
    group: Group,
    state: GroupState,
    readings: Sequence[Reading],
    wings: WingDirective,
    *,
    allow_indicative: bool,
) -> _Offered:
    layers = open_layers(state.tier)
    pairs = conversions(policy, frame, group, layers, allow_indicative=allow_indicative)
    offered = (*frame.quotes, *pairs) if pairs else frame.quotes
    listed = choose(policy, group, layers, offered, allow_indicative=allow_indicative)
    stress, settled = settlement_stress(policy, readings, listed)
    placed = place_wings(
        policy,
        group,
        settle_elsewhere(listed, stress),
        directive=wings,
        wider=state.wider_wings,
        allow_indicative=allow_indicative,
    )
    return _Offered(conversions=pairs, placed=placed, stress=stress, settled=settled)
