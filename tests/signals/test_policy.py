"""[signals]: the defaults of method.md, and every bound named in its refusal."""

import dataclasses
import math

import pytest

from bot.errors import ConfigError
from bot.signals.policy import Anchors, MacdPolicy, SignalsPolicy
from bot.signals.technical_policy import (
    BreadthPolicy,
    MacdEntryPolicy,
    MacdRegimePolicy,
    RsiPolicy,
    TechnicalPolicy,
)


def test_defaults_are_those_of_the_method():
    policy = SignalsPolicy()
    anchors = {
        field.name: (value.calm, value.stress)
        for family in (policy.onchain, policy.technical, policy.fundamental)
        for field in dataclasses.fields(family)
        if isinstance(value := getattr(family, field.name), Anchors)
    }
    assert (
        anchors.items()
        >= {
            "tvl_drawdown": (-0.03, -0.12),
            "quick_ratio": (2.0, 1.0),
            "pool_imbalance": (0.005, 0.03),
            "depth": (0.7, 0.15),
            "funding": (1.0, 3.0),
            "realised_vol": (1.0, 2.0),
            "term_structure": (0.0, 0.25),
            "iv_percentile": (0.70, 0.98),
            "parity_gap": (0.0, 2.0),
            "drawdown_speed": (-0.5, -2.0),
            "vol_jump": (0.03, 0.15),
            "semivariance": (1.0, 2.5),
        }.items()
    )
    macd = policy.technical.macd
    assert (macd.fast, macd.slow, macd.signal) == (12, 26, 9)
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
        ("onchain.outflow_quantile", 1.5),
        ("onchain.outflow_floor", 0.0),
        ("technical.funding_min_sigma", 0.0),
        ("hold_chain_s", -1.0),
        ("hold_http_intervals", math.inf),
        ("late_intervals", 0.5),
        ("max_interval_s", 60.0),
        ("max_hole_s", -1.0),
        ("onchain.tvl_window_s", 0.0),
        ("technical.vol_span_s", 60.0),
        ("technical.vol_span_s", 60 * 86_400.0),
        ("technical.iv_window_s", 3_600.0),
        ("technical.drawdown_span_s", 3_600.0),
        ("technical.vol_jump_span_s", 401 * 86_400.0),
        ("technical.semivariance_span_s", 31 * 86_400.0),
        ("technical.semivariance_window_s", 401 * 86_400.0),
        ("onchain.depth_best_s", 0.0),
        ("onchain.depth_best_s", 8 * 86_400.0),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"signals\.{key} .*was {value}"):
        _with(key, value)


def _with(key: str, value: float) -> SignalsPolicy:
    family, _, name = key.rpartition(".")
    if not family:
        return SignalsPolicy(**{name: value})
    return SignalsPolicy(**{family: dataclasses.replace(getattr(SignalsPolicy(), family), **{name: value})})


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
    with pytest.raises(ConfigError, match=rf"signals\.technical\.macd\.{key} .*was {value}"):
        MacdPolicy(**{key: value})


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (MacdEntryPolicy, "macd.entry.lookback_bars", 259),
        (MacdEntryPolicy, "macd.entry.bar_s", 59),
        (MacdEntryPolicy, "macd.entry.confirm_bars", 0),
        (MacdEntryPolicy, "macd.entry.fresh_bars", 0),
        (MacdEntryPolicy, "macd.entry.divergence_bars", 114),  # 2 x 114 + 34 bars do not fit into 260
        (MacdRegimePolicy, "macd.regime.lookback_bars", 259),
        (MacdRegimePolicy, "macd.regime.bar_s", 8 * 86_400),
        (RsiPolicy, "rsi.period", 1),
        (RsiPolicy, "rsi.lookback_bars", 139),
        (RsiPolicy, "rsi.exhausted_below", 50.1),
        (RsiPolicy, "rsi.exhausted_bars", 0),
        (BreadthPolicy, "breadth.members_min", 1),
        (BreadthPolicy, "breadth.lookback_bars", 7),
        (BreadthPolicy, "breadth.divergence_bars", 85),
        (BreadthPolicy, "breadth.dead_band", math.nan),
    ],
)
def test_a_technical_value_out_of_bounds_is_refused_by_name(make, key, value):
    table, *inner, name = key.split(".")

    def built():
        part = make(**{name: value})
        return MacdPolicy(**{inner[0]: part}) if table == "macd" else part

    with pytest.raises(ConfigError, match=rf"signals\.technical\.{key} .*was {value}"):
        built()


@pytest.mark.parametrize(("bar_s", "entry_s"), [(3_600, 5_400), (7_200, 3_600)])
def test_longer_bars_of_macd_are_multiples_of_the_bar(bar_s, entry_s):
    technical = TechnicalPolicy(macd=MacdPolicy(entry=MacdEntryPolicy(bar_s=entry_s)))
    with pytest.raises(ConfigError, match=rf"macd\.entry\.bar_s must be a multiple .*was {entry_s}"):
        SignalsPolicy(bar_s=bar_s, technical=technical)


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
