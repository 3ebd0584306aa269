"""Where moments come from when a chain is watched."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from bot.errors import BotError, ConfigError, NotFoundError, StaleDataError, TransientError
from bot.model.exposure import Exposure
from bot.model.market import Block, Observation
from bot.model.units import MINUTE_S, iso_utc
from bot.pipeline.history import History
from bot.pipeline.loop import Moment
from bot.ports import ChainReader, PositionReader, Watcher

MAX_CLOCK_SKEW_S = MINUTE_S  # design.md: a skew over 60 s is HOLD


def chain_clock(block: Block) -> float:
    """Return chain time: on a devnet and in simulation time moves only with blocks."""
    return float(block.timestamp_s)


@dataclass(slots=True, kw_only=True)
class LiveSource:
    """Cuts one moment per block: all watchers and positions read at that block's hash."""

    chain: ChainReader
    watchers: Sequence[Watcher]
    positions: Sequence[PositionReader]
    history: History
    clock: Callable[[Block], float]
    on_trouble: Callable[[BotError], None] = lambda _: None
    _seen: dict[int, tuple[Exposure, ...]] = field(default_factory=dict, init=False)  # by reader

    async def moments(self, heads: AsyncIterator[Block], *, after_s: float) -> AsyncIterator[Moment]:
        """Yield a moment per head later than ``after_s``; a head that could not be read is skipped.

        Raises ConfigError when the chain is behind ``after_s``, the time of the journal's last step.
        """
        async for block in heads:
            now_s, hold = self._time_of(block)
            if now_s < after_s - MAX_CLOCK_SKEW_S:
                raise ConfigError(
                    f"the journal's last step is of {iso_utc(after_s)}, chain {block.chain_id} is at "
                    f"{iso_utc(now_s)}: it is the journal of another chain; name another state_dir"
                )
            if now_s <= after_s:
                continue
            try:
                moment = await self.cut(block, now_s=now_s)
            except StaleDataError as error:
                self.on_trouble(error)
                continue  # the block was reorganised away while it was read; the next head replaces it
            after_s = now_s
            yield replace(moment, holds=(*hold, *moment.holds))

    def _time_of(self, block: Block) -> tuple[float, tuple[str, ...]]:
        """Return the time of a moment. With a clock that is off, it is the chain's, and nothing is opened.

        A step must never be recorded at a time that the chain has not reached: none could follow it.
        """
        now_s = self.clock(block)
        skew_s = now_s - block.timestamp_s
        if abs(skew_s) <= MAX_CLOCK_SKEW_S:
            return now_s, ()
        why = f"chain {block.chain_id} is {skew_s:.0f} s behind our clock, allowed {MAX_CLOCK_SKEW_S} s"
        return float(block.timestamp_s), (why,)

    async def cut(self, block: Block, *, now_s: float) -> Moment:
        """Read everything at one block, add it to the history, and return the moment.

        Raises StaleDataError when the block is no longer canonical.
        """
        rows, (exposures, holds) = await asyncio.gather(
            self._observe(block, now_s), self._read_positions(block)
        )
        self.history.append(rows)
        return Moment(
            now_s=now_s,
            blocks={block.chain_id: block},
            columns=self.history.columns(until_s=now_s),
            exposures=exposures,
            holds=tuple(holds),
        )

    async def _observe(self, block: Block, now_s: float) -> list[Observation]:
        batches = await asyncio.gather(*(self._watch(watcher, block, now_s) for watcher in self.watchers))
        return [item for batch in batches for item in batch]

    async def _watch(self, watcher: Watcher, block: Block, now_s: float) -> list[Observation]:
        """One failing watcher never stops the others: its series become unknown, with the reason."""
        try:
            return await watcher.read(self.chain, block=block, read_at_s=now_s)
        except TransientError as error:
            return [
                Observation(
                    metric=key.metric,
                    subject=key.subject,
                    source=key.source,
                    value=math.nan,
                    observed_at_s=float(block.timestamp_s),
                    read_at_s=now_s,
                    block_number=block.number,
                    why_unknown=f"{watcher.name}: {error}",
                )
                for key in watcher.series
            ]

    async def _read_positions(self, block: Block) -> tuple[tuple[Exposure, ...], list[str]]:
        """Read all positions. One that cannot be read stands as it was last seen, and nothing is opened.

        An exposure that cannot be read is not an exposure of zero: its hedges must not be sold.
        """
        exposures: list[Exposure] = []
        holds: list[str] = []
        for number, reader in enumerate(self.positions):
            try:
                self._seen[number] = await reader.read(self.chain, block=block)
            except (TransientError, NotFoundError) as error:
                holds.append(f"a position could not be read: {error}")
            exposures.extend(self._seen.get(number, ()))
        return tuple(exposures), holds
