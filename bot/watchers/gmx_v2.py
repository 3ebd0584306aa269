"""Funding of a GMX v2 market (S10), from the DataStore alone, so that no price must be supplied.

With adaptive funding (``fundingIncreaseFactorPerSecond`` > 0) a market saves its funding factor, a fraction
of the paying side's open interest a second with 30 decimals; positive means longs pay (MarketUtils.sol,
getNextFundingFactorPerSecond). It is charged within the market's bounds, and moves on with the next trade.
A market without adaptive funding saves 0 whatever it charges, so it is unknown here.
"""

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.model.units import YEAR_S
from bot.ports import Call, ChainReader
from bot.watchers.pools import from_raw
from bot.watchers.rows import BadRead, Rows, need

STORE = Abi.load("DataStore")
SOURCE = "gmx_v2"
_FLOAT_DECIMALS = 30
_SIDES = (True, False)  # isLong


@dataclass(frozen=True, slots=True, kw_only=True)
class GmxV2Watcher:
    """Watches the funding rate of one market, as a fraction a year of what the paying side holds.

    Borrowing fees, which both sides pay to the pool, are not in it.
    """

    underlying: str
    data_store: Address
    market: Address
    highest_apr: float = 50.0

    def __post_init__(self) -> None:
        if not self.highest_apr > 0:
            raise ConfigError(f"GMX v2 {self.underlying}: highest_apr must be > 0")

    @property
    def name(self) -> str:
        return f"gmx_v2 {self.underlying}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.FUNDING_APR, self.underlying, SOURCE),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        try:
            await self._check_open(chain, block)
            apr = self._apr(*await chain.read(self._rate_calls(), block=block))
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], apr)]

    async def _check_open(self, chain: ChainReader, block: Block) -> None:
        """Raise BadRead unless the market is listed, enabled, and both sides hold positions."""
        what = f"GMX market {self.market}"
        calls = [
            STORE.call("containsAddress", self.data_store, key("MARKET_LIST"), self.market),
            self._get("getBool", "IS_MARKET_DISABLED"),
            *(
                STORE.call("getAddress", self.data_store, token_key(self.market, name))
                for name in ("LONG_TOKEN", "SHORT_TOKEN")
            ),
        ]
        listed, disabled, *tokens = await chain.read(calls, block=block)
        if not need(listed, f"{what}: DataStore {self.data_store}")[0]:
            raise BadRead(f"{what} is not listed in DataStore {self.data_store}")
        if need(disabled, f"{what} IS_MARKET_DISABLED")[0]:
            raise BadRead(f"{what} is disabled")
        collaterals = [need(token, f"{what} tokens")[0] for token in tokens]
        calls = [
            STORE.call(
                "getUint", self.data_store, key("OPEN_INTEREST", self.market, collateral, is_long=side)
            )
            for side in _SIDES
            for collateral in collaterals
        ]
        held = [need(item, f"{what} open interest")[0] for item in await chain.read(calls, block=block)]
        if not any(held[:2]) or not any(held[2:]):
            raise BadRead(f"{what}: one side holds nothing, so nothing is funded")

    def _rate_calls(self) -> list[Call]:
        return [
            self._get("getInt", "SAVED_FUNDING_FACTOR_PER_SECOND"),
            self._get("getUint", "FUNDING_INCREASE_FACTOR_PER_SECOND"),
            self._get("getUint", "MIN_FUNDING_FACTOR_PER_SECOND"),
            self._get("getUint", "MAX_FUNDING_FACTOR_PER_SECOND"),
        ]

    def _apr(self, *results: tuple[Any, ...] | None) -> float:
        what = f"GMX market {self.market}"
        saved, increase, least, most = (need(item, f"{what} funding factors")[0] for item in results)
        if increase == 0:
            raise BadRead(f"{what} does not use adaptive funding, its rate is not in the DataStore")
        if not least <= most:
            raise BadRead(f"{what} funds between {least} and {most}, which is no range")
        charged = min(max(abs(saved), least), most) * (-1 if saved < 0 else 1)
        apr = from_raw(charged * YEAR_S, _FLOAT_DECIMALS)
        if not abs(apr) <= self.highest_apr:
            raise BadRead(f"{what} funds at {apr:.4g} a year, allowed is up to {self.highest_apr:g}")
        return apr

    def _get(self, function: str, name: str) -> Call:
        return STORE.call(function, self.data_store, key(name, self.market))


def key(name: str, *addresses: str, is_long: bool | None = None) -> bytes:
    """Return a key of Keys.sol: keccak(abi.encode(keccak(abi.encode(name)), addresses, isLong))."""
    root = keccak(encode(["string"], [name]))
    if not addresses:
        return root
    kinds = ["bytes32", *("address" for _ in addresses)]
    values: list[Any] = [root, *addresses]
    if is_long is not None:
        kinds.append("bool")
        values.append(is_long)
    return keccak(encode(kinds, values))


def token_key(market: str, name: str) -> bytes:
    """Return a key of MarketStoreUtils.sol: keccak(abi.encode(market, keccak(abi.encode(name))))."""
    return keccak(encode(["address", "bytes32"], [market, key(name)]))
