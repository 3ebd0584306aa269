"""``scripts/bench options``: price with five greeks, and implied vol, per option, beside peers.

Every round takes all sides in turn on the same options. Before the first, all must agree on every value.
Ours writes into the arrays of an earlier result, as a sweep does; ``price_greeks_new_ns`` makes them anew.
Half the processor time of a kernel is what two cores would take on the clock with nothing else running.
"""

import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import QuantLib as ql
from bench_timers import Figures
from scipy.special import ndtr

from bot.model.market import FloatArray

# Read when numba's threads start: a thread that is done must not spin on the core that the other waits for.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from bot.quant import option_kernels, options

_COUNT, _VOLS = 1_000_000, 100_000
_NUMPY_VOL_STEPS = 12
_PEER_COUNT, _PEER_VOLS = 2_000, 2_000
_ROUNDS = 11
_RATE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class _Book:
    spot: FloatArray
    strike: FloatArray
    years: FloatArray
    vol: FloatArray
    is_put: FloatArray

    def first(self, count: int) -> "_Book":
        return _Book(**{name: getattr(self, name)[:count] for name in self.__slots__})

    def four(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return self.spot, self.strike, self.years, self.vol


def made_up_book(count: int) -> _Book:
    """Return options within a fifth of the spot's level, a week to a year, vols of 20 to 120 %."""
    random = np.random.default_rng(1)
    return _Book(
        spot=random.uniform(80.0, 120.0, count),
        strike=random.uniform(80.0, 120.0, count),
        years=random.uniform(0.02, 1.0, count),
        vol=random.uniform(0.2, 1.2, count),
        is_put=random.random(count) < 0.5,
    )


def numpy_greeks(book: _Book) -> tuple[FloatArray, ...]:
    """Return price and five greeks by the textbook on whole arrays, every common term taken once."""
    spot, strike, years, vol = book.four()
    sign, root = np.where(book.is_put, -1.0, 1.0), np.sqrt(years)
    total = vol * root
    d1 = (np.log(spot / strike) + (_RATE + 0.5 * vol * vol) * years) / total
    cash = strike * np.exp(-_RATE * years)
    up, owed = ndtr(sign * d1), cash * ndtr(sign * (d1 - total))
    density = np.exp(-0.5 * d1 * d1) * (1.0 / math.sqrt(2.0 * math.pi))
    vega = spot * density * root
    theta = -0.5 * vega * vol / years - sign * _RATE * owed
    return sign * (spot * up - owed), sign * up, density / (spot * total), vega, theta, sign * years * owed


def numpy_vols(book: _Book, prices: FloatArray) -> FloatArray:
    """Return vols by a fixed number of Newton steps on whole arrays, from between 30 and 300 %."""
    spot, strike, years, _ = book.four()
    sign, root, discount = np.where(book.is_put, -1.0, 1.0), np.sqrt(years), np.exp(-_RATE * years)
    forward = spot / discount
    vol = np.clip(np.sqrt(2.0 * np.abs(np.log(forward / strike)) / years), 0.3, 3.0)
    for _ in range(_NUMPY_VOL_STEPS):
        total = vol * root
        d1 = np.log(forward / strike) / total + 0.5 * total
        value = sign * discount * (forward * ndtr(sign * d1) - strike * ndtr(sign * (d1 - total)))
        vega = spot * np.exp(-0.5 * d1 * d1) * (1.0 / math.sqrt(2.0 * math.pi)) * root
        vol = np.clip(vol - (value - prices) / np.maximum(vega, 1e-12), 1e-4, 10.0)
    return np.asarray(vol)


def vollib_greeks(book: _Book) -> list[tuple[float, ...]]:
    """Return price and five greeks of each option by py_vollib's functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # py_vollib tells of its newer name
        from py_vollib.black_scholes import black_scholes
        from py_vollib.black_scholes.greeks import analytical as greek
    found = []
    for spot, strike, years, vol, is_put in zip(*(_lists(book)), strict=True):
        inputs = ("p" if is_put else "c", spot, strike, years, _RATE, vol)
        steps = (black_scholes, greek.delta, greek.gamma, greek.vega, greek.theta, greek.rho)
        found.append(tuple(step(*inputs) for step in steps))
    return found


def quantlib_greeks(book: _Book) -> list[tuple[float, ...]]:
    """Return price and five greeks of each option by QuantLib's Black calculator, its quickest way."""
    found = []
    for spot, strike, years, vol, is_put in zip(*(_lists(book)), strict=True):
        kind, growth = ql.Option.Put if is_put else ql.Option.Call, math.exp(_RATE * years)
        black = ql.BlackCalculator(
            ql.PlainVanillaPayoff(kind, strike), spot * growth, vol * math.sqrt(years), 1.0 / growth
        )
        found.append(
            (
                black.value(),
                black.delta(spot),
                black.gamma(spot),
                black.vega(years),
                black.theta(spot, years),
                black.rho(years),
            )
        )
    return found


def quantlib_vols(book: _Book, prices: list[float]) -> list[float]:
    """Return vols by QuantLib's Li and Rabinowitz-Snyder method, its quickest."""
    found = []
    for spot, strike, years, is_put, value in zip(
        book.spot.tolist(),
        book.strike.tolist(),
        book.years.tolist(),
        book.is_put.tolist(),
        prices,
        strict=True,
    ):
        kind, growth = ql.Option.Put if is_put else ql.Option.Call, math.exp(_RATE * years)
        total = ql.blackFormulaImpliedStdDevLiRS(kind, strike, spot * growth, value, 1.0 / growth)
        found.append(total / math.sqrt(years))
    return found


def vollib_vols(book: _Book, prices: list[float]) -> list[float]:
    """Return vols by py_vollib (Jaeckel's "Let's be rational")."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from py_vollib.black_scholes.implied_volatility import implied_volatility
    spots, strikes, lives, _, puts = _lists(book)
    return [
        implied_volatility(value, spot, strike, years, _RATE, "p" if is_put else "c")
        for value, spot, strike, years, is_put in zip(prices, spots, strikes, lives, puts, strict=True)
    ]


async def bench_options() -> Figures:
    """Nanoseconds per option of the kernels, ratios of peers to them, and the errors."""
    book = made_up_book(_COUNT)
    few, some = book.first(_PEER_COUNT), book.first(_VOLS)
    carry = {"is_put": book.is_put, "rate": _RATE}
    kept = option_kernels.greeks(*book.four(), **carry)
    prices = kept.price.copy()
    quoted = prices[:_PEER_VOLS].tolist()
    vol_inputs = (prices[:_VOLS], some.spot, some.strike, some.years)
    few_vols = book.first(_PEER_VOLS)
    errors = _check(book, few, prices, quoted)
    sides: dict[str, tuple[int, Callable[[], object]]] = {
        "price_greeks": (_COUNT, lambda: option_kernels.greeks(*book.four(), **carry, out=kept)),
        "price_greeks_new": (_COUNT, lambda: option_kernels.greeks(*book.four(), **carry)),
        "numpy": (_COUNT, lambda: numpy_greeks(book)),
        "twin": (_VOLS, lambda: options.greeks(*some.four(), is_put=some.is_put, rate=_RATE)),
        "py_vollib": (_PEER_COUNT, lambda: vollib_greeks(few)),
        "quantlib": (_PEER_COUNT, lambda: quantlib_greeks(few)),
        "iv": (_VOLS, lambda: option_kernels.implied_vol(*vol_inputs, is_put=some.is_put, rate=_RATE)),
        "numpy_iv": (_VOLS, lambda: numpy_vols(some, prices[:_VOLS])),
        "py_vollib_iv": (_PEER_VOLS, lambda: vollib_vols(few_vols, quoted)),
        "quantlib_iv": (_PEER_VOLS, lambda: quantlib_vols(few_vols, quoted)),
    }
    clock, processor = _interleaved(sides)
    return _figures(clock, processor) | errors


def _interleaved(
    sides: dict[str, tuple[int, Callable[[], object]]],
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return ns per option of every round, by the clock and by processor time over all cores."""
    clock: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(_ROUNDS):
        for name, (count, work) in sides.items():
            used, started = time.process_time(), time.perf_counter()
            work()
            clock[name].append((time.perf_counter() - started) / count * 1e9)
            processor[name].append((time.process_time() - used) / count * 1e9)
    return ({k: np.array(v) for k, v in clock.items()}, {k: np.array(v) for k, v in processor.items()})


def _figures(clock: dict[str, FloatArray], processor: dict[str, FloatArray]) -> Figures:
    def over(peer: str, ours: str) -> float:
        return float(np.median(clock[peer] / clock[ours]))

    found = {f"{name}_ns": float(np.median(taken)) for name, taken in clock.items()}
    return found | {
        "price_greeks_best_ns": float(clock["price_greeks"].min()),
        "iv_best_ns": float(clock["iv"].min()),
        "price_greeks_processor_ns": float(np.median(processor["price_greeks"])),
        "iv_processor_ns": float(np.median(processor["iv"])),
        "numpy_over_ours": over("numpy", "price_greeks"),
        "py_vollib_over_ours": over("py_vollib", "price_greeks"),
        "quantlib_over_ours": over("quantlib", "price_greeks"),
        "numpy_iv_over_ours": over("numpy_iv", "iv"),
        "py_vollib_iv_over_ours": over("py_vollib_iv", "iv"),
        "quantlib_iv_over_ours": over("quantlib_iv", "iv"),
    }


def _check(book: _Book, few: _Book, prices: FloatArray, quoted: list[float]) -> Figures:
    """Return the kernels' largest errors; every side must have found the same.

    Raises:
        AssertionError: Two sides differ.
    """
    ours = option_kernels.greeks(*few.four(), is_put=few.is_put, rate=_RATE)
    table = np.array([getattr(ours, name) for name in ("price", "delta", "gamma", "vega", "theta", "rho")])
    np.testing.assert_allclose(np.array(numpy_greeks(few)), table, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(np.array(quantlib_greeks(few)).T, table, rtol=1e-9, atol=1e-10)
    per_point = np.array([[1.0], [1.0], [1.0], [0.01], [1 / 365], [0.01]])  # py_vollib's vega, theta, rho
    np.testing.assert_allclose(np.array(vollib_greeks(few)).T, per_point * table, rtol=1e-9, atol=1e-10)
    found = option_kernels.implied_vol(prices, *book.four()[:3], is_put=book.is_put, rate=_RATE)
    clear = options.vega(*book.four(), rate=_RATE) > 0.1
    few_clear = clear[:_PEER_VOLS]
    peers = (
        (vollib_vols, 1e-9),
        (quantlib_vols, 1e-4),
    )  # QuantLib's method stops at 1e-6 of vol x sqrt(years)
    for solve, tolerance in peers:
        theirs = np.array(solve(few, quoted))
        np.testing.assert_allclose(theirs[few_clear], few.vol[few_clear], rtol=tolerance)
    return {
        "price_max_relative_error": _largest_error(few, ours.price),
        "iv_max_error": float(np.abs(found - book.vol)[clear].max()),
        "iv_share_vega_over_0_1": float(clear.mean()),
    }


def _largest_error(book: _Book, prices: FloatArray) -> float:
    """Return the largest error relative to the price itself, however small, against 60 digits."""
    import mpmath as mp

    worst = 0.0
    with mp.workdps(60):
        for found, *inputs, is_put in zip(prices.tolist(), *_lists(book), strict=True):
            spot, strike, years, vol = map(mp.mpf, inputs)
            total, sign = vol * mp.sqrt(years), -1 if is_put else 1
            d1 = (mp.log(spot / strike) + mp.mpf(_RATE) * years) / total + total / 2
            up, down = (mp.erfc(-sign * d / mp.sqrt(2)) / 2 for d in (d1, d1 - total))
            exact = sign * (spot * up - strike * mp.exp(-mp.mpf(_RATE) * years) * down)
            worst = max(worst, float(abs(found / exact - 1)))
    return worst


def _lists(book: _Book) -> tuple[list[float], list[float], list[float], list[float], list[bool]]:
    """Return columns as lists of Python numbers, which the peers take fastest."""
    spot, strike, years, vol = (column.tolist() for column in book.four())
    return spot, strike, years, vol, book.is_put.tolist()
