"""A pool's price and depth, whichever of its two tokens the oToken is."""

import math
from dataclasses import replace
from math import isqrt

import pytest

from bot.venues.opyn_pools import OtokenPool, PoolTrade, best_buy, best_sale, deepest

Q96 = 2**96
LIQUIDITY = 10**11


def pool(price: float, *, is_first: bool, reserve: float = 1_000.0, liquidity: int = LIQUIDITY) -> OtokenPool:
    """A pool of oTokens (8 decimals) and USDC (6) at ``price`` USDC for one."""
    token_raw, otoken_raw = round(price * 10**6), 10**8
    second, first = (token_raw, otoken_raw) if is_first else (otoken_raw, token_raw)
    return OtokenPool(
        address="0x" + "11" * 20,
        fee=500,
        sqrt_price_x96=isqrt((second << 192) // first),
        liquidity=liquidity,
        reserve_raw=round(reserve * 10**8),
        is_otoken_first=is_first,
    )


@pytest.mark.parametrize("price", [0.01, 1.0, 157.25, 2_500.0])
def test_both_orders_of_the_tokens_say_the_same(price: float):
    first, second = pool(price, is_first=True), pool(price, is_first=False)
    for found in (first, second):
        assert found.price(token_decimals=6) == pytest.approx(price, rel=1e-9)
    assert first.most(impact=0.1) == pytest.approx(second.most(impact=0.1), rel=1e-6)


@pytest.mark.parametrize("is_first", [True, False])
def test_the_average_price_of_the_most_is_the_impact_over_the_pools_own(is_first: bool):
    """Liquidity L sells x = L (1/sqrt(p) - 1/r) for L (r - sqrt(p)); r is the root of the price after it."""
    found = pool(150.0, is_first=is_first)
    root = math.sqrt(150.0 * 10**6 / 10**8)  # of raw USDC for one raw oToken
    most_raw = found.most(impact=0.10) * 10**8
    after = 1.0 / (1.0 / root - most_raw / LIQUIDITY)
    paid_raw = LIQUIDITY * (after - root)
    assert paid_raw / most_raw == pytest.approx(1.10 * root**2, rel=1e-6)


def test_never_more_than_lies_in_it():
    assert pool(150.0, is_first=True, reserve=0.5).most(impact=0.5) == pytest.approx(0.495)
    assert pool(150.0, is_first=True, liquidity=0).most(impact=0.5) == 0.0
    empty = replace(pool(150.0, is_first=True), sqrt_price_x96=0)
    assert empty.most(impact=0.5) == 0.0
    assert math.isnan(empty.price(token_decimals=6))


def test_the_cheapest_sells_the_dearest_buys_and_the_deepest_is_the_market():
    shallow, deep = pool(150.0, is_first=True, liquidity=10), pool(151.0, is_first=True)
    cheap, dear = (PoolTrade(pool=shallow, amount_raw=100, token_raw=raw) for raw in (90, 95))
    assert best_buy([dear, None, cheap]) is cheap
    assert best_sale([dear, None, cheap]) is dear
    assert best_buy([None]) is best_sale([]) is deepest([]) is None
    assert best_sale([PoolTrade(pool=deep, amount_raw=100, token_raw=0)]) is None  # it brings nothing
    assert deepest([shallow, deep]) is deep
