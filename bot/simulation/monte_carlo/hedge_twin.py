"""The numpy twin of ``hedge_tiles`` and ``measure_tiles``: the same arithmetic on all paths at once.

It gives the kernels' bits, and the value of every step, which they do not keep.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bot.simulation.monte_carlo import hedge_rows as hedge
from bot.simulation.monte_carlo import lane_maths as maths
from bot.simulation.monte_carlo.numbers import Float32, HedgeNumbers
from bot.simulation.monte_carlo.path_twin import AssetState, polynomial

Mask = NDArray[np.bool_]
_HALF, _ONE, _TWO, _ZERO, _THREE = maths.HALF, maths.ONE, maths.TWO, maths.ZERO, hedge.THREE


@dataclass(slots=True, kw_only=True)
class Position:
    """The rows of an exposure."""

    liquidity: Float32
    low: Float32
    high: Float32
    per_high: Float32
    units: Float32
    value: Float32
    fees: Float32
    earning: Float32


@dataclass(slots=True, kw_only=True)
class Option:
    """The rows of one layer."""

    strike: Float32
    log_strike: Float32
    contracts: Float32
    cost: Float32
    price: Float32
    spread: Float32
    bid: Float32
    buys: Mask
    closes: Mask


@dataclass(slots=True, kw_only=True)
class Hedge:
    """The rows of one policy's hedge of one exposure, and its layers NEAR, MID, TAIL."""

    tier: Float32
    since: Float32
    cash: Float32
    perpetual: Float32
    perpetual_gain: Float32
    premium: Float32
    orders: Float32
    session: Float32
    spent_30: Float32
    spent_365: Float32
    open: Float32
    layers: list[Option] = field(default_factory=list)


def open_position(a: AssetState, numbers: Float32) -> Position:
    per_high = _ONE / numbers[hedge.HIGH_RATIO]
    width = _TWO - numbers[hedge.LOW_RATIO] - per_high
    blank = np.zeros_like(a.root)
    return Position(
        liquidity=numbers[hedge.START_VALUE] / (a.root * width),
        low=numbers[hedge.LOW_RATIO] * a.root,
        high=numbers[hedge.HIGH_RATIO] * a.root,
        per_high=per_high / a.root,
        units=blank,
        value=blank,
        fees=blank,
        earning=blank,
    )


def move_position(a: AssetState, e: Position, numbers: Float32) -> None:
    held: Float32 = np.minimum(np.maximum(a.root, e.low), e.high)
    units: Float32 = _ONE / held - e.per_high
    e.value = e.liquidity * (a.spot * units + (held - e.low))
    e.fees = e.fees + e.earning
    e.units = e.liquidity * units
    e.earning = np.where((a.root >= e.low) & (a.root < e.high), numbers[hedge.FEE_STEP] * e.value, _ZERO)


def recentre(a: AssetState, e: Position, numbers: Float32) -> None:
    per_high = _ONE / numbers[hedge.HIGH_RATIO]
    width = _TWO - numbers[hedge.LOW_RATIO] - per_high
    units = e.value / (a.root * width) * ((_ONE - per_high) / a.root)
    left: Float32 = e.value - numbers[hedge.SWAP_COST] * np.abs(units - e.units) * a.spot
    e.liquidity = left / (a.root * width)
    e.low, e.high = numbers[hedge.LOW_RATIO] * a.root, numbers[hedge.HIGH_RATIO] * a.root
    e.per_high = per_high / a.root
    e.units = e.liquidity * ((_ONE - per_high) / a.root)
    e.value = left
    e.earning = numbers[hedge.FEE_STEP] * left


def blank_hedge(count: int) -> Hedge:
    def zeros() -> Float32:
        return np.zeros(count, np.float32)

    no = np.zeros(count, np.bool_)
    names = [name for name in Hedge.__slots__ if name != "layers"]
    layers = [
        Option(
            **{name: zeros() for name in Option.__slots__ if name not in ("buys", "closes")},
            buys=no,
            closes=no,
        )
        for _ in range(hedge.LAYERS)
    ]
    return Hedge(**{name: zeros() for name in names}, layers=layers)


