"""The iron-condor view of an LP, spreads by hand, and condor legs by delta through a smile."""

import math
from functools import lru_cache

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.quant import condor, lp, options, smile
from bot.quant.condor import IronCondor, OptionRow, PutSpread, Wings
from bot.quant.replication import LossClaim

ENTRY, WEEK = 2000.0, 7 / 365
V2 = LpShape(liquidity=1000.0)
V3 = LpShape(liquidity=lp.liquidity_for_value(1e6, ENTRY, 1500.0, 2500.0), lower_usd=1500.0, upper_usd=2500.0)
BELOW, ABOVE = float(lp.delta(V3, 1500.0) - lp.delta(V3, ENTRY)), float(lp.delta(V3, ENTRY))


def claim(measure="hold", shape=V3) -> LossClaim:
    return LossClaim(shapes=(shape,), entry_usd=ENTRY, measure=measure)


def wings(put=1400.0, call=2600.0, *, puts=BELOW, calls=ABOVE, premium=8000.0) -> Wings:
    return Wings(
        strikes=np.array([put, call]), is_puts=np.array([True, False]), sizes=np.array([puts, calls]),
        premium_usd=premium,
    )  # fmt: skip


def curve(item: LossClaim, legs: Wings, fees: float, spots: np.ndarray) -> np.ndarray:
    """The payoff written out once more: change of value, fees, premium, puts and calls."""
    change = sum(lp.impermanent_loss(s, item.entry_usd, spots, measure=item.measure) for s in item.shapes)
    paid = np.where(legs.is_puts, legs.strikes - spots[:, np.newaxis], spots[:, np.newaxis] - legs.strikes)
    return change + fees - legs.premium_usd + np.maximum(paid, 0.0) @ legs.sizes


def test_with_both_wings_an_lp_is_an_iron_condor_against_holding():
    found = condor.lp_with_wings(claim(), wings(), fees_usd=20_000.0)
    assert found.kind == "iron condor"
    assert found.defined_risk
    assert found.max_gain_usd == pytest.approx(12_000.0)  # at entry nothing is lost: fees less premium
    assert found.max_gain_at == ENTRY
    grid = np.linspace(0.0, 20_000.0, 400_001)
    values = curve(claim(), wings(), 20_000.0, grid)
    assert found.max_loss_usd == pytest.approx(-values.min(), rel=1e-9)
    np.testing.assert_allclose(found.break_evens, grid[:-1][np.diff(np.sign(values)) != 0], atol=0.06)
    assert len(found.break_evens) == 2


def test_with_a_put_an_lp_is_a_bull_put_spread_in_usd():
    legs = wings(puts=float(lp.delta(V3, 1500.0)), calls=0.0)
    found = condor.lp_with_wings(claim("usd"), legs, fees_usd=20_000.0)
    assert found.kind == "bull put spread"
    top = float(lp.value(V3, 2500.0)) - 1e6 + 12_000.0
    assert found.max_gain_usd == pytest.approx(top)
    assert found.max_gain_at == 2500.0
    floor = 1e6 - float(lp.value(V3, 1400.0)) - 12_000.0  # below the put nothing more is lost
    assert found.max_loss_usd == pytest.approx(floor)
    assert len(found.break_evens) == 1


def test_without_wings_the_risk_against_holding_is_not_defined():
    none = Wings(strikes=np.empty(0), is_puts=np.empty(0, bool), sizes=np.empty(0), premium_usd=0.0)
    bare = condor.lp_with_wings(claim(), none, fees_usd=10_000.0)
    assert not bare.defined_risk
    assert bare.max_loss_at == math.inf
    assert len(bare.break_evens) == 2  # the upper one lies beyond the range
    usd = condor.lp_with_wings(claim("usd"), none, fees_usd=10_000.0)
    assert usd.max_loss_usd == pytest.approx(1e6 - 10_000.0)
    assert usd.max_loss_at == 0.0


