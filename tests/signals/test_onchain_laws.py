"""Laws of S1-S9: more stress in what is read never lowers a score (R1)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signals.series import columns_of, end_s, hourly, stressed

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.signals import SIGNALS
from bot.signals.peg import peg_now
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()
HOURS = 33 * 24
WORLD = stressed(HOURS)
LESS = st.floats(0.0, 1.0)
MORE = st.floats(1.0, 10.0)


def with_last(columns, key, change):
    """Return the same history with the newest value of one series changed."""
    column = columns[key]
    values = column.values.copy()
    values[-1] = change(values[-1])
    return Columns(series={**columns.series, key: Column(times_s=column.times_s, values=values)})


def scores(name, columns):
    readings = SIGNALS[name].read(columns, now_s=end_s(HOURS), policy=POLICY)
    return {(item.subject, item.source): item.score for item in readings if item.counts}


def assert_no_lower(name, calmer, worse):
    before, after = scores(name, calmer), scores(name, worse)
    assert before
    assert all(after.get(place, 1.0) >= score for place, score in before.items())


FALLING = [
    ("S1", Metric.POOL_LIQUIDITY, ""),
    ("S1", Metric.TOKEN_UNITS, "sdai/DAI"),
    ("S1", Metric.VIRTUAL_PRICE, ""),
    ("S1", Metric.EXCHANGE_RATE, ""),
    ("S2", Metric.POOL_QUOTE_NEAR_USD, ""),
    ("S2", Metric.IDLE_UNITS, "sdai/DAI"),
    ("S4", Metric.POOL_DEPTH_USD, ""),
    ("S7", Metric.TOKEN_UNITS, "arbitrum/USDC"),
]
RISING = [
    ("S8", Metric.PRIORITY_FEE_GWEI, ""),
    ("S8", Metric.SANDWICH_SHARE, ""),
    ("S9", Metric.UPGRADED, ""),
    ("S9", Metric.PAUSED, ""),
]


def key_of(metric, subject):
    return next(key for key in WORLD.find(metric) if subject in ("", key.subject))


@pytest.mark.parametrize(("name", "metric", "subject"), FALLING)
@settings(max_examples=15, deadline=None)
@given(first=LESS, then=LESS)
def test_less_of_what_protects_never_lowers_a_score(name, metric, subject, first, then):
    key = key_of(metric, subject)
    calmer = with_last(WORLD, key, lambda value: value * first)
    assert_no_lower(name, calmer, with_last(calmer, key, lambda value: value * then))


@pytest.mark.parametrize(("name", "metric", "subject"), RISING)
@settings(max_examples=15, deadline=None)
@given(first=MORE, then=MORE)
def test_more_of_what_harms_never_lowers_a_score(name, metric, subject, first, then):
    key = key_of(metric, subject)
    calmer = with_last(WORLD, key, lambda value: value * first)
    assert_no_lower(name, calmer, with_last(calmer, key, lambda value: value * then))


@settings(max_examples=40, deadline=None)
@given(
    prices=st.lists(st.floats(0.5, 1.5), min_size=3, max_size=3),
    place=st.integers(0, 2),
    farther=st.floats(0.0, 0.4),
)
def test_s5_a_price_farther_from_par_never_lowers_the_score(prices, place, farther):
    def series(each):
        return Columns(
            series={
                SeriesKey(Metric.PRICE_USD, "USDC", source): hourly([usd] * 4)
                for source, usd in zip(("chainlink:x", "curve:y", "twap:z"), each, strict=True)
            }
        )

    worse = list(prices)
    worse[place] += math.copysign(farther, prices[place] - 1.0)
    calm, shaken = (series(each) for each in (prices, worse))

    def score(columns):
        (reading,) = SIGNALS["S5"].read(columns, now_s=end_s(4), policy=POLICY)
        return reading.score

    assert score(shaken) >= score(calm)
    deviations = [peg_now(each, "USDC", now_s=end_s(4), policy=POLICY).deviation for each in (calm, shaken)]
    assert deviations[1] >= deviations[0] - 1e-15


@settings(max_examples=15, deadline=None)
@given(first=MORE, then=MORE)
def test_s6_a_larger_last_move_never_lowers_the_score(first, then):
    """The basket is still in the last bar, so that the stable's move is the effective rate's."""
    rng = np.random.default_rng(4)
    returns = rng.normal(0.0, 0.001, HOURS)

    def score(scale):
        moved = returns.copy()
        moved[-1] = 0.001 * scale
        columns = columns_of(USDC_FEED=hourly(np.exp(np.cumsum(moved))), USDT_FEED=hourly(np.ones(HOURS)))
        return scores("S6", columns)["USDC", "chainlink:USDC/USD"]

    assert score(first * then) >= score(first)


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.5, 1.0), more=st.floats(0.0, 0.5))
def test_s3_a_share_farther_from_target_never_lowers_the_score(share, more):
    def score(part):
        columns = columns_of(SHARE_USDC=hourly([part]), SHARE_USDT=hourly([1.0 - part]))
        (reading,) = SIGNALS["S3"].read(columns, now_s=end_s(1), policy=POLICY)
        return reading.score

    assert score(min(share + more, 1.0)) >= score(share)


@pytest.mark.parametrize("name", [f"S{number}" for number in range(1, 10)])
def test_a_last_read_that_failed_never_reads_as_calmer(name):
    """Every series fails at once: what counted still counts, with the score that it had."""
    before = scores(name, Columns(series={k: c.until(end_s(HOURS - 1)) for k, c in WORLD.series.items()}))
    failed = WORLD
    for key in WORLD.series:
        failed = with_last(failed, key, lambda _: math.nan)
    at_s = end_s(HOURS - 1)
    good = SIGNALS[name].read(WORLD, now_s=at_s, policy=POLICY)
    held = scores(name, failed)
    assert before.keys() == held.keys()
    for reading in good:
        if reading.counts:
            assert held[reading.subject, reading.source] == reading.score


ABSURD = (math.inf, -math.inf, math.nan, 0.0, -1.0, 1e300, -1e300, 5e-324)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_absurd_values_raise_nothing_and_score_within_bounds(seed):
    """Warnings are errors in tests: no overflow or invalid operation passes unseen."""
    rng = np.random.default_rng(seed)
    series = {}
    for key, column in WORLD.series.items():
        values = column.values.copy()
        places = rng.integers(0, values.size, 20)
        places[0] = values.size - 1 if rng.random() < 0.5 else places[0]
        values[places] = rng.choice(ABSURD, places.size)
        series[key] = Column(times_s=column.times_s, values=values)
    columns = Columns(series=series)
    for number in range(1, 10):
        assert all(0.0 <= score <= 1.0 for score in scores(f"S{number}", columns).values())
    for stable in POLICY.stables:
        found = peg_now(columns, stable, now_s=end_s(HOURS), policy=POLICY).deviation
        assert math.isnan(found) or found >= 0.0
