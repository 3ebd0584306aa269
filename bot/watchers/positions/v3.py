"""One position NFT of a NonfungiblePositionManager (Uniswap v3 and forks that kept its interface)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import checksummed
from bot.errors import ConfigError, NotFoundError, TransientError, VenueRejected
from bot.model.exposure import Exposure, ExposureKind
from bot.model.lp_position import LpPosition
from bot.model.market import Block
from bot.ports import Call, ChainReader
from bot.watchers.pools import V3_POOL, Pool
from bot.watchers.positions.reading import (
    RangeState,
    Results,
    check_contract,
    check_tokens,
    range_position,
    read_exposure,
    token_calls,
)
from bot.watchers.positions.staked import NftStaker
from bot.watchers.rows import need
from bot.watchers.uniswap_v3 import sqrt_price_and_tick

MANAGER = Abi.load("NonfungiblePositionManager")
MAX_UINT128 = 2**128 - 1
# Forks differ in the words that follow (PancakeSwap's feeProtocol is wider, Slipstream has none).
_SLOT0 = ("uint160", "int24")


@dataclass(frozen=True, slots=True, kw_only=True)
class V3PositionReader:
    """Reads one position NFT of the NonfungiblePositionManager.

    Raises NotFoundError when the token does not exist, lies in another pool, holds no liquidity or is not
    with the staker named, ConfigError when the manager or the pool has no code or is of other tokens,
    TransientError when one of them did not answer.
    """

    token_id: int
    pool: Pool
    manager: str
    staker: NftStaker | None = None  # contract that holds the NFT for its owner
    protocol: str = "uniswap-v3"

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]:
        return (await read_exposure(chain, self, block=block),)

    @property
    def what(self) -> str:
        return f"v3:{self.token_id}"

    @property
    def calls(self) -> Sequence[Call]:
        staker = self.staker.calls(self.token_id) if self.staker else ()
        return (
            MANAGER.fixed_call("factory", self.manager),
            MANAGER.call("positions", self.manager, self.token_id),
            MANAGER.call("ownerOf", self.manager, self.token_id),
            *pool_calls(self.pool),
            *staker,
        )

    async def build(self, chain: ChainReader, results: Results, *, block: Block) -> LpPosition:
        factory, position, owner, *rest = results
        state, staked = rest[:POOL_CALLS], rest[POOL_CALLS:]
        await check_contract(chain, self.manager, factory, "NonfungiblePositionManager", block)
        self._check_home(factory, state)
        key, sqrt_price, tick = await pool_state(chain, self.pool, state, block)
        if position is None and owner is None:  # of a burned token both revert
            raise NotFoundError(
                f"position {self.what} does not exist at {self.manager}; it may have been burned"
            )
        position, owner = need(position, f"positions of {self.what}"), need(owner, f"owner of {self.what}")
        if position[2:5] != key:
            raise NotFoundError(
                f"position {self.what} is not in the pool {self.pool.label} {self.pool.address}"
            )
        if position[7] == 0:
            raise NotFoundError(f"position {self.what} holds no liquidity any more{_still_owed(position)}")
        beneficiary = self.staker.owner(self.what, owner[0], staked) if self.staker else owner[0]
        found = self._position(position, sqrt_price, tick, beneficiary, block)
        return await self._with_fees(chain, found, owner[0], block)

    def _check_home(self, factory: tuple[Any, ...] | None, state: Results) -> None:
        home = state[-3]
        if factory is not None and home is not None and home != factory:
            raise ConfigError(
                f"{self.pool.address} is no pool of {self.manager}: it is of the factory {home[0]}"
            )

    def _position(
        self, position: tuple[Any, ...], sqrt_price: int, tick: int, owner: str, block: Block
    ) -> LpPosition:
        lower_tick, upper_tick, liquidity = position[5:8]
        state = RangeState(
            liquidity=liquidity,
            sqrt_price_x96=sqrt_price,
            tick=tick,
            lower_tick=lower_tick,
            upper_tick=upper_tick,
            fee=position[4] / 1e6,
            owner=owner,
            staker=self.staker.address if self.staker else "",
        )
        kind, address = ExposureKind.UNISWAP_V3, checksummed(self.pool.address)
        return range_position(self.what, kind, self.protocol, self.pool, address, state, block)

    async def _with_fees(
        self, chain: ChainReader, position: LpPosition, holder: str, block: Block
    ) -> LpPosition:
        """Add what a collect would pay now; ``tokensOwed`` alone is out of date."""
        data = MANAGER.encode("collect", (self.token_id, holder, MAX_UINT128, MAX_UINT128))
        try:
            paid = await chain.simulate(to=self.manager, data=data, block=block, sender=holder)
            amounts = MANAGER.decode("collect", paid)
        except (VenueRejected, TransientError) as error:
            return replace(position, why_no_fees=str(error))
        units, quote = self.pool.ordered(*amounts)
        return replace(position, fees_units=units, fees_quote=quote)


def pool_calls(pool: Pool) -> tuple[Call, ...]:
    """Return the calls whose results :func:`pool_state` takes."""
    slot0 = Call(pool.address, V3_POOL.encode("slot0"), _SLOT0)
    # Slipstream's fee can change; its factory cannot.
    factory, fee = V3_POOL.fixed_call("factory", pool.address), V3_POOL.call("fee", pool.address)
    return (*token_calls(pool), factory, fee, slot0)


POOL_CALLS = 7


async def pool_state(
    chain: ChainReader, pool: Pool, results: Results, block: Block
) -> tuple[tuple[Any, ...], int, int]:
    """Return ((token0, token1, fee), sqrtPriceX96, tick) of ``pool_calls``.

    Raises ConfigError, and TransientError when one of them was not answered.
    """
    token0, token1, _, _, factory, fee, slot0 = results
    what = f"Uniswap v3 pool {pool.label}"
    await check_tokens(chain, pool, results[:4], what, block)
    for answer in (factory, fee, slot0):
        await check_contract(chain, pool.address, answer, what, block)
    key = tuple(need(item, pool.label)[0] for item in (token0, token1, fee))
    sqrt_price, tick = sqrt_price_and_tick(pool, slot0)
    return key, sqrt_price, tick


def _still_owed(position: tuple[Any, ...]) -> str:
    owed0, owed1 = position[10:12]
    return "" if owed0 == owed1 == 0 else f"; {owed0} and {owed1} raw units wait to be collected"
