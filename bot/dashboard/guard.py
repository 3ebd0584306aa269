"""What is refused before anything else is looked at: other hosts, other origins, other methods (REL-W2).

A page of another site can make a browser ask this address, also by a name of its own that it points here. So
every request, GET too, must name a known host, and what a browser says of its origin must be that host.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from multidict import CIMultiDictProxy

METHODS = ("GET", "HEAD", "POST")
_OWN = ("same-origin", "none")  # none: typed, a bookmark, or another program

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A report has its own scripts inline: it runs as a stranger without origin, cookies or network.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # no-referrer would make a browser send "Origin: null" with a form
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
    "Server": "alvh",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    why: str


def known_hosts(names: Iterable[str], port: int) -> frozenset[str]:
    """Return every Host header that names this server; a name may bring a port of its own."""
    found: set[str] = set()
    for name in (item.lower() for item in names):
        bare = name.startswith("[") and name.endswith("]")
        has_port = ":" in name and not bare
        found.update((name,) if has_port else (f"{name}:{port}",))
        if not has_port and port in (80, 443):
            found.add(name)
    return frozenset(found)


def refusal_of(method: str, headers: CIMultiDictProxy[str], hosts: frozenset[str]) -> Refusal | None:
    """Return why a request is refused by its method, host or origin; None where it may be looked at."""
    if method not in METHODS:
        return Refusal(status=405, why="only GET, HEAD and POST are known here")
    named = headers.getall("Host", [])
    if len(named) != 1 or named[0].lower() not in hosts:
        return Refusal(status=403, why="this server does not answer to that host name; see docs/dashboard.md")
    sites = headers.getall("Sec-Fetch-Site", [])
    origins = headers.getall("Origin", [])
    if any(site not in _OWN for site in sites) or len(sites) > 1:
        return Refusal(status=403, why="another site asked for this")
    if len(origins) > 1 or any(not _is_own(item, named[0]) for item in origins):
        return Refusal(status=403, why="another origin asked for this")
    if method == "POST" and not origins and sites != ["same-origin"]:
        return Refusal(status=403, why="a form must say which origin it comes from")
    return None


def _is_own(origin: str, host: str) -> bool:
    scheme, separator, netloc = origin.lower().partition("://")
    return bool(separator) and scheme in ("http", "https") and netloc == host.lower()
