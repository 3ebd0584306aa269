"""S17 to S21 and S23: golden numbers, anchors and edges."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from signals.series import end_s, hourly
from signals.slow_series import (
    CPI,
    FEES,
    GDP,
    RELEASE_S,
    SPX,
    at,
    calendar,
    daily,
    day_s,
    of,
    slow,
    trading,
)

from bot.errors import ConfigError
from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.model.units import DAY_S, HOUR_S
from bot.signals import SIGNALS
from bot.signals.fundamental_policy import DividendPolicy, FundamentalPolicy, IntervalsPolicy
from bot.signals.macro import cpi_or_ppi_rising, next_release, release_near
from bot.signals.policy import SignalsPolicy
from bot.signals.price_to_cash_flow import cap_shift, under_median
from bot.signals.reading import freshness
from bot.signals.risk_flow import flow_sums

POLICY = SignalsPolicy()
MONTH = 31 * 24


def with_numbers(**numbers):
    return replace(POLICY, fundamental=replace(POLICY.fundamental, **numbers))


def read(name, columns, now_s, policy=POLICY):
    return SIGNALS[name].read(columns, now_s=float(now_s), policy=policy)


def read_one(name, columns, now_s, policy=POLICY):
    (reading,) = read(name, columns, now_s, policy)
    return reading


# S17


def rates(last_spread, *, habit=0.01, hours=MONTH):
    supply = np.full(hours, 0.03)
    spread = np.append(np.full(hours - 1, habit), last_spread)
    return of(BORROW=hourly(supply + spread), SUPPLY=hourly(supply))


@pytest.mark.parametrize(
    ("ratio", "score"),
    [
        (-0.5, 0.0),
        (1.0, 0.0),
        (1.2, 0.0),
        (1.2013, 0.001),
        (1.85, 0.5),
        (2.499, 0.999230769),
        (2.5, 1.0),
        (9.0, 1.0),
    ],
)
def test_s17_scores_the_differential_against_its_habit(ratio, score):
    reading = read_one("S17", rates(0.01 * ratio), end_s(MONTH))
    assert reading.value == pytest.approx(ratio, rel=1e-9)
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert (reading.subject, reading.source) == ("core/USDC", "aave_v3")


@pytest.mark.parametrize("habit", [0.0, 1e-9, -0.01, 0.001])
def test_s17_a_tiny_zero_or_negative_median_is_floored(habit):
    reading = read_one("S17", rates(0.0024, habit=habit), end_s(MONTH))
    assert reading.value == pytest.approx(1.2)  # 0.24 % over the floor of 0.2 %
    assert reading.score == pytest.approx(0.0, abs=2e-9)
    assert "floored at 0.20%" in reading.because


def test_s17_reads_markets_of_stables_only_and_needs_both_rates():
    weth = SeriesKey(Metric.BORROW_APR, "core/WETH", "aave_v3")
    only_weth = Columns(series={weth: hourly(np.full(MONTH, 0.02))})
    assert read_one("S17", only_weth, end_s(MONTH)).quality is Quality.ABSENT
    alone = read_one("S17", of(BORROW=hourly(np.full(MONTH, 0.02))), end_s(MONTH))
    assert alone.quality is Quality.ABSENT
    assert "supply_apr of core/USDC" in alone.because


def test_s17_reads_a_daily_table_as_it_reads_blocks():
    """A table of days is late after a day and a half, not after twelve hours."""
    spread = np.append(np.full(39, 0.01), 0.0185)
    columns = of(BORROW=daily(0.03 + spread), SUPPLY=daily(np.full(40, 0.03)))
    reading = read_one("S17", columns, day_s(39, hour_s=23 * HOUR_S))
    assert reading.quality is Quality.LIVE
    assert reading.score == pytest.approx(0.5, abs=2e-9)


# S18


def value_columns(*, cap_last=1e9, fees_last=1e6, revenue_last=1e5, days=200):
    """A ratio of 1e9 / (1e6 x 365) every day; the last week's flows and the last value are given."""
    fees, revenue = np.full(days, 1e6), np.full(days, 1e5)
    fees[-7:], revenue[-7:] = fees_last, revenue_last
    cap = np.full(days, 1e9)
    cap[-1] = cap_last
    return of(CAP=daily(cap, hour_s=HOUR_S), FEES=daily(fees), REVENUE=daily(revenue))


