"""R21: what RESERVE is worth, when it may be spent, and how a loan gets its health back."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import GROUP, NOW_S, calm_columns, classic, exposure, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.base_layers.reserve import released_by, rescue, reserve, reserve_state
from bot.engine.step import decide
from bot.model.base_layers import (
    Action,
    BaseHoldings,
    Collateral,
    LendingPosition,
    Loan,
    Needs,
    ReserveHolding,
)
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import EngineState
from bot.model.tier import RuleFinding, Tier

POLICY = classic()
TARGET = 100_000.0  # 10 % of the factory's million
_, CALM = decide(POLICY, EngineState(), frame(quotes=()))
CALM_GROUPS = CALM.groups


def rows(*values, age_s=5.0):
    times_s = NOW_S - age_s - 60.0 * np.arange(len(values) - 1, -1, -1)
    return Column(times_s=times_s, values=np.array(values, dtype=float))


def health(*values, position="loan", source="aave_v3", **changes):
    return {SeriesKey(Metric.HEALTH_FACTOR, position, source): rows(*values, **changes)}


def prices(**values):
    return {SeriesKey(Metric.PRICE_USD, name, "chainlink:x"): rows(value) for name, value in values.items()}


def stables(**units):
    return tuple(ReserveHolding(asset=name, units=value) for name, value in units.items())


def loan(**changes):
    return replace(Loan(position="loan", debt_asset="USDC", debt_units=100_000.0), **changes)


def at(*reserves, loans=(), series=None, **changes):
    columns = calm_columns() | (series or {})
    base = BaseHoldings(reserves=reserves, loans=loans)
    return frame(columns, base=base, quotes=(), **changes)


def look(*reserves, tier=Tier.CALM, protocols=None, policy=POLICY, **changes):
    groups = [replace(item, tier=tier) for item in CALM_GROUPS]
    return reserve(policy, at(*reserves, **changes), groups, protocols or {})


# what it is worth


@pytest.mark.parametrize(
    ("holding", "stables_usd", "real_usd"),
    [
        (ReserveHolding(asset="USDC", units=100.0), 100.0, 0.0),  # no price source: par
        (ReserveHolding(asset="DAI", units=100.0), 95.0, 0.0),
        (ReserveHolding(asset="GUSD", units=100.0), 100.0, 0.0),  # over par counts as par
        (ReserveHolding(asset="USDX", units=100.0, price_usd=0.9), 90.0, 0.0),
        (ReserveHolding(asset="USDX", units=100.0, price_usd=1.1), 100.0, 0.0),
        (ReserveHolding(asset="USTB", units=10.0, is_real_asset=True), 0.0, 90.0),  # 10 % haircut
        (ReserveHolding(asset="RWA", units=10.0, is_real_asset=True, price_usd=2.0), 0.0, 18.0),
        (ReserveHolding(asset="USDC", watched="safe/USDC"), 70.0, 0.0),
        (ReserveHolding(asset="USDC", units=0.0), 0.0, 0.0),
    ],
)
def test_r21_worth_of_a_holding(holding, stables_usd, real_usd):
    series = prices(DAI=0.95, GUSD=1.05, USTB=10.0) | {
        SeriesKey(Metric.TOKEN_UNITS, "safe/USDC", "tvl"): rows(50.0, 70.0)
    }
    state = reserve_state(POLICY, at(holding, series=series))
    assert (state.spendable_usd, state.real_assets_usd) == pytest.approx((stables_usd, real_usd))
    assert state.counted_usd == pytest.approx(stables_usd + real_usd)
    assert state.unknown == ()


@pytest.mark.parametrize(
    ("holding", "words"),
    [
        (ReserveHolding(asset="DAI", units=100.0), "DAI: its price is not known"),
        (ReserveHolding(asset="RWA", units=1.0, is_real_asset=True), "RWA: no source has the price"),
        (ReserveHolding(asset="USTB", units=1.0, is_real_asset=True), "USTB: "),
        (ReserveHolding(asset="USDC"), "USDC: nan units"),
        (ReserveHolding(asset="USDC", units=-1.0), "USDC: -1 units"),
        (ReserveHolding(asset="USDC", units=math.inf), "USDC: inf units"),
        (ReserveHolding(asset="USDC", watched="safe/USDC"), "USDC: token_units:safe/USDC"),
        (ReserveHolding(asset="USDC", watched="nobody/USDC"), "no source has token_units of nobody/USDC"),
    ],
)
def test_r21_what_cannot_be_valued_is_named_and_counts_nothing(holding, words):
    series = prices(DAI=math.nan, USTB=math.nan) | {
        SeriesKey(Metric.TOKEN_UNITS, "safe/USDC", "tvl"): rows(math.nan)
    }
    state = reserve_state(POLICY, at(holding, series=series))
    assert state.counted_usd == 0.0
    assert words in state.unknown[0]
    proposals, findings = look(holding, series=series)
    assert proposals == ()
    assert words in findings[-1].because
    assert "nothing is added while" in findings[-1].because


# when it may be spent


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("protocol", [None, Tier.ELEVATED, Tier.SEVERE, Tier.CRISIS])
def test_r21_spent_at_severe_of_market_or_protocol(tier, protocol):
    protocols = {} if protocol is None else {"USDC": protocol}
    proposals, _ = look(*stables(USDC=60_000.0, DAI=40_000.0), tier=tier, protocols=protocols)
    may = tier >= Tier.SEVERE or (protocol is not None and protocol >= Tier.SEVERE)
    assert [(item.action, item.amount_usd) for item in proposals] == [(Action.SPEND, 100_000.0)] * may


@pytest.mark.parametrize("fired", [True, False])
def test_r21_spent_by_r6(fired):
    found = RuleFinding(rule="R6", fired=fired, because="liquidity leaves")
    groups = [replace(item, findings=(found,)) for item in CALM_GROUPS]
    assert released_by(groups, {}) == (f"R6 in {GROUP}" if fired else "")


def test_r21_nothing_left_to_spend_proposes_nothing():
    proposals, findings = look(*stables(USDC=0.0), tier=Tier.CRISIS)
    assert proposals == ()
    assert "may be spent: market tier CRISIS" in findings[-1].because


# how large it is


@pytest.mark.parametrize(
    ("units", "added"),
    [(0.0, 100_000.0), (79_999.0, 20_001.0), (80_000.0, 0.0), (100_000.0, 0.0), (3e5, 0.0)],
)
def test_r21_filled_up_to_the_share_of_exposure(units, added):
    half = 0.5 * units
    proposals, _ = look(*stables(USDC=half, DAI=half))
    assert [(item.action, item.amount_usd) for item in proposals] == [(Action.ADD, added)] * (added > 0.0)


@pytest.mark.parametrize(
    ("units", "moved"),
    [
        ({"USDC": 100_000.0}, 20_000.0),
        ({"USDC": 80_000.0, "DAI": 20_000.0}, 0.0),  # min_part, 20 %
        ({"USDC": 81_000.0, "DAI": 19_000.0}, 1_000.0),
        ({"USDC": 85_000.0, "DAI": 10_000.0, "USDT": 5_000.0}, 10_000.0),
        ({"USDC": 60_000.0, "DAI": 20_000.0, "USDT": 20_000.0}, 0.0),
    ],
)
def test_r21_in_two_stables_or_more(units, moved):
    proposals, findings = look(*stables(**units))
    assert [(item.action, item.amount_usd) for item in proposals] == [(Action.SPLIT, moved)] * (moved > 0.0)
    assert ("2 are wanted" in findings[-1].because) is (moved > 0.0)


def test_r21_real_assets_fill_the_buffer_but_are_not_spent():
    bonds = ReserveHolding(asset="USTB", units=200_000.0, is_real_asset=True, price_usd=1.0)
    proposals, _ = look(bonds)
    assert proposals == ()
    proposals, _ = look(bonds, tier=Tier.SEVERE)
    assert proposals == ()
    proposals, _ = look(bonds, series=health(1.2), loans=(loan(),))
    assert [item.from_reserve_usd for item in proposals] == [0.0]


def test_r21_no_reserve_is_absent_and_not_zero():
    proposals, findings = look()
    assert proposals == ()
    assert "no reserve is stated as [[reserves]]" in findings[-1].because
    assert "100,000 USD wanted" in findings[-1].because


@pytest.mark.parametrize(
    "changes", [{"unseen": ("v3:7",)}, {"exposures": (replace(exposure(), value_usd=math.nan),)}]
)
def test_r21_an_unknown_exposure_adds_nothing(changes):
    proposals, findings = look(*stables(USDC=1.0, DAI=1.0), **changes)
    assert proposals == ()
    assert "its target is not known" in findings[-1].because


# loans


@pytest.mark.parametrize(
    ("value", "tier", "acts"),
    [
        (1.25, Tier.CALM, False),
        (1.2499, Tier.CALM, True),
        (1.2499, Tier.CRISIS, True),
        (1.4, Tier.ELEVATED, False),
        (1.4, Tier.SEVERE, True),  # RESERVE may be spent: up to hf_target
        (1.6, Tier.SEVERE, False),
        (0.0, Tier.CALM, True),
        (1e6, Tier.CRISIS, False),  # no debt
    ],
)
def test_r21_which_loans_are_rescued(value, tier, acts):
    proposals, findings = look(
        *stables(USDC=50_000.0, DAI=50_000.0), series=health(value), loans=(loan(),), tier=tier
    )
    found = [item for item in proposals if item.subject == "loan"]
    assert [item.action for item in found] == [Action.REPAY] * acts
    assert [item.needs for item in found] == [Needs.CONFIRMATION] * acts
    assert findings[0].fired is acts


def test_r21_repay_by_hand():
    """Health 1.2 of 100,000: 1.2 x 100,000 / 1.6 = 75,000 may stay."""
    (proposal,), _ = look(*stables(USDC=50_000.0, DAI=50_000.0), series=health(1.2), loans=(loan(),))
    assert (proposal.action, proposal.amount_usd, proposal.from_reserve_usd) == (
        Action.REPAY,
        25_000.0,
        25_000.0,
    )
    assert (proposal.health_after, proposal.part) == (1.6, 0.25)
    assert (
        "repay 25,000.00 USD in USDC (25.0% of the debt): 1.600 after it; RESERVE pays it" in proposal.because
    )


def test_r21_top_up_by_hand():
    """Health 1.2 of 100,000: 40,000 of backing are missing; at 0.8 that is 50,000 of collateral."""
    policy = classic(reserve={"rescue": "top up"})
    state = {"series": health(1.2), "policy": policy}
    (proposal,), _ = look(
        *stables(USDC=60_000.0, DAI=40_000.0),
        loans=(loan(top_up_asset="USDC", top_up_threshold=0.8),),
        **state,
    )
    assert (proposal.action, proposal.amount_usd) == (Action.TOP_UP, 50_000.0)
    assert proposal.health_after == pytest.approx(1.6)
    assert math.isnan(proposal.part)
    (proposal,), _ = look(*stables(USDC=60_000.0, DAI=40_000.0), loans=(loan(),), **state)
    assert proposal.action is Action.REPAY, "without a threshold it cannot be topped up"


def test_r21_reserve_that_does_not_suffice():
    proposals, _ = look(*stables(USDC=8_000.0, DAI=2_000.0), series=health(1.2), loans=(loan(),))
    first = proposals[0]
    assert (first.amount_usd, first.from_reserve_usd) == (25_000.0, 10_000.0)
    assert (first.health_after, first.health_after_reserve) == pytest.approx((1.6, 1.2 / 0.9))
    assert "15,000.00 USD must come from elsewhere" in first.because


def test_r21_worst_first_and_never_more_than_there_is():
    series = health(1.2, position="one") | health(1.1, position="two")
    loans = (loan(position="one"), loan(position="two"))
    proposals, _ = look(*stables(USDC=20_000.0, DAI=20_000.0), series=series, loans=loans)
    found = [(item.subject, item.amount_usd, item.from_reserve_usd) for item in proposals[:2]]
    assert found == [("two", 31_250.0, 31_250.0), ("one", 25_000.0, 8_750.0)]


def test_r21_without_a_reserve_the_amount_is_told():
    (proposal,), _ = look(series=health(1.2), loans=(loan(),))
    assert (proposal.amount_usd, proposal.from_reserve_usd) == (25_000.0, 0.0)
    assert proposal.health_after_reserve == pytest.approx(1.2)
    assert "no reserve is stated: pay it from elsewhere" in proposal.because


def test_r21_without_its_debt_the_part_is_told():
    (proposal,), _ = look(series=health(1.2))
    assert math.isnan(proposal.amount_usd)
    assert (proposal.part, proposal.health_after) == pytest.approx((0.25, 1.6))
    assert "state it as [[loans]] of loan" in proposal.because
    assert "repay 25.0% of it" in proposal.because


@pytest.mark.parametrize(
    ("changes", "amount"),
    [
        ({"debt_asset": "DAI"}, 23_750.0),  # 0.95 USD each
        ({"debt_asset": "GUSD"}, 26_250.0),  # debt counts at its price, over par too
        ({"debt_asset": "ETH", "debt_units": 50.0}, None),
        ({"debt_asset": "???"}, math.nan),
        ({"debt_asset": "BAD"}, math.nan),
        ({"debt_units": 0.0}, math.nan),
        ({"watched": "user/vUSDC", "debt_units": math.nan}, 30_000.0),
        ({"watched": "nobody/vUSDC"}, math.nan),
        ({"debt_units": math.nan}, math.nan),
    ],
)
def test_r21_debt_in_usd(changes, amount):
    series = health(1.2) | prices(DAI=0.95, GUSD=1.05, BAD=math.nan)
    series |= {SeriesKey(Metric.TOKEN_UNITS, "user/vUSDC", "tvl"): rows(110_000.0, 120_000.0)}
    proposals, _ = look(series=series, loans=(loan(**changes),))
    expected = 25_000.0 if amount is None else amount
    assert proposals[0].amount_usd == pytest.approx(expected, rel=0.01, nan_ok=True)


@pytest.mark.parametrize("series", [health(math.nan), health(1.0, 1.0, 1.0, age_s=7200.0)])
def test_r21_an_unknown_health_proposes_nothing(series):
    proposals, findings = look(*stables(USDC=50_000.0, DAI=50_000.0), series=series, loans=(loan(),))
    assert proposals == ()
    assert "unknown" in findings[0].because


def test_r21_the_lowest_of_two_sources_counts():
    series = health(1.5) | health(1.2, source="other")
    (proposal,), _ = look(series=series, loans=(loan(),))
    assert "1.200" in proposal.because


def test_r21_a_stated_loan_that_nobody_watches_is_named():
    _, findings = look(loans=(loan(),))
    assert "loan loan is not guarded: no source has its health factor" in findings[0].because


# laws


def test_r21_health_is_that_of_aave():
    """GenericLogic: collateral x threshold over debt. 10 ETH at 2,000 and 0.825, 5,000 USDC at 0.78."""
    position = LendingPosition.of(
        (
            Collateral(value_usd=20_000.0, liquidation_threshold=0.825),
            Collateral(value_usd=5_000.0, liquidation_threshold=0.78),
        ),
        debt_usd=12_000.0,
    )
    assert position.health_factor == pytest.approx((16_500.0 + 3_900.0) / 12_000.0)
    assert position.topped_up(1_000.0, threshold=0.78).health_factor == pytest.approx(1.765)
    assert position.repaid(2_000.0).health_factor == pytest.approx(2.04)
    assert position.repaid(12_000.0).health_factor == math.inf
    assert position.repaid(20_000.0).debt_usd == 0.0
    assert position.repay_to(1.5) == position.top_up_to(1.5, threshold=0.8) == 0.0
    assert math.isnan(position.top_up_to(2.0, threshold=0.0))
    assert math.isnan(position.top_up_to(2.0, threshold=math.nan))


@given(
    now=st.floats(0.0, 1.599),
    debt_usd=st.floats(1.0, 1e9),
    threshold=st.one_of(st.just(math.nan), st.floats(0.1, 1.0)),
    available_usd=st.floats(0.0, 1e9),
    prefer=st.sampled_from([Action.REPAY, Action.TOP_UP]),
)
@settings(max_examples=150, deadline=None)
def test_r21_health_after_is_at_least_the_target(now, debt_usd, threshold, available_usd, prefer):
    position = LendingPosition.at_health(now, debt_usd=debt_usd)
    found = rescue(position, target=1.6, threshold=threshold, available_usd=available_usd, prefer=prefer)
    assert found.health_after >= 1.6 * (1.0 - 1e-9)
    assert 0.0 <= found.from_reserve_usd <= min(found.amount_usd, available_usd)
    assert now * (1.0 - 1e-9) <= found.health_after_reserve <= found.health_after
    if found.action is Action.REPAY:
        assert found.amount_usd <= debt_usd
        assert found.part == pytest.approx(found.amount_usd / debt_usd)
    else:
        other = rescue(
            position, target=1.6, threshold=threshold, available_usd=available_usd, prefer=Action.REPAY
        )
        assert other.amount_usd <= found.amount_usd, "repaying takes less money"
    # A cent less than the exact sum does not do: nothing is paid for nothing.
    exact = (
        position.repay_to(1.6)
        if found.action is Action.REPAY
        else position.top_up_to(1.6, threshold=threshold)
    )
    assert exact <= found.amount_usd + 1e-6 * debt_usd
    assert found.amount_usd <= exact + 0.0101


@given(
    units=st.dictionaries(st.sampled_from(["USDC", "DAI", "USDT"]), st.floats(0.0, 1e6)),
    healths=st.lists(st.floats(0.5, 2.0), max_size=4),
    debts=st.lists(st.floats(1.0, 1e6), min_size=4, max_size=4),
    tier=st.sampled_from(Tier),
)
@settings(max_examples=60, deadline=None)
def test_r21_never_spends_more_than_the_reserve_has(units, healths, debts, tier):
    series, loans = {}, []
    for i, value in enumerate(healths):
        series |= health(value, position=f"p{i}")
        loans.append(loan(position=f"p{i}", debt_units=debts[i]))
    proposals, _ = look(*stables(**units), series=series, loans=tuple(loans), tier=tier)
    spent = sum(item.from_reserve_usd for item in proposals)
    assert 0.0 <= spent <= sum(units.values()) * (1.0 + 1e-9)
    for item in proposals:
        if item.action is Action.REPAY:
            assert item.health_after >= 1.6 * (1.0 - 1e-9)
    if tier < Tier.SEVERE:
        assert all(item.action is not Action.SPEND for item in proposals)
