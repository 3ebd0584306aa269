"""The compiled kernel: tiles of time outside, lanes of policies inside, and no step where nothing can happen.

Every decision is made by ``tier_steps`` and ``perpetual_steps``; what stands here, in ``resting`` and in
``holding`` only finds out that steps would change nothing: by the bounds of a whole tile first, then eight
steps at a time.
"""

import math
from collections.abc import Callable
from typing import Any

from bot.simulation.kernels.bundles import Block, History, Lane, lane_of
from bot.simulation.kernels.compiling import Floats, compiled, inlined, jitable, text_number
from bot.simulation.kernels.holding import (
    follow,
    holding_of,
    holds_all_tile,
    is_open,
    is_unmoved,
    next_trade,
    open_usd_at,
)
from bot.simulation.kernels.layout import ENTERED, PEAK_USD, SHARE, STEPS_AT, TIER
from bot.simulation.kernels.lp_steps import take_shape
from bot.simulation.kernels.perpetual_steps import step_perpetual, wanted_share
from bot.simulation.kernels.resting import enter, next_wake, rest, rests_all_tile
from bot.simulation.kernels.tier_steps import remember_near, step_tier
from bot.simulation.kernels.tiles import (
    HAS_ACCOUNTS,
    Tile,
    end_of_tile,
    fill_accounts,
    fill_tile,
    fill_values,
)


@inlined
def run_lanes(history: History, block: Block, cells: Floats) -> None:
    """Run all lanes over the history. ``cells`` is scratch: as many as ``tiles.SIZE``."""
    begin, shape, steps = 0, 0, history.times_s.size
    is_followed = (block.given.shape[0] | block.tiers.shape[0] | block.cash_usd.shape[0]) > 0
    while begin < steps:
        if shape < history.shape_from.size and history.shape_from[shape] == begin:
            take_shape(history.terms, history.shapes[shape])
            shape += 1
        tile = Tile(cells, begin, end_of_tile(history, begin) - begin)
        fill_tile(tile, history)
        is_new = begin == 0 or history.flags[begin] != history.flags[begin - 1]
        is_hole = begin > 0 and history.times_s[begin] - history.times_s[begin - 1] > history.hole_s
        for number in range(block.numbers.shape[0]):
            lane = lane_of(block, number)
            if is_hole:
                lane.x[PEAK_USD] = -math.inf
            if is_new or is_followed or not is_quiet(lane, history, tile):
                run_tile(history, block, lane, tile, is_new)
        begin += tile.steps
    for number in range(block.numbers.shape[0]):
        k = block.counts[number]
        k[STEPS_AT + k[TIER]] += steps - k[ENTERED]


@inlined
def is_quiet(lane: Lane, history: History, tile: Tile) -> bool:
    """Return whether a tile leaves the lane as it is: tier, position, highest value and deepest fall."""
    if not rests_all_tile(lane.r, tile.cells):
        return False
    if history.market.shape[1] == 0:
        return True
    holding = holding_of(lane)
    if is_open(lane):
        if tile.cells[HAS_ACCOUNTS] == 0.0:
            fill_accounts(tile, history)
        if not holds_all_tile(holding, history.terms, tile.cells):
            return False
    return is_unmoved(lane.x, holding, tile.cells)


@inlined
def run_tile(history: History, block: Block, lane: Lane, tile: Tile, is_new: bool) -> None:
    """Take a lane through a tile; one with other flags than before it starts with a tier step."""
    has_market, count = history.market.shape[1] > 0, tile.steps
    noted = valued = 0
    wake = 0 if is_new else next_tier(block.given, lane, tile, 0)
    trade = next_order(history, lane, tile, 0) if has_market else count
    while wake < count or trade < count:
        step = min(wake, trade)
        if step == wake:
            keep_tier(block, lane, tile, noted, step)
            noted, share = step, lane.x[SHARE]
            take_tier(history, block, lane, tile.begin + step)
            wake = next_tier(block.given, lane, tile, step + 1)
            if has_market and lane.x[SHARE] != share:
                trade = next_order(history, lane, tile, step)
        if step == trade:
            pass_by(history, block, lane, tile, valued, step)
            valued = step
            step_perpetual(lane, history, tile.begin + step)
            trade = next_order(history, lane, tile, step + 1)
    keep_tier(block, lane, tile, noted, count)
    if has_market:
        pass_by(history, block, lane, tile, valued, count)


@jitable
def next_tier(given: Any, lane: Lane, tile: Tile, first: int) -> int:
    """Return the first step of the tile from ``first`` on at which the tier may change, its end for none."""
    if given.shape[0]:
        for i in range(first, tile.steps):
            if given[lane.number, tile.begin + i] != lane.k[TIER]:
                return i
        return tile.steps
    if first == 0 and rests_all_tile(lane.r, tile.cells):
        return tile.steps
    return next_wake(lane.r, tile.cells, first, tile.steps)


@jitable
def next_order(history: History, lane: Lane, tile: Tile, first: int) -> int:
    """Return the first step of the tile from ``first`` on at which the lane may trade, its end for none."""
    if first >= tile.steps or not is_open(lane):
        return tile.steps
    fill_accounts(tile, history)
    holding = holding_of(lane)
    if first == 0 and holds_all_tile(holding, history.terms, tile.cells):
        return tile.steps
    return next_trade(holding, history.terms, tile.cells, first, tile.steps)


@inlined
def take_tier(history: History, block: Block, lane: Lane, t: int) -> None:
    """Take R1-R4's step, or the tier that is given."""
    before = lane.k[TIER]
    if block.given.shape[0]:
        lane.k[TIER] = block.given[lane.number, t]
        remember_near(lane.p, lane.k, history.flags[t])
    else:
        rest(lane, history, t, step_tier(lane, history, t))
    lane.x[SHARE] = wanted_share(lane.p, lane.k)
    enter(lane.k, before, t)


@inlined
def keep_tier(block: Block, lane: Lane, tile: Tile, first: int, end: int) -> None:
    """Write down the tier of the steps from ``first`` to before ``end``, where it is asked for."""
    if block.tiers.shape[0]:
        for i in range(first, end):
            block.tiers[lane.number, tile.begin + i] = lane.k[TIER]


@jitable
def pass_by(history: History, block: Block, lane: Lane, tile: Tile, first: int, end: int) -> None:
    """Value the account over steps at which nothing was traded."""
    if first == end:
        return
    holding = holding_of(lane)
    if not is_unmoved(lane.x, holding, tile.cells):
        fill_values(tile, history)
        follow(lane.x, holding, tile.cells, first, end)
    if block.cash_usd.shape[0]:
        for i in range(first, end):
            open_usd = open_usd_at(holding, tile.cells, i) if holding.held != 0.0 else 0.0
            block.cash_usd[lane.number, tile.begin + i] = holding.cash_usd
            block.open_usd[lane.number, tile.begin + i] = open_usd


def _entry(text: int) -> Callable[[History, Block, Floats], None]:
    """Return ``run_lanes`` compiled; ``text`` is what a cached one is known by."""

    def run(history: History, block: Block, cells: Floats) -> None:
        if text:
            run_lanes(history, block, cells)

    return compiled(run)


run_block = _entry(text_number())
