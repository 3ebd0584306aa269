"""R26's control: rotations of a policy's own tiers, hedged by the engine itself."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from history_builders import START_S, DataFolder

from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.settings import named_policy
from bot.simulation.exposures import parse_exposure
from bot.simulation.market.model import load_market
from bot.simulation.windows.control import (
    TierSeries,
    control_finding,
    control_stretches,
    run_rotations,
    tier_series,
    turns,
)
from bot.simulation.windows.file import Segment, Window
from bot.simulation.windows.measures import window_findings
from bot.simulation.windows.run import run_segment

from .test_measures import track
from .test_measures import window as hours_window

SPEC = parse_exposure("v2:ETH/USDC:1000000")
CRASH = Window(id="crash", start_s=START_S + 40 * DAY_S, end_s=START_S + 42 * DAY_S, kind="crisis")
STRETCH = Segment(start_s=START_S + 39 * DAY_S, end_s=CRASH.end_s, windows=(CRASH,))


def test_a_rotation_turns_the_series_and_wraps_around():
    series = TierSeries(times_s=np.array([10.0, 20.0, 30.0, 40.0]), tiers=np.array([0, 1, 2, 3], np.int8))
    assert series.rotated(series.times_s, 1).tolist() == [1, 2, 3, 0]
    assert series.rotated(series.times_s, 0).tolist() == [0, 1, 2, 3]
    assert series.rotated(np.array([20.0, 25.0]), 3).tolist() == [0, 1]  # 25 is not in it: as 30


@pytest.mark.parametrize(("hours", "rotations"), [(1_000, 60), (61, 60), (50_000, 60), (100, 1)])
def test_turns_are_different_and_none_is_the_series_itself(hours, rotations):
    found = turns(hours, rotations=rotations)
    assert len(set(found)) == rotations
    assert 0 < min(found) <= max(found) < hours


def test_a_series_is_in_time_order_whatever_the_tracks():
    late = track([1.0] * 24, [2] * 24, hours_window("late", 100, 24, "crisis"), first_h=100)
    early = track([1.0] * 24, [1] * 24, hours_window("early", 0, 24, "crisis"))
    series = tier_series([late, early])
    assert (np.diff(series.times_s) > 0.0).all()
    assert series.tiers.tolist() == [1] * 24 + [2] * 24


def test_only_known_market_crises_are_run_each_inside_its_own_history():
    fall = [100.0] * 10 + [80.0] * 15
    crash = hours_window("crash", 0, 24, "crisis")
    calm = hours_window("calm", 30, 24, "calm")
    tracks = [track(fall, [0] * 25, crash), track([100.0] * 25, [0] * 25, calm, first_h=30)]
    segments = [replace(item.segment, start_s=item.segment.start_s - 5 * HOUR_S) for item in tracks]
    (found,) = control_stretches(window_findings(tracks, [crash, calm]), segments, lead_s=10 * HOUR_S)
    assert found.windows == (crash,)
    assert (found.start_s, found.end_s) == (-5 * HOUR_S, crash.end_s)


def test_the_finding_is_of_the_mean_over_the_crises_by_rotation():
    parts = [{0: {"a": 0.5, "b": 0.1}, 1: {"a": 0.2, "b": math.nan}}, {0: {"c": 0.3}, 1: {"c": 0.4}}, {2: {}}]
    found = control_finding("alvh_steward", parts, rotations=2, cadence_h=24)
    assert found.own_removed == pytest.approx(0.3)
    assert found.removed[0] == pytest.approx(0.3)
    assert math.isnan(found.removed[1])
    assert found.removed_p95 == pytest.approx(0.3)
    assert found.to_json()["removed_p95"] == pytest.approx(0.3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return DataFolder(path=tmp_path_factory.mktemp("history")).write_all().path


@pytest.fixture(scope="module")
def own(data):
    policy, market = named_policy("steward"), load_market()
    found = asyncio.run(run_segment(data, STRETCH, SPEC, policy, market, with_benchmarks=False))
    return policy, market, found


def rotated(data, own, rotations, *, tiers=None, cadence_h=1):
    policy, market, found = own
    series = tier_series([found])
    if tiers is not None:
        series = TierSeries(times_s=series.times_s, tiers=np.full(series.tiers.size, tiers, np.int8))
    running = run_rotations(
        data, STRETCH, SPEC, policy, market, series=series, rotations=rotations, cadence_h=cadence_h
    )
    return asyncio.run(running)


def test_its_own_tiers_decided_every_hour_remove_exactly_what_the_engine_does(data, own):
    (finding,) = window_findings([own[2]], [CRASH])
    assert max(own[2].tiers) >= Tier.ELEVATED  # or there would be nothing to turn
    assert rotated(data, own, {0: 0})[0]["crash"] == pytest.approx(finding.removed("alvh"), rel=1e-12)


def test_what_is_run_beside_others_is_what_it_is_alone(data, own):
    together = rotated(data, own, {0: 0, 1: 20, 2: 40}, cadence_h=4)
    assert rotated(data, own, {1: 20}, cadence_h=4)[1] == together[1]
    assert together[1] != together[0]


def test_tiers_are_what_decides(data, own):
    calm, high = (rotated(data, own, {1: 0}, tiers=tier, cadence_h=24)[1]["crash"] for tier in (0, 4))
    assert high > calm + 0.1
