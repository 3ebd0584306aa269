"""R17 and R18: what held legs are for, and which are let go."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, NOW_S, board, classic, exposure, frame, held, option
from engine.held_legs import review_legs
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.choose import Slot
from bot.engine.group import read_group
from bot.engine.holding import positions_left, sale_refusal
from bot.engine.review import saleable
from bot.engine.step import decide
from bot.model.hedge import Layer, OptionType, Side
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S

POLICY = classic()
PUTS = {layer: Slot(layer, OptionType.PUT) for layer in Layer}


def review(tier, *hedges, since=None, easing=False, **changes):
    state = GroupState(unwanted_since_s=since or {})
    return review_legs(POLICY, tier, *hedges, state=state, easing=easing, **changes)


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
    assert "to hold and rebuy" in found.findings()[0].because
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


LIQUIDITY = exposure().shape.liquidity


@pytest.mark.parametrize(
    ("before", "unseen", "left"),
    [
        ({}, (), False),  # never seen
        ({"v2:1": LIQUIDITY}, (), False),
        ({"v2:1": LIQUIDITY * 1.0009}, (), False),  # a pool's own drift
        ({"v2:1": LIQUIDITY * 1.002}, (), True),  # left in part
        ({"v2:1": LIQUIDITY * 0.5}, (), False),  # grew
        ({"v2:1": LIQUIDITY, "gone": 1.0}, (), True),
        ({"v2:1": LIQUIDITY, "gone": 1.0}, ("position 1",), False),  # may be there still
        ({"v2:1": LIQUIDITY * 2.0, "gone": 1.0}, ("position 1",), True),  # the one that is seen lost half
    ],
)
def test_r18_positions_that_left(before, unseen, left):
    group = read_group(POLICY, frame(quotes=(), unseen=unseen), GROUP)
    found, liquidity = positions_left(group, GroupState(liquidity=before))
    assert found is left
    assert liquidity["v2:1"] == (LIQUIDITY if left else max(LIQUIDITY, before.get("v2:1", 0.0)))
    assert ("gone" in liquidity) is (bool(unseen) and "gone" in before)


@pytest.mark.parametrize(
    ("part", "shrunk", "unwanted"),
    [
        (1.9, False, False),  # inside the band
        (1.9, True, True),  # a position left: the band does not keep its hedge
        (1.06, True, True),
        (1.04, True, False),  # under the least order: as good as the target
    ],
)
def test_r18_hedges_of_positions_that_left_are_let_go(part, shrunk, unwanted):
    size = part * targets_at(Tier.GUARDED)[Layer.MID]
    hedge = held(option(1700, 30), Layer.MID, size)
    state = GroupState(shrunk=shrunk, unwanted_since_s={hedge.id: NOW_S - 7 * HOUR_S})
    found, _ = review_legs(POLICY, Tier.GUARDED, hedge, state=state)
    assert (hedge.id in found.unwanted) is unwanted
    assert sum(sale.size for sale in found.sales) == pytest.approx(
        size * (1.0 - 1.0 / part) if unwanted else 0.0
    )
    assert found.remembered(state).shrunk is unwanted


def test_r18_a_half_that_leaves_takes_its_hedge_with_it():
    """A burned half of the exposure: its half of the hedge goes after the cooldown, and no more."""
    size = targets_at(Tier.CALM)[Layer.TAIL]
    hedge = held(option(1300, 75), Layer.TAIL, size)
    state, sold = EngineState(), 0.0
    for hour in range(9):
        at = frame(
            now_s=NOW_S + hour * HOUR_S,
            exposures=(exposure(1e6 if hour == 0 else 0.5e6),),
            held=(hedge,),
            quotes=board(now_s=NOW_S + hour * HOUR_S),
        )
        state, decision = decide(POLICY, state, at)
        for leg in decision.plan.legs:
            assert leg.side is Side.SELL
            sold += leg.size
        if sold:
            break
    assert hour == 7  # six hours after the first frame without it
    assert sold == pytest.approx(0.5 * size, rel=0.06)  # the board moved with time


def test_r18_legs_of_a_group_that_is_gone_are_let_go_by_their_heir():
    size = targets_at(Tier.CALM)[Layer.TAIL]
    own = held(option(1300, 75), Layer.TAIL, size, id="own", age_s=9 * DAY_S)
    other = held(option(1300, 75), Layer.TAIL, 0.8 * size, id="other", group="ETH/DAI")
    assert review(Tier.CALM, own, other)[0].unwanted == {"other": NOW_S}
    assert review(Tier.CALM, own)[0].unwanted == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": {}, "exposures": (exposure(spot_usd=math.nan),)},
        {"quotes": ()},
        {"quotes": board(valid_until_s=NOW_S - 1.0)},  # stale
        {"quotes": board(iv=math.nan)},
    ],
)
def test_r18_an_unknown_target_lets_nothing_go(changes):
    """Protection is not unwanted because nobody can say what it should be."""
    hedge = held(option(1300, 75), Layer.TAIL, 1e4)
    state = GroupState(unwanted_since_s={hedge.id: NOW_S - 9 * HOUR_S})
    found, _ = review_legs(POLICY, Tier.CALM, hedge, state=state, **changes)
    assert found.sales == []
    assert found.unwanted == {}


LEGS = st.lists(
    st.tuples(
        st.sampled_from(list(Layer)),
        st.floats(0.3, 120.0),  # days to expiry
        st.floats(900.0, 3_000.0),  # strike
        st.floats(0.01, 500.0),  # size
        st.floats(0.0, 10.0),  # days since purchase
        st.one_of(st.just(math.nan), st.floats(0.0, 1.2)),  # what a sale brings of model value
        st.floats(0.0, 20.0),  # hours unwanted
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(LEGS, st.sampled_from(list(Tier)), st.booleans(), st.booleans())
def test_r18_laws_of_every_sale(legs, tier, easing, shrunk):
    """Never sooner than min_hold, never more than is held, never for less than a salvage, R17 or R28 too."""
    hedges = [
        held(option(strike, days), layer, size, age_s=age * DAY_S, salvage=part, id=f"leg{place}")
        for place, (layer, days, strike, size, age, part, _) in enumerate(legs)
    ]
    since = {f"leg{place}": NOW_S - hours * HOUR_S for place, (*_, hours) in enumerate(legs)}
    state = GroupState(unwanted_since_s=since, shrunk=shrunk)
    found, _ = review_legs(POLICY, tier, *hedges, state=state, easing=easing)
    sold: dict[str, float] = {}
    for sale in found.sales:
        assert NOW_S - sale.hedge.opened_at_s >= POLICY.no_loyalty.min_hold
        assert sale.hedge.liquidation_usd >= POLICY.no_loyalty.min_salvage * sale.hedge.model_usd
        assert sale.rule == "R18" or sale.replaced is not None or sale.rule == "R28"
        sold[sale.hedge.id] = sold.get(sale.hedge.id, 0.0) + sale.size
    for hedge in hedges:
        assert sold.get(hedge.id, 0.0) <= hedge.size * (1.0 + 1e-12)
        served = sum(found.serving.get(hedge.id, {}).values())
        assert served <= hedge.size * (1.0 + 1e-12)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), min_size=10, max_size=25))
def test_r18_churn_is_bounded(market):
    """However the tier flickers, a leg is sold only 48 h after purchase and a whole cooldown unwanted."""
    hedge = held(option(1700, 40), Layer.MID, targets_at(Tier.GUARDED)[Layer.MID], age_s=0.0)
    state, now_s, unwanted_s = GroupState(), NOW_S, math.nan
    for guarded, hours in market:
        now_s += hours * HOUR_S
        at = frame(now_s=now_s, held=(hedge,), quotes=board(now_s=now_s))
        found, _ = review_legs(POLICY, Tier.GUARDED if guarded else Tier.CALM, state=state, at=at)
        state = found.remembered(state)
        if guarded:
            unwanted_s = math.nan
        elif math.isnan(unwanted_s):
            unwanted_s = now_s
        ripe = now_s - unwanted_s >= 6 * HOUR_S and now_s - NOW_S >= 48 * HOUR_S
        assert bool(found.sales) is ripe


def indivisible(hedge):
    return replace(hedge, instrument=replace(hedge.instrument, closes_whole=True))


def test_r18_asks_no_part_of_a_leg_that_its_venue_closes_only_whole():
    """Hegic and Panoptic: three times the target is held, two thirds of it are unwanted, nothing is sold."""
    wanted = targets_at(Tier.GUARDED)[Layer.MID]
    leg = held(option(1700, 30), Layer.MID, 3.0 * wanted)
    long_ago = {leg.id: NOW_S - 30 * DAY_S}
    parts, _ = review(Tier.GUARDED, leg, since=long_ago)
    assert [sale.size for sale in parts.sales] == pytest.approx([2.0 * wanted])
    whole, _ = review(Tier.GUARDED, indivisible(leg), since=long_ago)
    assert whole.sales == []
    assert whole.staying(expiring=False) == [indivisible(leg)]
    assert "its venue closes it whole or not at all" in whole.findings()[1].because
    assert not whole.findings()[1].fired


def test_r18_lets_all_of_such_a_leg_go_where_its_layer_is_closed():
    leg = indivisible(held(option(1700, 30), Layer.MID, 5.0))
    found, _ = review(Tier.CALM, leg, since={leg.id: NOW_S - 30 * DAY_S})
    assert [(sale.hedge.id, sale.size) for sale in found.sales] == [(leg.id, 5.0)]


def test_r18_judges_a_leg_by_all_slots_that_it_serves_together():
    """An aged TAIL leg serves MID for its gap and TAIL with the rest; TAIL alone has too much of it."""
    wanted = targets_at(Tier.GUARDED)
    aged = held(option(1700, 25), Layer.TAIL, wanted[Layer.MID] + 9.0 * wanted[Layer.TAIL])
    since = {aged.id: NOW_S - 30 * DAY_S}
    found, _ = review(Tier.GUARDED, aged, since=since)
    assert set(found.serving[aged.id]) == {PUTS[Layer.MID], PUTS[Layer.TAIL]}
    assert [sale.size for sale in found.sales] == pytest.approx([8.0 * wanted[Layer.TAIL]])
    whole, _ = review(Tier.GUARDED, indivisible(aged), since=since)
    assert whole.sales == []
    assert whole.counted == pytest.approx(found.counted)  # and nothing more is bought beside it


@given(size=st.floats(0.01, 1e4), share=st.floats(1e-6, 1.0))
def test_what_can_go_of_a_leg_is_the_part_or_all_of_it_never_a_part_of_one_that_is_whole(size, share):
    leg = held(option(1700, 30), Layer.MID, size)
    assert saleable(leg, share * size) == pytest.approx(share * size)
    assert saleable(indivisible(leg), share * size) in (0.0, size)
    assert saleable(indivisible(leg), size) == saleable(leg, size * (1.0 + 1e-12)) == size
