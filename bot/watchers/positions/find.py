"""Finds every position of a wallet in known pools, as the engine wants them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.errors import NotFoundError, TransientError
from bot.model.exposure import Exposure
from bot.model.market import Block
from bot.ports import ChainReader
from bot.watchers.pools import V2_PAIR, Pool
from bot.watchers.positions.reading import check_contract
from bot.watchers.positions.v2 import UNISWAP_V2, PairTerms, V2PositionReader
from bot.watchers.positions.v3 import MANAGER, V3PositionReader, pool_calls, pool_state

MAX_TOKENS = 500  # position NFTs of one wallet that are looked at


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
    terms: Mapping[str, PairTerms] | None = None,
) -> FoundPositions:
    """Find every LP position of a wallet in the pools given, for the engine.

    ``terms`` are those of pairs that are not Uniswap's own, by label.
    Raises ConfigError when a manager or pool has no code or is of other tokens, TransientError when one did
    not answer, NotFoundError when the wallet holds more than MAX_TOKENS position NFTs.
    """
    readers: list[V2PositionReader | V3PositionReader] = []
    left_out: list[str] = []
    if manager is not None:
        found, left_out = await _find_v3(chain, block, wallet, v3_pools, manager)
        readers += found
    readers += await held_pairs(chain, v2_pools, wallet, block=block, terms=terms)
    parts = await asyncio.gather(*(reader.read(chain, block=block) for reader in readers))
    return FoundPositions(exposures=tuple(item for part in parts for item in part), left_out=tuple(left_out))


async def held_pairs(
    chain: ChainReader,
    pools: Sequence[Pool],
    wallet: str,
    *,
    block: Block,
    terms: Mapping[str, PairTerms] | None = None,
) -> list[V2PositionReader]:
    """Return a reader for each pair that the wallet has LP tokens of."""
    calls = [V2_PAIR.call("balanceOf", pool.address, wallet) for pool in pools]
    readers = []
    for pool, balance in zip(pools, await chain.read(calls, block=block), strict=True):
        await check_contract(chain, pool.address, balance, f"Uniswap v2 pair {pool.label}", block)
        if balance is not None and balance[0] > 0:
            of_pair = (terms or {}).get(pool.label, UNISWAP_V2)
            readers.append(
                V2PositionReader(holder=wallet, pool=pool, fee=of_pair.fee, protocol=of_pair.protocol)
            )
    return readers


async def _find_v3(
    chain: ChainReader, block: Block, wallet: str, pools: Sequence[Pool], manager: str
) -> tuple[list[V3PositionReader], list[str]]:
    token_ids = await token_ids_of(chain, wallet, manager, block=block)
    known = {}
    for pool in pools:
        results = await chain.read(pool_calls(pool), block=block)
        key, _, _ = await pool_state(chain, pool, results, block)
        known[key] = pool
    readers, left_out = [], []
    for token_id, position in await v3_positions(chain, token_ids, manager, wallet, block):
        found = known.get(position[2:5])
        if found is None:
            left_out.append(f"v3:{token_id} is in a pool that is not configured ({position[2:5]})")
        elif position[7] == 0:
            left_out.append(f"v3:{token_id} holds no liquidity")
        else:
            readers.append(V3PositionReader(token_id=token_id, pool=found, manager=manager))
    return readers, left_out


async def v3_positions(
    chain: ChainReader, token_ids: Sequence[int], manager: str, wallet: str, block: Block
) -> list[tuple[int, tuple[Any, ...]]]:
    """Return (id, what the manager says of it) of each. Raises TransientError."""
    calls = [MANAGER.call("positions", manager, token_id) for token_id in token_ids]
    found = []
    for token_id, position in zip(token_ids, await chain.read(calls, block=block), strict=True):
        if position is None:
            raise TransientError(f"position v3:{token_id} of {wallet} could not be read")
        found.append((token_id, position))
    return found


async def token_ids_of(chain: ChainReader, wallet: str, manager: str, *, block: Block) -> list[int]:
    """Return the ids of a wallet's v3 position NFTs."""
    calls = [MANAGER.call("factory", manager), MANAGER.call("balanceOf", manager, wallet)]
    factory, balance = await chain.read(calls, block=block)
    for answer in (factory, balance):  # a plain token has balances too
        await check_contract(chain, manager, answer, "NonfungiblePositionManager", block)
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
