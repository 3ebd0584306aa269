"""LP position, tiers, three put layers and a perpetual along many paths: the compiled loops.

Money is in units of all exposures' value at the start, prices in units of their own start. ``hedge_twin``
states the same in numpy. Nothing uses fast-math: both give the same bits, and so the same tiers and orders.
"""

from typing import Any

import numpy as np

from bot.quant.vector_math import compiled_kernel
from bot.simulation.monte_carlo.hedge_rows import (
    BASE,
    BID,
    BUDGET_30,
    BUDGET_365,
    BUYS,
    CAPITAL,
    CASH,
    CLOSES,
    CONTRACTS,
    COOL,
    COOL_GUARDED,
    COST,
    EARNING,
    FALL_CALM,
    FALL_PER,
    FAST,
    FAST_FALL,
    FAST_OFF,
    FAST_RISE,
    FEE_STEP,
    FEES,
    FIRST_LAYER,
    GAS,
    GAS_STRESS,
    HAS_PERPETUAL,
    HIGH_RATIO,
    IS_STRAIGHT,
    JUMP_CALM,
    JUMP_PER,
    LAYER_NUMBERS,
    LAYERS,
    LIQUIDITY,
    LISTED,
    LOW_RATIO,
    MIN_FUNDING,
    NOBODY,
    OLD_BASE,
    OLD_PER_IV2,
    OLD_ROOT_YEARS,
    OPEN,
    OPENS_AT,
    ORDERS,
    PER_IV2,
    PER_ROOT_HIGH,
    PERPETUAL,
    PERPETUAL_COST,
    PERPETUAL_GAIN,
    PERPETUAL_GAS,
    PREMIUM,
    PRICE,
    QUANTILE,
    RATIO_CALM,
    RATIO_ELEVATED,
    RATIO_GUARDED,
    RESET_BAND,
    ROLLS,
    ROOT_HIGH,
    ROOT_LOW,
    ROOT_YEARS,
    SESSION,
    SESSION_SHARE,
    SETTLES,
    SHARE_ELEVATED,
    SINCE,
    SKEW_BEND,
    SPENT_30,
    SPENT_365,
    SPREAD,
    START_VALUE,
    STEP_YEARS,
    SWAP_COST,
    TIER,
    TINY,
    UNITS,
    VALUE,
    VOTE,
    VOTE_OFF,
)
from bot.simulation.monte_carlo.lane_maths import (
    HALF,
    ONE,
    TWO,
    ZERO,
)
from bot.simulation.monte_carlo.path_tiles import (
    FUNDING,
    LANES,
    RISE,
    ROOT,
    SIGMAS,
    SPOT,
    SPOT_MOVE,
    STRESS,
    TECHNICAL,
)
from bot.simulation.monte_carlo.put_tiles import (
    bid_for,
    mark_puts,
    pick_strikes,
    price_puts,
    settle_puts,
)


@compiled_kernel(fastmath=False)
def open_position(a: Any, e: Any, numbers: Any) -> None:
    """Open the position at the start with its value there."""
    low_ratio, high_ratio, worth = numbers[LOW_RATIO], numbers[HIGH_RATIO], numbers[START_VALUE]
    per_high = ONE / high_ratio
    width = TWO - low_ratio - per_high
    for i in range(LANES):
        root = a[ROOT * LANES + i]
        e[LIQUIDITY * LANES + i] = worth / (root * width)
        e[ROOT_LOW * LANES + i] = low_ratio * root
        e[ROOT_HIGH * LANES + i] = high_ratio * root
        e[PER_ROOT_HIGH * LANES + i] = per_high / root
        e[FEES * LANES + i] = ZERO
        e[EARNING * LANES + i] = ZERO


@compiled_kernel(fastmath=False)
def move_position(a: Any, e: Any, numbers: Any) -> None:
    """Value the LP at the new price (v3 whitepaper 2.2, 6.29) and book the fees of the step before."""
    fee_step = numbers[FEE_STEP]
    for i in range(LANES):
        root, spot, liquidity = a[ROOT * LANES + i], a[SPOT * LANES + i], e[LIQUIDITY * LANES + i]
        low, high = e[ROOT_LOW * LANES + i], e[ROOT_HIGH * LANES + i]
        held = min(max(root, low), high)
        units = ONE / held - e[PER_ROOT_HIGH * LANES + i]
        value = liquidity * (spot * units + (held - low))
        e[FEES * LANES + i] = e[FEES * LANES + i] + e[EARNING * LANES + i]
        e[UNITS * LANES + i] = liquidity * units
        e[VALUE * LANES + i] = value
        e[EARNING * LANES + i] = fee_step * value if (root >= low) & (root < high) else ZERO