def test_a_full_range_position_gains_without_bound_in_usd_only():
    none = Wings(strikes=np.empty(0), is_puts=np.empty(0, bool), sizes=np.empty(0), premium_usd=500.0)
    usd = condor.lp_with_wings(claim("usd", V2), none, fees_usd=0.0)
    assert usd.max_gain_usd == usd.max_gain_at == math.inf
    root = (math.sqrt(ENTRY) + 500.0 / 2000.0) ** 2  # 2 L (sqrt S - sqrt S0) = 500
    assert usd.break_evens == (pytest.approx(root, rel=1e-12),)
    hold = condor.lp_with_wings(claim("hold", V2), none, fees_usd=1000.0)
    assert hold.max_gain_usd == pytest.approx(500.0)
    assert hold.max_loss_usd == math.inf
    # L sqrt(S0) (sqrt r - 1)^2 = 500 on both sides
    width = math.sqrt(500.0 / (1000.0 * math.sqrt(ENTRY)))
    expected = [ENTRY * (1 + sign * width) ** 2 for sign in (-1, 1)]
    np.testing.assert_allclose(hold.break_evens, expected, rtol=1e-10)


def test_v2_with_a_call_over_all_its_units_has_a_last_rise():
    """Calls on exactly the units of entry leave 2 L sqrt(S) at the top: no bound to the gain."""
    legs = Wings(
        strikes=np.array([3000.0]), is_puts=np.array([False]), sizes=lp.delta(V2, [ENTRY]), premium_usd=0.0
    )
    found = condor.lp_with_wings(claim("hold", V2), legs, fees_usd=0.0)
    assert found.max_gain_usd == math.inf
    assert found.defined_risk


@settings(max_examples=40, deadline=None)
@given(
    put=st.floats(500.0, 1900.0), call=st.floats(2100.0, 6000.0), puts=st.floats(0.0, 800.0),
    calls=st.floats(0.0, 800.0), fees=st.floats(0.0, 1e5), premium=st.floats(0.0, 5e4),
    measure=st.sampled_from(["hold", "usd"]), shape=st.sampled_from([V2, V3]),
)  # fmt: skip
def test_no_spot_is_worse_or_better_than_the_extremes(put, call, puts, calls, fees, premium, measure, shape):
    item, legs = claim(measure, shape), wings(put, call, puts=puts, calls=calls, premium=premium)
    found = condor.lp_with_wings(item, legs, fees_usd=fees)
    spots = np.concatenate([np.linspace(0.0, 8000.0, 801), np.geomspace(8000.0, 1e7, 50)])
    values = curve(item, legs, fees, spots)
    assert values.max() <= found.max_gain_usd + 1e-3
    assert values.min() >= -found.max_loss_usd - 1e-3
    at = np.array(found.break_evens)
    assert (np.diff(at) > 0.0).all()
    np.testing.assert_allclose(curve(item, legs, fees, at), 0.0, atol=1e-3)
    seen = np.flatnonzero(np.diff(np.sign(values[np.abs(values) > 1.0])))
    assert len(at) >= len(seen)


@pytest.mark.parametrize(
    "bad",
    [dict(put=0.0), dict(put=math.nan), dict(puts=math.nan), dict(puts=math.inf), dict(premium=math.nan)],
)
def test_unknown_wings_are_refused(bad):
    with pytest.raises(InvariantError, match="wings"):
        wings(**bad)


@pytest.mark.parametrize("fees", [math.nan, math.inf])
def test_unknown_fees_are_refused(fees):
    with pytest.raises(InvariantError, match="fees of a roll must be known"):
        condor.lp_with_wings(claim(), wings(), fees_usd=fees)


def test_credit_to_width_by_hand():
    """R15: 3,000 USD of fees on 30 units and a wing 500 below the range: 20 %."""
    assert float(condor.credit_to_width(3000.0, 500.0, 30.0)) == pytest.approx(0.20)
    for width, units in ((0.0, 30.0), (-1.0, 30.0), (500.0, 0.0), (math.nan, 30.0)):
        assert math.isnan(condor.credit_to_width(3000.0, width, units))


