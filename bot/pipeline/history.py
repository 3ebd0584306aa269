"""The store of observations. Every frame is cut from it, in every mode.

Rows of one series are kept in the order of the source's clock, one for each time. A row of a block that is
not later than the newest one stood on a chain that is gone since: it replaces what followed. A row without
a block (an HTTP source) that is older is put in its place, and ends the failures that were noted after it.
Rows only ever join or leave here, so whoever has the same changes in the same order has the same columns.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from bot.model.market import Block, Column, Columns, Observation, SeriesKey
from bot.model.units import DAY_S
from bot.pipeline.gaps import Gap, Halt, join_gaps
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.history_series import Series
from bot.pipeline.history_store import NO_BLOCK, HistoryStore, StoredRows

_PENDING_AT_MOST = 2_000  # rows of other sources do not pile up while the home chain stalls
_HEADS_KEPT = 4_096  # of each chain, in memory
_GAPS_KEPT = 1_000


class ChangeKind(StrEnum):
    """How rows joined or left."""

    APPEND = "append"  # observed just now
    FILL = "fill"  # read later, for a time at which nothing was observed
    ORPHAN = "orphan"  # rows of one series on a block that is gone or a later one
    TRIM = "trim"  # rows before a time


class Change(NamedTuple):
    """One change, as it was asked for. The same changes in the same order make the same columns."""

    kind: ChangeKind
    row: Observation | None = None  # APPEND, FILL
    key: SeriesKey | None = None  # ORPHAN
    from_block: int = 0  # ORPHAN
    before_s: float = 0.0  # TRIM


class History:
    """Trailing observations of every configured series; kept in a file or another store when one is given.

    ``keep_s`` is how far back the longest look-back reaches: older rows leave, a whole day at a time, so
    that when they leave depends on the rows alone. A store keeps them for ``stored_s`` where that is longer.
    Memory is ahead of the store until ``flush``.
    """

    def __init__(
        self,
        series: Iterable[SeriesKey] = (),
        *,
        path: Path | None = None,
        store: HistoryStore | None = None,  # in place of a file
        keep_s: float = math.inf,
        stored_s: float = 0.0,
        load_all: bool = False,  # of the file, also series that nobody named
    ) -> None:
        self._series: dict[SeriesKey, Series] = {key: Series() for key in series}
        self._columns: dict[SeriesKey, Column] = {key: item.column for key, item in self._series.items()}
        self._keep_s, self._stored_s = keep_s, max(keep_s, stored_s)
        self._newest_s = -math.inf
        self._trimmed_s = -math.inf
        self._heads: dict[int, deque[Block]] = {}
        self._gaps: deque[Gap] = deque(maxlen=_GAPS_KEPT)
        self._halts: list[Halt] = []
        self._changes: list[Change] | None = None
        self._marked = 0  # how many of the changes the newest frame has seen
        self._base: tuple[StoredRows, ...] = ()
        self._store = HistoryStore(HistoryPlace(path=path)) if path else store
        if self._store is not None:
            self._load(self._store, load_all=load_all)

    def append(self, observations: Iterable[Observation]) -> int:
        """Add rows that were observed just now. Returns how many were new."""
        new = sum([self._append(item) for item in observations])
        if self._store is not None and self._store.pending > _PENDING_AT_MOST:
            self._store.flush()
        return new

    def fill(self, observations: Iterable[Observation]) -> int:
        """Add rows for times at which nothing was known. Returns how many were taken.

        A row that is known stays; nothing that is there leaves.
        """
        return sum([self._fill(item) for item in observations])

    def orphan(self, keys: Sequence[SeriesKey], *, chain_id: int, from_block: int) -> int:
        """Let rows and heads leave that stood on blocks which are gone. Returns how many rows left."""
        gone = sum([self._orphan(key, from_block) for key in keys])
        heads = self._heads.get(chain_id)
        while heads and heads[-1].number >= from_block:
            heads.pop()
        if self._store is not None:
            self._store.drop_heads(chain_id, from_block)
        return gone

    def redo(self, change: Change) -> None:
        """Do again what another history did."""
        if change.kind is ChangeKind.APPEND and change.row is not None:
            self._append(change.row)
        elif change.kind is ChangeKind.FILL and change.row is not None:
            self._fill(change.row)
        elif change.kind is ChangeKind.ORPHAN and change.key is not None:
            self._orphan(change.key, change.from_block)
        elif change.kind is ChangeKind.TRIM:
            self._trim(change.before_s)

    def record(self) -> None:
        """Begin to keep changes for ``changes``."""
        self._changes = []

    def cut(self, *, until_s: float) -> Columns:
        """Return the columns of a frame. What changes later is a change of the next frame."""
        if self._changes is not None:
            self._marked = len(self._changes)
            self._base = tuple([item.stored(key) for key, item in self._series.items()])
        return self.columns(until_s=until_s)

    def changes(self) -> list[Change]:
        """Return what changed between the last two frames, and forget it. Empty before ``record``."""
        found = (self._changes or [])[: self._marked]
        if self._changes is not None:
            del self._changes[: self._marked]
        self._marked = 0
        return found

    def base(self) -> tuple[StoredRows, ...]:
        """Return every row that was there when the newest frame was cut; only after ``record``."""
        return self._base

    def load(self, rows: Iterable[StoredRows]) -> None:
        """Begin with the rows of another history."""
        for item in rows:
            series = self._of(item.key)
            series.load(item.times_s, item.values, item.blocks)
            self._columns[item.key] = series.column
            self._newest_s = max(self._newest_s, series.last_s)
        self._trimmed_s = self._cutoff_s()

    def kept_since(self, newest_s: float) -> float:
        """Return the time from which rows are kept once the newest is of ``newest_s``."""
        return _day_of(max(self._newest_s, newest_s) - self._keep_s)

    def columns(self, *, until_s: float = math.inf) -> Columns:
        """Return all series observed at or before ``until_s``, as views."""
        series = dict(self._columns)
        if until_s < self._newest_s:
            for key, item in self._series.items():
                if item.last_s > until_s:
                    series[key] = item.column.until(until_s)
        return Columns(series=series)

    def add_head(self, block: Block) -> None:
        """Note a head whose state was observed."""
        heads = self._heads.setdefault(block.chain_id, deque(maxlen=_HEADS_KEPT))
        while heads and heads[-1].number >= block.number:
            heads.pop()
        heads.append(block)
        if self._store is not None:
            self._store.add_head(block)

    def last_heads(self, chain_id: int) -> Sequence[Block]:
        """Return the newest observed heads of a chain, oldest first."""
        return tuple(self._heads.get(chain_id, ()))

    def add_gap(self, gap: Gap) -> None:
        """Note heads that were not observed. Gaps that follow each other for one reason become one."""
        place = next((i for i in range(len(self._gaps) - 1, -1, -1) if self._gaps[i][0] == gap.chain_id), -1)
        joined = join_gaps(self._gaps[place], gap) if place >= 0 else None
        if joined is not None:
            self._gaps[place] = joined
        else:
            self._gaps.append(gap)
        if self._store is not None:
            self._store.add_gap(joined or gap)

    def gaps(self) -> tuple[Gap, ...]:
        """Return the newest gaps, oldest first."""
        return tuple(self._gaps)

    def add_halt(self, halt: Halt) -> None:
        """Open nothing until a person releases it; it outlives a restart."""
        if halt in self._halts:
            return
        self._halts.append(halt)
        if self._store is not None:
            self._store.add_halt(halt)

    def hear_halt(self, halt: Halt) -> None:
        """Take over a halt that another process noted in the same store."""
        if halt not in self._halts:
            self._halts.append(halt)

    def halts(self) -> tuple[Halt, ...]:
        return tuple(self._halts)

    def release_halts(self, *, at_s: float) -> tuple[Halt, ...]:
        """Forget the halts and return them; a person has looked."""
        released, self._halts = tuple(self._halts), []
        if self._store is not None and released:
            self._store.release_halts(at_s)
        self.flush()
        return released

    def flush(self) -> None:
        """Write what is new to the file, in one transaction, and let old rows leave.

        Raises InvariantError when the file cannot be written.
        """
        cutoff_s = self._cutoff_s()
        if cutoff_s > self._trimmed_s:
            self._trim(cutoff_s)
            if self._store is not None:
                self._store.trim(_day_of(self._newest_s - self._stored_s))
        if self._store is not None:
            self._store.flush()

    def close(self) -> None:
        if self._store is not None:
            self._store.flush()
            self._store.close()

    def _append(self, item: Observation) -> bool:
        series = self._of(item.key)
        place = series.place(item.observed_at_s)
        at_s, value = series.find(place)
        if place < series.size:
            same = at_s == item.observed_at_s and _same(value, item.value)
            if same and (place == series.size - 1):
                return False  # the same block, or the same answer, read again
            if item.block_number is None and not series.is_unknown_from(place + (at_s == item.observed_at_s)):
                return self._fill(item, replaces=True)
            self._supersede(item.key, item.observed_at_s)
        series.put(place, item.observed_at_s, item.value, _block_of(item))
        self._added(item, series, ChangeKind.APPEND)
        return True

    def _fill(self, item: Observation, *, replaces: bool = False) -> bool:
        series = self._of(item.key)
        place = series.place(item.observed_at_s)
        at_s, value = series.find(place)
        if at_s == item.observed_at_s:
            if _same(value, item.value) or (math.isfinite(value) and not replaces):
                return False
            self._supersede(item.key, at_s, at_s)
            series.replace(place, item.value, _block_of(item))
        else:
            series.insert(place, item.observed_at_s, item.value, _block_of(item))
        self._added(item, series, ChangeKind.APPEND if replaces else ChangeKind.FILL)
        return True

    def _added(self, item: Observation, series: Series, kind: ChangeKind) -> None:
        self._columns[item.key] = series.column
        self._newest_s = max(self._newest_s, item.observed_at_s)
        if self._store is not None:
            self._store.add_row(item, filled=kind is ChangeKind.FILL)
        if self._changes is not None:
            self._changes.append(Change(kind, row=item))

    def _orphan(self, key: SeriesKey, from_block: int) -> int:
        series = self._series.get(key)
        if series is None:
            return 0
        place, size = series.first_on(from_block), series.size
        if place < size:
            from_s = series.find(place)[0]
            self._supersede(key, from_s)
            if self._store is not None:
                self._store.add_orphan(key, from_s=from_s, from_block=from_block)
            series.keep(slice(0, place))
            self._columns[key] = series.column
            if self._changes is not None:
                self._changes.append(Change(ChangeKind.ORPHAN, key=key, from_block=from_block))
        return size - place

    def _supersede(self, key: SeriesKey, from_s: float, to_s: float = math.inf) -> None:
        if self._store is not None:
            self._store.supersede(key, from_s, to_s)

    def _of(self, key: SeriesKey) -> Series:
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series()
        return series

    def _cutoff_s(self) -> float:
        """Return the start of the oldest day that is kept; it depends on the rows alone."""
        return _day_of(self._newest_s - self._keep_s)

    def _trim(self, before_s: float) -> None:
        self._trimmed_s = before_s
        for key, series in self._series.items():
            place = series.place(before_s)
            if place:
                series.keep(slice(place, None))
                self._columns[key] = series.column
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.TRIM, before_s=before_s))

    def _load(self, store: HistoryStore, *, load_all: bool) -> None:
        self._newest_s = store.newest_s()
        self._trimmed_s = self._cutoff_s()
        for rows in store.rows(since_s=self._trimmed_s):
            # A series that is no longer configured must not go on being used.
            series = self._of(rows.key) if load_all else self._series.get(rows.key)
            if series is not None:
                series.load(rows.times_s, rows.values, rows.blocks)
                self._columns[rows.key] = series.column
        for head in store.heads(at_most=_HEADS_KEPT):
            self._heads.setdefault(head.chain_id, deque(maxlen=_HEADS_KEPT)).append(head)
        self._gaps.extend(store.gaps(at_most=_GAPS_KEPT))
        self._halts = store.halts()


def _day_of(at_s: float) -> float:
    return math.floor(at_s / DAY_S) * DAY_S if math.isfinite(at_s) else -math.inf


def _block_of(item: Observation) -> int:
    return NO_BLOCK if item.block_number is None else item.block_number


def _same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))
