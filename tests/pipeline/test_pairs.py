"""Conversions in the book, on paper and in the loop: an option in two parts is one hedge (R27)."""

import math
from dataclasses import replace

import pytest
from perpetual_builders import PERP, FakePerpetuals, perpetual_order, perpetual_position, perpetual_quote
from pipeline_builders import (
    PUT,
    START_S,
    FakeVenue,
    ListJournal,
    block,
    decide_once,
    filled,
    leg,
    moment,
    position,
)

from bot.errors import OutcomeUnknown
from bot.model.hedge import Conversion, LegStatus, OptionType, Quote, Side
from bot.model.market import Columns
from bot.model.perpetual import PerpetualEnd
from bot.pipeline.book import book_of
from bot.pipeline.loop import Pipeline
from bot.ports import MarketView
from bot.settings import PolicySettings, load_policy
from bot.venues.paper import PaperVenue
from bot.venues.paper_pair import PaperPairVenue, paper_pairs, parts_of
from bot.venues.paper_perpetual import PaperPerpetualVenue

CALL = replace(PUT, venue="lyra", option_type=OptionType.CALL)
MADE = replace(CALL, venue="lyra+perp-v2", id="strike:1+vETH", option_type=OptionType.PUT)
PARTS = Conversion(option=CALL, perpetual=PERP, perpetual_size=-1.0, margin_usd=600.0)


def pair_leg(number: int = 1, **changes):
    base = replace(leg(number), instrument=MADE, conversion=PARTS, limit_usd=500.0, expected_usd=100.0)
    return replace(base, **changes)


def bought(**changes):
    outcome = replace(filled(pair_leg(), position_id="7"), perpetual_usd=2_500.0)
    return replace(outcome, **changes)


def test_the_book_knows_a_pair_by_the_option_that_its_venue_lists():
    book = book_of([bought()])
    assert book.paired == {PERP: -2.0}
    listed = replace(position(position_id="7"), instrument=CALL, model_usd=1_100.0, liquidation_usd=1_000.0)
    (shown,) = book.paired_positions([listed], {PERP: 2_400.0})
    assert shown.instrument == MADE
    # A put is worth the call, and what the strike is worth more than the perpetual's price.
    assert shown.model_usd == 1_100.0 + 2.0 * (2_000.0 - 2_400.0)
    (held,) = book.hedges([shown], now_s=START_S)
    assert (held.conversion, held.instrument, held.size, held.cost_usd) == (PARTS, MADE, 2.0, 103.0)
    assert book.unexplained([shown], now_s=START_S) == ()


def test_without_a_mark_of_the_perpetual_a_pair_is_worth_nobody_knows_what():
    listed = replace(position(position_id="7"), instrument=CALL)
    (shown,) = book_of([bought()]).paired_positions([listed], {})
    assert math.isnan(shown.model_usd)
    assert math.isnan(shown.liquidation_usd)


def test_other_options_of_the_same_venue_stay_as_they_are():
    other = replace(position(position_id="8"), instrument=CALL)
    assert book_of([bought()]).paired_positions([other], {PERP: 2_400.0}) == [other]


def test_an_order_to_close_a_pair_says_what_it_is_made_of():
    book = book_of([bought()])
    sale = replace(pair_leg(2), side=Side.SELL, position_id="7", conversion=None)
    assert book.with_parts(sale).conversion == PARTS
    assert book.with_parts(replace(sale, position_id="8")).conversion is None


def test_a_sold_pair_is_gone_and_one_whose_option_stayed_is_a_plain_option():
    sale = replace(pair_leg(2), side=Side.SELL, position_id="7")
    whole = replace(filled(sale, position_id="7"), premium_usd=50.0)
    assert book_of([bought(), whole]).purchases == {}
    alone = replace(whole, status=LegStatus.PARTIAL, filled_size=0.0, premium_usd=40.0)
    book = book_of([bought(), alone])
    (key,) = book.purchases
    assert key == ("lyra", "7")
    assert (book.purchases[key].instrument, book.purchases[key].cost_usd) == (CALL, 63.0)
    assert book.paired == {}


