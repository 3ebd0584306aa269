"""S5 and S6: stables against par, and against each other."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from signals.series import START_S, end_s, hourly

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.signals import SIGNALS
from bot.signals.onchain_policy import OnchainPolicy
from bot.signals.peg import peg_now
from bot.signals.policy import SignalsPolicy
from bot.signals.reer import effective_returns, rolling_vols

POLICY = SignalsPolicy()
FEED, EMA, SPOT = "chainlink:USDC/USD", "curve:3pool", "binance:spot"


def price(source, values, *, stable="USDC"):
    column = values if isinstance(values, Column) else hourly(values)
    return {SeriesKey(Metric.PRICE_USD, stable, source): column}


def read(name, series, now_s, *, policy=POLICY):
    return SIGNALS[name].read(Columns(series=series), now_s=now_s, policy=policy)


def read_one(name, series, now_s, *, policy=POLICY):
    (reading,) = read(name, series, now_s, policy=policy)
    return reading


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize(
    ("off", "score"),
    [(0.0, 0.0), (0.0015, 0.0), (0.00375, 0.5), (0.006, 1.0), (0.0061, 1.0), (0.5, 1.0)],
)
def test_s5_scores_what_two_kinds_of_sources_confirm(off, score, side):
    usd = 1.0 + side * off
    reading = read_one("S5", price(FEED, [usd] * 6) | price(EMA, [usd] * 6), end_s(6))
    assert reading.quality is Quality.LIVE
    assert (reading.subject, reading.source) == ("USDC", "chainlink+curve")
    assert reading.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("prices", "value"),
    [
        ((0.90, 1.0, 1.0), 0.0),  # one source alone is no peg break
        ((0.90, 0.95, 1.0), 0.05),  # the second farthest
        ((0.90, 0.95, 0.97), 0.05),
        ((0.94, 1.06, 1.0), 0.0),  # they disagree on the side
        ((1.02, 1.03, 0.5), 0.02),
    ],
)
def test_s5_takes_the_second_farthest_kind_on_one_side(prices, value):
    series = {}
    for source, usd in zip((FEED, EMA, SPOT), prices, strict=True):
        series |= price(source, [usd] * 6)
    assert read_one("S5", series, end_s(6)).value == pytest.approx(value)


def test_s5_counts_two_sources_of_one_kind_once():
    series = price("chainlink:a", [0.9] * 6) | price("chainlink:b", [0.9] * 6)
    alone = read_one("S5", series, end_s(6))
    assert alone.quality is Quality.ABSENT
    assert "two kinds" in alone.because
    assert read_one("S5", series | price(EMA, [1.0] * 6), end_s(6)).score == 0.0


def test_s5_never_reads_a_pools_spot_price():
    series = price(FEED, [1.0] * 6) | {SeriesKey(Metric.POOL_PRICE_USD, "USDC", "pool"): hourly([0.5] * 6)}
    assert read_one("S5", series, end_s(6)).quality is Quality.ABSENT


@pytest.mark.parametrize(("hours_off", "score"), [(1, 0.0), (2, 1.0)])
def test_s5_is_the_median_of_three_hours(hours_off, score):
    values = [1.0] * (10 - hours_off) + [0.98] * hours_off
    series = price(FEED, values) | price(EMA, values)
    assert read_one("S5", series, end_s(10)).score == score


def test_s5_median_does_not_follow_the_rate_of_reads():
    """A source that is read each minute since it fell must not outweigh the two hours before."""
    times_s = np.concatenate((hourly([0.0] * 8).times_s, end_s(8) + 60.0 * np.arange(45)))
    column = Column(times_s=times_s, values=np.where(times_s < end_s(8), 1.0, 0.9))
    series = price(FEED, column) | price(EMA, column)
    assert read_one("S5", series, float(times_s[-1])).score == 0.0


def test_s5_goes_on_with_two_sources_when_a_third_fails():
    lost = [0.9] * 2 + [math.nan] * 8
    series = price(FEED, [1.0] * 10) | price(EMA, [1.0] * 10) | price(SPOT, lost)
    reading = read_one("S5", series, end_s(10))
    assert (reading.quality, reading.score) == (Quality.LIVE, 0.0)


def test_s5_with_one_of_two_kinds_lost_is_held_then_missing():
    for lost, quality in ((0, Quality.LIVE), (2, Quality.HELD), (4, Quality.MISSING)):
        series = price(FEED, [0.98] * 12) | price(EMA, [0.98] * (12 - lost) + [math.nan] * lost)
        reading = read_one("S5", series, end_s(12))
        assert reading.quality is quality
        assert math.isnan(reading.score) if quality is Quality.MISSING else reading.score == 1.0


def test_s5_of_a_source_that_fails_too_often_is_missing_never_warming():
    """Hourly reads, of which one in five is known: each stands for 3.5 h, but not to the next."""
    values = np.where(np.arange(40) % 5 == 4, 0.98, np.nan)
    reading = read_one("S5", price(FEED, values) | price(EMA, np.ones(40)), end_s(40))
    assert reading.quality is Quality.MISSING
    assert "fails too often" in reading.because


def test_s5_is_warming_until_it_said():
    series = price(FEED, [0.98] * 9) | price(EMA, [0.98] * 9)
    short = read_one("S5", {key: column.until(end_s(1)) for key, column in series.items()}, end_s(1))
    assert (short.quality, short.warm_at_s) == (Quality.WARMING, end_s(3) - 1.0)
    assert read_one("S5", series, end_s(3)).score == 1.0


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_s5_takes_no_price_that_is_none(bad):
    reading = read_one("S5", price(FEED, [bad] * 6) | price(EMA, [1.0] * 6), end_s(6))
    assert not reading.counts


def test_s5_reads_each_stable_for_itself():
    series = {}
    for stable, usd in (("USDC", 1.0), ("USDT", 0.98)):
        series |= price("chainlink:x", [usd] * 6, stable=stable) | price(EMA, [usd] * 6, stable=stable)
    found = {item.subject: item.score for item in read("S5", series, end_s(6))}
    assert found == {"USDC": 0.0, "USDT": 1.0}


@pytest.mark.parametrize("usd", [1.0, 0.96, 0.95, 0.94, 1.06])
def test_peg_now_needs_no_median(usd):
    """R2's hard trigger: the last row alone is off."""
    values = [1.0] * 9 + [usd]
    series = Columns(series=price(FEED, values) | price(EMA, values))
    assert peg_now(series, "USDC", now_s=end_s(10), policy=POLICY).deviation == pytest.approx(abs(usd - 1.0))


