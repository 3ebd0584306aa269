"""R17 and R18 for what is held: which layer each leg serves now, what is rolled, settled, sold or kept.

Readings of R17 chosen here: a leg past its layer's ``roll_at`` serves the next nearer layer if that one is
open and held under the resize band, there at most for the gap (the rest stays with its own layer); else it is
rolled where that is cheaper per unit of gain and the leg can be sold, else it goes on serving its own layer.
Easing alone rolls MID legs and moves none nearer. Within NEAR's ``roll_at`` or the venue's cutoff a leg is
expiring: at GUARDED or above it no longer counts, so that it is replaced before it goes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bot.engine.choose import Slot
from bot.engine.group import Group, group_contracts
from bot.engine.layers import NEXT_NEARER
from bot.engine.policy import Policy
from bot.engine.sizing import Target
from bot.model.hedge import HeldHedge, Instrument, Layer, OptionType, Quote
from bot.model.tier import RuleFinding, Tier
from bot.model.units import DAY_S, HOUR_S, YEAR_DAYS
from bot.quant.options import price


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """A held leg, or a part of it, that is to be sold."""

    hedge: HeldHedge
    layer: Layer
    size: float  # contracts
    because: str
    replaced: Slot | None = None  # a roll: sold only once this slot is served without it


@dataclass(slots=True)
class Review:
    """What is known of the held legs of one group; filled leg by leg."""

    counted: dict[Slot, float] = field(default_factory=dict)  # units that serve each slot
    serving: dict[str, dict[Slot, float]] = field(default_factory=dict)  # held id -> units by slot
    aged: set[str] = field(default_factory=set)  # held ids that their own layer lets go
    easing: set[str] = field(default_factory=set)  # held ids that R17's easing has still to roll
    sales: list[Sale] = field(default_factory=list)
    settles: list[HeldHedge] = field(default_factory=list)
    kept: list[HeldHedge] = field(default_factory=list)  # alive, sold ones too: what protects now
    unwanted: dict[str, float] = field(default_factory=dict)  # held id -> since
    expiring: dict[str, Slot] = field(default_factory=dict)  # held id -> slot to be replaced before it goes
    rolls: list[str] = field(default_factory=list)  # what R17 says of legs
    notes: list[str] = field(default_factory=list)  # what R18 says of legs

    def count(self, slot: Slot, hedge: HeldHedge, amount: float) -> None:
        if amount > 0.0:
            self.counted[slot] = self.counted.get(slot, 0.0) + amount
            self.serving.setdefault(hedge.id, {})[slot] = amount

    def staying(self, *, expiring: bool) -> list[HeldHedge]:
        """Return what is left after the planned sales; legs that expire at once only if asked for."""
        sold: dict[str, float] = {}
        for sale in self.sales:
            sold[sale.hedge.id] = sold.get(sale.hedge.id, 0.0) + sale.size
        left = (replace(item, size=max(0.0, item.size - sold.get(item.id, 0.0))) for item in self.kept)
        return [item for item in left if expiring or item.id not in self.expiring]

    def findings(self) -> tuple[RuleFinding, ...]:
        rolls = "; ".join(self.rolls) or "every held leg keeps its layer"
        notes = "; ".join(self.notes) or "every held leg is wanted and in its resize band"
        return (
            RuleFinding(rule="R17", fired=bool(self.rolls), because=rolls),
            RuleFinding(rule="R18", fired=bool(self.sales), because=notes),
        )


def units(hedge: HeldHedge) -> float:
    return hedge.size * hedge.instrument.multiplier


def review_held(
    policy: Policy,
    group: Group,
    tier: Tier,
    targets: Mapping[Slot, Target],
    unwanted_since_s: Mapping[str, float],
    *,
    easing: bool,
) -> Review:
    """Return what every held leg of the group is for, in the order of the legs' instruments."""
    review = Review()
    moved: list[HeldHedge] = []
    for hedge in group.held:
        life_s = hedge.instrument.expiry_s - group.now_s
        if life_s <= 0.0:
            review.settles.extend([hedge] if hedge.settleable else [])
            wait = "settled now" if hedge.settleable else "waits for its settlement price"
            review.rolls.append(f"{_name(hedge)} has expired and {wait}")
            continue
        review.kept.append(hedge)
        if life_s <= max(policy.layers.of(hedge.layer).roll_at, policy.roll.venue_cutoff):
            review.aged.add(hedge.id)
            moved.append(hedge)
        elif easing and hedge.layer is Layer.MID:
            moved.append(hedge)
        else:
            review.count(Slot(hedge.layer, hedge.instrument.option_type), hedge, units(hedge))
    for hedge in moved:
        _place_moved(policy, group, tier, targets, review, hedge, since=unwanted_since_s)
    _excess(policy, group, tier, targets, review, since=unwanted_since_s)
    return review


