"""R1: families vote, no signal alone."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, classic, context, exposure, reading
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.rules.consensus import LONE_FAMILY, consensus, family_votes, voting_memory
from bot.engine.rules.context import reach_of
from bot.model.record import GroupState
from bot.model.tier import Family, Quality, Tier

POLICY = classic()
CALM_ONCHAIN = [reading("S1", 0.0), reading("S2", 0.0)]
CALM_TECHNICAL = [reading("S10", 0.0), reading("S11", 0.0)]


def tier_of(readings, **changes):
    return consensus(POLICY, context(POLICY, readings, **changes))[0].tier


def technical(*scores):
    return [reading(name, score) for name, score in zip(("S10", "S11", "S13", "S15"), scores, strict=False)]


def onchain(*scores):
    return [reading(name, score) for name, score in zip(("S1", "S2", "S3", "S4"), scores, strict=False)]


def fundamental(*scores):
    return [reading(name, score) for name, score in zip(("S17", "S19", "S21"), scores, strict=False)]


@pytest.mark.parametrize(
    ("readings", "tier"),
    [
        (onchain(0.0, 0.0) + technical(0.0, 0.0), Tier.CALM),
        (onchain(1.0, 0.0) + technical(0.0, 0.0), Tier.CALM),  # one signal alone: 0.5 is not above 0.5
        (onchain(0.5, 0.5) + technical(0.0, 0.0), Tier.CALM),
        (onchain(0.5, 0.500001) + technical(0.0, 0.0), Tier.GUARDED),
        (technical(0.9, 0.9, 0.35) + onchain(0.0, 0.0), Tier.CALM),  # TECHNICAL's third must be over 0.35
        (technical(0.9, 0.9, 0.350001) + onchain(0.0, 0.0), Tier.GUARDED),
        (onchain(0.6, 0.6) + technical(0.6, 0.6), Tier.ELEVATED),
        (onchain(0.75, 0.75) + technical(0.6, 0.6), Tier.ELEVATED),
        (onchain(0.75, 0.750001) + technical(0.6, 0.6), Tier.SEVERE),
        (onchain(0.6, 0.6) + technical(0.6, 0.6) + fundamental(0.6, 0.6), Tier.CRISIS),
        (onchain(0.9, 0.9) + technical(0.5, 0.5) + fundamental(0.5, 0.5), Tier.GUARDED),
        ([], Tier.CALM),
    ],
)
def test_r1_votes_make_tiers(readings, tier):
    assert tier_of(readings) is tier


@pytest.mark.parametrize(
    ("scores", "tier"),
    [
        ((0.9, 0.9, 0.3), Tier.CALM),
        ((0.9, 0.9, 0.4), Tier.GUARDED),
        ((0.9, 0.9, 0.5), Tier.GUARDED),
        ((0.9, 0.9, 0.6), Tier.ELEVATED),
        ((1.0, 1.0, 1.0, 1.0), Tier.ELEVATED),  # the most that one family can reach
    ],
)
def test_r1_single_family(scores, tier):
    assert tier_of(technical(*scores)) is tier


def test_r1_warming_family_is_configured():
    warming = [replace(item, quality=Quality.WARMING, score=math.nan) for item in onchain(0.0, 0.0)]
    found = context(POLICY, technical(1.0, 1.0, 1.0) + warming)
    assert consensus(POLICY, found)[0].tier is Tier.GUARDED
    assert not any(vote.degraded for vote in found.votes)


@pytest.mark.parametrize(
    ("score", "was", "votes"),
    [(0.5, False, False), (0.51, False, True), (0.36, True, True), (0.35, True, True), (0.349, True, False)],
)
def test_r1_vote_hysteresis(score, was, votes):
    state = GroupState(voting={"ONCHAIN": was})
    vote = family_votes(POLICY, state, onchain(score, score))[2]
    assert vote.family is Family.ONCHAIN
    assert vote.voting is votes
    found = context(POLICY, onchain(score, score) + CALM_TECHNICAL, state=state)
    assert voting_memory(POLICY, found)["ONCHAIN"] is votes


def test_r1_one_signal_from_two_pools_is_one_signal():
    twice = [reading("S1", 1.0), reading("S1", 1.0, subject="v3:ETH/USDC"), *technical(0.0, 0.0)]
    assert context(POLICY, twice).votes[2].score == 0.5


def test_r1_lone_second_vote_is_remembered():
    state = GroupState(voting={"TECHNICAL": True, LONE_FAMILY: True})
    assert tier_of(technical(0.9, 0.9, 0.36), state=state) is Tier.ELEVATED
    assert tier_of(technical(0.9, 0.9, 0.34), state=state) is Tier.CALM


def test_r1_degraded_family_is_named_and_asks_for_nothing():
    dead = [replace(item, quality=Quality.MISSING, score=math.nan) for item in onchain(0.0, 0.0, 0.0)]
    findings = consensus(POLICY, context(POLICY, [*dead, reading("S4", 0.1), *CALM_TECHNICAL]))
    assert findings[0].tier is Tier.CALM
    assert findings[1].fired
    assert "GUARDED (data)" in findings[1].because
    assert "S1, S2, S3 missing" in findings[1].because
    assert findings[1].tier is None


def test_r1_half_live_is_not_degraded():
    dead = [replace(item, quality=Quality.MISSING, score=math.nan) for item in onchain(0.0, 0.0)]
    votes = context(POLICY, [*dead, reading("S3", 0.0), reading("S4", 0.0)]).votes
    assert not votes[2].degraded


def test_r1_degraded_counts_signals_not_their_readings():
    lost = [
        replace(reading("S1", 0.0, subject=f"v3:{n}/USDC"), quality=Quality.MISSING, score=math.nan)
        for n in range(5)
    ]
    vote = context(POLICY, [*lost, reading("S3", 0.0), reading("S4", 0.0)]).votes[2]
    assert (vote.configured, vote.live, vote.degraded) == (3, 2, False)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_r1_another_stressed_signal_never_lowers_the_tier(first, second):
    before = tier_of(onchain(*first[:3]) + technical(*second[:3]))
    assert tier_of(onchain(*first) + technical(*second[:3])) >= before
    assert tier_of(onchain(*first) + technical(*second)) >= before
    assert tier_of(onchain(*first) + technical(*second) + fundamental(1.0)) >= before


@pytest.mark.parametrize(
    ("subject", "counts"),
    [
        ("ETH", True),
        ("BTC", False),
        ("v2:ETH/USDC", True),
        ("v3:ETH/USDC", False),  # a pool without our exposure
        ("v3:USDC/sUSD", True),  # the stable it depends on
        ("v3:DAI/sUSD", False),
        ("USDC", True),
        ("", True),
    ],
)
def test_r1_signals_count_for_groups_that_depend_on_them(subject, counts):
    assert reach_of(POLICY, GROUP, (exposure(),)).includes(reading("S1", 1.0, subject=subject)) is counts


@pytest.mark.parametrize(
    ("signal", "subject", "source", "counts"),
    [
        ("S1", "v3:BTC/USDC", "pool", False),  # a volatile pool that only shares the stable
        ("S1", "curve:DAI/USDC/USDT", "curve", True),
        ("S1", "curve:DAI/USDT", "curve", False),
        ("S1", "uniswap-v2", "defillama", True),  # the protocol itself
        ("S1", "uniswap-v3", "defillama", False),
        ("S2", "v2:ETH/USDC/USDC", "pool", True),  # a token of our pool
        ("S2", "aave-v3/USDC", "aave_v3", False),  # idle money of a market we do not use
        ("S2", "v2:1", "vault", True),  # an exposure by its id
        ("S5", "USDC", "chainlink", True),
        ("S5", "DAI", "chainlink", False),
        ("S6", "USDC", "basket", True),
        ("S7", "arbitrum", "locked:USDC", True),  # listed under USDC
        ("S7", "arbitrum", "locked:DAI", False),
        ("S7", "optimism", "locked:USDC", False),
        ("S8", "31337", "fee_history", True),
        ("S8", "1", "fee_history", False),
        ("S9", "v2-factory", "admin_events:paused", True),  # listed under uniswap-v2
        ("S9", "aave-pool", "admin_events:paused", False),
        ("S17", "aave-v3/USDC", "aave_v3", True),  # what our stable costs to borrow
        ("S17", "aave-v3/DAI", "aave_v3", False),
        ("S18", "UNI", "defillama", True),  # listed under uniswap-v2
        ("S18", "AAVE", "defillama", False),
        ("S19", "CPI", "bls", True),
        ("S20", "ETH", "fred", True),
        ("S21", "ETH/USDC", "book", True),
        ("S21", "ETH/DAI", "book", False),
        ("S23", "stablecoins", "defillama", True),
        ("S10", "BTC", "perp", True),
    ],
)
def test_r1_which_readings_count_for_which_group(signal, subject, source, counts):
    parts = {"uniswap-v2": ["v2-factory", "UNI"], "USDC": ["arbitrum/USDC"]}
    policy = classic(dependencies=parts)
    read = reading(signal, 1.0, subject=subject, source=source)
    assert reach_of(policy, GROUP, (exposure(),)).includes(read) is counts


def test_r1_a_vault_or_bridge_counts_where_the_exposure_lies_in_it():
    lockbox = exposure(pool="arbitrum", protocol="arbitrum-bridge", id="lockbox")
    covered = reading("S7", 1.0, subject="arbitrum", source="locked:ETH")
    assert reach_of(POLICY, GROUP, (lockbox,)).includes(covered)
    assert not reach_of(POLICY, GROUP, (exposure(),)).includes(reading("S7", 1.0, subject="arbitrum"))


def test_r1_what_informs_and_s9_have_no_vote():
    calm = [*technical(0.0, 0.0), *onchain(0.0, 0.0)]
    loud = [
        *fundamental(1.0),
        reading("S20", 1.0, informs=True),
        reading("S9", 1.0, subject="v2:ETH/USDC"),
        reading("S1", 0.9),
    ]
    found = context(POLICY, [*calm, *loud])
    assert [vote.score for vote in found.votes] == [0.0, 0.5, 0.45]
    assert [vote.configured for vote in found.votes] == [2, 1, 2]
    dead = reading("S9", math.nan, quality=Quality.MISSING, subject="v2:ETH/USDC")
    assert not any(vote.degraded for vote in context(POLICY, [reading("S1", 0.0), dead]).votes)


@pytest.mark.parametrize(("source", "score"), [("dvol", 0.5), ("lyra", 0.9)])
def test_s13_modelled_from_the_level_counts_once_with_s12(source, score):
    both = [reading("S12", 0.8, source=source), reading("S13", 1.0, source=source)]
    assert context(POLICY, both).votes[0].score == score


def test_r1_a_family_of_one_signal_takes_nothing_from_the_lone_one():
    alone = technical(0.9, 0.9, 0.6)
    assert tier_of(alone) is Tier.ELEVATED
    assert tier_of([*alone, reading("S19", 1.0, subject="CPI")]) is Tier.ELEVATED
    assert tier_of([*alone, reading("S19", 1.0), reading("S17", 0.0)]) is Tier.GUARDED


def test_r1_a_market_signal_counts_for_every_group():
    other = reading("S11", 1.0, subject="BTC")
    assert reach_of(POLICY, GROUP, (exposure(),)).includes(other)
    found = context(POLICY, [other, reading("S10", 1.0)])
    assert found.votes[0].score == 1.0
    assert found.reading("S11") is None  # it votes, but ETH's own layers follow ETH's own reading
