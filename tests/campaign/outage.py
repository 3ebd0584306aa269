"""What most F rows share: providers fail while a purchase is wanted, then all but one come back, then all.

The bot must buy nothing while too few can be believed, say so within a minute, record the gap, go on within
two polls, and then buy once, beside a provider that still fails.
"""

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from faults.proxy import Fault

from campaign.case import RESUME_WITHIN_POLLS, Outcome, unless
from campaign.purchase import bought
from campaign.rig import PROVIDERS, Rig

TELLS = ("silence", "disagreement", "hold", "stall")
_TOLD_WITHIN_S = 60.0
_POLL_WITHIN_S = 5.0  # a poll here is a block: so long is waited for its step before the next is mined
_MEMORY_MB = 50.0  # that a flood of bytes may cost (F6)

Make = Callable[[Rig], Fault]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dark:
    """What the bot did while too few providers could be believed."""

    wrong: tuple[str, ...]
    to_alarm_s: float


async def blackout(
    rig: Rig,
    fault: Fault,
    *,
    of: Sequence[int],
    tells: Sequence[str] = TELLS,
    blind: bool = True,
    blocks: int = 2,
) -> Dark:
    """Fail so many providers that none may be believed, want a purchase, and see that none is made.

    ``blind``: then not even a step may be made. Without it steps come, and hold. Ends when somebody was
    told, and after so many ``blocks`` at the least.
    """
    held_mb, hits = memory_mb(rig.bot.pid), rig.hits()
    start_s, before, sent = time.monotonic(), rig.sequence(), len(rig.pool.seen)
    first = await rig.head() + 1
    rig.fail(fault, of=of)
    rig.resume()
    blocks += rig.random.randrange(3)
    while blocks > 0 or math.isnan(rig.heard(start_s, *tells)):
        await rig.mine()
        blocks -= 1
        await asyncio.sleep(0.3)
        if time.monotonic() - start_s > _TOLD_WITHIN_S:
            break
    to_alarm_s = rig.heard(start_s, *tells)
    wrong = (
        *unless(rig.hits() > hits, f"nothing was spoiled by {fault}: the case proves nothing"),
        *unless(not math.isnan(to_alarm_s), f"nobody was told: {fault}; {rig.bot.err[-500:]}"),
        *unless(len(rig.pool.seen) == sent, f"it sent {len(rig.pool.seen) - sent} transactions in the dark"),
        *unless(not orders_since(rig, first), f"it decided in the dark: {orders_since(rig, first)}"),
    )
    grown_mb = memory_mb(rig.bot.pid) - held_mb
    wrong += unless(grown_mb < _MEMORY_MB, f"{fault} cost {grown_mb:.0f} MB of memory")
    if blind:
        wrong += unless(rig.sequence() == before, f"{rig.sequence() - before} steps rest on {fault}")
    return Dark(wrong=wrong, to_alarm_s=to_alarm_s)


async def recovered(rig: Rig) -> float:
    """Return after how many polls the bot steps again; infinite when it does not within twice what it may."""
    for polls in range(1, 2 * RESUME_WITHIN_POLLS + 1):
        before = rig.sequence()
        await rig.mine()
        if await rig.until(lambda before=before: rig.sequence() > before, within_s=_POLL_WITHIN_S):
            return polls
    return math.inf


