"""What is sent to a target, and what became of it."""

import math
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Protocol, Self
from uuid import uuid4

from bot.alerts.condition import Severity

_LONGEST_TITLE = 200


def _new_id() -> str:
    return uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one person reads. Names in it may come from a chain: it holds no control or direction marks."""

    severity: Severity  # of this message: that something is over is INFO
    title: str  # one line
    text: str
    kind: str = "test"  # of bot.alerts.condition.KINDS
    key: str = ""  # of the condition that it is about
    about: Severity = Severity.INFO  # of what it is about: a target hears the end of all whose start it heard
    at_s: float = math.nan  # when it was made, seconds since the epoch
    id: str = field(default_factory=_new_id)  # the same when it is sent again, so that a receiver can tell
    not_to: str = ""  # id of a target that does not get it

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", plain(self.title.replace("\n", " "))[:_LONGEST_TITLE])
        object.__setattr__(self, "text", plain(self.text))

    def with_line(self, line: str) -> Self:
        """Return it with a line more."""
        return replace(self, text=f"{self.text}\n{line}" if self.text else line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a message at one target. ``target`` names it without its secrets."""

    target: str
    ok: bool
    why: str = ""


class Sender(Protocol):
    """Somewhere to send to. Sending never raises: a failure is a Delivery that is not ok."""

    @property
    def name(self) -> str:
        """Its number in the configuration and its service: "2 Telegram"."""
        ...

    @property
    def id(self) -> str:
        """What it is known by after a restart; another address is another target."""
        ...

    async def send(self, message: Message) -> Delivery: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A sender, and what it is to hear."""

    sender: Sender
    least: Severity = Severity.WARNING
    kinds: tuple[str, ...] = ()  # none: all of them

    def wants(self, message: Message) -> bool:
        """Say whether it hears of a message. What is gathered or asked for by itself has no severity."""
        if message.not_to == self.sender.id:
            return False
        if message.kind in ("digest", "test"):
            return True
        if self.kinds and message.kind not in self.kinds:
            return False
        return message.kind == "alive" or max(message.severity, message.about) >= self.least


def plain(text: str) -> str:
    """Return text without control characters and marks of writing direction; line breaks stay."""
    return "".join(mark if mark == "\n" or unicodedata.category(mark)[0] != "C" else " " for mark in text)
