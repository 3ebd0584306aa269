"""Smiles from quotes: models by number of strikes, arbitrage, bad quotes, the surface between expiries."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.quant import smile, surface
from bot.quant.smile import Arbitrage, SmileModel, SmileQuotes
from bot.quant.svi import LEE_SLOPE, Svi, durrleman, total_variance

MONTH, FORWARD = 30 / 365, 2000.0
SVI = Svi(a=0.01, b=0.05, rho=-0.4, m=0.02, sigma=0.15)
STRIKES = np.array([1200.0, 1400.0, 1600.0, 1800.0, 1900.0, 2000.0, 2100.0, 2200.0, 2500.0, 3000.0])


def exact(strikes: np.ndarray, svi: Svi = SVI, years: float = MONTH, forward: float = FORWARD) -> np.ndarray:
    return np.sqrt(total_variance(svi, np.log(strikes / forward)) / years)


def quotes(strikes=STRIKES, ivs=None, *, spread=0.01, liquidity=10.0, years=MONTH, forward=FORWARD):
    level = np.asarray(strikes, dtype=float)
    vols = exact(level) if ivs is None else np.broadcast_to(np.asarray(ivs, dtype=float), level.shape)
    return SmileQuotes(
        years=years, forward=forward, strikes=level, bid_ivs=vols - spread / 2, ask_ivs=vols + spread / 2,
        liquidity=np.full(level.shape, liquidity),
    )  # fmt: skip


def test_an_exact_svi_is_reproduced_at_every_strike():
    found = smile.fit_smile(quotes())
    assert found.model is SmileModel.SVI
    between = np.linspace(1000.0, 4000.0, 101)
    np.testing.assert_allclose(found.iv(between), exact(between), atol=1e-8)
    assert found.max_error_iv < 1e-10
    assert found.inside_share == 1.0
    assert found.sound
    assert found.checked == (Arbitrage.BUTTERFLY, Arbitrage.WING)
    assert found.atm_iv == pytest.approx(float(exact(np.array([FORWARD]))[0]), abs=1e-8)
    np.testing.assert_array_equal(found.is_quoted([1100.0, 1200.0, 3000.0, 3001.0]), [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("places", "model", "error"),
    [
        ([5], SmileModel.FLAT, 0.0),
        ([2, 6], SmileModel.SSVI, 1e-6),
        ([2, 5, 8], SmileModel.SSVI, 1e-6),
        ([1, 3, 5, 8], SmileModel.SSVI, 0.01),
        ([1, 3, 5, 7, 8], SmileModel.SVI, 1e-8),
    ],
)
def test_few_quotes_carry_a_smaller_model_without_arbitrage(places, model, error):
    found = smile.fit_smile(quotes(STRIKES[places]))
    assert found.model is model
    assert found.max_error_iv <= error
    assert found.sound
    assert found.used == len(places)
    wide = found.iv(np.geomspace(20.0, 2e5, 50))
    assert np.isfinite(wide).all()
    if model is SmileModel.FLAT:
        np.testing.assert_allclose(wide, exact(STRIKES[places])[0])


@settings(max_examples=25, deadline=None)
@given(ivs=st.lists(st.floats(0.1, 3.0), min_size=2, max_size=4), data=st.data())
def test_few_quotes_never_give_an_arbitrage(ivs, data):
    strikes = data.draw(st.lists(st.integers(50, 400), min_size=len(ivs), max_size=len(ivs), unique=True))
    given_quotes = quotes(np.sort(np.array(strikes) * 10.0), ivs)
    found = smile.fit_smile(given_quotes)
    assert found.sound
    assert found.svi is not None
    assert max(found.svi.wings) <= LEE_SLOPE * (1 + 1e-9)
    assert durrleman(found.svi, np.linspace(-8, 8, 801)).min() >= -1e-9


@settings(max_examples=10, deadline=None)
@given(ivs=st.lists(st.floats(0.2, 2.0), min_size=5, max_size=9))
def test_wild_quotes_give_a_smile_free_of_arbitrage_or_say_where(ivs):
    found = smile.fit_smile(quotes(np.linspace(1200, 3000, len(ivs)), ivs))
    assert found.svi is not None
    g = durrleman(found.svi, smile.check_grid(quotes(np.linspace(1200, 3000, len(ivs)), ivs)))
    assert found.sound == (g.min() >= -1e-10)
    assert found.sound  # the fall-back to an SSVI slice cannot fail
    assert found.rms_error_iv <= found.max_error_iv


def test_tight_quotes_weigh_more_than_wide_ones():
    vols = exact(STRIKES)
    off = vols + np.where(np.arange(STRIKES.size) % 2, 0.05, 0.0)
    item = quotes(ivs=off)
    half = np.where(np.arange(STRIKES.size) % 2, 0.2, 0.002)
    found = smile.fit_smile(replace(item, bid_ivs=off - half, ask_ivs=off + half))
    even = np.arange(STRIKES.size) % 2 == 0
    assert np.abs(found.iv(STRIKES) - vols)[even].max() < 0.004


BAD = [
    (dict(bid=0.9, ask=0.8), "crossed"),
    (dict(bid=math.nan, ask=0.8), "no two-sided vol"),
    (dict(bid=0.5, ask=math.nan), "no two-sided vol"),
    (dict(bid=0.0, ask=0.0), "outside 0.01 to 5"),
    (dict(bid=50.0, ask=50.0), "outside 0.01 to 5"),
    (dict(size=0.0), "liquidity 0"),
    (dict(size=-1.0), "liquidity -1"),
    (dict(size=math.nan), "liquidity nan"),
]


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_a_bad_quote_is_left_out_by_name(bad, why):
    item = quotes()
    bids, asks, sizes = item.bid_ivs.copy(), item.ask_ivs.copy(), item.liquidity.copy()
    bids[3], asks[3], sizes[3] = bad.get("bid", bids[3]), bad.get("ask", asks[3]), bad.get("size", sizes[3])
    found = smile.fit_smile(replace(item, bid_ivs=bids, ask_ivs=asks, liquidity=sizes))
    assert [(one.strike, why in one.why) for one in found.left_out] == [(1800.0, True)]
    assert found.used == STRIKES.size - 1
    np.testing.assert_allclose(found.iv(STRIKES), exact(STRIKES), atol=1e-8)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (dict(years=0.0), "years 0 and forward"),
        (dict(years=-0.1), "years -0.1"),
        (dict(years=math.nan), "years nan"),
        (dict(forward=0.0), "forward 0"),
        (dict(forward=math.nan), "forward nan"),
        (dict(bid_ivs=np.full(10, np.nan)), "no usable quote: no two-sided vol"),
        (dict(liquidity=np.zeros(10)), "no usable quote: liquidity 0"),
    ],
)
def test_without_a_usable_quote_the_smile_is_unknown(change, why):
    found = smile.fit_smile(replace(quotes(), **change))
    assert found.model is SmileModel.UNKNOWN
    assert why in found.why_unknown
    assert not found.sound
    assert np.isnan(found.iv(STRIKES)).all()


def test_no_quotes_at_all_are_unknown():
    found = smile.fit_smile(quotes(np.empty(0), np.empty(0)))
    assert found.why_unknown == "no usable quote: no quotes"


@pytest.mark.parametrize(
    ("strikes", "match"),
    [
        ([1000.0, 900.0], "strikes must rise without duplicates, found 1000 before 900"),
        ([1000.0, 1000.0], "without duplicates"),
        ([0.0, 1000.0], "strikes must be finite and > 0, was 0"),
        ([1000.0, math.nan], "finite and > 0, was nan"),
        ([-5.0, 1000.0], "finite and > 0, was -5"),
    ],
)
def test_strikes_out_of_order_are_refused(strikes, match):
    with pytest.raises(InvariantError, match=match):
        quotes(strikes, 0.5)


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(InvariantError, match="equally long"):
        replace(quotes(), liquidity=np.ones(2))


def test_merging_sorts_and_keeps_the_tightest_sound_quote():
    found = smile.merged(
        years=MONTH, forward=FORWARD, strikes=[2000, 1800, 2000, 2000, 2000],
        bid_ivs=[0.5, 0.6, 0.52, 0.6, 0.53], ask_ivs=[0.6, 0.7, 0.54, 0.5, 0.54], liquidity=[1, 2, 3, 4, 0],
    )  # fmt: skip
    np.testing.assert_array_equal(found.strikes, [1800.0, 2000.0])
    np.testing.assert_array_equal(found.bid_ivs, [0.6, 0.52])  # not the crossed one, not the one without size
    np.testing.assert_array_equal(found.liquidity, [2.0, 3.0])


@given(order=st.permutations(range(10)))
@settings(max_examples=5, deadline=None)
def test_the_order_of_quotes_changes_no_bit(order):
    item = quotes()
    rows = [row[list(order)] for row in (item.strikes, item.bid_ivs, item.ask_ivs, item.liquidity)]
    again = smile.merged(
        years=MONTH, forward=FORWARD, strikes=rows[0], bid_ivs=rows[1], ask_ivs=rows[2], liquidity=rows[3]
    )
    assert smile.fit_smile(again).svi == smile.fit_smile(item).svi


def flat(years: float, iv: float, forward: float = FORWARD) -> smile.Smile:
    return smile.fit_smile(quotes([forward], iv, years=years, forward=forward))


def test_between_expiries_total_variance_is_linear_at_fixed_moneyness():
    near, far = flat(0.1, 0.8, 2000.0), flat(0.5, 0.6, 2200.0)
    found = smile.build_surface([far, near], spot=1950.0)
    years = np.array([0.05, 0.1, 0.2, 0.3, 0.5, 0.9])
    np.testing.assert_allclose(
        found.iv(2100.0, years), surface.iv_at_tenor([0.1, 0.5], [0.8, 0.6], years), atol=1e-12
    )
    assert found.sound
    assert found.iv(np.array([1800.0, 2000.0]), 0.3).shape == (2,)


def test_the_surface_moves_with_the_forward():
    """At half way the strike is read at its moneyness on the forward of that day, in both smiles."""
    near = smile.fit_smile(quotes())
    far = smile.fit_smile(quotes(STRIKES * 1.1, exact(STRIKES), years=2 * MONTH, forward=FORWARD * 1.1))
    found = smile.build_surface([near, far])
    forward = math.sqrt(FORWARD * FORWARD * 1.1)
    k = math.log(1800.0 / forward)
    mean = 0.5 * (near.total_variance(k) + far.total_variance(k))
    assert float(found.iv(1800.0, 1.5 * MONTH)) == pytest.approx(math.sqrt(mean / (1.5 * MONTH)), rel=1e-12)
    np.testing.assert_allclose(found.iv(STRIKES, MONTH), near.iv(STRIKES), rtol=1e-12)


def test_a_calendar_arbitrage_is_named():
    found = smile.build_surface([flat(0.1, 0.9), flat(0.2, 0.5)])
    (violation,) = found.violations
    assert violation.kind is Arbitrage.CALENDAR
    assert violation.amount == pytest.approx(0.25 * 0.2 - 0.81 * 0.1)
    assert violation.years == 0.1
    assert not found.sound
    assert smile.build_surface([flat(0.1, 0.9), flat(0.2, 0.9 / math.sqrt(2))]).sound  # equal variance


def test_a_wing_above_lees_bound_and_a_butterfly_are_named():
    steep = Svi(a=0.0, b=1.5, rho=0.5, m=0.0, sigma=0.1)  # right wing 2.25, left 0.75
    found = smile.arbitrages(steep, np.linspace(-3, 3, 301), years=1.0)
    assert [item.kind for item in found] == [Arbitrage.BUTTERFLY, Arbitrage.WING]
    assert found[1].log_moneyness == math.inf
    assert found[1].amount == pytest.approx(2.25)


def test_unknown_smiles_are_kept_apart():
    found = smile.build_surface([flat(0.1, 0.9), smile.unknown_smile(0.2, 2000.0, "nothing quoted")])
    assert len(found.smiles) == len(found.unknown) == 1
    nothing = smile.build_surface([])
    assert not nothing.sound
    assert np.isnan(nothing.iv([1800.0, 2000.0], 0.1)).all()


@pytest.mark.parametrize(("strike", "years"), [(0.0, 0.1), (-1.0, 0.1), (math.nan, 0.1), (2000.0, 0.0),
                                               (2000.0, -1.0), (2000.0, math.nan)])  # fmt: skip
def test_senseless_points_of_a_surface_are_unknown(strike, years):
    assert math.isnan(smile.build_surface([flat(0.1, 0.9), flat(0.2, 0.9)]).iv(strike, years))


def test_two_smiles_of_one_expiry_are_refused():
    with pytest.raises(InvariantError, match=r"two smiles at 0\.1"):
        smile.build_surface([flat(0.1, 0.9), flat(0.1, 0.8)])
