"""The smile of each expiry from venue quotes, and the surface between expiries.

A smile is SVI in total variance against log-moneyness on the forward (``svi.py``): raw SVI from five strikes
on, an SSVI slice from two to four, flat from one. It is tested for butterfly arbitrage (Durrleman), wings
(Lee) and, between expiries, calendar arbitrage; what was tested and what failed is part of the result.

Quotes that cannot be right are left out by name. Where none is left the smile is unknown: its vol is NaN at
every strike, and ``why_unknown`` says why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant.forwards import ForwardCurve
from bot.quant.surface import HIGHEST_IV, LOWEST_IV
from bot.quant.svi import LEE_SLOPE, Svi, durrleman, total_variance
from bot.quant.svi_fit import Targets, fit_ssvi, fit_svi, fit_svi_without_arbitrage

LEAST_ERROR_IV = 0.001  # a quote is not trusted to less than a tenth of a vol point, however narrow
FULL_SVI_STRIKES = 5  # raw SVI has five parameters
_GRID_POINTS = 401
_GRID_SIGMAS = 6.0  # the grid reaches this many standard deviations beyond the quoted strikes
_TINY = 1e-10  # a g or a variance this far under 0 is rounding


class SmileModel(StrEnum):
    SVI = "svi"
    SVI_HELD = "svi held free of butterfly arbitrage"
    SSVI = "ssvi slice"
    FLAT = "flat"
    UNKNOWN = "unknown"


class Arbitrage(StrEnum):
    BUTTERFLY = "butterfly"  # Durrleman's g < 0; amount: g
    WING = "wing"  # |dw/dk| above Lee's bound; amount: the slope
    CALENDAR = "calendar"  # total variance falls with time; amount: the fall, < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """The worst point of one arbitrage. ``years`` is the (nearer) expiry's."""

    kind: Arbitrage
    years: float
    log_moneyness: float
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A quote that was not used."""

    strike: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmileQuotes:
    """Quoted vols of one expiry at rising strikes, fractions a year; NaN is no quote.

    A venue that shows one vol gives it as bid and ask. ``liquidity`` is what can be bought, in contracts.
    Raises InvariantError for rows of unequal length and strikes that do not rise (``merged`` sorts and
    merges).
    """

    years: float
    forward: float
    strikes: FloatArray
    bid_ivs: FloatArray
    ask_ivs: FloatArray
    liquidity: FloatArray

    def __post_init__(self) -> None:
        rows = (self.strikes, self.bid_ivs, self.ask_ivs, self.liquidity)
        if any(row.ndim != 1 or row.size != self.strikes.size for row in rows):
            raise InvariantError(
                f"smile of {self.years:.4f} years: rows must be equally long, were {[r.shape for r in rows]}"
            )
        bad = np.flatnonzero(~((self.strikes > 0.0) & np.isfinite(self.strikes)))
        if bad.size:
            raise InvariantError(
                f"smile of {self.years:.4f} years: strikes must be finite and > 0, was {self.strikes[bad[0]]}"
            )
        falls = np.flatnonzero(np.diff(self.strikes) <= 0.0)
        if falls.size:
            first = falls[0]
            raise InvariantError(
                f"smile of {self.years:.4f} years: strikes must rise without duplicates, found "
                f"{self.strikes[first]:g} before {self.strikes[first + 1]:g}; merge the quotes first"
            )


def merged(
    *,
    years: float,
    forward: float,
    strikes: ArrayLike,
    bid_ivs: ArrayLike,
    ask_ivs: ArrayLike,
    liquidity: ArrayLike = 1.0,
) -> SmileQuotes:
    """Return quotes in any order, of several venues or of puts and calls, as one row per strike.

    Of several quotes at a strike the tightest sound one stands (then the more liquid, then the first).
    """
    rows = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (strikes, bid_ivs, ask_ivs, liquidity)))
    level, bid, ask, size = (np.atleast_1d(row) for row in rows)
    spread = ask - bid
    rank = np.where((spread >= 0.0) & (size > 0.0), spread, np.inf)
    order = np.lexsort((-np.nan_to_num(size), rank, level))
    first = np.unique(level[order], return_index=True)[1]
    chosen = order[first]
    return SmileQuotes(
        years=years, forward=forward, strikes=level[chosen], bid_ivs=bid[chosen], ask_ivs=ask[chosen],
        liquidity=size[chosen],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Smile:
    """One fitted expiry. ``svi`` is None when the smile is unknown."""

    years: float
    forward: float
    model: SmileModel
    svi: Svi | None
    used: int  # quotes
    lowest_strike: float  # of the quotes used; beyond, the vol is extrapolated
    highest_strike: float
    rms_error_iv: float  # vol, fraction a year, against the quoted middle
    max_error_iv: float
    inside_share: float  # of the quotes used whose fitted vol lies between bid and ask
    left_out: tuple[LeftOut, ...] = ()
    checked: tuple[Arbitrage, ...] = ()
    violations: tuple[Violation, ...] = ()
    why_unknown: str = ""

    @property
    def sound(self) -> bool:
        """Whether it is known and every test for arbitrage passed."""
        return self.svi is not None and not self.violations

    @property
    def atm_iv(self) -> float:
        return float(self.iv(self.forward))

    def total_variance(self, k: ArrayLike) -> FloatArray:
        """Return vol squared x years at log-moneyness ``k``, NaN where unknown."""
        at = np.asarray(k, dtype=np.float64)
        return np.full(at.shape, np.nan) if self.svi is None else total_variance(self.svi, at)

    def iv(self, strikes: ArrayLike) -> FloatArray:
        """Return the vol at any strike, fraction a year; NaN for a strike that is not > 0."""
        return np.asarray(np.sqrt(self.total_variance(log_moneyness(strikes, self.forward)) / self.years))

    def is_quoted(self, strikes: ArrayLike) -> FloatArray:
        """Return whether a strike lies within the quotes used, so that its vol is interpolated."""
        at = np.asarray(strikes, dtype=np.float64)
        return np.asarray((at >= self.lowest_strike) & (at <= self.highest_strike))


def log_moneyness(strikes: ArrayLike, forward: ArrayLike) -> FloatArray:
    """Return ln(strike / forward), NaN unless both are > 0 and finite."""
    level, ahead = np.asarray(strikes, dtype=np.float64), np.asarray(forward, dtype=np.float64)
    good = (level > 0.0) & (ahead > 0.0) & np.isfinite(level) & np.isfinite(ahead)
    return np.asarray(np.where(good, np.log(np.where(good, level, 1.0) / np.where(good, ahead, 1.0)), np.nan))


def fit_smile(quotes: SmileQuotes) -> Smile:
    """Return the smile that fits best within the bounds of no arbitrage.

    A quote's weight is 1 over its half-spread (never under ``LEAST_ERROR_IV``), times the root of its
    liquidity over itself plus the median.
    """
    if not (0.0 < quotes.years < math.inf and 0.0 < quotes.forward < math.inf):
        return unknown_smile(
            quotes.years, quotes.forward, f"years {quotes.years:g} and forward {quotes.forward:g} must be > 0"
        )
    why = _faults(quotes)
    good = np.array([not item for item in why], dtype=np.bool_)
    left_out = tuple(
        LeftOut(strike=float(strike), why=item)
        for strike, item in zip(quotes.strikes, why, strict=True)
        if item
    )
    if not good.any():
        reason = left_out[0].why if left_out else "no quotes"
        return replace(
            unknown_smile(quotes.years, quotes.forward, f"no usable quote: {reason}"), left_out=left_out
        )
    used = SmileQuotes(
        years=quotes.years, forward=quotes.forward, strikes=quotes.strikes[good],
        bid_ivs=quotes.bid_ivs[good], ask_ivs=quotes.ask_ivs[good], liquidity=quotes.liquidity[good],
    )  # fmt: skip
    model, svi = _fitted(_targets(used), check_grid(used))
    return replace(_described(used, model, svi), left_out=left_out)


def unknown_smile(years: float, forward: float, why: str) -> Smile:
    """Return a smile whose vol is NaN everywhere."""
    unknown = math.nan
    return Smile(
        years=years, forward=forward, model=SmileModel.UNKNOWN, svi=None, used=0, lowest_strike=unknown,
        highest_strike=unknown, rms_error_iv=unknown, max_error_iv=unknown, inside_share=unknown,
        why_unknown=why,
    )  # fmt: skip


def check_grid(quotes: SmileQuotes) -> FloatArray:
    """Return the log-moneyness at which arbitrage is looked for: the quotes and far into both wings."""
    k = log_moneyness(quotes.strikes, quotes.forward)
    deviation = float(np.median(0.5 * (quotes.bid_ivs + quotes.ask_ivs))) * math.sqrt(quotes.years)
    reach = _GRID_SIGMAS * deviation
    near = np.linspace(min(float(k.min()), 0.0) - reach, max(float(k.max()), 0.0) + reach, _GRID_POINTS)
    far = reach * np.geomspace(1.5, 20.0, 20)
    return np.concatenate([near[0] - far[::-1], near, near[-1] + far])


def arbitrages(svi: Svi, grid: FloatArray, *, years: float) -> tuple[Violation, ...]:
    """Return the worst butterfly of a smile on ``grid`` and a wing above Lee's bound, if there are any."""
    found = []
    g = durrleman(svi, grid)
    worst = int(np.argmin(g))
    if not g[worst] >= -_TINY:
        found.append((Arbitrage.BUTTERFLY, float(grid[worst]), float(g[worst])))
    for slope, side in zip(svi.wings, (-math.inf, math.inf), strict=True):
        if slope > LEE_SLOPE * (1.0 + 1e-9):
            found.append((Arbitrage.WING, side, slope))
    return tuple(Violation(kind=kind, years=years, log_moneyness=k, amount=size) for kind, k, size in found)


