"""Paths of price and implied vol, many at once: the compiled loops, in tiles of ``LANES`` paths.

A tile holds one row of ``LANES`` numbers for each quantity, all rows in one flat array, so that the compiler
sees that they do not overlap. The draws of a path follow from the seed and the path's own number alone
(``lane_maths.mix`` of a counter): neither tiles nor threads change them. ``path_twin`` states the same loops
in numpy; nothing here uses fast-math, and both give the same bits.
"""

from typing import Any

import numpy as np

from bot.quant.vector_math import compiled_kernel
from bot.simulation.monte_carlo.lane_maths import (
    COS,
    GAMMA,
    HALF,
    ONE,
    PER_31,
    SIN,
    TWO,
    ZERO,
    exp_of,
    log_of,
    mix,
    polynomial_5,
    polynomial_6,
    uniform_high,
    uniform_low,
)

LANES = 256  # paths of a tile

# Rows of an asset, each LANES long at a fixed place of one flat array.
# Log price, its root, price over its start; how price and log price changed in this step.
X, ROOT, SPOT, SPOT_MOVE, MOVED = range(5)
# Implied vol, its square, the move in deviations of it, its rise, its inverse.
IV, IV2, SIGMAS, RISE, PER_IV = range(5, 10)
SLOPE, FUNDING, STRESS = 10, 11, 12  # skew, funding a year and stress (0 to 1) that stand at the implied vol
Y, Q = 13, 14  # log vol less its mean, variance a year
E1, E2 = 15, 16  # standard normals of price and of vol
REGIME, JUMPS, SWITCH = 17, 18, 19
SLOW, TECHNICAL = 20, 21  # mean of the implied vol so far; what TECHNICAL's score is taken to be (R1)
ROWS = 22

# Entries of an asset's numbers, float32. The later ones of a pair are of the second regime.
(
    KEEP,  # of the log vol's distance to its mean, over one step
    KICK_SD,  # deviation of its random part over one step
    LEAN,  # correlation of vol and price
    LEAN_REST,  # sqrt(1 - LEAN**2)
    KICK_JUMP,  # added to the log vol by a jump down
    JUMP_MEAN,
    JUMP_VARIANCE,
    DRIFT,  # of the log price over one step, before the variance's half
    STEP_YEARS,
    FURTHEST,  # the log vol's distance is held inside +-this
    IV_BASE,  # implied variance = IV_BASE + IV_SLOPE x variance a year now
    IV_BASE_2,
    IV_SLOPE,
    IV_SLOPE_2,
    PER_ROOT_STEP,  # 1 / sqrt(years of a step)
    LOG_VOL,
    LOG_VOL_2,
    COMPENSATOR,  # of the jumps' mean, over one step
    COMPENSATOR_2,
    KICK_MEAN,  # of the jumps' kicks, taken off so that the mean log vol stays
    KICK_MEAN_2,
    START_SD,  # of the log vol's distance at the start
    SKEW_CALM,
    SKEW_RISE,
    STRESS_FROM,  # implied vol from which skew, spread, gas and funding move towards stress
    PER_STRESS,
    FUNDING_CALM,
    FUNDING_RISE,
    SLOW_SHARE,  # of its distance to the implied vol that the slow mean goes in a step
    SLOW_MEAN,  # the slow mean at the start: SLOW_MEAN + SLOW_START x (implied vol - SLOW_MEAN)
    SLOW_START,
    AT_REST,  # TECHNICAL = AT_REST + BY_LEVEL (implied vol / slow mean - 1) + BY_RISE RISE - BY_FALL SIGMAS
    BY_LEVEL,
    BY_RISE,
    BY_FALL,
    ASSET_NUMBERS,
) = range(36)
# Entries of the numbers that all assets share.
ENTER, LEAVE, ONE_JUMP, TWO_JUMPS, THREE_JUMPS, ONE_JUMP_2, TWO_JUMPS_2, THREE_JUMPS_2, START_2 = range(9)
SHARED_NUMBERS = 9  # START_2: the chance to start in the second regime


@compiled_kernel(fastmath=False)
def fill_keys(keys: Any, seed_key: Any, first_path: int) -> None:
    """Write the key of each path's draws."""
    for i in range(LANES):
        keys[i] = mix(seed_key + np.uint64(first_path + i + 1) * GAMMA)


