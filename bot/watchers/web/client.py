"""Reads public HTTP sources: one session, one deadline a call, rates kept, nothing secret in an error.

Only reads go through here, so a call that failed in transit is tried again inside its deadline. A source
that asks for a pause gets it: until then nothing is sent to its host, by any caller.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import orjson
import tenacity

from bot import __version__
from bot.chain.http_session import (
    TRANSPORT_ERRORS,
    BodyTooLarge,
    Closeable,
    HttpSession,
    bounded_body,
    retry_after_s,
    short,
)
from bot.chain.json_fields import BadReply, document
from bot.errors import ConfigError, DeadlineError, TransientError

DEFAULT_RATE = 2.0  # requests a second to a host whose source names no rate
_BURST = 3  # requests that may follow each other at once after a quiet time
_TRIES = 4
_MOST_HOPS = 3
_MAX_PAUSE_S = 3_600.0
_DEFAULT_PAUSE_S = 30.0  # of a 429 or 503 that does not say how long
_CACHED_BODIES = 8
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_OF_POST = frozenset({307, 308})
_HINTS = {
    401: "; it needs a key",
    403: "; it refuses this client: name a contact address, or it is closed to your region",
    404: "; check the name that was asked for",
    429: "; rate limited",
    451: "; it is closed to your region",
}


class PausedError(TransientError):
    """The source asked for a pause of ``retry_after_s``; nothing is sent to it before."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class RefusedError(TransientError):
    """The source answered, and asking again at once would bring the same answer."""


class _Passing(TransientError):
    """A failure of the transport or the server that may pass within seconds."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class _Cached:
    tag: str
    body: bytes


@dataclass(slots=True)
class _Host:
    """What one host may be asked, and from when on."""

    rate: float
    next_free_s: float = 0.0
    quiet_until_s: float = 0.0

    def place(self, now_s: float, *, end_s: float) -> float:
        """Return how long it is to the next free place; it is taken when it lies before ``end_s``."""
        free_s = max(self.next_free_s, now_s - (_BURST - 1) / self.rate)
        if free_s < end_s:
            self.next_free_s = free_s + 1.0 / self.rate
        return max(free_s - now_s, 0.0)


@dataclass(slots=True, kw_only=True)
class WebClient(Closeable):
    """A ports.WebReader. Use as an async context manager, or call :meth:`close`.

    ``timeout_s`` bounds a whole call: waiting for its turn, all tries, the last byte. ``rates`` says how
    many requests a second a host may get (see :func:`rates_of`). ``contact`` goes into the User-Agent:
    some sources answer only to a client that names an address.
    """

    timeout_s: float = 30.0
    max_body_bytes: int = 20_000_000
    contact: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _hosts: dict[str, _Host] = field(default_factory=dict, init=False, repr=False)
    _cache: "OrderedDict[str, _Cached]" = field(default_factory=OrderedDict, init=False, repr=False)
    _http: HttpSession = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.timeout_s > 0 or self.max_body_bytes <= 0:
            raise ConfigError(
                f"web timeout and body limit must be > 0, were {self.timeout_s}, {self.max_body_bytes}"
            )
        if not (self.contact.isascii() and self.contact.isprintable()):
            raise ConfigError("the contact for HTTP sources must be printable ASCII, such as a mail address")
        agent = f"alvh-bot/{__version__}" + (f" ({self.contact})" if self.contact else "")
        self._http = HttpSession(
            "the HTTP sources",
            headers={"Accept": "application/json, text/csv, */*", "User-Agent": agent},
            connections=20,
            per_host=4,
        )

    async def close(self) -> None:
        await self._http.close()

    async def get(self, url: str, *, params: Mapping[str, str] | None = None) -> Any:
        """Return the decoded JSON body. Raises TransientError; ConfigError for a URL that may not be read."""
        reply = await self._call("GET", url, params=params)
        return _decoded(reply, _where(url))

    async def post(self, url: str, *, body: Mapping[str, Any]) -> Any:
        """Ask a query that goes by POST; as a read, it too is tried again when it fails in transit."""
        reply = await self._call("POST", url, body=orjson.dumps(body))
        return _decoded(reply, _where(url))

    async def text(self, url: str, *, params: Mapping[str, str] | None = None) -> str:
        """Return the body as UTF-8 text."""
        reply = await self._call("GET", url, params=params)
        try:
            return reply.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
        raise RefusedError(f"{_where(url)}: the reply is no UTF-8 text")

    async def _call(
        self, method: str, url: str, *, params: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> _Reply:
        check_url(url, what="URL")
        end_s = self.clock() + self.timeout_s
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Passing)),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=4.0),
            stop=lambda state: state.attempt_number >= _TRIES or self.clock() + state.upcoming_sleep >= end_s,
            reraise=True,
        )
        try:
            async with asyncio.timeout(self.timeout_s):
                return await retrying(self._once, method, url, params, body, end_s)
        except TimeoutError:
            pass
        raise DeadlineError(f"{_where(url)}: no answer within {self.timeout_s:g} s")

    async def _once(
        self, method: str, url: str, params: Mapping[str, str] | None, body: bytes | None, end_s: float
    ) -> _Reply:
        """Send one request and follow its redirects."""
        for _ in range(_MOST_HOPS + 1):
            await self._turn(url, end_s)
            reply = await self._send(method, url, params, body)
            if reply.status not in (_REDIRECTS if method == "GET" else _REDIRECTS_OF_POST):
                return self._accepted(reply, url)
            url, params = _next_hop(reply), None  # the target carries the query it wants
        raise RefusedError(f"{_where(url)}: more than {_MOST_HOPS} redirects")

    async def _turn(self, url: str, end_s: float) -> None:
        """Wait until the host may be asked. Raises PausedError when that is not before the deadline."""
        host, now_s = self._host(url), self.clock()
        if (pause_s := host.quiet_until_s - now_s) > 0.0:
            raise PausedError(f"{_where(url)}: not asked, it wants a pause of {pause_s:.0f} s more", pause_s)
        wait_s = host.place(now_s, end_s=end_s)
        if now_s + wait_s >= end_s:
            raise PausedError(f"{_where(url)}: not asked, {wait_s:.1f} s of its rate are taken", wait_s)
        if wait_s > 0.0:
            await asyncio.sleep(wait_s)
            if (pause_s := host.quiet_until_s - self.clock()) > 0.0:  # another call was told to pause
                raise PausedError(f"{_where(url)}: not asked, it wants a pause of {pause_s:.0f} s", pause_s)

    async def _send(
        self, method: str, url: str, params: Mapping[str, str] | None, body: bytes | None
    ) -> _Reply:
        failure: TransientError
        # The errors of aiohttp may hold the URL: only their class is kept, and they are not chained.
        try:
            return await self._exchange(method, url, params, body)
        except BodyTooLarge:
            failure = RefusedError(f"{_where(url)}: the reply is larger than {self.max_body_bytes} bytes")
        except TRANSPORT_ERRORS as error:
            failure = _Passing(f"{_where(url)}: {short(error)}")
        raise failure

    async def _exchange(
        self, method: str, url: str, params: Mapping[str, str] | None, body: bytes | None
    ) -> _Reply:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        name = f"{url}?{sorted((params or {}).items())}"
        cached = self._cache.get(name) if method == "GET" else None
        if cached is not None:
            headers["If-None-Match"] = cached.tag
        async with self._http.open().request(
            method, url, params=params, data=body, headers=headers, allow_redirects=False
        ) as response:
            if response.status == 304 and cached is not None:
                self._cache.move_to_end(name)
                return _Reply(200, response.headers, cached.body, str(response.url))
            found = await bounded_body(response, limit=self.max_body_bytes)
            reply = _Reply(response.status, response.headers, found, str(response.url))
        if method == "GET" and reply.status == 200 and (tag := reply.headers.get("ETag")):
            self._cache[name] = _Cached(tag, reply.body)
            self._cache.move_to_end(name)
            while len(self._cache) > _CACHED_BODIES:
                self._cache.popitem(last=False)
        return reply

    def _accepted(self, reply: _Reply, url: str) -> _Reply:
        where = _where(url)
        if reply.status == 200:
            return reply
        asks_for = reply.headers.get("Retry-After", "")
        if reply.status in (418, 429) or (reply.status == 503 and asks_for):
            asked_s = retry_after_s(asks_for, unsaid_s=_DEFAULT_PAUSE_S)
            pause_s = min(max(asked_s, 1.0), _MAX_PAUSE_S)
            self._host(url).quiet_until_s = self.clock() + pause_s
            raise PausedError(f"{where}: rate limited, it asks for a pause of {pause_s:.0f} s", pause_s)
        if reply.status >= 500:
            raise _Passing(f"{where}: HTTP {reply.status}")
        raise RefusedError(f"{where}: HTTP {reply.status}{_HINTS.get(reply.status, '')}")

    def _host(self, url: str) -> _Host:
        name = _netloc(url)
        if name not in self._hosts:
            self._hosts[name] = _Host(rate=self.rates.get(name, DEFAULT_RATE))
        return self._hosts[name]


def check_url(url: str, *, what: str) -> str:
    """Return the URL when it may be read: https, or http on this machine. Raises ConfigError without it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in ("http", "https") or url != url.strip():
        raise ConfigError(f"{what} must be https://host/…, was {_where(url)}; correct it")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigError(f"{what} {_where(url)} must be https: http is read from this machine only")
    return url


