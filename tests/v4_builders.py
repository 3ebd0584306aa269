"""A v4 pool of made-up addresses."""

from typing import Any

from bot.watchers.uniswap_v4 import V4Pool
from bot.watchers.v4_pools import ZERO_ADDRESS

TOKEN, MANAGER, VIEW = ("0x" + digit * 20 for digit in ("22", "33", "44"))


def v4_pool(**changes: Any) -> V4Pool:
    found: dict[str, Any] = {
        "label": "v4:ETH/USDC",
        "manager": MANAGER,
        "state_view": VIEW,
        "base": "ETH",
        "quote": "USDC",
        "base_token": ZERO_ADDRESS,
        "quote_token": TOKEN,
        "base_decimals": 18,
        "quote_decimals": 6,
        "fee": 500,
        "tick_spacing": 10,
    }
    return V4Pool(**(found | changes))
