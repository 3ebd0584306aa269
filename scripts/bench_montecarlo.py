"""``scripts/bench montecarlo``: 100,000 paths of 365 days with an LP, fees and three put layers.

Ours is the program's own kernel on the packaged model (jumps, stochastic vol, two regimes), all three layers
held all the time, rolled, marked daily, within budgets. numpy does the same job a step at a time, on chunks
that stay in cache, with its own generator and functions, in float32 as we do; before timing, the means of
both must agree. QuantLib's side does less: plain geometric Brownian paths, options worth their payoff only.
"""

import ctypes
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import QuantLib as ql
from bench_timers import Figures

# Read when numba's threads start: a thread that is done must not spin on the core that the other waits for.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from bot.errors import InvariantError
from bot.settings import named_policy
from bot.simulation.exposures import parse_exposure
from bot.simulation.market.model import load_market
from bot.simulation.monte_carlo import hedge_rows as hedge
from bot.simulation.monte_carlo import measure_tiles as measure
from bot.simulation.monte_carlo.hedge_twin import hedge_paths
from bot.simulation.monte_carlo.model import load_model
from bot.simulation.monte_carlo.numbers import Float32
from bot.simulation.monte_carlo.path_twin import Functions, walk
from bot.simulation.monte_carlo.run import Setup, run, set_up

_PATHS, _DAYS, _ROUNDS = 100_000, 365, 5
_CHUNK, _NUMPY_PATHS = 4_096, 16_384
_QUANTLIB_PATHS = 200
_MEGABYTE = 1024.0


def three_layers(*, paths: int = _PATHS, days: int = _DAYS, policies: int = 1) -> Setup:
    """Return a v2 position under classic's puts with every layer open at all times."""
    names = ["classic"] * policies
    setup = set_up(
        load_model(),
        load_market(),
        [parse_exposure("v2:ETH/USDC:1000000")],
        [named_policy(name) for name in names],
        paths=paths,
        steps=days,
        seed=11,
    )
    rows = setup.hedge.policies.copy()
    for layer in range(hedge.LAYERS):
        first = hedge.FIRST_LAYER + layer * hedge.LAYER_NUMBERS
        rows[:, :, first + hedge.OPENS_AT] = 0.0
        rows[:, :, first + hedge.RATIO_CALM : first + hedge.RATIO_ELEVATED + 1] = 0.25
    return replace(setup, hedge=replace(setup.hedge, policies=rows))


