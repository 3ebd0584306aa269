"""All paths, spread over the cores: one task takes some tiles, one after the other, in scratch of its own.

Arrays go in bundles, named tuples: compiled code takes no dataclass.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

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

Float32 = NDArray[np.float32]


class Draws(NamedTuple):
    """Where paths come from: the model, or with ``successors`` days of history."""

    seed_key: np.uint64
    assets: Float32  # [asset, number]
    shared: Float32
    factors: Float32
    returns: Float32  # [asset, day]
    variances: Float32
    successors: NDArray[np.int64]
    restart: np.float32
    decay: np.float32


class Hedges(NamedTuple):
    """What is hedged, and how."""

    of_asset: NDArray[np.int64]
    shapes: Float32  # [exposure, number]
    policies: Float32  # [policy, exposure, number]
    market: Float32
    calendar: Float32  # [policy, step, layer, entry]
    recentres: NDArray[np.bool_]  # [step]
    step_days: np.float32


class Results(NamedTuple):
    """What is filled."""

    kept: Float32  # [book, figure, path]
    counts: NDArray[np.int32]  # [thread, book, point, bin]
    point_of_step: NDArray[np.int64]  # -1: none


class Scratch(NamedTuple):
    """The rows of one tile, each LANES long: of assets, exposures, hedges, layers and books."""

    assets: Any
    exposures: Any
    hedges: Any  # [policy, exposure, row]
    layers: Any  # [policy, exposure, layer, row]
    books: Any  # unhedged first
    keys: Any
    places: Any  # in the history


@compiled_kernel(fastmath=False)
def new_scratch(assets: int, many: int, held: int) -> Scratch:
    """Return room for one tile under ``many`` policies with ``held`` exposures."""
    return Scratch(
        np.empty((assets, ROWS * LANES), np.float32),
        np.empty((held, EXPOSURE_ROWS * LANES), np.float32),
        np.empty((many, held, HEDGE_ROWS * LANES), np.float32),
        np.empty((many, held, LAYERS, LAYER_ROWS * LANES), np.float32),
        np.empty((1 + many, BOOK_ROWS * LANES), np.float32),
        np.empty(LANES, np.uint64),
        np.zeros(LANES, np.int64),
    )


@compiled_kernel(fastmath=False)
def run_tile(
    draws: Draws, hedges: Hedges, results: Results, scratch: Scratch, counts: Any, first: int
) -> None:
    """Take the tile of paths from ``first`` on through all steps and keep what they left."""
    lanes = min(LANES, results.kept.shape[2] - first)
    scratch.hedges[:] = ZERO
    scratch.layers[:] = ZERO
    fill_keys(scratch.keys, draws.seed_key, first)
    for book in range(scratch.books.shape[0]):
        start_book(scratch.books[book])
    for step in range(results.point_of_step.size):
        move_paths(draws, scratch, step)
        move_books(hedges, scratch, step)
        point = results.point_of_step[step]
        if point >= 0:
            for book in range(scratch.books.shape[0]):
                count_values(scratch.books[book], counts[book, point], lanes)
    keep_book(scratch.books[0], results.kept[0, :, first : first + lanes])
    for policy in range(scratch.hedges.shape[0]):
        kept = results.kept[1 + policy, :, first : first + lanes]
        keep_hedged(scratch.books[1 + policy], scratch.hedges[policy], kept)


@compiled_kernel(fastmath=False)
def move_paths(draws: Draws, scratch: Scratch, step: int) -> None:
    """Take the assets of a tile to a step."""
    tiles, keys = scratch.assets, scratch.keys
    if draws.successors.size > 0:
        past = (draws.returns, draws.variances, draws.successors, draws.restart, draws.decay)
        next_replayed(tiles, keys, draws.assets, scratch.places, *past, step)
    else:
        next_step(tiles, keys, draws.assets, draws.shared, draws.factors, step)


@compiled_kernel(fastmath=False)
def move_books(hedges: Hedges, scratch: Scratch, step: int) -> None:
    """Take the positions of a tile, and every policy's hedges of them, to a step."""
    tiles, exposures, bare = scratch.assets, scratch.exposures, scratch.books[0]
    of_asset, shapes, days = hedges.of_asset, hedges.shapes, hedges.step_days
    step_exposures(tiles, of_asset, shapes, exposures, bare, step, hedges.recentres[step])
    for policy in range(scratch.hedges.shape[0]):
        step_policy(
            tiles,
            of_asset,
            exposures,
            scratch.hedges[policy],
            scratch.layers[policy],
            bare,
            scratch.books[1 + policy],
            hedges.policies[policy],
            hedges.market,
            shapes,
            hedges.calendar[policy, step],
            step,
            days,
        )


def _entry(text: int) -> Callable[[Draws, Hedges, Results], None]:
    """Return the loop over all paths.

    Compiled code is kept by the text of its own file alone; closing over ``text``, it is compiled anew when
    any file of this folder changes.
    """

    @compiled_kernel(parallel=True, fastmath=False)
    def over_all(draws: Draws, hedges: Hedges, results: Results) -> None:
        paths = results.kept.shape[2]
        span = LANES * TILES_PER_TASK if text else LANES
        for task in numba.prange((paths + span - 1) // span):
            scratch = new_scratch(draws.assets.shape[0], hedges.policies.shape[0], hedges.policies.shape[1])
            counts = results.counts[numba.get_thread_id()]  # type: ignore[attr-defined]
            for first in range(task * span, min(paths, (task + 1) * span), LANES):
                run_tile(draws, hedges, results, scratch, counts, first)

    return over_all


def _text_number() -> int:
    text = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


_over_all = _entry(_text_number())


def run_paths(draws: Draws, hedges: Hedges, results: Results) -> None:
    """Fill the results, on all cores."""
    _over_all(draws, hedges, results)
