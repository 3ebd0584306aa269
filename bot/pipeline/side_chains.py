"""Chains beside the home chain: read at their own heads, joined at the newest one not after a moment."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

from bot.chain.heads import NewHead
from bot.errors import BotError, ConfigError, StaleDataError, TransientError
from bot.model.market import Block
from bot.model.units import iso_utc
from bot.pipeline.backfill import DatedChain
from bot.pipeline.cadence import ChainObserver, Observed
from bot.pipeline.gaps import Gap, HeadLog
from bot.pipeline.history import History

_READ_KEPT = 64  # heads; a home chain whose clock is behind is joined at an older one


class Link(NamedTuple):
    """A connection to one chain."""

    chain: DatedChain
    events: AsyncIterator[NewHead]  # for ever


async def _nothing(_: Link) -> None: ...


@dataclass(slots=True, kw_only=True)
class SideChain:
    """Follows one chain by itself. It can fail or lag for as long as it likes: it stops nobody.

    Its rows enter the history when a head was read whole. Past ``lag_limit_s`` without a head that could be
    read, its series are unknown and ``holds`` names it.
    """

    chain_id: int
    observer: ChainObserver
    connect: Callable[[], AbstractAsyncContextManager[Link]]
    history: History
    clock: Callable[[], float]  # seconds since the epoch
    lag_limit_s: float
    again_s: float  # before the next try to connect
    ahead_limit_s: float = math.inf  # of a block's time over ours
    on_link: Callable[[Link], Awaitable[None]] = _nothing  # once connected, before the first head
    on_trouble: Callable[[BotError], None] = lambda _: None
    on_gap: Callable[[Gap], None] = lambda _: None
    on_read: Callable[[Observed], None] = lambda _: None  # once its rows are in the history
    first_read: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _read: deque[Observed] = field(default_factory=lambda: deque(maxlen=_READ_KEPT), init=False)
    _log: HeadLog = field(init=False)
    _why: str = field(default="it has not been read yet", init=False)
    _said_unknown: bool = field(default=False, init=False)
    _started_s: float = field(default=math.inf, init=False)

    def __post_init__(self) -> None:
        self._log = HeadLog(self.history, chain_id=self.chain_id, keys=self.observer.series)

    async def run(self) -> None:
        """Read every head until cancelled, or until the node turns out to be on another chain."""
        self._started_s = self.clock()
        while True:
            try:
                async with self.connect() as link:
                    self.observer.chain = link.chain
                    if await self._log.check_stored(link.chain):
                        self._read.clear()
                        self.observer.read_anew()
                    await self.on_link(link)
                    async for event in link.events:
                        await self._take(event)
            except (TransientError, StaleDataError) as error:
                self.trouble(error)
            except ConfigError as error:  # another chain: its numbers are never used again (REL-R1)
                self._read.clear()
                self.trouble(error)
                self.first_read.set()
                return
            await asyncio.sleep(self.again_s)

    def halt(self, error: BotError) -> None:
        """Open nothing until a person has looked and released it."""
        self._log.halt(None, str(error))
        self.on_trouble(error)

    def trouble(self, error: BotError) -> None:
        """Hear why no head could be had."""
        self._why = str(error)
        self._log.trouble(self._why)
        self.on_trouble(error)

    @property
    def why(self) -> str:
        """Why the last head could not be had."""
        return self._why

    def joined(self, now_s: float) -> Observed | None:
        """Return what was read at the newest head not after ``now_s``."""
        return next((item for item in reversed(self._read) if item.block.timestamp_s <= now_s), None)

    def holds(self, now_s: float) -> tuple[str, ...]:
        """Return why nothing may be opened because of this chain. Marks its series unknown past the limit."""
        newest = self.joined(now_s)
        age_s = now_s - newest.block.timestamp_s if newest else now_s - min(self._started_s, now_s)
        if newest is not None and age_s <= self.lag_limit_s:
            self._said_unknown = False
            return newest.holds
        # The same words at each moment: when it was read and not how long ago.
        seen = "is not read"
        if newest is not None:
            read_at = iso_utc(newest.block.timestamp_s)
            seen = f"was last read at its block of {read_at}, older than {self.lag_limit_s:g} s"
        why = f"chain {self.chain_id} {seen}: {self._why}"
        if age_s > self.lag_limit_s and not self._said_unknown:
            self._said_unknown = True
            self.observer.read_anew()
            self.history.append(self.observer.unknown(why, at_s=now_s))
        return (*(newest.holds if newest else ()), why)

    async def check_filled(self, link: Link, head: Block) -> None:
        """Take back what was filled near a head that was reorganised away meanwhile."""
        await self._log.check_filled(link.chain, head)

    async def _take(self, event: NewHead) -> None:
        ahead_s = event.block.timestamp_s - self.clock()
        if ahead_s > self.ahead_limit_s:
            dated = iso_utc(event.block.timestamp_s)
            self.trouble(StaleDataError(f"its block {event.block.number} is dated {dated}, later than today"))
            return
        if self._log.reorganised(event):
            self.observer.read_anew()
        self._forget(event)
        try:
            found = await self.observer.observe(event.block, now_s=self.clock())
        except (StaleDataError, TransientError) as error:
            self.trouble(error)
            return
        self.history.append(found.rows)
        self._read.append(found)
        self._why = "no new block since"
        self.first_read.set()
        gap = self._log.observed(event.block)
        if gap is not None:
            self.on_gap(gap)
        self.on_read(found)

    def _forget(self, event: NewHead) -> None:
        """Drop what was read on blocks that are gone."""
        if event.reorg_depth:
            first_gone = event.skipped[0] if event.skipped else event.block.number
            kept = [item for item in self._read if item.block.number < first_gone]
            self._read = deque(kept, maxlen=_READ_KEPT)
