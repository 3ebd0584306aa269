"""Stochastic-volatility-inspired (SVI) total variance of one expiry, and its tests for arbitrage.

Raw parametrisation (Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces", 2014, eq. 3.1) of total
variance (vol squared x years) at log-moneyness ``k = ln(strike / forward)``:

    w(k) = a + b (rho (k - m) + sqrt((k - m)^2 + sigma^2))

A flat smile is b = 0; a slice of their surface SSVI (eq. 4.1) is the case of three parameters that
``from_ssvi`` writes in raw ones.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bot.errors import InvariantError
from bot.model.market import FloatArray

LEE_SLOPE = 2.0  # most that |dw/dk| may reach in a wing (Lee, "The moment formula", 2004)


@dataclass(frozen=True, slots=True, kw_only=True)
class Svi:
    """Raw parameters. Total variance is >= 0 everywhere: a + b sigma sqrt(1 - rho^2) >= 0."""

    a: float
    b: float = 0.0
    rho: float = 0.0
    m: float = 0.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        fields = (self.a, self.b, self.rho, self.m, self.sigma)
        sound = all(map(math.isfinite, fields)) and self.b >= 0.0 and abs(self.rho) <= 1.0
        if not sound or self.sigma <= 0.0 or self.lowest < -1e-12 * max(1.0, abs(self.a)):
            raise InvariantError(
                f"SVI needs finite a, b >= 0, |rho| <= 1, sigma > 0 and a variance >= 0, was {self}"
            )

    @property
    def lowest(self) -> float:
        """The least total variance at any strike."""
        return self.a + self.b * self.sigma * math.sqrt(1.0 - self.rho**2)

    @property
    def wings(self) -> tuple[float, float]:
        """How steeply total variance rises per unit of |k| far to the left and to the right, both >= 0."""
        return self.b * (1.0 - self.rho), self.b * (1.0 + self.rho)


def total_variance(svi: Svi, k: ArrayLike) -> FloatArray:
    """Return w(k) >= 0; NaN for an unknown or infinite k."""
    x = np.asarray(k, dtype=np.float64) - svi.m
    x = np.where(np.isfinite(x), x, np.nan)
    return np.asarray(np.maximum(svi.a + svi.b * (svi.rho * x + np.hypot(x, svi.sigma)), 0.0))


def slopes(svi: Svi, k: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return dw/dk and d2w/dk2 >= 0."""
    x = np.asarray(k, dtype=np.float64) - svi.m
    root = np.hypot(x, svi.sigma)
    return np.asarray(svi.b * (svi.rho + x / root)), np.asarray(svi.b * svi.sigma**2 / root**3)


def durrleman(svi: Svi, k: ArrayLike) -> FloatArray:
    """Return Durrleman's g(k): the density of the price has its sign, so g < 0 is a butterfly arbitrage.

    Gatheral and Jacquier (2014), eq. 2.1. NaN where the total variance is 0.
    """
    at = np.asarray(k, dtype=np.float64)
    w = total_variance(svi, at)
    first, second = slopes(svi, at)
    safe = np.where(w > 0.0, w, np.nan)
    return np.asarray(
        (1.0 - 0.5 * at * first / safe) ** 2 - 0.25 * first**2 * (1.0 / safe + 0.25) + 0.5 * second
    )


def from_ssvi(theta: float, rho: float, phi: float) -> Svi:
    """Return the raw parameters of an SSVI slice: at-the-money total variance, correlation, curvature.

    Free of butterfly arbitrage when theta phi (1 + |rho|) < 4 and theta phi^2 (1 + |rho|) <= 4 (Gatheral and
    Jacquier 2014, theorem 4.2). phi = 0 is the flat smile.
    """
    if phi == 0.0:
        return Svi(a=theta)
    half = 0.5 * theta
    rest = math.sqrt(1.0 - rho**2)
    return Svi(a=half * rest**2, b=half * phi, rho=rho, m=-rho / phi, sigma=rest / phi)
