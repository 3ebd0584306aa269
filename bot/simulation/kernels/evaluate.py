"""Many policies over one history: their tiers, and what NEAR's perpetual did for each.

``evaluate_tiers`` is the engine's market tier of any policy; ``evaluate_perpetual`` is the engine's whole run
of those that ``support`` lets through. Both are the compiled kernel or, with ``compiled=False``, its plain
twin.
"""

import math
import os
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.engine.limits import spot_grid
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.model.tier import Tier
from bot.simulation.kernels import layout as at
from bot.simulation.kernels import tiles
from bot.simulation.kernels.bundles import Block, History, Lane, lane_of
from bot.simulation.kernels.compiling import Floats
from bot.simulation.kernels.lanes import run_block
from bot.simulation.kernels.market_tapes import MarketTape
from bot.simulation.kernels.parameters import fresh_memory
from bot.simulation.kernels.support import policy_unsupported
from bot.simulation.kernels.tape_set import Tapes
from bot.simulation.kernels.tapes import TierTape, refuse, tier_key
from bot.simulation.kernels.twin import run_twin
from bot.simulation.market.model import HOLE_S

LANES = 64  # policies of a block at most: their memory stays in the second cache
_LEAST_ROOM = 256  # spends within 30 days, and orders, that there is room for at first