def move_hedge(
    a: AssetState,
    e: Position,
    h: Hedge,
    p: Float32,
    market: Float32,
    impact: np.float32,
    calendar: Float32,
    step: int,
    step_days: np.float32,
) -> None:
    """Take one policy's hedge of one exposure to a step."""
    has_perpetual = p[hedge.HAS_PERPETUAL] > _HALF
    if has_perpetual and step > 0:
        before = a.spot - a.spot_move
        gain = h.perpetual * (before * (a.funding * market[hedge.STEP_YEARS]) - a.spot_move)
        h.cash, h.perpetual_gain = h.cash + gain, h.perpetual_gain + gain
    before_tier = h.tier
    move_tier(a, h, p, np.float32(step))
    changed = h.tier != before_tier
    h.session = np.zeros_like(h.session)
    day = np.float32(step) * step_days
    if day % np.float32(30.0) < step_days:
        h.spent_30 = np.zeros_like(h.spent_30)
    if day % np.float32(365.0) < step_days:
        h.spent_365 = np.zeros_like(h.spent_365)
    if has_perpetual:
        trade_perpetual(a, e, h, p, market)
    for layer in (2, 1, 0):
        first = hedge.FIRST_LAYER + layer * hedge.LAYER_NUMBERS
        move_layer(a, e, h, h.layers[layer], p, first, market, calendar[layer], impact, changed)


def move_tier(a: AssetState, h: Hedge, p: Float32, now: np.float32) -> None:
    fall = np.minimum(np.maximum((a.sigmas - p[hedge.FALL_CALM]) * p[hedge.FALL_PER], _ZERO), _ONE)
    jump = np.minimum(np.maximum((a.rise - p[hedge.JUMP_CALM]) * p[hedge.JUMP_PER], _ZERO), _ONE)
    fast = np.minimum(p[hedge.FAST_FALL] * fall + p[hedge.FAST_RISE] * jump, _ONE)
    guarded = np.where(a.technical > p[hedge.VOTE], _ONE, _ZERO)
    needed = np.where(fast > p[hedge.FAST], _TWO, guarded)
    is_high = h.tier > _ONE
    since = np.where(needed >= h.tier, now, h.since)
    rested = (now - since) >= np.where(is_high, p[hedge.COOL], p[hedge.COOL_GUARDED])
    quiet = (a.technical < p[hedge.VOTE_OFF]) & (fast < p[hedge.FAST_OFF])
    falls = rested & quiet & (needed < h.tier)
    lower = needed if p[hedge.IS_STRAIGHT] > _HALF else h.tier - _ONE
    tier = np.where(needed > h.tier, needed, np.where(falls, lower, h.tier))
    h.since, h.tier = np.where(falls, now, since), tier


def trade_perpetual(a: AssetState, e: Position, h: Hedge, p: Float32, market: Float32) -> None:
    target = np.where(h.tier > _ONE, p[hedge.SHARE_ELEVATED], _ZERO) * e.units
    missing = target - h.perpetual
    wanted = np.abs(missing) > p[hedge.RESET_BAND] * target
    allowed = (missing < _ZERO) | (a.funding >= p[hedge.MIN_FUNDING])
    change = np.where(wanted & allowed, missing, _ZERO)
    trades = change != _ZERO
    paid = np.abs(change) * a.spot * market[hedge.PERPETUAL_COST]
    paid = paid + np.where(trades, market[hedge.PERPETUAL_GAS], _ZERO)
    h.perpetual = h.perpetual + change
    h.cash, h.perpetual_gain = h.cash - paid, h.perpetual_gain - paid
    h.orders = h.orders + np.where(trades, _ONE, _ZERO)


def move_layer(
    a: AssetState,
    e: Position,
    h: Hedge,
    layer: Option,
    p: Float32,
    first: int,
    market: Float32,
    calendar: Float32,
    impact: np.float32,
    changed: Mask,
) -> None:
    """Roll, buy, mark and close one layer at a step."""
    rolls, opens_at = calendar[hedge.ROLLS] > _HALF, p[first + hedge.OPENS_AT]
    if opens_at >= hedge.NOBODY:
        return
    if rolls:
        _let_go(a, h, layer, market, calendar, impact)
    looks = rolls or (changed.any() and opens_at > _ZERO)
    is_held = layer.contracts > _ZERO
    is_listed = calendar[hedge.LISTED] > _HALF
    layer.buys = (h.tier >= opens_at) & ~is_held if looks and is_listed else np.zeros_like(is_held)
    layer.closes = (h.tier < opens_at) & is_held if looks else np.zeros_like(is_held)
    if layer.buys.any():
        pick_strikes(a, layer, calendar, market[hedge.SKEW_BEND], p[first + hedge.QUANTILE])
        want_contracts(e, h, layer, p, first)
    base, per, life = calendar[hedge.BASE], calendar[hedge.PER_IV2], calendar[hedge.ROOT_YEARS]
    price_puts(a, layer, base, per, life, impact, market)
    if layer.buys.any():
        buy(a, e, h, layer, p, market)
    bid_for(a, layer, market)
    if layer.closes.any():
        sell(h, layer)


