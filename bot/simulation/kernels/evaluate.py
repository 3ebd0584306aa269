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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.engine.limits import spot_grid
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.model.tier import Tier
from bot.simulation.kernels import layout as at
from bot.simulation.kernels.compiling import Floats, Integers
from bot.simulation.kernels.lanes import CHUNK, LANES, run_block, run_one
from bot.simulation.kernels.market_tapes import MarketTape
from bot.simulation.kernels.parameters import fresh_memory
from bot.simulation.kernels.support import policy_unsupported
from bot.simulation.kernels.tape_set import Tapes
from bot.simulation.kernels.tapes import TierTape, refuse, tier_key
from bot.simulation.kernels.twin import run_twin
from bot.simulation.market.model import HOLE_S

_ONE_BY_ONE = 8  # policies up to which each runs alone: a block would be mostly empty
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
    lanes = 1 if len(policies) <= _ONE_BY_ONE or not compiled else LANES
    order = sorted(range(len(policies)), key=lambda place: _eagerness(policies[place]))
    blocks = [order[start : start + lanes] for start in range(0, len(order), lanes)]

    def block(places: Sequence[int]) -> list[KernelRun]:
        return _run_block(
            [policies[place] for place in places],
            inputs,
            lanes=lanes,
            given=None if given is None else given[list(places)],
            wanted=wanted,
            compiled=compiled,
        )

    workers = min(threads or os.cpu_count() or 1, len(blocks) or 1)
    if workers == 1 or not compiled:
        done = [block(places) for places in blocks]
    else:
        with ThreadPoolExecutor(workers) as pool:
            done = list(pool.map(block, blocks))
    runs = dict(zip(order, (run for runs in done for run in runs), strict=True))
    return [runs[place] for place in range(len(policies))]


def _eagerness(policy: Policy) -> float:
    """Return what puts policies that hedge at the same times into the same block: it only saves time."""
    tiers = policy.tiers
    return tiers.vote + (1.0 if tiers.fast_vote is None else tiers.fast_vote)


