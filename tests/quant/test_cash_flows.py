"""IRR, present value, WACC, dividend discount, and the cost of a roll per unit of gain (R17, S18, S21)."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import brentq

from bot.errors import InvariantError
from bot.model.units import DAY_S, YEAR_S
from bot.quant.cash_flows import (
    CashFlows,
    Way,
    capm_rate,
    cost_per_gain,
    dividend_discount_value,
    irr,
    npv,
    roll_or_hold,
    wacc,
)

NAN = math.nan
T0 = 1_700_000_000.0


def flows(*pairs):
    """Pairs of (days from now, USD)."""
    days, amounts = zip(*pairs, strict=True) if pairs else ((), ())
    return CashFlows(
        times_s=T0 + np.array(days, dtype=np.float64) * DAY_S, amounts_usd=np.array(amounts, dtype=np.float64)
    )


def oracle(case):
    """The root in ln(1 + rate) of plain present value, by scipy."""
    years = (case.times_s - case.times_s.min()) / YEAR_S

    def value(x):
        return float(np.sum(case.amounts_usd * np.exp(-x * years)))

    return math.expm1(brentq(value, -40.0, 40.0, xtol=1e-14, rtol=1e-14))


@pytest.mark.parametrize(
    ("pairs", "rate"),
    [
        ([(0, -100), (365, 110)], 0.10),
        ([(0, 100), (365, -110)], 0.10),  # a loan costs what a deposit earns
        ([(0, -100), (730, 121)], 0.10),
        ([(0, -100), (365, 100)], 0.0),
        ([(0, -100), (365, 50)], -0.5),
        ([(0, -100), (1, 101)], 1.01**365 - 1),
        ([(0, -100), (365, 60), (730, 60)], 0.1306623862918075),  # 10 x / (1 + x) solved by hand: quadratic
        ([(365, 110), (0, -100)], 0.10),  # any order
        ([(0, -60), (0, -40), (365, 110)], 0.10),  # the same time adds up
        ([(0, -100), (9, 5), (9, -5), (365, 110)], 0.10),  # a wash is no flow
        ([(0, -100), (9, 0.1), (9, 0.2), (9, -0.3), (365, 110)], 0.10),  # but for rounding neither
        ([(0, -100), (365, 0.0), (365, 110)], 0.10),
    ],
)
def test_rate_of_plain_cases(pairs, rate):
    found = irr(flows(*pairs))
    assert found.value == pytest.approx(rate, rel=1e-12, abs=1e-12)
    assert found.because == ""


@pytest.mark.parametrize(
    ("pairs", "because"),
    [
        ([], "no cash flow"),
        ([(0, 0)], "no cash flow"),
        ([(0, -1), (1, -2)], "all cash flows are paid"),
        ([(0, 1), (1, 2)], "all cash flows are received"),
        ([(0, -100), (0, 110)], "all cash flows are received"),  # at one time: no time, no rate
        ([(0, -1600), (365, 10000), (730, -10000)], "change sign 2 times"),  # 25 % and 400 %
        ([(0, -1), (1, NAN)], "unknown"),
        ([(0, -1), (math.inf, 2)], "unknown"),
        ([(0, -1e-6), (1 / DAY_S, 1e6)], "over e^700"),  # a second apart
    ],
)
def test_no_rate_says_why(pairs, because):
    found = irr(flows(*pairs))
    assert math.isnan(found.value)
    assert because in found.because


money = st.floats(0.01, 1e6)
gaps = st.floats(1.0, 200.0)


sides = st.lists(st.tuples(gaps, money), min_size=1, max_size=6)


@given(paid=sides, got=sides, sign=st.sampled_from([-1.0, 1.0]))
def test_rate_is_that_of_scipy_wherever_there_is_one(paid, got, sign):
    days = np.cumsum([gap for gap, _ in paid + got])
    amounts = [-sign * usd for _, usd in paid] + [sign * usd for _, usd in got]
    case = flows(*zip(days, amounts, strict=True))
    found = irr(case)
    assume(1e-15 < found.value + 1.0 < 1e15)
    assert found.value == pytest.approx(oracle(case), rel=1e-9, abs=1e-12)
    assume(found.value > -0.999)  # nearer to -1 a float cannot hold the rate well enough to discount with it
    gross = npv(
        CashFlows(times_s=case.times_s, amounts_usd=np.abs(case.amounts_usd)), rate=found.value, at_s=T0
    )
    assert abs(npv(case, rate=found.value, at_s=T0)) <= 1e-9 * gross


@given(
    amounts=st.lists(money, min_size=2, max_size=5), scale=st.floats(1e-6, 1e6), shift=st.floats(-9.0, 9.0)
)
def test_rate_knows_no_unit_of_money_and_no_first_day(amounts, scale, shift):
    days = 30.0 * np.arange(len(amounts))
    signed = np.array([-amounts[0], *amounts[1:]])
    plain = irr(flows(*zip(days, signed, strict=True))).value
    moved = irr(flows(*zip(days + shift, signed * scale, strict=True))).value
    assert moved == pytest.approx(plain, rel=1e-6, abs=1e-12, nan_ok=True)


def test_a_total_loss_but_for_dust_rounds_to_minus_one():
    assert irr(flows((0, -1e6), (1, 1e-6))).value == -1.0


def test_present_value():
    case = flows((0, -100), (365, 110), (730, 121))
    assert npv(case, rate=0.10, at_s=T0) == pytest.approx(100.0)
    assert npv(case, rate=0.0, at_s=T0) == pytest.approx(131.0)
    assert npv(case, rate=0.10, at_s=T0 + 365 * DAY_S) == pytest.approx(110.0)  # earlier ones compound
    assert npv(flows(), rate=0.10, at_s=T0) == 0.0
    for unknown in (
        npv(case, rate=-1.0, at_s=T0),
        npv(case, rate=NAN, at_s=T0),
        npv(case, rate=0.1, at_s=NAN),
    ):
        assert math.isnan(unknown)


def test_flows_need_a_time_each():
    with pytest.raises(InvariantError, match="as many times"):
        CashFlows(times_s=np.zeros(2), amounts_usd=np.zeros(3))


@pytest.mark.parametrize(
    ("values", "costs", "cost"),
    [
        ([60.0, 40.0], [0.10, 0.05], 0.08),
        ([1.0], [0.07], 0.07),
        ([1.0, 0.0], [0.07, 9.0], 0.07),
        ([1.0, 1.0], [0.07, NAN], NAN),
        ([1.0, NAN], [0.07, 0.07], NAN),
        ([0.0], [0.07], NAN),
        ([], [], NAN),
    ],
)
def test_cost_of_capital_is_weighed_by_value(values, costs, cost):
    np.testing.assert_allclose(wacc(np.array(values), np.array(costs)), cost, rtol=1e-12)


def test_senseless_funding_is_refused():
    with pytest.raises(InvariantError, match="funding"):
        wacc(np.array([1.0, -1.0]), np.array([0.1, 0.1]))
    with pytest.raises(InvariantError, match="funding"):
        wacc(np.array([1.0]), np.array([0.1, 0.1]))


def test_gordon_value_is_the_sum_of_its_dividends():
    """S18: 1,000 earned, 40 % paid, 3 % growth, CAPM 4 % + 1.5 x 5 %."""
    rate = capm_rate(risk_free=0.04, beta=1.5, risk_premium=0.05)
    assert rate == pytest.approx(0.115)
    years = np.arange(1, 3000)
    summed = float(np.sum(1000 * 0.4 * 1.03**years / 1.115**years))
    found = dividend_discount_value(earnings=1000.0, payout=0.4, growth=0.03, rate=rate)
    assert found.value == pytest.approx(summed, rel=1e-12)
    assert found.because == ""


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"growth": 0.115}, "not under the rate"),
        ({"growth": 0.2}, "not under the rate"),
        ({"payout": 0.0}, "nothing is paid out"),
        ({"earnings": 0.0}, "nothing is paid out"),
        ({"earnings": -5.0}, "nothing is paid out"),
        ({"earnings": NAN}, "unknown"),
        ({"rate": NAN}, "unknown"),
        ({"growth": math.inf}, "unknown"),
    ],
)
def test_dividend_value_that_cannot_be_told_says_why(change, because):
    inputs = {"earnings": 1000.0, "payout": 0.4, "growth": 0.03, "rate": 0.115} | change
    found = dividend_discount_value(**inputs)
    assert math.isnan(found.value)
    assert because in found.because


# R17: over the next 30 days, spread, fees and gas included, the model value at the end counted back
ROLL = Way(flows=flows((0, -120.0), (0, 30.0), (30, 60.0)), gain_usd=1_000.0)  # costs 30
HOLD = Way(flows=flows((7, -90.0), (30, 50.0)), gain_usd=1_000.0)  # costs 40


def test_the_cheaper_way_per_unit_of_gain_is_taken():
    found = roll_or_hold(ROLL, HOLD, rate=0.0, at_s=T0)
    assert (found.roll, found.roll_cost, found.hold_cost) == (True, 0.03, 0.04)
    assert found.because.startswith("rolled: 0.030 a USD of gain")
    back = roll_or_hold(HOLD, ROLL, rate=0.0, at_s=T0)
    assert back.roll is False
    assert back.because.startswith("held: 0.040")


def test_gain_counts_not_cost_alone():
    """A roll that costs less but covers half is dearer per unit."""
    assert roll_or_hold(Way(flows=ROLL.flows, gain_usd=500.0), HOLD, rate=0.0, at_s=T0).roll is False


def test_equal_ways_hold():
    assert roll_or_hold(HOLD, HOLD, rate=0.1, at_s=T0).roll is False


def test_discounting_moves_the_choice():
    """Paying later is worth something when money costs 300 % a year."""
    late = Way(flows=flows((29, -31.0)), gain_usd=1_000.0)
    early = Way(flows=flows((0, -30.0)), gain_usd=1_000.0)
    assert roll_or_hold(early, late, rate=0.0, at_s=T0).roll is True
    assert roll_or_hold(early, late, rate=3.0, at_s=T0).roll is False


def test_the_rate_of_rolling_is_that_of_the_difference():
    """90 paid now, 90 saved in a week, 10 more left after 30 days."""
    found = roll_or_hold(ROLL, HOLD, rate=0.0, at_s=T0).rate
    assert found.value == pytest.approx(oracle(flows((0, -90.0), (7, 90.0), (30, 10.0))), rel=1e-9)
    assert "no cash flow" in roll_or_hold(HOLD, HOLD, rate=0.0, at_s=T0).rate.because


@pytest.mark.parametrize("gain", [0.0, -1.0, NAN])
def test_no_gain_has_no_price_and_is_not_traded(gain):
    nothing = Way(flows=ROLL.flows, gain_usd=gain)
    assert math.isnan(cost_per_gain(nothing, rate=0.0, at_s=T0))
    for pair in ((nothing, HOLD), (ROLL, nothing)):
        found = roll_or_hold(*pair, rate=0.0, at_s=T0)
        assert found.roll is False
        assert "unknown" in found.because


def test_a_way_that_earns_has_a_negative_cost():
    assert cost_per_gain(Way(flows=flows((0, 5.0)), gain_usd=10.0), rate=0.1, at_s=T0) == -0.5
