"""The plain twin of the compiled kernel: every step is taken, in Python. It is what tests read."""

import math
from typing import Any

from bot.simulation.kernels.compiling import Floats, Integers
from bot.simulation.kernels.layout import (
    BOOK_ENTRY_USD,
    CASH_USD,
    ENTERED,
    FEES_UNCOLLECTED_USD,
    MEMORY_FROM,
    PARAMETERS,
    PEAK_USD,
    REST_FROM,
    SIZE,
    SPOT_USD,
    STEPS_AT,
    TIER,
    WORST,
)
from bot.simulation.kernels.lp_steps import lp_value, take_shape
from bot.simulation.kernels.perpetual_fills import accrued_usd
from bot.simulation.kernels.perpetual_steps import step_perpetual
from bot.simulation.kernels.resting import enter
from bot.simulation.kernels.tier_steps import remember_near, step_tier


def run_twin(
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
    values_usd: Floats,  # noqa: ARG001 - the kernel's own scratch
    spends: Floats,
    log: Floats,
    logged: Integers,
    hole_s: float,
    tiers: Any,
    cash_usd: Any,
    open_usd: Any,
) -> None:
    """As ``lanes.run_lanes``, for any number of lanes, one after the other."""
    p, x = s[: PARAMETERS * lanes], s[MEMORY_FROM * lanes : REST_FROM * lanes]
    for lane in range(lanes):
        for t in range(times_s.size):
            before = int(k[TIER * lanes + lane])
            if given.shape[0]:
                k[TIER * lanes + lane] = given[t, lane]
                remember_near(p, k, lanes, lane, flags[t])
            else:
                step_tier(p, x, k, lanes, lane, scores, flags, times_s, blocks, t)
            enter(k, lanes, lane, before, t)
            if tiers.shape[0]:
                tiers[t, lane] = k[TIER * lanes + lane]
            if market.shape[1] == 0:
                continue
            take_shape(terms, shapes[shape_from.searchsorted(t, side="right") - 1])
            step_perpetual(
                p,
                x,
                k,
                lanes,
                lane,
                market,
                terms,
                grid,
                stress[t],
                spends,
                log,
                logged,
                flags[t],
                times_s[t],
                t,
            )
            if t > 0 and times_s[t] - times_s[t - 1] > hole_s:
                x[PEAK_USD * lanes + lane] = -math.inf
            _follow(x, lanes, lane, market, terms, cash_usd, open_usd, t)
        tier = int(k[TIER * lanes + lane])
        k[(STEPS_AT + tier) * lanes + lane] += times_s.size - k[ENTERED * lanes + lane]


def _follow(
    x: Floats, lanes: int, lane: int, market: Floats, terms: Floats, cash_usd: Any, open_usd: Any, t: int
) -> None:
    """Keep the highest value and the deepest fall, and the path where it is asked for."""
    mark_usd, cash = market[SPOT_USD, t], x[CASH_USD * lanes + lane]
    gained_usd = x[SIZE * lanes + lane] * (mark_usd - x[BOOK_ENTRY_USD * lanes + lane])
    gained_usd += accrued_usd(x, lanes, lane, market, t)
    value_usd = lp_value(terms, mark_usd) + market[FEES_UNCOLLECTED_USD, t] + cash + gained_usd
    peak = max(x[PEAK_USD * lanes + lane], value_usd)
    x[PEAK_USD * lanes + lane] = peak
    x[WORST * lanes + lane] = min(x[WORST * lanes + lane], value_usd / peak)
    if cash_usd.shape[0]:
        cash_usd[t, lane], open_usd[t, lane] = cash, gained_usd