def _run_block(
    policies: Sequence[Policy],
    inputs: Inputs,
    *,
    lanes: int,
    given: TierArray | None,
    wanted: Wanted,
    compiled: bool,
) -> list[KernelRun]:
    """Run one block, with more room where what there was did not do."""
    room = rows = _LEAST_ROOM
    while True:
        work = _Work.fresh(policies, inputs, lanes=lanes, given=given, wanted=wanted, room=room, rows=rows)
        work.run(inputs, compiled=compiled)
        is_short = bool((work.integer(at.SPENDS) < 0).any())
        written = int(work.logged[0])
        if not is_short and (written <= rows or not wanted.orders):
            return [work.result(lane, inputs, wanted=wanted) for lane in range(len(policies))]
        room, rows = (4 * room if is_short else room), max(rows, 2 * written)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """The arrays of one block."""

    lanes: int
    s: Floats
    k: Integers
    given: TierArray  # [step, lane]
    terms: Floats
    spends: Floats
    log: Floats
    logged: Integers
    tiers: TierArray  # [step, lane]
    cash_usd: Floats
    open_usd: Floats

    @classmethod
    def fresh(
        cls,
        policies: Sequence[Policy],
        inputs: Inputs,
        *,
        lanes: int,
        given: TierArray | None,
        wanted: Wanted,
        room: int,
        rows: int,
    ) -> "_Work":
        steps, market = inputs.tape.steps, inputs.market
        s, k = fresh_memory(policies, lanes)
        path = np.empty((steps, lanes)) if wanted.path and market is not None else _NO_PATH
        terms = np.zeros(at.TERMS) if market is None else market.terms.copy()
        terms[at.BY_HOLD] = 1.0 if inputs.by_hold else 0.0
        return cls(
            lanes=lanes,
            s=s,
            k=k,
            given=_NO_TIERS if given is None else _padded(given, lanes),
            terms=terms,
            spends=np.empty((2, lanes, room if market is not None else 0)),
            log=np.empty((rows if wanted.orders and market is not None else 0, at.ORDER_FIELDS)),
            logged=np.zeros(1, dtype=np.int64),
            tiers=np.empty((steps, lanes), dtype=np.int8) if wanted.tiers else _NO_TIERS,
            cash_usd=path,
            open_usd=np.empty_like(path),
        )

    def run(self, inputs: Inputs, *, compiled: bool) -> None:
        if not compiled:
            run_twin(self.lanes, *self._arguments(inputs))
        elif self.lanes == 1:
            run_one(*self._arguments(inputs))
        else:
            run_block(*self._arguments(inputs))

    def _arguments(self, inputs: Inputs) -> tuple[Any, ...]:
        tape, market = inputs.tape, inputs.market
        none = np.empty((at.MARKET_ROWS, 0))
        return (
            self.s,
            self.k,
            tape.times_s,
            tape.blocks,
            tape.scores,
            tape.flags,
            self.given,
            none if market is None else market.rows,
            np.empty((0, at.SHAPE_FIELDS)) if market is None else market.shapes,
            np.empty(0, dtype=np.int64) if market is None else market.shape_from,
            self.terms,
            inputs.grid,
            inputs.stress,
            np.empty(CHUNK),
            self.spends,
            self.log,
            self.logged,
            HOLE_S,
            self.tiers,
            self.cash_usd,
            self.open_usd,
        )

    def number(self, field: int) -> Floats:
        return self.s[(at.MEMORY_FROM + field) * self.lanes : (at.MEMORY_FROM + field + 1) * self.lanes]

    def integer(self, field: int) -> Integers:
        return self.k[field * self.lanes : (field + 1) * self.lanes]

    def result(self, lane: int, inputs: Inputs, *, wanted: Wanted) -> KernelRun:
        has_path = self.cash_usd.shape[0] > 0
        worst = float(self.number(at.WORST)[lane])
        return KernelRun(
            tiers=self.tiers[:, lane].copy() if wanted.tiers else np.empty(0, dtype=np.int8),
            cash_usd=self.cash_usd[:, lane].copy() if has_path else np.empty(0),
            open_usd=self.open_usd[:, lane].copy() if has_path else np.empty(0),
            orders=self._orders(lane) if wanted.orders else (),
            steps_at={tier: int(self.integer(at.STEPS_AT + tier)[lane]) for tier in Tier},
            trades=int(self.integer(at.TRADES)[lane]),
            traded_usd=float(self.number(at.TRADED_USD)[lane]),
            costs_usd=float(self.number(at.FEES_USD)[lane]),
            funding_usd=float(self.number(at.FUNDING_USD)[lane]),
            gain_usd=self._gain_usd(lane, inputs),
            max_drawdown=1.0 - worst if math.isfinite(worst) else math.nan,
        )

    def _gain_usd(self, lane: int, inputs: Inputs) -> float:
        if inputs.market is None or not inputs.market.steps:
            return math.nan
        last, size = inputs.market.rows[:, -1], float(self.number(at.SIZE)[lane])
        mark_usd = float(last[at.SPOT_USD])
        paid = float(last[at.INTEGRAL] - self.number(at.SETTLED)[lane]) * float(last[at.ACCRUES])
        open_usd = size * (mark_usd - float(self.number(at.BOOK_ENTRY_USD)[lane])) - size * mark_usd * paid
        return float(self.number(at.CASH_USD)[lane]) + open_usd

    def _orders(self, lane: int) -> tuple[KernelOrder, ...]:
        rows = self.log[: int(self.logged[0])]
        return tuple(
            KernelOrder(
                step=int(row[0]),
                action=_ACTIONS[int(row[2])],
                size=float(row[3]),
                margin_usd=float(row[4]),
                filled=bool(row[5]),
            )
            for row in rows[rows[:, 1] == lane]
        )


_ACTIONS = ("open", "reduce", "add margin", "ended")


def _padded(given: TierArray, lanes: int) -> TierArray:
    """Return tiers as [step, lane], the last policy's in the lanes that are left."""
    places = np.minimum(np.arange(lanes), given.shape[0] - 1)
    return np.ascontiguousarray(given[places].T)
