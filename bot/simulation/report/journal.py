"""The report of a run that a journal tells: demo, dry run, live, monitor."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.errors import NotFoundError
from bot.model.exposure import LpShape
from bot.model.hedge import OPEN_STATUSES, LegOutcome
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.pipeline.recorded_orders import JournalOrders
from bot.ports import VenuePosition
from bot.quant import lp
from bot.simulation.attribution import (
    Attribution,
    HedgeParts,
    Held,
    Marks,
    PositionParts,
    hedge_parts,
    position_parts,
)
from bot.simulation.report.beside_orders import BesideOrder, beside_orders
from bot.simulation.report.data import ReportData, units_held
from bot.simulation.report.decided import Told, decided_of
from bot.simulation.report.money import Money, money_of, perpetual_money_of
from bot.simulation.report.payoff_view import Payoff, payoff_of
from bot.simulation.results import ALVH, UNHEDGED, cash_usd, tier_changes

_SAME_POSITION = 0.01  # of its value: fees that were not collected at the first step are more than nothing


def from_steps(
    steps: Sequence[StepRecord],
    *,
    title: str,
    orders: JournalOrders | None = None,
    positions: Sequence[VenuePosition] | None = None,
    shapes: Sequence[LpShape] = (),
    policy: Mapping[str, str] | None = None,
) -> ReportData:
    """Return the report of a run from its journal, oldest step first. Raises NotFoundError without a step.

    ``orders`` are those of the journal, which has some that no step tells: made by hand while no bot ran.
    A record's marks and cash are both of before its own orders, so that every step stands alone.
    ``positions`` are the hedges held after the last orders, marked at the last step, and ``shapes`` the
    protected positions, for the payoff and the attribution. Without them the last step is shown as before
    its orders. ``policy`` is key to value as written.
    """
    if not steps:
        raise NotFoundError("there is no step in the journal to report on; run the bot first")
    told, curves = _told(steps, orders), _curves(steps, positions)
    counted = _counted(steps[-1], told, positions)
    return ReportData(
        title=title,
        mode=steps[-1].mode,
        underlying=curves.underlying,
        times_s=curves.times_s,
        spot_usd=curves.spot_usd,
        unhedged_usd=curves.unhedged_usd,
        hedged_usd=curves.hedged_usd,
        tiers=tuple(tier_changes(steps)),
        payoff=_payoff(curves, shapes, positions or (), told),
        money=_money(counted),
        decided=decided_of(steps, told),
        attributions=_attributions(counted, shapes, curves),
        policy=dict(policy or {}),
        ends_after_orders=positions is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Curves:
    """What was seen at each step."""

    underlying: str
    times_s: FloatArray
    spot_usd: FloatArray
    unhedged_usd: FloatArray
    hedged_usd: FloatArray


def _curves(steps: Sequence[StepRecord], positions: Sequence[VenuePosition] | None) -> _Curves:
    underlying, spot_usd = _spots(steps)
    unhedged_usd = np.array([sum(item.exposure_value_usd.values()) for item in steps])
    return _Curves(
        underlying=underlying,
        times_s=np.array([item.decision.now_s for item in steps]),
        spot_usd=spot_usd,
        unhedged_usd=unhedged_usd,
        hedged_usd=_hedged(steps, unhedged_usd, positions),
    )


def _payoff(
    curves: _Curves, shapes: Sequence[LpShape], positions: Sequence[VenuePosition], told: Told
) -> Payoff | None:
    return payoff_of(
        shapes,
        float(curves.spot_usd[-1]),
        positions,
        now_s=float(curves.times_s[-1]),
        perpetual_units=units_held(told.perpetuals),
    )


def _told(steps: Sequence[StepRecord], orders: JournalOrders | None) -> Told:
    legs = tuple(outcome for item in steps for outcome in item.outcomes)
    traded = tuple(outcome for item in steps for outcome in item.perpetuals)
    if orders is None:
        accounts = [item for step in steps for item in step.account_orders]
        covers = [item for step in steps for item in step.covers]
        return Told(legs=legs, perpetuals=traded, beside=beside_orders(accounts, covers))
    known = {item.leg.key for item in legs if item.status not in OPEN_STATUSES}
    by_hand = [item for item in orders.outcomes if item.leg.key not in known]
    return Told(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """The orders that the last step's marks and cash have in them, and those marks."""

    legs: tuple[LegOutcome, ...]
    perpetuals: tuple[PerpetualOutcome, ...]
    beside: tuple[BesideOrder, ...]
    options_usd: float
    perpetual_usd: float


def _counted(last: StepRecord, told: Told, positions: Sequence[VenuePosition] | None) -> _Counted:
    """Return what counts after the last legs, or before them without ``positions``.

    What the last step did with anything else is told, and not in the sums: its marks are of before.
    """
    now_s, own = last.decision.now_s, {item.leg.key for item in _own_outcomes(last)}
    legs = told.legs
    if positions is None:
        legs = tuple(
            item for item in legs if item.leg.key not in own and (item.at_s < now_s or item in last.outcomes)
        )
    before_usd = float(last.hedge_value_usd) - last.perpetual_value_usd
    return _Counted(
        legs=legs,
        perpetuals=tuple(item for item in told.perpetuals if _is_before(item, now_s)),
        beside=tuple(item for item in told.beside if _is_before(item, now_s)),
        options_usd=before_usd if positions is None else _mark(positions),
        perpetual_usd=last.perpetual_value_usd,
    )


def _money(counted: _Counted) -> Money:
    perpetual = perpetual_money_of(counted.perpetuals, open_usd=counted.perpetual_usd)
    return money_of(counted.legs, counted.beside, mark_usd=counted.options_usd, perpetual=perpetual)


def _attributions(counted: _Counted, shapes: Sequence[LpShape], curves: _Curves) -> dict[str, Attribution]:
    """Split the gain of the position alone and with its hedges; of journals no benchmark is known."""
    unhedged, spots = curves.unhedged_usd, curves.spot_usd
    ends_usd = (float(unhedged[0]), float(unhedged[-1]))
    spots_usd = (float(spots[0]), float(spots[-1]))
    position = PositionParts(whole_usd=ends_usd[1] - ends_usd[0])
    if _is_unchanged(shapes, spots_usd[0], ends_usd[0]):
        held = Held(shapes=tuple(shapes), first_usd=spots_usd[0], last_usd=spots_usd[1])
        position = position_parts([held], gained_usd=ends_usd[1] - ends_usd[0])
    hedge = hedge_parts(
        counted.legs,
        counted.perpetuals,
        counted.beside,
        times_s=curves.times_s,
        spots_usd=spots,
        marks=Marks(options_usd=counted.options_usd, perpetual_usd=counted.perpetual_usd),
    )
    total_usd = float(curves.hedged_usd[-1]) - ends_usd[0]
    return {
        ALVH: Attribution(total_usd=total_usd, position=position, hedge=hedge),
        UNHEDGED: Attribution(total_usd=ends_usd[1] - ends_usd[0], position=position, hedge=HedgeParts()),
    }


def _is_unchanged(shapes: Sequence[LpShape], spot_usd: float, value_usd: float) -> bool:
    """Say whether today's positions are those of the first step: only then their curve tells their gain."""
    worth_usd = sum(float(lp.value(item, spot_usd)) for item in shapes)
    return bool(shapes) and abs(worth_usd - value_usd) <= _SAME_POSITION * abs(value_usd)


def _is_before(item: PerpetualOutcome | BesideOrder, last_s: float) -> bool:
    """Say whether an order was booked before the marks of the last step were taken."""
    return item.at_s < last_s or (item.at_s == last_s and item.reconciled)


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