def _let_go(
    a: AssetState, h: Hedge, layer: Option, market: Float32, calendar: Float32, impact: np.float32
) -> None:
    """Settle or sell the options held so far."""
    if calendar[hedge.SETTLES] > _HALF:
        payoff = np.maximum(layer.strike - a.spot, _ZERO)
        layer.bid = np.maximum(layer.contracts * payoff - _fuel(a, market), _ZERO)
    else:
        life = calendar[hedge.OLD_ROOT_YEARS]
        price_puts(a, layer, calendar[hedge.OLD_BASE], calendar[hedge.OLD_PER_IV2], life, impact, market)
        bid_for(a, layer, market)
    layer.closes = layer.contracts > _ZERO
    sell(h, layer)


def _fuel(a: AssetState, market: Float32) -> Float32:
    return np.asarray(market[hedge.GAS] * (_ONE + market[hedge.GAS_STRESS] * a.stress))


def price_puts(
    a: AssetState,
    layer: Option,
    base: np.float32,
    per_iv2: np.float32,
    root_years: np.float32,
    impact: np.float32,
    market: Float32,
) -> None:
    u = np.sqrt(np.maximum(base + per_iv2 * a.iv2, hedge.LEAST_VARIANCE * root_years * root_years))
    q = (a.x - layer.log_strike) / u
    x = np.minimum(np.maximum(-q, -_THREE), _THREE)
    ratio = _ONE + x * (market[hedge.SKEW_BEND] * x - a.slope)
    total = u * ratio
    d1 = q / ratio + _HALF * total
    d2 = d1 - total
    bell = layer.strike * (maths.INV_SQRT_2PI * a.exp(-_HALF * (d2 * d2)))
    f1, f2 = _ONE + maths.TAIL_P * np.abs(d1), _ONE + maths.TAIL_P * np.abs(d2)
    both = _ONE / (f1 * f2)
    t1, t2 = both * f2, both * f1
    tail_1, tail_2 = bell * (t1 * polynomial(maths.TAIL, t1)), bell * (t2 * polynomial(maths.TAIL, t2))
    held = np.where(d1 > _ZERO, tail_1, a.spot - tail_1)
    owed = np.where(d2 > _ZERO, tail_2, layer.strike - tail_2)
    layer.price = np.maximum(owed - held, _ZERO)
    vols = (market[hedge.SPREAD_VOL] + impact * layer.contracts) * (bell * root_years)
    stressed = _ONE + market[hedge.SPREAD_STRESS] * a.stress
    half = np.maximum(market[hedge.SPREAD_SHARE] * layer.price, vols) * stressed
    fee = np.minimum(market[hedge.NOTIONAL_SHARE] * a.spot, market[hedge.NOTIONAL_CAP] * layer.price)
    layer.spread = half + fee


def bid_for(a: AssetState, layer: Option, market: Float32) -> None:
    unit = layer.price - layer.spread
    layer.bid = np.maximum(layer.contracts * unit - _fuel(a, market), _ZERO)


def sell(h: Hedge, layer: Option) -> None:
    brought = np.where(layer.closes, layer.bid, _ZERO)
    h.cash = h.cash + brought
    h.spent_30, h.spent_365 = h.spent_30 - brought, h.spent_365 - brought
    h.open = h.open - np.where(layer.closes, layer.cost, _ZERO)
    h.orders = h.orders + np.where(brought > _ZERO, _ONE, _ZERO)
    layer.contracts = np.where(layer.closes, _ZERO, layer.contracts)
    layer.cost = np.where(layer.closes, _ZERO, layer.cost)
    layer.bid = np.where(layer.closes, _ZERO, layer.bid)


