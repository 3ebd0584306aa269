"""Where moments come from when chains are watched."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from bot.chain.heads import NewHead
from bot.chain.policy_registry import Mandate, RegistryWatch
from bot.errors import BotError, ConfigError, InvariantError, StaleDataError, TransientError
from bot.model.base_layers import NOTHING_STATED, BaseHoldings
from bot.model.exposure import Exposure
from bot.model.market import Block, Columns, Metric, Observation
from bot.model.units import DAY_S, MINUTE_S, iso_utc
from bot.pipeline.cadence import ChainObserver, Scheduled, check_series
from bot.pipeline.gaps import CanonicalChain, Gap, HeadLog
from bot.pipeline.history import History
from bot.pipeline.loop import Moment
from bot.pipeline.side_chains import SideChain
from bot.pipeline.store_feed import Fed, StoreFeed
from bot.pipeline.web_feeds import WebFeeds
from bot.ports import ChainReader, PositionReader, Watcher
from bot.ports.spans import Span, no_span

MAX_CLOCK_SKEW_S = MINUTE_S  # design.md: a skew over 60 s is HOLD
MAX_AHEAD_S = DAY_S  # a clock that is behind by hours is a mistake, a block from another day is a lie

_NOTHING_FED = Fed(blocks={}, holds=())


def chain_clock(block: Block) -> float:
    """Return chain time: on a devnet and in simulation time moves only with blocks."""
    return float(block.timestamp_s)


@dataclass(slots=True, kw_only=True)
class LiveSource:
    """Cuts one moment per block of the home chain: everything due there, read at that block's hash.

    Other chains and HTTP sources are read beside it; a moment joins what they have.
    """

    chain: ChainReader
    watchers: Sequence[Watcher | Scheduled]
    positions: Sequence[PositionReader]
    history: History
    clock: Callable[[Block], float]
    on_trouble: Callable[[BotError], None] = lambda _: None
    on_gap: Callable[[Gap], None] = lambda _: None
    others: Sequence[SideChain] = ()
    web: WebFeeds | None = None
    fed: StoreFeed | None = None  # what other processes watch
    base: BaseHoldings = NOTHING_STATED  # what the configuration states of the base layers
    registry: RegistryWatch | None = None  # the policy registry that may move the layer weights
    deadline_s: float = math.inf  # for one watcher or position
    guard: Callable[[], Awaitable[None]] | None = (
        None  # beside each reading; raises on another chain (REL-R1)
    )
    span: Span = no_span  # times and traces each cut
    _observer: ChainObserver = field(init=False)
    _log: HeadLog = field(init=False)
    _beside: tuple["asyncio.Task[None]", ...] = field(default=(), init=False)
    _ahead: str = field(default="", init=False)  # hash of the last head, where it was ahead of our clock

    def __post_init__(self) -> None:
        self._observer = ChainObserver(
            chain=self.chain,
            watchers=self.watchers,
            positions=self.positions,
            deadline_s=self.deadline_s,
            guard=self.guard,
            on_trouble=self.on_trouble,
        )
        self._log = HeadLog(self.history, chain_id=self.chain.chain_id, keys=self._observer.series)
        feeds = [] if self.web is None else [("HTTP sources", self.web.series)]
        feeds += [] if self.fed is None else [("alvh watch", self.fed.series)]
        sides = [(f"chain {item.chain_id}", item.observer.series) for item in self.others]
        check_series([("the home chain", self._observer.series), *sides, *feeds])

    @property
    def schedule(self) -> tuple[Scheduled, ...]:
        """The watchers of the home chain, each with its pace."""
        return self._observer.schedule

    @asynccontextmanager
    async def running(self, *, first_within_s: float = 0.0) -> AsyncIterator[None]:
        """Follow the other chains and HTTP sources while the body runs.

        Waits at most ``first_within_s`` for each of them to be read once.
        """
        runs = [item.run() for item in self.others]
        if self.web is not None:
            runs.append(self.web.run())
        tasks = self._beside = tuple(asyncio.create_task(run) for run in runs)
        try:
            if self.others and first_within_s:
                waits = [asyncio.ensure_future(item.first_read.wait()) for item in self.others]
                _, late = await asyncio.wait(waits, timeout=first_within_s)
                for wait in late:
                    wait.cancel()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._beside = ()

    def check_beside(self) -> None:
        """Raise what ended a task in the background: nobody else would hear of it."""
        for task in self._beside:
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, BotError):
                raise error
            if error is not None:
                raise InvariantError(
                    f"what is read beside the home chain has died: {error!r:.200}"
                ) from error

    async def moments(
        self, heads: AsyncIterator[Block] | AsyncIterator[NewHead], *, after_s: float
    ) -> AsyncIterator[Moment]:
        """Yield a moment per head later than ``after_s``; a head that could not be read is skipped.

        Raises ConfigError when the first head is behind ``after_s``, the time of the journal's last step:
        that is another chain, or after a clock that was ahead by more than a day. A later head that is, came
        by a reorg, and time goes on from there.
        """
        is_first = True
        async for item in heads:
            event = item if isinstance(item, NewHead) else NewHead(block=item)
            block = event.block
            self._reorganised(event)
            try:
                now_s, hold = self._time_of(block)
            except StaleDataError as error:
                self.trouble(error)
                continue
            if is_first and now_s < after_s - self._most_behind_s:
                raise ConfigError(
                    f"the journal's last step is of {iso_utc(after_s)}, chain {block.chain_id} is at "
                    f"{iso_utc(now_s)}: it is the journal of another chain; name another state_dir"
                )
            is_first = False
            if now_s <= after_s:
                self._pass_over(block, now_s=now_s, after_s=after_s)
                continue
            try:
                with self.span("cut"):
                    moment = await self.cut(block, now_s=now_s)
            except (StaleDataError, TransientError) as error:
                # The block was reorganised away while it was read, or nobody vouches for it: the next head
                # replaces it.
                self.trouble(error)
                continue
            after_s = now_s
            yield replace(moment, holds=(*hold, *moment.holds))
            self.history.flush()

    async def cut(self, block: Block, *, now_s: float) -> Moment:
        """Read what is due at one block, add it to the history, and return the moment.

        Raises StaleDataError when the block is no longer canonical: nothing of it was kept then.
        """
        self.check_beside()
        found = await self._observer.observe(block, now_s=now_s)
        mandate = Mandate() if self.registry is None else await self.registry.at(self.chain, block)
        fed = _NOTHING_FED if self.fed is None else await self.fed.take(block, now_s=now_s)
        if self.web is not None:
            self.history.append(self.web.take())
        self.history.append(found.rows)
        gap = self._log.observed(block)
        if gap is not None:
            self.on_gap(gap)
        holds = [*found.holds, *fed.holds, *(item.why for item in self.history.halts()), *mandate.holds]
        blocks, exposures, unseen = {block.chain_id: block}, list(found.exposures), list(found.unseen)
        for side in self.others:
            holds.extend(side.holds(now_s))
            joined = side.joined(now_s)
            unseen.extend(side.observer.unseen(side.chain_id) if joined is None else joined.unseen)
            if joined is not None:
                blocks[side.chain_id] = joined.block
                exposures.extend(joined.exposures)
        for chain_id, joined_at in fed.blocks.items():
            blocks.setdefault(chain_id, joined_at)
        columns = self.history.cut(until_s=now_s)
        holds.extend(_unpriced(found.rows, columns, exposures))
        return Moment(
            now_s=now_s,
            blocks=blocks,
            columns=columns,
            exposures=tuple(exposures),
            holds=tuple(holds),
            unseen=tuple(unseen),
            base=self.base,
            vote=mandate.vote,
        )

    def trouble(self, error: BotError) -> None:
        """Hear why a head could not be had or read: it becomes the reason of the gap."""
        self._log.trouble(str(error))
        self.on_trouble(error)

    def halt(self, error: BotError) -> None:
        """Open nothing until a person has looked and released it."""
        self._log.halt(None, str(error))
        self.on_trouble(error)

    async def check_stored(self, chain: CanonicalChain) -> int:
        """Take back rows of heads that were reorganised away while the program did not run."""
        return await self._log.check_stored(chain)

    async def check_filled(self, chain: CanonicalChain, head: Block) -> bool:
        """Take back what was filled near a head that was reorganised away meanwhile; see HeadLog."""
        return await self._log.check_filled(chain, head)

    def _reorganised(self, event: NewHead) -> None:
        if self._log.reorganised(event):
            self._observer.read_anew()

    @property
    def _most_behind_s(self) -> float:
        """How far behind the last step the first head may be: a wall clock may have been ahead before."""
        return MAX_CLOCK_SKEW_S if self.clock is chain_clock else MAX_AHEAD_S

    def _pass_over(self, block: Block, *, now_s: float, after_s: float) -> None:
        """Say why a head is not decided on that is well before the last step: nobody else would know."""
        if after_s - now_s > MAX_CLOCK_SKEW_S:
            self.trouble(
                StaleDataError(
                    f"block {block.number} of chain {block.chain_id} is of {iso_utc(now_s)}, the last step "
                    f"of {iso_utc(after_s)}: nothing is decided till then; set the clock, or look at the node"
                )
            )

    def _time_of(self, block: Block) -> tuple[float, tuple[str, ...]]:
        """Return the time of a moment. With a clock that is off, it is the chain's, and nothing is opened.

        A step must never be recorded at a time that the chain has not reached: none could follow it. Nor at
        one that a node made up: of the far future, or of a single head. Raises StaleDataError.
        """
        now_s = self.clock(block)
        skew_s = now_s - block.timestamp_s
        was_ahead, self._ahead = self._ahead, ""
        if abs(skew_s) <= MAX_CLOCK_SKEW_S:
            return now_s, ()
        if skew_s < -MAX_AHEAD_S:
            raise StaleDataError(
                f"block {block.number} of chain {block.chain_id} is dated {iso_utc(block.timestamp_s)}, "
                f"{-skew_s:.0f} s ahead of our clock, allowed {MAX_AHEAD_S} s; it is not decided on: "
                "set the clock, or look at the node"
            )
        if skew_s < -MAX_CLOCK_SKEW_S:
            self._ahead = block.hash
            if was_ahead in ("", block.hash):
                raise StaleDataError(
                    f"block {block.number} of chain {block.chain_id} is dated {iso_utc(block.timestamp_s)}, "
                    f"{-skew_s:.0f} s ahead of our clock; it is decided on once the next one is ahead too"
                )
        why = f"chain {block.chain_id} is {skew_s:.0f} s behind our clock, allowed {MAX_CLOCK_SKEW_S} s"
        return float(block.timestamp_s), (why,)


def _unpriced(rows: Iterable[Observation], columns: Columns, exposures: Iterable[Exposure]) -> Iterator[str]:
    """Yield why a primary price is not to be had now: an older one must not stand in for nonsense (R2)."""
    unknown = {row.key: row.why_unknown for row in rows if math.isnan(row.value)}
    for underlying in sorted({item.underlying for item in exposures}):
        for key in columns.find(Metric.PRICE_USD, underlying)[:1]:
            if key in unknown:
                yield f"{key.source} gives no price of {underlying}: {unknown[key] or 'it cannot be read'}"


async def with_stalls(
    heads: AsyncIterator[NewHead], *, limit_s: float, on_stall: Callable[[BotError], None]
) -> AsyncIterator[NewHead]:
    """Yield heads, and say when none came for ``limit_s``, once per stall (REL-C7)."""
    last: Block | None = None
    while True:
        following = asyncio.ensure_future(anext(heads))
        try:
            done, _ = await asyncio.wait({following}, timeout=limit_s)
            if not done:
                since = f"since {iso_utc(last.timestamp_s)}" if last else "yet"
                on_stall(
                    StaleDataError(f"no new block {since}, {limit_s:g} s are allowed; nothing is decided")
                )
            event = await following
        except StopAsyncIteration:
            return
        finally:
            following.cancel()
        last = event.block
        yield event


async def until(heads: AsyncIterator[NewHead], stop: asyncio.Event) -> AsyncIterator[NewHead]:
    """Yield heads until ``stop`` is set; a wait for the next head ends at once then."""
    waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(stop.wait())}
    try:
        while not stop.is_set():
            head = asyncio.ensure_future(anext(heads))
            waits.add(head)
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not head.done():
                return
            waits.discard(head)
            yield head.result()
    finally:
        for wait in waits:
            wait.cancel()
