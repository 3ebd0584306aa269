"""Laws of R1-R4 together, over readings as they may come."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from engine.factory import GROUP, NOW_S, classic, frame, reading
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.group import read_group
from bot.engine.rules.consensus import LONE_FAMILY
from bot.engine.tier_step import decide_tier
from bot.model.record import GroupState
from bot.model.tier import Quality, Tier

HOUR = 3600.0
FAMILIES = (("S1", "S2", "S3", "S4"), ("S10", "S11", "S13", "S26"), ("S17", "S18", "S21", "S23"))
SUBJECTS = {"S17": "aave/USDC", "S18": "uniswap-v2", "S21": GROUP, "S23": "stablecoins"}
STEWARD = {"fast_vote": 0.75, "cooldown": "48 h", "cooldown_guarded": "6 h", "step_down": "straight"}
POLICIES = {"classic": classic(), "steward": classic(tiers=STEWARD)}
AT = frame({}, quotes=())
VIEW = read_group(POLICIES["classic"], AT, GROUP)
scores = st.floats(0.0, 1.0).map(lambda value: round(value, 6))
tables = st.tuples(*(st.lists(scores, min_size=2, max_size=4) for _ in FAMILIES))
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


def read(signal, score, **changes):
    subject = SUBJECTS.get(signal)
    return reading(signal, score, **({"subject": subject} if subject else {}), **changes)


def readings_of(table):
    return [
        read(signal, score)
        for names, scores_of in zip(FAMILIES, table, strict=True)
        for signal, score in zip(names, scores_of, strict=False)
    ]


def fast_of(level):
    """S24 of both, S25 and S26 at one level; S14 of price is absent."""
    speed = (reading("S24", level), reading("S24", level, subject="BTC"))
    return [*speed, reading("S25", level), reading("S26", level)]


def step(policy, state, now_s, readings, holds=()):
    at = replace(AT, now_s=now_s)
    found = decide_tier(policy, state, at, VIEW, readings, holds=holds)
    return found.context.state, found.needed


@policies
@settings(deadline=None, max_examples=60)
@given(table=tables, family=st.integers(0, 2), score=scores, fast=scores, other=scores)
def test_another_stressed_signal_never_lowers_the_tier(policy, table, family, score, fast, other):
    before = readings_of(table) + fast_of(fast)
    extra = read(("S5", "S12", "S19")[family], score)
    _, needed = step(policy, GroupState(), NOW_S, before)
    _, with_one_more = step(policy, GroupState(), NOW_S, [*before, extra])
    assert with_one_more >= needed
    again = replace(extra, score=max(score, other), source="second")  # the same signal, more stressed
    _, with_two_more = step(policy, GroupState(), NOW_S, [*before, extra, again])
    assert with_two_more >= with_one_more


@policies
@settings(deadline=None, max_examples=40)
@given(table=st.lists(scores, min_size=2, max_size=4), family=st.integers(0, 2), extra=st.integers(0, 2))
def test_another_stressed_signal_takes_nothing_from_a_lone_family(policy, table, family, extra):
    mine = [read(signal, score) for signal, score in zip(FAMILIES[family], table, strict=False)]
    _, needed = step(policy, GroupState(), NOW_S, mine)
    _, after = step(policy, GroupState(), NOW_S, [*mine, read(("S5", "S12", "S19")[extra], 1.0)])
    assert after >= needed


@policies
@settings(deadline=None, max_examples=25)
@given(noise=st.lists(st.floats(0.3, 0.7), min_size=30, max_size=120), fast=st.booleans())
def test_noise_moves_the_tier_at_most_once_a_dwell(policy, noise, fast):
    """Scores that jump around the thresholds, every 10 min: one fall a session, each after its cooldown."""
    state, changes = GroupState(), []
    for index, score in enumerate(noise):
        now_s, before = NOW_S + index * 600.0, state.tier
        readings = [*(read(name, score) for name in FAMILIES[0][:3]), read("S10", 0.0), read("S11", 0.0)]
        readings += fast_of(score + 0.25) if fast else []
        state, _ = step(policy, state, now_s, readings)
        if state.tier is not before:
            changes.append((now_s, before, state.tier))
    falls = [item for item in changes if item[2] < item[1]]
    assert all(later[0] - earlier[0] >= policy.tiers.session for earlier, later in pairwise(falls))
    for earlier, later in pairwise(changes):
        if later[2] < later[1]:
            assert later[0] - earlier[0] >= policy.tiers.cooldown_guarded
    ups = [item for item in changes if item[2] > item[1]]
    assert len(ups) <= len(falls) + Tier.CRISIS  # no rise without room: between falls the tier only climbs


@policies
@settings(deadline=None, max_examples=60)
@given(
    table=tables,
    lost=st.sets(st.integers(0, 11)),
    tier=st.sampled_from(Tier),
    quiet_h=st.sampled_from([1.0, 7.0, 50.0, 500.0]),
    fast=scores,
)
def test_missing_data_never_lowers_the_tier(policy, table, lost, tier, quiet_h, fast):
    """Whatever goes missing, the tier is never under what it was and what full data would have left of it."""
    full = readings_of(table) + fast_of(fast)
    masked = [
        replace(item, quality=Quality.MISSING, score=math.nan, value=math.nan) if index in lost else item
        for index, item in enumerate(full)
    ]
    # The families remember the votes that the full data cast a frame ago.
    remembered, _ = step(policy, GroupState(), NOW_S - 600.0, full)
    last_needed_s = NOW_S - quiet_h * HOUR
    state = GroupState(tier=tier, last_needed_s=last_needed_s, voting=remembered.voting)
    left, _ = step(policy, state, NOW_S, full)
    blind, _ = step(policy, state, NOW_S, masked)
    assert blind.tier >= min(tier, left.tier)


@policies
@settings(deadline=None, max_examples=40)
@given(
    table=tables,
    tier=st.sampled_from(Tier),
    down_h=st.floats(0.0, 30.0),
    lone=st.booleans(),
    holds=st.sampled_from([(), ("price is stale",)]),
)
def test_an_escalation_is_never_refused(policy, table, tier, down_h, lone, holds):
    """Whatever was before, two frames a minute apart that need a higher tier have it."""
    readings = readings_of(table)
    state = GroupState(
        tier=tier,
        last_needed_s=NOW_S,
        last_step_down_s=NOW_S - down_h * HOUR,
        voting={LONE_FAMILY: lone},
    )
    state, first = step(policy, state, NOW_S, readings, holds)
    state, second = step(policy, state, NOW_S + policy.tiers.confirm_s, readings, holds)
    assert state.tier >= min(first, second)
    assert state.tier >= tier  # nothing falls within the cooldown
