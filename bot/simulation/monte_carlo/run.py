"""Runs all paths on the kernels and hands back what each of them left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.hedge import Layer
from bot.simulation.exposures import ExposureSpec
from bot.simulation.market.model import Market
from bot.simulation.monte_carlo import measure_tiles as measure
from bot.simulation.monte_carlo.bootstrap import DailyHistory, replay_of
from bot.simulation.monte_carlo.model import PathModel
from bot.simulation.monte_carlo.numbers import (
    NO_REPLAY,
    Float32,
    HedgeNumbers,
    PathNumbers,
    Replay,
    fan_points,
    has_perpetual,
    hedge_numbers,
    implied_from_spot,
    implied_mean,
    path_numbers,
    reversion_of,
)
from bot.simulation.monte_carlo.path_twin import path_keys, seed_key, walk
from bot.simulation.monte_carlo.run_tiles import Draws, Hedges, Results, run_paths
from bot.simulation.monte_carlo.sizing import Ratios, SizingPaths, layer_terms, ratios_for

MOST_PATHS, MOST_STEPS = 100_000_000, 36_500
_SIZING_PATHS = 10_000
_SIZING_SEED = 20_130  # apart from any run's own seed by its paths' numbers too


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setup:
    """One run, as the kernels and the twin take it."""

    model: PathModel
    market: Market
    specs: tuple[ExposureSpec, ...]
    policies: tuple[Policy, ...]
    ratios: tuple[tuple[Ratios, ...], ...]  # of each policy and exposure
    paths: PathNumbers
    hedge: HedgeNumbers
    count: int
    steps: int
    step_days: float
    seed: int
    points: NDArray[np.int64]  # steps of the fans
    replay: Replay = NO_REPLAY


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathEnds:
    """What the paths left, of the unhedged book first and then of each policy, and the fans' counts."""

    kept: Float32  # [book, figure of measure_tiles, path]
    counts: NDArray[np.int64]  # [book, point, bin]


def set_up(
    model: PathModel,
    market: Market,
    specs: Sequence[ExposureSpec],
    policies: Sequence[Policy],
    *,
    paths: int,
    steps: int,
    seed: int,
    step_days: float = 1.0,
    history: DailyHistory | None = None,
) -> Setup:
    """Return a run's numbers. Raises ConfigError for one that cannot be run."""
    _check_sizes(paths=paths, steps=steps, seed=seed)
    names = _simulated(model, specs)
    numbers = path_numbers(model, market, names, step_days=step_days)
    replay = NO_REPLAY
    if history is not None:
        replay, numbers = replay_of(history, numbers, model, names)
    ratios = _ratios(model, market, specs, policies)
    hedge = hedge_numbers(model, market, specs, policies, ratios, names, steps=steps, step_days=step_days)
    return Setup(
        model=model,
        market=market,
        specs=tuple(specs),
        policies=tuple(policies),
        ratios=ratios,
        paths=numbers,
        hedge=hedge,
        count=paths,
        steps=steps,
        step_days=step_days,
        seed=seed,
        points=fan_points(steps),
        replay=replay,
    )


def _simulated(model: PathModel, specs: Sequence[ExposureSpec]) -> list[str]:
    """Return the assets that paths are drawn for: those before the last that is exposed, and it."""
    names = list(model.assets)
    for spec in specs:
        if spec.underlying not in model.assets:
            raise ConfigError(
                f"the model has no asset {spec.underlying}, it has {', '.join(names)}; add "
                f"[assets.{spec.underlying}]"
            )
    return names[: max(names.index(spec.underlying) for spec in specs) + 1]


def _check_sizes(*, paths: int, steps: int, seed: int) -> None:
    if not 1 <= paths <= MOST_PATHS:
        raise ConfigError(f"--paths must be between 1 and {MOST_PATHS:,}, was {paths:,}")
    if not 1 <= steps <= MOST_STEPS:
        raise ConfigError(f"--days must be between 1 and {MOST_STEPS:,}, was {steps:,}")
    if not 0 <= seed < 2**64:
        raise ConfigError(f"--seed must be a whole number from 0 to 2^64 - 1, was {seed}")


def _ratios(
    model: PathModel, market: Market, specs: Sequence[ExposureSpec], policies: Sequence[Policy]
) -> tuple[tuple[Ratios, ...], ...]:
    """Return R8's sizes, solved on daily paths of each underlying alone."""
    horizon = max(policy.sizing.horizon_days for policy in policies)
    spots = {name: _sizing_spots(model, market, name, horizon) for name in {s.underlying for s in specs}}
    return tuple(
        tuple(
            ratios_for(
                policy,
                spec,
                _sizing_paths(model, market, policy, spec.underlying, spots[spec.underlying]),
                near_is_put=not has_perpetual(policy, market),
            )
            for spec in specs
        )
        for policy in policies
    )


def _sizing_spots(model: PathModel, market: Market, name: str, days: int) -> Float32:
    numbers = path_numbers(model, market, [name], step_days=1.0)
    keys = path_keys(_SIZING_SEED, 0, _SIZING_PATHS)
    return np.stack([states[0].spot.copy() for states in walk(numbers, keys, days, at_median=True)], axis=1)


def _sizing_paths(model: PathModel, market: Market, policy: Policy, name: str, spots: Float32) -> SizingPaths:
    asset, terms, options = model.assets[name], layer_terms(policy), market.options
    mean = implied_mean(asset, model)
    half_life = market.half_life_days

    def vol_at(days: float) -> float:
        share = reversion_of(days, half_life) / reversion_of(30.0, half_life)
        return math.sqrt(mean + (level * level - mean) * share)

    base, slope = implied_from_spot(asset, model, in_crisis=False)
    level = math.sqrt(base + slope * asset.vol**2)
    stress = options.stress(level)
    return SizingPaths(
        spots=spots.astype(np.float64),
        vols={layer: vol_at(max(terms.entry_days[layer], 1.0)) for layer in Layer},
        skew_slope=options.skew_calm + (options.skew_stress - options.skew_calm) * stress,
        skew_bend=options.skew_curvature,
    )


def run(setup: Setup) -> PathEnds:
    """Run every path; the same seed gives the same bits, however many threads there are."""
    books = 1 + len(setup.policies)
    kept = np.zeros((books, measure.KEPT, setup.count), np.float32)
    counts = np.zeros((numba.get_num_threads(), books, setup.points.size, measure.BINS), np.int32)
    point_of_step = np.full(setup.steps + 1, -1, np.int64)
    point_of_step[setup.points] = np.arange(setup.points.size)
    run_paths(_draws(setup), _hedges(setup), Results(kept, counts, point_of_step))
    return PathEnds(kept=kept, counts=counts.sum(axis=0, dtype=np.int64))


def _draws(setup: Setup) -> Draws:
    paths, replay = setup.paths, setup.replay
    return Draws(
        seed_key=seed_key(setup.seed),
        assets=paths.assets,
        shared=paths.shared,
        factors=paths.factors,
        returns=replay.returns,
        variances=replay.variances,
        successors=replay.successors,
        restart=replay.restart,
        decay=replay.decay,
    )


def _hedges(setup: Setup) -> Hedges:
    hedge = setup.hedge
    return Hedges(
        of_asset=hedge.of_asset,
        shapes=hedge.shapes,
        policies=hedge.policies,
        market=hedge.market,
        calendar=hedge.calendar,
        recentres=hedge.recentres,
        step_days=np.float32(setup.step_days),
    )
