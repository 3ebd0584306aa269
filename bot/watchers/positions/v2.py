"""A holder's share of a Uniswap v2 pair or of a fork's (Sushi), held or staked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import NotFoundError
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.lp_position import LpPosition
from bot.model.market import Block
from bot.ports import Call, ChainReader
from bot.watchers.pools import V2_PAIR, Pool
from bot.watchers.positions.reading import (
    Results,
    check_contract,
    check_tokens,
    checked_value,
    read_exposure,
    token_calls,
    tokens_of,
)
from bot.watchers.positions.staked import LpStaker
from bot.watchers.rows import BadRead, need


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTerms:
    """What a pair's contract does not say of itself."""

    fee: float  # fraction of a swap's input; NaN: unknown
    protocol: str


UNISWAP_V2 = PairTerms(fee=0.003, protocol="uniswap-v2")  # UniswapV2Pair.swap; Sushi takes the same


@dataclass(frozen=True, slots=True, kw_only=True)
class V2PositionReader:
    """Reads a holder's share of a Uniswap v2 pair. Its fees are part of the reserves.

    Raises NotFoundError when the holder has no LP tokens, ConfigError when the address has no code or is of
    other tokens, TransientError when it did not answer.
    """

    holder: str
    pool: Pool
    staker: LpStaker | None = None  # contract that holds the LP tokens for the holder
    fee: float = UNISWAP_V2.fee  # of a swap, fraction; NaN: unknown
    protocol: str = UNISWAP_V2.protocol

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]:
        return (await read_exposure(chain, self, block=block),)

    @property
    def what(self) -> str:
        return f"v2:{self.pool.address}"

    @property
    def calls(self) -> Sequence[Call]:
        address = self.pool.address
        staker = self.staker.calls(address, self.holder) if self.staker else ()
        return (
            *token_calls(self.pool),
            V2_PAIR.call("getReserves", address),
            V2_PAIR.call("totalSupply", address),
            V2_PAIR.call("balanceOf", address, self.holder),
            *staker,
        )

    async def build(self, chain: ChainReader, results: Results, *, block: Block) -> LpPosition:
        reserves, supply, balance, *staked = results[4:]
        pool = self.pool
        what = f"Uniswap v2 pair {pool.label}"
        await check_tokens(chain, pool, results[:4], what, block)
        await check_contract(chain, pool.address, reserves, what, block)
        reserve0, reserve1, _ = need(reserves, f"{pool.label} getReserves")
        (lp_supply,), (lp_held,) = need(supply, "totalSupply"), need(balance, "balanceOf")
        where = ""
        if self.staker is not None:
            await check_contract(chain, self.staker.address, staked[0], "a staker of LP tokens", block)
            lp_held, where = self.staker.staked(pool.address, staked), f" at {self.staker.address}"
        if lp_held == 0:
            raise NotFoundError(f"{self.holder} holds no liquidity of {pool.label} {pool.address}{where}")
        if not 0 < lp_held <= lp_supply or reserve0 == 0 or reserve1 == 0:
            raise BadRead(
                f"{pool.label} {pool.address} cannot be right: {lp_held} of {lp_supply} LP tokens, "
                f"reserves {reserve0} and {reserve1}"
            )
        share = lp_held / lp_supply
        base, quote = (share * reserve for reserve in pool.ordered(reserve0, reserve1))
        return self._position(lp_held, base, quote, block)

    def _position(self, lp_held: int, base: float, quote: float, block: Block) -> LpPosition:
        pool = self.pool
        spot = quote / base
        shape = LpShape(liquidity=math.sqrt(base) * math.sqrt(quote))
        base_token, quote_token = tokens_of(pool)
        return LpPosition(
            id=self.what,
            kind=ExposureKind.UNISWAP_V2,
            protocol=self.protocol,
            chain_id=block.chain_id,
            pool=pool.label,
            pool_address=pool.address,
            fee=self.fee,
            owner=self.holder,
            staker=self.staker.address if self.staker else "",
            staker_pool=self.staker.pool_id if self.staker else None,
            base=base_token,
            quote=quote_token,
            shape=shape,
            liquidity_raw=lp_held,
            spot=spot,
            units=base,
            quote_units=quote,
            value=checked_value(pool.label, pool, shape, spot, (base, quote)),
            fees_units=0.0,
            fees_quote=0.0,
        )
