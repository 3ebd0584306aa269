"""The keys of R1-R6 in a policy file: what they mean, and what is refused."""

import pytest
from engine.factory import classic

from bot.engine.policy_tiers import Announced
from bot.errors import ConfigError
from bot.model.market import Metric


def test_classic_is_as_published():
    tiers, rule = classic().tiers, classic().hard_triggers
    assert tiers.fast_vote is None
    assert (tiers.cooldown, tiers.cooldown_guarded, tiers.step_down) == (21_600.0, 21_600.0, "one")
    assert (rule.coverage_severe, rule.coverage_crisis, rule.peg_severe, rule.hf_min) == (
        0.98,
        0.9,
        0.05,
        1.25,
    )
    assert rule.announced == ()
    assert classic().dependencies == ()
    assert classic().liquidity_rule.fall == -0.08
    wings = classic().outer_wings
    assert (wings.iv_rank, wings.near_cap, wings.short_legs) == (0.7, 30.0, False)
    assert (wings.beyond_break_even, wings.backwardated_otm) == ((0.15, 0.20), (0.05, 0.07))


def test_fast_vote_is_a_score_or_off():
    assert classic(tiers={"fast_vote": 0.75}).tiers.fast_vote == 0.75
    assert classic(tiers={"fast_vote": "off"}).tiers.fast_vote is None


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("tiers", "fast_vote", "on", "off"),
        ("tiers", "fast_vote", 1.0, "0.99"),
        ("tiers", "cooldown_guarded", "7 h", "at most tiers.cooldown"),
        ("tiers", "breakdown_sigmas", -1.5, "0 to 10"),
        ("hard_triggers", "coverage_crisis", "98 %", "under hard_triggers.coverage_severe"),
        ("hard_triggers", "peg_severe", 5, "percentage"),
        ("hard_triggers", "hf_min", 0.9, "1 to 10"),
        ("hard_triggers", "announced", ["v3-factory upgraded"], "until"),
        ("hard_triggers", "announced", ["v3-factory paused until 2026-12-31"], "until"),
        ("hard_triggers", "announced", ["v3-factory upgraded until 2026-02-30"], "until"),
        ("hard_triggers", "announced", "v3-factory upgraded until 2026-12-31", "list"),
        ("dependencies", "uniswap-v3", "UNI", "list of words"),
        ("dependencies", "uniswap-v3", [""], "list of words"),
        ("outer_wings", "beyond_break_even", ["20 %", "15 %"], "low < high"),
        ("outer_wings", "short_legs", "no", "true or false"),
        ("liquidity_rule", "fall", "8 %", "-90"),
    ],
)
def test_bad_values_are_refused_by_name(section, key, value, words):
    with pytest.raises(ConfigError) as caught:
        classic(**{section: {key: value}})
    assert f"{section}.{key}" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_announced_change_counts_to_the_end_of_its_last_day():
    (item,) = classic(
        hard_triggers={"announced": ["v3-factory role_changed until 2024-02-29"]}
    ).hard_triggers.announced
    assert item == Announced(label="v3-factory", change=Metric.ROLE_CHANGED, until_s=1_709_251_200.0)
    assert str(item) == "v3-factory role_changed until 2024-02-29"
    rule = classic(hard_triggers={"announced": [str(item)]}).hard_triggers
    assert rule.is_announced("v3-factory", Metric.ROLE_CHANGED, now_s=1_709_251_199.9)
    assert not rule.is_announced("v3-factory", Metric.ROLE_CHANGED, now_s=1_709_251_200.0)


def test_what_belongs_to_what_is_part_of_the_hash_and_its_order_is_not():
    one = classic(dependencies={"b": ["x"], "a": ["y"]})
    two = classic(dependencies={"a": ["y"], "b": ["x"]})
    assert one.hash == two.hash != classic().hash
