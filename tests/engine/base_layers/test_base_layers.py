"""The base layers as one decision has them (R19-R21, R29)."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import NOW_S, calm_columns, classic, classic_table, exposure, frame, stressed_columns

from bot.engine.policy import parse_policy
from bot.engine.step import decide
from bot.errors import ConfigError
from bot.model.base_layers import Action, BaseHoldings, BaseLayer, Cover, Loan, ReserveHolding
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import EngineState
from bot.model.tier import Tier
from bot.pipeline.codec import dumps
from bot.settings import PRESETS, PolicySettings, load_policy, named_policy

POLICY = classic()
HOLDINGS = BaseHoldings(
    reserves=(ReserveHolding(asset="USDC", units=60_000.0), ReserveHolding(asset="DAI", units=40_000.0)),
    covers=(Cover(id="c1", protocol="uniswap-v2", amount_usd=50_000.0, expires_s=NOW_S + 9e6),),
    loans=(Loan(position="loan", debt_asset="USDC", debt_units=100_000.0),),
)


def now(metric, subject, value, source="x"):
    times_s = NOW_S - 5.0 - 60.0 * np.arange(2, -1, -1)
    return {SeriesKey(metric, subject, source): Column(times_s=times_s, values=np.full(3, value))}


def proposed(decision):
    return [item.key for item in decision.proposals]


def test_paused_protocol_in_one_decision():
    """R2's CRISIS leads to exit, RESERVE, and no cover; nothing of it is an order."""
    series = calm_columns() | now(Metric.PAUSED, "uniswap-v2", 1.0)
    _, calm = decide(POLICY, EngineState(), frame(base=HOLDINGS))
    _, decision = decide(POLICY, EngineState(), frame(series, base=replace(HOLDINGS, covers=())))
    assert proposed(decision)[:2] == [("R29", "withdraw", "v2:1"), ("R21", "spend", "RESERVE")]
    assert not any(item.layer is BaseLayer.INSURANCE for item in decision.proposals)
    assert "protocol tier CRISIS of uniswap-v2: uniswap-v2 is paused" in decision.proposals[0].because
    assert decision.plan.legs == calm.plan.legs


def test_bridge_coverage_under_90_percent_in_one_decision():
    """S7 of a bridge that backs the stable (R2), cut to under 0.90."""
    policy = classic(dependencies={"USDC": ["arbitrum"]})
    for locked, leaves in ((91.0, False), (90.0, False), (89.9, True)):
        series = calm_columns() | now(Metric.BRIDGE_COVERAGE, "arbitrum", locked / 100.0)
        _, decision = decide(policy, EngineState(), frame(series, base=HOLDINGS))
        assert (("R29", "withdraw", "v2:1") in proposed(decision)) is leaves, locked


def test_a_loan_is_rescued_in_calm():
    series = calm_columns() | now(Metric.HEALTH_FACTOR, "loan", 1.2, "aave_v3")
    _, decision = decide(POLICY, EngineState(), frame(series, base=HOLDINGS))
    assert decision.groups[0].tier is Tier.CALM
    first = decision.proposals[0]
    assert (first.action, first.amount_usd, first.health_after) == (Action.REPAY, 25_000.0, 1.6)


def test_nothing_stated_is_told_and_nothing_is_zero():
    _, decision = decide(POLICY, EngineState(), frame(exposures=(exposure(protocol="mine"),)))
    text = "\n".join(item.because for item in decision.findings)
    assert "no reserve is stated" in text
    assert "insurance.classes does not list mine" in text
    assert "governance type of mine is not listed" in text
    assert not any(item.layer in (BaseLayer.INSURANCE, BaseLayer.RESERVE) for item in decision.proposals)


def test_base_layers_move_no_tier_and_no_order():
    """Same tiers, targets, limits and legs whatever is stated, in calm and in stress."""
    for columns in (calm_columns(), stressed_columns()):
        _, without = decide(POLICY, EngineState(), frame(columns))
        _, beside = decide(POLICY, EngineState(), frame(columns, base=HOLDINGS))
        assert (beside.groups, beside.plan, beside.limits) == (without.groups, without.plan, without.limits)


def test_r25_same_frame_same_bytes_with_proposals():
    series = calm_columns() | now(Metric.HEALTH_FACTOR, "loan", 1.2, "aave_v3")
    first, second = (decide(POLICY, EngineState(), frame(series, base=HOLDINGS))[1] for _ in range(2))
    assert dumps(first) == dumps(second)
    assert first.proposals


def test_no_position_proposes_nothing():
    _, decision = decide(POLICY, EngineState(), frame(exposures=()))
    assert decision.proposals == ()


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_bad_values_never_raise(value):
    bad = replace(exposure(), value_usd=value)
    _, decision = decide(POLICY, EngineState(), frame(exposures=(bad,), base=HOLDINGS))
    assert all(math.isnan(item.amount_usd) or item.amount_usd > 0.0 for item in decision.proposals)


# policy


def test_numbers_of_the_method_in_every_preset():
    for name in PRESETS:
        policy = named_policy(name)
        assert policy.insurance.renew_before == 14 * 86_400.0
        assert (policy.reserve.hf_target, policy.reserve.min_stables) == (1.6, 2)
        assert policy.hard_triggers.hf_min == 1.25
        for section in (policy.exit, policy.reserve):
            assert (section.consent, section.without_asking) == ("ask", False)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "diversification.protocol.share",
            0.6,
            "diversification.protocol.share must be 'off' or a percentage",
        ),
        ("diversification.chain.hhi", 1.1, "from 0.01 to 1"),
        ("diversification.governance_types", {"a": ["x"], "b": ["x"]}, "listed once (a has it too)"),
        ("insurance.renew_before", "0 d", "from 1 d to 90 d"),
        ("insurance.shares", {"dex": 0.05}, "insurance.shares.dex must be a percentage"),
        ("insurance.shares", ["dex"], "a table of percentages"),
        ("insurance.shares", {"dex": "101 %"}, "from 0 % to 100 %"),
        ("insurance.classes", {"unheard": ["x"]}, "insurance.shares.unheard must be stated"),
        ("insurance.classes", {"dex": ["x"], "vault": ["x"]}, "listed once (dex has it too)"),
        ("reserve.hf_target", 1.25, "over hard_triggers.hf_min (1.25)"),
        ("reserve.min_stables", 6, "at most 1 / reserve.min_stables"),
        ("reserve.rescue", "sell", "one of 'repay', 'top up'"),
        ("reserve.consent", "withdraw without asking", "one of 'ask', 'pay without asking'"),
        ("exit.part", "0 %", "from 1 % to 100 %"),
        ("exit.consent", "yes", "one of 'ask', 'withdraw without asking'"),
    ],
)
def test_bad_numbers_are_refused_by_name(path, value, words):
    table = classic_table()
    place = table
    *parts, last = path.split(".")
    for part in parts:
        place = place[part]
    place[last] = value
    with pytest.raises(ConfigError) as caught:
        parse_policy(table)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"), [("exit", "withdraw without asking"), ("reserve", "pay without asking")]
)
def test_a_bot_takes_the_words_that_nobody_is_asked_for(tmp_path, section, words):
    """Each for its own rule: who may leave alone may not pay alone (R21, R29)."""
    file = tmp_path / "mine.toml"
    file.write_text(f'name = "mine"\nextends = "steward"\n{section}.consent = "{words}"\n')
    policy = load_policy(PolicySettings(file=file))
    found = {"exit": policy.exit.without_asking, "reserve": policy.reserve.without_asking}
    assert found == {name: name == section for name in found}
