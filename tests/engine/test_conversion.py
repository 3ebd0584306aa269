"""R27: options in two parts, priced beside the listed ones, bought where they are cheaper."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import GROUP, NOW_S, SPOT, board, classic, frame, option, quote
from engine.test_perpetual import STEADY, WIDE, at, finding, perp
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.choose import refuse_quote
from bot.engine.conversion import conversions
from bot.engine.group import read_group
from bot.engine.perpetual import stress_price
from bot.model.hedge import ExerciseStyle, Layer, OptionType, Side, StrikeMode
from bot.model.tier import Tier

POLICY = classic(near={"trigger": "tier"}, budget=WIDE)
HOLD = classic(near={"trigger": "tier"}, budget=WIDE, sizing={"loss_measure": "hold"})
CALL = quote(option(1_800.0, 30.0, kind=OptionType.CALL), spread=0.01, fee_usd=0.0, swap_usd=0.0)
PUT = quote(option(1_800.0, 30.0), spread=0.5)  # dear


def offered(*quotes, policy=POLICY, perps=None, **changes):
    seen = frame(STEADY, quotes=quotes, perpetual_quotes=(perp(),) if perps is None else perps, **changes)
    return conversions(policy, seen, read_group(policy, seen, GROUP), tuple(Layer))


def test_r27_a_put_of_a_call_and_a_short():
    (pair,) = offered(CALL, PUT)
    assert pair.instrument.option_type is OptionType.PUT
    assert (pair.instrument.venue, pair.instrument.id) == ("paper+perp-v2", f"{CALL.instrument.id}+vETH")
    assert pair.conversion is not None
    assert pair.conversion.option == CALL.instrument
    assert pair.conversion.perpetual_size == -1.0
    assert pair.delta == pytest.approx(CALL.delta - 1.0)
    seen = frame(STEADY, quotes=(CALL, PUT))
    group = read_group(POLICY, seen, GROUP)
    stress_usd = stress_price(POLICY, group, SPOT)
    margin_usd = stress_usd * 1.0625 - SPOT
    assert pair.conversion.margin_usd == pytest.approx(margin_usd)
    years = 30.0 / 365.0
    by_hand = CALL.premium_usd + 10.0 * (1_800.0 - SPOT + 2 * 0.001 * SPOT + years * 0.05 * margin_usd)
    assert pair.premium_usd == pytest.approx(by_hand)
    assert pair.gas_usd == CALL.gas_usd + 2.0  # in and out
    assert pair.model_usd == pytest.approx(PUT.model_usd)


def test_r27_the_two_parts_pay_what_the_option_pays():
    (pair,) = offered(CALL, PUT)
    assert pair.conversion is not None
    ends = np.linspace(1.0, 6_000.0, 50)
    call = np.maximum(ends - 1_800.0, 0.0)
    perpetual = pair.conversion.perpetual_size * (ends - SPOT)
    put = np.maximum(1_800.0 - ends, 0.0)
    np.testing.assert_allclose(call + perpetual, put + (SPOT - 1_800.0), atol=1e-9)


def test_r27_a_call_of_a_put_and_a_long_under_hold():
    cheap_put = quote(option(2_250.0, 30.0), spread=0.01, fee_usd=0.0, swap_usd=0.0)
    dear_call = quote(option(2_250.0, 30.0, kind=OptionType.CALL), spread=0.5)
    assert not offered(cheap_put, dear_call)  # in USD an LP wants no calls
    found = offered(cheap_put, dear_call, policy=HOLD)
    (pair,) = [item for item in found if item.instrument.option_type is OptionType.CALL]
    assert pair.conversion is not None
    assert pair.conversion.perpetual_size == 1.0
    assert pair.delta == pytest.approx(cheap_put.delta + 1.0)
    assert pair.premium_usd > cheap_put.premium_usd + 10.0 * (SPOT - 2_250.0)


def test_r27_a_pair_of_small_contracts_is_the_same_option():
    """A quote's delta is per contract, and so is the pair's; a layer's band is of one unit."""

    def tenth(item):
        named = ("premium_usd", "fee_usd", "swap_usd", "model_usd", "delta")
        small = {name: 0.1 * getattr(item, name) for name in named}
        return replace(item, instrument=replace(item.instrument, multiplier=0.1), **small)

    (whole,), (small,) = offered(CALL, PUT), offered(tenth(CALL), tenth(PUT))
    assert small.delta == pytest.approx(0.1 * whole.delta)
    assert small.unit_cost_usd == pytest.approx(0.1 * whole.unit_cost_usd)
    assert refuse_quote(POLICY, read_group(POLICY, frame(STEADY), GROUP), small) == ""


