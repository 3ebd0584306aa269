"""Balancer v2 pool: balances in the Vault, shares, the worth of a BPT, supply, pauses (S1, S3, R2).

A composable pool lists its own BPT among its tokens, minted in advance: it is left out, and the supply is
getActualSupply. getRate can be fooled in the middle of a join or exit (read-only reentrancy); a pinned
block's state is never inside a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import Address, checksummed
from bot.errors import ConfigError
from bot.model.market import Block, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.amounts import check_decimals, plausible, whole_units
from bot.watchers.balancer_rows import (
    SOURCE_V2,
    PoolToken,
    any_true,
    check_symbols,
    pool_rate,
    pool_series,
    shares_of,
)
from bot.watchers.pools import ERC20
from bot.watchers.rows import BadRead, Rows, Unknown, need

VAULT = Abi.load("BalancerV2Vault")
POOL = Abi.load("BalancerV2Pool")
VAULT_ADDRESS = "0xBA12222222228d8Ba445958a75a0704d566BF2C8"
_BPT_DECIMALS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerV2Watcher:
    """Watches one pool; ``pool_id`` begins with the pool's address.

    For a ``stable`` pool shares are by value, each token at its own rate (getScalingFactors), and
    VIRTUAL_PRICE is getRate. For a weighted pool there is neither: its shares at its own prices are always
    its weights. POOL_LIQUIDITY is the supply of BPT; pools of before 2022 have no getActualSupply and need
    ``composable = false``. PAUSED is 1 where the Vault or the pool is paused or in recovery mode.
    """

    label: str  # "balancer:wstETH/WETH"
    pool_id: str  # 32 bytes
    tokens: tuple[PoolToken, ...]  # without the pool's own BPT, in any order
    vault: Address = VAULT_ADDRESS
    stable: bool = True
    composable: bool = True

    def __post_init__(self) -> None:
        text = self.pool_id.removeprefix("0x")
        if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
            raise ConfigError(
                f"pool {self.label}: pool_id must be 64 hex digits after 0x, was {self.pool_id!r}"
            )
        check_symbols(self.label, self.tokens)

    @property
    def pool(self) -> str:
        """The pool's address, which is that of its BPT."""
        return checksummed("0x" + self.pool_id.removeprefix("0x")[:40].lower())

    @property
    def name(self) -> str:
        return f"balancer_v2 {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return pool_series(self.label, self.tokens, SOURCE_V2, stable=self.stable)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        raw_id, pool = bytes.fromhex(self.pool_id.removeprefix("0x")), self.pool
        calls = [
            POOL.call("getPoolId", pool),
            VAULT.call("getPoolTokens", self.vault, raw_id),
            POOL.call("getActualSupply" if self.composable else "totalSupply", pool),
            POOL.call("getRate", pool),
            POOL.call("getScalingFactors", pool),
            VAULT.call("getPausedState", self.vault),
            POOL.call("getPausedState", pool),
            POOL.call("inRecoveryMode", pool),
            *(ERC20.call("decimals", token.address) for token in self.tokens),
        ]
        found_id, held, supply, rate, factors, *flags = await chain.read(calls, block=block)
        decimals = flags[3:]
        try:
            if bytes(need(found_id, f"pool {self.label} getPoolId at {pool}")[0]) != raw_id:
                raise BadRead(f"pool {self.label} at {pool} has another pool id than configured")
            places, units = self._units(held, decimals)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        values: list[float | Unknown] = [*units]
        if self.stable:
            values += self._shares(held, factors, places)
            values.append(pool_rate(rate, f"pool {self.label} getRate"))
        values.append(self._supply(supply))
        states = flags[: 3 if self.composable else 2]
        values.append(any_true(states, f"pool {self.label} getPausedState"))
        return [rows.row(key, value) for key, value in zip(self.series, values, strict=True)]

    def _units(
        self, held: tuple[Any, ...] | None, decimals: Sequence[tuple[Any, ...] | None]
    ) -> tuple[list[int], list[float]]:
        """Return where each configured token stands in the Vault's list, and its balance."""
        tokens, balances, _ = need(held, f"pool {self.label} getPoolTokens at {self.vault}")
        listed = [token.lower() for token in tokens]
        others = [token for token in listed if token != self.pool.lower()]
        wanted = sorted(token.address.lower() for token in self.tokens)
        if sorted(others) != wanted or len(balances) != len(listed):
            raise BadRead(f"pool {self.label} holds {others}, configured are {wanted}")
        places = [listed.index(token.address.lower()) for token in self.tokens]
        units = []
        for token, place, found in zip(self.tokens, places, decimals, strict=True):
            check_decimals(found, token.decimals, f"{token.symbol} at {token.address}")
            units.append(plausible(balances[place], token.decimals, f"{self.label} {token.symbol}"))
        return places, units

    def _shares(
        self, held: tuple[Any, ...] | None, factors: tuple[Any, ...] | None, places: Sequence[int]
    ) -> list[float | Unknown]:
        """Return shares of balance x scaling factor, which is 10^(36 - decimals) x the token's rate."""
        try:
            _, balances, _ = need(held, f"pool {self.label} getPoolTokens")
            (scales,) = need(factors, f"pool {self.label} getScalingFactors at {self.pool}")
            # A composable pool scales its BPT too, others have only their tokens: both in the Vault's order.
            if len(scales) != len(balances):
                raise BadRead(f"pool {self.label} has {len(scales)} scaling factors, {len(balances)} tokens")
            what = f"pool {self.label} scaled balance"
            return [
                *shares_of([plausible(balances[at] * scales[at] // 10**18, 18, what) for at in places], what)
            ]
        except BadRead as error:
            return [Unknown(str(error))] * len(places)

    def _supply(self, found: tuple[Any, ...] | None) -> float | Unknown:
        try:
            return whole_units(found, _BPT_DECIMALS, f"pool {self.label} supply at {self.pool}")
        except BadRead as error:
            return Unknown(str(error))
