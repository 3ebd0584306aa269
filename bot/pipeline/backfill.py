"""Fills what the look-back of the signals needs and the store does not have: at start, and after a gap.

One sample for each bar, at the last block before the bar closed, so that an hourly backfill and a feed of
every block give the same bar. Only bars without a row are asked for, newest first, so that a start that was
cut short goes on where it stopped.
"""

import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from bot.chain.heads import MAX_REORG
from bot.errors import DisagreementError, StaleDataError, TransientError
from bot.model.market import Block, Columns, Metric, Observation, SeriesKey
from bot.model.units import DAY_S, iso_utc
from bot.pipeline.cadence import ABSURD, UNREAD, Scheduled, dated, unknown_rows
from bot.pipeline.history import History
from bot.ports import ChainReader, Watcher, WebReader, WebSource

AT_ONCE = 6  # samples that are read side by side
_FAILURES_AT_MOST = 3  # in a row, before a chain is given up for this time
_POOR_GUESSES = 2  # before a bracket is halved instead
_SPARE_S = 2 * DAY_S  # history that is kept past the longest look-back
_NO_STATE = (
    "missing trie node",
    "historical state",
    "state not available",
    "state is not available",
    "no state available",
    "archive",
    "pruned",
    "state at block",
    "distance to target block exceeds",
    "out of range",
    "outofrange",
)

Progress = Callable[[int, int, str], None]  # done, total, what


@dataclass(frozen=True, slots=True, kw_only=True)
class LookBack:
    """How far back samples are wanted, and how far apart. ``metrics`` empty means of all series."""

    span_s: float
    step_s: int
    metrics: frozenset[Metric] = frozenset()

    def wants(self, key: SeriesKey) -> bool:
        return not self.metrics or key.metric in self.metrics


def look_backs(spans_s: Mapping[Metric, float], *, step_s: int) -> tuple[LookBack, ...]:
    """Return one look-back for all metrics that need the same span, the longest first."""
    by_span: dict[float, set[Metric]] = {}
    for metric, span_s in spans_s.items():
        by_span.setdefault(span_s, set()).add(metric)
    return tuple(
        LookBack(span_s=span_s, step_s=step_s, metrics=frozenset(metrics))
        for span_s, metrics in sorted(by_span.items(), reverse=True)
    )


def keep_s(wanted: Sequence[LookBack]) -> float:
    """Return how long rows are worth keeping."""
    return max(item.span_s for item in wanted) + _SPARE_S


class DatedChain(ChainReader, Protocol):
    """A chain whose blocks can be had by height."""

    async def block(self, number: int) -> Block: ...


@dataclass(slots=True)
class BlockFinder:
    """Finds blocks by time. What it saw on the way is remembered, so neighbours cost few reads."""

    chain: DatedChain
    head: Block
    _known: dict[int, Block] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._known[self.head.number] = self.head

    async def last_before(self, at_s: float) -> Block | None:
        """Return the newest block with a time before ``at_s``; None when the chain began later.

        Raises TransientError, StaleDataError when a height is not to be had.
        """
        low, high = await self._bracket(at_s)
        if high is None:
            return low
        if low is None:
            return None
        poor = 0  # guesses in a row that did not halve the bracket
        while (width := high.number - low.number) > 1:
            guess = (low.number + high.number) // 2
            if poor < _POOR_GUESSES:  # block times are nearly even, so the guess by proportion is near
                share = (at_s - low.timestamp_s) / max(high.timestamp_s - low.timestamp_s, 1)
                guess = low.number + round(share * width)
            block = await self._block(min(max(guess, low.number + 1), high.number - 1))
            low, high = (block, high) if block.timestamp_s < at_s else (low, block)
            poor = poor + 1 if poor < _POOR_GUESSES and 2 * (high.number - low.number) > width else 0
        return low

    async def _bracket(self, at_s: float) -> tuple[Block | None, Block | None]:
        """Return the nearest known blocks before ``at_s`` and at or after it."""
        if self.head.timestamp_s < at_s:
            return self.head, None
        numbers = sorted(self._known)
        place = bisect_left(numbers, at_s, key=lambda number: self._known[number].timestamp_s)
        high = self._known[numbers[place]]
        if place:
            return self._known[numbers[place - 1]], high
        first = await self._block(0) if high.number else high
        return (first, high) if first.timestamp_s < at_s else (None, high)

    async def _block(self, number: int) -> Block:
        if number not in self._known:
            self._known[number] = await self.chain.block(number)
        return self._known[number]


class Problem(NamedTuple):
    """What could not be filled, and why."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What a backfill did."""

    rows: int
    asked: int  # samples and histories that were asked for
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sample:
    """One bar."""

    closes_s: float
    step_s: float
    watchers: tuple[Scheduled, ...]


