"""H1 to H4: disks that are full, fail, turn bits or are slow."""

import asyncio
import math
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

from campaign.case import Case, Outcome, both, rigged, unless
from campaign.process_faults import said_by, strace
from campaign.purchase import bought
from campaign.rig import Rig

from bot.errors import BotError

_MOST_FAILS = 40  # N of H2


async def _restarted(rig: Rig) -> tuple[str, ...]:
    """Start what has ended once more, as a supervisor would, and go on until the purchase is made."""
    if "bot" in rig.running and not rig.bot.is_alive:
        await rig.ended(rig.running.pop("bot"))
    if "signer" not in rig.running or not rig.running["signer"].is_alive:
        if "signer" in rig.running:
            await rig.ended(rig.running.pop("signer"))
        await rig.start_signer()
    if "bot" not in rig.running:
        await rig.start_bot()
    return await bought(rig)


def _timed_sends(rig: Rig) -> list[float]:
    """Return a list that gets the wall time, in seconds, of each send from now on."""
    times: list[float] = []
    offer = rig.pool.offer

    async def timed(raw: str) -> str:
        times.append(time.time())
        return await offer(raw)

    rig.pool.offer = timed  # type: ignore[method-assign]
    return times


# H1


@asynccontextmanager
async def small_disk(rig: Rig, megabytes: int = 8) -> AsyncIterator[Path]:
    """Have the bot's folder on a small disk of its own, a tmpfs; what is there at the end stays."""
    home, kept = rig.home.folder, rig.home.folder.parent / "kept"
    await asyncio.to_thread(shutil.copytree, home, kept)
    await _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(home))
    try:
        await asyncio.to_thread(shutil.copytree, kept, home, dirs_exist_ok=True)
        yield home
    finally:
        for name in ("bot", "signer"):
            if name in rig.running:
                await rig.end(name)
        shutil.rmtree(kept)
        await asyncio.to_thread(
            shutil.copytree, home, kept, ignore=shutil.ignore_patterns("*.sock", "filler")
        )
        await _run("umount", str(home))
        await asyncio.to_thread(shutil.copytree, kept, home, dirs_exist_ok=True)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {said.decode(errors='replace')}")


