"""Panoptic's tokenId, ticks and amounts (venues.md 3.3): golden vectors, laws, edges."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.venues.panoptic_token_id import (
    MAX_TICK,
    Leg,
    TokenId,
    amounts_of,
    liquidity_of,
    notional_of,
    pool_id_v1,
    pool_id_v2,
    price_of_tick,
    split,
    split_signed,
    sqrt_ratio_x96,
    strike_on_grid,
    tick_of_price,
)

LEGS = st.builds(
    Leg,
    strike=st.integers(-887_271, 887_271),
    width=st.integers(0, 4095),
    is_long=st.booleans(),
    token_type=st.integers(0, 1),
    asset=st.integers(0, 1),
    ratio=st.integers(1, 127),
    risk_partner=st.integers(0, 3),
)
TOKEN_IDS = st.builds(
    TokenId, pool_id=st.integers(0, 2**64 - 1), legs=st.lists(LEGS, min_size=1, max_size=4).map(tuple)
)


def test_the_first_vector_of_v1() -> None:
    """A long put, summed here field by field from the published layout; -196920 is 2^24 - 196920."""
    put = TokenId(
        pool_id=0x3C23912ACA3229, legs=(Leg(strike=-196_920, width=12, is_long=True, token_type=1),)
    )
    leg = (1 << 1) + (1 << 8) + (1 << 9) + ((2**24 - 196_920) << 12) + (12 << 36)
    assert put.value == 0x3C23912ACA3229 + (leg << 64)
    assert hex(put.value) == "0xcfcfec8302003c23912aca3229"
    assert TokenId.of(put.value) == put
    assert put.tick_spacing == 60
    assert put.legs[0].ticks(60) == (-197_280, -196_560)


def test_pool_ids_of_the_published_example() -> None:
    """The comment on SFPM._getPoolId: pool 0x8ad5…, vegoid 42, tick spacing 60."""
    pool = "0x8ad599c3A0ff1De082011EFDDc58f1908eb6e6D8"
    assert pool_id_v2(pool, vegoid=42, tick_spacing=60) == 0x003C2A8AD599C3A0
    assert pool_id_v1(pool, tick_spacing=60) == 0x003C8AD599C3A0FF


@given(TOKEN_IDS)
@settings(max_examples=200)
def test_a_number_and_its_meaning_are_one(token_id: TokenId) -> None:
    assert TokenId.of(token_id.value) == token_id
    assert 0 <= token_id.value < 2**256


@given(TOKEN_IDS, LEGS)
@settings(max_examples=100)
def test_other_legs_are_another_number(token_id: TokenId, leg: Leg) -> None:
    other = TokenId(pool_id=token_id.pool_id, legs=(leg, *token_id.legs[1:]))
    assert (other == token_id) == (other.value == token_id.value)


@given(st.integers(-500_000, 500_000), st.integers(1, 4095), st.sampled_from([1, 10, 60, 200]))
def test_a_strike_on_the_grid_has_a_chunk_on_the_grid(tick: int, width: int, spacing: int) -> None:
    strike = strike_on_grid(tick, width=width, tick_spacing=spacing)
    assert abs(strike - tick) <= spacing
    lower, upper = strike - width * spacing // 2, strike + width * spacing - width * spacing // 2
    assert (lower % spacing, upper % spacing) == (0, 0)
    assert upper - lower == width * spacing


@given(st.floats(0.001, 1e6))
def test_price_and_tick_are_inverse(price: float) -> None:
    tick = tick_of_price(price, decimals0=18, decimals1=6)
    assert price_of_tick(tick, decimals0=18, decimals1=6) == pytest.approx(price, rel=1e-9)


def test_a_put_at_2808_on_weth_and_usdc() -> None:
    """ln(2808 x 10^(6-18)) / ln 1.0001 = -196,920 to the nearest 60 (the vector's strike)."""
    tick = tick_of_price(2808.0, decimals0=18, decimals1=6)
    assert math.floor(tick) == math.floor(math.log(2808e-12) / math.log(1.0001))
    assert strike_on_grid(tick, width=12, tick_spacing=60) == -196_920


@given(st.integers(10**6, 10**24), st.integers(-300_000, 300_000), st.integers(1, 200))
@settings(max_examples=60)
def test_amounts_are_the_notional_at_the_ends_and_never_more(size: int, strike: int, width: int) -> None:
    lower, upper = strike, strike + width * 10
    liquidity = liquidity_of(size, asset=0, lower=lower, upper=upper)
    under = amounts_of(liquidity, sqrt_price_x96=sqrt_ratio_x96(lower) // 2, lower=lower, upper=upper)
    over = amounts_of(liquidity, sqrt_price_x96=sqrt_ratio_x96(upper) * 2, lower=lower, upper=upper)
    assert under == (notional_of(liquidity, token_type=0, lower=lower, upper=upper), 0)
    assert over == (0, notional_of(liquidity, token_type=1, lower=lower, upper=upper))
    assert under[0] <= size
    inside = amounts_of(liquidity, sqrt_price_x96=sqrt_ratio_x96(lower + width * 5), lower=lower, upper=upper)
    assert 0 <= inside[0] <= under[0]
    assert 0 <= inside[1] <= over[1]


@pytest.mark.parametrize(
    ("tick", "root"),
    [
        (0, 2**96),
        (-887_272, 4_295_128_739),
        (887_272, 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342),
        (MAX_TICK // 2, 2**96 * 1.0001 ** (MAX_TICK // 2 / 2)),
    ],
)
def test_sqrt_ratios_are_those_of_tick_math(tick: int, root: float) -> None:
    assert sqrt_ratio_x96(tick) == pytest.approx(root, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ratio": 0}, r"ratio must lie in \[1, 127\], was 0"),
        ({"ratio": 128}, "was 128"),
        ({"width": 4096}, r"width must lie in \[0, 4095\]"),
        ({"strike": MAX_TICK}, "strike must lie in"),
        ({"token_type": 2}, "token_type"),
        ({"asset": -1}, "asset"),
        ({"risk_partner": 4}, "risk_partner"),
    ],
)
def test_what_no_leg_can_be(change: dict[str, int], words: str) -> None:
    fields = {"strike": 0, "width": 2, "is_long": True, "token_type": 1, **change}
    with pytest.raises(InvariantError, match=words):
        Leg(**fields)


@pytest.mark.parametrize("value", [0, 1, -1, 2**256, (1 << 65) << 48])
def test_what_no_token_id_can_be(value: int) -> None:
    """No leg at all, out of range, or a second leg without a first."""
    with pytest.raises(InvariantError):
        TokenId.of(value)


def test_two_numbers_in_one_word() -> None:
    assert split((7 << 128) | 5) == (5, 7)
    assert split_signed((7 << 128) | (2**128 - 5)) == (-5, 7)
    assert split_signed(((-7) << 128) + 5) == (5, -7)
    assert split_signed((-7 << 128) + (2**128 - 5)) == (-5, -7)
