"""Calibration of SVI to the total variances of one expiry: three methods from many quotes to few.

Everything runs in units of the mean total variance, so that a week and a year are the same problem. The
search is deterministic: fixed starts, no random numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from scipy.optimize import least_squares

from bot.model.market import FloatArray
from bot.quant.svi import LEE_SLOPE, Svi, durrleman, from_ssvi

_HUBER = 3.0  # residuals beyond this many quoted half-spreads count linearly: one stale quote bends nothing
_STARTS = 2
_CLOSE, _EXACT = 1e-10, 1e-15  # relative step and gain at which a bounded and the last search stop
_STEPS, _HELD_STEPS, _POLISH_STEPS = 100, 25, 400
_ALMOST = 0.01  # half-spreads: from a worse fit the last search gains nothing that a quote can tell
_REWEIGHTINGS = 4  # rounds of Huber's weights, each from the last one's end
_SOLVED = 1e-20  # no second start is tried below this
_RHO_MOST = 0.999
_SHARE_MOST = 1.0 - 1e-9  # theorem 4.2 of Gatheral and Jacquier has one strict inequality
_RIDGE = 1e-3  # of two quotes: what they leave open is settled by the least curvature
_PENALTIES = (1e2, 1e4, 1e6)  # per unit of violated g or variance, in half-spreads
_THINNED = 3  # every third point of the grid steers the search, all of them judge its end
_MARGIN = 1e-3  # g is held this far above 0 on the grid, so that it is above 0 between its points too

Residuals = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """Total variances of one expiry at rising log-moneyness; weights are 1 / (allowed error of w)."""

    k: FloatArray
    w: FloatArray
    weights: FloatArray

    @property
    def unit(self) -> float:
        """The mean total variance, in whose units the search runs."""
        return float(self.w.mean())


def fit_svi(targets: Targets) -> Svi | None:
    """Return the best raw SVI with wings that Lee allows, None where its variance would go below 0.

    Quasi-explicit (Zeliade 2009): given m and sigma the rest is linear, so a grid over the two finds the
    starts; a bounded search over all five then ends at machine precision. Needs five strikes.
    """
    best = (math.inf, np.empty(0))
    for start in _svi_starts(targets):
        best = min(best, _search(start, targets), key=lambda pair: pair[0])
        if best[0] < _SOLVED:
            break
    return _raw(best[1], targets.unit) if math.isfinite(best[0]) else None


def fit_svi_without_arbitrage(targets: Targets, starts: list[Svi], grid: FloatArray) -> Svi | None:
    """Return the raw SVI that fits best with Durrleman's g >= 0 on ``grid``, None where none was found.

    Each violation is a residual of its own, weighted more in every round.
    """
    found: list[tuple[float, Svi]] = []
    for start in starts:
        point = _searched(start, targets.unit)
        for penalty in _PENALTIES:
            problem = _penalised(targets, grid[::_THINNED], penalty)
            point = _solve(problem, point, _svi_bounds(targets), steps=_HELD_STEPS)
        svi = _raw(point, targets.unit)
        if svi is not None and durrleman(svi, grid).min() >= 0.0:
            found.append((_cost(_svi_residuals(targets)(point)), svi))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def fit_ssvi(targets: Targets) -> Svi:
    """Return the best SSVI slice: three parameters, never an arbitrage. Needs two strikes."""
    residuals = _ssvi_residuals(targets)
    level = math.log(max(float(np.median(targets.w)) / targets.unit, 1e-6))
    low = np.array([level - 6.0, -_RHO_MOST, 0.0])
    high = np.array([level + 6.0, _RHO_MOST, 1.0])
    points = [
        _solve(residuals, np.array([level, rho, share]), (low, high))
        for rho in (-0.5, 0.5)
        for share in (0.05, 0.5)
    ]
    best = min(points, key=lambda point: _cost(residuals(point)))
    return from_ssvi(*_ssvi(best, targets.unit))


def _svi_starts(targets: Targets) -> list[FloatArray]:
    """Return the best nodes of a grid over (m, sigma) with the linear parameters solved at each."""
    unit = targets.unit
    x, w, root = targets.k / math.sqrt(unit), targets.w / unit, math.sqrt(unit)
    reach = max(float(np.ptp(x)), 1e-3)
    centres = np.linspace(x.min() - 0.5 * reach, x.max() + 0.5 * reach, 13)
    widths = reach * np.geomspace(0.03, 2.0, 8)
    m, sigma = (item.ravel()[:, np.newaxis] for item in np.meshgrid(centres, widths, indexing="ij"))
    basis = _basis(x, m, sigma) * targets.weights[:, np.newaxis]
    linear = np.linalg.pinv(basis) @ (w * targets.weights)
    linear[:, 1:] = np.clip(linear[:, 1:], 1e-4, LEE_SLOPE / root)
    miss = w * targets.weights - np.einsum("gnp,gp->gn", basis, linear)
    squared = (targets.weights**2).sum()
    linear[:, 0] += (miss * targets.weights).sum(axis=1) / squared  # the level again, for the held slopes
    miss = w * targets.weights - np.einsum("gnp,gp->gn", basis, linear)
    order = np.argsort((miss**2).sum(axis=1), kind="stable")[:_STARTS]
    return [np.array([*linear[i], m[i, 0], math.log(sigma[i, 0])]) for i in order]


def _basis(x: FloatArray, m: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return [..., quote, 3]: 1, and what a right and a left wing of slope 1 add."""
    from_m = x - m
    root = np.hypot(from_m, sigma)
    return np.stack([np.ones_like(root), 0.5 * (root + from_m), 0.5 * (root - from_m)], axis=-1)


