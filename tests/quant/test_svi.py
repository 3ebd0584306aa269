"""SVI against QuantLib and the density of prices, its calibration against exact curves."""

import math

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from bot.errors import InvariantError
from bot.quant import options, svi_fit
from bot.quant.svi import Svi, durrleman, from_ssvi, slopes, total_variance

# Example 3.1 of Gatheral and Jacquier (2014), after Axel Vogt: positive variance and a butterfly arbitrage.
VOGT = Svi(a=-0.0410, b=0.1331, rho=0.3060, m=0.3586, sigma=0.4153)
PLAIN = Svi(a=0.01, b=0.05, rho=-0.4, m=0.02, sigma=0.15)
GRID = np.linspace(-1.5, 1.5, 61)


def targets(svi: Svi, k: np.ndarray) -> svi_fit.Targets:
    w = total_variance(svi, k)
    return svi_fit.Targets(k=k, w=w, weights=1.0 / (0.01 * w))


@pytest.mark.parametrize("svi", [VOGT, PLAIN])
def test_total_variance_is_quantlibs(svi):
    section = ql.SviSmileSection(1.0, 100.0, [svi.a, svi.b, svi.sigma, svi.rho, svi.m])
    expected = [section.variance(100.0 * math.exp(k)) for k in GRID]
    np.testing.assert_allclose(total_variance(svi, GRID), expected, rtol=1e-13)


