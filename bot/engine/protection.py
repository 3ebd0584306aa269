"""What protection would cost now, by tier: the same sizing and guards as a decision, nothing remembered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.group import Group, group_contracts, group_names, read_group
from bot.engine.layer_rows import planned_wings
from bot.engine.limits import premium_caps
from bot.engine.plan import GroupPlan, Purchase, plan_gains
from bot.engine.planner import allocate
from bot.engine.policy import Policy
from bot.engine.rules.consensus import family_votes
from bot.engine.rules.context import TierContext, readings_for
from bot.engine.rules.hard_triggers import find_holds
from bot.engine.sizing import covered_share
from bot.engine.step import plan_group
from bot.engine.wings import Wing, expiry_values, whole_break_evens, wing_break_even, wings_finding
from bot.errors import NotFoundError
from bot.model.hedge import Instrument, Layer, Shortfall
from bot.model.market import Frame
from bot.model.record import GroupState
from bot.model.tier import Reading, Tier
from bot.model.units import YEAR_DAYS
from bot.signals import read_signals

MOVES = (-0.2, -0.4, -0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionLeg:
    """One option that would be bought. Money is USD for all contracts; premium has the venue's fee in it."""

    layer: Layer
    instrument: Instrument
    contracts: float
    dte: float
    delta: float  # per contract
    premium_usd: float
    fee_usd: float  # part of the premium
    swap_usd: float
    gas_usd: float
    carry_usd_year: float  # all-in cost / days to expiry x 365: what rebuying it all year would cost
    break_even_usd: float  # spot at expiry that pays the cost back; NaN: none does
    because: str
    indicative: bool = False  # at a quote that nobody here can trade on

    @property
    def cost_usd(self) -> float:
        return self.premium_usd + self.swap_usd + self.gas_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLoss:
    """What is lost when the spot moves at once, in USD; the hedge's cost is part of the hedged losses."""

    move: float  # fraction, negative is a fall
    spot_usd: float
    unhedged_usd: float
    hedged_now_usd: float  # the hedge at its model value, implied vol unchanged
    hedged_expiry_usd: float  # the spot stays there until every leg has expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """The price of protecting one group at one tier, all layers' own triggers taken as fired."""

    group: str
    tier: Tier
    spot_usd: float
    value_usd: float
    var_usd: float
    var_method: str
    wanted_share: float  # of VaR
    covered_share: float
    legs: tuple[ProtectionLeg, ...]
    losses: tuple[MoveLoss, ...]
    break_evens_usd: tuple[float, ...]  # of position and hedge together, at expiry
    payoff: str  # which shape it is, with each layer's break-even (R15)
    shortfalls: tuple[Shortfall, ...]
    holds: tuple[str, ...]  # why a bot would open nothing now; prices are shown all the same

    @property
    def indicative(self) -> bool:
        """Whether an option of it is priced at a quote that nobody here can trade on."""
        return any(leg.indicative for leg in self.legs)

    @property
    def premium_usd(self) -> float:
        return sum((leg.premium_usd for leg in self.legs), 0.0)

    @property
    def fee_usd(self) -> float:
        return sum((leg.fee_usd for leg in self.legs), 0.0)

    @property
    def swap_and_gas_usd(self) -> float:
        return sum((leg.swap_usd + leg.gas_usd for leg in self.legs), 0.0)

    @property
    def cost_usd(self) -> float:
        return sum((leg.cost_usd for leg in self.legs), 0.0)

    @property
    def carry_usd_year(self) -> float:
        return sum((leg.carry_usd_year for leg in self.legs), 0.0)

    @property
    def carry_share_year(self) -> float:
        """Return the carry as a fraction of exposure a year; 0 without exposure."""
        return self.carry_usd_year / self.value_usd if self.value_usd > 0.0 else 0.0


