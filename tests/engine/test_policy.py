"""Policy files: what is accepted, and the one line that refuses the rest."""

import copy
import math
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from engine.factory import classic, classic_table
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.policy import parse_policy
from bot.engine.policy_fields import duration, percent
from bot.errors import ConfigError
from bot.model.hedge import Layer
from bot.model.tier import Tier
from bot.signals.policy import SignalsPolicy


def test_classic_is_the_preset_as_published():
    policy = classic()
    assert [policy.sizing.weights.of(layer) for layer in Layer] == [40.0, 40.0, 20.0]
    assert [policy.sizing.weight_bounds.of(layer) for layer in Layer] == [(30, 50), (30, 50), (10, 30)]
    assert [policy.sizing.shares.of(tier) for tier in Tier] == [0.05, 0.15, 0.20, 0.25, 0.25]
    budget = policy.budget
    assert (budget.defined_risk_capital, budget.session_share) == (0.03, 0.25)
    assert (budget.budget_30d, budget.budget_365d) == (0.0075, 0.03)
    assert policy.tiers.cooldown == 6 * 3600
    assert (policy.tiers.vote, policy.tiers.vote_off, policy.tiers.confirm) == (0.5, 0.35, 2)
    assert policy.layers.NEAR.dte == (0.0, 7 * 86400.0)
    assert policy.layers.TAIL.dte == (60 * 86400.0, math.inf)
    assert policy.layers.TAIL.delta == (0.05, 0.15)
    assert policy.sizing.weights_of == "notional"
    moves = policy.sizing.weight_moves
    assert (moves.S13, moves.S8, moves.S18, moves.S21, moves.over) == (10.0, 10.0, 5.0, 5.0, 0.5)
    assert (policy.cost_guard.max_carry_share, policy.cost_guard.carry_floor) == (0.5, 0.0025)
    assert (policy.mid.scale_from, policy.mid.scale_to) == (0.25, 0.75)
    assert policy.wings.fees_to_width == (0.15, 0.25)
    factors = policy.sizing.factors
    assert (factors.assets, factors.window_days, factors.min_r_squared) == (("ETH", "BTC"), 90, 0.5)
    assert policy.signals == SignalsPolicy()


