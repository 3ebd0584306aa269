"""Purchases of one quote for each slot, by plain arithmetic: shrunk in proportion under every cap.

It is what the planner does where no mix of quotes can be cheaper, and where the integer programme fails.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bot.engine.limits import OVER_HEDGE_CAP, RESERVED_CAPS, Cap, tightest
from bot.engine.plan import GroupPlan, Purchase, Want, most_unit_usd, round_down
from bot.engine.policy import Policy
from bot.model.hedge import Instrument, Layer
from bot.model.tier import Tier

_DIGITS = 9
ORDERS_CAP = "orders in one decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The most contracts that one limit lets through."""

    contracts: float
    name: str
    frees_at_s: float
    text: str  # what it leaves


@dataclass(slots=True)
class _Spent:
    """What the purchases so far took from each limit."""

    usd: float = 0.0
    orders: int = 0
    at_venue: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    carry_of: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))  # group
    sold: defaultdict[Instrument, float] = field(default_factory=lambda: defaultdict(float))  # contracts


def buy_one_quote_each(policy: Policy, plans: Sequence[GroupPlan], caps: Sequence[Cap]) -> None:
    """Spend the room of all caps on all groups' wants in proportion, each on the quote it was sized on."""
    ranked, spent = ranked_wants(plans), _Spent()
    sizes = [min(plan.guard * want.contracts, want.quote.liquidity) for plan, want in ranked]
    costs = [_cost_usd(policy, want, size) for size, (_, want) in zip(sizes, ranked, strict=True)]
    for (plan, want), size, cost_usd, total_usd in zip(ranked, sizes, costs, _left(costs), strict=True):
        plan.guarded = plan.guard
        cut = (1.0 - plan.guard) * want.units
        if cut > 0.0:
            plan.short(want.slot, cut, "more would gain more than the group loses", cap=OVER_HEDGE_CAP)
        rooms = (
            _money_room(policy, plan, want, caps, spent, cost_usd=cost_usd, total_usd=total_usd),
            *_venue_rooms(policy, want, caps, spent),
            *_carry_room(plan, want, size, spent),
            *_order_room(policy, spent),
        )
        left = want.quote.liquidity - spent.sold[want.quote.instrument]
        contracts = _fill(policy, plan, want, min(rooms, key=lambda room: room.contracts), liquidity=left)
        if contracts > 0.0:
            because = want.target.choice.because
            bought = Purchase(want=want, quote=want.quote, contracts=contracts, because=because)
            plan.bought[want.slot] = (bought,)
            _count(policy, plan, bought, spent)


def ranked_wants(plans: Sequence[GroupPlan]) -> list[tuple[GroupPlan, Want]]:
    """Return all groups' wants, TAIL first, then by what they gain per cost."""
    return sorted(
        ((plan, want) for plan in plans for want in plan.wants),
        key=lambda pair: (
            pair[1].layer is not Layer.TAIL,
            -round(pair[1].target.choice.gain_per_cost, _DIGITS),
            pair[1].group.name,
            pair[1].quote.instrument,
        ),
    )


def reserve_part(policy: Policy, plan: GroupPlan, layer: Layer) -> float:
    """Return which part of the short windows a purchase may bring what was spent to, (0, 1] (ADR 0004).

    What a tier may have spent is to what all may have as its share of VaR is to the largest (R8), so that
    an escalation finds money. TAIL's standing share is what always stands (R14) and is exempt. A policy may
    do without all this.
    """
    shares = policy.sizing.shares
    part = min(1.0, plan.sizing.share / max(shares.of(tier) for tier in Tier))
    return 1.0 if layer is Layer.TAIL or not policy.budget.escalation_reserve else part


def reserved_caps(caps: Sequence[Cap], part: float) -> tuple[Cap, ...]:
    """Return R9's caps as a purchase of this part sees them."""
    if part >= 1.0:
        return tuple(caps)
    return tuple(
        replace(cap, name=f"{cap.name}, {part:.0%} of it at this tier", limit_usd=part * cap.limit_usd)
        if cap.name in RESERVED_CAPS
        else cap
        for cap in caps
    )


def counted_part(plan: GroupPlan, want: Want) -> float:
    """Return the part of a want that R11 counts: TAIL's standing share is exempt."""
    held = plan.review.counted.get(want.slot, 0.0)
    exempt = max(0.0, want.target.standing_units - held)
    return max(0.0, 1.0 - exempt / want.units)


def carried_usd(plan: GroupPlan, item: Purchase) -> float:
    """Return what R11 counts of a purchase, USD."""
    part = counted_part(plan, item.want)
    if plan.carry is None or part <= 0.0:
        return 0.0
    return part * plan.carry.carry_usd(item.quote, item.contracts) + item.quote.gas_usd


def _left(costs_usd: Sequence[float]) -> list[float]:
    """Return at each position the sum from there to the end."""
    sums = list(itertools.accumulate(reversed(costs_usd)))
    return sums[::-1]


