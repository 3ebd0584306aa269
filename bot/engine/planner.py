"""From targets to legs: what is missing, what the guards let through, rounded to what the venue sells.

Leg keys are ``<plan key>-<group>-<layer>-<n>`` with the group's "/" written as "."; the plan key is the start
of the policy's hash and the frame's time in milliseconds, so the same decision always names the same legs.
Legs are ordered SETTLE, SELL, BUY, and last the sales of a roll, each only after its replacement was bought.
Under a cap all purchases shrink alike, so that notionals keep R7's proportions, and what a tier leaves for
the tiers above it is not spent (docs/adr/0004).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bot.engine.choose import Slot
from bot.engine.group import Group
from bot.engine.holding import Review, Sale
from bot.engine.layers import LayerPlan
from bot.engine.limits import OVER_HEDGE_CAP, RESERVED_CAPS, Cap, over_hedge_factor, tightest
from bot.engine.policy import Policy
from bot.engine.sizing import Sizing, Target, covered_share, held_path_gains, scale_to_share
from bot.model.hedge import HedgeLeg, HeldHedge, Layer, Quote, Shortfall, Side
from bot.model.market import FloatArray, Frame
from bot.model.tier import RuleFinding, Tier

_DIGITS = 9
_LOT_SLACK = 1e-9  # of a lot: rounding noise does not cost a whole lot
_NEGLIGIBLE = 1e-6  # of a target: a smaller gap is rounding, not a shortfall


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Want:
    """One purchase that all rules of its group agree on, before premium caps."""

    group: Group
    target: Target
    quote: Quote
    missing_units: float  # to the target, before guards
    contracts: float  # after guards, not yet rounded

    @property
    def layer(self) -> Layer:
        return self.target.slot.layer

    def cost_usd(self, policy: Policy, contracts: float) -> float:
        """Return the most that buying ``contracts`` may cost: the leg's limit, swap and gas."""
        share = contracts / self.quote.size
        slip = 1.0 + policy.orders.max_slippage
        return share * (self.quote.premium_usd * slip + self.quote.swap_usd) + self.quote.gas_reserve_usd

    def affordable(self, policy: Policy, room_usd: float) -> float:
        """Return the most contracts whose worst-case cost fits into ``room_usd``."""
        per_contract = self.cost_usd(policy, 1.0) - self.quote.gas_reserve_usd
        return max(0.0, (room_usd - self.quote.gas_reserve_usd) / per_contract)


@dataclass(slots=True)
class GroupPlan:
    """What one group wants and misses; filled in order by the steps below."""

    group: Group
    sizing: Sizing
    review: Review
    blocked: frozenset[Layer]  # layers with a leg whose outcome is not known
    layers: tuple[LayerPlan, ...]
    wants: list[Want] = field(default_factory=list)
    bought: dict[Slot, tuple[Want, float]] = field(default_factory=dict)  # contracts
    shortfalls: list[Shortfall] = field(default_factory=list)
    findings: list[RuleFinding] = field(default_factory=list)

    def short(
        self, slot: Slot, units: float, reason: str, *, cap: str = "", frees_at_s: float = math.nan
    ) -> None:
        """Report that ``units`` of a slot's target are missing, unless that is mere rounding."""
        target = self.sizing.targets[slot]
        quote = target.choice.quote
        if target.units > 0.0 and units / target.units < _NEGLIGIBLE:
            return
        self.shortfalls.append(
            Shortfall(
                layer=slot.layer,
                missing=min(1.0, units / target.units) if target.units > 0.0 else 1.0,
                missing_contracts=units / quote.instrument.multiplier if quote else math.nan,
                reason=reason,
                cap=cap,
                frees_at_s=frees_at_s,
            )
        )


def plan_key(policy: Policy, now_s: float) -> str:
    return f"{policy.hash[:12]}.{round(now_s * 1000)}"


