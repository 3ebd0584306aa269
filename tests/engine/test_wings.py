"""R15: payoff shapes and break-evens, against figures worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import (
    FEED,
    GROUP,
    SPOT,
    calm_columns,
    classic,
    exposure,
    flat,
    frame,
    lp_shape,
    option,
    quote,
)

from bot.engine.group import read_group
from bot.engine.wings import Wing, fees_to_width, whole_break_evens, wing_break_even, wings_finding
from bot.model.hedge import Layer, OptionType

POLICY = classic()
PUT = Wing(layer=Layer.MID, instrument=option(1800, 30), contracts=10.0, cost_usd=500.0)
CALL = Wing(layer=Layer.TAIL, instrument=option(2600, 75, kind=OptionType.CALL), contracts=2.0, cost_usd=80.0)


def group_of(measure="usd", **changes):
    return read_group(classic(sizing={"loss_measure": measure}), frame(quotes=(), **changes), GROUP)


def said(group, wings):
    return wings_finding(POLICY, group, wings, whole_break_evens(group, wings))


def test_r15_break_even_of_one_wing():
    assert wing_break_even(PUT) == 1750.0
    assert wing_break_even(CALL) == 2640.0
    assert math.isnan(
        wing_break_even(Wing(layer=Layer.TAIL, instrument=option(10, 75), contracts=1.0, cost_usd=20.0))
    )


@pytest.mark.parametrize(
    ("wings", "measure", "words"),
    [
        ((), "usd", "short put in USD"),
        ((), "hold", "short strangle"),
        ((PUT,), "usd", "bull put spread"),
        ((PUT, CALL), "hold", "iron condor"),
    ],
)
def test_r15_shape_and_break_evens(wings, measure, words):
    finding = said(group_of(measure), wings)
    assert words in finding.because
    assert finding.fired is bool(wings)
    assert ("break-even 1,750" in finding.because) is (PUT in wings)


def test_r15_whole_break_even_repays_the_premium():
    group = group_of()
    (spot,) = whole_break_evens(group, (PUT,))
    # V(S) = V0 sqrt(S / S0): the spot at which the LP has earned the 500 USD back.
    assert spot == pytest.approx(group.spot_usd * (1.0 + 500.0 / group.value_usd) ** 2, rel=1e-6)


def test_r15_strikes_inside_the_range_are_named():
    inside = exposure(shape=lp_shape(20_000.0, 1500.0, 2500.0))
    assert "inside the range: MID 1,800" in said(group_of(exposures=(inside,)), (PUT,)).because
    below = exposure(shape=lp_shape(20_000.0, 1900.0, 2500.0))
    assert "inside" not in said(group_of(exposures=(below,)), (PUT,)).because


V3 = exposure(shape=lp_shape(20_000.0, 1_800.0, 2_400.0), spot_usd=SPOT)
AT_1800 = 20_000.0 * (1.0 / math.sqrt(1_800.0) - 1.0 / math.sqrt(2_400.0))  # ETH held under the range


def flat_group(measure="usd", *, quotes=(), **changes):
    at = frame(calm_columns() | {FEED: flat(SPOT)}, quotes=quotes, **changes)
    return read_group(classic(sizing={"loss_measure": measure}), at, GROUP)


def test_r15_width_is_what_lies_outside_the_range():
    group = flat_group(exposures=(V3,))
    strikes = np.array([1_500.0, 1_799.0, 1_800.0, 1_900.0])
    found = fees_to_width(group, strikes, option_type=OptionType.PUT, fees_usd=3_000.0)
    assert found[0] == pytest.approx(3_000.0 / (300.0 * AT_1800))
    assert found[1] == pytest.approx(3_000.0 / AT_1800)
    assert np.isnan(found[2:]).all()  # not outside


def test_r15_width_without_a_lower_end_is_from_the_spot():
    found = fees_to_width(
        flat_group(), np.array([1_600.0, 2_000.0]), option_type=OptionType.PUT, fees_usd=9_000.0
    )
    assert found[0] == pytest.approx(9_000.0 / (400.0 * 250.0))  # half of 1m at 2,000
    assert math.isnan(found[1])


def test_r15_width_of_a_call_is_over_the_range():
    group = flat_group("hold", exposures=(V3,))
    units = 20_000.0 * (1.0 / math.sqrt(SPOT) - 1.0 / math.sqrt(2_400.0))
    (found,) = fees_to_width(group, np.array([2_600.0]), option_type=OptionType.CALL, fees_usd=500.0)
    assert found == pytest.approx(500.0 / (200.0 * units))


@pytest.mark.parametrize(
    ("fees_usd", "words"),
    [
        (0.2 * 300.0 * AT_1800, "MID 1,500 20%"),
        (0.15 * 300.0 * AT_1800 * 1.000001, "MID 1,500 15%"),
        (0.1 * 300.0 * AT_1800, "MID 1,500 10%, outside 15% to 25%: 1,640 would meet it with 19%"),
        (0.5 * 300.0 * AT_1800, "MID 1,500 50%, outside 15% to 25%: 1,000 would meet it with 19%"),
        (90.0 * 300.0 * AT_1800, "no listed width meets it"),
        (math.nan, "fees to width unknown"),
        (0.0, "fees to width unknown"),
    ],
)
def test_r15_fees_to_width_and_the_listed_width_that_meets_it(fees_usd, words):
    wing = Wing(layer=Layer.MID, instrument=option(1_500, 30), contracts=10.0, cost_usd=500.0)
    strikes = tuple(quote(option(strike, 30)) for strike in (1_000, 1_500, 1_640, 1_700, 1_900))
    group = flat_group(exposures=(replace(V3, fee_income_30d_usd=fees_usd),), quotes=strikes)
    assert words in said(group, (wing,)).because


def test_no_exposure_has_no_break_even():
    from engine.factory import held

    group = read_group(classic(), frame(exposures=(), held=(held(option(1800, 30), Layer.MID, 1.0),)), GROUP)
    assert whole_break_evens(group, (PUT,)) == ()
