"""R27: the orders that bring NEAR's short perpetual to its target, within R9, R10 and R11."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bot.engine.cost_guard import WINDOW_DAYS
from bot.engine.group import Group
from bot.engine.limits import DEFINED_RISK_CAP, OVER_HEDGE_CAP, spot_grid, stress_grid
from bot.engine.one_quote import carried_usd
from bot.engine.perpetual import (
    PerpetualRoom,
    margin_per_unit,
    perpetual_gains,
    short_units,
    shorts_of,
    stress_price,
    terms_of,
    unreadable,
)
from bot.engine.perpetual_closing import closing_cost_usd, released_usd, worst_usd
from bot.engine.plan import PAUSED, PERPETUAL, GroupPlan, plan_gains, plan_key, round_down
from bot.engine.policy import Policy
from bot.engine.sizing import covered_share
from bot.model.hedge import Layer, LayerTarget, Shortfall
from bot.model.market import Frame
from bot.model.perpetual import HeldPerpetual, Perpetual, PerpetualAction, PerpetualOrder, PerpetualQuote
from bot.model.tier import RuleFinding, Tier
from bot.model.units import YEAR_DAYS

NOTIONAL_CAP = "notional of perpetuals (R9)"
MARGIN_CAP = "margin of perpetuals (R9)"
LIQUIDITY_CAP = "liquidity of the perpetual"


@dataclass(slots=True, kw_only=True)
class PerpetualPlan:
    """What one group's perpetual should be and what is done about it; filled step by step."""

    policy: Policy
    plan: GroupPlan
    tier: Tier
    now_s: float
    target: float = 0.0  # units short; NaN unknown
    held: float = 0.0
    orders: list[PerpetualOrder] = field(default_factory=list)
    shortfalls: list[Shortfall] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def group(self) -> Group:
        return self.plan.group

    @property
    def after(self) -> float:
        """Return the units short once all orders are done; what is no short of the group's is left out."""
        mine = {item.id for item in shorts_of(self.group)} | {""}
        return self.held - math.fsum(item.size for item in self.orders if item.position_id in mine)

    @property
    def shrinks(self) -> bool:
        """Return whether a short of the group is already being reduced: then none is opened beside it."""
        return self.after < self.held

    @property
    def wanted(self) -> bool:
        return self.plan.near.serves or self.held > 0.0 or bool(self.orders)

    def order(
        self,
        action: PerpetualAction,
        perpetual: Perpetual,
        because: str,
        *,
        size: float = 0.0,
        margin_usd: float = 0.0,
        limit_usd: float = math.nan,
        expected_usd: float = math.nan,
        position_id: str = "",
        quoted_until_s: float = math.inf,
        release_usd: float = 0.0,
    ) -> None:
        """Add an order, with the next key."""
        prefix = f"{plan_key(self.policy, self.now_s)}-{self.group.name.replace('/', '.')}"
        self.orders.append(
            PerpetualOrder(
                key=f"{prefix}-{PERPETUAL}-{len(self.orders)}",
                group=self.group.name,
                action=action,
                perpetual=perpetual,
                size=size,
                margin_usd=margin_usd,
                limit_usd=limit_usd,
                expected_usd=expected_usd,
                valid_until_s=min(self.now_s + self.policy.orders.valid_for, quoted_until_s),
                position_id=position_id,
                because=because,
                release_usd=release_usd,
            )
        )


def short_perpetual(
    policy: Policy,
    frame: Frame,
    plan: GroupPlan,
    tier: Tier,
    *,
    holds: Sequence[str],
    room: PerpetualRoom,
) -> PerpetualPlan:
    """Return what is done about a group's perpetual now; ``room`` is lessened by what is opened.

    The plan's purchases must be known: R10 and R11 count them first.
    """
    found = PerpetualPlan(policy=policy, plan=plan, tier=tier, now_s=frame.now_s)
    group = plan.group
    found.held = short_units(group)
    found.target = _target(policy, plan, tier, held=found.held)
    _withhold(found)
    own = [key for key in frame.open_legs if f"-{group.name.replace('/', '.')}-{PERPETUAL}-" in key]
    if any(not key.startswith(PAUSED) for key in own):
        found.notes.append("an order of it has no final outcome yet")
        return found
    unread = [item.id for item in group.perpetuals if unreadable(group, item)]
    found.notes += [f"ALARM: size or mark of {name} cannot be read" for name in unread]
    _reduce_strays(found)
    if found.target < found.held and not _in_band(policy, group, found):
        _reduce(found, frame, found.held - found.target, _why_less(found))
        return found
    _support(found, frame, shorts_of(group), room)
    if math.isnan(found.target):
        found.notes.append("the group's delta is unknown: nothing is opened")
    elif own:
        found.notes.append("the venue refused to open it twice in a row: nothing is opened for a while")
    elif not unread and not found.shrinks and not _in_band(policy, group, found):
        _open(found, holds=holds, room=room)
    return found


