"""A vote moves the layer weights inside the policy's own bounds, and nothing else (R7, R22)."""

from dataclasses import asdict, replace

import pytest
from engine.factory import GROUP, NOW_S, frame, stressed_columns
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.policy import Policy
from bot.engine.policy_vote import refusal, under_vote
from bot.engine.step import decide
from bot.errors import ConfigError, InvariantError
from bot.model.hedge import Layer
from bot.model.policy_vote import WHOLE_BPS, PolicyVote
from bot.model.record import Decision, EngineState, GroupState
from bot.model.tier import Tier
from bot.settings import named_policy

POLICY: Policy = named_policy("classic")
WEIGHTS = st.tuples(st.integers(0, WHOLE_BPS), st.integers(0, WHOLE_BPS)).map(
    lambda cuts: (min(cuts), abs(cuts[0] - cuts[1]), WHOLE_BPS - max(cuts))
)


def vote(near_bps: int, mid_bps: int, tail_bps: int, *, policy_hash: str = POLICY.hash) -> PolicyVote:
    return PolicyVote(
        registry="0x" + "00" * 20,
        policy_hash=policy_hash,
        near_bps=near_bps,
        mid_bps=mid_bps,
        tail_bps=tail_bps,
        sequence=1,
        changed_at_s=0,
        block_number=1,
    )


@given(WEIGHTS)
def test_a_vote_is_in_force_exactly_within_the_policys_bounds(weights: tuple[int, int, int]) -> None:
    """Law: refused by name outside; inside only the weights differ, and the hash says so."""
    found, bounds = vote(*weights), POLICY.sizing.weight_bounds
    points = dict(zip(Layer, (bps / 100 for bps in weights), strict=True))
    fits = all(bounds.of(layer)[0] <= points[layer] <= bounds.of(layer)[1] for layer in Layer)
    assert (refusal(POLICY, found) == "") is fits
    if not fits:
        with pytest.raises(ConfigError, match=r"sizing\.weights\."):
            under_vote(POLICY, found)
        return
    decides = under_vote(POLICY, found)
    assert {layer: decides.sizing.weights.of(layer) for layer in Layer} == points
    before, after = asdict(POLICY), asdict(decides)
    for content in (before, after):
        del content["sizing"]["weights"], content["hash"]
    assert before == after
    assert (decides.hash == POLICY.hash) is (decides == POLICY)


def test_no_vote_and_a_vote_on_another_policy_change_nothing() -> None:
    other = vote(4000, 3500, 2500, policy_hash="ab" * 32)
    assert under_vote(POLICY, None) is POLICY
    assert under_vote(POLICY, other) is POLICY
    assert "the owners did not decide on it" in refusal(POLICY, other)


@pytest.mark.parametrize("weights", [(4000, 3500, 2499), (-1, 5000, 5001)])
def test_weights_that_are_no_whole_are_none(weights: tuple[int, int, int]) -> None:
    with pytest.raises(InvariantError, match="sum to 10000 bps"):
        vote(*weights)


def test_what_was_read_later_says_the_same() -> None:
    first = vote(4000, 3500, 2500)
    assert first.says_the_same(replace(first, block_number=9))
    assert not first.says_the_same(replace(first, sequence=2))


def test_the_next_decision_buys_by_the_voted_weights() -> None:
    """In a crisis with all layers open: NEAR gets less, and the others what it loses."""
    state = EngineState(groups={GROUP: GroupState(tier=Tier.CRISIS, last_needed_s=NOW_S)})
    at = frame(stressed_columns(NOW_S))
    _, before = decide(POLICY, state, at)
    voted = under_vote(POLICY, vote(3000, 4000, 3000))
    _, after = decide(voted, state, at)
    shift = {layer: _weight(after, layer) - _weight(before, layer) for layer in Layer}
    assert shift[Layer.NEAR] < -0.02
    assert min(shift[Layer.MID], shift[Layer.TAIL]) > 0.0
    assert sum(shift.values()) == pytest.approx(0.0, abs=1e-5)
    assert before.groups[0].tier == after.groups[0].tier == Tier.CRISIS
    assert (before.policy_hash, after.policy_hash) == (POLICY.hash, voted.hash)
    assert before.policy_hash != after.policy_hash


def _weight(decision: Decision, layer: Layer) -> float:
    (target,) = (item for item in decision.groups[0].targets if item.layer is layer)
    return round(target.weight, 6)
