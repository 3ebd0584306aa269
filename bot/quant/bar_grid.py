"""All bars of one width that a series has closed so far, so that each of them is built once."""

import numpy as np

from bot.model.market import Column, FloatArray

_ROOM = 64  # bars


class BarGrid:
    """Bars on end from one number to another; bar ``n`` is [n x bar_s, (n + 1) x bar_s), UTC.

    It grows at its end with the rows of a column whose rows only join at the end. What was handed out are
    views of bars that are never changed.
    """

    __slots__ = ("_bar_s", "_close", "_first", "_opens", "_rows")

    def __init__(self, column: Column, *, bar_s: int, first: int, end: int) -> None:
        self._bar_s, self._first = bar_s, first
        self._rows = [0]  # in the grid before each bar, and in all of it
        self._opens, self._close = np.empty(0), np.empty(0)
        self._grow(column, end)

    @property
    def _end(self) -> int:
        return self._first + len(self._rows) - 1

    def holds(self, column: Column, *, first: int, end: int, rows: int) -> bool:
        """Say whether bars from ``first`` to before ``end`` are here, with so many rows in them.

        As many rows between the same times are the same rows.
        """
        if first < self._first:
            return False
        if end > self._end:
            if not column.times_s.size or column.times_s[0] > self._end * self._bar_s:
                return False  # it may have been cut: earlier rows of these bars are not known
            self._grow(column, end)
        return self._rows[end - self._first] - self._rows[first - self._first] == rows

    def part(self, first: int, end: int) -> tuple[FloatArray, FloatArray]:
        """Return opens and closes; a close is the last known value in its bar, NaN without one."""
        part = slice(first - self._first, end - self._first)
        return self._opens[part], self._close[part]

    def _grow(self, column: Column, end: int) -> None:
        size, many = len(self._rows) - 1, end - self._first
        if many > self._close.size:
            self._make_room(size, 2 * many + _ROOM)
        cuts = column.times_s.searchsorted(self._bar_s * np.arange(self._end, end + 1, dtype=np.float64))
        values = column.values[cuts[0] : cuts[-1]]
        known = np.isfinite(values)
        places = np.repeat(np.arange(size, many), np.diff(cuts))[known]
        self._close[places] = values[known]  # the last of several in one bar wins
        self._rows += (self._rows[-1] + cuts[1:] - cuts[0]).tolist()

    def _make_room(self, size: int, room: int) -> None:
        close = np.full(room, np.nan)
        close[:size] = self._close[:size]
        self._close = close
        self._opens = self._bar_s * np.arange(self._first, self._first + room, dtype=np.float64)
