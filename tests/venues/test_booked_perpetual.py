"""Perpetuals on paper and simulated: fills, margin, funding by the data, liquidation (R27)."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perpetual_builders import PERP, perpetual_order, perpetual_quote, reduction
from pipeline_builders import START_S, block

from bot.errors import ConfigError, TransientError
from bot.model.hedge import LegStatus
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.perpetual import PerpetualAction
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.ports import MarketView
from bot.venues.booked_perpetual import BookedPerpetual, accrued_usd
from bot.venues.paper_perpetual import PaperPerpetualVenue
from bot.venues.simulated_perpetual import PerpetualMarket, SimulatedPerpetualVenue

MARKET = PerpetualMarket(
    cost=0.002,
    initial_margin=0.1,
    maintenance_margin=0.0625,
    penalty=0.025,
    gas_usd=1.0,
    lot=0.01,
    max_units=1_000.0,
)
FUNDING = SeriesKey(Metric.FUNDING_APR, "ETH", "binance")
SIM = SimulatedPerpetualVenue(MARKET)
LISTED = replace(PERP, venue=SIM.name, id="ETH-PERP")


def view(hours: float = 0.0, *, spot: float = 2_500.0, apr: float = 0.1, known: bool = True) -> MarketView:
    """Return a view with one funding rate every 8 hours."""
    now_s = START_S + hours * HOUR_S
    times = np.arange(START_S - 8 * HOUR_S, now_s + 1.0, 8.0 * HOUR_S)
    series = {FUNDING: Column(times_s=times, values=np.full(times.size, apr))} if known else {}
    return MarketView(
        now_s=now_s,
        block=block(1 + int(hours), now_s),
        columns=Columns(series=series),
        spot_usd={"ETH": spot},
    )


def sim_order(*args, **changes):
    return perpetual_order(*args, perpetual=LISTED, **changes)


def sim_reduction(*args, **changes):
    return reduction(*args, perpetual=LISTED, **changes)


@pytest.fixture
def venue() -> SimulatedPerpetualVenue:
    return SimulatedPerpetualVenue(MARKET)


async def test_the_life_of_a_short_in_the_data(venue):
    (quote,) = await venue.perpetual_quotes(view(), underlying="ETH", size=10.0)
    assert (quote.mark_usd, quote.funding_apr, quote.cost) == (2_500.0, 0.1, 0.002)
    opened = await venue.execute(sim_order(0), view=view())
    assert (opened.status, opened.filled_size, opened.price_usd) == (LegStatus.FILLED, -10.0, 2_500.0)
    assert (opened.fee_usd, opened.margin_usd, opened.gas_usd) == (50.0, 5_000.0, 1.0)
    (held,) = await venue.held_perpetuals(view(80, spot=2_400.0))
    assert held.funding_usd == pytest.approx(10.0 * 2_400.0 * 0.1 * 80 * HOUR_S / YEAR_S)  # a short receives
    assert held.margin_usd == 4_950.0
    # 4,950 + funding - 10 (L - 2,500) = 6.25 % of 10 L
    assert held.liquidation_usd == pytest.approx((29_950.0 + held.funding_usd) / 10.625)
    closed = await venue.execute(sim_reduction(1, 10.0), view=view(80, spot=2_400.0))
    assert closed.funding_usd == pytest.approx(held.funding_usd)
    back = 4_950.0 + 1_000.0 + held.funding_usd - 48.0
    assert closed.margin_usd == pytest.approx(-back)  # all that was left comes back
    assert await venue.held_perpetuals(view(81)) == ()


async def test_a_negative_rate_is_paid_and_a_hole_in_the_rates_pays_nothing(venue):
    await venue.execute(sim_order(0), view=view(apr=-0.5))
    (held,) = await venue.held_perpetuals(view(24, apr=-0.5))
    assert held.funding_usd == pytest.approx(-10.0 * 2_500.0 * 0.5 * DAY_S / YEAR_S)
    item = BookedPerpetual(perpetual=LISTED, size=-10.0, entry_usd=2_500.0, margin_usd=0.0, settled_s=START_S)
    one = Columns(series={FUNDING: Column(times_s=np.array([START_S]), values=np.array([0.1]))})
    ten_days = accrued_usd(one, item, mark_usd=2_500.0, now_s=START_S + 10 * DAY_S)
    assert ten_days == pytest.approx(10.0 * 2_500.0 * 0.1 * DAY_S / YEAR_S)  # one rate stands for a day
    assert accrued_usd(Columns(series={}), item, mark_usd=2_500.0, now_s=START_S + DAY_S) == 0.0


async def test_without_price_or_funding_nothing_is_quoted_and_nothing_is_opened(venue):
    assert await venue.perpetual_quotes(view(known=False), underlying="ETH", size=1.0) == ()
    assert await venue.perpetual_quotes(view(), underlying="BTC", size=1.0) == ()
    outcome = await venue.execute(sim_order(0), view=view(spot=math.nan))
    assert "price is unknown" in outcome.because


async def test_it_is_liquidated_where_a_real_venue_would(venue):
    await venue.execute(sim_order(0), view=view(apr=0.0))
    (held,) = await venue.held_perpetuals(view(1, apr=0.0))
    just = view(2, spot=held.liquidation_usd - 0.01, apr=0.0)
    assert len(await venue.held_perpetuals(just)) == 1
    over = view(3, spot=held.liquidation_usd + 0.01, apr=0.0)
    assert await venue.held_perpetuals(over) == ()
    end = await venue.ended(LISTED, -10.0, view=over, since_block=0)
    assert (end.size, end.price_usd) == (-10.0, pytest.approx(held.liquidation_usd, abs=0.02))
    assert end.fee_usd == pytest.approx(0.025 * 10.0 * held.liquidation_usd, rel=1e-4)
    assert await venue.ended(LISTED, -10.0, view=over, since_block=0) is None  # once


async def test_a_jump_past_the_margin_loses_the_margin_and_no_more(venue):
    await venue.execute(sim_order(0), view=view(apr=0.0))
    crash = view(1, spot=9_000.0, apr=0.0)
    end = await venue.ended(LISTED, -10.0, view=crash, since_block=0)
    assert -end.size * (2_500.0 - end.price_usd) - end.fee_usd == pytest.approx(-4_950.0)
    assert end.fee_usd == 0.0


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (sim_order(0, valid_until_s=START_S - 1.0), "valid until"),
        (sim_order(0, limit_usd=2_499.0), "the order's limit"),
        (sim_order(0, limit_usd=math.nan), "the order's limit"),
        (sim_order(0, margin_usd=2_000.0), "does not bear"),
        (sim_order(0, size=-2_000.0, margin_usd=1e7), "the venue trades 1000"),
        (sim_reduction(0, 1.0), "would not reduce"),
        (sim_order(0, size=0.0, action=PerpetualAction.ADD_MARGIN, margin_usd=5.0), "nothing to add"),
    ],
)
async def test_what_a_real_venue_refuses_is_refused(venue, order, reason):
    outcome = await venue.execute(order, view=view())
    assert outcome.status is LegStatus.REJECTED
    assert reason in outcome.because
    assert await venue.held_perpetuals(view()) == ()


async def test_a_reduction_never_turns_a_short_into_a_long(venue):
    await venue.execute(sim_order(0), view=view())
    outcome = await venue.execute(sim_reduction(1, 10.5), view=view())
    assert "would not reduce" in outcome.because
    part = await venue.execute(sim_reduction(2, 4.0, release_usd=1e9), view=view())
    (held,) = await venue.held_perpetuals(view())
    assert held.size == -6.0
    assert part.margin_usd < 0.0  # no more than what leaves the initial margin
    assert held.margin_usd >= 0.1 * 6.0 * 2_500.0 - 1e-6


async def test_margin_moves_the_price_of_liquidation_away(venue):
    await venue.execute(sim_order(0), view=view())
    (before,) = await venue.held_perpetuals(view())
    added = sim_order(1, size=0.0, action=PerpetualAction.ADD_MARGIN, margin_usd=1_000.0, limit_usd=math.nan)
    assert (await venue.execute(added, view=view())).status is LegStatus.FILLED
    (after,) = await venue.held_perpetuals(view())
    assert after.liquidation_usd == pytest.approx(before.liquidation_usd + 1_000.0 / 10.625)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.5, 20.0)), min_size=1, max_size=8), st.data())
async def test_law_a_journal_rebuilds_the_positions(steps, data):
    venue, outcomes = SimulatedPerpetualVenue(MARKET), []
    for number, (opens, size) in enumerate(steps):
        spot = data.draw(st.floats(2_000.0, 2_600.0))
        order = (
            sim_order(number, size=-size, margin_usd=size * 2_000.0) if opens else sim_reduction(number, size)
        )
        outcomes.append(await venue.execute(order, view=view(number, spot=spot)))
    again = SimulatedPerpetualVenue(MARKET)
    again.replay(outcomes)
    end = view(len(steps), spot=2_300.0)
    assert await again.held_perpetuals(end) == await venue.held_perpetuals(end)


def test_a_market_that_no_venue_has_is_refused_by_the_key():
    for key, value in {"cost": 0.5, "maintenance_margin": 0.2, "lot": 0.0, "gas_usd": math.inf}.items():
        with pytest.raises(ConfigError, match=key):
            replace(MARKET, **{key: value})


class Shown:
    """A venue of perpetuals that only quotes."""

    name = "perp-v2"

    def __init__(self) -> None:
        self.mark, self.fails, self.asked = 2_500.0, False, 0

    async def perpetual_quotes(self, view, *, underlying, size):
        self.asked += 1
        if self.fails:
            raise TransientError("node is gone")
        return (perpetual_quote(size=size, mark_usd=self.mark),) if underlying == "ETH" else ()


async def test_paper_fills_at_the_real_quote_and_never_asks_the_real_venue_to_trade():
    real = Shown()
    paper = PaperPerpetualVenue(real)
    outcome = await paper.execute(perpetual_order(0), view=view())
    assert (outcome.status, outcome.price_usd, outcome.fee_usd) == (LegStatus.FILLED, 2_500.0, 50.0)
    assert outcome.because.startswith("paper")
    assert (outcome.tx_hash, outcome.gas_usd) == ("", 1.0)
    real.mark = 2_400.0
    (held,) = await paper.held_perpetuals(view(8))
    assert (held.size, held.mark_usd) == (-10.0, 2_400.0)
    assert held.funding_usd > 0.0
    again = PaperPerpetualVenue(real, earlier=[outcome])
    assert await again.held_perpetuals(view(8)) == (held,)
    left = await paper.reconcile(perpetual_order(5), view=view())
    assert left.status is LegStatus.REJECTED


async def test_paper_marks_nothing_it_cannot_see_and_says_so():
    real = Shown()
    paper = PaperPerpetualVenue(real)
    await paper.execute(perpetual_order(0), view=view())
    real.fails = True
    with pytest.raises(TransientError):
        await paper.held_perpetuals(view(1))
    outcome = await paper.execute(reduction(1, 10.0), view=view(1))
    assert "nothing was filled" in outcome.because
    real.fails, real.mark = False, 4_000.0
    assert await paper.held_perpetuals(view(2)) == ()
    end = await paper.ended(PERP, -10.0, view=view(2), since_block=0)
    assert end is not None
    assert await paper.ended(PERP, -10.0, view=view(2), since_block=0) is None
