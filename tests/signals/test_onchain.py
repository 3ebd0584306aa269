"""S1 to S4: golden numbers, anchors and edges."""

import math
from dataclasses import replace

import numpy as np
import pytest
from signals.series import (
    POOL,
    STABLE_POOL,
    START_S,
    columns_of,
    end_s,
    hourly,
)

from bot.model.market import Column
from bot.model.tier import Family, Quality
from bot.signals import SIGNALS
from bot.signals.anchors import Anchors
from bot.signals.policy import SignalsPolicy
from bot.signals.quick_ratio import net_outflow, row_outflow
from bot.signals.subjects import pool_underlying

POLICY = SignalsPolicy()
DAYS_31 = 31 * 24


def read_one(name, columns, now_s):
    (reading,) = SIGNALS[name].read(columns, now_s=now_s, policy=POLICY)
    return reading


@pytest.mark.parametrize(
    ("last", "score"),
    [
        (101.0, 0.0),  # a new high
        (98.0, 0.0),
        (97.0, 0.0),  # at the calm anchor
        (92.5, 0.5),  # (0.075 - 0.03) / 0.09
        (92.0, 0.555555556),  # R6's level
        (88.0, 1.0),  # at the stress anchor
        (10.0, 1.0),
        (0.0, 1.0),
    ],
)
def test_s1_scores_what_left(last, score):
    reading = read_one("S1", columns_of(LIQUIDITY=hourly([100.0] * 60 + [last])), end_s(61))
    assert reading.quality is Quality.LIVE
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert reading.value == pytest.approx(min(last / 100.0 - 1.0, 0.0))


def test_s1_says_it_in_one_line():
    reading = read_one("S1", columns_of(LIQUIDITY=hourly([100.0] * 60 + [91.8])), end_s(61))
    assert reading.because == "liquidity -8.2% from its 48 h high, stress from -3% to -12%"
    assert (reading.family, reading.subject, reading.source) == (Family.ONCHAIN, POOL, "pool")


def test_s1_forgets_a_high_that_is_older_than_48_hours():
    values = [200.0] + [100.0] * 60
    inside = read_one("S1", columns_of(LIQUIDITY=hourly(values[:48])), end_s(48))
    outside = read_one("S1", columns_of(LIQUIDITY=hourly(values)), end_s(61))
    assert inside.value == pytest.approx(-0.5)
    assert outside.value == 0.0


def test_s1_of_a_pool_that_was_empty_for_48_hours_is_not_calm():
    reading = read_one("S1", columns_of(LIQUIDITY=hourly([0.0] * 60)), end_s(60))
    assert reading.quality is Quality.MISSING


def quick_ratio_columns(*, near, share_left_per_day=0.9, quote=1e6):
    """Liquidity that falls to the same share every 24 h, so every 24 h outflow is the same."""
    hours = np.arange(DAYS_31 + 24)
    return columns_of(
        LIQUIDITY=hourly(1e6 * share_left_per_day ** (hours / 24.0)),
        QUOTE=hourly(np.full(hours.size, quote)),
        NEAR=hourly(np.full(hours.size, near)),
    )


@pytest.mark.parametrize(
    ("near", "score"),
    [(250e3, 0.0), (200e3, 0.0), (150e3, 0.5), (100e3, 1.0), (50e3, 1.0), (0.0, 1.0)],
)
def test_s2_compares_near_reserves_with_the_p95_outflow(near, score):
    """10 % of 1,000,000 USD leaves every 24 h, so P95 is 100,000 USD."""
    reading = read_one("S2", quick_ratio_columns(near=near), end_s(DAYS_31 + 24))
    assert reading.value == pytest.approx(near / 100e3, rel=1e-9)
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert "P95 24 h outflow 100,000 USD" in reading.because


@pytest.mark.parametrize(
    ("near", "score"),
    [
        (9_499.0, 1.0),  # thinner than liquidity at all prices is: the anchors of all other pools
        (9_500.0, (0.055 - 0.0475) / 0.035),
        (1e6 * (math.sqrt(1.02) - 1.0), (0.055 - 0.0497525) / 0.035),
        (1e6 * (1.0 - math.sqrt(0.98)), (0.055 - 0.0502525) / 0.035),
        (10_500.0, (0.055 - 0.0525) / 0.035),
        (10_501.0, 1.0),
    ],
)
def test_s2_of_liquidity_at_all_prices_has_anchors_of_its_own(near, score):
    """20 % of 1,000,000 USD leaves every 24 h; 1 % of it is within 2 % of the price of x y = k."""
    anchors = Anchors(calm=0.055, stress=0.02)
    policy = replace(POLICY, onchain=replace(POLICY.onchain, full_range_quick_ratio=anchors))
    columns = quick_ratio_columns(near=near, share_left_per_day=0.8)
    (reading,) = SIGNALS["S2"].read(columns, now_s=end_s(DAYS_31 + 24), policy=policy)
    assert reading.value == pytest.approx(near / 200e3, rel=1e-9)
    assert reading.score == pytest.approx(score, abs=1e-6)
    assert read_one("S2", columns, end_s(DAYS_31 + 24)).score == 1.0  # as published: 2 and 1 for all


