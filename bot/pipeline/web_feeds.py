"""Sources outside of any chain, each read in the background at its own pace."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from bot.errors import BotError, StaleDataError, TransientError
from bot.model.market import Observation, SeriesKey
from bot.pipeline.cadence import ABSURD, UNREAD, dated, unknown_rows
from bot.ports import WebReader, WebSource

_JITTER = 0.1  # of an interval, so that sources of one host do not ask in step
_SLOWEST = 8  # times the interval, after failures in a row
_WAITING_AT_MOST = 100_000  # rows, while no moment is cut


@dataclass(slots=True, kw_only=True)
class WebFeeds:
    """Reads every source on its own; what they say waits for the next moment.

    A source that fails is unknown, with the reason, at each of its own intervals, and never delays a moment.
    """

    sources: Sequence[WebSource]
    web: WebReader
    deadline_s: float
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    on_trouble: Callable[[BotError], None] = lambda _: None
    _waiting: list[Observation] = field(default_factory=list, init=False)

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple([key for item in self.sources for key in item.series])

    async def run(self) -> None:
        """Read until cancelled. Should one of them break, all end, and what broke is raised."""
        tasks = [asyncio.ensure_future(self._follow(source)) for source in self.sources]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def read_once(self) -> None:
        """Read every source once, side by side."""
        await asyncio.gather(*(self._read(source) for source in self.sources))

    def take(self) -> list[Observation]:
        """Return what was read since the last call."""
        found, self._waiting = self._waiting, []
        return found

    async def _follow(self, source: WebSource) -> None:
        failures = 0
        while True:
            failures = 0 if await self._read(source) else failures + 1
            slower = min(2 ** max(failures - 1, 0), _SLOWEST)
            await self.sleep(source.every_s * slower * (1.0 + _JITTER * self.jitter()))

    async def _read(self, source: WebSource) -> bool:
        """Read one source. Returns whether it said anything."""
        now_s = self.clock()
        try:
            async with asyncio.timeout(self.deadline_s):
                rows = dated(await source.read(self.web, now_s=now_s), now_s=self.clock())
        except TimeoutError:
            rows = self._failed(source, f"no answer within {self.deadline_s:g} s", now_s)
        except (*UNREAD, StaleDataError, OSError) as error:  # a file of the user's is a source too
            rows = self._failed(source, str(error), now_s)
        except ABSURD as error:
            rows = self._failed(source, f"the answer makes no sense: {error!r:.200}", now_s)
        self._waiting.extend(rows)
        del self._waiting[:-_WAITING_AT_MOST]
        return any(not row.why_unknown for row in rows)

    def _failed(self, source: WebSource, why: str, now_s: float) -> list[Observation]:
        error = TransientError(f"{source.name}: {why}")
        self.on_trouble(error)
        return unknown_rows(source.series, why=str(error), observed_at_s=now_s, read_at_s=now_s)
