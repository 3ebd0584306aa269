"""Fills the bars of gaps in the background while a run decides."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bot.pipeline.gaps import Gap

if TYPE_CHECKING:
    from bot.app.live import Bot


@asynccontextmanager
async def catching_up(bot: "Bot") -> AsyncIterator[Callable[[Gap], None]]:
    """Fill gaps in the background, one at a time, while decisions go on."""
    tasks: set[asyncio.Task[None]] = set()
    one = asyncio.Lock()
    bar_s = bot.pipeline.policy.signals.bar_s

    async def fill(gap: Gap) -> None:
        async with one:
            await bot.catch_up(gap)

    def on_gap(gap: Gap) -> None:
        bot.listener.gap(gap)
        if gap.to_s - gap.from_s >= bar_s:  # a shorter one leaves no bar without a row
            task = asyncio.create_task(fill(gap))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    try:
        yield on_gap
    finally:
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
