"""R4: an unconfirmed break of price does not escalate on TECHNICAL alone."""

import numpy as np
import pytest
from engine.factory import FEED, NOW_S, calm_columns, classic, context, flat, frame, reading

from bot.engine.rules.false_breakdown import false_breakdown
from bot.engine.step import needed_tier
from bot.model.market import Column
from bot.model.record import GroupState
from bot.model.tier import RuleFinding, Tier
from bot.signals.macd import Breakdown, price_breakdown

POLICY = classic()


def columns_of(kind):
    columns = calm_columns()
    base = flat(2000.0)
    steps = np.arange(base.values.size)
    if kind == "false":  # a long slide that flattens, then a marginal new low: MACD's histogram is rising
        path = np.concatenate((np.full(760, 2000.0), 2000.0 - 4.0 * np.arange(140)))
        slow = path[-1] - 0.05 * np.arange(1, 61)
        values = np.concatenate((path, slow))[-base.values.size :]
    elif kind == "confirmed":
        values = 2000.0 + np.sin(steps * 2.399963)
        values[-6:] = 2000.0 - 30.0 * np.arange(1, 7)
    else:
        values = 2000.0 + np.sin(steps * 2.399963)
    columns[FEED] = Column(times_s=base.times_s, values=values)
    return columns


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("false", Breakdown.FALSE), ("confirmed", Breakdown.CONFIRMED), ("none", Breakdown.NONE)],
)
def test_the_markets_of_this_file_are_what_they_say(kind, expected):
    at = frame(columns_of(kind))
    assert price_breakdown(at.columns, now_s=NOW_S, policy=POLICY.signals, subject="ETH") is expected


TECHNICAL = [reading("S10", 1.0), reading("S11", 1.0), reading("S13", 1.0)]
ONCHAIN = [reading("S1", 1.0), reading("S2", 1.0)]


@pytest.mark.parametrize(
    ("kind", "readings", "fired"),
    [
        ("false", TECHNICAL, True),
        ("false", TECHNICAL + ONCHAIN, False),
        ("false", ONCHAIN, False),
        ("confirmed", TECHNICAL, False),
        ("none", TECHNICAL, False),
    ],
)
def test_r4_denies_only_technical_alone(kind, readings, fired):
    state = GroupState(tier=Tier.GUARDED)
    (finding,) = false_breakdown(POLICY, context(POLICY, readings, state=state, at=frame(columns_of(kind))))
    assert finding.fired is fired
    assert finding.caps_tier is (Tier.GUARDED if fired else None)
    assert "S16 and S24 absent" in finding.because


def test_r4_unknown_data_denies_nothing():
    (finding,) = false_breakdown(POLICY, context(POLICY, TECHNICAL, at=frame({})))
    assert not finding.fired
    assert "cannot be told" in finding.because


def test_r4_caps_votes_and_not_hard_triggers():
    vote = RuleFinding(rule="R1", fired=True, because="", tier=Tier.ELEVATED)
    cap = RuleFinding(rule="R4", fired=True, because="", caps_tier=Tier.CALM)
    crash = RuleFinding(rule="R2", fired=True, because="", tier=Tier.SEVERE)
    assert needed_tier([vote]) is Tier.ELEVATED
    assert needed_tier([vote, cap]) is Tier.CALM
    assert needed_tier([vote, cap, crash]) is Tier.SEVERE
