"""Parts of a run's profit and loss: by hand, and summing to the total of every strategy (R26)."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from history_builders import DataFolder
from hypothesis import given
from hypothesis import strategies as st
from perpetual_builders import perpetual_order, reduction, traded

from bot.model.exposure import LpShape
from bot.model.hedge import HedgeLeg, Instrument, Layer, LegOutcome, LegStatus, OptionType, Side
from bot.quant import lp
from bot.settings import named_policy
from bot.simulation.attribution import (
    Attribution,
    HedgeParts,
    Held,
    Marks,
    PositionParts,
    hedge_parts,
    model_usd,
    position_parts,
)
from bot.simulation.backtest import run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.market.model import load_market
from bot.simulation.report.data import from_backtest

from .test_backtest import FROM_S, TO_S

V2 = LpShape(liquidity=1_000.0)
TIMES_S, SPOTS = np.array([0.0, 10.0, 20.0]), np.array([2_000.0, 1_800.0, 1_500.0])


def put(side, *, strike=1_900.0, size=10.0, at_s=0.0, premium_usd, fee_usd=0.0, gas_usd=5.0, swap_usd=0.0):
    instrument = Instrument(
        venue="simulated",
        id="put",
        underlying="ETH",
        option_type=OptionType.PUT,
        strike_usd=strike,
        expiry_s=10**6,
        settlement="USDC",
    )
    leg = HedgeLeg(
        key=f"{side}-{at_s}",
        group="",
        layer=Layer.TAIL,
        side=side,
        instrument=instrument,
        size=size,
        limit_usd=premium_usd,
        expected_usd=premium_usd,
        valid_until_s=math.inf,
        position_id="" if side is Side.BUY else "1",
    )
    return LegOutcome(
        leg=leg,
        status=LegStatus.FILLED,
        at_s=at_s,
        filled_size=size,
        premium_usd=premium_usd,
        fee_usd=fee_usd,
        gas_usd=gas_usd,
        swap_usd=swap_usd,
    )


def parts_of(*legs, perpetuals=(), marks=None):
    return hedge_parts(
        legs, perpetuals, times_s=TIMES_S, spots_usd=SPOTS, marks=marks or Marks(options_usd=0.0)
    )


def test_a_put_held_to_expiry_by_hand():
    """10 puts at 1,900 for 560 with 60 of spread while spot is 2,000: all of 500 is time value.

    They settle at 1,500 for 400 each: 4,000 of payoff, 10 of gas, 60 of slippage.
    """
    bought = put(Side.BUY, premium_usd=560.0, fee_usd=60.0)
    settled = put(Side.SETTLE, at_s=20.0, premium_usd=4_000.0)
    found = parts_of(bought, settled)
    assert (found.premium_usd, found.option_payoff_usd) == (-500.0, 4_000.0)
    assert (found.slippage_usd, found.gas_usd, found.net_usd) == (-60.0, -10.0, 3_430.0)


def test_intrinsic_value_that_was_bought_is_no_premium():
    """At 1,800 a put at 1,900 has 100 of intrinsic value: of 1,200 for 10 only 200 is time value.

    Sold at the same price for 1,150 with 70 of spread, its model value is 1,220.
    """
    bought = put(Side.BUY, at_s=12.0, premium_usd=1_200.0)
    sold = put(Side.SELL, at_s=15.0, premium_usd=1_150.0, fee_usd=70.0, swap_usd=3.0)
    found = parts_of(bought, sold)
    assert model_usd(sold) == 1_220.0
    assert (found.premium_usd, found.option_payoff_usd) == (-200.0, 220.0)
    assert found.slippage_usd == -73.0
    assert found.net_usd == pytest.approx(1_150.0 - 1_200.0 - 3.0 - 10.0)


def test_a_refused_order_costs_its_gas_alone():
    refused = replace(put(Side.BUY, premium_usd=900.0), status=LegStatus.REJECTED)
    assert parts_of(refused).net_usd == -5.0


def test_what_is_held_counts_at_its_mark():
    found = parts_of(put(Side.BUY, premium_usd=500.0), marks=Marks(options_usd=320.0))
    assert found.option_payoff_usd == 320.0
    assert found.net_usd == pytest.approx(-500.0 + 320.0 - 5.0)


def test_an_open_perpetual_is_split_into_price_and_funding_at_its_mark():
    """Short 10 at 2,500 and half closed at 2,400; at 1,500 the rest has 5 x 1,000 and 12 of funding."""
    outcomes = [traded(perpetual_order(0)), traded(reduction(1, 5.0), price_usd=2_400.0, funding_usd=30.0)]
    marks = Marks(options_usd=0.0, perpetual_usd=5_012.0, spot_usd=1_500.0)
    found = parts_of(perpetuals=outcomes, marks=marks)
    assert found.perpetual_usd == pytest.approx(5 * 100.0 + 5 * 1_000.0)
    assert found.funding_usd == pytest.approx(42.0)
    untold = parts_of(perpetuals=outcomes, marks=replace(marks, spot_usd=math.nan))
    assert untold.perpetual_usd == pytest.approx(500.0 + 5_012.0)
    assert untold.funding_usd == pytest.approx(30.0)
    assert untold.net_usd == pytest.approx(found.net_usd)


@given(spot=st.floats(200.0, 20_000.0), fees=st.floats(0.0, 1e5))
def test_the_position_splits_into_holding_impermanent_loss_and_fees(spot, fees):
    gained = float(lp.value(V2, spot) - lp.value(V2, 2_000.0)) + fees
    found = position_parts([Held(shapes=(V2,), first_usd=2_000.0, last_usd=spot)], gained_usd=gained)
    assert found.impermanent_loss_usd == pytest.approx(
        float(lp.impermanent_loss(V2, 2_000.0, spot)), abs=1e-6
    )
    assert found.lp_fees_usd == pytest.approx(fees, abs=1e-6)
    assert found.recentring_usd == 0.0
    total = found.price_usd + found.impermanent_loss_usd + found.lp_fees_usd
    assert total == pytest.approx(gained, abs=1e-6)


def test_what_opening_a_range_anew_costs_stands_apart():
    """At 1,800 a position worth V is opened anew with 100 less: that is swap cost, not loss of the curve."""
    first = parse_exposure("v3:ETH/USDC:0.2:1000000").open_at(2_000.0).shape
    worth = float(lp.value(first, 1_800.0))
    again = parse_exposure(f"v3:ETH/USDC:0.2:{worth - 100.0}").open_at(1_800.0).shape
    stretches = [
        Held(shapes=(first,), first_usd=2_000.0, last_usd=1_800.0),
        Held(shapes=(again,), first_usd=1_800.0, last_usd=1_900.0),
    ]
    gained = float(lp.value(again, 1_900.0)) - 1_000_000.0
    found = position_parts(stretches, gained_usd=gained)
    assert found.recentring_usd == pytest.approx(-100.0)
    assert found.lp_fees_usd == pytest.approx(0.0, abs=1e-6)
    assert found.impermanent_loss_usd < 0.0


def test_the_residual_is_what_no_part_explains():
    found = Attribution(
        total_usd=-450.0, position=PositionParts(price_usd=-500.0), hedge=HedgeParts(premium_usd=20.0)
    )
    assert found.residual_usd == pytest.approx(30.0)
    assert dict(found.parts)["premium"] == 20.0


@pytest.fixture(scope="module", params=["v2:ETH/USDC:1000000", "v3:ETH/USDC:0.2:1000000"])
def backtested(request, tmp_path_factory):
    folder = DataFolder(path=tmp_path_factory.mktemp("history")).write_all()
    spec = parse_exposure(request.param)
    history = load_history(folder.path, spec, from_s=FROM_S, to_s=TO_S)
    market = replace(load_market(), fee_apr=0.15, recentre_days=2.0)
    return asyncio.run(run_backtest(history, spec, named_policy("steward"), market))


def test_every_strategys_parts_sum_to_its_result(backtested):
    data = from_backtest(backtested)
    assert set(data.attributions) == set(backtested.strategies)
    for name, found in data.attributions.items():
        strategy = backtested.strategies[name]
        assert found.total_usd == pytest.approx(strategy.final_value_usd - backtested.position_usd[0])
        assert abs(found.residual_usd) < 1e-6, name
        assert found.hedge.net_usd == pytest.approx(-strategy.cost_usd, abs=1e-6), name


def test_fees_are_those_that_accrued_and_ranges_were_opened_anew(backtested):
    """15 % a year on the value of every hour, summed here from the record, not from the attribution."""
    found = from_backtest(backtested).attributions["alvh"].position
    worth = backtested.position_usd[1:].mean()
    years = (backtested.times_s[-1] - backtested.times_s[0]) / (365.0 * 86_400.0)
    assert found.lp_fees_usd == pytest.approx(0.15 * worth * years, rel=0.01)
    is_ranged = math.isfinite(backtested.spec.above)
    assert (len(backtested.shapes) > 1) is is_ranged
    assert (found.recentring_usd < 0.0) is is_ranged
