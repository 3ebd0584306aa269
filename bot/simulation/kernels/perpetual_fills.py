"""How one lane's orders for a perpetual are filled and booked: ``SimulatedPerpetualVenue`` and its books.

The venue and the book reckon an entry price each: margin that is added is a trade of size 0 to the venue and
none to the book.
"""

import math

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
def accrued_usd(x: Floats, lanes: int, lane: int, market: Floats, t: int) -> float:
    """Return the funding received since it was last settled, negative where it was paid."""
    size = x[SIZE * lanes + lane]
    if size == 0.0 or market[ACCRUES, t] == 0.0:
        return 0.0
    return float(-size * market[SPOT_USD, t] * (market[INTEGRAL, t] - x[SETTLED * lanes + lane]))


@jitable
def unrealised_usd(x: Floats, lanes: int, lane: int, mark_usd: float, funding_usd: float) -> float:
    """Return what closing at the mark would gain, all funding since the opening included."""
    gained = x[SIZE * lanes + lane] * (mark_usd - x[BOOK_ENTRY_USD * lanes + lane])
    return float(gained + (x[BOOK_FUNDING_USD * lanes + lane] + funding_usd))


@jitable
def liquidation_usd(x: Floats, lanes: int, lane: int, market: Floats, terms: Floats, t: int) -> float:
    """Return the mark at which the account's value is its maintenance margin."""
    size, funding_usd = x[SIZE * lanes + lane], accrued_usd(x, lanes, lane, market, t)
    own = x[MARGIN_USD * lanes + lane] + funding_usd - size * x[ENTRY_USD * lanes + lane]
    return max(float(own / (abs(size) * terms[MAINTENANCE_MARGIN] - size)), 0.0)


@jitable
def end_position(
    x: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    terms: Floats,
    spends: Floats,
    log: Floats,
    logged: Integers,
    funding_usd: float,
    now_s: float,
    t: int,
) -> None:
    """Book the liquidation of a position whose value is under its maintenance margin."""
    size, mark_usd = x[SIZE * lanes + lane], market[SPOT_USD, t]
    if size == 0.0:
        return
    margin_usd, entry_usd = x[MARGIN_USD * lanes + lane], x[ENTRY_USD * lanes + lane]
    value_usd = margin_usd + size * (mark_usd - entry_usd) + funding_usd
    notional_usd = abs(size) * mark_usd
    if not value_usd < terms[MAINTENANCE_MARGIN] * notional_usd:
        return
    price_usd = mark_usd
    if value_usd < 0.0:
        price_usd = entry_usd - (margin_usd + funding_usd) / size
    fee_usd = min(terms[PENALTY] * notional_usd, max(value_usd, 0.0))
    record(log, logged, t, lane, ENDED, -size, 0.0, 1.0)
    gained_usd = size * (price_usd - x[BOOK_ENTRY_USD * lanes + lane])
    book_cash(x, k, lanes, lane, spends, gained_usd, funding_usd, fee_usd, now_s)
    k[ORDERS * lanes + lane] += 1
    forget(x, lanes, lane)


