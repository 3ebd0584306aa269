"""S10, S11, S13, S15 and what R4 and R12 ask of MACD: golden numbers, anchors and edges."""

import math

import numpy as np
import pandas as pd
import pytest
from signals.series import PRICE, START_S, columns_of, end_s, hourly

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.model.units import HOUR_S
from bot.signals import SIGNALS
from bot.signals.macd import Breakdown, price_breakdown, vol_expansion
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()
MONTH = 30 * 24


def read_one(name, columns, now_s, *, source=None):
    readings = [
        r
        for r in SIGNALS[name].read(columns, now_s=now_s, policy=POLICY)
        if r.quality is not Quality.ABSENT and source in (None, r.source)
    ]
    (reading,) = readings
    return reading


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("jump", "z"),
    [
        (0.0, 0.0),
        (0.04, 0.04 * 719 / 720 / 0.02),  # sigma is floored at 2 % a year
        (5.0, math.sqrt(719.0)),  # one outlier among 720: (1 - 1/720) / (sqrt(719)/720)
    ],
)
def test_s10_is_a_z_score_of_both_signs(jump, z, sign):
    columns = columns_of(FUNDING=hourly([0.0] * (MONTH - 1) + [sign * jump]))
    reading = read_one("S10", columns, end_s(MONTH))
    assert reading.value == pytest.approx(sign * z)
    assert reading.score == pytest.approx(min(max((z - 1.0) / 2.0, 0.0), 1.0), abs=2e-9)


def test_s10_of_eight_hourly_settlements_counts_their_own_intervals():
    rng = np.random.default_rng(5)
    values = rng.normal(0.1, 0.05, 95)
    times = START_S + 8.0 * HOUR_S * np.arange(95)
    column = Column(times_s=times, values=values)
    now_s = float(times[-1]) + 5 * HOUR_S  # between two settlements
    reading = read_one("S10", columns_of(FUNDING=column), now_s)
    window = values[-90:]
    assert reading.quality is Quality.LIVE
    assert reading.value == pytest.approx((window[-1] - window.mean()) / window.std())


def test_s11_of_a_steady_market_is_one():
    close = 3000.0 * np.exp(0.01 * (np.arange(MONTH + 1) % 2))  # returns of exactly +-1 %
    reading = read_one("S11", columns_of(PRICE=hourly(close)), end_s(MONTH + 1))
    assert reading.value == pytest.approx(1.0)
    assert reading.score == 0.0


def test_s11_agrees_with_pandas():
    rng = np.random.default_rng(9)
    returns = np.concatenate((rng.normal(0, 0.004, MONTH - 20), rng.normal(0, 0.012, 20)))
    close = 3000.0 * np.exp(np.concatenate(([0.0], np.cumsum(returns))))
    short = math.sqrt(pd.Series(returns**2).ewm(span=24).mean().iloc[-1])
    long = math.sqrt(np.mean(returns**2))
    reading = read_one("S11", columns_of(PRICE=hourly(close)), end_s(MONTH + 1))
    assert reading.value == pytest.approx(short / long, rel=1e-12)
    assert reading.value > 1.3


def test_s11_return_does_not_cross_a_hole_and_long_holes_restart_it():
    """The price doubles inside the hole; neither vol may see it."""
    rng = np.random.default_rng(2)
    close = 3000.0 * np.exp(np.cumsum(rng.normal(0, 0.005, MONTH + 1)))
    quiet = read_one("S11", columns_of(PRICE=hourly(close)), end_s(MONTH + 1))
    for hole in (10, 40):
        torn = close.copy()
        torn[-100:] *= 2.0
        torn[-100 - hole : -100] = np.nan
        reading = read_one("S11", columns_of(PRICE=hourly(torn)), end_s(MONTH + 1))
        assert reading.value == pytest.approx(quiet.value, rel=0.1)


def test_s11_of_a_price_that_never_moved_is_missing():
    reading = read_one("S11", columns_of(PRICE=hourly([3000.0] * (MONTH + 1))), end_s(MONTH + 1))
    assert reading.quality is Quality.MISSING
    assert "did not move" in reading.because