def rates_of(sources: Iterable[object]) -> dict[str, float]:
    """Return requests a second by host, from the ``base_url`` and ``requests_per_s`` of the sources."""
    rates: dict[str, float] = {}
    for source in sources:
        url, rate = getattr(source, "base_url", ""), getattr(source, "requests_per_s", DEFAULT_RATE)
        if url:
            host = _netloc(url)
            rates[host] = min(rates.get(host, rate), rate)
    return rates


def _where(url: str) -> str:
    """Return scheme, host and port of a URL; path, query and user info may hold a key."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "?", parts.port
    except ValueError:
        return "?"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme or '?'}://{shown}{f':{port}' if port else ''}/…"


def _netloc(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _next_hop(reply: _Reply) -> str:
    """Return where a redirect leads. Raises RefusedError unless that is the same host, over https."""
    target = urljoin(reply.url, reply.headers.get("Location", ""))
    old, new = urlsplit(reply.url), urlsplit(target)
    same_host = (old.hostname, old.port) == (new.hostname, new.port)
    secure = new.scheme == "https" or (
        new.scheme == old.scheme == "http" and _is_loopback(old.hostname or "")
    )
    if not same_host or not secure:
        raise RefusedError(f"{_where(reply.url)}: redirects elsewhere, to {_where(target)}")
    return target


def _decoded(reply: _Reply, where: str) -> Any:
    """Return the JSON of a body. NaN and Infinity are no JSON, and are refused with the rest."""
    with suppress(BadReply):
        return document(reply.body, "the reply")
    head = reply.body[:200].lstrip().lower()
    kind = "a web page" if head.startswith(b"<") else f"{len(reply.body)} bytes"
    raise RefusedError(f"{where}: the reply is no JSON but {kind}")
