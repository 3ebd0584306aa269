"""When each watcher is read, and one reading of all that is due on one chain at one block."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bot.errors import (
    BotError,
    ConfigError,
    DisagreementError,
    NotFoundError,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.model.exposure import Exposure
from bot.model.market import Block, Observation, SeriesKey
from bot.model.units import MINUTE_S
from bot.ports import ChainReader, PositionReader, Watcher

T = TypeVar("T")

# What a reply that makes no sense may raise while it is taken apart. It is the source that failed, not we.
ABSURD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
# What a source may raise because of itself. A block that is gone and a broken promise concern everybody;
# a contract that answers each provider otherwise does not.
UNREAD = (TransientError, NotFoundError, ConfigError, VenueRejected, DisagreementError)
_ONE_DISPUTED_IN = 10  # of so many things that were asked for, providers may disagree on one
_AHEAD_AT_MOST_S = MINUTE_S  # of a row's own time over ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A watcher and how often it is read, by the clock of its chain."""

    watcher: Watcher
    every_s: float = 0.0  # 0: every block that is looked at

    def __post_init__(self) -> None:
        if not 0.0 <= self.every_s < math.inf:
            raise ConfigError(
                f"{self.watcher.name}: every_s must be a number of seconds >= 0, was {self.every_s}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one look at one block of one chain gave."""

    block: Block
    rows: tuple[Observation, ...]
    exposures: tuple[Exposure, ...]
    holds: tuple[str, ...]
    unseen: tuple[str, ...] = ()  # positions that were not read since the start


@dataclass(slots=True, kw_only=True)
class ChainObserver:
    """Reads what is due on one chain, all at the hash of one block.

    A watcher that fails, is late or answers nonsense is unknown with its reason and stops nobody. When the
    block goes while it is read, or providers disagree on much of it, all is dropped: StaleDataError.
    """

    chain: ChainReader | None  # None: not connected yet
    watchers: Sequence[Watcher | Scheduled] = ()
    positions: Sequence[PositionReader] = ()
    deadline_s: float = math.inf  # for one watcher or position
    guard: Callable[[], Awaitable[None]] | None = None  # runs beside; raises when the node cannot be trusted
    on_trouble: Callable[[BotError], None] = lambda _: None  # hears of providers that disagree
    _plan: tuple[Scheduled, ...] = field(init=False)
    _read_s: dict[int, int] = field(
        default_factory=dict, init=False
    )  # watcher -> block time of its last read
    _seen: dict[int, tuple[Exposure, ...]] = field(default_factory=dict, init=False)  # by reader
    _disputed: list[DisagreementError] = field(default_factory=list, init=False)  # at this look

    def __post_init__(self) -> None:
        self._plan = tuple(
            item if isinstance(item, Scheduled) else Scheduled(watcher=item) for item in self.watchers
        )

    @property
    def schedule(self) -> tuple[Scheduled, ...]:
        """All watchers, each with its pace."""
        return self._plan

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple([key for item in self._plan for key in item.watcher.series])

    def read_anew(self) -> None:
        """Let every watcher be due: what it read last stood on a block that is gone."""
        self._read_s.clear()

    async def observe(self, block: Block, *, now_s: float) -> Observed:
        """Read what is due at ``block``. Raises StaleDataError, and what the guard raises."""
        chain = self.chain
        if chain is None:
            raise StaleDataError(f"chain {block.chain_id} is not connected")
        self._disputed = []
        due = [
            number
            for number, item in enumerate(self._plan)
            if item.every_s == 0.0 or self._is_due(number, item.every_s, block)
        ]
        found = await _all_or_none(
            [self._watch(chain, self._plan[number].watcher, block, now_s) for number in due],
            [self._position(chain, number, reader, block) for number, reader in enumerate(self.positions)],
            [] if self.guard is None else [self.guard()],
        )
        self._check_disputed(len(due) + len(self.positions))
        batches: list[list[Observation]] = found[: len(due)]
        holds = [why for why in found[len(due) : len(due) + len(self.positions)] if why]
        self._read_s.update((number, block.timestamp_s) for number in due)
        return Observed(
            block=block,
            rows=tuple([row for batch in batches for row in batch]),
            exposures=tuple([item for number in sorted(self._seen) for item in self._seen[number]]),
            holds=tuple(holds),
            unseen=self.unseen(block.chain_id),
        )

    def unseen(self, chain_id: int) -> tuple[str, ...]:
        """Name the positions of this chain that were not read since the start."""
        return tuple(
            f"position {number + 1} of chain {chain_id}"
            for number in range(len(self.positions))
            if number not in self._seen
        )

    def unknown(self, why: str, *, at_s: float) -> list[Observation]:
        """Return a row for every series that says that the chain as a whole could not be read."""
        return unknown_rows(self.series, why=why, observed_at_s=at_s, read_at_s=at_s)

    def _is_due(self, number: int, every_s: float, block: Block) -> bool:
        last_s = self._read_s.get(number)
        # A block that is older than the last one read comes from a reorg: read again.
        return last_s is None or not last_s <= block.timestamp_s < last_s + every_s

    async def _watch(
        self, chain: ChainReader, watcher: Watcher, block: Block, now_s: float
    ) -> list[Observation]:
        try:
            async with asyncio.timeout(_finite(self.deadline_s)):
                rows = await watcher.read(chain, block=block, read_at_s=now_s)
            return dated(rows, now_s=max(now_s, block.timestamp_s))
        except TimeoutError:
            why = f"no answer within {self.deadline_s:g} s"
        except UNREAD as error:
            why = self._heard(error)
        except ABSURD as error:
            why = f"the answer makes no sense: {error!r:.200}"
        return unknown_rows(
            watcher.series,
            why=f"{watcher.name}: {why}",
            observed_at_s=float(block.timestamp_s),
            read_at_s=now_s,
            block_number=block.number,
        )

    async def _position(self, chain: ChainReader, number: int, reader: PositionReader, block: Block) -> str:
        """Read a position; one that cannot be read stands as it was last seen. Returns why it could not.

        An exposure that cannot be read is not an exposure of zero: its hedges must not be sold.
        """
        try:
            async with asyncio.timeout(_finite(self.deadline_s)):
                self._seen[number] = await reader.read(chain, block=block)
        except TimeoutError:
            return f"a position could not be read: no answer within {self.deadline_s:g} s"
        except UNREAD as error:
            return f"a position could not be read: {self._heard(error)}"
        except ABSURD as error:
            return f"a position could not be read: the answer makes no sense: {error!r:.200}"
        return ""

    def _heard(self, error: BotError) -> str:
        """Return why something could not be read."""
        if isinstance(error, DisagreementError):
            self._disputed.append(error)
        return str(error)

    def _check_disputed(self, asked: int) -> None:
        """Tell that providers disagree. Raises it where they do on all, or more than one in ten.

        A contract may answer each provider otherwise, and concerns few; a provider that lies concerns many.
        """
        if not self._disputed:
            return
        if len(self._disputed) > max(1, asked // _ONE_DISPUTED_IN) or len(self._disputed) == asked:
            raise self._disputed[0]
        self.on_trouble(self._disputed[0])


def unknown_rows(
    keys: Iterable[SeriesKey],
    *,
    why: str,
    observed_at_s: float,
    read_at_s: float,
    block_number: int | None = None,
) -> list[Observation]:
    """Return one unknown row for every key, with the reason."""
    return [
        Observation(
            metric=key.metric,
            subject=key.subject,
            source=key.source,
            value=math.nan,
            observed_at_s=observed_at_s,
            read_at_s=read_at_s,
            block_number=block_number,
            why_unknown=why,
        )
        for key in keys
    ]


def dated(rows: Sequence[Observation], *, now_s: float) -> list[Observation]:
    """Return the rows as they are. Raises ValueError when one is dated later than now, or not at all.

    It would hide all that comes after it, and make what came before look too old to be kept.
    """
    for row in rows:
        if not 0.0 <= row.observed_at_s <= now_s + _AHEAD_AT_MOST_S:
            raise ValueError(f"a row of {row.key} is dated {row.observed_at_s:.0f}, now is {now_s:.0f}")
    return list(rows)


def check_series(owners: Iterable[tuple[str, Sequence[SeriesKey]]]) -> None:
    """Raise ConfigError when two sources would write one column: their rows would mix."""
    seen: dict[SeriesKey, str] = {}
    for name, keys in owners:
        for key in keys:
            if key in seen:
                raise ConfigError(
                    f"{seen[key]} and {name} both give {key}; give one of them another label, or remove it"
                )
            seen[key] = name


async def _all_or_none(*groups: Sequence[Awaitable[Any]]) -> list[Any]:
    """Await everything side by side; when one raises, end the others before it is raised."""
    tasks = [asyncio.ensure_future(item) for group in groups for item in group]
    try:
        return await asyncio.gather(*tasks)
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)


def _finite(deadline_s: float) -> float | None:
    return deadline_s if deadline_s < math.inf else None
