"""Addresses that alerts are posted to: encrypted, and never the services that a cloud gives its machines.

A webhook to 169.254.169.254 would hand this machine's credentials to whoever reads the answer, and post to a
service that believes whoever reaches it. Names are looked up by ``GuardedResolver``, each time.
"""

import asyncio
import ipaddress
import socket
from typing import Any
from urllib.parse import SplitResult, urlsplit

from aiohttp import ThreadedResolver

from bot.chain.node_url import redact_url
from bot.errors import ConfigError

_PLAIN = ("http", "json", "xml", "form")  # of apprise: webhooks without encryption
_METADATA = frozenset({"fd00:ec2::254", "100.100.100.200"})
_METADATA_NAMES = ("metadata.google.internal", "metadata.goog", "instance-data")
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def checked_address(url: str, *, what: str) -> str:
    """Return an http(s) address as it is. Raises ConfigError, with no more than its host."""
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ConfigError(f"{what} has a space or an unprintable character in it; remove it")
    parts = _parts(url, what)
    _check_port(parts, what)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{what} must be https://host/…, was {redact_url(url)}")
    return refuse_unsafe(url, what=what)


def refuse_unsafe(url: str, *, what: str) -> str:
    """Return a target's address as it is. Raises ConfigError for plain webhooks and metadata services."""
    parts = _parts(url, what)
    host = (parts.hostname or "").rstrip(".").lower()
    if is_metadata(host):
        raise ConfigError(
            f"{what} is the metadata service of a cloud, whose answers are credentials; name another host"
        )
    if parts.scheme in _PLAIN and not is_loopback(host):
        secure = {"http": "https"}.get(parts.scheme, f"{parts.scheme}s")
        raise ConfigError(
            f"{what} is plain {parts.scheme} to another machine, where anyone on the way can read it; "
            f"use {secure}://"
        )
    return url


def is_metadata(host: str) -> bool:
    """Say whether a host is link-local or a cloud's metadata service, however its number is written."""
    address = ip_of(host)
    if address is None:
        return host in _METADATA_NAMES
    return address.is_link_local or str(address) in _METADATA


def is_loopback(host: str) -> bool:
    address = ip_of(host)
    return host == "localhost" if address is None else address.is_loopback


def ip_of(host: str) -> Ip | None:
    """Return the address that a host is written as, also as one number or in hex; None for a name."""
    try:
        found: Ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            found = ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, UnicodeError, ValueError):
            return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped if mapped is not None else found


class GuardedResolver(ThreadedResolver):
    """Looks names up as ever, and refuses those that lead to a metadata service."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[Any]:
        """Raises OSError where any address of the name is refused."""
        found = await super().resolve(host, port, family)
        if any(is_metadata(str(item["host"])) for item in found):
            raise OSError("its name leads to a link-local address, which is refused")
        return list(found)


def resolver() -> GuardedResolver:
    return GuardedResolver(loop=asyncio.get_running_loop())


def _parts(url: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.hostname
    except ValueError:
        raise ConfigError(f"{what} is no address: its host is malformed") from None
    return parts


def _check_port(parts: SplitResult, what: str) -> None:
    """Only of http: where others have a port, apprise may have a part of a token."""
    try:
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{what} is no address: its port is malformed") from None
