"""One series of a history: parallel arrays in time, and the columns that frames get of them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.model.market import Column, FloatArray, SeriesKey
from bot.pipeline.history_store import StoredRows


class Series:
    """Parallel arrays that grow at the end. A column that was handed out never changes.

    All columns share one memo for as long as rows only join at the end; any other change begins a new one.
    """

    __slots__ = ("_blocks", "_memo", "_times_s", "_values", "column", "last_s", "size")

    def __init__(self) -> None:
        self.load(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))

    def load(self, times_s: FloatArray, values: FloatArray, blocks: NDArray[np.int64]) -> None:
        self._times_s, self._values, self._blocks = times_s, values, blocks
        self._memo: dict[Any, Any] = {}
        self._resize(int(times_s.size))

    def place(self, at_s: float) -> int:
        """Return the position of the first row at or after ``at_s``."""
        if at_s > self.last_s:
            return self.size
        return int(np.searchsorted(self._times_s[: self.size], at_s, side="left"))

    def find(self, place: int) -> tuple[float, float]:
        """Return (time, value) of a row; infinity and NaN past the end."""
        if place >= self.size:
            return math.inf, math.nan
        return float(self._times_s[place]), float(self._values[place])

    def is_unknown_from(self, place: int) -> bool:
        return not bool(np.isfinite(self._values[place : self.size]).any())

    def first_on(self, block: int) -> int:
        """Return the position of the first row that stands on ``block`` or a later one."""
        later = np.flatnonzero(self._blocks[: self.size] >= block)
        return int(later[0]) if later.size else self.size

    def put(self, place: int, at_s: float, value: float, block: int) -> None:
        """Let the series end with this row, at ``place``."""
        if place < self.size:
            self._memo = {}
        if place < self.size or place == self._times_s.size:
            self._copy(slice(0, place), capacity=max(64, 2 * place))
        self._times_s[place], self._values[place], self._blocks[place] = at_s, value, block
        self._resize(place + 1)

    def insert(self, place: int, at_s: float, value: float, block: int) -> None:
        self.load(
            np.insert(self._times_s[: self.size], place, at_s),
            np.insert(self._values[: self.size], place, value),
            np.insert(self._blocks[: self.size], place, block),
        )

    def replace(self, place: int, value: float, block: int) -> None:
        self._copy(slice(0, self.size), capacity=self._times_s.size)
        self._memo = {}
        self._values[place], self._blocks[place] = value, block
        self._resize(self.size)

    def stored(self, key: SeriesKey) -> StoredRows:
        """Return all rows, as views."""
        part = slice(0, self.size)
        return StoredRows(key, self._times_s[part], self._values[part], self._blocks[part])

    def keep(self, part: slice) -> None:
        """Keep only these rows."""
        first, end, _ = part.indices(self.size)
        self._copy(part, capacity=max(64, end - first))
        self._memo = {}
        self._resize(end - first)

    def _copy(self, part: slice, *, capacity: int) -> None:
        first, end, _ = part.indices(self.size)
        times_s, values = np.empty(capacity), np.empty(capacity)
        blocks = np.empty(capacity, dtype=np.int64)
        times_s[: end - first] = self._times_s[first:end]
        values[: end - first] = self._values[first:end]
        blocks[: end - first] = self._blocks[first:end]
        self._times_s, self._values, self._blocks = times_s, values, blocks

    def _resize(self, size: int) -> None:
        self.size = size
        self.last_s = float(self._times_s[size - 1]) if size else -math.inf
        self.column = Column(times_s=self._times_s[:size], values=self._values[:size], memo=self._memo)
