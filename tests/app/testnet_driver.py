"""Runs ``deploy`` in a process of its own and kills it: ``python testnet_driver.py '{"...": ...}'``.

``die`` is "<before|after> <signed|ended|send> <number>": SIGKILL at that point of this run.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from bot.app import testnet as app
from bot.app.testnet_site import Site
from bot.chain.rpc import Rpc
from bot.devnet.testnet_log import DeployLog
from bot.devnet.testnet_sender import Pace


def main() -> None:
    wanted = json.loads(sys.argv[1])
    if wanted.get("die"):
        _die_at(*wanted["die"].split())
    site = Site(
        folder=Path(wanted["folder"]),
        chain_id=wanted["chain_id"],
        rpc_url=wanted["rpc_url"],
        keystore=Path(wanted["keystore"]),
        password=wanted["password"],
        pace=Pace(poll_s=0.02, resend_after_s=1.0),
    )
    wish = app.Wish(price_usd=wanted["price_usd"])
    asyncio.run(app.deploy(site, wish, confirm=lambda _: True, on_step=lambda *_: None))


def _die_at(when: str, what: str, number: str) -> None:
    """Put a SIGKILL before or after one line of the state file or one send: no ``finally`` runs."""
    append, request, done = DeployLog.append, Rpc.request, 0

    def point(moment: str) -> None:
        if (moment, done) == (when, int(number)):
            os.kill(os.getpid(), signal.SIGKILL)

    def killing_append(log: DeployLog, record: Any) -> None:
        nonlocal done
        hit = type(record).__name__.lower() == what
        done += hit
        if hit:
            point("before")
        append(log, record)
        if hit:
            point("after")

    async def killing_request(node: Rpc, method: str, params: Any = (), *, send: bool = False) -> Any:
        nonlocal done
        hit = send and what == "send"
        done += hit
        if hit:
            point("before")
        answer = await request(node, method, params, send=send)
        if hit:
            point("after")
        return answer

    DeployLog.append = killing_append  # type: ignore[method-assign]
    Rpc.request = killing_request  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