@pytest.mark.parametrize(
    ("credit", "is_put", "expected"),
    [
        (3000.0, True, 1000.0),  # widths 100 to 600: 1.00, 0.50, 0.33, 0.25, 0.20, 0.17
        (600.0, True, 1400.0),
        (3000.0, False, 2000.0),
        (100.0, True, math.nan),  # too little for the narrowest
        (1e6, True, math.nan),
        (-10.0, True, math.nan),
        (math.nan, True, math.nan),
    ],
)
def test_the_listed_wing_that_meets_the_band(credit, is_put, expected):
    listed = [900.0, 1000.0, 1100.0, 1200.0, 1300.0, 1400.0, 1500.0, 1600.0, 1800.0, 2000.0, 2100.0]
    found = condor.strike_for_credit(listed, inner_usd=1500.0, units=30.0, credit_usd=credit, is_put=is_put)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@lru_cache
def fitted(iv=None, years=WEEK) -> smile.Smile:
    strikes = np.linspace(1500.0, 2600.0, 12)
    vols = (
        np.full(12, iv) if iv else 0.7 - 0.25 * np.log(strikes / ENTRY) + 0.8 * np.log(strikes / ENTRY) ** 2
    )
    return smile.fit_smile(
        smile.merged(years=years, forward=ENTRY, strikes=strikes, bid_ivs=vols - 0.005, ask_ivs=vols + 0.005)
    )


