"""Carr-Madan strips of the LP's loss: the paper's figures, prices by integration, laws of a convex claim."""

import math
from itertools import pairwise

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.quant import lp
from bot.quant.replication import LossClaim, spanning_strip, strip_error

MILLION, ENTRY = 1e6, 2000.0
V2 = LpShape(liquidity=lp.liquidity_for_value(MILLION, ENTRY))
V3 = LpShape(
    liquidity=lp.liquidity_for_value(MILLION, ENTRY, 1500.0, 2500.0), lower_usd=1500.0, upper_usd=2500.0
)
KINDS = [("hold", True), ("usd", True), ("usd", False)]


def claim(shape=V3, measure="hold", floored=True, entry=ENTRY) -> LossClaim:
    return LossClaim(shapes=(shape,), entry_usd=entry, measure=measure, floored=floored)


def test_the_papers_residual_on_strikes_50_apart():
    """Lipton, Lucic, Sepp, figure 4: borrowed v3 LP on 1500..2500, strikes every 50: at most 0.025 %."""
    item = claim()
    strip = spanning_strip(item, np.arange(1500.0, 2501.0, 50.0))
    found = strip_error(item, strip, np.linspace(1000.0, 3500.0, 5001))
    assert found.max_share == pytest.approx(0.00025, abs=0.000006)
    assert found.max_share <= found.bound_share < 0.00026
    assert strip.cash_usd == pytest.approx(0.0, abs=1e-6)
    assert strip.forward_units == 0.0


@pytest.mark.parametrize("shape", [V2, V3], ids=["v2", "v3"])
@pytest.mark.parametrize(("measure", "floored"), KINDS)
def test_a_dense_ladder_is_within_one_percent_over_the_range(shape, measure, floored):
    item = claim(shape, measure, floored)
    strip = spanning_strip(item, np.arange(1000.0, 3501.0, 25.0))
    found = strip_error(item, strip, np.linspace(1000.0, 3500.0, 2001))
    assert found.bound_share < 0.001  # a tenth of what is asked for
    assert strip.sizes.min() >= 0.0
    assert (found.residual_usd <= 1e-6).all()  # never below the claim: it covers all of the loss


@pytest.mark.parametrize(("measure", "floored"), KINDS)
def test_the_weight_of_a_strike_is_the_density_times_its_width(measure, floored):
    item = claim(V2, measure, floored)
    strikes = np.arange(1000.0, 1900.0, 10.0)
    strip = spanning_strip(item, strikes)
    np.testing.assert_allclose(strip.sizes[1:-1], item.density(strikes)[1:-1] * 10.0, rtol=1e-4)


def test_the_density_is_the_second_derivative_of_the_claim():
    spots, step = np.array([1000.0, 1600.0, 1990.0, 2010.0, 2400.0, 2600.0]), 0.5
    for measure, floored in KINDS:
        item = claim(V3, measure, floored)
        up, here, down = (item.payoff(spots + shift) for shift in (step, 0.0, -step))
        np.testing.assert_allclose(item.density(spots), (up - 2 * here + down) / step**2, atol=1e-4)
        np.testing.assert_allclose(item.slope(spots), (up - down) / (2 * step), rtol=1e-5, atol=1e-6)
    assert claim().density(1600.0) == pytest.approx(V3.liquidity / (2 * 1600.0**1.5))  # Deng, Zong, Wang


def lognormal_price(pays, years: float, vol: float) -> float:
    total = vol * math.sqrt(years)

    def weighted(z: float) -> float:
        spot = ENTRY * math.exp(-0.5 * total**2 + total * z)
        return float(pays(spot)) * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

    places = sorted((math.log(x / ENTRY) + 0.5 * total**2) / total for x in (1500.0, ENTRY, 2500.0))
    edges = [-9.0, *(min(max(place, -9.0), 9.0) for place in places), 9.0]
    return sum(quad(weighted, a, b, epsabs=1e-9)[0] for a, b in pairwise(edges))


@pytest.mark.parametrize("shape", [V2, V3], ids=["v2", "v3"])
@pytest.mark.parametrize(("measure", "floored"), KINDS)
def test_the_price_of_the_strip_is_the_expected_loss(shape, measure, floored):
    item = claim(shape, measure, floored)
    strip = spanning_strip(item, np.geomspace(200.0, 12_000.0, 801))
    found = strip.value(ENTRY, 30 / 365, 0.7)
    assert found == pytest.approx(lognormal_price(item.payoff, 30 / 365, 0.7), rel=5e-3, abs=5.0)


