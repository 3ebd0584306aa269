"""The plain twin of the compiled kernel: every step is taken, in Python. It is what tests read."""

import math

from bot.simulation.kernels.bundles import Block, History, Lane, lane_of
from bot.simulation.kernels.layout import (
    BOOK_ENTRY_USD,
    CASH_USD,
    ENTERED,
    FEES_UNCOLLECTED_USD,
    PEAK_USD,
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


def run_twin(history: History, block: Block) -> None:
    """As ``lanes.run_block``: one lane after the other, and every step of each."""
    for number in range(block.numbers.shape[0]):
        lane = lane_of(block, number)
        for t in range(history.times_s.size):
            _step_tier(history, block, lane, t)
            if history.market.shape[1]:
                shape = int(history.shape_from.searchsorted(t, side="right")) - 1
                take_shape(history.terms, history.shapes[shape])
                step_perpetual(lane, history, t)
                _follow(history, block, lane, t)
        lane.k[STEPS_AT + int(lane.k[TIER])] += history.times_s.size - lane.k[ENTERED]


def _step_tier(history: History, block: Block, lane: Lane, t: int) -> None:
    """Take R1-R4's step, or the tier that is given."""
    before = int(lane.k[TIER])
    if block.given.shape[0]:
        lane.k[TIER] = block.given[lane.number, t]
        remember_near(lane.p, lane.k, history.flags[t])
    else:
        step_tier(lane, history, t)
    enter(lane.k, before, t)
    if block.tiers.shape[0]:
        block.tiers[lane.number, t] = lane.k[TIER]


def _follow(history: History, block: Block, lane: Lane, t: int) -> None:
    """Keep the highest value and the deepest fall, and the path where it is asked for."""
    x, market, times_s = lane.x, history.market, history.times_s
    if t > 0 and times_s[t] - times_s[t - 1] > history.hole_s:
        x[PEAK_USD] = -math.inf
    mark_usd, cash = market[SPOT_USD, t], x[CASH_USD]
    gained_usd = x[SIZE] * (mark_usd - x[BOOK_ENTRY_USD]) + accrued_usd(x, market, t)
    value_usd = lp_value(history.terms, mark_usd) + market[FEES_UNCOLLECTED_USD, t] + cash + gained_usd
    peak = max(x[PEAK_USD], value_usd)
    x[PEAK_USD] = peak
    x[WORST] = min(x[WORST], value_usd / peak)
    if block.cash_usd.shape[0]:
        block.cash_usd[lane.number, t], block.open_usd[lane.number, t] = cash, gained_usd
