"""URLs of nodes: checked when they are configured, and never shown whole, for they may hold a key."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from bot.errors import ConfigError

LINK_LOCAL = "a link-local address, where clouds keep the keys of their machines"
_SECRET_LENGTH = 8  # shorter pieces of a URL are words such as "v2", not keys
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_PRIVATE_NAMES = ("localhost", "local", "internal", "lan", "home.arpa")


class Endpoint(NamedTuple):
    """What tells two providers apart. The query and the user are left out: they only hold keys."""

    host: str
    port: int
    path: str


def redact_url(url: str) -> str:
    """Return scheme, host and port of a URL; path, query and user info may hold a key."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "?", parts.port
    except ValueError:
        return "?"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme or '?'}://{shown}{f':{port}' if port else ''}/…"


def checked_url(url: str, *, schemes: tuple[str, str], allow_plain: bool, what: str = "RPC URL") -> str:
    """Return a URL as it is, or raise ConfigError. ``schemes`` are the plain one and the encrypted one."""
    _refuse_spaces(url, what)
    where = redact_url(url)
    if is_link_local(url):
        raise ConfigError(f"{what} {where} is {LINK_LOCAL}; name another host")
    plain, secure = schemes
    if not where.startswith((f"{plain}://", f"{secure}://")) or "//?" in where:
        raise ConfigError(f"{what} must be {plain}(s)://host[:port]/…, was {where}")
    if where.startswith(f"{plain}://") and not allow_plain and not is_private_host(url):
        raise ConfigError(
            f"{what} {where} is plain {plain} to a public host, where anyone on the way can read the key and "
            f"change answers; use {secure}, or set chain.allow_plain_http = true"
        )
    return url


def is_private_host(url: str) -> bool:
    """Whether the host of a URL is this machine or a private network, as far as its name tells."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "." not in host or host.endswith(tuple(f".{name}" for name in _PRIVATE_NAMES))
    return address.is_private or address.is_loopback


def is_plain_local(url: str) -> bool:
    """Whether a URL holds nothing that could be a key: this machine, and nothing after its port."""
    parts = urlsplit(url)
    bare = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    return bare and (parts.hostname or "") in _THIS_MACHINE


def is_link_local(url: str) -> bool:
    """Whether the host of a URL is a link-local address. False for what is no URL."""
    try:
        return ipaddress.ip_address((urlsplit(url).hostname or "").partition("%")[0]).is_link_local
    except ValueError:
        return False


def endpoint(url: str) -> Endpoint:
    """Return the identity of a checked URL."""
    parts = urlsplit(url)
    return Endpoint(
        (parts.hostname or "").rstrip(".").lower(),
        parts.port or _PORTS.get(parts.scheme, 0),
        parts.path.rstrip("/"),
    )


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the parts of a URL that may be keys, longest first, so that none survives in a message."""
    parts: SplitResult = urlsplit(url)
    pieces = [parts.path.strip("/"), *parts.path.split("/"), parts.query, *re.split("[=&]", parts.query)]
    pieces += [parts.username or "", parts.password or ""]
    pieces += [unquote(piece) for piece in pieces]
    return tuple(sorted({piece for piece in pieces if len(piece) >= _SECRET_LENGTH}, key=len, reverse=True))


def _refuse_spaces(url: str, what: str) -> None:
    """urlsplit drops some of these in silence; a URL that was pasted with one is refused by name."""
    for place, letter in enumerate(url):
        if letter.isspace() or not letter.isprintable():
            kind = "a space" if letter == " " else f"the character U+{ord(letter):04X}"
            raise ConfigError(
                f"{what} {redact_url(url.strip())} has {kind} at position {place + 1} of {len(url)}; "
                "remove it"
            )