async def bench_montecarlo() -> Figures:
    """Seconds for the job, ratios of peers to it, extra memory, and how the time grows."""
    setup = three_layers()
    started = time.perf_counter()
    run(three_layers(paths=256, days=2))
    first_s = time.perf_counter() - started
    figures = _agree(setup)
    ours, theirs, quantlib = [], [], []
    for _ in range(_ROUNDS):
        ours.append(_seconds(lambda: run(setup)))
        theirs.append(_seconds(lambda: numpy_job(setup, _NUMPY_PATHS)) * _PATHS / _NUMPY_PATHS)
        quantlib.append(_seconds(lambda: quantlib_job(setup)) * _PATHS / _QUANTLIB_PATHS)
    mine = np.array(ours)
    return figures | {
        "mc_first_call_s": first_s,
        "mc_s_100k_x_365": float(np.median(mine)),
        "mc_best_s_100k_x_365": float(mine.min()),
        "mc_steps_per_s": _PATHS * _DAYS / float(np.median(mine)),
        "mc_numpy_s": float(np.median(theirs)),
        "mc_quantlib_s": float(np.median(quantlib)),
        "mc_ours_over_numpy": float(np.median(np.array(theirs) / mine)),
        "mc_ours_over_quantlib": float(np.median(np.array(quantlib) / mine)),
        "mc_extra_mb": _extra_mb(lambda: run(setup)),
        "mc_growth_2x_paths": _growth(setup, three_layers(paths=2 * _PATHS)),
        "mc_growth_2x_days": _growth(setup, three_layers(days=2 * _DAYS)),
        "mc_growth_4x_policies": _growth(setup, three_layers(policies=4)),
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _growth(base: Setup, more: Setup) -> float:
    """Return the median ratio of interleaved rounds."""
    return float(np.median([_seconds(lambda: run(more)) / _seconds(lambda: run(base)) for _ in range(3)]))


def _extra_mb(work: Callable[[], object]) -> float:
    """Return by how much the process grew at most while it worked; NaN where the system does not tell."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier work left free would hide what this one takes
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the peak starts anew
    except OSError:
        return math.nan
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / _MEGABYTE


def _status(name: str) -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(float(line.split()[1]) for line in file if line.startswith(name))


def _agree(setup: Setup) -> Figures:
    """Return how far the means of both sides are apart, in standard errors.

    Raises InvariantError when they are over three apart.
    """
    ours = run(setup).kept
    bare, hedged, fall = numpy_job(setup, 2 * _NUMPY_PATHS)
    pairs = {
        "unhedged": (ours[0, measure.END], bare),
        "hedged": (ours[1, measure.END], hedged),
        "fall": (ours[1, measure.DEEPEST_FALL], fall),
    }
    found = {}
    for name, (mine, theirs) in pairs.items():
        error = math.sqrt(mine.var(dtype=np.float64) / mine.size + theirs.var(dtype=np.float64) / theirs.size)
        apart = abs(mine.mean(dtype=np.float64) - theirs.mean(dtype=np.float64)) / error
        if apart > 3.0:
            raise InvariantError(f"mean {name} is {apart:.1f} standard errors from numpy's, allowed are 3")
        found[f"mc_{name}_errors_apart"] = float(apart)
    return found


def numpy_job(setup: Setup, paths: int) -> tuple[Float32, Float32, Float32]:
    """Return (unhedged end, hedged end, deepest hedged fall) of each path, by numpy alone.

    Every step is a handful of whole-array operations on a chunk of paths; draws and exponentials are numpy's.
    """
    parts = [_numpy_chunk(setup, number, min(_CHUNK, paths - first)) for number, first in _chunks(paths)]
    bare, hedged, fall = (np.concatenate(side) for side in zip(*parts, strict=True))
    return bare, hedged, fall


def _chunks(paths: int) -> list[tuple[int, int]]:
    return list(enumerate(range(0, paths, _CHUNK)))


def _numpy_chunk(setup: Setup, number: int, count: int) -> tuple[Float32, Float32, Float32]:
    random = np.random.Generator(np.random.SFC64(number))
    own = Functions(
        uniforms=lambda bits: (random.random(bits.size, np.float32), random.random(bits.size, np.float32)),
        normals=lambda bits: (
            random.standard_normal(bits.size, np.float32),
            random.standard_normal(bits.size, np.float32),
        ),
        mix=lambda bits: bits,
        exp=np.exp,
    )
    states = walk(setup.paths, np.zeros(count, np.uint64), setup.steps, functions=own)
    run_of = hedge_paths(states, setup.hedge, policy=0, steps=setup.steps, step_days=setup.step_days)
    peak = np.maximum.accumulate(run_of.worth, axis=0)
    return run_of.bare[-1], run_of.worth[-1], (1.0 - run_of.worth / peak).max(axis=0)


def quantlib_job(setup: Setup) -> list[float]:
    """Return each path's end by QuantLib's Python: its path generator, then a scan of the path.

    Plain geometric Brownian motion; LP value and fees every day; three puts rolled as ours are, bought at
    Black's value and worth their payoff at the roll, never marked. It does less than ours on every count.
    """
    vol, spread = 0.75, 1.24
    today = ql.Date(1, 1, 2025)
    ql.Settings.instance().evaluationDate = today
    days = ql.Actual365Fixed()
    flat = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, days))
    vols = ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), vol, days))
    process = ql.BlackScholesProcess(ql.QuoteHandle(ql.SimpleQuote(1.0)), flat, vols)
    uniform = ql.UniformRandomSequenceGenerator(setup.steps, ql.UniformRandomGenerator(seed=7))
    normal = ql.GaussianRandomSequenceGenerator(uniform)
    generator = ql.GaussianPathGenerator(process, setup.steps / 365.0, setup.steps, normal, False)
    fee = float(setup.hedge.shapes[0, hedge.FEE_STEP])
    lives = (6, 28, 60)
    prices = []
    for life in lives:
        payoff = ql.PlainVanillaPayoff(ql.Option.Put, 0.9)
        prices.append(ql.BlackCalculator(payoff, 1.0, vol * math.sqrt(life / 365.0)).value() * spread)
    ends = []
    for _ in range(_QUANTLIB_PATHS):
        path_found = generator.next().value()
        fees = cash = worst = peak = 0.0
        strikes = [0.9, 0.9, 0.9]
        for day, spot in enumerate(path_found):
            value = math.sqrt(spot)
            fees += fee * value
            for layer, life in enumerate(lives):
                if day % life == 0:
                    cash += 0.125 * max(strikes[layer] - spot, 0.0) - 0.125 * prices[layer] * spot
                    strikes[layer] = 0.9 * spot
            worth = value + fees + cash
            peak = max(peak, worth)
            worst = max(worst, 1.0 - worth / peak)
        ends.append(worth)
    return ends
