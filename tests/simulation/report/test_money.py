"""The money of a report: with perpetuals (R27) too, its parts are the whole difference that hedging made."""

import asyncio
import io
from dataclasses import replace

import numpy as np
import pytest
from history_builders import DataFolder
from perpetual_builders import perpetual_order, reduction, traded
from rich.console import Console

from bot.model.hedge import LegStatus
from bot.model.perpetual import PerpetualAction
from bot.model.perpetual_outcome import refused
from bot.pipeline.recorded_orders import JournalOrders
from bot.simulation.backtest import run_backtest
from bot.simulation.market.model import load_market
from bot.simulation.report import charts
from bot.simulation.report.data import from_backtest
from bot.simulation.report.journal import from_steps
from bot.simulation.report.money import Money, PerpetualMoney, perpetual_money_of
from bot.simulation.report.run_page import render
from bot.simulation.report.terminal import print_report
from bot.simulation.wording import usd
from tests.simulation.test_backtest import SPEC, classic, history_of
from tests.simulation.test_perpetual_backtest import UNITS, order, trading

CLOSED_AT = 60  # hour
ORDERS = {
    0: (order(0, -UNITS, margin_usd=200_000.0),),
    CLOSED_AT: (order(1, 0.4 * UNITS, action=PerpetualAction.REDUCE),),
}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A short that was opened, closed by two fifths, and is held with the rest at the end."""
    folder = DataFolder(path=tmp_path_factory.mktemp("history")).write_all()
    return asyncio.run(
        run_backtest(history_of(folder), SPEC, classic(), load_market(), decide=trading(ORDERS))
    )


def gained(data):
    """Return what both lines differ by at the end."""
    known = (data.hedged_usd - data.unhedged_usd)[np.isfinite(data.hedged_usd)]
    return float(known[-1])


def test_a_backtest_that_traded_perpetuals_leaves_no_residual(result):
    data = from_backtest(result)
    opened, closed = data.decided.perpetuals
    money = data.money.perpetual
    assert (opened.status, closed.status) == (LegStatus.FILLED, LegStatus.FILLED)
    assert money.gained_usd == pytest.approx(0.4 * UNITS * (opened.price_usd - closed.price_usd))
    assert money.fee_usd == pytest.approx(opened.fee_usd + closed.fee_usd)
    assert money.gas_usd == opened.gas_usd + closed.gas_usd > 0.0
    assert money.funding_usd == closed.funding_usd != 0.0
    assert money.open_usd == result.strategies["alvh"].perpetual_usd[-1] != 0.0
    assert data.money.mark_usd == 0.0  # no option is held: what is open stands in its own row
    assert data.money.net_usd == pytest.approx(gained(data))
    found = data.attributions["alvh"]
    (bars,) = charts.attribution(found, of_hedge=True).data
    assert dict(zip(bars.y, bars.x, strict=True))["residual"] == 0.0
    assert {"perpetual", "funding", "slippage", "gas"} < set(bars.y)
    assert found.hedge.slippage_usd == -money.fee_usd
    assert found.hedge.net_usd == pytest.approx(gained(data))


@pytest.mark.parametrize("hours", [1, 2, CLOSED_AT, CLOSED_AT + 1, CLOSED_AT + 2, None])
def test_nor_does_a_journal_wherever_it_ends(result, hours):
    """Marks and cash of a record are of before its own orders: those it tells are not in the sums yet."""
    records = result.records[:hours]
    told = tuple(item for record in records for item in record.perpetuals)
    for orders in (None, JournalOrders(perpetual_outcomes=told)):
        data = from_steps(records, title="run", orders=orders)
        assert data.money.net_usd == pytest.approx(gained(data), abs=1e-6)
        assert data.decided.perpetuals == told
    assert from_steps(records, title="run", positions=()).money.net_usd == pytest.approx(
        gained(data), abs=1e-6
    )


def test_the_page_and_the_terminal_name_every_part_and_every_order(result):
    data = from_backtest(result)
    page = render(data)
    console = Console(width=80, file=io.StringIO(), color_system=None)
    print_report(data, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for name, value in data.money.perpetual.parts:
        assert f"Perpetuals: {name}</td>" in page
        assert usd(value, signed=True) in page
        assert f"{name} {usd(value, signed=True)}" in words
    assert page.count("<td>PERP</td>") == 2
    assert "Orders for perpetuals: 2" in words
    assert f"sold {UNITS:,.2f} ETH at" in words
    assert "No hedge was placed" not in data.headline


def test_without_perpetuals_nothing_is_said_of_them(result):
    data = from_backtest(result)
    bare = replace(data, money=Money(), decided=replace(data.decided, perpetuals=()))
    page = render(bare)
    assert "Perpetuals:" not in page
    assert "<td>PERP</td>" not in page
    assert "Of perpetuals" not in page
    assert list(PerpetualMoney().parts) == []


def test_what_perpetuals_gained_is_reckoned_on_their_own_entry():
    """Short 10 at 2,500 and 10 at 2,700; half bought back at 2,400; the rest is liquidated at 2,900.

    Entry 2,600: 10 gain 200 each, 10 lose 300 each; 3 orders cost 10 and 2, the penalty is 150.
    """
    outcomes = [
        traded(perpetual_order(0)),
        traded(perpetual_order(1), price_usd=2_700.0),
        refused(perpetual_order(2), at_s=0.0, because="too dear"),
        replace(traded(perpetual_order(3)), status=LegStatus.UNKNOWN),  # not booked yet
        traded(reduction(4, 10.0), price_usd=2_400.0, funding_usd=30.0),
        traded(
            reduction(5, 10.0, action=PerpetualAction.ENDED), price_usd=2_900.0, fee_usd=150.0, gas_usd=0.0,
            funding_usd=-4.0,
        ),
    ]  # fmt: skip
    money = perpetual_money_of(outcomes, open_usd=0.0)
    assert money.gained_usd == pytest.approx(2_000.0 - 3_000.0)
    assert (money.funding_usd, money.fee_usd, money.gas_usd) == (26.0, 180.0, 6.0)
    assert money.net_usd == pytest.approx(-1_000.0 + 26.0 - 180.0 - 6.0)
    assert sum(value for _, value in money.parts) == pytest.approx(money.net_usd)
    assert Money(sold_usd=50.0, perpetual=money).net_usd == pytest.approx(50.0 + money.net_usd)