def pick_strikes(
    a: AssetState, layer: Option, calendar: Float32, bend: np.float32, quantile: np.float32
) -> None:
    floor = hedge.LEAST_VARIANCE * calendar[hedge.ROOT_YEARS] * calendar[hedge.ROOT_YEARS]
    u = np.sqrt(np.maximum(calendar[hedge.BASE] + calendar[hedge.PER_IV2] * a.iv2, floor))
    ratio = np.ones_like(u)
    for _ in range(3):
        x = np.minimum(np.maximum(_HALF * u * (ratio * ratio) - quantile * ratio, -_THREE), _THREE)
        ratio = _ONE + x * (bend * x - a.slope)
    total = u * ratio
    log_strike = a.x - total * (quantile - _HALF * total)
    layer.log_strike = np.where(layer.buys, log_strike, layer.log_strike)
    layer.strike = np.where(layer.buys, a.exp(log_strike), layer.strike)


def want_contracts(e: Position, h: Hedge, layer: Option, p: Float32, first: int) -> None:
    calm, guarded, elevated = p[first + hedge.RATIO_CALM : first + hedge.RATIO_ELEVATED + 1]
    ratio = np.where(h.tier > _ONE, elevated, np.where(h.tier > _ZERO, guarded, calm))
    layer.contracts = np.where(layer.buys, ratio * e.units, layer.contracts)


def buy(a: AssetState, e: Position, h: Hedge, layer: Option, p: Float32, market: Float32) -> None:
    capital, fuel = p[hedge.CAPITAL], _fuel(a, market)
    wanted = np.maximum(layer.contracts * (layer.price + layer.spread), hedge.TINY)
    session = p[hedge.SESSION_SHARE] * capital
    room = np.minimum(session * e.value - h.session, capital * e.value - h.open)
    later = np.minimum(p[hedge.BUDGET_30] * e.value - h.spent_30, p[hedge.BUDGET_365] * e.value - h.spent_365)
    premium = np.minimum(wanted, np.minimum(room, later) - fuel)
    fits = premium > fuel
    paid = np.where(layer.buys & fits, premium + fuel, _ZERO)
    bought = np.where(fits, layer.contracts * (premium / wanted), _ZERO)
    h.cash, h.premium, h.session = h.cash - paid, h.premium + paid, h.session + paid
    h.spent_30, h.spent_365, h.open = h.spent_30 + paid, h.spent_365 + paid, h.open + paid
    h.orders = h.orders + np.where(layer.buys & fits, _ONE, _ZERO)
    layer.cost = np.where(layer.buys, paid, layer.cost)
    layer.contracts = np.where(layer.buys, bought, layer.contracts)


@dataclass(slots=True, kw_only=True, eq=False)
class TwinRun:
    """The value of the book and the highest tier at each step, [step, path]; ``bare`` is unhedged."""

    bare: Float32
    worth: Float32
    tier: Float32
    hedges: list[Hedge]  # of each exposure, at the end


def hedge_paths(
    states: Iterable[list[AssetState]], numbers: HedgeNumbers, *, policy: int, steps: int, step_days: float
) -> TwinRun:
    """Hedge all exposures by one policy along the states of ``path_twin.walk``."""
    days = np.float32(step_days)
    positions: list[Position] = []
    run: TwinRun | None = None
    for step, assets in enumerate(states):
        own = [assets[at] for at in numbers.of_asset]
        if run is None:
            count = own[0].x.size
            shape = (steps + 1, count)
            positions = [open_position(a, row) for a, row in zip(own, numbers.shapes, strict=True)]
            run = TwinRun(
                bare=np.zeros(shape, np.float32),
                worth=np.zeros(shape, np.float32),
                tier=np.zeros(shape, np.float32),
                hedges=[blank_hedge(count) for _ in own],
            )
        for a, e, row in zip(own, positions, numbers.shapes, strict=True):
            move_position(a, e, row)
            if numbers.recentres[step] and row[hedge.RECENTRES] > _ZERO:
                recentre(a, e, row)
            run.bare[step] = run.bare[step] + e.value + e.fees
        run.worth[step] = run.bare[step]
        for at, (a, e, h) in enumerate(zip(own, positions, run.hedges, strict=True)):
            p, impact = numbers.policies[policy, at], numbers.shapes[at, hedge.IMPACT]
            move_hedge(a, e, h, p, numbers.market, impact, numbers.calendar[policy, step], step, days)
            bids = (h.layers[0].bid + h.layers[1].bid) + h.layers[2].bid
            run.worth[step] = (run.worth[step] + h.cash) + bids
            run.tier[step] = np.maximum(run.tier[step], h.tier)
    if run is None:
        raise ValueError("no states")
    return run
