"""All paths, spread over the cores: one task takes some tiles, one after the other, in scratch of its own."""

from typing import Any

import numba
import numpy as np

from bot.quant.vector_math import compiled_kernel
from bot.simulation.monte_carlo.hedge_rows import EXPOSURE_ROWS, HEDGE_ROWS, LAYER_ROWS, LAYERS
from bot.simulation.monte_carlo.lane_maths import ZERO
from bot.simulation.monte_carlo.measure_tiles import (
    BOOK_ROWS,
    count_values,
    keep_book,
    keep_hedged,
    start_book,
    step_exposures,
    step_policy,
)
from bot.simulation.monte_carlo.path_tiles import LANES, ROWS, fill_keys, next_replayed, next_step

TILES_PER_TASK = 8


@compiled_kernel(parallel=True, fastmath=False)
def run_paths(
    seed_key: Any,
    steps: int,
    step_days: Any,
    numbers: Any,
    shared: Any,
    factors: Any,
    of_asset: Any,
    shapes: Any,
    policies: Any,
    market: Any,
    calendar: Any,
    point_of_step: Any,
    recentres: Any,
    returns: Any,
    variances: Any,
    successors: Any,
    restart: Any,
    decay: Any,
    kept: Any,
    counts: Any,
) -> None:
    """Fill ``kept`` [book, figure, path] and ``counts`` [thread, book, point, bin].

    With ``successors`` paths are drawn from the history's returns, else from the model.
    """
    paths = kept.shape[2]
    span = LANES * TILES_PER_TASK
    for task in numba.prange((paths + span - 1) // span):
        many, held = policies.shape[0], policies.shape[1]
        assets = np.empty((numbers.shape[0], ROWS * LANES), np.float32)
        e = np.empty((held, EXPOSURE_ROWS * LANES), np.float32)
        h = np.empty((many, held, HEDGE_ROWS * LANES), np.float32)
        layers = np.empty((many, held, LAYERS, LAYER_ROWS * LANES), np.float32)
        books = np.empty((1 + many, BOOK_ROWS * LANES), np.float32)
        keys = np.empty(LANES, np.uint64)
        places = np.zeros(LANES, np.int64)
        own_counts = counts[numba.get_thread_id()]  # type: ignore[attr-defined]
        for first in range(task * span, min(paths, (task + 1) * span), LANES):
            lanes = min(LANES, paths - first)
            h[:] = ZERO
            layers[:] = ZERO
            fill_keys(keys, seed_key, first)
            for book in range(1 + many):
                start_book(books[book])
            for step in range(steps + 1):
                if successors.size > 0:
                    next_replayed(
                        assets, keys, numbers, places, returns, variances, successors, restart, decay, step
                    )
                else:
                    next_step(assets, keys, numbers, shared, factors, step)
                step_exposures(assets, of_asset, shapes, e, books[0], step, recentres[step])
                for policy in range(many):
                    step_policy(
                        assets,
                        of_asset,
                        e,
                        h[policy],
                        layers[policy],
                        books[0],
                        books[1 + policy],
                        policies[policy],
                        market,
                        shapes,
                        calendar[policy, step],
                        step,
                        step_days,
                    )
                point = point_of_step[step]
                if point >= 0:
                    for book in range(1 + many):
                        count_values(books[book], own_counts[book, point], lanes)
            keep_book(books[0], kept[0, :, first : first + lanes])
            for policy in range(many):
                keep_hedged(books[1 + policy], h[policy], kept[1 + policy, :, first : first + lanes])
