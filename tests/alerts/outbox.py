"""Senders that keep what they were given, and a clock that is set."""

import asyncio

from bot.alerts.condition import Condition, Severity
from bot.alerts.desk import AlertDesk, Manners
from bot.alerts.message import Delivery, Target


class Clock:
    """Seconds since the epoch, as a test sets them."""

    def __init__(self, now_s=1_800_000_000.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


class Outbox:
    """A sender that keeps what it was given, or refuses it."""

    def __init__(self, name="1 test"):
        self.name = self.id = name
        self.sent, self.works, self.first = [], True, asyncio.Event()

    async def send(self, message):
        if self.works:
            self.sent.append(message)
            self.first.set()
        return Delivery(target=self.name, ok=self.works, why="" if self.works else "down")


def titles(messages):
    return [item.title.removeprefix("[alvh dry-run] ") for item in messages]


def condition(severity=Severity.WARNING, *, key="tier:ETH/USDC", level=0, once=False, title="ELEVATED"):
    return Condition(
        key=key, severity=severity, title=title, happened="why", did="did", could_not="could not", act="act",
        level=level, once=once,
    )  # fmt: skip


def desk(tmp_path, *senders, least=Severity.WARNING, kinds=(), **changes):
    """Return a desk; what is not a field of its own belongs to its manners."""
    fields = ("clock", "on_trouble", "on_told", "path", "targets")
    own = {key: changes.pop(key) for key in fields if key in changes}
    targets = [Target(sender=item, least=least, kinds=kinds) for item in senders or (Outbox(),)]
    return AlertDesk(
        mode="dry-run",
        manners=Manners(**changes),
        **{"path": tmp_path / "alerts.json", "targets": targets, **own},
    )
