"""The bounds of a tile are never narrower than its steps: what they settle holds at each of them.

The functions are run as plain Python; the compiled kernel has the same text.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.simulation.kernels import layout as at
from bot.simulation.kernels import tiles
from bot.simulation.kernels.bundles import History, lane_of
from bot.simulation.kernels.evaluate import Wanted, fresh_block, history_of
from bot.simulation.kernels.holding import (
    follow,
    holding_of,
    holds_all_tile,
    holds_at,
    is_unmoved,
    next_trade,
)
from bot.simulation.kernels.lp_steps import lp_delta, take_shape
from bot.simulation.kernels.resting import next_wake, rests_all_tile, rests_at

from .kernel_builders import random_inputs, random_policy

FLOATS = st.floats(allow_nan=False, allow_infinity=True)


@given(one=FLOATS, other=FLOATS)
def test_numbers_in_order_compare_as_the_floats_do(one, other):
    keys = tiles.in_order(one), tiles.in_order(other)
    assert tiles.out_of_order(keys[0]) == one
    if one != other:  # -0.0 comes before 0.0
        assert (keys[0] < keys[1]) == (one < other)


def test_nan_lies_beyond_either_end():
    positive = np.array([0x7FF8000000000000]).view(np.float64)[0]
    negative = np.array([-0x0008000000000000]).view(np.float64)[0]
    assert tiles.in_order(positive) > tiles.in_order(math.inf)
    assert tiles.in_order(negative) < tiles.in_order(-math.inf)


def history_and_tile(inputs, begin=0):
    history = history_of(inputs)
    take_shape(history.terms, history.shapes[0])
    tile = tiles.Tile(np.zeros(tiles.SIZE), begin, tiles.end_of_tile(history, begin) - begin)
    tiles.fill_tile(tile, history)
    tiles.fill_values(tile, history)
    tiles.fill_accounts(tile, history)
    return history, tile


def row(tile, number):
    return tile.cells[number * tiles.ROOM : number * tiles.ROOM + tile.steps]


def test_a_tile_ends_before_other_flags_another_shape_a_hole_and_the_last_step():
    inputs = random_inputs(np.random.default_rng(0), 200)
    inputs.tape.flags[:], inputs.tape.times_s[:] = 0, 60.0 * np.arange(200)
    history = history_of(inputs)._replace(shape_from=np.array([0, 100]))
    assert tiles.end_of_tile(history, 0) == tiles.STEPS
    assert tiles.end_of_tile(history, 64) == 100  # where the position is opened anew
    assert tiles.end_of_tile(history, 150) == 200
    history.flags[30:] = at.HOLD
    assert tiles.end_of_tile(history, 0) == 30
    history.times_s[20:] += 40 * 3600.0
    assert tiles.end_of_tile(history, 0) == 20


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_bounds_of_every_row_are_its_least_and_its_most(seed):
    _, tile = history_and_tile(random_inputs(np.random.default_rng(seed), 80))
    for number in (*range(tiles.RESTING_ROWS), tiles.MARK_USD, tiles.FEES_USD, tiles.PAID, tiles.DELTA):
        values = row(tile, number)
        low, high = tile.cells[tiles.LOW + number], tile.cells[tiles.HIGH + number]
        if np.isnan(values).any():
            assert math.isnan(low) or math.isnan(high)
        else:
            assert (low, high) == (values.min(), values.max())


def test_under_a_hold_nothing_may_be_opened_at_any_rate():
    inputs = random_inputs(np.random.default_rng(3), 80)
    inputs.tape.flags[:] = at.HOLD
    _, tile = history_and_tile(inputs)
    assert (row(tile, tiles.OPEN_RATE) == -math.inf).all()
    assert tile.cells[tiles.HIGH + tiles.OPEN_RATE] == -math.inf


def lane_with_a_short(random, inputs, history):
    """Return a lane that is short about what it wants, at a price and margin near today's."""
    block = fresh_block([random_policy(random)], inputs, given=None, wanted=Wanted(), room=1, rows=1)
    lane, spot = lane_of(block, 0), float(history.market[at.SPOT_USD, 0])
    delta = lp_delta(history.terms, spot)
    x = lane.x
    x[at.SHARE] = random.uniform(0.0, 1.0)
    x[at.SIZE] = -delta * min(x[at.SHARE] * random.uniform(0.8, 1.2), 1.0)
    x[at.ENTRY_USD] = x[at.BOOK_ENTRY_USD] = spot * random.uniform(0.9, 1.1)
    x[at.MARGIN_USD] = -x[at.SIZE] * spot * random.uniform(0.1, 0.5)
    x[at.SETTLED], x[at.CASH_USD] = history.market[at.INTEGRAL, 0], random.uniform(-1e4, 1e4)
    return lane


