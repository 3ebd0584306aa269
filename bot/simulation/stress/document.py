"""The JSON of stress findings: hours count from the first point, ratios are fractions, null is unknown."""

import math
from collections.abc import Sequence

from bot.model.base_layers import Proposal
from bot.model.units import HOUR_S, iso_utc
from bot.simulation.results import order_json, perpetual_json, tier_json
from bot.simulation.stress.description import Fault, Scenario, Trouble
from bot.simulation.stress.findings import Fallen, Finding, Lead, Reproduced, totals

Document = dict[str, object]


def stress_document(findings: Sequence[Finding], unfinished: Sequence[str] = ()) -> Document:
    """Return the document of `alvh stress --json`: scenarios by name, and under each its policies."""
    scenarios: dict[str, Document] = {}
    for item in findings:
        entry = scenarios.setdefault(item.run.scenario.name, scenario_document(item.run.scenario))
        policies = entry.setdefault("policies", {})
        assert isinstance(policies, dict)  # noqa: S101 - made one line above
        policies[item.run.policy] = finding_document(item)
    spec, names = findings[0].run.spec, dict.fromkeys(item.run.policy for item in findings)
    return {
        "exposure": {"pool": spec.pool, "value_usd": spec.value_usd},
        "seed": findings[0].run.seed,
        "unfinished": list(unfinished),
        "scenarios": scenarios,
        "summary": {
            name: {
                key: _or_none(value)
                for key, value in totals([item for item in findings if item.run.policy == name]).items()
            }
            for name in names
        },
    }


def scenario_document(scenario: Scenario) -> Document:
    """Return what a scenario is, with its sources."""
    return {
        "title": scenario.title,
        "kind": scenario.kind.value,
        "start_ts": iso_utc(scenario.start_s),
        "hours": scenario.hours,
        "step_minutes": scenario.step_s // 60,
        "sources": list(scenario.sources),
        "notes": list(scenario.notes),
        "figures": [
            {
                "name": item.name,
                "path": item.path,
                "value": item.value,
                "tolerance": item.tolerance,
                "unit": item.unit,
                "source": item.source,
            }
            for item in scenario.figures
        ],
        "faults": [_fault_json(item) for item in scenario.faults]
        + [_fault_json(item) for item in scenario.troubles],
    }


def finding_document(item: Finding) -> Document:
    """Return what a run showed as plain values."""
    return {
        "policy_hash": item.run.policy_hash,
        "steps": int(item.run.hours.size),
        **_tiers_json(item),
        **_money_json(item),
        **_base_json(item),
        "held_h": item.held_h,
        "degraded_h": item.degraded_h,
        "unseen_h": item.unseen_h,
        "holds": list(item.holds),
        "told": [each._asdict() for each in item.told],
        "orders": [order_json(each) for each in item.orders],
        "perpetual_orders": [perpetual_json(each) for each in item.perpetuals],
        "figures": [_figure_json(each) for each in item.figures],
    }


def _tiers_json(item: Finding) -> Document:
    start_s = item.run.scenario.start_s
    return {
        "fall": _fall_json(item.fall),
        "price_fall": _fall_json(item.price_fall),
        "guarded": _lead_json(item.guarded),
        "elevated": _lead_json(item.elevated),
        "protocol_elevated": _lead_json(item.protocol),
        "highest_tier": item.highest.name,
        "protocols": [
            {"name": each.name, "tier": each.highest.name, "at_h": each.since_h, "because": each.because}
            for each in item.protocols
        ],
        "alarms": item.alarms,
        "false_alarms": item.false_alarms,
        "tiers": [{**tier_json(each), "at_h": (each.at_s - start_s) / HOUR_S} for each in item.tiers],
    }


def _money_json(item: Finding) -> Document:
    return {
        "unhedged_max_drawdown": _or_none(item.unhedged),
        "hedged_max_drawdown": _or_none(item.hedged),
        "removed": _or_none(item.removed),
        "cost": _or_none(item.cost),
        "bought": [
            {
                "layer": each.layer,
                "orders": each.orders,
                "contracts": each.contracts,
                "paid_usd": each.paid_usd,
            }
            for each in item.bought
        ],
        "short_most_units": item.short_most,
        "refused_orders": item.refused,
    }


def _base_json(item: Finding) -> Document:
    return {
        "proposals": [{"at_h": each.at_h, **_proposal_json(each.proposal)} for each in item.raised],
        "standing_proposals": [_proposal_json(each) for each in item.standing],
    }


def _proposal_json(item: Proposal) -> Document:
    return {
        "rule": item.rule,
        "action": item.action.value,
        "subject": item.subject,
        "amount_usd": _or_none(item.amount_usd),
        "because": item.because,
    }


def _figure_json(item: Reproduced) -> Document:
    return {
        "name": item.name,
        "path": item.path,
        "wanted": item.wanted,
        "found": _or_none(item.found),
        "unit": item.unit,
        "is_met": item.is_met,
    }


def _fault_json(item: Fault | Trouble) -> Document:
    return {"kind": item.kind.value, "from_h": item.from_h, "to_h": item.to_h, "because": item.because}


def _fall_json(item: Fallen) -> Document:
    return {
        "path": item.path,
        "share": item.share,
        "peak_h": _or_none(item.peak_h),
        "low_h": _or_none(item.low_h),
    }


def _lead_json(item: Lead | None) -> Document | None:
    return {"before_low_h": item.before_low_h, "share": item.share} if item else None


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
