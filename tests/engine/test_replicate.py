"""What `alvh plan` says of static replication: the whole loss against what is listed, by expiry."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import (
    FEED,
    GROUP,
    NOW_S,
    SPOT,
    board,
    calm_columns,
    classic,
    exposure,
    flat,
    frame,
    lp_shape,
    option,
    quote,
    set_last,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.group import read_group
from bot.engine.replicate import replicate
from bot.model.exposure import ExposureKind
from bot.model.hedge import OptionType
from bot.quant import lp

CLASSIC = classic()
HOLD = classic(sizing={"loss_measure": "hold"})
ROUNDING = 1e-9
DENSE = np.arange(0.3, 2.51, 0.02) * SPOT


def dense(days=30.0, kinds=(OptionType.PUT,), **changes):
    return tuple(quote(option(float(at), days, kind=kind), **changes) for at in DENSE for kind in kinds)


def v3(value_usd=1e6, lower=0.75, upper=1.3, **changes):
    low, high = lower * SPOT, upper * SPOT
    shape = lp_shape(lp.liquidity_for_value(value_usd, SPOT, low, high), low, high)
    return exposure(value_usd, id="v3:1", kind=ExposureKind.UNISWAP_V3, shape=shape, **changes)


def priced(last=SPOT):
    """Columns whose newest price is exactly this."""
    columns = calm_columns()
    return columns | {FEED: set_last(columns[FEED], last, hours=1)}


def found(policy=CLASSIC, **changes):
    at = frame(**({"columns": priced()} | changes))
    return replicate(policy, at, read_group(policy, at, GROUP))


def only(policy=CLASSIC, **changes):
    (expiry,) = found(policy, **changes).expiries
    return expiry


def loss_of(exposures, spots, measure="usd", kept=None):
    """The loss from today by the value curves alone, floored at 0."""
    total = np.zeros(spots.shape)
    for item in exposures:
        total += lp.value(item.shape, SPOT) - lp.value(item.shape, spots)
        if measure == "hold":
            units = lp.amounts(item.shape, SPOT)[0] if kept is None else kept
            total += units * (spots - SPOT)
    return np.maximum(total, 0.0)


def paid(expiry, spots):
    total = np.zeros(spots.shape)
    for leg in expiry.legs:
        sign = -1.0 if leg.instrument.option_type is OptionType.PUT else 1.0
        total += leg.contracts * np.maximum(sign * (spots - leg.instrument.strike_usd), 0.0)
    return total


POSITIONS = {
    "v2": (exposure(),),
    "v3 in range": (v3(),),
    "v3 below its range": (v3(lower=1.1, upper=1.5),),
    "v3 above its range": (v3(lower=0.5, upper=0.9),),
    "a v2, two v3 and an empty one": (
        exposure(2e5),
        v3(5e5),
        replace(v3(3e5, lower=0.9, upper=1.1), id="v3:2"),
        replace(v3(), id="v3:3", shape=lp_shape(0.0, 1500.0, 2500.0), value_usd=0.0),
    ),
}


@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("measure", ["usd", "hold"])
def test_a_dense_ladder_replicates_to_under_1_percent_of_the_value(name, measure):
    positions = POSITIONS[name]
    policy, kinds = (CLASSIC, (OptionType.PUT,)) if measure == "usd" else (HOLD, tuple(OptionType))
    quotes = dense(kinds=kinds, lot=0.0001, min_size=0.0001)
    item = only(policy, exposures=positions, quotes=quotes)
    value = sum(each.value_usd for each in positions)
    assert item.worst_bound < 0.01
    assert item.mean_error <= item.worst_error <= item.worst_bound
    spots = np.linspace(item.low_usd, item.high_usd, 1_010)  # ten times as fine as it looked
    miss = np.abs(loss_of(positions, spots, measure) - paid(item, spots))
    assert miss.max() <= item.worst_bound * value + ROUNDING * value


@pytest.mark.parametrize("policy", [CLASSIC, HOLD], ids=["usd", "hold"])
@pytest.mark.parametrize("name", POSITIONS)
def test_the_bound_holds_on_few_strikes_and_the_payoff_stays_within_r10(name, policy):
    positions, measure = POSITIONS[name], policy.sizing.loss_measure
    for item in found(policy, exposures=positions, quotes=board()).expiries:
        value = sum(each.value_usd for each in positions)
        spots = np.linspace(item.low_usd, item.high_usd, 1_010)
        miss = np.abs(loss_of(positions, spots, measure) - paid(item, spots))
        assert miss.max() <= item.worst_bound * value + ROUNDING * value
        grid = SPOT * np.arange(0.2, 2.01, 0.05)
        loss = loss_of(positions, grid, measure)
        assert (paid(item, grid) <= loss * 1.05 + 1e-6 * value).all()
        wide = np.linspace(0.2 * SPOT, 2.0 * SPOT, 2_001)
        over = (paid(item, wide) - loss_of(positions, wide, measure)).max()
        assert over <= item.over_hedge_usd * (1.0 + 1e-9) + 1e-6


def test_a_position_over_its_range_is_a_put_spread_by_hand():
    """All is USD already: nothing is lost down to the range, then at most its width."""
    positions = POSITIONS["v3 above its range"]
    item = only(exposures=positions, quotes=dense())
    top = 0.9 * SPOT
    assert all(leg.instrument.strike_usd <= top * (1.0 + 1e-9) for leg in item.legs)
    held = sum(leg.contracts for leg in item.legs)
    assert 0.0 < held <= float(lp.delta(positions[0].shape, item.low_usd)) * 1.05


def test_costs_are_all_in_and_of_the_value():
    item = only(quotes=dense())
    assert item.cost_usd == pytest.approx(
        sum(
            leg.contracts * each.unit_cost_usd + each.gas_usd
            for leg in item.legs
            for each in dense()
            if each.instrument == leg.instrument
        )
    )
    assert item.cost_share == pytest.approx(item.cost_usd / 1e6)
    assert item.mean_loss > item.mean_error


def test_the_range_is_where_the_paths_of_r8_end():
    """A short history: a vol of 60 % as Student-t(4), to the expiry, and today's price inside."""
    short, long = (only(quotes=dense(days=days)) for days in (4.0, 64.0))
    assert short.low_usd < SPOT < short.high_usd
    # Student-t scales with the root of time: 16 times as long is 4 times as wide.
    for edge in ("low_usd", "high_usd"):
        near, far = (math.log(getattr(item, edge) / SPOT) for item in (short, long))
        assert far == pytest.approx(4.0 * near, rel=0.1)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_quotes_in_any_order_give_the_same(seed):
    quotes = list(board())
    random.Random(seed).shuffle(quotes)
    assert found(HOLD, quotes=tuple(quotes)) == found(HOLD, quotes=board())


