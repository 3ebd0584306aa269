"""Numbers and orders read the same everywhere, and say what they do not know."""

import math
from dataclasses import replace

import pytest
from pipeline_builders import START_S, filled, leg

from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.simulation.wording import budget_names, order_words, percent, usd, when


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "$1,234"),
        (99.996, "$100"),
        (12.345, "$12.35"),
        (0.0, "$0"),
        (-0.001, "$0"),
        (-2000, "-$2,000"),
        (-3.5, "-$3.50"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
    ],
)
def test_money_has_thousands_and_no_cents_above_100(value, text):
    assert usd(value) == text


@pytest.mark.parametrize(("value", "text"), [(5.0, "+$5.00"), (-500.0, "-$500"), (0.0, "$0")])
def test_signed_money(value, text):
    assert usd(value, signed=True) == text


def test_fractions_and_times():
    assert percent(0.0949) == "9.5 %"
    assert percent(math.nan) == "unknown"
    assert when(START_S) == "2022-05-05 00:00"
    assert when(math.nan) == "unknown"


@pytest.mark.parametrize(
    ("side", "words"),
    [
        (Side.BUY, "bought 2.00 ETH 2,000 put, 30 d, for $100"),
        (Side.SELL, "sold 2.00 ETH 2,000 put, 30 d, for $100"),
        (Side.SETTLE, "settled 2.00 ETH 2,000 put, for $100"),
    ],
)
def test_done_orders_say_what_for_how_much(side, words):
    assert order_words(filled(leg(side=side))) == words


def test_a_sum_can_stand_in_a_column_of_its_own():
    assert order_words(filled(leg()), money=False) == "bought 2.00 ETH 2,000 put, 30 d"


def test_the_last_day_is_counted_in_hours():
    late = replace(filled(leg()), at_s=START_S + 29.5 * 86_400)
    assert "put, 12 h" in order_words(late)


def test_a_part_is_a_part():
    part = replace(filled(leg()), status=LegStatus.PARTIAL, filled_size=0.5)
    assert order_words(part).startswith("bought 0.50 of 2.00 ETH")


@pytest.mark.parametrize(
    ("status", "start"),
    [
        (LegStatus.REJECTED, "could not buy 2.00 ETH 2,000 put, 30 d: too dear"),
        (LegStatus.UNKNOWN, "not known yet whether it could buy 2.00 ETH"),
        (LegStatus.WAITING, "waits to buy 2.00 ETH"),
    ],
)
def test_orders_that_are_not_done_never_read_as_done(status, start):
    words = order_words(LegOutcome(leg=leg(), status=status, at_s=START_S, because="too dear"))
    assert words.startswith(start)
    assert "bought" not in words
    assert "$0" not in words


def test_only_known_budgets_are_named():
    limits = {"session_cap_usd": 10.0, "session_used_usd": 4.0, "budget_30d_cap_usd": 5.0, "planned_usd": 1.0}
    assert budget_names(limits) == [("in 24 h", "session_cap_usd", "session_used_usd")]
