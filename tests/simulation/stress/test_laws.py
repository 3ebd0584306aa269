"""What the engine must do in a scenario, for steward and classic alike. Seed 1; the laws name their rules."""

import math

import pytest

from bot.model.base_layers import Action
from bot.model.hedge import LegStatus
from bot.model.tier import Tier


def quoted_hours(finding, from_h: float, to_h: float):
    run = finding.run
    return [record for hour, record in zip(run.hours, run.records, strict=True) if from_h <= hour < to_h]


def layers(finding) -> set[str]:
    return {item.layer for item in finding.bought}


def test_protocol_exploit_raises_the_protocol_alone_and_proposes_to_leave(finding, policy) -> None:
    """R2, protocol kind: Paused -> CRISIS at once, buys no market layer; R29 a withdrawal; R21 RESERVE."""
    found = finding("protocol-exploit", policy)
    (protocol,) = found.protocols
    assert (protocol.name, protocol.highest, protocol.since_h) == ("uniswap-v2", Tier.CRISIS, 40.0)
    assert "is paused" in protocol.because
    assert found.highest <= Tier.GUARDED
    assert "NEAR" not in layers(found)
    assert found.short_most == 0.0
    leave = next(item for item in found.raised if item.proposal.action is Action.WITHDRAW)
    assert (leave.at_h, leave.proposal.rule, leave.proposal.part) == (40.0, "R29", 1.0)
    assert any(item.proposal.action is Action.SPEND for item in found.raised)


def test_a_rally_buys_nothing_near_and_alarms_nobody(finding, policy) -> None:
    """R12: NEAR opens on ELEVATED or its trigger; nothing falls, so no entry to ELEVATED may be there."""
    found = finding("rally", policy)
    assert found.highest <= Tier.GUARDED
    assert (found.alarms, found.false_alarms) == (0, 0)
    assert "NEAR" not in layers(found)
    assert found.short_most == 0.0
    assert 0.0 < found.cost < 0.006, "what stands costs something, and not much"
    assert found.hedged == pytest.approx(found.unhedged, abs=0.003)


def test_a_halted_venue_trades_nothing_and_what_is_missing_is_said(finding, policy) -> None:
    """R8: protection that is wanted and not held is a shortfall with a reason, never silent."""
    found = finding("venue-halt", policy)
    halted = quoted_hours(found, 44.0, 92.0)
    assert halted
    filled = [item for record in halted for item in record.outcomes if item.status is LegStatus.FILLED]
    assert filled == []
    assert not any(record.decision.plan.legs for record in halted), "nothing is quoted, so nothing is planned"
    assert all(math.isfinite(record.hedge_value_usd) for record in halted), "marked to the model"
    shorts = [short for record in halted for group in record.decision.groups for short in group.shortfalls]
    assert shorts
    assert all(short.reason for short in shorts)


def test_an_outage_keeps_the_tier_says_degraded_and_holds(finding, policy) -> None:
    """Signals chapter: a degraded family keeps the tier and buys nothing. R2: a stale oracle is HOLD.

    Reads fail from hour 45. Rows are an hour apart, so a score is held for three hours before it is missing.
    """
    found = finding("rpc-outage", policy)
    before, during = quoted_hours(found, 44.0, 45.0), quoted_hours(found, 47.0, 50.0)
    back = quoted_hours(found, 57.0, 58.0)
    tier = before[0].decision.groups[0].tier
    assert tier >= Tier.GUARDED, "the fall had begun"
    assert len(during) == 3
    assert quoted_hours(found, 50.0, 57.0) == []
    for record in (*during, *back):
        (group,) = record.decision.groups
        assert group.tier >= tier, "missing data never reads as calm"
        assert not record.decision.plan.legs
        assert not record.decision.perpetuals
    assert all(record.decision.holds for record in during)
    assert all(record.decision.groups[0].degraded for record in (*during[1:], *back))
    assert found.unseen_h == 7.0
    assert found.degraded_h == 3.0
