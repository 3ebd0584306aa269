"""A local target of alerts: who was told of what, and when. Speaks what docs/alerts.md documents."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web

PAUSED = "hold:paused"  # what a rig does itself, to have the bot look before it trades


class Alarm(NamedTuple):
    at_s: float  # monotonic
    key: str
    kind: str
    severity: str
    text: str

    @property
    def is_trouble(self) -> bool:
        """Whether it calls a person: not that something is over or was filled, nor the rig's own pause."""
        return self.severity != "info" and self.key != PAUSED


@dataclass
class Alarms:
    """Every alert that came. ``status`` other than 200: the target refuses (O6)."""

    url: str = ""
    status: int = 200
    heard: list[Alarm] = field(default_factory=list)

    def since(self, start_s: float, *kinds: str, says: str = "") -> list[Alarm]:
        """Return what called a person after a time, of some kinds or of all; ``says`` is in its text."""
        return [
            item
            for item in self.heard
            if item.at_s > start_s and item.is_trouble
            if (not kinds or item.kind in kinds) and says.lower() in item.text.lower()
        ]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.status == 200:
            words = (body["key"], body["kind"], body["severity"], f"{body['title']}\n{body['text']}")
            self.heard.append(Alarm(time.monotonic(), *words))
        return web.Response(status=self.status)


@asynccontextmanager
async def listening() -> AsyncIterator[Alarms]:
    """Listen on a free loopback port until the block ends."""
    alarms = Alarms()
    application = web.Application()
    application.router.add_post("/{rest:.*}", alarms._take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        alarms.url = f"http://127.0.0.1:{runner.addresses[0][1]}/alerts"
        yield alarms
    finally:
        await runner.cleanup()
