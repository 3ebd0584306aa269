"""Benchmarks by small cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bot.model.hedge import Instrument, Layer, OptionType, Quote
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.perpetual import HeldPerpetual, Perpetual, PerpetualAction, PerpetualQuote
from bot.ports import VenuePosition
from bot.quant import lp, options, payoff
from bot.quant.var import spot_paths, value_at_risk
from bot.simulation.benchmarks.strategies import (
    Buy,
    DeltaHedge,
    PutProgramme,
    Sell,
    Situation,
    StaticLayers,
    TailProgramme,
    nearest_expiry,
)
from bot.simulation.exposures import at_price, parse_exposure

DAY_S = 86_400
NOW_S = 100.0 * DAY_S
EXPOSURE = parse_exposure("v2:ETH/USDC:1000000").open_at(2_000.0)  # delta 250 ETH


def quote(strike, days, *, delta=-0.3, iv=0.8, size=10.0, lot=0.01, liquidity=1e9):
    value = float(options.price(2_000.0, strike, days / 365, iv, is_put=True)) * size
    return Quote(
        instrument=Instrument(
            venue="simulated",
            id=f"{strike}-{days}",
            underlying="ETH",
            option_type=OptionType.PUT,
            strike_usd=strike,
            expiry_s=int(NOW_S + days * DAY_S),
            settlement="USDC",
        ),
        size=size,
        premium_usd=1.12 * value,
        fee_usd=0.12 * value,
        gas_usd=5.0,
        swap_usd=0.0,
        iv=iv,
        delta=delta,
        model_usd=value,
        min_size=lot,
        lot=lot,
        liquidity=liquidity,
        valid_until_s=NOW_S,
        block_number=1,
    )


def held(layer, days, *, liquidation_usd=1.0):
    instrument = quote(1_900.0, days).instrument
    return layer, VenuePosition(
        id=f"{layer}", instrument=instrument, size=1.0, iv=0.8, model_usd=1.0, liquidation_usd=liquidation_usd
    )


def situation(*, index=0.85, held=(), now_s=NOW_S):
    rng = np.random.default_rng(5)
    days = np.arange(100)
    closes = 2_000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.04, days.size)))
    price = Column(times_s=days * DAY_S + DAY_S - 1.0, values=closes)
    vol = Column(times_s=np.array([NOW_S - 1.0]), values=np.array([index]))
    series = {
        SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot"): price,
        SeriesKey(Metric.VOL_INDEX, "ETH", "dvol"): vol,
    }
    return Situation(now_s=now_s, exposure=EXPOSURE, columns=Columns(series=series), held=tuple(held))


# PPUT-like


def test_pput_buys_the_lp_delta_in_the_strike_nearest_to_5_percent_out():
    quotes = [quote(k, d) for d in (7, 29, 60) for k in (1_800.0, 1_850.0, 1_900.0, 2_000.0)]
    (buy,) = PutProgramme().orders(situation(), quotes)
    assert (buy.quote.instrument.strike_usd, buy.quote.instrument.dte(NOW_S)) == (1_900.0, 29.0)
    assert buy.contracts == pytest.approx(250.0)


def test_pput_holds_to_expiry():
    assert PutProgramme().is_due(situation())
    assert not PutProgramme().is_due(situation(held=[held(Layer.MID, 1)]))


def test_pput_asks_again_where_nothing_is_quoted():
    assert PutProgramme().orders(situation(), ()) == ()
    assert PutProgramme().is_due(situation())


# VXTH-like


@pytest.mark.parametrize(
    ("dvol", "share"),
    [
        (0.30, 0.0),
        (0.5499, 0.0),
        (0.55, 0.01),
        (0.90, 0.01),
        (0.91, 0.005),
        (1.06, 0.005),
        (1.07, 0.0),
        (1.5, 0.0),
    ],
)
def test_vxth_budget_by_level(dvol, share):
    assert TailProgramme().budget_share(dvol) == share


def test_vxth_spends_its_share_on_the_put_nearest_to_10_delta():
    quotes = [quote(1_500.0, 30, delta=-0.09), quote(1_700.0, 30, delta=-0.2), quote(1_200.0, 90, delta=-0.1)]
    (buy,) = TailProgramme().orders(situation(index=0.70), quotes)
    assert buy.quote is quotes[0]
    # 1 % of 1 000 000 USD over the price of one contract
    assert buy.contracts == pytest.approx(10_000.0 / (quotes[0].premium_usd / 10.0), abs=0.01)


def test_vxth_spends_half_in_the_higher_band():
    quotes = [quote(1_500.0, 30, delta=-0.1)]
    (buy,) = TailProgramme().orders(situation(index=0.95), quotes)
    assert buy.contracts * quotes[0].unit_cost_usd == pytest.approx(5_000.0, rel=1e-3)


def test_vxth_looks_once_a_month_also_when_it_bought_nothing():
    strategy, quotes = TailProgramme(), [quote(1_500.0, 30, delta=-0.1)]
    assert strategy.is_due(situation())
    assert strategy.orders(situation(index=0.5), quotes) == ()
    assert not strategy.is_due(situation(now_s=NOW_S + 29 * DAY_S))
    assert strategy.is_due(situation(now_s=NOW_S + 30 * DAY_S))


# Static 4/4/2


def static_quotes():
    return [
        quote(1_950.0, 7, delta=-0.42),
        quote(1_800.0, 35, delta=-0.28),
        quote(1_300.0, 90, delta=-0.10),
        quote(1_000.0, 90, delta=-0.02),
    ]


def test_static_holds_40_40_20_of_contracts():
    orders = StaticLayers().orders(situation(), static_quotes())
    near, mid, tail = (order.contracts for order in orders)
    assert [order.layer for order in orders] == [Layer.NEAR, Layer.MID, Layer.TAIL]
    assert near == pytest.approx(mid, abs=0.01)
    assert near == pytest.approx(2.0 * tail, abs=0.02)


def test_static_removes_20_percent_of_value_at_risk_on_the_engines_paths():
    """R8's own measure: losses and gains on the same paths, implied vol unchanged."""
    now, quotes = situation(), static_quotes()
    orders = StaticLayers().orders(now, quotes)
    closes = now.columns[SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot")].values
    paths = spot_paths(closes, spot=2_000.0, horizon_days=10).spots
    losses_usd = 1e6 - lp.value(EXPOSURE.shape, paths[:, -1])
    legs = [order.quote for order in orders]
    values_usd = payoff.horizon_values(
        paths,
        strikes=[leg.instrument.strike_usd for leg in legs],
        is_puts=[True] * 3,
        dte=[leg.instrument.dte(NOW_S) for leg in legs],
        ivs=[leg.iv for leg in legs],
        sizes=[order.contracts for order in orders],
    ).sum(axis=0)
    cost_usd = sum(order.contracts * order.quote.model_usd / order.quote.size for order in orders)
    risk_usd = value_at_risk(losses_usd)
    assert risk_usd > 50_000.0
    left_usd = value_at_risk(losses_usd - (values_usd - cost_usd))
    assert left_usd == pytest.approx(0.8 * risk_usd, rel=1e-3)


def test_static_reads_as_many_closes_as_it_is_told():
    full, short = (StaticLayers(history_days=days).orders(situation(), static_quotes()) for days in (100, 15))
    assert full[0].contracts != short[0].contracts


@pytest.mark.parametrize(
    ("layer", "days", "is_due"),
    [
        (Layer.NEAR, 0.01, False),
        (Layer.MID, 15.01, False),
        (Layer.MID, 15.0, True),
        (Layer.TAIL, 60.01, False),
        (Layer.TAIL, 60.0, True),
    ],
)
def test_static_rolls_at_0_15_and_60_days(layer, days, is_due):
    fresh = {Layer.NEAR: 7, Layer.MID: 35, Layer.TAIL: 90} | {layer: days}
    now = situation(held=[held(name, left) for name, left in fresh.items()])
    assert StaticLayers().is_due(now) is is_due


def test_static_sells_what_it_rolls_before_it_buys():
    now = situation(held=[held(Layer.NEAR, 5), held(Layer.MID, 14), held(Layer.TAIL, 80)])
    sale, purchase = StaticLayers().orders(now, static_quotes())
    assert isinstance(sale, Sell)
    assert isinstance(purchase, Buy)
    assert sale.layer is purchase.layer is Layer.MID


# Order sizes


def test_sizes_are_whole_lots_within_liquidity():
    quotes = [replace(quote(1_900.0, 30), lot=10.0, min_size=10.0, liquidity=123.0)]
    (buy,) = PutProgramme().orders(situation(), quotes)
    assert buy.contracts == 120.0


def test_an_order_under_the_least_size_is_left_out():
    quotes = [replace(quote(1_900.0, 30), lot=500.0, min_size=500.0)]
    assert PutProgramme().orders(situation(), quotes) == ()


def test_of_two_expiries_as_near_the_earlier_is_taken():
    picked = nearest_expiry([quote(1_900.0, 35), quote(1_900.0, 25)], 30.0, now_s=NOW_S)
    assert [item.instrument.dte(NOW_S) for item in picked] == [25.0]


# Delta hedge by perpetual (R26)


PERPETUAL = Perpetual(venue="perp_delta", id="ETH-PERP", underlying="ETH", settlement="USDC")


def perpetual_quote(mark_usd=2_000.0):
    return PerpetualQuote(
        perpetual=PERPETUAL,
        size=250.0,
        mark_usd=mark_usd,
        funding_apr=0.1,
        cost=0.0015,
        initial_margin=0.1,
        maintenance_margin=0.0625,
        gas_usd=5.0,
        min_size=0.001,
        lot=0.001,
        liquidity=50_000.0,
        valid_until_s=NOW_S,
        block_number=1,
    )


def short(size, *, mark_usd=2_000.0, margin_usd=500_000.0):
    return HeldPerpetual(
        id="ETH-PERP",
        perpetual=PERPETUAL,
        group="ETH/USDC",
        size=size,
        entry_usd=2_000.0,
        mark_usd=mark_usd,
        margin_usd=margin_usd,
        liquidation_usd=4_000.0,
        opened_at_s=NOW_S - DAY_S,
    )


def orders_of(held=None, *, mark_usd=2_000.0):
    now = replace(situation(), perpetual=held, exposure=at_price(EXPOSURE, mark_usd))
    return DeltaHedge().perpetual_orders(now, perpetual_quote(mark_usd))


def test_the_delta_hedge_opens_a_short_of_the_whole_delta_with_its_notional_as_margin():
    (order,) = orders_of()
    assert (order.action, order.size, order.margin_usd) == (PerpetualAction.OPEN, -250.0, 500_000.0)


@pytest.mark.parametrize(
    ("held", "action", "size"),
    [
        (-226.0, None, 0.0),  # 24 x 2,000 is 4.8 % of a million: inside the band
        (-224.0, PerpetualAction.OPEN, -26.0),  # 5.2 %
        (-276.0, PerpetualAction.REDUCE, 26.0),
        (-274.0, None, 0.0),
    ],
)
def test_the_delta_hedge_is_set_anew_when_5_percent_of_value_off(held, action, size):
    found = orders_of(short(held))
    assert [item.action for item in found] == ([action] if action else [])
    assert [item.size for item in found] == ([size] if action else [])


def test_the_delta_hedge_fills_up_its_margin_when_half_of_it_is_gone():
    """Up from 2,000 to 2,800 the LP's delta is 211.3, and the short of as much has lost 169 k of 250 k."""
    delta = float(lp.delta(EXPOSURE.shape, 2_800.0))
    held = short(-delta, mark_usd=2_800.0, margin_usd=250_000.0)
    (order,) = orders_of(held, mark_usd=2_800.0)
    assert order.action is PerpetualAction.ADD_MARGIN
    assert held.margin_usd + held.unrealised_usd + order.margin_usd == pytest.approx(delta * 2_800.0)
    assert orders_of(short(-delta, mark_usd=2_800.0), mark_usd=2_800.0) == ()
