"""What may be bought for several slots, as arrays, with the limits; and whether a purchase keeps them.

Plain arithmetic: it says what is allowed, and what needs no solver. Money is USD, sizes are contracts.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.model.market import FloatArray

WHOLE_LOTS = 100  # an order of more lots is solved in any size and rounded down: under 1 % of it is lost
LOT_NOISE = 1e-9  # of a lot
_EXACT = 1e-8  # relative slack of the arithmetic


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """A limit that offers share: ``per_contract @ contracts + per_order @ orders <= limit``."""

    name: str
    per_contract: FloatArray
    per_order: FloatArray
    limit: float
    gates: int = -1  # a slot: the row binds only while that slot is served; -1 always

    def used(self, contracts: FloatArray) -> float:
        return float(self.per_contract @ contracts + self.per_order @ (contracts > 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """Limits of one kind. Slots of equal ``alike`` shrink by one factor under them, or are not served."""

    name: str
    rows: tuple[Row, ...]
    alike: NDArray[np.intp]  # of each slot, from 0
    weights: FloatArray  # of each factor: which comes first where they compete; > 0
    fixed: NDArray[np.bool_]  # slots that keep what they have by then


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Programme:
    """Offers (arrays of one length) for slots (arrays of another). Money is USD, sizes are contracts.

    Offers of one slot stand together, cheapest per gain first. Each stage cuts what those before it left.
    """

    slot: NDArray[np.intp]  # of each offer
    gain: FloatArray  # of one contract, > 0
    units: FloatArray  # of the underlying in one contract
    cost: FloatArray  # of one contract, all-in
    order_cost: FloatArray  # of one order, whatever its size
    least: FloatArray  # the smallest order
    most: FloatArray
    lot: FloatArray  # 0: any size
    wanted_gain: FloatArray  # of each slot, > 0
    wanted_units: FloatArray  # the most of the underlying (R7's notional)
    least_gain: FloatArray  # a slot that would get less is not served
    first: NDArray[np.bool_]  # served before the others
    pools: tuple[Row, ...] = ()  # liquidity that offers share
    stages: tuple[Stage, ...] = ()

    @property
    def offers(self) -> int:
        return int(self.slot.size)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return every limit that slots share."""
        return (*self.pools, *(row for stage in self.stages for row in stage.rows))

    @property
    def slots(self) -> int:
        return int(self.wanted_gain.size)

    def delivered(self, contracts: FloatArray) -> FloatArray:
        """Return the share of its wanted gain that each slot gets."""
        gains = np.bincount(self.slot, weights=self.gain * contracts, minlength=self.slots)
        return np.asarray(gains / self.wanted_gain)

    def cost_usd(self, contracts: FloatArray) -> float:
        return float(self.cost @ contracts + self.order_cost @ (contracts > 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """What to buy, and the share of each slot's gain that was left after each step, in order: after sizes
    and liquidity (``""``), then by stage."""

    contracts: FloatArray
    left: tuple[tuple[str, FloatArray], ...]
    runs: int  # of the solver; 0: proved without it
    failed: str = ""  # why there is no answer; then nothing else counts
    gap: float = 0.0  # most by which a goal may miss the best, where the node limit stopped the search


def single_orders(programme: Programme) -> FloatArray | None:
    """Return contracts that take one offer per slot, where that is provably the least cost of all.

    An offer proves itself if it can serve its slot alone and costs no more than any other would at its own
    price without limits: no mix is below the cheapest of its parts. None where a slot has no such offer, or
    where the limits that slots share would be passed.
    """
    contracts = np.zeros(programme.offers)
    whole = programme.wanted_gain[programme.slot] / programme.gain
    full_usd = whole * programme.cost + programme.order_cost
    alone = whole_alone(programme)
    for slot in range(programme.slots):
        mine = np.flatnonzero(programme.slot == slot)
        best = mine[np.argmin(full_usd[mine])]
        if not alone[best]:
            return None
        contracts[best] = floor_lots(float(whole[best]), float(programme.lot[best]))
    return contracts if all(_keeps(row, contracts, programme) for row in programme.rows) else None


def violation(programme: Programme, contracts: FloatArray) -> str:
    """Return the first limit that a purchase passes, by plain arithmetic; empty when it keeps all."""
    held = contracts > 0.0
    if not np.isfinite(contracts).all() or (contracts < 0.0).any():
        return "a size is not a number >= 0"
    if (contracts[held] < programme.least[held] * (1.0 - _EXACT)).any():
        return "an order is under the venue's least"
    if (contracts > programme.most * (1.0 + _EXACT)).any():
        return "an order is over what is liquid"
    lots = contracts[held & (programme.lot > 0.0)] / programme.lot[held & (programme.lot > 0.0)]
    if (np.abs(lots - np.round(lots)) > LOT_NOISE * np.maximum(lots, 1.0)).any():
        return "an order is not in whole lots"
    units = np.bincount(programme.slot, weights=programme.units * contracts, minlength=programme.slots)
    if (units > programme.wanted_units * (1.0 + _EXACT)).any():
        return "a slot is over its notional (R7)"
    if (programme.delivered(contracts) > 1.0 + _EXACT).any():
        return "a slot is over its gain (R8)"
    for row in programme.rows:
        if not _keeps(row, contracts, programme):
            return f"{row.name} is passed"
    return ""


def _keeps(row: Row, contracts: FloatArray, programme: Programme) -> bool:
    if row.gates >= 0 and not contracts[programme.slot == row.gates].any():
        return True
    return row.used(contracts) <= row.limit + _EXACT * abs(row.limit)


def whole_alone(programme: Programme) -> NDArray[np.bool_]:
    """Return which offers can serve their slot alone, up to a lot too small to matter."""
    whole = programme.wanted_gain[programme.slot] / programme.gain
    units = whole * programme.units <= programme.wanted_units[programme.slot] * (1.0 + _EXACT)
    sized = (whole >= least_order(programme)) & (whole <= programme.most)
    return np.asarray(units & sized & (programme.lot * WHOLE_LOTS <= whole))


def least_order(programme: Programme) -> FloatArray:
    """Return the smallest order in whole lots."""
    lots = np.where(programme.lot > 0.0, programme.lot, 1.0)
    whole = np.maximum(np.ceil(programme.least / lots - LOT_NOISE), 1.0) * lots
    return np.asarray(np.where(programme.lot > 0.0, whole, programme.least))


def floor_lots(contracts: float, lot: float) -> float:
    return math.floor(contracts / lot + LOT_NOISE) * lot if lot > 0.0 else contracts
