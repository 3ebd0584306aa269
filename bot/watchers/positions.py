"""Protected LP positions: what they hold, what they are worth, and their value curve.

The value is computed twice, from amounts by Uniswap's own arithmetic and from the value curve that the
engine uses, and both must agree: a mistake in units or token order cannot get past that.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import ConfigError, InvariantError, NotFoundError, TransientError, VenueRejected
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.market import Block
from bot.ports import ChainReader
from bot.quant import lp
from bot.watchers.pools import V2_PAIR, V3_POOL, Pool, amounts_for_liquidity
from bot.watchers.rows import BadRead, need
from bot.watchers.uniswap_v3 import sqrt_price_and_tick

MANAGER = Abi.load("NonfungiblePositionManager")
MAX_TOKENS = 500  # position NFTs of one wallet that are looked at
_MAX_UINT128 = 2**128 - 1
_AGREE = 1e-6  # relative


@dataclass(frozen=True, slots=True, kw_only=True)
class V3PositionReader:
    """Reads one position NFT of the NonfungiblePositionManager.

    Raises NotFoundError when the token does not exist, lies in another pool or holds no liquidity,
    ConfigError when the manager or the pool has no code or is of other tokens, TransientError when one of
    them did not answer.
    """

    token_id: int
    pool: Pool
    manager: str

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]:
        calls = [
            MANAGER.call("factory", self.manager),
            MANAGER.call("positions", self.manager, self.token_id),
            MANAGER.call("ownerOf", self.manager, self.token_id),
            *_pool_calls(self.pool),
        ]
        factory, position, owner, *pool_state = await chain.read(calls, block=block)
        await _check_contract(chain, self.manager, factory, "NonfungiblePositionManager", block)
        home = pool_state[2]
        if home is not None and home != factory:
            raise ConfigError(
                f"{self.pool.address} is no pool of {self.manager}: it is of the factory {home[0]}"
            )
        key, sqrt_price = await _pool_state(chain, self.pool, pool_state, block)
        if position is None and owner is None:  # of a burned token both revert
            raise NotFoundError(
                f"position {self._id} does not exist at {self.manager}; it may have been burned"
            )
        position, owner = need(position, f"positions of {self._id}"), need(owner, f"owner of {self._id}")
        if position[2:5] != key:
            raise NotFoundError(
                f"position {self._id} is not in the pool {self.pool.label} {self.pool.address}"
            )
        if position[7] == 0:
            raise NotFoundError(f"position {self._id} holds no liquidity any more")
        fees = await self._uncollected(chain, owner[0], block)
        return (self._exposure(position, sqrt_price, fees, block),)

    @property
    def _id(self) -> str:
        return f"v3:{self.token_id}"

    async def _uncollected(self, chain: ChainReader, owner: str, block: Block) -> tuple[int, int]:
        """Return raw (token0, token1) that a collect would pay now; ``tokensOwed`` alone is out of date."""
        data = MANAGER.encode("collect", (self.token_id, owner, _MAX_UINT128, _MAX_UINT128))
        try:
            paid = await chain.simulate(to=self.manager, data=data, block=block, sender=owner)
        except VenueRejected as error:
            raise TransientError(f"fees of position {self._id} could not be read: {error}") from None
        amount0, amount1 = MANAGER.decode("collect", paid)
        return amount0, amount1

    def _exposure(
        self, position: tuple[Any, ...], sqrt_price: int, fees: tuple[int, int], block: Block
    ) -> Exposure:
        pool = self.pool
        lower_tick, upper_tick, liquidity = position[5:8]
        lower, upper = sorted((pool.price_from_tick(lower_tick), pool.price_from_tick(upper_tick)))
        shape = LpShape(liquidity=pool.whole_liquidity(liquidity), lower_usd=lower, upper_usd=upper)
        spot = pool.price_from_sqrt(sqrt_price)
        held = pool.ordered(*amounts_for_liquidity(liquidity, sqrt_price, lower_tick, upper_tick))
        fee_base, fee_quote = pool.ordered(*fees)
        return Exposure(
            id=self._id,
            kind=ExposureKind.UNISWAP_V3,
            protocol="uniswap-v3",
            chain_id=block.chain_id,
            pool=pool.label,
            underlying=pool.base,
            stable=pool.quote,
            shape=shape,
            spot_usd=spot,
            value_usd=_checked_value(self._id, pool, shape, spot, held),
            fees_uncollected_usd=fee_base * spot + fee_quote,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class V2PositionReader:
    """Reads a holder's share of a Uniswap v2 pair. Its fees are part of the reserves.

    Raises NotFoundError when the holder has no LP tokens, ConfigError when the address has no code or is of
    other tokens, TransientError when it did not answer.
    """

    holder: str
    pool: Pool

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]:
        pool = self.pool
        calls = [
            *pool.token_calls,
            V2_PAIR.call("getReserves", pool.address),
            V2_PAIR.call("totalSupply", pool.address),
            V2_PAIR.call("balanceOf", pool.address, self.holder),
        ]
        token0, token1, reserves, supply, balance = await chain.read(calls, block=block)
        what = f"Uniswap v2 pair {pool.label}"
        for answer in (token0, token1, reserves):
            await _check_contract(chain, pool.address, answer, what, block)
        _check_tokens(pool, token0, token1)
        reserve0, reserve1, _ = need(reserves, f"{pool.label} getReserves")
        (lp_supply,), (lp_held,) = need(supply, "totalSupply"), need(balance, "balanceOf")
        if lp_held == 0:
            raise NotFoundError(f"{self.holder} holds no liquidity of {pool.label} {pool.address}")
        share = lp_held / lp_supply
        base, quote = (share * reserve for reserve in pool.ordered(reserve0, reserve1))
        spot = quote / base
        shape = LpShape(liquidity=math.sqrt(base) * math.sqrt(quote))
        exposure = Exposure(
            id=pool.label,
            kind=ExposureKind.UNISWAP_V2,
            protocol="uniswap-v2",
            chain_id=block.chain_id,
            pool=pool.label,
            underlying=pool.base,
            stable=pool.quote,
            shape=shape,
            spot_usd=spot,
            value_usd=_checked_value(pool.label, pool, shape, spot, (base, quote)),
        )
        return (exposure,)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPositions:
    """A wallet's positions in known pools, and one line on each that was left out."""

    exposures: tuple[Exposure, ...]
    left_out: tuple[str, ...]


