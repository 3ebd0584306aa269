"""R24: what led to a decision, from its record alone."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, NOW_S, classic, frame, reading, spend, stressed_columns
from engine.test_nearest import decided, standing_of

from bot.engine.explain import contributions, explain
from bot.engine.rule_table import RULES
from bot.engine.standing import standings
from bot.engine.step import decide
from bot.model.hedge import Layer
from bot.model.record import EngineState, GroupState, StepRecord
from bot.model.tier import Quality, Tier
from bot.pipeline import codec

POLICY = classic()
SPEAK_ELSEWHERE = {"R19", "R20", "R21", "R29"}  # base layers: of no hedge group
SAY_NOTHING = {"R24", "R25"}  # of the whole program


def record_of(decision, state):
    return StepRecord(
        sequence=4,
        mode="dry-run",
        decision=decision,
        state=state,
        outcomes=(),
        frame_hash="f",
        spot_usd={"ETH": 2000.0},
        exposure_value_usd={},
        hedge_value_usd=0.0,
        cash_flow_usd=0.0,
    )


def explained(columns=None, *, policy=POLICY, tier=Tier.CALM, **changes):
    before = EngineState(groups={GROUP: GroupState(tier=tier, last_needed_s=NOW_S)})
    state, decision = decide(policy, before, frame(columns, **changes))
    # What is explained is what a journal gives back.
    record = codec.loads(StepRecord, codec.dumps(record_of(decision, state)))
    return explain(policy, record)


def test_r24_every_rule_speaks():
    """Each rule that finds something of a group says so in every decision, fired or not, with a reason."""
    _, decision = decide(POLICY, EngineState(), frame())
    said = {finding.rule for finding in decision.groups[0].findings}
    assert said == set(RULES) - SPEAK_ELSEWHERE - SAY_NOTHING
    assert {finding.rule for finding in decision.findings} >= SPEAK_ELSEWHERE & set(RULES)
    assert all(finding.because for finding in (*decision.groups[0].findings, *decision.findings))


def test_r24_the_two_highest_make_the_family_score_and_no_other_adds():
    (group,) = explained(stressed_columns(), tier=Tier.SEVERE).groups
    for vote in group.decision.votes:
        mine = [item for item in group.contributions if item.reading.family is vote.family]
        assert math.isclose(sum(item.adds for item in mine), vote.score, abs_tol=1e-9)
        assert sum(item.adds > 0.0 for item in mine) <= 2
        roles = [item.role for item in mine if item.role in ("highest", "second", "third")]
        assert roles == ["highest", "second", "third"][: len(roles)]


def test_r24_the_tier_without_a_signal_is_what_the_engine_would_decide():
    readings = (reading("S1", 0.9), reading("S2", 0.2), reading("S10", 0.9), reading("S11", 0.9))
    standing = standing_of(POLICY, GroupState(tier=Tier.ELEVATED, last_needed_s=NOW_S), readings)
    assert standing.needed() is Tier.SEVERE
    without = {item.signal: standing.needed({place: 0.0}) for place, item in enumerate(readings)}
    for signal, tier in without.items():
        left = tuple(replace(item, score=0.0) if item.signal == signal else item for item in readings)
        assert decided(POLICY, standing.state, left).needed is tier
    # TECHNICAL has voted: one signal's loss leaves it over vote_off. ONCHAIN without S1 has nothing left.
    assert without == {"S1": Tier.CALM, "S2": Tier.SEVERE, "S10": Tier.ELEVATED, "S11": Tier.ELEVATED}


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({"informs": True}, "informs only"),
        ({"quality": Quality.MISSING, "score": math.nan}, "missing"),
        ({"quality": Quality.WARMING, "score": math.nan}, "warming"),
        ({"quality": Quality.HELD}, "highest"),
        ({"signal": "S9"}, "speaks through R2 alone"),
        ({"score": 0.1, "source": "second"}, "second"),
    ],
)
def test_r24_what_does_not_count_says_why(changes, role):
    one = replace(reading("S1", 0.8), **changes)
    standing = standing_of(POLICY, GroupState(), (one, reading("S2", 0.3)))
    found = {item.reading.signal: item for item in contributions(standing)}
    assert found[one.signal].role == role


def test_r24_another_reading_of_a_counted_signal_does_not_count_twice():
    readings = (reading("S1", 0.8), reading("S1", 0.6, source="other"), reading("S2", 0.3))
    found = contributions(standing_of(POLICY, GroupState(), readings))
    assert [item.role for item in found] == [
        "highest",
        "not counted beside the higher S1 v2:ETH/USDC test",
        "second",
    ]
    assert [round(item.adds, 9) for item in found] == [0.4, 0.0, 0.15]


def test_r24_limits_name_what_they_cut_with_figures():
    spent = (spend(NOW_S - 3600.0, 7_400.0),)
    (group,) = explained(spends=spent).groups
    bound = {item.name: item for item in group.limits if item.bound}
    budget = bound["30-day budget (R9)"]
    assert budget.used_usd == 7_400.0
    assert math.isclose(budget.room_usd, budget.limit_usd - 7_400.0)
    assert "TAIL" in budget.because
    assert {item.rule for item in group.limits} == {"R9", "R10", "R11"}
    (calm,) = explained().groups
    assert not any(item.bound for item in calm.limits if item.rule == "R9")


def test_r24_alternatives_are_of_open_layers_with_their_cost_and_why():
    (group,) = explained(stressed_columns(), tier=Tier.SEVERE).groups
    for layer in Layer:
        mine = [item for item in group.decision.alternatives if item.layer is layer]
        assert mine[0].chosen
        assert mine[0].because.startswith("most gain per cost of")
        ratios = [item.cost_per_gain for item in mine]
        assert ratios == sorted(ratios)
        assert all("dearer for the same gain" in item.because for item in mine[1:])
        assert all(item.cost_usd > 0.0 for item in mine)
    bought = {(leg.layer, leg.instrument) for leg in explained().decision.plan.legs}
    assert bought <= {
        (item.layer, item.instrument) for item in explained().groups[0].decision.alternatives if item.chosen
    }


def test_r24_quotes_that_were_refused_are_named():
    bad = tuple(replace(item, premium_usd=math.nan) for item in frame().quotes)
    (group,) = explained(quotes=bad).groups
    assert group.decision.alternatives == ()
    assert len(group.decision.refused_quotes) == 5
    assert "finite and > 0" in group.decision.refused_quotes[0]
    assert group.decision.refused_quotes[-1].endswith("more")


def test_r24_data_that_is_not_whole_is_listed_with_its_end():
    found = explained()
    assert {item.quality for item in found.doubtful} == {Quality.WARMING}
    assert all(math.isfinite(item.warm_at_s) for item in found.doubtful)
    assert "S8 mev_flow" in found.absent
    late = explained(
        now_s=NOW_S, columns={key: column.until(NOW_S - 5400.0) for key, column in COLUMNS.items()}
    )
    held = [item for item in late.doubtful if item.quality is Quality.HELD]
    assert held
    assert all(item.held_until_s > NOW_S > item.observed_at_s for item in held)


def test_r24_another_policy_works_nothing_out_anew():
    _, decision = decide(POLICY, EngineState(), frame())
    other = classic(tiers={"cooldown": "7 h"})
    found = explain(other, record_of(decision, EngineState()))
    (group,) = found.groups
    assert not found.is_same_policy
    assert group.nearest is None
    assert group.contributions == ()
    assert "another policy" not in group.unknown
    assert group.unknown.startswith(f"decided under policy {POLICY.hash[:12]}, at hand is classic")


def test_r24_a_standing_repeats_the_votes_of_its_record():
    """What is worked out from a record votes as the engine did."""
    before = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    state, decision = decide(POLICY, before, frame(stressed_columns()))
    (standing,) = standings(POLICY, decision, state)
    assert standing.context().votes == decision.groups[0].votes
    assert standing.needed() is Tier.SEVERE


COLUMNS = stressed_columns()