def _svi_bounds(targets: Targets) -> tuple[FloatArray, FloatArray]:
    """Return bounds of (a, right slope, left slope, m, ln sigma) in units of the mean variance."""
    root = math.sqrt(targets.unit)
    x = targets.k / root
    reach, steepest = max(float(np.ptp(x)), 1e-3), LEE_SLOPE / root
    low = [-np.inf, 0.0, 0.0, x.min() - 2.0 * reach, math.log(1e-3 * reach)]
    high = [np.inf, steepest, steepest, x.max() + 2.0 * reach, math.log(20.0 * reach)]
    return np.array(low), np.array(high)


def _svi_residuals(targets: Targets) -> Residuals:
    x, w = targets.k / math.sqrt(targets.unit), targets.w / targets.unit
    scale = targets.weights * targets.unit

    def residuals(point: FloatArray) -> FloatArray:
        basis = _basis(x, point[3], np.exp(point[4]))
        return np.asarray(scale * (basis @ point[:3] - w))

    return residuals


def _svi_slopes(targets: Targets) -> Residuals:
    x, scale = targets.k / math.sqrt(targets.unit), targets.weights * targets.unit

    def slopes(point: FloatArray) -> FloatArray:
        _, right, left, m, log_sigma = point
        sigma = np.exp(log_sigma)
        from_m = x - m
        root = np.hypot(from_m, sigma)
        bend = 0.5 * (right + left)
        by_m = -bend * from_m / root - 0.5 * (right - left)
        columns = [
            np.ones_like(x),
            0.5 * (root + from_m),
            0.5 * (root - from_m),
            by_m,
            bend * sigma**2 / root,
        ]
        return np.asarray(scale[:, np.newaxis] * np.stack(columns, axis=1))

    return slopes


def _search(start: FloatArray, targets: Targets) -> tuple[float, FloatArray]:
    """Return (cost, point): the two outer parameters are searched, the three others solved at each step."""
    residuals, place = _svi_residuals(targets), start[3:]
    low, high = (edge[3:] for edge in _svi_bounds(targets))
    trust = np.ones_like(targets.w)
    for _ in range(_REWEIGHTINGS):
        place = _solve(_Projection(targets, trust), place, (low, high), loss="linear")
        point = np.array([*_Projection(targets, trust).linear(place), *place])
        missed = np.abs(residuals(point))
        if missed.max() <= _HUBER:
            break
        trust = np.sqrt(np.minimum(1.0, _HUBER / np.maximum(missed, _HUBER)))
    point = _polished(residuals, _svi_slopes(targets), point, targets)
    return _cost(residuals(point)), point


class _Projection:
    """Residuals as a function of (m, ln sigma) alone: level and wing slopes are the best within bounds."""

    def __init__(self, targets: Targets, trust: FloatArray) -> None:
        root = math.sqrt(targets.unit)
        self.x, self.steepest = targets.k / root, LEE_SLOPE / root
        self.scale = targets.weights * targets.unit * trust
        self.goal = self.scale * targets.w / targets.unit

    def __call__(self, place: FloatArray) -> FloatArray:
        return np.asarray(self._basis(place) @ self.linear(place) - self.goal)

    def linear(self, place: FloatArray) -> FloatArray:
        """Return (level, right slope, left slope)."""
        basis = self._basis(place)
        free = np.linalg.lstsq(basis, self.goal)[0]
        if free[1:].min() >= 0.0 and free[1:].max() <= self.steepest:
            return np.asarray(free)
        return min(self._held(basis), key=lambda item: float(((basis @ item - self.goal) ** 2).sum()))

    def _basis(self, place: FloatArray) -> FloatArray:
        return np.asarray(_basis(self.x, place[0], np.exp(place[1])) * self.scale[:, np.newaxis])

    def _held(self, basis: FloatArray) -> list[FloatArray]:
        """Return the solutions with one or both slopes on a bound and the rest within theirs."""
        found = []
        for right, left in product((None, 0.0, self.steepest), repeat=2):
            fixed = np.array([math.nan, *(math.nan if item is None else item for item in (right, left))])
            free = np.isnan(fixed)
            if free.all():
                continue
            rest = self.goal - basis[:, ~free] @ fixed[~free]
            fixed[free] = np.linalg.lstsq(basis[:, free], rest)[0]
            if fixed[1:].min() >= 0.0 and fixed[1:].max() <= self.steepest:
                found.append(fixed)
        return found


