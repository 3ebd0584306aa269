"""What the planner may buy: the candidate quotes of all wants, less those that others can replace.

An offer is left out only where another one of its slot can stand in for it in every purchase, for no more
money and with no more gain at any point where R10 could bind (``_dominates``), so that no cheaper purchase
is lost. Mostly one offer for each slot remains, and nothing is left to be solved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.engine.choose import Candidate
from bot.engine.limits import Cap, stress_grid, tightest
from bot.engine.one_quote import counted_part, reserve_part, reserved_caps
from bot.engine.plan import GroupPlan, Want, most_unit_usd
from bot.engine.policy import Policy
from bot.model.hedge import Instrument
from bot.model.market import FloatArray

_FINE = 1e-3  # of a want: a smaller lot cannot make another offer better


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """A candidate of a want, with what it counts for under each limit. Money is USD for one contract."""

    group: int  # position of its plan
    want: Want
    candidate: Candidate
    most_usd: float  # that it may cost, gas left out
    carry_usd: float  # that R11 counts
    carry_order_usd: float  # and of one order's gas
    alone: bool  # whether it can serve its slot at every level, up to a lot too small to matter
    stress: FloatArray  # gain at the points where R10 could bind

    @property
    def gain(self) -> float:
        return self.candidate.gain_usd

    @property
    def units(self) -> float:
        return self.candidate.quote.instrument.multiplier

    @property
    def wanted_gain(self) -> float:
        """Return what the whole want gains on the quote it was sized on."""
        return self.want.contracts * self.want.target.choice.gain_usd

    @property
    def whole(self) -> float:
        """Return the contracts that bring the whole gain."""
        return self.wanted_gain / self.gain

    @property
    def rung(self) -> float:
        """Return the most units that the ladder (R14) leaves to its expiry."""
        return _rung(self.want, self.candidate)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """The offers that are left, by plan and slot, cheapest per gain first."""

    offers: tuple[Offer, ...]
    rooms: tuple[FloatArray, ...]  # R10's, of each plan, at the points where it could bind
    unknown: frozenset[int]  # plans of which R10 cannot be told
    one_each: bool  # the quote that each slot was sized on is all that is needed


def market_of(policy: Policy, plans: Sequence[GroupPlan], caps: Sequence[Cap]) -> Market:
    """Return the offers that may be part of the least-cost purchase."""
    offers: list[Offer] = []
    rooms: list[FloatArray] = []
    unknown: set[int] = set()
    pooled = _pooled(plans)
    for number, plan in enumerate(plans):
        found = [
            _offer(policy, plan, number, want, candidate)
            for want in plan.wants
            for candidate in want.target.choice.candidates
        ]
        left, room = _pruned(found, pooled, caps), np.empty(0)
        if len(left) > len(plan.wants) or plan.guard < 1.0:
            found, room = _stressed(policy, plan, found)
            left = _pruned(found, pooled, caps)
        unknown |= {number} if not np.isfinite(room).all() else set()
        offers += left
        rooms.append(room)
    sized = all(item.candidate.quote is item.want.quote and item.rung >= item.want.units for item in offers)
    alone = sized and len(offers) == sum(len(plan.wants) for plan in plans)
    apart = not pooled & {item.candidate.quote.instrument for item in offers}
    return Market(
        offers=tuple(offers),
        rooms=tuple(rooms),
        unknown=frozenset(unknown),
        one_each=(alone and apart and not any(cap.venue for cap in caps))
        or not any(_affordable(policy, plans[item.group], item, caps) for item in offers),
    )


def _offer(policy: Policy, plan: GroupPlan, group: int, want: Want, candidate: Candidate) -> Offer:
    quote, part = candidate.quote, counted_part(plan, want)
    counted = plan.carry is not None and math.isfinite(plan.carry.limit_usd) and part > 0.0
    whole = want.contracts * want.target.choice.gain_usd / candidate.gain_usd
    most_units = min(want.units * (1.0 + 1e-9), _rung(want, candidate))
    fits = whole * quote.instrument.multiplier <= most_units and quote.lot <= _FINE * whole
    return Offer(
        group=group,
        want=want,
        candidate=candidate,
        most_usd=most_unit_usd(policy, quote),
        carry_usd=part * plan.carry.carry_usd(quote, 1.0) if counted and plan.carry else 0.0,
        carry_order_usd=quote.gas_usd if counted else 0.0,
        alone=fits and quote.min_size <= whole <= quote.liquidity,
        stress=np.empty(0),
    )


def _rung(want: Want, candidate: Candidate) -> float:
    rungs = want.target.rung_units
    return rungs.get(candidate.quote.instrument.expiry_s, math.inf) if rungs else math.inf


def _pooled(plans: Sequence[GroupPlan]) -> frozenset[Instrument]:
    """Return the instruments of which all that may draw on them could want more than is liquid."""
    wanted: dict[Instrument, float] = {}
    liquid: dict[Instrument, float] = {}
    drawn: dict[Instrument, int] = {}
    for want in (want for plan in plans for want in plan.wants):
        gain_usd = want.contracts * want.target.choice.gain_usd
        for item in want.target.choice.candidates:
            name, most = item.quote.instrument, item.quote.liquidity
            wanted[name] = wanted.get(name, 0.0) + gain_usd / item.gain_usd
            liquid[name] = min(liquid.get(name, math.inf), most)
            drawn[name] = drawn.get(name, 0) + 1
    return frozenset(name for name, size in wanted.items() if drawn[name] > 1 and size > liquid[name])


def _stressed(policy: Policy, plan: GroupPlan, offers: list[Offer]) -> tuple[list[Offer], FloatArray]:
    """Return the offers with their gains at the points where R10 could bind, and the room there."""
    quotes = [item.candidate.quote for item in offers]
    gains, room = stress_grid(policy, plan.group, kept=plan.standing, leaving=plan.leaving, quotes=quotes)
    reach = np.zeros(room.size)
    for want in plan.wants:
        mine = [number for number, item in enumerate(offers) if item.want is want]
        whole = np.array([offers[number].whole for number in mine])
        reach += (gains[mine] * whole[:, np.newaxis]).max(axis=0, initial=0.0)
    could = ~(reach <= room)  # NaN too
    with_stress = [replace(item, stress=row) for item, row in zip(offers, gains[:, could], strict=True)]
    return with_stress, room[could]


def _pruned(offers: list[Offer], pooled: frozenset[Instrument], caps: Sequence[Cap]) -> list[Offer]:
    """Leave out every offer that another one of its slot can replace."""
    venues = frozenset(cap.venue for cap in caps if cap.venue)
    left = []
    for items in slots_of_offers(offers):
        best = next((item for item in items if _serves_alone(item, items, pooled, venues)), None)
        kept = _undominated(items if best is None else [best], pooled, venues, math.inf)
        notional = max(item.units / item.gain for item in kept)  # the most that is left for a gain
        left += _undominated(kept, pooled, venues, notional)
    return left


def _undominated(
    items: Sequence[Offer], pooled: frozenset[Instrument], venues: frozenset[str], notional: float
) -> list[Offer]:
    kept: list[Offer] = []
    for item in items:
        if not any(_dominates(other, item, pooled, venues, notional) for other in kept):
            kept = [other for other in kept if not _dominates(item, other, pooled, venues, notional)]
            kept.append(item)
    return kept


def _serves_alone(
    offer: Offer, items: Sequence[Offer], pooled: frozenset[Instrument], venues: frozenset[str]
) -> bool:
    """Return whether a slot needs no other offer, whatever level the caps leave it."""
    instrument = offer.candidate.quote.instrument
    free = instrument not in pooled and instrument.venue not in venues
    return offer.alone and free and all(_cheaper(offer, other) for other in items if other is not offer)


def _dominates(
    offer: Offer,
    other: Offer,
    pooled: frozenset[Instrument],
    venues: frozenset[str],
    notional: float,
) -> bool:
    """Return whether ``offer`` can replace ``other`` in any purchase, beside any third offer.

    It serves the whole slot alone, takes no more of any money for the same gain, has no larger least order,
    and nobody else draws on what it can sell. Nor does it take more notional, or none of the slot's offers
    takes more than it (``notional``): then no purchase can, since it fits alone.
    """
    instrument, mine, theirs = offer.candidate.quote.instrument, offer.candidate.quote, other.candidate.quote
    if instrument in pooled or not offer.alone or (venues and instrument.venue != theirs.instrument.venue):
        return False
    least = max(theirs.min_size * other.gain, _FINE * offer.wanted_gain)  # less than that is no purchase
    smaller = mine.min_size * offer.gain <= least
    units = offer.units / offer.gain
    return smaller and (units <= other.units / other.gain or units >= notional) and _cheaper(offer, other)


def _cheaper(offer: Offer, other: Offer) -> bool:
    """Return whether the same gain costs no more of any money with ``offer``, and no more of R10's room."""
    mine, theirs = offer.candidate.quote, other.candidate.quote
    part = other.gain / offer.gain  # contracts of this one in place of one of the other
    orders = mine.order_gas_usd <= theirs.order_gas_usd and mine.gas_reserve_usd <= theirs.gas_reserve_usd
    money = (
        part * mine.unit_cost_usd <= theirs.unit_cost_usd
        and part * offer.most_usd <= other.most_usd
        and part * offer.carry_usd <= other.carry_usd
    )
    if not (orders and money):
        return False
    spare = mine.lot * offer.stress >= theirs.lot * other.stress  # R10 leaves a lot of each new leg
    return bool((part * offer.stress <= other.stress).all() and spare.all())


def slots_of_offers(offers: Sequence[Offer]) -> list[list[Offer]]:
    """Return the offers by slot, in the order they came."""
    slots: dict[int, list[Offer]] = {}
    for item in offers:
        slots.setdefault(id(item.want), []).append(item)
    return list(slots.values())


def enough(policy: Policy, want: Want) -> bool:
    """Return whether a want is no smaller than the least order."""
    return want.units >= want.least_units(policy)


def _affordable(policy: Policy, plan: GroupPlan, item: Offer, caps: Sequence[Cap]) -> bool:
    """Return whether R9's and R11's room buy the smallest order of an offer."""
    quote, want = item.candidate.quote, item.want
    least = max(quote.min_size, quote.lot)
    room_usd, _ = tightest(reserved_caps(caps, reserve_part(policy, plan, want.layer)))
    if least * item.most_usd + quote.gas_reserve_usd > room_usd:
        return False
    carry_usd = least * item.carry_usd + item.carry_order_usd
    return carry_usd <= 0.0 or plan.carry is None or carry_usd <= plan.carry.room_usd
