"""LP value curves: whitepaper amounts by hand, and the laws of a concave curve."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.quant import lp

V3 = LpShape(liquidity=1000.0, lower_usd=1600.0, upper_usd=2500.0)  # roots 40 and 50
V2 = LpShape(liquidity=1000.0)

shapes = st.one_of(
    st.builds(LpShape, liquidity=st.floats(1.0, 1e6)),
    st.builds(
        lambda liquidity, lower, width: LpShape(
            liquidity=liquidity, lower_usd=lower, upper_usd=lower * width
        ),
        st.floats(1.0, 1e6),
        st.floats(100.0, 3000.0),
        st.floats(1.01, 20.0),
    ),
)
spots = st.floats(1.0, 1e5)


@pytest.mark.parametrize(
    ("spot", "units", "stable"),
    [
        (1000.0, 1000 * (1 / 40 - 1 / 50), 0.0),  # below: all underlying, 5 units
        (1600.0, 5.0, 0.0),
        (2025.0, 1000 * (1 / 45 - 1 / 50), 1000 * (45 - 40)),  # inside: 2.2222 units and 5000 USD
        (2500.0, 0.0, 10_000.0),
        (9000.0, 0.0, 10_000.0),  # above: all stable, L (50 - 40)
    ],
)
def test_v3_amounts_follow_the_whitepaper(spot, units, stable):
    """Uniswap v3 whitepaper 6.29 and 6.30 with L 1000, sqrt range 40..50."""
    assert lp.amounts(V3, spot) == (pytest.approx(units, abs=1e-12), pytest.approx(stable, abs=1e-9))
    assert float(lp.value(V3, spot)) == pytest.approx(units * spot + stable)
    assert float(lp.delta(V3, spot)) == pytest.approx(units, abs=1e-12)


def test_v2_value_is_two_l_root_s():
    assert float(lp.value(V2, 2500.0)) == 100_000.0  # 2 x 1000 x 50
    assert lp.amounts(V2, 2500.0) == (20.0, 50_000.0)  # half in each token
    assert float(lp.gamma(V2, 2500.0)) == pytest.approx(-1000.0 / (2 * 2500.0**1.5))


@pytest.mark.parametrize(("ratio", "loss"), [(1.25, 0.006192), (2.0, 0.057191), (4.0, 0.2), (0.25, 0.2)])
def test_v2_impermanent_loss_is_the_textbook_share(ratio, loss):
    """2 sqrt(r) / (1 + r) - 1: -0.6 % at 1.25x, -5.7 % at 2x, -20 % at 4x and at a quarter."""
    entry = 2000.0
    against = lp.hold_value(*lp.amounts(V2, entry), entry * ratio)
    assert float(lp.impermanent_loss(V2, entry, entry * ratio) / against) == pytest.approx(-loss, abs=1e-6)


def test_loss_against_usd_entry_is_the_change_of_value():
    assert float(lp.impermanent_loss(V3, 2025.0, 1600.0, measure="usd")) == pytest.approx(8000.0 - 9500.0)
    assert float(lp.impermanent_loss(V3, 2025.0, 2500.0, measure="usd")) == pytest.approx(10_000.0 - 9500.0)


def test_an_unknown_loss_measure_is_refused():
    with pytest.raises(InvariantError, match="'hold' or 'usd', was 'eur'"):
        lp.impermanent_loss(V3, 2025.0, 1600.0, measure="eur")


@given(shape=shapes, spot=spots, factor=st.floats(1.0001, 3.0))
def test_value_rises_with_the_spot(shape, spot, factor):
    low, high = lp.value(shape, [spot, spot * factor])
    assert 0.0 <= low <= high * (1 + 1e-12)


@given(shape=shapes, spot=spots)
def test_delta_is_the_slope_of_the_value(shape, spot):
    step = 1e-5
    up, down = lp.value(shape, [spot * (1 + step), spot * (1 - step)])
    slope = (up - down) / (2 * step * spot)
    assert float(lp.delta(shape, spot)) == pytest.approx(slope, rel=1e-3, abs=1e-6 * shape.liquidity)


@given(shape=shapes, spot=spots)
def test_gamma_is_the_slope_of_delta_and_never_positive(shape, spot):
    gamma = float(lp.gamma(shape, spot))
    assert gamma <= 0.0
    step = 1e-4
    edges = (shape.lower_usd, shape.upper_usd)
    if not any(spot * (1 - 2 * step) <= edge <= spot * (1 + 2 * step) for edge in edges):
        up, down = lp.delta(shape, [spot * (1 + step), spot * (1 - step)])
        slope = (up - down) / (2 * step * spot)
        assert gamma == pytest.approx(slope, rel=1e-3, abs=1e-9 * shape.liquidity / spot)


@given(shape=shapes, entry=spots, spot=spots)
def test_a_position_never_beats_holding_its_tokens(shape, entry, spot):
    loss = float(lp.impermanent_loss(shape, entry, spot))
    held = float(lp.hold_value(*lp.amounts(shape, entry), spot))
    assert loss <= 0.0
    assert float(lp.value(shape, spot)) - held == pytest.approx(loss, abs=1e-11 * max(held, shape.liquidity))
    assert float(lp.impermanent_loss(shape, entry, entry)) == pytest.approx(0.0, abs=1e-9 * max(held, 1.0))


@given(shape=shapes, spot=spots)
def test_a_wide_range_comes_close_to_v2_and_a_narrow_one_is_worth_less(shape, spot):
    full = LpShape(liquidity=shape.liquidity)
    assert float(lp.value(shape, spot)) <= float(lp.value(full, spot)) * (1 + 1e-12)
    wide = LpShape(liquidity=shape.liquidity, lower_usd=spot * 1e-12, upper_usd=spot * 1e12)
    assert float(lp.value(wide, spot)) == pytest.approx(float(lp.value(full, spot)), rel=1e-5)


@given(shape=shapes, value_usd=st.floats(1.0, 1e9), spot=spots)
def test_liquidity_for_value_gives_the_value_back(shape, value_usd, spot):
    found = lp.liquidity_for_value(value_usd, spot, shape.lower_usd, shape.upper_usd)
    back = LpShape(liquidity=found, lower_usd=shape.lower_usd, upper_usd=shape.upper_usd)
    assert float(lp.value(back, spot)) == pytest.approx(value_usd, rel=1e-12)


@pytest.mark.parametrize(("value_usd", "spot"), [(1.0, 0.0), (1.0, -5.0), (1.0, math.nan), (-1.0, 2000.0)])
def test_liquidity_for_a_senseless_value_is_refused(value_usd, spot):
    with pytest.raises(InvariantError):
        lp.liquidity_for_value(value_usd, spot, 1600.0, 2500.0)


@pytest.mark.parametrize("shape", [V2, V3])
def test_edges_by_name(shape):
    assert float(lp.value(shape, 0.0)) == 0.0
    assert float(lp.gamma(shape, 0.0)) == 0.0
    for bad in (math.nan, -1.0):
        for function in (lp.value, lp.delta, lp.gamma):
            assert math.isnan(function(shape, bad))


def test_an_empty_position_is_worth_nothing_anywhere():
    empty = LpShape(liquidity=0.0)
    np.testing.assert_array_equal(lp.value(empty, [0.0, 1.0, 1e6]), 0.0)
    np.testing.assert_array_equal(lp.delta(empty, [0.0, 1.0, 1e6]), 0.0)


# Lipton, Lucic, Sepp (arXiv 2407.05146): p0 = 2000, notional 1m USDT; v2, and v3 on 1500..2500.
MILLION = 1e6
PAPER_V2 = LpShape(liquidity=lp.liquidity_for_value(MILLION, 2000.0))
PAPER_V3 = LpShape(
    liquidity=lp.liquidity_for_value(MILLION, 2000.0, 1500.0, 2500.0), lower_usd=1500.0, upper_usd=2500.0
)


@pytest.mark.parametrize(
    ("shape", "spot", "units", "stable"),
    [
        (PAPER_V2, 2000.0, 250, 500_000),
        (PAPER_V2, 1500.0, 289, 433_013),
        (PAPER_V2, 2500.0, 224, 559_017),
        (PAPER_V3, 2000.0, 220, 559_282),
        (PAPER_V3, 1500.0, 543, 0),
        (PAPER_V3, 2500.0, 0, 1_052_020),
    ],
)
def test_units_of_the_papers_examples(shape, spot, units, stable):
    """The figures that the paper prints, rounded to whole units (its sections 3.1 and 3.2)."""
    found = lp.amounts(shape, spot)
    assert (round(float(found[0])), round(float(found[1]))) == (units, stable)


@given(ratio=st.floats(0.01, 100.0), entry=st.floats(1.0, 1e5))
def test_nominal_losses_of_v2_are_the_papers(ratio, entry):
    """Funded: sqrt(r) - 1. Borrowed: -(sqrt(r) - 1)^2 / 2 (eq. 24)."""
    funded = float(lp.loss_share(PAPER_V2, entry, entry * ratio, measure="usd"))
    borrowed = float(lp.loss_share(PAPER_V2, entry, entry * ratio, measure="hold"))
    assert funded == pytest.approx(math.sqrt(ratio) - 1.0, abs=1e-9)
    assert borrowed == pytest.approx(-0.5 * (math.sqrt(ratio) - 1.0) ** 2, abs=1e-9)


@pytest.mark.parametrize("spot", [800.0, 1500.0, 1700.0, 2000.0, 2400.0, 2500.0, 4000.0])
def test_funded_loss_of_v3_is_the_papers_proposition(spot):
    """Eq. 40 and 41: three regimes in closed form."""
    low, high, entry = 1500.0, 2500.0, 2000.0
    liquidity = MILLION / (2 * entry**0.5 - entry / high**0.5 - low**0.5)
    assert liquidity == pytest.approx(PAPER_V3.liquidity)
    if spot <= low:
        part = spot * (low**-0.5 - high**-0.5) + entry / high**0.5 - 2 * entry**0.5 + low**0.5
    elif spot < high:
        part = 2 * (spot**0.5 - entry**0.5) + (entry - spot) / high**0.5
    else:
        part = high**0.5 + entry / high**0.5 - 2 * entry**0.5
    found = float(lp.loss_share(PAPER_V3, entry, spot, measure="usd"))
    assert found == pytest.approx(liquidity * part / MILLION, abs=1e-12)
    units = float(lp.delta(PAPER_V3, entry))
    borrowed = float(lp.loss_share(PAPER_V3, entry, spot, measure="hold"))
    assert borrowed == pytest.approx(found - units * (spot - entry) / MILLION, abs=1e-12)


def test_a_narrow_range_loses_more_at_a_fall_of_a_fifth():
    """The paper's figure 3, borrowed: v2 about -0.6 %, and the narrower the range the more."""
    losses = []
    for width in (0.5, 0.2, 0.1):
        low, high = 2000.0 * (1 - width), 2000.0 * (1 + width)
        shape = LpShape(
            liquidity=lp.liquidity_for_value(1.0, 2000.0, low, high), lower_usd=low, upper_usd=high
        )
        losses.append(float(lp.loss_share(shape, 2000.0, 1600.0)))
    assert losses[2] < losses[1] < losses[0] < float(lp.loss_share(PAPER_V2, 2000.0, 1600.0)) < 0.0


@pytest.mark.parametrize("entry", [0.0, -1.0, math.nan])
def test_the_share_of_a_worthless_entry_is_unknown(entry):
    assert math.isnan(lp.loss_share(V3, entry, 2000.0, measure="usd"))
