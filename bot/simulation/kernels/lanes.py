"""The compiled kernel: time outside, lanes of policies inside, and no step where nothing can happen.

Every decision is made by ``tier_steps`` and ``perpetual_steps``; what stands here and in ``resting`` only
finds out that a step would change nothing. A position rests while it is well inside its band, its margin and
the group's delta, and while no order could pass what R9 leaves; nearer than a billionth to any of them the
step is taken.
"""

import math
from collections.abc import Callable
from typing import Any

from bot.simulation.kernels.compiling import Floats, Integers, compiled, inlined, text_number
from bot.simulation.kernels.layout import (
    ACCRUES,
    BOOK_ENTRY_USD,
    CASH_USD,
    DEFINED_RISK,
    ENTERED,
    ENTRY_USD,
    FEES_UNCOLLECTED_USD,
    HOLD,
    INTEGRAL,
    LOT,
    MAINTENANCE_MARGIN,
    MARGIN_USD,
    MAX_MARGIN,
    MEMORY_FROM,
    MIN_FUNDING,
    MIN_ORDER,
    PARAMETERS,
    PEAK_USD,
    PENDING,
    RATE,
    RESET_BAND,
    REST_FROM,
    SETTLED,
    SHARE,
    SIZE,
    SPOT_USD,
    STEPS_AT,
    TIER,
    WAKES,
    WORST,
)
from bot.simulation.kernels.lp_steps import fill_values, lp_delta, take_shape
from bot.simulation.kernels.perpetual_steps import margin_per_unit, step_perpetual, wanted_share
from bot.simulation.kernels.resting import all_rest, enter, narrow, rest, screen_tiers, third_row
from bot.simulation.kernels.tier_steps import remember_near, step_tier

LANES = 64  # policies of a block: eight vectors of eight
_SLACK = 1e-9
CHUNK = 512  # steps whose values are worked out at once


@inlined
def screen_account(
    s: Floats,
    lanes: int,
    market: Floats,
    terms: Floats,
    delta: float,
    value_usd: float,
    stress: float,
    is_held: bool,
    t: int,
) -> int:
    """Mark the lanes whose position may have to change, and count them.

    Where no order as large as the least one could pass the venue's funding, R9's margin or R9's capital,
    nothing is opened, however much is missing.
    """
    mark, accrues, paid = market[SPOT_USD, t], market[ACCRUES, t], market[INTEGRAL, t]
    bears, at, rise = 1.0 + terms[MAINTENANCE_MARGIN], MEMORY_FROM * lanes, mark * (stress - 1.0)
    unit, rate, lot = margin_per_unit(terms, mark * stress, mark), market[RATE, t], terms[LOT]
    found = 0
    for i in range(lanes):
        held, band = -s[at + SIZE * lanes + i], s[RESET_BAND * lanes + i]
        margin = s[at + MARGIN_USD * lanes + i]
        target = s[at + SHARE * lanes + i] * delta
        funding = held * mark * (paid - s[at + SETTLED * lanes + i]) * accrues
        own = margin + funding + held * s[at + ENTRY_USD * lanes + i]
        need = held * bears * mark * (1.0 + (1.0 - band) * (stress - 1.0))
        least = s[MIN_ORDER * lanes + i] * target
        least = (least if least > lot else lot) * (1.0 - _SLACK)
        lost = own / bears - held * s[at + BOOK_ENTRY_USD * lanes + i]
        lost = lost if lost > 0.0 else 0.0
        at_risk = lost if lost < margin else margin
        capital = s[DEFINED_RISK * lanes + i] * value_usd - at_risk
        is_full = (rise > 0.0) & (capital * (1.0 + _SLACK) < least * rise)
        is_full |= (s[MAX_MARGIN * lanes + i] * value_usd - margin) * (1.0 + _SLACK) < least * unit
        is_full |= is_held | (rate < s[MIN_FUNDING * lanes + i])
        rests = (held <= delta * (1.0 - _SLACK)) & (own * (1.0 - _SLACK) >= need)
        rests &= held <= (1.0 + band) * target * (1.0 - _SLACK)
        rests &= is_full | ((1.0 - band) * target * (1.0 + _SLACK) <= held)
        s[(REST_FROM + PENDING) * lanes + i] = 0.0 if rests else 1.0
        found += 0 if rests else 1
    return found


@inlined
def value_at(s: Floats, lanes: int, i: int, mark: float, paid: float, accrues: float) -> float:
    """Return what the perpetual brought and would bring at the mark."""
    at = MEMORY_FROM * lanes
    held = -s[at + SIZE * lanes + i]
    open_usd = held * (s[at + BOOK_ENTRY_USD * lanes + i] - mark)
    funding = held * mark * (paid - s[at + SETTLED * lanes + i]) * accrues
    return float(s[at + CASH_USD * lanes + i] + (open_usd + funding))


