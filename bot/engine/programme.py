"""The purchases of one decision as a programme for the solver, and its answer as purchases and shortfalls."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.engine.choose import unit_delta
from bot.engine.limits import OVER_HEDGE_CAP, Cap, tightest
from bot.engine.offers import Market, Offer, enough, slots_of_offers
from bot.engine.one_quote import ORDERS_CAP, reserve_part, reserved_caps
from bot.engine.plan import GroupPlan, Purchase
from bot.engine.policy import Policy
from bot.engine.purchase_model import Programme, Row, Solution, Stage, single_orders
from bot.engine.solver import solve
from bot.model.hedge import Instrument, Layer
from bot.model.market import FloatArray

_ROUNDING = 2e-3  # of a want: what whole lots leave over is no shortfall
_NEXT = 0.25  # what a level counts for against the one above it, where both draw on one cap
_GUARD, _CARRY, _VENUE, _MONEY, _RESERVE = "guard", "carry", "venue", "money", "reserve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How the purchases were found, or why they were not."""

    text: str = ""
    failed: str = ""


def buy_least_cost(policy: Policy, plans: Sequence[GroupPlan], caps: Sequence[Cap], market: Market) -> Said:
    """Fill in purchases and shortfalls from the least-cost programme; nothing when it fails."""
    offers = [
        item for item in market.offers if enough(policy, item.want) and item.group not in market.unknown
    ]
    if not offers:
        return Said(failed="no offer is left")
    programme = _programme(policy, plans, caps, market, offers)
    found = _solution(programme)
    if found.failed:
        return Said(failed=found.failed)
    slots = slots_of_offers(offers)
    for number, items in enumerate(slots):
        plan, want = plans[items[0].group], items[0].want
        sizes = found.contracts[programme.slot == number].tolist()
        bought = [_purchase(item, size) for item, size in zip(items, sizes, strict=True) if size > 0.0]
        if bought:
            plan.bought[want.slot] = tuple(bought)
        _report(policy, plan, caps, items, found, programme, number)
    _report_left_out(policy, plans, market)
    venues = len({item.candidate.quote.instrument.venue for item in offers})
    how = f"{found.runs} runs of the solver" if found.runs else "one quote each, proved without the solver"
    how += f", stopped within {found.gap:.1%} of the best" if found.gap > 0.0 else ""
    cost_usd = programme.cost_usd(found.contracts)
    return Said(
        text=f"least cost {cost_usd:,.2f} USD over {len(offers)} offers of {venues} venues for "
        f"{len(slots)} layers: {how}"
    )


def _solution(programme: Programme) -> Solution:
    contracts = single_orders(programme)
    if contracts is None:
        return solve(programme)
    return Solution(contracts=contracts, left=(("", np.ones(programme.slots)),), runs=0)


def _purchase(item: Offer, contracts: float) -> Purchase:
    quote, want = item.candidate.quote, item.want
    because = want.target.choice.because
    if quote is not want.quote:
        instrument = quote.instrument
        because = (
            f"{want.layer} {instrument.strike_usd:,.0f} {instrument.option_type} of {instrument.venue}, "
            f"{instrument.dte(want.group.now_s):.1f} d, delta {unit_delta(quote):+.2f}: of the least-cost "
            f"mix ({item.candidate.gain_per_cost:.2f} gain per cost)"
        )
    return Purchase(want=want, quote=quote, contracts=contracts, because=because)


def _programme(
    policy: Policy, plans: Sequence[GroupPlan], caps: Sequence[Cap], market: Market, offers: Sequence[Offer]
) -> Programme:
    slots = slots_of_offers(offers)
    wants = [items[0].want for items in slots]
    quotes = [item.candidate.quote for item in offers]
    gains = np.array([items[0].wanted_gain for items in slots])
    least = np.array([want.least_units(policy) / want.units for want in wants])
    return Programme(
        slot=np.repeat(np.arange(len(slots), dtype=np.intp), [len(items) for items in slots]),
        gain=np.array([item.gain for item in offers]),
        units=np.array([item.units for item in offers]),
        cost=np.array([quote.unit_cost_usd for quote in quotes]),
        order_cost=np.array([quote.order_gas_usd for quote in quotes]),
        least=np.array([_least(policy, item) for item in offers]),
        most=np.array([quote.liquidity for quote in quotes]),
        lot=np.array([quote.lot for quote in quotes]),
        wanted_gain=gains,
        wanted_units=np.array([want.units for want in wants]),
        least_gain=least * gains,
        first=np.array([want.layer is Layer.TAIL for want in wants]),
        pools=(*_liquidity_rows(offers), *_ladder_rows(slots, len(offers))),
        stages=_stages(policy, plans, caps, market, offers),
    )


