"""Forwards and discount factors that put-call parity implies, and their term structure.

Parity at one expiry: call - put = discount x (forward - strike), so over strikes it is a straight line whose
slope is minus the discount factor (Hull, "Options, Futures and Other Derivatives", ch. 11 and 17). Money is
USD per unit of the underlying, years have 365 days, rates are continuously compounded.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant.surface import forward_vol, iv_at_tenor, term_slope

LEAST_STRIKES = 3  # fewer say nothing about the discount: then the one that is given counts
_DISCOUNT_BAND = (0.5, 1.5)  # a slope outside is noise of far too few or too wide quotes
_ROUNDS = 25  # of re-weighting, ample: the weights settle in a handful
_HUBER = 2.0  # half-spreads beyond which a quote counts linearly
_LEAST_HALF_SPREAD = 1e-6  # of the spot level, so that a quote without spread has a finite weight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParityQuotes:
    """Put and call prices of one expiry at rising strikes, USD per unit; NaN is no quote."""

    years: float
    strikes: FloatArray
    call_bids: FloatArray
    call_asks: FloatArray
    put_bids: FloatArray
    put_asks: FloatArray

    def __post_init__(self) -> None:
        rows = (self.call_bids, self.call_asks, self.put_bids, self.put_asks)
        if any(row.shape != self.strikes.shape or row.ndim != 1 for row in rows):
            raise InvariantError(
                f"parity at {self.years:.4f} years: prices and strikes must be equally long rows"
            )
        sound = np.isfinite(self.strikes) & (self.strikes > 0.0)
        if not sound.all() or (np.diff(self.strikes) <= 0.0).any():
            raise InvariantError(
                f"parity at {self.years:.4f} years: strikes must be > 0 and rise without duplicates, "
                f"were {self.strikes.tolist()}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpliedForward:
    """What parity says of one expiry. NaN is unknown, and ``why_unknown`` says why."""

    years: float
    forward: float
    discount: float  # factor, 1 is no interest
    strikes_used: int
    method: str  # "regression", "given discount" or "unknown"
    error: float  # standard error of the forward, USD; NaN with fewer points than parameters + 1
    lowest: float  # forwards below this pay an arbitrage against some quote
    highest: float
    gap: float  # largest |call - put - discount (forward - strike)|, USD
    gap_beyond_spread: (
        float  # largest part of it that the quotes' spreads do not explain; S22 compares with cost
    )
    why_unknown: str = ""

    @property
    def rate(self) -> float:
        """The interest rate of the discount factor a year."""
        return -math.log(self.discount) / self.years if self.discount > 0.0 else math.nan

    @property
    def consistent(self) -> bool:
        """Whether one forward lies within the bounds of every strike; False when unknown."""
        return self.lowest <= self.highest


def implied_forward(quotes: ParityQuotes, *, discount: float | None = None) -> ImpliedForward:
    """Return the forward by a regression over strikes weighted by 1 / spread^2, robust to a stale quote.

    The discount factor is ``discount`` where given; else the slope where ``LEAST_STRIKES`` strikes and a
    sensible slope allow, else 1. Strikes with a missing, negative or crossed price are left out.
    """
    if not 0.0 < quotes.years < math.inf:
        return _unknown(quotes.years, f"years must be > 0, was {quotes.years:g}")
    if discount is not None and not 0.0 < discount < math.inf:
        raise InvariantError(f"parity: discount must be finite and > 0, was {discount}")
    used = _usable(quotes)
    if not used.any():
        return _unknown(quotes.years, "no strike with sound bids and asks of both a put and a call")
    strikes = quotes.strikes[used]
    low = (quotes.call_bids - quotes.put_asks)[used]
    high = (quotes.call_asks - quotes.put_bids)[used]
    middle = 0.5 * (low + high)
    half = np.maximum(0.5 * (high - low), _LEAST_HALF_SPREAD * strikes)
    factor, method, parameters = discount, "given discount", 1
    if factor is None:
        slope = -_line(strikes, middle, half)[1] if strikes.size >= LEAST_STRIKES else math.nan
        sensible = _DISCOUNT_BAND[0] <= slope <= _DISCOUNT_BAND[1]
        factor, method, parameters = (slope, "regression", 2) if sensible else (1.0, method, 1)
    forward, error = _forward(strikes, middle, half, factor, parameters)
    if not 0.0 < forward < math.inf:
        return _unknown(quotes.years, f"parity gives a forward of {forward:g}")
    gaps = np.abs(middle - factor * (forward - strikes))
    return ImpliedForward(
        years=quotes.years, forward=forward, discount=factor, strikes_used=int(strikes.size), method=method,
        error=error, lowest=float((strikes + low / factor).max()),
        highest=float((strikes + high / factor).min()),
        gap=float(gaps.max()), gap_beyond_spread=float(np.maximum(gaps - 0.5 * (high - low), 0.0).max()),
    )  # fmt: skip


def cost_of_carry(forward: ArrayLike, spot: ArrayLike, years: ArrayLike) -> FloatArray:
    """Return ln(forward / spot) / years, a fraction a year; NaN unless all are > 0."""
    ahead, now, life = (np.asarray(item, dtype=np.float64) for item in (forward, spot, years))
    good = (ahead > 0.0) & (now > 0.0) & (life > 0.0) & (ahead < np.inf) & (now < np.inf)
    ratio = np.where(good, ahead, 1.0) / np.where(good, now, 1.0)
    return np.asarray(np.where(good, np.log(ratio) / np.where(good, life, 1.0), np.nan))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForwardCurve:
    """Forwards at rising expiries; ``spot`` stands at 0 years, NaN when it is unknown."""

    years: FloatArray
    forwards: FloatArray
    spot: float = math.nan

    def __post_init__(self) -> None:
        sound = self.years.shape == self.forwards.shape and self.years.ndim == 1
        if not sound or not ((self.forwards > 0.0) & (self.years > 0.0)).all():
            raise InvariantError(
                f"forward curve: years and forwards must be equally long rows > 0, were {self.years} and "
                f"{self.forwards}"
            )
        if (np.diff(self.years) <= 0.0).any():
            raise InvariantError(f"forward curve: years must rise without duplicates, were {self.years}")

    def at(self, years: ArrayLike) -> FloatArray:
        """Return the forward at any tenor: constant carry between expiries and beyond the last.

        The carry beyond the last is that from spot to it; without a spot the nearest forward stands. NaN for
        a tenor that is negative or unknown, or when nothing is known.
        """
        tenor = np.asarray(years, dtype=np.float64)
        tenor = np.where(tenor >= 0.0, tenor, np.nan)
        known = 0.0 < self.spot < math.inf
        at = np.concatenate([[0.0], self.years]) if known else self.years
        if at.size == 0:
            return np.full(tenor.shape, np.nan)
        logs = np.log(np.concatenate([[self.spot], self.forwards]) if known else self.forwards)
        carry = (logs[-1] - logs[0]) / at[-1] if known and at[-1] > 0.0 else 0.0
        beyond = carry * np.maximum(tenor - at[-1], 0.0)
        return np.asarray(np.exp(np.interp(tenor, at, logs) + beyond))

    def carry(self, years: ArrayLike) -> FloatArray:
        """Return the annual cost of carry from spot to a tenor, NaN without a spot."""
        return cost_of_carry(self.at(years), self.spot, years)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AtmTermStructure:
    """At-the-money vols at rising expiries, fractions a year."""

    years: FloatArray
    ivs: FloatArray

    def iv(self, tenor_years: ArrayLike) -> FloatArray:
        """Return the vol at a constant maturity (``surface.iv_at_tenor``)."""
        return iv_at_tenor(self.years, self.ivs, tenor_years)

    def slope(self, front_years: float, back_years: float) -> float:
        """Return front / back - 1 (S13); positive is backwardation."""
        return float(term_slope(self.iv(front_years), self.iv(back_years)))

    def forward_vols(self) -> FloatArray:
        """Return the vol between each two expiries, NaN where their total variances fall."""
        return forward_vol(self.years[:-1], self.ivs[:-1], self.years[1:], self.ivs[1:])


def _usable(quotes: ParityQuotes) -> FloatArray:
    call_sound = (quotes.call_bids >= 0.0) & (quotes.call_asks >= quotes.call_bids)
    put_sound = (quotes.put_bids >= 0.0) & (quotes.put_asks >= quotes.put_bids)
    return np.asarray(call_sound & put_sound & np.isfinite(quotes.call_asks) & np.isfinite(quotes.put_asks))


def _line(x: FloatArray, y: FloatArray, half: FloatArray) -> tuple[float, float]:
    """Return (level at the weighted mean of x, slope) by least squares, re-weighted after Huber."""
    weights = half**-2.0
    level = slope = 0.0
    for _ in range(_ROUNDS):
        share = weights / weights.sum()
        centre = float(share @ x)
        level = float(share @ y)
        slope = float(share @ ((x - centre) * (y - level)) / (share @ (x - centre) ** 2))
        miss = np.abs(y - level - slope * (x - centre)) / half
        weights = half**-2.0 * np.minimum(1.0, _HUBER / np.maximum(miss, _HUBER))
    return level, slope


def _forward(
    strikes: FloatArray, middle: FloatArray, half: FloatArray, factor: float, parameters: int
) -> tuple[float, float]:
    """Return (forward, its standard error) at a known discount factor."""
    each, width = strikes + middle / factor, half / factor
    weights = width**-2.0
    forward = float(each @ weights / weights.sum())
    for _ in range(_ROUNDS):
        miss = np.abs(each - forward) / width
        weights = width**-2.0 * np.minimum(1.0, _HUBER / np.maximum(miss, _HUBER))
        forward = float(each @ weights / weights.sum())
    free = strikes.size - parameters
    if free < 1:
        return forward, math.nan
    variance = float(weights @ (each - forward) ** 2 / weights.sum()) / free
    return forward, math.sqrt(variance)


def _unknown(years: float, why: str) -> ImpliedForward:
    nothing = math.nan
    return ImpliedForward(
        years=years, forward=nothing, discount=nothing, strikes_used=0, method="unknown", error=nothing,
        lowest=nothing, highest=nothing, gap=nothing, gap_beyond_spread=nothing, why_unknown=why,
    )  # fmt: skip