def test_s11_reads_the_primary_price_only_and_no_stable():
    prices = hourly(3000.0 * np.exp(0.01 * (np.arange(MONTH + 1) % 2)))
    columns = Columns(
        series={
            SeriesKey(Metric.PRICE_USD, "ETH", "twap:v3:ETH/USDC"): prices,
            SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD"): prices,
            SeriesKey(Metric.PRICE_USD, "sUSD", "twap:v3:USDC/sUSD"): prices,
        }
    )
    (reading,) = SIGNALS["S11"].read(columns, now_s=end_s(MONTH + 1), policy=POLICY)
    assert (reading.subject, reading.source) == ("ETH", "chainlink:ETH/USD")


def test_quiet_chainlink_feed_is_not_late_before_its_heartbeat():
    """An hour without an update leaves a bar empty; the last known one still stands."""
    rng = np.random.default_rng(4)
    times = START_S + np.cumsum(rng.uniform(600.0, 3590.0, 3000))
    times = times[times < START_S + 40 * 24 * HOUR_S]
    times = times[(times < times[-1] - 2 * HOUR_S) | (times == times[-1])]
    column = Column(times_s=times, values=3000.0 * np.exp(np.cumsum(rng.normal(0, 0.003, times.size))))
    columns = Columns(series={SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD"): column})
    for age_s in (1.0, 1800.0, 3599.0):
        for name in ("S11", "S15"):
            reading = read_one(name, columns, float(times[-1]) + age_s)
            assert reading.quality is Quality.LIVE
    assert read_one("S11", columns, float(times[-1]) + 4 * HOUR_S).quality is Quality.MISSING


@pytest.mark.parametrize(
    ("front", "back", "value", "score"),
    [
        (0.35, 0.22, 0.35 / 0.22 - 1.0, 1.0),  # method.md: VIX 35 over 22 is 0.59
        (0.80, 0.80, 0.0, 0.0),
        (0.70, 0.80, -0.125, 0.0),
        (0.90, 0.80, 0.125, 0.5),
        (1.00, 0.80, 0.25, 1.0),
    ],
)
def test_s13_is_front_over_back(front, back, value, score):
    columns = columns_of(IV_7D=hourly([front]), IV_90D=hourly([back]))
    reading = read_one("S13", columns, end_s(1))
    assert reading.value == pytest.approx(value)
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert ("backwardation" in reading.because) == (value > 0.0)


def test_s13_needs_both_ends_of_one_source():
    (reading,) = SIGNALS["S13"].read(columns_of(IV_7D=hourly([0.8])), now_s=end_s(1), policy=POLICY)
    assert reading.quality is Quality.ABSENT
    assert "iv_90d" in reading.because


@pytest.mark.parametrize("bad", [0.0, -0.5])
def test_s13_refuses_a_vol_that_is_none(bad):
    columns = columns_of(IV_7D=hourly([0.8]), IV_90D=hourly([bad]))
    assert read_one("S13", columns, end_s(1)).quality is Quality.MISSING


def expansion_scores(values, *, first):
    columns = columns_of(VOL_INDEX=hourly(values))
    return [read_one("S15", columns, end_s(hour)).score for hour in range(first, len(values) + 1)]


def test_s15_expansion_is_half_then_confirmed_then_stale():
    """A flat index, then a rise from 70 % of a point each hour: the cross comes with the first rise."""
    values = np.concatenate((np.full(400, 0.70), 0.70 * 1.01 ** np.arange(1, 31)))
    scores = expansion_scores(values, first=399)
    assert scores[:2] == [0.0, 0.0]  # flat: rounding noise is no cross
    assert scores[2:4] == [0.5, 1.0]
    assert set(scores[3:25]) == {1.0}
    assert set(scores[26:]) == {0.0}  # over fresh_bars old


def test_s15_falling_index_is_no_expansion():
    values = np.concatenate((np.full(400, 0.70), 0.70 * 0.99 ** np.arange(1, 31)))
    assert set(expansion_scores(values, first=399)) == {0.0}


def test_r12_trigger_is_an_expansion_on_closed_bars_of_four_hours():
    """One closed 4 h bar after the turn fires, for a day; the hours inside an open one do not."""
    flat_h = 4 * 200
    values = np.concatenate((np.full(flat_h, 0.70), 0.70 * 1.01 ** np.arange(1, 61)))
    columns = columns_of(VOL_INDEX=hourly(values))

    def fired(hour, subject="ETH"):
        return vol_expansion(columns, now_s=end_s(hour), policy=POLICY, subject=subject)

    assert [fired(flat_h + hour) for hour in range(9)] == [False] * 4 + [True] * 5
    assert [fired(flat_h + hour) for hour in (24, 27, 28)] == [True, True, False]  # 6 bars, then old
    assert fired(4 * 155) is None  # warming: 60 % of 260 bars
    assert fired(4 * 156) is False
    assert fired(flat_h, subject="BTC") is None  # absent
    assert fired(flat_h + 90) is None  # missing


def test_s15_names_what_is_absent():
    readings = SIGNALS["S15"].read(columns_of(PRICE=hourly(np.ones(10))), now_s=end_s(10), policy=POLICY)
    because = [r.because for r in readings if r.quality is Quality.ABSENT]
    assert any("vol_index" in line for line in because)
    assert any("on-chain volume" in line and "neutral" in line for line in because)


def test_s15_bearish_divergence_confirms_when_the_histogram_turns():
    """A steep rally, a rest, then a slow crawl to a higher high, and a fall."""
    base = [2000.0] * 300
    steep = list(2000.0 * 1.01 ** np.arange(1, 25))
    rest = list(np.linspace(steep[-1], 0.97 * steep[-1], 24))
    crawl = list(np.linspace(rest[-1], 1.02 * steep[-1], 30))
    fall = list(crawl[-1] * 0.995 ** np.arange(1, 9))
    columns = columns_of(PRICE=hourly(base + steep + rest + crawl + fall))
    start = len(base + steep + rest + crawl)
    before = read_one("S15", columns, end_s(start))
    after = read_one("S15", columns, end_s(start + len(fall)))
    assert before.score == 0.5
    assert after.score == 1.0
    assert "bearish divergence" in after.because


def breakdown_of(values, *, hours=None):
    columns = columns_of(PRICE=hourly(values))
    now_s = end_s(hours or len(values))
    return price_breakdown(columns, now_s=now_s, policy=POLICY, subject="ETH")


def test_r4_crash_out_of_a_range_is_a_confirmed_breakdown():
    values = [2000.0 + 10.0 * math.sin(hour) for hour in range(400)] + [1950.0, 1900.0, 1850.0]
    assert breakdown_of(values) == Breakdown.CONFIRMED


def test_r4_slow_new_low_after_a_crash_is_a_false_breakdown():
    """After the crash the fall slows: MACD recovers over its signal line while price makes new lows."""
    crash = list(2000.0 * 0.99 ** np.arange(1, 31))
    drift = list(crash[-1] * 0.9995 ** np.arange(1, 40))
    assert breakdown_of([2000.0] * 350 + crash + drift) == Breakdown.FALSE


def test_r4_without_a_new_low_there_is_no_breakdown():
    assert breakdown_of([2000.0 + 10.0 * math.sin(hour) for hour in range(400)]) == Breakdown.NONE


@pytest.mark.parametrize(("rows", "hours"), [(50, None), (400, 410)])  # warming, missing
def test_r4_without_data_is_unknown(rows, hours):
    assert breakdown_of([2000.0] * rows, hours=hours) == Breakdown.UNKNOWN


def test_r4_without_a_source_is_unknown():
    found = price_breakdown(columns_of(), now_s=end_s(1), policy=POLICY, subject=PRICE.subject)
    assert found is Breakdown.UNKNOWN
