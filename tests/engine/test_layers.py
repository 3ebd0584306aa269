"""R7 weights and the layers' own triggers."""

import math
from dataclasses import replace

import pytest
from engine.factory import classic, context, flat, frame, reading, set_last, wavy
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.layers import near_trigger, open_layers, option_types, plan_layers, weights
from bot.model.hedge import Layer, OptionType
from bot.model.market import Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Quality, Tier

POLICY = classic()
VOL = SeriesKey(Metric.VOL_INDEX, "ETH", "lyra")


@pytest.mark.parametrize(
    ("tier", "layers"),
    [
        (Tier.CALM, (Layer.TAIL,)),
        (Tier.GUARDED, (Layer.MID, Layer.TAIL)),
        (Tier.ELEVATED, tuple(Layer)),
        (Tier.SEVERE, tuple(Layer)),
        (Tier.CRISIS, tuple(Layer)),
    ],
)
def test_r7_layers_open_with_the_tier(tier, layers):
    assert open_layers(tier) == layers


@pytest.mark.parametrize(
    ("tier", "score", "expected"),
    [
        (Tier.CALM, 0.0, (None, None, 1.0)),
        (Tier.GUARDED, 1.0, (None, 2 / 3, 1 / 3)),
        (Tier.ELEVATED, 0.0, (0.4, 0.4, 0.2)),
        (Tier.ELEVATED, 0.5, (0.45, 0.35, 0.2)),
        (Tier.ELEVATED, 1.0, (0.5, 0.3, 0.2)),
        (Tier.ELEVATED, math.nan, (0.4, 0.4, 0.2)),
    ],
)
def test_r7_s13_moves_points_from_mid_to_near(tier, score, expected):
    found = weights(POLICY, tier, term_score=score)
    assert found == {
        layer: pytest.approx(part) for layer, part in zip(Layer, expected, strict=True) if part is not None
    }


@given(st.sampled_from(Tier), st.floats(0, 1), st.floats(0, 50))
def test_r7_weights_sum_to_one_within_bounds(tier, score, move):
    policy = classic(sizing={"term_structure_move": move})
    found = weights(policy, tier, term_score=score)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-12)
    if len(found) == 3:
        for layer, part in found.items():
            low, high = policy.sizing.weight_bounds.of(layer)
            assert low - 1e-9 <= 100.0 * part <= high + 1e-9


def expansion_frame():
    """A vol index that turns up some hours ago: a confirmed crossover of MACD."""
    column = wavy(0.6, size=0.0005)
    for hours, level in ((6, 0.62), (4, 0.66), (2, 0.70)):
        column = set_last(column, level, hours=hours)
    return frame({VOL: column}, quotes=())


TERM = reading("S13", 0.4, value=0.1)


@pytest.mark.parametrize(
    ("tier", "readings", "at", "remembered", "fires"),
    [
        (Tier.GUARDED, [TERM], None, False, False),  # closed
        (Tier.ELEVATED, [], None, False, False),
        (Tier.ELEVATED, [TERM], None, False, True),  # backwardation
        (Tier.ELEVATED, [replace(TERM, value=0.0, score=0.0)], None, False, False),  # flat is not over 0
        (Tier.ELEVATED, [replace(TERM, value=1e-6, score=0.0)], None, False, True),
        (Tier.ELEVATED, [replace(TERM, quality=Quality.MISSING, score=math.nan)], None, False, False),
        (Tier.ELEVATED, [], "expansion", False, True),
        (Tier.ELEVATED, [], None, True, True),  # stays fired until the tier closes the layer
        (Tier.GUARDED, [], None, True, False),
        (Tier.SEVERE, [], None, False, True),
    ],
)
def test_r12_near_trigger(tier, readings, at, remembered, fires):
    state = GroupState(tier=tier, near_triggered=remembered)
    where = expansion_frame() if at else frame({VOL: flat(0.6)}, quotes=())
    after, finding = near_trigger(POLICY, context(POLICY, readings, state=state, at=where))
    assert finding.fired is fires
    assert after.near_triggered is (fires and tier is not Tier.SEVERE)


def test_r12_tier_trigger_opens_with_the_tier():
    policy = classic(near={"trigger": "tier"})
    state = GroupState(tier=Tier.ELEVATED)
    assert near_trigger(policy, context(policy, [], state=state))[1].fired


@pytest.mark.parametrize(
    ("tier", "readings", "part"),
    [
        (Tier.CALM, [reading("S2", 1.0)], 0.0),
        (Tier.GUARDED, [reading("S2", 0.25)], 0.0),
        (Tier.GUARDED, [reading("S2", 0.26)], 0.02),
        (Tier.GUARDED, [reading("S2", 0.5)], 0.5),
        (Tier.GUARDED, [reading("S2", 0.75)], 1.0),
        (Tier.ELEVATED, [reading("S2", 1.0)], 1.0),
        (Tier.GUARDED, [], 1.0),  # no source at all: nothing to scale with
        (Tier.GUARDED, [reading("S2", math.nan, quality=Quality.MISSING)], 0.0),
        (Tier.GUARDED, [reading("S2", math.nan, quality=Quality.WARMING)], 0.0),
        (Tier.SEVERE, [reading("S2", 0.0)], 1.0),
    ],
)
def test_r13_mid_scaling(tier, readings, part):
    state = GroupState(tier=tier)
    plans, _, findings = plan_layers(POLICY, context(POLICY, readings, state=state))
    assert plans[1].released == pytest.approx(part)
    assert next(item for item in findings if item.rule == "R13").fired is (part > 0.0)


def test_r13_tier_scaling_opens_in_full():
    policy = classic(mid={"scaling": "tier"})
    state = GroupState(tier=Tier.GUARDED)
    plans, _, _ = plan_layers(policy, context(policy, [reading("S2", 0.0)], state=state))
    assert plans[1].released == 1.0


def test_r15_calls_only_under_hold():
    assert option_types(POLICY) == (OptionType.PUT,)
    assert option_types(classic(sizing={"loss_measure": "hold"})) == (OptionType.PUT, OptionType.CALL)