async def find_positions(
    chain: ChainReader,
    *,
    block: Block,
    wallet: str,
    v2_pools: Sequence[Pool] = (),
    v3_pools: Sequence[Pool] = (),
    manager: str | None = None,
) -> FoundPositions:
    """Find every LP position of a wallet in the pools given.

    Raises ConfigError when a manager or pool has no code or is of other tokens, TransientError when one did
    not answer, NotFoundError when the wallet holds more than MAX_TOKENS position NFTs.
    """
    readers: list[V2PositionReader | V3PositionReader] = []
    left_out: list[str] = []
    if manager is not None:
        found, left_out = await _find_v3(chain, block, wallet, v3_pools, manager)
        readers += found
    calls = [V2_PAIR.call("balanceOf", pool.address, wallet) for pool in v2_pools]
    for pool, balance in zip(v2_pools, await chain.read(calls, block=block), strict=True):
        await _check_contract(chain, pool.address, balance, f"Uniswap v2 pair {pool.label}", block)
        if balance is not None and balance[0] > 0:
            readers.append(V2PositionReader(holder=wallet, pool=pool))
    parts = await asyncio.gather(*(reader.read(chain, block=block) for reader in readers))
    return FoundPositions(exposures=tuple(item for part in parts for item in part), left_out=tuple(left_out))


