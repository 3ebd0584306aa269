"""What `alvh plan` prints: prices by tier from the same sizing as a decision."""

import pytest
from engine.factory import GROUP, board, classic, frame

from bot.engine.protection import price_protection
from bot.engine.step import decide
from bot.errors import NotFoundError
from bot.model.hedge import Layer
from bot.model.record import EngineState
from bot.model.tier import Tier

POLICY = classic(
    budget={"budget_30d": "3 %", "defined_risk_capital": "12 %"}, cost_guard={"carry_floor": "100 %"}
)


@pytest.mark.parametrize(
    ("tier", "layers"), [(Tier.CALM, 1), (Tier.GUARDED, 2), (Tier.ELEVATED, 3), (Tier.SEVERE, 3)]
)
def test_layers_and_share_follow_the_tier(tier, layers):
    found = price_protection(POLICY, frame(), group=GROUP, tier=tier)
    assert len(found.legs) == layers
    assert found.covered_share == pytest.approx(found.wanted_share, abs=1e-3)
    assert found.wanted_share == POLICY.sizing.shares.of(tier)
    assert found.shortfalls == ()


def test_calm_costs_what_a_decision_would_pay():
    found = price_protection(POLICY, frame(), group=GROUP, tier=Tier.CALM)
    _, decision = decide(POLICY, EngineState(), frame())
    (leg,) = decision.plan.legs
    assert found.legs[0].instrument == leg.instrument
    assert found.legs[0].contracts == leg.size
    assert found.premium_usd == pytest.approx(leg.expected_usd)


def test_money_adds_up():
    found = price_protection(POLICY, frame(), group=GROUP, tier=Tier.SEVERE)
    assert found.cost_usd == pytest.approx(found.premium_usd + found.swap_and_gas_usd)
    for leg in found.legs:
        assert leg.carry_usd_year == pytest.approx(leg.cost_usd / leg.dte * 365.0)
        assert leg.break_even_usd < leg.instrument.strike_usd
        assert leg.fee_usd < leg.premium_usd
    assert found.carry_share_year == pytest.approx(found.carry_usd_year / found.value_usd)


def test_a_fall_hurts_less_with_the_hedge():
    found = price_protection(POLICY, frame(), group=GROUP, tier=Tier.SEVERE)
    assert [row.move for row in found.losses] == [-0.2, -0.4, -0.6]
    for row in found.losses:
        assert row.hedged_now_usd < row.unhedged_usd
        # V(S) = V0 sqrt(S / S0): worked out for a v2 position.
        assert row.unhedged_usd == pytest.approx(found.value_usd * (1.0 - (1.0 + row.move) ** 0.5))


def test_indicative_quotes_price_but_never_trade():
    at = frame(quotes=board(indicative=True))
    assert price_protection(POLICY, at, group=GROUP, tier=Tier.CALM).legs[0].layer is Layer.TAIL
    _, decision = decide(POLICY, EngineState(), at)
    assert decision.plan.legs == ()


def test_caps_show_as_shortfalls():
    found = price_protection(classic(), frame(), group=GROUP, tier=Tier.SEVERE)
    assert {item.cap for item in found.shortfalls} == {"30-day budget (R9)"}
    assert found.covered_share < found.wanted_share


def test_nothing_listed_is_all_shortfall():
    found = price_protection(POLICY, frame(quotes=()), group=GROUP, tier=Tier.SEVERE)
    assert found.legs == ()
    assert {item.layer for item in found.shortfalls} == set(Layer)
    assert all(item.missing == 1.0 for item in found.shortfalls)


def test_unknown_group_is_not_found():
    with pytest.raises(NotFoundError, match="no hedge group 'BTC/USDC'"):
        price_protection(POLICY, frame(), group="BTC/USDC", tier=Tier.CALM)
