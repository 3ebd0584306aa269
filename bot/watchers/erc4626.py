"""ERC-4626 vault: assets, what a share is worth, what can be withdrawn at once (S1, S2).

Assets sent to a vault without a deposit (a donation) raise totalAssets and the share's worth alike: a rise
of either proves no yield, a fall of the rate is a loss. Fees on exit are not in convertToAssets, and vaults
that pay out later (ERC-7540) answer it too although nothing can be withdrawn at once: IDLE_UNITS says that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.amounts import check_decimals, whole_units
from bot.watchers.pools import ERC20
from bot.watchers.rows import BadRead, Rows, Unknown, need

VAULT = Abi.load("ERC4626")
SOURCE = "erc4626"
_MAX_DECIMALS = 36
_HIGHEST_RATE = 1e6  # assets a share: a share starts at about one asset


@dataclass(frozen=True, slots=True, kw_only=True)
class Erc4626Watcher:
    """Watches one vault.

    IDLE_UNITS is the asset that lies in the vault itself, or, with ``holder``, what the vault lets that
    holder withdraw now: the better measure for vaults that keep their assets elsewhere, capped by what the
    holder has. PAUSED is read where ``pausable``: many vaults have no ``paused()``.
    """

    label: str
    vault: Address
    share: str  # symbol of the share, "sDAI"
    share_decimals: int  # often not the asset's: a vault may add up to 18
    asset: str
    asset_token: Address
    asset_decimals: int
    holder: Address | None = None
    pausable: bool = False

    def __post_init__(self) -> None:
        for what, decimals in (("share", self.share_decimals), ("asset", self.asset_decimals)):
            if not 0 <= decimals <= _MAX_DECIMALS:
                raise ConfigError(f"vault {self.label}: {what}_decimals must be 0..36, was {decimals}")

    @property
    def name(self) -> str:
        return f"erc4626 {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        keys = (
            SeriesKey(Metric.TOKEN_UNITS, f"{self.label}/{self.asset}", SOURCE),
            SeriesKey(Metric.EXCHANGE_RATE, f"{self.share}/{self.asset}", SOURCE),
            SeriesKey(Metric.IDLE_UNITS, f"{self.label}/{self.asset}", SOURCE),
        )
        return (*keys, SeriesKey(Metric.PAUSED, self.label, SOURCE)) if self.pausable else keys

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        idle = (
            VAULT.call("maxWithdraw", self.vault, self.holder)
            if self.holder
            else ERC20.call("balanceOf", self.asset_token, self.vault)
        )
        calls = [
            VAULT.call("asset", self.vault),
            VAULT.call("decimals", self.vault),
            ERC20.call("decimals", self.asset_token),
            VAULT.call("totalAssets", self.vault),
            VAULT.call("convertToAssets", self.vault, 10**self.share_decimals),
            idle,
        ]
        if self.pausable:
            calls.append(VAULT.call("paused", self.vault))
        found = await chain.read(calls, block=block)
        try:
            self._check(found)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        values = [self._total(found[3]), self._rate(found[4]), self._idle(found[5])]
        values += [self._paused(found[6])] if self.pausable else []
        return [rows.row(key, value) for key, value in zip(self.series, values, strict=True)]

    def _check(self, found: Sequence[tuple[Any, ...] | None]) -> None:
        """Raise BadRead when the contract is no vault of the configured asset."""
        (asset,) = need(found[0], f"vault {self.label} asset at {self.vault}")
        if asset.lower() != self.asset_token.lower():
            raise BadRead(
                f"vault {self.label} holds {asset}, configured as {self.asset} is {self.asset_token}"
            )
        check_decimals(found[1], self.share_decimals, f"share {self.share} at {self.vault}")
        check_decimals(found[2], self.asset_decimals, f"{self.asset} at {self.asset_token}")

    def _total(self, found: tuple[Any, ...] | None) -> float | Unknown:
        return _units(found, self.asset_decimals, f"vault {self.label} totalAssets")

    def _idle(self, found: tuple[Any, ...] | None) -> float | Unknown:
        what = f"maxWithdraw of {self.holder}" if self.holder else f"balance of {self.asset}"
        return _units(found, self.asset_decimals, f"vault {self.label} {what}")

    def _rate(self, found: tuple[Any, ...] | None) -> float | Unknown:
        rate = _units(found, self.asset_decimals, f"vault {self.label} convertToAssets")
        if isinstance(rate, float) and not 0 < rate < _HIGHEST_RATE:
            return Unknown(f"vault {self.label}: a share is worth {rate} {self.asset}")
        return rate

    def _paused(self, found: tuple[Any, ...] | None) -> float | Unknown:
        if found is None:
            return Unknown(f"vault {self.label} paused() failed or returned nothing; it may have none")
        return float(found[0])


def _units(found: tuple[Any, ...] | None, decimals: int, what: str) -> float | Unknown:
    try:
        return whole_units(found, decimals, what)
    except BadRead as error:
        return Unknown(str(error))
