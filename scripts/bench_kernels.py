"""The kernels' part of ``scripts/bench backtest``: a year of minutes for one policy and for 256.

A bar is: R1-R4 on the scores of three families and the fast path, the LP's value with its fees and its
delta, the short perpetual of R27 with funding, liquidation, margin, band and the limits of R9-R11, the
account's value and its deepest fall. Bars at which the kernel finds that none of these changes count too;
what it takes to find out is in the time. What the scores are made of (the signals), the fees, the funding
integral and the stress quantile are made before the clock starts: they belong to the history and not to
a policy.
"""

import json
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_peers import last_line, peer_python
from bench_timers import Figures

from bot.engine.limits import spot_grid
from bot.engine.policy import Policy
from bot.engine.policy_sizing import TierShares
from bot.errors import TransientError
from bot.settings import PolicySettings, load_policy
from bot.simulation.kernels import layout as at
from bot.simulation.kernels.evaluate import Inputs, KernelRun, Wanted, run_policies
from bot.simulation.kernels.market_tapes import MarketTape
from bot.simulation.kernels.tapes import TierTape
from bot.simulation.market.model import load_market

YEAR_MINUTES = 525_600
_POLICIES = 256
_ROUNDS, _WARM = 7, 2
_START_S = 1_640_995_200  # 2022-01-01
_FEE_APR = 0.1
_SUMMARY = Wanted(tiers=False, path=False, orders=False)
_PEER = Path(__file__).with_name("bench_kernels_peer.py")
_PEERS = {  # name -> (package, bars that it is given: those that take minutes for a year get fewer)
    "vectorbt": ("vectorbt==1.2.0", YEAR_MINUTES),
    "nautilus": ("nautilus_trader==1.221.0", 100_000),
    "demeter": ("zelos-demeter==1.3.0", 20_000),
}
_PEER_LIMIT_S = 300


def made_up_prices(steps: int, *, seed: int = 7) -> np.ndarray:
    """Return closes of minutes: 70 % a year, and a fall of a third within two days every seven weeks."""
    random = np.random.default_rng(seed)
    sigma = 0.7 / np.sqrt(YEAR_MINUTES)
    returns = sigma * random.standard_normal(steps)
    for start in range(30_000, steps - 2_880, 70_560):
        returns[start : start + 2_880] += np.log(1.0 - 1.0 / 3.0) / 2_880 + sigma * random.standard_normal(
            2_880
        )
        rebound = min(20_160, steps - start - 2_880)
        returns[start + 2_880 : start + 2_880 + rebound] -= np.log(1.0 - 1.0 / 3.0) / 20_160
    return np.asarray(2_500.0 * np.exp(np.cumsum(returns)))