@pytest.mark.parametrize("share", [1.0, 1.1])
def test_s2_without_outflow_is_calm_with_the_reason(share):
    reading = read_one("S2", quick_ratio_columns(near=150e3, share_left_per_day=share), end_s(DAYS_31 + 24))
    assert reading.score == 0.0
    assert reading.value == pytest.approx(150.0)  # floor: 0.1 % of 1,000,000
    assert "P95 24 h outflow 0 USD, floored at 1,000" in reading.because


def test_s2_of_a_pool_without_reserves_is_full_stress():
    columns = quick_ratio_columns(near=0.0, share_left_per_day=1.0, quote=0.0)
    assert read_one("S2", columns, end_s(DAYS_31 + 24)).score == 1.0


def test_s2_names_the_series_that_is_not_configured():
    reading = read_one("S2", columns_of(NEAR=hourly(np.ones(800)), QUOTE=hourly(np.ones(800))), end_s(800))
    assert reading.quality is Quality.ABSENT
    assert reading.subject == POOL
    assert "pool_liquidity" in reading.because


def test_s2_outflow_counts_falls_only_and_keeps_unknown_unknown():
    shares = np.array([100.0, 100.0, 90.0, 120.0, np.nan, 0.0])
    reserves = np.array([1000.0, 2000.0, 500.0, 1000.0, 1000.0, 1000.0])
    # 100 -> 90 of 1000; 100 -> 120; 90 -> unknown; 120 -> 0 of 1000
    np.testing.assert_allclose(net_outflow(shares, reserves, span=2), [100.0, 0.0, np.nan, 1000.0])


@pytest.mark.parametrize(
    ("pool_usd", "score"),
    [
        (3000.0, 0.0),
        (3015.0, 0.0),  # +0.5 %
        (3052.5, 0.5),  # +1.75 %
        (2947.5, 0.5),  # -1.75 %: both signs
        (3090.0, 1.0),  # +3 %
        (1500.0, 1.0),
    ],
)
def test_s3_measures_the_gap_to_the_oracle(pool_usd, score):
    columns = columns_of(POOL_PRICE=hourly([pool_usd]), PRICE=hourly([3000.0]))
    reading = read_one("S3", columns, end_s(1))
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert "against oracle 3,000.0000" in reading.because


def test_s3_compares_a_stable_pool_with_one():
    reading = read_one("S3", columns_of(STABLE_PRICE=hourly([0.9825])), end_s(1))
    assert reading.subject == STABLE_POOL
    assert reading.score == pytest.approx(0.5, abs=2e-9)
    assert "par" in reading.because


def test_s3_without_an_oracle_is_absent_and_says_so():
    reading = read_one("S3", columns_of(POOL_PRICE=hourly([3000.0])), end_s(1))
    assert reading.quality is Quality.ABSENT
    assert "no price of ETH is configured" in reading.because


def test_s3_with_a_failing_oracle_is_missing():
    columns = columns_of(POOL_PRICE=hourly([3000.0] * 10), PRICE=hourly([3000.0] * 2 + [np.nan] * 8))
    assert read_one("S3", columns, end_s(10)).quality is Quality.MISSING


@pytest.mark.parametrize("price", [0.0, -1.0])
def test_s3_refuses_a_price_that_is_none(price):
    columns = columns_of(POOL_PRICE=hourly([price]), PRICE=hourly([3000.0]))
    assert read_one("S3", columns, end_s(1)).quality is Quality.MISSING


@pytest.mark.parametrize(
    ("label", "underlying"),
    [
        ("v3:ETH/USDC", "ETH"),
        ("v2:ETH/USDC", "ETH"),
        ("v3:USDC/sUSD", "USDC"),
        ("ETH/USDC", ""),
        ("v3:ETH", ""),
        ("", ""),
    ],
)
def test_pool_label_names_its_underlying(label, underlying):
    assert pool_underlying(label) == underlying


@pytest.mark.parametrize(
    ("last_three", "score"),
    [
        ((70.0, 70.0, 70.0), 0.0),
        ((42.5, 42.5, 42.5), 0.5),
        ((15.0, 15.0, 15.0), 1.0),
        ((0.0, 0.0, 0.0), 1.0),
        ((5.0, 5.0, 100.0), 0.0),  # a moment's dip is left out: best of 3 h
        ((100.0, 5.0, 5.0), 0.0),
    ],
)
def test_s4_compares_the_best_of_three_hours_with_the_median(last_three, score):
    reading = read_one("S4", columns_of(DEPTH=hourly([100.0] * 200 + list(last_three))), end_s(203))
    assert reading.score == pytest.approx(score, abs=2e-9)


