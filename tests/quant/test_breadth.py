"""S16: the advance-decline line over many subjects with holes, and its divergence from price."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bot.errors import InvariantError
from bot.quant.breadth import advance_decline, breadth_divergence
from bot.quant.indicators import Divergence

NAN = math.nan


def test_net_is_the_share_that_rose_less_the_share_that_fell():
    closes = np.array(
        [
            [1.0, 2.0, 3.0, 3.0],
            [1.0, 2.0, 1.0, 1.0],
            [1.0, 2.0, 1.0, 1.1],
            [1.0, 0.5, 0.4, 0.4],
        ]
    )
    found = advance_decline(closes)
    np.testing.assert_allclose(found.net, [NAN, 0.5, -0.5, 0.25])
    np.testing.assert_allclose(found.line, [NAN, 0.5, 0.0, 0.25])
    np.testing.assert_array_equal(found.known, [0, 4, 4, 4])
    assert found.coverage == 1.0


def test_a_move_inside_the_dead_band_is_no_move():
    closes = np.exp(np.array([[0.0, 0.01], [0.0, -0.02], [0.0, 0.0101]]))
    np.testing.assert_allclose(advance_decline(closes, dead_band=0.0100000001).net[1], 0.0)  # 1 up, 1 down
    assert advance_decline(closes, dead_band=0.05).net[1] == 0.0


@pytest.mark.parametrize(("missing", "net"), [(4, 1.0), (5, NAN), (10, NAN)])
def test_sixty_percent_of_the_subjects_must_be_known(missing, net):
    closes = np.tile([1.0, 2.0], (10, 1))
    closes[:missing, 1] = NAN
    np.testing.assert_equal(advance_decline(closes).net[1], net)


def test_no_return_crosses_a_missing_bar():
    """It halves behind the hole, and nobody knows when."""
    closes = np.array([[8.0, NAN, 4.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
    found = advance_decline(closes, coverage=0.5)
    np.testing.assert_allclose(found.net, [NAN, 0.0, 0.0, 0.5])
    np.testing.assert_array_equal(found.known, [0, 1, 1, 2])


@pytest.mark.parametrize(("hole", "restarts"), [(36, False), (37, True)])
def test_line_skips_holes_and_a_long_one_starts_it_anew(hole, restarts):
    """A hole of n closes is n + 1 bars without a return."""
    closes = np.tile(np.exp(np.arange(100) * 0.01), (3, 1))
    closes[:, 50 : 50 + hole - 1] = NAN
    found = advance_decline(closes, max_hole_bars=36)
    behind = 100 - 50 - hole
    assert found.line[-1] == (behind if restarts else 49 + behind)
    assert np.isnan(found.line[50 : 50 + hole]).all()
    assert np.isnan(found.line[:50]).all() == restarts
    assert found.coverage == pytest.approx((behind if restarts else 49 + behind) / 99)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (3, 1), (0, 0)])
def test_nothing_to_count_is_unknown(shape):
    found = advance_decline(np.ones(shape))
    assert np.isnan(found.net).all()
    assert np.isnan(found.line).all()
    assert (found.net.size, found.coverage) == (shape[1], 0.0)


def test_senseless_prices_do_not_count():
    closes = np.array([[1.0, 2.0], [1.0, 0.0], [-1.0, 2.0], [NAN, 2.0]])
    assert advance_decline(closes, coverage=0.25).net[1] == 1.0


@given(
    closes=hnp.arrays(
        np.float64,
        (5, 12),
        elements=st.one_of(st.just(NAN), st.integers(50, 200).map(lambda cents: cents / 100)),
    ),
    order=st.permutations(range(5)),
    cut=st.integers(1, 12),
)
def test_line_knows_no_order_no_scale_and_no_future(closes, order, cut):
    found = advance_decline(closes)
    assert (np.abs(found.net[np.isfinite(found.net)]) <= 1.0).all()
    np.testing.assert_array_equal(advance_decline(closes[order]).line, found.line)
    np.testing.assert_array_equal(advance_decline(closes * 4.0).line, found.line)
    np.testing.assert_array_equal(advance_decline(closes[:, :cut]).net, found.net[:cut])
    np.testing.assert_array_equal(advance_decline(1.0 / closes).net, -found.net)


@pytest.mark.parametrize(
    ("close", "line", "kind", "gap"),
    [
        ([1, 5, 1, 1, 4, 6], [1, 5, 1, 1, 4, 1], Divergence.BEARISH, 1.0),
        ([5, 3, 5, 5, 3, 2], [5, 3, 5, 5, 4, 5], Divergence.BULLISH, -1.0),
        ([1, 5, 1, 1, 4, 6], [1, 5, 1, 1, 4, 6], Divergence.NONE, 0.0),
        ([1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 3], Divergence.NONE, 0.0),  # flat price is in its middle
        (
            [NAN, 1, 5, 1, 1, 4, 6],
            [0, 1, 5, 1, 1, 4, 1],
            Divergence.BEARISH,
            1.0,
        ),  # a missing bar is left out
        ([1, 5, 1, NAN, 4, 6], [1, 5, 1, 1, 4, 1], None, NAN),
        ([1, 5, 1, 1, 4, 6], [1, 5, 1, 1, 4, NAN], None, NAN),
        ([], [], None, NAN),
    ],
)
def test_breadth_confirms_price_or_does_not(close, line, kind, gap):
    found = breadth_divergence(np.array(close, dtype=np.float64), np.array(line, dtype=np.float64), bars=3)
    assert found.kind is kind
    np.testing.assert_equal(found.gap, gap)


def test_stretches_of_one_bar_are_enough():
    assert breadth_divergence(np.array([1.0, 2.0]), np.array([2.0, 1.0]), bars=1).kind is Divergence.BEARISH


def test_few_leaders_lift_a_price_that_breadth_does_not_follow():
    """The made market: an index rises on one token while the others fall."""
    falling = np.tile(np.exp(-0.01 * np.arange(40)), (9, 1))
    rising = np.exp(0.08 * np.arange(40))[None, :]
    closes = np.vstack((falling, rising))
    closes[:9, :20] = np.exp(0.01 * np.arange(20))
    found = breadth_divergence(closes.mean(axis=0), advance_decline(closes).line, bars=19)
    assert found.kind is Divergence.BEARISH
    assert found.gap > 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: advance_decline(np.ones(3)),
        lambda: advance_decline(np.ones((2, 3)), dead_band=-0.1),
        lambda: advance_decline(np.ones((2, 3)), dead_band=NAN),
        lambda: breadth_divergence(np.ones(3), np.ones(4), bars=1),
        lambda: breadth_divergence(np.ones(3), np.ones(3), bars=0),
    ],
)
def test_senseless_breadth_is_refused(call):
    with pytest.raises(InvariantError, match="breadth"):
        call()
