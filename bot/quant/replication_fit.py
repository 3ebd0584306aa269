"""The hedge of an LP's loss from what venues really quote: few strikes, sizes, lots, costs.

A mixed-integer linear programme (HiGHS): least weighted mean error plus weighted worst error plus weighted
cost, each in USD, with every leg bought and at most its liquidity. It is exact and deterministic: the same
menu gives the same sizes.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant import options
from bot.quant.replication import BoolArray, LossClaim, ReplicationError, claim_bend, error_of, rising
from bot.quant.surface import HIGHEST_IV

_TIE_BREAK = 1e-7  # weight of cost when none is asked for: at equal error the cheaper hedge
_DECIDED = 1e-4  # share of the positions' value by which a search over lots may miss the best sum
_NODES = 1_000  # of branch and bound
_NO_HELP = 1e-9  # share of the value below which a further lot is not worth a step
_INFEASIBLE, _UNBOUNDED = 2, 3  # scipy's; others say that a limit was reached, HiGHS' own ones as 4
_CONTINUOUS, _INTEGER, _SEMI_CONTINUOUS, _SEMI_INTEGER = 0, 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HedgeMenu:
    """What can be bought, in parallel rows, per unit of the underlying.

    ``years_left`` is the life that a leg has left when the hedge is judged; at 0 or less it has settled at
    that spot. ``unit_costs_usd`` is all-in: premium at the ask, fees, swap. ``marks_usd`` is what a leg
    counts for today: left at 0 the hedge's gain is its payoff; with model values it is the gain from its mark
    (R10).
    """

    strikes: FloatArray
    is_puts: BoolArray
    years_left: FloatArray
    ivs: FloatArray
    unit_costs_usd: FloatArray
    liquidity: FloatArray  # most units, finite
    lots: FloatArray  # sizes are multiples of it; 0 is any size
    min_sizes: FloatArray  # a leg is at least this or nothing
    marks_usd: FloatArray

    def __post_init__(self) -> None:
        shapes = {name: np.shape(getattr(self, name)) for name in self.__slots__}
        if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
            raise InvariantError(f"hedge menu: rows must be equally long, were {shapes}")

    def faults(self) -> tuple[str, ...]:
        """Return why each leg cannot be bought, "" where it can: nothing unknown is ever traded."""
        return tuple(self._fault(leg) for leg in range(self.strikes.size))

    def _fault(self, leg: int) -> str:
        strike, cost, size = (float(row[leg]) for row in (self.strikes, self.unit_costs_usd, self.liquidity))
        if not 0.0 < strike < math.inf:
            return f"strike {strike:g}"
        if not 0.0 <= cost < math.inf:
            return f"cost {cost:g} USD a unit"
        if not 0.0 < size < math.inf:
            return f"liquidity {size:g}"
        if not (0.0 <= self.lots[leg] <= size and 0.0 <= self.min_sizes[leg] <= size):
            return f"lot {self.lots[leg]:g} or least size {self.min_sizes[leg]:g} against liquidity {size:g}"
        alive = self.years_left[leg] > 0.0
        if math.isnan(self.years_left[leg]) or (alive and not 0.0 < self.ivs[leg] <= HIGHEST_IV):
            return f"vol {self.ivs[leg]:g} with {self.years_left[leg]:g} years left"
        return "" if math.isfinite(self.marks_usd[leg]) else f"mark {self.marks_usd[leg]:g} USD"


def hedge_menu(
    *,
    strikes: ArrayLike,
    is_puts: ArrayLike,
    unit_costs_usd: ArrayLike,
    liquidity: ArrayLike,
    years_left: ArrayLike = 0.0,
    ivs: ArrayLike = math.nan,
    lots: ArrayLike = 0.0,
    min_sizes: ArrayLike = 0.0,
    marks_usd: ArrayLike = 0.0,
) -> HedgeMenu:
    """Return a menu from rows or single numbers for all legs; by default legs settle, in any size."""
    given = (strikes, years_left, ivs, unit_costs_usd, liquidity, lots, min_sizes, marks_usd)
    rows = np.broadcast_arrays(*(np.atleast_1d(np.asarray(item, np.float64)) for item in given))
    puts = np.broadcast_to(np.asarray(is_puts, dtype=np.bool_), rows[0].shape)
    return HedgeMenu(
        strikes=rows[0], is_puts=puts, years_left=rows[1], ivs=rows[2], unit_costs_usd=rows[3],
        liquidity=rows[4], lots=rows[5], min_sizes=rows[6], marks_usd=rows[7],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRules:
    """What the fit weighs: its sum is mean error + worst_weight x worst error + cost_weight x cost, in USD.

    With ``over_hedge_tolerance`` the gain is nowhere above loss x (1 + tolerance) + allowance (R10: one lot).
    ``search_nodes`` is the most that the search over lots may look at, in steps and not in time: the same on
    every machine; with 0 lots are only rounded.
    """

    cost_weight: float = 0.0
    worst_weight: float = 0.0
    over_hedge_tolerance: float | None = None
    over_hedge_allowance_usd: float = 0.0
    search_nodes: int = _NODES

    def __post_init__(self) -> None:
        numbers = {
            "cost_weight": self.cost_weight,
            "worst_weight": self.worst_weight,
            "over_hedge_tolerance": self.over_hedge_tolerance or 0.0,
            "over_hedge_allowance_usd": self.over_hedge_allowance_usd,
        }
        for name, number in numbers.items():
            if not 0.0 <= number < math.inf:
                raise InvariantError(f"replication: {name} must be finite and >= 0, was {number}")


NO_RULES = FitRules()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replication:
    """The best hedge on a menu. ``error`` is loss less gain; its bound holds between the grid's spots too."""

    sizes: FloatArray  # units per leg of the menu, >= 0
    cost_usd: float
    objective_usd: float
    error: ReplicationError
    loss_usd: FloatArray  # at error.spots
    gain_usd: FloatArray
    over_hedge_usd: float  # most by which the gain is above the loss at any spot of the stretch
    at_liquidity: BoolArray  # legs that more liquidity would enlarge
    unusable: tuple[tuple[int, str], ...]  # legs that could not be bought, and why
    optimal: bool  # False: the search over lots stopped at its limit, the hedge is allowed but maybe not best


