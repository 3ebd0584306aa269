"""GARCH(1,1) of Bollerslev, "Generalized Autoregressive Conditional Heteroskedasticity" (1986).

Fitted by the library ``arch``: zero mean, normal quasi-likelihood (consistent for fat tails too: Bollerslev
and Wooldridge 1992). The library takes about a second to import and a fit some ten milliseconds: it is loaded
on the first fit only, and nothing that runs on every frame may call it.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bot.errors import InvariantError
from bot.model.market import FloatArray

MIN_RETURNS = 250  # as many as R8 asks of a history
_STATIONARY = 1.0 - 1e-6  # persistence from which the variance has no level to come back to


class GarchFailure(StrEnum):
    """Why there is no fit."""

    TOO_FEW = "too few returns"
    NOT_MOVING = "the price does not move"
    NOT_CONVERGED = "the fit did not converge"
    NOT_STATIONARY = "the fitted variance has no level to come back to"


@dataclass(frozen=True, slots=True, kw_only=True)
class GarchUnknown:
    """No fit, and why."""

    failure: GarchFailure
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Garch:
    """variance(t+1) = omega + alpha return(t)^2 + beta variance(t), variances per period."""

    omega: float  # > 0
    alpha: float  # >= 0
    beta: float  # >= 0
    next_variance: float  # of the first period after the last return
    log_likelihood: float
    returns_known: int

    @property
    def persistence(self) -> float:
        """Return alpha + beta, the share of a shock to variance that is left a period later, in [0, 1)."""
        return self.alpha + self.beta

    @property
    def long_run_variance(self) -> float:
        return self.omega / (1.0 - self.persistence)

    def variances(self, horizon: int) -> FloatArray:
        """Return the expected variance of each of the next ``horizon`` periods."""
        if horizon < 1:
            raise InvariantError(f"a GARCH forecast needs a horizon of at least 1 period, was {horizon}")
        level = self.long_run_variance
        return np.asarray(level + self.persistence ** np.arange(horizon) * (self.next_variance - level))

    def vol(self, horizon: int, *, periods_per_year: float) -> float:
        """Return the expected vol over the next ``horizon`` periods, a fraction a year."""
        return math.sqrt(float(self.variances(horizon).mean()) * periods_per_year)


def fit_garch(returns: FloatArray, *, min_returns: int = MIN_RETURNS) -> Garch | GarchUnknown:
    """Fit the known returns, oldest first; the same returns give the same fit, whatever their unit.

    Missing returns are skipped: cut long holes off first (``after_last_long_hole`` on the closes).
    """
    known = np.ascontiguousarray(returns[np.isfinite(returns)])
    if known.size < max(min_returns, 2):
        because = f"{known.size} returns are known, GARCH needs {min_returns}"
        return GarchUnknown(failure=GarchFailure.TOO_FEW, because=because)
    size = math.sqrt(float(np.mean(known**2)))
    if not size > 0.0:
        because = f"all {known.size} returns are 0: no variance to fit"
        return GarchUnknown(failure=GarchFailure.NOT_MOVING, because=because)
    return _fit(known / size, size)


def _fit(scaled: FloatArray, size: float) -> Garch | GarchUnknown:
    """Fit returns of unit variance, so that the optimiser sees numbers of one size, and scale back."""
    from arch.univariate import GARCH, ZeroMean  # here, since it takes about a second

    result = ZeroMean(scaled, volatility=GARCH(p=1, q=1), rescale=False).fit(disp="off", show_warning=False)
    omega, alpha, beta = (float(value) for value in result.params)
    numbers = f"omega {omega:.3g}, alpha {alpha:.3f}, beta {beta:.3f} on {scaled.size} returns"
    if result.convergence_flag != 0 or not all(map(math.isfinite, (omega, alpha, beta))):
        because = f"GARCH stopped with code {result.convergence_flag}: {numbers}"
        return GarchUnknown(failure=GarchFailure.NOT_CONVERGED, because=because)
    if not (omega > 0.0 and alpha + beta < _STATIONARY):
        because = f"GARCH has no long-run variance: {numbers}, alpha + beta must stay under 1"
        return GarchUnknown(failure=GarchFailure.NOT_STATIONARY, because=because)
    variance = float(result.conditional_volatility[-1]) ** 2
    return Garch(
        omega=omega * size**2,
        alpha=alpha,
        beta=beta,
        next_variance=(omega + alpha * float(scaled[-1]) ** 2 + beta * variance) * size**2,
        log_likelihood=float(result.loglikelihood) - scaled.size * math.log(size),
        returns_known=scaled.size,
    )
