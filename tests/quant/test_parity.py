"""Put-call parity over venues (S22): exact on model prices, signed gaps, and rows that make no pair."""

import math

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.quant.parity import ParityRows, parity_gap_usd, parity_pairs, widest_gap

EXPIRY_S = 1_700_000_000


def rows(*options, forward=2000.0, discount=1.0):
    """Return rows from (is_call, strike, expiry, price, cost)."""
    is_call, strike, expiry, price, cost = zip(*options, strict=True) if options else ((),) * 5
    size = len(options)
    return ParityRows(
        is_call=np.array(is_call, dtype=np.bool_),
        strike_usd=np.array(strike, dtype=np.float64),
        expiry_s=np.array(expiry, dtype=np.int64),
        price_usd=np.array(price, dtype=np.float64),
        cost_usd=np.array(cost, dtype=np.float64),
        forward_usd=np.full(size, forward),
        discount=np.full(size, discount),
    )


def call(price, *, strike=1900.0, expiry=EXPIRY_S, cost=1.0):
    return True, strike, expiry, price, cost


def put(price, *, strike=1900.0, expiry=EXPIRY_S, cost=1.0):
    return False, strike, expiry, price, cost


@settings(max_examples=50)
@given(st.floats(500, 5000), st.floats(500, 5000), st.floats(0.2, 2.0), st.floats(0.01, 1), st.floats(0, 0.2))
def test_parity_holds_for_quantlibs_black_prices(forward, strike, vol, years, rate):
    discount, deviation = math.exp(-rate * years), vol * math.sqrt(years)
    prices = [
        ql.blackFormula(kind, strike, forward, deviation, discount)
        for kind in (ql.Option.Call, ql.Option.Put)
    ]
    gap = parity_gap_usd(*prices, forward_usd=forward, strike_usd=strike, discount=discount)
    assert abs(float(gap)) < 1e-9 * max(forward, strike)


@pytest.mark.parametrize(
    ("call_usd", "put_usd", "gap"),
    [(150.0, 50.0, 0.0), (160.0, 50.0, 10.0), (150.0, 75.0, -25.0)],
)
def test_s22_gap_is_signed_and_over_the_cost_of_three_legs(call_usd, put_usd, gap):
    found = widest_gap(rows(call(call_usd), put(put_usd)), forward_cost_usd=3.0)
    assert (found.gap_usd, found.cost_usd, found.ratio) == pytest.approx((gap, 5.0, gap / 5.0))


def test_s22_discounts_the_forward():
    found = widest_gap(rows(call(100.0), put(10.0), discount=0.9), forward_cost_usd=0.0)
    assert found.gap_usd == pytest.approx(90.0 - 0.9 * 100.0)


def test_s22_pairs_one_strike_and_expiry_over_all_venues():
    table = rows(
        call(150.0),
        call(155.0),  # another venue
        put(50.0),
        put(90.0, strike=1950.0),
        put(70.0, expiry=EXPIRY_S + 86_400),
    )
    pairs = parity_pairs(table, forward_cost_usd=1.0)
    assert [(pair.call, pair.put) for pair in pairs] == [(0, 2), (1, 2)]
    assert widest_gap(table, forward_cost_usd=1.0).call == 1


def test_s22_widest_is_by_cost_and_not_by_money():
    table = rows(call(190.0, cost=100.0), put(50.0), call(260.0, strike=1800.0), put(50.0, strike=1800.0))
    found = widest_gap(table, forward_cost_usd=0.0)
    assert (found.call, found.gap_usd, found.ratio) == (2, pytest.approx(10.0), pytest.approx(5.0))


@pytest.mark.parametrize(
    "bad",
    [
        call(math.nan),
        call(math.inf),
        call(-1.0),
        call(150.0, cost=math.nan),
        call(150.0, cost=-1.0),
        call(150.0, strike=0.0),
        call(150.0, strike=math.nan),
    ],
)
def test_a_row_with_anything_unknown_makes_no_pair(bad):
    assert widest_gap(rows(bad, put(50.0, strike=bad[1])), forward_cost_usd=1.0) is None


@pytest.mark.parametrize(
    ("forward", "discount"), [(0.0, 1.0), (math.nan, 1.0), (2000.0, 0.0), (2000.0, -1.0)]
)
def test_a_forward_or_discount_that_is_none_makes_no_pair(forward, discount):
    table = rows(call(150.0), put(50.0), forward=forward, discount=discount)
    assert widest_gap(table, forward_cost_usd=1.0) is None


def test_nothing_is_free_and_nothing_is_no_pair():
    assert widest_gap(rows(call(160.0, cost=0.0), put(50.0, cost=0.0)), forward_cost_usd=0.0) is None
    assert widest_gap(rows(), forward_cost_usd=1.0) is None
    assert widest_gap(rows(call(150.0)), forward_cost_usd=1.0) is None


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_the_cost_of_the_forward_is_a_number(cost):
    with pytest.raises(InvariantError, match="forward's cost"):
        parity_pairs(rows(), forward_cost_usd=cost)


def test_arrays_of_different_length_are_refused():
    table = rows(call(150.0), put(50.0))
    with pytest.raises(InvariantError, match="one length"):
        ParityRows(
            is_call=table.is_call,
            strike_usd=table.strike_usd[:1],
            expiry_s=table.expiry_s,
            price_usd=table.price_usd,
            cost_usd=table.cost_usd,
            forward_usd=table.forward_usd,
            discount=table.discount,
        )
