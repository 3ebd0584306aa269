"""Absurd values of TECHNICAL sources: no exception, no warning, no score outside [0, 1]."""

import numpy as np
import pytest
from signals.series import end_s, hourly, stressed

from bot.model.market import Column, Columns
from bot.model.tier import Family
from bot.signals import SIGNALS
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()
HOURS = 70 * 24
TECHNICAL = [name for name, signal in SIGNALS.items() if signal.family is Family.TECHNICAL]
ABSURD = (0.0, -0.0, -1.0, 5e-324, 1e-300, 1e300, 1.7e308, -1.7e308, np.inf, -np.inf, 50.0)


def check(columns, now_s):
    for name in TECHNICAL:
        for reading in SIGNALS[name].read(columns, now_s=now_s, policy=POLICY):
            assert "\n" not in reading.because
            if reading.counts:
                assert 0.0 <= reading.score <= 1.0
                assert np.isfinite(reading.value), (name, reading.because)


@pytest.mark.parametrize("value", ABSURD)
def test_one_absurd_value_at_the_end(value):
    columns = stressed(HOURS)
    series = {
        key: Column(times_s=item.times_s, values=np.append(item.values[:-1], value))
        for key, item in columns.series.items()
    }
    check(Columns(series=series), end_s(HOURS))


@pytest.mark.parametrize("value", ABSURD)
def test_nothing_but_one_absurd_value(value):
    columns = stressed(HOURS)
    series = {key: hourly(np.full(HOURS, value)) for key in columns.series}
    check(Columns(series=series), end_s(HOURS))


def test_absurd_values_mixed_in():
    rng = np.random.default_rng(1)
    columns = stressed(HOURS)
    series = {}
    for key, item in columns.series.items():
        values = item.values.copy()
        places = rng.random(HOURS) < 0.05
        values[places] = rng.choice(ABSURD, int(places.sum()))
        series[key] = Column(times_s=item.times_s, values=values)
    check(Columns(series=series), end_s(HOURS))
