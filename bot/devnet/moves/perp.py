"""Perp v2: the index, and taker trades that leave the mark at a premium to it.

The market's average price is one of whole ticks of 0.01 %, a third of a calm day's funding. So the mark is
traded to the middle of its tick, and the index, which is a feed of its own, takes up what the tick leaves: it
stands within 0.005 % of the spot price and the funding rate is exact.
"""

from math import isqrt, log

from bot.devnet.deployment import Deployment
from bot.devnet.moves.pools import NEVER
from bot.devnet.moves.wire import Tx, calldata

# The contract refuses a trade that ends more than 1000 ticks from where the price stood 15 s before.
_SQRT_STEP = (10**6, 10**6 + round(10**6 * (1.0001**450 - 1.0)))  # 900 ticks of price = 450 of its root
_MAX_AMOUNT = 10**26
_TICK = 1.0001
_OPEN = "openPosition((address,bool,bool,uint256,uint256,uint256,uint160,bytes32))"


def mark_and_index(*, spot: float, premium: float) -> tuple[float, float]:
    """Return (mark, index): the tick's average over the index is exactly 1 + ``premium``."""
    tick = round(log(spot * (1.0 + premium)) / log(_TICK))
    return float(_TICK ** (tick + 0.5)), float(_TICK**tick) / (1.0 + premium)


def index_update(deployment: Deployment, *, price: float, updated_at_s: int) -> list[Tx]:
    """Publish the index price and take it into the market's 15-minute average."""
    answer = round(price * 10**8)
    return [
        Tx(
            purpose=f"Perp index to {price}",
            sender=deployment.deployer,
            to=deployment.perp_feed,
            data=calldata("setAnswer(int256,uint256)", answer, updated_at_s),
            gas=200_000,
        ),
        Tx(
            purpose="Perp index dispatch",
            sender=deployment.deployer,
            to=deployment.perp_price_dispatcher,
            data=calldata("dispatchPrice(uint256)", 0),
            gas=500_000,
        ),
    ]


def mark_trades(deployment: Deployment, *, sqrt_now: int, price: float) -> list[Tx]:
    """Return the taker trades, to be 15 s or more apart, after which the mark is ``price`` vUSD per vETH."""
    target = isqrt(round(price * 10**10) * 2**192 // 10**10)
    trades = []
    while sqrt_now != target:
        limit = _towards(sqrt_now, target)
        trades.append(_trade(deployment, sells=limit < sqrt_now, limit=limit, price=price))
        sqrt_now = limit
    return trades


def _towards(sqrt_now: int, target: int) -> int:
    low, high = _SQRT_STEP
    return min(max(target, sqrt_now * low // high), sqrt_now * high // low)


def _trade(deployment: Deployment, *, sells: bool, limit: int, price: float) -> Tx:
    call = (deployment.perp_base_token, sells, True, _MAX_AMOUNT, 0, NEVER, limit, b"\0" * 32)
    return Tx(
        purpose=f"Perp mark to {price}",
        sender=deployment.trader,
        to=deployment.perp_clearing_house,
        data=calldata(_OPEN, call),
        gas=3_000_000,
    )
