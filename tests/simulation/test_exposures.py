import math
from dataclasses import replace

import pytest

from bot.errors import ConfigError
from bot.model.exposure import ExposureKind
from bot.model.units import DAY_S
from bot.quant import lp
from bot.simulation.exposures import PositionPath, at_price, parse_exposure


def test_v2_is_worth_its_value_at_entry_and_follows_the_root_of_price():
    exposure = parse_exposure("v2:ETH/USDC:1000000").open_at(2_000.0)
    assert exposure.kind is ExposureKind.UNISWAP_V2
    assert (exposure.pool, exposure.group) == ("v2:ETH/USDC", "ETH/USDC")
    assert float(lp.value(exposure.shape, 2_000.0)) == pytest.approx(1e6)
    assert at_price(exposure, 500.0).value_usd == pytest.approx(5e5)  # sqrt(1/4) of the value
    assert exposure.held_units == pytest.approx(250.0)
    assert exposure.held_stable == pytest.approx(5e5)


def test_v3_range_is_relative_to_entry():
    spec = parse_exposure("v3:ETH/USDC:250000:-20%:+25%")
    exposure = spec.open_at(2_000.0)
    assert (exposure.shape.lower_usd, exposure.shape.upper_usd) == (1_600.0, 2_500.0)
    assert at_price(exposure, 2_000.0).value_usd == pytest.approx(250_000)
    assert at_price(exposure, 3_000.0).value_usd == at_price(exposure, 2_500.0).value_usd


def test_half_a_width_before_the_value_is_the_range_on_both_sides():
    short, long = (
        parse_exposure(text) for text in ("v3:ETH/USDC:0.2:1000000", "v3:ETH/USDC:1000000:-20%:+20%")
    )
    assert short == long


def test_a_position_with_a_range_is_opened_anew_around_the_price_with_what_it_is_worth():
    path = PositionPath(spec=parse_exposure("v3:ETH/USDC:0.2:1000000"), recentre_s=7 * DAY_S)
    first = path.at(0.0, 2_000.0)
    below = path.at(6 * DAY_S, 1_000.0)
    assert below.shape == first.shape
    anew = path.at(7 * DAY_S, 1_000.0)
    assert (anew.shape.lower_usd, anew.shape.upper_usd) == (800.0, 1_200.0)
    assert anew.value_usd == pytest.approx(below.value_usd)  # nothing is gained by opening it anew
    assert path.at(8 * DAY_S, 1_000.0).shape == anew.shape


def test_opening_anew_costs_a_share_of_what_is_swapped():
    """Below its range the position is all ETH; half of its value, but for the range's slant, is sold."""
    spec = parse_exposure("v3:ETH/USDC:0.2:1000000")
    path = PositionPath(spec=spec, recentre_s=DAY_S, recentre_cost=0.01)
    path.at(0.0, 2_000.0)
    held = path.at(DAY_S - 1.0, 1_000.0)
    anew = path.at(DAY_S, 1_000.0)
    units = float(lp.amounts(held.shape, 1_000.0)[0])
    wanted = replace(spec, value_usd=held.value_usd).open_at(1_000.0).held_units
    assert anew.value_usd == pytest.approx(held.value_usd - 0.01 * (units - wanted) * 1_000.0)
    assert 0.4 < (units - wanted) / units < 0.6


def test_a_position_without_a_range_is_opened_once():
    path = PositionPath(spec=parse_exposure("v2:ETH/USDC:1000000"), recentre_s=DAY_S, recentre_cost=0.01)
    assert path.at(0.0, 2_000.0).shape == path.at(400 * DAY_S, 500.0).shape


@pytest.mark.parametrize("stable", ["USDC", "DAI", "crvUSD", "FRAX", "UST"])
def test_any_stable_of_one_dollar_may_be_the_other_side(stable):
    assert parse_exposure(f"v2:ETH/{stable}:1").stable == stable


def test_v2_has_no_range():
    spec = parse_exposure("v2:BTC/USDT:10")
    assert (spec.below, spec.above) == (-1.0, math.inf)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "must look like"),
        ("v4:ETH/USDC:1", "must look like"),
        ("v2:ETH/USDC", "must look like"),
        ("v2:ETH/USDC:1:-5%:+5%", "must look like"),
        ("v3:ETH/USDC:1", "must look like"),
        ("v3:ETH/USDC:1.0:1000000", "half the width"),
        ("v3:ETH/USDC:-0.2:1000000", "half the width"),
        ("v3:ETH/USDC:20%:1000000", "half the width"),
        ("v3:ETH/USDC::1000000", "half the width"),
        ("v2:DOGE/USDC:1", "DOGE/USDC"),
        ("v2:ETH:1", "pair"),
        ("v2:ETH/BTC:1", "over a dollar stable"),  # a bitcoin is no dollar
        ("v3:BTC/WETH:0.2:1", "over a dollar stable"),
        ("v2:ETH/USDC:many", "many"),
        ("v2:ETH/USDC:nan", "nan"),
        ("v2:ETH/USDC:-5", "-5"),
        ("v2:ETH/USDC:0", "between 0"),
        ("v3:ETH/USDC:1:-20:+20%", "percentage"),
        ("v3:ETH/USDC:1:+5%:+20%", "lower bound"),
        ("v3:ETH/USDC:1:-100%:+20%", "lower bound"),
        ("v3:ETH/USDC:1:-20%:-5%", "upper bound"),
    ],
)
def test_a_wrong_exposure_is_one_line_that_names_it(text, named):
    with pytest.raises(ConfigError, match="--exposure") as error:
        parse_exposure(text)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
