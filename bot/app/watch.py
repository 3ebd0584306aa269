"""A process that reads chains for others: it writes what it sees to a shared history, and decides nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, NoReturn

from bot.app.follow import Listener, backfill_of, follow_chain
from bot.app.parts import scheduled
from bot.app.stores import open_watched
from bot.engine.policy import Policy
from bot.errors import BotError, ConfigError
from bot.model.market import Block
from bot.pipeline.cadence import Observed, Scheduled
from bot.pipeline.gaps import Gap
from bot.pipeline.history import History
from bot.pipeline.side_chains import Link
from bot.settings import ChainSettings, Settings, load_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Which part of a chain's watchers: the ``number``-th of ``count`` parts, counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard of a text such as 1/2. Raises ConfigError."""
        number, _, count = text.partition("/")
        if not (number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise ConfigError(f"--shard {text!r}: must be NUMBER/COUNT, such as 1/2")
        found = cls(number=int(number), count=int(count))
        if not 1 <= found.number <= found.count <= 1_000:
            raise ConfigError(
                f"--shard {text!r}: the number must be 1 to {found.count}, of at most 1000 parts"
            )
        return found

    def of(self, watchers: Sequence[Scheduled]) -> tuple[Scheduled, ...]:
        """Return its part; the same in every process with the same configuration."""
        ordered = sorted(watchers, key=lambda item: item.watcher.name)
        return tuple(ordered[self.number - 1 :: self.count])

    def writer(self, chain_id: int) -> str:
        """Return the name under which the part of a chain is written."""
        part = f" {self.number}/{self.count}" if self.count > 1 else ""
        return f"chain {chain_id}{part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One block that was read and written."""

    block: Block
    writer: str
    rows: int
    unknown: int  # of them


async def watch(
    settings: Settings, *, chains: Sequence[int], shard: Shard, stop: asyncio.Event, listener: Listener
) -> AsyncIterator[Watched]:
    """Yield every block once its rows are in the history, until ``stop`` is set.

    Without ``chains`` those that the configuration says are watched elsewhere. Raises ConfigError, also where
    another process writes one of the series, and InvariantError when the history cannot be written.
    """
    if not settings.storage.shared_history:
        raise ConfigError(
            "alvh watch needs a history that several processes can use: name a PostgreSQL database as "
            "storage.history_url"
        )
    policy = load_policy(settings.policy)
    wanted = chains or [item.id for item in settings.all_chains if item.watched_elsewhere]
    if not wanted:
        raise ConfigError("no chain is watched_elsewhere; say so in its table, or name one with --chain")
    written: asyncio.Queue[Watched] = asyncio.Queue()
    with ExitStack() as stack:
        parts = [_Part(settings, settings.chain_named(item), policy, shard, listener) for item in wanted]
        for part in parts:
            stack.enter_context(closing(part.open(written.put_nowait)))
        async for item in _until_one_ends([part.run() for part in parts], written, stop):
            yield item


class _Part:
    """One chain of this process, or a shard of it."""

    def __init__(
        self, settings: Settings, chain: ChainSettings, policy: Policy, shard: Shard, listener: Listener
    ) -> None:
        self._settings, self._chain, self._policy, self._listener = settings, chain, policy, listener
        self._watchers = shard.of(scheduled(settings, chain.id))
        self._writer = shard.writer(chain.id)
        if not self._watchers:
            raise ConfigError(f"{self._writer}: the configuration has no source for it")
        self._link: Link | None = None
        self._filling: set[asyncio.Task[None]] = set()

    def open(self, tell: Callable[[Watched], None]) -> History:
        """Open the history and hold the series until it is closed."""
        own = [key for item in self._watchers for key in item.watcher.series]
        self._history = open_watched(self._settings, self._policy, writer=self._writer, own=own)
        self._tell = tell
        return self._history

    async def run(self) -> NoReturn:
        """Follow the chain until cancelled. Raises ConfigError when its node is of another chain."""
        side = follow_chain(
            self._settings, self._chain, self._policy, self._history, self._listener, self._watchers
        )
        self._side = side
        fill = side.on_link
        side.on_read, side.on_gap = self._read, self._gap

        async def on_link(link: Link) -> None:
            self._link = link
            await fill(link)

        side.on_link = on_link
        try:
            await side.run()
        finally:
            for task in tuple(self._filling):
                task.cancel()
            await asyncio.gather(*self._filling, return_exceptions=True)
        raise ConfigError(f"{self._writer} cannot be watched: {side.why}")

    def _read(self, found: Observed) -> None:
        self._history.flush()
        unknown = sum(bool(row.why_unknown) for row in found.rows)
        self._tell(Watched(block=found.block, writer=self._writer, rows=len(found.rows), unknown=unknown))

    def _gap(self, gap: Gap) -> None:
        """Fill the bars that closed in a gap, beside the reading."""
        self._listener.gap(gap)
        if gap.to_s - gap.from_s >= self._policy.signals.bar_s and self._link is not None:
            task = asyncio.create_task(self._fill(self._link, gap))
            self._filling.add(task)
            task.add_done_callback(self._filling.discard)

    async def _fill(self, link: Link, gap: Gap) -> None:
        backfill = backfill_of(self._settings, self._policy, self._history, self._listener)
        try:
            head = await link.chain.head()
            found = await backfill.chain(link.chain, self._watchers, head=head, since_s=gap.from_s)
            await self._side.check_filled(link, head)
            self._listener.filled(found)
        except BotError as error:  # nobody awaits this task: what it says would be lost
            self._listener.on_trouble(error)


async def _until_one_ends(
    runs: Sequence[Coroutine[Any, Any, NoReturn]], written: "asyncio.Queue[Watched]", stop: asyncio.Event
) -> AsyncIterator[Watched]:
    """Yield what is written until ``stop`` is set; raise what ended one of the runs."""
    tasks = [asyncio.ensure_future(run) for run in runs]
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stop.is_set():
            item = asyncio.ensure_future(written.get())
            done, _ = await asyncio.wait({*tasks, stopped, item}, return_when=asyncio.FIRST_COMPLETED)
            if item in done:
                yield item.result()
            item.cancel()
            for task in tasks:
                if task in done:
                    task.result()
    finally:
        for waiting in (*tasks, stopped):
            waiting.cancel()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)
