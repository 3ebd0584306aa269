"""NEAR's short perpetual (R27) of one policy at one step, in plain Python that numba compiles as it stands.

The decisions are those of ``bot.engine.perpetual_orders``; ``perpetual_fills`` does the orders as the
simulated venue and the book do. Equal orders and cash are proven by tests/simulation/kernels.
"""

import math
from typing import NamedTuple

from bot.simulation.kernels.bundles import History, Lane
from bot.simulation.kernels.compiling import Floats, Integers, jitable
from bot.simulation.kernels.layout import (
    BOOK_ENTRY_USD,
    CARRY_FLOOR,
    CARRY_SHARE,
    COST,
    DEFINED_RISK,
    DELTA_SHARE,
    GAS_USD,
    HOLD,
    INCOME_USD,
    INITIAL_MARGIN,
    LOT,
    MAINTENANCE_MARGIN,
    MARGIN_USD,
    MAX_MARGIN,
    MAX_NOTIONAL,
    MAX_UNITS,
    MIN_FUNDING,
    MIN_ORDER,
    PAUSE_FIRST,
    PAUSE_LONGEST,
    RATE,
    REFUSALS,
    REFUSED_S,
    RESET_BAND,
    SIZE,
    SPOT_USD,
    TIER,
    TOLERANCE,
    WACC,
)
from bot.simulation.kernels.lp_steps import lp_delta, lp_loss, lp_value
from bot.simulation.kernels.perpetual_fills import (
    accrued_usd,
    add_margin,
    end_position,
    fill_open,
    fill_reduction,
    liquidation_usd,
    spent_usd,
    unrealised_usd,
)
from bot.simulation.kernels.tier_steps import near_release

_ELEVATED = 2
_LOT_SLACK = 1e-9  # as ``plan.round_down``
_MONTH_S = 30 * 86_400.0
_MONTH_YEARS = 30 / 365


class Rooms(NamedTuple):
    """What R9 leaves, USD."""

    notional: float
    margin: float
    capital: float  # of defined risk


@jitable
def step_perpetual(lane: Lane, history: History, t: int) -> None:
    """Book what the venue closed, decide on the lane's perpetual, and do the orders."""
    p, x, k, market = lane.p, lane.x, lane.k, history.market
    mark_usd, funding_usd = market[SPOT_USD, t], accrued_usd(x, market, t)
    end_position(lane, history, funding_usd, t)
    held = -x[SIZE] if x[SIZE] != 0.0 else 0.0
    delta = lp_delta(history.terms, mark_usd)
    may_open = market[RATE, t] >= p[MIN_FUNDING]  # False for NaN: nobody quotes
    target = 0.0
    if may_open or held > 0.0:
        target = wanted_share(p, k) * delta
    is_in_band = held <= delta and abs(target - held) <= p[RESET_BAND] * target
    if target < held and not is_in_band:
        size = reduction(held, held - target, history.terms, quoted=not math.isnan(market[RATE, t]))
        if size > 0.0:
            released = released_usd(x, size, mark_usd, funding_usd)
            fill_reduction(lane, history, size, released, t)
        return
    room, stress_usd = rooms(lane, history, held, t), mark_usd * history.stress[t]
    if held > 0.0:
        added = support(lane, history, stress_usd, room, t)
        if added < 0.0:
            return
        room = Rooms(room.notional, room.margin - added, room.capital - added)
    is_held = history.flags[t] & HOLD != 0
    if is_in_band or not may_open or is_held or is_paused(lane, history.times_s[t]):
        return
    size = opening(lane, history, target, held, stress_usd, room, t)
    if size > 0.0:
        unit_usd = margin_per_unit(history.terms, stress_usd, mark_usd)
        fill_open(lane, history, size, size * unit_usd, t)


@jitable
def wanted_share(p: Floats, k: Integers) -> float:
    """Return the share of the delta that is to be short at the lane's tier (R12)."""
    return float(near_release(p, k) * p[DELTA_SHARE + k[TIER]])


@jitable
def reduction(held: float, units: float, terms: Floats, quoted: bool) -> float:
    """Return what of ``units`` is bought back: whole lots unless all of it goes or nobody quotes."""
    size = min(units, held)
    if quoted and size < held:
        size = round_down(size, terms[LOT])
        size = 0.0 if size < terms[LOT] else size
    return size


@jitable
def round_down(units: float, lot: float) -> float:
    return math.floor(units / lot + _LOT_SLACK) * lot


@jitable
def released_usd(x: Floats, size: float, mark_usd: float, funding_usd: float) -> float:
    """Return the margin that goes with ``size`` units: its part of what losses have left."""
    worth_usd = x[MARGIN_USD]
    worth_usd += min(unrealised_usd(x, mark_usd, funding_usd), 0.0)
    return float(abs(size / x[SIZE]) * max(worth_usd, 0.0))