@settings(max_examples=15, deadline=None)
@given(
    value=st.floats(1.0, 1e8), lower=st.floats(0.2, 1.5), width=st.floats(1.01, 4.0),
    liquidity=st.floats(0.0, 1e4), lot=st.sampled_from([0.01, 0.5, 10.0]),
)  # fmt: skip
def test_no_hedge_costs_less_than_nothing_or_is_worse_than_none(value, lower, width, liquidity, lot):
    quotes = board(liquidity=liquidity, lot=lot, min_size=lot)
    for item in found(exposures=(v3(value, lower, lower * width),), quotes=quotes).expiries:
        assert item.cost_usd >= 0.0
        assert 0.0 <= item.mean_error <= item.mean_loss * 1.02 + 1e-3
        for leg in item.legs:
            assert lot <= leg.contracts <= liquidity * (1.0 + 1e-9)
            assert leg.contracts / lot == pytest.approx(round(leg.contracts / lot), abs=1e-6)


def test_what_more_liquidity_would_enlarge_is_named():
    scarce = only(quotes=dense(liquidity=1.0))
    assert scarce.legs
    assert all(leg.at_liquidity and leg.contracts == 1.0 for leg in scarce.legs)
    assert not any(leg.at_liquidity for leg in only(quotes=dense()).legs)


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"premium_usd": -5.0}, "premium"),
        ({"premium_usd": NAN}, "premium"),
        ({"iv": NAN}, "iv"),
        ({"iv": 50.0}, "implied vol is 5000%"),
        ({"iv": 0.0}, "iv"),
        ({"liquidity": 0.0}, "liquidity"),
        ({"bid_usd": 1e9}, "crossed"),
        ({"valid_until_s": NOW_S - 5.0}, "expired 5 s ago"),
        ({"delta": 0.5}, "delta"),
    ],
)
def test_a_quote_that_no_decision_would_trade_on_is_on_no_menu(changes, words):
    good = option(1_800.0, 30.0)
    bad = quote(option(1_700.0, 30.0))
    item = only(quotes=(quote(good), replace(bad, **changes)))
    assert {leg.instrument for leg in item.legs} == {good}
    assert (item.usable, item.unusable) == (1, 1)
    assert words in item.unusable_because
    alone = only(quotes=(replace(bad, **changes),))
    assert alone.legs == ()
    assert alone.because.startswith("no usable quote")
    assert words in alone.because
    assert alone.cost_usd == 0.0
    assert alone.mean_error == alone.mean_loss