@compiled_kernel(fastmath=False)
def draw_uniforms(keys: Any, draw: Any, tile: Any) -> None:
    """Write two uniforms in (0, 1] of each path's draw into JUMPS and SWITCH."""
    offset = draw * GAMMA
    for i in range(LANES):
        bits = mix(keys[i] + offset)
        tile[JUMPS * LANES + i] = uniform_high(bits)
        tile[SWITCH * LANES + i] = uniform_low(bits)


@compiled_kernel(fastmath=False)
def draw_normals(keys: Any, draw: Any, tile: Any) -> None:
    """Write two independent standard normals of each path's draw into E1 and E2 (Box and Muller 1958)."""
    offset = draw * GAMMA
    for i in range(LANES):
        bits = mix(keys[i] + offset)
        tile[E1 * LANES + i] = uniform_high(bits)
        tile[E2 * LANES + i] = np.float32(np.int32(np.uint32(bits))) * PER_31
    for i in range(LANES):
        tile[E1 * LANES + i] = np.sqrt(-TWO * log_of(tile[E1 * LANES + i]))
    for i in range(LANES):
        radius, turn = tile[E1 * LANES + i], tile[E2 * LANES + i]
        b = HALF - abs(turn)
        square = b * b
        sine = polynomial_6(COS, square)
        tile[E1 * LANES + i] = radius * (b * polynomial_5(SIN, square))
        tile[E2 * LANES + i] = radius * (sine if turn >= ZERO else -sine)


@compiled_kernel(fastmath=False)
def mix_in(tile: Any, other: Any, own: Any, share: Any) -> None:
    """Scale an asset's normals by ``own`` and add ``share`` of another asset's."""
    for i in range(2 * LANES):
        tile[E1 * LANES + i] = own * tile[E1 * LANES + i] + share * other[E1 * LANES + i]


@compiled_kernel(fastmath=False)
def correlate(tiles: Any, factors: Any) -> None:
    """Replace each asset's normals by its row of the Cholesky factor times all, the last asset first."""
    for asset in range(tiles.shape[0] - 1, 0, -1):
        own = factors[asset, asset]
        for other in range(asset):
            mix_in(tiles[asset], tiles[other], own, factors[asset, other])
            own = ONE


@compiled_kernel(fastmath=False)
def count_jumps(tile: Any, shared: Any) -> None:
    """Turn the uniforms of JUMPS into how often prices jump in this step, at most three times."""
    a1, a2, a3 = shared[ONE_JUMP], shared[TWO_JUMPS], shared[THREE_JUMPS]
    b1, b2, b3 = shared[ONE_JUMP_2], shared[TWO_JUMPS_2], shared[THREE_JUMPS_2]
    for i in range(LANES):
        u, crisis = tile[JUMPS * LANES + i], tile[REGIME * LANES + i] > HALF
        one = ONE if u > (b1 if crisis else a1) else ZERO
        two = ONE if u > (b2 if crisis else a2) else ZERO
        three = ONE if u > (b3 if crisis else a3) else ZERO
        tile[JUMPS * LANES + i] = one + two + three


@compiled_kernel(fastmath=False)
def switch_regime(tile: Any, shared: Any) -> None:
    enter, leave = shared[ENTER], shared[LEAVE]
    for i in range(LANES):
        was = tile[REGIME * LANES + i]
        changes = tile[SWITCH * LANES + i] <= (leave if was > HALF else enter)
        tile[REGIME * LANES + i] = ONE - was if changes else was


@compiled_kernel(fastmath=False)
def start_asset(tile: Any, p: Any) -> None:
    """Set the price to its start and the log vol to a draw of its stationary law."""
    for i in range(LANES):
        tile[X * LANES + i] = ZERO
        tile[MOVED * LANES + i] = ZERO
        tile[PER_IV * LANES + i] = ZERO
        tile[Y * LANES + i] = p[START_SD] * tile[E2 * LANES + i]


