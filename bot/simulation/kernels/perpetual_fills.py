"""How one lane's orders for a perpetual are filled and booked: ``SimulatedPerpetualVenue`` and its books.

The venue and the book reckon an entry price each: margin that is added is a trade of size 0 to the venue and
none to the book.
"""

import math

from bot.simulation.kernels.bundles import History, Lane
from bot.simulation.kernels.compiling import Floats, Integers, jitable
from bot.simulation.kernels.layout import (
    ACCRUES,
    ADD_MARGIN,
    BOOK_ENTRY_USD,
    BOOK_FUNDING_USD,
    CASH_USD,
    COST,
    ENDED,
    ENTRY_USD,
    FEES_USD,
    FUNDING_USD,
    GAS_USD,
    HEAD,
    INITIAL_MARGIN,
    INTEGRAL,
    MAINTENANCE_MARGIN,
    MARGIN_USD,
    MAX_SLIPPAGE,
    MAX_UNITS,
    OPEN,
    ORDERS,
    PENALTY,
    RATE,
    REDUCE,
    REFUSALS,
    REFUSED_S,
    SETTLED,
    SIZE,
    SPENDS,
    SPOT_USD,
    TRADED_USD,
    TRADES,
)

_DUST = 1e-9
_MONTH_S = 30 * 86_400.0


@jitable
def accrued_usd(x: Floats, market: Floats, t: int) -> float:
    """Return the funding received since it was last settled, negative where it was paid."""
    size = x[SIZE]
    if size == 0.0 or market[ACCRUES, t] == 0.0:
        return 0.0
    return float(-size * market[SPOT_USD, t] * (market[INTEGRAL, t] - x[SETTLED]))


@jitable
def unrealised_usd(x: Floats, mark_usd: float, funding_usd: float) -> float:
    """Return what closing at the mark would gain, all funding since the opening included."""
    gained = x[SIZE] * (mark_usd - x[BOOK_ENTRY_USD])
    return float(gained + (x[BOOK_FUNDING_USD] + funding_usd))


@jitable
def liquidation_usd(x: Floats, history: History, t: int) -> float:
    """Return the mark at which the account's value is its maintenance margin."""
    size, funding_usd = x[SIZE], accrued_usd(x, history.market, t)
    own = x[MARGIN_USD] + funding_usd - size * x[ENTRY_USD]
    return max(float(own / (abs(size) * history.terms[MAINTENANCE_MARGIN] - size)), 0.0)


@jitable
def end_position(lane: Lane, history: History, funding_usd: float, t: int) -> None:
    """Book the liquidation of a position whose value is under its maintenance margin."""
    x, terms = lane.x, history.terms
    size, mark_usd = x[SIZE], history.market[SPOT_USD, t]
    if size == 0.0:
        return
    margin_usd, entry_usd = x[MARGIN_USD], x[ENTRY_USD]
    value_usd = margin_usd + size * (mark_usd - entry_usd) + funding_usd
    notional_usd = abs(size) * mark_usd
    if not value_usd < terms[MAINTENANCE_MARGIN] * notional_usd:
        return
    price_usd = mark_usd
    if value_usd < 0.0:
        price_usd = entry_usd - (margin_usd + funding_usd) / size
    fee_usd = min(terms[PENALTY] * notional_usd, max(value_usd, 0.0))
    record(lane, ENDED, -size, 0.0, True, t)
    gained_usd = size * (price_usd - x[BOOK_ENTRY_USD])
    book_cash(lane, gained_usd, funding_usd, fee_usd, history.times_s[t])
    forget(x)


@jitable
def fill_reduction(lane: Lane, history: History, size: float, release_usd: float, t: int) -> None:
    """Buy back ``size`` units, or record that the venue would not."""
    p, x, market, terms = lane.p, lane.x, history.market, history.terms
    held, mark_usd, cost = x[SIZE], market[SPOT_USD, t], market[COST, t]
    quoted = 0.0 if math.isnan(market[RATE, t]) else cost
    limit_usd = mark_usd * (1.0 + math.copysign(quoted + p[MAX_SLIPPAGE], size))
    net_usd = mark_usd * (1.0 + math.copysign(1.0, size) * cost)
    is_done = abs(size) <= terms[MAX_UNITS] and held * size < 0.0
    is_done = is_done and abs(size) <= abs(held) * (1.0 + _DUST) and net_usd <= limit_usd
    record(lane, REDUCE, size, release_usd, is_done, t)
    if not is_done:
        return
    filled = -held if abs(size + held) <= _DUST * abs(held) else size
    funding_usd = accrued_usd(x, market, t)
    fee_usd = abs(filled) * mark_usd * cost
    closed = math.copysign(min(abs(filled), abs(held)), held)
    after = held + filled
    after = 0.0 if abs(after) <= _DUST * abs(held) else after
    entry_usd = x[ENTRY_USD]
    margin_usd = x[MARGIN_USD] + (0.0 - fee_usd + funding_usd) + closed * (mark_usd - entry_usd)
    taken_usd = max(margin_usd, 0.0)
    if after != 0.0:
        need_usd = abs(after) * mark_usd * terms[INITIAL_MARGIN]
        value_usd = margin_usd + after * (mark_usd - entry_usd) + 0.0
        taken_usd = min(release_usd, max(min(value_usd, margin_usd) - need_usd, 0.0))
    gained_usd = closed * (mark_usd - x[BOOK_ENTRY_USD])
    book_cash(lane, gained_usd, funding_usd, fee_usd + market[GAS_USD, t], history.times_s[t])
    count_trade(lane, filled, mark_usd)
    if abs(after) <= _DUST * max(abs(held), 1.0):
        forget(x)
        return
    moved_usd = -taken_usd - fee_usd + funding_usd
    x[MARGIN_USD] = x[MARGIN_USD] + moved_usd + closed * (mark_usd - entry_usd)
    settle(x, market, funding_usd, t)
    x[BOOK_FUNDING_USD] = x[BOOK_FUNDING_USD] * after / held
    x[SIZE] = after


