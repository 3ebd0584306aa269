"""What the decisions of a run say: tiers, orders, what each layer held, what was wanted at the end."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.model.hedge import Layer, LayerTarget, LegOutcome, Shortfall, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import GroupDecision, StepRecord
from bot.model.tier import Quality, Tier
from bot.simulation.report.beside_orders import BesideOrder
from bot.simulation.report.money import FILLED
from bot.simulation.wording import when

NOTABLE_SHARE = 0.01  # a layer that misses less than this of its target is not worth a word
ENOUGH = "no more is needed: all layers together cover the wanted share of VaR"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerView:
    """One layer at the last decision."""

    layer: Layer
    is_open: bool
    wanted_contracts: float
    held_contracts: float
    because: str
    shortfall: str  # reason, "" when there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How many contracts a layer held from one time to another."""

    layer: Layer
    from_s: float
    to_s: float
    contracts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualHolding:
    """How many units of the underlying perpetuals held from one time to another, short < 0."""

    from_s: float
    to_s: float
    units: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the decisions of a run say."""

    tier_by_step: tuple[Tier, ...]
    orders: tuple[LegOutcome, ...]
    perpetuals: tuple[PerpetualOutcome, ...]
    holdings: tuple[Holding, ...]
    beside: tuple[BesideOrder, ...]  # orders that are no hedges
    layers: tuple[LayerView, ...]
    state: str  # the last decision, in one sentence
    limits: Mapping[str, float]  # R9 figures, USD
    absent: tuple[str, ...]  # signals without a source
    warming: tuple[str, ...]
    policy_hash: str
    perpetual_holdings: tuple[PerpetualHolding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Every order that a step tells of or the journal has closed, each once, oldest first."""

    legs: tuple[LegOutcome, ...]
    perpetuals: tuple[PerpetualOutcome, ...]
    beside: tuple[BesideOrder, ...] = ()


def holdings_of(outcomes: Sequence[LegOutcome], *, end_s: float) -> tuple[Holding, ...]:
    """Return for each layer the stretches of constant holding, from its orders."""
    holdings: list[Holding] = []
    for layer in Layer:
        held, since_s = 0.0, math.nan
        for outcome in (item for item in outcomes if item.leg.layer is layer and item.status in FILLED):
            if held > 1e-9 and outcome.at_s > since_s:
                holdings.append(Holding(layer=layer, from_s=since_s, to_s=outcome.at_s, contracts=held))
            held += outcome.filled_size if outcome.leg.side is Side.BUY else -outcome.filled_size
            since_s = outcome.at_s
        if held > 1e-9 and end_s > since_s:
            holdings.append(Holding(layer=layer, from_s=since_s, to_s=end_s, contracts=held))
    return tuple(holdings)


def perpetual_holdings_of(
    outcomes: Sequence[PerpetualOutcome], *, end_s: float
) -> tuple[PerpetualHolding, ...]:
    """Return the stretches of constant size of all perpetuals together, from their orders."""
    holdings: list[PerpetualHolding] = []
    held, since_s = 0.0, math.nan
    for outcome in (item for item in outcomes if item.filled_size):
        if abs(held) > 1e-9 and outcome.at_s > since_s:
            holdings.append(PerpetualHolding(from_s=since_s, to_s=outcome.at_s, units=held))
        held, since_s = held + outcome.filled_size, outcome.at_s
    if abs(held) > 1e-9 and end_s > since_s:
        holdings.append(PerpetualHolding(from_s=since_s, to_s=end_s, units=held))
    return tuple(holdings)


def decided_of(steps: Sequence[StepRecord], told: Told) -> Decided:
    """Read tiers, layers, limits and data quality from the steps, the newest of each."""
    last = steps[-1].decision
    readings = next((item.decision.readings for item in reversed(steps) if item.decision.readings), ())
    tiers = [max((group.tier for group in item.decision.groups), default=Tier.CALM) for item in steps]
    return Decided(
        tier_by_step=tuple(tiers),
        orders=told.legs,
        perpetuals=told.perpetuals,
        holdings=holdings_of(told.legs, end_s=last.now_s),
        beside=told.beside,
        layers=tuple(sorted(layers_of(last.groups), key=lambda item: list(Layer).index(item.layer))),
        state=". ".join(f"{group.tier.name}: {group.because}" for group in last.groups),
        limits=dict(last.limits),
        absent=tuple(
            f"{item.signal} {item.name}: {item.because}"
            for item in readings
            if item.quality is Quality.ABSENT
        ),
        warming=tuple(
            f"{item.signal} {item.name} ({item.subject}) until {when(item.warm_at_s)}"
            for item in readings
            if item.quality is Quality.WARMING
        ),
        policy_hash=last.policy_hash,
        perpetual_holdings=perpetual_holdings_of(told.perpetuals, end_s=last.now_s),
    )


def layers_of(groups: Sequence[GroupDecision]) -> Iterator[LayerView]:
    """Yield each layer of each group with its shortfall."""
    for group in groups:
        short = {item.layer: item for item in group.shortfalls}
        for target in group.targets:
            found = short.get(target.layer)
            if found is not None and found.missing < NOTABLE_SHARE:
                found = None
            yield LayerView(
                layer=target.layer,
                is_open=target.open,
                wanted_contracts=target.wanted_contracts,
                held_contracts=target.held_contracts,
                because=ENOUGH if found is None and is_enough(group, target) else target.because,
                shortfall=_shortfall_line(found) if found else "",
            )


def is_enough(group: GroupDecision, target: LayerTarget) -> bool:
    """Return whether a layer holds less than its own target while the group as a whole is covered."""
    lacks = target.open and target.held_contracts < (1.0 - NOTABLE_SHARE) * target.wanted_contracts
    return lacks and group.covered_share >= group.wanted_share


def _shortfall_line(item: Shortfall) -> str:
    cap = f" (cap: {item.cap}" if item.cap else ""
    if cap:
        cap += f", frees {when(item.frees_at_s)})" if math.isfinite(item.frees_at_s) else ")"
    return f"{100.0 * item.missing:.0f} % missing: {item.reason}{cap}"