def _target(policy: Policy, plan: GroupPlan, tier: Tier, *, held: float) -> float:
    """Return the units to be short: R12's share of the delta, what its trigger lets through."""
    group, near = plan.group, plan.layers[0]
    if not near.open:
        return 0.0
    delta = group.delta
    if math.isnan(delta):
        return math.nan
    if plan.near.serves:
        wanted = near.released * policy.near.delta_share.of(tier) * delta
    else:  # an option is back: the perpetual goes once that is held
        wanted = 0.0 if _options_serve(policy, plan) else min(held, delta)
    return max(wanted, held) if group.unseen else wanted  # a position that was not read has not left


def _withhold(found: PerpetualPlan) -> None:
    """Report what R12's trigger, not having fired, holds back (R7)."""
    near, delta = found.plan.layers[0], found.group.delta
    held_back = (1.0 - near.released) * found.policy.near.delta_share.of(found.tier) * delta
    if near.open and found.plan.near.serves and held_back > 0.0:
        _short(found, held_back, near.because)


def _options_serve(policy: Policy, plan: GroupPlan) -> bool:
    targets = [item for slot, item in plan.sizing.targets.items() if slot.layer is Layer.NEAR]
    least = policy.no_loyalty.resize_band[0]
    return bool(targets) and all(
        plan.review.counted.get(item.slot, 0.0) >= least * item.released_units for item in targets
    )


def _in_band(policy: Policy, group: Group, found: PerpetualPlan) -> bool:
    """Return whether the target is near enough to what is held; never with more than the group's delta."""
    if found.held > group.delta and not group.unseen:
        return False
    return abs(found.target - found.held) <= policy.perpetual.reset_band * found.target


def _why_less(found: PerpetualPlan) -> str:
    if not found.plan.layers[0].open:
        return f"NEAR is closed at {found.tier.name}"
    if not found.plan.near.serves:
        return found.plan.near.because
    return f"{found.held:,.4g} are short where {found.target:,.4g} are wanted"


def _reduce_strays(found: PerpetualPlan) -> None:
    """Close what this rule never opens: longs, and shorts on what the group is not hedged by."""
    mine = {item.id for item in shorts_of(found.group)}
    for item in sorted(found.group.perpetuals, key=lambda each: (each.perpetual, each.id)):
        if item.id not in mine and item.size and not unreadable(found.group, item):
            _reduce_one(found, item, -item.size, None, "no short that hedges the group", releases=True)


def _reduce(found: PerpetualPlan, frame: Frame, units: float, because: str) -> None:
    """Buy back ``units``, one position after the other; the last in whole lots unless all of it goes."""
    quotes = terms_of(frame)
    left = units
    for item in shorts_of(found.group):
        quote, size = quotes.get(item.perpetual), min(left, -item.size)
        if quote is not None and size < -item.size:
            size = round_down(size, quote.lot)
            size = 0.0 if size < quote.min_size else size
        if size > 0.0:
            _reduce_one(found, item, size, quote, because, releases=True)
        left -= size
        if left <= 0.0:
            break


def _reduce_one(
    found: PerpetualPlan,
    item: HeldPerpetual,
    size: float,
    quote: PerpetualQuote | None,
    because: str,
    *,
    releases: bool = False,
) -> None:
    """``releases``: the margin of what goes is taken out too, and does not bear the rest better."""
    found.order(
        PerpetualAction.REDUCE,
        item.perpetual,
        because,
        position_id=item.id,
        size=size,
        limit_usd=worst_usd(found.policy, item, quote, size),
        expected_usd=closing_cost_usd(item, quote, size),
        release_usd=released_usd(item, size) if releases else 0.0,
    )
    found.notes.append(f"{abs(size):,.4g} at {item.perpetual.venue} are closed: {because}")


