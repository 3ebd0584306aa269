"""What a v4 pool is: its id, what cannot be one, and its words in storage."""

from typing import Any

import pytest
from v4_builders import v4_pool

from bot.errors import ConfigError, TransientError
from bot.watchers.v4_pools import DYNAMIC_FEE, POOL_MANAGER, ZERO_ADDRESS, tick_liquidity, words


def test_pool_id_is_the_hash_of_the_key() -> None:
    """ETH/USDC 0.05 % of mainnet, as Uniswap's interface lists it."""
    pool = v4_pool(quote_token="0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48")
    assert pool.pool_id.hex() == "21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fee": 1_000_001}, "fee must be"),
        ({"fee": -1}, "fee must be"),
        ({"tick_spacing": 0}, "tick_spacing must be"),
        ({"fee": DYNAMIC_FEE}, "needs hooks"),
        ({"base_decimals": 6}, "coin has 18 decimals"),
        ({"quote_token": ZERO_ADDRESS, "quote_decimals": 18}, "same token"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        v4_pool(**changes)


def test_words_and_ticks_are_unpacked() -> None:
    assert tick_liquidity((((-5) % 2**128) << 128 | 7).to_bytes(32, "big")) == (-5, 7)
    with pytest.raises(TransientError, match="1 words, 2 were asked for"):
        words(((bytes(32),),), 2, "extsload")
    assert POOL_MANAGER.function("extsload(bytes32)").selector.hex() == "1e2eaeaf"