def _penalised(targets: Targets, grid: FloatArray, penalty: float) -> Residuals:
    plain, unit = _svi_residuals(targets), targets.unit

    def residuals(point: FloatArray) -> FloatArray:
        a, b, rho, m, sigma = _raw_numbers(point, unit)
        lowest = a + b * sigma * math.sqrt(max(1.0 - rho**2, 0.0))
        lift = max(1e-6 * unit - lowest, 0.0)  # g is judged on the curve lifted to a positive variance
        g = durrleman(Svi(a=a + lift, b=b, rho=rho, m=m, sigma=sigma), grid)
        broken = np.append(np.minimum(g - _MARGIN, 0.0), lift / unit)
        return np.concatenate([plain(point), penalty * broken])

    return residuals


def _ssvi_residuals(targets: Targets) -> Residuals:
    scale, few = targets.weights * targets.unit, targets.k.size < 3

    def residuals(point: FloatArray) -> FloatArray:
        theta, rho, phi = _ssvi(point, targets.unit)
        bent = phi * targets.k + rho
        w = 0.5 * theta * (1.0 + rho * phi * targets.k + np.hypot(bent, math.sqrt(1.0 - rho**2)))
        miss = scale * (w - targets.w) / targets.unit
        return np.append(miss, _RIDGE * point[2]) if few else np.asarray(miss)

    return residuals


def _ssvi(point: FloatArray, unit: float) -> tuple[float, float, float]:
    """Return (theta, rho, phi) with phi as a share of the most that is free of arbitrage."""
    theta, rho = unit * math.exp(point[0]), float(point[1])
    bound = 4.0 / (theta * (1.0 + abs(rho)))
    return theta, rho, float(point[2]) * _SHARE_MOST * min(bound, math.sqrt(bound))


def _solve(
    residuals: Residuals,
    start: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
    *,
    loss: Literal["huber", "linear"] = "huber",
    steps: int = _STEPS,
) -> FloatArray:
    low, high = bounds
    found = least_squares(
        residuals, np.clip(start, low, high), bounds=(low, high), loss=loss, f_scale=_HUBER, x_scale="jac",
        ftol=_CLOSE, xtol=_CLOSE, gtol=_EXACT, max_nfev=steps,
    )  # fmt: skip
    return np.asarray(found.x)


def _polished(residuals: Residuals, slopes: Residuals, point: FloatArray, targets: Targets) -> FloatArray:
    """Return the point that Levenberg and Marquardt's own search reaches from here, if that is allowed.

    The bounded search stops early in the narrow valley of an almost straight smile; this one does not.
    """
    missed = residuals(point)
    if missed.size < point.size or np.abs(missed).max() > _ALMOST:
        return point
    found = least_squares(
        residuals, point, jac=slopes, method="lm", x_scale="jac", ftol=_EXACT, xtol=_EXACT, gtol=_EXACT,
        max_nfev=_POLISH_STEPS,
    )  # fmt: skip
    low, high = _svi_bounds(targets)
    allowed = (found.x >= low).all() and (found.x <= high).all()
    return np.asarray(found.x) if allowed and _cost(residuals(found.x)) <= _cost(missed) else point


def _cost(residuals: FloatArray) -> float:
    """Return Huber's loss, NaN counted as the worst."""
    size = np.abs(residuals)
    loss = np.where(size <= _HUBER, size**2, 2.0 * _HUBER * size - _HUBER**2).sum()
    return float(loss) if math.isfinite(loss) else math.inf


def _raw_numbers(point: FloatArray, unit: float) -> tuple[float, float, float, float, float]:
    """Return (a, b, rho, m, sigma) of a point of the search."""
    root = math.sqrt(unit)
    a, right, left, m, log_sigma = (float(item) for item in point)
    both = right + left
    rho = (right - left) / both if both > 0.0 else 0.0
    return a * unit, 0.5 * both * root, rho, m * root, math.exp(log_sigma) * root


def _raw(point: FloatArray, unit: float) -> Svi | None:
    a, b, rho, m, sigma = _raw_numbers(point, unit)
    if a + b * sigma * math.sqrt(max(1.0 - rho**2, 0.0)) < 0.0:
        return None
    return Svi(a=a, b=b, rho=rho, m=m, sigma=sigma)


def _searched(svi: Svi, unit: float) -> FloatArray:
    """Return a point of the search from raw parameters."""
    root = math.sqrt(unit)
    left, right = svi.wings
    return np.array([svi.a / unit, right / root, left / root, svi.m / root, math.log(svi.sigma / root)])
