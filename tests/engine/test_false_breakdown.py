"""R4: an unconfirmed break of price does not escalate on TECHNICAL alone."""

import math

import numpy as np
import pytest
from engine.factory import FEED, NOW_S, calm_columns, classic, context, flat, frame, reading

from bot.engine.rules.consensus import consensus
from bot.engine.rules.false_breakdown import false_breakdown
from bot.engine.tier_step import needed_tier
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Quality, RuleFinding, Tier
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


SPEED = {"underlying": "ETH", "bitcoin": "BTC", "other": "LINK"}


@pytest.mark.parametrize(
    ("whose", "sigmas", "fired"),
    [
        ("underlying", -1.49, True),
        ("underlying", -1.5, True),  # beyond, not at
        ("underlying", -1.500001, False),
        ("bitcoin", -1.6, False),
        ("other", -3.0, True),
        ("underlying", 3.0, True),  # a rise is no fall
        ("underlying", math.nan, True),
    ],
)
def test_r4_does_not_stop_a_fast_fall(whose, sigmas, fired):
    quality = Quality.MISSING if math.isnan(sigmas) else Quality.LIVE
    speed = reading("S24", abs(sigmas) / 10.0, value=sigmas, subject=SPEED[whose], quality=quality)
    at = frame(columns_of("false"))
    (finding,) = false_breakdown(POLICY, context(POLICY, [*TECHNICAL, speed], at=at))
    assert finding.fired is fired


@pytest.mark.parametrize(
    ("path", "fired"),
    [("rising", True), ("falling", False)],
)
def test_r4_breadth_that_falls_too_confirms_the_break(path, fired):
    """Four more tokens make a market of five: while they make new lows too, the break is real."""
    columns = columns_of("false")
    steps = np.arange(columns[FEED].values.size)
    drift = {"rising": 1e-4, "falling": -1e-4}[path]
    for token in ("AAA", "BBB", "CCC", "DDD"):
        key = SeriesKey(Metric.PRICE_USD, token, "chainlink:x")
        columns[key] = Column(times_s=columns[FEED].times_s, values=10.0 * np.exp(drift * steps))
    (finding,) = false_breakdown(POLICY, context(POLICY, TECHNICAL, at=frame(columns)))
    assert finding.fired is fired
    assert ("breadth confirms" in finding.because) is not fired


def test_r4_breadth_that_is_missing_denies_nothing():
    gone = reading("S16", math.nan, quality=Quality.MISSING)
    at = frame(columns_of("false"))
    (finding,) = false_breakdown(POLICY, context(POLICY, [*TECHNICAL, gone], at=at))
    assert not finding.fired
    assert "may confirm" in finding.because


def test_r4_denies_the_fast_path_too():
    policy = classic(tiers={"fast_vote": 0.5})
    fast = [
        reading("S24", 1.0, value=-1.4),
        reading("S24", 1.0, value=-1.4, subject="BTC"),
        reading("S25", 1.0),
    ]
    calm = [reading("S1", 0.0), reading("S2", 0.0)]
    at = frame(columns_of("false"))
    readings = [*fast, *calm]
    state = GroupState(tier=Tier.GUARDED)
    found = context(policy, readings, state=state, at=at)
    assert consensus(policy, found)[0].tier is Tier.ELEVATED
    (finding,) = false_breakdown(policy, found)
    assert finding.caps_tier is Tier.GUARDED
    assert needed_tier([*consensus(policy, found), finding]) is Tier.GUARDED


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
