"""The market of oTokens: Uniswap v3 pools against USDC, what lies in them and what a trade would do."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from bot.chain.abi import Abi
from bot.model.market import Block
from bot.model.units import from_fixed
from bot.ports import Call, ChainReader
from bot.venues.opyn_terms import OTOKEN_DECIMALS, OpynContracts, OpynTerms
from bot.venues.steps import ERC20

V3_FACTORY = Abi.load("UniswapV3Factory")
V3_POOL = Abi.load("UniswapV3Pool")
QUOTER = Abi.load("QuoterV2")

_Q96 = 2**96
_MILLION = 1_000_000
_NO_POOL = "0x" + "00" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OtokenPool:
    """One pool at one block."""

    address: str  # lower case
    fee: int  # millionths
    sqrt_price_x96: int
    liquidity: int
    reserve_raw: int  # oTokens that lie in it
    is_otoken_first: bool  # of its two tokens

    def price(self, *, token_decimals: int) -> float:
        """Return its own price of one oToken in whole tokens, fee left out; NaN for an empty pool."""
        if not self.sqrt_price_x96:
            return nan
        ratio = (self.sqrt_price_x96 / _Q96) ** 2  # raw units of the second token for one of the first
        raw = ratio if self.is_otoken_first else 1.0 / ratio
        return raw * 10.0 ** (OTOKEN_DECIMALS - token_decimals)

    def most(self, *, impact: float) -> float:
        """Return how many oTokens it sells before the average price is ``impact`` over its own.

        By the liquidity at its price, and never more than all that lies in it.
        """
        if not self.sqrt_price_x96:
            return 0.0
        root = self.sqrt_price_x96 / _Q96
        depth_raw = self.liquidity / root if self.is_otoken_first else self.liquidity * root
        by_price_raw = depth_raw * impact / (1.0 + impact)
        return from_fixed(int(min(by_price_raw, 0.99 * self.reserve_raw)), decimals=OTOKEN_DECIMALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTrade:
    """What one trade with one pool would do: tokens in for a purchase, out for a sale."""

    pool: OtokenPool
    amount_raw: int  # oTokens
    token_raw: int


class OpynPools:
    """Pools of all fee tiers, read at pinned blocks."""

    def __init__(self, *, reader: ChainReader, contracts: OpynContracts, terms: OpynTerms) -> None:
        self._reader = reader
        self._contracts = contracts
        self._terms = terms
        self._fees: dict[str, int] = {}  # pool -> its fee; a pool's never changes

    def fee_share(self, pool: str) -> float:
        """Return the fee of a pool that was read before, as a fraction; 0 for one that was not."""
        return self._fees.get(pool.lower(), 0) / _MILLION

    async def of(self, otokens: Sequence[str], block: Block) -> dict[str, tuple[OtokenPool, ...]]:
        """Return the pools of each oToken that exist and have a price."""
        pairs = [(item, fee) for item in otokens for fee in self._terms.fee_tiers]
        c = self._contracts
        calls = [V3_FACTORY.call("getPool", c.v3_factory, item, c.token, fee) for item, fee in pairs]
        places = await self._reader.read(calls, block=block) if calls else []
        known = [
            (otoken, fee, str(row[0]))
            for (otoken, fee), row in zip(pairs, places, strict=True)
            if row is not None and row[0] != _NO_POOL
        ]
        states = await self._reader.read(
            [call for otoken, _, pool in known for call in _state_calls(otoken, pool)], block=block
        ) if known else []  # fmt: skip
        found: dict[str, tuple[OtokenPool, ...]] = {item: () for item in otokens}
        for place, (otoken, fee, address) in enumerate(known):
            pool = self._pool(otoken, fee, address, states[3 * place : 3 * place + 3])
            if pool is not None:
                self._fees[pool.address] = fee
                found[otoken] += (pool,)
        return found

    async def buy(
        self, orders: Sequence[tuple[str, OtokenPool, int]], block: Block
    ) -> list[PoolTrade | None]:
        """Return what buying each (oToken, pool, amount) costs, None where the pool cannot sell that much."""
        token = self._contracts.token
        asks = [(token, otoken, raw, pool.fee, 0) for otoken, pool, raw in orders]
        return await self._quoted("quoteExactOutputSingle", asks, orders, block)

    async def sell(
        self, orders: Sequence[tuple[str, OtokenPool, int]], block: Block
    ) -> list[PoolTrade | None]:
        """Return what selling each (oToken, pool, amount) brings, None where the pool cannot take it."""
        token = self._contracts.token
        asks = [(otoken, token, raw, pool.fee, 0) for otoken, pool, raw in orders]
        return await self._quoted("quoteExactInputSingle", asks, orders, block)

    async def _quoted(
        self,
        function: str,
        asks: Sequence[tuple[str, str, int, int, int]],
        orders: Sequence[tuple[str, OtokenPool, int]],
        block: Block,
    ) -> list[PoolTrade | None]:
        calls = [QUOTER.call(function, self._contracts.quoter, ask) for ask in asks]
        rows = await self._reader.read(calls, block=block) if calls else []
        return [
            None if row is None else PoolTrade(pool=pool, amount_raw=raw, token_raw=int(row[0]))
            for (_, pool, raw), row in zip(orders, rows, strict=True)
        ]

    def _pool(
        self, otoken: str, fee: int, address: str, state: Sequence[tuple[Any, ...] | None]
    ) -> OtokenPool | None:
        slot, liquidity, reserve = state
        if slot is None or liquidity is None or reserve is None or not slot[0]:
            return None
        return OtokenPool(
            address=address.lower(),
            fee=fee,
            sqrt_price_x96=int(slot[0]),
            liquidity=int(liquidity[0]),
            reserve_raw=int(reserve[0]),
            is_otoken_first=int(otoken, 16) < int(self._contracts.token, 16),
        )


def best_buy(trades: Sequence[PoolTrade | None]) -> PoolTrade | None:
    """Return the cheapest per oToken, None where no pool sells."""
    found = [item for item in trades if item is not None and item.amount_raw]
    return min(found, key=lambda item: item.token_raw / item.amount_raw, default=None)


def best_sale(trades: Sequence[PoolTrade | None]) -> PoolTrade | None:
    """Return the one that brings most, None where no pool buys."""
    found = [item for item in trades if item is not None and item.token_raw]
    return max(found, key=lambda item: item.token_raw, default=None)


def deepest(pools: Sequence[OtokenPool]) -> OtokenPool | None:
    """Return the deepest pool, whose price is the market's."""
    return max(pools, key=lambda pool: pool.liquidity, default=None)


def _state_calls(otoken: str, pool: str) -> tuple[Call, Call, Call]:
    return (
        V3_POOL.call("slot0", pool),
        V3_POOL.call("liquidity", pool),
        ERC20.call("balanceOf", otoken, pool),
    )
