"""A dead-man's switch: an address that is asked while decisions are fresh: silence is an alarm."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.alerts.state import HeartbeatState
from bot.alerts.webhook import ask
from bot.errors import BotError, TransientError


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """Pings ``url`` every ``every_s`` seconds; not while the bot is silent, and not while it is starting."""

    url: str
    every_s: float
    clock: Callable[[], float]
    state: HeartbeatState = field(default_factory=HeartbeatState)
    on_trouble: Callable[[BotError], None] = lambda _: None

    async def run(self, is_fresh: Callable[[], bool]) -> None:
        """Ping until cancelled."""
        while True:
            if is_fresh():
                await self.ping()
            await asyncio.sleep(self.every_s)

    async def ping(self) -> bool:
        """Ping once and note how it went; a failure is said when it begins."""
        why = await ask("GET", self.url)
        state, now_s = self.state, self.clock()
        if not why:
            state.last_success_s, state.failing_since_s, state.why = now_s, math.nan, ""
            return True
        if math.isnan(state.failing_since_s):
            state.failing_since_s = now_s
            self.on_trouble(TransientError(f"the heartbeat was not taken: {why}; it is tried again"))
        state.why = why
        return False
