"""Laws of the scenarios' paths: every seed hits the calibration, and differs in detail."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.simulation.stress.catalogue import names, parse_scenario, scenario_named
from bot.simulation.stress.description import Figure
from bot.simulation.stress.figures import MEASURES, is_met, measured
from bot.simulation.stress.paths import BTC, PRICE, build_paths, peak_and_low

SEEDS = range(1, 9)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_hits_every_calibration_figure(name: str, seed: int) -> None:
    paths = build_paths(scenario_named(name), seed)
    missed = {
        f"{item.name} of {item.path}": (item.value, measured(item, paths))
        for item in paths.scenario.figures
        if not is_met(item, paths)
    }
    assert missed == {}


@pytest.mark.parametrize("name", names())
def test_a_figure_says_its_unit_its_source_and_a_tolerance_that_means_something(name: str) -> None:
    figures = scenario_named(name).figures
    assert figures
    for item in figures:
        assert item.unit
        assert item.source
        assert item.tolerance <= max(abs(item.value), 0.04) * 1.01, item


@given(seed=st.integers(min_value=0, max_value=2**63))
@settings(max_examples=15, deadline=None)
def test_terra_is_terra_for_any_seed(seed: int) -> None:
    paths = build_paths(scenario_named("terra"), seed)
    assert all(is_met(item, paths) for item in paths.scenario.figures)


@pytest.mark.parametrize("name", names())
def test_the_same_seed_repeats_to_the_digit_and_another_differs(name: str) -> None:
    scenario = scenario_named(name)
    first, again, other = (build_paths(scenario, seed) for seed in (7, 7, 8))
    assert all((first[path] == again[path]).all() for path in first.values)
    assert (first[PRICE] != other[PRICE]).any()


@pytest.mark.parametrize("name", names())
def test_values_are_finite_rounded_and_inside_their_bounds(name: str) -> None:
    scenario = scenario_named(name)
    paths = build_paths(scenario, 3)
    for spec in (*scenario.paths, *scenario.standing):
        values = paths[spec.name]
        assert values.size == scenario.steps + 1
        assert np.isfinite(values).all(), spec.name
        assert (values == np.round(values, spec.digits)).all(), spec.name
        low, high = spec.bounds
        assert values.min() >= low - 1e-9, spec.name
        assert values.max() <= high + 1e-9, spec.name
    assert (paths[PRICE] > 0.0).all()


def test_hours_do_not_depend_on_how_fine_the_steps_are() -> None:
    scenario = scenario_named("flash-crash")
    fine = build_paths(scenario, 4)
    whole = build_paths(replace(scenario, step_s=3_600, paths=tuple(map(no_wicks, scenario.paths))), 4)
    for name in whole.values:
        assert (fine.hourly(name) == whole[name]).all(), name


def no_wicks(spec):
    return replace(spec, wicks={})


def test_a_wick_is_the_low_and_no_hourly_close_shows_it() -> None:
    """3 February 2025: low 2,125 within an hour that closed far over it."""
    paths = build_paths(scenario_named("flash-crash"), 1)
    assert paths[PRICE].min() == 2_125.0
    assert paths.hourly(PRICE).min() > 2_400.0


def test_noise_is_zero_at_each_knot() -> None:
    scenario = scenario_named("may-2021")
    (price,) = (spec for spec in scenario.paths if spec.name == PRICE)
    path = build_paths(scenario, 5).hourly(PRICE)
    inside = [hour for hour in price.knots if 1_740.0 < price.knots[hour] < 4_370.0]
    assert path[inside] == pytest.approx([price.knots[hour] for hour in inside], abs=0.01)
    assert peak_and_low(price.knots) == (3, 269)


def test_bitcoin_follows_by_its_beta() -> None:
    """Feb 2025: ETH -36 %, BTC -11 %: ln 0.89 / ln 0.638 = 0.26."""
    paths = build_paths(scenario_named("flash-crash"), 1)
    price, bitcoin = paths.hourly(PRICE), paths.hourly("btc_usd")
    low = int(price.argmin())
    assert bitcoin[low] / bitcoin[0] == pytest.approx((price[low] / price[0]) ** 0.26, rel=0.02)


def test_vols_turn_with_the_index() -> None:
    """Front over back at 60 points: 0.95 / 1.03; at 140 points: 1.15 / 0.86; ETH 15 points over BTC."""
    paths = build_paths(scenario_named("terra"), 1)
    front, middle, back = paths.vols()
    assert middle == pytest.approx(paths["dvol"] / 100.0 + 0.15, abs=1e-5)
    top = int(paths["dvol"].argmax())
    assert front[top] / back[top] == pytest.approx(1.15 / 0.86, rel=1e-3)
    assert front[0] / back[0] == pytest.approx(0.95 / 1.03, rel=1e-3)


def test_a_state_stands_until_its_next_knot() -> None:
    paths = build_paths(scenario_named("protocol-exploit"), 1)
    assert set(paths["paused"][:40]) == {0.0}
    assert set(paths["paused"][40:]) == {1.0}


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="-1"):
        build_paths(scenario_named("calm"), -1)


def small(hours, **paths):
    """Return a scenario of so many hours with the paths that a file states."""
    tables = {
        "name": "small",
        "title": "A small one",
        "kind": "crisis",
        "start": "2022-01-01",
        "hours": hours,
        "stream": 200,
        "paths": {PRICE: {"source": "made up", "knots": [[0, 100.0], [hours, 90.0]]}, **paths},
    }
    return parse_scenario(tables, where="small.toml")


def test_a_stated_path_of_btc_is_the_path_and_another_follows_eth() -> None:
    stated = {"source": "made up", "knots": [[0, 50_000.0], [20, 30_000.0], [48, 40_000.0]]}
    paths = build_paths(small(48, **{BTC: stated}), 1)
    assert paths[BTC][[0, 20, 48]] == pytest.approx([50_000.0, 30_000.0, 40_000.0])
    assert build_paths(small(48), 1)[BTC][20] != pytest.approx(paths[BTC][20])


@pytest.mark.parametrize("name", MEASURES)
def test_every_figure_of_a_short_path_is_a_number_or_unknown(name: str) -> None:
    """25 hours are fewer than two days; a path may also cross zero, as funding does."""
    scenario = small(25, funding_8h={"source": "made up", "knots": [[0, -0.01], [25, 0.02]]})
    for path in (PRICE, "funding_8h"):
        figure = Figure(name=name, path=path, value=0.0, tolerance=1e9, unit="x", source="x")
        found = measured(figure, build_paths(scenario, 1))
        assert is_met(figure, build_paths(scenario, 1)) is not math.isnan(found)
    figure = Figure(name="worst_two_days", path=PRICE, value=0.0, tolerance=1.0, unit="x", source="x")
    assert math.isnan(measured(figure, build_paths(scenario, 1)))
