"""The numbers of R16-R18 and R28: as the method states them, and what is refused."""

import pytest
from engine.factory import classic
from engine.held_legs import preset

from bot.errors import ConfigError
from bot.model.hedge import Layer
from bot.model.units import DAY_S, HOUR_S


def test_classic_is_as_published():
    policy = classic()
    assert [policy.layers.of(layer).roll_at / DAY_S for layer in Layer] == [1, 7, 30]
    assert policy.roll.compare_over == 30 * DAY_S
    assert (policy.roll.easing_from, policy.roll.easing_to) == (0.10, 0.0)
    assert policy.no_loyalty.resize_band == (0.5, 2.0)
    assert (policy.no_loyalty.min_hold, policy.no_loyalty.min_salvage) == (48 * HOUR_S, 0.5)
    rule = policy.monetise
    assert (rule.enabled, rule.delta_over, rule.value_over) == (True, 0.80, 15.0)
    assert (rule.parts, rule.to_reserve) == (3, 0.5)
    condor = policy.overlay
    assert (condor.enabled, condor.delta, condor.credit) == (False, (0.15, 0.25), (0.15, 0.25))
    assert condor.max_share == 0.10
    assert condor.dte[0] < 7 * DAY_S < condor.dte[1]


@pytest.mark.parametrize("name", ["steward", "fortress"])
def test_presets_differ_only_in_how_long_tail_is_held(name):
    policy, base = preset(name), classic()
    assert policy.layers.TAIL.roll_at == 0.0
    assert (policy.roll, policy.no_loyalty) == (base.roll, base.no_loyalty)
    assert (policy.monetise, policy.overlay) == (base.monetise, base.overlay)


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("roll", "easing_to", "10 %", "under roll.easing_from"),
        ("roll", "compare_over", "91 d", "90 d"),
        ("no_loyalty", "resize_band", ["110 %", "200 %"], "around 100 %"),
        ("no_loyalty", "min_hold", 48, "duration"),
        ("monetise", "enabled", "yes", "true or false"),
        ("monetise", "delta_over", 0.49, "0.5"),
        ("monetise", "delta_over", 1.0, "0.99"),
        ("monetise", "value_over", 1.4, "1.5"),
        ("monetise", "parts", 0, "whole number"),
        ("monetise", "parts", 2.5, "whole number"),
        ("monetise", "to_reserve", 0.5, "percentage"),
        ("monetise", "min_bid", "101 %", "100 %"),
        ("overlay", "delta", [0.25, 0.15], "low < high"),
        ("overlay", "delta", [0.15, 0.51], "0.5"),
        ("overlay", "credit", ["15 %", "95 %"], "90 %"),
        ("overlay", "dte", ["12 h", "9 d"], "1 d"),
        ("overlay", "roll_at", "5 d", "under overlay.dte's start, 5 d"),
        ("overlay", "vol_ratio", 0.9, "1"),
        ("overlay", "max_share", "11 %", "10 %"),  # the method's own limit
    ],
)
def test_what_is_refused(section, key, value, words):
    with pytest.raises(ConfigError, match=f"{section}.{key}") as found:
        classic(**{section: {key: value}})
    assert words in str(found.value)
