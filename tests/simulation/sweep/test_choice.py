"""The choice: constraints first, then the plateau; the luckiest cell alone never wins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_builders import BASE, evaluation

from bot.simulation.sweep.choice import (
    Objective,
    Scores,
    choose,
    flatness,
    neighbours_of,
    plateau,
    scores_of,
)
from bot.simulation.sweep.evaluation import Sums
from bot.simulation.sweep.space_file import read_space

NAN = math.nan


def scores(values, excess=None):
    known = np.array(values, dtype=np.float64)
    return Scores(value=known, excess=np.zeros(known.size) if excess is None else np.array(excess, float))


def measures(*cells):
    """Return the measures of policies that removed and cost so much in each of two spans."""
    return Sums([evaluation(str(at), [cell] * 2) for at, cell in enumerate(cells)], (0, 1)).measures([0, 1])


def test_a_lonely_peak_loses_to_a_plateau():
    """Cell 1 is the best alone (9), but stands between 1 and 2; cell 4 stands among its likes."""
    row = ((1,), (0, 2), (1, 3), (2, 4), (3, 5), (4,))
    found = scores([1.0, 9.0, 2.0, 5.0, 6.0, 5.5])
    assert plateau(found.value, row).tolist() == pytest.approx([5.0, 4.0, 16 / 3, 13 / 3, 5.5, 5.75])
    assert choose(found, row) == 5
    assert choose(found, ((),) * 6) == 1


def test_a_cell_that_breaks_a_constraint_is_chosen_only_where_none_keeps_them():
    alone = ((), (), ())
    assert choose(scores([9.0, 2.0, 3.0], [0.1, 0.0, 0.0]), alone) == 2
    assert choose(scores([9.0, 2.0, 3.0], [0.1, 0.3, 0.2]), alone) == 0


def test_unknown_cells_are_never_chosen_and_equals_go_to_the_first():
    assert choose(scores([NAN, 1.0, 1.0]), ((), (), ())) == 1
    assert choose(scores([NAN, 1.0], [0.0, math.inf]), ((), ())) is None
    assert choose(scores([NAN]), ((),)) is None


def test_of_cells_with_the_same_around_them_the_best_by_itself_is_chosen():
    assert choose(scores([0.2, 2.7]), ((1,), (0,))) == 1
    assert choose(scores([0.1, 0.3, 0.7]), ((1, 2), (0, 2), (0, 1))) == 2  # summed in any order


def test_an_unknown_neighbour_is_left_out_of_the_mean():
    assert plateau(np.array([1.0, NAN, 3.0]), ((1,), (0, 2), (1,))).tolist()[::2] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("objective", "values", "best"),
    [
        (Objective(name="removed"), [0.2, 0.3, 0.1], 1),
        (Objective(name="carry"), [-0.04, -0.10, -0.01], 2),
        (Objective(name="net"), [-0.04, -0.10, -0.01], 2),
        (Objective(name="efficiency"), [5.0, 3.0, 10.0], 2),
        (Objective(name="removed", max_carry=0.05), [0.2, 0.3, 0.1], 0),
        (Objective(name="carry", min_removed=0.15), [-0.04, -0.10, -0.01], 0),
        (Objective(name="efficiency", min_removed=0.25), [5.0, 3.0, 10.0], 1),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_objectives_and_constraints_read_r26(objective, values, best):
    found = scores_of(measures((0.2, 0.04), (0.3, 0.10), (0.1, 0.01)), objective)
    assert found.value == pytest.approx(values)
    assert choose(found, ((), (), ())) == best


def test_a_constraint_is_missed_by_its_share_and_never_kept_unknown():
    """Carry 10 % where 5 % is allowed is 100 % over; removed 10 % where 20 % is wanted 50 % under."""
    found = scores_of(
        measures((0.1, 0.10), (NAN, 0.01)), Objective(name="carry", max_carry=0.05, min_removed=0.2)
    )
    assert found.excess.tolist() == pytest.approx([1.5, math.inf])
    assert found.is_kept.tolist() == [False, False]


def test_constraints_are_spoken():
    assert Objective().constraints == ()
    said = Objective(min_removed=0.15, max_carry=0.05, max_net=0.025, max_trades=150).constraints
    assert said == (
        "removed at least 15.0%",
        "carry at most 5.0% a year",
        "net at most 2.5% a year",
        "at most 150 trades a year",
    )


def test_in_a_grid_neighbours_are_a_step_away_along_one_key():
    """Cells of 3 x 2: 0 1 / 2 3 / 4 5, numbers with an order."""
    space = read_space(BASE, path=None, given=["tiers.fast_vote=0.6,0.7,0.8", "tail.ladder=1,2"])
    found = neighbours_of(space, space.grid(), is_grid=True)
    assert found == ((1, 2), (0, 3), (0, 3, 4), (1, 2, 5), (2, 5), (3, 4))


def test_words_have_no_order_so_that_any_other_is_a_neighbour():
    space = read_space(BASE, path=None, given=["tiers.step_down=one,straight", "tiers.fast_vote=off,0.6,0.7"])
    found = neighbours_of(space, space.grid(), is_grid=True)
    assert found[0] == (1, 2, 3)


def test_a_refused_cell_is_nobodys_neighbour():
    space = read_space(BASE, path=None, given=["tiers.fast_vote=0.6,0.7,0.8"])
    assert neighbours_of(space, [(0.6,), (0.8,)], is_grid=True) == ((), ())


def test_of_drawn_cells_the_nearest_are_neighbours():
    space = read_space(BASE, path=None, given=["tiers.fast_vote=0.5..0.9"])
    found = neighbours_of(space, [(0.5,), (0.52,), (0.6,), (0.9,)], is_grid=False)
    assert found == ((1, 2), (0, 2), (0, 1), (1, 2))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1_000), many=st.integers(1, 30))
def test_a_drawn_cell_is_not_its_own_neighbour(seed, many):
    space = read_space(
        BASE,
        path=None,
        given=["tiers.fast_vote=0.5..0.9", "tiers.step_down=one,straight", "tail.ladder=1,2,3"],
    )
    cells = space.draw(many, seed)
    found = neighbours_of(space, cells, is_grid=False)
    assert all(at not in around for at, around in enumerate(found))
    assert all(len(around) == min(6, len(cells) - 1) for around in found)


def test_flatness_tells_the_spread_around_the_cell():
    found = flatness(scores([5.0, 3.0, 4.0, NAN], [0, 1, 0, 0]), ((1, 2, 3), (), (), ()), 0, 1.0)
    assert (found.neighbours, found.kept) == (2, 1)
    assert (found.lowest, found.median, found.highest) == (3.0, 3.5, 4.0)


def test_the_flatness_of_a_cost_is_told_as_a_cost():
    found = flatness(scores([-0.05, -0.03, -0.04]), ((1, 2), (), ()), 0, -1.0)
    assert (found.lowest, found.highest) == (0.03, 0.04)


def test_a_cell_alone_says_so():
    found = flatness(scores([5.0]), ((),), 0, 1.0)
    assert found.neighbours == 0
    assert math.isnan(found.median)
