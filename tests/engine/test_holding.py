"""R17 and R18: what held legs are for, and which are let go."""

import math

import pytest
from engine.factory import GROUP, NOW_S, board, classic, context, frame, held, option, reading

from bot.engine import decide
from bot.engine.choose import Slot, choose
from bot.engine.group import read_group
from bot.engine.holding import review_held, sale_refusal
from bot.engine.layers import open_layers, plan_layers
from bot.engine.sizing import size_group
from bot.model.hedge import Layer, OptionType, Side
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S

POLICY = classic()
PUTS = {layer: Slot(layer, OptionType.PUT) for layer in Layer}


def review(tier, *hedges, since=None, easing=False, quotes=None):
    at = frame(held=hedges, quotes=board() if quotes is None else quotes)
    group = read_group(POLICY, at, GROUP)
    state = GroupState(tier=tier)
    plans, _, _ = plan_layers(POLICY, context(POLICY, [reading("S2", 1.0)], state=state, at=at), force=True)
    choices = choose(POLICY, group, open_layers(tier), at.quotes)
    sizing = size_group(POLICY, group, tier, plans, choices)
    found = review_held(POLICY, group, tier, sizing.targets, since or {}, easing=easing)
    return found, sizing


def targets_at(tier):
    _, sizing = review(tier)
    return {slot.layer: target.units for slot, target in sizing.targets.items()}


@pytest.mark.parametrize(
    ("layer", "days", "tier", "serves"),
    [
        (Layer.TAIL, 31.0, Tier.CALM, Layer.TAIL),
        (Layer.TAIL, 30.0, Tier.GUARDED, Layer.MID),  # MID is open and empty
        (Layer.TAIL, 8.0, Tier.GUARDED, Layer.MID),
        (Layer.TAIL, 5.0, Tier.SEVERE, Layer.NEAR),
        (Layer.MID, 7.1, Tier.GUARDED, Layer.MID),
        (Layer.MID, 7.0, Tier.SEVERE, Layer.NEAR),
        (Layer.NEAR, 1.1, Tier.SEVERE, Layer.NEAR),
        (Layer.NEAR, 1.0, Tier.SEVERE, None),  # expiring: replaced before it goes
        (Layer.MID, 0.4, Tier.GUARDED, None),
    ],
)
def test_r17_which_layer_a_leg_serves(layer, days, tier, serves):
    hedge = held(option(1700, days), layer, 5.0)
    found, _ = review(tier, hedge)
    assert found.counted == ({PUTS[serves]: 5.0} if serves else {})
    assert (hedge.id in found.expiring) is (serves is None)
    assert found.staying(expiring=False) == ([hedge] if serves else [])


def test_r17_a_full_nearer_layer_does_not_take_it():
    full = held(option(1700, 30), Layer.MID, targets_at(Tier.GUARDED)[Layer.MID], id="full")
    aged = held(option(1300, 25), Layer.TAIL, 5.0, id="aged", salvage=0.1)
    found, _ = review(Tier.GUARDED, full, aged)
    assert found.serving["aged"] == {PUTS[Layer.TAIL]: 5.0}  # cannot be sold: goes on serving its own layer
    assert "held, not rolled" in found.findings()[0].because


def test_r17_a_leg_counts_in_a_nearer_layer_only_for_its_gap():
    wanted = targets_at(Tier.GUARDED)[Layer.MID]
    aged = held(option(1700, 25), Layer.TAIL, 3.0 * wanted)
    found, _ = review(Tier.GUARDED, aged)
    assert found.counted == pytest.approx({PUTS[Layer.MID]: wanted, PUTS[Layer.TAIL]: 2.0 * wanted})
    assert found.serving[aged.id] == found.counted
    assert "serves MID now for" in found.findings()[0].because