@compiled_kernel(fastmath=False)
def move_asset(tile: Any, p: Any) -> None:
    """Take one step of price and log vol, in the regime and with the variance that stand at its start."""
    keep, kick_sd, lean, rest = p[KEEP], p[KICK_SD], p[LEAN], p[LEAN_REST]
    kick, mean, variance, drift = p[KICK_JUMP], p[JUMP_MEAN], p[JUMP_VARIANCE], p[DRIFT]
    years, most = p[STEP_YEARS], p[FURTHEST]
    toll, toll_2, lost, lost_2 = p[COMPENSATOR], p[COMPENSATOR_2], p[KICK_MEAN], p[KICK_MEAN_2]
    for i in range(LANES):
        crisis, n, z = tile[REGIME * LANES + i] > HALF, tile[JUMPS * LANES + i], tile[E1 * LANES + i]
        diffused = tile[Q * LANES + i] * years
        moved = (drift - HALF * diffused) + (n * mean - (toll_2 if crisis else toll))
        moved = moved + np.sqrt(diffused + n * variance) * z
        tile[MOVED * LANES + i] = moved
        tile[X * LANES + i] = tile[X * LANES + i] + moved
        shock = kick_sd * (lean * z + rest * tile[E2 * LANES + i])
        kicks = n if z < ZERO else ZERO
        shock = shock + (kicks * kick - (lost_2 if crisis else lost))
        tile[Y * LANES + i] = min(max(keep * tile[Y * LANES + i] + shock, -most), most)


@compiled_kernel(fastmath=False)
def renew_vol(tile: Any, p: Any) -> None:
    """Work out variance and implied vol of the regime and the log vol that now stand."""
    level, level_2, base, base_2 = p[LOG_VOL], p[LOG_VOL_2], p[IV_BASE], p[IV_BASE_2]
    slope, slope_2 = p[IV_SLOPE], p[IV_SLOPE_2]
    for i in range(LANES):
        crisis = tile[REGIME * LANES + i] > HALF
        variance = exp_of(TWO * ((level_2 if crisis else level) + tile[Y * LANES + i]))
        tile[Q * LANES + i] = variance
        implied = (slope_2 if crisis else slope) * variance
        tile[IV * LANES + i] = np.sqrt((base_2 if crisis else base) + implied)


@compiled_kernel(fastmath=False)
def renew_price(tile: Any, is_start: bool) -> None:
    for i in range(LANES):
        root = exp_of(HALF * tile[X * LANES + i])
        spot = root * root
        tile[ROOT * LANES + i] = root
        tile[SPOT_MOVE * LANES + i] = ZERO if is_start else spot - tile[SPOT * LANES + i]
        tile[SPOT * LANES + i] = spot


@compiled_kernel(fastmath=False)
def tell_signals(tile: Any, p: Any, is_start: bool) -> None:
    """Work out what a tier reads: SIGMAS as S24, RISE as S25 over one step; RISE is 0 at the start."""
    per_root, share, mean, start = p[PER_ROOT_STEP], p[SLOW_SHARE], p[SLOW_MEAN], p[SLOW_START]
    rest, by_level, by_rise, by_fall = p[AT_REST], p[BY_LEVEL], p[BY_RISE], p[BY_FALL]
    for i in range(LANES):
        iv = tile[IV * LANES + i]
        per_iv = ONE / iv
        tile[IV2 * LANES + i] = iv * iv
        sigmas = tile[MOVED * LANES + i] * per_root * per_iv
        rise = iv * (per_iv if is_start else tile[PER_IV * LANES + i]) - ONE
        before = mean + start * (iv - mean) if is_start else tile[SLOW * LANES + i]
        slow = before + share * (iv - before)
        level = iv / slow - ONE
        technical = ((rest + by_level * level) + by_rise * rise) - by_fall * sigmas
        tile[SIGMAS * LANES + i] = sigmas
        tile[RISE * LANES + i] = rise
        tile[SLOW * LANES + i] = slow
        tile[TECHNICAL * LANES + i] = technical
        tile[PER_IV * LANES + i] = per_iv


@compiled_kernel(fastmath=False)
def tell_terms(tile: Any, p: Any) -> None:
    """Work out the skew's slope and the funding that stand at the implied vol."""
    calm, rise, start, per = p[SKEW_CALM], p[SKEW_RISE], p[STRESS_FROM], p[PER_STRESS]
    funding, funding_rise = p[FUNDING_CALM], p[FUNDING_RISE]
    for i in range(LANES):
        stress = min(max((tile[IV * LANES + i] - start) * per, ZERO), ONE)
        tile[STRESS * LANES + i] = stress
        tile[SLOPE * LANES + i] = calm + rise * stress
        tile[FUNDING * LANES + i] = funding + funding_rise * stress


