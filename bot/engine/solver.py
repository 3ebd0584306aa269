"""The least-cost purchase of several slots from many offers, as an integer programme. Pure numbers.

What is asked, in this order: serve as many slots as the limits let through, those marked ``first`` before
others; bring the slots that share a limit to their highest common level, each against what its own limits
allow (docs/adr/0004); pay as little as that can cost. Each goal is one run of HiGHS (scipy.optimize.milp),
bounded by a number of nodes, so that the same input gives the same bytes. Where that stops the search near
the best (many coarse lots), what was found is taken and its distance told: one quote each, the other way
out, protects less. An answer is rounded down to whole lots and checked by plain arithmetic; one that does not
hold is no answer.

Nodes do not bound the linear programme inside a node, and milp takes no limit of iterations. So a clock
stands behind them, so far out that it should never be reached: a run takes about 0.01 s, 3 s of CPU with 300
offers. What a run has found by then depends on the machine and is thrown away: the programme ends at once
without an answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

from bot.engine.purchase_model import (
    LOT_NOISE,
    WHOLE_LOTS,
    Programme,
    Row,
    Solution,
    Stage,
    floor_lots,
    least_order,
    single_orders,
    violation,
    whole_alone,
)
from bot.model.market import FloatArray

_NODES = 1_000  # of branch and bound, in each run
_CLOCK_S = 60.0  # in each run; past it there is no answer
_COST_GAP = 1e-4  # relative: a cost this near to the least that is possible is taken
_STOPPED_COST = 0.1  # relative: and so is one this near at the node limit
_STOPPED_SIZE = 0.05  # relative, likewise of what sizes and liquidity let slots have
_LEVEL_GAP = 1e-5
_TIE = 1e-5  # of the cost: the earlier offer wins between equals
_INSIDE = 1e-6  # limits are drawn in by it, so that the solver's tolerance never passes one
_NOTHING = 1e-5  # of a slot: a smaller order is the solver's tolerance
# A slot that is served counts for more than all levels and sizes together (1.01), and for little more: what
# it adds to the value widens the gap in which a run may stop, and so what is left of the sizes.
_SERVED = 1.05
_LOTS_COUNT = 0.01  # and all sizes together against a level, so that none stays a lot under it
_DONE, _CLOCK, _INFEASIBLE, _OTHER = 0, 1, 2, 4  # scipy.optimize.milp's status; a node limit is _OTHER


def solve(programme: Programme) -> Solution:
    """Return the least-cost purchase, or why there is none (``failed``).

    Slots that draw on nothing together are solved apart first: where that keeps the limits that they share,
    it is the least cost of all.
    """
    runs = _Runs(programme)
    try:
        own, apart = _solve_apart(programme, runs)
        left = [("", own)]
        alone = runs.answer(apart, left)
        if not alone.failed:
            return alone
        contracts = runs.cheapest(own)
        for number, stage in enumerate(programme.stages if contracts is None else ()):
            before = [row for each in programme.stages[: number + 1] for row in each.rows]
            own = runs.raise_levels(own, before, stage)
            left.append((stage.name, own))
        if contracts is None:
            contracts = runs.cheapest(own)
    except _NoAnswerError as error:
        return Solution(contracts=np.zeros(programme.offers), left=(), runs=runs.count, failed=str(error))
    return runs.answer(contracts, left)


def _solve_apart(programme: Programme, runs: "_Runs") -> tuple[FloatArray, FloatArray]:
    """Return what sizes, lots and liquidity let each slot have, and the least-cost purchase of that."""
    own, contracts = np.ones(programme.slots), np.zeros(programme.offers)
    for slots in _drawing_together(programme):
        part, offers = _part_of(programme, slots)
        alone = single_orders(part)
        if alone is None:
            mine = _Runs(part)
            own[slots] = 1.0 if _each_has_one(part) else mine.most()
            found = mine.cheapest(own[slots])
            runs.count, runs.gap = runs.count + mine.count, max(runs.gap, mine.gap)
            alone = np.zeros(part.offers) if found is None else found
        contracts[offers] = alone
    return own, contracts


def _each_has_one(programme: Programme) -> bool:
    """Return whether every slot has an offer that can serve it alone, whatever the others draw on."""
    served = np.bincount(programme.slot, weights=whole_alone(programme), minlength=programme.slots)
    return not programme.pools and bool((served > 0.0).all())


def _drawing_together(programme: Programme) -> list[NDArray[np.intp]]:
    """Return the slots in sets that share liquidity."""
    label = np.arange(programme.slots)
    for row in programme.pools:
        mine = np.unique(label[programme.slot[row.per_contract > 0.0]])
        label[np.isin(label, mine)] = mine[0]
    return [np.flatnonzero(label == each) for each in np.unique(label)]


def _part_of(programme: Programme, slots: NDArray[np.intp]) -> tuple[Programme, NDArray[np.intp]]:
    """Return the programme of some slots, without the limits of stages, and the places of its offers."""
    offers = np.flatnonzero(np.isin(programme.slot, slots))
    pools = [
        replace(row, per_contract=row.per_contract[offers], per_order=row.per_order[offers])
        for row in programme.pools
        if row.per_contract[offers].any()
    ]
    by_offer = ("gain", "units", "cost", "order_cost", "least", "most", "lot")
    by_slot = ("wanted_gain", "wanted_units", "least_gain", "first")
    arrays = {name: getattr(programme, name)[offers] for name in by_offer}
    arrays |= {name: getattr(programme, name)[slots] for name in by_slot}
    slot = np.searchsorted(slots, programme.slot[offers])
    return Programme(slot=slot, **arrays, pools=tuple(pools)), offers


class _NoAnswerError(Exception):
    """HiGHS stopped without the optimum."""


@dataclass(slots=True)
class _Runs:
    """The matrices that all runs of one programme share.

    Variables: size of each offer (in lots where few, else in shares of the slot's gain), whether it is
    ordered, whether each slot is served, and the levels of the run.
    """

    programme: Programme
    count: int = 0
    gap: float = 0.0  # the largest relative distance to the best at which a run was stopped
    step: FloatArray = field(init=False)  # contracts in one unit of a size variable
    whole: NDArray[np.bool_] = field(init=False)  # sizes in lots
    top: FloatArray = field(init=False)  # of a size variable
    share: FloatArray = field(init=False)  # of the slot's gain in one unit of a size variable
    base: list[tuple[FloatArray, float, float]] = field(init=False)

    def __post_init__(self) -> None:
        programme = self.programme
        full = programme.wanted_gain[programme.slot] / programme.gain
        most = np.minimum(programme.most, np.minimum(full, self._by_units()) * (1.0 + LOT_NOISE))
        self.whole = (programme.lot > 0.0) & (most < WHOLE_LOTS * programme.lot)
        self.step = np.where(self.whole, programme.lot, full)
        self.top = most / self.step
        self.top = np.where(self.whole, np.floor(self.top + LOT_NOISE), self.top)
        self.share = self.step / full
        self.base = list(self._base())

    def _by_units(self) -> FloatArray:
        programme = self.programme
        return np.asarray(programme.wanted_units[programme.slot] / programme.units)

    def _base(self) -> list[tuple[FloatArray, float, float]]:
        """Return rows (coefficients, low, high) over sizes, orders and served that hold in every run."""
        programme, n, k = self.programme, self.programme.offers, self.programme.slots
        least = least_order(programme) / self.step
        rows: list[tuple[FloatArray, float, float]] = []
        for offer in range(n):
            upper, lower, serves = (np.zeros(2 * n + k) for _ in range(3))
            upper[offer], upper[n + offer] = 1.0, -self.top[offer]
            lower[offer], lower[n + offer] = 1.0, -least[offer]
            serves[n + offer], serves[2 * n + programme.slot[offer]] = 1.0, -1.0
            rows += [(upper, -math.inf, 0.0), (lower, 0.0, math.inf), (serves, -math.inf, 0.0)]
        for slot in range(k):
            mine = programme.slot == slot
            notional, gain, enough = np.zeros(2 * n + k), self._share_of(slot), self._share_of(slot)
            notional[:n][mine] = (programme.units * self.step)[mine] / programme.wanted_units[slot]
            enough[2 * n + slot] = -max(programme.least_gain[slot] / programme.wanted_gain[slot], _INSIDE)
            rows += [(notional, -math.inf, 1.0), (gain, -math.inf, 1.0), (enough, 0.0, math.inf)]
        rows += [self._row(row) for row in programme.pools]
        return rows

    def _row(self, row: Row) -> tuple[FloatArray, float, float]:
        """Return a limit in this run's variables, scaled to the most that it could be used."""
        n, k = self.programme.offers, self.programme.slots
        line = np.zeros(2 * n + k)
        line[:n], line[n : 2 * n] = row.per_contract * self.step, row.per_order
        reach = float(np.maximum(line[:n], 0.0) @ self.top + np.maximum(row.per_order, 0.0).sum())
        scale = max(reach, abs(row.limit), 1e-12)
        limit = (row.limit - _INSIDE * abs(row.limit)) / scale
        if row.gates >= 0:
            open_by = reach + abs(row.limit)  # while the slot is not served
            line[2 * n + row.gates] = open_by
            limit += open_by / scale
        return line / scale, -math.inf, limit

    def most(self) -> FloatArray:
        """Return the largest share of each slot under sizes, lots and liquidity alone."""
        programme, n = self.programme, self.programme.offers
        value = np.concatenate((-self.share, np.zeros(n + programme.slots)))
        found = self._run(value, self.base, gap=_LEVEL_GAP, stopped_gap=_STOPPED_SIZE)
        if found is None:
            raise _NoAnswerError("no purchase keeps within sizes and liquidity, not even none")
        return np.minimum(programme.delivered(found[:n] * self.step), 1.0)

    def raise_levels(self, own: FloatArray, rows: Sequence[Row], stage: Stage) -> FloatArray:
        """Return the shares of slots when those that shrink alike rise as far as ``rows`` let them.

        None passes ``own``. Slots of one factor are served at one part of it, up to a lot, or not at all.
        """
        programme, n, k = self.programme, self.programme.offers, self.programme.slots
        levels = stage.weights.size
        blank = np.zeros(levels)
        wide = [
            (np.append(line, blank), low, high)
            for line, low, high in (*self.base, *(self._row(row) for row in rows))
        ]
        coarse = np.zeros(k)
        np.maximum.at(coarse, programme.slot, np.where(self.whole, self.share, 0.0))
        for slot in range(k):
            share = self._share_of(slot, extra=levels)
            if stage.fixed[slot]:
                wide.append((share, own[slot] - 2.0 * _INSIDE, own[slot] + _INSIDE))
                continue
            share[2 * n + k + stage.alike[slot]] = -own[slot]
            wide.append((share, -math.inf, _INSIDE if own[slot] > 0.0 else 0.0))
            served = share.copy()
            served[2 * n + slot] = -1.0
            wide.append((served, -1.0 - coarse[slot], math.inf))
        factors = stage.weights / stage.weights.sum()
        value = np.concatenate((-_LOTS_COUNT * self.share / k, np.zeros(n + k), -factors))
        value[2 * n : 2 * n + k] = -_SERVED * np.where(programme.first, k + 1.0, 1.0)
        found = self._run(value, wide, gap=_LEVEL_GAP, levels=levels)
        if found is None:
            raise _NoAnswerError(f"no purchase keeps within {stage.name}, not even none")
        left = np.minimum(programme.delivered(found[:n] * self.step), own)
        return np.where(left < _NOTHING, 0.0, left)

    def _share_of(self, slot: int, *, extra: int = 0) -> FloatArray:
        """Return the coefficients of what a slot gets, as a share of its gain."""
        programme, n, k = self.programme, self.programme.offers, self.programme.slots
        line = np.zeros(2 * n + k + extra)
        line[:n][programme.slot == slot] = self.share[programme.slot == slot]
        return line

    def cheapest(self, wanted: FloatArray) -> FloatArray | None:
        """Return contracts, not in lots yet, that deliver ``wanted`` under all limits at the least cost."""
        programme, n, k = self.programme, self.programme.offers, self.programme.slots
        rows = [*self.base, *(self._row(row) for stage in programme.stages for row in stage.rows)]
        rows += [
            (self._share_of(slot), max(wanted[slot] - 2.0 * _INSIDE, 0.0), math.inf) for slot in range(k)
        ]
        each, order = programme.cost * self.step, programme.order_cost
        scale = max(float(np.max(each * self.top + order)), 1e-12)
        ties = 1.0 + _TIE * np.arange(n) / n
        found = self._run(
            np.concatenate((each * ties, order * ties, np.zeros(k))) / scale,
            rows,
            gap=_COST_GAP,
            stopped_gap=_STOPPED_COST,
        )
        return None if found is None else found[:n] * self.step

    def answer(self, contracts: FloatArray | None, left: Sequence[tuple[str, FloatArray]]) -> Solution:
        """Return sizes that were found as a solution in whole lots that keeps every limit, or its failure."""
        if contracts is None:
            failed, nearest = "the levels that were found cannot be bought", np.zeros(self.programme.offers)
        else:
            nearest = self.in_lots(contracts, slack=_NOTHING)
            if violation(self.programme, nearest):
                nearest = self.in_lots(contracts, slack=0.0)
            failed = violation(self.programme, nearest)
        return Solution(contracts=nearest, left=tuple(left), runs=self.count, failed=failed, gap=self.gap)

    def in_lots(self, contracts: FloatArray, *, slack: float) -> FloatArray:
        """Return sizes in whole lots, rounded down unless ``slack`` of the whole want is missing to one."""
        programme, least = self.programme, least_order(self.programme)
        share = contracts / self.step * self.share
        out = np.zeros(contracts.size)
        for offer in np.flatnonzero(share >= _NOTHING).tolist():
            size, lot = float(contracts[offer]), float(programme.lot[offer])
            spare = 0.5 * lot if self.whole[offer] else slack * size / float(share[offer])
            down = floor_lots(size + min(spare, 0.5 * lot), lot)
            if down < least[offer] and size >= least[offer] * (1.0 - _NOTHING):  # the solver's tolerance
                down = float(least[offer])
            if down >= least[offer]:
                out[offer] = min(down, floor_lots(float(programme.most[offer]), lot))
        return out

    def _run(
        self,
        value: FloatArray,
        rows: list[tuple[FloatArray, float, float]],
        *,
        gap: float,
        levels: int = 0,
        stopped_gap: float = 0.0,
    ) -> FloatArray | None:
        """Minimise ``value``; sizes in lots, orders and served are whole, levels lie in [0, 1].

        None when nothing keeps within the rows. A run that its limit stops within ``stopped_gap`` is good.
        """
        if not np.isfinite(value).all():
            raise _NoAnswerError("a cost or gain is not finite")
        # Presolve talks to stdout over some models, and calls some without a solution an error. Without it
        # the node limit may come before a good solution.
        for presolve in (False,) if levels else (False, True):
            found = self._highs(value, rows, levels=levels, gap=gap, presolve=presolve)
            if found.status == _CLOCK:
                break
            if found.status == _INFEASIBLE:
                return None
            missed = 0.0 if found.status == _DONE else _missed(found)
            if found.x is not None and missed <= stopped_gap:
                self.gap = max(self.gap, missed)
                return np.asarray(found.x)
        raise _NoAnswerError(f"the solver stopped without an optimum (HiGHS status {found.status})")

    def _highs(
        self,
        value: FloatArray,
        rows: list[tuple[FloatArray, float, float]],
        *,
        levels: int,
        gap: float,
        presolve: bool,
    ) -> OptimizeResult:
        """Run HiGHS once, within its limits."""
        self.count += 1
        binary = np.ones(self.programme.offers + self.programme.slots)
        upper = np.concatenate((self.top, binary, np.ones(levels)))
        lines, low, high = zip(*rows, strict=True)
        return milp(
            value,
            constraints=LinearConstraint(np.array(lines), np.array(low), np.array(high)),
            integrality=np.concatenate((self.whole.astype(np.float64), binary, np.zeros(levels))),
            bounds=Bounds(np.zeros(upper.size), upper),
            options={
                "mip_rel_gap": gap,
                "node_limit": _NODES,
                "time_limit": _CLOCK_S,
                "disp": False,
                "presolve": presolve,
            },
        )


def _missed(found: OptimizeResult) -> float:
    """Return by how much, relative, a run that its limit stopped may miss the best; inf unknown."""
    if found.status != _OTHER or found.mip_gap is None or math.isnan(found.mip_gap):
        return math.inf
    return float(found.mip_gap)