def _cost_usd(policy: Policy, want: Want, contracts: float) -> float:
    return contracts * most_unit_usd(policy, want.quote) + want.quote.gas_reserve_usd


def _money_room(
    policy: Policy,
    plan: GroupPlan,
    want: Want,
    caps: Sequence[Cap],
    spent: _Spent,
    *,
    cost_usd: float,
    total_usd: float,
) -> Room:
    """Return what R9 lets through: this want's part of the room that is left for it and all after it."""
    common = [cap for cap in caps if not cap.venue]
    part = reserve_part(policy, plan, want.layer)
    room_usd, cap = tightest(reserved_caps(common, part), spent_usd=spent.usd)
    share = cost_usd / total_usd if total_usd > room_usd else 1.0
    return _usd_room(policy, want, share * room_usd, cap)


def _venue_rooms(policy: Policy, want: Want, caps: Sequence[Cap], spent: _Spent) -> list[Room]:
    venue = want.quote.instrument.venue
    return [
        _usd_room(policy, want, max(0.0, cap.room_usd - spent.at_venue[venue]), cap)
        for cap in caps
        if cap.venue == venue
    ]


def _usd_room(policy: Policy, want: Want, room_usd: float, cap: Cap) -> Room:
    left_usd = room_usd - want.quote.gas_reserve_usd
    return Room(
        contracts=max(0.0, left_usd / most_unit_usd(policy, want.quote)),
        name=cap.name,
        frees_at_s=cap.frees_at_s,
        text=f"room of {room_usd:,.0f} USD",
    )


def _carry_room(plan: GroupPlan, want: Want, size: float, spent: _Spent) -> list[Room]:
    """Return what R11 lets through: the same part of every want of the group that it counts."""
    cap = plan.carry
    if cap is None or math.isinf(cap.limit_usd) or counted_part(plan, want) <= 0.0:
        return []

    def carry_usd(item: Want, contracts: float) -> float:
        part = counted_part(plan, item)
        return part * cap.carry_usd(item.quote, contracts) + item.quote.gas_usd if part > 0.0 else 0.0

    later = [item for item in plan.wants if item.slot not in plan.bought and item is not want]
    sizes = (min(plan.guard * item.contracts, item.quote.liquidity) for item in later)
    mine_usd = carry_usd(want, size)
    total_usd = mine_usd + math.fsum(map(carry_usd, later, sizes))
    room_usd = max(0.0, cap.room_usd - spent.carry_of[plan.group.name])
    share = mine_usd / total_usd if total_usd > room_usd else 1.0
    part = counted_part(plan, want)
    contracts = cap.affordable(want.quote, share * room_usd) / part
    text = f"net carry of {share * room_usd:,.0f} USD"
    return [Room(contracts=contracts, name=cap.name, frees_at_s=cap.frees_at_s, text=text)]


def _order_room(policy: Policy, spent: _Spent) -> list[Room]:
    most = policy.orders.max_orders
    if spent.orders < most:
        return []
    return [Room(contracts=0.0, name=ORDERS_CAP, frees_at_s=math.nan, text=f"the most orders, {most},")]


def _count(policy: Policy, plan: GroupPlan, item: Purchase, spent: _Spent) -> None:
    spent.usd += item.cost_usd(policy)
    spent.orders += 1
    spent.at_venue[item.quote.instrument.venue] += item.cost_usd(policy)
    spent.sold[item.quote.instrument] += item.contracts
    spent.carry_of[plan.group.name] += carried_usd(plan, item)


def _fill(policy: Policy, plan: GroupPlan, want: Want, room: Room, *, liquidity: float) -> float:
    """Return the contracts to buy, rounded down to lots; what is cut off becomes a shortfall."""
    slot, quote = want.slot, want.quote
    multiplier, wanted = quote.instrument.multiplier, plan.guard * want.contracts
    liquid = max(0.0, min(wanted, liquidity))
    if liquid < wanted:
        reason = f"{quote.instrument.venue} sells only {max(0.0, liquidity):.4g}"
        plan.short(slot, (wanted - liquid) * multiplier, reason)
    paid, least = min(liquid, room.contracts), f"{policy.orders.min_order:.0%} of the layer's target"
    if paid * multiplier < want.least_units(policy):
        paid = 0.0
    if room.contracts < liquid:
        buys = f"buys {room.contracts:.4g} of {liquid:.4g} contracts"
        reason = f"{room.text} {buys}; the least order is {least}"
        cut = (liquid - paid) * multiplier
        plan.short(slot, cut, reason, cap=room.name, frees_at_s=room.frees_at_s)
    elif paid < liquid:
        plan.short(slot, liquid * multiplier, f"{liquid:.4g} contracts are under the least order, {least}")
    rounded = round_down(paid, quote.lot)
    if paid > 0.0 and (rounded <= 0.0 or rounded < quote.min_size):
        under = f"{paid:.4g} contracts are under the venue's least of {quote.min_size:g}"
        plan.short(slot, paid * multiplier, under)
        return 0.0
    return rounded
