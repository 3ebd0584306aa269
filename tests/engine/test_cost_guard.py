"""R11: the cap on net carry, against sums worked out by hand."""

import math

import pytest
from engine.factory import (
    FEED,
    GROUP,
    NOW_S,
    SPOT,
    calm_columns,
    classic,
    exposure,
    flat,
    frame,
    option,
    quote,
)
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.cost_guard import CARRY_CAP, carry_caps, cost_finding
from bot.engine.group import read_group
from bot.model.hedge import Layer, Spend, SpendKind
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.quant.options import price

POLICY = classic()


def cap_of(tier=Tier.GUARDED, *, policy=POLICY, spends=(), **changes):
    known = {"columns": calm_columns() | {FEED: flat(SPOT)}, "exposures": (exposure(fee_income_30d_usd=8e3),)}
    at = frame(spends=spends, **(known | changes))
    return carry_caps(policy, read_group(policy, at, GROUP), tier, at)


def spent(usd, *, days=1.0, kind=SpendKind.PREMIUM, layer=Layer.MID, group="ETH.USDC"):
    return Spend(at_s=NOW_S - days * DAY_S, usd=usd, kind=kind, leg_key=f"p-{group}-{layer}-0", layer=layer)


@pytest.mark.parametrize(
    ("tier", "fees_usd", "limit_usd"),
    [
        (Tier.CALM, 8_000.0, 4_000.0),
        (Tier.GUARDED, 8_000.0, 4_000.0),
        (Tier.ELEVATED, 8_000.0, 8_000.0),
        (Tier.SEVERE, 8_000.0, math.inf),
        (Tier.CRISIS, 8_000.0, math.inf),
        (Tier.GUARDED, 5_000.0, 2_500.0),  # 50 % of fees is 25 bps of 1m exactly
        (Tier.GUARDED, 4_999.0, 2_500.0),  # under it the floor counts
        (Tier.GUARDED, 0.0, 2_500.0),
        (Tier.GUARDED, math.nan, 2_500.0),  # unknown: the floor alone
        (Tier.ELEVATED, math.nan, 5_000.0),
    ],
)
def test_r11_limit_by_tier_and_fees(tier, fees_usd, limit_usd):
    cap = cap_of(tier, exposures=(exposure(fee_income_30d_usd=fees_usd),))
    assert cap.limit_usd == pytest.approx(limit_usd)
    assert cap.name == CARRY_CAP
    assert ("unknown, not counted" in cap.because) is (math.isnan(fees_usd) and tier < Tier.SEVERE)


@pytest.mark.parametrize(
    ("spends", "used_usd"),
    [
        ([], 0.0),
        ([spent(100.0)], 100.0),
        ([spent(100.0, days=29.999)], 100.0),
        ([spent(100.0, days=30.0)], 0.0),  # left the window
        ([spent(100.0), spent(-30.0, kind=SpendKind.PROCEEDS)], 70.0),
        (  # half of a profit goes to RESERVE (R28) and buys no carry
            [spent(100.0), spent(-90.0, kind=SpendKind.PROCEEDS), spent(30.0, kind=SpendKind.SET_ASIDE)],
            40.0,
        ),
        ([spent(100.0), spent(-900.0, kind=SpendKind.PROCEEDS)], 0.0),  # a profit is no room beyond the limit
        ([spent(100.0, kind=SpendKind.RESERVED, days=40.0)], 100.0),  # may still be spent
        ([spent(100.0, layer=Layer.TAIL)], 0.0),  # the standing share's
        ([spent(100.0, group="BTC.USDC")], 0.0),
        ([Spend(at_s=NOW_S, usd=100.0, kind=SpendKind.PREMIUM, leg_key="x", layer=Layer.MID)], 100.0),
    ],
)
def test_r11_counts_what_was_spent_in_thirty_days(spends, used_usd):
    cap = cap_of(spends=tuple(spends))
    assert cap.used_usd == pytest.approx(used_usd)
    assert cap.room_usd == pytest.approx(cap.limit_usd - used_usd)
    if spends and used_usd == 100.0 and spends[0].kind is SpendKind.PREMIUM:
        assert cap.frees_at_s == spends[0].at_s + 30 * DAY_S


def test_r11_a_spend_that_is_not_known_leaves_no_room():
    cap = cap_of(spends=(spent(math.nan),))
    assert math.isnan(cap.used_usd)
    assert cap.room_usd == 0.0


@pytest.mark.parametrize("days", [5.0, 29.0, 30.0, 45.0, 75.0])
def test_r11_net_carry_is_cost_less_what_is_left_plus_capital(days):
    cap, offered = cap_of(), quote(option(1_800, days))
    years = max(days - 30.0, 0.0) / 365.0
    left_usd = float(price(cap.spot_usd, 1_800.0, years, offered.iv, is_put=True))
    held_years = min(days, 30.0) / 365.0
    paid_usd = (offered.premium_usd + offered.swap_usd) / offered.size
    expected = paid_usd - left_usd + 0.05 * held_years * paid_usd
    assert cap.carry_usd(offered, 3.0) == pytest.approx(3.0 * expected, rel=1e-12)


def test_r11_room_in_contracts_keeps_gas_free():
    cap, offered = cap_of(), quote(option(1_800, 30), gas_usd=2.0)
    contracts = cap.affordable(offered, 1_000.0)
    assert cap.carry_usd(offered, contracts) + offered.gas_usd == pytest.approx(1_000.0)
    assert cap.affordable(offered, 2.0) == 0.0
    assert cap.affordable(offered, math.inf) == math.inf
    assert cap_of(exposures=(exposure(spot_usd=math.nan),), columns={}).affordable(offered, 1e3) == 0.0


def test_r11_says_what_binds():
    cap = cap_of(spends=(spent(100.0),))
    finding = cost_finding(cap, planned_usd=250.0, bound=True)
    assert (finding.rule, finding.fired) == ("R11", True)
    assert "250 USD and 100 spent" in finding.because
    assert "50% of 30 days' fees is 4,000, 0.25% of exposure is 2,500" in finding.because
    assert not cost_finding(cap_of(Tier.SEVERE), planned_usd=1e9, bound=False).fired


@given(
    strike=st.sampled_from([1_000, 1_600, 2_000, 2_600]),
    days=st.floats(1.0, 200.0),
    iv=st.floats(0.2, 3.0),
    spread=st.floats(-0.3, 1.0),
)
def test_r11_carry_is_never_negative_and_grows_with_size(strike, days, iv, spread):
    cap, offered = CAP, quote(option(strike, days), iv=iv, spread=spread)
    one = cap.carry_usd(offered, 1.0)
    assert one >= 0.0
    assert cap.carry_usd(offered, 7.0) == pytest.approx(7.0 * one)


CAP = cap_of()
