"""Remembers what was deposited in a position, so that its logs are not read again at every block."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from bot.errors import StaleDataError
from bot.model.exposure import Exposure
from bot.model.lp_position import Deposits, LpPosition
from bot.model.market import Block
from bot.model.units import HOUR_S
from bot.ports import ChainReader
from bot.watchers.positions.history import HistoryReader, deposits_at, deposits_of
from bot.watchers.positions.reading import LpReader, exposure_of

_WAITING = Deposits(why_unknown="being looked for in the logs")
# What a node's answer can raise that fits the ABI and makes no sense.
_ABSURD = (ArithmeticError, LookupError, TypeError, ValueError)


class DepositBook:
    """Deposits of one position, read again when its liquidity or its fees say that something happened."""

    def __init__(self, *, again_s: float = HOUR_S) -> None:
        self.deposits = _WAITING
        self.task: asyncio.Task[Deposits] | None = None
        self._of: LpPosition | None = None
        self._read_at: Block | None = None
        self._again_s = again_s

    def fits(self, position: LpPosition) -> bool:
        """Return whether what was read is of the position as it is.

        Its uncollected fees fall only when they are collected.
        """
        then = self._of
        return (
            then is not None
            and position.liquidity_raw == then.liquidity_raw
            and not position.fees_units < then.fees_units
            and not position.fees_quote < then.fees_quote
        )

    def is_good(self, position: LpPosition, block: Block) -> bool:
        """Return whether what was read still holds, and is not so old that it is read again."""
        then = self._read_at
        return (
            then is not None
            and then.number <= block.number
            and block.timestamp_s < then.timestamp_s + self._again_s
            and self.fits(position)
        )

    def start(self, position: LpPosition, block: Block, work: Coroutine[Any, Any, Deposits]) -> None:
        self._of, self._read_at = position, block
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(_heard)  # at the end of the program nobody takes it

    async def take(self) -> None:
        """Wait for what was started. Raises StaleDataError, after which it is started anew."""
        task, self.task = self.task, None
        if task is not None:
            try:
                self.deposits = await task
            except StaleDataError:
                self._of = None
                raise

    def forget(self) -> None:
        """Give what was read up: it is of another state of the position."""
        self.deposits = _WAITING


class DepositedPosition:
    """Reads a position as the engine wants it, with what was deposited and its fees of 30 days.

    The logs are read in the background, about once an hour, and never waited for: until they are read, or
    where they do not say, held amounts and fee income are NaN. It is not for replays, where what a moment
    knows must not depend on when a node answered.
    """

    def __init__(
        self, reader: LpReader, *, manager: str | None, look_back: int, entry_price: float | None = None
    ) -> None:
        """Take the v3 position manager whose logs are read, None where there is none."""
        self._reader = reader
        self._manager = manager
        self._look_back = look_back
        self._entry_price = entry_price
        self._book = DepositBook()

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]:
        results = await chain.read(list(self._reader.calls), block=block)
        position = await self._reader.build(chain, results, block=block)
        deposits = await self._deposits(chain, position, block)
        return (exposure_of(replace(position, deposits=deposits)),)

    async def _deposits(self, chain: ChainReader, position: LpPosition, block: Block) -> Deposits:
        if self._entry_price is not None:
            return deposits_at(position, self._entry_price)
        book = self._book
        if book.task is not None and book.task.done():
            await self._take()
        if book.task is None and not book.is_good(position, block):
            if not book.fits(position):
                book.forget()
            if not isinstance(chain, HistoryReader):
                return Deposits(why_unknown="older blocks cannot be named here")
            book.start(position, block, self._look(chain, position, block))
        return book.deposits if book.fits(position) else _WAITING

    async def _take(self) -> None:
        try:
            await self._book.take()
        except StaleDataError:
            self._book.forget()  # its block was reorganised away: looked for again from this one

    async def _look(self, chain: HistoryReader, position: LpPosition, block: Block) -> Deposits:
        oldest = max(block.number - self._look_back, 0)
        try:
            return await deposits_of(chain, position, manager=self._manager, oldest=oldest, block=block)
        except _ABSURD as error:
            return Deposits(why_unknown=f"the logs make no sense: {error!r:.200}")


def _heard(task: "asyncio.Task[Deposits]") -> None:
    if not task.cancelled():
        task.exception()