def outage(
    make: Make,
    *,
    dark: int = PROVIDERS,
    tells: Sequence[str] = TELLS,
    blind: bool = True,
    blocks: int = 2,
    beside: Make | None = None,
) -> Callable[[Rig], Awaitable[Outcome]]:
    """Return the act of a row. ``dark``: so many providers must fail before none may be believed.

    ``blocks``: for so many at least. ``beside``: how all fail while the purchase is made; without it one
    goes on failing.
    """

    async def act(rig: Rig) -> Outcome:
        await rig.warm()
        order = rig.random.sample(range(PROVIDERS), PROVIDERS)
        seen = await blackout(rig, make(rig), of=order[:dark], tells=tells, blind=blind, blocks=blocks)
        from_block = await rig.head()
        rig.pause()
        rig.fail(None)
        rig.fail(make(rig), of=order[:1])
        polls = await recovered(rig)
        if beside:
            rig.fail(beside(rig))
        rig.resume()
        wrong = seen.wrong + await bought(rig)
        rig.fail(None)
        wrong += unless(await rig.step(2), "it did not go on when all was well again")
        if blind:
            wrong += unless(in_gap(rig, from_block), f"block {from_block} was not seen, and is in no gap")
        return Outcome(wrong=wrong, to_alarm_s=seen.to_alarm_s, to_recover_polls=polls)

    return act


def spoiled(
    make: Make,
    *,
    of: int = PROVIDERS,
    tells: Sequence[str] = (),
    blocks: int = 4,
    blind: bool = False,
    asks: bool = True,
) -> Callable[[Rig], Awaitable[Outcome]]:
    """Return an act in which providers fail in what a purchase needs and a decision does not, then recover.

    The purchase is made once, with them or after them. ``tells``: of this somebody must hear meanwhile.
    ``blind``: it may not be booked before they are well again. ``asks``: it must come upon the fault.
    """

    async def act(rig: Rig) -> Outcome:
        await rig.warm()
        fault, start_s, hits = make(rig), time.monotonic(), rig.hits()
        rig.fail(fault, of=rig.random.sample(range(PROVIDERS), of))
        rig.resume()
        left = blocks + rig.random.randrange(3)
        while left > 0 or (tells and math.isnan(rig.heard(start_s, *tells))):
            await rig.step(within_s=2.0)
            left -= 1
            if time.monotonic() - start_s > _TOLD_WITHIN_S:
                break
        to_alarm_s = rig.heard(start_s, *tells) if tells else math.nan
        wrong = unless(not tells or not math.isnan(to_alarm_s), f"nobody was told: {rig.bot.err[-500:]}")
        wrong += unless(rig.hits() > hits or not asks, f"nothing was spoiled by {fault}: nothing is proven")
        early = rig.filled()
        wrong += unless(not (blind and early), f"{early} purchases were booked on what was spoiled")
        rig.fail(None)
        polls = await recovered(rig)
        wrong += await bought(rig)
        return Outcome(
            wrong=wrong, to_alarm_s=to_alarm_s, to_recover_polls=polls,
            note=f"{fault}: {early} bought meanwhile",
        )  # fmt: skip

    return act


def orders_since(rig: Rig, block: int) -> list[str]:
    """Return the orders of decisions that rest on a block or a later one."""
    return [
        leg["key"]
        for decision in decisions(rig)
        if max(map(int, decision["blocks"].values())) >= block
        for leg in decision["plan"]["legs"]
    ]


def decisions(rig: Rig) -> list[dict]:
    """Return every decision of the journal, in order."""
    rows = _rows(rig.journal_path(), "SELECT body FROM steps ORDER BY sequence")
    return [json.loads(body)["decision"] for (body,) in rows]


def heights(rig: Rig) -> list[int]:
    """Return the block of each decision, in order."""
    return [int(number) for decision in decisions(rig) for number in decision["blocks"].values()]


def in_gap(rig: Rig, number: int) -> bool:
    """Whether the history says that a block was missed, and why."""
    path = rig.home.folder / "history-31337.sqlite"
    gaps = _rows(path, "SELECT from_number, to_number, why FROM gaps")
    return any(low <= number <= high and why for low, high, why in gaps)


def memory_mb(pid: int, what: str = "VmHWM") -> float:
    """Return the most memory that a process held, or what it holds now (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"the kernel does not say {what} of {pid}")


def _rows(path: Path, query: str) -> list[tuple]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []  # the bot has not made its tables yet
