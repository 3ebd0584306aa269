"""Prices, ticks and amounts of Uniswap in whole units, against published numbers and each other."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.model.exposure import LpShape
from bot.quant import lp
from bot.watchers.pools import Pool, amounts_for_liquidity, sqrt_ratio_x96

LOW, HIGH = "0x" + "11" * 20, "0x" + "22" * 20


def _pool(*, base_is_token0: bool, base_decimals: int = 18, quote_decimals: int = 6) -> Pool:
    return Pool(
        label="v3:ETH/USDC",
        address="0x" + "33" * 20,
        base="ETH",
        quote="USDC",
        base_token=LOW if base_is_token0 else HIGH,
        quote_token=HIGH if base_is_token0 else LOW,
        base_decimals=base_decimals,
        quote_decimals=quote_decimals,
    )


def test_one_token_cannot_be_both() -> None:
    with pytest.raises(ConfigError, match="same token"):
        Pool(
            label="v2:A/A",
            address=LOW,
            base="A",
            quote="A",
            base_token=LOW,
            quote_token=LOW.upper().replace("0X", "0x"),
            base_decimals=18,
            quote_decimals=18,
        )


@pytest.mark.parametrize(
    ("tick", "ratio"),
    [  # TickMath.sol and its tests in v3-core: MIN_SQRT_RATIO, MAX_SQRT_RATIO and 1
        (-887_272, 4_295_128_739),
        (0, 2**96),
        (887_272, 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342),
    ],
)
def test_sqrt_ratio_at_the_ends(tick: int, ratio: int) -> None:
    assert abs(sqrt_ratio_x96(tick) - ratio) <= 1 + ratio // 10**18


@pytest.mark.parametrize("base_is_token0", [True, False])
@given(price=st.floats(1e-3, 1e6), decimals=st.tuples(st.integers(2, 18), st.integers(2, 18)))
def test_price_survives_the_way_through_sqrt_price(
    base_is_token0: bool, price: float, decimals: tuple[int, int]
) -> None:
    pool = _pool(base_is_token0=base_is_token0, base_decimals=decimals[0], quote_decimals=decimals[1])
    raw = price * 10.0 ** (decimals[1] - decimals[0])
    sqrt_price = round(math.sqrt(raw if base_is_token0 else 1 / raw) * 2**96)
    assert pool.price_from_sqrt(sqrt_price) == pytest.approx(price, rel=1e-9)


@pytest.mark.parametrize("base_is_token0", [True, False])
@given(tick=st.integers(-400_000, 400_000))
def test_tick_and_sqrt_price_agree(base_is_token0: bool, tick: int) -> None:
    pool = _pool(base_is_token0=base_is_token0, base_decimals=18, quote_decimals=18)
    assert pool.price_from_sqrt(sqrt_ratio_x96(tick)) == pytest.approx(pool.price_from_tick(tick), rel=1e-8)


@pytest.mark.parametrize("base_is_token0", [True, False])
@given(
    low=st.integers(-3_000, 2_900),
    width=st.integers(1, 3_000),
    at=st.integers(-6_000, 6_000),
    liquidity=st.integers(10**20, 10**27),
)
def test_integer_amounts_agree_with_the_value_curve(
    base_is_token0: bool, low: int, width: int, at: int, liquidity: int
) -> None:
    """Below, in and above the range, for both token orders."""
    pool = _pool(base_is_token0=base_is_token0, base_decimals=18, quote_decimals=18)
    sqrt_price = sqrt_ratio_x96(at)
    base, quote = pool.ordered(*amounts_for_liquidity(liquidity, sqrt_price, low, low + width))
    bounds = sorted((pool.price_from_tick(low), pool.price_from_tick(low + width)))
    shape = LpShape(liquidity=pool.whole_liquidity(liquidity), lower_usd=bounds[0], upper_usd=bounds[1])
    units, stable = lp.amounts(shape, pool.price_from_sqrt(sqrt_price))
    scale = shape.liquidity * 1e-8
    assert (base, quote) == pytest.approx((float(units), float(stable)), rel=1e-6, abs=scale)