TierArray = NDArray[np.int8]
_NO_TIERS: TierArray = np.empty((0, 0), dtype=np.int8)
_NO_PATH: Floats = np.empty((0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOrder:
    """One order for the perpetual. ``size`` is signed units; ``margin_usd`` as the order asked."""

    step: int
    action: str  # "open", "reduce", "add margin" or "ended": as ``PerpetualAction``
    size: float
    margin_usd: float  # to be added; of a reduction: the most to be released
    filled: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelRun:
    """One policy's run. Money is USD; arrays have one value a step, or none where they were not asked for."""

    tiers: TierArray
    cash_usd: FloatArray  # gains and funding that were realised, less fees and gas
    open_usd: FloatArray  # what closing at the mark would gain, funding included
    orders: tuple[KernelOrder, ...]
    steps_at: Mapping[Tier, int]
    trades: int
    traded_usd: float
    costs_usd: float  # fees and gas
    funding_usd: float  # settled; received, negative paid
    gain_usd: float  # cash and open value at the end
    max_drawdown: float  # of position and hedge together; none runs across a hole over 36 h


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """What all policies of a block share."""

    tape: TierTape
    market: MarketTape | None  # None: tiers alone
    grid: Floats  # of R10, as factors on the price
    stress: Floats  # factor on the price that margin has to bear, at each step
    by_hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is kept of a run."""

    tiers: bool = True
    path: bool = True
    orders: bool = True


def evaluate_tiers(
    policies: Sequence[Policy], tapes: Tapes, *, compiled: bool = True, threads: int | None = None
) -> TierArray:
    """Return the market tier of every policy after every step, [policy, step]; any policy will do."""
    refuse(tapes.tied)
    wanted = Wanted(path=False, orders=False)
    found: dict[int, KernelRun] = {}
    for places in _alike([tier_key(policy) for policy in policies]):
        mine = [policies[place] for place in places]
        inputs = Inputs(tape=tapes.tier(mine[0]), market=None, grid=np.empty(0), stress=np.empty(0))
        runs = run_policies(mine, inputs, wanted=wanted, compiled=compiled, threads=threads)
        found.update(zip(places, runs, strict=True))
    if not policies:
        return np.empty((0, tapes.steps), dtype=np.int8)
    return np.array([found[place].tiers for place in range(len(policies))])


def evaluate_perpetual(
    policies: Sequence[Policy],
    tapes: Tapes,
    *,
    tiers: TierArray | None = None,
    wanted: Wanted = Wanted(),
    compiled: bool = True,
    threads: int | None = None,
) -> tuple[KernelRun, ...]:
    """Return the run of every policy, in order.

    ``tiers`` [policy, step] takes the place of R1-R4, as the control of R26 rotates them. Raises ConfigError,
    naming the reason, for a policy, market or moments that only the engine can run.
    """
    for policy in policies:
        refuse(policy_unsupported(policy))
    if tiers is None:
        refuse(tapes.tied)
    elif tiers.shape != (len(policies), tapes.steps):
        raise ConfigError(
            f"tiers are [policy, step], {len(policies)} x {tapes.steps} are needed, found {tiers.shape}"
        )
    found: dict[int, KernelRun] = {}
    for places in _alike([tapes.account_key(policy) for policy in policies]):
        mine = [policies[place] for place in places]
        inputs = inputs_of(mine[0], tapes)
        given = None if tiers is None else np.ascontiguousarray(tiers[list(places)])
        runs = run_policies(mine, inputs, given=given, wanted=wanted, compiled=compiled, threads=threads)
        found.update(zip(places, runs, strict=True))
    return tuple(found[place] for place in range(len(policies)))


def inputs_of(policy: Policy, tapes: Tapes) -> Inputs:
    """Return what a policy shares with all of the same ``account_key``."""
    return Inputs(
        tape=tapes.tier(policy),
        market=tapes.market_tape,
        grid=spot_grid(policy.sizing, 1.0),
        stress=tapes.stress(policy),
        by_hold=policy.sizing.loss_measure == "hold",
    )


def _alike(keys: Sequence[Hashable]) -> list[tuple[int, ...]]:
    """Return the places of equal keys together."""
    places: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return [tuple(item) for item in places.values()]


def run_policies(
    policies: Sequence[Policy],
    inputs: Inputs,
    *,
    given: TierArray | None = None,
    wanted: Wanted = Wanted(),
    compiled: bool = True,
    threads: int | None = None,
) -> list[KernelRun]:
    """Run policies that share their inputs, in blocks of lanes, a thread for each core."""
    workers = min(threads or os.cpu_count() or 1, len(policies)) if compiled else 1
    lanes = min(LANES, math.ceil(len(policies) / max(workers, 1)))
    starts = range(0, len(policies), max(lanes, 1))

    def block(start: int) -> list[KernelRun]:
        mine = slice(start, start + lanes)
        tiers = None if given is None else given[mine]
        return _run_block(policies[mine], inputs, given=tiers, wanted=wanted, compiled=compiled)

    if workers <= 1:
        done = [block(start) for start in starts]
    else:
        with ThreadPoolExecutor(workers) as pool:
            done = list(pool.map(block, starts))
    return [run for runs in done for run in runs]


def _run_block(
    policies: Sequence[Policy],
    inputs: Inputs,
    *,
    given: TierArray | None,
    wanted: Wanted,
    compiled: bool,
) -> list[KernelRun]:
    """Run one block, with more room where what there was did not do."""
    room = rows = _LEAST_ROOM
    while True:
        work = fresh_block(policies, inputs, given=given, wanted=wanted, room=room, rows=rows)
        history = history_of(inputs)
        if compiled:
            run_block(history, work, np.zeros(tiles.SIZE))
        else:
            run_twin(history, work)
        is_short = bool((work.counts[:, at.SPENDS] < 0).any())
        written = int(work.counts[:, at.ORDERS].max())
        if not is_short and (written <= rows or not wanted.orders):
            return [_result(work, lane, inputs, wanted=wanted) for lane in range(len(policies))]
        room, rows = (4 * room if is_short else room), max(rows, written)


def history_of(inputs: Inputs) -> History:
    """Return the arrays that a block's lanes look at; its terms are the block's own to write to."""
    tape, market = inputs.tape, inputs.market
    terms = np.zeros(at.TERMS) if market is None else market.terms.copy()
    terms[at.BY_HOLD] = 1.0 if inputs.by_hold else 0.0
    return History(
        times_s=tape.times_s,
        blocks=tape.blocks,
        scores=tape.scores,
        flags=tape.flags,
        market=np.empty((at.MARKET_ROWS, 0)) if market is None else market.rows,
        shapes=np.empty((0, at.SHAPE_FIELDS)) if market is None else market.shapes,
        shape_from=np.empty(0, dtype=np.int64) if market is None else market.shape_from,
        terms=terms,
        grid=inputs.grid,
        stress=inputs.stress,
        hole_s=float(HOLE_S),
    )


def fresh_block(
    policies: Sequence[Policy],
    inputs: Inputs,
    *,
    given: TierArray | None,
    wanted: Wanted,
    room: int,
    rows: int,
) -> Block:
    """Return a block before its first step, with room for so many spends of 30 days and orders a lane."""
    lanes, steps, has_market = len(policies), inputs.tape.steps, inputs.market is not None
    numbers, counts = fresh_memory(policies)
    path = np.empty((lanes, steps)) if wanted.path and has_market else _NO_PATH
    return Block(
        numbers=numbers,
        counts=counts,
        spends=np.empty((lanes, 2, room if has_market else 0)),
        log=np.empty((lanes, rows if wanted.orders and has_market else 0, at.ORDER_FIELDS)),
        given=_NO_TIERS if given is None else np.ascontiguousarray(given),
        tiers=np.empty((lanes, steps), dtype=np.int8) if wanted.tiers else _NO_TIERS,
        cash_usd=path,
        open_usd=np.empty_like(path),
    )


def _result(block: Block, number: int, inputs: Inputs, *, wanted: Wanted) -> KernelRun:
    lane, has_path = lane_of(block, number), block.cash_usd.shape[0] > 0
    x, k, none = lane.x, lane.k, np.empty(0)
    worst = float(x[at.WORST])
    return KernelRun(
        tiers=block.tiers[number] if wanted.tiers else np.empty(0, dtype=np.int8),
        cash_usd=block.cash_usd[number] if has_path else none,
        open_usd=block.open_usd[number] if has_path else none,
        orders=_orders(lane) if wanted.orders else (),
        steps_at={tier: int(k[at.STEPS_AT + tier]) for tier in Tier},
        trades=int(k[at.TRADES]),
        traded_usd=float(x[at.TRADED_USD]),
        costs_usd=float(x[at.FEES_USD]),
        funding_usd=float(x[at.FUNDING_USD]),
        gain_usd=_gain_usd(lane, inputs),
        max_drawdown=1.0 - worst if math.isfinite(worst) else math.nan,
    )


def _gain_usd(lane: Lane, inputs: Inputs) -> float:
    if inputs.market is None or not inputs.market.steps:
        return math.nan
    x, last = lane.x, inputs.market.rows[:, -1]
    mark_usd, size = float(last[at.SPOT_USD]), float(x[at.SIZE])
    paid = float(last[at.INTEGRAL] - x[at.SETTLED]) * float(last[at.ACCRUES])
    open_usd = size * (mark_usd - float(x[at.BOOK_ENTRY_USD])) - size * mark_usd * paid
    return float(x[at.CASH_USD]) + open_usd


def _orders(lane: Lane) -> tuple[KernelOrder, ...]:
    return tuple(
        KernelOrder(
            step=int(row[0]),
            action=_ACTIONS[int(row[1])],
            size=float(row[2]),
            margin_usd=float(row[3]),
            filled=bool(row[4]),
        )
        for row in lane.log[: int(lane.k[at.ORDERS])]
    )


_ACTIONS = ("open", "reduce", "add margin", "ended")
