"""Uniswap pools as they are configured, and what their raw numbers mean in whole units.

The *base* is the token that is priced (the underlying), the *quote* the stable it is priced in; one quote
token counts as 1 USD here, its own deviation from par is a signal of its own. Uniswap's token0 is the lower
address, so which of the two is the base follows from the addresses and is checked against the pool.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Metric
from bot.ports import Call
from bot.quant.ticks import amounts_in
from bot.quant.ticks import sqrt_ratio_x96 as sqrt_ratio_x96
from bot.watchers.amounts import check_decimals
from bot.watchers.rows import BadRead, need

ERC20 = Abi.load("ERC20")
V2_PAIR = Abi.load("UniswapV2Pair")
V3_POOL = Abi.load("UniswapV3Pool")

SOURCE = "pool"
POOL_METRICS = (
    Metric.POOL_PRICE_USD,
    Metric.POOL_LIQUIDITY,
    Metric.POOL_QUOTE_USD,
    Metric.POOL_QUOTE_NEAR_USD,
    Metric.POOL_DEPTH_USD,
)
NEAR = 0.02  # method.md S2 and S4: within, or by, 2 %
MIN_SQRT_RATIO = 4_295_128_739  # TickMath of v3-core; prices are from here to just below MAX_SQRT_RATIO
MAX_SQRT_RATIO = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A Uniswap v2 pair or v3 pool."""

    label: str  # subject of its observations, "v3:ETH/USDC"
    address: Address
    base: str  # "ETH"
    quote: str  # "USDC"
    base_token: Address
    quote_token: Address
    base_decimals: int
    quote_decimals: int

    def __post_init__(self) -> None:
        if self.base_token.lower() == self.quote_token.lower():
            raise ConfigError(f"pool {self.label}: base and quote are the same token {self.base_token}")

    @property
    def base_is_token0(self) -> bool:
        return int(self.base_token, 16) < int(self.quote_token, 16)

    @property
    def token_calls(self) -> tuple[Call, Call]:
        """The calls whose results :meth:`check_tokens` takes; v2 and v3 have them alike."""
        return V3_POOL.fixed_call("token0", self.address), V3_POOL.fixed_call("token1", self.address)

    def check_tokens(self, token0: tuple[Any, ...] | None, token1: tuple[Any, ...] | None) -> None:
        """Raise BadRead when the contract is no pool of the configured tokens."""
        found = (
            str(need(token0, f"{self.label} token0 at {self.address}")[0]),
            str(need(token1, f"{self.label} token1 at {self.address}")[0]),
        )
        wanted = sorted((self.base_token.lower(), self.quote_token.lower()))
        if [token.lower() for token in found] != wanted:
            raise BadRead(
                f"{self.label} at {self.address} holds {found[0]} and {found[1]}, configured are {wanted}"
            )

    @property
    def decimals_calls(self) -> tuple[Call, Call]:
        """The calls whose results :meth:`check_decimals` takes."""
        return ERC20.fixed_call("decimals", self.base_token), ERC20.fixed_call("decimals", self.quote_token)

    def check_decimals(self, base: tuple[Any, ...] | None, quote: tuple[Any, ...] | None) -> None:
        """Raise BadRead when a token has other decimals than configured: every price would be off."""
        check_decimals(base, self.base_decimals, f"{self.label}: {self.base} at {self.base_token}")
        check_decimals(quote, self.quote_decimals, f"{self.label}: {self.quote} at {self.quote_token}")

    def ordered(self, amount0: int, amount1: int) -> tuple[float, float]:
        """Return raw token0 and token1 amounts as (base, quote) in whole units."""
        base, quote = (amount0, amount1) if self.base_is_token0 else (amount1, amount0)
        return from_raw(base, self.base_decimals), from_raw(quote, self.quote_decimals)

    def price_from_sqrt(self, sqrt_price_x96: int) -> float:
        """Return USD per base from Uniswap v3's price, (token1/token0 raw) = (x / 2^96)^2."""
        square = sqrt_price_x96 * sqrt_price_x96
        up, down = (square, 1 << 192) if self.base_is_token0 else (1 << 192, square)
        shift = 10 ** (self.base_decimals + 36 - self.quote_decimals)
        return float(Decimal(up * shift // down).scaleb(-36))

    def price_from_tick(self, tick: float) -> float:
        """Return USD per base at a tick: 1.0001^tick, turned round when the base is token1."""
        turned = tick if self.base_is_token0 else -tick
        return float(1.0001**turned * 10.0 ** (self.base_decimals - self.quote_decimals))

    def whole_liquidity(self, liquidity: float) -> float:
        """Return Uniswap's raw liquidity in sqrt(USD x base), the unit of LpShape."""
        return float(liquidity / 10.0 ** ((self.base_decimals + self.quote_decimals) / 2))


def from_raw(raw: int, decimals: int) -> float:
    return float(Decimal(raw).scaleb(-decimals))


def check_price_at_tick(sqrt_price_x96: int, tick: int, what: str) -> None:
    """Raise BadRead for a price that does not lie at its tick.

    At the upper end a swap that stopped exactly there leaves the tick below (Pool.swap of v4-core, as in v3);
    TickMath rounds, so a millionth of a millionth is let pass.
    """
    low, high = sqrt_ratio_x96(tick), sqrt_ratio_x96(tick + 1)
    if not low - low // 10**12 - 1 <= sqrt_price_x96 <= high + high // 10**12 + 1:
        raise BadRead(f"{what}: sqrtPriceX96 {sqrt_price_x96} does not lie at tick {tick}")


def amounts_for_liquidity(
    liquidity: int, sqrt_price_x96: int, lower_tick: int, upper_tick: int
) -> tuple[int, int]:
    """Return raw (token0, token1) of a position, rounded down like LiquidityAmounts of v3-periphery."""
    low, high = sqrt_ratio_x96(lower_tick), sqrt_ratio_x96(upper_tick)
    return amounts_in(liquidity, at_x96=sqrt_price_x96, low_x96=low, high_x96=high)
