"""What the bot reads in a scenario: all of it live at the first point, faults as they are described."""

from dataclasses import replace

import numpy as np
import pytest

from bot.engine.rules.context import reach_of
from bot.errors import ConfigError
from bot.model.market import Metric, SeriesKey
from bot.model.tier import Quality
from bot.settings import named_policy
from bot.signals import read_signals
from bot.simulation.exposures import parse_exposure
from bot.simulation.stress.catalogue import names, scenario_named
from bot.simulation.stress.description import Fault, FaultKind
from bot.simulation.stress.history import HISTORY_DAYS
from bot.simulation.stress.paths import build_paths
from bot.simulation.stress.world import build_world, moments, with_dependencies

SPEC = parse_exposure("v2:ETH/USDC:1000000")
ORACLE = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")
POLICY = named_policy("steward")


def world_of(name: str, *, faults: tuple[Fault, ...] | None = None, spec=SPEC):
    scenario = scenario_named(name)
    if faults is not None:
        scenario = replace(scenario, faults=faults)
    return build_world(build_paths(scenario, 1), spec)


def fault(kind: FaultKind, *sources: str) -> Fault:
    return Fault(kind=kind, from_h=60.0, to_h=64.0, sources=sources, because="test")


@pytest.mark.parametrize("name", names())
def test_no_signal_is_warming_or_missing_at_the_first_point(name: str) -> None:
    world = world_of(name)
    first = next(moments(world))
    readings = read_signals(first.columns, now_s=first.now_s, policy=POLICY.signals)
    late = [item for item in readings if item.quality not in (Quality.LIVE, Quality.ABSENT)]
    assert [(item.signal, item.subject, item.quality) for item in late if not item.informs] == []


def test_history_and_path_join_without_a_jump() -> None:
    world = world_of("terra")
    before = HISTORY_DAYS * 24
    for key, column in world.columns.series.items():
        if key.metric in (Metric.MACRO_PRINT, Metric.MACRO_RELEASE_S):
            continue
        assert (np.diff(column.times_s) > 0.0).all(), key
        assert column.times_s[before] == world.scenario.start_s
        if key.metric is not Metric.FUNDING_APR and column.values[before]:
            assert abs(column.values[before - 1] / column.values[before] - 1.0) < 0.2, key


def test_a_moment_knows_nothing_of_what_comes() -> None:
    """No look-ahead: every row of a moment is at or before its time."""
    for moment in list(moments(world_of("may-2021")))[::50]:
        assert all(
            column.times_s[-1] <= moment.now_s
            for column in moment.columns.series.values()
            if column.times_s.size
        )


def test_the_position_is_valued_at_the_price_of_its_step() -> None:
    world = world_of("terra")
    prices = world.paths["eth_usd"]
    for moment, price in zip(moments(world), prices, strict=True):
        (exposure,) = moment.exposures
        assert exposure.spot_usd == price
        assert exposure.value_usd == pytest.approx(1e6 * (price / prices[0]) ** 0.5)


def test_failing_reads_are_rows_without_a_value() -> None:
    column = world_of("terra", faults=(fault(FaultKind.FAILING, "chainlink"),)).columns[ORACLE]
    live = column.values[HISTORY_DAYS * 24 :]
    assert np.isnan(live[60:64]).all()
    assert np.isfinite(np.delete(live, range(60, 64))).all()


def test_a_silent_source_has_no_rows_and_another_goes_on() -> None:
    world = world_of("terra", faults=(fault(FaultKind.SILENT, "chainlink"),))
    assert world.columns[ORACLE].times_s.size == HISTORY_DAYS * 24 + 229 - 4
    pool = SeriesKey(Metric.PRICE_USD, "ETH", "twap:v2:ETH/USDC")
    assert world.columns[pool].times_s.size == HISTORY_DAYS * 24 + 229


def test_a_frozen_source_goes_on_with_its_last_value() -> None:
    live = world_of("terra", faults=(fault(FaultKind.FROZEN, "price_usd"),)).columns[ORACLE].values
    held = live[HISTORY_DAYS * 24 :]
    assert set(held[60:64]) == {held[59]}
    assert held[64] != held[59]


def test_unseen_hours_have_neither_frame_nor_rows() -> None:
    world = world_of("rpc-outage")
    hours = set(world.seen.tolist())
    assert not hours & {float(hour) for hour in range(50, 57)}
    assert {49.0, 57.0} <= hours
    assert [item.now_s for item in moments(world)] == [
        world.scenario.start_s + 3_600 * hour for hour in world.seen
    ]


def test_what_a_scenario_says_of_dependencies_counts_for_the_exposure() -> None:
    """S7 of the bridge counts for a group that depends on it (R1)."""
    scenario = scenario_named("bridge-drain")
    known = with_dependencies(POLICY, scenario, SPEC)
    assert known.hash != POLICY.hash
    assert "nomad" in reach_of(known, "ETH/USDC", (SPEC.open_at(2_000.0),)).parts
    assert with_dependencies(POLICY, scenario_named("terra"), SPEC) is POLICY


def test_a_range_makes_its_pool_deeper() -> None:
    narrow = world_of("calm", spec=parse_exposure("v3:ETH/USDC:1000000:-20%:+20%")).columns
    wide = world_of("calm").columns
    depths = [
        columns[columns.find(Metric.POOL_DEPTH_USD, pool)[0]].values[-1]
        for columns, pool in ((narrow, "v3:ETH/USDC"), (wide, "v2:ETH/USDC"))
    ]
    assert depths[0] / depths[1] == pytest.approx(1.0 / (1.0 - 0.8**0.5), rel=0.05)


@pytest.mark.parametrize("text", ["v2:BTC/USDC:1000000", "v2:ETH/FRAX:1000000"])
def test_an_exposure_that_no_path_moves_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="scenarios move ETH and price DAI, USDC, USDT; was v2:"):
        world_of("calm", spec=parse_exposure(text))
