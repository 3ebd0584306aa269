"""The fitted hedge on listed strikes: optimal, within every bound, and never built on what is unknown."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.quant import lp, options
from bot.quant.replication import LossClaim, spanning_strip
from bot.quant.replication_fit import FitRules, fit_replication, hedge_menu

ENTRY, MONTH = 2000.0, 30 / 365
V3 = LpShape(liquidity=lp.liquidity_for_value(1e6, ENTRY, 1500.0, 2500.0), lower_usd=1500.0, upper_usd=2500.0)
CLAIM = LossClaim(shapes=(V3,), entry_usd=ENTRY, measure="usd")
HOLD = LossClaim(shapes=(V3,), entry_usd=ENTRY, measure="hold")
SPOTS = np.arange(1000.0, 3001.0, 25.0)
LADDER = np.arange(1400.0, 2601.0, 100.0)


def menu(strikes=LADDER, *, liquidity=1000.0, markup=1.05, **more):
    """Puts at Black's price and a markup."""
    cost = options.price(ENTRY, strikes, MONTH, 0.7, is_put=True) * markup
    return hedge_menu(strikes=strikes, is_puts=True, unit_costs_usd=cost, liquidity=liquidity, **more)


def test_listed_strikes_do_as_well_as_the_closed_form():
    found = fit_replication(CLAIM, menu(), SPOTS, rules=FitRules(worst_weight=1.0))
    strip = spanning_strip(CLAIM, LADDER)
    worst = np.abs(CLAIM.payoff(found.error.spots) - strip.payoff(found.error.spots)).max() / CLAIM.value_usd
    assert found.optimal
    assert found.error.max_share <= worst
    assert found.error.max_share < 0.002
    assert found.sizes.sum() == pytest.approx(float(lp.delta(V3, 1500.0)), rel=0.01)
    assert found.cost_usd == pytest.approx(float(found.sizes @ menu().unit_costs_usd))
    assert not found.unusable


def test_the_bound_holds_between_the_spots():
    found = fit_replication(CLAIM, menu(LADDER[::3]), SPOTS[::8])
    fine = np.linspace(SPOTS[0], SPOTS[-1], 5001)
    paid = np.maximum(LADDER[::3] - fine[:, np.newaxis], 0.0) @ found.sizes
    miss = CLAIM.payoff(fine) - paid
    assert np.abs(miss).max() <= found.error.bound_share * CLAIM.value_usd
    assert -miss.min() <= found.over_hedge_usd + 1e-6
    assert found.error.mean_share <= found.error.max_share <= found.error.bound_share


def test_living_legs_are_worth_their_model_value_and_the_bound_holds():
    item = menu(LADDER[::2], years_left=MONTH, ivs=0.7)
    found = fit_replication(CLAIM, item, SPOTS[::8])
    fine = np.linspace(SPOTS[0], SPOTS[-1], 3001)
    worth = options.price(fine[:, np.newaxis], LADDER[::2], MONTH, 0.7, is_put=True) @ found.sizes
    miss = np.abs(CLAIM.payoff(fine) - worth)
    assert miss.max() <= found.error.bound_share * CLAIM.value_usd
    np.testing.assert_allclose(found.gain_usd, np.interp(found.error.spots, fine, worth), rtol=1e-3, atol=2.0)


def test_a_mark_turns_value_into_gain():
    item = menu(np.array([2000.0]), years_left=MONTH, ivs=0.7)
    marks = options.price(ENTRY, item.strikes, MONTH, 0.7, is_put=True)
    found = fit_replication(CLAIM, replace(item, marks_usd=marks), SPOTS)
    here = found.error.spots == ENTRY
    assert found.sizes[0] > 0.0
    assert found.gain_usd[here][0] == pytest.approx(0.0, abs=1e-6)


def test_it_is_as_good_as_least_squares_by_its_own_measure():
    """An independent solver (NNLS, another norm) on the same legs never has a smaller mean error."""
    found = fit_replication(HOLD, hedge_menu(
        strikes=np.tile(LADDER, 2), is_puts=np.repeat([True, False], LADDER.size), unit_costs_usd=1.0,
        liquidity=1e4,
    ), SPOTS)  # fmt: skip
    at = found.error.spots
    legs = np.hstack(
        [np.maximum(LADDER - at[:, np.newaxis], 0.0), np.maximum(at[:, np.newaxis] - LADDER, 0.0)]
    )
    other, _ = nnls(legs, HOLD.payoff(at))
    width = np.gradient(at)

    def mean(sizes: np.ndarray) -> float:
        return float(np.abs(HOLD.payoff(at) - legs @ sizes) @ width)

    assert mean(found.sizes) <= mean(other) * (1 + 1e-6)