def test_the_price_of_funded_v2_is_the_closed_form():
    """E[1 - sqrt(S_T / S_0)] = 1 - exp(-vol^2 T / 8) in Black-Scholes without carry; borrowed is the same."""
    expected = MILLION * (1.0 - math.exp(-0.49 * 0.25 / 8))
    for measure, floored in (("usd", False), ("hold", True)):
        strip = spanning_strip(claim(V2, measure, floored), np.geomspace(100.0, 40_000.0, 2001))
        assert strip.value(ENTRY, 0.25, 0.7) == pytest.approx(expected, rel=2e-4)


def test_legs_are_priced_as_quantlib_does():
    strip = spanning_strip(claim(V2, "usd"), [1400.0, 1700.0, 2000.0, 2300.0])
    vols = np.linspace(0.9, 0.6, strip.strikes.size)
    expected = 0.0
    for strike, put, size, vol in zip(strip.strikes, strip.is_puts, strip.sizes, vols, strict=True):
        kind = ql.Option.Put if put else ql.Option.Call
        expected += size * ql.blackFormula(kind, strike, ENTRY, vol * math.sqrt(0.1))
    assert strip.cash_usd == strip.forward_units == 0.0
    assert strip.value(ENTRY, 0.1, vols) == pytest.approx(expected, rel=1e-12)


def test_floored_usd_buys_its_delta_in_puts_at_the_entry():
    strip = spanning_strip(claim(V3, "usd"), np.arange(1500.0, 2501.0, 50.0))
    puts = strip.strikes[strip.is_puts]
    assert strip.sizes[strip.is_puts].sum() == pytest.approx(float(lp.delta(V3, 1500.0)))
    assert strip.sizes[strip.is_puts][puts == ENTRY][0] > 0.9 * float(lp.delta(V3, ENTRY))
    assert strip.sizes[~strip.is_puts].sum() == 0.0


ladders = st.lists(st.integers(100, 900), min_size=2, max_size=12, unique=True).map(
    lambda found: np.sort(np.array(found, dtype=float)) * 5.0
)
shapes = st.one_of(
    st.just(V2),
    st.builds(
        lambda low, width: LpShape(liquidity=1e4, lower_usd=low, upper_usd=low * width),
        st.floats(500.0, 3000.0),
        st.floats(1.05, 4.0),
    ),
)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, ladder=ladders, kind=st.sampled_from(KINDS), entry=st.floats(700.0, 4000.0))
def test_a_strip_is_exact_at_its_strikes_and_never_short(shape, ladder, kind, entry):
    item = claim(shape, *kind, entry=entry)
    strip = spanning_strip(item, ladder)
    assert strip.sizes.min() >= 0.0
    scale = 1e-9 * item.value_usd
    np.testing.assert_allclose(strip.payoff(ladder), item.payoff(ladder), atol=scale)
    found = strip_error(item, strip, np.linspace(ladder[0] / 2, ladder[-1] * 2, 41))
    inside = np.linspace(found.spots[0], found.spots[-1], 500)
    miss = np.abs(item.payoff(inside) - strip.payoff(inside))
    assert miss.max() <= found.bound_share * item.value_usd + scale
    assert found.mean_share <= found.max_share <= found.bound_share + 1e-15
    between = (inside >= ladder[0]) & (inside <= ladder[-1])
    assert (strip.payoff(inside)[between] >= item.payoff(inside)[between] - scale).all()


@settings(max_examples=30, deadline=None)
@given(shape=shapes, ladder=ladders, kind=st.sampled_from(KINDS), data=st.data())
def test_a_further_strike_never_worsens_the_error_on_the_ladder(shape, ladder, kind, data):
    item = claim(shape, *kind)
    extra = data.draw(st.floats(float(ladder[0]), float(ladder[-1])))
    spots = np.linspace(ladder[0], ladder[-1], 301)
    few, more = (
        strip_error(item, spanning_strip(item, rows), spots)
        for rows in (ladder, np.unique(np.append(ladder, extra)))
    )
    at = np.linspace(ladder[0], ladder[-1], 777)
    misses = [np.abs(np.interp(at, found.spots, found.residual_usd)).max() for found in (few, more)]
    assert misses[1] <= misses[0] + 1e-3 * item.value_usd * 1e-3


