"""S12, S14, S22: golden numbers against independent oracles, anchors and edges."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import percentileofscore
from signals.series import columns_of, end_s, hourly
from signals.technical_reads import POLICY, read, read_one, walk

from bot.model.tier import Quality
from bot.signals.rsi import exhaustion

QUARTER = 90 * 24
MONTH = 30 * 24
DAY = 24


# S12


@pytest.mark.parametrize(
    ("rank", "score"),
    [(0.0, 0.0), (0.69, 0.0), (0.70, 0.0), (0.84, 0.5), (0.98, 1.0), (1.0, 1.0)],
)
def test_s12_scores_between_its_anchors(rank, score):
    """2159 other bars, of which a share lies under the last."""
    below = round(rank * (QUARTER - 1))
    values = np.full(QUARTER, 0.9)
    values[:below] = 0.3
    values[-1] = 0.5
    reading = read_one("S12", columns_of(IV_30D=hourly(values)), end_s(QUARTER))
    assert reading.value == pytest.approx(rank, abs=3e-4)
    assert reading.score == pytest.approx(score, abs=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_s12_is_scipys_rank_with_ties_at_half(seed):
    rng = np.random.default_rng(seed)
    values = np.round(walk(QUARTER, level=0.7, step=0.01, seed=seed), 2)
    values[rng.random(QUARTER) < 0.3] = np.nan
    values[-1] = 0.7
    known = values[:-1][np.isfinite(values[:-1])]
    reading = read_one("S12", columns_of(IV_30D=hourly(values)), end_s(QUARTER))
    assert reading.value == pytest.approx(percentileofscore(known, 0.7, kind="mean") / 100.0, abs=1e-12)


def test_s12_looks_at_ninety_days_and_no_further():
    values = np.concatenate((np.full(500, 5.0), np.linspace(0.3, 0.9, QUARTER)))
    assert read_one("S12", columns_of(IV_30D=hourly(values)), end_s(values.size)).value == 1.0


def test_s12_reads_options_and_the_index_as_two_sources():
    rows = hourly(walk(QUARTER, level=0.7))
    readings = read("S12", columns_of(IV_30D=rows, VOL_INDEX=rows), end_s(QUARTER))
    assert [item.source for item in readings] == ["lyra", "dvol"]
    assert readings[0].value == readings[1].value


@pytest.mark.parametrize(("known_h", "quality"), [(1295, Quality.WARMING), (1296, Quality.LIVE)])
def test_s12_needs_sixty_percent_of_its_bars(known_h, quality):
    columns = columns_of(IV_30D=hourly(walk(known_h, level=0.7)))
    assert read_one("S12", columns, end_s(known_h)).quality is quality


@pytest.mark.parametrize("bad", [0.0, -0.2])
def test_s12_refuses_a_vol_that_is_none(bad):
    values = walk(QUARTER, level=0.7)
    values[-1] = bad
    assert read_one("S12", columns_of(IV_30D=hourly(values)), end_s(QUARTER)).quality is Quality.MISSING


# S14


def wilder(close, period=14):
    """RSI by its 1978 definition: simple means of the first ``period`` moves, then Wilder's smoothing."""
    steps = pd.Series(close).diff().to_numpy()[1:]

    def smoothed(values):
        first = values[:period].mean()
        rest = pd.Series(np.concatenate(([first], values[period:])))
        return rest.ewm(alpha=1.0 / period, adjust=False).mean().to_numpy()

    up, down = smoothed(np.maximum(steps, 0.0)), smoothed(np.maximum(-steps, 0.0))
    return 100.0 * up / (up + down)


@pytest.mark.parametrize("seed", range(4))
def test_s14_is_wilders_rsi_started_anew_on_its_lookback(seed):
    values = walk(600, seed=seed)
    reading = read_one("S14", columns_of(PRICE=hourly(values)), end_s(600))
    assert reading.value == pytest.approx(wilder(values[-168:])[-1], rel=1e-9)
    assert reading.value == pytest.approx(wilder(values)[-1], abs=0.02)  # what is forgotten does not matter


def rsi_scores(value):
    technical = POLICY.technical.rsi
    return technical.price.score(value), technical.vol.score(value)


