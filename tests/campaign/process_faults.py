"""What may happen to a process: signals at a point, calls that fail by strace, clocks that shift.

``arm_*`` functions run inside the child before its command does (``arm`` of tests/commands.py).
"""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp.connector
from sqlalchemy import Engine, event

from bot.chain.signing.desk import SigningDesk
from campaign.kill_points import Killer, arm
from campaign.rig import Rig

PURCHASE = ("approve-swap-in", "swap-in", "approve-trade", "open", "revoke")  # its five transactions


def arm_point(point: str, purpose: str, rpc_url: str, how: str = "SIGKILL") -> None:
    """Send this process a signal at a named point of one transaction, once."""
    arm(_Signaller(point, purpose, side="buy", rpc_url=rpc_url, how=signal.Signals[how]))


class _Signaller(Killer):
    """Sends itself any signal, once; it lives on where the signal lets it."""

    def __init__(self, point: str, purpose: str, *, side: str, rpc_url: str, how: signal.Signals) -> None:
        super().__init__(point, purpose, side=side, rpc_url=rpc_url)
        self._how, self._is_done = how, False

    def die(self) -> None:
        if self._how is signal.SIGKILL:
            super().die()
        if not self._is_done:
            self._is_done = True
            os.kill(os.getpid(), self._how)


def arm_statement(number: str) -> None:
    """Kill this process before the so manieth statement that it gives to a database."""
    seen = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def _(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)


def arm_copy() -> None:
    """Kill this process when a copy of a store is whole and not yet synced."""
    fsync = os.fsync

    def killing(handle: int) -> None:
        name = os.readlink(f"/proc/self/fd/{handle}")
        if ".schema-" in name:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(handle)

    os.fsync = killing


def arm_clock(path: str) -> None:
    """Shift this process's wall clock by the seconds that a file holds, now and whenever it changes."""
    true = time.time

    def shifted() -> float:
        with suppress(OSError, ValueError):
            return true() + float(Path(path).read_text("utf-8"))
        return true()

    time.time = shifted
    assert SigningDesk.__init__.__kwdefaults__ is not None
    SigningDesk.__init__.__kwdefaults__["clock"] = shifted  # it was bound when the class was made


def arm_stall(path: str) -> None:
    """Block the loop of this process for the seconds that a file holds, once, at its next chance."""

    def block() -> None:
        with suppress(OSError, ValueError):
            seconds = float(Path(path).read_text("utf-8"))
            Path(path).unlink()
            time.sleep(seconds)

    async def look() -> None:
        while True:
            await asyncio.sleep(0.05)
            block()

    run = asyncio.Runner.run

    def running(runner: asyncio.Runner, main: Any, **options: Any) -> Any:
        async def beside() -> Any:
            task = asyncio.create_task(look())
            try:
                return await main
            finally:
                task.cancel()

        return run(runner, beside(), **options)

    asyncio.Runner.run = running  # type: ignore[method-assign]


def arm_trust(*paths: str) -> None:
    """Let this process trust certificates that would not be: what is wrong with them is then all that is."""
    for path in paths:
        aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(path)


@dataclass
class Strace:
    """strace on a running process: a fault at its system calls. Its log tells which file they were of."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def injected(self) -> list[tuple[float, str]]:
        """Return (Unix seconds, line) of each call that was made to fail."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        found = []
        for line in lines:
            if "(INJECTED" in line or "SIGKILL" in line:
                words = line.split()
                at_s = next((float(word) for word in words[:2] if "." in word), 0.0)
                found.append((at_s, line))
        return found

    def paths(self) -> list[str]:
        """Return the files of the calls that were seen, in order."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        return [line.partition("<")[2].partition(">")[0] for line in lines if "sync(" in line]


@asynccontextmanager
async def strace(
    pid: int, log: Path, inject: str, *, calls: str = "fsync,fdatasync"
) -> AsyncIterator[Strace]:
    """Attach strace with a fault to a process and its threads. Raises AssertionError where it is refused."""
    process = await asyncio.create_subprocess_exec(
        "strace", "-f", "-y", "-ttt", "-e", f"trace={calls}", "-e", f"inject={inject}",
        "-o", str(log), "-p", str(pid),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.readline(), 10.0)
        if b"attached" not in said:
            raise AssertionError(f"strace is refused on this machine: {said.decode(errors='replace')}")
        yield Strace(process, log)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # it detaches
            try:
                await asyncio.wait_for(process.wait(), 10.0)
            except TimeoutError:  # what it held is let go with it
                process.kill()
                await process.wait()


def drop_unsynced(wal: Path) -> bool:
    """Cut the newest transaction off a WAL, as a power cut would; say whether there was one."""
    frames = wal.read_bytes() if wal.exists() else b""
    if len(frames) <= 32:
        return False
    page = int.from_bytes(frames[8:12], "big")
    size = page + 24
    count = (len(frames) - 32) // size
    salt = frames[16:24]
    own = [
        n for n in range(count) if frames[32 + n * size + 8 : 32 + n * size + 16] == salt
    ]  # later frames are of an earlier round
    commits = [n for n in own if int.from_bytes(frames[32 + n * size + 4 : 32 + n * size + 8], "big")]
    if not commits:
        return False
    last = commits[-2] + 1 if len(commits) > 1 else 0
    with wal.open("r+b") as file:
        file.truncate(32 + last * size)
    return True


def integrity(path: Path) -> str:
    """Return what SQLite says of a file, "ok" where it is whole."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        database.close()


def said_by(rig: Rig) -> str:
    """Return the last words of the bot that runs, for a message."""
    running = rig.running.get("bot")
    return (running.err if running is not None else "".join(rig.said[-2:]))[-600:]
