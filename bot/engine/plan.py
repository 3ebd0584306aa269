"""What one hedge group wants, buys and misses in one decision, while it is worked out.

Leg keys are ``<plan key>-<group>-<layer>-<n>`` with the group's "/" written as "."; the plan key is the start
of the policy's hash and the frame's time in milliseconds, so the same decision always names the same legs.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from bot.engine.choose import Slot
from bot.engine.cost_guard import CarryCap
from bot.engine.group import Group, path_gains
from bot.engine.layers import LayerPlan
from bot.engine.perpetual import NearHedge
from bot.engine.policy import Policy
from bot.engine.review import Review
from bot.engine.sizing import Sizing, Target, held_path_gains
from bot.model.hedge import HeldHedge, Layer, Quote, Shortfall
from bot.model.market import FloatArray, Frame
from bot.model.tier import RuleFinding

OVERLAY, PERPETUAL = "OVERLAY", "PERPETUAL"  # stand for the layer in keys of orders beside the layers
PAUSED = "paused:"  # before a key in ``Frame.open_legs``: openings wait, the rest goes on
_LOT_SLACK = 1e-9  # of a lot: rounding noise does not cost a whole lot
_NEGLIGIBLE = 1e-6  # of a target: a smaller gap is rounding, not a shortfall


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Want:
    """What one slot lacks after R18's band and R8's ceiling, before R10 and all caps."""

    group: Group
    target: Target
    quote: Quote  # that the slot was sized on
    units: float  # of the underlying

    @property
    def slot(self) -> Slot:
        return self.target.slot

    @property
    def layer(self) -> Layer:
        return self.target.slot.layer

    @property
    def contracts(self) -> float:
        return self.units / self.quote.instrument.multiplier

    def least_units(self, policy: Policy) -> float:
        """Return what a purchase must come to, over all its orders, to be made at all."""
        return policy.orders.min_order * self.target.units


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Purchase:
    """Contracts of one quote, rounded to what the venue sells."""

    want: Want
    quote: Quote
    contracts: float
    because: str

    @property
    def layer(self) -> Layer:
        return self.want.layer

    @property
    def units(self) -> float:
        return self.contracts * self.quote.instrument.multiplier

    @property
    def expected_usd(self) -> float:
        """Return the all-in cost at the quote."""
        return self.contracts * self.quote.unit_cost_usd + self.quote.gas_usd

    def cost_usd(self, policy: Policy) -> float:
        """Return the most that it may cost: the leg's limit, swap and gas."""
        return self.contracts * most_unit_usd(policy, self.quote) + self.quote.gas_reserve_usd

    def shrunk(self, scale: float) -> "Purchase":
        """Return it at ``scale`` of its size in whole lots, but not under the venue's least."""
        size = round_down(scale * self.contracts, self.quote.lot)
        return replace(self, contracts=size) if size > 0.0 and size >= self.quote.min_size else self

    def path_gains(self) -> FloatArray:
        """Return its gain on every path of its group, USD."""
        if self.quote is self.want.quote:
            return self.units * self.want.target.unit_gains
        (gains,) = path_gains(self.want.group, [(self.quote.instrument, self.quote.iv)])
        return np.asarray(self.contracts * gains)


@dataclass(slots=True)
class GroupPlan:
    """What one group wants and misses; filled in order by the planner."""

    group: Group
    sizing: Sizing
    review: Review
    blocked: frozenset[Layer]  # layers with a leg whose outcome is not known
    layers: tuple[LayerPlan, ...]
    near: NearHedge  # whether a perpetual serves NEAR (R27)
    conversions: tuple[Quote, ...] = ()  # options in two parts that were offered (R27)
    carry: CarryCap | None = None  # R11's; None: no cap
    guard: float = 1.0  # R10's factor on the wants if all were bought on the quotes they were sized on
    guarded: float = 1.0  # and on those that are bought
    wants: list[Want] = field(default_factory=list)
    bought: dict[Slot, tuple[Purchase, ...]] = field(default_factory=dict)
    shortfalls: list[Shortfall] = field(default_factory=list)
    findings: list[RuleFinding] = field(default_factory=list)

    @property
    def standing(self) -> tuple[HeldHedge, ...]:
        """Return every held hedge that is alive: R10 counts one that the plan exercises until it is gone."""
        exercised = (item for item in self.review.settles if item.instrument.expiry_s > self.group.now_s)
        return (*self.review.kept, *exercised)

    @property
    def leaving(self) -> frozenset[str]:
        """Return the held hedges that the plan sells, in whole or in part, or settles: either may fail."""
        sold = (sale.hedge for sale in self.review.sales)
        return frozenset(hedge.id for hedge in (*sold, *self.review.settles))

    @property
    def purchases(self) -> tuple[Purchase, ...]:
        return tuple(item for items in self.bought.values() for item in items)

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

    def short_of(self, layer: Layer, missing: float, reason: str) -> None:
        """Report a part of a layer, a fraction, whose contracts are not known."""
        self.shortfalls.append(
            Shortfall(layer=layer, missing=missing, missing_contracts=math.nan, reason=reason)
        )


def most_unit_usd(policy: Policy, quote: Quote) -> float:
    """Return the most that one contract may cost: premium with slippage and the swap, gas left out."""
    return (quote.premium_usd * (1.0 + policy.orders.max_slippage) + quote.swap_usd) / quote.size


def plan_key(policy: Policy, now_s: float) -> str:
    return f"{policy.hash[:12]}.{round(now_s * 1000)}"


def leg_layer(key: str) -> tuple[str, str] | None:
    """Return (group, layer) of a leg key; None when it is not one of ours."""
    parts = key.rsplit("-", 3)
    return (parts[1].replace(".", "/"), parts[2]) if len(parts) == 4 and parts[2] in set(Layer) else None


def blocked_layers(frame: Frame, group: str) -> frozenset[Layer]:
    """Return the layers with an open leg; a key that cannot be read blocks every layer."""
    beside = (f"-{OVERLAY}-", f"-{PERPETUAL}-")  # they wait for themselves alone
    named = [leg_layer(key) for key in frame.open_legs if not any(word in key for word in beside)]
    if any(item is None for item in named):
        return frozenset(Layer)
    return frozenset(Layer(item[1]) for item in named if item and item[0] == group)


def round_down(contracts: float, lot: float) -> float:
    """Return the largest whole number of lots <= ``contracts``; unchanged when the venue has no lot."""
    lots = contracts / lot if lot > 0.0 else math.inf
    return math.floor(lots + _LOT_SLACK) * lot if math.isfinite(lots) else contracts


def plan_gains(plan: GroupPlan) -> FloatArray:
    """Return the gain of all that is held and about to be bought, on every path."""
    gains = held_path_gains(plan.group, plan.review.staying(expiring=True))
    for item in plan.purchases:
        gains = gains + item.path_gains()
    return gains
