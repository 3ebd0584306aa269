"""R17: when a leg changes its layer, when it is rolled, and what the two ways cost."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import GROUP, NOW_S, board, classic, frame, held, option, quote, spend
from engine.held_legs import preset, review_legs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from bot.engine.choose import Slot
from bot.engine.group import read_group
from bot.engine.step import decide
from bot.engine.time_shift import compare_roll, eases
from bot.model.hedge import Layer, OptionType, Side
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.quant.options import price

POLICY = classic()
STEWARD = preset("steward")
PUTS = {layer: Slot(layer, OptionType.PUT) for layer in Layer}


@pytest.mark.parametrize(
    ("policy", "layer", "days", "aged"),
    [
        (POLICY, Layer.TAIL, 30.01, False),
        (POLICY, Layer.TAIL, 30.0, True),
        (POLICY, Layer.TAIL, 29.99, True),
        (POLICY, Layer.MID, 7.01, False),
        (POLICY, Layer.MID, 7.0, True),
        (POLICY, Layer.NEAR, 1.01, False),
        (POLICY, Layer.NEAR, 1.0, True),
        (STEWARD, Layer.TAIL, 29.0, False),  # to expiry
        (STEWARD, Layer.TAIL, 1.0, False),
        (STEWARD, Layer.TAIL, 0.51, False),
        (STEWARD, Layer.TAIL, 0.5, True),  # never inside the venue's cutoff
        (preset("fortress"), Layer.TAIL, 1.0, False),
        (classic(roll={"venue_cutoff": "3 d"}), Layer.NEAR, 3.0, True),
    ],
)
def test_r17_when_a_layer_lets_a_leg_go(policy, layer, days, aged):
    hedge = held(option(1_300, days), layer, 5.0)
    found, _ = review_legs(policy, Tier.CALM, hedge)
    assert (hedge.id in found.aged) is aged


@pytest.mark.parametrize(
    ("slope", "wide", "held_back", "expected"),
    [
        (0.11, False, False, (False, True)),
        (0.10, False, False, (False, False)),  # not over it
        (0.10, True, False, (False, True)),  # neither: remembered
        (0.0, True, False, (False, True)),  # not under it
        (-0.001, True, False, (True, False)),
        (-0.001, True, True, (False, True)),  # HOLD
        (-0.001, False, False, (False, False)),  # was never wide
        (math.nan, True, False, (False, True)),
        (math.nan, False, False, (False, False)),
    ],
)
def test_r17_easing_needs_both_levels(slope, wide, held_back, expected):
    assert eases(POLICY, slope, wide=wide, held_back=held_back) == expected


def _group():
    return read_group(POLICY, frame(quotes=()), GROUP)


def test_r17_costs_of_both_ways_by_hand():
    """Oracle: the flows written out, discounted at 5 % a year, over 30 days at unchanged spot and vol."""
    group = _group()
    old = held(option(1_700, 10), Layer.TAIL, 4.0, salvage=0.9)
    new = quote(option(1_300, 75), size=8.0)

    def value(strike, days):
        return float(price(group.spot_usd, strike, days / 365.0, 0.8, is_put=True))

    paid = 4.0 * (new.premium_usd + new.swap_usd) / 8.0 + new.gas_usd
    model, late, end = old.model_usd, 1.05 ** (-10 / 365.0), 1.05 ** (-30 / 365.0)
    roll_usd = model - old.liquidation_usd + paid - end * 4.0 * value(1_300, 45)
    hold_usd = model + late * paid - end * 4.0 * value(1_300, 55)
    ends = group.paths[group.worst][:, -1]  # in USD all of them are below the spot
    new_gain = 4.0 * np.mean(price(ends, 1_300, 65 / 365.0, 0.8, is_put=True) - value(1_300, 75))
    old_gain = 4.0 * np.mean(np.maximum(1_700 - ends, 0.0) - value(1_700, 10))
    found = compare_roll(POLICY, group, new, old)
    assert found.roll_cost == pytest.approx(roll_usd / new_gain, rel=1e-9)
    assert found.hold_cost == pytest.approx(hold_usd / (old_gain / 3.0 + new_gain * 2.0 / 3.0), rel=1e-9)
    assert found.roll is (found.roll_cost < found.hold_cost)


def test_r17_the_rate_is_where_both_ways_cost_the_same():
    """The IRR of rolling in place of holding makes the difference of the flows worth nothing."""
    group = _group()
    old = held(option(1_700, 10), Layer.TAIL, 4.0, salvage=0.9)
    new = quote(option(1_300, 75), size=4.0, gas_usd=0.0)
    found = compare_roll(POLICY, group, new, old)
    unit = float(price(group.spot_usd, 1_300, 45 / 365.0, 0.8, is_put=True))
    longer = float(price(group.spot_usd, 1_300, 55 / 365.0, 0.8, is_put=True))
    paid = new.premium_usd + new.swap_usd
    flows = [(0, 0.9 * old.model_usd - paid), (10, paid), (30, 4.0 * (unit - longer))]
    changes = np.count_nonzero(np.diff(np.sign([usd for _, usd in flows])))
    assert changes == 2
    assert math.isnan(found.rate.value)
    assert "change sign 2 times" in found.rate.because
    later = compare_roll(classic(roll={"compare_over": "10 d"}), group, new, old)
    left = 4.0 * float(price(group.spot_usd, 1_300, 65 / 365.0, 0.8, is_put=True))
    rate = brentq(
        lambda r: 0.9 * old.model_usd - paid + left * (1.0 + r) ** (-10 / 365.0), -0.9999, 1e6, xtol=1e-12
    )
    assert later.rate.value == pytest.approx(rate, rel=1e-6)


def test_r17_a_short_leg_is_bought_again_and_again():
    """30 days of 5-day legs are six purchases, whoever is rolled."""
    group = _group()
    old = held(option(1_960, 0.9), Layer.NEAR, 1.0, salvage=0.9)
    new = quote(option(1_960, 5), size=1.0)
    six = compare_roll(POLICY, group, new, old)
    one = compare_roll(classic(roll={"compare_over": "5 d"}), group, new, old)
    assert six.roll_cost > 5.0 * one.roll_cost


@pytest.mark.parametrize(
    "changes", [{"model_usd": math.nan}, {"iv": math.nan}, {"liquidation_usd": math.nan}]
)
def test_r17_what_cannot_be_told_is_not_rolled(changes):
    hedge = held(option(1_800, 25), Layer.TAIL, 20.0, salvage=0.99, **changes)
    found, _ = review_legs(POLICY, Tier.CALM, hedge)
    assert found.sales == []
    assert found.counted == {PUTS[Layer.TAIL]: 20.0}


@pytest.mark.parametrize("quotes", [(), board(valid_until_s=NOW_S - 1.0), board(iv=math.nan)])
def test_r17_nothing_is_rolled_into_stale_or_broken_quotes(quotes):
    hedge = held(option(1_800, 25), Layer.TAIL, 20.0, salvage=0.99)
    found, _ = review_legs(POLICY, Tier.CALM, hedge, quotes=quotes)
    assert found.sales == []
    assert "nothing to roll into" in found.findings()[0].because


def test_r17_the_rate_is_printed_where_there_is_one():
    policy = classic(roll={"compare_over": "10 d"})
    hedge = held(option(1_800, 25), Layer.TAIL, 20.0, salvage=0.99)
    found, _ = review_legs(policy, Tier.CALM, hedge)
    assert "a USD of gain to roll" in found.findings()[0].because
    assert "IRR" in found.findings()[0].because


def test_r17_expiring_leg_without_budget_raises_the_alarm():
    """R9 forbids the replacement: the leg stays to expiry, and an alarm names it."""
    near = held(option(1_960, 0.9), Layer.NEAR, 60.0)
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    poor = classic(budget={"session_share": "0 %"})
    _, decision = decide(poor, state, frame(held=(near,)))
    alarms = [item.because for item in decision.groups[0].findings if "ALARM" in item.because]
    assert alarms == [f"ALARM: NEAR leg {near.id} expires unreplaced"]
    assert not any(leg.side is Side.SELL for leg in decision.plan.legs)


@settings(deadline=None, max_examples=15)
@given(
    st.floats(7.5, 29.9),
    st.floats(1_200.0, 2_200.0),
    st.floats(1.0, 200.0),
    st.floats(0.5, 1.0),
    st.sampled_from([Tier.CALM, Tier.GUARDED, Tier.SEVERE]),
    st.floats(0.0, 7_500.0),
)
def test_r17_a_replaced_leg_is_sold_only_after_its_replacement(days, strike, size, salvage, tier, spent):
    aged = held(option(strike, days), Layer.TAIL, size, salvage=salvage)
    state = EngineState(groups={GROUP: GroupState(tier=tier, last_needed_s=NOW_S)})
    at = frame(held=(aged,), spends=(spend(NOW_S - HOUR_S, spent),))
    found, _ = review_legs(POLICY, tier, aged)
    _, decision = decide(POLICY, state, at)
    legs = {leg.key: leg for leg in decision.plan.legs}
    rolled = {sale.hedge.id for sale in found.sales if sale.replaced is not None}
    order = list(legs)
    for leg in legs.values():
        if leg.side is Side.SELL and leg.position_id in rolled:
            assert leg.only_after in legs or _served_without(found, POLICY)
            if leg.only_after:
                assert legs[leg.only_after].side is Side.BUY
                assert order.index(leg.only_after) < order.index(leg.key)


def _served_without(found, policy):
    """A roll needs no purchase where other legs serve its slot already."""
    return all(found.counted.get(sale.replaced, 0.0) > 0.0 for sale in found.sales)


def test_r17_expired_is_settled_and_not_shifted():
    hedge = replace(held(option(1_700, 5), Layer.TAIL, 5.0), settleable=True)
    at = frame(now_s=NOW_S + 6 * DAY_S, held=(hedge,), quotes=board(now_s=NOW_S + 6 * DAY_S))
    found, _ = review_legs(POLICY, Tier.SEVERE, at=at)
    assert found.settles == [hedge]
    assert found.counted == {}
