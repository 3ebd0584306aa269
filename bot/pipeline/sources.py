"""Where moments come from when a chain is watched."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from bot.errors import NotFoundError, StaleDataError, TransientError
from bot.model.exposure import Exposure
from bot.model.market import Block, Observation
from bot.model.units import MINUTE_S
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

    async def moments(self, heads: AsyncIterator[Block], *, after_s: float) -> AsyncIterator[Moment]:
        """Yield a moment per head later than ``after_s``; a head that could not be read is skipped."""
        async for block in heads:
            now_s = self.clock(block)
            if now_s <= after_s:
                continue
            try:
                moment = await self.cut(block, now_s=now_s)
            except StaleDataError:
                continue  # the block was reorganised away while it was read; the next head replaces it
            after_s = now_s
            yield moment

    async def cut(self, block: Block, *, now_s: float) -> Moment:
        """Read everything at one block, add it to the history, and return the moment.

        Raises StaleDataError when the block is no longer canonical.
        """
        rows, (exposures, holds) = await asyncio.gather(
            self._observe(block, now_s), self._read_positions(block)
        )
        self.history.append(rows)
        skew_s = abs(now_s - block.timestamp_s)
        if skew_s > MAX_CLOCK_SKEW_S:
            holds.append(
                f"chain {block.chain_id} is {skew_s:.0f} s off our clock, allowed {MAX_CLOCK_SKEW_S} s"
            )
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
        exposures: list[Exposure] = []
        holds: list[str] = []
        for reader in self.positions:
            try:
                exposures.extend(await reader.read(self.chain, block=block))
            except (TransientError, NotFoundError) as error:
                # An exposure that cannot be read is not an exposure of zero.
                holds.append(f"a position could not be read: {error}")
        return tuple(exposures), holds
