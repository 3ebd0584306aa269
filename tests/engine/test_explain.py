"""R24: every decision in words."""

import pytest
from engine.factory import NOW_S, classic, frame, spend, stressed_columns

from bot.engine import RULES, decide
from bot.engine.explain import explain, nearest_change
from bot.model.record import EngineState
from bot.model.tier import Tier

POLICY = classic()


def test_r24_every_rule_speaks():
    """Each rule of the slice that finds something says so in every decision, fired or not, with a reason."""
    _, decision = decide(POLICY, EngineState(), frame())
    said = {finding.rule for finding in decision.groups[0].findings}
    assert said == set(RULES) - {"R24", "R25"}
    assert all(finding.because for finding in decision.groups[0].findings)


def test_r24_lines_name_signals_votes_rules_limits_and_change():
    _, decision = decide(POLICY, EngineState(), frame())
    text = "\n".join(explain(POLICY, decision))
    for words in (
        "S13 term_structure",
        "vote: ONCHAIN",
        "R2 not fired",
        "session_cap_usd",
        "buy",
        "GUARDED needs",
    ):
        assert words in text
    assert "HOLD" not in text


def test_r24_shortfalls_and_holds_are_told():
    spent = (spend(NOW_S - 3600.0, 7_400.0),)
    _, decision = decide(POLICY, EngineState(), frame(spends=spent, holds=("feed is down",)))
    text = "\n".join(explain(POLICY, decision))
    assert "HOLD: feed is down" in text
    assert "shortfall TAIL 100%: HOLD: feed is down" in text
    _, decision = decide(POLICY, EngineState(), frame(spends=spent))
    text = "\n".join(explain(POLICY, decision))
    assert "30-day budget (R9), frees 2023-12-14" in text


def test_r24_another_policy_is_named():
    _, decision = decide(POLICY, EngineState(), frame())
    other = classic(tiers={"cooldown": "7 h"})
    assert any("another policy, classic" in line for line in explain(other, decision))


@pytest.mark.parametrize(
    ("frames", "words"),
    [(0, "GUARDED needs"), (3, "CRISIS cannot be voted: FUNDAMENTAL has no live source")],
)
def test_r24_nearest_change(frames, words):
    state, decision = decide(POLICY, EngineState(), frame())
    for hour in range(1, frames + 1):
        now_s = NOW_S + 3600.0 * hour
        state, decision = decide(
            POLICY, state, frame(stressed_columns(now_s, stressed_h=3 + hour), now_s=now_s)
        )
    assert words in nearest_change(POLICY, decision.groups[0])
    assert decision.groups[0].tier is (Tier.SEVERE if frames else Tier.CALM)
