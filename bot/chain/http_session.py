"""What every HTTP client here rests on: one session, bodies of bounded size, failures without their URL.

The errors of aiohttp may hold the URL, and with it a key. Who catches ``TRANSPORT_ERRORS`` keeps their class
alone, by ``short`` or its name, and raises its own outside of the handler, so that they are not chained.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import aiohttp

from bot.errors import BotError, InvariantError

TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, ValueError)


class BodyTooLarge(BotError):
    """A body passed its limit; whoever asked for it says so in its own words."""


class Closeable(ABC):
    """A client that is used as an async context manager, or closed by hand."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None: ...


class HttpSession:
    """A session that opens at its first use, since that needs a running loop, and is closed once.

    It keeps no cookies and has no deadline: asyncio.timeout around each call is the one. ``where`` names the
    other side in errors, without anything secret. With ``unpacks`` False bodies come as they were sent.
    """

    def __init__(
        self,
        where: str,
        *,
        headers: Mapping[str, str],
        connections: int,
        per_host: int = 0,  # 0: as many as ``connections``
        keepalive_s: float = 60.0,
        unpacks: bool = True,
    ) -> None:
        self._where, self._headers = where, headers
        self._connections, self._per_host, self._keepalive_s = connections, per_host, keepalive_s
        self._unpacks = unpacks
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def open(self) -> aiohttp.ClientSession:
        """Return the session. Raises InvariantError once it was closed."""
        if self._closed:
            raise InvariantError(f"the connection to {self._where} was closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    limit_per_host=self._per_host,
                    keepalive_timeout=self._keepalive_s,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers=self._headers,
                auto_decompress=self._unpacks,
            )
        return self._session

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None


async def bounded_body(response: aiohttp.ClientResponse, *, limit: int) -> bytes:
    """Return a body of at most ``limit`` bytes, as the session unpacks it. Raises BodyTooLarge."""
    if (response.content_length or 0) > limit:
        raise BodyTooLarge
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise BodyTooLarge
        parts.append(part)
    return b"".join(parts)


def short(error: BaseException) -> str:
    """Name an error of the transport without its text, which may hold the URL."""
    cause = getattr(error, "os_error", error)
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else ""
    return f"{type(error).__name__}{f' ({words})' if words else ''}"


def retry_after_s(header: str, *, unsaid_s: float) -> float:
    """Return the pause in seconds that a Retry-After header asks for (a number or an HTTP date).

    It may be negative or as long as the other side likes; ``unsaid_s`` stands for none, and for what is
    neither.
    """
    text = header.strip()
    try:
        pause_s = float(text) if text else unsaid_s
    except ValueError:
        try:
            pause_s = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            pause_s = unsaid_s
    return pause_s if pause_s == pause_s else unsaid_s
