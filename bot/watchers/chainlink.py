"""Chainlink-interface price feed (AggregatorV3Interface)."""

from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.pools import from_raw
from bot.watchers.rows import BadRead, Rows, need

FEED = Abi.load("AggregatorV3Interface")
LATE = 1.1  # a round may come this much later than the heartbeat before it counts as stale


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainlinkWatcher:
    """Watches one feed in USD.

    The observation carries the block's time: within its heartbeat the feed vouches for its answer now. An
    answer at or outside ``lowest_usd``..``highest_usd`` is refused, since feeds stick at their own bounds.
    """

    label: str  # "ETH/USD"
    underlying: str
    address: str
    heartbeat_s: float
    decimals: int = 8
    lowest_usd: float = 0.0
    highest_usd: float = 1e12

    def __post_init__(self) -> None:
        if not self.heartbeat_s > 0:
            raise ConfigError(f"feed {self.label}: heartbeat_s must be > 0, was {self.heartbeat_s}")
        if not 0 <= self.lowest_usd < self.highest_usd:
            raise ConfigError(
                f"feed {self.label}: bounds must satisfy 0 <= lowest_usd < highest_usd, "
                f"were {self.lowest_usd} and {self.highest_usd}"
            )

    @property
    def name(self) -> str:
        return f"chainlink {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.PRICE_USD, self.underlying, f"chainlink:{self.label}"),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        calls = [FEED.call("latestRoundData", self.address), FEED.call("decimals", self.address)]
        answer, decimals = await chain.read(calls, block=block)
        try:
            price = self._price(answer, decimals, now_s=block.timestamp_s)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], price)]

    def _price(
        self, latest: tuple[Any, ...] | None, decimals: tuple[Any, ...] | None, *, now_s: float
    ) -> float:
        round_id, answer, _, updated_at_s, _ = need(
            latest, f"feed {self.label} latestRoundData at {self.address}"
        )
        (found_decimals,) = need(decimals, f"feed {self.label} decimals")
        if found_decimals != self.decimals:
            raise BadRead(f"feed {self.label} has {found_decimals} decimals, configured are {self.decimals}")
        age_s = now_s - updated_at_s
        if round_id == 0 or updated_at_s == 0 or age_s < 0:
            raise BadRead(f"feed {self.label}: round {round_id} updated at {updated_at_s}, now {now_s:.0f}")
        if age_s > self.heartbeat_s * LATE:
            raise BadRead(
                f"feed {self.label} is stale: {age_s:.0f} s old, heartbeat {self.heartbeat_s:.0f} s"
            )
        price = from_raw(answer, self.decimals)
        if not self.lowest_usd < price < self.highest_usd:
            raise BadRead(
                f"feed {self.label} answers {price}, allowed is {self.lowest_usd}..{self.highest_usd}"
            )
        return price
