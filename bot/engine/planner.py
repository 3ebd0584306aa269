"""From targets to purchases: what is missing, what the guards let through, at the least cost.

A slot may be served by one quote or by several, of all venues. Where the quote that each slot was sized on is
the cheapest whatever the caps leave, arithmetic is enough; else the choice is an integer programme
(``programme``, ``solver``), and where that gives no answer, the arithmetic again. Under a cap all purchases
shrink alike, so that notionals keep R7's proportions, and what a tier leaves for the tiers above it is not
spent (docs/adr/0004).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bot.engine.choose import Slot
from bot.engine.cost_guard import cost_finding
from bot.engine.limits import OVER_HEDGE_CAP, Cap, over_hedge_factor
from bot.engine.offers import market_of
from bot.engine.one_quote import buy_one_quote_each, carried_usd
from bot.engine.plan import GroupPlan, Want
from bot.engine.policy import Policy
from bot.engine.programme import buy_least_cost
from bot.engine.sizing import covered_share, held_path_gains, scale_to_share
from bot.model.tier import RuleFinding

_BISECTED = 1e-4  # what the search for a share leaves open


def collect_wants(policy: Policy, plan: GroupPlan, *, holds: Sequence[str]) -> None:
    """Fill in what the group wants to buy after R18's band and R8's ceiling, with the shortfalls."""
    missing = {slot: _missing(policy, plan, slot, holds=holds) for slot in plan.sizing.targets}
    missing = {slot: units for slot, units in missing.items() if units > 0.0}
    scale = _ceiling(policy, plan, missing)
    for slot, units in missing.items():
        target = plan.sizing.targets[slot]
        if scale > 0.0 and target.choice.quote is not None:
            plan.wants.append(
                Want(group=plan.group, target=target, quote=target.choice.quote, units=scale * units)
            )
    plan.guard = over_hedge_factor(
        policy,
        plan.group,
        kept=plan.standing,
        leaving=plan.leaving,
        new=[(want.quote, want.contracts) for want in plan.wants],
    )


def _missing(policy: Policy, plan: GroupPlan, slot: Slot, *, holds: Sequence[str]) -> float:
    """Return the units of a slot that may be bought now; all else that is missing becomes a shortfall."""
    target, held = plan.sizing.targets[slot], plan.review.counted.get(slot, 0.0)
    if target.choice.quote is None:
        if target.plan.weight > 0.0 and plan.sizing.share > 0.0:
            _report_unlisted(policy, plan, slot, held=held)
        return 0.0
    if math.isnan(target.units):
        plan.short(slot, 0.0, "value at risk is unknown")
        return 0.0
    withheld = target.units - max(target.released_units, held)
    if withheld > 0.0 and target.plan.released < 1.0:
        plan.short(slot, withheld, target.plan.because)
    if target.units == 0.0 and plan.sizing.share > 0.0 and not plan.sizing.reached > 0.0:
        side = (
            f"no {slot.option_type} lowers the value at risk: the group's worst losses are on the other side"
        )
        plan.short(slot, 0.0, side if plan.group.var_usd > 0.0 else "nothing is at risk")
        return 0.0
    gap = target.released_units - held
    if gap <= 0.0 or target.units <= 0.0:
        return 0.0
    if holds:
        plan.short(slot, gap, f"HOLD: {holds[0]}")
    elif slot.layer in plan.blocked:
        plan.short(slot, gap, "a leg of this layer has no final outcome yet, or was refused a moment ago")
    elif held >= policy.no_loyalty.resize_band[0] * target.released_units:
        low = policy.no_loyalty.resize_band[0]
        plan.short(
            slot, gap, f"held {held / target.released_units:.0%} of target, topped up only under {low:.0%}"
        )
    else:
        return gap
    return 0.0


def _report_unlisted(policy: Policy, plan: GroupPlan, slot: Slot, *, held: float) -> None:
    """Report a slot that nothing listed can serve, so that its target is not known.

    Whole where it holds nothing; else by what all that stays leaves of the wanted share, unless that is
    little: how much of it is this slot's cannot be told.
    """
    because = plan.sizing.targets[slot].choice.because
    if held <= 0.0:
        plan.short(slot, 0.0, because)
        return
    gains = held_path_gains(plan.group, plan.review.staying(expiring=False))
    covered, share = covered_share(plan.group, gains), plan.sizing.share
    if covered >= policy.sizing.top_up_under * share or plan.group.var_usd == 0.0:  # NaN is not
        return
    said = f"held legs cover {covered:.1%} of the {share:.1%} wanted (R8); {because}"
    left = 1.0 - covered / share
    plan.short_of(slot.layer, min(max(left, 0.0), 1.0) if math.isfinite(left) else 1.0, said)


def _ceiling(policy: Policy, plan: GroupPlan, missing: Mapping[Slot, float]) -> float:
    """Return the factor <= 1 on what is missing with which all that stays keeps within the share (R8).

    What it cuts off is a shortfall; close to the share nothing is added at all.
    """
    if not missing:
        return 0.0
    held = held_path_gains(plan.group, plan.review.staying(expiring=False))
    covered, share = covered_share(plan.group, held), plan.sizing.share
    if covered >= policy.sizing.top_up_under * share:  # False for NaN, which is told below
        for slot, units in missing.items():
            plan.short(slot, units, f"held legs cover {covered:.1%} of the {share:.1%} wanted (R8)")
        return 0.0
    unit = sum(
        (units * plan.sizing.targets[slot].unit_gains for slot, units in missing.items()),
        np.zeros(plan.group.losses_usd.shape),
    )
    scale = scale_to_share(plan.group, held, np.asarray(unit), share=share, most=1.0)
    if math.isnan(scale):
        for slot, units in missing.items():
            plan.short(slot, units, "the gain of a held hedge is unknown: its implied vol cannot be read")
        return 0.0
    for slot, units in missing.items():
        plan.short(slot, (1.0 - scale) * units, "share already covered by held legs (R8)")
    return scale


def allocate(policy: Policy, plans: Sequence[GroupPlan], caps: Sequence[Cap]) -> float:
    """Buy for all groups within R9-R11 at the least cost; return the most that the purchases may cost.

    Every plan gets its purchases, its shortfalls and the findings of R10 and of the choice of quotes.
    """
    said = _buy(policy, plans, caps) if any(plan.wants for plan in plans) else ""
    for plan in plans:
        _within_share(plan)
        plan.findings.append(_guard_finding(policy, plan))
        plan.findings += _carry_findings(plan)
        if plan.wants:
            plan.findings.append(RuleFinding(rule="R17", fired=False, because=f"purchases: {said}"))
    return math.fsum(item.cost_usd(policy) for plan in plans for item in plan.purchases)


def _buy(policy: Policy, plans: Sequence[GroupPlan], caps: Sequence[Cap]) -> str:
    """Fill in the purchases; return how they were found."""
    market = market_of(policy, plans, caps)
    if market.one_each:
        buy_one_quote_each(policy, plans, caps)
        return "each layer's first quote is the cheapest whatever the caps leave"
    said = buy_least_cost(policy, plans, caps, market)
    if not said.failed:
        return said.text
    for plan in plans:
        plan.bought.clear()
    buy_one_quote_each(policy, plans, caps)
    return f"{said.failed}: one quote for each layer instead, shrunk in proportion"


def _within_share(plan: GroupPlan) -> None:
    """Take off what a mix of quotes removes of the value at risk beyond the wanted share (R8).

    A mix gains what its slots were sized to gain on the worst paths together, not on each of them.
    """
    if all(item.quote is item.want.quote for item in plan.purchases):
        return
    held = held_path_gains(plan.group, plan.review.staying(expiring=False))
    new = sum((item.path_gains() for item in plan.purchases), np.zeros(held.shape))
    scale = scale_to_share(plan.group, held, np.asarray(new), share=plan.sizing.share, most=1.0)
    if not scale < 1.0 - _BISECTED:  # NaN too
        return
    for slot, items in plan.bought.items():
        plan.bought[slot] = tuple(item.shrunk(scale) for item in items)


def _guard_finding(policy: Policy, plan: GroupPlan) -> RuleFinding:
    """Return what R10 says of a plan whose purchases are known."""
    settled = [want.quote.instrument.settlement for want in plan.wants]
    unpriced = sorted({name for name in settled if name not in plan.group.stable_usd})
    note = f"; no price of {', '.join(unpriced)}: counted as 1 USD" if unpriced else ""
    if not plan.wants:
        return RuleFinding(rule="R10", fired=False, because=f"no new leg to guard{note}")
    cut = any(item.cap == OVER_HEDGE_CAP for item in plan.shortfalls)
    alone = f"; the quotes that layers were sized on alone would be shrunk to {plan.guard:.0%}"
    because = (
        f"new legs shrunk to {plan.guarded:.0%}"
        if cut
        else f"new legs stay within loss x {1 + policy.sizing.over_hedge_tolerance:.2f}"
    )
    because += alone if plan.guard < 1.0 and plan.guard != plan.guarded else ""
    return RuleFinding(rule="R10", fired=cut, because=because + note)


def _carry_findings(plan: GroupPlan) -> list[RuleFinding]:
    """Return what R11 says of a plan whose purchases are known."""
    cap = plan.carry
    if cap is None:
        return []
    planned_usd = math.fsum(carried_usd(plan, item) for item in plan.purchases)
    bound = any(item.cap == cap.name for item in plan.shortfalls)
    return [cost_finding(cap, planned_usd=planned_usd, bound=bound)]