def _least(policy: Policy, item: Offer) -> float:
    """Return the least contracts of one order: what the venue takes, and what is worth its gas."""
    quote = item.candidate.quote
    return max(quote.min_size, item.want.least_units(policy) / quote.instrument.multiplier)


def _liquidity_rows(offers: Sequence[Offer]) -> list[Row]:
    """Return what offers of one instrument can be sold together."""
    by_instrument: dict[Instrument, list[int]] = {}
    for number, item in enumerate(offers):
        by_instrument.setdefault(item.candidate.quote.instrument, []).append(number)
    return [
        _row(
            f"liquidity of {instrument.id}",
            len(offers),
            {number: 1.0 for number in numbers},
            limit=max(offers[number].candidate.quote.liquidity for number in numbers),
        )
        for instrument, numbers in by_instrument.items()
        if len(numbers) > 1
    ]


def _ladder_rows(slots: Sequence[Sequence[Offer]], count: int) -> list[Row]:
    """Return what each expiry of a laddered slot may still take (R14)."""
    rows, start = [], 0
    for items in slots:
        rungs: dict[float, dict[int, float]] = {}
        for number, item in enumerate(items):
            if math.isfinite(item.rung):
                expiry_s = item.candidate.quote.instrument.expiry_s
                rungs.setdefault(expiry_s, {})[start + number] = item.units
        for numbers in rungs.values():
            limit = items[min(numbers) - start].rung
            rows.append(_row("a rung of TAIL's ladder (R14)", count, numbers, limit=limit))
        start += len(items)
    return rows


def _row(name: str, count: int, per_contract: dict[int, float], *, limit: float, gates: int = -1) -> Row:
    sizes = np.zeros(count)
    sizes[list(per_contract)] = list(per_contract.values())
    return Row(name=name, per_contract=sizes, per_order=np.zeros(count), limit=limit, gates=gates)


def _stages(
    policy: Policy, plans: Sequence[GroupPlan], caps: Sequence[Cap], market: Market, offers: Sequence[Offer]
) -> tuple[Stage, ...]:
    """Return the limits that slots share, in the order in which they cut: R10, R11, venues, R9."""
    slots = slots_of_offers(offers)
    count = len(slots)
    groups = np.array([items[0].group for items in slots], dtype=np.intp)
    parts = [reserve_part(policy, plans[items[0].group], items[0].want.layer) for items in slots]
    exempt = np.array([all(item.carry_order_usd == 0.0 for item in items) for items in slots])
    ranks = {part: rank for rank, part in enumerate(sorted(set(parts), reverse=True))}
    none, together = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.intp)
    captive = np.array([_captive(items, caps) for items in slots])
    found = (
        Stage(
            name=_GUARD, rows=_guard_rows(market, offers), alike=groups, weights=_equal(groups), fixed=none
        ),
        Stage(
            name=_CARRY, rows=_carry_rows(plans, offers), alike=groups, weights=_equal(groups), fixed=exempt
        ),
        _venue_stage(caps, offers, captive),
        Stage(
            name=_MONEY,
            rows=_money_rows(policy, caps, offers),
            alike=together,
            weights=np.ones(1),
            fixed=none,
        ),
        Stage(
            name=_RESERVE,
            rows=_reserve_rows(caps, offers, parts),
            alike=np.array([ranks[part] for part in parts], dtype=np.intp),
            weights=_NEXT ** np.arange(len(ranks), dtype=np.float64),
            fixed=np.array([part >= 1.0 for part in parts]),
        ),
    )
    return tuple(stage for stage in found if stage.rows)


def _equal(alike: NDArray[np.intp]) -> FloatArray:
    return np.ones(int(alike.max()) + 1)


def _captive(items: Sequence[Offer], caps: Sequence[Cap]) -> bool:
    """Return whether all that a slot could buy is at venues with a limit of their own."""
    limited = {cap.venue for cap in caps if cap.venue}
    return all(item.candidate.quote.instrument.venue in limited for item in items)