def _support(found: PerpetualPlan, frame: Frame, held: Sequence[HeldPerpetual], room: PerpetualRoom) -> None:
    """Keep the price of liquidation beyond the stress price: by margin, and by size where R9 leaves none."""
    quotes = terms_of(frame)
    for item in held:
        stress_usd = stress_price(found.policy, found.group, item.mark_usd)
        if not (math.isfinite(item.liquidation_usd) and math.isfinite(stress_usd)):
            found.notes.append(f"ALARM: where {item.id} is liquidated, or would be under stress, is unknown")
            continue
        wanted, far = stress_usd - item.mark_usd, item.liquidation_usd - item.mark_usd
        if far >= (1.0 - found.policy.perpetual.reset_band) * wanted:
            continue
        quote = quotes.get(item.perpetual)
        needs = 1.0 + (quote.maintenance_margin if quote else 0.0)
        add_usd = -item.size * (stress_usd - item.liquidation_usd) * needs
        said = f"liquidation at {item.liquidation_usd:,.0f} USD is nearer than {stress_usd:,.0f} (stress)"
        if add_usd <= min(room.margin_usd, room.capital_usd):
            room.margin_usd -= add_usd
            room.capital_usd -= add_usd
            found.order(
                PerpetualAction.ADD_MARGIN, item.perpetual, said, margin_usd=add_usd, position_id=item.id
            )
            found.notes.append(f"{said}: {add_usd:,.0f} USD of margin are added")
            continue
        bears = max(far, 0.0) + (needs - 1.0) * item.liquidation_usd
        keep = bears / (wanted + (needs - 1.0) * stress_usd)
        _reduce_one(found, item, (1.0 - keep) * -item.size, quote, f"{said} and R9 leaves no margin")


def _open(found: PerpetualPlan, *, holds: Sequence[str], room: PerpetualRoom) -> None:
    """Sell what is missing as far as every limit lets it; the rest is a shortfall."""
    quote, missing = found.plan.near.quote, found.target - found.held
    if holds or quote is None:
        return _short(found, missing, f"HOLD: {holds[0]}" if holds else found.plan.near.because)
    stress_usd = stress_price(found.policy, found.group, quote.mark_usd)
    if not math.isfinite(stress_usd):
        return _short(found, missing, "the price that margin has to bear is unknown")
    margin_usd = margin_per_unit(quote, stress_usd)
    limits = _limits(found, quote, missing, stress_usd=stress_usd, margin_usd=margin_usd, room=room)
    cap = min(limits, key=lambda name: (not math.isnan(limits[name]), limits[name]))  # unknown is the least
    size = round_down(min(limits[cap], missing), quote.lot) if limits[cap] > 0.0 else 0.0
    if size <= 0.0 or size < max(quote.min_size, found.policy.orders.min_order * found.target):
        return _short(found, missing, "what the limits leave is under the least order", cap=cap)
    cost = quote.cost + found.policy.perpetual.max_slippage
    because = (
        f"NEAR by a short perpetual: {found.plan.near.because}; "
        f"{found.policy.near.delta_share.of(found.tier):.0%} of a delta of {found.group.delta:,.4g}, "
        f"margin bears {stress_usd:,.0f} USD"
    )
    found.order(
        PerpetualAction.OPEN,
        quote.perpetual,
        because,
        quoted_until_s=quote.valid_until_s,
        size=-size,
        margin_usd=size * margin_usd,
        limit_usd=quote.mark_usd * (1.0 - cost),
        expected_usd=size * quote.mark_usd * quote.cost + quote.gas_usd,
    )
    room.notional_usd -= size * quote.mark_usd
    room.margin_usd -= size * margin_usd
    room.capital_usd -= size * max(stress_usd - quote.mark_usd, 0.0)
    found.notes.append(f"{size:,.4g} are sold at {quote.perpetual.venue}, {because}")
    if missing - size > quote.lot:
        _short(found, missing - size, f"cut by the {cap}", cap=cap)
    return None