@jitable
def fill_open(lane: Lane, history: History, units: float, margin_usd: float, t: int) -> None:
    """Sell ``units`` with their margin, or count that the venue would not."""
    p, x, k, market, terms = lane.p, lane.x, lane.k, history.market, history.terms
    held, mark_usd, cost, size = x[SIZE], market[SPOT_USD, t], market[COST, t], -units
    limit_usd = mark_usd * (1.0 - (cost + p[MAX_SLIPPAGE]))
    funding_usd = accrued_usd(x, market, t)
    fee_usd = abs(size) * mark_usd * cost
    after, entry_usd = size, mark_usd
    own_usd = margin_usd - fee_usd + funding_usd
    if held != 0.0:
        after = held + size
        entry_usd = (held * x[ENTRY_USD] + size * mark_usd) / after
        own_usd = x[MARGIN_USD] + own_usd
    need_usd = abs(after) * mark_usd * terms[INITIAL_MARGIN]
    is_done = units <= terms[MAX_UNITS] and mark_usd * (1.0 - cost) >= limit_usd
    is_done = is_done and own_usd + after * (mark_usd - entry_usd) + 0.0 >= need_usd
    record(lane, OPEN, size, margin_usd, is_done, t)
    if not is_done:
        k[REFUSALS] += 1
        x[REFUSED_S] = history.times_s[t]
        return
    k[REFUSALS] = 0
    book_cash(lane, 0.0, funding_usd, fee_usd + market[GAS_USD, t], history.times_s[t])
    count_trade(lane, size, mark_usd)
    settle(x, market, funding_usd, t)
    booked = mark_usd
    if held != 0.0:
        booked = (held * x[BOOK_ENTRY_USD] + size * mark_usd) / after
    x[BOOK_ENTRY_USD] = booked
    x[ENTRY_USD] = entry_usd
    x[MARGIN_USD] = own_usd
    x[SIZE] = after


@jitable
def add_margin(lane: Lane, history: History, margin_usd: float, t: int) -> None:
    """Move margin to the venue; it does so for more than nothing alone."""
    x = lane.x
    record(lane, ADD_MARGIN, 0.0, margin_usd, margin_usd > 0.0, t)
    if margin_usd > 0.0:
        size = x[SIZE]
        x[ENTRY_USD] = size * x[ENTRY_USD] / size
        x[MARGIN_USD] += margin_usd
        book_cash(lane, 0.0, 0.0, history.market[GAS_USD, t], history.times_s[t])


@jitable
def settle(x: Floats, market: Floats, funding_usd: float, t: int) -> None:
    """Book funding that a fill settled on the holding that was there."""
    held = abs(x[SIZE])
    if held == 0.0:
        x[BOOK_FUNDING_USD] = 0.0
    elif funding_usd != 0.0:
        x[BOOK_FUNDING_USD] += funding_usd * held / held
    x[SETTLED] = market[INTEGRAL, t]


@jitable
def book_cash(lane: Lane, gained_usd: float, funding_usd: float, costs_usd: float, now_s: float) -> None:
    """Book what a fill gained and cost, and remember the cost for R11."""
    x, k, spends = lane.x, lane.k, lane.spends
    x[CASH_USD] = x[CASH_USD] + gained_usd + funding_usd - costs_usd
    x[FEES_USD] += costs_usd
    x[FUNDING_USD] += funding_usd
    count, room = k[SPENDS], spends.shape[1]
    if costs_usd == 0.0 or count < 0:
        return
    head = k[HEAD]
    while count > 0 and not spends[0, head] > now_s - _MONTH_S:
        head, count = (head + 1) % room, count - 1
    k[HEAD] = head
    if count == room:
        k[SPENDS] = -1  # too many for the ring: the run does not count, and is done anew
        return
    place = (head + count) % room
    spends[0, place], spends[1, place] = now_s, costs_usd
    k[SPENDS] = count + 1


@jitable
def spent_usd(k: Integers, spends: Floats, since_s: float) -> float:
    """Return the sum of the lane's spends after ``since_s``, rounded once as ``math.fsum`` does."""
    total = error = 0.0
    head, room = k[HEAD], spends.shape[1]
    for number in range(k[SPENDS]):
        place = (head + number) % room
        if spends[0, place] > since_s:
            usd = spends[1, place]
            after = total + usd
            part = after - total
            error += (total - (after - part)) + (usd - part)
            total = after
    return total + error


@jitable
def count_trade(lane: Lane, size: float, mark_usd: float) -> None:
    lane.k[TRADES] += 1
    lane.x[TRADED_USD] += abs(size) * mark_usd


@jitable
def forget(x: Floats) -> None:
    """Leave no position."""
    x[SIZE] = 0.0
    x[ENTRY_USD] = 0.0
    x[BOOK_ENTRY_USD] = 0.0
    x[MARGIN_USD] = 0.0
    x[BOOK_FUNDING_USD] = 0.0


@jitable
def record(lane: Lane, action: int, size: float, margin_usd: float, is_done: bool, t: int) -> None:
    """Write an order down while there is room; they are counted all the same."""
    log, row = lane.log, lane.k[ORDERS]
    lane.k[ORDERS] = row + 1
    if row < log.shape[0]:
        log[row, 0], log[row, 1], log[row, 2] = t, action, size
        log[row, 3], log[row, 4] = margin_usd, 1.0 if is_done else 0.0
