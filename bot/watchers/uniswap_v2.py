"""Uniswap v2 pair: price, liquidity, reserves and depth (S1 to S4).

x base and y quote tokens lie in the pair; the spot price is y / x and a swap keeps x y constant on what is
left after the fee (Uniswap v2 whitepaper, 2.1).
"""

import math
from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.market import Block, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.amounts import plausible_raw
from bot.watchers.pools import NEAR, POOL_METRICS, SOURCE, V2_PAIR, Pool
from bot.watchers.rows import BadRead, Rows, need


@dataclass(frozen=True, slots=True, kw_only=True)
class UniswapV2Watcher:
    """Watches one pair, of Uniswap v2 or a fork with the same interface (Sushi, PancakeSwap).

    Watchers of one block are read together: all configured pairs are one bulk read of the chain's reader.

    POOL_LIQUIDITY is the supply of LP tokens, which neither prices nor fees move. It is counted in
    sqrt(USD x base) at the first deposit's rate, the unit of LpShape and of v3 pools.
    """

    pool: Pool
    fee: float = 0.003  # fraction of the input; 0.003 in Uniswap and Sushi v2, 0.0025 in PancakeSwap
    protocol: str = "uniswap_v2"

    def __post_init__(self) -> None:
        if not 0 <= self.fee < 1:
            raise ConfigError(f"pool {self.pool.label}: fee must be a fraction from 0 to 1, was {self.fee}")

    @property
    def name(self) -> str:
        return f"{self.protocol} {self.pool.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(metric, self.pool.label, SOURCE) for metric in POOL_METRICS)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        address = self.pool.address
        calls = [
            *self.pool.token_calls,
            *self.pool.decimals_calls,
            V2_PAIR.call("getReserves", address),
            V2_PAIR.call("totalSupply", address),
        ]
        token0, token1, base, quote, reserves, supply = await chain.read(calls, block=block)
        try:
            self.pool.check_tokens(token0, token1)
            self.pool.check_decimals(base, quote)
            reserve0, reserve1, _ = need(reserves, f"{self.pool.label} getReserves")
            what = f"{self.pool.label} totalSupply"
            supply_raw = plausible_raw(need(supply, what)[0], what)
            values = self._values(
                *self.pool.ordered(reserve0, reserve1), self.pool.whole_liquidity(supply_raw)
            )
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(key, value) for key, value in zip(self.series, values, strict=True)]

    def _values(self, base: float, quote: float, supply: float) -> tuple[float, ...]:
        if base <= 0 or quote <= 0:
            raise BadRead(f"{self.pool.label} is empty: reserves {base} and {quote}")
        if supply <= 0:
            raise BadRead(f"{self.pool.label} holds {base} and {quote} and says that it has no LP tokens")
        near = quote * (1 - math.sqrt(1 - NEAR))
        return quote / base, supply, quote, near, depth_usd(quote, fee=self.fee)


def depth_usd(quote: float, *, fee: float) -> float:
    """Return the USD, fee included, that move the price by 2 % in the cheaper direction.

    With a = input / reserve and g = 1 - fee, the price moves by m = (1 + a)(1 + g a); buying to +2 % takes
    m = 1.02, selling to -2 % m = 1 / 0.98, so buying is always the cheaper one.
    """
    left = 1 - fee
    root = math.sqrt((1 + left) ** 2 + 4 * left * NEAR)
    return quote * (root - (1 + left)) / (2 * left)
