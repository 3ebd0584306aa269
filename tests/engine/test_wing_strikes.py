"""R5 and R15: where wings stand among the listed strikes."""

import math
from dataclasses import replace

import pytest
from engine.factory import (
    FEED,
    GROUP,
    SPOT,
    calm_columns,
    classic,
    context,
    exposure,
    flat,
    frame,
    option,
    quote,
    reading,
)

from bot.engine.choose import Slot, choose
from bot.engine.group import read_group
from bot.engine.layers import open_layers
from bot.engine.rules.outer_wings import WingDirective
from bot.engine.settlement import settle_elsewhere
from bot.engine.wing_strikes import core_break_evens, place_wings, wing_bands, wings_wider
from bot.model.hedge import Layer, OptionType
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Quality, RuleFinding, Tier

POLICY = classic()
SAID = RuleFinding(rule="R5", fired=True, because="rich")
NOTHING = WingDirective(
    add=False,
    beyond_break_even=None,
    out_of_the_money=None,
    near_cap=None,
    as_verticals=False,
    finding=replace(SAID, fired=False),
)
FAR = replace(NOTHING, add=True, beyond_break_even=(0.15, 0.20), near_cap=30.0, finding=SAID)
NEARER = replace(FAR, beyond_break_even=None, out_of_the_money=(0.05, 0.07))
SLOTS = {layer: Slot(layer, OptionType.PUT) for layer in Layer}
STRIKES = (*range(1_000, 1_500, 100), *range(1_500, 1_900, 50), 1_880, 1_900, 1_950, 2_000)
QUOTES = tuple(quote(option(strike, days), spot=SPOT) for days in (5.0, 30.0, 75.0) for strike in STRIKES)


def group_of(quotes=QUOTES, *, measure="usd", **changes):
    at = frame(calm_columns() | {FEED: flat(SPOT)}, quotes=quotes, **changes)
    return read_group(classic(sizing={"loss_measure": measure}), at, GROUP)


def placed(directive, *, wider=False, quotes=QUOTES, tier=Tier.ELEVATED):
    group = group_of(quotes)
    own = choose(POLICY, group, open_layers(tier), quotes)
    return own, place_wings(POLICY, group, own, directive=directive, wider=wider)


def strike(choice):
    return choice.quote.instrument.strike_usd


def test_the_cores_break_even_is_where_fees_are_lost():
    assert core_break_evens(group_of()) == (SPOT, SPOT)  # no fee is known: a loss begins at once
    lower, _ = core_break_evens(group_of(exposures=(exposure(fee_income_30d_usd=10_000.0),)))
    assert lower == pytest.approx(SPOT * 0.99**2, rel=1e-4)  # 1m x sqrt(S / S0) has lost 1 %
    fees = exposure(fee_income_30d_usd=5_000.0)
    lower, upper = core_break_evens(group_of(measure="hold", exposures=(fees,)))
    for spot in (lower, upper):  # 2 sqrt(x) - 1 - x = -0.01 in units of half the value
        assert (1.0 - math.sqrt(spot / SPOT)) ** 2 == pytest.approx(0.01, rel=1e-2)
    assert all(math.isnan(spot) for spot in core_break_evens(group_of(exposures=())))


@pytest.mark.parametrize(
    ("directive", "kind", "band"),
    [
        (FAR, OptionType.PUT, (1_600.0, 1_700.0)),
        (FAR, OptionType.CALL, (2_300.0, 2_400.0)),
        (NEARER, OptionType.PUT, (1_860.0, 1_900.0)),
        (NEARER, OptionType.CALL, (2_100.0, 2_140.0)),
    ],
)
def test_r5_bands_of_strikes(directive, kind, band):
    assert wing_bands(group_of(), directive)[kind] == pytest.approx(band)


def test_r5_names_no_strike_when_no_wing_is_added():
    assert wing_bands(group_of(), NOTHING) == {}
    own, found = placed(NOTHING)
    assert found.choices == own
    assert found.findings == (NOTHING.finding,)


def test_r5_takes_the_named_strikes_that_fit_a_layer_and_else_its_own():
    own, found = placed(FAR)
    for layer, slot in SLOTS.items():
        fits = [item for item in own[slot].candidates if 1_600 <= item.quote.instrument.strike_usd <= 1_700]
        if fits:
            assert found.choices[slot].quote == fits[0].quote  # the most gain per premium of them
            assert found.choices[slot].candidates == tuple(fits)
            assert "outer wing (R5)" in found.choices[slot].because
        else:
            assert found.choices[slot] == own[slot]
        assert bool(fits) is (layer is Layer.MID)
    assert "strikes 1,600 to 1,700: MID 1," in found.findings[0].because
    assert "no venue of this release sells options" in found.findings[0].because


