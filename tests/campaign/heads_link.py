"""A node's websocket that announces heads, and fails at it (F19)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from aiohttp import web

KINDS = ("silent", "cut", "twice", "out of order", "rubbish")


@dataclass
class HeadsLink:
    """``kind`` is how it fails now; empty: it announces each head once."""

    random: Random
    url: str = ""
    kind: str = ""
    subscribed: int = 0
    _links: set[web.WebSocketResponse] = field(default_factory=set)
    _told: list[str] = field(default_factory=list)

    async def announce(self, number: int, block_hash: str) -> None:
        """Tell every link of a head, in the way that it fails now."""
        result = {"number": hex(number), "hash": block_hash}
        params = {"subscription": "0x1", "result": result}
        self._told.append(json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))
        if self.kind == "cut":
            for link in tuple(self._links):
                await link.close()
            return
        texts = {
            "": self._told[-1:],
            "silent": [],
            "twice": self._told[-1:] * 2,
            "out of order": self.random.sample(self._told[-5:], min(5, len(self._told))),
            "rubbish": ["null", "[]", "{", '{"params": 1}', self._told[-1][:20]],
        }[self.kind]
        for link in tuple(self._links):
            for text in texts:
                await link.send_str(text)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        link = web.WebSocketResponse()
        await link.prepare(request)
        call = json.loads((await link.receive()).data)
        if self.kind != "cut":
            await link.send_json({"jsonrpc": "2.0", "id": call["id"], "result": "0x1"})
            self.subscribed += 1
            self._links.add(link)
            await link.receive()  # until the other side closes
            self._links.discard(link)
        await link.close()
        return link


@asynccontextmanager
async def heads_link(random: Random) -> AsyncIterator[HeadsLink]:
    """Serve on a free loopback port until the block ends."""
    served = HeadsLink(random)
    application = web.Application()
    application.router.add_get("/{rest:.*}", served._serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/key-4-canary"
        yield served
    finally:
        await asyncio.wait_for(runner.cleanup(), 10.0)