@jitable
def fill_reduction(
    p: Floats,
    x: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    terms: Floats,
    spends: Floats,
    log: Floats,
    logged: Integers,
    size: float,
    release_usd: float,
    now_s: float,
    t: int,
) -> None:
    """Buy back ``size`` units, or record that the venue would not."""
    held, mark_usd, cost = x[SIZE * lanes + lane], market[SPOT_USD, t], market[COST, t]
    quoted = 0.0 if math.isnan(market[RATE, t]) else cost
    limit_usd = mark_usd * (1.0 + math.copysign(quoted + p[MAX_SLIPPAGE * lanes + lane], size))
    net_usd = mark_usd * (1.0 + math.copysign(1.0, size) * cost)
    k[ORDERS * lanes + lane] += 1
    is_done = abs(size) <= terms[MAX_UNITS] and held * size < 0.0
    is_done = is_done and abs(size) <= abs(held) * (1.0 + _DUST) and net_usd <= limit_usd
    record(log, logged, t, lane, REDUCE, size, release_usd, 1.0 if is_done else 0.0)
    if not is_done:
        return
    filled = -held if abs(size + held) <= _DUST * abs(held) else size
    funding_usd = accrued_usd(x, lanes, lane, market, t)
    fee_usd = abs(filled) * mark_usd * cost
    closed = math.copysign(min(abs(filled), abs(held)), held)
    after = held + filled
    after = 0.0 if abs(after) <= _DUST * abs(held) else after
    entry_usd = x[ENTRY_USD * lanes + lane]
    margin_usd = (
        x[MARGIN_USD * lanes + lane] + (0.0 - fee_usd + funding_usd) + closed * (mark_usd - entry_usd)
    )
    taken_usd = max(margin_usd, 0.0)
    if after != 0.0:
        need_usd = abs(after) * mark_usd * terms[INITIAL_MARGIN]
        value_usd = margin_usd + after * (mark_usd - entry_usd) + 0.0
        taken_usd = min(release_usd, max(min(value_usd, margin_usd) - need_usd, 0.0))
    gained_usd = closed * (mark_usd - x[BOOK_ENTRY_USD * lanes + lane])
    book_cash(x, k, lanes, lane, spends, gained_usd, funding_usd, fee_usd + market[GAS_USD, t], now_s)
    count_trade(x, k, lanes, lane, filled, mark_usd)
    if abs(after) <= _DUST * max(abs(held), 1.0):
        forget(x, lanes, lane)
        return
    moved_usd = -taken_usd - fee_usd + funding_usd
    x[MARGIN_USD * lanes + lane] = x[MARGIN_USD * lanes + lane] + moved_usd + closed * (mark_usd - entry_usd)
    settle(x, lanes, lane, market, funding_usd, t)
    x[BOOK_FUNDING_USD * lanes + lane] = x[BOOK_FUNDING_USD * lanes + lane] * after / held
    x[SIZE * lanes + lane] = after


@jitable
def fill_open(
    p: Floats,
    x: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    terms: Floats,
    spends: Floats,
    log: Floats,
    logged: Integers,
    units: float,
    margin_usd: float,
    now_s: float,
    t: int,
) -> None:
    """Sell ``units`` with their margin, or count that the venue would not."""
    held, mark_usd, cost, size = x[SIZE * lanes + lane], market[SPOT_USD, t], market[COST, t], -units
    limit_usd = mark_usd * (1.0 - (cost + p[MAX_SLIPPAGE * lanes + lane]))
    funding_usd = accrued_usd(x, lanes, lane, market, t)
    fee_usd = abs(size) * mark_usd * cost
    after, entry_usd = size, mark_usd
    own_usd = margin_usd - fee_usd + funding_usd
    if held != 0.0:
        after = held + size
        entry_usd = (held * x[ENTRY_USD * lanes + lane] + size * mark_usd) / after
        own_usd = x[MARGIN_USD * lanes + lane] + own_usd
    need_usd = abs(after) * mark_usd * terms[INITIAL_MARGIN]
    is_done = units <= terms[MAX_UNITS] and mark_usd * (1.0 - cost) >= limit_usd
    is_done = is_done and own_usd + after * (mark_usd - entry_usd) + 0.0 >= need_usd
    k[ORDERS * lanes + lane] += 1
    record(log, logged, t, lane, OPEN, size, margin_usd, 1.0 if is_done else 0.0)
    if not is_done:
        k[REFUSALS * lanes + lane] += 1
        x[REFUSED_S * lanes + lane] = now_s
        return
    k[REFUSALS * lanes + lane] = 0
    book_cash(x, k, lanes, lane, spends, 0.0, funding_usd, fee_usd + market[GAS_USD, t], now_s)
    count_trade(x, k, lanes, lane, size, mark_usd)
    settle(x, lanes, lane, market, funding_usd, t)
    booked = mark_usd
    if held != 0.0:
        booked = (held * x[BOOK_ENTRY_USD * lanes + lane] + size * mark_usd) / after
    x[BOOK_ENTRY_USD * lanes + lane] = booked
    x[ENTRY_USD * lanes + lane] = entry_usd
    x[MARGIN_USD * lanes + lane] = own_usd
    x[SIZE * lanes + lane] = after


