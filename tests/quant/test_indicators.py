"""MACD and RSI: an independent recursion as oracle, the restart, crossings and divergences."""

import math

import numpy as np
import pytest

from bot.errors import InvariantError
from bot.quant.indicators import Divergence, bars_since_cross_up, divergence, macd, rsi

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
