"""MACD and RSI (S14, S15): a plain recursion and pandas as oracles, restart, crossings, coarser bars."""

import math

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.model.market import Column
from bot.model.units import DAY_S, HOUR_S
from bot.quant.bars import Bars, closed_bars
from bot.quant.indicators import Divergence, bars_since_cross_up, coarser, divergence, exhausted, macd, rsi

NAN = math.nan
RNG = np.random.default_rng(8)
CLOSE = 2000.0 * np.exp(np.cumsum(RNG.normal(0.0, 0.01, 500)))


def ema(values, period):
    """Seeded with the mean of the first ``period`` values, as Appel and TA-Lib do."""
    out = np.full(values.size, NAN)
    out[period - 1] = values[:period].mean()
    for index in range(period, values.size):
        out[index] = out[index - 1] + (values[index] - out[index - 1]) * 2.0 / (period + 1)
    return out


def wilder(values, period):
    change = np.diff(values)
    gains, losses = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    gain, loss = gains[:period].mean(), losses[:period].mean()
    out = [NAN] * period + [100.0 * gain / (gain + loss)]
    for up, down in zip(gains[period:], losses[period:], strict=True):
        gain, loss = (gain * (period - 1) + up) / period, (loss * (period - 1) + down) / period
        out.append(100.0 * gain / (gain + loss))
    return np.array(out)


def test_macd_is_the_difference_of_two_emas():
    """TA-Lib starts both EMAs at the bar where the slow one has its first value."""
    found = macd(CLOSE, lookback=360)
    window = CLOSE[-360:]
    fast = np.concatenate((np.full(14, NAN), ema(window[14:], 12)))
    line = fast - ema(window, 26)
    signal = np.concatenate((np.full(25, NAN), ema(line[25:], 9)))
    np.testing.assert_allclose(found.line[33:], line[33:], rtol=1e-9)
    np.testing.assert_allclose(found.signal[33:], signal[33:], rtol=1e-9)
    np.testing.assert_allclose(found.histogram[33:], (line - signal)[33:], rtol=1e-7, atol=1e-9)
    assert np.isnan(found.histogram[:33]).all()
    assert found.coverage == 1.0


def test_rsi_is_wilders():
    np.testing.assert_allclose(rsi(CLOSE, lookback=140), wilder(CLOSE[-140:], 14), rtol=1e-9)


def test_indicators_do_not_remember_what_is_before_their_lookback():
    changed = CLOSE.copy()
    changed[:-360] *= 3.0
    np.testing.assert_array_equal(macd(changed, lookback=360).histogram, macd(CLOSE, lookback=360).histogram)
    np.testing.assert_array_equal(rsi(changed, lookback=140), rsi(CLOSE, lookback=140))


@pytest.mark.parametrize(("hole", "known"), [(36, 360 - 36), (37, 100)])
def test_holes_are_skipped_and_long_ones_restart(hole, known):
    torn = CLOSE.copy()
    torn[-100 - hole : -100] = NAN
    found = macd(torn, lookback=360)
    assert found.close.size == known
    assert found.coverage == pytest.approx(known / 360)
    compressed = torn[-360:][-100 - (hole if hole > 36 else 260) :] if hole <= 36 else torn[-100:]
    compressed = compressed[np.isfinite(compressed)]
    assert found.line[-1] == pytest.approx(ema(compressed[14:], 12)[-1] - ema(compressed, 26)[-1])


@pytest.mark.parametrize("known", [0, 1, 33])
def test_too_few_bars_have_no_value(known):
    found = macd(CLOSE[:known], lookback=260)
    assert np.isnan(found.histogram).all()
    assert found.histogram.size == known
    assert np.isnan(rsi(CLOSE[: min(known, 14)], lookback=140)).all()


def test_lookback_under_ten_periods_is_refused():
    with pytest.raises(InvariantError, match="at least 10 x 26 bars, was 259"):
        macd(CLOSE, lookback=259)
    with pytest.raises(InvariantError, match="at least 10 x 14 bars, was 139"):
        rsi(CLOSE, lookback=139)


