"""Run by test_kill.py: executes a leg of three transactions in a child that kills itself, then once more.

``kill_driver.py RPC_URL FOLDER CASES`` where CASES is a JSON list of lists of kill points; one child runs per
kill point, then one that may live. A kill point is "before commit 3", "after sign 2", "after send 1", ...
Writes one JSON line per case. The kills are real SIGKILLs of a real process: no ``finally`` runs. The
signer's desk is in the child; what it signed is in a file of its own, as it is with a process of its own.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from send_builders import ADDRESS, CHAIN_ID, SELECTOR, filled, leg, manager, request, signer

from bot.chain.rpc import Rpc
from bot.model.intent import TxRequest
from bot.pipeline.journal import JournalIdentity, SqlJournal

IDENTITY = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=ADDRESS)
PURPOSES = ("swap", "approve", "open")


class Killer:
    """Ends the process at one named point."""

    def __init__(self, point: str | None) -> None:
        self._point = point
        self._counts = {"commit": 0, "sign": 0, "send": 0}

    def begin(self, what: str) -> None:
        self._counts[what] += 1
        self._at("before", what)

    def end(self, what: str) -> None:
        self._at("after", what)

    def _at(self, when: str, what: str) -> None:
        if self._point == f"{when} {what} {self._counts[what]}":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)


class KilledJournal:
    """The real journal with a kill point around every commit."""

    def __init__(self, journal: SqlJournal, killer: Killer) -> None:
        self._journal = journal
        self._killer = killer

    def __getattr__(self, name: str):
        inner = getattr(self._journal, name)
        if name not in ("open_leg", "close_leg", "append_intent", "append_step"):
            return inner

        def append(*arguments, **options):
            self._killer.begin("commit")
            inner(*arguments, **options)
            self._killer.end("commit")

        return append


class KilledSigner:
    """The real rules, key and memory of the signer with a kill point around every signature."""

    def __init__(self, path: Path, killer: Killer) -> None:
        self._signer = signer(path)
        self._killer = killer
        self.address = self._signer.address
        self.has_signed = self._signer.has_signed

    async def sign(self, unsigned, *, now_s):
        self._killer.begin("sign")
        signed = await self._signer.sign(unsigned, now_s=now_s)
        self._killer.end("sign")
        return signed


class KilledRpc(Rpc):
    """The real connection with a kill point around every send."""

    killer: Killer

    async def request(self, method, params=(), *, send=False):
        if not send:
            return await super().request(method, params, send=send)
        self.killer.begin("send")
        reply = await super().request(method, params, send=send)
        self.killer.end("send")
        return reply


async def execute(url: str, path: Path, base: int, point: str | None) -> None:
    """Do what a venue does for a leg: resume what is open, send what is missing, close the leg."""
    killer = Killer(point)
    with SqlJournal(path, identity=IDENTITY) as opened:
        journal = KilledJournal(opened, killer)
        async with KilledRpc(url, timeout_s=10) as rpc:
            rpc.killer = killer
            order = leg(f"leg-{base}")
            if opened.outcomes():
                return
            if not opened.open_legs():
                journal.open_leg(order, at_s=1.0)
            keys = KilledSigner(path.with_suffix(".signer"), killer)
            sender = manager(rpc, journal, signer=keys, deadline_s=20.0, resume_wait_s=20.0)
            done = await sender.resume(order.key)
            for offset, purpose in enumerate(PURPOSES):
                if purpose not in done:
                    tries = {event.key for event in opened.intents() if event.purpose == purpose}
                    await sender.send(wanted(order.key, base + offset, purpose, len(tries)))
            journal.close_leg(filled(order))


def wanted(leg_key: str, number: int, purpose: str, tries: int) -> TxRequest:
    plain = request(number, leg_key=leg_key, purpose=purpose)
    return TxRequest(
        key=f"{leg_key}/{tries}-{purpose}",
        leg_key=leg_key,
        purpose=purpose,
        to=plain.to,
        data=SELECTOR + number.to_bytes(32, "big"),
        valid_until_s=plain.valid_until_s,
        gas_ceiling=plain.gas_ceiling,
    )


def child(url: str, path: Path, base: int, point: str | None) -> str:
    """Fork, run to the end or to the kill; return how it ended."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(execute(url, path, base, point))
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit {os.WEXITSTATUS(status)}"


def main() -> None:
    url, folder, cases = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    for index, points in enumerate(cases):
        base, path = 1 + 10 * index, folder / f"case-{index}.db"
        ends = [child(url, path, base, point) for point in points]
        last = child(url, path, base, None)
        line = json.dumps({"index": index, "base": base, "ends": ends, "last": last})
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