async def _find_v3(
    chain: ChainReader, block: Block, wallet: str, pools: Sequence[Pool], manager: str
) -> tuple[list[V3PositionReader], list[str]]:
    token_ids = await _token_ids(chain, block, wallet, manager)
    known = {}
    for pool in pools:
        key, _ = await _pool_state(chain, pool, await chain.read(_pool_calls(pool), block=block), block)
        known[key] = pool
    positions = await chain.read(
        [MANAGER.call("positions", manager, token_id) for token_id in token_ids], block=block
    )
    readers, left_out = [], []
    for token_id, position in zip(token_ids, positions, strict=True):
        if position is None:
            raise TransientError(f"position v3:{token_id} of {wallet} could not be read")
        found = known.get(position[2:5])
        if found is None:
            left_out.append(f"v3:{token_id} is in a pool that is not configured ({position[2:5]})")
        elif position[7] == 0:
            left_out.append(f"v3:{token_id} holds no liquidity")
        else:
            readers.append(V3PositionReader(token_id=token_id, pool=found, manager=manager))
    return readers, left_out


async def _token_ids(chain: ChainReader, block: Block, wallet: str, manager: str) -> list[int]:
    calls = [MANAGER.call("factory", manager), MANAGER.call("balanceOf", manager, wallet)]
    factory, balance = await chain.read(calls, block=block)
    for answer in (factory, balance):  # a plain token has balances too
        await _check_contract(chain, manager, answer, "NonfungiblePositionManager", block)
    count = balance[0] if balance is not None else 0
    if count > MAX_TOKENS:
        raise NotFoundError(
            f"{wallet} holds {count} position NFTs, up to {MAX_TOKENS} are searched; name one"
        )
    calls = [MANAGER.call("tokenOfOwnerByIndex", manager, wallet, index) for index in range(count)]
    results = await chain.read(calls, block=block)
    if None in results:
        raise TransientError(f"the position NFTs of {wallet} could not all be listed")
    return [result[0] for result in results if result is not None]


def _pool_calls(pool: Pool) -> list[Any]:
    return [
        *pool.token_calls,
        *(V3_POOL.call(name, pool.address) for name in ("factory", "fee", "slot0")),
    ]


async def _pool_state(
    chain: ChainReader, pool: Pool, results: Sequence[tuple[Any, ...] | None], block: Block
) -> tuple[tuple[Any, ...], int]:
    """Return ((token0, token1, fee), sqrtPriceX96) of ``_pool_calls``.

    Raises ConfigError, and TransientError when one of them was not answered.
    """
    token0, token1, factory, fee, slot0 = results
    what = f"Uniswap v3 pool {pool.label}"
    for answer in (token0, token1):
        await _check_contract(chain, pool.address, answer, what, block)
    _check_tokens(pool, token0, token1)
    for answer in (factory, fee, slot0):
        await _check_contract(chain, pool.address, answer, what, block)
    key = tuple(need(item, pool.label)[0] for item in (token0, token1, fee))
    sqrt_price, _ = sqrt_price_and_tick(pool, slot0)
    return key, sqrt_price


def _check_tokens(pool: Pool, token0: tuple[Any, ...] | None, token1: tuple[Any, ...] | None) -> None:
    """Raise ConfigError when the answers prove a pool of other tokens."""
    try:
        pool.check_tokens(token0, token1)
    except BadRead as error:
        raise ConfigError(str(error)) from None


async def _check_contract(
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


def _checked_value(name: str, pool: Pool, shape: LpShape, spot: float, held: tuple[float, float]) -> float:
    """Return the value of the curve at ``spot``; raise InvariantError unless the amounts are worth it."""
    value = float(lp.value(shape, spot))
    worth = held[0] * spot + held[1]
    dust = 2 * (10.0**-pool.quote_decimals + spot * 10.0**-pool.base_decimals)  # raw amounts round down
    if abs(value - worth) > _AGREE * value + dust:
        raise InvariantError(f"position {name}: its curve is worth {value} USD but its tokens {worth} USD")
    return value
