"""R10's settlement part: a stable under stress is avoided, else new coverage shrinks."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, board, classic, context, frame, reading

from bot.engine.choose import Slot, choose
from bot.engine.group import read_group
from bot.engine.layers import open_layers, plan_layers
from bot.engine.settlement import settle_elsewhere, settlement_stress, shrink_new
from bot.engine.sizing import size_group
from bot.model.hedge import Layer, OptionType
from bot.model.record import GroupState
from bot.model.tier import Quality, Tier

POLICY = classic()
TAIL, MID = (Slot(layer, OptionType.PUT) for layer in (Layer.TAIL, Layer.MID))


def of(signal, score, asset="sUSD", **changes):
    return reading(signal, score, subject=asset, **changes)


def settling_in(asset, quotes):
    return tuple(
        replace(item, instrument=replace(item.instrument, settlement=asset, venue=f"in {asset}"))
        for item in quotes
    )


def chosen(quotes):
    group = read_group(POLICY, frame(quotes=quotes), GROUP)
    return group, choose(POLICY, group, open_layers(Tier.GUARDED), quotes)


@pytest.mark.parametrize(
    ("readings", "stress"),
    [
        ([], {}),
        ([of("S5", 0.5)], {}),  # at the limit, not over it
        ([of("S5", 0.5 + 1e-9)], {"sUSD": 0.5 + 1e-9}),
        ([of("S5", 0.2), of("S6", 0.9)], {"sUSD": 0.9}),
        ([of("S5", 0.9), of("S6", 0.6)], {"sUSD": 0.9}),
        ([of("S5", 0.9, "USDC")], {}),  # another stable
        ([of("S4", 0.9)], {}),
        ([of("S5", 0.9, quality=Quality.MISSING)], {}),  # not known; the price itself decides then
        ([of("S5", math.nan, quality=Quality.WARMING)], {}),
    ],
)
def test_r10_which_settlement_assets_are_stressed(readings, stress):
    _, choices = chosen(board())
    found, finding = settlement_stress(POLICY, readings, choices)
    assert found == stress
    assert (finding.rule, finding.fired) == ("R10", bool(stress))
    assert "sUSD S5" in finding.because


def test_r10_new_legs_settle_elsewhere_where_any_venue_quotes():
    dear = tuple(replace(item, premium_usd=1.3 * item.premium_usd) for item in board())
    group, choices = chosen((*board(), *settling_in("USDC", dear)))
    assert choices[MID].quote.instrument.settlement == "sUSD"  # the cheaper
    placed = settle_elsewhere(choices, {"sUSD": 0.7})
    for slot in (MID, TAIL):
        assert placed[slot].quote.instrument.settlement == "USDC"
        assert {item.quote.instrument.settlement for item in placed[slot].candidates} == {"USDC"}
        assert "do not settle in sUSD (R10)" in placed[slot].because
    assert settle_elsewhere(choices, {}) == choices
    assert settle_elsewhere(choices, {"DAI": 0.9}) == choices
    assert group.stable_usd.get("USDC", 1.0) == 1.0


@pytest.mark.parametrize(
    ("held_part", "score", "left"),
    [(0.0, 0.6, 0.4), (0.5, 0.6, 0.7), (1.0, 0.6, 1.0), (1.2, 0.6, 1.0), (0.0, 1.0, 0.0)],
)
def test_r10_else_new_coverage_shrinks_by_the_score(held_part, score, left):
    group, choices = chosen(board())
    assert settle_elsewhere(choices, {"sUSD": score}) == choices  # all settles in it
    plans, _, _ = plan_layers(POLICY, context(POLICY, state=GroupState(tier=Tier.GUARDED)), force=True)
    sizing = size_group(POLICY, group, Tier.GUARDED, plans, choices)
    units = sizing.targets[MID].units
    found = shrink_new(sizing, {MID: held_part * units}, {"sUSD": score})
    target = found.targets[MID]
    assert target.units == units
    assert target.released_units == pytest.approx(left * units)
    assert ("shrunk by" in target.plan.because) is (held_part < 1.0)
    assert shrink_new(sizing, {}, {}) is sizing