def test_every_signal_key_is_stated_in_classic():
    def stated(numbers: object, table: dict[str, Any]) -> None:
        assert {item.name.removesuffix("_s") for item in fields(numbers)} == set(table)
        for item in fields(numbers):
            if is_dataclass(value := getattr(numbers, item.name)):
                stated(value, table[item.name])

    stated(SignalsPolicy(), {"fundamental": {}} | classic_table()["signals"])


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("tiers.vote", 1.5, ("tiers.vote", "1.5", "0.05")),
        ("tiers.vote", "0.5", ("tiers.vote", "'0.5'", "a number")),
        ("tiers.vote", True, ("tiers.vote", "True")),
        ("tiers.vote", math.nan, ("tiers.vote", "nan")),
        ("tiers.vote_off", 0.5, ("tiers.vote_off", "under tiers.vote")),
        ("tiers.severe_score", 0.4, ("tiers.severe_score", "at least")),
        ("tiers.fast_vote", 0.01, ("tiers.fast_vote", "off", "0.05")),
        ("tiers.cooldown", 6, ("tiers.cooldown", "6 h")),
        ("tiers.cooldown", "6 %", ("tiers.cooldown", "duration")),
        ("tiers.cooldown", "90 d", ("tiers.cooldown", "30 d")),
        ("tiers.confirm", 2.0, ("tiers.confirm", "whole number")),
        ("tiers.step_down", "two", ("tiers.step_down", "'one'", "'straight'")),
        ("budget.session_share", 0.25, ("budget.session_share", "percentage")),
        ("budget.session_share", "26 %", ("budget.session_share", "26 %", "25 %")),
        ("budget.session_share", "-1 %", ("budget.session_share",)),
        ("budget.budget_365d", "0.5 %", ("budget.budget_365d", "at least")),
        ("budget.escalation_reserve", "yes", ("budget.escalation_reserve", "true or false")),
        ("budget.escalation_reserve", 1, ("budget.escalation_reserve", "true or false")),
        ("sizing.top_up_under", 0.95, ("sizing.top_up_under", "percentage")),
        ("sizing.stable_window", "30 s", ("sizing.stable_window", "1 min")),
        ("hard_triggers.severe_fall", "8 %", ("hard_triggers.severe_fall", "over")),
        ("sizing.weights.TAIL", 21, ("sizing.weights", "sum to 100", "101")),
        ("sizing.weight_bounds.NEAR", [45, 50], ("sizing.weights.NEAR", "[45, 50]")),
        ("sizing.weight_bounds.NEAR", [50, 30], ("sizing.weight_bounds.NEAR", "low < high")),
        ("sizing.shares.GUARDED", "30 %", ("sizing.shares.ELEVATED", "at least")),
        ("sizing.weights_of", "delta", ("sizing.weights_of", "'notional'", "'premium'")),
        ("sizing.weight_moves.S8", 51, ("sizing.weight_moves.S8", "50")),
        ("sizing.weight_moves.over", 1.1, ("sizing.weight_moves.over", "1.1")),
        ("sizing.min_paths", 1, ("sizing.min_paths", "2")),
        ("sizing.stable_stress", "50 %", ("sizing.stable_stress", "a number")),
        ("sizing.factors.min_r_squared", 1.5, ("min_r_squared", "0 to 1")),
        ("sizing.factors.window_days", 29, ("window_days", "30")),
        ("sizing.factors.assets", "ETH", ("sizing.factors.assets", "list")),
        ("cost_guard.max_carry_share", 0.5, ("cost_guard.max_carry_share", "percentage")),
        ("cost_guard.carry_floor", "-1 %", ("cost_guard.carry_floor",)),
        ("tail.ladder", 0, ("tail.ladder", "1 to 12")),
        ("tail.index_product", "on", ("tail.index_product", "no venue")),
        ("wings.fees_to_width", ["25 %", "15 %"], ("wings.fees_to_width", "low < high")),
        ("wings.rise_span", "30 min", ("wings.rise_span", "1 h")),
        ("outer_wings.near_cap", 19, ("outer_wings.near_cap", "at least 30")),
        ("layers.NEAR.delta", [0.5, 0.35], ("layers.NEAR.delta", "low < high")),
        ("layers.NEAR.roll_at", "8 d", ("layers.NEAR.roll_at", "under")),
        ("layers.MID.dte", ["5 d", "45 d"], ("layers.MID.dte", "beyond NEAR")),
        ("near.instrument", "call", ("near.instrument", "'put', 'perpetual'")),
        ("near.delta_share.CRISIS", "10 %", ("near.delta_share.CRISIS", "at least")),
        ("perpetual.margin_days", 11, ("perpetual.margin_days", "at most sizing.horizon_days")),
        ("perpetual.min_funding", "5 %", ("perpetual.min_funding", "-1000 % to 0 %")),
        ("mid.scale_to", 0.2, ("mid.scale_to", "over")),
        ("no_loyalty.resize_band", ["150 %", "200 %"], ("resize_band", "100 %")),
        ("roll.easing_to", "20 %", ("roll.easing_to", "under")),
        ("signals.bar", "7 min", ("signals.bar_s", "divide")),
        ("signals.onchain.depth", {"calm": 1.0, "stress": 1.0}, ("anchors", "different")),
    ],
)
def test_bad_values_are_refused_in_one_line(path, value, words):
    table = classic_table()
    place = table
    *parts, last = path.split(".")
    for part in parts:
        place = place[part]
    place[last] = value
    with pytest.raises(ConfigError) as caught:
        parse_policy(table)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    "path", ["extra", "tiers.extra", "sizing.shares.PANIC", "signals.extra", "signals.technical.macd.extra"]
)
def test_unknown_keys_are_refused_by_name(path):
    table = classic_table()
    place = table
    *parts, last = path.split(".")
    for part in parts:
        place = place[part]
    place[last] = 1
    with pytest.raises(ConfigError, match=f"{path} is unknown; allowed here"):
        parse_policy(table)


@pytest.mark.parametrize("path", ["tiers", "tiers.vote", "layers.MID.delta", "name"])
def test_missing_keys_are_refused_by_name(path):
    table = classic_table()
    place = table
    *parts, last = path.split(".")
    for part in parts:
        place = place[part]
    del place[last]
    with pytest.raises(ConfigError, match=f"{path} is missing"):
        parse_policy(table)


def test_a_section_must_be_a_table():
    with pytest.raises(ConfigError, match="tiers must be a table"):
        parse_policy(classic_table() | {"tiers": 3})


def test_hash_follows_every_number_and_nothing_else():
    table = classic_table()
    assert parse_policy(table).hash == parse_policy(copy.deepcopy(table)).hash == classic().hash
    assert dict(reversed(table.items())).keys() != list(table)
    assert parse_policy(dict(reversed(table.items()))).hash == classic().hash
    assert classic(tiers={"cooldown": "360 min"}).hash == classic().hash
    assert classic(tiers={"cooldown": "6.5 h"}).hash != classic().hash
    assert classic(signals={"coverage": 0.7}).hash != classic().hash
    assert len(classic().hash) == 64


@given(st.floats(0.0, 100.0))
def test_percentages_read_back(value):
    assert percent(0, 100)(f"{value:.6f} %", "k") == pytest.approx(value / 100.0, abs=1e-8)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60 s", 60), ("66min", 3960), ("1.5 h", 5400), ("2 d", 172800)]
)
def test_durations_read(text, seconds):
    assert duration(0, 1e6)(text, "k") == seconds
