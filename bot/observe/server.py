"""``/metrics`` and ``/health`` in the run's own loop: two answers, no side effect, nothing else."""

import errno
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST

from bot.errors import ConfigError
from bot.observe.health import Health

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_LONGEST_REQUEST = 4_096


@asynccontextmanager
async def serving(
    *,
    host: str,
    port: int,
    hosts: Collection[str],
    metrics: Callable[[], bytes],
    health: Callable[[], Health],
) -> AsyncIterator[int]:
    """Answer while the body runs; yields the port. ``hosts`` are names beside loopback that may be asked for.

    Raises ConfigError where the port cannot be had. Port 0 takes a free one.
    """
    allowed = frozenset({*LOOPBACK, *(item.lower() for item in hosts)})

    async def answer_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={**_HEADERS, "Content-Type": CONTENT_TYPE_LATEST})

    async def answer_health(_: web.Request) -> web.Response:
        found = health()
        return web.json_response(
            found.document(), status=200 if found.is_well else 503, headers=_HEADERS, dumps=_dumps
        )

    app = web.Application(middlewares=[_only_for(allowed)], client_max_size=_LONGEST_REQUEST)
    app.router.add_get("/metrics", answer_metrics)
    app.router.add_get("/health", answer_health)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, keepalive_timeout=15.0, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        await _bind(runner, host, port)
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _bind(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        why = (
            "another program uses it"
            if error.errno == errno.EADDRINUSE
            else error.strerror or type(error).__name__
        )
        raise ConfigError(
            f"metrics cannot be served on {host}:{port}: {why}; name another metrics.port, or --metrics"
        ) from None


def _only_for(allowed: Collection[str]) -> Middleware:
    """Refuse what asks for another host: a page in a browser that was led here by its own name's address."""

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if host_of(request.headers.get("Host", "")) not in allowed:
            raise web.HTTPForbidden(text="this host is not allowed; see metrics.hosts\n", headers=_HEADERS)
        return await handler(request)

    return check


def host_of(header: str) -> str:
    """Return the name in a Host header, without its port, in small letters; "" for what is none."""
    text = header.strip().lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        return name if bracket and (not rest or rest.startswith(":")) else ""
    name, _, port = text.partition(":")
    return name if not port or port.isdigit() else ""


def _dumps(value: object) -> str:
    return json.dumps(value, allow_nan=False)