@pytest.mark.parametrize("liquidity", [1.0, 20.0, 60.0])
def test_no_leg_is_larger_than_its_liquidity(liquidity):
    found = fit_replication(CLAIM, menu(liquidity=liquidity), SPOTS)
    assert found.sizes.max() <= liquidity * (1 + 1e-9)
    assert found.at_liquidity.any()
    np.testing.assert_allclose(found.sizes[found.at_liquidity], liquidity)


def test_sizes_are_lots_and_at_least_the_smallest():
    found = fit_replication(CLAIM, menu(LADDER[::2], lots=5.0, min_sizes=40.0), SPOTS)
    assert np.allclose(found.sizes % 5.0, 0.0)
    assert (found.sizes[found.sizes > 0.0] >= 40.0).all()
    assert found.sizes.max() > 0.0
    free = fit_replication(CLAIM, menu(LADDER[::2]), SPOTS)
    assert found.objective_usd >= free.objective_usd - 1e-6
    whole = fit_replication(CLAIM, menu(LADDER[::2], min_sizes=40.0), SPOTS)
    assert ((whole.sizes == 0.0) | (whole.sizes >= 40.0 - 1e-9)).all()


def test_a_lot_beyond_liquidity_is_never_bought():
    found = fit_replication(CLAIM, menu(lots=10.0, min_sizes=15.0, liquidity=17.0), SPOTS)
    assert found.sizes.max() == 0.0  # the least is 20, two lots, and there are 17


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_the_gain_stays_under_the_over_hedge_bound(tolerance):
    rules = FitRules(over_hedge_tolerance=tolerance, over_hedge_allowance_usd=50.0)
    found = fit_replication(CLAIM, menu(LADDER[1::2]), SPOTS, rules=rules)
    loss = np.maximum(found.loss_usd, 0.0) * (1 + tolerance) + 50.0
    assert (found.gain_usd <= loss + 1e-6 * CLAIM.value_usd).all()
    assert found.sizes.max() > 0.0
    free = fit_replication(CLAIM, menu(LADDER[1::2]), SPOTS)
    assert free.objective_usd <= found.objective_usd + 1e-6


def test_cost_buys_less():
    spent = [
        fit_replication(CLAIM, menu(), SPOTS, rules=FitRules(cost_weight=weight)).cost_usd
        for weight in (0.0, 0.5, 2.0, 10.0)
    ]
    assert spent[0] > spent[-1] == 0.0
    assert spent == sorted(spent, reverse=True)


def test_of_two_equal_legs_the_cheaper_is_bought():
    item = hedge_menu(
        strikes=[2000.0, 2000.0, 1500.0], is_puts=True, unit_costs_usd=[150.0, 149.0, 10.0], liquidity=1e4
    )
    found = fit_replication(CLAIM, item, SPOTS)
    assert found.sizes[0] == 0.0 < found.sizes[1]


@settings(max_examples=15, deadline=None)
@given(
    few=st.sets(st.integers(40, 120), min_size=1, max_size=6), more=st.sets(st.integers(40, 120), max_size=4),
    liquidity=st.floats(1.0, 1000.0), worst=st.sampled_from([0.0, 1.0]), cost=st.sampled_from([0.0, 0.3]),
)  # fmt: skip
def test_further_strikes_never_raise_the_optimum(few, more, liquidity, worst, cost):
    """On strikes that stand in the grid, so that both problems judge the same spots."""
    rules = FitRules(worst_weight=worst, cost_weight=cost)
    sums = []
    for places in (few, few | more):
        item = menu(np.array(sorted(places)) * 25.0, liquidity=liquidity)
        sums.append(fit_replication(CLAIM, item, SPOTS, rules=rules).objective_usd)
    assert sums[1] <= sums[0] + 1e-6 * CLAIM.value_usd


def test_the_same_menu_gives_the_same_bytes():
    first, second = (fit_replication(CLAIM, menu(lots=1.0), SPOTS[::4]) for _ in range(2))
    assert first.sizes.tobytes() == second.sizes.tobytes()


