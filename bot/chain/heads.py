"""New heads by polling. Polling is the truth: a head that was missed is listed, a reorg is proved.

What was final must stay: a reorg below the chain's ``finalized`` block halts the follower until a person
releases it (REL-C6).
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.chain.replies import hash_text, quantity
from bot.chain.rpc import Node, RpcError
from bot.errors import ConfigError, InvariantError, StaleDataError, TransientError
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


class Wake(Protocol):
    """Something that may know of a new head before the next poll. Only ever a hint."""

    async def wait(self, timeout_s: float) -> bool:
        """Return true as soon as there may be a new head, false after ``timeout_s``."""
        ...


class FinalityError(InvariantError):
    """A block that the chain had called final is no longer part of it. A person must look and release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalBlock:
    """The newest block that the chain calls final."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHead:
    """One new head and what lies between it and the one before."""

    block: Block
    skipped: range = range(0)  # heights that appeared between two polls and were not reported alone
    reorg_depth: int = 0  # blocks of the old chain that are gone; MAX_REORG + 1 means "or more"

    @property
    def gap(self) -> tuple[int, int] | None:
        """First and last height that were never a head here, both included; None when there is none."""
        return (self.skipped[0], self.skipped[-1]) if self.skipped else None


def final_block_of(node: Node) -> Callable[[], Awaitable[FinalBlock | None]]:
    """Return a reader of the ``finalized`` tag, which yields None where the node does not know it."""

    async def read() -> FinalBlock | None:
        try:
            raw = await node.read("eth_getBlockByNumber", ["finalized", False])
        except RpcError:
            return None
        if raw is None:
            return None
        return FinalBlock(number=quantity(raw["number"]), hash=hash_text(raw["hash"]))

    return read


class HeadFollower:
    """Yields each new head once, at most one per poll.

    The height never goes back unless the parents of the new head prove a reorg: a node that lags, or that
    answers from another chain whose parents cannot be had, is ignored until it catches up.

    ``known`` are consecutive blocks, oldest first, that an earlier run saw last: what came since is then
    listed as skipped and not passed over. ``wake`` ends a wait early, at most once in ``wake_gap_s``;
    nothing is believed of it.
    """

    def __init__(
        self,
        source: HeadSource,
        *,
        poll_s: float,
        on_trouble: Callable[[TransientError | StaleDataError], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wake: Wake | None = None,
        wake_gap_s: float = 0.0,
        final: Callable[[], Awaitable[FinalBlock | None]] | None = None,
        known: Sequence[Block] = (),
    ) -> None:
        if not poll_s > 0:
            raise ConfigError(f"poll interval must be > 0 s, was {poll_s}")
        self._source = source
        self._poll_s = poll_s
        self._on_trouble = on_trouble
        self._sleep = sleep
        self._wake = wake
        self._wake_gap_s = min(wake_gap_s, poll_s)
        self._read_final = final
        self._final: FinalBlock | None = None
        self._violation = ""
        self._last: Block | None = None
        self._hashes: OrderedDict[int, str] = OrderedDict()  # height -> hash of our chain, oldest first
        if known:
            self._take(known[-1], list(reversed(known[:-1])))

    async def heads(self) -> AsyncIterator[Block]:
        """Yield new heads for ever."""
        async for event in self.events():
            yield event.block

    async def events(self) -> AsyncIterator[NewHead]:
        """Yield new heads with gaps and reorgs for ever; a failed poll goes to ``on_trouble``.

        Raises FinalityError when a final block is gone.
        """
        while True:
            try:
                event = await self.poll()
            except (TransientError, StaleDataError) as error:
                event = None
                self._on_trouble(error)
            if event is not None:
                yield event
                await self._keep_final()
            await self._pause()

    async def _pause(self) -> None:
        if self._wake is None:
            await self._sleep(self._poll_s)
        else:
            if self._wake_gap_s > 0.0:
                await self._sleep(self._wake_gap_s)
            await self._wake.wait(self._poll_s - self._wake_gap_s)

    async def _keep_final(self) -> None:
        """Note what is final now, after the head was worked on and not before: it costs a call."""
        try:
            await self.note_final()
        except (TransientError, StaleDataError) as error:
            self._on_trouble(error)

    async def note_final(self) -> None:
        """Ask what is final now. Raises FinalityError when what was final no longer is."""
        if self._read_final is None:
            return
        found = await self._read_final()
        if found is None or (self._final is not None and found.number < self._final.number):
            return  # a node that lags
        if found != self._final:
            await self._check_final()
            self._final = found

    def release(self) -> None:
        """Go on after a FinalityError: for a person who has looked at what happened."""
        self._violation = ""
        self._final = None

    async def _check_final(self) -> None:
        """Raise FinalityError when the final block that we know is not on the chain any more."""
        final = self._final
        if final is None:
            return
        there = await self._source.block(final.number)
        if there.hash != final.hash:
            self._violation = (
                f"block {final.number} {final.hash} was final and has been replaced by {there.hash}; nothing "
                "that rests on this chain can be trusted until a person has looked and released it"
            )
            raise FinalityError(self._violation)

    async def poll(self) -> NewHead | None:
        """Ask once. Returns None when there is nothing new.

        Raises TransientError, StaleDataError, and FinalityError from the breach until :meth:`release`.
        """
        if self._violation:
            raise FinalityError(self._violation)
        head = await self._source.head()
        last = self._last
        if last is None:
            self._take(head, await self._parents(head))
            return NewHead(block=head)
        if self._hashes.get(head.number) == head.hash:
            return None  # the head we have, or a node that lags behind it
        depth, between = await self._link(head, last)
        if depth:
            await self._check_final()
        self._take(head, between)
        first_new = last.number + 1 - min(depth, MAX_REORG)
        return NewHead(block=head, skipped=range(first_new, head.number), reorg_depth=depth)

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
        heights = range(head.number - 1, max(head.number - MAX_REORG, 0) - 1, -1)
        found = await asyncio.gather(*(self._source.block(height) for height in heights))
        for block, child in zip(found, (head, *found), strict=False):
            if block.hash != child.parent_hash:
                raise StaleDataError(
                    f"block {block.number} {block.hash} is not the parent of block {child.number}: the chain "
                    "changed while it was read"
                )
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