@pytest.mark.parametrize(("part", "moves"), [(0.49, True), (0.51, False)])
def test_r17_a_nearer_layer_inside_its_band_does_not_take_a_leg(part, moves):
    native = held(option(1700, 30), Layer.MID, part * targets_at(Tier.GUARDED)[Layer.MID], id="native")
    aged = held(option(1300, 25), Layer.TAIL, 5.0, id="aged", salvage=0.1)
    found, _ = review(Tier.GUARDED, native, aged)
    assert (PUTS[Layer.MID] in found.serving["aged"]) is moves


def test_r17_roll_needs_a_later_expiry_and_a_cheaper_way():
    aged = held(option(1800, 25), Layer.TAIL, 20.0, salvage=0.99)
    found, _ = review(Tier.CALM, aged)
    assert [sale.hedge.id for sale in found.sales] == [aged.id]
    assert found.sales[0].replaced == PUTS[Layer.TAIL]
    assert found.counted == {}
    spread, _ = review(Tier.CALM, aged, quotes=board(spread=3.0))
    assert not spread.sales
    assert spread.counted == {PUTS[Layer.TAIL]: 20.0}
    nothing, _ = review(Tier.CALM, aged, quotes=())
    assert not nothing.sales
    assert "nothing to roll into" in nothing.findings()[0].because


def test_r17_easing_rolls_mid_out():
    units = targets_at(Tier.GUARDED)[Layer.MID]
    hedge = held(option(1960, 12), Layer.MID, units, salvage=0.99)
    assert not review(Tier.GUARDED, hedge)[0].sales
    assert review(Tier.GUARDED, hedge, easing=True)[0].sales[0].replaced == PUTS[Layer.MID]


def test_r17_easing_moves_nothing_nearer():
    young = held(option(1960, 12), Layer.MID, 5.0, age_s=HOUR_S)
    found, _ = review(Tier.SEVERE, young, easing=True)  # NEAR is open and empty
    assert found.counted == {PUTS[Layer.MID]: 5.0}


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"age_s": 47 * HOUR_S}, True),
        ({"salvage": math.nan}, True),
        ({"salvage": 0.99}, True),  # rolled by this plan, and not yet sold
        ({"salvage": 0.1}, False),  # its cost refuses it
    ],
)
def test_r17_easing_waits_for_legs_that_may_still_be_rolled(changes, waits):
    units = targets_at(Tier.GUARDED)[Layer.MID]
    hedge = held(option(1960, 12), Layer.MID, units, **changes)
    assert review(Tier.GUARDED, hedge, easing=True)[0].easing == ({hedge.id} if waits else set())


def test_r17_easing_does_not_wait_for_a_leg_that_its_cost_refuses():
    hedge = held(option(1700, 12), Layer.MID, targets_at(Tier.GUARDED)[Layer.MID], salvage=0.5)
    found, _ = review(Tier.GUARDED, hedge, easing=True)
    assert "rolling costs" in found.findings()[0].because
    assert found.easing == set()


@pytest.mark.parametrize("settleable", [True, False])
def test_r17_expired_legs_are_settled_when_they_can_be(settleable):
    hedge = held(option(1700, -0.5), Layer.MID, 5.0, settleable=settleable)
    found, _ = review(Tier.CALM, hedge)
    assert found.settles == ([hedge] if settleable else [])
    assert found.kept == []


HELD_3D = held(option(1500, 50), Layer.TAIL, 1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"age_s": 48 * HOUR_S}, ""),
        ({"age_s": 48 * HOUR_S - 1}, "within 48 h"),
        ({"salvage": 0.5}, ""),
        ({"salvage": 0.499}, "under 50%"),
        ({"salvage": 0.0}, "no sale can be quoted"),
        ({"salvage": math.nan}, "no sale can be quoted"),
    ],
)
def test_r18_sale_conditions(changes, words):
    hedge = held(option(1500, 50), Layer.TAIL, 1.0, **changes)
    refusal = sale_refusal(POLICY, read_group(POLICY, frame(held=(hedge,), quotes=()), GROUP), hedge)
    assert words in refusal if words else refusal == ""


