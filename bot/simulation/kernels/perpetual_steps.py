"""NEAR's short perpetual (R27) of one policy at one step, in plain Python that numba compiles as it stands.

The decisions are those of ``bot.engine.perpetual_orders``; ``perpetual_fills`` does the orders as the
simulated venue and the book do. Equal orders and cash are proven by tests/simulation/kernels.
"""

import math

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


@jitable
def step_perpetual(
    p: Floats,
    x: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    terms: Floats,
    grid: Floats,
    stress: float,
    spends: Floats,
    log: Floats,
    logged: Integers,
    flags: int,
    now_s: float,
    t: int,
) -> None:
    """Book what the venue closed, decide on the lane's perpetual, and do the orders."""
    mark_usd, funding_usd = market[SPOT_USD, t], accrued_usd(x, lanes, lane, market, t)
    end_position(x, k, lanes, lane, market, terms, spends, log, logged, funding_usd, now_s, t)
    held = -x[SIZE * lanes + lane] if x[SIZE * lanes + lane] != 0.0 else 0.0
    delta = lp_delta(terms, mark_usd)
    may_open = market[RATE, t] >= p[MIN_FUNDING * lanes + lane]  # False for NaN: nobody quotes
    target = 0.0
    if may_open or held > 0.0:
        target = wanted_share(p, k, lanes, lane) * delta
    band = p[RESET_BAND * lanes + lane]
    is_in_band = held <= delta and abs(target - held) <= band * target
    if target < held and not is_in_band:
        size = reduction(held, held - target, terms, quoted=not math.isnan(market[RATE, t]))
        if size > 0.0:
            released = released_usd(x, lanes, lane, size, mark_usd, funding_usd)
            fill_reduction(p, x, k, lanes, lane, market, terms, spends, log, logged, size, released, now_s, t)
        return
    value_usd = lp_value(terms, mark_usd)
    room_margin, room_capital = rooms(p, x, lanes, lane, market, terms, value_usd, t)
    room_notional = max(0.0, p[MAX_NOTIONAL * lanes + lane] * value_usd - held * mark_usd)
    before = held
    stress_usd = mark_usd * stress
    if held > 0.0:
        added = support(
            p,
            x,
            k,
            lanes,
            lane,
            market,
            terms,
            spends,
            log,
            logged,
            stress_usd,
            room_margin,
            room_capital,
            now_s,
            t,
        )
        if added < 0.0:
            return
        room_margin, room_capital = room_margin - added, room_capital - added
    if is_in_band or not may_open or flags & HOLD or is_paused(p, x, k, lanes, lane, now_s):
        return
    size = opening(
        p,
        k,
        lanes,
        lane,
        market,
        terms,
        grid,
        spends,
        target,
        before,
        stress_usd,
        room_notional,
        room_margin,
        room_capital,
        now_s,
        t,
    )
    if size > 0.0:
        unit_usd = margin_per_unit(terms, stress_usd, mark_usd)
        fill_open(p, x, k, lanes, lane, market, terms, spends, log, logged, size, size * unit_usd, now_s, t)


@jitable
def wanted_share(p: Floats, k: Integers, lanes: int, lane: int) -> float:
    """Return the share of the delta that is to be short at the lane's tier (R12)."""
    share = p[(DELTA_SHARE + k[TIER * lanes + lane]) * lanes + lane]
    return float(near_release(p, k, lanes, lane) * share)


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
def released_usd(x: Floats, lanes: int, lane: int, size: float, mark_usd: float, funding_usd: float) -> float:
    """Return the margin that goes with ``size`` units: its part of what losses have left."""
    worth_usd = x[MARGIN_USD * lanes + lane]
    worth_usd += min(unrealised_usd(x, lanes, lane, mark_usd, funding_usd), 0.0)
    return float(abs(size / x[SIZE * lanes + lane]) * max(worth_usd, 0.0))


@jitable
def rooms(
    p: Floats, x: Floats, lanes: int, lane: int, market: Floats, terms: Floats, value_usd: float, t: int
) -> tuple[float, float]:
    """Return what margin and what defined-risk capital is left (R9), USD."""
    margin_usd = max(0.0, p[MAX_MARGIN * lanes + lane] * value_usd - x[MARGIN_USD * lanes + lane])
    at_risk = 0.0
    size = x[SIZE * lanes + lane]
    if size != 0.0:
        liquidated = liquidation_usd(x, lanes, lane, market, terms, t)
        lost_usd = -size * (liquidated - x[BOOK_ENTRY_USD * lanes + lane])
        at_risk = min(x[MARGIN_USD * lanes + lane], max(lost_usd, 0.0))
    return margin_usd, max(0.0, p[DEFINED_RISK * lanes + lane] * value_usd - at_risk)


@jitable
def margin_per_unit(terms: Floats, stress_usd: float, mark_usd: float) -> float:
    """Return the margin of one unit with which it is liquidated at ``stress_usd`` and not before."""
    bears = stress_usd * (1.0 + terms[MAINTENANCE_MARGIN]) - mark_usd
    return float(max(bears, terms[INITIAL_MARGIN] * mark_usd))