@compiled_kernel(fastmath=False)
def tell(tile: Any, p: Any, is_start: bool) -> None:
    """Work out what others read of price and implied vol, which stand in X, MOVED and IV."""
    renew_price(tile, is_start)
    tell_signals(tile, p, is_start)
    tell_terms(tile, p)


@compiled_kernel(fastmath=False)
def share_rows(tile: Any, first: Any) -> None:
    """Copy regime and jumps, which all assets have in common."""
    for i in range(2 * LANES):
        tile[REGIME * LANES + i] = first[REGIME * LANES + i]


@compiled_kernel(fastmath=False)
def begin(tiles: Any, shared: Any) -> None:
    first = tiles[0]
    for i in range(LANES):
        first[REGIME * LANES + i] = ONE if first[SWITCH * LANES + i] <= shared[START_2] else ZERO


@compiled_kernel(fastmath=False)
def draw_place(tile: Any, places: Any, restart: Any, successors: Any, is_start: bool) -> None:
    """Move each path's place in the history one day on, or to any: at random, and where a stretch ends."""
    size = successors.size
    for i in range(LANES):
        anywhere = min(np.int64(tile[JUMPS * LANES + i] * np.float32(size)), size - 1)
        following = anywhere if is_start else successors[places[i]]
        jumps = is_start or following < 0 or tile[SWITCH * LANES + i] <= restart
        places[i] = anywhere if jumps else following


@compiled_kernel(fastmath=False)
def replay_asset(
    tile: Any, places: Any, p: Any, returns: Any, variances: Any, decay: Any, is_start: bool
) -> None:
    """Take the return of each path's place; the variance is the EWMA of the path's own returns."""
    base, slope, per_year, rest = p[IV_BASE], p[IV_SLOPE], ONE / p[STEP_YEARS], ONE - decay
    for i in range(LANES):
        moved = ZERO if is_start else returns[places[i]]
        now = decay * tile[Q * LANES + i] + rest * (moved * moved * per_year)
        variance = variances[places[i]] if is_start else now
        tile[MOVED * LANES + i] = moved
        tile[X * LANES + i] = ZERO if is_start else tile[X * LANES + i] + moved
        tile[Q * LANES + i] = variance
        tile[IV * LANES + i] = np.sqrt(base + slope * variance)


@compiled_kernel(fastmath=False)
def next_replayed(
    tiles: Any,
    keys: Any,
    numbers: Any,
    places: Any,
    returns: Any,
    variances: Any,
    successors: Any,
    restart: Any,
    decay: Any,
    step: int,
) -> None:
    """Take all assets to a step of the stationary bootstrap: the same day of history for all of them."""
    draw_uniforms(keys, np.uint64(step), tiles[0])
    draw_place(tiles[0], places, restart, successors, step == 0)
    for asset in range(numbers.shape[0]):
        own, past = returns[asset], variances[asset]
        replay_asset(tiles[asset], places, numbers[asset], own, past, decay, step == 0)
        tell(tiles[asset], numbers[asset], step == 0)


@compiled_kernel(fastmath=False)
def next_step(tiles: Any, keys: Any, numbers: Any, shared: Any, factors: Any, step: int) -> None:
    """Take all assets to a step; step 0 is the start."""
    assets, first = numbers.shape[0], tiles[0]
    draw = step * (assets + 1)
    draw_uniforms(keys, np.uint64(draw), first)
    for asset in range(assets):
        draw_normals(keys, np.uint64(draw + 1 + asset), tiles[asset])
    correlate(tiles, factors)
    if step > 0:
        count_jumps(first, shared)
    for asset in range(assets):
        if asset > 0:
            share_rows(tiles[asset], first)
        if step == 0:
            start_asset(tiles[asset], numbers[asset])
        else:
            move_asset(tiles[asset], numbers[asset])
    if step == 0:
        begin(tiles, shared)
    else:
        switch_regime(first, shared)
    for asset in range(assets):
        if asset > 0:
            share_rows(tiles[asset], first)
        renew_vol(tiles[asset], numbers[asset])
        tell(tiles[asset], numbers[asset], step == 0)
