"""What a run does while the disk of its files is full: it decides nothing, watches the chain, and tells."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bot.errors import BotError, NoSpaceError
from bot.ports import ChainReader

_PROBE_BYTES = 1_000_000  # of room that a run needs to go on
_LOOK_AGAIN_S = 5.0


async def outlive_full_disk(
    error: NoSpaceError,
    folder: Path,
    reader: ChainReader | None,
    *,
    stop: asyncio.Event,
    on_trouble: Callable[[BotError], None],
    every_s: float = _LOOK_AGAIN_S,
) -> bool:
    """Tell the error and look for room every ``every_s`` seconds; False when ``stop`` came before it.

    Nothing may be opened without its row on disk. Who waits is told meanwhile when the chain is gone too.
    Without a ``reader`` it was the start that failed, which is tried again after a wait at the earliest.
    """
    on_trouble(error)
    if reader is None:
        await _wait(stop, every_s)
    while not stop.is_set():
        if await asyncio.to_thread(has_room, folder):
            return True
        if reader is not None:
            try:
                await reader.head()
            except BotError as trouble:
                on_trouble(trouble)
        await _wait(stop, every_s)
    return False


async def _wait(stop: asyncio.Event, at_most_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(at_most_s):
            await stop.wait()


def has_room(folder: Path) -> bool:
    """Say whether a megabyte can be written to a folder's disk and synced; it is taken away again."""
    path = folder / f".room-{os.getpid()}"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, _PROBE_BYTES)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError:
        return False
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return True
