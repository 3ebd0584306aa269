"""Uniswap v3 pool: price, time-weighted price, liquidity, reserves and depth (S1 to S5)."""

from dataclasses import dataclass
from typing import Any

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.pools import (
    MAX_SQRT_RATIO,
    MIN_SQRT_RATIO,
    NEAR,
    POOL_METRICS,
    SOURCE,
    V3_POOL,
    Pool,
    check_price_at_tick,
)
from bot.watchers.rows import BadRead, Rows, Unknown, need
from bot.watchers.ticks import MAX_TICK, Ladder, read_ladder

TWAP_S = 1_800


@dataclass(frozen=True, slots=True, kw_only=True)
class UniswapV3Watcher:
    """Watches one pool of an underlying against a stable.

    POOL_LIQUIDITY is the liquidity of all positions, in range or not, so that prices do not move it.
    """

    pool: Pool
    tick_lens: Address
    twap_s: int = TWAP_S

    def __post_init__(self) -> None:
        check_twap(self.pool, self.twap_s)

    @property
    def name(self) -> str:
        return f"uniswap_v3 {self.pool.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        twap = SeriesKey(Metric.PRICE_USD, self.pool.base, f"twap:{self.pool.label}")
        return (*(SeriesKey(metric, self.pool.label, SOURCE) for metric in POOL_METRICS), twap)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        address = self.pool.address
        calls = [
            *self.pool.token_calls,
            *self.pool.decimals_calls,
            *(V3_POOL.call(name, address) for name in ("slot0", "liquidity")),
            *(V3_POOL.fixed_call(name, address) for name in ("tickSpacing", "fee")),
            twap_call(self.pool, self.twap_s),
        ]
        results = await chain.read(calls, block=block)
        token0, token1, base, quote, slot0, liquidity, spacing, fee, observed = results
        try:
            self.pool.check_tokens(token0, token1)
            self.pool.check_decimals(base, quote)
            sqrt_price, tick = sqrt_price_and_tick(self.pool, slot0)
            (in_range,) = need(liquidity, f"{self.pool.label} liquidity")
            (tick_spacing,) = need(spacing, f"{self.pool.label} tickSpacing")
            (fee_millionths,) = need(fee, f"{self.pool.label} fee")
            if fee_millionths >= 1_000_000:
                raise BadRead(f"{self.pool.label} says that its fee is {fee_millionths} millionths")
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        price = self.pool.price_from_sqrt(sqrt_price)
        twap = twap_price(self.pool, observed, self.twap_s)
        try:
            ladder = await read_ladder(
                chain, self.pool, self.tick_lens, block=block, tick_spacing=tick_spacing
            )
            ladder.check(tick=tick, in_range=in_range)
            values = _values(ladder, price=price, fee=fee_millionths / 1e6)
        except BadRead as error:
            *pool_keys, twap_key = self.series
            return [
                rows.row(pool_keys[0], price),
                *rows.unknown(pool_keys[1:], str(error)),
                rows.row(twap_key, twap),
            ]
        return [rows.row(key, value) for key, value in zip(self.series, (*values, twap), strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class UniswapV3StableWatcher:
    """Watches the price of one stable in another: ``pool.base`` is the one that is priced.

    PRICE_USD is a time-weighted average, because a spot price can be moved for one block (REL-R13).
    """

    pool: Pool
    twap_s: int = TWAP_S

    def __post_init__(self) -> None:
        check_twap(self.pool, self.twap_s)

    @property
    def name(self) -> str:
        return f"uniswap_v3_stable {self.pool.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (
            SeriesKey(Metric.POOL_PRICE_USD, self.pool.label, SOURCE),
            SeriesKey(Metric.PRICE_USD, self.pool.base, f"twap:{self.pool.label}"),
        )

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        calls = [
            *self.pool.token_calls,
            *self.pool.decimals_calls,
            V3_POOL.call("slot0", self.pool.address),
            twap_call(self.pool, self.twap_s),
        ]
        token0, token1, base, quote, slot0, observed = await chain.read(calls, block=block)
        try:
            self.pool.check_tokens(token0, token1)
            self.pool.check_decimals(base, quote)
            sqrt_price, _ = sqrt_price_and_tick(self.pool, slot0)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        values = (self.pool.price_from_sqrt(sqrt_price), twap_price(self.pool, observed, self.twap_s))
        return [rows.row(key, value) for key, value in zip(self.series, values, strict=True)]


def _values(ladder: Ladder, *, price: float, fee: float) -> tuple[float, ...]:
    return (
        price,
        ladder.total_liquidity,
        ladder.quote_below(price, floor=0.0),
        ladder.quote_below(price, floor=price * (1 - NEAR)),
        ladder.depth_usd(price, fee=fee),
    )


def check_twap(pool: Pool, twap_s: int) -> None:
    if not 0 < twap_s < 1 << 32:
        raise ConfigError(f"pool {pool.label}: twap_s must be a number of seconds > 0, was {twap_s}")


def sqrt_price_and_tick(pool: Pool, slot0: tuple[Any, ...] | None) -> tuple[int, int]:
    """Return (sqrtPriceX96, tick). Raises BadRead for a pool that was never initialised."""
    sqrt_price, tick, *_ = need(slot0, f"{pool.label} slot0 at {pool.address}")
    if sqrt_price == 0:
        raise BadRead(f"{pool.label} at {pool.address} is not initialised")
    if not MIN_SQRT_RATIO <= sqrt_price < MAX_SQRT_RATIO or not -MAX_TICK <= tick <= MAX_TICK:
        raise BadRead(
            f"{pool.label} at {pool.address} is at tick {tick}, sqrt price {sqrt_price}: no such price"
        )
    check_price_at_tick(sqrt_price, tick, f"{pool.label} at {pool.address}")
    return sqrt_price, tick


def twap_call(pool: Pool, twap_s: int) -> Any:
    return V3_POOL.call("observe", pool.address, [twap_s, 0])


def twap_price(pool: Pool, observed: tuple[Any, ...] | None, twap_s: int) -> float | Unknown:
    """Return the geometric mean price of the last ``twap_s``; the mean tick is rounded down as in v3.

    ``observe`` reverts with "OLD" while the pool does not remember that far back.
    """
    if observed is None:
        return Unknown(f"{pool.label} does not remember {twap_s} s of prices yet (observe)")
    if len(observed[0]) != 2:
        return Unknown(f"{pool.label} observe answered {len(observed[0])} ticks, not 2")
    before, now = observed[0]
    tick = (now - before) // twap_s
    if not -MAX_TICK <= tick <= MAX_TICK:
        return Unknown(
            f"{pool.label} observe answered a mean tick of {tick}; there is none beyond {MAX_TICK}"
        )
    return pool.price_from_tick(tick)
