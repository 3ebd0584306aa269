"""Asking all quotes at once says what asking them one by one says (R10, R12-R14, R25)."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import GROUP, NOW_S, board, classic, frame, held, option, quote
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.choose import Slot, choose, refuse_quote
from bot.engine.group import read_group
from bot.engine.quote_table import plainly_sound, table_of
from bot.model.hedge import Layer, OptionType
from bot.model.quotes import QuoteBoard, instruments_of, listing_of, with_parity

POLICY = classic()
GOOD = quote(option(1700, 30))
CROSSED = held(GOOD.instrument, Layer.MID, 5.0, salvage=1.5)
NUMBERS = (
    "size", "premium_usd", "fee_usd", "gas_usd", "swap_usd", "iv", "delta", "model_usd", "min_size", "lot",
    "liquidity", "valid_until_s",
)  # fmt: skip


def group_of(**changes):
    return read_group(POLICY, frame(quotes=(), **changes), GROUP)


def on_board(quotes):
    """Return the quotes as a venue's board, in their order."""
    listing = listing_of([item.instrument for item in quotes])
    columns = {name: np.array([getattr(item, name) for item in quotes], dtype=float) for name in NUMBERS}
    return QuoteBoard(listing, np.arange(len(quotes)), columns, block_number=quotes[0].block_number)


odd = st.sampled_from([0.0, -1.0, 1e-13, 1e-12, 0.5, 1.0, 5.0, 1e12, 1e300, math.inf, -math.inf, math.nan])
mangled = st.tuples(
    st.dictionaries(st.sampled_from([*NUMBERS, "gas_most_usd", "bid_usd"]), odd, max_size=2),
    st.dictionaries(st.sampled_from(["strike_usd", "multiplier"]), odd, max_size=1),
    st.sampled_from([{}, {"indicative": True}, {"indicative": True, "on_paper": True}]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(mangled, min_size=1, max_size=5), st.booleans())
def test_what_is_plainly_sound_is_refused_by_nothing(rows, is_held):
    group = group_of(held=(CROSSED,) if is_held else ())
    quotes = [GOOD] + [
        replace(GOOD, instrument=replace(GOOD.instrument, id=f"{number}", **terms), **numbers, **firm)
        for number, (numbers, terms, firm) in enumerate(rows)
    ]
    table = table_of(group, quotes)
    for row, sound in enumerate(plainly_sound(POLICY, group, table).tolist()):
        assert not sound or refuse_quote(POLICY, group, table.quote(row)) == ""
    (choice,) = choose(POLICY, group, (Layer.MID,), quotes).values()
    words = {f"{item.instrument.id}: {why}" for item in quotes if (why := refuse_quote(POLICY, group, item))}
    assert set(choice.dropped) == words


def test_good_quotes_are_plainly_sound():
    group = group_of()
    quotes = board()
    assert plainly_sound(POLICY, group, table_of(group, quotes)).all()
    expired = [replace(item, valid_until_s=NOW_S - 1.0) for item in quotes]
    assert not plainly_sound(POLICY, group, table_of(group, expired)).any()


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)), st.floats(1.0, 30.0))
def test_a_board_is_chosen_from_as_its_quotes_are(order, days):
    strikes = [1400, 1500, 1600, 1700, 1800, 1900]
    quotes = [quote(option(strike, days + extra)) for strike in strikes for extra in (0, 20)]
    quotes = [quotes[place] for place in order]
    group, layers = group_of(), tuple(Layer)
    assert choose(POLICY, group, layers, on_board(quotes)) == choose(POLICY, group, layers, quotes)


def test_a_board_of_another_underlying_has_nothing_for_a_group():
    listed = [replace(GOOD, instrument=replace(GOOD.instrument, underlying="BTC"))]
    (choice,) = choose(POLICY, group_of(), (Layer.MID,), on_board(listed)).values()
    assert choice.quote is None
    assert choice.slot == Slot(Layer.MID, OptionType.PUT)


def test_a_board_is_a_sequence_whose_quotes_are_made_once():
    quotes = board()
    made = on_board(quotes)
    assert len(made) == len(quotes)
    assert made == on_board(quotes) == tuple(quotes)
    assert made != quotes[1:]
    assert list(made) == [made[place] for place in range(len(made))] == list(quotes)
    assert made[-1] is made[len(made) - 1]
    assert made[1:3] == tuple(quotes[1:3])
    assert instruments_of(made) == instruments_of(quotes)
    assert with_parity(made) == ()
    with pytest.raises(IndexError):
        made[len(made)]
