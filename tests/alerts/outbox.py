"""A sender that keeps what it was given."""

import asyncio

from bot.alerts.sender import Delivery


class Outbox:
    """A sender that keeps what it was given, or refuses it."""

    targets = ("1 test",)

    def __init__(self):
        self.sent, self.works, self.first = [], True, asyncio.Event()

    async def send(self, message):
        if self.works:
            self.sent.append(message)
            self.first.set()
        return (Delivery(target="1 test", ok=self.works, why="" if self.works else "down"),)


def titles(messages):
    return [item.title.removeprefix("[alvh dry-run] ") for item in messages]
