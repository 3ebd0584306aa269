"""What each path leaves behind: ends, falls, how soon the tier rose, counts for the fans; compiled."""

from typing import Any

import numpy as np

from bot.quant.vector_math import compiled_kernel
from bot.simulation.monte_carlo.hedge_rows import (
    BID,
    CASH,
    FEES,
    IMPACT,
    ORDERS,
    PERPETUAL_GAIN,
    PREMIUM,
    RECENTRES,
    TIER,
    VALUE,
)
from bot.simulation.monte_carlo.hedge_tiles import move_hedge, move_position, open_position, recentre
from bot.simulation.monte_carlo.lane_maths import ONE, ZERO
from bot.simulation.monte_carlo.path_tiles import LANES

# Rows of a book: all exposures together, unhedged or under one policy.
WORTH, PEAK, FALL, DEEPEST = 0, 1, 2, 3  # value, highest so far, fall from it now, deepest so far
TIER_NOW, PEAK_STEP, RISE_STEP, FALL_THEN, WAIT, FALL_AT_WAIT, HIGH_STEPS = 4, 5, 6, 7, 8, 9, 10
WORST, THEN, RING = 11, 12, 13  # worst loss over RING_STEPS, value so long ago, values of the steps between
RING_STEPS = 10  # the horizon of R8, in days
BOOK_ROWS = RING + RING_STEPS
NEVER = np.float32(-1.0)

# What is kept of each path of a policy, float32; the unhedged book keeps the first three.
END, DEEPEST_FALL, WORST_LOSS, PAID, PERPETUAL_SUM, ORDER_COUNT, HIGH_COUNT, WAITED, FALL_WAITED = range(9)
KEPT = 9

# Counts for the fans: values by their float32 bits, 128 bins in each octave from 2**-6 to 2**4.
LEAST_BITS = np.int32((127 - 6) << 23)
BIN_SHIFT = np.int32(16)
OCTAVES, BINS_PER_OCTAVE = 10, 128
BINS = OCTAVES * BINS_PER_OCTAVE


@compiled_kernel(fastmath=False)
def start_book(book: Any) -> None:
    for i in range(BOOK_ROWS * LANES):
        book[i] = ZERO
    for i in range(LANES):
        book[WAIT * LANES + i] = NEVER
        book[RISE_STEP * LANES + i] = NEVER


@compiled_kernel(fastmath=False)
def add_position(book: Any, exposure: Any, is_first: bool) -> None:
    for i in range(LANES):
        so_far = ZERO if is_first else book[WORTH * LANES + i]
        book[WORTH * LANES + i] = so_far + exposure[VALUE * LANES + i] + exposure[FEES * LANES + i]


@compiled_kernel(fastmath=False)
def add_hedge(source: Any, book: Any, h: Any, layers: Any, is_first: bool) -> None:
    """Add a hedge's cash and options to what ``source`` is worth; the book's tier is the highest of all."""
    near, mid, tail = layers[0], layers[1], layers[2]
    for i in range(LANES):
        tier = h[TIER * LANES + i]
        so_far = tier if is_first else book[TIER_NOW * LANES + i]
        bids = (near[BID * LANES + i] + mid[BID * LANES + i]) + tail[BID * LANES + i]
        book[WORTH * LANES + i] = (source[WORTH * LANES + i] + h[CASH * LANES + i]) + bids
        book[TIER_NOW * LANES + i] = max(so_far, tier)


@compiled_kernel(fastmath=False)
def measure_fall(book: Any) -> None:
    for i in range(LANES):
        worth = book[WORTH * LANES + i]
        peak = max(book[PEAK * LANES + i], worth)
        fall = ONE - worth / peak
        book[PEAK * LANES + i] = peak
        book[FALL * LANES + i] = fall
        book[DEEPEST * LANES + i] = max(book[DEEPEST * LANES + i], fall)


@compiled_kernel(fastmath=False)
def measure_loss(bare: Any, book: Any, step: int) -> None:
    """Compare a book with itself RING_STEPS before, or at the start; a loss is a share of the unhedged one
    then.

    The unhedged book itself comes first: its THEN is what the others are divided by.
    """
    first = (RING + step % RING_STEPS) * LANES
    ring, then_row = book[first : first + LANES], book[THEN * LANES : (THEN + 1) * LANES]
    if step == 0:
        for row in range(RING_STEPS):
            part = book[(RING + row) * LANES : (RING + row + 1) * LANES]
            for i in range(LANES):
                part[i] = book[WORTH * LANES + i]
    for i in range(LANES):
        then_row[i] = ring[i]
    for i in range(LANES):
        worth = book[WORTH * LANES + i]
        ring[i] = worth
        lost = (book[THEN * LANES + i] - worth) / bare[THEN * LANES + i]
        book[WORST * LANES + i] = max(book[WORST * LANES + i], lost)