@pytest.mark.parametrize("delta", [0.05, 0.15, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("is_put", [True, False])
def test_the_strike_of_a_delta_on_a_flat_smile_is_quantlibs(delta, is_put):
    calculator = ql.BlackDeltaCalculator(
        ql.Option.Put if is_put else ql.Option.Call, ql.DeltaVolQuote.Fwd, ENTRY, 1.0, 1.0,
        0.7 * math.sqrt(WEEK),
    )  # fmt: skip
    expected = calculator.strikeFromDelta(-delta if is_put else delta)
    assert condor.strike_at_delta(fitted(0.7), delta, is_put=is_put) == pytest.approx(expected, rel=1e-6)


@given(delta=st.floats(0.01, 0.9), is_put=st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_strike_has_its_delta_at_its_own_vol(delta, is_put):
    item = fitted()
    strike = condor.strike_at_delta(item, delta, is_put=is_put)
    found = options.delta(ENTRY, strike, WEEK, item.iv(strike), is_put=is_put)
    assert abs(float(found)) == pytest.approx(delta, abs=1e-9)


def test_the_strike_of_an_unknown_smile_is_unknown():
    nothing = smile.unknown_smile(WEEK, ENTRY, "no quotes")
    assert math.isnan(condor.strike_at_delta(nothing, 0.2, is_put=True))
    for bad in (0.0, 1.0, -0.2, math.nan):
        with pytest.raises(InvariantError, match=r"must lie in \(0, 1\)"):
            condor.strike_at_delta(fitted(), bad, is_put=True)


def row(is_put: bool, *, spread=0.5) -> OptionRow:
    strikes = np.arange(1600.0, 2450.0, 50.0)
    item = fitted()
    vols = item.iv(strikes)
    price = options.price(ENTRY, strikes, WEEK, vols, is_put=is_put)
    deltas = np.abs(options.delta(ENTRY, strikes, WEEK, vols, is_put=is_put))
    return OptionRow(strikes=strikes, bids_usd=price - spread, asks_usd=price + spread, deltas=deltas)


def test_the_chosen_condor_is_inside_both_bands():
    """R16: sold at 0.15 to 0.25 delta for 15 to 25 % of the width."""
    puts, calls = row(True), row(False)
    found = condor.choose_condor(puts, calls)
    assert found is not None
    assert found.long_put < found.short_put < ENTRY < found.short_call < found.long_call
    for side, strike in ((puts, found.short_put), (calls, found.short_call)):
        assert 0.15 <= side.deltas[side.strikes == strike][0] <= 0.25
    assert 0.15 <= found.credit_to_width <= 0.25
    grid = np.linspace(1000.0, 3000.0, 200_001)
    strikes = np.array([found.long_put, found.short_put, found.short_call, found.long_call])
    signs, puts_of = np.array([1, -1, -1, 1]), np.array([True, True, False, False])
    paid = np.maximum(np.where(puts_of, strikes - grid[:, None], grid[:, None] - strikes), 0.0) @ signs
    profit = paid + found.credit_usd
    assert profit.max() == pytest.approx(found.max_gain_usd)
    assert profit.min() == pytest.approx(-found.max_loss_usd)
    crossed = grid[:-1][np.diff(np.sign(profit)) != 0]
    np.testing.assert_allclose(crossed, found.break_evens, atol=0.02)


def test_no_condor_where_none_fits():
    puts, calls = row(True), row(False)
    assert condor.choose_condor(puts, calls, delta_band=(0.9999, 1.0)) is None
    assert condor.choose_condor(puts, calls, credit_band=(0.98, 0.99)) is None
    nothing = OptionRow(
        strikes=puts.strikes, bids_usd=puts.bids_usd * math.nan, asks_usd=puts.asks_usd, deltas=puts.deltas
    )
    assert condor.choose_condor(nothing, calls) is None
    no_asks = OptionRow(
        strikes=puts.strikes, bids_usd=puts.bids_usd, asks_usd=puts.asks_usd * math.nan, deltas=puts.deltas
    )
    assert condor.choose_condor(no_asks, calls) is None
    assert condor.choose_condor(row(True, spread=50.0), row(False, spread=50.0)) is None  # no bid over 0


def test_rows_out_of_order_are_refused():
    with pytest.raises(InvariantError, match="rise without duplicates"):
        OptionRow(strikes=np.array([2.0, 1.0]), bids_usd=np.ones(2), asks_usd=np.ones(2), deltas=np.ones(2))
    with pytest.raises(InvariantError, match="equal length"):
        OptionRow(strikes=np.ones(2), bids_usd=np.ones(1), asks_usd=np.ones(2), deltas=np.ones(2))


def test_a_condor_by_hand():
    item = IronCondor(long_put=1700, short_put=1800, short_call=2200, long_call=2250, credit_usd=20.0)
    assert item.width_usd == 100.0
    assert item.credit_to_width == 0.2
    assert (item.max_gain_usd, item.max_loss_usd) == (20.0, 80.0)
    assert item.break_evens == (1780.0, 2220.0)


@pytest.mark.parametrize(
    ("premium", "kind", "gain", "loss"),
    [(60.0, "long put spread", 140.0, 60.0), (-60.0, "bull put spread", 60.0, 140.0)],
)
def test_put_spreads_by_hand(premium, kind, gain, loss):
    item = PutSpread(high_strike=2000.0, low_strike=1800.0, premium_usd=premium)
    assert (item.kind, item.width_usd, item.break_even) == (kind, 200.0, 1940.0)
    assert (item.max_gain_usd, item.max_loss_usd) == (gain, loss)


@pytest.mark.parametrize(
    ("high", "low", "premium"),
    [(1800.0, 2000.0, 10.0), (2000.0, 2000.0, 10.0), (2000.0, 0.0, 10.0), (2000.0, 1800.0, 0.0),
     (2000.0, 1800.0, 250.0), (2000.0, 1800.0, math.nan), (math.inf, 1800.0, 10.0)],
)  # fmt: skip
def test_senseless_put_spreads_are_refused(high, low, premium):
    with pytest.raises(InvariantError, match="put spread"):
        PutSpread(high_strike=high, low_strike=low, premium_usd=premium)
