"""One leader for a key (REL-P8, O1): copies of the bot, a leader that was stopped and overtaken."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Sequence

from commands import Home, Running

from bot.chain.signer_client import SignerClient
from bot.chain.signer_wire import SOCKET_NAME
from campaign.case import RESUME_WITHIN_POLLS, Outcome, unless
from campaign.purchase import bought, halted
from campaign.rig import Rig

_STEP = ("run", "--live")
_MOST_COPIES = 10
_HALT = 1  # exit code: a person must look
_REFUSALS = (
    "another signer runs with this key",
    "two processes with one key",
    "is in use",
    "another process",
)


def copy_of(rig: Rig, name: str) -> Home:
    """Return a home whose state lies elsewhere, over the same keystore."""
    home = rig.home.copy(rig.home.folder.parent / name)
    keystore = json.dumps(str(rig.home.folder / "keystore.json"))
    home.change(r"\nkeystore = [^\n]*", f"\nkeystore = {keystore}")
    return home


async def copies(rig: Rig) -> Outcome:
    """2 to 10 bots at once, some over the same state and some over their own, with one keystore: one leads.

    The others end by themselves, say who has the key, and send nothing.
    """
    count = rig.random.randint(2, _MOST_COPIES)
    rig.home.change(r"timeout_s = 1\.0", "timeout_s = 60.0")  # ten starts at once take the machine's time
    rig.pause()
    homes = [rig.home] + [
        rig.home if rig.random.random() < 0.5 else copy_of(rig, f"copy-{number}")
        for number in range(1, count)
    ]
    started = [home.start(*_STEP) for home in homes]
    lives = await _one_left(rig, started)
    wrong = list(unless(len(lives) == 1, f"{len(lives)} of {count} copies live on"))
    for running in started:
        if running not in lives:
            ended = await asyncio.to_thread(running.wait)
            rig.said += [ended.out, ended.err]
            wrong += unless(ended.code == 4, f"a copy ended with {ended.code}: {ended.err[-200:]}")
            wrong += unless(any(word in ended.err for word in _REFUSALS), f"a copy said {ended.err[-200:]}")
    for running in lives[1:]:
        os.kill(running.pid, signal.SIGKILL)
        await asyncio.to_thread(running.wait)
    if lives:
        rig.running["bot"] = lives[0]
        rig.home = homes[started.index(lives[0])]  # what is audited: the leader's own journal
        (rig.home.folder / "paused").unlink(missing_ok=True)
        rig.resume()
        wrong += await bought(rig)
    return Outcome(
        wrong=tuple(wrong), note=f"{count} copies over {len({item.folder for item in homes})} states"
    )


async def _one_left(rig: Rig, started: Sequence[Running]) -> list[Running]:
    """Wait until at most one process is left, and return those that are."""
    await rig.until(lambda: sum(item.is_alive for item in started) <= 1, within_s=180.0)
    return [item for item in started if item.is_alive]


async def used_elsewhere(rig: Rig) -> Outcome:
    """O1, P9: a copied key sends while the bot has nothing to send: it halts within two polls, and says so.

    It halts again after a restart, and goes on once a person has named what was sent.
    """
    nonce = await rig.warm()
    has_traded = rig.random.random() < 0.5
    if has_traded:
        rig.resume()
        wrong = await bought(rig)
        rig.pause()
        nonce = await rig.nonce()
    else:
        wrong = ()
    start_s, offered = time.monotonic(), len(rig.pool.seen)
    await rig.send_as_user(nonce)
    polls = 0
    while rig.bot.is_alive and polls < 4:
        polls += 1
        await rig.mine()
        await rig.until(lambda: not rig.bot.is_alive, within_s=5.0)
    wrong += unless(polls <= RESUME_WITHIN_POLLS, f"it halted after {polls} polls, allowed are 2")
    wrong += unless("something else used the key" in rig.bot.err, f"it said {rig.bot.err[-300:]}")
    wrong += unless(rig.alarms.since(start_s, "stopped"), "nobody was told")
    wrong += unless(await rig.ended(rig.running.pop("bot")) == _HALT, "it ended with another exit code")
    if has_traded:
        await rig.start_bot()
        wrong += unless(await halted(rig) == _HALT, "a restart was taken for a release")
    wrong += unless(len(rig.pool.seen) == offered, "it sent something under the halt")
    rig.home.change(r"\[policy\]", f"[execution]\naccept_nonce = {nonce + 1}\n\n[policy]")
    rig.resume()
    await rig.start_bot()
    wrong += await bought(rig)
    note = f"{'after' if has_traded else 'before'} its first purchase"
    return Outcome(wrong=wrong, to_alarm_s=rig.heard(start_s, "stopped"), note=note)


async def overtaken(rig: Rig) -> Outcome:
    """A leader is stopped, another takes the key over and goes; the old one wakes up and can send nothing."""
    await rig.warm()
    account = re.search(r'\[account\]\naddress = [\'"](0x\w+)', rig.home.config.read_text())
    assert account is not None
    os.kill(rig.bot.pid, signal.SIGSTOP)
    other = SignerClient(rig.home.folder / SOCKET_NAME, address=account[1], who="a second bot")
    await other.connect(take_over=True)
    if rig.random.random() < 0.5:
        await other.close()  # gone again: the old one must not slip in after it
    rig.resume()
    start_s, offered = time.monotonic(), len(rig.pool.seen)
    os.kill(rig.bot.pid, signal.SIGCONT)
    running = rig.bot
    for _ in range(6):
        if not running.is_alive:
            break
        await rig.step(within_s=20.0)
    await other.close()
    said = running.out + running.err + " ".join(rig.outcomes().values())
    wrong = [
        *unless(len(rig.pool.seen) == offered, "the old leader sent something"),
        *unless("another process has taken over" in said, f"nobody is told why: {running.err[-300:]}"),
    ]
    return Outcome(wrong=tuple(wrong), to_alarm_s=rig.heard(start_s))
