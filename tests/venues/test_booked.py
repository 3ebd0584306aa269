"""The book behind paper and simulated venues: fills, marks, settlement, rebuilding from a journal."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.hedge import HedgeLeg, Instrument, Layer, LegOutcome, LegStatus, OptionType, Side
from bot.model.market import Metric, Observation, columns_from
from bot.model.units import DAY_S, HOUR_S
from bot.venues.booked import (
    SETTLEMENT_MAX_AGE_S,
    BookedPositions,
    Fill,
    SaleTerms,
    marked,
    model_usd,
    models_usd,
    payoff_usd,
    sale_fill,
    settlement_fill,
    settlement_spot,
)

NOW_S = 1_651_708_800.0
EXPIRY_S = int(NOW_S) + 30 * DAY_S
PUT = Instrument(
    venue="lyra",
    id="strike:7",
    underlying="ETH",
    option_type=OptionType.PUT,
    strike_usd=2_000.0,
    expiry_s=EXPIRY_S,
    settlement="sUSD",
)
CALL = replace(PUT, option_type=OptionType.CALL)


def leg(
    side: Side = Side.BUY,
    *,
    key: str = "k/0",
    size: float = 2.0,
    limit: float | None = None,
    position: str = "",
):
    return HedgeLeg(
        key=key,
        group="ETH/USDC",
        layer=Layer.MID,
        side=side,
        instrument=PUT,
        size=size,
        limit_usd=limit if limit is not None else (110.0 if side is Side.BUY else 0.0),
        expected_usd=100.0,
        valid_until_s=NOW_S + HOUR_S,
        position_id=position,
    )


def fill(premium_usd: float = 100.0, at_s: float = NOW_S) -> Fill:
    return Fill(at_s=at_s, premium_usd=premium_usd, fee_usd=12.0, swap_usd=1.0, gas_usd=2.0)


def spot_columns(*points: tuple[float, float], source: str = "chainlink:main"):
    return columns_from(
        Observation(
            metric=Metric.PRICE_USD,
            subject="ETH",
            source=source,
            value=value,
            observed_at_s=at_s,
            read_at_s=at_s,
        )
        for at_s, value in points
    )


def test_buys_get_sequential_ids_and_their_whole_cost():
    book = BookedPositions(prefix="paper")
    outcomes = [book.buy(leg(key=f"k/{n}"), fill()) for n in range(3)]
    assert [item.position_id for item in outcomes] == ["paper-1", "paper-2", "paper-3"]
    assert {item.status for item in outcomes} == {LegStatus.FILLED}
    assert [item.cost_usd for item in book.positions()] == [103.0] * 3


@pytest.mark.parametrize("premium_usd", [110.01, math.nan, math.inf])
def test_a_purchase_over_its_limit_or_of_unknown_price_is_refused(premium_usd: float):
    book = BookedPositions()
    assert book.buy(leg(), fill(premium_usd)).status is LegStatus.REJECTED
    assert book.positions() == ()


def test_a_partial_sale_keeps_the_rest_at_its_share_of_the_cost():
    book = BookedPositions()
    held = book.buy(leg(size=2.0), fill()).position_id
    sold = book.sell(leg(Side.SELL, size=0.5, position=held), fill(30.0))
    assert (sold.status, sold.filled_size, sold.premium_usd) == (LegStatus.FILLED, 0.5, 30.0)
    (rest,) = book.positions()
    assert (rest.size, rest.cost_usd) == (1.5, pytest.approx(103.0 * 0.75))
    book.sell(leg(Side.SELL, size=1.5, position=held), fill(90.0))
    assert book.positions() == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"position_id": "paper-9"},
        {"size": 2.1},
        {"instrument": replace(PUT, strike_usd=1_900.0)},
        {"limit_usd": 50.01},
    ],
)
def test_a_sale_that_does_not_fit_the_book_is_refused_and_changes_nothing(wrong: dict):
    book = BookedPositions()
    held = book.buy(leg(), fill()).position_id
    before = book.positions()
    assert book.sell(replace(leg(Side.SELL, position=held), **wrong), fill(50.0)).status is LegStatus.REJECTED
    assert book.positions() == before


def test_settlement_needs_expiry_and_a_known_price():
    book = BookedPositions()
    held = book.buy(leg(), fill()).position_id
    order = leg(Side.SETTLE, position=held)
    assert book.settle(order, fill(10.0, at_s=EXPIRY_S - 1.0)).status is LegStatus.REJECTED
    assert book.settle(order, fill(math.nan, at_s=EXPIRY_S)).status is LegStatus.REJECTED
    assert book.settle(order, fill(0.0, at_s=EXPIRY_S)).status is LegStatus.FILLED
    assert book.positions() == ()


@given(
    st.lists(
        st.tuples(st.floats(0.01, 5.0), st.floats(0.0, 1.0)),
        max_size=8,
    )
)
def test_a_book_rebuilt_from_its_outcomes_is_the_same_book(moves: list[tuple[float, float]]):
    """K1-K12: what a restart reads from the journal is what was held."""
    book, outcomes = BookedPositions(), []
    for number, (size, share) in enumerate(moves):
        bought = book.buy(leg(key=f"b/{number}", size=size), fill())
        outcomes.append(bought)
        if share > 0.01:
            order = leg(Side.SELL, key=f"s/{number}", size=size * share, position=bought.position_id)
            outcomes.append(book.sell(order, fill(5.0)))
        outcomes.append(book.buy(leg(key=f"r/{number}", limit=1.0), fill()))  # refused
    again = BookedPositions()
    again.replay(outcomes)
    assert again.positions() == book.positions()
    assert again.buy(leg(key="next"), fill()).position_id == book.buy(leg(key="next"), fill()).position_id


def test_replay_passes_over_other_books():
    outcome = LegOutcome(leg=leg(), status=LegStatus.FILLED, at_s=NOW_S, filled_size=2.0, position_id="7")
    book = BookedPositions()
    book.replay([outcome])
    assert book.positions() == ()


@pytest.mark.parametrize(
    ("instrument", "spot", "expected"),
    [
        (PUT, 1_800.0, 400.0),
        (PUT, 2_000.0, 0.0),
        (PUT, 2_500.0, 0.0),
        (CALL, 2_500.0, 1_000.0),
        (CALL, 1.0, 0.0),
    ],
)
def test_payoff(instrument: Instrument, spot: float, expected: float):
    assert payoff_usd(instrument, spot, size=2.0) == expected
    assert math.isnan(payoff_usd(instrument, math.nan, size=2.0))


def test_settlement_price_is_the_last_known_at_or_before_expiry():
    columns = spot_columns(
        (EXPIRY_S - 600.0, 1_900.0),
        (EXPIRY_S, 1_850.0),
        (EXPIRY_S + 1.0, 1_000.0),
        (EXPIRY_S - 1.0, math.nan),
    )
    assert math.isnan(settlement_spot(columns, PUT, now_s=EXPIRY_S - 1.0))
    assert settlement_spot(columns, PUT, now_s=EXPIRY_S) == 1_850.0
    assert settlement_spot(columns, PUT, now_s=EXPIRY_S + DAY_S) == 1_850.0


def test_a_settlement_price_that_is_too_old_is_unknown_and_the_next_source_is_asked():
    old = spot_columns((EXPIRY_S - SETTLEMENT_MAX_AGE_S - 1.0, 1_900.0))
    assert math.isnan(settlement_spot(old, PUT, now_s=EXPIRY_S + 1.0))
    other = spot_columns((EXPIRY_S - 5.0, 1_800.0), source="twap:pool")
    both = replace(old, series={**old.series, **other.series})
    assert settlement_spot(both, PUT, now_s=EXPIRY_S + 1.0) == 1_800.0


def test_marks_before_inside_and_after_the_cutoff():
    book = BookedPositions()
    book.buy(leg(), fill())
    (position,) = book.positions()
    terms = SaleTerms(haircut=0.12, swap_share=0.01, gas_usd=3.0, cutoff_s=12 * HOUR_S)
    live = marked(position, spot_usd=1_900.0, iv=0.8, now_s=NOW_S, terms=terms)
    assert live.liquidation_usd == pytest.approx(live.model_usd * 0.88 * 0.99 - 3.0)
    assert not live.settleable
    late = marked(position, spot_usd=1_900.0, iv=0.8, now_s=EXPIRY_S - HOUR_S, terms=terms)
    assert late.model_usd > 0.0
    assert math.isnan(late.liquidation_usd)
    over = marked(position, spot_usd=1.0, iv=0.8, now_s=EXPIRY_S, terms=terms, settlement_usd=1_900.0)
    assert (over.model_usd, over.settleable) == (200.0, True)
    assert over.liquidation_usd == pytest.approx(200.0 * 0.99 - 3.0)
    blind = marked(position, spot_usd=1.0, iv=0.8, now_s=EXPIRY_S, terms=terms)
    assert math.isnan(blind.model_usd)
    assert not blind.settleable


def test_many_positions_are_valued_as_each_alone_to_the_last_bit():
    listed = [
        replace(kind, strike_usd=2_000.0 + 150.0 * number, expiry_s=EXPIRY_S + days * DAY_S)
        for number, (kind, days) in enumerate([(PUT, 0), (CALL, 3), (PUT, -30), (CALL, 60), (PUT, -31)])
    ]
    sizes, ivs = (1.0, 2.5, 3.0, 0.1, 7.0), (0.8, 1.3, 0.8, 1.3, 0.8)
    spots = (1_900.0, 1_950.0, 1_900.0, math.nan, 1_800.0)
    found = models_usd(listed, sizes=sizes, spots_usd=spots, ivs=ivs, now_s=NOW_S)
    alone = [
        model_usd(item, size=size, spot_usd=spot, iv=iv, now_s=NOW_S)
        for item, size, spot, iv in zip(listed, sizes, spots, ivs, strict=True)
    ]
    assert list(map(repr, found)) == list(map(repr, alone))
    # Expired: intrinsic, 2 300 - 1 900 and 2 600 - 1 800; without a price it is not known.
    assert (found[2], found[4]) == (3.0 * 400.0, 7.0 * 800.0)
    assert math.isnan(found[3])


def test_sale_and_settlement_fills():
    book = BookedPositions()
    held = book.buy(leg(), fill()).position_id
    (position,) = book.positions()
    terms = SaleTerms(haircut=0.12, swap_share=0.01, gas_usd=3.0)
    mark = marked(position, spot_usd=1_900.0, iv=0.8, now_s=NOW_S, terms=terms)
    half = sale_fill(mark, leg(Side.SELL, size=1.0, position=held), now_s=NOW_S, terms=terms)
    assert half.premium_usd == pytest.approx(0.5 * 0.88 * mark.model_usd)
    assert half.fee_usd == pytest.approx(0.5 * 0.12 * mark.model_usd)
    assert (half.swap_usd, half.gas_usd) == (pytest.approx(0.01 * half.premium_usd), 3.0)
    ended = sale_fill(mark, leg(Side.SELL, position=held), now_s=EXPIRY_S, terms=terms)
    assert math.isnan(ended.premium_usd)
    paid = settlement_fill(leg(Side.SETTLE, position=held), spot_usd=1_900.0, now_s=EXPIRY_S, terms=terms)
    assert paid.premium_usd == 200.0
