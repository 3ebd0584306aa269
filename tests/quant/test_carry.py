"""The figures behind S21, against hand-worked numbers and scipy's root."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.hedge import Layer, Spend, SpendKind
from bot.model.units import DAY_S, YEAR_S
from bot.quant.carry import (
    Payment,
    carry_flows,
    fee_apr,
    group_carry,
    hedge_cost_apr,
    hedged_irr,
    net_spent_usd,
)

MONTH_S = 30.0 * DAY_S


def spend(usd, *, day=10.0, kind=SpendKind.PREMIUM):
    return Spend(at_s=day * DAY_S, usd=usd, kind=kind, leg_key="leg", layer=Layer.TAIL)


def test_fee_apr_is_simple_and_unknown_stays_unknown():
    assert fee_apr(fee_income_30d_usd=300.0, value_usd=36_500.0) == pytest.approx(0.1)
    assert fee_apr(fee_income_30d_usd=0.0, value_usd=1.0) == 0.0
    for income, value in ((math.nan, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (math.inf, 1.0)):
        assert math.isnan(fee_apr(fee_income_30d_usd=income, value_usd=value))


def test_what_is_only_reserved_was_not_paid_and_the_span_is_half_open():
    spends = [
        spend(100.0),
        spend(-30.0, kind=SpendKind.PROCEEDS),
        spend(500.0, kind=SpendKind.RESERVED),
        spend(7.0, day=0.0),
        spend(1.0, day=30.0),
        spend(9.0, day=31.0),
    ]
    assert net_spent_usd(spends, since_s=0.0, until_s=MONTH_S) == 71.0


@pytest.mark.parametrize(
    ("then_usd", "now_usd", "rate"),
    [
        (0.0, 0.0, 0.1),  # all of it is gone
        (0.0, 300.0, 0.0),  # bought today, worth what it cost
        (0.0, 600.0, -0.1),  # it earned
        (300.0, 300.0, 0.1),
        (300.0, 0.0, 0.2),
    ],
)
def test_hedge_cost_is_what_was_paid_less_what_is_left(then_usd, now_usd, rate):
    found = hedge_cost_apr(
        [spend(300.0)],
        since_s=0.0,
        until_s=MONTH_S,
        mark_then_usd=then_usd,
        mark_now_usd=now_usd,
        value_usd=36_500.0,
    )
    assert found == pytest.approx(rate)


@pytest.mark.parametrize(
    ("value_usd", "mark_usd", "until_s"),
    [(0.0, 0.0, MONTH_S), (1.0, math.nan, MONTH_S), (math.nan, 0.0, MONTH_S), (1.0, 0.0, 0.0)],
)
def test_a_cost_over_nothing_or_of_an_unknown_mark_is_unknown(value_usd, mark_usd, until_s):
    found = hedge_cost_apr(
        [spend(1.0)],
        since_s=0.0,
        until_s=until_s,
        mark_then_usd=0.0,
        mark_now_usd=mark_usd,
        value_usd=value_usd,
    )
    assert math.isnan(found)


def flows_of(**changes):
    numbers = {
        "start_s": 0.0,
        "end_s": MONTH_S,
        "committed_usd": 10_000.0,
        "returned_usd": 10_000.0,
        "income": (Payment(15 * DAY_S, 80.0), Payment(MONTH_S, 70.0), Payment(40 * DAY_S, 1e6)),
        "spends": [spend(60.0), spend(1e6, kind=SpendKind.RESERVED)],
        "mark_now_usd": 20.0,
    }
    return carry_flows(**{**numbers, **changes})


def test_irr_of_a_hedged_position_solves_its_own_present_value():
    flows = flows_of()
    years = flows.times_s / YEAR_S
    oracle = brentq(lambda rate: float(np.sum(flows.amounts_usd / (1.0 + rate) ** years)), -0.9, 10.0)
    assert hedged_irr(flows).value == pytest.approx(oracle, rel=1e-9)
    assert float(flows.amounts_usd.sum()) == pytest.approx(80.0 + 70.0 - 60.0 + 20.0)


def test_irr_of_locked_liquidity_is_its_fee_rate_compounded():
    flows = carry_flows(
        start_s=0.0, end_s=float(YEAR_S), committed_usd=1e6, returned_usd=1e6, income=(Payment(YEAR_S, 5e4),)
    )
    assert hedged_irr(flows).value == pytest.approx(0.05)


def test_a_hedge_that_costs_more_than_the_fees_has_a_negative_rate():
    assert hedged_irr(flows_of(spends=[spend(500.0)])).value < 0.0


def test_no_rate_is_told_of_hours_or_of_an_unknown_flow():
    short = hedged_irr(flows_of(end_s=0.5 * DAY_S, income=(), spends=()))
    assert math.isnan(short.value)
    assert "less than a day" in short.because
    unknown = hedged_irr(flows_of(returned_usd=math.nan))
    assert math.isnan(unknown.value)
    assert "unknown" in unknown.because


def exposure(value_usd, income_usd):
    return Exposure(
        id="v2:1",
        kind=ExposureKind.UNISWAP_V2,
        protocol="uniswap-v2",
        chain_id=1,
        pool="v2:ETH/USDC",
        underlying="ETH",
        stable="USDC",
        shape=LpShape(liquidity=1.0),
        spot_usd=3000.0,
        value_usd=value_usd,
        fee_income_30d_usd=income_usd,
    )


def carry_of(*exposures, spends=(), mark_now_usd=0.0):
    return group_carry(
        exposures, spends, since_s=0.0, now_s=MONTH_S, mark_then_usd=0.0, mark_now_usd=mark_now_usd
    )


def test_carry_of_a_group_adds_its_exposures_up():
    found = carry_of(
        exposure(20_000.0, 300.0), exposure(16_500.0, 0.0), spends=[spend(200.0)], mark_now_usd=50.0
    )
    assert found.lp_fee_apr == pytest.approx(0.1)
    assert found.hedge_cost_apr == pytest.approx(0.05)
    years = np.array([0.0, 10.0, 30.0]) / 365.0
    flows = np.array([-36_500.0, -200.0, 36_500.0 + 300.0 + 50.0])
    assert float(np.sum(flows / (1.0 + found.hedged_irr.value) ** years)) == pytest.approx(0.0, abs=1e-6)


def test_carry_of_a_group_with_an_unknown_income_is_unknown_and_its_cost_is_not():
    found = carry_of(exposure(20_000.0, 300.0), exposure(16_500.0, math.nan), spends=[spend(300.0)])
    assert math.isnan(found.lp_fee_apr)
    assert math.isnan(found.hedged_irr.value)
    assert found.hedge_cost_apr == pytest.approx(0.1)


def test_a_spend_at_the_time_of_the_first_mark_came_after_it():
    found = carry_of(exposure(36_500.0, 300.0), spends=[spend(60.0, day=0)], mark_now_usd=40.0)
    assert found.hedge_cost_apr == pytest.approx(20.0 / 36_500.0 * 365.0 / 30.0)


def test_the_income_of_a_longer_span_is_in_proportion():
    exposures = [exposure(36_500.0, 300.0)]
    found = group_carry(
        exposures, [], since_s=-1.0 * DAY_S, now_s=MONTH_S, mark_then_usd=0.0, mark_now_usd=0.0
    )
    assert found.lp_fee_apr == pytest.approx(0.1)
    assert found.hedged_irr.value == pytest.approx((1.0 + 310.0 / 36_500.0) ** (365.0 / 31.0) - 1.0)


@pytest.mark.parametrize("exposures", [(), (exposure(0.0, 0.0),), (exposure(math.nan, 1.0),)])
def test_carry_of_nothing_is_unknown(exposures):
    found = carry_of(*exposures)
    assert math.isnan(found.lp_fee_apr)
    assert math.isnan(found.hedge_cost_apr)
    assert math.isnan(found.hedged_irr.value)
