"""Random bits, normals, exponential and normal distribution in float32, compiled without calls or branches.

``path_twin`` states the same in numpy; without fused multiply-add both give the same bits. float32 halves the
work of every lane, and its rounding (6e-8) is far under the sampling error of any number of paths that fits a
machine.
"""

from typing import Any

import numpy as np

from bot.quant.vector_math import compiled_kernel

# SplitMix64 (Steele, Lea, Flood 2014): a bijective mix of a counter, so that any draw is reached at once.
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S30, S27, S31, S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)

ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
PER_32, PER_31 = np.float32(2.0**-32), np.float32(2.0**-31)
HALF_PER_32 = np.float32(2.0**-33)

# log(1 + f) / f**3 + ... and exp: Cephes (Moshier), logf and expf.
LOG = tuple(
    np.float32(x)
    for x in (
        3.3333331174e-1,
        -2.4999993993e-1,
        2.0000714765e-1,
        -1.6668057665e-1,
        1.4249322787e-1,
        -1.2420140846e-1,
        1.1676998740e-1,
        -1.1514610310e-1,
        7.0376836292e-2,
    )
)
EXP = tuple(
    np.float32(x)
    for x in (
        5.0000001201e-1,
        1.6666665459e-1,
        4.1665795894e-2,
        8.3334519073e-3,
        1.3981999507e-3,
        1.9875691500e-4,
    )
)
LOW_ROOT = np.int32(0x3F3504F3)  # bits of sqrt(1/2)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
LOG2_E = np.float32(1.44269504088896341)
SHIFT = np.float32(12582912.0)  # 1.5 x 2**23: adding it rounds to a whole number that stands in the low bits
BIAS = np.int32(127)
LEAST_EXP, MOST_EXP = np.float32(-87.0), np.float32(88.0)

# sin(pi b) / b and cos(pi b) in b**2, |b| <= 1/2: fitted by Chebyshev interpolation, errors under 1.4e-8.
SIN = tuple(
    np.float32(x)
    for x in (
        3.1415927410125732,
        -5.167710304260254,
        2.550077438354492,
        -0.598291277885437,
        0.07765766233205795,
    )
)
COS = tuple(
    np.float32(x)
    for x in (
        1.0,
        -4.934802055358887,
        4.058709144592285,
        -1.335211992263794,
        0.23493731021881104,
        -0.024396324530243874,
    )
)

# N(-y) = n(y) (b1 t + ... + b5 t**5), t = 1 / (1 + p y), y >= 0: Abramowitz and Stegun 26.2.17, to 7.5e-8.
TAIL_P = np.float32(0.2316419)
TAIL = tuple(np.float32(x) for x in (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429))
INV_SQRT_2PI = np.float32(0.3989422804014327)


@compiled_kernel(inline="always", fastmath=False)
def mix(z: Any) -> Any:
    """Return 64 random bits of a counter."""
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


# Written out: a loop over the coefficients leaves numba's counter behind, for which the compiler peels the
# first lane off every tile and does the last ones one by one.


@compiled_kernel(inline="always", fastmath=False)
def polynomial_5(c: Any, x: Any) -> Any:
    return (((c[4] * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


@compiled_kernel(inline="always", fastmath=False)
def polynomial_6(c: Any, x: Any) -> Any:
    return ((((c[5] * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


@compiled_kernel(inline="always", fastmath=False)
def polynomial_9(c: Any, x: Any) -> Any:
    high = (((c[8] * x + c[7]) * x + c[6]) * x + c[5]) * x + c[4]
    return (((high * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


@compiled_kernel(inline="always", fastmath=False)
def log_of(x: Any) -> Any:
    """Return log(x) for a normal number x > 0, to 1e-7 of it."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32(np.int32(bits - LOW_ROOT) >> np.int32(23))
    f = np.int32(bits - np.int32(exponent << np.int32(23))).view(np.float32) - ONE
    square, whole = f * f, np.float32(exponent)
    bend = f * square * polynomial_9(LOG, f) + whole * LN2_LOW
    return (f + (bend - HALF * square)) + whole * LN2_HIGH


@compiled_kernel(inline="always", fastmath=False)
def exp_of(x: Any) -> Any:
    """Return exp(x) to 2e-7 of it, of x held inside -87..88."""
    x = min(max(x, LEAST_EXP), MOST_EXP)
    shifted = x * LOG2_E + SHIFT
    bits = np.float32(shifted).view(np.int32)
    whole = shifted - SHIFT
    rest = (x - whole * LN2_HIGH) - whole * LN2_LOW
    power = np.int32(np.int32(bits + BIAS) << np.int32(23)).view(np.float32)
    return (ONE + (rest + rest * rest * polynomial_6(EXP, rest))) * power


@compiled_kernel(inline="always", fastmath=False)
def uniform_high(bits: Any) -> Any:
    """Return a number in (0, 1] of the upper half of 64 bits."""
    return np.float32(np.uint32(bits >> S32)) * PER_32 + HALF_PER_32


@compiled_kernel(inline="always", fastmath=False)
def uniform_low(bits: Any) -> Any:
    """Return a number in (0, 1] of the lower half of 64 bits."""
    return np.float32(np.uint32(bits)) * PER_32 + HALF_PER_32


@compiled_kernel(inline="always", fastmath=False)
def normal_pair(bits: Any) -> Any:
    """Return two independent standard normals of 64 bits (Box and Muller 1958); none is beyond 6.8."""
    radius = np.sqrt(-TWO * log_of(uniform_high(bits)))
    turn = np.float32(np.int32(np.uint32(bits))) * PER_31
    b = HALF - abs(turn)
    square = b * b
    sine, cosine = polynomial_6(COS, square), b * polynomial_5(SIN, square)
    return radius * cosine, radius * (sine if turn >= ZERO else -sine)


@compiled_kernel(inline="always", fastmath=False)
def tail_over_density(t: Any) -> Any:
    """Return N(-y) / n(y) for t = 1 / (1 + TAIL_P y)."""
    return t * polynomial_5(TAIL, t)