@compiled_kernel(fastmath=False)
def recentre(a: Any, e: Any, numbers: Any) -> None:
    """Open the position anew around the price, with what it is worth less the cost of what is swapped."""
    low_ratio, high_ratio, cost = numbers[LOW_RATIO], numbers[HIGH_RATIO], numbers[SWAP_COST]
    fee_step, per_high = numbers[FEE_STEP], ONE / numbers[HIGH_RATIO]
    width = TWO - low_ratio - per_high
    for i in range(LANES):
        root, spot, value = a[ROOT * LANES + i], a[SPOT * LANES + i], e[VALUE * LANES + i]
        units = value / (root * width) * ((ONE - per_high) / root)
        left = value - cost * abs(units - e[UNITS * LANES + i]) * spot
        liquidity = left / (root * width)
        e[LIQUIDITY * LANES + i] = liquidity
        e[ROOT_LOW * LANES + i] = low_ratio * root
        e[ROOT_HIGH * LANES + i] = high_ratio * root
        e[PER_ROOT_HIGH * LANES + i] = per_high / root
        e[UNITS * LANES + i] = liquidity * ((ONE - per_high) / root)
        e[VALUE * LANES + i] = left
        e[EARNING * LANES + i] = fee_step * left


@compiled_kernel(fastmath=False)
def hold_perpetual(a: Any, h: Any, funding_step: Any) -> None:
    """Book what the short perpetual gained over the step: price, and funding at the rate of its end."""
    for i in range(LANES):
        held, moved = h[PERPETUAL * LANES + i], a[SPOT_MOVE * LANES + i]
        before = a[SPOT * LANES + i] - moved
        gain = held * (before * (a[FUNDING * LANES + i] * funding_step) - moved)
        h[CASH * LANES + i] = h[CASH * LANES + i] + gain
        h[PERPETUAL_GAIN * LANES + i] = h[PERPETUAL_GAIN * LANES + i] + gain


@compiled_kernel(fastmath=False)
def move_tier(a: Any, h: Any, p: Any, now: Any) -> int:
    """Raise the tier at once, lower it after its cooldown (R1's fast path, R3); return how many changed.

    ``now`` is the step.
    """
    vote, vote_off, fast_vote, fast_off = p[VOTE], p[VOTE_OFF], p[FAST], p[FAST_OFF]
    by_fall, by_rise, cool_guarded, cool = p[FAST_FALL], p[FAST_RISE], p[COOL_GUARDED], p[COOL]
    fall_calm, fall_per, jump_calm, jump_per = p[FALL_CALM], p[FALL_PER], p[JUMP_CALM], p[JUMP_PER]
    is_straight = p[IS_STRAIGHT] > HALF
    changed = np.int32(0)  # a count of 64 bits would halve the lanes that are done at once
    for i in range(LANES):
        fall = min(max((a[SIGMAS * LANES + i] - fall_calm) * fall_per, ZERO), ONE)
        jump = min(max((a[RISE * LANES + i] - jump_calm) * jump_per, ZERO), ONE)
        fast, technical = min(by_fall * fall + by_rise * jump, ONE), a[TECHNICAL * LANES + i]
        guarded = ONE if technical > vote else ZERO
        needed = TWO if fast > fast_vote else guarded
        tier = h[TIER * LANES + i]
        is_high = tier > ONE
        since = now if needed >= tier else h[SINCE * LANES + i]
        rested = (now - since) >= (cool if is_high else cool_guarded)
        falls = rested & (technical < vote_off) & (fast < fast_off) & (needed < tier)
        lower = needed if is_straight else tier - ONE
        new = needed if needed > tier else (lower if falls else tier)
        h[SINCE * LANES + i] = now if falls else since
        h[TIER * LANES + i] = new
        changed = np.int32(changed + np.int32(1 if new != tier else 0))
    return int(changed)