async def test_the_loop_shows_one_hedge_and_no_disagreement():
    journal, seen = ListJournal(), []
    option = FakeVenue(name="lyra")
    pairs = FakeVenue(name="lyra+perp-v2", answers={"plan-1": bought()})
    perps = FakePerpetuals()
    loop = Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
        decide=decide_once({moment(1).now_s: (pair_leg(),)}, seen),
        venues={"lyra": option, "lyra+perp-v2": pairs},
        journal=journal,
        perpetual_venues={"perp-v2": perps},
    )
    await loop.step(moment(1))
    option.positions = (replace(position(position_id="7"), instrument=CALL),)
    perps.positions = (perpetual_position(-2.0),)
    await loop.step(moment(2))
    (held,) = seen[-1].held
    assert held.conversion == PARTS
    assert seen[-1].perpetuals == ()  # the units are the pair's, and not NEAR's
    assert seen[-1].holds == ()


class Listed:
    """A venue with one call, that quotes and never trades."""

    name = "lyra"

    def __init__(self) -> None:
        self.sells = True

    async def quotes(self, view, *, underlying, size):
        if not self.sells:
            return ()
        return (
            Quote(
                instrument=CALL, size=size, premium_usd=600.0 * size, fee_usd=5.0 * size, gas_usd=2.0,
                swap_usd=0.0, iv=0.8, delta=0.7, model_usd=560.0 * size, min_size=0.1, lot=0.1,
                liquidity=100.0, valid_until_s=START_S + 1e9, block_number=1,
            ),
        )  # fmt: skip

    async def held(self, view):
        return ()


class Shown:
    name = "perp-v2"

    def __init__(self) -> None:
        self.mark = 2_500.0

    async def perpetual_quotes(self, view, *, underlying, size):
        return (perpetual_quote(size=size, mark_usd=self.mark),)


def view_at(spot: float = 2_500.0) -> MarketView:
    return MarketView(
        now_s=START_S, block=block(1, START_S), columns=Columns(series={}), spot_usd={"ETH": spot}
    )


@pytest.fixture
def parts():
    return Listed(), Shown()


async def test_a_pair_is_filled_on_paper_in_both_parts_and_rebuilt_from_the_journal(parts):
    option, shown = parts
    real = (PaperVenue(option), PaperPerpetualVenue(shown))
    venue = PaperPairVenue(*real)
    outcome = await venue.execute(pair_leg(), view=view_at())
    assert outcome.status is LegStatus.FILLED, outcome.because
    # 2 calls at 600, the strike 500 under the perpetual's price, and 0.2 % of 2 x 2,500 for that.
    assert outcome.premium_usd == pytest.approx(1_200.0 - 1_000.0 + 10.0)
    assert outcome.perpetual_usd == 2_500.0
    (held,) = await real[1].held_perpetuals(view_at())
    assert held.size == -2.0
    legs, orders = parts_of([outcome])
    again = (PaperVenue(option, earlier=legs), PaperPerpetualVenue(shown, earlier=orders))
    assert [item.size for item in await again[0].held(view_at())] == [2.0]
    assert [item.size for item in await again[1].held_perpetuals(view_at())] == [-2.0]
    sale = replace(pair_leg(2), side=Side.SELL, position_id=outcome.position_id, limit_usd=0.0)
    pairs = paper_pairs([again[0]], [again[1]])["lyra+perp-v2"]
    dear = await pairs.execute(sale, view=view_at())  # 12 % under the call's worth: less than nothing
    assert "given back" in dear.because
    shown.mark = 2_100.0
    sold = await pairs.execute(replace(sale, key="plan-3"), view=view_at(2_100.0))
    assert sold.status is LegStatus.FILLED, sold.because
    assert await again[1].held_perpetuals(view_at()) == ()


