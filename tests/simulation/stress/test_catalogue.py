"""Scenario files: what is packaged, and how a file that cannot be used is refused."""

import re
from importlib import resources
from pathlib import Path

import pytest

from bot.errors import ConfigError, NotFoundError
from bot.simulation.stress.catalogue import names, parse_scenario, read_scenario, scenario_named
from bot.simulation.stress.description import FaultKind, Kind, VenueTrouble

PAGE = Path(__file__).parents[3] / "docs" / "simulation.md"


def plain(**changes):
    """Return the tables of a small scenario."""
    tables = {
        "name": "small",
        "title": "A small one",
        "kind": "crisis",
        "start": "2022-01-01T00:00:00Z",
        "hours": 48,
        "stream": 200,
        "paths": {"eth_usd": {"source": "made up", "knots": [[0, 100.0], [48, 90.0]]}},
    }
    return {**tables, **changes}


def price(**changes):
    return {"eth_usd": {"source": "made up", "knots": [[0, 100.0], [48, 90.0]], **changes}}


def test_all_scenarios_that_the_page_tells_of_are_packaged() -> None:
    """Its table names each in its first column, with the alias of one."""
    told = re.findall(r"^\| (`[^|]*`[^|]*) \|", PAGE.read_text("utf-8").split("## Stress")[1], re.MULTILINE)
    found = {name for cell in told for name in re.findall(r"`([a-z0-9-]+)`", cell)}
    assert found == {*names(), "terra"}
    assert len(names()) == 15


def test_every_scenario_has_sources_and_a_stream_of_its_own() -> None:
    scenarios = [scenario_named(name) for name in names()]
    assert len({item.stream for item in scenarios}) == len(scenarios)
    for item in scenarios:
        assert item.sources
        assert item.title
        assert all(path.source and path.unit for path in (*item.paths, *item.standing)), item.name


def test_every_file_in_the_folder_is_a_scenario_or_what_stands() -> None:
    folder = resources.files("bot.simulation.stress") / "scenarios"
    found = {item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")}
    assert found == {*names(), "standing"}


def test_kinds_say_what_is_tested() -> None:
    kinds = {name: scenario_named(name).kind for name in names()}
    assert {name for name, kind in kinds.items() if kind is Kind.ALARM} == {
        "vol-crush",
        "slow-bleed",
        "rally",
        "calm",
    }
    assert kinds["venue-halt"] is Kind.OPERATION
    (halt,) = scenario_named("venue-halt").troubles
    assert halt.kind is VenueTrouble.HALTED
    assert {item.kind for item in scenario_named("rpc-outage").faults} == {
        FaultKind.FAILING,
        FaultKind.UNSEEN,
    }


def test_an_alias_is_the_same_scenario() -> None:
    assert scenario_named("terra") is scenario_named("terra-2022")


@pytest.mark.parametrize(
    ("name", "nearest"), [("black-thursday", "black-thursday-2020"), ("Rally", "rally"), ("gas", "gas-x10")]
)
def test_an_unknown_name_offers_the_nearest_ones_in_one_line(name: str, nearest: str) -> None:
    with pytest.raises(NotFoundError, match=f"{name!r} does not exist; did you mean .*{nearest}") as refusal:
        scenario_named(name)
    assert "\n" not in str(refusal.value)


def test_a_name_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="'zzz' does not exist; there are: black-thursday-2020"):
        scenario_named("zzz")


def test_a_file_of_ones_own_is_read_over_what_stands(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "Mine"\nkind = "crisis"\nstart = "2022-01-01"\nhours = 30\nstream = 9\n'
        '[paths.eth_usd]\nsource = "made up"\nknots = [[0, 100.0], [30, 50.0]]\n'
    )
    scenario = scenario_named(str(path))
    assert scenario.name == "mine"
    assert {item.name for item in scenario.standing} >= {"dvol", "usdc_usd", "paused"}
    assert scenario.paths[0].digits == 2, "from standing.toml"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hours": 0}, "hours must be a whole number from 25 to 2400, was 0"),
        ({"kind": "boom"}, "kind must be one of crisis, protocol, operation, false alarm, was 'boom'"),
        ({"step_minutes": 7}, "step_minutes must be a part of an hour"),
        ({"wrong": 1}, "unknown key wrong; allowed are"),
        ({"paths": {}}, r"\[paths.eth_usd\] is missing"),
        ({"paths": price(knots=[[1, 100.0]])}, "knots must be pairs"),
        ({"paths": price(knots=[[0, 100.0], [60, 90.0]])}, "at most 48"),
        ({"paths": price(knots=[[0, 100.0], [10, -5.0]])}, "over 0 for a path that is straight"),
        ({"paths": price(wicks=[[0.5, 50.0]])}, "wicks must be pairs .* at steps of 60 minutes"),
        (
            {"paths": {**price(), "eth_used": {"source": "x", "unit": "y", "knots": 1}}},
            "did you mean eth_usd",
        ),
        ({"paths": {**price(), "dvol": {"knots": 60}}}, "source is missing"),
        (
            {"paths": {"dvol": {"source": "x", "knots": 60, "lag": 20.0}, **price()}},
            "paths, dvol: lag must be a number from -5 to 5",
        ),
        (
            {"paths": {"dvol": {"source": "x", "knots": 60, "lag": 2.0}, **price()}},
            r"\[paths.dvol\]: lag is of \[paths.eth_usd\], which must stand before it",
        ),
        ({"paths": price(lag=1.0)}, r"\[paths.eth_usd\]: lag is of \[paths.eth_usd\]"),
        ({"measured": "dvoll"}, "no path 'dvoll'"),
        ({"figures": [{"name": "depth"}]}, "name must be one of drawdown"),
        ({"faults": [{"kind": "unseen", "from": 5, "to": 3, "because": "x"}]}, "later than its from, 5"),
        ({"faults": [{"kind": "gone", "from": 5, "to": 8, "because": "x"}]}, "kind must be one of unseen"),
        ({"troubles": [{"kind": "wide", "from": 1, "to": 3, "times": 0.5, "because": "x"}]}, "from 1 to 100"),
        ({"start": "yesterday"}, "must be an ISO 8601 date"),
        ({"history": {"steadiness": "wild"}}, "steadiness must be one of steady, placid"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(changes, words) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        parse_scenario(plain(**changes), where="small.toml")
    assert "\n" not in str(refusal.value)
    assert "small.toml" in str(refusal.value)


def test_a_missing_or_broken_file_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_scenario(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_scenario(broken)
