"""R2: crashes that two independent sources show, and HOLD."""

import math

import numpy as np
import pytest
from engine.factory import FEED, NOW_S, SPOT, TWAP, block, buys, calm_columns, classic, context, frame

from bot.engine.rules.hard_triggers import crash, find_holds
from bot.engine.step import decide
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.record import EngineState
from bot.model.tier import Tier

POLICY = classic()


def with_last(key, price, columns, *, at_s=NOW_S - 0.5):
    column = columns[key]
    columns[key] = Column(times_s=np.append(column.times_s, at_s), values=np.append(column.values, price))


def found(columns):
    return crash(POLICY, context(POLICY, at=frame(columns)))[0]


def drop(columns, key):
    return float(columns[key].values[-2:].max())


@pytest.mark.parametrize(
    ("fall", "tier"),
    [(0.07, None), (0.0799, None), (0.081, Tier.ELEVATED), (0.149, Tier.ELEVATED), (0.151, Tier.SEVERE)],
)
def test_r2_two_independent_falls(fall, tier):
    columns = calm_columns()
    for key in (FEED, TWAP):
        with_last(key, drop(columns, key) * (1.0 - fall), columns)
    finding = found(columns)
    assert finding.tier is tier
    assert finding.fired is (tier is not None)


def test_r2_the_second_fall_counts():
    columns = calm_columns()
    with_last(FEED, drop(columns, FEED) * 0.5, columns)
    with_last(TWAP, drop(columns, TWAP) * 0.91, columns)
    assert found(columns).tier is Tier.ELEVATED


@pytest.mark.parametrize("price", [math.nan, SPOT])
def test_r2_one_source_alone_is_nothing(price):
    columns = calm_columns()
    with_last(FEED, SPOT * 0.5, columns)
    with_last(TWAP, price, columns)
    assert not found(columns).fired


def test_r2_two_feeds_are_not_independent():
    columns = calm_columns()
    other = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:other")
    columns[other] = columns.pop(TWAP)
    for key in (FEED, other):
        with_last(key, SPOT * 0.5, columns)
    finding = found(columns)
    assert not finding.fired
    assert "needs two independent sources, has 1" in finding.because


def test_r2_a_wild_market_needs_more_than_eight_percent():
    columns = calm_columns()
    rng = np.random.default_rng(3)
    for key in (FEED, TWAP):
        column = columns[key]
        columns[key] = Column(
            times_s=column.times_s, values=SPOT * np.exp(0.05 * rng.standard_normal(column.values.size))
        )
        with_last(key, drop(columns, key) * 0.91, columns)
    assert not found(columns).fired  # 9 % is under 6 standard deviations here


def test_r2_an_older_fall_is_over():
    columns = calm_columns()
    for key in (FEED, TWAP):
        column = columns[key]
        values = column.values.copy()
        values[-3:] = SPOT * 0.5
        columns[key] = Column(times_s=column.times_s, values=values)
    assert not found(columns).fired


@pytest.mark.parametrize(("gap_h", "tier"), [(0, Tier.SEVERE), (2, Tier.SEVERE), (3, None), (40, None)])
def test_r2_a_fall_needs_a_price_from_when_its_window_opened(gap_h, tier):
    """After a gap the last price before it says nothing of the last hour."""
    columns = calm_columns()
    for key in (FEED, TWAP):
        columns[key] = cut(columns, key, gap_h * 3600.0)
        with_last(key, drop(columns, key) * 0.8, columns)
    finding = found(columns)
    assert finding.tier is tier
    assert ("unknown" in finding.because) is (tier is None)


def with_hourly_hole(columns, key, *, first_h, last_h):
    """Lose the hours between ``first_h`` and ``last_h`` ago; before them the price was wild."""
    column = columns[key]
    age_h = (NOW_S - column.times_s) / 3600.0
    wild = np.where(np.arange(age_h.size) % 2 == 0, 0.7, 1.4)
    values = np.where(age_h > first_h, wild * SPOT, column.values)
    columns[key] = Column(
        times_s=column.times_s, values=np.where((age_h <= first_h) & (age_h > last_h), np.nan, values)
    )


@pytest.mark.parametrize(("hole_h", "fires"), [(30, False), (40, True)])
def test_r2_a_long_hole_restarts_the_deviation(hole_h, fires):
    """Wild prices from before a hole over 36 h do not hide a crash after it."""
    columns = calm_columns()
    for key in (FEED, TWAP):
        with_hourly_hole(columns, key, first_h=4 + hole_h, last_h=4)
        with_last(key, drop(columns, key) * 0.8, columns)
    assert found(columns).fired is fires


def test_r2_the_deviation_needs_most_of_its_bars():
    columns = calm_columns()
    for key in (FEED, TWAP):
        column = columns[key]
        values = np.where(np.arange(column.values.size) % 3 == 0, np.nan, column.values)
        values[-2:] = column.values[-2:]
        columns[key] = Column(times_s=column.times_s, values=values)  # one return in three is known
        with_last(key, drop(columns, key) * 0.8, columns)
    assert "sd unknown" in found(columns).because


