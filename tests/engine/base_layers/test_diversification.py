"""R19: shares and HHI by protocol, chain, governance type and stable, their limits, and the repair."""

import math
from dataclasses import replace

import pytest
from engine.factory import NOW_S, classic, exposure, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.base_layers.diversification import concentrations, diversification, worth_usd
from bot.engine.policy_base import ConcentrationLimits
from bot.model.base_layers import Action, Needs
from bot.model.tier import Tier

OFF = {"share": "off", "hhi": "off"}


def policy(**limits):
    """Classic with the named limits alone: ``policy(protocol={"share": "60 %"})``."""
    table = {name: OFF | limits.get(name, {}) for name in ("protocol", "chain", "governance", "stable")}
    types = {"governance_types": limits["types"]} if "types" in limits else {}
    return classic(diversification=table | types)


def book(*values, **fields):
    """Positions p0, p1, …: each in a protocol, chain and stable of its own unless said."""
    chosen = {
        "protocol": [f"p{i}" for i in range(20)],
        "stable": ["USDC"] * 20,
        "chain_id": [1] * 20,
    } | fields
    return tuple(
        exposure(value, id=f"e{i}", **{name: each[i] for name, each in chosen.items()})
        for i, value in enumerate(values)
    )


def look(policy, *exposures, tiers=None, **changes):
    return diversification(policy, frame(exposures=exposures, quotes=(), **changes), tiers or {})


@pytest.mark.parametrize(
    ("values", "moved"),
    [
        ((59.0, 41.0), 0.0),
        ((60.0, 40.0), 0.0),  # at the limit
        ((60.0 + 1e-7, 40.0 - 1e-7), 1e-7),
        ((61.0, 39.0), 1.0),
        ((100.0,), 40.0),
        ((0.0, 100.0), 40.0),
        ((20.0, 20.0, 60.0), 0.0),
    ],
)
def test_r19_share_limit(values, moved):
    proposals, findings = look(policy(protocol={"share": "60 %"}), *book(*values))
    assert [item.fired for item in findings] == [moved > 0.0, False, False, False]
    assert sum(item.amount_usd for item in proposals) == pytest.approx(moved, rel=1e-6)
    for item in proposals:
        assert (item.rule, item.action, item.subject) == ("R19", Action.MOVE, "protocol")
        assert item.needs is Needs.CONFIRMATION
        assert sum(move.usd for move in item.moves) == item.amount_usd


@pytest.mark.parametrize(
    ("values", "moved"), [((50.0, 50.0), 0.0), ((70.0, 30.0), 0.0), ((71.0, 29.0), 1.0), ((100.0,), 30.0)]
)
def test_r19_hhi_limit(values, moved):
    proposals, findings = look(policy(stable={"hhi": 0.58}), *book(*values, stable=list("ABCDEFGHI")))
    assert [item.fired for item in findings] == [False, False, False, moved > 0.0]
    assert sum(item.amount_usd for item in proposals) == pytest.approx(moved)


@pytest.mark.parametrize(
    ("dimension", "fields", "subject", "source"),
    [
        ("protocol", {"protocol": ["x", "x", "y"]}, "protocol", "x"),
        ("chain", {"chain_id": [1, 1, 10]}, "chain", "chain 1"),
        ("governance", {"protocol": ["uniswap-v2", "curve", "gmx"]}, "governance type", "votes"),
        ("stable", {"stable": ["DAI", "DAI", "USDC"]}, "stable", "DAI"),
    ],
)
def test_r19_every_dimension(dimension, fields, subject, source):
    rules = policy(
        **{dimension: {"share": "60 %"}}, types={"votes": ["uniswap-v2", "curve"], "multisig": ["gmx"]}
    )
    (proposal,), findings = look(rules, *book(50.0, 30.0, 20.0, **fields))
    assert proposal.subject == subject
    (move,) = proposal.moves
    assert (move.source, move.usd) == (source, pytest.approx(20.0))
    assert proposal.because in {item.because for item in findings if item.fired}
    assert "80.0%" in proposal.because
    assert "limit 60%" in proposal.because


def test_r19_off_limits_nothing_and_the_figures_stay():
    proposals, findings = look(policy(), *book(100.0))
    assert proposals == ()
    assert len(findings) == 4
    assert "p0 has 100.0% of exposure; HHI 1.000" in findings[0].because


