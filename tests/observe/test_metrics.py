"""Metrics of a step: names by convention, series that are gone, bounded labels; what the board asks for."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline_builders import filled, leg, moment, record_of
from prometheus_client.parser import text_string_to_metric_families

from bot.model.hedge import Layer, LayerTarget, LegStatus, Shortfall
from bot.model.tier import Family, FamilyVote, Quality, Reading, Tier
from bot.observe.metrics import COUNTERS, GAUGES, MAX_SERIES, Metrics, ProviderFigures, TargetFigures

DOCS = Path(__file__).parents[2] / "docs" / "grafana"


def values(metrics):
    """Return (name, labels) -> value as a scrape has it."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def full_record():
    target = LayerTarget(
        layer=Layer.NEAR, open=True, weight=0.4, instrument=None, wanted_contracts=5.0, held_contracts=3.0,
        because="",
    )  # fmt: skip
    short = Shortfall(layer=Layer.NEAR, missing=0.4, missing_contracts=2.0, reason="no expiry in band")
    vote = FamilyVote(
        family=Family.ONCHAIN, score=0.7, third_score=0.1, voting=True, configured=4, live=4, because=""
    )
    reading = Reading(
        signal="S10", name="funding", subject="ETH", family=Family.FUNDAMENTAL, value=0.2, unit="", score=0.6,
        quality=Quality.LIVE, because="", source="perp-v2",
    )  # fmt: skip
    missing = replace(reading, signal="S4", score=math.nan, quality=Quality.MISSING)
    record = record_of(
        tier=Tier.ELEVATED, targets=(target,), shortfalls=(short,), votes=(vote,), outcomes=(filled(leg()),)
    )
    limits = {"session_cap_usd": 500.0, "session_used_usd": 120.0, "planned_usd": 3.0}
    return replace(record, decision=replace(record.decision, readings=(reading, missing), limits=limits))


def test_a_step_shows_tiers_protection_budget_money_and_orders():
    metrics = Metrics(clock=lambda: 1_000.0)
    metrics.begin(mode="dry-run")
    metrics.step(full_record(), moment(1))
    found = values(metrics)
    group, layer = ("group", "ETH/USDC"), ("layer", "NEAR")
    assert found["alvh_tier", (group,)] == 2
    assert found["alvh_layer_wanted_contracts", (group, layer)] == 5.0
    assert found["alvh_layer_held_contracts", (group, layer)] == 3.0
    assert found["alvh_layer_shortfall_ratio", (group, layer)] == 0.4
    assert found["alvh_family_voting", (("family", "ONCHAIN"), group)] == 1.0
    assert found["alvh_readings", (("quality", "missing"),)] == 1.0
    assert found["alvh_budget_left_usd", (("budget", "session"),)] == 380.0
    assert found["alvh_premium_usd_total", (("layer", "MID"),)] == 100.0
    assert found["alvh_gas_usd_total", ()] == 2.0
    assert found["alvh_orders_total", (("kind", "option"), ("status", "filled"))] == 1.0
    assert found["alvh_last_decision_timestamp_seconds", ()] == 1_000.0
    assert found["alvh_chain_block_number", (("chain", "31337"),)] == 1.0
    assert found["alvh_spot_usd", (("underlying", "ETH"),)] == 2_500.0


def test_what_is_gone_is_shown_no_longer_and_counters_only_rise():
    metrics = Metrics()
    metrics.step(full_record(), moment(1))
    empty = record_of()
    metrics.step(replace(empty, decision=replace(empty.decision, groups=())), moment(2))
    found = values(metrics)
    assert not [name for name, _ in found if name == "alvh_tier"]
    assert found["alvh_decisions_total", ()] == 2.0


def test_money_that_is_unknown_is_not_counted():
    metrics = Metrics()
    unknown = replace(filled(leg()), premium_usd=math.nan, gas_usd=math.nan)
    metrics.step(record_of(outcomes=(unknown, replace(unknown, status=LegStatus.REJECTED))), moment(1))
    assert values(metrics)["alvh_gas_usd_total", ()] == 0.0


