"""The dashboard put together: what it reads, its token, and the process that serves it."""

import asyncio
import os
import secrets
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.app.dashboard_desk import JournalDesk, open_desk
from bot.dashboard.access import Access
from bot.dashboard.app import make_app
from bot.dashboard.guard import known_hosts
from bot.dashboard.limits import Connections, listening
from bot.dashboard.site import Site
from bot.errors import ConfigError
from bot.settings import Settings
from bot.settings.dashboard import SHORTEST_TOKEN, DashboardSettings

_KEPT_IN = "dashboard-token"
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A dashboard that answers. ``url`` has no secret; ``sign_in`` ends in the token."""

    url: str
    sign_in: str
    token_file: Path | None  # None: the token stands in the configuration
    site: Site
    connections: Connections


def token_of(settings: Settings) -> tuple[str, Path | None]:
    """Return the token and the file it is in; one is made where none is configured. Raises ConfigError."""
    given = settings.dashboard.token.get_secret_value()
    if given:
        return given, None
    path = settings.dashboard.token_file
    if path is not None:
        return _read_token(path), path
    path = settings.state_dir / _KEPT_IN
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_token(path), path
    except OSError as error:
        raise ConfigError(f"dashboard token {path} cannot be written: {error.strerror}") from None
    token = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token, path


def _read_token(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError(f"dashboard token {path} can be read by others: chmod 600 {path}")
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"dashboard token {path} cannot be read: {why}") from None
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"dashboard token {path} has {len(token)} characters, it needs {SHORTEST_TOKEN} or more; delete "
            "the file and a new one is made"
        )
    return token


@asynccontextmanager
async def serve(settings: Settings, *, mode: str, port: int | None = None) -> AsyncIterator[Served]:
    """Serve until the block ends. Raises ConfigError where the port is taken or a file is unusable."""
    own = settings.dashboard
    token, path = token_of(settings)
    tls = _tls(own.tls_cert, own.tls_key)
    wanted = (own.port if port is None else port) or _free_port(own.host)
    desk = open_desk(settings, mode=mode)
    site = Site(desk=desk, access=Access(token), cookie=f"alvh_session_{wanted}", secure=tls is not None)
    hosts = known_hosts((*_OWN_NAMES, *_as_hosts(own.host), *own.allowed_hosts), wanted)
    connections = Connections()
    async with AsyncExitStack() as stack:
        stack.callback(desk.close)
        try:
            server = listening(
                make_app(site, hosts=hosts), host=own.host, port=wanted, tls=tls, connections=connections
            )
            await stack.enter_async_context(server)
        except OSError as error:
            raise ConfigError(
                f"the dashboard cannot listen on {own.host} port {wanted}: {os.strerror(error.errno or 0)}; "
                "name another with --port"
            ) from None
        await desk.refresh()
        await stack.enter_async_context(_looking(desk))
        url = _url(own, wanted)
        sign_in = f"{url}login#token={token}"
        yield Served(url=url, sign_in=sign_in, token_file=path, site=site, connections=connections)


@asynccontextmanager
async def _looking(desk: JournalDesk) -> AsyncIterator[None]:
    """Look at the journal again and again meanwhile. Should that ever die, the server ends with it.

    A page that is no longer kept up to date must not look like one that is.
    """
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(desk.watch())
        try:
            yield
        finally:
            watch.cancel()


def _url(own: DashboardSettings, port: int) -> str:
    shown = _host_in_url(own.host) if own.is_loopback else own.allowed_hosts[0]
    where = shown if ":" in shown.rpartition("]")[2] else f"{shown}:{port}"
    return f"{'https' if own.tls_cert is not None else 'http'}://{where}/"


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"dashboard.tls_cert {cert} and tls_key {key} cannot be used: {error.strerror or error}"
        ) from None
    return context


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _as_hosts(host: str) -> tuple[str, ...]:
    """Return how a browser names an address; one that stands for all addresses has no name."""
    return () if host in ("0.0.0.0", "::") else (_host_in_url(host),)  # noqa: S104 - compared, not bound


def _host_in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