BAD_LEGS = [
    ("strikes", math.nan, "strike nan"),
    ("strikes", 0.0, "strike 0"),
    ("strikes", -5.0, "strike -5"),
    ("unit_costs_usd", math.nan, "cost nan"),
    ("unit_costs_usd", -1.0, "cost -1"),
    ("liquidity", 0.0, "liquidity 0"),
    ("liquidity", math.nan, "liquidity nan"),
    ("liquidity", math.inf, "liquidity inf"),
    ("lots", 5000.0, "lot 5000"),
    ("lots", math.nan, "lot nan"),
    ("min_sizes", 5000.0, "least size 5000"),
    ("ivs", 0.0, "vol 0"),
    ("ivs", 50.0, "vol 50"),
    ("ivs", math.nan, "vol nan"),
    ("years_left", math.nan, "nan years left"),
    ("marks_usd", math.nan, "mark nan"),
]


@pytest.mark.parametrize(("field", "bad", "why"), BAD_LEGS)
def test_a_bad_leg_is_never_bought_and_named(field, bad, why):
    item = menu(years_left=MONTH, ivs=0.7)
    row = getattr(item, field).copy()
    row[3] = bad
    found = fit_replication(CLAIM, replace(item, **{field: row}), SPOTS)
    assert found.sizes[3] == 0.0
    assert [(leg, why in text) for leg, text in found.unusable] == [(3, True)]
    assert np.isfinite(found.sizes).all()
    assert found.sizes.sum() > 0.0


def test_an_empty_menu_leaves_the_loss_bare():
    for item in (menu(np.empty(0)), menu(liquidity=0.0)):
        found = fit_replication(CLAIM, item, SPOTS)
        assert found.cost_usd == 0.0
        assert found.sizes.sum() == 0.0
        np.testing.assert_array_equal(found.error.residual_usd, found.loss_usd)
        assert found.optimal


def test_weights_say_where_the_error_counts():
    low = fit_replication(CLAIM, menu(LADDER[::4]), SPOTS, weights=np.where(SPOTS < 1500.0, 1.0, 0.0))
    high = fit_replication(CLAIM, menu(LADDER[::4]), SPOTS, weights=np.where(SPOTS > 1600.0, 1.0, 0.0))
    below = low.error.spots < 1475.0
    assert np.abs(low.error.residual_usd[below]).max() < np.abs(high.error.residual_usd[below]).max()


@pytest.mark.parametrize("weights", [0.0, -1.0, math.nan, math.inf])
def test_senseless_weights_are_refused(weights):
    with pytest.raises(InvariantError, match="weights must be finite, >= 0"):
        fit_replication(CLAIM, menu(), SPOTS, weights=weights)


@pytest.mark.parametrize(
    "field", ["cost_weight", "worst_weight", "over_hedge_tolerance", "over_hedge_allowance_usd"]
)
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_senseless_rules_are_refused(field, bad):
    with pytest.raises(InvariantError, match=f"{field} must be finite and >= 0"):
        FitRules(**{field: bad})


def test_senseless_rows_and_spots_are_refused():
    with pytest.raises(InvariantError, match="rows must be equally long"):
        replace(menu(), ivs=np.ones(2))
    with pytest.raises(InvariantError, match="spots of a replication must be two or more"):
        fit_replication(CLAIM, menu(), [2000.0, 1000.0])


@pytest.mark.parametrize("lot", [0.0001, 0.01, 1.0, 20.0])
def test_many_strikes_in_lots_are_as_good_as_in_any_size(lot):
    """A search over lots alone finds nothing in 100 strikes; rounding what is best in any size does."""
    strikes = np.arange(600.0, 3001.0, 25.0)
    rules = FitRules(over_hedge_tolerance=0.05, search_nodes=10)
    free = fit_replication(CLAIM, menu(strikes), SPOTS, rules=rules)
    whole = fit_replication(CLAIM, menu(strikes, lots=lot, min_sizes=lot), SPOTS, rules=rules)
    np.testing.assert_allclose(whole.sizes / lot, np.round(whole.sizes / lot), atol=1e-6)
    assert whole.sizes.sum() > 0.0
    assert whole.objective_usd - free.objective_usd <= max(1e-4, 1e-5 * lot) * CLAIM.value_usd
    assert (whole.gain_usd <= 1.05 * whole.loss_usd + 1e-6 * CLAIM.value_usd).all()


@pytest.mark.parametrize("least", [30.0, 70.0])
def test_rounding_alone_keeps_to_least_sizes_and_liquidity(least):
    rules = FitRules(over_hedge_tolerance=0.05, search_nodes=0)
    found = fit_replication(CLAIM, menu(lots=7.0, min_sizes=least, liquidity=80.0), SPOTS, rules=rules)
    bought = found.sizes[found.sizes > 0.0]
    assert bought.size
    assert (bought >= least).all()
    assert (bought <= 80.0).all()
    np.testing.assert_allclose(bought / 7.0, np.round(bought / 7.0))
