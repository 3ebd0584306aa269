"""R3: confirmation up, cooldown down."""

import itertools
import math

import pytest
from engine.factory import NOW_S, block, classic, context, frame, reading
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.rules.confirmation import confirmed
from bot.engine.rules.consensus import family_votes
from bot.model.record import GroupState
from bot.model.tier import Tier

POLICY = classic()
HOUR = 3600.0


def step(state, needed, now_s, *, number=0, policy=POLICY, holds=(), score=0.0):
    blocks = {31337: block(number, now_s)} if number else {}
    readings = [reading("S1", score), reading("S2", score), reading("S10", 0.0)]
    found = context(policy, readings, state=state, at=frame({}, now_s=now_s, blocks=blocks, quotes=()))
    return confirmed(policy, found, needed, holds=holds)


@pytest.mark.parametrize(
    ("times", "numbers", "tier"),
    [
        ((0,), (0,), Tier.CALM),
        ((0, 59), (0, 0), Tier.CALM),
        ((0, 60), (0, 0), Tier.SEVERE),  # backtest: no blocks, none needed
        ((0, 60), (10, 15), Tier.CALM),
        ((0, 60), (10, 16), Tier.SEVERE),
        ((0, 30, 60), (10, 13, 16), Tier.SEVERE),
        ((0, 59), (10, 30), Tier.CALM),
    ],
)
def test_r3_up_needs_frames_time_and_blocks(times, numbers, tier):
    state = GroupState()
    for seconds, number in zip(times, numbers, strict=True):
        state, finding = step(state, Tier.SEVERE, NOW_S + seconds, number=number)
    assert state.tier is tier
    assert finding.fired is (tier is Tier.SEVERE)


def test_r3_an_interruption_starts_anew():
    state, _ = step(GroupState(), Tier.ELEVATED, NOW_S)
    state, _ = step(state, Tier.CALM, NOW_S + 60)
    state, _ = step(state, Tier.ELEVATED, NOW_S + 120)
    assert state.tier is Tier.CALM
    state, _ = step(state, Tier.ELEVATED, NOW_S + 180)
    assert state.tier is Tier.ELEVATED


def test_r3_each_tier_counts_from_when_it_was_first_asked_for():
    state, _ = step(GroupState(), Tier.GUARDED, NOW_S)
    state, _ = step(state, Tier.SEVERE, NOW_S + 30)
    state, _ = step(state, Tier.SEVERE, NOW_S + 60)
    assert state.tier is Tier.GUARDED
    assert [item.tier for item in state.pending] == [Tier.ELEVATED, Tier.SEVERE]
    state, _ = step(state, Tier.ELEVATED, NOW_S + 90)
    assert state.tier is Tier.ELEVATED
    assert state.pending == ()


@pytest.mark.parametrize(
    ("hours", "tier"), [(1.0, Tier.SEVERE), (5.99, Tier.SEVERE), (6.0, Tier.ELEVATED), (100.0, Tier.ELEVATED)]
)
def test_r3_down_one_step_after_the_cooldown(hours, tier):
    state = GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)
    state, _ = step(state, Tier.CALM, NOW_S + hours * HOUR)
    assert state.tier is tier


def test_r3_straight_goes_to_what_is_needed():
    policy = classic(tiers={"step_down": "straight"})
    state = GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)
    state, _ = step(state, Tier.GUARDED, NOW_S + 6 * HOUR, policy=policy)
    assert state.tier is Tier.GUARDED


@pytest.mark.parametrize(("hours", "tier"), [(23.9, Tier.ELEVATED), (24.0, Tier.GUARDED)])
def test_r3_second_step_down_within_a_session_is_refused(hours, tier):
    state = GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S - 100 * HOUR, last_step_down_s=NOW_S)
    state, finding = step(state, Tier.CALM, NOW_S + hours * HOUR)
    assert state.tier is tier
    assert ("session" in finding.because) is (tier is Tier.ELEVATED)


def test_r3_escalation_is_never_refused():
    state = GroupState(tier=Tier.GUARDED, last_needed_s=NOW_S, last_step_down_s=NOW_S)
    state, _ = step(state, Tier.CRISIS, NOW_S + 1, holds=("stale",))
    state, _ = step(state, Tier.CRISIS, NOW_S + 61, holds=("stale",))
    assert state.tier is Tier.CRISIS


def test_r3_hold_keeps_the_tier():
    state = GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S - 100 * HOUR)
    state, finding = step(state, Tier.CALM, NOW_S, holds=("price is stale",))
    assert state.tier is Tier.SEVERE
    assert "price is stale" in finding.because


@pytest.mark.parametrize(("score", "tier"), [(0.349, Tier.GUARDED), (0.35, Tier.ELEVATED)])
def test_r3_a_vote_at_vote_off_blocks_the_step_down(score, tier):
    state = GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S - 100 * HOUR)
    state, _ = step(state, Tier.CALM, NOW_S, score=score)
    assert state.tier is tier


def test_r3_cooldown_counts_from_when_the_tier_was_last_needed():
    state = GroupState(tier=Tier.GUARDED, last_needed_s=NOW_S)
    state, _ = step(state, Tier.GUARDED, NOW_S + 5 * HOUR)
    state, _ = step(state, Tier.CALM, NOW_S + 7 * HOUR)
    assert state.tier is Tier.GUARDED
    state, _ = step(state, Tier.CALM, NOW_S + 11 * HOUR)
    assert state.tier is Tier.CALM


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=20, max_size=60))
def test_r3_noise_moves_the_tier_at_most_once_a_dwell(noise):
    state, changes = GroupState(), []
    for hour, asked in enumerate(noise):
        now_s = NOW_S + hour * HOUR
        before = state.tier
        state, _ = step(state, Tier.GUARDED if asked else Tier.CALM, now_s)
        if state.tier != before:
            changes.append((now_s, state.tier))
    downs = [at for at, tier in changes if tier is Tier.CALM]
    assert all(later - earlier >= 24 * HOUR for earlier, later in itertools.pairwise(downs))
    for (earlier, _), (later, tier) in itertools.pairwise(changes):
        if tier is Tier.CALM:
            assert later - earlier >= POLICY.tiers.cooldown


def test_r3_first_frame_ever_is_calm_and_quiet():
    state, finding = step(GroupState(), Tier.CALM, NOW_S)
    assert (state.tier, finding.fired) == (Tier.CALM, False)
    assert math.isfinite(state.last_needed_s)


def test_votes_of_no_readings_are_silent():
    assert [vote.configured for vote in family_votes(POLICY, GroupState(), [])] == [0, 0, 0]
