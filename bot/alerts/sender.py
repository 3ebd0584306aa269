"""Delivery through apprise: Telegram, Discord, Slack, e-mail, webhooks and all else that it knows by URL."""

import asyncio
import hashlib
import logging
from dataclasses import dataclass

import apprise

from bot.alerts.condition import Severity
from bot.alerts.message import Delivery, Message
from bot.alerts.web_address import refuse_unsafe
from bot.errors import ConfigError

DEADLINE_S = 30.0
# It logs addresses that it cannot read, paths included: only a log that takes secrets out may hear of them.
logging.getLogger("apprise").addHandler(logging.NullHandler())
_TYPES = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


def target_id(service: str, url: str) -> str:
    """Return what a target is known by after a restart: its service and a part of its address' hash."""
    return f"{service}-{hashlib.sha256(url.encode()).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True, eq=False)
class AppriseSender:
    """Sends to one apprise URL."""

    name: str
    id: str
    _target: apprise.Apprise

    @classmethod
    def of(cls, url: str, *, number: int, where: str) -> "AppriseSender":
        """Make one. Raises ConfigError for a URL that apprise does not know, or that is not safe.

        The URL itself is never shown, it holds tokens.
        """
        refuse_unsafe(url, what=where)
        # A service that answers with a redirect could lead to any address, so none is followed.
        asset = apprise.AppriseAsset()
        asset.http_redirects = False
        target = apprise.Apprise(asset=asset)
        if not target.add(url):
            scheme = url.partition("://")[0] if "://" in url else "?"
            raise ConfigError(
                f"{where} ({scheme}://…) is not an address that apprise knows; see its list of services, "
                "for example tgram://token/chat; for a webhook of your own see docs/alerts.md"
            )
        service = str(next(iter(target)).service_name or "webhook")
        return cls(f"{number} {service}", target_id(service, url), target)

    async def send(self, message: Message) -> Delivery:
        """Send one message. Never raises: a failure is a Delivery that is not ok."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                sent = await self._target.async_notify(
                    title=message.title,
                    body=message.text or message.title,
                    notify_type=_TYPES[message.severity],
                    # Names in it may come from a chain: as plain text they are escaped where markup is used.
                    body_format=apprise.NotifyFormat.TEXT,
                )
        except TimeoutError:
            return Delivery(target=self.name, ok=False, why=f"no answer within {DEADLINE_S:g} s")
        except TypeError as error:  # apprise's own way to refuse a message
            return Delivery(target=self.name, ok=False, why=f"refused: {type(error).__name__}")
        return Delivery(target=self.name, ok=bool(sent), why="" if sent else "the service did not take it")
