"""Impermanent loss by both definitions, and what is unknown stays unknown."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.exposure import ExposureKind, LpShape
from bot.model.lp_position import Deposits, LpPosition, LpToken, TickRange
from bot.quant import lp
from bot.quant.lp_figures import figures_of


def position(shape: LpShape, spot: float, deposits: Deposits, *, kind=ExposureKind.UNISWAP_V3) -> LpPosition:
    token = LpToken(symbol="X", address="0x" + "11" * 20, decimals=18)
    units, quote = (float(item) for item in lp.amounts(shape, spot))
    inside = shape.contains(spot)
    return LpPosition(
        id="v3:1", kind=kind, protocol="p", chain_id=1, pool="v3:X/Y", pool_address="0x", fee=0.003,
        owner="0x", base=token, quote=token, shape=shape, liquidity_raw=1, spot=spot, units=units,
        quote_units=quote, value=float(lp.value(shape, spot)), fees_units=0.5, fees_quote=3.0,
        ticks=TickRange(tick=0 if inside else 99, lower=-10, upper=10), deposits=deposits,
    )  # fmt: skip


def deposited(shape: LpShape, entry: float) -> Deposits:
    units, quote = (float(item) for item in lp.amounts(shape, entry))
    return Deposits(
        units=units, quote=quote, entry_value=units * entry + quote, liquidity=shape.liquidity,
        fees_units=0.0, fees_quote=1.0, month_units=0.0, month_quote=0.5, since_s=1.0, source="logs",
    )  # fmt: skip


@given(
    entry=st.floats(500.0, 5_000.0), spot=st.floats(500.0, 5_000.0),
    lower=st.floats(100.0, 4_000.0), width=st.floats(1.01, 20.0),
)  # fmt: skip
def test_it_is_the_loss_of_the_curve(entry: float, spot: float, lower: float, width: float) -> None:
    shape = LpShape(liquidity=1_000.0, lower_usd=lower, upper_usd=lower * width)
    figures = figures_of(position(shape, spot, deposited(shape, entry)))
    size = float(lp.value(shape, entry)) + float(lp.value(shape, spot))
    for found, measure in ((figures.loss_hold, "hold"), (figures.loss_entry, "usd")):
        expected = float(lp.impermanent_loss(shape, entry, spot, measure=measure))
        assert found == pytest.approx(expected, abs=1e-9 * size)
    assert figures.loss_hold <= 0
    assert figures.fees_earned == pytest.approx(1.0 + 0.5 * spot + 3.0)
    assert figures.net_hold == pytest.approx(figures.loss_hold + figures.fees_earned)
    assert figures.fee_income_30d == pytest.approx(0.5 + 0.5 * spot + 3.0)


def test_gamma_is_the_change_of_delta() -> None:
    shape = LpShape(liquidity=1_000.0, lower_usd=1_600.0, upper_usd=2_500.0)
    figures = figures_of(position(shape, 2_025.0, Deposits()))
    step = 0.01 * 2_025.0
    moved = float(lp.delta(shape, 2_025.0 + step) - lp.delta(shape, 2_025.0 - step)) / 2
    assert figures.gamma_1pct == pytest.approx(moved, rel=1e-3)
    assert figures.delta_units == pytest.approx(1_000 * (1 / 45 - 1 / 50))
    assert figures_of(position(shape, 9_000.0, Deposits())).gamma == 0.0


def test_without_deposits_there_is_no_loss_and_no_income() -> None:
    figures = figures_of(position(LpShape(liquidity=1.0), 4.0, Deposits(why_unknown="no logs")))
    for name in ("hold_value", "loss_hold", "loss_hold_share", "loss_entry", "fees_earned", "net_hold"):
        assert math.isnan(getattr(figures, name)), name
    assert math.isnan(figures.fee_income_30d)


def test_the_fees_of_a_pair_are_what_its_liquidity_grew_by() -> None:
    then, now = LpShape(liquidity=100.0), LpShape(liquidity=110.0)
    item = position(now, 4.0, deposited(then, 1.0), kind=ExposureKind.UNISWAP_V2)
    figures = figures_of(item)
    assert figures.fees_earned == pytest.approx(40.0)  # 2 x 10 x sqrt(4)
    assert figures.loss_hold == pytest.approx(400.0 - (100.0 * 4.0 + 100.0))
    assert figures.loss_hold_share == pytest.approx(-0.2)
