"""What programs read: ISO 8601 UTC times, fractions, USD, null where a number is unknown."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine.factory import NOW_S, calm_columns
from presented import plan, record, stressed_record, troubled_record

from bot import documents
from bot.app.demo import DemoResult
from bot.devnet.scenarios import playable
from bot.model.hedge import LegStatus, Side
from bot.model.market import Column, Metric, SeriesKey
from bot.model.tier import Quality
from bot.simulation.report.journal import from_steps
from bot.simulation.results import order_json, tier_changes, tier_json

HOUR_S = 3_600.0
ROOT = Path(__file__).parents[1]
ORDER_KEYS = {
    *("ts", "block", "group", "layer", "venue", "side", "option_type", "strike_usd", "expiry_ts", "dte"),
    *(
        "size",
        "limit_usd",
        "premium_usd",
        "indicative",
        "fee_usd",
        "swap_usd",
        "gas_usd",
        "tx_hash",
        "position_id",
    ),
    *("status", "because"),
}


def strict(document):
    """Return the document as a program reads it; NaN and infinity are refused."""
    return json.loads(json.dumps(document, allow_nan=False))


def demo_result(records):
    return DemoResult(
        scenario=playable("calm"),
        seed=1,
        chain_id=31337,
        records=records,
        report=from_steps(records, title="demo"),
        setup_s=1.23456,
        run_s=2.0,
    )


def two_steps(**changes):
    first = record(mode="demo")
    later = stressed_record(mode="demo", **changes)
    at_s = first.decision.now_s + HOUR_S
    return first, replace(later, sequence=2, decision=replace(later.decision, now_s=at_s))


def test_an_order_has_the_keys_that_the_issue_names_and_more():
    (outcome,) = record().outcomes
    document = strict(order_json(outcome))
    assert set(document) == ORDER_KEYS
    assert document["ts"] == "2023-11-15T00:00:00Z"
    assert document["dte"] == pytest.approx(75.0)
    assert (document["layer"], document["side"], document["status"]) == ("TAIL", "buy", "filled")
    assert document["size"] == outcome.filled_size
    assert document["tx_hash"] is None
    assert document["block"] is None


def test_a_refused_order_keeps_the_size_that_was_wanted_and_its_reason():
    (outcome,) = record(rejected=True).outcomes
    document = strict(order_json(outcome))
    assert outcome.status is LegStatus.REJECTED
    assert (document["size"], document["premium_usd"]) == (outcome.leg.size, 0.0)
    assert document["because"] == "too dear"


def test_tiers_are_the_first_and_every_change_with_block_and_reason():
    changes = [strict(tier_json(item)) for item in tier_changes(two_steps())]
    assert [item["tier"] for item in changes] == ["CALM", "SEVERE"]
    assert [item["block"] for item in changes] == [7, 7]
    assert [item["ts"] for item in changes] == ["2023-11-15T00:00:00Z", "2023-11-15T01:00:00Z"]
    assert {"block", "ts", "group", "tier", "because"} <= set(changes[0])
    assert changes[0]["because"].startswith("no family votes")


def test_the_made_up_blocks_of_a_backtest_are_not_told():
    (change,) = tier_changes([record(mode="backtest")])
    assert tier_json(change)["block"] is None


def test_a_step_without_a_number_says_null():
    base = stressed_record()
    reading = replace(base.decision.readings[0], value=math.nan, score=math.nan, quality=Quality.MISSING)
    group = replace(base.decision.groups[0], var_usd=math.nan, covered_share=math.nan)
    decision = replace(base.decision, readings=(reading,), groups=(group,))
    odd = replace(base, decision=decision, hedge_value_usd=math.nan, spot_usd={"ETH": math.nan})
    document = strict(documents.step_document(odd))
    assert document["spot_usd"] == {"ETH": None}
    assert document["hedge_value_usd"] is None
    assert document["groups"][0]["var_usd"] is None
    assert (document["readings"][0]["value"], document["readings"][0]["warm_at"]) == (None, None)
    assert document["groups"][0]["tier"] == "SEVERE"
    assert document["orders"] == [strict(order_json(item)) for item in base.outcomes]


def test_a_step_has_what_the_base_layers_propose():
    """Figures that are not known are null: a loan by its health factor alone has a part and no sum."""
    series = calm_columns() | {
        SeriesKey(Metric.HEALTH_FACTOR, "loan", "aave_v3"): Column(
            times_s=NOW_S - np.array([120.0, 60.0, 1.0]), values=np.full(3, 1.2)
        )
    }
    made = record(series)
    document = strict(documents.step_document(made))
    assert len(document["proposals"]) == len(made.decision.proposals)
    first = document["proposals"][0]
    assert (first["rule"], first["layer"], first["action"]) == ("R21", "RESERVE", "repay")
    assert (first["subject"], first["amount_usd"]) == ("loan", None)
    assert first["part"] == pytest.approx(0.25)
    assert first["health_after"] == pytest.approx(1.6)
    assert first["needs"] == "a person confirms, or a Safe signs"
    moves = [item["moves"] for item in document["proposals"] if item["subject"] == "protocol"]
    assert moves == [[{"from": "uniswap-v2", "to": "another protocol", "usd": 5e5}]]


def test_a_step_has_both_tiers_alarms_protocols_and_orders_of_every_kind():
    document = strict(documents.step_document(troubled_record()))
    (group,) = document["groups"]
    tiers = ("tier", "protocol_tier", "shown_tier", "protocol", "previous_tier")
    assert [group[name] for name in tiers] == ["CALM", "CRISIS", "CRISIS", "uniswap-v2", "CALM"]
    assert document["findings"][0] == {
        "rule": "R2",
        "fired": True,
        "because": "health factor of loan (aave_v3): 1.200 under 1.25: top up or repay at once (R21)",
    }
    (protocol,) = document["protocols"]
    assert (protocol["protocol"], protocol["tier"], protocol["groups"]) == (
        "uniswap-v2",
        "CRISIS",
        ["ETH/USDC"],
    )
    opened, closed = document["condors"]
    assert (opened["action"], opened["limit_usd"], opened["worst_loss_usd"]) == ("open", 58.0, 342.0)
    assert [leg["size"] for leg in opened["legs"]] == [-2.0, 2.0, -2.0, 2.0]
    assert (closed["action"], closed["position"]) == ("close", "c1")
    reduced, short, margin = document["perpetuals"]
    assert (reduced["size"], reduced["reduce_only"]) == (2.5, True)
    assert (short["venue"], short["underlying"], short["size"]) == ("perp-v2", "ETH", -12.5)
    assert (margin["action"], margin["margin_usd"], margin["limit_usd"]) == ("add margin", 500.0, None)


def test_a_heartbeat_has_readings_findings_and_proposals_of_the_last_full_record():
    full = troubled_record()
    beat = replace(full, decision=replace(full.decision, readings=(), findings=(), proposals=()))
    assert strict(documents.step_document(beat))["proposals"] == []
    whole, shown = documents.step_document(full), documents.step_document(beat, full=full)
    assert {name: shown[name] for name in ("readings", "findings", "proposals")} == {
        name: whole[name] for name in ("readings", "findings", "proposals")
    }


def test_a_plan_has_every_tier_with_legs_costs_and_losses():
    made = plan()
    document = strict(documents.plan_document(made))
    assert (document["block"], document["ts"]) == (7, "2023-11-15T00:00:00Z")
    assert document["left_out"] == ["v3:9 is closed"]
    (exposure,) = document["exposures"]
    assert (exposure["id"], exposure["lower_usd"], exposure["upper_usd"]) == ("v2:1", 0.0, None)
    assert [item["tier"] for item in document["protections"]] == [
        "CALM", "GUARDED", "ELEVATED", "SEVERE", "CRISIS",
    ]  # fmt: skip
    for shown, item in zip(document["protections"], made.protections, strict=True):
        assert shown["cost_usd"] == pytest.approx(shown["premium_usd"] + shown["swap_and_gas_usd"])
        assert shown["cost_usd"] == pytest.approx(sum(leg["cost_usd"] for leg in shown["legs"]))
        assert shown["carry_share_year"] == pytest.approx(shown["carry_usd_year"] / shown["value_usd"])
        assert 0.0 < shown["covered_share"] <= 1.0
        assert [loss["move"] for loss in shown["losses"]] == [-0.2, -0.4, -0.6]
        assert [loss["unhedged_usd"] for loss in shown["losses"]] == [
            loss.unhedged_usd for loss in item.losses
        ]
        assert all(leg["expiry_ts"].endswith("Z") for leg in shown["legs"])
        assert all(
            short["frees_at"] is None or short["frees_at"].endswith("Z") for short in shown["shortfalls"]
        )


def test_a_plan_has_smiles_vols_and_replication_with_their_figures():
    made = plan()
    document = strict(documents.plan_document(made))
    (market,), (view,) = document["markets"], made.markets
    assert (market["underlying"], market["spot_usd"]) == ("ETH", view.spot_usd)
    assert [item["dte"] for item in market["expiries"]] == [5.0, 30.0, 75.0]
    for shown, item in zip(market["expiries"], view.expiries, strict=True):
        assert (shown["model"], shown["strikes_used"], shown["left_out"]) == ("svi", 18, 0)
        assert shown["atm_iv"] == item.atm_iv
        assert shown["skew_25"] == item.put_25_iv - item.call_25_iv
    assert market["expiries"][0]["forward_iv"] is None
    assert [item["days"] for item in market["term_structure"]] == [7.0, 30.0, 90.0]
    assert {item["name"]: item["vol"] is None for item in market["realised"]} == {
        "EWMA 24 h": False,
        "30 d": False,
        "Parkinson 30 d": True,
        "GARCH(1,1) next 10 d": True,
    }
    (shown,), (found,) = document["replications"], made.replications
    assert (shown["group"], shown["loss_measure"], shown["confidence"]) == ("ETH/USDC", "usd", 0.99)
    for row, item in zip(shown["expiries"], found.expiries, strict=True):
        assert row["cost_usd"] == pytest.approx(sum(leg["cost_usd"] for leg in row["legs"]))
        assert row["cost_share"] == pytest.approx(row["cost_usd"] / shown["value_usd"])
        assert row["worst_error_usd"] == pytest.approx(item.worst_error * shown["value_usd"])
        assert row["mean_error_share"] <= row["worst_error_share"] <= row["worst_error_bound"]


def test_every_figure_of_a_plans_market_is_in_the_docs():
    """A key that a program reads is written down with its unit."""
    document, text = documents.plan_document(plan()), (ROOT / "docs" / "plan.md").read_text()
    for part in ("markets", "replications"):
        assert not {name for name in names_in(document[part]) if f"`{name}`" not in text}


def names_in(value):
    if isinstance(value, dict):
        return set(value) | {name for item in value.values() for name in names_in(item)}
    return {name for item in value for name in names_in(item)} if isinstance(value, list) else set()


def test_a_plan_under_a_hold_says_so():
    document = documents.plan_document(plan(holds=("feed is down",)))
    assert all(item["holds"] == ["feed is down"] for item in document["protections"])


def test_a_demo_names_tiers_orders_limits_and_the_end():
    records = two_steps()
    document = strict(documents.demo_document(demo_result(records)))
    assert (document["chain_id"], document["seed"], document["scenario"]) == (31337, 1, "calm")
    assert [item["tier"] for item in document["tiers"]] == ["CALM", "SEVERE"]
    outcomes = [item for step in records for item in step.outcomes]
    assert all(set(item) == ORDER_KEYS for item in document["orders"])
    assert len(document["orders"]) == len(outcomes)
    bought_usd = sum(item.premium_usd for item in outcomes if item.leg.side is Side.BUY)
    assert document["final"]["premium_spent_usd"] == pytest.approx(bought_usd)
    assert document["final"]["gas_spent_usd"] == pytest.approx(2.0 * len(outcomes))
    assert document["final"]["unhedged_value_usd"] == pytest.approx(1e6)
    assert document["limits"]["max_session_spend_usd"] == pytest.approx(bought_usd + 2.0 * len(outcomes))
    assert document["limits"]["session_cap_usd"] > 0.0
    assert document["timing"] == {"setup_s": 1.235, "run_s": 2.0}


def test_a_demo_whose_last_mark_is_unknown_says_null():
    first, last = two_steps()
    result = demo_result((first, replace(last, hedge_value_usd=math.nan)))
    final = strict(documents.demo_document(result))["final"]
    assert final["hedged_value_usd"] is None
    assert final["hedge_mark_usd"] is None
    assert np.isfinite(final["unhedged_value_usd"])


def test_the_session_that_spent_most_is_any_24_hours_with_the_cap_of_its_end():
    (outcome,) = record().outcomes
    start_s = outcome.at_s

    def bought(hours, usd):
        return replace(outcome, at_s=start_s + hours * HOUR_S, premium_usd=usd, gas_usd=0.0, swap_usd=0.0)

    outcomes = [bought(0, 100.0), bought(23, 50.0), bought(24, 70.0), bought(60, 110.0)]
    caps = {start_s: 500.0, start_s + 24 * HOUR_S: 400.0, start_s + 60 * HOUR_S: 300.0}
    assert documents.session_spend(outcomes, caps) == (150.0, 500.0)  # the one at 24 h is the next session
    refused = [replace(item, status=LegStatus.REJECTED) for item in outcomes]
    assert documents.session_spend(refused, caps) == (0.0, 500.0)
    assert documents.session_spend([], {}) == (0.0, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_unknown_numbers_and_times_are_null(value):
    assert documents.number(value) is None
    assert documents.time(value) is None


def test_times_are_utc_to_the_second():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", documents.time(1_700_000_000.9))
