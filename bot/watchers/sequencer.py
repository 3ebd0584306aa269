"""L2 sequencer uptime (R2 HOLD, REL-R12), from a feed with Chainlink's interface.

The feed answers 0 while the sequencer is up and 1 while it is down; ``startedAt`` is when that began, and 0
on Arbitrum while the feed was never written (docs.chain.link/data-feeds/l2-sequencer-feeds). After an outage
prices and liquidations catch up first, so it counts as up only once it has been up for the grace period.
"""

from dataclasses import dataclass
from typing import Any

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.chainlink import FEED
from bot.watchers.rows import BadRead, Rows, need

SOURCE = "sequencer"
_UP, _DOWN = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencerWatcher:
    """Watches one chain's sequencer: 1 up for longer than ``grace_s``, 0 down or up for less."""

    chain_id: int
    feed: Address
    grace_s: float = 3_600.0

    def __post_init__(self) -> None:
        if not self.grace_s >= 0:
            raise ConfigError(f"sequencer of {self.chain_id}: grace_s must be >= 0, was {self.grace_s}")

    @property
    def name(self) -> str:
        return f"sequencer {self.chain_id}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.SEQUENCER_UP, str(self.chain_id), SOURCE),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        (latest,) = await chain.read([FEED.call("latestRoundData", self.feed)], block=block)
        try:
            is_up = self._is_up(latest, block)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], float(is_up))]

    def _is_up(self, latest: tuple[Any, ...] | None, block: Block) -> bool:
        what = f"sequencer feed {self.feed}"
        if block.chain_id != self.chain_id:
            raise BadRead(f"{what} is configured for chain {self.chain_id}, read on {block.chain_id}")
        _, answer, started_at_s, _, _ = need(latest, f"{what} latestRoundData")
        if answer not in (_UP, _DOWN):
            raise BadRead(f"{what} answers {answer}, allowed are 0 (up) and 1 (down)")
        if not 0 < started_at_s <= block.timestamp_s:
            raise BadRead(f"{what} changed at {started_at_s}, the block is of {block.timestamp_s}")
        return bool(answer == _UP and block.timestamp_s - started_at_s > self.grace_s)
