"""Funding of a Synthetix v3 perpetual market (S10).

``currentFundingRate`` is a fraction of notional a day with 18 decimals and grows while longs outweigh shorts,
who are then paid by them (PerpsMarket.sol; unrecordedFunding takes it with a minus sign). The two views read
no price, so they do not revert with OracleDataRequired as ``getMarketSummary`` does.
"""

from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.model.units import WAD_DECIMALS, YEAR_DAYS
from bot.ports import ChainReader
from bot.watchers.pools import from_raw
from bot.watchers.rows import BadRead, Rows, need

PERPS = Abi.load("PerpsMarketProxy")
SOURCE = "synthetix_v3"


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthetixV3Watcher:
    """Watches the funding rate of one market, as a fraction a year.

    The proxy answers 0 for a market that does not exist, so the market's ``symbol`` is checked; a market in
    which nobody has a position funds nothing and is unknown.
    """

    underlying: str
    perps_market: Address
    market_id: int
    symbol: str  # as the market calls itself
    highest_apr: float = 50.0

    def __post_init__(self) -> None:
        if not self.symbol or self.market_id < 0:
            raise ConfigError(
                f"Synthetix v3 {self.underlying}: symbol and a market_id >= 0 are needed, "
                f"were {self.symbol!r} and {self.market_id}"
            )
        if not self.highest_apr > 0:
            raise ConfigError(f"Synthetix v3 {self.underlying}: highest_apr must be > 0")

    @property
    def name(self) -> str:
        return f"synthetix_v3 {self.underlying}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.FUNDING_APR, self.underlying, SOURCE),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        names = ("metadata", "size", "currentFundingRate")
        calls = [PERPS.call(name, self.perps_market, self.market_id) for name in names]
        results = await chain.read(calls, block=block)
        try:
            apr = self._apr(*results)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], apr)]

    def _apr(
        self, names: tuple[Any, ...] | None, size: tuple[Any, ...] | None, rate: tuple[Any, ...] | None
    ) -> float:
        what = f"Synthetix v3 market {self.market_id}"
        _, symbol = need(names, f"{what} metadata of {self.perps_market}")
        if symbol != self.symbol:
            raise BadRead(f"{what} calls itself {symbol[:32]!r}, configured is {self.symbol!r}")
        if need(size, f"{what} size")[0] == 0:
            raise BadRead(f"{what}: nobody holds a position, so nothing is funded")
        apr = from_raw(need(rate, f"{what} currentFundingRate")[0], WAD_DECIMALS) * YEAR_DAYS
        if not abs(apr) <= self.highest_apr:
            raise BadRead(f"{what} funds at {apr:.4g} a year, allowed is up to {self.highest_apr:g}")
        return apr