@pytest.mark.parametrize("svi", [VOGT, PLAIN])
def test_slopes_are_those_of_the_curve(svi):
    step = 1e-4
    up, here, down = (total_variance(svi, GRID + shift) for shift in (step, 0.0, -step))
    first, second = slopes(svi, GRID)
    np.testing.assert_allclose(first, (up - down) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(second, (up - 2 * here + down) / step**2, atol=1e-5)


def test_durrlemans_g_is_the_density_of_the_price():
    """Breeden and Litzenberger: d2C/dK2 = g(k) exp(-d2^2 / 2) / (K sqrt(2 pi w))."""
    for k in (-0.4, 0.0, 0.25):
        strike, step = math.exp(k), 1e-4
        at = strike + step * np.array([-1.0, 0.0, 1.0])
        calls = options.black76_price(1.0, at, 1.0, np.sqrt(total_variance(PLAIN, np.log(at))), is_put=False)
        w = float(total_variance(PLAIN, k))
        d2 = -k / math.sqrt(w) - 0.5 * math.sqrt(w)
        density = float(durrleman(PLAIN, k)) * math.exp(-0.5 * d2**2) / (strike * math.sqrt(2 * math.pi * w))
        assert (calls[0] - 2 * calls[1] + calls[2]) / step**2 == pytest.approx(density, rel=1e-4)


def test_the_density_of_a_sound_smile_is_one_in_all():
    def density(k: float) -> float:
        w = float(total_variance(PLAIN, k))
        d2 = -k / math.sqrt(w) - 0.5 * math.sqrt(w)
        return float(durrleman(PLAIN, k)) * math.exp(-0.5 * d2**2) / math.sqrt(2 * math.pi * w)

    assert durrleman(PLAIN, GRID).min() > 0.0
    assert quad(density, -4.0, 4.0, limit=200)[0] == pytest.approx(1.0, abs=1e-6)


def test_vogts_smile_has_its_butterfly():
    assert VOGT.lowest > 0.0
    assert durrleman(VOGT, np.linspace(0.7, 1.1, 41)).min() == pytest.approx(-0.0328, abs=2e-4)


def test_an_ssvi_slice_is_its_own_formula():
    theta, rho, phi = 0.05, -0.3, 2.0
    expected = 0.5 * theta * (1 + rho * phi * GRID + np.sqrt((phi * GRID + rho) ** 2 + 1 - rho**2))
    np.testing.assert_allclose(total_variance(from_ssvi(theta, rho, phi), GRID), expected, rtol=1e-13)
    assert from_ssvi(theta, rho, 0.0) == Svi(a=theta)


@pytest.mark.parametrize(
    "bad",
    [
        {"a": math.nan},
        {"a": -0.01},
        {"a": 0.1, "b": -1.0},
        {"a": 0.1, "rho": 1.1},
        {"a": 0.1, "sigma": 0.0},
        {"a": -0.1, "b": 0.1, "sigma": 0.5},  # the variance goes below 0
    ],
)
def test_senseless_parameters_are_refused(bad):
    with pytest.raises(InvariantError, match="SVI needs"):
        Svi(**bad)


def test_unknown_moneyness_has_unknown_variance():
    assert np.isnan(total_variance(PLAIN, [math.nan, math.inf, -math.inf])).all()
    assert math.isnan(durrleman(Svi(a=0.0), 0.1))


@settings(max_examples=30, deadline=None)
@given(
    atm=st.floats(0.2, 1.5), years=st.sampled_from([3 / 365, 30 / 365, 1.0]), bend=st.floats(0.05, 0.5),
    rho=st.floats(-0.8, 0.6), m=st.floats(-0.5, 0.5), sigma=st.floats(0.2, 2.0), strikes=st.integers(5, 15),
)  # fmt: skip
def test_an_exact_curve_is_found_again(atm, years, bend, rho, m, sigma, strikes):
    """To 1e-8 in vol at every quoted strike, whatever its level, skew and length."""
    unit = atm * math.sqrt(years)
    b, m, sigma = bend * unit, m * unit, sigma * unit
    a = unit**2 - b * (-rho * m + math.hypot(m, sigma))
    assume(a + b * sigma * math.sqrt(1 - rho**2) > 1e-3 * unit**2)
    svi = Svi(a=a, b=b, rho=rho, m=m, sigma=sigma)
    assume(max(svi.wings) < 2.0)
    k = np.linspace(-2.5, 2.5, strikes) * unit
    found = svi_fit.fit_svi(targets(svi, k))
    assert found is not None
    vols, expected = (np.sqrt(total_variance(item, k) / years) for item in (found, svi))
    np.testing.assert_allclose(vols, expected, atol=1e-8)


@settings(max_examples=15, deadline=None)
@given(theta=st.floats(0.001, 0.5), rho=st.floats(-0.9, 0.9), share=st.floats(0.05, 0.9))
def test_an_exact_ssvi_slice_is_found_again(theta, rho, share):
    bound = 4.0 / (theta * (1 + abs(rho)))
    svi = from_ssvi(theta, rho, share * min(bound, math.sqrt(bound)))
    k = np.linspace(-2.0, 2.0, 4) * math.sqrt(theta)
    found = svi_fit.fit_ssvi(targets(svi, k))
    np.testing.assert_allclose(np.sqrt(total_variance(found, k)), np.sqrt(total_variance(svi, k)), atol=1e-6)


def test_arbitrage_is_fitted_away_closer_to_the_quotes_than_in_the_paper():
    """Gatheral and Jacquier mend Vogt's smile by (c, v~) = (0.8564763, 0.0116249) in SVI-JW."""
    mended = Svi(a=-0.0305199, b=0.1027168, rho=0.1007176, m=0.2723442, sigma=0.4123981)
    wide = np.linspace(-4, 4, 1601)
    assert durrleman(mended, wide).min() > 0.0
    free = svi_fit.fit_svi(targets(VOGT, GRID))
    assert free is not None
    held = svi_fit.fit_svi_without_arbitrage(targets(VOGT, GRID), [free], wide[::4])
    assert held is not None
    assert durrleman(held, wide).min() >= 0.0
    ours, theirs = (
        np.abs(total_variance(item, GRID) / total_variance(VOGT, GRID) - 1.0) for item in (held, mended)
    )
    assert 1e-4 < ours.max() < theirs.max()
    assert ours.mean() < theirs.mean()


def test_one_stale_quote_bends_nothing():
    clean = targets(PLAIN, GRID)
    w = clean.w.copy()
    w[20] *= 2.0
    found = svi_fit.fit_svi(svi_fit.Targets(k=clean.k, w=w, weights=clean.weights))
    assert found is not None
    np.testing.assert_allclose(total_variance(found, GRID), clean.w, rtol=0.01)
