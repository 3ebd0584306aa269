"""R21 without asking: in the policy's words only, and only on what this frame has read."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import NOW_S, calm_columns, classic, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.policy_base import PAY_WITHOUT_ASKING
from bot.engine.step import decide
from bot.model.base_layers import Action, BaseHoldings, Loan, Needs, Proposal, ReserveHolding
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import EngineState

ALONE = classic(reserve={"consent": PAY_WITHOUT_ASKING})
LATE_S = 1_200.0  # a source of one row a minute: held, and not missing before half an hour


def rows(value: float, age_s: float = 5.0) -> Column:
    times_s = NOW_S - age_s - 60.0 * np.arange(9, -1, -1)
    return Column(times_s=times_s, values=np.full(10, value))


def series(
    *,
    health: float = 1.2,
    debt: float = 100_000.0,
    usdc: float = 60_000.0,
    health_s: float = 5.0,
    debt_s: float = 5.0,
    usdc_s: float = 5.0,
) -> dict[SeriesKey, Column]:
    """A loan, its debt and the USDC that could pay it; seconds are how long ago each was read."""
    return {
        SeriesKey(Metric.HEALTH_FACTOR, "loan", "aave_v3"): rows(health, health_s),
        SeriesKey(Metric.TOKEN_UNITS, "me/debt", "vault"): rows(debt, debt_s),
        SeriesKey(Metric.TOKEN_UNITS, "me/USDC", "vault"): rows(usdc, usdc_s),
    }


LOAN = Loan(position="loan", debt_asset="USDC", watched="me/debt")
USDC = ReserveHolding(asset="USDC", watched="me/USDC")
DAI = ReserveHolding(asset="DAI", units=40_000.0)


def rescues(policy=ALONE, loans=(LOAN,), reserves=(USDC, DAI), columns=None) -> list[Proposal]:
    found = frame(
        calm_columns() | (columns or series()), base=BaseHoldings(reserves=reserves, loans=loans), quotes=()
    )
    _, decision = decide(policy, EngineState(), found)
    return [item for item in decision.proposals if item.action in (Action.REPAY, Action.TOP_UP)]


def test_r21_health_1_2_of_100_000_pays_25_000_from_its_usdc():
    (item,) = rescues()
    assert (item.needs, item.action) == (Needs.NOBODY, Action.REPAY)
    assert (item.amount_usd, item.from_reserve_usd, item.health_after_reserve) == (25_000.0, 25_000.0, 1.6)


def test_r21_the_method_s_default_asks():
    (item,) = rescues(policy=classic())
    assert (item.needs, item.from_reserve_usd) == (Needs.CONFIRMATION, 25_000.0)
    assert "a person must confirm" not in item.because, "that is said where the policy says otherwise"


def test_r21_a_loan_over_hf_min_is_nobody_s_business():
    assert rescues(columns=series(health=1.25)) == []


def test_r21_a_top_up_pays_in_the_collateral_s_own_asset():
    policy = classic(reserve={"consent": PAY_WITHOUT_ASKING, "rescue": "top up"})
    usdc = replace(LOAN, top_up_asset="USDC", top_up_threshold=0.8)
    (item,) = rescues(policy, loans=(usdc,))
    assert (item.action, item.needs, item.from_reserve_usd) == (Action.TOP_UP, Needs.NOBODY, 50_000.0)
    (item,) = rescues(policy, loans=(replace(usdc, top_up_asset="ETH"),))
    assert item.needs is Needs.CONFIRMATION, "ETH is not RESERVE's"
    assert "a person must confirm: RESERVE has no ETH left that is watched and live" in item.because


STATED = ReserveHolding(asset="USDC", units=60_000.0)
NO_USDC = "RESERVE has no USDC left that is watched and live"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"columns": series(health_s=LATE_S)}, "its health factor is not live"),
        ({"columns": series(debt_s=LATE_S)}, "its debt is not watched, or not live"),
        ({"columns": series(usdc_s=LATE_S)}, NO_USDC),
        ({"columns": series(usdc=0.0)}, NO_USDC),
        ({"columns": series(usdc=0.001)}, "RESERVE has nothing left"),  # no whole cent
        (
            {"loans": (replace(LOAN, watched="", debt_units=100_000.0),)},
            "its debt is not watched, or not live",
        ),
        ({"reserves": (STATED, DAI)}, NO_USDC),
        ({"reserves": (DAI,)}, NO_USDC),
    ],
)
def test_r21_what_is_not_read_now_is_a_person_s(changes, why):
    """Old and stated figures still make a proposal, and nothing is paid on them alone."""
    (item,) = rescues(**changes)
    assert item.needs is Needs.CONFIRMATION
    assert item.amount_usd == 25_000.0
    assert f"a person must confirm: {why}" in item.because


def test_r21_an_older_and_worse_second_source_is_not_paid_on_alone():
    """The lowest health counts for the proposal; where that one is held, a person looks."""
    held = {SeriesKey(Metric.HEALTH_FACTOR, "loan", "other"): rows(1.1, LATE_S)}
    (item,) = rescues(columns=series() | held)
    assert (item.needs, item.amount_usd) == (Needs.CONFIRMATION, 31_250.0)
    (item,) = rescues(columns=series(health=1.1) | {key: rows(1.2, LATE_S) for key in held})
    assert item.needs is Needs.NOBODY


def test_r21_alone_it_pays_no_more_than_the_stable_that_the_loan_takes():
    """DAI would have to be exchanged first: that part is a person's, and said."""
    (item,) = rescues(columns=series(usdc=10_000.0))
    assert (item.needs, item.amount_usd, item.from_reserve_usd) == (Needs.NOBODY, 25_000.0, 10_000.0)
    assert item.health_after_reserve == pytest.approx(1.2 / 0.9)
    assert "15,000.00 USD must come from elsewhere" in item.because


def test_r21_without_its_debt_nobody_pays():
    (item,) = rescues(loans=())
    assert item.needs is Needs.CONFIRMATION
    assert math.isnan(item.amount_usd)


@given(
    healths=st.lists(st.floats(0.5, 1.24), min_size=1, max_size=4),
    debts=st.lists(st.floats(1e3, 1e6), min_size=4, max_size=4),
    watched=st.floats(0.0, 1e5),
    stated=st.floats(0.0, 1e5),
)
@settings(max_examples=50, deadline=None)
def test_r21_all_loans_together_take_no_more_than_was_read(healths, debts, watched, stated):
    columns, loans = series(usdc=watched), []
    for number, (value, debt) in enumerate(zip(healths, debts, strict=False)):
        columns[SeriesKey(Metric.HEALTH_FACTOR, f"p{number}", "aave_v3")] = rows(value)
        columns[SeriesKey(Metric.TOKEN_UNITS, f"p{number}/debt", "vault")] = rows(debt)
        loans.append(replace(LOAN, position=f"p{number}", watched=f"p{number}/debt"))
    del columns[SeriesKey(Metric.HEALTH_FACTOR, "loan", "aave_v3")]
    reserves = (USDC, ReserveHolding(asset="DAI", units=stated))
    found = rescues(loans=tuple(loans), reserves=reserves, columns=columns)
    assert len(found) == len(healths)
    alone = sum(item.from_reserve_usd for item in found if item.needs is Needs.NOBODY)
    assert alone <= watched * (1.0 + 1e-9)
    assert sum(item.from_reserve_usd for item in found) <= (watched + stated) * (1.0 + 1e-9)
