"""PaperVenue: fills at the real venue's quotes, marks, settles, and comes back from a journal."""

import math
from dataclasses import dataclass, field, replace

import pytest

from bot.errors import TransientError
from bot.model.hedge import HedgeLeg, Instrument, Layer, LegOutcome, LegStatus, OptionType, Quote, Side
from bot.model.market import Block, Columns, Metric, Observation, columns_from
from bot.model.units import DAY_S
from bot.pipeline.memory_journal import MemoryJournal
from bot.ports import MarketView, VenuePosition
from bot.venues.booked import SaleTerms
from bot.venues.paper import PaperVenue, paper_venues

from .conftest import World, buy_leg

NOW_S = 1_651_708_800
EXPIRY_S = NOW_S + 30 * DAY_S
PUT = Instrument(
    venue="lyra",
    id="strike:7",
    underlying="ETH",
    option_type=OptionType.PUT,
    strike_usd=2_000.0,
    expiry_s=EXPIRY_S,
    settlement="sUSD",
)


def quote(size: float, **changes) -> Quote:
    fields = {
        "instrument": PUT,
        "size": size,
        "premium_usd": 112.0 * size,
        "fee_usd": 12.0 * size,
        "gas_usd": 0.5,
        "swap_usd": 1.12 * size,
        "iv": 0.8,
        "delta": -0.3,
        "model_usd": 100.0 * size,
        "min_size": 0.01,
        "lot": 0.01,
        "liquidity": 50.0,
        "valid_until_s": NOW_S + 60.0,
        "block_number": 1,
    }
    return Quote(**{**fields, **changes})


@dataclass
class FakeVenue:
    """A venue with one put, 50 contracts deep, until its cutoff."""

    name: str = "lyra"
    calls: list[float] = field(default_factory=list)
    listed: bool = True
    broken: bool = False
    changes: dict = field(default_factory=dict)

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        self.calls.append(size)
        if self.broken:
            raise TransientError("node is away")
        cutoff = EXPIRY_S - view.now_s < 12 * 3600
        return (quote(min(size, 50.0), **self.changes),) if self.listed and not cutoff else ()

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        return ()

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        raise AssertionError("a paper venue must never trade")

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        raise AssertionError("a paper venue must never trade")


def view(now_s: float = NOW_S, *, spot: float = 2_100.0, number: int = 1, columns: Columns | None = None):
    block = Block(
        chain_id=1,
        number=number,
        hash=f"0x{number:064x}",
        parent_hash="0x" + "0" * 64,
        timestamp_s=int(now_s),
    )
    return MarketView(now_s=now_s, block=block, columns=columns or Columns(series={}), spot_usd={"ETH": spot})


def order(
    side: Side = Side.BUY, *, key: str = "k/0", size: float = 2.0, limit: float = 230.0, position: str = ""
):
    return HedgeLeg(
        key=key,
        group="ETH/USDC",
        layer=Layer.MID,
        side=side,
        instrument=PUT,
        size=size,
        limit_usd=limit,
        expected_usd=100.0,
        valid_until_s=NOW_S + 90 * DAY_S,
        position_id=position,
    )


async def test_a_purchase_is_filled_at_the_quote_for_exactly_its_size():
    real = FakeVenue()
    paper = PaperVenue(real)
    outcome = await paper.execute(order(), view=view())
    assert outcome.status is LegStatus.FILLED
    assert (outcome.premium_usd, outcome.fee_usd, outcome.gas_usd) == (224.0, 24.0, 0.5)
    assert outcome.swap_usd == pytest.approx(1.12)  # the way in; the quote's figure is both ways
    assert (outcome.position_id, outcome.tx_hash) == ("paper-1", "")
    assert outcome.because.startswith("paper")
    assert real.calls == [2.0]


