"""Depth from sampled sizes, on markets whose depth is known in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.quant.price_impact import bracket, ladder, marginal_prices, size_at_move


@given(held=st.floats(1e3, 1e9), paid=st.floats(1e3, 1e9), move=st.floats(0.001, 0.4))
def test_constant_product(held: float, paid: float, move: float) -> None:
    """dy = y dx / (x + dx): the next unit pays y x / (x + dx)^2, less by m at x (1 / sqrt(1 - m) - 1)."""
    sizes = ladder(held * 1e-6, held, 14)
    reference = paid / held
    low, high = bracket(sizes, paid * sizes / (held + sizes), reference=reference, move=move)
    expected = held * (1 / math.sqrt(1 - move) - 1)
    assert low < expected < high
    fine = ladder(max(low, held * 1e-7), high, 24)
    prices = paid * held / (held + fine) ** 2
    found = size_at_move(list(fine), list(prices), reference=reference, move=move)
    assert found == pytest.approx(expected, rel=2e-3)


def test_ladder_and_slopes() -> None:
    assert ladder(1, 100, 3).tolist() == pytest.approx([1, 10, 100])
    assert marginal_prices(np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.5, 2.0])).tolist() == [0.5, 0.25]


def test_no_size_moves_the_price_that_far() -> None:
    sizes = ladder(1, 100, 5)
    assert all(map(math.isnan, bracket(sizes, sizes * 0.999, reference=1.0, move=0.02)))
    assert math.isnan(size_at_move([1, 2, 3], [1.0, 0.999, 0.99], reference=1.0, move=0.02))
    assert math.isnan(size_at_move([1, 2], [0.9, 0.8], reference=1.0, move=0.02)), "gone before the first"


def test_a_market_that_gives_way_at_once() -> None:
    sizes = np.array([1.0, 2.0, 4.0])
    assert bracket(sizes, np.array([1.0, 1.5, 2.0]), reference=1.0, move=0.02) == (0.0, 2.0)


def test_a_price_over_the_reference_is_interpolated_linearly() -> None:
    assert size_at_move([1.0, 3.0], [1.01, 0.97], reference=1.0, move=0.01) == pytest.approx(2.0)
