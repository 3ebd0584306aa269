"""The book of perpetuals: a pure fold of closed orders, joined to what the venue holds (R27, REL-I8)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perpetual_builders import GROUP, PERP, perpetual_order, perpetual_position, reduction, traded

from bot.model.hedge import LegStatus, SpendKind
from bot.pipeline.perpetual_book import perpetual_book_of, reserved_perpetuals


def test_a_round_trip_brings_what_the_prices_fees_and_funding_say():
    opened = traded(perpetual_order(0))
    closed = traded(reduction(1, 10.0), price_usd=2_300.0, funding_usd=7.0)
    book = perpetual_book_of([opened, closed])
    assert book.holdings == {}
    assert book.cash_flow_usd == 10.0 * 200.0 + 7.0 - 2 * 12.0
    assert [(item.usd, item.kind) for item in book.spends] == [(12.0, SpendKind.PREMIUM)] * 2


def test_margin_is_in_no_sum_of_money():
    opened = traded(perpetual_order(0, margin_usd=9_999.0))
    assert perpetual_book_of([opened]).cash_flow_usd == -12.0


def test_enlarging_takes_the_mean_price_and_reducing_keeps_it():
    first = traded(perpetual_order(0))
    more = traded(perpetual_order(1, size=-30.0), price_usd=2_100.0)
    part = traded(reduction(2, 20.0), price_usd=2_000.0)
    (held,) = perpetual_book_of([first, more, part]).holdings.values()
    assert (held.size, held.entry_usd) == (-20.0, 2_200.0)


def test_what_was_refused_or_partly_filled_is_booked_as_it_was():
    refused = traded(perpetual_order(0), status=LegStatus.REJECTED, filled_size=0.0, fee_usd=0.0)
    assert perpetual_book_of([refused]).holdings == {}
    assert perpetual_book_of([refused]).cash_flow_usd == -2.0  # gas burnt on the way
    part = traded(perpetual_order(0), status=LegStatus.PARTIAL, filled_size=-4.0)
    assert perpetual_book_of([part]).size_of(PERP) == -4.0


def test_a_position_is_shown_with_the_venues_marks_and_the_books_price():
    book = perpetual_book_of([traded(perpetual_order(0))])
    (held,) = book.held([perpetual_position()])
    assert (held.group, held.size, held.entry_usd, held.mark_usd) == (GROUP, -10.0, 2_500.0, 2_400.0)
    assert (held.margin_usd, held.liquidation_usd, held.funding_usd) == (5_000.0, 2_800.0, 3.0)
    assert book.open_value_usd((held,)) == 10.0 * 100.0 + 3.0
    assert book.unexplained([perpetual_position()]) == ()


def test_two_groups_share_one_net_position_and_its_margin_by_size():
    other = perpetual_order(1, size=-30.0, group="ETH/DAI")
    book = perpetual_book_of([traded(perpetual_order(0)), traded(other)])
    held = {item.group: item for item in book.held([perpetual_position(-40.0, margin_usd=8_000.0)])}
    assert {name: item.size for name, item in held.items()} == {GROUP: -10.0, "ETH/DAI": -30.0}
    assert {name: item.margin_usd for name, item in held.items()} == {GROUP: 2_000.0, "ETH/DAI": 6_000.0}
    settled = traded(reduction(2, 10.0), funding_usd=8.0)
    assert book.after(settled).holdings[(PERP, "ETH/DAI")].funding_usd == 6.0


def test_units_of_conversions_are_the_pairs_and_not_nears():
    book = perpetual_book_of([traded(perpetual_order(0))])
    (held,) = book.held([perpetual_position(-15.0, margin_usd=6_000.0)], paired={PERP: -5.0})
    assert (held.size, held.margin_usd) == (-10.0, 4_000.0)
    assert book.unexplained([perpetual_position(-15.0)], paired={PERP: -5.0}) == ()


def test_what_the_venue_has_less_of_shrinks_and_is_a_hold():
    book = perpetual_book_of([traded(perpetual_order(0))])
    (held,) = book.held([perpetual_position(-4.0)])
    assert held.size == pytest.approx(-4.0)
    (why,) = book.unexplained([perpetual_position(-4.0)])
    assert "-10 in the journal and -4 at the venue" in why
    assert book.held([]) == ()
    assert "+0 at the venue" in book.unexplained([])[0]
    (stray,) = perpetual_book_of([]).unexplained([perpetual_position(2.0)])
    assert "+2 at the venue" in stray


def test_an_open_order_reserves_what_it_is_expected_to_cost():
    nobody_quotes = perpetual_order(1, expected_usd=float("nan"))
    assert [item.usd for item in reserved_perpetuals([perpetual_order(0), nobody_quotes])] == [12.0, 0.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-50.0, 50.0).filter(lambda size: abs(size) > 1e-3), st.floats(500.0, 5_000.0)),
        min_size=1,
        max_size=8,
    ),
    st.floats(500.0, 5_000.0),
)
def test_law_cash_and_open_value_are_what_trading_at_those_prices_gained(trades, mark_usd):
    """Whatever was traded: realised and open gains together are the sum of size times price moved."""
    outcomes = [
        replace(traded(perpetual_order(number, size=size), price_usd=price), fee_usd=0.0, gas_usd=0.0)
        for number, (size, price) in enumerate(trades)
    ]
    book = perpetual_book_of(outcomes)
    size = book.size_of(PERP)
    held = book.held([perpetual_position(size, mark_usd=mark_usd, funding_usd=0.0)]) if size else ()
    gained = sum(size * (mark_usd - price) for size, price in trades)
    assert book.cash_flow_usd + book.open_value_usd(held) == pytest.approx(gained, abs=1e-4)
