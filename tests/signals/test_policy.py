"""[signals]: the defaults of method.md, and every bound named in its refusal."""

import dataclasses
import math

import pytest

from bot.errors import ConfigError
from bot.signals.policy import Anchors, MacdPolicy, SignalsPolicy


def test_defaults_are_those_of_the_method():
    policy = SignalsPolicy()
    anchors = {
        field.name: (value.calm, value.stress)
        for field in dataclasses.fields(policy)
        if isinstance(value := getattr(policy, field.name), Anchors)
    }
    assert anchors == {
        "tvl_drawdown": (-0.03, -0.12),
        "quick_ratio": (2.0, 1.0),
        "pool_imbalance": (0.005, 0.03),
        "depth": (0.7, 0.15),
        "funding": (1.0, 3.0),
        "realised_vol": (1.0, 2.0),
        "term_structure": (0.0, 0.25),
    }
    assert (policy.macd.fast, policy.macd.slow, policy.macd.signal) == (12, 26, 9)
    assert (policy.bar_s, policy.hold_chain_s, policy.hold_http_intervals) == (3600, 1800, 2)
    assert policy.max_hole_bars == 36


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bar_s", 0),
        ("bar_s", 7 * 60 + 1),
        ("coverage", 0.0),
        ("coverage", 1.1),
        ("coverage", math.nan),
        ("outflow_quantile", 1.5),
        ("outflow_floor", 0.0),
        ("funding_min_sigma", 0.0),
        ("hold_chain_s", -1.0),
        ("hold_http_intervals", math.inf),
        ("late_intervals", 0.5),
        ("max_interval_s", 60.0),
        ("max_hole_s", -1.0),
        ("tvl_window_s", 0.0),
        ("vol_span_s", 60.0),
        ("vol_span_s", 60 * 86_400.0),
        ("depth_best_s", 0.0),
        ("depth_best_s", 8 * 86_400.0),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"signals\.{key} .*was {value}"):
        SignalsPolicy(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fast", 0),
        ("slow", 12),
        ("signal", 0),
        ("lookback_bars", 259),  # under 10 x 26
        ("fresh_bars", 1),
        ("divergence_bars", 1000),
        ("breakdown_bars", 1),
        ("dead_band", -0.1),
    ],
)
def test_a_macd_value_out_of_bounds_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"signals\.macd\.{key} .*was {value}"):
        MacdPolicy(**{key: value})


@pytest.mark.parametrize(("calm", "stress"), [(1.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_anchors_must_be_two_finite_numbers(calm, stress):
    with pytest.raises(ConfigError, match="anchors"):
        Anchors(calm=calm, stress=stress)


def test_score_is_linear_between_the_anchors_and_rounded():
    anchors = Anchors(calm=-0.03, stress=-0.12)
    assert [anchors.score(x) for x in (0.0, -0.03, -0.06, -0.12, -1.0)] == [0.0, 0.0, 0.333333333, 1.0, 1.0]
    assert math.isnan(anchors.score(math.nan))


def test_a_list_from_toml_is_kept_as_a_tuple():
    assert SignalsPolicy(stables=["USDC"]).stables == ("USDC",)
    assert hash(SignalsPolicy()) == hash(SignalsPolicy())
