"""What the planner leaves out, and what it says of it."""

import math
from dataclasses import replace

import pytest
from engine.factory import (
    GROUP,
    NOW_S,
    board,
    buys,
    classic,
    frame,
    held,
    option,
    spend,
)

from bot.engine.step import decide
from bot.model.hedge import Layer, OptionType, Side
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import HOUR_S

POLICY = classic()


def severe_with_near(part):
    """Return a SEVERE decision on a book of NEAR alone, at ``part`` of what it wants."""
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    (group,) = decide(POLICY, state, frame())[1].groups
    near = next(item for item in group.targets if item.layer is Layer.NEAR)
    leg = held(near.instrument, Layer.NEAR, part * near.wanted_contracts)
    return decide(POLICY, state, frame(held=(leg,)))[1]


def test_r8_what_held_legs_already_cover_is_a_shortfall():
    decision = severe_with_near(1.7)
    reasons = {item.reason for item in decision.groups[0].shortfalls if item.layer is Layer.MID}
    assert "share already covered by held legs (R8)" in reasons
    assert buys(decision)[Layer.MID] > 0.0


def test_nothing_is_topped_up_close_to_the_share():
    decision = severe_with_near(5.0)
    assert not buys(decision)
    (mid,) = [item for item in decision.groups[0].shortfalls if item.layer is Layer.MID]
    assert "of the 25.0% wanted" in mid.reason
    assert mid.missing == 1.0


def test_r10_a_leg_that_is_exercised_counts_until_it_is_gone():
    """An exercise may fail or wait: what is bought beside it keeps the guard, and with one whose vol is
    unknown nothing can be told."""
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    leg = replace(held(option(2_200, 0.1), Layer.NEAR, 220.0), settleable=True, cost_usd=1.0)

    def beside(*held_legs):
        decision = decide(POLICY, state, frame(held=held_legs))[1]
        settled = [item.position_id for item in decision.plan.legs if item.side is Side.SETTLE]
        assert settled == [item.id for item in held_legs]
        return decision

    free, cut, unknown = beside(), beside(leg), beside(replace(leg, iv=math.nan))
    assert 0.0 < sum(buys(cut).values()) < 0.9 * sum(buys(free).values())
    assert not buys(unknown)
    caps = {item.cap for decision in (cut, unknown) for item in decision.groups[0].shortfalls}
    assert "over-hedge guard (R10)" in caps


@pytest.mark.parametrize(("part", "missing"), [(0.0, 1.0), (0.1, 0.9), (1.0, None)])
def test_a_layer_that_nothing_listed_serves_is_never_silent(part, missing):
    """Its target is not known then: what it holds may be little, and the shortfall says how little."""
    (whole,) = decide(POLICY, EngineState(), frame())[1].groups
    tail = next(item for item in whole.targets if item.layer is Layer.TAIL)
    leg = held(tail.instrument, Layer.TAIL, max(part, 1e-9) * tail.wanted_contracts)
    at = frame(held=(leg,) if part else (), quotes=board(days=(5.0,)))
    found = decide(POLICY, EngineState(), at)[1].groups[0].shortfalls
    if missing is None:
        assert found == ()
        return
    (short,) = found
    assert short.missing == pytest.approx(missing, abs=0.03)
    assert "no listed put fits 60+ d" in short.reason
    assert math.isnan(short.missing_contracts)


def test_the_escalation_reserve_is_the_policys_choice():
    """ADR 0004 is ours: without it a lower tier may spend all of R9's room."""
    state = EngineState(groups={GROUP: GroupState(tier=Tier.GUARDED, last_needed_s=NOW_S)})
    spent = (spend(NOW_S - HOUR_S, 4_400.0),)
    plans = [
        decide(
            classic(budget={"escalation_reserve": kept}, mid={"scaling": "tier"}),
            state,
            frame(spends=spent),
        )[1]
        for kept in (True, False)
    ]
    bought = [buys(plan).get(Layer.MID, 0.0) for plan in plans]
    assert bought[0] < bought[1]


def test_options_on_the_side_where_nothing_is_lost_are_a_shortfall_with_the_reason():
    """Under ``hold`` the worst losses are above the range: with puts alone listed, none is bought."""
    policy = classic(near={"trigger": "tier"}, sizing={"loss_measure": "hold"})
    puts = tuple(item for item in board() if item.instrument.option_type is OptionType.PUT)
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    _, decision = decide(policy, state, frame(quotes=puts))
    assert not decision.plan.legs
    said = [item.reason for item in decision.groups[0].shortfalls]
    assert sum("no put lowers the value at risk" in reason for reason in said) == 3
    assert sum("no listed call fits" in reason for reason in said) == 3