@pytest.mark.parametrize(
    ("real", "leg", "words"),
    [
        (FakeVenue(), order(limit=223.99), "the leg allows"),
        (FakeVenue(listed=False), order(), "no quote"),
        (FakeVenue(), order(size=51.0, limit=1e6), "would sell 50"),
        (FakeVenue(broken=True), order(), "nothing was filled"),
        (FakeVenue(), replace(order(), valid_until_s=NOW_S - 1.0), "valid until"),
        (FakeVenue(), replace(order(), instrument=replace(PUT, strike_usd=1.0)), "no quote"),
        (FakeVenue(), order(Side.SELL, position="paper-9", limit=0.0), "not held"),
    ],
)
async def test_what_the_real_venue_would_refuse_is_refused(real: FakeVenue, leg: HedgeLeg, words: str):
    paper = PaperVenue(real)
    outcome = await paper.execute(leg, view=view())
    assert outcome.status is LegStatus.REJECTED
    assert words in outcome.because
    real.broken = False
    assert await paper.held(view()) == ()


async def test_inside_the_cutoff_nothing_is_bought():
    outcome = await PaperVenue(FakeVenue()).execute(order(), view=view(EXPIRY_S - 3600))
    assert outcome.status is LegStatus.REJECTED


async def test_marks_follow_the_real_vol_and_sales_the_haircut():
    paper = PaperVenue(FakeVenue(), sale=SaleTerms(haircut=0.12))
    bought = await paper.execute(order(), view=view())
    (held,) = await paper.held(view(spot=1_900.0, number=2))
    assert held.iv == 0.8
    assert held.model_usd > 200.0  # two puts, 100 in the money each, and time value
    assert held.liquidation_usd == pytest.approx(held.model_usd * 0.88 * 0.995 - 0.5)
    sale = order(Side.SELL, key="k/1", size=1.0, limit=0.0, position=bought.position_id)
    sold = await paper.execute(sale, view=view(spot=1_900.0, number=2))
    assert sold.premium_usd == pytest.approx(held.model_usd / 2.0 * 0.88)
    assert "12 %" in sold.because  # the haircut names its source
    (left,) = await paper.held(view(spot=1_900.0, number=3))
    assert left.size == 1.0


async def test_a_sale_under_its_floor_is_refused():
    paper = PaperVenue(FakeVenue())
    bought = await paper.execute(order(), view=view())
    (held,) = await paper.held(view())
    sale = order(Side.SELL, key="k/1", limit=held.model_usd, position=bought.position_id)
    assert (await paper.execute(sale, view=view())).status is LegStatus.REJECTED


async def test_an_option_that_is_no_longer_quoted_keeps_its_last_vol():
    real = FakeVenue()
    paper = PaperVenue(real)
    await paper.execute(order(), view=view())
    (before,) = await paper.held(view(number=2))
    real.listed = False
    (after,) = await paper.held(view(number=3))
    assert (after.iv, after.model_usd) == (before.iv, before.model_usd)


async def test_settlement_at_the_price_at_expiry():
    paper = PaperVenue(FakeVenue())
    bought = await paper.execute(order(), view=view())
    late = view(EXPIRY_S + 3600, spot=1_500.0, number=9)
    (held,) = await paper.held(late)
    assert not held.settleable  # no observation says what the price at expiry was
    settle = order(Side.SETTLE, key="k/2", limit=0.0, position=bought.position_id)
    assert (await paper.execute(settle, view=late)).status is LegStatus.REJECTED
    columns = columns_from(
        Observation(
            metric=Metric.PRICE_USD,
            subject="ETH",
            source="chainlink:main",
            value=value,
            observed_at_s=at_s,
            read_at_s=at_s,
        )
        for at_s, value in ((EXPIRY_S - 60.0, 1_800.0), (EXPIRY_S + 60.0, 1_500.0))
    )
    known = view(EXPIRY_S + 3600, spot=1_500.0, number=9, columns=columns)
    (held,) = await paper.held(known)
    assert (held.settleable, held.model_usd) == (True, 400.0)
    outcome = await paper.execute(settle, view=known)
    assert (outcome.status, outcome.premium_usd) == (LegStatus.FILLED, 400.0)
    assert await paper.held(known) == ()


async def test_restart_from_the_journal_holds_the_same_positions():
    journal, real = MemoryJournal(), FakeVenue()
    paper = PaperVenue(real, earlier=journal.outcomes())
    for number, size in enumerate((2.0, 1.0)):
        leg = order(key=f"k/{number}", size=size)
        journal.open_leg(leg, at_s=NOW_S)
        journal.close_leg(await paper.execute(leg, view=view()))
    sale = order(Side.SELL, key="k/s", size=0.5, limit=0.0, position="paper-1")
    journal.open_leg(sale, at_s=NOW_S)
    journal.close_leg(await paper.execute(sale, view=view()))
    again = PaperVenue(real, earlier=journal.outcomes())
    assert await again.held(view()) == await paper.held(view())
    assert (await again.execute(order(key="k/9"), view=view())).position_id == "paper-3"


