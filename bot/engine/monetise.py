"""R28: profit is taken in parts from legs that went deep into the money, and the layer bought anew.

Readings of R28 chosen here. A step is confirmed as R3 confirms a tier: the leg is over a limit in ``confirm``
consecutive frames that span ``confirm_s`` and ``confirm_blocks``; after each part the count starts anew.
From its first part on, the leg no longer serves its layer, so that the layer is bought at its own delta. A
part goes first, and half of its profit is budget for that purchase, as long as all that stays covers R18's
least share of what the tier wants (the resize band's lower end); from there on a part is sold only after the
purchase. A leg that its venue closes only whole goes as one part. R18's conditions hold for every sale. A leg
whose layer is closed is R18's and one that expires at once R17's, not this rule's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.engine.choose import Slot
from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.engine.review import Review, Sale, leg_name, sale_refusal, saleable, slot_of
from bot.engine.sizing import Target, covered_share, held_path_gains
from bot.model.hedge import HeldHedge, OptionType
from bot.model.record import ProfitTaking
from bot.model.tier import Tier
from bot.model.units import YEAR_S
from bot.quant.options import delta


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taking:
    policy: Policy
    group: Group
    targets: Mapping[Slot, Target]
    before: Mapping[str, ProfitTaking]
    block: int
    review: Review


def monetise(
    policy: Policy,
    group: Group,
    targets: Mapping[Slot, Target],
    review: Review,
    *,
    living: Sequence[HeldHedge],
    before: Mapping[str, ProfitTaking],
    block: int,
) -> list[HeldHedge]:
    """Plan the sale of profitable parts; return the living legs that still serve their layers.

    ``block`` is the frame's height, 0 where frames have none.
    """
    if not policy.monetise.enabled:
        review.gains.append("off by policy (monetise.enabled)")
        return list(living)
    taking = _Taking(policy=policy, group=group, targets=targets, before=before, block=block, review=review)
    return [hedge for hedge in living if not _takes(taking, hedge)]


def release_covered(policy: Policy, group: Group, tier: Tier, review: Review) -> None:
    """Let a part of R28 go without replacement where the rest is protection enough.

    That is: all that stays covers the least part of the tier's share (R8) that R18 does not resize, or covers
    no less than it did with the part (it hedged more than there is to lose). Asked once the whole review is
    known. Unknown coverage is none.
    """
    parts = [sale for sale in review.sales if sale.rule == "R28"]
    if not parts:
        return
    staying = review.staying(expiring=False)
    sold = [replace(sale.hedge, size=sale.size) for sale in parts]
    covered, before = (
        covered_share(group, held_path_gains(group, legs)) for legs in (staying, [*staying, *sold])
    )
    wanted = policy.no_loyalty.resize_band[0] * policy.sizing.shares.of(tier)
    if covered >= wanted or covered >= before:  # NaN is not
        review.sales[:] = [
            replace(sale, replaced=None) if sale.rule == "R28" else sale for sale in review.sales
        ]


def ripeness(policy: Policy, group: Group, hedge: HeldHedge) -> str:
    """Return which limit of R28 a leg is over, empty when none or unknown."""
    rule, instrument = policy.monetise, hedge.instrument
    years = (instrument.expiry_s - group.now_s) / YEAR_S
    is_put = instrument.option_type is OptionType.PUT
    depth = abs(float(delta(group.spot_usd, instrument.strike_usd, years, hedge.iv, is_put=is_put)))
    if depth > rule.delta_over:
        return f"|delta| {depth:.2f} over {rule.delta_over:g}"
    if hedge.cost_usd > 0.0 and rule.value_over * hedge.cost_usd < hedge.liquidation_usd < math.inf:
        return f"worth {hedge.liquidation_usd / hedge.cost_usd:.1f} x its cost, over {rule.value_over:g}"
    return ""


def _takes(taking: _Taking, hedge: HeldHedge) -> bool:
    """Go one step on with a leg; return whether it has left its layer."""
    known, limit = taking.before.get(hedge.id), ripeness(taking.policy, taking.group, hedge)
    target = taking.targets.get(slot_of(hedge))
    ends_s = max(taking.policy.layers.NEAR.roll_at, taking.policy.roll.venue_cutoff)
    if target is None or math.isnan(target.units) or _life_s(taking, hedge) <= ends_s:
        return False
    if not limit:
        return _pauses(taking, hedge, known)
    step = _counted(taking, hedge, known)
    taking.review.profits[hedge.id] = step
    waits = _unconfirmed(taking, step) or _refusal(taking, hedge, target)
    if waits:
        taking.review.gains.append(f"{leg_name(hedge)} {limit}: {waits}")
        return step.begun
    _sell_part(taking, hedge, step, limit)
    return True


def _life_s(taking: _Taking, hedge: HeldHedge) -> float:
    return hedge.instrument.expiry_s - taking.group.now_s


def _pauses(taking: _Taking, hedge: HeldHedge, known: ProfitTaking | None) -> bool:
    """A leg that began and fell back stays out of its layer for a cooldown: no purchase is undone at once."""
    if known is None or not known.begun:
        return False
    if taking.group.now_s - known.last_s >= taking.policy.tiers.cooldown:
        taking.review.gains.append(f"{leg_name(hedge)} fell back and serves its layer again")
        return False
    taking.review.profits[hedge.id] = replace(known, frames=0)
    taking.review.gains.append(f"{leg_name(hedge)} fell back: the rest waits")
    return True


def _counted(taking: _Taking, hedge: HeldHedge, known: ProfitTaking | None) -> ProfitTaking:
    now_s = taking.group.now_s
    fresh = ProfitTaking(whole=hedge.size, frames=1, since_s=now_s, since_block=taking.block, last_s=now_s)
    if known is None:
        return fresh
    whole = max(known.whole, hedge.size)
    if known.frames == 0:
        return replace(fresh, whole=whole, begun=known.begun)
    return replace(known, whole=whole, frames=known.frames + 1, last_s=now_s)


def _unconfirmed(taking: _Taking, step: ProfitTaking) -> str:
    """Return what a step still waits for, empty when it is confirmed as R3 confirms a tier."""
    tiers, span_s = taking.policy.tiers, taking.group.now_s - step.since_s
    blocks = taking.block - step.since_block if taking.block and step.since_block else math.inf
    if step.frames >= tiers.confirm and span_s >= tiers.confirm_s and blocks >= tiers.confirm_blocks:
        return ""
    return f"frame {step.frames} of {tiers.confirm}, {span_s:.0f} of {tiers.confirm_s:.0f} s"


def _refusal(taking: _Taking, hedge: HeldHedge, target: Target) -> str:
    """Return why a confirmed part is not sold now, empty when it may be."""
    if target.choice.quote is None:
        return "nothing is listed to buy the layer anew"
    blocked = sale_refusal(taking.policy, taking.group, hedge)
    least = taking.policy.monetise.min_bid
    if not blocked and not hedge.liquidation_usd >= least * hedge.model_usd:
        share = hedge.liquidation_usd / hedge.model_usd
        return f"a sale brings {share:.0%} of model value, under {least:.0%}: outside the venue's band"
    return blocked


def _sell_part(taking: _Taking, hedge: HeldHedge, step: ProfitTaking, limit: str) -> None:
    rule, review = taking.policy.monetise, taking.review
    size = saleable(hedge, step.whole / rule.parts) or hedge.size  # one part, where only the whole can go
    profit_usd = (hedge.liquidation_usd - hedge.cost_usd) * size / hedge.size
    because = (
        f"{leg_name(hedge)} {limit}: {size:.4g} of {hedge.size:.4g} to be sold at {profit_usd:+,.0f} USD "
        f"over cost, {rule.to_reserve:.0%} of a profit to RESERVE, the rest to the budgets"
    )
    review.gains.append(because)
    review.sales.append(
        Sale(
            hedge=hedge,
            layer=hedge.layer,
            size=size,
            because=because,
            rule="R28",
            replaced=slot_of(hedge),
            set_aside=rule.to_reserve,
        )
    )
    review.profits[hedge.id] = replace(step, frames=0, begun=True)