def test_peg_now_needs_two_kinds_that_are_not_late():
    fresh, stale = price(FEED, [0.9] * 10), price(EMA, [0.9] * 8)
    found = peg_now(Columns(series=fresh | stale), "USDC", now_s=end_s(10), policy=POLICY)
    assert math.isnan(found.deviation)
    assert "two kinds of sources are needed, 1 known" in found.because
    assert math.isnan(peg_now(Columns(series={}), "USDC", now_s=0.0, policy=POLICY).deviation)
    one_side = peg_now(
        Columns(series=price(FEED, [0.9]) | price(EMA, [1.0])), "USDC", now_s=end_s(1), policy=POLICY
    )
    assert one_side.deviation == 0.0


HOURS = 32 * 24


def stable_returns(*, burst=1.0, seed=5):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0, 0.001, HOURS)
    returns[-24:] *= burst
    return returns


def world(burst=1.0, *, hours=HOURS):
    usdc = np.exp(np.cumsum(stable_returns(burst=burst)))[:hours]
    return (
        price(FEED, usdc)
        | price("chainlink:x", np.ones(hours), stable="USDT")
        | price("chainlink:y", np.ones(hours), stable="DAI")
    )


def usdc_of(readings):
    return next(item for item in readings if item.subject == "USDC")