def _place_moved(
    policy: Policy,
    group: Group,
    tier: Tier,
    targets: Mapping[Slot, Target],
    review: Review,
    hedge: HeldHedge,
    *,
    since: Mapping[str, float],
) -> None:
    """Decide what a leg that its layer lets go is for."""
    own = Slot(hedge.layer, hedge.instrument.option_type)
    life_s = hedge.instrument.expiry_s - group.now_s
    if hedge.id in review.aged and _moved_nearer(policy, group, targets, review, hedge):
        return
    expiring = life_s <= max(policy.layers.NEAR.roll_at, policy.roll.venue_cutoff)
    if expiring and tier >= Tier.GUARDED:
        review.expiring[hedge.id] = own
        review.rolls.append(
            f"{_name(hedge)} expires in {life_s / HOUR_S:.0f} h and is replaced before it goes"
        )
        return
    target = targets.get(own)
    refusal = _roll_refusal(policy, group, target, hedge)
    if hedge.id not in review.aged and (not refusal or _only_waits(policy, group, hedge, refusal)):
        review.easing.add(hedge.id)
    if refusal or target is None:
        review.count(own, hedge, units(hedge))
        review.rolls.append(f"{_name(hedge)} with {life_s / DAY_S:.1f} d left is held, not rolled: {refusal}")
        return
    because = (
        f"{_name(hedge)} with {life_s / DAY_S:.1f} d left is rolled: cheaper per gain than to hold and rebuy"
    )
    review.rolls.append(because)
    review.sales.append(Sale(hedge=hedge, layer=hedge.layer, size=hedge.size, because=because, replaced=own))
    if hedge.id in since:
        review.unwanted[hedge.id] = since[hedge.id]


def _moved_nearer(
    policy: Policy, group: Group, targets: Mapping[Slot, Target], review: Review, hedge: HeldHedge
) -> bool:
    """Count a leg in the next nearer slot that lacks it, for the gap; return whether there is one."""
    own = Slot(hedge.layer, hedge.instrument.option_type)
    life_s = hedge.instrument.expiry_s - group.now_s
    for slot in _nearer_slots(own):
        keeps = life_s > max(policy.layers.of(slot.layer).roll_at, policy.roll.venue_cutoff)
        gap = _open_gap(policy, targets.get(slot), held=review.counted.get(slot, 0.0))
        if keeps and gap > 0.0:
            review.count(slot, hedge, min(gap, units(hedge)))
            review.count(own, hedge, units(hedge) - gap)
            part = f" for {gap:.4g} of {units(hedge):.4g}" if gap < units(hedge) else ""
            left = f"{_name(hedge)} with {life_s / DAY_S:.1f} d left"
            review.rolls.append(f"{left} serves {slot.layer} now{part}")
            return True
    return False


def _open_gap(policy: Policy, target: Target | None, *, held: float) -> float:
    """Return what a slot is short of, 0 where it is closed or held inside its resize band (R18)."""
    if target is None or not held < policy.no_loyalty.resize_band[0] * target.released_units:
        return 0.0
    return target.released_units - held


def _only_waits(policy: Policy, group: Group, hedge: HeldHedge, refusal: str) -> bool:
    """Return whether a leg is not rolled only because it is too young, or without a quote, to be sold."""
    too_young = group.now_s - hedge.opened_at_s < policy.no_loyalty.min_hold
    return refusal == sale_refusal(policy, group, hedge) and (too_young or math.isnan(hedge.liquidation_usd))


def _nearer_slots(slot: Slot) -> tuple[Slot, ...]:
    nearer, found = NEXT_NEARER.get(slot.layer), []
    while nearer is not None:
        found.append(Slot(nearer, slot.option_type))
        nearer = NEXT_NEARER.get(nearer)
    return tuple(found)


def _roll_refusal(policy: Policy, group: Group, target: Target | None, hedge: HeldHedge) -> str:
    """Return why a leg is not rolled; empty when it is (R17, with R18's conditions for a sale)."""
    if target is None or target.choice.quote is None:
        return "nothing to roll into"
    if target.choice.quote.instrument.expiry_s <= hedge.instrument.expiry_s + DAY_S:
        return "no later expiry is listed"
    blocked = sale_refusal(policy, group, hedge)
    if blocked:
        return blocked
    quote = target.choice.quote
    gain = target.choice.gain_usd / quote.instrument.multiplier
    roll = _roll_ratio(policy, group, quote, gain, hedge)
    hold = _hold_ratio(policy, group, quote, gain, hedge)
    if not roll < hold:
        return f"rolling costs {roll:.2f} per unit of gain, holding and rebuying {hold:.2f}"
    return ""


def _roll_ratio(policy: Policy, group: Group, quote: Quote, gain: float, hedge: HeldHedge) -> float:
    """Return USD per USD of R8 gain over the comparison period at unchanged spot and vol, if rolled now.

    ``gain`` is the new leg's per unit of the underlying. What is lost on selling the old one counts as cost.
    """
    days = policy.roll.compare_over / DAY_S
    spread = max(0.0, hedge.model_usd - hedge.liquidation_usd) / units(hedge)
    return (_carry(group, quote, days) + spread) / gain if gain > 0.0 else math.inf