def _fill(path: Path, left: int) -> None:
    """Fill a disk up but for so many bytes."""
    with path.open("wb", buffering=0) as file:
        for size in (100_000, 4_096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        file.truncate(max(file.tell() - left, 0))


async def full_disk(rig: Rig) -> Outcome:
    """H1: no room at once, in an order, or when the WAL goes into the file. Told, nothing sent, goes on."""
    kind = rig.random.choice(("at once", "in an order", "at the end"))
    rig.home.change(r"timeout_s = 1\.0", "timeout_s = 5.0")  # no provider fails here
    async with small_disk(rig) as home:
        await rig.warm()
        left, fault_s = (
            (rig.random.randrange(20_000, 90_000) if kind == "in an order" else 0),
            time.monotonic(),
        )
        _fill(home / "filler", left)
        rig.resume()
        for _ in range(6):
            await rig.mine()
            if await rig.until(lambda: rig.alarms.since(fault_s, "silence"), within_s=3.0):
                break
        told_s, sends = rig.heard(fault_s, "silence"), len(rig.pool.seen)
        wrong = unless(told_s == told_s, f"nobody was told that the disk is full: {said_by(rig)}")
        wrong += unless(rig.bot.is_alive, f"the bot ended on a full disk: {said_by(rig)}")
        wrong += unless(left or not sends, f"{sends} sends on a full disk")
        await rig.mine(2)
        await asyncio.sleep(1.0)
        wrong += unless(len(rig.pool.seen) == sends, "it sent on a disk that it cannot write to")
        if kind == "at the end":
            await rig.end("bot")
        (home / "filler").unlink()
        if kind == "at the end":
            await rig.start_bot()
        await rig.until(lambda: not rig.bot.is_alive, within_s=6.0)
        wrong += await bought(rig)
    return Outcome(wrong=wrong, to_alarm_s=told_s, note=f"full {kind}, {left} bytes left")


# H2


def failed_sync(name: str, most: int) -> Callable[[Rig], Awaitable[Outcome]]:
    """H2: the N-th sync of the bot, or of the signer, fails. Nothing is sent after it; a restart goes on."""

    async def act(rig: Rig) -> Outcome:
        await rig.warm()
        sends, number = _timed_sends(rig), rig.random.randint(1, most)
        log = rig.home.folder.parent / f"strace-{name}.log"
        inject = f"fsync,fdatasync:error=EIO:when={number}"
        async with strace(rig.running[name].pid, log, inject) as fault:
            rig.resume()
            for _ in range(2 * _MOST_FAILS):
                if fault.injected or not rig.bot.is_alive:
                    break
                await rig.step(within_s=2.0)
            await rig.step(2, within_s=2.0)
            failed = fault.injected
        wrong = unless(failed, f"the {name} made no {number} syncs: what it says is not kept")
        at_s = failed[0][0] if failed else math.inf
        where = failed[0][1].partition("<")[2].partition(">")[0] if failed else ""
        late = [send for send in sends if send > at_s + 0.05]  # what was on the wire when it failed
        is_money = name == "signer" or "journal" in Path(where).name
        wrong += unless(not late or not is_money, f"{len(late)} sends after the sync of {where} failed")
        rig.pause()
        if "bot" in rig.running and rig.bot.is_alive:
            await rig.end("bot")
        elif "bot" in rig.running:
            await rig.ended(rig.running.pop("bot"))
        if name == "signer":
            await rig.end("signer")
        rig.resume()
        wrong += await _restarted(rig)
        return Outcome(wrong=wrong, note=f"sync {number} of the {name}, {Path(where).name}")

    return act


# H3


def _flip(rig: Rig, journal: Path) -> str:
    """Change one bit of one page."""
    data = bytearray(journal.read_bytes())
    page_bytes = int.from_bytes(data[16:18], "big")
    page = rig.random.randrange(len(data) // page_bytes)
    at = page * page_bytes + rig.random.randrange(page_bytes)
    data[at] ^= 1 << rig.random.randrange(8)
    journal.write_bytes(data)
    return f"a bit of byte {at}, page {page + 1}"


def _cut(rig: Rig, journal: Path) -> str:
    size = journal.stat().st_size
    left = rig.random.randrange(1, size)
    os.truncate(journal, left)
    return f"cut to {left} of {size} bytes"


def _rows(path: Path) -> list[object] | str:
    """Return all that a journal says, or why it does not say it."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            if (found := database.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                return str(found)
            names = ("meta", "leg_events", "intent_events", "steps")
            return [database.execute(f"SELECT * FROM {name}").fetchall() for name in names]  # noqa: S608
    except sqlite3.DatabaseError as error:
        return str(error)


async def damaged(rig: Rig) -> Outcome:
    """H3: the journal is damaged while the bot is down. Seen, no trade; the true file goes on."""
    await rig.warm()
    journal, folder = rig.journal_path(), rig.home.folder.parent
    await rig.end("bot")
    old = folder / "old.sqlite"
    _whole(journal, old)
    kind = rig.random.choice(("flip", "flip", "cut", "older", "wal"))
    wrong = await _half_bought(rig) if kind == "older" else await _bought_anew(rig)
    wal = journal.with_name(journal.name + "-wal")
    if "bot" in rig.running:
        await rig.end("bot", signal.SIGKILL if kind == "wal" else signal.SIGTERM)
    true = folder / "true"
    true.mkdir()
    for path in (journal, wal):
        if path.exists():
            shutil.copy2(path, true / path.name)
    if kind != "wal":
        _whole(journal, true / journal.name)
    before, sends = _rows(true / journal.name), len(rig.pool.seen)
    what = _damage(rig, kind, journal, old)
    is_same = kind in ("flip", "cut") and _rows(journal) == before  # in bytes that nothing is read from
    fault_s = time.monotonic()
    await rig.start_bot()
    await rig.step(3, within_s=6.0)
    seen = not rig.bot.is_alive or rig.heard(fault_s) == rig.heard(fault_s) or holds(rig)
    said = said_by(rig)
    wrong += unless(seen or is_same, f"{what} was not seen: {said}")
    wrong += unless(len(rig.pool.seen) == sends, f"{len(rig.pool.seen) - sends} sends over {what}: {said}")
    await rig.end("bot", signal.SIGKILL)
    for path in journal.parent.glob(journal.name + "*"):
        path.unlink()
    for path in true.iterdir():
        shutil.copy2(path, journal.parent / path.name)
    await rig.start_bot()
    wrong += unless(await rig.step(2), f"the true journal does not go on: {said_by(rig)}")
    wrong += await bought(rig)
    return Outcome(wrong=wrong, note=f"{kind}: {what}; {' '.join(said.split())[-120:]}")


async def _bought_anew(rig: Rig) -> tuple[str, ...]:
    await rig.start_bot()
    rig.resume()
    return await bought(rig)


async def _half_bought(rig: Rig) -> tuple[str, ...]:
    """Have the bot die in an order: by an older copy, which knows of none, it would begin anew."""
    point = ["campaign.process_faults:arm_point", "K10", "swap-in", rig.proxies[0].url]
    await rig.start_bot(arm=[point])
    rig.resume()
    await rig.mine()
    code = await rig.ended(rig.running.pop("bot"), within_s=30.0)
    return unless(code == -9, f"it was not killed after its swap: {code}")


def _damage(rig: Rig, kind: str, journal: Path, old: Path) -> str:
    if kind == "flip":
        return _flip(rig, journal)
    if kind == "cut":
        return _cut(rig, journal)
    for path in journal.parent.glob(journal.name + "-*"):
        path.unlink()
    if kind == "older":
        shutil.copy2(old, journal)
        return "an older copy in its place"
    return "its WAL is gone"


def _whole(journal: Path, copy: Path) -> None:
    """Copy a journal, with what its WAL holds, into one file."""
    with closing(sqlite3.connect(journal)) as source, closing(sqlite3.connect(copy)) as target:
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        source.backup(target)


def holds(rig: Rig) -> bool:
    try:
        last = rig.last()
    except BotError:  # it cannot be read
        return False
    return last is not None and bool(last.decision.holds)


# H4


async def locked(rig: Rig) -> Outcome:
    """H4: a reader that never ends its transaction, fifty that come and go, and a sync of half a second."""
    await rig.warm()
    journal, log = rig.journal_path(), rig.home.folder.parent / "strace.log"
    ended = asyncio.Event()

    def read() -> None:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
            database.execute("SELECT COUNT(*), MAX(row_hash) FROM steps").fetchall()

    async def crowd() -> None:
        while not ended.is_set():
            await asyncio.gather(*(asyncio.to_thread(read) for _ in range(50)))
            await asyncio.sleep(0.05)

    slow_us = rig.random.choice((200_000, 500_000))
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT COUNT(*) FROM steps").fetchone()
        task = asyncio.create_task(crowd())
        async with strace(rig.bot.pid, log, f"fdatasync:delay_exit={slow_us}"):
            rig.resume()
            wrong = await bought(rig)
        ended.set()
        await task
        holder.execute("ROLLBACK")
    wrong += await bought(rig)
    wrong += unless("locked" not in rig.bot.err, f"a lock was told: {rig.bot.err[-300:]}")
    return Outcome(wrong=wrong, note=f"syncs of {slow_us / 1e6} s")


CASES: Mapping[str, Case] = {
    "H1": rigged(full_disk),
    "H2": both(rigged(failed_sync("bot", _MOST_FAILS)), rigged(failed_sync("signer", 5))),
    "H3": rigged(damaged),
    "H4": rigged(locked),
}
