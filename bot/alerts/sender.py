"""Delivery through apprise: Telegram, Discord, Slack, e-mail, webhooks and all else that it knows by URL."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import apprise

from bot.alerts.conditions import Severity
from bot.errors import ConfigError

DEADLINE_S = 30.0
_TYPES = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one person reads."""

    severity: Severity
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a message at one target. ``target`` names it without its secrets."""

    target: str
    ok: bool
    why: str = ""


class Sender(Protocol):
    """Somewhere to send to."""

    @property
    def targets(self) -> tuple[str, ...]: ...

    async def send(self, message: Message) -> tuple[Delivery, ...]: ...


class AppriseSender:
    """Sends to every target of a list of apprise URLs, each on its own, so that one failing loses nothing.

    Raises ConfigError for a URL that apprise does not know; the URL itself is never shown, it holds tokens.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._targets: list[tuple[str, apprise.Apprise]] = []
        for number, url in enumerate(urls, start=1):
            target = apprise.Apprise()
            if not target.add(url):
                scheme = url.partition("://")[0] if "://" in url else "?"
                raise ConfigError(
                    f"alerts.urls entry {number} ({scheme}://…) is not an address that apprise knows; "
                    "see its list of services, for example tgram://token/chat"
                )
            self._targets.append((f"{number} {_service(target)}", target))

    @property
    def targets(self) -> tuple[str, ...]:
        """Return a name per target: its number in the configuration and its service."""
        return tuple(name for name, _ in self._targets)

    async def send(self, message: Message) -> tuple[Delivery, ...]:
        """Send to all at once. Never raises: a failure is a Delivery that is not ok."""
        return tuple(
            await asyncio.gather(*(self._one(name, target, message) for name, target in self._targets))
        )

    async def _one(self, name: str, target: apprise.Apprise, message: Message) -> Delivery:
        try:
            async with asyncio.timeout(DEADLINE_S):
                sent = await target.async_notify(
                    title=message.title,
                    body=message.text or message.title,
                    notify_type=_TYPES[message.severity],
                    # Names in it may come from a chain: as plain text they are escaped where markup is used.
                    body_format=apprise.NotifyFormat.TEXT,
                )
        except TimeoutError:
            return Delivery(target=name, ok=False, why=f"no answer within {DEADLINE_S:g} s")
        except TypeError as error:  # apprise's own way to refuse a message
            return Delivery(target=name, ok=False, why=f"refused: {type(error).__name__}")
        return Delivery(target=name, ok=bool(sent), why="" if sent else "the service did not take it")


def _service(target: apprise.Apprise) -> str:
    return str(next(iter(target)).service_name or "webhook")
