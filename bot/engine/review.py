"""What is known of the held legs of one group: filled leg by leg by R17, R18 and R28, read by the planner."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bot.engine.choose import Slot
from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.model.hedge import HeldHedge, Layer
from bot.model.record import GroupState, ProfitTaking
from bot.model.tier import RuleFinding
from bot.model.units import HOUR_S

_DUST = 1e-9  # of a leg: what is left is no position


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """A held leg, or a part of it, that is to be sold."""

    hedge: HeldHedge
    layer: Layer
    size: float  # contracts
    because: str
    rule: str = "R18"  # that sells: R17, R18 or R28
    replaced: Slot | None = None  # sold only once this slot is served without it
    set_aside: float = 0.0  # fraction of its profit that goes to RESERVE (R28)


@dataclass(slots=True)
class Review:
    """What every held leg is for now, what is to be sold or settled, and what is remembered of it."""

    counted: dict[Slot, float] = field(default_factory=dict)  # units that serve each slot
    serving: dict[str, dict[Slot, float]] = field(default_factory=dict)  # held id -> units by slot
    aged: set[str] = field(default_factory=set)  # held ids that their own layer lets go
    easing: set[str] = field(default_factory=set)  # held ids that R17's easing has still to roll
    sales: list[Sale] = field(default_factory=list)
    settles: list[HeldHedge] = field(default_factory=list)
    kept: list[HeldHedge] = field(default_factory=list)  # alive, sold ones too: what protects now
    unwanted: dict[str, float] = field(default_factory=dict)  # held id -> since
    expiring: dict[str, Slot] = field(default_factory=dict)  # held id -> slot to be replaced before it goes
    profits: dict[str, ProfitTaking] = field(default_factory=dict)  # held id -> how far R28 is with it
    liquidity: Mapping[str, float] = field(default_factory=dict)  # position -> most seen since one left
    shrunk: bool = False  # positions left, and their hedges are not gone yet
    rolls: list[str] = field(default_factory=list)  # what R17 says of legs
    notes: list[str] = field(default_factory=list)  # what R18 says of legs
    gains: list[str] = field(default_factory=list)  # what R28 says of legs

    def count(self, slot: Slot, hedge: HeldHedge, amount: float) -> None:
        if amount > 0.0:
            self.counted[slot] = self.counted.get(slot, 0.0) + amount
            self.serving.setdefault(hedge.id, {})[slot] = amount

    def staying(self, *, expiring: bool) -> list[HeldHedge]:
        """Return what is left after the planned sales; legs that expire at once only if asked for."""
        sold: dict[str, float] = {}
        for sale in self.sales:
            sold[sale.hedge.id] = sold.get(sale.hedge.id, 0.0) + sale.size
        stays = (item for item in self.kept if expiring or item.id not in self.expiring)
        return [
            item
            if item.id not in sold and item.size > 0.0
            else replace(item, size=max(0.0, item.size - sold.get(item.id, 0.0)))
            for item in stays
        ]

    def remembered(self, state: GroupState) -> GroupState:
        """Return the group's memory with what this review has to know in the next frame."""
        return replace(
            state,
            unwanted_since_s=dict(sorted(self.unwanted.items())),
            profits=dict(sorted(self.profits.items())),
            liquidity=dict(sorted(self.liquidity.items())),
            shrunk=self.shrunk,
        )

    def findings(self) -> tuple[RuleFinding, ...]:
        rolls = "; ".join(self.rolls) or "every held leg keeps its layer"
        notes = "; ".join(self.notes) or "every held leg is wanted and in its resize band"
        gains = "; ".join(self.gains) or "no held leg is deep enough in profit to be sold"
        sold = {sale.rule for sale in self.sales}
        return (
            RuleFinding(rule="R17", fired=bool(self.rolls), because=rolls),
            RuleFinding(rule="R18", fired="R18" in sold, because=notes),
            RuleFinding(rule="R28", fired="R28" in sold, because=gains),
        )


def saleable(hedge: HeldHedge, wanted: float) -> float:
    """Return the contracts of a leg that can go where ``wanted`` should: all, for what is left as float dust.

    0 where its venue closes only whole positions, and this is a part.
    """
    if hedge.size - wanted <= _DUST * hedge.size:
        return hedge.size
    return 0.0 if hedge.instrument.closes_whole else wanted


def units(hedge: HeldHedge) -> float:
    return hedge.size * hedge.instrument.multiplier


def leg_name(hedge: HeldHedge) -> str:
    return f"{hedge.layer} {hedge.instrument.strike_usd:,.0f} {hedge.instrument.option_type} ({hedge.id})"


def slot_of(hedge: HeldHedge) -> Slot:
    return Slot(hedge.layer, hedge.instrument.option_type)


def sale_refusal(policy: Policy, group: Group, hedge: HeldHedge) -> str:
    """Return why a held leg may not be sold now; empty when it may (R18).

    ``liquidation_usd`` is net of fees, gas and, beyond the venue's band, of the penalty of a close by force.
    """
    rule, age_s = policy.no_loyalty, group.now_s - hedge.opened_at_s
    life_s = hedge.instrument.expiry_s - group.now_s
    if not 0.0 < hedge.size < math.inf:
        return f"its size of {hedge.size:g} is no size"
    if not age_s >= rule.min_hold:  # NaN too
        return f"bought {age_s / HOUR_S:.1f} h ago, nothing is sold within {rule.min_hold / HOUR_S:g} h"
    if life_s <= policy.roll.venue_cutoff:
        return f"inside the venue's cutoff of {policy.roll.venue_cutoff / HOUR_S:g} h"
    if not 0.0 < hedge.liquidation_usd < math.inf:  # NaN too
        return "no sale can be quoted; held to expiry"
    if not hedge.liquidation_usd >= rule.min_salvage * hedge.model_usd:
        share = hedge.liquidation_usd / hedge.model_usd if hedge.model_usd > 0.0 else math.nan
        return f"a sale brings {share:.0%} of model value, under {rule.min_salvage:.0%}; held to expiry"
    return ""