def test_several_positions_are_one_claim():
    both = LossClaim(shapes=(V2, V3), entry_usd=ENTRY, measure="usd", floored=False)
    spots = np.linspace(1000.0, 4000.0, 31)
    alone = [claim(shape, "usd", False).payoff(spots) for shape in (V2, V3)]
    np.testing.assert_allclose(both.payoff(spots), alone[0] + alone[1])
    assert both.value_usd == pytest.approx(2 * MILLION)
    np.testing.assert_array_equal(both.kinks, [1500.0, 2000.0, 2500.0])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (dict(entry_usd=0.0), "entry price must be finite and > 0, was 0"),
        (dict(entry_usd=math.nan), "entry price"),
        (dict(measure="eur"), "'hold' or 'usd', was 'eur'"),
        (dict(shapes=()), "worth nothing"),
        (dict(shapes=(LpShape(liquidity=0.0),)), "worth nothing"),
    ],
)
def test_a_senseless_claim_is_refused(change, match):
    with pytest.raises(InvariantError, match=match):
        LossClaim(**{"shapes": (V3,), "entry_usd": ENTRY, "measure": "hold", **change})


@pytest.mark.parametrize(
    "strikes", [[2000.0], [2000.0, 1900.0], [2000.0, 2000.0], [0.0, 1.0], [1.0, math.nan]]
)
def test_a_senseless_ladder_is_refused(strikes):
    with pytest.raises(InvariantError, match="strikes of a ladder must be two or more finite numbers"):
        spanning_strip(claim(), strikes)


def test_unknown_spots_have_an_unknown_loss():
    for measure, floored in KINDS:
        item = claim(V3, measure, floored)
        assert np.isnan(item.payoff([math.nan, -1.0])).all()
        assert np.isnan(item.slope([math.nan, -1.0])).all()
        assert np.isnan(item.density([math.nan, -1.0])).all()


def kept_claim(units, shape=V3, **more):
    return LossClaim(shapes=(shape,), entry_usd=ENTRY, measure="hold", kept_units=units, **more)


def test_keeping_the_tokens_of_entry_is_what_hold_means_anyway():
    spots = np.linspace(500.0, 5000.0, 901)
    same = kept_claim(float(lp.delta(V3, ENTRY)))
    np.testing.assert_allclose(same.payoff(spots), claim().payoff(spots), atol=1e-8)
    np.testing.assert_allclose(same.slope(spots), claim().slope(spots), atol=1e-9)


@pytest.mark.parametrize("units", [0.0, 100.0, 400.0, 1000.0])
@pytest.mark.parametrize("shape", [V2, V3], ids=["v2", "v3"])
def test_a_deposit_at_another_price_is_a_claim_of_its_own(units, shape):
    """Payoff from its definition, slopes by differences, and a strip that pays it."""
    item = kept_claim(units, shape)
    spots = np.linspace(300.0, 6000.0, 1_001)
    lost = lp.value(shape, ENTRY) - lp.value(shape, spots) + units * (spots - ENTRY)
    np.testing.assert_allclose(item.payoff(spots), np.maximum(lost, 0.0), atol=1e-6)
    smooth = np.abs(spots[:, np.newaxis] - item.kinks).min(axis=1) > 1.0
    step = 1e-3
    rise = (item.payoff(spots + step) - item.payoff(spots - step)) / (2.0 * step)
    np.testing.assert_allclose(item.slope(spots)[smooth], rise[smooth], atol=1e-3)
    low, high = item.gains
    inside = (spots > low) & (spots < high)
    assert (lost[inside] <= 1e-6).all()
    assert (lost[~inside] >= -1e-6).all()
    ladder = np.arange(200.0, 7000.0, 10.0)
    assert strip_error(item, spanning_strip(item, ladder), spots).bound_share < 0.002


def test_a_deposit_that_is_always_ahead_owes_nothing_on_that_side():
    """No token was kept: the comparison is with USD, which a rise only beats."""
    item = kept_claim(0.0, V2)
    assert item.gains == (ENTRY, math.inf)
    usd = claim(V2, "usd")
    spots = np.linspace(500.0, 9000.0, 401)
    np.testing.assert_allclose(item.payoff(spots), usd.payoff(spots), atol=1e-6)


@pytest.mark.parametrize(("units", "measure"), [(-1.0, "hold"), (math.nan, "hold"), (1.0, "usd")])
def test_a_deposit_that_cannot_be_is_refused(units, measure):
    with pytest.raises(InvariantError, match="kept_units"):
        LossClaim(shapes=(V2,), entry_usd=ENTRY, measure=measure, kept_units=units)