async def test_a_leg_left_open_by_a_crash_was_not_filled():
    paper = PaperVenue(FakeVenue())
    assert (await paper.reconcile(order(), view=view())).status is LegStatus.REJECTED


async def test_one_block_is_quoted_once_per_size():
    real = FakeVenue()
    paper = PaperVenue(real)
    await paper.execute(order(), view=view())
    await paper.held(view())
    await paper.quotes(view(), underlying="ETH", size=1.0)
    await paper.held(view())
    assert real.calls == [2.0, 1.0]
    await paper.held(view(number=2))
    assert real.calls == [2.0, 1.0, 1.0]


@pytest.mark.parametrize("cost", ["gas_usd", "swap_usd", "fee_usd"])
async def test_a_cost_that_is_not_known_is_never_booked(cost: str):
    paper = PaperVenue(FakeVenue(changes={cost: math.nan}))
    outcome = await paper.execute(order(), view=view())
    assert outcome.status is LegStatus.REJECTED
    assert f"the cost of {cost.removesuffix('_usd')} is not known" in outcome.because
    assert (outcome.gas_usd, outcome.swap_usd, outcome.fee_usd) == (0.0, 0.0, 0.0)
    assert await paper.held(view()) == ()


async def test_an_indicative_fill_says_so():
    paper = PaperVenue(FakeVenue(changes={"indicative": True, "because": "no overrides"}))
    outcome = await paper.execute(order(), view=view())
    assert outcome.status is LegStatus.FILLED
    assert "indicative: no overrides" in outcome.because
    assert outcome.indicative
    exact = await PaperVenue(FakeVenue()).execute(order(), view=view())
    assert not exact.indicative


async def test_the_books_of_two_paper_venues_stay_apart():
    put = replace(PUT, venue="deribit")
    shown = FakeVenue(name="deribit", changes={"indicative": True, "instrument": put})
    venues = paper_venues([FakeVenue(), shown], earlier=())
    bought = [
        await venues[name].execute(replace(order(), instrument=instrument), view=view())
        for name, instrument in (("lyra", PUT), ("deribit", put))
    ]
    assert [item.position_id for item in bought] == ["paper-1", "paper-deribit-1"]
    again = paper_venues([FakeVenue(), shown], earlier=bought)
    for name, outcome in zip(("lyra", "deribit"), bought, strict=True):
        (held,) = await again[name].held(view())
        assert (held.id, held.instrument.venue) == (outcome.position_id, name)
    closing = replace(order(Side.SELL, key="k/9", limit=0.0, position="paper-deribit-1"), instrument=put)
    sold = await again["deribit"].execute(closing, view=view())
    assert (sold.status, sold.indicative) == (LegStatus.FILLED, True)
    assert "its own bids are not read" in sold.because


@pytest.mark.devnet
async def test_paper_costs_what_the_real_venue_takes(world: World):
    """R25: the dry run's premium is the live premium, to the second that lies between them."""
    paper = PaperVenue(world.venue)
    wanted = await world.put_near_delta(0.3, size=2.0)
    at = await world.view()
    on_paper = await paper.execute(buy_leg(wanted), view=at)
    live = await world.venue.execute(buy_leg(wanted), view=at)
    assert (on_paper.status, live.status) == (LegStatus.FILLED, LegStatus.FILLED)
    assert on_paper.premium_usd == pytest.approx(live.premium_usd, rel=1e-4)
    assert on_paper.swap_usd == pytest.approx(live.swap_usd, rel=0.2)
    assert on_paper.gas_usd == pytest.approx(live.gas_usd, rel=0.25)
    after = await world.view()
    (marked,) = await paper.held(after)
    (real,) = await world.venue.held(after)
    assert marked.model_usd == pytest.approx(real.model_usd, rel=1e-9)
    assert marked.liquidation_usd == pytest.approx(real.liquidation_usd, rel=0.15)
    assert not math.isnan(marked.liquidation_usd)