@pytest.mark.parametrize(
    ("histogram", "line", "bars"),
    [
        ([-1.0, 1.0], 1.0, 1),  # the bar of the cross
        ([0.0, 1.0, 2.0, 1.0], 1.0, 3),
        ([-1.0, 1.0, -1.0, 1.0], 1.0, 1),  # the last cross counts
        ([-1.0, 1.0], -1.0, 0),  # vol is still under its trend
        ([-1.0, 0.05], 1.0, 0),  # inside the dead band
        ([1.0, 2.0], 1.0, 0),  # never crossed
        ([NAN, 1.0, 2.0], 1.0, 0),
        ([1.0, -1.0], 1.0, 0),
        ([], 1.0, 0),
    ],
)
def test_expansion_counts_bars_since_the_cross(histogram, line, bars):
    histogram = np.array(histogram, dtype=np.float64)
    assert bars_since_cross_up(np.full(histogram.size, line), histogram, dead_band=0.1) == bars


@pytest.mark.parametrize(
    ("close", "line", "kind"),
    [
        ([1, 5, 1, 1, 6, 1], [1, 5, 1, 1, 4, 1], Divergence.BEARISH),
        ([5, 3, 5, 5, 2, 5], [5, 3, 5, 5, 4, 5], Divergence.BULLISH),
        ([1, 5, 1, 1, 6, 1], [1, 5, 1, 1, 6, 1], Divergence.NONE),  # confirmed high
        ([1, 5, 1, 1, 5, 1], [1, 5, 1, 1, 4, 1], Divergence.NONE),  # no higher high
        ([1, 5, 1, 1, 6, 1], [NAN, 5, 1, 1, 4, 1], Divergence.NONE),
        ([5, 1, 6], [5, 1, 4], Divergence.NONE),  # too short
    ],
)
def test_divergence_compares_two_stretches(close, line, kind):
    found = divergence(np.array(close, dtype=np.float64), np.array(line, dtype=np.float64), bars=3)
    assert found is kind


@given(
    rows=st.lists(st.tuples(st.integers(1, 9), st.integers(-4, 4)), min_size=12, max_size=30),
    bars=st.integers(1, 6),
)
def test_divergence_is_that_of_plain_extremes_and_knows_no_unit(rows, bars):
    close, line = (np.array(part, dtype=np.float64) for part in zip(*rows, strict=True))
    found = divergence(close, line, bars=bars)
    assert divergence(close * 8.0, line * 0.5, bars=bars) is found
    highs, lows = (
        [(kind(part[-2 * bars : -bars]), kind(part[-bars:])) for part in (close.tolist(), line.tolist())]
        for kind in (max, min)
    )
    bearish = highs[0][1] > highs[0][0] and highs[1][1] < highs[1][0]
    bullish = lows[0][1] < lows[0][0] and lows[1][1] > lows[1][0]
    expected = Divergence.BEARISH if bearish else Divergence.BULLISH if bullish else Divergence.NONE
    assert found is expected


def test_macd_is_that_of_pandas_after_warm_up_and_of_talib_throughout():
    """pandas starts at the first bar, TA-Lib at a plain mean: under 1e-12 of that is left 360 bars later."""
    found = macd(CLOSE, lookback=500)
    series = pd.Series(CLOSE)
    line = series.ewm(span=12, adjust=False).mean() - series.ewm(span=26, adjust=False).mean()
    signal = line.ewm(span=9, adjust=False).mean()
    np.testing.assert_allclose(found.line[400:], line[400:], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.signal[400:], signal[400:], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.histogram[400:], (line - signal)[400:], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.line, talib.MACD(CLOSE)[0])