def leg_layer(key: str) -> tuple[str, str] | None:
    """Return (group, layer) of a leg key; None when it is not one of ours."""
    parts = key.rsplit("-", 3)
    return (parts[1].replace(".", "/"), parts[2]) if len(parts) == 4 and parts[2] in set(Layer) else None


def blocked_layers(frame: Frame, group: str) -> frozenset[Layer]:
    """Return the layers with an open leg; a key that cannot be read blocks every layer."""
    named = [leg_layer(key) for key in frame.open_legs]
    if any(item is None for item in named):
        return frozenset(Layer)
    return frozenset(Layer(item[1]) for item in named if item and item[0] == group)


def collect_wants(policy: Policy, plan: GroupPlan, *, holds: Sequence[str]) -> None:
    """Fill in what the group wants to buy after R18's band, R8's ceiling and R10, with the shortfalls."""
    missing = {slot: _missing(policy, plan, slot, holds=holds) for slot in plan.sizing.targets}
    missing = {slot: units for slot, units in missing.items() if units > 0.0}
    scale = _ceiling(policy, plan, missing)
    new = [(_quote(plan, slot), scale * units / _multiplier(plan, slot)) for slot, units in missing.items()]
    leaving = frozenset(sale.hedge.id for sale in plan.review.sales)
    factor = over_hedge_factor(policy, plan.group, kept=plan.review.kept, leaving=leaving, new=new)
    plan.findings.append(_guard_finding(policy, plan, factor, wanted=bool(new)))
    for (slot, units), (quote, contracts) in zip(missing.items(), new, strict=True):
        if factor < 1.0:
            cut = (1.0 - factor) * contracts * quote.instrument.multiplier
            plan.short(slot, cut, "more would gain more than the group loses", cap=OVER_HEDGE_CAP)
        target = plan.sizing.targets[slot]
        want = Want(
            group=plan.group, target=target, quote=quote, missing_units=units, contracts=factor * contracts
        )
        plan.wants.append(want)


def _missing(policy: Policy, plan: GroupPlan, slot: Slot, *, holds: Sequence[str]) -> float:
    """Return the units of a slot that may be bought now; all else that is missing becomes a shortfall."""
    target, held = plan.sizing.targets[slot], plan.review.counted.get(slot, 0.0)
    if target.choice.quote is None:
        if target.plan.weight > 0.0 and held <= 0.0 and plan.sizing.share > 0.0:
            plan.short(slot, 0.0, target.choice.because)
        return 0.0
    if math.isnan(target.units):
        plan.short(slot, 0.0, "value at risk is unknown")
        return 0.0
    withheld = target.units - max(target.released_units, held)
    if withheld > 0.0 and target.plan.released < 1.0:
        plan.short(slot, withheld, target.plan.because)
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
    """Spend R9's room on all groups' wants in proportion; return the most that the purchases may cost."""
    ranked = sorted(
        ((want, plan) for plan in plans for want in plan.wants),
        key=lambda pair: (
            pair[0].layer is not Layer.TAIL,
            -round(pair[0].target.choice.gain_per_cost, _DIGITS),
            pair[0].group.name,
            pair[0].quote.instrument,
        ),
    )
    wanted_usd = [want.cost_usd(policy, min(want.contracts, want.quote.liquidity)) for want, _ in ranked]
    spent_usd = 0.0
    for (want, plan), cost_usd, total_usd in zip(ranked, wanted_usd, _left(wanted_usd), strict=True):
        room_usd, cap = tightest(_caps_of(policy, plan, want, caps), spent_usd=spent_usd)
        share = cost_usd / total_usd if total_usd > room_usd else 1.0
        contracts = _fill(policy, plan, want, share * room_usd, cap)
        if contracts > 0.0:
            plan.bought[want.target.slot] = (want, contracts)
            spent_usd += want.cost_usd(policy, contracts)
    return spent_usd