def fit_replication(
    claim: LossClaim,
    menu: HedgeMenu,
    spots: ArrayLike,
    *,
    weights: ArrayLike = 1.0,
    rules: FitRules = NO_RULES,
) -> Replication:
    """Return the sizes that replicate a claim best over ``spots``, rising, in USD per unit of the underlying.

    Every kink of claim and hedge inside is added to the grid. ``weights`` (>= 0, not all 0) say how much each
    spot counts: a density of the spot per USD, or 1. With no usable leg the sizes are 0 and the loss is bare.
    """
    given = rising(spots, "spots of a replication")
    faults = menu.faults()
    usable = np.array([not item for item in faults], dtype=np.bool_)
    settled = menu.strikes[usable & (menu.years_left <= 0.0)]
    nodes = _nodes(given, claim.kinks, settled)
    shares = _shares(given, nodes, weights)
    gains = _gains(menu, usable, nodes)
    problem = _Problem(
        loss=claim.payoff(nodes), gains=gains, shares=shares, costs=menu.unit_costs_usd[usable],
        liquidity=menu.liquidity[usable], lots=menu.lots[usable], min_sizes=menu.min_sizes[usable],
        rules=rules, scale=claim.value_usd,
    )  # fmt: skip
    bought, optimal = problem.solve()
    sizes = np.zeros(menu.strikes.size)
    sizes[usable] = bought
    gain = gains @ bought
    bend = _gain_bends(menu, usable, nodes) @ bought
    error = error_of(claim, nodes, problem.loss - gain, bend)
    return Replication(
        sizes=sizes, cost_usd=float(problem.costs @ bought), objective_usd=problem.objective(bought),
        error=error, loss_usd=problem.loss, gain_usd=gain,
        over_hedge_usd=_most_over(claim, nodes, problem.loss, gain),
        at_liquidity=usable & (sizes >= menu.liquidity * (1.0 - 1e-9)),
        unusable=tuple((leg, why) for leg, why in enumerate(faults) if why), optimal=optimal,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """The programme over (sizes or lots, error up, error down, worst error, 1), in shares of ``scale``.

    The last variable is fixed: it adds the whole value to the sum, since the solver's gap is relative to
    that.
    """

    loss: FloatArray
    gains: FloatArray  # [node, leg]
    shares: FloatArray  # of each node in the mean, sum 1
    costs: FloatArray
    liquidity: FloatArray
    lots: FloatArray
    min_sizes: FloatArray
    rules: FitRules
    scale: float
    unit: FloatArray = field(init=False)  # units per step of a variable: the lot, or 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", np.where(self.lots > 0.0, self.lots, 1.0))

    def objective(self, sizes: FloatArray) -> float:
        miss = np.abs(self.loss - self.gains @ sizes)
        worst = self.rules.worst_weight * float(miss.max())
        return float(self.shares @ miss) + worst + self.rules.cost_weight * float(self.costs @ sizes)

    def solve(self) -> tuple[FloatArray, bool]:
        """Return the sizes and whether they are proven best, up to ``_DECIDED``.

        Where whole lots near the best sizes of any number are as good as those, no search is needed.
        """
        if not self.costs.size:
            return np.zeros(0), True
        free = replace(self, lots=np.zeros_like(self.lots), min_sizes=np.zeros_like(self.min_sizes))
        ideal, optimal = free.search()
        if not (self.lots > 0.0).any() and not (self.min_sizes > 0.0).any():
            return ideal, optimal
        whole = self.whole(ideal)
        if optimal and self.objective(whole) - self.objective(ideal) <= _DECIDED * self.scale:
            return whole, True
        if self.rules.search_nodes == 0:
            return whole, False
        found, proven = self.search()
        return (found, proven) if self.objective(found) <= self.objective(whole) else (whole, proven)

    def whole(self, sizes: FloatArray) -> FloatArray:
        """Return whole lots that every rule allows: sizes rounded down, then lot by lot what helps most."""
        least, most = self._least(), self._most()
        steps = sizes / self.unit
        steps = np.minimum(np.where(self.lots > 0.0, np.floor(steps + 1e-9), steps), most)
        steps = np.where(steps < least, 0.0, steps)
        best = self.objective(steps * self.unit)
        while True:
            more = np.where(steps > 0.0, np.sign(self.lots), np.maximum(least, np.sign(self.lots)))
            gain = (self.gains @ (steps * self.unit))[:, np.newaxis] + self.gains * (more * self.unit)
            allowed = (
                (more > 0.0) & (steps + more <= most) & (gain <= self._limit()[:, np.newaxis]).all(axis=0)
            )
            miss = np.abs(self.loss[:, np.newaxis] - gain)
            spent = self.costs @ (steps * self.unit) + self.costs * more * self.unit
            sums = (
                self.shares @ miss
                + self.rules.worst_weight * miss.max(axis=0)
                + self.rules.cost_weight * spent
            )
            sums = np.where(allowed, sums, np.inf)
            leg = int(np.argmin(sums))
            if not sums[leg] < best - _NO_HELP * self.scale:
                return np.asarray(steps * self.unit)
            steps[leg] += more[leg]
            best = float(sums[leg])

    def search(self) -> tuple[FloatArray, bool]:
        """Return the sizes of the integer programme and whether they are proven best."""
        legs, nodes = self.costs.size, self.loss.size
        cost = max(self.rules.cost_weight, _TIE_BREAK) * self.costs * self.unit / self.scale
        found = milp(
            np.concatenate([cost, self.shares, self.shares, [self.rules.worst_weight, 1.0]]),
            integrality=np.concatenate([self._kinds(), np.zeros(2 * nodes + 2)]),
            bounds=Bounds(
                np.concatenate([self._least(), np.zeros(2 * nodes + 1), [1.0]]),
                np.concatenate([self._most(), np.full(2 * nodes + 1, np.inf), [1.0]]),
            ),
            constraints=self._constraints(),
            options={"mip_rel_gap": _DECIDED, "node_limit": self.rules.search_nodes},
        )
        if found.x is None:
            return self._nothing(found), False
        steps = np.clip(found.x[:legs], 0.0, self._most())
        whole = np.where(self._kinds() % 2 == 1, np.round(steps), steps)
        return np.asarray(whole * self.unit), bool(found.status == 0)

    def _nothing(self, found: OptimizeResult) -> FloatArray:
        """Return sizes of 0, which every rule allows, where only the limit of the search was in the way."""
        if found.status in (_INFEASIBLE, _UNBOUNDED):
            raise InvariantError(f"replication: the solver found no hedge at all: {found.message}")
        return np.zeros(self.costs.size)

    def _limit(self) -> FloatArray:
        """Return the most gain that over-hedging allows at each node, with room for rounding."""
        if self.rules.over_hedge_tolerance is None:
            return np.full(self.loss.shape, np.inf)
        most = np.maximum(self.loss, 0.0) * (1.0 + self.rules.over_hedge_tolerance)
        return np.asarray(most + self.rules.over_hedge_allowance_usd + 1e-9 * self.scale)

    def _kinds(self) -> FloatArray:
        by_lot, has_least = self.lots > 0.0, self.min_sizes > 0.0
        plain = np.where(by_lot, _INTEGER, _CONTINUOUS)
        return np.asarray(np.where(has_least, np.where(by_lot, _SEMI_INTEGER, _SEMI_CONTINUOUS), plain))

    def _least(self) -> FloatArray:
        least = self.min_sizes / self.unit
        return np.where(self.lots > 0.0, np.ceil(least - 1e-9), least)

    def _most(self) -> FloatArray:
        most = self.liquidity / self.unit
        most = np.where(self.lots > 0.0, np.floor(most + 1e-9), most)
        return np.where(self._least() > most, 0.0, most)

    def _constraints(self) -> list[LinearConstraint]:
        """Return: gain + up - down = loss; up + down <= worst; gain <= what over-hedging allows."""
        legs, nodes = self.costs.size, self.loss.size
        gains = sparse.csr_array(self.gains * self.unit / self.scale)
        one, nothing = sparse.identity(nodes, format="csr"), sparse.csr_array((nodes, 2))
        target = self.loss / self.scale
        found = [LinearConstraint(sparse.hstack([gains, one, -one, nothing], format="csc"), target, target)]
        if self.rules.worst_weight > 0.0:
            column = sparse.csr_array(np.tile([-1.0, 0.0], (nodes, 1)))
            rows = sparse.hstack([sparse.csr_array((nodes, legs)), one, one, column], format="csc")
            found.append(LinearConstraint(rows, -np.inf, 0.0))
        if self.rules.over_hedge_tolerance is not None:
            loss = np.maximum(target, 0.0) * (1.0 + self.rules.over_hedge_tolerance)
            most = loss + self.rules.over_hedge_allowance_usd / self.scale
            rows = sparse.hstack([gains, sparse.csr_array((nodes, 2 * nodes + 2))], format="csc")
            found.append(LinearConstraint(rows, -np.inf, most))
        return found


def _nodes(spots: FloatArray, *kinks: FloatArray) -> FloatArray:
    nodes = np.unique(np.concatenate([spots, *kinks]))
    return np.asarray(nodes[(nodes >= spots[0]) & (nodes <= spots[-1])])


def _shares(spots: FloatArray, nodes: FloatArray, weights: ArrayLike) -> FloatArray:
    """Return each node's share of the mean: its weight times the spots that it stands for."""
    each = np.broadcast_to(np.asarray(weights, dtype=np.float64), spots.shape)
    if not (each >= 0.0).all() or not 0.0 < each.sum() < math.inf:
        raise InvariantError("replication: weights must be finite, >= 0 and not all 0")
    stretch = np.diff(nodes)
    width = 0.5 * (np.append(stretch, 0.0) + np.append(0.0, stretch))
    mass = np.interp(nodes, spots, each) * width
    return np.asarray(mass / mass.sum())


def _gains(menu: HedgeMenu, usable: BoolArray, nodes: FloatArray) -> FloatArray:
    """Return [node, leg]: value at that spot less the mark, USD per unit."""
    value = options.price(
        nodes[:, np.newaxis], menu.strikes[usable], menu.years_left[usable],
        np.where(menu.years_left[usable] > 0.0, menu.ivs[usable], 0.0), is_put=menu.is_puts[usable],
    )  # fmt: skip
    return np.asarray(value - menu.marks_usd[usable])


def _gain_bends(menu: HedgeMenu, usable: BoolArray, nodes: FloatArray) -> FloatArray:
    """Return [stretch, leg]: how far the gain can lie below its chord; 0 for a settled leg, linear there."""
    alive = menu.years_left[usable] > 0.0
    slope = options.delta(
        nodes[:, np.newaxis], menu.strikes[usable], menu.years_left[usable],
        np.where(alive, menu.ivs[usable], 0.0), is_put=menu.is_puts[usable],
    )  # fmt: skip
    turn = np.diff(slope, axis=0) * np.diff(nodes)[:, np.newaxis] / 4.0
    return np.asarray(np.where(alive, np.maximum(turn, 0.0), 0.0))


def _most_over(claim: LossClaim, nodes: FloatArray, loss: FloatArray, gain: FloatArray) -> float:
    """Return the most by which the gain exceeds the loss anywhere: the loss may sag between nodes."""
    over = gain - loss
    between = np.maximum(over[:-1], over[1:]) + claim_bend(claim, nodes)
    return max(float(between.max()), 0.0)