@inlined
def follow(s: Floats, lanes: int, market: Floats, position_usd: float, is_open: bool, t: int) -> None:
    """Keep every lane's highest value and deepest fall."""
    mark, accrues, paid = market[SPOT_USD, t], market[ACCRUES, t], market[INTEGRAL, t]
    cash, peaks, worst = MEMORY_FROM + CASH_USD, MEMORY_FROM + PEAK_USD, MEMORY_FROM + WORST
    fallen = 0
    for i in range(lanes):
        gained = value_at(s, lanes, i, mark, paid, accrues) if is_open else s[cash * lanes + i]
        value_usd = position_usd + gained
        peak = s[peaks * lanes + i]
        peak = value_usd if value_usd > peak else peak
        s[peaks * lanes + i] = peak
        fallen += 1 if value_usd < s[worst * lanes + i] * peak else 0
    if fallen:
        for i in range(lanes):
            value_usd = position_usd + value_at(s, lanes, i, mark, paid, accrues)
            ratio = value_usd / s[peaks * lanes + i]
            s[worst * lanes + i] = ratio if ratio < s[worst * lanes + i] else s[worst * lanes + i]


@inlined
def step_tiers(
    s: Floats,
    k: Integers,
    lanes: int,
    scores: Floats,
    flags: Integers,
    times_s: Floats,
    blocks: Integers,
    given: Any,
    t: int,
) -> None:
    """Take R1-R4's step for every loud lane, or the tier that is given."""
    p, x = s[: PARAMETERS * lanes], s[MEMORY_FROM * lanes : REST_FROM * lanes]
    r = s[REST_FROM * lanes :]
    for lane in range(lanes):
        before = k[TIER * lanes + lane]
        if given.shape[0]:
            k[TIER * lanes + lane] = given[t, lane]
            remember_near(p, k, lanes, lane, flags[t])
        elif r[WAKES * lanes + lane] == 1.0:
            rests = step_tier(p, x, k, lanes, lane, scores, flags, times_s, blocks, t)
            rest(p, x, k, r, lanes, lane, scores, flags, times_s, t, rests)
        else:
            continue
        x[SHARE * lanes + lane] = wanted_share(p, k, lanes, lane)
        enter(k, lanes, lane, before, t)


@inlined
def is_any_open(s: Floats, lanes: int) -> bool:
    """Return whether any lane holds a position or wants one."""
    found = 0
    for i in range(lanes):
        at = MEMORY_FROM * lanes + i
        found += 1 if (s[at + SIZE * lanes] != 0.0) | (s[at + SHARE * lanes] != 0.0) else 0
    return found > 0


@inlined
def run_lanes(
    lanes: int,
    s: Floats,
    k: Integers,
    times_s: Floats,
    blocks: Integers,
    scores: Floats,
    flags: Integers,
    given: Any,
    market: Floats,
    shapes: Floats,
    shape_from: Integers,
    terms: Floats,
    grid: Floats,
    stress: Floats,
    values_usd: Floats,
    spends: Floats,
    log: Floats,
    logged: Integers,
    hole_s: float,
    tiers: Any,
    cash_usd: Any,
    open_usd: Any,
) -> None:
    """Run all lanes over the tapes.

    Arrays are as ``evaluate`` makes them; those of size 0 are not there, or not asked for.
    """
    has_market, begin, shape, is_open = market.shape[1] > 0, 0, 0, False
    while begin < times_s.size:
        end = min(begin + CHUNK, times_s.size)
        if has_market:
            if shape < shape_from.size and shape_from[shape] == begin:
                take_shape(terms, shapes[shape])
                shape += 1
            if shape < shape_from.size:
                end = min(end, shape_from[shape])
            fill_values(terms, market, begin, end, values_usd)
        for t in range(begin, end):
            if wake(s, k, lanes, scores, flags, times_s, blocks, given, t):
                is_open = is_any_open(s, lanes)
            keep_tiers(k, lanes, tiers, t)
            if has_market:
                is_open = step_market(
                    s,
                    k,
                    lanes,
                    market,
                    terms,
                    grid,
                    stress[t],
                    values_usd[t - begin],
                    spends,
                    log,
                    logged,
                    flags[t],
                    times_s,
                    hole_s,
                    is_open,
                    cash_usd,
                    open_usd,
                    t,
                )
        begin = end
    for lane in range(lanes):
        tier = k[TIER * lanes + lane]
        k[(STEPS_AT + tier) * lanes + lane] += times_s.size - k[ENTERED * lanes + lane]


