"""The protocol tier: up at once, down after its cooldown, kept while its source fails, no market layer."""

import math
from itertools import pairwise

import numpy as np
from engine.factory import GROUP, NOW_S, buys, calm_columns, classic, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.rules.protocol_tier import highest_protocol, protocol_step
from bot.engine.step import decide
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import Decision, EngineState
from bot.model.tier import Tier
from bot.pipeline.codec import dumps, loads

POLICY = classic()
HOUR = 3600.0
PAUSED = SeriesKey(Metric.PAUSED, "uniswap-v2", "admin_events")
UPGRADED = SeriesKey(Metric.UPGRADED, "uniswap-v2", "admin_events")


def series(now_s, **values):
    keys = {"paused": PAUSED, "upgraded": UPGRADED}
    times_s = now_s - 5.0 - 60.0 * np.arange(2, -1, -1)
    return {
        keys[name]: Column(times_s=times_s, values=np.array([0.0, 0.0, value]))
        for name, value in values.items()
    }


def step(state, now_s, **values):
    found = protocol_step(POLICY, state, frame(series(now_s, **values), now_s=now_s, quotes=()), ())
    return EngineState(protocol_tiers=found.tiers, protocol_needed_s=found.needed_s), found.decisions


def test_r2_up_at_once_and_down_after_the_cooldown():
    state, decisions = step(EngineState(), NOW_S, paused=1.0, upgraded=1.0)
    assert state.protocol_tiers == {"uniswap-v2": Tier.CRISIS}
    assert decisions[0].groups == (GROUP,)
    state, _ = step(state, NOW_S + 5.99 * HOUR, paused=0.0, upgraded=1.0)
    assert state.protocol_tiers == {"uniswap-v2": Tier.CRISIS}
    state, decisions = step(state, NOW_S + 6.0 * HOUR, paused=0.0, upgraded=1.0)
    assert state.protocol_tiers == {"uniswap-v2": Tier.ELEVATED}  # what is still asked for
    assert decisions[0].previous_tier is Tier.CRISIS
    state, _ = step(state, NOW_S + 11.9 * HOUR, paused=0.0, upgraded=0.0)
    assert state.protocol_tiers == {"uniswap-v2": Tier.ELEVATED}
    state, _ = step(state, NOW_S + 12.0 * HOUR, paused=0.0, upgraded=0.0)
    assert state.protocol_tiers == {}


def test_r2_a_source_that_fails_keeps_the_tier_and_raises_none():
    state, _ = step(EngineState(), NOW_S, paused=1.0)
    for hours in (7.0, 30.0):
        # 2 hours old: past its hold
        old = frame(series(NOW_S + (hours - 2.0) * HOUR, paused=0.0), now_s=NOW_S + hours * HOUR, quotes=())
        found = protocol_step(POLICY, state, old, ())
        assert found.tiers == {"uniswap-v2": Tier.CRISIS}
        state = EngineState(protocol_tiers=found.tiers, protocol_needed_s=found.needed_s)
    fresh, _ = step(EngineState(), NOW_S, paused=math.nan)
    assert fresh.protocol_tiers == {}


def test_r2_a_source_that_is_gone_for_good_lets_the_tier_fall():
    state, _ = step(EngineState(), NOW_S, paused=1.0)
    state, _ = step(state, NOW_S + 5 * HOUR)
    assert state.protocol_tiers
    state, _ = step(state, NOW_S + 6 * HOUR)
    assert state.protocol_tiers == {}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=5, max_size=40))
def test_r2_noise_moves_the_protocol_tier_at_most_once_a_dwell(noise):
    state, changes, tier = EngineState(), [], Tier.CALM
    for hour, value in enumerate(noise):
        state, _ = step(state, NOW_S + hour * HOUR, upgraded=value)
        now = state.protocol_tiers.get("uniswap-v2", Tier.CALM)
        assert now >= (Tier.ELEVATED if value else Tier.CALM)  # never refused
        if now is not tier:
            changes.append((hour, now))
            tier = now
    falls = [(later, earlier) for (earlier, _), (later, to) in pairwise(changes) if to is Tier.CALM]
    assert all(later - earlier >= 6 for later, earlier in falls)


def test_r2_the_protocol_tier_buys_no_market_layer_and_is_shown_with_the_market_tier():
    quiet = calm_columns()
    paused = quiet | series(NOW_S, paused=1.0)
    _, calm = decide(POLICY, EngineState(), frame(quiet))
    state, loud = decide(POLICY, EngineState(), frame(paused))
    (group,) = loud.groups
    assert (group.tier, group.protocol_tier, group.shown_tier) == (Tier.CALM, Tier.CRISIS, Tier.CRISIS)
    assert group.protocol == "uniswap-v2"
    assert group.because.startswith("market CALM, protocol CRISIS (uniswap-v2); ")
    assert any(item.rule == "R2" and item.fired and item.tier is None for item in group.findings)
    assert buys(loud) == buys(calm)
    assert state.protocol_tiers == {"uniswap-v2": Tier.CRISIS}
    assert calm.groups[0].shown_tier is Tier.CALM


def test_protocol_tiers_survive_the_journal():
    state, decision = decide(POLICY, EngineState(), frame(calm_columns() | series(NOW_S, paused=1.0)))
    assert decision.protocols[0].findings[0].tier is Tier.CRISIS
    assert dumps(loads(Decision, dumps(decision))) == dumps(decision)
    assert loads(EngineState, dumps(state)).protocol_tiers == state.protocol_tiers
    assert loads(EngineState, dumps(state)).protocol_needed_s == {"uniswap-v2": NOW_S}


def test_r2_only_protocols_that_a_group_depends_on_are_shown_with_it():
    _, decisions = step(EngineState(), NOW_S, paused=1.0)
    assert highest_protocol(decisions, GROUP) == ("uniswap-v2", Tier.CRISIS)
    assert highest_protocol(decisions, "ETH/DAI") == ("", Tier.CALM)