def test_calls_count_only_where_losses_are_measured_against_holding():
    calls = dense(kinds=(OptionType.CALL,))
    assert "no put on ETH is quoted" in found(quotes=calls).because
    legs = only(HOLD, quotes=dense(kinds=tuple(OptionType))).legs
    order = [(leg.instrument.option_type is OptionType.CALL, leg.instrument.strike_usd) for leg in legs]
    assert order == sorted(order)
    assert {leg.instrument.option_type for leg in legs} == set(OptionType)


def test_a_known_deposit_is_what_holding_means():
    """Deposited at half the price: the position held more of the token, and lost much of its rise."""
    kept = float(lp.amounts(exposure().shape, 0.5 * SPOT)[0])
    position = exposure(held_units=kept, held_stable=0.0)
    item = only(HOLD, exposures=(position,), quotes=dense(kinds=tuple(OptionType)))
    assert {leg.instrument.option_type for leg in item.legs} == {OptionType.CALL}
    spots = np.linspace(item.low_usd, item.high_usd, 1_010)
    loss = loss_of((position,), spots, "hold", kept)
    assert np.abs(loss - paid(item, spots)).max() <= item.worst_bound * 1e6
    assert item.worst_bound < 0.01


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exposures": (exposure(shape=lp_shape(0.0), value_usd=0.0),)}, "worth nothing"),
        ({"columns": {FEED: flat(NAN)}, "exposures": (exposure(spot_usd=NAN),)}, "price of ETH is unknown"),
        ({"quotes": ()}, "no put on ETH is quoted"),
        ({"quotes": (quote(option(1_800.0, 30.0, now_s=NOW_S - 40 * 86_400.0)),)}, "is quoted"),
    ],
)
def test_why_there_is_nothing_to_replicate(changes, words):
    nothing = found(**changes)
    assert nothing.expiries == ()
    assert words in nothing.because


def test_options_of_another_underlying_replicate_nothing_strike_by_strike():
    at = frame(columns=priced())
    group = read_group(CLASSIC, at, GROUP)
    other = replicate(CLASSIC, at, replace(group, name="ARB/USDC", underlying="ARB"))
    assert other.expiries == ()
    assert other.because.startswith("options on ETH stand in for ARB")
    basis = replicate(CLASSIC, at, replace(group, unhedged="basis risk: R^2 0.2"))
    assert (basis.expiries, basis.because) == ((), "basis risk: R^2 0.2")


def test_no_leg_costs_less_than_its_gas():
    cheap, dear = (only(quotes=dense(gas_usd=gas)) for gas in (0.0, 400.0))
    assert all(leg.cost_usd >= 2.0 * 400.0 - 1e-6 for leg in dear.legs)
    assert 0 < len(dear.legs) < len(cheap.legs)
    assert dear.worst_bound < 0.01


def test_a_multiplier_and_a_stable_under_par_change_the_contracts_and_not_the_fit():
    whole = only(quotes=dense())
    small = tuple(
        replace(
            item,
            instrument=replace(item.instrument, multiplier=0.1),
            premium_usd=0.1 * item.premium_usd,
            swap_usd=0.1 * item.swap_usd,
            fee_usd=0.1 * item.fee_usd,
            model_usd=0.1 * item.model_usd,
            delta=0.1 * item.delta,
            lot=0.1,
            min_size=0.1,
        )
        for item in dense()
    )
    item = only(quotes=small)
    assert item.worst_error == pytest.approx(whole.worst_error, abs=1e-4)
    assert sum(leg.contracts for leg in item.legs) == pytest.approx(
        10.0 * sum(leg.contracts for leg in whole.legs), rel=1e-3
    )
    assert item.cost_usd == pytest.approx(whole.cost_usd, rel=1e-2)
