"""R1's fast path: five scores that lead a fall."""

import math

import pytest
from engine.factory import classic, context, reading

from bot.engine.rules.consensus import consensus
from bot.engine.rules.fast_path import fast_mean, fast_places
from bot.model.tier import Quality, Tier

POLICY = classic(tiers={"fast_vote": 0.75})
FEED_SOURCE = "chainlink:eth"  # S14 of price: the frame of the factory has this price
CALM = [reading("S1", 0.0), reading("S2", 0.0)]


def fast(speed=0.0, bitcoin=0.0, jump=0.0, semi=0.0, rsi=0.0):
    return [
        reading("S24", speed),
        reading("S24", bitcoin, subject="BTC"),
        reading("S25", jump),
        reading("S26", semi),
        reading("S14", rsi, source=FEED_SOURCE),
    ]


@pytest.mark.parametrize(
    ("scores", "tier"),
    [
        ((0.75,) * 5, Tier.CALM),  # its third score passes, but two votes are needed and the mean is not over
        ((0.750001,) * 5, Tier.ELEVATED),
        ((1.0, 1.0, 1.0, 0.76, 0.0), Tier.ELEVATED),
        ((1.0, 1.0, 1.0, 0.75, 0.0), Tier.CALM),
        ((0.0,) * 5, Tier.CALM),
    ],
)
def test_r1_fast_path(scores, tier):
    # CALM is what the fast path asks for; TECHNICAL's own vote makes GUARDED of high scores.
    found = consensus(POLICY, context(POLICY, [*fast(*scores), *CALM]))[0]
    voted = consensus(classic(), context(classic(), [*fast(*scores), *CALM]))[0]
    assert found.tier is max(tier, voted.tier)
    assert voted.tier <= Tier.GUARDED
    assert ("fast path: fast mean" in found.because) is (tier is Tier.ELEVATED)


def test_r1_fast_path_is_off_in_classic():
    found = consensus(classic(), context(classic(), [*fast(1.0, 1.0, 1.0, 1.0, 1.0), *CALM]))[0]
    assert found.tier is Tier.GUARDED
    assert "the fast path is off" in found.because


@pytest.mark.parametrize(
    ("quality", "mean", "ceiling"),
    [
        (Quality.LIVE, 0.8, 0.8),
        (Quality.HELD, 0.8, 0.8),
        (Quality.MISSING, 0.64, 0.84),  # counts 0 on the way up, 1 on the way down
        (Quality.WARMING, 0.64, 0.64),
        (Quality.ABSENT, 0.64, 0.64),
    ],
)
def test_r1_what_is_not_known_counts_nothing_in_the_mean(quality, mean, ceiling):
    readings = fast(0.8, 0.8, 0.8, 0.8, 0.8)
    score = 0.8 if quality in (Quality.LIVE, Quality.HELD) else math.nan
    readings[2] = reading("S25", score, quality=quality)
    found = fast_mean(context(POLICY, readings))
    assert (found.mean, found.ceiling) == (mean, ceiling)


def test_r1_only_the_five_count():
    others = [
        reading("S14", 1.0, source="lyra"),  # of the vol index
        reading("S24", 1.0, subject="LINK"),
        reading("S25", 1.0, subject="BTC"),
        reading("S11", 1.0),
    ]
    assert fast_mean(context(POLICY, others)).mean == 0.0
    assert fast_mean(context(POLICY, [])).mean == 0.0


def test_the_places_of_the_fast_mean_are_those_of_its_own_readings():
    others = [reading("S25", 1.0, subject="BTC"), reading("S14", 1.0, source="no price"), *CALM]
    found = context(POLICY, [*others, *fast()])
    places = tuple(range(10, 10 + len(found.readings)))
    assert fast_places(found, places) == places[len(others) :]
    assert fast_places(context(POLICY, others), places[: len(others)]) == ()
