"""When a lane's position may have to change, and what it brought: over a whole tile, or at each of its steps.

A position rests while it is well inside its band, its margin and the group's delta, and while no order could
pass what R9 leaves; nearer than a billionth to any of them the step is taken.
"""

from typing import NamedTuple

from bot.simulation.kernels.bundles import Lane
from bot.simulation.kernels.compiling import Floats, inlined, jitable
from bot.simulation.kernels.layout import (
    BOOK_ENTRY_USD,
    CASH_USD,
    DEFINED_RISK,
    ENTRY_USD,
    LOT,
    MAINTENANCE_MARGIN,
    MARGIN_USD,
    MAX_MARGIN,
    MIN_FUNDING,
    MIN_ORDER,
    PEAK_USD,
    RESET_BAND,
    SETTLED,
    SHARE,
    SIZE,
    WORST,
)
from bot.simulation.kernels.perpetual_steps import margin_per_unit
from bot.simulation.kernels.tiles import (
    ACCRUED,
    DELTA,
    FEES_USD,
    GAINED_USD,
    GROUP,
    HIGH,
    LOW,
    MARK_USD,
    OPEN_RATE,
    PAID,
    ROOM,
    STRESS,
    VALUE_USD,
    in_order,
    out_of_order,
)

_SLACK = 1e-9
_LESS, _MORE = 1.0 - _SLACK, 1.0 + _SLACK


class Holding(NamedTuple):
    """What a lane holds, and what of its policy says when that changes."""

    held: float  # units short
    margin_usd: float
    entry_usd: float
    book_entry_usd: float
    settled: float
    cash_usd: float
    share: float  # of the delta that is wanted
    band: float
    min_order: float
    capital: float  # share of the position's value
    max_margin: float  # likewise
    min_funding: float


class Sight(NamedTuple):
    """The market at a step; over a tile, the worst that its bounds allow."""

    mark_usd: float
    stress: float
    funding_usd: float
    delta_low: float
    delta_high: float
    value_usd: float
    rate: float
    least_mark_usd: float
    least_stress: float


@inlined
def holding_of(lane: Lane) -> Holding:
    """Return what a lane holds now."""
    p, x = lane.p, lane.x
    return Holding(
        -x[SIZE],
        x[MARGIN_USD],
        x[ENTRY_USD],
        x[BOOK_ENTRY_USD],
        x[SETTLED],
        x[CASH_USD],
        x[SHARE],
        p[RESET_BAND],
        p[MIN_ORDER],
        p[DEFINED_RISK],
        p[MAX_MARGIN],
        p[MIN_FUNDING],
    )


@inlined
def is_open(lane: Lane) -> bool:
    """Return whether a lane holds a position or wants one."""
    return bool((lane.x[SIZE] != 0.0) | (lane.x[SHARE] != 0.0))


@inlined
def rests_in(h: Holding, terms: Floats, sight: Sight) -> bool:
    """Return whether nothing is traded at any step in sight.

    Where no order as large as the least one could pass the venue's funding, R9's margin or R9's capital,
    nothing is opened, however much is missing.
    """
    bears, lot = 1.0 + terms[MAINTENANCE_MARGIN], terms[LOT]
    own = h.margin_usd + sight.funding_usd + h.held * h.entry_usd
    need = h.held * bears * sight.mark_usd * (1.0 + (1.0 - h.band) * (sight.stress - 1.0))
    least = h.min_order * (h.share * sight.delta_low)
    least = (least if least > lot else lot) * _LESS
    rise = sight.least_mark_usd * (sight.least_stress - 1.0)
    unit = margin_per_unit(terms, sight.least_mark_usd * sight.least_stress, sight.least_mark_usd)
    lost = own / bears - h.held * h.book_entry_usd
    lost = lost if lost > 0.0 else 0.0
    at_risk = lost if lost < h.margin_usd else h.margin_usd
    capital = h.capital * sight.value_usd - at_risk
    is_full = (rise > 0.0) & (capital * _MORE < least * rise)
    is_full |= (h.max_margin * sight.value_usd - h.margin_usd) * _MORE < least * unit
    is_full |= sight.rate < h.min_funding
    rests = (h.held <= sight.delta_low * _LESS) & (own * _LESS >= need)
    rests &= h.held <= (1.0 + h.band) * (h.share * sight.delta_low) * _LESS
    return bool(rests & (is_full | ((1.0 - h.band) * (h.share * sight.delta_high) * _MORE <= h.held)))


@inlined
def holds_all_tile(h: Holding, terms: Floats, cells: Floats) -> bool:
    """Return whether nothing is traded at any step of the tile."""
    low_usd, high_usd = cells[LOW + MARK_USD], cells[HIGH + MARK_USD]
    is_known = (low_usd <= high_usd) & (cells[LOW + PAID] <= cells[HIGH + PAID])
    is_known &= (cells[LOW + STRESS] <= cells[HIGH + STRESS]) & (
        cells[LOW + ACCRUED] == cells[HIGH + ACCRUED]
    )
    sight = Sight(
        high_usd,
        cells[HIGH + STRESS],
        least_funding_usd(h, cells),
        cells[LOW + DELTA],
        cells[HIGH + DELTA],
        cells[HIGH + VALUE_USD],
        cells[HIGH + OPEN_RATE],
        low_usd,
        cells[LOW + STRESS],
    )
    return bool(is_known & rests_in(h, terms, sight))