NOW_S = float(day_s(199, hour_s=2 * HOUR_S))


@pytest.mark.parametrize(
    ("cap", "score"),
    [(2e9, 0.0), (1e9, 0.0), (0.999e9, 0.0025), (0.8e9, 0.5), (0.601e9, 0.9975), (0.6e9, 1.0), (0.1e9, 1.0)],
)
def test_s18_scores_a_price_under_its_habit(cap, score):
    fees, revenue = read("S18", value_columns(cap_last=cap), NOW_S)
    assert fees.value == pytest.approx(cap / 1e9)
    assert fees.score == revenue.score == pytest.approx(score, abs=2e-9)
    assert (fees.subject, fees.source, revenue.source) == ("AAVE", "defillama", "defillama/revenue")
    assert "price to fees of AAVE" in fees.because
    assert "price to earnings of AAVE" in revenue.because
    assert f"over 30 days {cap / 1e9 - 1.0:+.1%}" in fees.because


def test_s18_a_rise_of_fees_lowers_it_likewise():
    fees, revenue = read("S18", value_columns(fees_last=1.25e6), NOW_S)
    assert fees.score == pytest.approx(0.5, abs=2e-9)
    assert revenue.score == 0.0


@pytest.mark.parametrize("nothing", [0.0, -1e5])
def test_s18_without_earnings_is_unknown_not_cheap(nothing):
    fees, revenue = read("S18", value_columns(revenue_last=nothing), NOW_S)
    assert fees.quality is Quality.LIVE
    assert revenue.quality is Quality.MISSING
    assert "no revenue of the last days" in revenue.because


def test_s18_pairs_a_token_with_the_protocol_that_the_policy_names():
    columns = value_columns()
    unnamed = read_one("S18", columns, NOW_S, with_numbers(protocols=("UNI:uniswap",)))
    assert unnamed.quality is Quality.ABSENT
    assert "protocols" in unnamed.because
    same_name = Columns(
        series={(k._replace(subject="AAVE") if k == FEES else k): c for k, c in columns.series.items()}
    )
    found = read_one("S18", same_name, NOW_S, with_numbers(protocols=()))
    assert (found.subject, found.quality) == ("AAVE", Quality.LIVE)


def test_s18_names_the_dividend_discount_value_of_a_token_that_pays_out():
    """1e5 USD a day x 365 x 30 % / (4 % + 1.5 x 5 % - 0) = 95,217,391 USD."""
    policy = with_numbers(dividends=DividendPolicy(payouts=("AAVE:0.3",)))
    fees, revenue = read("S18", value_columns(), NOW_S, policy)
    assert f"dividend-discount value {1e9 / (1e5 * 365 * 0.3 / 0.115):.2f}" in revenue.because
    assert "dividend" not in fees.because
    assert all("dividend" not in r.because for r in read("S18", value_columns(), NOW_S))


def test_s18_under_its_median_is_told_for_r5_and_r7():
    assert under_median(read("S18", value_columns(cap_last=0.99e9), NOW_S)) is True
    assert under_median(read("S18", value_columns(cap_last=1.01e9), NOW_S)) is False
    assert under_median(read("S18", value_columns(), day_s(30))) is None  # warming
    assert under_median(read("S18", of(), NOW_S)) is None


def test_s18_shift_of_market_value_is_unknown_across_a_hole():
    whole = daily(np.linspace(1e9, 2e9, 40))
    assert cap_shift(whole, span_s=30 * DAY_S, max_age_s=1.5 * DAY_S) == pytest.approx(
        2e9 / whole.values[9] - 1
    )
    young = daily(np.full(20, 1e9))
    assert math.isnan(cap_shift(young, span_s=30 * DAY_S, max_age_s=1.5 * DAY_S))
    holed = at(np.delete(whole.times_s, slice(7, 12)), np.delete(whole.values, slice(7, 12)))
    assert math.isnan(cap_shift(holed, span_s=30 * DAY_S, max_age_s=1.5 * DAY_S))
    assert math.isnan(cap_shift(at([], []), span_s=30 * DAY_S, max_age_s=1.5 * DAY_S))


