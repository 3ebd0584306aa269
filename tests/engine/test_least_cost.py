"""The least-cost purchase across strikes and venues, its limits, and what is said without it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import (
    GROUP,
    MONEYNESS,
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

from bot.engine import offers, planner, programme, solver
from bot.engine.affordability import _without_caps
from bot.engine.choose import refuse_quote
from bot.engine.group import read_group
from bot.engine.limits import OVER_HEDGE_CAP, over_hedge_factor, premium_caps
from bot.engine.one_quote import ORDERS_CAP
from bot.engine.protection import price_protection
from bot.engine.step import decide
from bot.model.hedge import Layer, OptionType, Side
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import HOUR_S
from bot.pipeline.codec import dumps

POLICY = classic()
FREE = _without_caps(POLICY)


def at(tier):
    return EngineState(groups={GROUP: GroupState(tier=tier, last_needed_s=NOW_S)})


def bought(policy, tier, quotes, **changes):
    """Return the decision and its purchases as (layer, venue, contracts, all-in USD)."""
    _, decision = decide(policy, at(tier), frame(quotes=tuple(quotes), **changes))
    known = {item.instrument: item for item in quotes}
    rows = [
        (leg.layer, leg.instrument.venue, leg.size, leg.size * known[leg.instrument].unit_cost_usd)
        for leg in decision.plan.legs
        if leg.side is Side.BUY
    ]
    return decision, rows


def venue(name, quotes, *, dearer=1.0, **changes):
    """Return the quotes as another venue has them."""
    return tuple(
        replace(
            item,
            instrument=replace(item.instrument, venue=name, id=f"{name}:{item.instrument.id}"),
            premium_usd=dearer * item.premium_usd,
            **changes,
        )
        for item in quotes
    )


def said(decision):
    found = (item for item in decision.groups[0].findings if item.because.startswith("purchases:"))
    return next(found).because


def no_solver(*_args, **_kwargs):
    raise AssertionError("the solver was called")


# Where no solver is needed.


def test_a_calm_step_and_a_single_venue_need_no_solver(monkeypatch):
    monkeypatch.setattr(solver, "milp", no_solver)
    for tier in Tier:
        decision, rows = bought(FREE, tier, board())
        assert rows
        assert "cheapest whatever the caps leave" in said(decision)
        capped, rows = bought(POLICY, tier, board())
        assert rows
        assert capped.groups[0].wanted_share > 0.0


def test_a_step_that_wants_nothing_says_nothing_of_purchases(monkeypatch):
    decision, _ = bought(FREE, Tier.CALM, board())
    leg = decision.plan.legs[0]
    hedge = held(leg.instrument, Layer.TAIL, leg.size)
    monkeypatch.setattr(solver, "milp", no_solver)
    monkeypatch.setattr(planner, "_buy", no_solver)
    after, rows = bought(FREE, Tier.CALM, board(), held=(hedge,))
    assert rows == []
    assert not [item for item in after.groups[0].findings if item.because.startswith("purchases:")]


# Several venues.


def test_the_cheaper_venue_is_bought_out_first():
    dear = venue("dear", board(), dearer=1.1)
    whole, _ = bought(FREE, Tier.CALM, board())
    part = board(liquidity=40.0)
    decision, rows = bought(FREE, Tier.CALM, (*part, *dear))
    assert {row[1] for row in rows} == {"paper", "dear"}
    assert "runs of the solver" in said(decision)
    paper = [row[2] for row in rows if row[1] == "paper"]
    assert max(paper) == 40.0
    assert decision.groups[0].covered_share == pytest.approx(0.05, abs=2e-4)
    assert not decision.groups[0].shortfalls
    one_venue, alone = bought(FREE, Tier.CALM, dear)
    assert sum(row[3] for row in rows) < sum(row[3] for row in alone)
    assert whole.groups[0].covered_share == pytest.approx(one_venue.groups[0].covered_share, abs=2e-4)


def test_gas_decides_between_venues_at_small_sizes():
    """At 2 USD of gas the cheaper premium wins; at 2,000 the dearer venue without gas."""
    free = venue("free", board(), dearer=1.05, gas_usd=0.0)
    for gas_usd, name in ((2.0, "paper"), (2_000.0, "free")):
        decision, rows = bought(FREE, Tier.CALM, (*board(gas_usd=gas_usd), *free))
        assert {row[1] for row in rows} == {name}, said(decision)
        assert "proved without the solver" in said(decision)


@pytest.mark.parametrize("tier", [Tier.CALM, Tier.GUARDED, Tier.SEVERE])
def test_the_order_of_quotes_does_not_matter(tier):
    quotes = (*board(liquidity=40.0), *venue("dear", board(liquidity=60.0), dearer=1.1))
    first, _ = bought(FREE, tier, quotes)
    second, _ = bought(FREE, tier, quotes[::-1])
    assert dumps(first) == dumps(second)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(MONEYNESS[:10]),
            st.sampled_from([5.0, 30.0, 75.0]),
            st.floats(1.0, 60.0),  # liquidity
            st.floats(0.02, 0.5),  # spread
            st.floats(0.0, 40.0),  # gas
            st.sampled_from([0.01, 1.0, 5.0]),  # lot, and least
        ),
        min_size=1,
        max_size=10,
        unique_by=lambda row: row[:3],
    ),
    st.sampled_from([Tier.CALM, Tier.SEVERE]),
    st.booleans(),
)
def test_the_laws_of_every_purchase(listed, tier, capped):
    """Sizes, lots, liquidity, caps and R10 hold; all that is wanted is bought or reported, never both."""
    quotes = [
        quote(
            option(round(part * SPOT), days),
            spread=spread,
            gas_usd=gas,
            lot=lot,
            min_size=lot,
            liquidity=liquid,
        )
        for _, part, days, liquid, spread, gas, lot in listed
    ]
    quotes = [venue(row[0], [item])[0] for row, item in zip(listed, quotes, strict=True)]
    policy = POLICY if capped else FREE
    decision, _ = bought(policy, tier, quotes)
    (group,) = decision.groups
    known = {item.instrument: item for item in quotes}
    legs = [leg for leg in decision.plan.legs if leg.side is Side.BUY]
    for leg in legs:
        item = known[leg.instrument]
        assert item.min_size <= leg.size <= item.liquidity * (1.0 + 1e-9)
        assert leg.size / item.lot == pytest.approx(round(leg.size / item.lot), abs=1e-6)
    caps = premium_caps(policy, frame(quotes=()), exposure_usd=group.value_usd)
    assert math.fsum(leg.reserve_usd for leg in legs) <= min(cap.room_usd for cap in caps) * (1.0 + 1e-9)
    view = read_group(policy, frame(quotes=()), GROUP)
    new = [(known[leg.instrument], leg.size) for leg in legs]
    assert over_hedge_factor(policy, view, kept=(), leaving=frozenset(), new=new) >= 1.0 - 1e-9
    for target in group.targets:
        if not target.open or target.wanted_contracts <= 0.0:
            continue
        missing = math.fsum(item.missing for item in group.shortfalls if item.layer is target.layer)
        got = [leg for leg in legs if leg.layer is target.layer]
        assert missing <= 1.0 + 1e-6
        if missing >= 1.0 - 1e-6:
            assert not got
        if not got and group.covered_share < group.wanted_share:
            assert missing > 0.9, target


def test_mixing_never_costs_more_than_one_quote_each(monkeypatch):
    """On the same board the arithmetic of one quote each delivers no more and costs no less per gain."""
    quotes = (*board(liquidity=40.0), *venue("dear", board(liquidity=60.0), dearer=1.1))
    mixed, rows = bought(FREE, Tier.SEVERE, quotes)
    monkeypatch.setattr(planner, "buy_least_cost", lambda *_: programme.Said(failed="made to fail"))
    single, alone = bought(FREE, Tier.SEVERE, quotes)
    assert mixed.groups[0].covered_share > single.groups[0].covered_share
    assert len(rows) > len(alone)
    assert "made to fail: one quote for each layer instead" in said(single)
    assert any("sells only" in item.reason for item in single.groups[0].shortfalls)


def test_a_solver_that_fails_is_said_and_the_arithmetic_buys(monkeypatch):
    def stuck(*args, **options):
        found = real(*args, **options)
        found.status, found.mip_gap = 1, 0.5
        return found

    real = solver.milp
    monkeypatch.setattr(solver, "milp", stuck)
    quotes = (*board(liquidity=40.0), *venue("dear", board(), dearer=1.1))
    decision, rows = bought(FREE, Tier.CALM, quotes)
    assert "without an optimum (HiGHS status 1): one quote for each layer instead" in said(decision)
    assert rows == [(Layer.TAIL, "paper", 40.0, rows[0][3])]
    assert "sells only 40" in decision.groups[0].shortfalls[0].reason


def test_coarse_lots_of_three_venues_are_searched_as_far_as_the_node_limit_and_not_given_up():
    """One quote each would cover a tenth of it: each venue sells a few contracts only."""
    quotes = (
        *board(liquidity=10.0, lot=5.0),
        *venue("second", board(lot=2.0), dearer=1.1),
        *venue("third", board(lot=1.0, liquidity=7.0), dearer=1.02),
    )
    decision, rows = bought(POLICY, Tier.ELEVATED, quotes)
    assert "of the best" in said(decision)
    assert len({row[1] for row in rows}) > 1
    assert decision.groups[0].covered_share > 0.04
    known = {item.instrument: item for item in quotes}
    lots = [leg.size / known[leg.instrument].lot for leg in decision.plan.legs]
    assert lots == pytest.approx(np.round(lots))


# Limits.


def test_a_venue_takes_no_more_than_its_share_of_a_session():
    policy = classic(budget={"venue_share": "40 %"}, cost_guard={"carry_floor": "100 %"})
    other = venue("other", board(), dearer=1.1)
    _, rows = bought(policy, Tier.SEVERE, (*board(), *other))
    limit = 0.4 * 0.25 * 0.03 * 1e6
    spent = {name: sum(row[3] for row in rows if row[1] == name) for name in ("paper", "other")}
    assert 0.9 * limit < spent["paper"] <= limit
    assert 0.0 < spent["other"] <= limit
    only, rows = bought(policy, Tier.SEVERE, board())
    assert sum(row[3] for row in rows) <= limit
    short = [item for item in only.groups[0].shortfalls if item.cap]
    assert {item.cap for item in short} == {"share of a session at paper"}


def test_what_was_bought_at_a_venue_in_the_session_counts_there():
    policy = classic(budget={"venue_share": "40 %"})
    hedge = held(option(1200, 75), Layer.TAIL, 1.0, age_s=HOUR_S, cost_usd=1_000.0)
    old = replace(hedge, id="old", opened_at_s=NOW_S - 30 * HOUR_S)
    at_now = frame(quotes=board(), held=(hedge, old), spends=())
    (cap,) = (cap for cap in premium_caps(policy, at_now, exposure_usd=1e6) if cap.venue)
    assert (cap.venue, cap.used_usd, cap.limit_usd) == ("paper", 1_000.0, pytest.approx(3_000.0))
    assert cap.frees_at_s == NOW_S + 23 * HOUR_S


def test_the_most_orders_of_a_decision_leave_tail_in():
    policy = replace(FREE, orders=replace(FREE.orders, max_orders=1))
    decision, rows = bought(policy, Tier.SEVERE, board())
    assert [row[0] for row in rows] == [Layer.TAIL]
    left_out = {item.layer for item in decision.groups[0].shortfalls if item.cap == ORDERS_CAP}
    assert left_out == {Layer.NEAR, Layer.MID}
    mixed = (*board(liquidity=60.0), *venue("dear", board(), dearer=1.1))
    decision, rows = bought(policy, Tier.SEVERE, mixed)
    assert [row[0] for row in rows] == [Layer.TAIL]
    assert {item.layer for item in decision.groups[0].shortfalls if item.cap == ORDERS_CAP} == left_out


def test_a_cap_shrinks_all_layers_of_a_mix_alike():
    """ADR 0004 holds for mixes as for single quotes: levels are equal, and TAIL is never behind."""
    quotes = (*board(liquidity=25.0), *venue("dear", board(), dearer=1.1))
    decision, _ = bought(POLICY, Tier.SEVERE, quotes)
    (group,) = decision.groups
    missing = {
        layer: math.fsum(item.missing for item in group.shortfalls if item.layer is layer) for layer in Layer
    }
    assert "runs of the solver" in said(decision)
    assert max(missing.values()) - min(missing.values()) < 0.01
    assert all(item.cap == "30-day budget (R9)" for item in group.shortfalls)


def test_lower_tiers_leave_their_part_to_higher_ones_in_a_mix_too():
    quotes = (*board(liquidity=25.0), *venue("dear", board(), dearer=1.1))
    policy = classic(mid={"scaling": "tier"}, cost_guard={"carry_floor": "100 %"})
    decision, rows = bought(policy, Tier.GUARDED, quotes, spends=(spend(NOW_S - HOUR_S, 500.0),))
    legs = [leg.reserve_usd for leg in decision.plan.legs]
    assert "runs of the solver" in said(decision)
    assert {row[0] for row in rows} == {Layer.TAIL, Layer.MID}
    assert math.fsum(legs) <= 0.6 * 0.0075 * decision.groups[0].value_usd - 500.0 + 1e-6
    cut = [item for item in decision.groups[0].shortfalls if item.cap]
    assert {item.layer for item in cut if item.cap.endswith("60% of it at this tier")} == {Layer.MID}


def test_r11_scales_the_layers_it_counts_in_a_mix():
    quotes = (*board(liquidity=25.0), *venue("dear", board(), dearer=1.1))
    policy = classic(mid={"scaling": "tier"}, budget={"budget_30d": "3 %", "defined_risk_capital": "12 %"})
    decision, rows = bought(policy, Tier.GUARDED, quotes)
    (found,) = [item for item in decision.groups[0].findings if item.rule == "R11"]
    assert found.fired
    assert {item.cap for item in decision.groups[0].shortfalls} == {"cost guard (R11)"}
    assert {row[0] for row in rows} == {Layer.TAIL, Layer.MID}


def test_r10_is_kept_by_other_strikes_before_anything_is_shrunk():
    """A narrow range loses nothing above it: puts struck there are cut, lower ones serve in their place."""
    shape = lp_shape(20_000.0, 1500.0, 1990.0)
    changes = {"exposures": (exposure(shape=shape),)}
    quotes = board(days=(5.0, 30.0, 75.0))
    view = read_group(FREE, frame(quotes=(), **changes), GROUP)
    decision, rows = bought(FREE, Tier.CRISIS, quotes, **changes)
    known = {item.instrument: item for item in quotes}
    new = [(known[leg.instrument], leg.size) for leg in decision.plan.legs]
    assert over_hedge_factor(FREE, view, kept=(), leaving=frozenset(), new=new) >= 1.0 - 1e-9
    (found,) = [
        item for item in decision.groups[0].findings if "new legs s" in item.because and item.rule == "R10"
    ][-1:]
    cut = [item for item in decision.groups[0].shortfalls if item.cap == OVER_HEDGE_CAP]
    assert found.fired == bool(cut)
    assert rows


# What may be left out, and what is refused.


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.tuples(st.floats(0.02, 0.4), st.floats(0.0, 30.0), st.floats(10.0, 400.0)), min_size=2, max_size=3
    ),
    st.sampled_from([Tier.CALM, Tier.GUARDED, Tier.CRISIS]),
)
def test_leaving_dominated_offers_out_never_costs_anything(venues, tier):
    quotes = [
        item
        for number, (spread, gas, liquid) in enumerate(venues)
        for item in venue(f"v{number}", board(spread=spread, gas_usd=gas, liquidity=liquid))
    ]
    policy = replace(FREE, mid=replace(FREE.mid, scaling="tier"))
    pruned = price_protection(policy, frame(quotes=tuple(quotes)), group=GROUP, tier=tier)
    real = offers._pruned
    try:
        offers._pruned = lambda found, *_: found
        full = price_protection(policy, frame(quotes=tuple(quotes)), group=GROUP, tier=tier)
    finally:
        offers._pruned = real
    assert pruned.cost_usd <= full.cost_usd * 1.003 + 1.0  # what lots leave over differs
    assert pruned.covered_share >= full.covered_share - 1e-3


NAN = math.nan
GOOD = quote(option(1700, 30))


@pytest.mark.parametrize(
    ("changes", "terms", "words"),
    [
        ({}, {"expiry_s": int(NOW_S)}, "time to expiry must be > 0"),
        ({}, {"expiry_s": int(NOW_S) - 60}, "expired 60 s ago"),
        ({}, {"expiry_s": int(NOW_S) + 1}, ""),
        ({}, {"strike_usd": 0.0}, "strike and multiplier"),
        ({}, {"strike_usd": NAN}, "strike and multiplier"),
        ({}, {"multiplier": 0.0}, "strike and multiplier"),
        ({"iv": 10.0}, {}, ""),
        ({"iv": 10.01}, {}, "implied vol is 1001%"),
        ({"iv": 50.0}, {}, "implied vol is 5000%"),
        ({"delta": 0.2}, {}, "delta of a put is +0.20"),
        ({"delta": -1.2}, {}, "delta of a put is -1.20"),
        ({"delta": 0.0}, {}, ""),
        ({"gas_most_usd": NAN}, {}, "gas"),
        ({"lot": NAN}, {}, "lot"),
        ({"min_size": -1.0}, {}, "minimum"),
        ({"liquidity": 0.0}, {}, "liquidity"),
    ],
)
def test_what_no_listed_option_can_be_is_refused_by_name(changes, terms, words):
    group = read_group(POLICY, frame(quotes=()), GROUP)
    bad = replace(GOOD, **changes, instrument=replace(GOOD.instrument, **terms))
    refusal = refuse_quote(POLICY, group, bad)
    assert (words in refusal) if words else refusal == ""


def test_a_call_with_the_delta_of_a_put_is_refused():
    group = read_group(POLICY, frame(quotes=()), GROUP)
    call = quote(option(2300, 30, kind=OptionType.CALL))
    assert refuse_quote(POLICY, group, call) == ""
    assert "delta of a call" in refuse_quote(POLICY, group, replace(call, delta=-call.delta))


@pytest.mark.parametrize(
    "changes", [{"premium_usd": NAN}, {"liquidity": 0.0}, {"iv": 50.0}, {"delta": NAN}, {"lot": np.inf}]
)
def test_a_bad_quote_is_dropped_with_its_reason_and_the_rest_trades(changes):
    good, _ = bought(FREE, Tier.CALM, board())
    best = good.plan.legs[0].instrument
    quotes = tuple(replace(item, **changes) if item.instrument == best else item for item in board())
    decision, rows = bought(FREE, Tier.CALM, quotes)
    assert rows
    assert best not in {leg.instrument for leg in decision.plan.legs}
    assert any(text.startswith(f"{best.id}: ") for text in decision.groups[0].refused_quotes)