def made_up_inputs(policy: Policy, steps: int) -> Inputs:
    """Return a year of minutes as the kernels read it; scores follow the fall of the last day, with noise."""
    prices, random = made_up_prices(steps), np.random.default_rng(11)
    times_s = _START_S + 60.0 * np.arange(1.0, steps + 1.0)
    scores = _scores(prices, random)
    rates = np.repeat(0.08 + 0.1 * random.standard_normal(steps // 480 + 1), 480)[:steps]
    shape = load_shape(prices[0])
    value = 2.0 * shape[0] * np.sqrt(prices)
    rows = np.zeros((at.MARKET_ROWS, steps))
    rows[at.SPOT_USD] = prices
    rows[at.FEES_UNCOLLECTED_USD] = np.cumsum(value) * _FEE_APR / YEAR_MINUTES
    rows[at.RATE], rows[at.ACCRUES] = rates, 1.0
    rows[at.INTEGRAL] = np.cumsum(rates) / YEAR_MINUTES
    market = load_market().perpetual
    rows[at.COST], rows[at.GAS_USD] = market.cost, market.gas_usd
    terms = np.zeros(at.TERMS)
    terms[at.INITIAL_MARGIN], terms[at.MAINTENANCE_MARGIN] = market.initial_margin, market.maintenance_margin
    terms[at.PENALTY], terms[at.LOT], terms[at.MAX_UNITS] = market.penalty, market.lot, market.max_units
    return Inputs(
        tape=TierTape(
            times_s=times_s,
            blocks=(times_s // 12).astype(np.int64),
            scores=scores,
            flags=np.zeros(steps, dtype=np.int64),
        ),
        market=MarketTape(
            times_s=times_s,
            rows=rows,
            terms=terms,
            shapes=np.array([shape]),
            shape_from=np.zeros(1, dtype=np.int64),
        ),
        grid=spot_grid(policy.sizing, 1.0),
        stress=1.12 + 0.03 * np.repeat(random.random(steps // 1_440 + 1), 1_440)[:steps],
    )


def load_shape(spot_usd: float) -> list[float]:
    """Return a v2 position of 1 M USD: liquidity, range, and the deposit's units."""
    return [1e6 / (2.0 * np.sqrt(spot_usd)), 0.0, np.inf, 5e5 / spot_usd]


def _scores(prices: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return rounded scores that change every minute."""
    steps = prices.size
    day = np.concatenate([np.full(1_440, prices[0]), prices[:-1_440]])
    fall = np.clip(-np.log(prices / day), 0.0, None)

    def score(calm: float, stress: float, noise: float) -> np.ndarray:
        wide = np.repeat(random.standard_normal(steps // 60 + 1), 60)[:steps]
        raw = (fall - calm) / (stress - calm) + noise * wide + 0.01 * random.standard_normal(steps)
        return np.clip(raw, 0.0, 1.0)

    rows = np.full((at.SCORE_ROWS, steps), np.nan)
    for family, (calm, stress, noise) in enumerate(
        ((0.03, 0.14, 0.12), (0.02, 0.30, 0.05), (0.04, 0.2, 0.08))
    ):
        rows[at.SCORE + family] = score(calm, stress, noise)
        rows[at.THIRD + family] = 0.8 * rows[at.SCORE + family]
    rows[at.FAST_MEAN] = rows[at.FAST_CEILING] = score(0.04, 0.15, 0.05)
    return rows.round(9)


def perpetual_policy() -> Policy:
    """Return steward without its options: what the kernels run whole."""
    policy = load_policy(PolicySettings(preset="steward"))
    none = TierShares(CALM=0.0, GUARDED=0.0, ELEVATED=0.0, SEVERE=0.0, CRISIS=0.0)
    return replace(policy, sizing=replace(policy.sizing, shares=none))


def many_policies(base: Policy, count: int) -> list[Policy]:
    """Return policies that differ in votes, cooldown, shares of delta and band, as a sweep's do."""
    random, found = np.random.default_rng(3), []
    for _ in range(count):
        off, cooldown = random.uniform(0.25, 0.45), random.uniform(6.0, 72.0) * 3_600.0
        share = np.sort(random.uniform(0.1, 1.0, 3)).tolist()
        tiers = replace(
            base.tiers,
            vote=off + random.uniform(0.05, 0.25),
            vote_off=off,
            severe_score=0.8,
            fast_vote=random.uniform(0.6, 0.9),
            cooldown=cooldown,
            cooldown_guarded=min(cooldown, 6.0 * 3_600.0),
        )
        shares = replace(base.near.delta_share, ELEVATED=share[0], SEVERE=share[1], CRISIS=share[2])
        perpetual = replace(base.perpetual, reset_band=random.uniform(0.1, 0.5))
        found.append(
            replace(base, tiers=tiers, near=replace(base.near, delta_share=shares), perpetual=perpetual)
        )
    return found


def bench_kernels() -> Figures:
    """Bars per second of one policy and of 256 over a year of minutes, and the same beside others."""
    base = perpetual_policy()
    inputs, policies = made_up_inputs(base, YEAR_MINUTES), many_policies(base, _POLICIES)
    run_policies(policies, inputs, wanted=_SUMMARY)  # compiles
    extra_mb = _extra_mb(lambda: run_policies(policies, inputs, wanted=_SUMMARY))
    one_s, numpy_s, several_s, path_s = _take_turns(base, policies, inputs)
    runs = run_policies(policies, inputs, wanted=_SUMMARY)
    figures = {
        "bars_per_s": YEAR_MINUTES / one_s,
        "bar_policies_per_s": YEAR_MINUTES * _POLICIES / several_s,
        "bars_per_s_with_path": YEAR_MINUTES / path_s,  # tier, cash and open value of every bar kept
        "kernel_year_ms": 1e3 * one_s,
        "kernel_extra_mb": extra_mb,
        "kernel_tape_mb": inputs.tape.scores.nbytes / 2**20 + inputs.market.rows.nbytes / 2**20,
        "kernel_elevated_share": _elevated_share(runs),
        "kernel_trades_a_policy": sum(run.trades for run in runs) / len(runs),
        "ours_over_numpy": numpy_s / one_s,
    }
    return figures | _beside_peers(inputs, YEAR_MINUTES / one_s)


def _take_turns(base: Policy, policies: Sequence[Policy], inputs: Inputs) -> tuple[float, ...]:
    """Return median seconds of one policy, of its numpy form, of all policies, and of one with its path."""
    works: tuple[Callable[[], object], ...] = (
        lambda: run_policies([base], inputs, wanted=_SUMMARY),
        lambda: numpy_form(base, inputs),
        lambda: run_policies(policies, inputs, wanted=_SUMMARY),
        lambda: run_policies([base], inputs),
    )
    taken: list[list[float]] = [[] for _ in works]
    for number in range(_WARM + _ROUNDS):
        for work, times in zip(works, taken, strict=True):
            started = time.perf_counter()
            work()
            if number >= _WARM:
                times.append(time.perf_counter() - started)
    return tuple(float(np.median(times)) for times in taken)


def numpy_form(policy: Policy, inputs: Inputs) -> float:
    """Return the deepest fall as whole arrays can have it.

    Without what depends on the path: hysteresis, confirmation, cooldown, band, margin and limits are left
    out, and the short is what the scores of each minute ask for.
    """
    prices, scores = inputs.market.rows[at.SPOT_USD], inputs.tape.scores
    votes = (scores[at.SCORE : at.SCORE + 3] > policy.tiers.vote).sum(axis=0)
    is_severe = (votes == 2) & (scores[at.SCORE : at.SCORE + 3].max(axis=0) > policy.tiers.severe_score)
    tiers = np.where(votes >= 3, 4, np.where(is_severe, 3, votes))
    tiers = np.where(scores[at.FAST_MEAN] > policy.tiers.fast_vote, np.maximum(tiers, 2), tiers)
    shares = np.array([0.0, 0.0, *(policy.near.delta_share.of(tier) for tier in (2, 3, 4))])
    liquidity, roots = inputs.market.shapes[0, 0], np.sqrt(prices)
    short = shares[tiers] * liquidity / roots
    traded = np.abs(np.diff(short, prepend=0.0)) * prices
    funding = short[:-1] * prices[1:] * np.diff(inputs.market.rows[at.INTEGRAL])
    gained = np.concatenate([[0.0], np.cumsum(short[:-1] * -np.diff(prices) + funding)])
    costs = np.cumsum(traded * inputs.market.rows[at.COST, 0])
    value = 2.0 * liquidity * roots + inputs.market.rows[at.FEES_UNCOLLECTED_USD] + gained - costs
    return float((1.0 - value / np.maximum.accumulate(value)).max())


def _beside_peers(inputs: Inputs, ours: float) -> Figures:
    """Return how many times as fast as each peer the kernel is; a peer that cannot be had is named."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="alvh-bench-") as folder:
        path = Path(folder) / "prices.npy"
        np.save(path, inputs.market.rows[at.SPOT_USD])
        for name, (spec, bars) in _PEERS.items():
            try:
                answer = _ask_peer(name, spec, path, bars)
            except TransientError as error:
                print(f"  {name} is left out: {error}", flush=True)
                continue
            figures[f"ours_over_{name}"] = ours * float(answer["seconds"]) / bars
            figures[f"{name}_bars_per_s"] = bars / float(answer["seconds"])
            figures[f"{name}_mb"] = float(answer["peak_mb"])
    return figures


def _ask_peer(name: str, spec: str, prices: Path, bars: int) -> dict[str, object]:
    """Run a peer in its own environment. Raises TransientError when it does not install or run."""
    command = [str(peer_python(spec)), str(_PEER), name, str(prices), str(bars)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PEER_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"{spec} took over {_PEER_LIMIT_S} s for {bars:,} bars") from error
    if told.returncode:
        raise TransientError(f"{spec} ended with: {last_line(told.stderr)}")
    print(f"  {spec.replace('==', ' ')}, {bars:,} bars", flush=True)
    return dict(json.loads(told.stdout.splitlines()[-1]))


def _elevated_share(runs: Sequence[KernelRun]) -> float:
    high = sum(count for run in runs for tier, count in run.steps_at.items() if tier >= 2)
    return high / (YEAR_MINUTES * len(runs))


def _extra_mb(work: Callable[[], object]) -> float:
    """Return the most memory that a run holds beside its tapes."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20