# S19


def prints(*values, apart=30):
    days = apart * np.arange(len(values))
    return at(day_s(days, hour_s=RELEASE_S), values)


def macro(values, *, to_release_h, key="CPI", now_day=35.0):
    now_s = float(day_s(now_day))
    ahead = at([now_s - 60.0], [now_s + to_release_h * HOUR_S])
    return of(**{key: prints(*values)}, NEXT_FOMC=ahead), now_s


@pytest.mark.parametrize(
    ("values", "to_release_h", "score"),
    [
        ((0.031, 0.030), 12.0, 0.0),  # falls
        ((0.031, 0.031), 12.0, 0.0),  # the same
        ((0.031, 0.0314), 12.0, 0.0),  # less than prints are rounded to
        ((0.031, 0.032), 100.0, 0.5),
        ((0.031, 0.032), 48.01, 0.5),
        ((0.031, 0.032), 48.0, 1.0),
        ((0.031, 0.032), 1.0, 1.0),
    ],
)
@pytest.mark.parametrize("event", ["CPI", "PPI"])
def test_s19_scores_a_rise_and_more_so_near_a_release(event, values, to_release_h, score):
    columns, now_s = macro(values, to_release_h=to_release_h, key=event)
    found = next(r for r in read("S19", columns, now_s) if r.subject == event)
    assert found.score == score
    assert not found.informs
    assert found.value == pytest.approx(values[1] - values[0])
    assert cpi_or_ppi_rising(columns, now_s=now_s, policy=POLICY) is (score > 0.0)


def test_s19_a_rise_without_a_known_date_is_not_calm():
    columns = of(CPI=prints(0.030, 0.032))
    reading, calendars = read("S19", columns, day_s(35))
    assert reading.score == 0.5
    assert "next release unknown" in reading.because
    assert calendars.quality is Quality.ABSENT
    assert calendars.informs


def test_s19_a_print_that_is_read_again_with_newer_times_is_one_print():
    """BLS's figure without a calendar is stamped with the time of reading."""
    again = day_s(30) + 7_200.0 * np.arange(200)
    columns = of(PPI=at(np.append(day_s(0), again), np.append(0.030, np.full(200, 0.032))))
    assert read("S19", columns, again[-1])[0].value == pytest.approx(0.002)
    same_next_month = np.append(again, day_s(60))
    repeated = of(PPI=at(np.append(day_s(0), same_next_month), np.append(0.030, np.full(201, 0.032))))
    assert read("S19", repeated, day_s(60))[0].value == 0.0


def test_s19_one_print_is_warming_and_an_old_one_is_held_then_missing():
    one = read("S19", of(CPI=prints(0.03)), day_s(10))[0]
    assert one.quality is Quality.WARMING
    columns = of(CPI=prints(0.030, 0.032))
    last_s = float(columns[CPI].times_s[-1])
    for days, quality in (
        (46.4, Quality.LIVE),
        (46.6, Quality.HELD),
        (108.4, Quality.HELD),
        (108.6, Quality.MISSING),
    ):
        reading = read("S19", columns, last_s + days * DAY_S)[0]
        assert reading.quality is quality
    assert cpi_or_ppi_rising(columns, now_s=last_s + 108.4 * DAY_S, policy=POLICY) is True
    assert cpi_or_ppi_rising(columns, now_s=last_s + 108.6 * DAY_S, policy=POLICY) is None


def test_r6_inflation_is_unknown_while_one_print_is_and_the_other_does_not_rise():
    def rising(**columns):
        return cpi_or_ppi_rising(of(**columns), now_s=float(day_s(35)), policy=POLICY)

    unread = at([day_s(30)], [np.nan])
    assert rising() is None
    assert rising(CPI=prints(0.03, 0.02), PPI=prints(0.03, 0.02)) is False
    assert rising(CPI=prints(0.03, 0.02), PPI=prints(0.03, 0.04)) is True
    assert rising(CPI=prints(0.03, 0.02), PPI=unread) is None
    assert rising(CPI=unread, PPI=prints(0.03, 0.04)) is True
    assert rising(CPI=prints(0.03, 0.02)) is False