def price_protection(policy: Policy, frame: Frame, *, group: str, tier: Tier) -> Protection:
    """Return what ``tier`` would buy for ``group`` on this frame, within R9's caps and R10.

    Quotes that are only indicative count here. Raises NotFoundError when the frame has no such group.
    """
    if group not in group_names(frame):
        known = ", ".join(group_names(frame)) or "none"
        raise NotFoundError(f"no hedge group {group!r} to price; the frame has: {known}")
    view = read_group(policy, frame, group)
    readings = tuple(read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals))
    plan, _, _ = plan_group(
        policy,
        frame,
        view,
        _context(policy, frame, view, tier, readings),
        readings=readings,
        holds=(),
        force_layers=True,
        allow_indicative=True,
    )
    exposure_usd = sum(read_group(policy, frame, name).value_usd for name in group_names(frame))
    allocate(policy, [plan], premium_caps(policy, frame, exposure_usd=exposure_usd))
    wings = planned_wings(plan)
    evens = whole_break_evens(view, wings)
    return Protection(
        group=group,
        tier=tier,
        spot_usd=view.spot_usd,
        value_usd=view.value_usd,
        var_usd=view.var_usd,
        var_method=view.var_method,
        wanted_share=plan.sizing.share,
        covered_share=covered_share(view, plan_gains(plan)),
        legs=tuple(_leg(view, item) for item in plan.purchases),
        losses=tuple(_loss(plan, wings, move) for move in MOVES),
        break_evens_usd=evens,
        payoff=wings_finding(policy, view, wings, evens).because,
        shortfalls=tuple(plan.shortfalls),
        holds=find_holds(policy, frame),
    )


def _context(
    policy: Policy, frame: Frame, group: Group, tier: Tier, everything: Sequence[Reading]
) -> TierContext:
    readings = readings_for(policy, frame, group.name, everything)
    state = GroupState(tier=tier)
    return TierContext(
        group=group.name,
        underlying=group.underlying,
        stable=group.stable,
        state=state,
        frame=frame,
        readings=readings,
        votes=family_votes(policy, state, readings),
    )


def _leg(group: Group, item: Purchase) -> ProtectionLeg:
    quote, share, cost_usd = item.quote, item.contracts / item.quote.size, item.expected_usd
    dte = quote.instrument.dte(group.now_s)
    wing = Wing(layer=item.layer, instrument=quote.instrument, contracts=item.contracts, cost_usd=cost_usd)
    return ProtectionLeg(
        layer=item.layer,
        instrument=quote.instrument,
        contracts=item.contracts,
        dte=dte,
        delta=quote.delta,
        premium_usd=share * quote.premium_usd,
        fee_usd=share * quote.fee_usd,
        swap_usd=share * quote.swap_usd,
        gas_usd=quote.gas_usd,
        carry_usd_year=cost_usd / dte * YEAR_DAYS,
        break_even_usd=wing_break_even(wing),
        because=item.because,
        indicative=quote.indicative,
    )


def _loss(plan: GroupPlan, wings: tuple[Wing, ...], move: float) -> MoveLoss:
    group = plan.group
    spots = np.array([group.spot_usd * (1.0 + move)])
    unhedged_usd = float(group.loss_at(spots)[0])
    paid_usd = sum((wing.cost_usd for wing in wings), 0.0)
    ivs = {hedge.instrument: hedge.iv for hedge in plan.review.kept}
    ivs |= {item.quote.instrument: item.quote.iv for item in plan.purchases}
    contracts = group_contracts(group, [(wing.instrument, ivs[wing.instrument]) for wing in wings])
    sizes = np.array([wing.contracts for wing in wings], dtype=np.float64)
    worth_usd = float(sizes @ (contracts.gains_at(spots, 0.0)[:, 0] + contracts.marks_usd))
    return MoveLoss(
        move=move,
        spot_usd=float(spots[0]),
        unhedged_usd=unhedged_usd,
        hedged_now_usd=unhedged_usd - worth_usd + paid_usd,
        hedged_expiry_usd=unhedged_usd - float(expiry_values(group, wings, spots)[0]) + paid_usd,
    )
