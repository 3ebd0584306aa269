"""What a search is worth once it is paid for: worked out by hand, and what it says of luck and skill."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sweep_builders import SPAN_D, evaluation

from bot.model.units import DAY_S
from bot.simulation.sweep.choice import Objective
from bot.simulation.sweep.evaluation import Sums
from bot.simulation.sweep.honesty import cross_validate, deflate
from bot.simulation.windows.splits import purged_splits

REMOVED = Objective(name="removed")
NAN = math.nan


def sums_of(*cells):
    """Return the sums of cells given by what each removed in each span; the carry is 1 % a year."""
    made = [evaluation(str(at), [(value, 0.01) for value in cell]) for at, cell in enumerate(cells)]
    return Sums(made, tuple(range(len(cells[0]))))


def halves(spans):
    starts = [at * SPAN_D * DAY_S for at in range(spans)]
    ends = [start + SPAN_D * DAY_S for start in starts]
    return purged_splits(starts, ends, folds=spans, test_folds=spans // 2)


def validated(*cells, objective=REMOVED):
    spans = len(cells[0])
    return cross_validate(
        sums_of(*cells), range(spans), halves(spans), objective=objective, neighbours=((),) * len(cells)
    )


def test_what_was_good_in_one_half_alone_is_found_out():
    """A removes 40 % in the first two spans and none after, B the other way round. Of six halves, two hold
    one's good spans alone: chosen at 40 %, worth 0. In four both have 20 % on either side.
    """
    found = validated([0.4, 0.4, 0.0, 0.0], [0.0, 0.0, 0.4, 0.4])
    assert len(found.halves) == 6
    assert found.in_sample == pytest.approx((2 * 0.4 + 4 * 0.2) / 6)
    assert found.out_of_sample == pytest.approx((2 * 0.0 + 4 * 0.2) / 6)
    assert found.overfit == 1.0  # a tie is no better half either


def test_a_cell_that_is_always_better_is_never_overfit():
    found = validated([0.1] * 4, [0.3, 0.35, 0.3, 0.35], [0.2] * 4)
    assert {half.chosen for half in found.halves} == {1}
    assert found.overfit == 0.0
    assert {half.rank for half in found.halves} == {0.75}  # third of three, over 4
    assert found.in_sample == pytest.approx(found.out_of_sample)


def test_noise_is_overfit_about_half_of_the_time():
    """40 cells without any skill over 8 spans: 70 halves. In sample the best looks far better than it is."""
    random = np.random.default_rng(3)
    found = validated(*random.normal(0.2, 0.1, (40, 8)).tolist())
    assert len(found.halves) == math.comb(8, 4)
    assert found.in_sample > 0.25
    assert 0.1 < found.out_of_sample < 0.25
    assert 0.25 <= found.overfit <= 0.9


def test_halves_without_a_figure_are_counted_and_left_out():
    """A crisis in the first and the last span alone: halves that hold both or none are unknown."""
    found = validated([0.1, NAN, NAN, 0.2], [0.3, NAN, NAN, 0.4])
    assert (len(found.halves), found.unknown) == (4, 2)
    none = validated([NAN] * 4, [NAN] * 4)
    assert (none.halves, none.unknown) == ((), 6)
    assert math.isnan(none.overfit)


def test_constraints_are_asked_again_out_of_sample():
    """Chosen on spans 0 and 1 the first cell removes 15 % on the others; on 2 and 3 the second comes nearest
    to 25 % and misses them again. The other four halves have 25 or 30 % on either side.
    """
    tight = Objective(name="removed", min_removed=0.25)
    found = validated([0.4, 0.4, 0.2, 0.1], [0.2] * 4, objective=tight)
    assert [half.chosen for half in found.halves].count(1) == 1
    assert found.kept_share == pytest.approx(4 / 6)


def test_a_cost_is_told_in_its_own_sign():
    made = [evaluation("a", [(0.2, 0.03)] * 4), evaluation("b", [(0.2, 0.02)] * 4)]
    found = cross_validate(
        Sums(made, tuple(range(4))),
        range(4),
        halves(4),
        objective=Objective(name="carry"),
        neighbours=((), ()),
    )
    assert {half.chosen for half in found.halves} == {1}
    assert found.out_of_sample == pytest.approx(0.02)


def deflated(*cells, chosen, trials):
    spans = len(cells[0])
    return deflate(
        sums_of(*cells),
        [(at,) for at in range(spans)],
        objective=REMOVED,
        chosen=chosen,
        base=len(cells) - 1,
        trials=trials,
    )


def test_deflation_by_hand():
    """Over a base of 10 % cells have 40, 20, 10 %: advantages 30, 10, 0 points, deviation 15.275.

    Luck of ten trials, Bailey and Lopez de Prado (2014), eq. for the expected maximum:
    (1 - g) z(1 - 1/10) + g z(1 - 1/(10 e)) = 1.5747 deviations. The chosen cell's advantages without one
    span are 30, 30, 26.67, 33.33 points: a jackknife error of sqrt(3/4 x 2 x 3.333^2) = 4.0825 points.
    """
    found = deflated([0.4, 0.4, 0.5, 0.3], [0.2] * 4, [0.1] * 4, [0.1] * 4, chosen=0, trials=10)
    normal, euler = NormalDist(), 0.5772156649
    times = (1 - euler) * normal.inv_cdf(0.9) + euler * normal.inv_cdf(1 - 1 / (10 * math.e))
    assert times == pytest.approx(1.5747, abs=1e-3)
    assert found.advantage == pytest.approx(0.30)
    assert found.luck == pytest.approx(0.152753 * times, rel=1e-5)
    assert found.error == pytest.approx(0.040825, rel=1e-4)
    assert found.probability == pytest.approx(stats.t.cdf((0.30 - found.luck) / found.error, df=3))


def test_more_trials_need_a_larger_advantage():
    cells = [[0.4, 0.35, 0.5, 0.3], [0.2] * 4, [0.1] * 4, [0.12] * 4]
    probabilities = [deflated(*cells, chosen=0, trials=trials).probability for trials in (1, 10, 1_000)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert deflated(*cells, chosen=0, trials=1).luck == 0.0


def test_where_one_span_holds_the_only_crisis_nothing_can_be_told():
    found = deflated([0.4, NAN], [0.1, NAN], chosen=0, trials=5)
    assert found.advantage == pytest.approx(0.3)
    assert math.isnan(found.probability)


def test_the_base_itself_has_no_advantage():
    found = deflated([0.1] * 4, [0.1] * 4, chosen=0, trials=5)
    assert found.advantage == 0.0
    assert math.isnan(found.probability)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_ranks_and_shares_stay_in_their_bounds(data):
    many, spans = data.draw(st.integers(2, 6)), data.draw(st.sampled_from([4, 6]))
    value = st.one_of(st.floats(-0.5, 0.9), st.just(NAN))
    cells = [data.draw(st.lists(value, min_size=spans, max_size=spans)) for _ in range(many)]
    found = validated(*cells)
    assert len(found.halves) + found.unknown == math.comb(spans, spans // 2)
    assert all(math.isnan(half.rank) or 0.0 < half.rank < 1.0 for half in found.halves)
    assert math.isnan(found.overfit) or 0.0 <= found.overfit <= 1.0
