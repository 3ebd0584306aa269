"""Events of contracts since they were deployed: those that are old enough never to change are kept."""

from collections.abc import Sequence

from bot.model.market import Block
from bot.ports import BlockLog, ChainReader


class KeptLogs:
    """All logs of one kind; only what is new since the last look is asked of the chain."""

    def __init__(
        self,
        reader: ChainReader,
        *,
        addresses: Sequence[str],
        topics: Sequence[Sequence[str]],
        from_block: int,
        rescan_blocks: int,
    ) -> None:
        """The newest ``rescan_blocks`` are read again each time, in case they were reorganised."""
        self._reader, self._addresses, self._topics = reader, addresses, topics
        self._from_block, self._rescan_blocks = from_block, rescan_blocks
        self._kept: list[BlockLog] = []
        self._kept_to = from_block - 1

    async def until(self, block: Block) -> list[BlockLog]:
        """Return every log up to a block, in order. Raises TransientError, StaleDataError."""
        if block.number < self._kept_to:  # an earlier block is looked at: nothing that came after it counts
            self._kept, self._kept_to = [], self._from_block - 1
        found = await self._reader.logs(
            addresses=self._addresses, topics=self._topics, from_block=self._kept_to + 1, to=block
        )
        every = [*self._kept, *found]
        settled = block.number - self._rescan_blocks
        if settled > self._kept_to:
            self._kept = [item for item in every if item.block_number <= settled]
            self._kept_to = settled
        return every
