"""S15 on its three bars: 1 h scores, 4 h times entries (R5, R12), 24 h is the regime; on-chain volume."""

import math

import numpy as np
import pandas as pd
import pytest
import talib
from signals.series import POOL, PRICE, START_S, columns_of, end_s, hourly

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.model.units import DAY_S, HOUR_S
from bot.quant.indicators import Divergence
from bot.signals import SIGNALS
from bot.signals.macd import MACD, Regime, price_divergence, price_regime, regime_lookback_s
from bot.signals.macd_bars import MacdSpan, bar_span, entry_span, macd_at, regime_span
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()


def walk(size, *, level=3000.0, step=0.006, seed=1):
    rng = np.random.default_rng(seed)
    return level * np.exp(np.cumsum(rng.normal(0.0, step, size)))


def resampled(values, span: MacdSpan):
    """Closes on longer bars by pandas, whole ones only, the last ``lookback_bars``."""
    times = pd.to_datetime(START_S + HOUR_S * np.arange(values.size) + HOUR_S - 1, unit="s")
    table = pd.Series(values, index=times).resample(f"{span.bar_s}s")
    whole = table.last()[table.size() == span.bar_s // HOUR_S]
    return whole.to_numpy()[-span.lookback_bars :]


@pytest.mark.parametrize("hours", [24 * 300, 24 * 300 + 5, 24 * 300 + 23])
@pytest.mark.parametrize("make", [bar_span, entry_span, regime_span])
def test_macd_equals_talib_on_the_bars_of_pandas(make, hours):
    span, values = make(POLICY), walk(hours)
    found = macd_at(columns_of(PRICE=hourly(values)), PRICE, span, now_s=end_s(hours), policy=POLICY)
    closes = resampled(values, span)
    line, signal, histogram = talib.MACD(closes, 12, 26, 9)
    assert found.close == pytest.approx(closes, rel=1e-15)
    assert found.line[-100:] == pytest.approx(line[-100:], rel=1e-9)
    assert found.signal[-100:] == pytest.approx(signal[-100:], rel=1e-9)
    assert found.histogram[-100:] == pytest.approx(histogram[-100:], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("make", [bar_span, entry_span, regime_span])
def test_macd_on_every_bar_agrees_on_prefix_window_and_whole(make):
    span, values = make(POLICY), walk(24 * 320)
    rows = hourly(values)
    for now_s in (end_s(24 * 300), end_s(24 * 300 + 7) + 17.0, end_s(24 * 310) - 1.0):
        whole = macd_at(columns_of(PRICE=rows), PRICE, span, now_s=now_s, policy=POLICY)
        prefix = rows.until(now_s)
        window = prefix.since(now_s - span.lookback_s(POLICY))
        for part in (prefix, window):
            found = macd_at(columns_of(PRICE=part), PRICE, span, now_s=now_s, policy=POLICY)
            assert found.line.tobytes() == whole.line.tobytes()
            assert found.histogram.tobytes() == whole.histogram.tobytes()


def test_an_open_bar_of_four_hours_is_never_used():
    values = walk(1200)
    wild = values.copy()
    wild[-2:] *= 3.0
    span = entry_span(POLICY)
    calm, shaken = (
        macd_at(columns_of(PRICE=hourly(item)), PRICE, span, now_s=end_s(1199) + 5.0, policy=POLICY)
        for item in (values, wild)
    )
    assert calm.line.tobytes() == shaken.line.tobytes()
    closed = macd_at(columns_of(PRICE=hourly(wild)), PRICE, span, now_s=end_s(1200), policy=POLICY)
    assert closed.line[-1] != calm.line[-1]


@pytest.mark.parametrize(("hole_h", "restarts"), [(36, False), (44, True)])
def test_long_holes_restart_macd_on_longer_bars_too(hole_h, restarts):
    """36 h are 9 bars of 4 h: skipped; 11 are not."""
    values = walk(4 * 400)
    start = 4 * 180
    values[-start - hole_h : -start] = np.nan
    span = entry_span(POLICY)
    found = macd_at(columns_of(PRICE=hourly(values)), PRICE, span, now_s=end_s(4 * 400), policy=POLICY)
    assert found.close.size == (180 if restarts else 260 - hole_h // 4)


def test_regime_is_the_sign_of_the_daily_line():
    days = 200
    rising = hourly(np.repeat(1000.0 * 1.005 ** np.arange(days), 24))
    falling = hourly(np.repeat(1000.0 * 0.995 ** np.arange(days), 24))

    def at(column, now_h=days * 24):
        columns = columns_of() if column is None else columns_of(PRICE=column)
        return price_regime(columns, now_s=end_s(now_h), policy=POLICY, subject="ETH")

    assert (at(rising), at(falling)) == (Regime.RISING, Regime.FALLING)
    assert at(rising.until(end_s(155 * 24)), 155 * 24) is Regime.UNKNOWN  # 60 % of 260 days
    assert at(rising.until(end_s(156 * 24)), 156 * 24) is Regime.RISING
    assert at(rising, days * 24 + 30) is Regime.UNKNOWN  # missing
    assert at(None) is Regime.UNKNOWN


def test_regime_needs_one_row_a_day_of_the_past_only():
    """R8's daily closes are history enough; the newest rows say how fresh the source is."""
    days = 200
    close = 1000.0 * 1.005 ** np.arange(days)
    daily = START_S + DAY_S * (1.0 + np.arange(days - 2)) - 1.0
    recent = START_S + DAY_S * (days - 2) + HOUR_S * (1.0 + np.arange(48)) - 1.0
    column = Column(
        times_s=np.concatenate((daily, recent)),
        values=np.concatenate((close[:-2], np.repeat(close[-2:], 24))),
    )
    now_s = end_s(days * 24)
    found = price_regime(columns_of(PRICE=column), now_s=now_s, policy=POLICY, subject="ETH")
    assert found is Regime.RISING
    assert regime_lookback_s(POLICY) > 260 * DAY_S
    assert MACD.lookback_s(POLICY) < 60 * DAY_S


def test_r5_divergence_is_read_on_bars_of_four_hours():
    """A steep rally, a rest, a crawl to a higher high: price confirms what MACD does not."""
    base = [2000.0] * 200
    steep = list(2000.0 * 1.02 ** np.arange(1, 13))
    rest = list(np.linspace(steep[-1], 0.97 * steep[-1], 12))
    crawl = list(np.linspace(rest[-1], 1.02 * steep[-1], 18))
    up = np.array(base + steep + rest + crawl)
    for closes, expected in (
        (up, Divergence.BEARISH),
        (4_000_000.0 / up, Divergence.BULLISH),
        (np.full(242, 2000.0), Divergence.NONE),
    ):
        columns = columns_of(PRICE=hourly(np.repeat(closes, 4)))
        now_s = end_s(4 * closes.size)
        assert price_divergence(columns, now_s=now_s, policy=POLICY, subject="ETH") is expected


@pytest.mark.parametrize(("hours", "now_h"), [(600, 600), (1200, 1210)])  # warming, missing
def test_r5_divergence_without_data_is_unknown(hours, now_h):
    columns = columns_of(PRICE=hourly(walk(hours)))
    assert price_divergence(columns, now_s=end_s(now_h), policy=POLICY, subject="ETH") is None
    assert price_divergence(columns_of(), now_s=end_s(now_h), policy=POLICY, subject="ETH") is None


def volume_reading(volume, price, *, now_h=None):
    columns = columns_of(VOLUME=hourly(volume), PRICE=hourly(price))
    readings = SIGNALS["S15"].read(columns, now_s=end_s(now_h or len(volume)), policy=POLICY)
    (found,) = [item for item in readings if item.subject == POOL]
    return found


FLAT, RISE = np.full(400, 1e7), 1e7 * 1.02 ** np.arange(1, 31)
FALLING = np.concatenate((np.full(400, 3000.0), 3000.0 * 0.99 ** np.arange(1, 31)))
RISING = np.concatenate((np.full(400, 3000.0), 3000.0 * 1.01 ** np.arange(1, 31)))


@pytest.mark.parametrize(("bars", "score"), [(1, 0.5), (2, 1.0), (10, 1.0), (24, 1.0), (25, 0.0)])
def test_s15_volume_that_expands_into_a_fall_is_stress(bars, score):
    volume = np.concatenate((FLAT, RISE[:bars]))
    found = volume_reading(volume, FALLING[: volume.size])
    assert (found.score, found.quality, found.source) == (score, Quality.LIVE, "pool")


def test_s15_volume_that_expands_into_a_rise_is_none():
    volume = np.concatenate((FLAT, RISE[:10]))
    found = volume_reading(volume, RISING[: volume.size])
    assert found.score == 0.0
    assert "does not fall" in found.because


def test_s15_volume_that_does_not_expand_is_none():
    found = volume_reading(np.concatenate((FLAT, FLAT[:10])), FALLING[:410])
    assert found.score == 0.0


@pytest.mark.parametrize("lost", ["volume", "price"])
def test_s15_volume_needs_both_series(lost):
    volume, price = np.concatenate((FLAT, RISE)), FALLING.copy()
    (volume if lost == "volume" else price)[-20:] = math.nan
    assert volume_reading(volume, price).quality is Quality.MISSING


def test_s15_volume_without_a_price_of_its_underlying_is_absent():
    key = SeriesKey(Metric.VOLUME_USD_1D, "v3:PEPE/USDC", "pool")
    columns = Columns(series={key: hourly(FLAT)})
    readings = SIGNALS["S15"].read(columns, now_s=end_s(400), policy=POLICY)
    (found,) = [item for item in readings if item.subject == key.subject]
    assert found.quality is Quality.ABSENT
    assert "no price of PEPE" in found.because
