"""S16: the advance-decline line against the underlying, and what R4 asks of it."""

import numpy as np
import pytest
from signals.series import POOL_PRICE, PRICE, STABLE_PRICE, columns_of, end_s, hourly

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.signals import SIGNALS
from bot.signals.breadth import breadth_confirms, members_of
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()
HOURS = 200
BARS = POLICY.technical.breadth.divergence_bars
IV_ETH = SeriesKey(Metric.IV_30D, "ETH", "lyra")


def token(name):
    return SeriesKey(Metric.PRICE_USD, name, "binance:spot")


def market(underlying, others):
    """Return columns of ETH with options, and of other tokens."""
    series = {PRICE: hourly(underlying), IV_ETH: hourly(np.full(len(underlying), 0.7))}
    series |= {token(f"T{place}"): hourly(values) for place, values in enumerate(others)}
    return Columns(series=series)


def read(columns, now_h=HOURS):
    (found,) = SIGNALS["S16"].read(columns, now_s=end_s(now_h), policy=POLICY)
    return found


def path(*legs, level=100.0):
    """Return a path of ``(hours, log return an hour)`` legs that fills HOURS, flat noise before them."""
    steps = np.concatenate([np.full(hours, step) for hours, step in legs])
    before = 0.0001 * np.where(np.arange(HOURS - steps.size) % 2, 1.0, -1.0)
    return level * np.exp(np.cumsum(np.concatenate((before, steps))))


UP_UP = path((BARS, 0.002), (BARS, 0.001))
UP_DOWN = path((BARS, 0.002), (BARS, -0.001))
DOWN_DOWN = path((BARS, -0.002), (BARS, -0.001))
DOWN_UP = path((BARS, -0.002), (BARS, 0.001))


@pytest.mark.parametrize(
    ("underlying", "others", "score", "word"),
    [
        (UP_UP, UP_UP, 0.0, "no divergence"),
        (UP_UP, UP_DOWN, 1.0, "bearish divergence"),
        (DOWN_DOWN, DOWN_DOWN, 0.0, "no divergence"),
        (DOWN_DOWN, DOWN_UP, 0.0, "bullish divergence"),
        (UP_DOWN, UP_DOWN, 0.0, "no divergence"),
    ],
)
def test_s16_is_a_new_extreme_that_the_line_does_not_make(underlying, others, score, word):
    found = read(market(underlying, [others] * 5))
    assert (found.score, found.quality, found.subject) == (score, Quality.LIVE, "ETH")
    assert found.because.startswith(word)
    assert "6 tokens and pools" in found.because


@pytest.mark.parametrize(("others", "quality"), [(3, Quality.ABSENT), (4, Quality.LIVE)])
def test_s16_needs_five_subjects(others, quality):
    found = read(market(UP_UP, [UP_UP] * others))
    assert found.quality is quality
    assert quality is Quality.LIVE or "4 tokens and pools are configured, 5 are needed" in found.because


def test_s16_subjects_are_tokens_and_pools_that_can_move():
    rows = hourly(UP_UP)
    second = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")
    columns = columns_of(PRICE=rows, POOL_PRICE=rows, STABLE_PRICE=rows, USDC_FEED=rows)
    columns = Columns(series={**columns.series, second: rows})
    assert members_of(columns, POLICY) == (PRICE, POOL_PRICE)  # one series each, no stable
    assert STABLE_PRICE in columns.series


def test_s16_is_read_for_assets_with_options_or_for_all():
    columns = market(UP_UP, [UP_UP] * 5)
    plain = Columns(series={key: item for key, item in columns.series.items() if key != IV_ETH})
    readings = SIGNALS["S16"].read(plain, now_s=end_s(HOURS), policy=POLICY)
    assert [item.subject for item in readings] == ["ETH", "T0", "T1", "T2", "T3", "T4"]
    assert read(columns).subject == "ETH"


def without(columns, names, *, hours):
    """Return the columns with the last ``hours`` of these tokens failed."""
    series = dict(columns.series)
    for name in names:
        values = series[token(name)].values.copy()
        values[-hours:] = np.nan
        series[token(name)] = Column(times_s=series[token(name)].times_s, values=values)
    return Columns(series=series)


def test_s16_goes_on_while_enough_subjects_are_known():
    """Of six, five are needed: one may fail; with two down, the line ends and is not taken for a high."""
    columns = market(UP_UP, [UP_DOWN] * 5)
    assert read(without(columns, ["T0"], hours=30)).score == 1.0
    found = read(without(columns, ["T0", "T1"], hours=10))
    assert found.quality is Quality.MISSING
    assert "last closed bar" in found.because
    assert read(without(columns, ["T0", "T1"], hours=3)).quality is Quality.LIVE  # an hourly feed's patience


@pytest.mark.parametrize(("known_h", "quality"), [(101, Quality.WARMING), (102, Quality.LIVE)])
def test_s16_is_warming_while_its_subjects_are_young(known_h, quality):
    """The line begins with the fifth subject: 60 % of a week, and one bar to move from."""
    columns = market(UP_UP, [UP_UP] * 5)
    series = {
        key: item.since(end_s(HOURS - known_h) - 1.0) if key.subject in ("T0", "T1") else item
        for key, item in columns.series.items()
    }
    assert read(Columns(series=series)).quality is quality


def test_s16_prefix_and_window_agree_exactly():
    rng = np.random.default_rng(3)
    hours = 600
    paths = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (6, hours)), axis=1))
    paths[rng.random(paths.shape) < 0.05] = np.nan
    columns = market(paths[0], paths[1:])
    signal = SIGNALS["S16"]
    for now_s in (end_s(300), end_s(431) + 7.0, end_s(599) - 1.0):
        prefix = Columns(series={key: item.until(now_s) for key, item in columns.series.items()})
        since_s = now_s - signal.lookback_s(POLICY)
        window = Columns(series={key: item.since(since_s) for key, item in prefix.series.items()})
        whole = repr(signal.read(columns, now_s=now_s, policy=POLICY))
        assert repr(signal.read(prefix, now_s=now_s, policy=POLICY)) == whole
        assert repr(signal.read(window, now_s=now_s, policy=POLICY)) == whole


@pytest.mark.parametrize(
    ("others", "expected"), [(DOWN_DOWN, True), (UP_DOWN, True), (DOWN_UP, False), (UP_UP, False)]
)
def test_r4_breadth_confirms_with_a_low_of_its_own(others, expected):
    """The line, too, must stand under its low of the same stretch of bars."""
    columns = market(DOWN_DOWN, [others] * 5)
    assert breadth_confirms(columns, now_s=end_s(HOURS), policy=POLICY, subject="ETH") is expected


def test_r4_breadth_without_data_cannot_be_told():
    columns = market(UP_UP, [UP_UP] * 5)
    few = market(UP_UP, [UP_UP] * 3)
    young = Columns(series={key: item.since(end_s(HOURS - 50)) for key, item in columns.series.items()})
    for item, now_h in ((few, HOURS), (young, HOURS), (columns, HOURS + 10), (columns_of(), HOURS)):
        assert breadth_confirms(item, now_s=end_s(now_h), policy=POLICY, subject="ETH") is None
