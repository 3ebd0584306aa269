"""One queue for each target, so that one that fails neither delays nor loses what another takes."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from bot.alerts.condition import Severity
from bot.alerts.message import Message, Sender, Target
from bot.alerts.schedule import clock_words, lasting_words
from bot.alerts.state import AlertState, Gathered, TargetState
from bot.errors import BotError, TransientError

MAX_WAITING = 500  # messages kept for a target that takes none; the oldest go first, critical ones last
LATE_S = 120.0  # a message that is older when it is sent says so
RETRY_S, LONGEST_RETRY_S = 30.0, 300.0


@dataclass(slots=True, kw_only=True)
class Deliveries:
    """Delivers in order, each message at least once: a crash after a delivery and before it is noted repeats
    that one, with the same id. A target that fails is tried again after 30 s, later every 5 minutes."""

    targets: Sequence[Target]
    state: AlertState
    zone: ZoneInfo
    clock: Callable[[], float]
    on_trouble: Callable[[BotError], None] = lambda _: None
    on_change: Callable[[], None] = lambda: None
    retry_s: float = RETRY_S
    _senders: dict[str, Sender] = field(init=False)
    _news: dict[str, asyncio.Event] = field(init=False)

    def __post_init__(self) -> None:
        self._senders = {item.sender.id: item.sender for item in self.targets}
        self._news = {key: asyncio.Event() for key in self._senders}
        self._adopt()
        for key, item in self.state.targets.items():
            if item.waiting:
                self._news[key].set()

    def put(self, key: str, message: Message, *, due_s: float) -> None:
        """Queue a message for a target: to be sent now, or with the digest of a later time."""
        target = self.state.targets[key]
        if due_s > self.clock():
            target.gathered.append(Gathered(due_s=due_s, message=message))
        else:
            target.waiting.append(message)
            self._news[key].set()
        self._bound(target)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            for key in self._senders:
                group.create_task(self._work(key))

    async def flush(self) -> bool:
        """Try each target once; return whether every one took all that waited for it."""
        return all(await asyncio.gather(*(self._deliver(key) for key in self._senders)))

    async def _work(self, key: str) -> None:
        pause_s = self.retry_s
        while True:
            await self._news[key].wait()
            if await self._deliver(key):
                pause_s = self.retry_s
                continue
            await asyncio.sleep(pause_s)
            pause_s = min(2.0 * pause_s, LONGEST_RETRY_S)

    async def _deliver(self, key: str) -> bool:
        """Send what waits, oldest first, until one is not taken."""
        target, sender = self.state.targets[key], self._senders[key]
        while target.waiting:
            message = target.waiting[0]
            result = await sender.send(self._as_sent(message, target))
            if not result.ok:
                self._failed(target, message, result.why)
                return False
            self._took(target, message)
        self._news[key].clear()
        return True

    def _took(self, target: TargetState, message: Message) -> None:
        target.waiting = [item for item in target.waiting if item is not message]
        target.last_success_s, target.failing_since_s = self.clock(), math.nan
        target.why, target.dropped = "", 0
        target.delivered += 1
        self.on_change()

    def _failed(self, target: TargetState, message: Message, why: str) -> None:
        if not target.is_failing:
            target.failing_since_s = self.clock()
        target.why = why
        target.failures += 1
        self.on_trouble(
            TransientError(
                f"alert {message.title!r} was not taken by {target.name}: {why}; "
                f"{len(target.waiting)} wait for it and are tried again"
            )
        )
        self.on_change()

    def _as_sent(self, message: Message, target: TargetState) -> Message:
        """Return a message with what its reader must know: that it is late, and what was dropped before."""
        now_s = self.clock()
        if target.dropped:
            message = message.with_line(
                f"{target.dropped} older messages were dropped, because more than {MAX_WAITING} waited."
            )
        late_s = now_s - message.at_s
        if not late_s >= LATE_S or message.kind == "digest":
            return message
        line = f"Delayed by {lasting_words(late_s)}, it is of {clock_words(message.at_s, self.zone)}"
        if target.is_failing:
            since = clock_words(target.failing_since_s, self.zone)
            line = f"{line}: this target took nothing since {since} ({target.why})"
        return message.with_line(f"{line}.")

    def _bound(self, target: TargetState) -> None:
        """Drop the oldest that are not critical, then the oldest, and count them."""
        over = len(target.waiting) + len(target.gathered) - MAX_WAITING
        if over <= 0:
            return
        target.dropped += over
        for _ in range(over):
            if target.gathered:
                del target.gathered[0]
                continue
            place = next(
                (at for at, item in enumerate(target.waiting) if item.severity < Severity.CRITICAL), 0
            )
            del target.waiting[place]
        self.on_trouble(TransientError(f"{target.dropped} alerts were dropped, {target.name} takes none"))

    def _adopt(self) -> None:
        """Give each configured target its state; what waits for one that is gone goes to those that are new.

        So a token that was renewed, which makes another target of the same one, loses nothing.
        """
        known, self.state.targets = self.state.targets, {}
        gone = [item for key, item in known.items() if key not in self._senders]
        orphans = [*self.state.orphans, *(message for item in gone for message in _all(item))]
        new = [key for key in self._senders if key not in known]
        for key, sender in self._senders.items():
            state = known.get(key, TargetState(name=sender.name))
            state.name = sender.name
            if key in new:
                state.waiting.extend(orphans)
            self.state.targets[key] = state
        self.state.orphans = []
        if orphans and not new:
            words = f"{len(orphans)} alerts waited for a target that is gone; they are not sent"
            self.on_trouble(TransientError(words))


def _all(target: TargetState) -> list[Message]:
    return [*target.waiting, *(item.message for item in target.gathered)]