def still_inputs(random):
    """Return tapes whose first tile is a whole one, in which prices move by ten thousandths."""
    inputs = random_inputs(random, 130)
    inputs.tape.flags[:], inputs.tape.times_s[:] = 0, 1.6e9 + 60.0 * np.arange(130)
    inputs.market.shape_from[1] = 100
    inputs.market.rows[at.SPOT_USD] = 2000.0 * np.exp(np.cumsum(random.normal(0.0, 3e-4, 130)))
    inputs.market.rows[at.RATE] = random.normal(0.0, 0.3)
    return inputs


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_position_that_holds_all_tile_holds_at_each_step(seed):
    random = np.random.default_rng(seed)
    inputs = still_inputs(random)
    history, tile = history_and_tile(inputs)
    holding = holding_of(lane_with_a_short(random, inputs, history))
    holds = [holds_at(holding, history.terms, tile.cells, i) for i in range(tile.steps)]
    if holds_all_tile(holding, history.terms, tile.cells):
        assert all(holds)
    first = next_trade(holding, history.terms, tile.cells, 3, tile.steps)
    assert first == next((i for i in range(3, tile.steps) if not holds[i]), tile.steps)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), is_short=st.booleans())
def test_an_account_that_is_unmoved_has_no_new_high_and_no_deeper_fall(seed, is_short):
    random = np.random.default_rng(seed)
    inputs = still_inputs(random)
    history, tile = history_and_tile(inputs)
    lane = lane_with_a_short(random, inputs, history)
    if not is_short:
        lane.x[at.SIZE] = 0.0
    holding, x = holding_of(lane), lane.x
    now_usd = tile.cells[tiles.LOW + tiles.VALUE_USD] + x[at.CASH_USD]
    x[at.PEAK_USD] = now_usd * random.uniform(0.99, 1.05)
    x[at.WORST] = random.uniform(0.9, 1.0)
    before = x[at.PEAK_USD], x[at.WORST]
    is_still = is_unmoved(x, holding, tile.cells)
    follow(x, holding, tile.cells, 0, tile.steps)
    if is_still:
        assert (x[at.PEAK_USD], x[at.WORST]) == before


@pytest.mark.parametrize("is_settled", [True, False])
def test_what_bounds_settle_is_seen_often_enough_to_say_something(is_settled):
    found = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        inputs = still_inputs(random)
        history, tile = history_and_tile(inputs)
        holding = holding_of(lane_with_a_short(random, inputs, history))
        found += holds_all_tile(holding, history.terms, tile.cells) == is_settled
    assert found >= 5


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_tier_that_rests_all_tile_rests_at_each_step(seed):
    random = np.random.default_rng(seed)
    _, tile = history_and_tile(still_inputs(random))
    r = np.empty(at.REST_FIELDS)
    r[at.LEAST : at.MOST] = random.choice([-math.inf, 0.2, 0.4], at.MOST - at.LEAST)
    r[at.MOST : at.UNTIL_S] = random.choice([math.inf, 0.6, 0.8], at.UNTIL_S - at.MOST)
    r[at.UNTIL_S] = random.choice([math.inf, 1.6e9 + 1800.0])
    rests = [rests_at(r, tile.cells, i) for i in range(tile.steps)]
    assert rests_all_tile(r, tile.cells) == all(rests)
    first = next_wake(r, tile.cells, 2, tile.steps)
    assert first == next((i for i in range(2, tile.steps) if not rests[i]), tile.steps)


def test_a_history_without_a_market_has_none_of_its_rows():
    inputs = random_inputs(np.random.default_rng(4), 70)
    history = history_of(inputs)._replace(market=np.empty((at.MARKET_ROWS, 0)))
    assert isinstance(history, History)
    tile = tiles.Tile(np.zeros(tiles.SIZE), 0, tiles.end_of_tile(history, 0))
    tiles.fill_tile(tile, history)
    assert not row(tile, tiles.MARK_USD).any()
