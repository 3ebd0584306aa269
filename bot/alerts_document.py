"""How the alerts stand, as a JSON document."""

import math
from typing import Any

from bot.alerts.state import AlertState, TargetState
from bot.model.units import iso_utc


def alerts_document(state: AlertState) -> dict[str, Any]:
    """Return what stands, and how each target does."""
    return {
        "standing": [
            {
                "key": key,
                "severity": item.severity.name.lower(),
                "title": item.title,
                "since": _time(item.since_s),
                "told_at": _time(item.told_at_s),
            }
            for key, item in state.standing.items()
        ],
        "waiting": state.waiting,
        "targets": [_target(item) for item in state.targets.values()],
        "heartbeat": None
        if state.heartbeat is None
        else {
            "last_success": _time(state.heartbeat.last_success_s),
            "failing_since": _time(state.heartbeat.failing_since_s),
            "why": state.heartbeat.why,
        },
    }


def _target(item: TargetState) -> dict[str, Any]:
    return {
        "target": item.name,
        "waiting": len(item.waiting),
        "gathered": len(item.gathered),
        "dropped": item.dropped,
        "delivered": item.delivered,
        "failures": item.failures,
        "failing_since": _time(item.failing_since_s),
        "why": item.why,
        "last_success": _time(item.last_success_s),
    }


def _time(at_s: float) -> str | None:
    return None if math.isnan(at_s) else iso_utc(at_s)
