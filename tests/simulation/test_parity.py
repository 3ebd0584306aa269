"""R25: what fills cost beside what they would have cost offline."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from pipeline_builders import filled, leg

from bot.model.hedge import HeldHedge, Layer, Quote, Side
from bot.simulation.parity import Money, Parity, parity_document, sums
from bot.terminal.parity import parity_lines


def quote(size=4.0, **changes):
    """100 USD for two contracts, 4 of it fees; 1 USD of swaps there and back; 1.5 of gas."""
    base = Quote(
        instrument=leg().instrument, size=size, premium_usd=50.0 * size, fee_usd=2.0 * size, gas_usd=1.5,
        swap_usd=0.5 * size, iv=0.8, delta=-0.3, model_usd=45.0 * size, min_size=0.1, lot=0.1, liquidity=1e4,
        valid_until_s=1e10, block_number=1,
    )  # fmt: skip
    return replace(base, **changes)


def held(size=3.0, liquidation_usd=330.0):
    return HeldHedge(
        id="p1", instrument=leg().instrument, layer=Layer.MID, size=size, cost_usd=300.0, opened_at_s=0.0,
        iv=0.8, model_usd=400.0, liquidation_usd=liquidation_usd,
    )  # fmt: skip


def step(*, legs=(), outcomes=(), quotes=(), hedges=()):
    """What a replay shows of one step, as far as money goes."""
    return SimpleNamespace(
        frame=SimpleNamespace(quotes=quotes, held=hedges, perpetual_quotes=()),
        decision=SimpleNamespace(plan=SimpleNamespace(legs=legs), perpetuals=()),
        record=SimpleNamespace(outcomes=outcomes, perpetuals=()),
    )


def test_a_purchase_is_set_beside_the_quote_it_was_decided_on():
    parity, order = Parity(), leg(1, size=2.0)
    parity.see(step(legs=(order,), outcomes=(filled(order, premium_usd=104.0),), quotes=(quote(),)))
    (fill,) = parity.fills
    # 104 of premium have 5 of fee in them; the quote for two contracts says 100, of it 4, and half its swap.
    assert fill.filled == Money(-99.0, -5.0, -1.0, -2.0)
    assert fill.offline == Money(-96.0, -4.0, -0.5, -1.5)
    assert fill.difference == Money(-3.0, -1.0, -0.5, -0.5)


def test_a_sale_is_set_beside_the_mark_and_an_order_filled_later_beside_its_own_frame():
    parity, order = Parity(), leg(2, side=Side.SELL, size=1.0, position_id="p1")
    parity.see(step(legs=(order,), hedges=(held(),)))
    parity.see(step(outcomes=(filled(order, premium_usd=112.0),), hedges=(held(liquidation_usd=1.0),)))
    (fill,) = parity.fills
    assert fill.offline == Money(110.0, 0.0, 0.0, 0.0)
    assert fill.filled == Money(112.0, 0.0, -1.0, -2.0)


def test_half_a_fill_is_set_beside_half_a_quote():
    parity, order = Parity(), leg(1, size=2.0)
    half = replace(filled(order, premium_usd=52.0), filled_size=1.0)
    parity.see(step(legs=(order,), outcomes=(half,), quotes=(quote(),)))
    assert parity.fills[0].offline == Money(-48.0, -2.0, -0.25, -1.5)


def test_an_order_without_a_price_is_counted_and_in_no_sum():
    parity, order = Parity(), leg(1, size=2.0)
    parity.see(step(outcomes=(filled(order),)))
    parity.see(step(legs=(leg(2),), outcomes=(filled(leg(2)),), quotes=(quote(),)))
    both = sums(parity.fills)
    assert both[0].total_usd == pytest.approx(-103.0)
    assert both[1].total_usd == pytest.approx(-102.0)
    document = parity_document(parity.fills)
    assert document["without_offline_price"] == 1
    assert [item["offline"] is None for item in document["orders"]] == [True, False]
    assert list(parity_lines(parity.fills)) == [
        "1 order brought -$103.00; offline, at the quotes and marks they were decided on, -$102.00",
        "difference -$1.00: price +$1.00, fees -$1.00, swaps -$0.50, gas -$0.50",
        "1 order had no quote or mark in what was decided on",
    ]


def test_nothing_filled_says_nothing():
    assert list(parity_lines(())) == []
    assert parity_document(())["orders"] == []