def test_s6_equals_pandas():
    reading = usdc_of(read("S6", world(3.0), end_s(HOURS)))
    returns = pd.Series(stable_returns(burst=3.0)[-720:])
    vols = np.sqrt((returns**2).rolling(24).mean() * 24)
    assert reading.value == pytest.approx(vols.iloc[-1] / vols.median(), rel=1e-9)
    assert reading.score == pytest.approx(min(max((reading.value - 1.0) / 3.0, 0.0), 1.0), abs=2e-9)
    assert reading.source == FEED


def test_s6_rises_with_the_volatility_of_the_day():
    scores = [usdc_of(read("S6", world(burst), end_s(HOURS))).score for burst in (0.1, 1.0, 2.0, 3.0, 8.0)]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0.0, 1.0)


def test_s6_of_stables_that_move_together_is_calm():
    """All feeds are against a dollar that moved: nothing moved between them."""
    usd = np.exp(np.cumsum(stable_returns(burst=10.0)))
    series = price(FEED, usd) | price("chainlink:x", usd, stable="USDT")
    for reading in read("S6", series, end_s(HOURS)):
        assert (reading.value, reading.score) == (pytest.approx(0.0, abs=1e-9), 0.0)
        assert "floored" in reading.because


def test_s6_without_another_stable_is_absent():
    reading = read_one("S6", price(FEED, np.ones(HOURS)), end_s(HOURS))
    assert (reading.quality, reading.subject) == (Quality.ABSENT, "USDC")
    assert "another stable" in reading.because


def test_s6_weights_of_zero_leave_a_stable_out_of_the_basket():
    policy = SignalsPolicy(onchain=dataclasses.replace(OnchainPolicy(), reer_weights=("USDT=1", "DAI=0")))
    noisy = world() | price("chainlink:y", np.exp(stable_returns(burst=50.0, seed=9)), stable="DAI")
    plain = usdc_of(read("S6", world(), end_s(HOURS), policy=policy))
    assert usdc_of(read("S6", noisy, end_s(HOURS), policy=policy)).value == plain.value


def test_s6_basket_stands_while_one_member_fails():
    series = world(3.0)
    key = SeriesKey(Metric.PRICE_USD, "DAI", "chainlink:y")
    series[key] = hourly(np.where(np.arange(HOURS) < HOURS - 48, 1.0, np.nan))
    reading = usdc_of(read("S6", series, end_s(HOURS)))
    assert reading.quality is Quality.LIVE
    assert reading.value == pytest.approx(usdc_of(read("S6", world(3.0), end_s(HOURS))).value)


def test_s6_is_warming_then_live():
    short = usdc_of(read("S6", world(hours=100), end_s(100)))
    assert short.quality is Quality.WARMING
    assert end_s(100) < short.warm_at_s <= START_S + 31 * 86_400


def test_s6_returns_are_against_the_weighted_mean_of_what_is_known():
    own = np.array([1.0, 1.1, 1.1, 1.1])
    others = [np.array([1.0, 1.2, np.nan, 1.0]), np.array([1.0, 1.0, 1.0, 1.3])]
    found = effective_returns(own, others, [1.0, 3.0])
    np.testing.assert_allclose(found, [math.log(1.1) - 0.25 * math.log(1.2), 0.0, -math.log(1.3)])
    nothing = effective_returns(own, [np.full(4, np.nan)], [1.0])
    assert np.isnan(nothing).all()


def test_s6_rolling_vol_needs_its_share_of_bars():
    returns = np.array([0.01, np.nan, np.nan, 0.02, 0.02])
    found = rolling_vols(returns, span=2, coverage=0.6)
    assert np.isnan(found[:3]).all()
    assert found[3] == pytest.approx(0.02 * math.sqrt(2.0))
    assert np.isnan(rolling_vols(returns[:1], span=2, coverage=0.6)).all()
