"""S24, S25, S26 and the moves that they add up: golden numbers, anchors, edges, holes."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signals.series import IV_30D, PRICE, START_S, columns_of, end_s, hourly
from signals.technical_reads import POLICY, read, read_one, walk

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.model.units import DAY_S, HOUR_S
from bot.signals import SIGNALS
from bot.signals.moves import moves

QUARTER = 90 * 24
MONTH = 30 * 24
DAY = 24


# S24


@pytest.mark.parametrize(
    ("sigmas", "score"),
    [(1.0, 0.0), (-0.5, 0.0), (-0.4999, 0.0), (-1.25, 0.5), (-2.0, 1.0), (-2.5, 1.0)],
)
def test_s24_is_the_days_return_in_days_of_implied_vol(sigmas, score):
    iv = 0.8
    day = iv / math.sqrt(365.0)
    price = 3000.0 * np.exp(np.linspace(0.0, sigmas * day, DAY + 1))
    columns = columns_of(PRICE=hourly(price), IV_30D=hourly(np.full(DAY + 1, iv)))
    reading = read_one("S24", columns, end_s(DAY + 1))
    assert reading.value == pytest.approx(sigmas, rel=1e-9)
    assert reading.score == pytest.approx(score, abs=2e-9)


def test_s24_reads_each_asset_with_its_own_vol_and_no_other():
    """BTC has an index, ETH options, LINK neither: absent, not measured by another's."""
    rows = hourly(walk(50))
    columns = columns_of(
        PRICE=rows,
        IV_30D=hourly(np.full(50, 0.8)),
        BTC_PRICE=rows,
        BTC_INDEX=hourly(np.full(50, 0.4)),
        LINK_PRICE=rows,
    )
    readings = {item.subject: item for item in SIGNALS["S24"].read(columns, now_s=end_s(50), policy=POLICY)}
    assert readings["BTC"].value == pytest.approx(2.0 * readings["ETH"].value)
    assert readings["LINK"].quality is Quality.ABSENT
    assert "no 30-day implied vol of LINK" in readings["LINK"].because


def test_s24_takes_the_index_while_the_options_fail():
    rows = hourly(walk(50))
    dead = Column(times_s=rows.times_s, values=np.full(50, np.nan))
    columns = columns_of(PRICE=rows, IV_30D=dead, VOL_INDEX=hourly(np.full(50, 0.6)))
    reading = read_one("S24", columns, end_s(50))
    assert reading.quality is Quality.LIVE
    assert "60.0%" in reading.because


@pytest.mark.parametrize("iv", [0.0, -0.5, 0.005, 5.01, 80.0])
def test_s24_refuses_an_implied_vol_that_is_none(iv):
    columns = columns_of(PRICE=hourly(walk(50)), IV_30D=hourly(np.full(50, iv)))
    assert read_one("S24", columns, end_s(50)).quality is Quality.MISSING


@pytest.mark.parametrize("name", ["S11", "S24", "S26"])
@pytest.mark.parametrize(
    ("source", "empty", "is_seen"),
    [("binance:spot", 1, False), ("chainlink:ETH/USD", 1, True), ("chainlink:ETH/USD", 2, False)],
)
def test_no_return_crosses_a_hole_and_a_quiet_feed_has_none(name, source, empty, is_seen):
    """A table without a row has a hole; a feed within its heartbeat had nothing to say until it fell."""

    def value(lost):
        rng = np.random.default_rng(5)
        price = 3000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.002, MONTH + 1)))
        price[-6:] *= 0.9
        rows = hourly(price)
        known = np.ones(MONTH + 1, dtype=bool)
        known[MONTH - 5 - lost : MONTH - 5] = False
        part = Column(times_s=rows.times_s[known], values=rows.values[known])
        series = {SeriesKey(Metric.PRICE_USD, "ETH", source): part, IV_30D: hourly(np.full(MONTH + 1, 0.8))}
        return read_one(name, Columns(series=series), end_s(MONTH + 1)).value

    whole, torn = value(0), value(empty)
    if is_seen:
        assert torn == pytest.approx(whole, rel=0.05)
    else:
        assert abs(torn) < 0.7 * abs(whole)


