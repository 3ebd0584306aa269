"""Laws of the simulated option market."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.model.hedge import HedgeLeg, Layer, LegStatus, OptionType, Side
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S, YEAR_S, parse_utc_s
from bot.ports import MarketView
from bot.quant import options
from bot.venues.option_market import half_spread_usd
from bot.venues.simulated import (
    OptionMarket,
    SimulatedVenue,
    atm_curve,
    listed_expiries,
    strike_ivs,
)

MARKET = OptionMarket(
    spread_share=0.12,
    gas_usd=5.0,
    cutoff_s=12.0 * HOUR_S,
    max_contracts=1_000.0,
    lot=0.01,
    vol_max_age_s=2.0 * HOUR_S,
    skew_calm=0.03,
    skew_stress=0.07,
    skew_curvature=0.03,
    stress_from_vol=0.91,
    stress_to_vol=1.27,
    weeklies=5,
    month_ends_dte=120.0,
    min_abs_delta=0.02,
    max_abs_delta=0.85,
    strike_step_short=0.025,
    strike_step_long=0.05,
    short_dte=14.0,
    list_calls=False,
)
NOW_S = float(parse_utc_s("2022-05-02T10:00", field="now"))  # a Monday
TENORS = {Metric.IV_7D: 0.8, Metric.IV_30D: 0.75, Metric.IV_90D: 0.7}


def columns_with(prices, *, from_s, vols=TENORS):
    """Hourly rows that are known one second before each hour ends."""
    times_s = from_s + HOUR_S * np.arange(1, len(prices) + 1) - 1.0
    series = {SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot"): np.array(prices, dtype=float)}
    for metric, vol in vols.items():
        series[SeriesKey(metric, "ETH", "dvol")] = np.broadcast_to(vol, (len(prices),)).astype(float)
    return Columns(series={key: Column(times_s=times_s, values=values) for key, values in series.items()})


def view_of(columns, now_s):
    seen = Columns(series={key: column.until(now_s) for key, column in columns.series.items()})
    spot = seen.latest(Metric.PRICE_USD, "ETH")[0]
    return MarketView(now_s=now_s, block=None, columns=seen, spot_usd={"ETH": spot})


def flat_view(spot=3_000.0, *, now_s=NOW_S, vols=TENORS):
    return view_of(columns_with([spot] * 3, from_s=now_s - 3 * HOUR_S, vols=vols), now_s)


def leg(quote, side=Side.BUY, *, size=None, limit_usd=math.inf, position_id="", key="leg"):
    if limit_usd == math.inf:
        limit_usd = 1e9 if side is Side.BUY else 0.0
    return HedgeLeg(
        key=key,
        group="ETH/USDC",
        layer=Layer.MID,
        side=side,
        instrument=quote.instrument,
        size=size or quote.size,
        limit_usd=limit_usd,
        expected_usd=quote.premium_usd,
        valid_until_s=NOW_S + 400 * DAY_S,
        position_id=position_id,
    )


async def quotes(view, *, size=10.0, market=MARKET):
    return await SimulatedVenue(market).quotes(view, underlying="ETH", size=size)


async def bought(venue, view, *, size=10.0):
    quote = min(await venue.quotes(view, underlying="ETH", size=size), key=lambda q: abs(q.delta + 0.3))
    return quote, await venue.execute(leg(quote), view=view)


# What is listed


def test_expiries_are_fridays_at_8_and_month_ends_beyond_the_weeklies():
    days = [math.ceil((expiry - NOW_S) / DAY_S) for expiry in listed_expiries(NOW_S, MARKET)]
    # 6, 13, 20, 27 May; 3 June; then 24 June, 29 July, 26 August
    assert days == [4, 11, 18, 25, 32, 53, 88, 116]
    assert all(expiry % (7 * DAY_S) == DAY_S + 8 * HOUR_S for expiry in listed_expiries(NOW_S, MARKET))


def test_an_expiry_inside_the_cutoff_is_not_listed():
    friday = parse_utc_s("2022-05-06T08:00", field="expiry")
    assert listed_expiries(friday - 12 * HOUR_S - 1, MARKET)[0] == friday
    assert listed_expiries(friday - 12 * HOUR_S, MARKET)[0] == friday + 7 * DAY_S


async def test_listed_strikes_reach_every_layer_of_the_method():
    listed = await quotes(flat_view())
    for low, high, band in ((3, 11, (0.35, 0.50)), (15, 45, (0.20, 0.35)), (60, 120, (0.05, 0.15))):
        assert any(
            low <= q.instrument.dte(NOW_S) <= high and band[0] <= -q.delta <= band[1] for q in listed
        ), (low, high)
    assert all(MARKET.min_abs_delta <= -q.delta <= MARKET.max_abs_delta for q in listed)


async def test_strikes_do_not_move_with_every_tick_of_the_price():
    before = {q.instrument for q in await quotes(flat_view(3_000.0))}
    after = {q.instrument for q in await quotes(flat_view(3_010.0))}
    assert len(before & after) > 0.95 * len(before)


async def test_calls_are_listed_only_where_the_market_says_so():
    assert {q.instrument.option_type for q in await quotes(flat_view())} == {OptionType.PUT}
    both = await quotes(flat_view(), market=replace(MARKET, list_calls=True))
    assert {q.instrument.option_type for q in both} == {OptionType.PUT, OptionType.CALL}


# Prices


async def test_a_quote_is_black_scholes_plus_the_spread():
    for quote in await quotes(flat_view()):
        value = float(
            options.price(
                3_000.0,
                quote.instrument.strike_usd,
                (quote.instrument.expiry_s - NOW_S) / YEAR_S,
                quote.iv,
                is_put=True,
            )
        )
        assert quote.model_usd == pytest.approx(10.0 * value)
        assert quote.premium_usd == pytest.approx(1.12 * quote.model_usd)
        assert quote.fee_usd == pytest.approx(0.12 * quote.model_usd)


def test_skew_by_hand():
    # one standard deviation out of the money at 30 days: 0.75 x (1 + 0.03 + 0.03)
    years = np.array([30 / 365])
    strike = 3_000.0 * np.exp(-0.75 * np.sqrt(years))
    vol = strike_ivs(np.array([0.8, 0.75, 0.7]), 3_000.0, strike, years, MARKET)
    assert vol[0] == pytest.approx(0.75 * 1.06)


def test_skew_steepens_with_stress_and_stops_at_its_anchor():
    years = np.array([30 / 365])

    def factor(level):
        strike = 3_000.0 * np.exp(-level * np.sqrt(years))
        return strike_ivs(np.full(3, level), 3_000.0, strike, years, MARKET)[0] / level

    assert factor(0.91) == pytest.approx(1.06)
    assert factor(1.09) == pytest.approx(1.08)
    assert factor(1.27) == pytest.approx(factor(2.0)) == pytest.approx(1.10)


async def test_no_quote_without_a_price():
    view = replace(flat_view(), spot_usd={"ETH": math.nan})
    assert await quotes(view) == ()
    assert await quotes(replace(view, spot_usd={})) == ()


async def test_no_quote_while_a_vol_is_unknown_or_old():
    assert await quotes(flat_view(vols={Metric.IV_7D: 0.8, Metric.IV_30D: 0.7})) == ()
    assert await quotes(flat_view(vols=TENORS | {Metric.IV_30D: math.nan})) == ()
    view = flat_view()
    later = replace(view, now_s=NOW_S + 2 * HOUR_S)
    assert await quotes(later) == ()
    assert atm_curve(view.columns, "ETH", now_s=NOW_S + 2 * HOUR_S - 1, max_age_s=2 * HOUR_S) is not None


@settings(max_examples=25, deadline=None)
@given(
    future=st.lists(st.floats(100.0, 9_000.0), min_size=1, max_size=30),
    vol=st.floats(0.1, 3.0),
)
async def test_no_look_ahead_the_future_changes_no_quote_and_no_mark(future, vol):
    past = [3_000.0, 3_010.0, 2_990.0]
    from_s = NOW_S - 3 * HOUR_S
    known = columns_with(past, from_s=from_s)
    changed = columns_with(
        past + future,
        from_s=from_s,
        vols={metric: np.array([level] * 3 + [vol] * len(future)) for metric, level in TENORS.items()},
    )
    # The whole future is in the columns; only the view's own time may hide it from settlement and marks.
    assert await quotes(view_of(known, NOW_S)) == await quotes(view_of(changed, NOW_S))


# Trades


async def test_a_round_trip_costs_24_percent_of_premium_and_two_gas():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    sale = await venue.execute(leg(quote, Side.SELL, position_id=buy.position_id, key="sell"), view=view)
    assert (buy.status, sale.status) == (LegStatus.FILLED, LegStatus.FILLED)
    assert buy.premium_usd - sale.premium_usd == pytest.approx(0.24 * quote.model_usd)
    assert buy.gas_usd + sale.gas_usd == 10.0
    assert await venue.held(view) == ()


async def test_a_mark_is_what_a_sale_brings():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    (mark,) = await venue.held(view)
    sale = await venue.execute(leg(quote, Side.SELL, position_id=buy.position_id, key="sell"), view=view)
    assert mark.model_usd == pytest.approx(quote.model_usd)
    assert mark.liquidation_usd == pytest.approx(sale.premium_usd - sale.gas_usd)


async def test_part_of_a_position_can_be_sold():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    sell = leg(quote, Side.SELL, size=4.0, position_id=buy.position_id, key="sell")
    sale = await venue.execute(sell, view=view)
    (left,) = await venue.held(view)
    assert sale.premium_usd == pytest.approx(0.4 * 0.88 * quote.model_usd)
    assert left.size == pytest.approx(6.0)


async def test_a_purchase_over_its_limit_is_refused_and_nothing_is_held():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote = (await venue.quotes(view, underlying="ETH", size=10.0))[0]
    outcome = await venue.execute(leg(quote, limit_usd=0.99 * quote.premium_usd), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert await venue.held(view) == ()


@pytest.mark.parametrize("hours", [12, 1, 0])
async def test_nothing_trades_inside_the_cutoff(hours):
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    late = flat_view(now_s=float(quote.instrument.expiry_s - hours * HOUR_S))
    again = await venue.execute(leg(quote, key="again"), view=late)
    sale = await venue.execute(leg(quote, Side.SELL, position_id=buy.position_id, key="sell"), view=late)
    assert (again.status, sale.status) == (LegStatus.REJECTED, LegStatus.REJECTED)


async def test_an_order_past_its_time_is_refused():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote = (await venue.quotes(view, underlying="ETH", size=10.0))[0]
    stale = replace(leg(quote), valid_until_s=NOW_S - 1)
    assert (await venue.execute(stale, view=view)).status is LegStatus.REJECTED


async def test_an_order_over_the_size_limit_is_refused():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote = (await venue.quotes(view, underlying="ETH", size=10.0))[0]
    assert (await venue.execute(leg(quote, size=1_001.0), view=view)).status is LegStatus.REJECTED


async def test_unknown_vol_leaves_the_mark_unknown_and_refuses_trades():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    blind = flat_view(vols=TENORS | {Metric.IV_7D: math.nan})
    (mark,) = await venue.held(blind)
    assert math.isnan(mark.model_usd)
    assert math.isnan(mark.liquidation_usd)
    sell = leg(quote, Side.SELL, position_id=buy.position_id, key="sell")
    assert (await venue.execute(sell, view=blind)).status is LegStatus.REJECTED
    assert (await venue.execute(leg(quote, key="more"), view=blind)).status is LegStatus.REJECTED


@pytest.mark.parametrize(("end_usd", "pays"), [(1.5, True), (0.5, True), (1e9, False)])
async def test_settlement_is_the_intrinsic_value_at_the_last_price_before_expiry(end_usd, pays):
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    instrument = quote.instrument
    end = instrument.strike_usd * 0.5 * end_usd if pays else 1e6
    # the price jumps in the hour after expiry; it must not count
    columns = columns_with([3_000.0, end, 1.0], from_s=instrument.expiry_s - 2.0 * HOUR_S)
    after = view_of(columns, float(instrument.expiry_s + HOUR_S))
    (mark,) = await venue.held(after)
    settle = leg(quote, Side.SETTLE, position_id=buy.position_id, key="settle")
    outcome = await venue.execute(settle, view=after)
    assert mark.settleable
    assert outcome.status is LegStatus.FILLED
    assert outcome.premium_usd == pytest.approx(10.0 * max(instrument.strike_usd - end, 0.0))
    assert await venue.held(after) == ()


async def test_before_expiry_nothing_settles():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    early = flat_view(now_s=float(quote.instrument.expiry_s) - 1.0)
    (mark,) = await venue.held(early)
    settle = leg(quote, Side.SETTLE, position_id=buy.position_id, key="settle")
    assert not mark.settleable
    assert (await venue.execute(settle, view=early)).status is LegStatus.REJECTED


async def test_where_the_expiry_is_in_a_hole_the_first_price_after_it_settles():
    venue, view = SimulatedVenue(MARKET), flat_view()
    quote, buy = await bought(venue, view)
    expiry_s = float(quote.instrument.expiry_s)
    hole_end = columns_with([1_000.0, 500.0], from_s=expiry_s + 10 * DAY_S)
    after = view_of(hole_end, expiry_s + 10 * DAY_S + 2 * HOUR_S)
    settle = leg(quote, Side.SETTLE, position_id=buy.position_id, key="settle")
    outcome = await venue.execute(settle, view=after)
    assert outcome.premium_usd == pytest.approx(10.0 * (quote.instrument.strike_usd - 1_000.0))


async def test_positions_come_back_from_a_journal():
    venue, view = SimulatedVenue(MARKET), flat_view()
    _, buy = await bought(venue, view)
    again = SimulatedVenue(MARKET)
    again.replay([buy])
    assert await again.held(view) == await venue.held(view)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spread_share", 1.0),
        ("spread_share", math.nan),
        ("lot", 0.0),
        ("weeklies", 0),
        ("stress_to_vol", 0.5),
    ],
)
def test_a_market_outside_its_bounds_is_refused(key, value):
    with pytest.raises(ConfigError, match=key):
        replace(MARKET, **{key: value})


# Costs of trading


COSTLY = replace(
    MARKET,
    spread_vol=0.02,
    impact_vol=0.01,
    impact_contracts=500.0,
    spread_stress=1.0,
    notional_share=0.0003,
    notional_cap=0.125,
    gas_stress=3.0,
    gas_gwei=30.0,
)


def half(model_usd, *, vega_usd=0.0, notional_usd=0.0, size=10.0, stress=0.0, market=COSTLY):
    found = half_spread_usd(
        market,
        np.asarray(model_usd),
        vega_usd=vega_usd,
        notional_usd=notional_usd,
        size=size,
        stress=stress,
    )
    return float(found)


def test_half_the_spread_is_the_larger_of_a_share_of_premium_and_vol_points():
    assert half(1_000.0, vega_usd=1_000.0) == pytest.approx(120.0)  # 12 % over 2.02 points x 10 a point
    assert half(100.0, vega_usd=1_000.0) == pytest.approx(20.2)  # 2 points, and 1 more x 10 / 500
    assert half(100.0, vega_usd=1_000.0, size=500.0) == pytest.approx(30.0)


def test_stress_doubles_the_spread_and_not_the_fee():
    """120 x 2 + 0.03 % of 30,000; the fee is at most 12.5 % of premium."""
    assert half(1_000.0, notional_usd=30_000.0, stress=1.0) == pytest.approx(249.0)
    assert half(40.0, notional_usd=30_000.0) == pytest.approx(4.8 + 5.0)


async def test_quote_purchase_mark_and_sale_agree_on_every_cost():
    venue, view = SimulatedVenue(COSTLY), flat_view(vols=TENORS | {Metric.IV_30D: 1.09})
    quote, buy = await bought(venue, view)
    assert buy.premium_usd == pytest.approx(quote.premium_usd)
    assert buy.gas_usd == quote.gas_usd == pytest.approx(5.0 * (1.0 + 3.0 * 0.5))  # half way to full stress
    (mark,) = await venue.held(view)
    sale = await venue.execute(leg(quote, Side.SELL, position_id=buy.position_id, key="sell"), view=view)
    assert mark.liquidation_usd == pytest.approx(sale.premium_usd - sale.gas_usd)
    assert quote.premium_usd - quote.model_usd == pytest.approx(quote.model_usd - sale.premium_usd)
    assert quote.premium_usd > (1.0 + 0.12 * 1.5) * quote.model_usd  # spread in half stress, and a fee


async def test_a_position_that_is_worth_less_than_its_spread_sells_for_nothing():
    venue, view = SimulatedVenue(COSTLY), flat_view()
    quote, _ = await bought(venue, view)
    late = flat_view(9_000.0, now_s=float(quote.instrument.expiry_s - 2 * DAY_S))
    (mark,) = await venue.held(late)
    assert mark.model_usd >= 0.0
    assert mark.liquidation_usd == 0.0


@pytest.mark.parametrize(("gwei", "gas_usd"), [(10.0, 5.0), (30.0, 5.0), (90.0, 15.0), (math.nan, 5.0)])
async def test_gas_follows_dear_days_of_mainnet_and_never_falls_under_the_calm_one(gwei, gas_usd):
    view = flat_view()
    key = SeriesKey(Metric.BASE_FEE_GWEI, "1", "daily-mean")
    gas = Column(times_s=np.array([NOW_S - DAY_S]), values=np.array([gwei]))
    view = replace(view, columns=Columns(series={**view.columns.series, key: gas}))
    (quote, *_) = await quotes(view, market=COSTLY)
    assert quote.gas_usd == pytest.approx(gas_usd)


async def test_an_unsteady_index_bends_the_smile():
    view = flat_view()
    key = SeriesKey(Metric.VOL_OF_VOL, "ETH", "dvol")
    column = Column(times_s=np.array([NOW_S - 1.0]), values=np.array([1.5]))
    bent = replace(view, columns=Columns(series={**view.columns.series, key: column}))
    plain = {q.instrument: q.iv for q in await quotes(view)}
    years, curve = np.array([30 / 365]), np.array([0.8, 0.75, 0.7])
    strike = 3_000.0 * np.exp(-0.75 * np.sqrt(years))
    assert strike_ivs(curve, 3_000.0, strike, years, MARKET, curvature=0.045)[0] == pytest.approx(
        0.75 * 1.075
    )
    assert all(q.iv >= plain.get(q.instrument, 0.0) for q in await quotes(bent))


@pytest.mark.parametrize("key", ["spread_vol", "impact_vol", "spread_stress", "notional_share", "gas_stress"])
def test_a_negative_cost_is_refused(key):
    with pytest.raises(ConfigError, match=key):
        replace(MARKET, **{key: -0.01})
