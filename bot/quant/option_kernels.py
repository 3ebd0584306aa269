"""Price with first greeks, and implied vol, of very many options: compiled twins of ``options``.

For surfaces, grids and sweeps of some thousand options and more. The decision never calls this: last digits
differ from the plain functions, and all modes must decide alike. Importing this module costs numba's import,
the first call of a kernel its compilation, which is kept on disk; so import it where it is used.

Threads are numba's; on a machine that is busy with other work ``OMP_WAIT_POLICY=passive`` in the environment
keeps one that is done from spinning. After a fork the child must not call a kernel that the parent called.

What lies outside the kernels' range (expired, without vol, unknown, out of any scale, next to a bound) goes
to the plain twin, so that its rules for NaN and edges hold here too.
"""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant import options
from bot.quant.option_tiles import greeks_of_all, vols_of_all
from bot.quant.options import Greeks

_NAMES = tuple(field.name for field in fields(Greeks))
_Inputs: TypeAlias = tuple[Any, Any, Any, Any, Any, Any, Any]  # four, puts as 0 and 1, rate, yield


def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    out: Greeks | None = None,
) -> Greeks:
    """Return value and greeks as ``options.greeks`` does, on all cores.

    ``out`` may be an earlier result of the same shape from here, whose arrays are overwritten: that saves
    making them anew.
    """
    inputs, shape = _rows((spot, strike, years, vol), is_put, (rate, dividend_yield))
    table = _table(shape) if out is None else _table_of(out, shape)
    pays = bool(np.any(inputs[6] != 0.0))
    if greeks_of_all(*inputs, pays, table):
        unknown = np.flatnonzero(np.isnan(table[0]))
        now, level, life, sigma, put, interest, growth = _picked(inputs, unknown)
        plain = options.greeks(now, level, life, sigma, is_put=put, rate=interest, dividend_yield=growth)
        for row, name in zip(table, _NAMES, strict=True):
            row[unknown] = getattr(plain, name)
    return Greeks(**{name: row.reshape(shape) for row, name in zip(table, _NAMES, strict=True)})


def black76_greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> Greeks:
    """Return value and greeks on the forward as ``options.black76_greeks`` does."""
    found = greeks(forward, strike, years, vol, is_put=is_put, rate=rate, dividend_yield=rate)
    life = np.maximum(np.asarray(years, dtype=np.float64), 0.0)
    return replace(found, rho=np.asarray(-life * found.price))


def implied_vol(
    price: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> FloatArray:
    """Return vols as ``options.implied_vol`` does, on all cores; NaN by the same rules."""
    inputs, shape = _rows((price, spot, strike, years), is_put, (rate, dividend_yield))
    found = np.empty(math.prod(shape))
    if vols_of_all(*inputs, found):
        unknown = np.flatnonzero(np.isnan(found))
        worth, now, level, life, put, interest, growth = _picked(inputs, unknown)
        found[unknown] = options.implied_vol(
            worth, now, level, life, is_put=put, rate=interest, dividend_yield=growth
        )
    return found.reshape(shape)


def black76_implied_vol(
    price: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    *,
    is_put: ArrayLike,
    rate: ArrayLike = 0.0,
) -> FloatArray:
    """Return Black-76 vols of discounted prices as ``options.black76_implied_vol`` does."""
    return implied_vol(price, forward, strike, years, is_put=is_put, rate=rate, dividend_yield=rate)


def _rows(
    four: Sequence[ArrayLike], is_put: ArrayLike, two: Sequence[ArrayLike]
) -> tuple[_Inputs, tuple[int, ...]]:
    """Return the inputs, each flat with one value or as many as there are options, and the common shape.

    All are read-only, as broadcast ones are: arrays of another kind would have the kernel compiled anew.
    """
    arrays: list[Any] = [np.asarray(item, dtype=np.float64) for item in four]
    arrays.append(np.asarray(is_put, dtype=np.bool_).view(np.uint8))
    arrays += [np.asarray(item, dtype=np.float64) for item in two]
    shape = np.broadcast_shapes(*(item.shape for item in arrays))
    full = [item if item.size == 1 else np.broadcast_to(item, shape) for item in arrays]
    a, b, c, d, put, rate, growth = (_read_only(np.ascontiguousarray(item).reshape(-1)) for item in full)
    return (a, b, c, d, put, rate, growth), shape


def _read_only(values: Any) -> Any:
    view = values.view()
    view.flags.writeable = False
    return view


def _picked(inputs: _Inputs, places: Any) -> list[Any]:
    """Return the inputs of some options."""
    return [item if item.size == 1 else item[places] for item in inputs]


def _table(shape: tuple[int, ...]) -> FloatArray:
    return np.empty((len(_NAMES), math.prod(shape)))


def _table_of(out: Greeks, shape: tuple[int, ...]) -> FloatArray:
    """Return the table that an earlier result lies in."""
    base = out.price.base
    size = math.prod(shape)
    if out.price.shape != shape or base is None or base.shape != (len(_NAMES), size):
        raise InvariantError(f"greeks of shape {shape} cannot be written over arrays of {out.price.shape}")
    return base
