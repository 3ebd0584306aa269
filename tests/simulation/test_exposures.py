import math

import pytest

from bot.errors import ConfigError
from bot.model.exposure import ExposureKind
from bot.quant import lp
from bot.simulation.exposures import at_price, parse_exposure


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
        ("v2:DOGE/USDC:1", "DOGE/USDC"),
        ("v2:ETH:1", "pair"),
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