def test_r5_stands_nearer_in_backwardation():
    quotes = tuple(quote(item.instrument, spot=SPOT, iv=2.0) for item in QUOTES)  # IV is rich then
    _, found = placed(NEARER, quotes=quotes)
    named = {layer for layer, slot in SLOTS.items() if 1_860 <= strike(found.choices[slot]) <= 1_900}
    assert Layer.NEAR in named


def test_r5_without_a_listed_strike_leaves_the_layers_own():
    quotes = tuple(item for item in QUOTES if not 1_600 <= item.instrument.strike_usd <= 1_700)
    own, found = placed(FAR, quotes=quotes)
    assert found.choices == own
    assert "none that fits an open layer is listed" in found.findings[0].because


def test_r15_wider_is_one_listed_strike_further_out():
    own, found = placed(NOTHING, wider=True)
    listed = sorted(STRIKES)
    for slot, choice in found.choices.items():
        assert strike(choice) == listed[listed.index(strike(own[slot])) - 1]
        assert choice.quote.instrument.expiry_s == own[slot].quote.instrument.expiry_s
        assert "one listed strike wider (R15)" in choice.because
    assert [(item.rule, item.fired) for item in found.findings] == [("R5", False), ("R15", True)]


def test_r15_wider_wings_stay_out_of_a_stressed_settlement_asset():
    """A venue may list one expiry in two assets: R10 settles elsewhere, and one strike further out too."""
    other = tuple(
        replace(item, instrument=replace(item.instrument, settlement="USDC", id=f"c:{item.instrument.id}"))
        for item in QUOTES
    )
    quotes = (*other, *QUOTES)
    group = group_of(quotes)
    own = choose(POLICY, group, open_layers(Tier.ELEVATED), quotes)
    sound = settle_elsewhere(own, {"USDC": 0.9})
    found = place_wings(POLICY, group, sound, directive=NOTHING, wider=True).choices
    settled = {item.quote.instrument.settlement for choice in found.values() for item in choice.candidates}
    assert settled == {"sUSD"}


def test_r15_where_nothing_is_listed_further_out_the_wing_stays():
    own, _ = placed(NOTHING)
    last = strike(own[SLOTS[Layer.TAIL]])
    quotes = tuple(item for item in QUOTES if item.instrument.strike_usd >= last)
    own, found = placed(NOTHING, wider=True, quotes=quotes)
    assert found.choices[SLOTS[Layer.TAIL]] == own[SLOTS[Layer.TAIL]]
    dead = tuple(
        replace(item, indicative=True) if item.instrument.strike_usd < last else item for item in QUOTES
    )
    _, found = placed(NOTHING, wider=True, quotes=dead)  # listed and not to be traded on
    assert strike(found.choices[SLOTS[Layer.TAIL]]) == last


IV7, IV90 = (SeriesKey(metric, "ETH", "lyra") for metric in (Metric.IV_7D, Metric.IV_90D))


def term_frame(before, now):
    """S13 a day ago and now, over a 90-day implied vol of 0.65."""
    front = flat(0.65 * (1.0 + before))
    values = front.values.copy()
    values[-12:] = 0.65 * (1.0 + now)
    return frame(
        calm_columns() | {IV7: Column(times_s=front.times_s, values=values), IV90: flat(0.65)}, quotes=()
    )


@pytest.mark.parametrize(
    ("breadth", "before", "now", "remembered", "wider"),
    [
        (1.0, 0.0, 0.1, False, True),
        (1.0, 0.1, 0.1, False, False),  # S13 does not rise
        (1.0, 0.1, 0.1, True, True),  # one calm alone tightens nothing
        (0.0, 0.0, 0.1, True, True),
        (0.0, 0.0, 0.1, False, False),
        (0.0, 0.1, 0.1, True, False),  # both calm
        (0.0, 0.1, 0.05, True, False),
        (None, 0.0, 0.1, True, True),  # not known: as it was
        (None, 0.1, 0.0, True, True),
        (math.nan, 0.1, 0.0, True, True),
    ],
)
def test_r15_wings_widen_and_tighten(breadth, before, now, remembered, wider):
    at, state = term_frame(before, now), GroupState(tier=Tier.ELEVATED, wider_wings=remembered)
    readings = [reading("S13", 0.4, value=now, source="lyra")]
    if breadth is not None:
        quality = Quality.LIVE if math.isfinite(breadth) else Quality.MISSING
        readings.append(reading("S16", breadth, quality=quality))
    after, finding = wings_wider(POLICY, context(POLICY, readings, state=state, at=at))
    assert after.wider_wings is wider
    assert finding.fired is wider


def test_r15_an_unknown_term_structure_moves_nothing():
    state = GroupState(tier=Tier.ELEVATED, wider_wings=True)
    for readings in ([reading("S16", 0.0)], [reading("S16", 0.0), reading("S13", 0.0, source="nobody")]):
        after, finding = wings_wider(POLICY, context(POLICY, readings, state=state))
        assert after.wider_wings
        assert "whether S13 rises is not known" in finding.because
