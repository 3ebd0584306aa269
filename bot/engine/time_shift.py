"""R17: which layer each held leg serves as time passes, and which is rolled.

Readings of R17 chosen here: a leg past its layer's ``roll_at`` serves the next nearer layer if that one is
open and held under the resize band, there at most for the gap (the rest stays with its own layer); else it is
rolled where that is cheaper per unit of gain and the leg can be sold, else it goes on serving its own layer.
Easing alone rolls MID legs and moves none nearer. Within NEAR's ``roll_at`` or the venue's cutoff a leg is
expiring: at GUARDED or above it no longer counts, so that it is replaced before it goes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.choose import Slot, worst_gains
from bot.engine.group import Group
from bot.engine.layers import NEXT_NEARER
from bot.engine.policy import Policy
from bot.engine.review import Review, Sale, leg_name, sale_refusal, slot_of, units
from bot.engine.sizing import Target
from bot.model.hedge import HeldHedge, Instrument, Layer, OptionType, Quote
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.quant.cash_flows import CashFlows, Figure, RollChoice, Way, roll_or_hold
from bot.quant.options import price

_MAX_SPOKEN_RATE = 100.0  # a year; a higher one says only that the flows lie close together

Flow = tuple[float, float]  # epoch seconds, USD: positive is received


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shift:
    """What the placing of every leg looks at."""

    policy: Policy
    group: Group
    tier: Tier
    targets: Mapping[Slot, Target]
    since: Mapping[str, float]  # held id -> unwanted since (R18)
    review: Review

    def life_s(self, hedge: HeldHedge) -> float:
        return hedge.instrument.expiry_s - self.group.now_s

    def ends_s(self, layer: Layer) -> float:
        """Return the time to expiry at which a layer lets a leg go, never inside the venue's cutoff."""
        return max(self.policy.layers.of(layer).roll_at, self.policy.roll.venue_cutoff)


def time_shift(
    policy: Policy,
    group: Group,
    tier: Tier,
    targets: Mapping[Slot, Target],
    review: Review,
    *,
    living: Sequence[HeldHedge],
    since: Mapping[str, float],
    easing: bool,
) -> None:
    """Fill in what every living leg serves, which are rolled, and which expire at once.

    Legs that keep their layer count first, so that a nearer layer takes an aged one only for what it lacks.
    """
    shift = _Shift(policy=policy, group=group, tier=tier, targets=targets, since=since, review=review)
    moved = []
    for hedge in living:
        if shift.life_s(hedge) <= shift.ends_s(hedge.layer):
            review.aged.add(hedge.id)
            moved.append(hedge)
        elif easing and hedge.layer is Layer.MID:
            moved.append(hedge)
        else:
            review.count(slot_of(hedge), hedge, units(hedge))
    for hedge in moved:
        _place(shift, hedge)


def eases(policy: Policy, slope: float, *, wide: bool, held_back: bool) -> tuple[bool, bool]:
    """Return whether backwardation eases now, and the memory of it having been wide.

    ``slope`` is S13's value, NaN unknown: it neither widens nor eases. Under a HOLD it does not ease either.
    The memory ends with the easing; the caller keeps it while MID legs wait to be rolled.
    """
    if slope > policy.roll.easing_from:
        return False, True
    if wide and slope < policy.roll.easing_to and not held_back:
        return True, False
    return False, wide


def compare_roll(policy: Policy, group: Group, quote: Quote, hedge: HeldHedge) -> RollChoice:
    """Compare rolling a whole leg into ``quote`` now with holding it to expiry and rebuying then.

    Both ways begin with the old leg at its model value, and both stay protected for ``compare_over`` at
    unchanged spot and implied vol: what expires on the way pays its inner value and is bought again, of the
    same strike and length, at the same cost; what is alive at the end is worth its model value. Gains are
    R8's, on the same worst paths, by the days that each leg protects. Discounted at S21's cost of capital.
    """
    now_s, contracts = group.now_s, units(hedge) / quote.instrument.multiplier
    end_s = now_s + policy.roll.compare_over
    has: Flow = (now_s, -hedge.model_usd)
    roll = [has, (now_s, hedge.liquidation_usd), *_purchases(group, quote, contracts, now_s, end_s)]
    expiry_s = float(hedge.instrument.expiry_s)
    old = hedge.size * _left(group, hedge.instrument, hedge.iv, max(0.0, expiry_s - end_s))
    hold = [has, (min(expiry_s, end_s), old)]
    if expiry_s < end_s:
        hold.extend(_purchases(group, quote, contracts, expiry_s, end_s))
    new_gain, old_gain = _gains(group, quote, contracts, hedge)
    kept = min(1.0, (expiry_s - now_s) / policy.roll.compare_over)
    return roll_or_hold(
        Way(flows=_flows(roll), gain_usd=new_gain),
        Way(flows=_flows(hold), gain_usd=kept * max(old_gain, 0.0) + (1.0 - kept) * new_gain),
        rate=policy.signals.fundamental.carry_wacc,
        at_s=now_s,
    )