def test_r18_no_sale_inside_the_cutoff():
    hedge = held(option(1990, 0.5), Layer.NEAR, 1.0)
    assert "cutoff" in sale_refusal(POLICY, read_group(POLICY, frame(held=(hedge,), quotes=()), GROUP), hedge)


@pytest.mark.parametrize(
    ("tier", "part", "unwanted_h", "sold"),
    [
        (Tier.CALM, None, None, None),  # layer closed; unwanted starts now
        (Tier.CALM, None, 5.9, None),
        (Tier.CALM, None, 6.0, 1.0),
        (Tier.GUARDED, 2.0, 6.0, None),  # inside the resize band
        (Tier.GUARDED, 2.1, 6.0, 1.1 / 2.1),  # beyond it: back to target
        (Tier.GUARDED, 1.0, None, None),
    ],
)
def test_r18_what_is_sold_and_what_is_kept(tier, part, unwanted_h, sold):
    size = targets_at(Tier.GUARDED)[Layer.MID] * (part or 1.0)
    hedge = held(option(1700, 30), Layer.MID, size)
    since = {} if unwanted_h is None else {hedge.id: NOW_S - unwanted_h * HOUR_S}
    found, _ = review(tier, hedge, since=since)
    if sold is None:
        assert found.sales == []
    else:
        assert found.sales[0].size == pytest.approx(sold * size, rel=1e-6)
    wanted = tier is Tier.GUARDED and (part or 1.0) <= 2.0
    assert (hedge.id in found.unwanted) is not wanted


def test_r18_wanted_again_forgets_the_clock():
    hedge = held(option(1700, 30), Layer.MID, targets_at(Tier.GUARDED)[Layer.MID])
    found, _ = review(Tier.GUARDED, hedge, since={hedge.id: NOW_S - 5 * HOUR_S})
    assert found.unwanted == {}


def test_r18_an_aged_leg_makes_no_good_one_unwanted():
    size = targets_at(Tier.CALM)[Layer.TAIL]
    native = held(option(1200, 75), Layer.TAIL, size, id="native", age_s=3 * DAY_S)
    aged = held(option(1200, 25), Layer.TAIL, 1.5 * size, id="aged", age_s=60 * DAY_S, salvage=0.1)
    found, _ = review(Tier.CALM, native, aged)
    assert set(found.unwanted) == {"aged"}
    assert found.counted == pytest.approx({PUTS[Layer.TAIL]: size})


def test_r18_newest_goes_first():
    size = targets_at(Tier.CALM)[Layer.TAIL]
    old = held(option(1200, 75), Layer.TAIL, size, id="old", age_s=20 * DAY_S)
    new = held(option(1200, 75), Layer.TAIL, 1.5 * size, id="new", age_s=3 * DAY_S)
    found, _ = review(Tier.CALM, old, new, since={"new": NOW_S - 7 * HOUR_S})
    assert [(sale.hedge.id, round(sale.size / size, 6)) for sale in found.sales] == [("new", 1.5)]


def test_r18_protection_of_a_position_that_is_not_seen_is_not_sold():
    """After a restart a position may not be readable yet: its hedges are not unwanted for that."""
    hedge = held(option(1700, 30), Layer.MID, 2.0, age_s=20 * DAY_S)

    def sales(hours, **changes):
        state = EngineState()
        found = []
        for step in range(hours):
            now_s = NOW_S + step * HOUR_S
            at = frame(now_s=now_s, exposures=(), held=(hedge,), quotes=(), **changes)
            state, decision = decide(POLICY, state, at)
            found += [leg for leg in decision.plan.legs if leg.side is Side.SELL]
        return found

    assert sales(8), "without a position it is unwanted and sold"
    assert sales(8, unseen=("position 1 of chain 1",)) == []
