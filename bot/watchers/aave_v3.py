"""Aave v3: rates, utilisation and idle liquidity of reserves, pauses, and health factors (S2, S17, R21).

Everything is resolved from the PoolAddressesProvider at each read, because Aave exchanges its data providers.
Reserves are read through the data provider: its ``getReserveData`` has had the same twelve words from v3.0 to
v3.5, while the structs of Pool changed. From v3.1 on a reserve lends from its virtual balance, which a
donation does not raise; v3.0 has none and lends what the aToken holds.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.model.units import WAD_DECIMALS
from bot.ports import Call, ChainReader
from bot.watchers.amounts import check_decimals, plausible
from bot.watchers.lending import (
    NO_DEBT,
    Account,
    LendingToken,
    check_limits,
    check_names,
    plausible_apr,
    utilisation,
)
from bot.watchers.pools import ERC20, from_raw
from bot.watchers.rows import BadRead, Rows, Unknown, need

PROVIDER = Abi.load("PoolAddressesProvider")
POOL = Abi.load("Pool")
DATA = Abi.load("AaveProtocolDataProvider")
VIRTUAL = Abi.load("AaveVirtualAccounting")
SOURCE = "aave_v3"
_RAY_DECIMALS = 27
_METRICS = (
    Metric.SUPPLY_APR,
    Metric.BORROW_APR,
    Metric.UTILISATION,
    Metric.IDLE_UNITS,
    Metric.PAUSED,
)
_BASIS_POINTS = 10_000
_WAD = 10**18
_ROUNDING = 2  # of the base currency's least unit
_UNLIMITED = 2**256 - 1
_NOBODY = 0


class _Market(NamedTuple):
    pool: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AaveV3Watcher:
    """Watches reserves and accounts of one market.

    The subject of a reserve is ``<label>/<symbol>``, that of a health factor the account's label. An account
    without debt has the health 1e6; one without debt and collateral is unknown, since it is likelier a
    mistyped address than a position. Health is the contract's own: at Aave's oracle, e-mode included.
    """

    label: str
    addresses_provider: Address
    reserves: tuple[LendingToken, ...] = ()
    accounts: tuple[Account, ...] = ()
    highest_apr: float = 10.0

    def __post_init__(self) -> None:
        if not self.reserves and not self.accounts:
            raise ConfigError(f"Aave {self.label}: name at least one reserve or account")
        check_limits(f"Aave {self.label}", highest_apr=self.highest_apr)
        check_names(f"Aave {self.label}", tuple(reserve.symbol for reserve in self.reserves))
        check_names(f"Aave {self.label}", tuple(account.label for account in self.accounts))

    @property
    def name(self) -> str:
        return f"aave_v3 {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (
            *(key for reserve in self.reserves for key in self._keys(reserve)),
            *(SeriesKey(Metric.HEALTH_FACTOR, item.label, SOURCE) for item in self.accounts),
        )

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        try:
            market = await self._resolve(chain, block)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        held = await chain.read([self._a_token(market, item) for item in self.reserves], block=block)
        calls = [
            call
            for reserve, tokens in zip(self.reserves, held, strict=True)
            for call in _reserve_calls(market, reserve, tokens)
        ]
        calls += [POOL.call("getUserAccountData", market.pool, item.address) for item in self.accounts]
        found = iter(await chain.read(calls, block=block))
        result: list[Observation] = []
        for reserve, tokens in zip(self.reserves, held, strict=True):
            answers = [next(found) for _ in _reserve_calls(market, reserve, tokens)]
            result += self._reserve_rows(rows, reserve, tokens, answers)
        for account in self.accounts:
            key = SeriesKey(Metric.HEALTH_FACTOR, account.label, SOURCE)
            result.append(rows.row(key, self._health(account, next(found))))
        return result

    async def _resolve(self, chain: ChainReader, block: Block) -> _Market:
        at = self.addresses_provider
        pool, data = await chain.read(
            [PROVIDER.call("getPool", at), PROVIDER.call("getPoolDataProvider", at)], block=block
        )
        found = _Market(
            pool=need(pool, f"Aave {self.label} getPool of {at}")[0],
            data=need(data, f"Aave {self.label} getPoolDataProvider of {at}")[0],
        )
        if _NOBODY in (int(found.pool, 16), int(found.data, 16)):
            raise BadRead(f"Aave {self.label}: {at} names no pool or no data provider")
        return found

    def _a_token(self, market: _Market, reserve: LendingToken) -> Call:
        return DATA.call("getReserveTokensAddresses", market.data, reserve.address)

    def _reserve_rows(
        self,
        rows: Rows,
        reserve: LendingToken,
        tokens: tuple[Any, ...] | None,
        answers: list[tuple[Any, ...] | None],
    ) -> list[Observation]:
        keys = self._keys(reserve)
        try:
            values = self._reserve(reserve, tokens, answers)
        except BadRead as error:
            return rows.unknown(keys, str(error))
        return [rows.row(key, value) for key, value in zip(keys, values, strict=True)]

    def _reserve(
        self, reserve: LendingToken, tokens: tuple[Any, ...] | None, answers: list[tuple[Any, ...] | None]
    ) -> tuple[float | Unknown, ...]:
        what = f"Aave {self.label} {reserve.symbol}"
        a_token = need(tokens, f"{what} getReserveTokensAddresses")[0]
        if int(a_token, 16) == _NOBODY:
            raise BadRead(f"{what}: {reserve.address} is no reserve of this market")
        data, paused, balance, virtual, decimals = answers
        words = need(data, f"{what} getReserveData")
        _, _, _, stable, variable, supply_ray, borrow_ray, _, _, index, _, _ = words
        check_decimals(decimals, reserve.decimals, f"{what} at {reserve.address}")
        if index == 0:
            raise BadRead(f"{what}: the reserve has no index, it was never listed")
        rates = (
            plausible_apr(from_raw(supply_ray, _RAY_DECIMALS), self.highest_apr, f"{what} supply rate"),
            plausible_apr(from_raw(borrow_ray, _RAY_DECIMALS), self.highest_apr, f"{what} borrow rate"),
        )
        held_raw = need(balance, f"{what} balance of the aToken")[0]
        idle_raw = held_raw if virtual is None else min(held_raw, virtual[0])
        idle = plausible(idle_raw, reserve.decimals, f"{what} balance of the aToken")
        debt = plausible(stable + variable, reserve.decimals, f"{what} debt")
        is_paused = float(need(paused, f"{what} getPaused")[0])
        return (*rates, utilisation(debt, idle, what), idle, is_paused)

    def _health(self, account: Account, data: tuple[Any, ...] | None) -> float | Unknown:
        if data is None:
            return Unknown(f"Aave {self.label} getUserAccountData of {account.label} failed")
        collateral, debt, _, threshold, _, health = data
        if collateral == 0 and debt == 0:
            return Unknown(
                f"{account.address} has neither collateral nor debt in Aave {self.label}; check the address"
            )
        if (debt == 0) != (health == _UNLIMITED):
            return Unknown(f"Aave {self.label}: health {health} of {account.label} contradicts debt {debt}")
        if debt and not _is_quotient(health, collateral=collateral, threshold=threshold, debt=debt):
            return Unknown(
                f"Aave {self.label}: health {health} of {account.label} is not its collateral {collateral} "
                f"at {threshold} basis points over its debt {debt}"
            )
        return min(from_raw(health, WAD_DECIMALS), NO_DEBT)

    def _keys(self, reserve: LendingToken) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(metric, f"{self.label}/{reserve.symbol}", SOURCE) for metric in _METRICS)


def _is_quotient(health: int, *, collateral: int, threshold: int, debt: int) -> bool:
    """Say whether health is collateral x threshold / debt, as GenericLogic has it.

    The threshold is told in whole basis points, and newer pools divide before they round it.
    """
    backing = collateral * threshold // _BASIS_POINTS
    return abs(health * debt // _WAD - backing) <= backing // 100 + _ROUNDING


def _reserve_calls(market: _Market, reserve: LendingToken, tokens: tuple[Any, ...] | None) -> list[Call]:
    """Reads of one reserve; where it has no aToken they ask the asset itself, and are not used."""
    a_token = reserve.address if tokens is None else tokens[0]
    return [
        DATA.call("getReserveData", market.data, reserve.address),
        DATA.call("getPaused", market.data, reserve.address),
        ERC20.call("balanceOf", reserve.address, a_token),
        VIRTUAL.call("getVirtualUnderlyingBalance", market.data, reserve.address),
        ERC20.call("decimals", reserve.address),
    ]