def test_r19_money_never_goes_where_the_protocol_tier_is_above_guarded():
    rules, held = policy(protocol={"share": "60 %"}), book(80.0, 15.0, 5.0)
    (calm,), _ = look(rules, *held, tiers={"p2": Tier.GUARDED})
    assert {item.target for item in calm.moves} == {"p1", "p2"}
    (moved,), _ = look(rules, *held, tiers={"p2": Tier.ELEVATED})
    assert {item.target for item in moved.moves} == {"p1"}
    (fresh,), _ = look(rules, *held, tiers={"p1": Tier.SEVERE, "p2": Tier.ELEVATED, "p0": Tier.CRISIS})
    assert {item.target for item in fresh.moves} == {"another protocol"}


def test_r19_an_unlisted_governance_type_is_unknown_not_nothing():
    rules = policy(governance={"share": "60 %", "hhi": 0.5}, types={"votes": ["uniswap-v2"]})
    fields = {"protocol": ["uniswap-v2", "mine"]}
    (proposal,), findings = look(rules, *book(70.0, 30.0, **fields))
    assert "governance type of mine is not listed" in findings[2].because
    assert "HHI unknown" in findings[2].because
    assert [item.usd for item in proposal.moves] == [pytest.approx(10.0)]  # what is not listed stays
    proposals, findings = look(rules, *book(30.0, 70.0, **fields))
    assert proposals == ()
    assert not findings[2].fired
    _, findings = look(rules, *book(30.0, 70.0, protocol=["mine", "yours"]))
    assert "mine, yours is not listed" in findings[2].because


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_r19_an_unknown_value_proposes_nothing(value):
    bad = replace(exposure(id="bad"), value_usd=value)
    proposals, findings = look(classic(), *book(100.0), bad)
    assert proposals == ()
    assert not any(item.fired for item in findings)
    assert all("bad has no value" in item.because for item in findings)


def test_r19_an_unread_position_proposes_nothing():
    proposals, findings = look(classic(), *book(100.0), unseen=("v3:7",))
    assert proposals == ()
    assert all("v3:7 was not read" in item.because for item in findings)


def test_r19_nothing_held():
    for held in ((), book(0.0)):
        proposals, findings = look(classic(), *held)
        assert proposals == ()
        assert all("nothing is held" in item.because for item in findings)


def test_r19_uncollected_fees_are_exposure():
    assert worth_usd(exposure(100.0, fees_uncollected_usd=5.0)) == 105.0
    assert worth_usd(exposure(100.0, fees_uncollected_usd=math.nan)) == 100.0
    assert math.isnan(worth_usd(replace(exposure(), value_usd=math.nan)))


def test_r19_figures_of_a_spread_book():
    found = {
        item.dimension: item for item in concentrations(classic(), frame(exposures=book(50.0, 30.0, 20.0)))
    }
    spread = found["protocol"]
    assert spread.shares == (("p0", 0.5), ("p1", 0.3), ("p2", 0.2))
    assert spread.hhi == pytest.approx(0.38)
    assert (spread.share_limit, spread.hhi_limit) == (0.6, 0.5)
    assert found["chain"].largest == ("chain 1", 1.0)
    assert math.isnan(found["governance type"].hhi)


@given(
    st.lists(st.floats(1.0, 1e7), min_size=1, max_size=7),
    st.floats(0.15, 1.0),
    st.floats(0.15, 1.0),
    st.sets(st.sampled_from([f"p{i}" for i in range(7)])),
)
@settings(max_examples=60, deadline=None)
def test_r19_once_the_proposal_is_done_the_limits_hold(values, share, hhi, in_trouble):
    limits = ConcentrationLimits(share=share, hhi=hhi)
    rules = policy()
    object.__setattr__(rules.diversification, "protocol", limits)  # any number, not only what a file states
    tiers = dict.fromkeys(in_trouble, Tier.SEVERE)
    proposals, _ = look(rules, *book(*values), tiers=tiers)
    held = {f"p{i}": value for i, value in enumerate(values)}
    for move in (move for item in proposals for move in item.moves):
        assert move.target not in in_trouble
        held[move.source] -= move.usd
        held[move.target] = held.get(move.target, 0.0) + move.usd
    after = book(*held.values(), protocol=list(held))
    again, findings = look(rules, *after, tiers=tiers)
    assert again == ()
    assert not findings[0].fired


def test_r19_is_the_same_whatever_the_order():
    held = book(50.0, 30.0, 15.0, 5.0)
    one = look(classic(), *held)
    two = look(classic(), *reversed(held), now_s=NOW_S)
    assert one == two
