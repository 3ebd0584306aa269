"""The sentence a person reads first: cause, cover and orders in words, without the tier's own name."""

import math
from dataclasses import replace

import pytest
from engine.factory import POOL, classic, frame, held, option, reading, stressed_columns

from bot.engine.rules.consensus import family_votes
from bot.engine.sentence import Coverage, leading_numbers, spoken_value, state_sentence
from bot.engine.step import decide
from bot.model.hedge import Layer
from bot.model.record import EngineState, GroupState
from bot.model.tier import Quality, RuleFinding, Tier

POLICY = classic()
READINGS = (
    reading("S10", 0.9, value=3.1),
    reading("S11", 0.78, value=2.3),
    reading("S13", 0.2, value=0.11),
    reading("S1", 0.62, value=-0.098),
    reading("S1", 0.1, value=-0.02, subject="other"),
)


def said(readings=READINGS, *, tier=Tier.SEVERE, **changes):
    values = {
        "tier": tier,
        "votes": family_votes(POLICY, GroupState(), readings),
        "readings": readings,
        "findings": (),
        "moved": "",
        "coverage": Coverage(held=0.15, planned=0.25, wanted=0.25, buys=(("MID", 7.35), ("NEAR", 11.05))),
        "holds": (),
        "degraded": (),
        **changes,
    }
    return state_sentence(**values)


def test_votes_come_with_their_leading_numbers_then_cover_then_orders():
    both = (*READINGS, reading("S4", 0.6, value=0.4))
    assert said(both) == (
        "TECHNICAL 0.84 (funding +3.1 sigma, vol x2.3), ONCHAIN 0.61 (pool liquidity -9.8 %, depth x0.40); "
        "15 of 25 % of VaR held, 25 % after this step; buys MID 7.35, NEAR 11.05 contracts"
    )


def test_calm_says_so_and_names_the_tail():
    calm = Coverage(held=0.05, planned=0.05, wanted=0.05)
    assert said((), tier=Tier.CALM, coverage=calm) == (
        "no family votes; tail protection 5 of 5 % of VaR held"
    )
    faint = (reading("S1", 0.6, value=-0.09),)
    assert said(faint, tier=Tier.CALM, coverage=calm).startswith(
        "no family votes, highest is ONCHAIN 0.30 (pool liquidity -9.0 %); "
    )


def test_trouble_with_the_view_and_what_forced_the_tier_come_first():
    crash = RuleFinding(rule="R2", fired=True, because="price fell 14 % within 1 h", tier=Tier.SEVERE)
    text = said((), findings=(crash,), holds=("feed is down",), degraded=("ONCHAIN",), moved="SEVERE waits")
    start = "GUARDED (data): ONCHAIN degraded; HOLD: feed is down; price fell 14 % within 1 h"
    assert text.startswith(f"{start}; no family votes; SEVERE waits; ")


def test_unknown_cover_is_said_not_shown_as_a_number():
    text = said(coverage=Coverage(held=math.nan, planned=math.nan, wanted=0.25))
    assert text.endswith("unknown: VaR or a mark is not known")
    assert "nan" not in text


@pytest.mark.parametrize("quality", [Quality.MISSING, Quality.WARMING, Quality.ABSENT])
def test_only_counting_readings_lead(quality):
    dead = reading("S10", math.nan, value=math.nan, quality=quality)
    (vote, *_) = family_votes(POLICY, GroupState(), READINGS)
    assert leading_numbers(vote, (dead, *READINGS[1:])) == "vol x2.3, short vol +11 % on long"


@pytest.mark.parametrize("columns", [None, stressed_columns()])
def test_a_decision_never_repeats_its_tier_in_front(columns):
    state = EngineState(groups={"ETH/USDC": GroupState(tier=Tier.GUARDED)})
    _, decision = decide(POLICY, state, frame(columns, held=(held(option(1300, 70), Layer.TAIL, 3.0),)))
    (group,) = decision.groups
    assert not group.because.startswith(group.tier.name)
    assert f" of {100 * group.wanted_share:.0f} % of VaR held" in group.because
    assert POOL not in group.because


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "pool liquidity -9.8 %"),
        ({"subject": "curve:3pool"}, "funds held -9.8 %"),
        ({"subject": "vault:USDC"}, "funds held -9.8 %"),
        ({"subject": "optimism-bridge"}, "funds held -9.8 %"),
        ({"subject": "curve:3pool", "source": "curve:virtual_price"}, "share value -9.80 %"),
        ({"subject": "vUSDC/USDC", "source": "erc4626:exchange_rate"}, "share value -9.80 %"),
        ({"value": math.nan}, "unknown"),
        ({"signal": "S5", "name": "peg", "value": 0.004}, "stable 0.40 % off par"),
        ({"signal": "S7", "name": "bridge_coverage", "value": 0.985}, "bridge coverage 98.5 %"),
        ({"signal": "S24", "name": "drawdown_speed", "value": -2.1}, "24 h move -2.1 sigma"),
        ({"signal": "S16", "name": "breadth", "value": 0.5}, "breadth 0.50"),
    ],
)
def test_a_value_is_said_for_what_it_is_of(changes, words):
    assert spoken_value(replace(reading("S1", 0.62, value=-0.098), **changes)) == words