def _left(costs_usd: Sequence[float]) -> list[float]:
    """Return at each position the sum from there to the end."""
    sums = list(itertools.accumulate(reversed(costs_usd)))
    return sums[::-1]


def _caps_of(policy: Policy, plan: GroupPlan, want: Want, caps: Sequence[Cap]) -> tuple[Cap, ...]:
    """Return the caps on one purchase: under the top tier all but TAIL leave part of the short windows.

    What a tier may have spent is to what all may have as its share of VaR is to the largest (R8), so that
    an escalation finds money. TAIL's standing share is what always stands (R14) and is exempt. A policy may
    do without all this.
    """
    shares = policy.sizing.shares
    part = min(1.0, plan.sizing.share / max(shares.of(tier) for tier in Tier))
    if want.layer is Layer.TAIL or part >= 1.0 or not policy.budget.escalation_reserve:
        return tuple(caps)
    return tuple(
        replace(cap, name=f"{cap.name}, {part:.0%} of it at this tier", limit_usd=part * cap.limit_usd)
        if cap.name in RESERVED_CAPS
        else cap
        for cap in caps
    )


def _fill(policy: Policy, plan: GroupPlan, want: Want, room_usd: float, cap: Cap) -> float:
    """Return the contracts to buy, rounded down to lots; what is cut off becomes a shortfall."""
    slot, quote = want.target.slot, want.quote
    multiplier = quote.instrument.multiplier
    liquid = min(want.contracts, quote.liquidity)
    if liquid < want.contracts:
        plan.short(
            slot, (want.contracts - liquid) * multiplier, f"{quote.instrument.venue} sells only {liquid:.4g}"
        )
    affordable = want.affordable(policy, room_usd)
    paid, least = min(liquid, affordable), f"{policy.orders.min_order:.0%} of the layer's target"
    if paid * multiplier < policy.orders.min_order * want.target.units:
        paid = 0.0
    if affordable < liquid:
        buys = f"buys {affordable:.4g} of {liquid:.4g} contracts"
        reason = f"room of {room_usd:,.0f} USD {buys}; the least order is {least}"
        plan.short(slot, (liquid - paid) * multiplier, reason, cap=cap.name, frees_at_s=cap.frees_at_s)
    elif paid < liquid:
        plan.short(slot, liquid * multiplier, f"{liquid:.4g} contracts are under the least order, {least}")
    rounded = round_down(paid, quote.lot)
    if paid > 0.0 and (rounded <= 0.0 or rounded < quote.min_size):
        plan.short(
            slot, paid * multiplier, f"{paid:.4g} contracts are under the venue's least of {quote.min_size:g}"
        )
        return 0.0
    return rounded


def plan_gains(plan: GroupPlan) -> FloatArray:
    """Return the gain of all that is held and about to be bought, on every path."""
    gains = held_path_gains(plan.group, plan.review.staying(expiring=True))
    for want, contracts in plan.bought.values():
        gains = gains + contracts * want.quote.instrument.multiplier * want.target.unit_gains
    return gains


def round_down(contracts: float, lot: float) -> float:
    """Return the largest whole number of lots <= ``contracts``; unchanged when the venue has no lot."""
    return math.floor(contracts / lot + _LOT_SLACK) * lot if lot > 0.0 else contracts


def legs_of(policy: Policy, frame: Frame, plans: Sequence[GroupPlan]) -> tuple[HedgeLeg, ...]:
    """Return all legs in the order they are to be executed."""
    settles = [
        (plan, hedge) for plan in plans for hedge in plan.review.settles if hedge.layer not in plan.blocked
    ]
    sales = [(plan, sale) for plan in plans for sale in plan.review.sales if _may_sell(policy, plan, sale)]
    buys = [(plan, want, contracts) for plan in plans for want, contracts in plan.bought.values()]
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
    for plan, want, contracts in buys:
        legs.append(_buy_leg(policy, frame, want, contracts, key(plan, want.layer)))
        replacements[plan.group.name, want.target.slot] = legs[-1].key
    for plan, sale in sales:
        if sale.replaced in plan.bought:
            leg = _sell_leg(policy, frame, plan, sale, key(plan, sale.layer))
            legs.append(replace(leg, only_after=replacements[plan.group.name, sale.replaced]))
    return tuple(legs)