@pytest.mark.parametrize(
    ("expected", "expected_on", "surprise", "against"),
    [
        (0.025, 88.0, -0.005, "consensus"),
        (0.025, 91.6, -0.010, "prior print"),  # asked for after the print
        (0.025, -3.0, -0.010, "prior print"),  # of the quarter before
        (np.nan, 88.0, -0.010, "prior print"),
    ],
)
def test_s19_gdp_surprise_is_against_the_consensus_else_the_prior_and_informs(
    expected, expected_on, surprise, against
):
    consensus = at([day_s(expected_on)], [expected])
    columns = of(GDP=prints(0.03, 0.02, apart=91), GDP_CONSENSUS=consensus)
    reading = read("S19", columns, day_s(95))[0]
    assert reading.value == pytest.approx(surprise)
    assert against in reading.because
    assert reading.informs
    assert reading.score == 0.0
    quarter_later = freshness(GDP, columns[GDP], now_s=float(day_s(91 + 130)), policy=POLICY)
    assert quarter_later.quality is Quality.LIVE


@pytest.mark.parametrize(
    ("hours", "near"),
    [(25.0, False), (24.01, False), (24.0, True), (0.5, True), (-0.5, True), (-24.0, True), (-24.5, None)],
)
def test_r3_a_release_is_near_within_24_hours_before_and_after(hours, near):
    """After the last date that is known nobody can tell."""
    now_s = float(day_s(10))
    columns = of(NEXT_CPI=at([now_s - 3 * DAY_S], [now_s + hours * HOUR_S]))
    found = release_near(columns, now_s=now_s, policy=POLICY)
    assert found.near is near
    if near is not None:
        assert (found.event, found.at_s) == ("CPI", now_s + hours * HOUR_S)
        assert "CPI" in found.because


def test_r3_a_release_that_just_passed_is_near_although_the_next_is_named():
    columns = of(NEXT_FOMC=calendar(100, first=20, apart=42))
    at_release_s = float(day_s(20, hour_s=RELEASE_S))
    nears = [
        release_near(columns, now_s=at_release_s + h * HOUR_S, policy=POLICY).near
        for h in (-24.1, -24.0, 0.0, 24.0, 24.1)
    ]
    assert nears == [False, True, True, True, False]
    following = next_release(columns, now_s=at_release_s + 7 * HOUR_S, policy=POLICY)
    assert following == ("FOMC", at_release_s + 42 * DAY_S, ())


def test_r3_a_date_that_was_moved_counts_no_more():
    now_s = float(day_s(10))
    moved = at([now_s - DAY_S, now_s - HOUR_S], [now_s + HOUR_S, now_s + 5 * DAY_S])
    assert release_near(of(NEXT_CPI=moved), now_s=now_s, policy=POLICY).near is False


def test_r3_no_calendar_cannot_tell():
    found = release_near(of(), now_s=0.0, policy=POLICY)
    assert found.near is None
    assert "FOMC, CPI, PPI" in found.because
    now_s = float(day_s(10))
    blind = of(NEXT_FOMC=at([now_s], [now_s + 9 * DAY_S]), NEXT_PPI=at([now_s], [np.nan]))
    found = release_near(blind, now_s=now_s, policy=POLICY)
    assert (found.near, found.event) == (None, "FOMC")
    assert "PPI" in found.because


def test_s19_a_calendar_that_ended_is_missing():
    now_s = float(day_s(10))
    columns = of(NEXT_CPI=at([now_s - 3 * DAY_S], [now_s - HOUR_S]))
    _, reading = read("S19", columns, now_s)
    assert reading.quality is Quality.MISSING
    assert reading.informs
    assert "no calendar names" in reading.because


# S20


