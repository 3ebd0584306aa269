"""What every kind of position shares: how it is read, checked, valued and turned into an Exposure.

The value is computed twice, from amounts by Uniswap's own arithmetic and from the value curve that the
engine uses, and both must agree: a mistake in units or token order cannot get past that.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bot.chain.address import checksummed
from bot.errors import BotError, ConfigError, InvariantError, StaleDataError, TransientError
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.lp_position import LpPosition, LpToken, TickRange
from bot.model.market import Block
from bot.ports import Call, ChainReader
from bot.quant import lp
from bot.watchers.pools import ERC20, Pool, amounts_for_liquidity
from bot.watchers.rows import BadRead
from bot.watchers.ticks import MAX_TICK

_AGREE = 1e-6  # relative
_AT_ONCE = 16  # simulations in flight
Results = Sequence[tuple[Any, ...] | None]


class LpReader(Protocol):
    """Reads one LP position in two steps, so that many are read in one batch."""

    @property
    def what(self) -> str:
        """Name of the position for a person: "v3:7"."""
        ...

    @property
    def calls(self) -> Sequence[Call]: ...

    async def build(self, chain: ChainReader, results: Results, *, block: Block) -> LpPosition:
        """Return the position of the results of ``calls``. Raises like the reader's class says."""
        ...


async def read_positions(
    chain: ChainReader, readers: Sequence[LpReader], *, block: Block
) -> list[LpPosition | BotError]:
    """Return each position, or why it could not be read, in the order of the readers.

    Raises what concerns all of them: TransientError when the batch could not be read, StaleDataError.
    """
    calls = [list(reader.calls) for reader in readers]
    results = await chain.read([call for each in calls for call in each], block=block)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(reader: LpReader, own: Results) -> LpPosition | BotError:
        try:
            async with turns:
                return await reader.build(chain, own, block=block)
        except StaleDataError:
            raise
        except BotError as error:  # also a sum that does not add up: one odd token must not hide the others
            return error

    parts, start = [], 0
    for reader, each in zip(readers, calls, strict=True):
        parts.append(one(reader, results[start : start + len(each)]))
        start += len(each)
    return list(await asyncio.gather(*parts))


async def read_exposure(chain: ChainReader, reader: LpReader, *, block: Block) -> Exposure:
    """Read one position as the engine wants it. Raises what the reader raises."""
    results = await chain.read(list(reader.calls), block=block)
    return exposure_of(await reader.build(chain, results, block=block))


def exposure_of(position: LpPosition) -> Exposure:
    """Return what the engine protects; one quote token counts as 1 USD there.

    Raises TransientError when the uncollected fees are unknown: part of the money would be missing.
    """
    if math.isnan(position.fees):
        raise TransientError(f"fees of position {position.id} could not be read: {position.why_no_fees}")
    # A pair's LP tokens have no id of their own; those with a staker stand beside those that are held.
    pair = f"{position.pool}@{position.staker}" if position.staker else position.pool
    return Exposure(
        id=pair if position.kind is ExposureKind.UNISWAP_V2 else position.id,
        kind=position.kind,
        protocol=position.protocol,
        chain_id=position.chain_id,
        pool=position.pool,
        underlying=position.base.symbol,
        stable=position.quote.symbol,
        shape=position.shape,
        spot_usd=position.spot,
        value_usd=position.value,
        fees_uncollected_usd=position.fees,
        fee_income_30d_usd=position.fee_income_30d,
        held_units=position.deposits.units,
        held_stable=position.deposits.quote,
    )


def token_calls(pool: Pool) -> tuple[Call, ...]:
    """Return the calls whose results :func:`check_tokens` takes."""
    return (
        *pool.token_calls,
        ERC20.fixed_call("decimals", pool.base_token),
        ERC20.fixed_call("decimals", pool.quote_token),
    )