def test_r27_paid_funding_counts_and_received_does_not():
    (paid,) = offered(CALL, PUT, perps=(perp(funding_apr=-0.2),))
    (even,) = offered(CALL, PUT, perps=(perp(funding_apr=0.0),))
    (received,) = offered(CALL, PUT, perps=(perp(funding_apr=0.5),))
    assert paid.premium_usd - even.premium_usd == pytest.approx(10.0 * SPOT * 0.2 * 30.0 / 365.0)
    assert received.premium_usd == even.premium_usd


def test_r27_only_where_it_is_cheaper_than_what_is_listed():
    cheap = quote(option(1_800.0, 30.0), spread=0.0)
    assert not offered(CALL, cheap)
    assert offered(CALL)  # no put of these terms is listed at all
    assert not offered(CALL, PUT, perps=())
    assert not offered(CALL, PUT, policy=classic(perpetual={"conversions": False}))


@pytest.mark.parametrize(
    "bad",
    [
        replace(CALL, premium_usd=math.nan),
        replace(CALL, iv=0.0),
        replace(CALL, iv=51.0),
        replace(CALL, liquidity=0.0),
        replace(CALL, valid_until_s=NOW_S - 1.0),
        replace(CALL, premium_usd=1.0),  # far under its value: the pair would cost less than nothing
        replace(CALL, instrument=replace(CALL.instrument, expiry_s=int(NOW_S) - 60)),
    ],
)
def test_r27_a_bad_quote_makes_no_pair(bad):
    assert not offered(bad, PUT)


def dear_puts():
    cheap, dear = board(days=(6.0, 30.0, 75.0), spread=0.005), board(days=(6.0, 30.0, 75.0), spread=1.0)
    calls = [item for item in cheap if item.instrument.option_type is OptionType.CALL]
    return (*calls, *(item for item in dear if item.instrument.option_type is OptionType.PUT))


def test_r27_the_planner_takes_the_cheaper_and_the_leg_says_what_it_is_made_of():
    decision = at(policy=POLICY, quotes=dear_puts())
    legs = [leg for leg in decision.plan.legs if leg.side is Side.BUY]
    assert legs
    assert all(leg.conversion is not None for leg in legs)
    assert {leg.layer for leg in legs} >= {Layer.NEAR, Layer.TAIL}
    assert "cheaper in two parts" in finding(decision).because
    plain = at(policy=POLICY, quotes=board(days=(6.0, 30.0, 75.0), spread=0.0))
    assert all(leg.conversion is None for leg in plain.plan.legs)
    assert "no option is cheaper in two parts" in finding(plain).because


@settings(max_examples=10, deadline=None)
@given(
    notional=st.floats(0.01, 100.0),
    margin=st.floats(0.01, 10.0),
    liquidity=st.floats(1.0, 500.0),
    tier=st.sampled_from(list(Tier)),
)
def test_r9_laws_of_pairs_within_the_limits_of_perpetuals(notional, margin, liquidity, tier):
    limits = {"max_notional": f"{notional:.4f} %", "max_margin": f"{margin:.4f} %"}
    policy = classic(near={"trigger": "tier"}, budget=WIDE, perpetual=limits)
    decision = at(tier, policy=policy, quotes=dear_puts(), perps=(perp(liquidity=liquidity),))
    pairs = [leg for leg in decision.plan.legs if leg.conversion is not None]
    units = sum(leg.size * abs(leg.conversion.perpetual_size) for leg in pairs)
    tied_usd = sum(leg.size * leg.conversion.margin_usd for leg in pairs)
    tied_usd += sum(order.margin_usd for order in decision.perpetuals)
    units += sum(-order.size for order in decision.perpetuals)
    assert units <= liquidity * (1.0 + 1e-9)
    assert units * SPOT <= 1e6 * policy.perpetual.max_notional * (1.0 + 1e-6)
    assert tied_usd <= 1e6 * policy.perpetual.max_margin * (1.0 + 1e-6)


def test_r27_no_pair_is_offered_where_nobody_fills_both_parts():
    everywhere = offered(CALL, PUT)
    assert everywhere
    assert offered(CALL, PUT, pair_venues=()) == ()
    assert offered(CALL, PUT, pair_venues=(everywhere[0].instrument.venue,))


def test_r27_an_option_without_a_strike_or_date_of_its_own_makes_no_pair():
    relative = replace(CALL, instrument=replace(CALL.instrument, strike_mode=StrikeMode.AT_FILL))
    forever = replace(CALL, instrument=replace(CALL.instrument, style=ExerciseStyle.PERPETUAL))
    assert offered(CALL)
    assert offered(relative, forever) == ()