def _venue_stage(caps: Sequence[Cap], offers: Sequence[Offer], captive: NDArray[np.bool_]) -> Stage:
    """Return the venues' own limits: slots that have nowhere else to go shrink alike."""
    rows = []
    for cap in (item for item in caps if item.venue):
        there = [item.candidate.quote.instrument.venue == cap.venue for item in offers]
        rows += _money_row(cap.name, offers, there, limit=cap.room_usd)
    alike = np.where(captive, 0, 1 + np.arange(captive.size)).astype(np.intp)
    none = np.zeros(captive.size, dtype=np.bool_)
    return Stage(name=_VENUE, rows=tuple(rows), alike=alike, weights=_equal(alike), fixed=none)


def _guard_rows(market: Market, offers: Sequence[Offer]) -> tuple[Row, ...]:
    """Return R10 at the points where it could bind: each new leg has one lot on top of the room."""
    rows = []
    for group, room in enumerate(market.rooms):
        mine = [number for number, item in enumerate(offers) if item.group == group]
        for point in range(room.size if mine else 0):
            sizes, orders = np.zeros(len(offers)), np.zeros(len(offers))
            sizes[mine] = [offers[number].stress[point] for number in mine]
            orders[mine] = [-offers[number].candidate.quote.lot for number in mine]
            limit = max(float(room[point]), 0.0)
            allowed = np.where(room[point] < 0.0, 0.0, orders * sizes)  # nothing on top where it is passed
            rows.append(Row(name=OVER_HEDGE_CAP, per_contract=sizes, per_order=allowed, limit=limit))
    return tuple(rows)


def _carry_rows(plans: Sequence[GroupPlan], offers: Sequence[Offer]) -> tuple[Row, ...]:
    """Return R11, which counts what a purchase costs to carry."""
    rows = []
    for group, plan in enumerate(plans):
        cap = plan.carry
        if cap is None or math.isinf(cap.limit_usd):
            continue
        sizes = np.array([item.carry_usd if item.group == group else 0.0 for item in offers])
        orders = np.array([item.carry_order_usd if item.group == group else 0.0 for item in offers])
        if sizes.any() and not _reach(offers, sizes, orders) <= cap.room_usd:
            rows.append(Row(name=cap.name, per_contract=sizes, per_order=orders, limit=cap.room_usd))
    return tuple(rows)


def _money_rows(policy: Policy, caps: Sequence[Cap], offers: Sequence[Offer]) -> tuple[Row, ...]:
    """Return R9, whose caps all count the same money, so that the tightest is enough, and the most orders."""
    room_usd, cap = tightest(caps)
    rows = _money_row(cap.name, offers, [True] * len(offers), limit=room_usd)
    most, count = policy.orders.max_orders, len(offers)
    if count > most:
        nothing, ones = np.zeros(count), np.ones(count)
        rows.append(Row(name=ORDERS_CAP, per_contract=nothing, per_order=ones, limit=most + 0.5))
    return tuple(rows)


def _reserve_rows(caps: Sequence[Cap], offers: Sequence[Offer], parts: Sequence[float]) -> tuple[Row, ...]:
    """Return what lower tiers leave to higher ones: it binds a slot only while that slot is served.

    All TAIL counts there, and purchases of as low a part.
    """
    slots = slots_of_offers(offers)
    part_of = {id(item): part for items, part in zip(slots, parts, strict=True) for item in items}
    rows = []
    for slot, part in enumerate(parts):
        if part >= 1.0:
            continue
        counts = [item.want.layer is Layer.TAIL or part_of[id(item)] <= part for item in offers]
        room_usd, cap = tightest(reserved_caps(caps, part))
        rows += _money_row(cap.name, offers, counts, limit=room_usd, gates=slot)
    return tuple(rows)


def _money_row(
    name: str, offers: Sequence[Offer], counts: Sequence[bool], *, limit: float, gates: int = -1
) -> list[Row]:
    """Return a limit on what purchases may cost, unless it cannot bind."""
    counted = np.array(counts)
    sizes = np.where(counted, [item.most_usd for item in offers], 0.0)
    orders = np.where(counted, [item.candidate.quote.gas_reserve_usd for item in offers], 0.0)
    if _reach(offers, sizes, orders) <= limit:
        return []
    return [Row(name=name, per_contract=sizes, per_order=orders, limit=limit, gates=gates)]