def _limits(
    found: PerpetualPlan,
    quote: PerpetualQuote,
    missing: float,
    *,
    stress_usd: float,
    margin_usd: float,
    room: PerpetualRoom,
) -> dict[str, float]:
    """Return the most units that each limit lets be sold, by its name."""
    rise_usd = stress_usd - quote.mark_usd
    return {
        NOTIONAL_CAP: room.notional_usd / quote.mark_usd,
        MARGIN_CAP: room.margin_usd / margin_usd,
        DEFINED_RISK_CAP: room.capital_usd / rise_usd if rise_usd > 0.0 else math.inf,
        LIQUIDITY_CAP: quote.liquidity,
        OVER_HEDGE_CAP: missing * _guarded(found, quote, missing),
        **_carried(found, quote, margin_usd=margin_usd),
    }


def _guarded(found: PerpetualPlan, quote: PerpetualQuote, units: float) -> float:
    """Return the factor on ``units`` that keeps R10 at every point, beside all that is held and bought."""
    plan, group = found.plan, found.group
    gains, room = stress_grid(
        found.policy,
        group,
        kept=plan.standing,
        leaving=plan.leaving,
        quotes=[item.quote for item in plan.purchases],
    )
    spots = spot_grid(found.policy.sizing, group.spot_usd)
    one = np.tile(np.maximum(perpetual_gains(group, spots, short=1.0), 0.0), room.size // spots.size)
    left = room - np.array([item.contracts for item in plan.purchases]) @ gains + quote.lot * one
    if not (np.isfinite(left).all() and np.isfinite(one).all()):
        return 0.0
    tight = units * one > np.maximum(left, 0.0)
    return float(np.min(np.maximum(left[tight], 0.0) / (units * one[tight]), initial=1.0))


def _carried(found: PerpetualPlan, quote: PerpetualQuote, *, margin_usd: float) -> dict[str, float]:
    """Return R11's limit in units; none where it does not hold. Funding that is received is not counted."""
    cap = found.plan.carry
    if cap is None or math.isinf(cap.limit_usd):
        return {}
    years = WINDOW_DAYS / YEAR_DAYS
    unit_usd = quote.mark_usd * (2.0 * quote.cost + max(0.0, -quote.funding_apr) * years)
    unit_usd += cap.wacc * margin_usd * years
    planned_usd = math.fsum(carried_usd(found.plan, item) for item in found.plan.purchases)
    left_usd = max(0.0, cap.room_usd - planned_usd - 2.0 * quote.gas_usd)
    return {cap.name: left_usd / unit_usd if unit_usd > 0.0 else math.inf}


def _short(found: PerpetualPlan, units: float, reason: str, *, cap: str = "") -> None:
    missing = min(1.0, units / found.target) if found.target > 0.0 else 1.0
    found.shortfalls.append(
        Shortfall(layer=Layer.NEAR, missing=missing, missing_contracts=units, reason=reason, cap=cap)
    )


def perpetual_finding(found: PerpetualPlan, *, parity: str) -> RuleFinding:
    """Return what R27 says of a group; ``parity`` is what S22 and conversions say."""
    near, group = found.plan.near, found.group
    if not found.wanted:
        return RuleFinding(rule="R27", fired=False, because=f"{near.because}; {parity}")
    options = plan_gains(found.plan)
    with_short = options + perpetual_gains(group, group.paths[:, -1], short=found.after)
    removed = covered_share(group, with_short) - covered_share(group, options)
    text = (
        f"short {found.held:,.4g} {group.hedged_by}, {found.after:,.4g} after this step, "
        f"target {found.target:,.4g} of a delta of {group.delta:,.4g}: removes {removed:.1%} of VaR beside "
        f"the options"
    )
    notes = "; ".join(found.notes) or "inside its band, nothing is changed"
    return RuleFinding(rule="R27", fired=True, because=f"{text}; {notes}; {parity}")


def perpetual_row(found: PerpetualPlan, row: LayerTarget) -> LayerTarget:
    """Return NEAR's row of a decision where a perpetual serves it, in units short."""
    because = f"short perpetual on {found.group.hedged_by}: {found.plan.near.because}"
    return replace(
        row,
        open=True,
        weight=found.plan.layers[0].weight,
        wanted_contracts=found.target,
        held_contracts=found.held,
        because=because,
    )