@inlined
def least_funding_usd(h: Holding, cells: Floats) -> float:
    """Return the least that funding is worth at any step of the tile."""
    paid = cells[LOW + PAID] - h.settled
    mark_usd = cells[HIGH + MARK_USD] if paid < 0.0 else cells[LOW + MARK_USD]
    return float(h.held * mark_usd * paid * cells[LOW + ACCRUED])


@inlined
def most_funding_usd(h: Holding, cells: Floats) -> float:
    """Return the most that funding is worth at any step of the tile."""
    paid = cells[HIGH + PAID] - h.settled
    mark_usd = cells[LOW + MARK_USD] if paid < 0.0 else cells[HIGH + MARK_USD]
    return float(h.held * mark_usd * paid * cells[LOW + ACCRUED])


@inlined
def holds_at(h: Holding, terms: Floats, cells: Floats, i: int) -> bool:
    """Return whether nothing is traded at step ``i`` of the tile."""
    mark_usd, stress, delta = cells[MARK_USD * ROOM + i], cells[STRESS * ROOM + i], cells[DELTA * ROOM + i]
    funding_usd = h.held * mark_usd * (cells[PAID * ROOM + i] - h.settled) * cells[ACCRUED * ROOM + i]
    sight = Sight(
        mark_usd,
        stress,
        funding_usd,
        delta,
        delta,
        cells[VALUE_USD * ROOM + i],
        cells[OPEN_RATE * ROOM + i],
        mark_usd,
        stress,
    )
    return rests_in(h, terms, sight)


@jitable
def next_trade(h: Holding, terms: Floats, cells: Floats, first: int, end: int) -> int:
    """Return the first step of the tile from ``first`` on that has to be taken, ``end`` for none."""
    for start in range(first, end, GROUP):
        part, moved = cells[start:], 0
        for i in range(GROUP):
            moved += 0 if holds_at(h, terms, part, i) else 1
        if moved:
            for i in range(min(GROUP, end - start)):
                if not holds_at(h, terms, part, i):
                    return start + i
    return end


@inlined
def open_usd_at(h: Holding, cells: Floats, i: int) -> float:
    """Return what closing at the mark of step ``i`` would gain, funding included."""
    mark_usd = cells[MARK_USD * ROOM + i]
    funding_usd = h.held * mark_usd * (cells[PAID * ROOM + i] - h.settled) * cells[ACCRUED * ROOM + i]
    return float(h.held * (h.book_entry_usd - mark_usd) + funding_usd)


@inlined
def is_unmoved(x: Floats, h: Holding, cells: Floats) -> bool:
    """Return whether no step of the tile can be the highest value or the deepest fall so far.

    The position's value rises with the price and is concave in it, so that with a short beside it the least
    value stands at one of both ends.
    """
    low_usd, high_usd = cells[LOW + MARK_USD], cells[HIGH + MARK_USD]
    least, most = cells[LOW + VALUE_USD], cells[HIGH + VALUE_USD]
    if h.held != 0.0:
        if cells[LOW + ACCRUED] != cells[HIGH + ACCRUED]:
            return False
        at_low_usd, at_high_usd = (
            h.held * (h.book_entry_usd - low_usd),
            h.held * (h.book_entry_usd - high_usd),
        )
        least = min(least + at_low_usd, most + at_high_usd) + least_funding_usd(h, cells)
        most += at_low_usd + most_funding_usd(h, cells)
    least += cells[LOW + FEES_USD] + h.cash_usd
    most += cells[HIGH + FEES_USD] + h.cash_usd
    is_known = (low_usd <= high_usd) & (cells[LOW + FEES_USD] <= cells[HIGH + FEES_USD])
    return bool(is_known & (most <= x[PEAK_USD]) & (least >= x[WORST] * x[PEAK_USD]))


@jitable
def follow(x: Floats, h: Holding, cells: Floats, first: int, end: int) -> None:
    """Keep the highest value and the deepest fall over steps at which nothing was traded."""
    part = cells[first:]
    for i in range(end - first):
        gained_usd = h.cash_usd + (open_usd_at(h, part, i) if h.held != 0.0 else 0.0)
        part[GAINED_USD * ROOM + i] = part[VALUE_USD * ROOM + i] + part[FEES_USD * ROOM + i] + gained_usd
    values = part[GAINED_USD * ROOM :]
    low = high = in_order(values[0])
    for i in range(end - first):
        key = in_order(values[i])
        low = key if key < low else low
        high = key if key > high else high
    peak, worst = x[PEAK_USD], x[WORST]
    if out_of_order(high) <= peak and out_of_order(low) >= worst * peak:
        return
    for i in range(end - first):
        value_usd = values[i]
        peak = value_usd if value_usd > peak else peak
        # The ratio is least where the value is; under a peak that is itself a loss, where the value is most.
        if value_usd < worst * peak if peak > 0.0 else value_usd > worst * peak:
            worst = value_usd / peak
    x[PEAK_USD], x[WORST] = peak, worst