@jitable
def rooms(lane: Lane, history: History, held: float, t: int) -> Rooms:
    """Return what notional, margin and defined-risk capital is left (R9)."""
    p, x, mark_usd = lane.p, lane.x, history.market[SPOT_USD, t]
    value_usd = lp_value(history.terms, mark_usd)
    margin_usd = max(0.0, p[MAX_MARGIN] * value_usd - x[MARGIN_USD])
    at_risk = 0.0
    size = x[SIZE]
    if size != 0.0:
        lost_usd = -size * (liquidation_usd(x, history, t) - x[BOOK_ENTRY_USD])
        at_risk = min(x[MARGIN_USD], max(lost_usd, 0.0))
    notional_usd = max(0.0, p[MAX_NOTIONAL] * value_usd - held * mark_usd)
    return Rooms(notional_usd, margin_usd, max(0.0, p[DEFINED_RISK] * value_usd - at_risk))


@jitable
def margin_per_unit(terms: Floats, stress_usd: float, mark_usd: float) -> float:
    """Return the margin of one unit with which it is liquidated at ``stress_usd`` and not before."""
    bears = stress_usd * (1.0 + terms[MAINTENANCE_MARGIN]) - mark_usd
    return float(max(bears, terms[INITIAL_MARGIN] * mark_usd))


@jitable
def support(lane: Lane, history: History, stress_usd: float, room: Rooms, t: int) -> float:
    """Keep liquidation beyond the stress price.

    Returns the margin that was added, under 0 where units were bought back.
    """
    market = history.market
    mark_usd, size = market[SPOT_USD, t], lane.x[SIZE]
    liquidated = liquidation_usd(lane.x, history, t)
    wanted, far = stress_usd - mark_usd, liquidated - mark_usd
    if far >= (1.0 - lane.p[RESET_BAND]) * wanted:
        return 0.0
    needs = 1.0 + (0.0 if math.isnan(market[RATE, t]) else history.terms[MAINTENANCE_MARGIN])
    add_usd = -size * (stress_usd - liquidated) * needs
    if add_usd <= min(room.margin, room.capital):
        add_margin(lane, history, add_usd, t)
        return float(add_usd)
    bears = max(far, 0.0) + (needs - 1.0) * liquidated
    keep = bears / (wanted + (needs - 1.0) * stress_usd)
    fill_reduction(lane, history, (1.0 - keep) * -size, 0.0, t)
    return -1.0


@jitable
def is_paused(lane: Lane, now_s: float) -> bool:
    """Return whether the venue refused openings so often that the next one waits."""
    p, count = lane.p, lane.k[REFUSALS]
    if count <= 1:
        return False
    wait_s = min(p[PAUSE_LONGEST], p[PAUSE_FIRST] * 2.0 ** min(count - 2, 16))
    return bool(now_s < lane.x[REFUSED_S] + wait_s)


@jitable
def opening(
    lane: Lane, history: History, target: float, held: float, stress_usd: float, room: Rooms, t: int
) -> float:
    """Return the units to sell within R9, R10 and R11, 0 for none."""
    p, terms, mark_usd, missing = lane.p, history.terms, history.market[SPOT_USD, t], target - held
    unit_usd = margin_per_unit(terms, stress_usd, mark_usd)
    rise_usd = stress_usd - mark_usd
    limit = min(room.notional / mark_usd, room.margin / unit_usd, terms[MAX_UNITS])
    if rise_usd > 0.0:
        limit = min(limit, room.capital / rise_usd)
    if lane.k[TIER] <= _ELEVATED:
        limit = min(limit, carried(lane, history, unit_usd, t))
    if not limit > 0.0:
        return 0.0
    limit = min(limit, missing * guarded(history, mark_usd, missing, held, p[TOLERANCE]))
    if not limit > 0.0:
        return 0.0
    size = round_down(min(limit, missing), terms[LOT])
    least = max(terms[LOT], p[MIN_ORDER] * target)
    return size if size > 0.0 and size >= least else 0.0


@jitable
def carried(lane: Lane, history: History, unit_margin_usd: float, t: int) -> float:
    """Return R11's limit in units at ELEVATED, where it is doubled."""
    p, market = lane.p, history.market
    mark_usd, cost = market[SPOT_USD, t], market[COST, t]
    fees_usd = p[CARRY_SHARE] * market[INCOME_USD, t]
    floor_usd = p[CARRY_FLOOR] * lp_value(history.terms, mark_usd)
    used_usd = max(spent_usd(lane.k, lane.spends, history.times_s[t] - _MONTH_S), 0.0)
    room_usd = max(0.0, 2.0 * max(fees_usd, floor_usd) - used_usd)
    each_usd = mark_usd * (2.0 * cost + max(0.0, -market[RATE, t]) * _MONTH_YEARS)
    each_usd += p[WACC] * unit_margin_usd * _MONTH_YEARS
    left_usd = max(0.0, room_usd - 2.0 * market[GAS_USD, t])
    return left_usd / each_usd if each_usd > 0.0 else math.inf


@jitable
def guarded(history: History, mark_usd: float, units: float, held: float, tolerance: float) -> float:
    """Return the factor on ``units`` that keeps R10 at every point of the grid."""
    factor, terms = 1.0, history.terms
    for move in history.grid:
        there_usd = mark_usd * move
        one = max(mark_usd - there_usd, 0.0)
        room = max(lp_loss(terms, mark_usd, there_usd), 0.0) * (1.0 + tolerance)
        room = room - max(held * (mark_usd - there_usd), 0.0)
        left = max(room + terms[LOT] * one, 0.0)
        if units * one > left:
            factor = min(factor, left / (units * one))
    return factor