@inlined
def step_market(
    s: Floats,
    k: Integers,
    lanes: int,
    market: Floats,
    terms: Floats,
    grid: Floats,
    stress: float,
    value_usd: float,
    spends: Floats,
    log: Floats,
    logged: Integers,
    flags: int,
    times_s: Floats,
    hole_s: float,
    is_open: bool,
    cash_usd: Any,
    open_usd: Any,
    t: int,
) -> bool:
    """Take the accounts' step and follow their values; return whether any lane is open then."""
    if is_open:
        is_open = step_accounts(
            s, k, lanes, market, terms, grid, stress, value_usd, spends, log, logged, flags, times_s[t], t
        )
    if t > 0 and times_s[t] - times_s[t - 1] > hole_s:
        s[(MEMORY_FROM + PEAK_USD) * lanes : (MEMORY_FROM + PEAK_USD + 1) * lanes] = -math.inf
    follow(s, lanes, market, value_usd + market[FEES_UNCOLLECTED_USD, t], is_open, t)
    if cash_usd.shape[0]:
        keep_path(s, lanes, market, cash_usd, open_usd, t)
    return is_open


@inlined
def keep_tiers(k: Integers, lanes: int, tiers: Any, t: int) -> None:
    """Write down every lane's tier after the step, where it is asked for."""
    if tiers.shape[0]:
        for lane in range(lanes):
            tiers[t, lane] = k[TIER * lanes + lane]


@inlined
def wake(
    s: Floats,
    k: Integers,
    lanes: int,
    scores: Floats,
    flags: Integers,
    times_s: Floats,
    blocks: Integers,
    given: Any,
    t: int,
) -> bool:
    """Take the tier step of every lane whose rest ends; return whether there was any."""
    if given.shape[0] or t == 0 or flags[t] != flags[t - 1]:
        s[(REST_FROM + WAKES) * lanes : (REST_FROM + WAKES + 1) * lanes] = 1.0
    else:
        third = third_row(flags[t])
        if all_rest(s, lanes, scores, third, t, times_s[t]):
            return False
        screen_tiers(s, lanes, scores, third, t, times_s[t])
    step_tiers(s, k, lanes, scores, flags, times_s, blocks, given, t)
    narrow(s, lanes)
    return True


@inlined
def step_accounts(
    s: Floats,
    k: Integers,
    lanes: int,
    market: Floats,
    terms: Floats,
    grid: Floats,
    stress: float,
    value_usd: float,
    spends: Floats,
    log: Floats,
    logged: Integers,
    flags: int,
    now_s: float,
    t: int,
) -> bool:
    """Take the step of every lane whose position may have to change; return whether any lane is open then."""
    delta, is_held = lp_delta(terms, market[SPOT_USD, t]), flags & HOLD != 0
    if screen_account(s, lanes, market, terms, delta, value_usd, stress, is_held, t) == 0:
        return True
    p, x = s[: PARAMETERS * lanes], s[MEMORY_FROM * lanes : REST_FROM * lanes]
    for lane in range(lanes):
        if s[(REST_FROM + PENDING) * lanes + lane] == 1.0:
            step_perpetual(
                p, x, k, lanes, lane, market, terms, grid, stress, spends, log, logged, flags, now_s, t
            )
    return is_any_open(s, lanes)


@inlined
def keep_path(s: Floats, lanes: int, market: Floats, cash_usd: Floats, open_usd: Floats, t: int) -> None:
    """Write down every lane's cash and open value after the step."""
    mark, accrues, paid = market[SPOT_USD, t], market[ACCRUES, t], market[INTEGRAL, t]
    for i in range(lanes):
        cash = s[(MEMORY_FROM + CASH_USD) * lanes + i]
        cash_usd[t, i] = cash
        held = -s[(MEMORY_FROM + SIZE) * lanes + i]
        gained = held * (s[(MEMORY_FROM + BOOK_ENTRY_USD) * lanes + i] - mark)
        open_usd[t, i] = gained + held * mark * (paid - s[(MEMORY_FROM + SETTLED) * lanes + i]) * accrues


def _entry(lanes: int, text: int) -> Callable[..., None]:
    """Return ``run_lanes`` for so many lanes; ``text`` is what a cached one is known by."""

    def run(*work: Any) -> None:
        if text:
            run_lanes(lanes, *work)

    return compiled(run)


_TEXT = text_number()
run_one = _entry(1, _TEXT)
run_block = _entry(LANES, _TEXT)