@jitable
def add_margin(
    x: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    market: Floats,
    spends: Floats,
    log: Floats,
    logged: Integers,
    margin_usd: float,
    now_s: float,
    t: int,
) -> None:
    """Move margin to the venue; it does so for more than nothing alone."""
    k[ORDERS * lanes + lane] += 1
    record(log, logged, t, lane, ADD_MARGIN, 0.0, margin_usd, 1.0 if margin_usd > 0.0 else 0.0)
    if margin_usd > 0.0:
        size = x[SIZE * lanes + lane]
        x[ENTRY_USD * lanes + lane] = size * x[ENTRY_USD * lanes + lane] / size
        x[MARGIN_USD * lanes + lane] += margin_usd
        book_cash(x, k, lanes, lane, spends, 0.0, 0.0, market[GAS_USD, t], now_s)


@jitable
def settle(x: Floats, lanes: int, lane: int, market: Floats, funding_usd: float, t: int) -> None:
    """Book funding that a fill settled on the holding that was there."""
    held = abs(x[SIZE * lanes + lane])
    if held == 0.0:
        x[BOOK_FUNDING_USD * lanes + lane] = 0.0
    elif funding_usd != 0.0:
        x[BOOK_FUNDING_USD * lanes + lane] += funding_usd * held / held
    x[SETTLED * lanes + lane] = market[INTEGRAL, t]


@jitable
def book_cash(
    x: Floats,
    k: Integers,
    lanes: int,
    lane: int,
    spends: Floats,
    gained_usd: float,
    funding_usd: float,
    costs_usd: float,
    now_s: float,
) -> None:
    """Book what a fill gained and cost, and remember the cost for R11."""
    x[CASH_USD * lanes + lane] = x[CASH_USD * lanes + lane] + gained_usd + funding_usd - costs_usd
    x[FEES_USD * lanes + lane] += costs_usd
    x[FUNDING_USD * lanes + lane] += funding_usd
    count, room = k[SPENDS * lanes + lane], spends.shape[2]
    if costs_usd == 0.0 or count < 0:
        return
    head = k[HEAD * lanes + lane]
    while count > 0 and not spends[0, lane, head] > now_s - _MONTH_S:
        head, count = (head + 1) % room, count - 1
    k[HEAD * lanes + lane] = head
    if count == room:
        k[SPENDS * lanes + lane] = -1  # too many for the ring: the run does not count, and is done anew
        return
    place = (head + count) % room
    spends[0, lane, place], spends[1, lane, place] = now_s, costs_usd
    k[SPENDS * lanes + lane] = count + 1


@jitable
def spent_usd(k: Integers, lanes: int, lane: int, spends: Floats, since_s: float) -> float:
    """Return the sum of the lane's spends after ``since_s``, rounded once as ``math.fsum`` does."""
    total = error = 0.0
    head, room = k[HEAD * lanes + lane], spends.shape[2]
    for number in range(k[SPENDS * lanes + lane]):
        place = (head + number) % room
        if spends[0, lane, place] > since_s:
            usd = spends[1, lane, place]
            after = total + usd
            part = after - total
            error += (total - (after - part)) + (usd - part)
            total = after
    return total + error


@jitable
def count_trade(x: Floats, k: Integers, lanes: int, lane: int, size: float, mark_usd: float) -> None:
    k[TRADES * lanes + lane] += 1
    x[TRADED_USD * lanes + lane] += abs(size) * mark_usd


@jitable
def forget(x: Floats, lanes: int, lane: int) -> None:
    """Leave no position."""
    x[SIZE * lanes + lane] = 0.0
    x[ENTRY_USD * lanes + lane] = 0.0
    x[BOOK_ENTRY_USD * lanes + lane] = 0.0
    x[MARGIN_USD * lanes + lane] = 0.0
    x[BOOK_FUNDING_USD * lanes + lane] = 0.0


@jitable
def record(
    log: Floats,
    logged: Integers,
    t: int,
    lane: int,
    action: int,
    size: float,
    margin_usd: float,
    done: float,
) -> None:
    """Write an order down while there is room; they are counted all the same."""
    row = logged[0]
    logged[0] = row + 1
    if row < log.shape[0]:
        log[row, 0], log[row, 1], log[row, 2] = t, lane, action
        log[row, 3], log[row, 4], log[row, 5] = size, margin_usd, done
