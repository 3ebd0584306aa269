"""The check that nothing knows the future: it finds nothing here, and would find a leak."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from history_builders import START_S

from bot.model.market import Columns
from bot.model.units import DAY_S, HOUR_S
from bot.settings import named_policy
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.look_ahead import (
    AFTER_S,
    BEFORE_S,
    LookAhead,
    Probe,
    changed_after,
    check_at,
    probe_times,
)
from bot.simulation.market.model import load_market, with_implied_vols

SPEC = parse_exposure("v2:ETH/USDC:1000000")
AT_S = float(START_S + 41 * DAY_S)


@pytest.fixture
def history(folder):
    return load_history(folder.path, SPEC, from_s=AT_S - DAY_S, to_s=AT_S + 6 * HOUR_S)


def test_only_what_comes_after_is_changed(history):
    changed = changed_after(history, AT_S, seed=1)
    assert changed.columns.series.keys() == history.columns.series.keys()
    for key, column in history.columns.series.items():
        later = column.times_s > AT_S
        other = changed.columns[key]
        np.testing.assert_array_equal(other.values[~later], column.values[~later])
        assert later.sum() == 0 or (other.values[later] != column.values[later]).any(), key
    assert (changed.vol_index.values != history.vol_index.values).any()
    again = changed_after(history, AT_S, seed=1)
    np.testing.assert_array_equal(again.price.values, changed.price.values)


def test_no_policy_and_no_benchmark_knows_the_future(history):
    named = {"alvh_steward": named_policy("steward")}
    found = LookAhead(probes=asyncio.run(check_at(history, SPEC, named, load_market(), at_s=AT_S, seed=1)))
    assert [item.strategy for item in found.probes] == [
        "alvh_steward",
        "static_442",
        "pput",
        "vxth",
        "perp_delta",
    ]
    assert all(item.steps == 25 for item in found.probes)
    assert found.is_clean


def test_a_leak_is_found(history):
    """A price that is stamped six hours before it was known."""

    def early(each, market):
        column = each.price
        key = next(key for key, value in each.columns.series.items() if value is column)
        moved = replace(column, times_s=column.times_s - 6.0 * HOUR_S)
        series = {**each.columns.series, key: moved}
        return with_implied_vols(replace(each, columns=Columns(series=series)), market)

    named = {"alvh_steward": named_policy("steward")}
    checking = check_at(history, SPEC, named, load_market(), at_s=AT_S, seed=1, ready=early)
    found = LookAhead(probes=asyncio.run(checking))
    assert not found.is_clean
    leak = next(item for item in found.probes if item.strategy == "alvh_steward")
    assert AT_S - 6 * HOUR_S < leak.first_changed_s <= AT_S


def test_a_check_that_could_see_nothing_is_not_clean():
    sighted = Probe(strategy="pput", at_s=0.0, steps=5, first_changed_s=math.nan, moves_later=True)
    blind = replace(sighted, moves_later=False)
    leak = replace(sighted, first_changed_s=-1.0)
    assert LookAhead(probes=(sighted, blind)).is_clean
    assert not LookAhead(probes=(blind,)).is_clean
    assert not LookAhead(probes=(sighted, leak)).is_clean


def test_moments_are_spread_over_the_history():
    found = probe_times(0.0, 100 * DAY_S, probes=10, seed=3)
    assert found == probe_times(0.0, 100 * DAY_S, probes=10, seed=3)
    assert all(BEFORE_S - HOUR_S <= at_s <= 100 * DAY_S - AFTER_S for at_s in found)
    assert all(np.diff(found) > 0.0)
    assert all(at_s % HOUR_S == 0.0 for at_s in found)
