"""Perpetuals in a backtest (R27): traded with margin, funding, fee and liquidation, or not quoted at all."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from history_builders import DataFolder

from bot.engine.step import decide as engine_decide
from bot.model.hedge import LegStatus
from bot.model.market import Column, Columns, Metric
from bot.model.perpetual import Perpetual, PerpetualAction, PerpetualOrder
from bot.pipeline.memory_journal import MemoryJournal
from bot.simulation.backtest import alvh_steps, cut_moments, run_backtest
from bot.simulation.market.model import load_market, with_implied_vols

from .test_backtest import SPEC, classic, history_of

PERP = Perpetual(venue="simulated-perpetual", id="ETH-PERP", underlying="ETH", settlement="USDC")
UNITS = 100.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return DataFolder(path=tmp_path_factory.mktemp("history")).write_all()


def trading(orders):
    """Return a decide function that trades no option and the given orders, each at its hour."""
    hours = iter(range(10**6))

    def decide(policy, state, frame):
        state, decision = engine_decide(policy, state, frame)
        found = orders.get(next(hours), ())
        return state, replace(decision, plan=replace(decision.plan, legs=()), perpetuals=found)

    return decide


def order(number, size, *, action=PerpetualAction.OPEN, margin_usd=0.0):
    return PerpetualOrder(
        key=f"p.{number}-ETH.USDC-PERPETUAL-{number}",
        group="ETH/USDC",
        action=action,
        perpetual=PERP,
        size=size,
        margin_usd=margin_usd,
        limit_usd=1.0 if size < 0.0 else 1e9,
        expected_usd=0.0,
        valid_until_s=1e12,
    )


def steps(folder, orders, *, market=None):
    market = market or load_market()
    moments = tuple(cut_moments(with_implied_vols(history_of(folder), market), SPEC))

    async def run():
        journal = MemoryJournal()
        found = alvh_steps(moments, classic(), market, journal=journal, decide=trading(orders))
        return [item async for item in found], journal

    taken, journal = asyncio.run(run())
    return moments, taken, journal


def test_a_short_gains_what_the_price_fell_less_its_costs_and_with_its_funding(folder):
    orders = {
        0: (order(0, -UNITS, margin_usd=200_000.0),),
        120: (order(1, UNITS, action=PerpetualAction.REDUCE),),
    }
    moments, taken, journal = steps(folder, orders)
    spots = np.array([item.exposures[0].spot_usd for item in moments])
    opened, closed = journal.perpetual_outcomes()
    assert (opened.status, closed.status) == (LegStatus.FILLED, LegStatus.FILLED)
    costs_usd = 0.0015 * UNITS * (spots[0] + spots[120]) + 2 * 5.0
    gain_usd = UNITS * (spots[0] - spots[120]) - costs_usd + closed.funding_usd
    assert taken[-1].perpetual_cash_usd == pytest.approx(gain_usd)
    assert taken[-1].perpetual_open_usd == 0.0
    assert closed.funding_usd != 0.0  # the data's own
    on_the_way = UNITS * (spots[0] - spots[60]) - 0.0015 * UNITS * spots[0] - 5.0
    held = taken[60].perpetual_open_usd + taken[60].perpetual_cash_usd
    assert held == pytest.approx(on_the_way, abs=abs(closed.funding_usd) + 1e-6)


def test_a_short_whose_margin_is_gone_is_liquidated_and_loses_no_more(folder):
    orders = {0: (order(0, -UNITS, margin_usd=35_000.0),)}
    history = history_of(folder)
    market = load_market()
    moments = tuple(cut_moments(with_implied_vols(history, market), SPEC))
    rising = [_priced(item, 1.0 + 0.01 * number) for number, item in enumerate(moments[:40])]

    async def run():
        journal = MemoryJournal()
        found = alvh_steps(rising, classic(), market, journal=journal, decide=trading(orders))
        return [item async for item in found], journal

    taken, journal = asyncio.run(run())
    opened, ended = journal.perpetual_outcomes()
    assert (opened.status, ended.order.action) == (LegStatus.FILLED, PerpetualAction.ENDED)
    assert ended.fee_usd > 0.0
    assert -35_000.0 - 1_000.0 < taken[-1].perpetual_cash_usd < 0.0
    assert taken[-1].perpetual_open_usd == 0.0


def _priced(moment, factor):
    exposure = moment.exposures[0]
    price = exposure.spot_usd * factor
    series = {
        key: Column(times_s=column.times_s, values=np.append(column.values[:-1], price))
        if key.metric is Metric.PRICE_USD and key.subject == "ETH"
        else column
        for key, column in moment.columns.series.items()
    }
    return replace(moment, columns=Columns(series=series), exposures=(replace(exposure, spot_usd=price),))


def test_a_market_without_the_table_quotes_no_perpetual_and_says_that_puts_stand_in(folder):
    market = replace(load_market(), perpetual=None)
    assert "puts stand in" in " ".join(market.assumptions("ETH"))
    result = asyncio.run(run_backtest(history_of(folder), SPEC, classic(), market))
    assert not any(item.perpetuals or item.decision.perpetuals for item in result.records)
    assert "trades at the spot price" in " ".join(load_market().assumptions("ETH"))


def test_the_report_names_every_order_for_a_perpetual(folder):
    """The JSON of a backtest has what was traded, with its money."""
    decide = trading({0: (order(0, -UNITS, margin_usd=200_000.0),)})
    result = asyncio.run(run_backtest(history_of(folder), SPEC, classic(), load_market(), decide=decide))
    (found,) = result.to_json()["perpetual_orders"]
    assert (found["action"], found["size"], found["status"]) == ("open", -UNITS, "filled")
    assert found["fee_usd"] == pytest.approx(0.0015 * UNITS * found["price_usd"])
    alvh = result.strategies["alvh"]
    gained = UNITS * (found["price_usd"] - result.spot_usd[-1])
    assert alvh.hedge_usd[-1] == pytest.approx(gained, abs=0.01 * UNITS * found["price_usd"])  # and funding
    assert alvh.value_usd[-1] == pytest.approx(
        result.position_usd[-1] + alvh.hedge_usd[-1] + alvh.cash_usd[-1]
    )
