"""Chainlink-interface feeds (AggregatorV3Interface): prices in USD, and rates of one token in another."""

from dataclasses import dataclass

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.pools import from_raw
from bot.watchers.rows import BadRead, Rows, need

FEED = Abi.load("AggregatorV3Interface")
LATE = 1.1  # a round may come this much later than the heartbeat before it counts as stale


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """What a feed must answer; bounds are in the feed's own unit."""

    label: str
    address: str
    heartbeat_s: float
    decimals: int
    lowest: float
    highest: float

    def check_settings(self) -> None:
        if not self.heartbeat_s > 0:
            raise ConfigError(f"feed {self.label}: heartbeat_s must be > 0, was {self.heartbeat_s}")
        if not 0 <= self.lowest < self.highest:
            raise ConfigError(
                f"feed {self.label}: bounds must satisfy 0 <= lowest < highest, "
                f"were {self.lowest} and {self.highest}"
            )

    async def read(self, chain: ChainReader, block: Block) -> float:
        """Return what the feed answers now. Raises BadRead."""
        calls = [FEED.call("latestRoundData", self.address), FEED.call("decimals", self.address)]
        latest, decimals = await chain.read(calls, block=block)
        round_id, answer, _, updated_at_s, _ = need(
            latest, f"feed {self.label} latestRoundData at {self.address}"
        )
        (found_decimals,) = need(decimals, f"feed {self.label} decimals")
        if found_decimals != self.decimals:
            raise BadRead(f"feed {self.label} has {found_decimals} decimals, configured are {self.decimals}")
        self._check_age(round_id, updated_at_s, now_s=block.timestamp_s)
        value = from_raw(answer, self.decimals)
        if not self.lowest < value < self.highest:
            raise BadRead(f"feed {self.label} answers {value}, allowed is {self.lowest}..{self.highest}")
        return value

    def _check_age(self, round_id: int, updated_at_s: int, *, now_s: int) -> None:
        age_s = now_s - updated_at_s
        if round_id == 0 or updated_at_s == 0 or age_s < 0:
            raise BadRead(f"feed {self.label}: round {round_id} updated at {updated_at_s}, now {now_s:.0f}")
        if age_s > self.heartbeat_s * LATE:
            raise BadRead(
                f"feed {self.label} is stale: {age_s:.0f} s old, heartbeat {self.heartbeat_s:.0f} s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainlinkWatcher:
    """Watches one feed in USD.

    The observation carries the block's time: within its heartbeat the feed vouches for its answer now. An
    answer at or outside ``lowest_usd``..``highest_usd`` is refused, since feeds stick at their own bounds.
    """

    label: str  # "ETH/USD"
    underlying: str
    address: Address
    heartbeat_s: float
    decimals: int = 8
    lowest_usd: float = 0.0
    highest_usd: float = 1e12

    def __post_init__(self) -> None:
        self._feed.check_settings()

    @property
    def _feed(self) -> _Feed:
        return _Feed(
            label=self.label,
            address=self.address,
            heartbeat_s=self.heartbeat_s,
            decimals=self.decimals,
            lowest=self.lowest_usd,
            highest=self.highest_usd,
        )

    @property
    def name(self) -> str:
        return f"chainlink {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.PRICE_USD, self.underlying, f"chainlink:{self.label}"),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        return await _observe(self._feed, self.series, chain, block=block, read_at_s=read_at_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainlinkRateWatcher:
    """Watches one feed of a token in another, such as stETH/ETH: the market's rate, not the issuer's."""

    label: str  # "stETH/ETH"
    token: str
    unit: str
    address: Address
    heartbeat_s: float
    decimals: int = 18
    lowest: float = 0.0
    highest: float = 1e12

    def __post_init__(self) -> None:
        self._feed.check_settings()

    @property
    def _feed(self) -> _Feed:
        return _Feed(
            label=self.label,
            address=self.address,
            heartbeat_s=self.heartbeat_s,
            decimals=self.decimals,
            lowest=self.lowest,
            highest=self.highest,
        )

    @property
    def name(self) -> str:
        return f"chainlink_rate {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        subject = f"{self.token}/{self.unit}"
        return (SeriesKey(Metric.EXCHANGE_RATE, subject, f"chainlink:{self.label}"),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        return await _observe(self._feed, self.series, chain, block=block, read_at_s=read_at_s)


async def _observe(
    feed: _Feed, series: tuple[SeriesKey, ...], chain: ChainReader, *, block: Block, read_at_s: float
) -> list[Observation]:
    rows = Rows(block=block, read_at_s=read_at_s)
    try:
        return [rows.row(series[0], await feed.read(chain, block))]
    except BadRead as error:
        return rows.unknown(series, str(error))
