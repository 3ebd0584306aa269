"""R28: profit is taken in parts, the layer is bought anew, half of the profit is set aside."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, NOW_S, SPOT, board, classic, frame, held, option, spend
from engine.held_legs import review_legs
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.choose import Slot
from bot.engine.group import read_group
from bot.engine.limits import BUDGET_30D_CAP, BUDGET_365D_CAP, SESSION_CAP, premium_caps
from bot.engine.monetise import ripeness
from bot.engine.sizing import covered_share, held_path_gains
from bot.engine.step import decide
from bot.model.hedge import HeldHedge, Layer, OptionType, Side, SpendKind
from bot.model.record import EngineState, GroupState, ProfitTaking
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.codec import dumps, loads
from bot.quant.options import delta

POLICY = classic()
TAIL = Slot(Layer.TAIL, OptionType.PUT)
ONE_FRAME = classic(tiers={"confirm": 1, "confirm_s": "0 s", "confirm_blocks": 0})


def deep(size=9.0, **changes) -> HeldHedge:
    """A TAIL put that a fall has carried far into the money: |delta| 0.97 and a good bid."""
    return held(option(3_000, 40), Layer.TAIL, size, id="deep", **({"salvage": 0.9} | changes))


def _group(*hedges):
    return read_group(POLICY, frame(held=hedges, quotes=()), GROUP)


def confirmed(whole=9.0, **changes) -> GroupState:
    """The memory of a leg whose next part is due in this frame."""
    known = ProfitTaking(whole=whole, frames=1, since_s=NOW_S - 60.0, since_block=0, last_s=NOW_S - 60.0)
    return GroupState(profits={"deep": replace(known, **changes)})


def test_r28_limit_of_delta():
    group = _group()
    strike = next(
        each
        for each in range(2_000, 4_000)
        if abs(float(delta(group.spot_usd, each, 40 / 365.0, 0.8, is_put=True))) > 0.80
    )
    over, under = (held(option(each, 40), Layer.TAIL, 1.0) for each in (strike, strike - 1))
    assert "over 0.8" in ripeness(POLICY, group, over)
    assert ripeness(POLICY, group, under) == ""


@pytest.mark.parametrize(
    ("multiple", "ripe"), [(14.99, False), (15.0, False), (15.01, True), (math.nan, False)]
)
def test_r28_limit_of_value(multiple, ripe):
    hedge = replace(held(option(1_700, 40), Layer.TAIL, 1.0), cost_usd=10.0, liquidation_usd=multiple * 10.0)
    assert bool(ripeness(POLICY, _group(), hedge)) is ripe


@pytest.mark.parametrize("changes", [{"iv": math.nan}, {"cost_usd": 0.0}, {"cost_usd": math.nan}])
def test_r28_what_is_unknown_is_over_no_limit(changes):
    hedge = replace(held(option(1_700, 40), Layer.TAIL, 1.0), **changes)
    assert ripeness(POLICY, _group(), hedge) == ""


@pytest.mark.parametrize(
    ("frames", "since_s", "blocks", "sold"),
    [
        (0, 0.0, 0, False),  # the first frame of a part
        (1, 60.0, 0, True),  # second frame, a minute later
        (1, 59.0, 0, False),
        (1, 60.0, 6, True),
        (1, 60.0, 5, False),
        (9, 3_600.0, 0, True),
    ],
)
def test_r28_a_part_needs_a_confirmed_step(frames, since_s, blocks, sold):
    state = confirmed(frames=frames, since_s=NOW_S - since_s, since_block=100 if blocks else 0)
    found, _ = review_legs(
        POLICY,
        Tier.CALM,
        deep(),
        state=state if frames else GroupState(),
        block=100 + blocks if blocks else 0,
    )
    assert bool(found.sales) is sold
    assert found.findings()[2].fired is sold
    assert (TAIL in found.counted) is not sold  # from its first part on it no longer serves its layer


def test_r28_a_third_of_the_whole_each_time():
    state, size, parts = GroupState(), 9.0, []
    for _ in range(3):
        found, _ = review_legs(ONE_FRAME, Tier.CALM, deep(size), state=state)
        (sale,) = found.sales
        assert sale.rule == "R28"
        assert sale.set_aside == 0.5
        parts.append(sale.size)
        size -= sale.size
        state = found.remembered(state)
    assert parts == pytest.approx([3.0, 3.0, 3.0])
    assert size == pytest.approx(0.0)


def test_r28_a_leg_that_its_venue_closes_only_whole_goes_as_one_part():
    leg = deep()
    leg = replace(leg, instrument=replace(leg.instrument, closes_whole=True))
    found, _ = review_legs(ONE_FRAME, Tier.CALM, leg, state=GroupState())
    (sale,) = found.sales
    assert (sale.rule, sale.size, sale.replaced) == ("R28", leg.size, TAIL)
    assert found.staying(expiring=False)[0].size == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"age_s": 47 * HOUR_S}, "within 48 h"),
        ({"age_s": 48 * HOUR_S}, ""),
        ({"salvage": math.nan}, "no sale can be quoted"),
        ({"salvage": 0.0}, "no sale can be quoted"),
        ({"salvage": 0.75}, ""),
        ({"salvage": 0.749}, "outside the venue's band"),
        ({"salvage": 0.49}, "under 50%"),
    ],
)
def test_r28_sells_only_while_the_venue_pays(changes, words):
    found, _ = review_legs(POLICY, Tier.CALM, deep(**changes), state=confirmed())
    assert words in found.findings()[2].because
    assert (TAIL in found.counted) is bool(words)  # what cannot be sold goes on serving
    assert bool(found.sales) is (not words)


@pytest.mark.parametrize("quotes", [(), board(valid_until_s=NOW_S - 1.0)])
def test_r28_waits_until_the_layer_can_be_bought_anew(quotes):
    found, _ = review_legs(POLICY, Tier.CALM, deep(), state=confirmed(), quotes=quotes)
    assert found.sales == []
    assert "nothing is listed to buy the layer anew" in found.findings()[2].because


def test_r28_leaves_closed_layers_to_r18_and_the_last_day_to_r17():
    mid = replace(deep(), layer=Layer.MID)
    assert review_legs(POLICY, Tier.CALM, mid, state=confirmed())[0].profits == {}
    last = held(option(3_000, 1.0), Layer.TAIL, 9.0, id="deep", salvage=0.9)
    found, _ = review_legs(POLICY, Tier.SEVERE, last, state=confirmed())
    assert found.profits == {}
    assert set(found.expiring) == {"deep"}


def test_r28_off_by_policy():
    off = classic(monetise={"enabled": False})
    found, _ = review_legs(off, Tier.CALM, deep(), state=confirmed())
    assert found.sales == []
    assert "off by policy" in found.findings()[2].because


@pytest.mark.parametrize(("ago_h", "waits"), [(5.9, True), (6.0, False)])
def test_r28_a_leg_that_fell_back_serves_again_after_the_cooldown(ago_h, waits):
    hedge = replace(held(option(1_300, 40), Layer.TAIL, 6.0), id="deep")
    state = confirmed(frames=0, begun=True, last_s=NOW_S - ago_h * HOUR_S)
    found, _ = review_legs(POLICY, Tier.CALM, hedge, state=state)
    assert found.sales == []
    assert ("deep" in found.profits) is waits
    assert (TAIL in found.counted) is not waits


@pytest.mark.parametrize(
    ("size", "alone"),
    [
        (6.0, False),  # the rest covers less than half of CALM's 5 %: the layer is bought first
        (30.0, True),
        (5_000.0, True),  # hedged more than there is to lose: less of it is no worse
    ],
)
def test_r28_a_part_goes_first_only_where_the_rest_is_protection_enough(size, alone):
    found, sizing = review_legs(POLICY, Tier.CALM, deep(size), state=confirmed(size))
    (sale,) = found.sales
    assert (sale.replaced is None) is alone
    group = _group(deep(size))
    covered = covered_share(group, held_path_gains(group, found.staying(expiring=False)))
    if size < 1_000.0:
        assert (covered >= 0.5 * sizing.share) is alone


def test_r28_unknown_coverage_lets_nothing_go_first():
    other = replace(held(option(1_300, 75), Layer.TAIL, 50.0), iv=math.nan)
    found, _ = review_legs(POLICY, Tier.CALM, deep(30.0), other, state=confirmed(30.0))
    assert [sale.replaced for sale in found.sales] == [TAIL]


def test_r28_the_layer_is_bought_at_its_own_delta_before_the_part_goes():
    state = EngineState(groups={GROUP: confirmed(6.0)})
    _, decision = decide(POLICY, state, frame(held=(deep(6.0),)))
    bought, sold = decision.plan.legs
    assert (bought.side, sold.side) == (Side.BUY, Side.SELL)
    assert sold.only_after == bought.key
    assert sold.size == pytest.approx(2.0)
    assert sold.set_aside == 0.5
    depth = abs(float(delta(SPOT, bought.instrument.strike_usd, bought.instrument.dte(NOW_S) / 365.0, 0.8,
                            is_put=True)))  # fmt: skip
    low, high = POLICY.layers.TAIL.delta
    assert 0.9 * low <= depth <= 1.1 * high


def test_r28_without_budget_the_leg_stays():
    poor = classic(budget={"session_share": "0 %"})
    _, decision = decide(poor, EngineState(groups={GROUP: confirmed(6.0)}), frame(held=(deep(6.0),)))
    assert decision.plan.legs == ()


def test_r28_what_is_set_aside_does_not_come_back_to_the_budgets():
    """A profit of 1000: the 30 and 365 days get half of it back, the session none, as for every sale."""
    entries = (
        spend(NOW_S - DAY_S, 600.0),
        spend(NOW_S - HOUR_S, -1_100.0, kind=SpendKind.PROCEEDS),  # of what had cost 100
        spend(NOW_S - HOUR_S, 500.0, kind=SpendKind.SET_ASIDE),
    )
    caps = premium_caps(POLICY, frame(spends=entries), exposure_usd=1e6)
    used = {cap.name: cap.used_usd for cap in caps}
    assert used[BUDGET_30D_CAP] == used[BUDGET_365D_CAP] == pytest.approx(0.0)
    assert used[SESSION_CAP] == pytest.approx(0.0)


def test_r28_memory_survives_the_journal():
    state, _ = decide(POLICY, EngineState(groups={GROUP: confirmed()}), frame(held=(deep(),)))
    assert state.groups[GROUP].profits["deep"].begun
    assert dumps(loads(EngineState, dumps(state))) == dumps(state)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(10.0, 20_000.0)), min_size=2, max_size=25),
    st.floats(0.5, 80.0),
    st.integers(1, 5),
)
def test_r28_laws(walk, size, parts):
    """Whatever the leg does: never more than is held, never sooner than two frames a part or 48 h."""
    policy = classic(monetise={"parts": parts})
    state, left, now_s, quiet = GroupState(), size, NOW_S - 30 * HOUR_S, 0
    for is_deep, wait_s in walk:
        now_s += wait_s
        strike = 3_000 if is_deep else 1_300
        hedge = held(option(strike, 40, now_s=now_s), Layer.TAIL, left, now_s=now_s, id="deep", salvage=0.9)
        hedge = replace(hedge, opened_at_s=NOW_S - 60 * HOUR_S)
        at = frame(now_s=now_s, held=(hedge,), quotes=board(now_s=now_s))
        found, _ = review_legs(policy, Tier.CALM, state=state, at=at)
        state = found.remembered(state)
        sales = [sale for sale in found.sales if sale.rule == "R28"]
        quiet = quiet + 1 if is_deep else quiet
        for sale in sales:
            assert is_deep
            assert sale.size <= left * (1.0 + 1e-12)
            assert sale.size <= size / parts * (1.0 + 1e-6)
            assert now_s - hedge.opened_at_s >= 2 * DAY_S
            assert quiet >= 2
            quiet, left = 0, left - sale.size
        if left <= 1e-6 * size:
            break
