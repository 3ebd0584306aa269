"""R29 Exit: what to withdraw from a protocol, bridge or stable in CRISIS, and what becomes of its hedges.

An exit is a plan that a person confirms or a Safe signs; the policy can say in words that nobody is asked.
R8 names an exit proposal for market tier CRISIS too: that one always waits for a person.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.engine.base_layers.diversification import worth_usd
from bot.engine.policy import Policy
from bot.engine.rules.protocol_triggers import protocols_of
from bot.model.base_layers import Action, BaseLayer, Needs, Proposal
from bot.model.exposure import Exposure
from bot.model.market import Frame
from bot.model.record import ProtocolDecision
from bot.model.tier import RuleFinding, Tier

RULE = "R29"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPlan:
    """What leaves one position, and the hedges that R18 then no longer wants."""

    exposure: str  # id
    group: str
    part: float  # of the position, (0, 1]
    amount_usd: float  # NaN: the position's value is not known
    group_part: float  # of the group's value that leaves with it, fraction; NaN: unknown
    hedges: tuple[str, ...]  # held hedges of the group: their targets shrink by ``group_part``
    because: str
    by_itself: bool


def exit_plan(
    policy: Policy, frame: Frame, market_tiers: Mapping[str, Tier], protocols: Sequence[ProtocolDecision]
) -> tuple[tuple[Proposal, ...], tuple[RuleFinding, ...]]:
    """Return a withdrawal for each position that must leave; one finding says which, or that none must."""
    plans = exit_plans(policy, frame, market_tiers, protocols)
    if not plans:
        because = "no position must leave: no protocol tier and no market tier is CRISIS"
        if frame.unseen:
            because += f"; {', '.join(sorted(frame.unseen))} was not read"
        return (), (RuleFinding(rule=RULE, fired=False, because=because),)
    proposals = tuple(_proposal(item) for item in plans)
    return proposals, tuple(RuleFinding(rule=RULE, fired=True, because=item.because) for item in proposals)


def exit_plans(
    policy: Policy, frame: Frame, market_tiers: Mapping[str, Tier], protocols: Sequence[ProtocolDecision]
) -> tuple[ExitPlan, ...]:
    """Return a plan for each position that must leave, in the order of the frame.

    S7 under 0.90 is protocol tier CRISIS of whatever the bridge backs (R2), so that both causes are one here.
    """
    in_crisis = {item.protocol: _reason(item) for item in protocols if item.tier is Tier.CRISIS}
    plans = []
    for item in frame.exposures:
        reasons = [in_crisis[name] for name in sorted(protocols_of((item,))) if name in in_crisis]
        market_part = policy.exit.market_part
        if reasons:
            by_itself = policy.exit.without_asking
            plans.append(_plan(frame, item, policy.exit.part, "; ".join(reasons), by_itself=by_itself))
        elif market_part is not None and market_tiers.get(item.group) is Tier.CRISIS:
            because = f"market tier CRISIS of {item.group} (R8)"
            plans.append(_plan(frame, item, market_part, because, by_itself=False))
    return tuple(plans)


def _reason(item: ProtocolDecision) -> str:
    """Return why a protocol is in CRISIS: what asks for it now, else that it was asked for before."""
    asked = [each.because for each in item.findings if each.fired and each.tier is Tier.CRISIS]
    why = ", ".join(asked) or "asked for before, its cooldown is not over"
    return f"protocol tier CRISIS of {item.protocol}: {why}"


def _plan(frame: Frame, item: Exposure, part: float, because: str, *, by_itself: bool) -> ExitPlan:
    amount_usd = part * worth_usd(item)
    group_usd = sum(worth_usd(each) for each in frame.exposures if each.group == item.group)
    return ExitPlan(
        exposure=item.id,
        group=item.group,
        part=part,
        amount_usd=amount_usd,
        group_part=amount_usd / group_usd if group_usd > 0.0 else math.nan,
        hedges=tuple(
            hedge.id
            for hedge in frame.held
            if hedge.group == item.group
            or (not hedge.group and hedge.instrument.underlying == item.underlying)
        ),
        because=because,
        by_itself=by_itself,
    )


def _proposal(plan: ExitPlan) -> Proposal:
    usd = f"{plan.amount_usd:,.0f} USD" if math.isfinite(plan.amount_usd) else "its value is not known"
    needs = Needs.NOBODY if plan.by_itself else Needs.CONFIRMATION
    follows = _follows(plan)
    return Proposal(
        rule=RULE,
        layer=BaseLayer.EXIT,
        action=Action.WITHDRAW,
        subject=plan.exposure,
        amount_usd=plan.amount_usd,
        because=f"{plan.because}: withdraw {plan.part:.0%} of {plan.exposure} ({usd})",
        needs=needs,
        part=plan.part,
        follows=follows,
    )


def _follows(plan: ExitPlan) -> str:
    """Say what becomes of the hedges: nothing is sold before the position has left."""
    if not plan.hedges:
        return f"{plan.group} holds no hedge"
    leaves = f" by {plan.group_part:.0%}" if math.isfinite(plan.group_part) else ""
    return (
        f"hedges {', '.join(plan.hedges)} stay until it has left; then {plan.group}'s target shrinks{leaves} "
        "(R8) and R18 closes what no rule wants any more"
    )
