"""A plan's legs: what is settled, sold and bought, in the order in which it is to be executed.

Legs are ordered SETTLE, SELL, BUY, and last the sales of a roll, each only after its replacement was bought.
Legs fill apart and a leg can wait for one other alone: of several orders that replace a leg it waits for the
largest, and where that one is not enough, for the next decision, which counts what was filled.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from bot.engine.choose import Slot
from bot.engine.plan import GroupPlan, Purchase, plan_key
from bot.engine.policy import Policy
from bot.engine.review import Sale
from bot.model.hedge import HedgeLeg, HeldHedge, Layer, Side
from bot.model.market import Frame


def legs_of(policy: Policy, frame: Frame, plans: Sequence[GroupPlan]) -> tuple[HedgeLeg, ...]:
    """Return all legs in the order they are to be executed."""
    settles = [
        (plan, hedge) for plan in plans for hedge in plan.review.settles if hedge.layer not in plan.blocked
    ]
    sales = [(plan, sale) for plan in plans for sale in plan.review.sales if _may_sell(policy, plan, sale)]
    buys = [(plan, item) for plan in plans for item in plan.purchases]
    legs: list[HedgeLeg] = []
    prefix = plan_key(policy, frame.now_s)

    def key(plan: GroupPlan, layer: Layer) -> str:
        return f"{prefix}-{plan.group.name.replace('/', '.')}-{layer}-{len(legs)}"

    for plan, hedge in settles:
        legs.append(_settle_leg(policy, frame, plan, hedge, key(plan, hedge.layer)))
    for plan, sale in sales:
        if sale.replaced not in plan.bought:
            legs.append(_sell_leg(policy, frame, plan, sale, key(plan, sale.layer)))
    replacements: dict[tuple[str, Slot], str] = {}
    for plan, item in buys:
        legs.append(_buy_leg(policy, frame, item, key(plan, item.layer)))
        if item is _largest(plan, item.want.slot):
            replacements[plan.group.name, item.want.slot] = legs[-1].key
    for plan, sale in sales:
        if sale.replaced in plan.bought:
            leg = _sell_leg(policy, frame, plan, sale, key(plan, sale.layer))
            legs.append(replace(leg, only_after=replacements[plan.group.name, sale.replaced]))
    return tuple(legs)


def _may_sell(policy: Policy, plan: GroupPlan, sale: Sale) -> bool:
    """Return whether a leg may go: none while its layer has an open leg; that of a roll only once its slot is
    served without it, whatever else of the plan is not filled."""
    if sale.layer in plan.blocked:
        return False
    if sale.replaced is None:
        return True
    target = plan.sizing.targets[sale.replaced]
    bought = _largest(plan, sale.replaced)
    served = plan.review.counted.get(sale.replaced, 0.0) + (bought.units if bought else 0.0)
    return served >= policy.no_loyalty.resize_band[0] * target.released_units


def _largest(plan: GroupPlan, slot: Slot) -> Purchase | None:
    return max(plan.bought.get(slot, ()), key=lambda item: item.units, default=None)


def _settle_leg(policy: Policy, frame: Frame, plan: GroupPlan, hedge: HeldHedge, key: str) -> HedgeLeg:
    return HedgeLeg(
        key=key,
        group=plan.group.name,
        layer=hedge.layer,
        side=Side.SETTLE,
        instrument=hedge.instrument,
        size=hedge.size,
        limit_usd=0.0,
        expected_usd=hedge.model_usd if 0.0 < hedge.model_usd < math.inf else 0.0,
        valid_until_s=frame.now_s + policy.orders.valid_for,
        position_id=hedge.id,
        because="expired and its settlement price is known"
        if hedge.instrument.expiry_s <= frame.now_s
        else "in the money, and its venue exercises nothing by itself",
    )


def _sell_leg(policy: Policy, frame: Frame, plan: GroupPlan, sale: Sale, key: str) -> HedgeLeg:
    hedge = sale.hedge
    proceeds_usd = hedge.liquidation_usd * (sale.size / hedge.size)
    return HedgeLeg(
        key=key,
        group=plan.group.name,
        layer=sale.layer,
        side=Side.SELL,
        instrument=hedge.instrument,
        size=sale.size,
        limit_usd=proceeds_usd * (1.0 - policy.orders.max_slippage),
        expected_usd=proceeds_usd,
        valid_until_s=frame.now_s + policy.orders.valid_for,
        position_id=hedge.id,
        because=sale.because,
        set_aside=sale.set_aside,
    )


def _buy_leg(policy: Policy, frame: Frame, item: Purchase, key: str) -> HedgeLeg:
    quote, contracts = item.quote, item.contracts
    premium_usd = quote.premium_usd * contracts / quote.size
    return HedgeLeg(
        key=key,
        group=item.want.group.name,
        layer=item.layer,
        side=Side.BUY,
        instrument=quote.instrument,
        size=contracts,
        limit_usd=premium_usd * (1.0 + policy.orders.max_slippage),
        expected_usd=premium_usd,
        valid_until_s=min(frame.now_s + policy.orders.valid_for, quote.valid_until_s),
        reserve_usd=item.cost_usd(policy),
        because=item.because,
        indicative=quote.indicative,
        conversion=quote.conversion,
    )