def beta_columns(beta, *, days=130, noise=0.0):
    """ETH whose price at each New York close is the index to the power ``beta``."""
    rng = np.random.default_rng(2)
    level = np.cumsum(rng.normal(0.0, 0.01, days))
    spx = trading(4000.0 * np.exp(level))
    hours = day_s(0) + HOUR_S * np.arange(24 * days)
    known = np.searchsorted(spx.times_s, hours, side="left").clip(max=spx.times_s.size - 1)
    eth = 3000.0 * (spx.values[known] / 4000.0) ** beta * np.exp(rng.normal(0.0, noise, hours.size))
    return of(ETH=at(hours - 1.0, eth), SPX=spx), float(spx.times_s[-1]) + 1.0


@pytest.mark.parametrize(
    ("beta", "score"),
    [(-1.0, 0.0), (1.7, 0.0), (2.5, 0.0), (2.503, 0.002), (3.25, 0.5), (4.0, 1.0), (6.0, 1.0)],
)
def test_s20_measures_the_beta_informs_and_never_votes(beta, score):
    columns, now_s = beta_columns(beta)
    reading = read_one("S20", columns, now_s)
    assert reading.value == pytest.approx(beta, abs=1e-6)
    assert reading.score == pytest.approx(score, abs=1e-6)
    assert reading.informs
    assert reading.subject == "ETH"
    assert f"and {beta:.2f} over 90" in reading.because


