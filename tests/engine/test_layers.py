"""R7 weights and the layers' own triggers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import FEED, classic, context, flat, frame, reading, set_last, wavy
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.layers import near_trigger, open_layers, option_types, plan_layers, weights
from bot.model.hedge import Layer, OptionType
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Quality, Tier
from bot.signals.rsi import exhaustion

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
    ("tier", "scores", "expected"),
    [
        (Tier.CALM, {"S13": 0.0}, (None, None, 1.0)),
        (Tier.GUARDED, {"S13": 1.0, "S8": 1.0, "S18": 1.0}, (None, 2 / 3, 1 / 3)),  # NEAR is not open
        (Tier.ELEVATED, {}, (0.4, 0.4, 0.2)),  # absent moves nothing
        (Tier.ELEVATED, {"S13": 0.5}, (0.45, 0.35, 0.2)),
        (Tier.ELEVATED, {"S13": 1.0}, (0.5, 0.3, 0.2)),
        (Tier.ELEVATED, {"S13": math.nan, "S8": math.nan}, (0.4, 0.4, 0.2)),
        (Tier.ELEVATED, {"S8": 0.5}, (0.35, 0.4, 0.25)),
        (Tier.ELEVATED, {"S8": 1.0}, (0.3, 0.4, 0.3)),
        (Tier.ELEVATED, {"S18": 0.5}, (0.4, 0.4, 0.2)),  # over it, not at it
        (Tier.ELEVATED, {"S18": 0.5 + 1e-9}, (0.35, 0.4, 0.25)),
        (Tier.ELEVATED, {"S21": 0.51}, (0.35, 0.4, 0.25)),
        (Tier.ELEVATED, {"S18": 0.9, "S21": 0.9}, (0.3, 0.4, 0.3)),
        (Tier.ELEVATED, {"S8": 1.0, "S18": 0.9, "S21": 0.9}, (0.3, 0.4, 0.3)),  # TAIL is at its most
        (Tier.CRISIS, {"S13": 1.0, "S8": 1.0}, (0.4, 0.3, 0.3)),
    ],
)
def test_r7_scores_move_points(tier, scores, expected):
    found = weights(POLICY, tier, scores=scores)
    assert found == {
        layer: pytest.approx(part) for layer, part in zip(Layer, expected, strict=True) if part is not None
    }


@pytest.mark.parametrize(
    ("tier", "scores", "expected"),
    [
        (Tier.ELEVATED, {}, (0.3, 0.4, 0.3)),
        (Tier.ELEVATED, {"S13": 1.0}, (0.3, 0.4, 0.3)),  # what TAIL cannot take goes back to MID
        (Tier.ELEVATED, {"S8": 1.0}, (0.3, 0.4, 0.3)),  # already under it
        (Tier.GUARDED, {}, (None, 2 / 3, 1 / 3)),
    ],
)
def test_r5_wings_cap_near(tier, scores, expected):
    found = weights(POLICY, tier, scores=scores, near_cap=30.0)
    assert found == {
        layer: pytest.approx(part) for layer, part in zip(Layer, expected, strict=True) if part is not None
    }


def test_r7_every_score_comes_from_its_own_signal():
    state = GroupState(tier=Tier.ELEVATED)
    readings = [reading("S13", 0.5), reading("S8", 0.3), reading("S18", 0.6), reading("S21", 0.4)]
    plans, _, (finding, *_) = plan_layers(POLICY, context(POLICY, readings, state=state))
    # 40 + 5 - 3 - 5, 40 - 5, 20 + 3 + 5
    assert [plan.weight for plan in plans] == [pytest.approx(part) for part in (0.37, 0.35, 0.28)]
    assert "S13 0.50, S8 0.30, S18 0.60, S21 0.40" in finding.because
    _, _, (finding, *_) = plan_layers(POLICY, context(POLICY, readings[:1], state=state))
    assert "S8 not live" in finding.because


SCORE = st.floats(0, 1)


@given(
    tier=st.sampled_from(Tier),
    scores=st.fixed_dictionaries({"S13": SCORE, "S8": SCORE, "S18": SCORE, "S21": SCORE}),
    moves=st.fixed_dictionaries({name: st.floats(0, 50) for name in ("S13", "S8", "S18", "S21")}),
    cap=st.one_of(st.none(), st.floats(30, 100)),
    preset=st.sampled_from([None, (10, 20, 70)]),
)
def test_r7_weights_sum_to_one_within_bounds(tier, scores, moves, cap, preset):
    sizing = {"weight_moves": {**moves, "over": 0.5}}
    if preset:
        sizing["weights"] = dict(zip(("NEAR", "MID", "TAIL"), preset, strict=True))
        sizing["weight_bounds"] = {"NEAR": [0, 40], "MID": [0, 40], "TAIL": [20, 100]}
    policy = classic(sizing=sizing)
    found = weights(policy, tier, scores=scores, near_cap=cap)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-12)
    if len(found) == 3:
        for layer, part in found.items():
            low, high = policy.sizing.weight_bounds.of(layer)
            assert low - 1e-9 <= 100.0 * part <= high + 1e-9
        assert cap is None or 100.0 * found[Layer.NEAR] <= cap + 1e-9


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


def exhausted_frame():
    """A price that fell hour by hour and has turned up: RSI under 25 and rising for two bars."""
    price = wavy(2_000.0, size=0.0005)
    values = price.values.copy()
    values[-40:-3] *= np.linspace(1.0, 0.7, 37)
    values[-3:] = values[-4] * np.array([1.0001, 1.0002, 1.0003])
    return frame({FEED: Column(times_s=price.times_s, values=values)}, quotes=())


@pytest.mark.parametrize(
    ("tier", "remembered", "fires"),
    [
        (Tier.ELEVATED, False, False),  # backwardation, denied
        (Tier.ELEVATED, True, True),  # what fired earlier stays
        (Tier.SEVERE, False, True),
    ],
)
def test_r12_not_on_exhaustion(tier, remembered, fires):
    state = GroupState(tier=tier, near_triggered=remembered)
    at = exhausted_frame()
    assert exhaustion(at.columns, now_s=at.now_s, policy=POLICY.signals, subject="ETH") is True
    _, finding = near_trigger(POLICY, context(POLICY, [TERM], state=state, at=at))
    assert finding.fired is fires
    assert ("denies it" in finding.because) is (tier is Tier.ELEVATED)


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
        (Tier.GUARDED, [reading("S12", 0.5)], 0.5),  # S2 has no source
        (Tier.GUARDED, [reading("S2", 0.1), reading("S12", 0.6)], 0.7),  # the higher of the two
        (Tier.GUARDED, [reading("S2", 0.6), reading("S12", 0.1)], 0.7),
        (Tier.GUARDED, [reading("S2", 0.5), reading("S12", math.nan, quality=Quality.WARMING)], 0.5),
        (Tier.GUARDED, [reading("S2", math.nan, quality=Quality.MISSING), reading("S12", 0.4)], 0.3),
        (Tier.GUARDED, [reading("S12", math.nan, quality=Quality.WARMING)], 0.0),
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
    for readings in ([reading("S2", 0.0)], [reading("S12", 1.0)], [reading("S12", 0.0)]):
        plans, _, _ = plan_layers(policy, context(policy, readings, state=state))
        assert plans[1].released == 1.0  # never because IV has risen, nor less because it has not


def test_r15_calls_only_under_hold():
    assert option_types(POLICY) == (OptionType.PUT,)
    assert option_types(classic(sizing={"loss_measure": "hold"})) == (OptionType.PUT, OptionType.CALL)
