"""The dashboard beside a run: a process of its own, which ends with the run however that ends."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from bot.errors import BotError, ConfigError, TransientError
from bot.model.parsing import json_of
from bot.settings import Settings

_COMMAND = "from bot.cli import main; main()"
_STARTS_S = 30.0
_STOP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A dashboard that runs beside. ``sign_in`` ends in the token: it is for a person, not for a log."""

    url: str
    sign_in: str


@asynccontextmanager
async def dashboard_beside(
    settings: Settings, *, mode: str, on_trouble: Callable[[BotError], None]
) -> AsyncIterator[Beside]:
    """Start the dashboard of a mode and yield where it is. Raises ConfigError.

    ``on_trouble`` hears of a dashboard that ended by itself: the run goes on without it.
    """
    arguments = ("-P", "-c", _COMMAND, "dashboard", "--lifeline", "--json", "-", "--mode", mode)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        "--config",
        str(settings.path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    watch: asyncio.Task[None] | None = None
    try:
        found = await _found(process)
        watch = asyncio.create_task(_tell_end(process, on_trouble))
        yield found
    finally:
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        await _end(process)


async def _found(process: asyncio.subprocess.Process) -> Beside:
    """Return what the process says once it serves. Raises ConfigError with its own words otherwise."""
    line = b""
    if process.stdout is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STARTS_S):
                line = await process.stdout.readline()
    if line:
        said = json_of(line)
        return Beside(url=str(said["url"]), sign_in=str(said["sign_in"]))
    complaint = b""
    if process.stderr is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                complaint = await process.stderr.read(2_000)
    words = complaint.decode("utf-8", "replace").strip().removeprefix("error: ")
    raise ConfigError(f"the dashboard did not start: {words or 'it said nothing'}")


async def _tell_end(process: asyncio.subprocess.Process, on_trouble: Callable[[BotError], None]) -> None:
    if process.stderr is not None:
        while await process.stderr.read(4_096):  # read on, or a full pipe would hold it up
            pass
    code = await process.wait()
    on_trouble(TransientError(f"the dashboard has ended by itself (exit code {code}); the run goes on"))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_S):
            await process.wait()
            return
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
