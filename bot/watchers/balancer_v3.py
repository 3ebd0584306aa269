"""Balancer v3 pool: balances in the Vault, shares, the worth of a BPT, supply, pauses (S1, S3, R2).

The Vault answers for its pools; what VaultExtension and VaultAdmin add is called at the same address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.model.market import Block, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.amounts import check_decimals, plausible, whole_units
from bot.watchers.balancer_rows import (
    SOURCE_V3,
    PoolToken,
    any_true,
    check_symbols,
    pool_rate,
    pool_series,
    shares_of,
)
from bot.watchers.pools import ERC20
from bot.watchers.rows import BadRead, Rows, Unknown, need

VAULT = Abi.load("BalancerV3Vault")
VAULT_ADDRESS = "0xbA1333333333a1BA1108E8412f11850A5C319bA9"
_BPT_DECIMALS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerV3Watcher:
    """Watches one pool.

    For a ``stable`` pool shares are by value, at the rates of now (getCurrentLiveBalances), and VIRTUAL_PRICE
    is getBptRate; a weighted pool has neither. POOL_LIQUIDITY is the supply of BPT. PAUSED is 1 where the
    Vault or the pool is paused or in recovery mode.
    """

    label: str
    pool: Address
    tokens: tuple[PoolToken, ...]  # in any order
    vault: Address = VAULT_ADDRESS
    stable: bool = True

    def __post_init__(self) -> None:
        check_symbols(self.label, self.tokens)

    @property
    def name(self) -> str:
        return f"balancer_v3 {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return pool_series(self.label, self.tokens, SOURCE_V3, stable=self.stable)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        calls = [
            VAULT.call("getPoolTokenInfo", self.vault, self.pool),
            VAULT.call("getCurrentLiveBalances", self.vault, self.pool),
            VAULT.call("getBptRate", self.vault, self.pool),
            ERC20.call("totalSupply", self.pool),
            VAULT.call("isVaultPaused", self.vault),
            VAULT.call("isPoolPaused", self.vault, self.pool),
            VAULT.call("isPoolInRecoveryMode", self.vault, self.pool),
            *(ERC20.call("decimals", token.address) for token in self.tokens),
        ]
        info, live, rate, supply, *flags = await chain.read(calls, block=block)
        try:
            places, units = self._units(info, flags[3:])
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        values: list[float | Unknown] = [*units]
        if self.stable:
            values += self._shares(live, places)
            values.append(pool_rate(rate, f"pool {self.label} getBptRate"))
        values.append(self._supply(supply))
        values.append(any_true(flags[:3], f"pool {self.label}: a pause or recovery state of {self.vault}"))
        return [rows.row(key, value) for key, value in zip(self.series, values, strict=True)]

    def _units(
        self, info: tuple[Any, ...] | None, decimals: Sequence[tuple[Any, ...] | None]
    ) -> tuple[list[int], list[float]]:
        """Return where each configured token stands in the Vault's list, and its balance."""
        tokens, _, balances, _ = need(info, f"pool {self.label} getPoolTokenInfo at {self.vault}")
        listed = [token.lower() for token in tokens]
        wanted = sorted(token.address.lower() for token in self.tokens)
        if sorted(listed) != wanted or len(balances) != len(listed):
            raise BadRead(f"pool {self.label} holds {listed}, configured are {wanted}")
        places = [listed.index(token.address.lower()) for token in self.tokens]
        units = []
        for token, place, found in zip(self.tokens, places, decimals, strict=True):
            check_decimals(found, token.decimals, f"{token.symbol} at {token.address}")
            units.append(plausible(balances[place], token.decimals, f"{self.label} {token.symbol}"))
        return places, units

    def _shares(self, live: tuple[Any, ...] | None, places: Sequence[int]) -> list[float | Unknown]:
        what = f"pool {self.label} getCurrentLiveBalances"
        try:
            (balances,) = need(live, what)
            if len(balances) != len(places):
                raise BadRead(f"{what} has {len(balances)} balances, configured are {len(places)} tokens")
            return [*shares_of([plausible(balances[place], 18, what) for place in places], what)]
        except BadRead as error:
            return [Unknown(str(error))] * len(places)

    def _supply(self, found: tuple[Any, ...] | None) -> float | Unknown:
        try:
            return whole_units(found, _BPT_DECIMALS, f"pool {self.label} totalSupply at {self.pool}")
        except BadRead as error:
            return Unknown(str(error))