@dataclass(slots=True, kw_only=True)
class Backfill:
    """Fills the missing bars of one history.

    ``should_stop`` is asked between samples, so that a signal ends it at once.
    """

    history: History
    wanted: Sequence[LookBack]
    deadline_s: float
    at_once: int = AT_ONCE
    progress: Progress = lambda _done, _total, _what: None
    should_stop: Callable[[], bool] = lambda: False
    _missed: dict[str, list[str]] = field(default_factory=dict, init=False)  # by watcher: why
    _in_row: dict[str, int] = field(default_factory=dict, init=False)  # by watcher: how often it failed

    async def chain(
        self, chain: DatedChain, watchers: Sequence[Scheduled], *, head: Block, since_s: float = -math.inf
    ) -> Filled:
        """Fill what the watchers of one chain can read at old blocks. Never raises for a node that cannot."""
        samples = self._samples(watchers, now_s=float(head.timestamp_s), since_s=since_s)
        finder, what = BlockFinder(chain, head), f"chain {chain.chain_id}"
        rows = done = failures = 0
        problems: list[Problem] = []
        self._missed, self._in_row = {}, {}
        for part in _parts(samples, self.at_once):
            if self.should_stop():
                break
            for item, found in zip(part, await self._read_part(chain, finder, part), strict=True):
                if isinstance(found, str):
                    failures += 1
                    problems.append(Problem(f"{what} before {iso_utc(item.closes_s)}", found))
                else:
                    failures, rows = 0, rows + self.history.fill(found)
            done += len(part)
            self.progress(done, len(samples), what)
            self.history.flush()
            if failures and (failures >= _FAILURES_AT_MOST or lacks_state(problems[-1].why)):
                problems = _given_up(problems, failures, what, left=len(samples) - done)
                break
        missed = [
            Problem(name, f"{whys[0]}; {len(whys)} samples are missing")
            for name, whys in self._missed.items()
        ]
        return Filled(rows=rows, asked=done, problems=(*problems, *missed))

    async def _read_part(
        self, chain: DatedChain, finder: BlockFinder, part: Sequence[_Sample]
    ) -> list[list[Observation] | str]:
        """Return the rows of each sample, or why the node could not give them."""
        try:
            blocks = [await finder.last_before(item.closes_s) for item in part]
        except (TransientError, StaleDataError) as error:
            return [f"its block cannot be found: {error}"] * len(part)
        pairs = zip(part, blocks, strict=True)
        samples = (self._sample(chain, item, block, head=finder.head) for item, block in pairs)
        return await asyncio.gather(*samples)

    async def web(self, sources: Sequence[WebSource], web: WebReader, *, now_s: float) -> Filled:
        """Fill what HTTP sources still know, each asked once for the whole of what is missing."""
        rows = done = 0
        problems: list[Problem] = []
        since = {source.name: self._web_since(source, now_s) for source in sources}
        asked = [source for source in sources if since[source.name] < now_s]
        for source in asked:
            if self.should_stop():
                break
            try:
                async with asyncio.timeout(self.deadline_s):
                    found = await source.history(web, since_s=since[source.name], until_s=now_s)
                rows += self.history.fill(self._missing_only(found, now_s))
            except TimeoutError:
                problems.append(Problem(source.name, f"no history within {self.deadline_s:g} s"))
            except (*UNREAD, StaleDataError, OSError, *ABSURD) as error:
                problems.append(Problem(source.name, str(error) or repr(error)))
            done += 1
            self.progress(done, len(asked), source.name)
            self.history.flush()
        return Filled(rows=rows, asked=done, problems=tuple(problems))

    async def _sample(
        self, chain: DatedChain, sample: _Sample, block: Block | None, *, head: Block
    ) -> list[Observation] | str:
        """Read one sample; return why it could not be read when the node fails for every watcher.

        Where it fails for some, their bars stay open for the next time, and the others' are filled.
        """
        if block is None or block.timestamp_s < sample.closes_s - sample.step_s:
            return []  # the chain had no block in this bar
        rows: list[Observation] = []
        missed: dict[str, str] = {}
        try:
            for item in sample.watchers:
                name = item.watcher.name
                if self._in_row.get(name, 0) >= _FAILURES_AT_MOST:
                    missed[name] = self._missed[name][0]
                    continue
                found = await self._watched(chain, item.watcher, block)
                if isinstance(found, str):
                    missed[name] = found
                else:
                    rows += found
            if block.number > head.number - MAX_REORG and await _is_gone(chain, block):
                return f"block {block.number} was reorganised away while it was read"
        except (TransientError, StaleDataError) as error:
            return str(error)
        if len(missed) == len(sample.watchers):
            return next(iter(missed.values()))
        for name, why in missed.items():
            self._missed.setdefault(name, []).append(why)
        for name in {item.watcher.name for item in sample.watchers}:
            self._in_row[name] = self._in_row.get(name, 0) + 1 if name in missed else 0
        return rows

    async def _watched(self, chain: ChainReader, watcher: Watcher, block: Block) -> list[Observation] | str:
        """Return what a watcher says of an old block, or why the node did not answer it."""
        at_s = float(block.timestamp_s)
        try:
            async with asyncio.timeout(self.deadline_s):
                rows = await watcher.read(chain, block=block, read_at_s=at_s)
            return dated(rows, now_s=at_s)
        except TimeoutError:
            return f"no answer within {self.deadline_s:g} s"
        except (TransientError, DisagreementError) as error:
            return str(error)
        except (*UNREAD, *ABSURD) as error:
            return unknown_rows(
                watcher.series,
                why=f"{watcher.name}: {error!r:.200}",
                observed_at_s=at_s,
                read_at_s=at_s,
                block_number=block.number,
            )

    def _samples(self, watchers: Sequence[Scheduled], *, now_s: float, since_s: float) -> list[_Sample]:
        """Return the bars in which a series of a watcher has no row, newest first."""
        columns, wanted = self.history.columns(), dict[float, list[Scheduled]]()
        steps: dict[float, float] = {}
        for item in watchers:
            closes: dict[float, float] = {}
            for key in item.watcher.series:
                closes |= self._missing(columns, key, now_s=now_s, since_s=since_s)
            steps |= closes
            for at_s in closes:
                wanted.setdefault(at_s, []).append(item)
        return [_Sample(at_s, steps[at_s], tuple(wanted[at_s])) for at_s in sorted(wanted, reverse=True)]

    def _missing(
        self, columns: Columns, key: SeriesKey, *, now_s: float, since_s: float = -math.inf
    ) -> dict[float, float]:
        """Return when the closed bars end that have no row of a series, and how long they are.

        A read that failed is a row: it was looked at.
        """
        times_s = columns[key].times_s
        missing: dict[float, float] = {}
        finest_s = math.inf
        for item in sorted(self.wanted, key=lambda item: item.step_s):
            if not item.wants(key):
                continue
            last = math.floor(now_s / item.step_s)
            first = math.floor(max(now_s - item.span_s, since_s) / item.step_s) + 1
            closes = item.step_s * np.arange(first, last + 1, dtype=np.float64)
            closes = closes[closes <= finest_s]  # what the finer look-back covers is asked for there
            finest_s = now_s - item.span_s
            from_place = np.searchsorted(times_s, closes - item.step_s, side="left")
            to_place = np.searchsorted(times_s, closes, side="left")
            missing |= dict.fromkeys(closes[from_place == to_place].tolist(), float(item.step_s))
        return missing

    def _web_since(self, source: WebSource, now_s: float) -> float:
        """Return from when on a source lacks rows; ``now_s`` when it lacks none.

        A source slower than a bar lacks nothing while its rows follow each other at its own pace.
        """
        columns = self.history.columns()
        oldest_s = now_s
        for key in source.series:
            for closes_s in self._missing(columns, key, now_s=now_s):
                times_s = columns[key].times_s
                place = int(np.searchsorted(times_s, closes_s, side="right"))
                near_s = float(times_s[place - 1]) if place else -math.inf
                if closes_s - near_s > 2.0 * source.every_s:
                    oldest_s = min(oldest_s, closes_s - max(item.step_s for item in self.wanted))
        return oldest_s

    def _missing_only(self, found: Sequence[Observation], now_s: float) -> list[Observation]:
        """Leave out rows of bars that have one, so that a history is not denser than it was watched."""
        columns = self.history.columns()
        bar_s = min(item.step_s for item in self.wanted)
        keys = {row.key for row in found}
        missing = {key: set(self._missing(columns, key, now_s=now_s)) for key in keys}
        return [
            row
            for row in found
            if (math.floor(row.observed_at_s / bar_s) + 1) * bar_s in missing[row.key]
            and row.observed_at_s <= now_s
        ]


def _given_up(problems: list[Problem], failures: int, what: str, *, left: int) -> list[Problem]:
    """Say in one line why a chain was given up."""
    earlier, first = problems[:-failures], problems[-failures]
    why = f"{first.what.removeprefix(what).strip()}: {first.why}"
    return [*earlier, Problem(what, f"no older state can be read, {left} samples were not asked for: {why}")]


async def _is_gone(chain: DatedChain, block: Block) -> bool:
    return (await chain.block(block.number)).hash != block.hash


def _parts(samples: Sequence[_Sample], size: int) -> Iterator[Sequence[_Sample]]:
    return (samples[place : place + size] for place in range(0, len(samples), size))


def lacks_state(why: str) -> bool:
    """Say whether a node refused because it keeps no state of so long ago."""
    text = why.lower()
    return any(words in text for words in _NO_STATE)