def _hold_ratio(policy: Policy, group: Group, quote: Quote, gain: float, hedge: HeldHedge) -> float:
    """Return the same for holding to expiry and rebuying for the rest of the period, gains by their days."""
    old = group_contracts(group, [(hedge.instrument, hedge.iv)])
    old_gain = float(old.path_gains(group.paths[group.worst]).mean()) / hedge.instrument.multiplier
    days, dte = policy.roll.compare_over / DAY_S, hedge.instrument.dte(group.now_s)
    rest = max(0.0, days - dte)
    decay = hedge.model_usd / units(hedge) - _left(group, hedge.instrument, hedge.iv, days)
    mean_gain = ((days - rest) * max(old_gain, 0.0) + rest * gain) / days
    cost = decay + (_carry(group, quote, rest) if rest > 0.0 else 0.0)
    return cost / mean_gain if mean_gain > 0.0 else math.inf


def _carry(group: Group, quote: Quote, days: float) -> float:
    """Return the all-in cost per unit of a purchase less its model value that is left after ``days``."""
    paid = quote.unit_cost_usd + quote.gas_usd / quote.size
    return paid / quote.instrument.multiplier - _left(group, quote.instrument, quote.iv, days)


def _left(group: Group, instrument: Instrument, iv: float, days: float) -> float:
    """Return the model value per unit that is left after ``days``, spot and vol unchanged."""
    years = (instrument.dte(group.now_s) - days) / YEAR_DAYS
    is_put = instrument.option_type is OptionType.PUT
    return float(price(group.spot_usd, instrument.strike_usd, years, iv, is_put=is_put))


def _excess(
    policy: Policy,
    group: Group,
    tier: Tier,
    targets: Mapping[Slot, Target],
    review: Review,
    *,
    since: Mapping[str, float],
) -> None:
    """R18: find what no rule wants: closed layers, and units beyond the resize band.

    Legs that their own layer lets go leave first, so that none makes a good one unwanted; then the newest.
    While a position is not seen nothing is unwanted: a leg may be its protection.
    """
    if group.unseen:
        review.notes.append(f"nothing is judged unwanted: {', '.join(group.unseen)} was not read yet")
        return
    newest = sorted(
        (item for item in review.kept if item.id in review.serving),
        key=lambda item: (item.id not in review.aged, -item.opened_at_s, item.instrument, item.id),
    )
    served = [(item, slot, part) for item in newest for slot, part in review.serving[item.id].items()]
    for hedge, slot, serves in served:
        target, held = targets.get(slot), review.counted.get(slot, 0.0)
        full = target.units if target else 0.0
        if math.isnan(full) or held <= 0.0:
            continue
        over = held - full
        if over > 0.0 and held > policy.no_loyalty.resize_band[1] * full:
            part = min(serves, over)
            review.counted[slot] = held - part
            why = (
                f"{slot.layer} holds {held:.4g}, wants {full:.4g}"
                if target
                else f"{slot.layer} is closed at {tier.name}"
            )
            _unwanted(policy, group, review, hedge, part, why, since=since)


def _unwanted(
    policy: Policy,
    group: Group,
    review: Review,
    hedge: HeldHedge,
    part: float,
    why: str,
    *,
    since: Mapping[str, float],
) -> None:
    start_s = review.unwanted[hedge.id] = since.get(hedge.id, group.now_s)
    left_s = policy.tiers.cooldown - (group.now_s - start_s)
    refusal = (
        f"unwanted {left_s / HOUR_S:.1f} h too short" if left_s > 0.0 else sale_refusal(policy, group, hedge)
    )
    if refusal:
        review.notes.append(f"{_name(hedge)} is unwanted ({why}) and held: {refusal}")
        return
    because = f"{_name(hedge)} unwanted for {(group.now_s - start_s) / HOUR_S:.1f} h ({why})"
    review.notes.append(f"{because}: sold")
    size = part / hedge.instrument.multiplier
    review.sales.append(Sale(hedge=hedge, layer=hedge.layer, size=size, because=because))


def sale_refusal(policy: Policy, group: Group, hedge: HeldHedge) -> str:
    """Return why a held leg may not be sold now; empty when it may (R18)."""
    rule, age_s = policy.no_loyalty, group.now_s - hedge.opened_at_s
    life_s = hedge.instrument.expiry_s - group.now_s
    if age_s < rule.min_hold:
        return f"bought {age_s / HOUR_S:.1f} h ago, nothing is sold within {rule.min_hold / HOUR_S:g} h"
    if life_s <= policy.roll.venue_cutoff:
        return f"inside the venue's cutoff of {policy.roll.venue_cutoff / HOUR_S:g} h"
    if not hedge.liquidation_usd > 0.0:  # NaN too
        return "no sale can be quoted; held to expiry"
    if not hedge.liquidation_usd >= rule.min_salvage * hedge.model_usd:
        share = hedge.liquidation_usd / hedge.model_usd if hedge.model_usd > 0.0 else math.nan
        return f"a sale brings {share:.0%} of model value, under {rule.min_salvage:.0%}; held to expiry"
    return ""


def _name(hedge: HeldHedge) -> str:
    return f"{hedge.layer} {hedge.instrument.strike_usd:,.0f} {hedge.instrument.option_type} ({hedge.id})"
