"""R15: payoff shapes and break-evens, against figures worked out by hand."""

import math

import pytest
from engine.factory import GROUP, classic, exposure, frame, lp_shape, option

from bot.engine.group import read_group
from bot.engine.wings import Wing, whole_break_evens, wing_break_even, wings_finding
from bot.model.hedge import Layer, OptionType

PUT = Wing(layer=Layer.MID, instrument=option(1800, 30), contracts=10.0, cost_usd=500.0)
CALL = Wing(layer=Layer.TAIL, instrument=option(2600, 75, kind=OptionType.CALL), contracts=2.0, cost_usd=80.0)


def group_of(measure="usd", **changes):
    return read_group(classic(sizing={"loss_measure": measure}), frame(quotes=(), **changes), GROUP)


def said(group, wings):
    return wings_finding(group, wings, whole_break_evens(group, wings))


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


def test_no_exposure_has_no_break_even():
    from engine.factory import held

    group = read_group(classic(), frame(exposures=(), held=(held(option(1800, 30), Layer.MID, 1.0),)), GROUP)
    assert whole_break_evens(group, (PUT,)) == ()
