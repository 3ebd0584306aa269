"""Connections that ask nothing in time are closed, and there are never too many (REL-W6, slow-loris).

aiohttp waits for the head of a request for as long as it takes. Here a connection that has not sent one in
time is cut, and where all places are taken the one that has waited longest goes, so that a new one is served.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from bot.dashboard.guard import HEADERS
from bot.errors import InvariantError

HEADERS_S = 10.0  # from the connection, or the answer before, to a whole head
MOST_CONNECTIONS = 512


class Connections:
    """All connections of a server; those that wait for a head in the order in which they began to."""

    def __init__(self, *, headers_s: float = HEADERS_S, most: int = MOST_CONNECTIONS) -> None:
        self.headers_s = headers_s
        self.most = most
        self.cut = 0  # because they were too slow, or too many
        self._waiting: dict[Connection, None] = {}
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: "Connection") -> bool:
        """Take one more in; False where it must go because every place is busy with a request."""
        if len(self._open) >= self.most:
            self.cut += 1
            if not self._waiting:
                return False
            next(iter(self._waiting)).abort()
        self._open.add(connection)
        return True

    def waits(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def asked(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)

    def closed(self, connection: "Connection") -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class Connection(RequestHandler):
    """aiohttp's own handler with a time limit on the head of every request."""

    __slots__ = ("_connections", "_timer")

    def __init__(self, connections: Connections, manager: web.Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._connections.opened(self):
            self.wait_for_head()
        else:
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        self._connections.closed(self)
        super().connection_lost(exc)

    def log_exception(self, *words: Any, **more: Any) -> None:
        """Leave out what a request that cannot be read caused: anybody could fill the log with it."""
        if not isinstance(more.get("exc_info"), HttpProcessingError):
            super().log_exception(*words, **more)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be read, or went wrong, without a word on how this is made."""
        super().handle_error(request, status, exc, message)  # which writes it to the log
        words = "This request cannot be read." if status < 500 else "Something went wrong; the log says what."
        answer = web.Response(status=status, text=f"{words}\n", headers=HEADERS)
        answer.force_close()
        return answer

    def wait_for_head(self) -> None:
        """Begin to wait for the next request."""
        self._stop_timer()
        self._connections.waits(self)
        self._timer = asyncio.get_running_loop().call_later(self._connections.headers_s, self._give_up)

    def has_head(self) -> None:
        """A whole head has come: from here on the answer has its own limit."""
        self._stop_timer()
        self._connections.asked(self)

    def abort(self) -> None:
        self._stop_timer()
        self._connections.closed(self)
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def _give_up(self) -> None:
        self._connections.cut += 1
        self.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@asynccontextmanager
async def listening(
    application: web.Application,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    connections: Connections | None = None,
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. Raises OSError where it cannot be listened on."""
    limits = Connections() if connections is None else connections  # an empty one is falsy
    settings: dict[str, Any] = {"access_log": None, "keepalive_timeout": 60.0, "lingering_time": 2.0}
    runner = web.AppRunner(application, shutdown_timeout=1.0, **settings)
    await runner.setup()
    manager, loop = runner.server, asyncio.get_running_loop()
    if manager is None:
        raise InvariantError("aiohttp made no server of the application")
    server = await loop.create_server(
        lambda: Connection(limits, manager, loop=loop, **settings), host, port, ssl=tls, backlog=256
    )
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await runner.cleanup()