async def check_tokens(chain: ChainReader, pool: Pool, results: Results, what: str, block: Block) -> None:
    """Raise ConfigError when the answers prove a pool of other tokens, or of other decimals."""
    token0, token1, *decimals = results
    for answer in (token0, token1):
        await check_contract(chain, pool.address, answer, what, block)
    try:
        pool.check_tokens(token0, token1)
    except BadRead as error:
        raise ConfigError(str(error)) from None
    configured = (("base", pool.base_decimals), ("quote", pool.quote_decimals))
    for (side, wanted), found in zip(configured, decimals, strict=True):
        if found is not None and found[0] != wanted:
            raise ConfigError(
                f"{pool.label}: {side}_decimals is {wanted} but the token says {found[0]}; correct it"
            )


async def check_contract(
    chain: ChainReader, address: str, result: tuple[Any, ...] | None, what: str, block: Block
) -> None:
    """Raise when a call that the right contract always answers was not: ConfigError without code.

    With code it is TransientError: a sub-call may fail once, and that must not end the bot.
    """
    if result is not None:
        return
    if await chain.has_code(address, block=block):
        raise TransientError(
            f"{address} did not answer as {what} at block {block.number}; "
            "where that stays so, it is none: check the address"
        )
    raise ConfigError(f"{address}, configured as {what}, has no code on chain {block.chain_id}")


def tokens_of(pool: Pool) -> tuple[LpToken, LpToken]:
    """Return the pool's (base, quote) token."""
    return (
        LpToken(symbol=pool.base, address=checksummed(pool.base_token), decimals=pool.base_decimals),
        LpToken(symbol=pool.quote, address=checksummed(pool.quote_token), decimals=pool.quote_decimals),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeState:
    """What the contracts say of a concentrated position (v3, v4)."""

    liquidity: int
    sqrt_price_x96: int
    tick: int  # of the pool
    lower_tick: int
    upper_tick: int
    fee: float
    owner: str
    staker: str = ""


def range_position(
    name: str, kind: ExposureKind, protocol: str, pool: Pool, address: str, state: RangeState, block: Block
) -> LpPosition:
    """Return a concentrated position with its amounts and value, its fees not yet known.

    Raises BadRead for a price that cannot be, InvariantError when amounts and curve disagree.
    """
    lower, upper, liquidity = state.lower_tick, state.upper_tick, state.liquidity
    if not -MAX_TICK <= lower < upper <= MAX_TICK:
        raise BadRead(f"position {name}: a range of ticks {lower}..{upper} cannot be")
    ends = sorted((pool.price_from_tick(lower), pool.price_from_tick(upper)))
    shape = LpShape(liquidity=pool.whole_liquidity(liquidity), lower_usd=ends[0], upper_usd=ends[1])
    spot = pool.price_from_sqrt(state.sqrt_price_x96)
    if not 0.0 < spot < math.inf:
        raise BadRead(f"position {name}: the price of {pool.label} came out as {spot}")
    held = pool.ordered(*amounts_for_liquidity(liquidity, state.sqrt_price_x96, lower, upper))
    ticks = TickRange(tick=state.tick, lower=lower, upper=upper)
    base, quote = tokens_of(pool)
    return LpPosition(
        id=name,
        kind=kind,
        protocol=protocol,
        chain_id=block.chain_id,
        pool=pool.label,
        pool_address=address,
        fee=state.fee,
        owner=checksummed(state.owner),
        staker=state.staker,
        base=base,
        quote=quote,
        shape=shape,
        liquidity_raw=liquidity,
        ticks=ticks if pool.base_is_token0 else ticks.turned,
        spot=spot,
        units=held[0],
        quote_units=held[1],
        value=checked_value(name, pool, shape, spot, held),
    )


def checked_value(name: str, pool: Pool, shape: LpShape, spot: float, held: tuple[float, float]) -> float:
    """Return the value of the curve at ``spot``; raise InvariantError unless the amounts are worth it."""
    value = float(lp.value(shape, spot))
    worth = held[0] * spot + held[1]
    dust = 2 * (10.0**-pool.quote_decimals + spot * 10.0**-pool.base_decimals)  # raw amounts round down
    if abs(value - worth) > _AGREE * value + dust:
        raise InvariantError(
            f"position {name}: its curve is worth {value} {pool.quote} but its tokens {worth}"
        )
    return value
