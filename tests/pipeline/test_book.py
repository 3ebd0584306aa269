"""The book is a pure fold of closed legs (R9 counts on it, R18 judges by it)."""

import math
from dataclasses import replace

import pytest
from pipeline_builders import PUT, START_S, filled, leg, position

from bot.model.hedge import Layer, LegStatus, Side, SpendKind
from bot.pipeline.book import book_of, reserved


def test_a_purchase_costs_premium_swap_and_gas():
    book = book_of([filled(leg())])
    assert [spend.usd for spend in book.spends] == [103.0]
    assert book.cash_flow_usd == -103.0
    (hedge,) = book.hedges([position()], now_s=START_S)
    assert (hedge.layer, hedge.group, hedge.cost_usd) == (Layer.MID, "ETH/USDC", 103.0)


def test_a_partial_sale_leaves_its_share_of_the_cost():
    sale = filled(leg(2, side=Side.SELL, size=0.5, position_id="p1"), premium_usd=30.0)
    book = book_of([filled(leg()), sale])
    (hedge,) = book.hedges([position(size=1.5)], now_s=START_S)
    assert hedge.cost_usd == pytest.approx(103.0 * 0.75)
    assert book.spends[-1].kind is SpendKind.PROCEEDS
    assert book.spends[-1].usd == pytest.approx(-27.0)  # 30 received, 1 swap, 2 gas


def test_a_full_sale_forgets_the_purchase():
    sale = filled(leg(2, side=Side.SELL, position_id="p1"))
    assert book_of([filled(leg()), sale]).purchases == {}


def test_a_refused_leg_that_burned_gas_still_counts():
    refused = filled(leg())
    refused = type(refused)(leg=refused.leg, status=LegStatus.REJECTED, at_s=START_S, gas_usd=3.0)
    book = book_of([refused])
    assert [spend.usd for spend in book.spends] == [3.0]
    assert book.purchases == {}


def test_a_position_the_journal_does_not_know_is_kept_in_the_layer_of_its_expiry():
    (hedge,) = book_of([]).hedges([position()], now_s=START_S)
    assert (hedge.layer, hedge.cost_usd, hedge.group) == (Layer.MID, 90.0, "")


def test_an_open_purchase_reserves_its_worst_case_in_every_window():
    (spend,) = reserved([leg(), leg(2, side=Side.SELL, position_id="p1")])
    assert spend.usd == 110.0
    assert spend.at_s == math.inf


def test_a_bought_position_the_venue_does_not_show_stops_new_legs_until_it_expires():
    book = book_of([filled(leg())])
    (reason,) = book.unexplained([], now_s=START_S)
    assert "position p1 at fake (MID) is 2 in the journal and 0 at the venue" in reason
    assert book.hedges([], now_s=START_S) == ()
    after_expiry_s = PUT.expiry_s + 1.0
    assert book.unexplained([], now_s=after_expiry_s) == ()
    (hedge,) = book.hedges([], now_s=after_expiry_s)
    assert (hedge.id, hedge.settleable, hedge.size) == ("p1", True, 2.0)


def test_a_listed_position_is_explained():
    assert book_of([filled(leg())]).unexplained([position()], now_s=START_S) == ()


def test_a_position_of_another_size_than_was_bought_stops_new_legs():
    (reason,) = book_of([filled(leg())]).unexplained([position(size=1.0)], now_s=START_S)
    assert "is 2 in the journal and 1 at the venue" in reason


@pytest.mark.parametrize(
    ("premium_usd", "size", "set_aside"),
    [
        (403.0, 1.0, 0.5 * (400.0 - 51.5)),  # half bought for 51.5 brings 400 net of swap and gas
        (54.5, 1.0, 0.0),  # no profit
        (30.0, 1.0, 0.0),  # a loss
        (403.0, 2.0, 0.5 * (400.0 - 103.0)),
    ],
)
def test_half_of_a_profit_that_is_taken_is_set_aside(premium_usd, size, set_aside):
    """R28: what goes to RESERVE does not come back to R9's budgets, and nobody is paid for it."""
    sold = replace(leg(2, side=Side.SELL, size=size, position_id="p1"), set_aside=0.5)
    book = book_of([filled(leg()), filled(sold, premium_usd=premium_usd)])
    aside = [spend.usd for spend in book.spends if spend.kind is SpendKind.SET_ASIDE]
    assert aside == ([pytest.approx(set_aside)] if set_aside else [])
    assert book.cash_flow_usd == pytest.approx(premium_usd - 3.0 - 103.0)


def test_nothing_is_set_aside_of_an_ordinary_sale_or_of_an_unknown_cost():
    sale = filled(leg(2, side=Side.SELL, position_id="p1"), premium_usd=900.0)
    unknown = filled(replace(leg(2, side=Side.SELL, position_id="p9"), set_aside=0.5), premium_usd=900.0)
    for outcomes in ([filled(leg()), sale], [unknown]):
        assert SpendKind.SET_ASIDE not in {spend.kind for spend in book_of(outcomes).spends}
