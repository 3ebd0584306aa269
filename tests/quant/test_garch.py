"""GARCH(1,1): the likelihood by hand, scipy's optimum of it, and arch's own forecast."""

import math
import subprocess
import sys

import numpy as np
import pytest
from arch.univariate import GARCH, ZeroMean
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bot.errors import InvariantError
from bot.quant.garch import Garch, GarchFailure, GarchUnknown, fit_garch

OMEGA, ALPHA, BETA = 1e-5, 0.08, 0.90


def simulated(count, seed, *, omega=OMEGA, alpha=ALPHA, beta=BETA):
    rng = np.random.default_rng(seed)
    variance, out = omega / (1.0 - alpha - beta), []
    for shock in rng.normal(0.0, 1.0, count):
        out.append(math.sqrt(variance) * shock)
        variance = omega + alpha * out[-1] ** 2 + beta * variance
    return np.array(out)


RETURNS = simulated(1200, 2)
FIT = fit_garch(RETURNS)


def variances(returns, omega, alpha, beta):
    """Bollerslev's recursion, begun at the back-cast of RiskMetrics on the first 75 returns."""
    weights = 0.94 ** np.arange(75)
    squares = returns**2
    first = float(weights @ squares[:75] / weights.sum())
    out = [omega + (alpha + beta) * first]
    for square in squares:
        out.append(omega + alpha * square + beta * out[-1])
    return np.array(out)


def log_likelihood(returns, omega, alpha, beta):
    variance = variances(returns, omega, alpha, beta)[:-1]
    return -0.5 * float(np.sum(np.log(2.0 * np.pi * variance) + returns**2 / variance))


def test_likelihood_and_next_variance_are_those_of_the_hand_recursion():
    assert isinstance(FIT, Garch)
    numbers = (FIT.omega, FIT.alpha, FIT.beta)
    assert FIT.log_likelihood == pytest.approx(log_likelihood(RETURNS, *numbers), rel=1e-10)
    assert FIT.next_variance == pytest.approx(variances(RETURNS, *numbers)[-1], rel=1e-10)
    assert FIT.returns_known == 1200


def test_no_other_parameters_are_likelier():
    """Nelder-Mead on the hand likelihood, begun elsewhere, climbs to the same place."""

    def height(x):
        omega, alpha, beta = x[0] * 1e-5, x[1], x[2]
        if min(omega, alpha, beta) <= 0.0 or alpha + beta >= 1.0:
            return math.inf
        return -log_likelihood(RETURNS, omega, alpha, beta)

    best = minimize(height, [3.0, 0.15, 0.75], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-7})
    assert pytest.approx(-best.fun, abs=1e-4) == FIT.log_likelihood
    np.testing.assert_allclose([FIT.omega * 1e5, FIT.alpha, FIT.beta], best.x, rtol=0.01)


def test_true_parameters_are_recovered():
    """12,000 returns: standard errors are near 0.007 for alpha and beta."""
    found = fit_garch(simulated(12_000, 3))
    assert found.alpha == pytest.approx(ALPHA, abs=0.03)
    assert found.beta == pytest.approx(BETA, abs=0.03)
    assert found.long_run_variance == pytest.approx(OMEGA / (1 - ALPHA - BETA), rel=0.2)


def test_forecast_is_that_of_arch():
    scaled = RETURNS * 100.0
    result = ZeroMean(scaled, volatility=GARCH(p=1, q=1), rescale=False).fit(disp="off")
    oracle = result.forecast(horizon=10, reindex=False).variance.to_numpy()[0] * 1e-4
    np.testing.assert_allclose(FIT.variances(10), oracle, rtol=1e-4)
    assert FIT.vol(10, periods_per_year=365.0) == pytest.approx(math.sqrt(oracle.mean() * 365.0), rel=1e-4)


def test_forecast_goes_from_the_next_variance_to_the_level():
    found = FIT.variances(2000)
    assert found[0] == pytest.approx(FIT.next_variance)
    np.testing.assert_allclose(found[1:], FIT.omega + FIT.persistence * found[:-1], rtol=1e-12)
    assert found[-1] == pytest.approx(FIT.long_run_variance, rel=1e-9)


@given(
    alpha=st.floats(0.0, 0.4),
    beta=st.floats(0.0, 0.59),
    start=st.floats(1e-8, 1e-2),
    horizon=st.integers(1, 60),
)
def test_forecast_never_leaves_the_way_to_the_level(alpha, beta, start, horizon):
    model = Garch(
        omega=1e-5, alpha=alpha, beta=beta, next_variance=start, log_likelihood=0.0, returns_known=300
    )
    found, level = model.variances(horizon), model.long_run_variance
    low, high = min(start, level), max(start, level)
    assert ((found >= low * (1 - 1e-9)) & (found <= high * (1 + 1e-9))).all()
    assert model.vol(horizon, periods_per_year=1.0) ** 2 == pytest.approx(found.mean())


def test_the_same_returns_give_the_same_fit():
    assert fit_garch(RETURNS.copy()) == FIT


@settings(max_examples=10)
@given(scale=st.floats(1e-4, 1e4))
def test_unit_of_returns_does_not_matter(scale):
    found = fit_garch(RETURNS * scale)
    assert (found.alpha, found.beta) == (
        pytest.approx(FIT.alpha, abs=1e-5),
        pytest.approx(FIT.beta, abs=1e-5),
    )
    assert found.next_variance == pytest.approx(FIT.next_variance * scale**2, rel=1e-4)
    moved = FIT.log_likelihood - RETURNS.size * math.log(scale)
    assert found.log_likelihood == pytest.approx(moved, abs=1e-4)


def test_missing_returns_are_skipped():
    torn = np.insert(RETURNS, [0, 50, 50, 900], np.nan)
    assert fit_garch(torn) == FIT


ONE_JUMP = np.where(np.arange(300) == 200, 1.0, 0.0)


@pytest.mark.parametrize(
    ("returns", "failure", "because"),
    [
        (RETURNS[:249], GarchFailure.TOO_FEW, "249 returns are known, GARCH needs 250"),
        (np.empty(0), GarchFailure.TOO_FEW, "0 returns are known"),
        (np.full(900, math.nan), GarchFailure.TOO_FEW, "0 returns are known"),
        (np.zeros(300), GarchFailure.NOT_MOVING, "all 300 returns are 0"),
        (ONE_JUMP, GarchFailure.NOT_STATIONARY, "no long-run variance"),
    ],
)
def test_no_fit_is_a_named_unknown(returns, failure, because):
    found = fit_garch(returns)
    assert isinstance(found, GarchUnknown)
    assert found.failure is failure
    assert because in found.because


def test_250_returns_are_enough():
    assert isinstance(fit_garch(RETURNS[:250]), Garch)


def test_a_fit_that_does_not_converge_is_a_named_unknown(monkeypatch):
    """The optimiser is stopped after one step."""
    whole = ZeroMean.fit
    monkeypatch.setattr(ZeroMean, "fit", lambda self, **how: whole(self, **how, options={"maxiter": 1}))
    found = fit_garch(RETURNS)
    assert isinstance(found, GarchUnknown)
    assert found.failure is GarchFailure.NOT_CONVERGED
    assert "stopped with code 9" in found.because


@pytest.mark.parametrize("horizon", [0, -1])
def test_senseless_horizon_is_refused(horizon):
    with pytest.raises(InvariantError, match="horizon"):
        FIT.variances(horizon)


def test_arch_is_not_loaded_before_the_first_fit():
    """It pulls pandas and statsmodels in; nothing that decides may wait for that."""
    code = "import sys, bot.quant.garch; assert not {'arch', 'statsmodels', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
