"""A webhook of one's own, signed; and the pings of a dead-man's switch.

A receiver takes ``X-Alvh-Timestamp``, a full stop and the body as they came, and checks that their
HMAC-SHA256 under the shared secret is what ``X-Alvh-Signature`` says after ``sha256=``. It refuses
timestamps that are minutes old. ``X-Alvh-Id`` stays the same when a message comes again.
"""

import asyncio
import hashlib
import hmac
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from bot.alerts.message import Delivery, Message
from bot.alerts.sender import target_id
from bot.alerts.web_address import checked_address, resolver
from bot.errors import ConfigError
from bot.model.units import iso_utc

DEADLINE_S = 10.0
LEAST_SECRET = 16  # characters
SIGNATURE, TIMESTAMP, ID = "X-Alvh-Signature", "X-Alvh-Timestamp", "X-Alvh-Id"


def signature_of(secret: str, *, timestamp: str, body: bytes) -> str:
    """Return what the signature header says of a body that was sent at a time."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WebhookSender:
    """Posts JSON to one address."""

    name: str
    id: str
    _url: str
    _secret: str
    _clock: Callable[[], float] = time.time

    @classmethod
    def of(cls, url: str, *, secret: str, number: int, where: str) -> "WebhookSender":
        """Make one. Raises ConfigError for an address that is not safe, or a secret that is short."""
        checked_address(url, what=where)
        if len(secret) < LEAST_SECRET:
            raise ConfigError(f"the secret of {where} must have at least {LEAST_SECRET} characters")
        return cls(f"{number} signed webhook", target_id("webhook", url), url, secret)

    async def send(self, message: Message) -> Delivery:
        """Send one message. Never raises: a failure is a Delivery that is not ok."""
        body = json.dumps(_document(message), ensure_ascii=False, allow_nan=False).encode()
        timestamp = f"{self._clock():.0f}"
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            SIGNATURE: signature_of(self._secret, timestamp=timestamp, body=body),
            TIMESTAMP: timestamp,
            ID: message.id,
        }
        why = await ask("POST", self._url, body=body, headers=headers)
        return Delivery(target=self.name, ok=not why, why=why)


async def ask(method: str, url: str, *, body: bytes = b"", headers: dict[str, str] | None = None) -> str:
    """Do one request; return "" when it was taken, else why not, in words without the address.

    No redirect is followed and no answer is read: whoever answers has nothing to say here.
    """
    try:
        async with (
            asyncio.timeout(DEADLINE_S),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver())) as session,
            session.request(method, url, data=body or None, headers=headers, allow_redirects=False) as answer,
        ):
            return "" if 200 <= answer.status < 300 else f"it answered with status {answer.status}"
    except TimeoutError:
        return f"no answer within {DEADLINE_S:g} s"
    except aiohttp.ClientConnectorError as error:
        return f"it cannot be reached: {error.os_error.strerror or type(error.os_error).__name__}"
    except (aiohttp.ClientError, OSError, ValueError) as error:  # texts of these may hold the address
        return f"it cannot be reached: {type(error).__name__}"


def _document(message: Message) -> dict[str, object]:
    return {
        "version": 1,
        "id": message.id,
        "severity": message.severity.name.lower(),
        "kind": message.kind,
        "key": message.key,
        "title": message.title,
        "text": message.text,
        "at": None if math.isnan(message.at_s) else iso_utc(message.at_s),
    }
