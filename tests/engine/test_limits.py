"""R9 caps and the R10 guard."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from engine.factory import (
    GROUP,
    NOW_S,
    SPOT,
    board,
    classic,
    exposure,
    frame,
    held,
    lp_shape,
    option,
    quote,
    spend,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.group import group_contracts, read_group
from bot.engine.limits import (
    BUDGET_30D_CAP,
    BUDGET_365D_CAP,
    DEFINED_RISK_CAP,
    SESSION_CAP,
    Cap,
    cap_figures,
    caps_finding,
    over_hedge_factor,
    premium_caps,
    spot_grid,
    tightest,
)
from bot.engine.plan import round_down
from bot.model.hedge import Layer, SpendKind
from bot.model.units import DAY_S, HOUR_S

POLICY = classic()


def caps(*spends, hedges=()):
    at = frame({}, spends=spends, held=hedges, quotes=())
    return {cap.name: cap for cap in premium_caps(POLICY, at, exposure_usd=1e6)}


@pytest.mark.parametrize(
    ("spends", "used"),
    [
        ((), (0, 0, 0, 0)),
        ((spend(NOW_S, 100),), (100, 0, 100, 100)),
        ((spend(NOW_S - 24 * HOUR_S + 1, 100),), (100, 0, 100, 100)),
        ((spend(NOW_S - 24 * HOUR_S, 100),), (0, 0, 100, 100)),  # just left the session
        ((spend(NOW_S - 30 * DAY_S, 100),), (0, 0, 0, 100)),
        ((spend(NOW_S - 365 * DAY_S, 100),), (0, 0, 0, 0)),
        # Proceeds refill the long budgets, never a session.
        ((spend(NOW_S, 100), spend(NOW_S, -60, kind=SpendKind.PROCEEDS)), (100, 0, 40, 40)),
        ((spend(math.inf, 100, kind=SpendKind.RESERVED),), (100, 100, 100, 100)),
        # An open intent counts however long it is open.
        ((spend(NOW_S - 400 * DAY_S, 100, kind=SpendKind.RESERVED),), (100, 100, 100, 100)),
    ],
)
def test_r9_caps(spends, used):
    found = caps(*spends)
    names = (SESSION_CAP, DEFINED_RISK_CAP, BUDGET_30D_CAP, BUDGET_365D_CAP)
    assert tuple(found[name].used_usd for name in names) == used
    assert [found[name].limit_usd for name in names] == pytest.approx([7500, 30000, 7500, 30000])


BOUGHT, SOLD = SpendKind.PREMIUM, SpendKind.PROCEEDS


@pytest.mark.parametrize(
    ("legs", "used"),
    [
        ([("p-G-TAIL-0", BOUGHT, 100), ("p-G-TAIL-1", SOLD, -60)], 40),
        ([("p-G-TAIL-0", BOUGHT, 100), ("p-G-TAIL-1", SOLD, -160)], 0),  # never less than 0
        # Half of a profit of 40 that is set aside (R28) did not come back.
        ([("p-G-MID-0", BOUGHT, 100), ("p-G-MID-1", SOLD, -60), ("p-G-MID-1", SpendKind.SET_ASIDE, 20)], 60),
        ([("p-G-TAIL-0", SOLD, -60), ("p-G-TAIL-1", BOUGHT, 100)], 100),  # sold or settled, not rolled
        ([("p-G-MID-0", BOUGHT, 100), ("p-G-TAIL-1", SOLD, -60)], 100),
        ([("p-G-TAIL-0", BOUGHT, 100), ("q-G-TAIL-1", SOLD, -60)], 100),
        ([("p-G-MID-0", BOUGHT, 50), ("p-G-TAIL-1", BOUGHT, 20), ("p-G-TAIL-2", SOLD, -60)], 50),
        ([("odd", BOUGHT, 100), ("odd", SOLD, -60)], 100),
        ([("0", BOUGHT, 100), ("1", SOLD, -60)], 100),  # keys of no plan
        ([("p-a", BOUGHT, 100), ("p-b", SOLD, -60)], 100),
        ([("p-G-MID-0", BOUGHT, 60), ("p-G-MID-1", BOUGHT, 40), ("p-G-MID-2", SOLD, -90)], 10),
        ([("p-G-TAIL-0", BOUGHT, 100), ("p-G-TAIL-0", SOLD, -60)], 100),  # not after its purchase
        ([("p-G-MID-0", BOUGHT, 100), ("p-G-MID-1", SOLD, -60), ("p-G-MID-1", SpendKind.SET_ASIDE, 60)], 100),
        ([("p-G-MID-0", BOUGHT, 100), ("p-G-MID-1", SOLD, -60), ("p-G-MID-2", SpendKind.RESERVED, 30)], 70),
    ],
)
def test_r9_a_session_counts_a_roll_at_its_net_debit(legs, used):
    spends = [
        replace(spend(NOW_S - HOUR_S + i, usd, kind=kind), leg_key=key)
        for i, (key, kind, usd) in enumerate(legs)
    ]
    assert caps(*spends)[SESSION_CAP].used_usd == pytest.approx(used)


@pytest.mark.parametrize("hours", [24, 25])
def test_r9_a_roll_before_the_session_is_none_of_it(hours):
    spends = [
        replace(spend(NOW_S - hours * HOUR_S, usd, kind=kind), leg_key=key)
        for key, kind, usd in (("p-G-MID-0", BOUGHT, 100), ("p-G-MID-1", SOLD, -60))
    ]
    assert caps(*spends, spend(NOW_S, 50))[SESSION_CAP].used_usd == 50


def test_r9_what_condors_and_shorts_may_lose_takes_of_the_capital():
    at = frame(
        {},
        spends=(spend(math.inf, 1, kind=SpendKind.RESERVED),),
        held=(),
        quotes=(),
        condors=(SimpleNamespace(worst_loss_usd=50.0), SimpleNamespace(worst_loss_usd=20.0)),
        perpetuals=(SimpleNamespace(loss_to_liquidation_usd=7.0),),
        perpetual_orders=(SimpleNamespace(margin_usd=300.0),),
    )
    found = {cap.name: cap for cap in premium_caps(POLICY, at, exposure_usd=1e6)}
    assert found[DEFINED_RISK_CAP].used_usd == 378.0
    assert math.isnan(found[DEFINED_RISK_CAP].frees_at_s)


def _bought(usd, *, hours, venue="paper"):
    hedge = held(option(1200, 75), Layer.TAIL, 1.0, age_s=hours * HOUR_S, cost_usd=usd)
    return replace(hedge, instrument=replace(hedge.instrument, venue=venue), id=f"{venue}-{usd}")


def test_r9_each_venue_takes_its_share_of_a_session():
    policy = classic(budget={"venue_share": "40 %"})
    other, third = (
        tuple(replace(item, instrument=replace(item.instrument, venue=name)) for item in board())
        for name in ("other", "third")
    )
    hedges = (
        _bought(1_000.0, hours=1),
        _bought(300.0, hours=2),
        _bought(500.0, hours=30),
        _bought(70.0, hours=24),  # just left the session
        _bought(20.0, hours=3, venue="other"),
    )
    reserved = (spend(math.inf, 100, kind=SpendKind.RESERVED),)
    at = frame(quotes=(*board(), *third, *other), held=hedges, spends=reserved)
    found = [cap for cap in premium_caps(policy, at, exposure_usd=1e6) if cap.venue]
    assert [(cap.venue, cap.name, cap.used_usd) for cap in found] == [
        ("other", "share of a session at other", 120.0),
        ("paper", "share of a session at paper", 1_400.0),
        ("third", "share of a session at third", 100.0),
    ]
    assert [cap.limit_usd for cap in found] == pytest.approx([3_000.0] * 3)
    assert [cap.frees_at_s for cap in found[:2]] == [NOW_S + 21 * HOUR_S, NOW_S + 22 * HOUR_S]
    assert math.isnan(found[2].frees_at_s)
    whole = classic(budget={"venue_share": "100 %"})
    assert not [cap for cap in premium_caps(whole, at, exposure_usd=1e6) if cap.venue]


def _cap(name, limit_usd, used_usd, venue=""):
    return Cap(name=name, limit_usd=limit_usd, used_usd=used_usd, frees_at_s=math.nan, venue=venue)


def test_r9_the_tightest_cap_is_none_of_a_single_venue():
    several = (_cap("wide", 900.0, 0.0), _cap("tight", 100.0, 40.0), _cap("one venue's", 10.0, 0.0, "paper"))
    assert tightest(several) == (60.0, several[1])
    assert tightest(several, spent_usd=10.0) == (50.0, several[1])
    assert tightest(several, spent_usd=61.0) == (0.0, several[1])
    assert _cap("over", 10.0, 11.0).room_usd == 0.0
    equal = (_cap("b", 5.0, 0.0), _cap("a", 5.0, 0.0))
    assert tightest(equal)[1].name == "a"  # the same one whatever the order


def test_r9_is_told_with_its_figures():
    several = (
        _cap(SESSION_CAP, 100.0, 40.0),
        _cap(DEFINED_RISK_CAP, 900.0, 1.0),
        _cap(BUDGET_30D_CAP, 800.0, 2.0),
        _cap(BUDGET_365D_CAP, 700.0, 3.0),
        _cap("one venue's", 10.0, 0.0, "paper"),
    )
    assert cap_figures(several, planned_usd=12.0) == {
        "planned_usd": 12.0,
        "session_cap_usd": 100.0, "session_used_usd": 40.0,
        "defined_risk_cap_usd": 900.0, "defined_risk_used_usd": 1.0,
        "budget_30d_cap_usd": 800.0, "budget_30d_used_usd": 2.0,
        "budget_365d_cap_usd": 700.0, "budget_365d_used_usd": 3.0,
    }  # fmt: skip
    for bound in (True, False):
        found = caps_finding(several, planned_usd=12.0, bound=bound)
        assert (found.rule, found.fired) == ("R9", bound)
        assert f"planned 12 USD in a room of 60 ({SESSION_CAP})" in found.because


def test_r9_open_premium_counts_at_cost():
    hedge = held(option(1200, 75), Layer.TAIL, 10.0, cost_usd=29_000.0)
    found = caps(hedges=(hedge,))
    assert found[DEFINED_RISK_CAP].room_usd == pytest.approx(1000.0)
    assert found[DEFINED_RISK_CAP].frees_at_s == hedge.instrument.expiry_s
    later = held(option(1200, 80), Layer.TAIL, 1.0, cost_usd=1.0)
    assert caps(hedges=(later, hedge))[DEFINED_RISK_CAP].frees_at_s == hedge.instrument.expiry_s


def test_r9_tells_when_room_frees():
    found = caps(spend(NOW_S - 10 * HOUR_S, 7_000), spend(NOW_S - HOUR_S, 500))
    assert found[SESSION_CAP].frees_at_s == NOW_S + 14 * HOUR_S
    room, cap = tightest(tuple(found.values()))
    assert room == 0.0
    assert cap.name in (SESSION_CAP, BUDGET_30D_CAP)
    assert found[BUDGET_30D_CAP].frees_at_s == NOW_S - 10 * HOUR_S + 30 * DAY_S
    assert found[BUDGET_365D_CAP].frees_at_s == NOW_S - 10 * HOUR_S + 365 * DAY_S
    assert caps()[SESSION_CAP].frees_at_s == NOW_S + 24 * HOUR_S  # of what is bought now
    mixed = caps(
        spend(NOW_S - 30 * HOUR_S, 10),
        spend(NOW_S - 24 * HOUR_S, 10),  # just left
        spend(NOW_S - 20 * HOUR_S, -5, kind=SpendKind.PROCEEDS),
        spend(NOW_S - 10 * HOUR_S, 10),
    )
    assert mixed[SESSION_CAP].frees_at_s == NOW_S + 14 * HOUR_S


def guard(new, *, policy=POLICY, exposures=None, hedges=(), leaving=()):
    at = frame(exposures=exposures or (exposure(),), held=hedges, quotes=())
    group = read_group(policy, at, GROUP)
    return group, over_hedge_factor(policy, group, kept=hedges, leaving=frozenset(leaving), new=new)


def test_r10_small_hedges_pass_whole():
    _, factor = guard([(quote(option(1900, 30)), 20.0)])
    assert factor == 1.0


def test_r10_huge_hedges_shrink():
    _, factor = guard([(quote(option(2000, 30)), 5_000.0)])
    assert 0.0 < factor < 1.0


def test_r10_nothing_new_is_whole_and_unknown_gains_are_none():
    assert guard([])[1] == 1.0
    assert guard([(quote(option(1900, 30), iv=math.nan), 1.0)])[1] == 0.0
    assert guard([(quote(option(1900, 30)), 1.0), (quote(option(1900, 20), iv=math.nan), 1.0)])[1] == 0.0


def test_r10_no_exposure_leaves_one_lot():
    nothing = (exposure(shape=lp_shape(0.0), value_usd=0.0),)
    _, factor = guard([(quote(option(1900, 30), lot=0.5), 10.0)], exposures=nothing)
    assert factor == pytest.approx(0.05)


def test_r10_a_range_that_cannot_lose_above_it():
    """Above its range a v3 position is all stable: puts up there would gain where nothing is lost."""
    above = (exposure(shape=lp_shape(20_000.0, 1000.0, 1500.0)),)
    _, factor = guard([(quote(option(1900, 30), lot=0.0), 10.0)], exposures=above)
    assert factor == 0.0


def test_r10_unknown_mark_of_a_held_hedge_blocks():
    hedge = held(option(1900, 30), Layer.MID, 1.0, iv=math.nan, model_usd=1.0)
    _, factor = guard([(quote(option(1900, 30)), 1.0)], hedges=(hedge,))
    assert factor == 0.0


def test_r10_grid_spans_its_ends():
    spots = spot_grid(POLICY.sizing, SPOT)
    assert spots[0] == pytest.approx(0.2 * SPOT)
    assert spots[-1] == pytest.approx(2.0 * SPOT)
    assert np.isclose(spots, SPOT).any()
    assert (np.diff(spots) > 0.0).all()


OPTIONS = st.tuples(
    st.sampled_from([1000.0, 1400.0, 1700.0, 1900.0, 2000.0, 2200.0]),
    st.floats(1.5, 120.0),
    st.floats(0.3, 2.0),
    st.floats(0.1, 800.0),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(OPTIONS, min_size=1, max_size=3), st.lists(OPTIONS, max_size=2), st.booleans())
def test_r10_new_legs_keep_the_guard_at_every_point(new, old, narrow):
    """At every grid point gain <= max(0, loss) x 1.05 + one lot, unless what is held broke it before."""
    shape = lp_shape(20_000.0, 1500.0, 2500.0) if narrow else None
    exposures = (exposure(shape=shape),) if narrow else (exposure(),)
    hedges = tuple(
        held(option(strike, days), Layer.MID, size / 8, iv=iv, id=f"h{i}")
        for i, (strike, days, iv, size) in enumerate(old)
    )
    quotes = [(quote(option(strike, days), iv=iv), size) for strike, days, iv, size in new]
    group, factor = guard(quotes, exposures=exposures, hedges=hedges)
    assert 0.0 <= factor <= 1.0
    fresh = group_contracts(group, [(item.instrument, item.iv) for item, _ in quotes])
    held_legs = group_contracts(group, [(hedge.instrument, hedge.iv) for hedge in hedges])
    spots = spot_grid(POLICY.sizing, group.spot_usd)
    sizes = factor * np.array([size for _, size in quotes])
    for days in {0.0, 10.0, *fresh.dte, *held_legs.dte}:
        before = np.array([hedge.size for hedge in hedges]) @ held_legs.gains_at(spots, days)
        limit = np.maximum(group.loss_at(spots), 0.0) * 1.05
        lots = np.array([item.lot for item, _ in quotes]) @ np.maximum(fresh.gains_at(spots, days), 0.0)
        gain = before + sizes @ fresh.gains_at(spots, days)
        room = np.maximum(limit + lots, before)
        assert (gain <= room * (1.0 + 1e-9) + 1e-6).all()


LOTTED = st.tuples(OPTIONS, st.sampled_from([0.0, 0.01, 0.5, 5.0, 50.0]))


@settings(deadline=None, max_examples=60)
@given(st.lists(LOTTED, min_size=1, max_size=4), st.lists(OPTIONS, max_size=2), st.booleans(), st.booleans())
def test_r10_holds_whichever_of_the_new_legs_are_filled(new, old, narrow, sold):
    """Legs fill apart and in whole lots: any part of a plan keeps the guard, with its sales or without."""
    exposures = (exposure(shape=lp_shape(20_000.0, 1500.0, 2500.0) if narrow else exposure().shape),)
    hedges = tuple(
        held(option(strike, days), Layer.MID, size / 8, iv=iv, id=f"h{i}")
        for i, (strike, days, iv, size) in enumerate(old)
    )
    wanted = [(quote(option(strike, days), iv=iv, lot=lot), size) for (strike, days, iv, size), lot in new]
    leaving = [hedge.id for hedge in hedges] if sold else []
    group, factor = guard(wanted, exposures=exposures, hedges=hedges, leaving=leaving)
    bought = np.array([round_down(factor * size, item.lot) for item, size in wanted])
    lots = np.array([item.lot for item, _ in wanted])
    fresh = group_contracts(group, [(item.instrument, item.iv) for item, _ in wanted])
    kept = group_contracts(group, [(hedge.instrument, hedge.iv) for hedge in hedges])
    spots = spot_grid(POLICY.sizing, group.spot_usd)
    limit = np.maximum(group.loss_at(spots), 0.0) * 1.05
    for days in {0.0, 10.0, *fresh.dte, *kept.dte}:
        held_gains = np.array([hedge.size for hedge in hedges])[:, np.newaxis] * kept.gains_at(spots, days)
        gains = fresh.gains_at(spots, days)
        for filled in itertools.product([0.0, 1.0], repeat=len(wanted)):
            part = np.array(filled) * bought
            added = part @ gains
            spare = np.where(part > 0.0, lots, 0.0) @ np.maximum(gains, 0.0)
            for stays in {tuple(np.ones(len(hedges))), tuple(np.full(len(hedges), 0.0 if sold else 1.0))}:
                before = np.array(stays) @ held_gains if hedges else np.zeros(spots.size)
                room = np.maximum(limit + np.where(before > limit, 0.0, spare), before)
                assert (before + added <= room * (1.0 + 1e-9) + 1e-6).all()


def test_r10_a_leg_under_a_lot_gives_its_lot_to_no_other():
    nothing = (exposure(shape=lp_shape(0.0), value_usd=0.0),)
    wanted = [(quote(option(1900, 30), lot=1.0), 10.0), (quote(option(1900, 31), lot=50.0), 20.0)]
    _, factor = guard(wanted, exposures=nothing)
    assert factor == pytest.approx(0.1)  # one lot of the first; of the second there is none