@compiled_kernel(fastmath=False)
def trade_perpetual(a: Any, e: Any, h: Any, p: Any, market: Any) -> None:
    """Set the short to the tier's share of the position's delta where it is off by the band (R12, R27)."""
    share_high, band, least = p[SHARE_ELEVATED], p[RESET_BAND], p[MIN_FUNDING]
    cost, gas = market[PERPETUAL_COST], market[PERPETUAL_GAS]
    for i in range(LANES):
        tier, held = h[TIER * LANES + i], h[PERPETUAL * LANES + i]
        target = (share_high if tier > ONE else ZERO) * e[UNITS * LANES + i]
        missing = target - held
        wanted = abs(missing) > band * target
        allowed = (missing < ZERO) | (a[FUNDING * LANES + i] >= least)
        change = missing if wanted & allowed else ZERO
        paid = abs(change) * a[SPOT * LANES + i] * cost + (gas if change != ZERO else ZERO)
        h[PERPETUAL * LANES + i] = held + change
        h[CASH * LANES + i] = h[CASH * LANES + i] - paid
        h[PERPETUAL_GAIN * LANES + i] = h[PERPETUAL_GAIN * LANES + i] - paid
        h[ORDERS * LANES + i] = h[ORDERS * LANES + i] + (ONE if change != ZERO else ZERO)


@compiled_kernel(fastmath=False)
def want(h: Any, layer: Any, opens_at: Any, buys_from: Any) -> tuple[int, int]:
    """Mark which paths buy and which close the layer; return how many of each."""
    buys = closes = 0
    for i in range(LANES):
        tier, is_held = h[TIER * LANES + i], layer[CONTRACTS * LANES + i] > ZERO
        buy = (tier >= buys_from) & (not is_held)
        close = (tier < opens_at) & is_held
        layer[BUYS * LANES + i] = ONE if buy else ZERO
        layer[CLOSES * LANES + i] = ONE if close else ZERO
        buys += 1 if buy else 0
        closes += 1 if close else 0
    return buys, closes


@compiled_kernel(fastmath=False)
def sell(h: Any, layer: Any) -> None:
    """Sell or settle at BID where CLOSES is set, and give the money back to the budgets (R9)."""
    for i in range(LANES):
        closes = layer[CLOSES * LANES + i] > HALF
        brought = layer[BID * LANES + i] if closes else ZERO
        spent = layer[COST * LANES + i] if closes else ZERO
        h[CASH * LANES + i] = h[CASH * LANES + i] + brought
        h[SPENT_30 * LANES + i] = h[SPENT_30 * LANES + i] - brought
        h[SPENT_365 * LANES + i] = h[SPENT_365 * LANES + i] - brought
        h[OPEN * LANES + i] = h[OPEN * LANES + i] - spent
        h[ORDERS * LANES + i] = h[ORDERS * LANES + i] + (ONE if brought > ZERO else ZERO)
        layer[CONTRACTS * LANES + i] = ZERO if closes else layer[CONTRACTS * LANES + i]
        layer[COST * LANES + i] = ZERO if closes else layer[COST * LANES + i]
        layer[BID * LANES + i] = ZERO if closes else layer[BID * LANES + i]


@compiled_kernel(fastmath=False)
def want_contracts(e: Any, h: Any, layer: Any, p: Any, first: int) -> None:
    """Write as many contracts as the tier wants on the position's delta, where BUYS is set."""
    calm, guarded, elevated = p[first + RATIO_CALM], p[first + RATIO_GUARDED], p[first + RATIO_ELEVATED]
    for i in range(LANES):
        tier = h[TIER * LANES + i]
        ratio = elevated if tier > ONE else (guarded if tier > ZERO else calm)
        target = ratio * e[UNITS * LANES + i]
        buys = layer[BUYS * LANES + i] > HALF
        layer[CONTRACTS * LANES + i] = target if buys else layer[CONTRACTS * LANES + i]


@compiled_kernel(fastmath=False)
def buy(a: Any, e: Any, h: Any, layer: Any, p: Any, market: Any) -> None:
    """Pay for CONTRACTS where BUYS is set, for as many as the budgets reach (R9)."""
    gas, stressed, capital = market[GAS], market[GAS_STRESS], p[CAPITAL]
    session, budget_30, budget_365 = p[SESSION_SHARE] * capital, p[BUDGET_30], p[BUDGET_365]
    for i in range(LANES):
        buys, target = layer[BUYS * LANES + i] > HALF, layer[CONTRACTS * LANES + i]
        ask = layer[PRICE * LANES + i] + layer[SPREAD * LANES + i]
        wanted = max(target * ask, TINY)
        worth, fuel = e[VALUE * LANES + i], gas * (ONE + stressed * a[STRESS * LANES + i])
        room = min(session * worth - h[SESSION * LANES + i], capital * worth - h[OPEN * LANES + i])
        later = min(
            budget_30 * worth - h[SPENT_30 * LANES + i], budget_365 * worth - h[SPENT_365 * LANES + i]
        )
        premium = min(wanted, min(room, later) - fuel)
        fits = premium > fuel
        paid = premium + fuel if buys & fits else ZERO
        bought = target * (premium / wanted) if fits else ZERO
        h[CASH * LANES + i] = h[CASH * LANES + i] - paid
        h[PREMIUM * LANES + i] = h[PREMIUM * LANES + i] + paid
        h[SESSION * LANES + i] = h[SESSION * LANES + i] + paid
        h[SPENT_30 * LANES + i] = h[SPENT_30 * LANES + i] + paid
        h[SPENT_365 * LANES + i] = h[SPENT_365 * LANES + i] + paid
        h[OPEN * LANES + i] = h[OPEN * LANES + i] + paid
        h[ORDERS * LANES + i] = h[ORDERS * LANES + i] + (ONE if buys & fits else ZERO)
        layer[COST * LANES + i] = paid if buys else layer[COST * LANES + i]
        layer[CONTRACTS * LANES + i] = bought if buys else target


