"""R3: confirmation up, cooldown down."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import NOW_S, block, classic, context, frame, reading
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.rules.confirmation import confirmed
from bot.engine.rules.consensus import family_votes, voting_memory
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Quality, Tier

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


def test_r3_scores_that_ask_for_nothing_block_the_step_but_do_not_restart_the_cooldown():
    """TECHNICAL votes in half of all hours: a cooldown that it restarts keeps a tier for weeks."""
    state = GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S)
    for hours in (2, 4, 6, 8):
        state, finding = step(state, Tier.GUARDED, NOW_S + hours * HOUR, score=0.6)
        assert state.tier is Tier.ELEVATED
        assert "highest family score" in finding.because
    state, _ = step(state, Tier.CALM, NOW_S + 9 * HOUR, score=0.349)
    assert state.tier is Tier.GUARDED


def walk(state, needed, now_s, *, columns=None, readings=(), policy=POLICY):
    found = context(policy, readings, state=state, at=frame(columns or {}, now_s=now_s, quotes=()))
    return confirmed(policy, found, needed, holds=())


def calendar(at_s, event="CPI"):
    key = SeriesKey(Metric.MACRO_RELEASE_S, event, "macro_calendar")
    return {key: Column(times_s=np.array([NOW_S - HOUR]), values=np.array([at_s]))}


@pytest.mark.parametrize(
    ("hours", "event", "tier"),
    [
        (24.0, "CPI", Tier.SEVERE),
        (24.01, "CPI", Tier.CALM),
        (1.0, "FOMC", Tier.SEVERE),
        (-0.5, "PPI", Tier.SEVERE),
        (1.0, "GDP", Tier.CALM),  # no release that counts
        (math.nan, "CPI", Tier.CALM),
    ],
)
def test_r3_one_frame_confirms_near_a_release(hours, event, tier):
    state, finding = walk(GroupState(), Tier.SEVERE, NOW_S, columns=calendar(NOW_S + hours * HOUR, event))
    assert state.tier is tier
    assert ("one frame confirms" in finding.because) is (tier is Tier.SEVERE)


FAST = classic(tiers={"fast_vote": 0.75})


@pytest.mark.parametrize(
    ("score", "quality", "tier"),
    [
        (0.624, Quality.LIVE, Tier.GUARDED),  # 3 x 0.624 / 5 = 0.3744, under half of 0.75
        (0.625, Quality.LIVE, Tier.ELEVATED),  # 0.375 is not under it
        (math.nan, Quality.MISSING, Tier.ELEVATED),  # not known to be low
        (math.nan, Quality.ABSENT, Tier.GUARDED),
        (math.nan, Quality.WARMING, Tier.GUARDED),
    ],
)
def test_r3_fast_scores_must_be_low_on_the_way_down(score, quality, tier):
    fast = [reading("S24", score, quality=quality), reading("S24", score, subject="BTC", quality=quality)]
    fast += [reading("S25", score, quality=quality)]
    # Nothing here is a vote: S24 counts once, and one family score of 0.625 would keep the tier by itself.
    fast = [replace(item, informs=True) for item in fast]
    state = GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S - 100 * HOUR)
    assert walk(state, Tier.CALM, NOW_S, readings=fast, policy=FAST)[0].tier is tier
    assert walk(state, Tier.CALM, NOW_S, readings=fast)[0].tier is Tier.GUARDED  # classic has no fast path


@pytest.mark.parametrize(("hours", "tier"), [(5.9, Tier.GUARDED), (6.0, Tier.CALM)])
def test_r3_guarded_has_a_cooldown_of_its_own(hours, tier):
    policy = classic(tiers={"cooldown": "48 h", "cooldown_guarded": "6 h", "step_down": "straight"})
    guarded = GroupState(tier=Tier.GUARDED, last_needed_s=NOW_S)
    assert walk(guarded, Tier.CALM, NOW_S + hours * HOUR, policy=policy)[0].tier is tier
    elevated = GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S)
    assert walk(elevated, Tier.CALM, NOW_S + 47.9 * HOUR, policy=policy)[0].tier is Tier.ELEVATED
    assert walk(elevated, Tier.CALM, NOW_S + 48.0 * HOUR, policy=policy)[0].tier is Tier.CALM


def test_r3_a_degraded_family_blocks_the_step_down():
    state = GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S - 100 * HOUR)
    dead = [reading(name, math.nan, quality=Quality.MISSING) for name in ("S1", "S2")]
    state, finding = walk(state, Tier.CALM, NOW_S, readings=[*dead, reading("S3", 0.0)])
    assert state.tier is Tier.ELEVATED
    assert "ONCHAIN is degraded" in finding.because


@pytest.mark.parametrize(("voted", "tier"), [(True, Tier.ELEVATED), (False, Tier.GUARDED)])
def test_r3_a_vote_that_ends_for_want_of_data_has_not_ended(voted, tier):
    state = GroupState(
        tier=Tier.ELEVATED, last_needed_s=NOW_S - 100 * HOUR, voting={"ONCHAIN": voted, "TECHNICAL": False}
    )
    some = [reading("S1", math.nan, quality=Quality.MISSING), *(reading(f"S{n}", 0.0) for n in (2, 3, 4))]
    after, finding = walk(state, Tier.CALM, NOW_S, readings=some)
    assert after.tier is tier
    assert ("S1 missing" in finding.because) is voted
    found = context(POLICY, some, state=state)
    assert voting_memory(POLICY, found)["ONCHAIN"] is voted


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
