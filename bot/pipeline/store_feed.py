"""Series that other processes watch (`alvh watch`), taken from the store that they write.

One more kind of source: what they did to their history is done again here, in their order, so that whoever
has the same rows decides alike. Their silence is judged as that of a chain: past a limit their series are
unknown.
"""

import asyncio
import math
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from bot.errors import ConfigError, InvariantError, TransientError
from bot.model.market import Block, SeriesKey
from bot.model.units import iso_utc
from bot.pipeline import feed_queries as queries
from bot.pipeline.cadence import unknown_rows
from bot.pipeline.databases import reason
from bot.pipeline.history import History
from bot.pipeline.history_place import HistoryPlace

_POLL_S = 0.05  # while a block of the home chain is waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What a moment has of the chains that others watch."""

    blocks: Mapping[int, Block]  # the newest block of each chain that all its watchers have read
    holds: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class StoreFeed:
    """Reads along. ``chains`` are the series of each chain; no other source gives them to ``history``."""

    place: HistoryPlace
    history: History
    chains: Mapping[int, Collection[SeriesKey]]
    home: int  # the chain whose blocks drive the decisions
    lag_limit_s: float
    wait_s: float  # at most, for the watchers of the home chain to have read a block
    _engine: Engine | None = field(default=None, init=False)
    _cursors: dict[int, int] = field(default_factory=dict, init=False)  # series number -> its newest row here
    _writers: dict[SeriesKey, str] = field(default_factory=dict, init=False)  # as of the last look
    _heads: dict[tuple[str, int], list[Block]] = field(default_factory=dict, init=False)
    _silent: set[str] = field(default_factory=set, init=False)  # whose series were made unknown

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(key for keys in self.chains.values() for key in keys)

    def begin(self) -> None:
        """Take what is in force now. Raises ConfigError when the store cannot be read."""
        self._engine = self.place.open_reader(who="alvh, reading along")
        if self._engine is None:
            raise ConfigError(
                f"history {self.place.name} holds nothing yet: start alvh watch for each chain that is "
                "watched_elsewhere first"
            )
        with self._looking() as connection:
            numbers = self._look(connection)
            newest_s = queries.newest_s(connection, numbers.values())
            since_s = self.history.kept_since(newest_s)
            self.history.load(queries.in_force(connection, numbers, since_s=since_s))
            self._cursors = queries.newest_rows(connection, numbers.values())

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    async def take(self, block: Block, *, now_s: float) -> Fed:
        """Take what was written since, and wait a little for who watches the home chain.

        Raises TransientError when the store cannot be read: then nothing of it was taken.
        """
        end_s = time.monotonic() + self.wait_s
        while True:
            self._take()
            if self._has_read(block) or time.monotonic() >= end_s:
                break
            await asyncio.sleep(_POLL_S)
        holds = [why for chain_id in self.chains for why in self._holds(chain_id, now_s)]
        blocks = {
            chain_id: self._joined(chain_id, now_s) for chain_id in self.chains if chain_id != self.home
        }
        return Fed(
            blocks={chain_id: found for chain_id, found in blocks.items() if found is not None},
            holds=tuple(holds),
        )

    def _take(self) -> None:
        with self._looking() as connection:
            numbers = self._look(connection)
            after = {number: self._cursors.get(number, 0) for number in numbers.values()}
            changes = queries.changes(connection, numbers, after=after)
            halts = queries.halts(connection)
        for row_id, series_id, change in changes:
            self.history.redo(change)
            self._cursors[series_id] = row_id
        for halt in halts:
            self.history.hear_halt(halt)

    def _look(self, connection: Connection) -> dict[SeriesKey, int]:
        """Note who writes the series and what heads they have read; return the numbers of the series."""
        wanted = frozenset(self.series)
        found = {key: (number, writer) for key, number, writer in queries.series(connection) if key in wanted}
        self._writers = {key: writer for key, (_, writer) in found.items()}
        pairs = [(writer, chain_id) for chain_id in self.chains for writer in self._of(chain_id) if writer]
        self._heads = {pair: queries.heads(connection, *pair) for pair in pairs}
        return {key: number for key, (number, _) in found.items()}

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        """Look at the store, all of it as of one time."""
        if self._engine is None:
            raise InvariantError("the feed of a store was used before it began")
        try:
            with self._engine.connect() as connection:
                yield connection.execution_options(isolation_level="REPEATABLE READ")
        except DBAPIError as error:
            raise TransientError(f"history {self.place.name} cannot be read: {reason(error)}") from None

    def _of(self, chain_id: int) -> dict[str, list[SeriesKey]]:
        """Return the series of a chain by who writes them; of nobody, under an empty name."""
        found: dict[str, list[SeriesKey]] = {}
        for key in self.chains[chain_id]:
            found.setdefault(self._writers.get(key, ""), []).append(key)
        return found

    def _has_read(self, block: Block) -> bool:
        """Say whether every watcher of the block's chain has read that very block, or a later one."""
        if block.chain_id not in self.chains:
            return True
        silent = self._silent  # one that died is waited for once, and not at each block
        alive = [item for item in self._of(block.chain_id) if f"{block.chain_id} {item}" not in silent]
        read = (self._heads.get((writer, block.chain_id), []) for writer in alive)
        return all(_holds_block(heads, block) for heads in read)

    def _joined(self, chain_id: int, now_s: float) -> Block | None:
        newest = [self._newest(writer, chain_id, now_s) for writer in self._of(chain_id)]
        known = [item for item in newest if item is not None]
        return min(known, key=lambda item: item.number) if known and len(known) == len(newest) else None

    def _newest(self, writer: str, chain_id: int, now_s: float) -> Block | None:
        heads = reversed(self._heads.get((writer, chain_id), []))
        return next((item for item in heads if item.timestamp_s <= now_s), None)

    def _holds(self, chain_id: int, now_s: float) -> Iterator[str]:
        """Yield why nothing may be opened because of a chain. Series of a silent watcher become unknown."""
        for writer, keys in sorted(self._of(chain_id).items()):
            newest = self._newest(writer, chain_id, now_s)
            age_s = math.inf if newest is None else now_s - newest.timestamp_s
            if age_s <= self.lag_limit_s:
                self._silent.discard(f"{chain_id} {writer}")
                continue
            why = self._silence(writer, chain_id, newest)
            if f"{chain_id} {writer}" not in self._silent:
                self._silent.add(f"{chain_id} {writer}")
                self.history.append(unknown_rows(keys, why=why, observed_at_s=now_s, read_at_s=now_s))
            yield why

    def _silence(self, writer: str, chain_id: int, newest: Block | None) -> str:
        """Say it in the same words at each moment: when it was read and not how long ago."""
        if not writer:
            return (
                f"chain {chain_id} is watched_elsewhere, and nobody has written some of its series: "
                "start alvh watch"
            )
        if newest is None:
            return f"alvh watch {writer} has read no block that counts; see what it says"
        read_at = iso_utc(newest.timestamp_s)
        return (
            f"alvh watch {writer} last read its block of {read_at}, older than {self.lag_limit_s:g} s; "
            "see whether it runs"
        )


def _holds_block(heads: list[Block], block: Block) -> bool:
    if not heads:
        return False
    same = next((item for item in reversed(heads) if item.number <= block.number), None)
    if same is not None and same.number == block.number:
        return same.hash == block.hash
    return heads[-1].number > block.number  # it went on without this one