def test_a_heartbeat_keeps_the_readings_of_the_last_full_record():
    metrics = Metrics()
    metrics.step(full_record(), moment(1))
    metrics.step(replace(record_of(), is_heartbeat=True), moment(2))
    assert values(metrics)["alvh_readings", (("quality", "live"),)] == 1.0


def test_no_metric_has_more_series_than_the_bound():
    metrics = Metrics()
    metrics.alerts(
        [
            TargetFigures(name=f"{n} JSON", waiting=n, delivered=0, failures=0, failing_since_s=math.nan)
            for n in range(MAX_SERIES + 50)
        ],
        standing={"critical": 2},
    )
    found = [key for key in values(metrics) if key[0] == "alvh_alerts_waiting"]
    assert len(found) == MAX_SERIES


def test_stages_are_timed_providers_and_failing_targets_are_shown():
    metrics = Metrics(clock=lambda: 5_000.0)
    with pytest.raises(RuntimeError), metrics.span("decide"):
        raise RuntimeError("also a stage that fails is timed")
    metrics.providers(
        [ProviderFigures(chain=1, place=0, usable=False, benched=True, head=None, latency_s=0.2)]
    )
    metrics.alerts(
        [TargetFigures(name="2 bad", waiting=3, delivered=1, failures=9, failing_since_s=4_000.0)],
        standing={},
    )
    found = values(metrics)
    assert found["alvh_stage_duration_seconds_count", (("stage", "decide"),)] == 1.0
    assert found["alvh_provider_benched", (("chain", "1"), ("provider", "0"))] == 1.0
    assert found["alvh_alerts_failing_seconds", (("target", "2 bad"),)] == 1_000.0


def test_names_have_units_and_words():
    for name, (words, labels) in {**GAUGES, **COUNTERS}.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert words.endswith(".")
        assert not name.endswith("_total"), "the library adds it"
        assert not {"url", "address", "hash", "because"} & set(labels)


# What the documents beside it ask for


def expressions():
    board = json.loads((DOCS / "alvh.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    rules = (DOCS / "alerts.yml").read_text()
    for name, expression in re.findall(r"- alert: (\w+)\n\s+expr: (.+)\n", rules):
        yield f"rule {name}", expression


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_every_metric_that_a_board_or_rule_names_exists_and_expressions_are_balanced(where, expression):
    metrics = Metrics()
    asked = set(re.findall(r"\balvh_\w+", expression))
    assert asked or expression.startswith("up{"), "the bot itself says nothing when it is gone"
    assert asked <= metrics.names, where
    for opening, closing in ("()", "{}", "[]"):
        depth = 0
        for letter in re.sub(r'"[^"]*"', "", expression):
            depth += (letter == opening) - (letter == closing)
            assert depth >= 0, where
        assert depth == 0, where
    for name, labels in re.findall(r"(alvh_\w+)\{([^}]*)\}", expression):
        base = name.removeprefix("alvh_").removesuffix("_total")
        known = {**GAUGES, **COUNTERS}.get(base)
        if known is not None:
            assert set(re.findall(r"(\w+)\s*[=!]", labels)) <= set(known[1]), where


def test_the_rules_name_a_severity_and_a_section_of_the_runbook_that_exists():
    rules = (DOCS / "alerts.yml").read_text()
    runbook = (DOCS.parent / "runbook.md").read_text()
    titles = re.findall(r"^#+ (.+)$", runbook, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}
    names = re.findall(r"- alert: (\w+)", rules)
    assert len(names) >= 8
    assert len(set(names)) == len(names)
    assert len(re.findall(r"severity: (?:critical|warning|info)", rules)) == len(names)
    named = re.findall(r"runbook: docs/runbook\.md#([\w-]+)", rules)
    assert len(named) == len(names)
    assert set(named) <= anchors


def test_the_board_has_ids_of_its_own_and_no_panel_lies_on_another():
    board = json.loads((DOCS / "alvh.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) >= 12
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
