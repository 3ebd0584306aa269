"""New heads by polling. Polling is the truth: a head that was missed is listed, a reorg is proved."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bot.errors import ConfigError, StaleDataError, TransientError
from bot.model.market import Block

MAX_REORG = 20  # blocks that are followed back
_REMEMBERED = 2 * MAX_REORG


class HeadSource(Protocol):
    """What the follower needs of a chain."""

    async def head(self) -> Block: ...

    async def block(self, number: int) -> Block:
        """Return the canonical block of a height. Raises StaleDataError when there is none."""
        ...

    async def block_by_hash(self, block_hash: str) -> Block | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHead:
    """One new head and what lies between it and the one before."""

    block: Block
    skipped: tuple[int, ...] = ()  # heights that appeared between two polls and were not reported alone
    reorg_depth: int = 0  # blocks of the old chain that are gone; MAX_REORG + 1 means "or more"


class HeadFollower:
    """Yields each new head once, at most one per poll.

    The height never goes back unless the parents of the new head prove a reorg: a node that lags, or that
    answers from another chain whose parents cannot be had, is ignored until it catches up.
    """

    def __init__(
        self,
        source: HeadSource,
        *,
        poll_s: float,
        on_trouble: Callable[[TransientError | StaleDataError], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not poll_s > 0:
            raise ConfigError(f"poll interval must be > 0 s, was {poll_s}")
        self._source = source
        self._poll_s = poll_s
        self._on_trouble = on_trouble
        self._sleep = sleep
        self._last: Block | None = None
        self._hashes: OrderedDict[int, str] = OrderedDict()  # height -> hash of our chain, oldest first

    async def heads(self) -> AsyncIterator[Block]:
        """Yield new heads for ever."""
        async for event in self.events():
            yield event.block

    async def events(self) -> AsyncIterator[NewHead]:
        """Yield new heads with gaps and reorgs for ever; a failed poll goes to ``on_trouble``."""
        while True:
            try:
                event = await self.poll()
            except (TransientError, StaleDataError) as error:
                event = None
                self._on_trouble(error)
            if event is not None:
                yield event
            await self._sleep(self._poll_s)

    async def poll(self) -> NewHead | None:
        """Ask once. Returns None when there is nothing new. Raises TransientError, StaleDataError."""
        head = await self._source.head()
        last = self._last
        if last is None:
            self._take(head, await self._parents(head))
            return NewHead(block=head)
        if self._hashes.get(head.number) == head.hash:
            return None  # the head we have, or a node that lags behind it
        depth, between = await self._link(head, last)
        self._take(head, between)
        first_new = last.number + 1 - min(depth, MAX_REORG)
        return NewHead(block=head, skipped=tuple(range(first_new, head.number)), reorg_depth=depth)

    async def _link(self, head: Block, last: Block) -> tuple[int, list[Block]]:
        """Walk from ``head`` by parent hashes to a block of ours; return (reorg depth, blocks between)."""
        cursor = head
        between: list[Block] = []
        if head.number - last.number > MAX_REORG:  # a long pause: look where our chain ended
            between = await self._parents(head)
            cursor = await self._source.block(last.number)
            if cursor.hash == last.hash:
                return 0, between
            between.append(cursor)
        while cursor.number > max(last.number - MAX_REORG, 0):
            if self._hashes.get(cursor.number - 1) == cursor.parent_hash:
                return max(last.number - cursor.number + 1, 0), between
            cursor = await self._parent(cursor)
            between.append(cursor)
        if head.number <= last.number:
            raise StaleDataError(
                f"head went back from {last.number} to {head.number} and no reorg of up to {MAX_REORG} "
                "blocks explains it; the node lags or is on another chain"
            )
        return MAX_REORG + 1, between

    async def _parents(self, head: Block) -> list[Block]:
        """Return up to MAX_REORG ancestors, newest first, so that a reorg of them is seen exactly."""
        found: list[Block] = []
        cursor = head
        while cursor.number > 0 and len(found) < MAX_REORG:
            cursor = await self._parent(cursor)
            found.append(cursor)
        return found

    async def _parent(self, block: Block) -> Block:
        parent = await self._source.block_by_hash(block.parent_hash)
        if parent is None or parent.number != block.number - 1:
            raise StaleDataError(f"the parent {block.parent_hash} of block {block.number} is not to be had")
        return parent

    def _take(self, head: Block, between: list[Block]) -> None:
        chain = [*reversed(between), head]
        for height in [height for height in self._hashes if height >= chain[0].number]:
            del self._hashes[height]
        self._hashes.update((block.number, block.hash) for block in chain)
        while len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)
        self._last = head
