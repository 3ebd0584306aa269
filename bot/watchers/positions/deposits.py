"""Remembers what was deposited in a position, so that its logs are not read again at every block."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from bot.errors import StaleDataError
from bot.model.lp_position import Deposits, LpPosition
from bot.model.market import Block

_AGAIN = 300  # blocks after which deposits are looked for again
_WAITING = Deposits(why_unknown="being looked for in the logs")


class DepositBook:
    """Deposits of one position, read again when its liquidity or its fees say that something happened."""

    def __init__(self) -> None:
        self.deposits = _WAITING
        self.task: asyncio.Task[Deposits] | None = None
        self._of: LpPosition | None = None
        self._read_at = 0

    def is_good(self, position: LpPosition, block: Block) -> bool:
        """Return whether what was read still holds. Uncollected fees fall only when they are collected."""
        then = self._of
        return (
            then is not None
            and self._read_at <= block.number < self._read_at + _AGAIN
            and position.liquidity_raw == then.liquidity_raw
            and not position.fees_units < then.fees_units
            and not position.fees_quote < then.fees_quote
        )

    def start(self, position: LpPosition, block: Block, work: Coroutine[Any, Any, Deposits]) -> None:
        self._of, self._read_at = position, block.number
        self.task = asyncio.create_task(work)

    async def take(self) -> None:
        """Wait for what was started. Raises StaleDataError, after which it is started anew."""
        task, self.task = self.task, None
        if task is not None:
            try:
                self.deposits = await task
            except StaleDataError:
                self._of = None
                raise