# S25


@pytest.mark.parametrize(("jump", "score"), [(0.0, 0.0), (0.03, 0.0), (0.09, 0.5), (0.15, 1.0), (0.5, 1.0)])
def test_s25_is_the_index_over_its_low_of_the_day(jump, score):
    values = np.full(DAY + 1, 0.70)
    values[5] = 0.60
    values[-1] = 0.60 * (1.0 + jump)
    reading = read_one("S25", columns_of(VOL_INDEX=hourly(values)), end_s(DAY + 1))
    assert reading.value == pytest.approx(jump, abs=1e-12)
    assert reading.score == pytest.approx(score, abs=2e-9)


def test_s25_forgets_a_low_older_than_a_day():
    values = np.concatenate(([0.1], np.full(DAY + 1, 0.70)))
    assert read_one("S25", columns_of(VOL_INDEX=hourly(values)), end_s(DAY + 2)).value == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_s25_agrees_with_pandas(seed):
    values = walk(200, level=0.7, step=0.02, seed=seed)
    expected = pd.Series(values) / pd.Series(values).rolling(25).min() - 1.0
    for hour in range(40, 201, 20):
        reading = read_one("S25", columns_of(VOL_INDEX=hourly(values)), end_s(hour))
        assert reading.value == pytest.approx(expected[hour - 1], abs=1e-9)


# S26


def test_s26_of_a_steady_market_is_one():
    close = 3000.0 * np.exp(0.01 * (np.arange(MONTH + 1) % 2))
    reading = read_one("S26", columns_of(PRICE=hourly(close)), end_s(MONTH + 1))
    assert reading.value == pytest.approx(1.0)
    assert reading.score == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_s26_agrees_with_pandas_and_sees_falls_only(seed):
    close = walk(MONTH + 1, seed=seed)
    down = pd.Series(close).pipe(np.log).diff().clip(upper=0.0)[1:] ** 2
    expected = math.sqrt(down[-24:].mean() / down.mean())
    reading = read_one("S26", columns_of(PRICE=hourly(close)), end_s(MONTH + 1))
    assert reading.value == pytest.approx(expected, rel=1e-9)
    rally = close.copy()
    rally[-10:] *= np.exp(0.05 * np.arange(1, 11))
    assert read_one("S26", columns_of(PRICE=hourly(rally)), end_s(MONTH + 1)).value < expected


@pytest.mark.parametrize(("ratio", "score"), [(1.0, 0.0), (1.75, 0.5), (2.5, 1.0)])
def test_s26_scores_between_its_anchors(ratio, score):
    """Falls of one size before, and of one size in the last day, so that the ratio of both is ``ratio``."""
    falls = np.tile([0.01, -0.01], MONTH // 2)
    share = 24 / MONTH
    size = 0.01 * math.sqrt(ratio**2 * (1.0 - share) / (1.0 - ratio**2 * share))
    falls[-24:] = np.tile([size, -size], 12)
    close = 3000.0 * np.exp(np.concatenate(([0.0], np.cumsum(falls))))
    reading = read_one("S26", columns_of(PRICE=hourly(close)), end_s(MONTH + 1))
    assert reading.value == pytest.approx(ratio, rel=1e-9)
    assert reading.score == pytest.approx(score, abs=1e-7)


def test_s26_of_a_price_that_never_fell_is_unknown():
    rising = 3000.0 * np.exp(0.001 * np.arange(MONTH + 1))
    reading = read_one("S26", columns_of(PRICE=hourly(rising)), end_s(MONTH + 1))
    assert reading.quality is Quality.MISSING
    assert "did not fall" in reading.because


def test_s26_behind_a_long_hole_waits_for_its_day():
    values = walk(MONTH + 1)
    values[-50:-10] = np.nan
    rows = hourly(values)
    known = np.isfinite(rows.values)
    column = Column(times_s=rows.times_s[known], values=rows.values[known])
    reading = read_one("S26", columns_of(PRICE=column), end_s(MONTH + 1))
    assert reading.quality is Quality.WARMING
    assert "24 h" in reading.because


# What S24-S26 add up


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        ([1.0, math.e, 1.0], [math.nan, 1.0, -1.0]),
        ([1.0, math.nan, math.e], [math.nan, 0.0, 1.0]),  # quiet: the move stands where the feed spoke
        ([1.0, math.nan, math.nan, math.e], [math.nan, math.nan, math.nan, math.nan]),  # a hole
        ([math.nan, 1.0, math.e, math.nan], [math.nan, math.nan, 1.0, math.nan]),
        ([1.0, 0.0, math.e], [math.nan, 0.0, 1.0]),  # 0 is no price
        ([1.0, -1.0, -1.0, 1.0], [math.nan, math.nan, math.nan, math.nan]),
        ([math.nan, math.nan], [math.nan, math.nan]),
        ([], []),
    ],
)
def test_moves_cross_quiet_bars_and_no_hole(close, expected):
    found = moves(np.array(close, dtype=np.float64), quiet_bars=1)
    assert found == pytest.approx(expected, nan_ok=True)


