"""One position NFT of Uniswap v4's PositionManager."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import checksummed
from bot.errors import ConfigError, NotFoundError
from bot.model.exposure import Exposure, ExposureKind
from bot.model.lp_position import LpPosition, V4PoolKey
from bot.model.market import Block
from bot.ports import Call, ChainReader
from bot.watchers.pools import ERC20
from bot.watchers.positions.reading import (
    RangeState,
    Results,
    check_contract,
    range_position,
    read_exposure,
)
from bot.watchers.positions.tokens import NATIVE_DECIMALS
from bot.watchers.rows import need
from bot.watchers.v4_pools import NATIVE, STATE_VIEW, V4Pool

MANAGER = Abi.load("PositionManager")
_WORD = 2**256
_Q128 = 2**128
_POSITION_INFO = "getPositionInfo(bytes32,address,int24,int24,bytes32)"


@dataclass(frozen=True, slots=True, kw_only=True)
class V4PositionReader:
    """Reads one position NFT of the v4 PositionManager.

    The PositionManager keeps liquidity in its own name in the PoolManager, under the token id as salt. Fees
    are counted as v4-core does, modulo 2^256; without a StateView they are unknown. A hook may take a part
    of fees or liquidity when it is withdrawn; that cannot be read.

    Raises NotFoundError when the token does not exist, lies in another pool or holds no liquidity,
    ConfigError when the manager has no code or is of another PoolManager, TransientError when a contract did
    not answer.
    """

    token_id: int
    pool: V4Pool
    manager: str  # the PositionManager
    protocol: str = "uniswap-v4"

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]:
        return (await read_exposure(chain, self, block=block),)

    @property
    def what(self) -> str:
        return f"v4:{self.token_id}"

    @property
    def calls(self) -> Sequence[Call]:
        pool = self.pool
        tokens = [token for token in (pool.base_token, pool.quote_token) if token != NATIVE]
        return (
            MANAGER.fixed_call("poolManager", self.manager),
            MANAGER.call("getPoolAndPositionInfo", self.manager, self.token_id),
            MANAGER.call("getPositionLiquidity", self.manager, self.token_id),
            MANAGER.call("ownerOf", self.manager, self.token_id),
            pool.slot0_call,
            *(ERC20.fixed_call("decimals", token) for token in tokens),
        )

    async def build(self, chain: ChainReader, results: Results, *, block: Block) -> LpPosition:
        home, info, liquidity, owner, slot0, *decimals = results
        await check_contract(chain, self.manager, home, "v4 PositionManager", block)
        self._check_home(need(home, f"poolManager of {self.manager}")[0])
        self._check_decimals(decimals)
        # Of a burned token ownerOf reverts and the others answer zeros; any other failure is of this read.
        if owner is None and info is not None and info[1] == 0:
            raise NotFoundError(
                f"position {self.what} does not exist at {self.manager}; it may have been burned"
            )
        key, packed = need(info, f"pool of {self.what}")
        (held,) = need(liquidity, f"liquidity of {self.what}")
        (holder,) = need(owner, f"owner of {self.what}")
        self._check_key(key)
        if held == 0:
            raise NotFoundError(f"position {self.what} holds no liquidity any more")
        state = self._state(slot0, packed, held, holder)
        kind, pool_id = ExposureKind.UNISWAP_V4, "0x" + self.pool.pool_id.hex()
        position = range_position(self.what, kind, self.protocol, self.pool.pair, pool_id, state, block)
        position = replace(position, v4_key=self._pool_key)
        return await self._with_fees(chain, position, state, block)

    @property
    def _pool_key(self) -> V4PoolKey:
        pool = self.pool
        return V4PoolKey(
            pool_manager=checksummed(pool.manager),
            fee=pool.fee,
            tick_spacing=pool.tick_spacing,
            hooks=checksummed(pool.hooks),
        )

    def _state(self, slot0: tuple[Any, ...] | None, packed: int, held: int, holder: str) -> RangeState:
        sqrt_price, tick, _, lp_fee = self.pool.slot0(slot0)
        lower_tick, upper_tick = ticks_of(packed)
        return RangeState(
            liquidity=held,
            sqrt_price_x96=sqrt_price,
            tick=tick,
            lower_tick=lower_tick,
            upper_tick=upper_tick,
            fee=lp_fee / 1e6,
            owner=holder,
        )

    def _check_home(self, pool_manager: str) -> None:
        if pool_manager.lower() != self.pool.manager.lower():
            raise ConfigError(
                f"{self.manager} manages positions of the PoolManager {pool_manager}, configured is "
                f"{self.pool.manager} for the pool {self.pool.label}"
            )

    def _check_key(self, key: tuple[Any, ...]) -> None:
        wanted = tuple(part.lower() if isinstance(part, str) else part for part in self.pool.key)
        if tuple(key) != wanted:
            raise NotFoundError(f"position {self.what} is not in the pool {self.pool.label}")

    def _check_decimals(self, decimals: Results) -> None:
        pool = self.pool
        sides = (
            ("base", pool.base_token, pool.base_decimals),
            ("quote", pool.quote_token, pool.quote_decimals),
        )
        read = iter(decimals)
        for side, token, wanted in sides:
            found = (NATIVE_DECIMALS,) if token == NATIVE else next(read)
            if found is not None and found[0] != wanted:
                raise ConfigError(
                    f"{pool.label}: {side}_decimals is {wanted} but the token says {found[0]}; correct it"
                )

    async def _with_fees(
        self, chain: ChainReader, position: LpPosition, state: RangeState, block: Block
    ) -> LpPosition:
        """Add the uncollected fees: growth inside the range since it was last counted, x liquidity."""
        view, pool_id = self.pool.state_view, self.pool.pool_id
        if view is None:
            return replace(position, why_no_fees="no StateView is configured for this chain")
        ends = (state.lower_tick, state.upper_tick)
        salt = self.token_id.to_bytes(32, "big")
        calls = [
            STATE_VIEW.call("getFeeGrowthInside", view, pool_id, *ends),
            STATE_VIEW.call(_POSITION_INFO, view, pool_id, self.manager, *ends, salt),
        ]
        inside, counted = await chain.read(calls, block=block)
        if inside is None or counted is None:
            return replace(position, why_no_fees=f"the StateView at {view} did not answer")
        liquidity, *last_growth = counted
        if liquidity != state.liquidity:
            why = f"the PoolManager has {liquidity} of its liquidity {state.liquidity}"
            return replace(position, why_no_fees=why)
        raw = [
            (now - last) % _WORD * liquidity // _Q128 for now, last in zip(inside, last_growth, strict=True)
        ]
        units, quote = self.pool.ordered(raw[0], raw[1])
        return replace(position, fees_units=units, fees_quote=quote)


def ticks_of(packed: int) -> tuple[int, int]:
    """Return (lower, upper) of PositionInfo: from the low end 8 bits of a flag, 24 lower, 24 upper."""
    return _signed24(packed >> 8), _signed24(packed >> 32)


def _signed24(word: int) -> int:
    value = word & 0xFFFFFF
    return value - 0x1000000 if value & 0x800000 else value