def _place(shift: _Shift, hedge: HeldHedge) -> None:
    """Decide what a leg that its layer lets go is for."""
    review, own = shift.review, slot_of(hedge)
    if hedge.id in review.aged and _moved_nearer(shift, hedge):
        return
    if shift.life_s(hedge) <= shift.ends_s(Layer.NEAR) and shift.tier >= Tier.GUARDED:
        review.expiring[hedge.id] = own
        hours = f"{shift.life_s(hedge) / HOUR_S:.0f} h"
        review.rolls.append(f"{leg_name(hedge)} expires in {hours} and is replaced before it goes")
        return
    refusal, why = _roll_refusal(shift, hedge)
    if hedge.id not in review.aged and (not refusal or _only_waits(shift, hedge, refusal)):
        review.easing.add(hedge.id)
    days = f"{leg_name(hedge)} with {shift.life_s(hedge) / DAY_S:.1f} d left"
    if refusal:
        review.count(own, hedge, units(hedge))
        review.rolls.append(f"{days} is held, not rolled: {refusal}")
        return
    because = f"{days} is {why}"
    review.rolls.append(because)
    review.sales.append(
        Sale(hedge=hedge, layer=hedge.layer, size=hedge.size, because=because, rule="R17", replaced=own)
    )
    if hedge.id in shift.since:
        review.unwanted[hedge.id] = shift.since[hedge.id]


def _moved_nearer(shift: _Shift, hedge: HeldHedge) -> bool:
    """Count a leg in the next nearer slot that lacks it, for the gap; return whether there is one."""
    review, own = shift.review, slot_of(hedge)
    for slot in _nearer_slots(own):
        gap = _open_gap(shift, slot)
        if gap > 0.0 and shift.life_s(hedge) > shift.ends_s(slot.layer):
            review.count(slot, hedge, min(gap, units(hedge)))
            review.count(own, hedge, units(hedge) - gap)
            part = f" for {gap:.4g} of {units(hedge):.4g}" if gap < units(hedge) else ""
            left = f"{leg_name(hedge)} with {shift.life_s(hedge) / DAY_S:.1f} d left"
            review.rolls.append(f"{left} serves {slot.layer} now{part}")
            return True
    return False


def _open_gap(shift: _Shift, slot: Slot) -> float:
    """Return what a slot is short of, 0 where it is closed or held inside its resize band (R18)."""
    target, held = shift.targets.get(slot), shift.review.counted.get(slot, 0.0)
    if target is None or not held < shift.policy.no_loyalty.resize_band[0] * target.released_units:
        return 0.0
    return target.released_units - held


def _nearer_slots(slot: Slot) -> tuple[Slot, ...]:
    nearer, found = NEXT_NEARER.get(slot.layer), []
    while nearer is not None:
        found.append(Slot(nearer, slot.option_type))
        nearer = NEXT_NEARER.get(nearer)
    return tuple(found)


def _only_waits(shift: _Shift, hedge: HeldHedge, refusal: str) -> bool:
    """Return whether a leg is not rolled only because it is too young, or without a quote, to be sold."""
    too_young = shift.group.now_s - hedge.opened_at_s < shift.policy.no_loyalty.min_hold
    blocked = refusal == sale_refusal(shift.policy, shift.group, hedge)
    return blocked and (too_young or math.isnan(hedge.liquidation_usd))


def _roll_refusal(shift: _Shift, hedge: HeldHedge) -> tuple[str, str]:
    """Return why a leg is not rolled, empty when it is, and else why it is (R17, R18 for the sale)."""
    target = shift.targets.get(slot_of(hedge))
    if target is None or target.choice.quote is None:
        return "nothing to roll into", ""
    if target.choice.quote.instrument.expiry_s <= hedge.instrument.expiry_s + DAY_S:
        return "no later expiry is listed", ""
    blocked = sale_refusal(shift.policy, shift.group, hedge)
    if blocked:
        return blocked, ""
    found = compare_roll(shift.policy, shift.group, target.choice.quote, hedge)
    costs = f"{found.roll_cost:.3f} a USD of gain to roll, {found.hold_cost:.3f} to hold and rebuy"
    text = costs + _spoken_rate(found.rate)
    return ("", f"rolled: {text}") if found.roll else (text, "")


def _spoken_rate(rate: Figure) -> str:
    """Return the IRR of rolling in place of holding in words, empty where there is none."""
    if not math.isfinite(rate.value):
        return ""
    if rate.value > _MAX_SPOKEN_RATE:
        return f"; IRR over {_MAX_SPOKEN_RATE:.0%} a year"
    return f"; IRR {rate.value:.1%} a year"


def _gains(group: Group, quote: Quote, contracts: float, hedge: HeldHedge) -> tuple[float, float]:
    """Return the mean R8 gain in USD of the new legs and of the old one; NaN where no path is bad."""
    new, old = worst_gains(group, slot_of(hedge), [quote, hedge])
    return float(new) * contracts, float(old) * hedge.size


def _purchases(group: Group, quote: Quote, contracts: float, start_s: float, end_s: float) -> Iterable[Flow]:
    """Yield the flows of buying ``quote`` at ``start_s``, and again whenever it has expired, to ``end_s``."""
    life_s = quote.instrument.expiry_s - group.now_s
    paid_usd = quote.unit_cost_usd * contracts + quote.gas_usd
    at_s = start_s
    while at_s < end_s:
        yield at_s, -paid_usd
        gone_s = min(at_s + life_s, end_s)
        left_usd = _left(group, quote.instrument, quote.iv, at_s + life_s - gone_s)
        yield gone_s, contracts * left_usd
        at_s += life_s


def _left(group: Group, instrument: Instrument, iv: float, life_s: float) -> float:
    """Return what one contract is worth with ``life_s`` left, spot and vol unchanged; 0 s: inner value."""
    is_put = instrument.option_type is OptionType.PUT
    worth = group.stable_usd.get(instrument.settlement, 1.0) * instrument.multiplier
    return worth * float(price(group.spot_usd, instrument.strike_usd, life_s / YEAR_S, iv, is_put=is_put))


def _flows(rows: Iterable[Flow]) -> CashFlows:
    table = np.array(list(rows), dtype=np.float64)
    return CashFlows(times_s=table[:, 0], amounts_usd=table[:, 1])