@pytest.mark.parametrize(
    ("value", "price", "vol"),
    [
        (10.0, 1.0, 0.0),
        (30.0, 1.0, 0.0),
        (40.0, 0.5, 0.0),
        (50.0, 0.0, 0.0),
        (65.0, 0.0, 0.5),
        (80.0, 0.0, 1.0),
        (95.0, 0.0, 1.0),
    ],
)
def test_s14_anchors_of_price_and_of_the_vol_index(value, price, vol):
    assert rsi_scores(value) == (price, vol)


def test_s14_scores_a_falling_price_and_a_rising_index():
    falling = hourly(3000.0 * np.exp(-0.01 * np.arange(200) + 0.004 * (np.arange(200) % 2)))
    rising = hourly(0.5 * np.exp(0.01 * np.arange(200) + 0.004 * (np.arange(200) % 2)))
    price, vol = read("S14", columns_of(PRICE=falling, VOL_INDEX=rising), end_s(200))
    assert (price.score, vol.score) == (1.0, 1.0)
    price, vol = read("S14", columns_of(PRICE=rising, VOL_INDEX=falling), end_s(200))
    assert (price.score, vol.score) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["PRICE", "VOL_INDEX"])
def test_s14_of_what_never_moved_is_unknown(name):
    """TA-Lib says 0, which would be the most stressed price there is."""
    reading = read_one("S14", columns_of(**{name: hourly(np.full(300, 0.7))}), end_s(300))
    assert reading.quality is Quality.MISSING
    assert "did not move" in reading.because


@pytest.mark.parametrize(("hours", "quality"), [(100, Quality.WARMING), (101, Quality.LIVE)])
def test_s14_needs_sixty_percent_of_its_bars(hours, quality):
    assert read_one("S14", columns_of(PRICE=hourly(walk(hours))), end_s(hours)).quality is quality


@pytest.mark.parametrize(("hole", "restarts"), [(36, False), (37, True)])
def test_s14_skips_a_hole_of_36_hours_and_restarts_behind_a_longer_one(hole, restarts):
    values = walk(400)
    values[-110 - hole : -110] = np.nan
    reading = read_one("S14", columns_of(PRICE=hourly(values)), end_s(400))
    window = values[-110:] if restarts else values[-168:]
    assert reading.value == pytest.approx(wilder(window[np.isfinite(window)])[-1], rel=1e-9)


def fallen(*last):
    """A long slide at an RSI near 10, then these returns."""
    steps = np.where(np.arange(160) % 8 == 0, 0.002, -0.004)
    return hourly(3000.0 * np.exp(np.cumsum(np.concatenate((steps, last)))))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ((-0.004, -0.004), False),  # still falling
        ((-0.004, 0.001), False),  # one bar up
        ((0.001, 0.001), True),
        ((0.001, -0.001), False),
        ((0.03, 0.03), False),  # rising, and out of the pit
    ],
)
def test_s14_exhaustion_is_under_25_and_rising_for_two_bars(last, expected):
    columns = columns_of(PRICE=fallen(*last))
    now_s = end_s(160 + len(last))
    assert exhaustion(columns, now_s=now_s, policy=POLICY, subject="ETH") is expected
    reading = read_one("S14", columns, now_s)
    assert ("exhaustion" in reading.because) is expected
    if expected:
        assert reading.score == 1.0  # it stops R12's purchase, not the alarm


@pytest.mark.parametrize(
    ("column", "now_h"),
    [(None, 1), (hourly(walk(50)), 50), (hourly(walk(200)), 210), (hourly(np.full(200, 1.0)), 200)],
)
def test_s14_exhaustion_without_data_cannot_be_told(column, now_h):
    columns = columns_of(**({} if column is None else {"PRICE": column}))
    assert exhaustion(columns, now_s=end_s(now_h), policy=POLICY, subject="ETH") is None


# S22


@pytest.mark.parametrize(
    ("ratio", "score"), [(0.0, 0.0), (0.5, 0.25), (1.0, 0.5), (-1.0, 0.5), (2.0, 1.0), (-3.0, 1.0)]
)
def test_s22_scores_the_gap_over_its_cost_both_ways(ratio, score):
    reading = read_one("S22", columns_of(PARITY=hourly([ratio])), end_s(1))
    assert (reading.value, reading.score) == (ratio, score)
    assert ("calls are dear" in reading.because) == (ratio > 0.0)
    assert ("puts are dear" in reading.because) == (ratio < 0.0)