@jitable
def support(
    p: Floats,
    x: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    terms: Floats,
    spends: Floats,
    log: Floats,
    logged: Integers,
    stress_usd: float,
    room_margin: float,
    room_capital: float,
    now_s: float,
    t: int,
) -> float:
    """Keep liquidation beyond the stress price.

    Returns the margin that was added, under 0 where units were bought back.
    """
    mark_usd, size = market[SPOT_USD, t], x[SIZE * lanes + lane]
    liquidated = liquidation_usd(x, lanes, lane, market, terms, t)
    wanted, far = stress_usd - mark_usd, liquidated - mark_usd
    if far >= (1.0 - p[RESET_BAND * lanes + lane]) * wanted:
        return 0.0
    needs = 1.0 + (0.0 if math.isnan(market[RATE, t]) else terms[MAINTENANCE_MARGIN])
    add_usd = -size * (stress_usd - liquidated) * needs
    if add_usd <= min(room_margin, room_capital):
        add_margin(x, k, lanes, lane, market, spends, log, logged, add_usd, now_s, t)
        return float(add_usd)
    bears = max(far, 0.0) + (needs - 1.0) * liquidated
    keep = bears / (wanted + (needs - 1.0) * stress_usd)
    fill_reduction(
        p, x, k, lanes, lane, market, terms, spends, log, logged, (1.0 - keep) * -size, 0.0, now_s, t
    )
    return -1.0


@jitable
def is_paused(p: Floats, x: Floats, k: Integers, lanes: int, lane: int, now_s: float) -> bool:
    """Return whether the venue refused openings so often that the next one waits."""
    count = k[REFUSALS * lanes + lane]
    if count <= 1:
        return False
    wait_s = min(p[PAUSE_LONGEST * lanes + lane], p[PAUSE_FIRST * lanes + lane] * 2.0 ** min(count - 2, 16))
    return bool(now_s < x[REFUSED_S * lanes + lane] + wait_s)


@jitable
def opening(
    p: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    terms: Floats,
    grid: Floats,
    spends: Floats,
    target: float,
    held: float,
    stress_usd: float,
    room_notional: float,
    room_margin: float,
    room_capital: float,
    now_s: float,
    t: int,
) -> float:
    """Return the units to sell within R9, R10 and R11, 0 for none."""
    mark_usd, missing = market[SPOT_USD, t], target - held
    unit_usd = margin_per_unit(terms, stress_usd, mark_usd)
    rise_usd = stress_usd - mark_usd
    limit = min(room_notional / mark_usd, room_margin / unit_usd, terms[MAX_UNITS])
    if rise_usd > 0.0:
        limit = min(limit, room_capital / rise_usd)
    if k[TIER * lanes + lane] <= _ELEVATED:
        limit = min(limit, carried(p, k, lanes, lane, market, terms, spends, unit_usd, now_s, t))
    if not limit > 0.0:
        return 0.0
    limit = min(limit, missing * guarded(terms, grid, mark_usd, missing, held, p[TOLERANCE * lanes + lane]))
    if not limit > 0.0:
        return 0.0
    size = round_down(min(limit, missing), terms[LOT])
    least = max(terms[LOT], p[MIN_ORDER * lanes + lane] * target)
    return size if size > 0.0 and size >= least else 0.0


@jitable
def carried(
    p: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    terms: Floats,
    spends: Floats,
    unit_margin_usd: float,
    now_s: float,
    t: int,
) -> float:
    """Return R11's limit in units at ELEVATED, where it is doubled."""
    mark_usd, cost = market[SPOT_USD, t], market[COST, t]
    fees_usd = p[CARRY_SHARE * lanes + lane] * market[INCOME_USD, t]
    floor_usd = p[CARRY_FLOOR * lanes + lane] * lp_value(terms, mark_usd)
    used_usd = max(spent_usd(k, lanes, lane, spends, now_s - _MONTH_S), 0.0)
    room_usd = max(0.0, 2.0 * max(fees_usd, floor_usd) - used_usd)
    each_usd = mark_usd * (2.0 * cost + max(0.0, -market[RATE, t]) * _MONTH_YEARS)
    each_usd += p[WACC * lanes + lane] * unit_margin_usd * _MONTH_YEARS
    left_usd = max(0.0, room_usd - 2.0 * market[GAS_USD, t])
    return left_usd / each_usd if each_usd > 0.0 else math.inf


@jitable
def guarded(
    terms: Floats, grid: Floats, mark_usd: float, units: float, held: float, tolerance: float
) -> float:
    """Return the factor on ``units`` that keeps R10 at every point of the grid."""
    factor = 1.0
    for move in grid:
        there_usd = mark_usd * move
        one = max(mark_usd - there_usd, 0.0)
        room = max(lp_loss(terms, mark_usd, there_usd), 0.0) * (1.0 + tolerance)
        room = room - max(held * (mark_usd - there_usd), 0.0)
        left = max(room + terms[LOT] * one, 0.0)
        if units * one > left:
            factor = min(factor, left / (units * one))
    return factor