def cut(columns, key, seconds):
    return columns[key].until(NOW_S - seconds)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c, ""),
        (lambda c: c | {FEED: cut(c, FEED, 3960.0 + 3600)}, "old, at most 3960 s"),
        (lambda c: c | {FEED: Column(times_s=np.array([NOW_S - 3960.0]), values=np.array([SPOT]))}, ""),
        (lambda c: {k: v for k, v in c.items() if k.subject != "ETH"}, "no price of ETH"),
        (
            lambda c: c | {TWAP: Column(times_s=np.array([NOW_S - 5]), values=np.array([SPOT * 1.07]))},
            "disagree",
        ),
        (lambda c: c | {TWAP: Column(times_s=np.array([NOW_S - 5]), values=np.array([math.nan]))}, ""),
        (lambda c: c | {TWAP: Column(times_s=np.array([NOW_S - 9000]), values=np.array([9e9]))}, ""),
    ],
)
def test_r2_holds(change, text):
    holds = find_holds(POLICY, frame(change(calm_columns())))
    assert any(text in hold for hold in holds) if text else holds == ()


POOL_SPOT = SeriesKey(Metric.POOL_PRICE_USD, TWAP.source.partition(":")[2], "uniswap_v3")


@pytest.mark.parametrize(
    ("feed", "average", "spot", "spot_age_s", "held"),
    [
        (0.4, 0.9, 0.41, 5.0, False),  # a true crash: feed and pool are there, the average follows
        (0.4, 0.9, 0.45, 5.0, True),  # the pool is somewhere else
        (0.4, 1.0, 1.0, 5.0, True),  # one lying feed
        (1.0, 0.92, 0.1, 5.0, True),  # a pool moved for blocks
        (1.0, 1.0, 0.1, 5.0, False),  # and for the block of our read: nothing that we trade on moved
        (0.4, 0.9, math.nan, 5.0, True),  # the pool's price could not be read
        (0.4, 0.9, 0.4, 60.0, True),  # or is from before the average
        (0.4, 0.9, None, 0.0, True),
    ],
)
def test_an_average_that_only_lags_its_own_pool_contradicts_nothing(feed, average, spot, spot_age_s, held):
    """D6: a 30-minute average would make a true crash a HOLD for half an hour."""
    columns = calm_columns()
    for key, share in ((FEED, feed), (TWAP, average)):
        columns[key] = Column(times_s=np.array([NOW_S - 5.0]), values=np.array([SPOT * share]))
    if spot is not None:
        columns[POOL_SPOT] = Column(times_s=np.array([NOW_S - spot_age_s]), values=np.array([SPOT * spot]))
    assert any("disagree" in hold for hold in find_holds(POLICY, frame(columns))) is held


@pytest.mark.parametrize(("skew_s", "held"), [(0, False), (60, False), (61, True), (-61, True)])
def test_r2_clock_skew_holds(skew_s, held):
    found_holds = find_holds(POLICY, frame(blocks={31337: block(5, NOW_S - skew_s)}))
    assert bool(found_holds) is held


def test_r2_holds_of_the_source_are_kept():
    assert find_holds(POLICY, frame(holds=("sequencer is down",))) == ("sequencer is down",)


def test_no_exposure_needs_no_price():
    assert find_holds(POLICY, frame({}, exposures=())) == ()
    assert Columns(series={}).find(Metric.PRICE_USD) == ()


SEQUENCER = SeriesKey(Metric.SEQUENCER_UP, "42161", "sequencer")


def readings(*values, age_s=5.0):
    times_s = NOW_S - age_s - 12.0 * np.arange(len(values) - 1, -1, -1)
    return Column(times_s=times_s, values=np.array(values, dtype=float))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (readings(1.0, 1.0), ""),
        (readings(0.0, 1.0), ""),
        (readings(1.0, 0.0), "is down, or up for less than its grace"),
        (readings(1.0, math.nan), "could not be read"),
        (readings(1.0, 1.0, age_s=86_400.0), "no reading within"),
        (readings(), "no reading within"),
    ],
)
def test_c9_a_sequencer_that_is_not_known_to_be_up_holds(column, text):
    found_holds = find_holds(POLICY, frame(calm_columns() | {SEQUENCER: column}))
    assert len(found_holds) == bool(text)
    assert all(text in hold and "chain 42161" in hold for hold in found_holds)


def test_c9_no_sequencer_configured_holds_nothing():
    assert find_holds(POLICY, frame(calm_columns())) == ()


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_c9_a_hold_opens_no_leg_and_moves_no_tier(value):
    """R2: with the sequencer up the tail is bought, else nothing; the tier is the same."""
    up, down = (
        decide(POLICY, EngineState(), frame(calm_columns() | {SEQUENCER: readings(1.0, last)}))[1]
        for last in (1.0, value)
    )
    assert buys(up)
    assert not buys(down)
    assert any("sequencer of chain 42161" in hold for hold in down.holds)
    assert [group.tier for group in down.groups] == [group.tier for group in up.groups]