def test_s4_of_a_pool_that_was_empty_for_a_week_is_full_stress():
    assert read_one("S4", columns_of(DEPTH=hourly([0.0] * 200)), end_s(200)).score == 1.0


SLOW_S = 3 * 3600 + 43 * 60  # a table that a row is in every 3 h 43 min


def slow(values):
    """Return one observation every 3 h 43 min, from the start of the history."""
    values = np.asarray(values, dtype=np.float64)
    return Column(times_s=START_S + SLOW_S * np.arange(values.size, dtype=np.float64), values=values)


def test_s1_counts_the_rows_of_a_slow_source():
    columns = columns_of(LIQUIDITY=slow([100.0] * 30 + [92.5]))
    reading = read_one("S1", columns, START_S + SLOW_S * 30.0)
    assert (reading.quality, reading.score) == (Quality.LIVE, pytest.approx(0.5))


def test_s4_counts_the_rows_of_a_slow_source():
    columns = columns_of(DEPTH=slow([100.0] * 60 + [42.5]))
    reading = read_one("S4", columns, START_S + SLOW_S * 60.0)
    assert (reading.quality, reading.score) == (Quality.LIVE, pytest.approx(0.5))


def slow_pool(rows, *, share_left_per_row):
    return columns_of(
        LIQUIDITY=slow(1e6 * share_left_per_row ** np.arange(rows)),
        QUOTE=slow(np.full(rows, 1e6)),
        NEAR=slow(np.full(rows, 150e3)),
    )


def test_s2_starts_24_hours_at_the_last_row_before_them():
    """Seven rows of 3 h 43 lie between a row and the last one that is at least 24 h older."""
    reading = read_one("S2", slow_pool(240, share_left_per_row=0.98), START_S + SLOW_S * 239.0)
    assert reading.quality is Quality.LIVE
    assert reading.value == pytest.approx(150e3 / (1e6 * (1.0 - 0.98**7)))


def test_a_slow_source_is_warming_until_its_rows_are_there():
    short, long = (
        SIGNALS["S2"].read(
            slow_pool(rows, share_left_per_row=0.99), now_s=START_S + SLOW_S * (rows - 1.0), policy=POLICY
        )[0]
        for rows in (100, 240)
    )
    assert short.quality is Quality.WARMING
    assert START_S + SLOW_S * 99.0 < short.warm_at_s < START_S + 32 * 86_400
    assert long.quality is Quality.LIVE


def test_s2_takes_no_start_from_beyond_a_long_hole():
    liquidity, quote = slow([100.0, *[math.nan] * 10, 50.0, 50.0]), slow([1.0] * 13)
    found = row_outflow(liquidity, quote, good_s=START_S + SLOW_S * 12.0, policy=POLICY)
    # the last known row before the 24 h lies 7 rows less than 24 h earlier: no hole over 36 h
    np.testing.assert_allclose(found[-2:], [0.5, 0.5])
    late = Column(
        times_s=liquidity.times_s + np.where(np.arange(13) > 10, 30 * 3600.0, 0.0), values=liquidity.values
    )
    assert np.isnan(row_outflow(late, quote, good_s=late.times_s[-1], policy=POLICY)[-2:]).all()


def test_s3_compares_both_prices_at_the_time_of_the_pools_row():
    """The pool was read when both were at 3 000; the market has moved since."""
    at_s = end_s(10)
    columns = columns_of(POOL_PRICE=hourly([3000.0] * 9), PRICE=hourly([3000.0] * 9 + [2700.0]))
    assert read_one("S3", columns, at_s).score == 0.0


def test_s3_holds_a_fresh_pool_against_the_standing_oracle():
    columns = columns_of(POOL_PRICE=hourly([3000.0] * 9 + [3052.5]), PRICE=hourly([3000.0] * 9))
    assert read_one("S3", columns, end_s(10)).score == pytest.approx(0.5, abs=2e-9)


def test_s4_median_does_not_follow_the_rate_of_reads():
    """A block feed of the last hours must not outweigh the week before it."""
    week = hourly([100.0] * 168)
    blocks_s = end_s(168) + 12.0 * np.arange(300)
    column = Column(
        times_s=np.concatenate((week.times_s, blocks_s)),
        values=np.concatenate((week.values, np.full(300, 20.0))),
    )
    reading = read_one("S4", columns_of(DEPTH=column), end_s(168) + 4 * 3600)
    assert reading.quality is Quality.MISSING  # the block feed stopped after an hour
    reading = read_one("S4", columns_of(DEPTH=column), end_s(168) + 3600)
    assert "against 100 over 7 days" in reading.because
    assert math.isclose(reading.value, 1.0)  # the week's last hour is among the best of 3 h