def _may_sell(policy: Policy, plan: GroupPlan, sale: Sale) -> bool:
    """A roll is sold only once its slot is served without it; no sale while the layer has an open leg."""
    if sale.layer in plan.blocked:
        return False
    if sale.replaced is None:
        return True
    target = plan.sizing.targets[sale.replaced]
    want, contracts = plan.bought.get(sale.replaced, (None, 0.0))
    bought = contracts * want.quote.instrument.multiplier if want else 0.0
    served = plan.review.counted.get(sale.replaced, 0.0) + bought
    return served >= policy.no_loyalty.resize_band[0] * target.released_units


def _settle_leg(policy: Policy, frame: Frame, plan: GroupPlan, hedge: HeldHedge, key: str) -> HedgeLeg:
    return HedgeLeg(
        key=key,
        group=plan.group.name,
        layer=hedge.layer,
        side=Side.SETTLE,
        instrument=hedge.instrument,
        size=hedge.size,
        limit_usd=0.0,
        expected_usd=hedge.model_usd if hedge.model_usd > 0.0 else 0.0,
        valid_until_s=frame.now_s + policy.orders.valid_for,
        position_id=hedge.id,
        because="expired and its settlement price is known",
    )


def _sell_leg(policy: Policy, frame: Frame, plan: GroupPlan, sale: Sale, key: str) -> HedgeLeg:
    hedge = sale.hedge
    proceeds_usd = hedge.liquidation_usd * sale.size / hedge.size
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
    )


def _buy_leg(policy: Policy, frame: Frame, want: Want, contracts: float, key: str) -> HedgeLeg:
    premium_usd = want.quote.premium_usd * contracts / want.quote.size
    return HedgeLeg(
        key=key,
        group=want.group.name,
        layer=want.layer,
        side=Side.BUY,
        instrument=want.quote.instrument,
        size=contracts,
        limit_usd=premium_usd * (1.0 + policy.orders.max_slippage),
        expected_usd=premium_usd,
        valid_until_s=min(frame.now_s + policy.orders.valid_for, want.quote.valid_until_s),
        reserve_usd=want.cost_usd(policy, contracts),
        because=want.target.choice.because,
        indicative=want.quote.indicative,
    )


def _quote(plan: GroupPlan, slot: Slot) -> Quote:
    quote = plan.sizing.targets[slot].choice.quote
    if quote is None:  # excluded by _missing
        raise ValueError(f"{slot} has no instrument")
    return quote


def _multiplier(plan: GroupPlan, slot: Slot) -> float:
    return _quote(plan, slot).instrument.multiplier


def _guard_finding(policy: Policy, plan: GroupPlan, factor: float, *, wanted: bool) -> RuleFinding:
    tolerance = policy.sizing.over_hedge_tolerance
    unpriced = sorted(
        {
            quote.instrument.settlement
            for target in plan.sizing.targets.values()
            if (quote := target.choice.quote) and quote.instrument.settlement not in plan.group.stable_usd
        }
    )
    note = f"; no price of {', '.join(unpriced)}: counted as 1 USD" if unpriced else ""
    note += "; S5 and S6 absent"
    if not wanted:
        return RuleFinding(rule="R10", fired=False, because=f"no new leg to guard{note}")
    because = (
        f"new legs shrunk to {factor:.0%}"
        if factor < 1.0
        else f"new legs stay within loss x {1 + tolerance:.2f}"
    )
    return RuleFinding(rule="R10", fired=factor < 1.0, because=because + note)