@compiled_kernel(fastmath=False)
def close_all(layer: Any) -> None:
    for i in range(LANES):
        layer[CLOSES * LANES + i] = ONE if layer[CONTRACTS * LANES + i] > ZERO else ZERO


@compiled_kernel(fastmath=False)
def clear_row(tile: Any, row: int) -> None:
    part = tile[row * LANES : (row + 1) * LANES]
    for i in range(LANES):
        part[i] = ZERO


@compiled_kernel(fastmath=False)
def let_go(a: Any, h: Any, layer: Any, market: Any, calendar: Any, impact: Any) -> None:
    """Settle or sell the options held so far."""
    if calendar[SETTLES] > HALF:
        settle_puts(a, layer, market)
    else:
        life = calendar[OLD_ROOT_YEARS]
        mark_puts(a, layer, calendar[OLD_BASE], calendar[OLD_PER_IV2], life, impact, market)
    close_all(layer)
    sell(h, layer)


@compiled_kernel(fastmath=False)
def move_layer(
    a: Any,
    e: Any,
    h: Any,
    layer: Any,
    p: Any,
    first: int,
    market: Any,
    calendar: Any,
    impact: Any,
    moved: bool,
) -> None:
    """Roll, buy, mark and close one layer at a step.

    It looks for something to buy or to close where it rolls and where a tier of the tile has moved: what a
    budget refused is asked for again then, and not in every step.
    """
    rolls, opens_at = calendar[ROLLS] > HALF, p[first + OPENS_AT]
    if opens_at >= NOBODY:
        return
    if rolls:
        let_go(a, h, layer, market, calendar, impact)
    buys = closes = 0
    if rolls or (moved and opens_at > ZERO):
        buys, closes = want(h, layer, opens_at, opens_at if calendar[LISTED] > HALF else NOBODY)
    if buys > 0:
        life, bend, quantile = calendar[ROOT_YEARS], market[SKEW_BEND], p[first + QUANTILE]
        pick_strikes(a, layer, calendar[BASE], calendar[PER_IV2], life, bend, quantile)
        want_contracts(e, h, layer, p, first)
    if buys > 0:
        price_puts(a, layer, calendar[BASE], calendar[PER_IV2], calendar[ROOT_YEARS], impact, market)
        buy(a, e, h, layer, p, market)
        bid_for(a, layer, market)
    else:
        mark_puts(a, layer, calendar[BASE], calendar[PER_IV2], calendar[ROOT_YEARS], impact, market)
    if closes > 0:
        sell(h, layer)


@compiled_kernel(fastmath=False)
def move_hedge(
    a: Any,
    e: Any,
    h: Any,
    layers: Any,
    p: Any,
    market: Any,
    impact: Any,
    calendar: Any,
    step: int,
    step_days: Any,
) -> None:
    """Take one policy's hedge of one exposure to a step."""
    has_perpetual = p[HAS_PERPETUAL] > HALF
    if has_perpetual and step > 0:
        hold_perpetual(a, h, market[STEP_YEARS])
    changed = move_tier(a, h, p, np.float32(step))
    clear_row(h, SESSION)
    day = np.float32(step) * step_days
    if day % np.float32(30.0) < step_days:
        clear_row(h, SPENT_30)
    if day % np.float32(365.0) < step_days:
        clear_row(h, SPENT_365)
    if has_perpetual:
        trade_perpetual(a, e, h, p, market)
    for number in range(LAYERS):
        layer = LAYERS - 1 - number  # TAIL first: the budgets are its before they are the nearer layers'
        first = FIRST_LAYER + layer * LAYER_NUMBERS
        move_layer(a, e, h, layers[layer], p, first, market, calendar[layer], impact, changed > 0)
