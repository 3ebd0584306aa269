"""The integer programme against enumeration of every purchase that small books allow."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.engine import solver
from bot.engine.purchase_model import Programme, Row, Stage, single_orders, violation
from bot.engine.solver import solve

COST_NOISE = 3e-4  # relative: the solver's gap and what it pays to break ties
SAME = 1e-4  # of the value of a stage: the solver stops within it of the best
ODD = 0.0123456789  # keeps limits off the sums of simple numbers, where a tolerance decides


def programme(offers, wants, *, money=math.inf, orders=None, guards=()):
    """Return offers (slot, gain, units, cost, gas, least, most, lot) for wants (gain, units)."""
    slot, gain, units, cost, gas, least, most, lot = (
        np.array(each, dtype=float) for each in zip(*offers, strict=True)
    )
    n, k = len(offers), len(wants)
    none, together = np.zeros(k, dtype=bool), np.zeros(k, dtype=np.intp)
    rows = [Row(name="money", per_contract=cost, per_order=gas, limit=money)] if math.isfinite(money) else []
    if orders is not None:
        rows.append(Row(name="orders", per_contract=np.zeros(n), per_order=np.ones(n), limit=orders + 0.5))
    stages = []
    if guards:
        found = tuple(
            Row(name="guard", per_contract=np.array(each), per_order=np.zeros(n), limit=limit)
            for each, limit in guards
        )
        stages.append(Stage(name="guard", rows=found, alike=together, weights=np.ones(1), fixed=none))
    if rows:
        stages.append(Stage(name="money", rows=tuple(rows), alike=together, weights=np.ones(1), fixed=none))
    return Programme(
        slot=slot.astype(np.intp),
        gain=gain,
        units=units,
        cost=cost,
        order_cost=gas,
        least=least,
        most=most,
        lot=lot,
        wanted_gain=np.array([want[0] for want in wants], dtype=float),
        wanted_units=np.array([want[1] for want in wants], dtype=float),
        least_gain=np.array([0.05 * want[0] for want in wants]),
        first=np.array([number == 0 for number in range(k)]),
        stages=tuple(stages),
    )


def every_purchase(item):
    """Return all purchases in whole lots that keep sizes, notional and gain, [purchase, offer]."""
    choices = []
    for offer in range(item.offers):
        lots = np.arange(int(item.most[offer] / item.lot[offer] + 1e-9) + 1)
        sizes = lots * item.lot[offer]
        choices.append(sizes[(sizes == 0.0) | (sizes >= item.least[offer] - 1e-12)])
    every = np.array(list(itertools.product(*choices)))
    by_slot = item.slot[:, np.newaxis] == np.arange(item.slots)
    gains, units = (every * item.gain) @ by_slot, (every * item.units) @ by_slot
    fits = (gains <= item.wanted_gain * (1 + 1e-12)).all(axis=1)
    fits &= (units <= item.wanted_units * (1 + 1e-12)).all(axis=1)
    fits &= ((gains == 0.0) | (gains >= item.least_gain - 1e-12)).all(axis=1)
    return every[fits], (gains / item.wanted_gain)[fits]


def keeps(rows, every):
    used = [
        every @ row.per_contract + (every > 0.0) @ row.per_order <= row.limit * (1 - 1e-6) for row in rows
    ]
    return np.logical_and.reduce(used) if used else np.ones(len(every), dtype=bool)


def least_cost(item):
    """Return (least cost, the same without slack, shares of slots) of the goals of ``solve``, by enumeration.

    One for each way to reach the goals equally well, up to the solver's gap: which it takes is no law.
    """
    every, shares = every_purchase(item)
    own = shares.max(axis=0)
    full = (shares >= own - 1e-5).all(axis=1) & keeps(
        [row for each in item.stages for row in each.rows], every
    )
    coarse = np.array([(item.lot * item.gain)[item.slot == s].max() for s in range(item.slots)])
    ways, rows = [own], []
    for stage in () if full.any() else item.stages:
        rows += stage.rows
        allowed = np.unique(shares[keeps(rows, every)].round(9), axis=0)
        ways = [each for own in ways for each in best_levels(item, allowed, own, coarse / item.wanted_gain)]
        ways = list(np.unique(np.array(ways), axis=0))
    costs = every @ item.cost + (every > 0.0) @ item.order_cost

    def least(own, slack):
        return costs[(shares >= own - slack).all(axis=1) & keeps(item.rows, every)].min(initial=math.inf)

    return [(least(own, 1e-5), least(own, 1e-9), own) for own in ways]


def best_levels(item, shares, own, coarse):
    """Return the shares of one stage that nothing else beats by more than the solver's gap."""
    found = []
    for share in shares:
        served = share > 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            low = max((share[served] / own[served]).max(initial=0.0), 0.0)
            high = min(((share + coarse)[served] / own[served]).min(initial=1.0), 1.0)
        if low > high + 1e-6 or (share > own + 1e-6).any():
            continue
        weight = solver._SERVED * np.where(item.first, item.slots + 1.0, 1.0)[served].sum()
        found.append((weight + high + 0.01 * share.sum() / item.slots, share))
    best = max(value for value, _ in found)
    return [share for value, share in found if value >= best - SAME]


