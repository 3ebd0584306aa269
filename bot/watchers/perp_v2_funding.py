"""Funding of a Perp v2 (curie) market (S10).

A day's funding is (market TWAP - index TWAP) / index, held within the configured maximum (Exchange.sol,
_getDeltaTwapX96). A long pays it when it is positive.
"""

from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.model.units import DAY_S, WAD_DECIMALS, YEAR_S
from bot.ports import ChainReader
from bot.watchers.pools import from_raw
from bot.watchers.rows import BadRead, Rows, need

EXCHANGE = Abi.load("Exchange")
BASE_TOKEN = Abi.load("BaseToken")
CONFIG = Abi.load("ClearingHouseConfig")
SOURCE = "perp_v2"
_RATIO_ONE = 1_000_000  # ratios of curie have 6 decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpV2FundingWatcher:
    """Watches the funding rate of one market, as a fraction a year."""

    underlying: str
    exchange: Address
    base_token: Address
    config: Address
    twap_s: int = 900
    highest_apr: float = 50.0

    def __post_init__(self) -> None:
        if self.twap_s < 1 or not self.highest_apr > 0:
            raise ConfigError(
                f"Perp v2 {self.underlying}: twap_s must be >= 1 and highest_apr > 0, "
                f"were {self.twap_s} and {self.highest_apr}"
            )

    @property
    def name(self) -> str:
        return f"perp_v2 {self.underlying}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.FUNDING_APR, self.underlying, SOURCE),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        calls = [
            EXCHANGE.call("getSqrtMarketTwapX96", self.exchange, self.base_token, self.twap_s),
            BASE_TOKEN.call("getIndexPrice", self.base_token, self.twap_s),
            CONFIG.call("getMaxFundingRate", self.config),
            CONFIG.call("getTwapInterval", self.config),
            BASE_TOKEN.call("isOpen", self.base_token),
        ]
        results = await chain.read(calls, block=block)
        try:
            apr = self._apr(*results)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], apr)]

    def _apr(
        self,
        market: tuple[Any, ...] | None,
        index: tuple[Any, ...] | None,
        most: tuple[Any, ...] | None,
        interval: tuple[Any, ...] | None,
        is_open: tuple[Any, ...] | None,
    ) -> float:
        if not need(is_open, f"base token {self.base_token} isOpen")[0]:
            raise BadRead(f"the Perp v2 market of {self.base_token} is paused or closed")
        (found_s,) = need(interval, f"Perp v2 config {self.config} getTwapInterval")
        if found_s != self.twap_s:
            raise BadRead(f"Perp v2 funds on a TWAP of {found_s} s, configured is {self.twap_s} s")
        (sqrt_market,) = need(
            market, f"market TWAP of {self.base_token} ({self.twap_s} s; a young pool does not remember it)"
        )
        index_price = from_raw(need(index, f"index price of {self.base_token}")[0], WAD_DECIMALS)
        market_price = (sqrt_market / 2**96) ** 2  # base and quote both have 18 decimals
        if index_price <= 0 or market_price <= 0:
            raise BadRead(f"Perp v2 prices must be > 0, were market {market_price}, index {index_price}")
        limit = need(most, f"Perp v2 config {self.config} getMaxFundingRate")[0] / _RATIO_ONE
        day_rate = (market_price - index_price) / index_price
        apr = float(min(max(day_rate, -limit), limit) * YEAR_S / DAY_S)
        if not abs(apr) <= self.highest_apr:
            raise BadRead(f"Perp v2 funds at {apr:.4g} a year, allowed is up to {self.highest_apr:g}")
        return apr