def _reach(offers: Sequence[Offer], sizes: FloatArray, orders: FloatArray) -> float:
    """Return a bound on what any purchase could use of a limit."""
    whole = np.array([item.whole for item in offers])
    used: dict[int, float] = {}
    for item, usd in zip(offers, (sizes * whole).tolist(), strict=True):
        used[id(item.want)] = max(used.get(id(item.want), 0.0), usd)
    return math.fsum(used.values()) + float(orders.sum())


def _report(
    policy: Policy,
    plan: GroupPlan,
    caps: Sequence[Cap],
    items: Sequence[Offer],
    found: Solution,
    programme: Programme,
    slot: int,
) -> None:
    """Report what each limit cut off a slot, and what whole lots leave over where that is much."""
    want, before = items[0].want, 1.0
    for stage, left in found.left:
        now = float(left[slot])
        if before - now > _ROUNDING:
            reason, cap, frees_at_s = _why(policy, plan, caps, items, stage, found, share=now)
            plan.short(want.slot, (before - now) * want.units, reason, cap=cap, frees_at_s=frees_at_s)
        if stage == _GUARD:
            plan.guarded = min(plan.guarded, now / before if before > 0.0 else 1.0)
        before = min(before, now)
    got = float(programme.delivered(found.contracts)[slot])
    if before - got > _ROUNDING:
        plan.short(want.slot, (before - got) * want.units, "whole lots leave it over")


def _why(
    policy: Policy,
    plan: GroupPlan,
    caps: Sequence[Cap],
    items: Sequence[Offer],
    stage: str,
    found: Solution,
    *,
    share: float,
) -> tuple[str, str, float]:
    """Return the reason of a cut, the name of the cap behind it and when that frees."""
    want = items[0].want
    if stage == _GUARD:
        return "more would gain more than the group loses", OVER_HEDGE_CAP, math.nan
    if stage == _CARRY and plan.carry is not None:
        room = f"net carry of {plan.carry.room_usd:,.0f} USD"
        return _cut(policy, room, share), plan.carry.name, plan.carry.frees_at_s
    if stage == _VENUE:
        here = {item.candidate.quote.instrument.venue for item in items}
        cap = min((cap for cap in caps if cap.venue in here), key=lambda cap: (cap.room_usd, cap.name))
        return (
            _cut(policy, f"room of {cap.room_usd:,.0f} USD at {cap.venue}", share),
            cap.name,
            cap.frees_at_s,
        )
    if stage in (_MONEY, _RESERVE):
        part = reserve_part(policy, plan, want.layer) if stage == _RESERVE else 1.0
        room_usd, cap = tightest(reserved_caps(caps, part))
        orders = int(np.count_nonzero(found.contracts))
        if share <= 0.0 and orders >= policy.orders.max_orders:
            return f"{orders} orders are made already, as many as are allowed", ORDERS_CAP, math.nan
        return _cut(policy, f"room of {room_usd:,.0f} USD", share), cap.name, cap.frees_at_s
    return _why_not_sold(policy, items, share), "", math.nan


def _cut(policy: Policy, room: str, share: float) -> str:
    least = f"the least order is {policy.orders.min_order:.0%} of the layer's target"
    return f"{room} buys {share:.0%} of what is wanted; {least}"


def _why_not_sold(policy: Policy, items: Sequence[Offer], share: float) -> str:
    quotes = [item.candidate.quote for item in items]
    venues = ", ".join(sorted({quote.instrument.venue for quote in quotes}))
    if share <= 0.0:
        least = min(quote.min_size for quote in quotes)
        return (
            f"{venues}: what is wanted or sold is under the venue's least of {least:g}, or under the least "
            f"order, {policy.orders.min_order:.0%} of the layer's target"
        )
    sold = {quote.instrument: quote.liquidity for quote in quotes}
    return (
        f"{venues} sells only {math.fsum(sold.values()):.4g} in {len(sold)} options of the layer's bands, in "
        "whole lots and within the layer's notional"
    )


def _report_left_out(policy: Policy, plans: Sequence[GroupPlan], market: Market) -> None:
    """Report wants that were not part of the programme."""
    for number, plan in enumerate(plans):
        for want in plan.wants:
            if number in market.unknown:
                plan.guarded = 0.0
                plan.short(
                    want.slot, want.units, "the gain of held or new legs is unknown", cap=OVER_HEDGE_CAP
                )
            elif not enough(policy, want):
                least = f"{policy.orders.min_order:.0%} of the layer's target"
                reason = f"{want.contracts:.4g} contracts are under the least order, {least}"
                plan.short(want.slot, want.units, reason)
