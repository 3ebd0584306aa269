"""Every address of the dashboard, what it needs, and what it answers. There is no other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from bot.dashboard import pages
from bot.dashboard.site import Site

Handler = Callable[[Site, web.Request], Awaitable[web.StreamResponse]]


class Needs(StrEnum):
    """What a request must show."""

    NOTHING = "nothing"  # files of the program, and the page that asks for the token
    SESSION = "session"
    CONFIRMED = "a session and the one-time nonce of a page that asked for confirmation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``method`` GET answers HEAD too. Only a POST may change anything."""

    method: str
    path: str
    handler: Handler
    needs: Needs


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/", handler=pages.overview, needs=Needs.SESSION),
    Route(method="GET", path="/signals", handler=pages.signals, needs=Needs.SESSION),
    Route(method="GET", path="/positions", handler=pages.positions, needs=Needs.SESSION),
    Route(method="GET", path="/orders", handler=pages.orders, needs=Needs.SESSION),
    Route(method="GET", path="/runs", handler=pages.runs, needs=Needs.SESSION),
    Route(method="GET", path="/runs/{name:.+}", handler=pages.report, needs=Needs.SESSION),
    Route(method="GET", path="/health", handler=pages.health, needs=Needs.SESSION),
    Route(method="GET", path="/charts/{name}", handler=pages.chart, needs=Needs.SESSION),
    Route(method="GET", path="/pause", handler=pages.ask_pause, needs=Needs.SESSION),
    Route(method="POST", path="/pause", handler=pages.pause, needs=Needs.CONFIRMED),
    Route(method="GET", path="/leave", handler=pages.ask_leave, needs=Needs.SESSION),
    Route(method="POST", path="/leave", handler=pages.leave, needs=Needs.CONFIRMED),
    Route(method="GET", path="/login", handler=pages.ask_token, needs=Needs.NOTHING),
    Route(method="POST", path="/login", handler=pages.login, needs=Needs.NOTHING),
    Route(method="GET", path="/static/{version}/{name}", handler=pages.static, needs=Needs.NOTHING),
)