def calendar_arbitrages(smiles: Sequence[Smile], grid: FloatArray) -> tuple[Violation, ...]:
    """Return the worst fall of total variance at fixed moneyness between neighbours, given rising in time."""
    found = []
    for near, far in pairwise(smiles):
        rise = far.total_variance(grid) - near.total_variance(grid)
        worst = int(np.argmin(rise))
        if rise[worst] < -_TINY:
            found.append(
                Violation(
                    kind=Arbitrage.CALENDAR, years=near.years, log_moneyness=float(grid[worst]),
                    amount=float(rise[worst]),
                )
            )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmileSurface:
    """Known smiles at rising expiries, with the forwards between them."""

    smiles: tuple[Smile, ...]
    forwards: ForwardCurve
    violations: tuple[Violation, ...]  # of every smile, and between them
    unknown: tuple[Smile, ...] = ()

    @property
    def sound(self) -> bool:
        return bool(self.smiles) and not self.violations

    def iv(self, strikes: ArrayLike, years: ArrayLike) -> FloatArray:
        """Return the vol of strikes and expiries (they broadcast), NaN where years is not > 0.

        Linear in total variance at fixed moneyness between expiries; before the first and after the last the
        vol of that moneyness stays what it is there.
        """
        level, tenor = np.broadcast_arrays(np.asarray(strikes, np.float64), np.asarray(years, np.float64))
        if not self.smiles:
            return np.full(level.shape, np.nan)
        k = log_moneyness(level, self.forwards.at(tenor))
        at = np.array([smile.years for smile in self.smiles])
        table = np.stack([smile.total_variance(k) for smile in self.smiles])
        life = np.where(tenor > 0.0, tenor, np.nan)
        inside = np.clip(life, at[0], at[-1])
        right = np.clip(np.searchsorted(at, inside, side="left"), 1, max(len(at) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(at) - 1)
        gap = np.where(right > left, at[right] - at[left], 1.0)
        share = (inside - at[left]) / gap
        low, high = (np.take_along_axis(table, item[np.newaxis], axis=0)[0] for item in (left, right))
        return np.asarray(np.sqrt((low + share * (high - low)) / inside))


def build_surface(smiles: Sequence[Smile], *, spot: float = math.nan) -> SmileSurface:
    """Return the surface of smiles in any order. Raises InvariantError for two known smiles of one expiry.

    ``spot`` starts the curve of forwards; unknown, forwards before the first expiry are that expiry's.
    """
    known = tuple(sorted((item for item in smiles if item.svi is not None), key=lambda item: item.years))
    for near, far in pairwise(known):
        if near.years == far.years:
            raise InvariantError(f"surface: two smiles at {near.years:.6f} years; merge their quotes first")
    curve = ForwardCurve(
        years=np.array([item.years for item in known]), forwards=np.array([item.forward for item in known]),
        spot=spot,
    )  # fmt: skip
    within = [violation for item in known for violation in item.violations]
    between = calendar_arbitrages(known, _common_grid(known)) if len(known) > 1 else ()
    return SmileSurface(
        smiles=known, forwards=curve, violations=(*within, *between),
        unknown=tuple(item for item in smiles if item.svi is None),
    )  # fmt: skip


def _common_grid(smiles: Sequence[Smile]) -> FloatArray:
    """Return moneyness over all quoted strikes: beyond them crossing wings are extrapolation."""
    edges = [
        log_moneyness([item.lowest_strike, item.highest_strike, item.forward], item.forward)
        for item in smiles
    ]
    joined = np.concatenate(edges)
    return np.linspace(joined.min(), joined.max(), _GRID_POINTS)


def _faults(quotes: SmileQuotes) -> list[str]:
    """Return why each quote cannot be used, "" where it can."""
    found = []
    for bid, ask, size in zip(quotes.bid_ivs, quotes.ask_ivs, quotes.liquidity, strict=True):
        if not (math.isfinite(bid) and math.isfinite(ask)):
            found.append("no two-sided vol")
        elif bid > ask:
            found.append(f"crossed: bid vol {bid:.4g} over ask vol {ask:.4g}")
        elif not (bid >= LOWEST_IV and ask <= HIGHEST_IV):
            found.append(f"vol {bid:.4g} to {ask:.4g} outside {LOWEST_IV:g} to {HIGHEST_IV:g} a year")
        else:
            found.append("" if size > 0.0 else f"liquidity {size:g}")
    return found


def _targets(quotes: SmileQuotes) -> Targets:
    vol = 0.5 * (quotes.bid_ivs + quotes.ask_ivs)
    half_spread = np.maximum(0.5 * (quotes.ask_ivs - quotes.bid_ivs), LEAST_ERROR_IV)
    depth = np.minimum(quotes.liquidity, 1e300)
    trust = np.sqrt(depth / (depth + np.median(depth)))
    return Targets(
        k=log_moneyness(quotes.strikes, quotes.forward),
        w=vol**2 * quotes.years,
        weights=trust / (2.0 * vol * quotes.years * half_spread),
    )


def _fitted(targets: Targets, grid: FloatArray) -> tuple[SmileModel, Svi]:
    """Return the richest model that the number of quotes carries and that is free of butterfly arbitrage."""
    if targets.k.size == 1:
        return SmileModel.FLAT, Svi(a=float(targets.w[0]))
    if targets.k.size < FULL_SVI_STRIKES:
        return SmileModel.SSVI, fit_ssvi(targets)
    free = fit_svi(targets)
    if free is not None and not arbitrages(free, grid, years=1.0):
        return SmileModel.SVI, free
    slice_ = fit_ssvi(targets)
    held = fit_svi_without_arbitrage(targets, [item for item in (free, slice_) if item is not None], grid)
    return (SmileModel.SVI_HELD, held) if held is not None else (SmileModel.SSVI, slice_)


def _described(quotes: SmileQuotes, model: SmileModel, svi: Svi) -> Smile:
    k = log_moneyness(quotes.strikes, quotes.forward)
    fitted = np.sqrt(total_variance(svi, k) / quotes.years)
    miss = np.abs(fitted - 0.5 * (quotes.bid_ivs + quotes.ask_ivs))
    inside = (fitted >= quotes.bid_ivs - LEAST_ERROR_IV) & (fitted <= quotes.ask_ivs + LEAST_ERROR_IV)
    return Smile(
        years=quotes.years, forward=quotes.forward, model=model, svi=svi, used=int(k.size),
        lowest_strike=float(quotes.strikes[0]), highest_strike=float(quotes.strikes[-1]),
        rms_error_iv=float(np.sqrt(np.mean(miss**2))), max_error_iv=float(miss.max()),
        inside_share=float(np.mean(inside)), checked=(Arbitrage.BUTTERFLY, Arbitrage.WING),
        violations=arbitrages(svi, check_grid(quotes), years=quotes.years),
    )  # fmt: skip