def is_least_cost(item, answer):
    """Return whether an answer is one of the best: as much of each slot, for as little."""
    got, paid = item.delivered(answer.contracts), item.cost_usd(answer.contracts)
    return any(
        (got >= own - 1e-4).all()
        and least * (1.0 - COST_NOISE) - 1e-4 <= paid <= exact * (1.0 + COST_NOISE) + 1e-4 < math.inf
        for least, exact, own in least_cost(item)
    )


OFFERS = st.tuples(
    st.floats(1.0, 4.0),  # gain
    st.floats(0.5, 2.0),  # units
    st.floats(0.2, 3.0),  # cost
    st.floats(0.0, 1.0),  # gas
    st.sampled_from([0.0, 1.0, 2.0]),  # least
    st.sampled_from([1.0, 2.0, 4.0]),  # most
    st.sampled_from([0.5, 1.0]),  # lot
)
ONE = (1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.5)
BOOKS = st.lists(st.lists(OFFERS, min_size=1, max_size=3), min_size=1, max_size=2)


def book(found, gains, **limits):
    offers = [(slot, *offer) for slot, items in enumerate(found) for offer in items]
    return programme(offers, [(gain, 6.0) for gain in gains[: len(found)]], **limits)


@settings(deadline=None, max_examples=60)
@given(BOOKS, st.tuples(st.floats(2.0, 12.0), st.floats(2.0, 12.0)), st.floats(0.1, 12.0), st.booleans())
def test_the_programme_costs_what_the_cheapest_of_all_purchases_costs(found, gains, money, capped):
    item = book(found, gains, money=money + ODD if capped else math.inf)
    answer = solve(item)
    assert answer.failed == ""
    assert violation(item, answer.contracts) == ""
    assert is_least_cost(item, answer)


@settings(deadline=None, max_examples=25)
@given(BOOKS, st.floats(2.0, 12.0), st.floats(0.1, 10.0), st.floats(0.1, 10.0))
@example(  # a lot more of the last slot is worth less than the solver's gap once was
    [[ONE], [ONE, (3.0, *ONE[1:]), (3.125, *ONE[1:])]], 2.0, 1.0, 1.0
)
@example([[ONE], [ONE, (2.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.5)]], 3.0, 1.0, 2.0)  # two guards' levels are as good
def test_guards_and_money_cut_in_turn(found, gain, money, room):
    offers = sum(map(len, found))
    item = book(found, (gain, gain), money=money + ODD, guards=[([1.0] * offers, room + ODD)])
    answer = solve(item)
    assert answer.failed == ""
    assert violation(item, answer.contracts) == ""
    assert is_least_cost(item, answer)


@settings(deadline=None, max_examples=30)
@given(BOOKS, st.tuples(st.floats(2.0, 12.0), st.floats(2.0, 12.0)))
def test_what_is_proved_without_the_solver_is_what_it_finds(found, gains):
    fine = [[(*offer[:4], 0.0, 50.0, 0.0) for offer in items] for items in found]
    item = book(fine, gains)
    alone = single_orders(item)
    if alone is None:  # no offer of some slot brings the whole gain within the notional
        return
    assert violation(item, alone) == ""
    assert item.cost_usd(alone) == pytest.approx(item.cost_usd(solve(item).contracts), rel=COST_NOISE)


def test_the_same_programme_gives_the_same_bytes():
    found = [[(2.0, 1.0, 1.0, 0.3, 0.0, 2.0, 1.0), (2.0, 1.0, 1.0, 0.3, 0.0, 4.0, 1.0)]] * 2
    answers = [solve(book(found, (8.0, 8.0), money=5.0)) for _ in range(2)]
    assert answers[0].contracts.tobytes() == answers[1].contracts.tobytes()
    assert [left.tobytes() for _, left in answers[0].left] == [left.tobytes() for _, left in answers[1].left]


def test_equal_offers_the_first_wins():
    item = programme([(0, 2.0, 1.0, 1.0, 0.1, 0.0, 9.0, 1.0)] * 2, [(8.0, 9.0)])
    assert solve(item).contracts.tolist() == [4.0, 0.0]


def test_gas_is_paid_once_an_order():
    """The dearer quote alone costs less than two orders: 4 x 1.1 + 1 under 2 x 1 + 1 + 2 x 1.1 + 1."""
    cheap, dear = (0, 1.0, 1.0, 1.0, 1.0, 0.0, 2.0, 1.0), (0, 1.0, 1.0, 1.1, 1.0, 0.0, 9.0, 1.0)
    assert solve(programme([cheap, dear], [(4.0, 9.0)])).contracts.tolist() == [0.0, 4.0]
    free = [(*each[:4], 0.0, *each[5:]) for each in (cheap, dear)]
    assert solve(programme(free, [(4.0, 9.0)])).contracts.tolist() == [2.0, 2.0]


