"""The numpy twin of ``path_tiles``: the same arithmetic in the same order, on all paths at once.

It is what the kernels are tested against, bit for bit, and it keeps whole paths, for sizing and the exact
engine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bot.simulation.monte_carlo import lane_maths as maths
from bot.simulation.monte_carlo import path_tiles as path
from bot.simulation.monte_carlo.numbers import Float32, PathNumbers, Replay

Bits = NDArray[np.uint64]
_HALF, _ONE, _TWO, _ZERO = maths.HALF, maths.ONE, maths.TWO, maths.ZERO


def mix(z: Bits) -> Bits:
    z = (z ^ (z >> maths.S30)) * maths.MIX_1
    z = (z ^ (z >> maths.S27)) * maths.MIX_2
    return np.asarray(z ^ (z >> maths.S31))


def polynomial(coefficients: tuple[np.float32, ...], x: Float32) -> Float32:
    found: Float32 = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        found = found * x + coefficient
    return found


def log_of(x: Float32) -> Float32:
    bits = x.view(np.int32)
    exponent = (bits - maths.LOW_ROOT) >> np.int32(23)
    f = (bits - (exponent << np.int32(23))).view(np.float32) - _ONE
    square, whole = f * f, exponent.astype(np.float32)
    bend = f * square * polynomial(maths.LOG, f) + whole * maths.LN2_LOW
    return (f + (bend - _HALF * square)) + whole * maths.LN2_HIGH


def exp_of(x: Float32) -> Float32:
    x = np.minimum(np.maximum(x, maths.LEAST_EXP), maths.MOST_EXP)
    shifted = x * maths.LOG2_E + maths.SHIFT
    whole = shifted - maths.SHIFT
    rest = (x - whole * maths.LN2_HIGH) - whole * maths.LN2_LOW
    power = ((shifted.view(np.int32) + maths.BIAS) << np.int32(23)).view(np.float32)
    return np.asarray((_ONE + (rest + rest * rest * polynomial(maths.EXP, rest))) * power)


def uniforms(bits: Bits) -> tuple[Float32, Float32]:
    high, low = (bits >> maths.S32).astype(np.uint32), bits.astype(np.uint32)
    return (
        high.astype(np.float32) * maths.PER_32 + maths.HALF_PER_32,
        low.astype(np.float32) * maths.PER_32 + maths.HALF_PER_32,
    )


def normals(bits: Bits) -> tuple[Float32, Float32]:
    radius = np.sqrt(-_TWO * log_of(uniforms(bits)[0]))
    turn = bits.astype(np.uint32).view(np.int32).astype(np.float32) * maths.PER_31
    b = _HALF - np.abs(turn)
    square = b * b
    sine = polynomial(maths.COS, square)
    return radius * (b * polynomial(maths.SIN, square)), radius * np.where(turn >= _ZERO, sine, -sine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """Where draws and the exponential come from; a peer puts its own in place of ours."""

    uniforms: Callable[[Bits], tuple[Float32, Float32]]  # of 64 random bits for each path
    normals: Callable[[Bits], tuple[Float32, Float32]]
    mix: Callable[[Bits], Bits]
    exp: Callable[[Float32], Float32]


OURS = Functions(uniforms=uniforms, normals=normals, mix=mix, exp=exp_of)


@dataclass(slots=True, kw_only=True)
class AssetState:
    """One asset of all paths at a step; the rows of ``path_tiles`` by their names."""

    exp: Callable[[Float32], Float32]

    x: Float32
    moved: Float32
    y: Float32
    q: Float32
    root: Float32
    spot: Float32
    spot_move: Float32
    iv: Float32
    iv2: Float32
    sigmas: Float32
    rise: Float32
    per_iv: Float32
    stress: Float32
    slope: Float32
    funding: Float32
    slow: Float32
    technical: Float32


def seed_key(seed: int) -> np.uint64:
    """Return the key that all paths of a seed share."""
    with np.errstate(over="ignore"):
        return np.uint64(mix(np.array([seed % 2**64], np.uint64) * maths.GAMMA + maths.MIX_1)[0])


def path_keys(seed: int, first: int, count: int) -> Bits:
    numbers = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    return mix(seed_key(seed) + numbers * maths.GAMMA)


def walk(
    numbers: PathNumbers, keys: Bits, steps: int, *, at_median: bool = False, functions: Functions = OURS
) -> Iterator[list[AssetState]]:
    """Yield every asset at each step, the start first; ``at_median`` starts at the median vol in usual times.

    The states are the same objects at each step: copy what you keep.
    """
    count, assets, f = keys.size, numbers.assets.shape[0], functions
    states = [blank_state(count, f.exp) for _ in range(assets)]
    regime = np.zeros(count, np.float32)
    for step in range(steps + 1):
        offsets = np.arange(step * (assets + 1), (step + 1) * (assets + 1), dtype=np.uint64) * maths.GAMMA
        jump_draw, switch = f.uniforms(f.mix(keys + offsets[0]))
        e = _correlated([f.normals(f.mix(keys + offset)) for offset in offsets[1:]], numbers.factors)
        for state, p, (z1, z2) in zip(states, numbers.assets, e, strict=True):
            if step == 0:
                state.y = np.zeros_like(z2) if at_median else p[path.START_SD] * z2
            else:
                _move(state, p, z1, z2, regime, _jumps(jump_draw, regime, numbers.shared))
        if step == 0:
            start = _ZERO if at_median else numbers.shared[path.START_2]
            regime = np.where(switch <= start, _ONE, _ZERO)
        else:
            leave, enter = numbers.shared[path.LEAVE], numbers.shared[path.ENTER]
            changes = switch <= np.where(regime > _HALF, leave, enter)
            regime = np.where(changes, _ONE - regime, regime)
        for state, p in zip(states, numbers.assets, strict=True):
            _renew(state, p, regime)
            tell(state, p, is_start=step == 0)
        yield states


def replay(numbers: PathNumbers, history: Replay, keys: Bits, steps: int) -> Iterator[list[AssetState]]:
    """Yield every asset at each step of the stationary bootstrap, as ``walk`` does."""
    count, size = keys.size, history.successors.size
    states = [blank_state(count) for _ in numbers.assets]
    places = np.zeros(count, np.int64)
    for step in range(steps + 1):
        offset = np.array([step], np.uint64) * maths.GAMMA
        anywhere_draw, switch = uniforms(mix(keys + offset))
        anywhere = np.minimum((anywhere_draw * np.float32(size)).astype(np.int64), size - 1)
        following = history.successors[places]
        jumps = (following < 0) | (switch <= history.restart)
        places = anywhere if step == 0 else np.where(jumps, anywhere, following)
        for state, p, returns, past in zip(
            states, numbers.assets, history.returns, history.variances, strict=True
        ):
            state.moved = np.zeros(count, np.float32) if step == 0 else returns[places]
            state.x = state.x + state.moved
            per_year = _ONE / p[path.STEP_YEARS]
            now = history.decay * state.q + (_ONE - history.decay) * (state.moved * state.moved * per_year)
            state.q = past[places] if step == 0 else now
            state.iv = np.sqrt(p[path.IV_BASE] + p[path.IV_SLOPE] * state.q)
            tell(state, p, is_start=step == 0)
        yield states


def blank_state(count: int, exp: Callable[[Float32], Float32] = exp_of) -> AssetState:
    rows = {item.name: np.zeros(count, np.float32) for item in fields(AssetState) if item.name != "exp"}
    return AssetState(exp=exp, **rows)


def _correlated(e: list[tuple[Float32, Float32]], factors: Float32) -> list[tuple[Float32, Float32]]:
    found = list(e)
    for asset in range(len(e) - 1, 0, -1):
        own, pair = factors[asset, asset], found[asset]
        for other in range(asset):
            share = factors[asset, other]
            pair = (own * pair[0] + share * found[other][0], own * pair[1] + share * found[other][1])
            own = _ONE
        found[asset] = pair
    return found


def _jumps(u: Float32, regime: Float32, shared: Float32) -> Float32:
    crisis = regime > _HALF
    pairs = (
        (path.ONE_JUMP, path.ONE_JUMP_2),
        (path.TWO_JUMPS, path.TWO_JUMPS_2),
        (path.THREE_JUMPS, path.THREE_JUMPS_2),
    )
    one, two, three = (np.where(u > np.where(crisis, shared[b], shared[a]), _ONE, _ZERO) for a, b in pairs)
    return one + two + three


def _move(state: AssetState, p: Float32, z: Float32, z2: Float32, regime: Float32, n: Float32) -> None:
    crisis, diffused = regime > _HALF, state.q * p[path.STEP_YEARS]
    toll = np.where(crisis, p[path.COMPENSATOR_2], p[path.COMPENSATOR])
    lost = np.where(crisis, p[path.KICK_MEAN_2], p[path.KICK_MEAN])
    moved = (p[path.DRIFT] - _HALF * diffused) + (n * p[path.JUMP_MEAN] - toll)
    moved = moved + np.sqrt(diffused + n * p[path.JUMP_VARIANCE]) * z
    state.moved = moved
    state.x = state.x + moved
    shock = p[path.KICK_SD] * (p[path.LEAN] * z + p[path.LEAN_REST] * z2)
    shock = shock + (np.where(z < _ZERO, n, _ZERO) * p[path.KICK_JUMP] - lost)
    most = p[path.FURTHEST]
    state.y = np.minimum(np.maximum(p[path.KEEP] * state.y + shock, -most), most)


def _renew(state: AssetState, p: Float32, regime: Float32) -> None:
    crisis = regime > _HALF
    state.q = state.exp(_TWO * (np.where(crisis, p[path.LOG_VOL_2], p[path.LOG_VOL]) + state.y))
    implied = np.where(crisis, p[path.IV_SLOPE_2], p[path.IV_SLOPE]) * state.q
    state.iv = np.sqrt(np.where(crisis, p[path.IV_BASE_2], p[path.IV_BASE]) + implied)


def tell(state: AssetState, p: Float32, *, is_start: bool) -> None:
    """Work out what others read of price and implied vol, which stand in x, moved and iv."""
    root = state.exp(_HALF * state.x)
    spot = root * root
    state.spot_move = np.zeros_like(spot) if is_start else spot - state.spot
    state.root, state.spot = root, spot
    per_iv = _ONE / state.iv
    state.iv2 = state.iv * state.iv
    state.sigmas = state.moved * p[path.PER_ROOT_STEP] * per_iv
    state.rise = state.iv * (per_iv if is_start else state.per_iv) - _ONE
    state.per_iv = per_iv
    mean = p[path.SLOW_MEAN]
    before = mean + p[path.SLOW_START] * (state.iv - mean) if is_start else state.slow
    state.slow = before + p[path.SLOW_SHARE] * (state.iv - before)
    level: Float32 = state.iv / state.slow - _ONE
    moved = (p[path.AT_REST] + p[path.BY_LEVEL] * level) + p[path.BY_RISE] * state.rise
    state.technical = moved - p[path.BY_FALL] * state.sigmas
    state.stress = np.minimum(np.maximum((state.iv - p[path.STRESS_FROM]) * p[path.PER_STRESS], _ZERO), _ONE)
    state.slope = p[path.SKEW_CALM] + p[path.SKEW_RISE] * state.stress
    state.funding = p[path.FUNDING_CALM] + p[path.FUNDING_RISE] * state.stress