def test_all_read_at_the_last_closed_bar_of_a_source_that_is_late():
    """Stale for two hours: the score of the last good bar holds; for five: missing."""
    rows, vols = hourly(walk(MONTH + 1)), hourly(walk(MONTH + 1, level=0.7))
    columns = Columns(series={PRICE: rows, IV_30D: vols})
    for name in ("S14", "S24", "S26"):
        live = read_one(name, columns, end_s(MONTH + 1))
        held = read_one(name, columns, end_s(MONTH + 3))
        assert (live.quality, held.quality) == (Quality.LIVE, Quality.HELD)
        assert (held.score, held.value) == (live.score, live.value)
        assert read_one(name, columns, end_s(MONTH + 6)).quality is Quality.MISSING


def test_the_spans_are_those_of_the_signals_table():
    technical = POLICY.technical
    assert (technical.drawdown_span_s, technical.vol_jump_span_s) == (DAY_S, DAY_S)
    assert (technical.semivariance_span_s, technical.semivariance_window_s) == (DAY_S, 30 * DAY_S)
    assert (technical.iv_window_s, technical.rsi.period) == (90 * DAY_S, 14)
    assert (technical.macd.entry.bar_s, technical.macd.regime.bar_s) == (4 * HOUR_S, DAY_S)
    assert START_S % DAY_S == 0


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=40), st.integers(0, 3), st.data())
@settings(max_examples=60)
def test_moves_add_up_to_the_whole_move_unless_a_hole_took_its_part(ratios, quiet, data):
    """Law: with gaps within ``quiet_bars`` the sum is log(last / first), each known close being 1 or more."""
    close = np.cumprod(np.array(ratios))
    lost = data.draw(st.sets(st.integers(1, close.size - 2))) if close.size > 2 else set()
    close[sorted(lost)] = np.nan
    known = np.flatnonzero(np.isfinite(close))
    found = moves(close, quiet_bars=quiet)
    jumps = np.diff(np.log(close[known]))[np.diff(known) - 1 <= quiet]
    assert np.nansum(found) == pytest.approx(jumps.sum(), abs=1e-9)
    if quiet == 0:
        expected = np.diff(np.log(close), prepend=np.nan)
        assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "known_h"), [("S10", 432), ("S22", 1), ("S24", 15), ("S25", 15), ("S26", 433)]
)
def test_sixty_percent_of_the_bars_are_needed_and_enough(name, known_h):
    price, vol = walk(known_h), walk(known_h, level=0.7)
    columns = columns_of(
        PRICE=hourly(price),
        IV_30D=hourly(vol),
        VOL_INDEX=hourly(vol),
        FUNDING=hourly(price / 1e4),
        PARITY=hourly(vol),
    )
    assert {item.quality for item in read(name, columns, end_s(known_h))} == {Quality.LIVE}
    earlier = Columns(series={key: item.until(end_s(known_h - 1)) for key, item in columns.series.items()})
    qualities = {item.quality for item in read(name, earlier, end_s(known_h - 1))}
    assert qualities == {Quality.MISSING if known_h == 1 else Quality.WARMING}
