"""R18 no loyalty: every open leg is justified again on each decision, or it is let go.

A leg serves a slot (R17), is on its way out with a profit (R28), or nobody wants it: its layer is closed or
holds more than its resize band allows. When a position has left (R29's exit, a burned range), what it needed
is let go down to the target itself, band or not. What stays unwanted for ``cooldown`` is sold, if a sale is
worth it; else it is held to expiry and the finding says why.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.engine.choose import Slot
from bot.engine.group import Group
from bot.engine.monetise import monetise, release_covered
from bot.engine.policy import Policy
from bot.engine.review import Review, Sale, leg_name, sale_refusal, saleable, units
from bot.engine.sizing import Target
from bot.engine.time_shift import time_shift
from bot.model.hedge import HeldHedge
from bot.model.record import GroupState
from bot.model.tier import Tier
from bot.model.units import HOUR_S

__all__ = ["Review", "Sale", "no_loyalty", "review_held", "sale_refusal", "units"]

_DRIFT = 1e-3  # of a position's liquidity: a pool's own fees dilute it by less, and nobody left for that


def review_held(
    policy: Policy,
    group: Group,
    tier: Tier,
    targets: Mapping[Slot, Target],
    state: GroupState,
    *,
    easing: bool,
    block: int = 0,
) -> Review:
    """Return what every held leg of the group is for, in the order of the legs' instruments.

    ``state`` is the group's memory and ``block`` the frame's height, 0 where it has none.
    """
    review = Review()
    for hedge in group.held:
        lives = hedge.instrument.expiry_s > group.now_s
        known = 0.0 < hedge.size < math.inf
        if lives and not (hedge.settleable and known):
            sized = hedge if hedge.size < math.inf else replace(hedge, size=math.nan)
            review.kept.extend([] if hedge.size <= 0.0 else [sized])  # NaN stays, and nothing is bought
            continue
        review.settles.extend([hedge] if hedge.settleable and known else [])
        wait = "is settled now" if hedge.settleable else "waits for its settlement price"
        wait = wait if known else f"its size of {hedge.size:g} cannot be settled"
        # A venue that never exercises by itself says when it is time: in the money, nothing is left to die.
        ends = "is exercised before it expires" if lives else f"has expired and {wait}"
        review.rolls.append(f"{leg_name(hedge)} {ends}")
    since = state.unwanted_since_s
    living = monetise(policy, group, targets, review, living=review.kept, before=state.profits, block=block)
    time_shift(policy, group, tier, targets, review, living=living, since=since, easing=easing)
    no_loyalty(policy, group, tier, targets, review, state)
    release_covered(policy, group, tier, review)
    return review


def no_loyalty(
    policy: Policy,
    group: Group,
    tier: Tier,
    targets: Mapping[Slot, Target],
    review: Review,
    state: GroupState,
) -> None:
    """R18: find what no rule wants: closed layers, and units beyond the resize band.

    Legs that their own layer lets go leave first, so that none makes a good one unwanted; then the newest.
    While a position is not seen nothing is unwanted: a leg may be its protection.
    """
    review.shrunk, review.liquidity = positions_left(group, state)
    if group.unseen:
        review.notes.append(f"nothing is judged unwanted: {', '.join(group.unseen)} was not read yet")
        return
    judge = _Judge(policy=policy, group=group, tier=tier, targets=targets, review=review, state=state)
    judge.judge_all()


def positions_left(group: Group, state: GroupState) -> tuple[bool, Mapping[str, float]]:
    """Return whether hedges of positions that left are still to go, and each position's most liquidity.

    A position that is not listed has left only when none is unseen. One that lost liquidity left in part.
    """
    now = {item.id: item.shape.liquidity for item in group.exposures}
    before = state.liquidity
    left = any(
        now.get(name, most if group.unseen else 0.0) < (1.0 - _DRIFT) * most for name, most in before.items()
    )
    if left:
        missing = {name: most for name, most in before.items() if group.unseen and name not in now}
        return True, {**missing, **now}
    return state.shrunk, {**before, **{name: max(size, before.get(name, 0.0)) for name, size in now.items()}}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judge:
    policy: Policy
    group: Group
    tier: Tier
    targets: Mapping[Slot, Target]
    review: Review
    state: GroupState

    def judge_all(self) -> None:
        """Judge every leg that serves a slot, and end the memory of positions that left once all is well.

        Legs of a group that is gone stand here too, and are let go like those of a position that left.
        """
        review, most = self.review, self.policy.no_loyalty.resize_band[1]
        inherits = any(item.group not in ("", self.group.name) for item in review.kept)
        left = review.shrunk or inherits
        if left:
            most = min(most, 1.0 + self.policy.orders.min_order)
        newest = sorted(
            (item for item in review.kept if item.id in review.serving),
            key=lambda item: (item.id not in review.aged, -item.opened_at_s, item.instrument, item.id),
        )
        for hedge in newest:
            judged = (
                self._excess(slot, serves, most=most, left=left)
                for slot, serves in review.serving[hedge.id].items()
            )
            parts = [(part, why) for part, why in judged if part > 0.0]
            if parts:
                part = math.fsum(part for part, _ in parts)
                self._unwanted(hedge, part, "; ".join(why for _, why in parts))
        known = all(self._wanted(target) >= 0.0 for target in self.targets.values())  # NaN is not
        if known and not review.unwanted:
            review.shrunk = False

    def _excess(self, slot: Slot, serves: float, *, most: float, left: bool) -> tuple[float, str]:
        """Return how many units of what a leg serves in a slot nobody wants, and why."""
        target, held = self.targets.get(slot), self.review.counted.get(slot, 0.0)
        full = self._wanted(target)
        if not held > most * full:  # NaN too: an unknown target wants all that is held
            return 0.0, ""
        part = min(serves, held - full)
        self.review.counted[slot] = held - part
        if target is None:
            why = f"{slot.layer} is closed at {self.tier.name}"
        else:
            since = " since a position left" if left else ""
            why = f"{slot.layer} holds {held:.4g}, wants {full:.4g}{since}"
        return part, why

    def _wanted(self, target: Target | None) -> float:
        """Return the units that a slot wants; NaN while nothing usable is quoted and something is at risk."""
        if target is None:
            return 0.0
        if target.choice.quote is None and self.group.var_usd != 0.0:  # unknown is not unwanted
            return math.nan
        return target.units

    def _unwanted(self, hedge: HeldHedge, part: float, why: str) -> None:
        """Sell a part that was unwanted for the cooldown if a sale is worth it, else say why it is held."""
        review, now_s = self.review, self.group.now_s
        start_s = review.unwanted[hedge.id] = self.state.unwanted_since_s.get(hedge.id, now_s)
        left_s = self.policy.tiers.cooldown - (now_s - start_s)
        wanted = part / hedge.instrument.multiplier
        size = saleable(hedge, wanted)
        if left_s > 0.0:
            refusal = f"unwanted {left_s / HOUR_S:.1f} h too short"
        elif size == 0.0:
            refusal = f"only {wanted:.4g} of {hedge.size:.4g} is, and its venue closes it whole or not at all"
        else:
            refusal = sale_refusal(self.policy, self.group, hedge)
        if refusal:
            review.notes.append(f"{leg_name(hedge)} is unwanted ({why}) and held: {refusal}")
            return
        because = f"{leg_name(hedge)} unwanted for {(now_s - start_s) / HOUR_S:.1f} h ({why})"
        review.notes.append(f"{because}: sold")
        review.sales.append(Sale(hedge=hedge, layer=hedge.layer, size=size, because=because))