def test_s20_equals_the_regression_of_scipy():
    columns, now_s = beta_columns(2.0, noise=0.01)
    eth, spx = columns[SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot")], columns[SPX]
    at_close = eth.values[np.searchsorted(eth.times_s, spx.times_s, side="right") - 1]
    x, y = np.diff(np.log(spx.values)), np.diff(np.log(at_close))
    recent = spx.times_s[1:] > spx.times_s[-1] - 30 * DAY_S
    oracle = stats.linregress(x[recent], y[recent]).slope
    assert read_one("S20", columns, now_s).value == pytest.approx(oracle, rel=1e-9)


def test_s20_slope_tells_a_rising_beta_from_a_falling_one():
    calm, now_s = beta_columns(1.0)
    wild, _ = beta_columns(4.0)
    eth = SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot")
    turn = int(0.75 * calm[eth].values.size)

    def joined(first, second):
        later = second[eth].values[turn:] / second[eth].values[turn] * first[eth].values[turn]
        return of(ETH=at(calm[eth].times_s, np.append(first[eth].values[:turn], later)), SPX=calm[SPX])

    assert "rising by +" in read_one("S20", joined(calm, wild), now_s).because
    assert "not rising by -" in read_one("S20", joined(wild, calm), now_s).because


@pytest.mark.parametrize("lacking", ["ETH", "SPX"])
def test_s20_without_one_of_its_series_is_absent_and_informs(lacking):
    columns, now_s = beta_columns(1.0)
    part = Columns(series={key: c for key, c in columns.series.items() if key.subject != lacking})
    reading = read_one("S20", part, now_s)
    assert reading.quality is Quality.ABSENT
    assert reading.informs


def test_s20_of_an_index_that_never_moved_is_unknown():
    columns, now_s = beta_columns(1.0)
    flat = Columns(
        series={**columns.series, SPX: at(columns[SPX].times_s, np.full(columns[SPX].values.size, 4e3))}
    )
    reading = read_one("S20", flat, now_s)
    assert reading.quality is Quality.MISSING
    assert "did not move" in reading.because


# S21


@pytest.mark.parametrize(
    ("carry", "score"),
    [(0.5, 0.0), (0.02, 0.0), (0.01, 0.25), (0.0, 0.5), (-0.0001, 0.5025), (-0.02, 1.0), (-0.3, 1.0)],
)
def test_s21_is_over_half_where_the_carry_is_negative(carry, score):
    columns = of(LP_FEES=hourly([0.10 + carry]), HEDGE_COST=hourly([0.10]), IRR=hourly([0.05 + carry]))
    fees, irr = read("S21", columns, end_s(1))
    assert fees.score == irr.score == pytest.approx(score, abs=2e-9)
    assert (fees.subject, fees.source, irr.source) == ("ETH/USDC", "book", "book/irr")
    assert "WACC of 5.0%" in irr.because
    assert fees.quality is Quality.LIVE


def test_s21_needs_the_cost_and_reads_a_bridge_by_its_irr_alone():
    lone = read_one("S21", of(LP_FEES=hourly([0.1])), end_s(1))
    assert lone.quality is Quality.ABSENT
    assert "hedge_cost_apr of ETH/USDC" in lone.because
    bridge = Columns(series={SeriesKey(Metric.HEDGED_IRR, "arbitrum", "book"): hourly([0.01])})
    reading = read_one("S21", bridge, end_s(1))
    assert (reading.subject, reading.score) == ("arbitrum", 1.0)


def test_s21_of_an_unknown_fee_income_is_missing():
    columns = of(LP_FEES=hourly([np.nan]), HEDGE_COST=hourly([0.1]))
    assert read_one("S21", columns, end_s(1)).quality is Quality.MISSING


# S23


def test_s23_sums_keep_weekends_apart_from_failures():
    """Five days of 10 a week: 50 in each span, whether it ends on a Friday or a Sunday."""
    column = trading(np.full(120, 10.0))
    sums = flow_sums(column, good_s=float(column.times_s[-1]), span=7, count=90, coverage=0.6)
    np.testing.assert_allclose(sums, 50.0)
    every_day = daily(np.full(120, 10.0))
    np.testing.assert_allclose(
        flow_sums(every_day, good_s=float(every_day.times_s[-1]), span=7, count=90, coverage=0.6), 70.0
    )


def test_s23_a_day_in_new_york_stays_one_day_when_the_clock_changes():
    column = trading(np.full(120, 10.0))
    summer = column.times_s - np.where(np.arange(column.times_s.size) > 40, HOUR_S, 0.0)
    sums = flow_sums(at(summer, column.values), good_s=float(summer[-1]), span=7, count=90, coverage=0.6)
    np.testing.assert_allclose(sums, 50.0)


def test_s23_a_missing_day_counts_as_the_mean_of_its_week():
    values = np.full(120, 10.0)
    values[-3] = np.nan
    column = daily(values)
    sums = flow_sums(column, good_s=float(column.times_s[-1]), span=7, count=90, coverage=0.6)
    assert sums[-1] == pytest.approx(70.0)
    values[-6:-1] = np.nan  # two of seven left
    sums = flow_sums(daily(values), good_s=float(column.times_s[-1]), span=7, count=90, coverage=0.6)
    assert math.isnan(sums[-1])


def test_s23_z_score_is_that_of_the_7_day_sums():
    values = np.random.default_rng(4).normal(1e8, 4e8, 120)
    values[-3:] -= 1.2e9
    sums = np.convolve(values, np.ones(7), mode="valid")[-90:]
    reading = read_one("S23", of(STABLECOINS=daily(values)), day_s(119, hour_s=HOUR_S))
    assert reading.value == pytest.approx((sums[-1] - sums.mean()) / sums.std(), rel=1e-9)
    assert reading.score == pytest.approx(min(max(-reading.value / 3.0, 0.0), 1.0), abs=2e-9)


@pytest.mark.parametrize(
    ("sigmas", "score"),
    [(2.0, 0.0), (0.0, 0.0), (-0.3, 0.1), (-1.5, 0.5), (-2.97, 0.99), (-3.0, 1.0), (-9.0, 1.0)],
)
def test_s23_a_flow_that_never_moved_is_measured_by_the_floor(sigmas, score):
    """The sums are 0 but for the last; sigma is then the floor of 1e9 USD, which is above their own."""
    policy = with_numbers(flow_min_sigma_usd=1e9)
    values = np.zeros(120)
    values[-1] = sigmas * 1e9 / (1.0 - 1.0 / 90.0)
    reading = read_one("S23", of(STABLECOINS=daily(values)), day_s(119), policy)
    assert reading.value == pytest.approx(sigmas)
    assert reading.score == pytest.approx(score, abs=2e-9)


def test_s23_of_one_size_every_day_is_floored_by_a_share_of_it():
    values = np.full(120, 1e9)
    values[-1] -= 0.7e9  # 10 % of the usual 7e9
    reading = read_one("S23", of(STABLECOINS=daily(values)), day_s(119))
    assert reading.value == pytest.approx(-1.0, abs=0.05)


# Freshness of slow sources


@pytest.mark.parametrize(
    ("name", "interval_days"),
    [
        ("CAP", 1.0),
        ("FEES", 1.0),
        ("REVENUE", 1.0),
        ("ETF", 3.0),
        ("STABLECOINS", 3.0),
        ("SPX", 3.0),
        ("CPI", 31.0),
        ("GDP", 92.0),
        ("GDP_CONSENSUS", 92.0),
        ("NEXT_FOMC", 49.0),
    ],
)
def test_a_slow_source_is_late_after_its_own_intervals(name, interval_days):
    columns = slow(250)
    key = next(iter(of(**{name: columns[SPX]}).series))
    column = columns[key]
    last_s = float(column.times_s[-1])
    ages = np.array([1.49, 1.51, 3.49, 3.51]) * interval_days * DAY_S
    found = [freshness(key, column, now_s=last_s + age_s, policy=POLICY).quality for age_s in ages]
    assert found == [Quality.LIVE, Quality.HELD, Quality.HELD, Quality.MISSING]


def test_an_hourly_market_value_is_late_by_its_own_pace():
    key = SeriesKey(Metric.MARKET_CAP_USD, "AAVE", "defillama")
    column = hourly(np.full(48, 1e9))
    last_s = float(column.times_s[-1])
    assert freshness(key, column, now_s=last_s + 5_000.0, policy=POLICY).quality is Quality.LIVE
    assert freshness(key, column, now_s=last_s + 6_000.0, policy=POLICY).quality is Quality.HELD


def test_other_sources_stay_within_the_common_interval():
    key = SeriesKey(Metric.FUNDING_APR, "ETH", "perp")
    found = freshness(key, daily(np.ones(30)), now_s=float(day_s(29)), policy=POLICY)
    assert found.interval_s == POLICY.max_interval_s


# Numbers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_hole_s", 3_600.0),
        ("rate_min_median", 0.0),
        ("macro_min_rise", math.nan),
        ("macro_rising_score", 1.1),
        ("macro_near_s", -1.0),
        ("macro_apart_span_s", 40 * 86_400.0),
        ("value_window_s", 401 * 86_400.0),
        ("fees_span_s", 3_600.0),
        ("cap_shift_window_s", 181 * 86_400.0),
        ("beta_short_window_s", 86_400.0),
        ("beta_long_window_s", 20 * 86_400.0),
        ("carry_wacc", -0.1),
        ("flow_span_s", 91 * 86_400.0),
        ("flow_min_sigma", 0.0),
        ("flow_min_sigma_usd", 0.0),
    ],
)
def test_a_number_out_of_bounds_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"signals\.fundamental\.{name} .*was {value}"):
        FundamentalPolicy(**{name: value})


def test_words_and_rates_that_cannot_be_used_are_refused():
    with pytest.raises(ConfigError, match="protocols must be words like 'TOKEN:value', was 'AAVE'"):
        FundamentalPolicy(protocols=("AAVE",))
    with pytest.raises(ConfigError, match="payouts of GMX must be between"):
        DividendPolicy(payouts=("GMX:much",))
    with pytest.raises(ConfigError, match=r"growth must be under the CAPM rate 0\.115"):
        DividendPolicy(growth=0.2)
    with pytest.raises(ConfigError, match=r"intervals\.monthly_s"):
        IntervalsPolicy(monthly_s=0.0)
    with pytest.raises(ConfigError, match="beta_index"):
        FundamentalPolicy(beta_index="")


def test_the_anchors_are_those_of_the_method():
    numbers = POLICY.fundamental
    anchors = (numbers.rate_differential, numbers.price_to_cash_flow, numbers.beta, numbers.risk_flow)
    assert [(a.calm, a.stress) for a in anchors] == [(1.2, 2.5), (1.0, 0.6), (2.5, 4.0), (0.0, -3.0)]
    assert numbers.carry.score(0.0) == 0.5
