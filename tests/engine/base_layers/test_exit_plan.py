"""R29: what leaves a protocol in CRISIS, who must agree, and what becomes of the hedges."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, NOW_S, classic, exposure, frame, held, option
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.base_layers.exit_plan import exit_plan, exit_plans
from bot.engine.policy_base import WITHDRAW_WITHOUT_ASKING
from bot.model.base_layers import Action, Needs
from bot.model.hedge import Layer
from bot.model.record import ProtocolDecision
from bot.model.tier import RuleFinding, Tier

POLICY = classic()
COVERAGE = "coverage of arbitrum 89.00%, under 90%"


def decided(protocol, tier, because=COVERAGE):
    finding = RuleFinding(rule="R2", fired=True, because=because, tier=tier)
    return ProtocolDecision(
        protocol=protocol, tier=tier, previous_tier=Tier.CALM, groups=(GROUP,), findings=(finding,)
    )


def look(*protocols, market=None, policy=POLICY, **changes):
    return exit_plan(policy, frame(quotes=(), **changes), market or {}, protocols)


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("name", ["uniswap-v2", "USDC", "ETH"])
def test_r29_on_protocol_tier_crisis_alone(tier, name):
    """S7 under 0.90 is CRISIS of what the bridge backs, such as a stable (R2)."""
    proposals, (found,) = look(decided(name, tier))
    assert found.fired is bool(proposals) is (tier is Tier.CRISIS)
    for item in proposals:
        assert (item.rule, item.action, item.subject) == ("R29", Action.WITHDRAW, "v2:1")
        assert (item.amount_usd, item.part, item.needs) == (1e6, 1.0, Needs.CONFIRMATION)
        assert f"protocol tier CRISIS of {name}: {COVERAGE}" in item.because


def test_r29_another_protocol_in_crisis_moves_nothing():
    proposals, (found,) = look(decided("aave-v3", Tier.CRISIS))
    assert proposals == ()
    assert "no position must leave" in found.because


@pytest.mark.parametrize(("stated", "part"), [("100 %", 1.0), ("40 %", 0.4), ("1 %", 0.01)])
def test_r29_part_or_all(stated, part):
    (item,), _ = look(decided("uniswap-v2", Tier.CRISIS), policy=classic(exit={"part": stated}))
    assert (item.part, item.amount_usd) == pytest.approx((part, part * 1e6))
    assert f"withdraw {part:.0%} of v2:1" in item.because


def test_r29_by_itself_only_where_the_policy_says_so_in_words():
    alone = classic(exit={"consent": WITHDRAW_WITHOUT_ASKING})
    (item,), _ = look(decided("uniswap-v2", Tier.CRISIS), policy=alone)
    assert item.needs is Needs.NOBODY
    (item,), _ = look(policy=alone, market={GROUP: Tier.CRISIS})
    assert item.needs is Needs.CONFIRMATION, "a market tier never leaves by itself"


@pytest.mark.parametrize("tier", list(Tier))
def test_r29_market_tier_crisis_proposes_as_r8_says(tier):
    proposals, _ = look(market={GROUP: tier})
    assert [(item.part, item.amount_usd) for item in proposals] == [(0.5, 5e5)] * (tier is Tier.CRISIS)
    proposals, _ = look(market={GROUP: tier}, policy=classic(exit={"market_part": "off"}))
    assert proposals == ()


def test_r29_the_protocol_comes_before_the_market():
    (item,), _ = look(decided("uniswap-v2", Tier.CRISIS), market={GROUP: Tier.CRISIS})
    assert item.part == 1.0


def test_r29_a_tier_that_only_lasts_says_so():
    quiet = replace(decided("uniswap-v2", Tier.CRISIS), findings=())
    (item,), _ = look(quiet)
    assert "asked for before, its cooldown is not over" in item.because


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_r29_an_unknown_value_leaves_all_the_same(value):
    (item,), _ = look(decided("uniswap-v2", Tier.CRISIS), exposures=(replace(exposure(), value_usd=value),))
    assert math.isnan(item.amount_usd)
    assert item.part == 1.0
    assert "its value is not known" in item.because


def test_r29_what_was_not_read_is_named():
    _, (found,) = look(unseen=("v3:7",))
    assert "v3:7 was not read" in found.because


def test_r29_hedges_of_what_left_are_left_to_r18():
    mine = held(option(1_600.0, 75.0), Layer.TAIL, 3.0)
    other = held(option(1_500.0, 75.0), Layer.TAIL, 3.0, group="BTC/USDC")
    anyones = held(option(1_400.0, 75.0), Layer.TAIL, 3.0, group="")
    state = {
        "held": (mine, other, anyones),
        "exposures": (exposure(), exposure(3e6, id="v2:2", protocol="x")),
    }
    (plan,) = exit_plans(POLICY, frame(quotes=(), **state), {}, [decided("uniswap-v2", Tier.CRISIS)])
    assert plan.hedges == (mine.id, anyones.id)
    assert plan.group_part == pytest.approx(0.25)
    (item,), _ = look(decided("uniswap-v2", Tier.CRISIS), **state)
    assert "stay until it has left" in item.follows
    assert "shrinks by 25% (R8) and R18 closes" in item.follows
    (item,), _ = look(decided("uniswap-v2", Tier.CRISIS))
    assert item.follows == f"{GROUP} holds no hedge"


@given(
    values=st.lists(st.floats(1.0, 1e7), min_size=1, max_size=5),
    bad=st.sets(st.integers(0, 4)),
    part=st.integers(1, 100),
)
@settings(max_examples=40, deadline=None)
def test_r29_never_more_than_there_is_and_only_what_is_concerned(values, bad, part):
    exposures = tuple(exposure(value, id=f"e{i}", protocol=f"p{i}") for i, value in enumerate(values))
    protocols = [decided(f"p{i}", Tier.CRISIS) for i in sorted(bad)]
    policy = classic(exit={"part": f"{part} %"})
    proposals, _ = look(*protocols, policy=policy, exposures=exposures, now_s=NOW_S)
    assert [item.subject for item in proposals] == [f"e{i}" for i in range(len(values)) if i in bad]
    for item in proposals:
        assert 0.0 < item.amount_usd <= values[int(item.subject[1:])]