@compiled_kernel(fastmath=False)
def measure_wait(bare: Any, book: Any, now: Any) -> None:
    """Follow the unhedged book's falls: how long after the peak, and how deep, ELEVATED first stood.

    The deepest fall's figures stay; WAIT is NEVER where ELEVATED had not stood when that fall was deepest.
    """
    for i in range(LANES):
        fall = bare[FALL * LANES + i]
        is_high, is_peak = book[TIER_NOW * LANES + i] > ONE, fall == ZERO
        began = now if is_peak else book[PEAK_STEP * LANES + i]
        since = NEVER if is_peak else book[RISE_STEP * LANES + i]
        rises = is_high & (since < ZERO)
        since = now - began if rises else since
        then = fall if rises else book[FALL_THEN * LANES + i]
        is_deepest = (fall >= bare[DEEPEST * LANES + i]) & (fall > ZERO)
        book[PEAK_STEP * LANES + i] = began
        book[RISE_STEP * LANES + i] = since
        book[FALL_THEN * LANES + i] = then
        book[WAIT * LANES + i] = since if is_deepest else book[WAIT * LANES + i]
        book[FALL_AT_WAIT * LANES + i] = then if is_deepest else book[FALL_AT_WAIT * LANES + i]
        book[HIGH_STEPS * LANES + i] = book[HIGH_STEPS * LANES + i] + (ONE if is_high else ZERO)


@compiled_kernel(fastmath=False)
def count_values(book: Any, counts: Any, lanes: int) -> None:
    """Count the values of the first ``lanes`` paths in their bins; what is beyond goes into the outermost."""
    for i in range(lanes):
        bits = np.float32(max(book[WORTH * LANES + i], ZERO)).view(np.int32)
        counts[min(max((bits - LEAST_BITS) >> BIN_SHIFT, 0), BINS - 1)] += 1


@compiled_kernel(fastmath=False)
def keep_book(book: Any, kept: Any) -> None:
    """Write the figures of each path, ``kept`` is [figure, path of the tile]."""
    for i in range(kept.shape[1]):
        kept[END, i] = book[WORTH * LANES + i]
        kept[DEEPEST_FALL, i] = book[DEEPEST * LANES + i]
        kept[WORST_LOSS, i] = book[WORST * LANES + i]


@compiled_kernel(fastmath=False)
def keep_hedged(book: Any, hedges: Any, kept: Any) -> None:
    keep_book(book, kept)
    for i in range(kept.shape[1]):
        kept[HIGH_COUNT, i] = book[HIGH_STEPS * LANES + i]
        kept[WAITED, i] = book[WAIT * LANES + i]
        kept[FALL_WAITED, i] = book[FALL_AT_WAIT * LANES + i]
        paid = perpetual = orders = ZERO
        for exposure in range(hedges.shape[0]):
            paid += hedges[exposure, PREMIUM * LANES + i]
            perpetual += hedges[exposure, PERPETUAL_GAIN * LANES + i]
            orders += hedges[exposure, ORDERS * LANES + i]
        kept[PAID, i] = paid
        kept[PERPETUAL_SUM, i] = perpetual
        kept[ORDER_COUNT, i] = orders


@compiled_kernel(fastmath=False)
def step_exposures(
    tiles: Any, of_asset: Any, shapes: Any, e: Any, bare: Any, step: int, recentres: bool
) -> None:
    """Bring every position to the step."""
    for exposure in range(e.shape[0]):
        asset, numbers = tiles[of_asset[exposure]], shapes[exposure]
        if step == 0:
            open_position(asset, e[exposure], numbers)
        move_position(asset, e[exposure], numbers)
        if recentres and numbers[RECENTRES] > ZERO:
            recentre(asset, e[exposure], numbers)
        add_position(bare, e[exposure], exposure == 0)
    measure_fall(bare)
    measure_loss(bare, bare, step)


@compiled_kernel(fastmath=False)
def step_policy(
    tiles: Any,
    of_asset: Any,
    e: Any,
    h: Any,
    layers: Any,
    bare: Any,
    book: Any,
    numbers: Any,
    market: Any,
    shapes: Any,
    calendar: Any,
    step: int,
    step_days: Any,
) -> None:
    """Bring one policy's hedges and its book to the step."""
    for exposure in range(e.shape[0]):
        a, own = tiles[of_asset[exposure]], layers[exposure]
        impact = shapes[exposure, IMPACT]
        move_hedge(
            a, e[exposure], h[exposure], own, numbers[exposure], market, impact, calendar, step, step_days
        )
        add_hedge(bare if exposure == 0 else book, book, h[exposure], own, exposure == 0)
    measure_fall(book)
    measure_loss(bare, book, step)
    measure_wait(bare, book, np.float32(step))