def test_rsi_is_that_of_pandas_after_warm_up():
    change = pd.Series(CLOSE).diff()
    gain, loss = (side.clip(lower=0.0).ewm(alpha=1 / 14).mean() for side in (change, -change))
    oracle = 100.0 * gain / (gain + loss)
    np.testing.assert_allclose(rsi(CLOSE, lookback=500)[450:], oracle[450:], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([30.0, 20.0, 22.0, 24.0], True),
        ([20.0, 22.0, 24.999], True),
        ([20.0, 22.0, 25.0], False),  # at the level
        ([20.0, 22.0, 26.0], False),  # already above
        ([23.0, 22.0, 24.0], False),  # one bar of rise
        ([20.0, 22.0, 22.0], False),  # flat is not rising
        ([24.0, 22.0, 20.0], False),
        ([22.0, 24.0], None),
        ([math.nan, 22.0, 24.0], None),
        ([20.0, 22.0, math.nan], None),
        ([], None),
    ],
)
def test_exhaustion_is_low_and_rising_for_two_bars(values, found):
    """S14: RSI of price under 25 and rising for 2 bars."""
    assert exhausted(np.array(values), below=25.0, rising_bars=2) is found


def test_exhaustion_needs_a_rise():
    with pytest.raises(InvariantError, match="at least 1 bar"):
        exhausted(CLOSE, below=25.0, rising_bars=0)


def hourly(close, *, first_hour=0):
    close = np.array(close, dtype=np.float64)
    return Bars(times_s=(first_hour + np.arange(close.size)) * float(HOUR_S), close=close, bar_s=HOUR_S)


@pytest.mark.parametrize(
    ("close", "first_hour", "opens", "coarse"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 0, [0, 4], [4, 8]),
        ([1, 2, 3, 4, 5, 6, 7], 0, [0], [4]),  # the second has not closed
        ([1, 2, 3, 4, 5, 6, 7, 8], 1, [4], [7]),  # the first is not whole
        ([1, 2, 3, NAN, NAN, NAN, NAN, NAN], 0, [0, 4], [3, NAN]),
        ([NAN, 2, NAN, NAN], 8, [8], [2]),
        ([1, 2, 3], 0, [], []),
        ([1, 2, 3], 1, [], []),
        ([1], 3, [], []),
        ([], 0, [], []),
    ],
)
def test_four_hour_bars_open_at_whole_four_hours(close, first_hour, opens, coarse):
    found = coarser(hourly(close, first_hour=first_hour), bar_s=4 * HOUR_S)
    np.testing.assert_array_equal(found.times_s, np.array(opens) * float(HOUR_S))
    np.testing.assert_array_equal(found.close, np.array(coarse, dtype=np.float64))
    assert found.bar_s == 4 * HOUR_S


@given(
    times=st.lists(st.integers(0, 6 * DAY_S), max_size=60, unique=True),
    bar_s=st.sampled_from([HOUR_S, 4 * HOUR_S, DAY_S]),
    now_s=st.integers(0, 6 * DAY_S),
    count=st.integers(0, 100),
)
def test_coarser_bars_are_those_of_the_observations(times, bar_s, now_s, count):
    times_s = np.array(sorted(times), dtype=np.float64)
    values = np.where(times_s % 3 == 0, NAN, 1.0 + times_s)
    column = Column(times_s=times_s, values=values)
    found = coarser(closed_bars(column, bar_s=HOUR_S, now_s=now_s, count=count), bar_s=bar_s)
    direct = closed_bars(column, bar_s=bar_s, now_s=now_s, count=found.close.size)
    np.testing.assert_array_equal(found.close, direct.close)
    np.testing.assert_array_equal(found.times_s, direct.times_s)
    assert found.close.size >= count // (bar_s // HOUR_S) - 1  # at most the two ends are lost


@pytest.mark.parametrize("bar_s", [0, 1800, 5400, -DAY_S])
def test_bars_that_do_not_divide_are_refused(bar_s):
    with pytest.raises(InvariantError, match="multiple of 3600 s"):
        coarser(hourly([1.0, 2.0]), bar_s=bar_s)