def test_slots_shrink_alike_and_the_first_stays_when_not_all_can_be_served():
    fine = (1.0, 1.0, 1.0, 0.0, 0.0, 99.0, 0.0)
    two = programme([(0, *fine), (1, *fine)], [(10.0, 10.0), (30.0, 30.0)], money=20.0)
    answer = solve(two)
    assert two.delivered(answer.contracts) == pytest.approx([0.5, 0.5], abs=1e-4)
    assert [name for name, _ in answer.left] == ["", "money"]
    large = programme(
        [(0, *fine), (1, 1.0, 1.0, 1.0, 0.0, 19.0, 99.0, 0.0)], [(10.0, 10.0), (30.0, 30.0)], money=20.0
    )
    assert large.delivered(solve(large).contracts) == pytest.approx([1.0, 0.0], abs=1e-4)


def test_the_most_orders_leave_the_last_slots_out():
    fine = (1.0, 1.0, 1.0, 0.0, 0.0, 99.0, 0.0)
    item = programme([(slot, *fine) for slot in range(3)], [(10.0, 10.0)] * 3, orders=2)
    answer = solve(item)
    assert np.count_nonzero(answer.contracts) == 2
    assert answer.contracts[0] == pytest.approx(10.0, abs=1e-3)


def test_a_gated_row_binds_only_while_its_slot_is_served():
    """The first slot alone may pass it (ADR 0004: what is reserved does not hold TAIL back)."""
    fine = (1.0, 1.0, 1.0, 0.0, 0.0, 99.0, 0.0)
    item = programme([(0, *fine), (1, *fine)], [(10.0, 10.0), (10.0, 10.0)])

    def reserve(limit):
        ones, none = np.ones(2), np.zeros(2)
        row = Row(name="reserve", per_contract=ones, per_order=none, limit=limit, gates=1)
        alike, fixed = np.array([0, 1], dtype=np.intp), np.array([True, False])
        stage = Stage(name="reserve", rows=(row,), alike=alike, weights=np.ones(2), fixed=fixed)
        return replace(item, stages=(stage,))

    for limit, second in ((25.0, 1.0), (15.0, 0.5), (10.2, 0.0), (4.0, 0.0)):
        answer = solve(reserve(limit))
        assert answer.failed == ""
        assert item.delivered(answer.contracts) == pytest.approx([1.0, second], abs=1e-4), limit


@pytest.mark.parametrize("status", [1, 3, 4])
def test_a_run_without_optimum_is_a_failure_with_its_reason(monkeypatch, status):
    real = solver.milp
    monkeypatch.setattr(solver, "milp", lambda *a, **k: replace_status(real(*a, **k), status))
    answer = solve(programme([(0, 1.0, 1.0, 1.0, 0.0, 0.0, 9.0, 1.0)], [(4.0, 9.0)]))
    assert f"HiGHS status {status}" in answer.failed


def test_what_the_clock_stops_is_no_answer_and_is_not_tried_again(monkeypatch):
    """What was found by then depends on the machine: nothing of it is taken (R25)."""
    item = programme([(0, 1.0, 1.0, 1.0, 0.0, 0.0, 9.0, 1.0)], [(4.0, 9.0)])
    real, found = solver.milp, []

    def run(*arguments, **options):
        found.append(real(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(solver, "milp", run)
    assert solve(item).failed == ""
    found.clear()
    monkeypatch.setattr(solver, "_CLOCK_S", 1e-9)
    answer = solve(item)
    assert [each.status for each in found] == [1]
    assert "HiGHS status 1" in answer.failed
    assert not answer.contracts.any()


def replace_status(found, status, gap=math.inf):
    found.status, found.mip_gap = status, gap
    return found


@pytest.mark.parametrize(("gap", "taken"), [(0.05, True), (0.051, False), (math.nan, False)])
def test_a_run_that_its_limit_stops_near_the_best_is_good(monkeypatch, gap, taken):
    """Coarse lots of several venues: what is found by then protects more than one quote each."""
    real = solver.milp
    monkeypatch.setattr(solver, "milp", lambda *a, **k: replace_status(real(*a, **k), 4, gap))
    answer = solve(programme([(0, 1.0, 1.0, 1.0, 0.0, 0.0, 3.0, 1.0)], [(4.0, 9.0)]))
    assert (answer.failed == "") is taken
    if taken:
        assert (answer.contracts.tolist(), answer.gap) == ([3.0], gap)


@pytest.mark.parametrize(
    ("contracts", "words"),
    [
        ([1.0, 0.0], ""),
        ([math.nan, 0.0], "not a number"),
        ([-1.0, 0.0], "not a number"),
        ([0.5, 0.0], "venue's least"),
        ([1.3, 0.0], "whole lots"),
        ([3.0, 0.0], "what is liquid"),
        ([0.0, 5.0], "notional"),
        ([2.0, 2.0], "over its gain"),
        ([2.0, 1.0], "money is passed"),
    ],
)
def test_an_answer_is_checked_by_plain_arithmetic(contracts, words):
    offers = [(0, 1.0, 1.0, 1.0, 0.0, 1.0, 2.0, 0.5), (0, 1.0, 2.0, 1.0, 0.0, 1.0, 9.0, 0.5)]
    item = programme(offers, [(3.5, 6.0)], money=2.5)
    found = violation(item, np.array(contracts))
    assert words in found if words else found == ""
