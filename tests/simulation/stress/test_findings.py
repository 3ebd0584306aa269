"""Measures of a run, on a run made by hand: five hours, a fall of 40 %."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from bot.simulation.stress.description import Kind
from bot.simulation.stress.document import stress_document
from bot.simulation.stress.findings import _entries, _fallen, _lead, totals
from bot.simulation.stress.run import Told, _Told
from bot.simulation.stress.terminal import print_findings


class MadeUp:
    """As much of a run as the measures read."""

    def __init__(self, price, *, hours=None, step_s=3_600):
        self.paths = _Paths(np.array(price, dtype=np.float64), step_s)
        self.hours = self.paths.hours if hours is None else np.array(hours, dtype=np.float64)
        self.scenario = _Scenario(step_s)


class _Scenario:
    def __init__(self, step_s):
        self.steps_an_hour = 3_600 // step_s


class _Paths:
    def __init__(self, price, step_s):
        self._price = price
        self.hours = np.arange(price.size) * step_s / 3_600.0

    def __getitem__(self, name):
        assert name == "eth_usd"
        return self._price


def test_lead_is_from_the_entry_and_share_from_the_first_step_in_the_fall() -> None:
    """Peak 100 at hour 1, low 60 at hour 4; the tier stands from hour 2, at 90: a quarter of the fall."""
    run = MadeUp([90, 100, 90, 70, 60, 65])
    fall = _fallen(run, "eth_usd")
    assert (fall.share, fall.peak_h, fall.low_h) == (pytest.approx(0.4), 1.0, 4.0)
    lead = _lead(run, fall, np.array([False, False, True, True, True, True]))
    assert (lead.before_low_h, lead.share) == (2.0, pytest.approx(0.25))


def test_a_tier_that_stood_before_the_peak_has_suffered_nothing() -> None:
    run = MadeUp([90, 100, 90, 70, 60, 65])
    lead = _lead(run, _fallen(run, "eth_usd"), np.ones(6, dtype=bool))
    assert (lead.before_low_h, lead.share) == (4.0, 0.0)


def test_a_tier_after_the_low_was_none() -> None:
    run = MadeUp([90, 100, 90, 70, 60, 65])
    assert _lead(run, _fallen(run, "eth_usd"), np.array([False] * 5 + [True])) is None


def test_a_path_that_never_falls_has_no_lead() -> None:
    run = MadeUp([90, 100, 110])
    fall = _fallen(run, "eth_usd")
    assert fall.share == 0.0
    assert _lead(run, fall, np.ones(3, dtype=bool)) is None


def test_what_the_bot_did_not_see_counts_in_the_fall() -> None:
    """The low is at hour 4, unseen: what stood at hour 3 stands before it."""
    run = MadeUp([90, 100, 90, 70, 60, 65], hours=[0, 1, 2, 3, 5])
    lead = _lead(run, _fallen(run, "eth_usd"), np.array([False, False, False, True, True]))
    assert (lead.before_low_h, lead.share) == (1.0, pytest.approx(0.75))


def test_an_alarm_is_false_where_no_fall_of_a_tenth_follows_within_a_week() -> None:
    """R26. Entries at hours 1 (100 -> 89 follows: true) and 4 (89 -> 85: false)."""
    run = MadeUp([100, 100, 95, 89, 89, 85])
    tiers = np.array([0, 2, 2, 1, 2, 3], dtype=np.int8)
    assert _entries(run, tiers) == [False, True]


def test_a_condition_is_told_when_it_begins_and_when_its_title_changes() -> None:
    told = _Told()
    one, worse = Told(1.0, "warning", "ELEVATED", ""), Told(2.0, "critical", "SEVERE", "")
    told.hear([("tier", one)])
    told.hear([("tier", replace_h(one, 1.5))])
    told.hear([("tier", worse)])
    told.hear([])
    told.hear([("tier", replace_h(one, 4.0))])
    assert [item.at_h for item in told.news] == [1.0, 2.0, 4.0]


def replace_h(item: Told, at_h: float) -> Told:
    return item._replace(at_h=at_h)


@pytest.fixture
def two(finding):
    return [finding("venue-halt", "steward"), finding("rally", "steward")]


def test_the_document_is_plain_json_and_names_what_it_measured(two) -> None:
    facts = json.loads(json.dumps(stress_document(two), allow_nan=False))
    assert list(facts["scenarios"]) == ["venue-halt", "rally"]
    halt = facts["scenarios"]["venue-halt"]
    assert halt["faults"][0]["kind"] == "halted"
    mine = halt["policies"]["steward"]
    assert mine["price_fall"]["share"] == pytest.approx(0.161, abs=0.001)
    assert {"guarded", "elevated", "highest_tier", "cost", "bought", "proposals", "tiers"} <= set(mine)
    assert all(item["is_met"] for item in mine["figures"])
    assert facts["summary"]["steward"]["crises"] == 0


@pytest.mark.parametrize("many", [1, 2])
def test_what_is_printed_fits_80_columns(two, many: int) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    print_findings(two[:many], console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "venue-halt" in text
    assert "steward" in text


def test_totals_are_over_market_crises_alone(two) -> None:
    found = totals(two)
    assert found["crises"] == 0
    assert np.isnan(found["removed"])
    crisis = replace(two[0], run=replace(two[0].run, scenario=replace(two[0].run.scenario, kind=Kind.CRISIS)))
    assert totals([crisis])["removed"] == pytest.approx(1.0 - crisis.hedged / crisis.unhedged)
