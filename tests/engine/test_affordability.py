"""Whether R9 lets a tier's share of R8 be bought in one session, on quotes at stressed vol."""

from dataclasses import replace

import pytest

from bot.app.stressed_market import EXPOSURES, REALISED_VOL, default_vol, stressed_frame
from bot.engine.affordability import affordability
from bot.engine.protection import price_protection
from bot.model.tier import Tier
from bot.settings import named_policy
from bot.simulation.market.model import load_market

MARKET = load_market()


async def priced(policy, *, exposure=EXPOSURES[0], vol=1.27):
    frame = await stressed_frame(policy, MARKET, exposure=exposure, vol=vol)
    return frame, affordability(policy, frame, group="ETH/USDC")


def with_budget(policy, **changes):
    return replace(policy, budget=replace(policy.budget, **changes))


async def test_session_room_is_a_quarter_of_defined_risk_capital():
    frame, found = await priced(named_policy("steward"))
    assert [item.tier for item in found] == list(Tier)
    assert [item.session_usd for item in found] == pytest.approx([0.25 * 0.04 * 100_000] * 5)
    assert [item.month_usd for item in found] == pytest.approx([0.01 * 100_000] * 5)
    assert [item.wanted_share for item in found] == [0.03, 0.03, 0.03, 0.07, 0.30]
    assert [item.value_usd for item in found] == pytest.approx([100_000] * 5)
    assert frame.exposures[0].value_usd == pytest.approx(100_000)


async def test_what_fits_is_bought_and_what_does_not_is_named():
    _, found = await priced(named_policy("steward"))
    for item in found:
        assert item.listed_share == pytest.approx(item.wanted_share, rel=0.02)
        if item.in_one_session:
            assert item.reached_share == pytest.approx(item.wanted_share, rel=0.02)
        else:
            assert item.reached_share < item.wanted_share
            assert item.caps, item
    assert found[Tier.CALM].in_one_session
    assert found[Tier.CALM].needed_usd < found[Tier.CALM].session_usd
    assert not found[Tier.CRISIS].in_one_session
    assert found[Tier.CRISIS].needed_usd > found[Tier.CRISIS].session_usd


async def test_with_room_for_all_every_tier_fits_at_what_protection_costs():
    steward = named_policy("steward")
    roomy = with_budget(
        replace(steward, cost_guard=replace(steward.cost_guard, carry_floor=1.0)),
        defined_risk_capital=0.9,
        budget_30d=0.9,
        budget_365d=0.9,
        escalation_reserve=False,
    )
    frame, found = await priced(roomy)
    for item in found:
        assert item.in_one_session
        assert item.caps == ()
        bought = price_protection(roomy, frame, group="ETH/USDC", tier=item.tier)
        slip = roomy.orders.max_slippage * bought.premium_usd
        assert item.needed_usd == pytest.approx(bought.cost_usd + slip)


async def test_without_any_room_nothing_is_reached():
    _, found = await priced(with_budget(named_policy("classic"), defined_risk_capital=0.0))
    assert {item.session_usd for item in found} == {0.0}
    assert all(item.reached_share == 0.0 and not item.in_one_session for item in found)


async def test_dearer_options_reach_less_and_a_range_costs_more():
    policy = named_policy("steward")
    _, calm = await priced(policy, vol=0.6)
    _, stress = await priced(policy, vol=1.5)
    assert stress[Tier.CRISIS].needed_usd > calm[Tier.CRISIS].needed_usd
    _, whole = await priced(policy)
    _, narrow = await priced(policy, exposure=EXPOSURES[1])
    assert narrow[Tier.CRISIS].needed_usd > 1.3 * whole[Tier.CRISIS].needed_usd
    assert narrow[Tier.CRISIS].reached_share < whole[Tier.CRISIS].reached_share


async def test_a_layer_that_is_not_listed_is_named():
    policy = named_policy("classic")
    near = replace(policy.layers.NEAR, delta=(0.98, 0.99))
    policy = replace(policy, layers=replace(policy.layers, NEAR=near))
    _, found = await priced(policy)
    assert found[Tier.CRISIS].missing == ("NEAR",)
    assert found[Tier.CALM].missing == ()


async def test_the_paths_of_var_move_with_the_stated_vol():
    frame, found = await priced(named_policy("steward"))
    protection = price_protection(named_policy("steward"), frame, group="ETH/USDC", tier=Tier.CALM)
    assert "Student-t(4)" in protection.var_method
    # v2 V ~ sqrt(S); the 99 % quantile of t(4) is 3.747; EWMA of closes that swing by REALISED_VOL a day
    fall = 1.0 - 2.718281828 ** (-0.5 * 3.7469 * REALISED_VOL * (10 / 365) ** 0.5)
    assert found[Tier.CALM].var_usd == pytest.approx(100_000 * fall, rel=0.03)
    assert default_vol(MARKET) == 1.27
