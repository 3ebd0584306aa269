"""What a report says, whatever the mode: made from journal steps (demo, live) or from a backtest."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bot.errors import NotFoundError
from bot.model.exposure import LpShape
from bot.model.hedge import OPEN_STATUSES, Layer, LayerTarget, LegOutcome, Shortfall, Side
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import GroupDecision, StepRecord
from bot.model.tier import Quality, Tier
from bot.model.units import HOUR_S
from bot.pipeline.recorded_orders import JournalOrders
from bot.ports import VenuePosition
from bot.simulation.beside_orders import BesideOrder, beside_orders
from bot.simulation.metrics import max_drawdown
from bot.simulation.payoff_view import Payoff, payoff_of
from bot.simulation.report_money import FILLED, Money, money_of, perpetual_money_of
from bot.simulation.results import (
    ALVH,
    UNHEDGED,
    BacktestResult,
    StrategyResult,
    TierChange,
    cash_usd,
    tier_changes,
)
from bot.simulation.wording import percent, usd, when

HOLE_S = 36 * HOUR_S  # no drawdown runs across a longer hole
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
class Compared:
    """One row of the comparison."""

    name: str
    about: str
    final_value_usd: float
    max_drawdown: float
    cost_usd: float


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportData:
    """Everything the page and the terminal show. Arrays have one value per step; NaN is unknown."""

    title: str
    mode: str
    underlying: str
    times_s: FloatArray
    spot_usd: FloatArray
    unhedged_usd: FloatArray
    hedged_usd: FloatArray
    tiers: tuple[TierChange, ...]
    decided: Decided
    money: Money
    payoff: Payoff | None = None
    compared: tuple[Compared, ...] = ()
    paths: Mapping[str, FloatArray] = field(default_factory=dict)  # strategy -> value by step
    assumptions: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def unhedged_drawdown(self) -> float:
        return max_drawdown(self.unhedged_usd, times_s=self.times_s, hole_s=HOLE_S)

    @property
    def hedged_drawdown(self) -> float:
        return max_drawdown(self.hedged_usd, times_s=self.times_s, hole_s=HOLE_S)

    @property
    def highest_tier(self) -> Tier:
        return max(self.decided.tier_by_step, default=Tier.CALM)

    @property
    def tier_words(self) -> str:
        """How high it went and where it stands: ``CALM to SEVERE, 3 changes, SEVERE at the end``."""
        steps = self.decided.tier_by_step
        if not steps:
            return "no decision was taken"
        changes = len(self.tiers) - len({item.group for item in self.tiers})
        if not changes:
            return f"{steps[-1].name} throughout"
        counted = f"{changes} change{'' if changes == 1 else 's'}"
        return f"{counted}, {max(steps).name} at the highest, {steps[-1].name} at the end"

    @property
    def headline(self) -> str:
        """What happened, in words and one number."""
        before, after = self.unhedged_drawdown, self.hedged_drawdown
        if not (math.isfinite(before) and math.isfinite(after)):
            return "No value is known in this range"
        unhedged, hedged = percent(before), percent(after)
        if before < 0.01:
            return f"No fall to speak of: {unhedged} at worst"
        if not (self.decided.orders or self.decided.perpetuals):
            return f"No hedge was placed; the fall was {unhedged}"
        if unhedged == hedged:
            return f"Hedge left the fall at {unhedged}"
        return f"Hedge {'cut' if after < before else 'deepened'} the fall from {unhedged} to {hedged}"


def from_steps(
    steps: Sequence[StepRecord],
    *,
    title: str,
    orders: JournalOrders | None = None,
    positions: Sequence[VenuePosition] | None = None,
    shapes: Sequence[LpShape] = (),
    assumptions: Sequence[str] = (),
    sources: Sequence[str] = (),
    gaps: Sequence[str] = (),
) -> ReportData:
    """Return the report of a run from its journal, oldest step first. Raises NotFoundError without a step.

    ``orders`` are those of the journal, which has some that no step tells: made by hand while no bot ran.
    A record's marks and cash are both of before its own orders, so that every step stands alone.
    ``positions`` are the hedges held after the last orders, marked at the last step, and ``shapes`` the
    protected positions, for the payoff. Without them the last step is shown as before its orders.
    """
    if not steps:
        raise NotFoundError("there is no step in the journal to report on; run the bot first")
    times_s = np.array([item.decision.now_s for item in steps])
    unhedged = np.array([sum(item.exposure_value_usd.values()) for item in steps])
    told = _told(steps, orders)
    underlying, spots = _spots(steps)
    return ReportData(
        title=title,
        mode=steps[-1].mode,
        underlying=underlying,
        times_s=times_s,
        spot_usd=spots,
        unhedged_usd=unhedged,
        hedged_usd=_hedged(steps, unhedged, positions),
        tiers=tuple(tier_changes(steps)),
        payoff=payoff_of(shapes, float(spots[-1]), positions or (), now_s=float(times_s[-1])),
        money=_money(steps[-1], told, positions),
        assumptions=tuple(assumptions),
        sources=tuple(sources),
        gaps=tuple(gaps),
        decided=decided_of(steps, told),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """Every order that a step tells of or the journal has closed, each once, oldest first."""

    legs: tuple[LegOutcome, ...]
    perpetuals: tuple[PerpetualOutcome, ...]
    beside: tuple[BesideOrder, ...] = ()


def _told(steps: Sequence[StepRecord], orders: JournalOrders | None) -> _Told:
    legs = tuple(outcome for item in steps for outcome in item.outcomes)
    traded = tuple(outcome for item in steps for outcome in item.perpetuals)
    if orders is None:
        accounts = [item for step in steps for item in step.account_orders]
        covers = [item for step in steps for item in step.covers]
        return _Told(legs=legs, perpetuals=traded, beside=beside_orders(accounts, covers))
    known = {item.leg.key for item in legs if item.status not in OPEN_STATUSES}
    by_hand = [item for item in orders.outcomes if item.leg.key not in known]
    return _Told(
        legs=tuple(sorted((*legs, *by_hand), key=lambda item: item.at_s)),
        perpetuals=orders.perpetual_outcomes,
        beside=beside_orders(orders.account_outcomes, orders.cover_outcomes),
    )


def _hedged(
    steps: Sequence[StepRecord], unhedged: FloatArray, positions: Sequence[VenuePosition] | None
) -> FloatArray:
    """Return what the hedged book was worth at each step; with ``positions`` the last is after its legs."""
    marks = np.array([item.hedge_value_usd for item in steps])
    hedged: FloatArray = unhedged + marks + np.array([item.cash_flow_usd for item in steps])
    if positions is not None:
        after_usd = steps[-1].cash_flow_usd + sum(cash_usd(item) for item in _own_outcomes(steps[-1]))
        hedged[-1] = unhedged[-1] + after_usd + _mark(positions) + steps[-1].perpetual_value_usd
    return hedged


def _money(last: StepRecord, told: _Told, positions: Sequence[VenuePosition] | None) -> Money:
    """Return what hedging cost and is worth: after the last legs, or before them without ``positions``.

    What the last step did with anything else is told, and not in the sums: its marks are of before.
    """
    now_s, own = last.decision.now_s, {item.leg.key for item in _own_outcomes(last)}
    traded = [item for item in told.perpetuals if _is_before(item, now_s)]
    others = [item for item in told.beside if _is_before(item, now_s)]
    perpetual = perpetual_money_of(traded, open_usd=last.perpetual_value_usd)
    if positions is not None:
        return money_of(told.legs, others, mark_usd=_mark(positions), perpetual=perpetual)
    legs = [
        item for item in told.legs if item.leg.key not in own and (item.at_s < now_s or item in last.outcomes)
    ]
    mark_usd = float(last.hedge_value_usd) - last.perpetual_value_usd
    return money_of(legs, others, mark_usd=mark_usd, perpetual=perpetual)


def _is_before(item: PerpetualOutcome | BesideOrder, last_s: float) -> bool:
    """Say whether an order was booked before the marks of the last step were taken."""
    return item.at_s < last_s or (item.at_s == last_s and item.reconciled)


def from_backtest(result: BacktestResult) -> ReportData:
    """Return the report of a backtest."""
    hedged = result.strategies[ALVH]
    shape = result.spec.open_at(float(result.spot_usd[0])).shape
    value = f"{usd(result.spec.value_usd)} in {result.spec.pool}"
    told = _Told(
        legs=hedged.outcomes,
        perpetuals=tuple(outcome for item in result.records for outcome in item.perpetuals),
    )
    return ReportData(
        title=f"Backtest: {value}",
        mode="backtest",
        underlying=result.spec.underlying,
        times_s=result.times_s,
        spot_usd=result.spot_usd,
        unhedged_usd=result.strategies[UNHEDGED].value_usd,
        hedged_usd=hedged.value_usd,
        tiers=result.tiers,
        payoff=payoff_of(
            (shape,), float(result.spot_usd[-1]), result.final_positions, now_s=float(result.times_s[-1])
        ),
        money=_backtest_money(hedged, told),
        compared=tuple(
            Compared(
                name=item.name,
                about=item.about,
                final_value_usd=item.final_value_usd,
                max_drawdown=item.max_drawdown,
                cost_usd=item.cost_usd,
            )
            for item in result.strategies.values()
        ),
        paths={name: item.value_usd for name, item in result.strategies.items()},
        assumptions=result.assumptions,
        missing=result.missing,
        gaps=tuple(str(item) for item in result.gaps),
        sources=tuple(_source_line(item.file, item.what, item.note, item.bad_rows) for item in result.found),
        decided=decided_of(result.records, told),
    )


def _backtest_money(hedged: StrategyResult, told: _Told) -> Money:
    """Return the money at the last hour with a known mark."""
    known = np.flatnonzero(np.isfinite(hedged.hedge_usd))
    last = int(known[-1]) if known.size else 0
    open_usd = float(hedged.perpetual_usd[last])
    perpetual = perpetual_money_of(told.perpetuals, open_usd=open_usd)
    return money_of(told.legs, mark_usd=float(hedged.hedge_usd[last]) - open_usd, perpetual=perpetual)


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


def decided_of(steps: Sequence[StepRecord], told: _Told) -> Decided:
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


def _own_outcomes(record: StepRecord) -> tuple[LegOutcome, ...]:
    """Return the outcomes of a step's own orders, the last of its outcomes; reconciled ones stand before."""
    own = {leg.key for leg in record.decision.plan.legs}
    return tuple(item for item in record.outcomes if item.leg.key in own)


def _spots(steps: Sequence[StepRecord]) -> tuple[str, FloatArray]:
    """Return the first underlying by name, and its price by step."""
    names = sorted({name for item in steps for name in item.spot_usd})
    name = names[0] if names else ""
    return name, np.array([item.spot_usd.get(name, math.nan) for item in steps])


def _mark(positions: Sequence[VenuePosition]) -> float:
    return sum(
        item.liquidation_usd if math.isfinite(item.liquidation_usd) else item.model_usd for item in positions
    )


def _source_line(file: str, what: str, note: str, bad_rows: Sequence[str]) -> str:
    parts = [f"{file}: {what}", *([note] if note else []), *bad_rows]
    return "; ".join(parts)
