"""R24: the smallest change that would move the tier. Each answer is applied and decided again."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, NOW_S, calm_columns, classic, frame, reading
from engine.test_false_breakdown import columns_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.group import read_group
from bot.engine.nearest import nearest
from bot.engine.rules.consensus import LONE_FAMILY
from bot.engine.standing import Standing, anchors_of, value_at, with_score
from bot.engine.tier_step import decide_tier
from bot.model.record import GroupDecision, GroupState
from bot.model.tier import Family, Quality, Tier

HOUR = 3600.0
SEEN = 1e-6  # a change that 1 % of can be seen after rounding to 1e-9
STEWARD = {"fast_vote": 0.75, "cooldown": "48 h", "cooldown_guarded": "6 h", "step_down": "straight"}
POLICIES = {"classic": classic(), "steward": classic(tiers=STEWARD)}
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
FAMILIES = (("S1", "S2", "S4", "S5"), ("S10", "S11", "S13", "S22"), ("S17", "S18", "S21", "S23"))
SUBJECTS = {"S5": "USDC", "S17": "aave/USDC", "S18": "uniswap-v2", "S21": GROUP, "S23": "stablecoins"}
AT = frame({}, quotes=())
VIEW = read_group(POLICIES["classic"], AT, GROUP)
scores = st.floats(0.0, 1.0).map(lambda value: round(value, 6))
tables = st.tuples(*(st.lists(scores, min_size=0, max_size=4) for _ in FAMILIES))
tiers = st.sampled_from(Tier)


def read(signal, score, **changes):
    subject = SUBJECTS.get(signal)
    return reading(signal, score, **({"subject": subject} if subject else {}), **changes)


def fast_of(levels):
    speed, bitcoin, jump, semi = levels
    return [
        reading("S24", speed),
        reading("S24", bitcoin, subject="BTC"),
        reading("S25", jump),
        reading("S26", semi),
    ]


def readings_of(table, fast=()):
    slow = [
        read(signal, score)
        for names, scores_of in zip(FAMILIES, table, strict=True)
        for signal, score in zip(names, scores_of, strict=False)
    ]
    return (*slow, *(fast_of(fast) if fast else ()))


def decided(policy, state, readings, *, now_s=NOW_S, at=AT, holds=()):
    """Return the step of one frame."""
    return decide_tier(policy, state, replace(at, now_s=now_s), VIEW, readings, holds=holds)


def standing_of(policy, state, readings, *, at=AT, holds=()):
    """Return where the group stands after one frame."""
    step = decided(policy, state, readings, at=at, holds=holds)
    after = step.context.state
    decision = GroupDecision(
        group=GROUP,
        tier=after.tier,
        previous_tier=state.tier,
        votes=step.context.votes,
        findings=step.findings,
        targets=(),
        shortfalls=(),
        value_usd=1e6,
        var_usd=1e5,
        var_method="",
        wanted_share=0.0,
        covered_share=0.0,
        break_evens_usd=(),
        because="",
        degraded=tuple(vote.family.value for vote in step.context.votes if vote.degraded),
        reads=step.reads,
        fast_reads=step.fast_reads,
    )
    return Standing(
        policy=policy,
        decision=decision,
        state=after,
        readings=tuple(readings[place] for place in step.reads),
        places=step.reads,
        now_s=NOW_S,
        holds=tuple(holds),
        fast=tuple(readings[place] for place in step.fast_reads),
    )


def applied(policy, readings, shifts, share=1.0):
    """Return the readings with a part of a change made."""
    changed = list(readings)
    for shift in shifts:
        score = shift.reading.score + share * (shift.score - shift.reading.score)
        changed[shift.place] = with_score(policy, readings[shift.place], round(score, 9))
    return tuple(changed)


def risen(policy, standing, readings, *, at=AT):
    """Return the tier after these readings stood for two more frames."""
    state = standing.state
    for minutes in (1, 2, 3):
        step = decided(policy, state, readings, now_s=NOW_S + 60.0 * minutes, at=at)
        state = step.context.state
    return state.tier


def fallen(policy, standing, readings, wait_s, *, at=AT):
    """Return the tier after these readings stood for a time, looked at every hour and at its end."""
    state, end_s = standing.state, NOW_S + 1.0 + wait_s
    times = [NOW_S + 1.0 + HOUR * hour for hour in range(int(wait_s // HOUR) + 1)]
    for now_s in [*(time for time in times if time < end_s), end_s]:
        state = decided(policy, state, readings, now_s=now_s, at=at).context.state
    return state.tier


@policies
@settings(deadline=None, max_examples=120)
@given(
    table=tables,
    tier=tiers,
    fast=st.none() | st.tuples(scores, scores, scores, scores),
    lost=st.integers(0, 30),
)
def test_r24_the_smallest_change_up_moves_the_tier_and_one_percent_less_does_not(
    policy, table, tier, fast, lost
):
    readings = list(readings_of(table, fast or ()))
    if lost < len(readings):
        readings[lost] = replace(readings[lost], quality=Quality.MISSING, score=math.nan, value=math.nan)
    standing = standing_of(policy, GroupState(tier=tier, last_needed_s=NOW_S), readings)
    found = nearest(standing)
    assert bool(found.up) is not bool(found.no_way)
    for way in found.up:
        assert way.to > standing.tier
        assert risen(policy, standing, applied(policy, readings, way.shifts)) is way.to
    best = next((way for way in found.up if way.shifts), None)
    if best and best.size > SEEN:
        less = risen(policy, standing, applied(policy, readings, best.shifts, 0.99))
        assert less is max(standing.tier, standing.needed())


@policies
@settings(deadline=None, max_examples=80)
@given(table=tables, tier=tiers, fast=st.none() | st.tuples(scores, scores, scores, scores), data=st.data())
def test_r24_no_smaller_change_of_scores_moves_the_tier_up(policy, table, tier, fast, data):
    readings = readings_of(table, fast or ())
    standing = standing_of(policy, GroupState(tier=tier, last_needed_s=NOW_S), readings)
    found = nearest(standing)
    most = next((way.size * 0.99 for way in found.up if way.shifts), 3.0 * len(readings))
    if not readings or most <= SEEN:
        return
    parts = data.draw(st.lists(scores, min_size=len(readings), max_size=len(readings)))
    few = data.draw(st.sets(st.integers(0, len(readings) - 1), min_size=1, max_size=3))
    parts = [part if place in few else 0.0 for place, part in enumerate(parts)]
    scale = most / sum(parts) if sum(parts) else 0.0
    moved = tuple(
        replace(item, score=round(min(1.0, item.score + scale * part), 9))
        for item, part in zip(readings, parts, strict=True)
    )
    assert risen(policy, standing, moved) is max(standing.tier, standing.needed())


@policies
@settings(deadline=None, max_examples=120)
@given(
    table=tables,
    tier=tiers,
    fast=st.none() | st.tuples(scores, scores, scores, scores),
    lost=st.integers(0, 30),
    voted=st.booleans(),
    quiet_h=st.sampled_from([0.0, 5.0, 47.0, 100.0]),
    fell_h=st.sampled_from([1.0, 30.0, math.inf]),
)
def test_r24_the_change_down_lets_the_tier_fall_and_less_of_any_part_does_not(
    policy, table, tier, fast, lost, voted, quiet_h, fell_h
):
    readings = list(readings_of(table, fast or ()))
    if lost < len(readings):
        readings[lost] = replace(readings[lost], quality=Quality.MISSING, score=math.nan, value=math.nan)
    voting = {**{family.value: voted for family in Family}, LONE_FAMILY: voted}
    state = GroupState(
        tier=tier,
        last_needed_s=NOW_S - quiet_h * HOUR,
        last_step_down_s=NOW_S - fell_h * HOUR,
        voting=voting,
    )
    standing = standing_of(policy, state, readings)
    found = nearest(standing).down
    assert (found is None) is (standing.tier is Tier.CALM)
    if found is None:
        return
    calmer = applied(policy, readings, found.shifts)
    after = fallen(policy, standing, calmer, found.wait_s)
    if found.blocks:
        assert after is standing.tier
        return
    assert after is found.to
    for kept in found.shifts:
        if kept.size > SEEN:
            others = [item for item in found.shifts if item is not kept]
            less = applied(policy, applied(policy, readings, others), [kept], 0.99)
            assert fallen(policy, standing, less, found.wait_s) is standing.tier
    if found.wait_s > HOUR:
        assert fallen(policy, standing, calmer, 0.99 * found.wait_s) is standing.tier


def up_of(readings, *, policy=POLICIES["classic"], tier=Tier.CALM, at=AT, **state):
    standing = standing_of(policy, GroupState(tier=tier, last_needed_s=NOW_S, **state), readings, at=at)
    return standing, nearest(standing)


def told(way):
    return {shift.reading.signal: round(shift.score, 6) for shift in way.shifts}


@pytest.mark.parametrize(
    ("readings", "tier", "to", "scores"),
    [
        # one signal, as far as the other leaves to go: 0.4 + 0.6 is not over 2 x 0.5, the last digit is
        ((("S1", 0.4), ("S2", 0.3), ("S10", 0.0), ("S11", 0.0)), Tier.CALM, Tier.GUARDED, {"S2": 0.6}),
        # no signal votes alone: both move where one cannot reach
        (
            (("S1", 0.0), ("S2", 0.0), ("S10", 0.0), ("S11", 0.0)),
            Tier.CALM,
            Tier.GUARDED,
            {"S1": 0.0, "S2": 1.0},
        ),
        # TECHNICAL votes, its third score lacks: cheaper than ONCHAIN's vote
        (
            (("S1", 0.1), ("S2", 0.1), ("S10", 0.9), ("S11", 0.9), ("S13", 0.3)),
            Tier.CALM,
            Tier.GUARDED,
            {"S13": 0.35},
        ),
        # two vote, the higher lacks 0.1 of 0.75
        (
            (("S1", 0.6), ("S2", 0.6), ("S10", 0.7), ("S11", 0.6)),
            Tier.ELEVATED,
            Tier.SEVERE,
            {"S11": 0.8},
        ),
        # three families: the third's vote is CRISIS
        (
            (("S1", 0.9), ("S2", 0.9), ("S10", 0.9), ("S11", 0.9), ("S17", 0.5), ("S18", 0.4)),
            Tier.SEVERE,
            Tier.CRISIS,
            {"S18": 0.5},
        ),
        # one family alone: its third score is the second vote
        ((("S1", 0.9), ("S2", 0.9), ("S4", 0.2)), Tier.GUARDED, Tier.ELEVATED, {"S4": 0.5}),
    ],
)
def test_r24_the_least_change_up(readings, tier, to, scores):
    standing, found = up_of([read(signal, score) for signal, score in readings], tier=tier)
    assert standing.tier is tier
    assert found.up[0].to is to
    assert told(found.up[0]) == scores


@pytest.mark.parametrize(
    ("tier", "readings", "words"),
    [
        (Tier.CRISIS, (("S1", 0.5), ("S2", 0.5)), "no tier is above CRISIS"),
        (Tier.ELEVATED, (("S1", 0.5), ("S2", 0.5), ("S4", 0.5)), "only ONCHAIN has sources that can vote"),
        (
            Tier.SEVERE,
            (("S1", 0.5), ("S2", 0.5), ("S10", 0.5), ("S11", 0.5)),
            "has TECHNICAL and ONCHAIN alone",
        ),
        (Tier.CALM, (), "no family has two live signals"),
    ],
)
def test_r24_where_no_score_leads_up_the_reason_is_told(tier, readings, words):
    _, found = up_of([read(signal, score) for signal, score in readings], tier=tier)
    assert found.up == ()
    assert words in found.no_way


def test_r24_what_is_asked_for_already_comes_first_and_needs_no_change():
    readings = [read("S1", 0.9), read("S2", 0.9), read("S10", 0.9), read("S11", 0.9)]
    standing, found = up_of(readings)
    assert standing.state.pending
    assert [(way.to, way.shifts) for way in found.up] == [(Tier.SEVERE, ())]
    assert risen(POLICIES["classic"], standing, readings) is Tier.SEVERE
    _, found = up_of([*readings, read("S17", 0.5), read("S18", 0.4)])
    assert [(way.to, told(way)) for way in found.up[:2]] == [(Tier.SEVERE, {}), (Tier.CRISIS, {"S18": 0.5})]


def test_r24_the_fast_path_counts_bitcoin_twice_where_it_is_what_is_hedged():
    policy = POLICIES["steward"]
    readings = [*fast_of((0.8, 0.8, 0.8, 0.6)), read("S1", 0.0), read("S2", 0.0)]
    standing, found = up_of(readings, policy=policy, tier=Tier.GUARDED)
    fast = next(way for way in found.up if way.by == "the fast path")
    assert fast.to is Tier.ELEVATED
    # 3.0 of 3.75 in the five scores: S14 of price has no source, so 0.75 is to be found in four.
    assert round(fast.size, 6) == 0.75
    assert [slot.scores for slot in standing.fast_slots({})[:2]] == [((0.8, 0),), ((0.8, 1),)]
    bitcoin = replace(standing, decision=replace(standing.decision, group="BTC/USDC"))
    assert [slot.scores for slot in bitcoin.fast_slots({})[:2]] == [((0.8, 1),), ((0.8, 1),)]


def breaking(tier=Tier.CALM, speed=-1.0):
    """A break of price that MACD does not confirm, with TECHNICAL just under its vote."""
    at = frame(columns_of("false"), quotes=())
    technical = [reading("S10", 0.5), reading("S11", 0.45), reading("S13", 0.5), reading("S22", 0.4)]
    return at, (*technical, reading("S24", 0.333333333, value=speed), reading("S1", 0.1), reading("S2", 0.1))


def test_r24_a_break_that_r4_denies_leaves_the_other_families_or_a_fast_fall():
    policy = POLICIES["classic"]
    at, readings = breaking()
    standing, found = up_of(readings, at=at)
    assert standing.is_break_unconfirmed
    assert standing.tier is Tier.CALM
    denied = applied(policy, readings, [])
    assert (
        risen(
            policy,
            standing,
            tuple(
                replace(item, score=max(item.score, 0.6)) if item.signal in ("S10", "S11", "S13") else item
                for item in denied
            ),
            at=at,
        )
        is Tier.CALM
    )
    for way in found.up:
        names = {shift.reading.signal for shift in way.shifts}
        assert names & {"S1", "S2", "S24"}
        assert risen(policy, standing, applied(policy, readings, way.shifts), at=at) is way.to
    assert risen(policy, standing, applied(policy, readings, found.up[0].shifts, 0.99), at=at) is Tier.CALM
    (speed,) = (shift for shift in found.up[0].shifts if shift.reading.signal == "S24")
    assert speed.value < -1.5 < speed.value + 1e-6


def test_r24_holds_missing_data_and_triggers_block_the_way_down():
    policy = POLICIES["steward"]
    state = GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S, voting={"TECHNICAL": True})
    lost = replace(reading("S10", 0.0), quality=Quality.MISSING, score=math.nan, value=math.nan)
    readings = (lost, reading("S11", 0.8), reading("S13", 0.1), reading("S1", 0.0), reading("S2", 0.0))
    down = nearest(standing_of(policy, state, readings, holds=("feed is down",))).down
    assert down.blocks == ("HOLD: feed is down", "TECHNICAL was high and may still be: S10 missing")
    quiet = nearest(standing_of(policy, state, readings_of(((0.1, 0.1), (0.1, 0.1), ())))).down
    assert quiet.is_waiting
    assert quiet.wait_s == policy.tiers.cooldown


def test_r24_hard_triggers_are_told_only_where_they_could_raise_the_tier():
    at = frame(calm_columns(), quotes=())
    for tier, rules in ((Tier.CALM, ["R2", "R6"]), (Tier.ELEVATED, ["R2", "R6"]), (Tier.SEVERE, [])):
        _, found = up_of((reading("S1", 0.2, value=-0.05),), tier=tier, at=at)
        assert [item.rule for item in found.triggers] == rules
    _, found = up_of((reading("S1", 0.2, value=-0.05),), at=at)
    crash, flow = found.triggers
    assert math.isclose(crash.missed, POLICIES["classic"].hard_triggers.elevated_fall, abs_tol=0.06)
    assert crash.unit == "fraction of price for ELEVATED"
    assert math.isclose(flow.missed, 0.03)
    assert flow.unit == "fraction of S1"


@pytest.mark.parametrize(
    ("signal", "changes", "score", "value"),
    [
        ("S1", {"value": -0.075, "score": 0.5}, 1.0, -0.12),
        ("S1", {"value": 0.0, "score": 0.0, "source": "aave:exchange_rate"}, 1.0, -0.01),
        ("S2", {"value": 9.0, "score": 0.0}, 0.5, 1.5),
        ("S10", {"value": -2.0, "score": 0.5}, 0.75, -2.5),
        ("S10", {"value": 2.0, "score": 0.5}, 0.75, 2.5),
        ("S14", {"value": 40.0, "score": 0.5}, 1.0, 30.0),
        ("S14", {"value": 65.0, "score": 0.5}, 1.0, 80.0),
        ("S24", {"value": -0.2, "score": 0.0}, 1.0, -2.0),
        ("S15", {"value": 0.5, "score": 0.5}, 1.0, math.nan),  # read from states
        ("S11", {"value": 1.5, "score": 0.9}, 1.0, math.nan),  # not what the anchors make of it
    ],
)
def test_r24_a_score_is_told_in_the_signals_own_unit(signal, changes, score, value):
    policy = POLICIES["classic"]
    item = reading(signal, **{"score": 0.0, **changes})
    found = value_at(policy, item, score)
    assert math.isnan(found) if math.isnan(value) else math.isclose(found, value)
    anchors = anchors_of(policy, item)
    assert anchors is None or anchors.score(abs(found) if signal == "S10" else found) == score