async def test_an_option_that_is_refused_on_paper_gives_the_perpetual_back(parts):
    option, shown = parts
    option.sells = False
    real = (PaperVenue(option), PaperPerpetualVenue(shown))
    outcome = await PaperPairVenue(*real).execute(pair_leg(), view=view_at())
    assert outcome.status is LegStatus.REJECTED
    assert "given back" in outcome.because
    assert outcome.premium_usd == pytest.approx(20.0)  # both ways of 0.2 %
    assert await real[1].held_perpetuals(view_at()) == ()


async def test_a_pair_dearer_than_its_limit_is_refused_on_paper(parts):
    real = (PaperVenue(parts[0]), PaperPerpetualVenue(parts[1]))
    outcome = await PaperPairVenue(*real).execute(pair_leg(limit_usd=200.0), view=view_at())
    assert outcome.status is LegStatus.REJECTED
    assert await real[1].held_perpetuals(view_at()) == ()


async def test_a_liquidation_takes_its_part_of_near_and_a_pair_that_lost_its_own_is_a_hold():
    """The short of a pair is gone and its option is not: a person must look, and nothing is opened."""
    journal, seen = ListJournal(), []
    option = FakeVenue(name="lyra")
    pairs = FakeVenue(name="lyra+perp-v2", answers={"plan-1": bought()})
    perps = FakePerpetuals()
    orders = {moment(2).now_s: (perpetual_order(),)}
    inner = decide_once({moment(1).now_s: (pair_leg(),)}, seen)

    def decide(policy, state, frame):
        state, made = inner(policy, state, frame)
        return state, replace(made, perpetuals=orders.get(frame.now_s, ()))

    loop = Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
        decide=decide,
        venues={"lyra": option, "lyra+perp-v2": pairs},
        journal=journal,
        perpetual_venues={"perp-v2": perps},
    )
    await loop.step(moment(1))
    option.positions = (replace(position(position_id="7"), instrument=CALL),)
    perps.positions = (perpetual_position(-2.0),)
    await loop.step(moment(2))
    perps.positions = ()
    perps.end = PerpetualEnd(size=-12.0, price_usd=2_900.0, fee_usd=120.0, because="liquidated")
    record = await loop.step(moment(3))
    (end,) = record.perpetuals
    assert (end.filled_size, end.fee_usd) == (pytest.approx(10.0), pytest.approx(100.0))
    assert "ended -12" in perps.asked
    assert "-2 in the journal and +0 at the venue" in seen[-1].holds[0]


async def test_while_a_pair_is_open_a_difference_is_nobodys():
    """Its perpetual may be traded and its option not: no liquidation is made of that."""
    journal, seen = ListJournal(), []
    pairs = FakeVenue(name="lyra+perp-v2", fail_execute=OutcomeUnknown("pair", "plan-1"))
    perps = FakePerpetuals(end=PerpetualEnd(size=-2.0, price_usd=2_900.0, fee_usd=1.0, because="by hand"))
    loop = Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
        decide=decide_once({moment(1).now_s: (pair_leg(),)}, seen),
        venues={"lyra": FakeVenue(name="lyra"), "lyra+perp-v2": pairs},
        journal=journal,
        perpetual_venues={"perp-v2": perps},
    )
    await loop.step(moment(1))
    perps.positions = (perpetual_position(-2.0),)
    record = await loop.step(moment(2))
    assert (record.perpetuals, seen[-1].holds) == ((), ())
    assert not [item for item in perps.asked if item.startswith("ended")]
    assert seen[-1].open_legs == ("plan-1",)


def test_the_book_knows_the_block_of_its_newest_pair():
    assert book_of([bought(block_number=7)]).pair_block == 7
    assert book_of([bought(block_number=7), replace(filled(leg(3)), block_number=9)]).pair_block == 7
