"""Exponential, logarithm and Mills ratio for compiled loops, free of calls and branches.

numba calls the C library for each of them, which the compiler cannot do eight at a time; these are
polynomials, fitted by Chebyshev interpolation to under the rounding of float64.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])

_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = 6.93147180369123816490e-01  # its product with any exponent is exact
_LN2_LOW = 1.90821492927058770002e-10
_SHIFT = 6755399441055744.0  # 1.5 x 2**52: adding it rounds to a whole number that stands in the low bits
_MANTISSA, _ONE_BITS = np.int64(0x000FFFFFFFFFFFFF), np.int64(0x3FF0000000000000)

# (exp(r) - 1 - r) / r**2 for |r| <= log(2) / 2; (atanh(s) / s - 1) / s**2 in s**2 for |s| <= 3 - 2 sqrt(2).
_EXP = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662413,
    0.008333333333330062,
    0.0013888888917213717,
    0.00019841269863053618,
    2.4801521295954376e-05,
    2.7557268459997064e-06,
    2.7620088445409746e-07,
    2.510038549551032e-08,
)
_ATANH = (
    0.3333333333333335,
    0.19999999999949722,
    0.14285714313001635,
    0.11111105565129939,
    0.09091444727837474,
    0.07665855309105386,
    0.07308292712444311,
)
# (y + 4) M(y) in u = (y - 4) / (y + 4) for 0 <= y <= 56 (the map of Shepherd and Laframboise 1981).
_MILLS = (
    1.8932190633084853,
    -1.5237709108199828,
    0.9704095548676126,
    -0.46754096299840103,
    0.15139176231122273,
    -0.018900450859633475,
    -0.00872229525004413,
    0.004087855653039336,
    0.00033424436774894006,
    -0.0005792690995339919,
    -4.781760939374486e-06,
    8.809485443644929e-05,
    1.7906502867864173e-06,
    -1.4841000232543232e-05,
    -1.5644020062896688e-06,
    2.565205454599545e-06,
    6.592877517126486e-07,
    -3.9746981096229917e-07,
    -1.9244815583864752e-07,
    4.383261575493916e-08,
    3.708623014402505e-08,
    -1.926761087698654e-09,
    -3.3850013561792218e-09,
)
_MILLS_EVEN, _MILLS_ODD = _MILLS[0::2], _MILLS[1::2]


def compiled_kernel(**chosen: Any) -> Callable[[_Function], _Function]:
    """Return numba's decorator: cached on disk where there is a place; no flag that forgets NaN."""

    def decorate(function: _Function) -> _Function:
        fixed: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", **chosen}
        try:
            return numba.njit(cache=True, **fixed)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return numba.njit(**fixed)(function)  # type: ignore[no-any-return]

    return decorate


@compiled_kernel(inline="always")
def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    found = coefficients[len(coefficients) - 1]
    for index in range(len(coefficients) - 2, -1, -1):
        found = found * x + coefficients[index]
    return found


@compiled_kernel(inline="always")
def fast_exp(x: float) -> float:
    """Return exp(x) for -708 <= x <= 708."""
    whole = x * _LOG2_E + _SHIFT
    exponent = np.float64(whole).view(np.int64)
    whole = whole - _SHIFT
    rest = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    power = np.int64((exponent + 1023) << 52).view(np.float64)
    return (1.0 + (rest + rest * rest * _polynomial(_EXP, rest))) * power


@compiled_kernel(inline="always")
def fast_log_ratio(above: float, below: float) -> float:
    """Return log(above / below), exact to the last digits also next to 1."""
    above_bits, below_bits = np.float64(above).view(np.int64), np.float64(below).view(np.int64)
    a = np.int64((above_bits & _MANTISSA) | _ONE_BITS).view(np.float64)
    b = np.int64((below_bits & _MANTISSA) | _ONE_BITS).view(np.float64)
    exponent = np.float64((above_bits >> 52) - (below_bits >> 52))
    is_high, is_low = a > 1.4142135623730951 * b, b > 1.4142135623730951 * a
    exponent = exponent + 1.0 if is_high else exponent
    exponent = exponent - 1.0 if is_low else exponent
    b = 2.0 * b if is_high else b
    a = 2.0 * a if is_low else a
    s = (a - b) / (a + b)
    square = s * s
    return exponent * _LN2_HIGH + (
        2.0 * s + (2.0 * s * square * _polynomial(_ATANH, square) + exponent * _LN2_LOW)
    )


@compiled_kernel(inline="always")
def fast_mills_pair(y: float, z: float) -> tuple[float, float]:
    """Return the Mills ratios of both, 0 <= y, z <= 56, by one division."""
    y4, z4 = y + 4.0, z + 4.0
    both = 1.0 / (y4 * z4)
    y_inverse, z_inverse = both * z4, both * y4
    u, w = 1.0 - 8.0 * y_inverse, 1.0 - 8.0 * z_inverse
    uu, ww = u * u, w * w
    return (
        (_polynomial(_MILLS_EVEN, uu) + u * _polynomial(_MILLS_ODD, uu)) * y_inverse,
        (_polynomial(_MILLS_EVEN, ww) + w * _polynomial(_MILLS_ODD, ww)) * z_inverse,
    )
